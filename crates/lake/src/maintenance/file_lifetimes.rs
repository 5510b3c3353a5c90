//! Lifetimes of a table's data files: with which version each came, and with which it went. Read from the table's log, and kept beside it, so that the
//! next vacuum reads only the commits that have come since.
//!
//! Invariant: what the log adds up to is compared with the newest snapshot; where they differ, nothing is said, and so nothing is deleted. What is
//! kept beside a table is taken only while the commit it was told through is the one it was; else the log is read anew.
//!
//! ```text
//!   wanted versions   3        57 58                     120 121 ... newest
//!   read              open 3   open 57, commit 58        open 120, commits 121 ... newest
//!   kept beside it    through the newest: of each file that is on storage its size, the version it came with, and the one it went with
//! ```
//!
//! Rejected: to tell what kept runs need from the notes of published runs alone. Of a run in ten thousand the note is missing, and then a file that it
//! needs would go.

use crate::log::checkpoint::makes_a_table;
use crate::log::data_file::decoded;
use crate::log::snapshot::{CommitStamp, Snapshot};
use crate::log::table::{TableHandle, commit_name};
use crate::store::bounded::bounded_bytes;
use crate::store::durable::LOG_FOLDER;
use crate::store::failure::is_store_failure;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::ops::RangeInclusive;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Commits read at once.
const AT_ONCE: usize = 16;
/// Most commits from one wanted version to the next that are read; where there are more, the later version is opened.
const FOLLOWED: u64 = 24;
/// Folder of a table that other readers pass over, since its name begins so.
pub(crate) const FOLDER: &str = "_tillhouse";
const FILE: &str = "lifetimes.json.zst";
/// Level of compression.
const LEVEL: i32 = 3;

/// A line of a commit, as far as it is about data files.
#[derive(Deserialize)]
struct CommitLine {
    add: Option<NamedFile>,
    remove: Option<NamedFile>,
}

#[derive(Deserialize)]
struct NamedFile {
    path: String,
    #[serde(default)]
    size: u64,
}

/// Data files that a commit removes and adds.
struct CommitFiles {
    version: u64,
    /// True where the table begins anew with it: what was there before has gone.
    begins_anew: bool,
    removed: Vec<String>,
    added: Vec<(String, u64)>,
}

/// The versions that hold a data file: from the one it came with up to the one before it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Lifetime {
    size: u64,
    came: u64,
    /// `None` while the newest version holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    went: Option<u64>,
}

/// Lifetimes of the data files of a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FileLifetimes {
    through: u64,
    files: HashMap<String, Lifetime>,
}

/// Lifetimes as they are kept beside a table.
#[derive(Serialize, Deserialize)]
struct StoredLifetimes {
    through: u64,
    /// Stamp of the commit of that version.
    stamp: CommitStamp,
    files: BTreeMap<String, Lifetime>,
}

impl FileLifetimes {
    /// The lifetimes as far as these versions need them, told from the log alone. `commits` are those that are there.
    ///
    /// Errors with [`ErrorKind::Storage`] where a version cannot be read, or the log contradicts itself.
    pub(crate) async fn read(
        table: &TableHandle,
        commits: &BTreeSet<u64>,
        versions: &BTreeSet<u64>,
        latest: &Snapshot,
    ) -> Result<Self> {
        let mut wanted: BTreeSet<u64> = versions.range(..=latest.version).copied().collect();
        wanted.insert(latest.version);
        let mut found = Self::default();
        for stretch in stretches(&wanted, commits) {
            let (first, last) = stretch.into_inner();
            match first == latest.version {
                true => found.jump_to(latest),
                false => found.jump_to(&opened(table, first).await?),
            }
            found.follow(table, last).await?;
        }
        match found.is_of(latest) {
            true => Ok(found),
            false => Err(not_adding_up(table, latest)),
        }
    }

