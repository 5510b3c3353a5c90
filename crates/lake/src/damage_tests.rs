//! Data files in which a bit has flipped.
//!
//! Invariant: whatever bit it is, a reader gets the rows that were written, or an error.

use crate::faulty_store::{FixtureRecord, TempWarehouse, page, run, source_spec};
use crate::scan;
use crate::warehouse::Warehouse;
use arrow::record_batch::RecordBatch;
use deltalake::datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use std::path::PathBuf;
use std::sync::Arc;

const TABLE: &str = "hecone/transactions";
const MONTHS: [&str; 2] = ["2026-03-05T00:00:00Z", "2026-03-06T01:02:03Z"];

/// A table of one file, and the file.
async fn landed(place: &TempWarehouse) -> (Warehouse, PathBuf) {
    let warehouse = place.open().await;
    let records: Vec<FixtureRecord> = (0..300_i64)
        .map(|n| {
            let key: &'static str = format!("record {:05}", n * 7919 % 100_003).leak();
            let version = (n % 3 > 0).then_some(MONTHS[0]);
            FixtureRecord(
                key,
                Some(MONTHS[usize::try_from(n % 2).unwrap()]),
                n * 1_234_567 % 4_000,
                version,
            )
        })
        .collect();
    let table = warehouse.source_table("hecone", Arc::new(source_spec()));
    table
        .land(vec![page("2026-03-07T00:00:00Z", &records)], &run("r"))
        .await
        .unwrap();
    let file = warehouse
        .table(TABLE)
        .unwrap()
        .latest()
        .await
        .unwrap()
        .unwrap()
        .files[0]
        .path
        .clone();
    let path = place
        .folder
        .path()
        .join("wäre house")
        .join(TABLE)
        .join(file);
    (warehouse, path)
}

/// The rows as this crate reads them.
async fn scanned(warehouse: &Warehouse) -> Result<Vec<RecordBatch>, String> {
    let table = warehouse.table(TABLE).unwrap();
    let snapshot = table.latest().await.unwrap().unwrap();
    let rows = scan::rows(&table, &snapshot.files[0], snapshot.schema())
        .await
        .map_err(|e| format!("{e:?}"))?;
    rows.try_collect().await.map_err(|e| format!("{e:?}"))
}

/// The rows as a query engine reads them.
async fn queried(warehouse: &Warehouse) -> Result<Vec<RecordBatch>, String> {
    let open = warehouse.open_at(TABLE, None).await.unwrap().unwrap();
    let context = SessionContext::new();
    warehouse.register_store(&context.runtime_env());
    context.register_table("t", open.provider).unwrap();
    let query = context
        .sql("SELECT * FROM t")
        .await
        .map_err(|e| e.to_string())?;
    query.collect().await.map_err(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_bit_flips_every_read_is_an_error_or_the_same_rows() {
    let place = TempWarehouse::new();
    let (warehouse, path) = landed(&place).await;
    let whole = std::fs::read(&path).unwrap();
    let footer = {
        let end = whole.len() - 8;
        end - u32::from_le_bytes(whole[end..end + 4].try_into().unwrap()) as usize
    };
    let (by_scan, by_query) = (
        scanned(&warehouse).await.unwrap(),
        queried(&warehouse).await.unwrap(),
    );
    let (mut errors, mut same, mut wrong) = (0, 0, Vec::new());
    // Of the pages some bytes stand for all; of the footer every one is tried.
    for at in (0..whole.len()).filter(|at| at % 5 == 0 || *at >= footer) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << ((at * 5 + at / 8) % 8);
        std::fs::write(&path, &bytes).unwrap();
        let mut outcomes = vec![(scanned(&warehouse).await, &by_scan)];
        if at % 15 == 0 || at >= footer && at % 3 == 0 {
            // A task of its own, as a query's are: where the library panics the task is lost, and the query with it.
            let warehouse = warehouse.clone();
            let query = tokio::spawn(async move { queried(&warehouse).await });
            outcomes.push((
                query.await.unwrap_or_else(|lost| Err(lost.to_string())),
                &by_query,
            ));
        }
        for (outcome, rows) in outcomes {
            match outcome {
                Err(_) => errors += 1,
                Ok(found) if found == *rows => same += 1,
                Ok(_) => wrong.push(at),
            }
        }
    }
    std::fs::write(&path, &whole).unwrap();
    assert!(
        wrong.is_empty(),
        "{errors} errors, {same} the same, footer at {footer}, wrong with these bytes: {wrong:?}"
    );
    assert!(errors > 10 * same, "{errors} errors, {same} the same");
}
