//! PACE's wire types: a transaction as the partners' endpoint shows it, and with what its successor adds.
//!
//! Invariant: a record without the successor's fields is written exactly as the partners' endpoint has it; what a record does not
//! have is left out, not null.

use crate::decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

pub(crate) type Text<'a> = Cow<'a, str>;

/// A JSON:API resource object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Transaction<'a> {
    #[serde(rename = "type")]
    pub kind: Text<'a>,
    pub id: Text<'a>,
    pub attributes: Attributes<'a>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attributes<'a> {
    pub created_at_localtime: Text<'a>,
    pub created_at: Text<'a>,
    #[serde(rename = "priceIncludingVAT")]
    pub price_including_vat: Decimal,
    #[serde(rename = "priceWithoutVAT")]
    pub price_without_vat: Decimal,
    pub fuel: Fuel<'a>,
    pub currency: Text<'a>,
    #[serde(rename = "VAT")]
    pub vat: Vat,
    pub location: Location<'a>,
    // What follows, only the successor has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method_kind: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount_amount: Option<Decimal>,
    #[serde(rename = "priceIncludingVATBeforeDiscount", default, skip_serializing_if = "Option::is_none")]
    pub price_including_vat_before_discount: Option<Decimal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_plate: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vin: Option<Text<'a>>,
    /// Metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mileage: Option<i64>,
    #[serde(rename = "driverVehicleID", default, skip_serializing_if = "Option::is_none")]
    pub driver_vehicle_id: Option<Text<'a>>,
    #[serde(rename = "providerPRN", default, skip_serializing_if = "Option::is_none")]
    pub provider_prn: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<Vec<Text<'a>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fuel<'a> {
    pub pump_number: u32,
    pub unit: Text<'a>,
    pub price_per_unit: Decimal,
    pub amount: Decimal,
    pub product_name: Text<'a>,
    #[serde(rename = "type")]
    pub kind: Text<'a>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Vat {
    pub amount: Decimal,
    /// A fraction: 0.19.
    pub rate: Decimal,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Location<'a> {
    pub latitude: Decimal,
    pub longitude: Decimal,
    pub brand: Text<'a>,
    /// The successor's too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station_name: Option<Text<'a>>,
    pub address: Address<'a>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address<'a> {
    pub street: Text<'a>,
    pub house_no: Text<'a>,
    pub postal_code: Text<'a>,
    pub city: Text<'a>,
    pub country_code: Text<'a>,
}

impl Transaction<'_> {
    /// As the partners' endpoint shows it.
    pub(crate) fn lean(&self) -> Self {
        let mut lean = self.clone();
        lean.attributes.location.station_name = None;
        lean.attributes = Attributes {
            updated_at: None,
            payment_method_kind: None,
            discount_amount: None,
            price_including_vat_before_discount: None,
            number_plate: None,
            vin: None,
            mileage: None,
            driver_vehicle_id: None,
            provider_prn: None,
            references: None,
            ..lean.attributes
        };
        lean
    }
}
