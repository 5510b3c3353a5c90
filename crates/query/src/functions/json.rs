//! JSON in texts: `->`, `->>`, `json_get` and its neighbours.
//!
//! Invariant: what is given back is what stands in the text, letter by letter: a number keeps its digits, so that `CAST(json_get(x, 'amount') AS DECIMAL(18, 4))` is exact, and
//! no number passes through a float. A text that is no JSON, a key that is not there and JSON's null give null; `json(text)` alone is an error for what is none.
//! Of keys that come twice the last one counts, as in PostgreSQL.

use super::arguments::by_columns;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Int64Array, Int64Builder, ListBuilder, StringArray,
    StringBuilder,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::{
    Result, exec_datafusion_err, internal_err, plan_datafusion_err, plan_err,
};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The functions, each with how it is called.
const FUNCTIONS: [JsonAnswer; 10] = [
    JsonAnswer::Checked,
    JsonAnswer::Raw,
    JsonAnswer::Text,
    JsonAnswer::Whole,
    JsonAnswer::Boolean,
    JsonAnswer::Length,
    JsonAnswer::Keys,
    JsonAnswer::Elements,
    JsonAnswer::IsThere,
    JsonAnswer::Kind,
];

/// The function that gives a value as JSON, from which another step can go on.
pub(crate) const STEP: &str = "json_get_json";

/// Answer that is given about the value at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum JsonAnswer {
    /// The text itself, which is JSON.
    Checked,
    /// The value as JSON.
    Raw,
    /// A text without its quotes, any other value as JSON.
    Text,
    /// A whole number.
    Whole,
    Boolean,
    /// Number of elements or keys.
    Length,
    Keys,
    /// The elements of a list, as JSON each.
    Elements,
    /// True if there is such a value.
    IsThere,
    /// The name of its type.
    Kind,
}

impl JsonAnswer {
    fn names(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Checked => ("json", &[]),
            Self::Raw => (STEP, &[]),
            Self::Text => ("json_get", &["json_get_str", "json_as_text"]),
            Self::Whole => ("json_get_int", &[]),
            Self::Boolean => ("json_get_bool", &[]),
            Self::Length => ("json_length", &["json_array_length"]),
            Self::Keys => ("json_object_keys", &["json_keys"]),
            Self::Elements => ("json_get_array", &[]),
            Self::IsThere => ("json_contains", &[]),
            Self::Kind => ("json_typeof", &[]),
        }
    }

    fn gives(self) -> DataType {
        match self {
            Self::Checked | Self::Raw | Self::Text | Self::Kind => DataType::Utf8,
            Self::Whole | Self::Length => DataType::Int64,
            Self::Boolean | Self::IsThere => DataType::Boolean,
            Self::Keys | Self::Elements => {
                DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
            }
        }
    }
}

/// All of them.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    FUNCTIONS
        .into_iter()
        .map(|answer| function(answer, false))
        .chain([JsonAnswer::Raw, JsonAnswer::Text].map(|answer| function(answer, true)))
}

