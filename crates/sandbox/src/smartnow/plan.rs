//! Plan of SmartNow's machines, made beforehand: sales, payments, corrections, logs, shifts,
//! vouchers.
//!
//! Invariant: a plan is a pure function of the world, the stretch and the number of sales; the clock only decides how much of it
//! shows. Ids count up in the order in which the provider learns of things, as a database's do.
//!
//! ```text
//!   occurred .... created ........ paid ............. corrected
//!                 sale appears     payment appears,   price changes, in the sale
//!                                  sale changes       and in its payment
//! ```
//!
//! Sales of the stretch are all known by its end; half a per cent more arrive up to 30 hours after it. A few happened months before
//! it, so that there is an archive.

use super::locations::{self, ITEMS, SmartNowItem, SmartNowLocation, SmartNowMachine};
use super::vouchers::{self, VoucherPlan};
use crate::random::RandomStream;
use crate::world::{VisitPurpose, World, draw_instant};
use jiff::Timestamp;
use jiff::civil::Time;
use std::sync::Arc;
use tillhouse_model::Result;

/// Payment method of a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SmartNowPaymentMethod {
    Cash,
    Card,
    Code,
    Virtual,
    Token,
}

impl SmartNowPaymentMethod {
    /// The document's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Cash => "cash",
            Self::Card => "card",
            Self::Code => "code",
            Self::Virtual => "virtual",
            Self::Token => "token",
        }
    }
}

/// A sale. Times are Unix seconds, prices minor units.
#[derive(Debug)]
pub(crate) struct SmartNowSale {
    pub id: i64,
    /// The number that the machine gave it.
    pub remote: i64,
    /// Indices of its machine and location.
    pub machine: usize,
    pub location: usize,
    pub item: &'static SmartNowItem,
    pub occurred: i64,
    pub created: i64,
    /// Price at first, and without a discount.
    pub price: i64,
    pub list_price: i64,
    /// When the price was corrected, and to what.
    pub correction: Option<(i64, i64)>,
    /// Means of payment, and when the payment was reported.
    pub paid: (SmartNowPaymentMethod, i64),
    /// A second payment.
    pub paid_too: Option<(SmartNowPaymentMethod, i64)>,
    /// When somebody excluded its first payment from the reports.
    pub excluded: Option<i64>,
    /// The vehicle whose driver bought it.
    pub vehicle: Option<usize>,
    /// `salestype`: 0, or one of [`crate::SALES_TYPES`].
    pub sales_type: i64,
}

/// A payment, found by its sale.
#[derive(Debug)]
pub(crate) struct SmartNowPayment {
    pub id: i64,
    pub sale: usize,
    pub is_second: bool,
    pub created: i64,
}

/// A log entry that a machine reports.
#[derive(Debug)]
pub(crate) struct SmartNowLog {
    pub id: i64,
    pub remote: i64,
    pub machine: usize,
    /// The index in [`CODES`].
    pub code: usize,
    pub occurred: i64,
    pub created: i64,
    pub resolved: Option<i64>,
}

/// A shift of a location: from one counting of the money to the next.
#[derive(Debug)]
pub(crate) struct SmartNowShift {
    pub id: i64,
    pub location: usize,
    pub opened: i64,
    pub closed: i64,
    pub previous: Option<i64>,
}

/// Code, type, whether it can be resolved, and the frequency.
pub(crate) const CODES: [(&str, i64, bool, u64); 6] = [
    ("CM_OFFLINE", 3, true, 20),
    ("CM_ONLINE", 1, false, 20),
    ("CM_REBOOT", 1, false, 10),
    ("CLEANING", 1, false, 25),
    ("ED014", 2, true, 15),
    ("ED017", 3, true, 10),
];

/// Plan of all sales, payments, logs, shifts and vouchers of a world.
#[derive(Debug)]
pub(crate) struct SmartNowPlan {
    pub world: Arc<World>,
    pub since: i64,
    pub until: i64,
    pub locations: Vec<SmartNowLocation>,
    pub machines: Vec<SmartNowMachine>,
    pub sales: Vec<SmartNowSale>,
    pub payments: Vec<SmartNowPayment>,
    pub logs: Vec<SmartNowLog>,
    pub shifts: Vec<SmartNowShift>,
    pub vouchers: VoucherPlan,
    incidents: bool,
}

