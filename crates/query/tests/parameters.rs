//! Parameters: values take the place of literals, with the types that literals would have there, and are never read as SQL.
//!
//! Invariant: nothing here needs a warehouse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::util::display::{ArrayFormatter, FormatOptions};
use tillhouse_model::Result;
use tillhouse_query::{QueryEngine, QueryEngineOptions, QueryParameters, Session, collect};

fn session() -> Session {
    QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap()
}

/// The first row of a query, its values one after the other.
async fn row(session: &Session, sql: &str, given: &[&str]) -> Result<String> {
    let given = QueryParameters::read(given.iter().copied())?;
    let batches = collect(session.query_written(sql, &given, (1, 1)).await?).await?;
    let options = FormatOptions::default().with_null("NULL");
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else {
        return Ok(String::new());
    };
    let cells: Vec<String> = batch
        .columns()
        .iter()
        .map(|column| {
            let cells = ArrayFormatter::try_new(column.as_ref(), &options).unwrap();
            cells.value(0).to_string()
        })
        .collect();
    Ok(cells.join(" "))
}

#[tokio::test]
async fn values_are_literals_and_no_sql() {
    let session = session();
    for (given, sql, answer) in [
        (vec!["x='; SELECT 2 --"], "SELECT :x", "'; SELECT 2 --"),
        (vec!["x=(SELECT 1)"], "SELECT $x", "(SELECT 1)"),
        (vec!["1=a", "2=b"], "SELECT $1 || $2", "ab"),
        (vec!["X=a"], "SELECT :x", "a"),
        (vec!["x="], "SELECT NULLIF(:x, '')", "NULL"),
        (vec!["x=a=b"], "SELECT :x", "a=b"),
        (
            vec!["x=007"],
            "SELECT x = :x FROM (VALUES ('007')) AS v(x)",
            "true",
        ),
        (
            vec!["x=7"],
            "SELECT x = :x, n = :x, n + :x, :x + n FROM (VALUES ('7', 7)) AS v(x, n)",
            "true true 14 14",
        ),
        // A number beside a decimal is compared with all its digits.
        (
            vec!["x=7.54"],
            "SELECT x = :x, x < :x, x BETWEEN :x AND 9, x IN (1, :x), x IS DISTINCT FROM :x, x * :x FROM (VALUES (7.5)) AS v(x)",
            "false true false false true 56.550",
        ),
        (
            vec!["n=2"],
            "SELECT round(1.2345, :n), left('abc', :n), upper(:n), coalesce(NULL, 1.5, :n), CASE WHEN true THEN 1 ELSE :n END",
            "1.23 ab 2 1.5 1",
        ),
        (
            vec!["n=1", "m=1"],
            "SELECT x FROM (VALUES (1), (2), (3)) AS v(x) ORDER BY x LIMIT :n OFFSET :m",
            "2",
        ),
        (
            vec!["day=2026-01-02"],
            "SELECT DATE :day, CAST(:day AS DATE) + 1, :day::date = DATE '2026-01-02', DATE '2026-01-03' > :day",
            "2026-01-02 2026-01-03 true true",
        ),
        (
            vec!["zone=Europe/Berlin"],
            "SELECT TIMESTAMPTZ '2026-07-01 00:00:00Z' AT TIME ZONE :zone",
            "2026-07-01T02:00:00",
        ),
        (vec!["n=-5"], "SELECT 1 - :n, abs(:n), -:n", "6 5 5"),
        (vec!["p=K%"], "SELECT 'KA-XY 1' LIKE :p", "true"),
        (
            vec!["to=3"],
            "SELECT count(*) FROM generate_series(1, :to)",
            "3",
        ),
        (
            vec!["share=0.5"],
            "SELECT percentile_disc(:share) WITHIN GROUP (ORDER BY x) FROM (VALUES (1), (2), (3)) AS v(x)",
            "2",
        ),
        (vec!["k=a"], "SELECT '{\"a\": 5}' ->> :k", "5"),
    ] {
        let gives = row(&session, sql, &given).await;
        assert_eq!(
            gives.unwrap_or_else(|error| panic!("{sql}: {error}")),
            answer,
            "{sql}"
        );
    }
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_named() {
    let session = session();
    for (given, sql, said) in [
        (vec![], "SELECT :x", "the parameter :x has no value"),
        (vec!["y=1"], "SELECT $x", "the parameter $x has no value"),
        (vec![], "SELECT ?", "a parameter needs a name or a number"),
        (vec!["x"], "SELECT :x", "has no value"),
        (vec!["x=1", "X=2"], "SELECT :x", "is given twice"),
        (vec!["a b=1"], "SELECT 1", "is no name of a parameter"),
    ] {
        let error = row(&session, sql, &given).await.unwrap_err().to_string();
        assert!(
            error.contains(said) && !error.contains('\n'),
            "{sql}: {error}"
        );
    }
    for (given, sql, said) in [
        (
            ["x=secret"],
            "SELECT n > :x FROM (VALUES (1.5)) AS v(n)",
            "the value of the parameter x is no number",
        ),
        (
            ["x=secret"],
            "SELECT DATE :x",
            "the value of the parameter x is no date",
        ),
    ] {
        let error = row(&session, sql, &given).await.unwrap_err();
        assert_eq!(error.message(), said, "{sql}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    let given = QueryParameters::read(["day=1", "dya=2"]).unwrap();
    given.check_named(["SELECT :day", "SELECT $dya"]).unwrap();
    let error = given.check_named(["SELECT :day", "SELECT 1"]).unwrap_err();
    assert_eq!(error.message(), "the query does not name the parameter dya");
    assert!(
        !format!("{given:?}").contains('2'),
        "values are shown nowhere"
    );
}
