//! Heads of run records: what a run was about, when, and what came of it, without the versions of its tables.
//!
//! Invariant: a head says what its record says. Of a year of quarter-hour syncs the versions are hundreds of megabytes, and the heads are few.

use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::month::month_of;
use crate::ops::edit::{OpsTables, for_each_row, for_each_row_of};
use crate::ops::maintenance::{RetentionMarks, files_by_month};
use crate::ops::row_codec::ColumnType::{Bool, Int, Text, Time};
use crate::ops::row_codec::{BookkeepingRow, ColumnType, NumberedRun, RowReader, RowValue, json};
use crate::ops::rows::RunRecord;
use crate::scan::RowFilter;
use arrow::array::{AsArray, BooleanArray};
use arrow::record_batch::RecordBatch;
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use tillhouse_model::table::MONTH;
use tillhouse_model::{Error, ErrorKind, Result};

/// Age of runs, beside the newest, whose records `check` reads whole.
const READ_WHOLE: SignedDuration = SignedDuration::from_secs(7 * 86_400);
/// Months of runs that are recent: of one alone little would be left on its first day.
const RECENT_MONTHS: usize = 2;

/// Columns of a run's record that tell of no table.
#[derive(Clone)]
struct RunHead(NumberedRun);

impl BookkeepingRow for RunHead {
    const TABLE: &'static str = NumberedRun::TABLE;
    const COLUMNS: &'static [(&'static str, ColumnType, bool)] = &[
        ("run_id", Text, false),
        ("command", Text, false),
        ("pipelines", Text, false),
        ("started_at", Time, false),
        ("finished_at", Time, false),
        ("outcome", Text, false),
        ("published", Bool, false),
        ("number", Int, true),
    ];

    fn month(&self) -> String {
        month_of(self.0.run.started_at)
    }

    fn cells(&self) -> Result<Vec<RowValue>> {
        let NumberedRun { run, number } = &self.0;
        Ok(vec![
            run.run_id.as_str().into(),
            run.command.as_str().into(),
            json(&run.pipelines)?,
            run.started_at.into(),
            run.finished_at.into(),
            run.outcome.as_str().into(),
            run.published.into(),
            (*number).into(),
        ])
    }

    fn read(cells: &RowReader<'_>) -> Result<Self> {
        let run = RunRecord {
            run_id: cells.text("run_id")?,
            command: cells.text("command")?,
            pipelines: cells.json("pipelines")?,
            started_at: cells.time("started_at")?,
            finished_at: cells.time("finished_at")?,
            outcome: cells.text("outcome")?,
            published: cells.boolean("published")?,
            tables: BTreeMap::new(),
            figures: BTreeMap::new(),
            counts: BTreeMap::new(),
            expected: BTreeMap::new(),
        };
        Ok(Self(NumberedRun {
            run,
            number: cells.maybe_int("number"),
        }))
    }
}

impl OpsTables {
    /// As [`OpsTables::runs`], without tables, figures, counts and expected reads.
    pub async fn run_heads(&self) -> Result<Vec<RunRecord>> {
        let heads = self.read(None, |_: &RunHead| true).await?;
        Ok(newest_first(heads.into_iter().map(|head| head.0).collect()))
    }

    /// As [`OpsTables::run_heads`], of the latest months that have runs: all others started before each of these.
    pub async fn recent_run_heads(&self) -> Result<Vec<RunRecord>> {
        let table = self.registry.table(NumberedRun::TABLE)?;
        let Some(snapshot) = table.newest().await? else {
            return Ok(Vec::new());
        };
        let months = files_by_month(&snapshot);
        let places = months.into_values().rev().take(RECENT_MONTHS).flatten();
        let mut heads = Vec::new();
        for_each_row(&table, &snapshot, places.collect(), |_, row: RunHead| {
            heads.push(row.0);
        })
        .await?;
        Ok(newest_first(heads))
    }

