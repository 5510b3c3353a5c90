//! Window functions that need all rows before they give one, like `ntile` and `sum(x) OVER ()`, held to memory.
//!
//! Invariant: the rows such a step gathers are counted, and too many of them are an error. DataFusion gathers them without asking anybody.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::spill::get_record_batch_memory_size;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;

/// Copies of its rows that such a step has at a time: as they came, and as one.
const COPIES: usize = 2;

/// The rule.
#[derive(Debug)]
pub(crate) struct HeldWindows;

impl PhysicalOptimizerRule for HeldWindows {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let done = plan.transform_up(|node| {
            if node.downcast_ref::<WindowAggExec>().is_none() {
                return Ok(Transformed::no(node));
            }
            let counted = |child: &Arc<dyn ExecutionPlan>| {
                let input = Arc::clone(child);
                Arc::new(CountedExec { input }) as Arc<dyn ExecutionPlan>
            };
            let children = node.children().into_iter().map(counted).collect();
            let same = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
            Ok(Transformed::yes(node.replace_children(children, same)?))
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "held_windows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The rows of its input, each counted for as long as the stream is there.
#[derive(Debug)]
struct CountedExec {
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for CountedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl ExecutionPlan for CountedExec {
    fn name(&self) -> &'static str {
        "Counted"
    }

    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next();
        let input =
            input.ok_or_else(|| internal_datafusion_err!("what is counted has an input"))?;
        Ok(Arc::new(Self { input }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let held = MemoryConsumer::new(format!("window function over all rows[{partition}]"))
            .register(context.memory_pool());
        let input = self.input.execute(partition, context)?;
        let counted = input.map(move |batch: Result<RecordBatch>| {
            let batch = batch?;
            held.try_grow(COPIES * get_record_batch_memory_size(&batch))?;
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            counted,
        )))
    }
}
