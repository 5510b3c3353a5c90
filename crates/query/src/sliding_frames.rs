//! Aggregates over frames that leave rows behind, `bool_and(x) OVER (ORDER BY y ROWS 1 PRECEDING)`, worked out anew for each frame.
//!
//! Invariant: every aggregate answers over every frame. DataFusion moves a frame on by taking rows back from what it has worked out, and refuses an aggregate that cannot do so. The rows
//! of the frame are held here instead, and counted, and each result is made of all of them, as PostgreSQL does.
//!
//! A float that is taken back leaves what was rounded when it came, and of NaN or an infinity nothing else: sums, averages and deviations of floats are worked out anew too, in frames of
//! few rows. Of long ones every result would read thousands of rows.

use crate::limits::bytes_of;
use crate::window_results::WindowResults;
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef, Schema};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, ReversedUDAF, SetMonotonicity,
    Signature, WindowFrame, WindowFrameBound, WindowFrameUnits,
};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Rows on each side of the current one, at most, of a frame in which floats are worked out anew.
const FEW_ROWS: u64 = 500;
/// Aggregates that lose nothing where they take a float back.
const EXACT: [&str; 6] = [
    "array_agg",
    "count",
    "max",
    "median",
    "min",
    "percentile_cont",
];

/// The aggregate of a window for frames that leave rows behind, or would do so if rows came in reverse; `None` where no frame does, or it is one already.
pub(crate) fn sliding(
    inner: &Arc<AggregateUDF>,
    frame: &WindowFrame,
    held: &Arc<WindowResults>,
) -> Option<Arc<AggregateUDF>> {
    let is_expanding = frame.is_ever_expanding();
    let is_whole = is_expanding && frame.end_bound.is_unbounded();
    if is_whole || inner.inner().downcast_ref::<SlidingAggregate>().is_some() {
        return None;
    }
    let sliding = SlidingAggregate {
        inner: Arc::clone(inner),
        is_expanding,
        is_short: is_short(frame),
        held: Arc::clone(held),
    };
    Some(Arc::new(AggregateUDF::new_from_impl(sliding)))
}

/// True for a frame of few rows.
fn is_short(frame: &WindowFrame) -> bool {
    let is_near = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(ScalarValue::UInt64(Some(rows)))
        | WindowFrameBound::Following(ScalarValue::UInt64(Some(rows))) => *rows <= FEW_ROWS,
        WindowFrameBound::Preceding(_) | WindowFrameBound::Following(_) => false,
    };
    frame.units == WindowFrameUnits::Rows
        && is_near(&frame.start_bound)
        && is_near(&frame.end_bound)
}

/// An aggregate whose frames are worked out anew where it cannot take rows back: otherwise the one that it stands for.
struct SlidingAggregate {
    inner: Arc<AggregateUDF>,
    /// True if no frame leaves rows behind.
    is_expanding: bool,
    /// True if each frame has few rows.
    is_short: bool,
    held: Arc<WindowResults>,
}

impl SlidingAggregate {
    /// True if taking a value back leaves something of it.
    fn is_inexact(&self, args: &AccumulatorArgs<'_>) -> bool {
        let mut types = args.expr_fields.iter().map(|field| field.data_type());
        self.is_short && !EXACT.contains(&self.inner.name()) && types.any(DataType::is_floating)
    }
}

impl fmt::Debug for SlidingAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlidingAggregate")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl PartialEq for SlidingAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
            && self.is_expanding == other.is_expanding
            && self.is_short == other.is_short
    }
}

impl Eq for SlidingAggregate {}

impl Hash for SlidingAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl AggregateUDFImpl for SlidingAggregate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.inner().schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.inner().human_display(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.inner().window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.inner().display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.inner().window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        let call = FrameCall::new(&self.inner, &args);
        // One that cannot be made is told by the accumulator of the first frame.
        if !self.is_inexact(&args)
            && let Ok(moving) = self.inner.create_sliding_accumulator(args)
            && moving.supports_retract_batch()
        {
            return Ok(moving);
        }
        Ok(Box::new(FrameRows {
            call,
            parts: VecDeque::new(),
            bytes: 0,
            held: Arc::clone(&self.held),
        }))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    /// One that has another aggregate for rows in reverse is not turned round: that one would have frames of its own. Nor is one whose frames only grow: they would be worked out anew for
    /// each row, to the end of its partition, where sorting the rows once more does.
    fn reverse_expr(&self) -> ReversedUDAF {
        if self.is_expanding {
            return ReversedUDAF::NotSupported;
        }
        match self.inner.reverse_udf() {
            ReversedUDAF::Identical => ReversedUDAF::Identical,
            ReversedUDAF::NotSupported | ReversedUDAF::Reversed(_) => ReversedUDAF::NotSupported,
        }
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// A call of an aggregate, which an accumulator is made of for each frame.
#[derive(Debug)]
struct FrameCall {
    aggregate: Arc<AggregateUDF>,
    name: String,
    return_field: FieldRef,
    schema: Schema,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
    order_bys: Vec<PhysicalSortExpr>,
    ignore_nulls: bool,
    is_distinct: bool,
    is_reversed: bool,
}

impl FrameCall {
    fn new(aggregate: &Arc<AggregateUDF>, args: &AccumulatorArgs<'_>) -> Self {
        Self {
            aggregate: Arc::clone(aggregate),
            name: args.name.to_owned(),
            return_field: Arc::clone(&args.return_field),
            schema: args.schema.clone(),
            exprs: args.exprs.to_vec(),
            expr_fields: args.expr_fields.to_vec(),
            order_bys: args.order_bys.to_vec(),
            ignore_nulls: args.ignore_nulls,
            is_distinct: args.is_distinct,
            is_reversed: args.is_reversed,
        }
    }

    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        self.aggregate.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: self.is_reversed,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        })
    }
}

