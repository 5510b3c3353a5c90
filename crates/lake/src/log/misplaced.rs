//! Places of tables, logs and commits in which something else stands: a folder for a commit's file, a pipe, a link that leads nowhere.
//!
//! Invariant: nothing is opened, and what cannot be looked at for want of a permission is not called misplaced. A listing shows none of these, and no commit
//! can take the name, so that a log with one would neither be read nor written: whoever asks is told, and the table may be set aside.

use crate::log::remedy::{replace_folder, replace_log_file};
use crate::log::snapshot::Snapshot;
use crate::log::table::{TableHandle, commit_name, commit_version};
use crate::store::durable::LOG_FOLDER;
use crate::store::misplaced::{self, Misplaced};
use std::path::PathBuf;
use tillhouse_model::{Error, ErrorKind};

impl TableHandle {
    /// Errors where something else stands in the place of the commit behind the newest version, as [`TableHandle::blocked_commit`] tells.
    pub(super) fn check_place_behind(
        &self,
        newest: Option<&Snapshot>,
    ) -> tillhouse_model::Result<()> {
        let next = newest.map_or(0, |newest| newest.version.saturating_add(1));
        match self.blocked_commit(next) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Error where something else than a file stands in the place of a version's commit, or something else than a folder in that of the log or the table, on
    /// a disk.
    pub(super) fn blocked_commit(&self, version: u64) -> Option<Error> {
        let log = self.log_place()?;
        if let Some(error) = self.blocked_log() {
            return Some(error);
        }
        let place = log.join(commit_name(version));
        let found = misplaced::for_file(&place)?;
        Some(self.misplaced(&found, "a commit of a table's log"))
    }

    /// Error where something else than a folder stands in the place of the folder that the table is in, of the table, or of its log, on a disk.
    pub(crate) fn blocked_log(&self) -> Option<Error> {
        let log = self.log_place()?;
        let of_table = log.parent();
        if let Some(found) = of_table.and_then(|table| misplaced::for_folder(table.parent()?)) {
            let hint = replace_folder(self.path());
            return Some(self.told(&found, "a folder of tables", hint));
        }
        let of_table = of_table.map(|table| (table, "a table's folder"));
        let mut places = of_table.into_iter().chain([(&*log, "a table's log")]);
        places.find_map(|(place, what)| {
            let found = misplaced::for_folder(place)?;
            Some(self.misplaced(&found, what))
        })
    }

    /// As [`TableHandle::blocked_commit`], of any of the versions that are meant.
    pub(super) fn misplaced_commit(&self, is_meant: impl Fn(u64) -> bool) -> Option<Error> {
        let entries = std::fs::read_dir(self.log_place()?).ok();
        let names = entries.into_iter().flatten().flatten();
        let mut versions = names
            .filter_map(|entry| commit_version(entry.file_name().to_str()?))
            .filter(|version| is_meant(*version));
        versions
            .find_map(|version| self.blocked_commit(version))
            .or_else(|| self.blocked_commit(0).filter(|_| is_meant(0)))
    }

    /// Reason that the log could not be listed: a link in it may lead in a circle.
    pub(super) fn unlisted(
        &self,
        what: &str,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        let misplaced = self.misplaced_commit(|_| true);
        misplaced.unwrap_or_else(|| self.storage_error(what, error))
    }

    /// Folder of the log; `None` in a bucket.
    fn log_place(&self) -> Option<PathBuf> {
        let root = self.log_store().root_url();
        let root = (root.scheme() == "file").then(|| root.to_file_path().ok());
        Some(root.flatten()?.join(LOG_FOLDER))
    }

    fn misplaced(&self, found: &Misplaced, what: &str) -> Error {
        let hint = replace_log_file(self.path());
        let hint = format!(
            "{hint} Where nothing was committed under that name, it is enough to take it away."
        );
        self.told(found, what, hint)
    }

    fn told(&self, found: &Misplaced, what: &str, hint: String) -> Error {
        let text = format!("{} stands in the place of {what}", found.kind);
        Error::new(ErrorKind::Storage, text)
            .at("table", self.path())
            .at("file", found.place.display().to_string())
            .hint(hint)
    }
}
