//! Sessions: they read only, explain themselves, join the sales, bind placeholders, and bring
//! types out as they went in.
//!
//! Invariant: nothing here needs a warehouse; tables are registered by the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::array::{
    ArrayRef, Decimal128Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::DataType;
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use std::sync::Arc;
use tillhouse_model::ErrorKind;
use tillhouse_query::{QueryEngine, QueryEngineOptions, ScalarValue, Session, collect};

fn session() -> Session {
    QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap()
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Arc<MemTable> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .unwrap();
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap())
}

fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

async fn shown(session: &Session, sql: &str) -> String {
    let batches: Vec<_> = session
        .query(sql)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

fn with_facts() -> Session {
    let session = session();
    session
        .register(
            "transactions",
            table(vec![
                (
                    "transaction_key",
                    text(&[Some("p:1"), Some("p:2"), Some("p:3")]),
                ),
                ("pipeline", text(&[Some("p"), Some("p"), Some("p")])),
                ("tenant_id", text(&[Some("t"), Some("t"), None])),
                ("site_key", text(&[Some("p:a"), Some("p:b"), None])),
                (
                    "amount",
                    Arc::new(
                        Decimal128Array::from(vec![10_000, 20_000, 5])
                            .with_precision_and_scale(18, 4)
                            .unwrap(),
                    ),
                ),
                ("_run_id", text(&[Some("r"), Some("r"), Some("r")])),
            ]),
        )
        .unwrap();
    session
}

#[tokio::test]
async fn whatever_is_not_a_query_is_refused() {
    let session = with_facts();
    for sql in [
        "INSERT INTO transactions VALUES ('x')",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/tmp/x'",
        "COPY (SELECT 1) TO '/tmp/x.parquet'",
        "DROP TABLE transactions",
        "DELETE FROM transactions",
        "UPDATE transactions SET pipeline = 'q'",
        "TRUNCATE TABLE transactions",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "PREPARE p AS SELECT 1",
        "BEGIN",
        "EXPLAIN INSERT INTO transactions VALUES ('x')",
        "SELECT 1 INTO t",
    ] {
        let error = session.sql(sql).await.expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::Query, "{sql}: {error}");
        assert!(!error.to_string().contains('\n'), "{sql}: {error}");
    }
    let error = session
        .sql("INSERT INTO transactions VALUES ('x')")
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "INSERT is not a query, and SQL here only reads"
    );
    let several = session.sql("SELECT 1; SELECT 2").await.unwrap_err();
    assert_eq!(several.message(), "more than one statement was given");
    assert_eq!(
        session.sql(" ; ").await.unwrap_err().message(),
        "there is no SQL to run"
    );
    let file = session
        .sql("SELECT * FROM '/etc/passwd'")
        .await
        .unwrap_err();
    assert_eq!(file.kind(), ErrorKind::Query, "files are no tables");
}

#[tokio::test]
async fn what_would_not_be_heeded_is_refused() {
    let session = with_facts();
    for (sql, clause) in [
        ("SELECT * FROM transactions TABLESAMPLE (10)", "TABLESAMPLE"),
        (
            "SELECT 1 WHERE EXISTS (SELECT * FROM transactions TABLESAMPLE BERNOULLI (10))",
            "TABLESAMPLE",
        ),
        ("SELECT * FROM transactions FOR UPDATE", "FOR UPDATE"),
        ("SELECT * FROM transactions PARTITION (p0)", "partition"),
        ("SELECT * FROM transactions WITH (NOLOCK)", "hint"),
        ("SELECT 1 EXCEPT ALL SELECT 2", "EXCEPT"),
        ("SELECT * FROM transactions PREWHERE amount > 1", "PREWHERE"),
        (
            "SELECT * FROM transactions START WITH site_key = 'p:a' CONNECT BY PRIOR site_key = tenant_id",
            "CONNECT BY",
        ),
        (
            "SELECT pipeline, count(*) FROM transactions GROUP BY pipeline WITH TOTALS",
            "TOTALS",
        ),
        (
            "SELECT * FROM transactions SETTINGS max_threads = 1",
            "SETTINGS",
        ),
        ("SELECT * FROM transactions FORMAT CSV", "FORMAT"),
        (
            "SELECT upper(pipeline) FILTER (WHERE amount > 1) FROM transactions",
            "FILTER",
        ),
        (
            "SELECT upper(DISTINCT pipeline) FROM transactions",
            "DISTINCT",
        ),
        ("SELECT abs(amount) OVER () FROM transactions", "OVER"),
        ("SELECT sum(1)(amount) FROM transactions", "brackets"),
        (
            "SELECT sum(amount) OVER (w PARTITION BY pipeline) FROM transactions WINDOW w AS (ORDER BY amount)",
            "window",
        ),
        (
            "WITH t AS (SELECT 1 UNION ALL (SELECT 1 INTERSECT ALL SELECT 2)) SELECT * FROM t",
            "INTERSECT",
        ),
    ] {
        let error = session.sql(sql).await.expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::Query, "{sql}: {error}");
        assert!(
            error.message().contains(clause) && error.hint_text().is_some(),
            "{sql}: {error}"
        );
    }
    for sql in [
        "SELECT 1 UNION ALL SELECT 1",
        "SELECT 1 EXCEPT SELECT 2",
        "\u{feff}SELECT count(*) FROM transactions",
    ] {
        assert!(session.sql(sql).await.is_ok(), "{sql}");
    }
}

