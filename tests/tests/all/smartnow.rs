//! SmartNow's contracts and unify SQL, on the document's own samples and on what they leave out.
//!
//! Invariant: what comes out stands in golden files, value by value; a statement that gives a column too many or too few for its
//! unified contract fails, and so does a value that does not fit.

use crate::source_files;
use crate::unify_harness::{UnifyHarness, by_key, format_rows, key, spec};
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use futures::TryStreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tillhouse_decode::{DecodedPage, Decoder};
use tillhouse_extract::{SourceConnection, SourceLimits};
use tillhouse_model::{Slice, Window, contract};
use tillhouse_query::Session;
use tillhouse_sandbox::{Sandbox, SandboxOptions};
use tillhouse_smartnow::SmartNowConnection;

const BENCH: UnifyHarness = UnifyHarness {
    source: "smartnow",
    records_at: &[],
    scope: Some("7"),
    parameters: PARAMETERS,
};
const PARAMETERS: &[(&str, &str)] = &[
    ("price_unit", "minor"),
    ("vat_rate", "percent"),
    ("sales_types", "3=test,4=refund,5=void"),
];

fn sample(resource: &str) -> String {
    BENCH.sample(resource)
}

fn decode(resource: &str, page: &str) -> DecodedPage {
    BENCH.decode(resource, page)
}

fn session(pages: &[(&str, String)]) -> Session {
    BENCH.session(pages)
}

async fn unified(session: &Session, table: &str) -> Vec<RecordBatch> {
    BENCH.unified(session, table).await
}

fn expected(rows: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    rows.iter()
        .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
        .collect()
}

const SAMPLES: [&str; 3] = ["revenue_transactions", "payment_transactions", "logs"];

#[test]
fn the_documents_samples_are_decoded() {
    for resource in SAMPLES {
        let decoded = decode(resource, &sample(resource));
        assert_eq!(
            (
                decoded.rejects.len(),
                decoded.warnings.len(),
                decoded.unknown.len()
            ),
            (0, 0, 0),
            "{resource}"
        );
        insta::assert_snapshot!(
            format!("smartnow_decoded_{resource}"),
            format_rows(&[decoded.batch])
        );
    }
}

#[tokio::test]
async fn the_documents_samples_are_unified() {
    let session = session(&SAMPLES.map(|resource| (resource, sample(resource))));
    for table in ["transactions", "articles", "payments", "events"] {
        let rows = unified(&session, table).await;
        insta::assert_snapshot!(format!("smartnow_unified_{table}"), format_rows(&rows));
    }
}

/// A sale like the document's, with some fields changed.
fn sale(id: i64, changes: Value) -> Value {
    changed(&sample("revenue_transactions"), id, changes)
}

fn changed(page: &str, id: i64, changes: Value) -> Value {
    let mut record = serde_json::from_str::<Vec<Value>>(page).unwrap().remove(0);
    record["id"] = id.into();
    record
        .as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    record
}

fn payment(id: i64, sale: i64, changes: Value) -> Value {
    let mut record = changed(&sample("payment_transactions"), id, changes);
    record["revenuetransaction"] = sale.into();
    record
}

fn page(records: &[Value]) -> String {
    serde_json::to_string(records).unwrap()
}

