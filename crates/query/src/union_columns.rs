//! A set operation of which one query alone has rows: `(SELECT 1 AS a, 2 AS b WHERE false) UNION ALL (SELECT x AS b, y AS a FROM t ORDER BY 1 LIMIT 10)`.
//!
//! Invariant: a column of it is the column of that query at its place. DataFusion 55.2 takes the one of its name, which is another column or none: `propagate_empty_relation` makes a projection of the
//! names of the first query over the rows of the one that is left.

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Union};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// Name of the engine's rule.
pub(crate) const EMPTYING: &str = "propagate_empty_relation";

/// The rule, and a set operation with one query of rows as that query, by the places of its columns.
pub(crate) fn by_place(
    rule: &dyn OptimizerRule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Union(union) = &plan
        && let Some(left) = only_query(union)
    {
        return Ok(Transformed::yes(named_as(union, left)?));
    }
    rule.rewrite(plan, config)
}

/// The one query of several that has rows; `None` where there are others.
fn only_query(union: &Union) -> Option<&Arc<LogicalPlan>> {
    let mut with_rows = union.inputs.iter().filter(|query| !is_empty(query));
    let (left, others) = (with_rows.next()?, with_rows.count());
    (others == 0 && union.inputs.len() > 1).then_some(left)
}

fn is_empty(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row)
}

/// The rows of a query under the names of a set operation.
fn named_as(union: &Union, query: &Arc<LogicalPlan>) -> Result<LogicalPlan> {
    let columns = query.schema().iter().zip(union.schema.iter());
    let columns = columns.map(|((table, field), (named_table, named))| {
        let column = Expr::from((table, field));
        match table == named_table && field.name() == named.name() {
            true => column,
            false => column.alias_qualified(named_table.cloned(), named.name()),
        }
    });
    let columns = Projection::try_new_with_schema(
        columns.collect(),
        Arc::clone(query),
        Arc::clone(&union.schema),
    )?;
    Ok(LogicalPlan::Projection(columns))
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::value;

    #[tokio::test]
    async fn columns_of_the_query_that_is_left_are_those_at_their_places() {
        let none = "(SELECT x AS b, 2 AS a FROM (VALUES (1)) AS v(x) WHERE false)";
        for (left, asked, expected) in [
            ("x AS a, x + 4 AS b", "a * 10 + b", "51"),
            ("x AS a, x + 4 AS c", "a * 10 + b", "51"),
            ("x AS b, x + 4 AS a", "a * 10 + b", "51"),
            ("x AS a, x + 4 AS c", "max(a) - min(b)", "4"),
        ] {
            let left = format!("(SELECT {left} FROM (VALUES (1)) AS v(x) ORDER BY 1 LIMIT 10)");
            for both in [
                format!("{none} UNION ALL {left}"),
                format!("{none} UNION {left}"),
            ] {
                let sql = format!("SELECT {asked} FROM ({both}) AS q");
                assert_eq!(value(&sql).await, expected, "{sql}");
            }
        }
    }
}
