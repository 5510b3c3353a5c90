//! Checkpoints of a table's log: written, read back, and proved before the commits go that they stand for.
//!
//! Invariant: a checkpoint is proved by what the store has of it. Neither what this process knows of the version counts, nor the commits that a reader falls
//! back to where a checkpoint is damaged: these are what is about to go.

use crate::log::damage::{LogFiles, PassedCheckpoint, checkpoint_name};
use crate::log::remedy::{PASSED_OVER, remedy, replace_file};
use crate::log::snapshot::Snapshot;
use crate::log::table::{CHECKPOINT_EVERY, TableHandle, commit_name, files_of};
use crate::store::checkpoint_seal;
use crate::store::durable::LOG_FOLDER;
use crate::store::failure::is_store_failure;
use crate::store::log_guard::{LAST_CHECKPOINT, version_of};
use bytes::Bytes;
use deltalake::DeltaTable;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::collections::BTreeSet;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Beginning of the paths of tables that are begun anew behind a log that is there.
const BEGUN_ANEW: &str = "statistics/";
/// Operation of a commit that makes a table where there is none, as Delta's commits name it.
const MADE: &str = "CREATE TABLE";

impl TableHandle {
    /// Writes a checkpoint when the table is due for one. It is apart from the commit, which is durable already: a failure is
    /// logged and the next one due makes up for it.
    pub(crate) async fn checkpoint_if_due(&self, version: u64) {
        if version == 0 || !version.is_multiple_of(CHECKPOINT_EVERY) {
            return;
        }
        if let Err(error) = self.checkpoint(version).await {
            tracing::warn!(table = %self.path(), version, %error, "no checkpoint written");
        }
    }

    /// Writes a checkpoint of a version.
    pub(crate) async fn checkpoint(&self, version: u64) -> Result<()> {
        let table = self.at_version_by_library(version).await?;
        deltalake::checkpoints::create_checkpoint(&table, None)
            .await
            .map_err(|error| self.storage_error("a checkpoint cannot be written", error))
    }

    /// Writes a checkpoint of an earlier version and reads it back, so that the commits before it are not needed for that version any more.
    /// Readers of the newest version are pointed where they were.
    pub(crate) async fn checkpoint_apart(&self, version: u64) -> Result<()> {
        let before = self.by_library(version).await?;
        self.checkpoint(version).await?;
        if let Ok(after) = self.by_checkpoint(version).await?
            && holds_same(&before, &after)
        {
            return Ok(());
        }
        let deleted = self.store().delete(&place(version)).await;
        deleted.map_err(|error| {
            self.storage_error("a checkpoint that is wrong cannot be deleted", error)
        })?;
        Err(self.checkpoint_error("a checkpoint does not hold what its commits say", version))
    }

    /// Errors unless a checkpoint can be read, and says what the commits say that it stands for, as far as these are there. One that is damaged is written anew
    /// from them, and read back. `log` are the files that are there.
    pub(crate) async fn prove_checkpoint(&self, version: u64, log: &LogFiles) -> Result<()> {
        if self.begins_anew(version).await? {
            self.trust_checkpoint(version).await?;
            return self.by_checkpoint(version).await?.map(drop);
        }
        let mut others = log.clone();
        others.checkpoints.remove(&version);
        self.trust_checkpoint(version).await?;
        let told = self
            .told_without_checkpoints(Some(version), |_| true)
            .await
            .map(|(table, _)| self.snapshot_of(&table))
            .transpose()?;
        if told.is_none() {
            // What is damaged tells no more than what is gone.
            for (file, _) in self.damaged_checkpoints().await? {
                if let Some(damaged) = damaged_version(&file) {
                    others.checkpoints.remove(&damaged);
                }
            }
            let behind = log.commits.range(..=version).copied();
            for damaged in self.damaged_commits(behind).await? {
                others.commits.remove(&damaged);
            }
            if others.reach(0, version) == Some(true) {
                return Err(self.checkpoint_error(
                    "the commits that a checkpoint stands for cannot be read",
                    version,
                ));
            }
        }
        self.trust_checkpoint(version).await?;
        let damage = match (self.by_checkpoint(version).await?, &told) {
            (Ok(found), Some(told)) if !holds_same(&found, told) => {
                return Err(self
                    .checkpoint_error("a checkpoint does not hold what its commits say", version));
            }
            (Ok(_), _) => return Ok(()),
            (Err(damage), _) => damage,
        };
        match told {
            Some(told) => self.write_anew(version, &told, damage).await,
            None => Err(damage),
        }
    }

