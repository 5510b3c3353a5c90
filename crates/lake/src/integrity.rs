//! Tables compared with what the run that names them says of them.
//!
//! Invariant: a version that a run names is answered from only if it has the rows, files and bytes it had when the run was published. A run
//! of an older version of the program says nothing of them, and is not compared.
//!
//! A Delta log cannot tell by itself that its end is missing: without its last commit a table is a good table of yesterday.

use crate::delta::Snapshot;
use crate::ops::RunRecord;
use crate::warehouse::Warehouse;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tillhouse_model::{Error, ErrorKind, Result};

/// Tables that are looked at together.
const AT_ONCE: usize = 8;

/// The size of a table at one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFigures {
    /// Rows, where every file says so.
    pub rows: Option<u64>,
    /// Data files.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

impl TableFigures {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self {
            rows: snapshot.files.iter().map(|file| file.rows).sum(),
            files: snapshot.files.len() as u64,
            bytes: snapshot.files.iter().map(|file| file.size).sum(),
        }
    }
}

impl std::fmt::Display for TableFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, files, bytes } = self;
        match rows {
            Some(rows) => write!(f, "{rows} rows, {files} files, {bytes} bytes"),
            None => write!(f, "{files} files, {bytes} bytes"),
        }
    }
}

/// A table that has lost commits since a run named its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostTable {
    /// Its path below the warehouse.
    pub path: String,
    /// The version the run names.
    pub named: u64,
    /// Its newest version; `None` where the table is gone.
    pub found: Option<u64>,
}

impl LostTable {
    /// The pipeline and the resource, where it is a source table.
    pub fn source(&self) -> Option<(&str, &str)> {
        self.path.split_once('/').filter(|(schema, _)| !matches!(*schema, "unified" | "statistics" | "ops"))
    }
}

impl std::fmt::Display for LostTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, named, found } = self;
        match found {
            None => write!(f, "{path} is gone"),
            Some(found) if found < named => write!(f, "{path} is at version {found} instead of {named}"),
            Some(_) => write!(f, "{path} has other content in version {named}"),
        }
    }
}

/// Why nothing is done with a warehouse whose tables have lost commits. Whoever returns it says what helps.
pub fn lost_commits(run: &RunRecord, lost: &[LostTable]) -> Error {
    let tables: Vec<String> = lost.iter().map(ToString::to_string).collect();
    Error::new(ErrorKind::Storage, "tables of the warehouse have lost commits since they were published")
        .at("run", &run.run_id)
        .at("tables", tables.join("; "))
}

/// What to do about one table that is not what it should be.
pub(crate) fn remedy(path: &str) -> String {
    match path.split_once('/') {
        Some(("unified", _)) => {
            "Put the table's files back from a copy, or run `tillhouse rebuild`: it makes the unified tables anew \
             from the source tables."
                .to_owned()
        }
        Some(("statistics", _)) => "Run `tillhouse sync`: it brings the roll-ups up to date.".to_owned(),
        Some(("ops", _)) | None => "Put the table's files back from a copy.".to_owned(),
        Some((pipeline, _)) => format!(
            "Put the table's files back from a copy, or run `tillhouse sync {pipeline} --full`: it reads everything from the provider \
             again and repairs the table."
        ),
    }
}

/// The way out where data files are missing or damaged, whatever tables they are of.
pub const REPLACE_FILES: &str = "Put the files back from a copy. Where there is none, move the table's folder out of the warehouse; then \
     `tillhouse rebuild` makes unified tables anew, and `tillhouse sync PIPELINE --full` reads a pipeline's source tables from the provider again.";

/// The way out where a file of one table is missing or damaged.
pub(crate) fn replace_file(path: &str) -> String {
    let then = match path.split_once('/') {
        Some(("ops", _)) => "`tillhouse sync` starts that part of the bookkeeping anew.".to_owned(),
        Some(("statistics", _)) => "`tillhouse sync` counts the roll-ups anew.".to_owned(),
        Some(("unified", _)) | None => "`tillhouse rebuild` makes it anew.".to_owned(),
        Some((pipeline, _)) => format!("`tillhouse sync {pipeline} --full` reads everything from the provider again."),
    };
    format!(
        "Put the file back from a copy. Where there is none, move the table's folder out of the warehouse; then {then}"
    )
}

impl Warehouse {
    /// The source and unified tables that are older than a run says, or other. Roll-ups are not among them: they are brought up to date by
    /// every run, from wherever they are.
    pub async fn lost_tables(&self, run: &RunRecord) -> Result<Vec<LostTable>> {
        let named = run.tables.iter().filter(|(path, _)| !path.starts_with("statistics/"));
        let lost = stream::iter(named).map(|(path, version)| async move {
            let table = self.table(path)?;
            let lost = |found| Some(LostTable { path: path.clone(), named: *version, found });
            let Some(newest) = table.latest().await? else { return Ok::<_, Error>(lost(None)) };
            if newest.version < *version {
                return Ok(lost(Some(newest.version)));
            }
            let Some(figures) = run.figures.get(path) else { return Ok(None) };
            let Some(then) = table.unchecked(*version).await? else { return Ok(lost(None)) };
            Ok(if TableFigures::of(&then) == *figures { None } else { lost(Some(newest.version)) })
        });
        Ok(lost.buffered(AT_ONCE).try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
    }
}

#[cfg(test)]
#[path = "integrity_tests.rs"]
mod tests;
