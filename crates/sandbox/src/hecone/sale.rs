//! One sale's fate: what is bought where, when each of its states begins, and how it ends.
//!
//! Invariant: a plan is a pure function of the world's seed and the sale's number; the clock only decides how much of it shows.
//!
//! ```text
//!   start ........ release ........ done ............. paid          arrival (late ones only)
//!   created        pending          consumed           completed
//!                     `-> declined, error   `-> declined (also where a second card then paid), error; or never paid
//! ```

use super::sites::{ADBLUE, CurrencyProfile, IDLE_TIME, MerchantDirectory, PRODUCTS, SiteCategory};
use super::traffic::SiteTraffic;
use crate::decimal::Decimal;
use crate::random::RandomStream;

/// Outcome of a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SaleOutcome {
    Paid,
    /// Refused when it should have been released.
    Refused,
    /// Consumed, then the payment was refused.
    PaymentRefused,
    /// The device failed before anything was consumed.
    Failed,
    /// Consumed, then the payment failed.
    PaymentFailed,
    /// Consumed; one card was refused, a second one paid. The document calls the sale declined all the same.
    PaidByAnother,
    /// Consumed and never paid: a drive-off, an open bill.
    NeverPaid,
    /// Started and never released.
    NeverReleased,
    /// Released and never finished.
    NeverFinished,
}

/// Progress of a sale at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SaleStage {
    Created,
    Pending,
    Consumed,
    Closed,
}

/// A line of the sale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HecOneSaleLine {
    /// The index in [`PRODUCTS`].
    pub product: usize,
    pub quantity: Decimal,
    pub unit_price: Decimal,
    pub amount: Decimal,
}

/// Plan of a sale. Instants are Unix seconds.
#[derive(Debug)]
pub(crate) struct HecOneSale {
    pub id: u128,
    pub site: usize,
    pub start: i64,
    pub release: i64,
    pub done: i64,
    pub paid: i64,
    /// When the provider learns of it: later than `start` only for late ones.
    pub arrival: i64,
    pub outcome: SaleOutcome,
    pub free: bool,
    pub named_currency: bool,
    /// True if the till writes the invoice's time without its offset.
    pub has_no_offset: bool,
    pub lines: Vec<HecOneSaleLine>,
    pub total: Decimal,
    /// The stream for everything that is decoration.
    pub details: RandomStream,
}

/// Sites, traffic and number of the sales of the emulated HecOne.
#[derive(Debug)]
pub(crate) struct HecOneWorld {
    pub seed: u64,
    /// Fleets and their vehicles, which all APIs share.
    pub shared_world: std::sync::Arc<crate::world::World>,
    pub places: MerchantDirectory,
    pub traffic: SiteTraffic,
    /// Sales that are known by `until`.
    pub transactions: u64,
    /// Sales from before `until` that arrive after it.
    pub stragglers: u64,
    /// First and first-no-longer second of the stretch.
    pub since: i64,
    pub until: i64,
    /// True for a world with refunds, misfits and a renamed site.
    pub incidents: bool,
}

/// The longest a late sale stays unknown.
const LATEST: i64 = 30 * 3600;
/// Of so many numbers one is a refund.
const REFUNDS: u64 = 170;
/// Records that do not fit, in a world of any size.
const MISFITS: u64 = 4;
/// Site that gets another name, by its index, and the name.
const RENAMED: (usize, &str) = (1, "Station Freiburg Süd");

