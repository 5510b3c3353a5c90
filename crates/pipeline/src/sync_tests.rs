//! The law of pipelines side by side: one that fails leaves the others alone, and two runs of one pipeline do not meet.
//!
//! Invariant: each test runs whole syncs over one warehouse.

use super::*;
use crate::lease::IfRunning;
use crate::plan::SyncRange;
use crate::scripted_source::{SALES, ScriptedRun, Turn, page, sale, window};
use std::time::Duration;
use tillhouse_lake::AsOf;
use tillhouse_model::ErrorKind;
use tokio::sync::Barrier;

fn good(id: &str) -> Vec<Turn> {
    vec![Turn::Page(page(&[sale(id)]))]
}

fn bad(kind: ErrorKind) -> Vec<Turn> {
    vec![Turn::Fail(Error::new(kind, "it failed").hint("Try it."))]
}

fn options() -> SyncOptions {
    SyncOptions {
        range: SyncRange {
            from: Some(window().from()),
            to: Some(window().to()),
        },
        ..SyncOptions::default()
    }
}

/// Pipelines of these names, each with a source of its own that gives one answer.
fn pipelines(run: &ScriptedRun, answers: Vec<(&str, Vec<Turn>)>) -> Vec<Pipeline> {
    let of = |(name, answer): (&str, Vec<Turn>)| Pipeline {
        name: name.to_owned(),
        source: run.other_source([answer]),
        ..run.pipeline(SALES)
    };
    answers.into_iter().map(of).collect()
}

#[tokio::test]
async fn pipelines_are_read_at_once_and_reported_in_their_order() {
    let run = ScriptedRun::new([]).await;
    let meeting = Arc::new(Barrier::new(3));
    let meet = |id: &str| {
        let mut turns = vec![Turn::Meet(Arc::clone(&meeting))];
        turns.extend(good(id));
        turns
    };
    let all = pipelines(
        &run,
        vec![("c", meet("1")), ("a", meet("2")), ("b", meet("3"))],
    );
    let context = run.context();
    let syncing = sync(&context, &all, options());
    let done = tokio::time::timeout(Duration::from_secs(60), syncing).await;
    let report = done.expect("they wait for one another").unwrap();
    let names: Vec<&str> = report
        .pipelines
        .iter()
        .map(|p| p.pipeline.as_str())
        .collect();
    assert_eq!(names, ["c", "a", "b"]);
    assert!(report.published && !report.is_partial());
    assert!(report.pipelines.iter().all(|p| (p.slices, p.new) == (1, 1)));
    let record = run
        .warehouse
        .ops()
        .published(&AsOf::Latest)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (record.pipelines, record.counts["new"]),
        (vec!["c".into(), "a".into(), "b".into()], 3)
    );
    for name in ["a", "b", "c"] {
        let lease = run.warehouse.ops().lease(name).await.unwrap().unwrap();
        assert!(lease.record.released);
        assert_eq!(lease.record.owner.run_id, report.run);
    }
}

#[tokio::test]
async fn a_source_gives_out_its_token_before_it_is_asked_for_a_page() {
    let run = ScriptedRun::new([good("1")]).await;
    let pipeline = run.pipeline(SALES);
    let context = run.context();
    let syncing = sync(&context, std::slice::from_ref(&pipeline), options());
    assert!(syncing.await.unwrap().published);
    assert_eq!(run.log().logins(), 1);
}

#[tokio::test]
async fn a_pipeline_that_fails_leaves_the_others_alone_and_is_named_with_its_reason() {
    for kind in [
        ErrorKind::Unreachable,
        ErrorKind::Unauthorized,
        ErrorKind::Internal,
        ErrorKind::Config,
    ] {
        let run = ScriptedRun::new([]).await;
        let all = pipelines(
            &run,
            vec![("a", good("1")), ("b", bad(kind)), ("c", good("3"))],
        );
        let report = sync(&run.context(), &all, options()).await.unwrap();
        assert!(report.published && report.is_partial(), "{kind:?}");
        let failed: Vec<bool> = report
            .pipelines
            .iter()
            .map(|p| p.failure.is_some())
            .collect();
        assert_eq!(failed, [false, true, false]);
        let failure = report.pipelines[1].failure.as_ref().unwrap();
        assert!(failure.error.contains("it failed"), "{}", failure.error);
        assert_eq!(failure.hint.as_deref(), Some("Try it."));
        let record = run
            .warehouse
            .ops()
            .published(&AsOf::Latest)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (record.outcome.as_str(), record.counts["pipelines_failed"]),
            ("partial", 1)
        );
        assert_eq!(record.counts["new"], 2);
        assert!(record.tables.contains_key("c/sales"));
    }
}

