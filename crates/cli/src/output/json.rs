//! Query results as JSON: an array of objects, one a row, written as they come.
//!
//! Invariant: decimals and whole numbers are JSON numbers with every digit; instants are RFC 3339 text in UTC; binary is
//! hexadecimal text; columns keep their order.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::fmt::Write;
use tillhouse_model::{Error, Exact, Result};

/// An array of objects that is written batch by batch.
#[derive(Default)]
pub(crate) struct Rows {
    is_begun: bool,
}

impl Rows {
    /// The text of more rows.
    pub(crate) fn more(&mut self, batch: &RecordBatch) -> Result<String> {
        let mut text = String::new();
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            text.push_str(if self.is_begun { ",\n  {" } else { "[\n  {" });
            self.is_begun = true;
            for (index, column) in batch.columns().iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                string(&mut text, schema.field(index).name());
                text.push_str(": ");
                write_value(&mut text, column.as_ref(), row)?;
            }
            text.push('}');
        }
        Ok(text)
    }

    /// The text that ends the array.
    pub(crate) fn end(self) -> &'static str {
        if self.is_begun { "\n]\n" } else { "[]\n" }
    }
}

/// One value.
pub(crate) fn value(array: &dyn Array, row: usize) -> Result<String> {
    let mut text = String::new();
    write_value(&mut text, array, row)?;
    Ok(text)
}

fn write_value(text: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    if array.is_null(row) {
        text.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Boolean => text.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Decimal128(_, scale) => {
            let units = array.as_primitive::<Decimal128Type>().value(row);
            let exact = match u8::try_from(*scale) {
                Ok(scale) => Exact::new(units, scale).trimmed(),
                Err(_) => Exact::new(units * 10_i128.pow(u32::from(scale.unsigned_abs())), 0),
            };
            // Writing to a String cannot fail.
            let _ = write!(text, "{exact}");
        }
        DataType::Float32 | DataType::Float64 => {
            let shown = display(array, row)?;
            // JSON has neither NaN nor infinity.
            if shown.parse::<f64>().is_ok_and(f64::is_finite) { text.push_str(&shown) } else { string(text, &shown) }
        }
        data_type if data_type.is_integer() => text.push_str(&display(array, row)?),
        DataType::Binary => hexadecimal(text, array.as_binary::<i32>().value(row)),
        DataType::BinaryView => hexadecimal(text, array.as_binary_view().value(row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            text.push('[');
            for item in 0..items.len() {
                if item > 0 {
                    text.push_str(", ");
                }
                write_value(text, items.as_ref(), item)?;
            }
            text.push(']');
        }
        DataType::Struct(fields) => {
            let object = array.as_struct();
            text.push('{');
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                string(text, field.name());
                text.push_str(": ");
                write_value(text, object.column(index).as_ref(), row)?;
            }
            text.push('}');
        }
        _ => string(text, &display(array, row)?),
    }
    Ok(())
}

fn display(array: &dyn Array, row: usize) -> Result<String> {
    let options = match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            FormatOptions::default().with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"))
        }
        _ => FormatOptions::default(),
    };
    let shown = |e| Error::internal("cannot show a value").because(e);
    let formatter = ArrayFormatter::try_new(array, &options).map_err(shown)?;
    Ok(formatter.value(row).to_string())
}

fn string(text: &mut String, value: &str) {
    text.push_str(&serde_json::Value::from(value).to_string());
}

fn hexadecimal(text: &mut String, bytes: &[u8]) {
    text.push('"');
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use std::sync::Arc;

    #[test]
    fn amounts_keep_every_digit_and_text_is_escaped() {
        let batch = RecordBatch::try_from_iter([
            (
                "amount",
                Arc::new(
                    Decimal128Array::from(vec![Some(12_345_678_901_234_567_i128), None])
                        .with_precision_and_scale(18, 4)
                        .unwrap(),
                ) as _,
            ),
            ("n", Arc::new(Int64Array::from(vec![1, 2])) as _),
            ("t", Arc::new(StringArray::from(vec!["a \"b\"", "é"])) as _),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![0, 1_500_000]).with_timezone("UTC")) as _),
        ])
        .unwrap();
        let mut rows = Rows::default();
        assert_eq!(
            format!(
                "{}{}{}",
                rows.more(&batch.slice(0, 1)).unwrap(),
                rows.more(&batch.slice(1, 1)).unwrap(),
                rows.end()
            ),
            "[\n  {\"amount\": 1234567890123.4567, \"n\": 1, \"t\": \"a \\\"b\\\"\", \"at\": \"1970-01-01T00:00:00Z\"},\n  \
             {\"amount\": null, \"n\": 2, \"t\": \"é\", \"at\": \"1970-01-01T00:00:01.500Z\"}\n]\n"
        );
        assert_eq!(Rows::default().end(), "[]\n");
    }
}
