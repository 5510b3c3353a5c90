//! From a descriptor to its meaning: every field found, every operand brought to its column's type, every rule about null and case
//! decided.
//!
//! Invariant: a [`FilterNode`] needs no further decision. Operands are on the column's own grid (four decimals, whole microseconds), so that
//! comparing never rounds: what lies between two steps of the grid was turned into a comparison with a step.

use super::fields::{FilterField, FilterFieldType, find};
use crate::clock;
use std::cmp::Ordering;
use std::ops::RangeInclusive;
use tillhouse_model::table::ValueNormalisation;
use tillhouse_model::{Error, ExactDecimal, Filter, PseudonymKey, Result};
use tillhouse_model::{FilterOperand, FilterOperator, FilterTest};
use tillhouse_query::zone::Zone;

/// Node of a checked filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FilterNode {
    All(Vec<FilterNode>),
    Any(Vec<FilterNode>),
    /// The same for every row.
    Always(bool),
    IsNull(&'static FilterField),
    IsNotNull(&'static FilterField),
    Compare(&'static FilterField, ComparisonOrder, FilterValue),
    /// Text that holds the value at the given place; null holds nothing, so its opposite passes null.
    Holds {
        field: &'static FilterField,
        at: TextPosition,
        text: String,
        ignore_case: bool,
        not: bool,
    },
}

/// Comparison of two values of one type. Null passes `Neq` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ComparisonOrder {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
}

/// Position in a text: start, end or anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextPosition {
    Start,
    End,
    Anywhere,
}

/// Value that a column is compared with, in the column's own type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FilterValue {
    Text {
        text: String,
        ignore_case: bool,
    },
    /// A number in a column of texts.
    InText(ExactDecimal),
    /// In units of the column's scale.
    Decimal(i128),
    Whole(i64),
    /// Microseconds since 1970.
    Instant(i64),
    /// Days since 1970.
    Date(i32),
}

impl FilterNode {
    /// The fields it names.
    pub(crate) fn fields(&self) -> Vec<&'static FilterField> {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().flat_map(Self::fields).collect(),
            Self::Always(_) => Vec::new(),
            Self::IsNull(field)
            | Self::IsNotNull(field)
            | Self::Compare(field, ..)
            | Self::Holds { field, .. } => {
                vec![field]
            }
        }
    }
}

impl ComparisonOrder {
    fn of(operator: FilterOperator) -> Option<Self> {
        Some(match operator {
            FilterOperator::Eq => Self::Eq,
            FilterOperator::Neq => Self::Neq,
            FilterOperator::Lt => Self::Lt,
            FilterOperator::Lte => Self::Lte,
            FilterOperator::Gt => Self::Gt,
            FilterOperator::Gte => Self::Gte,
            _ => return None,
        })
    }

    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::Eq,
        Self::Neq,
        Self::Lt,
        Self::Lte,
        Self::Gt,
        Self::Gte,
    ];

    /// The order's name, as filters write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Gt => "gt",
            Self::Gte => "gte",
        }
    }

    /// The order of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.name() == name)
    }

    /// True if two values in this order pass.
    pub(crate) fn passes(self, ordering: Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Neq => ordering.is_ne(),
            Self::Lt => ordering.is_lt(),
            Self::Lte => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::Gte => ordering.is_ge(),
        }
    }
}

/// The descriptor with pseudonyms for what is personal, and its meaning.
pub(super) fn check(
    filter: &Filter,
    zone: Zone,
    key: Option<&PseudonymKey>,
    sees_personal: bool,
) -> Result<(Filter, FilterNode)> {
    let each = |filters: &[Filter]| -> Result<(Vec<Filter>, Vec<FilterNode>)> {
        Ok(filters
            .iter()
            .map(|filter| check(filter, zone, key, sees_personal))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .unzip())
    };
    Ok(match filter {
        Filter::All(filters) => {
            let (filters, nodes) = each(filters)?;
            (Filter::All(filters), FilterNode::All(nodes))
        }
        Filter::Any(filters) => {
            let (filters, nodes) = each(filters)?;
            (Filter::Any(filters), FilterNode::Any(nodes))
        }
        Filter::Test(test) => {
            let field = find(&test.field, sees_personal)?;
            if let FilterFieldType::Pseudonym(how) = field.kind {
                let (sealed, node) = personal(field, how, test, key)?;
                return Ok((Filter::Test(sealed), node));
            }
            (filter.clone(), open(field, test, zone)?)
        }
    })
}

