//! Errors: those of the envelope under every status, those of a gateway in front, and bodies that are no pages.
//!
//! Invariant: no error holds a token, a key or a session; each is looked at in all its forms.

use crate::{complaint, open, page, read, serve, slice};
use serde_json::json;
use tillhouse_model::{Error, ErrorKind};
use wiremock::{MockServer, ResponseTemplate};

async fn told(answer: ResponseTemplate) -> Error {
    let server = MockServer::start().await;
    serve(&server, move |_| answer.clone()).await;
    let mut pages = read(open(&server, json!({})).pages(&slice())).await;
    assert_eq!(pages.len(), 1, "an error ends the stream");
    let error = pages.remove(0).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(
        shown.contains("bemo") && shown.contains("/reporting/v1/api/accounts/acme/sessions"),
        "{shown}"
    );
    error
}

#[tokio::test]
async fn the_envelopes_status_is_an_error_whatever_the_http_status() {
    for status in [200, 201, 400, 401, 403, 404, 409, 422] {
        let error = told(complaint(
            status,
            "ArgumentException",
            "from must be a valid date (YYYY-MM-DD)",
        ))
        .await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{status}");
        assert!(
            error
                .message()
                .ends_with("from must be a valid date (YYYY-MM-DD)"),
            "{error}"
        );
        assert!(
            error.hint_text().unwrap().contains("sync.start"),
            "{error:?}"
        );
    }
    for status in [500, 503] {
        let error = told(complaint(status, "ErrorCode", "Error message/description.")).await;
        assert_eq!(error.kind(), ErrorKind::Busy, "it may pass");
        assert!(
            error.message().contains("Error message/description."),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_account_that_does_not_exist_is_named_plainly() {
    let error = told(complaint(
        404,
        "ResourceNotFound",
        "The specified resource was not found",
    ))
    .await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.message(),
        "be-mo has no account \"acme\": The specified resource was not found"
    );
    let error = told(
        ResponseTemplate::new(404)
            .set_body_json(json!({"statusCode": 404, "message": "Resource not found"})),
    )
    .await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("connection.paths.sessions"),
        "{error:?}"
    );
}

#[tokio::test]
async fn secrets_that_are_written_back_are_not_shown() {
    let error = told(complaint(
        400,
        "hunter2",
        "token hunter2 with key hunter3 of someone@example.com",
    ))
    .await;
    assert!(
        error.message().contains("token *** with key *** of ***"),
        "{error}"
    );
    let denied = json!({"statusCode": 401, "message": "Access denied due to invalid subscription key hunter3."});
    let error = told(ResponseTemplate::new(401).set_body_json(denied)).await;
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("connection.subscription_key"),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_is_no_page_is_not_taken_for_an_empty_one() {
    let success = |body: serde_json::Value| ResponseTemplate::new(200).set_body_json(body);
    for body in [json!({"status": "Success"}), json!({"data": {"a": 1}})] {
        let error = told(success(body)).await;
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.message().contains("no list called data"), "{error}");
    }
    let html = ResponseTemplate::new(200).set_body_raw("<html>hunter2", "text/html");
    assert!(
        told(html)
            .await
            .message()
            .contains("text/html instead of JSON")
    );
    for script in [")]}',\n{\"data\":[]}", "cb({\"data\":[]})"] {
        let script = ResponseTemplate::new(200).set_body_raw(script, "application/json");
        assert!(
            told(script)
                .await
                .message()
                .contains("something else than JSON")
        );
    }
    let broken = ResponseTemplate::new(200).set_body_raw(
        r#"{"status":"Success","data":[{"rfid":"hunter3"#,
        "application/json",
    );
    assert!(
        told(broken)
            .await
            .message()
            .contains("JSON that is cut off after")
    );
}

#[tokio::test]
async fn the_page_before_an_error_is_good() {
    let server = MockServer::start().await;
    serve(&server, |request| {
        let first = request
            .url
            .query()
            .is_some_and(|query| query.ends_with("offset=0"));
        if first {
            page([1, 2])
        } else {
            complaint(200, "TokenExpired", "the JWT is expired")
        }
    })
    .await;
    let pages = read(open(&server, json!({})).pages(&slice())).await;
    assert!(pages[0].is_ok());
    assert_eq!(
        (pages.len(), pages[1].as_ref().unwrap_err().kind()),
        (2, ErrorKind::Unauthorized)
    );
}
