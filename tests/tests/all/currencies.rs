//! Currencies in other spellings, and none at all, in SmartNow's sales and payments.
//!
//! Invariant: a currency is one whatever its case and blanks; what names none has its sale's, and what nobody can tell is null and told.

use crate::bench::{Bench, by_key};
use serde_json::{Value, json};

const PARAMETERS: &[(&str, &str)] = &[("price_unit", "minor"), ("vat_rate", "percent"), ("sales_types", "")];
const BENCH: Bench = Bench { source: "smartnow", records_at: &[], scope: None, parameters: PARAMETERS };

fn sale(id: i64, currency: Value) -> Value {
    json!({"id": id, "price": 250, "currency": currency, "occurredAt": "2026-01-01T12:00:00Z"})
}

fn payment(id: i64, sale: i64, currency: Value) -> Value {
    json!({"id": id, "revenuetransaction": sale, "price": 250, "currency": currency, "method": "card", "occurredAt": "2026-01-01T12:00:00Z"})
}

#[tokio::test]
async fn a_payment_in_another_spelling_of_the_currency_pays() {
    let cases: [(Value, Value, &str, Option<&str>); 8] = [
        ("EUR".into(), "eur".into(), "completed", Some("2.5000")),
        ("eur".into(), " EUR".into(), "completed", Some("2.5000")),
        ("Jpy".into(), "\u{a0}jpy ".into(), "completed", Some("250.0000")),
        ("EUR".into(), Value::Null, "completed", Some("2.5000")),
        ("EUR".into(), "".into(), "completed", Some("2.5000")),
        ("EUR".into(), "USD".into(), "consumed", Some("2.5000")),
        (Value::Null, "EUR".into(), "completed", Some("2.5000")),
        (Value::Null, Value::Null, "completed", None),
    ];
    let (mut sales, mut payments) = (Vec::new(), Vec::new());
    for (at, (of_sale, of_payment, ..)) in (1..).zip(&cases) {
        sales.push(sale(at, of_sale.clone()));
        payments.push(payment(at, at, of_payment.clone()));
    }
    let page = |records: Vec<Value>| Value::from(records).to_string();
    let (sales, payments) = (page(sales), page(payments));
    let told = |resource, page: &str| -> Vec<String> {
        let decoded = BENCH.decode(resource, page);
        assert_eq!(decoded.rejects, []);
        decoded.warnings.into_iter().map(|w| format!("{} {}: {}", w.key, w.rule, w.original)).collect()
    };
    let nobody = "250 of no currency is in minor units, and nobody knows how many of them make a major one";
    let of_none = |keys: &[&str]| keys.iter().map(|key| format!("{key} price_fits_unit: {nobody}")).collect::<Vec<_>>();
    assert_eq!(told("revenue_transactions", &sales), of_none(&["7", "8"]));
    assert_eq!(told("payment_transactions", &payments), of_none(&["4", "5", "8"]));

    let session = BENCH.session(&[
        ("revenue_transactions", sales),
        ("payment_transactions", payments),
        ("products", "[]".to_owned()),
    ]);
    let rows = BENCH.unified(&session, "transactions").await;
    let (states, currencies) = (by_key(&rows, "state"), by_key(&rows, "currency"));
    let paid = BENCH.unified(&session, "payments").await;
    let (amounts, media, of) = (by_key(&paid, "amount"), by_key(&paid, "medium"), by_key(&paid, "transaction_state"));
    for (at, (currency, _, state, amount)) in (1..).zip(&cases) {
        let (sale, payment) = (at.to_string(), format!("{at}/{at}"));
        assert_eq!((states[&sale].as_deref(), of[&payment].as_deref()), (Some(*state), Some(*state)), "{at}");
        assert_eq!(currencies[&sale], currency.as_str().map(str::to_uppercase), "{at}");
        assert_eq!(amounts[&payment].as_deref(), *amount, "{at}");
        assert_eq!(media[&payment].as_deref(), Some("Card"));
    }
}
