//! Late changes in one table: sales that are added, sales that are replaced, and one of three years ago.
//!
//! Invariant: rows are made before the clock starts, and what the lake says of its commit is checked; each call changes the table by one step.

use crate::generate::{RESOURCE, open, spec};
use crate::rows::{Lineage, transaction_rows};
use crate::world::{FIRST_YEAR, HECONE, MonthPlan, SOURCES, World, YEARS, months};
use arrow::array::{AsArray, RecordBatch};
use futures::{StreamExt, stream};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tillhouse_lake::{SupersededRecords, UnifiedTable, UnifyStep, Warehouse};
use tillhouse_model::TableSpec;
use tillhouse_model::table::{OCCURRED_AT, RECORD_KEY};

/// Rows of a batch.
const BATCH: u64 = 8_192;
/// Numbers of sales that no generated month has.
const NEW: u64 = 1 << 40;
const RUN: &str = "20250201T000000Z-00000aaa";

/// The table, and where its step begins.
struct OpenedTable {
    warehouse: Warehouse,
    spec: Arc<TableSpec>,
    table: UnifiedTable,
    after: i64,
    world: World,
}

impl OpenedTable {
    async fn new(folder: &Path, seed: u64) -> Self {
        let warehouse = open(folder).await;
        warehouse.prepare().await.unwrap();
        let spec = spec("transactions");
        let table = warehouse.unified_table(Arc::clone(&spec));
        let after = table.progress(SOURCES[HECONE], RESOURCE).await.unwrap();
        Self {
            warehouse,
            spec,
            table,
            after,
            world: World::new(seed),
        }
    }

    /// Rows of the sales at some places of a month, in a version.
    fn rows(&self, plan: &MonthPlan, places: &[u64], version: u64) -> Vec<RecordBatch> {
        let lineage = Lineage {
            load_id: self.after + 1,
            extracted_at: self.warehouse.now().as_microsecond(),
            run_id: RUN,
            version,
        };
        let schema = self.spec.unified_schema();
        let batches = places
            .chunks(usize::try_from(BATCH).unwrap())
            .map(|places| {
                transaction_rows(&self.world, &schema, plan, places.iter().copied(), lineage)
            });
        batches.collect()
    }

    /// Replaces records by rows, in one step. What it took, read and wrote.
    async fn replace(&self, rows: Vec<RecordBatch>, superseded: &SupersededRecords) -> Value {
        let step = UnifyStep {
            pipeline: SOURCES[HECONE].to_owned(),
            resource: RESOURCE.to_owned(),
            after_load_id: self.after,
            to_load_id: self.after + 1,
            children: Vec::new(),
            run_id: RUN.to_owned(),
        };
        let before = self.warehouse.requests();
        let clock = Instant::now();
        let rows = stream::iter(rows.into_iter().map(Ok)).boxed();
        let done = self.table.replace(&step, superseded, rows).await.unwrap();
        let seconds = clock.elapsed().as_secs_f64();
        let after = self.warehouse.requests();
        json!({
            "seconds": seconds,
            "rows_added": done.rows_added,
            "rows_removed": done.rows_removed,
            "files_read": done.files_read,
            "bytes_written": after.bytes_written - before.bytes_written,
            "bytes_read": after.bytes_read - before.bytes_read,
        })
    }
}

/// The month after the last generated one, with so many sales.
fn new_month(sales: u64) -> MonthPlan {
    MonthPlan::new(HECONE, (FIRST_YEAR + YEARS, 1), NEW, sales)
}

/// The records that rows replace.
fn superseded(rows: &[RecordBatch]) -> SupersededRecords {
    let mut records = SupersededRecords::default();
    for batch in rows {
        let keys = batch.column_by_name(RECORD_KEY).unwrap().as_string::<i32>();
        let times = batch.column_by_name(OCCURRED_AT).unwrap();
        let times = times.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        for (key, time) in keys.iter().zip(times) {
            records.add(key.unwrap().to_owned(), time);
        }
    }
    records
}

/// Adds so many sales of a new month.
pub(crate) async fn add(warehouse: &Path, sales: u64, seed: u64) {
    let table = OpenedTable::new(warehouse, seed).await;
    let places: Vec<u64> = (0..sales).collect();
    let rows = table.rows(&new_month(sales), &places, 0);
    let done = table.replace(rows, &SupersededRecords::default()).await;
    assert_eq!(done["rows_added"], sales);
    println!("{done}");
}

/// Replaces some of the sales that [`add`] has added, evenly spread over their month. Their new rows are written to a file as well, for others to do
/// the same.
pub(crate) async fn replace(
    warehouse: &Path,
    (sales, changed): (u64, u64),
    file: &Path,
    seed: u64,
) {
    let table = OpenedTable::new(warehouse, seed).await;
    let places: Vec<u64> = (0..changed).map(|at| at * sales / changed).collect();
    let rows = table.rows(&new_month(sales), &places, 1);
    write_file(&rows, file);
    let records = superseded(&rows);
    let done = table.replace(rows, &records).await;
    assert_eq!(done["rows_removed"], changed);
    println!("{done}");
}

/// Replaces one sale of three years before the last generated one, of so many sales. How many files the source has is told beside it.
pub(crate) async fn replace_old(warehouse: &Path, sales: u64, seed: u64) {
    let table = OpenedTable::new(warehouse, seed).await;
    let plans = &months(sales)[HECONE];
    let plan = &plans[plans.len() - 36];
    let rows = table.rows(plan, &[plan.sales / 2], 1);
    let records = superseded(&rows);
    let opened = table.warehouse.open_at("unified/transactions", None).await;
    let files = opened.unwrap().unwrap().figures.files;
    let mut done = table.replace(rows, &records).await;
    assert_eq!(done["rows_removed"], 1);
    done["files"] = json!(files);
    println!("{done}");
}

/// Writes rows as one Parquet file that any program reads.
fn write_file(rows: &[RecordBatch], file: &Path) {
    let file = std::fs::File::create(file).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows[0].schema(), None).unwrap();
    for batch in rows {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
}
