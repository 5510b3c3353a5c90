//! Types of columns as PostgreSQL calls them.
//!
//! Invariant: a type is the one that holds every value of the column: decimals are numeric with their precision, instants are timestamptz, times on a clock are timestamp,
//! structs and maps are jsonb. The numbers are those that PostgreSQL gives its own types.

use super::fault::Fault;
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, TimeUnit};
use std::sync::Arc;

/// Columns of an answer, at most, as PostgreSQL has it: a message counts them in 16 bits, and clients make room for each.
const MOST: usize = 1_664;

/// Type of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WireType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    Instant,
    Span,
    Json,
    List(Box<WireType>),
}

/// Column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WireColumn {
    pub(super) name: String,
    pub(super) of: WireType,
    /// Precision and scale of a decimal; -1 of anything else.
    pub(super) modifier: i32,
    /// True if it has no value at all, and so none that another type could not have.
    pub(super) is_null: bool,
}

impl WireType {
    /// Type of the values of an Arrow column.
    pub(super) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::Int2,
            DataType::Int32 | DataType::UInt16 => Self::Int4,
            DataType::Int64 | DataType::UInt32 => Self::Int8,
            DataType::Float16 | DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::UInt64
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::Numeric,
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Bytea,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::Instant,
            DataType::Interval(_) | DataType::Duration(_) => Self::Span,
            DataType::Dictionary(_, values) => Self::of(values),
            DataType::RunEndEncoded(_, values) => Self::of(values.data_type()),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                match Self::of(item.data_type()) {
                    Self::Json | Self::List(_) => Self::Json,
                    item => Self::List(Box::new(item)),
                }
            }
            DataType::Struct(_)
            | DataType::Map(..)
            | DataType::Union(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_) => Self::Json,
            DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Self::Text
            }
        }
    }

    /// PostgreSQL's number of the type.
    pub(super) fn oid(&self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Int8 => 20,
            Self::Float4 => 700,
            Self::Float8 => 701,
            Self::Numeric => 1700,
            Self::Text => 25,
            Self::Bytea => 17,
            Self::Date => 1082,
            Self::Time => 1083,
            Self::Timestamp => 1114,
            Self::Instant => 1184,
            Self::Span => 1186,
            Self::Json => 3802,
            Self::List(item) => match item.as_ref() {
                Self::Bool => 1000,
                Self::Int2 => 1005,
                Self::Int4 => 1007,
                Self::Int8 => 1016,
                Self::Float4 => 1021,
                Self::Float8 => 1022,
                Self::Numeric => 1231,
                Self::Bytea => 1001,
                Self::Date => 1182,
                Self::Time => 1183,
                Self::Timestamp => 1115,
                Self::Instant => 1185,
                Self::Span => 1187,
                Self::Text | Self::Json | Self::List(_) => 1009,
            },
        }
    }

    /// Bytes of a value; -1 where they vary.
    pub(super) fn size(&self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::Int2 => 2,
            Self::Int4 | Self::Float4 | Self::Date => 4,
            Self::Int8 | Self::Float8 | Self::Time | Self::Timestamp | Self::Instant => 8,
            Self::Span => 16,
            Self::Numeric | Self::Text | Self::Bytea | Self::Json | Self::List(_) => -1,
        }
    }

    /// The Arrow type that values are written from, for a column of this one.
    pub(super) fn written_from(&self, from: &DataType) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric => match unpacked(from) {
                DataType::Decimal32(digits, scale) | DataType::Decimal64(digits, scale) => {
                    DataType::Decimal128(*digits, *scale)
                }
                // Also where a whole number stands in for a decimal that was told.
                whole if whole.is_integer() => DataType::Decimal128(20, 0),
                other => other.clone(),
            },
            Self::Text => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Instant => match unpacked(from) {
                DataType::Timestamp(_, zone) => {
                    DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
                }
                other => other.clone(),
            },
            Self::Span => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Json => unpacked(from).clone(),
            Self::List(_) => match unpacked(from) {
                DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                    DataType::List(Arc::clone(item))
                }
                other => other.clone(),
            },
        }
    }
}

