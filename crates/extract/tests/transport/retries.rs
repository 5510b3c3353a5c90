//! Retries, and the report when they did not help.
//!
//! Invariant: each trouble comes first and alone, so the pause before the next attempt is the shortest.

use crate::scripted::{ScriptedReply, ScriptedServer, json, limits};
use tillhouse_extract::{BaseUrl, ClientStats, HttpClient, HttpRequest, SourceLimits};
use tillhouse_model::ErrorKind;

#[tokio::test]
async fn passing_troubles_are_tried_again_until_the_whole_body_is_there() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    for trouble in [
        json("503 Service Unavailable", "Retry-After: 0\r\n", ""),
        json(
            "429 Too Many Requests",
            "Retry-After: 0\r\n",
            r#"{"message":"slow down"}"#,
        ),
        json("408 Request Timeout", "", ""),
        // Broken off in the body, by length and by chunks; in the head; and closed before any answer.
        ScriptedReply::Close(format!("{head}Content-Length: 100\r\n\r\n{{\"data\":[").into_bytes()),
        ScriptedReply::Close(
            format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\n{{\"da").into_bytes(),
        ),
        ScriptedReply::Close(head.into()),
        ScriptedReply::Close(Vec::new()),
    ] {
        let server =
            ScriptedServer::start(vec![trouble, json("200 OK", "", r#"{"data":[1]}"#)]).await;
        let client = server.client(limits());
        let request = HttpRequest::get("things", client.url("/things").unwrap());
        let before = jiff::Timestamp::now();
        let response = client.send(&request).await.unwrap().success().unwrap();
        assert_eq!(&response.bytes[..], br#"{"data":[1]}"#);
        assert!(response.requested_at > before);
        assert_eq!(
            client.stats(),
            ClientStats {
                requests: 2,
                bytes: 12,
                retries: 1
            }
        );
    }
}

#[tokio::test]
async fn the_last_error_says_what_happened_and_how_often() {
    let busy = || {
        json(
            "500 Internal Server Error",
            "Retry-After: 0\r\n",
            r#"{"error":"database is down"}"#,
        )
    };
    let server = ScriptedServer::start(vec![busy(), busy(), busy()]).await;
    let client = server.client(SourceLimits {
        attempts: 3,
        ..limits()
    });
    let request =
        HttpRequest::get("things", client.url("/things").unwrap()).query("key", "private");
    let error = client.send(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.is_retryable());
    let text = error.to_string();
    assert!(
        text.starts_with("the server answered 500 Internal Server Error: database is down"),
        "{text}"
    );
    assert!(
        text.contains("attempts 3")
            && text.contains("source testing")
            && text.contains("resource things"),
        "{text}"
    );
    assert!(
        text.contains("/things?key") && !text.contains("private"),
        "{text}"
    );
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn refusals_are_not_tried_again() {
    for status in [
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "501 Not Implemented",
    ] {
        let server = ScriptedServer::start(vec![json(status, "", r#"{"message":"no"}"#)]).await;
        let client = server.client(limits());
        let answer = client
            .send(&HttpRequest::get("things", client.url("/things").unwrap()))
            .await
            .unwrap();
        let error = answer.success().unwrap_err();
        assert!(error.message().ends_with(": no"), "{error}");
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_pause_beyond_the_limit_is_an_error_at_once() {
    let server = ScriptedServer::start(vec![json(
        "429 Too Many Requests",
        "Retry-After: 86400\r\n",
        "",
    )])
    .await;
    let client = server.client(limits());
    let error = client
        .send(&HttpRequest::get("things", client.url("/").unwrap()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(
        error
            .message()
            .contains("to wait 1 d, longer than the 5 min"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_and_given_up_soon() {
    // Bound and dropped: nobody listens there now.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let base = BaseUrl::parse(&format!("http://127.0.0.1:{port}/api")).unwrap();
    let client = HttpClient::new("testing", base, limits()).unwrap();
    let error = client
        .send(&HttpRequest::get("things", client.url("/things").unwrap()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let text = error.to_string();
    assert!(
        text.contains(&format!("cannot reach http://127.0.0.1:{port}")),
        "{text}"
    );
    assert!(
        text.contains("refused") && text.contains("attempts 3"),
        "{text}"
    );
    assert!(error.hint_text().unwrap().contains("base_url"));
}
