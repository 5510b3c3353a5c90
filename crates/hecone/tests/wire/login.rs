//! The login: what is sent, what a refusal says, and when a token is had anew.
//!
//! Invariant: what a login sends is compared as a whole, so nothing can be sent beside it.

use super::{connection, limits, open, slice, with_login};
use futures::StreamExt;
use serde_json::{Value, json};
use tillhouse_extract::{ResourceLimits, SourceConnection, SourceLimits};
use tillhouse_model::ErrorKind;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn empty() -> ResponseTemplate {
    ResponseTemplate::new(200)
        .set_body_json(json!({"meta": {"limit": 1, "start": 0, "size": 0, "total": 0}, "data": []}))
}

#[tokio::test]
async fn check_logs_in_and_asks_for_a_page_as_large_as_a_sync_does() {
    let of_transactions = ResourceLimits {
        page_size: Some(77),
        ..Default::default()
    };
    let by_resource = [("transactions".to_owned(), of_transactions)].into();
    for (limits, size) in [
        (limits(), "500"),
        (
            SourceLimits {
                by_resource,
                ..limits()
            },
            "77",
        ),
    ] {
        let server = MockServer::start().await;
        with_login(&server).await;
        Mock::given(method("GET"))
            .and(path("/hecone/transactions"))
            .and(wiremock::matchers::query_param("page[limit]", size))
            .respond_with(empty())
            .expect(1)
            .mount(&server)
            .await;
        open(
            &server,
            SourceLimits {
                page_size: 500,
                ..limits
            },
        )
        .check()
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_page_size_that_is_refused_is_found_by_check_whatever_the_server_calls_it() {
    for told in [
        json!({"message": "limit must not exceed 100"}),
        json!({"code": 17}),
    ] {
        let server = MockServer::start().await;
        with_login(&server).await;
        let few = wiremock::matchers::query_param("page[limit]", "1");
        Mock::given(method("GET"))
            .and(few)
            .respond_with(empty())
            .mount(&server)
            .await;
        let refused = ResponseTemplate::new(400).set_body_json(told);
        Mock::given(method("GET"))
            .respond_with(refused)
            .mount(&server)
            .await;
        let error = open(
            &server,
            SourceLimits {
                page_size: 500,
                ..limits()
            },
        )
        .check()
        .await
        .unwrap_err();
        let hint = error.hint_text().unwrap();
        assert!(
            hint.contains("500") && hint.contains("sync.page_size"),
            "{hint}"
        );
    }
}

#[tokio::test]
async fn a_wrong_secret_says_which_key_to_check_and_is_sent_once() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(
            ResponseTemplate::new(401).set_body_json(json!({"message": "unknown secret hunter2"})),
        )
        .expect(1)
        .mount(&server)
        .await;
    let source = open(&server, limits());
    let error = source.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("connection.client_secret")
    );
    assert!(error.message().ends_with("unknown secret ***"), "{error}");
    // Every slice hears of it; nobody asks again.
    let pages: Vec<_> = source
        .pages(&slice("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"))
        .collect()
        .await;
    assert_eq!(
        pages[0].as_ref().unwrap_err().kind(),
        ErrorKind::Unauthorized
    );
}

#[tokio::test]
async fn a_login_that_is_not_there_says_which_path_to_set() {
    let server = MockServer::start().await;
    let error = open(&server, limits()).check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("connection.paths.login")
    );
    assert!(error.to_string().contains("/hecone/auth/login"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let text = format!(
        r#"{{"base_url":"http://127.0.0.1:{port}","client_id":"me","client_secret":"hunter2"}}"#
    );
    let connection: tillhouse_hecone::HecOneConnection = serde_json::from_str(&text).unwrap();
    let error = connection
        .open(SourceLimits {
            attempts: 1,
            ..limits()
        })
        .unwrap()
        .check()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
    assert!(error.hint_text().unwrap().contains("base_url"));
}

#[tokio::test]
async fn a_refused_token_is_replaced_with_the_refresh_token_where_its_path_is_set() {
    for (more, refresh_path, body) in [
        (
            r#","paths":{"refresh":"/auth/refresh"}"#,
            "/hecone/auth/refresh",
            json!({"refresh_token": "again"}),
        ),
        (
            "",
            "/hecone/auth/login",
            json!({"client_id": "me", "client_secret": "hunter2"}),
        ),
    ] {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/hecone/auth/refresh"))
            .respond_with(
                ResponseTemplate::new(200).set_body_json(json!({"access_token": "token-2"})),
            )
            .mount(&server)
            .await;
        with_login(&server).await;
        Mock::given(method("GET"))
            .and(header("authorization", "Bearer token-2"))
            .respond_with(empty())
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .respond_with(ResponseTemplate::new(401))
            .mount(&server)
            .await;
        connection(&server, more)
            .open(limits())
            .unwrap()
            .check()
            .await
            .unwrap();
        let requests = server.received_requests().await.unwrap();
        let posts: Vec<_> = requests.iter().filter(|r| r.method == "POST").collect();
        assert_eq!(posts.len(), 2);
        assert_eq!(posts[1].url.path(), refresh_path);
        assert_eq!(
            serde_json::from_slice::<Value>(&posts[1].body).unwrap(),
            body
        );
    }
}

#[tokio::test]
async fn a_refused_refresh_token_means_logging_in_again() {
    for status in [400, 401, 404] {
        let server = MockServer::start().await;
        with_login(&server).await;
        Mock::given(method("POST"))
            .and(path("/hecone/auth/refresh"))
            .respond_with(ResponseTemplate::new(status))
            .expect(1)
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .and(header("authorization", "Bearer token-2"))
            .respond_with(empty())
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .respond_with(ResponseTemplate::new(401))
            .mount(&server)
            .await;
        let more = r#","paths":{"refresh":"/auth/refresh"}"#;
        connection(&server, more)
            .open(limits())
            .unwrap()
            .check()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_rotated_secret_is_read_anew() {
    let server = MockServer::start().await;
    with_login(&server).await;
    Mock::given(method("GET"))
        .and(header("authorization", "Bearer token-1"))
        .respond_with(empty())
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(header("authorization", "Bearer token-2"))
        .respond_with(empty())
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(401))
        .mount(&server)
        .await;
    let file = std::env::temp_dir().join(format!("tillhouse-hecone-secret-{}", std::process::id()));
    std::fs::write(&file, "old\n").unwrap();
    let text = json!({"base_url": format!("{}/hecone", server.uri()), "client_id": "me", "client_secret": {"file": file}});
    let connection: tillhouse_hecone::HecOneConnection = serde_json::from_value(text).unwrap();
    let source = connection.open(limits()).unwrap();
    source.check().await.unwrap();
    std::fs::write(&file, "new\n").unwrap();
    source.check().await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let secrets: Vec<Value> = server
        .received_requests()
        .await
        .unwrap()
        .iter()
        .filter(|r| r.method == "POST")
        .map(|r| serde_json::from_slice::<Value>(&r.body).unwrap()["client_secret"].clone())
        .collect();
    assert_eq!(secrets, ["old", "new"]);
}
