//! The facts of a unified table, straight from its data files: a few columns of one partition, of the rows that are asked for.
//!
//! Invariant: rows are read from the version that was opened, whatever is written meanwhile. What is held in memory is one batch
//! and the column chunks of one row group.
//!
//! Rejected: the provider and a query engine. It reads text as views, value by value, where the file has a dictionary of a few
//! words; reading and adding up a hundred thousand sales took it three times as long.

use crate::log::table::{DataFile, Snapshot, TableHandle};
use crate::scan;
use crate::unified::changed_hours::FactPartition;
use crate::unified::table::UnifiedRowStream;
use crate::warehouse::Warehouse;
use arrow::array::{BooleanArray, RecordBatch};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result};

/// A fact table at one version. A cheap handle. A cheap handle.
#[derive(Clone)]
pub struct FactSnapshot {
    table: Arc<TableHandle>,
    snapshot: Snapshot,
}

/// Projection and row filter of a fact scan.
#[derive(Clone, Default)]
pub struct ScanRequest {
    /// Text of few different values: it comes as dictionaries. Columns a file does not have are left out.
    pub labels: Vec<String>,
    /// Other columns, as they stand in the file.
    pub columns: Vec<String>,
    /// Row filter; all rows where there is none.
    pub row_filter: Option<RowFilter>,
}

/// Row filter of a scan: the columns it reads, and its predicate.
#[derive(Clone)]
pub struct RowFilter {
    /// The columns by which they are told.
    pub columns: Vec<String>,
    /// True for the rows that pass.
    pub predicate: RowPredicate,
}

/// Predicate over a batch: one boolean a row.
pub type RowPredicate = Arc<dyn Fn(&RecordBatch) -> Result<BooleanArray> + Send + Sync>;

impl Warehouse {
    /// The facts of a unified table at a version; `None` where there is no such table.
    ///
    /// Errors with [`ErrorKind::Storage`] when that version is gone.
    pub async fn facts(&self, path: &str, version: u64) -> Result<Option<FactSnapshot>> {
        let table = self.table(path)?;
        Ok(table
            .at(version)
            .await?
            .map(|snapshot| FactSnapshot { table, snapshot }))
    }
}

impl FactSnapshot {
    /// The partitions, in order.
    pub fn partitions(&self) -> Result<Vec<FactPartition>> {
        let mut partitions: BTreeMap<(String, String), Option<u64>> = BTreeMap::new();
        for file in self.snapshot.files.iter() {
            let pipeline = pipeline_of(file)?.to_owned();
            let rows = partitions
                .entry((pipeline, month_of(file).to_owned()))
                .or_insert(Some(0));
            *rows = rows.zip(file.rows).map(|(a, b)| a + b);
        }
        Ok(partitions
            .into_iter()
            .map(|((pipeline, month), rows)| FactPartition {
                pipeline,
                month,
                rows,
            })
            .collect())
    }

    /// Streams rows of a partition, file by file.
    pub fn rows(&self, pipeline: &str, month: &str, asked: ScanRequest) -> UnifiedRowStream {
        let files = self.snapshot.files.iter();
        let files = files.filter(|file| {
            file.partition_value("pipeline") == Some(pipeline) && month_of(file) == month
        });
        let files: Vec<DataFile> = files.cloned().collect();
        let table = self.table.clone();
        let opened = stream::iter(files).then(move |file| {
            let (table, asked) = (table.clone(), asked.clone());
            async move { scan::scan_file(&table, &file, &asked).await }
        });
        opened.try_flatten().boxed()
    }
}

pub(crate) fn pipeline_of(file: &DataFile) -> Result<&str> {
    file.partition_value("pipeline").ok_or_else(|| {
        Error::new(ErrorKind::Storage, "a data file belongs to no pipeline").at("file", &file.path)
    })
}

fn month_of(file: &DataFile) -> &str {
    file.partition_value("month").unwrap_or(crate::month::NONE)
}
