//! `count(x ORDER BY y)` as `count(x)`: an order within a call of an aggregate that gives the same in any.
//!
//! Invariant: what an aggregate gives stays the same; those that gather values in their order, or take the first, keep it. DataFusion would sort
//! the rows for it, and refuses a query in which two such calls have different orders.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable};

/// The aggregates that give the same in any order, by the names that DataFusion has for them.
const OF_ANYTHING: [&str; 8] = [
    "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "count", "max", "min",
];

/// Those that add numbers up; those that begin with [`REGRESSION`] are more.
const OF_NUMBERS: [&str; 8] = [
    "avg",
    "corr",
    "covar_pop",
    "covar_samp",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
];

/// The beginning of the names of regressions.
const REGRESSION: &str = "regr_";

/// The rewrite.
#[derive(Debug)]
pub(crate) struct IdleOrders;

impl FunctionRewrite for IdleOrders {
    fn name(&self) -> &'static str {
        "idle_orders"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::AggregateFunction(mut call)
                if !call.params.order_by.is_empty()
                    && is_in_any_order(call.func.name(), &call.params.args, schema) =>
            {
                call.params.order_by.clear();
                Transformed::yes(Expr::AggregateFunction(call))
            }
            other => Transformed::no(other),
        })
    }
}

/// True for a call that gives the same in any order. Sums of floats are rounded as they come.
fn is_in_any_order(name: &str, arguments: &[Expr], schema: &DFSchema) -> bool {
    let is_float = |of: &Expr| {
        let of_type = of.get_type(schema);
        matches!(of_type, Ok(DataType::Float32 | DataType::Float64))
    };
    OF_ANYTHING.contains(&name)
        || (OF_NUMBERS.contains(&name) || name.starts_with(REGRESSION))
            && !arguments.iter().any(is_float)
}
