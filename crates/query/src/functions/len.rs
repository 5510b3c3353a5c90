//! `len(value)`: the characters of a text, the elements of a list.
//!
//! Invariant: null gives null; an empty list has none.

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// `len`.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(Length {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Length {
    signature: Signature,
}

impl ScalarUDFImpl for Length {
    fn name(&self) -> &'static str {
        "len"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::List(element) | DataType::FixedSizeList(element, _)] => {
                Ok(vec![DataType::List(Arc::clone(element))])
            }
            [DataType::LargeList(element)] => Ok(vec![DataType::LargeList(Arc::clone(element))]),
            [of] if of.is_string() || of.is_null() => Ok(vec![DataType::Utf8]),
            [DataType::Dictionary(_, values)] if values.is_string() => Ok(vec![DataType::Utf8]),
            [other] => plan_err!("len is of a text or a list, not of {other}"),
            _ => plan_err!("len takes one argument"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(lengths(values)?)),
            [ColumnarValue::Scalar(value)] => Ok(ColumnarValue::Scalar(
                ScalarValue::try_from_array(&lengths(&value.to_array()?)?, 0)?,
            )),
            _ => internal_err!("len takes one argument"),
        }
    }
}

fn lengths(values: &ArrayRef) -> Result<ArrayRef> {
    if let Some(texts) = values.as_string_opt::<i32>() {
        let characters: Int64Array = texts
            .iter()
            .map(|text| i64::try_from(text?.chars().count()).ok())
            .collect();
        return Ok(Arc::new(characters));
    }
    Ok(cast(&length(values.as_ref())?, &DataType::Int64)?)
}
