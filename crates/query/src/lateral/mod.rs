//! `LATERAL` with ORDER BY and LIMIT or with window functions, `UNNEST` of a column of the tables before it, whatever is done with its elements, and subqueries that need the same.
//!
//! Invariant: what a lateral query does to the rows of one row before it is done to those rows alone. The rows before it are numbered, all of theirs are joined to them,
//! and sorting, limits and windows are worked out by that number. DataFusion pulls the condition that joins them up through a window, so that it counts the rows of all.
//!
//! ```text
//!   a, LATERAL (SELECT x FROM b WHERE b.k = a.k ORDER BY x LIMIT 2)
//!     Projection a.*, x
//!       Filter number <= 2
//!         Window row_number() AS number PARTITION BY row ORDER BY x
//!           Join ON b.k = a.k
//!             Window row_number() AS row: a
//!             b
//!   a, UNNEST(a.list) AS u(x)                      of a LEFT JOIN: CASE WHEN is_there THEN x END, where is_there is cardinality(list) > 0
//!     Unnest list: Projection a.*, a.list AS list: a
//!   a, LATERAL (SELECT sum(x) AS s FROM UNNEST(a.list) AS u(x))
//!     Projection a.*, s
//!       Aggregate sum(x) FILTER (WHERE is_there) BY row, a.*
//!         Unnest list, as of a LEFT JOIN: Window row_number() AS row: a
//! ```
//!
//! Rejected: partitions by the columns that are compared with the outer row's. It needs no join of all rows, but `b.at <= a.at` compares with another value in every row.

mod absent;
mod derived;
mod lists;
mod sides;
mod steps;
mod subqueries;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchema, JoinType, Result, ScalarValue, TableReference, plan_err,
};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Distinct, Expr, Join, LogicalPlan, LogicalPlanBuilder, Subquery, Union,
};
use datafusion::optimizer::AnalyzerRule;
use lists::{is_over_lists, unnested};
use std::collections::HashMap;
use std::sync::Arc;
use steps::{by_row, is_of_all_rows};
use subqueries::{has_cut_join, has_dependent_total, is_asked};

/// The rule.
#[derive(Debug)]
pub(crate) struct LateralRows;

/// The name of what stands for the rows of a lateral query.
const ROWS: &str = "__lateral";
/// The number of the row before.
const ROW: &str = "__row";
/// True for a row that the lateral query has: of an outer join, a row without any has null.
const IS_THERE: &str = "__is_there";

impl AnalyzerRule for LateralRows {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let (mut has_subqueries, mut carried) = (false, 0);
        let done = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Join(join) if !is_asked(&join) => {
                let ordered = sides::ordered(join)?;
                let done = rewritten(ordered.data)?;
                let is_changed = ordered.transformed || done.transformed;
                Ok(Transformed::new(done.data, is_changed, done.tnr))
            }
            LogicalPlan::Subquery(of) => derived::carried(of, &mut carried),
            other => {
                let done = subqueries::joined(other)?;
                has_subqueries |= done.transformed;
                Ok(done)
            }
        })?;
        if !has_subqueries {
            return Ok(done.data);
        }
        // The value of a subquery may be null now.
        let done = done.data.transform_up_with_subqueries(|plan| {
            let known = match plan {
                LogicalPlan::Union(of) => with_nulls(of),
                other => other.recompute_schema(),
            };
            known.map(Transformed::yes)
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &'static str {
        "lateral_rows"
    }
}

/// A set operation whose columns may be null where those of one of its sides may be.
fn with_nulls(of: Union) -> Result<LogicalPlan> {
    let may_be_null = |at: usize| {
        let mut sides = of.inputs.iter();
        sides.any(|side| side.schema().field(at).is_nullable())
    };
    let fields = of.schema.iter().enumerate().map(|(at, (relation, field))| {
        let nullable = field.is_nullable() || may_be_null(at);
        let field = field.as_ref().clone().with_nullable(nullable);
        (relation.cloned(), Arc::new(field))
    });
    let metadata = of.schema.metadata().clone();
    let schema = Arc::new(DFSchema::new_with_metadata(fields.collect(), metadata)?);
    let inputs = of.inputs;
    Ok(LogicalPlan::Union(Union { inputs, schema }))
}

/// The lateral query of a join.
struct Lateral {
    subquery: Subquery,
    alias: Option<TableReference>,
    /// False where the planner takes only the UNNEST within it for lateral.
    is_whole: bool,
}

