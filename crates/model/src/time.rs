//! Instants and lengths of time, as people and sources write them.
//!
//! Invariant: a text has one meaning or none; what is not understood is refused, never guessed.

use crate::blank;
use crate::error::{Error, Result};
use crate::word;
use jiff::fmt::temporal::Pieces;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

/// An instant for people, without fractions of a second: `2026-11-28T19:36:00Z`, as everything else prints instants.
pub fn in_seconds(instant: Timestamp) -> Timestamp {
    instant
        .round(
            TimestampRound::new()
                .smallest(Unit::Second)
                .mode(RoundMode::Floor),
        )
        .unwrap_or(instant)
}

/// The error of a question about nothing but the future.
pub fn future_window_error(from: Timestamp, now: Timestamp) -> Error {
    Error::config(format!(
        "--from {from} lies in the future: now it is {}",
        in_seconds(now)
    ))
    .hint("Give a --from in the past; what has not happened yet can be neither read nor counted.")
}

/// Reads what a user writes for an instant: an RFC 3339 time with offset, or a date (midnight in `zone`).
///
/// Errors with [`crate::ErrorKind::Config`], naming what was expected.
pub fn parse_instant(text: &str, zone: &jiff::tz::TimeZone) -> Result<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let midnight = || {
        text.parse::<jiff::civil::Date>()
            .ok()?
            .to_zoned(zone.clone())
            .ok()
    };
    let wall = || {
        text.parse::<jiff::civil::DateTime>()
            .ok()?
            .to_zoned(zone.clone())
            .ok()
    };
    let date_only = text.len() <= 10;
    if let Some(zoned) = if date_only { midnight() } else { wall() } {
        return Ok(zoned.timestamp());
    }
    Err(no_instant(text))
}

/// The error of a text that is no instant: one that is a day or a time, but at the end of the calendar, is told from what is neither.
pub fn no_instant(text: &str) -> Error {
    if lies_beyond_calendar(text) {
        return beyond_calendar(text);
    }
    Error::config(format!("{text:?} is neither a date nor a time"))
        .hint("Write a date like 2026-01-31, or a time with its offset like 2026-01-31T12:00:00Z.")
}

/// True for a text that is a day or a time, of a year of which some instants cannot be reckoned with.
pub fn lies_beyond_calendar(text: &str) -> bool {
    Pieces::parse(text.trim()).is_ok_and(|written| LAST_YEARS.contains(&written.date().year()))
}

/// The error of a day or a time that is none as an instant.
pub fn beyond_calendar(text: &str) -> Error {
    Error::config(format!(
        "{text:?} lies at the end of the calendar, where instants are not reckoned any more"
    ))
    .hint("The days from -009999-01-03 to 9999-12-30 can be asked for.")
}

/// Years of which some instants cannot be reckoned with.
const LAST_YEARS: [i16; 2] = [-9999, 9999];

/// Reads a length of time as users write it: `90s`, `10m`, `12h`, `3d`, `2w`. Days have 24 hours.
///
/// Errors with [`crate::ErrorKind::Config`].
pub fn parse_duration(text: &str) -> Result<SignedDuration> {
    let bad = || {
        Error::config(format!("{text:?} is not a length of time"))
            .hint("Write a whole number and a unit: 90s, 10m, 12h, 3d or 2w.")
    };
    let text_trimmed = text.trim();
    let split = text_trimmed
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(bad)?;
    let (digits, unit) = text_trimmed.split_at(split);
    let number: i64 = digits.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(bad()),
    };
    number
        .checked_mul(seconds)
        .map(SignedDuration::from_secs)
        .ok_or_else(bad)
}

/// A length of time for people, in its two largest units: `10 d`, `3 h 20 min`, `45 s`, `1.5 s`, `300 ms`. Days have 24 hours; what is smaller is cut off.
///
/// ```
/// use jiff::SignedDuration;
/// use tillhouse_model::time::readable;
/// assert_eq!(readable(SignedDuration::from_mins(200)), "3 h 20 min");
/// assert_eq!(readable(SignedDuration::from_hours(240) + SignedDuration::from_millis(300)), "10 d");
/// ```
pub fn readable(length: SignedDuration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let sign = if length.is_negative() { "-" } else { "" };
    let whole = length.unsigned_abs();
    let (seconds, millis) = (whole.as_secs(), whole.subsec_millis());
    let text = match (seconds, millis) {
        (0, 1..) => format!("{millis} ms"),
        (1..10, 100..) => format!("{seconds}.{} s", millis / 100),
        _ => {
            let largest = UNITS
                .iter()
                .position(|(unit, _)| seconds >= *unit)
                .unwrap_or(UNITS.len() - 1);
            let mut rest = seconds;
            let mut parts = Vec::new();
            for (unit, name) in UNITS.iter().skip(largest).take(2) {
                let count = rest / unit;
                rest %= unit;
                if count > 0 || parts.is_empty() {
                    parts.push(format!("{count} {name}"));
                }
            }
            parts.join(" ")
        }
    };
    format!("{sign}{text}")
}