    /// The published run that was committed last, of all pipelines (`None`), then of each of these one in which it did not fail; none where nothing
    /// of it was ever published.
    pub async fn last_published(
        &self,
        pipelines: &[String],
    ) -> Result<Vec<(Option<String>, Option<RunRecord>)>> {
        let runs = self.run_heads().await?;
        let mut found = Vec::new();
        for pipeline in std::iter::once(None).chain(pipelines.iter().map(Some)) {
            let newest = match pipeline {
                None => runs.iter().find(|run| run.published),
                Some(name) => self.newest_without_failure(&runs, name).await?,
            };
            found.push((pipeline.cloned(), newest.cloned()));
        }
        Ok(found)
    }

    /// The newest of these heads that is of a run in which the pipeline did not fail; `None` where there is none. `heads` are as
    /// [`OpsTables::run_heads`] gives them.
    ///
    /// A run names a pipeline that failed in it too: its record says which run shows what is read of it.
    async fn newest_without_failure<'a>(
        &self,
        heads: &'a [RunRecord],
        pipeline: &str,
    ) -> Result<Option<&'a RunRecord>> {
        let mut rest = heads;
        loop {
            let is_of = |run: &RunRecord| {
                run.published && run.pipelines.iter().any(|name| name == pipeline)
            };
            let Some(at) = rest.iter().position(is_of) else {
                return Ok(None);
            };
            let (run, earlier) = (&rest[at], &rest[at + 1..]);
            if run.outcome == "done" {
                return Ok(Some(run));
            }
            let record = self.records_of(vec![run]).await?.pop();
            let reads = record.and_then(|mut record| record.expected.remove(pipeline));
            match reads.and_then(|reads| reads.unified_by) {
                Some(shown) if shown != run.run_id => {
                    let at = earlier.iter().position(|run| run.run_id == shown);
                    rest = &earlier[at.unwrap_or(earlier.len())..];
                }
                _ => return Ok(Some(run)),
            }
        }
    }

    /// The whole records of some heads, the one that was committed last first. Of the table their months are read, and of other runs there the ids alone.
    ///
    /// Errors with [`ErrorKind::Storage`] where one of them is not there any more.
    pub(crate) async fn records_of(&self, heads: Vec<&RunRecord>) -> Result<Vec<RunRecord>> {
        let (mut ids, mut months) = (HashSet::new(), BTreeSet::new());
        for head in heads {
            ids.insert(head.run_id.clone());
            months.insert(month_of(head.started_at));
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let table = self.registry.table(NumberedRun::TABLE)?;
        let Some(snapshot) = table.newest().await? else {
            return Err(missing());
        };
        let files = snapshot.files.iter().enumerate();
        let places = files
            .filter(|(_, file)| {
                let month = file.partition_value(MONTH);
                month.is_some_and(|month| months.contains(month))
            })
            .map(|(place, _)| place)
            .collect();
        let ids = Arc::new(ids);
        let (only, mut found) = (of_runs(Arc::clone(&ids)), Vec::new());
        let taken = &mut found;
        for_each_row_of(
            &table,
            &snapshot,
            places,
            Some(&only),
            move |_, row: NumberedRun| {
                taken.push(row);
            },
        )
        .await?;
        let found = newest_first(found);
        match found.len() == ids.len() {
            true => Ok(found),
            false => Err(missing()),
        }
    }

    /// The records of the published runs that are kept, and of the newest published one, that first. `heads` are all there are.
    pub(crate) async fn kept_records(
        &self,
        heads: &[RunRecord],
        marks: &RetentionMarks,
    ) -> Result<Vec<RunRecord>> {
        let kept = marks.kept(heads);
        let published = || heads.iter().filter(|run| run.published);
        let older = published()
            .skip(1)
            .filter(|run| kept.contains(run.run_id.as_str()));
        let wanted = published().take(1).chain(older).collect();
        self.records_of(wanted).await
    }

    /// Reads what is known of all runs, and the whole records of the newest days.
    pub(crate) async fn check_records(&self) -> Result<()> {
        let heads = self.run_heads().await?;
        let Some(newest) = heads.first() else {
            return Ok(());
        };
        let is_new = |run: &&RunRecord| {
            let age = newest.started_at.duration_since(run.started_at);
            age.abs() <= READ_WHOLE
        };
        let new = heads.iter().filter(is_new).collect();
        self.records_of(new).await.map(drop)
    }
}

