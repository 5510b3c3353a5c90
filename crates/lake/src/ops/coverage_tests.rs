//! Folded coverage: any history, folded after every run, answers as all of its readings do.
//!
//! Invariant: the answers are those of `Coverage` itself, asked of both.

use super::*;
use jiff::SignedDuration;
use proptest::prelude::*;
use tillhouse_model::Coverage;

/// A minute since the beginning of 2026.
fn at(minute: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

fn w(from: i64, to: i64) -> Window {
    Window::new(at(from), at(to)).unwrap()
}

fn row(run: i64, read_by: Option<ReadBy>, (from, to): (i64, i64), read_at: i64) -> CoverageRow {
    CoverageRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        tenant: None,
        read: WindowRead {
            window: w(from, to),
            read_at: at(read_at),
            read_by,
            also_read_by: None,
        },
        run_id: format!("run{run:05}"),
    }
}

/// The rows of a resource that is read by both times.
fn both(rows: impl IntoIterator<Item = CoverageRow>) -> Vec<CoverageRow> {
    let also = |row: CoverageRow| CoverageRow {
        read: WindowRead {
            also_read_by: row.read.read_by.map(ReadBy::other),
            ..row.read
        },
        ..row
    };
    rows.into_iter().map(also).collect()
}

const EVENT: Option<ReadBy> = Some(ReadBy::EventTime);
const CHANGE: Option<ReadBy> = Some(ReadBy::ChangeTime);

/// Runs of a history: each reads some windows, at some time after the one before.
fn history() -> impl Strategy<Value = (bool, Vec<Vec<CoverageRow>>)> {
    let read = (0..3_u8, 0..60_i64, 1..20_i64, 0..12_i64);
    let runs = prop::collection::vec(prop::collection::vec(read, 0..4), 1..9);
    (any::<bool>(), runs).prop_map(|(is_followed, runs)| {
        let of_run = |(run, reads): (i64, Vec<(u8, i64, i64, i64)>)| -> Vec<CoverageRow> {
            let rows = reads.into_iter().map(|(kind, from, length, shift)| {
                let read_by = [EVENT, CHANGE, None][usize::from(kind)];
                row(run, read_by, (from, from + length), run * 10 + shift)
            });
            if is_followed {
                both(rows)
            } else {
                rows.collect()
            }
        };
        (is_followed, (0..).zip(runs).map(of_run).collect())
    })
}

/// Everything that planning asks.
fn planned(rows: &[CoverageRow], read_by: ReadBy, follows: bool) -> Vec<Vec<Window>> {
    let coverage = Coverage::new(read_by, follows, rows.iter().map(CoverageRow::as_read));
    let mut answers = vec![coverage.covered().to_vec()];
    for (start, again, now) in [(0, 0, 200), (0, 50, 90), (10, 30, 60), (5, 80, 81)] {
        answers.push(coverage.windows_to_read(at(start), at(again), at(now)));
        answers.push(
            coverage
                .change_window_to_read(at(now))
                .into_iter()
                .collect(),
        );
    }
    answers
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_folded_answers_as_all_readings_do((is_followed, runs) in history()) {
        let (mut all, mut folded) = (Vec::new(), Vec::new());
        for run in runs {
            all.extend(run.clone());
            folded.extend(run);
            folded = fold(folded, at(1_000));
            for (read_by, follows) in [(ReadBy::EventTime, true), (ReadBy::EventTime, false), (ReadBy::ChangeTime, false)] {
                prop_assert_eq!(planned(&folded, read_by, follows), planned(&all, read_by, follows));
            }
            let of = |rows: &[CoverageRow]| {
                Coverage::new(ReadBy::EventTime, is_followed, rows.iter().map(CoverageRow::as_read))
            };
            let (some, every) = (of(&folded), of(&all));
            for (from, to, until) in [(0, 90, 100), (10, 30, 40), (20, 21, 25), (45, 70, 90), (0, 5, 200)] {
                prop_assert_eq!(some.assess(w(from, to), at(until)), every.assess(w(from, to), at(until)));
            }
        }
    }
}

/// A history of quarter-hours, each of which reads its look-back again, in two slices, and asks for what changed.
fn quarter_hours(runs: i64, is_followed: bool) -> Vec<CoverageRow> {
    let mut folded: Vec<CoverageRow> = Vec::new();
    for run in 1..=runs {
        let now = run * 15;
        let back = (now - 120).max(0);
        let mut rows = vec![row(run, EVENT, (back, now), now)];
        if back > 0 {
            rows.push(row(run, EVENT, (back - 15, back), now));
        }
        if is_followed && run > 1 {
            rows.push(row(run, CHANGE, (now - 15, now), now));
        }
        folded.extend(if is_followed { both(rows) } else { rows });
        folded = fold(folded, at(now));
    }
    folded
}

