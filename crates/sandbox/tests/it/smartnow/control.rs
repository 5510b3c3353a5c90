//! Control of SmartNow by tests: changes, records of its own, page caps, faults; and the summary
//! that checks sums.
//!
//! Invariant: the truth and the lists agree after every order.

use super::{OF_PARENTS, PLAIN, id, ids, small};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_sandbox::{EmulatedFault, FaultKind};

const FROM: &str = "2026-01-02T00:00:00Z";
const TO: &str = "2026-01-03T00:00:00Z";

fn order(resource: &str, kind: &str) -> Value {
    json!({"resource": resource, "tenant": null, "kind": kind, "from": FROM, "to": TO})
}

#[tokio::test]
async fn records_arrive_change_and_vanish_where_the_listing_begins() {
    let (_sandbox, client) = small().await;
    let windowed = [
        "revenue_transactions",
        "payment_transactions",
        "logs",
        "voucher_logs",
        "integration_records",
        "integration_transactions",
    ];
    let all = PLAIN
        .iter()
        .map(|(name, _)| *name)
        .chain(OF_PARENTS.iter().map(|(name, _, _)| *name));
    for resource in all {
        let query = format!("resource={resource}&from={FROM}&to={TO}");
        let before = client.truth(&query).await;
        assert!(!before.is_empty(), "{resource}");
        let stir = async |kind: &str| {
            id(&client
                .control("/control/smartnow/stir", &order(resource, kind))
                .await)
        };

        let (first, second) = (stir("arrive").await, stir("arrive").await);
        let after = client.truth(&query).await;
        assert_eq!(
            ids(&after)[..2],
            [second.clone(), first.clone()],
            "{resource}"
        );
        assert_eq!(after[2..], before[..], "{resource}");

        assert_eq!(stir("change").await, second, "{resource}");
        let everything = client.truth(&format!("resource={resource}")).await;
        let changed = everything
            .iter()
            .find(|record| id(record) == second)
            .unwrap();
        assert_ne!(*changed, after[0], "{resource}");
        if resource == "logs" {
            assert_eq!(
                changed["resolvedAt"], "2026-01-06T00:00:00Z",
                "a log changes by being resolved"
            );
        } else {
            assert_eq!(
                changed["updatedAt"], "2026-01-06T00:00:00Z",
                "{resource}: changed at the clock"
            );
        }
        // A record that was changed now is in a later window, where there are windows by the last change.
        let moved = windowed.contains(&resource) && resource != "logs";
        assert_eq!(
            stir("vanish").await,
            if moved { first } else { second },
            "{resource}"
        );
        let left = client.truth(&format!("resource={resource}")).await.len();
        assert_eq!(left, everything.len() - 1, "{resource}");
    }
    let (status, _) = client
        .0
        .post("/control/smartnow/stir", &order("socks", "change"))
        .await;
    assert_eq!(status, 400);
    let mut nothing = order("logs", "vanish");
    (nothing["from"], nothing["to"]) =
        (json!("2031-01-01T00:00:00Z"), json!("2031-01-02T00:00:00Z"));
    assert_eq!(
        client.0.post("/control/smartnow/stir", &nothing).await.0,
        404
    );
}

