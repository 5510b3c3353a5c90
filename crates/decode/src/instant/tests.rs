//! Tests of instants and dates from their text.
//!
//! Invariant: each spelling is read as jiff reads it, or refused for a reason that is told.

use super::*;
use crate::scan::JsonScanner;
use jiff::civil::Date;
use proptest::prelude::*;
use tillhouse_model::time_zone::time_zone;

fn micros(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

#[test]
fn an_offset_counts_and_a_missing_one_is_refused() {
    for text in [
        "2020-08-10T13:15:00+02:00",
        "2020-08-10T11:15:00Z",
        "2020-08-10T11:15:00.000-00:00",
        "2020-08-10t11:15:00z",
        "2020-08-10 11:15:00Z",
        "2020-08-10T1315+02",
        " 2020-08-10T11:15:00Z\u{a0}",
        "2020-08-10 13:15:00 +02:00",
        "2020-08-10 13:15:00+02",
        "2020-08-10T13:15:00+0200",
        "2020-08-10 11:15:00 UTC",
        "2020-08-10T11:15:00,000000000000000z",
        "2020-08-10T11:15Z",
        "2020-08-10T13:15:00+02:00[Europe/Berlin]",
        "2020-08-10T06:15:00\u{2212}05:00",
        "2020\u{2010}08\u{2010}10\u{a0}13:15＋０２:００",
    ] {
        let instant = read(text.as_bytes(), None).unwrap();
        assert_eq!(
            (instant.micros, instant.cut),
            (micros("2020-08-10T11:15:00Z"), false),
            "{text}"
        );
    }
    for (text, why) in [
        ("2020-08-10T13:15:00", "time without offset"),
        ("2020-08-10T13:15:00.5", "time without offset"),
        ("2020-08-10", "date without time"),
        ("2020-02-30T13:15:00Z", "not a time"),
        ("2020-08-10T25:15:00Z", "not a time"),
        ("2020-08-10T13:15:00+2:00", "not a time"),
        ("2020-08-10T13:15:00.Z", "not a time"),
        ("2020-08-10T13:15:00 CEST", "not a time"),
        ("2020-08-10T24:00:01Z", "not a time"),
        ("2020-08-10T24:01:00Z", "not a time"),
        ("2020-08-10T24:00:00.001Z", "not a time"),
        ("2020-08-10T23:59:61Z", "not a time"),
        ("10.08.2020 13:15", "not a time"),
        ("1597058100", "not a time"),
        ("12345678", "not a time"),
        ("1900-01-01T00:00:00x", "not a time"),
        ("yesterday", "not a time"),
        ("", "not a time"),
    ] {
        assert_eq!(
            read(text.as_bytes(), None),
            Err(InstantError::Wrong(why)),
            "{text}"
        );
    }
}

#[test]
fn an_offset_is_one_that_a_clock_has() {
    let berlin = time_zone("Europe/Berlin").unwrap();
    for offset in [
        "+24:00", "+25:00", "-24:00", "+23:59", "+15:00", "+14:01", "-12:01", "-13", "+1401",
        "-23:59",
    ] {
        for text in [
            format!("2020-08-10T13:15:00{offset}"),
            format!("2020-08-10 13:15 {offset}"),
            format!("20200810T131500{offset}"),
        ] {
            for zone in [None, Some(&berlin)] {
                assert!(
                    matches!(read(text.as_bytes(), zone), Err(InstantError::Wrong(_))),
                    "{text}"
                );
            }
        }
    }
    for (offset, instant) in [
        ("+14:00", "2020-08-09T23:15:00Z"),
        ("-12:00", "2020-08-11T01:15:00Z"),
        ("-00:00", "2020-08-10T13:15:00Z"),
    ] {
        let text = format!("2020-08-10T13:15:00{offset}");
        assert_eq!(
            read(text.as_bytes(), None).map(|i| i.micros),
            Ok(micros(instant)),
            "{text}"
        );
    }
}

#[test]
fn finer_digits_are_cut() {
    let berlin = time_zone("Europe/Berlin").unwrap();
    for (text, expected, cut) in [
        (
            "2020-08-10T13:15:00.1234560Z",
            "2020-08-10T13:15:00.123456Z",
            false,
        ),
        (
            "2020-08-10T13:15:00.1234565Z",
            "2020-08-10T13:15:00.123456Z",
            true,
        ),
        (
            "2020-08-10T13:15:00.1234575Z",
            "2020-08-10T13:15:00.123457Z",
            true,
        ),
        (
            "2020-08-10T13:15:00.12345651Z",
            "2020-08-10T13:15:00.123456Z",
            true,
        ),
        (
            "2020-08-10T13:15:00.1234569999999Z",
            "2020-08-10T13:15:00.123456Z",
            true,
        ),
        ("2020-08-10T13:15:00.5Z", "2020-08-10T13:15:00.5Z", false),
        (
            "2020-08-10T13:15:00.000000000000Z",
            "2020-08-10T13:15:00Z",
            false,
        ),
        // The end of a day, a month and a year stays in it.
        (
            "2026-11-30T23:59:59.999999999Z",
            "2026-11-30T23:59:59.999999Z",
            true,
        ),
        (
            "2026-11-30T23:59:59.9999999Z",
            "2026-11-30T23:59:59.999999Z",
            true,
        ),
        (
            "2026-12-31T23:59:59.9999999+01:00",
            "2026-12-31T22:59:59.999999Z",
            true,
        ),
        (
            "2026-12-31T23:59:59.999999999",
            "2026-12-31T22:59:59.999999Z",
            true,
        ),
        (
            "2261-12-31T23:59:59.9999999Z",
            "2261-12-31T23:59:59.999999Z",
            true,
        ),
        // So it is before 1970.
        (
            "1969-12-31T23:59:59.9999999Z",
            "1969-12-31T23:59:59.999999Z",
            true,
        ),
        (
            "1950-03-31T23:59:59.999999999Z",
            "1950-03-31T23:59:59.999999Z",
            true,
        ),
        ("1950-03-31T23:59:59.0000001Z", "1950-03-31T23:59:59Z", true),
        // In other spellings, and those that jiff reads, alike.
        (
            "2026-11-30 23:59:59.999999999 UTC",
            "2026-11-30T23:59:59.999999Z",
            true,
        ),
        (
            "20261130T235959.999999999Z",
            "2026-11-30T23:59:59.999999Z",
            true,
        ),
        (
            "19500331T235959.9999999Z",
            "1950-03-31T23:59:59.999999Z",
            true,
        ),
        (
            "2026-11-30T23:59:59.999999999+01:00[Europe/Berlin]",
            "2026-11-30T22:59:59.999999Z",
            true,
        ),
    ] {
        assert_eq!(
            read(text.as_bytes(), Some(&berlin)).map(|i| (i.micros, i.cut)),
            Ok((micros(expected), cut)),
            "{text}"
        );
    }
}

#[test]
fn a_named_zone_reads_wall_clocks() {
    let berlin = time_zone("Europe/Berlin").unwrap();
    for (text, instant) in [
        ("2020-08-10T13:15:00.25", "2020-08-10T11:15:00.25Z"),
        ("2020-08-10 13:15", "2020-08-10T11:15:00Z"),
        ("2020-08-10T13:15:00Z", "2020-08-10T13:15:00Z"),
        // Twice on that night: the earlier. Never on that one: as if the clock had not leapt yet.
        ("2024-10-27T02:30:00", "2024-10-27T00:30:00Z"),
        ("2024-03-31T02:30:00", "2024-03-31T01:30:00Z"),
    ] {
        assert_eq!(
            read(text.as_bytes(), Some(&berlin)).unwrap().micros,
            micros(instant),
            "{text}"
        );
    }
    assert_eq!(
        read(b"2020-08-10", Some(&berlin)),
        Err(InstantError::Wrong("date without time"))
    );
    assert_eq!(
        read(b"20200810", Some(&berlin)),
        Err(InstantError::Wrong("date without time"))
    );
}

#[test]
fn the_end_of_a_day_is_the_next_one() {
    let berlin = time_zone("Europe/Berlin").unwrap();
    for (text, instant) in [
        ("2020-08-10T24:00:00Z", "2020-08-11T00:00:00Z"),
        ("2020-12-31 24:00:00+01:00", "2020-12-31T23:00:00Z"),
        ("2020-02-28T24:00:00.000", "2020-02-28T23:00:00Z"),
        ("2026-03-29T24:00:00", "2026-03-29T22:00:00Z"),
        ("2026-10-25T24:00:00", "2026-10-25T23:00:00Z"),
        ("2020-08-10T24:00Z", "2020-08-11T00:00:00Z"),
        // The last second of a minute that has 61, as POSIX has no other.
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        ("2016-12-31T23:59:60.5Z", "2016-12-31T23:59:59.5Z"),
    ] {
        assert_eq!(
            read(text.as_bytes(), Some(&berlin)).map(|i| i.micros),
            Ok(micros(instant)),
            "{text}"
        );
    }
}

#[test]
fn some_dates_say_none_and_some_say_never() {
    let berlin = time_zone("Europe/Berlin").unwrap();
    for text in [
        "0001-01-01T00:00:00",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:53:28+00:53",
        "0001-01-01",
        "0000-00-00 00:00:00",
        "0000-00-00",
        "-0001-11-30T00:00:00+00:00",
        "-271821-04-20T00:00:00.000Z",
        "1900-01-01T00:00:00Z",
        "1900-01-01 00:00:00.000",
        "1899-12-30T00:00:00",
        "1753-01-01T00:00:00",
        "1970-01-01T00:00:00Z",
        "1970-01-01 00:00:00",
        "1970-01-01T00:00:00.000+00:00",
        "1970-01-01T01:00:00",
        "1970-01-01T01:00:00+01:00",
        "1970-01-01T0130+0130",
        "1969-12-31T19:00:00-05:00",
        "1969-12-31 24:00:00Z",
        "1900-01-01T00:00:00+01:00",
        "1900-01-01T00:00:00.000-05:00",
        "1900-01-01 00:00:00 +0100",
        "1900-01-01 00:00:00,000 UTC",
        "1900-01-01T00:00+05:30",
        "1900-01-01T01:00:00+01:00",
        "1899-12-30T00:00:00+01:00",
        "1753-01-01T00:00:00-08:00",
        "1970-01-01T00:00:00+01:00",
        "1970-01-01T00:00:00+01:00[Europe/Berlin]",
        "19000101T000000Z",
        "18991230T000000+0100",
        "19000101T000000",
        "19000101",
        "00000000",
        "19700101T000000Z",
        "1970-01-01T00:00:00Z[UTC]",
        "1970-01-01T01:00:00+01:00[Europe/Paris]",
        "1601-01-01T00:00:00Z",
        "0002-01-01T00:00:00Z",
        "1583-06-01T12:00:00Z",
        "1677-12-31T23:59:59Z",
    ] {
        assert_eq!(
            read(text.as_bytes(), Some(&berlin)),
            Err(InstantError::Unset),
            "{text}"
        );
    }
    for text in [
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.9999999",
        "9999-12-31",
        "9999-01-01T00:00:00+14:00",
        "10000-01-01T00:00:00Z",
        "+10000-01-01T00:00:00Z",
        "+1000000000-12-31T23:59:59.999999999Z",
        "9998-12-31T23:59:59Z",
        "2999-12-31T00:00:00Z",
        "3000-01-01",
        "2262-01-01T00:00:00Z",
    ] {
        assert_eq!(
            read(text.as_bytes(), Some(&berlin)),
            Err(InstantError::OpenEnd),
            "{text}"
        );
    }
    for (text, none) in [
        ("29991231T235959Z", InstantError::OpenEnd),
        ("99991231T235959Z", InstantError::OpenEnd),
        ("99991231", InstantError::OpenEnd),
        ("00010101T000000Z", InstantError::Unset),
        ("29991231T000000", InstantError::OpenEnd),
    ] {
        assert_eq!(read(text.as_bytes(), Some(&berlin)), Err(none), "{text}");
    }
    for text in [
        "1900-01-01T00:00:01Z",
        "1900-01-02T00:00:00Z",
        "1970-01-01T00:00:00.000001Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T01:00:00Z",
        "1900-01-01T00:00:01+01:00",
        "1900-01-01T10:00:00+01:00",
        "1678-01-01T00:00:00Z",
        "2261-12-31T23:59:59Z",
    ] {
        assert_eq!(
            read(text.as_bytes(), None).map(|i| i.micros),
            Ok(micros(text)),
            "{text}"
        );
    }
}

#[test]
fn an_epoch_may_have_fractions() {
    let at = |text: &str, scale| {
        epoch(&JsonScanner::new(text.as_bytes()).number().unwrap(), scale)
            .map(|i| (i.micros, i.cut))
    };
    assert_eq!(at("1597058100", 6), Ok((1_597_058_100_000_000, false)));
    assert_eq!(
        at("1597058100.1234565", 6),
        Ok((1_597_058_100_123_456, true))
    );
    for (text, scale, expected) in [
        ("1597058100.9999999", 6, 1_597_058_100_999_999),
        ("1597058100123.99999", 3, 1_597_058_100_123_999),
        ("-0.0000001", 6, -1),
        ("-1.0000001", 6, -1_000_001),
        ("-1.00000010000000000000000000000000000001", 6, -1_000_001),
        ("-1e-60", 6, -1),
        ("1.99999999999999999999999999999999999999", 6, 1_999_999),
    ] {
        assert_eq!(at(text, scale), Ok((expected, true)), "{text}");
    }
    assert_eq!(at("1597058100123.5", 3), Ok((1_597_058_100_123_500, false)));
    assert_eq!(at("-1", 3), Ok((-1000, false)));
    assert_eq!(at("1", 3), Ok((1000, false)));
    for none in ["0", "0.0", "-0", "0e7", "0.0000001"] {
        assert_eq!(at(none, 6), Err(InstantError::Unset), "{none}");
    }
    for far in [
        "1e300",
        "9223372036854775807",
        "253402300799999",
        "9214646400000",
        "32503680000000",
    ] {
        assert_eq!(at(far, 3), Err(InstantError::OpenEnd), "{far}");
    }
    assert_eq!(at("253402300799", 6), Err(InstantError::OpenEnd));
    for far in [
        "-62135596800",
        "-11644473600",
        "-9214560001",
        "-1e300",
        "-9223372036854775808",
    ] {
        assert_eq!(at(far, 6), Err(InstantError::Unset), "{far}");
    }
}

#[test]
fn dates_are_days() {
    assert_eq!(date(b"1970-01-02"), Ok(1));
    assert_eq!(date(b"1969-12-31"), Ok(-1));
    assert_eq!(date(b"2024-02-29"), Ok(19_782));
    assert_eq!(date(" 2261-12-31\u{a0}".as_bytes()), Ok(106_650));
    assert_eq!(date(b"9999-12-31"), Err(InstantError::OpenEnd));
    assert_eq!(date(b"2262-01-01"), Err(InstantError::OpenEnd));
    for none in [
        "0001-01-01",
        "0000-00-00",
        "1900-01-01",
        "1970-01-01",
        "1900-01-01T00:00:00+01:00",
        "19000101",
    ] {
        assert_eq!(date(none.as_bytes()), Err(InstantError::Unset), "{none}");
    }
    for bad in [
        "2023-02-29",
        "2024-2-29",
        "24-02-29",
        "2024-02-29T00:00:00Z",
        "20240229",
        "2024-13-01",
        "2024-00-01",
        "2024-01-00",
    ] {
        assert_eq!(
            date(bad.as_bytes()),
            Err(InstantError::Wrong("not a date")),
            "{bad}"
        );
    }
}

proptest! {
    #[test]
    fn the_hand_written_way_equals_jiff(seconds in -9_214_400_000_i64..9_214_400_000, offset in -720_i64..841, millis in 0_i64..1000) {
        let instant = Timestamp::from_millisecond(seconds * 1000 + millis).unwrap();
        let zone = jiff::tz::Offset::from_seconds(i32::try_from(offset * 60).unwrap()).unwrap();
        let text = instant.display_with_offset(zone).to_string();
        if says_none(text.as_bytes()).is_none() && instant.as_microsecond() != 0 {
            prop_assert_eq!(read(text.as_bytes(), None).map(|i| i.micros), Ok(instant.as_microsecond()), "{}", text);
        }
        let day = zone.to_datetime(instant).date();
        prop_assume!(YEARS.contains(&i32::from(day.year())));
        let days = (day - Date::new(1970, 1, 1).unwrap()).get_days();
        let day = day.to_string();
        let unset = FIRST_DAYS.contains(&day.as_bytes());
        prop_assert_eq!(date(day.as_bytes()), if unset { Err(InstantError::Unset) } else { Ok(days) });
    }

    #[test]
    fn any_bytes_are_an_instant_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[0-9TZ:+. -]{0,32}") {
        let berlin = time_zone("Europe/Berlin").unwrap();
        for candidate in [&bytes[..], text.as_bytes()] {
            let _ = (read(candidate, None), read(candidate, Some(&berlin)), date(candidate));
        }
    }
}
