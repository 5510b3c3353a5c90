//! The law of reading a resource: what one slice's failure does to the others, and what a run tells of it.
//!
//! Invariant: each test runs reader and package writer together, over the channel between them.

use super::*;
use crate::plan::{SyncOptions, SyncRange};
use crate::scripted_source::{SALES, SHOPS, ScriptedRun, Turn, page, sale, slice, t, window};
use tillhouse_model::ReadBy;

struct Outcome {
    read: Result<(ResourceLandingCounts, Option<Error>)>,
    report: PipelineReport,
}

/// Reads one slice after the other, each of the tenant named.
async fn read_tenants(run: &ScriptedRun, tenants: &[Option<&str>]) -> Outcome {
    let (context, pipeline) = (run.context(), run.pipeline(SALES));
    let slices = tenants.iter().map(|tenant| PlannedSlice {
        slice: Slice {
            tenant: tenant.map(str::to_owned),
            ..slice(SALES)
        },
        read_by: ReadBy::EventTime,
    });
    let mut report = PipelineReport::default();
    let (plan, writer) = (&pipeline.resources[0], run.writer(None));
    let read = read(
        &context,
        &pipeline,
        plan,
        slices.collect(),
        None,
        writer,
        &mut report,
    );
    let read = read.await;
    Outcome { read, report }
}

fn good(id: &str) -> Vec<Turn> {
    vec![Turn::Page(page(&[sale(id)]))]
}

fn bad(kind: ErrorKind) -> Vec<Turn> {
    vec![Turn::Fail(Error::new(kind, "it failed"))]
}

#[tokio::test]
async fn a_slice_that_fails_leaves_the_others_alone() {
    let mut torn = good("b");
    torn.extend(bad(ErrorKind::Protocol));
    let run = ScriptedRun::new([good("a"), torn, good("c")]).await;
    let Outcome { read, report } = read_tenants(&run, &[None, None, None]).await;
    let (counts, failure) = read.unwrap();
    assert_eq!(counts.new, 3, "what was read before a failure is landed");
    assert!(failure.is_none(), "something came of the resource");
    assert_eq!((report.slices, report.failed.len()), (2, 1));
    assert_eq!(report.failed[0].slice, slice(SALES).to_string());
    assert!(report.failed[0].error.contains("it failed"));
    assert_eq!(run.events.slices(), [true, false, true]);
    let ledger = run.ledger().await;
    let read: u64 = ledger.iter().map(|row| row.records).sum();
    assert_eq!(read, 2, "a slice that failed is not covered");
}

#[tokio::test]
async fn what_every_slice_of_a_tenant_would_meet_stops_the_rest_of_it_and_no_other() {
    for kind in [ErrorKind::Unauthorized, ErrorKind::Config] {
        let run = ScriptedRun::new([bad(kind), good("a"), good("b"), good("c")]).await;
        let tenants = [Some("7"), Some("7"), Some("8"), Some("7")];
        let Outcome { read, report } = read_tenants(&run, &tenants).await;
        let (counts, failure) = read.unwrap();
        // The second answer was asked for and not looked at.
        assert_eq!((counts.new, report.slices), (1, 1), "{kind:?}");
        assert_eq!(failure.map(|error| error.kind()), Some(kind));
        let failed: Vec<&str> = report.failed.iter().map(|failed| &*failed.slice).collect();
        assert_eq!(failed, ["sales/7"], "one stands for all");
        assert_eq!(run.events.slices(), [false, false, true, false]);
    }
}

#[tokio::test]
async fn a_run_that_is_stopped_keeps_what_came() {
    let mut hangs = good("b");
    hangs.push(Turn::Hang);
    let run = ScriptedRun::new([good("a"), hangs]).await;
    let stopping = async {
        while run.log().taken() < 2 {
            tokio::task::yield_now().await;
        }
        run.cancel.cancel();
    };
    let tenants = [None, None];
    let (outcome, ()) = tokio::join!(read_tenants(&run, &tenants), stopping);
    let error = outcome.read.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(outcome.report.failed.is_empty());
    let ledger = run.ledger().await;
    assert_eq!(ledger.len(), 1, "the slice that was read is known");
}

