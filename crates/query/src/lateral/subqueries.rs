//! Subqueries in conditions and columns whose rows are counted, limited or numbered for each row around them, and `NOT IN` beside nulls.
//!
//! Invariant: a subquery gives what it would give if it were run for each row. DataFusion joins it to the rows around it by the columns that it compares, after it has grouped by them: an
//! aggregate of all rows, which has a row where there are none, has none then, a window counts the rows of all, and OFFSET of EXISTS is lost. What it joins rightly it still joins; the others
//! are LATERAL queries here, and what can be neither is refused.
//!
//! ```text
//!   WHERE EXISTS (SELECT count(*) FROM b WHERE b.k = a.k HAVING count(*) = 0)
//!     a LEFT JOIN LATERAL (SELECT true AS found FROM (...) LIMIT 1) ON true          WHERE found IS NOT NULL
//!   WHERE x IN (SELECT count(*) FROM b WHERE b.k = a.k)
//!     likewise, of (SELECT ... HAVING x = count(*))
//!   SELECT (SELECT max(n) FROM (SELECT count(*) AS n FROM b WHERE b.k = a.k))
//!     a LEFT JOIN LATERAL (...) ON true                                              SELECT the value
//!   WHERE x > 5 OR y NOT IN (SELECT z FROM b)
//!     ... OR NOT (y IN (SELECT z FROM b) OR EXISTS (... WHERE z IS NULL) OR y IS NULL AND EXISTS (...))
//! ```
//!
//! The last stands for all conditions whose null is as good as false, of which DataFusion asks true or false alone: a mark in a join is never null.

use super::absent::with_absence;
use super::steps::is_of_all_rows;
use super::{columns, rewritten};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchema, DataFusionError, JoinType, Result, ScalarValue, Spans, plan_datafusion_err,
};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Case, Expr, ExprSchemable, FetchType, Filter, GroupingSet, Join, Limit,
    LogicalPlan, LogicalPlanBuilder, Operator, Projection, SkipType, Sort, Subquery, binary_expr,
    lit,
};
use std::sync::Arc;

/// The use that the rows around a subquery make of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SubqueryUse {
    /// Existence of a row: EXISTS.
    Rows,
    /// The values of its column: IN.
    Values,
    /// The value of its one row.
    OneValue,
}

/// The error of a subquery that can neither be joined nor be worked out row by row.
fn refused() -> DataFusionError {
    plan_datafusion_err!(
        "rows that depend on the query around it are counted, limited or numbered in a way that is not known"
    )
}

