//! PACE's contract and unify SQL, on the document's own sample and on what it leaves out: the newer list's fields, other units, countries
//! and clocks.
//!
//! Invariant: what comes out of the sample stands in golden files, value by value; the sample contradicts itself, and that is told.

use crate::project::TestProject;
use crate::unify_harness::{PACE, by_key, format_rows, key, spec};
use futures::TryStreamExt;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_decode::Decoder;
use tillhouse_extract::{SourceConnection, SourceLimits};
use tillhouse_model::{Slice, Window};
use tillhouse_pace::PaceConnection;
use tillhouse_sandbox::{PaceApi, Sandbox, SandboxOptions};

const TABLES: [&str; 7] = [
    "transactions",
    "articles",
    "payments",
    "sites",
    "points",
    "products",
    "tenants",
];

#[test]
fn the_documents_sample_is_decoded_and_its_contradictions_are_told() {
    let decoded = PACE.decode("transactions", &PACE.sample("transactions"));
    assert_eq!((decoded.rejects.len(), decoded.unknown.len()), (0, 0));
    let told: Vec<_> = decoded
        .warnings
        .iter()
        .map(|w| (&*w.key, &*w.field, &*w.rule, &*w.original))
        .collect();
    let id = "c3f037ea-492e-4033-9b4b-4efc7beca16c";
    assert_eq!(
        told,
        [
            (
                id,
                "attributes.priceIncludingVAT",
                "vat_adds_up",
                "attributes.priceIncludingVAT is 68.17, expected 69.15 = attributes.priceWithoutVAT 58.27 + attributes.VAT.amount 10.88"
            ),
            (
                id,
                "attributes.priceIncludingVAT",
                "fuel_multiplies",
                "attributes.priceIncludingVAT is 68.17, expected 61.29344 = attributes.fuel.amount 55.12 x attributes.fuel.pricePerUnit 1.112"
            ),
            (
                id,
                "attributes.createdAtLocaltime",
                "local_time_fits",
                "attributes.createdAtLocaltime is 2017-07-21T18:32:28, expected what a clock in DE shows at 2017-07-21T17:32:28Z"
            ),
        ]
    );
    insta::assert_snapshot!("pace_decoded_transactions", format_rows(&[decoded.batch]));
}

#[tokio::test]
async fn the_documents_sample_is_unified_as_it_came() {
    let session = PACE.session(&[("transactions", PACE.sample("transactions"))]);
    for table in TABLES {
        let rows = PACE.unified(&session, table).await;
        insta::assert_snapshot!(format!("pace_unified_{table}"), format_rows(&rows));
    }
}

/// A transaction like the document's without its contradictions, with some attributes changed.
fn sale(id: &str, changes: Value) -> Value {
    let sample: Value = serde_json::from_str(&PACE.sample("transactions")).unwrap();
    let mut record = sample["data"][0].clone();
    record["id"] = id.into();
    let attributes = record["attributes"].as_object_mut().unwrap();
    attributes.insert("priceWithoutVAT".into(), json!(57.29));
    attributes["fuel"]["amount"] = json!(61.304);
    attributes.insert("createdAtLocaltime".into(), json!("2017-07-21T19:32:28"));
    attributes.extend(changes.as_object().unwrap().clone());
    record
}

fn page(records: &[Value]) -> String {
    json!({"data": records, "meta": {"count": records.len()}}).to_string()
}

