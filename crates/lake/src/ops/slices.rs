//! The coverage ledger: slices that were read, and their coverage, folded so that planning reads the same few rows whatever came before.
//!
//! Invariant: `ops/slices` has every slice; [`FOLDED`] only repeats what it says, up to a version of it, and is made again where it does not fit.
//!
//! ```text
//!   ops/slices         every row, with the ledger's version that it came with
//!   ops/coverage.json  coverage of the rows up to some version, folded
//!   coverage           what is folded + the rows that came after that version
//! ```
//!
//! A slice that counts as never read again is a row that changes: it gets the version of that change. Whoever meets one among the rows that came
//! later takes all rows, since what was folded may count it.

use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::ops::coverage::{CoverageRow, FoldedCoverage, KnownList, RunFindings, fold};
use crate::ops::edit::{BookkeepingEdit, OpsTables, for_each_row, largest};
use crate::ops::row_codec::{BookkeepingRow, LEDGER_VERSION, LedgerRow};
use crate::ops::rows::{RunRecord, SliceRow};
use crate::ops::tables::CLOCKS_DIFFER;
use crate::ops::touching::join_touching;
use crate::store::bounded::bounded_bytes;
use crate::store::json_seal::{self, UNKNOWN};
use jiff::Timestamp;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// The folded coverage, below the warehouse.
pub(crate) const FOLDED: &str = "ops/coverage.json";

/// The ledger of all pipelines as a run finds it, read once.
#[derive(Debug, Clone, Default)]
pub struct RunLedger(Option<LedgerCoverage>);

/// The folded coverage, read before it was known whether the ledger needs it; see [`OpsTables::fold_ahead`].
#[derive(Debug, Default)]
pub struct FoldAhead(Option<Result<Option<FoldedCoverage>>>);

/// The ledger as this process has read it last, with what it has added since.
pub(crate) type LedgerCache = Arc<Mutex<Option<LedgerCoverage>>>;

/// Rows of the ledger as coverage, with what is needed to fold them.
#[derive(Debug, Clone)]
pub(crate) struct LedgerCoverage {
    rows: Vec<CoverageRow>,
    /// The ledger's id and version.
    table: String,
    version: u64,
    /// Number of rows that the coverage is made of.
    counted: u64,
    /// Files whose rows say no version.
    files: BTreeSet<String>,
    /// True if what is folded on storage says the same.
    is_folded: bool,
    lists: Vec<KnownList>,
    /// When the children of each pipeline's records were counted last, microseconds.
    counted_at: BTreeMap<String, i64>,
}

/// Knowledge of a pipeline before a run reads it.
#[derive(Debug, Default, PartialEq)]
pub struct PipelineLedger {
    /// Its coverage, see [`OpsTables::coverage`].
    pub coverage: Vec<CoverageRow>,
    /// Number of slices that were read in the future, and count as never read from now on.
    pub forgotten: u64,
    /// The lists that were read whole, as they were when they were read last.
    pub lists: Vec<KnownList>,
    /// When the children of its records were counted last, as far as that is known.
    pub counted_at: Option<Timestamp>,
}

impl OpsTables {
    /// Adds slices to the coverage ledger; those that touch are one row.
    pub async fn record_slices(&self, rows: &[SliceRow]) -> Result<()> {
        let version = self.append_slices(rows).await?;
        self.checkpoint_ledger(version).await;
        Ok(())
    }

    /// Writes the checkpoint that a version of the ledger makes due; 0 is none that was written.
    pub(super) async fn checkpoint_ledger(&self, version: u64) {
        if let Ok(table) = self.registry.table(LedgerRow::TABLE) {
            table.checkpoint_if_due(version).await;
        }
    }

