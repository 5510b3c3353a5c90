//! Transaction that PACE has of a visit: what a partner's pumps sold, to fleets and to others.
//!
//! Invariant: a transaction is a pure function of the world, its number and whether its later change has happened; with it
//! `updatedAt` moves.

use super::wire::{
    PaceAddress, PaceAttributes, PaceFuel, PaceLocation, PaceText, PaceTransaction, PaceVat,
};
use crate::decimal::Decimal;
use crate::random::{RandomStream, uuid_text};
use crate::record_store::{RecordSchedule, ScheduledRecord, StoredRecord};
use crate::world::{Visit, VisitPurpose, World, partners};
use bytes::Bytes;
use jiff::Timestamp;
use std::sync::Arc;
use tillhouse_model::{Error, Result};

/// The streams of random numbers: for what is beside the visit, and for the visits of strangers.
const STREAM: u64 = 50;
const STRANGERS: u64 = 51;
/// Numbers of sales that are made up on the way start here, far from the planned ones.
const MADE_UP: u64 = 1 << 32;

/// Schedule of all sales of the partners' pumps in the world.
#[derive(Debug)]
pub(crate) struct PaceSchedule {
    world: Arc<World>,
    count: u64,
    /// Indices of the fleets' visits among the sales; the others are strangers'.
    visits: Vec<u32>,
    /// Indices of the partners' stops.
    stops: Vec<usize>,
}

/// A sale, as it is before and after its change, and when that happens. Instants are microseconds since 1970 UTC.
#[derive(Debug)]
pub(crate) struct PaceSale {
    pub partner: u16,
    pub created: i64,
    pub first: PaceTransaction<'static>,
    pub then: Option<(i64, PaceTransaction<'static>)>,
}

impl PaceSchedule {
    pub(crate) fn new(world: Arc<World>, count: u64) -> Self {
        let stops: Vec<usize> = (0..world.sites.len())
            .filter(|index| world.sites[*index].partner.is_some())
            .collect();
        let is_sale = |visit: &Visit| {
            visit.purpose() == VisitPurpose::Fuel && visit.site(&world).partner.is_some()
        };
        let visits = world
            .visits()
            .iter()
            .enumerate()
            .filter(|(_, visit)| is_sale(visit));
        let visits = visits
            .map(|(index, _)| index as u32)
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .collect();
        Self {
            world,
            count,
            visits,
            stops,
        }
    }

    /// The sale of a number; every number beyond the planned ones is a stranger's.
    pub(crate) fn sale(&self, number: u64) -> PaceSale {
        match self
            .visits
            .get(usize::try_from(number).unwrap_or(usize::MAX))
        {
            Some(index) => sale(
                &self.world,
                &self.world.visits()[*index as usize],
                number,
                true,
            ),
            None => {
                let stop = *self.world.stream(STREAM + 2, number).pick(&self.stops);
                sale(
                    &self.world,
                    &self.world.visit_outside_fleets(STRANGERS, number, stop),
                    number,
                    false,
                )
            }
        }
    }

    /// A sale beside the plan, by a partner, made in the second `done`.
    pub(crate) fn make_up(&self, number: u64, partner: u16, done: i64) -> PaceSale {
        let own = |index: &&usize| partner_of(&self.world, **index) == partner;
        let stop = self
            .stops
            .iter()
            .find(own)
            .or(self.stops.first())
            .copied()
            .unwrap_or_default();
        let number = MADE_UP + number;
        let mut visit = self.world.visit_outside_fleets(STRANGERS, number, stop);
        (visit.at, visit.until) = (done - (visit.until - visit.at), done);
        sale(&self.world, &visit, number, false)
    }
}

fn partner_of(world: &World, stop: usize) -> u16 {
    let name = world.sites[stop].partner;
    partners()
        .iter()
        .position(|known| Some(*known) == name)
        .unwrap_or_default() as u16
}

impl RecordSchedule for PaceSchedule {
    fn count(&self) -> u64 {
        self.count
    }

