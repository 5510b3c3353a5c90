//! Vacuum: data files and log entries that no kept run needs are deleted.
//!
//! Invariant: every version that a kept run names can be read before, during and after, wherever it is cut off. What is deleted is told from what
//! the log says is needed, never from what it says was removed.
//!
//! ```text
//!   which runs are kept      noted in ops/maintenance before anything is deleted: from then on nobody is answered from the others
//!   kept versions            named by kept runs; the newest; every one that was the newest within the safe age
//!   deleted data files       in the table's folder before its log was read, older than the safe age, in no kept version:
//!                            of versions that are no longer kept, and of writers that lost a race or were killed
//!   deleted log entries      behind the newest checkpoint that is not newer than the oldest kept version
//! ```
//!
//! Ages are told by the store's clock, which stamps the files: a file that was just made is added now, to ask it.
//!
//! Rejected: to delete what `remove` actions name, as the Delta library does. It knows no runs, and it misses the files of lost races.

use crate::log::damage::LogFiles;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::maintenance::file_lifetimes::files_of_versions;
use crate::maintenance::retention::RetentionPolicy;
use crate::ops::maintenance::{MaintenanceRow, VACUUM};
use crate::ops::rows::RunRecord;
use crate::store::durable::LOG_FOLDER;
use crate::warehouse::Warehouse;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tillhouse_model::{Error, ErrorKind, Result};

/// Files deleted at once.
const AT_ONCE: usize = 16;
/// Commits behind the oldest kept version that are worth a checkpoint.
const WORTH_A_CHECKPOINT: u64 = 20;
/// File by which the store is asked for the time.
const CLOCK_FILE: &str = "ops/.clock";

/// Limits of what a vacuum may delete.
#[derive(Debug, Clone, Copy)]
pub struct VacuumOptions {
    /// Says what would be done, and does nothing.
    pub dry_run: bool,
    /// Which runs are kept.
    pub retention: RetentionPolicy,
    /// Files that are younger are never deleted: a commit that names them may be on its way, and readers outside may still read versions that were
    /// the newest a moment ago. Longer than the longest sync.
    pub safe_age: SignedDuration,
    /// No further table is begun after this moment.
    pub until: Option<Instant>,
}

/// Files of a table that were deleted, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableVacuum {
    /// The table's path below the warehouse.
    pub table: String,
    /// Data files in its folder.
    pub files_before: u64,
    /// Those that stay.
    pub files_after: u64,
    /// Size of the data files.
    pub bytes_before: u64,
    /// Size of those that stay.
    pub bytes_after: u64,
    /// Commits and checkpoints that were deleted.
    pub log_files: u64,
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

/// Files of one table, as they lay there before its log was read.
struct TableListing {
    data: Vec<ObjectMeta>,
    commits: BTreeMap<u64, ObjectMeta>,
    checkpoints: BTreeMap<u64, ObjectMeta>,
}

/// Files that can go.
struct Garbage {
    data: Vec<ObjectMeta>,
    log: Vec<ObjectMeta>,
    /// Version to write a checkpoint of, so that more can go next time.
    checkpoint: Option<u64>,
}

