//! Query results as JSON: an array of objects, one a row, written as they come.
//!
//! Invariant: decimals and whole numbers are JSON numbers with every digit; instants are RFC 3339 text with their offset; binary is
//! hexadecimal text; columns keep their order, and each has a name of its own: of several `sum`, the second is `sum_2`.

use crate::encode::cannot_show;
use crate::encode::cell::CellFormatter;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Schema};
use std::fmt::Write;
use std::sync::Arc;
use tillhouse_model::{ExactDecimal, Result};

/// Encoder of record batches as one JSON array of objects, batch by batch.
#[derive(Default)]
pub struct JsonRowEncoder {
    is_begun: bool,
    /// The columns' names as JSON text; known from the first batch on.
    names: Vec<String>,
}

impl JsonRowEncoder {
    /// The text of more rows.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<String> {
        let mut text = String::new();
        if self.names.is_empty() {
            self.names = keys(&batch.schema());
        }
        let columns = batch
            .columns()
            .iter()
            .map(plain)
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            text.push_str(if self.is_begun { ",\n  {" } else { "[\n  {" });
            self.is_begun = true;
            for (index, (name, column)) in self.names.iter().zip(&columns).enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                text.push_str(name);
                text.push_str(": ");
                write_value(&mut text, column.as_ref(), row)?;
            }
            text.push('}');
        }
        Ok(text)
    }

    /// The text that ends the array.
    pub fn finish(self) -> &'static str {
        if self.is_begun { "\n]\n" } else { "[]\n" }
    }
}

/// The names of the columns as JSON text.
fn keys(schema: &Schema) -> Vec<String> {
    let quoted = |name: &String| {
        let mut text = String::new();
        string(&mut text, name);
        text
    };
    unique_names(schema).iter().map(quoted).collect()
}

/// The names of the columns, each once.
pub fn unique_names(schema: &Schema) -> Vec<String> {
    crate::unique_names(schema.fields().iter().map(|field| field.name().as_str()))
}

/// A column without the packing of its values: what a dictionary holds once is there for every row.
fn plain(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Dictionary(_, values) => cast(column, values).map_err(cannot_show),
        DataType::RunEndEncoded(_, values) => cast(column, values.data_type()).map_err(cannot_show),
        _ => Ok(Arc::clone(column)),
    }
}

/// One value.
pub fn value(array: &dyn Array, row: usize) -> Result<String> {
    let mut text = String::new();
    write_value(&mut text, array, row)?;
    Ok(text)
}

