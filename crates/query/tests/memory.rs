//! Queries that would take more memory than they may: they answer from disk, or end with an error that says so, and their answers are those of a session with room.
//!
//! Invariant: a plan that was changed for the memory's sake gives what the plain one gives; each answer here is worked out in another way too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::MemoryCatalogProvider;
use std::sync::Arc;
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session, collect, into_error};

const MIB: u64 = 1 << 20;

fn session(memory: u64, threads: usize) -> Session {
    let options = QueryEngineOptions {
        memory_limit_bytes: memory,
        spill_dir: None,
        threads,
    };
    QueryEngine::new(options).unwrap().empty_session().unwrap()
}

/// The lines of a result, or its error.
async fn lines(session: &Session, sql: &str) -> Result<Vec<String>, String> {
    let batches = match session.query(sql).await {
        Ok(stream) => collect(stream).await,
        Err(error) => Err(error),
    };
    let table = pretty_format_batches(&batches.map_err(|error| error.message().to_owned())?)
        .unwrap()
        .to_string();
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
    Ok(rows
        .map(|row| {
            row.split('|')
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
                .trim()
                .to_owned()
        })
        .collect())
}

async fn answer(session: &Session, sql: &str) -> String {
    lines(session, sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .join("; ")
}

/// Rows of two keys, one of them null at times, a text that recurs, and an amount.
const ROWS: &str = "(SELECT CASE WHEN value % 5 = 0 THEN NULL ELSE 'k' || CAST(value % 5 AS VARCHAR) END AS k,
    CASE WHEN value % 7 = 0 THEN NULL ELSE 't' || CAST(value % 11 AS VARCHAR) END AS t,
    CASE WHEN value % 3 = 0 THEN NULL ELSE value END AS n, CAST(value AS DECIMAL(18, 4)) / 10 AS a FROM range(0, 1000)) AS r";

#[tokio::test]
async fn different_values_are_counted_beside_other_aggregates() {
    // With little memory in two steps, with more by a table of hashes.
    for (memory, threads) in [(64, 2), (512, 1), (512, 3)] {
        counts_are_those_of_collected_values(session(memory * MIB, threads)).await;
    }
}

