//! HecOne's records as they stand in the document, written down anew: the extractor's types are not used.
//!
//! Invariant: reading a record of the sandbox and writing it again gives the same bytes.

use crate::decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// Text that is mostly borrowed from the world's tables or from a body.
pub(crate) type Text<'a> = Cow<'a, str>;

/// `null` and a missing list are the empty list.
fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// A row of the list: the transaction, then what the list adds to it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Transaction<'a> {
    pub id: Text<'a>,
    pub mandator_id: Text<'a>,
    pub state: Text<'a>,
    pub invoice: Option<Invoice<'a>>,
    pub client: Option<Client<'a>>,
    pub site_id: Option<Text<'a>>,
    pub point_id: Option<Text<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub articles: Vec<Article<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub payments: Vec<Payment<'a>>,
    pub customer_data: Option<CustomerData<'a>>,
    pub receipt: Option<Receipt<'a>>,
    pub terminal_transaction_number: Option<Text<'a>>,
    pub session_id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<Site<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Device<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<Point<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub products: Option<Vec<Product<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card_issuer: Option<CardIssuer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<LogEntry<'a>>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Invoice<'a> {
    pub amount: Option<Decimal>,
    pub paid_amount: Option<Decimal>,
    pub currency: Option<Text<'a>>,
    pub created_at: Option<Text<'a>>,
    pub tax_amount: Option<Decimal>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Client<'a> {
    pub id: Option<Text<'a>>,
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Article<'a> {
    pub id: Text<'a>,
    pub product_id: Option<Text<'a>>,
    pub category: Option<Text<'a>>,
    pub state: Option<Text<'a>>,
    pub start_time: Option<Text<'a>>,
    pub end_time: Option<Text<'a>>,
    pub unit_price: Option<Decimal>,
    pub amount: Option<Decimal>,
    pub tax_percentage: Option<Decimal>,
    pub tax_amount: Option<Decimal>,
    pub quantity: Option<Decimal>,
    pub free_quantity: Option<Decimal>,
    pub max_quantity: Option<Decimal>,
    pub max_amount: Option<Decimal>,
    pub name: Option<Text<'a>>,
    pub unit_measure: Option<Text<'a>>,
    pub currency: Option<Text<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub log: Vec<LogEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge_detail_record: Option<ChargeDetailRecord<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ChargeDetailRecord<'a> {
    pub encoding_method: Option<Text<'a>>,
    pub encoding_method_version: Option<Decimal>,
    pub public_key: Option<Text<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub signed_values: Vec<SignedValue<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SignedValue<'a> {
    pub nature: Option<Text<'a>>,
    pub plain_data: Option<Text<'a>>,
    pub signed_data: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Payment<'a> {
    pub id: Text<'a>,
    pub identification_id: Option<Text<'a>>,
    pub state: Option<Text<'a>>,
    pub created_at: Option<Text<'a>>,
    pub reserved_amount: Option<Decimal>,
    pub amount: Option<Decimal>,
    pub currency: Option<Text<'a>>,
    pub card_entrymode: Option<Text<'a>>,
    pub entry_mode: Option<Text<'a>>,
    pub medium: Option<Text<'a>>,
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
    pub function: Option<Text<'a>>,
    pub scheme: Option<Text<'a>>,
    pub card_id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Text<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub terminal_receipt: Vec<Text<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub fiscal_receipt: Vec<Text<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub log: Vec<LogEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_card: Option<AdditionalCard<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qr_code: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AdditionalCard<'a> {
    pub function: Option<Text<'a>>,
    pub card_id: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CustomerData<'a> {
    pub odometer: Option<Decimal>,
    pub driver_number: Option<Text<'a>>,
    pub vehicle_number: Option<Text<'a>>,
    pub additional_info: Option<Text<'a>>,
    pub license_plate: Option<Text<'a>>,
    pub cost_center: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Receipt<'a> {
    pub ocmf_start: Option<Text<'a>>,
    pub ocmf_stop: Option<Text<'a>>,
    pub state: Option<Text<'a>>,
    pub additional_information: Option<Text<'a>>,
    pub email: Option<Text<'a>>,
    pub links: Option<ReceiptLinks<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub log: Vec<LogEntry<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReceiptLinks<'a> {
    pub customer_url: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Site<'a> {
    pub name: Option<Text<'a>>,
    pub code: Option<Text<'a>>,
    pub timezone: Option<Text<'a>>,
    pub street: Option<Text<'a>>,
    pub city: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Device<'a> {
    pub name: Option<Text<'a>>,
    pub code: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Point<'a> {
    pub name: Option<Text<'a>>,
    pub number: Option<Decimal>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Product<'a> {
    pub id: Text<'a>,
    pub code: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CardIssuer<'a> {
    pub vehicle_number: Option<Text<'a>>,
    pub driver_name: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LogEntry<'a> {
    pub code: Option<Decimal>,
    pub description: Option<Text<'a>>,
    pub timestamp: Option<Text<'a>>,
    pub level: Option<Text<'a>>,
}

impl Transaction<'static> {
    /// Reads a record; `None` when it does not have the document's shape.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// What POST and PUT take: everything a caller may set.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Change<'a> {
    pub site_id: Option<Text<'a>>,
    pub point_id: Option<Text<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub articles: Vec<Article<'a>>,
    #[serde(deserialize_with = "null_is_empty")]
    pub payments: Vec<Payment<'a>>,
    pub customer_data: Option<CustomerData<'a>>,
    pub receipt: Option<Receipt<'a>>,
    pub terminal_transaction_number: Option<Text<'a>>,
    pub session_id: Option<Text<'a>>,
}
