//! Diagnosis of a log that the Delta library cannot read: the file that is missing or damaged, in one sentence.
//!
//! Invariant: runs only after the library has failed, so that a log that is sound costs nothing more.

use crate::log::remedy::replace_file;
use crate::log::table::TableHandle;
use crate::store::durable::LOG_FOLDER;
use crate::store::log_guard::{DAMAGED, check_lines};
use deltalake::DeltaTableError;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::collections::BTreeSet;
use tillhouse_model::{Error, ErrorKind};

/// Most gaps that a message names.
const NAMED: usize = 5;

/// The files of a log that count, by version.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LogFiles {
    pub(crate) commits: BTreeSet<u64>,
    pub(crate) checkpoints: BTreeSet<u64>,
}

impl LogFiles {
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut files = Self::default();
        for name in names {
            let Some((version, rest)) = name.split_once('.') else {
                continue;
            };
            let Some(number) = Some(version)
                .filter(|text| text.len() == 20)
                .and_then(|text| text.parse().ok())
            else {
                continue;
            };
            match rest {
                "json" => files.commits.insert(number),
                "checkpoint.parquet" => files.checkpoints.insert(number),
                _ => continue,
            };
        }
        files
    }

    /// The checkpoint a reader of the newest version begins with.
    fn base(&self) -> Option<u64> {
        self.checkpoints.last().copied()
    }

    /// Versions below the newest commit that are neither in a commit nor in a checkpoint, first and last of each gap.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let mut next = self.base().map_or(0, |base| base.saturating_add(1));
        let mut gaps = Vec::new();
        for version in self.commits.range(next..) {
            if next < *version {
                gaps.push((next, version - 1));
            }
            next = version.saturating_add(1);
        }
        gaps
    }
}

fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

impl TableHandle {
    /// Why the library could not read the log, as far as its files tell; else what the library says.
    pub(crate) async fn unreadable_log(&self, error: DeltaTableError) -> Error {
        match self.damage_of_log().await {
            Some(damage) => damage,
            None => self.log_error(error),
        }
    }

    async fn damage_of_log(&self) -> Option<Error> {
        let store = self.store();
        let log = Path::from(LOG_FOLDER);
        let listed: Vec<_> = store
            .list(Some(&log))
            .map_ok(|found| found.location)
            .try_collect()
            .await
            .ok()?;
        let files = LogFiles::of(listed.iter().filter_map(|path| path.filename()));
        let newest = files.commits.last().copied()?;
        let folder = self.log_store().root_url().join(LOG_FOLDER).ok()?;
        let path = Some(&folder)
            .filter(|folder| folder.scheme() == "file")
            .and_then(|folder| folder.to_file_path().ok());
        let folder = path.map_or_else(|| folder.to_string(), |path| path.display().to_string());
        let error = |what: &str| {
            Error::new(ErrorKind::Storage, what)
                .at("table", self.path())
                .at("folder", &folder)
        };
        let gaps = files.gaps();
        if let Some((_, last)) = gaps.last() {
            let mut named: Vec<String> = gaps.iter().take(NAMED).map(gap_name).collect();
            if gaps.len() > NAMED {
                named.push(format!("{} more gaps", gaps.len() - NAMED));
            }
            let one = gaps.iter().all(|(first, last)| first == last) && gaps.len() == 1;
            let what = if one {
                "a commit is missing in a table's log"
            } else {
                "commits are missing in a table's log"
            };
            let stray = match last + 1 == newest {
                true => format!(
                    " If {} was put there by mistake, take it away.",
                    commit_name(newest)
                ),
                false => String::new(),
            };
            return Some(
                error(what)
                    .at("missing", named.join(", "))
                    .hint(self.replace_commit(&stray)),
            );
        }
        for version in files
            .commits
            .range(files.base().map_or(0, |base| base.saturating_add(1))..)
        {
            let name = commit_name(*version);
            if let Err(why) = self
                .check_commit_file(&log.clone().join(name.as_str()))
                .await
            {
                let what = format!("a commit of a table's log is damaged: {why}");
                return Some(error(&what).at("file", name).hint(self.replace_commit("")));
            }
        }
        // All commits are sound: it must be the short cut.
        let base = files.base().filter(|base| {
            files.commits.range(..=*base).count() as u64 == base.saturating_add(1)
        })?;
        Some(error("a checkpoint of a table's log is damaged").at("file", format!("{base:020}.checkpoint.parquet")).hint(
            "Take that file and _last_checkpoint out of the folder: the commits it stands for are all there, and are read instead.",
        ))
    }

    async fn check_commit_file(&self, path: &Path) -> Result<(), String> {
        let bytes = match self.store().get(path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match bytes {
            Ok(bytes) => check_lines(&bytes),
            // Of an error of the guard the inner part is the sentence, and its end the reason.
            Err(object_store::Error::Generic { source, .. }) => {
                let text = source.to_string();
                Err(text
                    .split_once(DAMAGED)
                    .map_or_else(|| text.clone(), |(_, why)| why.to_owned()))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn replace_commit(&self, more: &str) -> String {
        format!("{}{more}", replace_file(self.path()))
    }
}

fn gap_name((first, last): &(u64, u64)) -> String {
    match first == last {
        true => commit_name(*first),
        false => format!("{} to {}", commit_name(*first), commit_name(*last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(names: &[&str]) -> Vec<(u64, u64)> {
        LogFiles::of(names.iter().copied()).gaps()
    }

    #[test]
    fn gaps_are_those_that_no_checkpoint_stands_for() {
        let commit = |version: u64| commit_name(version);
        let of = |versions: &[u64], others: &[&str]| {
            let names: Vec<String> = versions
                .iter()
                .map(|v| commit(*v))
                .chain(others.iter().map(|name| (*name).to_owned()))
                .collect();
            gaps(&names.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let checkpoint = ["00000000000000000010.checkpoint.parquet"];
        assert_eq!(of(&[0, 1, 2], &[]), []);
        assert_eq!(of(&[1, 2], &[]), [(0, 0)]);
        assert_eq!(of(&[0, 2, 3, 9], &[]), [(1, 1), (4, 8)]);
        assert_eq!(
            of(&[8, 10, 11], &checkpoint),
            [],
            "a checkpoint stands for what is below it"
        );
        assert_eq!(of(&[10, 12], &checkpoint), [(11, 11)]);
        assert_eq!(of(&[11, 12], &checkpoint), []);
        assert_eq!(
            of(
                &[0, 1],
                &[
                    "2.json",
                    "00000000000000000001.crc",
                    "x",
                    "_last_checkpoint"
                ]
            ),
            []
        );
        assert_eq!(of(&[0, u64::MAX], &[]), [(1, u64::MAX - 1)]);
        // A part of a checkpoint alone is none.
        assert_eq!(
            of(
                &[1],
                &["00000000000000000010.checkpoint.0000000001.0000000002.parquet"]
            ),
            [(0, 0)]
        );
    }
}
