//! Steps of a lateral query over the rows that belong to one row before, done for all of these at once.
//!
//! Invariant: a step sees the rows of one row before alone. Where a row before may be left without any, of an outer join or for an aggregate of all its rows, rows that are left
//! out are marked and stay, so that none is missing.

use super::lists::{LeftSide, are_several, free_mark, is_over_lists, over_left};
use super::{IS_THERE, KnownColumns, ROW, ROWS, columns, said_by, without_name};
use datafusion::common::{Column, JoinType, Result, TableReference, plan_err};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Case, Distinct, Expr, FetchType, Join, Limit, LogicalPlan, LogicalPlanBuilder,
    SkipType, Subquery, Window, lit,
};
use std::sync::Arc;

/// Aggregates that gather values in the order of their rows.
const GATHERING: [&str; 2] = ["array_agg", "string_agg"];

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

/// The number of the row before.
fn row() -> Expr {
    Expr::Column(Column::new_unqualified(ROW))
}

/// True for a row that the lateral query has.
fn is_there() -> Expr {
    Expr::Column(Column::new(Some(ROWS), IS_THERE))
}

/// True for an aggregate of all rows, which is there without any.
pub(super) fn is_of_all_rows(step: &LogicalPlan) -> bool {
    matches!(step, LogicalPlan::Aggregate(of) if of.group_expr.is_empty())
}

/// The join whose right side is worked out row by row of its left.
pub(super) fn by_row(
    join: &Join,
    subquery: &Subquery,
    steps: &[&LogicalPlan],
    base: &LogicalPlan,
    alias: Option<&TableReference>,
) -> Result<LogicalPlan> {
    let aggregates = steps.iter().filter(|step| is_of_all_rows(step)).count();
    let mut rows = if is_over_lists(base) {
        RowsByRow::of_lists(join, base, aggregates)?
    } else if is_of_all_rows(base) {
        RowsByRow::of_totals(join, subquery, base, aggregates)?
    } else if aggregates > 0 {
        // Each row before has an aggregate of its rows, also of none.
        let rows = RowsByRow::joined(join, subquery, base, JoinType::Left)?;
        RowsByRow { aggregates, ..rows }
    } else {
        RowsByRow::joined(join, subquery, base, join.join_type)?
    };
    for step in steps.iter().rev() {
        rows.take(step)?;
    }
    rows.outputs(&subquery.subquery, alias)
}

/// The rows of a lateral query, those of each row of the left side, while its steps are taken.
struct RowsByRow {
    plan: LogicalPlan,
    /// Columns of the left side.
    left: Vec<Expr>,
    /// Columns of the lateral query, as it is so far, said by those of the plan.
    known: KnownColumns,
    order: Vec<SortExpr>,
    is_outer: bool,
    /// Aggregates of all rows that are still to come.
    aggregates: usize,
    /// True where there are rows that the lateral query does not have, beside those of a row that has none.
    has_marked: bool,
}

/// The left side with the number of each row.
fn numbered_left(join: &Join, left: &[Expr]) -> Result<LogicalPlan> {
    let number = numbered(Vec::new(), Vec::new());
    let name = number.schema_name().to_string();
    // It may have such a number of its own.
    let number = match join.left.schema().has_column_with_unqualified_name(&name) {
        true => number.alias(ROW),
        false => number,
    };
    let numbered = LogicalPlanBuilder::from(join.left.as_ref().clone())
        .window(vec![number])?
        .build()?;
    let row = last_column(&numbered)?.alias(ROW);
    LogicalPlanBuilder::from(numbered)
        .project(left.iter().cloned().chain([row]))?
        .build()
}

/// The columns of the rows below all steps, each under a name of its own: those of two tables may have the same.
fn named_apart(base: &LogicalPlan) -> (KnownColumns, Vec<(Column, String)>) {
    let mut known = KnownColumns::new();
    let mut named = Vec::new();
    for (at, column) in columns(base.schema()).enumerate() {
        let name = format!("__c{at}");
        let said = Column::new(Some(ROWS), name.clone());
        known.insert(column.clone(), Expr::Column(said));
        named.push((column, name));
    }
    (known, named)
}

impl RowsByRow {
    fn new(join: &Join, left: Vec<Expr>, known: KnownColumns, plan: LogicalPlan) -> Self {
        Self {
            plan,
            left,
            known,
            order: Vec::new(),
            is_outer: join.join_type == JoinType::Left,
            aggregates: 0,
            has_marked: false,
        }
    }

