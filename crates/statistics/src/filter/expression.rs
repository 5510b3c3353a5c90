//! A filter's meaning as a DataFusion expression.
//!
//! Invariant: the expression is true for exactly the rows that pass; for the others it is false or null, which a filter treats alike.
//! No value is written into SQL text, and the tree is balanced, so that a thousand tests are ten levels deep.

use super::check::{ComparisonOrder, FilterNode, FilterValue, TextPosition};
use super::fields::{FilterField, FilterFieldType};
use super::number;
use datafusion::functions::expr_fn::{
    character_length, contains, ends_with, lower, starts_with, substr,
};
use datafusion::logical_expr::{Expr, Operator, binary_expr, ident, lit};
use tillhouse_query::ScalarValue;

/// Columns of a table that may be filtered: the name of a field's column, or none where the table
/// lacks it.
pub(crate) trait FilterColumns {
    fn name(&self, field: &FilterField) -> Option<String>;
}

/// The expression of a node.
pub(super) fn expression(node: &FilterNode, columns: &dyn FilterColumns) -> Expr {
    match node {
        FilterNode::All(nodes) => joined(nodes, columns, Operator::And),
        FilterNode::Any(nodes) => joined(nodes, columns, Operator::Or),
        FilterNode::Always(passes) => lit(*passes),
        FilterNode::IsNull(field) => column(field, columns).is_null(),
        FilterNode::IsNotNull(field) => column(field, columns).is_not_null(),
        FilterNode::Compare(field, order, value) => {
            compare(column(field, columns), *order, value, field.kind)
        }
        FilterNode::Holds {
            field,
            at,
            text,
            ignore_case,
            not,
        } => {
            let column = column(field, columns);
            let (column, text) = if *ignore_case {
                (lower(column), text.to_lowercase())
            } else {
                (column, text.clone())
            };
            let holds = match at {
                TextPosition::Start => starts_with(column, lit(text)),
                TextPosition::End => ends_with(column, lit(text)),
                TextPosition::Anywhere => contains(column, lit(text)),
            };
            if *not { holds.is_not_true() } else { holds }
        }
    }
}

fn joined(nodes: &[FilterNode], columns: &dyn FilterColumns, operator: Operator) -> Expr {
    match nodes {
        [] => lit(operator == Operator::And),
        [one] => expression(one, columns),
        _ => {
            let (left, right) = nodes.split_at(nodes.len() / 2);
            binary_expr(
                joined(left, columns, operator),
                operator,
                joined(right, columns, operator),
            )
        }
    }
}

/// A field's value; null where the table has no such column.
fn column(field: &FilterField, columns: &dyn FilterColumns) -> Expr {
    let Some(name) = columns.name(field) else {
        return lit(null(field.kind));
    };
    match field.kind {
        // The key is the pipeline's name, a colon, the provider's id; a pipeline's name may hold anything but a colon.
        FilterFieldType::ProvidersId => substr(
            ident(name),
            character_length(ident("pipeline")) + lit(2_i64),
        ),
        _ => ident(name),
    }
}

fn null(kind: FilterFieldType) -> ScalarValue {
    match kind {
        FilterFieldType::Text
        | FilterFieldType::TextOrNumber
        | FilterFieldType::ProvidersId
        | FilterFieldType::Pseudonym(_) => ScalarValue::Utf8(None),
        FilterFieldType::Decimal { precision, scale } => {
            ScalarValue::Decimal128(None, precision, scale)
        }
        FilterFieldType::Whole => ScalarValue::Int64(None),
        FilterFieldType::Instant => ScalarValue::TimestampMicrosecond(None, Some("UTC".into())),
        FilterFieldType::Date => ScalarValue::Date32(None),
    }
}

fn compare(
    column: Expr,
    order: ComparisonOrder,
    value: &FilterValue,
    kind: FilterFieldType,
) -> Expr {
    let (column, value) = match value {
        FilterValue::InText(number) => return number::compare(column, order, *number),
        FilterValue::Text {
            text,
            ignore_case: true,
        } => (lower(column), ScalarValue::Utf8(Some(text.to_lowercase()))),
        FilterValue::Text {
            text,
            ignore_case: false,
        } => (column, ScalarValue::Utf8(Some(text.clone()))),
        FilterValue::Decimal(units) => {
            let (precision, scale) = if let FilterFieldType::Decimal { precision, scale } = kind {
                (precision, scale)
            } else {
                (38, 0)
            };
            (
                column,
                ScalarValue::Decimal128(Some(*units), precision, scale),
            )
        }
        FilterValue::Whole(whole) => (column, ScalarValue::Int64(Some(*whole))),
        FilterValue::Instant(micros) => (
            column,
            ScalarValue::TimestampMicrosecond(Some(*micros), Some("UTC".into())),
        ),
        FilterValue::Date(days) => (column, ScalarValue::Date32(Some(*days))),
    };
    let operator = match order {
        ComparisonOrder::Eq => Operator::Eq,
        ComparisonOrder::Neq => Operator::IsDistinctFrom,
        ComparisonOrder::Lt => Operator::Lt,
        ComparisonOrder::Lte => Operator::LtEq,
        ComparisonOrder::Gt => Operator::Gt,
        ComparisonOrder::Gte => Operator::GtEq,
    };
    binary_expr(column, operator, lit(value))
}
