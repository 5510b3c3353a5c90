//! Facts: the rows of superseded records go, those of a step come, in one commit.
//!
//! Invariant: a file is opened only if its record times may hold a superseded version, and written anew only if it does hold one.
//!
//! Rows that stay of a small file stand in one file with the new rows of its partition, as long as these are few enough to wait for them:
//! syncs a quarter of an hour apart change a sale or two each, and a file more for each of them would be half of what lies on storage.

use super::step::{SupersededRecords, UnifyStep, WatermarkPlace};
use super::table::{StepStatus, UnifiedTable};
use crate::file::fan_out::{FanOutWriter, WaitingRows};
use crate::file::layout::{SMALL_FILE_BYTES, TableLayout};
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

/// Files that are removed from a table, and those that are written in their place: with their other rows, and with new rows that waited.
#[derive(Default)]
struct RowRemoval {
    removed: Vec<Action>,
    written: Vec<Add>,
    rows_removed: u64,
    files_read: u64,
}

impl RowRemoval {
    /// Paths of the files that were written.
    fn paths(self) -> impl Iterator<Item = String> {
        self.written.into_iter().map(|add| add.path)
    }
}

/// New rows of a step.
enum NewRows {
    /// So few that they wait, to be written with what stays of small files.
    Waiting(WaitingRows),
    /// In files.
    Written(Vec<Add>),
}

impl NewRows {
    async fn of(gathered: FanOutWriter) -> Result<Self> {
        Ok(match gathered.waiting_rows() {
            Some(waiting) => Self::Waiting(waiting),
            None => Self::Written(gathered.finish().await?),
        })
    }

    /// Actions that add the files they stand in.
    fn adds(&self) -> &[Add] {
        match self {
            Self::Waiting(_) => &[],
            Self::Written(adds) => adds,
        }
    }

    /// Paths of the files they stand in.
    fn paths(&self) -> impl Iterator<Item = String> {
        self.adds().iter().map(|add| add.path.clone())
    }
}

impl UnifiedTable {
    /// Commits rows of a fact table, in the place of those that are superseded.
    pub(super) async fn replace_with(
        &self,
        table: &Arc<TableHandle>,
        layout: &Arc<TableLayout>,
        step: &UnifyStep,
        superseded: &SupersededRecords,
        gathered: FanOutWriter,
        mut place: WatermarkPlace,
    ) -> Result<ReplaceSummary> {
        let rows_added = gathered.rows();
        let new_rows = NewRows::of(gathered).await?;
        let mut carried = Vec::new();
        // Whoever waits does so before it looks where its table is. For a table with new rows its carrier need not wait.
        if rows_added > 0 || matches!(place, WatermarkPlace::OwnLog(_)) {
            carried.extend(place.of_others().await);
        }
        let mut snapshot = match self.step_status(table, layout, step).await? {
            StepStatus::Done(version) => {
                commit::discard(table, new_rows.paths()).await;
                return Ok(ReplaceSummary {
                    version,
                    ..ReplaceSummary::default()
                });
            }
            StepStatus::Next(snapshot) => snapshot,
        };
        let mut removal = self
            .take_out((table, layout), &snapshot, step, superseded, &new_rows)
            .await?;
        let mut files_read = removal.files_read;
        for _ in 0..ROUNDS {
            let adds = new_rows
                .adds()
                .iter()
                .chain(&removal.written)
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
                    commit::discard(table, new_rows.paths().chain(removal.paths())).await;
                    return Ok(ReplaceSummary {
                        version,
                        files_read,
                        ..ReplaceSummary::default()
                    });
                }
                StepStatus::Next(snapshot) => snapshot,
            };
            if !commit::touches_only_others(table, read, snapshot.version, &step.pipeline).await? {
                commit::discard(table, removal.paths()).await;
                removal = self
                    .take_out((table, layout), &snapshot, step, superseded, &new_rows)
                    .await?;
                files_read += removal.files_read;
            }
        }
        Err(commit::too_many_conflicts(table))
    }

    /// Finds the superseded rows and writes their files anew without them, and new rows that wait.
    async fn take_out(
        &self,
        (table, layout): (&Arc<TableHandle>, &Arc<TableLayout>),
        snapshot: &Snapshot,
        step: &UnifyStep,
        superseded: &SupersededRecords,
        new_rows: &NewRows,
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
        let new_writer = || FanOutWriter::new(table.clone(), layout.clone());
        let (mut of_small, mut of_large) = (new_writer()?, new_writer()?);
        if let NewRows::Waiting(rows) = new_rows {
            of_small = of_small.with_rows(rows.clone());
        }
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
            let splitter = match file.size < SMALL_FILE_BYTES {
                true => &mut of_small,
                false => &mut of_large,
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
        removal.written = of_small.finish().await?;
        removal.written.extend(of_large.finish().await?);
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