/// The function that an operator becomes: `->` and `->>`, or with `by_path` `#>` and `#>>`, whose path is a text like `{list,0,name}`.
pub(crate) fn function(answer: JsonAnswer, by_path: bool) -> ScalarUDF {
    let (name, aliases) = answer.names();
    // The operators' own forms take a path as one text: the other names are those of the functions.
    let aliases: &[&str] = if by_path { &[] } else { aliases };
    ScalarUDF::new_from_impl(JsonFunction {
        answer,
        name: match (by_path, answer) {
            (false, _) => name,
            (true, JsonAnswer::Raw) => "json_at",
            (true, _) => "json_text_at",
        },
        by_path,
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// SQL function of a JSON text and a path: keys and places, one after the other.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonFunction {
    answer: JsonAnswer,
    name: &'static str,
    by_path: bool,
    aliases: Vec<String>,
    signature: Signature,
}

impl ScalarUDFImpl for JsonFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.answer.gives())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let Some((json, path)) = types.split_first() else {
            return plan_err!("{} takes a JSON text and a path", self.name);
        };
        if !is_text(json) {
            return Err(plan_datafusion_err!(
                "{} looks into a JSON text, not into {json}; a field of an object is object.field",
                self.name
            ));
        }
        let mut coerced = vec![DataType::Utf8];
        for step in path {
            coerced.push(if is_text(step) {
                DataType::Utf8
            } else if step.is_integer() && !self.by_path {
                DataType::Int64
            } else {
                return plan_err!(
                    "a path into JSON is made of keys, which are texts, and places, which are whole numbers from 0; not of {step}"
                );
            });
        }
        let fits = match (self.answer, self.by_path) {
            (JsonAnswer::Checked, _) => path.is_empty(),
            (_, true) => path.len() == 1,
            _ => true,
        };
        if !fits {
            return plan_err!("{} takes another number of arguments", self.name);
        }
        Ok(coerced)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_columns(&args, |columns, rows| self.answers(columns, rows))
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => other.is_string() || other.is_null(),
    }
}

/// A column of steps.
enum StepColumn<'a> {
    Keys(&'a StringArray),
    Places(&'a Int64Array),
}

/// One step into a value.
enum Step<'a> {
    Key(&'a str),
    Place(i64),
    /// A key of an object, or a place in a list.
    Either(&'a str),
}

impl JsonFunction {
    fn answers(&self, columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let Some((json, path)) = columns.split_first() else {
            return internal_err!("a function of JSON has an argument");
        };
        let Some(json) = json.as_string_opt::<i32>() else {
            return internal_err!("JSON came as {}", json.data_type());
        };
        let mut steps = Vec::with_capacity(path.len());
        for column in path {
            steps.push(if let Some(keys) = column.as_string_opt::<i32>() {
                StepColumn::Keys(keys)
            } else if let Some(places) = column.as_primitive_opt::<Int64Type>() {
                StepColumn::Places(places)
            } else {
                return internal_err!("a step came as {}", column.data_type());
            });
        }
        let found = |row: usize| -> Option<&RawValue> {
            if json.is_null(row) {
                return None;
            }
            let mut value: &RawValue = serde_json::from_str(json.value(row)).ok()?;
            for column in &steps {
                match column {
                    StepColumn::Keys(keys) if keys.is_null(row) => return None,
                    StepColumn::Places(places) if places.is_null(row) => return None,
                    StepColumn::Keys(keys) if self.by_path => {
                        for step in path_of(keys.value(row))? {
                            value = inside(value, &Step::Either(step))?;
                        }
                    }
                    StepColumn::Keys(keys) => value = inside(value, &Step::Key(keys.value(row)))?,
                    StepColumn::Places(places) => {
                        value = inside(value, &Step::Place(places.value(row)))?;
                    }
                }
            }
            Some(value)
        };
        self.collected(json, rows, found)
    }

    fn collected<'a>(
        &self,
        json: &'a StringArray,
        rows: usize,
        found: impl Fn(usize) -> Option<&'a RawValue>,
    ) -> Result<ArrayRef> {
        Ok(match self.answer {
            JsonAnswer::Checked => {
                for row in (0..rows).filter(|row| json.is_valid(*row)) {
                    serde_json::from_str::<IgnoredAny>(json.value(row))
                        .map_err(|_| exec_datafusion_err!("a text is no JSON"))?;
                }
                Arc::new(json.clone())
            }
            JsonAnswer::Raw => {
                let mut texts = StringBuilder::new();
                (0..rows).for_each(|row| texts.append_option(found(row).map(RawValue::get)));
                Arc::new(texts.finish())
            }
            JsonAnswer::Text => {
                let mut texts = StringBuilder::new();
                (0..rows).for_each(|row| texts.append_option(found(row).and_then(as_text)));
                Arc::new(texts.finish())
            }
            JsonAnswer::Kind => {
                let mut texts = StringBuilder::new();
                (0..rows).for_each(|row| texts.append_option(found(row).map(kind)));
                Arc::new(texts.finish())
            }
            JsonAnswer::Whole | JsonAnswer::Length => {
                let mut numbers = Int64Builder::with_capacity(rows);
                for row in 0..rows {
                    let value = found(row);
                    numbers.append_option(match self.answer {
                        JsonAnswer::Whole => value.and_then(|of| of.get().parse().ok()),
                        _ => value.and_then(|of| i64::try_from(parts(of)?.len()).ok()),
                    });
                }
                Arc::new(numbers.finish())
            }
            JsonAnswer::Boolean => {
                let mut values = BooleanBuilder::with_capacity(rows);
                (0..rows).for_each(|row| {
                    values.append_option(found(row).and_then(|of| of.get().parse().ok()));
                });
                Arc::new(values.finish())
            }
            JsonAnswer::IsThere => {
                let mut values = BooleanBuilder::with_capacity(rows);
                (0..rows).for_each(|row| {
                    values.append_option(json.is_valid(row).then(|| found(row).is_some()));
                });
                Arc::new(values.finish())
            }
            JsonAnswer::Keys | JsonAnswer::Elements => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for row in 0..rows {
                    match (found(row).and_then(parts), self.answer) {
                        (Some(Parts::Object(pairs)), JsonAnswer::Keys) => {
                            pairs
                                .iter()
                                .for_each(|(key, _)| lists.values().append_value(key));
                            lists.append(true);
                        }
                        (Some(Parts::List(elements)), JsonAnswer::Elements) => {
                            elements
                                .iter()
                                .for_each(|of| lists.values().append_value(of.get()));
                            lists.append(true);
                        }
                        _ => lists.append(false),
                    }
                }
                Arc::new(lists.finish())
            }
        })
    }
}

