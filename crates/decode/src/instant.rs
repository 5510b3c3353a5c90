//! Instants and dates from their text.
//!
//! Invariant: an instant is read only where its text has an offset or the contract names the zone or the unit; nothing is guessed. The result is
//! microseconds UTC, finer digits rounded half-even and reported.
//!
//! The common shape `YYYY-MM-DDTHH:MM:SS[.f](Z|+HH:MM)` is read by hand; every other RFC 3339 or ISO 8601 spelling goes to jiff.
//! Local times of a named zone: where a clock goes back, the earlier of the two instants; where it leaps, the time as read with the offset
//! from before the gap (RFC 5545's rule, jiff's "compatible").

use crate::number::{self, Scaled};
use crate::scan::Number;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// How a column's instants are spelled; [`tillhouse_model::TimeFormat`] with its zone looked up.
#[derive(Debug, Clone)]
pub(crate) enum Spelling {
    Offset,
    Zone(TimeZone),
    /// Digits after the point that are microseconds: 6 for seconds, 3 for milliseconds.
    Epoch {
        scale: i32,
    },
}

/// An instant, and whether digits beyond microseconds fell away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant {
    pub(crate) micros: i64,
    pub(crate) rounded: bool,
}

const DAY: i64 = 86_400;

/// A clock reading in the common shape.
struct Clock {
    year: i32,
    month: u32,
    day: u32,
    /// Seconds since midnight.
    seconds: i64,
    micros: i64,
    rounded: bool,
    /// Seconds east of UTC.
    offset: Option<i64>,
}

/// Reads an instant with an offset, or a local one where `zone` is known. The error says what is wrong, never the value.
#[inline]
pub(crate) fn read(text: &[u8], zone: Option<&TimeZone>) -> Result<Instant, &'static str> {
    let Some(clock) = common_shape(text) else { return unusual(text, zone) };
    let Some(offset) = clock.offset else {
        let Some(zone) = zone else { return Err("time without offset") };
        return local(&clock, zone);
    };
    let seconds = days_from_civil(clock.year, clock.month, clock.day) * DAY + clock.seconds - offset;
    Ok(Instant { micros: seconds * 1_000_000 + clock.micros, rounded: clock.rounded })
}

fn local(clock: &Clock, zone: &TimeZone) -> Result<Instant, &'static str> {
    let midnight = DateTime::new(
        i16::try_from(clock.year).unwrap_or(0),
        i8::try_from(clock.month).unwrap_or(0),
        i8::try_from(clock.day).unwrap_or(0),
        0,
        0,
        0,
        0,
    );
    let wall = midnight.and_then(|m| m.checked_add(jiff::SignedDuration::from_secs(clock.seconds)));
    let instant =
        wall.and_then(|wall| zone.to_ambiguous_timestamp(wall).compatible()).map_err(|_| "time out of range")?;
    Ok(Instant { micros: instant.as_microsecond() + clock.micros, rounded: clock.rounded })
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// The civil date at the start of a text, years 1 to 9998: jiff's own limits lie outside, whatever the offset.
#[inline]
fn date_at(text: &[u8]) -> Option<(i32, u32, u32)> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.first_chunk::<10>()? else { return None };
    let year = i32::try_from(two(y1, y2)? * 100 + two(y3, y4)?).ok()?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let fits = (1..=9998).contains(&year) && (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
    fits.then_some((year, month, day))
}

