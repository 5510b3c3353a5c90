//! Words that say what a thing is, in one spelling, and names, whose case is kept.
//!
//! Invariant: two spellings of one word give one text, [`tillhouse_model::word::canonical`], and of one name [`tillhouse_model::word::one_spelling`]; one of
//! which nothing can be seen gives null. Words that are in that form already are not copied.

use super::SqlFunction;
use super::arguments::{ArgumentType, CallArguments};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::borrow::Cow;
use std::sync::Arc;
use tillhouse_model::word;

/// `canonical_word(word)`, of a text or of every text of a list.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(CanonicalWord {
        signature: Signature::any(1, Volatility::Immutable),
    })
}

/// `one_spelling(text)`.
pub(super) fn one_spelling() -> SqlFunction {
    SqlFunction::new(
        "one_spelling",
        &[ArgumentType::Text],
        DataType::Utf8,
        spellings,
    )
}

fn spellings(arguments: &CallArguments) -> Result<ArrayRef> {
    let texts = arguments.text(0)?;
    let spellings: StringArray = (0..arguments.rows())
        .map(|row| {
            let spelling = word::one_spelling(texts.get(row)?);
            Some(spelling).filter(|text| !text.is_empty())
        })
        .collect();
    Ok(Arc::new(spellings))
}

/// Its result's type depends on its argument's, which is why it is not a [`super::SqlFunction`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct CanonicalWord {
    signature: Signature,
}

impl ScalarUDFImpl for CanonicalWord {
    fn name(&self) -> &'static str {
        "canonical_word"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(DataType::List(element)) if is_text(element.data_type()) => Ok(list_of_words()),
            Some(text) if is_text(text) => Ok(DataType::Utf8),
            Some(other) => {
                plan_err!("the argument of canonical_word is text or a list of texts, not {other}")
            }
            None => plan_err!("canonical_word takes one argument"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(words) = args.args.first() else {
            return exec_err!("canonical_word takes one argument");
        };
        let words = words.to_array(args.number_rows)?;
        let Some(list) = words.as_list_opt::<i32>() else {
            let words = cast(&words, &DataType::Utf8)?;
            return Ok(ColumnarValue::Array(canonical(words.as_string())));
        };
        let words = cast(list.values(), &DataType::Utf8)?;
        let words = canonical(words.as_string());
        let element = Arc::new(Field::new("element", DataType::Utf8, true));
        let list = ListArray::try_new(
            element,
            list.offsets().clone(),
            words,
            list.nulls().cloned(),
        )?;
        Ok(ColumnarValue::Array(Arc::new(list)))
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_text(value),
        other => other.is_string() || other.is_null(),
    }
}

fn list_of_words() -> DataType {
    DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)))
}

fn canonical(words: &StringArray) -> ArrayRef {
    let is_own = |row: usize| {
        words.is_null(row)
            || matches!(word::canonical(words.value(row)), Cow::Borrowed(own) if !own.is_empty())
    };
    if (0..words.len()).all(is_own) {
        return Arc::new(words.clone());
    }
    let canonical: StringArray = words
        .iter()
        .map(|word| word.map(word::canonical).filter(|form| !form.is_empty()))
        .collect();
    Arc::new(canonical)
}
