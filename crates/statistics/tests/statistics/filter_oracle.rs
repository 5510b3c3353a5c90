//! The documented meaning of one test of a filter, read plainly.
//!
//! Invariant: nothing here knows how the crate filters; the rules are written from docs/statistics.md, with integers for numbers and string
//! functions for text.

use crate::world::{OracleValue, key, meaning};
use jiff::Timestamp;
use jiff::civil::Date;
use std::cmp::Ordering;
use tillhouse_model::table::ValueNormalisation;
use tillhouse_model::{ColumnClass, ColumnKind, ExactDecimal};
use tillhouse_model::{FilterOperand, FilterOperator, FilterTest};

fn is_for_text(operator: FilterOperator) -> bool {
    use FilterOperator::{Eq, Gt, Gte, IsNotNull, IsNull, Lt, Lte, Neq};
    !matches!(
        operator,
        Eq | Neq | Lt | Lte | Gt | Gte | IsNull | IsNotNull
    )
}

fn looks_into(operator: FilterOperator) -> bool {
    use FilterOperator::{
        Contains, DoesNotContain, DoesNotEndWith, DoesNotStartWith, EndsWith, StartsWith,
    };
    matches!(
        operator,
        StartsWith | EndsWith | Contains | DoesNotStartWith | DoesNotEndWith | DoesNotContain
    )
}

/// True if operator and value fit the field.
pub(crate) fn is_fine(test: &FilterTest) -> bool {
    use FilterOperator::{Gt, Gte, Lt, Lte};
    let (table, column, kind, class) = meaning(&test.field);
    if matches!(class, ColumnClass::Pseudonym(_)) {
        let fits = test.operator.is_unary()
            || matches!(test.value, FilterOperand::Null | FilterOperand::Text(_));
        return !looks_into(test.operator) && !matches!(test.operator, Lt | Lte | Gt | Gte) && fits;
    }
    if is_for_text(test.operator) && *kind != ColumnKind::Text {
        return false;
    }
    if test.operator.is_unary() || test.value == FilterOperand::Null {
        return true;
    }
    match (kind, &test.value) {
        (ColumnKind::Text, FilterOperand::Text(_))
        | (ColumnKind::Decimal { .. } | ColumnKind::Int, FilterOperand::Number(_)) => true,
        (ColumnKind::Text, FilterOperand::Number(_)) => {
            (table, column) == ("points", "number") && !looks_into(test.operator)
        }
        (ColumnKind::Timestamp(_), FilterOperand::Text(text)) => instant(text).is_some(),
        (ColumnKind::Date, FilterOperand::Text(text)) => {
            text.len() == 10 && text.parse::<Date>().is_ok()
        }
        _ => false,
    }
}

/// Nanoseconds of a time with its offset, or of a date's midnight an hour ahead of UTC, the zone these tests ask in.
fn instant(text: &str) -> Option<i128> {
    let date = || text.parse::<Date>().ok().filter(|_| text.len() == 10);
    let midnight = || {
        format!("{}T00:00:00+01:00", date()?)
            .parse::<Timestamp>()
            .ok()
    };
    Some(
        text.parse::<Timestamp>()
            .ok()
            .or_else(midnight)?
            .as_nanosecond(),
    )
}

/// Two decimals, whatever their scales.
fn order(a: i128, a_scale: u8, b: ExactDecimal) -> Ordering {
    let (up_a, up_b) = (
        b.scale.saturating_sub(a_scale),
        a_scale.saturating_sub(b.scale),
    );
    let scaled = |units: i128, up: u8| units.checked_mul(10_i128.checked_pow(u32::from(up))?);
    match (scaled(a, up_a), scaled(b.units, up_b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, _) => a.cmp(&0),
        (_, None) => 0.cmp(&b.units),
    }
}

fn holds(operator: FilterOperator, ordering: Ordering) -> bool {
    match operator {
        FilterOperator::Eq => ordering == Ordering::Equal,
        FilterOperator::Neq => ordering != Ordering::Equal,
        FilterOperator::Lt => ordering == Ordering::Less,
        FilterOperator::Lte => ordering != Ordering::Greater,
        FilterOperator::Gt => ordering == Ordering::Greater,
        _ => ordering != Ordering::Less,
    }
}

