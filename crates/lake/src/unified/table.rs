//! Unified tables: the current state of every record, one model for all sources.
//!
//! Invariant: a record's rows are replaced as a whole, in the same commit that records how far unification got. That mark rises
//! strictly; the Delta library does not check it, this file does.
//!
//! ```text
//!   superseded times --> files of the pipeline whose record times hold one   (new records: none)
//!                    --> of those, the key column --> files with hits, streamed anew without the old rows
//!   new rows         --> files in time order
//!   one commit: remove + add + txn
//! ```

use crate::file::fan_out::{FanOutWriter, conform_batch};
use crate::file::writer::TableLayout;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::schema_evolution;
use crate::log::table::{DataFile, Snapshot, TableDefinition, TableHandle};
use crate::scan;
use crate::unified::dimension::NewestDimensionRows;
use crate::warehouse::Warehouse;
use arrow::array::{Array, AsArray, BooleanArray, StringArray};
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use deltalake::kernel::{Action, Add};
use deltalake::protocol::DeltaOperation;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::collections::HashSet;
use std::sync::Arc;
use tillhouse_model::table::{RECORD_KEY, TableRole};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, TableSpec};

/// One step of unification: the packages (`after_load_id`, `to_load_id`] of one source table.
#[derive(Debug, Clone)]
pub struct UnifyStep {
    /// The pipeline whose rows are replaced.
    pub pipeline: String,
    /// The source table's resource.
    pub resource: String,
    /// The highest package unified before.
    pub after_load_id: i64,
    /// The highest package in this step.
    pub to_load_id: i64,
    /// Resources whose records are children of that one's, and how far they are unified along with it.
    pub children: Vec<ResourceWatermark>,
    /// The run that unifies.
    pub run_id: String,
}

/// Packages of one resource that a step covers: after one, up to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceWatermark {
    /// The resource.
    pub resource: String,
    /// The highest package unified before.
    pub after_load_id: i64,
    /// The highest package in this step.
    pub to_load_id: i64,
}

impl UnifyStep {
    /// Its own resource's watermark, then its children's.
    pub fn watermarks(&self) -> impl Iterator<Item = ResourceWatermark> + '_ {
        let own = ResourceWatermark {
            resource: self.resource.clone(),
            after_load_id: self.after_load_id,
            to_load_id: self.to_load_id,
        };
        std::iter::once(own).chain(self.children.iter().cloned())
    }
}

/// Earlier versions that the records of a step supersede: their keys and record times.
#[derive(Debug, Default, Clone)]
pub struct SupersededRecords {
    /// Record keys that had an earlier version.
    pub keys: HashSet<String>,
    /// Every non-null `_prev_record_time`, microseconds UTC.
    pub times: Vec<i64>,
    /// Changed keys whose `_prev_record_time` is null: new, or their earlier version had no time.
    pub keys_maybe_untimed: HashSet<String>,
}

impl SupersededRecords {
    fn holds(&self, key: &str) -> bool {
        self.keys.contains(key) || self.keys_maybe_untimed.contains(key)
    }
}

/// Summary of a replacement: version, rows added and removed, files read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplaceSummary {
    /// The table's version after it.
    pub version: u64,
    /// Rows that came.
    pub rows_added: u64,
    /// Rows that went.
    pub rows_removed: u64,
    /// Data files that had to be opened.
    pub files_read: u64,
}

/// Stream of batches of [`TableSpec::unified_schema`].
pub type UnifiedRowStream = BoxStream<'static, Result<RecordBatch>>;

/// One unified table. A cheap handle.
#[derive(Clone)]
pub struct UnifiedTable {
    pub(crate) warehouse: Warehouse,
    pub(crate) path: String,
    pub(crate) spec: Arc<TableSpec>,
}

/// Files that are removed from a table, and the rewritten ones that keep their other rows.
#[derive(Default)]
pub(crate) struct RowRemoval {
    pub(crate) removed: Vec<Action>,
    pub(crate) rewritten: Vec<Add>,
    pub(crate) rows_removed: u64,
    pub(crate) files_read: u64,
}

