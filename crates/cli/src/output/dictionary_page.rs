//! `docs/dictionary.md`: every table that comes with the program, and what its columns mean.
//!
//! Invariant: the page is made of the contracts and of the code, never by hand; the test fails where it is stale. To make it anew:
//! `INSTA_UPDATE=always cargo test -p tillhouse dictionary`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::registry::NAMES;
use std::fmt::Write;
use std::path::Path;
use tillhouse_lake::OpsTables;
use tillhouse_model::DataDictionary;
use tillhouse_model::contract::UNIFIED;
use tillhouse_pipeline::built_in_contracts;
use tillhouse_query::encode::described::type_name;
use tillhouse_query::{
    DescribedTable, QueryEngine, QueryEngineOptions, Session, TableProvider, empty_table,
};
use tillhouse_statistics::{add_rollup_notes, register_sql, rollup_table};

const INTRODUCTION: &str = "\
# Data dictionary

Every table and view that comes with the program, and what its columns mean. This page is made from the contracts (`schemas/`) and the code; a test
keeps it so. A project's own tables, contracts of its own included, are described by

    tillhouse describe counted
    tillhouse describe hecone.transactions --format json
    tillhouse sql \"SELECT column_name, description, unit, examples FROM information_schema.columns WHERE table_name = 'counted'\"

Source, unified and bookkeeping tables have the same words as comments on their columns, so that other readers of Delta tables show them (`DESCRIBE TABLE` in Spark,
`DeltaTable(...).schema()` in Python). They are written when a table is made, and when it gains a column.

A pipeline's tables stand in a schema of the pipeline's name; here those of a source stand under the source's. Columns that begin with `_` are
lineage: which run brought the row, and when. Fields of objects, and of the objects of a list, are named by their path.
";

/// A session with every table of the program, empty.
fn session() -> Session {
    let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
    let session = engine.empty_session().unwrap();
    let mut dictionary = DataDictionary::default();
    let register = |schema: &str, table: &str, provider| {
        let provider: std::sync::Arc<dyn TableProvider> = provider;
        session
            .register(&format!("{schema}.{table}"), provider)
            .unwrap();
    };
    for source in NAMES.into_iter().chain([UNIFIED]) {
        for spec in built_in_contracts(source).unwrap() {
            let schema = match source {
                UNIFIED => spec.unified_schema(),
                _ => spec.source_schema(),
            };
            register(source, &spec.name, empty_table(schema));
            dictionary.add_contract(source, &spec);
        }
    }
    let (table, schema) = rollup_table();
    register("statistics", table, empty_table(schema));
    for table in OpsTables::NAMES {
        register("ops", table, empty_table(OpsTables::schema(table).unwrap()));
    }
    // Views are made over schemas that are there.
    register_sql(&session, None);
    add_rollup_notes(&mut dictionary);
    session.register_notes(move || dictionary);
    session
}

fn section(page: &mut String, table: &DescribedTable) {
    let _ = writeln!(page, "\n### {}.{}\n", table.schema, table.name);
    if !table.description.is_empty() {
        let _ = writeln!(page, "{}\n", table.description);
    }
    page.push_str("| column | type | meaning |\n|---|---|---|\n");
    for column in &table.columns {
        let meaning = column.note.comment();
        assert!(
            !meaning.is_empty(),
            "{}.{}.{} has no note",
            table.schema,
            table.name,
            column.path
        );
        let _ = writeln!(
            page,
            "| `{}` | {} | {} |",
            column.path,
            type_name(column),
            escaped(&meaning)
        );
    }
}

/// A text within a cell: what Markdown would read as something else is escaped.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '|' | '<' | '>' | '*' | '_' | '[' | ']') {
            safe.push('\\');
        }
        safe.push(if character == '\n' { ' ' } else { character });
    }
    safe
}

#[tokio::test]
async fn the_data_dictionary_says_what_the_contracts_and_the_code_say() {
    let session = session();
    let mut page = INTRODUCTION.to_owned();
    let tables = session.tables().await.unwrap();
    for (schema, title) in [
        (UNIFIED, "The unified model"),
        ("hecone", "HecOne 360"),
        ("smartnow", "SmartNow"),
        ("bemo", "be-mo"),
        ("pace", "PACE"),
        ("statistics", "Roll-ups"),
        ("ops", "Bookkeeping"),
    ] {
        let _ = writeln!(page, "\n## {title}");
        for (_, table) in tables.iter().filter(|(of, _)| of == schema) {
            section(&mut page, &session.describe(schema, table).await.unwrap());
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dictionary.md");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let stale = page
        .lines()
        .zip(written.lines())
        .find(|(made, written)| made != written);
    assert!(
        page == written,
        "docs/dictionary.md is stale: INSTA_UPDATE=always cargo test -p tillhouse dictionary. First difference: {stale:?}"
    );
}
