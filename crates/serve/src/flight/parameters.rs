//! Values of parameters as a client binds them: a row of an Arrow batch, a column a parameter.
//!
//! Invariant: a value becomes a literal of its column's type, never text of the query. What cannot be one is refused before anything is planned.

use super::sent::{sent_batch, sent_schema};
use super::status::wrong;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use std::fmt;
use tillhouse_query::{ParameterLiteral, QueryParameters};
use tonic::Status;

/// Values of the parameters of a statement, as an Arrow IPC stream of one row.
#[derive(Clone)]
pub(super) struct BoundValues(Bytes);

impl fmt::Debug for BoundValues {
    /// No value: it may be somebody's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundValues")
    }
}

impl BoundValues {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Values of bytes that [`Self::bytes`] gave; none of no bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self(Bytes::copy_from_slice(bytes)))
    }

    /// The values of a row. Errors where one of them can be no literal.
    pub(super) fn of_row(row: &RecordBatch) -> Result<Self, Status> {
        let unreadable = |_: ArrowError| {
            wrong(
                "the values of parameters cannot be read",
                "Bind a batch of one row, a column a parameter.",
            )
        };
        let row = sent_batch(row, &sent_schema(&row.schema())).map_err(unreadable)?;
        let written = || {
            let mut writer = StreamWriter::try_new(Vec::new(), &row.schema())?;
            writer.write(&row)?;
            writer.into_inner()
        };
        let values = Self(Bytes::from(written().map_err(unreadable)?));
        values.given()?;
        Ok(values)
    }

    /// The values by the numbers of their parameters.
    pub(super) fn given(&self) -> Result<QueryParameters, Status> {
        let unreadable = || Status::invalid_argument("the values of parameters cannot be read");
        let mut rows = StreamReader::try_new(&self.0[..], None).map_err(|_| unreadable())?;
        let row = rows.next().and_then(Result::ok).ok_or_else(unreadable)?;
        let numbered = (1_usize..).zip(row.columns());
        let mut given = QueryParameters::default();
        for (number, column) in numbered {
            let literal = literal(column).map_err(|refusal| refusal.of(number))?;
            given = given.with_literal(&number.to_string(), literal);
        }
        Ok(given)
    }

    /// Errors where there are not as many values as parameters.
    pub(super) fn check_count(values: Option<&Self>, parameters: usize) -> Result<(), Status> {
        let count = match values {
            None => 0,
            Some(values) => StreamReader::try_new(&values.0[..], None)
                .map_or(0, |rows| rows.schema().fields().len()),
        };
        // Values that no parameter takes are as good as none.
        match count < parameters {
            false => Ok(()),
            true => Err(wrong(
                &format!("the statement has {parameters} parameters, and {count} have a value"),
                "Bind a batch of one row with a column for each, $1 first.",
            )),
        }
    }
}

/// Reason why a value is not taken.
#[derive(Debug)]
enum Refusal {
    Unreadable,
    NotThere,
}

impl Refusal {
    fn of(self, number: usize) -> Status {
        match self {
            Self::Unreadable => {
                Status::invalid_argument(format!("the value of ${number} cannot be read"))
            }
            Self::NotThere => wrong(
                &format!("the type of ${number} is none that parameters may have here"),
                "Bind it as text, with a cast in the query.",
            ),
        }
    }
}

/// The literal of the first value of a column.
fn literal(column: &ArrayRef) -> Result<ParameterLiteral, Refusal> {
    let of = column.data_type();
    if column.is_empty() || column.is_null(0) || *of == DataType::Null {
        return Ok(ParameterLiteral::Null);
    }
    Ok(match of {
        DataType::Boolean => ParameterLiteral::Truth(column.as_boolean().value(0)),
        DataType::Utf8 | DataType::LargeUtf8 => ParameterLiteral::Text(text(column)?),
        of if of.is_integer() || of.is_decimal() => ParameterLiteral::Number(text(column)?),
        of if of.is_floating() => ParameterLiteral::Float(text(column)?),
        DataType::Date32 => ParameterLiteral::Date(text(column)?),
        // Milliseconds of a day's begin.
        DataType::Date64 => ParameterLiteral::Date(text(&cast(column, &DataType::Date32)?)?),
        DataType::Time32(_) | DataType::Time64(_) => ParameterLiteral::Time(text(column)?),
        DataType::Timestamp(_, None) => ParameterLiteral::Timestamp(text(column)?),
        DataType::Timestamp(_, Some(_)) => ParameterLiteral::Instant(text(column)?),
        DataType::List(_) => list(&column.as_list::<i32>().value(0))?,
        DataType::LargeList(_) => list(&column.as_list::<i64>().value(0))?,
        DataType::FixedSizeList(..) => list(&column.as_fixed_size_list().value(0))?,
        _ => return Err(Refusal::NotThere),
    })
}

