//! The law of landing: when a package is committed, who waits for whom, and what a failure leaves.
//!
//! Invariant: each test drives the package writer through its channels, over a warehouse of its own.

use super::*;
use crate::message::PageSink;
use crate::scripted_source::{SALES, SHOPS, ScriptedRun, queued, sale, slice, t, window};
use tillhouse_model::ErrorKind;
use tokio::sync::oneshot;

fn complete(records: u64) -> LandingMessage {
    LandingMessage::Complete(Box::new(SliceReadSummary {
        slice: slice(SALES),
        records,
        rejects: 0,
        declared_total: None,
        attempts: 1,
        read_at: t("2026-01-03T00:00:00Z"),
        by: ReadBy::EventTime,
        asked: window(),
        keys: None,
        fingerprint: None,
    }))
}

async fn flush(to: &mpsc::Sender<LandingMessage>) -> oneshot::Receiver<()> {
    let (flushed, answer) = oneshot::channel();
    assert!(to.send(LandingMessage::Flush(flushed)).await.is_ok());
    answer
}

#[tokio::test]
async fn a_closed_channel_commits_what_came_and_then_its_slice() {
    let run = ScriptedRun::new([]).await;
    let writer = run.writer(None);
    let table = Arc::clone(&writer.table);
    let (mut send, receive) = mpsc::channel(8);
    let landing = tokio::spawn(writer.run(receive));
    send.accept(queued(&[sale("a"), sale("b")], 1))
        .await
        .unwrap();
    send.accept(queued(&[sale("b"), sale("c")], 2))
        .await
        .unwrap();
    assert!(send.send(complete(4)).await.is_ok());
    drop(send);
    let counts = landing.await.unwrap().unwrap();
    assert_eq!((counts.new, counts.records, counts.packages), (3, 3, 1));
    assert_eq!(table.newest_load_id().await.unwrap(), 1);
    let slices = run.ledger().await;
    assert_eq!(slices.len(), 1);
    assert_eq!((slices[0].load_id, slices[0].records), (1, 4));
    assert_eq!(run.events.landed(), [3]);
}

#[tokio::test]
async fn nothing_that_came_is_nothing_that_is_written() {
    let run = ScriptedRun::new([]).await;
    let writer = run.writer(None);
    let table = Arc::clone(&writer.table);
    let (send, receive) = mpsc::channel(1);
    drop(send);
    let counts = writer.run(receive).await.unwrap();
    assert_eq!((counts.records, counts.packages), (0, 0));
    assert_eq!(table.newest_load_id().await.unwrap(), 0);
    assert!(run.events.landed().is_empty());
}

