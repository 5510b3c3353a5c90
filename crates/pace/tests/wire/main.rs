//! PACE's wire, against small servers that answer by the document or against it.
//!
//! Invariant: what is asked is checked to the letter; nothing here shares code with the sandbox.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod listing;
mod login;
mod refusals;

use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tillhouse_extract::{Page, PageStream, Source, SourceConnection, SourceLimits};
use tillhouse_model::{Error, Slice, Window};
use tillhouse_pace::PaceConnection;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const PARTNER: &str = "/pace/pay/2022-1/transactions/contracts/partners/acme";
const CHANGES: &str = "/pace/pay/2025-1/transactions";
const TOKEN: &str = "/auth/realms/pace/token";
const MEDIA_TYPE: &str = "application/vnd.api+json";

/// The API and, on another server, the token endpoint, which gives out `token-1`, `token-2`, ...
struct PaceServers {
    api: MockServer,
    id: MockServer,
}

impl PaceServers {
    async fn start() -> Self {
        let servers = Self::silent().await;
        let logins = std::sync::atomic::AtomicU64::new(0);
        let answer = move |_: &Request| {
            let number = logins.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            ResponseTemplate::new(200).set_body_json(
                json!({"access_token": format!("token-{number}"), "expires_in": 300, "token_type": "Bearer"}),
            )
        };
        Mock::given(method("POST"))
            .and(path(TOKEN))
            .respond_with(answer)
            .mount(&servers.id)
            .await;
        servers
    }

    /// Without a login.
    async fn silent() -> Self {
        Self {
            api: MockServer::start().await,
            id: MockServer::start().await,
        }
    }

    fn connection(&self, more: Value) -> PaceConnection {
        let mut connection = json!({
            "base_url": format!("{}/pace", self.api.uri()),
            "token_url": format!("{}{TOKEN}", self.id.uri()),
            "client_id": "me",
            "client_secret": "hunter2",
            "partners": ["acme"],
        });
        for (key, value) in more.as_object().unwrap() {
            connection[key] = value.clone();
        }
        serde_json::from_value(connection).unwrap()
    }

    fn open(&self, more: Value) -> Arc<dyn Source> {
        self.connection(more).open(limits()).unwrap()
    }

    /// Answers every list.
    async fn serve(&self, answer: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static) {
        Mock::given(method("GET"))
            .respond_with(answer)
            .mount(&self.api)
            .await;
    }

    /// The lists that were asked for, in order.
    async fn asked(&self) -> Vec<Request> {
        self.api.received_requests().await.unwrap()
    }
}

fn limits() -> SourceLimits {
    SourceLimits {
        rate_per_second: None,
        reread_pause: Duration::from_millis(1),
        attempts: 1,
        ..SourceLimits::default()
    }
}

fn slice() -> Slice {
    let window = Window::new(
        "2026-01-01T00:00:00.4Z".parse().unwrap(),
        "2026-01-02T00:00:00.2Z".parse().unwrap(),
    )
    .unwrap();
    Slice {
        resource: "transactions".into(),
        tenant: Some("acme".into()),
        window,
    }
}

/// A page by the document.
fn page(ids: impl IntoIterator<Item = u64>, count: u64) -> ResponseTemplate {
    let data: Vec<Value> = ids
        .into_iter()
        .map(|id| json!({"type": "transaction", "id": format!("t{id}")}))
        .collect();
    ResponseTemplate::new(200).set_body_raw(
        json!({"data": data, "meta": {"count": count}}).to_string(),
        MEDIA_TYPE,
    )
}

/// The transactions `0..total`, in pages of at most `most`, counted from 0.
fn cut(request: &Request, most: u64, total: u64) -> ResponseTemplate {
    let size = number(request, "page[size]").min(most);
    let before = number(request, "page[number]") * size;
    page(before.min(total)..(before + size).min(total), total)
}

/// An error document.
fn problem(status: u16, error: Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(json!({"errors": [error]}).to_string(), MEDIA_TYPE)
}

async fn read(pages: PageStream) -> Vec<Result<Page, Error>> {
    pages.collect().await
}

/// The transactions' ids, page by page.
fn ids(pages: Vec<Result<Page, Error>>) -> Vec<Vec<u64>> {
    let id = |transaction: &Value| transaction["id"].as_str().unwrap()[1..].parse().unwrap();
    pages
        .into_iter()
        .map(|page| {
            let page: Value = serde_json::from_slice(&page.unwrap().bytes).unwrap();
            page["data"].as_array().unwrap().iter().map(id).collect()
        })
        .collect()
}

/// The query of a request, key by key.
fn query(request: &Request) -> Vec<(String, String)> {
    request.url.query_pairs().into_owned().collect()
}

/// The value of a query parameter, as a number.
fn number(request: &Request, key: &str) -> u64 {
    let value = query(request)
        .into_iter()
        .find(|(k, _)| k == key)
        .map(|(_, value)| value);
    value.unwrap_or_else(|| panic!("no {key}")).parse().unwrap()
}
