//! Conditions by which a query within a row is joined to it, over tables that have a column of one name: `LATERAL (SELECT c.a FROM b, c WHERE b.a = o.k)`.
//!
//! Invariant: the rows are joined by the column that the condition names. DataFusion 55.2 takes such a column up through the columns of the query, under the query's one name for all of them, and there it is
//! found by its own name: that of the other table is taken for it. Here it goes up under a name that nothing else has.
//!
//! ```text
//!   Filter b.a = outer(o.k)          Projection b.a, c.a
//!     Join: b, c                       Filter __key_1 = outer(o.k)
//!                                        Projection b.a, c.a, b.a AS __key_1
//!                                          Join: b, c
//! ```

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection};
use datafusion::optimizer::AnalyzerRule;
use std::collections::HashMap;
use std::sync::Arc;

/// The rule. It comes when the queries that are worked out here have been.
#[derive(Debug)]
pub(crate) struct OuterKeys;

impl AnalyzerRule for OuterKeys {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut given = 0;
        let done = plan.transform_up_with_subqueries(|step| match step {
            LogicalPlan::Filter(filter) => keyed(filter, &mut given),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &'static str {
        "outer_keys"
    }
}

/// A filter by the row around, with names of their own for the columns that it compares, where one of them is called as another column.
fn keyed(filter: Filter, given: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let columns = filter.input.schema().columns();
    let compared: Vec<&Column> = split_conjunction(&filter.predicate)
        .into_iter()
        .filter(|condition| condition.contains_outer())
        .flat_map(Expr::column_refs)
        .collect();
    let is_alone = |column: &Column| {
        let of_name = columns.iter().filter(|other| other.name == column.name);
        of_name.count() < 2
    };
    if compared.iter().all(|column| is_alone(column)) {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let mut keys: HashMap<Column, Column> = HashMap::new();
    let own: Vec<Expr> = columns.iter().cloned().map(Expr::Column).collect();
    let mut with_keys = own.clone();
    for column in columns.iter().filter(|column| compared.contains(column)) {
        *given += 1;
        let name = format!("__key_{given}");
        with_keys.push(Expr::Column(column.clone()).alias(&name));
        keys.insert(column.clone(), Column::new_unqualified(name));
    }
    let conditions = split_conjunction_owned(filter.predicate).into_iter();
    let conditions = conditions.map(|condition| match condition.contains_outer() {
        true => by_keys(condition, &keys),
        false => Ok(condition),
    });
    let predicate = conjunction(conditions.collect::<Result<Vec<_>>>()?);
    let mut rows = LogicalPlan::Projection(Projection::try_new(with_keys, filter.input)?);
    if let Some(predicate) = predicate {
        rows = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(rows))?);
    }
    let rows = Projection::try_new(own, Arc::new(rows))?;
    Ok(Transformed::yes(LogicalPlan::Projection(rows)))
}

/// A condition over the keys of its columns.
fn by_keys(condition: Expr, keys: &HashMap<Column, Column>) -> Result<Expr> {
    let done = condition.transform(|expr| {
        Ok(match &expr {
            Expr::Column(column) => match keys.get(column) {
                Some(key) => Transformed::yes(Expr::Column(key.clone())),
                None => Transformed::no(expr),
            },
            _ => Transformed::no(expr),
        })
    })?;
    Ok(done.data)
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::value;

    #[tokio::test]
    async fn rows_are_joined_by_the_column_that_is_named() {
        let tables = "(VALUES (3), (2)) AS b(a) CROSS JOIN (VALUES (5)) AS c(a) WHERE b.a = o.k";
        for sql in [
            format!("(VALUES (2)) AS o(k) CROSS JOIN LATERAL (SELECT c.a FROM {tables}) AS l"),
            format!(
                "(VALUES (2)) AS o(k) CROSS JOIN LATERAL (SELECT max(c.a) AS a FROM {tables} GROUP BY c.a) AS l"
            ),
            format!("(VALUES (2)) AS o(k) WHERE k + 3 IN (SELECT c.a FROM {tables})"),
            format!("(VALUES (2)) AS o(k) WHERE EXISTS (SELECT c.a FROM {tables} AND c.a > o.k)"),
            format!("(VALUES (2)) AS o(k) WHERE (SELECT sum(c.a) FROM {tables}) = 5"),
        ] {
            let sql = format!("SELECT count(*) FROM {sql}");
            assert_eq!(value(&sql).await, "1", "{sql}");
        }
    }
}
