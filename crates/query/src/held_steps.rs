//! Steps of a plan that hold what they take in, or make much of it, without asking anybody, held to memory: window functions that need all rows before they give one, like `ntile` and
//! `sum(x) OVER ()`, and the unnesting of long lists.
//!
//! Invariant: the rows that such a window gathers are counted, and too many of them are an error. An unnesting takes its rows in by pieces that become small batches, so that a long list
//! may stand beside wide columns; where lists stand in lists what they become is counted.

use crate::bounded::free_of;
use crate::limits::bytes_of;
use crate::one_input::one_input;
use crate::unnest_pieces::{self, UnnestPiece, UnnestPieces, UnnestRows};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::spill::get_record_batch_memory_size;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use std::fmt;
use std::sync::Arc;

/// Copies of its rows that a window has at a time: as they came, and as one.
const COPIES: usize = 2;
/// Batches that the steps behind an unnesting hold of it, in the memory that nobody asks for.
const PIECES: usize = 4;
/// Bytes of a piece that is not cut further, however little memory there is: where they do not fit, the query needs more memory than it may use.
const LEAST: usize = 64 << 10;

/// The rule.
#[derive(Debug)]
pub(crate) struct HeldSteps;

impl PhysicalOptimizerRule for HeldSteps {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let done = plan.transform_up(|node| {
            let Some(step) = HeldStep::of(&node, config.execution.batch_size.get()) else {
                return Ok(Transformed::no(node));
            };
            let counted = |child: &Arc<dyn ExecutionPlan>| {
                let (input, step) = (Arc::clone(child), step.clone());
                Arc::new(CountedExec { input, step }) as Arc<dyn ExecutionPlan>
            };
            let children = node.children().into_iter().map(counted).collect();
            let same = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
            Ok(Transformed::yes(node.replace_children(children, same)?))
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "held_steps"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A step whose rows are counted.
#[derive(Debug, Clone)]
enum HeldStep {
    /// It gathers all rows.
    Window,
    /// It makes a row of each element of the lists in some columns. DataFusion does so for as many rows at a time as give a batch, and for one at least; for all
    /// rows of a batch where lists stand in lists.
    Unnest {
        /// Columns, each with the number of lists in lists.
        columns: Arc<[(usize, usize)]>,
        batch_rows: usize,
    },
}

impl HeldStep {
    fn of(node: &Arc<dyn ExecutionPlan>, batch_rows: usize) -> Option<Self> {
        if node.downcast_ref::<WindowAggExec>().is_some() {
            return Some(Self::Window);
        }
        let lists = node.downcast_ref::<UnnestExec>()?.list_column_indices();
        let columns = (lists.iter()).map(|list| (list.index_in_input_schema, list.depth));
        Some(Self::Unnest {
            columns: columns.collect(),
            batch_rows,
        })
    }

    /// Bytes that are held from when a batch comes until the next one does, of how many before.
    fn bytes(&self, batch: &RecordBatch, before: usize) -> Result<usize> {
        Ok(match self {
            Self::Window => {
                before.saturating_add(COPIES.saturating_mul(get_record_batch_memory_size(batch)))
            }
            Self::Unnest {
                columns,
                batch_rows,
            } => {
                let is_deep = columns.iter().any(|(_, depth)| *depth > 1);
                let elements = elements(batch, columns)?;
                let mut bytes = 0_usize;
                for (row, elements) in elements.into_iter().enumerate() {
                    if is_deep {
                        bytes = bytes.saturating_add(bytes_of_row(batch, columns, row, elements));
                    } else if elements > *batch_rows {
                        bytes = bytes.max(bytes_of_row(batch, columns, row, elements));
                    }
                }
                bytes
            }
        })
    }

    /// A batch in the rows whose pieces a step takes, and the bytes that are held for them. Lists of lists are not cut: their elements are not counted one by one.
    fn pieces(
        &self,
        batch: &RecordBatch,
        before: usize,
        most: usize,
    ) -> Result<(Vec<UnnestRows>, usize)> {
        let whole = || Ok((vec![UnnestRows::all(batch)], self.bytes(batch, before)?));
        let Self::Unnest {
            columns,
            batch_rows,
        } = self
        else {
            return whole();
        };
        let can_be_cut = columns.iter().all(|(column, depth)| {
            *depth < 2 && unnest_pieces::can_be_cut(batch.column(*column).data_type())
        });
        if !can_be_cut {
            return whole();
        }
        let lists: Vec<usize> = columns.iter().map(|(column, _)| *column).collect();
        let cut = UnnestPieces {
            batch,
            lists: &lists,
            elements: &elements(batch, columns)?,
            batch_rows: *batch_rows,
            most,
        };
        Ok(cut.cut())
    }

    /// The rows of a piece.
    fn rows_of(&self, batch: &RecordBatch, piece: &UnnestPiece) -> Result<RecordBatch> {
        let lists: Vec<usize> = match self {
            Self::Window => Vec::new(),
            Self::Unnest { columns, .. } => columns.iter().map(|(column, _)| *column).collect(),
        };
        unnest_pieces::rows_of(batch, &lists, piece)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Window => "window function over all rows",
            Self::Unnest { .. } => "unnest",
        }
    }
}

/// Elements of the longest list of each row.
fn elements(batch: &RecordBatch, columns: &[(usize, usize)]) -> Result<Vec<usize>> {
    let mut longest = vec![0; batch.num_rows()];
    for (column, depth) in columns {
        let lists = batch.column(*column);
        if *depth > 1 {
            for (row, longest) in longest.iter_mut().enumerate() {
                *longest = innermost(&lists.slice(row, 1), *depth).max(*longest);
            }
            continue;
        }
        let lengths = cast(&length(lists.as_ref())?, &DataType::Int64)?;
        let lengths = lengths.as_primitive::<Int64Type>();
        for (row, longest) in longest.iter_mut().enumerate() {
            if lengths.is_valid(row) {
                *longest = usize::try_from(lengths.value(row))
                    .unwrap_or(0)
                    .max(*longest);
            }
        }
    }
    Ok(longest)
}

/// Elements of lists in lists, down to a depth.
fn innermost(lists: &ArrayRef, depth: usize) -> usize {
    let Some(below) = depth.checked_sub(1) else {
        return lists.len();
    };
    let place = |at: i64| usize::try_from(at).unwrap_or(0);
    let (values, from, to) = if let Some(lists) = lists.as_list_opt::<i32>() {
        let offsets = lists.value_offsets();
        let (from, to) = (offsets.first(), offsets.last());
        let place = |at: Option<&i32>| place(at.copied().unwrap_or(0).into());
        (lists.values(), place(from), place(to))
    } else if let Some(lists) = lists.as_list_opt::<i64>() {
        let offsets = lists.value_offsets();
        let (from, to) = (offsets.first(), offsets.last());
        let place = |at: Option<&i64>| place(at.copied().unwrap_or(0));
        (lists.values(), place(from), place(to))
    } else {
        return lists.len();
    };
    innermost(&values.slice(from, to.saturating_sub(from)), below)
}

/// Bytes that one row becomes: its other columns stand beside each element.
fn bytes_of_row(
    batch: &RecordBatch,
    columns: &[(usize, usize)],
    row: usize,
    elements: usize,
) -> usize {
    let row = batch.slice(row, 1);
    let bytes = row.columns().iter().enumerate().map(|(at, values)| {
        let bytes = bytes_of(values.as_ref());
        match columns.iter().any(|(column, _)| *column == at) {
            true => bytes,
            false => bytes.saturating_mul(elements),
        }
    });
    bytes.fold(0, usize::saturating_add)
}

/// The rows of its input, counted as a step needs them, for as long as the stream is there.
#[derive(Debug)]
struct CountedExec {
    input: Arc<dyn ExecutionPlan>,
    step: HeldStep,
}

impl DisplayAs for CountedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl CountedExec {
    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let step = self.step.clone();
        Arc::new(Self { input, step })
    }
}

impl ExecutionPlan for CountedExec {
    fn name(&self) -> &'static str {
        "Counted"
    }

    one_input!(input);

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (step, pool) = (self.step.clone(), context.memory_pool());
        let held = MemoryConsumer::new(format!("{}[{partition}]", step.name())).register(pool);
        let free = match step {
            HeldStep::Window => 0,
            HeldStep::Unnest { .. } => free_of(pool),
        };
        let input = self.input.execute(partition, context)?;
        let most = (free / PIECES).max(LEAST);
        let counted = input.map(move |batch: Result<RecordBatch>| {
            let batch = batch?;
            let (pieces, bytes) = step.pieces(&batch, held.size(), most)?;
            held.try_resize(bytes.saturating_sub(free))?;
            let step = step.clone();
            let pieces = pieces.into_iter().flat_map(UnnestRows::pieces);
            Ok::<_, DataFusionError>(stream::iter(
                pieces.map(move |piece| step.rows_of(&batch, &piece)),
            ))
        });
        let counted = counted.try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            counted,
        )))
    }
}