#[tokio::test]
async fn a_failure_of_landing_is_the_failure_of_the_run() {
    let run = ScriptedRun::new([good("a"), good("b")]).await;
    let mut writer = run.writer(None);
    // A table of another contract refuses every page.
    let mut other = crate::scripted_source::spec(SALES);
    other.columns.truncate(1);
    other.record_time.clear();
    other.updated_at = None;
    writer.table = Arc::new(run.warehouse.source_table("shop", Arc::new(other)));
    let (context, pipeline) = (run.context(), run.pipeline(SALES));
    let slices = vec![PlannedSlice {
        slice: slice(SALES),
        read_by: ReadBy::EventTime,
    }];
    let (plan, mut report) = (&pipeline.resources[0], PipelineReport::default());
    let read = read(&context, &pipeline, plan, slices, None, writer, &mut report);
    let error = read.await.err().unwrap();
    assert_ne!(
        error.kind(),
        ErrorKind::Interrupted,
        "the reason, not its echo"
    );
    assert!(run.ledger().await.is_empty());
}

#[tokio::test]
async fn a_record_that_a_whole_reading_misses_gets_a_tombstone() {
    let both = vec![Turn::Page(page(&[sale("a"), sale("b")]))];
    let keyless = vec![Turn::Page(page(&[
        sale("a"),
        r#"{"at":"2026-01-01T11:00:00Z"}"#.to_owned(),
    ]))];
    let run = ScriptedRun::new([both, keyless, bad(ErrorKind::Protocol), good("a")]).await;
    let (context, pipeline) = (run.context(), run.pipeline(SHOPS));
    let options = SyncOptions::default();
    let mut changed = Vec::new();
    for _ in 0..4 {
        let done = crate::sync(&context, std::slice::from_ref(&pipeline), options).await;
        changed.push(done.ok().map(|report| report.pipelines[0].changed));
    }
    // A reject without a key might be it, and of a failed reading nothing is known.
    assert_eq!(changed, [Some(0), Some(0), None, Some(1)]);
}

#[tokio::test]
async fn a_record_that_does_not_come_again_is_told_where_its_time_is_read_again() {
    let both = vec![Turn::Page(page(&[sale("a"), sale("b")]))];
    let keyless = vec![Turn::Page(page(&[
        sale("a"),
        r#"{"at":"2026-01-01T11:00:00Z"}"#.to_owned(),
    ]))];
    let run = ScriptedRun::new([
        both,
        keyless,
        bad(ErrorKind::Protocol),
        good("a"),
        good("a"),
    ])
    .await;
    let (context, pipeline) = (run.context(), run.pipeline(SALES));
    let options = SyncOptions {
        range: SyncRange {
            from: Some(window().from()),
            to: Some(window().to()),
        },
        ..SyncOptions::default()
    };
    let mut missing = Vec::new();
    for _ in 0..5 {
        let done = crate::sync(&context, std::slice::from_ref(&pipeline), options).await;
        missing.push(done.ok().map(|report| {
            let report = &report.pipelines[0];
            (report.not_listed_again, report.warnings)
        }));
    }
    // A reject without a key might be it, and of a failed reading nothing is known.
    let expected = [Some((0, 0)), Some((0, 0)), None, Some((1, 1)), Some((1, 1))];
    assert_eq!(missing, expected);
    let ops = run.warehouse.ops();
    let told = ops.warnings("shop", "not_listed_again").await.unwrap();
    let [warning] = told.as_slice() else {
        panic!("it is written down once: {told:?}")
    };
    assert_eq!(warning.record_key, "b");
    assert!(warning.original.contains("2026-01-01T10:00:00Z"));
    let status = crate::status(&run.warehouse, &[pipeline]).await.unwrap();
    assert_eq!(status[0].not_listed_again, 1);
}