    /// As [`OpsTables::record_slices`], without the checkpoint that may be due; the version that has the rows, 0 where there are none.
    pub(super) async fn append_slices(&self, rows: &[SliceRow]) -> Result<u64> {
        /// Append of slices.
        struct SliceAppend {
            rows: Vec<SliceRow>,
            version: u64,
        }
        impl BookkeepingEdit<LedgerRow> for SliceAppend {
            fn becomes(&mut self, version: u64) {
                self.version = version;
            }
            fn looks_back(&self) -> bool {
                false
            }
            fn checkpoints(&self) -> bool {
                false
            }
            fn note(&mut self, _: &LedgerRow) {}
            fn changed(&self, _: &LedgerRow) -> Option<LedgerRow> {
                None
            }
            fn added(&self) -> Vec<LedgerRow> {
                let row = |slice: &SliceRow| LedgerRow {
                    slice: slice.clone(),
                    version: i64::try_from(self.version).ok(),
                };
                self.rows.iter().map(row).collect()
            }
        }
        let run_id = rows.first().map_or("", |row| row.run_id.as_str());
        let mut append = SliceAppend {
            rows: join_touching(rows.to_vec()),
            version: 0,
        };
        self.edit(run_id, &mut append).await?;
        self.add_to_known_ledger(append.version, &append.rows);
        Ok(match append.rows.is_empty() {
            true => 0,
            false => append.version,
        })
    }

    /// Adds rows that came with a version of the ledger to what is known of it. Where that is not of the version before, nothing is known any more.
    fn add_to_known_ledger(&self, version: u64, rows: &[SliceRow]) {
        let mut known = self.known_ledger();
        *known = known
            .take()
            .filter(|ledger| ledger.version + 1 == version && !rows.is_empty())
            .map(|mut ledger| {
                ledger.rows.extend(rows.iter().map(CoverageRow::from));
                ledger.counted += rows.len() as u64;
                (ledger.version, ledger.is_folded) = (version, false);
                ledger
            });
    }

    fn known_ledger(&self) -> MutexGuard<'_, Option<LedgerCoverage>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The coverage ledger of a pipeline, in the order in which its slices were read: every row there is. Whoever asks for its coverage alone
    /// takes [`OpsTables::coverage`], which does not grow with the number of runs.
    ///
    /// Nothing counts as read after the moment of asking: slices that were read in the future, by a clock that was ahead, are not among
    /// them, since nobody knows when they were read.
    pub async fn slices(&self, pipeline: &str) -> Result<Vec<SliceRow>> {
        let rows = self
            .read(Some(&BTreeSet::from([pipeline])), |row: &LedgerRow| {
                row.slice.pipeline == pipeline
            })
            .await?;
        let now = self.registry.now();
        let mut rows: Vec<SliceRow> = rows
            .into_iter()
            .map(|row| row.slice)
            .filter(|row| !is_ahead(row.read_at, now))
            .collect();
        for row in &mut rows {
            row.read_at = row.read_at.min(now);
        }
        rows.sort_by(|a, b| {
            (a.read_at, &a.run_id, a.window).cmp(&(b.read_at, &b.run_id, b.window))
        });
        Ok(rows)
    }

    /// Coverage of a pipeline: the readings of its ledger in the order in which they were made, older ones joined. It answers as the readings
    /// of all of [`OpsTables::slices`] do.
    pub async fn coverage(&self, pipeline: &str) -> Result<Vec<CoverageRow>> {
        let ledger = self.run_ledger().await?;
        Ok(self.coverage_in(&ledger, pipeline))
    }

    /// Coverage of a pipeline in a ledger that was read once for all pipelines.
    pub fn coverage_in(&self, ledger: &RunLedger, pipeline: &str) -> Vec<CoverageRow> {
        let rows = ledger.0.iter().flat_map(|ledger| &ledger.rows);
        let ours = rows.filter(|row| row.pipeline == pipeline);
        as_read(ours.cloned().collect(), pipeline, self.registry.now())
    }

    /// The ledger of all pipelines as it is now.
    pub async fn run_ledger(&self) -> Result<RunLedger> {
        self.run_ledger_after(FoldAhead::default()).await
    }

    /// As [`OpsTables::run_ledger`], with what was read ahead. Rows that came since are read beside it.
    pub async fn run_ledger_after(&self, ahead: FoldAhead) -> Result<RunLedger> {
        self.ledger_after(ahead).await.map(RunLedger)
    }

    /// The folded coverage, for whoever asks for the ledger next.
    pub async fn fold_ahead(&self) -> FoldAhead {
        FoldAhead(Some(self.stored_fold().await))
    }

