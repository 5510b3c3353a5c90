//! The curve's points and the names below it, from the hours that had transactions.
//!
//! Invariant: every point of the window is there, also those without transactions, and they are equally far apart in time; over long
//! windows a point is a day of the asker's clock.

use super::charts::LineChart;
use crate::numbers::{count, instant};
use crate::slots::{self, HOUR, TimeSlot, is_hourly, starts_of};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use tillhouse_model::Window;
use tillhouse_statistics::report::HourlyTransactions;

/// Most names below.
const NAMES: i64 = 9;

/// The curve of the hours one after the other.
pub(crate) fn timeline(
    id: String,
    hours: &[HourlyTransactions],
    window: &Window,
    zone: &TimeZone,
) -> LineChart {
    let starts = starts_of(hours);
    let (title, point, points) = if is_hourly(window) {
        (
            "Transactions by hour",
            "Hour",
            by_hour(&starts, window, zone),
        )
    } else {
        ("Transactions by day", "Day", by_day(&starts, window, zone))
    };
    let description = match busiest(&points) {
        Some((name, most)) => format!(
            "The busiest {} was {name}, with {}.",
            point.to_lowercase(),
            transactions(most)
        ),
        None => "There were none.".to_owned(),
    };
    LineChart {
        id,
        title: title.to_owned(),
        note: description.clone(),
        description,
        point,
        points,
        names: names(window, zone),
    }
}

/// The curve of the hours of the day.
pub(crate) fn of_day(id: String, hours: &[HourlyTransactions]) -> LineChart {
    let count_of = |name: &str| {
        hours
            .iter()
            .filter(|hour| hour.hour == name)
            .map(|hour| hour.transactions)
            .sum()
    };
    let points: Vec<(String, i64)> = (0..24)
        .map(|hour| {
            let name = format!("{hour:02}");
            let count = count_of(&name);
            (format!("{name}:00"), count)
        })
        .collect();
    let description = match busiest(&points) {
        Some((name, most)) => format!("The busiest began at {name}, with {}.", transactions(most)),
        None => "There were none.".to_owned(),
    };
    LineChart {
        id,
        title: "Transactions by hour of the day".to_owned(),
        note: format!("All days together, on each site's own clock. {description}"),
        description,
        point: "Hour",
        names: (0_i128..24)
            .step_by(3)
            .map(|hour| ((2 * hour + 1) * 10_000 / 48, format!("{hour:02}:00")))
            .collect(),
        points,
    }
}

fn transactions(number: i64) -> String {
    format!(
        "{} {}",
        count(number),
        if number == 1 {
            "transaction"
        } else {
            "transactions"
        }
    )
}

fn busiest(points: &[(String, i64)]) -> Option<(&str, i64)> {
    let most = points
        .iter()
        .map(|(_, value)| *value)
        .max()
        .filter(|most| *most > 0)?;
    points
        .iter()
        .find(|(_, value)| *value == most)
        .map(|(name, value)| (name.as_str(), *value))
}

fn by_hour(starts: &[(Timestamp, i64)], window: &Window, zone: &TimeZone) -> Vec<(String, i64)> {
    let slots = slots::by_hour(starts, window, zone).into_iter();
    slots
        .map(|slot| (instant(slot.start, zone), slot.transactions))
        .collect()
}

fn by_day(starts: &[(Timestamp, i64)], window: &Window, zone: &TimeZone) -> Vec<(String, i64)> {
    let day = |slot: &TimeSlot| slot.day.strftime("%-d %B %Y").to_string();
    let slots = slots::by_day(starts, window, zone).into_iter();
    slots.map(|slot| (day(&slot), slot.transactions)).collect()
}