/// A number as the text of a point's number has it: an optional minus, digits, perhaps a point and digits.
fn number_in(text: &str) -> Option<(i128, u8)> {
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let complete = !whole.is_empty() && (!fraction.is_empty() || !digits.contains('.'));
    (complete && plain(whole) && plain(fraction)).then(|| {
        (
            sign * format!("{whole}{fraction}").parse::<i128>().unwrap(),
            u8::try_from(fraction.len()).unwrap(),
        )
    })
}

/// One test of one value, by the rules.
pub(crate) fn passes(test: &FilterTest, value: &OracleValue) -> bool {
    let (_, _, kind, class) = meaning(&test.field);
    let is_null = *value == OracleValue::Null;
    let text = match value {
        OracleValue::Text(text) => Some(text.clone()),
        _ => None,
    };
    let token = |how: ValueNormalisation, operand: &str| {
        if operand.starts_with("hmac1:") {
            operand.to_owned()
        } else {
            key().pseudonym(how, operand)
        }
    };
    // The empty text, as the column has it.
    let empty = if let ColumnClass::Pseudonym(how) = class {
        token(how, "")
    } else {
        String::new()
    };
    match test.operator {
        FilterOperator::IsNull => return is_null,
        FilterOperator::IsNotNull => return !is_null,
        FilterOperator::IsEmpty => return text.as_ref() == Some(&empty),
        FilterOperator::IsNotEmpty => return text.as_ref() != Some(&empty),
        FilterOperator::IsNullOrEmpty => return is_null || text.as_ref() == Some(&empty),
        FilterOperator::IsNotNullOrEmpty => return !is_null && text.as_ref() != Some(&empty),
        _ => {}
    }
    let fold = |text: &str| {
        if test.ignore_case {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    if looks_into(test.operator) {
        let text = fold(&text.unwrap_or_default());
        let operand = if let FilterOperand::Text(operand) = &test.value {
            fold(operand)
        } else {
            String::new()
        };
        return match test.operator {
            FilterOperator::StartsWith => text.starts_with(&operand),
            FilterOperator::DoesNotStartWith => !text.starts_with(&operand),
            FilterOperator::EndsWith => text.ends_with(&operand),
            FilterOperator::DoesNotEndWith => !text.ends_with(&operand),
            FilterOperator::Contains => text.contains(&operand),
            _ => !text.contains(&operand),
        };
    }
    let ordering = match (&test.value, value) {
        (FilterOperand::Null, _) => {
            return match test.operator {
                FilterOperator::Eq => is_null,
                FilterOperator::Neq => !is_null,
                _ => false,
            };
        }
        (_, OracleValue::Null) => None,
        (FilterOperand::Text(operand), OracleValue::Text(text)) => match class {
            ColumnClass::Pseudonym(how) => Some(text.cmp(&token(how, operand))),
            _ => Some(fold(text).cmp(&fold(operand))),
        },
        (FilterOperand::Number(number), OracleValue::Text(text)) => {
            number_in(text).map(|(units, scale)| order(units, scale, *number))
        }
        (FilterOperand::Number(number), OracleValue::Number(units)) => {
            let ColumnKind::Decimal { scale, .. } = kind else {
                panic!("{kind:?}")
            };
            Some(order(*units, scale.unsigned_abs(), *number))
        }
        (FilterOperand::Number(number), OracleValue::Whole(whole)) => {
            Some(order(i128::from(*whole), 0, *number))
        }
        (FilterOperand::Text(operand), OracleValue::Instant(micros)) => {
            Some((i128::from(*micros) * 1000).cmp(&instant(operand).unwrap()))
        }
        (FilterOperand::Text(operand), OracleValue::Date(days)) => {
            let date = jiff::civil::date(1970, 1, 1)
                .checked_add(jiff::Span::new().days(i64::from(*days)))
                .unwrap();
            Some(date.cmp(&operand.parse::<Date>().unwrap()))
        }
        (operand, value) => panic!("{operand:?} against {value:?}"),
    };
    // Null passes neq alone.
    ordering.map_or(test.operator == FilterOperator::Neq, |ordering| {
        holds(test.operator, ordering)
    })
}
