//! Stops of the world's vehicles, and the products sold there.
//!
//! Invariant: names and addresses are the same in every world; place ids too, for they are the networks' own codes.

use super::visits::VisitPurpose;
use crate::decimal::Decimal;
use jiff::tz::TimeZone;
use tillhouse_model::time_zone::time_zone;
use tillhouse_model::{Error, Result};

/// A product. Prices are in thousandths of EUR, gross, before the price level of the site is
/// applied.
#[derive(Debug)]
pub(crate) struct WorldProduct {
    pub purpose: VisitPurpose,
    pub name: &'static str,
    /// `l`, `kWh`, `h` or `pc`.
    pub unit: &'static str,
    pub milli_price: i64,
    /// Digits after the point of a quantity.
    pub quantity_scale: u8,
    /// The smallest and largest quantity bought, in that scale.
    pub quantity: (i64, i64),
}

const fn good(
    errand: VisitPurpose,
    name: &'static str,
    unit: &'static str,
    milli_price: i64,
    quantity_scale: u8,
    quantity: (i64, i64),
) -> WorldProduct {
    WorldProduct {
        purpose: errand,
        name,
        unit,
        milli_price,
        quantity_scale,
        quantity,
    }
}

/// Every good; those of one errand stand together.
pub(crate) const PRODUCTS: &[WorldProduct] = &[
    good(VisitPurpose::Fuel, "Diesel", "l", 1649, 2, (1200, 9000)),
    good(VisitPurpose::Fuel, "Diesel HVO", "l", 1789, 2, (1200, 9000)),
    good(
        VisitPurpose::Fuel,
        "Super 95 E10",
        "l",
        1729,
        2,
        (800, 6000),
    ),
    good(
        VisitPurpose::Fuel,
        "Super Plus 98",
        "l",
        1859,
        2,
        (800, 5500),
    ),
    good(
        VisitPurpose::Charge,
        "AC 22 kW",
        "kWh",
        490,
        3,
        (4_000, 42_000),
    ),
    good(
        VisitPurpose::Charge,
        "DC 50 kW",
        "kWh",
        590,
        3,
        (6_000, 48_000),
    ),
    good(
        VisitPurpose::Charge,
        "HPC 300 kW",
        "kWh",
        690,
        3,
        (12_000, 88_000),
    ),
    good(VisitPurpose::Park, "Parking", "h", 2_400, 2, (25, 960)),
    good(VisitPurpose::Coffee, "Coffee", "pc", 2_200, 0, (1, 1)),
];

/// A site that vehicles visit.
#[derive(Debug)]
pub(crate) struct WorldSite {
    pub purpose: VisitPurpose,
    /// The network's own code, `SB000100`.
    pub id: String,
    pub name: &'static str,
    /// Operator.
    pub brand: &'static str,
    pub street: &'static str,
    pub house_number: &'static str,
    pub postal_code: &'static str,
    pub city: &'static str,
    /// ISO 3166, two letters.
    pub country: &'static str,
    pub zone: TimeZone,
    pub latitude: Decimal,
    pub longitude: Decimal,
    pub currency: &'static str,
    /// The price level in thousandths of EUR's.
    pub level: i64,
    /// VAT, in thousandths of a per cent.
    pub vat: i64,
    /// PACE's partner, for those that sell fuel through it.
    pub partner: Option<&'static str>,
}

const NORTH: &str = "north-fuels";
const SOUTH: &str = "south-fuels";

/// PACE's partners.
pub(crate) fn partners() -> [&'static str; 2] {
    [NORTH, SOUTH]
}

