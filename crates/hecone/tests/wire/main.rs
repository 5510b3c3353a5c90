//! HecOne's wire, against small servers that answer by the document or against it.
//!
//! Invariant: what is asked is checked to the letter; nothing here shares code with the sandbox.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod listing;
mod login;
mod single;
mod statistics;

use std::sync::Arc;
use std::time::Duration;
use tillhouse_extract::{Source, SourceConnection, SourceLimits};
use tillhouse_hecone::HecOneConnection;
use tillhouse_model::{Slice, Window};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

fn limits() -> SourceLimits {
    SourceLimits {
        rate_per_second: None,
        reread_pause: Duration::from_millis(1),
        ..SourceLimits::default()
    }
}

fn connection(server: &MockServer, more: &str) -> HecOneConnection {
    let text = format!(
        r#"{{"base_url":"{}/hecone","client_id":"me","client_secret":"hunter2"{more}}}"#,
        server.uri()
    );
    serde_json::from_str(&text).unwrap()
}

fn open(server: &MockServer, limits: SourceLimits) -> Arc<dyn Source> {
    connection(server, "").open(limits).unwrap()
}

/// A server that gives out `token-1`, `token-2`, ...
async fn with_login(server: &MockServer) {
    let logins = std::sync::atomic::AtomicU64::new(0);
    let answer = move |_: &Request| {
        let number = logins.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        ResponseTemplate::new(200).set_body_json(serde_json::json!({
            "access_token": format!("token-{number}"), "expires_in": 3600, "token_type": "Bearer", "refresh_token": "again"
        }))
    };
    Mock::given(method("POST"))
        .and(path("/hecone/auth/login"))
        .respond_with(answer)
        .mount(server)
        .await;
}

fn slice(from: &str, to: &str) -> Slice {
    let window = Window::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
    Slice {
        resource: "transactions".into(),
        tenant: None,
        window,
    }
}

/// The value of a query parameter.
fn query(request: &Request, key: &str) -> Option<String> {
    request
        .url
        .query_pairs()
        .find(|(k, _)| k == key)
        .map(|(_, v)| v.into_owned())
}
