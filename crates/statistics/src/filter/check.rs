//! From a descriptor to its meaning: every field found, every operand brought to its column's type, every rule about null and case
//! decided.
//!
//! Invariant: a [`Node`] needs no further decision. Operands are on the column's own grid (four decimals, whole microseconds), so that
//! comparing never rounds: what lies between two steps of the grid was turned into a comparison with a step.

use super::fields::{Field, Kind, find};
use crate::clock;
use std::cmp::Ordering;
use tillhouse_model::filter::{Operand, Operator, Test};
use tillhouse_model::table::Normalise;
use tillhouse_model::{Error, Exact, Filter, PseudonymKey, Result};
use tillhouse_query::zone::Zone;

/// The meaning of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    /// The same for every row.
    Always(bool),
    IsNull(&'static Field),
    IsNotNull(&'static Field),
    Compare(&'static Field, Order, Value),
    /// Text that holds the value at the given place; null holds nothing, so its opposite passes null.
    Holds {
        field: &'static Field,
        at: At,
        text: String,
        ignore_case: bool,
        not: bool,
    },
}

/// How two values of one type are compared. Null passes `Neq` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
}

/// Where in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Start,
    End,
    Anywhere,
}

/// What a column is compared with, in the column's own type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text {
        text: String,
        ignore_case: bool,
    },
    /// A number in a column of texts.
    InText(Exact),
    /// In units of the column's scale.
    Decimal(i128),
    Whole(i64),
    /// Microseconds since 1970.
    Instant(i64),
    /// Days since 1970.
    Date(i32),
}

impl Node {
    /// The fields it names.
    pub(crate) fn fields(&self) -> Vec<&'static Field> {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().flat_map(Self::fields).collect(),
            Self::Always(_) => Vec::new(),
            Self::IsNull(field) | Self::IsNotNull(field) | Self::Compare(field, ..) | Self::Holds { field, .. } => {
                vec![field]
            }
        }
    }
}

impl Order {
    fn of(operator: Operator) -> Option<Self> {
        Some(match operator {
            Operator::Eq => Self::Eq,
            Operator::Neq => Self::Neq,
            Operator::Lt => Self::Lt,
            Operator::Lte => Self::Lte,
            Operator::Gt => Self::Gt,
            Operator::Gte => Self::Gte,
            _ => return None,
        })
    }

