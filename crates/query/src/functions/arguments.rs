//! Arguments of the functions, and how a row is read, whether a column or one value for all rows
//! was given.
//!
//! Invariant: after coercion a text is Utf8, an instant is microseconds UTC, a number is Decimal128, a list is `List<Utf8>`;
//! the accessors rely on it and answer with an internal error otherwise.

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, ListArray, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use std::fmt;
use std::sync::Arc;
use tillhouse_model::FastMap;
use tillhouse_model::table::timestamp;

/// Answers a call with a column that `body` makes of the arguments as columns, all of so many rows; of constants it makes one row.
pub(super) fn by_columns(
    args: &ScalarFunctionArgs,
    body: impl FnOnce(&[ArrayRef], usize) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let is_constant = args
        .args
        .iter()
        .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if is_constant { 1 } else { args.number_rows };
    let columns = args
        .args
        .iter()
        .map(|arg| arg.to_array(rows))
        .collect::<Result<Vec<_>>>()?;
    let result = body(&columns, rows)?;
    if is_constant {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
            &result, 0,
        )?));
    }
    Ok(ColumnarValue::Array(result))
}

/// Type of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArgumentType {
    /// Text.
    Text,
    /// A timestamp, a date, or text that is one.
    Instant,
    /// The same, or a span of time, of which a rewrite makes another call.
    InstantOrSpan,
    /// A decimal or whole number; never a float.
    Number,
    /// A list of texts, or one text, which stands for a list of one.
    Texts,
}

impl fmt::Display for ArgumentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Instant => "a timestamp",
            Self::InstantOrSpan => "a timestamp or an interval",
            Self::Number => "a decimal or whole number (cast a float to decimal first)",
            Self::Texts => "a list of texts",
        })
    }
}

impl ArgumentType {
    /// The type the argument is brought to; `None` where it does not fit.
    pub(super) fn coerce(self, given: &DataType) -> Option<DataType> {
        match self {
            Self::Text => (is_text(given) || given.is_null()).then_some(DataType::Utf8),
            Self::Instant => {
                let fits = is_text(given)
                    || matches!(
                        given,
                        DataType::Timestamp(_, _) | DataType::Date32 | DataType::Null
                    );
                fits.then(timestamp)
            }
            Self::InstantOrSpan => match given {
                DataType::Interval(_) | DataType::Duration(_) => Some(given.clone()),
                other => Self::Instant.coerce(other),
            },
            Self::Number => match given {
                DataType::Decimal128(_, scale) if *scale >= 0 => Some(given.clone()),
                DataType::Decimal32(_, scale) if *scale >= 0 => {
                    Some(DataType::Decimal128(9, *scale))
                }
                DataType::Decimal64(_, scale) if *scale >= 0 => {
                    Some(DataType::Decimal128(18, *scale))
                }
                DataType::Null => Some(DataType::Decimal128(18, 4)),
                whole if whole.is_integer() => Some(DataType::Decimal128(20, 0)),
                _ => None,
            },
            Self::Texts => match given {
                DataType::List(element) if *element.data_type() == DataType::Utf8 => {
                    Some(given.clone())
                }
                DataType::List(e)
                | DataType::LargeList(e)
                | DataType::ListView(e)
                | DataType::FixedSizeList(e, _) => {
                    (is_text(e.data_type()) || e.data_type().is_null()).then(texts)
                }
                DataType::Null => Some(texts()),
                text => is_text(text).then_some(DataType::Utf8),
            },
        }
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

fn texts() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)))
}

/// The arguments of one call on one batch.
pub(super) struct CallArguments {
    columns: Vec<(ArrayRef, RowStride)>,
    rows: usize,
    constant: bool,
}

/// Step in an array from one row to the next: 1, or 0 where one value stands for all rows.
type RowStride = usize;

