//! Decimals beside texts that are numbers: `amount = '1.234'`.
//!
//! Invariant: such a text is the number that it says, as in PostgreSQL, with all of its digits. DataFusion casts it to the type of the other side, rounded: 1.23 would be `'1.234'`. A text
//! that is no number is left to be an error.

use crate::parameters::numeral;
use crate::spans::compares;
use crate::typed_rewrite::rewrite_expressions;
use arrow::datatypes::DECIMAL128_MAX_PRECISION;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

/// The rule. It comes before types are coerced.
#[derive(Debug)]
pub(crate) struct DecimalTexts;

impl AnalyzerRule for DecimalTexts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, with_numbers)
    }

    fn name(&self) -> &'static str {
        "decimal_texts"
    }
}

fn with_numbers(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
            let (one, other) = match (number_of(&left), number_of(&right)) {
                (None, Some(number)) if is_decimal(&left, schema) => (None, Some(number)),
                (Some(number), None) if is_decimal(&right, schema) => (Some(number), None),
                _ => (None, None),
            };
            let is_changed = one.is_some() || other.is_some();
            changed(
                Expr::BinaryExpr(BinaryExpr {
                    left: one.map_or(left, Box::new),
                    op,
                    right: other.map_or(right, Box::new),
                }),
                is_changed,
            )
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) if is_text(&low) || is_text(&high) => {
            let is_of_decimal = is_decimal(&expr, schema);
            let bound = |of: Box<Expr>| match number_of(&of).filter(|_| is_of_decimal) {
                Some(number) => Box::new(number),
                None => of,
            };
            let between = Between {
                expr,
                negated,
                low: bound(low),
                high: bound(high),
            };
            changed(Expr::Between(between), is_of_decimal)
        }
        Expr::InList(InList {
            expr,
            list,
            negated,
        }) if list.iter().any(is_text) => {
            let is_of_decimal = is_decimal(&expr, schema);
            let element = |of: Expr| match number_of(&of).filter(|_| is_of_decimal) {
                Some(number) => number,
                None => of,
            };
            let list = InList {
                expr,
                list: list.into_iter().map(element).collect(),
                negated,
            };
            changed(Expr::InList(list), is_of_decimal)
        }
        other => Transformed::no(other),
    }
}

fn changed(expr: Expr, is_changed: bool) -> Transformed<Expr> {
    if is_changed {
        Transformed::yes(expr)
    } else {
        Transformed::no(expr)
    }
}

fn is_decimal(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(of) if of.is_decimal())
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.data_type().is_string())
}

/// The number that a text says; `None` for what is no text, or says none that has a place in 38 digits.
fn number_of(expr: &Expr) -> Option<Expr> {
    let Expr::Literal(value, _) = expr else {
        return None;
    };
    let text = value.try_as_str().flatten()?.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = !whole.is_empty()
        && whole
            .bytes()
            .chain(fraction.bytes())
            .all(|c| c.is_ascii_digit())
        && whole.len() + fraction.len() < usize::from(DECIMAL128_MAX_PRECISION);
    is_number.then(|| numeral(text.strip_prefix('+').unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::number_of;
    use datafusion::logical_expr::lit;

    #[test]
    fn a_text_is_the_number_that_it_says() {
        assert_eq!(number_of(&lit("12")), Some(lit(12_i64)));
        for text in ["1.234", "-1.234", " 0.5 ", "+7.25"] {
            assert!(number_of(&lit(text)).is_some(), "{text}");
        }
        for text in ["", "a", ".", "1e3", "1.2.3", "--1", "NaN"] {
            assert!(number_of(&lit(text)).is_none(), "{text}");
        }
        assert!(number_of(&lit(1_i64)).is_none());
    }
}