#[tokio::test]
async fn questions_about_the_catalog_are_queries() {
    let session = with_facts();
    for sql in [
        "EXPLAIN SELECT * FROM transactions",
        "DESCRIBE transactions",
        "SHOW TABLES",
        "SHOW COLUMNS FROM transactions",
        "WITH t AS (SELECT 1 AS a) SELECT * FROM t",
        "VALUES (1), (2)",
        "SELECT table_name FROM information_schema.tables",
    ] {
        let batches: Vec<RecordBatch> = session
            .query(sql)
            .await
            .expect(sql)
            .try_collect()
            .await
            .expect(sql);
        assert!(
            batches.iter().map(RecordBatch::num_rows).sum::<usize>() > 0,
            "{sql}"
        );
    }
    let tables = session.tables().await.unwrap();
    assert_eq!(
        tables,
        [
            ("unified".into(), "sales".into()),
            ("unified".into(), "transactions".into())
        ]
    );
    assert!(
        session
            .columns("unified", "transactions")
            .await
            .unwrap()
            .field_with_name("amount")
            .is_ok()
    );
    assert_eq!(
        session
            .columns("unified", "nothing")
            .await
            .unwrap_err()
            .message(),
        "there is no table unified.nothing"
    );
}

#[tokio::test]
async fn the_columns_shown_are_those_of_the_table_that_is_read() {
    let session = with_facts();
    session
        .register("p.transactions", table(vec![("other", text(&[Some("x")]))]))
        .unwrap();
    let here = shown(&session, "SHOW COLUMNS FROM transactions").await;
    assert!(
        here.contains("site_key") && !here.contains("other"),
        "{here}"
    );
    for named in [
        "p.transactions",
        "tillhouse.p.transactions",
        "\"p\".TRANSACTIONS",
    ] {
        let there = shown(&session, &format!("SHOW COLUMNS FROM {named}")).await;
        assert!(
            there.contains("other") && !there.contains("site_key"),
            "{named}: {there}"
        );
    }
    let full = shown(&session, "SHOW FULL COLUMNS IN transactions").await;
    assert!(
        full.contains("site_key") && !full.contains("other"),
        "{full}"
    );
}

#[tokio::test]
async fn errors_say_what_was_meant() {
    let session = with_facts();
    let error = session
        .sql("SELECT amout FROM transactions")
        .await
        .unwrap_err();
    assert_eq!(error.message(), "there is no column `amout`");
    assert_eq!(error.hint_text(), Some("Did you mean `amount`?"));
    let error = session
        .sql("SELECT nothing_like_it FROM transactions")
        .await
        .unwrap_err();
    assert!(error.hint_text().unwrap().contains("site_key"), "{error:?}");
    assert!(!error.hint_text().unwrap().contains("_run_id"), "{error:?}");
    let error = session.sql("SELECT * FROM transaction").await.unwrap_err();
    assert_eq!(error.message(), "there is no table `transaction`");
    let error = session.sql("SELEKT 1").await.unwrap_err();
    assert!(
        error.message().starts_with("the SQL cannot be read: "),
        "{error}"
    );
    let error = session.sql("SELECT local_hour(1)").await.unwrap_err();
    assert!(
        error
            .message()
            .contains("local_hour takes 2 arguments, not 1"),
        "{error}"
    );
    let error = session
        .sql("SELECT from_minor_units(CAST(1 AS DOUBLE), 'EUR')")
        .await
        .unwrap_err();
    assert!(
        error.message().contains("cast a float to decimal first"),
        "{error}"
    );
}

