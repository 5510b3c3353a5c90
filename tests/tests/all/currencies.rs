//! Currencies in other spellings, and none at all, in SmartNow's sales and payments; prices that are missing, and refunds without a sign.
//!
//! Invariant: a currency is one whatever its case and blanks; what names none has its sale's, and what nobody can tell is null and told.

use crate::unify_harness::{UnifyHarness, by_key};
use serde_json::{Value, json};

const PARAMETERS: &[(&str, &str)] = &[
    ("price_unit", "minor"),
    ("vat_rate", "percent"),
    ("sales_types", ""),
];
const BENCH: UnifyHarness = UnifyHarness {
    source: "smartnow",
    records_at: &[],
    scope: None,
    parameters: PARAMETERS,
};

fn sale(id: i64, currency: Value) -> Value {
    json!({"id": id, "price": 250, "currency": currency, "occurredAt": "2026-01-01T12:00:00Z", "timeZone": "UTC"})
}

fn payment(id: i64, sale: i64, currency: Value) -> Value {
    json!({"id": id, "revenuetransaction": sale, "price": 250, "currency": currency, "method": "card", "occurredAt": "2026-01-01T12:00:00Z", "timeZone": "UTC"})
}

#[tokio::test]
async fn a_payment_in_another_spelling_of_the_currency_pays() {
    let cases: [(Value, Value, &str, Option<&str>); 8] = [
        ("EUR".into(), "eur".into(), "completed", Some("2.5000")),
        ("eur".into(), " EUR".into(), "completed", Some("2.5000")),
        (
            "Jpy".into(),
            "\u{a0}jpy ".into(),
            "completed",
            Some("250.0000"),
        ),
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
        decoded
            .warnings
            .into_iter()
            .map(|w| format!("{} {}: {}", w.key, w.rule, w.original))
            .collect()
    };
    let nobody =
        "250 of no currency is in minor units, and nobody knows how many of them make a major one";
    let of_none = |keys: &[&str]| {
        keys.iter()
            .map(|key| format!("{key} price_fits_unit: {nobody}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(told("revenue_transactions", &sales), of_none(&["7", "8"]));
    assert_eq!(
        told("payment_transactions", &payments),
        of_none(&[]),
        "one without a currency has its sale's"
    );

    let session = BENCH.session(&[
        ("revenue_transactions", sales),
        ("payment_transactions", payments),
    ]);
    let rows = BENCH.unified(&session, "transactions").await;
    let (states, currencies) = (by_key(&rows, "state"), by_key(&rows, "currency"));
    let paid = BENCH.unified(&session, "payments").await;
    let (amounts, media, of) = (
        by_key(&paid, "amount"),
        by_key(&paid, "medium"),
        by_key(&paid, "transaction_state"),
    );
    let paid_in = by_key(&paid, "currency");
    let spelled = |currency: &Value| {
        let text = currency.as_str()?.trim().to_uppercase();
        Some(text).filter(|text| !text.is_empty())
    };
    for (at, (currency, of_payment, state, amount)) in (1..).zip(&cases) {
        assert_eq!(
            paid_in[&format!("{at}/{at}")],
            spelled(of_payment).or_else(|| spelled(currency)),
            "{at}"
        );
        let (sale, payment) = (at.to_string(), format!("{at}/{at}"));
        assert_eq!(
            (states[&sale].as_deref(), of[&payment].as_deref()),
            (Some(*state), Some(*state)),
            "{at}"
        );
        assert_eq!(
            currencies[&sale],
            currency.as_str().map(str::to_uppercase),
            "{at}"
        );
        assert_eq!(amounts[&payment].as_deref(), *amount, "{at}");
        assert_eq!(media[&payment].as_deref(), Some("Card"));
    }
}

#[tokio::test]
async fn currencies_that_nobody_knows_are_never_one() {
    let spellings = [
        "BTC",
        " btc",
        "\u{ff22}\u{ff34}\u{ff23}",
        "Points",
        "",
        "\u{200b}",
        "E\u{200b}UR",
        "\u{ff25}\u{ff35}\u{ff32}",
    ];
    let sales: Vec<Value> = (1..)
        .zip(spellings)
        .map(|(id, currency)| sale(id, currency.into()))
        .collect();
    let payments: Vec<Value> = (1..)
        .zip(spellings)
        .map(|(id, currency)| payment(id, id, currency.into()))
        .collect();
    let page = |records: Vec<Value>| Value::from(records).to_string();
    let (sales, payments) = (page(sales), page(payments));
    let decoded = BENCH.decode("revenue_transactions", &sales);
    let mut told: Vec<String> = decoded
        .warnings
        .iter()
        .map(|w| format!("{} {}", w.key, w.rule))
        .collect();
    told.sort_unstable();
    let (known, fits) = ("currency_known", "price_fits_unit");
    let expected = [
        ("1", known),
        ("1", fits),
        ("2", known),
        ("2", fits),
        ("3", known),
        ("3", fits),
        ("4", known),
        ("4", fits),
    ];
    let expected = expected
        .into_iter()
        .chain([("5", fits), ("6", fits)])
        .map(|(key, rule)| format!("{key} {rule}"));
    assert_eq!(told, expected.collect::<Vec<_>>());
    let session = BENCH.session(&[
        ("revenue_transactions", sales),
        ("payment_transactions", payments),
    ]);
    for table in ["transactions", "articles", "payments"] {
        let rows = BENCH.unified(&session, table).await;
        let found: Vec<Option<String>> = by_key(&rows, "currency").into_values().collect();
        let (btc, points, eur) = (Some("BTC"), Some("POINTS"), Some("EUR"));
        let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
        assert_eq!(
            found,
            [btc, btc, btc, points, None, None, eur, eur],
            "{table}"
        );
        let amounts: Vec<bool> = by_key(&rows, "amount")
            .into_values()
            .map(|amount| amount.is_some())
            .collect();
        assert_eq!(
            amounts,
            [false, false, false, false, false, false, true, true],
            "{table}: nobody knows their digits"
        );
    }
}

#[tokio::test]
async fn a_payment_whose_sale_cannot_be_read_is_kept_without_one() {
    let odd = [
        json!("abc"),
        json!({"id": 1}),
        json!([1]),
        json!(1.5),
        json!(true),
        json!(null),
        json!(""),
        json!(0),
    ];
    let payments: Vec<Value> = (1..)
        .zip(&odd)
        .map(|(id, sale)| {
            let mut record = payment(id, 1, "EUR".into());
            record["revenuetransaction"] = sale.clone();
            record["occurredAt"] = [
                "2026-01-01T12:00:00Z",
                "0001-01-01T00:00:00Z",
                "9999-12-31T23:59:59Z",
            ][id as usize % 3]
                .into();
            record
        })
        .collect();
    let payments = Value::from(payments).to_string();
    let decoded = BENCH.decode("payment_transactions", &payments);
    assert_eq!(decoded.rejects, []);
    let told = |rule: &str| decoded.warnings.iter().filter(|w| w.rule == rule).count();
    assert_eq!(
        (
            told("expected_whole_number"),
            told("no_time"),
            told("open_end")
        ),
        (5, 3, 3)
    );
    let session = BENCH.session(&[
        (
            "revenue_transactions",
            Value::from(vec![sale(1, "EUR".into())]).to_string(),
        ),
        ("payment_transactions", payments),
    ]);
    let rows = BENCH.unified(&session, "payments").await;
    let all = |column: &str| by_key(&rows, column).into_values().collect::<Vec<_>>();
    for (column, value) in [
        ("amount", Some("2.5000")),
        ("kind", None),
        ("transaction_state", None),
        ("state", Some("collected")),
    ] {
        assert_eq!(all(column), vec![value.map(str::to_owned); 8], "{column}");
    }
    let keys: Vec<String> = by_key(&rows, "payment_id").into_keys().collect();
    assert_eq!(keys[0], "payment_transactions/1/1");
    assert_eq!(
        all("occurred_at").iter().flatten().count(),
        2,
        "the others have no time"
    );
    let rows = BENCH.unified(&session, "transactions").await;
    assert_eq!(
        by_key(&rows, "state")["1"].as_deref(),
        Some("consumed"),
        "it was not paid by them"
    );
}

#[test]
fn a_price_names_its_currency_in_either_unit() {
    const MAJOR: UnifyHarness = UnifyHarness {
        parameters: &[
            ("price_unit", "major"),
            ("vat_rate", "percent"),
            ("sales_types", ""),
        ],
        ..BENCH
    };
    let priced = |id: i64, price: Value, currency: Value| {
        let mut sale = sale(id, currency);
        sale["price"] = price;
        sale
    };
    let sales = Value::from(vec![
        priced(1, json!(2.5), Value::Null),
        priced(2, json!(-3), "".into()),
        priced(3, json!(0), Value::Null),
        priced(4, json!(2.5), "EUR".into()),
        priced(5, Value::Null, "EUR".into()),
    ])
    .to_string();
    let told = |bench: &UnifyHarness| -> Vec<String> {
        let decoded = bench.decode("revenue_transactions", &sales);
        assert_eq!(decoded.rejects, []);
        decoded
            .warnings
            .into_iter()
            .map(|w| format!("{} {}: {}", w.key, w.rule, w.original))
            .collect()
    };
    assert_eq!(
        told(&MAJOR),
        [
            "1 price_fits_unit: 2.5 of no currency: nobody knows what it is an amount of",
            "2 price_fits_unit: -3 of no currency: nobody knows what it is an amount of",
            "5 price_known: price is missing",
        ]
    );
    let keys: Vec<String> = told(&BENCH)
        .iter()
        .filter_map(|words| Some(words.split_once(':')?.0.to_owned()))
        .collect();
    assert_eq!(
        keys,
        [
            "1 price_fits_unit",
            "2 price_fits_unit",
            "4 price_fits_unit",
            "5 price_known"
        ]
    );
}

#[tokio::test]
async fn what_a_refund_pays_back_is_taken_away_once() {
    let sales = Value::from(vec![
        json!({"id": 1, "price": -250, "currency": "EUR", "occurredAt": "2026-01-01T12:00:00Z", "timeZone": "UTC"}),
        json!({"id": 2, "price": -250, "currency": "EUR", "occurredAt": "2026-01-01T12:00:00Z", "timeZone": "UTC"}),
        sale(3, "EUR".into()),
    ]);
    let paid = |id: i64, sale: i64, price: i64| {
        let mut payment = payment(id, sale, Value::Null);
        payment["price"] = price.into();
        payment
    };
    let payments = Value::from(vec![
        paid(1, 1, 250),
        paid(2, 2, -250),
        paid(3, 3, 200),
        paid(4, 3, 50),
    ]);
    let session = BENCH.session(&[
        ("revenue_transactions", sales.to_string()),
        ("payment_transactions", payments.to_string()),
    ]);
    let all = |rows: &[_], column: &str| {
        by_key(rows, column)
            .into_values()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
    };
    let rows = BENCH.unified(&session, "payments").await;
    assert_eq!(
        all(&rows, "amount"),
        ["-2.5000", "-2.5000", "2.0000", "0.5000"]
    );
    assert_eq!(all(&rows, "currency"), ["EUR"; 4]);
    let rows = BENCH.unified(&session, "transactions").await;
    assert_eq!(all(&rows, "paid_amount"), ["-2.5000", "-2.5000", "2.5000"]);
    assert_eq!(all(&rows, "kind"), ["refund", "refund", "sale"]);
}
