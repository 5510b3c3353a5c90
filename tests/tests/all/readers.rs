//! Strangers read our kind of tables: DuckDB and the deltalake package, from Python.
//!
//! Invariant: a figure that goes through these readers stays exact; one that could not is an error.

use crate::python;
use arrow::array::{ArrayRef, Decimal128Array, Float64Array, RecordBatch, StringArray};
use deltalake::DeltaTable;
use serde_json::{Value, json};
use std::sync::Arc;
use url::Url;

/// A table partitioned by month whose sums no float could hold.
async fn table(folder: &std::path::Path) {
    let amounts = [
        Some(999_999_999_999_999_999_i128),
        Some(1),
        None,
        Some(-5_0000),
    ];
    let amount = Decimal128Array::from_iter(amounts)
        .with_precision_and_scale(18, 4)
        .expect("18 digits are allowed");
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "month",
            Arc::new(StringArray::from(vec![
                "2025-12", "2025-12", "2025-12", "2026-01",
            ])),
        ),
        ("key", Arc::new(StringArray::from(vec!["a", "b", "c", "c"]))),
        ("amount", Arc::new(amount)),
        (
            "ratio",
            Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3, 0.4])),
        ),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
            .expect("columns of one length");
    let url = Url::from_directory_path(folder).expect("an absolute path");
    let table = DeltaTable::try_from_url(url)
        .await
        .expect("an empty folder is a place for a table");
    table
        .write([batch])
        .with_partition_columns(["month"])
        .await
        .expect("the table is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_exact_in_both() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    table(folder.path()).await;
    let place = folder
        .path()
        .to_str()
        .expect("temporary folders have plain names");

    let read = python::json(
        "read_delta.py",
        [
            place,
            "--sum",
            "amount",
            "--distinct",
            "key",
            "--group",
            "month",
        ],
    )
    .await;
    for reader in ["duckdb", "deltalake"] {
        assert_eq!(
            read[reader]["columns"]["amount"], "decimal(18,4)",
            "{reader}"
        );
        assert_eq!(read[reader]["rows"], 4, "{reader}");
        let expected = json!([
            {"group": {"month": "2025-12"}, "rows": 3, "sums": {"amount": "100000000000000.0000"}, "distinct": {"key": 3}},
            {"group": {"month": "2026-01"}, "rows": 1, "sums": {"amount": "-5.0000"}, "distinct": {"key": 1}},
        ]);
        assert_eq!(read[reader]["groups"], expected, "{reader}");
    }

    let one = python::json(
        "read_delta.py",
        [place, "--sum", "amount", "--equal", "key=c"],
    )
    .await;
    let expected: Value =
        json!([{"group": {}, "rows": 2, "sums": {"amount": "-5.0000"}, "distinct": {}}]);
    assert_eq!(one["duckdb"]["groups"], expected);
    assert_eq!(one["deltalake"]["groups"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_became_a_float_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    table(folder.path()).await;
    let place = folder
        .path()
        .to_str()
        .expect("temporary folders have plain names");
    let output = python::script("read_delta.py", [place, "--sum", "ratio"]).await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("column ratio is double"));
}
