//! Queries that are as long and as deep as programs write them: each has its answer or an error that says what is wrong.
//!
//! Invariant: none of them ends the process. They run on a thread with the stack that the binary gives its queries.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;
use tillhouse_query::{DEEP_STACK, QueryEngine, QueryEngineOptions, WORKER_STACK, collect};

/// The first value of each query, or its error.
fn answers(queries: Vec<String>) -> Vec<Result<String, String>> {
    let run = move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime
            .worker_threads(2)
            .thread_stack_size(WORKER_STACK)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let session = QueryEngine::new(QueryEngineOptions::default())
                .unwrap()
                .empty_session()
                .unwrap();
            let batch = RecordBatch::try_from_iter([
                ("n", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef),
                (
                    "s",
                    Arc::new(StringArray::from(vec!["a", "b", "c"])) as ArrayRef,
                ),
            ])
            .unwrap();
            session
                .register_batches("t", batch.schema(), vec![batch])
                .unwrap();
            let mut answers = Vec::new();
            for query in &queries {
                let outcome = match session.query(query).await {
                    Ok(stream) => collect(stream).await,
                    Err(error) => Err(error),
                };
                answers.push(match outcome {
                    Ok(batches) => {
                        let formatter = ArrayFormatter::try_new(
                            batches[0].column(0),
                            &FormatOptions::default(),
                        );
                        Ok(formatter.unwrap().value(0).to_string())
                    }
                    Err(error) => Err(error.message().to_owned()),
                });
            }
            answers
        })
    };
    std::thread::Builder::new()
        .stack_size(DEEP_STACK)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap()
}

fn many(count: usize, separator: &str, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect::<Vec<_>>().join(separator)
}

/// `before`, `count` times, `middle`, and `after` as often.
fn nested(count: usize, before: &str, middle: &str, after: &str) -> String {
    format!("{}{middle}{}", before.repeat(count), after.repeat(count))
}

