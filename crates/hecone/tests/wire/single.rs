//! Single transactions by id.
//!
//! Invariant: requests are counted, so that what is gone is asked for once.

use super::{connection, limits, open, with_login};
use futures::StreamExt;
use serde_json::json;
use tillhouse_extract::{PageStream, SourceConnection, SourceLimits};
use tillhouse_model::ErrorKind;
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

async fn bodies(stream: PageStream) -> Vec<String> {
    stream
        .map(|page| String::from_utf8(page.unwrap().bytes.to_vec()).unwrap())
        .collect()
        .await
}

/// The paths that came.
async fn paths(stream: PageStream) -> Vec<String> {
    let path = |body: String| {
        let page: serde_json::Value = serde_json::from_str(&body).unwrap();
        page["data"][0]["path"].as_str().unwrap().to_owned()
    };
    bodies(stream).await.into_iter().map(path).collect()
}

/// Answers with the record asked for and its path, except for what is gone.
async fn serve(server: &MockServer) {
    with_login(server).await;
    let answer = |request: &Request| {
        let path = request.url.path();
        if path.ends_with("gone") {
            return ResponseTemplate::new(404).set_body_json(json!({"message": "not found"}));
        }
        let id = match path
            .trim_start_matches("/hecone")
            .trim_start_matches("/transactions/")
        {
            "/v2/sale/x/full" => "x".to_owned(),
            id => id.replace("%2F", "/").replace("%3F", "?"),
        };
        ResponseTemplate::new(200).set_body_json(json!({"data": [{"id": id, "path": path}]}))
    };
    Mock::given(method("GET"))
        .and(query_param("additional_info", "true"))
        .respond_with(answer)
        .mount(server)
        .await;
}