/// The names below the curve, and where they stand.
fn names(window: &Window, zone: &TimeZone) -> Vec<(i128, String)> {
    let seconds = window.duration().as_secs();
    let place = |at: Timestamp| {
        i128::from(at.duration_since(window.from()).as_secs()) * 10_000 / i128::from(seconds.max(1))
    };
    let first = zone.to_datetime(window.from());
    let days = seconds / (24 * HOUR);
    let (step, form): (Span, &str) = match days {
        0..=2 => (6.hours(), "%H:%M"),
        3..=9 => (1.day(), "%a %-d"),
        10..=62 => (Span::new().days(days / NAMES + 1), "%-d %b"),
        63..=800 => (Span::new().months(days / 30 / NAMES + 1), "%b %Y"),
        _ => (Span::new().years(days / 365 / NAMES + 1), "%Y"),
    };
    let begin = match days {
        0..=62 => first.date(),
        63..=800 => first.date().first_of_month(),
        _ => first.date().first_of_year(),
    };
    let midnight = |day: Date| day.at(0, 0, 0, 0);
    let mut names = Vec::new();
    for at in midnight(begin).series(step) {
        let Ok(instant) = at.to_zoned(zone.clone()).map(|at| at.timestamp()) else {
            break;
        };
        if instant >= window.to() {
            break;
        }
        if instant >= window.from() {
            let form = if days <= 2 && at.hour() == 0 {
                "%-d %b"
            } else {
                form
            };
            names.push((place(instant), at.strftime(form).to_string()));
        }
    }
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tillhouse_model::time_zone::time_zone;

    fn window(from: &str, to: &str) -> Window {
        Window::new(from.parse().unwrap(), to.parse().unwrap()).unwrap()
    }

    fn hour(hour: &str, transactions: i64) -> HourlyTransactions {
        HourlyTransactions {
            hour: hour.to_owned(),
            transactions,
        }
    }

    #[test]
    fn every_hour_of_the_window_is_a_point() {
        let zone = time_zone("Europe/Zurich").unwrap();
        // The day on which the clocks go back has 25 hours.
        let day = window("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
        let hours = [
            hour("2026-10-25T02:00:00+02:00", 3),
            hour("2026-10-25T02:00:00+01:00", 4),
        ];
        let curve = timeline("c".into(), &hours, &day, &zone);
        assert_eq!(curve.points.len(), 25);
        assert_eq!((curve.points[2].1, curve.points[3].1), (3, 4));
        assert_eq!(
            curve
                .names
                .iter()
                .map(|(_, name)| name.as_str())
                .collect::<Vec<_>>(),
            ["25 Oct", "06:00", "12:00", "18:00"]
        );
        assert!(
            curve
                .note
                .contains("25 October 2026, 02:00, with 4 transactions"),
            "{}",
            curve.note
        );
    }

    #[test]
    fn half_hour_zones_have_their_own_hours() {
        let zone = time_zone("Asia/Kolkata").unwrap();
        let day = window("2025-12-31T18:30:00Z", "2026-01-01T18:30:00Z");
        for hours in [vec![hour("2026-01-01T00:00:00+05:30", 1)], vec![]] {
            let points = by_hour(&[], &day, &zone);
            assert_eq!(
                (points.len(), points[0].0.as_str()),
                (24, "1 January 2026, 00:00")
            );
            let curve = timeline("c".into(), &hours, &day, &zone);
            assert_eq!(curve.points[0].1, i64::try_from(hours.len()).unwrap());
        }
    }

    #[test]
    fn an_hour_that_begins_with_a_change_of_the_clock_is_in_its_place() {
        let zone = time_zone("Australia/Lord_Howe").unwrap();
        let window = window("2026-10-03T15:30:00Z", "2026-10-03T18:00:00Z");
        let starts: [(Timestamp, i64); 1] = [("2026-10-03T15:30:00Z".parse().unwrap(), 2)];
        let points = by_hour(&starts, &window, &zone);
        assert_eq!(points.len(), 3);
        assert_eq!(points[0].1, 2);
        assert_eq!(points[1], ("4 October 2026, 03:00".to_owned(), 0));
    }

    #[test]
    fn long_windows_have_a_point_a_day() {
        let zone = time_zone("Europe/Zurich").unwrap();
        let year = window("2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z");
        let hours = [
            hour("2026-12-31T23:00:00+01:00", 2),
            hour("2026-01-01T00:00:00+01:00", 1),
        ];
        let curve = timeline("c".into(), &hours, &year, &zone);
        assert_eq!(curve.points.len(), 365);
        assert_eq!((curve.points[0].1, curve.points[364].1), (1, 2));
        assert!(curve.names.len() <= 12, "{:?}", curve.names);
        assert_eq!(curve.names[0], (0, "Jan 2026".to_owned()));
    }

    #[test]
    fn hours_of_the_day_are_all_24() {
        let curve = of_day("c".into(), &[hour("07", 5), hour("23", 2)]);
        assert_eq!(
            (curve.points.len(), curve.points[7].1, curve.points[23].1),
            (24, 5, 2)
        );
    }
}
