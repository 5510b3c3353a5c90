//! Sorts that need no more memory than there is: in batches as small as their rows are wide, and `ORDER BY … LIMIT n` with an n that is too large to keep in memory.
//!
//! Invariant: a sort never fails for the width of its rows while two batches of two rows fit into memory, and a limit never makes a query need more memory than the same query
//! without it. DataFusion merges what it spilled in batches of a fixed number of rows, each held several times over, and keeps the first n rows in a heap that cannot be spilled.
//! The width of rows is known when the first of them are there, not when the query is planned: a text has no length in its type. So each sort looks at its first
//! batch, and decides then.

use crate::one_input::one_input;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::spill::get_record_batch_memory_size;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that a sort may hold at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SortBudget {
    /// Bytes in a heap of first rows.
    pub(crate) heap: usize,
    /// Bytes in one batch of those it merges.
    pub(crate) batch: usize,
}

/// Rows whose keys are looked at.
const SAMPLE: usize = 256;
/// Bytes of rows, with as much again, that are sorted as one batch: fewer than offsets of texts can count.
const SORTED_AS_ONE: usize = 4 << 30;

/// The rule; it comes after all others.
#[derive(Debug)]
pub(crate) struct SpillingSorts {
    pub(crate) budget: SortBudget,
}

impl PhysicalOptimizerRule for SpillingSorts {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let done = plan.transform_up(|node| {
            if node.downcast_ref::<SortExec>().is_none() {
                return Ok(Transformed::no(node));
            }
            Ok(Transformed::yes(Arc::new(PacedSort {
                sort: node,
                budget: self.budget,
            }) as Arc<dyn ExecutionPlan>))
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "spilling_sorts"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A sort that sees how wide its rows are before it begins.
#[derive(Debug)]
struct PacedSort {
    /// A [`SortExec`].
    sort: Arc<dyn ExecutionPlan>,
    budget: SortBudget,
}

impl PacedSort {
    fn over(&self, sort: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        // Another rule may have put something into the sort's place; that is not paced.
        if sort.downcast_ref::<SortExec>().is_none() {
            return sort;
        }
        let budget = self.budget;
        Arc::new(Self { sort, budget })
    }

    /// The sort of a stream whose first batch is there.
    fn sorted(
        sort: &Arc<dyn ExecutionPlan>,
        budget: SortBudget,
        first: RecordBatch,
        rest: SendableRecordBatchStream,
        partition: usize,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let known = sort.downcast_ref::<SortExec>();
        let known = known.ok_or_else(|| internal_datafusion_err!("a sort is none"))?;
        let width = width(&first);
        let most = context.session_config().batch_size();
        let rows = (budget.batch / width.max(1)).clamp(1, most);
        let schema = first.schema();
        let sample = first.slice(0, first.num_rows().min(SAMPLE));
        let all = stream::iter([Ok(first)]).chain(rest);
        let is_one = has_large_keys(known, &sample)?;
        let paced = all.map_ok(move |batch| stream::iter(pieces(&batch, budget.batch)));
        let paced = Box::pin(RecordBatchStreamAdapter::new(schema, paced.try_flatten()));
        let source = Arc::new(SortInput {
            properties: Arc::clone(known.input().properties()),
            stream: Mutex::new(Some(paced)),
        });
        let mut config = context.session_config().clone().with_batch_size(rows);
        if is_one {
            config = config.with_sort_in_place_threshold_bytes(SORTED_AS_ONE);
        }
        let context = Arc::new(TaskContext::new(
            context.task_id(),
            context.session_id(),
            config,
            context.scalar_functions().clone(),
            context.higher_order_functions().clone(),
            context.aggregate_functions().clone(),
            context.window_functions().clone(),
            context.runtime_env(),
        ));
        // The source says of itself what the input says, so that nothing of the sort changes but where it reads.
        let same = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
        let sort = Arc::clone(sort).replace_children(vec![source], same)?;
        let too_many = known
            .fetch()
            .filter(|first| first.saturating_mul(width) > budget.heap);
        match (too_many, sort.downcast_ref::<SortExec>()) {
            (Some(fetch), Some(sort)) => {
                let all = sort.with_fetch(None).execute(partition, context)?;
                let metrics = BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), partition);
                Ok(Box::pin(LimitStream::new(all, 0, Some(fetch), metrics)))
            }
            _ => sort.execute(partition, context),
        }
    }
}

/// True if the keys of rows take about as much memory as the rows themselves where they are merged: several columns become one text for each row, and
/// nothing is put aside for those. Rows that are sorted as one batch need no such keys.
fn has_large_keys(sort: &SortExec, sample: &RecordBatch) -> Result<bool> {
    let rows = sample.num_rows();
    let (mut columns, mut fields) = (Vec::new(), Vec::new());
    for key in sort.expr() {
        let values = key.expr.evaluate(sample)?.into_array(rows)?;
        fields.push(SortField::new_with_options(
            values.data_type().clone(),
            key.options,
        ));
        columns.push(values);
    }
    // One column of a plain type is its own key.
    // Views of one batch keep the texts of all of it, in whatever pieces it is put aside.
    let has_views = |column: &ArrayRef| {
        let data_type = column.data_type();
        data_type.is_nested() || matches!(data_type, DataType::Utf8View | DataType::BinaryView)
    };
    let is_plain = |values: &ArrayRef| {
        let data_type = values.data_type();
        data_type.is_primitive() || data_type.is_string() || data_type.is_binary()
    };
    if rows == 0
        || sample.columns().iter().any(has_views)
        || columns.len() == 1 && columns.iter().all(is_plain)
    {
        return Ok(false);
    }
    let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
    Ok(keys.size() * 10 > width(sample) * rows * 9)
}

/// Bytes of a row, on the average; of a dictionary, those of one of its values.
fn width(batch: &RecordBatch) -> usize {
    let of = |column: &ArrayRef| match column.as_any_dictionary_opt() {
        Some(dictionary) => {
            4 + bytes_of(dictionary.values().as_ref()).div_ceil(dictionary.values().len().max(1))
        }
        None => bytes_of(column.as_ref()).div_ceil(batch.num_rows().max(1)),
    };
    batch.columns().iter().map(of).sum()
}

/// Bytes of an array's own values, whatever else lies in the memory that it shares.
pub(crate) fn bytes_of(array: &dyn Array) -> usize {
    const VIEW: usize = 16;
    let texts = |lengths: &mut dyn Iterator<Item = u32>| {
        lengths.fold(0_usize, |sum, length| {
            sum.saturating_add(VIEW).saturating_add(length as usize)
        })
    };
    if let Some(views) = array.as_string_view_opt() {
        return texts(&mut views.lengths());
    }
    if let Some(views) = array.as_binary_view_opt() {
        return texts(&mut views.lengths());
    }
    array
        .to_data()
        .get_slice_memory_size()
        .unwrap_or_else(|_| array.get_array_memory_size())
}

/// Copies values into memory of their own.
fn compact(array: &ArrayRef) -> ArrayRef {
    if let Some(views) = array.as_string_view_opt() {
        return Arc::new(views.gc());
    }
    match array.as_binary_view_opt() {
        Some(views) => Arc::new(views.gc()),
        None => Arc::clone(array),
    }
}

/// A batch in pieces of at most so many bytes each. They are copies: a slice would count, and be kept, as the whole.
fn pieces(batch: &RecordBatch, most: usize) -> Vec<Result<RecordBatch>> {
    if get_record_batch_memory_size(batch) <= most || batch.num_rows() < 2 {
        return vec![Ok(batch.clone())];
    }
    let rows = (most / width(batch).max(1)).max(1);
    let starts = (0..batch.num_rows()).step_by(rows);
    let piece = |start: usize| {
        let end = batch.num_rows().min(start + rows);
        let indices: UInt64Array = (start..end).map(|row| row as u64).collect();
        let piece = take_record_batch(batch, &indices)?;
        let columns = piece.columns().iter().map(compact).collect();
        Ok(RecordBatch::try_new(piece.schema(), columns)?)
    };
    starts.map(piece).collect()
}

impl DisplayAs for PacedSort {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacedSort")
    }
}

