//! Coverage: worked examples, and any readings at all against a loop over the minutes.
//!
//! Invariant: the loop knows no windows but asks of every minute by itself whether it was read, and when.

use super::*;
use proptest::prelude::*;

/// A minute of 2026-01-01, which has as many as are needed.
fn at(minute: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_mins(minute)
}

fn w(from: i64, to: i64) -> Window {
    Window::new(at(from), at(to)).unwrap()
}

fn read(by: Option<ReadBy>, from: i64, to: i64, read_at: i64) -> WindowRead {
    WindowRead {
        window: w(from, to),
        read_at: at(read_at),
        read_by: by,
        also_read_by: None,
    }
}

const EVENT: Option<ReadBy> = Some(ReadBy::EventTime);
const CHANGE: Option<ReadBy> = Some(ReadBy::ChangeTime);

/// This read, of a resource that is read by both times.
fn both(read: WindowRead) -> WindowRead {
    WindowRead {
        also_read_by: if read.read_by == EVENT { CHANGE } else { EVENT },
        ..read
    }
}

fn windows(gaps: &[CoverageGap], by: ReadBy) -> Vec<Window> {
    gaps.iter()
        .filter(|gap| gap.read_by == by)
        .map(|gap| gap.window)
        .collect()
}

#[test]
fn by_event_time_the_window_itself_has_to_be_read() {
    let coverage = Coverage::of([read(EVENT, 0, 50, 100), read(EVENT, 70, 100, 100)]);
    assert_eq!(
        windows(&coverage.gaps(w(10, 40), at(100)), ReadBy::EventTime),
        []
    );
    assert_eq!(
        windows(&coverage.gaps(w(10, 90), at(100)), ReadBy::EventTime),
        [w(50, 70)]
    );
    assert_eq!(coverage.read_through(at(10), at(100)), Some(at(50)));
    assert_eq!(coverage.read_through(at(60), at(100)), Some(at(100)));
    assert!(coverage.holds(w(70, 100)) && coverage.holds(w(0, 50)) && !coverage.holds(w(49, 51)));
}

#[test]
fn of_what_was_never_read_everything_is_missing_that_could_have_been() {
    let none = Coverage::of([]);
    let unread = read(EVENT, 50, 90, 50);
    for coverage in [none, Coverage::of([unread])] {
        let answer = coverage.assess(w(10, 40), at(100));
        assert_eq!(windows(&answer.gaps, ReadBy::EventTime), [w(10, 40)]);
        assert_eq!((answer.gaps.len(), answer.through), (1, None));
        let answer = coverage.assess(w(60, 140), at(100));
        assert_eq!(windows(&answer.gaps, ReadBy::EventTime), [w(60, 100)]);
        let answer = coverage.assess(w(100, 140), at(100));
        assert_eq!((answer.gaps.len(), answer.through), (0, None));
    }
    let changes = Coverage::new(ReadBy::ChangeTime, false, []);
    let answer = changes.assess(w(10, 40), at(100));
    assert_eq!(windows(&answer.gaps, ReadBy::ChangeTime), [w(10, 100)]);
    assert_eq!(answer.through, None);
}

#[test]
fn by_change_time_everything_up_to_the_run_has_to_be_read() {
    let coverage = Coverage::of([read(CHANGE, 0, 50, 100), read(CHANGE, 70, 100, 100)]);
    // A record from before the gap may have changed in it; one from after it cannot.
    for (asked, gaps) in [
        (w(10, 20), vec![w(50, 70)]),
        (w(60, 65), vec![w(60, 70)]),
        (w(70, 80), vec![]),
    ] {
        assert_eq!(
            windows(&coverage.gaps(asked, at(100)), ReadBy::ChangeTime),
            gaps,
            "{asked}"
        );
    }
    // The run is later than everything that was read: what has changed meanwhile is not known.
    assert_eq!(
        windows(&coverage.gaps(w(70, 80), at(120)), ReadBy::ChangeTime),
        [w(100, 120)]
    );
    assert_eq!(coverage.read_through(at(70), at(120)), Some(at(100)));
}