/// State of a step: done already, or next.
pub(crate) enum StepStatus {
    /// Its packages are unified already.
    Done(u64),
    /// They are next.
    Next(Snapshot),
}

impl UnifiedTable {
    /// The highest package of that source table that is unified here; 0 at first.
    pub async fn progress(&self, pipeline: &str, resource: &str) -> Result<i64> {
        let table = self.table()?;
        match table.latest().await? {
            Some(snapshot) => progress_at(&table, &snapshot, pipeline, resource).await,
            None => Ok(0),
        }
    }

    /// Replaces whole records of a fact table: the old rows of the superseded records go, the given rows come, and the step is
    /// marked as done, in one commit.
    ///
    /// A step that is done already is left alone (the rows are not read). Errors with [`ErrorKind::Conflict`] when the table is not
    /// where the step begins: another run is unifying; compute the step anew.
    pub async fn replace(
        &self,
        step: &UnifyStep,
        superseded: &SupersededRecords,
        mut rows: UnifiedRowStream,
    ) -> Result<ReplaceSummary> {
        let (table, layout) = (self.table()?, self.layout()?);
        if let StepStatus::Done(version) = self.step_status(&table, &layout, step).await? {
            return Ok(ReplaceSummary {
                version,
                ..ReplaceSummary::default()
            });
        }
        let mut writing = self.begin(&step.pipeline)?;
        while let Some(batch) = rows.next().await {
            writing.write(batch?).await?;
        }
        writing.commit(step, superseded).await
    }

    /// Takes rows before it is known how far the step goes. Nothing of them is in the table until [`UnifiedTableWriter::commit`].
    pub fn begin(&self, pipeline: &str) -> Result<UnifiedTableWriter> {
        let (table, layout) = (self.table()?, self.layout()?);
        let gathered = match self.spec.role {
            TableRole::Dimension => {
                let now = self.warehouse.now().as_microsecond();
                UnifiedRowBuffer::Dimension(Box::new(NewestDimensionRows::new(
                    &layout.schema,
                    &self.spec.key,
                    now,
                )?))
            }
            TableRole::Fact | TableRole::Source => {
                UnifiedRowBuffer::Fact(Box::new(FanOutWriter::new(table.clone(), layout.clone())?))
            }
        };
        Ok(UnifiedTableWriter {
            target: self.clone(),
            table,
            layout,
            pipeline: pipeline.to_owned(),
            gathered,
        })
    }

    /// Commits rows of a fact table that stand in files already.
    async fn replace_with(
        &self,
        table: &Arc<TableHandle>,
        layout: &Arc<TableLayout>,
        step: &UnifyStep,
        superseded: &SupersededRecords,
        (rows_added, added): (u64, Vec<Add>),
    ) -> Result<ReplaceSummary> {
        let added_paths: Vec<String> = added.iter().map(|add| add.path.clone()).collect();
        let mut snapshot = match self.step_status(table, layout, step).await? {
            StepStatus::Done(version) => {
                commit::discard(table, added_paths).await;
                return Ok(ReplaceSummary {
                    version,
                    ..ReplaceSummary::default()
                });
            }
            StepStatus::Next(snapshot) => snapshot,
        };
        let mut removal = self
            .take_out(table, layout, &snapshot, step, superseded)
            .await?;
        let mut files_read = removal.files_read;
        for _ in 0..ROUNDS {
            let adds = added
                .iter()
                .chain(&removal.rewritten)
                .cloned()
                .map(Action::Add);
            let actions = removal.removed.iter().cloned().chain(adds).collect();
            let change = self.change(table, &snapshot, step, actions).await?;
            if let CommitOutcome::Committed(version) =
                commit::commit(table, &snapshot, &change).await?
            {
                table.checkpoint_if_due(version).await;
                return Ok(ReplaceSummary {
                    version,
                    rows_added,
                    rows_removed: removal.rows_removed,
                    files_read,
                });
            }
            let read = snapshot.version;
            snapshot = match self.step_status(table, layout, step).await? {
                StepStatus::Done(version) => {
                    // Another run did this very step in the meantime: its rows are there, ours are not needed.
                    let rewritten = removal.rewritten.into_iter().map(|add| add.path);
                    commit::discard(table, added_paths.into_iter().chain(rewritten)).await;
                    return Ok(ReplaceSummary {
                        version,
                        files_read,
                        ..ReplaceSummary::default()
                    });
                }
                StepStatus::Next(snapshot) => snapshot,
            };
            if !commit::touches_only_others(table, read, snapshot.version, &step.pipeline).await? {
                commit::discard(table, removal.rewritten.into_iter().map(|add| add.path)).await;
                removal = self
                    .take_out(table, layout, &snapshot, step, superseded)
                    .await?;
                files_read += removal.files_read;
            }
        }
        Err(commit::too_many_conflicts(table))
    }