#[test]
fn rules_tell_contradictions_and_nothing_else() {
    let before = json!({"amount": 63.103, "pricePerUnit": 1.112});
    let records = [
        sale("right", json!({})),
        sale("a cent off", json!({"priceWithoutVAT": 57.28})),
        sale("two cents off", json!({"priceWithoutVAT": 57.27})),
        sale(
            "discount",
            json!({"priceIncludingVATBeforeDiscount": 70.17, "discountAmount": 2, "fuel": before}),
        ),
        sale(
            "wrong discount",
            json!({"priceIncludingVATBeforeDiscount": 70.17, "discountAmount": 3, "fuel": before}),
        ),
        sale(
            "another quantity",
            json!({"fuel": {"amount": 61, "pricePerUnit": 1.112}}),
        ),
        sale(
            "a discount that is not told",
            json!({"fuel": {"amount": 63, "pricePerUnit": 1.112}}),
        ),
        sale("no price of a unit", json!({"fuel": {"amount": 61}})),
        sale("no rate", json!({"VAT": {"rate": 0.19}})),
        sale(
            "canary",
            json!({"createdAtLocaltime": "2017-07-21T18:32:28", "location": {"address": {"countryCode": "ES"}}}),
        ),
        sale(
            "wrong clock",
            json!({"createdAtLocaltime": "2017-07-21T20:32:28", "location": {"address": {"countryCode": "ES"}}}),
        ),
        sale(
            "elsewhere",
            json!({"createdAtLocaltime": "2017-07-21T23:17:28", "location": {"address": {"countryCode": "NP"}}}),
        ),
        sale("no clock", json!({"createdAtLocaltime": null})),
        sale("no time", json!({"createdAtLocaltime": "teatime"})),
        sale("unit", json!({"fuel": {"unit": "barrel"}})),
    ];
    let decoded = PACE.decode("transactions", &page(&records));
    assert_eq!(decoded.rejects, []);
    let told: Vec<_> = decoded
        .warnings
        .iter()
        .filter(|w| w.rule != "site_address_told")
        .map(|w| (&*w.key, &*w.rule, &*w.original))
        .collect();
    assert_eq!(
        told,
        [
            (
                "two cents off",
                "vat_adds_up",
                "attributes.priceIncludingVAT is 68.17, expected 68.15 = attributes.priceWithoutVAT 57.27 + attributes.VAT.amount 10.88"
            ),
            (
                "wrong discount",
                "discount_adds_up",
                "attributes.priceIncludingVATBeforeDiscount is 70.17, expected 71.17 = attributes.priceIncludingVAT 68.17 + attributes.discountAmount 3"
            ),
            (
                "another quantity",
                "fuel_multiplies",
                "attributes.priceIncludingVAT is 68.17, expected 67.832 = attributes.fuel.amount 61 x attributes.fuel.pricePerUnit 1.112"
            ),
            (
                "wrong clock",
                "local_time_fits",
                "attributes.createdAtLocaltime is 2017-07-21T20:32:28, expected what a clock in ES shows at 2017-07-21T17:32:28Z"
            ),
            (
                "no clock",
                "local_time_given",
                "attributes.createdAtLocaltime is missing: the day and hour are those of UTC"
            ),
            (
                "no time",
                "local_time_fits",
                "attributes.createdAtLocaltime is teatime, expected what a clock in DE shows at 2017-07-21T17:32:28Z"
            ),
            ("unit", "fuel_unit_known", "barrel"),
        ]
    );
}

#[test]
fn what_must_not_be_kept_is_not() {
    let secrets = json!({
        "paymentToken": "SECRET-TOKEN", "driverCode": "SECRET-1234", "receiptInformation": ["SECRET NAME"], "additionalData": "SECRET",
        "numberPlate": "KA-XY 1", "vin": "WVWZZZ1JZ3W386752", "driverVehicleID": "4711-9"
    });
    let mut record = sale("private", secrets);
    record["links"] = json!({"receipt": {"href": "https://example.com/SECRET"}, "self": "SECRET"});
    let decoded = PACE.decode("transactions", &page(&[record]));
    assert_eq!((decoded.rejects.len(), decoded.unknown.len()), (0, 0));
    let text = format_rows(&[decoded.batch]);
    for closed in ["SECRET", "KA-XY", "WVWZZZ", "4711-9"] {
        assert!(!text.contains(closed), "{closed} in {text}");
    }
    assert_eq!(text.matches("hmac1:").count(), 3);
}

#[tokio::test]
async fn a_rate_of_vat_is_per_cent_however_it_comes() {
    let rates = [
        (json!(0.19), "19.0000"),
        (json!(19), "19.0000"),
        (json!("0.19"), "19.0000"),
        (json!("19.0"), "19.0000"),
        (json!(0.0775), "7.7500"),
        (json!(7.6), "7.6000"),
        (json!(0), "0.0000"),
        (json!(1), "100.0000"),
        (json!(1.5), "1.5000"),
        (json!(-0.07), "-7.0000"),
        (json!(119), "119.0000"),
    ];
    let sale_of = |(nth, (rate, _)): (usize, &(Value, &str))| {
        sale(&format!("{nth:02}"), json!({"VAT": {"rate": rate}}))
    };
    let records: Vec<Value> = rates.iter().enumerate().map(sale_of).collect();
    let session = PACE.session(&[("transactions", page(&records))]);
    let articles = PACE.unified(&session, "articles").await;
    let found = by_key(&articles, "tax_percentage");
    for (nth, (rate, expected)) in rates.iter().enumerate() {
        assert_eq!(
            found[&format!("{nth:02}/1")].as_deref(),
            Some(*expected),
            "{rate}"
        );
    }
}

