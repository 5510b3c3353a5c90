//! LIKE and ILIKE with patterns that may have many wildcards, by a function whose work does not grow with them.
//!
//! Invariant: no pattern keeps a query longer than its text and its length do. A pattern that is written out and has few wildcards stays with the engine, which passes over files by its
//! beginning.

use crate::functions::{ilike, like};
use crate::typed_rewrite::rewrite_expressions;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Like, ScalarFunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, cast, not,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// Wildcards in a pattern that the engine answers.
const MOST_WILDCARDS: usize = 16;
/// Bytes of such a pattern.
const LONGEST: usize = 1_000;

/// Replaces the operator by a function. It comes after types are coerced.
#[derive(Debug)]
pub(crate) struct ManyWildcards {
    like: Arc<ScalarUDF>,
    ilike: Arc<ScalarUDF>,
}

impl ManyWildcards {
    pub(crate) fn new() -> Self {
        Self {
            like: Arc::new(like()),
            ilike: Arc::new(ilike()),
        }
    }

    fn called(&self, like: Like, schema: &DFSchema) -> Expr {
        let function = match like.case_insensitive {
            true => &self.ilike,
            false => &self.like,
        };
        let args = [*like.expr, *like.pattern].map(|arg| match arg.get_type(schema) {
            Ok(DataType::Utf8) => arg,
            _ => cast(arg, DataType::Utf8),
        });
        let call = ScalarFunction::new_udf(Arc::clone(function), Vec::from(args));
        match like.negated {
            true => not(Expr::ScalarFunction(call)),
            false => Expr::ScalarFunction(call),
        }
    }
}

impl AnalyzerRule for ManyWildcards {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| match expr {
            Expr::Like(like) if is_long(&like, schema) => {
                Transformed::yes(self.called(like, schema))
            }
            other => Transformed::no(other),
        })
    }

    fn name(&self) -> &'static str {
        "many_wildcards"
    }
}

/// True if a text is compared with a pattern that may have many wildcards. An escape other than the backslash is refused elsewhere.
fn is_long(like: &Like, schema: &DFSchema) -> bool {
    like.escape_char.is_none_or(|escape| escape == '\\')
        && like.expr.get_type(schema).is_ok_and(|of| is_text(&of))
        && !is_short(&like.pattern)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

/// True of a pattern that is written out and has few wildcards.
fn is_short(pattern: &Expr) -> bool {
    written(pattern).is_some_and(|of| of.bytes <= LONGEST && of.wildcards <= MOST_WILDCARDS)
}

/// Size of a pattern that is written out.
struct PatternSize {
    bytes: usize,
    wildcards: usize,
}

/// The size of a pattern that is written out, in one text or in several with `||` between them; null has none.
fn written(pattern: &Expr) -> Option<PatternSize> {
    match pattern {
        Expr::Literal(value, _) => {
            let text = value.try_as_str().flatten().unwrap_or_default();
            Some(PatternSize {
                bytes: text.len(),
                wildcards: wildcards(text),
            })
        }
        Expr::Cast(cast) => written(&cast.expr),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::StringConcat,
            right,
        }) => {
            let (left, right) = (written(left)?, written(right)?);
            Some(PatternSize {
                bytes: left.bytes + right.bytes,
                wildcards: left.wildcards + right.wildcards,
            })
        }
        _ => None,
    }
}

/// Wildcards of a pattern; `%%` counts as one.
fn wildcards(pattern: &str) -> usize {
    let before = std::iter::once(b'_').chain(pattern.bytes());
    let letters = pattern.bytes().zip(before);
    letters
        .filter(|&(letter, before)| letter == b'_' || letter == b'%' && before != b'%')
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nested_projections::tests::{column, value};

    #[tokio::test]
    async fn patterns_of_many_wildcards_are_answered_at_once() {
        let many = "%a".repeat(5_000);
        for (condition, expected) in [
            (format!("repeat('a', 10000) LIKE '{many}'"), "true"),
            (format!("repeat('a', 4999) LIKE '{many}'"), "false"),
            (format!("repeat('A', 10000) ILIKE '{many}'"), "true"),
            (format!("repeat('a', 10000) NOT LIKE '{many}'"), "false"),
            (
                "repeat('a', 10000) LIKE repeat('%a', 5000) || 'b'".to_owned(),
                "false",
            ),
            (format!("'ab' LIKE 'a{}b'", "%".repeat(5_000)), "true"),
            (format!("NULL LIKE '{many}'"), ""),
        ] {
            assert_eq!(value(&format!("SELECT {condition}")).await, expected);
        }
    }

    #[tokio::test]
    async fn each_row_may_have_its_pattern() {
        let rows = "(VALUES ('ab', 'a%'), ('ab', '_'), ('AB', 'a_'), ('a%', 'a\\%'), (NULL, '%'), ('a', NULL)) AS v(t, p)";
        for (operator, expected) in [
            ("LIKE", "true false false true  "),
            ("ILIKE", "true false true true  "),
            ("NOT LIKE", "false true true false  "),
        ] {
            let sql = format!("SELECT t {operator} p FROM {rows}");
            assert_eq!(column(&sql).await, expected, "{sql}");
        }
    }

    #[test]
    fn wildcards_in_a_row_are_one() {
        for (pattern, expected) in [("", 0), ("a", 0), ("%", 1), ("a%%%b%_", 3), ("__", 2)] {
            assert_eq!(wildcards(pattern), expected, "{pattern}");
        }
    }
}
