//! The law of what came in a run: what counts once, what nobody lists any more, and what two slices tell differently.
//!
//! Invariant: pages are made as a reader makes them; nothing is landed.

use super::*;
use crate::scripted_source::{SALES, queued, sale, slice, t, window};
use tillhouse_decode::Reject;

fn changed(id: &str, changed: &str) -> String {
    format!(r#"{{"id":"{id}","at":"2026-01-01T10:00:00Z","changed":{changed}}}"#)
}

/// A page of a slice of that tenant and day of January.
fn page_of(tenant: Option<&str>, day: i8, read_by: ReadBy, records: &[String]) -> QueuedPage {
    let at = |day: i8| t(&format!("2026-01-{day:02}T00:00:00Z"));
    QueuedPage {
        slice: Slice {
            tenant: tenant.map(str::to_owned),
            window: Window::new(at(day), at(day + 1)).unwrap(),
            ..slice(SALES)
        },
        read_by: Some(read_by),
        ..queued(records, 1)
    }
}

fn rejected(key: Option<&str>) -> NumberedReject {
    NumberedReject {
        reject: Reject {
            key: key.map(str::to_owned),
            field: "amount".to_owned(),
            reason: "not a number".to_owned(),
            redacted: String::new(),
            content: 0,
            record_time: None,
            updated_at: None,
        },
        nth: 1,
        time: None,
        within: window(),
    }
}

fn read(by: ReadBy, asked: Window) -> SliceReadSummary {
    SliceReadSummary {
        slice: slice(SALES),
        records: 1,
        rejects: 0,
        declared_total: None,
        attempts: 1,
        read_at: t("2026-01-03T00:00:00Z"),
        by,
        asked,
        keys: None,
        fingerprint: None,
    }
}

#[test]
fn records_that_come_twice_in_a_run_count_once() {
    let mut came = SeenKeys::default();
    assert_eq!(came.note_page(&queued(&[sale("a"), sale("b")], 1)), 0);
    assert_eq!(came.note_page(&queued(&[sale("b"), sale("c")], 2)), 1);
    let mut by_id = queued(&[], 3);
    by_id.unchanged = vec!["a".to_owned(), "d".to_owned()];
    assert_eq!(came.note_page(&by_id), 1);
    assert!(["a", "b", "c", "d"].iter().all(|key| came.has(key)) && !came.has("e"));
    assert!(!came.is_contested("a"));
}

#[test]
fn a_record_that_came_for_two_tenants_or_did_not_fit_is_contested() {
    let mut came = SeenKeys {
        is_shared: true,
        ..SeenKeys::default()
    };
    let event = ReadBy::EventTime;
    came.note_page(&page_of(
        Some("x"),
        1,
        event,
        &[sale("a"), sale("a"), sale("b")],
    ));
    came.note_page(&page_of(Some("y"), 1, event, &[sale("b"), sale("c")]));
    let mut unfit = page_of(Some("y"), 1, event, &[]);
    unfit.rejects = vec![rejected(Some("c")), rejected(Some("d"))];
    came.note_page(&unfit);
    let contested = ["a", "b", "c"].map(|key| came.is_contested(key));
    assert_eq!(contested, [false, true, true]);
    assert!(came.has("d"), "what does not fit came");
}

#[test]
fn only_windows_of_event_time_say_what_lacks() {
    let mut came = SeenKeys::default();
    for (by, windows) in [(ReadBy::ChangeTime, 0), (ReadBy::EventTime, 1)] {
        came.note_listing(SALES, &read(by, window()));
        assert_eq!(came.listings().len(), windows);
    }
    // What has no key may be any record of its window.
    let mut unfit = queued(&[], 1);
    unfit.rejects = vec![rejected(None)];
    came.note_page(&unfit);
    came.note_listing(SALES, &read(ReadBy::EventTime, window()));
    assert_eq!(came.listings().len(), 1);
    assert!(came.knows_what_lacks());
}

#[test]
fn a_source_that_lists_by_another_time_says_nothing_of_what_lacks() {
    let day = |from: &str, to: &str| Window::new(t(from), t(to)).unwrap();
    // The sale is of ten.
    for (asked, knows) in [
        (window(), true),
        (day("2026-01-01T10:00:00Z", "2026-01-02T00:00:00Z"), true),
        (day("2026-01-01T10:00:01Z", "2026-01-02T00:00:00Z"), false),
        (day("2026-01-01T00:00:00Z", "2026-01-01T10:00:00Z"), false),
    ] {
        let mut came = SeenKeys::default();
        came.note_page(&queued(&[sale("a"), r#"{"id":"untimed"}"#.to_owned()], 1));
        came.note_page(&queued(&[], 2));
        came.note_listing(SALES, &read(ReadBy::EventTime, asked));
        assert_eq!(came.knows_what_lacks(), knows, "{asked}");
    }
}

#[test]
fn two_slices_that_contradict_each_other_are_told_with_both() {
    let (early, late) = (r#""2026-01-02T00:00:00Z""#, r#""2026-01-03T00:00:00Z""#);
    let other = r#"{"id":"a","at":"2026-01-01T11:00:00Z"}"#.to_owned();
    let of = |time: &str, at: &str| {
        format!(r#"{{"id":"a","at":"2026-01-01T{at}:00:00Z","changed":{time}}}"#)
    };
    let (event, change) = (ReadBy::EventTime, ReadBy::ChangeTime);
    for (first, second, is_told) in [
        // The same content again is no news, in whatever slice.
        ((1, event, sale("a")), (2, event, sale("a")), false),
        (
            (1, event, changed("a", early)),
            (1, change, changed("a", early)),
            false,
        ),
        // Nobody says which is the newer one.
        ((1, event, sale("a")), (2, event, other.clone()), true),
        ((1, event, sale("a")), (1, change, other.clone()), true),
        (
            (1, event, of(early, "10")),
            (1, change, of(early, "11")),
            true,
        ),
        (
            (1, event, of(early, "10")),
            (1, change, other.clone()),
            true,
        ),
        // The time of change does.
        (
            (1, event, of(early, "10")),
            (1, change, of(late, "11")),
            false,
        ),
        // One slice that is read anew, or lists a record twice, has warnings of its own.
        ((1, event, sale("a")), (1, event, other.clone()), false),
    ] {
        let mut came = SeenKeys::default();
        let mut tell = |(day, by, record): (i8, ReadBy, String)| {
            came.told_differently(SALES, &page_of(None, day, by, &[record]))
        };
        let case = format!("{first:?} {second:?}");
        assert_eq!(tell(first), [], "{case}");
        let told = tell(second);
        assert_eq!(told.len(), usize::from(is_told), "{case}");
    }
    let mut came = SeenKeys::default();
    let day = |by, record| page_of(Some("x"), 1, by, &[record]);
    came.told_differently(SALES, &day(event, sale("a")));
    let told = came.told_differently(SALES, &day(change, other.clone()));
    let [warning] = told.as_slice() else {
        panic!("one warning: {told:?}")
    };
    assert_eq!(
        (&*warning.key, &*warning.rule, warning.count),
        ("a", "told_differently", 1)
    );
    let slice = day(event, other.clone()).slice;
    let words = format!(
        "{slice} by change time has it with other content than {slice} by event time, and no time of change says which is the newer one: what was asked for last counts"
    );
    assert_eq!(warning.original, words);
    // An answer by id comes after the listing, and may say less.
    let by_id = QueuedPage {
        read_by: None,
        ..day(event, sale("a"))
    };
    assert_eq!(came.told_differently(SALES, &by_id), []);
}

#[test]
fn versions_are_remembered_of_the_records_that_came_last() {
    let version = |slice| SeenVersion {
        content: slice,
        changed: 0,
        slice,
    };
    let mut versions = RecentVersions::default();
    let most = RecentVersions::MOST as u64;
    assert!(versions.replace(0, version(1)).is_none());
    for key in 1..2 * most {
        versions.replace(key, version(1));
    }
    assert!(versions.replace(most, version(2)).is_some());
    assert!(versions.replace(2 * most, version(2)).is_none());
    assert!(
        versions.replace(0, version(2)).is_none(),
        "the oldest are forgotten"
    );
    assert!(versions.new.len() + versions.old.len() <= 2 * RecentVersions::MOST);
}