    fn at(&self, number: u64, clock: i64) -> Result<ScheduledRecord> {
        let PaceSale {
            partner,
            created,
            first,
            then,
        } = self.sale(number);
        if created >= clock {
            return Ok(ScheduledRecord {
                row: None,
                next: Some(created),
            });
        }
        let (transaction, stamp, next) = match then {
            Some((changed, then)) if changed < clock => (then, changed, None),
            Some((changed, _)) => (first, created, Some(changed)),
            None => (first, created, None),
        };
        Ok(ScheduledRecord {
            row: Some(row(&transaction, partner, created, stamp)?),
            next,
        })
    }
}

/// A transaction as both endpoints show it. Errors only if serde_json does, which is a bug.
pub(crate) fn row(
    transaction: &PaceTransaction<'_>,
    partner: u16,
    created: i64,
    stamp: i64,
) -> Result<StoredRecord> {
    let write = |transaction: &PaceTransaction<'_>| {
        serde_json::to_vec(transaction)
            .map(Bytes::from)
            .map_err(|error| {
                Error::internal("the sandbox cannot write a transaction").because(error)
            })
    };
    Ok(StoredRecord {
        id: transaction.id.clone().into_owned(),
        tenant: partner,
        time: Some(created),
        stamp: Some(stamp),
        body: write(transaction)?,
        legacy_body: Some(write(&transaction.without_successor_fields())?),
    })
}

fn kind_of_fuel(name: &str) -> &'static str {
    match name {
        "Diesel" => "dieselB7",
        "Diesel HVO" => "dieselHvo",
        "Super 95 E10" => "ron95e10",
        _ => "ron98",
    }
}

/// The prices of a sale at its gross amount.
fn price(attributes: &mut PaceAttributes<'_>, gross: Decimal, per_cent: Decimal) {
    let tax = gross.tax_inside(per_cent);
    attributes.price_including_vat = gross;
    attributes.price_without_vat = gross.minus(tax);
    attributes.vat.amount = tax;
}

fn sale(world: &World, visit: &Visit, number: u64, is_fleet: bool) -> PaceSale {
    let mut random = world.stream(STREAM, number);
    let stop = visit.site(world);
    let id = uuid_text(random.uuid());
    let per_cent = Decimal::new(i128::from(stop.vat), 3);
    let discount = random
        .chance(120)
        .then(|| visit.quantity.times(Decimal::new(2, 2), 2));
    let created = Timestamp::from_second(visit.until).unwrap_or_default();
    let means = match (is_fleet, random.below(100)) {
        (true, 0..70) => "dkv",
        (_, 0..30) => "sepa",
        (_, 30..60) => "creditcard",
        (_, 60..80) => "paypal",
        _ => "applepay",
    };
    let partner = partner_of(world, visit.site);
    let mut attributes = PaceAttributes {
        created_at_localtime: stop.zone.to_datetime(created).to_string().into(),
        created_at: created.to_string().into(),
        price_including_vat: visit.amount,
        price_without_vat: visit.amount,
        fuel: PaceFuel {
            pump_number: random.between(1, 8) as u32,
            unit: "liter".into(),
            price_per_unit: visit.unit_price,
            amount: visit.quantity,
            product_name: visit.product().name.into(),
            kind: kind_of_fuel(visit.product().name).into(),
        },
        currency: stop.currency.into(),
        vat: PaceVat {
            amount: Decimal::ZERO,
            rate: Decimal::new(i128::from(stop.vat), 5),
        },
        location: PaceLocation {
            latitude: stop.latitude,
            longitude: stop.longitude,
            brand: stop.brand.into(),
            station_name: Some(stop.name.into()),
            address: PaceAddress {
                street: stop.street.into(),
                house_no: stop.house_number.into(),
                postal_code: stop.postal_code.into(),
                city: stop.city.into(),
                country_code: stop.country.into(),
            },
        },
        updated_at: Some(created.to_string().into()),
        payment_method_kind: Some(means.into()),
        discount_amount: None,
        price_including_vat_before_discount: None,
        number_plate: None,
        vin: None,
        mileage: None,
        driver_vehicle_id: None,
        provider_prn: Some(
            format!("prn:pay:providers:{}", partners()[usize::from(partner)]).into(),
        ),
        references: Some(vec![format!("prn:poi:gas-stations:{}", stop.id).into()]),
    };
    price(&mut attributes, visit.amount, per_cent);
    if let Some(discount) = discount {
        grant(&mut attributes, visit.amount, discount, per_cent);
    }
    if is_fleet {
        name_vehicle(&mut attributes, world, visit, &mut random);
    }
    let first = PaceTransaction {
        kind: "transaction".into(),
        id: id.into(),
        attributes,
    };
    let then = random.chance(140).then(|| {
        let after = random.between(1_800_000, 4 * 86_400_000);
        let changed = created.as_microsecond() + after * 1000;
        (
            changed,
            change(&first, visit, per_cent, changed, &mut random),
        )
    });
    PaceSale {
        partner,
        created: created.as_microsecond(),
        first,
        then,
    }
}

