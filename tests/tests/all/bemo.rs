//! be-mo's contract and unify SQL, on the document's own sample and on what it leaves out.
//!
//! Invariant: what comes out of the sample stands in golden files, value by value.

use crate::unify_harness::{BEMO, by_key, format_rows, key, spec};
use futures::TryStreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tillhouse_bemo::BemoConnection;
use tillhouse_decode::Decoder;
use tillhouse_extract::{SourceConnection, SourceLimits};
use tillhouse_model::{Slice, Window};
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const TABLES: [&str; 6] = [
    "transactions",
    "articles",
    "payments",
    "sites",
    "products",
    "tenants",
];

#[test]
fn the_documents_sample_is_decoded() {
    let decoded = BEMO.decode("sessions", &BEMO.sample("sessions"));
    assert_eq!(
        (
            decoded.rejects.len(),
            decoded.warnings.len(),
            decoded.unknown.len()
        ),
        (0, 0, 0)
    );
    let text = format_rows(&[decoded.batch]);
    assert!(!text.contains("123456789"), "the card is a pseudonym");
    insta::assert_snapshot!("bemo_decoded_sessions", text);
}

#[tokio::test]
async fn the_documents_sample_is_unified() {
    let session = BEMO.session(&[("sessions", BEMO.sample("sessions"))]);
    for table in TABLES {
        let rows = BEMO.unified(&session, table).await;
        insta::assert_snapshot!(format!("bemo_unified_{table}"), format_rows(&rows));
    }
}

/// A purchase like the document's.
fn bought(currency: Value, amount: Value, changes: Value) -> Value {
    let mut purchase = json!({
        "currencyKey": currency, "productCategory": "Fueling", "productFamily": "Diesel", "productCode": "B7", "quantity": 10,
        "quantityUnit": "L", "tariffCode": null, "totalAmount": amount, "transactionDate": "2026-01-31T23:40:00Z", "unitPrice": 1.21
    });
    purchase
        .as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    purchase
}

/// A session like the document's, with some fields changed.
fn session(id: &str, purchases: Value, changes: Value) -> Value {
    let mut session = json!({
        "sessionId": id, "sessionStartDate": "2026-01-31T23:30:00Z", "sessionEndDate": "2026-01-31T23:45:00Z", "timeZone": "+01:00",
        "placeId": "P1", "placeName": "First", "transactions": purchases
    });
    session
        .as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    session
}

fn page(sessions: &[Value]) -> String {
    json!({"status": "Success", "errors": null, "data": sessions, "version": 1.0}).to_string()
}

fn expected(rows: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    rows.iter()
        .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
        .collect()
}

