//! Tables that are made from unified tables and replaced by ranges of a named column, as roll-ups are.
//!
//! Invariant: the rows of a level's range are replaced as a whole, and the commit that does it records which versions of the unified
//! tables they were made from. Those versions only ever rise.
//!
//! ```text
//!   ranges    --> files of their periods that may hold a row of these levels and pipelines --> streamed anew without the ranges' rows
//!   new rows  --> the same files, and small neighbours with them, so that files do not pile up
//!   one commit for all levels and pipelines: remove + add + txn
//! ```
//!
//! A level is a part of the table that has ranges of its own; how long a period its rows are put away by is the level's too. Partitions are periods alone,
//! so that a run writes a file of the month and one of the year, whatever levels and pipelines changed. Within a file rows stand in the order of level,
//! pipeline and range, and bounds of these in the log and of row groups spare a reader the others. Rejected: partitions by level and pipeline, of which a
//! run writes one each anew; and a table for each level: every log costs requests of every run.
//!
//! The versions stand in one `txn` mark a unified table. An edition is part of the mark's name: a table whose columns mean something else
//! now has no marks, and is made anew. Which edition wrote last stands in a mark too: it knows neither all levels nor all columns of another one, so
//! that what another has marked no longer holds.

use crate::file::fan_out::FanOutWriter;
use crate::file::layout::{SMALL_FILE_BYTES, TableLayout};
use crate::file::replacement::{ReplaceSummary, UnifiedRowStream};
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::data_file::DataFile;
use crate::log::registry::TableRegistry;
use crate::log::schema_evolution;
use crate::log::set_aside::moved_away;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::log::table_version::TableVersion;
use crate::month::MonthNamer;
use crate::ranges::{ChangedRanges, RangeSet};
use crate::scan;
use crate::store::failure::is_store_failure;
use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray};
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

/// App id of the `txn` action that names the edition which replaced rows last.
const LAST_EDITION: &str = "edition";

/// Versions of the unified tables that a table was made from, by table name.
pub type SourceWatermarks = BTreeMap<String, u64>;

/// Ranges whose rows are replaced, by level.
pub type ChangedLevels = BTreeMap<String, ChangedRanges>;

/// Stretch of time by which rows of a level are put away in folders.
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

/// Touched ranges of a level's rows of one pipeline.
struct TouchedPart<'t> {
    level: &'t str,
    pipeline: &'t str,
    /// The periods they are in; `None` for any.
    periods: Option<BTreeSet<String>>,
}