#[inline]
fn common_shape(text: &[u8]) -> Option<Clock> {
    let (year, month, day) = date_at(text)?;
    let &[b'T', h1, h2, b':', i1, i2, b':', s1, s2] = text.get(10..)?.first_chunk::<9>()? else { return None };
    let (hour, minute, second) = (two(h1, h2)?, two(i1, i2)?, two(s1, s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &text[19..];
    let (mut micros, mut rounded) = (0, false);
    if let Some(fraction) = rest.strip_prefix(b".") {
        let end = fraction.iter().position(|b| !b.is_ascii_digit()).unwrap_or(fraction.len());
        (micros, rounded) = fraction_micros(&fraction[..end])?;
        rest = &fraction[end..];
    }
    let offset = match *rest {
        [] => None,
        [b'Z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i64::from(hours * 3600 + minutes * 60);
            Some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => return None,
    };
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Some(Clock { year, month, day, seconds, micros, rounded, offset })
}

/// The digits after a second's point as microseconds, half-even.
fn fraction_micros(digits: &[u8]) -> Option<(i64, bool)> {
    if digits.is_empty() {
        return None;
    }
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + i64::from(digits.get(place).map_or(0, |d| d - b'0'));
    }
    let Some((first, more)) = digits.get(6..).and_then(<[u8]>::split_first) else { return Some((micros, false)) };
    let more = more.iter().any(|d| *d != b'0');
    let up = *first > b'5' || (*first == b'5' && (more || micros % 2 == 1));
    Some((micros + i64::from(up), *first != b'0' || more))
}

#[cold]
fn unusual(text: &[u8], zone: Option<&TimeZone>) -> Result<Instant, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "not a time")?;
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(to_micros(instant));
    }
    // jiff reads a bare date as its midnight; a date is no instant.
    let civil: DateTime = text.parse().map_err(|_| "not a time")?;
    if !text.contains(['T', 't', ' ', ':']) {
        return Err("date without time");
    }
    let Some(zone) = zone else { return Err("time without offset") };
    zone.to_ambiguous_timestamp(civil).compatible().map(to_micros).map_err(|_| "time out of range")
}

/// An instant of jiff's, which has nanoseconds.
fn to_micros(instant: Timestamp) -> Instant {
    let nanos = instant.as_nanosecond();
    let (quotient, remainder) = (nanos.div_euclid(1000), nanos.rem_euclid(1000));
    let up = remainder > 500 || (remainder == 500 && quotient.rem_euclid(2) == 1);
    // jiff's range is some 10^18 microseconds at most: it fits.
    let micros = i64::try_from(quotient + i128::from(up)).unwrap_or(i64::MAX);
    Instant { micros, rounded: remainder != 0 }
}

/// Reads a number of seconds (`scale` 6) or milliseconds (`scale` 3) since 1970.
pub(crate) fn epoch(number: &Number<'_>, scale: i32) -> Result<Instant, &'static str> {
    let Scaled { units, rounded } = number::to_scale(number, scale).ok_or("time out of range")?;
    let micros = i64::try_from(units).map_err(|_| "time out of range")?;
    Timestamp::from_microsecond(micros).map_err(|_| "time out of range")?;
    Ok(Instant { micros, rounded })
}

/// Reads `YYYY-MM-DD` as days since 1970-01-01.
pub(crate) fn date(text: &[u8]) -> Result<i32, &'static str> {
    let days = match date_at(text) {
        Some((year, month, day)) if text.len() == 10 => Some(days_from_civil(year, month, day)),
        // Years 0 and 9999 are dates as well.
        _ if text.len() == 10 && (text.starts_with(b"0000-") || text.starts_with(b"9999-")) => {
            std::str::from_utf8(text).ok().and_then(|t| t.parse::<Date>().ok()).map(|d| {
                days_from_civil(
                    i32::from(d.year()),
                    u32::from(d.month().unsigned_abs()),
                    u32::from(d.day().unsigned_abs()),
                )
            })
        }
        _ => None,
    };
    days.and_then(|d| i32::try_from(d).ok()).ok_or("not a date")
}

