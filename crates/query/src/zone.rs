//! A site's clock: time zones by IANA name or by fixed offset, and fast offsets for many instants in a row.
//!
//! Invariant: for every instant an i64 of microseconds can hold there is an offset, never a panic. The time zone data is
//! compiled in, so the same binary gives the same answers on every machine.

use jiff::Timestamp;
use tillhouse_model::calendar::{DAY, HOUR};
use tillhouse_model::time_zone::IanaZone;
use tillhouse_model::zone_name::{self, ZoneName};

/// Microseconds after which the Gregorian calendar, its weekdays included, repeats: 400 years.
const CYCLE: i64 = 146_097 * DAY;
/// Greatest distance of a wall clock from UTC, in hours; local mean time, before there were zones,
/// came closest.
const FARTHEST: i64 = 26;

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// An IANA zone.
    Named(IanaZone),
    /// A fixed offset, in seconds east of UTC.
    Fixed(i32),
}

impl Zone {
    /// UTC.
    pub const UTC: Self = Self::Fixed(0);

    /// Reads what [`zone_name::parse`] reads: an IANA name, an offset, or Windows' name of a zone. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match zone_name::parse(text)? {
            ZoneName::Iana(zone) => Self::Named(zone),
            ZoneName::Offset(seconds) => Self::Fixed(seconds),
        })
    }

    /// Seconds east of UTC at an instant, given in microseconds since 1970-01-01T00:00:00Z. Clocks change by the last rules that are known, for ever.
    /// Before the years that jiff knows (-9999) the offset is that of the first one.
    pub fn offset_at(self, micros: i64) -> i32 {
        match self {
            Self::Fixed(seconds) => seconds,
            Self::Named(zone) => zone.time_zone().to_offset(in_calendar(micros)).seconds(),
        }
    }

    /// The instant at which the clock on the wall shows `wall`, both in microseconds, `wall` since its own 1970-01-01T00:00:00. Of
    /// an hour that comes twice, the first. In an hour that never comes, as if the clock had not been moved forward yet: what it
    /// shows then is as much later as was skipped.
    pub fn instant_of(self, wall: i64) -> i64 {
        self.instants_of(wall).0
    }

    /// As [`Self::instant_of`], of an hour that comes twice the second, which PostgreSQL's `AT TIME ZONE` takes.
    pub fn last_instant_of(self, wall: i64) -> i64 {
        self.instants_of(wall).1
    }

    /// The first and the last instant at which the clock on the wall shows `wall`.
    fn instants_of(self, wall: i64) -> (i64, i64) {
        let around = |hours: i64| self.offset_at(wall.saturating_add(hours * HOUR));
        let instant = |offset: i32| wall.saturating_sub(i64::from(offset) * 1_000_000);
        let shown = (-FARTHEST..=FARTHEST)
            .map(around)
            .filter(|offset| self.offset_at(instant(*offset)) == *offset)
            .map(instant);
        shown
            .map(|at| (at, at))
            .reduce(|(first, last), (at, _)| (first.min(at), last.max(at)))
            .unwrap_or_else(|| {
                let never_shown = instant(around(-FARTHEST));
                (never_shown, never_shown)
            })
    }

    /// True for UTC under any of its names.
    pub fn is_utc(self) -> bool {
        match self {
            Self::Fixed(seconds) => seconds == 0,
            Self::Named(zone) => matches!(
                zone.name(),
                "UTC" | "Etc/UTC" | "Zulu" | "Etc/Zulu" | "UCT" | "Etc/UCT"
            ),
        }
    }
}

/// The instant itself, or beyond jiff's years one at the same moment of a year that has the same calendar.
fn in_calendar(micros: i64) -> Timestamp {
    let beyond = || {
        let last = Timestamp::MAX.as_microsecond();
        if micros < last {
            return Timestamp::MIN;
        }
        let cycles = (micros - last).div_euclid(CYCLE) + 1;
        Timestamp::from_microsecond(micros - cycles * CYCLE).unwrap_or(Timestamp::MAX)
    };
    Timestamp::from_microsecond(micros).unwrap_or_else(|_| beyond())
}