#[tokio::test]
async fn a_flush_is_answered_after_the_commit_of_all_before_it() {
    let run = ScriptedRun::new([]).await;
    let writer = run.writer(None);
    let table = Arc::clone(&writer.table);
    let (mut send, receive) = mpsc::channel(8);
    let landing = tokio::spawn(writer.run(receive));
    for (hour, id) in [(1, "a"), (2, "b")] {
        send.accept(queued(&[sale(id)], hour)).await.unwrap();
        flush(&send).await.await.unwrap();
        assert_eq!(table.newest_load_id().await.unwrap(), i64::from(hour));
    }
    // One that nobody waits for any more is no fault.
    drop(flush(&send).await);
    send.accept(queued(&[sale("c")], 3)).await.unwrap();
    drop(send);
    assert_eq!(landing.await.unwrap().unwrap().new, 3);
    assert_eq!(run.events.landed().iter().sum::<u64>(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_package_is_committed_when_its_first_page_has_waited_long_enough() {
    let run = ScriptedRun::new([]).await;
    let (landed, mut follower) = mpsc::channel(1);
    let (mut send, receive) = mpsc::channel(8);
    let landing = tokio::spawn(run.writer(Some(landed)).run(receive));
    let start = Instant::now();
    send.accept(queued(&[sale("a")], 1)).await.unwrap();
    let package = follower.recv().await.unwrap();
    assert_eq!((package.summary.new, package.summary.load_id), (1, 1));
    assert!(start.elapsed() >= PACKAGE_AGE);
    drop(send);
    assert_eq!(landing.await.unwrap().unwrap().packages, 1);
}

#[tokio::test]
async fn whoever_follows_holds_landing_back_until_it_takes_a_package() {
    let run = ScriptedRun::new([]).await;
    let (landed, mut follower) = mpsc::channel(1);
    let (mut send, receive) = mpsc::channel(8);
    let writer = run.writer(Some(landed));
    let table = Arc::clone(&writer.table);
    let landing = tokio::spawn(writer.run(receive));
    send.accept(queued(&[sale("a")], 1)).await.unwrap();
    flush(&send).await.await.unwrap();
    // The first waits in the channel; the second is committed, and landing waits to show it.
    send.accept(queued(&[sale("b"), sale("a")], 2))
        .await
        .unwrap();
    let mut second = flush(&send).await;
    while table.newest_load_id().await.unwrap() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(second.try_recv().is_err(), "landing waits");
    assert_eq!(follower.recv().await.unwrap().summary.load_id, 1);
    second.await.unwrap();
    let package = follower.recv().await.unwrap();
    assert_eq!((package.summary.new, package.summary.unchanged), (1, 1));
    let rows: usize = package.rows.rows.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(rows, 1, "what was known is not shown");
    drop(send);
    landing.await.unwrap().unwrap();
    assert!(follower.recv().await.is_none());
}

#[tokio::test]
async fn landing_goes_on_when_whoever_follows_has_stopped() {
    let run = ScriptedRun::new([]).await;
    let (landed, follower) = mpsc::channel(1);
    drop(follower);
    let (mut send, receive) = mpsc::channel(8);
    let landing = tokio::spawn(run.writer(Some(landed)).run(receive));
    for (hour, id) in [(1, "a"), (2, "b"), (3, "c")] {
        send.accept(queued(&[sale(id)], hour)).await.unwrap();
        flush(&send).await.await.unwrap();
    }
    drop(send);
    let counts = landing.await.unwrap().unwrap();
    assert_eq!((counts.new, counts.packages), (3, 3));
}

#[tokio::test]
async fn a_package_that_cannot_be_written_ends_landing_and_closes_its_channel() {
    let run = ScriptedRun::new([]).await;
    let (mut send, receive) = mpsc::channel(8);
    let landing = tokio::spawn(run.writer(None).run(receive));
    send.accept(queued(&[sale("a")], 1)).await.unwrap();
    assert!(send.send(complete(1)).await.is_ok());
    flush(&send).await.await.unwrap();
    let mut unfit = queued(&[sale("b")], 2);
    unfit.incoming.batch = unfit.incoming.batch.project(&[0]).unwrap();
    send.accept(unfit).await.unwrap();
    assert!(send.send(complete(2)).await.is_ok());
    assert!(flush(&send).await.await.is_err(), "nobody answers");
    send.closed().await;
    let refused = send.accept(queued(&[sale("c")], 3)).await.unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::Interrupted,
        "landing says why itself"
    );
    let error = landing.await.unwrap().unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Interrupted);
    let slices = run.ledger().await;
    let records: Vec<u64> = slices.iter().map(|row| row.records).collect();
    assert_eq!(
        records,
        [1],
        "what was committed is remembered, what was not is not"
    );
}

#[test]
fn records_that_come_twice_in_a_run_count_once() {
    let mut came = SeenKeys::default();
    assert!(!came.before("a", None) && came.before("a", None) && !came.before("b", None));
    assert!(!came.is_contested("a"));
}

#[test]
fn a_record_that_came_for_two_tenants_or_did_not_fit_is_contested() {
    let mut came = SeenKeys {
        is_shared: true,
        ..SeenKeys::default()
    };
    for (key, tenant, is_known) in [
        ("a", 1, false),
        ("a", 1, true),
        ("b", 1, false),
        ("b", 2, true),
        ("c", 2, false),
    ] {
        assert_eq!(came.before(key, Some(tenant)), is_known, "{key} {tenant}");
    }
    came.note_rejected(&slice(SALES), [Some("c")].into_iter());
    let contested = ["a", "b", "c"].map(|key| came.is_contested(key));
    assert_eq!(contested, [false, true, true]);
    // A window of changes says nothing of what happened in it.
    for (by, windows) in [(ReadBy::ChangeTime, 0), (ReadBy::EventTime, 1)] {
        let LandingMessage::Complete(read) = complete(1) else {
            continue;
        };
        came.note_listing(SALES, &SliceReadSummary { by, ..*read });
        assert_eq!(came.windows.len(), windows);
    }
    // What has no key may be any record of its window.
    came.note_rejected(&slice(SALES), [None].into_iter());
    if let LandingMessage::Complete(read) = complete(1) {
        came.note_listing(SALES, &read);
    }
    assert_eq!(came.windows.len(), 1);
}

#[test]
fn a_reject_is_gone_only_where_all_that_it_came_with_was_read_again() {
    let hour = |hour: i64| window().from() + jiff::SignedDuration::from_hours(hour);
    let hours = |from: i64, to: i64| Window::new(hour(from), hour(to)).unwrap();
    let read = |by: ReadBy, window: Window, tenant: Option<&str>| SliceReadSummary {
        slice: Slice {
            resource: SALES.name.to_owned(),
            tenant: tenant.map(str::to_owned),
            window,
        },
        records: 0,
        rejects: 0,
        declared_total: None,
        attempts: 1,
        read_at: hour(48),
        by,
        asked: window,
        keys: None,
        fingerprint: None,
    };
    let row = |key: bool, time: Option<i64>, read_by: ReadBy, slice: Window| RejectRow {
        pipeline: "p".to_owned(),
        resource: SALES.name.to_owned(),
        record_key: key.then(|| "a".to_owned()),
        field: "amount".to_owned(),
        reason: "not a number".to_owned(),
        redacted: String::new(),
        tenant: None,
        nth: 1,
        time: time.map(hour),
        slice,
        read_by: Some(read_by),
        run_id: "r1".to_owned(),
        first_seen: hour(0),
        last_seen: hour(0),
        resolved_at: None,
    };
    let (event, change) = (ReadBy::EventTime, ReadBy::ChangeTime);
    let (early, late) = (hours(0, 12), hours(12, 24));
    for (known, by, window, is_gone) in [
        // Without a time: all of the window that it came in, by the same time.
        (row(true, None, event, early), event, early, true),
        (row(true, None, event, early), event, hours(0, 24), true),
        (row(true, None, event, early), event, hours(1, 12), false),
        (row(true, None, event, early), change, early, false),
        (row(false, None, event, early), event, early, true),
        // With a time: where that is.
        (row(true, Some(3), event, late), event, hours(2, 4), true),
        (row(true, Some(3), event, late), event, late, false),
        // Learnt of late, with a key: another change may have moved it out of the window of changes.
        (row(true, Some(3), change, late), change, late, false),
        (row(true, Some(3), change, late), event, hours(2, 4), true),
        (row(false, Some(3), change, late), change, late, true),
    ] {
        let covers = covers_reject(SALES, &read(by, window, None), &known);
        assert_eq!(covers, is_gone, "{known:?} {by:?} {window}");
    }
    // Of another tenant, or of one that nobody noted.
    for (key, noted, is_gone) in [
        (true, Some("x"), true),
        (true, Some("y"), false),
        (true, None, false),
        (false, None, true),
    ] {
        let known = RejectRow {
            tenant: noted.map(str::to_owned),
            ..row(key, None, event, early)
        };
        let covers = covers_reject(SALES, &read(event, early, Some("x")), &known);
        assert_eq!(covers, is_gone, "{key} {noted:?}");
    }
    // What is read whole lies in no window, whatever time it has.
    let whole = RejectRow {
        read_by: None,
        ..row(true, Some(3), event, early)
    };
    assert!(covers_reject(SHOPS, &read(event, early, None), &whole));
}
