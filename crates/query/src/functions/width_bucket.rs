//! `width_bucket(value, low, high, count)`: the number of the bucket of equal width that a value is in.
//!
//! Invariant: as PostgreSQL's: 0 below all buckets and `count + 1` above them, buckets count down where `low` is above `high`. Decimals are compared exactly; where one of
//! the three is a float, all are.

use super::arguments::by_columns;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::common::{Result, exec_datafusion_err, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// `width_bucket`.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(WidthBucket {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WidthBucket {
    signature: Signature,
}

impl ScalarUDFImpl for WidthBucket {
    fn name(&self) -> &'static str {
        "width_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [numbers @ .., count] = types else {
            return plan_err!("width_bucket takes a value, a low and a high end and a count");
        };
        let are_numbers = numbers.iter().all(|of| of.is_numeric() || of.is_null());
        if numbers.len() != 3 || !are_numbers || !(count.is_integer() || count.is_null()) {
            return plan_err!("width_bucket takes a value, a low and a high end and a count");
        }
        let of = |given: &DataType| match given {
            _ if numbers.iter().any(DataType::is_floating) => DataType::Float64,
            DataType::Decimal128(..) => given.clone(),
            DataType::Decimal64(precision, scale) | DataType::Decimal32(precision, scale) => {
                DataType::Decimal128(*precision, *scale)
            }
            _ => DataType::Decimal128(20, 0),
        };
        let mut coerced: Vec<DataType> = numbers.iter().map(of).collect();
        coerced.push(DataType::Int64);
        Ok(coerced)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_columns(&args, |columns, rows| {
            let [value, low, high, count] = columns else {
                return internal_err!("width_bucket takes four arguments");
            };
            let counts = count.as_primitive::<Int64Type>();
            let of = |row: usize| -> Result<Option<i64>> {
                let is_null = |column: &Arc<dyn Array>| column.is_null(row);
                if [value, low, high, count].into_iter().any(is_null) {
                    return Ok(None);
                }
                let count = counts.value(row);
                if count <= 0 {
                    return exec_err!("the count of width_bucket is more than zero");
                }
                match (
                    value.as_primitive_opt::<Float64Type>(),
                    low.as_primitive_opt::<Float64Type>(),
                    high.as_primitive_opt::<Float64Type>(),
                ) {
                    (Some(value), Some(low), Some(high)) => floats([value, low, high], count, row),
                    _ => decimals(
                        [value, low, high].map(|column| column.as_primitive::<Decimal128Type>()),
                        count,
                        row,
                    ),
                }
                .map(Some)
            };
            let buckets: Int64Array = (0..rows).map(of).collect::<Result<_>>()?;
            let buckets: ArrayRef = Arc::new(buckets);
            Ok(buckets)
        })
    }
}

const NO_WIDTH: &str = "the low and the high end of width_bucket differ";

fn floats([value, low, high]: [&Float64Array; 3], count: i64, row: usize) -> Result<i64> {
    let (value, low, high) = (value.value(row), low.value(row), high.value(row));
    if low == high || !low.is_finite() || !high.is_finite() || value.is_nan() {
        return exec_err!("{NO_WIDTH}, and they are finite");
    }
    let (value, low, high) = if low < high {
        (value, low, high)
    } else {
        (-value, -low, -high)
    };
    if value < low {
        return Ok(0);
    }
    if value >= high {
        return Ok(count.saturating_add(1));
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "the bucket of a float, as PostgreSQL works it out"
    )]
    let bucket = ((value - low) / (high - low) * count as f64) as i64;
    Ok(bucket.min(count - 1) + 1)
}

fn decimals(columns: [&Decimal128Array; 3], count: i64, row: usize) -> Result<i64> {
    let too_large = || exec_datafusion_err!("the numbers of width_bucket have too many digits");
    let scale = columns.iter().map(|of| of.scale()).max().unwrap_or(0);
    let mut numbers = [0_i128; 3];
    for (number, column) in numbers.iter_mut().zip(columns) {
        let more = u32::try_from(i16::from(scale) - i16::from(column.scale())).unwrap_or(0);
        *number = 10_i128
            .checked_pow(more)
            .and_then(|factor| column.value(row).checked_mul(factor))
            .ok_or_else(too_large)?;
    }
    let [value, low, high] = numbers;
    if low == high {
        return exec_err!("{NO_WIDTH}");
    }
    let (value, low, high) = if low < high {
        (value, low, high)
    } else {
        (-value, -low, -high)
    };
    if value < low {
        return Ok(0);
    }
    if value >= high {
        return Ok(count.saturating_add(1));
    }
    let width = high.checked_sub(low).ok_or_else(too_large)?;
    let part = value.checked_sub(low).ok_or_else(too_large)?;
    let bucket = part.checked_mul(i128::from(count)).ok_or_else(too_large)? / width;
    i64::try_from(bucket + 1).map_err(|_| too_large())
}