/// The step with its subqueries as LATERAL queries, where they have to be.
pub(super) fn joined(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut has_subqueries = false;
    plan.apply_expressions(|expr| {
        has_subqueries |= has_subquery(expr);
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !has_subqueries {
        return Ok(Transformed::no(plan));
    }
    plan.apply_expressions(|expr| {
        if expr.exists(|expr| Ok(subquery_of(expr).is_some_and(is_cut_by_join)))? {
            return Err(refused());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let names = NamePreserver::new(&plan);
    match plan {
        LogicalPlan::Filter(filter) => {
            let mut rows = RowsAround::new(&filter.input);
            let condition = rows.condition(filter.predicate.clone(), true, true)?;
            if condition == filter.predicate {
                return Ok(Transformed::no(LogicalPlan::Filter(filter)));
            }
            let has_joined = rows.subqueries > 0;
            let chosen = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(rows.plan))?);
            if !has_joined {
                return Ok(Transformed::yes(chosen));
            }
            let own = columns(filter.input.schema()).map(Expr::Column);
            let plan = LogicalPlanBuilder::from(chosen).project(own)?.build()?;
            Ok(Transformed::yes(plan))
        }
        LogicalPlan::Projection(projection) => {
            let mut rows = RowsAround::new(&projection.input);
            let mut outputs = Vec::with_capacity(projection.expr.len());
            for expr in &projection.expr {
                let name = names.save(expr);
                outputs.push(name.restore(rows.values(expr.clone())?));
            }
            if outputs == projection.expr {
                return Ok(Transformed::no(LogicalPlan::Projection(projection)));
            }
            let plan = Projection::try_new(outputs, Arc::new(rows.plan))?;
            Ok(Transformed::yes(LogicalPlan::Projection(plan)))
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            asked_above(join).map(Transformed::yes)
        }
        LogicalPlan::Sort(sort) if sort.expr.iter().any(|by| is_of_row_around(&by.expr)) => {
            sorted_by_values(sort).map(Transformed::yes)
        }
        other => {
            other.apply_expressions(|expr| {
                if expr.exists(|expr| Ok(is_for_each_row(expr)))? {
                    return Err(refused());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
            match other {
                LogicalPlan::Join(join) => rewritten(join),
                other => Ok(Transformed::no(other)),
            }
        }
    }
}

/// True for a join whose condition has subqueries.
pub(super) fn is_asked(join: &Join) -> bool {
    join.filter.as_ref().is_some_and(has_subquery)
}

/// An inner join whose conditions with subqueries are asked of its rows.
fn asked_above(mut join: Join) -> Result<LogicalPlan> {
    let conditions = join.filter.take().map(split_conjunction_owned);
    let (asked, plain): (Vec<_>, Vec<_>) = conditions
        .unwrap_or_default()
        .into_iter()
        .partition(has_subquery);
    join.filter = conjunction(plain);
    let rows = rewritten(join)?.data;
    let Some(asked) = conjunction(asked) else {
        return Ok(rows);
    };
    let chosen = Filter::try_new(asked, Arc::new(rows))?;
    joined(LogicalPlan::Filter(chosen)).map(|done| done.data)
}

/// True for an expression with a subquery that depends on the row that it is asked for.
fn is_of_row_around(expr: &Expr) -> bool {
    let depends =
        |expr: &Expr| Ok(subquery_of(expr).is_some_and(|of| !of.outer_ref_columns.is_empty()));
    // The closure does not fail.
    expr.exists(depends).unwrap_or(false)
}

/// Rows in the order of values of subqueries, which are columns of theirs first.
fn sorted_by_values(sort: Sort) -> Result<LogicalPlan> {
    let own: Vec<Expr> = columns(sort.input.schema()).map(Expr::Column).collect();
    let asked = |schema: &DFSchema| {
        let mut by_values = sort.expr.iter().filter(|by| is_of_row_around(&by.expr));
        by_values.all(|by| has_rows_around(&by.expr, schema))
    };
    // A column of a table that is no column of the result is below it.
    let (mut rows, mut outputs) = match sort.input.as_ref() {
        LogicalPlan::Projection(of) if !asked(sort.input.schema()) => {
            (RowsAround::new(&of.input), of.expr.clone())
        }
        input => (RowsAround::new(input), own.clone()),
    };
    if !asked(rows.plan.schema()) {
        return Err(refused());
    }
    let mut order = Vec::with_capacity(sort.expr.len());
    for by in &sort.expr {
        if !is_of_row_around(&by.expr) {
            order.push(by.clone());
            continue;
        }
        let name = format!("__sorted_{}", order.len());
        outputs.push(rows.values(by.expr.clone())?.alias(name.clone()));
        order.push(by.with_expr(Expr::Column(Column::new_unqualified(name))));
    }
    let valued = Projection::try_new(outputs, Arc::new(rows.plan))?;
    let sorted = LogicalPlan::Sort(Sort {
        expr: order,
        input: Arc::new(LogicalPlan::Projection(valued)),
        fetch: sort.fetch,
    });
    Projection::try_new(own, Arc::new(sorted)).map(LogicalPlan::Projection)
}

/// True where rows have the columns that an expression and its subqueries ask them for.
fn has_rows_around(expr: &Expr, schema: &DFSchema) -> bool {
    let mut has = expr
        .column_refs()
        .into_iter()
        .all(|of| schema.has_column(of));
    // The closure does not fail.
    let _ = expr.apply(|part| {
        let outer = subquery_of(part).map(|of| &of.outer_ref_columns);
        has &= outer.into_iter().flatten().all(|of| match of {
            Expr::OuterReferenceColumn(_, column) => schema.has_column(column),
            _ => true,
        });
        Ok(TreeNodeRecursion::Continue)
    });
    has
}

fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::Exists(of) => Some(&of.subquery),
        Expr::InSubquery(of) => Some(&of.subquery),
        Expr::ScalarSubquery(of) => Some(of),
        _ => None,
    }
}

fn is_subquery(expr: &Expr) -> bool {
    subquery_of(expr).is_some()
}

pub(super) fn has_subquery(expr: &Expr) -> bool {
    // The closure does not fail.
    expr.exists(|expr| Ok(is_subquery(expr))).unwrap_or(false)
}

fn is_for_each_row(expr: &Expr) -> bool {
    match expr {
        Expr::Exists(of) => needs_rows(&of.subquery, SubqueryUse::Rows),
        Expr::InSubquery(of) => needs_rows(&of.subquery, SubqueryUse::Values),
        Expr::ScalarSubquery(of) => needs_rows(of, SubqueryUse::OneValue),
        _ => false,
    }
}

/// True for a subquery that has to be worked out for each row around it.
fn needs_rows(subquery: &Subquery, wanted: SubqueryUse) -> bool {
    if subquery.outer_ref_columns.is_empty() {
        return false;
    }
    let mut at = subquery.subquery.as_ref();
    loop {
        at = match at {
            LogicalPlan::Projection(of) => of.input.as_ref(),
            LogicalPlan::SubqueryAlias(of) => of.input.as_ref(),
            // Neither changes if there is a row.
            LogicalPlan::Window(of) if wanted == SubqueryUse::Rows => of.input.as_ref(),
            LogicalPlan::Limit(of) if wanted == SubqueryUse::Rows && keeps_first(of) => {
                of.input.as_ref()
            }
            // DataFusion knows what it gives without rows.
            LogicalPlan::Aggregate(of)
                if wanted == SubqueryUse::OneValue && of.group_expr.is_empty() =>
            {
                return counts_rows(&of.input);
            }
            _ => {
                return counts_rows(at) || wanted == SubqueryUse::Rows && has_part(at, loses_limit);
            }
        }
    }
}

/// True for a join whose right side is limited, and whose left side depends on the row around: DataFusion takes such a limit of EXISTS for one of the rows that are looked for.
fn loses_limit(part: &LogicalPlan) -> bool {
    let is_limit = |part: &LogicalPlan| matches!(part, LogicalPlan::Limit(_));
    matches!(part, LogicalPlan::Join(of) if depends(&of.left) && has_part(&of.right, is_limit))
}

/// True for a subquery with rows that depend on the row around where a join gives a row also without them: DataFusion chooses among the rows of that join, which is too late.
fn is_cut_by_join(subquery: &Subquery) -> bool {
    !subquery.outer_ref_columns.is_empty() && has_cut_join(&subquery.subquery)
}

/// True where a plan has such a join: of an outer one the side that may be null, of EXCEPT and INTERSECT the second.
pub(super) fn has_cut_join(plan: &LogicalPlan) -> bool {
    let is_cut = |of: &Join| {
        let (left, right) = match of.join_type {
            JoinType::Inner => (false, false),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                (false, true)
            }
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                (true, false)
            }
            JoinType::Full => (true, true),
        };
        left && depends(&of.left) || right && depends(&of.right)
    };
    has_part(
        plan,
        |part| matches!(part, LogicalPlan::Join(of) if is_cut(of)),
    )
}

/// The rows of EXISTS below their order, which is of no matter there and which DataFusion joins no rows with; `None` where they have none.
fn unsorted(plan: &LogicalPlan) -> Option<&LogicalPlan> {
    match plan {
        LogicalPlan::Projection(of) => unsorted(&of.input),
        LogicalPlan::SubqueryAlias(of) => unsorted(&of.input),
        LogicalPlan::Limit(of) if keeps_first(of) => unsorted(&of.input),
        LogicalPlan::Sort(of) if of.fetch != Some(0) => {
            Some(unsorted(&of.input).unwrap_or(&of.input))
        }
        _ => None,
    }
}

fn keeps_first(limit: &Limit) -> bool {
    let skips_none = matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)));
    let takes_none = matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0))));
    skips_none && !takes_none && matches!(limit.get_fetch_type(), Ok(FetchType::Literal(_)))
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

