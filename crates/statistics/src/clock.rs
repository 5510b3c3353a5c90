//! Wall clocks of the requested time zone: what people write for an instant, and what a calendar is moved by.
//!
//! Invariant: dates and hours are cut by one set of rules, that of [`Zone`], whoever asks; a machine's own time zone data plays no part.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use tillhouse_model::time::no_instant;
use tillhouse_model::{Error, Result};
use tillhouse_query::zone::Zone;

/// The zone of a request.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`].
pub(crate) fn zone(text: &str) -> Result<Zone> {
    Zone::parse(text).ok_or_else(|| {
        Error::config(format!("{text:?} is no time zone"))
            .hint("Write an IANA name like Europe/Zurich, or an offset like +02:00.")
    })
}

/// Reads what a user writes for an instant: a time with its offset, a date (its midnight in `timezone`), or what the clock on the
/// wall shows there. Of an hour that comes twice the first is meant; midnight of a day that begins at one is one o'clock.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`], naming what was expected.
pub fn parse_instant(text: &str, timezone: &str) -> Result<Timestamp> {
    read(text, zone(timezone)?)
}

pub(crate) fn read(text: &str, zone: Zone) -> Result<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let wall = || {
        text.parse::<DateTime>()
            .ok()
            .and_then(|wall| instant(zone, wall))
    };
    // Forms that jiff would read as well, but nobody who reads them back: week dates, days without dashes.
    let is_plain = text.len() == 10
        || text
            .get(10..11)
            .is_some_and(|t| matches!(t, "T" | "t" | " "));
    is_plain
        .then(wall)
        .flatten()
        .ok_or_else(|| no_instant(text))
}

/// Local time in a zone. `None` where no calendar reaches.
pub(crate) fn wall(zone: Zone, instant: Timestamp) -> Option<DateTime> {
    let offset = Offset::from_seconds(zone.offset_at(instant.as_microsecond())).ok()?;
    Some(offset.to_datetime(instant))
}

/// Instant at which a zone's clock shows `wall`.
pub(crate) fn instant(zone: Zone, wall: DateTime) -> Option<Timestamp> {
    let read_as_utc = Offset::UTC.to_timestamp(wall).ok()?.as_nanosecond();
    let micros = i64::try_from(read_as_utc.div_euclid(1000)).ok()?;
    let nanos = i128::from(zone.instant_of(micros)) * 1000 + read_as_utc.rem_euclid(1000);
    Timestamp::from_nanosecond(nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_walls_are_read_in_the_zone() {
        for (text, zone, expected) in [
            ("2026-01-31", "UTC", "2026-01-31T00:00:00Z"),
            ("2026-01-31", "Europe/Zurich", "2026-01-30T23:00:00Z"),
            ("2026-01-31", "+05:30", "2026-01-30T18:30:00Z"),
            (
                "2026-01-31T12:00:00",
                "Europe/Zurich",
                "2026-01-31T11:00:00Z",
            ),
            (
                "2026-01-31T12:00:00.000000001",
                "Europe/Zurich",
                "2026-01-31T11:00:00.000000001Z",
            ),
            (
                "2026-01-31T12:00:00+01:00",
                "Asia/Tokyo",
                "2026-01-31T11:00:00Z",
            ),
            ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z"),
            (
                "2026-10-25T02:30:00",
                "Europe/Zurich",
                "2026-10-25T00:30:00Z",
            ),
            ("2040-02-29", "Europe/Zurich", "2040-02-28T23:00:00Z"),
            ("2026-11-01 08:00", "Europe/Zurich", "2026-11-01T07:00:00Z"),
            ("2026-11-01T08:00Z", "Europe/Zurich", "2026-11-01T08:00:00Z"),
            ("2026-11-01 08:00+02:00", "UTC", "2026-11-01T06:00:00Z"),
        ] {
            assert_eq!(
                parse_instant(text, zone).unwrap().to_string(),
                expected,
                "{text} in {zone}"
            );
        }
        for text in [
            "",
            "31.01.2026",
            "2026-02-30",
            "2026-W05-1",
            "20260131",
            "yesterday",
            "2026-01-31 noon",
        ] {
            let error = parse_instant(text, "UTC").unwrap_err();
            assert!(error.hint_text().unwrap().contains("2026-01-31"), "{text}");
        }
        assert!(
            parse_instant("2026-01-31", "Mars/Olympus")
                .unwrap_err()
                .message()
                .contains("Mars/Olympus")
        );
    }

    #[test]
    fn the_wall_and_the_instant_are_two_ways_to_say_one_thing() {
        let zone = zone("Europe/Zurich").unwrap();
        let at: Timestamp = "2026-07-01T10:00:00.123456789Z".parse().unwrap();
        let shown = wall(zone, at).unwrap();
        assert_eq!(shown.to_string(), "2026-07-01T12:00:00.123456789");
        assert_eq!(instant(zone, shown), Some(at));
    }
}
