//! Session that be-mo reports of a visit of a vehicle.
//!
//! Invariant: a session is a pure function of the world and the visit; it is created at the provider after it has ended, a few of
//! them days later.

use super::wire::{BemoSession, BemoText, BemoTransaction};
use crate::decimal::Decimal;
use crate::random::{RandomStream, uuid_text};
use crate::record_store::{RecordSchedule, ScheduledRecord, StoredRecord};
use crate::world::{DriveType, Visit, VisitPurpose, World};
use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::Arc;
use tillhouse_model::{Error, Result};

/// The stream of random numbers that decides everything beside the visit itself.
const STREAM: u64 = 40;
/// Numbers of visits that are made up on the way start here, far from the planned ones.
const MADE_UP: u64 = 1 << 32;
/// Prefix of every RFID.
pub(crate) const RFID_MARKER: &str = "SBTAG";

/// Schedule of all be-mo sessions: what fleets bought in the world, coffee aside.
#[derive(Debug)]
pub(crate) struct BemoSchedule {
    world: Arc<World>,
    /// Indices of visits.
    visits: Vec<u32>,
}

/// be-mo's words for a product: category, family, codes and unit.
struct BemoProductNames(
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
);

fn name(visit: &Visit) -> BemoProductNames {
    match (visit.purpose(), visit.product().name) {
        (VisitPurpose::Fuel, "Diesel") => BemoProductNames("Fueling", "Diesel", &["B7"], "L"),
        (VisitPurpose::Fuel, "Diesel HVO") => BemoProductNames("Fueling", "Diesel", &["XTL"], "L"),
        (VisitPurpose::Fuel, "Super 95 E10") => {
            BemoProductNames("Fueling", "Gasoline", &["E10"], "L")
        }
        (VisitPurpose::Fuel, _) => BemoProductNames("Fueling", "Gasoline", &["E5"], "L"),
        (VisitPurpose::Charge, "AC 22 kW") => BemoProductNames(
            "Charging",
            "Electricity",
            &["E_Accelerated", "E_Standard", "E_Fast_AC"],
            "kWh",
        ),
        (VisitPurpose::Charge, "DC 50 kW") => {
            BemoProductNames("Charging", "Electricity", &["E_Fast_DC"], "kWh")
        }
        (VisitPurpose::Charge, _) => {
            BemoProductNames("Charging", "Electricity", &["E_UltraFast"], "kWh")
        }
        (VisitPurpose::Park, _) => BemoProductNames("Parking", "Parking", &["P_OffStreet"], "h"),
        (VisitPurpose::Coffee, _) => BemoProductNames("Catering", "Drinks", &["C_Coffee"], "pc"),
    }
}

impl BemoSchedule {
    pub(crate) fn new(world: Arc<World>) -> Self {
        let is_session = |visit: &Visit| visit.purpose() != VisitPurpose::Coffee;
        let visits = world
            .visits()
            .iter()
            .enumerate()
            .filter(|(_, v)| is_session(v))
            .map(|(index, _)| index as u32)
            .collect();
        Self { world, visits }
    }

    /// A session beside the plan: of a vehicle of `fleet`, from the second `start` on.
    pub(crate) fn make_up(
        &self,
        number: u64,
        fleet: u16,
        start: i64,
    ) -> (BemoSession<'static>, Visit) {
        // Of ten numbers in a row the first is for fuel.
        let mut visit = self.world.visit(MADE_UP + number * 10);
        let fits = |index: &usize| {
            let vehicle = &self.world.vehicles[*index];
            vehicle.fleet == usize::from(fleet) && vehicle.drive == DriveType::Diesel
        };
        let own: Vec<usize> = (0..self.world.vehicles.len()).filter(fits).collect();
        if let Some(vehicle) = own.get(number as usize % own.len().max(1)) {
            visit.vehicle = *vehicle;
        }
        (visit.at, visit.until) = (start, start + (visit.until - visit.at));
        (session(&self.world, &visit).0, visit)
    }
}

impl RecordSchedule for BemoSchedule {
    fn count(&self) -> u64 {
        self.visits.len() as u64
    }

    fn at(&self, number: u64, clock: i64) -> Result<ScheduledRecord> {
        let visit = &self.world.visits()[self.visits[number as usize] as usize];
        let (session, created) = session(&self.world, visit);
        let created = created * 1_000_000;
        if created >= clock {
            return Ok(ScheduledRecord {
                row: None,
                next: Some(created),
            });
        }
        let row = StoredRecord {
            id: session.session_id.clone().into_owned(),
            tenant: visit.vehicle(&self.world).fleet as u16,
            time: Some(visit.at * 1_000_000),
            stamp: Some(created),
            body: write(&session)?,
            legacy_body: None,
        };
        Ok(ScheduledRecord {
            row: Some(row),
            next: None,
        })
    }
}

/// A session as JSON. Errors only if serde_json does, which is a bug.
pub(crate) fn write(session: &BemoSession<'_>) -> Result<Bytes> {
    serde_json::to_vec(session)
        .map(Bytes::from)
        .map_err(|error| Error::internal("the sandbox cannot write a session").because(error))
}

