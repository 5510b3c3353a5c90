//! `ORDER BY … LIMIT n` with an n that is too large to keep in memory.
//!
//! Invariant: a limit never makes a query need more memory than the same query without it. DataFusion keeps the first n rows in a heap that cannot be spilled; where that would be
//! large, this rule sorts all rows, which can, and cuts afterwards.

use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use std::sync::Arc;

/// The rule; it comes after all others.
#[derive(Debug)]
pub(crate) struct SpillingLimits {
    /// Bytes that a heap of first rows may hold.
    pub(crate) heap: usize,
}

impl PhysicalOptimizerRule for SpillingLimits {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let done = plan.transform_up(|node| {
            let Some(sort) = node.downcast_ref::<SortExec>() else { return Ok(Transformed::no(node)) };
            let Some(rows) = sort.fetch().filter(|rows| rows.saturating_mul(width(&sort.schema())) > self.heap) else {
                return Ok(Transformed::no(node));
            };
            let all: Arc<dyn ExecutionPlan> = Arc::new(sort.with_fetch(None));
            let cut: Arc<dyn ExecutionPlan> = if all.output_partitioning().partition_count() == 1 {
                Arc::new(GlobalLimitExec::new(all, 0, Some(rows)))
            } else {
                Arc::new(LocalLimitExec::new(all, rows))
            };
            Ok(Transformed::yes(cut))
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "spilling_limits"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Bytes of a row, by its types; texts and lists as they are in sales.
fn width(schema: &Schema) -> usize {
    let bytes = |data_type: &DataType| match data_type {
        DataType::Boolean | DataType::Null => 1,
        other if other.is_nested() => 512,
        other => other.primitive_width().unwrap_or(64),
    };
    schema.fields().iter().map(|field| bytes(field.data_type())).sum()
}
