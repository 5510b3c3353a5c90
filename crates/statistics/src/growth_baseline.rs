//! Baseline of growth: the window just before, by length or by the calendar, last year's, or one
//! that is named.
//!
//! Invariant: the calendar is that of the requested time zone, and what comes out is a window or nothing, never an empty one.

use crate::clock;
use jiff::civil::DateTime;
use jiff::{SpanRound, Timestamp, ToSpan, Unit};
use std::fmt;
use tillhouse_model::{Error, Result, Window};
use tillhouse_query::zone::Zone;

/// Window that growth is measured against.
///
/// ```
/// use tillhouse_statistics::GrowthBaseline;
///
/// assert_eq!(GrowthBaseline::parse("last-year", "UTC")?, GrowthBaseline::LastYear);
/// assert_eq!(GrowthBaseline::parse("2025-01-01..2025-02-01", "UTC")?.as_str(), "window");
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GrowthBaseline {
    /// The window of equal length, in instants, just before.
    #[default]
    Previous,
    /// The calendar window before. One that begins with a month is moved by months: January is compared with December, 1 to 27 November with 1 to 27
    /// October. Any other window is moved back by the fewest whole days that keep the two apart. Days are those of the requested zone.
    Calendar,
    /// The same window of the year before, on the wall clock of the requested zone.
    LastYear,
    /// This window.
    Window(Window),
}

impl GrowthBaseline {
    /// Reads `previous`, `calendar`, `last-year`, or `FROM..TO`, each a date (in `timezone`) or a time with its offset.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`].
    pub fn parse(text: &str, timezone: &str) -> Result<Self> {
        match text {
            "previous" => Ok(Self::Previous),
            "calendar" => Ok(Self::Calendar),
            "last-year" => Ok(Self::LastYear),
            _ => {
                let (from, to) = text.split_once("..").ok_or_else(|| {
                    Error::config(format!("{text:?} is nothing to compare with"))
                        .hint("Write previous, calendar, last-year, or a window like 2025-01-01..2025-02-01.")
                })?;
                let zone = clock::zone(timezone)?;
                let (from, to) = (
                    clock::read(from.trim(), zone)?,
                    clock::read(to.trim(), zone)?,
                );
                let order = "The window to compare with begins before it ends, like 2025-01-01..2025-02-01.";
                Window::new(from, to)
                    .map(Self::Window)
                    .map_err(|e| e.at("compare", text).hint(order))
            }
        }
    }

    /// `previous`, `calendar`, `last-year` or `window`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Previous => "previous",
            Self::Calendar => "calendar",
            Self::LastYear => "last-year",
            Self::Window(_) => "window",
        }
    }

    /// The window that `window` is compared with; `None` before the beginning of time.
    pub(crate) fn window_for(self, window: Window, zone: Zone) -> Option<Window> {
        match self {
            Self::Previous => window.before(),
            Self::Calendar => calendar(window, zone),
            Self::LastYear => last_year(window, zone),
            Self::Window(other) => Some(other),
        }
    }
}

impl fmt::Display for GrowthBaseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_midnight(wall: DateTime) -> bool {
    wall.time() == jiff::civil::Time::midnight()
}

fn calendar(window: Window, zone: Zone) -> Option<Window> {
    let (from, to) = (
        clock::wall(zone, window.from())?,
        clock::wall(zone, window.to())?,
    );
    let begins_a_month = |wall: DateTime| is_midnight(wall) && wall.day() == 1;
    if begins_a_month(from) {
        let number = |wall: DateTime| i32::from(wall.year()) * 12 + i32::from(wall.month());
        // The month that the end lies in counts as a whole.
        let months = number(to) - number(from) + i32::from(!begins_a_month(to));
        // An hour that comes twice can end, on the wall, before it began.
        let months = months.max(1);
        return between(
            zone,
            from.checked_sub(months.months()).ok()?,
            months_before(to, months)?,
            window,
        );
    }
    let length = from.until((Unit::Nanosecond, to)).ok()?;
    let rounding = SpanRound::new()
        .smallest(Unit::Day)
        .mode(jiff::RoundMode::Ceil)
        .days_are_24_hours();
    // An hour that comes twice can end, on the wall, before it began.
    let days = length.round(rounding).ok()?.get_days().max(1);
    between(
        zone,
        from.checked_sub(days.days()).ok()?,
        to.checked_sub(days.days()).ok()?,
        window,
    )
}