impl HecOneWorld {
    /// The name that a site has when a sale begins.
    pub(crate) fn site_name(&self, sale: &HecOneSale) -> &'static str {
        let middle = self.since + (self.until - self.since) / 2;
        match RENAMED {
            (site, name) if self.incidents && site == sale.site && sale.start >= middle => name,
            _ => self.places.sites[sale.site].name,
        }
    }

    /// True if a sale of that number is a refund.
    fn is_refund(&self, number: u64) -> bool {
        self.incidents && number % REFUNDS == REFUNDS / 2
    }

    /// True if a sale of that number does not fit the contract: its invoice's time has no offset.
    fn is_misfit(&self, number: u64) -> bool {
        let every = (self.transactions / MISFITS).max(1);
        self.incidents && number < self.transactions && number % every == every / 2
    }

    /// The plan of sale `number`, below `transactions + stragglers`.
    pub(crate) fn sale(&self, number: u64) -> HecOneSale {
        let mut random = RandomStream::new(self.seed, number * 2);
        let (site, drawn) = self.traffic.draw(&mut random);
        let straggler = number >= self.transactions;
        let start = if straggler {
            random.between(self.since.max(self.until - LATEST), self.until - 1)
        } else {
            drawn
        };
        let place = &self.places.sites[site];
        let id = random.uuid();

        let product = main_product(place.trade, &mut random);
        let free = match place.trade {
            SiteCategory::Parking => random.chance(30),
            SiteCategory::Charging => random.chance(10),
            _ => false,
        };
        let mut lines = vec![line(product, place.money, free, &mut random)];
        let beside = random.below(1000);
        if !free {
            match place.trade {
                SiteCategory::Fuelling if beside < 110 && product != ADBLUE => {
                    lines.push(line(ADBLUE, place.money, false, &mut random));
                }
                SiteCategory::Fuelling if beside > 950 => {
                    lines.push(line(12, place.money, false, &mut random))
                }
                SiteCategory::Charging if beside < 150 => {
                    lines.push(line(IDLE_TIME, place.money, false, &mut random))
                }
                SiteCategory::Vending if beside < 200 => {
                    lines.push(line(13, place.money, false, &mut random))
                }
                _ => {}
            }
        }
        let is_refund = self.is_refund(number) && !free;
        let is_misfit = self.is_misfit(number);
        if is_refund {
            for line in &mut lines {
                line.quantity = Decimal::ZERO.minus(line.quantity);
                line.amount = Decimal::ZERO.minus(line.amount);
            }
        }
        let total = lines.iter().map(|l| l.amount).sum();

        let release = start + random.between(12, 55);
        let done = release + dwell(place.trade, &lines[0], &mut random);
        let slow_payer = random.chance(40);
        let paid = done
            + if slow_payer {
                random.between(8 * 3600, 44 * 3600)
            } else {
                random.between(2, 90)
            };
        let outcome = match random.below(1000) {
            _ if free || is_refund || is_misfit => SaleOutcome::Paid,
            0..=14 => SaleOutcome::Refused,
            15..=22 => SaleOutcome::PaymentRefused,
            23..=26 => SaleOutcome::Failed,
            27..=29 => SaleOutcome::PaymentFailed,
            30..=39 => SaleOutcome::NeverPaid,
            40..=44 => SaleOutcome::NeverReleased,
            45..=52 => SaleOutcome::NeverFinished,
            53..=60 => SaleOutcome::PaidByAnother,
            _ => SaleOutcome::Paid,
        };
        let late = random.chance(6);
        let delay = random.between(300, LATEST);
        let arrival = match (straggler, late) {
            (true, _) => self.until + delay,
            // Whatever is planned for this stretch is known by its end.
            (false, true) => (paid + delay).min(self.until - 1).max(start),
            (false, false) => start,
        };
        HecOneSale {
            id,
            site,
            start,
            release,
            done,
            paid,
            arrival,
            outcome,
            free,
            named_currency: !random.chance(2),
            has_no_offset: is_misfit,
            lines,
            total,
            details: RandomStream::new(self.seed, number * 2 + 1),
        }
    }
}

impl HecOneSale {
    /// Stage of the sale at `clock` (microseconds), `None` before anybody knows of it; and when it
    /// changes next (Unix seconds). An instant that equals the clock has not happened yet.
    pub(crate) fn at(&self, clock: i64) -> (Option<SaleStage>, Option<i64>) {
        let past = |second: i64| second.saturating_mul(1_000_000) < clock;
        let mut turns = vec![(self.start, SaleStage::Created)];
        match self.outcome {
            SaleOutcome::NeverReleased => {}
            SaleOutcome::Refused | SaleOutcome::Failed => {
                turns.push((self.release, SaleStage::Closed))
            }
            SaleOutcome::NeverFinished => turns.push((self.release, SaleStage::Pending)),
            SaleOutcome::NeverPaid => turns.extend([
                (self.release, SaleStage::Pending),
                (self.done, SaleStage::Consumed),
            ]),
            _ => turns.extend([
                (self.release, SaleStage::Pending),
                (self.done, SaleStage::Consumed),
                (self.paid, SaleStage::Closed),
            ]),
        }
        if !past(self.arrival) {
            return (None, Some(self.arrival));
        }
        let stage = turns
            .iter()
            .rev()
            .find(|(second, _)| past(*second))
            .map(|(_, stage)| *stage);
        (
            stage,
            turns
                .iter()
                .map(|(second, _)| *second)
                .find(|second| !past(*second)),
        )
    }
}