    /// As [`FileLifetimes::read`], past versions that cannot be told since the log has lost what tells them; these are given beside. Of a file
    /// that only they hold nothing is known.
    pub(crate) async fn read_past(
        table: &TableHandle,
        commits: &BTreeSet<u64>,
        versions: &BTreeSet<u64>,
        latest: &Snapshot,
    ) -> Result<(Self, BTreeSet<u64>)> {
        let mut wanted: BTreeSet<u64> = versions.range(..=latest.version).copied().collect();
        wanted.insert(latest.version);
        let first = wanted.first().copied().unwrap_or_default();
        let between = commits.range(first..=latest.version).copied();
        let damaged = table.damaged_commits(between).await?;
        let sound: BTreeSet<u64> = commits.difference(&damaged).copied().collect();
        let (mut found, mut untold) = (Self::default(), BTreeSet::new());
        let mut told: Option<u64> = None;
        for version in wanted {
            let is_near =
                |told: u64| version - told <= FOLLOWED && has_all(&sound, told + 1, version);
            if told.is_some_and(is_near) {
                found.follow(table, version).await?;
            } else if version == latest.version {
                found.jump_to(latest);
            } else {
                match opened(table, version).await {
                    Ok(snapshot) => found.jump_to(&snapshot),
                    Err(error) if is_store_failure(&error) => return Err(error),
                    Err(_) => {
                        untold.insert(version);
                        continue;
                    }
                }
            }
            told = Some(version);
        }
        match found.is_of(latest) {
            true => Ok((found, untold)),
            false => Err(not_adding_up(table, latest)),
        }
    }

    /// As [`FileLifetimes::read`], from what is kept beside the table and the commits since, where that holds. `true`: it is kept
    /// as it is, and need not be kept again.
    ///
    /// `stamps` are those of the commits that are there.
    pub(crate) async fn read_on(
        table: &TableHandle,
        stamps: &BTreeMap<u64, CommitStamp>,
        versions: &BTreeSet<u64>,
        latest: &Snapshot,
    ) -> Result<(Self, bool)> {
        let commits: BTreeSet<u64> = stamps.keys().copied().collect();
        if let Some(kept) = kept(table).await? {
            let mut found = Self {
                through: kept.through,
                files: kept.files.into_iter().collect(),
            };
            let is_same = stamps.get(&kept.through) == Some(&kept.stamp);
            let is_told = found.through <= latest.version
                && has_all(&commits, found.through + 1, latest.version);
            if is_same && is_told {
                let is_kept = found.through == latest.version;
                found.follow(table, latest.version).await?;
                if found.is_of(latest) {
                    return Ok((found, is_kept));
                }
            }
            tracing::debug!(table = table.path(), "lifetimes of files are read anew");
        }
        let found = Self::read(table, &commits, versions, latest).await?;
        Ok((found, false))
    }

    /// True if one of these versions holds the file.
    pub(crate) fn is_needed(&self, path: &str, versions: &BTreeSet<u64>) -> bool {
        self.files
            .get(path)
            .is_some_and(|lifetime| lifetime.meets(versions))
    }