#[tokio::test]
async fn a_run_of_which_nothing_came_fails_with_every_reason_and_publishes_nothing() {
    let run = ScriptedRun::new([]).await;
    let all = pipelines(
        &run,
        vec![
            ("a", bad(ErrorKind::Busy)),
            ("b", bad(ErrorKind::Unreachable)),
        ],
    );
    let error = sync(&run.context(), &all, options()).await.unwrap_err();
    let parts: Vec<ErrorKind> = error.parts().iter().map(Error::kind).collect();
    assert_eq!(parts, [ErrorKind::Busy, ErrorKind::Unreachable]);
    let alone = pipelines(&run, vec![("a", bad(ErrorKind::Unauthorized))]);
    let error = sync(&run.context(), &alone, options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(run.warehouse.ops().runs().await.unwrap().is_empty());
    let lease = run.warehouse.ops().lease("a").await.unwrap().unwrap();
    assert!(lease.record.released, "given back also after a failure");
}

#[tokio::test]
async fn a_second_sync_of_a_pipeline_says_whose_run_is_under_way_or_waits_or_leaves_it_out() {
    let run = ScriptedRun::new([]).await;
    let context = run.context();
    let (leases, _) = RunLeases::take(
        (&context.warehouse, &context.cancel),
        &["a"],
        ("first", "sync"),
        IfRunning::Fail,
    )
    .await
    .unwrap();
    // Alone, it fails.
    let alone = pipelines(&run, vec![("a", good("1"))]);
    let error = sync(&context, &alone, options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let text = error.to_string();
    assert!(
        text.contains("sync first, process") && text.contains("since"),
        "{text}"
    );
    assert!(error.hint_text().unwrap().contains("--wait"));
    // Beside others, it is one that failed.
    let both = pipelines(&run, vec![("a", good("1")), ("b", good("2"))]);
    let report = sync(&context, &both, options()).await.unwrap();
    assert!(report.published && report.pipelines[0].failure.is_some());
    assert_eq!((report.pipelines[0].new, report.pipelines[1].new), (0, 1));
    // Left out, it is no failure.
    let skipping = SyncOptions {
        if_running: IfRunning::Skip,
        ..options()
    };
    let report = sync(&context, &alone, skipping).await.unwrap();
    assert!(!report.published && !report.is_partial());
    assert_eq!(
        (
            report.pipelines.len(),
            report.skipped[0].running.run.as_str()
        ),
        (0, "first")
    );
    // Waited for, it comes after.
    let waiting = SyncOptions {
        if_running: IfRunning::Wait,
        ..options()
    };
    let first = async {
        tokio::task::yield_now().await;
        leases.release().await;
    };
    let alone = pipelines(&run, vec![("a", good("1"))]);
    let (report, ()) = tokio::join!(sync(&context, &alone, waiting), first);
    assert_eq!(report.unwrap().pipelines[0].new, 1);
}

#[tokio::test]
async fn a_run_whose_lease_was_lost_commits_nothing_more_and_says_who_has_it() {
    let run = ScriptedRun::new([]).await;
    let context = run.context();
    let mut hangs = good("1");
    hangs.push(Turn::Hang);
    let source = run.other_source([hangs]);
    let all = vec![
        Pipeline {
            name: "a".to_owned(),
            source,
            ..run.pipeline(SALES)
        },
        pipelines(&run, vec![("b", good("2"))]).remove(0),
    ];
    let losing = async {
        // As another machine does that took it for abandoned.
        let ops = run.warehouse.ops();
        let taken = loop {
            match ops.lease("a").await.unwrap() {
                Some(taken) if !run.events.pages().is_empty() => break taken,
                _ => tokio::task::yield_now().await,
            }
        };
        let mut other = taken.record.renewed(ops.now());
        other.owner.host = "elsewhere".to_owned();
        other.owner.process = None;
        assert!(ops.swap_lease(Some(&taken), other).await.unwrap().is_some());
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(20)).await;
        tokio::time::resume();
    };
    let (report, ()) = tokio::join!(sync(&context, &all, options()), losing);
    let report = report.unwrap();
    let failure = report.pipelines[0].failure.as_ref().unwrap();
    assert!(
        failure.error.contains("its lease has passed on") && failure.error.contains("on elsewhere"),
        "{}",
        failure.error
    );
    assert!(report.published && report.pipelines[1].failure.is_none());
    let rows = run.warehouse.open_at("a/sales", None).await.unwrap();
    assert!(rows.is_none(), "what had been gathered was not committed");
    let lease = run.warehouse.ops().lease("a").await.unwrap().unwrap();
    assert!(!lease.record.released, "another's lease is not given back");
}
