//! Getting in, and not.
//!
//! Invariant: every refusal is JSON in the shape of Sails, with a status, a code and a message.

use super::{SmartNowClient, small, start};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tillhouse_sandbox::{EmulatedFault, FaultKind, SandboxOptions};

fn refused(answer: (StatusCode, Value), status: u16) {
    assert_eq!(answer.0, status, "{}", answer.1);
    assert_eq!(answer.1["status"], status);
    assert!(
        answer.1["message"].is_string() && answer.1["code"].as_str().unwrap().starts_with("E_"),
        "{}",
        answer.1
    );
}

#[tokio::test]
async fn a_password_or_a_refresh_token_gives_a_pair() {
    let (_sandbox, mut client) = small().await;
    let pair = client.log_in().await;
    assert_eq!(
        pair.as_object().unwrap().len(),
        2,
        "the document promises no more"
    );
    let renewal = json!({"refresh_token": pair["refresh_token"]});
    let (status, renewed) = client.0.post("/smartnow/auth/refresh", &renewal).await;
    assert_eq!(status, 200);
    assert_ne!(renewed["access_token"], pair["access_token"]);
    refused(client.0.post("/smartnow/auth/refresh", &renewal).await, 401);
    client.0.token = renewed["access_token"].as_str().unwrap().to_owned();
    assert_eq!(client.ask("/language", &[]).await.0, 200);

    for wrong in [
        json!({"username": "sandbox", "password": "no"}),
        json!({"username": "no", "password": "sandbox-secret"}),
    ] {
        refused(client.0.post("/smartnow/auth/login", &wrong).await, 401);
    }
    for wrong in [
        json!({}),
        json!([]),
        json!({"username": "sandbox"}),
        json!({"refresh_token": "x"}),
    ] {
        refused(client.0.post("/smartnow/auth/login", &wrong).await, 400);
    }
    refused(
        client.0.post("/smartnow/auth/refresh", &json!({})).await,
        400,
    );
}

#[tokio::test]
async fn nobody_gets_in_without_a_good_token() {
    let (sandbox, mut client) = small().await;
    let good = client.0.token.clone();
    for bad in ["", "sandbox-secret"] {
        client.0.token = bad.into();
        refused(client.ask("/revenuetransaction", &[]).await, 401);
        refused(client.ask("/machineconfig/sb-80", &[]).await, 401);
    }
    client.0.token = good;
    sandbox.inject([EmulatedFault::new(FaultKind::Unauthorized).on("/smartnow/")]);
    refused(client.ask("/revenuetransaction", &[]).await, 401);
    client.log_in().await;
    assert_eq!(
        client.ask("/revenuetransaction", &[("limit", "1")]).await.0,
        200
    );
}

#[tokio::test]
async fn tokens_expire() {
    let options = SandboxOptions {
        token_ttl: Duration::ZERO,
        transactions: 10,
        ..SandboxOptions::default()
    };
    let (_sandbox, client): (_, SmartNowClient) = start(options).await;
    refused(client.ask("/language", &[]).await, 401);
}

#[tokio::test]
async fn what_is_not_there_and_what_may_not_be_done() {
    let (_sandbox, client) = small().await;
    for path in [
        "/nothing",
        "/product",
        "/revenuetransaction/1",
        "/machine/999",
        "/product/999",
        "/voucher/none/logs",
        "/machine/x",
    ] {
        refused(client.ask(path, &[]).await, 404);
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        refused(
            client
                .0
                .send(method, "/smartnow/machine", Some("{}".into()))
                .await,
            405,
        );
    }
}
