//! The contracts as users meet them: what a file means, the errors of wrong ones, and the files that come with Tillhouse.
//!
//! Invariant: no test here knows how contracts are parsed, only what [`tillhouse_model::contract::parse`] promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod any_contract;
mod filters;
mod hecone;
mod meaning;
mod refusals;
mod unified;

use std::path::{Path, PathBuf};
use tillhouse_model::table::TableRole;
use tillhouse_model::{TableSpec, contract};

/// The folder of the contracts that come with Tillhouse.
fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

/// A contract that comes with Tillhouse.
fn shipped(file: &str) -> TableSpec {
    let text = std::fs::read_to_string(schemas().join(file)).unwrap();
    contract::parse(&text, file).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_contract_in_the_house_parses_and_is_named_after_its_file() {
    let mut seen = 0;
    for folder in std::fs::read_dir(schemas()).unwrap() {
        let folder = folder.unwrap().path();
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            assert_eq!(file.extension().unwrap(), "yaml", "{}", file.display());
            let text = std::fs::read_to_string(&file).unwrap();
            let spec = contract::parse(&text, &file.display().to_string())
                .unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(spec.source, folder.file_name().unwrap().to_str().unwrap());
            assert_eq!(spec.name, file.file_stem().unwrap().to_str().unwrap());
            assert!(!spec.description.is_empty(), "{}", spec.qualified_name());
            described(&spec.columns, &spec.qualified_name());
            assert!(is_ordered_by_the_past(&spec), "{}", spec.qualified_name());
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} contracts found");
}

/// True if a change that was not made yet orders no versions of a source's records: one that did would stay for good.
fn is_ordered_by_the_past(spec: &TableSpec) -> bool {
    use tillhouse_model::ColumnKind;
    let Some(path) = spec
        .updated_at
        .as_ref()
        .filter(|_| spec.role == TableRole::Source)
    else {
        return true;
    };
    let (mut columns, mut is_past) = (&spec.columns, false);
    for name in path {
        let column = columns.iter().find(|column| column.name == *name).unwrap();
        is_past = column.ahead_is_none;
        if let ColumnKind::Struct(inner) = &column.kind {
            columns = inner;
        }
    }
    is_past
}

fn described(columns: &[tillhouse_model::ColumnSpec], at: &str) {
    use tillhouse_model::ColumnKind;
    for column in columns {
        let path = format!("{at}.{}", column.name);
        assert!(
            !column.note.description.is_empty(),
            "{path} has no description"
        );
        let mut kind = &column.kind;
        while let ColumnKind::List(element) = kind {
            kind = &element.kind;
        }
        if let ColumnKind::Struct(inner) = kind {
            described(inner, &path);
        }
    }
}
