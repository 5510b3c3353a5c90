//! Casts to fewer digits, of numbers and of seconds, rounded, of texts to decimals, and of decimals to floats.
//!
//! Invariant: as in PostgreSQL a decimal is rounded half away from zero and a float to the nearest even number; Arrow cuts both. `CAST(2.5 AS INT)` is 3, and `'23:59:59.7'` of a day as `timestamp(0)` the next day's beginning. A condition on what was rounded
//! is asked of the rounded number: DataFusion takes the cast away, so that `CAST(amount AS DECIMAL(10, 0)) = 5` would find 5.0000 alone, and not 4.9.

use super::nearest::float_operand;
use super::texts::plain_operand;
use crate::time_texts::{FailingText, nearest_time};
use crate::typed_rewrite::rewrite_expressions;
use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Float64Type, Int64Type, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, cast as cast_to, try_cast,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// The rule. It comes after types are coerced.
#[derive(Debug)]
pub(crate) struct RoundedCasts;

impl RoundedCasts {
    /// The operand of a cast to fewer digits as what is rounded, of a text to a decimal as what is read, or of a decimal to a float as the nearest one; `None` for one that is as it was.
    fn rounded(of: &Expr, to: &DataType, schema: &DFSchema) -> Option<Expr> {
        if let Some(plain) = plain_operand(of, to, schema) {
            return Some(plain);
        }
        let of_type = of.get_type(schema).ok()?;
        if let Some(float) = float_operand(of, &of_type, to) {
            return Some(float);
        }
        let gives = match (&of_type, to) {
            (DataType::Decimal128(_, from), DataType::Decimal128(_, scale)) if scale < from => {
                to.clone()
            }
            (DataType::Decimal128(_, scale), to) if to.is_integer() && *scale > 0 => {
                DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0)
            }
            (DataType::Float64 | DataType::Float32 | DataType::Float16, to) if to.is_integer() => {
                DataType::Float64
            }
            (DataType::Timestamp(from, zone), DataType::Timestamp(unit, _)) if unit < from => {
                DataType::Timestamp(*unit, zone.clone())
            }
            _ => return None,
        };
        Some(round(of.clone(), &gives))
    }

    /// The operand of a cast from a text to a time of seconds, milliseconds or microseconds: the time that it says, rounded to them; `None` for any other cast, and where the text says no
    /// more digits.
    fn rounded_time(
        of: &Expr,
        to: &DataType,
        schema: &DFSchema,
        failing: FailingText,
    ) -> Option<Expr> {
        let DataType::Timestamp(unit, zone) = to else {
            return None;
        };
        if *unit == TimeUnit::Nanosecond || !of.get_type(schema).ok()?.is_string() {
            return None;
        }
        let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        let nearest = nearest_time(of, &micros, failing);
        if *unit == TimeUnit::Microsecond {
            return nearest;
        }
        let read = nearest.unwrap_or_else(|| match failing {
            FailingText::IsError => cast_to(of.clone(), micros),
            FailingText::IsNull => try_cast(of.clone(), micros),
        });
        Some(round(read, to))
    }
}

fn round(of: Expr, gives: &DataType) -> Expr {
    let function = Arc::new(rounded_to(gives));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![of]))
}

impl AnalyzerRule for RoundedCasts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| match expr {
            Expr::Cast(Cast { expr, field }) => {
                let to = field.data_type();
                let operand = Self::rounded_time(&expr, to, schema, FailingText::IsError)
                    .or_else(|| Self::rounded(&expr, to, schema));
                match operand {
                    Some(rounded) => Transformed::yes(Expr::Cast(Cast {
                        expr: Box::new(rounded),
                        field,
                    })),
                    None => Transformed::no(Expr::Cast(Cast { expr, field })),
                }
            }
            // A decimal that does not fit is null, which a function could not make of it.
            Expr::TryCast(TryCast { expr, field }) => {
                let to = field.data_type();
                let operand = match to.is_integer() || to.is_floating() {
                    true => Self::rounded(&expr, to, schema),
                    false => Self::rounded_time(&expr, to, schema, FailingText::IsNull)
                        .or_else(|| plain_operand(&expr, to, schema)),
                };
                match operand {
                    Some(rounded) => Transformed::yes(Expr::TryCast(TryCast {
                        expr: Box::new(rounded),
                        field,
                    })),
                    None => Transformed::no(Expr::TryCast(TryCast { expr, field })),
                }
            }
            other => Transformed::no(other),
        })
    }

    fn name(&self) -> &'static str {
        "rounded_casts"
    }
}

/// A number rounded to a type: a float to the nearest whole number, of two that are as near to the even one; a decimal to fewer digits, half away from zero.
fn rounded_to(gives: &DataType) -> ScalarUDF {
    ScalarUDF::new_from_impl(RoundedNumber {
        gives: gives.clone(),
        signature: Signature::any(1, Volatility::Immutable),
    })
}

/// The functions, for plans that travel by their names.
pub(crate) fn function() -> ScalarUDF {
    rounded_to(&DataType::Float64)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RoundedNumber {
    gives: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for RoundedNumber {
    fn name(&self) -> &'static str {
        "rounded_number"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [of] => Ok(of.schema_name().to_string()),
            _ => internal_err!("one value is rounded"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.gives.clone())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rounded = |values: &ArrayRef| -> Result<ArrayRef> {
            if let (DataType::Timestamp(from, _), DataType::Timestamp(unit, _)) =
                (values.data_type(), &self.gives)
            {
                return rounded_times(values, *from, *unit, &self.gives);
            }
            let options = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            let numbers = cast_with_options(values, &self.gives, &options)?;
            let Some(floats) = numbers.as_primitive_opt::<Float64Type>() else {
                return Ok(numbers);
            };
            let rounded: Float64Array = floats.unary(f64::round_ties_even);
            Ok(Arc::new(rounded))
        };
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(rounded(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let value = rounded(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                    &value, 0,
                )?))
            }
            _ => internal_err!("one value is rounded"),
        }
    }
}

/// Units of a second.
fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Seconds from which PostgreSQL counts: the beginning of 2000.
const EPOCH: i64 = 946_684_800;

/// Times in a greater unit, each the nearest one, of two that are as near to the one that is farther from the year 2000.
fn rounded_times(
    times: &ArrayRef,
    from: TimeUnit,
    unit: TimeUnit,
    gives: &DataType,
) -> Result<ArrayRef> {
    let times = cast(times, &DataType::Int64)?;
    let mut times = times.as_primitive::<Int64Type>().clone();
    let mut from = from;
    // PostgreSQL has no more digits than six: others are those of a text, which is read before it is rounded.
    if from == TimeUnit::Nanosecond {
        times = times.unary(nearest_micros);
        from = TimeUnit::Microsecond;
    }
    let factor = per_second(from) / per_second(unit);
    let epoch = EPOCH * per_second(from);
    let units: Int64Array = times.unary(|time| {
        let (whole, rest) = (time.div_euclid(factor), time.rem_euclid(factor));
        let is_half = rest == factor - rest;
        let is_later = rest > factor - rest || is_half && time >= epoch;
        whole + i64::from(is_later)
    });
    Ok(cast(&units, gives)?)
}

/// The microsecond that is nearest to nanoseconds, of two that are as near the even one.
fn nearest_micros(nanos: i64) -> i64 {
    let (whole, rest) = (nanos.div_euclid(1_000), nanos.rem_euclid(1_000));
    let is_odd = whole.rem_euclid(2) == 1;
    whole + i64::from(rest > 500 || rest == 500 && is_odd)
}