    /// Whether two values that lie like this pass.
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
pub(super) fn check(filter: &Filter, zone: Zone, key: Option<&PseudonymKey>) -> Result<(Filter, Node)> {
    let each = |filters: &[Filter]| -> Result<(Vec<Filter>, Vec<Node>)> {
        Ok(filters.iter().map(|filter| check(filter, zone, key)).collect::<Result<Vec<_>>>()?.into_iter().unzip())
    };
    Ok(match filter {
        Filter::All(filters) => {
            let (filters, nodes) = each(filters)?;
            (Filter::All(filters), Node::All(nodes))
        }
        Filter::Any(filters) => {
            let (filters, nodes) = each(filters)?;
            (Filter::Any(filters), Node::Any(nodes))
        }
        Filter::Test(test) => {
            let field = find(&test.field)?;
            if let Kind::Pseudonym(how) = field.kind {
                let (sealed, node) = personal(field, how, test, key)?;
                return Ok((Filter::Test(sealed), node));
            }
            (filter.clone(), open(field, test, zone)?)
        }
    })
}

/// A test of a column whose values stand in the table as they are.
fn open(field: &'static Field, test: &Test, zone: Zone) -> Result<Node> {
    match (test.operator, Order::of(test.operator)) {
        (Operator::IsNull, _) => return Ok(Node::IsNull(field)),
        (Operator::IsNotNull, _) => return Ok(Node::IsNotNull(field)),
        (_, Some(order)) => return compare(field, order, test, zone),
        _ => {}
    }
    if !is_text(field) {
        return Err(Error::config(format!("{} works on text, and {} is {}", test.operator, field.name, is(field)))
            .hint(format!("Operators for it are {}.", listed(|operator| !operator.is_for_text()))));
    }
    let text = match &test.value {
        Operand::Text(text) => text.clone(),
        // Text operators read null as "", and some look at no value at all.
        Operand::Null => String::new(),
        _ if test.operator.is_unary() => String::new(),
        other => return Err(mismatch(field, other)),
    };
    let empty = || Value::Text { text: String::new(), ignore_case: false };
    let holds = |at: At, not: bool| {
        // Everything, null included, holds the empty text.
        if text.is_empty() {
            return Node::Always(!not);
        }
        Node::Holds { field, at, text: text.clone(), ignore_case: test.ignore_case, not }
    };
    Ok(match test.operator {
        Operator::StartsWith => holds(At::Start, false),
        Operator::DoesNotStartWith => holds(At::Start, true),
        Operator::EndsWith => holds(At::End, false),
        Operator::DoesNotEndWith => holds(At::End, true),
        Operator::Contains => holds(At::Anywhere, false),
        Operator::DoesNotContain => holds(At::Anywhere, true),
        Operator::IsEmpty => Node::Compare(field, Order::Eq, empty()),
        Operator::IsNotEmpty => Node::Compare(field, Order::Neq, empty()),
        Operator::IsNullOrEmpty => Node::Any(vec![Node::IsNull(field), Node::Compare(field, Order::Eq, empty())]),
        _ => Node::All(vec![Node::IsNotNull(field), Node::Compare(field, Order::Neq, empty())]),
    })
}

fn compare(field: &'static Field, order: Order, test: &Test, zone: Zone) -> Result<Node> {
    let value = match (&test.value, field.kind) {
        (Operand::Null, _) => {
            return Ok(match order {
                Order::Eq => Node::IsNull(field),
                Order::Neq => Node::IsNotNull(field),
                // A database's rule: nothing is less or more than null.
                _ => Node::Always(false),
            });
        }
        (Operand::Text(text), Kind::Text | Kind::TextOrNumber | Kind::ProvidersId) => {
            Value::Text { text: text.clone(), ignore_case: test.ignore_case }
        }
        (Operand::Number(number), Kind::TextOrNumber) => Value::InText(*number),
        (Operand::Number(number), Kind::Decimal { precision, scale }) => {
            let most = 10_i128.pow(u32::from(precision)) - 1;
            let floor = number.floor(scale.unsigned_abs());
            return Ok(on_grid(field, order, floor, number.units < 0, (-most, most), Value::Decimal));
        }
        (Operand::Number(number), Kind::Whole) => {
            let (floor, range) = (number.floor(0), (i128::from(i64::MIN), i128::from(i64::MAX)));
            let whole = |units: i128| Value::Whole(i64::try_from(units).unwrap_or_default());
            return Ok(on_grid(field, order, floor, number.units < 0, range, whole));
        }
        (Operand::Text(text), Kind::Instant) => {
            let nanos = clock::read(text, zone).map_err(|e| e.at("field", field.name))?.as_nanosecond();
            let floor = Some((nanos.div_euclid(1000), nanos.rem_euclid(1000) == 0));
            let range = (i128::from(i64::MIN), i128::from(i64::MAX));
            let micros = |units: i128| Value::Instant(i64::try_from(units).unwrap_or_default());
            return Ok(on_grid(field, order, floor, nanos < 0, range, micros));
        }
        (Operand::Text(text), Kind::Date) => {
            let plain = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 10);
            let date = plain.ok_or_else(|| {
                Error::config(format!("{text:?} is no date")).at("field", field.name).hint("Write one like 2026-01-31.")
            })?;
            let days = jiff::civil::date(1970, 1, 1).until((jiff::Unit::Day, date)).map(|span| span.get_days());
            Value::Date(days.map_err(|e| Error::config("a date is out of range").because(e))?)
        }
        (other, _) => return Err(mismatch(field, other)),
    };
    Ok(Node::Compare(field, order, value))
}

/// A comparison with a number, of which the column can hold the steps `range` of its grid: `floor` is the last step not above it and
/// whether the number is that step; none where it lies far outside.
fn on_grid(
    field: &'static Field,
    order: Order,
    floor: Option<(i128, bool)>,
    negative: bool,
    (least, most): (i128, i128),
    value: impl Fn(i128) -> Value,
) -> Node {
    let (step, exact) = floor.unwrap_or((if negative { i128::MIN } else { i128::MAX }, false));
    // Every value there is lies above it, or every value lies below.
    let below_all = step < least;
    if below_all || step > most || (step == most && !exact) {
        return match order {
            Order::Eq => Node::Always(false),
            Order::Neq => Node::Always(true),
            Order::Lt | Order::Lte if below_all => Node::Always(false),
            Order::Gt | Order::Gte if !below_all => Node::Always(false),
            _ => Node::IsNotNull(field),
        };
    }
    let order = match (order, exact) {
        (Order::Eq, false) => return Node::Always(false),
        (Order::Neq, false) => return Node::Always(true),
        // Between two steps: less than it is at most the lower one, more than it is above the lower one.
        (Order::Lt, false) => Order::Lte,
        (Order::Gte, false) => Order::Gt,
        (order, _) => order,
    };
    Node::Compare(field, order, value(step))
}

