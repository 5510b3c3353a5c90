//! The synthetic world: sites, products, ways to pay, and how many sales each source has in each month.
//!
//! Invariant: everything is a pure function of the seed and of the number of sales. Sales of a source are numbered in the order of their time, so that
//! the rows of a month can be made without those of any other.
//!
//! ```text
//!   sales in all --share of the source, days of the month, growth--> sales of a source and month
//!   place among these --odds of the hours--> instant, later for each later number
//!   seed, source, number --> everything else of a sale
//! ```

use tillhouse_model::calendar::{DAY, HOUR, days_from_civil, days_in};

/// The sources, each of one pipeline of the same name.
pub(crate) const SOURCES: [&str; 4] = ["bemo", "hecone", "pace", "smartnow"];
/// Index of the source whose sales change late.
pub(crate) const HECONE: usize = 1;
/// Index of the source whose sales have plain numbers, and shifts.
pub(crate) const SMARTNOW: usize = 3;
/// Percent of the sales by source.
const SHARES: [u64; 4] = [15, 40, 15, 30];
/// Sites by source: 500.
const SITES: [usize; 4] = [75, 200, 75, 150];
/// Products by source: 60.
const PRODUCTS: [usize; 4] = [8, 24, 8, 20];
/// Tenants of each source.
pub(crate) const TENANTS: usize = 5;
/// Devices of each site, and points of each device.
pub(crate) const DEVICES: usize = 4;
pub(crate) const POINTS: usize = 2;
/// Combinations of payment labels.
const PAYMENTS: usize = 40;
/// The years of sales.
pub(crate) const FIRST_YEAR: i32 = 2015;
pub(crate) const YEARS: i32 = 10;

/// Currency, the zone of its sites, the price of what costs 100 elsewhere, and its smallest amount in ten-thousandths.
pub(crate) struct Currency {
    pub(crate) code: &'static str,
    pub(crate) zone: &'static str,
    pub(crate) price: i64,
    pub(crate) smallest: i64,
}

/// Six currencies. The clocks of their zones change on whole hours.
pub(crate) const CURRENCIES: [Currency; 6] = [
    currency("EUR", "Europe/Berlin", 100, 100),
    currency("CHF", "Europe/Zurich", 105, 100),
    currency("GBP", "Europe/London", 90, 100),
    currency("PLN", "Europe/Warsaw", 430, 100),
    currency("USD", "America/New_York", 110, 100),
    currency("JPY", "Asia/Tokyo", 16_000, 10_000),
];
/// Currencies of twelve sites in a row.
const OF_SITES: [usize; 12] = [0, 0, 1, 0, 2, 0, 0, 3, 1, 0, 4, 5];

const fn currency(code: &'static str, zone: &'static str, price: i64, smallest: i64) -> Currency {
    Currency {
        code,
        zone,
        price,
        smallest,
    }
}

/// Odds of the hours of a UTC day.
const ODDS: [u64; 24] = [
    3, 2, 2, 3, 6, 14, 26, 36, 36, 30, 28, 30, 32, 30, 28, 32, 38, 40, 34, 24, 16, 10, 7, 4,
];

/// A site.
pub(crate) struct Site {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) tenant: String,
    /// Index in [`CURRENCIES`].
    pub(crate) currency: usize,
    pub(crate) devices: Vec<String>,
    pub(crate) points: Vec<String>,
}

/// A product.
pub(crate) struct Product {
    pub(crate) key: String,
    pub(crate) code: String,
    pub(crate) name: String,
    pub(crate) category: &'static str,
    pub(crate) unit: &'static str,
    /// Price of a unit in millionths.
    pub(crate) price: i64,
    /// Least quantity, the most beyond it, and the steps between, in thousandths.
    pub(crate) quantity: (i64, u64, i64),
}

/// One way to pay.
pub(crate) struct PaymentLabels {
    pub(crate) kind: &'static str,
    pub(crate) medium: &'static str,
    pub(crate) scheme: &'static str,
    pub(crate) entry_mode: &'static str,
    pub(crate) function: &'static str,
    pub(crate) method: &'static str,
}

