//! Bookkeeping of a run: each table is written once, and says what it would had every row been written at once.

use super::*;
use crate::faulty_store::{TempWarehouse, t};
use crate::warehouse::Warehouse;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tillhouse_model::{ReadBy, Window};

const START: &str = "2026-03-01T00:00:00Z";

/// The time so many seconds after the start.
fn at(seconds: i64) -> Timestamp {
    t(START) + SignedDuration::from_secs(seconds)
}

/// A warehouse whose clock is moved by hand.
async fn with_clock(place: &TempWarehouse) -> (Warehouse, Arc<AtomicI64>) {
    let seconds = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&seconds);
    let warehouse = place
        .open()
        .await
        .with_clock(Arc::new(move || at(clock.load(Ordering::Relaxed))));
    (warehouse, seconds)
}

fn slice(run: &str, from: i64, to: i64) -> SliceRow {
    SliceRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        tenant: None,
        window: Window::new(at(from - 10_000), at(to - 10_000)).unwrap(),
        read_by: Some(ReadBy::EventTime),
        also_read_by: None,
        run_id: run.to_owned(),
        read_at: t(START),
        records: 1,
        rejects: 0,
        declared_total: None,
        attempts: 1,
        load_id: 1,
    }
}

fn reject(run: &str, key: Option<&str>, (from, to): (i64, i64), seconds: i64) -> RejectRow {
    RejectRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        record_key: key.map(ToOwned::to_owned),
        field: "amount".to_owned(),
        reason: "not a number".to_owned(),
        redacted: "{}".to_owned(),
        tenant: None,
        nth: 1,
        time: None,
        slice: Window::new(at(from), at(to)).unwrap(),
        read_by: Some(ReadBy::EventTime),
        run_id: run.to_owned(),
        first_seen: at(seconds),
        last_seen: at(seconds),
        resolved_at: None,
    }
}

fn warning(key: &str, run: &str) -> WarningRow {
    WarningRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        record_key: key.to_owned(),
        field: "amount".to_owned(),
        rule: "rounded".to_owned(),
        original: "1".to_owned(),
        content_hash: None,
        run_id: run.to_owned(),
        first_seen: t(START),
    }
}

fn drift(count: u64, run: &str, seconds: i64) -> DriftRow {
    DriftRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        field: "loyalty".to_owned(),
        count,
        run_id: run.to_owned(),
        seen_at: at(seconds),
    }
}

/// The versions of slices, rejects, warnings and drift.
async fn versions(warehouse: &Warehouse) -> [Option<u64>; 4] {
    let mut found = [None; 4];
    for (name, found) in ["slices", "rejects", "warnings", "drift"]
        .iter()
        .zip(&mut found)
    {
        let open = warehouse
            .open_at(&format!("ops/{name}"), None)
            .await
            .unwrap();
        *found = open.map(|open| open.version);
    }
    found
}

