//! Data files that some versions of a table hold, read from its log.
//!
//! Invariant: what the log adds up to is compared with the newest snapshot; where they differ, nothing is said, and so nothing is deleted.
//!
//! ```text
//!   oldest wanted version --> its files
//!   every commit after it --> a file that goes was held by a wanted version, if one lies between its coming and its going
//!   newest version        --> must be what is left
//! ```

use crate::log::data_file::decoded;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::store::durable::LOG_FOLDER;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use tillhouse_model::{Error, ErrorKind, Result};

/// Commits read at once.
const AT_ONCE: usize = 16;

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
    removed: Vec<String>,
    added: Vec<(String, u64)>,
}

/// The data files of these versions of a table, with their sizes, of which the newest is `latest`. `commits` are those that are there.
///
/// Errors with [`ErrorKind::Storage`] where a version cannot be read, or the log contradicts itself.
pub(crate) async fn files_of_versions(
    table: &TableHandle,
    commits: &BTreeSet<u64>,
    versions: &BTreeSet<u64>,
    latest: &Snapshot,
) -> Result<HashMap<String, u64>> {
    let mut needed: HashMap<String, u64> = HashMap::new();
    let mut from = latest.version;
    while from > 0 && commits.contains(&from) {
        from -= 1;
    }
    // Versions before a gap in the commits are opened one by one; those after it are told from the commits.
    let base = versions
        .range(from..)
        .next()
        .copied()
        .unwrap_or(latest.version);
    for version in versions.range(..base) {
        let snapshot = opened(table, *version).await?;
        needed.extend(
            snapshot
                .files
                .iter()
                .map(|file| (file.path.clone(), file.size)),
        );
    }
    let first = opened(table, base).await?;
    // Size of each file, and the version it came with.
    let mut live: HashMap<String, (u64, u64)> = first
        .files
        .iter()
        .map(|file| (file.path.clone(), (file.size, base)))
        .collect();
    let mut read = stream::iter(base + 1..=latest.version)
        .map(|version| commit_files(table, version))
        .buffered(AT_ONCE);
    while let Some(CommitFiles {
        version,
        removed,
        added,
    }) = read.try_next().await?
    {
        for path in removed {
            if let Some((size, came)) = live.remove(&path)
                && versions.range(came..version).next().is_some()
            {
                needed.insert(path, size);
            }
        }
        live.extend(
            added
                .into_iter()
                .map(|(path, size)| (path, (size, version))),
        );
    }
    let is_sound = live.len() == latest.files.len()
        && latest
            .files
            .iter()
            .all(|file| live.contains_key(&file.path));
    if !is_sound {
        return Err(Error::new(
            ErrorKind::Storage,
            "a table's commits do not add up to its newest version",
        )
        .at("table", table.path())
        .at("version", latest.version.to_string()));
    }
    needed.extend(live.into_iter().map(|(path, (size, _))| (path, size)));
    Ok(needed)
}

async fn opened(table: &TableHandle, version: u64) -> Result<Snapshot> {
    table.unchecked(version).await?.ok_or_else(|| {
        Error::new(ErrorKind::Storage, "a table of the warehouse is gone").at("table", table.path())
    })
}

async fn commit_files(table: &TableHandle, version: u64) -> Result<CommitFiles> {
    let path = Path::from(LOG_FOLDER).join(format!("{version:020}.json"));
    let failed = |error: object_store::Error| {
        table
            .storage_error("a commit of a table's log cannot be read", error)
            .at("version", version.to_string())
    };
    let bytes = table.store().get(&path).await.map_err(failed)?;
    let bytes = bytes.bytes().await.map_err(failed)?;
    let mut files = CommitFiles {
        version,
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
