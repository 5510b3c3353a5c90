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
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tillhouse_model::table::MONTH;
use tillhouse_model::{Error, ErrorKind, Result};

/// Words of the column `action`.
pub(crate) const COMPACT: &str = "compact";
pub(crate) const VACUUM: &str = "vacuum";
pub(crate) const RETAIN: &str = "retain";
pub(crate) const UPGRADE: &str = "upgrade";

/// Time after which rows of maintenance that is under way are written.
const NOTED_EVERY: Duration = Duration::from_secs(60);

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

/// The runs that are kept: those that ended after an instant, some before it, and all that were committed after the mark was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetentionMark {
    /// Runs that ended later are kept.
    pub after: Timestamp,
    /// Earlier ones that are kept, by id, with the time each ended.
    pub kept: BTreeMap<String, Timestamp>,
    /// Runs that ended later and are not kept, since marks before did not keep them: those of a clock that was ahead.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dropped: BTreeSet<String>,
    /// The published run that had been committed last when the mark was made. Marks of older versions of the program name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
}

impl RetentionMark {
    /// True if a run that was committed before the mark was made is kept.
    fn keeps(&self, run: &RunRecord) -> bool {
        match run.finished_at > self.after {
            true => !self.dropped.contains(&run.run_id),
            false => self.kept.contains_key(&run.run_id),
        }
    }
}

/// The marks that hold: a run is kept if each of them keeps it. Without any, all runs are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RetentionMarks(Vec<RetentionMark>);

impl RetentionMarks {
    /// Ids of the runs whose versions stay readable. `runs` are all runs, the one that was committed last first.
    ///
    /// A run that was committed after a mark is kept by it, whatever its clock said: a mark made by a clock that was ahead drops no run that came later.
    pub(crate) fn kept<'a>(&self, runs: &'a [RunRecord]) -> HashSet<&'a str> {
        let places: HashMap<&str, usize> = (0..)
            .zip(runs)
            .map(|(place, run)| (run.run_id.as_str(), place))
            .collect();
        let since = |mark: &RetentionMark| {
            let newest = mark.newest.as_deref();
            newest.and_then(|newest| places.get(newest)).copied()
        };
        let marks: Vec<_> = self
            .0
            .iter()
            .map(|mark| (mark, since(mark).unwrap_or(0)))
            .collect();
        let is_kept = |place: usize, run: &RunRecord| {
            marks
                .iter()
                .all(|(mark, since)| place < *since || mark.keeps(run))
        };
        (0..)
            .zip(runs)
            .filter(|(place, run)| is_kept(*place, run))
            .map(|(_, run)| run.run_id.as_str())
            .collect()
    }

    /// The latest instant of a mark that is not later than this one.
    pub(crate) fn latest_until(&self, until: Timestamp) -> Timestamp {
        let instants = self.0.iter().map(|mark| mark.after);
        let before = instants.filter(|after| *after <= until);
        before.max().unwrap_or(Timestamp::MIN)
    }

    /// These and another one.
    pub(crate) fn and(&self, mark: RetentionMark) -> Self {
        Self(self.0.iter().cloned().chain([mark]).collect())
    }
}

impl OpsTables {
    /// Rows of the maintenance that was done, the oldest first.
    pub async fn maintenance(&self) -> Result<Vec<MaintenanceRow>> {
        let mut rows = self.read(None, |_: &MaintenanceRow| true).await?;
        rows.sort_by(|a, b| (a.at, &a.run_id, &a.table).cmp(&(b.at, &b.run_id, &b.table)));
        Ok(rows)
    }