#[tokio::test]
async fn what_belongs_to_a_parent_goes_with_it() {
    let (_sandbox, client) = small().await;
    let machine = id(&client
        .control("/control/smartnow/stir", &order("machines", "vanish"))
        .await);
    let number: i64 = machine.parse().unwrap();
    assert_eq!(client.ask(&format!("/product/{machine}"), &[]).await.0, 404);
    assert!(
        client
            .truth("resource=products")
            .await
            .iter()
            .all(|product| product["machine"] != number)
    );
    let new = id(&client
        .control("/control/smartnow/stir", &order("machines", "arrive"))
        .await);
    assert!(
        client
            .list(&format!("/product/{new}"), &[])
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn records_are_put_as_written_and_outlive_the_clock() {
    let (sandbox, client) = small().await;
    let put = async |query: &str, record: &str| {
        client
            .0
            .send(
                Method::PUT,
                &format!("/control/smartnow/records?{query}"),
                Some(record.into()),
            )
            .await
    };
    let odd = r#"{"id":7,"price":12.290000000000001,"brandNew":{"x":null},"currency":"EUR","occurredAt":"2026-01-02T10:00:00+01:00","updatedAt":"2026-01-02T10:00:00Z"}"#;
    assert_eq!(
        put("resource=revenue_transactions", odd).await,
        (reqwest::StatusCode::OK, json!({"id": "7"}))
    );
    sandbox
        .advance(std::time::Duration::from_secs(3600))
        .unwrap();
    let page = client
        .0
        .raw("/smartnow/revenuetransaction?limit=1")
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(
        page,
        format!("[{odd}]"),
        "digits, order and unknown fields stay"
    );
    let product = r#"{"id":1,"machine":81,"name":"Odd"}"#;
    put("resource=products", product).await;
    assert_eq!(
        client.list("/product/81", &[("limit", "1")]).await,
        [serde_json::from_str::<Value>(product).unwrap()]
    );
    put(
        "resource=integration_records&tenant=2",
        r#"{"id":1,"state":"failed"}"#,
    )
    .await;
    assert_eq!(
        client
            .list("/integration/2/records", &[("limit", "1")])
            .await[0]["id"],
        1
    );
    for bad in ["", "[]", "{}", r#"{"id":null}"#] {
        assert_eq!(
            put("resource=revenue_transactions", bad).await.0,
            400,
            "{bad}"
        );
    }
    assert_eq!(
        put("resource=revenue_transactions&tenant=1", odd).await.0,
        400,
        "sales have no tenant"
    );
}

#[tokio::test]
async fn pages_are_cut_and_shifted() {
    let (sandbox, client) = small().await;
    client
        .control("/control/smartnow/page_cap", &json!({"largest_page": 9}))
        .await;
    assert_eq!(
        client
            .list("/revenuetransaction", &[("limit", "100")])
            .await
            .len(),
        9
    );
    assert_eq!(client.list("/revenuetransaction", &[]).await.len(), 9);
    sandbox.inject([EmulatedFault::new(FaultKind::Shift).on("/smartnow/")]);
    let first = ids(&client.list("/revenuetransaction", &[("limit", "9")]).await);
    let second = ids(&client
        .list("/revenuetransaction", &[("limit", "9"), ("skip", "9")])
        .await);
    assert_eq!(first[8], second[0], "who counts rows meets one twice");
    assert!(sandbox.pending_faults().is_empty());
}

#[tokio::test]
async fn a_listing_without_end_has_new_records_on_every_page() {
    let (sandbox, client) = small().await;
    for path in ["/revenuetransaction", "/voucher", "/product/80"] {
        sandbox.inject([EmulatedFault::new(FaultKind::Endless)
            .times(u64::MAX)
            .on("/smartnow/")]);
        let mut seen = BTreeSet::new();
        let mut last = String::new();
        for page in 1..=4 {
            let mut pairs = vec![("limit", "50"), ("sort", "id asc")];
            if !last.is_empty() {
                pairs.push(("where[id][>]", &last));
            }
            let records = client.list(path, &pairs).await;
            seen.extend(ids(&records));
            assert_eq!(seen.len(), page * 50, "{path}");
            last = id(&records[49]);
        }
        sandbox.clear_faults();
        assert!(
            client
                .list(path, &[("where[id][>]", &last)])
                .await
                .is_empty(),
            "nothing of it was kept"
        );
    }
}

#[tokio::test]
async fn faults_speak_sails() {
    let (sandbox, client) = small().await;
    sandbox.inject([
        EmulatedFault {
            status: Some(503),
            ..EmulatedFault::new(FaultKind::ServerError).on("/smartnow/log")
        },
        EmulatedFault::new(FaultKind::RateLimited).on("/smartnow/"),
    ]);
    let (status, body) = client.ask("/language", &[]).await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (429, &json!("E_RATE_LIMITED"))
    );
    assert_eq!(
        client.list("/language", &[]).await.len(),
        3,
        "the other fault has its own path"
    );
    let (status, body) = client.ask("/log", &[]).await;
    assert_eq!(
        (status.as_u16(), &body["error"]),
        (503, &json!("Service Unavailable"))
    );
    sandbox.inject([
        EmulatedFault::new(FaultKind::Html).on("/smartnow/"),
        EmulatedFault::new(FaultKind::Truncated).on("/smartnow/"),
    ]);
    assert!(
        client
            .0
            .raw("/smartnow/log")
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .starts_with("<!doctype html>")
    );
    assert!(
        client
            .0
            .raw("/smartnow/log")
            .await
            .unwrap()
            .bytes()
            .await
            .is_err()
    );
    assert_eq!(client.ask("/log", &[("limit", "1")]).await.0, 200);
}

#[tokio::test]
async fn the_summary_is_the_sum_of_the_sales() {
    let (sandbox, client) = small().await;
    let mut sums: BTreeMap<(String, String), i64> = BTreeMap::new();
    for sale in client
        .list("/revenuetransaction", &[("useArchive", "true")])
        .await
    {
        let day = sale["occurredAt"].as_str().unwrap()[..10].to_owned();
        if ("2026-01-02".."2026-01-05").contains(&day.as_str()) {
            *sums
                .entry((sale["currency"].as_str().unwrap().to_owned(), day))
                .or_default() += sale["price"].as_i64().unwrap();
        }
    }
    let asked = [
        ("startDate", "2026-01-02"),
        ("endDate", "2026-01-04 23:59:59"),
    ];
    let (status, summary) = client.ask("/revenuetransaction/summary", &asked).await;
    assert_eq!(status, 200);
    let mut told: BTreeMap<(String, String), i64> = BTreeMap::new();
    for (currency, days) in summary.as_object().unwrap() {
        for day in days.as_array().unwrap() {
            assert_eq!(
                (day["currency"].as_str(), &day["orginalValue"]),
                (Some(currency.as_str()), &day["value"])
            );
            told.insert(
                (currency.clone(), day["date"].as_str().unwrap().to_owned()),
                day["value"].as_i64().unwrap(),
            );
        }
    }
    assert_eq!(told, sums);
    assert!(told.len() > 15, "{told:?}");

    sandbox.inject([EmulatedFault::new(FaultKind::LieStatistics).on("/smartnow/")]);
    let lie = client.ask("/revenuetransaction/summary", &asked).await.1;
    assert_ne!(lie, summary);
    assert_eq!(
        client.ask("/revenuetransaction/summary", &asked).await.1,
        summary
    );
    let only = [
        asked[0],
        asked[1],
        ("machines[]", "80"),
        ("locations[0]", "1"),
    ];
    let (_, few) = client.ask("/revenuetransaction/summary", &only).await;
    assert_eq!(few.as_object().unwrap().keys().collect::<Vec<_>>(), ["EUR"]);
    for bad in [
        vec![asked[0]],
        vec![asked[0], ("endDate", "soon")],
        vec![asked[0], asked[1], ("machines", "x")],
    ] {
        assert_eq!(
            client.ask("/revenuetransaction/summary", &bad).await.0,
            400,
            "{bad:?}"
        );
    }
}
