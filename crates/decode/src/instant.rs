//! Instants and dates from their text.
//!
//! Invariant: an instant is read only where its text has an offset or the contract names the zone or the unit; nothing is guessed. The result is
//! microseconds UTC, finer digits cut and reported: an instant is within the microsecond it names, before 1970 too. So the end of a day as
//! Java and .NET write it (`23:59:59.999999999`) stays in that day.
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
use tillhouse_model::calendar::{days_from_civil, days_in};
use tillhouse_model::time::{CLOCK_OFFSETS, normalise_time_text};
use tillhouse_model::{blank, word};

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

/// Instant in microseconds UTC, and whether finer digits were cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CutInstant {
    pub(crate) micros: i64,
    pub(crate) cut: bool,
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
    cut: bool,
    /// Seconds east of UTC.
    offset: Option<i64>,
}

/// Reads an instant with an offset, or a local one where `zone` is known. The error says what is wrong, never the value.
#[inline]
pub(crate) fn read(text: &[u8], zone: Option<&TimeZone>) -> Result<CutInstant, InstantError> {
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
fn at(clock: &ClockReading, zone: Option<&TimeZone>) -> Result<CutInstant, InstantError> {
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
    Ok(CutInstant {
        micros: seconds * 1_000_000 + clock.micros,
        cut: clock.cut,
    })
}

fn local(clock: &ClockReading, zone: &TimeZone) -> Result<CutInstant, InstantError> {
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
    Ok(CutInstant {
        micros: instant.as_microsecond() + clock.micros,
        cut: clock.cut,
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
    let (mut micros, mut cut) = (0, false);
    if let Some(fraction) = rest.strip_prefix(b".") {
        let end = fraction
            .iter()
            .position(|b| !b.is_ascii_digit())
            .unwrap_or(fraction.len());
        (micros, cut) = fraction_micros(&fraction[..end])?;
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
        cut,
        offset,
    })
}

/// The digits after a second's point as microseconds; what is finer is cut, and true then says so.
fn fraction_micros(digits: &[u8]) -> Option<(i64, bool)> {
    if digits.is_empty() {
        return None;
    }
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + i64::from(digits.get(place).map_or(0, |d| d - b'0'));
    }
    let cut = digits
        .get(6..)
        .is_some_and(|finer| finer.iter().any(|d| *d != b'0'));
    Some((micros, cut))
}

#[cold]
fn unusual(text: &[u8], zone: Option<&TimeZone>) -> Result<CutInstant, InstantError> {
    const NOT_A_TIME: InstantError = InstantError::Wrong("not a time");
    let text = blank::trim(std::str::from_utf8(text).map_err(|_| NOT_A_TIME)?);
    let plain = word::plain(text);
    let text = &*plain;
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
fn in_range(instant: CutInstant) -> Result<CutInstant, InstantError> {
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
fn to_micros(instant: Timestamp) -> CutInstant {
    let nanos = instant.as_nanosecond();
    let micros = i64::try_from(nanos.div_euclid(1000)).expect("an instant within jiff's years");
    CutInstant {
        micros,
        cut: nanos.rem_euclid(1000) != 0,
    }
}

/// Reads a number of seconds (`scale` 6) or milliseconds (`scale` 3) since 1970.
pub(crate) fn epoch(number: &JsonNumber<'_>, scale: i32) -> Result<CutInstant, InstantError> {
    let far = if number.negative {
        InstantError::Unset
    } else {
        InstantError::OpenEnd
    };
    let ScaledNumber { units, rounded } = number::floor_to_scale(number, scale).ok_or(far)?;
    match i64::try_from(units) {
        Ok(0) => Err(InstantError::Unset),
        Ok(micros) if (FIRST..LAST).contains(&micros) => Ok(CutInstant {
            micros,
            cut: rounded,
        }),
        _ => Err(far),
    }
}

/// Reads `YYYY-MM-DD` as days since 1970-01-01.
pub(crate) fn date(text: &[u8]) -> Result<i32, InstantError> {
    let plain = std::str::from_utf8(text).map(|text| word::plain(blank::trim(text)));
    let text = plain.as_deref().map_or(text, str::as_bytes);
    let day = date_at(text).filter(|_| text.len() == 10);
    match day.map(|(year, month, day)| i32::try_from(days_from_civil(year, month, day))) {
        Some(Ok(days)) if !FIRST_DAYS.contains(&text) => Ok(days),
        _ => Err(says_none(text).unwrap_or(InstantError::Wrong("not a date"))),
    }
}

#[cfg(test)]
mod tests;
