//! Sales as the clock moves.
//!
//! Invariant: the clock alone decides what is known; two ways to the same instant show the same records.

use crate::client::{small, with};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

fn records(sandbox: &Sandbox) -> HashMap<String, Value> {
    let parse = |body: &bytes::Bytes| serde_json::from_slice::<Value>(body).unwrap();
    sandbox
        .truth()
        .iter()
        .map(parse)
        .map(|r| (r["id"].as_str().unwrap().to_owned(), r))
        .collect()
}

fn states(records: &HashMap<String, Value>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in records.values() {
        *counts
            .entry(record["state"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn open_sales_close_and_late_ones_arrive() {
    let options = SandboxOptions {
        transactions: 20_000,
        ..SandboxOptions::default()
    };
    let (sandbox, client) = with(options).await;
    let before = records(&sandbox);
    assert_eq!(before.len(), 20_000);
    let open = |state: &Value| matches!(state.as_str(), Some("created" | "pending" | "consumed"));
    let count =
        |records: &HashMap<String, Value>| records.values().filter(|r| open(&r["state"])).count();
    assert!(count(&before) > 300, "{:?}", states(&before));
    for state in [
        "created",
        "pending",
        "consumed",
        "completed",
        "declined",
        "error",
    ] {
        assert!(states(&before).contains_key(state), "{state}");
    }

    sandbox.advance(Duration::from_secs(48 * 3600)).unwrap();
    let after = records(&sandbox);
    assert_eq!(after.len(), 20_100, "stragglers arrive");
    assert!(count(&after) < count(&before));
    let mut moved = 0;
    for (id, record) in &before {
        let now = &after[id];
        if record == now {
            continue;
        }
        moved += 1;
        assert!(open(&record["state"]), "only open sales change: {record}");
        for kept in [
            "site_id",
            "point_id",
            "client",
            "terminal_transaction_number",
            "mandator_id",
            "products",
        ] {
            assert_eq!(record[kept], now[kept], "{kept}");
        }
        let ids = |r: &Value, of: &str| -> Vec<Value> {
            r[of]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["id"].clone())
                .collect()
        };
        assert_eq!(ids(record, "articles"), ids(now, "articles"));
        // A second card comes where the first was refused.
        assert!(
            ids(now, "payments").starts_with(&ids(record, "payments")),
            "{now}"
        );
        assert_eq!(
            record["payments"][0]["card_id"],
            now["payments"][0]["card_id"]
        );
    }
    assert!(moved > 200, "{moved}");
    let late = after.keys().filter(|id| !before.contains_key(*id)).count();
    assert_eq!(late, 100);
    assert_eq!(
        client.page("").await["meta"]["total"],
        sandbox_total(&after)
    );
}

#[tokio::test]
async fn some_sales_are_declined_by_one_card_and_paid_by_a_second_one() {
    for transactions in [1_000, 5_000] {
        let (sandbox, _) = with(SandboxOptions {
            transactions,
            ..SandboxOptions::default()
        })
        .await;
        let mut found = 0;
        for record in records(&sandbox).values() {
            let payments = record["payments"].as_array().unwrap();
            let states: Vec<&str> = payments
                .iter()
                .map(|payment| payment["state"].as_str().unwrap())
                .collect();
            if states != ["declined", "collected"] {
                continue;
            }
            found += 1;
            assert_eq!(
                record["state"], "declined",
                "as the document's table has it: {record}"
            );
            assert_eq!(
                record["invoice"]["paid_amount"], record["invoice"]["amount"],
                "{record}"
            );
            assert_eq!(
                payments[1]["amount"], record["invoice"]["amount"],
                "{record}"
            );
            assert_ne!(payments[0]["id"], payments[1]["id"]);
        }
        assert!(
            (transactions / 400..transactions / 60).contains(&found),
            "{found} of {transactions}"
        );
    }
}

/// Number of records whose times lie in the standard window.
fn sandbox_total(records: &HashMap<String, Value>) -> usize {
    let end: jiff::Timestamp = "2026-01-06T00:00:00Z".parse().unwrap();
    let time = |r: &Value| -> jiff::Timestamp {
        let text = r["invoice"]["created_at"]
            .as_str()
            .or(r["articles"][0]["start_time"].as_str())
            .unwrap();
        text.parse().unwrap()
    };
    records.values().filter(|r| time(r) < end).count()
}

#[tokio::test]
async fn two_ways_to_an_instant_show_the_same() {
    let noon: jiff::Timestamp = "2026-01-03T12:00:00Z".parse().unwrap();
    let world = |clock| SandboxOptions {
        transactions: 5_000,
        clock,
        ..SandboxOptions::default()
    };
    let straight = Sandbox::start(world(jiff::Timestamp::MAX)).await.unwrap();
    let slowly = Sandbox::start(world(noon)).await.unwrap();
    let early = slowly.truth().len();
    assert!((1_000..4_000).contains(&early), "{early}");
    assert!(
        slowly
            .truth()
            .iter()
            .all(|body| !body.windows(8).any(|w| w == b"01-04T12")),
        "nothing from the future"
    );
    for _ in 0..60 {
        slowly.advance(Duration::from_secs(3600)).unwrap();
    }
    assert_eq!(slowly.clock(), straight.clock());
    assert_eq!(slowly.truth(), straight.truth());
    assert!(slowly.set_clock(noon).is_err(), "the clock never goes back");
}

#[tokio::test]
async fn records_are_as_the_document_says() {
    let (sandbox, _client) = small().await;
    let records = records(&sandbox);
    let mut bytes = 0;
    for record in records.values() {
        bytes += record.to_string().len();
        assert!(
            record["site"]["timezone"].is_string()
                && record["products"].is_array()
                && record["log"].is_array()
        );
        let articles = record["articles"].as_array().unwrap();
        let cents = |v: &Value| (v.as_f64().unwrap() * 100.0).round() as i64;
        if !record["invoice"].is_null() {
            let sum: i64 = articles.iter().map(|a| cents(&a["amount"])).sum();
            assert_eq!(cents(&record["invoice"]["amount"]), sum);
            let tax: i64 = articles.iter().map(|a| cents(&a["tax_amount"])).sum();
            assert_eq!(cents(&record["invoice"]["tax_amount"]), tax);
        }
        if record["state"] == "completed" {
            let paid: i64 = record["payments"]
                .as_array()
                .unwrap()
                .iter()
                .map(|p| cents(&p["amount"]))
                .sum();
            assert_eq!(cents(&record["invoice"]["paid_amount"]), paid);
            assert_eq!(cents(&record["invoice"]["amount"]), paid);
        }
        for article in articles.iter().filter(|a| a["state"] == "done") {
            let amount =
                article["quantity"].as_f64().unwrap() * article["unit_price"].as_f64().unwrap();
            assert!(
                (amount - article["amount"].as_f64().unwrap()).abs() < 0.0051,
                "{article}"
            );
        }
    }
    let average = bytes / records.len();
    assert!(
        (1_700..2_600).contains(&average),
        "{average} bytes a record"
    );
    let any = |test: &dyn Fn(&Value) -> bool| records.values().any(test);
    assert!(any(&|r| r["payments"][0]["pin"] == "4711"));
    assert!(any(&|r| r["payments"].as_array().unwrap().len() == 2));
    assert!(any(&|r| r["payments"][0]["qr_code"].is_string()));
    assert!(any(&|r| r["payments"][0]["type"] == "Cash"));
    assert!(any(&|r| {
        r["articles"][0]["charge_detail_record"]["signed_values"][0]["signed_data"].is_string()
    }));
    assert!(any(&|r| r["customer_data"]["license_plate"].is_string()));
    assert!(any(&|r| r["receipt"]["email"].is_string()));
    assert!(any(&|r| r["card_issuer"]["driver_name"].is_string()));
    assert!(any(&|r| r["invoice"]["amount"] == 0));
}