#[tokio::test]
async fn a_sale_without_a_time_zone_is_on_its_locations_clock() {
    let zones = [
        (json!("Asia/Tokyo"), json!(2)),
        (Value::Null, json!(2)),
        (json!(" "), json!(2)),
        (Value::Null, json!(3)),
        (Value::Null, json!(4)),
        (Value::Null, json!(99)),
        (Value::Null, Value::Null),
        (json!("Mars/Olympus"), json!(2)),
        (json!("Mars/Olympus"), json!(3)),
    ];
    let sales: Vec<Value> = (1..)
        .zip(&zones)
        .map(|(id, (zone, location))| {
            let at = "2019-02-06T23:30:00Z";
            sale(
                id,
                json!({"price": 300, "occurredAt": at, "timeZone": zone, "location": location}),
            )
        })
        .collect();
    let location = |id: i64, zone: Value| json!({"id": id, "name": "Kiosk", "timeZone": zone});
    let locations = [
        location(2, json!("Europe/Berlin")),
        location(3, Value::Null),
        location(4, json!("Pacific/Auckland")),
    ];
    let payments = [
        payment(10, 2, json!({"timeZone": null, "location": 2})),
        payment(
            11,
            99,
            json!({"timeZone": null, "location": 2, "occurredAt": "2019-02-06T23:30:00Z"}),
        ),
        payment(
            12,
            99,
            json!({"timeZone": null, "location": null, "occurredAt": "2019-02-06T23:30:00Z"}),
        ),
        payment(
            13,
            99,
            json!({"timeZone": "Mars/Olympus", "location": 4, "occurredAt": "2019-02-06T23:30:00Z"}),
        ),
    ];

    let told = |resource: &str, records: &[Value]| -> Vec<String> {
        let decoded = decode(resource, &page(records));
        let zones = decoded
            .warnings
            .into_iter()
            .filter(|w| w.field == "timeZone");
        zones
            .map(|w| format!("{} {}: {}", w.key, w.rule, w.original))
            .collect()
    };
    let given = |key: &str, otherwise: &str| {
        format!("{key} time_zone_given: timeZone is missing: {otherwise}")
    };
    let of_sale = "the location's counts, else the day and hour are those of UTC";
    let mut expected: Vec<String> = (2..8).map(|key| given(&key.to_string(), of_sale)).collect();
    expected.extend(["8", "9"].map(|key| format!("{key} time_zone_known: Mars/Olympus")));
    assert_eq!(told("revenue_transactions", &sales), expected);
    let of_location = "the day and hour of a sale there that names none either are those of UTC";
    assert_eq!(told("locations", &locations), [given("3", of_location)]);
    let of_payment = "as long as its sale is not there, its location's counts, else the day and hour are those of UTC";
    assert_eq!(
        told("payment_transactions", &payments),
        [
            given("10", of_payment),
            given("11", of_payment),
            given("12", of_payment),
            "13 time_zone_known: Mars/Olympus".to_owned()
        ]
    );

    let session = session(&[
        ("revenue_transactions", page(&sales)),
        ("payment_transactions", page(&payments)),
        ("locations", page(&locations)),
    ]);
    let clock = |rows: &[RecordBatch], key: &str, columns: &[&str]| -> String {
        let of = |column: &&str| by_key(rows, column)[key].clone().unwrap_or("-".into());
        columns.iter().map(of).collect::<Vec<_>>().join(" ")
    };
    let rows = unified(&session, "transactions").await;
    let columns = [
        "timezone",
        "business_date",
        "local_hour",
        "utc_offset_minutes",
    ];
    for (key, shown) in [
        ("1", "Asia/Tokyo 2019-02-07 8 540"),
        ("2", "Europe/Berlin 2019-02-07 0 60"),
        ("3", "Europe/Berlin 2019-02-07 0 60"),
        ("4", "- 2019-02-06 23 -"),
        ("5", "Pacific/Auckland 2019-02-07 12 780"),
        ("6", "- 2019-02-06 23 -"),
        ("7", "- 2019-02-06 23 -"),
        ("8", "Europe/Berlin 2019-02-07 0 60"),
        ("9", "Mars/Olympus 2019-02-06 23 -"),
    ] {
        assert_eq!(clock(&rows, key, &columns), shown, "{key}");
    }
    let rows = unified(&session, "payments").await;
    for (key, shown) in [
        ("2/10", "2019-02-07 0"),
        ("99/11", "2019-02-07 0"),
        ("99/12", "2019-02-06 23"),
        ("99/13", "2019-02-07 12"),
    ] {
        assert_eq!(clock(&rows, key, &columns[1..3]), shown, "{key}");
    }
    let rows = unified(&session, "articles").await;
    assert_eq!(clock(&rows, "2/1", &columns[1..3]), "2019-02-07 0");
}

#[tokio::test]
async fn blanks_around_an_operators_code_tell_no_products_apart() {
    let sales: Vec<Value> = (1..)
        .zip(["KAF", " KAF ", " "])
        .map(|(id, code)| sale(id, json!({"internalRef": code})))
        .collect();
    let session = session(&[("revenue_transactions", page(&sales))]);
    let articles = unified(&session, "articles").await;
    let codes: Vec<Option<String>> = by_key(&articles, "product_code").into_values().collect();
    assert_eq!(
        codes,
        [Some("KAF".to_owned()), Some("KAF".to_owned()), None]
    );
}