#[tokio::test]
async fn columns_of_one_name_are_answered_where_nobody_can_take_one_for_another() {
    let session = session();
    let rows = vec![
        ("a", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef),
        ("b", Arc::new(Int64Array::from(vec![4, 5, 6])) as ArrayRef),
    ];
    session.register("t", table(rows)).unwrap();
    for (sql, names, row) in [
        ("SELECT sum(a), sum(a) FROM t", ["sum", "sum_2"], "6 6"),
        (
            "SELECT sum(a), sum(a) AS sum_2, sum(a) FROM t",
            ["sum", "sum_3"],
            "6 6",
        ),
        (
            "SELECT sum(a), b AS sum, sum(a) FROM t WHERE a = 1 GROUP BY b",
            ["sum_2", "sum_3"],
            "1 1",
        ),
        ("SELECT 1, 1", ["1", "1_2"], "1 1"),
        ("SELECT a, a FROM t ORDER BY a LIMIT 1", ["a", "a_2"], "1 1"),
        ("SELECT a, t.a FROM t LIMIT 1", ["a", "a_2"], "1 1"),
        (
            "SELECT a AS x, b AS x FROM t ORDER BY a LIMIT 1",
            ["x", "x_2"],
            "1 4",
        ),
        (
            "SELECT a + 1, a + 1 FROM t ORDER BY a LIMIT 1",
            ["a + 1", "a + 1_2"],
            "2 2",
        ),
        (
            "SELECT * FROM (SELECT a, a FROM t) AS s ORDER BY 1 LIMIT 1",
            ["a", "a_2"],
            "1 1",
        ),
        (
            "WITH s AS (SELECT sum(b), sum(b) FROM t) SELECT * FROM s",
            ["sum", "sum_2"],
            "15 15",
        ),
        (
            "SELECT 1, 1 UNION ALL SELECT 1, 1 LIMIT 1",
            ["1", "1_2"],
            "1 1",
        ),
        (
            "SELECT *, a FROM (SELECT a FROM t) AS s ORDER BY 1 LIMIT 1",
            ["a", "a_2"],
            "1 1",
        ),
        (
            "SELECT a + 1 AS a, t.a FROM t ORDER BY t.a DESC LIMIT 1",
            ["a", "a_2"],
            "4 3",
        ),
        (
            "SELECT *, a * 2 AS a FROM (SELECT a FROM t) AS s ORDER BY 2 DESC LIMIT 1",
            ["a", "a_2"],
            "3 6",
        ),
        (
            "SELECT t.a, b AS a FROM t ORDER BY t.a LIMIT 1",
            ["a", "a_2"],
            "1 4",
        ),
        // By the table's column of that name.
        (
            "SELECT s.a, s.b AS a FROM (SELECT a, -a AS b, a AS a_2 FROM t) AS s ORDER BY a_2 LIMIT 1",
            ["a", "a_3"],
            "1 -1",
        ),
    ] {
        let shown = shown(&session, sql).await;
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        let (first, last) = (lines[0][0], *lines[0].last().unwrap());
        assert_eq!([first, last], names, "{sql}\n{shown}");
        let (first, last) = (lines[1][0], *lines[1].last().unwrap());
        assert_eq!(format!("{first} {last}"), row, "{sql}\n{shown}");
    }
    for sql in [
        "SELECT x FROM (SELECT a AS x, b AS x FROM t) AS s",
        "SELECT s.a FROM (SELECT a, a FROM t) AS s",
        "SELECT a AS x, b AS x FROM t ORDER BY x",
    ] {
        let error = session.sql(sql).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Query, "{sql}");
    }
    // A query that is answered as it stands stays as it is.
    let sql = "SELECT s.a, t.a FROM t JOIN t AS s ON s.a = t.a ORDER BY s.a LIMIT 1";
    assert!(shown(&session, sql).await.contains("| a | a |"));
}

