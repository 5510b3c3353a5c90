//! Vacuum: data files and log entries that no kept run needs are deleted.
//!
//! Invariant: every version that a kept run names can be read before, during and after, wherever it is cut off. What is deleted is told from what
//! the log says is needed, never from what it says was removed.
//!
//! ```text
//!   which runs are kept      noted in ops/maintenance before anything is deleted: from then on nobody is answered from the others
//!   kept versions            named by kept runs, those of pinned pipelines too; the newest; every one that was the newest within the safe age
//!   deleted data files       in the table's folder before its log was read, older than the safe age, in no kept version:
//!                            of versions that are no longer kept, and of writers that lost a race or were killed
//!   deleted log entries      behind the newest checkpoint of the safe age, but for those that tell of kept versions: see `log_expiry`
//! ```
//!
//! Checkpoints that are damaged are written anew before.
//!
//! Ages are told by the store's clock, which stamps the files: a file that was just made is added now, to ask it.
//!
//! Rejected: to delete what `remove` actions name, as the Delta library does. It knows no runs, and it misses the files of lost races.

use crate::log::table::TableHandle;
use crate::log::table_version::TableVersion;
use crate::maintenance::retention::RetentionPolicy;
use crate::maintenance::table_listing::{Garbage, TableListing, TableVacuum, stamp};
use crate::ops::maintenance::{MaintenanceNotes, MaintenanceRow, VACUUM};
use crate::store::durable::LOCK;
use crate::warehouse::Warehouse;
use futures::{StreamExt, stream};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use object_store::{ObjectMeta, ObjectStoreExt};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tillhouse_model::{Error, ErrorKind, Result};

/// Files deleted at once.
const AT_ONCE: usize = 16;
/// File by which the store is asked for the time.
const CLOCK_FILE: &str = "ops/.clock";
/// Most times that the store is asked, where other vacuums delete that file meanwhile.
const ROUNDS: u32 = 5;
/// File that says when a vacuum ended last.
const ENDED_FILE: &str = "ops/.vacuumed";

/// Limits of what a vacuum may delete.
#[derive(Debug, Clone, Copy)]
pub struct VacuumOptions {
    /// Says what would be done, and does nothing.
    pub dry_run: bool,
    /// Rule by which runs are kept.
    pub retention: RetentionPolicy,
    /// Files that are younger are never deleted: a commit that names them may be on its way, and readers outside may still read versions that were
    /// the newest a moment ago. Longer than the longest sync.
    pub safe_age: SignedDuration,
    /// No further table is begun after this moment.
    pub until: Option<Instant>,
}

/// Outcome of a vacuum.
#[derive(Debug, Default)]
pub struct VacuumSummary {
    /// Published runs that are kept.
    pub kept_runs: u64,
    /// Runs that are no longer kept from now on, by id.
    pub dropped_runs: Vec<String>,
    /// Tables of which files were deleted.
    pub tables: Vec<TableVacuum>,
    /// Unfinished files of writers that were killed, on a local disk.
    pub unfinished_files: u64,
    /// Tables that could not be looked at, by path. Nothing of them was deleted that is not in `tables`.
    pub failed: Vec<(String, Error)>,
    /// True if its bounds kept it from looking at all tables.
    pub is_cut_short: bool,
}

/// Versions of a table that runs name.
struct NamedVersions {
    kept: BTreeSet<u64>,
    /// The newest run's version.
    newest: Option<u64>,
}

