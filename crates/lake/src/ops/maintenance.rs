//! The bookkeeping of maintenance: compactions, vacuums, upgrades, and which runs are no longer kept.
//!
//! Invariant: rows are only ever added, and a run that is dropped stays dropped: a later mark keeps at most the runs that the one before kept.

use crate::file::layout::TableLayout;
use crate::file::writer::PartitionWriter;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::schema_evolution;
use crate::month::month_of;
use crate::ops::edit::OpsTables;
use crate::ops::row_codec::{BookkeepingRow, ColumnType, RowReader, RowValue, json};
use crate::ops::rows::{AsOf, RunRecord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::table::MONTH;
use tillhouse_model::{Error, ErrorKind, Result};

/// Words of the column `action`.
pub(crate) const COMPACT: &str = "compact";
pub(crate) const VACUUM: &str = "vacuum";
pub(crate) const RETAIN: &str = "retain";
pub(crate) const UPGRADE: &str = "upgrade";

/// One piece of maintenance that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenanceRow {
    /// The run that did it; ids sort by time.
    pub run_id: String,
    /// When it was done.
    pub at: Timestamp,
    /// `compact`, `vacuum`, `retain` or `upgrade`.
    pub action: String,
    /// The table's path; `None` where it was about the warehouse.
    pub table: Option<String>,
    /// Data files before: those that were compacted, or all that lay in the table's folder.
    pub files_before: u64,
    /// Data files after.
    pub files_after: u64,
    /// Size of the files before.
    pub bytes_before: u64,
    /// Size of the files after.
    pub bytes_after: u64,
    /// Files of the log that were deleted.
    pub log_files: u64,
    /// The mark of a `retain`.
    pub(crate) mark: Option<RetentionMark>,
}

impl BookkeepingRow for MaintenanceRow {
    const TABLE: &'static str = "ops/maintenance";
    const COLUMNS: &'static [(&'static str, ColumnType, bool)] = &[
        ("run_id", ColumnType::Text, false),
        ("at", ColumnType::Time, false),
        ("action", ColumnType::Text, false),
        ("table_path", ColumnType::Text, true),
        ("files_before", ColumnType::Int, false),
        ("files_after", ColumnType::Int, false),
        ("bytes_before", ColumnType::Int, false),
        ("bytes_after", ColumnType::Int, false),
        ("log_files", ColumnType::Int, false),
        ("detail", ColumnType::Text, true),
    ];

    fn month(&self) -> String {
        month_of(self.at)
    }

    fn cells(&self) -> Result<Vec<RowValue>> {
        Ok(vec![
            self.run_id.as_str().into(),
            self.at.into(),
            self.action.as_str().into(),
            self.table.as_deref().into(),
            self.files_before.into(),
            self.files_after.into(),
            self.bytes_before.into(),
            self.bytes_after.into(),
            self.log_files.into(),
            match &self.mark {
                Some(mark) => json(mark)?,
                None => None::<&str>.into(),
            },
        ])
    }

    fn read(cells: &RowReader<'_>) -> Result<Self> {
        Ok(Self {
            run_id: cells.text("run_id")?,
            at: cells.time("at")?,
            action: cells.text("action")?,
            table: cells.maybe_text("table_path"),
            files_before: cells.count("files_before")?,
            files_after: cells.count("files_after")?,
            bytes_before: cells.count("bytes_before")?,
            bytes_after: cells.count("bytes_after")?,
            log_files: cells.count("log_files")?,
            mark: match cells.maybe_text("detail") {
                Some(_) => Some(cells.json("detail")?),
                None => None,
            },
        })
    }
}

/// The runs that are kept: those that ended after an instant, and some before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetentionMark {
    /// Runs that ended later are kept.
    pub after: Timestamp,
    /// Earlier ones that are kept, by id, with the time each ended.
    pub kept: BTreeMap<String, Timestamp>,
}

