//! `count(DISTINCT x)` beside other aggregates, as a grouping by x first and a count of its groups afterwards.
//!
//! Invariant: the same answer, and a grouping spills where a set of all values does not.
//!
//! ```text
//!   SELECT k, count(DISTINCT x), count(*), avg(y) FROM t GROUP BY k
//!   SELECT k, count(x), sum(n), sum(s) / sum(c) FROM
//!     (SELECT k, hash(x) AS x, count(*) AS n, sum(y) AS s, count(y) AS c FROM t GROUP BY k, hash(x)) GROUP BY k
//! ```
//!
//! DataFusion's own rule does the same beside `sum`, `min` and `max`, and not beside `count` and `avg`; without it each group of each partition keeps a set of its own, of
//! several kilobytes where it holds one value. Two aggregates over different values would need the rows twice, and others have no such steps: beside those, texts are counted by
//! [`crate::distinct_count`], and so they are by groups where there is memory for it: one step is faster than two.

use crate::average::average_of_total;
use crate::distinct_count::{self, SpillSettings};
use crate::hashed_value::{self, is_hashed};
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, ScalarValue, internal_err};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, ScalarFunction};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, lit, when,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// The rule. It comes after types are coerced.
#[derive(Debug)]
pub(crate) struct DistinctByGroups {
    /// The sum that adds counts up.
    pub(crate) sum: Arc<AggregateUDF>,
    /// The count of an average's values.
    pub(crate) count: Arc<AggregateUDF>,
    /// Memory of counts of different hashes.
    pub(crate) spill: SpillSettings,
    /// True if texts of groups are counted by their hashes, where that is possible, and in two steps where it is not. With little memory two steps come first: those need
    /// no memory for a group, however many there are.
    pub(crate) prefers_hashes: bool,
}

/// The column of the inner grouping that holds the counted values.
const VALUE: &str = "__distinct";

impl AnalyzerRule for DistinctByGroups {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let done = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Aggregate(aggregate) => match self.counted(&aggregate)? {
                Some(counted) => Ok(Transformed::yes(counted)),
                None => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
            },
            other => Ok(Transformed::no(other)),
        });
        done.map(|done| done.data)
    }

    fn name(&self) -> &'static str {
        "distinct_by_groups"
    }
}

/// An aggregate in its two steps.
struct DistinctSteps {
    /// Within the groups of one value; none for the count of values itself.
    inner: Vec<Expr>,
    /// Over those groups; an average has two.
    outer: Vec<Expr>,
}

impl DistinctByGroups {
    /// The plan in place of an aggregate; `None` for one that stays as it is.
    fn counted(&self, aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
        if self.prefers_hashes
            && !aggregate.group_expr.is_empty()
            && let Some(hashed) = self.by_hashes(aggregate)?
        {
            return Ok(Some(hashed));
        }
        match self.grouped(aggregate)? {
            Some(grouped) => Ok(Some(grouped)),
            None => self.by_hashes(aggregate),
        }
    }

    /// The same aggregate, with texts and bytes counted by their hashes; `None` where none are.
    fn by_hashes(&self, aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
        let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
        let mut is_changed = false;
        // Counts beside each other share the memory that one would have.
        let counts = aggregate.aggr_expr.iter().filter_map(call);
        let counts = counts.filter(|call| is_plain_count(call)).count();
        let distinct_count = Arc::new(distinct_count::function(self.spill.shared_by(counts)));
        let mut calls = Vec::with_capacity(aggregate.aggr_expr.len());
        for (at, expr) in aggregate.aggr_expr.iter().enumerate() {
            let hashed = call(expr).filter(|call| is_plain_count(call));
            let Some((hashed, [of])) = hashed.map(|call| (call, call.params.args.as_slice()))
            else {
                calls.push(expr.clone());
                continue;
            };
            if !is_hashed(&of.get_type(aggregate.input.schema())?) {
                calls.push(expr.clone());
                continue;
            }
            is_changed = true;
            let count = AggregateFunction::new_udf(
                Arc::clone(&distinct_count),
                vec![compact(of.clone(), &aggregate.input)?],
                false,
                hashed.params.filter.clone(),
                Vec::new(),
                None,
            );
            let name = aggregate.schema.field(keys + at).name();
            calls.push(Expr::AggregateFunction(count).alias(name));
        }
        if !is_changed {
            return Ok(None);
        }
        let plan = LogicalPlanBuilder::new_from_arc(Arc::clone(&aggregate.input))
            .aggregate(aggregate.group_expr.clone(), calls)?
            .build()?;
        let both = plan.schema().iter().zip(aggregate.schema.iter());
        let is_same = both.fold(true, |is_same, ((of, field), (of_known, known))| {
            is_same
                && of == of_known
                && field.name() == known.name()
                && field.data_type() == known.data_type()
        });
        Ok(is_same.then_some(plan))
    }