impl Warehouse {
    /// Deletes what no kept run needs. `watch` is told each table before it is looked at.
    ///
    /// Errors where runs or tables cannot be listed, and where the store cannot delete; a table whose log cannot be read is left alone, and
    /// is in the summary.
    pub async fn vacuum(
        &self,
        options: VacuumOptions,
        run_id: &str,
        watch: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<VacuumSummary> {
        let ops = self.ops();
        let note = ops.newest_note().await?;
        let runs = ops.runs().await?;
        let held = ops.retention_mark().await?;
        let wanted = options.retention.mark(&runs, &held, self.now());
        let mark = match wanted {
            Some(mark) if options.dry_run => mark,
            Some(mark) => ops.retain(mark, run_id).await?,
            None => held.clone(),
        };
        let published = || runs.iter().filter(|run| run.published);
        let kept: Vec<&RunRecord> = published().filter(|run| mark.keeps(run)).collect();
        let mut summary = VacuumSummary {
            kept_runs: kept.len() as u64,
            dropped_runs: published()
                .filter(|run| held.keeps(run) && !mark.keeps(run))
                .map(|run| run.run_id.clone())
                .collect(),
            ..VacuumSummary::default()
        };
        let mut named: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        let of_kept = kept.iter().flat_map(|run| &run.tables);
        let of_note = note.iter().flat_map(|note| &note.run.tables);
        for (path, version) in of_kept.chain(of_note) {
            named.entry(path).or_default().insert(*version);
        }
        let now = self.store_time(options.dry_run).await?;
        let Ok(safe) = now.checked_sub(options.safe_age) else {
            return Ok(summary);
        };
        let mut rows = Vec::new();
        let mut tables = self.tables().await?;
        if options.until.is_some() && !tables.is_empty() {
            // Whoever is cut short every day begins with another table each day.
            let days = now.as_second().div_euclid(86_400).unsigned_abs() as usize;
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
            let versions = named.remove(path.as_str()).unwrap_or_default();
            match self
                .vacuum_table(&path, versions, safe, options.dry_run)
                .await
            {
                Ok(Some(done)) => {
                    rows.push(self.vacuum_row(&done, run_id));
                    summary.tables.push(done);
                }
                Ok(None) => {}
                Err(error) => summary.failed.push((path, error)),
            }
        }
        summary.tables.sort_by(|a, b| a.table.cmp(&b.table));
        summary.unfinished_files = self.remove_unfinished(safe, options.dry_run).await?;
        if !options.dry_run {
            ops.note_maintenance(rows).await?;
        }
        Ok(summary)
    }

    /// True if no other run has done any maintenance on this day, UTC; for whoever has just done some and vacuums once a day.
    pub async fn is_vacuum_due(&self, run_id: &str) -> Result<bool> {
        let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
        let today = day(self.now());
        let rows = self.ops().maintenance().await?;
        Ok(!rows
            .iter()
            .any(|row| row.run_id != run_id && day(row.at) == today))
    }

    async fn vacuum_table(
        &self,
        path: &str,
        mut versions: BTreeSet<u64>,
        safe: Timestamp,
        dry_run: bool,
    ) -> Result<Option<TableVacuum>> {
        let table = self.table(path)?;
        // Listed first: what is committed later is not in it, and so not deleted.
        let listing = TableListing::of(&table).await?;
        let Some(latest) = table.latest().await? else {
            return Ok(None);
        };
        if let Some(lost) = versions.range(latest.version + 1..).next_back() {
            return Err(Error::new(
                ErrorKind::Storage,
                "a table has lost commits since a run named its version",
            )
            .at("table", path)
            .at("named", lost.to_string())
            .at("newest", latest.version.to_string())
            .hint(
                "`tillhouse check` says what helps. Until then nothing of the table is deleted.",
            ));
        }
        versions.extend(listing.recent_versions(latest.version, safe));
        let garbage = listing.garbage(&table, &versions, &latest, safe).await?;
        if let (Some(version), false) = (garbage.checkpoint, dry_run) {
            table.checkpoint(version).await?;
        }
        let done = listing.summary(path, &garbage);
        if garbage.data.is_empty() && garbage.log.is_empty() {
            return Ok(None);
        }
        if !dry_run {
            delete(&table, garbage.data).await?;
            delete(&table, garbage.log).await?;
        }
        Ok(Some(done))
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
        store.put(&file, "tillhouse".into()).await.map_err(failed)?;
        let made = store.head(&file).await.map_err(failed)?;
        store.delete(&file).await.map_err(failed)?;
        Ok(stamp(&made))
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
        let removed = tokio::task::spawn_blocking(move || {
            let mut removed = 0;
            let mut folders = vec![root];
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(&folder)? {
                    let entry = entry?;
                    let kind = entry.file_type()?;
                    if kind.is_dir() {
                        // Locks of leases are named so too.
                        if entry.file_name() == "leases" {
                            continue;
                        }
                        folders.push(entry.path());
                    } else if kind.is_file()
                        && is_unfinished(&entry.file_name().to_string_lossy())
                        && Timestamp::try_from(entry.metadata()?.modified()?)
                            .is_ok_and(|at| at <= safe)
                    {
                        if !dry_run {
                            std::fs::remove_file(entry.path())?;
                        }
                        removed += 1;
                    }
                }
            }
            Ok::<_, std::io::Error>(removed)
        });
        removed
            .await
            .map_err(|error| Error::internal("a vacuum was interrupted").because(error))?
            .map_err(|error| {
                Error::new(ErrorKind::Storage, "unfinished files cannot be removed").because(error)
            })
    }
}

impl TableListing {
    async fn of(table: &TableHandle) -> Result<Self> {
        let mut listing = Self {
            data: Vec::new(),
            commits: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
        };
        let store = table.store();
        let mut found = store.list(None);
        while let Some(file) = found
            .try_next()
            .await
            .map_err(|error| table.storage_error("a table cannot be listed", error))?
        {
            let in_log = file
                .location
                .parts()
                .next()
                .is_some_and(|part| part.as_ref() == LOG_FOLDER);
            if !in_log {
                if file.location.extension() == Some("parquet") {
                    listing.data.push(file);
                }
                continue;
            }
            let name = file.location.filename().unwrap_or_default();
            let LogFiles {
                commits,
                checkpoints,
            } = LogFiles::of(std::iter::once(name));
            if let Some(version) = commits.first() {
                listing.commits.insert(*version, file);
            } else if let Some(version) = checkpoints.first() {
                listing.checkpoints.insert(*version, file);
            }
        }
        Ok(listing)
    }

