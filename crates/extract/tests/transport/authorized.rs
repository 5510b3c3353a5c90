//! A token on every request, and a new one when the server refuses it.
//!
//! Invariant: the tokens a server sees are checked in their order.

use crate::scripted::{ScriptedReply, ScriptedServer, json, limits};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tillhouse_extract::{AuthorizedClient, HttpRequest, Login, Token};
use tillhouse_model::{ErrorKind, Result, Secret};

/// Login that counts how often it is used.
#[derive(Debug, Default)]
struct CountingLogin(AtomicU64);

#[async_trait]
impl Login for CountingLogin {
    async fn login(&self, _refresh: Option<&Secret>) -> Result<Token> {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(Token {
            access: Secret::new(format!("token-{number}")),
            refresh: None,
            lifetime: None,
        })
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let refused = || json("401 Unauthorized", "", "{}");
    let server = ScriptedServer::start(vec![
        refused(),
        json("200 OK", "", "{}"),
        refused(),
        refused(),
    ])
    .await;
    let login = Arc::new(CountingLogin::default());
    let client = AuthorizedClient::new(server.client(limits()), login.clone());
    let request = HttpRequest::get("things", client.client().url("/things").unwrap());
    client.send(&request).await.unwrap().success().unwrap();
    let error = client.send(&request).await.unwrap().success().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(login.0.load(Ordering::SeqCst), 3);
    let tokens: Vec<String> = server
        .requests()
        .iter()
        .map(|head| {
            head.lines()
                .find(|l| l.starts_with("authorization: "))
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        tokens,
        [1, 2, 2, 3].map(|number| format!("authorization: Bearer token-{number}"))
    );
    assert_eq!(client.stats().requests, 4);
}

#[tokio::test]
async fn a_login_in_place_of_an_answer_means_a_new_token_once() {
    let page = |media_type: &str| {
        let body = "<html><title>Login</title></html>";
        let length = body.len();
        ScriptedReply::Write(
            format!("HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}")
                .into_bytes(),
        )
    };
    for refused in [
        json("302 Found", "Location: /login?next=/things\r\n", ""),
        json(
            "303 See Other",
            "Location: https://id.example.com/sign-in\r\n",
            "",
        ),
        page("text/html"),
        page("text/html; charset=utf-8"),
        json("412 Precondition Failed", "", r#"{"code":"TOKEN_EXPIRED"}"#),
    ] {
        let server = ScriptedServer::start(vec![refused, json("200 OK", "", "{}")]).await;
        let login = Arc::new(CountingLogin::default());
        let client = AuthorizedClient::new(server.client(limits()), login.clone());
        let request = HttpRequest::get("things", client.client().url("/things").unwrap());
        let response = client.send(&request).await.unwrap().success().unwrap();
        assert_eq!(response.url.path(), "/things");
        assert_eq!(login.0.load(Ordering::SeqCst), 2);
        assert_eq!(server.requests().len(), 2);
    }
}
