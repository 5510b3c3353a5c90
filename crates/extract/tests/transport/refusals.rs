//! Words of a refusal: of tokens, of quotas, of redirects, and in whose words.
//!
//! Invariant: what waiting or a new token can mend is told from what it cannot.

use crate::scripted::{ScriptedServer, json, limits};
use std::sync::Arc;
use tillhouse_extract::{
    AuthorizedClient, Credential, HttpClient, HttpOutcome, HttpRequest, JsonLogin, LoginWording,
    SourceLimits, StatusCode, TokenPrefix,
};
use tillhouse_model::{ErrorKind, Secret};

const WORDS: LoginWording = LoginWording {
    provider: "The shop",
    name: "user",
    secret: "password",
    if_refused: "Check the password.",
    if_missing: "Check paths.login.",
};

fn login(client: &HttpClient) -> JsonLogin {
    JsonLogin {
        login: client.url("/login").unwrap(),
        refresh: None,
        client: client.clone(),
        name: "me".into(),
        secret: Credential::Value(Secret::new("p@ss/w ord")),
        prefix: TokenPrefix::bearer(),
        words: WORDS,
    }
}

fn api(client: &HttpClient) -> AuthorizedClient {
    AuthorizedClient::new(client.clone(), Arc::new(login(client)))
}

