//! Aggregates of all rows beside what depends on the row around, within a LATERAL query.
//!
//! Invariant: a condition on the row around is joined where it gives what it would give for each row, or is refused. DataFusion goes
//! through a subquery from left to right, takes such conditions out, and joins them last: an aggregate that comes after one it takes for
//! an aggregate of what is left, so that it keeps rows around that have none.
//!
//! ```text
//!   LATERAL (SELECT ... FROM (SELECT x FROM b WHERE b.k = a.k) AS d CROSS JOIN (SELECT sum(y) AS total FROM c) AS t)
//!     the sides swapped, the columns in their order
//! ```

use super::columns;
use super::steps::is_of_all_rows;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, NullEquality, Result, plan_err};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, lit};
use std::sync::Arc;

/// The join, with what its LATERAL query joins in an order that DataFusion understands.
pub(super) fn ordered(mut join: Join) -> Result<Transformed<Join>> {
    let Some(rows) = lateral_rows(&join.right) else {
        return Ok(Transformed::no(join));
    };
    // An outer join keeps rows around that have none anyway.
    if join.join_type != JoinType::Inner || !has_part(rows, is_late) {
        return Ok(Transformed::no(join));
    }
    let right = join.right.as_ref().clone().transform_up(|part| {
        Ok(match part {
            LogicalPlan::Join(of) if has_late_total(&of) && may_be_swapped(&of) => {
                Transformed::yes(swapped(of)?)
            }
            other => Transformed::no(other),
        })
    })?;
    if lateral_rows(&right.data).is_some_and(|rows| has_part(rows, is_late)) {
        return plan_err!(
            "a LATERAL query cannot join an aggregate of all rows to rows that depend on the tables before it"
        );
    }
    join.right = Arc::new(right.data);
    Ok(Transformed::yes(join))
}

/// The rows of a LATERAL query.
fn lateral_rows(right: &LogicalPlan) -> Option<&LogicalPlan> {
    match right {
        LogicalPlan::SubqueryAlias(named) => lateral_rows(&named.input),
        LogicalPlan::Subquery(of) => Some(of.subquery.as_ref()),
        _ => None,
    }
}

/// True where rows are chosen by the row around.
fn is_chosen_by_row(rows: &LogicalPlan) -> bool {
    has_part(rows, |part| {
        matches!(part, LogicalPlan::Filter(_)) && part.contains_outer_reference()
    })
}

/// True for a join of rows that are chosen by the row around with an aggregate of all rows that does not depend on it.
fn has_late_total(join: &Join) -> bool {
    let is_total = |part: &LogicalPlan| is_of_all_rows(part) && !is_chosen_by_row(part);
    is_chosen_by_row(&join.left) && has_part(&join.right, is_total)
}

fn is_late(part: &LogicalPlan) -> bool {
    matches!(part, LogicalPlan::Join(of) if has_late_total(of))
}

fn may_be_swapped(join: &Join) -> bool {
    matches!(join.join_type, JoinType::Inner | JoinType::Left)
        && join.null_equality == NullEquality::NullEqualsNothing
        && join.right.all_out_ref_exprs().is_empty()
}

fn swapped(join: Join) -> Result<LogicalPlan> {
    let own: Vec<Expr> = columns(&join.schema).map(Expr::Column).collect();
    let equal = join.on.into_iter().map(|(left, right)| left.eq(right));
    let condition = conjunction(equal.chain(join.filter)).unwrap_or_else(|| lit(true));
    LogicalPlanBuilder::from(Arc::unwrap_or_clone(join.right))
        .join_on(
            Arc::unwrap_or_clone(join.left),
            join.join_type.swap(),
            [condition],
        )?
        .project(own)?
        .build()
}

/// True where a part of a plan, but for LATERAL queries within it, is one that a test wants.
fn has_part(plan: &LogicalPlan, test: impl Fn(&LogicalPlan) -> bool) -> bool {
    let mut has = false;
    // The closure does not fail.
    let _ = plan.apply(|part| {
        if matches!(part, LogicalPlan::Subquery(_)) {
            return Ok(TreeNodeRecursion::Jump);
        }
        has |= test(part);
        Ok(match has {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    has
}
