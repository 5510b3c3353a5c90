//! HecOne's contract and unify SQL, on the document's own samples: the list's and that of one transaction.
//!
//! Invariant: what comes out of the samples stands in golden files, value by value. They hold the word `string` where a provider would write
//! a currency, a time zone or a state; that is told, and costs no row.

use crate::unify_harness::{HECONE, by_key, format_rows};
use serde_json::{Value, json};

const TABLES: [&str; 9] = [
    "transactions",
    "articles",
    "payments",
    "events",
    "sites",
    "devices",
    "points",
    "products",
    "tenants",
];

#[test]
fn the_documents_samples_are_decoded_and_what_is_no_value_is_told() {
    for sample in ["transactions", "transaction"] {
        let decoded = HECONE.decode("transactions", &HECONE.sample(sample));
        assert_eq!(
            (decoded.rejects.len(), decoded.unknown.len()),
            (0, 0),
            "{sample}"
        );
        let told: Vec<_> = decoded
            .warnings
            .iter()
            .map(|w| format!("{} {} {}", w.field, w.rule, w.original))
            .collect();
        let text = format!("{}{}", format_rows(&[decoded.batch]), told.join("\n"));
        for closed in ["john.doe", "5168", "customer_url", "qr_code", "pin:"] {
            assert!(!text.contains(closed), "{closed} in {text}");
        }
        insta::assert_snapshot!(format!("hecone_decoded_{sample}"), text);
    }
}

#[tokio::test]
async fn the_documents_samples_are_unified() {
    for sample in ["transactions", "transaction"] {
        let session = HECONE.session(&[("transactions", HECONE.sample(sample))]);
        for table in TABLES {
            let rows = HECONE.unified(&session, table).await;
            insta::assert_snapshot!(
                format!("hecone_unified_{sample}_{table}"),
                format_rows(&rows)
            );
        }
    }
}

#[test]
fn the_documents_sample_contradicts_itself_and_that_is_told() {
    for (sample, has_site) in [("transactions", true), ("transaction", false)] {
        let decoded = HECONE.decode("transactions", &HECONE.sample(sample));
        let told: Vec<_> = decoded
            .warnings
            .iter()
            .map(|w| (&*w.rule, &*w.field, &*w.original))
            .collect();
        let mut expected = vec![("invoice_currency_known", "invoice.currency", "STRING")];
        if has_site {
            expected.push(("site_timezone_known", "site.timezone", "string"));
        }
        // Its invoice is in another currency than its articles, so nothing adds up or does not.
        expected.push((
            "article_multiplies",
            "articles[0].amount",
            "articles[0].amount is 10.5, expected 1.7 = articles[0].quantity 5 x articles[0].unit_price 0.34",
        ));
        expected.push((
            "article_tax_fits",
            "articles[0].tax_amount",
            "articles[0].tax_amount is 13, expected 0.74 in articles[0].amount 10.5 at articles[0].tax_percentage 7.6",
        ));
        if !has_site {
            expected.push((
                "site_timezone_given",
                "site.timezone",
                "site.timezone is missing: the day and hour are those of UTC",
            ));
        }
        assert_eq!(told, expected, "{sample}");
    }
}

/// The document's sample without its contradictions, with some parts replaced.
fn sale(changes: &Value) -> Value {
    let sample: Value = serde_json::from_str(&HECONE.sample("transactions")).unwrap();
    let mut record = sample["data"][0].clone();
    record["invoice"] =
        json!({"amount": 1.7, "paid_amount": 0, "currency": "EUR", "tax_amount": 0.12});
    record["site"] = json!({"timezone": "UTC"});
    record["articles"][0]["amount"] = json!(1.7);
    record["articles"][0]["tax_amount"] = json!(0.12);
    record
        .as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    record
}

fn told(changes: &Value) -> Vec<String> {
    let decoded = HECONE.decode(
        "transactions",
        &json!({"data": [sale(changes)]}).to_string(),
    );
    assert_eq!(decoded.rejects, []);
    decoded
        .warnings
        .into_iter()
        .map(|w| format!("{}: {}", w.rule, w.original))
        .collect()
}

#[test]
fn what_adds_up_is_not_told() {
    assert_eq!(told(&json!({})), [""; 0]);
    let articles = json!([
        {"state": "done", "amount": 1.2, "tax_amount": 0.08, "quantity": 1, "unit_price": 1.2},
        {"state": "declined", "amount": 99, "tax_amount": 7, "quantity": 1, "unit_price": 99},
        {"state": "done", "amount": 0.5, "tax_amount": 0.04},
    ]);
    assert_eq!(
        told(&json!({"state": "declined", "articles": articles})),
        [""; 0],
        "what was declined is not on the invoice"
    );
    assert_eq!(
        told(&json!({"state": "completed"})),
        [
            "state_follows: state is completed, expected created; articles[].state reserved; payments[].state open"
        ]
    );
}