/// The first ids, less one. Tests insert before them.
const SALES: i64 = 3_184_000;
const PAYMENTS: i64 = 3_287_000;
const LOGS: i64 = 5_801_000;
const SHIFTS: i64 = 700;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// The longest a sale stays unknown.
const LATEST: i64 = 30 * HOUR;
/// When the old sales happened, before the stretch.
const OLD: (i64, i64) = (120 * DAY, 95 * DAY);

/// Time of a sale: within the stretch, late, or before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SaleTiming {
    Usual,
    Straggler,
    Old,
}

impl SmartNowPlan {
    /// The plan of a world with `count` sales in its stretch. Errors with [`tillhouse_model::ErrorKind::Config`] when the machine
    /// has no time zone data.
    pub(crate) fn new(world: Arc<World>, count: u64, incidents: bool) -> Result<Self> {
        let (since, until) = (world.since, world.until.max(world.since + 1));
        let mut plan = Self {
            since,
            until,
            locations: locations::locations()?,
            machines: locations::machines(since, until),
            sales: Vec::new(),
            payments: Vec::new(),
            logs: Vec::new(),
            shifts: Vec::new(),
            vouchers: VoucherPlan::default(),
            incidents,
            world,
        };
        plan.sales = plan.make_sales(count);
        plan.payments = plan.make_payments();
        plan.logs = plan.make_logs(count);
        plan.shifts = plan.make_shifts();
        plan.vouchers = vouchers::make_vouchers(&plan, count);
        Ok(plan)
    }

    /// The middle of the stretch, when prices rise.
    pub(crate) fn middle(&self) -> i64 {
        self.since + (self.until - self.since) / 2
    }

    /// Price of an item at a place then.
    pub(crate) fn price(
        &self,
        location: &SmartNowLocation,
        item: &SmartNowItem,
        second: i64,
    ) -> i64 {
        let rises = matches!(item.plu, 1 | 41) && second >= self.middle();
        location.price(if rises {
            item.cents * 11 / 10
        } else {
            item.cents
        })
    }

    fn make_sales(&self, count: u64) -> Vec<SmartNowSale> {
        let coffees: Vec<usize> = (0..self.world.visits().len())
            .filter(|index| self.world.visits()[*index].purpose() == VisitPurpose::Coffee)
            .collect();
        let stragglers = count.div_ceil(200);
        let old = if count == 0 { 0 } else { (count / 25).max(12) };
        let mut sales: Vec<(u64, SmartNowSale)> = (0..count + stragglers + old)
            .map(|number| {
                let turn = match number {
                    _ if number < count => SaleTiming::Usual,
                    _ if number < count + stragglers => SaleTiming::Straggler,
                    _ => SaleTiming::Old,
                };
                let visit = coffees
                    .get(number as usize)
                    .copied()
                    .filter(|_| turn == SaleTiming::Usual);
                (number, self.sale(number, turn, visit))
            })
            .collect();
        sales.sort_unstable_by_key(|(number, sale)| (sale.created, *number));
        let numbered = sales.into_iter().zip(SALES + 1..);
        numbered
            .map(|((number, sale), id)| SmartNowSale {
                id,
                remote: 40_000_000 + number as i64,
                ..sale
            })
            .collect()
    }

