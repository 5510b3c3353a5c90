//! Lengths of time, compared, ordered and taken apart as PostgreSQL does it: a month is thirty days, a day is twenty-four hours.
//!
//! Invariant: `b - a > INTERVAL '1 day'` asks how long it is. DataFusion compares months first, then days, then the rest, and a difference of two instants has neither months nor days
//! for it, so that no difference is longer than a day. Of a difference it gives the whole in hours, minutes or seconds, where PostgreSQL gives what is left of a day, an hour, a minute.
//!
//! ```text
//!   b - a > INTERVAL '1 day'          span_length(b - a) > span_length(INTERVAL '1 day')
//!   max(span)                         first_value(span ORDER BY span_length(span) DESC) FILTER (WHERE span IS NOT NULL)
//!   extract(hour FROM b - a)          span_part('hour', b - a)
//! ```

use crate::typed_rewrite::rewrite_expressions;
use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, IntervalMonthDayNanoArray,
};
use arrow::compute::cast;
use arrow::compute::kernels::cast_utils::IntervalUnit as Part;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, DurationMicrosecondType, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err, plan_err};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{
    AggregateFunction, Between, Case, InList, ScalarFunction, Sort as SortExpr,
};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility, WindowFunctionDefinition, cast as cast_to,
};
use datafusion::optimizer::AnalyzerRule;
use std::str::FromStr;
use std::sync::Arc;

const NANOS_OF_SECOND: i64 = 1_000_000_000;
const NANOS_OF_MINUTE: i64 = 60 * NANOS_OF_SECOND;
const NANOS_OF_HOUR: i64 = 60 * NANOS_OF_MINUTE;
const MICROS_OF_DAY: i64 = 86_400_000_000;
const DAYS_OF_MONTH: i128 = 30;

/// The rule. It comes after types are coerced.
#[derive(Debug)]
pub(crate) struct ComparedSpans;