/// The sales of one source in one month.
#[derive(Clone)]
pub(crate) struct MonthPlan {
    /// Index in [`SOURCES`].
    pub(crate) source: usize,
    /// As the partition is named.
    pub(crate) month: String,
    /// The month's first instant, microseconds UTC.
    start: i64,
    /// Sum of the odds of the hours up to and with each.
    odds: Vec<u64>,
    /// Number of the first sale.
    pub(crate) first: u64,
    /// Number of sales.
    pub(crate) sales: u64,
}

impl MonthPlan {
    pub(crate) fn new(source: usize, (year, month): (i32, u32), first: u64, sales: u64) -> Self {
        let day = days_from_civil(year, month, 1);
        let mut sum = 0;
        let hours = (0..i64::from(days_in(year, month)) * 24).map(|hour| {
            // 1970 began on a Thursday.
            let weekday = (day + hour / 24 + 3).rem_euclid(7);
            let of_day = if weekday >= 5 { 7 } else { 10 };
            sum += ODDS[usize::try_from(hour % 24).unwrap()] * of_day;
            sum
        });
        Self {
            source,
            month: format!("{year:04}-{month:02}"),
            start: day * DAY,
            odds: hours.collect(),
            first,
            sales,
        }
    }

    /// Instant of the sale at a place in the month, microseconds UTC: never earlier than that of the place before.
    pub(crate) fn instant(&self, place: u64, random: u64) -> i64 {
        const PARTS: u128 = 1 << 20;
        let all = u128::from(*self.odds.last().unwrap());
        let within = u128::from(random) % PARTS;
        let at = (u128::from(place) * PARTS + within) * all / u128::from(self.sales);
        let hour = self
            .odds
            .partition_point(|sum| u128::from(*sum) * PARTS <= at);
        let before = match hour {
            0 => 0,
            hour => self.odds[hour - 1],
        };
        let odds = u128::from(self.odds[hour] - before) * PARTS;
        let passed = (at - u128::from(before) * PARTS) * u128::try_from(HOUR).unwrap() / odds;
        self.start + i64::try_from(hour).unwrap() * HOUR + i64::try_from(passed).unwrap()
    }
}

/// The world of a seed.
pub(crate) struct World {
    pub(crate) seed: u64,
    /// By source.
    pub(crate) sites: [Vec<Site>; 4],
    /// By source.
    pub(crate) products: [Vec<Product>; 4],
    pub(crate) payments: Vec<PaymentLabels>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            sites: std::array::from_fn(sites),
            products: std::array::from_fn(products),
            payments: (0..PAYMENTS).map(payment).collect(),
        }
    }

    /// Random numbers of one sale.
    pub(crate) fn draws(&self, source: usize, number: u64) -> Draws {
        Draws(mixed(
            self.seed ^ mixed(number ^ ((source as u64 + 1) << 56)),
        ))
    }
}

/// Plan of all months by source: so many sales in ten years, to the last one.
pub(crate) fn months(sales: u64) -> [Vec<MonthPlan>; 4] {
    let weights: Vec<(usize, i32, u32, u64)> = (0..SOURCES.len())
        .flat_map(|source| {
            (0..YEARS).flat_map(move |year| (1..=12).map(move |month| (source, year, month)))
        })
        .map(|(source, year, month)| {
            let growth = 80 + 4 * u64::try_from(year).unwrap();
            let days = u64::from(days_in(FIRST_YEAR + year, month));
            (source, year, month, SHARES[source] * days * growth)
        })
        .collect();
    let all: u128 = weights.iter().map(|(.., weight)| u128::from(*weight)).sum();
    let up_to = |weight: u128| u64::try_from(u128::from(sales) * weight / all).unwrap();
    let mut plans: [Vec<MonthPlan>; 4] = Default::default();
    let (mut sum, mut first) = (0_u128, [0_u64; 4]);
    for (source, year, month, weight) in weights {
        let before = up_to(sum);
        sum += u128::from(weight);
        let count = up_to(sum) - before;
        if count > 0 {
            let at = (FIRST_YEAR + year, month);
            plans[source].push(MonthPlan::new(source, at, first[source], count));
            first[source] += count;
        }
    }
    plans
}

