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
use crate::scan::{self, ScanRequest};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::Result;
use tillhouse_model::table::{LEVEL, PERIOD};

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
        self.rows_of(files.cloned().collect(), asked)
    }

    /// Streams the rows of a table of levels in one partition: a level's of a pipeline and period.
    pub fn rows_of_level(
        &self,
        (level, pipeline, period): (&str, &str, &str),
        asked: ScanRequest,
    ) -> UnifiedRowStream {
        let files = self.snapshot.files.iter().filter(|file| {
            file.is_of(pipeline)
                && file.partition_value(LEVEL) == Some(level)
                && file.partition_value(PERIOD) == Some(period)
        });
        self.rows_of(files.cloned().collect(), asked)
    }

    fn rows_of(&self, files: Vec<DataFile>, asked: ScanRequest) -> UnifiedRowStream {
        let table = self.table.clone();
        let ahead = scan::read_ahead(&table, &files);
        let files = ahead.map(|()| stream::iter(files)).flatten_stream();
        let opened = files.then(move |file| {
            let (table, asked) = (table.clone(), asked.clone());
            async move { scan::scan_file(&table, &file, &asked).await }
        });
        opened.try_flatten().boxed()
    }
}
