//! Places of SmartNow's machines, and the products they sell.
//!
//! Invariant: ids, names and prices are the same in every world, so that only what happens depends on the seed.

use crate::world::zone;
use jiff::tz::TimeZone;
use tillhouse_model::Result;

/// A place with machines.
#[derive(Debug)]
pub(crate) struct SmartNowLocation {
    pub id: i64,
    pub name: &'static str,
    pub address: &'static str,
    pub postcode: &'static str,
    pub city: &'static str,
    pub country: &'static str,
    pub timezone: &'static str,
    pub zone: TimeZone,
    pub latitude: &'static str,
    pub longitude: &'static str,
    pub currency: &'static str,
    /// Minor units of the currency for a hundred cents of EUR.
    pub level: i64,
    /// VAT in per cent, as SmartNow's products have it.
    pub vat: f64,
    /// The user group whose location this is.
    pub group: i64,
}

/// A machine.
#[derive(Debug)]
pub(crate) struct SmartNowMachine {
    pub id: i64,
    /// The index of its location.
    pub location: usize,
    pub model: i64,
    /// Its share of the traffic.
    pub weight: u64,
    /// Unix seconds; a machine is there from its installation until it is taken away.
    pub installed: i64,
    pub removed: Option<i64>,
}

/// A model: id, name, manufacturer, type, error profile.
pub(crate) const MODELS: [(i64, &str, i64, i64, i64); 4] = [
    (1, "Barista 200", 1, 1, 1),
    (2, "Barista 400 Duo", 1, 1, 1),
    (3, "Snackline 8", 2, 2, 2),
    (4, "Cooler 40", 3, 3, 3),
];
/// Types and manufacturers, with the types they make.
pub(crate) const TYPES: [&str; 3] = ["Coffee machine", "Snack machine", "Cold drinks machine"];
pub(crate) const MANUFACTURERS: [(&str, &[i64]); 3] =
    [("Brewworks", &[1]), ("Spiralco", &[2]), ("Frostline", &[3])];

/// An item that machines sell. The price is in cents of EUR.
#[derive(Debug)]
pub(crate) struct SmartNowItem {
    pub plu: i64,
    pub name: &'static str,
    pub short: &'static str,
    pub cents: i64,
    pub barcode: Option<&'static str>,
    /// The type of the machines that sell it.
    pub of: i64,
}

const fn item(
    of: i64,
    plu: i64,
    name: &'static str,
    short: &'static str,
    cents: i64,
    barcode: Option<&'static str>,
) -> SmartNowItem {
    SmartNowItem {
        plu,
        name,
        short,
        cents,
        barcode,
        of,
    }
}

/// The assortment; a PLU means the same in every machine.
pub(crate) const ITEMS: [SmartNowItem; 14] = [
    item(1, 1, "Kaffee klein", "KAF-KL", 180, None),
    item(1, 2, "Kaffee groß", "KAF-GR", 240, None),
    item(1, 3, "Cappuccino", "CAP", 260, None),
    item(1, 4, "Latte \"Macchiato\"", "LAT", 290, None),
    item(1, 5, "Espresso", "ESP", 170, None),
    item(1, 6, "Heißes Wasser", "WAS", 0, None),
    item(2, 21, "Salted nuts", "NUT", 150, Some("4000000000211")),
    item(2, 22, "Chocolate bar", "CHO", 130, Some("4000000000228")),
    item(2, 23, "Oat biscuit", "OAT", 110, Some("4000000000235")),
    item(
        2,
        24,
        "Fruit gums, 200 g",
        "GUM",
        220,
        Some("4000000000242"),
    ),
    item(3, 41, "Water 0.5 l", "WA5", 150, Some("4000000000419")),
    item(3, 42, "Cola 0.33 l", "COL", 180, Some("4000000000426")),
    item(
        3,
        43,
        "Apple juice 0.33 l",
        "APP",
        190,
        Some("4000000000433"),
    ),
    item(3, 44, "Iced coffee", "ICE", 249, Some("4000000000440")),
];

