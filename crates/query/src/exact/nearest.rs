//! Decimals as floats: each becomes the float that is nearest to it.
//!
//! Invariant: as in PostgreSQL a decimal that is cast is the float that its digits are read as, so that both are equal. Arrow makes floats of the digits and of a power of ten, and divides
//! them: of more than fifteen digits each step may be rounded.

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use std::sync::Arc;

/// Whole numbers up to this one are floats as they are.
const MOST_WHOLE: u128 = 1 << 53;
/// So are powers of ten up to this one.
const MOST_NOUGHTS: i8 = 22;
/// Digits that no whole number beyond [`MOST_WHOLE`] has.
const SAFE_DIGITS: u8 = 15;

/// The float that is nearest to a decimal.
#[expect(
    clippy::cast_precision_loss,
    reason = "no whole number up to the limit loses any"
)]
pub(crate) fn nearest_float(digits: i128, scale: i8) -> f64 {
    if digits.unsigned_abs() <= MOST_WHOLE && (0..=MOST_NOUGHTS).contains(&scale) {
        return digits as f64 / 10_f64.powi(i32::from(scale));
    }
    // Reading a number rounds it once, however many digits it has.
    let text = format!("{digits}e{}", -i32::from(scale));
    text.parse().unwrap_or(f64::NAN)
}

/// The operand of a cast from a decimal to a float as that float; `None` for any other cast, and for decimals of few digits, which are cast as they are.
pub(super) fn float_operand(of: &Expr, of_type: &DataType, to: &DataType) -> Option<Expr> {
    let (DataType::Decimal128(digits, scale), DataType::Float64) = (of_type, to) else {
        return None;
    };
    if *digits <= SAFE_DIGITS && (0..=MOST_NOUGHTS).contains(scale) {
        return None;
    }
    let call = ScalarFunction::new_udf(Arc::new(function()), vec![of.clone()]);
    Some(Expr::ScalarFunction(call))
}

/// `nearest_float`, for plans that travel by their functions' names.
pub(crate) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(NearestFloat {
        signature: Signature::any(1, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NearestFloat {
    signature: Signature,
}

impl ScalarUDFImpl for NearestFloat {
    fn name(&self) -> &'static str {
        "nearest_float"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [of] => Ok(of.schema_name().to_string()),
            _ => internal_err!("one decimal is cast"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(
            self.name(),
            DataType::Float64,
            is_nullable,
        )))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(floats_of(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let value = floats_of(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                    &value, 0,
                )?))
            }
            _ => internal_err!("one decimal is cast"),
        }
    }
}

fn floats_of(values: &ArrayRef) -> Result<ArrayRef> {
    let Some(decimals) = values.as_primitive_opt::<Decimal128Type>() else {
        return internal_err!("{} is no decimal", values.data_type());
    };
    let scale = decimals.scale();
    let floats: Float64Array = decimals.unary(|digits| nearest_float(digits, scale));
    Ok(Arc::new(floats))
}

#[cfg(test)]
mod tests {
    use super::nearest_float;

    proptest::proptest! {
        /// As the same digits are read.
        #[test]
        fn a_decimal_is_the_float_that_it_is_written_as(digits: i128, scale in 0_i8..38) {
            for digits in [digits, digits >> 64, digits >> 96] {
                let written: f64 = format!("{digits}e-{scale}").parse().unwrap();
                proptest::prop_assert_eq!(nearest_float(digits, scale).to_bits(), written.to_bits());
            }
        }
    }
}
