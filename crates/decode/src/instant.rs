//! Instants and dates from their text.
//!
//! Invariant: an instant is read only where its text has an offset or the contract names the zone or the unit; nothing is guessed. The result is
//! microseconds UTC, finer digits rounded half-even and reported.
//!
//! The common shape `YYYY-MM-DDTHH:MM:SS[.f](Z|+HH:MM)` is read by hand; other spellings of it are brought into that shape, and every other RFC
//! 3339 or ISO 8601 spelling goes to jiff. `24:00:00` is the next day's midnight; a leap second (`:60`) is the second before it.
//!
//! Some dates are no dates: years such as 9999 and 2999 are how software writes "open", and years 0, 1 and 1601, and midnight on the first day
//! that some system knows (1753-01-01, 1899-12-30, 1900-01-01, 1970-01-01), how it writes "none": the midnight of any clock, whatever its offset, and
//! that of UTC, whatever clock shows it. Neither is an instant here, see [`InstantError`]: what lies before 1678 or after 2261.
//!
//! An offset is one that a clock on earth has, from -12:00 to +14:00: another one would move a sale to another day.
//! These are also the years that nanoseconds of 64 bits can count, which the functions of many a database work in.
//!
//! Local times of a named zone: where a clock goes back, the earlier of the two instants; where it leaps, the time as read with the offset
//! from before the gap (RFC 5545's rule, jiff's "compatible").

use crate::number::{self, ScaledNumber};
use crate::scan::JsonNumber;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use tillhouse_model::blank;
use tillhouse_model::calendar::{days_from_civil, days_in};
use tillhouse_model::time::{CLOCK_OFFSETS, normalise_time_text};

/// Format of a column's instants: [`tillhouse_model::TimeFormat`] with its zone looked up.
#[derive(Debug, Clone)]
pub(crate) enum InstantFormat {
    Offset,
    Zone(TimeZone),
    /// Digits after the point that are microseconds: 6 for seconds, 3 for milliseconds.
    Epoch {
        scale: i32,
    },
}

/// Instant in microseconds UTC, and whether finer digits were rounded away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoundedInstant {
    pub(crate) micros: i64,
    pub(crate) rounded: bool,
}

/// Reason why a text holds no instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InstantError {
    /// The value says that there is none.
    Unset,
    /// The value says that it never comes.
    OpenEnd,
    /// The value cannot be read.
    Wrong(&'static str),
}

const DAY: i64 = 86_400;

/// The years of instants and dates.
const YEARS: std::ops::RangeInclusive<i32> = 1678..=2261;

/// 1678-01-01T00:00:00Z and 2262-01-01T00:00:00Z, in microseconds: the same years.
const FIRST: i64 = -9_214_560_000_000_000;
const LAST: i64 = 9_214_646_400_000_000;

/// Days on which nothing happened: the first ones SQL Server, OLE, Excel and Unix know, and so how they write none. At midnight only.
const FIRST_DAYS: [&[u8]; 4] = [b"1753-01-01", b"1899-12-30", b"1900-01-01", b"1970-01-01"];

const NO_OFFSET: InstantError = InstantError::Wrong("no clock on earth has this offset");

/// Civil date and time of day as they were written, with the offset where there is one.
struct ClockReading {
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
pub(crate) fn read(text: &[u8], zone: Option<&TimeZone>) -> Result<RoundedInstant, InstantError> {
    let instant = match common_shape(text) {
        Some(clock) if clock.year > 1970 => return at(&clock, zone),
        _ => unusual(text, zone)?,
    };
    if is_first_midnight(instant.micros) {
        Err(InstantError::Unset)
    } else {
        Ok(instant)
    }
}

/// True for the midnight of UTC on one of the [`FIRST_DAYS`], the instant from which Unix counts among them.
fn is_first_midnight(micros: i64) -> bool {
    micros <= 0
        && FIRST_DAYS
            .iter()
            .filter_map(|day| date_at(day))
            .any(|(year, month, day)| days_from_civil(year, month, day) * DAY * 1_000_000 == micros)
}

#[inline]
fn at(clock: &ClockReading, zone: Option<&TimeZone>) -> Result<RoundedInstant, InstantError> {
    let Some(offset) = clock.offset else {
        let Some(zone) = zone else {
            return Err(InstantError::Wrong("time without offset"));
        };
        return local(clock, zone);
    };
    if !i32::try_from(offset).is_ok_and(|offset| CLOCK_OFFSETS.contains(&offset)) {
        return Err(NO_OFFSET);
    }
    let seconds =
        days_from_civil(clock.year, clock.month, clock.day) * DAY + clock.seconds - offset;
    Ok(RoundedInstant {
        micros: seconds * 1_000_000 + clock.micros,
        rounded: clock.rounded,
    })
}

fn local(clock: &ClockReading, zone: &TimeZone) -> Result<RoundedInstant, InstantError> {
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
    let instant = wall
        .and_then(|wall| zone.to_ambiguous_timestamp(wall).compatible())
        .map_err(|_| OUT_OF_RANGE)?;
    Ok(RoundedInstant {
        micros: instant.as_microsecond() + clock.micros,
        rounded: clock.rounded,
    })
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
}

const OUT_OF_RANGE: InstantError = InstantError::Wrong("time out of range");

/// The civil date at the start of a text, of one of the [`YEARS`]: jiff's own limits lie outside, whatever the offset.
#[inline]
fn date_at(text: &[u8]) -> Option<(i32, u32, u32)> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.first_chunk::<10>()? else {
        return None;
    };
    let year = i32::try_from(two(y1, y2)? * 100 + two(y3, y4)?).ok()?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let fits = YEARS.contains(&year)
        && (1..=12).contains(&month)
        && day >= 1
        && day <= days_in(year, month);
    fits.then_some((year, month, day))
}