#[tokio::test]
async fn a_place_called_zero_is_none_and_a_product_called_zero_is_one() {
    let sales = [
        sale(1, json!({"location": 0, "machine": 0, "usergroup": 0})),
        sale(2, json!({"location": 5, "machine": 8, "product": 0})),
    ];
    let payments = [
        payment(10, 0, json!({"location": 0, "machine": "0"})),
        payment(11, 0, json!({"location": 5, "machine": 8})),
    ];
    let session = session(&[
        ("revenue_transactions", page(&sales)),
        ("payment_transactions", page(&payments)),
    ]);
    let of = |rows: &[RecordBatch], column: &str| -> Vec<Option<String>> {
        by_key(rows, column).into_values().collect()
    };
    let some = |key: &str| Some(key.to_owned());
    let rows = unified(&session, "transactions").await;
    assert_eq!(of(&rows, "site_key"), [None, some("smartnow:5")]);
    assert_eq!(of(&rows, "device_key"), [None, some("smartnow:8")]);
    let rows = unified(&session, "articles").await;
    assert_eq!(of(&rows, "product_key"), [None, some("smartnow:8/0")]);
    let rows = unified(&session, "payments").await;
    assert_eq!(of(&rows, "site_key"), [None, some("smartnow:5")]);
    assert_eq!(of(&rows, "device_key"), [None, some("smartnow:8")]);
    assert_eq!(
        of(&rows, "transaction_key"),
        ["payment_transactions/10", "payment_transactions/11"]
            .map(|key| Some(format!("smartnow:{key}")))
    );
}