    /// Checkpoints that readers pass over, by their files below the table, each with what is wrong with it: those that are cut or not what was written, and the
    /// log's note of the last one, where that is no note or what it names is missing. All are read whole.
    pub(crate) async fn damaged_checkpoints(&self) -> Result<Vec<(String, String)>> {
        let failed = |error: object_store::Error| {
            self.storage_error("a checkpoint of a table's log cannot be read", error)
        };
        let log = Path::from_url_path(self.log_store().root_url().path())
            .or_error(ErrorKind::Config, "a table's path is not possible")?
            .join(LOG_FOLDER);
        // Read before the checkpoints are listed: one that it names was there by then.
        let note = self.found_at(&log.clone().join(LAST_CHECKPOINT)).await;
        let note = note.map_err(failed)?;
        let listed: Vec<_> = self
            .unguarded
            .list(Some(&log))
            .try_collect()
            .await
            .map_err(failed)?;
        let (mut there, mut damaged) = (BTreeSet::new(), Vec::new());
        for found in listed {
            let name = found.location.filename().unwrap_or_default();
            let checkpoints = LogFiles::of(std::iter::once(name)).checkpoints;
            if checkpoints.is_empty() {
                continue;
            }
            there.extend(checkpoints);
            // Where another process has removed it since, there is nothing to say.
            if let Some(bytes) = self.found_at(&found.location).await.map_err(failed)?
                && let Some(what) = checkpoint_seal::damage_of(&bytes)
            {
                damaged.push((in_log(name), what.to_owned()));
            }
        }
        let what = note.and_then(|note| damage_of_note(&note, &there));
        damaged.extend(what.map(|what| (in_log(LAST_CHECKPOINT), what)));
        Ok(damaged)
    }

    /// True if a damaged checkpoint can be written anew from the commits that it stands for. It is passed over from then on. One of a table
    /// that may have been begun anew stands for no commits.
    pub(crate) async fn can_be_mended(&self, version: u64) -> bool {
        if self.path().starts_with(BEGUN_ANEW) || self.pass_over(version).await.is_err() {
            return false;
        }
        matches!(self.load(Some(version)).await, Ok(Some(_)))
    }

    /// Writes checkpoints anew that readers pass over, and removes the log's note of the last one where it is damaged: readers list the log
    /// then, and the next checkpoint writes it. A checkpoint whose commits are gone or damaged stays as it is. All are read whole.
    ///
    /// Errors where the store fails.
    pub(crate) async fn mend_checkpoints(&self) -> Result<()> {
        for (file, _) in self.damaged_checkpoints().await? {
            let Some(version) = damaged_version(&file) else {
                let deleted = self.store().delete(&Path::from(file.as_str())).await;
                if let Err(error) = deleted
                    && !matches!(error, object_store::Error::NotFound { .. })
                {
                    let what = "the note of a log's last checkpoint cannot be deleted";
                    return Err(self.storage_error(what, error));
                }
                tracing::warn!("{}: {file} was damaged, and is removed", self.path());
                continue;
            };
            self.mend(version).await?;
        }
        self.mend_foreign().await
    }

    /// Writes checkpoints anew that are another table's, where what the newest run keeps of this one tells so. Where it cannot be told,
    /// whoever needs it says so.
    async fn mend_foreign(&self) -> Result<()> {
        let Some(kept) = self.offered().and_then(|kept| kept.open().ok()) else {
            return Ok(());
        };
        let is_other = |read: &Snapshot| files_of(read) != files_of(&kept);
        let is_foreign = match self.load(Some(kept.version)).await {
            // One that names another table would be passed over by who reads the log.
            Ok(Some(table)) if !self.is_own(&table) => true,
            Ok(Some(table)) => self.snapshot_of(&table).is_ok_and(|read| is_other(&read)),
            Ok(None) | Err(_) => {
                let read = self.by_library(kept.version).await;
                read.is_ok_and(|read| is_other(&read))
            }
        };
        if !is_foreign {
            return Ok(());
        }
        for version in self.foreign_checkpoints(&kept).await {
            self.mend(version).await?;
        }
        Ok(())
    }

