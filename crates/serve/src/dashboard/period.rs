//! Periods that have a name: `7-days`, `last-month`.
//!
//! Invariant: a period is of whole days on the clock of the view's zone, and today is its last day, but for those that are over.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use tillhouse_page::dashboard::DEFAULT_PERIOD;
use tillhouse_query::zone::Zone;

/// The day that it is in a zone.
pub(super) fn today(now: Timestamp, timezone: &str) -> Date {
    let zone = Zone::parse(timezone).unwrap_or(Zone::UTC);
    let offset = jiff::tz::Offset::from_seconds(zone.offset_at(now.as_microsecond()));
    offset
        .unwrap_or(jiff::tz::Offset::UTC)
        .to_datetime(now)
        .date()
}

/// First day of a period, and the first day after it.
pub(super) fn days(period: Option<&str>, today: Date) -> (Date, Date) {
    let before = |days: i64| today.checked_sub(days.days()).unwrap_or(today);
    let tomorrow = today.tomorrow().unwrap_or(today);
    match period.unwrap_or(DEFAULT_PERIOD) {
        "today" => (today, tomorrow),
        "yesterday" => (before(1), today),
        "30-days" => (before(29), tomorrow),
        "month" => (today.first_of_month(), tomorrow),
        "last-month" => {
            let last = today.first_of_month().yesterday().unwrap_or(today);
            (last.first_of_month(), today.first_of_month())
        }
        "year" => (today.first_of_year(), tomorrow),
        _ => (before(6), tomorrow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_page::dashboard::PERIODS;

    #[test]
    fn a_period_is_of_whole_days_and_today_is_the_last() {
        let today: Date = "2026-03-05".parse().unwrap();
        let of = |period: &str| {
            let (from, to) = days(Some(period), today);
            format!("{from} {to}")
        };
        for (period, expected) in [
            ("today", "2026-03-05 2026-03-06"),
            ("yesterday", "2026-03-04 2026-03-05"),
            ("7-days", "2026-02-27 2026-03-06"),
            ("30-days", "2026-02-04 2026-03-06"),
            ("month", "2026-03-01 2026-03-06"),
            ("last-month", "2026-02-01 2026-03-01"),
            ("year", "2026-01-01 2026-03-06"),
        ] {
            assert_eq!(of(period), expected, "{period}");
            assert!(PERIODS.contains(&period), "{period}");
        }
        assert_eq!(days(None, today), days(Some(DEFAULT_PERIOD), today));
    }

    #[test]
    fn today_is_that_of_the_zone() {
        let now: Timestamp = "2026-01-05T23:30:00Z".parse().unwrap();
        for (zone, day) in [
            ("UTC", "2026-01-05"),
            ("Europe/Berlin", "2026-01-06"),
            ("-05:30", "2026-01-05"),
        ] {
            assert_eq!(today(now, zone).to_string(), day, "{zone}");
        }
    }
}