/// A test of a column whose values stand in the table as they are.
fn open(field: &'static FilterField, test: &FilterTest, zone: Zone) -> Result<FilterNode> {
    match (test.operator, ComparisonOrder::of(test.operator)) {
        (FilterOperator::IsNull, _) => return Ok(FilterNode::IsNull(field)),
        (FilterOperator::IsNotNull, _) => return Ok(FilterNode::IsNotNull(field)),
        (_, Some(order)) => return compare(field, order, test, zone),
        _ => {}
    }
    if !field.takes(test.operator) {
        return Err(Error::config(format!(
            "{} works on text, and {} is {}",
            test.operator,
            field.name,
            is(field)
        ))
        .hint(format!(
            "Operators for it are {}.",
            listed(|operator| field.takes(operator))
        )));
    }
    let text = match &test.value {
        FilterOperand::Text(text) => text.clone(),
        // Text operators read null as "", and some look at no value at all.
        FilterOperand::Null => String::new(),
        _ if test.operator.is_unary() => String::new(),
        other => return Err(mismatch(field, other)),
    };
    let empty = || FilterValue::Text {
        text: String::new(),
        ignore_case: false,
    };
    let holds = |at: TextPosition, not: bool| {
        // Everything, null included, holds the empty text.
        if text.is_empty() {
            return FilterNode::Always(!not);
        }
        FilterNode::Holds {
            field,
            at,
            text: text.clone(),
            ignore_case: test.ignore_case,
            not,
        }
    };
    Ok(match test.operator {
        FilterOperator::StartsWith => holds(TextPosition::Start, false),
        FilterOperator::DoesNotStartWith => holds(TextPosition::Start, true),
        FilterOperator::EndsWith => holds(TextPosition::End, false),
        FilterOperator::DoesNotEndWith => holds(TextPosition::End, true),
        FilterOperator::Contains => holds(TextPosition::Anywhere, false),
        FilterOperator::DoesNotContain => holds(TextPosition::Anywhere, true),
        FilterOperator::IsEmpty => FilterNode::Compare(field, ComparisonOrder::Eq, empty()),
        FilterOperator::IsNotEmpty => FilterNode::Compare(field, ComparisonOrder::Neq, empty()),
        FilterOperator::IsNullOrEmpty => FilterNode::Any(vec![
            FilterNode::IsNull(field),
            FilterNode::Compare(field, ComparisonOrder::Eq, empty()),
        ]),
        _ => FilterNode::All(vec![
            FilterNode::IsNotNull(field),
            FilterNode::Compare(field, ComparisonOrder::Neq, empty()),
        ]),
    })
}

