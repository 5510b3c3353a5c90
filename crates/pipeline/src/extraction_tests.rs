//! The law of extraction side by side: what is read at once, who waits for whom, and that nothing else changes.
//!
//! Invariant: what has to go on at once meets at a barrier, so a test of it hangs, and fails by its patience, where it does not.

use super::*;
use crate::config::ChildResource;
use crate::plan::SyncRange;
use crate::scripted_source::{PAYMENTS, SALES, SHOPS, ScriptedRun, Turn, page, sale, t, window};
use std::time::Duration;
use tillhouse_model::{Resource, WindowRead};
use tokio::sync::Barrier;

fn good(id: &str) -> Vec<Turn> {
    vec![Turn::Page(page(&[sale(id)]))]
}

fn bad(kind: ErrorKind) -> Vec<Turn> {
    vec![Turn::Fail(Error::new(kind, "it failed"))]
}

fn after(barrier: &Arc<Barrier>, turns: Vec<Turn>) -> Vec<Turn> {
    let mut all = vec![Turn::Meet(Arc::clone(barrier))];
    all.extend(turns);
    all
}

/// Payments as parts of sales.
fn part_of_sales() -> ChildResource {
    ChildResource {
        resource: PAYMENTS.name,
        of: SALES.name,
        link: ChildLink::Part {
            by: "id".into(),
            orphans: None,
            counted: None,
        },
    }
}

fn days(number: i64) -> SyncOptions {
    let from = window().from();
    SyncOptions {
        range: SyncRange {
            from: Some(from),
            to: Some(from + jiff::SignedDuration::from_hours(24 * number)),
        },
        ..SyncOptions::default()
    }
}

/// Reads a pipeline; it must come to an end.
async fn read(run: &ScriptedRun, pipeline: &Pipeline, options: SyncOptions) -> PipelineReport {
    let context = run.context();
    let syncing = crate::sync(&context, std::slice::from_ref(pipeline), options);
    let done = tokio::time::timeout(Duration::from_secs(60), syncing).await;
    done.expect("it hangs").unwrap().pipelines.remove(0)
}

#[tokio::test]
async fn resources_are_read_at_once() {
    let run = ScriptedRun::new([]).await;
    let meeting = Arc::new(Barrier::new(3));
    for resource in [SALES, SHOPS, PAYMENTS] {
        run.answer(resource, [after(&meeting, good(resource.name))]);
    }
    let pipeline = Pipeline {
        concurrency: 3,
        ..run.pipeline_of(&[SALES, SHOPS, PAYMENTS])
    };
    let report = read(&run, &pipeline, days(1)).await;
    assert_eq!((report.slices, report.new, report.records), (3, 3, 3));
    let mut read: Vec<String> = run
        .warehouse
        .ops()
        .slices("shop")
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.resource)
        .collect();
    read.sort();
    assert_eq!(read, ["payments", "sales", "shops"]);
}

#[tokio::test]
async fn slices_of_all_resources_together_are_no_more_than_the_connection_allows() {
    for concurrency in [1, 2, 3] {
        let run = ScriptedRun::new([]).await;
        for resource in [SALES, SHOPS, PAYMENTS] {
            let answers = (0..4).map(|number| good(&format!("{}{number}", resource.name)));
            run.answer(resource, answers);
        }
        let pipeline = Pipeline {
            concurrency,
            ..run.pipeline_of(&[SALES, SHOPS, PAYMENTS])
        };
        let report = read(&run, &pipeline, days(4)).await;
        // Shops are read whole.
        assert_eq!((report.slices, report.new), (9, 9));
        assert!(run.log().most_open() <= concurrency, "{concurrency}");
    }
}

#[tokio::test]
async fn a_child_is_read_after_its_parent_and_waits_for_nobody_else() {
    let run = ScriptedRun::new([]).await;
    // Shops end only once payments are read, and these are asked for only once sales are.
    let meeting = Arc::new(Barrier::new(2));
    run.answer(SALES, [good("a"), good("b")]);
    run.answer(PAYMENTS, [after(&meeting, good("c")), good("d")]);
    run.answer(SHOPS, [after(&meeting, good("e"))]);
    let pipeline = Pipeline {
        concurrency: 3,
        children: vec![part_of_sales()],
        ..run.pipeline_of(&[PAYMENTS, SHOPS, SALES])
    };
    let report = read(&run, &pipeline, days(2)).await;
    assert_eq!((report.slices, report.new), (5, 5));
    let questions = run.log().questions.lock().unwrap().clone();
    let first = |question: &str| questions.iter().position(|asked| asked == question);
    let last = |question: &str| questions.iter().rposition(|asked| asked == question);
    assert!(
        last("pages sales") < first("pages payments"),
        "{questions:?}"
    );
}