#[tokio::test]
async fn times_without_seconds_are_cast_to_instants() {
    let session = session();
    let texts = [
        Some("2026-11-01 08:00"),
        Some("2026-11-01T08:00Z"),
        Some("2026-11-01 08:00:30"),
        Some("2026-11-01"),
        None,
    ];
    session
        .register("t", table(vec![("at", text(&texts))]))
        .unwrap();
    let found = shown(
        &session,
        "SELECT CAST(CAST(at AS TIMESTAMP) AS VARCHAR) FROM t",
    )
    .await;
    for expected in [
        "2026-11-01T08:00:00",
        "2026-11-01T08:00:30",
        "2026-11-01T00:00:00",
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
    for (sql, answer) in [
        (
            "SELECT TIMESTAMP '2026-11-01 08:00' = TIMESTAMP '2026-11-01 08:00:00'",
            "true",
        ),
        (
            "SELECT CAST('2026-11-01T08:00Z' AS TIMESTAMP) > '2026-11-01 07:59'",
            "true",
        ),
        (
            "SELECT '2026-11-01 08:00+02:00'::timestamptz = '2026-11-01 06:00Z'::timestamptz",
            "true",
        ),
        (
            "SELECT TRY_CAST('2026-11-01 08:0' AS TIMESTAMP) IS NULL",
            "true",
        ),
        (
            "SELECT count(*) FROM t WHERE CAST(at AS TIMESTAMP) >= '2026-11-01 08:00'",
            "3",
        ),
    ] {
        assert!(
            shown(&session, sql).await.contains(&format!("| {answer}")),
            "{sql}"
        );
    }
    let error = session
        .query("SELECT CAST('2026-11-01 8:00' AS TIMESTAMP)")
        .await;
    assert!(error.is_err());
}

#[tokio::test]
async fn sales_have_the_names_of_the_dimensions_that_exist() {
    let session = with_facts();
    let without = shown(&session, "SELECT * FROM sales ORDER BY transaction_key").await;
    assert!(
        !without.contains("site_name") && !without.contains("_run_id"),
        "{without}"
    );

    let session = with_facts();
    let sites = vec![
        ("site_key", text(&[Some("p:a")])),
        ("name", text(&[Some("Harbour")])),
        ("code", text(&[Some("H1")])),
    ];
    session.register("sites", table(sites)).unwrap();
    let tenants = vec![
        ("pipeline", text(&[Some("p")])),
        ("tenant_id", text(&[Some("t")])),
        ("name", text(&[Some("North")])),
    ];
    session.register("unified.tenants", table(tenants)).unwrap();
    let with = shown(
        &session,
        "SELECT transaction_key, amount, site_name, site_code, tenant_name FROM sales ORDER BY transaction_key",
    )
    .await;
    let expected = "\
+-----------------+--------+-----------+-----------+-------------+
| transaction_key | amount | site_name | site_code | tenant_name |
+-----------------+--------+-----------+-----------+-------------+
| p:1             | 1.0000 | Harbour   | H1        | North       |
| p:2             | 2.0000 |           |           | North       |
| p:3             | 0.0005 |           |           |             |
+-----------------+--------+-----------+-----------+-------------+";
    assert_eq!(with, expected);
}

#[tokio::test]
async fn groups_are_shown_member_by_member() {
    let session = session();
    let mut members = ListBuilder::new(StringBuilder::new());
    members.append_value([Some("p:80"), Some("p:81")]);
    members.append_null();
    members.append_value([] as [Option<&str>; 0]);
    members.append_value([Some("p:80")]);
    let groups = vec![
        (
            "group_key",
            text(&[Some("p:1"), Some("p:2"), Some("p:3"), Some("p:4")]),
        ),
        (
            "name",
            text(&[Some("North"), Some("South"), Some("West"), Some("Gone")]),
        ),
        ("device_keys", Arc::new(members.finish()) as ArrayRef),
        ("pipeline", text(&[Some("p"); 4])),
        ("source", text(&[Some("smartnow"); 4])),
        (
            "_deleted_at",
            Arc::new(
                TimestampMicrosecondArray::from(vec![None, None, None, Some(1)])
                    .with_timezone("UTC"),
            ) as ArrayRef,
        ),
    ];
    session.register("device_groups", table(groups)).unwrap();
    let sql = "SELECT * FROM device_group_members ORDER BY device_key";
    assert!(
        !shown(&session, sql).await.contains("device_name"),
        "there are no devices yet"
    );
    let devices = vec![
        ("device_key", text(&[Some("p:80")])),
        ("name", text(&[Some("Coffee")])),
    ];
    session.register("devices", table(devices)).unwrap();
    let expected = "\
+-----------+------------+------------+-------------+----------+----------+
| group_key | group_name | device_key | device_name | pipeline | source   |
+-----------+------------+------------+-------------+----------+----------+
| p:1       | North      | p:80       | Coffee      | p        | smartnow |
| p:1       | North      | p:81       |             | p        | smartnow |
+-----------+------------+------------+-------------+----------+----------+";
    assert_eq!(shown(&session, sql).await, expected);
    assert!(
        session
            .query("SELECT * FROM site_group_members")
            .await
            .is_err(),
        "there are no groups of sites"
    );
    let tables = session.tables().await.unwrap();
    assert!(
        tables.contains(&("unified".into(), "device_group_members".into())),
        "{tables:?}"
    );
}

#[tokio::test]
async fn placeholders_are_bound_and_types_known_before_anything_runs() {
    let session = with_facts();
    let sql =
        "SELECT $pipeline || ':' || transaction_key AS key, amount * 1.5 AS more, $source AS source
               FROM transactions WHERE pipeline = $pipeline ORDER BY 1";
    let value = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
    let params = [("pipeline", value("p")), ("source", value("hecone"))];
    let schema = session.plan(sql, &params, "").await.unwrap().schema;
    assert_eq!(schema.field(0).name(), "key");
    assert!(
        matches!(schema.field(1).data_type(), DataType::Decimal128(_, 5)),
        "{schema}"
    );
    let batches: Vec<_> = session
        .query_with(sql, &params)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        batches
            .iter()
            .map(|b: &RecordBatch| b.num_rows())
            .sum::<usize>(),
        3
    );
    let missing = session
        .query_with(sql, &params[..1])
        .await
        .err()
        .expect("a placeholder without a value");
    assert!(missing.to_string().contains("source"), "{missing}");
}