    /// Knowledge of a pipeline before a run reads it. What was read in the future counts as never read from now on, also once that future
    /// has come.
    pub async fn healed_ledger(
        &self,
        ledger: &RunLedger,
        pipeline: &str,
        run_id: &str,
    ) -> Result<PipelineLedger> {
        let now = self.registry.now();
        let run_ledger = ledger;
        let Some(ledger) = &run_ledger.0 else {
            return Ok(PipelineLedger::default());
        };
        let of_future =
            |row: &CoverageRow| row.pipeline == pipeline && is_ahead(row.read.read_at, now);
        let is_healed = !ledger.rows.iter().any(of_future);
        let mut known = PipelineLedger {
            lists: ledger
                .lists
                .iter()
                .filter(|list| list.pipeline == pipeline)
                .cloned()
                .collect(),
            counted_at: ledger
                .counted_at
                .get(pipeline)
                .and_then(|at| Timestamp::from_microsecond(*at).ok()),
            ..PipelineLedger::default()
        };
        if is_healed {
            known.coverage = self.coverage_in(run_ledger, pipeline);
            return Ok(known);
        }
        known.forgotten = self
            .forget_reads(run_id, |row| {
                row.pipeline == pipeline && is_ahead(row.read_at, now)
            })
            .await?;
        known.coverage = self.coverage(pipeline).await?;
        Ok(known)
    }

    /// From now on slices count as never read. Their rows stay, with what came of them; how many there are.
    pub async fn forget_reads(
        &self,
        run_id: &str,
        which: impl Fn(&SliceRow) -> bool + Send + Sync,
    ) -> Result<u64> {
        /// Edit after which some slices count as never read.
        struct SliceInvalidation<F> {
            which: F,
            now: Timestamp,
            forgotten: u64,
            version: i64,
        }
        impl<F: Fn(&SliceRow) -> bool + Send + Sync> BookkeepingEdit<LedgerRow> for SliceInvalidation<F> {
            fn begin(&mut self) {
                self.forgotten = 0;
            }
            fn becomes(&mut self, version: u64) {
                self.version = i64::try_from(version).unwrap_or(i64::MAX);
            }
            fn note(&mut self, row: &LedgerRow) {
                self.forgotten += u64::from(self.changed(row).is_some());
            }
            fn changed(&self, LedgerRow { slice, .. }: &LedgerRow) -> Option<LedgerRow> {
                // Whoever read up to the start of a window has seen nothing of it.
                let read_at = slice.read_at.min(slice.window.from()).min(self.now);
                (read_at < slice.read_at && (self.which)(slice)).then(|| LedgerRow {
                    slice: SliceRow {
                        read_at,
                        ..slice.clone()
                    },
                    version: Some(self.version),
                })
            }
            fn added(&self) -> Vec<LedgerRow> {
                Vec::new()
            }
        }
        let mut forget = SliceInvalidation {
            which,
            now: self.registry.now(),
            forgotten: 0,
            version: 0,
        };
        self.edit(run_id, &mut forget).await?;
        Ok(forget.forgotten)
    }

    /// True if nothing of a resource that was noted up to a run counts as read any more, and something did: a later run has begun to read all of it again, and
    /// whoever reads what is not read goes on from there.
    ///
    /// Errors with [`ErrorKind::Storage`] where the ledger cannot be read.
    pub async fn is_read_anew_since(
        &self,
        run: &RunRecord,
        pipeline: &str,
        resource: &str,
    ) -> Result<bool> {
        let Some(named) = run.tables.get(SliceRow::TABLE) else {
            return Ok(false);
        };
        let is_of =
            |row: &LedgerRow| row.slice.pipeline == pipeline && row.slice.resource == resource;
        let rows: Vec<LedgerRow> = self.read(Some(&BTreeSet::from([pipeline])), is_of).await?;
        let is_later = |row: &LedgerRow| row.is_later_than(named.version);
        let (read, forgotten): (Vec<_>, Vec<_>) = rows
            .iter()
            .partition(|row: &&LedgerRow| row.slice.counts_as_read());
        Ok(read.into_iter().all(is_later) && forgotten.into_iter().any(is_later))
    }

