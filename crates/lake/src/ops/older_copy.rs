//! Bookkeeping that is older than the tables, as where the folder `ops` was put back from an older copy.
//!
//! Invariant: it is told by commits alone, each of which names the run that was published last when it was made: where bookkeeping does not
//! know that run, it is older. A run that is under way or was cut short names one that bookkeeping knows. So a copy from before the last
//! published run alone looks like a run that was cut short. Where the rest of bookkeeping was written by that run or behind it, the list of
//! runs alone is older: whoever answers from it says so, and is not refused.

use crate::log::base_run::{KnownTo, is_bookkeeping};
use crate::log::registry::OPENED;
use crate::log::table::commit_name;
use crate::log::table_version::TableVersion;
use crate::ops::edit::OpsTables;
use crate::ops::row_codec::{BookkeepingRow, NumberedRun};
use crate::ops::rows::RunRecord;
use crate::store::durable::LOG_FOLDER;
use crate::store::log_guard::LAST_CHECKPOINT;
use crate::store::special_file::read_regular;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeSet;
use std::path::Path;
use tillhouse_model::{Error, ErrorKind, Result};

/// Tables that are named; the rest is counted.
const NAMED: usize = 3;
/// The way out.
const HINT: &str = "The folder ops was put back from an older copy, or the tables from a newer one. Put back the ops that belongs to the tables; where there is none, \
     run `tillhouse sync`, of all pipelines: it publishes the tables as they are, and reads again what is not noted as read. Until then `--as-of RUN` answers from an earlier run.";

/// Table with commits behind the version that the newest run names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AheadTable {
    /// Its path below the warehouse.
    pub path: String,
    /// The version the run names.
    pub named: u64,
    /// Its newest version.
    pub found: u64,
}

impl AheadTable {
    /// The table, where it is ahead of what a run names, and is not bookkeeping itself.
    pub(crate) fn of(path: &str, named: &TableVersion, found: u64) -> Option<Self> {
        let named = named.newest();
        (found > named && !is_bookkeeping(path)).then(|| Self {
            path: path.to_owned(),
            named,
            found,
        })
    }
}

/// Bookkeeping that does not know a published run which tables were written behind.
#[derive(Debug)]
pub struct OlderCopy {
    error: Error,
    /// True where other bookkeeping knows the run.
    is_of_runs_alone: bool,
    /// True where this process has not met it before.
    is_new: bool,
}

impl OlderCopy {
    /// True where only the list of runs is older, as in a copy that was made while runs were published: answers from the newest run there
    /// are old, and right.
    pub fn is_of_runs_alone(&self) -> bool {
        self.is_of_runs_alone
    }

    /// The error, for whoever cannot go on with it.
    pub fn into_error(self) -> Error {
        self.error
    }

    /// A warning in the error's words.
    pub fn warn(&self) {
        tracing::warn!(
            "{}. {}",
            self.error,
            self.error.hint_text().unwrap_or_default()
        );
    }
}

impl OpsTables {
    /// Bookkeeping that is older than tables that are `ahead` of the newest run: these were written behind a published run that `ops/runs`
    /// does not know; `None` where it knows all. Where no table is ahead, nothing is asked, and the last commits of each that is as a rule.
    ///
    /// Errors with [`ErrorKind::Storage`] where the store gives no answer.
    pub async fn older_copy(
        &self,
        newest: &RunRecord,
        ahead: &[AheadTable],
    ) -> Result<Option<OlderCopy>> {
        let named = stream::iter(ahead).map(|table| async move {
            let handle = self.registry.table(&table.path)?;
            let runs = handle.base_runs_between(table.named, table.found).await?;
            Ok::<_, Error>((table, runs))
        });
        let mut unknown: Vec<(&AheadTable, Vec<String>)> =
            named.buffered(OPENED).try_collect().await?;
        let known = BTreeSet::from([newest.run_id.clone()]);
        leave_unknown(&mut unknown, &known);
        if unknown.is_empty() {
            return Ok(None);
        }
        // Others may have published since.
        self.registry.table(NumberedRun::TABLE)?.is_overtaken();
        let heads = self.run_heads().await?;
        let known = heads.into_iter().map(|run| run.run_id).collect();
        leave_unknown(&mut unknown, &known);
        let Some(run) = unknown.first().and_then(|(_, runs)| runs.first()) else {
            return Ok(None);
        };
        let runs: BTreeSet<&str> = unknown
            .iter()
            .flat_map(|(_, runs)| runs.iter().map(String::as_str))
            .collect();
        let is_of_runs_alone = self.is_known_beside_runs(&runs).await?;
        let known_to = match is_of_runs_alone {
            true => KnownTo::Bookkeeping,
            false => KnownTo::Tables,
        };
        // What is committed all the same must not hide it, should it be cut short before it is published.
        let is_new = self.registry.base_run().found_in_table(run, known_to);
        Ok(Some(OlderCopy {
            error: error_of(newest, &unknown, is_of_runs_alone),
            is_of_runs_alone,
            is_new,
        }))
    }

