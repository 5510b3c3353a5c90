//! `n * INTERVAL` and `INTERVAL / n`.
//!
//! Invariant: PostgreSQL's: months, days and the rest are multiplied each, and what is left of a month goes into days, of which it has thirty, and what is left of a day into
//! hours. By a whole number nothing is left.

use super::arguments::by_columns;
use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use arrow::error::ArrowError;
use datafusion::common::{Result, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// The function that the operator becomes: of an interval and a number, multiplied or divided.
pub(crate) fn function(divides: bool) -> ScalarUDF {
    ScalarUDF::new_from_impl(SpanProduct {
        divides,
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SpanProduct {
    divides: bool,
    signature: Signature,
}

/// True for a span of time.
pub(crate) fn is_span(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

fn span() -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

impl ScalarUDFImpl for SpanProduct {
    fn name(&self) -> &'static str {
        if self.divides {
            "span_quotient"
        } else {
            "span_product"
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let operator = if self.divides { "/" } else { "*" };
        match args {
            [left, right] => Ok(format!(
                "{} {operator} {}",
                left.schema_name(),
                right.schema_name()
            )),
            _ => internal_err!("an operator has two operands"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [of, number] if is_span(of) && (number.is_numeric() || number.is_null()) => {
                Ok(vec![span(), DataType::Float64])
            }
            _ => plan_err!("a span of time is multiplied with a number"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(span())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_columns(&args, |columns, rows| {
            let [spans, numbers] = columns else {
                return internal_err!("an operator has two operands");
            };
            let (spans, numbers) = (
                spans.as_primitive::<IntervalMonthDayNanoType>(),
                numbers.as_primitive::<Float64Type>(),
            );
            let products: IntervalMonthDayNanoArray = (0..rows)
                .map(|row| {
                    if spans.is_null(row) || numbers.is_null(row) {
                        return Ok(None);
                    }
                    let number = numbers.value(row);
                    if self.divides && number == 0.0 {
                        return Err(ArrowError::DivideByZero);
                    }
                    times(spans.value(row), number, self.divides)
                        .map(Some)
                        .ok_or_else(|| {
                            ArrowError::ArithmeticOverflow("a span does not fit".to_owned())
                        })
                })
                .collect::<Result<_, ArrowError>>()?;
            let products: ArrayRef = Arc::new(products);
            Ok(products)
        })
    }
}

const SECONDS_OF_DAY: f64 = 86_400.0;
const DAYS_OF_MONTH: f64 = 30.0;

/// A float to the microsecond: what is less is an error of its arithmetic.
fn rounded(value: f64) -> f64 {
    (value * 1_000_000.0).round_ties_even() / 1_000_000.0
}

/// `interval_mul` and `interval_div` of PostgreSQL.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a span times a number with a fraction is worked out in floats, as PostgreSQL does; what does not fit is found before"
)]
fn times(span: IntervalMonthDayNano, number: f64, divides: bool) -> Option<IntervalMonthDayNano> {
    let scaled = |part: f64| {
        if divides {
            part / number
        } else {
            part * number
        }
    };
    let fits = |part: f64, most: f64| (part.is_finite() && part.abs() < most).then_some(part);
    if !divides && number.fract() == 0.0 && number.abs() < 1e15 {
        let number = number as i64;
        return Some(IntervalMonthDayNano::new(
            i32::try_from(i64::from(span.months).checked_mul(number)?).ok()?,
            i32::try_from(i64::from(span.days).checked_mul(number)?).ok()?,
            span.nanoseconds.checked_mul(number)?,
        ));
    }
    let months = fits(scaled(f64::from(span.months)), 2_147_483_648.0)?;
    let days = fits(scaled(f64::from(span.days)), 2_147_483_648.0)?;
    // Of a month, its part in days; of these and of the days, their part in seconds.
    let days_of_months = rounded((months - months.trunc()) * DAYS_OF_MONTH);
    let seconds =
        rounded((days - days.trunc() + days_of_months - days_of_months.trunc()) * SECONDS_OF_DAY);
    let mut whole_days = days.trunc() + days_of_months.trunc();
    let mut seconds = seconds;
    if seconds.abs() >= SECONDS_OF_DAY {
        let carried = (seconds / SECONDS_OF_DAY).trunc();
        whole_days += carried;
        seconds -= carried * SECONDS_OF_DAY;
    }
    let micros =
        (scaled(span.nanoseconds as f64 / 1_000.0) + seconds * 1_000_000.0).round_ties_even();
    Some(IntervalMonthDayNano::new(
        fits(months.trunc(), 2_147_483_648.0)? as i32,
        fits(whole_days, 2_147_483_648.0)? as i32,
        (fits(micros, 9.2e15)? as i64).checked_mul(1_000)?,
    ))
}