/// The lateral query of a join, and its name.
fn lateral(join: &Join) -> Option<Lateral> {
    let (plan, alias) = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(named) => (&named.input, Some(named.alias.clone())),
        _ => (&join.right, None),
    };
    if let LogicalPlan::Subquery(of) = plan.as_ref() {
        return Some(Lateral {
            subquery: of.clone(),
            alias,
            is_whole: true,
        });
    }
    let mut subquery = lateral_within(plan)?.clone();
    subquery.subquery = Arc::clone(plan);
    Some(Lateral {
        subquery,
        alias,
        is_whole: false,
    })
}

/// The lateral query below what is done with its rows.
fn lateral_within(plan: &LogicalPlan) -> Option<&Subquery> {
    match plan {
        LogicalPlan::Subquery(of) if !of.outer_ref_columns.is_empty() => Some(of),
        step => lateral_within(input_of(step)?),
    }
}

/// The input of a step that can be taken for the rows of one row before.
fn input_of(step: &LogicalPlan) -> Option<&LogicalPlan> {
    let input: &Arc<LogicalPlan> = match step {
        LogicalPlan::Projection(of) => &of.input,
        LogicalPlan::Sort(of) => &of.input,
        LogicalPlan::Limit(of) => &of.input,
        LogicalPlan::Window(of) => &of.input,
        LogicalPlan::Filter(of) => &of.input,
        LogicalPlan::SubqueryAlias(of) => &of.input,
        LogicalPlan::Aggregate(of) => &of.input,
        LogicalPlan::Distinct(Distinct::All(input)) => input,
        _ => return None,
    };
    Some(input)
}

/// The steps from the last one down to a plan of UNNEST over a row of the left side; `None` for any other plan.
fn steps_over_lists<'p>(
    lateral: &'p Subquery,
    left: &DFSchema,
) -> Option<(Vec<&'p LogicalPlan>, &'p LogicalPlan)> {
    let is_of_left = |column: &Expr| match column {
        Expr::OuterReferenceColumn(_, column) => left.has_column(column),
        _ => true,
    };
    // Of those that were known when it was planned, the ones of tables within it are none any more.
    if !lateral.subquery.all_out_ref_exprs().iter().all(is_of_left) {
        return None;
    }
    let (mut steps, mut at) = (Vec::new(), lateral.subquery.as_ref());
    while !is_over_lists(at) {
        steps.push(at);
        at = match at {
            LogicalPlan::Subquery(of) => of.subquery.as_ref(),
            step => input_of(step)?,
        };
    }
    let has_lists = |part: &LogicalPlan| Ok(matches!(part, LogicalPlan::Unnest(_)));
    at.exists(has_lists).ok()?.then_some((steps, at))
}

