//! Numbers that do not fit: always an error, never a wrapped number.
//!
//! Invariant: each expression is tried as a constant, which is folded while planning, and on a column, which is computed row by row.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray, UInt64Array,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session, collect};

fn session(threads: usize) -> Session {
    let session = QueryEngine::new(QueryEngineOptions {
        threads,
        ..QueryEngineOptions::default()
    })
    .unwrap()
    .empty_session()
    .unwrap();
    let decimals = |values: Vec<i128>, precision: u8, scale: i8| -> ArrayRef {
        Arc::new(
            Decimal128Array::from(values)
                .with_precision_and_scale(precision, scale)
                .unwrap(),
        )
    };
    let batch = RecordBatch::try_from_iter_with_nullable([
        (
            "key",
            Arc::new(StringArray::from(vec!["a", "b", "a", "b"])) as ArrayRef,
            true,
        ),
        (
            "big",
            Arc::new(Int64Array::from(vec![
                Some(i64::MAX),
                Some(1),
                Some(2),
                None,
            ])) as ArrayRef,
            true,
        ),
        (
            "low",
            Arc::new(Int64Array::from(vec![i64::MIN, 0, 1, 2])) as ArrayRef,
            true,
        ),
        (
            "small",
            Arc::new(Int32Array::from(vec![i32::MAX, 1, 2, 3])) as ArrayRef,
            true,
        ),
        (
            "unsigned",
            Arc::new(UInt64Array::from(vec![u64::MAX, 1, 2, 3])) as ArrayRef,
            true,
        ),
        (
            "wide",
            decimals(vec![10_i128.pow(38) - 1, 1, 2, 3], 38, 0),
            true,
        ),
        (
            "amount",
            decimals(vec![123_400, 10_000, 25_000, 0], 18, 4),
            true,
        ),
    ])
    .unwrap();
    session
        .register_batches("t", batch.schema(), vec![batch])
        .unwrap();
    session
}

async fn run(session: &Session, sql: &str) -> Result<String, String> {
    let stream = session.query(sql).await.map_err(|e| format!("{e:?}"))?;
    let batches = collect(stream).await.map_err(|e| format!("{e:?}"))?;
    let options = FormatOptions::default().with_null("null");
    let mut values = Vec::new();
    for batch in &batches {
        let formatter = ArrayFormatter::try_new(batch.column(0), &options).unwrap();
        values.extend((0..batch.num_rows()).map(|row| formatter.value(row).to_string()));
    }
    Ok(values.join(","))
}