/// The rows of the frame that one partition of a window is at.
#[derive(Debug)]
struct FrameRows {
    call: FrameCall,
    /// The columns of rows that came together, the oldest first.
    parts: VecDeque<Vec<ArrayRef>>,
    bytes: usize,
    held: Arc<WindowResults>,
}

/// Rows of columns.
fn rows_of(columns: &[ArrayRef]) -> usize {
    columns.first().map_or(0, |column| column.len())
}

impl FrameRows {
    /// Counts the rows that are held now.
    fn count(&mut self) -> Result<()> {
        let columns = self.parts.iter().flatten();
        let bytes: usize = columns.map(|column| bytes_of(column.as_ref())).sum();
        self.held.replace(self.bytes, bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Makes one part of all.
    fn put_together(&mut self) -> Result<()> {
        let columns = self.parts.front().map_or(0, Vec::len);
        let whole = (0..columns)
            .map(|at| {
                let parts = self.parts.iter().filter_map(|part| part.get(at));
                let parts: Vec<&dyn Array> = parts.map(|column| column.as_ref()).collect();
                concat(&parts)
            })
            .collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
        self.parts = VecDeque::from([whole]);
        Ok(())
    }
}

impl Accumulator for FrameRows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if rows_of(values) == 0 {
            return Ok(());
        }
        self.parts.push_back(values.to_vec());
        self.count()
    }

    /// Rows leave in the order in which they came.
    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut leaving = rows_of(values);
        while leaving > 0 {
            let Some(part) = self.parts.pop_front() else {
                return internal_err!("more rows leave a frame than are in it");
            };
            let rows = rows_of(&part);
            if rows > leaving {
                let columns = part.iter();
                let kept = columns.map(|column| column.slice(leaving, rows - leaving));
                self.parts.push_front(kept.collect());
            }
            leaving = leaving.saturating_sub(rows);
        }
        self.count()
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.parts.len() > 1 {
            self.put_together()?;
        }
        let mut accumulator = self.call.accumulator()?;
        if let Some(rows) = self.parts.front() {
            accumulator.update_batch(rows)?;
        }
        accumulator.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("a frame is worked out at once")
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        internal_err!("a frame is worked out at once")
    }

    fn size(&self) -> usize {
        size_of_val(self).saturating_add(self.bytes)
    }
}

impl Drop for FrameRows {
    fn drop(&mut self) {
        // To need less is no error.
        let _ = self.held.replace(self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::column;

    #[tokio::test]
    async fn every_aggregate_answers_over_a_frame_that_leaves_rows_behind() {
        let rows = "(VALUES (1, true, 'a', 1.0), (2, false, 'b', 4.0), (3, true, 'c', 2.0), (4, true, 'd', 2.0)) AS v(k, t, s, d)";
        for (call, expected) in [
            ("bool_and(t)", "true false false true"),
            ("bool_or(t)", "true true true true"),
            ("string_agg(s, '-')", "a a-b b-c c-d"),
            ("array_agg(s)", "[a] [a, b] [b, c] [c, d]"),
            ("bit_and(k)", "1 0 2 0"),
            ("max(d)", "1.0 4.0 4.0 2.0"),
            ("stddev(CAST(d AS DOUBLE)) OVER w = 0", " false false true"),
            ("count(*)", "1 2 2 2"),
        ] {
            let over = if call.contains("OVER") { "" } else { "OVER w" };
            let sql = format!(
                "SELECT {call} {over} FROM {rows} WINDOW w AS (ORDER BY k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
            );
            assert_eq!(column(&sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn a_float_that_left_a_frame_leaves_nothing_behind() {
        let sql = "SELECT sum(CAST(x AS DOUBLE)) OVER (ORDER BY k ROWS 1 PRECEDING) \
             FROM (VALUES (1, '1e20'), (2, '1'), (3, 'NaN'), (4, '2'), (5, '3')) AS v(k, x)";
        assert_eq!(column(sql).await, "1e20 1e20 NaN NaN 5.0");
    }

    #[tokio::test]
    async fn rows_that_come_in_reverse_are_sorted_for_frames_that_only_grow() {
        let rows = "(VALUES (1, true, 'a'), (2, false, 'b'), (3, true, 'c'), (4, true, 'd')) AS v(k, t, s)";
        for (call, expected) in [
            ("bool_and(t)", "false false true true"),
            ("string_agg(s, '-')", "d-c-b-a d-c-b d-c d"),
            ("max(s)", "d d d d"),
            ("count(*)", "4 3 2 1"),
        ] {
            let sql = format!(
                "SELECT {call} OVER (ORDER BY k DESC) AS a, sum(k) OVER (ORDER BY k) AS b FROM {rows} ORDER BY k"
            );
            assert_eq!(column(&sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn frames_without_rows_and_with_conditions_are_known() {
        let sql = "SELECT bool_or(t) FILTER (WHERE k > 1) OVER (ORDER BY k ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING) \
             FROM (VALUES (1, true), (2, false), (3, true), (4, false)) AS v(k, t)";
        assert_eq!(column(sql).await, "  false true");
    }
}
