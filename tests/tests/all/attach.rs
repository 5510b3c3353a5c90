//! Other readers of a warehouse: the script that `attach` prints, and the lines that README.md has for them.
//!
//! Invariant: what they give is compared with `stats` of the same window, to the last digit, and what is run is what is printed.

use crate::project::TestProject;
use crate::rollups::origin;
use crate::{exact_json, python, source_files};
use serde_json::Value;
use std::sync::Arc;
use tillhouse_lake::{Warehouse, WarehouseLocation};
use tillhouse_model::contract;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const SOURCES: [&str; 4] = ["bemo", "hecone", "pace", "smartnow"];
/// The window of README's queries.
const WINDOW: [&str; 4] = ["--from", "2026-01-01", "--to", "2026-02-01"];

async fn synced(to: &str) -> (Sandbox, TestProject) {
    let options = SandboxOptions {
        transactions: 600,
        smartnow_sales: Some(300),
        bemo_sessions: Some(80),
        pace_transactions: Some(120),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::of(&SOURCES, &sandbox, "2026-01-01").await;
    project.json(&["sync", "--to", to]).await;
    (sandbox, project)
}

fn readme() -> String {
    std::fs::read_to_string(source_files::root().join("README.md")).unwrap()
}

/// README's query of `counted`.
fn query() -> String {
    let readme = readme();
    let block = readme.split("```sql\n").nth(1).expect("a block of SQL");
    block.split("```").next().unwrap().to_owned()
}

/// A number without trailing zeros.
fn plain(value: &Value) -> String {
    let text = value.as_str().expect("a number as text");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    }
}

/// Figures of `stats` for the window: currency, count and amount of those that have sales.
async fn stats(project: &TestProject) -> Vec<[String; 3]> {
    let report = project.json(&[&["stats"], &WINDOW[..]].concat()).await;
    let number = |value: &Value| exact_json::number(value).expect("a number").to_string();
    let entries = report["data"].as_array().unwrap().iter().map(|entry| {
        [
            entry["currency"].as_str().unwrap().to_owned(),
            exact_json::integer(&entry["transactions_count"]["value"]).to_string(),
            plain(&Value::String(number(
                &entry["transactions_total_amount"]["value"],
            ))),
        ]
    });
    let entries: Vec<_> = entries.filter(|entry| entry[1] != "0").collect();
    assert!(entries.len() > 1, "several currencies: {report}");
    entries
}

fn rows(found: &Value, names: [&str; 3]) -> Vec<[String; 3]> {
    let row = |row: &Value| {
        [
            row[names[0]].as_str().unwrap().to_owned(),
            plain(&row[names[1]]),
            plain(&row[names[2]]),
        ]
    };
    found.as_array().unwrap().iter().map(row).collect()
}

