//! Hash of a text or of bytes in 126 bits, for the counting of different values.
//!
//! Invariant: two values of one process have the same hash if they are the same; that two others share one is as likely as a fault of the memory they lie in: below one in 10²⁰ for a
//! billion values. A null stays null. Nothing of it leaves the process: the seed is new in each.
//!
//! Sixteen bytes are compared, held and spilled in place of a key of fifty.

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The hash as a number that groupings know how to hold: 126 bits are below 10³⁸.
pub(crate) const GIVES: DataType = DataType::Decimal128(38, 0);
const BITS: u32 = 126;

static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u64));

#[derive(Debug, PartialEq, Eq, Hash)]
struct HashedValue {
    signature: Signature,
}

/// The function.
pub(crate) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(HashedValue {
        signature: Signature::any(1, Volatility::Immutable),
    })
}

/// True for types whose values are texts or bytes.
pub(crate) fn is_hashed(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_hashed(values),
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => true,
        _ => false,
    }
}

impl ScalarUDFImpl for HashedValue {
    fn name(&self) -> &'static str {
        "hashed_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(GIVES)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(hashes(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let hash = hashes(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                    &hash, 0,
                )?))
            }
            _ => internal_err!("one value has a hash"),
        }
    }
}

fn hashes(values: &ArrayRef) -> Result<ArrayRef> {
    if let Some(dictionary) = values.as_any_dictionary_opt() {
        let hashes = hashes(dictionary.values())?;
        return Ok(take(&hashes, dictionary.keys(), None)?);
    }
    Ok(match values.data_type() {
        DataType::Utf8 => of(values.as_string::<i32>().iter()),
        DataType::LargeUtf8 => of(values.as_string::<i64>().iter()),
        DataType::Utf8View => of(values.as_string_view().iter()),
        DataType::Binary => of(values.as_binary::<i32>().iter()),
        DataType::LargeBinary => of(values.as_binary::<i64>().iter()),
        DataType::BinaryView => of(values.as_binary_view().iter()),
        other => return internal_err!("{other} is neither text nor bytes"),
    })
}

fn of<T: AsRef<[u8]>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    let seed = *SEED;
    let hash = |value: T| {
        let hash = xxh3_128_with_seed(value.as_ref(), seed) >> (u128::BITS - BITS);
        hash.cast_signed()
    };
    let hashes: Decimal128Array = values.map(|value| value.map(hash)).collect();
    Arc::new(hashes.with_data_type(GIVES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DictionaryArray, StringArray};
    use arrow::compute::cast;
    use arrow::datatypes::{Decimal128Type, Int32Type};

    #[test]
    fn the_same_text_has_the_same_hash_in_every_form() {
        let texts = [Some("a"), None, Some("b"), Some("a"), Some("")];
        let plain: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let hashed = hashes(&plain).unwrap();
        let numbers = hashed.as_primitive::<Decimal128Type>();
        assert!(numbers.is_null(1) && numbers.null_count() == 1);
        assert_eq!(numbers.value(0), numbers.value(3));
        assert!(numbers.value(0) != numbers.value(2) && numbers.value(2) != numbers.value(4));
        assert!(numbers.validate_decimal_precision(38).is_ok());
        for form in [
            DataType::LargeUtf8,
            DataType::Utf8View,
            DataType::Binary,
            DataType::BinaryView,
        ] {
            assert_eq!(&hashes(&cast(&plain, &form).unwrap()).unwrap(), &hashed);
        }
        let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
        let dictionary: ArrayRef = Arc::new(dictionary);
        assert_eq!(&hashes(&dictionary).unwrap(), &hashed);
    }
}