#[tokio::test]
async fn each_id_is_a_page_and_what_is_gone_is_left_out() {
    let server = MockServer::start().await;
    serve(&server).await;
    let source = open(
        &server,
        SourceLimits {
            concurrency: 3,
            ..limits()
        },
    );
    let ids = ["a", "gone", "b", "c/../d?e", "f", "also-gone"]
        .map(String::from)
        .to_vec();
    assert_eq!(
        paths(source.pages_by_id("transactions", ids)).await,
        [
            "/hecone/transactions/a",
            "/hecone/transactions/b",
            "/hecone/transactions/c%2F..%2Fd%3Fe",
            "/hecone/transactions/f"
        ]
    );
    // One login, one request each: what is gone is not asked for again.
    assert_eq!(server.received_requests().await.unwrap().len(), 1 + 6);
    assert!(
        bodies(source.pages_by_id("transactions", vec![]))
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn an_id_that_could_lead_elsewhere_is_never_asked_for_and_the_others_are() {
    let server = MockServer::start().await;
    serve(&server).await;
    let source = open(&server, limits());
    let long = "x".repeat(3_000);
    for id in ["..", ".", "", "a\r\nb", "\u{1b}[2J", "nul\0", &long] {
        for ids in [[id, "a"], ["a", id]] {
            let pages =
                paths(source.pages_by_id("transactions", ids.map(String::from).to_vec())).await;
            assert_eq!(pages, ["/hecone/transactions/a"], "{id:?}");
        }
    }
    let asked = server.received_requests().await.unwrap();
    assert!(
        asked
            .iter()
            .all(|r| r.method == "POST" || r.url.path() == "/hecone/transactions/a")
    );
}

#[tokio::test]
async fn the_path_of_one_is_configurable() {
    let server = MockServer::start().await;
    serve(&server).await;
    let more = r#","paths":{"transactions":"/v2/sales","transaction":"/v2/sale/{id}/full"}"#;
    let source = connection(&server, more).open(limits()).unwrap();
    assert_eq!(
        paths(source.pages_by_id("transactions", vec!["x".into()])).await,
        ["/hecone/v2/sale/x/full"]
    );
}

/// Records, or the error, for the transaction `a`, by the body of the answer.
async fn answered(body: &str) -> Result<Vec<String>, tillhouse_model::Error> {
    let server = MockServer::start().await;
    with_login(&server).await;
    let answer = ResponseTemplate::new(200).set_body_raw(body, "application/json");
    Mock::given(method("GET"))
        .and(path("/hecone/transactions/a"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let source = open(
        &server,
        SourceLimits {
            attempts: 1,
            ..limits()
        },
    );
    let pages: Vec<_> = source
        .pages_by_id("transactions", vec!["a".into()])
        .collect()
        .await;
    pages
        .into_iter()
        .map(|page| page.map(|page| String::from_utf8(page.bytes.to_vec()).unwrap()))
        .collect()
}

#[tokio::test]
async fn a_single_record_is_read_however_it_is_wrapped() {
    for body in [
        r#"{"data":[{"id":"a","amount":1}]}"#,
        r#"{"meta":{},"data":{"id":"a","amount":1}}"#,
        r#"{"id":"a","amount":1}"#,
        r#"[{"id":"a","amount":1}]"#,
        r#"{"data":[{"id":"b","amount":9},{"id":"a","amount":1},{"amount":3}]}"#,
    ] {
        assert_eq!(
            answered(body).await.unwrap(),
            [r#"{"data":[{"id":"a","amount":1}]}"#],
            "{body}"
        );
    }
    for body in [
        r#"{"data":[]}"#,
        r#"{"data":null}"#,
        r#"{"data":[{"id":"b"}]}"#,
        r#"{"data":{"id":"aa"}}"#,
        r#"{"id":"A"}"#,
    ] {
        assert!(answered(body).await.unwrap().is_empty(), "{body}");
    }
    assert!(
        answered(r#"{"items":[]}"#)
            .await
            .unwrap_err()
            .message()
            .contains("no list called data")
    );
    let failed = answered(r#"{"status":"error","error":"the database is down","data":null}"#)
        .await
        .unwrap_err();
    assert!(
        failed
            .message()
            .ends_with("with an error in it: the database is down"),
        "{failed}"
    );
}

#[tokio::test]
async fn other_refusals_end_the_stream() {
    let server = MockServer::start().await;
    with_login(&server).await;
    Mock::given(method("GET"))
        .and(path("/hecone/transactions/a"))
        .respond_with(ResponseTemplate::new(403))
        .mount(&server)
        .await;
    let source = open(&server, limits());
    let pages: Vec<_> = source
        .pages_by_id("transactions", vec!["a".into(), "a".into()])
        .collect()
        .await;
    assert_eq!(pages.len(), 1);
    assert_eq!(
        pages[0].as_ref().unwrap_err().kind(),
        ErrorKind::Unauthorized
    );
}

#[tokio::test]
async fn a_record_that_the_server_refuses_does_not_keep_the_others_from_coming() {
    for status in [400, 414, 422, 431] {
        let server = MockServer::start().await;
        let strange = path("/hecone/transactions/strange");
        Mock::given(method("GET"))
            .and(strange)
            .respond_with(ResponseTemplate::new(status))
            .with_priority(1)
            .mount(&server)
            .await;
        serve(&server).await;
        let source = open(&server, limits());
        let ids = ["strange", "a", "strange", "b"].map(String::from).to_vec();
        let expected = ["/hecone/transactions/a", "/hecone/transactions/b"];
        assert_eq!(
            paths(source.pages_by_id("transactions", ids)).await,
            expected,
            "{status}"
        );
        // Where it refuses all of them, it is no record's fault.
        let pages: Vec<_> = source
            .pages_by_id("transactions", vec!["strange".into(); 5])
            .collect()
            .await;
        assert!(pages.len() == 1 && pages[0].is_err(), "{status}");
    }
    let server = MockServer::start().await;
    let strange = path("/hecone/transactions/strange");
    Mock::given(method("GET"))
        .and(strange)
        .respond_with(ResponseTemplate::new(403))
        .with_priority(1)
        .mount(&server)
        .await;
    serve(&server).await;
    let source = open(&server, limits());
    let pages: Vec<_> = source
        .pages_by_id("transactions", ["strange", "a"].map(String::from).to_vec())
        .collect()
        .await;
    assert_eq!(pages.len(), 2);
    assert!(pages[0].is_ok(), "what is allowed comes first");
    assert_eq!(
        pages[1].as_ref().unwrap_err().kind(),
        ErrorKind::Unauthorized
    );
}