    /// True if a version is known to hold the file, or to have held it.
    pub(crate) fn knows(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The files that some of these versions hold, with their sizes.
    pub(crate) fn needed(&self, versions: &BTreeSet<u64>) -> Vec<(String, u64)> {
        let needed = self
            .files
            .iter()
            .filter(|(_, lifetime)| lifetime.meets(versions))
            .map(|(path, lifetime)| (path.clone(), lifetime.size));
        needed.collect()
    }

    /// Forgets files that are not on storage any more, or will not be; true if there are any.
    pub(crate) fn forget_but(&mut self, stays: impl Fn(&str) -> bool) -> bool {
        let before = self.files.len();
        self.files
            .retain(|path, lifetime| lifetime.went.is_none() || stays(path));
        self.files.len() < before
    }

    /// Keeps the lifetimes beside the table. `stamp` is that of the commit they are told through.
    pub(crate) async fn keep(self, table: &TableHandle, stamp: CommitStamp) -> Result<()> {
        let stored = StoredLifetimes {
            through: self.through,
            stamp,
            files: self.files.into_iter().collect(),
        };
        let failed = "lifetimes of files cannot be written";
        let bytes = compressed(&stored)
            .or_error(ErrorKind::Internal, failed)
            .map_err(|error| error.at("table", table.path()))?;
        let put = table.store().put(&place(), bytes.into()).await;
        put.map(drop)
            .map_err(|error| table.storage_error(failed, error))
    }

    fn is_of(&self, latest: &Snapshot) -> bool {
        let live = self.files.values().filter(|life| life.went.is_none());
        let is_live = |path: &str| self.files.get(path).is_some_and(|f| f.went.is_none());
        self.through == latest.version
            && live.count() == latest.files.len()
            && latest.files.iter().all(|file| is_live(&file.path))
    }

    /// Goes on with a later version. Of versions between nothing is told.
    fn jump_to(&mut self, snapshot: &Snapshot) {
        let there: HashMap<&str, u64> = snapshot
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.size))
            .collect();
        for (path, lifetime) in &mut self.files {
            if lifetime.went.is_none() && !there.contains_key(path.as_str()) {
                lifetime.went = Some(snapshot.version);
            }
        }
        for (path, size) in there {
            self.add(path.to_owned(), size, snapshot.version);
        }
        self.through = snapshot.version;
    }

    /// Goes on by the commits up to a version.
    async fn follow(&mut self, table: &TableHandle, to: u64) -> Result<()> {
        let mut read = stream::iter(self.through + 1..=to)
            .map(|version| commit_files(table, version))
            .buffered(AT_ONCE);
        while let Some(commit) = read.try_next().await? {
            let CommitFiles {
                version,
                begins_anew,
                removed,
                added,
            } = commit;
            if begins_anew {
                for lifetime in self.files.values_mut() {
                    lifetime.went.get_or_insert(version);
                }
            }
            for path in removed {
                if let Some(lifetime) = self.files.get_mut(&path) {
                    lifetime.went.get_or_insert(version);
                }
            }
            for (path, size) in added {
                self.add(path, size, version);
            }
            self.through = version;
        }
        Ok(())
    }

    /// A file that comes again was never gone: it is needed rather for too long.
    fn add(&mut self, path: String, size: u64, version: u64) {
        let lifetime = self.files.entry(path).or_insert(Lifetime {
            size,
            came: version,
            went: None,
        });
        (lifetime.size, lifetime.went) = (size, None);
    }
}

impl Lifetime {
    fn meets(&self, versions: &BTreeSet<u64>) -> bool {
        let went = self.went.unwrap_or(u64::MAX);
        self.came < went && versions.range(self.came..went).next().is_some()
    }
}

/// Wanted versions in stretches: the first of each is opened, the others are told from the commits after it.
fn stretches(wanted: &BTreeSet<u64>, commits: &BTreeSet<u64>) -> Vec<RangeInclusive<u64>> {
    let mut stretches: Vec<RangeInclusive<u64>> = Vec::new();
    for version in wanted {
        match stretches.last_mut() {
            Some(stretch)
                if version - stretch.end() <= FOLLOWED
                    && has_all(commits, stretch.end() + 1, *version) =>
            {
                *stretch = *stretch.start()..=*version;
            }
            _ => stretches.push(*version..=*version),
        }
    }
    stretches
}

/// True if all versions from one to another are there; also where there are none between.
pub(crate) fn has_all(versions: &BTreeSet<u64>, from: u64, to: u64) -> bool {
    from > to || versions.range(from..=to).count() as u64 == to - from + 1
}

fn place() -> Path {
    Path::from(FOLDER).join(FILE)
}

fn compressed(stored: &StoredLifetimes) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.write_all(&serde_json::to_vec(stored)?)?;
    encoder.finish()
}

/// Lifetimes that are kept beside the table; `None` where there is nothing, or it is damaged.
async fn kept(table: &TableHandle) -> Result<Option<StoredLifetimes>> {
    let bytes = kept_bytes(table).await?;
    Ok(bytes.and_then(|bytes| decompressed(&bytes)))
}

