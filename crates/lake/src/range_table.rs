//! Tables that are made from unified tables and replaced by ranges of a named column, as roll-ups are.
//!
//! Invariant: the rows of a level's range are replaced as a whole, and the commit that does it records which versions of the unified
//! tables they were made from. Those versions only ever rise.
//!
//! ```text
//!   ranges    --> files of their (pipeline, level, period) --> of those, the named column --> files with hits, streamed anew without
//!   new rows  --> the same files, and small neighbours with them, so that files do not pile up
//!   one commit for all levels: remove + add + txn
//! ```
//!
//! A level is a part of the table that has ranges of its own; how long a stretch of time a folder of it holds is the level's too. A
//! table for each level was rejected: every log costs requests of every run.
//!
//! The versions stand in one `txn` mark a unified table. An edition is part of the mark's name: a table whose columns mean something else
//! now has no marks, and is made anew. Which edition wrote last stands in a mark too: it knows neither all levels nor all columns of another one, so
//! that what another has marked no longer holds.

use crate::file::fan_out::FanOutWriter;
use crate::file::layout::TableLayout;
use crate::file::replacement::{ReplaceSummary, UnifiedRowStream};
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::data_file::DataFile;
use crate::log::registry::TableRegistry;
use crate::log::schema_evolution;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::log::table_version::TableVersion;
use crate::month::MonthNamer;
use crate::ranges::{ChangedRanges, RangeSet};
use crate::scan;
use crate::store::failure::is_store_failure;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use deltalake::kernel::Action;
use deltalake::protocol::DeltaOperation;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tillhouse_model::calendar::year_of;
use tillhouse_model::table::{LEVEL, PERIOD, PIPELINE};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// A data file below this size is written together with new rows of its month.
const SMALL_BYTES: u64 = 1 << 20;

/// App id of the `txn` action that names the edition which replaced rows last.
const LAST_EDITION: &str = "edition";

/// Versions of the unified tables that a table was made from, by table name.
pub type SourceWatermarks = BTreeMap<String, u64>;

/// Ranges whose rows are replaced, by level.
pub type ChangedLevels = BTreeMap<String, ChangedRanges>;

/// Stretch of time that a folder of a level holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeriodWidth {
    /// A UTC month, `2026-01`.
    Month,
    /// A UTC year, `2026`.
    Year,
}

impl PeriodWidth {
    /// Name of the period that a month's rows are in.
    ///
    /// ```
    /// use tillhouse_lake::PeriodWidth;
    ///
    /// assert_eq!(PeriodWidth::Year.of_month("2026-01"), "2026");
    /// assert_eq!(PeriodWidth::Month.of_month("2026-01"), "2026-01");
    /// assert_eq!(PeriodWidth::Year.of_month("none"), "none");
    /// ```
    pub fn of_month(self, month: &str) -> &str {
        match self {
            Self::Month => month,
            Self::Year => year_of(month),
        }
    }
}

/// State of a table at a version that a run names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeTableState {
    /// Versions of the unified tables that its rows were made from; none where another edition wrote it last.
    pub made_from: SourceWatermarks,
    /// The pipelines that have rows, by level.
    pub pipelines: BTreeMap<String, BTreeSet<String>>,
}

/// One table that is replaced by ranges of a column. A cheap handle. What is damaged in it nobody mends: it begins anew.
#[derive(Clone)]
pub struct RangeTable {
    pub(crate) registry: Arc<TableRegistry>,
    pub(crate) path: String,
    pub(crate) schema: SchemaRef,
    /// The column that holds the start of a row's range.
    pub(crate) by: String,
    /// Columns beside it whose bounds the log keeps of every file.
    pub(crate) bounded: Vec<String>,
    /// Stretch of time that a folder holds, by level.
    pub(crate) levels: BTreeMap<String, PeriodWidth>,
    pub(crate) sources: Vec<String>,
    pub(crate) edition: u32,
}

impl RangeTable {
    /// The same table with another level.
    #[must_use]
    pub fn with_level(mut self, level: &str, width: PeriodWidth) -> Self {
        self.levels.insert(level.to_owned(), width);
        self
    }