impl RetentionMark {
    /// The mark of a warehouse that never dropped a run.
    pub(crate) fn everything() -> Self {
        Self {
            after: Timestamp::MIN,
            kept: BTreeMap::new(),
        }
    }

    /// True if the versions that the run names stay readable.
    pub(crate) fn keeps(&self, run: &RunRecord) -> bool {
        run.finished_at > self.after || self.kept.contains_key(&run.run_id)
    }

    /// The mark that keeps what both keep.
    fn and(self, other: &Self) -> Self {
        let (earlier, later) = match self.after <= other.after {
            true => (&self, other),
            false => (other, &self),
        };
        // What ended between the two is kept by the earlier one without being named.
        let both = later.kept.iter().filter(|(id, ended)| {
            **ended > earlier.after || earlier.kept.contains_key(id.as_str())
        });
        Self {
            after: later.after,
            kept: both.map(|(id, ended)| (id.clone(), *ended)).collect(),
        }
    }
}

impl OpsTables {
    /// Rows of the maintenance that was done, the oldest first.
    pub async fn maintenance(&self) -> Result<Vec<MaintenanceRow>> {
        let mut rows = self.read(None, |_: &MaintenanceRow| true).await?;
        rows.sort_by(|a, b| (a.at, &a.run_id, &a.table).cmp(&(b.at, &b.run_id, &b.table)));
        Ok(rows)
    }

    /// The mark that decides which runs are kept.
    pub(crate) async fn retention_mark(&self) -> Result<RetentionMark> {
        let rows = self
            .read(None, |row: &MaintenanceRow| row.mark.is_some())
            .await?;
        Ok(combined(&rows))
    }

    /// Errors where a run was dropped, with the kept runs next to it.
    ///
    /// Asking for the newest run costs nothing: it is always kept.
    pub(crate) async fn check_kept(
        &self,
        at: &AsOf,
        run: &RunRecord,
        runs: &[RunRecord],
    ) -> Result<()> {
        if *at == AsOf::Latest {
            return Ok(());
        }
        let mark = self.retention_mark().await?;
        if mark.keeps(run) {
            return Ok(());
        }
        let kept = || {
            runs.iter()
                .filter(|other| other.published && mark.keeps(other))
        };
        let before = kept()
            .filter(|other| other.finished_at <= run.finished_at)
            .max_by_key(|other| other.finished_at);
        let after = kept()
            .filter(|other| other.finished_at > run.finished_at)
            .min_by_key(|other| other.finished_at);
        let named = |other: &RunRecord| format!("{} (ended {})", other.run_id, other.finished_at);
        let near: Vec<String> = before.into_iter().chain(after).map(named).collect();
        Err(Error::new(
            ErrorKind::Query,
            "that run is no longer kept: `retention` in tillhouse.yaml lets the versions of its tables go",
        )
        .at("run", &run.run_id)
        .at("ended", run.finished_at.to_string())
        .hint(match near.is_empty() {
            true => "Ask without --as-of: the newest run is always kept.".to_owned(),
            false => format!("The nearest runs that are kept: {}.", near.join(", ")),
        }))
    }

    /// Notes that from now on no other runs are kept than this mark keeps; the mark that holds. Whoever is noted first counts too: a run is
    /// kept only if every mark keeps it.
    pub(crate) async fn retain(&self, mark: RetentionMark, run_id: &str) -> Result<RetentionMark> {
        let row = MaintenanceRow {
            run_id: run_id.to_owned(),
            at: self.registry.now(),
            action: RETAIN.to_owned(),
            table: None,
            files_before: 0,
            files_after: 0,
            bytes_before: 0,
            bytes_after: 0,
            log_files: 0,
            mark: Some(mark),
        };
        self.note_maintenance(vec![row]).await?;
        self.retention_mark().await
    }

