//! Records as the clock moves.
//!
//! Invariant: two ways to the same instant show the same; a change is never older than the clock.

use super::{PLAIN, SmartNowClient, id, small, start};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tillhouse_sandbox::{RecordSelection, Sandbox, SandboxOptions};

async fn by_id(client: &SmartNowClient, resource: &str) -> BTreeMap<String, Value> {
    client
        .truth(&format!("resource={resource}"))
        .await
        .into_iter()
        .map(|record| (id(&record), record))
        .collect()
}

#[tokio::test]
async fn payments_arrive_sales_are_corrected_logs_are_resolved_and_shifts_close() {
    let (sandbox, client) = small().await;
    let end = "2026-01-06T00:00:00Z";
    let sales = by_id(&client, "revenue_transactions").await;
    let (payments, logs) = (
        by_id(&client, "payment_transactions").await,
        by_id(&client, "logs").await,
    );
    let (shifts, machines) = (
        by_id(&client, "shifts").await,
        by_id(&client, "machines").await,
    );
    let within = |record: &Value| record["occurredAt"].as_str() > Some("2025-12-31T");
    assert_eq!(
        sales.values().filter(|sale| within(sale)).count(),
        600,
        "all sales of the stretch are known by its end"
    );
    sandbox.advance(Duration::from_secs(4 * 86_400)).unwrap();

    let now = by_id(&client, "revenue_transactions").await;
    assert_eq!(now.len(), sales.len() + 3, "stragglers arrive");
    let changed: Vec<(&Value, &Value)> = sales
        .iter()
        .map(|(id, old)| (old, &now[id]))
        .filter(|(old, new)| old != new)
        .collect();
    assert!(
        changed
            .iter()
            .all(|(_, new)| new["updatedAt"].as_str() >= Some(end))
    );
    assert!(
        changed
            .iter()
            .any(|(old, new)| old["price"] != new["price"] && new["originalPrice"] == old["price"])
    );
    let paid_late = |(old, new): &(&Value, &Value)| {
        old["numPaymentTransactions"].as_i64() < new["numPaymentTransactions"].as_i64()
    };
    assert!(changed.iter().any(paid_late));
    assert!(now.values().any(|sale| sale["numPaymentTransactions"] == 2));

    let now = by_id(&client, "payment_transactions").await;
    let late: Vec<&Value> = now
        .iter()
        .filter(|(id, _)| !payments.contains_key(*id))
        .map(|(_, p)| p)
        .collect();
    assert!(
        late.iter()
            .any(|payment| sales.contains_key(&payment["revenuetransaction"].to_string()))
    );
    let now = by_id(&client, "logs").await;
    let resolved = logs
        .iter()
        .filter(|(id, old)| old["resolvedAt"].is_null() && now[*id]["resolvedAt"].is_string());
    assert!(resolved.count() > 2);
    let since = client.list("/log", &[("where[resolvedAt][>=]", end)]).await;
    assert!(
        since.len() > 2
            && since
                .iter()
                .all(|log| log["duration"].is_i64() && log["state"] == "resolved")
    );
    let now = by_id(&client, "shifts").await;
    assert!(
        shifts
            .iter()
            .all(|(id, old)| old["closed"].is_string() || now[id]["closed"].is_string())
    );
    assert!(now.values().any(|shift| shift["closed"].is_null()) && now.len() > shifts.len());
    let now = by_id(&client, "machines").await;
    let gone: Vec<&String> = machines
        .keys()
        .filter(|id| !now.contains_key(*id))
        .collect();
    assert_eq!(gone.len(), 1, "a machine is taken away");
    let gone_number: i64 = gone[0].parse().unwrap();
    assert_eq!(
        client.ask(&format!("/product/{}", gone[0]), &[]).await.0,
        404
    );
    assert!(
        client
            .truth("resource=products")
            .await
            .iter()
            .all(|product| product["machine"] != gone_number)
    );
}

#[tokio::test]
async fn machines_come_and_go_and_prices_rise_within_the_stretch() {
    let early: jiff::Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
    let options = SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(600),
        clock: early,
        ..Default::default()
    };
    let (sandbox, client) = start(options).await;
    let (machines, products) = (
        by_id(&client, "machines").await,
        by_id(&client, "products").await,
    );
    let known = by_id(&client, "revenue_transactions").await.len();
    assert!((30..400).contains(&known), "{known}");
    sandbox.advance(Duration::from_secs(4 * 86_400)).unwrap();
    let now = by_id(&client, "machines").await;
    assert_eq!(
        machines.keys().filter(|id| !now.contains_key(*id)).count(),
        1
    );
    assert_eq!(
        now.keys().filter(|id| !machines.contains_key(*id)).count(),
        1
    );
    let risen = by_id(&client, "products")
        .await
        .into_iter()
        .filter(|(id, new)| {
            products.get(id).is_some_and(|old| {
                old["price"].as_i64() < new["price"].as_i64()
                    && old["updatedAt"] != new["updatedAt"]
            })
        });
    assert!(risen.count() > 5);
    client
        .control("/control/clock", &json!({"advance_seconds": 1}))
        .await;
    assert_eq!(
        sandbox.clock().to_string(),
        "2026-01-06T00:00:01Z",
        "one clock for all"
    );
}

#[tokio::test]
async fn two_ways_to_an_instant_show_the_same() {
    let noon: jiff::Timestamp = "2026-01-03T12:00:00Z".parse().unwrap();
    let world = |clock| SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(300),
        clock,
        ..Default::default()
    };
    let straight = Sandbox::start(world(jiff::Timestamp::MAX)).await.unwrap();
    let slowly = Sandbox::start(world(noon)).await.unwrap();
    let truth = |sandbox: &Sandbox, name: &str| {
        sandbox
            .truth_of("smartnow", &RecordSelection::of(name))
            .unwrap()
    };
    for _ in 0..10 {
        for (name, _) in PLAIN {
            assert!(
                truth(&slowly, name)
                    .iter()
                    .all(|body| !String::from_utf8_lossy(body).contains("2027-"))
                    || name == "campaigns"
                    || name == "vouchers"
            );
        }
        slowly.advance(Duration::from_secs(6 * 3600)).unwrap();
    }
    assert_eq!(slowly.clock(), straight.clock());
    for (name, _) in PLAIN {
        assert_eq!(truth(&slowly, name), truth(&straight, name), "{name}");
    }
}
