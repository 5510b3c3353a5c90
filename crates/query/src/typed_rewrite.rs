//! The rewriting of a plan's expressions, those of a whole plan with the types of their columns at hand, those of one step without.
//!
//! Invariant: columns keep their names, whatever stands in their expressions afterwards.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Replaces expressions of a plan and its subqueries, innermost first. `replace` gets the schema that the expression's columns come from.
pub(crate) fn rewrite_expressions(
    plan: LogicalPlan,
    replace: impl Fn(Expr, &DFSchema) -> Transformed<Expr>,
) -> Result<LogicalPlan> {
    let replace =
        |expr: Expr, schema: &DFSchema| -> Result<Transformed<Expr>> { Ok(replace(expr, schema)) };
    let done = plan.transform_up_with_subqueries(|plan| rewrite_typed(plan, &replace));
    Ok(done?.data)
}

/// Replaces expressions of one step, as [`rewrite_expressions`] does.
pub(crate) fn rewrite_typed(
    plan: LogicalPlan,
    replace: &impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        let columns =
            DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
        schema.merge(&columns);
    }
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let done = expr.transform_up(|expr| replace(expr, &schema))?;
        Ok(if done.transformed {
            done.update_data(|expr| name.restore(expr))
        } else {
            done
        })
    })?;
    if plan.transformed {
        plan.map_data(LogicalPlan::recompute_schema)
    } else {
        Ok(plan)
    }
}

/// Replaces parts of a step's own expressions, innermost first, in those that `concerns` asks for.
pub(crate) fn rewrite_step(
    step: LogicalPlan,
    mut concerns: impl FnMut(&Expr) -> Result<bool>,
    replace: impl Fn(Expr) -> Transformed<Expr>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&step);
    step.map_expressions(|expr| {
        if !concerns(&expr)? {
            return Ok(Transformed::no(expr));
        }
        let name = names.save(&expr);
        let done = expr.transform_up(|expr| Ok(replace(expr)))?;
        Ok(done.update_data(|expr| name.restore(expr)))
    })
}
