//! Bookkeeping that is older than the tables, as where the folder `ops` was put back from an older copy.
//!
//! Invariant: it is told by commits alone, each of which names the run that was published last when it was made: where bookkeeping does not
//! know that run, it is older. A run that is under way or was cut short names one that bookkeeping knows. So a copy from before the last
//! published run alone looks like a run that was cut short.

use crate::log::registry::OPENED;
use crate::log::table::commit_name;
use crate::log::table_version::TableVersion;
use crate::ops::edit::OpsTables;
use crate::ops::row_codec::{BookkeepingRow, NumberedRun};
use crate::ops::rows::RunRecord;
use crate::store::durable::LOG_FOLDER;
use crate::store::log_guard::LAST_CHECKPOINT;
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

impl OpsTables {
    /// Error where tables that are `ahead` of the newest run were written behind a published run that bookkeeping does not know; `None`
    /// where it knows all. Where no table is ahead, nothing is asked, and one commit of each that is as a rule.
    ///
    /// Errors with [`ErrorKind::Storage`] where the store gives no answer.
    pub async fn older_copy(
        &self,
        newest: &RunRecord,
        ahead: &[AheadTable],
    ) -> Result<Option<Error>> {
        let named = stream::iter(ahead).map(|table| async move {
            let handle = self.registry.table(&table.path)?;
            let run = handle.base_run_between(table.named, table.found).await?;
            Ok::<_, Error>(run.map(|run| (table, run)))
        });
        let named: Vec<Option<(&AheadTable, String)>> =
            named.buffered(OPENED).try_collect().await?;
        let mut unknown: Vec<(&AheadTable, String)> = named
            .into_iter()
            .flatten()
            .filter(|(_, run)| *run != newest.run_id)
            .collect();
        if unknown.is_empty() {
            return Ok(None);
        }
        // Others may have published since.
        self.registry.table(NumberedRun::TABLE)?.is_overtaken();
        let heads = self.run_heads().await?;
        let known: BTreeSet<&str> = heads.iter().map(|run| run.run_id.as_str()).collect();
        unknown.retain(|(_, run)| !known.contains(run.as_str()));
        let Some((_, run)) = unknown.first() else {
            return Ok(None);
        };
        // What is committed all the same must not hide it, should it be cut short before it is published.
        self.registry.base_run().found_in_table(run);
        Ok(Some(error_of(newest, &unknown)))
    }

    /// Errors as [`OpsTables::older_copy`] tells, for whoever answers from the newest run: looks for commits behind it on a disk, without a
    /// request. In a bucket nothing is looked for.
    pub async fn refuse_older_copy(&self, newest: &RunRecord) -> Result<()> {
        let url = self.registry.url();
        let root = (url.scheme() == "file").then(|| url.to_file_path().ok());
        let Some(root) = root.flatten() else {
            return Ok(());
        };
        let tables = newest.tables.iter();
        let ahead: Vec<AheadTable> = tables
            .filter(|(path, _)| !is_bookkeeping(path))
            .filter_map(|(path, named)| {
                let found = newest_on_disk(&root.join(path).join(LOG_FOLDER), named.newest());
                AheadTable::of(path, named, found)
            })
            .collect();
        match self.older_copy(newest, &ahead).await? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// As [`OpsTables::refuse_older_copy`], for whoever deletes what no run needs, in a bucket too: older bookkeeping knows nothing of what
    /// newer runs need. A table that cannot be read is told of by whoever needs it.
    pub(crate) async fn refuse_upkeep_by_older_copy(&self) -> Result<()> {
        // Of a run whose record is lost the note tells what it needs.
        let (Some(newest), None) = self.newest_published().await? else {
            return Ok(());
        };
        if self.registry.url().scheme() == "file" {
            return self.refuse_older_copy(&newest).await;
        }
        let tables = newest.tables.iter();
        let tables = tables.filter(|(path, _)| !is_bookkeeping(path));
        let looked_at = stream::iter(tables).map(|(path, named)| async move {
            let found = self.registry.table(path).ok()?.latest().await.ok()??;
            AheadTable::of(path, named, found.version)
        });
        let ahead: Vec<Option<AheadTable>> = looked_at.buffered(OPENED).collect().await;
        let ahead: Vec<AheadTable> = ahead.into_iter().flatten().collect();
        match self.older_copy(&newest, &ahead).await? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

fn is_bookkeeping(path: &str) -> bool {
    path.starts_with("ops/")
}

fn error_of(newest: &RunRecord, unknown: &[(&AheadTable, String)]) -> Error {
    let mut tables: Vec<String> = unknown
        .iter()
        .take(NAMED)
        .map(|(table, run)| {
            let AheadTable { path, named, found } = table;
            format!("{path} is at version {found} instead of {named}, written after run {run}")
        })
        .collect();
    if unknown.len() > NAMED {
        tables.push(format!("{} more", unknown.len() - NAMED));
    }
    Error::new(
        ErrorKind::Storage,
        "the bookkeeping in ops is older than the tables: runs were published that it does not know",
    )
    .at("run", &newest.run_id)
    .at("tables", tables.join("; "))
    .hint(HINT)
}

/// The newest commit of a log on a disk, at least a version. Commits that are gone behind it are stood for by the last checkpoint.
fn newest_on_disk(log: &Path, named: u64) -> u64 {
    let note = std::fs::read(log.join(LAST_CHECKPOINT)).ok();
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
