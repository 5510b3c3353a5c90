//! Every example of docs/functions.md, run as it stands: what the comment says is what comes out.
//!
//! Invariant: a function that is not shown in the document fails the test, and so does an example that gives something else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::util::display::{ArrayFormatter, FormatOptions};
use tillhouse_query::{Engine, EngineOptions, collect};

const DOCUMENT: &str = include_str!("../../../docs/functions.md");

fn examples() -> Vec<(String, String)> {
    DOCUMENT
        .split("```sql\n")
        .skip(1)
        .map(|rest| {
            let block = rest.split("```").next().unwrap().trim();
            let (sql, answer) = block.rsplit_once("\n-- ").expect("an example ends with a comment that is its answer");
            (sql.to_owned(), answer.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn every_example_gives_what_it_says() {
    let session = Engine::new(EngineOptions::default()).unwrap().bare().unwrap();
    let examples = examples();
    assert!(examples.len() >= 12, "{}", examples.len());
    for (sql, expected) in examples {
        let stream = session.query(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let batches = collect(stream).await.unwrap();
        let column = batches[0].column(0);
        let shown = ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap().value(0).to_string();
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
