//! Places of sale of the sandbox's world: mandators, sites, devices, points, products and their prices.
//!
//! Invariant: names and codes are the same in every world; ids depend on the seed. A product's id always has one name.

use crate::random::{RandomStream, uuid_text};
use jiff::tz::TimeZone;
use tillhouse_model::time_zone::time_zone;
use tillhouse_model::{Error, Result};

/// Category of a site: what it sells, which decides its rhythm too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SiteCategory {
    Fuelling,
    Charging,
    Parking,
    Vending,
}

impl SiteCategory {
    /// HecOne's `category`.
    pub(crate) fn category(self) -> &'static str {
        match self {
            Self::Fuelling => "fuelling",
            Self::Charging => "charging",
            Self::Parking => "parking",
            Self::Vending => "vending",
        }
    }
}

/// A product; the unit price is in thousandths of EUR, before the site's currency is applied.
#[derive(Debug)]
pub(crate) struct ProductPlan {
    pub trade: SiteCategory,
    pub name: &'static str,
    pub code: &'static str,
    pub unit: &'static str,
    pub milli_price: i64,
    /// Digits after the point of a quantity.
    pub quantity_scale: u8,
    /// The smallest and largest quantity sold, in that scale.
    pub quantity: (i64, i64),
}

const fn product(
    trade: SiteCategory,
    name: &'static str,
    code: &'static str,
    unit: &'static str,
    milli_price: i64,
    quantity_scale: u8,
    quantity: (i64, i64),
) -> ProductPlan {
    ProductPlan {
        trade,
        name,
        code,
        unit,
        milli_price,
        quantity_scale,
        quantity,
    }
}

/// Every product, main ones first within a trade.
pub(crate) const PRODUCTS: &[ProductPlan] = &[
    product(
        SiteCategory::Fuelling,
        "Diesel",
        "B7",
        "l",
        1649,
        2,
        (1200, 9000),
    ),
    product(
        SiteCategory::Fuelling,
        "Super 95",
        "E10",
        "l",
        1729,
        2,
        (800, 6000),
    ),
    product(
        SiteCategory::Fuelling,
        "Super Plus 98",
        "E5-98",
        "l",
        1859,
        2,
        (800, 5500),
    ),
    product(
        SiteCategory::Fuelling,
        "CNG",
        "CNG",
        "kg",
        1399,
        3,
        (6_000, 24_000),
    ),
    product(
        SiteCategory::Fuelling,
        "AdBlue",
        "ADB",
        "l",
        899,
        2,
        (500, 4000),
    ),
    product(
        SiteCategory::Charging,
        "AC 22 kW",
        "AC22",
        "kWh",
        490,
        3,
        (4_000, 42_000),
    ),
    product(
        SiteCategory::Charging,
        "DC 150 kW",
        "DC150",
        "kWh",
        590,
        3,
        (9_000, 71_000),
    ),
    product(
        SiteCategory::Charging,
        "HPC 300 kW",
        "HPC300",
        "kWh",
        690,
        3,
        (12_000, 88_000),
    ),
    product(
        SiteCategory::Charging,
        "Idle time",
        "IDLE",
        "min",
        100,
        0,
        (5, 90),
    ),
    product(
        SiteCategory::Parking,
        "Short-term parking",
        "PARK-S",
        "h",
        2500,
        2,
        (25, 600),
    ),
    product(
        SiteCategory::Parking,
        "Street zone 1",
        "ZONE-1",
        "min",
        45,
        0,
        (10, 240),
    ),
    product(
        SiteCategory::Parking,
        "Day ticket",
        "PARK-D",
        "pc",
        14_000,
        0,
        (1, 2),
    ),
    product(
        SiteCategory::Vending,
        "Coffee",
        "VEN-01",
        "pc",
        2200,
        0,
        (1, 3),
    ),
    product(
        SiteCategory::Vending,
        "Water 0.5 l",
        "VEN-02",
        "pc",
        1500,
        0,
        (1, 4),
    ),
    product(
        SiteCategory::Vending,
        "Vacuum cleaner",
        "VAC",
        "min",
        350,
        0,
        (3, 12),
    ),
];

/// The indices of the idle-time and AdBlue articles, which are sold beside others.
pub(crate) const IDLE_TIME: usize = 8;
pub(crate) const ADBLUE: usize = 4;

struct SitePlan(
    usize,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    CurrencyProfile,
    SiteCategory,
    u64,
);

/// A currency, its price level in thousandths of EUR's, and its VAT in thousandths of a per cent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CurrencyProfile(pub &'static str, pub i64, pub i64);

const DE: CurrencyProfile = CurrencyProfile("EUR", 1000, 19_000);
const FI: CurrencyProfile = CurrencyProfile("EUR", 1040, 25_500);
const PT: CurrencyProfile = CurrencyProfile("EUR", 940, 23_000);
const CH: CurrencyProfile = CurrencyProfile("CHF", 1120, 8_100);
const GB: CurrencyProfile = CurrencyProfile("GBP", 860, 20_000);
const IN: CurrencyProfile = CurrencyProfile("INR", 58_000, 18_000);
const US: CurrencyProfile = CurrencyProfile("USD", 1150, 8_875);

