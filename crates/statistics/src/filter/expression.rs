//! A filter's meaning as a DataFusion expression.
//!
//! Invariant: the expression is true for exactly the rows that pass; for the others it is false or null, which a filter treats alike.
//! No value is written into SQL text, and the tree is balanced, so that a thousand tests are ten levels deep.

use super::check::{At, Node, Order, Value};
use super::fields::{Field, Kind};
use super::number;
use datafusion::functions::expr_fn::{character_length, contains, ends_with, lower, starts_with, substr};
use datafusion::logical_expr::{Expr, Operator, binary_expr, ident, lit};
use tillhouse_query::ScalarValue;

/// The columns of a table that may be filtered: the name a field's column has there, or none where the table lacks it.
pub(crate) trait Columns {
    fn name(&self, field: &Field) -> Option<String>;
}

/// The expression of a node.
pub(super) fn expression(node: &Node, columns: &dyn Columns) -> Expr {
    match node {
        Node::All(nodes) => joined(nodes, columns, Operator::And),
        Node::Any(nodes) => joined(nodes, columns, Operator::Or),
        Node::Always(passes) => lit(*passes),
        Node::IsNull(field) => column(field, columns).is_null(),
        Node::IsNotNull(field) => column(field, columns).is_not_null(),
        Node::Compare(field, order, value) => compare(column(field, columns), *order, value, field.kind),
        Node::Holds { field, at, text, ignore_case, not } => {
            let column = column(field, columns);
            let (column, text) =
                if *ignore_case { (lower(column), text.to_lowercase()) } else { (column, text.clone()) };
            let holds = match at {
                At::Start => starts_with(column, lit(text)),
                At::End => ends_with(column, lit(text)),
                At::Anywhere => contains(column, lit(text)),
            };
            if *not { holds.is_not_true() } else { holds }
        }
    }
}

fn joined(nodes: &[Node], columns: &dyn Columns, operator: Operator) -> Expr {
    match nodes {
        [] => lit(operator == Operator::And),
        [one] => expression(one, columns),
        _ => {
            let (left, right) = nodes.split_at(nodes.len() / 2);
            binary_expr(joined(left, columns, operator), operator, joined(right, columns, operator))
        }
    }
}

/// A field's value; null where the table has no such column.
fn column(field: &Field, columns: &dyn Columns) -> Expr {
    let Some(name) = columns.name(field) else { return lit(null(field.kind)) };
    match field.kind {
        // The key is the pipeline's name, a colon, the provider's id; a pipeline's name may hold anything but a colon.
        Kind::ProvidersId => substr(ident(name), character_length(ident("pipeline")) + lit(2_i64)),
        _ => ident(name),
    }
}

fn null(kind: Kind) -> ScalarValue {
    match kind {
        Kind::Text | Kind::TextOrNumber | Kind::ProvidersId | Kind::Pseudonym(_) => ScalarValue::Utf8(None),
        Kind::Decimal { precision, scale } => ScalarValue::Decimal128(None, precision, scale),
        Kind::Whole => ScalarValue::Int64(None),
        Kind::Instant => ScalarValue::TimestampMicrosecond(None, Some("UTC".into())),
        Kind::Date => ScalarValue::Date32(None),
    }
}

fn compare(column: Expr, order: Order, value: &Value, kind: Kind) -> Expr {
    let (column, value) = match value {
        Value::InText(number) => return number::compare(column, order, *number),
        Value::Text { text, ignore_case: true } => (lower(column), ScalarValue::Utf8(Some(text.to_lowercase()))),
        Value::Text { text, ignore_case: false } => (column, ScalarValue::Utf8(Some(text.clone()))),
        Value::Decimal(units) => {
            let (precision, scale) =
                if let Kind::Decimal { precision, scale } = kind { (precision, scale) } else { (38, 0) };
            (column, ScalarValue::Decimal128(Some(*units), precision, scale))
        }
        Value::Whole(whole) => (column, ScalarValue::Int64(Some(*whole))),
        Value::Instant(micros) => (column, ScalarValue::TimestampMicrosecond(Some(*micros), Some("UTC".into()))),
        Value::Date(days) => (column, ScalarValue::Date32(Some(*days))),
    };
    let operator = match order {
        Order::Eq => Operator::Eq,
        Order::Neq => Operator::IsDistinctFrom,
        Order::Lt => Operator::Lt,
        Order::Lte => Operator::LtEq,
        Order::Gt => Operator::Gt,
        Order::Gte => Operator::GtEq,
    };
    binary_expr(column, operator, lit(value))
}
