//! The queries of docs/recipes.md, asked of the demo's warehouse.
//!
//! Invariant: each runs as it stands on the page and finds something, but for those that look for what should not be there; DuckDB gives the same values.

use crate::program::{binary, command, run};
use crate::{python, source_files};
use serde_json::Value;

/// The least number of queries that the page has.
const FEWEST: usize = 60;
/// Questions whose answer may be that there is nothing.
const MAY_FIND_NOTHING: &[&str] = &[
    "Where is the tax not what the rate says?",
    "Which sites have sold nothing in the last three days?",
    "Which terminals have gone quiet?",
    "What was odd about records that did?",
    "Are there sales that may have been told twice?",
    "Are there gaps between the slices that were read?",
];

/// Questions and queries of the page.
pub(crate) fn recipes() -> Vec<(String, String)> {
    let page = std::fs::read_to_string(source_files::root().join("docs/recipes.md")).unwrap();
    let sections = page.split("\n### ").skip(1);
    let recipe = |section: &str| {
        let question = section.lines().next().unwrap().to_owned();
        let blocks: Vec<&str> = section.split("```sql\n").skip(1).collect();
        assert_eq!(blocks.len(), 1, "{question} has one query");
        let (query, _) = blocks[0].split_once("\n```").expect("a block that ends");
        (question, query.to_owned())
    };
    sections.map(recipe).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recipe_runs_and_duckdb_gives_the_same() {
    let recipes = recipes();
    assert!(recipes.len() >= FEWEST, "{}", recipes.len());
    let mut questions: Vec<&str> = recipes.iter().map(|(question, _)| &**question).collect();
    questions.sort_unstable();
    questions.dedup();
    assert_eq!(
        questions.len(),
        recipes.len(),
        "each has a question of its own"
    );

    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let dir = dir.to_str().unwrap();
    let made = run(command(["demo", "--transactions", "4000", "--dir", dir])).await;
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let file = folder.path().join("recipes.sql");
    let queries = recipes
        .iter()
        .map(|(question, query)| format!("-- {question}\n{query};\n"));
    std::fs::write(&file, queries.collect::<String>()).unwrap();
    let file = file.to_str().unwrap();
    let asked = ["--project", dir, "--format", "json", "sql", "-f", file];
    let output = run(command(asked)).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let results: Vec<Vec<Value>> = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(results.len(), recipes.len());
    for ((question, query), rows) in recipes.iter().zip(&results) {
        let may_be_empty = MAY_FIND_NOTHING.contains(&&**question);
        assert!(may_be_empty || !rows.is_empty(), "{question}\n{query}");
    }

    let binary = binary();
    let arguments = [
        "--binary",
        binary.to_str().unwrap(),
        "--project",
        dir,
        "--runs",
        "0",
    ];
    let compared = python::script("../../bench/sql.py", arguments).await;
    let said = String::from_utf8_lossy(&compared.stdout);
    let failed = String::from_utf8_lossy(&compared.stderr);
    assert!(compared.status.success(), "{said}\n{failed}");
    assert!(said.contains("PASS  values: 0 of"), "{said}");
}