fn rewritten(join: Join) -> Result<Transformed<LogicalPlan>> {
    let Some(Lateral {
        subquery,
        alias,
        is_whole,
    }) = lateral(&join)
    else {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    };
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    if has_dependent_total(&subquery.subquery) {
        return plan_err!(
            "a LATERAL query over rows of the tables before it cannot have ROLLUP, CUBE or a grouping set of all rows"
        );
    }
    if has_cut_join(&subquery.subquery) {
        return plan_err!(
            "a LATERAL query cannot use the tables before it on that side of an outer join, EXCEPT or INTERSECT which may be without rows; join in it without, and choose above"
        );
    }
    let condition = conjunction(
        join.on
            .iter()
            .map(|(left, right)| left.clone().eq(right.clone()))
            .chain(join.filter.clone()),
    );
    let is_always = condition.as_ref().is_none_or(is_true);
    let over_lists = steps_over_lists(&subquery, join.left.schema());
    if over_lists.is_some() && join.join_type == JoinType::Left && !is_always {
        return plan_err!(
            "LEFT JOIN of a list, or of a LATERAL query over one, has ON true: a condition stands within the query"
        );
    }
    if !is_whole && join.join_type == JoinType::Left && !is_always {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    if join.join_type == JoinType::Left && !is_always {
        return match steps_of(&subquery.subquery) {
            Some((steps, _)) if steps.is_empty() => Ok(Transformed::no(LogicalPlan::Join(join))),
            _ => plan_err!(
                "LEFT JOIN LATERAL of a query with LIMIT, window functions or a condition on an aggregate has ON true: a condition stands within the query"
            ),
        };
    }
    let rows = if let Some(unnested) = unnested(&join, &subquery.subquery, alias.as_ref())? {
        unnested
    } else if let Some((steps, base)) = over_lists {
        by_row(&join, &subquery, &steps, base, alias.as_ref())?
    } else if !is_whole {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    } else {
        let Some((steps, base)) = steps_of(&subquery.subquery) else {
            return plan_err!(
                "a LATERAL query may sort, limit, number and group its rows, but not join what it has limited or numbered, nor an aggregate of all its rows"
            );
        };
        if steps.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        by_row(&join, &subquery, &steps, base, alias.as_ref())?
    };
    let rows = match condition.filter(|_| !is_always) {
        Some(condition) => LogicalPlanBuilder::from(rows).filter(condition)?.build()?,
        None => rows,
    };
    Ok(Transformed::yes(rows))
}

fn is_true(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}

/// True if rows are limited or counted somewhere in a plan that depends on an outer row: what it gives depends on which rows it sees.
fn counts_rows(plan: &LogicalPlan) -> bool {
    let mut counts = false;
    // The closure does not fail.
    let _ = plan.apply(|part| {
        let depends = || !part.all_out_ref_exprs().is_empty();
        if matches!(part, LogicalPlan::Limit(_) | LogicalPlan::Window(_)) && depends() {
            counts = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    counts
}

/// True for an aggregate of all rows, which is there without any, where these depend on an outer row.
fn is_total(plan: &LogicalPlan) -> bool {
    is_of_all_rows(plan) && !plan.all_out_ref_exprs().is_empty()
}

/// True if there is such an aggregate in a plan, but for those of LATERAL queries within it.
fn has_totals(plan: &LogicalPlan) -> bool {
    let mut has = false;
    // The closure does not fail.
    let _ = plan.apply(|part| {
        if matches!(part, LogicalPlan::Subquery(_)) {
            return Ok(TreeNodeRecursion::Jump);
        }
        if is_total(part) {
            has = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    has
}

/// The steps down to the first aggregate of all rows; none where all of them keep its row. DataFusion joins such a plan so that every outer row stays, also one whose aggregate is left
/// out by a condition; and what is null without a row is null for it, whatever is aggregated anew.
fn steps_over_totals(plan: &LogicalPlan) -> Option<(Vec<&LogicalPlan>, &LogicalPlan)> {
    let (mut steps, mut at) = (Vec::new(), plan);
    let mut found = None;
    loop {
        if is_total(at) {
            found = Some((steps.clone(), at));
        }
        steps.push(at);
        match input_of(at) {
            Some(input) => at = input,
            None => break,
        }
    }
    let (steps, total) = found?;
    if counts_rows(total) {
        return steps_over_counted(plan);
    }
    let keeps_row = |step: &&LogicalPlan| {
        matches!(
            step,
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_)
        )
    };
    if steps.iter().all(keeps_row) {
        return Some((Vec::new(), plan));
    }
    Some((steps, total))
}

/// The steps over rows that are limited or numbered before an aggregate of all of them, down to a plan that DataFusion joins by itself.
fn steps_over_counted(plan: &LogicalPlan) -> Option<(Vec<&LogicalPlan>, &LogicalPlan)> {
    let (mut steps, mut at) = (Vec::new(), plan);
    while counts_rows(at) || has_totals(at) {
        steps.push(at);
        at = input_of(at)?;
    }
    while let Some(below) = sorted_below(at) {
        steps.push(at);
        at = below;
    }
    Some((steps, at))
}

/// The steps from the last one down to a plan that DataFusion joins by itself; none where it joins the whole. `None` for what can be neither.
fn steps_of(plan: &LogicalPlan) -> Option<(Vec<&LogicalPlan>, &LogicalPlan)> {
    if has_totals(plan) {
        return steps_over_totals(plan);
    }
    let (mut steps, mut at) = (Vec::new(), plan);
    while counts_rows(at) {
        steps.push(at);
        at = input_of(at)?;
    }
    // Rows that are limited are sorted before, perhaps below the columns that are wanted.
    while let Some(below) = sorted_below(at).filter(|_| !steps.is_empty()) {
        steps.push(at);
        at = below;
    }
    Some((steps, at))
}

/// The input of a sort, and of columns over a sort.
fn sorted_below(plan: &LogicalPlan) -> Option<&LogicalPlan> {
    match plan {
        LogicalPlan::Sort(of) => Some(&of.input),
        LogicalPlan::Projection(of) => sorted_below(&of.input).map(|_| of.input.as_ref()),
        _ => None,
    }
}

/// The columns of a schema, as they are named.
fn columns(schema: &DFSchema) -> impl Iterator<Item = Column> {
    schema.columns().into_iter()
}

/// Columns of one plan as expressions of another.
type KnownColumns = HashMap<Column, Expr>;

/// An expression with its columns, the outer row's among them, said by what is known.
fn said_by(expr: &Expr, known: &KnownColumns) -> Result<Expr> {
    let done = expr.clone().transform_up(|expr| {
        Ok(match &expr {
            Expr::Column(column) => match known.get(column) {
                Some(said) => Transformed::yes(said.clone()),
                None => Transformed::no(expr),
            },
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column.clone())),
            _ => Transformed::no(expr),
        })
    })?;
    Ok(done.data)
}

fn without_name(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => without_name(&alias.expr),
        other => other,
    }
}
