//! Periods against the provider's example, and against days counted by hand.
//!
//! Invariant: what is expected was read off a calendar.

use super::*;
use proptest::prelude::*;

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn at(text: &str) -> DateTime {
    text.parse().unwrap()
}

fn request(json: &str) -> PeriodRequest {
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_documents_example_gives_the_documents_dates() {
    let asked = |year: i64| {
        request(&format!(
            r#"{{"referenceDate": "2019-03-11T11:40:43+01:00",
                "startDate": {{"year": {year}, "month": 1, "day": 1, "week": null, "hour": 0, "minute": 0, "second": 0}},
                "endDate": {{"year": {year}, "month": 0, "day": 0, "week": null, "hour": 23, "minute": 59, "second": 59}}}}"#
        ))
        .resolve(day("2000-01-01"))
        .unwrap()
    };
    for (back, year) in [(0, 2019), (-1, 2018)] {
        let period = asked(back);
        assert_eq!(period.from(), at(&format!("{year}-01-01T00:00:00")));
        assert_eq!(period.to(), at(&format!("{year}-03-12T00:00:00")));
        assert_eq!(period.last_second(), at(&format!("{year}-03-11T23:59:59")));
        assert!(period.whole_days().is_some());
    }
}

#[test]
fn parts_count_from_the_reference_or_are_the_calendars() {
    let parts = |year: i64, month: i64, day: i64| RelativeDate {
        year: Some(year),
        month: Some(month),
        day: Some(day),
        ..RelativeDate::default()
    };
    let from = day("2026-03-31");
    for (parts, expected) in [
        (RelativeDate::default(), "2026-03-31"),
        (parts(0, 0, -1), "2026-03-30"),
        (parts(0, -1, 0), "2026-02-28"),
        (parts(0, -1, 31), "2026-02-28"),
        (parts(0, -1, 1), "2026-02-01"),
        (parts(0, -3, 1), "2025-12-01"),
        (parts(-2, 2, 31), "2024-02-29"),
        (parts(2024, 2, 0), "2024-02-29"),
        (parts(2025, 12, 24), "2025-12-24"),
        (parts(0, 1, -1), "2026-01-30"),
    ] {
        assert_eq!(parts.date(from).unwrap(), day(expected), "{parts:?}");
    }
    assert_eq!(
        parts(-1, 0, 0).date(day("2024-02-29")).unwrap(),
        day("2023-02-28")
    );
}

#[test]
fn weeks_are_iso_weeks() {
    let week = |year: i64, week: i64, day: i64| RelativeDate {
        year: Some(year),
        week: Some(week),
        day: Some(day),
        ..RelativeDate::default()
    };
    // A Wednesday, in week 1 of 2026.
    let from = day("2025-12-31");
    for (parts, expected) in [
        (week(0, 0, 1), "2025-12-29"),
        (week(0, 0, 7), "2026-01-04"),
        (week(0, 0, 0), "2025-12-31"),
        (week(0, -1, 1), "2025-12-22"),
        (week(0, -1, 0), "2025-12-24"),
        (week(0, 0, -2), "2025-12-29"),
        (week(0, 1, 1), "2025-12-29"),
        (week(0, 53, 7), "2027-01-03"),
        (week(2020, 53, 5), "2021-01-01"),
        (week(-1, 2, 1), "2025-01-06"),
    ] {
        assert_eq!(parts.date(from).unwrap(), day(expected), "{parts:?}");
    }
    assert_eq!(
        week(2025, 53, 1).date(from).unwrap_err().message(),
        "2025 has no ISO week 53"
    );
}