/// True if rows that depend on the row around are counted, limited or numbered.
fn counts_rows(plan: &LogicalPlan) -> bool {
    let counts = |part: &LogicalPlan| {
        matches!(part, LogicalPlan::Limit(_) | LogicalPlan::Window(_))
            || is_of_all_rows(part)
            || has_total(part)
    };
    has_part(plan, |part| counts(part) && depends(part))
}

fn depends(plan: &LogicalPlan) -> bool {
    has_part(plan, LogicalPlan::contains_outer_reference)
}

/// True for sets of groups with one of all rows, which is there without any.
fn has_total(step: &LogicalPlan) -> bool {
    let is_with_total = |by: &Expr| match by {
        Expr::GroupingSet(GroupingSet::Rollup(_) | GroupingSet::Cube(_)) => true,
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => sets.iter().any(Vec::is_empty),
        _ => false,
    };
    matches!(step, LogicalPlan::Aggregate(of) if !of.group_expr.is_empty() && of.group_expr.iter().all(is_with_total))
}

/// True where a query over rows that depend on the row around it has such sets: nothing here knows the group of no rows.
pub(super) fn has_dependent_total(plan: &LogicalPlan) -> bool {
    has_part(plan, |part| has_total(part) && depends(part))
}

/// True for a query that has at most one row.
fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(of) => gives_one_row(&of.input),
        LogicalPlan::SubqueryAlias(of) => gives_one_row(&of.input),
        LogicalPlan::Filter(of) => gives_one_row(&of.input),
        LogicalPlan::Sort(of) => gives_one_row(&of.input),
        LogicalPlan::Window(of) => gives_one_row(&of.input),
        LogicalPlan::Limit(of) => {
            matches!(of.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1))))
                || gives_one_row(&of.input)
        }
        step => is_of_all_rows(step),
    }
}

