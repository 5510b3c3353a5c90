//! Every kind of fault, as a client meets it.
//!
//! Invariant: a fault hits exactly as often as it was ordered; the request after it is answered well.

use crate::client::{SandboxClient, WINDOW, small};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tillhouse_sandbox::{EmulatedFault, FaultKind};

fn path() -> String {
    format!("/hecone/transactions?{WINDOW}&page[limit]=100")
}

async fn is_well(client: &SandboxClient) -> bool {
    let (status, body) = client.get(&path()).await;
    status == 200
        && body["data"]
            .as_array()
            .is_some_and(|rows| rows.len() == 100)
}

#[tokio::test]
async fn rate_limits_and_server_errors() {
    let (sandbox, client) = small().await;
    let limited = EmulatedFault {
        retry_after: Some("7".into()),
        ..EmulatedFault::new(FaultKind::RateLimited)
    };
    sandbox.inject([
        limited.after(1),
        EmulatedFault {
            status: Some(503),
            ..EmulatedFault::new(FaultKind::ServerError)
        }
        .after(1),
    ]);
    assert!(is_well(&client).await);
    let response = client.raw(&path()).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "7");
    assert!(response.json::<Value>().await.unwrap()["error"].is_object());
    assert_eq!(client.get(&path()).await.0, 503);
    assert!(is_well(&client).await);
    assert!(sandbox.pending_faults().is_empty());
}

#[tokio::test]
async fn tokens_are_revoked_in_the_middle() {
    let (sandbox, mut client) = small().await;
    sandbox.inject([EmulatedFault::new(FaultKind::Unauthorized)]);
    assert_eq!(client.get(&path()).await.0, 401);
    assert_eq!(
        client.get(&path()).await.0,
        401,
        "the old token stays worthless"
    );
    client.login().await;
    assert!(is_well(&client).await);
}

#[tokio::test]
async fn bodies_that_break_off_and_connections_that_break() {
    let (sandbox, client) = small().await;
    for kind in [FaultKind::Truncated, FaultKind::Reset] {
        sandbox.inject([EmulatedFault::new(kind)]);
        match client.raw(&path()).await {
            Ok(response) => {
                assert_eq!(
                    kind,
                    FaultKind::Truncated,
                    "a reset comes before any answer"
                );
                assert_eq!(response.status(), 200);
                assert!(response.content_length().unwrap() > 100_000);
                assert!(response.bytes().await.is_err());
            }
            Err(error) => {
                assert_eq!(kind, FaultKind::Reset);
                assert!(error.is_request(), "{error:?}");
            }
        }
        assert!(sandbox.pending_faults().is_empty());
        assert!(is_well(&client).await);
    }
}