/// Touched ranges of a table.
struct TouchedRows<'t> {
    levels: &'t ChangedLevels,
    parts: Vec<TouchedPart<'t>>,
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
    /// Stretch of time that the folders of its rows hold, by level.
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
        if !self.is_own(&snapshot) {
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

    /// The versions of the unified tables that a version was made from, as a run names it; none where another edition wrote it last, `None` where there is no
    /// table. Of a version that is opened already, or that the published run keeps, it asks the store nothing but whether its commit is there.
    pub async fn made_from_at(&self, named: &TableVersion) -> Result<Option<SourceWatermarks>> {
        let table = self.table()?;
        match table.opened_as_named(named).await? {
            Some(snapshot) => self.watermarks_at(&table, &snapshot).await.map(Some),
            None => Ok(None),
        }
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
        if !self.is_own(&snapshot) {
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
        // Nothing can be written behind a log whose folder is none.
        if let Some(error) = table.blocked_log() {
            let place = moved_away(&self.registry, &self.path, run_id).await?;
            tracing::warn!("{error}: {} is set aside in {}", self.path, place.display());
        }
        for _ in 0..ROUNDS {
            if table.begin_anew(above, &layout.definition, run_id).await? {
                return Ok(());
            }
        }
        Err(commit::too_many_conflicts(&table))
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
        rows: UnifiedRowStream,
        run_id: &str,
    ) -> Result<Option<ReplaceSummary>> {
        let touched = Some(self.touched(touched));
        self.exchange((was, counted), touched, rows, run_id).await
    }

    /// As [`RangeTable::replace`], of all rows, those of levels and pipelines that there are no more among them. No file is read.
    pub async fn replace_all(
        &self,
        was: &SourceWatermarks,
        counted: &SourceWatermarks,
        rows: UnifiedRowStream,
        run_id: &str,
    ) -> Result<Option<ReplaceSummary>> {
        self.exchange((was, counted), None, rows, run_id).await
    }

    /// Replaces the touched rows, or all where there is no list of them.
    async fn exchange(
        &self,
        (was, counted): (&SourceWatermarks, &SourceWatermarks),
        touched: Option<TouchedRows<'_>>,
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
        let mut replaced = ReplaceSummary {
            rows_added: splitter.rows(),
            ..ReplaceSummary::default()
        };
        let mut removed = Vec::new();
        match &touched {
            None => {
                replaced.rows_removed = snapshot.files.iter().filter_map(|file| file.rows).sum();
                removed.extend(snapshot.files.iter().map(commit::remove));
            }
            Some(touched) => {
                let files = snapshot.files.iter().filter(|file| touched.may_hold(file));
                let files: Vec<&DataFile> = files.collect();
                scan::read_ahead(&table, files.iter().copied()).await;
                for file in files {
                    let taken = self
                        .take_out(&table, file, touched, &layout, &mut splitter, &mut replaced)
                        .await;
                    match taken {
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

    /// Writes a file's rows anew without the touched ones, where it holds one, or is small. Whether it did.
    async fn take_out(
        &self,
        table: &Arc<TableHandle>,
        file: &DataFile,
        touched: &TouchedRows<'_>,
        layout: &TableLayout,
        splitter: &mut FanOutWriter,
        replaced: &mut ReplaceSummary,
    ) -> Result<bool> {
        replaced.files_read += 1;
        if file.size >= SMALL_FILE_BYTES && !self.holds_touched(table, file, touched).await? {
            return Ok(false);
        }
        let mut batches = scan::rows(table, file, layout.definition.schema.clone()).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let stays = self.untouched(&batch, touched)?;
            let rest = filter_record_batch(&batch, &stays)
                .or_error(ErrorKind::Internal, "rows cannot be filtered")?;
            replaced.rows_removed += (batch.num_rows() - rest.num_rows()) as u64;
            splitter.write(rest).await?;
        }
        Ok(true)
    }

    /// True if one of a file's rows is touched.
    async fn holds_touched(
        &self,
        table: &Arc<TableHandle>,
        file: &DataFile,
        touched: &TouchedRows<'_>,
    ) -> Result<bool> {
        let columns = [self.by.as_str(), LEVEL, PIPELINE].map(str::to_owned);
        let mut batches = scan::columns(table, file, columns.to_vec()).await?;
        while let Some(batch) = batches.next().await {
            if self.untouched(&batch?, touched)?.false_count() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True for each row of a batch that is not touched.
    fn untouched(&self, batch: &RecordBatch, touched: &TouchedRows<'_>) -> Result<BooleanArray> {
        let (levels, pipelines) = (self.texts(batch, LEVEL)?, self.texts(batch, PIPELINE)?);
        // Neighbours are mostly of one level and pipeline.
        let mut current = (None, None);
        let stays = self.starts(batch)?.enumerate().map(|(row, start)| {
            let of_row = (levels.value(row), pipelines.value(row));
            if current.0 != Some(of_row) {
                current = (Some(of_row), touched.ranges(of_row));
            }
            Some(match current.1 {
                None => true,
                Some(RangeSet::All) => false,
                Some(RangeSet::Only(ranges)) => !ranges.contains(&start),
            })
        });
        Ok(stays.collect())
    }

    fn layout(&self) -> Result<Arc<TableLayout>> {
        let mut bounded = vec![self.by.clone()];
        bounded.extend_from_slice(&self.bounded);
        bounded.extend([LEVEL, PIPELINE].map(str::to_owned));
        let partition_by = vec![PERIOD.to_owned()];
        TableLayout::new(self.schema.clone(), &bounded, partition_by).map(Arc::new)
    }

    /// True if a version has the columns and the partitions that this table is written with.
    fn is_own(&self, snapshot: &Snapshot) -> bool {
        schema_evolution::fits(&snapshot.schema(), &self.schema)
            && snapshot.partition_columns() == [PERIOD]
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
            .ok_or_else(|| self.lacks(&self.by))?;
        Ok(starts.iter())
    }

    /// A text column of a batch.
    fn texts<'b>(&self, batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray> {
        let column = batch.column_by_name(name);
        let texts = column.and_then(|column| column.as_string_opt::<i32>());
        texts.ok_or_else(|| self.lacks(name))
    }

    fn lacks(&self, column: &str) -> Error {
        Error::new(
            ErrorKind::Storage,
            "a data file lacks a column that its table is replaced by",
        )
        .at("table", &self.path)
        .at("column", column)
    }

    /// The touched ranges, with the periods they are in.
    fn touched<'t>(&self, levels: &'t ChangedLevels) -> TouchedRows<'t> {
        let mut months = MonthNamer::default();
        let mut parts = Vec::new();
        for (level, of_level) in levels {
            let width = self.levels.get(level).copied();
            let width = width.unwrap_or(PeriodWidth::Month);
            for (pipeline, ranges) in &of_level.0 {
                let periods = match ranges {
                    RangeSet::All => None,
                    RangeSet::Only(starts) => {
                        let mut periods = BTreeSet::new();
                        for start in starts {
                            periods.insert(width.of_month(months.of(*start)).to_owned());
                        }
                        Some(periods)
                    }
                };
                parts.push(TouchedPart {
                    level,
                    pipeline,
                    periods,
                });
            }
        }
        TouchedRows { levels, parts }
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

impl TouchedRows<'_> {
    /// True if a file may hold a touched row, or is small and of a period that new rows come to.
    fn may_hold(&self, file: &DataFile) -> bool {
        let Some(period) = file.partition_value(PERIOD) else {
            return false;
        };
        self.parts.iter().any(|part| match &part.periods {
            Some(periods) if !periods.contains(period) => false,
            Some(_) if file.size < SMALL_FILE_BYTES => true,
            _ => {
                file.may_hold_text(LEVEL, part.level) && file.may_hold_text(PIPELINE, part.pipeline)
            }
        })
    }

    /// Touched ranges of a level and pipeline.
    fn ranges(&self, (level, pipeline): (&str, &str)) -> Option<&RangeSet> {
        self.levels.get(level)?.0.get(pipeline)
    }
}

fn mark(version: u64) -> Result<i64> {
    i64::try_from(version).or_error(ErrorKind::Internal, "a table has too many versions")
}

#[cfg(test)]
#[path = "range_table_tests.rs"]
mod tests;
