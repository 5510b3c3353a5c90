//! The number of a day since the beginning of the Julian period, which `extract(julian FROM ...)` becomes: noon of 1 January 4713 BC is in day 0.
//!
//! Invariant: as in PostgreSQL a day begins at midnight, on UTC's clock; of a date the number is whole, and of an instant a decimal with the
//! part of the day that is over, rounded. No float.

use super::arguments::{ArgumentType, by_columns};
use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int64Array};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Date32Type, TimestampMicrosecondType};
use datafusion::common::{Result, internal_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;
use tillhouse_model::calendar::DAY;

/// The number of 1 January 1970.
const OF_1970: i64 = 2_440_588;
/// Digits behind the point, of which PostgreSQL gives as many.
const SCALE: i8 = 17;
/// Number of units in one day.
const UNITS: i128 = 10_i128.pow(17);

/// `julian_day`.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(JulianDay {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JulianDay {
    signature: Signature,
}

impl ScalarUDFImpl for JulianDay {
    fn name(&self) -> &'static str {
        "julian_day"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Date32 | DataType::Date64] => Ok(vec![DataType::Date32]),
            [of] => match ArgumentType::Instant.coerce(of) {
                Some(instant) => Ok(vec![instant]),
                None => plan_err!("julian is a part of a date or a timestamp, not of {of}"),
            },
            _ => plan_err!("julian is a part of one date or timestamp"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types {
            [DataType::Date32] => DataType::Int64,
            _ => DataType::Decimal128(DECIMAL128_MAX_PRECISION, SCALE),
        })
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_columns(&args, |columns, _| {
            let of = columns
                .first()
                .ok_or_else(|| internal_datafusion_err!("julian_day takes one argument"))?;
            numbers(of)
        })
    }
}

fn numbers(of: &ArrayRef) -> Result<ArrayRef> {
    if let Some(dates) = of.as_primitive_opt::<Date32Type>() {
        let days: Int64Array = dates.unary(|day| i64::from(day) + OF_1970);
        return Ok(Arc::new(days));
    }
    let instants = of
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| internal_datafusion_err!("julian_day of {}", of.data_type()))?;
    let numbers: Decimal128Array = instants.unary(number);
    let numbers = numbers.with_precision_and_scale(DECIMAL128_MAX_PRECISION, SCALE)?;
    Ok(Arc::new(numbers))
}

/// The number of an instant in microseconds since 1970, in [`UNITS`].
fn number(instant: i64) -> i128 {
    let days = i128::from(instant.div_euclid(DAY) + OF_1970);
    let over = i128::from(instant.rem_euclid(DAY)) * UNITS;
    let day = i128::from(DAY);
    days * UNITS + (over + day / 2) / day
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight() {
        for (instant, units) in [
            (0, 2_440_588 * UNITS),
            (DAY / 2, 2_440_588 * UNITS + UNITS / 2),
            (-DAY / 4, 2_440_587 * UNITS + UNITS / 4 * 3),
            // 2026-01-01 10:20:30.123456, as PostgreSQL has it.
            (1_767_262_830_123_456, 246_104_243_090_420_666_666_667),
        ] {
            assert_eq!(number(instant), units, "{instant}");
        }
    }
}