impl CallArguments {
    pub(super) fn new(values: &[ColumnarValue], rows: usize) -> Result<Self> {
        let constant = values.iter().all(|v| matches!(v, ColumnarValue::Scalar(_)));
        let columns = values
            .iter()
            .map(|value| {
                Ok(match value {
                    ColumnarValue::Array(array) => (Arc::clone(array), 1),
                    ColumnarValue::Scalar(scalar) => (scalar.to_array()?, 0),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            columns,
            rows: if constant { 1 } else { rows },
            constant,
        })
    }

    /// True if every argument is one value for all rows; then one row is computed.
    pub(super) fn is_constant(&self) -> bool {
        self.constant
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    fn column(&self, position: usize) -> Result<(&ArrayRef, RowStride)> {
        let column = self
            .columns
            .get(position)
            .ok_or_else(|| internal_datafusion_err!("missing argument {position}"))?;
        Ok((&column.0, column.1))
    }

    pub(super) fn text(&self, position: usize) -> Result<TextArgument<'_>> {
        let (array, step) = self.column(position)?;
        let array = array
            .as_string_opt::<i32>()
            .ok_or_else(|| not_coerced(position, array))?;
        Ok(TextArgument { array, step })
    }

    /// The text at a position, where the call has so many arguments.
    pub(super) fn optional_text(&self, position: usize) -> Result<Option<TextArgument<'_>>> {
        (position < self.columns.len())
            .then(|| self.text(position))
            .transpose()
    }

    pub(super) fn instant(&self, position: usize) -> Result<InstantArgument<'_>> {
        let (array, step) = self.column(position)?;
        let wanted = DataType::Timestamp(TimeUnit::Microsecond, None);
        let array = array
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| internal_datafusion_err!("argument {position} is not {wanted}"))?;
        Ok(InstantArgument { array, step })
    }

    /// The number at a position, where the call has so many arguments.
    pub(super) fn optional_number(&self, position: usize) -> Result<Option<NumberArgument<'_>>> {
        (position < self.columns.len())
            .then(|| self.number(position))
            .transpose()
    }

    pub(super) fn number(&self, position: usize) -> Result<NumberArgument<'_>> {
        let (array, step) = self.column(position)?;
        let array = array
            .as_primitive_opt::<Decimal128Type>()
            .ok_or_else(|| not_coerced(position, array))?;
        let scale = u32::try_from(array.scale()).map_err(|_| not_coerced(position, array))?;
        Ok(NumberArgument { array, step, scale })
    }

    pub(super) fn lists(&self, position: usize) -> Result<ListArgument<'_>> {
        let (array, step) = self.column(position)?;
        if let Some(single) = array.as_string_opt::<i32>() {
            return Ok(ListArgument::Single(TextArgument {
                array: single,
                step,
            }));
        }
        let list = array
            .as_list_opt::<i32>()
            .ok_or_else(|| not_coerced(position, array))?;
        let values = list
            .values()
            .as_string_opt::<i32>()
            .ok_or_else(|| not_coerced(position, array))?;
        Ok(ListArgument::Many { list, values, step })
    }
}

fn not_coerced(position: usize, array: &dyn Array) -> datafusion::common::DataFusionError {
    internal_datafusion_err!("argument {position} came as {}", array.data_type())
}

/// A text argument.
#[derive(Clone, Copy)]
pub(super) struct TextArgument<'a> {
    array: &'a StringArray,
    step: RowStride,
}

impl<'a> TextArgument<'a> {
    pub(super) fn get(self, row: usize) -> Option<&'a str> {
        let at = row * self.step;
        self.array.is_valid(at).then(|| self.array.value(at))
    }
}

/// An instant argument.
#[derive(Clone, Copy)]
pub(super) struct InstantArgument<'a> {
    array: &'a TimestampMicrosecondArray,
    step: RowStride,
}

impl InstantArgument<'_> {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub(super) fn get(self, row: usize) -> Option<i64> {
        let at = row * self.step;
        self.array.is_valid(at).then(|| self.array.value(at))
    }
}

/// A number argument.
#[derive(Clone, Copy)]
pub(super) struct NumberArgument<'a> {
    array: &'a Decimal128Array,
    step: RowStride,
    /// Digits after the point, of every value.
    pub(super) scale: u32,
}

impl NumberArgument<'_> {
    pub(super) fn get(self, row: usize) -> Option<i128> {
        let at = row * self.step;
        self.array.is_valid(at).then(|| self.array.value(at))
    }
}

/// A list argument.
pub(super) enum ListArgument<'a> {
    Single(TextArgument<'a>),
    Many {
        list: &'a ListArray,
        values: &'a StringArray,
        step: RowStride,
    },
}

impl<'a> ListArgument<'a> {
    /// The texts of a row that are not null; nothing for a null list.
    pub(super) fn get(&self, row: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        let (single, range) = match self {
            Self::Single(texts) => (texts.get(row), None),
            Self::Many { list, values, step } => {
                let at = row * step;
                let range = if list.is_valid(at) {
                    usize::try_from(list.value_offsets()[at]).unwrap_or(0)
                        ..usize::try_from(list.value_offsets()[at + 1]).unwrap_or(0)
                } else {
                    0..0
                };
                (None, Some((*values, range)))
            }
        };
        single
            .into_iter()
            .chain(range.into_iter().flat_map(|(values, range)| {
                range
                    .filter(move |i| values.is_valid(*i))
                    .map(move |i| values.value(i))
            }))
    }
}

/// Maps a text column value by value. Words repeat, so each distinct one is worked out once a batch.
pub(super) fn map_words<T: AsRef<str>>(
    arguments: &CallArguments,
    map: impl Fn(&str) -> Option<T>,
) -> Result<ArrayRef> {
    let texts = arguments.text(0)?;
    let mut known: FastMap<&str, Option<T>> = FastMap::default();
    let mut mapped = StringBuilder::with_capacity(arguments.rows(), arguments.rows() * 3);
    for row in 0..arguments.rows() {
        mapped.append_option(texts.get(row).and_then(|text| {
            let word = known.entry(text).or_insert_with(|| map(text));
            word.as_ref()
        }));
    }
    Ok(Arc::new(mapped.finish()))
}
