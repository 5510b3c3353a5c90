//! Hours and days of a window, with the transactions of each.
//!
//! Invariant: every hour, or day, of the window is there, in order, also those without transactions, and those of one list are equally long but where a clock is changed.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tillhouse_model::Window;
use tillhouse_statistics::report::HourlyTransactions;

/// Seconds of an hour.
pub(crate) const HOUR: i64 = 3_600;
/// Up to so many hours there is a slot an hour: a month, and a day of it that has 25.
const MOST_HOURS: i64 = 31 * 24 + 1;

/// An hour or a day, and its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeSlot {
    pub(crate) start: Timestamp,
    /// The first instant after it.
    pub(crate) end: Timestamp,
    /// The day that it is, or begins on, on the zone's clock.
    pub(crate) day: Date,
    pub(crate) transactions: i64,
}

/// True if a window has slots of an hour, and not of a day.
pub(crate) fn is_hourly(window: &Window) -> bool {
    window.duration().as_secs() <= MOST_HOURS * HOUR
}

/// Starts of the hours that have transactions, with their number.
pub(crate) fn starts_of(hours: &[HourlyTransactions]) -> Vec<(Timestamp, i64)> {
    hours
        .iter()
        .filter_map(|hour| Some((hour.hour.parse().ok()?, hour.transactions)))
        .collect()
}

/// The hours of a window.
pub(crate) fn by_hour(
    starts: &[(Timestamp, i64)],
    window: &Window,
    zone: &TimeZone,
) -> Vec<TimeSlot> {
    // Hours begin on the full hour of the zone's clock, which in some zones is UTC's half. One in which the clock was changed begins later.
    let at = starts.first().map_or(window.from(), |(start, _)| *start);
    let phase = i64::from(zone.to_offset(at).seconds()).rem_euclid(HOUR);
    let first = (window.from().as_second() + phase).div_euclid(HOUR) * HOUR - phase;
    let many =
        usize::try_from((window.to().as_second() - first + HOUR - 1).div_euclid(HOUR)).unwrap_or(0);
    let instant = |seconds: i64| Timestamp::from_second(seconds).unwrap_or(window.from());
    let mut slots: Vec<TimeSlot> = (0_i64..)
        .take(many)
        .map(|slot| {
            let start = instant(first + slot * HOUR);
            TimeSlot {
                start,
                end: instant(first + (slot + 1) * HOUR),
                day: zone.to_datetime(start).date(),
                transactions: 0,
            }
        })
        .collect();
    for (start, transactions) in starts {
        let slot = usize::try_from((start.as_second() - first).div_euclid(HOUR)).unwrap_or(0);
        if let Some(slot) = slots.get_mut(slot) {
            slot.transactions += transactions;
        }
    }
    slots
}

/// The days of a window, on a zone's clock.
pub(crate) fn by_day(
    starts: &[(Timestamp, i64)],
    window: &Window,
    zone: &TimeZone,
) -> Vec<TimeSlot> {
    let day = |at: Timestamp| zone.to_datetime(at).date();
    let last = day(window
        .to()
        .checked_sub(1.nanosecond())
        .unwrap_or(window.to()));
    let first = day(window.from());
    let midnight = |day: Date| {
        let at = day.to_zoned(zone.clone());
        at.map_or(window.to(), |at| at.timestamp())
    };
    let mut slots: Vec<TimeSlot> = first
        .series(1.day())
        .take_while(|day| *day <= last)
        .map(|day| TimeSlot {
            start: midnight(day),
            end: day.tomorrow().map_or(window.to(), midnight),
            day,
            transactions: 0,
        })
        .collect();
    for (start, transactions) in starts {
        let slot = day(*start).duration_since(first).as_hours() / 24;
        if let Some(slot) = usize::try_from(slot)
            .ok()
            .and_then(|slot| slots.get_mut(slot))
        {
            slot.transactions += transactions;
        }
    }
    slots
}
