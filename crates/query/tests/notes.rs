//! Notes on columns: in `information_schema`, in descriptions, and of views.
//!
//! Invariant: nothing here needs a warehouse; tables and notes are registered by the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tillhouse_model::{ColumnNote, DataDictionary, TableNote};
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session, empty_table};

fn note(columns: &[(&str, &str, Option<&str>, &[&str])]) -> TableNote {
    let column = |(name, text, unit, examples): &(&str, &str, Option<&str>, &[&str])| {
        let note = ColumnNote {
            description: (*text).to_owned(),
            unit: unit.map(str::to_owned),
            examples: examples.iter().map(|e| (*e).to_owned()).collect(),
        };
        ((*name).to_owned(), note)
    };
    TableNote {
        description: "One of them.".to_owned(),
        columns: columns.iter().map(column).collect::<BTreeMap<_, _>>(),
    }
}

/// A session with transactions, sites and a table with an object, and how often its notes were made.
fn session() -> (Session, Arc<AtomicUsize>) {
    let session = QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap();
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let table = |fields: Vec<Field>| empty_table(Arc::new(Schema::new(fields)));
    let lines = DataType::new_list(
        DataType::Struct(vec![Field::new("price", DataType::Int64, true)].into()),
        true,
    );
    for (name, fields) in [
        (
            "transactions",
            vec![
                text("site_key"),
                Field::new("amount", DataType::Int64, true),
            ],
        ),
        ("sites", vec![text("site_key"), text("name")]),
        (
            "kiosk.sales",
            vec![text("id"), Field::new("lines", lines, true)],
        ),
    ] {
        session.register(name, table(fields)).unwrap();
    }
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    session.register_notes(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let mut notes = DataDictionary::default();
        notes.add(
            "unified",
            "transactions",
            note(&[(
                "amount",
                "What is owed.",
                Some("major units"),
                &["74.95", "-2"],
            )]),
        );
        notes.add(
            "unified",
            "sites",
            note(&[("name", "The site's current name.", None, &[])]),
        );
        notes.add(
            "kiosk",
            "sales",
            note(&[("lines.price", "What a line costs.", Some("cents"), &[])]),
        );
        notes
    });
    (session, made)
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

#[tokio::test]
async fn information_schema_says_what_columns_mean() {
    let (session, made) = session();
    assert_eq!(
        made.load(Ordering::Relaxed),
        0,
        "notes are made when they are asked for"
    );
    let found = shown(
        &session,
        "SELECT column_name, description, unit, examples FROM information_schema.columns \
         WHERE table_name = 'transactions' ORDER BY ordinal_position",
    )
    .await;
    assert_eq!(
        found,
        "+-------------+---------------+-------------+-----------+\n\
         | column_name | description   | unit        | examples  |\n\
         +-------------+---------------+-------------+-----------+\n\
         | site_key    |               |             |           |\n\
         | amount      | What is owed. | major units | 74.95, -2 |\n\
         +-------------+---------------+-------------+-----------+"
    );
    let found = shown(
        &session,
        "SELECT c.table_name FROM information_schema.columns c WHERE c.unit IS NOT NULL ORDER BY 1",
    )
    .await;
    assert!(
        found.contains("| sales ") && found.contains("| transactions "),
        "{found}"
    );
    assert_eq!(made.load(Ordering::Relaxed), 1, "and once");
}

