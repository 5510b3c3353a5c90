//! The facts of a unified table, straight from its data files: a few columns of one partition, of the rows that are asked for.
//!
//! Invariant: rows are read from the version that was opened, whatever is written meanwhile. What is held in memory is one batch
//! and the column chunks of one row group.
//!
//! Rejected: the provider and a query engine. It reads text as views, value by value, where the file has a dictionary of a few
//! words; reading and adding up a hundred thousand sales took it three times as long.

use crate::file::replacement::UnifiedRowStream;
use crate::log::data_file::DataFile;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::log::table_version::TableVersion;
use crate::scan::{self, RowFilter, RowPredicate, ScanRequest};
use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::and;
use arrow::compute::kernels::cmp::eq;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::table::{LEVEL, PERIOD, PIPELINE};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// A fact table at one version. A cheap handle.
#[derive(Clone)]
pub struct FactSnapshot {
    table: Arc<TableHandle>,
    snapshot: Snapshot,
}

/// One partition of a fact table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactPartition {
    /// The pipeline.
    pub pipeline: String,
    /// The month.
    pub month: String,
    /// Rows, where every file says so.
    pub rows: Option<u64>,
}

impl FactSnapshot {
    /// The facts of a table at a version; `None` where there is no such table.
    pub(crate) async fn open(
        table: Arc<TableHandle>,
        version: &TableVersion,
    ) -> Result<Option<Self>> {
        let snapshot = table.at(version).await?;
        Ok(snapshot.map(|snapshot| Self { table, snapshot }))
    }

    /// The partitions, in order.
    pub fn partitions(&self) -> Result<Vec<FactPartition>> {
        let mut partitions: BTreeMap<(String, String), Option<u64>> = BTreeMap::new();
        for file in self.snapshot.files.iter() {
            let pipeline = file.pipeline()?.to_owned();
            let rows = partitions
                .entry((pipeline, file.month().to_owned()))
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
        let files = files.filter(|file| file.is_of(pipeline) && file.month() == month);
        self.rows_of(files.cloned().collect(), asked, Vec::new())
    }

    /// Streams the rows of a table of levels that a level has of a pipeline and period.
    pub fn rows_of_level(
        &self,
        (level, pipeline, period): (&str, &str, &str),
        asked: ScanRequest,
    ) -> UnifiedRowStream {
        let files = self.snapshot.files.iter().filter(|file| {
            file.partition_value(PERIOD) == Some(period)
                && file.may_hold_text(LEVEL, level)
                && file.may_hold_text(PIPELINE, pipeline)
        });
        let wanted = [(LEVEL, level.to_owned()), (PIPELINE, pipeline.to_owned())];
        let asked = of_level(asked, wanted.clone());
        self.rows_of(files.cloned().collect(), asked, wanted.into())
    }

    /// Rows of some files, of row groups that may hold these texts.
    fn rows_of(
        &self,
        files: Vec<DataFile>,
        asked: ScanRequest,
        texts: Vec<(&'static str, String)>,
    ) -> UnifiedRowStream {
        let table = self.table.clone();
        let ahead = scan::read_ahead(&table, &files);
        let files = ahead.map(|()| stream::iter(files)).flatten_stream();
        let opened = files.then(move |file| {
            let (table, asked, texts) = (table.clone(), asked.clone(), texts.clone());
            async move { scan::scan_file(&table, &file, &asked, &texts).await }
        });
        opened.try_flatten().boxed()
    }
}

/// The rows that are asked for, of one level and pipeline.
fn of_level(asked: ScanRequest, wanted: [(&'static str, String); 2]) -> ScanRequest {
    let inner = asked.row_filter;
    let mut columns = vec![LEVEL.to_owned(), PIPELINE.to_owned()];
    columns.extend(inner.iter().flat_map(|filter| filter.columns.clone()));
    let predicate: RowPredicate = Arc::new(move |batch: &RecordBatch| {
        let mut passes = match &inner {
            Some(filter) => (filter.predicate)(batch)?,
            None => BooleanArray::from(vec![true; batch.num_rows()]),
        };
        for (column, value) in &wanted {
            let texts = batch.column_by_name(column);
            let texts = texts.and_then(|texts| texts.as_string_opt::<i32>());
            let texts = texts.ok_or_else(|| {
                Error::new(ErrorKind::Storage, "a data file of roll-ups lacks a column")
                    .at("column", *column)
            })?;
            let is_wanted = eq(texts, &StringArray::new_scalar(value))
                .or_error(ErrorKind::Internal, "rows cannot be filtered")?;
            passes = and(&passes, &is_wanted)
                .or_error(ErrorKind::Internal, "rows cannot be filtered")?;
        }
        Ok(passes)
    });
    ScanRequest {
        row_filter: Some(RowFilter { columns, predicate }),
        ..asked
    }
}
