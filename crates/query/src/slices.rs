//! Steps of a plan that repeat a large constant in every row, like `SELECT unnest(range(0, 10000)) FROM transactions`.
//!
//! Invariant: what a constant becomes in one batch stays small, however large the constant is and however many rows there are: such a step takes its rows in by the handful.
//! DataFusion writes a constant once for each row of a batch: ten thousand numbers become 650 MB in eight thousand rows.

use crate::large_constants::bytes_of_constant;
use crate::one_input::one_input;
use arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ReplaceChildrenOptions,
};
use futures::{TryStreamExt, stream};
use std::fmt;
use std::sync::Arc;

/// The rule.
#[derive(Debug)]
pub(crate) struct SlicedConstants {
    /// Bytes that the constants of one batch may come to.
    pub(crate) bytes: usize,
}

impl PhysicalOptimizerRule for SlicedConstants {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let batch = config.execution.batch_size.get();
        let done = plan.transform_up(|node| {
            let constants = constants(&node)?;
            if constants.saturating_mul(batch) <= self.bytes || node.children().is_empty() {
                return Ok(Transformed::no(node));
            }
            let rows = (self.bytes / constants).max(1);
            let sliced = |child: &Arc<dyn ExecutionPlan>| {
                Arc::new(SlicedExec {
                    input: Arc::clone(child),
                    rows,
                }) as Arc<_>
            };
            let children = node.children().into_iter().map(sliced).collect();
            let same = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
            Ok(Transformed::yes(node.replace_children(children, same)?))
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "sliced_constants"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Bytes of the constants that a step of a plan has in its expressions.
fn constants(node: &Arc<dyn ExecutionPlan>) -> Result<usize> {
    let mut bytes = 0_usize;
    node.apply_expressions(&mut |root| {
        let _ = root.apply(|expr: &Arc<dyn PhysicalExpr>| {
            if let Some(literal) = expr.downcast_ref::<Literal>() {
                bytes = bytes.saturating_add(literal.value().size());
            } else if let Some(constant) = bytes_of_constant(expr) {
                bytes = bytes.saturating_add(constant);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(bytes)
}

/// The rows of its input, so many at a time.
#[derive(Debug)]
struct SlicedExec {
    input: Arc<dyn ExecutionPlan>,
    rows: usize,
}

impl DisplayAs for SlicedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sliced: rows={}", self.rows)
    }
}

impl SlicedExec {
    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let rows = self.rows;
        Arc::new(Self { input, rows })
    }
}

impl ExecutionPlan for SlicedExec {
    fn name(&self) -> &'static str {
        "Sliced"
    }

    one_input!(input);

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = self.rows;
        let slices = move |batch: RecordBatch| {
            let starts = (0..batch.num_rows()).step_by(rows);
            stream::iter(
                starts.map(move |start| Ok(batch.slice(start, rows.min(batch.num_rows() - start)))),
            )
        };
        let input = self
            .input
            .execute(partition, context)?
            .map_ok(slices)
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            input,
        )))
    }
}
