//! Dates, times and spans as PostgreSQL writes them, and the numbers that it counts them with.
//!
//! Invariant: a day is a day of the calendar that PostgreSQL uses, the Gregorian one, also before it was there; a span keeps its months, days and time apart.

use std::fmt::Write;
use tillhouse_model::{Error, ErrorKind, Result};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Days from 1970, from which Arrow counts, to 2000, from which PostgreSQL does.
const DAYS_TO_2000: i32 = 10_957;

/// Length of time in three parts that cannot be converted into each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) months: i32,
    pub(super) days: i32,
    pub(super) micros: i64,
}

impl Span {
    /// `1 year 2 mons -3 days +04:05:06.789`.
    pub(super) fn text(self) -> String {
        let mut text = String::new();
        let mut was_negative = false;
        let mut part = |count: i32, unit: &str| {
            if count != 0 {
                let blank = if text.is_empty() { "" } else { " " };
                let sign = if was_negative && count > 0 { "+" } else { "" };
                let ending = if count == 1 { "" } else { "s" };
                // Writing to a String cannot fail.
                let _ = write!(text, "{blank}{sign}{count} {unit}{ending}");
                was_negative = count < 0;
            }
        };
        part(self.months / 12, "year");
        part(self.months % 12, "mon");
        part(self.days, "day");
        if self.micros != 0 || text.is_empty() {
            let blank = if text.is_empty() { "" } else { " " };
            let sign = match self.micros < 0 {
                true => "-",
                false if was_negative => "+",
                false => "",
            };
            let _ = write!(text, "{blank}{sign}{}", clock(self.micros.unsigned_abs()));
        }
        text
    }
}

/// Hours, minutes and seconds, with the fraction that there is.
fn clock(micros: u64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let mut text = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    );
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text
}

/// Year, month and day of the calendar, of days from 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that a leap day is the last; 400 of them have the same days again.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, of_month)
}

/// Date, with the mark that it wants behind everything else where it is before our era.
fn date_parts(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil(days);
    match year > 0 {
        true => (format!("{year:04}-{month:02}-{day:02}"), ""),
        false => (format!("{:04}-{month:02}-{day:02}", 1 - year), " BC"),
    }
}

/// Text of a date, of days from 1970.
pub(super) fn date_text(days: i32) -> String {
    let (date, era) = date_parts(i64::from(days));
    format!("{date}{era}")
}

/// Text of a time of day, of microseconds.
pub(super) fn time_text(micros: i64) -> String {
    clock(micros.unsigned_abs())
}

/// Text of a date and a time, of microseconds from 1970.
pub(super) fn timestamp_text(micros: i64) -> String {
    at_offset(micros, "")
}

/// Text of an instant, of microseconds from 1970 in UTC.
pub(super) fn instant_text(micros: i64) -> String {
    at_offset(micros, "+00")
}

fn at_offset(micros: i64, offset: &str) -> String {
    let (date, era) = date_parts(micros.div_euclid(DAY));
    let clock = clock(micros.rem_euclid(DAY).unsigned_abs());
    format!("{date} {clock}{offset}{era}")
}

/// PostgreSQL's number of a day.
pub(super) fn days_of(days: i32) -> Result<i32> {
    days.checked_sub(DAYS_TO_2000).ok_or_else(out_of_range)
}

/// PostgreSQL's number of a time.
pub(super) fn micros_of(micros: i64) -> Result<i64> {
    let epoch = i64::from(DAYS_TO_2000) * DAY;
    micros.checked_sub(epoch).ok_or_else(out_of_range)
}

fn out_of_range() -> Error {
    Error::new(ErrorKind::Query, "a time does not fit its type")
}

/// Text of PostgreSQL's number of a day.
pub(super) fn date_read(days: i32) -> Option<String> {
    let days = days.checked_add(DAYS_TO_2000)?;
    is_written(i64::from(days)).then(|| date_text(days))
}

/// Text of PostgreSQL's number of a time on a clock.
pub(super) fn timestamp_read(micros: i64) -> Option<String> {
    let micros = micros.checked_add(i64::from(DAYS_TO_2000) * DAY)?;
    is_written(micros.div_euclid(DAY)).then(|| timestamp_text(micros))
}

/// True for a day of a year with four digits: SQL here reads no others, and PostgreSQL's infinities are none.
fn is_written(days: i64) -> bool {
    (1..=9_999).contains(&civil(days).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (20_454, "2026-01-01"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "10000-01-01"),
        ] {
            assert_eq!(date_text(days), text);
        }
        assert_eq!(days_of(DAYS_TO_2000).unwrap(), 0);
        assert!(days_of(i32::MIN).is_err());
    }

    #[test]
    fn times_are_exact() {
        assert_eq!(time_text(0), "00:00:00");
        assert_eq!(time_text(86_399_999_999), "23:59:59.999999");
        assert_eq!(timestamp_text(1_500_000), "1970-01-01 00:00:01.5");
        assert_eq!(timestamp_text(-719_163 * DAY), "0001-12-31 00:00:00 BC");
        assert_eq!(instant_text(-719_163 * DAY), "0001-12-31 00:00:00+00 BC");
        assert_eq!(micros_of(i64::from(DAYS_TO_2000) * DAY).unwrap(), 0);
        assert!(micros_of(i64::MIN).is_err());
    }

    #[test]
    fn numbers_of_clients_are_read() {
        assert_eq!(date_read(0).as_deref(), Some("2000-01-01"));
        assert_eq!(
            timestamp_read(1).as_deref(),
            Some("2000-01-01 00:00:00.000001")
        );
        for infinity in [i32::MIN, i32::MAX] {
            assert_eq!(date_read(infinity), None);
        }
        for infinity in [i64::MIN, i64::MAX] {
            assert_eq!(timestamp_read(infinity), None);
        }
    }

    #[test]
    fn a_span_keeps_its_parts() {
        let span = |months, days, micros| {
            Span {
                months,
                days,
                micros,
            }
            .text()
        };
        assert_eq!(span(0, 0, 0), "00:00:00");
        assert_eq!(
            span(14, 3, 14_706_789_000),
            "1 year 2 mons 3 days 04:05:06.789"
        );
        assert_eq!(span(-1, 1, 1), "-1 mons +1 day 00:00:00.000001");
        assert_eq!(span(0, -2, 3_600_000_000), "-2 days +01:00:00");
        assert_eq!(span(0, 0, -3_600_000_000), "-01:00:00");
    }
}