    /// Folds the coverage of all pipelines up to the newest version of the ledger, in one write or none; what was `found` takes the place of what
    /// was known of it.
    ///
    /// The ledger is what it was without: a fold that cannot be written is said, and the next run makes it.
    pub async fn fold_coverage(&self, found: RunFindings) -> Result<()> {
        let RunFindings {
            lists: read,
            counted,
        } = found;
        let Some(ledger) = self.ledger().await? else {
            return Ok(());
        };
        if ledger.is_folded
            && counted.is_empty()
            && read.iter().all(|list| ledger.lists.contains(list))
        {
            return Ok(());
        }
        // A folded column is read again where it is asked for: lists and counts are other ones.
        *self.known_ledger() = None;
        let counted = counted.into_iter();
        let mut counted_at = ledger.counted_at;
        counted_at.extend(counted.map(|(pipeline, at)| (pipeline, at.as_microsecond())));
        let mut lists = ledger.lists;
        lists.retain(|known| !read.iter().any(|list| list.key() == known.key()));
        lists.extend(read);
        lists.sort_by(|a, b| a.key().cmp(&b.key()));
        let folded = FoldedCoverage {
            checksum: Some(UNKNOWN.to_owned()),
            table: ledger.table,
            version: ledger.version,
            counted: ledger.counted,
            files: ledger.files,
            lists,
            counted_at,
            ..FoldedCoverage::default()
        }
        .with_rows(&fold(ledger.rows, self.registry.now()));
        let bytes = serde_json::to_vec(&folded)
            .or_error(ErrorKind::Internal, "the folded coverage cannot be written")?;
        let bytes = json_seal::sealed(bytes);
        let options = PutOptions {
            mode: PutMode::Overwrite,
            ..PutOptions::default()
        };
        let (store, path) = (self.registry.store(), self.registry.below(FOLDED));
        if let Err(error) = store.put_opts(&path, bytes.into(), options).await {
            let error = Error::new(ErrorKind::Storage, "the store fails").because(error);
            tracing::warn!(%error, "{FOLDED} could not be written: the ledger is read from further back until it is");
        }
        Ok(())
    }

    /// The coverage of all pipelines, from what is folded and the rows that came later; `None` where nothing was ever read. From memory where this
    /// process has read or made the newest version.
    async fn ledger(&self) -> Result<Option<LedgerCoverage>> {
        self.ledger_after(FoldAhead::default()).await
    }

    async fn ledger_after(&self, ahead: FoldAhead) -> Result<Option<LedgerCoverage>> {
        let table = self.registry.table(LedgerRow::TABLE)?;
        let is_known = self.known_ledger().is_some();
        let (newest, ahead) = match ahead.0.is_none() && !is_known {
            // Neither needs the other: a fold that is newer than the ledger that was seen is not taken.
            true => {
                let (newest, fold) = tokio::join!(table.newest(), self.fold_ahead());
                (newest?, fold)
            }
            false => (table.newest().await?, ahead),
        };
        let Some(snapshot) = newest else {
            return Ok(None);
        };
        let is_newest = |ledger: &&LedgerCoverage| {
            ledger.version == snapshot.version && ledger.table == id_of(&snapshot)
        };
        if let Some(known) = self.known_ledger().as_ref().filter(is_newest) {
            return Ok(Some(known.clone()));
        }
        let ledger = self.read_ledger(&table, &snapshot, ahead).await?;
        *self.known_ledger() = Some(ledger.clone());
        Ok(Some(ledger))
    }

    async fn read_ledger(
        &self,
        table: &Arc<TableHandle>,
        snapshot: &Snapshot,
        FoldAhead(ahead): FoldAhead,
    ) -> Result<LedgerCoverage> {
        let (mut lists, mut counted_at) = (Vec::new(), BTreeMap::new());
        let stored = match ahead {
            Some(read) => read?,
            None => self.stored_fold().await?,
        };
        let fits = |folded: &FoldedCoverage| {
            folded.table == id_of(snapshot) && folded.version <= snapshot.version
        };
        if let Some(mut folded) = stored.filter(fits) {
            lists = std::mem::take(&mut folded.lists);
            counted_at = std::mem::take(&mut folded.counted_at);
            if let Some(ledger) = self.later(table, snapshot, folded).await? {
                return Ok(LedgerCoverage {
                    lists,
                    counted_at,
                    ..ledger
                });
            }
        }
        let all = (0..snapshot.files.len()).collect();
        let (mut rows, mut counted) = (Vec::new(), 0);
        for_each_row(table, snapshot, all, |_, row: LedgerRow| {
            counted += 1;
            rows.push(CoverageRow::from(&row.slice));
        })
        .await?;
        Ok(LedgerCoverage {
            rows,
            table: id_of(snapshot),
            version: snapshot.version,
            counted,
            files: unversioned(snapshot),
            is_folded: false,
            lists,
            counted_at,
        })
    }

