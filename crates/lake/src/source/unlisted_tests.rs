//! The law of records that are not listed any more.
//!
//! Invariant: each test fails when its rule is taken out of the code.

use super::*;
use crate::faulty_store::{FixtureRecord, TempWarehouse, page, run, source_spec, t};
use std::sync::Arc;

const NO_MARGIN: SignedDuration = SignedDuration::ZERO;
const DAY_9: Option<&str> = Some("2026-01-09T23:59:59Z");
const DAY_10: Option<&str> = Some("2026-01-10T00:00:00Z");
const DAY_11: Option<&str> = Some("2026-01-11T00:00:00Z");

fn window(from: &str, to: &str) -> Window {
    let at = |day: &str| t(&format!("2026-01-{day}T00:00:00Z"));
    Window::new(at(from), at(to)).unwrap()
}

fn keys(unlisted: &[UnlistedRecord]) -> Vec<&str> {
    unlisted.iter().map(|record| record.key.as_str()).collect()
}

#[tokio::test]
async fn what_lies_in_a_window_that_was_read_and_did_not_come_is_told_by_its_newest_version() {
    let place = TempWarehouse::new();
    let table = place
        .open()
        .await
        .source_table("hecone", Arc::new(source_spec()));
    let the_tenth = [(None, window("10", "11"))];
    let nothing = table
        .unlisted(&the_tenth, &[None], NO_MARGIN, |_| false)
        .await;
    assert_eq!(nothing.unwrap(), [], "no table, nothing missing");
    let records = [
        FixtureRecord("before", DAY_9, 1, None),
        FixtureRecord("came", DAY_10, 1, None),
        FixtureRecord("gone", DAY_10, 1, None),
        FixtureRecord("left", DAY_10, 1, None),
        FixtureRecord("entered", DAY_9, 1, None),
        FixtureRecord("untimed", None, 1, None),
        FixtureRecord("after", DAY_11, 1, None),
    ];
    table
        .land(vec![page("2026-03-01T00:00:00Z", &records)], &run("r"))
        .await
        .unwrap();
    let moved = [
        FixtureRecord("left", DAY_11, 2, None),
        FixtureRecord("entered", DAY_10, 2, None),
        FixtureRecord("gone", DAY_10, 2, None),
    ];
    table
        .land(vec![page("2026-03-02T00:00:00Z", &moved)], &run("r"))
        .await
        .unwrap();
    let came = |key: &str| key == "came";
    let told = table
        .unlisted(&the_tenth, &[None], NO_MARGIN, came)
        .await
        .unwrap();
    assert_eq!(keys(&told), ["entered", "gone"]);
    let at = t("2026-01-10T00:00:00Z").as_microsecond();
    assert!(told.iter().all(|record| record.record_time == at));
    // Near an end the provider may list by another time.
    for (hours, ends, unlisted) in [
        (1, ("10", "11"), vec![]),
        (24, ("09", "11"), vec![]),
        (24, ("09", "12"), vec!["entered", "gone"]),
    ] {
        let margin = SignedDuration::from_hours(hours);
        let listing = [(None, window(ends.0, ends.1))];
        let told = table.unlisted(&listing, &[None], margin, came).await;
        assert_eq!(keys(&told.unwrap()), unlisted, "{hours} {ends:?}");
    }
    let both = [
        (None, window("09", "10")),
        (None, window("10", "11")),
        (None, window("09", "11")),
    ];
    let told = table
        .unlisted(&both, &[None], NO_MARGIN, came)
        .await
        .unwrap();
    assert_eq!(keys(&told), ["before", "entered", "gone"]);
    assert_eq!(
        table.unlisted(&[], &[None], NO_MARGIN, came).await.unwrap(),
        []
    );
    let all = table
        .unlisted(&the_tenth, &[None], NO_MARGIN, |_| true)
        .await;
    assert_eq!(all.unwrap(), []);
    // What is marked as deleted is known to be gone.
    table
        .write_tombstones(|key| key != "gone", t("2026-03-03T00:00:00Z"), &run("r"))
        .await
        .unwrap();
    let told = table
        .unlisted(&the_tenth, &[None], NO_MARGIN, came)
        .await
        .unwrap();
    assert_eq!(keys(&told), ["entered"]);
}

#[tokio::test]
async fn a_table_that_names_no_tenants_misses_only_what_none_of_them_lists() {
    let place = TempWarehouse::new();
    let table = place
        .open()
        .await
        .source_table("hecone", Arc::new(source_spec()));
    let records = [FixtureRecord("a", DAY_10, 1, None)];
    table
        .land(vec![page("2026-03-01T00:00:00Z", &records)], &run("r"))
        .await
        .unwrap();
    let of = |name: &str| (Some(name.to_owned()), window("10", "11"));
    let tenants = [Some("x".to_owned()), Some("y".to_owned())];
    let one = table
        .unlisted(&[of("x")], &tenants, NO_MARGIN, |_| false)
        .await;
    assert_eq!(one.unwrap(), [], "the other one may list it");
    let both = table
        .unlisted(&[of("x"), of("y")], &tenants, NO_MARGIN, |_| false)
        .await
        .unwrap();
    assert_eq!(keys(&both), ["a"]);
}

#[test]
fn a_record_that_came_as_its_key_is_spelled_now_is_not_missing() {
    let stored = "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}";
    let came = |key: &str| key == "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
    assert!(has_come(stored, &came) && !has_come("b", &came));
}

#[test]
fn windows_that_touch_are_one_span() {
    let windows = [
        window("05", "06"),
        window("01", "02"),
        window("02", "03"),
        window("01", "03"),
    ];
    let spans = Spans::of(windows.into_iter());
    assert_eq!(spans.0.len(), 2);
    let at = |text: &str| t(text).as_microsecond();
    for (time, is_in) in [
        ("2025-12-31T23:59:59Z", false),
        ("2026-01-01T00:00:00Z", true),
        ("2026-01-02T00:00:00Z", true),
        ("2026-01-03T00:00:00Z", false),
        ("2026-01-05T12:00:00Z", true),
        ("2026-01-06T00:00:00Z", false),
    ] {
        assert_eq!(spans.contain(at(time)), is_in, "{time}");
    }
    assert!(!Spans::of(std::iter::empty()).contain(0));
}