#[tokio::test]
async fn literals_are_decimals() {
    let schema = session()
        .plan("SELECT 1.10 AS price", &[], "")
        .await
        .unwrap()
        .schema;
    assert_eq!(*schema.field(0).data_type(), DataType::Decimal128(3, 2));
}

#[tokio::test]
async fn a_registered_table_hides_and_is_forgotten() {
    let session = session();
    session
        .register(
            "changed.rows",
            table(vec![("a", Arc::new(Int64Array::from(vec![1, 2])))]),
        )
        .unwrap();
    assert!(
        shown(&session, "SELECT sum(a) FROM changed.rows")
            .await
            .contains('3')
    );
    assert!(
        session
            .register(
                "changed.rows",
                table(vec![("a", Arc::new(Int64Array::from(vec![1])))])
            )
            .is_err()
    );
    assert!(session.deregister("changed.rows").unwrap());
    assert!(!session.deregister("changed.rows").unwrap());
    assert!(session.query("SELECT * FROM changed.rows").await.is_err());
}

#[tokio::test]
async fn batches_and_views_are_tables() {
    let session = session();
    let schema = session
        .plan("SELECT 1 AS a, 'x' AS b", &[], "")
        .await
        .unwrap()
        .schema;
    session
        .register_batches("nothing", schema, Vec::new())
        .unwrap();
    assert!(
        shown(&session, "SELECT count(*) AS n FROM nothing")
            .await
            .contains("| 0 |")
    );
    session
        .create_view("some", "SELECT value FROM range(0, 5)")
        .await
        .unwrap();
    assert!(
        shown(&session, "SELECT sum(value) AS n FROM some")
            .await
            .contains("| 10 |")
    );
    assert!(
        session
            .create_view("more", "DROP TABLE some")
            .await
            .is_err()
    );
}