#[tokio::test]
async fn a_session_is_a_transaction_a_currency_and_each_purchase_an_article() {
    let charged = json!({"productCategory": "Charging", "productFamily": null, "productCode": "E_Fast_DC", "quantityUnit": "kWh",
        "quantity": 31.25, "transactionDate": "2026-01-31T23:35:00Z"});
    let none = json!({});
    let sessions = [
        session(
            "one",
            json!([
                bought("EUR".into(), json!(20.1), none.clone()),
                bought("EUR".into(), json!("4.90"), none.clone())
            ]),
            none.clone(),
        ),
        session(
            "two",
            json!([
                bought("EUR".into(), json!(1.5), none.clone()),
                bought("CHF".into(), json!(12), charged.clone()),
                bought("EUR".into(), json!(2.25), charged),
                bought(Value::Null, json!(3), none.clone()),
                bought(Value::Null, Value::Null, none.clone()),
            ]),
            none.clone(),
        ),
        session(
            "back",
            json!([bought("EUR".into(), json!(-5), none.clone())]),
            json!({"isRfid": true, "rfid": "04 A1", "vehicleId": "v1"}),
        ),
        session(
            "going",
            json!([bought("EUR".into(), json!(7), none.clone())]),
            json!({"sessionEndDate": null, "timeZone": null}),
        ),
        session(
            "unknown",
            json!([bought("EUR".into(), Value::Null, none.clone())]),
            json!({"placeId": null}),
        ),
        session("nothing", json!([]), none.clone()),
        session("without", Value::Null, none),
    ];
    let bench = BEMO.session(&[("sessions", page(&sessions))]);
    let rows = BEMO.unified(&bench, "transactions").await;
    let of = |column: &str| by_key(&rows, column);
    let keys = [
        "back:EUR",
        "going:EUR",
        "one:EUR",
        "two:CHF",
        "two:EUR",
        "two:none",
        "unknown:EUR",
    ];
    let some =
        |values: [Option<&str>; 7]| expected(&keys.into_iter().zip(values).collect::<Vec<_>>());
    let all = |value| some([Some(value); 7]);
    assert_eq!(
        of("amount"),
        some([
            Some("-5.0000"),
            Some("7.0000"),
            Some("25.0000"),
            Some("12.0000"),
            Some("3.7500"),
            Some("3.0000"),
            None
        ])
    );
    let (completed, eur) = (Some("completed"), Some("EUR"));
    assert_eq!(of("transaction_id"), some(keys.map(Some)));
    assert_eq!(
        of("currency"),
        some([eur, eur, eur, Some("CHF"), eur, None, eur])
    );
    assert_eq!(
        of("kind"),
        some(["refund", "sale", "sale", "sale", "sale", "sale", "sale"].map(Some))
    );
    let states = some([
        completed,
        Some("pending"),
        completed,
        completed,
        completed,
        completed,
        completed,
    ]);
    assert_eq!(
        (of("state"), of("state_derived")),
        (states.clone(), states.clone())
    );
    assert_eq!(
        of("category"),
        some(
            [
                "fuelling", "fuelling", "fuelling", "charging", "mixed", "fuelling", "fuelling"
            ]
            .map(Some)
        )
    );
    assert_eq!(
        (of("perspective"), of("tenant_id")),
        (all("purchase"), all("acme"))
    );
    assert_eq!(of("paid_amount")["going:EUR"], None);
    // The site's own day and hour; where its clock is not known, those of UTC.
    assert_eq!(of("month"), all("2026-01"));
    let mut days = all("2026-02-01");
    days.insert("going:EUR".into(), Some("2026-01-31".into()));
    let mut hours = all("0");
    hours.insert("going:EUR".into(), Some("23".into()));
    assert_eq!((of("business_date"), of("local_hour")), (days, hours));
    assert_eq!(
        (
            of("utc_offset_minutes")["one:EUR"].as_deref(),
            &of("utc_offset_minutes")["going:EUR"]
        ),
        (Some("60"), &None)
    );
    assert_eq!(of("site_key")["unknown:EUR"], None);

    let articles = BEMO.unified(&bench, "articles").await;
    let of_article = |column: &str| by_key(&articles, column);
    let lines = [
        ("back:EUR/1", "-5.0000"),
        ("going:EUR/1", "7.0000"),
        ("one:EUR/1", "20.1000"),
        ("one:EUR/2", "4.9000"),
        ("two:CHF/1", "12.0000"),
        ("two:EUR/1", "1.5000"),
        ("two:EUR/2", "2.2500"),
        ("two:none/1", "3.0000"),
    ];
    let mut amounts: Vec<(&str, Option<&str>)> = lines
        .iter()
        .map(|(key, amount)| (*key, Some(*amount)))
        .collect();
    amounts.extend([("two:none/2", None), ("unknown:EUR/1", None)]);
    assert_eq!(
        of_article("amount"),
        expected(&amounts),
        "lines are counted within their transaction"
    );
    assert_eq!(of_article("line_number")["two:EUR/2"].as_deref(), Some("2"));
    assert_eq!(
        of_article("name")["two:CHF/1"].as_deref(),
        Some("E_Fast_DC")
    );
    assert_eq!(
        of_article("unit_measure")["two:CHF/1"].as_deref(),
        Some("kWh")
    );
    assert_eq!(
        of_article("category")["two:EUR/2"].as_deref(),
        Some("charging"),
        "its own, not the session's"
    );
    assert_eq!(
        of_article("state")["going:EUR/1"].as_deref(),
        Some("ongoing")
    );
    let by_transaction =
        |rows: BTreeMap<String, Option<String>>| -> BTreeMap<String, Option<String>> {
            rows.into_iter()
                .map(|(key, value)| (key.split('/').next().unwrap().to_owned(), value))
                .collect()
        };
    for (column, own) in [
        ("transaction_state", "state"),
        ("kind", "kind"),
        ("business_date", "business_date"),
        ("currency", "currency"),
    ] {
        assert_eq!(by_transaction(of_article(column)), of(own), "{column}");
    }

    let payments = BEMO.unified(&bench, "payments").await;
    let of_payment = |column: &str| by_transaction(by_key(&payments, column));
    for (column, own) in [
        ("amount", "amount"),
        ("currency", "currency"),
        ("transaction_state", "state"),
        ("local_hour", "local_hour"),
    ] {
        assert_eq!(of_payment(column), of(own), "{column}");
    }
    assert_eq!(of_payment("method"), all("account"));
    assert_eq!(of_payment("state")["going:EUR"].as_deref(), Some("open"));
    assert_eq!(
        of_payment("medium"),
        some([Some("RFID"), None, None, None, None, None, None])
    );
    assert!(
        of_payment("card_id")["back:EUR"]
            .as_deref()
            .unwrap()
            .starts_with("hmac1:")
    );
    assert_eq!(
        of_payment("created_at")["two:EUR"].as_deref(),
        Some("2026-01-31T23:35:00Z"),
        "its own earliest"
    );
}

