//! Warehouses in object stores: the whole way against SeaweedFS and Azurite, writers that race, a store that dies, and what a wrong configuration
//! is answered with.
//!
//! Invariant: where a warehouse stands makes no difference to what is in it: every figure is compared with that of a folder's.

mod bad_input;
mod large_files;
mod servers;
mod unconditional_store;

use crate::project::TestProject;
use crate::{exact_json, python, source_truth};
use serde_json::Value;
use servers::{CloudPlace, ObjectStoreServer, azurite, seaweedfs};
use std::path::Path;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const SOURCES: [&str; 4] = ["bemo", "hecone", "pace", "smartnow"];

async fn sandbox(transactions: u64) -> Sandbox {
    let options = SandboxOptions {
        transactions,
        smartnow_sales: Some(transactions / 4),
        bemo_sessions: Some(60),
        pace_transactions: Some(60),
        ..SandboxOptions::default()
    };
    Sandbox::start(options).await.unwrap()
}

/// Everything of a warehouse that a user may look at, as text.
async fn answers(project: &TestProject) -> Vec<String> {
    let mut found = Vec::new();
    for table in [
        "transactions",
        "articles",
        "payments",
        "sites",
        "devices",
        "products",
        "tenants",
    ] {
        let rows = project
            .sql(&format!("SELECT count(*) AS n FROM {table}"))
            .await;
        found.push(format!("{table}: {rows:?}"));
    }
    let sums = "SELECT pipeline, currency, count(*) AS n, sum(amount) AS amount FROM transactions GROUP BY pipeline, currency ORDER BY pipeline, currency";
    found.push(format!("{:?}", project.sql(sums).await));
    let sums = "SELECT pipeline, method, currency, sum(amount) AS amount FROM payments GROUP BY pipeline, method, currency ORDER BY pipeline, method, currency";
    found.push(format!("{:?}", project.sql(sums).await));
    let stats = project
        .json(&["stats", "--from", "2026-01-01", "--to", "2026-01-06"])
        .await;
    found.push(stats["data"].to_string());
    found
}

/// From an empty bucket to strangers who read it.
async fn whole_way(place: &CloudPlace, server: Option<&ObjectStoreServer>, path: &str) {
    let sandbox = sandbox(800).await;
    let (project, local) = (
        TestProject::of(&SOURCES, &sandbox, "2026-01-01").await,
        TestProject::of(&SOURCES, &sandbox, "2026-01-01").await,
    );
    place.settle(&project);
    let checked = project.run(&["check"]).await;
    assert_eq!(
        checked.code,
        Some(0),
        "{}\n{}",
        checked.stdout,
        checked.stderr
    );
    assert!(
        checked
            .stdout
            .contains(&format!("ok     warehouse {}", place.url)),
        "{}",
        checked.stdout
    );
    if let Some(server) = server {
        let (names, uploads) = server.list(path).await;
        assert!(
            names.is_empty() && uploads.is_empty(),
            "check leaves nothing: {names:?} {uploads:?}"
        );
    }
    for to in ["2026-01-04", "2026-01-06"] {
        for project in [&project, &local] {
            let report = project.json(&["sync", "--to", to]).await;
            assert_eq!(report["published"], true, "{report}");
        }
        assert_eq!(answers(&project).await, answers(&local).await, "{to}");
    }
    let again = project.json(&["sync", "--to", "2026-01-06"]).await;
    for pipeline in again["pipelines"].as_array().unwrap() {
        assert_eq!(exact_json::integer(&pipeline["new"]), 0, "{again}");
    }
    let checked = project.run(&["check"]).await;
    assert_eq!(
        checked.code,
        Some(0),
        "{}\n{}",
        checked.stdout,
        checked.stderr
    );
    if let Some(server) = server {
        let (names, uploads) = server.list(path).await;
        let probes: Vec<_> = names
            .iter()
            .filter(|name| name.contains(".probe"))
            .collect();
        assert!(
            probes.is_empty() && uploads.is_empty(),
            "{probes:?} {uploads:?}"
        );
        assert!(
            names
                .iter()
                .any(|name| name.ends_with("ops/format/format.json")),
            "{names:?}"
        );
    }
    let tables = [
        "unified/transactions",
        "unified/payments",
        "unified/sites",
        "hecone/transactions",
    ];
    let mut arguments = vec![place.reader.to_string()];
    arguments.extend(tables.map(str::to_owned));
    let read = python::json("read_cloud.py", arguments).await;
    for table in tables {
        let name = table
            .strip_prefix("unified/")
            .unwrap_or(table)
            .replace('/', ".");
        let rows = project.count(&format!("SELECT count(*) FROM {name}")).await;
        let mut wanted = serde_json::json!({"rows": rows});
        if table.starts_with("unified/") && name != "sites" {
            let sum = project
                .sql(&format!(
                    "SELECT CAST(sum(amount) AS VARCHAR) AS s FROM {name}"
                ))
                .await;
            wanted["amount"] = sum[0]["s"].clone();
        }
        for reader in ["duckdb", "polars", "deltalake"] {
            assert_eq!(read[table][reader], wanted, "{table} by {reader}");
        }
    }
    attached(&project, place).await;
    sandbox.stop().await;
}