#[test]
fn the_tables_a_query_names_are_known_without_planning_it() {
    let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
    let sql = "WITH own AS (SELECT * FROM transactions) SELECT * FROM own JOIN hecone.sites ON true \
               WHERE EXISTS (SELECT 1 FROM transactions)";
    let mut named = engine.table_names(sql).unwrap();
    named.sort();
    named.dedup();
    assert_eq!(named, ["sites", "transactions"]);
    assert_eq!(
        engine.table_names("DROP TABLE x").unwrap_err().kind(),
        ErrorKind::Query
    );
}

#[tokio::test]
async fn functions_work_on_columns_of_every_kind_of_text() {
    let session = session();
    let instants = TimestampMicrosecondArray::from(vec![
        Some(1_772_335_800_000_000),
        None,
        Some(1_772_335_800_000_000),
    ]);
    let columns = vec![
        ("at", Arc::new(instants.with_timezone("UTC")) as ArrayRef),
        (
            "zone",
            text(&[
                Some("America/New_York"),
                Some("Europe/Berlin"),
                Some("nowhere"),
            ]),
        ),
        ("states", text(&[Some("done"), Some("reserved"), None])),
    ];
    session.register("t", table(columns)).unwrap();
    let sql = "SELECT local_date(at, arrow_cast(zone, 'Utf8View')) AS d, local_hour(at, zone) AS h,
                      utc_offset_minutes(at, zone) AS o, month_of(at) AS m,
                      derived_state([states], [arrow_cast('open', 'Utf8View')], NULL, NULL) AS s,
                      category_of(arrow_cast(states, 'LargeUtf8')) AS c
               FROM t";
    let expected = "\
+------------+----+------+---------+----------+-------+
| d          | h  | o    | m       | s        | c     |
+------------+----+------+---------+----------+-------+
| 2026-02-28 | 22 | -300 | 2026-03 | consumed | other |
|            |    |      | none    | created  | other |
| 2026-03-01 | 3  |      | 2026-03 |          |       |
+------------+----+------+---------+----------+-------+";
    assert_eq!(shown(&session, sql).await, expected);
}

#[tokio::test]
async fn lists_are_read_with_their_offsets_and_nulls() {
    let session = session();
    let sql =
        "WITH t(k, c) AS (VALUES (1, 'fuel'), (1, 'charging'), (2, 'parking'), (2, NULL), (3, NULL), (4, 'vending'))
               SELECT k, category_of(array_agg(c)) AS category FROM t GROUP BY k ORDER BY k";
    let expected = "\
+---+----------+
| k | category |
+---+----------+
| 1 | mixed    |
| 2 | parking  |
| 3 |          |
| 4 | vending  |
+---+----------+";
    assert_eq!(shown(&session, sql).await, expected);
}

