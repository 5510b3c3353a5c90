//! Who stops where, when, what for, and how much it is.
//!
//! Invariant: a visit is a pure function of the world's seed, its stretch and the visit's number; its instant lies in the stretch.

use super::{Drive, GOODS, Good, Stop, Vehicle, World};
use crate::decimal::Decimal;
use crate::random::Random;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What somebody stops for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
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
    /// The index of the stop.
    pub stop: usize,
    /// The index in [`GOODS`].
    pub good: usize,
    pub quantity: Decimal,
    /// Gross, in the stop's currency.
    pub unit_price: Decimal,
    pub amount: Decimal,
}

impl Visit {
    /// What is bought.
    pub(crate) fn good(&self) -> &'static Good {
        &GOODS[self.good]
    }

    /// What for.
    pub(crate) fn errand(&self) -> Errand {
        self.good().errand
    }

    /// Whose vehicle it is.
    pub(crate) fn vehicle<'w>(&self, world: &'w World) -> &'w Vehicle {
        &world.vehicles[self.vehicle]
    }

    /// Where.
    pub(crate) fn stop<'w>(&self, world: &'w World) -> &'w Stop {
        &world.stops[self.stop]
    }
}

/// The odds of each hour of the stop's day, out of 40.
const HOURS: [u64; 24] = [2, 1, 1, 1, 2, 8, 22, 36, 34, 26, 24, 26, 30, 28, 26, 28, 34, 40, 34, 24, 16, 10, 6, 4];

impl World {
    /// The visit of a number.
    pub(crate) fn visit(&self, number: u64) -> Visit {
        let mut random = self.stream(1, number);
        let errand = match number % 10 {
            0..=3 => Errand::Fuel,
            4..=5 => Errand::Charge,
            6..=7 => Errand::Park,
            _ => Errand::Coffee,
        };
        let vehicle = self.draw_vehicle(errand, &mut random);
        let good = draw_good(errand, self.vehicles[vehicle].drive, &mut random);
        let places: Vec<usize> = (0..self.stops.len()).filter(|index| self.stops[*index].errand == errand).collect();
        let stop = *random.pick(&places);
        let at = self.draw_instant(&self.stops[stop], &mut random);
        self.bill(number, (vehicle, stop, good), at, &mut random)
    }

    /// A sale of the same kind to somebody who belongs to no fleet: its `vehicle` means nothing.
    pub(crate) fn stranger(&self, of: u64, number: u64, stop: usize) -> Visit {
        let mut random = self.stream(of, number);
        let errand = self.stops[stop].errand;
        let drive = if random.chance(450) { Drive::Diesel } else { Drive::Petrol };
        let good = draw_good(errand, drive, &mut random);
        let at = self.draw_instant(&self.stops[stop], &mut random);
        self.bill(number, (usize::MAX, stop, good), at, &mut random)
    }

    fn bill(&self, number: u64, (vehicle, stop, good): (usize, usize, usize), at: i64, random: &mut Random) -> Visit {
        let plan = &GOODS[good];
        let quantity = Decimal::new(i128::from(random.between(plan.quantity.0, plan.quantity.1)), plan.quantity_scale);
        let swing = if plan.errand == Errand::Fuel { random.between(-4, 4) * 10 } else { 0 };
        let milli = (plan.milli_price + swing) * self.stops[stop].level / 1000;
        // Only fuel has thousandths in its price.
        let milli = if plan.unit == "l" { milli } else { milli / 10 * 10 };
        let unit_price = Decimal::new(i128::from(milli), 3);
        let dwell = match plan.errand {
            Errand::Fuel => random.between(90, 420),
            Errand::Charge => random.between(1200, 10_800),
            Errand::Park => quantity.times(Decimal::from(3600), 0).to_string().parse().unwrap_or(3600),
            Errand::Coffee => random.between(20, 60),
        };
        let amount = quantity.times(unit_price, 2);
        Visit { number, at, until: at + dwell, vehicle, stop, good, quantity, unit_price, amount }
    }

    fn draw_vehicle(&self, errand: Errand, random: &mut Random) -> usize {
        let fits = |vehicle: &Vehicle| match errand {
            Errand::Fuel => vehicle.drive != Drive::Electric,
            Errand::Charge => vehicle.drive == Drive::Electric,
            Errand::Park | Errand::Coffee => true,
        };
        let drawn = random.below(self.vehicles.len() as u64) as usize;
        // The next one that fits; every fleet has all drives.
        (drawn..self.vehicles.len()).chain(0..drawn).find(|index| fits(&self.vehicles[*index])).unwrap_or(drawn)
    }

    /// An instant in the stretch, more likely by day than by night on the stop's own clock.
    pub(crate) fn draw_instant(&self, stop: &Stop, random: &mut Random) -> i64 {
        draw_instant(&stop.zone, (self.since, self.until), random)
    }
}

/// An instant in [since, until), Unix seconds, more likely by day than by night on a place's own clock.
pub(crate) fn draw_instant(zone: &TimeZone, (since, until): (i64, i64), random: &mut Random) -> i64 {
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

fn draw_good(errand: Errand, drive: Drive, random: &mut Random) -> usize {
    let fits = |good: &Good| {
        good.errand == errand
            && match (errand, drive) {
                (Errand::Fuel, Drive::Petrol) => good.name.starts_with("Super"),
                (Errand::Fuel, _) => good.name.starts_with("Diesel"),
                _ => true,
            }
    };
    let choices: Vec<usize> = (0..GOODS.len()).filter(|index| fits(&GOODS[*index])).collect();
    // Of two, the first is the usual one.
    if random.chance(500) { choices[0] } else { *random.pick(&choices) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_fit_the_vehicle_the_stop_and_the_stretch() {
        let (from, to) =
            (Timestamp::from_second(1_767_225_600).unwrap(), Timestamp::from_second(1_767_657_600).unwrap());
        let world = World::new(1, from, to, 1600).unwrap();
        let visits = world.visits();
        assert_eq!(visits.len(), 2000);
        assert!(visits.windows(2).all(|pair| pair[0].at <= pair[1].at));
        for visit in visits {
            assert!((world.since..world.until).contains(&visit.at) && visit.until > visit.at);
            assert_eq!(visit.stop(&world).errand, visit.errand());
            let drive = visit.vehicle(&world).drive;
            assert!(visit.errand() != Errand::Fuel || drive != Drive::Electric);
            assert!(visit.errand() != Errand::Charge || drive == Drive::Electric);
            assert_eq!(visit.amount, visit.quantity.times(visit.unit_price, 2));
        }
        let again = World::new(1, from, to, 1600).unwrap();
        assert_eq!(format!("{:?}", again.visits()[7]), format!("{:?}", visits[7]));
    }
}
