//! Averages of a total and a count, for aggregates that are worked out in two steps and for lists.
//!
//! Invariant: the same value and type as `avg` ([`crate::exact`]).

use crate::exact::rounded_quotient;
use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, DecimalType, Int64Type};
use arrow::error::ArrowError;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// A total of a scale divided by a count, in another scale that is no smaller; `None` where it does not fit.
pub(crate) fn average(total: i128, count: i64, from: i8, to: i8) -> Option<i128> {
    rounded_quotient(total, i16::from(to) - i16::from(from), i128::from(count))
}

/// Function of a total and a count that is their average, in a type of its own.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AverageOfTotal {
    gives: DataType,
    signature: Signature,
}

/// The function that makes averages of a type out of totals and counts.
pub(crate) fn average_of_total(gives: &DataType) -> ScalarUDF {
    ScalarUDF::new_from_impl(AverageOfTotal {
        gives: gives.clone(),
        signature: Signature::any(2, Volatility::Immutable),
    })
}

impl ScalarUDFImpl for AverageOfTotal {
    fn name(&self) -> &'static str {
        "average_of_total"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.gives.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [totals, counts] = args.args.as_slice() else {
            return internal_err!("an average has a total and a count");
        };
        let (totals, counts) = (
            totals.to_array(args.number_rows)?,
            counts.to_array(args.number_rows)?,
        );
        let (DataType::Decimal128(precision, to), DataType::Decimal128(_, from)) =
            (&self.gives, totals.data_type())
        else {
            return internal_err!("an average of {} is {}", totals.data_type(), self.gives);
        };
        let totals = totals.as_primitive::<Decimal128Type>();
        let counts = counts.as_primitive::<Int64Type>();
        let averages: Decimal128Array = totals
            .iter()
            .zip(counts)
            .map(|pair| match pair {
                (Some(total), Some(count)) if count > 0 => average(total, count, *from, *to)
                    .filter(|value| Decimal128Type::is_valid_decimal_precision(*value, *precision))
                    .map(Some)
                    .ok_or_else(|| {
                        ArrowError::ArithmeticOverflow(format!(
                            "an average does not fit into {}",
                            self.gives
                        ))
                    }),
                _ => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        let averages: ArrayRef = Arc::new(averages.with_data_type(self.gives.clone()));
        Ok(ColumnarValue::Array(averages))
    }
}
