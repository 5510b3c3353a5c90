//! Heads of run records: what a run was about, when, and what came of it, without the versions of its tables.
//!
//! Invariant: a head says what its record says. Of a year of quarter-hour syncs the versions are hundreds of megabytes, and the heads are few.

use crate::month::month_of;
use crate::ops::edit::OpsTables;
use crate::ops::row_codec::ColumnType::{Bool, Int, Text, Time};
use crate::ops::row_codec::{BookkeepingRow, ColumnType, NumberedRun, RowReader, RowValue, json};
use crate::ops::rows::RunRecord;
use std::collections::{BTreeMap, HashSet};
use tillhouse_model::Result;

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
}