#[inline]
fn common_shape(text: &[u8]) -> Option<ClockReading> {
    let (year, month, day) = date_at(text)?;
    let &[b'T', h1, h2, b':', i1, i2, b':', s1, s2] = text.get(10..)?.first_chunk::<9>()? else {
        return None;
    };
    let (hour, minute, second) = (two(h1, h2)?, two(i1, i2)?, two(s1, s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &text[19..];
    let (mut micros, mut rounded) = (0, false);
    if let Some(fraction) = rest.strip_prefix(b".") {
        let end = fraction
            .iter()
            .position(|b| !b.is_ascii_digit())
            .unwrap_or(fraction.len());
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
    Some(ClockReading {
        year,
        month,
        day,
        seconds,
        micros,
        rounded,
        offset,
    })
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
    let Some((first, more)) = digits.get(6..).and_then(<[u8]>::split_first) else {
        return Some((micros, false));
    };
    let more = more.iter().any(|d| *d != b'0');
    let up = *first > b'5' || (*first == b'5' && (more || micros % 2 == 1));
    Some((micros + i64::from(up), *first != b'0' || more))
}

#[cold]
fn unusual(text: &[u8], zone: Option<&TimeZone>) -> Result<RoundedInstant, InstantError> {
    const NOT_A_TIME: InstantError = InstantError::Wrong("not a time");
    let text = blank::trim(std::str::from_utf8(text).map_err(|_| NOT_A_TIME)?);
    if let Some(none) = says_none(text.as_bytes()) {
        return Err(none);
    }
    let (usual, midnight) = normalise_time_text(text).unwrap_or_else(|| (text.to_owned(), false));
    if let Some(mut clock) = common_shape(usual.as_bytes()) {
        clock.seconds += if midnight { DAY } else { 0 };
        return at(&clock, zone);
    }
    if midnight {
        return Err(NOT_A_TIME);
    }
    if let Ok(instant) = usual.parse::<Timestamp>() {
        let offset = Pieces::parse(&usual)
            .ok()
            .and_then(|pieces| pieces.to_numeric_offset());
        if offset.is_some_and(|offset| !CLOCK_OFFSETS.contains(&offset.seconds())) {
            return Err(NO_OFFSET);
        }
        return in_range(to_micros(instant));
    }
    // jiff reads a bare date as its midnight; a date is no instant.
    let civil: DateTime = usual.parse().map_err(|_| NOT_A_TIME)?;
    if !usual.contains(['T', 't', ' ', ':']) {
        return Err(InstantError::Wrong("date without time"));
    }
    let Some(zone) = zone else {
        return Err(InstantError::Wrong("time without offset"));
    };
    in_range(
        zone.to_ambiguous_timestamp(civil)
            .compatible()
            .map(to_micros)
            .map_err(|_| OUT_OF_RANGE)?,
    )
}

/// An instant of the [`YEARS`], for spellings of which the year was not looked at.
fn in_range(instant: RoundedInstant) -> Result<RoundedInstant, InstantError> {
    match instant.micros {
        ..FIRST => Err(InstantError::Unset),
        FIRST..LAST => Ok(instant),
        LAST.. => Err(InstantError::OpenEnd),
    }
}

/// The date at the start of a text, by its digits.
struct WrittenDate<'t> {
    year: &'t [u8],
    month_and_day: [u8; 4],
    /// The time of day, with what parts it from the date.
    rest: &'t [u8],
}

/// A date in the extended form, `1900-01-01`, of a year of any length.
fn extended_date(text: &[u8]) -> Option<WrittenDate<'_>> {
    let year_end = text
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    let (year, rest) = text.split_at(year_end);
    let (&[b'-', m1, m2, b'-', d1, d2], rest) = rest.split_first_chunk::<6>()? else {
        return None;
    };
    (year.len() >= 4).then_some(WrittenDate {
        year,
        month_and_day: [m1, m2, d1, d2],
        rest,
    })
}

/// A date in the basic form, `19000101`. Eight digits may be any number: their month and day have to be some.
fn basic_date(text: &[u8]) -> Option<WrittenDate<'_>> {
    let (&[y1, y2, y3, y4, m1, m2, d1, d2], rest) = text.split_first_chunk::<8>()?;
    two(y1, y2)?;
    two(y3, y4)?;
    (two(m1, m2)? <= 12 && two(d1, d2)? <= 31).then_some(WrittenDate {
        year: &text[..4],
        month_and_day: [m1, m2, d1, d2],
        rest,
    })
}