impl ExecutionPlan for PacedSort {
    fn name(&self) -> &'static str {
        "PacedSort"
    }

    one_input!(sort);

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (sort, budget) = (Arc::clone(&self.sort), self.budget);
        let known = sort.downcast_ref::<SortExec>();
        let known = known.ok_or_else(|| internal_datafusion_err!("a sort is none"))?;
        let mut input = known.input().execute(partition, Arc::clone(&context))?;
        let schema = self.sort.schema();
        let sorted = async move {
            let first = loop {
                match input.next().await.transpose()? {
                    Some(batch) if batch.num_rows() == 0 => {}
                    Some(batch) => break batch,
                    None => break RecordBatch::new_empty(input.schema()),
                }
            };
            Self::sorted(&sort, budget, first, input, partition, &context)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            schema,
            stream::once(sorted).try_flatten(),
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        None
    }
}

/// Input of a sort: its stream, once.
struct SortInput {
    properties: Arc<PlanProperties>,
    stream: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for SortInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").finish_non_exhaustive()
    }
}

impl DisplayAs for SortInput {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Begun")
    }
}

impl ExecutionPlan for SortInput {
    fn name(&self) -> &'static str {
        "Begun"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let stream = self
            .stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        stream.ok_or_else(|| internal_datafusion_err!("the input of a sort is read once"))
    }
}
