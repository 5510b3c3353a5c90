//! The bookkeeping tables: runs, slices, rejects, warnings, drift; `reconciliation` adds one.
//!
//! Invariant: whatever is noted twice stands there once. A change writes the month's file anew instead of adding one, so the tables
//! do not grow by a file a run; whoever loses a race reads again and does it over.

use crate::file::writer::{PartitionWriter, TableLayout};
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::schema_evolution;
use crate::log::table::{DataFile, Snapshot, TableDefinition, TableHandle};
use crate::ops::published_note::{self, LostRun};
use crate::ops::reconciliation::ReconciliationRow;
use crate::ops::row_codec::{BookkeepingRow, NumberedRun, UnknownField};
use crate::scan;
use crate::warehouse::integrity::TableFigures;
use crate::warehouse::{CLOCKS_DIFFER, Warehouse};
use arrow::datatypes::SchemaRef;
use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::StreamExt;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tillhouse_model::table::MONTH;
use tillhouse_model::{ReadBy, Result, Window, WindowRead};

/// One slice that was read to its end: a row of the coverage ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceRow {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// The tenant, where the source is asked tenant by tenant.
    pub tenant: Option<String>,
    /// The instants that are covered.
    pub window: Window,
    /// Which time of its records the window is about. `None` where the resource was read whole, and where it was not noted yet.
    pub read_by: Option<ReadBy>,
    /// The other time, where the resource is read by both.
    pub also_read_by: Option<ReadBy>,
    /// The run that read it.
    pub run_id: String,
    /// When its first page was asked for.
    pub read_at: Timestamp,
    /// Records landed or known.
    pub records: u64,
    /// Records that did not fit the contract.
    pub rejects: u64,
    /// The provider's own count.
    pub declared_total: Option<u64>,
    /// Number of readings until the slice was whole.
    pub attempts: u32,
    /// The package its records were committed in.
    pub load_id: i64,
}

impl SliceRow {
    /// Its part of the coverage.
    pub fn as_read(&self) -> WindowRead {
        let Self {
            window,
            read_at,
            read_by,
            also_read_by,
            ..
        } = *self;
        WindowRead {
            window,
            read_at,
            read_by,
            also_read_by,
        }
    }
}

/// A record that did not fit its contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectRow {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// The record's key, as far as it is known.
    pub record_key: Option<String>,
    /// The field's path.
    pub field: String,
    /// Why, without the value.
    pub reason: String,
    /// The tenant it was listed for, where the source is asked tenant by tenant. `None` also where it was not noted yet.
    pub tenant: Option<String>,
    /// The number of those without a key that look the same in one reading of a slice, up to and with this one; 1 where it has a key.
    pub nth: u64,
    /// The record's own time, by which its resource is read, where it has no key and that can be read.
    pub time: Option<Timestamp>,
    /// The record with every closed value replaced.
    pub redacted: String,
    /// The time in which it lies: its slice's window, or all that was asked for with that where it has neither key nor time.
    pub slice: Window,
    /// Which time of its records that window is about. `None` where it was read whole or by id, and where it was not noted yet.
    pub read_by: Option<ReadBy>,
    /// The run that saw it last.
    pub run_id: String,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
    /// When the record landed after all.
    pub resolved_at: Option<Timestamp>,
}

/// Something about a landed record that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningRow {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// The record's key.
    pub record_key: String,
    /// The field's path.
    pub field: String,
    /// The rule that did not hold.
    pub rule: String,
    /// The original text, for open columns only.
    pub original: String,
    /// The run that saw it first.
    pub run_id: String,
    /// When it was seen first.
    pub first_seen: Timestamp,
}

/// A field the contract does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftRow {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// The field's path.
    pub field: String,
    /// Number of times the run saw it.
    pub count: u64,
    /// The run.
    pub run_id: String,
    /// When.
    pub seen_at: Timestamp,
}

/// Record of a run, and the versions of all tables that belong together after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Its id; ids sort by time.
    pub run_id: String,
    /// The command, `sync` or `rebuild`.
    pub command: String,
    /// The pipelines it was about.
    pub pipelines: Vec<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// `done` or `partial`.
    pub outcome: String,
    /// True if readers may use it.
    pub published: bool,
    /// The version of every table then existing, by path.
    pub tables: BTreeMap<String, u64>,
    /// The sizes of these versions, by path. Runs of older versions of the program have none.
    pub figures: BTreeMap<String, TableFigures>,
    /// Counts of the run.
    pub counts: BTreeMap<String, u64>,
}

