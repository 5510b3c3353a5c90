//! Every example of docs/functions.md, and of the table of functions in docs/sql.md, run as it stands: what is said is what comes out.
//!
//! Invariant: a function that is not shown in the document fails the test, and so does an example that gives something else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use tillhouse_query::{FunctionKind, QueryEngine, QueryEngineOptions, QueryParameters, collect};

const DOCUMENT: &str = include_str!("../../../docs/functions.md");
const GUIDE: &str = include_str!("../../../docs/sql.md");

/// The rows of the guide's table: name, query, answer.
fn listed() -> Vec<(&'static str, &'static str, &'static str)> {
    let row = |line: &'static str| {
        let (name, rest) = line.strip_prefix("| ")?.split_once(" | `")?;
        let (sql, answer) = rest.split_once("` | ")?;
        let is_query = sql.starts_with("SELECT ") || sql.starts_with("FROM ");
        is_query.then_some((name, sql, answer.strip_suffix(" |")?))
    };
    GUIDE.lines().filter_map(row).collect()
}

fn examples() -> Vec<(String, String)> {
    DOCUMENT
        .split("```sql\n")
        .skip(1)
        .map(|rest| {
            let block = rest.split("```").next().unwrap().trim();
            let (sql, answer) = block
                .rsplit_once("\n-- ")
                .expect("an example ends with a comment that is its answer");
            (sql.to_owned(), answer.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn every_example_gives_what_it_says() {
    let session = QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap();
    let examples = examples();
    assert!(examples.len() >= 12, "{}", examples.len());
    let listed = listed()
        .into_iter()
        .map(|(_, sql, answer)| (sql.to_owned(), answer.to_owned()));
    for (sql, expected) in examples.into_iter().chain(listed) {
        let stream = session
            .query(&sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        let batches = collect(stream).await.unwrap();
        let column = batches[0].column(0);
        let shown = ArrayFormatter::try_new(column, &FormatOptions::default())
            .unwrap()
            .value(0)
            .to_string();
        assert_eq!(shown, expected, "{sql}");
    }
}

/// The functions that a session has beside DataFusion's own.
fn own_functions() -> Vec<String> {
    let stock = SessionContext::new().state();
    let is_stock = |name: &str| {
        stock.scalar_functions().contains_key(name)
            || stock.aggregate_functions().contains_key(name)
            || stock.window_functions().contains_key(name)
            || stock.table_functions().contains_key(name)
    };
    let session = QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap();
    let names = session.functions().into_iter().map(|found| found.name);
    names.filter(|name| !is_stock(name)).collect()
}

/// True if a query calls a function of that name.
fn calls(sql: &str, name: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    sql.match_indices(&format!("{name}("))
        .any(|(at, _)| !sql[..at].ends_with(is_word))
}

#[tokio::test]
async fn every_function_has_an_example() {
    let mut all: Vec<String> = examples().into_iter().map(|(sql, _)| sql).collect();
    all.extend(listed().into_iter().map(|(_, sql, _)| sql.to_owned()));
    let own = own_functions();
    let missing: Vec<&String> = own
        .iter()
        .filter(|name| !all.iter().any(|sql| calls(sql, name)))
        .collect();
    assert!(missing.is_empty(), "without an example: {missing:?}");
    for known in ["local_date", "canonical_unit", "sum_where", "json_get"] {
        assert!(own.iter().any(|name| name == known), "{known}: {own:?}");
    }
}

#[test]
fn the_guide_lists_every_function_of_the_document() {
    let mut listed: Vec<&str> = listed().into_iter().map(|(name, _, _)| name).collect();
    // It needs a key, which a session without a project has not.
    listed.push("pseudonym");
    let headings = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.split('(').next());
    let missing: Vec<&str> = headings.filter(|name| !listed.contains(name)).collect();
    assert!(
        missing.is_empty() && listed.len() > 15,
        "docs/sql.md does not list {missing:?}"
    );
}

#[tokio::test]
async fn what_is_refused_has_a_way_round_that_runs() {
    let (_, part) = GUIDE.split_once("| refused | instead |").unwrap();
    let rows: Vec<(&str, &str)> = part
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with("| "))
        .map(|line| {
            let cells = line.strip_prefix("| `").unwrap().strip_suffix("` |");
            cells.unwrap().split_once("` | `").unwrap()
        })
        .collect();
    assert!(rows.len() >= 10, "{rows:?}");
    let session = QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap();
    let given = QueryParameters::default();
    for (refused, instead) in rows {
        let error = session.query_written(refused, &given, (1, 1)).await.err();
        let error = error.unwrap_or_else(|| panic!("{refused} is answered"));
        assert!(error.hint_text().is_some(), "{refused}: {error}");
        let stream = session.query_written(instead, &given, (1, 1)).await;
        let stream = stream.unwrap_or_else(|e| panic!("{instead}: {e}"));
        let batches = collect(stream).await.unwrap();
        assert!(
            batches.iter().any(|batch| batch.num_rows() > 0),
            "{instead}"
        );
    }
}

/// Every aggregate under its first name is a case of the benchmark of memory.
#[tokio::test]
async fn every_aggregate_is_measured() {
    const BENCHMARK: &str = include_str!("../../../bench/memory.py");
    let session = QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap();
    let state = session.context().state();
    let is_alias = |name: &str| {
        let function = state.aggregate_functions().get(name);
        function.is_some_and(|function| function.name() != name)
    };
    // Those over floats are spelled by a list of their names.
    let is_measured =
        |name: &str| calls(BENCHMARK, name) || BENCHMARK.contains(&format!("\"{name}\""));
    let functions = session.functions().into_iter();
    let missing: Vec<String> = functions
        .filter(|found| found.kind == FunctionKind::Aggregate && !is_alias(&found.name))
        .map(|found| found.name)
        .filter(|name| !is_measured(name))
        .collect();
    assert!(missing.is_empty(), "bench/memory.py lacks {missing:?}");
}
