//! A site's clock: time zones by IANA name or by fixed offset, and fast offsets for many instants in a row.
//!
//! Invariant: for every instant an i64 of microseconds can hold there is an offset, never a panic. The time zone data is
//! compiled in, so the same binary gives the same answers on every machine.

use chrono::{DateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

/// Microseconds of an hour.
pub const HOUR: i64 = 3_600_000_000;
/// Microseconds of a day.
pub const DAY: i64 = 24 * HOUR;
/// The largest offset anybody uses is +14:00; Arrow and ISO 8601 allow up to this many seconds.
const LARGEST_OFFSET: i32 = 18 * 3600;

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// An IANA zone.
    Named(Tz),
    /// A fixed offset, in seconds east of UTC.
    Fixed(i32),
}

impl Zone {
    /// UTC.
    pub const UTC: Self = Self::Fixed(0);

    /// Reads an IANA name (`Europe/Zurich`; case matters), `Z`, or an offset: `+02:00`, `-0530`, `+2`, `UTC+2`, `GMT-03:30`.
    /// `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if matches!(text, "Z" | "z" | "UTC" | "utc") {
            return Some(Self::UTC);
        }
        let digits = text.strip_prefix("UTC").or_else(|| text.strip_prefix("GMT")).unwrap_or(text);
        if let Some(offset) = parse_offset(digits) {
            return Some(Self::Fixed(offset));
        }
        text.parse().ok().map(Self::Named)
    }

    /// Seconds east of UTC at an instant, given in microseconds since 1970-01-01T00:00:00Z. Beyond the years chrono knows
    /// (262,000 either way) the offset of the nearest one it knows.
    pub fn offset_at(self, micros: i64) -> i32 {
        match self {
            Self::Fixed(seconds) => seconds,
            Self::Named(zone) => {
                let nearest = if micros < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
                let instant = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or(nearest);
                zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()
            }
        }
    }

    /// Whether it is UTC under any of its names.
    pub fn is_utc(self) -> bool {
        matches!(
            self,
            Self::Fixed(0) | Self::Named(Tz::UTC | Tz::Etc__UTC | Tz::Zulu | Tz::Etc__Zulu | Tz::UCT | Tz::Etc__UCT)
        )
    }
}

/// `+02:00`, `+0200`, `+02`, `+2`: seconds east of UTC.
fn parse_offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return None,
        None if rest.len() == 4 && rest.is_ascii() => rest.split_at(2),
        None => (rest, "00"),
    };
    let all_digits = |part: &str| !part.is_empty() && part.len() <= 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(hours) || !all_digits(minutes) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let seconds = sign * (hours * 3600 + minutes * 60);
    (minutes < 60 && seconds.abs() <= LARGEST_OFFSET).then_some(seconds)
}

/// A zone that remembers the last UTC day it was asked about. Rows mostly come in time order, so that nearly every one of them
/// costs two comparisons.
///
/// A day whose first and last instant have the same offset is taken to have it throughout: no zone changes its clock twice
/// within one UTC day, which a test checks for every zone.
#[derive(Debug, Clone)]
pub struct Clock {
    zone: Zone,
    day: i64,
    offset: i64,
    known: bool,
}

impl Clock {
    /// A clock of that zone.
    pub fn new(zone: Zone) -> Self {
        Self { zone, day: 0, offset: 0, known: false }
    }

    /// Microseconds east of UTC at an instant in microseconds.
    pub fn offset(&mut self, micros: i64) -> i64 {
        if let Zone::Fixed(seconds) = self.zone {
            return i64::from(seconds) * 1_000_000;
        }
        let day = micros.div_euclid(DAY);
        if self.known && day == self.day {
            return self.offset;
        }
        let at = |micros| i64::from(self.zone.offset_at(micros)) * 1_000_000;
        let first = day.saturating_mul(DAY);
        let (at_first, at_last) = (at(first), at(first.saturating_add(DAY - 1)));
        if at_first != at_last {
            return at(micros);
        }
        (self.day, self.offset, self.known) = (day, at_first, true);
        at_first
    }

    /// What the clock on the wall shows, as microseconds since its own 1970-01-01T00:00:00.
    pub fn wall(&mut self, micros: i64) -> i64 {
        micros.saturating_add(self.offset(micros))
    }

    /// The instant at which the wall clock's current hour began, had it run evenly: the key by which hours are told apart. An
    /// hour that comes twice in autumn has two.
    pub fn hour_start(&mut self, micros: i64) -> i64 {
        let offset = self.offset(micros);
        micros.saturating_sub(micros.saturating_add(offset).rem_euclid(HOUR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn zones_are_read() {
        assert_eq!(Zone::parse("Europe/Zurich"), Some(Zone::Named(Tz::Europe__Zurich)));
        for (text, seconds) in
            [("+02:00", 7200), ("-0530", -19_800), ("+2", 7200), ("UTC+2", 7200), ("GMT-03:30", -12_600), ("Z", 0)]
        {
            assert_eq!(Zone::parse(text), Some(Zone::Fixed(seconds)), "{text}");
        }
        for text in ["", "Mars/Olympus", "+25:00", "+02:60", "+", "+02:0", "2", "+ü2:00", "+0ü0"] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_hour_that_comes_twice_has_two_starts() {
        let mut clock = Clock::new(Zone::parse("Europe/Berlin").unwrap());
        assert_eq!(clock.hour_start(t("2026-10-25T00:30:00Z")), t("2026-10-25T00:00:00Z"));
        assert_eq!(clock.hour_start(t("2026-10-25T01:30:00Z")), t("2026-10-25T01:00:00Z"));
        assert_eq!(clock.wall(t("2026-10-25T00:30:00Z")), clock.wall(t("2026-10-25T01:30:00Z")));
    }

    #[test]
    fn half_hour_zones_start_their_hours_at_half() {
        let mut clock = Clock::new(Zone::parse("Asia/Kolkata").unwrap());
        assert_eq!(clock.hour_start(t("2026-01-01T10:45:00Z")), t("2026-01-01T10:30:00Z"));
    }

    #[test]
    fn extremes_have_an_offset() {
        let mut clock = Clock::new(Zone::parse("America/New_York").unwrap());
        for micros in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
            let _ = (clock.offset(micros), clock.wall(micros), clock.hour_start(micros));
        }
        assert_eq!(clock.offset(t("9999-07-01T00:00:00Z")) % HOUR, 0);
    }

    /// What [`Clock`] assumes: an offset that is the same at both ends of a UTC day held in between.
    #[test]
    fn no_zone_changes_twice_within_a_day() {
        let step = HOUR / 2;
        for zone in chrono_tz::TZ_VARIANTS {
            let zone = Zone::Named(zone);
            let mut clock = Clock::new(zone);
            // Two spans: the years of living memory with their political changes, and those just ahead.
            for (from, to) in
                [("2005-01-01T00:00:00Z", "2009-01-01T00:00:00Z"), ("2024-01-01T00:00:00Z", "2028-01-01T00:00:00Z")]
            {
                let (mut at, to) = (t(from), t(to));
                while at < to {
                    assert_eq!(clock.offset(at), i64::from(zone.offset_at(at)) * 1_000_000, "{zone:?} at {at}");
                    at += step;
                }
            }
        }
    }
}
