//! Unified tables: the current state of every record, one model for all sources.
//!
//! Invariant: a record's rows are replaced as a whole, in the same commit that records how far unification got. That mark rises
//! strictly; the Delta library does not check it, this file does.
//!
//! A step that changes no row of a table needs no commit of it: another table of the same step, its carrier, takes its watermark along. What is carried
//! counts as long as the table's own watermark, and its epoch, are those that it was carried on from: so it says nothing of a table that was emptied,
//! taken back, made anew or has lost commits.
//!
//! ```text
//!   superseded times --> files of the pipeline whose record times hold one   (new records: none)
//!                    --> of those, the key column --> files with hits, streamed anew without the old rows
//!   new rows         --> files in time order
//!   one commit: remove + add + txn
//! ```

use super::step::{CarriedWatermark, UnifyStep, WatermarkPlace};
use crate::file::layout::TableLayout;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::data_file::DataFile;
use crate::log::registry::TableRegistry;
use crate::log::schema_evolution;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use deltalake::kernel::Action;
use deltalake::protocol::DeltaOperation;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::table::PIPELINE;
use tillhouse_model::{Error, ErrorKind, Result, TableSpec};

/// One unified table. A cheap handle.
#[derive(Clone)]
pub struct UnifiedTable {
    pub(crate) registry: Arc<TableRegistry>,
    pub(crate) path: String,
    pub(crate) spec: Arc<TableSpec>,
    /// True if a null of a dimension's row says nothing.
    pub(crate) keeps_known: bool,
    /// The table whose log has this one's watermark, where steps changed no row of this one.
    pub(crate) carrier: Option<Arc<UnifiedTable>>,
}

/// State of a step: done already, or next.
pub(crate) enum StepStatus {
    /// Its packages are unified already.
    Done(u64),
    /// They are next.
    Next(Snapshot),
}

impl UnifiedTable {
    /// The same table for rows of records that only name what a dimension is of, as sales name their site: a value that a row lacks stays as it was known.
    /// No difference to a fact.
    #[must_use]
    pub fn keeping_known(self) -> Self {
        Self {
            keeps_known: true,
            ..self
        }
    }

    /// The same table, with the one whose commits may carry its watermark.
    #[must_use]
    pub fn carried_by(self, carrier: Self) -> Self {
        Self {
            carrier: Some(Arc::new(carrier)),
            ..self
        }
    }

    /// The highest package of that source table that is unified here; 0 at first.
    pub async fn progress(&self, pipeline: &str, resource: &str) -> Result<i64> {
        let table = self.table()?;
        match table.latest().await? {
            Some(snapshot) => {
                self.progress_with_carrier(&table, &snapshot, pipeline, resource)
                    .await
            }
            None => Ok(0),
        }
    }

    /// Progress at a snapshot, by this table's log and its carrier's.
    async fn progress_with_carrier(
        &self,
        table: &TableHandle,
        snapshot: &Snapshot,
        pipeline: &str,
        resource: &str,
    ) -> Result<i64> {
        let own = progress_at(table, snapshot, pipeline, resource).await?;
        let Some(carrier) = self.carrier.as_ref().filter(|_| own > 0) else {
            return Ok(own);
        };
        let log = carrier.table()?;
        let Some(latest) = log.latest().await? else {
            return Ok(own);
        };
        let epoch = epoch_at(table, snapshot, pipeline).await?;
        let app_id = carried_id(&app_id(pipeline, resource, epoch), &self.path);
        let done = match log.watermark(&latest, &app_id).await? {
            Some(done) if done > own => done,
            _ => return Ok(own),
        };
        let from = log.watermark(&latest, &own_id(&app_id)).await?;
        Ok(if from == Some(own) { done } else { own })
    }

    /// Sends the watermark of a step that changes no row of this table to its carrier; false where this table has to be committed: it has no carrier in the
    /// step, or one that failed, or no watermark in its own log yet.
    pub(crate) async fn is_carried(
        &self,
        table: &TableHandle,
        snapshot: &Snapshot,
        step: &UnifyStep,
        place: &mut WatermarkPlace,
    ) -> Result<bool> {
        let is_alone = step.children.is_empty() && self.carrier.is_some();
        if !is_alone || matches!(place, WatermarkPlace::OwnLog(_)) {
            return Ok(false);
        }
        let (pipeline, resource) = (&step.pipeline, &step.resource);
        let own = progress_at(table, snapshot, pipeline, resource).await?;
        if own == 0 {
            return Ok(false);
        }
        let epoch = epoch_at(table, snapshot, pipeline).await?;
        let watermark = CarriedWatermark {
            app_id: carried_id(&app_id(pipeline, resource, epoch), &self.path),
            own,
            done: step.to_load_id,
        };
        match std::mem::replace(place, WatermarkPlace::OwnLog(Vec::new())) {
            WatermarkPlace::Carrier(carrier) => Ok(carrier.send(watermark).is_ok()),
            WatermarkPlace::OwnLog(_) => Ok(false),
        }
    }

