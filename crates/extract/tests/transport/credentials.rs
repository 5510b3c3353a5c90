//! Client credentials at a token endpoint on another server, and successes that a verdict finds to be none.
//!
//! Invariant: each server's requests are looked at as a whole, so that a secret or a token on the wrong one would be seen.

use crate::scripted::{ScriptedReply, ScriptedServer, json, limits};
use std::sync::Arc;
use tillhouse_extract::oauth2::ClientCredentials;
use tillhouse_extract::{
    AuthorizedClient, EndpointUrl, HttpClient, HttpOutcome, HttpRequest, ReportedFailure,
    SourceLimits, StatusCode,
};
use tillhouse_model::{ErrorKind, Secret};

fn credentials(api: &HttpClient, token_server: &ScriptedServer) -> ClientCredentials {
    let address = EndpointUrl::parse(&format!("{}/realms/x/token", token_server.url)).unwrap();
    let secret = serde_json::from_str(r#""hunter2&=""#).unwrap();
    ClientCredentials::new(api, &address, "me".into(), secret, Some("pay:read".into())).unwrap()
}

#[tokio::test]
async fn the_secret_goes_to_the_token_endpoint_and_the_token_to_the_api() {
    let tokens = ScriptedServer::start(vec![json(
        "200 OK",
        "",
        r#"{"access_token":"abc","expires_in":300}"#,
    )])
    .await;
    let api = ScriptedServer::start(vec![json("200 OK", "", "{}"), json("200 OK", "", "{}")]).await;
    let client = api.client(limits());
    let authorized = AuthorizedClient::new(client.clone(), Arc::new(credentials(&client, &tokens)));
    for _ in 0..2 {
        let request = HttpRequest::get("things", client.url("/things").unwrap());
        authorized.send(&request).await.unwrap().success().unwrap();
    }
    let (asked, opened) = (tokens.requests(), api.requests());
    assert_eq!((asked.len(), opened.len()), (1, 2));
    assert!(
        asked[0].starts_with("POST /realms/x/token HTTP/1.1"),
        "{}",
        asked[0]
    );
    assert!(
        asked[0].contains("content-type: application/x-www-form-urlencoded"),
        "{}",
        asked[0]
    );
    assert!(!asked[0].contains("authorization"), "{}", asked[0]);
    assert!(
        opened
            .iter()
            .all(|head| head.contains("authorization: Bearer abc") && !head.contains("hunter2"))
    );
    // Counted as one, whichever server was asked; and known to the redactor of both.
    assert_eq!(authorized.stats().requests, 3);
    assert_eq!(client.redactor().scrub("hunter2&= abc"), "*** ***");
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_named_by_its_own_key() {
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let tokens = ScriptedServer::start(vec![
        crate::scripted::ScriptedReply::Write(html.into()),
        json(
            "302 Found",
            "Location: https://other.example.com/token\r\n",
            "{}",
        ),
        json(
            "401 Unauthorized",
            "",
            r#"{"error":"invalid_client","error_description":"wrong hunter2&="}"#,
        ),
    ])
    .await;
    let api = ScriptedServer::start(vec![]).await;
    let client = api.client(limits());
    for (kind, text, hint) in [
        (
            ErrorKind::Protocol,
            "text/html",
            "Check connection.token_url:",
        ),
        (
            ErrorKind::Protocol,
            "redirects to https://other.example.com",
            "connection.token_url",
        ),
        (
            ErrorKind::Unauthorized,
            "wrong ***",
            "connection.client_secret",
        ),
    ] {
        let authorized =
            AuthorizedClient::new(client.clone(), Arc::new(credentials(&client, &tokens)));
        let error = authorized.log_in().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.to_string().contains(text) && error.hint_text().unwrap().contains(hint),
            "{error:?}"
        );
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    drop(tokens);
    let gone = ScriptedServer::start(vec![]).await;
    let url = gone.url.clone();
    let authorized = AuthorizedClient::new(
        api.client(SourceLimits {
            attempts: 1,
            ..limits()
        }),
        Arc::new(credentials(
            &api.client(SourceLimits {
                attempts: 1,
                ..limits()
            }),
            &gone,
        )),
    );
    let error = authorized.log_in().await.unwrap_err();
    assert!(
        error.to_string().contains(&url)
            && error.hint_text().unwrap().contains("connection.token_url"),
        "{error:?}"
    );
    assert!(api.requests().is_empty());
}

#[tokio::test]
async fn a_client_sends_nothing_to_another_server() {
    let (home, away) = (
        ScriptedServer::start(vec![]).await,
        ScriptedServer::start(vec![]).await,
    );
    let client = home.client(limits());
    let elsewhere = away.client(limits()).url("/things").unwrap();
    let request = HttpRequest::get("things", elsewhere)
        .secret_header(
            tillhouse_extract::HeaderName::from_static("authorization"),
            &Secret::new("hunter2"),
        )
        .unwrap();
    let error = client.send(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(
        error.message().contains(&home.url) && error.message().contains(&away.url),
        "{error}"
    );
    assert!(home.requests().is_empty() && away.requests().is_empty());
}

fn fault(words: &str, may_pass: bool) -> ReportedFailure {
    ReportedFailure {
        words: words.into(),
        may_pass,
    }
}

#[tokio::test]
async fn a_success_that_is_none_for_now_is_tried_again() {
    let down = || json("200 OK", "", r#"{"status":"Error","message":"down"}"#);
    let good = || json("200 OK", "", r#"{"status":"Success"}"#);
    for (answers, came) in [
        (vec![down(), down(), good()], true),
        (vec![down(), down(), down()], false),
    ] {
        let server = ScriptedServer::start(answers).await;
        let client = server.client(limits());
        let request = HttpRequest::get("things", client.url("/things").unwrap())
            .with_success_check(|body| {
                body.starts_with(br#"{"status":"Error""#)
                    .then(|| fault("down", true))
            });
        match client.send(&request).await.unwrap() {
            HttpOutcome::Success(_) => assert!(came),
            HttpOutcome::Refused(refusal) => {
                assert_eq!((refusal.message.as_deref(), came), (Some("down"), false))
            }
        }
        assert_eq!(server.requests().len(), 3);
    }
}

#[tokio::test]
async fn a_list_that_is_no_json_is_asked_for_three_times_from_the_first_on() {
    let wide = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n\xff\xfe[\x00";
    let text = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n[]";
    let script =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n)]}',\n[]";
    for bad in [&wide[..], text, script] {
        for lists in [true, false] {
            let bad = || ScriptedReply::Write(bad.to_vec());
            let server = ScriptedServer::start(vec![bad(), bad(), json("200 OK", "", "[]")]).await;
            let client = server.client(limits());
            let request = HttpRequest::get("things", client.url("/things").unwrap());
            let request = if lists {
                request.expecting_records_at(&[])
            } else {
                request
            };
            assert_eq!(client.send(&request).await.is_ok(), lists);
            assert_eq!(server.requests().len(), if lists { 3 } else { 1 });
        }
    }
}

#[tokio::test]
async fn a_success_that_is_none_comes_back_as_a_refusal() {
    let body = |status: &str| format!(r#"{{"status":"{status}","message":"wrong token hunter2"}}"#);
    let server = ScriptedServer::start(vec![
        json("200 OK", "", &body("Error")),
        json("200 OK", "", &body("Success")),
    ])
    .await;
    let client = server.client(limits());
    client.redactor().add(&Secret::new("hunter2"));
    let request =
        HttpRequest::get("things", client.url("/things").unwrap()).with_success_check(|body| {
            body.starts_with(br#"{"status":"Error""#)
                .then(|| fault("wrong token hunter2", false))
        });
    let HttpOutcome::Refused(refusal) = client.send(&request).await.unwrap() else {
        panic!("it is refused")
    };
    assert_eq!(
        (refusal.status, refusal.message.as_deref()),
        (StatusCode::OK, Some("wrong token ***"))
    );
    assert_eq!(&refusal.body[..], body("Error").as_bytes());
    let error = refusal.into_error();
    assert_eq!(
        error.message(),
        "the server answered 200 OK with an error in it: wrong token ***"
    );
    assert!(!error.is_retryable());
    assert!(matches!(
        client.send(&request).await.unwrap(),
        HttpOutcome::Success(_)
    ));
}