/// Name, address, time zone, coordinates, currency and user group of a location.
struct LocationPlan(
    &'static str,
    [&'static str; 4],
    &'static str,
    (&'static str, &'static str),
    (&'static str, i64, f64),
    i64,
);

/// Name, [address, postcode, city, country], zone, (latitude, longitude), (currency, level, VAT), user group. The first two are the
/// world's own coffee stops, in that order.
const LOCATIONS: [LocationPlan; 10] = [
    LocationPlan(
        "Autohof Elbe",
        ["Elbchaussee 700", "22587", "Hamburg", "Germany"],
        "Europe/Berlin",
        ("53.557900", "9.797100"),
        ("EUR", 100, 19.0),
        2,
    ),
    LocationPlan(
        "Rastplatz Limmat",
        ["Limmatweg 14", "8005", "Zürich", "Switzerland"],
        "Europe/Zurich",
        ("47.389200", "8.521300"),
        ("CHF", 112, 8.1),
        2,
    ),
    LocationPlan(
        "Kantoor Zuid",
        ["Zuidplein 8", "1077 XV", "Amsterdam", "Netherlands"],
        "Europe/Amsterdam",
        ("52.339300", "4.873700"),
        ("EUR", 104, 9.0),
        2,
    ),
    LocationPlan(
        "Toimisto Satama",
        ["Satamakatu 3", "00160", "Helsinki", "Finland"],
        "Europe/Helsinki",
        ("60.166800", "24.968200"),
        ("EUR", 110, 14.0),
        2,
    ),
    LocationPlan(
        "Canal House",
        ["1 Canal Road", "M1 1AA", "Manchester", "United Kingdom"],
        "Europe/London",
        ("53.477700", "-2.236600"),
        ("GBP", 90, 20.0),
        3,
    ),
    LocationPlan(
        "Water Street 9",
        ["9 Water Street", "10004", "New York", "United States"],
        "America/New_York",
        ("40.703100", "-74.011900"),
        ("USD", 125, 8.875),
        3,
    ),
    LocationPlan(
        "Minato Office",
        ["2-3 Kaigan", "105-0022", "Tokyo", "Japan"],
        "Asia/Tokyo",
        ("35.655500", "139.757100"),
        ("JPY", 160, 10.0),
        3,
    ),
    LocationPlan(
        "Republic Square 4",
        ["Republic Square 4", "0010", "Yerevan", "Armenia"],
        "Asia/Yerevan",
        ("40.177600", "44.512600"),
        ("AMD", 42_000, 20.0),
        3,
    ),
    LocationPlan(
        "Lalitpur Yard",
        ["Yard 5", "44700", "Lalitpur", "Nepal"],
        "Asia/Kathmandu",
        ("27.664400", "85.318800"),
        ("NPR", 15_000, 13.0),
        3,
    ),
    LocationPlan(
        "Harbour Block 2",
        ["Harbour Block 2", "13001", "Kuwait City", "Kuwait"],
        "Asia/Kuwait",
        ("29.375900", "47.977400"),
        ("KWD", 330, 0.0),
        3,
    ),
];

/// (Location, model, weight) of the machines, by id from 80 on.
const MACHINES: [(usize, usize, u64); 18] = [
    (0, 0, 9),
    (0, 1, 8),
    (0, 2, 5),
    (1, 0, 8),
    (1, 3, 4),
    (2, 1, 7),
    (2, 2, 4),
    (3, 0, 6),
    (3, 3, 3),
    (4, 1, 6),
    (4, 3, 3),
    (5, 0, 5),
    (5, 2, 3),
    (6, 3, 5),
    (6, 1, 3),
    (7, 0, 4),
    (8, 0, 3),
    (9, 1, 3),
];

/// The first machine's id.
const FIRST: i64 = 80;
/// The machine that is installed in the middle of the stretch, the one that is taken away then, and the one that goes twelve hours
/// after its end.
const NEW: i64 = FIRST + 5;
const GONE: i64 = FIRST + 8;
const GOING: i64 = FIRST + 12;

/// A machine's id is on record from long before the stretch.
pub(crate) const BEFORE: i64 = 400 * 86_400;

/// The locations.
pub(crate) fn locations() -> Result<Vec<SmartNowLocation>> {
    let make = |(index, plan): (usize, &'static LocationPlan)| {
        let LocationPlan(
            name,
            [address, postcode, city, country],
            timezone,
            (latitude, longitude),
            money,
            group,
        ) = plan;
        Ok(SmartNowLocation {
            id: index as i64 + 1,
            name,
            address,
            postcode,
            city,
            country,
            timezone,
            zone: zone(timezone)?,
            latitude,
            longitude,
            currency: money.0,
            level: money.1,
            vat: money.2,
            group: *group,
        })
    };
    LOCATIONS.iter().enumerate().map(make).collect()
}

/// The machines of a stretch [since, until), Unix seconds.
pub(crate) fn machines(since: i64, until: i64) -> Vec<SmartNowMachine> {
    let middle = since + (until - since) / 2;
    let make = |(index, (location, model, weight)): (usize, &(usize, usize, u64))| {
        let id = FIRST + index as i64;
        SmartNowMachine {
            id,
            location: *location,
            model: MODELS[*model].0,
            weight: *weight,
            installed: if id == NEW {
                middle
            } else {
                since - BEFORE + id
            },
            removed: match id {
                GONE => Some(middle),
                GOING => Some(until + 12 * 3600),
                _ => None,
            },
        }
    };
    MACHINES.iter().enumerate().map(make).collect()
}

impl SmartNowMachine {
    /// True if it stands there at a second.
    pub(crate) fn is_installed_at(&self, second: i64) -> bool {
        self.installed <= second && self.removed.is_none_or(|removed| second < removed)
    }

    /// Its type.
    pub(crate) fn kind(&self) -> i64 {
        MODELS
            .iter()
            .find(|model| model.0 == self.model)
            .map_or(1, |model| model.3)
    }

    /// Items that it sells.
    pub(crate) fn items(&self) -> impl Iterator<Item = &'static SmartNowItem> {
        let kind = self.kind();
        ITEMS.iter().filter(move |item| item.of == kind)
    }
}

impl SmartNowLocation {
    /// A price in this place's minor units, in the steps that prices have there.
    pub(crate) fn price(&self, cents: i64) -> i64 {
        let exact = cents * self.level / 100;
        let step = if exact > 2_000 { 100 } else { 5 };
        (exact + step / 2) / step * step
    }
}
