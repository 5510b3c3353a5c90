//! Queries that the engine by itself would refuse, panic at or take for ever over: each has its answer, or an error in words of its user.
//!
//! Invariant: nothing here is called a fault of the engine, and nothing panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::array::{ArrayRef, Decimal128Array, RecordBatch, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind};
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session, collect};

const MIB: u64 = 1 << 20;

/// A session with a table of amounts, one of them null.
fn session(memory: u64) -> Session {
    let options = QueryEngineOptions {
        memory_limit_bytes: memory,
        spill_dir: None,
        threads: 2,
    };
    let session = QueryEngine::new(options).unwrap().empty_session().unwrap();
    let amounts = Decimal128Array::from(vec![Some(5_000), Some(20_000), None, Some(30_000)]);
    let amounts = amounts.with_precision_and_scale(18, 4).unwrap();
    let columns: [(&str, ArrayRef); 2] = [
        ("amount", Arc::new(amounts)),
        ("k", Arc::new(StringArray::from(vec!["a", "b", "a", "b"]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    session
        .register_batches("t", batch.schema(), vec![batch])
        .unwrap();
    session
}

/// The rows, their values with a blank between them.
async fn run(session: &Session, sql: &str) -> Result<String, Error> {
    let batches = collect(session.query(sql).await?).await?;
    let options = FormatOptions::default().with_null("-");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns = batch.columns().iter();
        let columns: Vec<_> = columns
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| column.value(row).to_string());
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    Ok(rows.join("; "))
}

#[tokio::test]
async fn a_condition_is_asked_for_its_truth_as_often_as_one_likes() {
    let session = session(512 * MIB);
    for (test, result) in [
        ("(amount > 1) IS TRUE", "2"),
        ("(amount > 1) IS NOT TRUE", "2"),
        ("(amount > 1) IS FALSE", "1"),
        ("(amount > 1) IS NOT FALSE", "3"),
        ("(amount > 1) IS UNKNOWN", "1"),
        ("(amount > 1) IS NOT UNKNOWN", "3"),
        ("(amount > 1) IS NULL", "1"),
        ("amount IS DISTINCT FROM 2", "3"),
        ("amount IS NOT DISTINCT FROM NULL", "1"),
        ("(amount > 1) IS TRUE IS NOT FALSE", "2"),
        ("NOT ((amount > 1) IS TRUE)", "2"),
        (
            "CASE WHEN (amount > 1) IS TRUE THEN true ELSE false END",
            "2",
        ),
        ("coalesce((amount > 1) IS TRUE, false)", "2"),
        (
            "(amount > 1 AND k = 'b') IS NOT UNKNOWN AND (amount > 1) IS TRUE",
            "2",
        ),
    ] {
        let twice = format!("SELECT count({test}), sum(CASE WHEN {test} THEN 1 END) FROM t");
        assert_eq!(
            run(&session, &twice).await.unwrap(),
            format!("4 {result}"),
            "{test}"
        );
        for sql in [
            format!("SELECT count(*) FILTER (WHERE {test}) FROM t"),
            format!("SELECT count(*) FROM t WHERE {test}"),
            format!(
                "SELECT sum(n) FROM (SELECT {test} AS c, count(*) AS n FROM t GROUP BY {test}) WHERE c"
            ),
            format!(
                "SELECT count(*) FROM (SELECT {test} AS c, row_number() OVER (PARTITION BY {test} ORDER BY k) AS n FROM t) WHERE c"
            ),
            format!(
                "SELECT max(n) FROM (SELECT count(*) AS n FROM t GROUP BY {test}, k IS NULL HAVING bool_and({test}))"
            ),
            format!(
                "SELECT count(*) FROM t AS a JOIN (SELECT DISTINCT {test} AS c FROM t) AS b ON b.c = ({}) WHERE b.c",
                test.replace("amount", "a.amount").replace("k =", "a.k =")
            ),
        ] {
            assert_eq!(run(&session, &sql).await.unwrap(), result, "{sql}");
        }
    }
    // A LEFT JOIN keeps rows without a match, whose condition is not known.
    let joined = "SELECT count(*), count(*) FILTER (WHERE (b.amount > 1) IS NOT TRUE) FROM t AS a LEFT JOIN t AS b ON a.amount = b.amount AND b.k = 'b'";
    assert_eq!(run(&session, joined).await.unwrap(), "4 2");
    // The condition is tested once for each column, by the engine itself.
    let lateral = "SELECT count(x.n), sum(x.m) FROM t LEFT JOIN LATERAL (SELECT count(*) AS n, max(u.amount) AS m FROM t AS u WHERE u.k = t.k) AS x ON x.m > 1";
    assert_eq!(run(&session, lateral).await.unwrap(), "2 6.0000");
}

#[tokio::test]
async fn what_does_not_fit_is_told_by_what_it_is() {
    let session = session(64 * MIB);
    for (sql, message) in [
        (
            "SELECT 1 BETWEEN 1 AND true",
            "BETWEEN cannot compare a value of type bigint with one of type boolean",
        ),
        (
            "SELECT count(*) FROM t WHERE amount BETWEEN true AND false",
            "BETWEEN cannot compare a value of type decimal(18,4) with one of type boolean",
        ),
        (
            "SELECT CAST(1e300 AS INT)",
            "a number in the query is too large",
        ),
        (
            "SELECT 1e-200 + 1",
            "a number in the query has too many digits",
        ),
        (
            "SELECT CAST(to_timestamp_millis(9223372036854775807) AS VARCHAR)",
            "9223372036854775807 milliseconds since 1970 are no instant: they lie outside of the years of the calendar",
        ),
    ] {
        let error = run(&session, sql).await.expect_err(sql);
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Query, message),
            "{sql}"
        );
        assert!(error.hint_text().is_some(), "{sql}");
    }
}

#[tokio::test]
async fn a_column_beyond_two_gibibytes_is_an_error_and_no_panic() {
    // With memory that nobody has, so that nothing refuses it before.
    let session = session(1 << 40);
    for sql in [
        "SELECT list_transform(generate_series(1, 100000), x -> repeat('a', 100000))",
        "SELECT list_transform(generate_series(1, 100000 + value), x -> repeat('a', 100000)) FROM range(0, 3)",
        "SELECT array_length(list_transform(a, x -> y)) FROM (SELECT generate_series(1, 100000 + value) AS a, repeat('b', 50000 + value) AS y FROM range(0, 2))",
        "SELECT max(length(array_to_string(list_transform(generate_series(1, 30000 + value), x -> repeat('a', 90000)), ','))) FROM range(0, 2) GROUP BY value",
    ] {
        let error = run(&session, sql).await.expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::Query, "{sql}: {error:?}");
        assert!(
            error
                .message()
                .ends_with("are larger than a column of 2 GiB holds"),
            "{sql}: {error:?}"
        );
        assert!(error.hint_text().unwrap().contains("shorter"), "{sql}");
    }
}

