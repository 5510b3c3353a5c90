//! A project in which there is little or nothing yet: no sale, no day before `sync.start`, a pipeline that is not valid.
//!
//! Invariant: what is not there is empty where SQL asks for it, and what was not to be read is no gap.

use crate::project::TestProject;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

async fn synced(transactions: u64, start: &str) -> (Sandbox, TestProject) {
    let options = SandboxOptions {
        transactions,
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::of(&["hecone"], &sandbox, start).await;
    let ran = project.run(&["sync"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    (sandbox, project)
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_contracts_that_nobody_has_written_are_empty_in_sql() {
    let (sandbox, project) = synced(0, "2025-12-20").await;
    for table in [
        "transactions",
        "unified.articles",
        "payments",
        "vouchers",
        "sites",
        "counted",
        "counted_payments",
        "sales",
        "device_group_members",
        "uncounted_payments",
        "hecone.transactions",
        "latest.hecone_transactions",
    ] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(project.count(&count).await, 0, "{table}");
    }
    let rows = project
        .sql("SELECT currency, sum(amount) AS amount FROM transactions WHERE month = '2026-01' GROUP BY 1")
        .await;
    assert!(rows.is_empty(), "{rows:?}");
    let listed = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'unified' AND table_name IN
                  ('transactions', 'articles', 'payments', 'events', 'tenants', 'counted') OR table_name = 'hecone_transactions'";
    assert_eq!(project.count(listed).await, 7);
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'unified' AND table_name = 'transactions'
                   AND column_name IN ('transaction_key', 'amount', 'month', '_record_key')";
    assert_eq!(project.count(columns).await, 4);
    let missing = project.run(&["sql", "SELECT * FROM transaktions"]).await;
    assert_eq!(missing.code, Some(1), "{}", missing.stdout);
    // Statistics have nothing to say, and DuckDB is told of no table that is not there.
    let stats = project
        .run(&["stats", "--from", "2026-01-01", "--to", "2026-01-02"])
        .await;
    assert_eq!(stats.code, Some(0), "{}", stats.stderr);
    let attach = project.run(&["attach", "duckdb"]).await;
    assert_eq!(attach.code, Some(0), "{}", attach.stderr);
    assert!(!attach.stdout.contains("counted"), "{}", attach.stdout);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_before_the_start_is_no_gap() {
    let (sandbox, project) = synced(60, "2026-01-02").await;
    let window = ["--from", "2025-12-01", "--to", "2026-01-03"];
    let mut stats = vec!["stats"];
    stats.extend(window);
    let ran = project.run(&stats).await;
    let said = "before sync.start, not read: transactions of hecone, from 2025-12-01";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
    let command = "tillhouse sync hecone --from 2025-12-01T00:00:00Z --to 2026-01-02T00:00:00Z";
    assert!(ran.stdout.contains(command), "{}", ran.stdout);
    assert!(ran.stdout.contains("no gaps"), "{}", ran.stdout);
    stats.extend(["--format", "json"]);
    let meta = &project.json(&stats).await["meta"];
    assert_eq!(meta["gaps"], serde_json::json!([]), "{meta}");
    assert_eq!(meta["before_start"][0]["to"], "2026-01-02T00:00:00Z");
    // Nor was anything of the window that growth is measured against.
    assert_eq!(meta["compared_unread"][0]["to"], "2025-12-01T00:00:00Z");

    let reconcile = ["reconcile", "--from", "2025-12-01", "--to", "2025-12-03"];
    let ran = project.run(&reconcile).await;
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    for said in [
        "which lies before its sync.start. To read that: `tillhouse sync hecone --from 2025-12-01T00:00:00Z --to 2025-12-03T00:00:00Z`.",
        "not compared, since it lies before the sync.start of transactions.",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("never read"), "{}", ran.stdout);

    // Once it is asked for, it is there.
    let sync = [
        "sync",
        "hecone",
        "--from",
        "2025-12-01T00:00:00Z",
        "--to",
        "2026-01-02T00:00:00Z",
    ];
    assert_eq!(project.run(&sync).await.code, Some(0));
    let meta = &project.json(&stats).await["meta"];
    assert!(meta.get("before_start").is_none(), "{meta}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_the_pipelines_that_are_valid() {
    let (sandbox, project) = synced(20, "2025-12-20").await;
    let torn = project.path().join("pipelines/torn");
    std::fs::create_dir_all(&torn).unwrap();
    std::fs::write(torn.join("pipeline.yaml"), "source: hecone\nfoo: 1\n").unwrap();
    let ran = project.run(&["status"]).await;
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stdout.contains("hecone"), "{}", ran.stdout);
    assert!(ran.stderr.contains("failed: torn: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("`foo`"), "{}", ran.stderr);
    let ran = project.run(&["status", "torn"]).await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    sandbox.stop().await;
}
