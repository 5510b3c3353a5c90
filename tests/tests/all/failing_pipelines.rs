//! A pipeline that cannot be run, or fails half way: the others go on, it is named with its reason, and readers see none of it by halves.
//!
//! Invariant: what a failure leaves behind is what the run before published, or all that came.

use crate::exact_json;
use crate::project::{CommandOutput, TestProject};
use std::time::Duration;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const SYNC: [&str; 5] = ["--format", "json", "sync", "--to", "2026-02-01"];
/// Key of articles in the statement of HecOne's.
const ARTICLE_KEY: &str = "concat($pipeline, ':', t.id, '/', t.line_number) ";

async fn two_pipelines() -> (Sandbox, TestProject) {
    let options = SandboxOptions {
        transactions: 200,
        pace_transactions: Some(100),
        clock: "2026-01-04T00:00:00Z".parse().unwrap(),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::of(&["hecone", "pace"], &sandbox, "2025-12-01").await;
    (sandbox, project)
}

/// Replaces a part of a file of the project.
fn change(project: &TestProject, file: &str, old: &str, new: &str) {
    let path = project.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "{file}: {text}");
    std::fs::write(&path, text.replace(old, new)).unwrap();
}

/// The reason for which `hecone` failed; that `pace` did not.
fn reason(ran: &CommandOutput) -> String {
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let report = exact_json::json(&ran.stdout, "sync");
    assert_eq!(report["published"], true);
    let (hecone, pace) = (&report["pipelines"][0], &report["pipelines"][1]);
    assert_eq!(
        (hecone["pipeline"].as_str(), pace["pipeline"].as_str()),
        (Some("hecone"), Some("pace"))
    );
    assert!(pace["failure"].is_null(), "{pace}");
    assert!(ran.stderr.contains("failed: hecone: "), "{}", ran.stderr);
    hecone["failure"]["error"].as_str().unwrap().to_owned()
}