async fn counts_are_those_of_collected_values(session: Session) {
    for (aggregates, rest) in [
        (
            "count(DISTINCT t), count(*), count(n), sum(n), min(n), max(t)",
            "GROUP BY k",
        ),
        (
            "count(DISTINCT t), count(*), count(n), sum(n), min(n), max(t)",
            "",
        ),
        ("count(DISTINCT t), sum(a), count(a)", "GROUP BY k"),
        (
            "count(DISTINCT t) FILTER (WHERE n > 500), count(*) FILTER (WHERE n > 10), sum(a)",
            "GROUP BY k",
        ),
        ("count(DISTINCT t || 'x'), count(*)", "GROUP BY k"),
        (
            "count(DISTINCT t), count(t), bool_and(n > 3), bool_or(n IS NULL)",
            "GROUP BY k",
        ),
        ("count(DISTINCT t) + 1, count(*) * 2", "GROUP BY k"),
        ("count(DISTINCT t), count(*)", "WHERE n < 0"),
        (
            "count(DISTINCT t), count(*), sum(n)",
            "WHERE n < 0 GROUP BY k",
        ),
        ("count(DISTINCT n), count(DISTINCT t), sum(a)", "GROUP BY k"),
        ("count(DISTINCT t), avg(a), count(*)", "GROUP BY k"),
        (
            "count(DISTINCT t), avg(n), avg(a) FILTER (WHERE n > 10), arrow_typeof(avg(a))",
            "GROUP BY k",
        ),
        ("count(DISTINCT t), avg(a), avg(n)", "WHERE n < 0"),
        (
            "count(DISTINCT t), avg(-a), bit_xor(n), sum(CAST(n AS DOUBLE))",
            "",
        ),
        ("count(DISTINCT t), stddev(n), count(*)", "GROUP BY k"),
        (
            "count(DISTINCT t), count(DISTINCT t) FILTER (WHERE n > 3), count(*)",
            "GROUP BY k",
        ),
        ("count(DISTINCT t), count(*)", "GROUP BY ROLLUP (k)"),
        ("count(DISTINCT k), count(*)", "GROUP BY n % 2, t"),
    ] {
        // A sum of whole numbers and a set that is an array: nothing of it is rewritten.
        let plain = |text: &str| {
            text.replace(
                "count(DISTINCT t || 'x')",
                "array_length(array_agg(DISTINCT t || 'x') FILTER (WHERE t IS NOT NULL))",
            )
            .replace(
                "count(DISTINCT t) FILTER (WHERE n > 500)",
                "array_length(array_agg(DISTINCT t) FILTER (WHERE n > 500 AND t IS NOT NULL))",
            )
            .replace(
                "count(DISTINCT t) FILTER (WHERE n > 3)",
                "array_length(array_agg(DISTINCT t) FILTER (WHERE n > 3 AND t IS NOT NULL))",
            )
            .replace(
                "count(DISTINCT t)",
                "coalesce(array_length(array_agg(DISTINCT t) FILTER (WHERE t IS NOT NULL)), 0)",
            )
            .replace(
                "count(DISTINCT n)",
                "coalesce(array_length(array_agg(DISTINCT n) FILTER (WHERE n IS NOT NULL)), 0)",
            )
            .replace(
                "count(DISTINCT k)",
                "coalesce(array_length(array_agg(DISTINCT k) FILTER (WHERE k IS NOT NULL)), 0)",
            )
        };
        let key = if rest.contains("GROUP BY k") || rest.contains("ROLLUP") {
            "k, "
        } else {
            ""
        };
        let ask = |aggregates: &str| format!("SELECT {key}{aggregates} FROM {ROWS} {rest}");
        let mut counted = lines(&session, &ask(aggregates))
            .await
            .unwrap_or_else(|error| panic!("{aggregates}: {error}"));
        let mut collected = lines(&session, &ask(&plain(aggregates)))
            .await
            .unwrap_or_else(|error| panic!("{aggregates}: {error}"));
        counted.sort();
        collected.sort();
        assert_eq!(counted, collected, "{aggregates} {rest}");
    }
    let named = "SELECT u FROM (SELECT k AS u, count(DISTINCT t) AS d, count(*) AS c FROM {} GROUP BY k HAVING count(DISTINCT t) > 1) ORDER BY d, u";
    assert_eq!(
        answer(&session, &named.replace("{}", ROWS)).await,
        "k1; k2; k3; k4; "
    );
    let typed = "SELECT arrow_typeof(sum(a)), arrow_typeof(count(*)), count(DISTINCT t) FROM {}";
    let types = answer(&session, &typed.replace("{}", ROWS)).await;
    assert!(types.contains("Int64"), "{types}");
}

#[tokio::test]
async fn many_different_texts_are_counted_from_disk() {
    let session = session(64 * MIB, 1);
    let sql = "SELECT count(DISTINCT t), count(*), sum(value) FROM
        (SELECT value, 'a text that is somewhat longer ' || CAST(value AS VARCHAR) AS t FROM range(0, 1000000))";
    assert_eq!(answer(&session, sql).await, "1000000 1000000 499999500000");
    let sql = "SELECT k, count(DISTINCT t), avg(CAST(value AS DECIMAL(18, 2))) AS a, avg(value % 1000) AS b FROM
        (SELECT value, value % 2 AS k, 'a text that is somewhat longer ' || CAST(value AS VARCHAR) AS t FROM range(0, 1000000))
        GROUP BY k ORDER BY k";
    assert_eq!(
        answer(&session, sql).await,
        "0 500000 499999.000000000000 499.0; 1 500000 500000.000000000000 500.0"
    );
}

