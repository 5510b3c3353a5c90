//! HecOne's records as they stand in the document, written down anew: the extractor's types are not used.
//!
//! Invariant: reading a record of the sandbox and writing it again gives the same bytes.

use crate::decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// Text that is mostly borrowed from the world's tables or from a body.
pub(crate) type HecOneText<'a> = Cow<'a, str>;

/// `null` and a missing list are the empty list.
fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// A row of the list: the transaction, then what the list adds to it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneTransaction<'a> {
    pub id: HecOneText<'a>,
    pub mandator_id: HecOneText<'a>,
    pub state: HecOneText<'a>,
    pub invoice: Option<HecOneInvoice<'a>>,
    pub client: Option<HecOneClient<'a>>,
    pub site_id: Option<HecOneText<'a>>,
    pub point_id: Option<HecOneText<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub articles: Vec<HecOneArticle<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub payments: Vec<HecOnePayment<'a>>,
    pub customer_data: Option<HecOneCustomerData<'a>>,
    pub receipt: Option<HecOneReceipt<'a>>,
    pub terminal_transaction_number: Option<HecOneText<'a>>,
    pub session_id: Option<HecOneText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<HecOneSite<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<HecOneDevice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<HecOnePoint<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub products: Option<Vec<HecOneProduct<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card_issuer: Option<HecOneCardIssuer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<HecOneLogEntry<'a>>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneInvoice<'a> {
    pub amount: Option<Decimal>,
    pub paid_amount: Option<Decimal>,
    pub currency: Option<HecOneText<'a>>,
    pub created_at: Option<HecOneText<'a>>,
    pub tax_amount: Option<Decimal>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneClient<'a> {
    pub id: Option<HecOneText<'a>>,
    #[serde(rename = "type")]
    pub kind: Option<HecOneText<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneArticle<'a> {
    pub id: HecOneText<'a>,
    pub product_id: Option<HecOneText<'a>>,
    pub category: Option<HecOneText<'a>>,
    pub state: Option<HecOneText<'a>>,
    pub start_time: Option<HecOneText<'a>>,
    pub end_time: Option<HecOneText<'a>>,
    pub unit_price: Option<Decimal>,
    pub amount: Option<Decimal>,
    pub tax_percentage: Option<Decimal>,
    pub tax_amount: Option<Decimal>,
    pub quantity: Option<Decimal>,
    pub free_quantity: Option<Decimal>,
    pub max_quantity: Option<Decimal>,
    pub max_amount: Option<Decimal>,
    pub name: Option<HecOneText<'a>>,
    pub unit_measure: Option<HecOneText<'a>>,
    pub currency: Option<HecOneText<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub log: Vec<HecOneLogEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge_detail_record: Option<HecOneChargeDetailRecord<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneChargeDetailRecord<'a> {
    pub encoding_method: Option<HecOneText<'a>>,
    pub encoding_method_version: Option<Decimal>,
    pub public_key: Option<HecOneText<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub signed_values: Vec<HecOneSignedValue<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneSignedValue<'a> {
    pub nature: Option<HecOneText<'a>>,
    pub plain_data: Option<HecOneText<'a>>,
    pub signed_data: Option<HecOneText<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOnePayment<'a> {
    pub id: HecOneText<'a>,
    pub identification_id: Option<HecOneText<'a>>,
    pub state: Option<HecOneText<'a>>,
    pub created_at: Option<HecOneText<'a>>,
    pub reserved_amount: Option<Decimal>,
    pub amount: Option<Decimal>,
    pub currency: Option<HecOneText<'a>>,
    pub card_entrymode: Option<HecOneText<'a>>,
    pub entry_mode: Option<HecOneText<'a>>,
    pub medium: Option<HecOneText<'a>>,
    #[serde(rename = "type")]
    pub kind: Option<HecOneText<'a>>,
    pub function: Option<HecOneText<'a>>,
    pub scheme: Option<HecOneText<'a>>,
    pub card_id: Option<HecOneText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<HecOneText<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub terminal_receipt: Vec<HecOneText<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub fiscal_receipt: Vec<HecOneText<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub log: Vec<HecOneLogEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_card: Option<HecOneAdditionalCard<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qr_code: Option<HecOneText<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneAdditionalCard<'a> {
    pub function: Option<HecOneText<'a>>,
    pub card_id: Option<HecOneText<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneCustomerData<'a> {
    pub odometer: Option<Decimal>,
    pub driver_number: Option<HecOneText<'a>>,
    pub vehicle_number: Option<HecOneText<'a>>,
    pub additional_info: Option<HecOneText<'a>>,
    pub license_plate: Option<HecOneText<'a>>,
    pub cost_center: Option<HecOneText<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneReceipt<'a> {
    pub ocmf_start: Option<HecOneText<'a>>,
    pub ocmf_stop: Option<HecOneText<'a>>,
    pub state: Option<HecOneText<'a>>,
    pub additional_information: Option<HecOneText<'a>>,
    pub email: Option<HecOneText<'a>>,
    pub links: Option<HecOneReceiptLinks<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub log: Vec<HecOneLogEntry<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneReceiptLinks<'a> {
    pub customer_url: Option<HecOneText<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneSite<'a> {
    pub name: Option<HecOneText<'a>>,
    pub code: Option<HecOneText<'a>>,
    pub timezone: Option<HecOneText<'a>>,
    pub street: Option<HecOneText<'a>>,
    pub city: Option<HecOneText<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneDevice<'a> {
    pub name: Option<HecOneText<'a>>,
    pub code: Option<HecOneText<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOnePoint<'a> {
    pub name: Option<HecOneText<'a>>,
    pub number: Option<Decimal>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneProduct<'a> {
    pub id: HecOneText<'a>,
    pub code: Option<HecOneText<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneCardIssuer<'a> {
    pub vehicle_number: Option<HecOneText<'a>>,
    pub driver_name: Option<HecOneText<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneLogEntry<'a> {
    pub code: Option<Decimal>,
    pub description: Option<HecOneText<'a>>,
    pub timestamp: Option<HecOneText<'a>>,
    pub level: Option<HecOneText<'a>>,
}

impl HecOneTransaction<'static> {
    /// Reads a record; `None` when it does not have the document's shape.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// Body of POST and PUT: all fields that a caller may set.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HecOneTransactionInput<'a> {
    pub site_id: Option<HecOneText<'a>>,
    pub point_id: Option<HecOneText<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub articles: Vec<HecOneArticle<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub payments: Vec<HecOnePayment<'a>>,
    pub customer_data: Option<HecOneCustomerData<'a>>,
    pub receipt: Option<HecOneReceipt<'a>>,
    pub terminal_transaction_number: Option<HecOneText<'a>>,
    pub session_id: Option<HecOneText<'a>>,
}