fn compare(
    field: &'static FilterField,
    order: ComparisonOrder,
    test: &FilterTest,
    zone: Zone,
) -> Result<FilterNode> {
    let value = match (&test.value, field.kind) {
        (FilterOperand::Null, _) => {
            return Ok(match order {
                ComparisonOrder::Eq => FilterNode::IsNull(field),
                ComparisonOrder::Neq => FilterNode::IsNotNull(field),
                // A database's rule: nothing is less or more than null.
                _ => FilterNode::Always(false),
            });
        }
        (
            FilterOperand::Text(text),
            FilterFieldType::Text | FilterFieldType::TextOrNumber | FilterFieldType::ProvidersId,
        ) => FilterValue::Text {
            text: text.clone(),
            ignore_case: test.ignore_case,
        },
        (FilterOperand::Number(number), FilterFieldType::TextOrNumber) => {
            FilterValue::InText(*number)
        }
        (FilterOperand::Number(number), FilterFieldType::Decimal { precision, scale }) => {
            let most = 10_i128.pow(u32::from(precision)) - 1;
            let floor = number.floor(scale.unsigned_abs());
            return Ok(on_grid(
                field,
                order,
                floor,
                number.units < 0,
                -most..=most,
                FilterValue::Decimal,
            ));
        }
        (FilterOperand::Number(number), FilterFieldType::Whole) => {
            let (floor, range) = (number.floor(0), i128::from(i64::MIN)..=i128::from(i64::MAX));
            let whole = |units: i128| FilterValue::Whole(i64::try_from(units).unwrap_or_default());
            return Ok(on_grid(field, order, floor, number.units < 0, range, whole));
        }
        (FilterOperand::Text(text), FilterFieldType::Instant) => {
            let nanos = clock::read(text, zone)
                .map_err(|e| e.at("field", field.name))?
                .as_nanosecond();
            let floor = Some((nanos.div_euclid(1000), nanos.rem_euclid(1000) == 0));
            let range = i128::from(i64::MIN)..=i128::from(i64::MAX);
            let micros =
                |units: i128| FilterValue::Instant(i64::try_from(units).unwrap_or_default());
            return Ok(on_grid(field, order, floor, nanos < 0, range, micros));
        }
        (FilterOperand::Text(text), FilterFieldType::Date) => {
            let plain = text
                .parse::<jiff::civil::Date>()
                .ok()
                .filter(|_| text.len() == 10);
            let date = plain.ok_or_else(|| {
                Error::config(format!("{text:?} is no date"))
                    .at("field", field.name)
                    .hint("Write one like 2026-01-31.")
            })?;
            let days = jiff::civil::date(1970, 1, 1)
                .until((jiff::Unit::Day, date))
                .map(|span| span.get_days());
            FilterValue::Date(days.map_err(|e| Error::config("a date is out of range").because(e))?)
        }
        (other, _) => return Err(mismatch(field, other)),
    };
    Ok(FilterNode::Compare(field, order, value))
}

/// A comparison with a number, of which the column can hold the steps `range` of its grid: `floor` is the last step not above it and
/// whether the number is that step; none where it lies far outside.
fn on_grid(
    field: &'static FilterField,
    order: ComparisonOrder,
    floor: Option<(i128, bool)>,
    negative: bool,
    range: RangeInclusive<i128>,
    value: impl Fn(i128) -> FilterValue,
) -> FilterNode {
    let (least, most) = range.into_inner();
    let (step, exact) = floor.unwrap_or((if negative { i128::MIN } else { i128::MAX }, false));
    // Every value there is lies above it, or every value lies below.
    let below_all = step < least;
    if below_all || step > most || (step == most && !exact) {
        return match order {
            ComparisonOrder::Eq => FilterNode::Always(false),
            ComparisonOrder::Neq => FilterNode::Always(true),
            ComparisonOrder::Lt | ComparisonOrder::Lte if below_all => FilterNode::Always(false),
            ComparisonOrder::Gt | ComparisonOrder::Gte if !below_all => FilterNode::Always(false),
            _ => FilterNode::IsNotNull(field),
        };
    }
    let order = match (order, exact) {
        (ComparisonOrder::Eq, false) => return FilterNode::Always(false),
        (ComparisonOrder::Neq, false) => return FilterNode::Always(true),
        // Between two steps: less than it is at most the lower one, more than it is above the lower one.
        (ComparisonOrder::Lt, false) => ComparisonOrder::Lte,
        (ComparisonOrder::Gte, false) => ComparisonOrder::Gt,
        (order, _) => order,
    };
    FilterNode::Compare(field, order, value(step))
}

