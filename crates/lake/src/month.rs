//! The UTC month of an instant, as partitions are named.
//!
//! Invariant: `YYYY-MM` of the instant in UTC, or `none` where there is no instant.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The partition of rows without a time.
pub(crate) const NONE: &str = "none";

/// Names the month of an instant; remembers the last one, since neighbouring rows mostly share
/// it.
#[derive(Debug, Default)]
pub(crate) struct MonthNamer {
    from: i64,
    to: i64,
    name: String,
}

impl MonthNamer {
    /// The month of an instant in microseconds.
    pub(crate) fn of(&mut self, time: Option<i64>) -> &str {
        let Some(time) = time else { return NONE };
        if !(self.from <= time && time < self.to) {
            let Ok(instant) = Timestamp::from_microsecond(time) else {
                return NONE;
            };
            let first = instant.to_zoned(TimeZone::UTC).date().first_of_month();
            let midnight = |date: Date| {
                date.to_zoned(TimeZone::UTC)
                    .map(|z| z.timestamp().as_microsecond())
            };
            self.name = first.strftime("%Y-%m").to_string();
            self.from = midnight(first).unwrap_or(time);
            let next = first.last_of_month().tomorrow().and_then(midnight);
            self.to = next.unwrap_or(time.saturating_add(1));
        }
        &self.name
    }
}

/// The month of one instant.
pub(crate) fn month_of(instant: Timestamp) -> String {
    MonthNamer::default()
        .of(Some(instant.as_microsecond()))
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_change_at_utc_midnight() {
        let mut months = MonthNamer::default();
        let mut of = |text: &str| {
            months
                .of(Some(text.parse::<Timestamp>().unwrap().as_microsecond()))
                .to_owned()
        };
        assert_eq!(of("2026-01-31T23:59:59.999999Z"), "2026-01");
        assert_eq!(of("2026-02-01T00:00:00Z"), "2026-02");
        assert_eq!(of("2026-02-01T00:30:00+01:00"), "2026-01");
        assert_eq!(of("2025-12-31T23:00:00Z"), "2025-12");
        assert_eq!(of("1969-12-31T23:00:00Z"), "1969-12");
        assert_eq!(months.of(None), "none");
    }
}
