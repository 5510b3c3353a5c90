//! The greatest and the least float of a group: `max(x)` as the first of them, by `x DESC`.
//!
//! Invariant: as in PostgreSQL NaN is greater than all others, wherever it stands among them, and the greatest of infinities is one. DataFusion's
//! `max` of groups takes whatever comes after NaN, and no value below the least finite one.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::functions::math::expr_fn::nanvl;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortExpr};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable, lit};

/// The rewrite.
#[derive(Debug)]
pub(crate) struct FloatExtremes;

impl FunctionRewrite for FloatExtremes {
    fn name(&self) -> &'static str {
        "float_extremes"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        Ok(match first_of(&expr, schema) {
            Some(first) => Transformed::yes(first),
            None => Transformed::no(expr),
        })
    }
}

/// The extreme of floats as the first of them; `None` for any other expression.
fn first_of(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    let Expr::AggregateFunction(call) = expr else {
        return None;
    };
    let is_least = match call.func.name() {
        "min" => true,
        "max" => false,
        _ => return None,
    };
    let [value] = call.params.args.as_slice() else {
        return None;
    };
    let not_a_number = match value.get_type(schema).ok()? {
        DataType::Float32 => lit(f32::NAN),
        DataType::Float64 => lit(f64::NAN),
        _ => return None,
    };
    // A value that is another one each time would be compared, and given, as two.
    let filter = call.params.filter.as_deref();
    if value.is_volatile() || filter.is_some_and(Expr::is_volatile) {
        return None;
    }
    // One that arithmetic made may have a sign, and come first then.
    let value = nanvl(value.clone(), not_a_number);
    let is_there = value.clone().is_not_null();
    let filter = match filter {
        Some(filter) => filter.clone().and(is_there),
        None => is_there,
    };
    Some(Expr::AggregateFunction(AggregateFunction::new_udf(
        first_value_udaf(),
        vec![value.clone()],
        false,
        Some(Box::new(filter)),
        vec![SortExpr::new(value, is_least, false)],
        None,
    )))
}
