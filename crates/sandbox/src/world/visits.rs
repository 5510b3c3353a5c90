//! Visits: who stops where, when, what for, and for how much.
//!
//! Invariant: a visit is a pure function of the world's seed, its stretch and the visit's number; its instant lies in the stretch.

use super::{DriveType, PRODUCTS, Vehicle, World, WorldProduct, WorldSite};
use crate::decimal::Decimal;
use crate::random::RandomStream;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Purpose of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VisitPurpose {
    Fuel,
    Charge,
    Park,
    Coffee,
}

/// One visit of a vehicle of a fleet.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub number: u64,
    /// When it begins, Unix seconds.
    pub at: i64,
    /// When what was bought is consumed, Unix seconds.
    pub until: i64,
    /// The index of the vehicle.
    pub vehicle: usize,
    /// Index of the site.
    pub site: usize,
    /// Index in [`PRODUCTS`].
    pub product: usize,
    pub quantity: Decimal,
    /// Gross, in the stop's currency.
    pub unit_price: Decimal,
    pub amount: Decimal,
}

impl Visit {
    /// The product that is bought.
    pub(crate) fn product(&self) -> &'static WorldProduct {
        &PRODUCTS[self.product]
    }

    /// The purpose of the visit.
    pub(crate) fn purpose(&self) -> VisitPurpose {
        self.product().purpose
    }

    /// Whose vehicle it is.
    pub(crate) fn vehicle<'w>(&self, world: &'w World) -> &'w Vehicle {
        &world.vehicles[self.vehicle]
    }

    /// The site that is visited.
    pub(crate) fn site<'w>(&self, world: &'w World) -> &'w WorldSite {
        &world.sites[self.site]
    }
}

/// The odds of each hour of the stop's day, out of 40.
const HOURS: [u64; 24] = [
    2, 1, 1, 1, 2, 8, 22, 36, 34, 26, 24, 26, 30, 28, 26, 28, 34, 40, 34, 24, 16, 10, 6, 4,
];

impl World {
    /// The visit of a number.
    pub(crate) fn visit(&self, number: u64) -> Visit {
        let mut random = self.stream(1, number);
        let errand = match number % 10 {
            0..=3 => VisitPurpose::Fuel,
            4..=5 => VisitPurpose::Charge,
            6..=7 => VisitPurpose::Park,
            _ => VisitPurpose::Coffee,
        };
        let vehicle = self.draw_vehicle(errand, &mut random);
        let good = draw_good(errand, self.vehicles[vehicle].drive, &mut random);
        let places: Vec<usize> = (0..self.sites.len())
            .filter(|index| self.sites[*index].purpose == errand)
            .collect();
        let stop = *random.pick(&places);
        let at = self.draw_instant(&self.sites[stop], &mut random);
        self.bill(number, (vehicle, stop, good), at, &mut random)
    }

    /// A sale of the same kind to somebody who belongs to no fleet: its `vehicle` means nothing.
    pub(crate) fn visit_outside_fleets(&self, of: u64, number: u64, stop: usize) -> Visit {
        let mut random = self.stream(of, number);
        let errand = self.sites[stop].purpose;
        let drive = if random.chance(450) {
            DriveType::Diesel
        } else {
            DriveType::Petrol
        };
        let good = draw_good(errand, drive, &mut random);
        let at = self.draw_instant(&self.sites[stop], &mut random);
        self.bill(number, (usize::MAX, stop, good), at, &mut random)
    }