    /// Finds the superseded rows and writes their files anew without them.
    async fn take_out(
        &self,
        table: &Arc<TableHandle>,
        layout: &Arc<TableLayout>,
        snapshot: &Snapshot,
        step: &UnifyStep,
        superseded: &SupersededRecords,
    ) -> Result<RowRemoval> {
        let mut times = superseded.times.clone();
        times.sort_unstable();
        let candidate = |file: &&DataFile| {
            file.partition_value("pipeline") == Some(step.pipeline.as_str())
                && ((!times.is_empty()
                    && (file.times.is_none() && file.untimed.is_none()
                        || file.may_hold_times(&times, 0)))
                    || (!superseded.keys_maybe_untimed.is_empty() && file.may_hold_untimed()))
        };
        let mut removal = RowRemoval::default();
        let mut kept: Option<FanOutWriter> = None;
        for file in snapshot.files.iter().filter(candidate) {
            removal.files_read += 1;
            let mut hits = 0;
            let mut keys = scan::columns(table, file, vec![RECORD_KEY.to_owned()]).await?;
            while let Some(batch) = keys.next().await {
                let batch = batch?;
                hits += record_keys(&batch)?
                    .iter()
                    .flatten()
                    .filter(|key| superseded.holds(key))
                    .count() as u64;
            }
            if hits == 0 {
                continue;
            }
            removal.rows_removed += hits;
            removal.removed.push(commit::remove(file));
            if file.rows == Some(hits) {
                continue;
            }
            let splitter = match &mut kept {
                Some(splitter) => splitter,
                none => none.insert(FanOutWriter::new(table.clone(), layout.clone())?),
            };
            let mut rows = scan::rows(table, file, layout.schema.clone()).await?;
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                let stays: BooleanArray = record_keys(&batch)?
                    .iter()
                    .map(|key| Some(!key.is_some_and(|key| superseded.holds(key))))
                    .collect();
                let rest = filter_record_batch(&batch, &stays)
                    .or_error(ErrorKind::Internal, "rows cannot be filtered")?;
                splitter.write(rest).await?;
            }
        }
        if let Some(splitter) = kept {
            removal.rewritten = splitter.finish().await?;
        }
        Ok(removal)
    }

    /// Status of the step, with the snapshot it begins at. The table is made first if need be.
    pub(crate) async fn step_status(
        &self,
        table: &Arc<TableHandle>,
        layout: &TableLayout,
        step: &UnifyStep,
    ) -> Result<StepStatus> {
        for _ in 0..ROUNDS {
            let shape = TableDefinition {
                schema: layout.schema.clone(),
                partition_by: layout.partition_by.clone(),
            };
            let mut snapshot = table
                .latest_or_create(&shape, &layout.stat_columns, &step.run_id)
                .await?;
            if !schema_evolution::ensure(table, &mut snapshot, layout, &step.run_id).await? {
                continue;
            }
            let (mut done, mut astray) = (true, None);
            for mark in step.watermarks() {
                let progress =
                    progress_at(table, &snapshot, &step.pipeline, &mark.resource).await?;
                done &= progress >= mark.to_load_id;
                if progress != mark.after_load_id {
                    astray = Some((mark, progress));
                }
            }
            if done {
                return Ok(StepStatus::Done(snapshot.version));
            }
            if let Some((mark, progress)) = astray {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "another run has unified part of this step",
                )
                .at("table", &self.path)
                .at("pipeline", &step.pipeline)
                .at("resource", mark.resource)
                .at("unified", progress.to_string())
                .at("expected", mark.after_load_id.to_string())
                .hint("Run the same command again: it goes on from where the table is."));
            }
            return Ok(StepStatus::Next(snapshot));
        }
        Err(commit::too_many_conflicts(table))
    }

    /// A commit of the step: its mark, and that it reads and writes the pipeline's partitions only.
    pub(crate) async fn change<'a>(
        &self,
        table: &TableHandle,
        snapshot: &Snapshot,
        step: &'a UnifyStep,
        actions: Vec<Action>,
    ) -> Result<CommitRequest<'a>> {
        let epoch = epoch_at(table, snapshot, &step.pipeline).await?;
        Ok(CommitRequest {
            actions,
            operation: update(&step.pipeline),
            watermarks: step
                .watermarks()
                .filter(|mark| mark.to_load_id > mark.after_load_id)
                .map(|mark| {
                    (
                        app_id(&step.pipeline, &mark.resource, epoch),
                        mark.to_load_id,
                    )
                })
                .collect(),
            run_id: &step.run_id,
        })
    }

    /// Removes a pipeline's rows and sets its progress to 0, in one commit; for a rebuild.
    ///
    /// The marks of an app id only ever rise, so the pipeline starts a new epoch instead: its app ids get another suffix.
    pub async fn clear(&self, pipeline: &str, run_id: &str) -> Result<()> {
        let table = self.table()?;
        for _ in 0..ROUNDS {
            let Some(snapshot) = table.latest().await? else {
                return Ok(());
            };
            let own = snapshot
                .files
                .iter()
                .filter(|file| file.partition_value("pipeline") == Some(pipeline));
            let epoch = epoch_at(&table, &snapshot, pipeline).await?;
            let change = CommitRequest {
                actions: own.map(commit::remove).collect(),
                operation: update(pipeline),
                watermarks: vec![(epoch_id(pipeline), epoch + 1)],
                run_id,
            };
            if let CommitOutcome::Committed(version) =
                commit::commit(&table, &snapshot, &change).await?
            {
                table.checkpoint_if_due(version).await;
                return Ok(());
            }
        }
        Err(commit::too_many_conflicts(&table))
    }

    /// Makes good for versions that were lost, so that no later one has their numbers. The table is made first if need be.
    pub async fn raise_to(&self, version: u64, run_id: &str) -> Result<()> {
        let (table, layout) = (self.table()?, self.layout()?);
        let shape = TableDefinition {
            schema: layout.schema.clone(),
            partition_by: layout.partition_by.clone(),
        };
        table
            .latest_or_create(&shape, &layout.stat_columns, run_id)
            .await?;
        table.raise_to(version, run_id).await
    }

    /// The newest version; `None` before the first step.
    pub async fn version(&self) -> Result<Option<u64>> {
        Ok(self
            .table()?
            .latest()
            .await?
            .map(|snapshot| snapshot.version))
    }

    /// The path below the warehouse.
    pub fn path(&self) -> String {
        self.path.clone()
    }

    /// Role of a row.
    pub fn spec(&self) -> &Arc<TableSpec> {
        &self.spec
    }

    pub(crate) fn table(&self) -> Result<Arc<TableHandle>> {
        self.warehouse.table(&self.path)
    }

    pub(crate) fn layout(&self) -> Result<Arc<TableLayout>> {
        if !self
            .spec
            .partition_by
            .iter()
            .any(|column| column == "pipeline")
        {
            return Err(
                Error::config("a unified table must be partitioned by pipeline")
                    .at("table", &self.path),
            );
        }
        Ok(Arc::new(TableLayout::new(
            self.spec.unified_schema(),
            &self.spec.key,
            self.spec.partition_by.clone(),
        )?))
    }
}

