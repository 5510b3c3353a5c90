//! Requests that a command makes of the store: each costs money, and tens of milliseconds.
//!
//! Invariant: counted by the warehouse itself, under the tables; reads of data files are beside the budgets.

use crate::project::TestProject;
use std::collections::BTreeMap;
use std::time::Duration;
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

/// Requests of a command that reads, beside the reads of data files, as it says them itself.
async fn asked(project: &TestProject, arguments: &[&str]) -> u64 {
    let mut all = vec!["-v"];
    all.extend(arguments);
    let ran = project.run(&all).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let line = ran
        .stderr
        .lines()
        .find(|line| line.contains("requests to the store"))
        .unwrap_or_else(|| panic!("{}", ran.stderr));
    let number = |before: &str| -> u64 {
        let until = line.find(before).unwrap_or_else(|| panic!("{line}"));
        let words = line[..until].trim_end().rsplit([' ', '(']);
        words.into_iter().next().unwrap().parse().unwrap()
    };
    number("requests to the store") - number("of data files")
}

#[tokio::test]
async fn commands_ask_little_of_the_store() {
    let options = SandboxOptions {
        transactions: 800,
        smartnow_sales: Some(900),
        bemo_sessions: Some(400),
        pace_transactions: Some(500),
        clock: "2026-01-05T00:00:00Z".parse().unwrap(),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::of(&SOURCES, &sandbox, "2026-01-01").await;
    project.sync(&[]).await;
    project.sync(&[]).await;
    let nothing_new = counts(&project).await;
    // docs/storage.md has these figures.
    assert!(requests(&nothing_new) <= 100, "{nothing_new:?}");
    assert!(nothing_new["store_puts"] <= 12, "{nothing_new:?}");
    assert_eq!(nothing_new["store_source_gets"], 0, "{nothing_new:?}");

    sandbox.advance(Duration::from_secs(900)).unwrap();
    project.sync(&[]).await;
    let quarter = counts(&project).await;
    assert!(requests(&quarter) <= 250, "{quarter:?}");

    let month = ["stats", "--from", "2026-01-01", "--to", "2026-02-01"];
    let of_month = asked(&project, &month).await;
    assert!(of_month <= 25, "{of_month}");
    let one_table = asked(&project, &["sql", "SELECT count(*) FROM sites"]).await;
    assert!(one_table <= 10, "{one_table}");
}
