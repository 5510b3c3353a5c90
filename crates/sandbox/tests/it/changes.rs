//! Creating and updating transactions over the API.
//!
//! Invariant: the state follows the articles and payments; whoever lists, sees the change.

use crate::client::{small, with};
use reqwest::Method;
use serde_json::{Value, json};
use tillhouse_sandbox::SandboxOptions;

#[tokio::test]
async fn a_sale_from_creation_to_completion() {
    let (sandbox, client) = small().await;
    let some: Value = serde_json::from_slice(&sandbox.truth()[0]).unwrap();
    let (status, body) = client
        .post("/hecone/transactions", &json!({"point_id": "x"}))
        .await;
    assert_eq!(status, 400, "{body}");
    let (status, body) = client
        .post(
            "/hecone/transactions",
            &json!({
                "site_id": some["site_id"],
                "articles": [{"id": "a1", "state": "reserved", "name": "Diesel", "unit_measure": "l", "currency": "EUR",
                              "unit_price": 1.749, "start_time": "2026-01-05T12:00:00+01:00"}],
                "payments": [{"id": "p1", "state": "open", "currency": "EUR", "type": "Cash"}],
            }),
        )
        .await;
    assert_eq!(status, 201, "{body}");
    let record = &body["data"][0];
    assert_eq!(
        (&record["state"], &record["invoice"]),
        (&json!("created"), &json!(null))
    );
    let path = format!("/hecone/transactions/{}", record["id"].as_str().unwrap());

    let update = async |method: Method, change: Value| {
        let (status, body) = client.send(method, &path, Some(change.to_string())).await;
        assert_eq!(status, 200, "{body}");
        body["data"][0].clone()
    };
    let record = update(
        Method::PUT,
        json!({"articles": [{"id": "a1", "state": "ongoing"}]}),
    )
    .await;
    assert_eq!(record["state"], "pending");
    let done = json!({"articles": [{"id": "a1", "state": "done", "quantity": 30.03, "amount": 52.52, "tax_amount": 8.39}]});
    let record = update(Method::PATCH, done).await;
    assert_eq!(record["state"], "consumed");
    assert_eq!(
        record["articles"][0]["unit_price"], 1.749,
        "what is not named stays"
    );
    assert_eq!(
        (
            &record["invoice"]["amount"],
            &record["invoice"]["paid_amount"]
        ),
        (&json!(52.52), &json!(0))
    );
    let dated = record["invoice"]["created_at"].clone();
    let record = update(
        Method::PUT,
        json!({"payments": [{"id": "p1", "state": "collected", "amount": 50}]}),
    )
    .await;
    assert_eq!(record["state"], "consumed");
    let record = update(
        Method::PUT,
        json!({"payments": [{"id": "p2", "state": "collected", "amount": 2.52}]}),
    )
    .await;
    assert_eq!(record["state"], "completed");
    assert_eq!(record["payments"].as_array().unwrap().len(), 2);
    assert_eq!(record["invoice"]["created_at"], dated);

    // The clock stands at the window's end, which is not in it; a second later it is in the next one.
    let (_, body) = client
        .get("/hecone/transactions?start_date=2026-01-06T00:00:00Z&end_date=2026-01-06T00:00:01Z")
        .await;
    assert_eq!(
        (&body["meta"]["total"], &body["data"][0]),
        (&json!(1), &record)
    );
    let record = update(
        Method::PUT,
        json!({"payments": [{"id": "p2", "state": "error"}]}),
    )
    .await;
    assert_eq!(record["state"], "error");
}

#[tokio::test]
async fn by_id_shows_the_lists_extras_only_on_request() {
    let (sandbox, client) = small().await;
    let whole: Value = serde_json::from_slice(&sandbox.truth()[7]).unwrap();
    let path = format!("/hecone/transactions/{}", whole["id"].as_str().unwrap());
    let (_, all) = client.get(&format!("{path}?additional_info=true")).await;
    assert_eq!(all["data"], json!([whole]));
    let (_, bare) = client.get(&path).await;
    let mut expected = whole.clone();
    for extra in ["site", "device", "point", "products", "card_issuer", "log"] {
        expected.as_object_mut().unwrap().remove(extra);
    }
    assert_eq!(bare["data"], json!([expected]));
    assert_eq!(bare["meta"]["total"], 1);

    let options = SandboxOptions {
        transactions: 600,
        sparse_by_id: true,
        ..SandboxOptions::default()
    };
    let (_sparse, client) = with(options).await;
    let (_, asked) = client.get(&format!("{path}?additional_info=true")).await;
    assert!(
        asked["data"][0]["site"].is_null() && asked["data"][0]["id"] == whole["id"],
        "{asked}"
    );
}

#[tokio::test]
async fn a_hand_changed_sale_is_left_alone_by_the_clock() {
    let (sandbox, client) = small().await;
    let open = |body: &[u8]| {
        let record: Value = serde_json::from_slice(body).unwrap();
        (record["state"] == "pending").then(|| record["id"].as_str().unwrap().to_owned())
    };
    let id = sandbox.truth().iter().find_map(|body| open(body)).unwrap();
    let change = json!({"session_id": "by hand"}).to_string();
    let path = format!("/hecone/transactions/{id}");
    assert_eq!(client.send(Method::PUT, &path, Some(change)).await.0, 200);
    sandbox
        .advance(std::time::Duration::from_secs(96 * 3600))
        .unwrap();
    let (_, body) = client.get(&path).await;
    assert_eq!(
        (&body["data"][0]["state"], &body["data"][0]["session_id"]),
        (&json!("pending"), &json!("by hand"))
    );
}
