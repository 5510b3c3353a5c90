//! Clocks that are wrong: one run while a machine's clock was ahead, and the runs after it.
//!
//! Invariant: what such a run wrote hides nothing that comes later, and what it read does not count as read.

use crate::faulty_store::{
    FixtureRecord, TempWarehouse, dimension_spec, page, run, sites, source_spec, sql, step, t,
};
use crate::ops::coverage::{CoverageRow, RunFindings};
use crate::ops::edit::BookkeepingEdit;
use crate::ops::row_codec::NumberedRun;
use crate::ops::rows::{AsOf, RunRecord, SliceRow};
use crate::ops::slices::PipelineLedger;
use crate::warehouse::Warehouse;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::{ReadBy, Window, merge_windows};

const NOW: &str = "2026-03-02T00:00:00Z";
const AHEAD: &str = "2030-01-01T00:00:00Z";

async fn at(place: &TempWarehouse, now: &str) -> Warehouse {
    let now = t(now);
    place.open().await.with_clock(Arc::new(move || now))
}

fn record(run_id: &str, at: &str) -> RunRecord {
    RunRecord {
        run_id: run_id.to_owned(),
        command: "sync".to_owned(),
        pipelines: vec!["hecone".to_owned()],
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

fn slice(from: &str, to: &str, read_at: &str) -> SliceRow {
    SliceRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        tenant: None,
        window: Window::new(t(from), t(to)).unwrap(),
        read_by: Some(ReadBy::EventTime),
        also_read_by: None,
        run_id: format!("run at {read_at}"),
        read_at: t(read_at),
        records: 5,
        rejects: 0,
        declared_total: None,
        attempts: 1,
        load_id: 1,
    }
}

/// A run of an older version of the program, without its number in the order of commits.
struct FixtureUnnumberedRun(RunRecord);

impl BookkeepingEdit<NumberedRun> for FixtureUnnumberedRun {
    fn note(&mut self, _: &NumberedRun) {}
    fn changed(&self, _: &NumberedRun) -> Option<NumberedRun> {
        None
    }
    fn added(&self) -> Vec<NumberedRun> {
        vec![NumberedRun {
            run: self.0.clone(),
            number: None,
        }]
    }
}

#[tokio::test]
async fn the_newest_run_is_the_one_that_was_committed_last() {
    let place = TempWarehouse::new();
    let ops = at(&place, NOW).await.ops();
    // Before runs were numbered, the clock was all there was.
    for old in [
        record("old-ahead", "2031-01-01T00:00:00Z"),
        record("old", "2026-02-01T00:00:00Z"),
    ] {
        ops.edit(&old.run_id.clone(), &mut FixtureUnnumberedRun(old))
            .await
            .unwrap();
    }
    assert_eq!(
        ops.published(&AsOf::Latest).await.unwrap().unwrap().run_id,
        "old-ahead"
    );
    for run in [
        record("a", "2026-03-01T00:00:00Z"),
        record("ahead", AHEAD),
        record("b", NOW),
    ] {
        ops.publish(&run).await.unwrap();
        assert_eq!(
            ops.published(&AsOf::Latest).await.unwrap().as_ref(),
            Some(&run)
        );
    }
    let order: Vec<String> = ops
        .runs()
        .await
        .unwrap()
        .into_iter()
        .map(|run| run.run_id)
        .collect();
    assert_eq!(order, ["b", "ahead", "a", "old-ahead", "old"]);
    let then = AsOf::Time(t("2026-03-01T12:00:00Z"));
    assert_eq!(ops.published(&then).await.unwrap().unwrap().run_id, "a");
}

#[tokio::test]
async fn what_was_read_in_the_future_is_not_read_also_once_that_has_come() {
    for is_folded in [false, true] {
        what_was_read_in_the_future_is_not_read(is_folded).await;
    }
}

async fn what_was_read_in_the_future_is_not_read(is_folded: bool) {
    let place = TempWarehouse::new();
    let before = slice(
        "2026-01-01T00:00:00Z",
        "2026-03-01T00:00:00Z",
        "2026-03-01T00:00:00Z",
    );
    let lie = slice("2026-03-01T00:00:00Z", AHEAD, AHEAD);
    at(&place, AHEAD)
        .await
        .ops()
        .record_slices(&[before.clone(), lie.clone()])
        .await
        .unwrap();
    // Another machine's clock is two minutes ahead: that is no lie.
    let near = slice("2026-03-01T00:00:00Z", NOW, "2026-03-02T00:02:00Z");
    at(&place, NOW)
        .await
        .ops()
        .record_slices(std::slice::from_ref(&near))
        .await
        .unwrap();
    let read = SliceRow {
        read_at: t(NOW),
        ..near
    };
    let ops = at(&place, NOW).await.ops();
    assert_eq!(
        ops.slices("hecone").await.unwrap(),
        [before.clone(), read.clone()]
    );
    let healed = async |pipeline: &str| {
        let ledger = ops.run_ledger().await.unwrap();
        ops.healed_ledger(&ledger, pipeline, "r").await.unwrap()
    };
    let other = healed("other").await;
    assert_eq!(
        other,
        PipelineLedger::default(),
        "another pipeline's ledger is left alone"
    );
    // Also where somebody has folded what it says.
    if is_folded {
        at(&place, AHEAD)
            .await
            .ops()
            .fold_coverage(RunFindings::default())
            .await
            .unwrap();
    }
    let once = healed("hecone").await;
    assert_eq!(once.forgotten, 1);
    let seen = |rows: &[CoverageRow]| {
        let seen = rows.iter().filter_map(|row| row.as_read().seen());
        merge_windows(seen.collect())
    };
    assert_eq!(
        seen(&once.coverage),
        merge_windows(vec![before.window, read.window])
    );
    assert_eq!(
        healed("hecone").await,
        PipelineLedger {
            forgotten: 0,
            ..once
        },
        "once is enough"
    );
    ops.fold_coverage(RunFindings::default()).await.unwrap();
    let later = at(&place, "2031-01-01T00:00:00Z").await.ops();
    assert_eq!(
        seen(&later.coverage("hecone").await.unwrap()),
        merge_windows(vec![before.window, read.window])
    );
    assert_eq!(later.slices("hecone").await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_record_that_landed_in_the_future_is_replaced_by_the_next_that_comes() {
    let place = TempWarehouse::new();
    let spec = Arc::new(source_spec());
    let ahead = at(&place, AHEAD)
        .await
        .source_table("hecone", Arc::clone(&spec));
    ahead
        .land(
            vec![page(
                AHEAD,
                &[
                    FixtureRecord("a", None, 1, None),
                    FixtureRecord("b", None, 1, None),
                ],
            )],
            &run("ahead"),
        )
        .await
        .unwrap();
    let table = at(&place, NOW).await.source_table("hecone", spec);
    let landed = table
        .land(
            vec![page(
                NOW,
                &[
                    FixtureRecord("a", None, 2, None),
                    FixtureRecord("b", None, 1, None),
                ],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    assert_eq!((landed.changed, landed.unchanged, landed.stale), (1, 1, 0));
    // By one clock, what was asked for earlier is older.
    let landed = table
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[FixtureRecord("a", None, 3, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    assert_eq!((landed.changed, landed.stale), (0, 1));
}

#[tokio::test]
async fn a_dimensions_row_of_the_future_gives_way_to_the_next_that_comes() {
    let place = TempWarehouse::new();
    let spec = Arc::new(dimension_spec());
    let seconds = |text: &str| t(text).as_second();
    let rows = |name: &'static str, at: &str| sites("hecone", &[("s", name, seconds(at))]);
    let merge = async |now: &str, land: i64, rows| {
        let table = at(&place, now).await.unified_table(Arc::clone(&spec));
        table
            .merge(&step("hecone", land - 1, land), rows)
            .await
            .unwrap();
        sql(
            &place.open().await,
            "unified/sites",
            None,
            "SELECT name FROM t",
        )
        .await
    };
    assert_eq!(merge(AHEAD, 1, rows("Ahead", AHEAD)).await, ["Ahead"]);
    assert_eq!(merge(NOW, 2, rows("Now", NOW)).await, ["Now"]);
    assert_eq!(
        merge(NOW, 3, rows("Earlier", "2026-03-01T00:00:00Z")).await,
        ["Now"],
        "an older row goes before no newer one"
    );
}