#[tokio::test]
async fn a_payment_that_stands_twice_is_collected_once() {
    let payment = |amount: Value| json!({"id": "p1", "state": "collected", "amount": amount, "currency": "EUR"});
    let article = json!({"id": "a1", "state": "done", "amount": 5, "tax_amount": 0.5});
    let sale = |payments: Value| {
        sale(
            &json!({"state": null, "invoice": {"amount": 5, "tax_amount": 0.5, "currency": "EUR"},
            "articles": [article, article], "payments": payments}),
        )
    };
    for (payments, told, collected) in [
        (
            json!([payment(json!(5)), payment(json!(5))]),
            "the same",
            "5.0000",
        ),
        (
            json!([payment(json!(4)), payment(json!(5))]),
            "another version of it, which counts",
            "5.0000",
        ),
    ] {
        let page = json!({"data": [sale(payments)]}).to_string();
        let decoded = HECONE.decode("transactions", &page);
        let warned: Vec<String> = decoded
            .warnings
            .iter()
            .map(|w| format!("{}: {}", w.rule, w.original))
            .collect();
        assert_eq!(
            warned,
            [
                "article_id_unique: articles[0] is left out: articles names it again behind, the same".to_owned(),
                format!("payment_id_unique: payments[0] is left out: payments names it again behind, {told}"),
                "state_given: state is missing: the state that follows from its articles and payments counts, if one does".to_owned(),
                "time_given: invoice.created_at is missing, and so is articles[].start_time, payments[].created_at: it has no time and is of no day"
                    .to_owned(),
            ]
        );
        let session = HECONE.session(&[("transactions", page)]);
        let rows = HECONE.unified(&session, "payments").await;
        assert_eq!(
            by_key(&rows, "amount")
                .into_values()
                .flatten()
                .collect::<Vec<_>>(),
            [collected]
        );
        let rows = HECONE.unified(&session, "articles").await;
        assert_eq!(by_key(&rows, "amount").len(), 1);
        let rows = HECONE.unified(&session, "transactions").await;
        assert_eq!(
            by_key(&rows, "state")
                .into_values()
                .flatten()
                .collect::<Vec<_>>(),
            ["completed"]
        );
    }
}

#[tokio::test]
async fn payments_and_articles_whose_ids_name_nothing_are_all_there() {
    for nothing in [
        json!("null"),
        json!("undefined"),
        json!("-"),
        json!("0"),
        json!(0),
        json!("00000000-0000-0000-0000-000000000000"),
    ] {
        let payment = |amount: u8| json!({"id": nothing, "state": "collected", "amount": amount, "currency": "EUR"});
        let article = |amount: u8| json!({"id": nothing, "product_id": nothing, "state": "done", "amount": amount, "tax_amount": 0});
        let sale = sale(
            &json!({"site_id": nothing, "mandator_id": nothing, "point_id": nothing, "invoice": {"amount": 10, "tax_amount": 0, "currency": "EUR"},
            "articles": [article(4), article(6)], "payments": [payment(4), payment(6)]}),
        );
        let session = HECONE.session(&[("transactions", json!({"data": [sale]}).to_string())]);
        for table in ["payments", "articles"] {
            let rows = HECONE.unified(&session, table).await;
            let amounts: Vec<String> = by_key(&rows, "amount").into_values().flatten().collect();
            assert_eq!(amounts, ["4.0000", "6.0000"], "{table} {nothing}");
        }
        let rows = HECONE.unified(&session, "transactions").await;
        for reference in ["site_key", "point_key", "device_key", "tenant_id"] {
            let keys: Vec<Option<String>> = by_key(&rows, reference).into_values().collect();
            assert_eq!(keys, [None::<String>], "{reference} {nothing}");
        }
        for table in ["sites", "points", "products", "tenants"] {
            let rows = HECONE.unified(&session, table).await;
            let found: usize = rows.iter().map(arrow::array::RecordBatch::num_rows).sum();
            assert_eq!(found, 0, "{table} {nothing}");
        }
    }
}