    /// The two groupings in place of one; `None` for one that stays as it is.
    fn grouped(&self, aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
        if aggregate
            .group_expr
            .iter()
            .any(|expr| matches!(expr, Expr::GroupingSet(_)))
        {
            return Ok(None);
        }
        let calls: Option<Vec<&AggregateFunction>> = aggregate.aggr_expr.iter().map(call).collect();
        let Some(calls) = calls else { return Ok(None) };
        let Some(value) = counted(&calls)? else {
            return Ok(None);
        };
        let keys = aggregate.group_expr.len();
        let mut steps = Vec::with_capacity(calls.len());
        for (at, call) in calls.into_iter().enumerate() {
            let field = aggregate.schema.field(keys + at);
            match self.steps(call, &format!("__part_{at}"), field.data_type())? {
                Some(step) => steps.push(step),
                None => return Ok(None),
            }
        }
        let key = |at: usize| format!("__key_{at}");
        let mut inner_keys: Vec<Expr> = aggregate
            .group_expr
            .iter()
            .enumerate()
            .map(|(at, expr)| expr.clone().alias(key(at)))
            .collect();
        inner_keys.push(compact(value, &aggregate.input)?.alias(VALUE));
        let inner: Vec<Expr> = steps.iter().flat_map(|step| step.inner.clone()).collect();
        let outer_keys: Vec<Expr> = (0..keys).map(|at| column(key(at))).collect();
        // The result of counts and sums is made what it was by the projection: no null, and of the type it had.
        let (mut sums, mut shown) = (Vec::new(), Vec::new());
        for (at, step) in steps.into_iter().enumerate() {
            let field = aggregate.schema.field(keys + at);
            let mut totals = Vec::with_capacity(step.outer.len());
            for (part, outer) in step.outer.into_iter().enumerate() {
                let name = format!("__whole_{at}_{part}");
                totals.push(column(name.clone()));
                sums.push(outer.alias(name));
            }
            shown.push(match <[Expr; 2]>::try_from(totals) {
                Ok([total, count]) => averaged(total, count, field.data_type()),
                Err(totals) => {
                    let Some(total) = totals.into_iter().next() else {
                        return internal_err!("an aggregate has a step");
                    };
                    if field.is_nullable() {
                        cast(total, field.data_type().clone())
                    } else {
                        coalesce(vec![total, lit(ScalarValue::Int64(Some(0)))])
                    }
                }
            });
        }
        let named = outer_keys
            .iter()
            .cloned()
            .chain(shown)
            .enumerate()
            .map(|(at, expr)| {
                let (qualifier, field) = aggregate.schema.qualified_field(at);
                expr.alias_qualified(qualifier.cloned(), field.name())
            });
        let named: Vec<Expr> = named.collect();
        let plan = LogicalPlanBuilder::new_from_arc(Arc::clone(&aggregate.input))
            .aggregate(inner_keys, inner)?
            .aggregate(outer_keys, sums)?
            .project(named)?
            .build()?;
        let is_same = plan
            .schema()
            .fields()
            .iter()
            .zip(aggregate.schema.fields())
            .all(|(one, other)| {
                one.data_type() == other.data_type()
                    && (one.is_nullable() == other.is_nullable() || other.is_nullable())
            });
        Ok(is_same.then_some(plan))
    }