#[test]
fn what_does_not_fit_is_told_and_kept() {
    let purchase = bought("EURO".into(), json!(1.00001), json!({"newField": 1}));
    let decoded = BEMO.decode(
        "sessions",
        &page(&[session(
            "odd",
            json!([purchase]),
            json!({"$scope": "forged"}),
        )]),
    );
    let mut told: Vec<(&str, &str)> = decoded
        .warnings
        .iter()
        .map(|w| (&*w.rule, &*w.field))
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("currency_known", "transactions[0].currencyKey"),
            ("rounded", "transactions[0].totalAmount"),
            ("transaction_multiplies", "transactions[0].totalAmount")
        ]
    );
    assert_eq!(
        decoded.unknown.keys().collect::<Vec<_>>(),
        ["transactions[].newField"]
    );
    assert!(
        format_rows(&[decoded.batch]).contains("account_id: acme"),
        "the account is the one that was asked for"
    );
}

#[test]
fn amounts_are_rounded_to_the_coin_of_their_currency() {
    let purchases = [("JPY", 12.0), ("KWD", 12.101), ("KWD", 12.105)];
    let purchases =
        purchases.map(|(currency, amount)| bought(currency.into(), json!(amount), json!({})));
    let decoded = BEMO.decode(
        "sessions",
        &page(&[session("coins", json!(purchases), json!({}))]),
    );
    let told: Vec<(&str, &str)> = decoded
        .warnings
        .iter()
        .map(|w| (&*w.rule, &*w.field))
        .collect();
    assert_eq!(
        told,
        [("transaction_multiplies", "transactions[2].totalAmount")]
    );
}

