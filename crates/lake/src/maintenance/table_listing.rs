//! Listing of one table's files, and what of them nobody needs.
//!
//! Invariant: files are listed before the log is read. So what is committed later is not in the listing, and is not taken for garbage.

use crate::log::damage::LogFiles;
use crate::log::snapshot::{CommitStamp, Snapshot};
use crate::log::table::TableHandle;
use crate::maintenance::file_lifetimes::{FileLifetimes, has_all};
use crate::maintenance::log_expiry::{ExpiredLog, expired};
use crate::store::durable::LOG_FOLDER;
use crate::store::failure::is_store_failure;
use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use tillhouse_model::{Error, ErrorKind, Result};

/// Commits that are worth a checkpoint, in a log that has none.
const WORTH_A_CHECKPOINT: usize = 20;

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

/// Files of one table, as they lay there before its log was read.
pub(crate) struct TableListing {
    path: String,
    data: Vec<ObjectMeta>,
    commits: BTreeMap<u64, ObjectMeta>,
    checkpoints: BTreeMap<u64, ObjectMeta>,
}

/// Files that can go.
pub(crate) struct Garbage {
    pub(crate) data: Vec<ObjectMeta>,
    pub(crate) log: Vec<ObjectMeta>,
    summary: TableVacuum,
}

impl Garbage {
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.log.is_empty()
    }

    /// Numbers of what is deleted, and of what stays.
    pub(crate) fn summary(&self) -> TableVacuum {
        self.summary.clone()
    }
}