fn write_value(text: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    // A column of the type null has no validity buffer: every value of it is null all the same.
    if array.is_null(row) || array.data_type() == &DataType::Null {
        text.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Boolean => text.push_str(if array.as_boolean().value(row) {
            "true"
        } else {
            "false"
        }),
        DataType::Decimal128(_, scale) => {
            let units = array.as_primitive::<Decimal128Type>().value(row);
            let exact = match u8::try_from(*scale) {
                Ok(scale) => ExactDecimal::new(units, scale).trimmed(),
                Err(_) => {
                    ExactDecimal::new(units * 10_i128.pow(u32::from(scale.unsigned_abs())), 0)
                }
            };
            // Writing to a String cannot fail.
            let _ = write!(text, "{exact}");
        }
        DataType::Float32 | DataType::Float64 => {
            let shown = display(array, row)?;
            // JSON has neither NaN nor infinity.
            if shown.parse::<f64>().is_ok_and(f64::is_finite) {
                text.push_str(&shown)
            } else {
                string(text, &shown)
            }
        }
        data_type if data_type.is_integer() => text.push_str(&display(array, row)?),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal256(..) => {
            text.push_str(&display(array, row)?);
        }
        DataType::Binary => hexadecimal(text, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => hexadecimal(text, array.as_binary::<i64>().value(row)),
        DataType::FixedSizeBinary(_) => hexadecimal(text, array.as_fixed_size_binary().value(row)),
        DataType::BinaryView => hexadecimal(text, array.as_binary_view().value(row)),
        DataType::List(_) => list(text, &array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list(text, &array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => list(text, &array.as_fixed_size_list().value(row))?,
        // Keys of a map may be of any type, which a JSON object's may not.
        DataType::Map(..) => {
            let entries: ArrayRef = Arc::new(array.as_map().value(row));
            list(text, &entries)?;
        }
        DataType::Dictionary(..) | DataType::RunEndEncoded(..) => {
            write_value(text, plain(&array.slice(row, 1))?.as_ref(), 0)?;
        }
        DataType::Struct(fields) => {
            let object = array.as_struct();
            text.push('{');
            for (index, name) in keys(&Schema::new(fields.clone())).iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                text.push_str(name);
                text.push_str(": ");
                write_value(text, object.column(index).as_ref(), row)?;
            }
            text.push('}');
        }
        _ => string(text, &display(array, row)?),
    }
    Ok(())
}

fn list(text: &mut String, items: &ArrayRef) -> Result<()> {
    text.push('[');
    for item in 0..items.len() {
        if item > 0 {
            text.push_str(", ");
        }
        write_value(text, items.as_ref(), item)?;
    }
    text.push(']');
    Ok(())
}

fn display(array: &dyn Array, row: usize) -> Result<String> {
    CellFormatter::of(array)?.text(row)
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
mod tests {
    use super::*;
    use arrow::array::{
        Decimal128Array, DictionaryArray, Int64Array, NullArray, StringArray,
        TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Field, Int32Type};

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let fields = columns
            .iter()
            .map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        RecordBatch::try_new(
            Arc::new(schema),
            columns.into_iter().map(|(_, column)| column).collect(),
        )
        .unwrap()
    }

    fn number(value: i64) -> ArrayRef {
        Arc::new(Int64Array::from(vec![value]))
    }

    #[test]
    fn columns_of_one_name_are_told_apart() {
        for (names, expected) in [
            (vec!["sum", "sum"], vec!["sum", "sum_2"]),
            (vec!["a", "a", "b", "a"], vec!["a", "a_2", "b", "a_3"]),
            (vec!["a", "a", "a_2"], vec!["a", "a_3", "a_2"]),
            (
                vec!["a_2", "a", "a", "a_2"],
                vec!["a_2", "a", "a_3", "a_2_2"],
            ),
            (vec!["", "", "A", "a"], vec!["", "_2", "A", "a"]),
        ] {
            let columns = names
                .iter()
                .enumerate()
                .map(|(at, name)| (*name, number(i64::try_from(at).unwrap())));
            let text = JsonRowEncoder::default()
                .encode(&batch(columns.collect()))
                .unwrap();
            let pairs = expected
                .iter()
                .enumerate()
                .map(|(at, name)| format!("\"{name}\": {at}"));
            assert_eq!(
                text,
                format!("[\n  {{{}}}", pairs.collect::<Vec<_>>().join(", ")),
                "{names:?}"
            );
        }
    }

    #[test]
    fn a_null_is_null_whatever_its_type() {
        let words: DictionaryArray<Int32Type> = vec![None, Some("x")].into_iter().collect();
        let lists = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(
            vec![None, Some(vec![Some(1), None])],
        );
        let nulls = batch(vec![
            ("untyped", Arc::new(NullArray::new(2))),
            ("word", Arc::new(words)),
            ("list", Arc::new(lists)),
            ("text", Arc::new(StringArray::from(vec![None, Some("")]))),
        ]);
        assert_eq!(
            JsonRowEncoder::default().encode(&nulls).unwrap(),
            "[\n  {\"untyped\": null, \"word\": null, \"list\": null, \"text\": null},\n  \
             {\"untyped\": null, \"word\": \"x\", \"list\": [1, null], \"text\": \"\"}"
        );
        assert_eq!(value(&NullArray::new(1), 0).unwrap(), "null");
    }

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
            (
                "at",
                Arc::new(TimestampMicrosecondArray::from(vec![0, 1_500_000]).with_timezone("UTC"))
                    as _,
            ),
        ])
        .unwrap();
        let mut rows = JsonRowEncoder::default();
        assert_eq!(
            format!(
                "{}{}{}",
                rows.encode(&batch.slice(0, 1)).unwrap(),
                rows.encode(&batch.slice(1, 1)).unwrap(),
                rows.finish()
            ),
            "[\n  {\"amount\": 1234567890123.4567, \"n\": 1, \"t\": \"a \\\"b\\\"\", \"at\": \"1970-01-01T00:00:00Z\"},\n  \
             {\"amount\": null, \"n\": 2, \"t\": \"é\", \"at\": \"1970-01-01T00:00:01.500Z\"}\n]\n"
        );
        assert_eq!(JsonRowEncoder::default().finish(), "[]\n");
    }
}