    /// Status of the step, with the snapshot it begins at. The table is made first if need be.
    pub(crate) async fn step_status(
        &self,
        table: &Arc<TableHandle>,
        layout: &TableLayout,
        step: &UnifyStep,
    ) -> Result<StepStatus> {
        for _ in 0..ROUNDS {
            let mut snapshot = table
                .latest_or_create(&layout.definition, &step.run_id)
                .await?;
            if !schema_evolution::ensure(table, &mut snapshot, &layout.definition, &step.run_id)
                .await?
            {
                continue;
            }
            let (mut done, mut astray) = (true, None);
            for mark in step.watermarks() {
                let progress = self
                    .progress_with_carrier(table, &snapshot, &step.pipeline, &mark.resource)
                    .await?;
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

    /// A commit of the step: its mark and those that it takes along, and that it reads and writes the pipeline's partitions only.
    pub(crate) async fn change<'a>(
        &self,
        table: &TableHandle,
        snapshot: &Snapshot,
        step: &'a UnifyStep,
        actions: Vec<Action>,
        carried: &[CarriedWatermark],
    ) -> Result<CommitRequest<'a>> {
        let epoch = epoch_at(table, snapshot, &step.pipeline).await?;
        let moved = step
            .watermarks()
            .filter(|mark| mark.to_load_id > mark.after_load_id);
        let own = moved.map(|mark| {
            (
                app_id(&step.pipeline, &mark.resource, epoch),
                mark.to_load_id,
            )
        });
        let carried = carried.iter().flat_map(|mark| {
            [
                (own_id(&mark.app_id), mark.own),
                (mark.app_id.clone(), mark.done),
            ]
        });
        Ok(CommitRequest {
            actions,
            operation: update(&step.pipeline),
            watermarks: own.chain(carried).collect(),
            run_id: &step.run_id,
        })
    }

    /// Removes a pipeline's rows and sets its progress to 0, in one commit; for a rebuild.
    ///
    /// The marks of an app id only ever rise, so the pipeline starts a new epoch instead: its app ids get another suffix, which those of an earlier table
    /// in this place did not have either. What was carried for that one stands in its carrier still.
    pub async fn clear(&self, pipeline: &str, run_id: &str) -> Result<()> {
        let table = self.table()?;
        for _ in 0..ROUNDS {
            let Some(snapshot) = table.latest().await? else {
                return Ok(());
            };
            let own = snapshot.files.iter().filter(|file| file.is_of(pipeline));
            let epoch = epoch_at(&table, &snapshot, pipeline).await?;
            let change = CommitRequest {
                actions: own.map(commit::remove).collect(),
                operation: update(pipeline),
                watermarks: vec![(epoch_id(pipeline), self.epoch_after(epoch))],
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

    /// Takes a pipeline's rows and progress back to what they were at a version, in one commit or none; to nothing without a version. Packages that were
    /// found to change none of those rows stay done.
    /// `resources` are all whose records may be among its rows.
    ///
    /// Errors with [`ErrorKind::Storage`] where that version is gone.
    pub async fn restore(
        &self,
        pipeline: &str,
        version: Option<u64>,
        resources: &[&str],
        run_id: &str,
    ) -> Result<()> {
        let Some(version) = version else {
            return self.clear(pipeline, run_id).await;
        };
        let table = self.table()?;
        for _ in 0..ROUNDS {
            let (Some(snapshot), Some(earlier)) =
                (table.latest().await?, table.at(&version.into()).await?)
            else {
                return Ok(());
            };
            let epoch = epoch_at(&table, &snapshot, pipeline).await?;
            let epoch = self.epoch_after(epoch);
            let mut watermarks = vec![(epoch_id(pipeline), epoch)];
            let mut has_moved = false;
            for resource in resources {
                let was = self.progress_with_carrier(&table, &earlier, pipeline, resource);
                let was = was.await?;
                let is = self.progress_with_carrier(&table, &snapshot, pipeline, resource);
                has_moved |= was != is.await?;
                if was > 0 {
                    watermarks.push((app_id(pipeline, resource, epoch), was));
                }
            }
            let (now, then) = (files_of(&snapshot, pipeline), files_of(&earlier, pipeline));
            let gone = then.iter().filter(|(path, _)| !now.contains_key(*path));
            let come = now.iter().filter(|(path, _)| !then.contains_key(*path));
            let removes = come.map(|(_, file)| commit::remove(file));
            let actions: Vec<Action> = removes
                .chain(gone.map(|(_, file)| commit::bring_back(file)))
                .collect();
            if actions.is_empty() && !has_moved {
                return Ok(());
            }
            let change = CommitRequest {
                actions,
                operation: update(pipeline),
                watermarks,
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

    fn epoch_after(&self, epoch: i64) -> i64 {
        self.registry.now().as_second().max(epoch + 1)
    }

    /// Makes good for versions that were lost, so that no later one has their numbers. The table is made first if need be.
    pub async fn raise_to(&self, version: u64, run_id: &str) -> Result<()> {
        let (table, layout) = (self.table()?, self.layout()?);
        table.latest_or_create(&layout.definition, run_id).await?;
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
        self.registry.table(&self.path)
    }

    pub(crate) fn layout(&self) -> Result<Arc<TableLayout>> {
        if !self
            .spec
            .partition_by
            .iter()
            .any(|column| column == PIPELINE)
        {
            return Err(
                Error::config("a unified table must be partitioned by pipeline")
                    .at("table", &self.path),
            );
        }
        let layout = TableLayout::new(
            self.spec.unified_schema(),
            &self.spec.key,
            self.spec.partition_by.clone(),
        )?;
        Ok(Arc::new(layout.with_comments(&self.spec.note())))
    }
}

/// The files of a pipeline's rows, by path.
fn files_of<'a>(snapshot: &'a Snapshot, pipeline: &str) -> BTreeMap<&'a str, &'a DataFile> {
    let own = snapshot.files.iter().filter(|file| file.is_of(pipeline));
    own.map(|file| (file.path.as_str(), file)).collect()
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

/// App id, in a carrier's log, of the watermark of another table that has that app id in its own.
fn carried_id(app_id: &str, path: &str) -> String {
    format!("{app_id}>{path}")
}

/// App id of the watermark in the other table's own log, which a carried one goes on from.
fn own_id(carried_id: &str) -> String {
    format!("{carried_id}#own")
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

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
