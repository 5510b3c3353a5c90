//! The bookkeeping tables: runs, slices, rejects, warnings, drift; `reconciliation`, `maintenance` and `audit` add one each.
//!
//! Invariant: whatever is noted twice stands there once.

use crate::file::writer::PartitionWriter;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::schema_evolution;
use crate::ops::audit::AuditRow;
use crate::ops::edit::{BookkeepingEdit, OpsTables};
use crate::ops::maintenance::MaintenanceRow;
use crate::ops::notes::note_of;
use crate::ops::published_note::{self, LostRun, PublishedNote, RunPlace, UnnotedRun};
use crate::ops::reconciliation::ReconciliationRow;
use crate::ops::row_codec::{BookkeepingRow, LedgerRow, NumberedRun, UnknownField};
use crate::ops::rows::{AsOf, DriftRow, RejectRow, RunRecord, SliceRow, WarningRow};
use crate::ops::run_heads::{highest_number, newest_first};
use arrow::datatypes::SchemaRef;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tillhouse_model::table::MONTH;
use tillhouse_model::{Result, TableNote};

/// Most that the clocks of machines that share a warehouse may differ.
pub(crate) const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);

/// Time after which something that was noted is noted again when it is still seen.
const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(24 * 60);

impl OpsTables {
    /// Names of the bookkeeping tables.
    pub const NAMES: [&'static str; 8] = [
        "audit",
        "drift",
        "maintenance",
        "reconciliations",
        "rejects",
        "runs",
        "slices",
        "warnings",
    ];

    /// The columns of a bookkeeping table (`runs`, `slices`, `rejects`, `warnings`, `drift`, `reconciliations`, `maintenance`, `audit`), whether it has rows or not. `None`
    /// for any other name.
    pub fn schema(table: &str) -> Option<SchemaRef> {
        fn of<R: BookkeepingRow>(path: &str) -> Option<SchemaRef> {
            (R::TABLE == path).then(R::schema)
        }
        let path = format!("ops/{table}");
        of::<NumberedRun>(&path)
            .or_else(|| of::<LedgerRow>(&path))
            .or_else(|| of::<RejectRow>(&path))
            .or_else(|| of::<WarningRow>(&path))
            .or_else(|| of::<UnknownField>(&path))
            .or_else(|| of::<ReconciliationRow>(&path))
            .or_else(|| of::<MaintenanceRow>(&path))
            .or_else(|| of::<AuditRow>(&path))
    }

    /// Notes on a bookkeeping table and its columns. `None` for any other name.
    pub fn note(table: &str) -> Option<TableNote> {
        note_of(table, Self::schema(table)?.as_ref())
    }

    /// The time by the warehouse's clock.
    pub fn now(&self) -> Timestamp {
        self.registry.now()
    }

    /// The warnings of a pipeline of one rule.
    pub async fn warnings(&self, pipeline: &str, rule: &str) -> Result<Vec<WarningRow>> {
        let wanted = |row: &WarningRow| row.pipeline == pipeline && row.rule == rule;
        self.read(Some(&BTreeSet::from([pipeline])), wanted).await
    }

    /// Notes warnings; one that is known already, about the same version of its record, is not noted again.
    pub async fn record_warnings(&self, rows: &[WarningRow]) -> Result<()> {
        /// Insert of warnings that are not known yet.
        struct WarningInsert<'a> {
            rows: HashMap<u64, &'a WarningRow>,
            known: HashSet<u64>,
        }
        impl BookkeepingEdit<WarningRow> for WarningInsert<'_> {
            fn begin(&mut self) {
                self.known.clear();
            }
            fn pipelines(&self) -> Option<BTreeSet<&str>> {
                Some(self.rows.values().map(|row| &*row.pipeline).collect())
            }
            fn note(&mut self, row: &WarningRow) {
                let identity = warning_identity(row);
                if self.rows.contains_key(&identity) {
                    self.known.insert(identity);
                }
            }
            fn changed(&self, _: &WarningRow) -> Option<WarningRow> {
                None
            }
            fn added(&self) -> Vec<WarningRow> {
                let new = self
                    .rows
                    .iter()
                    .filter(|(identity, _)| !self.known.contains(identity));
                let mut new: Vec<WarningRow> = new.map(|(_, row)| (*row).clone()).collect();
                new.sort_by(|a, b| {
                    (&a.record_key, &a.field, &a.rule).cmp(&(&b.record_key, &b.field, &b.rule))
                });
                new
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let run_id = rows.first().map_or("", |row| row.run_id.as_str());
        let rows = rows
            .iter()
            .rev()
            .map(|row| (warning_identity(row), row))
            .collect();
        self.edit(
            run_id,
            &mut WarningInsert {
                rows,
                known: HashSet::new(),
            },
        )
        .await
    }

