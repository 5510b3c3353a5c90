//! The token: what is sent for it and where, what a refusal says, and when it is had anew.
//!
//! Invariant: what each server is sent is looked at as a whole: the secret never reaches the API, nor a token the token endpoint.

use crate::{PaceServers, TOKEN, limits, page, problem, read, slice};
use serde_json::json;
use std::path::PathBuf;
use tillhouse_extract::SourceConnection;
use tillhouse_model::ErrorKind;
use wiremock::matchers::{header, method};
use wiremock::{Mock, ResponseTemplate};

#[tokio::test]
async fn credentials_are_a_form_at_the_token_endpoint_and_nothing_else() {
    let servers = PaceServers::start().await;
    servers.serve(|_| page([], 0)).await;
    servers.open(json!({})).check().await.unwrap();
    servers
        .open(json!({"scope": "pay:transactions:read", "client_secret": "a&b=c"}))
        .check()
        .await
        .unwrap();
    let logins = servers.id.received_requests().await.unwrap();
    let forms: Vec<String> = logins
        .iter()
        .map(|login| String::from_utf8(login.body.clone()).unwrap())
        .collect();
    assert_eq!(
        forms,
        [
            "grant_type=client_credentials&client_id=me&client_secret=hunter2",
            "grant_type=client_credentials&client_id=me&client_secret=a%26b%3Dc&scope=pay%3Atransactions%3Aread",
        ]
    );
    for login in &logins {
        assert_eq!((login.url.path(), login.url.query()), (TOKEN, None));
        assert_eq!(
            login.headers["content-type"],
            "application/x-www-form-urlencoded"
        );
        assert!(!login.headers.contains_key("authorization"));
    }
    let asked = servers.asked().await;
    let tokens: Vec<&str> = asked
        .iter()
        .map(|r| r.headers["authorization"].to_str().unwrap())
        .collect();
    assert_eq!(tokens, ["Bearer token-1", "Bearer token-2"]);
    assert!(
        asked
            .iter()
            .all(|request| request.body.is_empty() && !request.url.as_str().contains("hunter2"))
    );
}

#[tokio::test]
async fn a_wrong_secret_says_which_key_to_check_and_is_sent_once() {
    let servers = PaceServers::silent().await;
    let refused =
        json!({"error": "unauthorized_client", "error_description": "Invalid client or hunter2"});
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(401).set_body_json(refused))
        .expect(1)
        .mount(&servers.id)
        .await;
    let source = servers.open(json!({}));
    let error = source.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(
        error.message().ends_with("Invalid client or ***"),
        "{error}"
    );
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("connection.client_secret")
    );
    // Every slice hears of it; nobody asks again.
    let pages = read(source.pages(&slice())).await;
    assert_eq!(
        pages[0].as_ref().unwrap_err().kind(),
        ErrorKind::Unauthorized
    );
    assert!(servers.asked().await.is_empty());
}

#[tokio::test]
async fn a_token_endpoint_that_is_not_there_is_named_by_its_key() {
    let servers = PaceServers::silent().await;
    let error = servers.open(json!({})).check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.hint_text().unwrap().contains("connection.token_url"),
        "{error:?}"
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}/token");
    let error = servers
        .open(json!({"token_url": url}))
        .check()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    assert!(
        error.hint_text().unwrap().contains("connection.token_url"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_refused_token_is_had_anew_with_the_secret_as_it_is_then() {
    let servers = PaceServers::start().await;
    Mock::given(header("authorization", "Bearer token-2"))
        .respond_with(page([], 0))
        .mount(&servers.api)
        .await;
    servers
        .serve(|_| {
            problem(
                401,
                json!({"code": "unauthorized", "title": "Token expired"}),
            )
        })
        .await;
    let secret = SecretFile::new("old\n");
    let source = servers.open(json!({"client_secret": {"file": secret.0}}));
    source.check().await.unwrap();
    let forms: Vec<String> = servers
        .id
        .received_requests()
        .await
        .unwrap()
        .iter()
        .map(|login| String::from_utf8(login.body.clone()).unwrap())
        .collect();
    assert!(
        forms[0].ends_with("client_secret=old") && forms.len() == 2,
        "{forms:?}"
    );

    let servers = PaceServers::start().await;
    Mock::given(header("authorization", "Bearer token-1"))
        .respond_with(page([], 0))
        .up_to_n_times(1)
        .mount(&servers.api)
        .await;
    Mock::given(header("authorization", "Bearer token-2"))
        .respond_with(page([], 0))
        .mount(&servers.api)
        .await;
    servers.serve(|_| problem(401, json!({}))).await;
    let source = servers
        .connection(json!({"client_secret": {"file": secret.0}}))
        .open(limits())
        .unwrap();
    source.check().await.unwrap();
    std::fs::write(&secret.0, "new\n").unwrap();
    source.check().await.unwrap();
    let last = servers.id.received_requests().await.unwrap().pop().unwrap();
    assert!(
        String::from_utf8(last.body)
            .unwrap()
            .ends_with("client_secret=new")
    );
}

#[tokio::test]
async fn a_missing_linked_identity_is_no_token_problem() {
    let servers = PaceServers::start().await;
    let missing = json!({
        "id": "cbgmhslmp1o9or9kh1p0",
        "title": "Missing linked identity for authorized access",
        "detail": "Linked identity is needed to access this resource",
        "status": "401",
        "code": "missing-linked-identity",
    });
    servers.serve(move |_| problem(401, missing.clone())).await;
    let error = servers.open(json!({})).check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(
        error.message(),
        "PACE misses a linked identity: Missing linked identity for authorized access: Linked identity is needed to access this \
         resource"
    );
    assert!(
        error
            .hint_text()
            .unwrap()
            .starts_with("No new token helps."),
        "{error:?}"
    );
    assert_eq!(servers.asked().await.len(), 1, "asked once");
    assert_eq!(
        servers.id.received_requests().await.unwrap().len(),
        1,
        "and no second token"
    );
}

/// A file that goes with the value.
struct SecretFile(PathBuf);

impl SecretFile {
    fn new(text: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("tillhouse-pace-secret-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}
