//! LATERAL queries that ask nothing of the rows before them once they are simplified: `LATERAL (SELECT max(x) FROM t WHERE false AND t.k = a.k)`.
//!
//! Invariant: such a query is joined as any other is. DataFusion 55.2 leaves it as a query that is to be asked for each row, which no step of a plan can: `decorrelate_lateral_join`
//! passes over it.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::logical_expr::{LogicalPlan, SubqueryAlias};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// Name of the engine's rule.
pub(crate) const JOINING: &str = "decorrelate_lateral_join";

/// The rule, and queries without columns of the rows before as they are.
pub(crate) fn joined_as_they_are(
    rule: &dyn OptimizerRule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(mut join) = plan else {
        return rule.rewrite(plan, config);
    };
    match independent(&join.right)? {
        Some(query) => {
            join.right = Arc::new(query);
            Ok(Transformed::yes(LogicalPlan::Join(join)))
        }
        None => rule.rewrite(LogicalPlan::Join(join), config),
    }
}

/// The query of a side of a join that is marked as LATERAL and is not; `None` of any other.
fn independent(side: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let (of, alias) = match side {
        LogicalPlan::SubqueryAlias(named) => (named.input.as_ref(), Some(&named.alias)),
        other => (other, None),
    };
    let LogicalPlan::Subquery(of) = of else {
        return Ok(None);
    };
    let mut is_dependent = false;
    of.subquery.apply_with_subqueries(|step| {
        is_dependent |= step.contains_outer_reference();
        Ok(match is_dependent {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    if is_dependent {
        return Ok(None);
    }
    let query = Arc::clone(&of.subquery);
    Ok(Some(match alias {
        Some(alias) => LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(query, alias.clone())?),
        None => Arc::unwrap_or_clone(query),
    }))
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::column;

    #[tokio::test]
    async fn a_lateral_query_that_is_false_has_no_rows() {
        let rows = "(VALUES (1), (2)) AS a(k)";
        let query = "(SELECT max(b.k) AS x FROM (VALUES (1), (2)) AS b(k) WHERE 'A' LIKE 'a_%' AND b.k = a.k";
        for (joined, expected) in [
            (
                format!("CROSS JOIN LATERAL {query} GROUP BY b.k) AS l"),
                "0",
            ),
            (
                format!("LEFT JOIN LATERAL {query} GROUP BY b.k) AS l ON true"),
                "2",
            ),
            (format!("CROSS JOIN LATERAL {query}) AS l"), "2"),
        ] {
            let sql = format!("SELECT count(*) FROM {rows} {joined}");
            assert_eq!(column(&sql).await, expected, "{sql}");
        }
    }
}