#[tokio::test]
async fn what_the_samples_leave_out() {
    let sales = [
        sale(1, json!({"price": 0})),
        sale(2, json!({"price": -250})),
        sale(
            3,
            json!({"price": "180", "originalPrice": 200, "usergroup": 5}),
        ),
        sale(4, json!({"price": 1500, "currency": "JPY"})),
        sale(5, json!({"price": 1500, "currency": "???"})),
        sale(
            6,
            json!({"price": 300, "timeZone": "Mars/Olympus", "occurredAt": "2019-02-06T23:30:00+01:00"}),
        ),
        sale(
            7,
            json!({"price": 300, "occurredAt": "2019-02-06T23:30:00Z"}),
        ),
        sale(8, json!({"price": 12.5})),
        sale(9, json!({"price": 300, "currency": null, "location": null})),
    ];
    let payments = [
        payment(
            10,
            2,
            json!({"price": -250, "method": "cash", "type": "Bargeld"}),
        ),
        payment(
            11,
            3,
            json!({"price": 100, "method": "card", "type": "EC/Credit"}),
        ),
        payment(
            12,
            3,
            json!({"price": 80, "method": "code", "exclude": 1, "reportGroup": "office"}),
        ),
        payment(
            13,
            4,
            json!({"price": 1000, "currency": "JPY", "method": "token"}),
        ),
        payment(14, 6, json!({"price": 300, "currency": "USD"})),
        payment(15, 7, json!({"price": 300, "method": null, "type": "cash"})),
        payment(16, 99, json!({})),
    ];
    let decoded = decode("revenue_transactions", &page(&sales));
    let mut warned: Vec<(String, String)> = decoded
        .warnings
        .into_iter()
        .map(|w| (w.key, w.rule))
        .collect();
    warned.sort();
    let warning = |key: &str, rule: &str| (key.to_owned(), rule.to_owned());
    assert_eq!(
        warned,
        [
            warning("5", "currency_known"),
            warning("5", "price_fits_unit"),
            warning("6", "time_zone_known"),
            warning("8", "price_fits_unit"),
            warning("9", "price_fits_unit")
        ]
    );

    let session = session(&[
        ("revenue_transactions", page(&sales)),
        ("payment_transactions", page(&payments)),
    ]);
    let rows = unified(&session, "transactions").await;
    let of = |column: &str| by_key(&rows, column);
    let some = |values: [Option<&str>; 9]| {
        let keys = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        expected(&keys.into_iter().zip(values).collect::<Vec<_>>())
    };
    let all = |value| some([Some(value); 9]);
    assert_eq!(
        of("kind"),
        some(
            [
                "free", "refund", "sale", "sale", "sale", "sale", "sale", "sale", "sale"
            ]
            .map(Some)
        ),
        "free at 0, a refund below"
    );
    assert_eq!(
        of("amount"),
        some([
            Some("0.0000"),
            Some("-2.5000"),
            Some("1.8000"),
            Some("1500.0000"),
            None,
            Some("3.0000"),
            Some("3.0000"),
            Some("0.1250"),
            None
        ]),
        "minor units by the currency"
    );
    assert_eq!(
        of("discount_amount"),
        some([
            None,
            None,
            Some("0.2000"),
            None,
            None,
            None,
            None,
            None,
            None
        ])
    );
    let (consumed, completed) = (Some("consumed"), Some("completed"));
    let states = some([
        completed, completed, completed, consumed, consumed, consumed, completed, consumed,
        consumed,
    ]);
    assert_eq!(
        of("state"),
        states,
        "a payment in another currency covers nothing"
    );
    assert_eq!(of("state_derived"), states);
    assert_eq!(
        of("tenant_id"),
        some([None, None, Some("5"), None, None, None, None, None, None])
    );
    assert_eq!(
        of("currency")["5"].as_deref(),
        Some("???"),
        "unknown, and no other"
    );
    assert_eq!(of("site_key")["9"], None);
    assert_eq!(of("category"), all("vending"));
    assert_eq!(of("perspective"), all("sale"));
    // Unknown to us: the day and hour of UTC, and no offset. Known: the site's own.
    assert_eq!(
        [
            &of("business_date")["6"],
            &of("local_hour")["6"],
            &of("utc_offset_minutes")["6"]
        ]
        .map(Option::as_deref),
        [Some("2019-02-06"), Some("22"), None]
    );
    assert_eq!(
        [
            &of("business_date")["7"],
            &of("local_hour")["7"],
            &of("utc_offset_minutes")["7"]
        ]
        .map(Option::as_deref),
        [Some("2019-02-07"), Some("0"), Some("60")]
    );
    let bench = UnifyHarness {
        parameters: &[
            ("price_unit", "major"),
            ("vat_rate", "percent"),
            ("sales_types", ""),
        ],
        ..BENCH
    };
    let in_major_units = bench.unified(&session, "transactions").await;
    assert_eq!(
        by_key(&in_major_units, "amount")["3"].as_deref(),
        Some("180.0000")
    );
    let articles = unified(&session, "articles").await;
    let of_article = |column: &str| {
        by_key(&articles, column)
            .into_iter()
            .map(|(key, value)| (key.replace("/1", ""), value))
            .collect::<BTreeMap<_, _>>()
    };
    for (article, transaction) in [
        ("amount", "amount"),
        ("kind", "kind"),
        ("transaction_state", "state"),
        ("discount_amount", "discount_amount"),
    ] {
        assert_eq!(of_article(article), of(transaction), "{article}");
    }

    let quantity = of_article("quantity");
    assert_eq!(
        [&quantity["2"], &quantity["1"], &quantity["3"]].map(Option::as_deref),
        [Some("-1.000000"), Some("1.000000"), Some("1.000000")]
    );
    assert_eq!(
        of_article("unit_price")["2"].as_deref(),
        Some("2.500000"),
        "a piece costs what it cost"
    );

    let rows = unified(&session, "payments").await;
    let of = |column: &str| by_key(&rows, column);
    // A payment whose sale is not there stands by itself.
    let alone = |column: &str| of(column).get("99/16").cloned().flatten();
    for (column, value) in [
        ("transaction_key", Some("smartnow:99")),
        ("kind", None),
        ("transaction_state", None),
        ("state", Some("collected")),
        ("amount", Some("0.1000")),
        ("site_key", Some("smartnow:2")),
        ("device_key", Some("smartnow:80")),
        ("month", Some("2019-02")),
        ("business_date", Some("2019-02-06")),
        ("local_hour", Some("7")),
        ("tenant_id", None),
        ("_record_key", Some("payment_transactions/16")),
    ] {
        assert_eq!(alone(column).as_deref(), value, "{column}");
    }
    let of = |column: &str| {
        let mut all = by_key(&rows, column);
        all.remove("99/16").expect("the payment without a sale");
        all
    };
    let some = |values: [Option<&str>; 6]| {
        let keys = ["2/10", "3/11", "3/12", "4/13", "6/14", "7/15"];
        expected(&keys.into_iter().zip(values).collect::<Vec<_>>())
    };
    assert_eq!(
        of("method"),
        some(["cash", "card", "voucher", "token", "token", "cash"].map(Some))
    );
    // What the operator calls it, in the common words.
    assert_eq!(of("type")["2/10"].as_deref(), Some("Cash"));
    assert_eq!(of("type")["3/11"].as_deref(), Some("Card"));
    assert_eq!(
        of("excluded"),
        some(["false", "false", "true", "false", "false", "false"].map(Some))
    );
    assert_eq!(of("report_group")["3/12"].as_deref(), Some("office"));
    assert_eq!(
        of("amount"),
        some(
            [
                "-2.5000",
                "1.0000",
                "0.8000",
                "1000.0000",
                "3.0000",
                "3.0000"
            ]
            .map(Some)
        )
    );
    assert_eq!(of("currency")["6/14"].as_deref(), Some("USD"));
    assert_eq!(
        of("transaction_state"),
        some([
            completed, completed, completed, consumed, consumed, completed
        ]),
        "its sale's"
    );
    assert_eq!(of("kind")["2/10"].as_deref(), Some("refund"));
}