#[tokio::test]
async fn a_return_within_a_session_is_taken_away_and_what_makes_it_cheaper_is_not() {
    let bought = |amount: Value, quantity: Value, price: Value| {
        bought(
            "EUR".into(),
            amount,
            json!({"quantity": quantity, "unitPrice": price}),
        )
    };
    let sessions = [
        session(
            "return",
            json!([
                bought(json!(20), json!(10), json!(2)),
                bought(json!(-5), json!(2.5), json!(2)),
                bought(json!(-2.01), json!(1), json!(2)),
            ]),
            json!({}),
        ),
        session(
            "cheaper",
            json!([
                bought(json!(20), json!(10), json!(2)),
                bought(json!(-1), json!(10), json!(2)),
                bought(json!(-1), json!(1), Value::Null),
                bought(json!(-1), json!(1), json!(-1)),
            ]),
            json!({}),
        ),
        session(
            "refund",
            json!([
                bought(json!(-10), json!(5), json!(-2)),
                bought(json!(-10), json!(-5), json!(2)),
                bought(json!(-10), json!(5), json!(2)),
            ]),
            json!({}),
        ),
    ];
    let bench = BEMO.session(&[("sessions", page(&sessions))]);
    let rows = BEMO.unified(&bench, "articles").await;
    let all = |column: &str| {
        by_key(&rows, column)
            .into_values()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        all("quantity"),
        [
            "10.000000",
            "10.000000",
            "1.000000",
            "1.000000",
            "-5.000000",
            "-5.000000",
            "-5.000000",
            "10.000000",
            "-2.500000",
            "-1.000000"
        ]
    );
    let prices: Vec<String> = all("unit_price")
        .iter()
        .map(|price| price.split('.').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(prices, ["2", "2", "", "-1", "2", "2", "2", "2", "2", "2"]);
}

/// The document gives a session no state, and so none that depends on its prices.
#[tokio::test]
async fn a_purchase_without_an_amount_is_told_and_hides_neither_its_session_nor_what_the_others_cost()
 {
    let bought = |amount: Value| bought("EUR".into(), amount, json!({"quantity": null}));
    let sessions = [
        session(
            "part",
            json!([bought(Value::Null), bought(json!(7)), null]),
            json!({}),
        ),
        session("mute", json!([bought(Value::Null)]), json!({})),
        session(
            "going",
            json!([bought(Value::Null)]),
            json!({"sessionEndDate": null}),
        ),
        session("gone", json!([null]), json!({})),
        // Of what it costs nothing is known: it was not given away.
        session(
            "maybe",
            json!([bought(Value::Null), bought(json!(0))]),
            json!({}),
        ),
        session(
            "gift",
            json!([bought(json!(0)), bought(json!(0))]),
            json!({}),
        ),
    ];
    let page = page(&sessions);
    let told: Vec<String> = BEMO
        .decode("sessions", &page)
        .warnings
        .iter()
        .map(|w| format!("{} {} {}", w.key, w.rule, w.field))
        .collect();
    assert_eq!(
        told,
        [
            "part expected_object transactions[2]",
            "part total_amount_known transactions[0].totalAmount",
            "mute total_amount_known transactions[0].totalAmount",
            "going total_amount_known transactions[0].totalAmount",
            "gone expected_object transactions[0]",
            "maybe total_amount_known transactions[0].totalAmount",
        ]
    );
    let bench = BEMO.session(&[("sessions", page)]);
    let keys = ["gift:EUR", "going:EUR", "maybe:EUR", "mute:EUR", "part:EUR"];
    let some =
        |values: [Option<&str>; 5]| expected(&keys.into_iter().zip(values).collect::<Vec<_>>());
    let rows = BEMO.unified(&bench, "transactions").await;
    let states = some(
        [
            "completed",
            "pending",
            "completed",
            "completed",
            "completed",
        ]
        .map(Some),
    );
    let zero = Some("0.0000");
    assert_eq!(
        by_key(&rows, "amount"),
        some([zero, None, zero, None, Some("7.0000")])
    );
    assert_eq!(
        by_key(&rows, "kind"),
        some(["free", "sale", "sale", "sale", "sale"].map(Some))
    );
    assert_eq!(
        (by_key(&rows, "state"), by_key(&rows, "state_derived")),
        (states.clone(), states.clone())
    );
    for table in ["articles", "payments"] {
        let rows = BEMO.unified(&bench, table).await;
        for (key, state) in by_key(&rows, "transaction_state") {
            assert_eq!(
                Some(&state),
                states.get(key.split('/').next().unwrap()),
                "{table} {key}"
            );
        }
    }
}

#[tokio::test]
async fn a_currency_in_any_spelling_is_one_transaction() {
    let none = json!({});
    let purchases = json!([
        bought("EUR".into(), json!(12.1), none.clone()),
        bought("eur".into(), json!(12.1), none.clone()),
        bought(" EUR".into(), json!(12.1), none.clone()),
        bought("  ".into(), json!(12.1), none.clone()),
        bought(Value::Null, json!(12.1), none.clone()),
    ]);
    let bench = BEMO.session(&[("sessions", page(&[session("one", purchases, none)]))]);
    let rows = BEMO.unified(&bench, "transactions").await;
    assert_eq!(
        by_key(&rows, "amount"),
        expected(&[("one:EUR", Some("36.3000")), ("one:none", Some("24.2000"))])
    );
    assert_eq!(
        by_key(&rows, "currency"),
        expected(&[("one:EUR", Some("EUR")), ("one:none", None)])
    );
    let articles = BEMO.unified(&bench, "articles").await;
    let lines: Vec<String> = by_key(&articles, "line_number").into_keys().collect();
    assert_eq!(
        lines,
        [
            "one:EUR/1",
            "one:EUR/2",
            "one:EUR/3",
            "one:none/1",
            "one:none/2"
        ]
    );
    assert_eq!(
        BEMO.unified(&bench, "payments")
            .await
            .iter()
            .map(|b| b.num_rows())
            .sum::<usize>(),
        2
    );
}

#[tokio::test]
async fn networks_keep_their_sites_and_products_apart() {
    let bought = json!([bought("EUR".into(), json!(12.1), json!({}))]);
    let at =
        |id: &str, network: Value| session(id, bought.clone(), json!({"placeNetwork": network}));
    let sessions = [
        at("a", "Total".into()),
        at("b", "Shell".into()),
        at("c", "\u{a0}\u{ff34}ot\u{200b}al ".into()),
        at("d", Value::Null),
    ];
    let bench = BEMO.session(&[("sessions", page(&sessions))]);
    let sites = [
        ("a:EUR", Some("bemo:Total/P1")),
        ("b:EUR", Some("bemo:Shell/P1")),
        ("c:EUR", Some("bemo:Total/P1")),
        ("d:EUR", Some("bemo:P1")),
    ];
    for table in ["transactions", "payments"] {
        let rows = BEMO.unified(&bench, table).await;
        let keys: Vec<_> = by_key(&rows, "site_key").into_values().collect();
        assert_eq!(
            keys,
            expected(&sites).into_values().collect::<Vec<_>>(),
            "{table}"
        );
    }
    let articles = BEMO.unified(&bench, "articles").await;
    assert_eq!(
        by_key(&articles, "site_key")
            .into_values()
            .collect::<Vec<_>>(),
        expected(&sites).into_values().collect::<Vec<_>>()
    );
    let products = ["bemo:Total/B7", "bemo:Shell/B7", "bemo:Total/B7", "bemo:B7"]
        .map(|key| Some(key.to_owned()));
    assert_eq!(
        by_key(&articles, "product_key")
            .into_values()
            .collect::<Vec<_>>(),
        products
    );
    for (table, keys) in [
        ("sites", ["P1", "Shell/P1", "Total/P1", "Total/P1"]),
        ("products", ["B7", "Shell/B7", "Total/B7", "Total/B7"]),
    ] {
        let rows = BEMO.unified(&bench, table).await;
        let mut found: Vec<String> = rows
            .iter()
            .flat_map(|batch| {
                format_rows(std::slice::from_ref(batch))
                    .lines()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .filter_map(|line| {
                line.split_once("_key: bemo:")
                    .map(|(_, key)| key.to_owned())
            })
            .collect();
        found.sort();
        assert_eq!(found, keys, "{table}");
    }
}

/// The sandbox reads the document in its own way: what it serves has to fit the contract, record by record.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_sandbox_serves_fits_the_contract() {
    let options = SandboxOptions {
        transactions: 10,
        bemo_sessions: Some(400),
        ..SandboxOptions::default()
    };
    let window = Window::new(options.from, options.to).unwrap();
    let sandbox = Sandbox::start(options).await.unwrap();
    let written = json!({
        "base_url": sandbox.url_of("bemo"), "access_token": "sandbox-token", "subscription_key": "sandbox-key",
        "accounts": sandbox.accounts().join(", "),
    });
    let connection: BemoConnection = serde_json::from_value(written).unwrap();
    let source = connection
        .open(SourceLimits {
            rate_per_second: None,
            ..SourceLimits::default()
        })
        .unwrap();
    source.check().await.unwrap();
    let decoder = Decoder::new(spec("bemo", "sessions"), Some(key())).unwrap();
    for tenant in source.tenants("sessions").await.unwrap() {
        let mut pages = source.pages(&Slice {
            resource: "sessions".into(),
            tenant: tenant.clone(),
            window,
        });
        let mut records = 0;
        while let Some(page) = pages.try_next().await.unwrap() {
            let decoded = decoder
                .decode_scoped(&page.bytes, &["data"], page.scope.as_deref())
                .unwrap();
            assert_eq!(
                (
                    decoded.rejects.len(),
                    decoded.warnings.len(),
                    decoded.unknown.len()
                ),
                (0, 0, 0),
                "{tenant:?}"
            );
            records += decoded.batch.num_rows();
        }
        assert!(records > 0, "{tenant:?} has no sessions");
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn no_two_sessions_sites_or_products_have_one_key() {
    let in_currency = |currency: &str| json!([bought(currency.into(), json!(1), json!({}))]);
    let at = |id: &str, network: Value, place: &str, code: &str| {
        let purchases = json!([bought("EUR".into(), json!(1), json!({"productCode": code}))]);
        session(
            id,
            purchases,
            json!({"placeNetwork": network, "placeId": place}),
        )
    };
    let sessions = [
        session("29:EUR", in_currency("EUR"), json!({})),
        session("29", in_currency("EUR:EUR"), json!({})),
        session("30", in_currency("A%3AB"), json!({})),
        session("30:A", in_currency("B"), json!({})),
        session("30", in_currency("A:B"), json!({})),
        at("a", "N".into(), "1/2", "B7/x"),
        at("b", "N/1".into(), "2", "x"),
        at("c", Value::Null, "N/1/2", "N/B7/x"),
        at("d", Value::Null, "N%2F1/2", "N%2F1/x"),
        at("e", "N%2F1".into(), "2", "x"),
    ];
    // Two sessions of one id are two versions of it for the source table; here each is a page of its own.
    let mut found: [Vec<String>; 4] = Default::default();
    for session in sessions {
        let bench = BEMO.session(&[("sessions", page(&[session]))]);
        for (keys, table, column) in [
            (0, "transactions", "transaction_id"),
            (1, "transactions", "site_key"),
            (2, "articles", "product_key"),
            (3, "payments", "transaction_key"),
        ] {
            let rows = BEMO.unified(&bench, table).await;
            found[keys].extend(by_key(&rows, column).into_values().flatten());
        }
    }
    let [transactions, sites, products, paid] = found;
    assert_eq!(
        transactions[..5],
        [
            "29:EUR:EUR",
            "29:EUR%3AEUR",
            "30:A%253AB",
            "30:A:B",
            "30:A%3AB"
        ]
    );
    assert_eq!(
        sites[5..],
        [
            "bemo:N/1/2",
            "bemo:N%2F1/2",
            "bemo:N%2F1%2F2",
            "bemo:N%252F1%2F2",
            "bemo:N%252F1/2"
        ]
    );
    assert_eq!(
        products[5..],
        [
            "bemo:N/B7/x",
            "bemo:N%2F1/x",
            "bemo:N%2FB7%2Fx",
            "bemo:N%252F1%2Fx",
            "bemo:N%252F1/x"
        ]
    );
    let expected: Vec<String> = transactions.iter().map(|id| format!("bemo:{id}")).collect();
    assert_eq!(paid, expected);
}

#[test]
fn a_purchase_without_a_currency_is_told() {
    let purchases = json!([
        bought(Value::Null, json!(12.1), json!({})),
        bought(" ".into(), json!(0), json!({"quantity": null})),
        bought("EUR".into(), json!(12.1), json!({})),
    ]);
    let told: Vec<String> = BEMO
        .decode("sessions", &page(&[session("one", purchases, json!({}))]))
        .warnings
        .iter()
        .map(|w| format!("{} {}: {}", w.rule, w.field, w.original))
        .collect();
    assert_eq!(
        told,
        [
            "total_amount_fits transactions[0].totalAmount: 12.1 of no currency: nobody knows what it is an amount of"
        ]
    );
}

#[tokio::test]
async fn quantities_and_prices_are_in_base_units() {
    let changes = json!({"quantityUnit": "Wh", "quantity": 22500, "unitPrice": 0.00048});
    let purchases = json!([bought("EUR".into(), json!(10.8), changes)]);
    let page = page(&[session("1", purchases, json!({}))]);
    let bench = BEMO.session(&[("sessions", page)]);
    let rows = BEMO.unified(&bench, "articles").await;
    let columns = ["unit_measure", "source_unit", "quantity", "unit_price"];
    let shown = columns.map(|column| by_key(&rows, column)["1:EUR/1"].clone());
    assert_eq!(
        shown.each_ref().map(Option::as_deref),
        [Some("kWh"), Some("Wh"), Some("22.500000"), Some("0.480000")]
    );
}
