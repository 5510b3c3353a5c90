//! Steps of a plan that know the columns of what lies below them.
//!
//! Invariant: a step has as many columns as its inputs and its own expressions give. DataFusion 55.2 takes a window away of which nobody needs a column, and tells nobody where nothing else
//! is left out with it: a join, or a query in FROM, over it goes on with the columns that were. A step that is made anew then has other ones than the window above it was told, and common
//! expressions are refused with "Window schema has wrong number of fields".
//!
//! So columns are counted behind the rule that leaves them out and before the one that minds, and where a count is wrong all steps are told anew.

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{JoinType, Result};
use datafusion::logical_expr::{Join, LogicalPlan};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule that leaves columns out.
pub(crate) const LEAVING_OUT: &str = "optimize_projections";
/// The rule that works out common expressions once.
pub(crate) const SHARING: &str = "common_sub_expression_eliminate";

/// The rule, over steps that know the columns below them, and leaving such.
pub(crate) fn told_anew(
    rule: &dyn OptimizerRule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    with_known_columns(plan)?
        .transform_data(|plan| rule.rewrite(plan, config))?
        .transform_data(with_known_columns)
}

/// A plan whose steps know the columns below them.
fn with_known_columns(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !knows_others(&plan)? {
        return Ok(Transformed::no(plan));
    }
    let told =
        plan.transform_up_with_subqueries(|step| step.recompute_schema().map(Transformed::yes))?;
    Ok(Transformed::yes(told.data))
}

/// True if a step of a plan, or of a subquery of it, has another number of columns than what lies below it gives.
fn knows_others(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|step| {
        found |= match step {
            LogicalPlan::Window(window) => {
                width(step) != width(&window.input) + window.window_expr.len()
            }
            LogicalPlan::SubqueryAlias(named) => width(step) != width(&named.input),
            LogicalPlan::Join(join) => width(step) != width_of_join(join),
            _ => false,
        };
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

fn width(step: &LogicalPlan) -> usize {
    step.schema().fields().len()
}

fn width_of_join(join: &Join) -> usize {
    let (left, right) = (width(&join.left), width(&join.right));
    match join.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => left + right,
        JoinType::LeftSemi | JoinType::LeftAnti => left,
        JoinType::RightSemi | JoinType::RightAnti => right,
        JoinType::LeftMark => left + 1,
        JoinType::RightMark => right + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{knows_others, with_known_columns};
    use crate::nested_projections::tests::column;
    use datafusion::functions_window::expr_fn::row_number;
    use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, lit};
    use std::sync::Arc;

    #[test]
    fn a_step_over_a_window_that_is_gone_has_its_columns_no_more() {
        let rows = LogicalPlanBuilder::values(vec![vec![lit(1_i64), lit(2_i64)]]).unwrap();
        let below = rows.clone().build().unwrap();
        let numbered = rows.window([row_number()]).unwrap().alias("q").unwrap();
        let mut named = numbered.build().unwrap();
        if let LogicalPlan::SubqueryAlias(of) = &mut named {
            of.input = Arc::new(below);
        }
        let outer = LogicalPlanBuilder::from(named).window([row_number().alias("n")]);
        let plan = outer.unwrap().build().unwrap();
        assert!(knows_others(&plan).unwrap());
        let told = with_known_columns(plan).unwrap();
        assert!(told.transformed && !knows_others(&told.data).unwrap());
        assert_eq!(told.data.schema().fields().len(), 3);
        assert!(!with_known_columns(told.data).unwrap().transformed);
    }

    #[tokio::test]
    async fn a_window_that_nobody_needs_is_no_matter_to_those_above() {
        let rows = "(VALUES (1, 2), (2, 3)) AS v(k, a)";
        let numbered = format!("(SELECT k, a, count(*) OVER (ORDER BY k) AS n FROM {rows}) AS q");
        for query in [
            format!(
                "SELECT sum(a) OVER (ORDER BY k) FROM (SELECT q.k, q.a FROM {numbered} JOIN (VALUES (1), (2)) AS j(k) ON q.k = j.k WHERE q.n IS NOT NULL) AS p"
            ),
            format!(
                "SELECT sum(a) OVER (ORDER BY k) AS s FROM (SELECT k, a, sum(a) OVER (ORDER BY k) + 1 AS t FROM {numbered} WHERE n IS NOT NULL OR true) AS p WHERE t IS NULL OR true"
            ),
            format!(
                "SELECT s FROM (SELECT sum(a) OVER (ORDER BY k) AS s, sum(a) OVER (ORDER BY k) + 1 AS t, 1 + sum(1) OVER () AS u FROM {numbered}) AS p ORDER BY s"
            ),
        ] {
            assert_eq!(column(&query).await, "2 5", "{query}");
        }
    }
}
