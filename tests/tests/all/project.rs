//! A project in a temporary folder, made and driven as a user does: by the binary, against an emulated API on loopback.
//!
//! Invariant: nothing outside the folder is read or written, and the folder goes with the value.

use crate::exact_json;
use crate::program::{self, command};
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;
use tillhouse_sandbox::{Sandbox, SandboxOptions};
use tokio::process::Command;

/// The sandbox's secret, as the project's .env holds it.
pub(crate) const CLIENT_SECRET: &str = "sandbox-secret";

/// A project with one pipeline, `hecone`.
pub(crate) struct TestProject {
    folder: TempDir,
}

/// Output of a command that has ended.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end. It never panics, whatever it was asked.
pub(crate) async fn run_to_end(command: Command) -> CommandOutput {
    let output = program::run(command).await;
    let text = |bytes| String::from_utf8(bytes).expect("the binary writes UTF-8");
    let ran = CommandOutput {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    };
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran
}

impl TestProject {
    /// A project whose pipeline reads from `url` (the source's base, `http://127.0.0.1:PORT/hecone`).
    pub(crate) async fn new(url: &str) -> Self {
        let project = Self::bare().await;
        project.add_env(&format!(
            "HECONE_URL={url}\nHECONE_CLIENT_ID=sandbox\nHECONE_CLIENT_SECRET={CLIENT_SECRET}\n"
        ));
        project
    }

    /// A sandbox of so many transactions, and a project that reads from it.
    pub(crate) async fn of_sandbox(transactions: u64) -> (Sandbox, Self) {
        let options = SandboxOptions {
            transactions,
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(options).await.expect("a sandbox starts");
        let project = Self::new(&sandbox.hecone_url()).await;
        (sandbox, project)
    }

    /// The same, synced up to a day.
    pub(crate) async fn synced(transactions: u64, to: &str) -> (Sandbox, Self) {
        let (sandbox, project) = Self::of_sandbox(transactions).await;
        project.sync(&["--to", to]).await;
        (sandbox, project)
    }

    /// A sandbox, and a project that has read the first five days of 2026 from it in one slice.
    pub(crate) async fn synced_at_once(transactions: u64) -> (Sandbox, Self) {
        let (sandbox, project) = Self::of_sandbox(transactions).await;
        project.set("slice", "90d");
        project.sync(&["--to", "2026-01-06"]).await;
        (sandbox, project)
    }

    /// A project with a pipeline for each of these sources, all of which a sandbox serves, from `start` on.
    pub(crate) async fn of(sources: &[&str], sandbox: &Sandbox, start: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut words = vec!["init".as_ref(), folder.path().as_os_str()];
        for source in sources {
            words.extend(["--source".as_ref(), std::ffi::OsStr::new(source)]);
        }
        let made = run_to_end(command(words)).await;
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        for source in sources {
            let path = folder
                .path()
                .join(format!("pipelines/{source}/pipeline.yaml"));
            let text = std::fs::read_to_string(&path).expect("init wrote it");
            let text = text
                .replacen("start: 2024-01-01", &format!("start: {start}"), 1)
                .replacen("rate_limit: 10/s", "rate_limit: 10000/s", 1)
                .replacen("rate_limit: 20/s", "rate_limit: 10000/s", 1);
            std::fs::write(path, text).expect("a file in a temporary folder");
        }
        let project = Self { folder };
        project.add_env(&format!(
            "HECONE_URL={hecone}\nHECONE_CLIENT_ID=sandbox\nHECONE_CLIENT_SECRET={CLIENT_SECRET}\n\
             SMARTNOW_URL={smartnow}\nSMARTNOW_USERNAME=sandbox\nSMARTNOW_PASSWORD={CLIENT_SECRET}\n\
             BEMO_URL={bemo}\nBEMO_ACCESS_TOKEN=sandbox-token\nBEMO_SUBSCRIPTION_KEY=sandbox-key\nBEMO_ACCOUNTS={accounts}\n\
             PACE_URL={pace}\nPACE_TOKEN_URL={pace}/auth/token\nPACE_CLIENT_ID=sandbox\nPACE_CLIENT_SECRET={CLIENT_SECRET}\n\
             PACE_PARTNERS={partners}\n",
            hecone = sandbox.url_of("hecone"),
            smartnow = sandbox.url_of("smartnow"),
            bemo = sandbox.url_of("bemo"),
            pace = sandbox.url_of("pace"),
            accounts = sandbox.accounts().join(","),
            partners = sandbox.partners().join(","),
        ));
        project
    }

    /// A project in which nobody has filled in the connection's values yet.
    pub(crate) async fn bare() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = run_to_end(command([
            "init".as_ref(),
            folder.path().as_os_str(),
            "--source".as_ref(),
            "hecone".as_ref(),
        ]))
        .await;
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        let project = Self { folder };
        project.set("start", "2026-01-01");
        project.set("rate_limit", "10000/s");
        project.set("page_size", "1000");
        project
    }