/// Country, time zone, currency, price level and VAT.
struct CountryProfile(&'static str, &'static str, &'static str, i64, i64);

const DE: CountryProfile = CountryProfile("DE", "Europe/Berlin", "EUR", 1000, 19_000);
const AT: CountryProfile = CountryProfile("AT", "Europe/Vienna", "EUR", 980, 20_000);
const CH: CountryProfile = CountryProfile("CH", "Europe/Zurich", "CHF", 1120, 8_100);
const FI: CountryProfile = CountryProfile("FI", "Europe/Helsinki", "EUR", 1040, 25_500);
const PL: CountryProfile = CountryProfile("PL", "Europe/Warsaw", "PLN", 4_100, 23_000);

/// Purpose, name, brand, address, country, coordinates in millionths and PACE partner of a site.
struct WorldSitePlan(
    VisitPurpose,
    &'static str,
    &'static str,
    [&'static str; 4],
    &'static CountryProfile,
    i64,
    i64,
    Option<&'static str>,
);

/// Errand, name, brand, [street, house number, postal code, city], land, latitude and longitude in millionths, partner.
const STOPS: &[WorldSitePlan] = &[
    WorldSitePlan(
        VisitPurpose::Fuel,
        "North Fuels Hafenring",
        "North Fuels",
        ["Hafenring", "14", "20457", "Hamburg"],
        &DE,
        53_540_100,
        9_989_700,
        Some(NORTH),
    ),
    WorldSitePlan(
        VisitPurpose::Fuel,
        "North Fuels Ostallee",
        "North Fuels",
        ["Ostallee", "201-205", "10245", "Berlin"],
        &DE,
        52_509_300,
        13_455_120,
        Some(NORTH),
    ),
    WorldSitePlan(
        VisitPurpose::Fuel,
        "North Fuels Satama",
        "North Fuels",
        ["Satamakatu", "3", "00160", "Helsinki"],
        &FI,
        60_166_800,
        24_968_200,
        Some(NORTH),
    ),
    WorldSitePlan(
        VisitPurpose::Fuel,
        "South Fuels Weststraße",
        "South Fuels",
        ["Weststraße", "18a", "76131", "Karlsruhe"],
        &DE,
        49_013_000,
        8_425_000,
        Some(SOUTH),
    ),
    WorldSitePlan(
        VisitPurpose::Fuel,
        "South Fuels Ringgasse",
        "South Fuels",
        ["Ringgasse", "7", "1030", "Wien"],
        &AT,
        48_198_900,
        16_394_800,
        Some(SOUTH),
    ),
    WorldSitePlan(
        VisitPurpose::Fuel,
        "South Fuels Seeweg",
        "South Fuels",
        ["Seeweg", "44", "8008", "Zürich"],
        &CH,
        47_355_400,
        8_554_300,
        Some(SOUTH),
    ),
    WorldSitePlan(
        VisitPurpose::Fuel,
        "Stacja Polna",
        "Polna",
        ["ul. Polna", "9", "00-625", "Warszawa"],
        &PL,
        52_219_100,
        21_014_300,
        None,
    ),
    WorldSitePlan(
        VisitPurpose::Charge,
        "Ladehof Nordkreuz",
        "Ladehof",
        ["Kreuzweg", "1", "22525", "Hamburg"],
        &DE,
        53_585_900,
        9_924_100,
        None,
    ),
    WorldSitePlan(
        VisitPurpose::Charge,
        "Ladehof Rheinau",
        "Ladehof",
        ["Rheinauer Weg", "60", "68219", "Mannheim"],
        &DE,
        49_436_000,
        8_532_700,
        None,
    ),
    WorldSitePlan(
        VisitPurpose::Charge,
        "Ladehof Limmat",
        "Ladehof",
        ["Limmatweg", "12", "8005", "Zürich"],
        &CH,
        47_389_100,
        8_521_000,
        None,
    ),
    WorldSitePlan(
        VisitPurpose::Park,
        "Parkhaus Mitte",
        "Mitte Parking",
        ["Mittelgasse", "2", "10117", "Berlin"],
        &DE,
        52_514_200,
        13_389_900,
        None,
    ),
    WorldSitePlan(
        VisitPurpose::Park,
        "Parking Altstadt",
        "Altstadt Parking",
        ["Am Graben", "5", "4051", "Basel"],
        &CH,
        47_554_800,
        7_588_100,
        None,
    ),
    WorldSitePlan(
        VisitPurpose::Coffee,
        "Autohof Elbe",
        "Kaffeepunkt",
        ["Elbchaussee", "700", "22587", "Hamburg"],
        &DE,
        53_557_900,
        9_797_100,
        None,
    ),
    WorldSitePlan(
        VisitPurpose::Coffee,
        "Rastplatz Limmat",
        "Kaffeepunkt",
        ["Limmatweg", "14", "8005", "Zürich"],
        &CH,
        47_389_200,
        8_521_300,
        None,
    ),
];

/// The stops.
pub(crate) fn make_sites() -> Result<Vec<WorldSite>> {
    STOPS
        .iter()
        .enumerate()
        .map(
            |(
                index,
                WorldSitePlan(errand, name, brand, address, land, latitude, longitude, partner),
            )| {
                let CountryProfile(country, timezone, currency, level, vat) = **land;
                let [street, house_number, postal_code, city] = *address;
                Ok(WorldSite {
                    purpose: *errand,
                    id: format!("SB{:06}", (index + 1) * 100),
                    name,
                    brand,
                    street,
                    house_number,
                    postal_code,
                    city,
                    country,
                    zone: zone(timezone)?,
                    latitude: Decimal::new(i128::from(*latitude), 6),
                    longitude: Decimal::new(i128::from(*longitude), 6),
                    currency,
                    level,
                    vat,
                    partner: *partner,
                })
            },
        )
        .collect()
}

/// A time zone by its IANA name.
pub(crate) fn zone(name: &str) -> Result<TimeZone> {
    time_zone(name).ok_or_else(|| Error::internal(format!("no time zone is named {name}")))
}
