//! The small print of a sale: logs, receipts, signed meter values, plates and cards. Nobody in it exists.
//!
//! Invariant: every text depends on the sale's details stream and plan alone; addresses are under example.com.

use super::sale::HecOneSaleLine;
use super::sites::{MerchantSite, PRODUCTS};
use super::wire::{HecOneChargeDetailRecord, HecOneLogEntry, HecOneSignedValue, HecOneText};
use crate::decimal::Decimal;
use crate::random::RandomStream;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write as _;

/// An instant on a site's clock, RFC 3339 with the offset that held then.
pub(crate) fn local_timestamp(zone: &TimeZone, second: i64) -> String {
    let instant = Timestamp::from_second(second).unwrap_or_default();
    let offset = zone.to_offset(instant);
    let local = offset.to_datetime(instant);
    let minutes = offset.seconds() / 60;
    let mut text = String::with_capacity(25);
    let mut digits = |number: i32, width: usize| {
        let mut divisor = 10_i32.pow(width as u32 - 1);
        while divisor > 0 {
            text.push(char::from(b'0' + ((number / divisor) % 10) as u8));
            divisor /= 10;
        }
    };
    digits(i32::from(local.year()), 4);
    let sign = if minutes < 0 { '-' } else { '+' };
    for (before, number) in [
        ('-', i32::from(local.month())),
        ('-', i32::from(local.day())),
        ('T', i32::from(local.hour())),
        (':', i32::from(local.minute())),
        (':', i32::from(local.second())),
        (sign, minutes.abs() / 60),
        (':', minutes.abs() % 60),
    ] {
        text.push(before);
        text.push(char::from(b'0' + (number / 10 % 10) as u8));
        text.push(char::from(b'0' + (number % 10) as u8));
    }
    text
}

/// A log line.
pub(crate) fn log<'a>(
    code: i64,
    level: &'static str,
    description: impl Into<HecOneText<'a>>,
    at: &str,
) -> HecOneLogEntry<'a> {
    HecOneLogEntry {
        code: Some(Decimal::from(code)),
        description: Some(description.into()),
        timestamp: Some(at.to_owned().into()),
        level: Some(level.into()),
    }
}

/// Hexadecimal digits, sixteen a word.
pub(crate) fn hex(words: usize, random: &mut RandomStream) -> String {
    let mut text = String::with_capacity(words * 16);
    for _ in 0..words {
        let _ = write!(text, "{:016x}", random.next());
    }
    text
}

/// A plate in the style of the site's country; the same car is spelled in more than one way.
pub(crate) fn plate(place: &MerchantSite, random: &mut RandomStream) -> String {
    let letter = |r: &mut RandomStream| char::from(b'A' + r.below(26) as u8);
    let (a, b, number) = (letter(random), letter(random), random.between(100, 9999));
    let loose = random.chance(250);
    let town = place.code.get(..1).unwrap_or("B");
    match place.money.0 {
        "CHF" => format!("ZH {}", number * 37),
        "GBP" => format!("{a}{b}{:02} {b}{a}X", number % 90 + 10),
        "INR" => format!("KA {:02} {a}{b} {number:04}", number % 60 + 1),
        "USD" => format!("{a}{b}{a}-{number:04}"),
        _ if loose => format!(
            "{}{}{}{number}",
            town.to_lowercase(),
            a.to_lowercase(),
            b.to_lowercase()
        ),
        _ => format!("{town}-{a}{b} {number}"),
    }
}

/// A masked card number.
pub(crate) fn card(random: &mut RandomStream) -> String {
    format!(
        "{} xxxx xxxx {:04}",
        random.between(4000, 5599),
        random.below(10_000)
    )
}

/// The lines of a card terminal's slip.
pub(crate) fn terminal_receipt<'a>(
    scheme: &'a str,
    card: Option<&str>,
    amount: Decimal,
    currency: &str,
    random: &mut RandomStream,
) -> Vec<HecOneText<'a>> {
    vec![
        "** Customer copy **".into(),
        format!(
            "Terminal {:08}  Trace {:06}",
            random.below(100_000_000),
            random.below(1_000_000)
        )
        .into(),
        if scheme.is_empty() {
            "Card payment"
        } else {
            scheme
        }
        .into(),
        card.unwrap_or("-").to_owned().into(),
        format!(
            "Amount {currency} {amount}  Auth {:06}",
            random.below(1_000_000)
        )
        .into(),
        "Approved 00".into(),
    ]
}

/// The lines of a fiscal receipt.
pub(crate) fn fiscal_receipt<'a>(
    place: &'a MerchantSite,
    lines: &[HecOneSaleLine],
    total: Decimal,
    tax: Decimal,
    random: &mut RandomStream,
) -> Vec<HecOneText<'a>> {
    let mut paper: Vec<HecOneText<'a>> = vec![
        place.name.into(),
        format!("{}\t{}", place.street, place.city).into(),
    ];
    for line in lines {
        let plan = &PRODUCTS[line.product];
        let (quantity, price, amount) = (line.quantity, line.unit_price, line.amount);
        paper.push(
            format!(
                "{} {quantity} {} x {price} = {amount}",
                plan.name, plan.unit
            )
            .into(),
        );
    }
    paper.push(format!("Total {total} {} incl. VAT {tax}", place.money.0).into());
    paper.push(format!("Sig {}", hex(1, random)).into());
    paper
}

/// An OCMF record: begin or end of charging, with a signature that signs nothing.
pub(crate) fn ocmf(
    begin: bool,
    at: &str,
    reading: Decimal,
    meter: u64,
    random: &mut RandomStream,
) -> String {
    let mark = if begin { "B" } else { "E" };
    format!(
        "OCMF|{{\"FV\":\"1.0\",\"GI\":\"SANDBOX METER\",\"GS\":\"{meter:08}\",\"PG\":\"T{}\",\"RD\":[{{\"TM\":\"{at} S\",\
         \"TX\":\"{mark}\",\"RV\":{reading},\"RI\":\"01-00:98.08.00.FF\",\"RU\":\"kWh\",\"ST\":\"G\"}}]}}|{{\"SD\":\"{}\"}}",
        random.below(10_000),
        hex(6, random)
    )
}

/// OCPI's signed data around two OCMF records.
pub(crate) fn signed_meter_records(
    start: &str,
    stop: &str,
    random: &mut RandomStream,
) -> HecOneChargeDetailRecord<'static> {
    let value = |nature: &'static str, record: &str, random: &mut RandomStream| HecOneSignedValue {
        nature: Some(nature.into()),
        plain_data: Some(
            record
                .split('|')
                .nth(1)
                .unwrap_or_default()
                .to_owned()
                .into(),
        ),
        signed_data: Some(hex(4, random).into()),
    };
    HecOneChargeDetailRecord {
        encoding_method: Some("OCMF".into()),
        encoding_method_version: Some(Decimal::from(1)),
        public_key: Some(hex(6, random).into()),
        signed_values: vec![value("Start", start, random), value("End", stop, random)],
    }
}
