//! Facts: the rows of superseded records go, those of a step come, in one commit.
//!
//! Invariant: a file is opened only if its record times may hold a superseded version, and written anew only if it does hold one.

use super::step::{SupersededRecords, UnifyStep, WatermarkPlace};
use super::table::{StepStatus, UnifiedTable};
use crate::file::fan_out::FanOutWriter;
use crate::file::layout::TableLayout;
use crate::file::replacement::ReplaceSummary;
use crate::log::commit::{self, CommitOutcome, ROUNDS};
use crate::log::data_file::DataFile;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::scan;
use arrow::array::{AsArray, BooleanArray, StringArray};
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use deltalake::kernel::{Action, Add};
use futures::StreamExt;
use std::sync::Arc;
use tillhouse_model::table::RECORD_KEY;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Files that are removed from a table, and the rewritten ones that keep their other rows.
#[derive(Default)]
struct RowRemoval {
    removed: Vec<Action>,
    rewritten: Vec<Add>,
    rows_removed: u64,
    files_read: u64,
}

impl UnifiedTable {
    /// Commits rows of a fact table that stand in files already.
    pub(super) async fn replace_with(
        &self,
        table: &Arc<TableHandle>,
        layout: &Arc<TableLayout>,
        step: &UnifyStep,
        superseded: &SupersededRecords,
        (rows_added, added): (u64, Vec<Add>),
        mut place: WatermarkPlace,
    ) -> Result<ReplaceSummary> {
        let mut carried = Vec::new();
        // Whoever waits does so before it looks where its table is. For a table with new rows its carrier need not wait.
        if !added.is_empty() || matches!(place, WatermarkPlace::OwnLog(_)) {
            carried.extend(place.of_others().await);
        }
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
            let actions: Vec<Action> = removal.removed.iter().cloned().chain(adds).collect();
            if actions.is_empty() && self.is_carried(table, &snapshot, step, &mut place).await? {
                return Ok(ReplaceSummary {
                    version: snapshot.version,
                    files_read,
                    ..ReplaceSummary::default()
                });
            }
            carried.extend(place.of_others().await);
            let change = self
                .change(table, &snapshot, step, actions, &carried)
                .await?;
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
        times.dedup();
        let candidate = |file: &&DataFile| {
            file.is_of(&step.pipeline)
                && ((!times.is_empty()
                    && (file.times.is_none() && file.untimed.is_none()
                        || file.may_hold_times(&times, 0)))
                    || (!superseded.keys_maybe_untimed.is_empty() && file.may_hold_untimed()))
        };
        let mut removal = RowRemoval::default();
        let mut kept: Option<FanOutWriter> = None;
        let candidates: Vec<&DataFile> = snapshot.files.iter().filter(candidate).collect();
        scan::read_ahead(table, candidates.iter().copied()).await;
        for file in candidates {
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
            let mut rows = scan::rows(table, file, layout.definition.schema.clone()).await?;
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