/// The session of a visit, and when the provider creates it, Unix seconds.
fn session(world: &World, visit: &Visit) -> (BemoSession<'static>, i64) {
    let mut random = world.stream(STREAM, visit.number);
    let (vehicle, stop) = (visit.vehicle(world), visit.site(world));
    let id = uuid_text(random.uuid());
    let delay = match random.below(1000) {
        0..880 => random.between(240, 3_600),
        880..970 => random.between(3_600, 30 * 3_600),
        _ => random.between(2 * 86_400, 6 * 86_400),
    };
    let end = utc(visit.until);
    let street = format!("{} {}", stop.street, stop.house_number).to_uppercase();
    // Networks that sell fuel send their address twice, with blanks behind it.
    let address = match visit.purpose() {
        VisitPurpose::Fuel => format!("{street}   {street}  "),
        _ => format!("{} {}", stop.street, stop.house_number),
    };
    let by_tag = visit.purpose() == VisitPurpose::Charge && random.chance(700);
    let tag = (by_tag || random.chance(850))
        .then(|| BemoText::Owned(format!("{RFID_MARKER}{}", vehicle.rfid)));
    let city = stop.city.to_uppercase();
    let session = BemoSession {
        address: address.into(),
        city_key: city.clone().into(),
        country_code: stop.country.into(),
        is_rfid: by_tag,
        latitude: stop.latitude,
        longitude: stop.longitude,
        place_id: stop.id.clone().into(),
        place_name: format!("{city} {street}").into(),
        place_network: stop.brand.into(),
        rfid: tag,
        session_end_date: end.clone().into(),
        session_id: id.into(),
        session_start_date: utc(visit.at).into(),
        time_zone: offset(&stop.zone, visit.at).into(),
        transactions: lines(world, visit, &end, &mut random),
        vehicle_id: vehicle.id.clone().into(),
        zip_code: stop.postal_code.into(),
    };
    (session, visit.until + delay)
}

/// Bought goods: the visit's, and now and then something beside it.
fn lines(
    world: &World,
    visit: &Visit,
    end: &str,
    random: &mut RandomStream,
) -> Vec<BemoTransaction<'static>> {
    let stop = visit.site(world);
    let BemoProductNames(category, family, codes, unit) = name(visit);
    let code = *random.pick(codes);
    let free = visit.purpose() == VisitPurpose::Charge && random.chance(12);
    let tariff = (visit.purpose() == VisitPurpose::Charge)
        .then(|| BemoText::Owned(format!("{}-{}", stop.country, visit.product)));
    let price = |amount: Decimal| if free { Decimal::ZERO } else { amount };
    let main = BemoTransaction {
        currency_key: stop.currency.into(),
        product_category: category.into(),
        product_family: family.into(),
        product_code: code.into(),
        quantity: visit.quantity,
        quantity_unit: unit.into(),
        tariff_code: tariff.clone(),
        total_amount: price(visit.amount),
        transaction_date: end.to_owned().into(),
        unit_price: price(visit.unit_price),
    };
    let beside = |family: &'static str,
                  code: &'static str,
                  unit: &'static str,
                  quantity: Decimal,
                  milli: i64| {
        let unit_price = Decimal::new(i128::from(milli * stop.level / 1000), 3);
        BemoTransaction {
            product_family: family.into(),
            product_code: code.into(),
            quantity,
            quantity_unit: unit.into(),
            tariff_code: None,
            total_amount: quantity.times(unit_price, 2),
            unit_price,
            ..main.clone()
        }
    };
    let mut all = Vec::with_capacity(2);
    let drawn = random.below(100);
    let many = random.between(500, 3_000);
    match (visit.purpose(), family) {
        (VisitPurpose::Fuel, "Diesel") if drawn < 12 => {
            all.push(beside(
                "AdBlue",
                "ADBLUE",
                "L",
                Decimal::new(i128::from(many), 2),
                899,
            ));
        }
        (VisitPurpose::Charge, _) if drawn < 15 && !free => {
            let idle = beside("Electricity", code, "min", Decimal::from(many / 50), 100);
            all.push(BemoTransaction {
                tariff_code: Some("IDLE".into()),
                ..idle
            });
        }
        // The network's currency for the energy, the account's for the roaming.
        (VisitPurpose::Charge, _) if drawn < 60 && stop.currency != "EUR" => {
            let fee = BemoTransaction {
                tariff_code: Some("ROAMING".into()),
                ..main.clone()
            };
            let (one, unit_price) = (Decimal::from(1), Decimal::new(35, 2));
            all.push(BemoTransaction {
                currency_key: "EUR".into(),
                quantity: one,
                quantity_unit: "pc".into(),
                total_amount: unit_price,
                unit_price,
                ..fee
            });
        }
        _ => {}
    }
    all.insert(0, main);
    all
}

fn utc(second: i64) -> String {
    Timestamp::from_second(second)
        .unwrap_or_default()
        .to_string()
}

/// `+01:00`.
fn offset(zone: &TimeZone, second: i64) -> String {
    let seconds = zone
        .to_offset(Timestamp::from_second(second).unwrap_or_default())
        .seconds();
    let (sign, size) = if seconds < 0 {
        ('-', -seconds)
    } else {
        ('+', seconds)
    };
    format!("{sign}{:02}:{:02}", size / 3600, size / 60 % 60)
}
