//! `pseudonym(kind, value)`: the pseudonym that a personal value has in the tables, so that somebody who knows the value finds its rows.
//!
//! Invariant: it is the project's key that makes it, and the key is in no plan, error or log. Spellings of one value have one pseudonym, as when they were read.

use super::arguments::by_columns;
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use tillhouse_model::PseudonymKey;
use tillhouse_model::table::ValueNormalisation;

/// `pseudonym`, under a key.
pub(crate) fn function(key: PseudonymKey) -> ScalarUDF {
    ScalarUDF::new_from_impl(Pseudonym {
        key,
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// The function. A session has one key.
#[derive(Debug)]
struct Pseudonym {
    key: PseudonymKey,
    signature: Signature,
}

impl PartialEq for Pseudonym {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Pseudonym {}

impl Hash for Pseudonym {
    fn hash<H: Hasher>(&self, state: &mut H) {
        "pseudonym".hash(state);
    }
}

fn kind(text: &str) -> Option<ValueNormalisation> {
    Some(match text.trim().to_lowercase().as_str() {
        "plate" => ValueNormalisation::Plate,
        "email" => ValueNormalisation::Email,
        "card" => ValueNormalisation::Card,
        "text" => ValueNormalisation::Text,
        _ => return None,
    })
}

impl ScalarUDFImpl for Pseudonym {
    fn name(&self) -> &'static str {
        "pseudonym"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [kind, value]
                if [kind, value]
                    .iter()
                    .all(|of| of.is_string() || of.is_null()) =>
            {
                Ok(vec![DataType::Utf8, DataType::Utf8])
            }
            _ => plan_err!(
                "pseudonym takes what a value is and the value, two texts: pseudonym('plate', 'KA-XY 1')"
            ),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_columns(&args, |columns, rows| {
            let [kinds, values] = columns else {
                return internal_err!("pseudonym takes two texts");
            };
            let (Some(kinds), Some(values)) =
                (kinds.as_string_opt::<i32>(), values.as_string_opt::<i32>())
            else {
                return internal_err!("pseudonym takes two texts");
            };
            let pseudonyms: StringArray = (0..rows)
                .map(|row| {
                    if kinds.is_null(row) || values.is_null(row) {
                        return Ok(None);
                    }
                    let how = kind(kinds.value(row)).ok_or_else(|| {
                        exec_datafusion_err!(
                            "a pseudonym is of a plate, an email, a card or a text, not of {:?}",
                            kinds.value(row)
                        )
                    })?;
                    Ok(Some(self.key.pseudonym(how, values.value(row))))
                })
                .collect::<Result<_>>()?;
            let pseudonyms: ArrayRef = Arc::new(pseudonyms);
            Ok(pseudonyms)
        })
    }
}
