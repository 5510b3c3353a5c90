//! The files of a log by their names, and the diagnosis of one that the Delta library cannot read: the file that is missing or damaged, in one sentence.
//!
//! Invariant: the diagnosis runs only after the library has failed, so that a log that is sound costs nothing more; [`LogFiles`] asks the store nothing.

use crate::log::remedy::replace_log_file;
use crate::log::table::{TableHandle, commit_name};
use crate::store::denied::{LET_READ, is_denied};
use crate::store::durable::LOG_FOLDER;
use crate::store::failure::is_store_failure;
use crate::store::log_guard::{DAMAGED, LAST_CHECKPOINT, LostCheckpoint, check_lines, version_of};
use deltalake::{DeltaTable, DeltaTableError};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::collections::BTreeSet;
use tillhouse_model::{Error, ErrorKind};

/// Most gaps that a message names.
const NAMED: usize = 5;
/// Commits read at once.
const AT_ONCE: usize = 16;

/// The files of a log that count, by version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogFiles {
    pub(crate) commits: BTreeSet<u64>,
    pub(crate) checkpoints: BTreeSet<u64>,
}

impl LogFiles {
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut files = Self::default();
        for name in names {
            let (Some(number), Some((_, rest))) = (version_of(name), name.split_once('.')) else {
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

    /// The checkpoint that a reader of a version begins with.
    fn base(&self, version: u64) -> Option<u64> {
        self.checkpoints.range(..=version).next_back().copied()
    }

    /// Versions up to that one that are neither in a commit nor in the checkpoint its reader begins with, first and last of each gap.
    fn gaps(&self, until: u64) -> Vec<(u64, u64)> {
        let mut next = self.base(until).map_or(Some(0), |base| base.checked_add(1));
        let mut gaps = Vec::new();
        for version in self.commits.range(..=until) {
            let Some(first) = next.filter(|next| next <= version) else {
                continue;
            };
            if first < *version {
                gaps.push((first, version - 1));
            }
            next = version.checked_add(1);
        }
        gaps.extend(next.filter(|next| *next <= until).map(|next| (next, until)));
        gaps
    }

    /// True if a version could be told, were there a checkpoint of another one.
    fn is_told_by_checkpoint(&self, checkpoint: u64, version: u64) -> bool {
        let with = Self {
            commits: self.commits.clone(),
            checkpoints: self
                .checkpoints
                .iter()
                .copied()
                .chain([checkpoint])
                .collect(),
        };
        with.gaps(version).is_empty()
    }

    /// True if a version can be told from these files; `None` where they are those of versions from `start` on, and what is before them has to be known.
    pub(crate) fn reach(&self, start: u64, version: u64) -> Option<bool> {
        let is_told = self.base(version).is_some() || start == 0;
        is_told.then(|| self.gaps(version).is_empty())
    }
}

/// A checkpoint that is passed over: its files, by path below the store's root and size.
pub(super) struct PassedCheckpoint {
    name: String,
    files: Vec<(Path, u64)>,
}

impl PassedCheckpoint {
    /// The version that it is of.
    pub(super) fn version(&self) -> Option<u64> {
        version_of(&self.name)
    }
}

impl TableHandle {
    /// Reason that the library could not read the log, as far as its files tell; else what the library says.
    ///
    /// `version` is the one that could not be read, `None` the newest: a version is told from the checkpoint before it and the commits up to it, and
    /// nothing else is to blame.
    pub(crate) async fn unreadable_log(
        &self,
        version: Option<u64>,
        error: DeltaTableError,
    ) -> Error {
        match self.damage_of_log(version).await {
            Some(damage) => damage,
            None => self.log_error(error),
        }
    }

    /// A version, the newest where none is named, without the newest checkpoint before it, or the one before that, as soon as what is read `is_it`.
    /// `None` where it never is; then they are read again.
    pub(super) async fn past_checkpoints(
        &self,
        version: Option<u64>,
        is_it: impl Fn(&DeltaTable) -> bool,
    ) -> Option<DeltaTable> {
        let (found, passed) = self.told_without_checkpoints(version, is_it).await?;
        let names: Vec<&str> = passed.iter().map(|passed| passed.name.as_str()).collect();
        tracing::warn!(
            "{}: {} is damaged, or another table's, and passed over: the commits that it stands for are there. It may be deleted, with \
             _last_checkpoint beside it",
            self.path(),
            names.join(", ")
        );
        Some(found)
    }

    /// As [`TableHandle::past_checkpoints`], with the checkpoints that are passed over from now on, the newest first.
    pub(super) async fn told_without_checkpoints(
        &self,
        version: Option<u64>,
        is_it: impl Fn(&DeltaTable) -> bool,
    ) -> Option<(DeltaTable, Vec<PassedCheckpoint>)> {
        let mut passed = Vec::new();
        while let Some(checkpoint) = self.newest_checkpoint(version).await {
            self.trust(&checkpoint, false);
            passed.push(checkpoint);
            if let Ok(Some(found)) = self.load(version).await
                && is_it(&found)
            {
                return Some((found, passed));
            }
        }
        for checkpoint in &passed {
            self.trust(checkpoint, true);
        }
        None
    }

    /// From now on a checkpoint is used, or passed over.
    fn trust(&self, checkpoint: &PassedCheckpoint, is_trusted: bool) {
        for (location, size) in &checkpoint.files {
            self.checkpoints.trust(location.clone(), *size, is_trusted);
        }
    }

    /// The newest checkpoint up to a version that a reader would take.
    async fn newest_checkpoint(&self, version: Option<u64>) -> Option<PassedCheckpoint> {
        let listed: Vec<_> = self
            .store()
            .list(Some(&Path::from(LOG_FOLDER)))
            .try_collect()
            .await
            .ok()?;
        let root = Path::from_url_path(self.log_store().root_url().path()).ok()?;
        let mut newest: Option<(u64, PassedCheckpoint)> = None;
        for found in listed {
            let name = found.location.filename().unwrap_or_default().to_owned();
            let is_checkpoint = name.contains(".checkpoint.");
            let Some(number) = version_of(&name)
                .filter(|number| is_checkpoint && version.is_none_or(|version| *number <= version))
            else {
                continue;
            };
            let location: Path = root.parts().chain(found.location.parts()).collect();
            let file = (location, found.size);
            match &mut newest {
                Some((known, checkpoint)) if *known == number => checkpoint.files.push(file),
                Some((known, _)) if *known > number => {}
                _ => {
                    let files = vec![file];
                    newest = Some((number, PassedCheckpoint { name, files }));
                }
            }
        }
        newest.map(|(_, checkpoint)| checkpoint)
    }

    async fn damage_of_log(&self, version: Option<u64>) -> Option<Error> {
        let store = self.store();
        let log = Path::from(LOG_FOLDER);
        let listed: Result<Vec<_>, _> = store
            .list(Some(&log))
            .map_ok(|found| found.location)
            .try_collect()
            .await;
        let files = listed
            .ok()
            .map(|listed| LogFiles::of(listed.iter().filter_map(|path| path.filename())));
        let Some((files, newest)) = files.and_then(|files| {
            let newest = files.commits.last().copied()?;
            Some((files, newest))
        }) else {
            return self.misplaced_commit(|_| true);
        };
        // A checkpoint that lies beyond the newest commit is what a reader of the newest version begins with.
        let until = version
            .unwrap_or_else(|| newest.max(files.checkpoints.last().copied().unwrap_or_default()));
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
        let gaps = files.gaps(until);
        let is_wanted = |number: u64| {
            let mut ranges = gaps.iter().map(|(first, last)| *first..=*last);
            ranges.any(|gap| gap.contains(&number))
                || version.is_none() && number == newest.saturating_add(1)
        };
        if let Some(error) = self.misplaced_commit(is_wanted) {
            return Some(error);
        }
        // Vacuum removes the commits that a checkpoint stands for: where all from the first on are gone, it is the checkpoint that is lost.
        if gaps.first().is_some_and(|(first, _)| *first == 0)
            && let Some(lost) = self.lost_checkpoint().await
            && lost.version <= until
            && files.is_told_by_checkpoint(lost.version, until)
        {
            let what = match lost.is_there {
                true => "a checkpoint of a table's log is damaged",
                false => "a checkpoint of a table's log is missing",
            };
            return Some(error(what).at("file", checkpoint_name(lost.version)).hint(
                self.replace_commit(
                    " The commits before it are not there since it stands for them.",
                ),
            ));
        }
        if let Some((first, last)) = gaps.last() {
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
            // Without it there would be no table at all.
            let is_stray = *first > 0 && last + 1 == newest;
            let stray = match is_stray {
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
        let base = files.base(until);
        let after = |version: &&u64| **version <= until && base.is_none_or(|base| base < **version);
        for version in files.commits.iter().filter(after) {
            let name = commit_name(*version);
            if let Err(why) = self
                .check_commit_file(*version, &log.clone().join(name.as_str()))
                .await
            {
                if is_denied(&why) {
                    let what =
                        "a commit of a table's log may not be read by the user that runs this";
                    return Some(error(what).at("file", name).hint(LET_READ));
                }
                let what = format!("a commit of a table's log is damaged: {why}");
                return Some(error(&what).at("file", name).hint(self.replace_commit("")));
            }
        }
        // All commits are sound: it must be what stands for those that are not there any more.
        let checkpoint = checkpoint_name(base?);
        if let Err(why) = store.get(&log.join(checkpoint.as_str())).await
            && is_denied(&why.to_string())
        {
            let what = "a checkpoint of a table's log may not be read by the user that runs this";
            return Some(error(what).at("file", checkpoint).hint(LET_READ));
        }
        Some(
            error("a checkpoint of a table's log is damaged")
                .at("file", checkpoint)
                .hint(self.replace_commit("")),
        )
    }

    /// True if the log lacks commits, or one of those that a reader of the newest version needs is not what was written, or the log is another table's. Where the
    /// store does not give all of them, nothing is known.
    pub(crate) async fn has_damaged_log(&self) -> bool {
        let log = Path::from(LOG_FOLDER);
        let listed: Result<Vec<_>, _> = self.store().list(Some(&log)).try_collect().await;
        let (Ok(listed), Ok(root)) = (
            listed,
            Path::from_url_path(self.log_store().root_url().path()),
        ) else {
            // A link to a folder above it has no end.
            return self.misplaced_commit(|_| true).is_some();
        };
        let files = LogFiles::of(listed.iter().filter_map(|found| found.location.filename()));
        let Some(newest) = files.commits.last().copied() else {
            return self.misplaced_commit(|_| true).is_some();
        };
        if self.blocked_commit(newest.saturating_add(1)).is_some() {
            return true;
        }
        let until = newest.max(files.checkpoints.last().copied().unwrap_or_default());
        if !files.gaps(until).is_empty() {
            return true;
        }
        let base = files.base(until);
        let needed = |version: &&u64| base.is_none_or(|base| base < **version);
        for version in files.commits.iter().filter(needed) {
            let location = root.clone().join(LOG_FOLDER).join(commit_name(*version));
            match self.found_at(&location).await {
                Ok(Some(commit)) if check_lines(*version, &commit).is_err() => return true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
        // Commits that are whole may be another table's.
        let found = self.load(None).await;
        if !matches!(&found, Ok(Some(table)) if !self.is_own(table)) {
            return false;
        }
        let told = self.told_without_checkpoints(None, |table| self.is_own(table));
        told.await.is_none()
    }

    /// Versions whose commits are not there, or not what was written.
    ///
    /// Errors where the store does not give one.
    pub(crate) async fn damaged_commits(
        &self,
        versions: impl IntoIterator<Item = u64>,
    ) -> tillhouse_model::Result<BTreeSet<u64>> {
        let read = stream::iter(versions).map(|version| async move {
            let file = format!("{LOG_FOLDER}/{}", commit_name(version));
            let found = self.content_of(&file).await?;
            let is_sound = found.is_some_and(|commit| check_lines(version, &commit).is_ok());
            Ok::<_, Error>((!is_sound).then_some(version))
        });
        let read: Vec<Option<u64>> = read.buffered(AT_ONCE).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// The checkpoint that the log's note of the last one names, where it is missing or cut.
    async fn lost_checkpoint(&self) -> Option<LostCheckpoint> {
        let note = Path::from(LOG_FOLDER).join(LAST_CHECKPOINT);
        match self.store().get(&note).await {
            Err(object_store::Error::NotFound { source, .. }) => {
                source.downcast_ref::<LostCheckpoint>().copied()
            }
            _ => None,
        }
    }

    async fn check_commit_file(&self, version: u64, path: &Path) -> Result<(), String> {
        let bytes = match self.store().get(path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match bytes {
            // The store's failure, and not the file's.
            Err(error) if is_store_failure(&error) => Ok(()),
            Ok(bytes) => check_lines(version, &bytes),
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
        format!("{}{more}", replace_log_file(self.path()))
    }
}

pub(super) fn checkpoint_name(version: u64) -> String {
    format!("{version:020}.checkpoint.parquet")
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
        let files = LogFiles::of(names.iter().copied());
        let newest = files.commits.last().copied().unwrap_or_default();
        files.gaps(newest)
    }

    #[test]
    fn the_end_of_a_log_tells_its_newest_version_where_a_checkpoint_or_the_beginning_is_in_it() {
        let files = |commits: &[u64], checkpoints: &[u64]| LogFiles {
            commits: commits.iter().copied().collect(),
            checkpoints: checkpoints.iter().copied().collect(),
        };
        let end = [10, 11, 12, 14, 15];
        assert_eq!(files(&end[..3], &[10]).reach(10, 12), Some(true));
        assert_eq!(files(&end, &[10]).reach(10, 15), Some(false));
        assert_eq!(files(&end, &[13]).reach(10, 15), Some(true));
        assert_eq!(
            files(&end[..3], &[]).reach(10, 12),
            None,
            "what is before is not known"
        );
        assert_eq!(files(&end[..3], &[]).reach(0, 12), Some(false));
        assert_eq!(files(&[0, 1, 2], &[]).reach(0, 2), Some(true));
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
        let (older, checkpoints) = ([commit(21), commit(22), commit(24)], [10, 20, 50]);
        let mut files = LogFiles::of(older.iter().map(String::as_str));
        files.checkpoints.extend(checkpoints);
        assert_eq!(files.gaps(22), [], "what comes later does not count");
        assert_eq!(files.gaps(24), [(23, 23)]);
        assert_eq!(files.gaps(26), [(23, 23), (25, 26)]);
        assert_eq!(files.gaps(10), []);
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