/// The steps of a path like `{list,0,name}`.
fn path_of(text: &str) -> Option<Vec<&str>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    if inner.trim().is_empty() {
        return Some(Vec::new());
    }
    Some(
        inner
            .split(',')
            .map(|step| step.trim().trim_matches('"'))
            .collect(),
    )
}

/// A value without its quotes; JSON's null is null.
fn as_text(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get() {
        "null" => None,
        text if text.starts_with('"') => serde_json::from_str::<String>(text).ok().map(Cow::Owned),
        text => Some(Cow::Borrowed(text)),
    }
}

fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

fn inside<'a>(value: &'a RawValue, step: &Step<'_>) -> Option<&'a RawValue> {
    match (parts(value)?, step) {
        (Parts::Object(pairs), Step::Key(key) | Step::Either(key)) => pairs
            .into_iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value),
        (Parts::List(elements), Step::Place(place)) => at(&elements, *place),
        (Parts::List(elements), Step::Either(place)) => at(&elements, place.parse().ok()?),
        _ => None,
    }
}

/// The element at a place from 0, or from the end if it is below that.
fn at<'a>(elements: &[&'a RawValue], place: i64) -> Option<&'a RawValue> {
    let place = if place < 0 {
        elements
            .len()
            .checked_sub(usize::try_from(place.unsigned_abs()).ok()?)?
    } else {
        usize::try_from(place).ok()?
    };
    elements.get(place).copied()
}

/// Parts of an object or a list.
enum Parts<'a> {
    Object(Vec<(String, &'a RawValue)>),
    List(Vec<&'a RawValue>),
}

impl Parts<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Object(pairs) => pairs.len(),
            Self::List(elements) => elements.len(),
        }
    }
}

fn parts(value: &RawValue) -> Option<Parts<'_>> {
    serde_json::from_str(value.get()).ok()
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PartsVisitor;
        impl<'de> Visitor<'de> for PartsVisitor {
            type Value = Parts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    pairs.push((key, map.next_value()?));
                }
                Ok(Parts::Object(pairs))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    elements.push(element);
                }
                Ok(Parts::List(elements))
            }
        }
        deserializer.deserialize_any(PartsVisitor)
    }
}