    /// The steps of an aggregate; `None` for one that has no such steps.
    fn steps(
        &self,
        call: &AggregateFunction,
        part: &str,
        data_type: &DataType,
    ) -> Result<Option<DistinctSteps>> {
        let AggregateFunctionParams {
            args,
            distinct,
            filter: _,
            order_by,
            null_treatment,
        } = &call.params;
        if !order_by.is_empty() || null_treatment.is_some() {
            return Ok(None);
        }
        let over = |function: &Arc<AggregateUDF>, of: &str| {
            let of = vec![column(of.to_owned())];
            Expr::AggregateFunction(AggregateFunction::new_udf(
                Arc::clone(function),
                of,
                false,
                None,
                Vec::new(),
                None,
            ))
        };
        if *distinct {
            return Ok(Some(DistinctSteps {
                inner: Vec::new(),
                outer: vec![over(&call.func, VALUE)],
            }));
        }
        let again = match call.func.name() {
            "avg" if args.len() == 1 => return Ok(self.average_steps(call, part, data_type)),
            "count" if args.len() == 1 => &self.sum,
            // A total of floats depends on the order they are added in, with one step as with two.
            "sum" if data_type.is_numeric() => &call.func,
            "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or" | "bit_xor" => &call.func,
            _ => return Ok(None),
        };
        let inner = Expr::AggregateFunction(call.clone()).alias(part);
        Ok(Some(DistinctSteps {
            inner: vec![inner],
            outer: vec![over(again, part)],
        }))
    }

    /// The steps of an average: a total and a count.
    fn average_steps(
        &self,
        call: &AggregateFunction,
        part: &str,
        data_type: &DataType,
    ) -> Option<DistinctSteps> {
        if !matches!(data_type, DataType::Float64 | DataType::Decimal128(..)) {
            return None;
        }
        let (total, count) = (format!("{part}_total"), format!("{part}_count"));
        let of = |function: &Arc<AggregateUDF>, args: Vec<Expr>, filter| {
            Expr::AggregateFunction(AggregateFunction::new_udf(
                Arc::clone(function),
                args,
                false,
                filter,
                Vec::new(),
                None,
            ))
        };
        let inner = |function| {
            of(
                function,
                call.params.args.clone(),
                call.params.filter.clone(),
            )
        };
        let outer = |of_part: &str| of(&self.sum, vec![column(of_part.to_owned())], None);
        Some(DistinctSteps {
            outer: vec![outer(&total), outer(&count)],
            inner: vec![
                inner(&self.sum).alias(total),
                inner(&self.count).alias(count),
            ],
        })
    }
}

/// True for `count(DISTINCT x)`.
fn is_plain_count(call: &AggregateFunction) -> bool {
    let params = &call.params;
    call.func.name() == "count"
        && params.distinct
        && params.order_by.is_empty()
        && params.null_treatment.is_none()
}

/// An average of its total and its count.
fn averaged(total: Expr, count: Expr, data_type: &DataType) -> Expr {
    if data_type.is_decimal() {
        Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::new(average_of_total(data_type)),
            vec![total, count],
        ))
    } else {
        total / cast(count, DataType::Float64)
    }
}

/// A value in a form that is small to hold: texts and bytes by their hash.
fn compact(value: Expr, input: &LogicalPlan) -> Result<Expr> {
    if !is_hashed(&value.get_type(input.schema())?) {
        return Ok(value);
    }
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(hashed_value::function()),
        vec![value],
    )))
}

fn column(name: String) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// The call of an aggregate, whatever it is called.
fn call(expr: &Expr) -> Option<&AggregateFunction> {
    match expr {
        Expr::AggregateFunction(call) => Some(call),
        Expr::Alias(alias) => call(&alias.expr),
        _ => None,
    }
}

/// The one value whose differences are counted; null where a filter leaves the row out. `None` if there is none, or more than one.
fn counted(calls: &[&AggregateFunction]) -> Result<Option<Expr>> {
    let mut value: Option<Expr> = None;
    for call in calls.iter().filter(|call| call.params.distinct) {
        let [of] = call.params.args.as_slice() else {
            return Ok(None);
        };
        if call.func.name() != "count" {
            return Ok(None);
        }
        let of = match &call.params.filter {
            Some(filter) => when(filter.as_ref().clone(), of.clone()).end()?,
            None => of.clone(),
        };
        match &value {
            Some(known) if *known != of => return Ok(None),
            _ => value = Some(of),
        }
    }
    Ok(value)
}