/// Which published run readers want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// The newest.
    Latest,
    /// That one.
    Run(String),
    /// The newest that had finished by then.
    Time(Timestamp),
}

/// The bookkeeping tables. A cheap handle. A cheap handle.
#[derive(Clone)]
pub struct OpsTables {
    pub(crate) warehouse: Warehouse,
}

/// Edit of a bookkeeping table: `note` sees every present row, `changed` gives the new form of
/// each, `added` the new rows. `note` sees every present row; then `changed` says what becomes of
/// each, and `added` what comes.
pub(crate) trait BookkeepingEdit<R>: Sync + Send {
    /// Forgets what it noted: the work begins anew on another version.
    fn begin(&mut self) {}
    /// The version of the table that will have the change.
    fn becomes(&mut self, _version: u64) {}
    /// True if present rows matter at all.
    fn looks_back(&self) -> bool {
        true
    }
    fn note(&mut self, row: &R);
    fn changed(&self, row: &R) -> Option<R>;
    fn added(&self) -> Vec<R>;
}

impl OpsTables {
    /// The columns of a bookkeeping table (`runs`, `slices`, `rejects`, `warnings`, `drift`, `reconciliations`), whether it has rows or not. `None`
    /// for any other name.
    pub fn schema(table: &str) -> Option<SchemaRef> {
        fn of<R: BookkeepingRow>(path: &str) -> Option<SchemaRef> {
            (R::TABLE == path).then(R::schema)
        }
        let path = format!("ops/{table}");
        of::<NumberedRun>(&path)
            .or_else(|| of::<SliceRow>(&path))
            .or_else(|| of::<RejectRow>(&path))
            .or_else(|| of::<WarningRow>(&path))
            .or_else(|| of::<UnknownField>(&path))
            .or_else(|| of::<ReconciliationRow>(&path))
    }

    /// The time by the warehouse's clock.
    pub fn now(&self) -> Timestamp {
        self.warehouse.now()
    }