#[tokio::test]
async fn what_does_not_fit_is_an_error() {
    for threads in [1, 4] {
        let session = session(threads);
        for sql in [
            "SELECT 9223372036854775807 + 1",
            "SELECT -9223372036854775807 - 2",
            "SELECT 9223372036854775807 * 2",
            "SELECT 3037000500 * 3037000500",
            "SELECT 99999999999999999999999999999999999999 + 1",
            "SELECT -99999999999999999999999999999999999999 - 1",
            "SELECT 99999999999999999999999999999999999999 - -1 FROM t",
            "SELECT x + x FROM (SELECT 99999999999999999999999999999999999999 - big % 2 AS x FROM t)",
            "SELECT 9999999999999999999 * 11111111111111111111 * 1.0 FROM t",
            "SELECT 99999999999999999999999999999999999999 / 0.5",
            "SELECT count(*) FROM t WHERE 99999999999999999999999999999999999999 + small > 0",
            "SELECT CAST(12345.678 AS DECIMAL(5, 2))",
            "SELECT avg(x) FROM (VALUES (99999999999999999999999999999999999999), (99999999999999999999999999999999999999)) AS v(x)",
            "SELECT -(-9223372036854775807 - 1)",
            "SELECT CAST(127 AS TINYINT) + CAST(1 AS TINYINT)",
            "SELECT CAST(2147483647 AS INT) * CAST(2 AS INT)",
            "SELECT big + 1 FROM t",
            "SELECT 1 + big FROM t",
            "SELECT low - 1 FROM t",
            "SELECT big * 2 FROM t",
            "SELECT big * big FROM t",
            "SELECT -low FROM t",
            "SELECT abs(low) FROM t",
            "SELECT low / -1 FROM t",
            "SELECT small + small FROM t",
            "SELECT small * small FROM t",
            "SELECT unsigned + unsigned FROM t",
            "SELECT key FROM t WHERE big + 1 > 0",
            "SELECT key FROM t ORDER BY big + 1",
            "SELECT count(*) FROM t GROUP BY big + 1",
            "SELECT CASE WHEN big > 5 THEN big * 3 ELSE 0 END FROM t",
            "SELECT a.key FROM t a JOIN t b ON a.big + 1 = b.low",
            "SELECT (SELECT max(big + 1) FROM t)",
            "SELECT sum(big) FROM t",
            "SELECT sum(big) FROM t GROUP BY key ORDER BY key",
            "SELECT sum(big + 1) FROM t",
            "SELECT sum(DISTINCT big) FROM t",
            "SELECT sum(low) - 3 FROM t WHERE low < 0",
            "SELECT sum(unsigned) FROM t",
            "SELECT sum(unsigned) FROM t GROUP BY key",
            "SELECT sum(wide) FROM t",
            "SELECT sum(wide) FROM t GROUP BY key",
            "SELECT sum(DISTINCT wide) FROM t",
            "SELECT sum(big) OVER () FROM t",
            "SELECT sum(big) OVER (ORDER BY low ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM t",
            "SELECT wide * 10 FROM t",
            "SELECT wide + wide FROM t",
            "SELECT CAST(big AS INT) FROM t",
            "SELECT CAST(300 AS TINYINT)",
            "SELECT CAST(-1 AS BIGINT UNSIGNED)",
            "SELECT CAST(12345 AS DECIMAL(4, 0))",
            "SELECT CAST(wide AS BIGINT) FROM t",
            "SELECT CAST(amount AS DECIMAL(5, 4)) FROM t",
            "SELECT CAST('9223372036854775808' AS BIGINT)",
            "SELECT CAST(1e30 AS BIGINT)",
            "SELECT CAST(CAST(1e30 AS DOUBLE) AS BIGINT)",
            "SELECT power(10, 40)::BIGINT",
            "SELECT factorial(30)",
        ] {
            let outcome = run(&session, sql).await;
            assert!(outcome.is_err(), "{threads} threads, {sql}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn what_fits_is_what_it_was() {
    for threads in [1, 4] {
        let session = session(threads);
        for (sql, result) in [
            ("SELECT 9223372036854775806 + 1", "9223372036854775807"),
            ("SELECT 1 - 2 * -3", "7"),
            (
                "SELECT 99999999999999999999999999999999999998 + 1",
                "99999999999999999999999999999999999999",
            ),
            ("SELECT 1.00 / 3.000000 * 3", "0.9999999999999999"),
            ("SELECT -9223372036854775808", "-9223372036854775808"),
            ("SELECT 9223372036854775807 + 1.0", "9223372036854775808.0"),
            (
                "SELECT CAST(9223372036854775807 AS DECIMAL(38, 0)) + 1",
                "9223372036854775808",
            ),
            ("SELECT small * 2 FROM t ORDER BY 1", "2,4,6,4294967294"),
            (
                "SELECT big - 1 FROM t ORDER BY 1 NULLS LAST",
                "0,1,9223372036854775806,null",
            ),
            ("SELECT sum(big) FROM t WHERE big < 5", "3"),
            ("SELECT sum(big) FROM t WHERE big < 0", "null"),
            ("SELECT sum(big) FROM t WHERE key = 'b' GROUP BY key", "1"),
            (
                "SELECT sum(big) FROM t WHERE big IS NULL GROUP BY key",
                "null",
            ),
            // The total fits, though not every way to it does.
            (
                "SELECT sum(x) FROM (VALUES (9223372036854775807), (1), (-5)) AS v(x)",
                "9223372036854775803",
            ),
            ("SELECT sum(amount) FROM t", "15.8400"),
            (
                "SELECT sum(amount) FROM t GROUP BY key ORDER BY key",
                "14.8400,1.0000",
            ),
            (
                "SELECT sum(amount) FILTER (WHERE key = 'a') FROM t",
                "14.8400",
            ),
            (
                "SELECT sum(amount) FILTER (WHERE amount > 2) FROM t GROUP BY key ORDER BY key",
                "14.8400,null",
            ),
            ("SELECT sum(DISTINCT low) FROM t WHERE low >= 0", "3"),
            (
                "SELECT sum(low) OVER (ORDER BY low ROWS 1 PRECEDING) FROM t WHERE low >= 0 ORDER BY low",
                "0,1,3",
            ),
            (
                "SELECT sum(amount) OVER (ORDER BY amount ROWS 1 PRECEDING) FROM t ORDER BY amount",
                "0.0000,1.0000,3.5000,14.8400",
            ),
            (
                "SELECT arrow_typeof(sum(amount)) FROM t",
                "Decimal128(28, 4)",
            ),
            ("SELECT arrow_typeof(small - small) FROM t LIMIT 1", "Int32"),
            (
                "SELECT column_name FROM (SELECT 1) CROSS JOIN (SELECT 'x' AS column_name)",
                "x",
            ),
            ("SELECT sum(1.5)", "1.5"),
            ("SELECT sum(CAST(1.5 AS DOUBLE))", "1.5"),
            (
                "SELECT DATE '2026-01-01' + INTERVAL '1 day'",
                "2026-01-02T00:00:00",
            ),
            ("SELECT DATE '2026-01-01' + 1", "2026-01-02"),
        ] {
            assert_eq!(
                run(&session, sql).await.as_deref(),
                Ok(result),
                "{threads} threads, {sql}"
            );
        }
    }
}

#[tokio::test]
async fn columns_keep_their_names_and_the_error_says_what_to_do() {
    let session = session(1);
    let plan = session
        .plan(
            "SELECT big + 1, -low, sum(small * 2) OVER () FROM t",
            &[],
            "t",
        )
        .await
        .unwrap();
    let names: Vec<_> = plan
        .schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names[..2], ["t.big + Int64(1)", "(- t.low)"]);
    assert!(names[2].starts_with("sum(t.small * Int64(2))"), "{names:?}");
    let error = match session.query("SELECT big + 1 FROM t").await {
        Ok(stream) => collect(stream).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.message(), "a number does not fit its type");
    assert!(error.hint_text().unwrap().contains("DECIMAL"), "{error:?}");
}