#[tokio::test]
async fn types_are_named_as_sql_names_them_wherever_they_are_listed() {
    let (session, _) = session();
    let fields = vec![
        Field::new("amount", DataType::Decimal128(18, 4), false),
        Field::new(
            "at",
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
            true,
        ),
        Field::new("words", DataType::new_list(DataType::Utf8, true), true),
        Field::new("day", DataType::Date32, true),
        Field::new("is_it", DataType::Boolean, true),
    ];
    let table = empty_table(Arc::new(Schema::new(fields)));
    session.register("kiosk.types", table).unwrap();
    for (sql, is_described) in [
        ("DESCRIBE kiosk.types", true),
        ("DESCRIBE SELECT * FROM kiosk.types", true),
        (
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = 'types' ORDER BY ordinal_position",
            true,
        ),
        ("SHOW COLUMNS FROM kiosk.types", false),
        ("DESCRIBE kiosk.sales", false),
        ("SHOW FUNCTIONS LIKE 'date_trunc'", false),
        ("SELECT * FROM information_schema.columns", false),
    ] {
        let found = shown(&session, sql).await;
        for engine in ["Utf8", "Decimal128", "Timestamp(", "Int64", "Date32"] {
            assert!(!found.contains(engine), "{sql}: {found}");
        }
        if is_described {
            assert_eq!(
                found,
                "+-------------+---------------+-------------+\n\
                 | column_name | data_type     | is_nullable |\n\
                 +-------------+---------------+-------------+\n\
                 | amount      | decimal(18,4) | NO          |\n\
                 | at          | timestamptz   | YES         |\n\
                 | words       | varchar[]     | YES         |\n\
                 | day         | date          | YES         |\n\
                 | is_it       | boolean       | YES         |\n\
                 +-------------+---------------+-------------+",
                "{sql}"
            );
        }
    }
    let float = "DESCRIBE SELECT coalesce(CAST(1 AS DOUBLE PRECISION), 1.5) AS x";
    let float = shown(&session, float).await;
    assert!(float.contains("| x           | double "), "{float}");
    let sales = shown(&session, "DESCRIBE kiosk.sales").await;
    assert!(sales.contains("struct(price bigint)[]"), "{sales}");
}

#[tokio::test]
async fn the_catalog_answers_as_before() {
    let (session, _) = session();
    for (sql, part) in [
        ("SHOW TABLES", "sales"),
        ("SHOW TABLES", "information_schema"),
        ("SHOW COLUMNS FROM transactions", "amount"),
        ("SHOW FUNCTIONS LIKE 'range'", "range"),
        ("SELECT * FROM information_schema.columns", "is_nullable"),
        ("SELECT * FROM information_schema.schemata", "kiosk"),
        (
            "SELECT DISTINCT routine_name FROM information_schema.routines WHERE function_type = 'TABLE'",
            "generate_series",
        ),
        (
            "SELECT name FROM information_schema.df_settings",
            "datafusion.",
        ),
        ("SHOW ALL", "datafusion."),
    ] {
        let found = shown(&session, sql).await;
        assert!(found.contains(part), "{sql}: {found}");
    }
    // A sibling asks the same catalog, and outlives the session it is of.
    let sibling = session.sibling();
    drop(session);
    assert!(shown(&sibling, "SHOW TABLES").await.contains("kiosk"));
}

#[tokio::test]
async fn a_table_is_described_with_the_fields_of_its_objects() {
    let (session, _) = session();
    let sales = session.describe("kiosk", "sales").await.unwrap();
    let columns: Vec<(&str, String)> = sales
        .columns
        .iter()
        .map(|column| (column.path.as_str(), column.note.comment()))
        .collect();
    assert_eq!(sales.description, "One of them.");
    assert_eq!(
        columns,
        [
            ("id", String::new()),
            ("lines", String::new()),
            ("lines.price", "What a line costs. Unit: cents.".to_owned())
        ]
    );
    assert!(session.describe("kiosk", "nothing").await.is_err());
}

#[tokio::test]
async fn a_view_means_what_the_tables_that_it_shows_mean() {
    let (session, _) = session();
    let sales = session.describe("unified", "sales").await.unwrap();
    let comment = |path: &str| {
        let column = sales.columns.iter().find(|column| column.path == path);
        column.unwrap().note.comment()
    };
    assert_eq!(comment("site_name"), "The site's current name.");
    assert_eq!(
        comment("amount"),
        "What is owed. Unit: major units. Examples: 74.95, -2."
    );
    assert!(sales.description.starts_with("Any transaction"));
}