#[test]
fn a_period_has_the_hours_it_names_and_otherwise_whole_days() {
    let period = request(
        r#"{"startDate": {"day": -1}, "endDate": {"day": -1, "hour": 11, "minute": 59, "second": 59}, "type": "relative"}"#,
    );
    let period = period.resolve(day("2026-03-01")).unwrap();
    assert_eq!(
        (period.from(), period.to()),
        (at("2026-02-28T00:00:00"), at("2026-02-28T12:00:00"))
    );
    assert_eq!(period.whole_days(), None);
    let whole = request(r#"{"startDate": {"day": 0}, "endDate": {"day": 0}}"#)
        .resolve(day("2026-03-01"))
        .unwrap();
    assert_eq!(
        whole.whole_days(),
        Some((day("2026-03-01"), day("2026-03-02")))
    );
    let fixed =
        request(r#"{"startDate": "2023-01-01 00:00:00", "endDate": "2023-01-07 23:59:59"}"#);
    assert_eq!(
        fixed.resolve(day("2026-01-01")).unwrap().to_string(),
        "2023-01-01..2023-01-08"
    );
    let dates = request(r#"{"startDate": "2023-01-01", "endDate": "2023-01-07"}"#);
    assert_eq!(
        dates.resolve(day("2026-01-01")).unwrap(),
        fixed.resolve(day("2026-01-01")).unwrap()
    );
}

#[test]
fn what_cannot_be_is_refused_with_its_name() {
    for (json, message) in [
        (
            r#"{"startDate": {"month": 13}, "endDate": {}}"#,
            "13 is no month of a date",
        ),
        (
            r#"{"startDate": {"day": 32}, "endDate": {}}"#,
            "32 is no day of a date",
        ),
        (
            r#"{"startDate": {"year": 1}, "endDate": {}}"#,
            "1 is no year of a date",
        ),
        (
            r#"{"startDate": {"week": 0, "day": 8}, "endDate": {}}"#,
            "8 is no day of a date",
        ),
        (
            r#"{"startDate": {"week": 1, "month": 1}, "endDate": {}}"#,
            "a date names a week or a month, not both",
        ),
        (
            r#"{"startDate": {"hour": 24}, "endDate": {}}"#,
            "24 is no hour of a date",
        ),
        (
            r#"{"startDate": {"year": -99999}, "endDate": {}}"#,
            "the year of a date lies beyond the calendar",
        ),
        (
            r#"{"startDate": "2026-01-01T00:00:00+01:00", "endDate": {}}"#,
            "\"2026-01-01T00:00:00+01:00\" is neither a date nor a time",
        ),
        (
            r#"{"referenceDate": "yesterday", "startDate": {}, "endDate": {}}"#,
            "\"yesterday\" is neither a date nor a time",
        ),
    ] {
        let error = request(json).resolve(day("2026-03-01")).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (crate::ErrorKind::Config, message),
            "{json}"
        );
    }
    let backwards =
        request(r#"{"startDate": {"day": 0}, "endDate": {"day": -1}}"#).resolve(day("2026-03-01"));
    assert!(
        backwards
            .unwrap_err()
            .message()
            .starts_with("the period is empty")
    );
    assert!(
        serde_json::from_str::<PeriodRequest>(r#"{"startDate": {"days": 1}, "endDate": {}}"#)
            .is_err()
    );
}

#[test]
fn people_write_periods_with_two_dots() {
    assert_eq!(
        CivilPeriod::parse("2026-01-01..2026-02-01")
            .unwrap()
            .to_string(),
        "2026-01-01..2026-02-01"
    );
    let hours = CivilPeriod::parse("2026-01-01 06:00:00..2026-01-01T12:30:00").unwrap();
    assert_eq!(
        (hours.from(), hours.to()),
        (at("2026-01-01T06:00:00"), at("2026-01-01T12:30:00"))
    );
    for broken in [
        "",
        "2026-01-01",
        "2026-01-01..",
        "2026-02-01..2026-01-01",
        "2026-01-01..2026-01-02T00:00:00Z",
    ] {
        assert!(CivilPeriod::parse(broken).is_err(), "{broken}");
    }
}

#[test]
fn the_reference_is_the_day_on_the_clock_it_is_written_for() {
    assert_eq!(
        parse_day("2026-01-01T00:30:00+02:00").unwrap(),
        day("2026-01-01")
    );
    assert_eq!(
        parse_day("2025-12-31T23:30:00Z").unwrap(),
        day("2025-12-31")
    );
    assert_eq!(parse_day("2026-01-01").unwrap(), day("2026-01-01"));
    assert!(parse_day("1.1.2026").is_err());
}

proptest! {
    /// Whatever is asked, there is a period or an error, never a panic; and a period is not empty.
    #[test]
    fn any_request_has_an_answer(
        reference in (1_i16..9999, 1_i8..=12, 1_i8..=28),
        start in proptest::collection::vec(proptest::option::of(prop_oneof![-60_i64..60, any::<i64>()]), 7),
        end in proptest::collection::vec(proptest::option::of(-60_i64..60), 7),
    ) {
        let relative = |parts: &[Option<i64>]| PeriodEnd::Relative(RelativeDate {
            year: parts[0], month: parts[1], week: parts[2], day: parts[3], hour: parts[4], minute: parts[5], second: parts[6],
        });
        let asked = PeriodRequest { reference_date: None, start_date: relative(&start), end_date: relative(&end), kind: None };
        let (year, month, day) = reference;
        if let Ok(period) = asked.resolve(Date::new(year, month, day).unwrap()) {
            prop_assert!(period.from() < period.to());
        }
    }
}