impl Warehouse {
    /// Deletes what no kept run needs. `watch` is told each table before it is looked at.
    ///
    /// Errors where runs or tables cannot be listed, where the store cannot delete, and where bookkeeping is older than the tables, before
    /// anything is done; a table whose log cannot be read is left alone, and is in the summary.
    pub async fn vacuum(
        &self,
        options: VacuumOptions,
        run_id: &str,
        watch: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<VacuumSummary> {
        let ops = self.ops();
        self.registry.look_again();
        ops.refuse_upkeep_by_older_copy().await?;
        let note = ops.newest_note().await?;
        let heads = ops.run_heads().await?;
        let held = ops.retention_marks().await?;
        let stamped = self.store_time(options.dry_run).await?;
        let wanted = options
            .retention
            .mark(&heads, &held, self.retention_time(stamped));
        let marks = match wanted {
            Some(mark) if options.dry_run => held.and(mark),
            Some(mark) => ops.retain(mark, run_id).await?,
            None => held.clone(),
        };
        let (before, now) = (held.kept(&heads), marks.kept(&heads));
        let published = || heads.iter().filter(|run| run.published);
        // The versions that kept runs name; what dropped ones named is not read.
        let kept = ops.kept_records(&heads, &marks).await?;
        let mut summary = VacuumSummary {
            kept_runs: kept.len() as u64,
            dropped_runs: published()
                .map(|run| run.run_id.as_str())
                .filter(|id| before.contains(id) && !now.contains(id))
                .map(str::to_owned)
                .collect(),
            ..VacuumSummary::default()
        };
        let newest = note
            .as_ref()
            .map(|note| &note.run)
            .or_else(|| kept.first())
            .map(|run| &run.tables);
        let mut named: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        let of_kept = kept.iter().flat_map(|run| &run.tables);
        let of_note = note.iter().flat_map(|note| &note.run.tables);
        for (path, version) in of_kept.chain(of_note) {
            let versions = named.entry(path).or_default();
            versions.extend(version.versions());
        }
        let Ok(safe) = stamped.checked_sub(options.safe_age) else {
            return Ok(summary);
        };
        let mut notes = MaintenanceNotes::new(ops);
        let mut tables = self.tables().await?;
        if options.until.is_some() && !tables.is_empty() {
            // Whoever is cut short every day begins with another table each day.
            let days = stamped.as_second().div_euclid(86_400).unsigned_abs() as usize;
            let first = days * 7 % tables.len();
            tables.rotate_left(first);
        }
        for (schema, name) in tables {
            if options.until.is_some_and(|until| Instant::now() >= until) {
                summary.is_cut_short = true;
                break;
            }
            let path = format!("{schema}/{name}");
            watch(&path);
            let versions = NamedVersions {
                kept: named.remove(path.as_str()).unwrap_or_default(),
                newest: newest
                    .and_then(|tables| tables.get(&path))
                    .map(TableVersion::newest),
            };
            let (done, failed) = self.vacuum_table(&path, versions, safe, options).await;
            if let Some(done) = done {
                if !options.dry_run {
                    notes.add(self.vacuum_row(&done, run_id)).await?;
                }
                summary.tables.push(done);
            }
            summary.failed.extend(failed.map(|error| (path, error)));
        }
        notes.write().await?;
        summary.tables.sort_by(|a, b| a.table.cmp(&b.table));
        summary.unfinished_files = self.remove_unfinished(safe, options.dry_run).await?;
        if !options.dry_run {
            self.note_vacuum_ended().await?;
        }
        Ok(summary)
    }

    /// True if no vacuum has ended on this day, UTC; for whoever vacuums once a day. A warehouse that nobody has asked before has time until the next
    /// day. One request.
    pub async fn is_vacuum_due(&self) -> Result<bool> {
        match self.vacuum_ended().await? {
            Some(ended) => Ok(ended != self.today()),
            None => {
                self.note_vacuum_ended().await?;
                Ok(false)
            }
        }
    }

    /// True if a vacuum is known to have ended on this day, so that none is due; whoever cannot tell asks [`Warehouse::is_vacuum_due`]. One request.
    pub async fn has_been_vacuumed(&self) -> bool {
        let ended = self.vacuum_ended().await;
        ended.is_ok_and(|ended| ended == Some(self.today()))
    }

    fn today(&self) -> Date {
        self.now().to_zoned(TimeZone::UTC).date()
    }

    /// The day on which a vacuum ended last, UTC; `None` where nobody has asked before. A note that says no time is of the first of all days.
    async fn vacuum_ended(&self) -> Result<Option<Date>> {
        let failed = |error: object_store::Error| {
            Error::new(ErrorKind::Storage, "the warehouse cannot be read")
                .at("file", ENDED_FILE)
                .because(error)
        };
        let file = self.registry.below(ENDED_FILE);
        let ended = match self.registry.store().get(&file).await {
            Ok(found) => found.bytes().await.map_err(failed)?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let ended = std::str::from_utf8(&ended).ok();
        let ended = ended.and_then(|text| text.trim().parse::<Timestamp>().ok());
        let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
        Ok(Some(ended.map_or(Date::MIN, day)))
    }

    async fn note_vacuum_ended(&self) -> Result<()> {
        let file = self.registry.below(ENDED_FILE);
        let ended = self.now().to_string();
        let written = self.registry.store().put(&file, ended.into()).await;
        written.map(drop).map_err(|error| {
            Error::new(ErrorKind::Storage, "the warehouse cannot be written")
                .at("file", ENDED_FILE)
                .because(error)
        })
    }

    /// Files deleted of a table, or to be deleted, if any; and the reason why some or all of them stayed.
    async fn vacuum_table(
        &self,
        path: &str,
        versions: NamedVersions,
        safe: Timestamp,
        options: VacuumOptions,
    ) -> (Option<TableVacuum>, Option<Error>) {
        let dry_run = options.dry_run;
        // All checkpoints are read for it: in a bucket by whoever asks for a vacuum, and not by the share of a sync.
        let mends = !dry_run && (options.until.is_none() || self.folder().is_some());
        let found = async {
            let table = self.table(path)?;
            if mends && let Err(error) = table.mend_checkpoints().await {
                tracing::warn!("{path}: a checkpoint that is damaged stays as it is: {error}");
            }
            let garbage = self.garbage_of(&table, versions, safe, dry_run).await?;
            Ok::<_, Error>((table, garbage))
        };
        let (table, garbage) = match found.await {
            Ok((table, Some(garbage))) if !garbage.is_empty() => (table, garbage),
            Ok(_) => return (None, None),
            Err(error) => return (None, Some(error)),
        };
        let mut done = garbage.summary();
        if dry_run {
            return (Some(done), None);
        }
        let (of_data, of_log) = (garbage.data.len(), garbage.log.len() as u64);
        let (mut left, mut failed) = delete(&table, garbage.data).await;
        if of_data > 0 && left.len() == of_data {
            return (None, failed);
        }
        done.files_after += left.len() as u64;
        done.bytes_after += left.iter().map(|file| file.size).sum::<u64>();
        // Data files first: what of the log tells of them is needed until they are gone.
        left = garbage.log;
        if failed.is_none() {
            (left, failed) = delete(&table, left).await;
        }
        done.log_files = of_log - left.len() as u64;
        let is_any = done.files_after < done.files_before || done.log_files > 0;
        (is_any.then_some(done), failed)
    }

    /// Files of a table that can go; `None` where it is no table.
    async fn garbage_of(
        &self,
        table: &TableHandle,
        mut versions: NamedVersions,
        safe: Timestamp,
        dry_run: bool,
    ) -> Result<Option<Garbage>> {
        // Listed first: what is committed later is not in it, and so not deleted.
        let listing = TableListing::of(table).await?;
        // A run that has held its tables since it began knows nothing of what others have put into them, published or not.
        table.is_overtaken();
        let Some(latest) = table.latest().await? else {
            return Ok(None);
        };
        if let Some(lost) = versions.newest.filter(|named| *named > latest.version) {
            return Err(Error::new(
                ErrorKind::Storage,
                "a table has lost commits since a run named its version",
            )
            .at("table", table.path())
            .at("named", lost.to_string())
            .at("newest", latest.version.to_string())
            .hint(
                "`tillhouse check` says what helps. Until then nothing of the table is deleted.",
            ));
        }
        // A table that was lost and made anew: versions of runs before that are in no log.
        versions.kept.retain(|version| *version <= latest.version);
        listing
            .garbage(table, versions.kept, &latest, safe, dry_run)
            .await
            .map(Some)
    }

    /// The time by the clock that stamps files; by the warehouse's own where nothing may be written.
    async fn store_time(&self, dry_run: bool) -> Result<Timestamp> {
        if dry_run {
            return Ok(Timestamp::now());
        }
        let failed = |error: object_store::Error| {
            Error::new(ErrorKind::Storage, "the warehouse cannot be written")
                .at("file", CLOCK_FILE)
                .because(error)
        };
        let (store, file) = (self.registry.store(), self.registry.below(CLOCK_FILE));
        for _ in 0..ROUNDS {
            store.put(&file, "tillhouse".into()).await.map_err(failed)?;
            // Another vacuum that asks at the same time may have deleted it.
            let made = match store.head(&file).await {
                Ok(made) => made,
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(failed(error)),
            };
            return match store.delete(&file).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(stamp(&made)),
                Err(error) => Err(failed(error)),
            };
        }
        Err(Error::new(
            ErrorKind::Busy,
            "other vacuums of the warehouse are under way",
        )
        .at("file", CLOCK_FILE))
    }

    /// The moment from which retention is counted back: the earlier one of this machine's clock and the store's. On a local disk they are one.
    fn retention_time(&self, stamped: Timestamp) -> Timestamp {
        match self.url().scheme() {
            "file" => self.now(),
            _ => self.now().min(stamped),
        }
    }

    fn vacuum_row(&self, done: &TableVacuum, run_id: &str) -> MaintenanceRow {
        MaintenanceRow {
            run_id: run_id.to_owned(),
            at: self.now(),
            action: VACUUM.to_owned(),
            table: Some(done.table.clone()),
            files_before: done.files_before,
            files_after: done.files_after,
            bytes_before: done.bytes_before,
            bytes_after: done.bytes_after,
            log_files: done.log_files,
            mark: None,
        }
    }

    /// Removes files that were never given their name, older than an instant; how many. Stores other than a local disk have none.
    async fn remove_unfinished(&self, safe: Timestamp, dry_run: bool) -> Result<u64> {
        let Ok(root) = self.url().to_file_path() else {
            return Ok(0);
        };
        let removed = tokio::task::spawn_blocking(move || remove_staged(root, safe, dry_run));
        removed
            .await
            .map_err(|error| Error::internal("a vacuum was interrupted").because(error))?
            .map_err(|error| {
                Error::new(ErrorKind::Storage, "unfinished files cannot be removed").because(error)
            })
    }
}

/// Deletes files until one cannot be deleted; those that are left, and why. One that is gone already is fine.
async fn delete(table: &TableHandle, files: Vec<ObjectMeta>) -> (Vec<ObjectMeta>, Option<Error>) {
    let (store, has_failed) = (table.store(), AtomicBool::new(false));
    let delete = async |file: ObjectMeta| {
        if has_failed.load(Relaxed) {
            return Some((file, None));
        }
        match store.delete(&file.location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => {
                has_failed.store(true, Relaxed);
                let error = table
                    .storage_error("a file that nothing needs cannot be deleted", error)
                    .at("file", file.location.to_string());
                Some((file, Some(error)))
            }
        }
    };
    let mut deleted = stream::iter(files).map(delete).buffered(AT_ONCE);
    let (mut left, mut failed) = (Vec::new(), None);
    while let Some(outcome) = deleted.next().await {
        let Some((file, error)) = outcome else {
            continue;
        };
        left.push(file);
        failed = failed.or(error);
    }
    (left, failed)
}

/// Removes staged files below a folder, older than an instant; how many. What its writer removes or renames meanwhile is passed over.
fn remove_staged(root: PathBuf, safe: Timestamp, dry_run: bool) -> std::io::Result<u64> {
    let mut removed = 0;
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        let Some(entries) = unless_gone(std::fs::read_dir(&folder))? else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let Some(kind) = unless_gone(entry.file_type())? else {
                continue;
            };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file()
                && is_unfinished(&entry.file_name().to_string_lossy())
                && is_older(&entry.path(), safe)?
            {
                let gone = dry_run || unless_gone(std::fs::remove_file(entry.path()))?.is_some();
                removed += u64::from(gone);
            }
        }
    }
    Ok(removed)
}

/// True for a file that is there and was last written before an instant.
fn is_older(file: &std::path::Path, than: Timestamp) -> std::io::Result<bool> {
    let written = unless_gone(std::fs::metadata(file).and_then(|found| found.modified()))?;
    Ok(written.is_some_and(|at| Timestamp::try_from(at).is_ok_and(|at| at <= than)))
}

/// The value that was found; `None` for a file that is not there any more.
fn unless_gone<T>(found: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// True for the names under which the store, and this crate, write files before they get their own. Locks are named so too, and stay.
fn is_unfinished(name: &str) -> bool {
    let is_staged = name.rsplit_once('#').is_some_and(|(name, number)| {
        !name.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    (is_staged && !name.ends_with(LOCK)) || name.starts_with(".tillhouse-probe-")
}

#[cfg(test)]
#[path = "vacuum_tests.rs"]
mod tests;
