//! Zeros of floats that are one value, with and without a sign: `rank() OVER (ORDER BY x)`, `count(DISTINCT x)`, `x IN (0)`, `CASE x WHEN 0` and `ORDER BY x, y`.
//!
//! Invariant: as in PostgreSQL -0 equals 0 wherever values are told apart or sorted. DataFusion knows that in comparisons, groups and joins alone; elsewhere a float is compared as `x + 0`,
//! which is 0 for both and any other value for itself.

use crate::typed_rewrite::rewrite_expressions;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, Operator, Sort, binary_expr, lit,
};
use datafusion::optimizer::AnalyzerRule;
use std::iter::once;
use std::sync::Arc;

/// The rule. It comes after types are coerced.
#[derive(Debug)]
pub(crate) struct OneZero;

impl AnalyzerRule for OneZero {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = rewrite_expressions(plan, told_apart)?;
        let done = plan.transform_up_with_subqueries(|step| {
            Ok(match step {
                LogicalPlan::Sort(sort) => sorted(sort),
                other => Transformed::no(other),
            })
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "one_zero"
    }
}

/// An order of rows.
fn sorted(mut sort: Sort) -> Transformed<LogicalPlan> {
    let schema = Arc::clone(sort.input.schema());
    let keys = sort.expr.iter_mut().map(|key| &mut key.expr);
    let is_changed = with_one_zero(keys, &schema);
    Transformed::new_transformed(LogicalPlan::Sort(sort), is_changed)
}

/// An expression that tells values apart.
fn told_apart(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_changed = match &mut expr {
        Expr::AggregateFunction(call) if call.params.distinct => {
            let keys = call.params.order_by.iter_mut().map(|key| &mut key.expr);
            with_one_zero(call.params.args.iter_mut().chain(keys), schema)
        }
        Expr::WindowFunction(call) => {
            let params = &mut call.params;
            let keys = params.order_by.iter_mut().map(|key| &mut key.expr);
            let is_keyed = with_one_zero(params.partition_by.iter_mut().chain(keys), schema);
            params.distinct && with_one_zero(&mut params.args, schema) || is_keyed
        }
        Expr::InList(of) if of.list.iter().any(may_be_zero) => {
            with_one_zero(once(of.expr.as_mut()).chain(&mut of.list), schema)
        }
        Expr::Case(case) => {
            let has_zero = case
                .when_then_expr
                .iter()
                .any(|(when, _)| may_be_zero(when));
            match case.expr.as_deref_mut() {
                Some(of) if has_zero => {
                    let compared = case.when_then_expr.iter_mut();
                    let compared = compared.map(|(when, _)| when.as_mut());
                    with_one_zero(once(of).chain(compared), schema)
                }
                _ => false,
            }
        }
        _ => false,
    };
    Transformed::new_transformed(expr, is_changed)
}

/// False for a number that is written out and is another one.
fn may_be_zero(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => *value == 0.0,
        Expr::Literal(ScalarValue::Float32(Some(value)), _) => *value == 0.0,
        _ => true,
    }
}

/// Makes one zero of both in the floats among values; true if there was a float.
fn with_one_zero<'e>(values: impl IntoIterator<Item = &'e mut Expr>, schema: &DFSchema) -> bool {
    let mut is_changed = false;
    for value in values {
        if let Some(zero) = zero_for(value, schema) {
            *value = binary_expr(std::mem::take(value), Operator::Plus, zero);
            is_changed = true;
        }
    }
    is_changed
}

/// The zero that is added to a float; `None` for any other value, one that comes out otherwise each time, and one that it is added to already.
fn zero_for(value: &Expr, schema: &DFSchema) -> Option<Expr> {
    let zero = match value.get_type(schema).ok()? {
        DataType::Float32 => lit(0.0_f32),
        DataType::Float64 => lit(0.0_f64),
        _ => return None,
    };
    let is_added = matches!(
        value,
        Expr::BinaryExpr(sum) if sum.op == Operator::Plus && *sum.right == zero
    );
    (!is_added && !value.is_volatile()).then_some(zero)
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::column;

    #[tokio::test]
    async fn a_zero_with_a_sign_is_zero_wherever_values_are_told_apart() {
        let rows = "(VALUES (0::float8, 2), ('-0'::float8, 3), (1::float8, 1)) AS v(x, k)";
        for (sql, expected) in [
            ("SELECT count(DISTINCT x) FROM", "2"),
            ("SELECT sum(CASE x WHEN 0 THEN 1 ELSE 0 END) FROM", "2"),
            ("SELECT rank() OVER (ORDER BY x) AS r FROM", "1 1 3"),
            ("SELECT count(*) OVER (PARTITION BY x) AS n FROM", "1 2 2"),
            (
                "SELECT cardinality(array_agg(DISTINCT x ORDER BY x)) FROM",
                "2",
            ),
        ] {
            let behind = if sql.contains("OVER") {
                " ORDER BY 1"
            } else {
                ""
            };
            let sql = format!("{sql} {rows}{behind}");
            assert_eq!(column(&sql).await, expected, "{sql}");
        }
        for (sql, expected) in [
            (
                format!("SELECT count(*) FROM {rows} WHERE x IN (0::float8, 5)"),
                "2",
            ),
            (format!("SELECT k FROM {rows} ORDER BY x, k"), "2 3 1"),
        ] {
            assert_eq!(column(&sql).await, expected, "{sql}");
        }
    }
}