async fn kept_bytes(table: &TableHandle) -> Result<Option<Bytes>> {
    let failed = |error| table.storage_error("lifetimes of files cannot be read", error);
    match table.store().get(&place()).await {
        Ok(found) => bounded_bytes(found).await.map(Some).map_err(failed),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        // Something else stands in the place of the folder: the list of the warehouse's own objects tells.
        Err(error) if is_below_a_file(&error) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// True if what should be a folder on the way to a file is none.
fn is_below_a_file(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let of_system = error.downcast_ref::<std::io::Error>();
        if of_system.is_some_and(|error| error.kind() == std::io::ErrorKind::NotADirectory) {
            return true;
        }
        next = error.source();
    }
    false
}

fn decompressed(bytes: &[u8]) -> Option<StoredLifetimes> {
    let json = zstd::stream::decode_all(bytes).ok()?;
    serde_json::from_slice(&json).ok()
}

/// The file of what is kept beside a table, below that, where it is damaged.
pub(crate) async fn damaged_file(table: &TableHandle) -> Result<Option<String>> {
    let bytes = kept_bytes(table).await?;
    let damaged = bytes.filter(|bytes| decompressed(bytes).is_none());
    Ok(damaged.map(|_| place().to_string()))
}

fn not_adding_up(table: &TableHandle, latest: &Snapshot) -> Error {
    let what = "a table's commits do not add up to its newest version";
    let error = Error::new(ErrorKind::Storage, what).at("table", table.path());
    error.at("version", latest.version.to_string())
}

async fn opened(table: &TableHandle, version: u64) -> Result<Snapshot> {
    table.unchecked(version).await?.ok_or_else(|| {
        Error::new(ErrorKind::Storage, "a table of the warehouse is gone").at("table", table.path())
    })
}

async fn commit_files(table: &TableHandle, version: u64) -> Result<CommitFiles> {
    let path = Path::from(LOG_FOLDER).join(commit_name(version));
    let failed = |error: object_store::Error| {
        table
            .storage_error("a commit of a table's log cannot be read", error)
            .at("version", version.to_string())
    };
    let bytes = table.store().get(&path).await.map_err(failed)?;
    let bytes = bytes.bytes().await.map_err(failed)?;
    let mut files = CommitFiles {
        version,
        begins_anew: makes_a_table(&bytes),
        removed: Vec::new(),
        added: Vec::new(),
    };
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let line: CommitLine = serde_json::from_slice(line).map_err(|error| {
            table
                .storage_error("a commit of a table's log is damaged", error)
                .at("version", version.to_string())
        })?;
        files
            .removed
            .extend(line.remove.map(|file| decoded(&file.path)));
        files
            .added
            .extend(line.add.map(|file| (decoded(&file.path), file.size)));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_versions_near_each_other_are_one_stretch() {
        let set = |versions: &[u64]| versions.iter().copied().collect::<BTreeSet<u64>>();
        let commits: BTreeSet<u64> = (50..=130).filter(|version| *version != 128).collect();
        let found = stretches(&set(&[3, 57, 58, 60, 120, 121, 130]), &commits);
        assert_eq!(found, [3..=3, 57..=60, 120..=121, 130..=130]);
        assert!(has_all(&commits, 60, 59) && has_all(&commits, 50, 127));
        assert!(!has_all(&commits, 127, 129));
    }

    #[test]
    fn a_file_is_needed_by_the_versions_from_its_coming_to_before_its_going() {
        let set = |versions: &[u64]| versions.iter().copied().collect::<BTreeSet<u64>>();
        let life = |came, went| Lifetime {
            size: 1,
            came,
            went,
        };
        assert!(life(3, Some(5)).meets(&set(&[4])));
        assert!(!life(3, Some(5)).meets(&set(&[2, 5])));
        assert!(life(3, None).meets(&set(&[9])) && !life(3, None).meets(&set(&[2])));
        assert!(!life(3, Some(3)).meets(&set(&[3])));
        let mut found = FileLifetimes::default();
        for (path, lifetime) in [("live", life(3, None)), ("gone", life(1, Some(5)))] {
            found.files.insert(path.to_owned(), lifetime);
        }
        assert!(!found.forget_but(|_| true) && found.forget_but(|_| false));
        assert!(found.is_needed("live", &set(&[3])) && !found.is_needed("gone", &set(&[3])));
        // Comes again: needed by everything since it came first.
        found.add("live".to_owned(), 2, 9);
        assert_eq!(found.needed(&set(&[4])), [("live".to_owned(), 2)]);
    }
}
