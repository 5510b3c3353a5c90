//! The bookkeeping of maintenance: compactions, vacuums, upgrades, and which runs are no longer kept.
//!
//! Invariant: rows are only ever added, and a run that is dropped stays dropped: a later mark keeps at most the runs that the one before kept.

use crate::file::writer::PartitionWriter;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::schema_evolution;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::month::month_of;
use crate::ops::edit::{OpsTables, for_each_row};
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
        // A run that ended between the two is kept by the earlier one without being named.
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

    /// Rows of the maintenance that was done in the month of a moment.
    pub(crate) async fn maintenance_of_month(&self, at: Timestamp) -> Result<Vec<MaintenanceRow>> {
        let table = self.registry.table(MaintenanceRow::TABLE)?;
        let Some(snapshot) = table.newest().await? else {
            return Ok(Vec::new());
        };
        match files_by_month(&snapshot).remove(month_of(at).as_str()) {
            Some(files) => rows_in(&table, &snapshot, files).await,
            None => Ok(Vec::new()),
        }
    }

    /// The mark that decides which runs are kept.
    ///
    /// Read is the newest month that has a mark, and the one before: a mark keeps nothing that the marks do not keep which were there when it was
    /// made, and those that were made beside it are hardly older. Months to come, of a clock that is ahead, are read and not taken for the newest.
    pub(crate) async fn retention_mark(&self) -> Result<RetentionMark> {
        let table = self.registry.table(MaintenanceRow::TABLE)?;
        let (mut mark, mut is_last) = (RetentionMark::everything(), false);
        let Some(snapshot) = table.newest().await? else {
            return Ok(mark);
        };
        let this_month = month_of(self.registry.now());
        for (month, files) in files_by_month(&snapshot).into_iter().rev() {
            let rows = rows_in(&table, &snapshot, files).await?;
            let mut marks = rows.iter().filter_map(|row| row.mark.as_ref()).peekable();
            let has_mark = marks.peek().is_some();
            mark = marks.fold(mark, RetentionMark::and);
            if is_last {
                break;
            }
            is_last = has_mark && month <= this_month.as_str();
        }
        Ok(mark)
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
        let layout = Arc::new(MaintenanceRow::layout(&["run_id".to_owned()])?);
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

/// Places of a table's data files by their month.
fn files_by_month(snapshot: &Snapshot) -> BTreeMap<&str, Vec<usize>> {
    let mut months: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, file) in snapshot.files.iter().enumerate() {
        let month = file.partition_value(MONTH).unwrap_or_default();
        months.entry(month).or_default().push(place);
    }
    months
}

async fn rows_in(
    table: &Arc<TableHandle>,
    snapshot: &Snapshot,
    files: Vec<usize>,
) -> Result<Vec<MaintenanceRow>> {
    let mut rows = Vec::new();
    for_each_row(table, snapshot, files, |_, row| rows.push(row)).await?;
    Ok(rows)
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
    async fn marks_are_read_of_the_newest_months_and_of_months_to_come() {
        let place = TempWarehouse::new();
        let warehouse = place.open().await;
        let at = |now: &str| {
            let now = t(now);
            warehouse.with_clock(Arc::new(move || now)).ops()
        };
        let id = |n: u32| format!("run-{n}");
        let ended = "2020-01-01T00:00:00Z";
        // Each keeps fewer of the same runs, and knows those before it.
        let keeping = |after: &str, runs: std::ops::Range<u32>| RetentionMark {
            after: t(after),
            kept: runs.map(|n| (id(n), t(ended))).collect(),
        };
        let written = [
            ("2026-01-10T00:00:00Z", 0..9),
            ("2026-02-10T00:00:00Z", 1..9),
            ("2026-04-30T23:59:00Z", 2..9),
            // Beside the one before, which it did not know.
            ("2026-05-01T00:01:00Z", 1..7),
        ];
        for (now, kept) in written.clone() {
            at(now).retain(keeping(now, kept), &id(0)).await.unwrap();
        }
        let kept = |mark: RetentionMark| mark.kept.into_keys().collect::<Vec<_>>();
        let all: Vec<String> = (2..7).map(id).collect();
        let mut read = Vec::new();
        for now in ["2026-05-01T01:00:00Z", "2026-12-01T00:00:00Z", ended] {
            let before = warehouse.requests().data_gets;
            let mark = at(now).retention_mark().await.unwrap();
            assert_eq!(kept(mark), all, "{now}");
            read.push(warehouse.requests().data_gets - before);
        }
        // Two months of the four; a clock that is behind looks at all of them.
        assert_eq!(read, [read[0], read[0], 2 * read[0]]);
        // A clock that is ahead hides nothing that comes later.
        let ahead = "2030-01-01T00:00:00Z";
        let mark = keeping("2026-05-02T00:00:00Z", 2..6);
        at(ahead).retain(mark, &id(0)).await.unwrap();
        let later = "2026-06-01T00:00:00Z";
        let mark = at(later)
            .retain(keeping(later, 3..9), &id(0))
            .await
            .unwrap();
        assert_eq!(kept(mark), (3..6).map(id).collect::<Vec<_>>());
        let rows = at(later).maintenance_of_month(t(later)).await.unwrap();
        assert_eq!(rows.len(), 1);
        let rows = at(later).maintenance_of_month(t(ended)).await.unwrap();
        assert_eq!(rows, []);
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
