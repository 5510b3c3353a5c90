//! Expressions without parentheses mean what they mean in PostgreSQL; each is tested by its result.
//!
//! Invariant: every result here differs from that of the other grouping, or the other grouping is an error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::util::display::{ArrayFormatter, FormatOptions};
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session, collect};

async fn value(session: &Session, expression: &str) -> String {
    let sql = format!("SELECT {expression} AS x FROM (VALUES (1, 'abc', NULL)) AS t(n, s, u)");
    let batches = collect(
        session
            .query(&sql)
            .await
            .unwrap_or_else(|e| panic!("{expression}: {e:?}")),
    )
    .await;
    let batches = batches.unwrap_or_else(|e| panic!("{expression}: {e:?}"));
    let options = FormatOptions::default().with_null("null");
    ArrayFormatter::try_new(batches[0].column(0), &options)
        .unwrap()
        .value(0)
        .to_string()
}

#[tokio::test]
async fn operators_bind_as_in_postgresql() {
    let session = QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap();
    for (expression, result) in [
        // IS DISTINCT FROM is looser than comparisons and tighter than NOT, AND and OR.
        ("n IS DISTINCT FROM 1 AND false", "false"),
        ("n IS DISTINCT FROM 2 AND false", "false"),
        ("n IS NOT DISTINCT FROM 1 OR true", "true"),
        ("n IS NOT DISTINCT FROM 2 OR true", "true"),
        (
            "s IS NOT DISTINCT FROM 'abc' AND n IS NOT DISTINCT FROM 2",
            "false",
        ),
        ("u IS DISTINCT FROM 1 AND n = 2", "false"),
        ("NOT n IS DISTINCT FROM 1 AND n = 1", "true"),
        ("NOT n IS NOT DISTINCT FROM 1 OR n = 1", "true"),
        ("true IS DISTINCT FROM n = 1", "false"),
        ("n IS DISTINCT FROM 1 IS NULL", "false"),
        ("n IS DISTINCT FROM 1 IS NOT NULL", "true"),
        ("n + 1 IS DISTINCT FROM 1 + 1", "false"),
        (
            "n IS DISTINCT FROM 1 AND n IS DISTINCT FROM 2 OR n = 1",
            "true",
        ),
        (
            "CASE WHEN n IS NOT DISTINCT FROM 1 AND s = 'x' THEN 'both' ELSE 'not' END",
            "not",
        ),
        // LIKE, BETWEEN and IN are tighter than comparisons.
        ("s LIKE 'a%' = true", "true"),
        ("s LIKE 'x%' = false", "true"),
        ("true = s LIKE 'a%'", "true"),
        ("s NOT LIKE 'a%' = false", "true"),
        ("false = s NOT LIKE 'a%'", "true"),
        ("s ILIKE 'A%' = true", "true"),
        ("true = s ILIKE 'A%'", "true"),
        ("s NOT ILIKE 'A%' <> true", "true"),
        ("s SIMILAR TO 'abc' = true", "true"),
        ("s LIKE 'ab' || 'c'", "true"),
        ("s LIKE 'x%' IS NOT TRUE", "true"),
        ("u LIKE 'x%' IS NULL", "true"),
        ("true = n BETWEEN 0 AND 2", "true"),
        ("false = n BETWEEN 2 AND 3", "true"),
        ("n BETWEEN 0 AND 2 = true", "true"),
        ("n NOT BETWEEN 0 AND 2 = false", "true"),
        ("n BETWEEN 0 AND 1 + 1 AND s = 'x'", "false"),
        ("n BETWEEN 2 AND 3 OR true", "true"),
        ("NOT n BETWEEN 0 AND 2 AND true", "false"),
        ("true = n IN (1, 2)", "true"),
        ("false = n NOT IN (1, 2)", "true"),
        ("n + 1 IN (2)", "true"),
        ("n IN (1) = true", "true"),
        ("NOT n IN (2) AND false", "false"),
        // Comparisons are tighter than IS, and IS than NOT.
        ("n = 2 IS FALSE", "true"),
        ("n = 2 IS NOT TRUE", "true"),
        ("n = u IS UNKNOWN", "true"),
        ("n = u IS NULL", "true"),
        ("n = u IS NOT UNKNOWN", "false"),
        ("n > 0 IS TRUE", "true"),
        ("NOT n IS NULL", "true"),
        ("NOT u IS NULL", "false"),
        ("NOT n = 2", "true"),
        ("NOT n = 2 AND false", "false"),
        ("NOT false AND false", "false"),
        ("NOT false OR true", "true"),
        ("NOT NOT n = 1", "true"),
        ("n ISNULL", "false"),
        ("u ISNULL AND n NOTNULL", "true"),
        ("NOT u NOTNULL", "true"),
        ("n = u ISNULL", "true"),
        // AND is tighter than OR.
        ("true OR true AND false", "true"),
        ("false AND false OR true", "true"),
        ("true OR false AND false OR false", "true"),
        // Every other operator is looser than arithmetic, tighter than LIKE and comparisons, and of one level.
        ("1 + 2 || 'x'", "3x"),
        ("'x' || 1 + 2", "x3"),
        ("2 * 3 || 'x'", "6x"),
        ("'x' || 2 * 3", "x6"),
        ("'a' || 'b' = 'ab'", "true"),
        ("'ab' = 'a' || 'b'", "true"),
        ("'a' || 'b' LIKE 'ab'", "true"),
        ("'a' || 'b' IN ('ab')", "true"),
        ("'b' || 'c' BETWEEN 'b' AND 'c'", "true"),
        ("'a' || NULL IS NULL", "true"),
        ("4 | 2 & 2", "2"),
        ("2 & 2 | 4", "6"),
        ("1 | 6 & 2", "2"),
        ("1 << 2 + 1", "8"),
        ("1 + 1 << 2", "8"),
        ("6 & 3 + 1", "4"),
        ("1 | 2 = 3", "true"),
        ("3 = 1 | 2", "true"),
        ("8 >> 1 & 6", "4"),
        ("2 * 3 ^ 2", "18.0"),
        ("-2 ^ 2", "4.0"),
        ("2 ^ 3 ^ 2", "64.0"),
        ("8 >> 2 << 1", "4"),
        ("2 * 3 & 3", "2"),
        ("true = s ~ 'b'", "true"),
        ("s ~ 'b' = true", "true"),
        ("s !~ 'x' AND s ~* 'B'", "true"),
        ("false = s !~* 'B'", "true"),
        ("true = s ~~ 'a%'", "true"),
        ("[1, 2] @> [1] = true", "true"),
        ("true = [1] <@ [1, 2]", "true"),
        // Casts are tighter than the minus sign, which is tighter than arithmetic.
        ("2 + 3::bigint || 'x'", "5x"),
        ("- 2 * 3 + 10", "4"),
        ("2 - 3 - 4", "-5"),
        ("2 - 3 * 4 - 1", "-11"),
        ("16 / 4 / 2", "2"),
        ("7 % 4 * 2", "6"),
        ("2 * -3", "-6"),
        ("-n + 3", "2"),
        ("n::text || s::text = '1abc'", "true"),
        ("'1' || '2'::int + 1", "13"),
        ("arrow_cast(n, 'Int64')::text LIKE '1'", "true"),
        // AT TIME ZONE is tighter than arithmetic and comparisons, looser than a cast.
        (
            "'2026-01-01T00:00:00'::timestamp AT TIME ZONE 'Europe/Berlin' = '2025-12-31T23:00:00Z'::timestamptz",
            "true",
        ),
        (
            "'2026-01-01T00:00:00'::timestamp AT TIME ZONE 'Europe/Berlin' + interval '1 hour' = '2026-01-01T00:00:00Z'::timestamptz",
            "true",
        ),
        // ANY and ALL, EXISTS, scalar queries.
        ("n = ANY([1, 2]) AND false", "false"),
        ("NOT n = ANY([2]) OR true", "true"),
        ("n > ALL([0]) AND n = 1", "true"),
        ("NOT EXISTS (SELECT 1) OR true", "true"),
        ("NOT EXISTS (SELECT 1) AND false", "false"),
        ("n IN (2) OR true", "true"),
        ("(SELECT 1) + 1 = 2", "true"),
    ] {
        assert_eq!(value(&session, expression).await, result, "{expression}");
    }
}