    /// The rows of a plan that is joined to the left side.
    fn joined(
        join: &Join,
        subquery: &Subquery,
        base: &LogicalPlan,
        join_type: JoinType,
    ) -> Result<Self> {
        let left: Vec<Expr> = columns(join.left.schema()).map(Expr::Column).collect();
        let (known, named) = named_apart(base);
        let named = named
            .into_iter()
            .map(|(column, name)| Expr::Column(column).alias(name));
        let base = LogicalPlanBuilder::from(base.clone())
            .project([lit(true).alias(IS_THERE)].into_iter().chain(named))?
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
        let plan = LogicalPlanBuilder::from(numbered_left(join, &left)?)
            .join_on(base, join_type, [lit(true)])?
            .build()?;
        Ok(Self::new(join, left, known, plan))
    }

    /// The row of an aggregate of all rows, which every row of the left side has.
    fn of_totals(
        join: &Join,
        subquery: &Subquery,
        base: &LogicalPlan,
        aggregates: usize,
    ) -> Result<Self> {
        let mut rows = Self::joined(join, subquery, base, JoinType::Inner)?;
        rows.aggregates = aggregates;
        // What an aggregate gives without rows comes from the join, where nothing else does.
        rows.mark(lit(true))?;
        Ok(rows)
    }

    /// The elements of lists of the left side.
    fn of_lists(join: &Join, base: &LogicalPlan, aggregates: usize) -> Result<Self> {
        let left: Vec<Expr> = columns(join.left.schema()).map(Expr::Column).collect();
        let numbered = numbered_left(join, &left)?;
        let beside: Vec<Expr> = left.iter().cloned().chain([row()]).collect();
        let side = LeftSide {
            plan: &numbered,
            columns: &beside,
            keeps_all: join.join_type == JoinType::Left || aggregates > 0,
            mark: free_mark(base, &numbered)?,
        };
        let has_marked = side.keeps_all && are_several(base);
        let Some(over) = over_left(base, &side)? else {
            return plan_err!("a LATERAL query cannot have {} here", base.display());
        };
        let (known, named) = named_apart(base);
        let named = named
            .into_iter()
            .map(|(column, name)| Expr::Column(column).alias_qualified(Some(ROWS), name));
        let marked = over.is_there.unwrap_or_else(|| lit(true));
        let marked = marked.alias_qualified(Some(ROWS), IS_THERE);
        let outputs: Vec<Expr> = beside
            .iter()
            .cloned()
            .chain(named)
            .chain([marked])
            .collect();
        let plan = LogicalPlanBuilder::from(over.rows)
            .project(outputs)?
            .build()?;
        Ok(Self {
            aggregates,
            has_marked,
            ..Self::new(join, left, known, plan)
        })
    }

    /// Columns that rows are counted apart by.
    fn apart(&self) -> Vec<Expr> {
        if self.has_marked || self.aggregates > 0 {
            vec![row(), is_there()]
        } else {
            vec![row()]
        }
    }

    fn filter(&mut self, condition: Expr) -> Result<()> {
        let plan = LogicalPlanBuilder::from(self.plan.clone());
        self.plan = plan.filter(condition)?.build()?;
        Ok(())
    }

    /// Leaves rows out, where these may be all of a row before by a mark.
    fn choose(&mut self, condition: Expr) -> Result<()> {
        if !self.is_outer && self.aggregates == 0 {
            return self.filter(condition);
        }
        self.has_marked = true;
        self.mark(is_there().and(condition).is_true())
    }

    fn mark(&mut self, chosen: Expr) -> Result<()> {
        let kept = columns(self.plan.schema())
            .map(Expr::Column)
            .filter(|column| *column != is_there());
        let chosen = chosen.alias_qualified(Some(ROWS), IS_THERE);
        let outputs: Vec<Expr> = kept.chain([chosen]).collect();
        let plan = LogicalPlanBuilder::from(self.plan.clone());
        self.plan = plan.project(outputs)?.build()?;
        Ok(())
    }

    /// An expression that has one value for a row wherever it is asked for: a column, where it would be another each time, as `random()` is.
    fn once(&mut self, said: Expr) -> Result<Expr> {
        if !said.is_volatile() {
            return Ok(said);
        }
        self.add(said, self.plan.clone())
    }