fn sites(source: usize) -> Vec<Site> {
    let name = SOURCES[source];
    let others: usize = SITES[..source].iter().sum();
    let site = |at: usize| {
        let id = format!("S{:04}", others + at);
        let key = format!("{name}:{id}");
        let devices: Vec<String> = (0..DEVICES)
            .map(|device| format!("{key}/{device}"))
            .collect();
        let points = (0..DEVICES * POINTS)
            .map(|point| format!("{}/{}", devices[point / POINTS], point % POINTS))
            .collect();
        Site {
            id,
            key,
            tenant: format!("{name}-{}", at % TENANTS),
            currency: OF_SITES[at % OF_SITES.len()],
            devices,
            points,
        }
    };
    (0..SITES[source]).map(site).collect()
}

fn products(source: usize) -> Vec<Product> {
    // Category, unit, what it is called, price in millionths, quantity in thousandths.
    type Kind = (
        &'static str,
        &'static str,
        &'static str,
        i64,
        (i64, u64, i64),
    );
    const FUEL: Kind = ("fuelling", "l", "Fuel", 1_559_000, (4_000, 60_000, 10));
    const POWER: Kind = ("charging", "kWh", "Power", 490_000, (2_000, 70_000, 1));
    const PARKING: Kind = ("parking", "h", "Parking", 2_000_000, (250, 9_000, 250));
    const SHOP: Kind = ("other", "pc", "Wash", 6_900_000, (1_000, 2_000, 1_000));
    const SNACK: Kind = ("vending", "pc", "Snack", 1_800_000, (1_000, 3_000, 1_000));
    let name = SOURCES[source];
    let product = |at: usize| {
        let (category, unit, word, price, quantity) = match (source, at % 4) {
            (0, _) => POWER,
            (HECONE, 0) => FUEL,
            (HECONE, 1) => POWER,
            (HECONE, 2) => PARKING,
            (HECONE, _) => SHOP,
            (SMARTNOW, _) => SNACK,
            _ => FUEL,
        };
        Product {
            key: format!("{name}:P{at:02}"),
            code: format!("{at:03}"),
            name: format!("{word} {name} {at:02}"),
            category,
            unit,
            price: price + 37_000 * i64::try_from(at).unwrap(),
            quantity,
        }
    };
    (0..PRODUCTS[source]).map(product).collect()
}

fn payment(at: usize) -> PaymentLabels {
    const KINDS: [(&str, &str); 8] = [
        ("PSPCard", "card"),
        ("FleetCard", "card"),
        ("CustomerCard", "card"),
        ("App", "app"),
        ("Card", "card"),
        ("Cash", "cash"),
        ("Hubject", "account"),
        ("Voucher", "voucher"),
    ];
    const MEDIA: [&str; 5] = ["Card", "Cash", "RFID", "App", "Remote"];
    const SCHEMES: [&str; 11] = [
        "Visa",
        "Mastercard",
        "Maestro",
        "girocard",
        "Amex",
        "DKV",
        "UTA",
        "Routex",
        "QR",
        "InApp",
        "RFID",
    ];
    const MODES: [&str; 5] = ["Contactless", "Chip", "Remote", "Swipe", "Manual"];
    const FUNCTIONS: [&str; 3] = ["SingleCard", "DriverCard", "VehicleCard"];
    // Kind and medium tell all forty apart.
    let (kind, method) = KINDS[at % 8];
    PaymentLabels {
        kind,
        medium: MEDIA[at / 8],
        scheme: SCHEMES[at * 5 % 11],
        entry_mode: MODES[at * 3 % 5],
        function: FUNCTIONS[at % 3],
        method,
    }
}

/// Random numbers, one after the other.
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.0)
    }

    /// A number below `end`, each as likely as the others.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A place in a list, earlier ones more likely.
    pub(crate) fn place(&mut self, length: usize) -> usize {
        let length = length as u64;
        let place = self.below(length).min(self.below(length));
        usize::try_from(place).unwrap()
    }
}

/// A number that has nothing to do with `seed` to look at (splitmix64's last step).
pub(crate) fn mixed(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