fn days_in(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, for years from 0: years start in March, so that the leap day is last.
#[inline]
fn days_from_civil(year: i32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Scan;
    use proptest::prelude::*;

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
        ] {
            let instant = read(text.as_bytes(), None).unwrap();
            assert_eq!((instant.micros, instant.rounded), (micros("2020-08-10T11:15:00Z"), false), "{text}");
        }
        for (text, why) in [
            ("2020-08-10T13:15:00", "time without offset"),
            ("2020-08-10T13:15:00.5", "time without offset"),
            ("2020-08-10", "date without time"),
            ("2020-02-30T13:15:00Z", "not a time"),
            ("2020-08-10T25:15:00Z", "not a time"),
            ("2020-08-10T13:15:00+2:00", "not a time"),
            ("2020-08-10T13:15:00.Z", "not a time"),
            ("yesterday", "not a time"),
            ("", "not a time"),
        ] {
            assert_eq!(read(text.as_bytes(), None), Err(why), "{text}");
        }
    }

    #[test]
    fn finer_digits_are_rounded_half_even() {
        for (fraction, expected, rounded) in [
            ("1234560", 123_456, false),
            ("1234565", 123_456, true),
            ("1234575", 123_458, true),
            ("12345651", 123_457, true),
            ("1234564999999", 123_456, true),
            ("9999999", 1_000_000, true),
            ("5", 500_000, false),
            ("000000000000", 0, false),
        ] {
            let instant = read(format!("2020-08-10T13:15:00.{fraction}Z").as_bytes(), None).unwrap();
            assert_eq!(
                (instant.micros - micros("2020-08-10T13:15:00Z"), instant.rounded),
                (expected, rounded),
                "{fraction}"
            );
        }
        // The way through jiff rounds alike.
        let instant = read(b"2020-08-10 13:15:00.123456500Z", None).unwrap();
        assert_eq!((instant.micros - micros("2020-08-10T13:15:00Z"), instant.rounded), (123_456, true));
    }

    #[test]
    fn a_named_zone_reads_wall_clocks() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (text, instant) in [
            ("2020-08-10T13:15:00.25", "2020-08-10T11:15:00.25Z"),
            ("2020-08-10 13:15", "2020-08-10T11:15:00Z"),
            ("2020-08-10T13:15:00Z", "2020-08-10T13:15:00Z"),
            // Twice on that night: the earlier. Never on that one: as if the clock had not leapt yet.
            ("2024-10-27T02:30:00", "2024-10-27T00:30:00Z"),
            ("2024-03-31T02:30:00", "2024-03-31T01:30:00Z"),
        ] {
            assert_eq!(read(text.as_bytes(), Some(&berlin)).unwrap().micros, micros(instant), "{text}");
        }
        assert_eq!(read(b"2020-08-10", Some(&berlin)), Err("date without time"));
        assert_eq!(read(b"20200810", Some(&berlin)), Err("date without time"));
    }

    #[test]
    fn an_epoch_may_have_fractions() {
        let at = |text: &str, scale| {
            epoch(&Scan::new(text.as_bytes()).number().unwrap(), scale).map(|i| (i.micros, i.rounded))
        };
        assert_eq!(at("1597058100", 6), Ok((1_597_058_100_000_000, false)));
        assert_eq!(at("1597058100.1234565", 6), Ok((1_597_058_100_123_456, true)));
        assert_eq!(at("1597058100123.5", 3), Ok((1_597_058_100_123_500, false)));
        assert_eq!(at("-1", 3), Ok((-1000, false)));
        assert_eq!(at("1e300", 3), Err("time out of range"));
        assert_eq!(at("1597058100000", 6), Err("time out of range"));
    }

    #[test]
    fn dates_are_days() {
        assert_eq!(date(b"1970-01-01"), Ok(0));
        assert_eq!(date(b"2024-02-29"), Ok(19_782));
        assert_eq!(date(b"9999-12-31"), Ok(2_932_896));
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
            assert_eq!(date(bad.as_bytes()), Err("not a date"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_hand_written_way_equals_jiff(seconds in -62_000_000_000_i64..253_000_000_000, offset in -1439_i64..1440, millis in 0_i64..1000) {
            let instant = Timestamp::from_millisecond(seconds * 1000 + millis).unwrap();
            let zone = jiff::tz::Offset::from_seconds(i32::try_from(offset * 60).unwrap()).unwrap();
            let text = instant.display_with_offset(zone).to_string();
            if !text.starts_with('-') {
                prop_assert_eq!(read(text.as_bytes(), None).map(|i| i.micros), Ok(instant.as_microsecond()), "{}", text);
            }
            let day = zone.to_datetime(instant).date();
            prop_assume!((1..=9998).contains(&day.year()));
            prop_assert_eq!(date(day.to_string().as_bytes()), Ok((day - Date::new(1970, 1, 1).unwrap()).get_days()));
        }

        #[test]
        fn any_bytes_are_an_instant_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[0-9TZ:+. -]{0,32}") {
            let berlin = TimeZone::get("Europe/Berlin").unwrap();
            for candidate in [&bytes[..], text.as_bytes()] {
                let _ = (read(candidate, None), read(candidate, Some(&berlin)), date(candidate));
            }
        }
    }
}
