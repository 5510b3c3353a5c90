//! Mistakes of analysts, and what they are told: the golden file of wrong queries.
//!
//! Invariant: every error is one line, in SQL's words, with the place where it is certain and a hint that fits; none shows Rust, and none calls the engine faulty.
//! Accept a change with `INSTA_UPDATE=always`, having read it as an analyst would.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use std::fmt::Write;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind};
use tillhouse_query::{QueryEngine, QueryEngineOptions, QueryParameters, Session, into_error};

const QUERIES: &str = include_str!("wrong_queries.sql");

fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn decimal(values: &[i128], scale: i8) -> ArrayRef {
    let values = Decimal128Array::from(values.to_vec());
    Arc::new(values.with_precision_and_scale(18, scale).unwrap())
}

fn instants(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values.to_vec()).with_timezone("UTC"))
}

fn session() -> Session {
    let session = QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap();
    let tables: [(&str, Vec<(&str, ArrayRef)>); 6] = [
        (
            "transactions",
            vec![
                ("transaction_key", text(&[Some("h:1"), Some("h:2")])),
                ("tenant_id", text(&[Some("t"), Some("t")])),
                ("kind", text(&[Some("sale"), Some("sale")])),
                ("state", text(&[Some("completed"), Some("declined")])),
                ("occurred_at", instants(&[1_767_225_600_000_000, 0])),
                ("started_at", instants(&[0, 0])),
                ("ended_at", instants(&[0, 0])),
                (
                    "business_date",
                    Arc::new(Date32Array::from(vec![20_454, 0])),
                ),
                ("local_hour", Arc::new(Int32Array::from(vec![1, 2]))),
                ("timezone", text(&[Some("Europe/Berlin"), None])),
                ("amount", decimal(&[15_000, 0], 4)),
                ("paid_amount", decimal(&[15_000, 0], 4)),
                ("currency", text(&[Some("EUR"), Some("EUR")])),
                ("site_key", text(&[Some("h:a"), Some("h:b")])),
                ("_run_id", text(&[Some("r"), Some("r")])),
            ],
        ),
        (
            "articles",
            vec![
                ("article_key", text(&[Some("h:1:1"), Some("h:1:2")])),
                ("transaction_key", text(&[Some("h:1"), Some("h:1")])),
                ("name", text(&[Some("Diesel"), Some("Coffee")])),
                ("state", text(&[Some("done"), Some("done")])),
                ("quantity", decimal(&[1_500_000, 1], 6)),
                ("unit_price", decimal(&[1_500_000, 1], 6)),
                ("amount", decimal(&[10_000, 5_000], 4)),
            ],
        ),
        (
            "payments",
            vec![
                ("payment_key", text(&[Some("h:1:1")])),
                ("transaction_key", text(&[Some("h:1")])),
                ("method", text(&[Some("card")])),
                ("amount", decimal(&[15_000], 4)),
            ],
        ),
        (
            "sites",
            vec![("site_key", text(&[None])), ("name", text(&[None]))],
        ),
        ("ops.runs", vec![("run_id", text(&[None]))]),
        ("latest.hecone_transactions", vec![("id", text(&[None]))]),
    ];
    for (name, columns) in tables {
        let columns = columns
            .into_iter()
            .map(|(name, values)| (name, values, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
        session.register(name, Arc::new(table)).unwrap();
    }
    session
}

async fn run(session: &Session, sql: &str) -> Result<(), Error> {
    let given = QueryParameters::default();
    let stream = session.query_written(sql, &given, (1, 1)).await?;
    stream.try_collect::<Vec<_>>().await.map_err(into_error)?;
    Ok(())
}

/// The queries of the file; comments begin a group, a blank line ends a query.
fn queries() -> impl Iterator<Item = &'static str> {
    QUERIES
        .split("\n\n")
        .map(|query| query.trim_end_matches('\n'))
        .filter(|query| !query.is_empty())
}

#[tokio::test]
async fn a_window_over_spans_of_time_says_what_frame_it_takes() {
    let session = session();
    for span in ["local_hour * INTERVAL '1 hour'", "ended_at - started_at"] {
        let sql = format!("SELECT count(*) OVER (ORDER BY {span}) FROM transactions");
        let error = run(&session, &sql).await.unwrap_err();
        assert!(
            error
                .message()
                .starts_with("a window cannot be ordered by "),
            "{span}: {error:?}"
        );
        let hint = error.hint_text().unwrap_or_default();
        assert!(
            hint.contains("ROWS UNBOUNDED PRECEDING"),
            "{span}: {error:?}"
        );
    }
}

#[tokio::test]
async fn every_mistake_is_told_in_words_of_its_analyst() {
    let session = session();
    let mut told = String::new();
    let (mut count, mut broken) = (0, Vec::new());
    for query in queries() {
        if query.starts_with("-- ") && !query.contains('\n') {
            let _ = writeln!(told, "\n{query}\n");
            continue;
        }
        count += 1;
        let Err(error) = run(&session, query).await else {
            broken.push(format!("{query}: runs"));
            continue;
        };
        let hint = error.hint_text().unwrap_or_default();
        let all = format!("{error} {hint}");
        let for_programmers = [
            "Some(",
            "None",
            " { ",
            "::",
            "Utf8",
            "Int64",
            "Decimal128",
            "DataFusion",
            "bug",
            "Expr(",
        ];
        let is_shown = for_programmers.iter().any(|sign| all.contains(sign));
        if error.kind() != ErrorKind::Query || all.contains('\n') || is_shown {
            broken.push(format!("{query}: {error:?}"));
        }
        let _ = writeln!(told, "{query}\n  error: {error}");
        if !hint.is_empty() {
            let _ = writeln!(told, "    {hint}");
        }
        told.push('\n');
    }
    assert!(count >= 60, "{count}");
    insta::assert_snapshot!(told);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[tokio::test]
async fn a_place_is_that_in_the_file() {
    let session = session();
    let error = |start| {
        let session = &session;
        async move {
            let sql = "SELECT amout\nFROM transactions\nWHERE state = 'x'";
            let given = QueryParameters::default();
            let stream = session.query_written(sql, &given, start).await;
            stream.err().unwrap().to_string()
        }
    };
    assert_eq!(
        error((1, 1)).await,
        "there is no column `amout` (line 1, column 8)"
    );
    assert_eq!(
        error((4, 11)).await,
        "there is no column `amout` (line 4, column 18)"
    );
    let given = QueryParameters::default();
    let later = session
        .query_written("SELECT 1 AS n,\n  amout FROM transactions", &given, (4, 11))
        .await;
    assert_eq!(
        later.err().unwrap().to_string(),
        "there is no column `amout` (line 5, column 3)"
    );
}

#[tokio::test]
async fn a_query_that_nobody_wrote_has_no_place_and_no_value_of_a_record() {
    let session = session();
    let error = session
        .query("SELECT amout FROM transactions")
        .await
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "there is no column `amout`");
    let error = match session
        .query("SELECT CAST(state AS INT) FROM transactions")
        .await
    {
        Ok(stream) => stream
            .try_collect::<Vec<_>>()
            .await
            .map_err(into_error)
            .unwrap_err(),
        Err(error) => error,
    };
    assert!(!format!("{error:?}").contains("completed"), "{error:?}");
}
