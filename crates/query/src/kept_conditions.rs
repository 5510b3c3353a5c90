//! Conditions that stay where they are written: those that name no column, over an aggregate of all rows, and those that come out otherwise each time.
//!
//! Invariant: `HAVING false` leaves no row. An aggregate of all rows has one, however few it is of, so that a condition on it is asked of that row. DataFusion 55.2 asks a condition
//! which names no column of the rows below instead, and `count(*)` gave a row with 0.
//!
//! `random() < 0.5` is asked once of each row that stands where it is written. It names no column either, and DataFusion asked it of the rows that groups, windows, lists and joins are made
//! of, so that half of the sales were counted instead of half of the counts shown. A condition on a group that is `random()` was asked of another number than is shown.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The rule that moves conditions.
pub(crate) const MOVING: &str = "push_down_filter";

/// The rule, for all conditions but those that are kept.
pub(crate) fn kept_above(
    rule: &dyn OptimizerRule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    if !is_over_one_row(&plan) && !has_changing(&plan) {
        return rule.rewrite(plan, config);
    }
    if let LogicalPlan::Join(mut join) = plan {
        let kept = take_changing(&mut join);
        let done = rule.rewrite(LogicalPlan::Join(join), config)?;
        return done.map_data(|joined| joined_by(joined, kept));
    }
    let is_over_one_row = is_over_one_row(&plan);
    let (conditions, mut rows) = conditions_of(plan);
    let is_kept = |condition: &Expr| {
        condition.is_volatile()
            || groups_change(&rows)
            || is_over_one_row && condition.column_refs().is_empty()
    };
    let (kept, moved): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(is_kept);
    if moved.is_empty() {
        return filtered(kept, rows).map(Transformed::no);
    }
    let of_join = match &mut rows {
        LogicalPlan::Join(join) => take_changing(join),
        _ => Vec::new(),
    };
    let done = rule.rewrite(filtered(moved, rows)?, config)?;
    done.map_data(|rows| filtered(kept, joined_by(rows, of_join)?))
}

/// Rows that conditions are asked of.
fn filtered(conditions: Vec<Expr>, rows: LogicalPlan) -> Result<LogicalPlan> {
    match conjunction(conditions) {
        Some(condition) => Filter::try_new(condition, Arc::new(rows)).map(LogicalPlan::Filter),
        None => Ok(rows),
    }
}

/// True for a join, and for conditions, of which one comes out otherwise each time, or is asked of what does.
fn has_changing(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => {
            filter.predicate.is_volatile()
                || has_changing(&filter.input)
                || groups_change(&filter.input)
        }
        LogicalPlan::Join(join) => join.filter.as_ref().is_some_and(Expr::is_volatile),
        _ => false,
    }
}

/// True for groups by what comes out otherwise each time.
fn groups_change(rows: &LogicalPlan) -> bool {
    match rows {
        LogicalPlan::Aggregate(groups) => groups.group_expr.iter().any(Expr::is_volatile),
        _ => false,
    }
}

/// Takes those conditions of a join that come out otherwise each time.
fn take_changing(join: &mut Join) -> Vec<Expr> {
    let conditions = join.filter.take().map(split_conjunction_owned);
    let conditions = conditions.into_iter().flatten();
    let (changing, others): (Vec<Expr>, Vec<Expr>) = conditions.partition(Expr::is_volatile);
    join.filter = conjunction(others);
    changing
}

/// A join, or conditions over one, with conditions of its own beside those that it has.
fn joined_by(plan: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    if conditions.is_empty() {
        return Ok(plan);
    }
    match plan {
        LogicalPlan::Join(mut join) => {
            join.filter = conjunction(join.filter.into_iter().chain(conditions));
            Ok(LogicalPlan::Join(join))
        }
        LogicalPlan::Filter(mut filter) => {
            let joined = joined_by(Arc::unwrap_or_clone(filter.input), conditions)?;
            filter.input = Arc::new(joined);
            Ok(LogicalPlan::Filter(filter))
        }
        other => internal_err!("conditions of a join over {}", other.display()),
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

/// The conditions of filters over each other, those of the lower ones first, and the rows that they are asked of.
fn conditions_of(plan: LogicalPlan) -> (Vec<Expr>, LogicalPlan) {
    let (mut conditions, mut rows) = (Vec::new(), plan);
    while let LogicalPlan::Filter(filter) = rows {
        let above = std::mem::replace(&mut conditions, split_conjunction_owned(filter.predicate));
        conditions.extend(above);
        rows = Arc::unwrap_or_clone(filter.input);
    }
    (conditions, rows)
}

#[cfg(test)]
mod tests {
    use super::conditions_of;
    use crate::nested_projections::tests::value;
    use datafusion::logical_expr::{LogicalPlanBuilder, col, lit};

    #[test]
    fn what_is_asked_first_stays_first() {
        let rows = LogicalPlanBuilder::values(vec![vec![lit(1_i64)]]).unwrap();
        let some = rows.filter(col("column1").not_eq(lit(0_i64))).unwrap();
        let fewer = some.filter(col("column1").gt(lit(7_i64))).unwrap();
        let (conditions, _) = conditions_of(fewer.build().unwrap());
        let asked: Vec<String> = conditions.iter().map(ToString::to_string).collect();
        assert_eq!(asked, ["column1 != Int64(0)", "column1 > Int64(7)"]);
    }

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

    #[tokio::test]
    async fn what_comes_out_otherwise_each_time_is_asked_where_it_is_written() {
        // Of ten thousand rows about half are left, never all or none of what they make.
        let rows = "range(0, 10000) AS r(k)";
        for query in [
            format!(
                "SELECT n = 10000 FROM (SELECT count(*) AS n FROM {rows} GROUP BY k % 1) AS q WHERE random() >= 0.0"
            ),
            format!(
                "SELECT min(n) = 10 AND max(n) = 10 FROM (SELECT k % 1000 AS g, count(*) AS n FROM {rows} GROUP BY 1) AS q WHERE random() < 0.5"
            ),
            format!(
                "SELECT max(n) > 7000 FROM (SELECT row_number() OVER (ORDER BY k) AS n FROM {rows}) AS q WHERE random() < 0.5"
            ),
            "SELECT count(*) BETWEEN 1 AND 9999 AND count(DISTINCT k) > 90 FROM (SELECT a.k FROM range(0, 100) AS a(k) CROSS JOIN range(0, 100) AS b(k)) AS q WHERE random() < 0.5".to_owned(),
            "SELECT count(*) BETWEEN 1 AND 9999 AND count(DISTINCT a.k) > 90 FROM range(0, 100) AS a(k) JOIN range(0, 100) AS b(k) ON a.k + b.k >= 0 AND random() < 0.5".to_owned(),
            "SELECT count(*) BETWEEN 1 AND 9999 AND count(DISTINCT k) > 90 FROM (SELECT k, unnest(range(0, 100)) AS u FROM range(0, 100) AS a(k)) AS q WHERE random() < 0.5".to_owned(),
            format!(
                "SELECT count(*) < 90 FROM (SELECT DISTINCT k % 100 AS g FROM {rows}) AS q WHERE random() < 0.5"
            ),
            format!(
                "SELECT max(g) < 0.5 AND count(*) > 1 FROM (SELECT random() AS g FROM {rows} GROUP BY random()) AS q WHERE g < 0.5"
            ),
        ] {
            assert_eq!(value(&query).await, "true", "{query}");
        }
    }
}
