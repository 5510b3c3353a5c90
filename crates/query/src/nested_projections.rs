//! Projections over projections that say the same of the columns below them, and are each worked out.
//!
//! Invariant: `SELECT a + 1 AS a FROM (SELECT a + 1 AS a FROM (SELECT 1 AS a))` is 3. DataFusion 55.2 takes a projection that has the same expressions as the one below it for a
//! repetition, and leaves one out (mended upstream, in a version that is not out). Its expressions are about other columns, even though these have the same names.
//!
//! So while the engine's rule runs, each projection's columns have a name of their own between the expression and the name by which they are known:
//!
//! ```text
//!   Projection: (a + 1 AS "#2") AS a
//!     Projection: (a + 1 AS "#1") AS a
//! ```
//!
//! Projections that the rule makes one lose such names, and none is left behind it.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule that makes one projection of several.
pub(crate) const MERGING: &str = "optimize_projections";
/// Beginning of the names between an expression and its name.
const BETWEEN: &str = "#projection ";

/// The rule, over projections that are told apart.
pub(crate) fn told_apart(
    rule: &dyn OptimizerRule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    if !has_nested(&plan)? {
        return rule.rewrite(plan, config);
    }
    let mut number = 0_usize;
    let named = plan.transform_up_with_subqueries(|step| {
        number += 1;
        with_names_between(step, number)
    })?;
    let merged = rule.rewrite(named.data, config)?;
    let is_other = merged.transformed;
    let plan = merged
        .data
        .transform_up_with_subqueries(without_names_between)?;
    Ok(Transformed::new(
        plan.data,
        is_other,
        TreeNodeRecursion::Continue,
    ))
}

/// True if a projection stands over another one, in the plan or in a subquery of it.
fn has_nested(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|step| {
        if let LogicalPlan::Projection(outer) = step
            && matches!(outer.input.as_ref(), LogicalPlan::Projection(_))
        {
            found = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn with_names_between(step: LogicalPlan, number: usize) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = step else {
        return Ok(Transformed::no(step));
    };
    let columns = projection.expr.into_iter().map(|expr| match expr {
        Expr::Alias(column) => Expr::Alias(Alias {
            expr: Box::new(column.expr.alias(format!("{BETWEEN}{number}"))),
            ..column
        }),
        other => other,
    });
    Projection::try_new_with_schema(columns.collect(), projection.input, projection.schema)
        .map(|projection| Transformed::yes(LogicalPlan::Projection(projection)))
}

fn without_names_between(step: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = step else {
        return Ok(Transformed::no(step));
    };
    let names = NamePreserver::new_for_projection();
    let columns: Vec<Expr> = projection
        .expr
        .into_iter()
        .map(|expr| {
            let name = names.save(&expr);
            Ok(name.restore(without_names(expr, BETWEEN)?.data))
        })
        .collect::<Result<_>>()?;
    Projection::try_new_with_schema(columns, projection.input, projection.schema)
        .map(|projection| Transformed::yes(LogicalPlan::Projection(projection)))
}

/// An expression without the names in it that begin so.
pub(crate) fn without_names(expr: Expr, beginning: &str) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::Alias(named) if named.name.starts_with(beginning) => {
            Ok(Transformed::yes(*named.expr))
        }
        other => Ok(Transformed::no(other)),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::{QueryEngine, QueryEngineOptions, collect};
    use arrow::util::pretty::pretty_format_batches;

    /// The first row of a query, as it is shown.
    pub(crate) async fn value(sql: &str) -> String {
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = engine.empty_session().unwrap();
        let rows = collect(session.query(sql).await.unwrap()).await.unwrap();
        let shown = pretty_format_batches(&rows).unwrap().to_string();
        let line = shown.lines().nth(3).unwrap();
        line.trim_matches(['|', ' ']).to_owned()
    }

    /// The first column of a query, row by row, as it is shown.
    pub(crate) async fn column(sql: &str) -> String {
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = engine.empty_session().unwrap();
        let rows = collect(session.query(sql).await.unwrap()).await.unwrap();
        let shown = pretty_format_batches(&rows).unwrap().to_string();
        let lines = shown.lines().skip(3).filter(|line| line.starts_with('|'));
        let cells = lines.filter_map(|line| line.split('|').nth(1));
        cells.map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// A query over so many others, each of which has the columns of the one below it in these expressions.
    fn nested(columns: &str, times: usize, innermost: &str) -> String {
        (0..times).fold(innermost.to_owned(), |below, _| {
            format!("SELECT {columns} FROM ({below})")
        })
    }

    #[tokio::test]
    async fn each_of_several_equal_projections_is_worked_out() {
        let one = "SELECT value + 1 AS a FROM range(0, 1)";
        let pair = "SELECT value AS a, value + 10 AS b FROM range(0, 1)";
        let text = "SELECT 'x' || chr(value + 60) AS a FROM range(0, 1)";
        for (sql, expected) in [
            (nested("a + 1 AS a", 1, one), "2"),
            (nested("a + 1 AS a", 6, one), "7"),
            (nested("a + a AS a", 4, one), "16"),
            (nested("a * 2 AS a", 3, "SELECT 1 AS a"), "8"),
            (nested("a - 1 AS a", 2, &nested("a - 1 AS a", 2, one)), "-3"),
            // Merged with one that says something else, and then equal.
            (
                nested("a + 1 AS a", 1, &nested("a AS a", 2, &nested("a + 1 AS a", 2, one))),
                "4",
            ),
            (
                format!("SELECT a FROM ({})", nested("b AS a, a AS b", 2, pair)),
                "0",
            ),
            (
                format!("SELECT a FROM ({})", nested("b AS a, a AS b", 3, pair)),
                "10",
            ),
            (
                format!("SELECT length(a) FROM ({})", nested("a || a AS a", 5, text)),
                "64",
            ),
            (
                format!("SELECT sum(a) FROM ({})", nested("a + a AS a", 3, one)),
                "8",
            ),
            // In a subquery, and beside names.
            (
                format!("SELECT (SELECT max(a) FROM ({}))", nested("a + 1 AS a", 3, one)),
                "4",
            ),
            (
                format!("SELECT a FROM ({}) AS q", nested("a + 1 AS a", 3, one)),
                "4",
            ),
            (
                "WITH q AS (SELECT 1 AS a) SELECT a + 1 AS a FROM (SELECT a + 1 AS a FROM (SELECT a + 1 AS a FROM q))".to_owned(),
                "4",
            ),
        ] {
            assert_eq!(value(&sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn what_is_the_same_however_often_is_worked_out_once() {
        let sql = nested("abs(a) AS a", 4, "SELECT value - 3 AS a FROM range(0, 1)");
        assert_eq!(value(&sql).await, "3");
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = engine.empty_session().unwrap();
        let rows = session.query(&format!("EXPLAIN {sql}")).await.unwrap();
        let rows = collect(rows).await.unwrap();
        let plan = pretty_format_batches(&rows).unwrap().to_string();
        assert!(!plan.contains("#projection"), "{plan}");
    }
}
