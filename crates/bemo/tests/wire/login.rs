//! The token and the key: where they are sent, where they come from, and when they are read anew.
//!
//! Invariant: the headers of every request are looked at in their order.

use crate::{SESSIONS, complaint, connection, limits, open, page, read, serve, slice};
use serde_json::json;
use std::path::PathBuf;
use tillhouse_extract::SourceConnection;
use tillhouse_model::ErrorKind;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A temporary file with a token, removed on drop.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new(name: &str, text: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("tillhouse-bemo-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

async fn sent(server: &MockServer, name: &str) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    requests
        .iter()
        .map(|request| request.headers[name].to_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_token_goes_as_it_is_and_the_key_beside_it() {
    let server = MockServer::start().await;
    serve(&server, |_| page([])).await;
    let source = open(&server, json!({}));
    source.check().await.unwrap();
    assert_eq!(sent(&server, "authorization").await, ["hunter2"]);
    assert_eq!(sent(&server, "api-subscription-key").await, ["hunter3"]);
    assert_eq!(source.stats().requests, 1);
}

#[tokio::test]
async fn headers_and_what_stands_before_the_token_are_configurable() {
    let server = MockServer::start().await;
    serve(&server, |_| page([])).await;
    for prefix in ["Bearer", "Bearer "] {
        let more = json!({"token_prefix": prefix, "headers": {"token": "X-Token", "subscription_key": "X-Key"}});
        open(&server, more).check().await.unwrap();
    }
    assert_eq!(
        sent(&server, "x-token").await,
        ["Bearer hunter2", "Bearer hunter2"]
    );
    assert_eq!(sent(&server, "x-key").await, ["hunter3", "hunter3"]);
}

#[tokio::test]
async fn every_account_is_checked_and_the_one_that_fails_is_named() {
    let server = MockServer::start().await;
    serve(&server, |_| page([])).await;
    Mock::given(method("GET"))
        .and(path(SESSIONS.replace("acme", "b%2Fc")))
        .respond_with(complaint(
            404,
            "ResourceNotFound",
            "The specified resource was not found",
        ))
        .mount(&server)
        .await;
    let source = open(&server, json!({"accounts": ["acme", "b/c"]}));
    let error = source.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.message().starts_with("be-mo has no account \"b/c\""),
        "{error}"
    );
    assert!(error.hint_text().unwrap().contains("connection.accounts"));
    let tenants = source.tenants("sessions").await.unwrap();
    assert_eq!(tenants, [Some("acme".to_owned()), Some("b/c".to_owned())]);
    assert_eq!(
        source.tenants("vehicles").await.unwrap_err().kind(),
        ErrorKind::Config
    );
}

#[tokio::test]
async fn a_token_from_a_file_is_read_anew_when_it_is_refused() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(header("authorization", "new"))
        .and(header("api-subscription-key", "key-2"))
        .respond_with(page([1]))
        .mount(&server)
        .await;
    serve(&server, |_| {
        complaint(
            401,
            "TokenExpired",
            "Lifetime validation failed, the JWT is expired.",
        )
    })
    .await;
    let (token, key) = (
        TokenFile::new("token", "old\n"),
        TokenFile::new("key", "key-1\n"),
    );
    let source = open(
        &server,
        json!({"access_token": {"file": token.0}, "subscription_key": {"file": key.0}}),
    );
    let error = source.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(
        error.message().contains("has expired")
            && error.hint_text().unwrap().contains("{ file: PATH }"),
        "{error:?}"
    );
    std::fs::write(&token.0, "new\n").unwrap();
    std::fs::write(&key.0, "key-2\n").unwrap();
    source.check().await.unwrap();
    source.check().await.unwrap();
    // Refused and read anew for nothing; refused and read anew for good; then as it was.
    assert_eq!(
        sent(&server, "authorization").await,
        ["old", "old", "old", "new", "new"]
    );
    assert_eq!(
        sent(&server, "api-subscription-key").await,
        ["key-1", "key-1", "key-1", "key-2", "key-2"]
    );
}

#[tokio::test]
async fn a_success_that_complains_of_the_token_counts_as_refused() {
    let server = MockServer::start().await;
    Mock::given(header("authorization", "new"))
        .respond_with(page([]))
        .mount(&server)
        .await;
    serve(&server, |_| {
        complaint(200, "InvalidJWT", "Unable to decode the JWT.")
    })
    .await;
    let token = TokenFile::new("success", "old");
    let source = open(&server, json!({"access_token": {"file": token.0}}));
    std::fs::write(&token.0, "old").unwrap();
    assert!(
        source
            .check()
            .await
            .unwrap_err()
            .message()
            .contains("cannot read the access token")
    );
    std::fs::write(&token.0, "new").unwrap();
    source.check().await.unwrap();
}

#[tokio::test]
async fn a_token_that_stands_in_the_configuration_is_not_tried_twice() {
    let server = MockServer::start().await;
    serve(&server, |_| {
        complaint(401, "TokenExpired", "expired: hunter2")
    })
    .await;
    let error = open(&server, json!({})).check().await.unwrap_err();
    assert!(error.message().ends_with("expired: ***"), "{error}");
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_command_that_fails_is_named_and_nothing_is_asked() {
    let server = MockServer::start().await;
    let source = open(&server, json!({"access_token": {"command": ["false"]}}));
    let pages = read(source.pages(&slice())).await;
    let error = pages[0].as_ref().unwrap_err();
    assert_eq!((pages.len(), error.kind()), (1, ErrorKind::Config));
    assert!(
        error.message().contains("connection.access_token"),
        "{error}"
    );
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_to_another_server_is_not_followed_with_the_token() {
    let (server, other) = (MockServer::start().await, MockServer::start().await);
    let elsewhere = format!("{}/sessions", other.uri());
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(302).insert_header("Location", elsewhere.as_str()))
        .mount(&server)
        .await;
    let error = connection(&server, json!({}))
        .open(limits())
        .unwrap()
        .check()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("redirects to"), "{error}");
    assert!(other.received_requests().await.unwrap().is_empty());
}
