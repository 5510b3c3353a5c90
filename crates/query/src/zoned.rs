//! `AT TIME ZONE` of what is no time.
//!
//! Invariant: it is an error. DataFusion casts whatever stands there, so that a number becomes an instant of 1970.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, plan_datafusion_err};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

/// The zone of `TIMESTAMPTZ`; the operator has another one, see `language::operands`.
pub(crate) const OWN_ZONE: &str = "+00:00";

/// Errors when a plan has one.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|part| {
        let schema = merge_schema(&part.inputs());
        part.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Cast(cast) = expr
                    && let DataType::Timestamp(TimeUnit::Nanosecond, Some(zone)) =
                        cast.field.data_type()
                    && zone.as_ref() != OWN_ZONE
                    && let Ok(of) = cast.expr.get_type(&schema)
                    && (of.is_numeric() || of == DataType::Boolean)
                {
                    return Err(no_time(&of));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map(drop)
}

/// Error of a zone for what is no time.
pub(crate) fn no_time(of: &DataType) -> DataFusionError {
    plan_datafusion_err!("AT TIME ZONE is of a time, not of {of}")
}