/// Mandator, name, code, zone, street, city, money, trade, weight in traffic.
const SITES: &[SitePlan] = &[
    SitePlan(
        0,
        "Station Nord",
        "BER-01",
        "Europe/Berlin",
        "Seestraße 12",
        "Berlin",
        DE,
        SiteCategory::Fuelling,
        18,
    ),
    SitePlan(
        0,
        "Station Süd",
        "FRB-02",
        "Europe/Berlin",
        "Basler Straße 80",
        "Freiburg",
        DE,
        SiteCategory::Fuelling,
        14,
    ),
    SitePlan(
        0,
        "Ladepark Hafen",
        "HAM-03",
        "Europe/Berlin",
        "Am Kai 5",
        "Hamburg",
        DE,
        SiteCategory::Charging,
        12,
    ),
    SitePlan(
        0,
        "Automaten Markthalle",
        "HEL-04",
        "Europe/Helsinki",
        "Kauppatori 1",
        "Helsinki",
        FI,
        SiteCategory::Vending,
        6,
    ),
    SitePlan(
        1,
        "Tankstelle Limmat",
        "ZRH-01",
        "Europe/Zurich",
        "Limmatstrasse 200",
        "Zürich",
        CH,
        SiteCategory::Fuelling,
        12,
    ),
    SitePlan(
        1,
        "Parkhaus Rhein",
        "BSL-02",
        "Europe/Zurich",
        "Rheingasse 3",
        "Basel",
        CH,
        SiteCategory::Parking,
        10,
    ),
    SitePlan(
        1,
        "Car Park \"The Quay\"",
        "LON-03",
        "Europe/London",
        "12 Quay Street",
        "London",
        GB,
        SiteCategory::Parking,
        8,
    ),
    SitePlan(
        1,
        "Charge Hub North",
        "MAN-04",
        "Europe/London",
        "1 Canal Road",
        "Manchester",
        GB,
        SiteCategory::Charging,
        6,
    ),
    SitePlan(
        2,
        "Highway Fuels",
        "BLR-01",
        "Asia/Kolkata",
        "NH 44, km 530",
        "Bengaluru",
        IN,
        SiteCategory::Fuelling,
        8,
    ),
    SitePlan(
        2,
        "City Garage 9",
        "NYC-02",
        "America/New_York",
        "9 Water Street",
        "New York",
        US,
        SiteCategory::Parking,
        7,
    ),
    SitePlan(
        2,
        "Carregamento Tejo",
        "LIS-03",
        "Europe/Lisbon",
        "Rua do Cais 40",
        "Lisboa",
        PT,
        SiteCategory::Charging,
        5,
    ),
    SitePlan(
        2,
        "Betriebshof West",
        "CGN-04",
        "Europe/Berlin",
        "Werkstraße 7",
        "Köln",
        DE,
        SiteCategory::Fuelling,
        4,
    ),
];

/// A point of service.
#[derive(Debug)]
pub(crate) struct ServicePoint {
    pub id: String,
    pub name: String,
    pub number: i64,
}

/// A terminal.
#[derive(Debug)]
pub(crate) struct SiteTerminal {
    pub name: String,
    pub code: String,
}

/// A site with its devices and points.
#[derive(Debug)]
pub(crate) struct MerchantSite {
    pub id: String,
    pub mandator: u16,
    pub name: &'static str,
    pub code: &'static str,
    pub timezone: &'static str,
    pub zone: TimeZone,
    pub street: &'static str,
    pub city: &'static str,
    pub money: CurrencyProfile,
    pub trade: SiteCategory,
    pub weight: u64,
    pub devices: Vec<SiteTerminal>,
    pub points: Vec<ServicePoint>,
}

/// All mandators, sites and product ids of a seed.
#[derive(Debug)]
pub(crate) struct MerchantDirectory {
    pub mandators: Vec<String>,
    pub sites: Vec<MerchantSite>,
    /// By the index in [`PRODUCTS`].
    pub product_ids: Vec<String>,
}

impl MerchantDirectory {
    /// The map of a seed.
    pub(crate) fn new(seed: u64) -> Result<Self> {
        let mut random = RandomStream::new(seed, u64::MAX);
        let mandators: Vec<String> = (0..3).map(|_| uuid_text(random.uuid())).collect();
        let product_ids = PRODUCTS.iter().map(|_| uuid_text(random.uuid())).collect();
        let mut sites = Vec::with_capacity(SITES.len());
        for SitePlan(mandator, name, code, timezone, street, city, money, trade, weight) in SITES {
            let zone = time_zone(timezone)
                .ok_or_else(|| Error::internal(format!("no time zone is named {timezone}")))?;
            let (point_name, points) = match trade {
                SiteCategory::Fuelling => ("Pump", 8),
                SiteCategory::Charging => ("Charge point", 12),
                SiteCategory::Parking => ("Exit", 4),
                SiteCategory::Vending => ("Machine", 5),
            };
            let device = |n| SiteTerminal {
                name: format!("Terminal {n}"),
                code: format!("{code}-T{n}"),
            };
            sites.push(MerchantSite {
                id: uuid_text(random.uuid()),
                mandator: *mandator as u16,
                name,
                code,
                timezone,
                zone,
                street,
                city,
                money: *money,
                trade: *trade,
                weight: *weight,
                devices: (1..=2).map(device).collect(),
                points: (1..=points)
                    .map(|number| ServicePoint {
                        id: uuid_text(random.uuid()),
                        name: format!("{point_name} {number}"),
                        number,
                    })
                    .collect(),
            });
        }
        Ok(Self {
            mandators,
            sites,
            product_ids,
        })
    }
}