/// The meaning of a text that starts with a date and says that there is no time; `None` where it says nothing of the kind.
fn says_none(text: &[u8]) -> Option<InstantError> {
    let (before_christ, unsigned) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let date = extended_date(unsigned).or_else(|| basic_date(text))?;
    let [m1, m2, d1, d2] = date.month_and_day;
    let is_separated = matches!(date.rest.first(), None | Some(b'T' | b't' | b' '));
    if !is_separated || two(m1, m2).is_none() || two(d1, d2).is_none() {
        return None;
    }
    let year = date.year.iter().fold(0_u32, |n, b| {
        n.saturating_mul(10).saturating_add(u32::from(b - b'0'))
    });
    let is_first_day = || {
        let day = [date.year, b"-", &[m1, m2], b"-", &[d1, d2]].concat();
        FIRST_DAYS.contains(&day.as_slice())
    };
    match year {
        _ if before_christ || i64::from(year) < i64::from(*YEARS.start()) => {
            Some(InstantError::Unset)
        }
        _ if i64::from(year) > i64::from(*YEARS.end()) => Some(InstantError::OpenEnd),
        _ if year <= 1970 && is_first_day() && is_midnight(date.rest) => Some(InstantError::Unset),
        _ => None,
    }
}

/// True if what stands behind a date is midnight, on a clock of any offset, or no time of day at all.
fn is_midnight(rest: &[u8]) -> bool {
    let rest = rest.trim_ascii_start();
    let time = match rest.split_first() {
        Some((b'T' | b't', time)) => time.trim_ascii_start(),
        _ => rest,
    };
    let clock_end = time
        .iter()
        .position(|b| !b.is_ascii_digit() && !matches!(b, b':' | b'.' | b','))
        .unwrap_or(time.len());
    let (clock, offset) = time.split_at(clock_end);
    clock.iter().all(|b| !matches!(b, b'1'..=b'9'))
        && matches!(
            offset.first(),
            None | Some(b'Z' | b'z' | b'+' | b'-' | b' ' | b'[' | b'U' | b'u' | b'G' | b'g')
        )
}

/// An instant of jiff's, which has nanoseconds.
#[expect(
    clippy::expect_used,
    reason = "jiff's instants are within 10^18 microseconds of 1970"
)]
fn to_micros(instant: Timestamp) -> RoundedInstant {
    let nanos = instant.as_nanosecond();
    let (quotient, remainder) = (nanos.div_euclid(1000), nanos.rem_euclid(1000));
    let up = remainder > 500 || (remainder == 500 && quotient.rem_euclid(2) == 1);
    let micros = i64::try_from(quotient + i128::from(up)).expect("an instant within jiff's years");
    RoundedInstant {
        micros,
        rounded: remainder != 0,
    }
}

/// Reads a number of seconds (`scale` 6) or milliseconds (`scale` 3) since 1970.
pub(crate) fn epoch(number: &JsonNumber<'_>, scale: i32) -> Result<RoundedInstant, InstantError> {
    let far = if number.negative {
        InstantError::Unset
    } else {
        InstantError::OpenEnd
    };
    let ScaledNumber { units, rounded } = number::to_scale(number, scale).ok_or(far)?;
    match i64::try_from(units) {
        Ok(0) => Err(InstantError::Unset),
        Ok(micros) if (FIRST..LAST).contains(&micros) => Ok(RoundedInstant { micros, rounded }),
        _ => Err(far),
    }
}

/// Reads `YYYY-MM-DD` as days since 1970-01-01.
pub(crate) fn date(text: &[u8]) -> Result<i32, InstantError> {
    let text = std::str::from_utf8(text).map_or(text, |text| blank::trim(text).as_bytes());
    let day = date_at(text).filter(|_| text.len() == 10);
    match day.map(|(year, month, day)| i32::try_from(days_from_civil(year, month, day))) {
        Some(Ok(days)) if !FIRST_DAYS.contains(&text) => Ok(days),
        _ => Err(says_none(text).unwrap_or(InstantError::Wrong("not a date"))),
    }
}

#[cfg(test)]
mod tests {
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
        ] {
            let instant = read(text.as_bytes(), None).unwrap();
            assert_eq!(
                (instant.micros, instant.rounded),
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
            let instant =
                read(format!("2020-08-10T13:15:00.{fraction}Z").as_bytes(), None).unwrap();
            assert_eq!(
                (
                    instant.micros - micros("2020-08-10T13:15:00Z"),
                    instant.rounded
                ),
                (expected, rounded),
                "{fraction}"
            );
        }
        // The way through jiff rounds alike.
        let instant = read(b"2020-08-10 13:15:00.123456500Z", None).unwrap();
        assert_eq!(
            (
                instant.micros - micros("2020-08-10T13:15:00Z"),
                instant.rounded
            ),
            (123_456, true)
        );
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
                .map(|i| (i.micros, i.rounded))
        };
        assert_eq!(at("1597058100", 6), Ok((1_597_058_100_000_000, false)));
        assert_eq!(
            at("1597058100.1234565", 6),
            Ok((1_597_058_100_123_456, true))
        );
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
}
