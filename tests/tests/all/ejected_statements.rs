//! Unify SQL that names every column, as it was ejected before columns could be left out: it goes on working, and gives what the statements
//! of today give.
//!
//! Invariant: every column is compared, lineage too.

use crate::source_files;
use crate::unify_harness::{BEMO, HECONE, UnifyHarness, spec};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

async fn same_rows(harness: &UnifyHarness, resource: &str, sample: &str) {
    let folder = format!("tests/fixtures/ejected/{}", harness.source);
    let session = harness.session(&[(resource, harness.sample(sample))]);
    let (mut tables, mut rows) = (0, 0);
    for path in source_files::files(&folder, "sql") {
        let table = path.file_stem().unwrap().to_str().unwrap();
        let schema = spec("unified", table).unified_schema();
        let whole = |batches: Vec<RecordBatch>| concat_batches(&schema, &batches).unwrap();
        let ejected = whole(harness.unified_by(&session, table, &folder).await);
        let today = whole(harness.unified(&session, table).await);
        assert_eq!(ejected, today, "{table}");
        (tables, rows) = (tables + 1, rows + today.num_rows());
    }
    assert!(tables > 5 && rows > 5, "{tables} tables, {rows} rows");
}

#[tokio::test]
async fn ejected_statements_give_the_same_rows() {
    same_rows(&HECONE, "transactions", "transactions").await;
    same_rows(&HECONE, "transactions", "transaction").await;
    same_rows(&BEMO, "sessions", "sessions").await;
}
