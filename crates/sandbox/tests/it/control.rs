//! The control protocol over HTTP.
//!
//! Invariant: all that a test can do in Rust, it can do over HTTP too.

use crate::client::small;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn the_clock_moves_and_never_back() {
    let (sandbox, client) = small().await;
    assert_eq!(
        client.get("/control/clock").await.1,
        json!({"now": "2026-01-06T00:00:00Z"})
    );
    let (status, body) = client
        .post("/control/clock", &json!({"advance_seconds": 90}))
        .await;
    assert_eq!(
        (status.as_u16(), body),
        (200, json!({"now": "2026-01-06T00:01:30Z"}))
    );
    let (status, _) = client
        .post("/control/clock", &json!({"now": "2026-01-08T00:00:00Z"}))
        .await;
    assert_eq!(status, 200);
    assert_eq!(sandbox.clock().to_string(), "2026-01-08T00:00:00Z");
    for bad in [
        json!({"now": "2026-01-01T00:00:00Z"}),
        json!({}),
        json!({"now": "soon"}),
        json!({"advance_seconds": u64::MAX}),
    ] {
        assert_eq!(client.post("/control/clock", &bad).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn faults_are_ordered_listed_and_called_off() {
    let (sandbox, client) = small().await;
    let order = json!({"faults": [{"kind": "rate_limited", "retry_after": "1", "after": 3, "times": 2}, {"kind": "reset", "path": "/x"}]});
    assert_eq!(client.post("/control/faults", &order).await.0, 200);
    assert_eq!(sandbox.pending_faults().len(), 2);
    assert_eq!(
        client.get("/control/faults").await.1["faults"][0]["after"],
        3
    );
    for bad in [
        json!({"faults": [{"kind": "flood"}]}),
        json!({"faults": [{"kind": "reset", "tims": 1}]}),
        json!([]),
    ] {
        assert_eq!(client.post("/control/faults", &bad).await.0, 400, "{bad}");
    }
    assert_eq!(
        client.send(Method::DELETE, "/control/faults", None).await.0,
        200
    );
    assert!(sandbox.pending_faults().is_empty());
}

#[tokio::test]
async fn records_come_and_go_exactly_as_written() {
    let (sandbox, client) = small().await;
    let odd = r#"{"id":"odd-1","brand_new":[1,{"x":null}],"invoice":{"amount":12.290000000000001,"created_at":"2026-01-02T10:00:00+01:00"},"articles":"none"}"#;
    assert_eq!(
        client
            .send(Method::POST, "/control/records", Some(odd.into()))
            .await
            .0,
        200
    );
    let page = client
        .raw(&format!(
            "/hecone/transactions?{}&page[limit]=1000",
            crate::client::WINDOW
        ))
        .await
        .unwrap();
    assert!(
        page.text().await.unwrap().contains(odd),
        "digits, order and unknown fields stay"
    );
    assert_eq!(client.ids("sort=id&page[limit]=100").await.len(), 601);
    let (_, one) = client.get("/hecone/transactions/odd-1").await;
    assert_eq!(one["data"][0]["articles"], "none");

    // A record whose own time cannot be read is listed where the caller says.
    let timeless = r#"{"id":"odd-2","invoice":{"created_at":17}}"#;
    assert_eq!(
        client
            .send(Method::POST, "/control/records", Some(timeless.into()))
            .await
            .0,
        200
    );
    assert_eq!(client.page("").await["meta"]["total"], 601);
    let path = "/control/records?time=2026-01-03T00:00:00Z";
    assert_eq!(
        client
            .send(Method::POST, path, Some(timeless.into()))
            .await
            .0,
        200
    );
    assert_eq!(client.page("").await["meta"]["total"], 602);

    for bad in ["", "[]", "{}", r#"{"id":5}"#, "{"] {
        assert_eq!(
            client
                .send(Method::POST, "/control/records", Some(bad.into()))
                .await
                .0,
            400,
            "{bad}"
        );
        assert!(sandbox.put(bad).is_err());
    }
    assert_eq!(
        client
            .send(Method::DELETE, "/control/records/odd-1", None)
            .await
            .0,
        200
    );
    assert_eq!(
        client
            .send(Method::DELETE, "/control/records/odd-1", None)
            .await
            .0,
        404
    );
    assert_eq!(client.get("/hecone/transactions/odd-1").await.0, 404);
    assert_eq!(client.page("").await["meta"]["total"], 601);
    assert!(sandbox.put(odd).is_ok(), "what was removed may come back");
    assert_eq!(client.page("").await["meta"]["total"], 602);
    assert!(sandbox.remove("odd-1") && !sandbox.remove("odd-1"));
}

#[tokio::test]
async fn the_truth_is_every_record_one_a_line() {
    let (sandbox, client) = small().await;
    sandbox
        .put("{\"id\":\"pretty\",\n  \"note\": \"none\"\n}")
        .unwrap();
    let text = client
        .raw("/control/truth?resource=transactions")
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 601);
    assert!(
        lines
            .iter()
            .zip(sandbox.truth())
            .all(|(line, body)| line.as_bytes() == body)
    );
    assert!(
        lines
            .iter()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].is_string())
    );
    assert_eq!(client.get("/control/truth?resource=other").await.0, 400);
}

#[tokio::test]
async fn requests_are_logged_without_the_control_ones() {
    let (sandbox, client) = small().await;
    client.page("page[limit]=10").await;
    let id = client.ids("page[limit]=600").await[0].clone();
    client.get(&format!("/hecone/transactions/{id}")).await;
    let log = sandbox.requests();
    assert_eq!(log.total, 4);
    assert_eq!(log.counts["POST /hecone/auth/login"], 1);
    assert_eq!(log.counts["GET /hecone/transactions"], 2);
    assert_eq!(log.counts["GET /hecone/transactions/{id}"], 1);
    assert!(log.requests[1].query.contains("page[limit]=10"));
    let (_, body) = client.get("/control/requests").await;
    assert_eq!(
        (&body["total"], &body["requests"][0]["status"]),
        (&json!(4), &json!(200))
    );
    assert!(
        !body.to_string().contains("sandbox-secret") && !body.to_string().contains(&client.token)
    );
    client.send(Method::DELETE, "/control/requests", None).await;
    assert_eq!(sandbox.requests().total, 0);
}
