//! Bookkeeping of a run, gathered: each table is written once, at the end, and once a minute in a run that takes longer.
//!
//! Invariant: what is written says what it would say had every row been written at once, in the order in which it was handed in. The slices
//! come last: a ledger's row stands for everything else that was noted of its slice. Rows that a crash takes with it are of slices that the
//! next run reads again, and finds known.

use crate::ops::coverage::{KnownList, RunFindings};
use crate::ops::edit::OpsTables;
use crate::ops::rejects::{RejectSight, is_same_reject, reject_identity, seen_again};
use crate::ops::rows::{DriftRow, RejectRow, SliceRow, WarningRow};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tillhouse_model::Result;

/// Rows wait so long at most, as long as the run hands more of them in.
const WAITS: SignedDuration = SignedDuration::from_mins(1);
/// Most rows that wait.
const MOST_WAITING: usize = 50_000;

/// Verdict of what a run read about a reject that was known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectFate {
    /// It says nothing of it.
    Open,
    /// The record landed.
    Landed,
    /// All was read that the reject came with: it is gone, unless the run saw it somewhere.
    ReadAgain,
}

/// Rejects that were read again, so that those which were not seen are resolved.
struct RejectSettlement {
    fate: Box<dyn Fn(&RejectRow) -> RejectFate + Send + Sync>,
    at: Timestamp,
}

/// Reject of the run: how it was seen, and its row where that is still to be written.
struct RejectOfRun {
    sight: RejectSight,
    waiting: Option<RejectRow>,
}

/// Pipeline, resource and field.
type DriftIdentity = (String, String, String);

/// Rows that wait to be written, and what the run has told already.
#[derive(Default)]
struct WaitingRows {
    slices: Vec<SliceRow>,
    rejects: HashMap<u64, Vec<RejectOfRun>>,
    settlements: Vec<RejectSettlement>,
    warnings: Vec<WarningRow>,
    /// Of the whole run, with whether the sum is still to be written.
    drift: BTreeMap<DriftIdentity, (DriftRow, bool)>,
    /// Notes beside the coverage.
    found: RunFindings,
    /// Since when rows wait.
    since: Option<Timestamp>,
    waiting: usize,
}

/// Bookkeeping of one run, shared by everything that goes on side by side in it.
#[derive(Default)]
pub struct RunBookkeeping {
    rows: Mutex<WaitingRows>,
    /// Held while rows are written, so that each table is written by one at a time.
    writing: tokio::sync::Mutex<()>,
    /// Version of the ledger that was written, as long as nobody has looked whether a checkpoint is due; otherwise 0.
    written: AtomicU64,
}

/// Rows taken out to be written.
struct TakenRows {
    slices: Vec<SliceRow>,
    rejects: Vec<RejectRow>,
    settlements: Vec<RejectSettlement>,
    warnings: Vec<WarningRow>,
    drift: Vec<DriftRow>,
}

impl RunBookkeeping {
    /// Takes slices whose packages are committed.
    pub fn add_slices(&self, rows: Vec<SliceRow>, now: Timestamp) {
        self.rows().wait(rows.len(), now).slices.extend(rows);
    }

    /// Takes rejects that were seen, and how to tell what became of those that were known before: what landed or is gone is resolved at
    /// `at`. Gives the number of those that the run had not seen before.
    pub fn add_rejects(
        &self,
        seen: Vec<RejectRow>,
        fate: impl Fn(&RejectRow) -> RejectFate + Send + Sync + 'static,
        at: Timestamp,
    ) -> u64 {
        let mut rows = self.rows();
        rows.wait(seen.len() + 1, at);
        // Those of the run that were seen before this stand in no table yet.
        let waiting = rows
            .rejects
            .values_mut()
            .flatten()
            .filter_map(|known| known.waiting.as_mut());
        for row in waiting.filter(|row| row.resolved_at.is_none() && fate(row) != RejectFate::Open)
        {
            row.resolved_at = Some(at);
        }
        let mut new = 0;
        for row in seen {
            let same = rows.rejects.entry(reject_identity(&row)).or_default();
            match same
                .iter_mut()
                .find(|known| is_same_reject(&known.sight, &row))
            {
                Some(known) => {
                    let again = seen_again(&known.sight, &row);
                    known.sight = RejectSight::of(&again);
                    known.waiting = Some(again);
                }
                None => {
                    new += 1;
                    same.push(RejectOfRun {
                        sight: RejectSight::of(&row),
                        waiting: Some(row),
                    });
                }
            }
        }
        rows.settlements.push(RejectSettlement {
            fate: Box::new(fate),
            at,
        });
        new
    }

