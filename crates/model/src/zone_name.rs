//! Time zones as sources write them: IANA names, offsets and Windows' names, in any case.
//!
//! Invariant: a text has one meaning for everybody who asks, the rule that warns about it as well as the SQL that reads clocks by it; what
//! is read does not depend on the machine, since the names are compiled in. Nothing is guessed: an abbreviation that several
//! zones share (`CST`), or a zone that is not in the lists, is not read.
//!
//! Signs: `GMT+1`, `UTC+01:00` and `+01:00` are one hour east of Greenwich, as people write them; `Etc/GMT+1` is an IANA name, and
//! IANA counts those the other way round.

use crate::blank::{is_invisible, trim};
use crate::hash_map::FastMap;
use crate::time::CLOCK_OFFSETS;
use crate::time_zone::IanaZone;
use crate::word::plain;
use chrono_tz::TZ_VARIANTS;
use jiff::tz::{Offset, TimeZone};
use std::sync::LazyLock;
use windows_timezones::WindowsTimezone;

/// Meaning of a text that names a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZoneName {
    /// A zone of the IANA database.
    Iana(IanaZone),
    /// A fixed offset, in seconds east of UTC.
    Offset(i32),
}

/// Names of IANA's zones by Windows' names and descriptions of them, in lower case. CLDR's table comes by chrono-tz's list of zones; nothing else
/// of that library is used.
static WINDOWS_NAMES: LazyLock<FastMap<String, &'static str>> = LazyLock::new(|| {
    let mut names = FastMap::default();
    for zone in TZ_VARIANTS {
        // Windows' zone of an IANA one; that one's own IANA zone is CLDR's choice where no country is named.
        if let Ok(windows) = WindowsTimezone::try_from(zone) {
            for name in [windows.name(), windows.description()] {
                names
                    .entry(name.to_lowercase())
                    .or_insert_with(|| windows.tzdb_id());
            }
        }
    }
    names
});

/// IANA's name for a machine whose zone was never set.
const NO_ZONE: &str = "Factory";

/// Reads an IANA name (`Europe/Zurich`), an offset (`+02:00`, `-0530`, `+2`, `UTC+2`, `GMT-03:30`, `Z`, and as a length of time: `01:00:00`,
/// `-03:30:00`), or Windows' name of a zone (`W. Europe Standard Time`), all in any case and between blanks.
/// `None` for anything else.
pub fn parse(text: &str) -> Option<ZoneName> {
    let text = trim(text);
    if text.eq_ignore_ascii_case(NO_ZONE) {
        return None;
    }
    if text.is_ascii() {
        parse_ascii(text)
    } else {
        parse_ascii(&plain(&text.replace(is_invisible, "")))
    }
}

/// The clock of what [`parse`] reads; `None` for anything else.
pub fn clock(text: &str) -> Option<TimeZone> {
    match parse(text)? {
        ZoneName::Iana(zone) => Some(zone.time_zone().clone()),
        ZoneName::Offset(seconds) => Offset::from_seconds(seconds).ok().map(TimeZone::fixed),
    }
}

fn parse_ascii(text: &str) -> Option<ZoneName> {
    if text.eq_ignore_ascii_case("Z") || text.eq_ignore_ascii_case("UTC") {
        return Some(ZoneName::Offset(0));
    }
    // `GMT+0` is a zone; `gmt+0` is read as an offset.
    if let Some(zone) = IanaZone::get(text).filter(|zone| zone.name() == text) {
        return Some(ZoneName::Iana(zone));
    }
    let prefixed = text
        .get(..3)
        .is_some_and(|p| p.eq_ignore_ascii_case("UTC") || p.eq_ignore_ascii_case("GMT"));
    let digits = if prefixed {
        text.get(3..)?.trim_start()
    } else {
        text
    };
    if let Some(offset) = parse_offset(digits, prefixed) {
        return Some(ZoneName::Offset(offset));
    }
    let lower = text.to_ascii_lowercase();
    let of_name = |name: &str| {
        IanaZone::get(name).or_else(|| IanaZone::get(WINDOWS_NAMES.get(name).copied()?))
    };
    of_name(&lower)
        .or_else(|| of_name(&lower.replace(' ', "_")))
        .map(ZoneName::Iana)
}

