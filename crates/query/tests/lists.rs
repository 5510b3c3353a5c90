//! Arithmetic of lists: decimals and whole numbers are added exactly, and nothing makes floats of money without being told to.
//!
//! Invariant: each sum here has every digit of its parts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::util::display::array_value_to_string;
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session, collect};

fn session() -> Session {
    QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap()
}

/// The values of a result's one column, or its error.
async fn values(session: &Session, sql: &str) -> Result<Vec<String>, String> {
    let batches = match session.query(sql).await {
        Ok(stream) => collect(stream).await,
        Err(error) => Err(error),
    };
    let batches = batches.map_err(|error| error.to_string())?;
    let values = batches.iter().flat_map(|batch| {
        (0..batch.num_rows()).map(|row| array_value_to_string(batch.column(0), row).unwrap())
    });
    Ok(values.collect())
}

#[tokio::test]
async fn sums_and_averages_of_lists_are_exact() {
    let session = session();
    for (sql, expected) in [
        ("SELECT array_sum([0.1, 0.2])", "0.3"),
        ("SELECT list_sum([0.10, 0.20, NULL])", "0.30"),
        (
            "SELECT array_sum([12345678901234.5678, 0.0001])",
            "12345678901234.5679",
        ),
        ("SELECT array_sum([-1.5, 1.5])", "0.0"),
        (
            "SELECT arrow_typeof(array_sum([0.10]))",
            "Decimal128(38, 2)",
        ),
        ("SELECT array_sum([1, 2, 3])", "6"),
        (
            "SELECT array_sum([9223372036854775806, 1, -5, 5])",
            "9223372036854775807",
        ),
        ("SELECT arrow_typeof(array_sum([1]))", "Int64"),
        (
            "SELECT array_sum([18446744073709551615, arrow_cast(1, 'UInt64')])",
            "18446744073709551616",
        ),
        ("SELECT array_sum([1, 2.5])", "3.5"),
        ("SELECT array_sum(CAST([1.5, 2] AS DOUBLE[]))", "3.5"),
        (
            "SELECT array_sum(arrow_cast([1.5, 2.25], 'LargeList(Decimal128(9, 2))'))",
            "3.75",
        ),
        (
            "SELECT array_sum(arrow_cast([1.5, 2.25], 'FixedSizeList(2, Decimal128(9, 2))'))",
            "3.75",
        ),
        (
            "SELECT array_sum(CAST([] AS DECIMAL(9, 2)[])) IS NULL",
            "true",
        ),
        (
            "SELECT array_sum(CAST([NULL] AS DECIMAL(9, 2)[])) IS NULL",
            "true",
        ),
        ("SELECT array_sum(CAST(NULL AS INT[])) IS NULL", "true"),
        ("SELECT array_sum(NULL) IS NULL", "true"),
        ("SELECT array_avg([0.1, 0.2])", "0.15000000000"),
        ("SELECT array_avg([1.00, 1.00, 1.01])", "1.003333333333"),
        ("SELECT list_avg([1, 2])", "1.5"),
        ("SELECT array_product([2, 3])", "6.0"),
    ] {
        assert_eq!(
            values(&session, sql).await,
            Ok(vec![expected.to_owned()]),
            "{sql}"
        );
    }
    let rows = "SELECT array_sum(l) FROM (VALUES ([0.1, 0.2]), (NULL), ([0.3, NULL]), (CAST([] AS DECIMAL(2, 1)[]))) AS t(l)";
    assert_eq!(
        values(&session, rows).await.unwrap(),
        ["0.3", "", "0.3", ""]
    );
}

#[tokio::test]
async fn what_would_not_be_exact_is_refused() {
    let session = session();
    for (sql, message) in [
        ("SELECT array_sum([9223372036854775807, 1])", "does not fit"),
        (
            "SELECT array_sum([99999999999999999999999999999999999999::DECIMAL(38, 0), 1::DECIMAL(38, 0)])",
            "does not fit",
        ),
        ("SELECT array_product([0.1, 0.2])", "works in floats"),
        ("SELECT array_add([0.1], [0.2])", "works in floats"),
        ("SELECT array_scale([0.1], 2)", "works in floats"),
        ("SELECT inner_product([0.1], [0.2])", "works in floats"),
    ] {
        let error = values(&session, sql).await.expect_err(sql);
        assert!(error.contains(message), "{sql}: {error}");
    }
    let floats = "SELECT array_product(CAST([0.5, 0.5] AS DOUBLE[]))";
    assert_eq!(values(&session, floats).await, Ok(vec!["0.25".to_owned()]));
}