    /// The same table with the bounds of a text column in its log, so that files without a value are not opened.
    #[must_use]
    pub fn with_bounds_of(mut self, column: &str) -> Self {
        self.bounded.push(column.to_owned());
        self
    }

    /// The newest version, where it was made from exactly these versions of the unified tables and nobody has found it damaged. Of a
    /// table that the run has looked at it asks the store nothing.
    pub async fn version_made_from(&self, counted: &SourceWatermarks) -> Result<Option<u64>> {
        let table = self.table()?;
        if table.forsaken().is_some() {
            return Ok(None);
        }
        // What cannot be read is told by `damage`.
        let Ok(Some(snapshot)) = table.latest().await else {
            return Ok(None);
        };
        // Another table's log may have been put in its place.
        if !schema_evolution::fits(&snapshot.schema(), &self.schema) {
            return Ok(None);
        }
        let made_from = self.watermarks_at(&table, &snapshot).await;
        let is_made_from = made_from.is_ok_and(|found| found == *counted);
        Ok(is_made_from.then_some(snapshot.version))
    }

    /// The newest version, and the versions its rows were made from: none at first, and in a new edition.
    pub async fn watermarks(&self) -> Result<(Option<u64>, SourceWatermarks)> {
        let table = self.table()?;
        match table.latest().await? {
            Some(snapshot) => Ok((
                Some(snapshot.version),
                self.watermarks_at(&table, &snapshot).await?,
            )),
            None => Ok((None, SourceWatermarks::new())),
        }
    }

    /// The state of a version as a run names it, pinned pipelines included; `None` where there is no table. Of a version that is opened already, or that
    /// the published run keeps, it asks the store nothing but whether its commit is there.
    pub async fn state_at(&self, named: &TableVersion) -> Result<Option<RangeTableState>> {
        let table = self.table()?;
        let Some(snapshot) = table.opened_as_named(named).await? else {
            return Ok(None);
        };
        Ok(Some(RangeTableState {
            made_from: self.watermarks_at(&table, &snapshot).await?,
            pipelines: pipelines_of(&snapshot),
        }))
    }

    /// Reason that the table cannot be gone on with: its log cannot be read or is another table's, data files are not there or cut, or a run found that it is
    /// not what was published. `None` where it can.
    ///
    /// Errors where the store cannot be asked.
    pub async fn damage(&self) -> Result<Option<String>> {
        let table = self.table()?;
        if let Some((why, _)) = table.forsaken() {
            return Ok(Some(why));
        }
        let snapshot = match table.latest().await {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => return Ok(None),
            Err(error) if is_store_failure(&error) => return Err(error),
            Err(error) => return Ok(Some(error.to_string())),
        };
        let definition = self.layout()?.definition.schema.clone();
        if !schema_evolution::fits(&snapshot.schema(), &definition) {
            return Ok(Some("its columns are another table's".to_owned()));
        }
        let lost = table.lost_files(&snapshot).await?;
        Ok(lost.first().map(|first| match lost.len() {
            1 => format!("its data file {first} is missing or cut"),
            files => format!("{files} of its data files are missing or cut, {first} the first"),
        }))
    }

    /// Begins the table anew, without rows and without watermarks, in a version that no run has named yet.
    pub async fn begin_anew(&self, run_id: &str) -> Result<()> {
        let (table, layout) = (self.table()?, self.layout()?);
        let above = table.forsaken().map_or(0, |(_, version)| version);
        for _ in 0..ROUNDS {
            if table.begin_anew(above, &layout.definition, run_id).await? {
                return Ok(());
            }
        }
        Err(commit::too_many_conflicts(&table))
    }

