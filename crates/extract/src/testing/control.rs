//! The suite's end of the control protocol.
//!
//! Invariant: it has connections of its own and no time limit, so that moving the clock does not disturb it. What a server answers
//! against the protocol is a violation that names the route.

use crate::testing::violation::ClauseViolation;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tillhouse_emulator::{RecordMutation, RecordMutationKind};
use tillhouse_model::Window;

/// Request in the server's log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ControlLogEntry {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) status: u16,
}

/// Client of a test server's control protocol.
#[derive(Debug)]
pub(crate) struct ControlClient {
    http: reqwest::Client,
    url: String,
    name: &'static str,
}

impl ControlClient {
    pub(crate) fn new(url: &str, name: &'static str) -> Result<Self, ClauseViolation> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build();
        let http = http.map_err(|error| {
            ClauseViolation::new(format!("no client for the control protocol: {error}"))
        })?;
        Ok(Self {
            http,
            url: format!("{}/control", url.trim_end_matches('/')),
            name,
        })
    }

    async fn ask(
        &self,
        method: reqwest::Method,
        route: &str,
        body: Option<Value>,
    ) -> Result<(u16, String), ClauseViolation> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{route}", self.url));
        if let Some(body) = body {
            request = request
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let broken = |error: reqwest::Error| {
            ClauseViolation::new(format!("{method} /control{route} does not answer: {error}"))
        };
        let answer = request.send().await.map_err(broken)?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(broken)?))
    }

    async fn order(
        &self,
        method: reqwest::Method,
        route: &str,
        body: Option<Value>,
    ) -> Result<String, ClauseViolation> {
        let (status, text) = self.ask(method.clone(), route, body).await?;
        hold!(
            (200..300).contains(&status),
            "{method} /control{route} answered {status}: {text}"
        );
        Ok(text)
    }

    async fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T, ClauseViolation> {
        let text = self.order(reqwest::Method::GET, route, None).await?;
        serde_json::from_str(&text).map_err(|error| {
            ClauseViolation::new(format!(
                "GET /control{route} is not as it should be, {error}: {text}"
            ))
        })
    }

    /// The server's now.
    pub(crate) async fn clock(&self) -> Result<Timestamp, ClauseViolation> {
        #[derive(Deserialize)]
        struct ControlClockReply {
            now: Timestamp,
        }
        Ok(self.get::<ControlClockReply>("/clock").await?.now)
    }

    /// Queues a fault.
    pub(crate) async fn fault(&self, fault: Value) -> Result<(), ClauseViolation> {
        self.order(
            reqwest::Method::POST,
            "/faults",
            Some(json!({ "faults": [fault] })),
        )
        .await
        .map(drop)
    }

    /// Number of requests that the queued faults would still hit.
    pub(crate) async fn pending(&self) -> Result<u64, ClauseViolation> {
        #[derive(Deserialize)]
        struct PendingFault {
            times: u64,
        }
        #[derive(Deserialize)]
        struct PendingFaults {
            faults: Vec<PendingFault>,
        }
        Ok(self
            .get::<PendingFaults>("/faults")
            .await?
            .faults
            .iter()
            .map(|fault| fault.times)
            .sum())
    }

    /// Forgets all faults.
    pub(crate) async fn clear_faults(&self) -> Result<(), ClauseViolation> {
        self.order(reqwest::Method::DELETE, "/faults", None)
            .await
            .map(drop)
    }

    /// Requests since the log was last cleared.
    pub(crate) async fn log(&self) -> Result<Vec<ControlLogEntry>, ClauseViolation> {
        #[derive(Deserialize)]
        struct ControlLogReply {
            total: usize,
            requests: Vec<ControlLogEntry>,
        }
        let log: ControlLogReply = self.get("/requests").await?;
        hold!(
            log.total == log.requests.len(),
            "the server's log has lost requests: a test asks too many"
        );
        Ok(log.requests)
    }

    /// Forgets what was asked.
    pub(crate) async fn clear_log(&self) -> Result<(), ClauseViolation> {
        self.order(reqwest::Method::DELETE, "/requests", None)
            .await
            .map(drop)
    }

    /// Every record, as the API would serve it; those of a window where one is given.
    pub(crate) async fn server_records(
        &self,
        resource: &str,
        tenant: Option<&str>,
        window: Option<Window>,
    ) -> Result<Vec<String>, ClauseViolation> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("resource", resource);
        if let Some(tenant) = tenant {
            query.append_pair("tenant", tenant);
        }
        if let Some(window) = window {
            query
                .append_pair("from", &window.from().to_string())
                .append_pair("to", &window.to().to_string());
        }
        let route = format!("/{}/truth?{}", self.name, query.finish());
        let text = self.order(reqwest::Method::GET, &route, None).await?;
        Ok(text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// Mutates a record of a window; the id of that record, `None` where nothing fits.
    pub(crate) async fn mutate(
        &self,
        kind: RecordMutationKind,
        resource: &str,
        tenant: Option<&str>,
        window: Window,
    ) -> Result<Option<String>, ClauseViolation> {
        #[derive(Deserialize)]
        struct MutatedRecordReply {
            id: Value,
        }
        let route = format!("/{}/stir", self.name);
        let (resource, tenant) = (resource.to_owned(), tenant.map(str::to_owned));
        let order = json!(RecordMutation {
            resource,
            tenant,
            kind,
            from: window.from(),
            to: window.to()
        });
        let (status, text) = self
            .ask(reqwest::Method::POST, &route, Some(order.clone()))
            .await?;
        if status == 404 {
            return Ok(None);
        }
        let stirred = serde_json::from_str::<MutatedRecordReply>(&text)
            .ok()
            .filter(|_| (200..300).contains(&status));
        let stirred = stirred.ok_or_else(|| {
            ClauseViolation::new(format!(
                "POST /control{route} {order} answered {status}: {text}"
            ))
        })?;
        Ok(Some(match stirred.id {
            Value::String(id) => id,
            other => other.to_string(),
        }))
    }

    /// The API cuts its pages to so many records.
    pub(crate) async fn page_cap(&self, largest_page: u32) -> Result<(), ClauseViolation> {
        let route = format!("/{}/page_cap", self.name);
        self.order(
            reqwest::Method::POST,
            &route,
            Some(json!({ "largest_page": largest_page })),
        )
        .await
        .map(drop)
    }
}