    /// Adds slices to the coverage ledger.
    pub async fn record_slices(&self, rows: &[SliceRow]) -> Result<()> {
        /// Append of slices.
        struct SliceAppend<'a>(&'a [SliceRow]);
        impl BookkeepingEdit<SliceRow> for SliceAppend<'_> {
            fn looks_back(&self) -> bool {
                false
            }
            fn note(&mut self, _: &SliceRow) {}
            fn changed(&self, _: &SliceRow) -> Option<SliceRow> {
                None
            }
            fn added(&self) -> Vec<SliceRow> {
                self.0.to_vec()
            }
        }
        let run_id = rows.first().map_or("", |row| row.run_id.as_str());
        self.edit(run_id, &mut SliceAppend(rows)).await
    }

    /// The coverage ledger of a pipeline, in the order in which its slices were read.
    ///
    /// Nothing counts as read after the moment of asking: slices that were read in the future, by a clock that was ahead, are not among
    /// them, since nobody knows when they were read.
    pub async fn slices(&self, pipeline: &str) -> Result<Vec<SliceRow>> {
        Ok(as_read(
            self.read(|row: &SliceRow| row.pipeline == pipeline).await?,
            self.warehouse.now(),
        ))
    }

    /// As [`OpsTables::slices`], and what was read in the future counts as never read from now on, also once that future has come; how many
    /// slices these are.
    pub async fn healed_slices(
        &self,
        pipeline: &str,
        run_id: &str,
    ) -> Result<(Vec<SliceRow>, u64)> {
        let now = self.warehouse.now();
        let rows = self.read(|row: &SliceRow| row.pipeline == pipeline).await?;
        if !rows.iter().any(|row| is_ahead(row, now)) {
            return Ok((as_read(rows, now), 0));
        }
        let forgotten = self
            .forget_reads(run_id, |row| row.pipeline == pipeline && is_ahead(row, now))
            .await?;
        Ok((self.slices(pipeline).await?, forgotten))
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
        }
        impl<F: Fn(&SliceRow) -> bool + Send + Sync> BookkeepingEdit<SliceRow> for SliceInvalidation<F> {
            fn begin(&mut self) {
                self.forgotten = 0;
            }
            fn note(&mut self, row: &SliceRow) {
                self.forgotten += u64::from(self.changed(row).is_some());
            }
            fn changed(&self, row: &SliceRow) -> Option<SliceRow> {
                // Whoever read up to the start of a window has seen nothing of it.
                let read_at = row.read_at.min(row.window.from()).min(self.now);
                (read_at < row.read_at && (self.which)(row)).then(|| SliceRow {
                    read_at,
                    ..row.clone()
                })
            }
            fn added(&self) -> Vec<SliceRow> {
                Vec::new()
            }
        }
        let mut forget = SliceInvalidation {
            which,
            now: self.warehouse.now(),
            forgotten: 0,
        };
        self.edit(run_id, &mut forget).await?;
        Ok(forget.forgotten)
    }

    /// Notes rejects: one that is known already is seen again, and open if it was resolved. Open ones that were not seen now and that
    /// are settled by what was read are resolved at `at`. Gives the number of those that their run had not noted before.
    ///
    /// One without a key is known by what is left of it, by its time where that can be read, and by its place among those that look the same.
    /// Without a time it is the same one only where it was asked for in the same time: of a slice that is read again, also in another cut.
    pub async fn record_rejects(
        &self,
        seen: &[RejectRow],
        is_settled: &(dyn Fn(&RejectRow) -> bool + Sync),
        at: Timestamp,
    ) -> Result<u64> {
        /// A reject of this run, with the present row that is the same one.
        struct RejectMatch {
            row: RejectRow,
            /// The present row that it is: its window and its first sight, and if it is of the same run.
            known: Option<(Window, Timestamp, bool)>,
        }
        /// Upsert of unknown fields.
        struct DriftUpsert<'a> {
            seen: HashMap<u64, Vec<RejectMatch>>,
            is_settled: &'a (dyn Fn(&RejectRow) -> bool + Sync),
            at: Timestamp,
        }
        impl BookkeepingEdit<RejectRow> for DriftUpsert<'_> {
            fn begin(&mut self) {
                self.seen
                    .values_mut()
                    .flatten()
                    .for_each(|seen| seen.known = None);
            }
            fn note(&mut self, row: &RejectRow) {
                let seen = self
                    .seen
                    .get_mut(&reject_identity(row))
                    .into_iter()
                    .flatten();
                if let Some(seen) = seen
                    .filter(|seen| seen.known.is_none())
                    .find(|seen| may_be_same(&seen.row, row))
                {
                    seen.known = Some((row.slice, row.first_seen, row.run_id == seen.row.run_id));
                }
            }
            fn changed(&self, row: &RejectRow) -> Option<RejectRow> {
                let is_it = |seen: &&RejectMatch| {
                    seen.known
                        .is_some_and(|(slice, at, _)| (slice, at) == (row.slice, row.first_seen))
                };
                if let Some(seen) = self
                    .seen
                    .get(&reject_identity(row))
                    .into_iter()
                    .flatten()
                    .find(is_it)
                {
                    let again = seen_again(row, &seen.row);
                    return (again != *row).then_some(again);
                }
                let resolved = row.resolved_at.is_none() && (self.is_settled)(row);
                resolved.then(|| RejectRow {
                    resolved_at: Some(self.at),
                    ..row.clone()
                })
            }
            fn added(&self) -> Vec<RejectRow> {
                let new = self
                    .seen
                    .values()
                    .flatten()
                    .filter(|seen| seen.known.is_none());
                let mut new: Vec<RejectRow> = new.map(|seen| seen.row.clone()).collect();
                new.sort_by(|a, b| reject_order(a).cmp(&reject_order(b)));
                new
            }
        }
        let run_id = seen.first().map_or("", |row| row.run_id.as_str());
        let mut by_identity: HashMap<u64, Vec<RejectMatch>> = HashMap::new();
        for row in seen {
            let same = by_identity.entry(reject_identity(row)).or_default();
            match same.iter_mut().find(|seen| may_be_same(&seen.row, row)) {
                Some(seen) => seen.row = seen_again(&seen.row, row),
                None => same.push(RejectMatch {
                    row: row.clone(),
                    known: None,
                }),
            }
        }
        let mut upsert = DriftUpsert {
            seen: by_identity,
            is_settled,
            at,
        };
        self.edit(run_id, &mut upsert).await?;
        let of_this_run =
            |seen: &&RejectMatch| seen.known.is_some_and(|(.., of_this_run)| of_this_run);
        Ok(upsert
            .seen
            .values()
            .flatten()
            .filter(|seen| !of_this_run(seen))
            .count() as u64)
    }

    /// The rejects, of one pipeline or all, oldest first.
    pub async fn rejects(&self, pipeline: Option<&str>, open_only: bool) -> Result<Vec<RejectRow>> {
        let wanted = |row: &RejectRow| {
            pipeline.is_none_or(|p| p == row.pipeline) && (!open_only || row.resolved_at.is_none())
        };
        let mut rows = self.read(wanted).await?;
        rows.sort_by(|a, b| reject_order(a).cmp(&reject_order(b)));
        Ok(rows)
    }

    /// Notes warnings; one that is known already is not noted again.
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

    /// Notes unknown fields: each stands once, with the count of the run that saw it last. Counts given in one call add up.
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
            fn note(&mut self, row: &UnknownField) {
                self.known.insert(identity(&row.last));
            }
            fn changed(&self, row: &UnknownField) -> Option<UnknownField> {
                let last = self.rows.get(&identity(&row.last))?;
                (*last != row.last).then(|| UnknownField {
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

    /// Writes a run record; from then on readers use it, if it says so. Written again, it replaces the earlier one, in its place.
    pub async fn publish(&self, run: &RunRecord) -> Result<()> {
        /// Upsert of a run record.
        struct RunUpsert<'a> {
            run: &'a RunRecord,
            number: i64,
            known: bool,
        }
        impl BookkeepingEdit<NumberedRun> for RunUpsert<'_> {
            fn begin(&mut self) {
                self.known = false;
            }
            fn becomes(&mut self, version: u64) {
                self.number = i64::try_from(version).unwrap_or(i64::MAX);
            }
            fn note(&mut self, row: &NumberedRun) {
                self.known |= row.run.run_id == self.run.run_id;
            }
            fn changed(&self, row: &NumberedRun) -> Option<NumberedRun> {
                let differs = row.run.run_id == self.run.run_id && row.run != *self.run;
                differs.then(|| NumberedRun {
                    run: self.run.clone(),
                    number: row.number,
                })
            }
            fn added(&self) -> Vec<NumberedRun> {
                let new = NumberedRun {
                    run: self.run.clone(),
                    number: Some(self.number),
                };
                if self.known { Vec::new() } else { vec![new] }
            }
        }
        self.edit(
            &run.run_id,
            &mut RunUpsert {
                run,
                number: 0,
                known: false,
            },
        )
        .await?;
        if run.published {
            self.note_published(run).await
        } else {
            Ok(())
        }
    }

    /// All runs, the one that was committed last first. Of runs of older versions of the program, whose order nobody noted, the one that
    /// finished last.
    pub async fn runs(&self) -> Result<Vec<RunRecord>> {
        let mut runs = self.read(|_: &NumberedRun| true).await?;
        runs.sort_by(|a, b| {
            (b.number, b.run.finished_at, &b.run.run_id).cmp(&(
                a.number,
                a.run.finished_at,
                &a.run.run_id,
            ))
        });
        Ok(runs.into_iter().map(|row| row.run).collect())
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
        let fits = |run: &RunRecord| {
            run.published
                && match at {
                    AsOf::Latest => true,
                    AsOf::Run(id) => run.run_id == *id,
                    AsOf::Time(time) => run.finished_at <= *time,
                }
        };
        // The note first: a run that is published meanwhile is in the table before it is in the note.
        let noted = self.noted_run().await?;
        let runs = self.runs().await?;
        let lost = published_note::lost(noted, &runs, at);
        let Some(run) = runs.into_iter().find(fits) else {
            return Ok((None, lost));
        };
        for (path, figures) in &run.figures {
            if let Some(version) = run.tables.get(path) {
                self.warehouse.table(path)?.expect(*version, *figures);
            }
        }
        if *at == AsOf::Latest {
            self.warehouse.warn_of_run(&run);
        }
        Ok((Some(run), lost))
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

    pub(crate) async fn read<R: BookkeepingRow>(
        &self,
        wanted: impl Fn(&R) -> bool,
    ) -> Result<Vec<R>> {
        let table = self.warehouse.table(R::TABLE)?;
        let Some(snapshot) = table.newest().await? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for file in snapshot.files.iter() {
            let mut batches = scan::rows(&table, file, R::schema()).await?;
            while let Some(batch) = batches.next().await {
                found.extend(R::decode(&batch?)?.into_iter().filter(&wanted));
            }
        }
        Ok(found)
    }

    pub(crate) async fn edit<R: BookkeepingRow>(
        &self,
        run_id: &str,
        edit: &mut dyn BookkeepingEdit<R>,
    ) -> Result<()> {
        let table = self.warehouse.table(R::TABLE)?;
        let layout = Arc::new(TableLayout::new(
            R::schema(),
            &["run_id".to_owned()],
            vec![MONTH.to_owned()],
        )?);
        let shape = TableDefinition {
            schema: layout.schema.clone(),
            partition_by: layout.partition_by.clone(),
        };
        for _ in 0..ROUNDS {
            edit.begin();
            let present = table.latest().await?;
            let mut snapshot = match present {
                Some(snapshot) => snapshot,
                // Nothing is there to be changed, and nothing comes: no table for nothing.
                None if edit.added().is_empty() => return Ok(()),
                None => {
                    table
                        .latest_or_create(&shape, &layout.stat_columns, run_id)
                        .await?
                }
            };
            // A table of an older version gains the columns that have come since.
            if !schema_evolution::ensure(&table, &mut snapshot, &layout, run_id).await? {
                continue;
            }
            edit.becomes(snapshot.version + 1);
            let touched = files_to_rewrite(&table, &snapshot, edit).await?;
            let mut added: BTreeMap<String, Vec<R>> = BTreeMap::new();
            for row in edit.added() {
                added.entry(row.month()).or_default().push(row);
            }
            let rewritten: Vec<&DataFile> = snapshot
                .files
                .iter()
                .filter(|file| {
                    touched.contains(&file.path)
                        || file
                            .partition_value(MONTH)
                            .is_some_and(|m| added.contains_key(m))
                })
                .collect();
            if rewritten.is_empty() && added.is_empty() {
                return Ok(());
            }
            let mut months: BTreeMap<String, (Vec<&DataFile>, Vec<R>)> = BTreeMap::new();
            for file in &rewritten {
                months
                    .entry(file.partition_value(MONTH).unwrap_or_default().to_owned())
                    .or_default()
                    .0
                    .push(file);
            }
            for (month, rows) in added {
                months.entry(month).or_default().1 = rows;
            }
            let mut adds = Vec::new();
            for (month, (files, rows)) in months {
                let mut writer = PartitionWriter::new(
                    &table,
                    layout.clone(),
                    vec![(MONTH.to_owned(), Some(month))],
                );
                for file in files {
                    let mut batches = scan::rows(&table, file, R::schema()).await?;
                    while let Some(batch) = batches.next().await {
                        let rows = R::decode(&batch?)?;
                        let rows: Vec<R> = rows
                            .into_iter()
                            .map(|row| edit.changed(&row).unwrap_or(row))
                            .collect();
                        let batch = R::encode(&rows)?;
                        writer.write(move |encoder| encoder.write(&batch)).await?;
                    }
                }
                if !rows.is_empty() {
                    let batch = R::encode(&rows)?;
                    writer.write(move |encoder| encoder.write(&batch)).await?;
                }
                adds.extend(writer.finish().await?);
            }
            let written: Vec<String> = adds.iter().map(|add| add.path.clone()).collect();
            let removes = rewritten.iter().map(|file| commit::remove(file));
            let change = CommitRequest {
                actions: removes.chain(adds.into_iter().map(Action::Add)).collect(),
                operation: DeltaOperation::Write {
                    mode: SaveMode::Overwrite,
                    partition_by: Some(layout.partition_by.clone()),
                    predicate: None,
                },
                watermarks: Vec::new(),
                run_id,
            };
            match commit::commit(&table, &snapshot, &change).await? {
                CommitOutcome::Committed(version) => {
                    table.checkpoint_if_due(version).await;
                    return Ok(());
                }
                CommitOutcome::Lost => commit::discard(&table, written).await,
            }
        }
        Err(commit::too_many_conflicts(&table))
    }
}

/// True if a slice was read by a clock that was ahead of this one.
fn is_ahead(row: &SliceRow, now: Timestamp) -> bool {
    row.read_at > now.saturating_add(CLOCKS_DIFFER).unwrap_or(now)
}

/// Rows of a ledger that count as read at a moment, in the order in which they were.
fn as_read(mut rows: Vec<SliceRow>, now: Timestamp) -> Vec<SliceRow> {
    rows.retain(|row| !is_ahead(row, now));
    for row in &mut rows {
        row.read_at = row.read_at.min(now);
    }
    rows.sort_by(|a, b| (a.read_at, &a.run_id, a.window).cmp(&(b.read_at, &b.run_id, b.window)));
    rows
}

/// Data files in which the edit changes a row; shows every present row to the edit.
async fn files_to_rewrite<R: BookkeepingRow>(
    table: &TableHandle,
    snapshot: &Snapshot,
    edit: &mut dyn BookkeepingEdit<R>,
) -> Result<HashSet<String>> {
    let mut touched = HashSet::new();
    if !edit.looks_back() {
        return Ok(touched);
    }
    for file in snapshot.files.iter() {
        let mut batches = scan::rows(table, file, R::schema()).await?;
        while let Some(batch) = batches.next().await {
            for row in R::decode(&batch?)? {
                edit.note(&row);
                if edit.changed(&row).is_some() {
                    touched.insert(file.path.clone());
                }
            }
        }
    }
    Ok(touched)
}

/// The order of rejects: the oldest first.
fn reject_order(row: &RejectRow) -> (Timestamp, &Option<String>, &str, Window, &str, u64) {
    (
        row.first_seen,
        &row.record_key,
        &row.field,
        row.slice,
        &row.redacted,
        row.nth,
    )
}

/// True if two rejects of one identity may be one: without key and time only where they were asked for in the same time.
fn may_be_same(a: &RejectRow, b: &RejectRow) -> bool {
    a.record_key.is_some() || a.time.is_some() || a.slice.intersection(&b.slice).is_some()
}

/// A reject that was known `before`, as it was seen now.
///
/// One without key and time lies in all windows that it came in. So of windows side by side that share some of the time asked for, those that
/// share none of it with the first are told apart: their rejects are others.
fn seen_again(before: &RejectRow, now: &RejectRow) -> RejectRow {
    let mut again = RejectRow {
        first_seen: before.first_seen.min(now.first_seen),
        ..now.clone()
    };
    if now.record_key.is_some() {
        return again;
    }
    match (before.read_by, now.read_by) {
        (of_before, of_now) if of_before == of_now => {
            let holds = |row: &RejectRow| {
                row.time
                    .is_some_and(|time| row.slice.from() <= time && time < row.slice.to())
            };
            let shared = before
                .slice
                .intersection(&now.slice)
                .filter(|_| now.time.is_none());
            again.slice = shared.unwrap_or(if holds(before) {
                before.slice
            } else {
                now.slice
            });
        }
        // When it happened says more than when it changed.
        (Some(ReadBy::EventTime), _) => {
            (again.slice, again.read_by) = (before.slice, before.read_by)
        }
        _ => {}
    }
    again
}

/// Identity of a reject: the record (by key, or by what is left of it, its time and its number), the field and the reason.
fn reject_identity(row: &RejectRow) -> u64 {
    let mut hasher = DefaultHasher::new();
    let time = row.time.map(Timestamp::as_microsecond);
    let record = row.record_key.as_deref().ok_or((
        row.redacted.as_str(),
        row.tenant.as_deref(),
        time,
        row.nth,
    ));
    (
        &row.pipeline,
        &row.resource,
        record,
        &row.field,
        &row.reason,
    )
        .hash(&mut hasher);
    hasher.finish()
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
    )
        .hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
