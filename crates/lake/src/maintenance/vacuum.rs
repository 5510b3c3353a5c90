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
//! Ages are told by the store's clock, which stamps the files: a file that was just made is added now, to ask it.
//!
//! Rejected: to delete what `remove` actions name, as the Delta library does. It knows no runs, and it misses the files of lost races.

use crate::log::table::TableHandle;
use crate::log::table_version::TableVersion;
use crate::maintenance::retention::RetentionPolicy;
use crate::maintenance::table_listing::{TableListing, TableVacuum, stamp};
use crate::ops::maintenance::{MaintenanceRow, VACUUM};
use crate::ops::rows::RunRecord;
use crate::warehouse::Warehouse;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use object_store::{ObjectMeta, ObjectStoreExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tillhouse_model::{Error, ErrorKind, Result};

/// Files deleted at once.
const AT_ONCE: usize = 16;
/// File by which the store is asked for the time.
const CLOCK_FILE: &str = "ops/.clock";

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
    /// That of the newest run.
    newest: Option<u64>,
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
        let newest = note
            .as_ref()
            .map(|note| &note.run)
            .or_else(|| published().next())
            .map(|run| &run.tables);
        let mut named: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        let of_kept = kept.iter().flat_map(|run| &run.tables);
        let of_note = note.iter().flat_map(|note| &note.run.tables);
        for (path, version) in of_kept.chain(of_note) {
            let versions = named.entry(path).or_default();
            versions.extend(version.versions());
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
            let versions = NamedVersions {
                kept: named.remove(path.as_str()).unwrap_or_default(),
                newest: newest
                    .and_then(|tables| tables.get(&path))
                    .map(TableVersion::newest),
            };
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
        let now = self.now();
        let today = day(now);
        let rows = self.ops().maintenance_of_month(now).await?;
        Ok(!rows
            .iter()
            .any(|row| row.run_id != run_id && day(row.at) == today))
    }

    async fn vacuum_table(
        &self,
        path: &str,
        mut versions: NamedVersions,
        safe: Timestamp,
        dry_run: bool,
    ) -> Result<Option<TableVacuum>> {
        let table = self.table(path)?;
        // Listed first: what is committed later is not in it, and so not deleted.
        let listing = TableListing::of(&table).await?;
        let Some(latest) = table.latest().await? else {
            return Ok(None);
        };
        if let Some(lost) = versions.newest.filter(|named| *named > latest.version) {
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
        // A table that was lost and made anew: versions of runs before that are in no log.
        versions.kept.retain(|version| *version <= latest.version);
        let garbage = listing
            .garbage(&table, versions.kept, &latest, safe, dry_run)
            .await?;
        let done = garbage.summary();
        if garbage.is_empty() {
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

#[cfg(test)]
#[path = "vacuum_tests.rs"]
mod tests;