/// The rows around subqueries, beside which values of these are joined.
struct RowsAround {
    plan: LogicalPlan,
    /// Subqueries that are joined so far.
    subqueries: usize,
}

impl RowsAround {
    fn new(input: &LogicalPlan) -> Self {
        Self {
            plan: input.clone(),
            subqueries: 0,
        }
    }

    /// A condition that chooses rows: its null is as good as false. `is_wanted` is false within NOT, and `is_alone` true for one of those that AND joins at the top.
    fn condition(&mut self, expr: Expr, is_wanted: bool, is_alone: bool) -> Result<Expr> {
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::And | Operator::Or),
                right,
            }) => {
                let is_alone = is_alone && op == Operator::And;
                let left = self.condition(*left, is_wanted, is_alone)?;
                let right = self.condition(*right, is_wanted, is_alone)?;
                Ok(binary_expr(left, op, right))
            }
            Expr::Not(of) => {
                let is_alone = is_alone && matches!(of.as_ref(), Expr::InSubquery(_));
                let of = self.condition(*of, !is_wanted, is_alone)?;
                Ok(Expr::Not(Box::new(of)))
            }
            Expr::InSubquery(of) => self.member(of, is_wanted, is_alone),
            other => self.values(other),
        }
    }

    /// `x IN (SELECT ...)`, or `x NOT IN (SELECT ...)`, in a condition.
    fn member(&mut self, of: InSubquery, is_wanted: bool, is_alone: bool) -> Result<Expr> {
        let is_correlated = !of.subquery.outer_ref_columns.is_empty();
        let is_strict = is_wanted != of.negated;
        if needs_rows(&of.subquery, SubqueryUse::Values) {
            let Some(matching) = self.matching(&of, is_strict)? else {
                return Err(refused());
            };
            let found = self.found(&matching)?;
            return Ok(match of.negated {
                true => found.is_null(),
                false => found.is_not_null(),
            });
        }
        let may_be_null = self.may_be_null(&of)?;
        let expr = Box::new(self.values(*of.expr)?);
        let of = InSubquery { expr, ..of };
        let is_left = is_alone && is_column(&of.expr) || !may_be_null;
        if is_strict || !is_correlated && is_left {
            return Ok(Expr::InSubquery(of));
        }
        if is_correlated {
            return match self.matching(&of, !may_be_null)? {
                Some(matching) => Ok(Expr::Exists(Exists::new(query(matching), of.negated))),
                None => Err(refused()),
            };
        }
        let may_match = self.may_match(&of)?;
        let negated = of.negated;
        let matches = Expr::InSubquery(InSubquery {
            negated: false,
            ..of
        });
        let matches = matches.or(may_match);
        Ok(match negated {
            true => Expr::Not(Box::new(matches)),
            false => matches,
        })
    }

    /// True where such a test may be null.
    fn may_be_null(&self, of: &InSubquery) -> Result<bool> {
        let values = of.subquery.subquery.schema().field(0);
        Ok(values.is_nullable() || of.expr.nullable(self.plan.schema())?)
    }

    /// Such a test as a value, null where a mark in a join would be false.
    fn membership(&self, of: InSubquery) -> Result<Expr> {
        if !self.may_be_null(&of)? {
            return Ok(Expr::InSubquery(of));
        }
        let may_match = self.may_match(&of)?;
        let negated = of.negated;
        let matches = Expr::InSubquery(InSubquery {
            negated: false,
            ..of
        });
        let when_then = vec![
            (Box::new(matches), Box::new(lit(!negated))),
            (
                Box::new(may_match),
                Box::new(lit(ScalarValue::Boolean(None))),
            ),
        ];
        let otherwise = Some(Box::new(lit(negated)));
        Ok(Expr::Case(Case::new(None, when_then, otherwise)))
    }

    /// True where IN is null, perhaps also where it is true.
    fn may_match(&self, of: &InSubquery) -> Result<Expr> {
        if !of.subquery.outer_ref_columns.is_empty() {
            return match self.matching(of, false)? {
                Some(matching) => Ok(Expr::Exists(Exists::new(query(matching), false))),
                None => Err(refused()),
            };
        }
        let rows = of.subquery.subquery.as_ref();
        let nulls = LogicalPlanBuilder::from(rows.clone())
            .filter(first_column(rows)?.is_null())?
            .build()?;
        // One row is enough, and each is joined to all rows around.
        let exists = |plan: LogicalPlan| -> Result<Expr> {
            let first = LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()?;
            Ok(Expr::Exists(Exists::new(query(first), false)))
        };
        let (any_row, any_null) = (exists(rows.clone())?, exists(nulls)?);
        Ok(of.expr.as_ref().clone().is_null().and(any_row).or(any_null))
    }

    /// The rows of a subquery of IN whose value is the one that is looked for, or, where it is not strict, may be it. `None` where that cannot be asked within the subquery.
    fn matching(&self, of: &InSubquery, is_strict: bool) -> Result<Option<LogicalPlan>> {
        let rows = of.subquery.subquery.as_ref();
        let Some(value) = as_outer(&of.expr, self.plan.schema(), rows)? else {
            return Ok(None);
        };
        let is_same = first_column(rows)?.eq(value);
        let chosen = match is_strict {
            true => is_same,
            false => binary_expr(is_same, Operator::IsDistinctFrom, lit(false)),
        };
        let rows = LogicalPlanBuilder::from(rows.clone());
        rows.filter(chosen)?.build().map(Some)
    }

    /// An expression with the subqueries that have to be worked out for each row as columns.
    fn values(&mut self, expr: Expr) -> Result<Expr> {
        let done = expr.transform_up(|expr| {
            Ok(match expr {
                Expr::Exists(of) if needs_rows(&of.subquery, SubqueryUse::Rows) => {
                    let found = self.found(&of.subquery.subquery)?;
                    Transformed::yes(match of.negated {
                        true => found.is_null(),
                        false => found.is_not_null(),
                    })
                }
                Expr::ScalarSubquery(of) if needs_rows(&of, SubqueryUse::OneValue) => {
                    if !gives_one_row(&of.subquery) {
                        return Err(refused());
                    }
                    Transformed::yes(self.join(&of.subquery)?)
                }
                Expr::InSubquery(of) if needs_rows(&of.subquery, SubqueryUse::Values) => {
                    return Err(refused());
                }
                Expr::ScalarSubquery(of) => Transformed::yes(with_absence(of)),
                Expr::InSubquery(of) => Transformed::yes(self.membership(of)?),
                Expr::Exists(of) if !of.subquery.outer_ref_columns.is_empty() => {
                    match unsorted(&of.subquery.subquery) {
                        Some(rows) => {
                            let rows = query(rows.clone());
                            Transformed::yes(Expr::Exists(Exists::new(rows, of.negated)))
                        }
                        None => Transformed::no(Expr::Exists(of)),
                    }
                }
                other => Transformed::no(other),
            })
        })?;
        Ok(done.data)
    }

    /// A column that is true beside rows for which a plan has a row, else null.
    fn found(&mut self, plan: &LogicalPlan) -> Result<Expr> {
        let first = LogicalPlanBuilder::from(plan.clone())
            .project([lit(true).alias("found")])?
            .limit(0, Some(1))?
            .build()?;
        self.join(&first)
    }

    /// The column of a query of one row, joined to the rows.
    fn join(&mut self, plan: &LogicalPlan) -> Result<Expr> {
        // Its own name may be that of a column of the rows around, as `count(*)` is.
        let name = format!("__value_{}", self.subqueries);
        let value = first_column(plan)?.alias(name.clone());
        let named = LogicalPlanBuilder::from(plan.clone()).project([value])?;
        let subquery = query(named.build()?);
        let is_of_others = |expr: &Expr| match expr {
            Expr::OuterReferenceColumn(_, column) => !self.plan.schema().has_column(column),
            _ => false,
        };
        let outer = &subquery.outer_ref_columns;
        if outer.iter().any(is_of_others) || has_dependent_total(plan) {
            return Err(refused());
        }
        let right = LogicalPlanBuilder::from(LogicalPlan::Subquery(subquery))
            .alias(name)?
            .build()?;
        let value = first_column(&right)?;
        let joined = LogicalPlanBuilder::from(self.plan.clone())
            .join_on(right, JoinType::Left, [lit(true)])?
            .build()?;
        let LogicalPlan::Join(join) = joined else {
            return Err(refused());
        };
        let joined = rewritten(join).map_err(|_| refused())?;
        if !joined.transformed {
            return Err(refused());
        }
        self.plan = joined.data;
        self.subqueries += 1;
        Ok(value)
    }
}

