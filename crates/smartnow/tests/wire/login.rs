//! The login: what is sent, what a refusal says, and when a token is had anew.
//!
//! Invariant: what a login sends is compared as a whole, so nothing can be sent beside it.

use super::{connection, ids, limits, open, today, with_list, with_login};
use serde_json::{Value, json};
use tillhouse_extract::SourceConnection;
use tillhouse_model::ErrorKind;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

async fn posts(server: &MockServer) -> Vec<(String, Value)> {
    let requests = server.received_requests().await.unwrap();
    let posts = requests.iter().filter(|request| request.method == "POST");
    posts
        .map(|r| {
            (
                r.url.path().to_owned(),
                serde_json::from_slice(&r.body).unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn the_users_name_and_password_are_sent_once() {
    let server = MockServer::start().await;
    with_login(&server).await;
    with_list(&server, "/machine", vec![json!({"id": 1})]).await;
    let source = open(&server, limits());
    assert_eq!(ids(source.pages(&today("machines"))).await, [1]);
    assert_eq!(ids(source.pages(&today("machines"))).await, [1]);
    let login = (
        "/smartnow/auth/login".to_owned(),
        json!({"username": "reader", "password": "hunter2"}),
    );
    assert_eq!(posts(&server).await, [login]);
    let requests = server.received_requests().await.unwrap();
    let gets = requests.iter().filter(|request| request.method == "GET");
    assert!(
        gets.into_iter()
            .all(|request| request.headers["authorization"] == "Bearer token-1")
    );
}

#[tokio::test]
async fn a_wrong_password_says_which_key_to_check_and_is_sent_once() {
    for status in [400, 401, 403] {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(
                ResponseTemplate::new(status)
                    .set_body_json(json!({"message": "no user with hunter2"})),
            )
            .expect(1)
            .mount(&server)
            .await;
        let source = open(&server, limits());
        let error = source.check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.hint_text().unwrap().contains("connection.password"));
        assert!(error.message().ends_with("no user with ***"), "{error}");
        assert!(!format!("{error:?} {source:?}").contains("hunter2"));
        // Every slice hears of it; nobody asks again.
        let error = super::pages(source.pages(&today("logs")))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
    }
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
    assert!(
        error.to_string().contains("/smartnow/auth/login"),
        "{error}"
    );
}

#[tokio::test]
async fn a_refused_token_is_replaced_with_the_refresh_token_and_else_with_the_password() {
    for refresh_works in [true, false] {
        let server = MockServer::start().await;
        let answer = if refresh_works {
            ResponseTemplate::new(200)
                .set_body_json(json!({"access_token": "token-2", "refresh_token": "again-2"}))
        } else {
            ResponseTemplate::new(401)
        };
        Mock::given(method("POST"))
            .and(path("/smartnow/auth/refresh"))
            .respond_with(answer)
            .mount(&server)
            .await;
        with_login(&server).await;
        Mock::given(header("authorization", "Bearer token-1"))
            .respond_with(ResponseTemplate::new(401))
            .mount(&server)
            .await;
        with_list(&server, "/machine", vec![json!({"id": 1})]).await;
        assert_eq!(
            ids(open(&server, limits()).pages(&today("machines"))).await,
            [1]
        );
        let login = (
            "/smartnow/auth/login".to_owned(),
            json!({"username": "reader", "password": "hunter2"}),
        );
        let mut expected = vec![login.clone()];
        expected.push((
            "/smartnow/auth/refresh".to_owned(),
            json!({"refresh_token": "again-1"}),
        ));
        if !refresh_works {
            expected.push(login);
        }
        assert_eq!(posts(&server).await, expected);
    }
}

#[tokio::test]
async fn paths_and_prefix_are_configurable() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/smartnow/v2/login"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"access_token": "bare"})))
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path("/smartnow/v2/machines"))
        .and(header("authorization", "bare"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .mount(&server)
        .await;
    let more =
        json!({"paths": {"login": "/v2/login", "machines": "/v2/machines"}, "token_prefix": ""});
    let source = connection(&server, more).open(limits()).unwrap();
    assert!(ids(source.pages(&today("machines"))).await.is_empty());
}

#[tokio::test]
async fn a_rotated_password_is_read_anew() {
    let server = MockServer::start().await;
    with_login(&server).await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(401))
        .mount(&server)
        .await;
    Mock::given(header("authorization", "Bearer token-1"))
        .respond_with(ResponseTemplate::new(401))
        .mount(&server)
        .await;
    with_list(&server, "/machine", vec![]).await;
    let file = std::env::temp_dir().join(format!(
        "tillhouse-smartnow-password-{}",
        std::process::id()
    ));
    std::fs::write(&file, "old\n").unwrap();
    let source = connection(&server, json!({"password": {"file": file}}))
        .open(limits())
        .unwrap();
    let mut stream = source.pages(&today("machines"));
    std::fs::write(&file, "new\n").unwrap();
    while let Some(page) = futures::StreamExt::next(&mut stream).await {
        page.unwrap();
    }
    std::fs::remove_file(&file).unwrap();
    let sent = posts(&server).await;
    let passwords: Vec<&Value> = sent
        .iter()
        .filter_map(|(_, body)| body.get("password"))
        .collect();
    assert_eq!(
        passwords,
        ["new", "new"],
        "read when it is needed, and again for the second login"
    );
}