    /// The marks that decide which runs are kept.
    ///
    /// Read is the newest month that has a mark, and the one before: a mark keeps nothing that the marks do not keep which were there when it was
    /// made, and those that were made beside it are hardly older. Months to come, of a clock that is ahead, are read and not taken for the newest.
    pub(crate) async fn retention_marks(&self) -> Result<RetentionMarks> {
        let table = self.registry.table(MaintenanceRow::TABLE)?;
        let (mut held, mut is_last) = (RetentionMarks::default(), false);
        let Some(snapshot) = table.newest().await? else {
            return Ok(held);
        };
        let this_month = month_of(self.registry.now());
        for (month, files) in files_by_month(&snapshot).into_iter().rev() {
            let rows = rows_in(&table, &snapshot, files).await?;
            let known = held.0.len();
            held.0.extend(rows.into_iter().filter_map(|row| row.mark));
            if is_last {
                break;
            }
            is_last = held.0.len() > known && month <= this_month.as_str();
        }
        Ok(held)
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
        let marks = self.retention_marks().await?;
        let held = marks.kept(runs);
        if held.contains(run.run_id.as_str()) {
            return Ok(());
        }
        let kept = || {
            runs.iter()
                .filter(|other| other.published && held.contains(other.run_id.as_str()))
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

    /// Notes that from now on no other runs are kept than this mark keeps; the marks that hold. Whoever is noted first counts too: a run is
    /// kept only if every mark keeps it.
    pub(crate) async fn retain(&self, mark: RetentionMark, run_id: &str) -> Result<RetentionMarks> {
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
        self.retention_marks().await
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

/// Rows of maintenance that is under way, written once a minute: whoever kills it loses the rows of a minute, and of no more.
pub(crate) struct MaintenanceNotes {
    ops: OpsTables,
    rows: Vec<MaintenanceRow>,
    written: Instant,
}

impl MaintenanceNotes {
    pub(crate) fn new(ops: OpsTables) -> Self {
        Self {
            ops,
            rows: Vec::new(),
            written: Instant::now(),
        }
    }

    /// Takes a row of what was just done.
    pub(crate) async fn add(&mut self, row: MaintenanceRow) -> Result<()> {
        self.rows.push(row);
        match self.written.elapsed() >= NOTED_EVERY {
            true => self.write().await,
            false => Ok(()),
        }
    }

    /// Writes the rows that are not written yet.
    pub(crate) async fn write(&mut self) -> Result<()> {
        self.written = Instant::now();
        let rows = std::mem::take(&mut self.rows);
        self.ops.note_maintenance(rows).await
    }
}

/// Places of a table's data files by their month.
pub(super) fn files_by_month(snapshot: &Snapshot) -> BTreeMap<&str, Vec<usize>> {
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
            dropped: BTreeSet::new(),
            newest: None,
        }
    }

    fn ended(id: &str, at: &str) -> RunRecord {
        RunRecord {
            run_id: id.to_owned(),
            command: "sync".to_owned(),
            pipelines: Vec::new(),
            started_at: t(at),
            finished_at: t(at),
            outcome: "done".to_owned(),
            published: true,
            tables: BTreeMap::new(),
            figures: BTreeMap::new(),
            counts: BTreeMap::new(),
            expected: BTreeMap::new(),
        }
    }

    fn kept(marks: &RetentionMarks, runs: &[RunRecord]) -> Vec<String> {
        let mut kept: Vec<String> = marks.kept(runs).into_iter().map(str::to_owned).collect();
        kept.sort();
        kept
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
        let runs = [
            ended("eleven", "2026-01-11T00:00:00Z"),
            ended("ten", jan10),
            ended("three", jan3),
            ended("two", jan2),
        ];
        assert_eq!(kept(&RetentionMarks::default(), &runs).len(), 4);
        // The third was dropped by the earlier mark, and no later one brings it back.
        for marks in [
            vec![earlier.clone(), later.clone()],
            vec![later.clone(), earlier.clone()],
        ] {
            assert_eq!(kept(&RetentionMarks(marks), &runs), ["ten", "two"]);
        }
        // What was committed after a mark was made is kept by it.
        let made = RetentionMark {
            newest: Some("ten".to_owned()),
            ..later
        };
        let marks = RetentionMarks(vec![made]);
        assert_eq!(kept(&marks, &runs), ["eleven", "ten", "three", "two"]);
        assert_eq!(marks.latest_until(t(a)), Timestamp::MIN);
        assert_eq!(marks.latest_until(t(b)), t(b));
    }

    #[test]
    fn a_mark_of_an_older_version_of_the_program_is_read() {
        let text = r#"{"after":"2026-01-05T00:00:00Z","kept":{"two":"2026-01-02T00:00:00Z"}}"#;
        let read: RetentionMark = serde_json::from_str(text).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(
            read,
            mark("2026-01-05T00:00:00Z", &[("two", "2026-01-02T00:00:00Z")])
        );
        assert_eq!(written, text);
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
        let old = "2020-01-01T00:00:00Z";
        let runs: Vec<RunRecord> = (0..9).rev().map(|n| ended(&id(n), old)).collect();
        // Each keeps fewer of the same runs, and knows those before it.
        let keeping = |after: &str, runs: std::ops::Range<u32>| RetentionMark {
            after: t(after),
            kept: runs.map(|n| (id(n), t(old))).collect(),
            dropped: BTreeSet::new(),
            newest: None,
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
        let all: Vec<String> = (2..7).map(id).collect();
        let mut read = Vec::new();
        for now in ["2026-05-01T01:00:00Z", "2026-12-01T00:00:00Z", old] {
            let before = warehouse.requests().data_gets;
            let marks = at(now).retention_marks().await.unwrap();
            assert_eq!(kept(&marks, &runs), all, "{now}");
            read.push(warehouse.requests().data_gets - before);
        }
        // Two months of the four; a clock that is behind looks at all of them.
        assert_eq!(read, [read[0], read[0], 2 * read[0]]);
        // A clock that is ahead hides nothing that comes later.
        let ahead = "2030-01-01T00:00:00Z";
        let mark = keeping("2026-05-02T00:00:00Z", 2..6);
        at(ahead).retain(mark, &id(0)).await.unwrap();
        let later = "2026-06-01T00:00:00Z";
        let marks = at(later)
            .retain(keeping(later, 3..9), &id(0))
            .await
            .unwrap();
        assert_eq!(kept(&marks, &runs), (3..6).map(id).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_was_noted_is_read_back_and_nothing_is_written_for_nothing() {
        let place = TempWarehouse::new();
        let ops = place.open().await.ops();
        ops.note_maintenance(Vec::new()).await.unwrap();
        assert_eq!(ops.maintenance().await.unwrap(), Vec::new());
        assert!(!place.root().join("ops/maintenance").exists());
        let held = mark("2026-01-05T00:00:00Z", &[("two", "2026-01-02T00:00:00Z")]);
        let marks = ops.retain(held.clone(), "r1").await.unwrap();
        assert_eq!(marks, RetentionMarks(vec![held.clone()]));
        let rows = ops.maintenance().await.unwrap();
        assert_eq!((rows.len(), rows[0].action.as_str()), (1, RETAIN));
        assert_eq!(rows[0].mark.as_ref(), Some(&held));
    }
}