#[tokio::test]
async fn rows_are_numbered_within_groups_from_disk() {
    let session = session(64 * MIB, 1);
    for (sql, expected) in [
        (
            "SELECT count(*), sum(n), max(n) FROM (SELECT row_number() OVER (PARTITION BY value % 7 ORDER BY value DESC) AS n FROM range(0, 2100000))",
            "2100000 315001050000 300000",
        ),
        (
            "SELECT count(*), max(n) FROM (SELECT row_number() OVER (PARTITION BY value % 3 = 0, value % 5 = 0, value % 2 = 0 ORDER BY -value) AS n
             FROM range(0, 2000000)) WHERE n = 1",
            "8 1",
        ),
        (
            "SELECT count(*), max(n) FROM (SELECT row_number() OVER (PARTITION BY k ORDER BY t, value) AS n FROM
             (SELECT value, 'k' || CAST(value % 4 AS VARCHAR) AS k, 'a text of some length ' || CAST(value % 1000 AS VARCHAR) AS t FROM range(0, 600000)))",
            "600000 150000",
        ),
    ] {
        assert_eq!(answer(&session, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_window_over_all_rows_is_held_to_memory() {
    let session = session(64 * MIB, 1);
    for function in [
        "ntile(4) OVER (ORDER BY value)",
        "sum(value) OVER ()",
        "lag(value, 3000000) OVER (ORDER BY value)",
    ] {
        let all = |rows: usize| {
            format!("SELECT count(*), min(n) FROM (SELECT {function} AS n FROM range(0, {rows}))")
        };
        let few = lines(&session, &all(100_000)).await;
        assert!(few.is_ok(), "{function}: {few:?}");
        if let Err(error) = lines(&session, &all(8_000_000)).await {
            assert_eq!(
                error, "the query needs more memory than it may use",
                "{function}"
            );
        }
    }
}

#[tokio::test]
async fn texts_are_joined_as_the_operator_joins_them() {
    let session = session(64 * MIB, 1);
    for (sql, expected) in [
        ("SELECT 'a' || 'b' || 'c' || ('d' || 'e') AS x", "abcde"),
        ("SELECT ('a' || NULL) IS NULL AS x", "true"),
        ("SELECT 'a' || 1 || true || 2.50 AS x", "a1true2.50"),
        ("SELECT 1 || 'a' AS x", "1a"),
        (
            "SELECT arrow_cast('a', 'Utf8View') || 'b' || arrow_cast('c', 'LargeUtf8') AS x",
            "abc",
        ),
        (
            "SELECT arrow_cast('a', 'Dictionary(Int32, Utf8)') || 'b' AS x",
            "ab",
        ),
        ("SELECT 'ä' || '日' || '' AS x", "ä日"),
        ("SELECT [1, 2] || [3] AS x", "[1, 2, 3]"),
        ("SELECT [1, 2] || 3 AS x", "[1, 2, 3]"),
        (
            "SELECT count(*) FROM range(0, 5) WHERE 'v' || CAST(value AS VARCHAR) = 'v3'",
            "1",
        ),
        (
            "SELECT string_agg(x, ',') FROM (SELECT 'v' || CAST(value AS VARCHAR) || NULLIF('w', CASE WHEN value = 1 THEN 'w' END) AS x FROM range(0, 3))",
            "v0w,v2w",
        ),
        (
            "SELECT max(x || y) FROM (VALUES ('a', 'b'), (NULL, 'z'), ('c', NULL)) AS t(x, y)",
            "ab",
        ),
        ("SELECT DATE '2026-01-02' || 'x' AS x", "2026-01-02x"),
    ] {
        assert_eq!(answer(&session, sql).await, expected, "{sql}");
    }
    let batches = collect(
        session
            .query("SELECT 'a' || 'b', value || 'x' FROM range(0, 1)")
            .await
            .unwrap(),
    )
    .await
    .unwrap();
    let schema = batches[0].schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(
        names,
        ["Utf8(\"a\") || Utf8(\"b\")", "range().value || Utf8(\"x\")"]
    );
}

#[tokio::test]
async fn what_is_made_of_little_is_held_to_memory() {
    let session = session(64 * MIB, 1);
    let doubled = |first: &str, step: &str, last: &str| {
        let named: Vec<String> = (0..32)
            .map(|i| format!("c{} AS ({})", i + 1, step.replace('#', &i.to_string())))
            .collect();
        format!("WITH c0 AS ({first}), {} {last}", named.join(", "))
    };
    for sql in [
        doubled("SELECT 'abcdefgh' AS a", "SELECT a || a AS a FROM c#", "SELECT length(a) FROM c32"),
        doubled("SELECT 'abcdefgh' AS a", "SELECT overlay(a PLACING a FROM 1 FOR 0) AS a FROM c#", "SELECT length(a) FROM c32"),
        doubled("SELECT [1, 2, 3, 4] AS a", "SELECT array_concat(a, a) AS a FROM c#", "SELECT array_length(a) FROM c32"),
        doubled("SELECT 'abcdefgh' AS a", "SELECT replace(a, 'a', a) AS a FROM c#", "SELECT length(a) FROM c32"),
        "SELECT max(length(x || x || x || x)) FROM (SELECT repeat(CAST(value AS VARCHAR), 1000) AS x FROM range(10000, 20000))".to_owned(),
        "SELECT array_length(generate_series(TIMESTAMP '1970-01-01', TIMESTAMP '2200-01-01', INTERVAL '1 second'))".to_owned(),
        "SELECT array_length(range(TIMESTAMP '2200-01-01', TIMESTAMP '1970-01-01', INTERVAL '-1 minute'))".to_owned(),
        "SELECT array_length(generate_series(arrow_cast(0, 'Timestamp(Millisecond, Some(\"UTC\"))'), arrow_cast(9000000000000, 'Timestamp(Millisecond, Some(\"UTC\"))'), INTERVAL '10 milliseconds'))".to_owned(),
        "SELECT max(array_length(generate_series(TIMESTAMP '1970-01-01', TIMESTAMP '1970-03-01', INTERVAL '1 second') || TIMESTAMP '1971-01-01')) FROM range(0, 100)".to_owned(),
        "SELECT count(*) FROM (SELECT unnest(generate_series(DATE '1970-01-01', arrow_cast(CAST(value AS INT), 'Date32'), INTERVAL '1 day')) FROM range(1000000, 1008000))".to_owned(),
        "SELECT array_length(string_to_array(repeat('x', 30000000), NULL))".to_owned(),
        "SELECT array_length(list_transform(range(0, 1000000), x -> repeat('y', 100000)))".to_owned(),
        "SELECT max(array_length(list_transform(range(0, 1000), x -> pad || CAST(x AS VARCHAR)))) FROM (SELECT repeat(CAST(value AS VARCHAR), 100) AS pad FROM range(10000, 11000))".to_owned(),
        "SELECT array_length(list_filter(range(0, 1000000), x -> pad > '')) FROM (SELECT repeat(CAST(value AS VARCHAR), 100) AS pad FROM range(10000, 10001))".to_owned(),
        "SELECT length(encode(CAST(repeat('x', 40000000) AS BYTEA), 'hex'))".to_owned(),
        "SELECT max(length(to_char(TIMESTAMP '2026-01-01' + value * INTERVAL '1 day', repeat('Q', 100000)))) FROM range(0, 1000)".to_owned(),
        "SELECT length(to_char(TIMESTAMP '2026-01-01', repeat('Q', 10000000 + value))) FROM range(0, 1)".to_owned(),
        "SELECT length(strftime(TIMESTAMP '2026-01-01', repeat('%c', 4000000 + value))) FROM range(0, 1)".to_owned(),
        "SELECT length(date_format(TIMESTAMP '2026-01-01', repeat('%B', 4000000 + value))) FROM range(0, 1)".to_owned(),
        "SELECT length(lpad('x', 20000000 + value, '😀')) FROM range(0, 1)".to_owned(),
        "SELECT length(rpad('x', 20000000 + value, 'ä😀')) FROM range(0, 1)".to_owned(),
        "SELECT array_length(regexp_match(repeat('x', 1000000 + value), repeat('(', 100) || 'x*' || repeat(')', 100))) FROM range(0, 1)".to_owned(),
    ] {
        let error = lines(&session, &sql).await.expect_err(&sql);
        assert_eq!(error, "the query needs more memory than it may use", "{sql}");
    }
    for (sql, expected) in [
        (
            "SELECT array_length(generate_series(DATE '2026-01-01', DATE '2026-12-31', INTERVAL '1 month'))",
            "12",
        ),
        (
            "SELECT array_length(range(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL '1 hour'))",
            "24",
        ),
        (
            "SELECT generate_series(DATE '2026-01-03', DATE '2026-01-01', INTERVAL '-1 day')",
            "[2026-01-03, 2026-01-02, 2026-01-01]",
        ),
        (
            "SELECT generate_series(NULL, DATE '2026-01-01', INTERVAL '1 day') IS NULL",
            "true",
        ),
        (
            "SELECT count(*) FROM generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL '1 second')",
            "86401",
        ),
        ("SELECT overlay('abcd' PLACING 'xy' FROM 2 FOR 1)", "axycd"),
        ("SELECT array_concat([1], [2, 3])", "[1, 2, 3]"),
        ("SELECT translate('abc', 'ab', 'x')", "xc"),
        ("SELECT string_to_array('a,b', ',')", "[a, b]"),
        ("SELECT encode('ab', 'hex')", "6162"),
        ("SELECT lpad('x', 3, 'ä') || rpad('ö', 2, '-')", "ääxö-"),
        (
            "SELECT length(lpad('x', 20000000 + value, '-')) FROM range(0, 1)",
            "20000000",
        ),
        (
            "SELECT to_char(TIMESTAMP '2026-01-02', 'YYYY') || strftime(TIMESTAMP '2026-01-02', '%d') || date_format(DATE '2026-03-02', '%m')",
            "20260203",
        ),
        (
            "SELECT regexp_match('2026-01', '([0-9]+)-([0-9]+)')",
            "[2026, 01]",
        ),
        (
            "SELECT list_transform([1, NULL, 3], x -> x + y) FROM (VALUES (10)) AS v(y)",
            "[11, , 13]",
        ),
        (
            "SELECT list_filter(list_transform(range(0, 5), x -> x * x), x -> x > 3)",
            "[4, 9, 16]",
        ),
    ] {
        assert_eq!(answer(&session, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_large_constant_is_no_larger_for_many_rows() {
    let session = session(64 * MIB, 1);
    for (sql, expected) in [
        (
            "SELECT count(*), sum(x) FROM (SELECT unnest(range(0, 10000)) AS x FROM range(0, 2000))",
            "20000000 99990000000",
        ),
        (
            "SELECT count(*), max(length(x)) FROM (SELECT repeat('x', 1000000) AS x, value FROM range(0, 3000))",
            "3000 1000000",
        ),
        (
            "SELECT count(*) FROM (SELECT repeat('x', 100000) || CAST(value AS VARCHAR) AS x FROM range(0, 3000)) WHERE x LIKE '%99'",
            "30",
        ),
        (
            "SELECT count(*) FROM (SELECT unnest(generate_series(DATE '1900-01-01', DATE '2099-12-31', INTERVAL '1 day')) AS x FROM range(0, 100))",
            "7304900",
        ),
    ] {
        assert_eq!(answer(&session, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn wide_rows_are_sorted_from_disk() {
    let view = "arrow_cast(CAST(value AS VARCHAR), 'Utf8View')";
    for (memory, threads, text) in [
        (64, 2, "CAST(value AS VARCHAR)"),
        (64, 8, view),
        (128, 2, view),
    ] {
        let session = session(memory * MIB, threads);
        for width in [200, 2000] {
            let sql = |rest: &str| {
                format!(
                    "SELECT count(*), min(n), max(n), sum(CASE WHEN n <> place THEN 1 ELSE 0 END), max(length(pad)) FROM
                     (SELECT n, pad, row_number() OVER () AS place FROM (SELECT value AS n, repeat({text}, {width}) AS pad,
                      repeat('y', 50) AS other FROM range(1, 40001) ORDER BY md5(CAST(value AS VARCHAR)), n) AS s ORDER BY n {rest})"
                )
            };
            let longest = 5 * width;
            assert_eq!(
                answer(&session, &sql("")).await,
                format!("40000 1 40000 0 {longest}"),
                "{memory} {width}"
            );
            let cut = answer(&session, &sql("LIMIT 30000")).await;
            assert_eq!(
                cut,
                format!("30000 1 30000 0 {longest}"),
                "{memory} {width}"
            );
            assert_eq!(
                answer(&session, &sql("LIMIT 7")).await,
                format!("7 1 7 0 {width}"),
                "{memory} {width}"
            );
        }
    }
}

#[tokio::test]
async fn lists_of_windows_are_held_to_memory() {
    let session = session(64 * MIB, 1);
    let all = |call: &str, rows: usize| {
        format!(
            "SELECT count(*), max(n) FROM (SELECT {call} AS n FROM (SELECT value, 'a text that is somewhat longer ' || CAST(value AS VARCHAR) AS x FROM range(0, {rows})))"
        )
    };
    for (call, few, most) in [
        (
            "array_length(array_agg(x) OVER (ORDER BY value))",
            100,
            "100",
        ),
        (
            "length(string_agg(x, ',') OVER (ORDER BY value))",
            11,
            "363",
        ),
        ("array_length(array_agg(x) OVER ())", 100, "100"),
        ("length(string_agg(x, '') OVER ())", 10, "320"),
        (
            "array_length(array_agg(x) OVER (ORDER BY value ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING))",
            100,
            "100",
        ),
        (
            "array_length(array_agg(x) OVER (ORDER BY value ROWS BETWEEN 40000 PRECEDING AND CURRENT ROW))",
            100,
            "100",
        ),
    ] {
        assert_eq!(
            answer(&session, &all(call, few)).await,
            format!("{few} {most}"),
            "{call}"
        );
        let many = lines(&session, &all(call, 50_000)).await;
        assert_eq!(
            many.unwrap_err(),
            "the query needs more memory than it may use",
            "{call}"
        );
    }
    // Short frames and small partitions go on for as long as there are rows.
    for (call, expected) in [
        (
            "array_length(array_agg(x) OVER (ORDER BY value ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING))",
            "60000 4",
        ),
        (
            "array_length(array_agg(x) OVER (PARTITION BY value / 4 ORDER BY value))",
            "60000 4",
        ),
    ] {
        assert_eq!(
            answer(&session, &all(call, 60_000)).await,
            expected,
            "{call}"
        );
    }
    assert_eq!(
        answer(
            &session,
            "SELECT max(array_to_string(x, '')) FROM (SELECT array_agg(value) OVER (ORDER BY value ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS x FROM range(0, 4))"
        )
        .await,
        "3"
    );
    assert_eq!(
        answer(
            &session,
            "SELECT min(array_to_string(x, '')) FROM (SELECT array_agg(value) OVER (ORDER BY value ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS x FROM range(0, 4))"
        )
        .await,
        "0123"
    );
}

#[tokio::test]
async fn a_long_list_beside_long_texts_is_unnested_in_pieces() {
    let session = session(64 * MIB, 1);
    let unnested = |elements: usize| {
        format!(
            "SELECT count(x), max(length(pad)) FROM (SELECT unnest(range(0, {elements} + value * 0)) AS x, repeat('x', 1000 + value) AS pad FROM range(0, 4))"
        )
    };
    let deep = |elements: usize| {
        format!(
            "SELECT count(x), max(length(pad)) FROM (SELECT unnest(unnest(array_repeat(range(0, 100 + value * 0), {elements}))) AS x, repeat('x', 1000 + value) AS pad FROM range(0, 4))"
        )
    };
    assert_eq!(answer(&session, &unnested(4000)).await, "16000 1003");
    assert_eq!(answer(&session, &deep(20)).await, "8000 1003");
    assert_eq!(answer(&session, &unnested(100_000)).await, "400000 1003");
    let sorted = "SELECT min(x), max(x), sum(length(y)) FROM (SELECT x, y FROM (SELECT unnest(generate_series(1, 20000)) AS x, repeat('a', 10000) AS y) ORDER BY x DESC LIMIT 5)";
    assert_eq!(answer(&session, sorted).await, "19996 20000 50000");
    // Shorter lists beside a long one are filled up with nulls.
    let beside = "SELECT count(*), count(a), count(b), sum(length(pad)) FROM (SELECT unnest(range(0, 5000 + value)) AS a, unnest(range(0, 3 * value)) AS b, repeat('x', 2000) AS pad FROM range(0, 3))";
    assert_eq!(answer(&session, beside).await, "15003 15003 9 30006000");
    let sql = deep(2000);
    assert_eq!(
        lines(&session, &sql).await.unwrap_err(),
        "the query needs more memory than it may use",
        "{sql}"
    );
}

#[tokio::test]
async fn medians_of_a_few_large_groups_are_worked_out_from_disk() {
    let sql = "SELECT g, median(a), percentile_cont(0.9) WITHIN GROUP (ORDER BY a DESC), median(DISTINCT f), count(*) FROM
        (SELECT value % 3 AS g, CAST(value * 7919 % 1000003 AS DECIMAL(18, 2)) AS a, CAST(value % 1000 AS DOUBLE) AS f FROM range(0, 1500000))
        GROUP BY g ORDER BY g";
    let with_little = answer(&session(64 * MIB, 1), sql).await;
    assert_eq!(with_little, answer(&session(2048 * MIB, 2), sql).await);
    // Every third number from 0, 1 and 2 on.
    let thirds = "SELECT g, median(a) FROM (SELECT value % 3 AS g, CAST(value AS DECIMAL(18, 2)) AS a FROM range(0, 1500000)) GROUP BY g ORDER BY g";
    assert_eq!(
        answer(&session(64 * MIB, 1), thirds).await,
        "0 749998.500000000000; 1 749999.500000000000; 2 750000.500000000000"
    );
}

/// Questions of tools about a catalog are planned with other rules, and have no more memory.
#[tokio::test]
async fn questions_about_a_catalog_make_no_large_values_either() {
    let session = session(16 * MIB, 1);
    let context = session.catalog_context("tools", Arc::new(MemoryCatalogProvider::new()));
    // Ten times eight times as long.
    let mut long = "SELECT 'x' || chr(value + 60) AS a FROM generate_series(1, 1)".to_owned();
    for _ in 0..10 {
        long = format!("SELECT a || a || a || a || a || a || a || a AS a FROM ({long})");
    }
    for sql in [
        "SELECT length(repeat('x', 1000000000))",
        "SELECT length(lpad('x', 1000000000, 'y'))",
        "SELECT array_length(array_repeat('x', 100000000))",
        &format!("SELECT length(a) FROM ({long})"),
    ] {
        let asked = async { context.sql(sql).await?.collect().await };
        let error = into_error(asked.await.unwrap_err());
        assert!(error.message().contains("more memory"), "{sql}: {error}");
    }
    let small = context.sql("SELECT repeat('x', 3) || 'y' AS a").await;
    let small = small.unwrap().collect().await.unwrap();
    let shown = pretty_format_batches(&small).unwrap().to_string();
    assert!(shown.contains("xxxy"), "{shown}");
}