/// The script, in a file beside the project's.
async fn script(project: &TestProject, name: &str) -> String {
    let ran = project.run(&["attach", "duckdb"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let file = project.path().join(name);
    std::fs::write(&file, &ran.stdout).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_gives_what_stats_gives_and_a_script_stays_with_its_run() {
    let (sandbox, project) = synced("2026-01-04").await;
    let then = stats(&project).await;
    let first = script(&project, "first.sql").await;
    project.json(&["sync", "--to", "2026-01-20"]).await;
    project.json(&["rebuild"]).await;
    let now = stats(&project).await;
    assert_ne!(then, now, "the second sync brings sales");
    let second = script(&project, "second.sql").await;
    let names = ["currency", "transactions", "amount"];
    for (script, expected) in [(&first, &then), (&second, &now)] {
        let found = python::json("attached.py", [script.as_str(), ":memory:", &query()]).await;
        assert_eq!(&rows(&found[0], names), expected, "{script}");
    }

    // The views and their columns are those of `sql`, and so is what they hold.
    let mut queries = Vec::new();
    for view in [
        "counted",
        "counted_articles",
        "counted_payments",
        "uncounted_payments",
        "sales",
    ] {
        queries.push(format!("SELECT count(*) AS n FROM {view}"));
    }
    let by = [
        "SELECT currency, business_month, iso_week, local_hour, site_name, count(*) AS n, CAST(sum(amount) AS VARCHAR) AS amount FROM counted GROUP BY ALL ORDER BY ALL",
        "SELECT currency, unit_measure, article_name, tenant_name, CAST(sum(quantity) AS VARCHAR) AS quantity FROM counted_articles GROUP BY ALL ORDER BY ALL",
        "SELECT currency, method, type, medium, scheme, entry_mode, \"function\", CAST(sum(amount) AS VARCHAR) AS amount FROM counted_payments GROUP BY ALL ORDER BY ALL",
        "SELECT why, CAST(sum(amount) AS VARCHAR) AS amount FROM uncounted_payments GROUP BY ALL ORDER BY ALL",
    ];
    queries.extend(by.map(str::to_owned));
    let database = project.path().join("tillhouse.db");
    let mut arguments = vec![second.clone(), database.to_str().unwrap().to_owned()];
    arguments.extend(queries.iter().cloned());
    let found = python::json("attached.py", arguments).await;
    for (query, found) in queries.iter().zip(found.as_array().unwrap()) {
        let query = query.replace(" ORDER BY ALL", "");
        let text = |rows: &[Value]| {
            let mut lines: Vec<String> = rows
                .iter()
                .map(|row| {
                    let cells = row.as_object().unwrap().values();
                    let cell = |cell: &Value| match cell {
                        Value::Null => "null".to_owned(),
                        Value::String(text) => text.trim_start_matches('#').to_owned(),
                        other => other.to_string(),
                    };
                    cells.map(cell).collect::<Vec<_>>().join(" | ")
                })
                .collect();
            lines.sort_unstable();
            lines
        };
        let ours = project.sql(&query).await;
        assert!(!ours.is_empty(), "{query}");
        assert_eq!(text(found.as_array().unwrap()), text(&ours), "{query}");
    }
    sandbox.stop().await;
}

/// A rebuild of a pipeline by a process that is killed in its middle: one of its unified tables is empty already.
async fn rebuild_and_kill(project: &TestProject, pipeline: &str) {
    let file = source_files::root().join("schemas/unified/transactions.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let spec = contract::parse(&text, "transactions.yaml").unwrap();
    let location = WarehouseLocation::new(project.warehouse().display().to_string());
    let warehouse = Warehouse::open(&location).await.unwrap();
    let table = warehouse.unified_table(Arc::new(spec));
    table.clear(pipeline, "killed").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_has_half_done_is_not_shown() {
    let (sandbox, project) = synced("2026-01-04").await;
    let hecone = "SELECT count(*) FROM counted WHERE source = 'hecone'";
    let pinned = "SELECT pinned FROM ops.runs ORDER BY number DESC NULLS LAST LIMIT 1";
    let before = project.count(hecone).await;
    assert!(before > 0);
    rebuild_and_kill(&project, "hecone").await;
    project
        .json(&["sync", "bemo", "pace", "--to", "2026-01-10"])
        .await;
    let of_run = project.sql(pinned).await[0]["pinned"].to_string();
    assert!(of_run.contains("hecone"), "{of_run}");
    let report = project.json(&[&["stats"], &WINDOW[..]].concat()).await;
    assert_eq!(origin(&report), "levels");
    let names = ["currency", "transactions", "amount"];
    for is_whole in [false, true] {
        if is_whole {
            project
                .json(&["sync", "hecone", "--to", "2026-01-04"])
                .await;
            assert!(project.sql(pinned).await[0]["pinned"].is_null());
        }
        assert_eq!(project.count(hecone).await, before);
        let script = script(&project, "pinned.sql").await;
        let found = python::json("attached.py", [script.as_str(), ":memory:", &query()]).await;
        assert_eq!(rows(&found[0], names), stats(&project).await);
    }
    let checked = project.run(&["check", "--warehouse"]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_readme_run_and_a_glob_is_what_it_warns_of() {
    let (sandbox, project) = synced("2026-01-10").await;
    project.json(&["rebuild"]).await;
    let readme = source_files::root().join("README.md");
    let warehouse = project.warehouse();
    let found = python::json("readme_readers.py", [readme.as_path(), warehouse.as_path()]).await;
    let all = project.count("SELECT count(*) FROM transactions").await;
    for reader in ["duckdb", "polars", "pyarrow"] {
        assert_eq!(found[reader], all, "{reader}");
    }
    assert_eq!(found["glob"], 2 * all, "after one rebuild");
    let noted = project
        .sql(
            "SELECT column_name AS name, description, unit FROM information_schema.columns \
             WHERE table_schema = 'unified' AND table_name = 'transactions'",
        )
        .await;
    for column in noted {
        let name = column["name"].as_str().unwrap();
        let comment = found["comments"][name].as_str().unwrap_or_default();
        let description = column["description"].as_str().unwrap();
        assert!(comment.starts_with(description), "{name}: {comment}");
        if let Some(unit) = column["unit"].as_str() {
            assert!(comment.contains(unit), "{name}: {comment}");
        }
    }
    let names = ["currency", "len", "amount"];
    assert_eq!(rows(&found["counted"], names), stats(&project).await);
    let ours = project
        .sql("SELECT currency, count(*) AS n, sum(amount) AS amount FROM counted GROUP BY currency ORDER BY currency")
        .await;
    assert_eq!(ours.len(), found["counted"].as_array().unwrap().len());
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_attached_is_told() {
    let (sandbox, project) = synced("2026-01-02").await;
    for (arguments, word, code) in [
        (&["attach"][..], "<ENGINE>", 2),
        (&["attach", "sqlite"], "duckdb", 2),
        (
            &["attach", "duckdb", "--as-of", "2020-01-01"],
            "nothing had been published",
            1,
        ),
    ] {
        let ran = project.run(arguments).await;
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(word), "{arguments:?}: {}", ran.stderr);
    }
    sandbox.stop().await;
}
