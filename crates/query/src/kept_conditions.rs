//! Conditions that name no column, over an aggregate of all rows.
//!
//! Invariant: `HAVING false` leaves no row. An aggregate of all rows has one, however few it is of, so that a condition on it is asked of that row. DataFusion 55.2 asks a condition
//! which names no column of the rows below instead, and `count(*)` gave a row with 0.

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The rule that moves conditions.
pub(crate) const MOVING: &str = "push_down_filter";

/// A rule of the engine; the one that moves conditions, so that it keeps those without columns above such an aggregate.
pub(crate) fn mended(
    rule: Arc<dyn OptimizerRule + Send + Sync>,
) -> Arc<dyn OptimizerRule + Send + Sync> {
    match rule.name() {
        MOVING => Arc::new(KeptAbove { rule }),
        _ => rule,
    }
}

/// The rule, for all conditions but those that are kept.
#[derive(Debug)]
struct KeptAbove {
    rule: Arc<dyn OptimizerRule + Send + Sync>,
}

impl OptimizerRule for KeptAbove {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if !is_over_one_row(&plan) {
            return self.rule.rewrite(plan, config);
        }
        let (conditions, rows) = conditions_of(plan);
        let (moved, kept): (Vec<Expr>, Vec<Expr>) = conditions
            .into_iter()
            .partition(|condition| !condition.column_refs().is_empty());
        let filtered = |conditions: Vec<Expr>, rows: LogicalPlan| match conjunction(conditions) {
            Some(condition) => Filter::try_new(condition, Arc::new(rows)).map(LogicalPlan::Filter),
            None => Ok(rows),
        };
        if moved.is_empty() {
            return filtered(kept, rows).map(Transformed::no);
        }
        let done = self.rule.rewrite(filtered(moved, rows)?, config)?;
        done.map_data(|rows| filtered(kept, rows))
    }
}

/// True for conditions over an aggregate that has a row where there are none below it.
fn is_over_one_row(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else {
        return false;
    };
    match filter.input.as_ref() {
        LogicalPlan::Aggregate(groups) => {
            let has_sets = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
            groups.group_expr.is_empty() || groups.group_expr.iter().any(has_sets)
        }
        below => is_over_one_row(below),
    }
}

/// The conditions of filters over each other, and the rows that they are asked of.
fn conditions_of(plan: LogicalPlan) -> (Vec<Expr>, LogicalPlan) {
    let (mut conditions, mut rows) = (Vec::new(), plan);
    while let LogicalPlan::Filter(filter) = rows {
        conditions.extend(split_conjunction_owned(filter.predicate));
        rows = Arc::unwrap_or_clone(filter.input);
    }
    (conditions, rows)
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::value;

    #[tokio::test]
    async fn an_aggregate_of_all_rows_has_no_row_where_its_condition_is_false() {
        let rows = "(VALUES (1), (2)) AS v(k)";
        for (query, expected) in [
            (
                format!("SELECT a FROM (SELECT 1 AS a, max(k) FROM {rows}) AS q WHERE a = 2"),
                "0",
            ),
            (
                format!("SELECT a FROM (SELECT 1 AS a, max(k) FROM {rows}) AS q WHERE a = 1"),
                "1",
            ),
            (
                format!(
                    "SELECT d FROM (SELECT count(*) AS d FROM {rows}) AS q WHERE d NOT IN (2, NULL)"
                ),
                "0",
            ),
            (
                format!(
                    "SELECT d FROM (SELECT count(*) AS d FROM {rows}) AS q WHERE d NOT IN (3, NULL)"
                ),
                "0",
            ),
            (
                format!("SELECT count(*) FROM {rows} HAVING 1 IN (NULL)"),
                "0",
            ),
            (format!("SELECT count(*) FROM {rows} HAVING false"), "0"),
            (
                format!("SELECT count(*) FROM {rows} HAVING count(*) = 2 AND 1 = 1"),
                "1",
            ),
            (
                format!("SELECT count(*) FROM {rows} HAVING count(*) = 2 AND NULL"),
                "0",
            ),
            (
                format!(
                    "SELECT a FROM (SELECT 1 AS a FROM {rows} GROUP BY ROLLUP (k)) AS q WHERE a IN (NULL)"
                ),
                "0",
            ),
            (
                format!(
                    "SELECT a FROM (SELECT 1 AS a FROM {rows} GROUP BY ROLLUP (k)) AS q WHERE a = 1"
                ),
                "3",
            ),
            (
                format!(
                    "SELECT k FROM (SELECT k FROM {rows} GROUP BY ROLLUP (k)) AS q WHERE k = 1"
                ),
                "1",
            ),
        ] {
            let sql = format!("SELECT count(*) FROM ({query}) AS counted_rows");
            assert_eq!(value(&sql).await, expected, "{query}");
        }
    }
}
