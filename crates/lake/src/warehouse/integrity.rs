//! Tables compared with what the run that names them says of them; what was lost, and what helps.
//!
//! Invariant: a version that a run names is answered from only if it has the rows, files and bytes it had when the run was published. A run
//! of an older version of the program says nothing of them, and is not compared.
//!
//! A Delta log cannot tell by itself that its end is missing: without its last commit a table is a good table of yesterday.

use crate::log::table::Snapshot;
use crate::ops::tables::RunRecord;
use crate::warehouse::Warehouse;
use futures::{StreamExt, stream};
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
        (self.kind() == LostKind::Source)
            .then(|| self.path.split_once('/'))
            .flatten()
    }

    /// The kind of table, and so what makes good for its loss.
    pub fn kind(&self) -> LostKind {
        match self.path.split_once('/') {
            Some(("unified", _)) => LostKind::Unified,
            Some(("statistics", _)) => LostKind::RollUp,
            Some(("ops", "slices")) => LostKind::Ledger,
            Some(("ops", "reconciliations")) => LostKind::Comparisons,
            Some(("ops", _)) => LostKind::Notes,
            _ => LostKind::Source,
        }
    }
}

/// Kinds of tables that can lose something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostKind {
    /// Records of a source: only the provider has them too.
    Source,
    /// Made from source tables.
    Unified,
    /// Brought up to date by every run, from wherever it is.
    RollUp,
    /// The ledger of what was read: what is not in it is read again by the next sync.
    Ledger,
    /// Rejects, warnings and drift: noted while records are read.
    Notes,
    /// Outcomes of `reconcile`, which nothing else needs.
    Comparisons,
}

impl LostKind {
    /// True if any run may go on as if nothing was lost, once it has said so.
    pub fn heals_by_itself(self) -> bool {
        matches!(self, Self::RollUp | Self::Ledger | Self::Comparisons)
    }
}

/// Problems of the tables that a run names.
#[derive(Debug, Default)]
pub struct TableDamage {
    /// Tables that have lost commits, or whose content is not what the run says.
    pub lost: Vec<LostTable>,
    /// Tables whose logs cannot be read, by path, each with what to do.
    pub unreadable: Vec<(String, Error)>,
}

impl std::fmt::Display for LostTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, named, found } = self;
        match found {
            None => write!(f, "{path} is gone"),
            Some(found) if found < named => {
                write!(f, "{path} is at version {found} instead of {named}")
            }
            Some(_) => write!(f, "{path} has other content in version {named}"),
        }
    }
}

/// Why nothing is done with a warehouse whose tables have lost commits. Whoever returns it says what helps.
pub fn lost_commits(run: &RunRecord, lost: &[LostTable]) -> Error {
    let tables: Vec<String> = lost.iter().map(ToString::to_string).collect();
    Error::new(
        ErrorKind::Storage,
        "tables of the warehouse have lost commits since they were published",
    )
    .at("run", &run.run_id)
    .at("tables", tables.join("; "))
}

/// Remedy for one table that is not what it should be.
pub(crate) fn remedy(path: &str) -> String {
    match path.split_once('/') {
        Some(("unified", _)) => {
            "Put the table's files back from a copy, or run `tillhouse rebuild`: it makes the unified tables anew \
             from the source tables."
                .to_owned()
        }
        Some(("statistics", _)) => "Run `tillhouse sync`: it brings the roll-ups up to date.".to_owned(),
        Some(("ops", "slices")) => {
            "Put the table's files back from a copy, or run `tillhouse sync`: it reads again what is not noted as read any more.".to_owned()
        }
        Some(("ops", "rejects" | "warnings" | "drift")) => {
            "Put the table's files back from a copy, or run `tillhouse sync --full`: it reads everything from the providers again and notes \
             it anew."
                .to_owned()
        }
        Some(("ops", "reconciliations")) => {
            "Put the table's files back from a copy, or run `tillhouse sync`: it goes on without; `tillhouse reconcile` compares again."
                .to_owned()
        }
        Some(("ops", _)) | None => "Put the table's files back from a copy.".to_owned(),
        Some((pipeline, _)) => format!(
            "Put the table's files back from a copy, or run `tillhouse sync {pipeline} --full`: it reads everything from the provider \
             again and repairs the table."
        ),
    }
}