    /// Takes warnings; one that is known already is not noted again.
    pub fn add_warnings(&self, warnings: Vec<WarningRow>, now: Timestamp) {
        if !warnings.is_empty() {
            self.rows()
                .wait(warnings.len(), now)
                .warnings
                .extend(warnings);
        }
    }

    /// Takes unknown fields; the counts of a run add up.
    pub fn add_drift(&self, drift: Vec<DriftRow>, now: Timestamp) {
        if drift.is_empty() {
            return;
        }
        let mut rows = self.rows();
        let rows = rows.wait(drift.len(), now);
        for row in drift {
            let identity = (
                row.pipeline.clone(),
                row.resource.clone(),
                row.field.clone(),
            );
            match rows.drift.get_mut(&identity) {
                Some((sum, is_waiting)) => {
                    let count = sum.count + row.count;
                    *sum = DriftRow { count, ..row };
                    *is_waiting = true;
                }
                None => drop(rows.drift.insert(identity, (row, true))),
            }
        }
    }

    /// Takes lists that were read whole, once nothing more is to be written of them.
    pub fn add_lists(&self, lists: impl IntoIterator<Item = KnownList>) {
        self.rows().found.lists.extend(lists);
    }

    /// Notes that the children of a pipeline's records were counted.
    pub fn add_count(&self, pipeline: &str, at: Timestamp) {
        self.rows().found.counted.insert(pipeline.to_owned(), at);
    }

    /// Writes what waits, if the first of it has waited for a minute by the warehouse's clock, or if it is a lot.
    pub async fn flush_if_due(&self, ops: &OpsTables) -> Result<()> {
        let now = ops.now();
        let is_due = {
            let rows = self.rows();
            let waits = rows.since.map(|since| now.duration_since(since));
            waits.is_some_and(|waits| waits >= WAITS || waits < -WAITS)
                || rows.waiting >= MOST_WAITING
        };
        match is_due {
            true => self.flush(ops).await,
            false => Ok(()),
        }
    }

    /// Writes what waits, each table once. What could not be written waits on.
    pub async fn flush(&self, ops: &OpsTables) -> Result<()> {
        self.flush_rows(ops).await?;
        self.checkpoint(ops).await;
        Ok(())
    }

    /// As [`RunBookkeeping::flush`], for whoever calls [`RunBookkeeping::fold`] next, beside something else.
    pub async fn flush_rows(&self, ops: &OpsTables) -> Result<()> {
        let _alone = self.writing.lock().await;
        let mut taken = self.rows().take();
        let written = self.write(ops, &mut taken).await;
        if written.is_err() {
            self.rows().put_back(taken, ops.now());
        }
        written
    }

    async fn write(&self, ops: &OpsTables, taken: &mut TakenRows) -> Result<()> {
        // All of these may be written again: whatever is noted twice stands there once.
        let (rejects, warnings, drift) = tokio::join!(
            self.write_rejects(ops, taken),
            ops.record_warnings(&taken.warnings),
            ops.record_drift(&taken.drift),
        );
        rejects.and(warnings).and(drift)?;
        // An error may come after the commit: rows that are only ever added must not come twice, and what is not in the ledger is read again.
        let slices = std::mem::take(&mut taken.slices);
        match slices.is_empty() {
            true => Ok(()),
            false => {
                let version = ops.append_slices(&slices).await?;
                self.written.store(version, Relaxed);
                Ok(())
            }
        }
    }

    async fn checkpoint(&self, ops: &OpsTables) {
        ops.checkpoint_ledger(self.written.swap(0, Relaxed)).await;
    }