/// A test of a column of pseudonyms: the operand becomes one as well, here and in the descriptor.
fn personal(field: &'static Field, how: Normalise, test: &Test, key: Option<&PseudonymKey>) -> Result<(Test, Node)> {
    let can = |operator: Operator| {
        !operator.is_for_text() && !matches!(operator, Operator::Lt | Operator::Lte | Operator::Gt | Operator::Gte)
            || operator.is_unary()
    };
    if !can(test.operator) {
        return Err(Error::config(format!(
            "{} cannot be asked of {}: it is stored as a pseudonym, which can be compared as a whole but not looked into",
            test.operator, field.name
        ))
        .hint(format!("Operators for it are {}.", listed(can))));
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
    let compare = |order, text: String| Node::Compare(field, order, Value::Text { text, ignore_case: false });
    let mut sealed = test.clone();
    let node = match (test.operator, &test.value) {
        (Operator::IsNull, _) | (Operator::Eq, Operand::Null) => Node::IsNull(field),
        (Operator::IsNotNull, _) | (Operator::Neq, Operand::Null) => Node::IsNotNull(field),
        (Operator::Eq | Operator::Neq, Operand::Text(text)) => {
            let token = token(text)?;
            sealed.value = Operand::Text(token.clone());
            compare(if test.operator == Operator::Eq { Order::Eq } else { Order::Neq }, token)
        }
        (Operator::Eq | Operator::Neq, other) => return Err(mismatch(field, other)),
        // The empty text has a pseudonym like any other.
        (Operator::IsEmpty, _) => compare(Order::Eq, token("")?),
        (Operator::IsNotEmpty, _) => compare(Order::Neq, token("")?),
        (Operator::IsNullOrEmpty, _) => Node::Any(vec![Node::IsNull(field), compare(Order::Eq, token("")?)]),
        _ => Node::All(vec![Node::IsNotNull(field), compare(Order::Neq, token("")?)]),
    };
    Ok((sealed, node))
}

/// Whether a text has a pseudonym's shape, as somebody copies it from a table.
fn is_pseudonym(text: &str) -> bool {
    let hex = text.strip_prefix("hmac").and_then(|rest| rest.split_once(':'));
    hex.is_some_and(|(version, hex)| {
        !version.is_empty()
            && version.bytes().all(|b| b.is_ascii_digit())
            && hex.len() == 64
            && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn is_text(field: &Field) -> bool {
    matches!(field.kind, Kind::Text | Kind::TextOrNumber | Kind::ProvidersId | Kind::Pseudonym(_))
}

/// What a field is, for an error.
fn is(field: &Field) -> &'static str {
    match field.kind {
        Kind::Text | Kind::ProvidersId | Kind::Pseudonym(_) => "text",
        Kind::TextOrNumber => "text or a number",
        Kind::Decimal { .. } => "a number",
        Kind::Whole => "a whole number",
        Kind::Instant => "an instant",
        Kind::Date => "a date",
    }
}

/// The value is of another type than the field. The value itself is not shown: it may be personal.
fn mismatch(field: &Field, given: &Operand) -> Error {
    let how = match field.kind {
        Kind::Text | Kind::ProvidersId | Kind::Pseudonym(_) => "Write the value in quotes: \"value\": \"...\".",
        Kind::TextOrNumber => "Write \"value\": \"A3\" to compare as text, \"value\": 3 to compare as a number.",
        Kind::Decimal { .. } | Kind::Whole => "Write the value as a number, without quotes: \"value\": 12.5.",
        Kind::Instant => "Write \"value\": \"2026-01-31T12:00:00Z\", or a date for its first instant.",
        Kind::Date => "Write \"value\": \"2026-01-31\".",
    };
    Error::config(format!("{} is {}, and the filter's value is {}", field.name, is(field), given.kind())).hint(how)
}

fn listed(which: impl Fn(Operator) -> bool) -> String {
    let names: Vec<&str> = Operator::ALL.iter().filter(|operator| which(**operator)).map(|o| o.as_str()).collect();
    names.join(", ")
}