    /// Changes one line of pipeline.yaml, `key: value`.
    pub(crate) fn set(&self, key: &str, value: &str) {
        let path = self.pipeline();
        let text = std::fs::read_to_string(&path).expect("init wrote it");
        let mut hits = 0;
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                let indent = line.len() - line.trim_start().len();
                if line
                    .trim_start()
                    .strip_prefix(key)
                    .is_some_and(|rest| rest.starts_with(':'))
                {
                    hits += 1;
                    return format!("{}{key}: {value}", &line[..indent]);
                }
                line.to_owned()
            })
            .collect();
        assert_eq!(hits, 1, "pipeline.yaml has one line for {key}");
        std::fs::write(path, lines.join("\n") + "\n").expect("a file in a temporary folder");
    }

    /// The place of a key's line in pipeline.yaml, as an error names it.
    pub(crate) fn place(&self, key: &str) -> String {
        let text = std::fs::read_to_string(self.pipeline()).expect("init wrote it");
        let line = text
            .lines()
            .position(|line| line.trim_start().starts_with(&format!("{key}:")));
        format!(
            "pipeline.yaml:{}:",
            line.unwrap_or_else(|| panic!("pipeline.yaml has no {key}")) + 1
        )
    }

    pub(crate) fn add_env(&self, lines: &str) {
        let path = self.folder.path().join(".env");
        let text = std::fs::read_to_string(&path).expect("init wrote it");
        std::fs::write(path, text + lines).expect("a file in a temporary folder");
    }

    /// The value of a variable in `.env`.
    pub(crate) fn env(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder.path().join(".env")).expect("init wrote it");
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value
            .unwrap_or_else(|| panic!(".env has no {name}"))
            .to_owned()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    pub(crate) fn pipeline(&self) -> PathBuf {
        self.folder.path().join("pipelines/hecone/pipeline.yaml")
    }

    pub(crate) fn warehouse(&self) -> PathBuf {
        self.folder.path().join("warehouse")
    }

    /// A command in this project.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(["--project".as_ref(), self.folder.path().as_os_str()]);
        command.args(arguments);
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> CommandOutput {
        run_to_end(self.command(arguments)).await
    }

    /// Runs a command that must end well and print one JSON value.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--format", "json"];
        all.extend(arguments);
        let ran = self.run(&all).await;
        assert_eq!(
            ran.code,
            Some(0),
            "{arguments:?}: {}\n{}",
            ran.stderr,
            ran.stdout
        );
        exact_json::json(&ran.stdout, &format!("{arguments:?}"))
    }

    /// Runs a sync that must be done in full, and gives what it says of the pipeline.
    pub(crate) async fn sync(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["sync"];
        all.extend(arguments);
        let mut report = self.json(&all).await;
        assert_eq!(report["published"], true, "{report}");
        report["pipelines"][0].take()
    }

    /// The rows a query gives.
    pub(crate) async fn sql(&self, query: &str) -> Vec<Value> {
        match self.json(&["sql", query]).await {
            Value::Array(rows) => rows,
            other => panic!("{query} gave {other}"),
        }
    }

    /// The one whole number a query gives.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        let rows = self.sql(query).await;
        assert_eq!(rows.len(), 1, "{query}");
        let row = rows[0].as_object().expect("a row is an object");
        exact_json::integer(row.values().next().expect("one column"))
    }
}
