//! Slices that touch: sums, what keeps two apart, and the same coverage.

use super::*;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tillhouse_model::{Coverage, ReadBy};

/// An hour since the beginning of 2026.
fn at(hour: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
}

fn slice(from: i64, to: i64, read_at: i64) -> SliceRow {
    SliceRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        tenant: None,
        window: Window::new(at(from), at(to)).unwrap(),
        read_by: Some(ReadBy::EventTime),
        also_read_by: None,
        run_id: "r".to_owned(),
        read_at: at(read_at),
        records: 5,
        rejects: 1,
        declared_total: Some(6),
        attempts: 1,
        load_id: 3,
    }
}

#[test]
fn neighbours_are_one_row_with_the_sum_of_what_they_say() {
    let rows = vec![
        SliceRow {
            attempts: 3,
            load_id: 4,
            ..slice(24, 48, 60)
        },
        slice(0, 24, 61),
        slice(48, 60, 60),
    ];
    let one = SliceRow {
        records: 15,
        rejects: 3,
        declared_total: Some(18),
        attempts: 3,
        load_id: 4,
        ..slice(0, 60, 60)
    };
    assert_eq!(join_touching(rows), [one]);
}

#[test]
fn what_would_lose_something_stays_apart() {
    let first = || slice(0, 24, 60);
    let others = [
        // Not beside it; over it; of the same time.
        slice(25, 48, 60),
        slice(23, 48, 60),
        first(),
        // Not over yet when the first was read.
        slice(24, 61, 61),
        SliceRow {
            tenant: Some("t".to_owned()),
            ..slice(24, 48, 60)
        },
        SliceRow {
            pipeline: "other".to_owned(),
            ..slice(24, 48, 60)
        },
        SliceRow {
            resource: "devices".to_owned(),
            ..slice(24, 48, 60)
        },
        SliceRow {
            run_id: "s".to_owned(),
            ..slice(24, 48, 60)
        },
        SliceRow {
            read_by: None,
            ..slice(24, 48, 60)
        },
        SliceRow {
            read_by: Some(ReadBy::ChangeTime),
            ..slice(24, 48, 60)
        },
        SliceRow {
            also_read_by: Some(ReadBy::ChangeTime),
            ..slice(24, 48, 60)
        },
        SliceRow {
            declared_total: None,
            ..slice(24, 48, 60)
        },
    ];
    for other in others {
        assert_eq!(
            join_touching(vec![first(), other.clone()]).len(),
            2,
            "{other:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_coverage_is_the_same(reads in prop::collection::vec((0..40_i64, 1..12_i64, 0..60_i64, any::<bool>()), 0..12)) {
        let rows: Vec<SliceRow> = reads
            .into_iter()
            .map(|(from, length, read_at, is_event)| SliceRow {
                read_by: Some(if is_event { ReadBy::EventTime } else { ReadBy::ChangeTime }),
                ..slice(from, from + length, read_at)
            })
            .collect();
        let joined = join_touching(rows.clone());
        let sum = |rows: &[SliceRow]| rows.iter().map(|row| row.records).sum::<u64>();
        prop_assert_eq!(sum(&joined), sum(&rows));
        for by in [ReadBy::EventTime, ReadBy::ChangeTime] {
            let of = |rows: &[SliceRow]| Coverage::new(by, false, rows.iter().map(SliceRow::as_read));
            let (one, other) = (of(&joined), of(&rows));
            prop_assert_eq!(one.covered(), other.covered());
            for (from, to, until) in [(0, 50, 60), (3, 9, 12), (20, 44, 50)] {
                let asked = Window::new(at(from), at(to)).unwrap();
                prop_assert_eq!(one.assess(asked, at(until)), other.assess(asked, at(until)));
            }
        }
        // The window that a resource that is followed has to be asked for: never less, since it counts from the earliest reading.
        let of = |rows: &[SliceRow]| Coverage::new(ReadBy::EventTime, true, rows.iter().map(SliceRow::as_read));
        let (one, other) = (of(&joined), of(&rows));
        prop_assert_eq!(one.change_window_to_read(at(99)), other.change_window_to_read(at(99)));
        let asked = Window::new(at(0), at(50)).unwrap();
        let gaps = |coverage: &Coverage| {
            coverage.gaps(asked, at(60)).into_iter().map(|gap| gap.window).collect::<Vec<_>>()
        };
        for gap in gaps(&other) {
            prop_assert!(tillhouse_model::subtract_windows(gap, &gaps(&one)).is_empty());
        }
    }
}