    /// Writes a checkpoint anew, where it can be.
    async fn mend(&self, version: u64) -> Result<()> {
        if !self.can_be_mended(version).await {
            return Ok(());
        }
        let told = self.by_library(version).await?;
        let damage = "a checkpoint of a table's log is damaged";
        let damage = self.checkpoint_error(damage, version);
        self.write_anew(version, &told, damage).await
    }

    /// Versions of checkpoints without which the log tells a version as a run keeps it, and with which it does not. They are passed over
    /// from then on.
    async fn foreign_checkpoints(&self, kept: &Snapshot) -> Vec<u64> {
        let is_it = |table: &DeltaTable| {
            self.snapshot_of(table)
                .is_ok_and(|read| files_of(&read) == files_of(kept))
        };
        let told = self.told_without_checkpoints(Some(kept.version), is_it);
        let passed = told.await.map(|(_, passed)| passed).unwrap_or_default();
        passed
            .iter()
            .filter_map(PassedCheckpoint::version)
            .collect()
    }

    /// Error of a log that says something else of a version than a published run keeps of it, which may be due to a checkpoint.
    pub(super) async fn other_log(&self, kept: &Snapshot) -> Error {
        let error = |what| {
            Error::new(ErrorKind::Storage, what)
                .at("table", self.path())
                .at("version", kept.version.to_string())
        };
        let foreign = self.foreign_checkpoints(kept).await;
        if foreign.is_empty() {
            let what = "a table's log does not say what it did when the table was published";
            return error(what).hint(remedy(self.path()));
        }
        let names: Vec<String> = foreign.into_iter().map(checkpoint_name).collect();
        let hint = match self.path().starts_with(BEGUN_ANEW) {
            true => remedy(self.path()),
            false => PASSED_OVER.to_owned(),
        };
        error("a checkpoint of a table's log is damaged, or another table's")
            .at("file", names.join(", "))
            .hint(hint)
    }

    /// Content of a file below the table, as the store has it; `None` where there is none.
    pub(crate) async fn content_of(&self, file: &str) -> Result<Option<Bytes>> {
        let root = Path::from_url_path(self.log_store().root_url().path())
            .or_error(ErrorKind::Config, "a table's path is not possible")?;
        let file =
            Path::parse(file).or_error(ErrorKind::Storage, "a data file has an impossible path")?;
        let location: Path = root.parts().chain(file.parts()).collect();
        let found = self.found_at(&location).await;
        found.map_err(|error| self.storage_error("a table's file cannot be read", error))
    }