/// A type without the packing of its values.
fn unpacked(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => unpacked(values),
        DataType::RunEndEncoded(_, values) => unpacked(values.data_type()),
        other => other,
    }
}

impl WireColumn {
    /// A column of texts.
    pub(super) fn text(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            of: WireType::Text,
            modifier: -1,
            is_null: false,
        }
    }

    /// The column without the precision and the scale of its decimals.
    pub(super) fn without_modifier(&self) -> Self {
        Self {
            modifier: -1,
            ..self.clone()
        }
    }

    fn of(field: &Field) -> Self {
        Self {
            name: field.name().clone(),
            of: WireType::of(field.data_type()),
            modifier: modifier(field.data_type()),
            is_null: field.data_type() == &DataType::Null,
        }
    }
}

/// Precision and scale of a decimal as one number.
fn modifier(data_type: &DataType) -> i32 {
    match unpacked(data_type) {
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => {
            (i32::from(*digits) << 16 | i32::from(*scale) & 0x7ff) + 4
        }
        _ => -1,
    }
}

/// The columns of a table or an answer, however many.
pub(super) fn all_columns(schema: &Schema) -> Arc<[WireColumn]> {
    let fields = schema.fields().iter();
    fields.map(|field| WireColumn::of(field)).collect()
}

/// The columns of an answer.
///
/// Errors where there are more than a message may have.
pub(super) fn columns(schema: &Schema) -> Result<Arc<[WireColumn]>, Fault> {
    match schema.fields().len() {
        0..=MOST => Ok(all_columns(schema)),
        count => {
            let what = format!("the answer has {count} columns, and may have {MOST}");
            Err(Fault::new("54011", what).hint("Name those that are wanted."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_no_more_columns_than_a_message_may() {
        let of = |count: usize| {
            let field = |at: usize| Field::new(format!("c{at}"), DataType::Int64, true);
            columns(&Schema::new((0..count).map(field).collect::<Vec<_>>()))
        };
        assert_eq!(of(0).unwrap().len(), 0);
        assert_eq!(of(MOST).unwrap().len(), MOST);
        for count in [MOST + 1, 70_000] {
            assert_eq!(of(count).unwrap_err().code, "54011", "{count}");
        }
    }

    #[test]
    fn each_type_is_the_one_that_holds_its_values() {
        let zone = || Some("UTC".into());
        let list = |item: DataType| DataType::new_list(item, true);
        let nested = DataType::Struct(vec![Field::new("a", DataType::Int64, true)].into());
        for (data_type, oid, modifier) in [
            (DataType::Boolean, 16, -1),
            (DataType::UInt16, 23, -1),
            (DataType::UInt32, 20, -1),
            (DataType::UInt64, 1700, -1),
            (DataType::Decimal128(18, 4), 1700, (18 << 16) + 4 + 4),
            (DataType::Decimal128(38, 18), 1700, (38 << 16) + 18 + 4),
            (DataType::Utf8View, 25, -1),
            (DataType::Timestamp(TimeUnit::Microsecond, None), 1114, -1),
            (DataType::Timestamp(TimeUnit::Nanosecond, zone()), 1184, -1),
            (DataType::Duration(TimeUnit::Second), 1186, -1),
            (list(DataType::Utf8), 1009, -1),
            (list(DataType::Decimal128(18, 4)), 1231, -1),
            (list(nested.clone()), 3802, -1),
            (list(list(DataType::Int64)), 3802, -1),
            (nested, 3802, -1),
        ] {
            let column = WireColumn::of(&Field::new("a", data_type.clone(), true));
            assert_eq!(
                (column.of.oid(), column.modifier),
                (oid, modifier),
                "{data_type}"
            );
        }
    }
}