    /// The pipelines that have rows, by level; those of levels that there are no more are among them.
    pub async fn pipelines(&self) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let snapshot = self.table()?.latest().await?;
        Ok(snapshot.as_ref().map(pipelines_of).unwrap_or_default())
    }

    /// Replaces the rows of the touched ranges and records the versions they were made from, in one commit. The rows are all there are
    /// of these ranges, and none of others. Ranges of a level that the table was not given are taken for months'.
    ///
    /// `None`: the table was not, or no longer, made from `was`, or what is to stay of it is damaged. Nothing is written then; look again.
    pub async fn replace(
        &self,
        was: &SourceWatermarks,
        counted: &SourceWatermarks,
        touched: &ChangedLevels,
        mut rows: UnifiedRowStream,
        run_id: &str,
    ) -> Result<Option<ReplaceSummary>> {
        let (table, layout) = (self.table()?, self.layout()?);
        let mut snapshot = table.latest_or_create(&layout.definition, run_id).await?;
        if !schema_evolution::ensure(&table, &mut snapshot, &layout.definition, run_id).await?
            || self.watermarks_at(&table, &snapshot).await? != *was
        {
            return Ok(None);
        }
        let mut splitter = FanOutWriter::new(table.clone(), layout.clone())?;
        while let Some(batch) = rows.next().await {
            splitter.write(batch?).await?;
        }
        let rows_added = splitter.rows();
        let mut replaced = ReplaceSummary {
            rows_added,
            ..ReplaceSummary::default()
        };
        let mut removed = Vec::new();
        let partitions = self.partitions(touched);
        let is_opened = |file: &&DataFile| {
            let values = [LEVEL, PIPELINE, PERIOD].map(|column| file.partition_value(column));
            let [Some(level), Some(pipeline), Some(period)] = values else {
                return false;
            };
            let of_level = touched.get(level).and_then(|of| of.0.get(pipeline));
            matches!(of_level, Some(RangeSet::Only(_)))
                && partitions.contains(&(level, pipeline, period.to_owned()))
        };
        scan::read_ahead(&table, snapshot.files.iter().filter(is_opened)).await;
        for file in snapshot.files.iter() {
            let (Some(pipeline), Some(level)) =
                (file.partition_value(PIPELINE), file.partition_value(LEVEL))
            else {
                continue;
            };
            let of_level = touched.get(level);
            match of_level.and_then(|touched| touched.0.get(pipeline)) {
                None => {}
                Some(RangeSet::All) => {
                    replaced.rows_removed += file.rows.unwrap_or(0);
                    removed.push(commit::remove(file));
                }
                Some(RangeSet::Only(ranges)) => {
                    let may_hold = file.partition_value(PERIOD).is_some_and(|period| {
                        partitions.contains(&(level, pipeline, period.to_owned()))
                    });
                    if !may_hold {
                        continue;
                    }
                    match self
                        .take_out(&table, file, ranges, &layout, &mut splitter, &mut replaced)
                        .await
                    {
                        Ok(true) => removed.push(commit::remove(file)),
                        Ok(false) => {}
                        Err(error) if is_store_failure(&error) => return Err(error),
                        Err(error) => {
                            table.forsake(error.to_string(), snapshot.version);
                            return Ok(None);
                        }
                    }
                }
            }
        }
        let added = splitter.finish().await?;
        let written: Vec<String> = added.iter().map(|add| add.path.clone()).collect();
        let change = CommitRequest {
            actions: removed
                .into_iter()
                .chain(added.into_iter().map(Action::Add))
                .collect(),
            operation: DeltaOperation::Update { predicate: None },
            watermarks: counted
                .iter()
                .map(|(source, version)| {
                    Ok::<_, Error>((self.watermark_id(source), mark(*version)?))
                })
                .chain([Ok((LAST_EDITION.to_owned(), i64::from(self.edition)))])
                .collect::<Result<_>>()?,
            run_id,
        };
        match commit::commit(&table, &snapshot, &change).await? {
            CommitOutcome::Committed(version) => {
                table.checkpoint_if_due(version).await;
                Ok(Some(ReplaceSummary {
                    version,
                    ..replaced
                }))
            }
            CommitOutcome::Lost => {
                commit::discard(&table, written).await;
                Ok(None)
            }
        }
    }

    /// Writes a file's rows anew without the touched ranges, where it holds one, or is small. Whether it did.
    async fn take_out(
        &self,
        table: &Arc<TableHandle>,
        file: &DataFile,
        ranges: &BTreeSet<Option<i64>>,
        layout: &TableLayout,
        splitter: &mut FanOutWriter,
        replaced: &mut ReplaceSummary,
    ) -> Result<bool> {
        replaced.files_read += 1;
        let mut hits = 0;
        let mut batches = scan::columns(table, file, vec![self.by.clone()]).await?;
        while let Some(batch) = batches.next().await {
            hits += self
                .starts(&batch?)?
                .filter(|start| ranges.contains(start))
                .count() as u64;
        }
        replaced.rows_removed += hits;
        if hits > 0 && file.rows == Some(hits) {
            return Ok(true);
        }
        if hits == 0 && file.size >= SMALL_BYTES {
            return Ok(false);
        }
        let mut batches = scan::rows(table, file, layout.definition.schema.clone()).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let stays: BooleanArray = self
                .starts(&batch)?
                .map(|start| Some(!ranges.contains(&start)))
                .collect();
            let rest = filter_record_batch(&batch, &stays)
                .or_error(ErrorKind::Internal, "rows cannot be filtered")?;
            splitter.write(rest).await?;
        }
        Ok(true)
    }

    fn layout(&self) -> Result<Arc<TableLayout>> {
        let partition_by = [LEVEL, PIPELINE, PERIOD].map(str::to_owned).to_vec();
        let bounded: Vec<String> = std::iter::once(&self.by)
            .chain(&self.bounded)
            .cloned()
            .collect();
        TableLayout::new(self.schema.clone(), &bounded, partition_by).map(Arc::new)
    }

    /// The path below the warehouse.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The unified tables it is made from.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Starts of the ranges of a batch's rows.
    fn starts<'b>(
        &self,
        batch: &'b RecordBatch,
    ) -> Result<impl Iterator<Item = Option<i64>> + use<'b>> {
        let starts = batch
            .column_by_name(&self.by)
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Storage,
                    "a data file lacks the column that its table is replaced by",
                )
                .at("table", &self.path)
                .at("column", &self.by)
            })?;
        Ok(starts.iter())
    }

    /// The partitions the touched ranges are in, as (level, pipeline, period).
    fn partitions<'t>(&self, touched: &'t ChangedLevels) -> BTreeSet<(&'t str, &'t str, String)> {
        let mut found = BTreeSet::new();
        let mut months = MonthNamer::default();
        for (level, touched) in touched {
            let width = self.levels.get(level).copied();
            let width = width.unwrap_or(PeriodWidth::Month);
            for (pipeline, ranges) in &touched.0 {
                if let RangeSet::Only(ranges) = ranges {
                    found.extend(ranges.iter().map(|start| {
                        let period = width.of_month(months.of(*start)).to_owned();
                        (level.as_str(), pipeline.as_str(), period)
                    }));
                }
            }
        }
        found
    }

    fn table(&self) -> Result<Arc<TableHandle>> {
        self.registry.table(&self.path)
    }

    /// App id of the `txn` action that holds the watermark of a unified table.
    fn watermark_id(&self, source: &str) -> String {
        format!("unified.{source}#{}", self.edition)
    }

    async fn watermarks_at(
        &self,
        table: &TableHandle,
        snapshot: &Snapshot,
    ) -> Result<SourceWatermarks> {
        let mut counted = SourceWatermarks::new();
        for source in &self.sources {
            if let Some(mark) = table
                .watermark(snapshot, &self.watermark_id(source))
                .await?
            {
                let version = u64::try_from(mark)
                    .or_error(ErrorKind::Storage, "a table's mark is no version")?;
                counted.insert(source.clone(), version);
            }
        }
        if counted.is_empty() {
            return Ok(counted);
        }
        // Tables that were written before there was this mark have none.
        let last = table.watermark(snapshot, LAST_EDITION).await?;
        Ok(match last {
            Some(last) if last != i64::from(self.edition) => SourceWatermarks::new(),
            _ => counted,
        })
    }
}

/// The pipelines that have rows in a version, by level.
fn pipelines_of(snapshot: &Snapshot) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in snapshot.files.iter() {
        if let (Some(level), Some(pipeline)) =
            (file.partition_value(LEVEL), file.partition_value(PIPELINE))
        {
            let pipelines = found.entry(level.to_owned()).or_default();
            pipelines.insert(pipeline.to_owned());
        }
    }
    found
}

fn mark(version: u64) -> Result<i64> {
    i64::try_from(version).or_error(ErrorKind::Internal, "a table has too many versions")
}

#[cfg(test)]
#[path = "range_table_tests.rs"]
mod tests;
