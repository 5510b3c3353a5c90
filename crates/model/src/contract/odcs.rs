//! A contract as it is written: the keys of the Open Data Contract Standard, v3.1 and v3.2, each with its place in the file.
//!
//! Invariant: every key the standard has is known here, so that a key nobody knows is a slip of the hand and refused. Keys that
//! mean nothing to Tillhouse (prices, teams, support channels) are ignored.

use crate::yaml::Spanned;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;

/// Kind and version of a contract, read before all else: a contract of another edition must not
/// fail for its keys.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OdcsEdition {
    pub(super) api_version: Option<Spanned<String>>,
    pub(super) kind: Option<Spanned<String>>,
}

/// Whole file of an Open Data Contract Standard contract.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "keys of the standard that mean nothing here are known, and read over"
)]
pub(super) struct OdcsContract {
    api_version: Option<IgnoredAny>,
    kind: Option<IgnoredAny>,
    pub(super) id: Option<Spanned<String>>,
    name: Option<IgnoredAny>,
    pub(super) version: Option<Spanned<String>>,
    pub(super) status: Option<Spanned<String>>,
    tenant: Option<IgnoredAny>,
    tags: Option<IgnoredAny>,
    servers: Option<IgnoredAny>,
    pub(super) data_product: Option<Spanned<String>>,
    description: Option<IgnoredAny>,
    domain: Option<IgnoredAny>,
    pub(super) schema: Option<Spanned<Vec<Spanned<OdcsTable>>>>,
    support: Option<IgnoredAny>,
    price: Option<IgnoredAny>,
    team: Option<IgnoredAny>,
    roles: Option<IgnoredAny>,
    sla_default_element: Option<IgnoredAny>,
    sla_properties: Option<IgnoredAny>,
    authoritative_definitions: Option<IgnoredAny>,
    custom_properties: Option<IgnoredAny>,
    contract_created_ts: Option<IgnoredAny>,
    context: Option<IgnoredAny>,
}

/// Entry of `schema`: a table.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "keys of the standard that mean nothing here are known, and read over"
)]
pub(super) struct OdcsTable {
    id: Option<IgnoredAny>,
    pub(super) name: Option<Spanned<String>>,
    physical_name: Option<IgnoredAny>,
    physical_type: Option<IgnoredAny>,
    pub(super) description: Option<Spanned<String>>,
    business_name: Option<IgnoredAny>,
    data_granularity_description: Option<IgnoredAny>,
    pub(super) logical_type: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) properties: Vec<Spanned<OdcsProperty>>,
    #[serde(default)]
    pub(super) quality: Vec<Spanned<OdcsQuality>>,
    relationships: Option<IgnoredAny>,
    authoritative_definitions: Option<IgnoredAny>,
    tags: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) custom_properties: Vec<OdcsCustomProperty>,
    deprecated: Option<IgnoredAny>,
    synonyms: Option<IgnoredAny>,
    context: Option<IgnoredAny>,
}

/// Column, field of an object, or items of an array.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "keys of the standard that mean nothing here are known, and read over"
)]
pub(super) struct OdcsProperty {
    id: Option<IgnoredAny>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) physical_name: Option<Spanned<String>>,
    pub(super) physical_type: Option<Spanned<String>>,
    pub(super) description: Option<Spanned<String>>,
    business_name: Option<IgnoredAny>,
    pub(super) logical_type: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) logical_type_options: BTreeMap<String, Spanned<OdcsValue>>,
    pub(super) required: Option<Spanned<bool>>,
    pub(super) unique: Option<Spanned<bool>>,
    pub(super) primary_key: Option<Spanned<bool>>,
    pub(super) primary_key_position: Option<Spanned<i64>>,
    pub(super) partitioned: Option<Spanned<bool>>,
    pub(super) partition_key_position: Option<Spanned<i64>>,
    pub(super) classification: Option<Spanned<String>>,
    encrypted_name: Option<IgnoredAny>,
    transform_source_objects: Option<IgnoredAny>,
    transform_logic: Option<IgnoredAny>,
    transform_description: Option<IgnoredAny>,
    pub(super) examples: Option<Vec<OdcsExample>>,
    critical_data_element: Option<IgnoredAny>,
    relationships: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) quality: Vec<Spanned<OdcsQuality>>,
    authoritative_definitions: Option<IgnoredAny>,
    tags: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) custom_properties: Vec<OdcsCustomProperty>,
    pub(super) properties: Option<Spanned<Vec<Spanned<OdcsProperty>>>>,
    pub(super) items: Option<Box<Spanned<OdcsProperty>>>,
    #[serde(rename = "enum")]
    pub(super) values: Option<Spanned<IgnoredAny>>,
    semantic_type: Option<IgnoredAny>,
    deprecated: Option<IgnoredAny>,
    synonyms: Option<IgnoredAny>,
}

