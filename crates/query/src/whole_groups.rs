//! Groupings whose aggregates hold what they have seen, in one step instead of two.
//!
//! Invariant: the same groups with the same values. DataFusion groups the rows of each thread, hands what each has seen to the others, and groups it again: for a set of all different values
//! that is everything, twice. Here the rows themselves are spread by their groups, and each group is worked out where it belongs. Aggregates that hold all values of a group
//! get files for what of large groups does not fit.

use crate::value_files::ValueSpill;
use crate::{distinct_count, exact, ordered};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use std::sync::Arc;

/// The rule; it comes when rows are spread as they are going to be.
#[derive(Debug)]
pub(crate) struct WholeGroups {
    /// Place of the values of large groups.
    pub(crate) spill: ValueSpill,
}

impl PhysicalOptimizerRule for WholeGroups {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let done = plan.transform_up(|node| {
            let whole = match in_one_step(&node)? {
                Some(whole) => Transformed::yes(whole),
                None => Transformed::no(node),
            };
            Ok(match with_files(&whole.data, &self.spill)? {
                Some(with_files) => Transformed::yes(with_files),
                None => whole,
            })
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "whole_groups"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A grouping in one step; `None` for one that stays as it is.
fn in_one_step(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(last) = node.downcast_ref::<AggregateExec>() else {
        return Ok(None);
    };
    let is_final = matches!(
        last.mode(),
        AggregateMode::Final | AggregateMode::FinalPartitioned
    );
    let holds = |first: &AggregateExec| {
        let mut calls = first.aggr_expr().iter();
        calls.any(|call| match call.fun().name() {
            distinct_count::NAME => true,
            name if exact::holds_values(name) => true,
            name => ordered::holds_in_order(name) && !call.order_bys().is_empty(),
        })
    };
    let spread = last.input();
    let is_spread = spread.downcast_ref::<RepartitionExec>().is_some()
        || spread.downcast_ref::<CoalescePartitionsExec>().is_some();
    let below = spread.children();
    let first = match below.as_slice() {
        [first] if is_final && is_spread => first.downcast_ref::<AggregateExec>(),
        _ => None,
    };
    let Some(first) = first.filter(|first| {
        *first.mode() == AggregateMode::Partial && first.group_expr().is_single() && holds(first)
    }) else {
        return Ok(None);
    };
    let rows = Arc::clone(first.input());
    let groups = first.group_expr().input_exprs();
    let (mode, input): (_, Arc<dyn ExecutionPlan>) = match last.mode() {
        AggregateMode::FinalPartitioned if !groups.is_empty() => {
            let count = spread.output_partitioning().partition_count();
            let spread = RepartitionExec::try_new(rows, Partitioning::Hash(groups, count))?;
            (AggregateMode::SinglePartitioned, Arc::new(spread))
        }
        _ => (
            AggregateMode::Single,
            Arc::new(CoalescePartitionsExec::new(rows)),
        ),
    };
    let whole = AggregateExec::try_new(
        mode,
        first.group_expr().clone(),
        first.aggr_expr().to_vec(),
        first.filter_expr().to_vec(),
        input,
        first.input_schema(),
    )?;
    Ok(Some(Arc::new(
        whole.with_limit_options(last.limit_options()),
    )))
}

/// A grouping in one step whose calls have files for large groups; `None` for one that stays as it is.
fn with_files(
    node: &Arc<dyn ExecutionPlan>,
    spill: &ValueSpill,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let whole = match node.downcast_ref::<AggregateExec>() {
        Some(whole)
            if matches!(
                whole.mode(),
                AggregateMode::Single | AggregateMode::SinglePartitioned
            ) =>
        {
            whole
        }
        _ => return Ok(None),
    };
    let input = whole.input().schema();
    let mut has_files = false;
    let mut calls = Vec::with_capacity(whole.aggr_expr().len());
    for call in whole.aggr_expr() {
        let with_files = match exact::with_files(call)? {
            None => ordered::with_files(call, &input, spill)?,
            with_files => with_files,
        };
        calls.push(match with_files {
            Some(with_files) => {
                has_files = true;
                Arc::new(with_files)
            }
            None => Arc::clone(call),
        });
    }
    Ok(has_files.then(|| Arc::new(whole.with_new_aggr_exprs(calls)) as Arc<dyn ExecutionPlan>))
}
