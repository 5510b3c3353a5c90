//! Instants in text for people: the one form of tables, lines on completeness and messages.
//!
//! Invariant: an instant looks as it does in the tables of `sql`: RFC 3339 with the offset of the clock it is shown by, `Z` for UTC; to the second, cut off.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use tillhouse_model::Window;
use tillhouse_model::time::in_seconds;

/// An instant to the second: `2026-11-28T19:36:00Z`, `2026-11-28T20:36:00+01:00`.
pub(crate) fn instant(at: Timestamp, zone: &TimeZone) -> String {
    exact(in_seconds(at), zone)
}

/// An instant with all its digits.
fn exact(at: Timestamp, zone: &TimeZone) -> String {
    match zone.to_offset(at) {
        Offset::UTC => at.to_string(),
        // RFC 3339 has no offset of seconds.
        offset if offset.seconds() % 60 != 0 => at.to_string(),
        offset => at.display_with_offset(offset).to_string(),
    }
}

/// An instant on a clock where the day is known: `11:57`; with all of its date where that is not the day `beside` is on.
pub(crate) fn clock(at: Timestamp, beside: Timestamp, zone: &TimeZone) -> String {
    let wall = zone.to_datetime(at);
    if wall.date() == zone.to_datetime(beside).date() {
        return wall.strftime("%H:%M").to_string();
    }
    instant(at, zone)
}

/// Both ends of a stretch; with fractions of a second where they would look the same without.
pub(crate) fn ends(stretch: Window, zone: &TimeZone) -> (String, String) {
    let (from, to) = (instant(stretch.from(), zone), instant(stretch.to(), zone));
    if from == to {
        (exact(stretch.from(), zone), exact(stretch.to(), zone))
    } else {
        (from, to)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tillhouse_model::time_zone::time_zone;

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_instant_has_the_offset_of_its_clock() {
        let at = t("2026-01-31T11:57:30.75Z");
        for (zone, wanted) in [
            ("UTC", "2026-01-31T11:57:30Z"),
            ("Europe/London", "2026-01-31T11:57:30Z"),
            ("Europe/Berlin", "2026-01-31T12:57:30+01:00"),
            ("America/St_Johns", "2026-01-31T08:27:30-03:30"),
        ] {
            assert_eq!(instant(at, &time_zone(zone).unwrap()), wanted);
        }
        let old = t("1890-07-01T00:11:53Z");
        let berlin = time_zone("Europe/Berlin").unwrap();
        assert_eq!(instant(old, &berlin), "1890-07-01T00:11:53Z");
        assert_eq!(
            clock(at, t("2026-01-31T00:00:00Z"), &TimeZone::UTC),
            "11:57"
        );
        assert_eq!(
            clock(at, t("2026-02-01T00:00:00Z"), &TimeZone::UTC),
            "2026-01-31T11:57:30Z"
        );
    }

    #[test]
    fn the_ends_of_a_stretch_do_not_look_the_same() {
        let at = |text: &str| t(&format!("2026-01-31T{text}Z"));
        let of =
            |from: &str, to: &str| ends(Window::new(at(from), at(to)).unwrap(), &TimeZone::UTC);
        let own =
            |from: &str, to: &str| (format!("2026-01-31T{from}Z"), format!("2026-01-31T{to}Z"));
        assert_eq!(of("10:00:00", "11:30:59"), own("10:00:00", "11:30:59"));
        assert_eq!(of("10:00:01.25", "10:00:02.5"), own("10:00:01", "10:00:02"));
        assert_eq!(
            of("10:00:01.25", "10:00:01.5"),
            own("10:00:01.25", "10:00:01.5")
        );
    }
}