#[tokio::test]
async fn the_operators_word_tells_the_method_where_the_provider_names_none() {
    let words = [
        (Value::Null, "Bargeld", "cash"),
        (json!(" "), "Karte", "card"),
        (Value::Null, "KREDITKARTE", "card"),
        (Value::Null, "Gutschein", "voucher"),
        (Value::Null, "Jeton", "other"),
        (json!("Karte"), "Jeton", "card"),
        (json!("token"), "Bargeld", "token"),
    ];
    let payments: Vec<Value> = (10..)
        .zip(&words)
        .map(|(id, (method, word, _))| payment(id, 1, json!({"method": method, "type": word})))
        .collect();
    let session = session(&[
        ("revenue_transactions", page(&[sale(1, json!({}))])),
        ("payment_transactions", page(&payments)),
    ]);
    let rows = unified(&session, "payments").await;
    let methods: Vec<String> = by_key(&rows, "method").into_values().flatten().collect();
    assert_eq!(methods, words.map(|(.., method)| method));
}

#[tokio::test]
async fn payments_in_several_currencies_cover_no_sale_without_one() {
    let paid = [
        (json!("EUR"), "completed"),
        (Value::Null, "completed"),
        (json!("CHF"), "consumed"),
    ];
    let sales: Vec<Value> = (1..)
        .zip(&paid)
        .map(|(id, _)| sale(id, json!({"price": 300, "currency": null})))
        .collect();
    let payments: Vec<Value> = (1..)
        .zip(&paid)
        .flat_map(|(id, (currency, _))| {
            [
                payment(10 + id, id, json!({"price": 200, "currency": "EUR"})),
                payment(20 + id, id, json!({"price": 100, "currency": currency})),
            ]
        })
        .collect();
    let session = session(&[
        ("revenue_transactions", page(&sales)),
        ("payment_transactions", page(&payments)),
    ]);
    let expected = paid.map(|(_, state)| state);
    let rows = unified(&session, "transactions").await;
    let states: Vec<String> = by_key(&rows, "state").into_values().flatten().collect();
    assert_eq!(states, expected);
    let rows = unified(&session, "payments").await;
    // Two of each sale, by its key.
    let states: Vec<String> = by_key(&rows, "transaction_state")
        .into_values()
        .flatten()
        .collect();
    assert_eq!(
        states,
        expected
            .iter()
            .flat_map(|state| [*state; 2])
            .collect::<Vec<_>>()
    );
}

/// Net, tax, its origin and the article's rate of every sale.
async fn taxed(
    session: &Session,
    parameters: &'static [(&'static str, &'static str)],
) -> Vec<[Option<String>; 4]> {
    let bench = UnifyHarness {
        parameters,
        ..BENCH
    };
    let (sales, articles) = (
        bench.unified(session, "transactions").await,
        bench.unified(session, "articles").await,
    );
    let columns = ["net_amount", "tax_amount", "tax_origin"].map(|column| by_key(&sales, column));
    let rates: Vec<Option<String>> = by_key(&articles, "tax_percentage").into_values().collect();
    assert_eq!(
        by_key(&articles, "tax_amount")
            .into_values()
            .collect::<Vec<_>>(),
        columns[1].values().cloned().collect::<Vec<_>>()
    );
    let [net, tax, origin] = columns.map(|column| column.into_values().collect::<Vec<_>>());
    let mut rows = Vec::new();
    for (at, rate) in rates.into_iter().enumerate() {
        rows.push([net[at].clone(), tax[at].clone(), origin[at].clone(), rate]);
    }
    rows
}