fn missing() -> Error {
    Error::new(ErrorKind::Storage, "records of runs are missing")
        .at("table", NumberedRun::TABLE)
        .hint("Try again: the table was changed meanwhile. If it stays so, `tillhouse check --warehouse` says what is damaged.")
}

/// Filter of the records of some runs, by their ids.
fn of_runs(ids: Arc<HashSet<String>>) -> RowFilter {
    RowFilter {
        columns: vec!["run_id".to_owned()],
        predicate: Arc::new(move |batch: &RecordBatch| {
            let found = batch
                .column_by_name("run_id")
                .and_then(|column| column.as_string_opt::<i32>())
                .ok_or_else(|| {
                    Error::new(ErrorKind::Storage, "a run's record lacks its id")
                        .at("table", NumberedRun::TABLE)
                })?;
            Ok((0..batch.num_rows())
                .map(|row| Some(ids.contains(found.value(row))))
                .collect::<BooleanArray>())
        }),
    }
}

/// The highest number of a run that has a record in a version of `ops/runs`; `None` where none has a number.
pub(crate) async fn highest_number(
    table: &Arc<TableHandle>,
    runs: &Snapshot,
) -> Result<Option<u64>> {
    let places = (0..runs.files.len()).collect();
    let mut highest: Option<i64> = None;
    let seen = &mut highest;
    for_each_row_of(table, runs, places, None, move |_, row: RunHead| {
        *seen = (*seen).max(row.0.number);
    })
    .await?;
    Ok(highest.and_then(|number| u64::try_from(number).ok()))
}

