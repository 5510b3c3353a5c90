//! PACE's wire types: a transaction as the partners' endpoint shows it, and with what its successor adds.
//!
//! Invariant: a record without the successor's fields is written exactly as the partners' endpoint has it; what a record does not
//! have is left out, not null.

use crate::decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Text of a PACE record, mostly borrowed.
pub(crate) type PaceText<'a> = Cow<'a, str>;

/// A JSON:API resource object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PaceTransaction<'a> {
    #[serde(rename = "type")]
    pub kind: PaceText<'a>,
    pub id: PaceText<'a>,
    pub attributes: PaceAttributes<'a>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaceAttributes<'a> {
    pub created_at_localtime: PaceText<'a>,
    pub created_at: PaceText<'a>,
    #[serde(rename = "priceIncludingVAT")]
    pub price_including_vat: Decimal,
    #[serde(rename = "priceWithoutVAT")]
    pub price_without_vat: Decimal,
    pub fuel: PaceFuel<'a>,
    pub currency: PaceText<'a>,
    #[serde(rename = "VAT")]
    pub vat: PaceVat,
    pub location: PaceLocation<'a>,
    // The fields that follow, only the successor has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<PaceText<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method_kind: Option<PaceText<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount_amount: Option<Decimal>,
    #[serde(
        rename = "priceIncludingVATBeforeDiscount",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub price_including_vat_before_discount: Option<Decimal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_plate: Option<PaceText<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vin: Option<PaceText<'a>>,
    /// Metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mileage: Option<i64>,
    #[serde(
        rename = "driverVehicleID",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub driver_vehicle_id: Option<PaceText<'a>>,
    #[serde(
        rename = "providerPRN",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub provider_prn: Option<PaceText<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<Vec<PaceText<'a>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaceFuel<'a> {
    pub pump_number: u32,
    pub unit: PaceText<'a>,
    pub price_per_unit: Decimal,
    pub amount: Decimal,
    pub product_name: PaceText<'a>,
    #[serde(rename = "type")]
    pub kind: PaceText<'a>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct PaceVat {
    pub amount: Decimal,
    /// A fraction: 0.19.
    pub rate: Decimal,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaceLocation<'a> {
    pub latitude: Decimal,
    pub longitude: Decimal,
    pub brand: PaceText<'a>,
    /// The successor's too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station_name: Option<PaceText<'a>>,
    pub address: PaceAddress<'a>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaceAddress<'a> {
    pub street: PaceText<'a>,
    pub house_no: PaceText<'a>,
    pub postal_code: PaceText<'a>,
    pub city: PaceText<'a>,
    pub country_code: PaceText<'a>,
}

impl PaceTransaction<'_> {
    /// As the partners' endpoint shows it.
    pub(crate) fn without_successor_fields(&self) -> Self {
        let mut lean = self.clone();
        lean.attributes.location.station_name = None;
        lean.attributes = PaceAttributes {
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