#[tokio::test]
async fn tax_is_derived_from_the_products_rate_of_that_time() {
    let product = |id: i64, plu: i64, rate: Value, changed: &str| json!({"id": id, "plu": plu, "machine": 80, "vatrate": rate, "updatedAt": changed});
    let early = "2019-01-01T00:00:00Z";
    let products = [
        product(1, 1, json!(19), early),
        product(2, 2, json!("19"), early),
        product(3, 2, json!(7), "2019-02-06T06:00:00Z"),
        product(4, 3, json!(8.1), "2019-03-01T00:00:00Z"),
        product(5, 4, json!(null), early),
        product(6, 5, json!(0.19), early),
        product(7, 6, json!(0), early),
        product(8, 7, json!(-19), early),
    ];
    let sale = |id: i64, plu: i64, price: i64| sale(id, json!({"product": plu, "price": price}));
    let sales = [
        sale(1, 1, 119),
        sale(2, 1, -119),
        sale(3, 2, 107),
        sale(4, 3, 200),
        sale(5, 4, 100),
        sale(6, 5, 119),
        sale(7, 6, 100),
        sale(8, 7, 100),
        sale(9, 99, 100),
    ];
    let pages = [
        ("revenue_transactions", page(&sales)),
        ("payment_transactions", "[]".to_owned()),
        ("products", page(&products)),
    ];
    let session = session(&pages);
    let derived = |net: &str, tax: &str, rate: &str| {
        [Some(net), Some(tax), Some("derived"), Some(rate)].map(|v| v.map(str::to_owned))
    };
    let unknown = || [None, None, Some("unknown".to_owned()), None];
    assert_eq!(
        taxed(&session, PARAMETERS).await,
        [
            derived("1.0000", "0.1900", "19.0000"),
            derived("-1.0000", "-0.1900", "19.0000"),
            derived("1.0000", "0.0700", "7.0000"),
            // 0.149861...; the product was first seen after the sale.
            derived("1.8501", "0.1499", "8.1000"),
            unknown(),
            // A fifth of a per cent: not a rate in per cent.
            unknown(),
            derived("1.0000", "0.0000", "0.0000"),
            unknown(),
            unknown(),
        ]
    );
    let fractions = taxed(
        &session,
        &[
            ("price_unit", "minor"),
            ("vat_rate", "fraction"),
            ("sales_types", ""),
        ],
    )
    .await;
    assert_eq!(fractions[5], derived("1.0000", "0.1900", "19.0000"));
    assert_eq!(fractions[0], unknown(), "1900 per cent");
}

#[tokio::test]
async fn the_type_of_a_sale_says_its_kind_where_it_is_mapped() {
    let sale = |id: i64, salestype: i64, price: i64| {
        sale(id, json!({"salestype": salestype, "price": price}))
    };
    let sales = [
        sale(1, 0, 150),
        sale(2, 3, 150),
        sale(3, 4, 150),
        sale(4, 4, -150),
        sale(5, 5, 150),
        sale(6, 0, 0),
        sale(7, 3, 0),
        sale(8, 9, -150),
    ];
    let payments = [
        payment(30, 3, json!({"price": 150})),
        payment(40, 4, json!({"price": -150})),
    ];
    let session = session(&[
        ("revenue_transactions", page(&sales)),
        ("payment_transactions", page(&payments)),
    ]);
    let rows = unified(&session, "transactions").await;
    let articles = unified(&session, "articles").await;
    let mut found = Vec::new();
    let (kinds, amounts, paid) = (
        by_key(&rows, "kind"),
        by_key(&rows, "amount"),
        by_key(&rows, "paid_amount"),
    );
    for (key, quantity) in by_key(&articles, "quantity") {
        let key = key.replace("/1", "");
        let shown = |of: &BTreeMap<String, Option<String>>| {
            of[&key].clone().unwrap_or_else(|| "-".to_owned())
        };
        found.push(
            [
                shown(&kinds),
                shown(&amounts),
                quantity.unwrap(),
                shown(&paid),
            ]
            .join(" "),
        );
    }
    assert_eq!(
        found,
        [
            "sale 1.5000 1.000000 -",
            "test 1.5000 1.000000 -",
            "refund -1.5000 -1.000000 -1.5000",
            "refund -1.5000 -1.000000 -1.5000",
            "void 1.5000 1.000000 -",
            "free 0.0000 1.000000 -",
            "test 0.0000 1.000000 -",
            "refund -1.5000 -1.000000 -",
        ]
    );
    let payments = unified(&session, "payments").await;
    let of = |column: &str| {
        by_key(&payments, column)
            .into_values()
            .flatten()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("amount"),
        ["-1.5000", "-1.5000"],
        "given back, whatever the sign"
    );
    assert_eq!(of("kind"), ["refund", "refund"]);
    assert_eq!(of("transaction_state"), ["completed", "completed"]);
}

