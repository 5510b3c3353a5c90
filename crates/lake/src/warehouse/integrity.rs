//! Tables compared with what the run that names them says of them; what was lost, and what helps.
//!
//! Invariant: a version that a run names is answered from only if it has the rows, files and bytes it had when the run was published. A run
//! of an older version of the program says nothing of them, and is not compared.
//!
//! A Delta log cannot tell by itself that its end is missing: without its last commit a table is a good table of yesterday.

use crate::log::figures::TableFigures;
use crate::log::registry::OPENED;
use crate::log::table_version::TableVersion;
use crate::ops::older_copy::AheadTable;
use crate::ops::row_codec::{BookkeepingRow, NumberedRun};
use crate::ops::rows::RunRecord;
use crate::warehouse::Warehouse;
use futures::{StreamExt, stream};
use serde::Serialize;
use tillhouse_model::{Error, ErrorKind, Result};

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

    /// True for the path of a source table.
    pub fn is_source(path: &str) -> bool {
        LostKind::of(path) == LostKind::Source
    }

    /// The kind of table, and so what makes good for its loss.
    pub fn kind(&self) -> LostKind {
        LostKind::of(&self.path)
    }
}

/// Kinds of tables that can lose something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostKind {
    /// Records of a source: only the provider has them too.
    Source,
    /// Made from source tables.
    Unified,
    /// Made from unified tables, hour by hour.
    RollUp,
    /// The ledger of what was read: what is not in it is read again by the next sync.
    Ledger,
    /// Rejects, warnings and drift: noted while records are read.
    Notes,
    /// Outcomes of `reconcile`, which nothing else needs.
    Comparisons,
}

impl LostKind {
    pub(crate) fn of(path: &str) -> Self {
        match path.split_once('/') {
            Some(("unified", _)) => Self::Unified,
            Some(("statistics", _)) => Self::RollUp,
            Some(("ops", "slices")) => Self::Ledger,
            Some(("ops", "reconciliations")) => Self::Comparisons,
            Some(("ops", _)) => Self::Notes,
            _ => Self::Source,
        }
    }

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
    /// Tables that were written since, which is no damage by itself.
    pub ahead: Vec<AheadTable>,
}

impl TableDamage {
    /// True if nothing is damaged.
    pub fn is_none(&self) -> bool {
        self.lost.is_empty() && self.unreadable.is_empty()
    }
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

/// Reason that nothing is done with a warehouse whose tables have lost commits. Whoever returns it says what helps.
pub fn lost_commits(run: &RunRecord, lost: &[LostTable]) -> Error {
    let tables: Vec<String> = lost.iter().map(ToString::to_string).collect();
    Error::new(
        ErrorKind::Storage,
        "tables of the warehouse have lost commits since they were published",
    )
    .at("run", &run.run_id)
    .at("tables", tables.join("; "))
}

impl Warehouse {
    /// Tables that are older than a run says, or other, and those that cannot be read.
    pub async fn damage(&self, run: &RunRecord) -> TableDamage {
        let compared = stream::iter(&run.tables).map(|(path, version)| async move {
            let found = self.compare(run, path, version).await;
            (path, found, self.ahead_of(path, version).await)
        });
        let mut damage = TableDamage::default();
        for (path, found, ahead) in compared.buffered(OPENED).collect::<Vec<_>>().await {
            damage.ahead.extend(ahead);
            match found {
                Ok(lost) => damage.lost.extend(lost),
                Err(error) => damage.unreadable.push((path.clone(), error)),
            }
        }
        damage
    }

    /// The table, where the newest version that was seen of it lies behind the one that a run names.
    async fn ahead_of(&self, path: &str, named: &TableVersion) -> Option<AheadTable> {
        let seen = self.table(path).ok()?.seen().await?;
        AheadTable::of(path, named, seen.version)
    }

    async fn compare(
        &self,
        run: &RunRecord,
        path: &str,
        version: &TableVersion,
    ) -> Result<Option<LostTable>> {
        let table = self.table(path)?;
        let lost = |found| {
            Some(LostTable {
                path: path.to_owned(),
                named: version.newest(),
                found,
            })
        };
        let Some(newest) = table.latest().await? else {
            return Ok(lost(None));
        };
        if newest.version < version.newest() {
            return Ok(lost(Some(newest.version)));
        }
        let Some(figures) = run.figures.get(path) else {
            return Ok(None);
        };
        Ok(
            match table
                .compared(version, std::slice::from_ref(figures))
                .await?
            {
                None => lost(None),
                Some((_, None)) => None,
                Some((_, Some(_))) => lost(Some(newest.version)),
            },
        )
    }

    /// Tables that are there, named by a run or not, and whose logs cannot be read from the newest checkpoint on by whoever has nothing else, with
    /// what to do. Of runs the records of the newest days are read too, and of all others what they were about.
    pub async fn unreadable_tables(&self) -> Vec<Error> {
        let tables = match self.tables().await {
            Ok(tables) => tables,
            Err(error) => return vec![error],
        };
        let paths = tables
            .into_iter()
            .map(|(schema, name)| format!("{schema}/{name}"));
        let read = stream::iter(paths).map(|path| async move {
            self.table(&path)?.check_log().await?;
            if path == NumberedRun::TABLE {
                self.ops().check_records().await?;
            }
            Ok::<_, Error>(())
        });
        read.buffered(OPENED)
            .filter_map(async |read| read.err())
            .collect()
            .await
    }

    /// The newest version of a table that this process has seen or made, and its size; where it has seen none, the newest there is. `None`
    /// where there is no such table.
    pub async fn newest_figures(&self, path: &str) -> Result<Option<(u64, TableFigures)>> {
        let table = self.table(path)?;
        let newest = match table.seen().await {
            Some(seen) => Some(seen),
            None => table.newest().await?,
        };
        Ok(newest.map(|snapshot| (snapshot.version, TableFigures::of(&snapshot))))
    }

    /// As [`Warehouse::newest_figures`], with what others have written since.
    pub async fn newest_figures_of_all(&self, path: &str) -> Result<Option<(u64, TableFigures)>> {
        let table = self.table(path)?;
        table.is_overtaken();
        let newest = table.newest().await?;
        Ok(newest.map(|snapshot| (snapshot.version, TableFigures::of(&snapshot))))
    }

    /// Goes on with a table that has lost commits as it is, but for a roll-up: that begins anew, since nobody knows which of its rows are stale. The
    /// numbers of the versions that were lost are not used again.
    pub async fn go_on_with(&self, lost: &LostTable, run_id: &str) -> Result<()> {
        let table = self.table(&lost.path)?;
        if lost.kind() == LostKind::RollUp {
            table.forsake(lost.to_string(), lost.named);
            return Ok(());
        }
        table.raise_to(lost.named, run_id).await
    }
}

#[cfg(test)]
#[path = "integrity_tests.rs"]
mod tests;