    /// Notes unknown fields: each stands once, with the count of the run that noted it last. Counts given in one call add up. One that another run
    /// noted less than a day before is left as it is.
    pub async fn record_drift(&self, rows: &[DriftRow]) -> Result<()> {
        /// Pipeline, resource and field.
        type DriftIdentity = (String, String, String);
        struct Upsert {
            rows: BTreeMap<DriftIdentity, DriftRow>,
            known: HashSet<DriftIdentity>,
        }
        fn identity(row: &DriftRow) -> DriftIdentity {
            (
                row.pipeline.clone(),
                row.resource.clone(),
                row.field.clone(),
            )
        }
        impl BookkeepingEdit<UnknownField> for Upsert {
            fn begin(&mut self) {
                self.known.clear();
            }
            fn pipelines(&self) -> Option<BTreeSet<&str>> {
                Some(self.rows.keys().map(|(pipeline, ..)| &**pipeline).collect())
            }
            fn note(&mut self, row: &UnknownField) {
                self.known.insert(identity(&row.last));
            }
            fn changed(&self, row: &UnknownField) -> Option<UnknownField> {
                let last = self.rows.get(&identity(&row.last))?;
                let is_due =
                    row.last.run_id == last.run_id || is_due(row.last.seen_at, last.seen_at);
                (*last != row.last && is_due).then(|| UnknownField {
                    last: last.clone(),
                    first_seen: row.first_seen,
                })
            }
            fn added(&self) -> Vec<UnknownField> {
                let new = self
                    .rows
                    .iter()
                    .filter(|(identity, _)| !self.known.contains(*identity));
                new.map(|(_, row)| UnknownField {
                    last: row.clone(),
                    first_seen: row.seen_at,
                })
                .collect()
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let mut summed: BTreeMap<DriftIdentity, DriftRow> = BTreeMap::new();
        for row in rows {
            match summed.get_mut(&identity(row)) {
                Some(sum) => sum.count += row.count,
                None => {
                    summed.insert(identity(row), row.clone());
                }
            }
        }
        let run_id = rows.first().map_or("", |row| row.run_id.as_str());
        self.edit(
            run_id,
            &mut Upsert {
                rows: summed,
                known: HashSet::new(),
            },
        )
        .await
    }

    /// Writes a run record; from then on readers use it, if it says so. A run is written once.
    ///
    /// Of its own pipelines it shows what the run names, of all others what is published of them, whatever other processes are writing.
    pub async fn publish(&self, run: &RunRecord) -> Result<()> {
        if let Some(unnoted) = self.publish_run(run, true).await? {
            unnoted.note().await;
        }
        Ok(())
    }

    /// As [`OpsTables::publish`], for whoever has something else to write beside the note of the run; `None` where readers are not to use it.
    pub async fn publish_unnoted(&self, run: &RunRecord) -> Result<Option<UnnotedRun>> {
        self.publish_run(run, true).await
    }

    /// As [`OpsTables::publish`], with the tables of all pipelines as the run names them: nobody else writes.
    pub(crate) async fn publish_as_it_is(&self, run: &RunRecord) -> Result<()> {
        if let Some(unnoted) = self.publish_run(run, false).await? {
            unnoted.note().await;
        }
        Ok(())
    }

    async fn publish_run(&self, run: &RunRecord, merges: bool) -> Result<Option<UnnotedRun>> {
        let table = self.registry.table(NumberedRun::TABLE)?;
        let layout = Arc::new(NumberedRun::layout(&["run_id".to_owned()])?);
        for round in 0..ROUNDS {
            let mut snapshot = table
                .latest_or_create(&layout.definition, &run.run_id)
                .await?;
            if !schema_evolution::ensure(&table, &mut snapshot, &layout.definition, &run.run_id)
                .await?
            {
                continue;
            }
            let mut run = run.clone();
            (run.started_at, run.finished_at) = (cut(run.started_at), cut(run.finished_at));
            let known = self.notes_of_run(&snapshot).filter(|_| round == 0);
            let (note, notes) = match known {
                Some((note, notes)) => (Some(note), notes),
                None => self.notes().await?,
            };
            let is_noted = note
                .as_deref()
                .is_some_and(|note| note.is_newest(&snapshot));
            let taken = match is_noted {
                true => None,
                false => highest_number(&table, &snapshot).await?,
            };
            if merges {
                let before = match &note {
                    Some(note) if is_noted => Some(note.run.clone()),
                    note => self.newest_behind(note.as_deref(), taken).await?,
                };
                self.merge(&mut run, before.as_ref()).await?;
            }
            let version = snapshot.version + 1;
            // Numbers of runs whose records were lost are not used again, nor are those of runs that are not noted yet.
            let noted = note.map(|note| note.place.number);
            let number = noted.max(taken).map_or(0, |taken| taken + 1).max(version);
            let place = RunPlace { number, version };
            let row = NumberedRun {
                run,
                number: i64::try_from(number).ok(),
            };
            let mut writer = PartitionWriter::new(
                &table,
                Arc::clone(&layout),
                vec![(MONTH.to_owned(), Some(row.month()))],
            );
            let batch = NumberedRun::encode(std::slice::from_ref(&row))?;
            writer.write(move |encoder| encoder.write(&batch)).await?;
            let adds = writer.finish().await?;
            let written: Vec<String> = adds.iter().map(|add| add.path.clone()).collect();
            let change =
                CommitRequest::append(adds, &layout.definition.partition_by, &row.run.run_id);
            match commit::commit(&table, &snapshot, &change).await? {
                CommitOutcome::Committed(version) => {
                    if !row.run.published {
                        table.checkpoint_if_due(version).await;
                        return Ok(None);
                    }
                    self.registry.base_run().published(&row.run.run_id);
                    let noted = UnnotedRun::new(self, &row.run, (place, notes), &table);
                    return Ok(Some(noted));
                }
                CommitOutcome::Lost => commit::discard(&table, written).await,
            }
        }
        Err(commit::too_many_conflicts(&table))
    }

    /// The run that was published last, where the note is not of the newest record; `taken` is the highest number in `ops/runs`.
    async fn newest_behind(
        &self,
        note: Option<&PublishedNote>,
        taken: Option<u64>,
    ) -> Result<Option<RunRecord>> {
        let heads = self.run_heads().await?;
        // Of a run whose record is gone the note still tells what it published, unless another one went on from there and is not noted.
        let is_lost = |note: &&PublishedNote| {
            let is_last_published = heads.first().is_some_and(|run| run.published);
            let went_on = is_last_published && taken > Some(note.place.number);
            !went_on && heads.iter().all(|run| run.run_id != note.run.run_id)
        };
        if let Some(lost) = note.filter(is_lost) {
            return Ok(Some(lost.run.clone()));
        }
        let newest = heads.iter().find(|run| run.published);
        Ok(self.records_of(newest.into_iter().collect()).await?.pop())
    }

    /// All runs, the one that was committed last first. Of runs of older versions of the program, whose order nobody noted, the one that
    /// finished last.
    pub async fn runs(&self) -> Result<Vec<RunRecord>> {
        let runs = self.read(None, |_: &NumberedRun| true).await?;
        Ok(newest_first(runs))
    }

    /// The run readers must use; `None` where no published one fits. From then on the tables it names are compared with what it says of them.
    ///
    /// Errors with [`ErrorKind::Storage`](tillhouse_model::ErrorKind::Storage) when the run that should answer was published and its record is gone.
    pub async fn published(&self, at: &AsOf) -> Result<Option<RunRecord>> {
        let (run, lost) = self.find_published(at).await?;
        match lost {
            Some(lost) => Err(lost.error()),
            None => Ok(run),
        }
    }

    /// The newest published run there is a record of, and a later one whose record is gone; for whoever publishes next.
    pub async fn newest_published(&self) -> Result<(Option<RunRecord>, Option<LostRun>)> {
        self.find_published(&AsOf::Latest).await
    }

    async fn find_published(&self, at: &AsOf) -> Result<(Option<RunRecord>, Option<LostRun>)> {
        // The note first: a run that is published meanwhile is in the table before it is in the note.
        let note = match at {
            AsOf::Latest => self.note_to_open().await?,
            AsOf::Run(_) | AsOf::Time(_) => self.newest_note().await?,
        };
        self.find_published_by(note, at).await
    }

    /// The run that readers must use, by the newest note, which was read before.
    pub(super) async fn find_published_by(
        &self,
        note: Option<Arc<PublishedNote>>,
        at: &AsOf,
    ) -> Result<(Option<RunRecord>, Option<LostRun>)> {
        let fits = |run: &RunRecord| {
            run.published
                && match at {
                    AsOf::Latest => true,
                    AsOf::Run(id) => run.run_id == *id,
                    AsOf::Time(time) => run.finished_at <= *time,
                }
        };
        let (run, lost) = match (note, at) {
            (Some(note), AsOf::Latest) if self.holds(&note).await? => {
                (Some(note.run.clone()), None)
            }
            (note, at) => {
                let heads = self.run_heads().await?;
                let lost = published_note::lost(note.as_ref().map(|note| &note.run), &heads, at);
                let head = heads.iter().find(|run| fits(run));
                if let Some(head) = head {
                    self.check_kept(at, head, &heads).await?;
                }
                let found = self.records_of(head.into_iter().collect()).await?.pop();
                (found, lost)
            }
        };
        let Some(run) = run else {
            return Ok((None, lost));
        };
        for (path, figures) in &run.figures {
            if let Some(version) = run.tables.get(path) {
                self.registry.table(path)?.expect(version, *figures);
            }
        }
        if *at == AsOf::Latest {
            self.registry.base_run().read(&run.run_id);
            self.warn_of_run(&run);
        }
        Ok((Some(run), lost))
    }

    /// True if `ops/runs` has no rows that are newer than the note's version, which is there and what it was: the note tells of the newest record.
    async fn holds(&self, note: &PublishedNote) -> Result<bool> {
        let runs = self.registry.table(NumberedRun::TABLE)?;
        let tables = note.run.tables.keys().map(String::as_str);
        let (newest, ()) = tokio::join!(runs.latest(), self.registry.open_for_run(tables));
        Ok(newest?.is_some_and(|runs| note.is_newest(&runs)))
    }

    /// Says once that the newest run lies in the future.
    fn warn_of_run(&self, run: &RunRecord) {
        let now = self.now();
        if run.finished_at > now.saturating_add(CLOCKS_DIFFER).unwrap_or(now)
            && !self.warned.swap(true, Relaxed)
        {
            tracing::warn!(
                "the newest run, {}, ended at {}, which is still to come: the clock of this machine, or of the one that ran it, is wrong. \
                 What it read does not count as read, and the next sync reads it again.",
                run.run_id,
                run.finished_at,
            );
        }
    }

    /// The bookkeeping tables whose versions a run names: all but the runs' own.
    pub fn named_tables() -> [&'static str; 5] {
        [
            SliceRow::TABLE,
            RejectRow::TABLE,
            WarningRow::TABLE,
            UnknownField::TABLE,
            ReconciliationRow::TABLE,
        ]
    }
}

/// A time as the tables keep it, in microseconds.
fn cut(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// True if what was noted then is noted again when it is seen now: once a day, so that what does not change is not written by every run.
pub(crate) fn is_due(noted: Timestamp, seen: Timestamp) -> bool {
    seen.duration_since(noted).abs() >= NOTED_EVERY
}

fn warning_identity(row: &WarningRow) -> u64 {
    let mut hasher = DefaultHasher::new();
    (
        &row.pipeline,
        &row.resource,
        &row.record_key,
        &row.field,
        &row.rule,
        &row.original,
        &row.content_hash,
    )
        .hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