/// The script that `attach` prints, run over the store.
async fn attached(project: &TestProject, place: &CloudPlace) {
    let ran = project.run(&["attach", "duckdb"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let script = project.path().join("attached.sql");
    std::fs::write(&script, &ran.stdout).unwrap();
    let sums = "SELECT currency, CAST(count(*) AS VARCHAR) AS n, CAST(sum(amount) AS VARCHAR) AS amount FROM counted GROUP BY 1 ORDER BY 1";
    let reader = place.reader.to_string();
    let found = python::json("attached.py", [script.to_str().unwrap(), &reader, sums]).await;
    assert_eq!(
        found[0],
        Value::Array(project.sql(sums).await),
        "{}",
        ran.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_way_on_s3() {
    let server = seaweedfs().await;
    whole_way(
        &CloudPlace::s3(server, "whole/way"),
        Some(server),
        "whole/way",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_way_on_azure() {
    whole_way(
        &CloudPlace::azure(azurite().await, "whole/way"),
        None,
        "whole/way",
    )
    .await;
}

/// Compaction, vacuum and inspection of a warehouse of some days.
async fn maintained(place: &CloudPlace) {
    let sandbox = sandbox(200).await;
    let project = TestProject::of(&["hecone"], &sandbox, "2026-01-01").await;
    place.settle(&project);
    let path = project.path().join("tillhouse.yaml");
    let lines = "maintenance: off\nretention: { runs: 3d, daily: 3d, monthly: 3d, unused: 0s }\n";
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + lines).unwrap();
    for day in 2..=7 {
        let (now, to) = (
            format!("2026-01-{}T00:00:00Z", day + 10),
            format!("2026-01-0{day}"),
        );
        let ran = project.run(&["--now", &now, "sync", "--to", &to]).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    let before = answers(&project).await;
    let now = "2026-01-17T01:00:00Z";
    let compacted = project.json(&["--now", now, "compact"]).await;
    assert_ne!(compacted["tables"], serde_json::json!([]), "{compacted}");
    // Published by the next sync, the compacted files are those that commands read, and once no other run is kept the small ones go.
    let later = ["--now", "2026-01-27T00:00:00Z"];
    let ran = project
        .run(&[&later[..], &["sync", "--to", "2026-01-07"]].concat())
        .await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let vacuumed = project.json(&[&later[..], &["vacuum"]].concat()).await;
    let dropped = vacuumed["dropped_runs"].as_array().unwrap().len();
    assert_eq!(
        (dropped, vacuumed["failed"].as_array().unwrap().len()),
        (6, 0)
    );
    assert_ne!(vacuumed["tables"], serde_json::json!([]), "{vacuumed}");
    let whole = project.run(&["check", "--warehouse"]).await;
    assert_eq!(whole.code, Some(0), "{}\n{}", whole.stdout, whole.stderr);
    assert_eq!(answers(&project).await, before);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_on_s3() {
    maintained(&CloudPlace::s3(seaweedfs().await, "kept/wh")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_on_azure() {
    maintained(&CloudPlace::azure(azurite().await, "kept/wh")).await;
}

/// A pipeline for each writer, alike but for their names, in one project.
fn copy_pipeline(project: &TestProject, names: &[String]) {
    let pipelines = project.path().join("pipelines");
    for name in names {
        copy_folder(&pipelines.join("hecone"), &pipelines.join(name));
    }
    std::fs::remove_dir_all(pipelines.join("hecone")).unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Eight syncs at once into a place where nothing is yet: each makes the warehouse and its tables, and all write into the same ones.
async fn eight_writers(place: &CloudPlace) {
    let sandbox = sandbox(120).await;
    let project = TestProject::of(&["hecone"], &sandbox, "2026-01-01").await;
    place.settle(&project);
    let names: Vec<String> = (1..=8).map(|number| format!("till{number}")).collect();
    copy_pipeline(&project, &names);
    let syncs = names
        .iter()
        .map(|name| async { project.run(&["sync", name, "--to", "2026-01-06"]).await });
    for ran in futures::future::join_all(syncs).await {
        assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    }
    let records = source_truth::records(&sandbox).len() as i64;
    let rows = project
        .sql("SELECT pipeline, count(*) AS n, count(DISTINCT transaction_key) AS keys FROM transactions GROUP BY pipeline ORDER BY pipeline")
        .await;
    assert_eq!(rows.len(), names.len(), "{rows:?}");
    for (row, name) in rows.iter().zip(&names) {
        let found = (
            row["pipeline"].as_str(),
            exact_json::integer(&row["n"]),
            exact_json::integer(&row["keys"]),
        );
        assert_eq!(found, (Some(name.as_str()), records, records), "{row}");
    }
    let runs = "SELECT count(DISTINCT run_id) FROM ops.runs";
    assert_eq!(project.count(runs).await, 8);
    let again = project.json(&["sync", "--to", "2026-01-06"]).await;
    for pipeline in again["pipelines"].as_array().unwrap() {
        assert_eq!(exact_json::integer(&pipeline["new"]), 0, "{again}");
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_at_once_on_s3() {
    eight_writers(&CloudPlace::s3(seaweedfs().await, "racing/wh")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_at_once_on_azure() {
    eight_writers(&CloudPlace::azure(azurite().await, "racing/wh")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_killed_and_comes_back_loses_nothing() {
    let server = ObjectStoreServer::start("seaweedfs").await;
    let place = CloudPlace::s3(&server, "killed");
    let sandbox = sandbox(1500).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    place.settle(&project);
    let arguments = ["--format", "json", "sync", "--to", "2026-01-06"];
    let (ran, _) = tokio::join!(
        project.run(&arguments),
        server.order("restart killed/hecone/ 2")
    );
    // It waits for a store that is away for seconds. Where it gave up it says so, and the next sync goes on.
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    let report: Value = exact_json::json(&ran.stdout, "sync");
    assert_eq!(report["published"], true, "{report}");
    source_truth::assert_unified_equals(&project, &sandbox, "after the store came back").await;
    let again = project.sync(&["--to", "2026-01-06"]).await;
    assert_eq!(exact_json::integer(&again["new"]), 0, "{again}");
    let checked = project.run(&["check"]).await;
    assert_eq!(
        checked.code,
        Some(0),
        "{}\n{}",
        checked.stdout,
        checked.stderr
    );
    sandbox.stop().await;
}
