//! `count(DISTINCT x)` beside other aggregates, as a grouping by x first and a count of its groups afterwards.
//!
//! Invariant: the same answer, and a grouping spills where a set of all values does not.
//!
//! ```text
//!   SELECT k, count(DISTINCT x), count(*), sum(y) FROM t GROUP BY k
//!   SELECT k, count(x), sum(n), sum(s) FROM (SELECT k, x, count(*) AS n, sum(y) AS s FROM t GROUP BY k, x) GROUP BY k
//! ```
//!
//! DataFusion's own rule does the same beside `sum`, `min` and `max`, and not beside `count`; without it each group of each partition keeps a set of its own, of
//! several kilobytes where it holds one value. Two aggregates over different values keep DataFusion's sets: they would need the rows twice.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, LogicalPlan, LogicalPlanBuilder, cast, lit, when,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// The rule. It comes after types are coerced.
#[derive(Debug)]
pub(crate) struct DistinctByGroups {
    /// The sum that adds counts up.
    pub(crate) sum: Arc<AggregateUDF>,
}

/// The column of the inner grouping that holds the counted values.
const VALUE: &str = "__distinct";

impl AnalyzerRule for DistinctByGroups {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let done = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Aggregate(aggregate) => match self.grouped(&aggregate)? {
                Some(grouped) => Ok(Transformed::yes(grouped)),
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
    /// Within the groups of one value; `None` for the count of values itself.
    inner: Option<Expr>,
    /// Over those groups.
    outer: Expr,
}

impl DistinctByGroups {
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
        inner_keys.push(value.alias(VALUE));
        let inner: Vec<Expr> = steps.iter().filter_map(|step| step.inner.clone()).collect();
        let outer_keys: Vec<Expr> = (0..keys).map(|at| column(key(at))).collect();
        // What counts and sums give is made what it was by the projection: no null, and of the type it had.
        let (sums, shown): (Vec<Expr>, Vec<Expr>) = steps
            .into_iter()
            .enumerate()
            .map(|(at, step)| {
                let field = aggregate.schema.field(keys + at);
                let name = format!("__whole_{at}");
                let total = column(name.clone());
                let shown = if field.is_nullable() {
                    cast(total, field.data_type().clone())
                } else {
                    coalesce(vec![total, lit(ScalarValue::Int64(Some(0)))])
                };
                (step.outer.alias(name), shown)
            })
            .unzip();
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
                inner: None,
                outer: over(&call.func, VALUE),
            }));
        }
        let again = match call.func.name() {
            "count" if args.len() == 1 => &self.sum,
            // A total of floats depends on the order they are added in.
            "sum" if data_type.is_integer() || data_type.is_decimal() => &call.func,
            "min" | "max" | "bool_and" | "bool_or" => &call.func,
            _ => return Ok(None),
        };
        let inner = Expr::AggregateFunction(call.clone()).alias(part);
        Ok(Some(DistinctSteps {
            inner: Some(inner),
            outer: over(again, part),
        }))
    }
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
