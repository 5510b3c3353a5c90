//! Instants, windows of them, and how a window is cut into slices.
//!
//! Invariant: a [`Window`] is half-open, never empty, and its instants are UTC.

use crate::blank;
use crate::error::{Error, Result};
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A half-open range of instants, [from, to), never empty.
///
/// ```
/// use tillhouse_model::Window;
///
/// let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
/// let day = Window::new(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"))?;
/// assert!(day.contains(day.from()) && !day.contains(day.to()));
/// assert_eq!(day.split(day.from(), jiff::SignedDuration::from_hours(6)).len(), 4);
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    from: Timestamp,
    to: Timestamp,
}

impl Window {
    /// A window. Errors with [`crate::ErrorKind::Config`] when `from` is not before `to`.
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Self> {
        if from >= to {
            return Err(Error::config(format!(
                "the window is empty: from {from} is not before to {to}"
            ))
            .hint("Give a --from that is earlier than --to; the end itself is not included."));
        }
        Ok(Self { from, to })
    }

    /// Part that is over at `now`: nothing can be asked of the future.
    ///
    /// Errors with [`crate::ErrorKind::Config`] where it begins then or later.
    pub fn until(self, now: Timestamp) -> Result<Self> {
        if self.from >= now {
            Err(future_window_error(self.from, now))
        } else {
            Self::new(self.from, self.to.min(now))
        }
    }

    /// The first instant inside.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// The first instant after.
    pub fn to(&self) -> Timestamp {
        self.to
    }

    /// Length.
    pub fn duration(&self) -> SignedDuration {
        self.to.duration_since(self.from)
    }

    /// True if an instant lies inside.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.from <= instant && instant < self.to
    }

    /// The window of equal length (in instants) that ends where this one starts; `None` before the beginning of time.
    pub fn before(&self) -> Option<Self> {
        let from = self.from.checked_sub(self.duration()).ok()?;
        Some(Self {
            from,
            to: self.from,
        })
    }

    /// The same window, a little longer on both sides.
    #[must_use]
    pub fn widened(&self, by: SignedDuration) -> Self {
        Self {
            from: self.from.checked_sub(by).unwrap_or(Timestamp::MIN),
            to: self.to.checked_add(by).unwrap_or(Timestamp::MAX),
        }
    }

    /// The same window in whole seconds, for APIs whose times have no fractions: the start rounded down, the end up.
    #[must_use]
    pub fn in_seconds(&self) -> Self {
        let seconds = |instant: Timestamp, mode| {
            instant
                .round(TimestampRound::new().smallest(Unit::Second).mode(mode))
                .unwrap_or(instant)
        };
        Self {
            from: seconds(self.from, RoundMode::Floor),
            to: seconds(self.to, RoundMode::Ceil),
        }
    }

    /// The same window, ending later by this much.
    #[must_use]
    pub fn extended_by(&self, more: SignedDuration) -> Self {
        Self {
            from: self.from,
            to: self.to.checked_add(more).unwrap_or(Timestamp::MAX),
        }
    }

    /// The part both windows share.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        Self::new(self.from.max(other.from), self.to.min(other.to)).ok()
    }

    /// Cuts the window at every multiple of `step` counted from `origin`; the first and last piece may be shorter.
    pub fn split(&self, origin: Timestamp, step: SignedDuration) -> Vec<Self> {
        let step_us = (step.as_micros()).max(1);
        let origin_us = i128::from(origin.as_microsecond());
        let mut pieces = Vec::new();
        let mut from = self.from;
        while from < self.to {
            let index = (i128::from(from.as_microsecond()) - origin_us).div_euclid(step_us);
            let next = origin_us + (index + 1) * step_us;
            let to = i64::try_from(next)
                .ok()
                .and_then(|us| Timestamp::from_microsecond(us).ok())
                .unwrap_or(self.to)
                .min(self.to);
            pieces.push(Self { from, to });
            from = to;
        }
        pieces
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.from, self.to)
    }
}

/// Merges windows into as few as possible, in order.
pub fn merge_windows(mut windows: Vec<Window>) -> Vec<Window> {
    windows.sort();
    let mut merged: Vec<Window> = Vec::with_capacity(windows.len());
    for window in windows {
        match merged.last_mut() {
            Some(last) if window.from <= last.to => last.to = last.to.max(window.to),
            _ => merged.push(window),
        }
    }
    merged
}

/// Parts of `wanted` that none of `covered` covers, in order.
pub fn subtract_windows(wanted: Window, covered: &[Window]) -> Vec<Window> {
    let mut covered: Vec<Window> = covered
        .iter()
        .filter_map(|w| w.intersection(&wanted))
        .collect();
    covered.sort();
    let mut gaps = Vec::new();
    let mut at = wanted.from;
    for window in covered {
        if window.from > at {
            gaps.push(Window {
                from: at,
                to: window.from,
            });
        }
        at = at.max(window.to);
    }
    if at < wanted.to {
        gaps.push(Window {
            from: at,
            to: wanted.to,
        });
    }
    gaps
}

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
    Err(
        Error::config(format!("{text:?} is neither a date nor a time")).hint(
            "Write a date like 2026-01-31, or a time with its offset like 2026-01-31T12:00:00Z.",
        ),
    )
}

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
    let text = blank::trim(text);
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

    fn w(from: &str, to: &str) -> Window {
        Window::new(t(from), t(to)).unwrap()
    }

    #[test]
    fn an_empty_window_is_refused() {
        assert!(Window::new(t("2026-01-02T00:00:00Z"), t("2026-01-02T00:00:00Z")).is_err());
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
    fn splitting_covers_exactly_and_follows_the_grid() {
        let window = w("2026-01-01T12:00:00Z", "2026-01-03T06:00:00Z");
        let pieces = window.split(t("2026-01-01T00:00:00Z"), SignedDuration::from_hours(24));
        assert_eq!(
            pieces,
            vec![
                w("2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z"),
                w("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
                w("2026-01-03T00:00:00Z", "2026-01-03T06:00:00Z"),
            ]
        );
    }

    #[test]
    fn whole_seconds_hold_all_of_a_window() {
        let whole = w("2026-01-01T00:00:00Z", "2026-01-01T00:00:02Z");
        assert_eq!(
            w("2026-01-01T00:00:00.25Z", "2026-01-01T00:00:01.75Z").in_seconds(),
            whole
        );
        assert_eq!(whole.in_seconds(), whole);
        assert_eq!(
            whole.extended_by(SignedDuration::from_secs(1)),
            w("2026-01-01T00:00:00Z", "2026-01-01T00:00:03Z")
        );
        let ever = Window::new(Timestamp::MIN, Timestamp::MAX).unwrap();
        assert_eq!(
            ever.extended_by(SignedDuration::from_secs(1)).to(),
            Timestamp::MAX
        );
    }

    #[test]
    fn gaps_are_what_nothing_covers() {
        let gaps = subtract_windows(
            w("2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"),
            &[
                w("2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"),
                w("2025-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ],
        );
        assert_eq!(
            gaps,
            vec![
                w("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
                w("2026-01-04T00:00:00Z", "2026-01-05T00:00:00Z")
            ]
        );
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
        let error = parse_instant("31.01.2026", &utc).unwrap_err();
        assert!(error.hint_text().unwrap().contains("2026-01-31"));
        assert_eq!(
            parse_duration("3d").unwrap(),
            SignedDuration::from_hours(72)
        );
        assert!(parse_duration("3 fortnights").is_err());
    }
}