#[test]
fn by_both_times_what_was_learnt_since_the_reading_has_to_be_known() {
    let first = both(read(EVENT, 0, 100, 100));
    let again = both(read(EVENT, 90, 200, 200));
    assert_eq!(
        Coverage::of([first]).gaps(w(0, 100), at(100)),
        [],
        "the first reading sees everything"
    );
    let lacking = Coverage::of([first, again]);
    assert_eq!(
        windows(&lacking.gaps(w(0, 100), at(200)), ReadBy::ChangeTime),
        [w(100, 200)]
    );
    assert_eq!(
        lacking.gaps(w(90, 200), at(200)),
        [],
        "these were read by this very run"
    );
    assert_eq!(lacking.read_through(at(0), at(200)), Some(at(100)));
    assert_eq!(lacking.change_window_to_read(at(210)), Some(w(100, 210)));
    let known = Coverage::of([first, again, both(read(CHANGE, 100, 200, 200))]);
    assert_eq!(known.gaps(w(0, 200), at(200)), []);
    assert_eq!(known.read_through(at(0), at(200)), Some(at(200)));
    assert_eq!(known.change_window_to_read(at(210)), Some(w(200, 210)));
    // Asking for changes finds nothing of a stretch that was never read.
    let hole = Coverage::of([
        first,
        both(read(EVENT, 150, 200, 200)),
        both(read(CHANGE, 100, 200, 200)),
    ]);
    assert_eq!(
        windows(&hole.gaps(w(0, 200), at(200)), ReadBy::EventTime),
        [w(100, 150)]
    );
}

#[test]
fn what_was_to_come_when_it_was_read_was_not_read() {
    for by in [EVENT, CHANGE, None] {
        let coverage = Coverage::of([read(by, 0, 10_000, 100)]);
        assert_eq!(coverage.covered(), [w(0, 100)]);
        assert_eq!(coverage.read_through(at(5_000), at(100)), Some(at(100)));
        assert!(!coverage.holds(w(99, 101)));
        assert_eq!(
            coverage.gaps(w(5_000, 6_000), at(100)),
            [],
            "it is still to come"
        );
        assert_eq!(
            coverage.windows_to_read(at(0), at(150), at(150)),
            [w(100, 150)],
            "and read when it has come"
        );
    }
    assert_eq!(Coverage::of([read(EVENT, 100, 200, 100)]).covered(), []);
}

#[test]
fn what_was_read_whole_has_no_gap_before_its_window() {
    let coverage = Coverage::of([read(None, 50, 80, 80).of_everything()]);
    assert_eq!(coverage.gaps(w(0, 90), at(80)), []);
    assert_eq!(
        windows(&coverage.gaps(w(0, 90), at(90)), ReadBy::EventTime),
        [w(80, 90)]
    );
}

#[test]
fn the_newest_reading_says_what_windows_are_about() {
    // A reading without a note is about the same.
    let old = [read(None, 0, 50, 50), read(CHANGE, 50, 80, 80)];
    assert_eq!(
        windows(
            &Coverage::of(old).gaps(w(0, 10), at(90)),
            ReadBy::ChangeTime
        ),
        [w(80, 90)]
    );
    assert_eq!(
        Coverage::of([read(None, 0, 50, 50)]).gaps(w(0, 10), at(90)),
        []
    );
    // A resource that is read by another time from now on begins anew.
    let switched = Coverage::of([read(EVENT, 0, 50, 50), read(CHANGE, 60, 80, 80)]);
    assert_eq!(switched.covered(), [w(60, 80)]);
    assert_eq!(
        Coverage::of([read(EVENT, 60, 80, 80), read(CHANGE, 0, 50, 50)]).covered(),
        [w(60, 80)]
    );
    let planned = Coverage::new(ReadBy::ChangeTime, false, [read(EVENT, 0, 50, 50)]);
    assert_eq!(planned.windows_to_read(at(0), at(60), at(60)), [w(0, 60)]);
}