    /// Notes maintenance that was done. Nothing is written for nothing.
    pub(crate) async fn note_maintenance(&self, rows: Vec<MaintenanceRow>) -> Result<()> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let run_id = first.run_id.clone();
        let table = self.registry.table(MaintenanceRow::TABLE)?;
        let layout = Arc::new(TableLayout::new(
            MaintenanceRow::schema(),
            &["run_id".to_owned()],
            vec![MONTH.to_owned()],
        )?);
        let mut months: BTreeMap<String, Vec<MaintenanceRow>> = BTreeMap::new();
        for row in rows {
            months.entry(row.month()).or_default().push(row);
        }
        let mut adds = Vec::new();
        for (month, rows) in months {
            let partition = vec![(MONTH.to_owned(), Some(month))];
            let mut writer = PartitionWriter::new(&table, layout.clone(), partition);
            writer
                .write_file(vec![MaintenanceRow::encode(&rows)?])
                .await?;
            adds.extend(writer.finish().await?);
        }
        // Rows that are only added fit onto whatever version is there.
        for _ in 0..ROUNDS {
            let mut snapshot = table.latest_or_create(&layout.definition, &run_id).await?;
            if !schema_evolution::ensure(&table, &mut snapshot, &layout.definition, &run_id).await?
            {
                continue;
            }
            let change =
                CommitRequest::append(adds.clone(), &layout.definition.partition_by, &run_id);
            if let CommitOutcome::Committed(version) =
                commit::commit(&table, &snapshot, &change).await?
            {
                table.checkpoint_if_due(version).await;
                return Ok(());
            }
        }
        commit::discard(&table, adds.into_iter().map(|add| add.path)).await;
        Err(commit::too_many_conflicts(&table))
    }
}

/// Versions that all marks keep together.
fn combined(rows: &[MaintenanceRow]) -> RetentionMark {
    rows.iter()
        .filter_map(|row| row.mark.as_ref())
        .fold(RetentionMark::everything(), RetentionMark::and)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty_store::{TempWarehouse, t};

    fn mark(after: &str, kept: &[(&str, &str)]) -> RetentionMark {
        RetentionMark {
            after: t(after),
            kept: kept
                .iter()
                .map(|(id, ended)| ((*id).to_owned(), t(ended)))
                .collect(),
        }
    }

    #[test]
    fn a_run_is_kept_only_if_every_mark_keeps_it() {
        let (a, b) = ("2026-01-05T00:00:00Z", "2026-01-20T00:00:00Z");
        let (jan2, jan3, jan10) = (
            "2026-01-02T00:00:00Z",
            "2026-01-03T00:00:00Z",
            "2026-01-10T00:00:00Z",
        );
        let earlier = mark(a, &[("two", jan2)]);
        let later = mark(b, &[("two", jan2), ("three", jan3), ("ten", jan10)]);
        // The third was dropped by the earlier mark, and no later one brings it back.
        let both = mark(b, &[("two", jan2), ("ten", jan10)]);
        assert_eq!(earlier.clone().and(&later), both);
        assert_eq!(later.and(&earlier), both);
        assert_eq!(RetentionMark::everything().and(&both), both);
    }

    #[tokio::test]
    async fn what_was_noted_is_read_back_and_nothing_is_written_for_nothing() {
        let place = TempWarehouse::new();
        let ops = place.open().await.ops();
        ops.note_maintenance(Vec::new()).await.unwrap();
        assert_eq!(ops.maintenance().await.unwrap(), Vec::new());
        assert!(!place.root().join("ops/maintenance").exists());
        let held = mark("2026-01-05T00:00:00Z", &[("two", "2026-01-02T00:00:00Z")]);
        assert_eq!(ops.retain(held.clone(), "r1").await.unwrap(), held);
        let rows = ops.maintenance().await.unwrap();
        assert_eq!((rows.len(), rows[0].action.as_str()), (1, RETAIN));
        assert_eq!(rows[0].mark.as_ref(), Some(&held));
    }
}
