//! be-mo's wire types, field for field as its document has them.
//!
//! Invariant: fields stand in the document's order; what is null there is written as null here.

use crate::decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

pub(crate) type Text<'a> = Cow<'a, str>;

/// A session: one stop, with everything that was bought at it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session<'a> {
    pub address: Text<'a>,
    pub city_key: Text<'a>,
    pub country_code: Text<'a>,
    pub is_rfid: bool,
    pub latitude: Decimal,
    pub longitude: Decimal,
    pub place_id: Text<'a>,
    pub place_name: Text<'a>,
    pub place_network: Text<'a>,
    pub rfid: Option<Text<'a>>,
    pub session_end_date: Text<'a>,
    pub session_id: Text<'a>,
    pub session_start_date: Text<'a>,
    pub time_zone: Text<'a>,
    pub transactions: Vec<Transaction<'a>>,
    pub vehicle_id: Text<'a>,
    pub zip_code: Text<'a>,
}

/// One line of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Transaction<'a> {
    pub currency_key: Text<'a>,
    pub product_category: Text<'a>,
    pub product_family: Text<'a>,
    pub product_code: Text<'a>,
    pub quantity: Decimal,
    pub quantity_unit: Text<'a>,
    pub tariff_code: Option<Text<'a>>,
    pub total_amount: Decimal,
    pub transaction_date: Text<'a>,
    pub unit_price: Decimal,
}

/// An error in the envelope.
#[derive(Debug, Serialize)]
pub(crate) struct Fault<'a> {
    pub code: &'a str,
    pub message: &'a str,
}