    fn sale(&self, number: u64, turn: SaleTiming, visit: Option<usize>) -> SmartNowSale {
        let mut random = self.world.stream(2, number);
        let visit = visit.map(|index| &self.world.visits()[index]);
        let (machine, occurred) = match visit {
            Some(visit) => (self.coffee_machine(visit.site), visit.at),
            None => self.draw_machine(turn, &mut random),
        };
        let place = &self.machines[machine];
        let location = &self.locations[place.location];
        let items: Vec<&'static SmartNowItem> = place.items().collect();
        let item = if visit.is_some() {
            &ITEMS[0]
        } else {
            *random.pick(&items)
        };
        let list_price = self.price(location, item, occurred);
        let lag = match random.below(1000) {
            0..=29 => random.between(HOUR, LATEST),
            30..=149 => random.between(120, 900),
            _ => random.between(5, 120),
        };
        let created = match turn {
            SaleTiming::Straggler => self.until + lag.max(HOUR),
            // Whatever happens in the stretch is known by its end.
            SaleTiming::Usual => (occurred + lag).min(self.until - 1).max(occurred),
            SaleTiming::Old => occurred + lag,
        };
        let method = if visit.is_some() {
            SmartNowPaymentMethod::Token
        } else {
            draw_method(location.currency, &mut random)
        };
        let price = match method {
            SmartNowPaymentMethod::Code => list_price - list_price / 2,
            SmartNowPaymentMethod::Virtual if random.chance(300) => 0,
            _ => list_price,
        };
        let late = random.chance(60);
        let delay = random.between(5 * 60, 3 * DAY);
        let paid_at = if late { created + delay } else { created };
        let split = random.chance(30) && price > 1 && method != SmartNowPaymentMethod::Code;
        let correction = (random.chance(15) && price > 1).then(|| {
            (
                created + random.between(HOUR, 3 * DAY),
                price - price * random.between(10, 60) / 100,
            )
        });
        let excluded = (random.chance(6) && method == SmartNowPaymentMethod::Cash)
            .then(|| paid_at + random.between(2 * HOUR, 2 * DAY));
        SmartNowSale {
            id: 0,
            remote: 0,
            machine,
            location: place.location,
            item,
            occurred,
            created,
            price,
            list_price,
            correction,
            paid: (method, paid_at),
            paid_too: split.then(|| (SmartNowPaymentMethod::Card, paid_at + random.between(0, 40))),
            excluded,
            vehicle: visit.map(|visit| visit.vehicle),
            sales_type: self.sales_type(number, random.chance(4)),
        }
    }

    /// Type of a sale: a test, or in a world with incidents one that was voided or refunded.
    fn sales_type(&self, number: u64, is_test: bool) -> i64 {
        match number % 120 {
            _ if is_test => 1,
            40 if self.incidents => 2,
            80 if self.incidents => 3,
            _ => 0,
        }
    }

    /// The machine that serves a coffee stop of the world: the first at the location that the stop is.
    fn coffee_machine(&self, stop: usize) -> usize {
        let stops = (0..self.world.sites.len())
            .filter(|index| self.world.sites[*index].purpose == VisitPurpose::Coffee);
        let location = stops
            .into_iter()
            .position(|index| index == stop)
            .unwrap_or(0);
        self.machines
            .iter()
            .position(|machine| machine.location == location)
            .unwrap_or(0)
    }

    /// A machine and an instant at which it stands there.
    fn draw_machine(&self, turn: SaleTiming, random: &mut RandomStream) -> (usize, i64) {
        let stretch = match turn {
            SaleTiming::Usual => (self.since, self.until),
            SaleTiming::Straggler => (self.since.max(self.until - LATEST), self.until),
            SaleTiming::Old => (self.since - OLD.0, self.since - OLD.1),
        };
        let total: u64 = self.machines.iter().map(|machine| machine.weight).sum();
        for _ in 0..8 {
            let mut drawn = random.below(total);
            let index = self.machines.iter().position(|machine| {
                let found = drawn < machine.weight;
                drawn = drawn.saturating_sub(machine.weight);
                found
            });
            let index = index.unwrap_or(0);
            let machine = &self.machines[index];
            let at = draw_instant(&self.locations[machine.location].zone, stretch, random);
            if machine.is_installed_at(at) {
                return (index, at);
            }
        }
        (0, draw_instant(&self.locations[0].zone, stretch, random))
    }

    fn make_payments(&self) -> Vec<SmartNowPayment> {
        let first = self
            .sales
            .iter()
            .enumerate()
            .map(|(sale, s)| (s.paid.1, sale, false));
        let second = self
            .sales
            .iter()
            .enumerate()
            .filter_map(|(sale, s)| Some((s.paid_too?.1, sale, true)));
        let mut all: Vec<(i64, usize, bool)> = first.chain(second).collect();
        all.sort_unstable();
        let numbered = all.into_iter().zip(PAYMENTS + 1..);
        numbered
            .map(|((created, sale, is_second), id)| SmartNowPayment {
                id,
                sale,
                is_second,
                created,
            })
            .collect()
    }

    fn make_logs(&self, count: u64) -> Vec<SmartNowLog> {
        if count == 0 {
            return Vec::new();
        }
        let (usual, old) = (count / 5 + 40, count / 100 + 6);
        let mut logs: Vec<(u64, SmartNowLog)> = (0..usual + old)
            .map(|number| (number, self.log(number, number >= usual)))
            .collect();
        logs.sort_unstable_by_key(|(number, log)| (log.created, *number));
        let numbered = logs.into_iter().zip(LOGS + 1..);
        numbered
            .map(|((number, log), id)| SmartNowLog {
                id,
                remote: 89_000_000 + number as i64,
                ..log
            })
            .collect()
    }

