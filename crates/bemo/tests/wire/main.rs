//! be-mo's wire, against small servers that answer by the document or against it.
//!
//! Invariant: what is asked is checked to the letter; nothing here shares code with the sandbox.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod login;
mod paging;
mod refusals;

use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tillhouse_bemo::BemoConnection;
use tillhouse_extract::{Page, PageStream, Source, SourceConnection, SourceLimits};
use tillhouse_model::{Error, Slice, Window};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// The list's path, as the document has it.
const SESSIONS: &str = "/bemo/reporting/v1/api/accounts/acme/sessions";

fn limits() -> SourceLimits {
    SourceLimits {
        rate_per_second: None,
        reread_pause: Duration::from_millis(1),
        attempts: 1,
        ..SourceLimits::default()
    }
}

fn connection(server: &MockServer, more: Value) -> BemoConnection {
    let mut connection = json!({
        "base_url": format!("{}/bemo", server.uri()),
        "access_token": "hunter2",
        "subscription_key": "hunter3",
        "accounts": ["acme"],
    });
    for (key, value) in more.as_object().unwrap() {
        connection[key] = value.clone();
    }
    serde_json::from_value(connection).unwrap()
}

fn open(server: &MockServer, more: Value) -> Arc<dyn Source> {
    connection(server, more).open(limits()).unwrap()
}

fn slice() -> Slice {
    let window = Window::new(
        "2026-01-01T00:00:00Z".parse().unwrap(),
        "2026-01-02T00:00:00Z".parse().unwrap(),
    )
    .unwrap();
    Slice {
        resource: "sessions".into(),
        tenant: Some("acme".into()),
        window,
    }
}

/// A page by the document.
fn page(ids: impl IntoIterator<Item = u64>) -> ResponseTemplate {
    let data: Vec<Value> = ids
        .into_iter()
        .map(|id| json!({"sessionId": format!("s{id}")}))
        .collect();
    let body =
        json!({"status": "Success", "errors": null, "data": data, "trace": null, "version": "1.0"});
    ResponseTemplate::new(200).set_body_json(body)
}

/// A complaint by the document.
fn complaint(status: u16, code: &str, message: &str) -> ResponseTemplate {
    let errors = json!([{"code": code, "message": message}]);
    ResponseTemplate::new(status)
        .set_body_json(json!({"status": "Error", "errors": errors, "version": "1.0"}))
}

/// Answers the list.
async fn serve(
    server: &MockServer,
    answer: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
) {
    Mock::given(method("GET"))
        .and(path(SESSIONS))
        .respond_with(answer)
        .mount(server)
        .await;
}

async fn read(pages: PageStream) -> Vec<Result<Page, Error>> {
    pages.collect().await
}

/// The sessions' ids, page by page.
fn ids(pages: Vec<Result<Page, Error>>) -> Vec<Vec<u64>> {
    let id = |session: &Value| session["sessionId"].as_str().unwrap()[1..].parse().unwrap();
    pages
        .into_iter()
        .map(|page| {
            let page: Value = serde_json::from_slice(&page.unwrap().bytes).unwrap();
            page["data"].as_array().unwrap().iter().map(id).collect()
        })
        .collect()
}

/// The query of every request, in order.
async fn queries(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    requests
        .iter()
        .map(|request| request.url.query().unwrap_or_default().to_owned())
        .collect()
}

/// The value of a query parameter, as a number.
fn number(request: &Request, key: &str) -> u64 {
    let value = request
        .url
        .query_pairs()
        .find(|(k, _)| k == key)
        .map(|(_, v)| v.into_owned());
    value.unwrap_or_else(|| panic!("no {key}")).parse().unwrap()
}