/// A zone that remembers the last UTC day it was asked about. Rows mostly come in time order, so
/// that nearly every one of them costs two comparisons.
///
/// A day whose first and last instant have the same offset is taken to have it throughout: no zone changes its clock twice
/// within one UTC day, which a test checks for every zone.
#[derive(Debug, Clone)]
pub struct ZoneClock {
    zone: Zone,
    day: i64,
    offset: i64,
    known: bool,
}

impl ZoneClock {
    /// A clock of that zone.
    pub fn new(zone: Zone) -> Self {
        Self {
            zone,
            day: 0,
            offset: 0,
            known: false,
        }
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

    /// Local time, as microseconds since its own 1970-01-01T00:00:00.
    pub fn wall(&mut self, micros: i64) -> i64 {
        micros.saturating_add(self.offset(micros))
    }

    /// The instant at which the wall clock's current hour began: the key by which hours are grouped. An hour that comes twice
    /// in autumn has two. Where the clock was changed within the hour, as that of Lord Howe Island is by half of one, it began
    /// with the change.
    pub fn hour_start(&mut self, micros: i64) -> i64 {
        let offset = self.offset(micros);
        let start = micros.saturating_sub(micros.saturating_add(offset).rem_euclid(HOUR));
        let is_of_day = self.known && start.div_euclid(DAY) == self.day;
        let zone = self.zone;
        let at = |micros| i64::from(zone.offset_at(micros)) * 1_000_000;
        let before = if is_of_day { self.offset } else { at(start) };
        if before == offset {
            return start;
        }
        let (mut before, mut behind) = (start, micros);
        while behind - before > 1 {
            let middle = before + (behind - before) / 2;
            if at(middle) == offset {
                behind = middle;
            } else {
                before = middle;
            }
        }
        behind
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
        assert_eq!(
            Zone::parse("Europe/Zurich"),
            IanaZone::get("Europe/Zurich").map(Zone::Named)
        );
        assert_eq!(
            Zone::parse("w. europe standard time"),
            IanaZone::get("Europe/Berlin").map(Zone::Named)
        );
        for (text, seconds) in [
            ("+02:00", 7200),
            ("-03:30:00", -12_600),
            ("UTC+2", 7200),
            ("Z", 0),
        ] {
            assert_eq!(Zone::parse(text), Some(Zone::Fixed(seconds)), "{text}");
        }
        for text in ["", "Mars/Olympus", "+25:00"] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_hour_that_comes_twice_has_two_starts() {
        let mut clock = ZoneClock::new(Zone::parse("Europe/Berlin").unwrap());
        assert_eq!(
            clock.hour_start(t("2026-10-25T00:30:00Z")),
            t("2026-10-25T00:00:00Z")
        );
        assert_eq!(
            clock.hour_start(t("2026-10-25T01:30:00Z")),
            t("2026-10-25T01:00:00Z")
        );
        assert_eq!(
            clock.wall(t("2026-10-25T00:30:00Z")),
            clock.wall(t("2026-10-25T01:30:00Z"))
        );
    }

    #[test]
    fn an_hour_within_which_the_clock_is_changed_begins_with_the_change() {
        for (zone, at, start) in [
            // From 02:00 to 02:30, and from 02:00 back to 01:30.
            (
                "Australia/Lord_Howe",
                "2026-10-03T15:20:00Z",
                "2026-10-03T14:30:00Z",
            ),
            (
                "Australia/Lord_Howe",
                "2026-10-03T15:30:00Z",
                "2026-10-03T15:30:00Z",
            ),
            (
                "Australia/Lord_Howe",
                "2026-10-03T15:45:00Z",
                "2026-10-03T15:30:00Z",
            ),
            (
                "Australia/Lord_Howe",
                "2026-04-04T14:45:00Z",
                "2026-04-04T14:00:00Z",
            ),
            (
                "Australia/Lord_Howe",
                "2026-04-04T15:15:00Z",
                "2026-04-04T15:00:00Z",
            ),
            (
                "Australia/Lord_Howe",
                "2026-04-04T15:40:00Z",
                "2026-04-04T15:30:00Z",
            ),
            // From 03:45 back to 02:45: two hours that would have begun at one instant.
            (
                "Pacific/Chatham",
                "2026-04-04T13:50:00Z",
                "2026-04-04T13:15:00Z",
            ),
            (
                "Pacific/Chatham",
                "2026-04-04T14:10:00Z",
                "2026-04-04T14:00:00Z",
            ),
        ] {
            let zone = Zone::parse(zone).unwrap();
            let mut clock = ZoneClock::new(zone);
            assert_eq!(clock.hour_start(t(at)), t(start), "{zone:?} at {at}");
            // The same, with the day before known.
            let _ = clock.hour_start(t(at) - DAY);
            assert_eq!(clock.hour_start(t(at)), t(start), "{zone:?} at {at}");
        }
    }

    #[test]
    fn half_hour_zones_start_their_hours_at_half() {
        let mut clock = ZoneClock::new(Zone::parse("Asia/Kolkata").unwrap());
        assert_eq!(
            clock.hour_start(t("2026-01-01T10:45:00Z")),
            t("2026-01-01T10:30:00Z")
        );
    }

    /// Zones by the rules they have today, as POSIX writes them: jiff goes by the rule, without a table and without an end.
    const RULES: [(&str, &str); 9] = [
        ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"),
        ("America/New_York", "EST5EDT,M3.2.0,M11.1.0"),
        ("America/St_Johns", "NST3:30NDT,M3.2.0,M11.1.0"),
        (
            "Australia/Lord_Howe",
            "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        ),
        (
            "Pacific/Chatham",
            "<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45",
        ),
        ("Asia/Kolkata", "IST-5:30"),
        ("Asia/Kathmandu", "<+0545>-5:45"),
        ("Africa/Lagos", "WAT-1"),
        ("Pacific/Kiritimati", "<+14>-14"),
    ];

    /// A year and the time of a moment in it: any, a leap day, the seconds around 2038-01-19T03:14:08Z, those around 2100.
    fn moment() -> impl proptest::strategy::Strategy<Value = i64> {
        use proptest::prelude::*;
        let of_year = |year: i64, day: i64, micros: i64| {
            let first = jiff::civil::date(i16::try_from(year).unwrap(), 1, 1);
            let day = first.checked_add(jiff::Span::new().days(day)).unwrap();
            day.to_zoned(jiff::tz::TimeZone::UTC)
                .unwrap()
                .timestamp()
                .as_microsecond()
                + micros
        };
        prop_oneof![
            4 => (2024_i64..2090, 0_i64..365, 0..DAY).prop_map(move |(year, day, micros)| of_year(year, day, micros)),
            4 => (2088_i64..2500, 0_i64..365, 0..DAY).prop_map(move |(year, day, micros)| of_year(year, day, micros)),
            1 => (506_i64..550, 0..DAY).prop_map(move |(fours, micros)| of_year(fours * 4, 59, micros)),
            1 => (-DAY..DAY).prop_map(|micros| 2_147_483_648_000_000 + micros),
            1 => (-DAY..DAY).prop_map(|micros| t("2100-01-01T00:00:00Z") + micros),
            1 => (9990_i64..9999, 0_i64..365, 0..DAY).prop_map(move |(year, day, micros)| of_year(year, day, micros)),
        ]
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

        /// An instant, and a wall clock's reading, agree with an implementation that goes by rules instead of a table.
        #[test]
        fn clocks_go_by_the_rules(at in moment(), rule in proptest::sample::select(&RULES[..])) {
            let (name, rule) = rule;
            let (zone, other) = (Zone::parse(name).unwrap(), jiff::tz::TimeZone::posix(rule).unwrap());
            let instant = jiff::Timestamp::from_microsecond(at).unwrap();
            let wall = instant.to_zoned(other.clone()).datetime();
            let as_micros = |wall: jiff::civil::DateTime| jiff::tz::Offset::UTC.to_timestamp(wall).unwrap().as_microsecond();
            let mut clock = ZoneClock::new(zone);
            proptest::prop_assert_eq!(clock.wall(at), as_micros(wall), "{} at {}", name, instant);
            // The same digits, read on the wall: perhaps of an hour that never comes, perhaps of one that comes twice.
            let digits = jiff::tz::Offset::UTC.to_datetime(instant);
            let expected = digits.to_zoned(other).unwrap().timestamp().as_microsecond();
            proptest::prop_assert_eq!(zone.instant_of(at), expected, "{} on the wall in {}", digits, name);
        }
    }

    #[test]
    fn a_wall_clock_that_skips_or_repeats_has_one_answer() {
        let on_the_wall = |text: &str, zone: &str| {
            Zone::parse(zone)
                .unwrap()
                .instant_of(t(&format!("{text}Z")))
        };
        for (wall, zone, instant) in [
            (
                "2026-01-01T00:00:00",
                "Europe/Berlin",
                "2025-12-31T23:00:00Z",
            ),
            (
                "2026-03-29T02:30:00",
                "Europe/Berlin",
                "2026-03-29T01:30:00Z",
            ),
            (
                "2026-10-25T02:30:00",
                "Europe/Berlin",
                "2026-10-25T00:30:00Z",
            ),
            (
                "2018-11-04T00:00:00",
                "America/Sao_Paulo",
                "2018-11-04T03:00:00Z",
            ),
            // Samoa left out a whole day.
            (
                "2011-12-30T12:00:00",
                "Pacific/Apia",
                "2011-12-30T22:00:00Z",
            ),
            (
                "2011-12-31T00:00:00",
                "Pacific/Apia",
                "2011-12-30T10:00:00Z",
            ),
            ("2026-01-01T00:00:00", "+05:30", "2025-12-31T18:30:00Z"),
        ] {
            assert_eq!(on_the_wall(wall, zone), t(instant), "{wall} in {zone}");
        }
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        for (wall, instant) in [
            ("2026-10-25T01:59:59Z", "2026-10-24T23:59:59Z"),
            ("2026-10-25T02:30:00Z", "2026-10-25T01:30:00Z"),
            ("2026-10-25T03:00:00Z", "2026-10-25T02:00:00Z"),
            ("2026-03-29T02:30:00Z", "2026-03-29T01:30:00Z"),
        ] {
            assert_eq!(berlin.last_instant_of(t(wall)), t(instant), "{wall}");
        }
        let _ = (
            Zone::UTC.instant_of(i64::MIN),
            Zone::parse("Asia/Tokyo").unwrap().instant_of(i64::MAX),
        );
    }

    #[test]
    fn extremes_have_an_offset() {
        let mut clock = ZoneClock::new(Zone::parse("America/New_York").unwrap());
        for micros in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
            let _ = (
                clock.offset(micros),
                clock.wall(micros),
                clock.hour_start(micros),
            );
        }
        assert_eq!(clock.offset(t("9999-07-01T00:00:00Z")) % HOUR, 0);
        // Behind the last year that jiff has, summers and winters go on.
        for (day, offset) in [("2400-07-01", -4), ("2400-01-01", -5)] {
            let far = t(&format!("{day}T12:00:00Z")) + 20 * CYCLE;
            assert_eq!(clock.offset(far), offset * HOUR, "{day}, 8,000 years later");
        }
    }

    /// Assumption of [`ZoneClock`]: an offset that is the same at both ends of a UTC day held in
    /// between.
    #[test]
    fn no_zone_changes_twice_within_a_day() {
        let step = HOUR / 2;
        for zone in IanaZone::all() {
            let zone = Zone::Named(zone);
            let mut clock = ZoneClock::new(zone);
            // Two spans: the years of living memory with their political changes, and those just ahead.
            for (from, to) in [
                ("2005-01-01T00:00:00Z", "2009-01-01T00:00:00Z"),
                ("2024-01-01T00:00:00Z", "2028-01-01T00:00:00Z"),
            ] {
                let (mut at, to) = (t(from), t(to));
                while at < to {
                    assert_eq!(
                        clock.offset(at),
                        i64::from(zone.offset_at(at)) * 1_000_000,
                        "{zone:?} at {at}"
                    );
                    at += step;
                }
            }
        }
    }
}