/// Writer of rows into a unified table. Files of one that is dropped without a commit are left
/// for vacuum. What is dropped without a commit leaves files that no commit names, for vacuum.
pub struct UnifiedTableWriter {
    target: UnifiedTable,
    table: Arc<TableHandle>,
    layout: Arc<TableLayout>,
    pipeline: String,
    gathered: UnifiedRowBuffer,
}

/// Rows written so far: files of a fact, or the newest rows of a dimension.
enum UnifiedRowBuffer {
    Fact(Box<FanOutWriter>),
    Dimension(Box<NewestDimensionRows>),
}

impl UnifiedTableWriter {
    /// Takes rows of [`TableSpec::unified_schema`]. Errors with [`ErrorKind::Data`] for rows of another pipeline or shape.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        check_pipeline(&batch, &self.pipeline)?;
        match &mut self.gathered {
            UnifiedRowBuffer::Fact(splitter) => splitter.write(batch).await,
            UnifiedRowBuffer::Dimension(newest) => {
                newest.add(&conform_batch(&batch, &self.layout)?)
            }
        }
    }

    /// Puts the rows into the table and marks the step as done, in one commit: [`UnifiedTable::replace`] for a fact,
    /// [`UnifiedTable::merge`] for a dimension.
    pub async fn commit(
        self,
        step: &UnifyStep,
        superseded: &SupersededRecords,
    ) -> Result<ReplaceSummary> {
        let Self {
            target,
            table,
            layout,
            gathered,
            ..
        } = self;
        match gathered {
            UnifiedRowBuffer::Fact(splitter) => {
                let written = (splitter.rows(), splitter.finish().await?);
                target
                    .replace_with(&table, &layout, step, superseded, written)
                    .await
            }
            UnifiedRowBuffer::Dimension(newest) => {
                target.merge_with(&table, &layout, step, *newest).await
            }
        }
    }
}