    /// Coverage by what is folded and the rows that came after; `None` where the two do not make the whole.
    async fn later(
        &self,
        table: &Arc<TableHandle>,
        snapshot: &Snapshot,
        folded: FoldedCoverage,
    ) -> Result<Option<LedgerCoverage>> {
        let Some(mut rows) = folded.rows() else {
            return Ok(None);
        };
        let up_to = i64::try_from(folded.version).unwrap_or(i64::MAX);
        let mut places = Vec::new();
        let mut unknown: BTreeSet<usize> = BTreeSet::new();
        for (place, file) in snapshot.files.iter().enumerate() {
            match largest(snapshot, LEDGER_VERSION, place) {
                Some(newest) if newest <= up_to => {}
                Some(_) => places.push(place),
                None if folded.files.contains(&file.path) => {}
                None => {
                    unknown.insert(place);
                    places.push(place);
                }
            }
        }
        let (mut came, mut is_whole) = (0, true);
        for_each_row(table, snapshot, places, |place, row: LedgerRow| {
            let is_later = row
                .version
                .map_or(unknown.contains(&place), |version| version > up_to);
            if is_later {
                came += 1;
                is_whole &= row.slice.as_read().seen().is_some();
                rows.push(CoverageRow::from(&row.slice));
            }
        })
        .await?;
        let held: Option<u64> = snapshot.files.iter().map(|file| file.rows).sum();
        let counted = folded.counted + came;
        let now = self.registry.now();
        let is_sound = held.is_none_or(|held| held == counted)
            && !rows.iter().any(|row| is_ahead(row.read.read_at, now));
        Ok((is_whole && is_sound).then(|| LedgerCoverage {
            rows,
            table: folded.table,
            version: snapshot.version,
            counted,
            files: unversioned(snapshot),
            is_folded: came == 0,
            lists: Vec::new(),
            counted_at: BTreeMap::new(),
        }))
    }

    /// The fold on storage, of whatever ledger; `None` where there is none.
    async fn stored_fold(&self) -> Result<Option<FoldedCoverage>> {
        let failed = |e: object_store::Error| {
            Error::new(ErrorKind::Storage, "the folded coverage cannot be read")
                .at("file", FOLDED)
                .because(e)
        };
        let bytes = match self
            .registry
            .store()
            .get(&self.registry.below(FOLDED))
            .await
        {
            Ok(found) => bounded_bytes(found).await.map_err(failed)?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match FoldedCoverage::read(&bytes) {
            Some(folded) => Ok(Some(folded)),
            None => {
                tracing::warn!("{FOLDED} is damaged and passed over; the next sync writes it anew");
                Ok(None)
            }
        }
    }
}

/// The id of a table.
fn id_of(snapshot: &Snapshot) -> String {
    snapshot.description.metadata.id().to_owned()
}

/// Files whose rows say no version.
fn unversioned(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot
        .files
        .iter()
        .enumerate()
        .filter(|(place, _)| largest(snapshot, LEDGER_VERSION, *place).is_none())
        .map(|(_, file)| file.path.clone())
        .collect()
}

/// True if something was read by a clock that was ahead of this one.
fn is_ahead(read_at: Timestamp, now: Timestamp) -> bool {
    read_at > now.saturating_add(CLOCKS_DIFFER).unwrap_or(now)
}

/// Readings of a pipeline that count at a moment, in the order in which they were made.
fn as_read(mut rows: Vec<CoverageRow>, pipeline: &str, now: Timestamp) -> Vec<CoverageRow> {
    rows.retain(|row| row.pipeline == pipeline && !is_ahead(row.read.read_at, now));
    for row in &mut rows {
        row.read.read_at = row.read.read_at.min(now);
    }
    rows.sort_by(|a, b| {
        (a.read.read_at, &a.run_id, a.read.window).cmp(&(b.read.read_at, &b.run_id, b.read.window))
    });
    rows
}

#[cfg(test)]
#[path = "slices_tests.rs"]
mod tests;