#[tokio::test]
async fn a_large_constant_is_not_written_out() {
    let session = session(512 * MIB);
    let bytes = "CAST(repeat('a', 3000000) AS BYTEA)";
    let list = "generate_series(1, 300000)";
    for (sql, result) in [
        (
            format!("SELECT length(encode({bytes}, 'hex')) FROM t LIMIT 1"),
            "6000000",
        ),
        (
            format!("SELECT length(encode(decode(encode({bytes}, 'base64'), 'base64'), 'hex'))"),
            "6000000",
        ),
        (
            format!("SELECT length(encode(sha256({bytes}), 'hex'))"),
            "64",
        ),
        (format!("SELECT array_length({list})"), "300000"),
        (
            format!("SELECT count(*), max(x) FROM (SELECT unnest({list}) AS x)"),
            "300000 300000",
        ),
        (
            format!("SELECT sum(array_length({list})) FROM t GROUP BY k ORDER BY k"),
            "600000; 600000",
        ),
        (
            format!("SELECT count(*) FROM t GROUP BY array_length({list})"),
            "4",
        ),
        (format!("SELECT count(*) FROM t GROUP BY k, {list}"), "2; 2"),
        (
            format!("SELECT count(DISTINCT x) FROM (SELECT {list} AS x FROM t)"),
            "1",
        ),
        (
            format!(
                "SELECT n FROM (SELECT count(*) OVER (PARTITION BY array_length({list}), k) AS n FROM t) GROUP BY n"
            ),
            "2",
        ),
        (
            format!(
                "SELECT array_length(x) FROM (SELECT {list} AS x UNION ALL SELECT [1, 2]) ORDER BY 1"
            ),
            "2; 300000",
        ),
        (
            format!(
                "SELECT count(*) FROM (VALUES ({list}), ([1])) AS v(x) WHERE array_length(x) > 1"
            ),
            "1",
        ),
        (
            format!("SELECT (CASE WHEN k = 'a' THEN {list} ELSE [5] END)[1] FROM t ORDER BY 1"),
            "1; 1; 5; 5",
        ),
        (
            format!(
                "SELECT count(*) FROM t JOIN range(0, 3) AS r ON array_length({list}) = 300000 + r.value"
            ),
            "4",
        ),
        (
            format!("SELECT array_length(list_transform({list}, x -> x + 1))"),
            "300000",
        ),
    ] {
        assert_eq!(run(&session, &sql).await.unwrap(), result, "{sql}");
    }
    for constant in [
        format!("length(encode({bytes}, 'hex'))"),
        format!("array_length({list})"),
        list.to_owned(),
    ] {
        let plan = run(&session, &format!("EXPLAIN SELECT {constant} FROM t"))
            .await
            .unwrap();
        assert!(plan.len() < 10_000, "{constant}: {}", plan.len());
    }
    // It groups nothing, and is not hashed with each row.
    let grouped = format!("EXPLAIN SELECT count(*) FROM t GROUP BY k, {list}");
    let plan = run(&session, &grouped).await.unwrap();
    assert!(!plan.contains("large_constant"), "{plan}");
    let narrow = self::session(64 * MIB);
    let sql = "SELECT length(encode(CAST(repeat('a', 10000000) AS BYTEA), 'base64'))";
    assert_eq!(
        run(&narrow, sql).await.unwrap_err().message(),
        "the query needs more memory than it may use"
    );
}

