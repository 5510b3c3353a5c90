//! be-mo's wire types, field for field as its document has them.
//!
//! Invariant: fields stand in the document's order; what is null there is written as null here.

use crate::decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Text of a be-mo record, mostly borrowed.
pub(crate) type BemoText<'a> = Cow<'a, str>;

/// A session: one stop, with everything that was bought at it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BemoSession<'a> {
    pub address: BemoText<'a>,
    pub city_key: BemoText<'a>,
    pub country_code: BemoText<'a>,
    pub is_rfid: bool,
    pub latitude: Decimal,
    pub longitude: Decimal,
    pub place_id: BemoText<'a>,
    pub place_name: BemoText<'a>,
    pub place_network: BemoText<'a>,
    pub rfid: Option<BemoText<'a>>,
    pub session_end_date: BemoText<'a>,
    pub session_id: BemoText<'a>,
    pub session_start_date: BemoText<'a>,
    pub time_zone: BemoText<'a>,
    pub transactions: Vec<BemoTransaction<'a>>,
    pub vehicle_id: BemoText<'a>,
    pub zip_code: BemoText<'a>,
}

/// One line of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BemoTransaction<'a> {
    pub currency_key: BemoText<'a>,
    pub product_category: BemoText<'a>,
    pub product_family: BemoText<'a>,
    pub product_code: BemoText<'a>,
    pub quantity: Decimal,
    pub quantity_unit: BemoText<'a>,
    pub tariff_code: Option<BemoText<'a>>,
    pub total_amount: Decimal,
    pub transaction_date: BemoText<'a>,
    pub unit_price: Decimal,
}

/// An error in the envelope.
#[derive(Debug, Serialize)]
pub(crate) struct BemoError<'a> {
    pub code: &'a str,
    pub message: &'a str,
}