fn grant(
    attributes: &mut PaceAttributes<'_>,
    before: Decimal,
    discount: Decimal,
    per_cent: Decimal,
) {
    attributes.discount_amount = Some(discount);
    attributes.price_including_vat_before_discount = Some(before);
    price(attributes, before.minus(discount), per_cent);
}

/// Fills in the vehicle: as the driver typed it, or as the app knew it.
fn name_vehicle(
    attributes: &mut PaceAttributes<'_>,
    world: &World,
    visit: &Visit,
    random: &mut RandomStream,
) {
    let vehicle = visit.vehicle(world);
    let plate = if random.chance(200) {
        &vehicle.loose_plate
    } else {
        &vehicle.plate
    };
    attributes.number_plate = Some(plate.clone().into());
    attributes.vin = random.chance(600).then(|| vehicle.vin.clone().into());
    // 300 km a day.
    let driven = (visit.at - world.since).max(0) * 300_000 / 86_400;
    attributes.mileage = random
        .chance(800)
        .then_some(vehicle.odometer_km * 1000 + driven);
    attributes.driver_vehicle_id = random
        .chance(700)
        .then(|| vehicle.driver_number.clone().into());
}

/// The sale as it stands after its later change: a discount, a corrected mileage, an invoice's number.
fn change(
    first: &PaceTransaction<'static>,
    visit: &Visit,
    per_cent: Decimal,
    changed: i64,
    random: &mut RandomStream,
) -> PaceTransaction<'static> {
    let mut then = first.clone();
    let attributes = &mut then.attributes;
    let invoice = PaceText::Owned(format!("invoice:{:08}", random.below(100_000_000)));
    match (
        random.below(3),
        attributes.discount_amount,
        attributes.mileage,
    ) {
        (0, None, _) => grant(
            attributes,
            visit.amount,
            visit.quantity.times(Decimal::new(3, 2), 2),
            per_cent,
        ),
        (1, _, Some(metres)) => attributes.mileage = Some(metres + random.between(1, 900) * 100),
        _ => attributes.references.get_or_insert_default().push(invoice),
    }
    attributes.updated_at = Some(instant(changed).into());
    then
}

/// An instant as the API writes it.
pub(crate) fn instant(micros: i64) -> String {
    Timestamp::from_microsecond(micros)
        .unwrap_or_default()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_add_up_before_and_after_the_change() {
        let (from, to) = (
            Timestamp::from_second(1_767_225_600).unwrap(),
            Timestamp::from_second(1_767_657_600).unwrap(),
        );
        let world = Arc::new(World::new(1, from, to, 400).unwrap());
        let sales = PaceSchedule::new(world, 1000);
        let (mut fleets, mut changed, mut discounts) = (0, 0, 0);
        for number in 0..1000 {
            let sale = sales.sale(number);
            let both = [Some(&sale.first), sale.then.as_ref().map(|(_, then)| then)];
            for PaceAttributes {
                price_including_vat: gross,
                price_without_vat: net,
                vat,
                fuel,
                ..
            } in both
                .iter()
                .flatten()
                .map(|transaction| &transaction.attributes)
            {
                assert_eq!(*gross, net.plus(vat.amount));
                assert!(vat.rate < Decimal::from(1) && fuel.amount > Decimal::ZERO);
            }
            let attributes = &both[usize::from(both[1].is_some())].unwrap().attributes;
            if let Some(discount) = attributes.discount_amount {
                discounts += 1;
                assert_eq!(
                    attributes.price_including_vat_before_discount,
                    Some(attributes.price_including_vat.plus(discount))
                );
            }
            fleets += u32::from(attributes.number_plate.is_some());
            changed += u32::from(both[1].is_some());
        }
        assert!(fleets > 100 && fleets < 600, "{fleets}");
        assert!(changed > 100 && discounts > 100, "{changed} {discounts}");
    }
}