#[test]
fn what_is_folded_does_not_grow_with_the_number_of_runs() {
    for is_followed in [false, true] {
        let (some, many) = (
            quarter_hours(20, is_followed),
            quarter_hours(500, is_followed),
        );
        assert_eq!(some.len(), many.len(), "{many:#?}");
        assert!(many.len() <= 8, "{many:#?}");
    }
}

#[test]
fn gaps_stay_and_so_does_what_nobody_has_seen() {
    let mut rows = vec![
        row(1, EVENT, (0, 10), 60),
        row(2, EVENT, (20, 30), 70),
        row(3, EVENT, (40, 50), 80),
    ];
    // Forgotten: read before it began. Read in the future, by a clock that was ahead.
    rows.push(row(4, EVENT, (60, 70), 60));
    rows.push(row(5, EVENT, (80, 90), 5_000));
    let mut tenant = row(6, EVENT, (60, 70), 60);
    tenant.tenant = Some("t1".to_owned());
    rows.push(tenant.clone());
    let folded = fold(rows.clone(), at(100));
    assert!(
        folded.contains(&tenant) && folded.contains(&rows[4]),
        "{folded:#?}"
    );
    assert!(!folded.contains(&rows[3]));
    let seen: Vec<Window> = folded.iter().filter_map(|row| row.read.seen()).collect();
    assert_eq!(
        merge_windows(seen),
        [w(0, 10), w(20, 30), w(40, 50), w(80, 90)]
    );
}

#[test]
fn a_run_whose_clock_stood_before_all_it_asked_for_is_told_until_a_later_one_sees_something() {
    let rows = vec![
        row(1, EVENT, (0, 10), 60),
        row(2, EVENT, (50, 65), 3),
        row(3, EVENT, (50, 70), 2),
        row(3, CHANGE, (50, 70), 2),
    ];
    let folded = fold(rows.clone(), at(100));
    let told = |rows: &[CoverageRow]| {
        let behind = rows.iter().filter(|row| row.is_of_clock_behind());
        behind.map(|row| row.run_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(&folded), ["run00003"]);
    assert_eq!(told(&fold(folded.clone(), at(100))), ["run00003"]);
    let mut later = folded;
    later.push(row(4, EVENT, (9, 80), 80));
    assert!(told(&fold(later, at(100))).is_empty());
}

#[test]
fn what_is_folded_is_read_back_as_it_was() {
    let rows = both(quarter_hours(9, true));
    let stored = FoldedCoverage {
        table: "id".to_owned(),
        version: 7,
        counted: 30,
        ..FoldedCoverage::default()
    }
    .with_rows(&rows);
    let text = serde_json::to_string(&stored).unwrap();
    let read: FoldedCoverage = serde_json::from_str(&text).unwrap();
    assert_eq!((&read, read.rows().unwrap()), (&stored, rows));
    let damaged = text.replace("event_time", "whenever");
    let read: FoldedCoverage = serde_json::from_str(&damaged).unwrap();
    assert_eq!(read.rows(), None);
}

#[test]
fn a_run_should_have_read_no_further_than_a_clock_that_is_a_little_behind_let_it() {
    let until = at(100);
    for (behind, gaps) in [(0, 0), (2, 0), (30, 0), (240, 0), (600, 2)] {
        // Each request is moved by another part of a second: the header has whole ones.
        let asked = |millis: i64| {
            let asked = until - SignedDuration::from_secs(behind);
            asked + SignedDuration::from_millis(millis)
        };
        let read = |window, read_at| {
            let mut read = row(7, EVENT, window, 0);
            read.read.read_at = read_at;
            read
        };
        let rows = [
            vec![read((0, 90), asked(3)), read((90, 100), asked(996))],
            vec![read((0, 90), asked(40)), read((90, 100), asked(7))],
        ];
        let until = readable_until("run00007", until, rows.iter().flatten());
        assert!(behind > 0 || until == at(100), "{until}");
        let lacks = rows.iter().map(|rows| {
            let coverage = Coverage::of(rows.iter().map(CoverageRow::as_read));
            coverage.gaps(w(0, 100), until).len()
        });
        assert_eq!(lacks.sum::<usize>(), gaps, "{behind} s");
    }
}

#[test]
fn what_counts_as_never_read_or_is_of_another_run_moves_no_end() {
    let unread = row(7, EVENT, (97, 99), 97);
    let before = row(6, EVENT, (0, 96), 96);
    let rows = [unread, before, row(7, EVENT, (0, 97), 101)];
    assert_eq!(readable_until("run00007", at(100), &rows), at(100));
}
