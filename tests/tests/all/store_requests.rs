//! Requests that a command makes of the store: each costs money, and tens of milliseconds.
//!
//! Invariant: counted by the warehouse itself, under the tables; reads of data files are beside the budgets.

use crate::project::TestProject;
use std::collections::BTreeMap;
use std::time::Duration;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const SOURCES: [&str; 4] = ["bemo", "hecone", "pace", "smartnow"];

/// Requests of a command from its start to its end, as it says them itself.
struct CountedCommand {
    /// All but the reads of data files.
    beside_data: u64,
    writes: u64,
}

async fn asked(project: &TestProject, arguments: &[&str]) -> CountedCommand {
    let mut all = vec!["-v"];
    all.extend(arguments);
    let ran = project.run(&all).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let line = ran
        .stderr
        .lines()
        .rfind(|line| line.contains("requests to the store"))
        .unwrap_or_else(|| panic!("{}", ran.stderr));
    let number = |before: &str| -> u64 {
        let until = line.find(before).unwrap_or_else(|| panic!("{line}"));
        let words = line[..until].trim_end().rsplit([' ', '(']);
        words.into_iter().next().unwrap().parse().unwrap()
    };
    CountedCommand {
        beside_data: number("requests to the store") - number("of data files"),
        writes: number("writes"),
    }
}

/// Counts of the newest run, as its record has them.
async fn recorded(project: &TestProject) -> BTreeMap<String, u64> {
    let rows = project
        .sql("SELECT counts FROM ops.runs ORDER BY finished_at DESC LIMIT 1")
        .await;
    serde_json::from_str(rows[0]["counts"].as_str().unwrap()).unwrap()
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
    // The second one still keeps what it learnt of the records of the first.
    project.sync(&[]).await;
    project.sync(&[]).await;
    let nothing_new = asked(&project, &["sync"]).await;
    // docs/storage.md has these figures.
    assert!(
        nothing_new.beside_data <= 100,
        "{}",
        nothing_new.beside_data
    );
    // Leases taken and given back, the ledger's rows and their commit, its coverage, the run and its commit, and the note of it.
    assert!(nothing_new.writes <= 8, "{}", nothing_new.writes);
    // Leases are given back, and the run is noted, after its record.
    let record = recorded(&project).await;
    assert!(record["store_puts"] < nothing_new.writes, "{record:?}");
    assert_eq!(record["store_source_gets"], 0, "{record:?}");

    sandbox.advance(Duration::from_secs(900)).unwrap();
    let quarter = asked(&project, &["sync"]).await;
    assert!(quarter.beside_data <= 250, "{}", quarter.beside_data);

    let month = ["stats", "--from", "2026-01-01", "--to", "2026-02-01"];
    let of_month = asked(&project, &month).await;
    assert!(of_month.beside_data <= 25, "{}", of_month.beside_data);
    let one_table = asked(&project, &["sql", "SELECT count(*) FROM sites"]).await;
    assert!(one_table.beside_data <= 10, "{}", one_table.beside_data);
    assert_eq!((of_month.writes, one_table.writes), (0, 0));
}
