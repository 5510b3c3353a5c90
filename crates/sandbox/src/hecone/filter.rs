//! Kendo filter descriptors, read and applied record by record: the provider's side of `filter`.
//!
//! Invariant: a parsed filter names known fields and operators only, is at most 32 deep and has at most 1,000 nodes.

use super::wire::HecOneTransaction;
use crate::decimal::Decimal;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::cmp::Ordering;

/// Parsed filter of the transaction list.
#[derive(Debug, Clone)]
pub(crate) enum HecOneFilter {
    All(Vec<Self>),
    Any(Vec<Self>),
    Test {
        field: String,
        operator: HecOneFilterOperator,
        operand: HecOneFilterValue,
        ignore_case: bool,
    },
}

/// Comparison of a Kendo filter descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HecOneFilterOperator {
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

/// A field's value or a filter's operand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum HecOneFilterValue {
    Null,
    Text(String),
    Number(Decimal),
    Instant(Timestamp),
}

/// A Kendo filter descriptor as it was sent.
#[derive(Deserialize)]
struct RawHecOneFilter<'a> {
    field: Option<String>,
    operator: Option<HecOneFilterOperator>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(rename = "ignoreCase")]
    ignore_case: Option<bool>,
    logic: Option<String>,
    #[serde(borrow)]
    filters: Option<Vec<&'a RawValue>>,
}

impl HecOneFilter {
    /// Reads a descriptor; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::node(text, 1, &mut 0)
    }

    fn node(text: &str, depth: usize, nodes: &mut usize) -> Result<Self, String> {
        *nodes += 1;
        if depth > 32 || *nodes > 1000 {
            return Err("the filter is deeper than 32 or has more than 1000 nodes".into());
        }
        let raw: RawHecOneFilter<'_> = serde_json::from_str(text)
            .map_err(|error| format!("not a filter descriptor: {error}"))?;
        if let Some(filters) = raw.filters {
            let filters: Result<Vec<Self>, String> = filters
                .iter()
                .map(|filter| Self::node(filter.get(), depth + 1, nodes))
                .collect();
            return match raw.logic.as_deref() {
                Some("and") => Ok(Self::All(filters?)),
                Some("or") => Ok(Self::Any(filters?)),
                _ => Err("`logic` must be \"and\" or \"or\"".into()),
            };
        }
        let (Some(field), Some(operator)) = (raw.field, raw.operator) else {
            return Err("a filter needs `field` and `operator`".into());
        };
        let kind = value(&HecOneTransaction::default(), &field)
            .ok_or_else(|| format!("cannot filter by {field:?}"))?
            .1;
        let operand = operand(raw.value.map_or("null", RawValue::get), kind, operator)?;
        Ok(Self::Test {
            field,
            operator,
            operand,
            ignore_case: raw.ignore_case.unwrap_or(true),
        })
    }

    /// True if a record passes.
    pub(crate) fn passes(&self, record: &HecOneTransaction<'_>) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.passes(record)),
            Self::Any(filters) => filters.iter().any(|filter| filter.passes(record)),
            Self::Test {
                field,
                operator,
                operand,
                ignore_case,
            } => value(record, field)
                .is_some_and(|(found, _)| test(&found, *operator, operand, *ignore_case)),
        }
    }
}

/// Type of a field that filters test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HecOneFieldType {
    Text,
    Number,
    Instant,
}

/// A field of a record and what kind it is; `None` for a field that does not exist.
fn value(
    record: &HecOneTransaction<'_>,
    field: &str,
) -> Option<(HecOneFilterValue, HecOneFieldType)> {
    let text = |text: Option<&str>| {
        (
            text.map_or(HecOneFilterValue::Null, |t| {
                HecOneFilterValue::Text(t.to_owned())
            }),
            HecOneFieldType::Text,
        )
    };
    let number = |number: Option<Decimal>| {
        (
            number.map_or(HecOneFilterValue::Null, HecOneFilterValue::Number),
            HecOneFieldType::Number,
        )
    };
    let invoice = record.invoice.as_ref();
    let customer = record.customer_data.as_ref();
    Some(match field {
        "created_at" => {
            let at = invoice
                .and_then(|i| i.created_at.as_deref())
                .and_then(|text| text.parse().ok());
            (
                at.map_or(HecOneFilterValue::Null, HecOneFilterValue::Instant),
                HecOneFieldType::Instant,
            )
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
        "card_vehicle_number" => text(
            record
                .card_issuer
                .as_ref()
                .and_then(|c| c.vehicle_number.as_deref()),
        ),
        "card_driver_number" => text(
            record
                .card_issuer
                .as_ref()
                .and_then(|c| c.driver_name.as_deref()),
        ),
        _ => return None,
    })
}

fn operand(
    json: &str,
    kind: HecOneFieldType,
    operator: HecOneFilterOperator,
) -> Result<HecOneFilterValue, String> {
    if json == "null" {
        return Ok(HecOneFilterValue::Null);
    }
    let text = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned());
    let on_text = !matches!(
        operator,
        HecOneFilterOperator::Eq
            | HecOneFilterOperator::Neq
            | HecOneFilterOperator::Lt
            | HecOneFilterOperator::Lte
            | HecOneFilterOperator::Gt
            | HecOneFilterOperator::Gte
    );
    match kind {
        _ if on_text => Ok(HecOneFilterValue::Text(text)),
        HecOneFieldType::Text => Ok(HecOneFilterValue::Text(text)),
        HecOneFieldType::Number => Decimal::parse(&text)
            .map(HecOneFilterValue::Number)
            .ok_or_else(|| "the filter's value is not a number".into()),
        HecOneFieldType::Instant => text
            .parse()
            .map(HecOneFilterValue::Instant)
            .map_err(|_| "the filter's value is not a time with an offset".into()),
    }
}