fn main_product(trade: SiteCategory, random: &mut RandomStream) -> usize {
    let drawn = random.below(100);
    match (trade, drawn) {
        (SiteCategory::Fuelling, 0..45) => 0,
        (SiteCategory::Fuelling, 45..83) => 1,
        (SiteCategory::Fuelling, 83..92) => 2,
        (SiteCategory::Fuelling, 92..96) => 3,
        (SiteCategory::Fuelling, _) => ADBLUE,
        (SiteCategory::Charging, 0..45) => 5,
        (SiteCategory::Charging, 45..80) => 6,
        (SiteCategory::Charging, _) => 7,
        (SiteCategory::Parking, 0..60) => 9,
        (SiteCategory::Parking, 60..93) => 10,
        (SiteCategory::Parking, _) => 11,
        (SiteCategory::Vending, 0..55) => 12,
        (SiteCategory::Vending, 55..85) => 13,
        (SiteCategory::Vending, _) => 14,
    }
}

fn line(
    product: usize,
    money: CurrencyProfile,
    free: bool,
    random: &mut RandomStream,
) -> HecOneSaleLine {
    let plan = &PRODUCTS[product];
    let CurrencyProfile(_, level, _) = money;
    let quantity = Decimal::new(
        i128::from(random.between(plan.quantity.0, plan.quantity.1)),
        plan.quantity_scale,
    );
    let swing = if plan.trade == SiteCategory::Fuelling {
        random.between(-4, 4) * 10
    } else {
        0
    };
    let milli = if free {
        0
    } else {
        (plan.milli_price + swing) * level / 1000
    };
    // Only fuel has thousandths in its price.
    let milli = if matches!(plan.unit, "l" | "kg") {
        milli
    } else {
        milli / 10 * 10
    };
    let unit_price = Decimal::new(i128::from(milli), 3);
    HecOneSaleLine {
        product,
        quantity,
        unit_price,
        amount: quantity.times(unit_price, 2),
    }
}

/// Length of the consumption, in seconds.
fn dwell(trade: SiteCategory, line: &HecOneSaleLine, random: &mut RandomStream) -> i64 {
    let drawn = match trade {
        SiteCategory::Fuelling => random.between(90, 420),
        SiteCategory::Charging => random.between(1200, 10_800),
        SiteCategory::Parking => random.between(6 * 3600, 12 * 3600),
        SiteCategory::Vending => random.between(8, 60),
    };
    let unit = match PRODUCTS[line.product].unit {
        "h" => 3600,
        "min" => 60,
        _ => return drawn,
    };
    line.quantity
        .times(Decimal::from(unit), 0)
        .to_string()
        .parse()
        .unwrap_or(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sale(outcome: SaleOutcome, arrival: i64) -> HecOneSale {
        HecOneSale {
            id: 1,
            site: 0,
            start: 100,
            release: 200,
            done: 300,
            paid: 400,
            arrival,
            outcome,
            free: false,
            named_currency: true,
            has_no_offset: false,
            lines: Vec::new(),
            total: Decimal::ZERO,
            details: RandomStream::new(0, 0),
        }
    }

    #[test]
    fn stages_begin_after_their_instant_and_name_the_next() {
        let at = |outcome, second: i64| sale(outcome, 100).at(second * 1_000_000);
        assert_eq!(at(SaleOutcome::Paid, 100), (None, Some(100)));
        assert_eq!(
            at(SaleOutcome::Paid, 101),
            (Some(SaleStage::Created), Some(200))
        );
        assert_eq!(
            at(SaleOutcome::Paid, 201),
            (Some(SaleStage::Pending), Some(300))
        );
        assert_eq!(
            at(SaleOutcome::Paid, 301),
            (Some(SaleStage::Consumed), Some(400))
        );
        assert_eq!(at(SaleOutcome::Paid, 401), (Some(SaleStage::Closed), None));
        assert_eq!(
            at(SaleOutcome::Refused, 201),
            (Some(SaleStage::Closed), None)
        );
        assert_eq!(
            at(SaleOutcome::NeverPaid, 9999),
            (Some(SaleStage::Consumed), None)
        );
        assert_eq!(
            at(SaleOutcome::NeverFinished, 9999),
            (Some(SaleStage::Pending), None)
        );
        assert_eq!(
            at(SaleOutcome::NeverReleased, 9999),
            (Some(SaleStage::Created), None)
        );
    }

    #[test]
    fn a_late_sale_is_unknown_until_it_arrives() {
        assert_eq!(
            sale(SaleOutcome::Paid, 5000).at(4_000_000_000),
            (None, Some(5000))
        );
        assert_eq!(
            sale(SaleOutcome::Paid, 5000).at(5_000_000_001),
            (Some(SaleStage::Closed), None)
        );
    }
}
