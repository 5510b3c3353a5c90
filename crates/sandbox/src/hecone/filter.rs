//! Kendo filter descriptors, read and applied record by record: the provider's side of `filter`.
//!
//! Invariant: a parsed filter names known fields and operators only, is at most 32 deep and has at most 1,000 nodes.

use super::wire::Transaction;
use crate::decimal::Decimal;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::cmp::Ordering;

/// A filter that can be asked.
#[derive(Debug, Clone)]
pub(crate) enum Filter {
    All(Vec<Self>),
    Any(Vec<Self>),
    Test { field: String, operator: Operator, operand: Value, ignore_case: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Operator {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
    IsNull,
    IsNotNull,
    StartsWith,
    EndsWith,
    DoesNotStartWith,
    DoesNotEndWith,
    Contains,
    DoesNotContain,
    IsEmpty,
    IsNotEmpty,
    IsNullOrEmpty,
    IsNotNullOrEmpty,
}

/// A field's value, or what it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Text(String),
    Number(Decimal),
    Instant(Timestamp),
}

#[derive(Deserialize)]
struct Raw<'a> {
    field: Option<String>,
    operator: Option<Operator>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(rename = "ignoreCase")]
    ignore_case: Option<bool>,
    logic: Option<String>,
    #[serde(borrow)]
    filters: Option<Vec<&'a RawValue>>,
}

impl Filter {
    /// Reads a descriptor; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::node(text, 1, &mut 0)
    }

    fn node(text: &str, depth: usize, nodes: &mut usize) -> Result<Self, String> {
        *nodes += 1;
        if depth > 32 || *nodes > 1000 {
            return Err("the filter is deeper than 32 or has more than 1000 nodes".into());
        }
        let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| format!("not a filter descriptor: {error}"))?;
        if let Some(filters) = raw.filters {
            let filters: Result<Vec<Self>, String> =
                filters.iter().map(|filter| Self::node(filter.get(), depth + 1, nodes)).collect();
            return match raw.logic.as_deref() {
                Some("and") => Ok(Self::All(filters?)),
                Some("or") => Ok(Self::Any(filters?)),
                _ => Err("`logic` must be \"and\" or \"or\"".into()),
            };
        }
        let (Some(field), Some(operator)) = (raw.field, raw.operator) else {
            return Err("a filter needs `field` and `operator`".into());
        };
        let kind = value(&Transaction::default(), &field).ok_or_else(|| format!("cannot filter by {field:?}"))?.1;
        let operand = operand(raw.value.map_or("null", RawValue::get), kind, operator)?;
        Ok(Self::Test { field, operator, operand, ignore_case: raw.ignore_case.unwrap_or(true) })
    }

    /// Whether a record passes.
    pub(crate) fn passes(&self, record: &Transaction<'_>) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.passes(record)),
            Self::Any(filters) => filters.iter().any(|filter| filter.passes(record)),
            Self::Test { field, operator, operand, ignore_case } => {
                value(record, field).is_some_and(|(found, _)| test(&found, *operator, operand, *ignore_case))
            }
        }
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Instant,
}

/// A field of a record and what kind it is; `None` for a field that does not exist.
fn value(record: &Transaction<'_>, field: &str) -> Option<(Value, Kind)> {
    let text = |text: Option<&str>| (text.map_or(Value::Null, |t| Value::Text(t.to_owned())), Kind::Text);
    let number = |number: Option<Decimal>| (number.map_or(Value::Null, Value::Number), Kind::Number);
    let invoice = record.invoice.as_ref();
    let customer = record.customer_data.as_ref();
    Some(match field {
        "created_at" => {
            let at = invoice.and_then(|i| i.created_at.as_deref()).and_then(|text| text.parse().ok());
            (at.map_or(Value::Null, Value::Instant), Kind::Instant)
        }
        "amount" => number(invoice.and_then(|i| i.amount)),
        "paid_amount" => number(invoice.and_then(|i| i.paid_amount)),
        "point_number" => number(record.point.as_ref().and_then(|p| p.number)),
        "customer_odometer" => number(customer.and_then(|c| c.odometer)),
        "id" => text(Some(&record.id)),
        "mandator_id" => text(Some(&record.mandator_id)),
        "state" => text(Some(&record.state)),
        "site_id" => text(record.site_id.as_deref()),
        "point_id" => text(record.point_id.as_deref()),
        "session_id" => text(record.session_id.as_deref()),
        "terminal_transaction_number" => text(record.terminal_transaction_number.as_deref()),
        "client_id" => text(record.client.as_ref().and_then(|c| c.id.as_deref())),
        "client_type" => text(record.client.as_ref().and_then(|c| c.kind.as_deref())),
        "receipt_state" => text(record.receipt.as_ref().and_then(|r| r.state.as_deref())),
        "receipt_email" => text(record.receipt.as_ref().and_then(|r| r.email.as_deref())),
        "site_name" => text(record.site.as_ref().and_then(|s| s.name.as_deref())),
        "site_code" => text(record.site.as_ref().and_then(|s| s.code.as_deref())),
        "device_name" => text(record.device.as_ref().and_then(|d| d.name.as_deref())),
        "device_code" => text(record.device.as_ref().and_then(|d| d.code.as_deref())),
        "point_name" => text(record.point.as_ref().and_then(|p| p.name.as_deref())),
        "license_plate" => text(customer.and_then(|c| c.license_plate.as_deref())),
        "customer_driver_number" => text(customer.and_then(|c| c.driver_number.as_deref())),
        "customer_vehicle_number" => text(customer.and_then(|c| c.vehicle_number.as_deref())),
        "customer_additional_info" => text(customer.and_then(|c| c.additional_info.as_deref())),
        "card_vehicle_number" => text(record.card_issuer.as_ref().and_then(|c| c.vehicle_number.as_deref())),
        "card_driver_number" => text(record.card_issuer.as_ref().and_then(|c| c.driver_name.as_deref())),
        _ => return None,
    })
}

