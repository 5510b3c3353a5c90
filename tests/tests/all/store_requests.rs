//! How many requests a command makes of the store: each costs money, and tens of milliseconds.
//!
//! Invariant: counted by the warehouse itself, under the tables; reads of data files are beside the budgets.

use crate::project::TestProject;
use std::collections::BTreeMap;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const SOURCES: [&str; 4] = ["bemo", "hecone", "pace", "smartnow"];

/// The counts of the newest run.
async fn counts(project: &TestProject) -> BTreeMap<String, u64> {
    let rows = project
        .sql("SELECT counts FROM ops.runs ORDER BY finished_at DESC LIMIT 1")
        .await;
    serde_json::from_str(rows[0]["counts"].as_str().unwrap()).unwrap()
}

/// Requests beside the reads of data files.
fn requests(counts: &BTreeMap<String, u64>) -> u64 {
    let of = |name: &str| counts[name];
    of("store_gets") - of("store_data_gets")
        + of("store_heads")
        + of("store_lists")
        + of("store_puts")
        + of("store_deletes")
}

#[tokio::test]
async fn a_sync_that_finds_nothing_new_asks_little_of_the_store_and_writes_less() {
    let options = SandboxOptions {
        transactions: 300,
        smartnow_sales: Some(300),
        bemo_sessions: Some(200),
        pace_transactions: Some(200),
        clock: "2026-03-10T12:00:00Z".parse().unwrap(),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::of(&SOURCES, &sandbox, "2026-03-01").await;
    project.sync(&[]).await;
    project.sync(&[]).await;
    project.sync(&[]).await;
    let counts = counts(&project).await;
    assert!(requests(&counts) <= 100, "{counts:?}");
    assert!(counts["store_puts"] <= 12, "{counts:?}");
}