#[tokio::test]
async fn a_list_that_comes_as_it_was_is_not_compared_with_its_table() {
    let both = || vec![Turn::Page(page(&[sale("a"), sale("b")]))];
    let turned = vec![
        Turn::Page(page(&[sale("b")])),
        Turn::Page(page(&[sale("a")])),
    ];
    let run = ScriptedRun::new([
        both(),
        both(),
        good("a"),
        both(),
        both(),
        turned,
        both(),
        good("a"),
    ])
    .await;
    let (context, pipeline) = (run.context(), run.pipeline(SHOPS));
    let sync = async |full| {
        let options = SyncOptions {
            full,
            ..SyncOptions::default()
        };
        let done = crate::sync(&context, std::slice::from_ref(&pipeline), options).await;
        done.map(|report| {
            let report = &report.pipelines[0];
            (report.new + report.changed, report.unchanged)
        })
    };
    let mut counts = Vec::new();
    for _ in 0..5 {
        counts.push(sync(false).await.unwrap());
    }
    // One goes and comes back: the list is as it was, and its table is not.
    assert_eq!(counts, [(2, 0), (0, 2), (1, 1), (1, 1), (0, 2)]);
    // Without its data files the table can be compared with nothing.
    let table = run
        .warehouse
        .url()
        .to_file_path()
        .unwrap()
        .join("shop/shops");
    for month in std::fs::read_dir(table).unwrap() {
        let month = month.unwrap().path();
        if !month.ends_with("_delta_log") {
            std::fs::remove_dir_all(month).unwrap();
        }
    }
    assert_eq!(
        sync(false).await.unwrap(),
        (0, 2),
        "in whatever order it comes"
    );
    // A full sync compares all, and makes a table anew that has lost its data.
    assert_eq!(sync(true).await.unwrap().0, 2);
    assert!(sync(false).await.is_ok());
}

#[tokio::test]
async fn a_sync_writes_the_ledger_once_also_when_it_is_stopped() {
    let mut hangs = good("d");
    hangs.push(Turn::Hang);
    let run = ScriptedRun::new([good("a"), good("b"), good("c"), hangs]).await;
    let (context, pipeline) = (run.context(), run.pipeline(SALES));
    let options = SyncOptions {
        range: SyncRange {
            from: Some(window().from()),
            to: Some(t("2026-01-03T00:00:00Z")),
        },
        ..SyncOptions::default()
    };
    let pipelines = [pipeline];
    crate::sync(&context, &pipelines, options).await.unwrap();
    let ledger = async || {
        let slices = run.warehouse.open_at("ops/slices", None).await.unwrap();
        let rows = run.warehouse.ops().slices("shop").await.unwrap();
        let mut rows: Vec<_> = rows.iter().map(|row| (row.window, row.records)).collect();
        rows.sort();
        (slices.map(|open| open.version), rows)
    };
    // A table's first version only makes it. Days that touch are one row.
    let both = Window::new(window().from(), t("2026-01-03T00:00:00Z")).unwrap();
    assert_eq!(ledger().await, (Some(1), vec![(both, 2)]));
    let stopping = async {
        while run.log().taken() < 4 {
            tokio::task::yield_now().await;
        }
        run.cancel.cancel();
    };
    let (done, ()) = tokio::join!(crate::sync(&context, &pipelines, options), stopping);
    assert_eq!(done.err().unwrap().kind(), ErrorKind::Interrupted);
    assert_eq!(ledger().await, (Some(2), vec![(window(), 1), (both, 2)]));
}

#[tokio::test]
async fn a_run_tells_what_it_plans_and_which_stages_are_over() {
    let run = ScriptedRun::new([good("a"), good("b")]).await;
    let (context, pipeline) = (run.context(), run.pipeline(SALES));
    let range = SyncRange {
        from: Some(window().from()),
        to: Some(t("2026-01-03T00:00:00Z")),
    };
    let options = SyncOptions {
        range,
        ..SyncOptions::default()
    };
    let done = crate::sync(&context, &[pipeline], options).await.unwrap();
    assert!(done.published && !done.is_partial());
    assert_eq!((done.pipelines[0].slices, done.pipelines[0].new), (2, 2));
    assert_eq!(run.events.planned(), [2]);
    assert_eq!(run.events.slices(), [true, true]);
    assert_eq!(run.events.pages().len(), 2);
    assert_eq!(run.events.landed().iter().sum::<u64>(), 2);
    let stages = run.events.stages();
    assert_eq!(stages, ["extract", "unify", "roll-ups", "publish"]);
}
