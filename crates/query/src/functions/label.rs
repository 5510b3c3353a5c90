//! The common word for how was paid.
//!
//! Invariant: a word that a source's labels do not list is given back in its canonical form, so that its spellings are one label; null stays null, and a
//! word of which nothing can be seen is none.

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use std::borrow::Cow;
use std::sync::Arc;
use tillhouse_model::{FastMap, LabelKind, LabelMap};

/// `label(labels, kind, word)`.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(LabelFunction {
        signature: Signature::any(3, Volatility::Immutable),
    })
}

/// The function `label`. Its first two arguments are one value for all rows, so that an unknown
/// kind is found when a statement is planned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct LabelFunction {
    signature: Signature,
}

impl ScalarUDFImpl for LabelFunction {
    fn name(&self) -> &'static str {
        "label"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match args.scalar_arguments.get(1).copied().flatten() {
            Some(kind) => kind_of(kind)?,
            None => return plan_err!("the second argument of label is one of {}", kinds()),
        };
        let word = args.arg_fields.get(2).map(|field| field.data_type());
        if !word.is_some_and(|given| {
            given.is_null() || given.is_string() || matches!(given, DataType::Dictionary(..))
        }) {
            return plan_err!("the third argument of label must be text");
        }
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [labels, kind, words] = args.args.as_slice() else {
            return exec_err!("label takes three arguments");
        };
        let (ColumnarValue::Scalar(labels), ColumnarValue::Scalar(kind)) = (labels, kind) else {
            return exec_err!("the labels and the kind are one value for all rows");
        };
        let kind = kind_of(kind)?;
        let labels = match labels.try_as_str().flatten() {
            Some(text) => LabelMap::from_json(text),
            None => Some(LabelMap::default()),
        };
        let Some(labels) = labels else {
            return exec_err!("the first argument of label is not what $labels holds");
        };
        let words = cast(&words.to_array(args.number_rows)?, &DataType::Utf8)?;
        Ok(ColumnarValue::Array(common(
            &labels,
            kind,
            words.as_string(),
        )))
    }
}

fn kinds() -> String {
    LabelKind::ALL.map(|kind| format!("'{kind}'")).join(", ")
}

fn kind_of(kind: &ScalarValue) -> Result<LabelKind> {
    match kind.try_as_str().flatten().and_then(LabelKind::named) {
        Some(kind) => Ok(kind),
        None => plan_err!("label knows no kind {kind}; there are {}", kinds()),
    }
}

/// Words repeat, so each distinct one is looked up once a batch.
fn common(labels: &LabelMap, kind: LabelKind, words: &StringArray) -> ArrayRef {
    let mut known: FastMap<&str, Option<Cow<'_, str>>> = FastMap::default();
    let mut found = StringBuilder::with_capacity(words.len(), words.len() * 8);
    for row in 0..words.len() {
        let word = words.is_valid(row).then(|| words.value(row));
        found.append_option(word.and_then(|word| {
            known
                .entry(word)
                .or_insert_with(|| labels.common(kind, word))
                .as_deref()
        }));
    }
    Arc::new(found.finish())
}