#[tokio::test]
async fn dimensions_vouchers_and_their_redemptions() {
    let time = "2026-01-02T03:04:05Z";
    let voucher = |id: &str, expires: Value, changes: Value| {
        let mut record = json!({
            "id": id, "code": "SECRET-CODE", "campaign": 3, "type": "gift", "value": 2000, "valueType": "cents", "currency": "EUR",
            "initialValue": 2000, "redemptionLimit": null, "redemptionCount": 1, "totalRedemptionCount": 2,
            "lastRedemptionAt": time, "lastRedemptionLocation": "Canteen", "prefix": "ABC", "resetFrequency": "never",
            "lastResetAt": null, "expiresOn": expires, "timeZone": "Europe/Amsterdam", "lockOwner": null, "lockedTill": null,
            "status": "active", "amountRedeemed": 150, "totalAmountRedeemed": 250, "createdAt": time, "updatedAt": time,
            "balance": 1750, "text1": "for the guest", "pdfUrl": "SECRET-PDF", "voucherComments": "for the guest"
        });
        record
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        record
    };
    let log = |id: i64, action: &str, success: i64| {
        json!({
            "id": id, "voucher": "v-1", "requester": "sb-80", "requesterLocation": "Canteen", "action": action, "success": success,
            "request": "SECRET-CODE", "response": "SECRET-CODE", "currency": "EUR", "createdAt": time, "updatedAt": time
        })
    };
    let pages = [
        (
            "locations",
            page(&[
                json!({"id": 2, "name": "Canteen", "address": "Zuidplein 8", "postcode": "1077 XV", "city": "Amsterdam", "country": "nl ",
                "latitude": "52.3393001234", "longitude": "4.8737", "timeZone": "Europe/Amsterdam", "updatedAt": time}),
                json!({"id": 3, "country": "Netherlands", "latitude": "5233.9", "longitude": null}),
            ]),
        ),
        (
            "machines",
            page(&[
                json!({"id": 80, "name": "Coffee", "hostname": "sb-80", "location": 2, "tag": ""}),
                json!({"id": 81, "name": "Snacks", "hostname": "sb-81", "location": 2, "tag": "T1"}),
            ]),
        ),
        (
            "products",
            page(&[
                json!({"id": 8001, "plu": 1, "name": "Kaffee klein", "price": 10, "machine": 80, "barcode": "4000000000211"}),
                json!({"id": 8002, "plu": null, "name": "nothing", "machine": 80}),
            ]),
        ),
        (
            "user_groups",
            page(&[json!({"id": 5, "name": "Continent", "deleted": false})]),
        ),
        (
            "shifts",
            page(&[
                json!({"id": 9, "location": 2, "firstTransaction": 3184234, "lastTransaction": null, "previousShift": 8, "closed": null,
                "createdAt": time, "updatedAt": time}),
            ]),
        ),
        (
            "vouchers",
            page(&[
                voucher("v-1", json!("2026-12-31T23:00:00Z"), json!({})),
                voucher("v-2", json!("2026-12-31"), json!({"currency": "JPY"})),
                voucher(
                    "v-3",
                    json!("2026-12-31 23:59:59"),
                    json!({"valueType": "points"}),
                ),
                voucher("v-4", json!("one day"), json!({"currency": null})),
            ]),
        ),
        (
            "voucher_logs",
            page(&[
                log(1, "validate", 1),
                log(2, "redeem", 1),
                log(3, "redeem", 0),
            ]),
        ),
    ];
    let session = session(&pages);
    let mut all = String::new();
    for table in [
        "sites",
        "devices",
        "products",
        "tenants",
        "shifts",
        "vouchers",
        "voucher_redemptions",
    ] {
        let rows = unified(&session, table).await;
        writeln!(all, "# {table}\n\n{}", format_rows(&rows)).unwrap();
    }
    assert!(!all.contains("SECRET") && !all.contains("guest"), "{all}");
    insta::assert_snapshot!("smartnow_unified_dimensions", all);
}

