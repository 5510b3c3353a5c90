//! `LATERAL` with ORDER BY and LIMIT or with window functions, and `UNNEST` of a column of the tables before it.
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
//! ```
//!
//! Rejected: partitions by the columns that are compared with the outer row's. It needs no join of all rows, but `b.at <= a.at` compares with another value in every row.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchema, JoinType, NullHandling, Result, ScalarValue, TableReference, UnnestOptions,
    plan_err,
};
use datafusion::functions_nested::expr_fn::cardinality;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Case, Expr, ExprSchemable, FetchType, Join, Limit, LogicalPlan, LogicalPlanBuilder, SkipType,
    Subquery, Unnest, lit,
};
use datafusion::optimizer::AnalyzerRule;
use std::collections::HashMap;
use std::sync::Arc;

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
        let done = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Join(join) => rewritten(join),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &'static str {
        "lateral_rows"
    }
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

/// The lateral query below columns that are computed from it.
fn lateral_within(plan: &LogicalPlan) -> Option<&Subquery> {
    match plan {
        LogicalPlan::Projection(of) => lateral_within(&of.input),
        LogicalPlan::SubqueryAlias(of) => lateral_within(&of.input),
        LogicalPlan::Subquery(of) if !of.outer_ref_columns.is_empty() => Some(of),
        _ => None,
    }
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
    let condition = conjunction(
        join.on
            .iter()
            .map(|(left, right)| left.clone().eq(right.clone()))
            .chain(join.filter.clone()),
    );
    let is_always = condition.as_ref().is_none_or(is_true);
    if !is_whole && join.join_type == JoinType::Left && !is_always {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    if join.join_type == JoinType::Left && !is_always {
        return match steps_of(&subquery.subquery) {
            Some((steps, _)) if steps.is_empty() => Ok(Transformed::no(LogicalPlan::Join(join))),
            _ => plan_err!(
                "LEFT JOIN LATERAL of a query with LIMIT or window functions has ON true: a condition stands within the query"
            ),
        };
    }
    let rows = if let Some(unnested) = unnested(&join, &subquery.subquery, alias.as_ref())? {
        unnested
    } else if !is_whole {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    } else {
        let Some((steps, base)) = steps_of(&subquery.subquery) else {
            return plan_err!(
                "a LATERAL query may sort, limit and number its rows, but not group or join what it has limited or numbered"
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

/// The steps from the last one down to a plan that DataFusion joins by itself; none where it joins the whole. `None` for what can be neither.
fn steps_of(plan: &LogicalPlan) -> Option<(Vec<&LogicalPlan>, &LogicalPlan)> {
    let (mut steps, mut at) = (Vec::new(), plan);
    while counts_rows(at) {
        let input = match at {
            LogicalPlan::Projection(of) => &of.input,
            LogicalPlan::Sort(of) => &of.input,
            LogicalPlan::Limit(of) => &of.input,
            LogicalPlan::Window(of) => &of.input,
            LogicalPlan::Filter(of) => &of.input,
            LogicalPlan::SubqueryAlias(of) => &of.input,
            _ => return None,
        };
        steps.push(at);
        at = input;
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

fn sorted_by(order: &[SortExpr], known: &KnownColumns) -> Result<Vec<SortExpr>> {
    order
        .iter()
        .map(|by| Ok(by.with_expr(said_by(&by.expr, known)?)))
        .collect()
}

/// `row_number()` over parts of the rows.
fn numbered(partition_by: Vec<Expr>, order_by: Vec<SortExpr>) -> Expr {
    let mut number = WindowFunction::new(row_number_udwf(), Vec::new());
    number.params.partition_by = partition_by;
    number.params.order_by = order_by;
    Expr::from(number)
}

/// The last column of a plan.
fn last_column(plan: &LogicalPlan) -> Result<Expr> {
    match columns(plan.schema()).last() {
        Some(column) => Ok(Expr::Column(column)),
        None => plan_err!("a plan without columns"),
    }
}

/// Limits the rows of every row before.
fn limited(
    rows: LogicalPlan,
    limit: &Limit,
    order: Vec<SortExpr>,
    is_outer: bool,
) -> Result<LogicalPlan> {
    let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
        (limit.get_skip_type()?, limit.get_fetch_type()?)
    else {
        return plan_err!("LIMIT and OFFSET of a LATERAL query are numbers");
    };
    if is_outer && (skip > 0 || fetch == Some(0)) {
        return plan_err!(
            "LEFT JOIN LATERAL of a query with OFFSET, or with LIMIT 0, is not known here: number the rows by row_number() and choose them in WHERE of a JOIN LATERAL"
        );
    }
    let number = numbered(vec![Expr::Column(Column::new_unqualified(ROW))], order);
    let rows = LogicalPlanBuilder::from(rows)
        .window(vec![number])?
        .build()?;
    let number = last_column(&rows)?;
    let as_number = |rows: usize| lit(u64::try_from(rows).unwrap_or(u64::MAX));
    let mut chosen = number.clone().gt(as_number(skip));
    if let Some(fetch) = fetch {
        chosen = chosen.and(number.lt_eq(as_number(skip.saturating_add(fetch))));
    }
    LogicalPlanBuilder::from(rows).filter(chosen)?.build()
}

/// The join whose right side is worked out row by row of its left.
fn by_row(
    join: &Join,
    subquery: &Subquery,
    steps: &[&LogicalPlan],
    base: &LogicalPlan,
    alias: Option<&TableReference>,
) -> Result<LogicalPlan> {
    let is_outer = join.join_type == JoinType::Left;
    let left: Vec<Expr> = columns(join.left.schema()).map(Expr::Column).collect();
    let numbered_left = LogicalPlanBuilder::from(join.left.as_ref().clone())
        .window(vec![numbered(Vec::new(), Vec::new())])?
        .build()?;
    let row = last_column(&numbered_left)?.alias(ROW);
    let numbered_left = LogicalPlanBuilder::from(numbered_left)
        .project(left.iter().cloned().chain([row]))?
        .build()?;

    // Each column gets a name of its own: those of two tables may have the same.
    let mut known = KnownColumns::new();
    let mut named = vec![lit(true).alias(IS_THERE)];
    for (at, column) in columns(base.schema()).enumerate() {
        let name = format!("__c{at}");
        let said = Column::new(Some(ROWS), name.clone());
        known.insert(column.clone(), Expr::Column(said));
        named.push(Expr::Column(column).alias(name));
    }
    let base = LogicalPlanBuilder::from(base.clone())
        .project(named)?
        .build()?;
    let base = if base.all_out_ref_exprs().is_empty() {
        base
    } else {
        LogicalPlan::Subquery(Subquery {
            subquery: Arc::new(base),
            outer_ref_columns: subquery.outer_ref_columns.clone(),
            spans: subquery.spans.clone(),
        })
    };
    let base = LogicalPlanBuilder::from(base).alias(ROWS)?.build()?;
    let mut rows = LogicalPlanBuilder::from(numbered_left)
        .join_on(base, join.join_type, [lit(true)])?
        .build()?;

    let mut order: Vec<SortExpr> = Vec::new();
    for step in steps.iter().rev() {
        match step {
            LogicalPlan::Projection(of) => {
                let mut outputs = KnownColumns::new();
                for (expr, column) in of.expr.iter().zip(columns(of.schema.as_ref())) {
                    outputs.insert(column, said_by(without_name(expr), &known)?);
                }
                known = outputs;
            }
            LogicalPlan::Sort(of) => {
                order = sorted_by(&of.expr, &known)?;
                if let Some(fetch) = of.fetch {
                    let limit = Limit {
                        skip: None,
                        fetch: Some(Box::new(lit(i64::try_from(fetch).unwrap_or(i64::MAX)))),
                        input: Arc::clone(&of.input),
                    };
                    rows = limited(rows, &limit, order.clone(), is_outer)?;
                }
            }
            LogicalPlan::Limit(of) => rows = limited(rows, of, order.clone(), is_outer)?,
            LogicalPlan::Window(of) => {
                for (expr, column) in of
                    .window_expr
                    .iter()
                    .zip(columns(of.schema.as_ref()).skip(of.input.schema().fields().len()))
                {
                    let Expr::WindowFunction(function) = expr else {
                        return plan_err!("a window function in a LATERAL query stands alone");
                    };
                    let mut function = function.as_ref().clone();
                    let params = &mut function.params;
                    for part in params.args.iter_mut().chain(&mut params.partition_by) {
                        *part = said_by(part, &known)?;
                    }
                    if let Some(filter) = params.filter.as_deref_mut() {
                        *filter = said_by(filter, &known)?;
                    }
                    params.order_by = sorted_by(&params.order_by, &known)?;
                    params
                        .partition_by
                        .push(Expr::Column(Column::new_unqualified(ROW)));
                    rows = LogicalPlanBuilder::from(rows)
                        .window(vec![Expr::from(function)])?
                        .build()?;
                    known.insert(column, last_column(&rows)?);
                }
            }
            LogicalPlan::Filter(of) => {
                if is_outer {
                    return plan_err!(
                        "LEFT JOIN LATERAL of a query that chooses among the rows that it has numbered is not known here: write JOIN LATERAL, or choose by LIMIT"
                    );
                }
                let chosen = said_by(&of.predicate, &known)?;
                rows = LogicalPlanBuilder::from(rows).filter(chosen)?.build()?;
            }
            LogicalPlan::SubqueryAlias(of) => {
                let inner = columns(of.input.schema()).zip(columns(of.schema.as_ref()));
                known = inner
                    .filter_map(|(inner, outer)| Some((outer, known.get(&inner)?.clone())))
                    .collect();
            }
            other => return plan_err!("a LATERAL query cannot have {} here", other.display()),
        }
    }

    let is_there = Expr::Column(Column::new(Some(ROWS), IS_THERE));
    let mut outputs = left;
    for column in columns(subquery.subquery.schema()) {
        let mut said = match known.get(&column) {
            Some(said) => said.clone(),
            None => return plan_err!("{column} of a LATERAL query is not known"),
        };
        if is_outer {
            let when = vec![(Box::new(is_there.clone()), Box::new(said))];
            said = Expr::Case(Case::new(None, when, None));
        }
        let relation = alias.cloned().or(column.relation);
        outputs.push(said.alias_qualified(relation, column.name));
    }
    LogicalPlanBuilder::from(rows).project(outputs)?.build()
}

/// The join with the elements of lists of its left side, if that is what its right side is.
fn unnested(
    join: &Join,
    lateral: &LogicalPlan,
    alias: Option<&TableReference>,
) -> Result<Option<LogicalPlan>> {
    let left: Vec<Expr> = columns(join.left.schema()).map(Expr::Column).collect();
    let Some(over) = over_left(lateral, join, &left)? else {
        return Ok(None);
    };
    let (rows, is_there) = (over.rows, over.is_there);
    let outputs = columns(lateral.schema()).map(|column| {
        let relation = alias.cloned().or_else(|| column.relation.clone());
        let name = column.name.clone();
        let mut said = Expr::Column(column);
        if let Some(is_there) = &is_there {
            let when = vec![(Box::new(is_there.clone()), Box::new(said))];
            said = Expr::Case(Case::new(None, when, None));
        }
        said.alias_qualified(relation, name)
    });
    let outputs: Vec<Expr> = left.iter().cloned().chain(outputs).collect();
    LogicalPlanBuilder::from(rows)
        .project(outputs)?
        .build()
        .map(Some)
}

/// Rows of a plan of UNNEST over the left side.
struct OverLeft {
    rows: LogicalPlan,
    /// Of an outer join: true for an element, false for a row that has none and stays.
    is_there: Option<Expr>,
}

impl OverLeft {
    /// The columns that go through: those of the left side, and whether the row is there.
    fn kept<'e>(&self, left: &'e [Expr]) -> impl Iterator<Item = Expr> + use<'e> {
        left.iter().cloned().chain(self.is_there.clone())
    }
}

/// True for a row that has an element in any of the lists.
fn has_elements(lists: &[Column], rows: &LogicalPlan) -> Result<Expr> {
    let mut has_any = lit(false);
    for list in lists {
        let of = Expr::Column(list.clone());
        let has_some = match of.get_type(rows.schema())? {
            DataType::List(_) | DataType::LargeList(_) => cardinality(of).gt(lit(0_u64)).is_true(),
            _ => of.is_not_null(),
        };
        has_any = has_any.or(has_some);
    }
    Ok(has_any)
}

/// A plan of UNNEST with the rows of the left side below, whose columns go through; `None` for any other plan.
fn over_left(plan: &LogicalPlan, join: &Join, left: &[Expr]) -> Result<Option<OverLeft>> {
    Ok(match plan {
        LogicalPlan::EmptyRelation(of) if of.produce_one_row => Some(OverLeft {
            rows: join.left.as_ref().clone(),
            is_there: None,
        }),
        LogicalPlan::Projection(of) => {
            let Some(input) = over_left(&of.input, join, left)? else {
                return Ok(None);
            };
            let nothing = KnownColumns::new();
            let own = of
                .expr
                .iter()
                .zip(columns(of.schema.as_ref()))
                .map(|(expr, column)| {
                    let said = said_by(without_name(expr), &nothing)?;
                    Ok(said.alias_qualified(column.relation, column.name))
                })
                .collect::<Result<Vec<_>>>()?;
            let outputs: Vec<Expr> = input.kept(left).chain(own).collect();
            Some(OverLeft {
                rows: LogicalPlanBuilder::from(input.rows)
                    .project(outputs)?
                    .build()?,
                is_there: input.is_there,
            })
        }
        LogicalPlan::Unnest(Unnest {
            input,
            exec_columns,
            options,
            ..
        }) => {
            let Some(input) = over_left(input, join, left)? else {
                return Ok(None);
            };
            let is_outer = join.join_type == JoinType::Left;
            let null_handling = if is_outer {
                NullHandling::PreserveAndExpandEmpty
            } else {
                NullHandling::Drop
            };
            let options = UnnestOptions {
                null_handling,
                ..options.clone()
            };
            let mut rows = input.rows;
            let mut is_there = input.is_there;
            if is_outer {
                // Of an element that is null, and of none at all, the same would be left.
                let mut has_some = has_elements(exec_columns, &rows)?;
                if let Some(before) = is_there.take() {
                    has_some = before.and(has_some);
                }
                let kept = columns(rows.schema())
                    .filter(|column| column.name != IS_THERE || column.relation.is_some())
                    .map(Expr::Column);
                let kept: Vec<Expr> = kept.chain([has_some.alias(IS_THERE)]).collect();
                rows = LogicalPlanBuilder::from(rows).project(kept)?.build()?;
                is_there = Some(Expr::Column(Column::new_unqualified(IS_THERE)));
            }
            let unnested = LogicalPlanBuilder::from(rows)
                .unnest_columns_with_options(exec_columns.clone(), options)?;
            Some(OverLeft {
                rows: unnested.build()?,
                is_there,
            })
        }
        LogicalPlan::Subquery(of) => over_left(&of.subquery, join, left)?,
        LogicalPlan::SubqueryAlias(of) => {
            let Some(input) = over_left(&of.input, join, left)? else {
                return Ok(None);
            };
            let own = columns(of.input.schema())
                .zip(columns(of.schema.as_ref()))
                .map(|(inner, outer)| {
                    Expr::Column(inner).alias_qualified(outer.relation, outer.name)
                });
            let outputs: Vec<Expr> = input.kept(left).chain(own).collect();
            Some(OverLeft {
                rows: LogicalPlanBuilder::from(input.rows)
                    .project(outputs)?
                    .build()?,
                is_there: input.is_there,
            })
        }
        _ => None,
    })
}