fn list(items: &ArrayRef) -> Result<ParameterLiteral, Refusal> {
    let items = (0..items.len()).map(|at| literal(&items.slice(at, 1)));
    Ok(ParameterLiteral::List(items.collect::<Result<_, _>>()?))
}

fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Refusal> {
    let exact = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, to, &exact).map_err(|_| Refusal::Unreadable)
}

/// The text of the first value of a column.
fn text(column: &ArrayRef) -> Result<String, Refusal> {
    let texts = cast(column, &DataType::Utf8)?;
    let text = texts.as_string::<i32>().value(0);
    match text.contains('\0') {
        true => Err(Refusal::Unreadable),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
        NullArray, StringArray, TimestampMicrosecondArray,
    };
    use std::sync::Arc;

    fn of(column: ArrayRef) -> Result<ParameterLiteral, Refusal> {
        literal(&column)
    }

    #[test]
    fn a_value_is_a_literal_of_its_type() {
        let own = |text: &str| text.to_owned();
        let decimal = Decimal128Array::from(vec![-1_250]).with_precision_and_scale(9, 2);
        let clock = TimestampMicrosecondArray::from(vec![500_000]);
        let cases: [(ArrayRef, ParameterLiteral); 8] = [
            (
                Arc::new(Int64Array::from(vec![-7])),
                ParameterLiteral::Number(own("-7")),
            ),
            (
                Arc::new(decimal.unwrap()),
                ParameterLiteral::Number(own("-12.50")),
            ),
            (
                Arc::new(BooleanArray::from(vec![true])),
                ParameterLiteral::Truth(true),
            ),
            (
                Arc::new(StringArray::from(vec!["007"])),
                ParameterLiteral::Text(own("007")),
            ),
            (
                Arc::new(Float64Array::from(vec![0.5])),
                ParameterLiteral::Float(own("0.5")),
            ),
            (
                Arc::new(Date32Array::from(vec![0])),
                ParameterLiteral::Date(own("1970-01-01")),
            ),
            (Arc::new(NullArray::new(1)), ParameterLiteral::Null),
            (
                Arc::new(clock.clone()),
                ParameterLiteral::Timestamp(own("1970-01-01T00:00:00.500")),
            ),
        ];
        for (column, wanted) in cases {
            assert!(of(column).unwrap() == wanted, "{wanted:?}");
        }
        let instant: ArrayRef = Arc::new(clock.with_timezone("+02:00"));
        let ParameterLiteral::Instant(text) = of(instant).unwrap() else {
            panic!("an instant");
        };
        assert!(text.ends_with("+02:00"), "{text}");
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"x"[..]]));
        assert!(matches!(of(bytes), Err(Refusal::NotThere)));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a\0b"]));
        assert!(matches!(of(text), Err(Refusal::Unreadable)));
    }

    #[test]
    fn values_are_counted_and_come_back() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let row = RecordBatch::try_from_iter([("0", Arc::clone(&column)), ("1", column)]).unwrap();
        let values = BoundValues::of_row(&row).unwrap();
        let again = BoundValues::of_bytes(values.bytes());
        assert!(BoundValues::check_count(again.as_ref(), 2).is_ok());
        assert!(BoundValues::check_count(again.as_ref(), 3).is_err());
        assert!(BoundValues::check_count(None, 1).is_err());
        assert!(BoundValues::check_count(None, 0).is_ok());
        assert!(again.unwrap().given().is_ok());
    }
}