/// The runs, the one that was committed last first, each once. Of runs of older versions of the program, whose order nobody noted, the one that
/// finished last.
pub(crate) fn newest_first(mut runs: Vec<NumberedRun>) -> Vec<RunRecord> {
    runs.sort_by(|a, b| {
        (b.number, b.run.finished_at, &b.run.run_id).cmp(&(
            a.number,
            a.run.finished_at,
            &a.run.run_id,
        ))
    });
    let mut known = HashSet::new();
    let newest = runs.into_iter().map(|row| row.run);
    newest
        .filter(|run| known.insert(run.run_id.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty_store::{TempWarehouse, t};
    use tillhouse_model::ExpectedReads;

    #[tokio::test]
    async fn a_run_in_which_a_pipeline_failed_is_not_its_newest() {
        let place = TempWarehouse::new();
        let ops = place.open().await.ops();
        let publish = async |id: &str, pipelines: &[&str], failed: &[&str]| {
            let reads = |name: &&str| {
                let mut reads = ExpectedReads::unknown(None);
                let shown = if failed.contains(name) { "" } else { id };
                reads.unified_by = Some(shown.to_owned());
                ((*name).to_owned(), reads)
            };
            let run = RunRecord {
                run_id: id.to_owned(),
                command: "sync".to_owned(),
                pipelines: pipelines.iter().map(|name| (*name).to_owned()).collect(),
                started_at: t("2026-01-02T00:00:00Z"),
                finished_at: t("2026-01-02T00:00:00Z"),
                outcome: if failed.is_empty() { "done" } else { "partial" }.to_owned(),
                published: true,
                tables: BTreeMap::new(),
                figures: BTreeMap::new(),
                counts: BTreeMap::new(),
                expected: pipelines.iter().map(reads).collect(),
            };
            ops.publish(&run).await.unwrap();
        };
        publish("r1", &["a", "b"], &["b"]).await;
        publish("r2", &["a"], &[]).await;
        publish("r3", &["a", "b"], &["a", "b"]).await;
        publish("r4", &["a", "c"], &["a"]).await;
        publish("r5", &["c"], &[]).await;
        let heads = ops.run_heads().await.unwrap();
        for (pipeline, newest) in [
            ("a", Some("r2")),
            ("b", None),
            ("c", Some("r5")),
            ("d", None),
        ] {
            let found = ops.newest_without_failure(&heads, pipeline).await.unwrap();
            let found = found.map(|run| run.run_id.as_str());
            assert_eq!(found, newest, "{pipeline}");
        }
    }

    #[tokio::test]
    async fn heads_are_the_runs_without_their_tables_in_the_same_order() {
        let place = TempWarehouse::new();
        let ops = place.open().await.ops();
        assert_eq!(ops.run_heads().await.unwrap(), Vec::new());
        for (number, ended) in (0..3).zip([
            "2026-01-02T00:00:00Z",
            "2030-01-01T00:00:00Z",
            "2026-01-03T00:00:00Z",
        ]) {
            let run = RunRecord {
                run_id: format!("run-{number}"),
                command: "sync".to_owned(),
                pipelines: vec!["hecone".to_owned()],
                started_at: t(ended),
                finished_at: t(ended),
                outcome: "done".to_owned(),
                published: number != 1,
                tables: BTreeMap::from([("ops/slices".to_owned(), number.into())]),
                figures: BTreeMap::new(),
                counts: BTreeMap::from([("records".to_owned(), 1)]),
                expected: BTreeMap::new(),
            };
            ops.publish(&run).await.unwrap();
        }
        let mut runs = ops.runs().await.unwrap();
        assert_eq!(runs[0].run_id, "run-2");
        for run in &mut runs {
            run.tables.clear();
            run.counts.clear();
        }
        assert_eq!(ops.run_heads().await.unwrap(), runs);
    }

    #[tokio::test]
    async fn records_are_read_of_the_runs_that_are_asked_for() {
        let place = TempWarehouse::new();
        let warehouse = place.open().await;
        let ops = warehouse.ops();
        for number in 0..8_u64 {
            let started = t(&format!("2026-0{}-02T00:00:00Z", 1 + number / 2));
            let run = RunRecord {
                run_id: format!("run-{number}"),
                command: "sync".to_owned(),
                pipelines: vec!["hecone".to_owned()],
                started_at: started,
                finished_at: started,
                outcome: "done".to_owned(),
                published: true,
                tables: BTreeMap::from([("ops/slices".to_owned(), number.into())]),
                figures: BTreeMap::new(),
                counts: BTreeMap::new(),
                expected: BTreeMap::new(),
            };
            ops.publish(&run).await.unwrap();
        }
        let (heads, runs) = (ops.run_heads().await.unwrap(), ops.runs().await.unwrap());
        let before = warehouse.requests().data_gets;
        assert_eq!(ops.recent_run_heads().await.unwrap(), heads[..4]);
        let of_recent = warehouse.requests().data_gets - before;
        let before = before + of_recent;
        let found = ops.records_of(vec![&heads[2], &heads[5]]).await;
        assert_eq!(found.unwrap(), [runs[2].clone(), runs[5].clone()]);
        let of_two_months = warehouse.requests().data_gets - before;
        assert_eq!(ops.records_of(heads.iter().collect()).await.unwrap(), runs);
        let of_all = warehouse.requests().data_gets - before - of_two_months;
        assert!(of_two_months < of_all, "{of_two_months} of {of_all}");
        assert!(of_recent < of_all, "{of_recent} of {of_all}");
        let all = RetentionMarks::default();
        assert_eq!(ops.kept_records(&heads, &all).await.unwrap(), runs);
        assert_eq!(ops.records_of(Vec::new()).await.unwrap(), []);
        ops.check_records().await.unwrap();
        let stranger = RunRecord {
            run_id: "nobody".to_owned(),
            ..heads[0].clone()
        };
        let error = ops.records_of(vec![&stranger]).await.unwrap_err();
        assert!(error.to_string().contains("records of runs are missing"));
    }
}