fn test(
    found: &HecOneFilterValue,
    operator: HecOneFilterOperator,
    operand: &HecOneFilterValue,
    ignore_case: bool,
) -> bool {
    let fold = |text: &str| {
        if ignore_case {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    let order = || -> Option<Ordering> {
        match (found, operand) {
            (HecOneFilterValue::Text(a), HecOneFilterValue::Text(b)) => Some(fold(a).cmp(&fold(b))),
            (HecOneFilterValue::Number(a), HecOneFilterValue::Number(b)) => Some(a.cmp(b)),
            (HecOneFilterValue::Instant(a), HecOneFilterValue::Instant(b)) => Some(a.cmp(b)),
            _ => None,
        }
    };
    let is_null = *found == HecOneFilterValue::Null;
    // Text operators read null as the empty text.
    let text = || match found {
        HecOneFilterValue::Null => String::new(),
        HecOneFilterValue::Text(text) => fold(text),
        HecOneFilterValue::Number(number) => number.to_string(),
        HecOneFilterValue::Instant(instant) => instant.to_string(),
    };
    let wanted = || {
        if let HecOneFilterValue::Text(text) = operand {
            fold(text)
        } else {
            String::new()
        }
    };
    match operator {
        HecOneFilterOperator::Eq if *operand == HecOneFilterValue::Null => is_null,
        HecOneFilterOperator::Neq if *operand == HecOneFilterValue::Null => !is_null,
        HecOneFilterOperator::Eq => order() == Some(Ordering::Equal),
        HecOneFilterOperator::Neq => order() != Some(Ordering::Equal),
        HecOneFilterOperator::Lt => order() == Some(Ordering::Less),
        HecOneFilterOperator::Lte => order().is_some_and(Ordering::is_le),
        HecOneFilterOperator::Gt => order() == Some(Ordering::Greater),
        HecOneFilterOperator::Gte => order().is_some_and(Ordering::is_ge),
        HecOneFilterOperator::IsNull => is_null,
        HecOneFilterOperator::IsNotNull => !is_null,
        HecOneFilterOperator::StartsWith => text().starts_with(&wanted()),
        HecOneFilterOperator::EndsWith => text().ends_with(&wanted()),
        HecOneFilterOperator::DoesNotStartWith => !text().starts_with(&wanted()),
        HecOneFilterOperator::DoesNotEndWith => !text().ends_with(&wanted()),
        HecOneFilterOperator::Contains => text().contains(&wanted()),
        HecOneFilterOperator::DoesNotContain => !text().contains(&wanted()),
        HecOneFilterOperator::IsEmpty => !is_null && text().is_empty(),
        HecOneFilterOperator::IsNotEmpty => is_null || !text().is_empty(),
        HecOneFilterOperator::IsNullOrEmpty => text().is_empty(),
        HecOneFilterOperator::IsNotNullOrEmpty => !text().is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(filter: &str, record: &str) -> bool {
        HecOneFilter::parse(filter)
            .unwrap()
            .passes(&HecOneTransaction::parse(record.as_bytes()).unwrap())
    }

    #[test]
    fn operators_follow_the_descriptors_rules() {
        let record = r#"{"id":"a","state":"Completed","invoice":{"amount":10.50,"created_at":"2026-01-01T01:00:00+01:00"}}"#;
        let cases = [
            (
                r#"{"field":"state","operator":"eq","value":"completed"}"#,
                true,
            ),
            (
                r#"{"field":"state","operator":"eq","value":"completed","ignoreCase":false}"#,
                false,
            ),
            (r#"{"field":"amount","operator":"gte","value":10.5}"#, true),
            (r#"{"field":"amount","operator":"gt","value":10.5}"#, false),
            (
                r#"{"field":"paid_amount","operator":"lt","value":10.5}"#,
                false,
            ),
            (
                r#"{"field":"created_at","operator":"eq","value":"2026-01-01T00:00:00Z"}"#,
                true,
            ),
            (r#"{"field":"license_plate","operator":"isnull"}"#, true),
            (
                r#"{"field":"license_plate","operator":"neq","value":"X"}"#,
                true,
            ),
            (
                r#"{"field":"license_plate","operator":"doesnotcontain","value":"X"}"#,
                true,
            ),
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
            assert!(HecOneFilter::parse(bad).is_err(), "{bad}");
        }
    }
}
