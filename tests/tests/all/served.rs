//! A server over a project, started and asked as a user does: by the binary, over HTTP on loopback.
//!
//! Invariant: the server ends with the value, and listens on a port that nobody else has.

use crate::project::TestProject;
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

/// Time after which something that is waited for does not come.
const LIMIT: Duration = Duration::from_secs(60);

/// A query that takes longer than any test.
pub(crate) const ENDLESS: &str = "SELECT count(*) FILTER (WHERE a.amount + b.amount > c.amount + d.amount) AS n \
     FROM transactions a CROSS JOIN transactions b CROSS JOIN transactions c CROSS JOIN transactions d";
/// Rows that are counted for days, and asked for by nobody else.
pub(crate) const COUNTED: &str = "SELECT count(*) FILTER (WHERE a.value > b.value) AS n FROM range(0, 1000000) a CROSS JOIN range(0, 1000000) b";
/// Pairs of which none passes.
pub(crate) const NOTHING_PASSES: &str = "SELECT count(*) AS n FROM range(0, 1000000) a JOIN range(0, 1000000) b ON a.value + b.value < 0";

/// A running server.
pub(crate) struct RunningServer {
    child: Child,
    pub(crate) url: String,
    /// Address for PostgreSQL's protocol, where the settings name one.
    pub(crate) postgres: Option<String>,
    /// Address for Flight SQL, where the settings name one.
    pub(crate) flight: Option<String>,
    pub(crate) client: Client,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct ReadAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl ReadAnswer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|e| panic!("no JSON ({e}): {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The problem document, which a refusal has to be.
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["id"].as_str(), self.header("x-request-id"));
        problem
    }
}

impl RunningServer {
    /// Starts a server over a project; `settings` are lines below `serve:` in its tillhouse.yaml.
    pub(crate) async fn start(project: &TestProject, settings: &str) -> Self {
        set(project, settings);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut command =
            project.command(&["serve", "--listen", "127.0.0.1:0", "--format", "json"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("its output is read");
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(LIMIT, lines.next_line())
            .await
            .expect("it says where it listens")
            .expect("its output is text")
            .expect("it has not ended");
        let told: Value = serde_json::from_str(&line).expect("a line of JSON");
        let client = Client::builder()
            .timeout(Duration::from_secs(120))
            .gzip(false)
            .build()
            .expect("a client");
        Self {
            child,
            url: told["url"].as_str().expect("an address").to_owned(),
            postgres: told["postgres"].as_str().map(str::to_owned),
            flight: told["flight"].as_str().map(str::to_owned),
            client,
        }
    }

    pub(crate) async fn read(response: Response) -> ReadAnswer {
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response
            .bytes()
            .await
            .expect("the answer is whole")
            .to_vec();
        ReadAnswer {
            status,
            headers,
            bytes,
        }
    }

    /// Asks with GET.
    pub(crate) async fn get(&self, path: &str) -> ReadAnswer {
        self.get_as(path, "*/*").await
    }

    /// Asks with GET for a media type.
    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> ReadAnswer {
        let request = self
            .client
            .get(format!("{}{path}", self.url))
            .header(ACCEPT, accept);
        Self::read(request.send().await.expect("an answer")).await
    }

    /// Asks with GET, parameters as they are meant.
    pub(crate) async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> ReadAnswer {
        let request = self
            .client
            .get(format!("{}{path}", self.url))
            .query(parameters);
        Self::read(request.send().await.expect("an answer")).await
    }

    /// Asks with any method.
    pub(crate) async fn method(&self, method: Method, path: &str) -> ReadAnswer {
        let request = self.client.request(method, format!("{}{path}", self.url));
        Self::read(request.send().await.expect("an answer")).await
    }

    /// Runs a query.
    pub(crate) async fn sql(&self, body: &Value, accept: &str) -> ReadAnswer {
        let request = self
            .client
            .post(format!("{}/api/v1/sql", self.url))
            .header(ACCEPT, accept)
            .json(body);
        Self::read(request.send().await.expect("an answer")).await
    }

    /// The value of a metric, which has to be there.
    pub(crate) async fn metric(&self, name: &str) -> i64 {
        let known = self.known_metric(name).await;
        known.unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// The value of a metric, named with its labels; none while nothing was counted.
    async fn known_metric(&self, name: &str) -> Option<i64> {
        let text = self.get("/metrics").await;
        let line = text
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok())
    }

    /// Waits until a metric has a value.
    pub(crate) async fn until_metric(&self, name: &str, value: i64) {
        let began = Instant::now();
        while self.known_metric(name).await != Some(value) {
            assert!(began.elapsed() < LIMIT, "{name} is not {value}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until answers are of another run than this one.
    pub(crate) async fn until_run_after(&self, run: &str) {
        let began = Instant::now();
        while self.get("/readyz").await.json()["run"] == run {
            assert!(began.elapsed() < LIMIT, "no run after {run} is seen");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Sends SIGTERM.
    pub(crate) async fn terminate(&self) {
        self.signal("-TERM").await;
    }

    /// Sends a signal, as `kill` names it.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = tokio::process::Command::new("kill")
            .args([name, &id])
            .status()
            .await
            .expect("kill is there");
        assert!(sent.success());
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(LIMIT, self.child.wait())
            .await
            .expect("it ends")
            .expect("it is waited for")
    }
}

/// Writes the settings of the server into tillhouse.yaml.
pub(crate) fn set(project: &TestProject, settings: &str) {
    let path = project.path().join("tillhouse.yaml");
    let text = std::fs::read_to_string(&path).expect("init wrote it");
    let text = text.split("\nserve:").next().unwrap_or_default();
    let section = match settings {
        "" => String::new(),
        settings => format!("\nserve:\n{settings}\n"),
    };
    std::fs::write(path, format!("{}\n{section}", text.trim_end()))
        .expect("a file in a temporary folder");
}