    fn bill(
        &self,
        number: u64,
        (vehicle, stop, good): (usize, usize, usize),
        at: i64,
        random: &mut RandomStream,
    ) -> Visit {
        let plan = &PRODUCTS[good];
        let quantity = Decimal::new(
            i128::from(random.between(plan.quantity.0, plan.quantity.1)),
            plan.quantity_scale,
        );
        let swing = if plan.purpose == VisitPurpose::Fuel {
            random.between(-4, 4) * 10
        } else {
            0
        };
        let milli = (plan.milli_price + swing) * self.sites[stop].level / 1000;
        // Only fuel has thousandths in its price.
        let milli = if plan.unit == "l" {
            milli
        } else {
            milli / 10 * 10
        };
        let unit_price = Decimal::new(i128::from(milli), 3);
        let dwell = match plan.purpose {
            VisitPurpose::Fuel => random.between(90, 420),
            VisitPurpose::Charge => random.between(1200, 10_800),
            VisitPurpose::Park => quantity
                .times(Decimal::from(3600), 0)
                .to_string()
                .parse()
                .unwrap_or(3600),
            VisitPurpose::Coffee => random.between(20, 60),
        };
        let amount = quantity.times(unit_price, 2);
        Visit {
            number,
            at,
            until: at + dwell,
            vehicle,
            site: stop,
            product: good,
            quantity,
            unit_price,
            amount,
        }
    }

    fn draw_vehicle(&self, errand: VisitPurpose, random: &mut RandomStream) -> usize {
        let fits = |vehicle: &Vehicle| match errand {
            VisitPurpose::Fuel => vehicle.drive != DriveType::Electric,
            VisitPurpose::Charge => vehicle.drive == DriveType::Electric,
            VisitPurpose::Park | VisitPurpose::Coffee => true,
        };
        let drawn = random.below(self.vehicles.len() as u64) as usize;
        // The next one that fits; every fleet has all drives.
        (drawn..self.vehicles.len())
            .chain(0..drawn)
            .find(|index| fits(&self.vehicles[*index]))
            .unwrap_or(drawn)
    }

    /// An instant in the stretch, more likely by day than by night on the stop's own clock.
    pub(crate) fn draw_instant(&self, stop: &WorldSite, random: &mut RandomStream) -> i64 {
        draw_instant(&stop.zone, (self.since, self.until), random)
    }
}

/// An instant in [since, until), Unix seconds, more likely by day than by night on a place's own clock.
pub(crate) fn draw_instant(
    zone: &TimeZone,
    (since, until): (i64, i64),
    random: &mut RandomStream,
) -> i64 {
    let mut at = since;
    for _ in 0..12 {
        at = random.between(since, (until - 1).max(since));
        let local = zone.to_datetime(Timestamp::from_second(at).unwrap_or_default());
        if random.below(40) < HOURS[usize::from(local.hour().unsigned_abs()) % 24] {
            break;
        }
    }
    at
}

fn draw_good(errand: VisitPurpose, drive: DriveType, random: &mut RandomStream) -> usize {
    let fits = |good: &WorldProduct| {
        good.purpose == errand
            && match (errand, drive) {
                (VisitPurpose::Fuel, DriveType::Petrol) => good.name.starts_with("Super"),
                (VisitPurpose::Fuel, _) => good.name.starts_with("Diesel"),
                _ => true,
            }
    };
    let choices: Vec<usize> = (0..PRODUCTS.len())
        .filter(|index| fits(&PRODUCTS[*index]))
        .collect();
    // Of two, the first is the usual one.
    if random.chance(500) {
        choices[0]
    } else {
        *random.pick(&choices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_fit_the_vehicle_the_stop_and_the_stretch() {
        let (from, to) = (
            Timestamp::from_second(1_767_225_600).unwrap(),
            Timestamp::from_second(1_767_657_600).unwrap(),
        );
        let world = World::new(1, from, to, 1600).unwrap();
        let visits = world.visits();
        assert_eq!(visits.len(), 2000);
        assert!(visits.windows(2).all(|pair| pair[0].at <= pair[1].at));
        for visit in visits {
            assert!((world.since..world.until).contains(&visit.at) && visit.until > visit.at);
            assert_eq!(visit.site(&world).purpose, visit.purpose());
            let drive = visit.vehicle(&world).drive;
            assert!(visit.purpose() != VisitPurpose::Fuel || drive != DriveType::Electric);
            assert!(visit.purpose() != VisitPurpose::Charge || drive == DriveType::Electric);
            assert_eq!(visit.amount, visit.quantity.times(visit.unit_price, 2));
        }
        let again = World::new(1, from, to, 1600).unwrap();
        assert_eq!(
            format!("{:?}", again.visits()[7]),
            format!("{:?}", visits[7])
        );
    }
}