#[test]
fn a_vouchers_minor_units_need_a_currency() {
    let vouchers = [
        json!({"id": "a", "value": 500, "balance": 250, "initialValue": 0, "currency": null}),
        json!({"id": "b", "value": 500, "balance": 250, "currency": "eur"}),
        json!({"id": "c", "totalAmountRedeemed": 5, "currency": "???"}),
        json!({"id": "d", "type": "inherit"}),
    ];
    let decoded = decode("vouchers", &page(&vouchers));
    let units = decoded
        .warnings
        .into_iter()
        .filter(|w| w.rule.ends_with("_fits_unit"));
    let mut told: Vec<String> = units
        .map(|w| format!("{} {} {}", w.key, w.field, w.original))
        .collect();
    told.sort();
    let unknown = "is in minor units, and nobody knows how many of them make a major one";
    assert_eq!(
        told,
        [
            format!("a balance 250 of no currency {unknown}"),
            format!("a value 500 of no currency {unknown}"),
            format!("c totalAmountRedeemed 5 ??? {unknown}"),
        ]
    );
}

/// The sandbox reads the document in its own way: what it serves has to fit the contracts, record by record.
#[tokio::test(flavor = "multi_thread")]
async fn every_resource_of_the_sandbox_fits_its_contract() {
    let options = SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(400),
        ..SandboxOptions::default()
    };
    let window = Window::new(options.from, options.to).unwrap();
    let sandbox = Sandbox::start(options).await.unwrap();
    let written = json!({"base_url": sandbox.url_of("smartnow"), "username": "sandbox", "password": "sandbox-secret"});
    let connection: SmartNowConnection = serde_json::from_value(written).unwrap();
    let source = connection
        .open(SourceLimits {
            rate_per_second: None,
            ..SourceLimits::default()
        })
        .unwrap();
    source.check().await.unwrap();
    for resource in source.resources() {
        let slice = Slice {
            resource: resource.name.into(),
            tenant: None,
            window,
        };
        let mut pages = source.pages(&slice);
        let mut records = 0;
        while let Some(page) = pages.try_next().await.unwrap() {
            let decoder = Decoder::with_parameters(
                spec("smartnow", resource.name),
                Some(key()),
                &source.parameters(),
            )
            .unwrap();
            let decoded = decoder
                .decode_scoped(&page.bytes, &[], page.scope.as_deref())
                .unwrap();
            assert_eq!(decoded.rejects, [], "{}", resource.name);
            assert_eq!(decoded.warnings, [], "{}", resource.name);
            assert!(
                decoded.unknown.is_empty(),
                "{}: {:?}",
                resource.name,
                decoded.unknown
            );
            records += decoded.batch.num_rows();
        }
        assert!(records > 0, "{} has no records", resource.name);
    }
}

/// Field names that are secrets, personal or free text about people must never be stored as they came, in whatever resource.
#[test]
fn secrets_and_people_are_kept_out_of_every_table() {
    use tillhouse_model::ColumnClass;
    let closed = [
        "code",
        "pdfUrl",
        "vouchersPdfUrl",
        "request",
        "response",
        "voucherComments",
        "ownerData",
        "details",
    ];
    let people = ["email", "username", "token"];
    let mut seen = 0;
    for path in source_files::files("schemas/smartnow", "yaml") {
        let spec = contract::parse(&source_files::text(&path), &source_files::name(&path)).unwrap();
        for column in &spec.columns {
            let name = column.json_name.as_str();
            // An event's or an error's code is no voucher's, and neither is what is paid by one.
            let closed = closed.contains(&name) && !(name == "code" && spec.name != "vouchers");
            let person =
                people.contains(&name) || (spec.name == "alert_recipients" && name == "name");
            assert!(!closed || !column.class.is_stored(), "{}.{name}", spec.name);
            assert!(
                !person || matches!(column.class, ColumnClass::Pseudonym(_)),
                "{}.{name}",
                spec.name
            );
            assert!(
                !name.to_lowercase().contains("encryption"),
                "{}.{name}",
                spec.name
            );
            seen += usize::from(closed || person);
            if let Some(DataType::Float64 | DataType::Float32) =
                column.class.is_stored().then(|| column.kind.data_type())
            {
                panic!("{}.{name} is a float", spec.name);
            }
        }
    }
    assert_eq!(seen, 14, "the fields are where they are looked for");
}
