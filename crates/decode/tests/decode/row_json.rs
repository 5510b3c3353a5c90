//! Rows of a batch as JSON text, written by the tests' own rules.
//!
//! Invariant: one text a value: fields in the schema's order, nulls left out, decimals with all digits of their scale, instants in UTC
//! with six digits.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Fields, Int64Type, TimestampMicrosecondType,
};
use tillhouse_model::ExactDecimal;

pub(crate) fn rows(batch: &RecordBatch) -> Vec<String> {
    (0..batch.num_rows())
        .map(|row| {
            let mut out = String::new();
            object(batch.schema().fields(), batch.columns(), row, &mut out);
            out
        })
        .collect()
}

fn object(fields: &Fields, columns: &[arrow::array::ArrayRef], row: usize, out: &mut String) {
    out.push('{');
    let start = out.len();
    for (field, column) in fields.iter().zip(columns) {
        if column.is_valid(row) {
            if out.len() > start {
                out.push(',');
            }
            out.push_str(&serde_json::to_string(field.name()).unwrap());
            out.push(':');
            value(column, row, out);
        }
    }
    out.push('}');
}

fn value(column: &dyn Array, row: usize, out: &mut String) {
    match column.data_type() {
        _ if column.is_null(row) => out.push_str("null"),
        DataType::Utf8 => {
            out.push_str(&serde_json::to_string(column.as_string::<i32>().value(row)).unwrap())
        }
        DataType::Boolean => out.push_str(&column.as_boolean().value(row).to_string()),
        DataType::Int64 => out.push_str(&column.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::Decimal128(_, scale) => {
            let units = column.as_primitive::<Decimal128Type>().value(row);
            out.push_str(&ExactDecimal::new(units, u8::try_from(*scale).unwrap()).to_string());
        }
        DataType::Timestamp(_, zone) => {
            assert_eq!(zone.as_deref(), Some("UTC"));
            out.push_str(&format!(
                "{:?}",
                instant(column.as_primitive::<TimestampMicrosecondType>().value(row))
            ));
        }
        DataType::Date32 => out.push_str(&format!(
            "{:?}",
            date(column.as_primitive::<Date32Type>().value(row))
        )),
        DataType::Struct(fields) => object(fields, column.as_struct().columns(), row, out),
        DataType::List(_) => {
            let elements = column.as_list::<i32>().value(row);
            out.push('[');
            for at in 0..elements.len() {
                if at > 0 {
                    out.push(',');
                }
                value(&elements, at, out);
            }
            out.push(']');
        }
        other => panic!("no column is a {other}"),
    }
}

pub(crate) fn instant(micros: i64) -> String {
    format!("{:.6}", jiff::Timestamp::from_microsecond(micros).unwrap())
}

pub(crate) fn date(days: i32) -> String {
    use jiff::ToSpan as _;
    (jiff::civil::Date::constant(1970, 1, 1) + days.days()).to_string()
}