/// A test of a column of pseudonyms: the operand becomes one as well, here and in the descriptor.
fn personal(
    field: &'static FilterField,
    how: ValueNormalisation,
    test: &FilterTest,
    key: Option<&PseudonymKey>,
) -> Result<(FilterTest, FilterNode)> {
    if !field.takes(test.operator) {
        return Err(Error::config(format!(
            "{} cannot be asked of {}: it is stored as a pseudonym, which can be compared as a whole but not looked into",
            test.operator, field.name
        ))
        .hint(format!(
            "Operators for it are {}.",
            listed(|operator| field.takes(operator))
        )));
    }
    let token = |value: &str| -> Result<String> {
        if is_pseudonym(value) {
            return Ok(value.to_owned());
        }
        let key = key.ok_or_else(|| {
            Error::config(format!(
                "{} is stored as a pseudonym, and there is no key to make one of the filter's value",
                field.name
            ))
            .hint("Set privacy_key in tillhouse.yaml, or give the pseudonym itself, as the table has it.")
        })?;
        Ok(key.pseudonym(how, value))
    };
    let compare = |order, text: String| {
        FilterNode::Compare(
            field,
            order,
            FilterValue::Text {
                text,
                ignore_case: false,
            },
        )
    };
    let mut sealed = test.clone();
    let node = match (test.operator, &test.value) {
        (FilterOperator::IsNull, _) | (FilterOperator::Eq, FilterOperand::Null) => {
            FilterNode::IsNull(field)
        }
        (FilterOperator::IsNotNull, _) | (FilterOperator::Neq, FilterOperand::Null) => {
            FilterNode::IsNotNull(field)
        }
        (FilterOperator::Eq | FilterOperator::Neq, FilterOperand::Text(text)) => {
            let token = token(text)?;
            sealed.value = FilterOperand::Text(token.clone());
            compare(
                if test.operator == FilterOperator::Eq {
                    ComparisonOrder::Eq
                } else {
                    ComparisonOrder::Neq
                },
                token,
            )
        }
        (FilterOperator::Eq | FilterOperator::Neq, other) => return Err(mismatch(field, other)),
        // The empty text has a pseudonym like any other.
        (FilterOperator::IsEmpty, _) => compare(ComparisonOrder::Eq, token("")?),
        (FilterOperator::IsNotEmpty, _) => compare(ComparisonOrder::Neq, token("")?),
        (FilterOperator::IsNullOrEmpty, _) => FilterNode::Any(vec![
            FilterNode::IsNull(field),
            compare(ComparisonOrder::Eq, token("")?),
        ]),
        _ => FilterNode::All(vec![
            FilterNode::IsNotNull(field),
            compare(ComparisonOrder::Neq, token("")?),
        ]),
    };
    Ok((sealed, node))
}

/// True if a text has a pseudonym's shape, as somebody copies it from a table.
fn is_pseudonym(text: &str) -> bool {
    let hex = text
        .strip_prefix("hmac")
        .and_then(|rest| rest.split_once(':'));
    hex.is_some_and(|(version, hex)| {
        !version.is_empty()
            && version.bytes().all(|b| b.is_ascii_digit())
            && hex.len() == 64
            && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Description of a field, for an error.
fn is(field: &FilterField) -> &'static str {
    match field.kind {
        FilterFieldType::Text | FilterFieldType::ProvidersId | FilterFieldType::Pseudonym(_) => {
            "text"
        }
        FilterFieldType::TextOrNumber => "text or a number",
        FilterFieldType::Decimal { .. } => "a number",
        FilterFieldType::Whole => "a whole number",
        FilterFieldType::Instant => "an instant",
        FilterFieldType::Date => "a date",
    }
}

/// The value is of another type than the field. The value itself is not shown: it may be personal.
fn mismatch(field: &FilterField, given: &FilterOperand) -> Error {
    let how = match field.kind {
        FilterFieldType::Text | FilterFieldType::ProvidersId | FilterFieldType::Pseudonym(_) => {
            "Write the value in quotes: \"value\": \"...\"."
        }
        FilterFieldType::TextOrNumber => {
            "Write \"value\": \"A3\" to compare as text, \"value\": 3 to compare as a number."
        }
        FilterFieldType::Decimal { .. } | FilterFieldType::Whole => {
            "Write the value as a number, without quotes: \"value\": 12.5."
        }
        FilterFieldType::Instant => {
            "Write \"value\": \"2026-01-31T12:00:00Z\", or a date for its first instant."
        }
        FilterFieldType::Date => "Write \"value\": \"2026-01-31\".",
    };
    Error::config(format!(
        "{} is {}, and the filter's value is {}",
        field.name,
        is(field),
        given.kind()
    ))
    .hint(how)
}

fn listed(which: impl Fn(FilterOperator) -> bool) -> String {
    let names: Vec<&str> = FilterOperator::ALL
        .iter()
        .filter(|operator| which(**operator))
        .map(|o| o.as_str())
        .collect();
    names.join(", ")
}