    /// True if bookkeeping beside `ops/runs` was written by each of these runs, or behind it, as its newest commits tell.
    async fn is_known_beside_runs(&self, runs: &BTreeSet<&str>) -> Result<bool> {
        let mut found = BTreeSet::new();
        for path in Self::named_tables() {
            let table = self.registry.table(path)?;
            found.extend(table.runs_of_newest_commits().await?);
            if runs.iter().all(|run| found.contains(*run)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Errors where bookkeeping is older, as [`OpsTables::older_copy`] tells, for whoever answers from the newest run: looks for commits
    /// behind it on a disk, without a request. In a bucket nothing is looked for. Where the list of runs alone is older, that is said once.
    pub async fn refuse_older_copy(&self, newest: &RunRecord) -> Result<()> {
        match self.older_copy_on_disk(newest).await? {
            Some(older) if older.is_of_runs_alone => {
                if older.is_new {
                    older.warn();
                }
                Ok(())
            }
            Some(older) => Err(older.error),
            None => Ok(()),
        }
    }

    async fn older_copy_on_disk(&self, newest: &RunRecord) -> Result<Option<OlderCopy>> {
        let url = self.registry.url();
        let root = (url.scheme() == "file").then(|| url.to_file_path().ok());
        let Some(root) = root.flatten() else {
            return Ok(None);
        };
        let tables = newest.tables.iter();
        let ahead: Vec<AheadTable> = tables
            .filter(|(path, _)| !is_bookkeeping(path))
            .filter_map(|(path, named)| {
                let found = newest_on_disk(&root.join(path).join(LOG_FOLDER), named.newest());
                AheadTable::of(path, named, found)
            })
            .collect();
        self.older_copy(newest, &ahead).await
    }

    /// Errors where bookkeeping is older, if only its list of runs, for whoever deletes what no run needs, in a bucket too: it knows
    /// nothing of what newer runs need. A table that cannot be read is told of by whoever needs it.
    pub(crate) async fn refuse_upkeep_by_older_copy(&self) -> Result<()> {
        // Of a run whose record is lost the note tells what it needs.
        let (Some(newest), None) = self.newest_published().await? else {
            return Ok(());
        };
        let older = match self.registry.url().scheme() {
            "file" => self.older_copy_on_disk(&newest).await?,
            _ => {
                let tables = newest.tables.iter();
                let tables: Vec<(&String, &TableVersion)> =
                    tables.filter(|(path, _)| !is_bookkeeping(path)).collect();
                let looked_at = stream::iter(tables).map(|(path, named)| async move {
                    let found = self.registry.table(path).ok()?.latest().await.ok()??;
                    AheadTable::of(path, named, found.version)
                });
                let ahead: Vec<Option<AheadTable>> = looked_at.buffered(OPENED).collect().await;
                let ahead: Vec<AheadTable> = ahead.into_iter().flatten().collect();
                self.older_copy(&newest, &ahead).await?
            }
        };
        match older {
            Some(older) => Err(older.error),
            None => Ok(()),
        }
    }
}

/// Leaves the runs that are not known, and the tables that name one.
fn leave_unknown(named: &mut Vec<(&AheadTable, Vec<String>)>, known: &BTreeSet<String>) {
    for (_, runs) in named.iter_mut() {
        runs.retain(|run| !known.contains(run));
    }
    named.retain(|(_, runs)| !runs.is_empty());
}

fn error_of(
    newest: &RunRecord,
    unknown: &[(&AheadTable, Vec<String>)],
    is_of_runs_alone: bool,
) -> Error {
    let tables = unknown.iter().filter_map(|(table, runs)| {
        let AheadTable { path, named, found } = table;
        let run = runs.first()?;
        Some(format!(
            "{path} is at version {found} instead of {named}, written after run {run}"
        ))
    });
    let mut tables: Vec<String> = tables.take(NAMED).collect();
    if unknown.len() > NAMED {
        tables.push(format!("{} more", unknown.len() - NAMED));
    }
    let (what, hint) = match is_of_runs_alone {
        false => (
            "the bookkeeping in ops is older than the tables: runs were published that it does not know",
            HINT.to_owned(),
        ),
        true => (
            "the list of runs in ops/runs is older than the tables and the rest of ops: runs were published that it does not know",
            format!(
                "The warehouse is a copy that was made while runs were published, or their records are lost. Answers are of run {}, \
                 which ended at {:.0}; `tillhouse sync`, of all pipelines, publishes the tables as they are.",
                newest.run_id, newest.finished_at
            ),
        ),
    };
    Error::new(ErrorKind::Storage, what)
        .at("run", &newest.run_id)
        .at("tables", tables.join("; "))
        .hint(hint)
}

/// The newest commit of a log on a disk, at least a version. Commits that are gone behind it are stood for by the last checkpoint.
fn newest_on_disk(log: &Path, named: u64) -> u64 {
    let note = log.join(LAST_CHECKPOINT);
    let note = read_regular(&note).ok();
    let note = note.and_then(|note| serde_json::from_slice::<serde_json::Value>(&note).ok());
    let checkpoint = note.and_then(|note| note.get("version")?.as_u64());
    let mut newest = named.max(checkpoint.unwrap_or_default());
    while let Some(next) = newest.checked_add(1)
        && log.join(commit_name(next)).exists()
    {
        newest = next;
    }
    newest
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_or_a_device_in_the_place_of_the_note_of_a_checkpoint_is_passed_over() {
        let log = tempfile::tempdir().unwrap();
        let note = log.path().join(LAST_CHECKPOINT);
        std::os::unix::fs::symlink("/dev/zero", &note).unwrap();
        assert_eq!(newest_on_disk(log.path(), 3), 3);
        std::fs::remove_file(&note).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&note).status();
        assert!(made.unwrap().success());
        std::fs::write(log.path().join(commit_name(4)), "").unwrap();
        assert_eq!(newest_on_disk(log.path(), 3), 4);
    }
}