/// The same day and time that many months before; where the month has no such day, its end.
fn months_before(wall: DateTime, months: i32) -> Option<DateTime> {
    let moved = wall.checked_sub(months.months()).ok()?;
    if moved.day() == wall.day() {
        return Some(moved);
    }
    moved
        .first_of_month()
        .checked_add(1.month())
        .ok()
        .map(|next| next.date().at(0, 0, 0, 0))
}

fn last_year(window: Window, zone: Zone) -> Option<Window> {
    let (from, to) = (
        clock::wall(zone, window.from())?,
        clock::wall(zone, window.to())?,
    );
    // A window that ends as 29 February begins has all of the 28th, which last year ended as March began.
    let ends_before_leap_day = is_midnight(to) && to.month() == 2 && to.day() == 29;
    let to = if ends_before_leap_day {
        to.checked_add(1.day()).ok()?
    } else {
        to
    };
    between(
        zone,
        from.checked_sub(1.year()).ok()?,
        to.checked_sub(1.year()).ok()?,
        window,
    )
}

/// The window between two readings of the wall clock; where nothing lies between them, as long a one as was asked for.
fn between(zone: Zone, from: DateTime, to: DateTime, asked: Window) -> Option<Window> {
    let (from, to) = (clock::instant(zone, from)?, clock::instant(zone, to)?);
    let as_long =
        |from: Timestamp| Window::new(from, from.checked_add(asked.duration()).ok()?).ok();
    Window::new(from, to).ok().or_else(|| as_long(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Baseline of a window, both as they are written in a zone.
    fn against(how: &str, window: &str, zone: &str) -> String {
        let GrowthBaseline::Window(window) = GrowthBaseline::parse(window, zone).unwrap() else {
            panic!("{window}")
        };
        let found = GrowthBaseline::parse(how, zone)
            .unwrap()
            .window_for(window, Zone::parse(zone).unwrap())
            .unwrap();
        let shown = |at: Timestamp| {
            let text = clock::wall(Zone::parse(zone).unwrap(), at)
                .unwrap()
                .to_string();
            text.strip_suffix("T00:00:00").unwrap_or(&text).to_owned()
        };
        format!("{}..{}", shown(found.from()), shown(found.to()))
    }

    #[test]
    fn the_calendar_compares_months_with_months_and_days_with_days() {
        for (window, expected) in [
            ("2026-03-01..2026-04-01", "2026-02-01..2026-03-01"),
            ("2026-01-01..2026-04-01", "2025-10-01..2026-01-01"),
            ("2026-01-01..2027-01-01", "2025-01-01..2026-01-01"),
            ("2024-02-01..2024-03-01", "2024-01-01..2024-02-01"),
            // The days of a month so far with as many of the month before, or with all of it where it has no more.
            ("2026-11-01..2026-11-28", "2026-10-01..2026-10-28"),
            ("2026-11-01..2026-11-02", "2026-10-01..2026-10-02"),
            ("2026-03-01..2026-03-29", "2026-02-01..2026-03-01"),
            ("2026-03-01..2026-03-31", "2026-02-01..2026-03-01"),
            ("2024-03-01..2024-03-30", "2024-02-01..2024-03-01"),
            ("2026-12-01..2026-12-31", "2026-11-01..2026-12-01"),
            ("2026-03-01..2026-03-31T12:00:00", "2026-02-01..2026-03-01"),
            (
                "2026-11-01..2026-11-27T06:30:00",
                "2026-10-01..2026-10-27T06:30:00",
            ),
            // A quarter so far, with the quarter before.
            ("2026-04-01..2026-06-16", "2026-01-01..2026-03-16"),
            ("2025-12-01..2026-02-15", "2025-09-01..2025-11-15"),
            // A week, a day, a month from its middle.
            ("2026-01-05..2026-01-12", "2025-12-29..2026-01-05"),
            ("2026-03-30..2026-03-31", "2026-03-29..2026-03-30"),
            ("2026-01-15..2026-02-15", "2025-12-15..2026-01-15"),
            // The morning with the morning before, a night with the night before.
            (
                "2026-01-06T06:00:00..2026-01-06T12:00:00",
                "2026-01-05T06:00:00..2026-01-05T12:00:00",
            ),
            (
                "2026-01-06T22:00:00..2026-01-07T06:00:00",
                "2026-01-05T22:00:00..2026-01-06T06:00:00",
            ),
            (
                "2026-01-06T22:00:00..2026-01-08T06:00:00",
                "2026-01-04T22:00:00..2026-01-06T06:00:00",
            ),
        ] {
            for zone in ["UTC", "Europe/Berlin", "Asia/Kolkata", "-03:30"] {
                assert_eq!(
                    against("calendar", window, zone),
                    expected,
                    "{window} in {zone}"
                );
            }
        }
    }

    #[test]
    fn days_are_the_zones_even_where_a_clock_changes() {
        // 29 March 2026 has 23 hours in Berlin: by length, the day after begins its comparison an hour early.
        assert_eq!(
            against("previous", "2026-03-30..2026-03-31", "Europe/Berlin"),
            "2026-03-28T23:00:00..2026-03-30"
        );
        assert_eq!(
            against("calendar", "2026-03-30..2026-03-31", "Europe/Berlin"),
            "2026-03-29..2026-03-30"
        );
        assert_eq!(
            against("calendar", "2026-04-01..2026-05-01", "Europe/Berlin"),
            "2026-03-01..2026-04-01"
        );
        // A month so far over a change of the clocks is an hour longer than the one before.
        assert_eq!(
            against("calendar", "2026-10-01..2026-10-28", "Europe/Berlin"),
            "2026-09-01..2026-09-28"
        );
        // The hour that comes twice, from its second half past: on the wall it ends before it begins.
        let (from, to) = ("2026-10-25T00:45:00Z", "2026-10-25T01:15:00Z");
        assert_eq!(
            against("calendar", &format!("{from}..{to}"), "Europe/Berlin"),
            "2026-10-24T02:45:00..2026-10-24T03:15:00"
        );
    }

    #[test]
    fn last_year_is_the_same_stretch_of_the_calendar() {
        for (window, expected) in [
            ("2026-01-01..2026-02-01", "2025-01-01..2025-02-01"),
            (
                "2026-03-10T06:00:00..2026-03-10T07:00:00",
                "2025-03-10T06:00:00..2025-03-10T07:00:00",
            ),
            ("2024-02-01..2024-03-01", "2023-02-01..2023-03-01"),
            ("2025-02-01..2025-03-01", "2024-02-01..2024-03-01"),
            // The leap day has no last year; 28 February stands in for it, and is not lost when it is the end.
            ("2024-02-29..2024-03-01", "2023-02-28..2023-03-01"),
            ("2024-02-28..2024-02-29", "2023-02-28..2023-03-01"),
            ("2024-02-01..2024-02-29", "2023-02-01..2023-03-01"),
            (
                "2024-02-28T12:00:00..2024-02-29T12:00:00",
                "2023-02-28T12:00:00..2023-03-01T12:00:00",
            ),
            ("2040-02-29..2040-03-01", "2039-02-28..2039-03-01"),
        ] {
            for zone in ["UTC", "Europe/Berlin", "Asia/Kolkata"] {
                assert_eq!(
                    against("last-year", window, zone),
                    expected,
                    "{window} in {zone}"
                );
            }
        }
    }

    #[test]
    fn a_window_can_be_named_and_nonsense_cannot() {
        assert_eq!(
            against(
                "2020-01-01..2020-02-01",
                "2026-01-01..2026-02-01",
                "Asia/Tokyo"
            ),
            "2020-01-01..2020-02-01"
        );
        for (text, words) in [
            ("yesterday", "previous, calendar, last-year"),
            ("2020-01-01..", "2026-01-31"),
            ("2020-01-02..2020-01-01", "begins before it ends"),
            ("", "previous"),
        ] {
            let error = GrowthBaseline::parse(text, "UTC").unwrap_err();
            assert!(
                error.hint_text().unwrap().contains(words),
                "{text}: {:?}",
                error.hint_text()
            );
        }
    }

    #[test]
    fn before_the_beginning_of_time_there_is_nothing() {
        let window = Window::new(
            Timestamp::MIN,
            Timestamp::MIN.checked_add(1.hour()).unwrap(),
        )
        .unwrap();
        for how in [
            GrowthBaseline::Previous,
            GrowthBaseline::Calendar,
            GrowthBaseline::LastYear,
        ] {
            assert_eq!(how.window_for(window, Zone::UTC), None, "{how}");
        }
    }
}