/// A plan as a subquery.
fn query(plan: LogicalPlan) -> Subquery {
    Subquery {
        outer_ref_columns: plan.all_out_ref_exprs(),
        subquery: Arc::new(plan),
        spans: Spans::new(),
    }
}

/// True for a column, perhaps of another type: DataFusion asks its column alone whether a value may be null.
fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(cast) => is_column(&cast.expr),
        expr => matches!(expr, Expr::Column(_)),
    }
}

fn first_column(plan: &LogicalPlan) -> Result<Expr> {
    let first = columns(plan.schema()).next();
    first.map(Expr::Column).ok_or_else(refused)
}

/// An expression of the rows around a subquery, as it stands within that; `None` for one that has a value for each time it is asked, a subquery of its own, or a column that would be
/// taken for one of the subquery's.
fn as_outer(expr: &Expr, schema: &DFSchema, within: &LogicalPlan) -> Result<Option<Expr>> {
    let is_own = |column: &Column| {
        let has_it = |part: &LogicalPlan| part.schema().has_column(column);
        has_it(within)
            || has_part(within, |part| {
                part.contains_outer_reference() && has_it(part)
            })
    };
    if expr.is_volatile()
        || expr.contains_outer()
        || has_subquery(expr)
        || expr.column_refs().into_iter().any(is_own)
    {
        return Ok(None);
    }
    let done = expr.clone().transform_up(|expr| {
        Ok(match expr {
            Expr::Column(column) => {
                let (_, field) = schema.qualified_field_from_column(&column)?;
                Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(Some(done.data))
}
