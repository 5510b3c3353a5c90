//! Fleets and their vehicles: plates, chassis numbers, cards and drivers. None of them exists.
//!
//! Invariant: a vehicle's plate, VIN, RFID tag and card are its own; two vehicles never share one.

use super::STREAM;
use crate::random::{RandomStream, uuid_text};

/// A company that owns vehicles: an account with be-mo.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// be-mo's account id.
    pub account: String,
}

/// Energy that a vehicle runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DriveType {
    Diesel,
    Petrol,
    Electric,
}

/// A vehicle and who drives it.
#[derive(Debug)]
pub(crate) struct Vehicle {
    /// be-mo's vehicle id.
    pub id: String,
    /// The index of its fleet.
    pub fleet: usize,
    /// As the number plate has it, `B-AX 1207`.
    pub plate: String,
    /// The same plate as a camera or a hurried driver writes it, `bax1207`.
    pub loose_plate: String,
    /// Seventeen characters.
    pub vin: String,
    /// The tag at the key ring: a 7 byte UID in hexadecimal.
    pub rfid: String,
    /// The fleet card's number, masked as terminals print it.
    pub card: String,
    /// `D-0123`.
    pub driver_number: String,
    /// `V-0123`.
    pub vehicle_number: String,
    /// `CC-12`.
    pub cost_center: String,
    pub drive: DriveType,
    /// Odometer at the beginning of the stretch.
    pub odometer_km: i64,
}

/// Number of vehicles of each fleet.
const SIZES: [u64; 3] = [60, 40, 24];
/// The letters that a VIN is made of.
const VIN: &[u8; 33] = b"ABCDEFGHJKLMNPRSTUVWXYZ0123456789";

/// The fleets of a seed and all their vehicles.
pub(crate) fn make_fleets(seed: u64) -> (Vec<Fleet>, Vec<Vehicle>) {
    let mut random = RandomStream::new(seed, STREAM + 1);
    let fleets = SIZES
        .iter()
        .map(|_| Fleet {
            account: uuid_text(random.uuid()),
        })
        .collect();
    let owners = SIZES
        .iter()
        .enumerate()
        .flat_map(|(fleet, size)| (0..*size).map(move |_| fleet));
    let vehicles = owners
        .enumerate()
        .map(|(number, fleet)| vehicle(seed, number as u64, fleet))
        .collect();
    (fleets, vehicles)
}

fn vehicle(seed: u64, number: u64, fleet: usize) -> Vehicle {
    let mut random = RandomStream::new(seed, STREAM + 1000 + number);
    let letter = |random: &mut RandomStream| char::from(b'A' + random.below(26) as u8);
    let (a, b) = (letter(&mut random), letter(&mut random));
    let town = ["B", "HH", "KA", "FR"][(number % 4) as usize];
    // The last digits count, so that no two plates, chassis, tags or cards are the same.
    let digits = 1000 + number;
    let mut vin = String::from("ZZ9");
    for _ in 0..10 {
        vin.push(char::from(VIN[random.below(33) as usize]));
    }
    vin.push_str(&format!("{digits:04}"));
    let drive = match number % 10 {
        0..=4 => DriveType::Diesel,
        5..=6 => DriveType::Petrol,
        _ => DriveType::Electric,
    };
    Vehicle {
        id: uuid_text(random.uuid()),
        fleet,
        plate: format!("{town}-{a}{b} {digits}"),
        loose_plate: format!("{town}{a}{b}{digits}").to_lowercase(),
        vin,
        rfid: format!("04{:08X}{digits:04X}", random.below(1 << 32)),
        card: format!("{} xxxx xxxx {digits:04}", random.between(7000, 7099)),
        driver_number: format!("D-{:04}", number * 7 % 1000),
        vehicle_number: format!("V-{number:04}"),
        cost_center: format!("CC-{:02}", number % 12),
        drive,
        odometer_km: random.between(2_000, 240_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nobody_shares_a_plate_a_chassis_a_tag_or_a_card() {
        let (fleets, vehicles) = make_fleets(1);
        assert_eq!((fleets.len(), vehicles.len()), (3, 124));
        let own: [fn(&Vehicle) -> &String; 4] =
            [|v| &v.plate, |v| &v.vin, |v| &v.rfid, |v| &v.card];
        for key in own {
            assert_eq!(
                vehicles.iter().map(key).collect::<BTreeSet<_>>().len(),
                vehicles.len()
            );
        }
        assert!(
            vehicles
                .iter()
                .all(|v| v.vin.len() == 17 && v.rfid.len() == 14)
        );
    }
}