#[tokio::test]
async fn the_first_value_that_is_not_null_is_exact() {
    let session = session(64 * MIB);
    for call in ["nvl", "ifnull", "coalesce"] {
        let sql = format!("SELECT {call}(CAST(0.1 AS DECIMAL(18, 4)), 0) * 3 AS x");
        assert_eq!(run(&session, &sql).await.unwrap(), "0.3000", "{sql}");
        let sql = format!("SELECT {call}({call}(NULL, CAST(0.1 AS DECIMAL(18, 4))), 0) * 3");
        assert_eq!(run(&session, &sql).await.unwrap(), "0.3000", "{sql}");
    }
}

#[tokio::test]
async fn a_condition_on_the_row_around_never_loses_or_adds_rows() {
    let session = session(64 * MIB);
    let outer = "(VALUES (1), (2)) AS a(x)";
    let chosen = "(SELECT y FROM (VALUES (1, 5)) AS b(k, y) WHERE b.k = a.x) AS d";
    for (sql, result) in [
        // An aggregate of all rows beside them has a row for each row around, which may have none of these.
        (
            format!(
                "SELECT a.x, l.y, l.n FROM {outer}, LATERAL (SELECT d.y, t.n FROM {chosen} CROSS JOIN (SELECT count(*) AS n FROM t) AS t) AS l ORDER BY 1"
            ),
            "1 5 4",
        ),
        (
            format!(
                "SELECT a.x, l.y, l.n FROM {outer}, LATERAL (SELECT d.y, t.n FROM (SELECT count(*) AS n FROM t) AS t CROSS JOIN {chosen}) AS l ORDER BY 1"
            ),
            "1 5 4",
        ),
        // What an outer join fills with nulls is there, whatever chose the rows that are missing.
        (
            format!(
                "SELECT a.x, l.z, l.y FROM {outer}, LATERAL (SELECT c.z, d.y FROM (VALUES (5), (6)) AS c(z) LEFT JOIN {chosen} ON d.y = c.z) AS l ORDER BY 1, 2"
            ),
            "1 5 5; 1 6 -; 2 5 -; 2 6 -",
        ),
        (
            format!(
                "SELECT a.x FROM {outer} WHERE EXISTS (SELECT 1 FROM (VALUES (5)) AS c(z) LEFT JOIN {chosen} ON d.y = c.z WHERE d.y IS NULL)"
            ),
            "2",
        ),
        (
            format!(
                "SELECT a.x, (SELECT count(*) FROM {chosen} RIGHT JOIN (VALUES (5), (6)) AS c(z) ON d.y = c.z) FROM {outer} ORDER BY 1"
            ),
            "1 2; 2 2",
        ),
    ] {
        // It is right, or refused.
        if let Ok(rows) = run(&session, &sql).await {
            assert_eq!(rows, result, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_join_says_which_rows_belong_together() {
    let session = session(64 * MIB);
    for from in [
        "t JOIN t AS u",
        "t LEFT JOIN t AS u",
        "t FULL OUTER JOIN t AS u WHERE t.k = u.k",
        "(t INNER JOIN t AS u) CROSS JOIN t AS v",
        "t CROSS JOIN t AS u JOIN t AS v",
        "t JOIN LATERAL (SELECT 1 AS x) AS u",
        "t WHERE EXISTS (SELECT 1 FROM t AS u JOIN t AS v)",
    ] {
        let sql = format!("SELECT count(*) FROM {from}");
        let error = run(&session, &sql).await.expect_err(&sql);
        assert_eq!(
            error.message(),
            "JOIN without ON or USING is not known here",
            "{sql}"
        );
        assert!(error.hint_text().is_some(), "{sql}");
    }
    for (from, rows) in [
        ("t CROSS JOIN t AS u", "16"),
        ("t, t AS u", "16"),
        ("t JOIN t AS u ON true", "16"),
        ("t JOIN t AS u USING (k)", "8"),
        ("t NATURAL JOIN (SELECT k FROM t) AS u", "8"),
    ] {
        let sql = format!("SELECT count(*) FROM {from}");
        assert_eq!(run(&session, &sql).await.unwrap(), rows, "{sql}");
    }
}