/// As [`readable`], for lengths that have no sign.
pub fn readable_std(length: std::time::Duration) -> String {
    readable(SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX))
}

/// Reads what a clock on the wall showed, `2026-01-31T12:00:00`, as microseconds since its own 1970-01-01T00:00:00; an offset behind it
/// does not count. `24:00:00` is the next day's midnight, see [`normalise_time_text`]. `None` where it is no such text.
pub fn wall_clock(text: &str) -> Option<i64> {
    let plain = word::plain(blank::trim(text));
    let text = &*plain;
    // A bare date is no reading of a clock, though jiff takes it for midnight; and a Z would be refused.
    if !text.contains(':') {
        return None;
    }
    let read = |text: &str| {
        text.trim_end_matches(['Z', 'z'])
            .parse::<jiff::civil::DateTime>()
            .ok()
    };
    let wall = read(text).or_else(|| {
        let (common, ends_its_day) = normalise_time_text(text)?;
        let more = if ends_its_day {
            jiff::Span::new().days(1)
        } else {
            jiff::Span::new()
        };
        read(&common)?.checked_add(more).ok()
    });
    jiff::tz::TimeZone::UTC
        .to_timestamp(wall?)
        .ok()
        .map(Timestamp::as_microsecond)
}

/// The common spelling, `2026-01-31T12:00:00+01:00`, of a time that is spelled in another way: a blank or `t` for `T`, blanks before the offset, `z`,
/// `UTC` or `GMT` for `Z`, offsets without a colon or minutes, a comma before the fraction, no seconds, a leap second. And whether it said 24:00, the
/// midnight at the end of its day; then the spelling is that of the midnight before. `None` for what is no date and clock time.
pub fn normalise_time_text(text: &str) -> Option<(String, bool)> {
    let (date, rest) = (
        text.get(..10)?,
        text.get(10..)?.strip_prefix(['T', 't', ' '])?.trim_start(),
    );
    let clock_end = rest
        .find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.' | ','))
        .unwrap_or(rest.len());
    let (clock, offset) = (
        rest[..clock_end].replace(',', "."),
        rest[clock_end..].trim_start(),
    );
    let mut clock = if clock.len() == 5 {
        format!("{clock}:00")
    } else {
        clock
    };
    let ends_its_day =
        clock.starts_with("24:00:00") && clock[8..].bytes().all(|b| matches!(b, b'.' | b'0'));
    if ends_its_day {
        clock.replace_range(..2, "00");
    }
    if clock.get(6..8) == Some("60") {
        clock.replace_range(6..8, "59");
    }
    let offset = match (offset.len(), offset.starts_with(['+', '-'])) {
        (3, true) => format!("{offset}:00"),
        (5, true) if offset.is_ascii() => format!("{}:{}", &offset[..3], &offset[3..]),
        (1 | 3, false)
            if ["Z", "UTC", "GMT"]
                .iter()
                .any(|z| offset.eq_ignore_ascii_case(z)) =>
        {
            "Z".to_owned()
        }
        _ => offset.to_owned(),
    };
    Some((format!("{date}T{clock}{offset}"), ends_its_day))
}

/// Seconds east of UTC that clocks are, wherever on earth: -12:00 to +14:00. Another offset would move what happened to another day.
pub const CLOCK_OFFSETS: std::ops::RangeInclusive<i32> = -12 * 3600..=14 * 3600;