    /// Content of a file of the store, as it is; `None` where there is none.
    pub(super) async fn found_at(&self, location: &Path) -> object_store::Result<Option<Bytes>> {
        match self.unguarded.get(location).await {
            Ok(file) => file.bytes().await.map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// True if a version is the first of a table that was begun anew: its checkpoint stands for nothing that is before it in the log.
    async fn begins_anew(&self, version: u64) -> Result<bool> {
        if version == 0 {
            return Ok(false);
        }
        let commit = self.content_of(&in_log(&commit_name(version))).await?;
        Ok(commit.is_some_and(|commit| makes_a_table(&commit)))
    }

    /// From now on a checkpoint is passed over.
    async fn pass_over(&self, version: u64) -> Result<()> {
        let (location, size) = self.stored_checkpoint(version).await?;
        self.checkpoints.trust(location, size, false);
        Ok(())
    }

    /// Writes a damaged checkpoint anew from its commits, and reads it back.
    async fn write_anew(&self, version: u64, told: &Snapshot, damage: Error) -> Result<()> {
        // Passed over, so that the library reads the commits and does not take it for written.
        self.pass_over(version).await?;
        self.checkpoint(version).await?;
        self.trust_checkpoint(version).await?;
        match self.by_checkpoint(version).await? {
            Ok(found) if holds_same(&found, told) => {
                tracing::warn!(
                    "{}: {} was damaged, and is written anew from the commits it stands for",
                    self.path(),
                    checkpoint_name(version)
                );
                Ok(())
            }
            _ => Err(damage),
        }
    }

    /// A version by its own checkpoint, as the store has it; what is wrong with that one where it cannot be read.
    ///
    /// Errors where the store fails.
    async fn by_checkpoint(&self, version: u64) -> Result<Result<Snapshot>> {
        self.checkpoints.read_again();
        match self.load(Some(version)).await {
            Ok(Some(table)) => Ok(self.snapshot_of(&table)),
            Ok(None) => Err(Error::internal("a version is no table")),
            Err(error) if is_store_failure(&error) => Err(self.log_error(error)),
            Err(error) => Ok(Err(self
                .checkpoint_error("a checkpoint of a table's log is damaged", version)
                .because(error))),
        }
    }

    /// From now on a checkpoint is used, whoever found it wrong before.
    async fn trust_checkpoint(&self, version: u64) -> Result<()> {
        let (location, size) = self.stored_checkpoint(version).await?;
        self.checkpoints.trust(location, size, true);
        Ok(())
    }

    /// Path of a checkpoint below the store's root, and its size.
    async fn stored_checkpoint(&self, version: u64) -> Result<(Path, u64)> {
        let found = self.store().head(&place(version)).await;
        let found =
            found.map_err(|error| self.storage_error("a table's log cannot be read", error))?;
        let root = Path::from_url_path(self.log_store().root_url().path())
            .or_error(ErrorKind::Config, "a table's path is not possible")?;
        // What a store below the table's root says of a file's place is not the same for one file as in a listing.
        let location = root.parts().chain(place(version).parts()).collect();
        Ok((location, found.size))
    }

    fn checkpoint_error(&self, what: &str, version: u64) -> Error {
        Error::new(ErrorKind::Storage, what)
            .at("table", self.path())
            .at("file", checkpoint_name(version))
            .hint(replace_file(self.path()))
    }
}

/// True for a commit that makes a table, as its first line tells. Another one may have a protocol too, as that of an upgrade.
pub(crate) fn makes_a_table(commit: &[u8]) -> bool {
    let first = commit.split(|byte| *byte == b'\n').next();
    let line = first.and_then(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    line.is_some_and(|line| line["commitInfo"]["operation"] == MADE)
}

/// Version of a checkpoint, by its file below the table; `None` for the note of the last one.
pub(crate) fn damaged_version(file: &str) -> Option<u64> {
    version_of(file.rsplit('/').next().unwrap_or_default())
}

/// Path of a log's file below the table.
fn in_log(name: &str) -> String {
    format!("{LOG_FOLDER}/{name}")
}

/// Damage of the note of the last checkpoint, where these checkpoints are there. Those of other forms are other programs'.
fn damage_of_note(note: &[u8], there: &BTreeSet<u64>) -> Option<String> {
    let said: serde_json::Value = serde_json::from_slice(note).unwrap_or_default();
    match said["version"].as_u64() {
        None => Some("is cut, or no note of a checkpoint".to_owned()),
        Some(version) => {
            let is_plain = said["parts"].is_null() && said["v2Checkpoint"].is_null();
            (is_plain && !there.contains(&version))
                .then(|| format!("names the checkpoint of version {version}, which is missing"))
        }
    }
}

/// Place of a checkpoint below its table's root.
fn place(version: u64) -> Path {
    Path::from(LOG_FOLDER).join(checkpoint_name(version))
}

/// True if two snapshots have the same files and columns.
fn holds_same(one: &Snapshot, other: &Snapshot) -> bool {
    files_of(one) == files_of(other) && one.schema() == other.schema()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_begun_anew_by_the_commit_that_makes_it_and_by_no_other_that_has_a_protocol() {
        let protocol = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#;
        let commit = |first: &str| format!("{first}\n{protocol}\n");
        let made = commit(r#"{"commitInfo":{"operation":"CREATE TABLE"}}"#);
        assert!(makes_a_table(made.as_bytes()));
        for other in [
            r#"{"commitInfo":{"operation":"WRITE"}}"#,
            r#"{"commitInfo":{"operation":"UPGRADE PROTOCOL"}}"#,
            r#"{"commitInfo":{}}"#,
            r#"{"add":{"operation":"CREATE TABLE"}}"#,
            r#"{"commitInfo":{"operation":"CREATE"#,
            "",
        ] {
            assert!(!makes_a_table(commit(other).as_bytes()), "{other}");
        }
    }
}
