//! The law of landing: when a package is committed, who waits for whom, and what a failure leaves.
//!
//! Invariant: each test drives the package writer through its channels, over a warehouse of its own.

use super::*;
use crate::message::PageSink;
use crate::scripted_source::{SALES, SHOPS, ScriptedRun, queued, sale, slice, t, window};
use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use tillhouse_decode::Reject;
use tillhouse_model::{ErrorKind, Slice, Window};
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

/// Number of rejects, and whether no record that was listed fitted, of pages: by which time they were asked for, whether a record fits, and whether
/// another one does not.
async fn came(pages: &[(Option<ReadBy>, bool, bool)]) -> (u64, bool) {
    let run = ScriptedRun::new([]).await;
    let (mut send, receive) = mpsc::channel(8);
    let landing = tokio::spawn(run.writer(None).run(receive));
    for (nth, (read_by, has_fit, has_unfit)) in (1..).zip(pages) {
        let reject = || NumberedReject {
            reject: Reject {
                key: Some(format!("r{nth}")),
                field: "amount".to_owned(),
                reason: "expected_number".to_owned(),
                redacted: String::new(),
                content: 0,
                record_time: None,
                updated_at: None,
            },
            nth: 1,
            time: None,
            within: window(),
        };
        let records = has_fit.then(|| sale("a"));
        let page = QueuedPage {
            read_by: *read_by,
            rejects: has_unfit.then(reject).into_iter().collect(),
            ..queued(records.as_slice(), nth)
        };
        send.accept(page).await.unwrap();
    }
    drop(send);
    let counts = landing.await.unwrap().unwrap();
    (counts.rejects, counts.listed.is_none_fit())
}

#[tokio::test]
async fn only_listings_tell_that_nothing_fits() {
    let (listed, by_id) = (Some(ReadBy::EventTime), None);
    assert_eq!(came(&[(listed, false, false)]).await, (0, false));
    assert_eq!(came(&[(listed, false, true)]).await, (1, true));
    assert_eq!(came(&[(listed, true, true)]).await, (1, false));
    let fits_elsewhere = [(listed, false, true), (listed, true, false)];
    assert_eq!(came(&fits_elsewhere).await, (1, false));
    assert_eq!(came(&[(by_id, false, true)]).await, (1, false));
    let open = [(listed, true, false), (by_id, false, true)];
    assert_eq!(came(&open).await, (1, false));
    // One that was open and fits is no comfort.
    let open = [(listed, false, true), (by_id, true, true)];
    assert_eq!(came(&open).await, (2, true));
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

#[tokio::test]
async fn a_warning_names_the_version_that_it_is_about_and_counts_where_that_does() {
    let run = ScriptedRun::new([]).await;
    let (mut send, receive) = mpsc::channel(8);
    let landing = tokio::spawn(run.writer(None).run(receive));
    let other = r#"{"id":"a","at":"2026-01-01T11:00:00Z"}"#.to_owned();
    let warned = |record: &str, hour: i8| {
        let mut page = queued(&[record.to_owned()], hour);
        page.warnings = vec![Warning {
            key: "a".to_owned(),
            field: "amount".to_owned(),
            rule: "rounded".to_owned(),
            original: hour.to_string(),
            count: 1,
        }];
        page
    };
    let hash = |page: &QueuedPage| {
        let hash = page.incoming.content_hashes.value(0);
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(digits)
    };
    // The second one was asked for first, and is dropped.
    let pages = [warned(&sale("a"), 2), warned(&other, 1)];
    let hashes = [hash(&pages[1]), hash(&pages[0])];
    for page in pages {
        send.accept(page).await.unwrap();
    }
    drop(send);
    let counts = landing.await.unwrap().unwrap();
    assert_eq!((counts.new, counts.stale, counts.warnings), (1, 1, 1));
    let ops = run.warehouse.ops();
    run.bookkeeping.flush(&ops).await.unwrap();
    let mut told = ops.warnings("shop", "rounded").await.unwrap();
    told.sort_by(|a, b| a.original.cmp(&b.original));
    let about: Vec<_> = told.into_iter().map(|row| row.content_hash).collect();
    assert_eq!(about, hashes);
}

#[tokio::test]
async fn two_slices_that_contradict_each_other_are_told_and_the_one_asked_for_last_counts() {
    for turned in [false, true] {
        let run = ScriptedRun::new([]).await;
        let writer = run.writer(None);
        let table = Arc::clone(&writer.table);
        let (mut send, receive) = mpsc::channel(8);
        let landing = tokio::spawn(writer.run(receive));
        let other = r#"{"id":"a","at":"2026-01-01T11:00:00Z"}"#.to_owned();
        let mut pages = [queued(&[sale("a")], 1), queued(&[other], 2)];
        pages[1].read_by = Some(ReadBy::ChangeTime);
        if turned {
            pages.reverse();
        }
        for page in pages {
            send.accept(page).await.unwrap();
        }
        drop(send);
        let counts = landing.await.unwrap().unwrap();
        assert_eq!((counts.new, counts.stale, counts.warnings), (1, 1, 1));
        let rows = table.newest_rows(&["a".to_owned()], &[]).await.unwrap();
        let times = rows.column_by_name("_record_time").unwrap();
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let eleven = t("2026-01-01T11:00:00Z").as_microsecond();
        assert_eq!(times.value(0), eleven, "whichever comes first");
        let ops = run.warehouse.ops();
        run.bookkeeping.flush(&ops).await.unwrap();
        let told = ops.warnings("shop", "told_differently").await.unwrap();
        let [warning] = told.as_slice() else {
            panic!("one warning: {told:?}")
        };
        let words = &warning.original;
        assert!(words.contains("by event time") && words.contains("by change time"));
        assert_eq!(warning.content_hash, None);
    }
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
