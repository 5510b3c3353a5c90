//! The largest and smallest values that each source's contract accepts, through every statement to the published tables.
//!
//! Invariant: nothing that was accepted stops a run. Whatever the amounts, quantities, rates and times of a record, its rows arrive, a derived
//! value that fits no column is null and told with its record, and roll-ups, statistics and a rebuild work.

use crate::canned_project::{CannedProject, SOURCES};
use std::collections::BTreeMap;
use tillhouse_pipeline::{SyncOptions, SyncRange, sync};

/// The largest amount, quantity and whole number, and the first and last times there are.
const MOST: &str = "99999999999999.9999";
const MANY: &str = "999999999999.999999";
const WHOLE: &str = "9223372036854775807";
const FIRST: &str = "1678-01-01T00:00:00Z";
const EARLY: &str = "1753-01-01T23:59:59.999999Z";
const NOW: &str = "2026-01-01T12:30:00Z";
const LATE: &str = "2261-12-31T23:59:59.999999Z";
const TIMES: [&str; 4] = [FIRST, EARLY, NOW, LATE];

/// Every pair of two lists.
fn pairs<'a>(first: &[&'a str], second: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    first
        .iter()
        .flat_map(|a| second.iter().map(move |b| (*a, *b)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hecones_extremes_arrive() {
    let (minus, less) = (format!("-{MOST}"), format!("-{MANY}"));
    let amounts = [MOST, &minus, "0", "null"];
    let mut records = Vec::new();
    for (at, time) in TIMES.iter().enumerate() {
        for (nth, (amount, tax)) in pairs(&amounts, &amounts).into_iter().enumerate() {
            let article = |quantity: &str, price: &str| {
                format!(
                    r#"{{"id":"a{quantity}","product_id":"p{nth}","category":"charging","state":"done","start_time":"{time}","end_time":"{LATE}","unit_price":{price},"amount":{amount},"tax_percentage":99999.9999,"tax_amount":{tax},"quantity":{quantity},"free_quantity":{quantity},"max_quantity":{quantity},"max_amount":{amount},"name":"x","unit_measure":"l","currency":"EUR","log":[{{"code":-{WHOLE},"timestamp":"{time}"}}]}}"#
                )
            };
            let payment = format!(
                r#"{{"state":"collected","created_at":"{time}","amount":{amount},"reserved_amount":{tax},"currency":"eur"}}"#
            );
            records.push(format!(
                r#"{{"id":"{at}-{nth}","mandator_id":"m","state":"completed","site_id":"s","site":{{"name":"S","timezone":"Pacific/Kiritimati"}},"point_id":"p","point":{{"number":{WHOLE}}},
                "invoice":{{"amount":{amount},"paid_amount":{amount},"tax_amount":{tax},"currency":"EUR","created_at":"{time}"}},
                "articles":[{},{}],"payments":[{payment},{payment},{payment}],
                "customer_data":{{"odometer":999999999999999.999}},"log":[{{"code":{WHOLE},"timestamp":"{time}"}}]}}"#,
                article(MANY, MANY), article(&less, MANY),
            ));
        }
    }
    let count = records.len();
    let bench = CannedProject::new("hecone", &[("transactions", records)], "").await;
    bench
        .publishes(&[
            ("transactions", count),
            ("articles", 2 * count),
            ("payments", 3 * count),
            ("events", 3 * count),
        ])
        .await;
    // Of sixteen pairs one leaves the largest amount: a charge whose tax has the other sign. That of a refund is taken away with it.
    let expected = BTreeMap::from([(
        "unified.transactions.net_amount".to_owned(),
        TIMES.len() as u64,
    )]);
    assert_eq!(bench.misfits().await, expected);
    let shown = "SELECT record_key, field, rule, original FROM ops.warnings WHERE rule = 'derived_value_fits' AND record_key = '2-1'";
    assert_eq!(
        bench.rows(shown).await,
        ["2-1 unified.transactions.net_amount derived_value_fits 199999999999999.9998"]
    );
    // Whatever time was accepted, the engine's own functions work on it.
    let months = "SELECT date_trunc('month', occurred_at) AS m, date_bin(INTERVAL '1 day', ended_at), count(*) FROM unified.transactions GROUP BY ALL";
    assert_eq!(
        bench
            .rows(&format!("SELECT count(*) FROM ({months})"))
            .await,
        [TIMES.len().to_string()]
    );
    let row = "SELECT amount, tax_amount, net_amount FROM unified.transactions WHERE transaction_id = '2-1'";
    assert_eq!(bench.rows(row).await, [format!("{MOST} -{MOST}")]);
    let states = "SELECT DISTINCT state, state_derived FROM unified.transactions WHERE amount > 0";
    assert_eq!(bench.rows(states).await, ["completed completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn paces_extremes_arrive() {
    let minus = format!("-{MOST}");
    let amounts = [MOST, &minus, "null"];
    let degrees = "999.99999999999999999";
    let mut records = Vec::new();
    for (at, time) in TIMES.iter().enumerate() {
        for (nth, (gross, net)) in pairs(&amounts, &amounts).into_iter().enumerate() {
            let sign = if nth % 2 == 0 { "" } else { "-" };
            records.push(format!(
                r#"{{"type":"transaction","id":"{at}-{nth}","attributes":{{"createdAt":"{time}","createdAtLocaltime":"9999-12-31T23:59:59","updatedAt":"{time}",
                "priceIncludingVAT":{gross},"priceWithoutVAT":{net},"priceIncludingVATBeforeDiscount":{net},"discountAmount":{gross},"currency":"JPY",
                "VAT":{{"amount":{net},"rate":{sign}999.999999}},"mileage":{sign}{WHOLE},
                "fuel":{{"pumpNumber":{WHOLE},"unit":"liter","pricePerUnit":{MANY},"amount":{sign}{MANY},"type":"ron98"}},
                "location":{{"latitude":{sign}{degrees},"longitude":{degrees},"brand":"B","address":{{"city":"{nth}"}}}}}}}}"#
            ));
        }
    }
    let count = records.len();
    let bench = CannedProject::new("pace", &[("transactions", records)], "").await;
    bench
        .publishes(&[
            ("transactions", count),
            ("articles", count),
            ("payments", count),
            ("sites", 9),
        ])
        .await;
    let misfits = bench.misfits().await;
    assert_eq!(
        misfits.get("unified.transactions.odometer_km"),
        Some(&(count as u64)),
        "{misfits:?}"
    );
    assert!(
        misfits.contains_key("unified.sites.latitude")
            && misfits.contains_key("unified.sites.longitude"),
        "{misfits:?}"
    );
    assert_eq!(
        misfits
            .keys()
            .filter(|field| !field.starts_with("unified.sites."))
            .count(),
        1,
        "{misfits:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bemos_extremes_arrive() {
    let minus = format!("-{MOST}");
    let degrees = "999.99999999999999999";
    let mut records = Vec::new();
    for (at, time) in TIMES.iter().enumerate() {
        for (nth, (one, other)) in pairs(&[MOST, &minus, "null"], &[MOST, &minus])
            .into_iter()
            .enumerate()
        {
            let line = |amount: &str, currency: &str| {
                format!(
                    r#"{{"transactionDate":"{time}","productCategory":"Fueling","productFamily":"Diesel","productCode":"B7","quantity":-{MANY},"quantityUnit":"L","unitPrice":{MANY},"totalAmount":{amount},"currencyKey":{currency}}}"#
                )
            };
            records.push(format!(
                r#"{{"sessionId":"{at}-{nth}","sessionStartDate":"{time}","sessionEndDate":"{NOW}","timeZone":"+14:00","placeId":"{nth}","placeNetwork":"N","latitude":-{degrees},"longitude":{degrees},"transactions":[{},{},{},{}]}}"#,
                line(one, r#""EUR""#), line(other, r#""eur""#), line(other, r#"" EUR""#), line(one, "null")
            ));
        }
    }
    let count = records.len();
    let bench = CannedProject::new("bemo", &[("sessions", records)], "").await;
    bench
        .publishes(&[
            ("transactions", 2 * count),
            ("articles", 4 * count),
            ("payments", 2 * count),
            ("sites", 6),
        ])
        .await;
    let misfits = bench.misfits().await;
    // Sums of three, and of two where one is null; the account pays what it is charged.
    for column in [
        "transactions.amount",
        "transactions.paid_amount",
        "payments.amount",
    ] {
        assert_eq!(
            misfits.get(&format!("unified.{column}")),
            Some(&(4 * TIMES.len() as u64)),
            "{misfits:?}"
        );
    }
    let kinds = "SELECT kind, count(*) FROM unified.transactions WHERE currency = 'EUR' AND amount IS NULL GROUP BY 1 ORDER BY 1";
    assert_eq!(
        bench.rows(kinds).await,
        ["refund 8", "sale 8"],
        "the kind is that of the sum, whether it fits or not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn smartnows_extremes_arrive() {
    for unit in ["minor", "major"] {
        let minus = format!("-{MOST}");
        let (mut sales, mut payments, mut logs) = (Vec::new(), Vec::new(), Vec::new());
        for (at, time) in TIMES.iter().enumerate() {
            for (nth, (price, currency)) in pairs(
                &[MOST, &minus, "0", "null"],
                &[r#""EUR""#, r#""jpy""#, r#""KWD""#, "null", r#""???""#],
            )
            .into_iter()
            .enumerate()
            {
                let id = at * 100 + nth + 1;
                sales.push(format!(
                    r#"{{"id":{id},"product":{WHOLE},"name":"x","machine":-{WHOLE},"location":{WHOLE},"occurredAt":"{time}","timeZone":"Pacific/Niue","originalPrice":{MOST},"price":{price},"currency":{currency},"remote":{WHOLE},"usergroup":-{WHOLE},"createdAt":"{time}","updatedAt":"{time}"}}"#
                ));
                for part in 0..3 {
                    payments.push(format!(
                        r#"{{"id":{},"revenuetransaction":{id},"occurredAt":"{time}","method":"card","type":"card","price":{price},"currency":{currency},"exclude":0,"createdAt":"{time}","updatedAt":"{time}"}}"#,
                        id * 10 + part
                    ));
                }
            }
            logs.push(format!(
                r#"{{"id":{at},"machine":1,"location":1,"code":"c","occurredAt":"{time}","resolvedAt":"2261-12-31 23:59:59","createdAt":"{time}","duration":999999999999999.999}}"#
            ));
        }
        let voucher = |id: &str, currency: &str, amount: &str| {
            format!(
                r#"{{"id":"{id}","campaign":{WHOLE},"type":"single","value":{amount},"valueType":"cents","currency":{currency},"initialValue":{amount},"balance":{amount},"amountRedeemed":{amount},"totalAmountRedeemed":{amount},"expiresOn":"9999-12-31T23:59:59Z","timeZone":"UTC","createdAt":"{FIRST}","updatedAt":"{LATE}"}}"#
            )
        };
        let vouchers = vec![
            voucher("a", r#""JPY""#, MOST),
            voucher("b", "null", &minus),
            voucher("c", r#""EUR""#, &minus),
        ];
        let locations = vec![format!(
            r#"{{"id":1,"name":"L","latitude":999999.999999999999,"longitude":-999999.999999999999,"timeZone":"UTC"}}"#
        )];
        let products = vec![format!(
            r#"{{"id":1,"machine":-{WHOLE},"plu":{WHOLE},"name":"x","vatrate":100}}"#
        )];
        let count = sales.len();
        let pages = [
            ("revenue_transactions", sales),
            ("payment_transactions", payments),
            ("logs", logs),
            ("vouchers", vouchers),
            ("locations", locations),
            ("products", products),
        ];
        let bench = CannedProject::new(
            "smartnow",
            &pages,
            &format!("price_unit: {unit}, vat_rate: percent, sales_types: \"\""),
        )
        .await;
        bench
            .publishes(&[
                ("transactions", count),
                ("articles", count),
                ("payments", 3 * count),
                ("events", TIMES.len()),
                ("vouchers", 3),
                ("sites", 1),
            ])
            .await;
        let misfits = bench.misfits().await;
        for column in [
            "unified.articles.unit_price",
            "unified.sites.latitude",
            "unified.transactions.paid_amount",
        ] {
            assert!(misfits.contains_key(column), "{unit}: {misfits:?}");
        }
        let expired = "SELECT DISTINCT expires_on FROM unified.vouchers";
        assert_eq!(bench.rows(expired).await, ["9999-12-31"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projects_own_sql_that_fails_for_a_record_costs_that_value() {
    let record = |id: &str, price: &str| {
        format!(
            r#"{{"id":"{id}","attributes":{{"createdAt":"{NOW}","priceIncludingVAT":{price},"currency":"EUR"}}}}"#
        )
    };
    let records = vec![
        record("fine", "2"),
        record("nought", "1"),
        record("huge", MOST),
        record("missing", "null"),
    ];
    let bench = CannedProject::new("pace", &[("transactions", records)], "").await;
    let folder = bench.context.project.dir.join("pipelines/pace/unify");
    std::fs::create_dir_all(&folder).unwrap();
    let built_in = crate::source_files::text(
        &crate::source_files::root().join("pipelines/pace/unify/transactions.sql"),
    );
    let (price, own) = (
        "ELSE t.a['discount_amount'] END",
        "ELSE CAST(10 / (PRICE - 1) + PRICE * PRICE AS DECIMAL(18, 4)) END",
    );
    let own = own.replace("PRICE", "t.a['price_including_vat']");
    assert_eq!(built_in.matches(price).count(), 1);
    std::fs::write(
        folder.join("transactions.sql"),
        built_in.replace(price, &own),
    )
    .unwrap();
    bench
        .publishes(&[("transactions", 4), ("articles", 4), ("payments", 4)])
        .await;
    let rows =
        "SELECT transaction_id, amount, discount_amount FROM unified.transactions ORDER BY 1";
    let expected = [
        "fine 2.0000 14.0000".to_owned(),
        format!("huge {MOST}"),
        "missing".to_owned(),
        "nought 1.0000".to_owned(),
    ];
    assert_eq!(bench.rows(rows).await, expected);
    let told =
        "SELECT record_key, field FROM ops.warnings WHERE rule = 'derived_value_fits' ORDER BY 1";
    let field = "unified.transactions.discount_amount";
    assert_eq!(
        bench.rows(told).await,
        [format!("huge {field}"), format!("nought {field}")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_unified_by_itself_is_told_before_anything_is_read() {
    let parameters = "price_unit: minor, vat_rate: percent, sales_types: \"\"";
    let alone =
        CannedProject::new("smartnow", &[("revenue_transactions", vec![])], parameters).await;
    let pipelines = alone.context.project.pipelines(&[], SOURCES).unwrap();
    let range = SyncRange {
        from: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        to: None,
    };
    let error = sync(
        &alone.context,
        &pipelines,
        SyncOptions {
            range,
            ..SyncOptions::default()
        },
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), tillhouse_model::ErrorKind::Config);
    assert!(
        error
            .message()
            .contains("revenue_transactions cannot be unified without payment_transactions"),
        "{error}"
    );
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("Add payment_transactions"),
        "{error:?}"
    );
    // The same the other way round: payments would land, and be in no unified table.
    for pages in [
        vec![("payment_transactions", vec![])],
        vec![("machines", vec![]), ("payment_transactions", vec![])],
    ] {
        let orphaned = CannedProject::new("smartnow", &pages, parameters).await;
        let pipelines = orphaned.context.project.pipelines(&[], SOURCES).unwrap();
        let error = sync(
            &orphaned.context,
            &pipelines,
            SyncOptions {
                range,
                ..SyncOptions::default()
            },
        )
        .await
        .unwrap_err();
        assert_eq!(error.kind(), tillhouse_model::ErrorKind::Config);
        let wanted = "payment_transactions cannot be unified without revenue_transactions";
        assert!(error.message().contains(wanted), "{error}");
        assert!(
            error
                .hint_text()
                .unwrap()
                .contains("Add revenue_transactions"),
            "{error:?}"
        );
    }
    // A resource that is only looked up may be left out, and one that no statement names is read for its own sake.
    CannedProject::new(
        "smartnow",
        &[("products", vec![]), ("campaigns", vec![])],
        parameters,
    )
    .await
    .sync()
    .await;
    let pages = [
        ("revenue_transactions", vec![]),
        ("payment_transactions", vec![]),
    ];
    CannedProject::new("smartnow", &pages, parameters)
        .await
        .sync()
        .await;
}