#[tokio::test]
async fn sets_are_combined_as_in_postgresql() {
    let session = QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap();
    for (query, result) in [
        // INTERSECT is tighter than UNION and EXCEPT, and those two go from left to right.
        ("SELECT 1 UNION ALL SELECT 2 INTERSECT SELECT 3", "1"),
        ("SELECT 3 UNION ALL SELECT 2 INTERSECT SELECT 2", "2"),
        ("SELECT 1 EXCEPT SELECT 1 UNION ALL SELECT 1", "1"),
        ("SELECT 1 EXCEPT SELECT 2 INTERSECT SELECT 3", "1"),
        ("SELECT 1 UNION ALL SELECT 2 LIMIT 1", "1"),
        ("SELECT 1 UNION SELECT 1 UNION ALL SELECT 1", "2"),
        ("SELECT 1 UNION ALL SELECT 1 UNION SELECT 1", "1"),
    ] {
        assert_eq!(
            value(&session, &format!("(SELECT count(*) FROM ({query}))")).await,
            result,
            "{query}"
        );
    }
}

#[tokio::test]
async fn many_conditions_are_those_of_few() {
    let session = QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap();
    for terms in [2, 64, 65, 129, 1_000] {
        let all = |first: &str, keyword: &str, other: &str| {
            let mut terms: Vec<String> = (1..terms)
                .map(|at| other.replace('#', &at.to_string()))
                .collect();
            terms.insert(terms.len() / 2, first.to_owned());
            terms.join(&format!(" {keyword} "))
        };
        for (expression, result) in [
            (all("n = 1", "AND", "n <> -#"), "true"),
            (all("n = 2", "AND", "n <> -#"), "false"),
            (all("n = u", "AND", "n <> -#"), "null"),
            (all("n = 1", "OR", "n = -#"), "true"),
            (all("n = 2", "OR", "n = -#"), "false"),
            (all("n = u", "OR", "n = -#"), "null"),
            (all("n = 1 OR n = 2", "AND", "n <> -#"), "true"),
            (all("n <> 1", "AND", "n <> -#"), "false"),
            (all("n <> 1.0", "AND", "n <> #.5"), "false"),
            (all("s <> 'abc'", "AND", "s <> 'x#'"), "false"),
            (all("s <> 'abd'", "AND", "s <> 'x#'"), "true"),
            (all("u <> 1", "AND", "u <> 1#"), "null"),
            (all("n <> NULL", "AND", "n <> -#"), "null"),
            (all("n = 1.0", "OR", "n = 1.#9"), "true"),
            (all("s = 'abc'", "OR", "s = 'x#' OR n = -#"), "true"),
            (
                all("s = 'abd'", "OR", "t.s = 'x#' OR n = -# OR 1 = 2"),
                "false",
            ),
        ] {
            assert_eq!(
                value(&session, &expression).await,
                result,
                "{terms}: {expression:.80}"
            );
        }
    }
}
