//! SmartNow seen from outside: login, lists, archive, clock, faults and control.
//!
//! Invariant: as for all of the sandbox's tests; nothing here knows how a record is made.

mod control;
mod lists;
mod login;
mod time;

use crate::client::{SandboxClient, with};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tillhouse_sandbox::{Sandbox, SandboxOptions};

/// Every resource with the path of its list.
const PLAIN: [(&str, &str); 25] = [
    ("revenue_transactions", "/revenuetransaction"),
    ("payment_transactions", "/paymenttransaction"),
    ("logs", "/log"),
    ("machines", "/machine"),
    ("machine_models", "/machinemodel"),
    ("machine_types", "/machinetype"),
    ("manufacturers", "/manufacturer"),
    ("machine_groups", "/machinegroup"),
    ("locations", "/location"),
    ("location_groups", "/locationgroup"),
    ("shifts", "/shift"),
    ("opening_hours", "/openinghours"),
    ("error_profiles", "/errorprofile"),
    ("error_identities", "/erroridentity"),
    ("error_codes", "/errorcode"),
    ("transaction_profiles", "/transactionprofile"),
    ("languages", "/language"),
    ("users", "/user"),
    ("user_groups", "/usergroup"),
    ("alert_observers", "/alertobserver"),
    ("alert_groups", "/alertgroup"),
    ("alert_recipients", "/alertrecipient"),
    ("campaigns", "/campaign"),
    ("vouchers", "/voucher"),
    ("integrations", "/integration"),
];

/// Lists that are read parent by parent.
const OF_PARENTS: [(&str, &str, &str); 6] = [
    ("products", "/product/*", "/machine"),
    ("product_extras", "/productextra/*", "/machine"),
    ("product_flavours", "/productflavour/*", "/machine"),
    ("voucher_logs", "/voucher/*/logs", "/voucher"),
    (
        "integration_records",
        "/integration/*/records",
        "/integration",
    ),
    (
        "integration_transactions",
        "/integration/*/transactions",
        "/integration",
    ),
];

/// A sandbox with some hundred sales, and a client that is logged in to SmartNow.
async fn small() -> (Sandbox, SmartNowClient) {
    start(options()).await
}

/// Enough visits for some coffees.
fn options() -> SandboxOptions {
    SandboxOptions {
        transactions: 100,
        smartnow_sales: Some(600),
        bemo_sessions: Some(80),
        ..SandboxOptions::default()
    }
}

async fn start(options: SandboxOptions) -> (Sandbox, SmartNowClient) {
    let (sandbox, client) = with(options).await;
    let mut smartnow = SmartNowClient(client);
    smartnow.log_in().await;
    (sandbox, smartnow)
}

/// A client of SmartNow.
struct SmartNowClient(SandboxClient);

impl SmartNowClient {
    async fn log_in(&mut self) -> Value {
        let credentials = json!({"username": "sandbox", "password": "sandbox-secret"});
        let (status, body) = self.0.post("/smartnow/auth/login", &credentials).await;
        assert_eq!(status, 200, "{body}");
        self.0.token = body["access_token"].as_str().unwrap().to_owned();
        body
    }

    /// Asks for a path with a query, brackets and all, as pairs.
    async fn ask(&self, path: &str, pairs: &[(&str, &str)]) -> (StatusCode, Value) {
        let request = self
            .0
            .http
            .get(format!("{}/smartnow{path}", self.0.url))
            .bearer_auth(&self.0.token);
        let response = request.query(pairs).send().await.unwrap();
        let status = response.status();
        (
            status,
            serde_json::from_str(&response.text().await.unwrap()).unwrap(),
        )
    }

    async fn list(&self, path: &str, pairs: &[(&str, &str)]) -> Vec<Value> {
        let (status, body) = self.ask(path, pairs).await;
        assert_eq!(status, 200, "{path} {pairs:?}: {body}");
        body.as_array()
            .unwrap_or_else(|| panic!("{path} {pairs:?} is no list: {body}"))
            .clone()
    }

    /// A control request that must be obeyed.
    async fn control(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.0.post(path, body).await;
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }

    /// The truth of a resource, parsed.
    async fn truth(&self, query: &str) -> Vec<Value> {
        let response = self
            .0
            .raw(&format!("/control/smartnow/truth?{query}"))
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        response
            .text()
            .await
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// An id as a path or a query has it.
fn id(record: &Value) -> String {
    match &record["id"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn ids(records: &[Value]) -> Vec<String> {
    records.iter().map(id).collect()
}