fn operand(json: &str, kind: Kind, operator: Operator) -> Result<Value, String> {
    if json == "null" {
        return Ok(Value::Null);
    }
    let text = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned());
    let on_text =
        !matches!(operator, Operator::Eq | Operator::Neq | Operator::Lt | Operator::Lte | Operator::Gt | Operator::Gte);
    match kind {
        _ if on_text => Ok(Value::Text(text)),
        Kind::Text => Ok(Value::Text(text)),
        Kind::Number => {
            Decimal::parse(&text).map(Value::Number).ok_or_else(|| "the filter's value is not a number".into())
        }
        Kind::Instant => {
            text.parse().map(Value::Instant).map_err(|_| "the filter's value is not a time with an offset".into())
        }
    }
}

fn test(found: &Value, operator: Operator, operand: &Value, ignore_case: bool) -> bool {
    let fold = |text: &str| if ignore_case { text.to_lowercase() } else { text.to_owned() };
    let order = || -> Option<Ordering> {
        match (found, operand) {
            (Value::Text(a), Value::Text(b)) => Some(fold(a).cmp(&fold(b))),
            (Value::Number(a), Value::Number(b)) => Some(a.cmp(b)),
            (Value::Instant(a), Value::Instant(b)) => Some(a.cmp(b)),
            _ => None,
        }
    };
    let is_null = *found == Value::Null;
    // Text operators read null as the empty text.
    let text = || match found {
        Value::Null => String::new(),
        Value::Text(text) => fold(text),
        Value::Number(number) => number.to_string(),
        Value::Instant(instant) => instant.to_string(),
    };
    let wanted = || if let Value::Text(text) = operand { fold(text) } else { String::new() };
    match operator {
        Operator::Eq if *operand == Value::Null => is_null,
        Operator::Neq if *operand == Value::Null => !is_null,
        Operator::Eq => order() == Some(Ordering::Equal),
        Operator::Neq => order() != Some(Ordering::Equal),
        Operator::Lt => order() == Some(Ordering::Less),
        Operator::Lte => order().is_some_and(Ordering::is_le),
        Operator::Gt => order() == Some(Ordering::Greater),
        Operator::Gte => order().is_some_and(Ordering::is_ge),
        Operator::IsNull => is_null,
        Operator::IsNotNull => !is_null,
        Operator::StartsWith => text().starts_with(&wanted()),
        Operator::EndsWith => text().ends_with(&wanted()),
        Operator::DoesNotStartWith => !text().starts_with(&wanted()),
        Operator::DoesNotEndWith => !text().ends_with(&wanted()),
        Operator::Contains => text().contains(&wanted()),
        Operator::DoesNotContain => !text().contains(&wanted()),
        Operator::IsEmpty => !is_null && text().is_empty(),
        Operator::IsNotEmpty => is_null || !text().is_empty(),
        Operator::IsNullOrEmpty => text().is_empty(),
        Operator::IsNotNullOrEmpty => !text().is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(filter: &str, record: &str) -> bool {
        Filter::parse(filter).unwrap().passes(&Transaction::parse(record.as_bytes()).unwrap())
    }

    #[test]
    fn operators_follow_the_descriptors_rules() {
        let record =
            r#"{"id":"a","state":"Completed","invoice":{"amount":10.50,"created_at":"2026-01-01T01:00:00+01:00"}}"#;
        let cases = [
            (r#"{"field":"state","operator":"eq","value":"completed"}"#, true),
            (r#"{"field":"state","operator":"eq","value":"completed","ignoreCase":false}"#, false),
            (r#"{"field":"amount","operator":"gte","value":10.5}"#, true),
            (r#"{"field":"amount","operator":"gt","value":10.5}"#, false),
            (r#"{"field":"paid_amount","operator":"lt","value":10.5}"#, false),
            (r#"{"field":"created_at","operator":"eq","value":"2026-01-01T00:00:00Z"}"#, true),
            (r#"{"field":"license_plate","operator":"isnull"}"#, true),
            (r#"{"field":"license_plate","operator":"neq","value":"X"}"#, true),
            (r#"{"field":"license_plate","operator":"doesnotcontain","value":"X"}"#, true),
            (r#"{"field":"license_plate","operator":"isempty"}"#, false),
            (r#"{"field":"license_plate","operator":"isnotempty"}"#, true),
            (r#"{"logic":"and","filters":[]}"#, true),
            (r#"{"logic":"or","filters":[]}"#, false),
            (
                r#"{"logic":"or","filters":[{"field":"id","operator":"eq","value":"b"},{"field":"id","operator":"startswith","value":"A"}]}"#,
                true,
            ),
        ];
        for (filter, expected) in cases {
            assert_eq!(passes(filter, record), expected, "{filter}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let deep = format!(
            "{}{{\"logic\":\"and\",\"filters\":[]}}{}",
            "{\"logic\":\"and\",\"filters\":[".repeat(40),
            "]}".repeat(40)
        );
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"field":"pin","operator":"eq"}"#,
            r#"{"field":"id","operator":"like"}"#,
            r#"{"field":"amount","operator":"eq","value":"ten"}"#,
            &deep,
        ] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }
}
