//! SmartNow's wire, against small servers that answer by the document or against it.
//!
//! Invariant: what is asked is checked to the letter; nothing here shares code with the sandbox.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod connection;
mod listing;
mod login;
mod parents;
mod setup;

use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tillhouse_extract::{Page, PageStream, Source, SourceConnection, SourceLimits};
use tillhouse_model::{Error, Slice, Window};
use tillhouse_smartnow::SmartNowConnection;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

fn limits() -> SourceLimits {
    SourceLimits {
        rate_per_second: None,
        reread_pause: Duration::from_millis(1),
        ..SourceLimits::default()
    }
}

/// A connection with `more` of its keys set.
fn connection(server: &MockServer, more: Value) -> SmartNowConnection {
    let mut written = json!({
        "base_url": format!("{}/smartnow", server.uri()), "username": "reader", "password": "hunter2"
    });
    written
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    serde_json::from_value(written).unwrap()
}

fn open(server: &MockServer, limits: SourceLimits) -> Arc<dyn Source> {
    connection(server, json!({})).open(limits).unwrap()
}

/// A server that gives out `token-1`, `token-2`, ...
async fn with_login(server: &MockServer) {
    let logins = std::sync::atomic::AtomicU64::new(0);
    let answer = move |_: &Request| {
        let number = logins.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        ResponseTemplate::new(200).set_body_json(json!({
            "access_token": format!("token-{number}"), "refresh_token": format!("again-{number}")
        }))
    };
    Mock::given(method("POST"))
        .and(path("/smartnow/auth/login"))
        .respond_with(answer)
        .mount(server)
        .await;
}

/// Serves a list that knows `where[id][>]`, `sort` and `limit`, whatever else is asked.
async fn with_list(server: &MockServer, at: &str, records: Vec<Value>) {
    let answer = move |request: &Request| {
        ResponseTemplate::new(200).set_body_json(select(&records, request))
    };
    Mock::given(method("GET"))
        .and(path(format!("/smartnow{at}")))
        .respond_with(answer)
        .mount(server)
        .await;
}

fn select(records: &[Value], request: &Request) -> Vec<Value> {
    let behind = query(request, "where[id][>]");
    let is_behind = |record: &Value| {
        behind.as_deref().is_none_or(|last| match &record["id"] {
            Value::String(id) => id.as_str() > last,
            id => id.as_i64() > last.parse().ok(),
        })
    };
    let limit = query(request, "limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
    records
        .iter()
        .filter(|record| is_behind(record))
        .take(limit)
        .cloned()
        .collect()
}

fn slice(resource: &str, from: &str, to: &str) -> Slice {
    let window = Window::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
    Slice {
        resource: resource.into(),
        tenant: None,
        window,
    }
}

/// A day of a resource that is not older than the archive's border on any day this runs.
fn today(resource: &str) -> Slice {
    let now = jiff::Timestamp::now();
    let window = Window::new(
        now.checked_sub(jiff::SignedDuration::from_hours(24))
            .unwrap(),
        now,
    )
    .unwrap();
    Slice {
        resource: resource.into(),
        tenant: None,
        window,
    }
}

async fn pages(stream: PageStream) -> Result<Vec<Page>, Error> {
    stream.collect::<Vec<_>>().await.into_iter().collect()
}

/// Scope and id of every record, in the order they came.
async fn records(stream: PageStream) -> Result<Vec<(Option<String>, Value)>, Error> {
    let mut all = Vec::new();
    for page in pages(stream).await? {
        let scope = page.scope.as_deref().map(str::to_owned);
        let list: Vec<Value> = serde_json::from_slice(&page.bytes).unwrap();
        all.extend(
            list.into_iter()
                .map(|record| (scope.clone(), record["id"].clone())),
        );
    }
    Ok(all)
}

async fn ids(stream: PageStream) -> Vec<Value> {
    records(stream)
        .await
        .unwrap()
        .into_iter()
        .map(|(_, id)| id)
        .collect()
}

/// The value of a query parameter.
fn query(request: &Request, key: &str) -> Option<String> {
    request
        .url
        .query_pairs()
        .find(|(k, _)| k == key)
        .map(|(_, v)| v.into_owned())
}

/// The lists asked for, as paths and queries, decoded.
async fn asked(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    let shown = |request: &Request| {
        let query: Vec<String> = request
            .url
            .query_pairs()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        format!(
            "{}?{}",
            request.url.path().trim_start_matches("/smartnow"),
            query.join("&")
        )
    };
    requests
        .iter()
        .filter(|request| request.method == "GET")
        .map(shown)
        .collect()
}