/// Quality rule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "keys of the standard that mean nothing here are known, and read over"
)]
pub(super) struct OdcsQuality {
    id: Option<IgnoredAny>,
    pub(super) name: Option<Spanned<String>>,
    description: Option<IgnoredAny>,
    #[serde(rename = "type")]
    pub(super) sort: Option<Spanned<String>>,
    pub(super) metric: Option<Spanned<String>>,
    pub(super) rule: Option<Spanned<IgnoredAny>>,
    #[serde(default)]
    pub(super) arguments: BTreeMap<String, Spanned<OdcsValue>>,
    pub(super) must_be: Option<Spanned<OdcsValue>>,
    must_not_be: Option<IgnoredAny>,
    must_be_greater_than: Option<IgnoredAny>,
    must_be_greater_or_equal_to: Option<IgnoredAny>,
    must_be_less_than: Option<IgnoredAny>,
    must_be_less_or_equal_to: Option<IgnoredAny>,
    must_be_between: Option<IgnoredAny>,
    must_not_be_between: Option<IgnoredAny>,
    query: Option<IgnoredAny>,
    pub(super) engine: Option<Spanned<String>>,
    pub(super) implementation: Option<Spanned<OdcsValue>>,
    dimension: Option<IgnoredAny>,
    business_impact: Option<IgnoredAny>,
    severity: Option<IgnoredAny>,
    method: Option<IgnoredAny>,
    schedule: Option<IgnoredAny>,
    scheduler: Option<IgnoredAny>,
    unit: Option<IgnoredAny>,
    authoritative_definitions: Option<IgnoredAny>,
    tags: Option<IgnoredAny>,
    custom_properties: Option<IgnoredAny>,
}

/// Custom property: the standard's way to say what it has no key for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "keys of the standard that mean nothing here are known, and read over"
)]
pub(super) struct OdcsCustomProperty {
    id: Option<IgnoredAny>,
    pub(super) property: Spanned<String>,
    pub(super) value: Spanned<OdcsValue>,
    description: Option<IgnoredAny>,
    vendor: Option<IgnoredAny>,
}

/// Example of a value, as text; `None` for objects and lists, which the standard allows too.
#[derive(Debug)]
pub(super) struct OdcsExample(pub(super) Option<String>);

impl<'de> Deserialize<'de> for OdcsExample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExampleVisitor)
    }
}

struct ExampleVisitor;

impl<'de> Visitor<'de> for ExampleVisitor {
    type Value = OdcsExample;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<OdcsExample, E> {
        Ok(OdcsExample(Some(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<OdcsExample, E> {
        Ok(OdcsExample(Some(value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<OdcsExample, E> {
        Ok(OdcsExample(Some(value.to_string())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<OdcsExample, E> {
        Ok(OdcsExample(Some(value.to_string())))
    }

    fn visit_str<E>(self, value: &str) -> Result<OdcsExample, E> {
        Ok(OdcsExample(Some(value.trim().to_owned())))
    }

    fn visit_unit<E>(self) -> Result<OdcsExample, E> {
        Ok(OdcsExample(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<OdcsExample, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(OdcsExample(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<OdcsExample, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(OdcsExample(None))
    }
}

/// Value whose type the standard leaves open.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum OdcsValue {
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<OdcsValue>),
    Map(BTreeMap<String, OdcsValue>),
    Other(IgnoredAny),
}

impl OdcsValue {
    /// The text, where it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The texts, where it is a list of them and not empty.
    pub(super) fn as_texts(&self) -> Option<Vec<&str>> {
        match self {
            Self::List(values) if !values.is_empty() => values.iter().map(Self::as_text).collect(),
            _ => None,
        }
    }
}
