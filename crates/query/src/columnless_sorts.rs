//! Orders of rows of which nobody asks for a column: `SELECT count(*) FROM (SELECT a FROM t ORDER BY random() LIMIT 2) AS q`.
//!
//! Invariant: as many rows come as without the columns being left out. Rows without columns are the same in every order, so that none is made of them: the first of them are as good as any.
//! DataFusion 55.2 leaves the columns out and fails where it puts the first rows together: "must either specify a row count or at least one column".

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::logical_expr::{Limit, LogicalPlan, Sort, lit};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The rule that leaves columns out, and no order of what has none.
pub(crate) fn without_orders(
    rule: &dyn OptimizerRule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    rule.rewrite(plan, config)?.transform_data(unordered)
}

/// A plan in which no rows without columns are sorted.
fn unordered(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut found = false;
    plan.apply_with_subqueries(|step| {
        found |= matches!(step, LogicalPlan::Sort(sort) if is_columnless(sort));
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    if !found {
        return Ok(Transformed::no(plan));
    }
    plan.transform_up_with_subqueries(|step| {
        Ok(match step {
            LogicalPlan::Sort(sort) if is_columnless(&sort) => Transformed::yes(first_of(sort)),
            other => Transformed::no(other),
        })
    })
}

fn is_columnless(sort: &Sort) -> bool {
    sort.input.schema().fields().is_empty()
}

/// The rows that an order keeps, in the order in which they come.
fn first_of(sort: Sort) -> LogicalPlan {
    match sort.fetch {
        None => Arc::unwrap_or_clone(sort.input),
        Some(rows) => LogicalPlan::Limit(Limit {
            skip: None,
            fetch: Some(Box::new(lit(i64::try_from(rows).unwrap_or(i64::MAX)))),
            input: sort.input,
        }),
    }
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::column;

    #[tokio::test]
    async fn rows_of_which_nobody_asks_for_a_column_are_as_many() {
        let rows = "(VALUES (1), (2), (3), (4), (5)) AS v(x)";
        for (sql, expected) in [
            (
                "SELECT count(*) FROM (SELECT x FROM generate_series(1, 5) v(x) ORDER BY random() LIMIT 2) q".to_owned(),
                "2",
            ),
            (
                format!("SELECT 1 FROM (SELECT x FROM {rows} ORDER BY random() LIMIT 2) q"),
                "1 1",
            ),
            (
                format!("SELECT count(*) FROM (SELECT x FROM {rows} ORDER BY random() LIMIT 3 OFFSET 3) q"),
                "2",
            ),
            (
                format!("SELECT count(*) FROM (SELECT x FROM {rows} ORDER BY random()) q"),
                "5",
            ),
            (
                format!("SELECT count(*) FROM (SELECT x FROM {rows} ORDER BY x DESC LIMIT 2) q"),
                "2",
            ),
        ] {
            assert_eq!(column(&sql).await, expected, "{sql}");
        }
    }
}