impl TableListing {
    pub(crate) async fn of(table: &TableHandle) -> Result<Self> {
        let mut listing = Self {
            path: table.path().to_owned(),
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

    /// Entries that can go, where these versions are named by kept runs and everything younger than `safe` stays. Checkpoints that let more go are
    /// written, and what was read of the log is kept beside the table, but in a dry run.
    pub(crate) async fn garbage(
        &self,
        table: &TableHandle,
        named: BTreeSet<u64>,
        latest: &Snapshot,
        safe: Timestamp,
        dry_run: bool,
    ) -> Result<Garbage> {
        let recent = self.recent_versions(latest.version, safe);
        let oldest = *recent.start();
        let mut needed = named.clone();
        needed.extend(recent);
        let stamps: BTreeMap<u64, CommitStamp> = self
            .commits
            .iter()
            .map(|(version, file)| (*version, file.into()))
            .collect();
        let (mut lifetimes, is_kept) =
            match FileLifetimes::read_on(table, &stamps, &needed, latest).await {
                Ok(read) => read,
                Err(error) => {
                    return self
                        .garbage_past_damage(table, &needed, latest, safe, error)
                        .await;
                }
            };
        let data: Vec<ObjectMeta> = self
            .data
            .iter()
            .filter(|file| {
                stamp(file) <= safe && !lifetimes.is_needed(file.location.as_ref(), &needed)
            })
            .cloned()
            .collect();
        let log = self
            .expired_log(table, &named, latest.version, oldest, dry_run)
            .await;
        let log = match log {
            Ok(log) => log,
            Err(error) => {
                let commits = self.commits.keys().copied();
                match table.damaged_commits(commits).await?.is_empty() {
                    true => return Err(error),
                    false => self.whole_log(table, error).await?,
                }
            }
        };
        let summary = self.summary(&data, log.len() as u64);
        if !dry_run {
            let goes: BTreeSet<&str> = data.iter().map(|file| file.location.as_ref()).collect();
            let there: BTreeSet<&str> = self
                .data
                .iter()
                .map(|file| file.location.as_ref())
                .filter(|path| !goes.contains(path))
                .collect();
            let is_less = lifetimes.forget_but(|path| there.contains(path));
            // Of a commit that came after the listing no stamp is known.
            if let Some(stamp) = stamps.get(&latest.version)
                && (is_less || !is_kept)
            {
                lifetimes.keep(table, stamp.clone()).await?;
            }
        }
        Ok(Garbage { data, log, summary })
    }

    /// As [`TableListing::garbage`], where earlier versions cannot be told, as `error` says, since commits or checkpoints are damaged behind the
    /// one that the newest version is told from: of data only what is known to have gone, and nothing of the log. So whoever has a copy of the
    /// file has everything. What was read is not kept, since it is not all.
    ///
    /// Errors with `error` where what the newest version is told from is damaged.
    async fn garbage_past_damage(
        &self,
        table: &TableHandle,
        needed: &BTreeSet<u64>,
        latest: &Snapshot,
        safe: Timestamp,
        error: Error,
    ) -> Result<Garbage> {
        if is_store_failure(&error) || table.check_log().await.is_err() {
            return Err(error);
        }
        let commits = self.commits.keys().copied().collect();
        let (lifetimes, _) = FileLifetimes::read_past(table, &commits, needed, latest).await?;
        tracing::warn!(
            "{}: {error}. Only data files go that are known to be needed by no run, and nothing of its log",
            self.path
        );
        let is_unneeded = |file: &&ObjectMeta| {
            let path = file.location.as_ref();
            stamp(file) <= safe && lifetimes.knows(path) && !lifetimes.is_needed(path, needed)
        };
        let data: Vec<ObjectMeta> = self.data.iter().filter(is_unneeded).cloned().collect();
        let summary = self.summary(&data, 0);
        Ok(Garbage {
            data,
            log: Vec::new(),
            summary,
        })
    }

    /// The versions that were the newest at some moment since an instant.
    fn recent_versions(&self, latest: u64, since: Timestamp) -> RangeInclusive<u64> {
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

    /// Files of the log that can go; the oldest first. `oldest` is the oldest of the newest versions.
    async fn expired_log(
        &self,
        table: &TableHandle,
        named: &BTreeSet<u64>,
        latest: u64,
        oldest: u64,
        dry_run: bool,
    ) -> Result<Vec<ObjectMeta>> {
        let mut log = LogFiles {
            commits: self.commits.keys().copied().collect(),
            checkpoints: self.checkpoints.keys().copied().collect(),
        };
        if log.checkpoints.is_empty()
            && log.commits.range(..oldest).count() >= WORTH_A_CHECKPOINT
            && !dry_run
        {
            table.checkpoint(latest).await?;
        }
        let Some(pointed) = self.pointed(table).await? else {
            return Ok(Vec::new());
        };
        let base = log.checkpoints.range(..=oldest.min(pointed)).next_back();
        let Some(base) = base.copied() else {
            return Ok(Vec::new());
        };
        let listed = log.commits.last().copied().unwrap_or_default();
        let is_whole = has_all(&log.commits, base + 1, listed.min(latest));
        let first = log.commits.first().min(log.checkpoints.first());
        if !is_whole || first.is_none_or(|first| *first >= base) {
            return Ok(Vec::new());
        }
        let untold = |version: u64| {
            Error::new(
                ErrorKind::Storage,
                "a version that a run names cannot be told from the table's log",
            )
            .at("table", table.path())
            .at("version", version.to_string())
            .hint("`tillhouse check --warehouse` says what is damaged. Until then nothing of the table's log is deleted.")
        };
        let mut goes: ExpiredLog = match expired(&log, named, base, Some(pointed)) {
            Ok(goes) => goes,
            Err(version) => return self.whole_log(table, untold(version)).await,
        };
        if goes.commits.is_empty() && goes.checkpoints.is_empty() && goes.wanted.is_empty() {
            return Ok(Vec::new());
        }
        let found = log.clone();
        if !goes.wanted.is_empty() {
            for version in &goes.wanted {
                if !dry_run {
                    table.checkpoint_apart(*version).await?;
                }
                log.checkpoints.insert(*version);
            }
            goes = expired(&log, named, base, Some(pointed)).map_err(untold)?;
        }
        // Of two ways to tell a version the one that stays has to be sound.
        let relied_on = relied_on(&found, &goes, base);
        let damaged = table.damaged_commits(relied_on).await?;
        if !damaged.is_empty() {
            tracing::warn!(
                "{}: commits of its log are damaged, of versions {damaged:?}. Nothing of the log goes until no run needs it",
                self.path
            );
            return Ok(Vec::new());
        }
        if !dry_run {
            for version in standing_in(&found, &goes, base) {
                table.prove_checkpoint(version, &found).await?;
            }
        }
        let mut files: Vec<(u64, ObjectMeta)> = Vec::new();
        for (versions, of) in [
            (&goes.commits, &self.commits),
            (&goes.checkpoints, &self.checkpoints),
        ] {
            let found = versions
                .iter()
                .filter_map(|version| of.get_key_value(version));
            files.extend(found.map(|(version, file)| (*version, file.clone())));
        }
        files.sort_by_key(|(version, _)| *version);
        Ok(files.into_iter().map(|(_, file)| file).collect())
    }

    /// No file of the log, where something before its newest checkpoint is damaged, as `error` says.
    ///
    /// Errors with `error` where its newest version cannot be told either.
    async fn whole_log(&self, table: &TableHandle, error: Error) -> Result<Vec<ObjectMeta>> {
        if table.check_log().await.is_err() {
            return Err(error);
        }
        tracing::warn!("{}: {error}. Nothing of its log goes", self.path);
        Ok(Vec::new())
    }

    /// The checkpoint that readers are pointed to, or any number where they are pointed to none; `None` where that cannot be told.
    async fn pointed(&self, table: &TableHandle) -> Result<Option<u64>> {
        /// Content of the file that points readers to a checkpoint.
        #[derive(serde::Deserialize)]
        struct LastCheckpoint {
            version: u64,
        }
        if self.checkpoints.is_empty() {
            return Ok(None);
        }
        let path = Path::from(LOG_FOLDER).join("_last_checkpoint");
        let failed = |error| table.storage_error("a table's log cannot be read", error);
        match table.store().get(&path).await {
            Ok(found) => {
                let bytes = found.bytes().await.map_err(failed)?;
                let last = serde_json::from_slice::<LastCheckpoint>(&bytes);
                Ok(last.ok().map(|last| last.version))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(Some(u64::MAX)),
            Err(error) => Err(failed(error)),
        }
    }

    fn summary(&self, garbage: &[ObjectMeta], log_files: u64) -> TableVacuum {
        let bytes = |files: &[ObjectMeta]| files.iter().map(|file| file.size).sum::<u64>();
        let (files, size) = (self.data.len() as u64, bytes(&self.data));
        TableVacuum {
            table: self.path.clone(),
            files_before: files,
            files_after: files - garbage.len() as u64,
            bytes_before: size,
            bytes_after: size - bytes(garbage),
            log_files,
        }
    }
}

/// Checkpoints that stay and that will be all there is of commits or checkpoints that go, the oldest first; of those that were there already.
fn standing_in(found: &LogFiles, goes: &ExpiredLog, base: u64) -> Vec<u64> {
    let stays = found.checkpoints.range(..=base).copied();
    let stays = stays.filter(|version| !goes.checkpoints.contains(version));
    let mut from = 0;
    let mut standing = Vec::new();
    for version in stays {
        let stretch = from..=version;
        let is_needed = goes.commits.range(stretch.clone()).next().is_some()
            || goes.checkpoints.range(stretch).next().is_some();
        if is_needed {
            standing.push(version);
        }
        from = version + 1;
    }
    standing
}

/// Commits that stay and that versions will be told by whose own checkpoint, or one before them, goes.
fn relied_on(found: &LogFiles, goes: &ExpiredLog, base: u64) -> BTreeSet<u64> {
    let stays = |version: &&u64| !goes.checkpoints.contains(*version);
    let mut relied_on = BTreeSet::new();
    for gone in &goes.checkpoints {
        let before = found.checkpoints.range(..*gone).rfind(stays);
        let behind = found.checkpoints.range(*gone..).find(stays);
        let from = before.map_or(0, |before| before + 1);
        let until = behind.map_or(base, |behind| base.min(*behind));
        let commits = found.commits.range(from..until.max(from)).copied();
        relied_on.extend(commits.filter(|version| !goes.commits.contains(version)));
    }
    relied_on
}

/// When a file was made, by the store's clock. What cannot be told is never old.
pub(crate) fn stamp(file: &ObjectMeta) -> Timestamp {
    Timestamp::from_microsecond(file.last_modified.timestamp_micros()).unwrap_or(Timestamp::MAX)
}