    /// Adds a window function, and gives its column.
    fn window(&mut self, function: Expr) -> Result<Expr> {
        let plan = LogicalPlanBuilder::from(self.plan.clone())
            .window(vec![function])?
            .build()?;
        let value = last_column(&plan)?;
        self.add(value, plan)
    }

    /// Takes a plan with the columns of this one, and with a value that it gives for one more, whose name is its own: the same may be asked for twice.
    fn add(&mut self, value: Expr, plan: LogicalPlan) -> Result<Expr> {
        let kept: Vec<Expr> = columns(self.plan.schema()).map(Expr::Column).collect();
        let mut number = kept.len();
        let mut name = format!("__v{number}");
        while self.plan.schema().has_column_with_unqualified_name(&name) {
            number += 1;
            name = format!("__v{number}");
        }
        let value = value.alias_qualified(Some(ROWS), name);
        self.plan = LogicalPlanBuilder::from(plan)
            .project(kept.into_iter().chain([value]))?
            .build()?;
        last_column(&self.plan)
    }

    fn take(&mut self, step: &LogicalPlan) -> Result<()> {
        match step {
            LogicalPlan::Projection(of) => {
                let mut outputs = KnownColumns::new();
                for (expr, column) in of.expr.iter().zip(columns(of.schema.as_ref())) {
                    let said = said_by(without_name(expr), &self.known)?;
                    outputs.insert(column, self.once(said)?);
                }
                self.known = outputs;
            }
            LogicalPlan::Sort(of) => {
                self.order = sorted_by(&of.expr, &self.known)?;
                if let Some(fetch) = of.fetch {
                    let limit = Limit {
                        skip: None,
                        fetch: Some(Box::new(lit(i64::try_from(fetch).unwrap_or(i64::MAX)))),
                        input: Arc::clone(&of.input),
                    };
                    self.limit(&limit)?;
                }
            }
            LogicalPlan::Limit(of) => self.limit(of)?,
            LogicalPlan::Window(of) => self.windows(of)?,
            LogicalPlan::Filter(of) => {
                let chosen = said_by(&of.predicate, &self.known)?;
                self.choose(chosen)?;
            }
            LogicalPlan::SubqueryAlias(of) => {
                let inner = columns(of.input.schema()).zip(columns(of.schema.as_ref()));
                self.known = inner
                    .filter_map(|(inner, outer)| Some((outer, self.known.get(&inner)?.clone())))
                    .collect();
            }
            // The steps below it are taken already.
            LogicalPlan::Subquery(_) => {}
            LogicalPlan::Aggregate(of) => self.aggregate(of)?,
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let itself = |column: Column| (column.clone(), Expr::Column(column));
                let groups = columns(input.schema()).map(itself).collect();
                self.group(groups, Vec::new())?;
            }
            other => return plan_err!("a LATERAL query cannot have {} here", other.display()),
        }
        Ok(())
    }

    /// Limits the rows of every row before.
    fn limit(&mut self, limit: &Limit) -> Result<()> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
            (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return plan_err!("LIMIT and OFFSET of a LATERAL query are numbers");
        };
        let order = self.order.clone();
        let number = self.window(numbered(self.apart(), order))?;
        let as_number = |rows: usize| lit(u64::try_from(rows).unwrap_or(u64::MAX));
        let mut chosen = number.clone().gt(as_number(skip));
        if let Some(fetch) = fetch {
            chosen = chosen.and(number.lt_eq(as_number(skip.saturating_add(fetch))));
        }
        // A row before has at least one row, which is the first.
        let keeps_one = skip == 0 && fetch != Some(0) && !self.has_marked && self.aggregates == 0;
        if keeps_one {
            self.filter(chosen)
        } else {
            self.choose(chosen)
        }
    }

    fn windows(&mut self, of: &Window) -> Result<()> {
        let own = columns(of.schema.as_ref()).skip(of.input.schema().fields().len());
        for (expr, column) in of.window_expr.iter().zip(own) {
            let Expr::WindowFunction(function) = expr else {
                return plan_err!("a window function in a LATERAL query stands alone");
            };
            let mut function = function.as_ref().clone();
            let params = &mut function.params;
            for part in params.args.iter_mut().chain(&mut params.partition_by) {
                *part = said_by(part, &self.known)?;
            }
            if let Some(filter) = params.filter.as_deref_mut() {
                *filter = said_by(filter, &self.known)?;
            }
            params.order_by = sorted_by(&params.order_by, &self.known)?;
            params.partition_by.extend(self.apart());
            let value = self.window(Expr::from(function))?;
            self.known.insert(column, value);
        }
        Ok(())
    }

    fn aggregate(&mut self, of: &Aggregate) -> Result<()> {
        let is_of_sets = |by: &Expr| matches!(by, Expr::GroupingSet(_));
        if of.group_expr.iter().any(is_of_sets) {
            return plan_err!(
                "a LATERAL query over a list, or over limited rows, cannot have GROUPING SETS"
            );
        }
        let exprs = of.group_expr.iter().chain(&of.aggr_expr).cloned();
        let mut made = columns(of.schema.as_ref()).zip(exprs);
        let groups: Vec<_> = made.by_ref().take(of.group_expr.len()).collect();
        let aggregates: Vec<_> = made.collect();
        self.group(groups, aggregates)
    }

    /// Groups the rows of every row before. Both lists have the columns of the lateral query and what they are.
    fn group(
        &mut self,
        groups: Vec<(Column, Expr)>,
        aggregates: Vec<(Column, Expr)>,
    ) -> Result<()> {
        let is_of_all_rows = groups.is_empty();
        let mut keys: Vec<Expr> = self.left.iter().cloned().chain([row()]).collect();
        if !is_of_all_rows {
            keys.push(is_there());
        }
        let mut places = Vec::with_capacity(groups.len());
        for (column, expr) in groups {
            let said = said_by(without_name(&expr), &self.known)?;
            let known = keys.iter().position(|key| *key == said);
            places.push((column, known.unwrap_or(keys.len())));
            if known.is_none() {
                keys.push(said);
            }
        }
        let mut calls = Vec::with_capacity(aggregates.len());
        for (column, expr) in aggregates {
            let Expr::AggregateFunction(mut call) = said_by(without_name(&expr), &self.known)?
            else {
                return plan_err!("an aggregate in a LATERAL query stands alone");
            };
            // Values are gathered in the order of the rows, where the call has none of its own.
            if GATHERING.contains(&call.func.name()) && call.params.order_by.is_empty() {
                call.params.order_by.clone_from(&self.order);
            }
            if is_of_all_rows {
                let chosen = match call.params.filter.take() {
                    Some(filter) => is_there().and(*filter),
                    None => is_there(),
                };
                call.params.filter = Some(Box::new(chosen));
            }
            // Of columns with two names there may be the same aggregate twice.
            let call = Expr::AggregateFunction(call);
            let known = calls.iter().position(|other| *other == call);
            places.push((column, keys.len() + known.unwrap_or(calls.len())));
            if known.is_none() {
                calls.push(call);
            }
        }
        let plan = LogicalPlanBuilder::from(self.plan.clone());
        self.plan = plan.aggregate(keys, calls)?.build()?;
        let made: Vec<Column> = columns(self.plan.schema()).collect();
        self.known = places
            .into_iter()
            .filter_map(|(column, at)| Some((column, Expr::Column(made.get(at)?.clone()))))
            .collect();
        self.order.clear();
        if is_of_all_rows {
            self.aggregates = self.aggregates.saturating_sub(1);
            self.has_marked = false;
            self.mark(lit(true))?;
        }
        Ok(())
    }

    /// Drops the rows that the lateral query does not have, but for one of a row before that has none.
    fn drop_marked(&mut self) -> Result<()> {
        let first = is_there().sort(false, false);
        let number = self.window(numbered(vec![row()], vec![first]))?;
        let is_first = number.eq(lit(1_u64));
        self.filter(is_there().is_true().or(is_first))
    }

    /// The columns of the join.
    fn outputs(
        mut self,
        lateral: &LogicalPlan,
        alias: Option<&TableReference>,
    ) -> Result<LogicalPlan> {
        if self.has_marked {
            self.drop_marked()?;
        }
        let mut outputs = self.left;
        for column in columns(lateral.schema()) {
            let mut said = match self.known.get(&column) {
                Some(said) => said.clone(),
                None => return plan_err!("{column} of a LATERAL query is not known"),
            };
            if self.is_outer {
                let when = vec![(Box::new(is_there()), Box::new(said))];
                said = Expr::Case(Case::new(None, when, None));
            }
            let relation = alias.cloned().or(column.relation);
            outputs.push(said.alias_qualified(relation, column.name));
        }
        LogicalPlanBuilder::from(self.plan)
            .project(outputs)?
            .build()
    }
}