/// The way out where data files are missing or damaged, whatever tables they are of.
pub const REPLACE_FILES: &str = "Put the files back from a copy. Where there is none, move the table's folder out of the warehouse; then \
     `tillhouse sync` counts roll-ups anew and goes on with bookkeeping, `tillhouse rebuild` makes unified tables anew, and `tillhouse sync PIPELINE --full` reads a pipeline's source tables from the provider again.";

/// The way out where a file of one table is missing or damaged.
pub(crate) fn replace_file(path: &str) -> String {
    let then = match path.split_once('/') {
        Some(("ops", "slices")) => {
            "`tillhouse sync` reads again what is not noted as read any more.".to_owned()
        }
        Some(("ops", "rejects" | "warnings" | "drift")) => {
            "`tillhouse sync --full` reads everything again and notes it anew.".to_owned()
        }
        Some(("ops", "runs")) => "`tillhouse sync` publishes the tables as they are.".to_owned(),
        Some(("ops", _)) => "`tillhouse sync` goes on without it.".to_owned(),
        Some(("statistics", _)) => "`tillhouse sync` counts the roll-ups anew.".to_owned(),
        Some(("unified", _)) | None => "`tillhouse rebuild` makes it anew.".to_owned(),
        Some((pipeline, _)) => {
            format!("`tillhouse sync {pipeline} --full` reads everything from the provider again.")
        }
    };
    format!(
        "Put the file back from a copy. Where there is none, move the table's folder out of the warehouse; then {then}"
    )
}

impl Warehouse {
    /// Tables that are older than a run says, or other, and those that cannot be read.
    pub async fn damage(&self, run: &RunRecord) -> TableDamage {
        let compared = stream::iter(&run.tables)
            .map(|(path, version)| async move { (path, self.compare(run, path, *version).await) });
        let mut damage = TableDamage::default();
        for (path, found) in compared.buffered(AT_ONCE).collect::<Vec<_>>().await {
            match found {
                Ok(lost) => damage.lost.extend(lost),
                Err(error) => damage.unreadable.push((path.clone(), error)),
            }
        }
        damage
    }

    async fn compare(
        &self,
        run: &RunRecord,
        path: &str,
        version: u64,
    ) -> Result<Option<LostTable>> {
        let table = self.table(path)?;
        let lost = |found| {
            Some(LostTable {
                path: path.to_owned(),
                named: version,
                found,
            })
        };
        let Some(newest) = table.latest().await? else {
            return Ok(lost(None));
        };
        if newest.version < version {
            return Ok(lost(Some(newest.version)));
        }
        let Some(figures) = run.figures.get(path) else {
            return Ok(None);
        };
        let Some(then) = table.unchecked(version).await? else {
            return Ok(lost(None));
        };
        Ok(if TableFigures::of(&then) == *figures {
            None
        } else {
            lost(Some(newest.version))
        })
    }

    /// Tables that are there, named by a run or not, and whose logs cannot be read; but for those that are `known`.
    pub async fn unreadable_tables(&self, known: Option<&RunRecord>) -> Vec<Error> {
        let tables = match self.tables().await {
            Ok(tables) => tables,
            Err(error) => return vec![error],
        };
        let others = tables
            .into_iter()
            .map(|(schema, name)| format!("{schema}/{name}"));
        let others = others.filter(|path| known.is_none_or(|run| !run.tables.contains_key(path)));
        let read =
            stream::iter(others).map(|path| async move { self.table(&path)?.latest().await });
        read.buffered(AT_ONCE)
            .filter_map(async |read| read.err())
            .collect()
            .await
    }

    /// The newest version of a table and its size; `None` where there is no such table.
    pub async fn newest_figures(&self, path: &str) -> Result<Option<(u64, TableFigures)>> {
        let newest = self.table(path)?.newest().await?;
        Ok(newest.map(|snapshot| (snapshot.version, TableFigures::of(&snapshot))))
    }

    /// Goes on with a table that has lost commits as it is. The numbers of the versions that were lost are not used again.
    pub async fn go_on_with(&self, lost: &LostTable, run_id: &str) -> Result<()> {
        let table = self.table(&lost.path)?;
        table.expect_nothing();
        table.raise_to(lost.named, run_id).await
    }
}

#[cfg(test)]
#[path = "integrity_tests.rs"]
mod tests;
