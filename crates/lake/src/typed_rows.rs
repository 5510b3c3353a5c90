//! Rows of typed values as Arrow columns, for tables whose rows are built one by one: bookkeeping, and the statistics' table functions.
//!
//! Invariant: a value is of its column's type or null, and no digit is lost; anything else is an error, never a null.

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::DataType;
use jiff::Timestamp;
use std::sync::Arc;
use tillhouse_model::table::timestamp;
use tillhouse_model::{Error, ExactDecimal, Result};

/// Digits of a column of decimals, before and after the point.
const PRECISION: u8 = 38;

/// Type of a column of typed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    Text,
    /// Whole number.
    Int,
    /// Truth value.
    Bool,
    /// Instant, to the microsecond.
    Time,
    /// Decimal with so many digits after the point.
    Decimal(u8),
}

impl ColumnType {
    /// Arrow's type of the column.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Int => DataType::Int64,
            Self::Bool => DataType::Boolean,
            Self::Time => timestamp(),
            Self::Decimal(scale) => DataType::Decimal128(PRECISION, arrow_scale(scale)),
        }
    }
}

/// One value of a typed row.
#[derive(Debug, Clone, PartialEq)]
pub enum RowValue {
    /// No value.
    Null,
    /// Text.
    Text(String),
    /// Whole number.
    Int(i64),
    /// Truth value.
    Bool(bool),
    /// Instant.
    Time(Timestamp),
    /// Decimal, of any scale.
    Decimal(ExactDecimal),
}

impl From<&str> for RowValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Timestamp> for RowValue {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl From<bool> for RowValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for RowValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for RowValue {
    /// The largest whole number of a column where the count is beyond it.
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<ExactDecimal> for RowValue {
    fn from(value: ExactDecimal) -> Self {
        Self::Decimal(value)
    }
}

impl<T: Into<RowValue>> From<Option<T>> for RowValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Values of one column as an array of its type.
///
/// Errors with [`ErrorKind::Internal`](tillhouse_model::ErrorKind::Internal) where a value is of another type, or a decimal has more digits
/// after the point than its column.
///
/// ```
/// use tillhouse_lake::{ColumnType, RowValue, encode_column};
///
/// let amounts = [RowValue::from(tillhouse_model::ExactDecimal::new(150, 2)), RowValue::Null];
/// let column = encode_column("amount", ColumnType::Decimal(4), &amounts)?;
/// assert_eq!((column.len(), column.null_count()), (2, 1));
/// assert!(encode_column("amount", ColumnType::Int, &amounts).is_err());
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
pub fn encode_column<'a>(
    name: &str,
    column_type: ColumnType,
    values: impl IntoIterator<Item = &'a RowValue>,
) -> Result<ArrayRef> {
    let wrong = || Error::internal("a value does not fit its column").at("column", name);
    Ok(match column_type {
        ColumnType::Text => {
            let texts: Option<StringArray> = collect(values, |value| match value {
                RowValue::Text(text) => Some(text.as_str()),
                _ => None,
            });
            Arc::new(texts.ok_or_else(wrong)?)
        }
        ColumnType::Int => {
            let numbers: Option<Int64Array> = collect(values, |value| match value {
                RowValue::Int(number) => Some(*number),
                _ => None,
            });
            Arc::new(numbers.ok_or_else(wrong)?)
        }
        ColumnType::Bool => {
            let flags: Option<BooleanArray> = collect(values, |value| match value {
                RowValue::Bool(flag) => Some(*flag),
                _ => None,
            });
            Arc::new(flags.ok_or_else(wrong)?)
        }
        ColumnType::Time => {
            let times: Option<TimestampMicrosecondArray> = collect(values, |value| match value {
                RowValue::Time(at) => Some(at.as_microsecond()),
                _ => None,
            });
            Arc::new(times.ok_or_else(wrong)?.with_timezone("UTC"))
        }
        ColumnType::Decimal(scale) => {
            let units: Option<Decimal128Array> = collect(values, |value| match value {
                RowValue::Decimal(exact) => units_at(*exact, scale),
                _ => None,
            });
            Arc::new(
                units
                    .ok_or_else(wrong)?
                    .with_precision_and_scale(PRECISION, arrow_scale(scale))
                    .map_err(|e| wrong().because(e))?,
            )
        }
    })
}

/// Array of the values; `None` where one is neither null nor readable.
fn collect<'a, T, A: FromIterator<Option<T>>>(
    values: impl IntoIterator<Item = &'a RowValue>,
    read: impl Fn(&'a RowValue) -> Option<T>,
) -> Option<A> {
    values
        .into_iter()
        .map(|value| match value {
            RowValue::Null => Some(None),
            value => read(value).map(Some),
        })
        .collect()
}

/// The digits of a number at a scale; `None` where one would be lost.
fn units_at(exact: ExactDecimal, scale: u8) -> Option<i128> {
    let exact = exact.trimmed();
    (exact.scale <= scale)
        .then(|| exact.rescaled(scale))
        .flatten()
        .map(|exact| exact.units)
}

/// A scale in Arrow's type; one beyond it is beyond every precision too, and refused as that.
fn arrow_scale(scale: u8) -> i8 {
    i8::try_from(scale).unwrap_or(i8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Decimal128Type;

    fn exact(text: &str) -> RowValue {
        RowValue::from(ExactDecimal::parse(text).unwrap())
    }

    #[test]
    fn columns_are_of_the_types_that_they_are_declared_with() {
        let now = Timestamp::from_microsecond(1_767_225_600_000_001).unwrap();
        for (column_type, value) in [
            (ColumnType::Text, RowValue::from("a")),
            (ColumnType::Int, RowValue::from(-7_i64)),
            (ColumnType::Int, RowValue::from(u64::MAX)),
            (ColumnType::Bool, RowValue::from(true)),
            (ColumnType::Time, RowValue::from(now)),
            (ColumnType::Decimal(4), exact("-0.0001")),
        ] {
            let column = encode_column(
                "c",
                column_type,
                &[value.clone(), RowValue::from(None::<&str>)],
            )
            .unwrap();
            assert_eq!(column.data_type(), &column_type.data_type());
            assert!(column.is_valid(0) && column.is_null(1), "{value:?}");
        }
    }

    #[test]
    fn decimals_keep_every_digit_or_are_refused() {
        let column = encode_column(
            "amount",
            ColumnType::Decimal(2),
            &[exact("1.5"), exact("2.500"), exact("-3")],
        )
        .unwrap();
        assert_eq!(
            column.as_primitive::<Decimal128Type>().values(),
            &[150, 250, -300]
        );
        let error = encode_column("amount", ColumnType::Decimal(2), &[exact("0.001")]).unwrap_err();
        assert!(error.to_string().contains("amount"), "{error}");
    }

    #[test]
    fn values_of_another_type_are_refused() {
        for (column_type, value) in [
            (ColumnType::Text, RowValue::from(1_i64)),
            (ColumnType::Int, RowValue::from("1")),
            (ColumnType::Bool, RowValue::from("true")),
            (ColumnType::Time, RowValue::from(0_i64)),
            (ColumnType::Decimal(0), RowValue::from(1_i64)),
        ] {
            assert!(
                encode_column("c", column_type, &[RowValue::Null, value]).is_err(),
                "{column_type:?}"
            );
        }
    }
}