#[test]
fn amounts_that_no_coin_has_and_payments_without_one_are_told() {
    let yen = json!({"invoice": {"amount": 1.005, "tax_amount": 0.12, "currency": "JPY"}, "articles": [],
        "payments": [{"state": "collected", "amount": null, "currency": "JPY"}, {"state": "open", "amount": null}]});
    let told = told(&yen);
    assert!(
        told.contains(
            &"payment_amount_known: payments[0].amount is missing, and payments[0].state is collected".to_owned()
        ),
        "{told:?}"
    );
    let fits = told
        .iter()
        .filter(|words| words.starts_with("invoice_amount_fits: 1.005 JPY has too many decimals"))
        .count();
    assert_eq!(fits, 1, "{told:?}");
    assert!(
        !told.iter().any(|words| words.contains("payments[1]")),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_was_collected_in_another_currency_is_not_compared_with_the_invoice() {
    let payment = |id: &str, state: &str, amount: i64, currency: Value| json!({"id": id, "state": state, "amount": amount, "currency": currency});
    let article =
        json!({"id": "a1", "state": "done", "amount": 15, "tax_amount": 0.5, "currency": "EUR"});
    let euros = payment("p1", "collected", 10, json!("EUR"));
    let dollars = payment("p2", "collected", 5, json!("USD"));
    for (more, derived) in [
        (json!([]), Some("consumed")),
        (json!([dollars]), None),
        (
            json!([payment("p3", "collected", 5, json!(" eur"))]),
            Some("completed"),
        ),
        (
            json!([payment("p3", "collected", 5, Value::Null)]),
            Some("completed"),
        ),
        (
            json!([payment("p3", "open", 5, json!("USD"))]),
            Some("consumed"),
        ),
        (
            json!([dollars, payment("p3", "declined", 5, json!("USD"))]),
            Some("declined"),
        ),
    ] {
        let mut payments = vec![euros.clone()];
        payments.extend(more.as_array().unwrap().iter().cloned());
        let sale = sale(
            &json!({"state": "completed", "articles": [article], "payments": payments,
            "invoice": {"amount": 15, "tax_amount": 0.5, "currency": "EUR"}}),
        );
        let page = json!({"data": [sale]}).to_string();
        let decoded = HECONE.decode("transactions", &page);
        let is_told = decoded.warnings.iter().any(|w| &*w.rule == "state_follows");
        let differs = derived.is_some_and(|derived| derived != "completed");
        assert_eq!(is_told, differs, "{more}");
        let session = HECONE.session(&[("transactions", page)]);
        let rows = HECONE.unified(&session, "transactions").await;
        let states: Vec<_> = by_key(&rows, "state_derived").into_values().collect();
        assert_eq!(states, [derived.map(str::to_owned)], "{more}");
    }
}

#[test]
fn a_payment_without_a_state_is_told() {
    let payment = |state: Value| json!({"state": state, "amount": 1.7, "currency": "EUR"});
    for none in [Value::Null, json!(""), json!("\u{a0}")] {
        let told = told(&json!({"payments": [payment(json!("open")), payment(none.clone())]}));
        assert_eq!(
            told,
            ["payment_state_given: payments[1].state is missing: it does not count as collected"],
            "{none}"
        );
    }
}

#[tokio::test]
async fn how_was_paid_is_told_in_the_common_words() {
    let payments = json!([
        {"type": "pspcard", "medium": "CARD ", "scheme": "7 byte uid", "entry_mode": null, "card_entrymode": "remote", "function": "Single Card"},
        {"type": "FleetCard", "medium": "App"},
    ]);
    let session = HECONE.session(&[(
        "transactions",
        json!({"data": [sale(&json!({"payments": payments}))]}).to_string(),
    )]);
    let rows = HECONE.unified(&session, "payments").await;
    let words =
        |column: &str| -> Vec<Option<String>> { by_key(&rows, column).into_values().collect() };
    let some = |word: &str| Some(word.to_owned());
    assert_eq!(words("type"), [some("PSPCard"), some("FleetCard")]);
    assert_eq!(words("medium"), [some("Card"), some("App")]);
    assert_eq!(words("scheme"), [some("7 Byte UID"), None]);
    assert_eq!(words("entry_mode"), [some("Remote"), None]);
    assert_eq!(words("function"), [some("SingleCard"), None]);
}

#[tokio::test]
async fn a_word_is_one_whatever_its_spelling() {
    let record = |id: &str, state: &str, article: &str, payment: &str| {
        let mut record = sale(&json!({"state": state}));
        record["id"] = id.into();
        record["invoice"] =
            json!({"amount": 1.7, "paid_amount": 1.7, "currency": "EUR", "tax_amount": 0.12});
        record["articles"][0]["state"] = article.into();
        record["receipt"]["state"] = state.into();
        record["payments"] = json!([
            {"id": "p", "state": payment, "amount": 1.7, "currency": "\u{ff25}ur", "medium": "ＣＡＲＤ", "type": " ", "scheme": "Unheard Of",
             "entry_mode": "\u{200b}", "card_entrymode": "contactLESS"}
        ]);
        record
    };
    let spellings = [
        ("1", "completed", "done", "collected"),
        ("2", "Completed", "Done", "COLLECTED"),
        ("3", " completed\t", " done", "collected "),
        (
            "4",
            "\u{ff23}\u{ff2f}\u{ff2d}PLETED",
            "do\u{200b}ne",
            "\u{feff}Collected",
        ),
        (
            "5",
            "\u{a0}COMPLETED\u{3000}",
            "D\u{ad}ONE",
            "colle\u{2060}cted",
        ),
        ("6", "", "done", "collected"),
        ("7", "\u{200b}", "DONE", "Collected"),
    ];
    let records: Vec<Value> = spellings
        .iter()
        .map(|(id, sale, article, payment)| record(id, sale, article, payment))
        .collect();
    let page = json!({"data": records}).to_string();
    let decoded = HECONE.decode("transactions", &page);
    let told: Vec<&str> = decoded
        .warnings
        .iter()
        .map(|w| &*w.rule)
        .filter(|rule| rule.contains("state"))
        .collect();
    assert_eq!(
        (decoded.rejects.len(), told),
        (0, vec!["state_given"; 2]),
        "another spelling is no contradiction; no state is told"
    );
    let session = HECONE.session(&[("transactions", page)]);
    let all = |rows: &[_], column: &str| {
        by_key(rows, column)
            .into_values()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
    };
    let rows = HECONE.unified(&session, "transactions").await;
    for (column, word) in [
        ("state", "completed"),
        ("state_derived", "completed"),
        ("kind", "sale"),
        ("currency", "EUR"),
    ] {
        assert_eq!(all(&rows, column), [word; 7], "{column}");
    }
    let rows = HECONE.unified(&session, "articles").await;
    for (column, word) in [("state", "done"), ("transaction_state", "completed")] {
        assert_eq!(all(&rows, column), [word; 7], "{column}");
    }
    let rows = HECONE.unified(&session, "payments").await;
    let words = [
        ("state", "collected"),
        ("currency", "EUR"),
        ("medium", "Card"),
        ("method", "card"),
        ("type", ""),
        ("scheme", "unheard of"),
        ("entry_mode", "Contactless"),
    ];
    for (column, word) in words {
        assert_eq!(all(&rows, column), [word; 7], "{column}");
    }
}

#[tokio::test]
async fn a_refund_is_taken_away_once_with_signs_or_without() {
    let refund = |id: &str, articles: [i64; 2], payments: &[i64], rest: Value| {
        let mut record = sale(&rest);
        record["id"] = id.into();
        record["state"] = "completed".into();
        record["invoice"] = json!({"amount": -10, "paid_amount": payments[0], "currency": "EUR", "tax_amount": payments[0].signum()});
        let articles = articles.map(|amount| {
            json!({"state": "done", "amount": amount, "tax_amount": amount.signum(), "quantity": 2, "unit_measure": "l", "currency": "EUR"})
        });
        record["articles"] = json!(articles);
        let payments = payments
            .iter()
            .map(|amount| json!({"state": "collected", "amount": amount, "currency": "EUR"}));
        record["payments"] = payments.collect();
        record
    };
    let records = [
        refund("1", [4, 6], &[10], json!({})),
        refund("2", [-4, -6], &[-10], json!({})),
        refund("3", [-4, -6], &[10], json!({})),
        refund("4", [4, 6], &[7, 3], json!({})),
        // Some have a sign, so that all of them are told with it.
        refund("5", [2, -12], &[-12, 2], json!({})),
    ];
    let session = HECONE.session(&[("transactions", json!({"data": records}).to_string())]);
    let all = |rows: &[_], column: &str| {
        by_key(rows, column)
            .into_values()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
    };
    let rows = HECONE.unified(&session, "transactions").await;
    assert_eq!(all(&rows, "kind"), ["refund"; 5]);
    assert_eq!(all(&rows, "amount"), ["-10.0000"; 5]);
    assert_eq!(all(&rows, "tax_amount"), ["-1.0000"; 5]);
    assert_eq!(
        all(&rows, "paid_amount"),
        ["-10.0000", "-10.0000", "-10.0000", "-7.0000", "-12.0000"]
    );
    let rows = HECONE.unified(&session, "payments").await;
    assert_eq!(
        all(&rows, "amount"),
        [
            "-10.0000", "-10.0000", "-10.0000", "-7.0000", "-3.0000", "-12.0000", "2.0000"
        ]
    );
    let rows = HECONE.unified(&session, "articles").await;
    let (four, six) = ("-4.0000", "-6.0000");
    assert_eq!(
        all(&rows, "amount"),
        [
            four, six, four, six, four, six, four, six, "2.0000", "-12.0000"
        ]
    );
    let back = "-2.000000";
    assert_eq!(
        all(&rows, "quantity"),
        [
            back, back, back, back, back, back, back, back, "2.000000", back
        ]
    );
}

#[tokio::test]
async fn what_counts_decides_whether_a_refund_is_told_without_a_sign() {
    let refund = |id: &str, articles: &[(&str, i64)], payments: &[(&str, i64)]| {
        let line = |(state, amount): &(&str, i64)| json!({"state": state, "amount": amount, "tax_amount": 0, "currency": "EUR"});
        let mut record = sale(&json!({
            "state": "completed", "invoice": {"amount": -10, "tax_amount": 0, "currency": "EUR"},
            "articles": articles.iter().map(line).collect::<Vec<_>>(),
            "payments": payments.iter().map(line).collect::<Vec<_>>(),
        }));
        record["id"] = id.into();
        record
    };
    let (done, collected, declined) = ("done", "collected", "declined");
    let records = [
        // One that never came to anything has a sign, and it is its own alone.
        refund(
            "1",
            &[(done, 10), (declined, -10)],
            &[(collected, 10), (declined, -10)],
        ),
        refund(
            "2",
            &[(" Done", 10), ("error", -3)],
            &[(" Collected", 10), ("error", -10)],
        ),
        // What counts has no sign, and so has the rest none.
        refund(
            "3",
            &[(done, 10), (declined, 3)],
            &[(collected, 10), (declined, 10)],
        ),
        // What counts has one, and so the rest is what it says.
        refund(
            "4",
            &[(done, -10), (declined, 3)],
            &[(collected, -10), (declined, 10)],
        ),
        refund(
            "5",
            &[(done, -12), (done, 2)],
            &[(collected, -12), (collected, 2)],
        ),
        // Where nothing counts, all of them decide.
        refund(
            "6",
            &[(declined, 10), ("error", 4)],
            &[(declined, 10), ("open", 4)],
        ),
        refund(
            "7",
            &[(declined, 10), ("error", -4)],
            &[(declined, 10), ("open", -4)],
        ),
    ];
    let session = HECONE.session(&[("transactions", json!({"data": records}).to_string())]);
    for (table, expected) in [
        (
            "articles",
            [
                [-10, -10],
                [-10, -3],
                [-10, -3],
                [-10, 3],
                [-12, 2],
                [-10, -4],
                [10, -4],
            ],
        ),
        (
            "payments",
            [
                [-10, -10],
                [-10, -10],
                [-10, -10],
                [-10, 10],
                [-12, 2],
                [-10, -4],
                [10, -4],
            ],
        ),
    ] {
        let rows = HECONE.unified(&session, table).await;
        let amounts = expected
            .iter()
            .flatten()
            .map(|amount| format!("{amount}.0000"));
        let found: Vec<String> = by_key(&rows, "amount").into_values().flatten().collect();
        assert_eq!(found, amounts.collect::<Vec<_>>(), "{table}");
    }
}

#[tokio::test]
async fn goods_that_are_given_back_are_taken_away_and_their_price_is_above_zero() {
    let article = |amount: Value, quantity: i64, price: i64| {
        json!({
            "state": "done", "amount": amount, "tax_amount": 0, "quantity": quantity, "unit_price": price, "unit_measure": "l",
            "currency": "EUR",
        })
    };
    let record = |id: &str, amount: i64, articles: Value| {
        let mut record = sale(&json!({
            "state": "completed", "invoice": {"amount": amount, "tax_amount": 0, "currency": "EUR"}, "articles": articles,
            "payments": [{"state": "collected", "amount": amount, "currency": "EUR"}],
        }));
        record["id"] = id.into();
        record
    };
    let records = [
        record(
            "1",
            14,
            json!([
                article(json!(20), 10, 2),
                article(json!(-5), 5, 1),
                article(json!(-1), 1, 4)
            ]),
        ),
        record("2", -10, json!([article(json!(-10), 5, -2)])),
        record("3", -10, json!([article(json!(10), 5, 2)])),
        record("4", -10, json!([article(json!(-10), -5, 2)])),
        record("5", -10, json!([article(Value::Null, 5, -2)])),
        // A line that is told with its sign is as it was.
        record(
            "6",
            16,
            json!([
                article(json!(20), 10, 2),
                article(json!(-4), 1, -4),
                article(json!(0), 1, 2)
            ]),
        ),
    ];
    let session = HECONE.session(&[("transactions", json!({"data": records}).to_string())]);
    let rows = HECONE.unified(&session, "articles").await;
    let all = |column: &str| {
        by_key(&rows, column)
            .into_values()
            .flatten()
            .collect::<Vec<_>>()
    };
    let quantities = [10, -5, 1, -5, -5, -5, -5, 10, 1, 1];
    assert_eq!(
        all("quantity"),
        quantities.map(|quantity| format!("{quantity}.000000"))
    );
    let prices: Vec<String> = all("unit_price")
        .iter()
        .map(|price| price.split('.').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(prices, ["2", "1", "4", "2", "2", "2", "2", "2", "-4", "2"]);
}

#[tokio::test]
async fn goods_that_are_given_back_are_known_by_the_coin_of_their_currency() {
    let returned = |nth: usize, (currency, amount, quantity, price): (&str, &str, &str, &str)| {
        let number = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let article = |amount: &str, quantity: &str, price: &str| json!({"state": "done", "amount": number(amount), "quantity": number(quantity), "unit_price": number(price), "unit_measure": "pc"});
        let mut record = sale(&json!({
            "state": "completed", "invoice": {"amount": 9000, "currency": currency},
            "articles": [article("9000", "1", "9000"), article(amount, quantity, price)], "payments": [],
        }));
        record["id"] = nth.to_string().into();
        record
    };
    // 16.53 x 121 is 2000.13, and 2.5 x 1.001 is 2.5025.
    let returns = [
        ("JPY", "-2000", "16.53", "121"),
        ("EUR", "-2000", "16.53", "121"),
        ("KWD", "-2.502", "2.5", "1.001"),
        ("KWD", "-2.5", "2.5", "1.001"),
        ("EUR", "-2.5", "2.5", "1.001"),
    ];
    let records: Vec<Value> = returns
        .into_iter()
        .enumerate()
        .map(|(nth, told)| returned(nth, told))
        .collect();
    let session = HECONE.session(&[("transactions", json!({"data": records}).to_string())]);
    let rows = HECONE.unified(&session, "articles").await;
    let quantities: Vec<String> = by_key(&rows, "quantity")
        .into_values()
        .flatten()
        .filter(|quantity| quantity != "1.000000")
        .collect();
    let expected = ["-16.53", "16.53", "-2.5", "2.5", "-2.5"];
    let expected = expected.map(|quantity| {
        let digits = quantity
            .split_once('.')
            .map_or(0, |(_, digits)| digits.len());
        format!("{quantity}{}", "0".repeat(6 - digits))
    });
    assert_eq!(quantities, expected);
}

#[tokio::test]
async fn quantities_are_in_base_units_and_unknown_units_are_their_own() {
    let article = |id: &str, unit: Value, quantity: f64, price: f64| {
        json!({"state": "done", "product_id": id, "amount": 10, "quantity": quantity, "free_quantity": quantity, "max_quantity": null, "unit_price": price,
            "unit_measure": unit, "currency": "EUR"})
    };
    let articles = [
        article("a", json!("ML"), 500.0, 0.02),
        article("b", json!("hl"), 2.0, 5.0),
        article("c", json!("MWh"), 0.5, 20.0),
        article("d", json!("t"), 0.01, 1000.0),
        // A price of 0.1234567 has more digits than a column.
        article("e", json!("MWh"), 0.5, 123.4567),
        article("f", json!("Barrel"), 5.0, 2.0),
        article("g", json!("h"), 5.0, 2.0),
        article("h", Value::Null, 5.0, 2.0),
    ];
    let record = sale(&json!({"articles": articles}));
    let session = HECONE.session(&[("transactions", json!({"data": [record]}).to_string())]);
    let rows = HECONE.unified(&session, "articles").await;
    let all = |column: &str| {
        by_key(&rows, column)
            .into_values()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        all("unit_measure"),
        ["l", "l", "kWh", "kg", "MWh", "barrel", "h", ""]
    );
    assert_eq!(
        all("source_unit"),
        ["ML", "hl", "MWh", "t", "MWh", "Barrel", "h", ""]
    );
    let quantities = ["0.5", "200.0", "500.0", "10.0", "0.5", "5.0", "5.0", "5.0"];
    for column in ["quantity", "free_quantity"] {
        assert_eq!(
            all(column),
            quantities.map(|quantity| format!("{quantity}00000")),
            "{column}"
        );
    }
    assert_eq!(
        all("unit_price"),
        [
            "20.000000",
            "0.050000",
            "0.020000",
            "1.000000",
            "123.456700",
            "2.000000",
            "2.000000",
            "2.000000"
        ]
    );
    let rows = HECONE.unified(&session, "products").await;
    let units: Vec<_> = by_key(&rows, "unit_measure")
        .into_values()
        .flatten()
        .collect();
    assert_eq!(units, ["l", "l", "kWh", "kg", "kWh", "barrel", "h"]);
}

#[test]
fn refunds_that_are_told_without_a_sign_are_no_contradiction() {
    let refund = |amount: i64, tax: f64, quantity: i64| {
        let article = json!({"state": "done", "amount": amount, "tax_amount": tax, "quantity": quantity, "unit_price": 2, "currency": "EUR"});
        let words = told(&json!({
            "state": "completed", "invoice": {"amount": -10, "tax_amount": -1.6, "currency": "EUR"}, "articles": [article],
            "payments": [{"state": "collected", "amount": -10, "currency": "EUR"}],
        }));
        let rules = ["articles_add_up", "taxes_add_up", "article_multiplies"];
        words
            .into_iter()
            .filter(|words| rules.iter().any(|rule| words.starts_with(*rule)))
            .collect::<Vec<_>>()
    };
    assert_eq!(refund(10, 1.6, 5), [""; 0]);
    assert_eq!(refund(-10, -1.6, -5), [""; 0]);
    assert_eq!(refund(-10, 1.6, 5), [""; 0]);
    assert_eq!(refund(9, 1.6, 5).len(), 2, "nine are not ten");
    assert_eq!(refund(10, 1.5, 5).len(), 1);
}

#[test]
fn amounts_are_rounded_to_the_coin_of_their_currency() {
    let told = |currency: &str, price: f64, [amount, tax]: [f64; 2], [total, taxes]: [f64; 2]| {
        let article = json!({"state": "done", "amount": amount, "tax_amount": tax, "quantity": 1.5, "unit_price": price});
        let words = told(&json!({
            "invoice": {"amount": total, "tax_amount": taxes, "paid_amount": total, "currency": currency}, "articles": [article],
            "payments": [{"state": "collected", "amount": amount}],
        }));
        let rules = [
            "articles_add_up",
            "taxes_add_up",
            "paid_amount_adds_up",
            "article_multiplies",
        ];
        let told = words
            .iter()
            .filter(|words| rules.iter().any(|rule| words.starts_with(*rule)));
        told.count()
    };
    assert_eq!(told("JPY", 333.0, [500.0, 45.0], [501.0, 46.0]), 0);
    assert_eq!(told("JPY", 333.0, [501.0, 45.0], [503.0, 47.0]), 4);
    assert_eq!(told("KWD", 1.0, [1.501, 0.1], [1.502, 0.101]), 0);
    assert_eq!(told("KWD", 1.0, [1.505, 0.1], [1.51, 0.105]), 4);
}

#[test]
fn what_the_invoice_says_was_paid_is_compared_with_what_was_collected() {
    let off = |paid: Value, payments: Value| {
        let words = told(&json!({
            "state": "completed", "payments": payments,
            "invoice": {"amount": 1.7, "tax_amount": 0.12, "paid_amount": paid, "currency": "EUR"},
        }));
        let off = words.into_iter().find_map(|words| {
            let words = words.strip_prefix("paid_amount_adds_up: ")?;
            Some(words.to_owned())
        });
        off.unwrap_or_default()
    };
    let payment = |state: &str, amount: f64, currency: &str| json!({"state": state, "amount": amount, "currency": currency});
    let collected = |amount| payment("collected", amount, "EUR");
    for (paid, payments) in [
        (json!(1.7), json!([collected(1.7)])),
        (json!(1.7), json!([collected(1.2), collected(0.49)])),
        (
            json!(1.7),
            json!([
                payment("declined", 1.7, "EUR"),
                payment("Collected ", 1.7, "EUR")
            ]),
        ),
        (json!(0), json!([payment("open", 1.7, "EUR")])),
        // Nobody tells what was collected, or what was paid; and dollars are no euros.
        (json!(1.7), json!([])),
        (json!(1.7), json!([{"amount": 1.7, "currency": "EUR"}])),
        (Value::Null, json!([collected(1.7)])),
        (json!(1.7), json!([payment("collected", 2.0, "USD")])),
    ] {
        assert_eq!(off(paid.clone(), payments.clone()), "", "{paid} {payments}");
    }
    let words = "invoice.paid_amount is 1.7, expected";
    for (payments, sum) in [
        (json!([collected(1.5)]), "1.5"),
        (json!([collected(1.7), collected(0.02)]), "1.72"),
        (json!([payment("declined", 1.7, "EUR")]), "0"),
    ] {
        let told = off(json!(1.7), payments);
        assert!(told.starts_with(&format!("{words} {sum} = ")), "{told}");
    }
}

#[test]
fn a_sale_that_is_over_without_an_amount_is_told() {
    let without = |state: &str| {
        let words = told(&json!({"state": state, "invoice": {"amount": null, "currency": "EUR"}}));
        words
            .into_iter()
            .filter(|words| words.starts_with("invoice_amount_known"))
            .collect::<Vec<_>>()
    };
    for state in ["completed", "consumed", " Completed"] {
        let [one]: [String; 1] = without(state).try_into().unwrap();
        assert!(
            one.starts_with("invoice_amount_known: invoice.amount is missing, and state is "),
            "{one}"
        );
    }
    for state in ["created", "pending", "declined", "error"] {
        assert_eq!(without(state), [""; 0], "{state}");
    }
}

#[tokio::test]
async fn a_currency_that_is_guessed_is_the_first_that_is_named_and_is_told() {
    let record = |id: &str, articles: [Value; 2], payment: Value| {
        let article = |currency: Value| json!({"state": "done", "amount": 5, "tax_amount": 0.5, "currency": currency});
        let mut record = sale(&json!({
            "state": "completed", "invoice": {"amount": 10, "tax_amount": 1}, "articles": articles.map(article),
            "payments": [{"state": "collected", "amount": 10, "currency": payment}],
        }));
        record["id"] = id.into();
        record
    };
    let none = Value::Null;
    let records = [
        record("1", [none.clone(), json!("EUR")], json!("EUR")),
        record("2", [none.clone(), none.clone()], json!("chf")),
        record("3", [none.clone(), none.clone()], none.clone()),
        // Money collected in another currency than the articles' is not compared with what is owed.
        record("4", [json!("EUR"), json!("EUR")], json!("USD")),
    ];
    let page = json!({"data": records}).to_string();
    let told: Vec<String> = HECONE
        .decode("transactions", &page)
        .warnings
        .iter()
        .filter(|w| w.rule != "time_given")
        .map(|w| format!("{} {} {}: {}", w.key, w.rule, w.field, w.original))
        .collect();
    let invoice =
        |key: &str, words: &str| format!("{key} invoice_amount_fits invoice.amount: 10 {words}");
    let from = |column: &str| format!("names no currency: that of {column} counts");
    let nobody = "of no currency: nobody knows what it is an amount of";
    // Once a sale: its articles and payments are in the invoice's currency.
    assert_eq!(
        told,
        [
            invoice("1", &from("articles[1].currency")),
            invoice("2", &from("payments[0].currency")),
            invoice("3", nobody),
            invoice("4", &from("articles[0].currency")),
        ]
    );
    // Without an amount on the invoice they are told themselves.
    let mut early = record("5", [none.clone(), none.clone()], none);
    early["state"] = "pending".into();
    early["invoice"]["amount"] = json!(0);
    let told = HECONE.decode("transactions", &json!({"data": [early]}).to_string());
    let told: Vec<String> = told
        .warnings
        .iter()
        .filter(|w| w.original.ends_with(nobody))
        .map(|w| format!("{} {}", w.rule, w.field))
        .collect();
    assert_eq!(
        told,
        [
            "article_amount_fits articles[0].amount",
            "article_amount_fits articles[1].amount",
            "payment_amount_fits payments[0].amount",
        ]
    );
    let session = HECONE.session(&[("transactions", page)]);
    let rows = HECONE.unified(&session, "transactions").await;
    let all = |column: &str| {
        by_key(&rows, column)
            .into_values()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
    };
    assert_eq!(all("currency"), ["EUR", "CHF", "", "EUR"]);
    assert_eq!(
        all("state_derived"),
        ["completed", "completed", "completed", ""]
    );
}