/// Offset from UTC, in minutes, of a clock that showed `wall` at `instant`, both in microseconds:
/// a whole quarter of an hour, as all offsets are. `None` where the two are more than a minute off
/// any offset in use (-12:00 to +14:00).
pub fn clock_offset_minutes(wall: i64, instant: i64) -> Option<i64> {
    const MINUTE: i64 = 60_000_000;
    const QUARTER: i64 = 15 * MINUTE;
    let off = wall
        .checked_sub(instant)
        .filter(|off| (-13 * 60 * MINUTE..=15 * 60 * MINUTE).contains(off))?;
    // The nearest quarter: fractions of a second are often cut off one of the two.
    let quarters = (off + QUARTER / 2).div_euclid(QUARTER);
    let minutes = quarters * 15;
    let is_offset =
        i32::try_from(minutes * 60).is_ok_and(|seconds| CLOCK_OFFSETS.contains(&seconds));
    ((off - quarters * QUARTER).abs() <= MINUTE && is_offset).then_some(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_at_the_end_of_the_calendar_is_told_from_what_is_no_day() {
        let utc = jiff::tz::TimeZone::UTC;
        assert!(parse_instant("9999-12-30", &utc).is_ok());
        for text in ["9999-12-31", "9999-12-31T00:00:00Z", "-009999-01-01"] {
            let error = parse_instant(text, &utc).unwrap_err();
            let wanted = format!(
                "{text:?} lies at the end of the calendar, where instants are not reckoned any more"
            );
            assert_eq!(error.message(), wanted);
            assert!(error.hint_text().unwrap().contains("9999-12-30"));
        }
        for text in ["9999-13-31", "99991", "9999"] {
            let error = parse_instant(text, &utc).unwrap_err();
            assert!(
                error.message().contains("neither a date"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_length_of_time_is_told_in_its_two_largest_units() {
        for (millis, text) in [
            (0, "0 s"),
            (1, "1 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_050, "1 s"),
            (1_500, "1.5 s"),
            (10_500, "10 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (90_000, "1 min 30 s"),
            (3_600_000, "1 h"),
            (3_601_000, "1 h"),
            (12_000_000, "3 h 20 min"),
            (86_400_000, "1 d"),
            (90_061_000, "1 d 1 h"),
            (864_000_300, "10 d"),
            (-5_000, "-5 s"),
            (31_622_400_000, "366 d"),
        ] {
            assert_eq!(
                readable(SignedDuration::from_millis(millis)),
                text,
                "{millis}"
            );
        }
        assert_eq!(readable_std(std::time::Duration::from_secs(86_400)), "1 d");
        assert!(readable_std(std::time::Duration::MAX).ends_with(" d 15 h"));
    }

    #[test]
    fn a_clock_beside_an_instant_tells_the_offset() {
        let instant = t("2026-01-31T12:00:00.25Z").as_microsecond();
        for (wall, minutes) in [
            ("2026-01-31T13:00:00", Some(60)),
            ("2026-01-31 13:00:00.5", Some(60)),
            ("2026-01-31T12:00:00Z", Some(0)),
            ("2026-01-31T13:00:00+05:00", Some(60)),
            ("2026-01-31T17:45:01", Some(345)),
            ("2026-01-31T08:30:00", Some(-210)),
            ("2026-02-01T02:00:00", Some(840)),
            // The end of a day is the next one's beginning, the 61st second the one before it.
            ("2026-01-31T12:59:60", Some(60)),
            ("2026-01-31 13:00", Some(60)),
            ("2026-01-31t13:00:00,250", Some(60)),
            ("\u{a0}2026-01-31T13:00:00\u{200b}", Some(60)),
            ("2026\u{2212}01\u{2212}31\u{a0}１３：００", Some(60)),
            ("2026-02-01T02:15:00", None),
            ("2026-01-30T23:45:00", None),
            ("2026-01-31T13:07:00", None),
            ("1970-01-01T00:00:00", None),
        ] {
            assert_eq!(
                wall_clock(wall).and_then(|wall| clock_offset_minutes(wall, instant)),
                minutes,
                "{wall}"
            );
        }
        let midnight = t("2026-01-31T23:00:00Z").as_microsecond();
        for wall in [
            "2026-01-31T24:00:00",
            "2026-01-31 24:00",
            "2026-01-31T24:00:00.000Z",
            "2026-02-01T00:00:00",
        ] {
            assert_eq!(
                wall_clock(wall).and_then(|wall| clock_offset_minutes(wall, midnight)),
                Some(60),
                "{wall}"
            );
        }
        assert_eq!(
            wall_clock("2024-12-31T24:00:00"),
            wall_clock("2025-01-01T00:00:00")
        );
        for none in [
            "2026-01-31T24:00:01",
            "2026-01-31T24:01",
            "2026-02-30T24:00:00",
            "",
            "2026-01-31",
            "20260131",
            "noon",
            "2026-02-30T12:00:00",
        ] {
            assert_eq!(wall_clock(none), None, "{none}");
        }
        assert_eq!(clock_offset_minutes(i64::MIN, i64::MAX), None);
        assert_eq!(clock_offset_minutes(i64::MIN, 0), None);
    }

    #[test]
    fn people_write_dates_times_and_durations() {
        let utc = jiff::tz::TimeZone::UTC;
        assert_eq!(
            parse_instant("2026-01-31", &utc).unwrap(),
            t("2026-01-31T00:00:00Z")
        );
        assert_eq!(
            parse_instant("2026-01-31T01:00:00+01:00", &utc).unwrap(),
            t("2026-01-31T00:00:00Z")
        );
        for (text, instant) in [
            ("2026-11-01 08:00", "2026-11-01T08:00:00Z"),
            ("2026-11-01T08:00Z", "2026-11-01T08:00:00Z"),
            ("2026-11-01T08:00+02:00", "2026-11-01T06:00:00Z"),
        ] {
            let instant: Timestamp = instant.parse().unwrap();
            assert_eq!(parse_instant(text, &utc).unwrap(), instant, "{text}");
        }
        let error = parse_instant("31.01.2026", &utc).unwrap_err();
        assert!(error.hint_text().unwrap().contains("2026-01-31"));
        assert_eq!(
            parse_duration("3d").unwrap(),
            SignedDuration::from_hours(72)
        );
        assert!(parse_duration("3 fortnights").is_err());
    }
}