    /// The versions that were the newest at some moment since an instant.
    fn recent_versions(&self, latest: u64, since: Timestamp) -> std::ops::RangeInclusive<u64> {
        let before = self.commits.iter().filter(|(_, file)| stamp(file) <= since);
        let before = before.map(|(version, _)| *version).next_back();
        let first = before.unwrap_or(0).max(self.oldest_without_gap(latest));
        first.min(latest)..=latest
    }

    /// The oldest version that can be told from a checkpoint, or from nothing, by commits that are all there up to the newest.
    fn oldest_without_gap(&self, latest: u64) -> u64 {
        let mut from = latest;
        while from > 0 && self.commits.contains_key(&from) {
            from -= 1;
        }
        match from == 0 && self.commits.contains_key(&0) {
            true => 0,
            false => self
                .checkpoints
                .range(from..)
                .next()
                .map_or(latest, |(version, _)| *version),
        }
    }

    async fn garbage(
        &self,
        table: &TableHandle,
        versions: &BTreeSet<u64>,
        latest: &Snapshot,
        safe: Timestamp,
    ) -> Result<Garbage> {
        let commits: BTreeSet<u64> = self.commits.keys().copied().collect();
        let needed = files_of_versions(table, &commits, versions, latest).await?;
        let data = self
            .data
            .iter()
            .filter(|file| stamp(file) <= safe && !needed.contains_key(file.location.as_ref()));
        let oldest = versions.first().copied().unwrap_or(latest.version);
        let base = self.base(table, oldest).await?;
        let mut log: Vec<(u64, ObjectMeta)> = Vec::new();
        if let Some(base) = base
            && self.commits.range(..base).next().is_some()
        {
            // Only where the checkpoint can really be read.
            table.unchecked(base).await?;
            let files = self
                .commits
                .range(..base)
                .chain(self.checkpoints.range(..base));
            log.extend(files.map(|(version, file)| (*version, file.clone())));
        }
        log.sort_by_key(|(version, _)| *version);
        let behind = self.commits.range(..oldest).count() as u64;
        let is_due = self.checkpoints.is_empty() && behind >= WORTH_A_CHECKPOINT;
        Ok(Garbage {
            data: data.cloned().collect(),
            log: log.into_iter().map(|(_, file)| file).collect(),
            checkpoint: is_due.then_some(latest.version),
        })
    }

    /// The checkpoint that everything before is not needed for: the newest that is not newer than a version, nor than the one that readers are pointed to.
    async fn base(&self, table: &TableHandle, oldest: u64) -> Result<Option<u64>> {
        /// Content of the file that points readers to a checkpoint.
        #[derive(serde::Deserialize)]
        struct LastCheckpoint {
            version: u64,
        }
        let path = Path::from(LOG_FOLDER).join("_last_checkpoint");
        let failed = |error| table.storage_error("a table's log cannot be read", error);
        let pointed = match table.store().get(&path).await {
            Ok(found) => {
                let bytes = found.bytes().await.map_err(failed)?;
                match serde_json::from_slice::<LastCheckpoint>(&bytes) {
                    Ok(last) => last.version,
                    Err(_) => return Ok(None),
                }
            }
            Err(object_store::Error::NotFound { .. }) => u64::MAX,
            Err(error) => return Err(failed(error)),
        };
        let base = self.checkpoints.range(..=oldest.min(pointed)).next_back();
        Ok(base.map(|(version, _)| *version))
    }

    fn summary(&self, path: &str, garbage: &Garbage) -> TableVacuum {
        let bytes = |files: &[ObjectMeta]| files.iter().map(|file| file.size).sum::<u64>();
        let (files, deleted) = (self.data.len() as u64, garbage.data.len() as u64);
        let (size, freed) = (bytes(&self.data), bytes(&garbage.data));
        TableVacuum {
            table: path.to_owned(),
            files_before: files,
            files_after: files - deleted,
            bytes_before: size,
            bytes_after: size - freed,
            log_files: garbage.log.len() as u64,
        }
    }
}

/// Deletes files; one that is gone already is fine.
async fn delete(table: &TableHandle, files: Vec<ObjectMeta>) -> Result<()> {
    let store = table.store();
    let delete = |file: ObjectMeta| {
        let store = store.clone();
        async move {
            match store.delete(&file.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(table
                    .storage_error("a file that nothing needs cannot be deleted", error)
                    .at("file", file.location.to_string())),
            }
        }
    };
    stream::iter(files)
        .map(delete)
        .buffered(AT_ONCE)
        .try_collect::<()>()
        .await
}

/// True for the names under which the store, and this crate, write files before they get their own.
fn is_unfinished(name: &str) -> bool {
    let is_staged = name.rsplit_once('#').is_some_and(|(name, number)| {
        !name.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    is_staged || name.starts_with(".tillhouse-probe-")
}

/// When a file was made, by the store's clock. What cannot be told is never old.
fn stamp(file: &ObjectMeta) -> Timestamp {
    Timestamp::from_microsecond(file.last_modified.timestamp_micros()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "vacuum_tests.rs"]
mod tests;
