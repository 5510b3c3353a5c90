//! Casts to fewer digits, of numbers and of seconds, rounded, and of texts to decimals.
//!
//! Invariant: as in PostgreSQL a decimal is rounded half away from zero and a float to the nearest even number; Arrow cuts both. `CAST(2.5 AS INT)` is 3, and `'23:59:59.7'` of a day as `timestamp(0)` the next day's beginning. A condition on what was rounded
//! is asked of the rounded number: DataFusion takes the cast away, so that `CAST(amount AS DECIMAL(10, 0)) = 5` would find 5.0000 alone, and not 4.9.

use super::texts::plain_operand;
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
    Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// The rule. It comes after types are coerced.
#[derive(Debug)]
pub(crate) struct RoundedCasts;

impl RoundedCasts {
    /// The operand of a cast to fewer digits as what is rounded, or of a text to a decimal as what is read; `None` for one that is as it was.
    fn rounded(of: &Expr, to: &DataType, schema: &DFSchema) -> Option<Expr> {
        if let Some(plain) = plain_operand(of, to, schema) {
            return Some(plain);
        }
        let of_type = of.get_type(schema).ok()?;
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
        let call = ScalarFunction::new_udf(Arc::new(rounded_to(&gives)), vec![of.clone()]);
        Some(Expr::ScalarFunction(call))
    }
}

impl AnalyzerRule for RoundedCasts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| match expr {
            Expr::Cast(Cast { expr, field }) => {
                match Self::rounded(&expr, field.data_type(), schema) {
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
                let operand = match to.is_integer() {
                    true => Self::rounded(&expr, to, schema),
                    false => plain_operand(&expr, to, schema),
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
                return rounded_times(values, per_second(*from) / per_second(*unit), &self.gives);
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

/// Times in a unit that is so many of theirs, each the nearest one, of two that are as near to the later one.
fn rounded_times(times: &ArrayRef, factor: i64, gives: &DataType) -> Result<ArrayRef> {
    let times = cast(times, &DataType::Int64)?;
    let units: Int64Array = times.as_primitive::<Int64Type>().unary(|time| {
        let (whole, rest) = (time.div_euclid(factor), time.rem_euclid(factor));
        whole + i64::from(rest >= factor - rest)
    });
    Ok(cast(&units, gives)?)
}