impl AnalyzerRule for ComparedSpans {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = rewrite_expressions(plan, by_length)?;
        let done = plan.transform_up_with_subqueries(|plan| {
            let mut sort = match plan {
                LogicalPlan::Sort(sort) => sort,
                other => return no_moving_extremes(other).map(Transformed::no),
            };
            let schema = Arc::clone(sort.input.schema());
            let is_changed = order_by_length(&mut sort.expr, &schema);
            let plan = LogicalPlan::Sort(sort);
            Ok(if is_changed {
                Transformed::yes(plan)
            } else {
                Transformed::no(plan)
            })
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &'static str {
        "compared_spans"
    }
}

/// Errors for the largest or the least span of a window, which would be that of its months.
fn no_moving_extremes(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Window(window) = &plan else {
        return Ok(plan);
    };
    let schema = window.input.schema();
    for expr in &window.window_expr {
        expr.apply(|expr| {
            if let Expr::WindowFunction(call) = expr
                && let WindowFunctionDefinition::AggregateUDF(function) = &call.fun
                && matches!(function.name(), "max" | "min")
                && call.params.args.iter().any(|of| is_interval(of, schema))
            {
                return plan_err!(
                    "{} of intervals with OVER is not known here: extract(epoch FROM span) is a number",
                    function.name()
                );
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(plan)
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

fn length(of: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(length_function()),
        vec![of],
    ))
}

fn boxed_length(of: &Expr) -> Box<Expr> {
    Box::new(length(of.clone()))
}

/// Orders spans by their lengths; true if there are any.
fn order_by_length(order: &mut [SortExpr], schema: &DFSchema) -> bool {
    let mut is_changed = false;
    for by in order {
        if is_interval(&by.expr, schema) {
            by.expr = length(by.expr.clone());
            is_changed = true;
        }
    }
    is_changed
}

/// True for an operator that compares two values.
pub(crate) fn compares(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// An expression that compares spans, by their lengths.
fn by_length(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_span = |expr: &Expr| is_interval(expr, schema);
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if compares(op) && (is_span(&left) || is_span(&right)) =>
        {
            Transformed::yes(Expr::BinaryExpr(BinaryExpr {
                left: boxed_length(&left),
                op,
                right: boxed_length(&right),
            }))
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) if is_span(&expr) || is_span(&low) => Transformed::yes(Expr::Between(Between {
            expr: boxed_length(&expr),
            negated,
            low: boxed_length(&low),
            high: boxed_length(&high),
        })),
        Expr::InList(InList {
            expr,
            list,
            negated,
        }) if is_span(&expr) => Transformed::yes(Expr::InList(InList {
            expr: boxed_length(&expr),
            list: list.into_iter().map(length).collect(),
            negated,
        })),
        Expr::Case(Case {
            expr: Some(of),
            when_then_expr,
            else_expr,
        }) if is_span(&of) => Transformed::yes(Expr::Case(Case {
            expr: Some(boxed_length(&of)),
            when_then_expr: when_then_expr
                .into_iter()
                .map(|(when, then)| (boxed_length(&when), then))
                .collect(),
            else_expr,
        })),
        Expr::AggregateFunction(call) => aggregated(call, schema),
        Expr::WindowFunction(mut call) => {
            if order_by_length(&mut call.params.order_by, schema) {
                Transformed::yes(Expr::WindowFunction(call))
            } else {
                Transformed::no(Expr::WindowFunction(call))
            }
        }
        Expr::ScalarFunction(call) => taken_apart(call, schema),
        other => Transformed::no(other),
    }
}

/// The longest and the shortest span, and aggregates that are ordered by one.
fn aggregated(mut call: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let is_least = call.func.name() == "min";
    let span = match call.params.args.as_slice() {
        [span] if (is_least || call.func.name() == "max") && is_interval(span, schema) => {
            span.clone()
        }
        _ => {
            return if order_by_length(&mut call.params.order_by, schema) {
                Transformed::yes(Expr::AggregateFunction(call))
            } else {
                Transformed::no(Expr::AggregateFunction(call))
            };
        }
    };
    let is_there = span.clone().is_not_null();
    let filter = match call.params.filter {
        Some(filter) => filter.and(is_there),
        None => is_there,
    };
    let by = SortExpr::new(length(span.clone()), is_least, false);
    Transformed::yes(Expr::AggregateFunction(AggregateFunction::new_udf(
        first_value_udaf(),
        vec![span],
        false,
        Some(Box::new(filter)),
        vec![by],
        None,
    )))
}

/// A part of a span; of anything else it is DataFusion's.
fn taken_apart(call: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let is_of_calendar = call.func.name() == "calendar_part";
    let part = match call.args.as_slice() {
        [Expr::Literal(part, _), span] if is_of_calendar || call.func.name() == "date_part" => {
            let part = part.try_as_str().flatten().and_then(SpanPart::parse);
            match (part, span.get_type(schema)) {
                (part, Ok(DataType::Duration(_) | DataType::Interval(_))) => part,
                _ => None,
            }
        }
        _ => None,
    };
    let Some(part) = part else {
        return Transformed::no(Expr::ScalarFunction(call));
    };
    let function = Arc::new(part_function(part));
    let gives = match is_of_calendar {
        true => DataType::Int64,
        false => part.gives(),
    };
    let span = call.args.into_iter().skip(1).collect();
    let taken = Expr::ScalarFunction(ScalarFunction::new_udf(function, span));
    // What stands around it knows its type already.
    Transformed::yes(match gives == part.gives() {
        true => taken,
        false => cast_to(taken, gives),
    })
}

/// A part of a span that PostgreSQL gives otherwise than DataFusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum SpanPart {
    Millennium,
    Century,
    Decade,
    Year,
    Quarter,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Epoch,
}

impl SpanPart {
    const ALL: [Self; 13] = [
        Self::Millennium,
        Self::Century,
        Self::Decade,
        Self::Year,
        Self::Quarter,
        Self::Month,
        Self::Day,
        Self::Hour,
        Self::Minute,
        Self::Second,
        Self::Millisecond,
        Self::Microsecond,
        Self::Epoch,
    ];

    /// Reads a part under all names that DataFusion has for it.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches(['\'', '"']);
        match text.to_lowercase().as_str() {
            "epoch" => return Some(Self::Epoch),
            "qtr" | "quarter" => return Some(Self::Quarter),
            "millennium" => return Some(Self::Millennium),
            _ => {}
        }
        Some(match Part::from_str(text).ok()? {
            Part::Century => Self::Century,
            Part::Decade => Self::Decade,
            Part::Year => Self::Year,
            Part::Month => Self::Month,
            Part::Day => Self::Day,
            Part::Hour => Self::Hour,
            Part::Minute => Self::Minute,
            Part::Second => Self::Second,
            Part::Millisecond => Self::Millisecond,
            Part::Microsecond => Self::Microsecond,
            _ => return None,
        })
    }

    const fn function(self) -> &'static str {
        match self {
            Self::Millennium => "span_millennia",
            Self::Century => "span_centuries",
            Self::Decade => "span_decades",
            Self::Year => "span_years",
            Self::Quarter => "span_quarters",
            Self::Month => "span_months",
            Self::Day => "span_days",
            Self::Hour => "span_hours",
            Self::Minute => "span_minutes",
            Self::Second => "span_seconds",
            Self::Millisecond => "span_milliseconds",
            Self::Microsecond => "span_microseconds",
            Self::Epoch => "span_epoch",
        }
    }

    const fn gives(self) -> DataType {
        match self {
            Self::Epoch => DataType::Float64,
            _ => DataType::Int32,
        }
    }

    /// The part, below zero where the span is; `None` where it does not fit.
    fn of(self, span: IntervalMonthDayNano) -> Option<i32> {
        let nanos = span.nanoseconds;
        let part = match self {
            Self::Millennium => i64::from(span.months / 12_000),
            Self::Century => i64::from(span.months / 1_200),
            Self::Decade => i64::from(span.months / 120),
            Self::Year => i64::from(span.months / 12),
            Self::Quarter => i64::from(span.months % 12 / 3 + 1),
            Self::Month => i64::from(span.months % 12),
            Self::Day => i64::from(span.days),
            Self::Hour => nanos / NANOS_OF_HOUR,
            Self::Minute => nanos % NANOS_OF_HOUR / NANOS_OF_MINUTE,
            Self::Second => nanos % NANOS_OF_MINUTE / NANOS_OF_SECOND,
            Self::Millisecond => nanos % NANOS_OF_MINUTE / 1_000_000,
            Self::Microsecond => nanos % NANOS_OF_MINUTE / 1_000,
            Self::Epoch => return None,
        };
        i32::try_from(part).ok()
    }
}

/// Nanoseconds of a span, where a month has thirty days of twenty-four hours.
fn nanos_of(span: IntervalMonthDayNano) -> i128 {
    let days = i128::from(span.months) * DAYS_OF_MONTH + i128::from(span.days);
    days * i128::from(MICROS_OF_DAY) * 1_000 + i128::from(span.nanoseconds)
}

/// Nanoseconds of a span, as its epoch has them: a year is 365.25 days there.
fn epoch_of(span: IntervalMonthDayNano) -> i128 {
    const HOURS_MORE: i128 = 5 * 24 + 6;
    let years = i128::from(span.months / 12);
    nanos_of(span) + years * HOURS_MORE * i128::from(NANOS_OF_HOUR)
}

/// Spans with their days apart: those of a difference of instants are whole days of twenty-four hours.
fn as_spans(values: &ArrayRef) -> Result<IntervalMonthDayNanoArray> {
    if let DataType::Duration(_) = values.data_type() {
        let micros = cast(values, &DataType::Duration(TimeUnit::Microsecond))?;
        let micros = micros.as_primitive::<DurationMicrosecondType>();
        let spans = micros.iter().map(|micros| {
            let micros = micros?;
            let days = i32::try_from(micros / MICROS_OF_DAY).ok()?;
            let rest = micros % MICROS_OF_DAY * 1_000;
            Some(IntervalMonthDayNano::new(0, days, rest))
        });
        return Ok(spans.collect());
    }
    let spans = cast(values, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    Ok(spans.as_primitive::<IntervalMonthDayNanoType>().clone())
}

/// Question to a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum SpanQuestion {
    Length,
    Part(SpanPart),
}

fn length_function() -> ScalarUDF {
    function(SpanQuestion::Length)
}

fn part_function(part: SpanPart) -> ScalarUDF {
    function(SpanQuestion::Part(part))
}

fn function(asked: SpanQuestion) -> ScalarUDF {
    ScalarUDF::new_from_impl(OfSpan {
        asked,
        signature: Signature::any(1, Volatility::Immutable),
    })
}

/// The functions, for plans that travel by their names.
pub(crate) fn functions() -> impl Iterator<Item = ScalarUDF> {
    SpanPart::ALL
        .into_iter()
        .map(part_function)
        .chain([length_function()])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfSpan {
    asked: SpanQuestion,
    signature: Signature,
}

impl OfSpan {
    #[expect(
        clippy::cast_precision_loss,
        reason = "an epoch is a float, as that of an instant is"
    )]
    fn answer(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let spans = as_spans(values)?;
        let answer: ArrayRef = match self.asked {
            SpanQuestion::Length => {
                let lengths: Decimal128Array =
                    spans.iter().map(|span| span.map(nanos_of)).collect();
                Arc::new(lengths.with_precision_and_scale(DECIMAL128_MAX_PRECISION, 0)?)
            }
            SpanQuestion::Part(SpanPart::Epoch) => {
                let seconds = |span| epoch_of(span) as f64 / 1e9;
                let epochs: Float64Array = spans.iter().map(|span| span.map(seconds)).collect();
                Arc::new(epochs)
            }
            SpanQuestion::Part(part) => {
                let parts: Int32Array = spans
                    .iter()
                    .map(|span| span.and_then(|span| part.of(span)))
                    .collect();
                Arc::new(parts)
            }
        };
        Ok(answer)
    }
}

impl ScalarUDFImpl for OfSpan {
    fn name(&self) -> &'static str {
        match self.asked {
            SpanQuestion::Length => "span_length",
            SpanQuestion::Part(part) => part.function(),
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match (self.asked, args) {
            (SpanQuestion::Length, [of]) => Ok(of.schema_name().to_string()),
            (SpanQuestion::Part(_), [of]) => Ok(format!("{}({})", self.name(), of.schema_name())),
            _ => internal_err!("one span is asked"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.asked {
            SpanQuestion::Length => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
            SpanQuestion::Part(part) => part.gives(),
        })
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(self.answer(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let value = self.answer(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                    &value, 0,
                )?))
            }
            _ => internal_err!("one span is asked"),
        }
    }
}