#[test]
fn amounts_are_rounded_to_the_coin_of_their_currency() {
    let yen = json!({
        "currency": "JPY", "priceIncludingVAT": 1080, "priceWithoutVAT": 999, "VAT": {"amount": 80, "rate": 0.08},
        "priceIncludingVATBeforeDiscount": 1081, "discountAmount": 2, "fuel": {"amount": 10.81, "pricePerUnit": 99.95}
    });
    let dinars = json!({
        "currency": "KWD", "priceIncludingVAT": 10.8, "priceWithoutVAT": 10.005, "VAT": {"amount": 0.8, "rate": 0.08},
        "priceIncludingVATBeforeDiscount": 11, "discountAmount": 0.205, "fuel": {"amount": 10, "pricePerUnit": 1.1005}
    });
    let page = page(&[sale("yen", yen), sale("dinars", dinars)]);
    let told: Vec<String> = PACE
        .decode("transactions", &page)
        .warnings
        .iter()
        .map(|w| format!("{} {}", w.key, w.rule))
        .collect();
    let expected = ["vat_adds_up", "discount_adds_up", "fuel_multiplies"];
    assert_eq!(told, expected.map(|rule| format!("dinars {rule}")));
}

#[tokio::test]
async fn a_refund_is_taken_away_once_with_signs_or_without() {
    let refund = |id: &str, sign: i64, fuel: [i64; 2]| {
        sale(
            id,
            json!({
                "priceIncludingVAT": -119, "priceWithoutVAT": 100 * sign, "VAT": {"amount": 19 * sign, "rate": 0.19},
                "priceIncludingVATBeforeDiscount": -120, "discountAmount": sign,
                "fuel": {"amount": fuel[0], "pricePerUnit": fuel[1]}
            }),
        )
    };
    let records = [
        refund("1", 1, [60, 2]),
        refund("2", -1, [-60, 2]),
        refund("3", 1, [60, -2]),
        refund("4", -1, [-60, -2]),
    ];
    let page = page(&records);
    let told: Vec<String> = PACE
        .decode("transactions", &page)
        .warnings
        .iter()
        .map(|w| format!("{} {}", w.key, w.rule))
        .collect();
    assert_eq!(told, ["4 fuel_multiplies"], "two signs are none");
    let session = PACE.session(&[("transactions", page)]);
    for (table, columns) in [
        (
            "transactions",
            &[
                ("amount", "-119.0000"),
                ("net_amount", "-100.0000"),
                ("tax_amount", "-19.0000"),
                ("discount_amount", "-1.0000"),
            ][..],
        ),
        (
            "articles",
            &[
                ("amount", "-119.0000"),
                ("tax_amount", "-19.0000"),
                ("discount_amount", "-1.0000"),
                ("quantity", "-60.000000"),
            ][..],
        ),
    ] {
        let rows = PACE.unified(&session, table).await;
        for (column, value) in columns {
            let found: Vec<_> = by_key(&rows, column).into_values().flatten().collect();
            assert_eq!(found, [*value; 4], "{table}.{column}");
        }
    }
    let rows = PACE.unified(&session, "articles").await;
    let prices: Vec<String> = by_key(&rows, "unit_price")
        .into_values()
        .flatten()
        .map(|price| price.split('.').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(prices, ["2", "2", "2", "-2"]);
}

#[tokio::test]
async fn a_sale_without_a_price_has_its_state_and_is_told() {
    let without = json!({"priceIncludingVAT": null});
    let failed = json!({"priceIncludingVAT": null, "error": "declined"});
    let page = page(&[
        sale("mute", without),
        sale("failed", failed),
        sale("priced", json!({})),
    ]);
    let decoded = PACE.decode("transactions", &page);
    let told: Vec<_> = decoded
        .warnings
        .iter()
        .map(|w| (&*w.key, &*w.rule, &*w.field))
        .collect();
    let field = "attributes.priceIncludingVAT";
    assert_eq!(
        told,
        [
            ("mute", "price_known", field),
            ("failed", "price_known", field),
            ("failed", "error_has_no_amount", "attributes.error")
        ]
    );
    let session = PACE.session(&[("transactions", page)]);
    for (table, column) in [
        ("transactions", "state"),
        ("articles", "transaction_state"),
        ("payments", "transaction_state"),
    ] {
        let rows = PACE.unified(&session, table).await;
        let states: Vec<_> = by_key(&rows, column)
            .into_values()
            .map(Option::unwrap_or_default)
            .collect();
        assert_eq!(states, ["error", "completed", "completed"], "{table}");
    }
}

#[tokio::test]
async fn both_lists_mean_the_same_in_the_unified_tables() {
    let newer = json!({
        "updatedAt": "2017-07-22T08:00:00Z", "paymentMethodKind": "sepa", "paymentMethodId": "m-1", "discountAmount": 2,
        "priceIncludingVATBeforeDiscount": 70.17, "numberPlate": "KA-XY 1", "vin": "WVWZZZ1JZ3W386752", "mileage": 123_456_789,
        "driverVehicleID": "9", "providerPRN": "prn:x", "references": ["a", "b"],
        "location": {"brand": "JET", "stationName": "JET Karlsruhe", "address": {"countryCode": "DE", "postalCode": "76131", "street": "Haid-und-Neu-Str.", "houseNo": "18"}}
    });
    let records = [
        sale("older", json!({})),
        sale("newer", newer),
        sale(
            "failed",
            json!({"error": "declined", "paymentMethodKind": "creditcard"}),
        ),
        sale(
            "refund",
            json!({"priceIncludingVAT": -10, "priceWithoutVAT": -8.40, "VAT": {"amount": -1.6, "rate": 0.19}}),
        ),
        sale("free", json!({"priceIncludingVAT": 0})),
        sale(
            "gallons",
            json!({"fuel": {"unit": "us-gallon", "amount": 12, "type": "dieselB7"}, "currency": "USD", "VAT": {"rate": 0.0775},
            "createdAtLocaltime": "2017-07-21T10:32:28", "location": {"brand": "X", "address": {"countryCode": "US"}}}),
        ),
        sale(
            "wash",
            json!({"fuel": null, "location": null, "createdAtLocaltime": null, "VAT": null, "currency": "eur"}),
        ),
    ];
    let session = PACE.session(&[("transactions", page(&records))]);
    let rows = PACE.unified(&session, "transactions").await;
    let of = |column: &str| by_key(&rows, column);
    let keys = [
        "failed", "free", "gallons", "newer", "older", "refund", "wash",
    ];
    let some = |values: [Option<&str>; 7]| -> BTreeMap<String, Option<String>> {
        keys.into_iter()
            .map(str::to_owned)
            .zip(values.map(|v| v.map(str::to_owned)))
            .collect()
    };
    let all = |value| some([Some(value); 7]);
    assert_eq!(
        (of("perspective"), of("tenant_id")),
        (all("sale"), all("acme"))
    );
    let fuelled = "fuelling";
    assert_eq!(
        of("category"),
        some(
            [
                fuelled, fuelled, fuelled, fuelled, fuelled, fuelled, "other"
            ]
            .map(Some)
        )
    );
    assert_eq!(
        of("kind"),
        some(["sale", "free", "sale", "sale", "sale", "refund", "sale"].map(Some))
    );
    assert_eq!(
        of("state"),
        some(
            [
                "error",
                "completed",
                "completed",
                "completed",
                "completed",
                "completed",
                "completed"
            ]
            .map(Some)
        )
    );
    assert_eq!(of("paid_amount")["failed"], None);
    assert_eq!(
        of("amount")["newer"].as_deref(),
        Some("68.1700"),
        "after discount"
    );
    assert_eq!(of("discount_amount")["newer"].as_deref(), Some("2.0000"));
    assert_eq!(of("net_amount")["older"].as_deref(), Some("57.2900"));
    assert_eq!(
        of("tax_origin"),
        some(
            [
                "reported", "reported", "unknown", "reported", "reported", "reported", "unknown"
            ]
            .map(Some)
        )
    );
    assert_eq!(of("currency")["wash"].as_deref(), Some("EUR"));
    assert_eq!(of("odometer_km")["newer"].as_deref(), Some("123456.789"));
    for pseudonym in ["license_plate", "vin", "driver_number"] {
        assert!(
            of(pseudonym)["newer"]
                .as_deref()
                .unwrap()
                .starts_with("hmac1:"),
            "{pseudonym}"
        );
    }
    assert_eq!(
        of("updated_at")["newer"].as_deref(),
        Some("2017-07-22T08:00:00Z")
    );
    // The site's clock follows from the two times; without them it is UTC's.
    assert_eq!(
        of("timezone"),
        some([
            Some("+02:00"),
            Some("+02:00"),
            Some("-07:00"),
            Some("+02:00"),
            Some("+02:00"),
            Some("+02:00"),
            None
        ])
    );
    assert_eq!(
        of("local_hour"),
        some(["19", "19", "10", "19", "19", "19", "17"].map(Some))
    );
    // One site, whichever list it comes from; a brand in a country is none.
    let jet = Some("pace:jet/de/76131/haid-und-neu-str./18");
    assert_eq!(of("site_key"), some([jet, jet, None, jet, jet, jet, None]));
    assert_eq!(
        of("point_key")["newer"].as_deref(),
        Some("pace:jet/de/76131/haid-und-neu-str./18/1")
    );
    assert_eq!(of("point_key")["wash"], None);

    let articles = PACE.unified(&session, "articles").await;
    let of_article = |column: &str| by_key(&articles, column);
    assert_eq!(
        articles.iter().map(|b| b.num_rows()).sum::<usize>(),
        7,
        "each has one"
    );
    let of_wash = [
        "category",
        "state",
        "amount",
        "currency",
        "name",
        "product_key",
        "quantity",
        "unit_measure",
    ]
    .map(|column| of_article(column)["wash/1"].clone());
    assert_eq!(
        of_wash.each_ref().map(Option::as_deref),
        [
            Some("other"),
            Some("done"),
            Some("68.1700"),
            Some("EUR"),
            None,
            None,
            None,
            None
        ]
    );
    assert_eq!(
        of_article("category")["older/1"].as_deref(),
        Some("fuelling")
    );
    assert_eq!(
        of_article("tax_percentage")["older/1"].as_deref(),
        Some("19.0000")
    );
    assert_eq!(
        of_article("tax_percentage")["gallons/1"].as_deref(),
        Some("7.7500")
    );
    assert_eq!(
        of_article("unit_measure")["gallons/1"].as_deref(),
        Some("us_gal")
    );
    assert_eq!(
        of_article("product_key")["older/1"].as_deref(),
        Some("pace:ron98/Super Plus")
    );
    assert_eq!(of_article("name")["gallons/1"].as_deref(), Some("dieselB7"));
    assert_eq!(
        of_article("transaction_state")["failed/1"].as_deref(),
        Some("error")
    );
    assert_eq!(of_article("kind")["refund/1"].as_deref(), Some("refund"));
    let quantities = of_article("quantity");
    assert_eq!(
        [&quantities["refund/1"], &quantities["older/1"]].map(Option::as_deref),
        [Some("-61.304000"), Some("61.304000")],
        "what was given back is taken away"
    );

    let payments = PACE.unified(&session, "payments").await;
    let of_payment = |column: &str| by_key(&payments, column);
    assert_eq!(
        [
            &of_payment("method")["newer/1"],
            &of_payment("method")["failed/1"],
            &of_payment("method")["older/1"]
        ]
        .map(Option::as_deref),
        [Some("account"), Some("card"), None],
        "only the newer list says"
    );
    assert_eq!(
        [
            &of_payment("state")["failed/1"],
            &of_payment("state")["older/1"]
        ]
        .map(Option::as_deref),
        [Some("error"), Some("collected")]
    );
    let sites = PACE.unified(&session, "sites").await;
    let names: Vec<String> = sites
        .iter()
        .flat_map(|batch| {
            format_rows(std::slice::from_ref(batch))
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|line| line.starts_with("name: "))
        .collect();
    assert!(
        names.contains(&"name: JET Karlsruhe".to_owned()),
        "{names:?}"
    );
    assert!(
        names.contains(&"name: JET Karlsruhe Haid-und-Neu-Str. 18".to_owned()),
        "{names:?}"
    );
}

/// The sandbox reads the document in its own way: what it serves has to fit the contract, record by record.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_sandbox_serves_fits_the_contract() {
    for (api, name) in [
        (PaceApi::Partner, "partner"),
        (PaceApi::Successor, "2025-1"),
    ] {
        let options = SandboxOptions {
            transactions: 10,
            pace_transactions: Some(400),
            pace_api: api,
            ..SandboxOptions::default()
        };
        let window = Window::new(options.from, options.to).unwrap();
        let sandbox = Sandbox::start(options).await.unwrap();
        let url = sandbox.url_of("pace");
        let written = json!({
            "base_url": url, "token_url": format!("{url}/auth/token"), "client_id": "sandbox", "client_secret": "sandbox-secret",
            "partners": sandbox.partners(), "api": name, "filters": {"partner": "filter[partner]"},
        });
        let connection: PaceConnection = serde_json::from_value(written).unwrap();
        let source = connection
            .open(SourceLimits {
                rate_per_second: None,
                ..SourceLimits::default()
            })
            .unwrap();
        source.check().await.unwrap();
        let decoder = Decoder::new(spec("pace", "transactions"), Some(key())).unwrap();
        for tenant in source.tenants("transactions").await.unwrap() {
            let mut pages = source.pages(&Slice {
                resource: "transactions".into(),
                tenant: tenant.clone(),
                window,
            });
            let mut records = 0;
            while let Some(page) = pages.try_next().await.unwrap() {
                let decoded = decoder
                    .decode_scoped(&page.bytes, &["data"], page.scope.as_deref())
                    .unwrap();
                assert_eq!(decoded.rejects, [], "{tenant:?}");
                assert_eq!(decoded.warnings, [], "{tenant:?}");
                assert!(
                    decoded.unknown.is_empty(),
                    "{tenant:?}: {:?}",
                    decoded.unknown
                );
                records += decoded.batch.num_rows();
            }
            assert!(records > 0, "{tenant:?} has no transactions");
        }
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_contradicts_itself_lands_and_is_told_in_ops() {
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 10,
        pace_transactions: Some(50),
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let partner = sandbox.partners().remove(0);
    let sample: Value = serde_json::from_str(&PACE.sample("transactions")).unwrap();
    sandbox
        .put_in(
            "pace",
            "transactions",
            Some(&partner),
            &sample["data"][0].to_string(),
        )
        .unwrap();
    let project = TestProject::of(&["pace"], &sandbox, "2017-07-01").await;
    let report = project
        .sync(&["--from", "2017-07-21", "--to", "2017-07-22"])
        .await;
    assert_eq!(
        (&report["rejects"], &report["warnings"]),
        (&json!("#0"), &json!("#3")),
        "{report}"
    );
    let told = project
        .sql("SELECT resource, record_key, field, rule, original FROM ops.warnings ORDER BY rule")
        .await;
    let rules: Vec<&str> = told
        .iter()
        .map(|row| row["rule"].as_str().unwrap())
        .collect();
    assert_eq!(rules, ["fuel_multiplies", "local_time_fits", "vat_adds_up"]);
    assert_eq!(told[2]["field"], "attributes.priceIncludingVAT");
    assert_eq!(
        told[2]["original"],
        "attributes.priceIncludingVAT is 68.17, expected 69.15 = attributes.priceWithoutVAT 58.27 + attributes.VAT.amount 10.88"
    );
    assert!(
        told.iter()
            .all(|row| row["record_key"] == sample["data"][0]["id"]),
        "{told:?}"
    );
    let row = "SELECT amount, net_amount, tax_amount, local_hour, utc_offset_minutes, tenant_id FROM transactions";
    let wanted = json!({"amount": "#68.17", "net_amount": "#58.27", "tax_amount": "#10.88", "local_hour": "#18", "utc_offset_minutes": "#60", "tenant_id": partner});
    assert_eq!(project.sql(row).await, [wanted]);
    sandbox.stop().await;
}

#[tokio::test]
async fn the_end_of_a_day_is_the_next_one_on_the_sites_clock_too() {
    let at = |id: &str, instant: &str, clock: &str| {
        sale(
            id,
            json!({"createdAt": instant, "createdAtLocaltime": clock}),
        )
    };
    let records = [
        at("1", "2017-07-21T22:00:00Z", "2017-07-21T24:00:00"),
        at("2", "2017-07-21T22:00:00Z", "2017-07-22T00:00:00"),
        at("3", "2017-07-21T22:00:00Z", "2017-07-21 24:00"),
        at("4", "2017-12-31T23:00:00Z", "2017-12-31T24:00:00.000"),
        at("5", "2017-07-21T17:32:59Z", "2017-07-21T19:32:60"),
        at("6", "2017-07-21T17:32:28Z", "9999-12-31T24:00:00"),
    ];
    let page = page(&records);
    let told = PACE.decode("transactions", &page).warnings;
    let told: Vec<_> = told.iter().map(|w| (&*w.key, &*w.rule)).collect();
    assert_eq!(told, [("6", "local_time_fits")]);
    let session = PACE.session(&[("transactions", page)]);
    let rows = PACE.unified(&session, "transactions").await;
    let all = |column: &str| {
        by_key(&rows, column)
            .into_values()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        all("timezone"),
        ["+02:00", "+02:00", "+02:00", "+01:00", "+02:00", ""]
    );
    assert_eq!(
        all("business_date"),
        [
            "2017-07-22",
            "2017-07-22",
            "2017-07-22",
            "2018-01-01",
            "2017-07-21",
            "2017-07-21"
        ]
    );
    assert_eq!(all("local_hour"), ["0", "0", "0", "0", "19", "17"]);
}

#[test]
fn a_price_without_a_currency_is_told_and_units_are_known_in_other_spellings() {
    let records = [
        sale("mute", json!({"currency": null})),
        sale(
            "nothing",
            json!({"currency": null, "priceIncludingVAT": 0, "priceWithoutVAT": 0, "VAT": null, "fuel": null}),
        ),
        sale("US", json!({"fuel": {"unit": "US gallon"}})),
        sale("litres", json!({"fuel": {"unit": " Litre"}})),
        sale("points", json!({"fuel": {"unit": "ltr."}})),
        sale("dotted", json!({"fuel": {"unit": "U.S. gallon"}})),
        sale("underscore", json!({"fuel": {"unit": "us_gallon"}})),
        sale("UK", json!({"fuel": {"unit": "ukGallon"}})),
        sale("either", json!({"fuel": {"unit": "gal"}})),
    ];
    let told: Vec<String> = PACE
        .decode("transactions", &page(&records))
        .warnings
        .iter()
        .map(|w| format!("{} {}: {}", w.key, w.rule, w.original))
        .collect();
    assert_eq!(
        told,
        [
            "mute price_fits: 68.17 of no currency: nobody knows what it is an amount of",
            "either fuel_unit_known: gal",
        ]
    );
}

#[tokio::test]
async fn no_two_sites_and_no_two_products_meet_in_one_key() {
    let at = |street: &str, number: &str| json!({"location": {"brand": "JET", "address": {"countryCode": "DE", "postalCode": "1", "street": street, "houseNo": number}}});
    let fuel = |fuel: Value| json!({"fuel": fuel});
    let brand = |address: Value| json!({"location": {"brand": "JET", "stationName": "JET", "address": address}});
    let records = [
        sale("s1", at("X/1", "2")),
        sale("s2", at("X", "1/2")),
        sale("s3", at("X%2f1", "2")),
        sale("s4", brand(Value::Null)),
        sale(
            "s5",
            brand(
                json!({"countryCode": "DE", "street": "null", "city": " ", "houseNo": "undefined"}),
            ),
        ),
        sale("s6", brand(json!({"city": "Ulm"}))),
        sale("p1", fuel(json!({"type": "t", "productName": "a/b"}))),
        sale("p2", fuel(json!({"type": "t/a", "productName": "b"}))),
        sale("p3", fuel(json!({"type": "t/b", "productName": null}))),
        sale("p4", fuel(json!({"type": "t", "productName": "b"}))),
    ];
    let session = PACE.session(&[("transactions", page(&records))]);
    let rows = PACE.unified(&session, "transactions").await;
    let sites = by_key(&rows, "site_key");
    for (sale, key) in [
        ("s1", Some("pace:jet/de/1/x%2f1/2")),
        ("s2", Some("pace:jet/de/1/x/1/2")),
        ("s3", Some("pace:jet/de/1/x%252f1/2")),
        ("s4", None),
        ("s5", None),
        ("s6", Some("pace:jet//ulm//")),
    ] {
        assert_eq!(sites[sale].as_deref(), key, "{sale}");
        let point = by_key(&rows, "point_key")[sale].clone();
        assert_eq!(point, key.map(|key| format!("{key}/1")), "{sale}");
    }
    let rows = PACE.unified(&session, "articles").await;
    let products = by_key(&rows, "product_key");
    for (article, key) in [
        ("p1/1", "pace:t/a/b"),
        ("p2/1", "pace:t%2Fa/b"),
        ("p3/1", "pace:t%2Fb"),
        ("p4/1", "pace:t/b"),
    ] {
        assert_eq!(products[article].as_deref(), Some(key), "{article}");
    }
    for (table, column) in [("sites", "site_key: "), ("products", "product_key: ")] {
        let shown = format_rows(&PACE.unified(&session, table).await);
        let keys: BTreeSet<&str> = shown
            .lines()
            .filter(|line| line.starts_with(column))
            .collect();
        assert_eq!(keys.len(), 5, "{table}: {keys:?}");
    }
}

#[tokio::test]
async fn spellings_that_look_alike_are_one_site_and_one_product() {
    let of = |brand: &str, street: &str, number: &str, product: &str| {
        json!({
            "location": {"brand": brand, "address": {"countryCode": "DE", "postalCode": "76131", "street": street, "houseNo": number}},
            "fuel": {"type": "ron98", "productName": product},
        })
    };
    let records = [
        sale("1", of("JET", "Haid-und-Neu-Str.", "18 a", "Super Plus")),
        sale(
            "2",
            of("Jet ", "HAID-UND-NEU-STR.", "18 A", "Super\u{a0}Plus"),
        ),
        sale(
            "3",
            of(
                "\u{ff2a}ET",
                "Haid\u{2010}und\u{2011}Neu-Str.",
                "18\u{a0} a",
                " Super  Plus",
            ),
        ),
        sale(
            "4",
            of(
                "J\u{200b}ET",
                "Haid-und-Neu-Str.\u{feff}",
                "18 a",
                "Super\u{200b} Plus",
            ),
        ),
        sale("5", of("JET", "M\u{fc}hlweg", "1", "S\u{fc}d")),
        sale("6", of("JET", "Mu\u{308}hlweg", "1", "Su\u{308}d")),
        sale("7", of("JET", "Mu\u{308}hlweg", "1", "su\u{308}d")),
    ];
    let session = PACE.session(&[("transactions", page(&records))]);
    let rows = PACE.unified(&session, "transactions").await;
    let lines = PACE.unified(&session, "articles").await;
    let (sites, products) = (by_key(&rows, "site_key"), by_key(&lines, "product_key"));
    let (first, second) = (
        "pace:jet/de/76131/haid-und-neu-str./18 a",
        "pace:jet/de/76131/m\u{fc}hlweg/1",
    );
    for (sale, site, product) in [
        ("1", first, "pace:ron98/Super Plus"),
        ("2", first, "pace:ron98/Super Plus"),
        ("3", first, "pace:ron98/Super Plus"),
        ("4", first, "pace:ron98/Super Plus"),
        ("5", second, "pace:ron98/S\u{fc}d"),
        ("6", second, "pace:ron98/S\u{fc}d"),
        ("7", second, "pace:ron98/s\u{fc}d"),
    ] {
        assert_eq!(sites[sale].as_deref(), Some(site), "{sale}");
        let article = format!("{sale}/1");
        assert_eq!(products[&article].as_deref(), Some(product), "{sale}");
    }
    for (table, column, count) in [("sites", "site_key: ", 2), ("products", "product_key: ", 3)] {
        let shown = format_rows(&PACE.unified(&session, table).await);
        let keys: BTreeSet<&str> = shown
            .lines()
            .filter(|line| line.starts_with(column))
            .collect();
        assert_eq!(keys.len(), count, "{table}: {keys:?}");
    }
}

#[tokio::test]
async fn quantities_and_prices_are_in_base_units() {
    let fuel = json!({"unit": "hl", "amount": 0.5, "pricePerUnit": 136.34, "type": "dieselB7"});
    let page = page(&[sale("1", json!({"fuel": fuel}))]);
    let session = PACE.session(&[("transactions", page)]);
    let rows = PACE.unified(&session, "articles").await;
    let columns = ["unit_measure", "source_unit", "quantity", "unit_price"];
    let shown = columns.map(|column| by_key(&rows, column)["1/1"].clone());
    assert_eq!(
        shown.each_ref().map(Option::as_deref),
        [Some("l"), Some("hl"), Some("50.000000"), Some("1.363400")]
    );
}