    async fn write_rejects(&self, ops: &OpsTables, taken: &TakenRows) -> Result<()> {
        if taken.rejects.is_empty() && taken.settlements.is_empty() {
            return Ok(());
        }
        let is_settled = |row: &RejectRow| {
            let has_fate = |wanted: RejectFate| {
                let mut settlements = taken.settlements.iter();
                settlements.any(|settlement| (settlement.fate)(row) == wanted)
            };
            has_fate(RejectFate::Landed)
                || (has_fate(RejectFate::ReadAgain) && !self.rows().has_seen(row))
        };
        let at = taken
            .settlements
            .iter()
            .map(|settlement| settlement.at)
            .max();
        let at = at.unwrap_or_else(|| ops.now());
        ops.record_rejects(&taken.rejects, &is_settled, at).await
    }

    /// As [`RunBookkeeping::flush`] at the end of a run, after which its coverage is folded.
    ///
    /// The ledger is what it was without the fold: one that cannot be made is said, and the next run makes it.
    pub async fn close(&self, ops: &OpsTables) -> Result<()> {
        self.flush_rows(ops).await?;
        self.fold(ops).await;
        Ok(())
    }

    /// Folds the coverage of what was written, and makes the checkpoint that is due, beside whatever goes on then. What fails is said.
    pub async fn fold(&self, ops: &OpsTables) {
        let found = self.rows().found.clone();
        let (folded, ()) = tokio::join!(ops.fold_coverage(found), self.checkpoint(ops));
        if let Err(error) = folded {
            tracing::warn!(%error, "the coverage of what was read is not folded");
        }
    }

    fn rows(&self) -> MutexGuard<'_, WaitingRows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingRows {
    /// Notes that so many rows more wait.
    fn wait(&mut self, rows: usize, now: Timestamp) -> &mut Self {
        if rows > 0 {
            self.since.get_or_insert(now);
            self.waiting += rows;
        }
        self
    }

    /// Takes out what waits; what the run has seen stays known.
    fn take(&mut self) -> TakenRows {
        (self.since, self.waiting) = (None, 0);
        let rejects = self
            .rejects
            .values_mut()
            .flatten()
            .filter_map(|known| known.waiting.take());
        let drift = self
            .drift
            .values_mut()
            .filter(|(_, is_waiting)| *is_waiting)
            .map(|(row, is_waiting)| {
                *is_waiting = false;
                row.clone()
            });
        TakenRows {
            rejects: rejects.collect(),
            drift: drift.collect(),
            slices: std::mem::take(&mut self.slices),
            settlements: std::mem::take(&mut self.settlements),
            warnings: std::mem::take(&mut self.warnings),
        }
    }

    /// Rows that could not be written wait again, before those that came meanwhile.
    fn put_back(&mut self, taken: TakenRows, now: Timestamp) {
        let TakenRows {
            slices,
            rejects,
            settlements,
            warnings,
            drift,
        } = taken;
        self.wait(
            slices.len() + rejects.len() + settlements.len() + warnings.len() + drift.len(),
            now,
        );
        self.slices.splice(0..0, slices);
        self.settlements.splice(0..0, settlements);
        self.warnings.splice(0..0, warnings);
        for row in rejects {
            let same = self.rejects.get_mut(&reject_identity(&row));
            let known = same.and_then(|same| {
                same.iter_mut()
                    .find(|known| is_same_reject(&known.sight, &row))
            });
            if let Some(known) = known {
                known.waiting.get_or_insert(row);
            }
        }
        for row in drift {
            let identity = (row.pipeline, row.resource, row.field);
            if let Some((_, is_waiting)) = self.drift.get_mut(&identity) {
                *is_waiting = true;
            }
        }
    }

    /// True if a reject was seen by this run, for the same reason.
    fn has_seen(&self, row: &RejectRow) -> bool {
        self.rejects
            .get(&reject_identity(row))
            .is_some_and(|same| same.iter().any(|known| is_same_reject(&known.sight, row)))
    }
}

#[cfg(test)]
#[path = "bookkeeping_tests.rs"]
mod tests;