#[tokio::test]
async fn beyond_the_memory_limit_a_query_spills() {
    let spill = tempfile::tempdir().unwrap();
    let options = QueryEngineOptions {
        memory_limit_bytes: 64 << 20,
        spill_dir: Some(spill.path().to_owned()),
        threads: 1,
    };
    let session = QueryEngine::new(options).unwrap().empty_session().unwrap();
    // Some 150 MB of rows, sorted by a window that has to see them all.
    let sql = "SELECT max(n) AS n FROM (SELECT row_number() OVER (ORDER BY pad) AS n FROM
               (SELECT repeat(CAST(value AS VARCHAR), 10) AS pad FROM range(0, 1500000)))";
    assert!(shown(&session, sql).await.contains("1500000"));
    let options = QueryEngineOptions {
        memory_limit_bytes: 1 << 20,
        spill_dir: Some(spill.path().to_owned()),
        threads: 1,
    };
    let session = QueryEngine::new(options).unwrap().empty_session().unwrap();
    let error = match session
        .query("SELECT array_agg(value) FROM range(0, 3000000)")
        .await
    {
        Ok(stream) => collect(stream)
            .await
            .expect_err("more than fits, and no way to spill"),
        Err(error) => error,
    };
    assert_eq!(
        error.message(),
        "the query needs more memory than it may use"
    );
    assert!(
        error.hint_text().unwrap().contains("memory_limit"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_function_makes_no_more_than_there_is_memory_for() {
    let options = QueryEngineOptions {
        memory_limit_bytes: 64 << 20,
        spill_dir: None,
        threads: 1,
    };
    let session = QueryEngine::new(options).unwrap().empty_session().unwrap();
    for sql in [
        "SELECT length(repeat('x', 1000000000))",
        "SELECT max(length(repeat(CAST(value AS VARCHAR), 1000000))) FROM range(0, 1000)",
        "SELECT length(lpad('x', 1000000000, 'y'))",
        "SELECT max(length(rpad(CAST(value AS VARCHAR), 1000000))) FROM range(0, 1000)",
        "SELECT array_length(range(0, 1000000000))",
        "SELECT array_length(generate_series(1000000000, 1, -1))",
        "SELECT array_length(array_repeat('abcdefgh', 100000000))",
        "SELECT array_length(array_resize([1], 100000000, 1))",
        "SELECT length(concat_ws(repeat('x', 7000000 + value), 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k')) FROM range(0, 1)",
        "SELECT length(concat(x, x, x, x, x, x, x, x, x, x)) FROM (SELECT repeat('x', 7000000 + value) AS x FROM range(0, 1))",
        "SELECT length(regexp_replace(repeat('y', 100), '', repeat('x', 7000000 + value), 'g')) FROM range(0, 1)",
        "SELECT length(array_to_string(range(0, 20 + value), repeat('x', 7000000 + value))) FROM range(0, 1)",
        "SELECT length(repeat(repeat('x', 7000000 + value), 10)) FROM range(0, 1)",
        "SELECT max(length(replace(repeat(CAST(value AS VARCHAR), 100), '1', repeat('b', 1000)))) FROM range(0, 5000)",
    ] {
        let outcome = match session.query(sql).await {
            Ok(stream) => collect(stream).await,
            Err(error) => Err(error),
        };
        let error = outcome.expect_err(sql);
        assert_eq!(
            error.message(),
            "the query needs more memory than it may use",
            "{sql}: {error:?}"
        );
    }
    for (sql, result) in [
        ("SELECT length(repeat('x', 10000000)) AS n", "10000000"),
        ("SELECT repeat('ab', 2) AS n", "abab"),
        ("SELECT repeat('ab', -1) AS n", ""),
        ("SELECT lpad('x', 3, 'ab') || rpad('x', 3) AS n", "abxx  "),
        ("SELECT range(3) AS n", "[0, 1, 2]"),
        ("SELECT generate_series(1, 7, 3) AS n", "[1, 4, 7]"),
        ("SELECT array_repeat('a', 2) AS n", "[a, a]"),
        ("SELECT replace('banana', 'a', 'o') AS n", "bonono"),
        (
            "SELECT concat('a', NULL, 1) || concat_ws('-', 'b', NULL, 'c') AS n",
            "a1b-c",
        ),
        ("SELECT array_to_string([1, 2], ', ') AS n", "1, 2"),
        (
            "SELECT regexp_replace('banana', 'an', 'o', 'g') AS n",
            "booa",
        ),
        ("SELECT list_repeat(NULL, 1) AS n", "[]"),
    ] {
        assert!(shown(&session, sql).await.contains(result), "{sql}");
    }
}

#[tokio::test]
async fn a_limit_needs_no_more_memory_than_none() {
    let session = |bytes| {
        let options = QueryEngineOptions {
            memory_limit_bytes: bytes,
            spill_dir: None,
            threads: 1,
        };
        QueryEngine::new(options).unwrap().empty_session().unwrap()
    };
    // Some 300 bytes a row.
    let sql = |limit: &str| {
        format!(
            "SELECT max(length(pad)) AS n, count(*) AS c, min(key) AS first FROM (SELECT repeat(CAST(value AS VARCHAR), 50) AS pad, value AS key
             FROM range(100000, 400000) ORDER BY pad DESC {limit})"
        )
    };
    let all = shown(&session(48 << 20), &sql("")).await;
    assert!(all.contains("| 300 | 300000 | 100000 |"), "{all}");
    let most = shown(&session(48 << 20), &sql("LIMIT 250000")).await;
    assert!(most.contains("| 300 | 250000 | 150000 |"), "{most}");
    let few = shown(&session(48 << 20), &sql("LIMIT 10")).await;
    assert!(few.contains("| 300 | 10 | 399990 |"), "{few}");
    let skipped = shown(&session(48 << 20), &sql("LIMIT 250000 OFFSET 10")).await;
    assert!(skipped.contains("| 300 | 250000 | 149990 |"), "{skipped}");
}