#[tokio::test]
async fn answers_that_are_no_answer() {
    let (sandbox, client) = small().await;
    sandbox.inject([
        EmulatedFault::new(FaultKind::Empty),
        EmulatedFault::new(FaultKind::Html),
        EmulatedFault::new(FaultKind::WrongContentType),
    ]);
    let empty = client.raw(&path()).await.unwrap();
    assert_eq!(
        (empty.status().as_u16(), empty.bytes().await.unwrap().len()),
        (200, 0)
    );
    let html = client.raw(&path()).await.unwrap();
    assert!(
        html.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    assert!(html.text().await.unwrap().starts_with("<!doctype html>"));
    let plain = client.raw(&path()).await.unwrap();
    assert!(
        plain.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    assert!(plain.json::<Value>().await.unwrap()["data"].is_array());
    assert!(is_well(&client).await);
}

#[tokio::test]
async fn bodies_beyond_measure() {
    let (sandbox, client) = small().await;
    sandbox.inject([EmulatedFault {
        bytes: Some(3 << 20),
        ..EmulatedFault::new(FaultKind::Oversized)
    }]);
    let body = client.raw(&path()).await.unwrap().bytes().await.unwrap();
    assert_eq!(body.len(), 3 << 20);
    assert!(serde_json::from_slice::<Value>(&body).is_ok());
}

#[tokio::test]
async fn slow_answers_come_and_do_not_hold_up_the_others() {
    let (sandbox, client) = small().await;
    sandbox.inject([EmulatedFault {
        millis: Some(60_000),
        ..EmulatedFault::new(FaultKind::Slow).on("statistics")
    }]);
    let path = format!(
        "/hecone/transactions/statistics?{WINDOW}&mandator_id={}",
        sandbox.mandators()[0]
    );
    let slow = client.raw(&path);
    tokio::pin!(slow);
    tokio::select! {
        biased;
        _ = &mut slow => panic!("a minute has not passed"),
        well = async {
            // The slow one has met its fault before the other is asked.
            while !sandbox.pending_faults().is_empty() {
                tokio::task::yield_now().await;
            }
            is_well(&client).await
        } => assert!(well),
    }
    // Stopping does not sit the pause out: the answer comes at once.
    let (response, ()) = tokio::join!(slow, sandbox.stop());
    assert_eq!(response.unwrap().status(), 200);
}

#[tokio::test]
async fn an_insert_shifts_the_pages_behind_it() {
    for (sort, descending) in [
        ("id", false),
        ("-id", true),
        ("created_at", false),
        ("-created_at", true),
    ] {
        let (sandbox, client) = small().await;
        sandbox.inject([EmulatedFault::new(FaultKind::Shift).after(1)]);
        let ids = client.ids(&format!("page[limit]=100&sort={sort}")).await;
        let distinct: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(
            (ids.len(), distinct.len()),
            (601, 600),
            "{sort}: one row twice, the new one never"
        );
        assert_eq!(
            ids[199], ids[200],
            "{sort}: the last row of the second page comes again on the third"
        );
        let again = client.ids(&format!("page[limit]=100&sort={sort}")).await;
        assert_eq!(again.iter().collect::<BTreeSet<_>>().len(), 601);
        assert!(!distinct.contains(&again[0]), "{sort} {descending}");
    }
}

#[tokio::test]
async fn links_that_lead_elsewhere_or_nowhere() {
    let (sandbox, client) = small().await;
    sandbox.inject([
        EmulatedFault::new(FaultKind::ForeignLink),
        EmulatedFault {
            link: Some("http://127.0.0.3:9/x".into()),
            ..EmulatedFault::new(FaultKind::ForeignLink)
        },
        EmulatedFault::new(FaultKind::SelfLink),
        EmulatedFault::new(FaultKind::LieTotal),
    ]);
    let next = async || client.get(&path()).await.1["_links"].clone();
    assert!(
        next().await["next"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.2:")
    );
    assert_eq!(next().await["next"], "http://127.0.0.3:9/x");
    let links = next().await;
    assert_eq!(links["next"], links["self"]);
    assert_eq!(client.get(&path()).await.1["meta"]["total"], 601);
    assert_eq!(client.get(&path()).await.1["meta"]["total"], 600);
}

#[tokio::test]
async fn statistics_that_lie() {
    let (sandbox, client) = small().await;
    let path = format!(
        "/hecone/transactions/statistics?{WINDOW}&mandator_id={}",
        sandbox.mandators()[0]
    );
    let (_, honest) = client.get(&path).await;
    sandbox.inject([EmulatedFault::new(FaultKind::LieStatistics)]);
    let (_, lie) = client.get(&path).await;
    let count = |body: &Value| {
        body["data"][0]["transactions_count"]["value"]
            .as_i64()
            .unwrap()
    };
    assert_eq!(count(&lie), count(&honest) + 1);
    assert_eq!(client.get(&path).await.1, honest);
}

#[tokio::test]
async fn the_login_fails_when_it_is_named_and_faults_can_be_called_off() {
    let (sandbox, client) = small().await;
    sandbox.inject([EmulatedFault::new(FaultKind::ServerError)
        .on("/auth/login")
        .times(2)]);
    assert!(is_well(&client).await);
    let credentials = json!({"client_id": "sandbox", "client_secret": "sandbox-secret"});
    assert_eq!(client.post("/hecone/auth/login", &credentials).await.0, 500);
    sandbox.clear_faults();
    assert_eq!(client.post("/hecone/auth/login", &credentials).await.0, 200);
}