async fn transactions(project: &TestProject, source: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM transactions WHERE source = '{source}'");
    project.count(&sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_one_pipeline_is_named_and_keeps_the_others_from_nothing() {
    let (sandbox, project) = two_pipelines().await;
    let ejected = project.run(&["eject", "hecone"]).await;
    assert_eq!(ejected.code, Some(0), "{}", ejected.stderr);
    let (statement, contract, pipeline) = (
        "pipelines/hecone/unify/articles.sql",
        "schemas/hecone/transactions.yaml",
        "pipelines/hecone/pipeline.yaml",
    );
    for (file, old, new, expected) in [
        (
            statement,
            "FROM transactions",
            "FROM nowhere",
            "articles.sql",
        ),
        (contract, "value: 45d", "value: often", "transactions.yaml"),
        (pipeline, "lookback: 3d", "lookback: often", "pipeline.yaml"),
    ] {
        change(&project, file, old, new);
        let error = reason(&project.run(&SYNC).await);
        assert!(error.contains(expected), "{file}: {error}");
        assert_eq!(transactions(&project, "hecone").await, 0);
        assert!(transactions(&project, "pace").await > 0);
        let run = project
            .sql("SELECT outcome FROM ops.runs ORDER BY finished_at DESC LIMIT 1")
            .await;
        assert_eq!(run[0]["outcome"], "partial");
        // Alone, it is all there is to run.
        let alone = project.run(&["sync", "hecone"]).await;
        assert_eq!(alone.code, Some(2), "{}", alone.stderr);
        assert!(alone.stderr.contains(expected), "{}", alone.stderr);
        change(&project, file, new, old);
    }
    project.sync(&["--to", "2026-02-01"]).await;
    assert!(transactions(&project, "hecone").await > 0);
    // A file that all pipelines need, and that cannot be read, is an error as before.
    change(&project, "tillhouse.yaml", "warehouse:", "warehouses:");
    let ran = project.run(&SYNC).await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_fails_half_way_through_unify_is_shown_as_the_run_before_left_it() {
    let (sandbox, project) = two_pipelines().await;
    let statement = "pipelines/hecone/unify/articles.sql";
    let broken = format!("CASE WHEN t.line_number > 0 THEN NULL ELSE {ARTICLE_KEY} END ");
    let ejected = project.run(&["eject", "hecone"]).await;
    assert_eq!(ejected.code, Some(0), "{}", ejected.stderr);
    let lonely = "SELECT count(*) FROM transactions t LEFT ANTI JOIN articles a ON a.transaction_key = t.transaction_key";
    // The first run of all: nothing of it is there, and everything of the other.
    change(&project, statement, ARTICLE_KEY, &broken);
    let error = reason(&project.run(&SYNC).await);
    assert!(error.contains("articles"), "{error}");
    assert_eq!(transactions(&project, "hecone").await, 0);
    let of_pace = transactions(&project, "pace").await;
    assert!(of_pace > 0);
    // A monitor is told of it, though a run of it was published just now.
    let told = project.run(&["status", "--max-age", "2h"]).await;
    assert_eq!(told.code, Some(1), "{}", told.stderr);
    let never = "nothing of hecone was ever published";
    assert!(told.stderr.contains(never), "{}", told.stderr);
    // Mended, it is as if it had never failed.
    change(&project, statement, &broken, ARTICLE_KEY);
    project.sync(&["--to", "2026-02-01"]).await;
    let (of_hecone, alone) = (
        transactions(&project, "hecone").await,
        project.count(lonely).await,
    );
    assert!(of_hecone > 0);
    // With something published before.
    change(&project, statement, ARTICLE_KEY, &broken);
    sandbox.advance(Duration::from_secs(2 * 86_400)).unwrap();
    reason(&project.run(&SYNC).await);
    assert_eq!(transactions(&project, "hecone").await, of_hecone);
    assert!(transactions(&project, "pace").await > of_pace);
    assert_eq!(
        project
            .count(&format!("{lonely} WHERE t.source = 'hecone'"))
            .await,
        alone
    );
    change(&project, statement, &broken, ARTICLE_KEY);
    project.sync(&["--to", "2026-02-01"]).await;
    assert!(transactions(&project, "hecone").await > of_hecone);
    // The increments gave what a rebuild gives.
    let rows =
        "SELECT article_key, transaction_key, quantity, amount FROM articles ORDER BY article_key";
    let increments = project.sql(rows).await;
    let rebuilt = project.run(&["rebuild"]).await;
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.stderr);
    assert_eq!(project.sql(rows).await, increments);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_fails_is_taken_back_also_for_the_run_of_another_pipeline_that_publishes_next()
 {
    let (sandbox, project) = two_pipelines().await;
    let statement = "pipelines/hecone/unify/articles.sql";
    let broken = format!("CASE WHEN t.line_number > 0 THEN NULL ELSE {ARTICLE_KEY} END ");
    let ejected = project.run(&["eject", "hecone"]).await;
    assert_eq!(ejected.code, Some(0), "{}", ejected.stderr);
    project.sync(&["--to", "2026-02-01"]).await;
    let rows = async || {
        let mut rows = Vec::new();
        for sql in [
            "SELECT transaction_key, amount, state FROM transactions ORDER BY transaction_key",
            "SELECT article_key, transaction_key, quantity, amount FROM articles ORDER BY article_key",
            "SELECT payment_key, transaction_key, amount FROM payments ORDER BY payment_key",
            "SELECT site_key, name FROM sites ORDER BY site_key",
        ] {
            rows.push(project.sql(sql).await);
        }
        rows
    };
    let before = rows().await;
    assert!(before.iter().all(|rows| !rows.is_empty()));
    change(&project, statement, ARTICLE_KEY, &broken);
    for again in ["rebuild", "rebuild --wait"] {
        let arguments: Vec<&str> = again.split(' ').collect();
        let failed = project.run(&arguments).await;
        assert_eq!(failed.code, Some(1), "{}", failed.stderr);
        assert!(failed.stderr.contains("articles"), "{}", failed.stderr);
        assert_eq!(rows().await, before);
        // It publishes what the tables hold now.
        project.sync(&["pace", "--to", "2026-02-01"]).await;
        assert_eq!(rows().await, before);
    }
    // A sync of the pipeline finds nothing to be caught up with.
    change(&project, statement, &broken, ARTICLE_KEY);
    project.sync(&["--to", "2026-02-01"]).await;
    assert_eq!(rows().await, before);
    let rebuilt = project.run(&["rebuild"]).await;
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.stderr);
    assert_eq!(rows().await, before);
    sandbox.stop().await;
}
