//! Windows that give each row a list or a text of many rows, like `array_agg(x) OVER (ORDER BY y)`, held to memory.
//!
//! Invariant: what such a window has worked out and not handed on is counted, and too much of it is an error before it is there. DataFusion makes one result for each row, all of
//! them as large as what came before, and asks nobody: a list of ten thousand numbers for each of eight thousand rows is 650 MB.
//!
//! An aggregate does not see what becomes of its results. A window whose frames all have an end behind them hands its rows on batch by batch, so the last results of two batches are
//! counted; any other keeps all of them to its end.

use crate::limits::bytes_of;
use crate::sliding_frames::sliding;
use crate::stand_in::stand_in;
use crate::window_results::WindowResults;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, SetMonotonicity, WindowFrame,
    WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Copies of a result that are there at a time: by itself, and in the column that it becomes a part of.
const COPIES: usize = 2;
/// Batches whose results may not have been handed on.
const BATCHES: usize = 2;

/// The rule. It comes after types are coerced.
pub(crate) struct HeldWindowValues {
    pub(crate) pool: Arc<dyn MemoryPool>,
}

impl fmt::Debug for HeldWindowValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldWindowValues")
    }
}

impl AnalyzerRule for HeldWindowValues {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let kept = config.execution.batch_size.get() * BATCHES;
        let done = plan.transform_up_with_subqueries(|plan| {
            let LogicalPlan::Window(window) = &plan else {
                return Ok(Transformed::no(plan));
            };
            let keeps_all = window.window_expr.iter().any(has_no_end);
            let kept = (!keeps_all).then_some(kept);
            let results = Arc::new(WindowResults::counted_by(&self.pool, kept));
            plan.map_expressions(|expr| {
                expr.transform_up(|expr| {
                    Ok(match expr {
                        Expr::WindowFunction(call) => held(*call, &results),
                        other => Transformed::no(other),
                    })
                })
            })
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "held_window_values"
    }
}

/// True for a window that has to see all rows before it gives one.
fn has_no_end(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => has_no_end(&alias.expr),
        Expr::WindowFunction(call) => {
            let params = &call.params;
            params.window_frame.end_bound.is_unbounded()
                || is_one_result(&params.window_frame, params.order_by.is_empty())
        }
        _ => true,
    }
}

/// True where all rows of a partition get the same result, which is worked out once and copied.
fn is_one_result(frame: &WindowFrame, is_unordered: bool) -> bool {
    let is_whole =
        |is_unbounded: bool| is_unbounded || frame.units == WindowFrameUnits::Range && is_unordered;
    is_whole(frame.start_bound.is_unbounded()) && is_whole(frame.end_bound.is_unbounded())
}

/// A call whose frames answer wherever they are, and whose results are counted where they grow with the rows they are made of.
fn held(mut call: WindowFunction, results: &Arc<WindowResults>) -> Transformed<Expr> {
    let WindowFunctionDefinition::AggregateUDF(called) = &call.fun else {
        return Transformed::no(Expr::from(call));
    };
    if called.inner().downcast_ref::<HeldAggregate>().is_some() {
        return Transformed::no(Expr::from(call));
    }
    let params = &call.params;
    let moving = sliding(called, &params.window_frame, results);
    let is_moving = moving.is_some();
    let inner = moving.unwrap_or_else(|| Arc::clone(called));
    if !matches!(inner.name(), "array_agg" | "string_agg") {
        call.fun = WindowFunctionDefinition::AggregateUDF(inner);
        return Transformed::new_transformed(Expr::from(call), is_moving);
    }
    let held = HeldAggregate {
        inner,
        is_copied: is_one_result(&params.window_frame, params.order_by.is_empty()),
        results: Arc::clone(results),
    };
    call.fun = WindowFunctionDefinition::AggregateUDF(Arc::new(AggregateUDF::new_from_impl(held)));
    Transformed::yes(Expr::from(call))
}

/// An aggregate whose results are counted.
struct HeldAggregate {
    inner: Arc<AggregateUDF>,
    /// True if a result is copied into each row.
    is_copied: bool,
    results: Arc<WindowResults>,
}

impl HeldAggregate {
    fn counted(&self, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        Box::new(CountedResults {
            inner,
            rows: self.is_copied.then_some(0),
            results: Arc::clone(&self.results),
            last: VecDeque::new(),
        })
    }
}

impl fmt::Debug for HeldAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldAggregate")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl PartialEq for HeldAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner && self.is_copied == other.is_copied
    }
}

impl Eq for HeldAggregate {}

impl Hash for HeldAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl AggregateUDFImpl for HeldAggregate {
    stand_in!(inner);

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(self.counted(self.inner.accumulator(args)?))
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        Ok(self.counted(self.inner.create_sliding_accumulator(args)?))
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }
}

/// The results of one partition of a window.
#[derive(Debug)]
struct CountedResults {
    inner: Box<dyn Accumulator>,
    /// Rows of the partition, where each of them gets a copy of the one result.
    rows: Option<usize>,
    results: Arc<WindowResults>,
    /// Bytes of the results that are there, the newest last.
    last: VecDeque<usize>,
}

/// Bytes of a result.
fn bytes_of_result(value: &ScalarValue) -> usize {
    match value {
        ScalarValue::List(list) => bytes_of(list.values().as_ref()),
        other => other.size(),
    }
}

impl Accumulator for CountedResults {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if let (Some(rows), Some(values)) = (&mut self.rows, values.first()) {
            *rows += values.len();
        }
        self.inner.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.inner.evaluate()?;
        let copies = self.rows.unwrap_or(1).saturating_mul(COPIES);
        let made = bytes_of_result(&value).saturating_mul(copies);
        let mut handed_on = 0;
        if let Some(kept) = self.results.kept {
            self.last.push_back(made);
            if self.last.len() > kept {
                handed_on = self.last.pop_front().unwrap_or(0);
            }
        }
        self.results.replace(handed_on, made)?;
        Ok(value)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

impl Drop for CountedResults {
    /// A window that keeps all of its results keeps them longer than this.
    fn drop(&mut self) {
        if self.results.kept.is_some() {
            let handed_on = self.last.iter().sum();
            // To need less is no error.
            let _ = self.results.replace(handed_on, 0);
        }
    }
}
