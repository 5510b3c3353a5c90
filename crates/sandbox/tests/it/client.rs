//! A client as simple as can be: log in, ask, parse.
//!
//! Invariant: it repairs nothing; what the server does shows.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Once;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

pub(crate) const WINDOW: &str = "start_date=2026-01-01T00:00:00Z&end_date=2026-01-06T00:00:00Z";

/// HTTP client of the emulated HecOne, with its token.
pub(crate) struct SandboxClient {
    pub http: reqwest::Client,
    pub url: String,
    pub token: String,
}

pub(crate) async fn small() -> (Sandbox, SandboxClient) {
    with(SandboxOptions {
        transactions: 600,
        ..SandboxOptions::default()
    })
    .await
}

pub(crate) async fn with(options: SandboxOptions) -> (Sandbox, SandboxClient) {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap()
    });
    let sandbox = Sandbox::start(options).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut client = SandboxClient {
        http,
        url: sandbox.url(),
        token: String::new(),
    };
    client.login().await;
    (sandbox, client)
}

impl SandboxClient {
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> (StatusCode, Value) {
        let request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token);
        let response = request.body(body.unwrap_or_default()).send().await.unwrap();
        let status = response.status();
        (
            status,
            serde_json::from_str(&response.text().await.unwrap()).unwrap(),
        )
    }

    pub(crate) async fn login(&mut self) {
        let credentials = json!({"client_id": "sandbox", "client_secret": "sandbox-secret"});
        let (status, body) = self.post("/hecone/auth/login", &credentials).await;
        assert_eq!(status, 200);
        self.token = body["access_token"].as_str().unwrap().to_owned();
    }

    pub(crate) async fn raw(&self, path: &str) -> reqwest::Result<Response> {
        self.http
            .get(format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .send()
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn page(&self, rest: &str) -> Value {
        let (status, body) = self
            .get(&format!("/hecone/transactions?{WINDOW}&{rest}"))
            .await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// All ids of a listing, by following the next links.
    pub(crate) async fn ids(&self, rest: &str) -> Vec<String> {
        let mut path = format!("/hecone/transactions?{WINDOW}&{rest}");
        let mut ids = Vec::new();
        loop {
            let (status, body) = self.get(&path).await;
            assert_eq!(status, 200, "{body}");
            let rows = body["data"].as_array().unwrap();
            assert_eq!(body["meta"]["size"], rows.len());
            ids.extend(
                rows.iter()
                    .map(|row| row["id"].as_str().unwrap().to_owned()),
            );
            match body["_links"]["next"].as_str() {
                Some(next) => path = next.strip_prefix(&self.url).unwrap().to_owned(),
                None => return ids,
            }
        }
    }
}
