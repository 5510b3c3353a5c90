//! `tillhouse demo`, as somebody runs it who has never seen the program.
//!
//! Invariant: what is printed fits on two screens, and the warehouse that stays has what tills have beside plain sales.

use crate::program::{command, run};
use serde_json::Value;
use std::collections::BTreeSet;

/// Lines of two screens.
const TWO_SCREENS: usize = 80;

#[tokio::test]
async fn the_demo_fits_on_two_screens_and_shows_what_the_program_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let dir = dir.to_str().unwrap();
    let output = run(command(["demo", "--transactions", "4000", "--dir", dir])).await;
    let (stdout, stderr) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let lines = stdout.lines().count() + stderr.lines().count();
    assert!(lines <= TWO_SCREENS, "{lines} lines:\n{stderr}\n{stdout}");
    for part in [
        "tillhouse sync",
        "tillhouse restated --since",
        "tillhouse stats --from",
        "What to try next",
    ] {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
    for part in [
        "difference",
        "site ",
        "payment method ",
        "article ",
        "no gaps; run",
    ] {
        assert!(stdout.contains(part), "{part} is not in {stdout}");
    }

    let sql = async |query: &str| -> Vec<Value> {
        let output = run(command([
            "sql",
            "--project",
            dir,
            "--format",
            "json",
            query,
        ]))
        .await;
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{query}: {e}: {text}"))
    };
    let runs = sql("SELECT run_id FROM ops.runs WHERE published").await;
    assert_eq!(runs.len(), 2);

    let kinds = sql("SELECT source, kind FROM transactions GROUP BY 1, 2").await;
    for (source, kind) in [
        ("hecone", "refund"),
        ("hecone", "free"),
        ("smartnow", "test"),
        ("smartnow", "void"),
        ("smartnow", "refund"),
    ] {
        let is_there = |row: &Value| row["source"] == source && row["kind"] == kind;
        assert!(
            kinds.iter().any(is_there),
            "{source} has no {kind}: {kinds:?}"
        );
    }
    // What sources mean alike is one label, whatever each of them calls it.
    for label in ["type", "medium"] {
        let words = sql(&format!(
            "SELECT DISTINCT {label} AS word FROM payments WHERE {label} IS NOT NULL ORDER BY 1"
        ))
        .await;
        let words: Vec<&str> = words
            .iter()
            .filter_map(|row| row["word"].as_str())
            .collect();
        let folded: BTreeSet<String> = words.iter().map(|word| word.to_lowercase()).collect();
        assert_eq!(folded.len(), words.len(), "{label}: {words:?}");
        assert!(words.contains(&"Card"), "{label}: {words:?}");
        assert!(words.contains(&"Cash"), "{label}: {words:?}");
    }
    let rejects = sql("SELECT DISTINCT field FROM ops.rejects WHERE resolved_at IS NULL").await;
    assert!(!rejects.is_empty());
    let names = sql(
        "SELECT count(DISTINCT site['name']) AS names FROM hecone.transactions GROUP BY site_id ORDER BY 1 DESC LIMIT 1",
    )
    .await;
    assert_eq!(names[0]["names"], 2, "a site was renamed");

    let silent = sql(
        "SELECT table_schema, table_name, column_name FROM information_schema.columns WHERE description IS NULL",
    )
    .await;
    assert!(silent.is_empty(), "nobody says what these mean: {silent:?}");
    let described = run(command(["describe", "--project", dir, "counted"])).await;
    let described = String::from_utf8(described.stdout).unwrap();
    assert!(
        described.contains("One transaction that the statistics count"),
        "{described}"
    );
    let nested = run(command([
        "describe",
        "--project",
        dir,
        "hecone.transactions",
        "--format",
        "json",
    ]))
    .await;
    let nested: Value = serde_json::from_slice(&nested.stdout).unwrap();
    let columns = nested["columns"].as_array().unwrap();
    assert!(
        columns
            .iter()
            .any(|column| column["column"] == "articles.unit_price"),
        "{nested}"
    );
    let typo = run(command(["describe", "--project", dir, "countde"])).await;
    let typo_text = String::from_utf8(typo.stderr).unwrap();
    assert_eq!(typo.status.code(), Some(1), "{typo_text}");
    assert!(typo_text.contains("Did you mean counted?"), "{typo_text}");
}