#[tokio::test]
async fn a_challenge_is_an_explanation_and_a_reason_for_a_new_token() {
    let challenge = "WWW-Authenticate: Bearer realm=\"x\"\r\nWWW-Authenticate: Bearer error=\"invalid_token\", error_description=\"it is over\"\r\n";
    let granted = |n: u32| json("200 OK", "", &format!(r#"{{"access_token":"t-{n}"}}"#));
    let refused = || json("403 Forbidden", challenge, "");
    let server = ScriptedServer::start(vec![granted(1), refused(), granted(2), refused()]).await;
    let client = server.client(limits());
    let request = HttpRequest::get("things", client.url("/things").unwrap());
    let error = api(&client)
        .send(&request)
        .await
        .unwrap()
        .success()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(error.message(), "the server refuses our token: it is over");
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_waited_for_or_says_for_how_long() {
    let azure = r#"{"statusCode":403,"message":"Out of call volume quota. Quota will be replenished in 12:00:00."}"#;
    let used_up = |headers: &str| json("403 Quota Exceeded", headers, azure);
    let good = || json("200 OK", "", "{}");
    for headers in [
        "Retry-After: 0\r\n",
        "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 0.1\r\n",
        "",
    ] {
        let server = ScriptedServer::start(vec![used_up(headers), good()]).await;
        let client = server.client(limits());
        let answer = client
            .send(&HttpRequest::get("things", client.url("/").unwrap()))
            .await
            .unwrap();
        assert!(matches!(answer, HttpOutcome::Success(_)), "{headers}");
        assert_eq!(client.stats().retries, 1);
    }
    for headers in ["Retry-After: 43200.5\r\n", "X-RateLimit-Reset: 43200\r\n"] {
        let server = ScriptedServer::start(vec![used_up(headers), good()]).await;
        let client = server.client(limits());
        let error = client
            .send(&HttpRequest::get("things", client.url("/").unwrap()))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Busy, true),
            "{headers}"
        );
        assert!(error.message().contains("to wait 12 h"), "{error}");
        assert_eq!(server.requests().len(), 1);
    }

    // Counters that come with every answer make no quota of a refusal.
    let server = ScriptedServer::start(vec![
        json(
            "403 Forbidden",
            "X-RateLimit-Remaining: 7\r\nX-RateLimit-Reset: 30\r\n",
            r#"{"message":"not yours"}"#,
        ),
        good(),
    ])
    .await;
    let client = server.client(limits());
    let answer = client
        .send(&HttpRequest::get("things", client.url("/").unwrap()))
        .await
        .unwrap();
    let HttpOutcome::Refused(refusal) = answer else {
        panic!("asked again")
    };
    assert_eq!(refusal.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_login_is_not_sent_as_a_get() {
    for status in ["301 Moved Permanently", "302 Found", "303 See Other"] {
        let server =
            ScriptedServer::start(vec![json(status, "Location: /login/?x=hunter2\r\n", "")]).await;
        let error = api(&server.client(limits())).log_in().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(
            error.message().contains("redirects this POST to"),
            "{error}"
        );
        assert!(error.message().contains("/login/ with 30"), "{error}");
        assert!(
            error
                .hint_text()
                .unwrap()
                .contains("base_url and the paths"),
            "{error:?}"
        );
        assert!(!format!("{error:?}").contains("hunter2"));
        assert_eq!(server.requests().len(), 1);
    }
    let granted = json("200 OK", "", r#"{"access_token":"t"}"#);
    let server = ScriptedServer::start(vec![
        json("308 Permanent Redirect", "Location: /login/\r\n", ""),
        granted,
    ])
    .await;
    api(&server.client(limits())).log_in().await.unwrap();
    let second = &server.requests()[1];
    assert!(
        second.starts_with("POST /login/ ") && second.contains("p@ss/w ord"),
        "{second}"
    );
}

#[tokio::test]
async fn a_login_that_is_redirected_elsewhere_says_where_with_its_path() {
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let to = "Location: https://id.example.com:8443/realm/login?next=hunter2#x\r\n";
        let server = ScriptedServer::start(vec![json(status, to, "")]).await;
        let error = api(&server.client(limits())).log_in().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        let hint = error.hint_text().unwrap();
        assert!(
            error
                .message()
                .contains("redirected to https://id.example.com:8443/realm/login, "),
            "{error}"
        );
        assert!(
            hint.contains("connection.paths")
                && hint.contains("https://id.example.com:8443/realm/login"),
            "{hint}"
        );
        assert!(!format!("{error:?}").contains("hunter2"));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let round = || json("302 Found", "Location: /\r\n", "");
    let server = ScriptedServer::start((0..20).map(|_| round()).collect()).await;
    let client = server.client(limits());
    let error = client
        .send(&HttpRequest::get("things", client.url("/").unwrap()))
        .await
        .unwrap_err();
    assert!(error.message().contains("redirects in circles"), "{error}");
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn a_login_refused_as_a_success_says_why_and_is_not_tried_again_at_once() {
    let body = r#"{"success":false,"message":"no user me with p%40ss%2Fw+ord or p@ss\/w ord"}"#;
    let server = ScriptedServer::start(vec![json("200 OK", "", body)]).await;
    let api = api(&server.client(limits()));
    for _ in 0..2 {
        let error = api.log_in().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert_eq!(
            error.message(),
            "the login answered with an error instead of a token: no user me with *** or ***"
        );
        assert_eq!(error.hint_text(), Some("Check the password."));
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_login_that_fails_in_whichever_form_is_tried_once() {
    let typed = |status: &str, media_type: &str, body: &str| {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        crate::scripted::ScriptedReply::Write(text.into_bytes())
    };
    let check = "Check the password.";
    for (reply, kind, words, hint) in [
        (
            typed("200 OK", "text/plain", "Wrong password p@ss/w ord"),
            ErrorKind::Unauthorized,
            "Wrong password ***",
            check,
        ),
        (
            typed(
                "200 OK",
                "text/html",
                "<html><title>Shop</title><p>Login failed: bad user</p></html>",
            ),
            ErrorKind::Unauthorized,
            "Shop Login failed: bad user",
            check,
        ),
        (
            typed("200 OK", "application/json", "Wrong password"),
            ErrorKind::Unauthorized,
            "Wrong password",
            check,
        ),
        (
            typed(
                "200 OK",
                "text/html",
                "<html><title>Welcome to nginx</title></html>",
            ),
            ErrorKind::Protocol,
            "nginx",
            "base_url",
        ),
        (
            json("200 OK", "", r#"{"message":"kein Zugang"}"#),
            ErrorKind::Protocol,
            "kein Zugang",
            check,
        ),
        (
            json("200 OK", "", r#"{"hallo":"zusammen"}"#),
            ErrorKind::Protocol,
            "zusammen",
            check,
        ),
        (
            json("200 OK", "", "[]"),
            ErrorKind::Protocol,
            "no access_token",
            check,
        ),
        (
            json("404 Not Found", "", r#"{"message":"user not found"}"#),
            ErrorKind::Unauthorized,
            "user not found",
            check,
        ),
        (
            json("404 Not Found", "", ""),
            ErrorKind::Config,
            "nothing at this address",
            "Check paths.login.",
        ),
        (
            json("409 Conflict", "", r#"{"x":"odd"}"#),
            ErrorKind::Protocol,
            "odd",
            "",
        ),
    ] {
        let server = ScriptedServer::start(vec![reply]).await;
        let api = api(&server.client(limits()));
        for _ in 0..3 {
            let error = api.log_in().await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(words), "{error}");
            assert!(
                error.hint_text().unwrap_or_default().contains(hint),
                "{error:?}"
            );
            assert!(!format!("{error:?}").contains("w ord"), "{error:?}");
        }
        assert_eq!(server.requests().len(), 1, "{words}");
    }
}

#[tokio::test]
async fn a_message_in_place_of_records_is_asked_about_again() {
    for (body, text) in [
        (
            r#"{"message":"boom","data":[]}"#,
            Some("a message and no records: boom"),
        ),
        (
            r#"{"message":"internal"}"#,
            Some("a message and no records: internal"),
        ),
        (
            r#"{"Status":"FAILED","Message":"boom","data":[]}"#,
            Some("an error in it: boom"),
        ),
        (r#"{"status":"ok","message":"boom","data":[]}"#, None),
    ] {
        let server =
            ScriptedServer::start((0..3).map(|_| json("200 OK", "", body)).collect()).await;
        let client = server.client(limits());
        let request =
            HttpRequest::get("things", client.url("/").unwrap()).expecting_records_at(&["data"]);
        let outcome = client.send(&request).await;
        assert_eq!(server.requests().len(), 3, "{body}");
        match text {
            Some(text) => assert!(outcome.unwrap_err().message().contains(text), "{body}"),
            None => assert!(
                matches!(outcome.unwrap(), HttpOutcome::Success(_)),
                "{body}"
            ),
        }
    }
    for good in [
        r#"{"message":"No data found","data":[]}"#,
        r#"{"message":"boom","data":[1]}"#,
    ] {
        let server = ScriptedServer::start(vec![json("200 OK", "", good)]).await;
        let client = server.client(limits());
        let request =
            HttpRequest::get("things", client.url("/").unwrap()).expecting_records_at(&["data"]);
        assert!(
            matches!(
                client.send(&request).await.unwrap(),
                HttpOutcome::Success(_)
            ),
            "{good}"
        );
    }
}

#[tokio::test]
async fn an_echo_of_a_token_is_not_shown() {
    let token = "tok/en+1=";
    let echo =
        r#"{"message":"bad header Bearer tok\/en+1= or tok%2Fen%2B1%3D or dXNlcjp0b2svZW4rMT0="}"#;
    let granted = json("200 OK", "", &format!(r#"{{"access_token":"{token}"}}"#));
    let server = ScriptedServer::start(vec![granted, json("400 Bad Request", "", echo)]).await;
    let client = server.client(SourceLimits {
        attempts: 1,
        ..limits()
    });
    let request = HttpRequest::get("things", client.url("/things").unwrap());
    let error = api(&client)
        .send(&request)
        .await
        .unwrap()
        .success()
        .unwrap_err();
    assert_eq!(
        error.message(),
        "the server answered 400 Bad Request: bad header Bearer *** or *** or ***"
    );
}

#[tokio::test]
async fn a_part_of_a_list_is_no_end() {
    let part = |header: &str, body: &str| json("206 Partial Content", header, body);
    for body in [r#"{"data":[]}"#, r#"{"data":null}"#] {
        let server = ScriptedServer::start((0..3).map(|_| part("", body)).collect()).await;
        let client = server.client(limits());
        let request =
            HttpRequest::get("things", client.url("/").unwrap()).expecting_records_at(&["data"]);
        let error = client.send(&request).await.unwrap_err();
        assert!(
            error
                .message()
                .contains("206 Partial Content without records"),
            "{error}"
        );
        assert_eq!(server.requests().len(), 3);
    }
    for (header, total) in [
        ("Content-Range: items 0-1/240\r\n", Some(240)),
        ("Content-Range: 0-1/240\r\n", Some(240)),
        ("Content-Range: items 0-1/*\r\n", None),
        ("Content-Range: bytes 0-21/240\r\n", None),
        ("", None),
    ] {
        let server = ScriptedServer::start(vec![part(header, r#"{"data":[1,2]}"#)]).await;
        let client = server.client(limits());
        let request =
            HttpRequest::get("things", client.url("/").unwrap()).expecting_records_at(&["data"]);
        let HttpOutcome::Success(response) = client.send(&request).await.unwrap() else {
            panic!("it is a page")
        };
        assert_eq!(
            (response.range_total(), response.is_part()),
            (total, total.is_none()),
            "{header}"
        );
    }
}