    fn log(&self, number: u64, is_old: bool) -> SmartNowLog {
        let mut random = self.world.stream(3, number);
        let (machine, occurred) = self.draw_machine(
            if is_old {
                SaleTiming::Old
            } else {
                SaleTiming::Usual
            },
            &mut random,
        );
        let mut drawn = random.below(CODES.iter().map(|code| code.3).sum());
        let code = CODES.iter().position(|code| {
            let found = drawn < code.3;
            drawn = drawn.saturating_sub(code.3);
            found
        });
        let code = code.unwrap_or(0);
        let lag = if random.chance(30) {
            random.between(600, LATEST)
        } else {
            random.between(1, 60)
        };
        let length = if random.chance(60) {
            random.between(DAY, 20 * DAY)
        } else {
            random.between(300, 6 * HOUR)
        };
        let resolved = (CODES[code].2 && random.chance(850)).then_some(occurred + lag + length);
        let created = if is_old {
            occurred + lag
        } else {
            (occurred + lag).min(self.until - 1).max(occurred)
        };
        SmartNowLog {
            id: 0,
            remote: 0,
            machine,
            code,
            occurred,
            created,
            resolved,
        }
    }

    /// Shifts follow one another at every location and close at ten in the evening, until two months after the stretch.
    fn make_shifts(&self) -> Vec<SmartNowShift> {
        let mut all = Vec::new();
        for (location, place) in self.locations.iter().enumerate() {
            let mut opened = self.since - DAY;
            let mut date = place
                .zone
                .to_datetime(Timestamp::from_second(opened).unwrap_or_default())
                .date();
            let evening = Time::constant(22, 0, 0, 0);
            while opened < self.until + 60 * DAY {
                let closed = date.to_datetime(evening).to_zoned(place.zone.clone());
                let closed = closed.map_or(opened + DAY, |closed| closed.timestamp().as_second());
                date = date.saturating_add(jiff::Span::new().days(1));
                if closed > opened {
                    all.push(SmartNowShift {
                        id: 0,
                        location,
                        opened,
                        closed,
                        previous: None,
                    });
                    opened = closed;
                }
            }
        }
        all.sort_unstable_by_key(|shift| (shift.opened, shift.location));
        let mut latest = vec![None; self.locations.len()];
        for (shift, id) in all.iter_mut().zip(SHIFTS + 1..) {
            (shift.id, shift.previous) = (id, latest[shift.location].replace(id));
        }
        all
    }
}

fn draw_method(currency: &str, random: &mut RandomStream) -> SmartNowPaymentMethod {
    // Vouchers exist in these currencies only.
    let has_vouchers = matches!(currency, "EUR" | "CHF" | "GBP");
    match random.below(100) {
        0..=26 => SmartNowPaymentMethod::Cash,
        27..=74 => SmartNowPaymentMethod::Card,
        75..=82 if has_vouchers => SmartNowPaymentMethod::Code,
        75..=90 => SmartNowPaymentMethod::Virtual,
        _ => SmartNowPaymentMethod::Token,
    }
}

impl SmartNowSale {
    /// Price as known when the clock stands at `now` (microseconds).
    pub(crate) fn price_at(&self, now: i64) -> i64 {
        self.correction
            .filter(|(at, _)| is_past(*at, now))
            .map_or(self.price, |(_, price)| price)
    }

    /// When the provider last changed it, as of `now`.
    pub(crate) fn updated_at(&self, now: i64) -> i64 {
        let turns = [
            Some(self.paid.1),
            self.paid_too.map(|paid| paid.1),
            self.correction.map(|(at, _)| at),
        ];
        turns
            .into_iter()
            .flatten()
            .filter(|at| is_past(*at, now))
            .fold(self.created, i64::max)
    }

    /// Number of its payments that are known by `now`.
    pub(crate) fn payments_at(&self, now: i64) -> i64 {
        [Some(self.paid), self.paid_too]
            .into_iter()
            .flatten()
            .filter(|(_, at)| is_past(*at, now))
            .count() as i64
    }
}

/// Tests whether a second lies before the clock; an instant that equals the clock has not
/// happened yet.
pub(crate) fn is_past(second: i64, now: i64) -> bool {
    second.saturating_mul(1_000_000) < now
}
