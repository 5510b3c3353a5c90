//! The part of the control protocol that every source has, tried on HecOne.
//!
//! Invariant: what is ordered happens where the listing begins, and the truth knows it at once.

use crate::client::{WINDOW, small};
use reqwest::Method;
use serde_json::{Value, json};
use tillhouse_sandbox::{EmulatedFault, FaultKind, RecordSelection};

const FROM: &str = "2026-01-02T00:00:00Z";
const TO: &str = "2026-01-03T00:00:00Z";

#[tokio::test]
async fn the_truth_of_a_window_and_a_tenant_is_what_the_list_shows() {
    let (sandbox, client) = small().await;
    let mandator = sandbox.mandators()[1].clone();
    let truth = format!(
        "/control/hecone/truth?resource=transactions&tenant={mandator}&from={FROM}&to={TO}"
    );
    let response = client.raw(&truth).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    let list = format!(
        "/hecone/transactions?start_date={FROM}&end_date={TO}&mandator_id={mandator}&page[limit]=1000"
    );
    let (_, page) = client.get(&list).await;
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(records.len() > 10, "{}", records.len());
    assert_eq!(page["data"], Value::Array(records));
    assert_eq!(
        sandbox
            .truth_of("hecone", &RecordSelection::of("transactions"))
            .unwrap(),
        sandbox.truth()
    );
    for bad in [
        "/control/hecone/truth",
        "/control/hecone/truth?resource=logs",
        "/control/hecone/truth?resource=transactions&tenant=nobody",
        "/control/hecone/truth?resource=transactions&from=soon",
    ] {
        assert_eq!(client.get(bad).await.0, 400, "{bad}");
    }
    assert_eq!(
        client
            .get("/control/elsewhere/truth?resource=transactions")
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn records_arrive_change_and_vanish_where_the_listing_begins() {
    let (_sandbox, client) = small().await;
    let path =
        format!("/hecone/transactions?start_date={FROM}&end_date={TO}&sort=id&page[limit]=1000");
    let list = async || {
        client.get(&path).await.1["data"]
            .as_array()
            .unwrap()
            .clone()
    };
    let stir = async |kind: &str| {
        let order = json!({"resource": "transactions", "tenant": null, "kind": kind, "from": FROM, "to": TO});
        let (status, body) = client.post("/control/hecone/stir", &order).await;
        assert_eq!(status, 200, "{body}");
        body["id"].clone()
    };
    let before = list().await;
    let (first, second) = (stir("arrive").await, stir("arrive").await);
    let after = list().await;
    assert_eq!(after.len(), before.len() + 2);
    assert_eq!(
        (&after[0]["id"], &after[1]["id"]),
        (&second, &first),
        "the newest stands first"
    );
    assert_eq!(after[2..], before[..]);

    assert_eq!(stir("change").await, second);
    let changed = list().await;
    assert_ne!(changed[0]["customer_data"], after[0]["customer_data"]);
    assert_eq!(
        (&changed[0]["id"], &changed[0]["invoice"]),
        (&after[0]["id"], &after[0]["invoice"])
    );

    assert_eq!(stir("vanish").await, second);
    assert_eq!(stir("vanish").await, first);
    assert_eq!(stir("vanish").await, before[0]["id"]);
    assert_eq!(list().await[..], before[1..]);

    let nothing = json!({"resource": "transactions", "kind": "change", "from": "2031-01-01T00:00:00Z", "to": "2031-01-02T00:00:00Z"});
    assert_eq!(client.post("/control/hecone/stir", &nothing).await.0, 404);
    for bad in [
        json!({"resource": "logs", "kind": "change", "from": FROM, "to": TO}),
        json!({"resource": "transactions", "kind": "explode", "from": FROM, "to": TO}),
        json!({"resource": "transactions", "kind": "change"}),
    ] {
        assert_eq!(
            client.post("/control/hecone/stir", &bad).await.0,
            400,
            "{bad}"
        );
    }
}

#[tokio::test]
async fn records_are_put_as_written_and_pages_are_cut() {
    let (sandbox, client) = small().await;
    let record =
        r#"{"id":"odd-1","invoice":{"amount":1.10,"created_at":"2026-01-02T10:00:00+01:00"}}"#;
    let (status, body) = client
        .send(
            Method::PUT,
            "/control/hecone/records?resource=transactions",
            Some(record.into()),
        )
        .await;
    assert_eq!((status.as_u16(), body), (200, json!({"id": "odd-1"})));
    assert!(sandbox.truth().iter().any(|known| known == record));
    assert_eq!(
        client
            .post("/control/hecone/page_cap", &json!({"largest_page": 7}))
            .await
            .0,
        200
    );
    assert_eq!(
        client.page("page[limit]=100").await["data"]
            .as_array()
            .unwrap()
            .len(),
        7
    );
    for bad in [json!({"largest_page": 0}), json!({}), json!(7)] {
        assert_eq!(
            client.post("/control/hecone/page_cap", &bad).await.0,
            400,
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_listing_without_end_has_new_records_on_every_page() {
    let (sandbox, client) = small().await;
    sandbox.inject([EmulatedFault::new(FaultKind::Endless).times(u64::MAX)]);
    let mut path = format!("/hecone/transactions?{WINDOW}&sort=id&page[limit]=50");
    let mut seen = std::collections::BTreeSet::new();
    for page in 1..=4 {
        let (_, body) = client.get(&path).await;
        seen.extend(
            body["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r["id"].as_str().unwrap().to_owned()),
        );
        assert_eq!(seen.len(), page * 50);
        path = body["_links"]["next"]
            .as_str()
            .unwrap()
            .strip_prefix(&client.url)
            .unwrap()
            .to_owned();
    }
    sandbox.clear_faults();
    assert_eq!(
        client.page("").await["meta"]["total"],
        600,
        "nothing of it was kept"
    );
}

#[tokio::test]
async fn the_log_says_when_a_request_came_and_what_it_got() {
    let (sandbox, client) = small().await;
    client.page("page[limit]=10").await;
    client.get("/hecone/transactions/nobody").await;
    let (_, body) = client.get("/control/requests").await;
    let requests = body["requests"].as_array().unwrap();
    let statuses: Vec<u64> = requests
        .iter()
        .map(|r| r["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [200, 200, 404]);
    let times: Vec<u64> = requests
        .iter()
        .map(|r| r["at_ms"].as_u64().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(sandbox.requests().requests[1].path, "/hecone/transactions");
}

#[tokio::test]
async fn fleet_customers_are_the_worlds_vehicles() {
    let (sandbox, _client) = small().await;
    let mut plates = std::collections::BTreeMap::<String, String>::new();
    for record in sandbox.truth() {
        let record: Value = serde_json::from_slice(&record).unwrap();
        let data = &record["customer_data"];
        if let (Some(number), Some(plate)) = (
            data["vehicle_number"].as_str(),
            data["license_plate"].as_str(),
        ) {
            let plain: String = plate
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .collect::<String>()
                .to_lowercase();
            if ["EUR", "CHF"]
                .iter()
                .any(|currency| record["invoice"]["currency"] == *currency)
            {
                assert_eq!(
                    plates
                        .entry(number.to_owned())
                        .or_insert_with(|| plain.clone()),
                    &plain
                );
            }
        }
    }
    assert!(plates.len() > 10, "{plates:?}");
    assert_eq!((sandbox.accounts().len(), sandbox.partners().len()), (3, 2));
    assert_eq!(sandbox.url_of("bemo"), format!("{}/bemo", sandbox.url()));
}