/// An update of one pipeline's rows, as other Delta writers understand it: it conflicts with whatever touches those.
fn update(pipeline: &str) -> DeltaOperation {
    DeltaOperation::Update {
        predicate: Some(format!("pipeline = '{}'", pipeline.replace('\'', "''"))),
    }
}

fn app_id(pipeline: &str, resource: &str, epoch: i64) -> String {
    if epoch == 0 {
        format!("{pipeline}.{resource}")
    } else {
        format!("{pipeline}.{resource}#{epoch}")
    }
}

fn epoch_id(pipeline: &str) -> String {
    format!("{pipeline}#epoch")
}

async fn epoch_at(table: &TableHandle, snapshot: &Snapshot, pipeline: &str) -> Result<i64> {
    Ok(table
        .watermark(snapshot, &epoch_id(pipeline))
        .await?
        .unwrap_or(0))
}

async fn progress_at(
    table: &TableHandle,
    snapshot: &Snapshot,
    pipeline: &str,
    resource: &str,
) -> Result<i64> {
    let epoch = epoch_at(table, snapshot, pipeline).await?;
    Ok(table
        .watermark(snapshot, &app_id(pipeline, resource, epoch))
        .await?
        .unwrap_or(0))
}

fn record_keys(batch: &RecordBatch) -> Result<&StringArray> {
    batch
        .column_by_name(RECORD_KEY)
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Storage,
                "a unified table's data file has no record keys",
            )
        })
}

/// Refuses rows of another pipeline: they would never be found again.
pub(crate) fn check_pipeline(batch: &RecordBatch, pipeline: &str) -> Result<()> {
    let column = batch
        .column_by_name("pipeline")
        .ok_or_else(|| Error::data("unified rows have no pipeline"))?;
    let text = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8)
        .or_error(ErrorKind::Data, "the pipeline column is not text")?;
    let text = text.as_string::<i32>();
    if text.null_count() > 0 || text.iter().flatten().any(|value| value != pipeline) {
        return Err(Error::data("unified rows name another pipeline").at("pipeline", pipeline));
    }
    Ok(())
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