#[test]
fn what_was_read_lately_is_read_again() {
    let coverage = Coverage::of([read(EVENT, 10, 40, 100), read(EVENT, 60, 100, 100)]);
    assert_eq!(
        coverage.windows_to_read(at(0), at(90), at(110)),
        [w(0, 10), w(40, 60), w(90, 110)]
    );
    assert_eq!(
        coverage.windows_to_read(at(20), at(0), at(110)),
        [w(20, 110)]
    );
    assert_eq!(coverage.windows_to_read(at(120), at(90), at(110)), []);
    assert_eq!(
        coverage.change_window_to_read(at(110)),
        None,
        "it is not read by change time"
    );
}

const MINUTES: i64 = 40;

/// Times by which a generated resource is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CoverageReadBy {
    Event,
    Change,
    Both,
}

fn reading(how: CoverageReadBy) -> impl Strategy<Value = WindowRead> {
    (0..MINUTES, 1..12_i64, 0..MINUTES, any::<bool>()).prop_map(
        move |(from, length, read_at, late)| {
            let by = if how == CoverageReadBy::Change || (how == CoverageReadBy::Both && late) {
                CHANGE
            } else {
                EVENT
            };
            let read = read(by, from, from + length, read_at);
            if how == CoverageReadBy::Both {
                both(read)
            } else {
                read
            }
        },
    )
}

fn readings() -> impl Strategy<Value = (CoverageReadBy, Vec<WindowRead>)> {
    prop_oneof![
        Just(CoverageReadBy::Event),
        Just(CoverageReadBy::Change),
        Just(CoverageReadBy::Both)
    ]
    .prop_flat_map(|how| (Just(how), prop::collection::vec(reading(how), 0..9)))
}

/// True if a minute lies in what a read had seen.
fn saw(read: &WindowRead, minute: i64) -> bool {
    read.window.contains(at(minute)) && at(minute) < read.read_at
}

/// Minutes in as few windows as possible.
fn stretches(minutes: impl IntoIterator<Item = i64>) -> Vec<Window> {
    merge_windows(
        minutes
            .into_iter()
            .map(|minute| w(minute, minute + 1))
            .collect(),
    )
}

