//! Every example of docs/functions.md, and of the table of functions in docs/sql.md, run as it stands: what is said is what comes out.
//!
//! Invariant: a function that is not shown in the document fails the test, and so does an example that gives something else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::util::display::{ArrayFormatter, FormatOptions};
use tillhouse_query::{QueryEngine, QueryEngineOptions, collect};

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

#[test]
fn every_function_has_an_example() {
    let all: String = examples().into_iter().map(|(sql, _)| sql).collect();
    for function in [
        "local_date(",
        "local_hour(",
        "local_hour_start(",
        "local_timestamp(",
        "utc_offset_minutes(",
        "month_of(",
        "canonical_unit(",
        "currency_code(",
        "from_minor_units(",
        "payment_method(",
        "derived_state(",
        "category_of(",
        "pluck(",
        "positions(",
        "sum_where(",
        "value_where(",
    ] {
        assert!(all.contains(function), "{function} has no example");
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