/// `+02:00`, `+0200`, `+02`, `+2`, `02:00`, `02:00:00`: seconds east of UTC. Hours alone need a sign.
fn parse_offset(text: &str, prefixed: bool) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        // Behind UTC or GMT there is a sign.
        _ if !prefixed && text.contains(':') => (1, text),
        _ => return None,
    };
    let rest = rest.trim_start();
    let mut parts = rest.split(':');
    let (hours, minutes, seconds) = match (parts.next()?, parts.next(), parts.next(), parts.next())
    {
        (four, None, None, None) if four.len() == 4 && four.is_ascii() => {
            (&four[..2], &four[2..], "00")
        }
        (hours, None, None, None) => (hours, "00", "00"),
        (hours, Some(minutes), None, None) => (hours, minutes, "00"),
        (hours, Some(minutes), Some(seconds), None) => (hours, minutes, seconds),
        _ => return None,
    };
    let digits = |part: &str, least: usize| {
        let fits = (least..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| part.parse::<i32>().ok()).flatten()
    };
    let (hours, minutes, seconds) = (digits(hours, 1)?, digits(minutes, 2)?, digits(seconds, 2)?);
    let offset = sign * (hours * 3600 + minutes * 60 + seconds);
    (minutes < 60 && seconds < 60 && CLOCK_OFFSETS.contains(&offset)).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iana(text: &str) -> String {
        match parse(text) {
            Some(ZoneName::Iana(zone)) => zone.name().to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn names_are_read_in_any_case() {
        for text in [
            "Europe/Berlin",
            "europe/berlin",
            "EUROPE/BERLIN",
            " Europe/Berlin ",
            "\u{feff}europe/Berlin\u{a0}",
            "Ｅurope/Berlin",
            "Europe／Ｂerlin",
        ] {
            assert_eq!(iana(text), "Europe/Berlin", "{text:?}");
        }
        assert_eq!(iana("america/new york"), "America/New_York");
        assert_eq!(iana("cet"), "CET");
        assert_eq!(iana("gmt"), "GMT");
        assert_eq!(iana("etc/gmt+1"), "Etc/GMT+1");
        // The zone of a machine that was never told one.
        assert!(IanaZone::get("Factory").is_some());
        assert_eq!((parse("Factory"), parse(" factory ")), (None, None));
    }

    #[test]
    fn clocks_of_names_and_offsets_are_known() {
        let noon = "2026-01-05T12:00:00Z".parse().unwrap();
        for (text, hour) in [
            ("Europe/Berlin", 13),
            ("+02:00", 14),
            ("-05:30", 6),
            ("utc", 12),
        ] {
            assert_eq!(
                clock(text).unwrap().to_datetime(noon).hour(),
                hour,
                "{text}"
            );
        }
        assert_eq!(clock("Mars/Olympus"), None);
    }

    #[test]
    fn windows_names_are_read() {
        for (windows, zone) in [
            ("W. Europe Standard Time", "Europe/Berlin"),
            ("w. europe standard time", "Europe/Berlin"),
            ("W.\u{a0}Europe Standard Time", "Europe/Berlin"),
            ("Romance Standard Time", "Europe/Paris"),
            ("Central Europe Standard Time", "Europe/Budapest"),
            ("GMT Standard Time", "Europe/London"),
            ("Greenwich Standard Time", "Atlantic/Reykjavik"),
            ("Caucasus Standard Time", "Asia/Yerevan"),
            ("India Standard Time", "Asia/Calcutta"),
            ("Line Islands Standard Time", "Pacific/Kiritimati"),
            (
                "(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna",
                "Europe/Berlin",
            ),
        ] {
            assert_eq!(iana(windows), zone, "{windows}");
        }
        assert_eq!(parse("UTC-11"), Some(ZoneName::Offset(-11 * 3600)));
    }

    /// CLDR has 139 of them (version 46); one that none of the IANA zones led to would be missing here.
    #[test]
    fn the_list_of_windows_names_is_whole() {
        let mut names: Vec<&str> = TZ_VARIANTS
            .iter()
            .filter_map(|zone| WindowsTimezone::try_from(*zone).ok())
            .map(|w| w.name())
            .collect();
        names.sort_unstable();
        names.dedup();
        assert!(names.len() >= 139, "{}", names.len());
        for name in names {
            let windows = name.parse::<WindowsTimezone>().unwrap();
            let expected = IanaZone::get(windows.tzdb_id()).unwrap();
            let offset =
                name.starts_with("UTC") && matches!(parse(name), Some(ZoneName::Offset(_)));
            assert!(
                offset || parse(name) == Some(ZoneName::Iana(expected)),
                "{name}: {:?}",
                parse(name)
            );
        }
    }

    #[test]
    fn offsets_are_read() {
        for (text, seconds) in [
            ("+01:00", 3600),
            ("+0100", 3600),
            ("+01", 3600),
            ("+1", 3600),
            ("01:00", 3600),
            ("01:00:00", 3600),
            ("+01:00:00", 3600),
            ("-03:30:00", -12_600),
            ("\u{2212}03:30", -12_600),
            ("＋０１:００", 3600),
            ("ＵＴＣ－０３：３０", -12_600),
            ("00:00:00", 0),
            ("Z", 0),
            ("z", 0),
            ("UTC", 0),
            ("Utc", 0),
            ("UTC+2", 7200),
            ("utc +02:00", 7200),
            ("GMT+1", 3600),
            ("GMT-03:30", -12_600),
            (" +02:00\t", 7200),
            ("-0530", -19_800),
            ("+14:00", 50_400),
            ("-12:00", -43_200),
        ] {
            assert_eq!(parse(text), Some(ZoneName::Offset(seconds)), "{text}");
        }
        for text in [
            "",
            " ",
            "Mars/Olympus",
            "+25:00",
            "+02:60",
            "+",
            "+02:0",
            "2",
            "02",
            "0200",
            "+ü2:00",
            "+0ü0",
            "1:00:00:00",
            "CEST",
            "MEZ",
            "+14:00:01",
            "+15:00",
            "+18:00",
            "-12:01",
            "UTC-13",
            "23:59",
            "UTC01:00",
            "+01:00:60",
            "null",
            "Europe",
            "Standard Time",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