#[tokio::test]
async fn a_run_writes_each_table_once_and_once_a_minute_when_it_takes_longer() {
    let place = TempWarehouse::new();
    let (warehouse, clock) = with_clock(&place).await;
    let (ops, run) = (warehouse.ops(), RunBookkeeping::default());
    run.flush_if_due(&ops).await.unwrap();
    for (nth, second) in [(1, 0), (2, 30), (3, 59)] {
        clock.store(second, Ordering::Relaxed);
        let key = format!("k{nth}");
        assert_eq!(
            run.add_rejects(
                vec![reject("r1", Some(&key), (0, 60), second)],
                |_| RejectFate::Open,
                at(second)
            ),
            1
        );
        run.add_warnings(vec![warning(&key, "r1")], at(second));
        run.add_drift(vec![drift(nth, "r1", second)], at(second));
        run.add_slices(vec![slice("r1", second, second + 1)], at(second));
        run.flush_if_due(&ops).await.unwrap();
        assert_eq!(versions(&warehouse).await, [None; 4]);
    }
    clock.store(60, Ordering::Relaxed);
    run.flush_if_due(&ops).await.unwrap();
    // A table's first version only makes it.
    assert_eq!(versions(&warehouse).await, [Some(1); 4]);
    run.flush_if_due(&ops).await.unwrap();
    run.add_slices(vec![slice("r1", 70, 80)], at(61));
    run.add_drift(vec![drift(4, "r1", 61)], at(61));
    run.close(&ops).await.unwrap();
    run.close(&ops).await.unwrap();
    assert_eq!(
        versions(&warehouse).await,
        [Some(2), Some(1), Some(1), Some(2)]
    );
    assert_eq!(ops.slices("hecone").await.unwrap().len(), 4);
    assert_eq!(ops.rejects(None, true).await.unwrap().len(), 3);

    // The next run sees the same again on the same day, and writes nothing but the ledger.
    let next = RunBookkeeping::default();
    let again = reject("r2", Some("k1"), (0, 60), 900);
    assert_eq!(
        next.add_rejects(vec![again.clone(), again], |_| RejectFate::Open, at(900)),
        1
    );
    next.add_warnings(vec![warning("k1", "r2")], at(900));
    next.add_drift(vec![drift(1, "r2", 900)], at(900));
    next.add_slices(vec![slice("r2", 70, 80)], at(900));
    clock.store(900, Ordering::Relaxed);
    next.close(&ops).await.unwrap();
    assert_eq!(
        versions(&warehouse).await,
        [Some(3), Some(1), Some(1), Some(2)]
    );
    // A day later it is noted that it is still there.
    let third = RunBookkeeping::default();
    let day = 24 * 3_600 + 59;
    third.add_rejects(
        vec![reject("r3", Some("k1"), (30, 90), day)],
        |_| RejectFate::Open,
        at(day),
    );
    third.add_drift(vec![drift(1, "r3", day + 10)], at(day));
    third.close(&ops).await.unwrap();
    assert_eq!(
        versions(&warehouse).await,
        [Some(3), Some(2), Some(1), Some(3)]
    );
    let last = ops.rejects(None, true).await.unwrap();
    let last: Vec<_> = last
        .iter()
        .map(|row| (row.first_seen, row.last_seen))
        .collect();
    assert_eq!(last, [(at(0), at(day)), (at(30), at(30)), (at(59), at(59))]);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later_and_no_slice_twice() {
    let place = TempWarehouse::new();
    let (warehouse, _) = with_clock(&place).await;
    let (ops, run) = (warehouse.ops(), RunBookkeeping::default());
    run.add_rejects(
        vec![reject("r1", Some("a"), (0, 60), 1)],
        |_| RejectFate::Open,
        at(1),
    );
    run.add_warnings(vec![warning("a", "r1")], at(1));
    run.add_slices(vec![slice("r1", 0, 10)], at(1));
    place.store.fail(100);
    run.flush(&ops).await.unwrap_err();
    place.store.fail(0);
    assert_eq!(versions(&warehouse).await, [None; 4]);
    run.add_rejects(
        vec![reject("r1", Some("a"), (0, 60), 2)],
        |_| RejectFate::Open,
        at(2),
    );
    run.flush(&ops).await.unwrap();
    run.flush(&ops).await.unwrap();
    let rejects = ops.rejects(None, true).await.unwrap();
    assert_eq!(rejects.len(), 1);
    assert_eq!(
        (rejects[0].first_seen, rejects[0].last_seen),
        (at(1), at(2))
    );
    assert_eq!(ops.slices("hecone").await.unwrap(), [slice("r1", 0, 10)]);
}

/// Something that happens to rejects in a run.
#[derive(Debug, Clone)]
enum Event {
    /// A reject comes: one of two with a key, or one without, in some window.
    Seen(u8, i64),
    /// A record with a key lands, or a window is read to its end.
    Settled(u8, i64),
}

/// Outcome of rejects: how each stands in the end, and how many were new in each run.
async fn outcome(
    runs: &[Vec<Event>],
    flush_each: bool,
) -> (
    Vec<(Option<String>, Option<Window>, bool, Timestamp)>,
    Vec<u64>,
) {
    let place = TempWarehouse::new();
    let (warehouse, _) = with_clock(&place).await;
    let ops = warehouse.ops();
    let (mut counts, mut second) = (Vec::new(), 0);
    for (nth, events) in runs.iter().enumerate() {
        let (run, id) = (RunBookkeeping::default(), format!("r{nth}"));
        let mut new = 0;
        for event in events {
            second += 1;
            let key = |which: u8| ["a", "b"].get(usize::from(which)).copied();
            // Two that overlap, and one by itself.
            let window = |from: i64| [(0, 15), (10, 25), (100, 115)][from as usize];
            match event {
                Event::Seen(which, from) => {
                    let row = reject(&id, key(*which), window(*from), second);
                    new += run.add_rejects(vec![row], |_| RejectFate::Open, at(second));
                }
                Event::Settled(which, from) => {
                    let (key, (from, to)) = (key(*which).map(str::to_owned), window(*from));
                    let (read, id) = (Window::new(at(from), at(to)).unwrap(), id.clone());
                    let settled = move |row: &RejectRow| match &row.record_key {
                        Some(of_row) if Some(of_row) == key.as_ref() => RejectFate::Landed,
                        None if key.is_none()
                            && row.run_id != id
                            && read.intersection(&row.slice) == Some(row.slice) =>
                        {
                            RejectFate::ReadAgain
                        }
                        _ => RejectFate::Open,
                    };
                    run.add_rejects(Vec::new(), settled, at(second));
                }
            }
            if flush_each {
                run.flush(&ops).await.unwrap();
            }
        }
        run.flush(&ops).await.unwrap();
        counts.push(new);
    }
    let rows = ops.rejects(None, false).await.unwrap();
    let told = rows
        .into_iter()
        .map(|row| {
            (
                row.record_key.clone(),
                // Of one with a key it is one of those that it came in.
                Some(row.slice).filter(|_| row.record_key.is_none()),
                row.resolved_at.is_some(),
                row.first_seen,
            )
        })
        .collect();
    (told, counts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_not_matter_when_rejects_are_written(
        runs in prop::collection::vec(prop::collection::vec((any::<bool>(), 0..3_u8, 0..3_i64), 1..5), 1..3)
    ) {
        let event = |(seen, which, from)| if seen { Event::Seen(which, from) } else { Event::Settled(which, from) };
        let runs: Vec<Vec<Event>> = runs
            .into_iter()
            .map(|events| events.into_iter().map(event).collect())
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (once, each) = runtime.block_on(async {
            (outcome(&runs, false).await, outcome(&runs, true).await)
        });
        prop_assert_eq!(once, each);
    }
}

#[tokio::test]
async fn rejects_without_a_key_count_once_a_run_however_many_windows_have_them() {
    let place = TempWarehouse::new();
    let ops = place.open().await.ops();
    let day = |nth: i8| t(&format!("2026-03-{nth:02}T00:00:00Z"));
    let around = |nth: i8| Window::new(day(nth - 1), day(nth + 2)).unwrap();
    let null = |run: &str, nth: u64, slice: Window| RejectRow {
        nth,
        slice,
        redacted: String::new(),
        first_seen: day(30),
        last_seen: day(30),
        ..reject(run, None, (0, 1), 0)
    };
    let run = RunBookkeeping::default();
    let count = async |run: &RunBookkeeping, rows: &[RejectRow]| {
        let new = run.add_rejects(rows.to_vec(), |_| RejectFate::Open, day(30));
        run.flush(&ops).await.unwrap();
        new
    };
    // One that lies on the 4th comes with the days before and after too, in packages of one run.
    let mut counts = Vec::new();
    for slice in [3, 4, 5] {
        counts.push(count(&run, &[null("r1", 1, around(slice))]).await);
    }
    assert_eq!(counts, [1, 0, 0]);
    let open = ops.rejects(None, true).await.unwrap();
    assert_eq!(
        open.iter().map(|row| row.slice).collect::<Vec<_>>(),
        [Window::new(day(4), day(5)).unwrap()]
    );
    // One each day, three in every listing: as many as there are days, in one package or in many.
    let all = |run: &str| -> Vec<RejectRow> {
        (10..16)
            .flat_map(|day| (1..4).map(move |nth| (day, nth)))
            .map(|(day, nth)| null(run, nth, around(day)))
            .collect()
    };
    assert_eq!(count(&RunBookkeeping::default(), &all("r2")).await, 6);
    let (third, mut again) = (RunBookkeeping::default(), 0);
    for of_a_day in all("r3").chunks(3) {
        again += count(&third, of_a_day).await;
    }
    assert_eq!(
        (again, ops.rejects(None, true).await.unwrap().len()),
        (6, 7)
    );
    // With a time it is one, whatever it was asked for in; with another time another one.
    let timed = |run: &str, time: i8, slice: Window| RejectRow {
        time: Some(day(time)),
        ..null(run, 1, slice)
    };
    let rows = [
        timed("r4", 20, around(20)),
        timed("r4", 20, around(25)),
        timed("r4", 21, around(20)),
    ];
    let fourth = RunBookkeeping::default();
    assert_eq!(count(&fourth, &rows).await, 2);
    assert_eq!(count(&fourth, &rows[1..2]).await, 0);
    let fifth = RunBookkeeping::default();
    assert_eq!(count(&fifth, &[timed("r5", 20, around(21))]).await, 1);
    let timed: Vec<RejectRow> = ops
        .rejects(None, true)
        .await
        .unwrap()
        .into_iter()
        .filter(|row| row.time.is_some())
        .collect();
    assert_eq!(timed.len(), 2);
    assert!(
        timed
            .iter()
            .all(|row| row.slice.from() <= row.time.unwrap() && row.time.unwrap() < row.slice.to())
    );
}

#[tokio::test]
async fn a_reject_that_is_gone_is_resolved_with_its_key_too_and_one_that_was_seen_is_not() {
    let place = TempWarehouse::new();
    let (warehouse, _) = with_clock(&place).await;
    let ops = warehouse.ops();
    let first = RunBookkeeping::default();
    let both = ["a", "b"].map(|key| reject("r1", Some(key), (0, 60), 1));
    first.add_rejects(both.into(), |_| RejectFate::Open, at(1));
    first.close(&ops).await.unwrap();
    // The next run sees one of them, in another package than that which ends the window.
    let next = RunBookkeeping::default();
    next.add_rejects(
        vec![reject("r2", Some("a"), (0, 60), 2)],
        |_| RejectFate::Open,
        at(2),
    );
    next.flush(&ops).await.unwrap();
    next.add_rejects(Vec::new(), |_| RejectFate::ReadAgain, at(3));
    next.close(&ops).await.unwrap();
    let open = ops.rejects(None, true).await.unwrap();
    let open: Vec<_> = open.iter().map(|row| row.record_key.as_deref()).collect();
    assert_eq!(open, [Some("a")]);
    // What lands is resolved, whether the run saw it rejected before or not.
    let third = RunBookkeeping::default();
    third.add_rejects(
        vec![reject("r3", Some("a"), (0, 60), 4)],
        |_| RejectFate::Open,
        at(4),
    );
    third.flush(&ops).await.unwrap();
    third.add_rejects(Vec::new(), |_| RejectFate::Landed, at(5));
    third.close(&ops).await.unwrap();
    assert!(ops.rejects(None, true).await.unwrap().is_empty());
}