proptest! {
    #[test]
    fn any_readings_answer_as_a_loop_over_the_minutes((how, reads) in readings(), from in 0..MINUTES, length in 1..20_i64, run in 0..60_i64) {
        let (asked, to) = (w(from, from + length), from + length);
        let by_event = |minute: i64| {
            reads.iter().filter(|r| r.read_by == EVENT && saw(r, minute)).map(|r| r.read_at).max()
        };
        let by_change = |minute: i64| reads.iter().any(|r| r.read_by == CHANGE && saw(r, minute));
        let own = |minute: i64| if how == CoverageReadBy::Change { by_change(minute) } else { by_event(minute).is_some() };
        // With no reading at all nobody can tell how it is read.
        let (read_by, follows) = match how {
            CoverageReadBy::Event => (ReadBy::EventTime, false),
            CoverageReadBy::Change => (ReadBy::ChangeTime, false),
            CoverageReadBy::Both => (ReadBy::EventTime, true),
        };
        let coverage = Coverage::new(read_by, follows, reads.clone());
        if !reads.is_empty() {
            prop_assert_eq!(&coverage, &Coverage::of(reads.clone()));
        }

        let mut events = Vec::new();
        let mut changes = std::collections::BTreeSet::new();
        match how {
            CoverageReadBy::Change => changes.extend((from..run).filter(|minute| !by_change(*minute))),
            CoverageReadBy::Event => events.extend((from..to.min(run)).filter(|minute| by_event(*minute).is_none())),
            CoverageReadBy::Both => {
                for minute in from..to.min(run) {
                    match by_event(minute) {
                        None => events.push(minute),
                        Some(read_at) => {
                            changes.extend((0..run).filter(|learnt| at(*learnt) >= read_at && !by_change(*learnt)));
                        }
                    }
                }
            }
        }
        let gaps = coverage.gaps(asked, at(run));
        prop_assert_eq!(windows(&gaps, ReadBy::EventTime), stretches(events.clone()));
        prop_assert_eq!(windows(&gaps, ReadBy::ChangeTime), stretches(changes.clone()));

        prop_assert_eq!(coverage.holds(asked), (from..to).all(own));
        prop_assert_eq!(coverage.covered(), stretches((0..2 * MINUTES).filter(|minute| own(*minute))));

        // The first minute from there on that was not read after one that was; without one, the end of all.
        let all: Vec<i64> = (0..2 * MINUTES).filter(|minute| own(*minute)).collect();
        let first = all.iter().copied().find(|minute| *minute >= from).or(all.last().copied());
        let end = first.map(|first| (first..).find(|minute| !own(*minute)).unwrap());
        let through = coverage.read_through(at(from), at(run));
        if how == CoverageReadBy::Both {
            prop_assert!(through <= end.map(at));
        } else {
            prop_assert_eq!(through, end.map(at));
        }

        let to_read: Vec<i64> = (from..run).filter(|minute| !own(*minute) || *minute >= to).collect();
        prop_assert_eq!(coverage.windows_to_read(at(from), at(to), at(run)), stretches(to_read));
    }

    /// Reading what is to be read leaves nothing to read, and no gap.
    #[test]
    fn after_a_run_there_is_no_gap((how, mut reads) in readings(), start in 0..MINUTES, lookback in 0..20_i64) {
        let now = 60;
        let (read_by, follows) = match how {
            CoverageReadBy::Event => (ReadBy::EventTime, false),
            CoverageReadBy::Change => (ReadBy::ChangeTime, false),
            CoverageReadBy::Both => (ReadBy::EventTime, true),
        };
        let before = Coverage::new(read_by, follows, reads.clone());
        let changes = before.change_window_to_read(at(now));
        let mark = |window: Window, by: ReadBy| {
            let also = follows.then_some(if by == ReadBy::EventTime { ReadBy::ChangeTime } else { ReadBy::EventTime });
            WindowRead { window, read_at: at(now), read_by: Some(by), also_read_by: also }
        };
        reads.extend(before.windows_to_read(at(start), at(now - lookback), at(now)).into_iter().map(|w| mark(w, read_by)));
        reads.extend(changes.map(|window| mark(window, ReadBy::ChangeTime)));
        let after = Coverage::of(reads);
        prop_assert_eq!(after.gaps(w(start, now + 5), at(now)), []);
        prop_assert_eq!(after.read_through(at(start), at(now)), Some(at(now)));
        prop_assert!(after.windows_to_read(at(start), at(now), at(now)).is_empty());
    }
}

#[test]
fn an_assessment_does_not_say_without_a_gap_beside_a_gap() {
    for by in [EVENT, CHANGE] {
        for pieces in [
            &[(20, 50), (70, 200)][..],
            &[(10, 50), (50, 90), (120, 200)],
            &[(30, 40)],
            &[(10, 200)],
            &[],
        ] {
            let reads = pieces.iter().map(|(from, to)| read(by, *from, *to, 200));
            let coverage = Coverage::new(by.unwrap(), false, reads);
            for (from, to) in [
                (10, 200),
                (20, 40),
                (40, 80),
                (60, 70),
                (90, 120),
                (100, 200),
                (10, 20),
            ] {
                let asked = w(from, to);
                let CoverageAssessment { through, gaps } = coverage.assess(asked, at(200));
                match gaps.first() {
                    Some(first) => {
                        assert_eq!(
                            through.unwrap_or(at(from)),
                            first.window.from(),
                            "{by:?} {pieces:?} {asked}"
                        )
                    }
                    None => assert!(
                        through.is_some_and(|through| through >= at(to)),
                        "{by:?} {pieces:?} {asked}"
                    ),
                }
            }
        }
    }
}