#[test]
fn what_is_long_has_its_answer() {
    let cases = [
        (
            "SELECT count(*) FROM (SELECT count(*) FROM t GROUP BY CUBE (n, s, n + 1, n + 2))"
                .to_owned(),
            "46",
        ),
        (
            format!(
                "SELECT count(*) FROM t WHERE n IN ({})",
                many(100_000, ",", |i| i.to_string())
            ),
            "3",
        ),
        (
            format!(
                "SELECT count(*) FROM t WHERE {}",
                many(10_000, " OR ", |i| format!("n = {i}"))
            ),
            "3",
        ),
        (
            format!(
                "SELECT count(*) FROM t WHERE {}",
                many(10_000, " AND ", |i| format!("n <> -{i}"))
            ),
            "3",
        ),
        (
            format!(
                "SELECT count(*) FROM t WHERE {}",
                many(2_000, " AND ", |_| "1 = 1".to_owned())
            ),
            "3",
        ),
        (
            format!(
                "SELECT count(*) FROM t WHERE {}",
                many(2_000, " AND ", |_| "t.n IS NOT NULL".to_owned())
            ),
            "3",
        ),
        (
            format!(
                "SELECT count(*) FROM ({}) AS u",
                many(401, " UNION ALL ", |_| "SELECT t.n FROM t".to_owned())
            ),
            "1203",
        ),
        (format!("SELECT {}", nested(300, "(", "1", ")")), "1"),
        (
            format!(
                "SELECT {}",
                nested(150, "CASE WHEN 1 = 2 THEN 0 ELSE ", "1", " END")
            ),
            "1",
        ),
        (format!("SELECT {}", nested(150, "abs(", "-1", ")")), "1"),
        (
            format!("SELECT {}1{}", "[".repeat(8), "]".repeat(8)),
            "[[[[[[[[1]]]]]]]]",
        ),
        (
            format!(
                "SELECT {} FROM t LIMIT 1",
                nested(100, "coalesce(", "n", ", -7)")
            ),
            "1",
        ),
        (
            format!(
                "SELECT {}NULL{} FROM t LIMIT 1",
                "coalesce(nvl(".repeat(60),
                ", n), 1.5)".repeat(60)
            ),
            "1.0",
        ),
        // The last value of each stands in the plan once.
        (
            format!(
                "SELECT {} FROM t LIMIT 1",
                nested(40, "coalesce(nullif(n, 1), (abs(", "n", ")))")
            ),
            "1",
        ),
        // Each level has one more digit behind the point, and casts the one within it.
        (
            format!(
                "SELECT {} FROM t LIMIT 1",
                (1..=30).fold("CAST(n AS DECIMAL(3, 0))".to_owned(), |inner, digits| {
                    format!("coalesce({inner}, 0.{})", "5".repeat(digits))
                })
            ),
            "1.000000000000000000000000000000",
        ),
        (format!("SELECT {}true", "NOT ".repeat(200)), "true"),
        (
            format!(
                "SELECT '{}'{} ->> 'a'",
                nested(100, "{\"a\":", "1", "}"),
                " -> 'a'".repeat(99)
            ),
            "1",
        ),
        (format!("SELECT {}1", "- ".repeat(200)), "1"),
        (
            nested(60, "SELECT * FROM (", "SELECT 1 AS a", ") AS x"),
            "1",
        ),
        (
            format!(
                "SELECT count(*) FROM ({}) AS u",
                many(200, " UNION ALL ", |i| format!("SELECT {i} AS a"))
            ),
            "200",
        ),
        (
            format!("SELECT length({})", many(500, " || ", |_| "'a'".to_owned())),
            "500",
        ),
        (
            format!(
                "SELECT sum({}) FROM t",
                many(200, " + ", |_| "n".to_owned())
            ),
            "1200",
        ),
        (
            format!(
                "SELECT count(*) FROM (VALUES {}) AS v(a)",
                many(20_000, ",", |i| format!("({i})"))
            ),
            "20000",
        ),
    ];
    let (queries, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    for ((query, answer), expected) in queries.iter().zip(answers(queries.clone())).zip(expected) {
        assert_eq!(answer.as_deref(), Ok(expected), "{query:.100}");
    }
}

#[test]
fn what_is_too_deep_is_an_error_that_says_so() {
    let doubled = |i: usize| {
        format!(
            "c{} AS (SELECT x.a FROM c{i} AS x CROSS JOIN c{i} AS y)",
            i + 1
        )
    };
    let cases = [
        (
            format!("SELECT {}", nested(10_000, "(", "1", ")")),
            "nested too deeply",
        ),
        (
            format!("SELECT {}", nested(500_000, "(", "1", ")")),
            "nested too deeply",
        ),
        (
            format!("SELECT * FROM {}", nested(10_000, "(", "SELECT 1", ")")),
            "nested too deeply",
        ),
        (
            format!(
                "SELECT {}",
                nested(10_000, "CASE WHEN 1 = 2 THEN 0 ELSE ", "1", " END")
            ),
            "nested too deeply",
        ),
        (
            format!("SELECT {}", nested(10_000, "abs(", "1", ")")),
            "nested too deeply",
        ),
        (
            format!(
                "SELECT {} FROM t",
                nested(100, "coalesce(abs(", "n", "), -7)")
            ),
            "more than 16 COALESCE within each other",
        ),
        (
            format!("SELECT a{} FROM t", ".b".repeat(100_000)),
            "nested too deeply",
        ),
        (
            format!(
                "SELECT count(*) FROM t WHERE n[1]{} = 1",
                ".b".repeat(20_000)
            ),
            "nested too deeply",
        ),
        (
            format!("SELECT {}", nested(10_000, "[", "1", "]")),
            "nested too deeply",
        ),
        (
            format!("SELECT {}", nested(390, "[", "1", "]")),
            "more than 64 lists within each other",
        ),
        (
            format!("SELECT {}", nested(65, "make_array(", "1", ")")),
            "more than 64 lists within each other",
        ),
        (
            format!("SELECT {}", nested(40, "[{'a': ", "1", "}]")),
            "more than 64 lists within each other",
        ),
        (
            format!("SELECT CAST(NULL AS INT{})", "[]".repeat(100_000)),
            "nested too deeply",
        ),
        (
            format!("SELECT CAST(NULL AS INT{})", "[ 3 ]".repeat(65)),
            "nested too deeply",
        ),
        (
            format!(
                "SELECT CAST(NULL AS {})",
                nested(30_000, "ARRAY<", "INT", "> ")
            ),
            "nested too deeply",
        ),
        (
            nested(10_000, "SELECT * FROM (", "SELECT 1", ") AS x"),
            "nested too deeply",
        ),
        (
            nested(60, "SELECT 1 FROM t WHERE EXISTS (", "SELECT 1", ")"),
            "12 subqueries within each other",
        ),
        (
            nested(60, "SELECT n FROM t WHERE n IN (", "SELECT 1", ")"),
            "12 subqueries within each other",
        ),
        (
            format!("SELECT {} FROM t", many(10_000, " || ", |_| "s".to_owned())),
            "nested too deeply",
        ),
        (
            many(3_000, " UNION ALL ", |i| format!("SELECT {i} AS a")),
            "too many UNIONs in a row",
        ),
        (
            format!(
                "SELECT count(*) FROM {}",
                many(3_000, " CROSS JOIN ", |i| format!("t AS t{i}"))
            ),
            "too many joins in a row",
        ),
        (
            format!("SELECT {}", many(300_000, " + ", |_| "1".to_owned())),
            "too long: more than 300000 words",
        ),
        (
            format!("SELECT {}", many(1_100, " + ", |_| "1".to_owned())),
            "nested too deeply",
        ),
        (
            format!("SELECT 1 IN ({})", many(200_000, ",", |i| i.to_string())),
            "too long: more than 300000 words",
        ),
        (
            format!("SELECT length('{}')", "x".repeat(3_000_000)),
            "too long: more than 3000000 bytes",
        ),
        (
            format!("SELECT \"{}\" FROM t", "x".repeat(5_000)),
            "a name in the query is longer than 4000 characters",
        ),
        (
            format!("SELECT n{} FROM t", "::int".repeat(10_000)),
            "nested too deeply",
        ),
        (
            format!("SELECT n{} FROM t", " IS NULL".repeat(10_000)),
            "nested too deeply",
        ),
        (
            format!("SELECT x{} FROM (SELECT [1] AS x)", "[1]".repeat(10_000)),
            "nested too deeply",
        ),
        (
            format!("SELECT {}1", "- ".repeat(10_000)),
            "nested too deeply",
        ),
        (
            format!("SELECT {}true", "NOT ".repeat(450)),
            "nested too deeply",
        ),
        (
            format!("SELECT {}true", "NOT ".repeat(10_000)),
            "nested too deeply",
        ),
        (
            format!("SELECT {}", nested(390, "NOT (", "true", ")")),
            "nested too deeply",
        ),
        (format!("SELECT {}1", "- ".repeat(450)), "nested too deeply"),
        (format!("SELECT {}1", "+ ".repeat(450)), "nested too deeply"),
        (
            format!("SELECT {}1", "~ ".repeat(1_000)),
            "nested too deeply",
        ),
        (
            format!("SELECT {}", nested(390, "-(", "1", ")")),
            "nested too deeply",
        ),
        (
            format!("SELECT {}", nested(450, "CAST(", "1", " AS INT)")),
            "nested too deeply",
        ),
        (
            format!(
                "SELECT {}",
                nested(450, "CASE WHEN true THEN ", "1", " END")
            ),
            "nested too deeply",
        ),
        (
            format!(
                "SELECT {}",
                nested(390, "CASE WHEN NOT ", "true", " THEN true END")
            ),
            "nested too deeply",
        ),
        (
            format!("SELECT {}'1' DAY", "INTERVAL ".repeat(1_000)),
            "nested too deeply",
        ),
        (
            many(10_000, " UNION ALL ", |i| format!("SELECT {i}")),
            "too many UNIONs in a row",
        ),
        (
            format!(
                "SELECT count(*) FROM t AS t0 {}",
                many(3_000, " ", |i| format!("CROSS JOIN t AS t{}", i + 1))
            ),
            "too many joins in a row",
        ),
        // Each is short, and together they are as deep as both: 100 parentheses around chains of 100.
        (
            format!(
                "SELECT {}1{}",
                "(".repeat(100),
                format!("{})", " + 1".repeat(100)).repeat(100)
            ),
            "nested too deeply",
        ),
        (
            format!(
                "WITH c0 AS (SELECT 1 AS a), {} SELECT * FROM c20",
                many(20, ", ", doubled)
            ),
            "plan has more than",
        ),
        (
            format!(
                "SELECT count(*) FROM t GROUP BY CUBE ({})",
                many(20, ", ", |i| format!("n + {i}"))
            ),
            "groups in more than",
        ),
        (
            format!(
                "SELECT 1 UNION ALL SELECT count(*) FROM t GROUP BY CUBE ({0}), ROLLUP ({0})",
                many(10, ", ", |i| format!("n + {i}"))
            ),
            "groups in more than",
        ),
    ];
    let (queries, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    for ((query, answer), expected) in queries.iter().zip(answers(queries.clone())).zip(expected) {
        assert!(
            answer.as_ref().is_err_and(|error| error.contains(expected)),
            "{query:.100}: {answer:?}"
        );
    }
}
