//! Pipelines and resources side by side, and syncs beside one another, as a user runs them.
//!
//! Invariant: reading at once changes nothing but the time it takes: the measure is a project that reads one pipeline after the other, one
//! request at a time.

use crate::exact_json;
use crate::project::{CommandOutput, TestProject};
use serde_json::Value;
use std::time::Duration;
use tillhouse_sandbox::{EmulatedFault, FaultKind, Sandbox, SandboxOptions};

const SOURCES: [&str; 4] = ["bemo", "hecone", "pace", "smartnow"];
const TO: [&str; 3] = ["sync", "--to", "2026-02-01"];

async fn sandbox() -> Sandbox {
    let options = SandboxOptions {
        transactions: 300,
        smartnow_sales: Some(300),
        bemo_sessions: Some(150),
        pace_transactions: Some(150),
        clock: "2026-01-04T00:00:00Z".parse().unwrap(),
        ..SandboxOptions::default()
    };
    Sandbox::start(options).await.unwrap()
}

/// Sets the concurrency of all of a project's pipelines.
fn set_concurrency(project: &TestProject, concurrency: u32) {
    for source in SOURCES {
        let path = project
            .path()
            .join(format!("pipelines/{source}/pipeline.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let changed: Vec<String> = text
            .lines()
            .map(
                |line| match line.trim_start().strip_prefix("concurrency:") {
                    Some(_) => format!("  concurrency: {concurrency}"),
                    None => line.to_owned(),
                },
            )
            .collect();
        std::fs::write(path, changed.join("\n") + "\n").unwrap();
    }
}

/// All rows of every table, without what names the run, the package and the moment of reading.
async fn contents(project: &TestProject) -> Vec<(String, Vec<String>)> {
    let tables = project
        .sql("SELECT table_schema AS s, table_name AS t FROM information_schema.tables WHERE table_schema NOT IN ('ops', 'information_schema') ORDER BY 1, 2")
        .await;
    let mut all = Vec::new();
    for table in tables {
        let name = format!(
            "{}.{}",
            table["s"].as_str().unwrap(),
            table["t"].as_str().unwrap()
        );
        let rows = project.sql(&format!("SELECT * FROM {name}")).await;
        let mut lines: Vec<String> = rows
            .into_iter()
            .map(|row| {
                let Value::Object(mut row) = row else {
                    panic!("a row is an object")
                };
                row.retain(|column, _| {
                    !matches!(
                        column.as_str(),
                        "_run_id" | "_extracted_at" | "_load_id" | "_as_of"
                    )
                });
                // When a reading missed it is when that was read.
                if let Some(gone) = row.get_mut("_deleted_at") {
                    *gone = Value::from(!gone.is_null());
                }
                Value::Object(row).to_string()
            })
            .collect();
        lines.sort_unstable();
        all.push((name, lines));
    }
    all
}

/// Rows of the bookkeeping, counted, without runs and times.
async fn bookkeeping(project: &TestProject) -> Vec<String> {
    let mut lines = Vec::new();
    for query in [
        "SELECT pipeline, resource, count(*) AS n, sum(records) AS r FROM ops.slices GROUP BY 1, 2",
        "SELECT pipeline, resource, rule, field, count(*) AS n FROM ops.warnings GROUP BY 1, 2, 3, 4",
        "SELECT pipeline, resource, count(*) AS n FROM ops.rejects GROUP BY 1, 2",
    ] {
        lines.extend(project.sql(query).await.iter().map(Value::to_string));
    }
    lines.sort_unstable();
    lines
}

fn names(report: &Value) -> Vec<&str> {
    let pipelines = report["pipelines"].as_array().unwrap();
    pipelines
        .iter()
        .map(|p| p["pipeline"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn side_by_side_gives_the_tables_that_one_after_another_gives() {
    let sandbox = sandbox().await;
    let beside = TestProject::of(&SOURCES, &sandbox, "2025-12-01").await;
    let after = TestProject::of(&SOURCES, &sandbox, "2025-12-01").await;
    // Pseudonyms are compared too.
    after.add_env(&format!(
        "TILLHOUSE_PRIVACY_KEY={}\n",
        beside.env("TILLHOUSE_PRIVACY_KEY")
    ));
    set_concurrency(&beside, 8);
    set_concurrency(&after, 1);
    for round in 0..2 {
        if round > 0 {
            sandbox.advance(Duration::from_secs(2 * 86_400)).unwrap();
        }
        let report = beside.json(&TO).await;
        assert_eq!(
            (names(&report), report["published"].as_bool()),
            (SOURCES.to_vec(), Some(true))
        );
        let mut figures = Vec::new();
        for source in SOURCES {
            let report = after.json(&["sync", source, "--to", "2026-02-01"]).await;
            figures.push(report["pipelines"][0].clone());
        }
        assert_eq!(report["pipelines"], Value::Array(figures), "round {round}");
        let (one, other) = (contents(&beside).await, contents(&after).await);
        let tables: Vec<&String> = one.iter().map(|(name, _)| name).collect();
        assert!(tables.len() > 30, "{tables:?}");
        for ((name, beside), (other, after)) in one.iter().zip(&other) {
            assert_eq!(name, other);
            assert!(beside == after, "{name} differs in round {round}");
        }
        assert_eq!(bookkeeping(&beside).await, bookkeeping(&after).await);
    }
    let order = beside.sql("SELECT DISTINCT pipelines FROM ops.runs").await;
    assert_eq!(order.len(), 1, "{order:?}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_fails_leaves_the_others_alone_and_exits_with_3() {
    let sandbox = sandbox().await;
    let project = TestProject::of(&SOURCES, &sandbox, "2025-12-01").await;
    sandbox.inject([EmulatedFault {
        status: Some(403),
        ..EmulatedFault::new(FaultKind::ServerError)
            .times(1_000_000)
            .on("/hecone/")
    }]);
    let ran = project
        .run(&["--format", "json", "sync", "--to", "2026-02-01"])
        .await;
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let report = exact_json::json(&ran.stdout, "sync");
    assert_eq!(
        (names(&report), report["published"].as_bool()),
        (SOURCES.to_vec(), Some(true))
    );
    let failure = &report["pipelines"][1]["failure"];
    assert!(
        failure["error"].as_str().unwrap().contains("403"),
        "{failure}"
    );
    assert!(ran.stderr.contains("failed: hecone: "), "{}", ran.stderr);
    let read = project
        .sql("SELECT DISTINCT source FROM transactions ORDER BY 1")
        .await;
    let read: Vec<&str> = read
        .iter()
        .map(|row| row["source"].as_str().unwrap())
        .collect();
    assert_eq!(read, ["bemo", "pace", "smartnow"]);
    let ran = project
        .run(&["sync", "--partial-ok", "--to", "2026-02-01"])
        .await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("failed: hecone: ") && ran.stderr.contains("Done in part"),
        "{}",
        ran.stderr
    );
    // Alone, it is all there is of the run.
    let ran = project
        .run(&["sync", "hecone", "--partial-ok", "--to", "2026-02-01"])
        .await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    sandbox.clear_faults();
    let ran = project.run(&TO).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        project
            .count("SELECT count(*) FROM transactions WHERE source = 'hecone'")
            .await
            > 0
    );
    sandbox.stop().await;
}

#[cfg(unix)]
mod beside_one_another {
    use super::*;
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::process::Child;

    /// A sync that is at work, and stays so.
    async fn stalled(project: &TestProject, sandbox: &Sandbox) -> Child {
        sandbox.inject([EmulatedFault {
            millis: Some(600_000),
            ..EmulatedFault::new(FaultKind::Slow)
                .times(1_000)
                .on("/hecone/transactions")
        }]);
        let child = project
            .command(&["sync", "--to", "2026-01-06"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        let pid = child.id().expect("it is running");
        let at_work = async {
            while !holds(project, pid) {
                poll.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), at_work)
            .await
            .expect("it has its lease within a minute");
        child
    }

    async fn signal(child: &Child, name: &str) {
        let id = child.id().expect("it is running").to_string();
        let sent = tokio::process::Command::new("sh")
            .args(["-c", "kill -\"$1\" \"$0\"", &id, name])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
    }

    /// The lease of the one pipeline; null where there is none yet.
    fn lease(project: &TestProject) -> Value {
        let path = project.warehouse().join("ops/leases.json");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let all: Value = serde_json::from_str(&text).unwrap_or_default();
        all["leases"][0].clone()
    }

    /// True if the lease is that process's.
    fn holds(project: &TestProject, pid: u32) -> bool {
        let lease = lease(project);
        lease["pid"] == pid && lease["released"] == false
    }

    async fn running(project: &TestProject) -> Value {
        project.json(&["status"]).await[0]["running"].take()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_second_sync_says_whose_run_is_under_way_or_leaves_it_alone() {
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let project = TestProject::new(&sandbox.hecone_url()).await;
        let mut first = stalled(&project, &sandbox).await;
        let pid = first.id().unwrap();
        let said = |ran: &CommandOutput| {
            assert!(
                ran.stderr.contains(&format!("process {pid} on ")),
                "{}",
                ran.stderr
            );
        };
        for command in ["sync", "rebuild"] {
            let ran = project.run(&[command]).await;
            assert_eq!(ran.code, Some(1), "{}", ran.stderr);
            assert!(ran.stderr.contains("--skip-if-running"), "{}", ran.stderr);
            said(&ran);
            let ran = project.run(&[command, "--skip-if-running"]).await;
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            said(&ran);
        }
        let ran = project.run(&["status"]).await;
        assert!(
            ran.stderr.contains("hecone: running now: sync "),
            "{}",
            ran.stderr
        );
        let shown = running(&project).await;
        assert_eq!(
            (exact_json::integer(&shown["pid"]), &shown["abandoned"]),
            (i64::from(pid), &Value::from(false))
        );
        // SIGTERM ends it at once, and gives the lease back.
        signal(&first, "TERM").await;
        assert_eq!(first.wait().await.unwrap().code(), Some(143));
        assert_eq!(lease(&project)["released"], true);
        assert!(running(&project).await.is_null());
        sandbox.clear_faults();
        project.sync(&["--to", "2026-01-06"]).await;
        sandbox.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sync_waits_for_another_and_takes_over_from_one_that_was_killed() {
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let project = TestProject::new(&sandbox.hecone_url()).await;
        let mut first = stalled(&project, &sandbox).await;
        let mut second = project
            .command(&["sync", "--wait", "--to", "2026-01-06"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(second.stderr.take().unwrap()).lines();
        let mut wait_for = async |text: &str| {
            let found = async {
                loop {
                    let line = said.next_line().await.unwrap();
                    if line.expect("it has more to say").contains(text) {
                        return;
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(60), found)
                .await
                .expect(text);
        };
        wait_for("is waited for").await;
        sandbox.clear_faults();
        first.kill().await.unwrap();
        assert_eq!(lease(&project)["released"], false);
        wait_for("is taken over").await;
        wait_for("published as run").await;
        assert_eq!(second.wait().await.unwrap().code(), Some(0));
        assert_eq!(lease(&project)["released"], true);
        // Killed again: whoever comes next does not wait either.
        let mut third = stalled(&project, &sandbox).await;
        third.kill().await.unwrap();
        sandbox.clear_faults();
        assert_eq!(running(&project).await["abandoned"], true);
        project.sync(&["--to", "2026-01-06"]).await;
        sandbox.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ctrl_c_gives_the_lease_back() {
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let project = TestProject::new(&sandbox.hecone_url()).await;
        let mut first = stalled(&project, &sandbox).await;
        signal(&first, "INT").await;
        assert_eq!(first.wait().await.unwrap().code(), Some(1));
        assert_eq!(lease(&project)["released"], true);
        sandbox.stop().await;
    }
}
