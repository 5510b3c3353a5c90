//! Fields of structs that are read where the struct is, and columns that are computed in between.
//!
//! Invariant: a column that a query computes is not taken for the one below it that has its name. DataFusion 55.2 moves the reading of `site['city']` down to the files, together
//! with the columns beside it, which it finds by their names: of `SELECT upper(state) AS state, site` it gave the `state` below.
//!
//! So nothing is moved in a plan that gives a column another value under a name which is there already, or a value that is another one each time. Whole structs are read then.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rules that move the reading of fields.
pub(crate) const EXTRACTING: &str = "extract_leaf_expressions";
pub(crate) const PUSHING: &str = "push_down_leaf_projections";

/// The rule, for plans in which a name says which column is meant.
pub(crate) fn by_name(
    rule: &dyn OptimizerRule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    match has_namesakes(&plan)? {
        true => Ok(Transformed::no(plan)),
        false => rule.rewrite(plan, config),
    }
}

/// True if a projection of the plan gives a column of its input's name another value.
fn has_namesakes(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|step| {
        let LogicalPlan::Projection(projection) = step else {
            return Ok(false);
        };
        let below = projection.input.schema();
        Ok(projection.expr.iter().any(|expr| match expr {
            Expr::Alias(column) => {
                let is_itself = matches!(column.expr.as_ref(), Expr::Column(below) if below.name == column.name);
                column.expr.is_volatile()
                    || !is_itself && below.has_column_with_unqualified_name(&column.name)
            }
            other => other.is_volatile(),
        }))
    })
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::value;

    #[tokio::test]
    async fn a_computed_column_is_not_taken_for_the_one_below_it() {
        let rows = "WITH v AS (SELECT value AS a, value + 10 AS b, named_struct('city', 'x', 'n', value) AS s FROM range(1, 2)), t AS (SELECT a, b, s FROM v)";
        for (sql, expected) in [
            (
                "SELECT a, s['city'] FROM (SELECT -a AS a, s FROM t WHERE a > 0) q",
                "-1",
            ),
            (
                "SELECT a, s['city'] FROM (SELECT b AS a, a AS b, s FROM t WHERE a > 0) q",
                "11",
            ),
            (
                "SELECT q.a, q.s['n'] FROM (SELECT a * 100 AS a, s FROM t WHERE b > 0) q WHERE q.s['n'] > 0",
                "100",
            ),
            (
                "SELECT a, c FROM (SELECT a + 1 AS a, s['n'] AS c FROM (SELECT a + 1 AS a, s FROM t WHERE a > 0) q) r",
                "3",
            ),
            (
                "SELECT a FROM (SELECT a, s['city'] AS city FROM t) q WHERE city = 'x'",
                "1",
            ),
        ] {
            let found = value(&format!("{rows} {sql}")).await;
            let first = found.split('|').next().unwrap().trim();
            assert_eq!(first, expected, "{sql}");
        }
    }
}
