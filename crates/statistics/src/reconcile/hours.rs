//! Hours as providers label them.
//!
//! Invariant: a label that names an instant is told apart from one that only shows a clock.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Meaning of an hour's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HourLabel {
    /// An hour by its start, in hours since 1970. A label without an offset is read as if its
    /// clock were UTC's.
    Absolute(i64),
    /// An hour of any day, 0 to 23.
    OfDay(i64),
}

impl HourLabel {
    /// Reads `2026-01-31T10:00:00+01:00`, `2026-01-31 10:00`, `10:00`, `10`. `None` for anything else, and for what does not begin
    /// on the hour.
    pub(crate) fn read(label: &str) -> Option<Self> {
        if let Some(instant) = instant(label) {
            let seconds = instant.as_second();
            return (seconds.rem_euclid(3600) == 0)
                .then_some(Self::Absolute(seconds.div_euclid(3600)));
        }
        let hour = label.split(':').next()?;
        let rest_is_zero = label
            .get(hour.len()..)?
            .chars()
            .all(|c| matches!(c, ':' | '0'));
        let hour: i64 = hour.parse().ok().filter(|hour| (0..24).contains(hour))?;
        rest_is_zero.then_some(Self::OfDay(hour))
    }

    /// The same hour on a clock that is so many hours ahead.
    pub(crate) fn shifted(self, hours: i64) -> Self {
        match self {
            Self::Absolute(hour) => Self::Absolute(hour + hours),
            Self::OfDay(hour) => Self::OfDay((hour + hours).rem_euclid(24)),
        }
    }

    /// The hour of the day, on the clock it is read by.
    pub(crate) fn of_day(self) -> Self {
        match self {
            Self::Absolute(hour) => Self::OfDay(hour.rem_euclid(24)),
            Self::OfDay(_) => self,
        }
    }
}

fn instant(label: &str) -> Option<Timestamp> {
    if let Ok(instant) = label.parse::<Timestamp>() {
        return Some(instant);
    }
    // A date alone is a day, not an hour.
    let wall: DateTime = label.parse().ok().filter(|_| label.len() > 10)?;
    wall.to_zoned(TimeZone::UTC)
        .ok()
        .map(|zoned| zoned.timestamp())
}

/// A label as ours are written where it names an instant; else as it is.
pub(crate) fn canonical(label: &str) -> String {
    instant(label).map_or_else(|| label.to_owned(), |instant| instant.to_string())
}

/// The window of an hour that is labelled with its start.
pub(crate) fn window(label: &str) -> Option<tillhouse_model::Window> {
    let from: Timestamp = label.parse().ok()?;
    tillhouse_model::Window::new(from, from.checked_add(1.hour()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_however_they_are_written() {
        let ten = HourLabel::read("2026-01-01T10:00:00Z").unwrap();
        for label in [
            "2026-01-01T11:00:00+01:00",
            "2026-01-01 10:00",
            "2026-01-01T10:00:00",
            "2026-01-01T10:00:00.000Z",
        ] {
            assert_eq!(HourLabel::read(label), Some(ten), "{label}");
        }
        for label in ["10", "10:00", "10:00:00"] {
            assert_eq!(
                HourLabel::read(label),
                Some(HourLabel::OfDay(10)),
                "{label}"
            );
        }
        for label in [
            "2026-01-01",
            "10:30",
            "24",
            "ten",
            "",
            "2026-01-01T10:30:00Z",
        ] {
            assert_eq!(HourLabel::read(label), None, "{label}");
        }
        assert_eq!(ten.of_day(), HourLabel::OfDay(10));
        assert_eq!(HourLabel::OfDay(23).shifted(2), HourLabel::OfDay(1));
        assert_eq!(
            canonical("2026-01-01T11:00:00+01:00"),
            "2026-01-01T10:00:00Z"
        );
        assert_eq!(canonical("10"), "10");
    }
}