#[tokio::test]
async fn a_child_comes_before_what_is_named_behind_it_and_takes_no_place_until_then() {
    let order = async |concurrency: usize, resources: &[&'static Resource]| {
        let run = ScriptedRun::new([]).await;
        let meeting = Arc::new(Barrier::new(concurrency));
        for resource in [SALES, SHOPS, PAYMENTS] {
            // As many as have a place meet, but for the last one.
            let turns = match resource.name == PAYMENTS.name {
                true => good(resource.name),
                false => after(&meeting, good(resource.name)),
            };
            run.answer(resource, [turns]);
        }
        let pipeline = Pipeline {
            concurrency,
            children: vec![part_of_sales()],
            ..run.pipeline_of(resources)
        };
        let report = read(&run, &pipeline, days(1)).await;
        assert_eq!((report.slices, report.new), (3, 3));
        run.log().questions.lock().unwrap().clone()
    };
    for resources in [
        [SALES, PAYMENTS, SHOPS],
        [PAYMENTS, SALES, SHOPS],
        [SALES, SHOPS, PAYMENTS],
    ] {
        let questions = order(1, &resources).await;
        let wanted = match resources[2].name == SHOPS.name {
            true => ["pages sales", "pages payments", "pages shops"],
            false => ["pages sales", "pages shops", "pages payments"],
        };
        assert_eq!(questions, wanted);
        // Sales and shops meet while payments wait.
        assert_eq!(order(2, &resources).await[2], "pages payments");
    }
}

#[tokio::test]
async fn a_child_is_read_also_where_its_parent_was_refused() {
    let run = ScriptedRun::new([]).await;
    run.answer(SALES, [bad(ErrorKind::Unauthorized)]);
    run.answer(PAYMENTS, [good("c")]);
    let pipeline = Pipeline {
        children: vec![part_of_sales()],
        ..run.pipeline_of(&[SALES, PAYMENTS])
    };
    let report = read(&run, &pipeline, days(1)).await;
    assert_eq!((report.slices, report.new), (1, 1));
    let failed: Vec<&str> = report.failed.iter().map(|f| f.slice.as_str()).collect();
    assert_eq!(failed, ["sales"]);
}

