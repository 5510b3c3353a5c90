//! Errors: JSON:API's, refused media types, and bodies that are no pages.
//!
//! Invariant: no error holds a secret, a token or a transaction; each is looked at in all its forms.

use crate::{PaceServers, page, problem, read, slice};
use serde_json::{Value, json};
use tillhouse_model::{Error, ErrorKind};
use wiremock::ResponseTemplate;

async fn told(answer: ResponseTemplate, more: Value) -> Error {
    let servers = PaceServers::start().await;
    servers.serve(move |_| answer.clone()).await;
    let mut pages = read(servers.open(more).pages(&slice())).await;
    assert_eq!(pages.len(), 1, "an error ends the stream");
    let error = pages.remove(0).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("token-1"),
        "{shown}"
    );
    assert!(shown.contains("source pace"), "{shown}");
    error
}

#[tokio::test]
async fn title_detail_and_pointer_are_shown_without_secrets() {
    let error = json!({
        "id": "cbgmhslmp1o9or9kh1p0",
        "links": {"about": "https://example.com/about"},
        "status": "422",
        "code": "invalid",
        "title": "Invalid query",
        "detail": "token-1 may not ask for this",
        "source": {"pointer": "/data/attributes/date", "parameter": "date_from"},
        "meta": {"trace": "hunter2"},
    });
    let error = told(problem(422, error), json!({})).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let said = "PACE does not take what it is asked: Invalid query: *** may not ask for this (at /data/attributes/date)";
    assert_eq!(error.message(), said);
}

#[tokio::test]
async fn refused_media_types_are_named() {
    for status in [406, 415] {
        let error = told(
            problem(status, json!({"title": "Not acceptable"})),
            json!({}),
        )
        .await;
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(
            error.message(),
            "PACE refuses the media type application/vnd.api+json: Not acceptable"
        );
        assert!(error.hint_text().unwrap().contains("connection.base_url"));
    }
}

#[tokio::test]
async fn a_partner_that_is_not_there_is_named() {
    let error = told(
        problem(404, json!({"title": "Resource not found"})),
        json!({}),
    )
    .await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.message(),
        "PACE has nothing for the partner \"acme\": Resource not found"
    );
    assert!(error.hint_text().unwrap().contains("connection.partners"));
}

#[tokio::test]
async fn what_may_pass_is_busy_and_what_may_not_is_final() {
    for (status, kind) in [
        (401, ErrorKind::Unauthorized),
        (403, ErrorKind::Unauthorized),
        (409, ErrorKind::Protocol),
        (500, ErrorKind::Busy),
        (503, ErrorKind::Busy),
    ] {
        let error = told(
            problem(status, json!({"title": "No", "detail": "so it is"})),
            json!({}),
        )
        .await;
        assert_eq!(error.kind(), kind, "{status}");
        assert!(error.message().contains("so it is"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_page_is_not_taken_for_an_empty_one() {
    for body in [
        json!({"meta": {"count": 3}, "items": []}),
        json!({"data": {"a": 1}, "meta": {"count": 0}}),
    ] {
        let error = told(ResponseTemplate::new(200).set_body_json(body), json!({})).await;
        assert!(error.message().contains("no list called data"), "{error}");
    }
    let html = ResponseTemplate::new(200).set_body_raw("<html>hunter2", "text/html");
    assert!(
        told(html, json!({}))
            .await
            .message()
            .contains("text/html instead of JSON")
    );
    let broken = ResponseTemplate::new(200)
        .set_body_raw(r#"{"data":[{"vin":"hunter2"#, "application/vnd.api+json");
    assert!(
        told(broken, json!({}))
            .await
            .message()
            .contains("JSON that is cut off after")
    );
}

#[tokio::test]
async fn a_total_is_not_wanted_of_every_page() {
    let servers = PaceServers::start().await;
    servers
        .serve(|request| {
            let first = crate::number(request, "page[number]") == 0;
            let data = if first {
                json!([{"id": "t1"}])
            } else {
                json!([])
            };
            ResponseTemplate::new(200).set_body_json(json!({"data": data, "meta": {}}))
        })
        .await;
    let pages = read(servers.open(json!({})).pages(&slice())).await;
    assert_eq!(pages.len(), 3, "the end is proved");
    assert!(pages.iter().all(|page| {
        page.as_ref()
            .is_ok_and(|page| page.declared_total.is_none())
    }));
    let servers = PaceServers::start().await;
    servers.serve(|_| page([], 0)).await;
    assert_eq!(read(servers.open(json!({})).pages(&slice())).await.len(), 1);
}