#[tokio::test]
async fn a_report_names_failures_in_the_order_of_the_configuration() {
    for concurrency in [1, 3] {
        let run = ScriptedRun::new([]).await;
        run.answer(SALES, [bad(ErrorKind::Protocol)]);
        run.answer(SHOPS, [good("e")]);
        run.answer(PAYMENTS, [bad(ErrorKind::Unauthorized)]);
        let pipeline = Pipeline {
            concurrency,
            ..run.pipeline_of(&[SALES, SHOPS, PAYMENTS])
        };
        let report = read(&run, &pipeline, days(1)).await;
        let failed: Vec<&str> = report.failed.iter().map(|f| f.slice.as_str()).collect();
        assert_eq!(failed, ["sales", "payments"]);
        assert_eq!(report.new, 1);
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_not_asked_for_everything() {
    const MORE: &Resource = &Resource {
        name: "more",
        ..*PAYMENTS
    };
    let run = ScriptedRun::new((0..9).map(|_| bad(ErrorKind::Unreachable))).await;
    let pipeline = run.pipeline_of(&[SALES, SHOPS, PAYMENTS, MORE]);
    let context = run.context();
    let error = crate::sync(&context, std::slice::from_ref(&pipeline), days(1))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(run.log().questions.lock().unwrap().len(), 3);
}

#[test]
fn parents_have_their_turn_before_their_children() {
    let link = |resource, of| ChildResource {
        resource,
        of,
        ..part_of_sales()
    };
    let looked_up = ChildResource {
        link: ChildLink::Lookup {
            on: vec![("id".into(), "id".into())],
            uses: Vec::new(),
            unless: None,
        },
        ..link("sales", "payments")
    };
    for (children, wanted) in [
        (vec![], vec![(0, vec![]), (1, vec![]), (2, vec![])]),
        (
            vec![link("payments", "sales")],
            vec![(1, vec![]), (2, vec![]), (0, vec![2])],
        ),
        (
            vec![link("payments", "shops"), link("shops", "sales")],
            vec![(2, vec![]), (1, vec![2]), (0, vec![1])],
        ),
        // A resource that is looked up waits for nobody, nor does one that is not read.
        (
            vec![looked_up, link("payments", "refunds")],
            vec![(0, vec![]), (1, vec![]), (2, vec![])],
        ),
        // A circle, and a resource in itself.
        (
            vec![
                link("payments", "sales"),
                link("sales", "payments"),
                link("shops", "shops"),
            ],
            vec![(1, vec![]), (0, vec![]), (2, vec![0])],
        ),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let run = runtime.block_on(ScriptedRun::new([]));
        let pipeline = Pipeline {
            children,
            ..run.pipeline_of(&[PAYMENTS, SHOPS, SALES])
        };
        let turns: Vec<(usize, Vec<usize>)> = reading_order(&pipeline)
            .into_iter()
            .map(|turn| (turn.resource, turn.after))
            .collect();
        assert_eq!(turns, wanted);
    }
}

fn outcome(failure: Option<ErrorKind>) -> ResourceOutcome {
    let failure = failure.map(|kind| Error::new(kind, format!("{kind:?}")));
    ResourceOutcome::Read(Box::default(), failure)
}

#[test]
fn a_server_that_fails_three_resources_in_a_row_is_gone() {
    use ErrorKind::{Busy, Unauthorized, Unreachable};
    for (failures, is_gone) in [
        (vec![Some(Unreachable), Some(Busy)], false),
        (vec![Some(Unreachable), Some(Busy), Some(Unreachable)], true),
        (vec![Some(Busy), Some(Busy), None, Some(Busy)], false),
        (
            vec![Some(Busy), Some(Busy), Some(Unauthorized), Some(Busy)],
            false,
        ),
        (
            vec![Some(Unauthorized), Some(Unauthorized), Some(Unauthorized)],
            false,
        ),
        (
            vec![None, Some(Busy), Some(Busy), Some(Busy), Some(Busy)],
            true,
        ),
    ] {
        let mut tracker = FailureTracker::default();
        for failure in failures {
            tracker.note(outcome(failure));
        }
        assert_eq!(tracker.server_is_gone().is_some(), is_gone);
        assert!(!tracker.is_over);
    }
}

#[test]
fn a_fault_of_our_own_ends_the_pipeline_at_once() {
    let mut tracker = FailureTracker::default();
    tracker.note(outcome(Some(ErrorKind::Busy)));
    let noted = tracker.note(outcome(Some(ErrorKind::Internal)));
    assert!(tracker.is_over);
    assert!(matches!(noted, ResourceOutcome::Fatal(error) if error.kind() == ErrorKind::Internal));
}

#[tokio::test]
async fn a_pipeline_that_is_stopped_says_so_and_not_what_its_resources_met() {
    let run = ScriptedRun::new([]).await;
    run.answer(SALES, [vec![Turn::Page(page(&[sale("a")])), Turn::Hang]]);
    run.answer(SHOPS, [vec![Turn::Hang]]);
    let pipeline = Pipeline {
        concurrency: 2,
        ..run.pipeline_of(&[SALES, SHOPS])
    };
    let context = run.context();
    let stopping = async {
        while run.log().taken() < 1 {
            tokio::task::yield_now().await;
        }
        run.cancel.cancel();
    };
    let syncing = crate::sync(&context, std::slice::from_ref(&pipeline), days(1));
    let (outcome, ()) = tokio::join!(syncing, stopping);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Interrupted);
    let lease = run.warehouse.ops().lease("shop").await.unwrap().unwrap();
    assert!(
        lease.record.released,
        "given back also where it was stopped"
    );
    assert!(t("2026-01-01T00:00:00Z") == window().from());
}

#[tokio::test]
async fn what_does_not_come_again_is_looked_for_once_a_day_and_where_a_time_is_asked_for() {
    let run = ScriptedRun::new([]).await;
    let pipeline = run.pipeline_of(&[SALES, SHOPS]);
    let now = t("2026-03-02T00:10:00Z");
    let looks = |resource: usize, read_at: &[&str], options: SyncOptions| {
        let plan = &pipeline.resources[resource];
        let row = |read_at: &&str| CoverageRow {
            pipeline: "shop".to_owned(),
            resource: plan.resource.name.to_owned(),
            tenant: None,
            read: WindowRead {
                window: window(),
                read_at: t(read_at),
                read_by: None,
                also_read_by: None,
            },
            run_id: "r1".to_owned(),
        };
        let ledger = PipelineLedger {
            coverage: read_at.iter().map(row).collect(),
            ..PipelineLedger::default()
        };
        finds_unlisted(&ledger, plan, options, now)
    };
    let open = SyncOptions::default();
    let full = SyncOptions { full: true, ..open };
    let (yesterday, today) = ("2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z");
    for (resource, read_at, options, expected) in [
        (0, &[yesterday][..], open, true),
        (0, &[yesterday, today], open, false),
        (0, &[today], days(1), true),
        (0, &[today], full, true),
        (0, &[], full, false),
        // What is read whole has tombstones.
        (1, &[yesterday], full, false),
    ] {
        let case = format!("{resource} {read_at:?} {options:?}");
        assert_eq!(looks(resource, read_at, options), expected, "{case}");
    }
}
