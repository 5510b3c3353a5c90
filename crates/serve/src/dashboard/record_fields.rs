//! Fields of a record as texts, each under its path: `articles[0].name`.
//!
//! Invariant: a field that has a value is there once, in the order of its columns, with all its digits; one that is null is not there.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tillhouse_page::dashboard::RecordField;

/// The fields of a row.
pub(super) fn fields_of(batch: &RecordBatch, row: usize) -> Result<Vec<RecordField>, ArrowError> {
    let mut fields = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        add(&mut fields, field.name(), column, row)?;
    }
    Ok(fields)
}

/// Adds what a value has inside, or the value.
fn add(
    fields: &mut Vec<RecordField>,
    path: &str,
    values: &ArrayRef,
    row: usize,
) -> Result<(), ArrowError> {
    if values.is_null(row) {
        return Ok(());
    }
    match values.data_type() {
        DataType::Struct(inside) => {
            for (field, column) in inside.iter().zip(values.as_struct().columns()) {
                add(fields, &format!("{path}.{}", field.name()), column, row)?;
            }
        }
        DataType::List(_) => add_items(fields, path, &values.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => add_items(fields, path, &values.as_list::<i64>().value(row))?,
        _ => {
            let formatter = ArrayFormatter::try_new(values.as_ref(), &FormatOptions::default())?;
            let value = formatter.value(row).try_to_string()?;
            fields.push((path.to_owned(), value));
        }
    }
    Ok(())
}

fn add_items(
    fields: &mut Vec<RecordField>,
    path: &str,
    items: &ArrayRef,
) -> Result<(), ArrowError> {
    (0..items.len()).try_for_each(|at| add(fields, &format!("{path}[{at}]"), items, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Decimal128Array, Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;
    use std::sync::Arc;

    #[test]
    fn what_is_inside_of_a_record_has_its_path_and_its_digits() {
        let prices = Decimal128Array::from(vec![Some(123_456_789_012_345_678), None]);
        let prices: ArrayRef = Arc::new(prices.with_precision_and_scale(18, 4).unwrap());
        let names: ArrayRef = Arc::new(StringArray::from(vec!["Tea", "Cake"]));
        let item =
            |name: &str, of: &ArrayRef| Arc::new(Field::new(name, of.data_type().clone(), true));
        let articles = StructArray::from(vec![
            (item("name", &names), Arc::clone(&names)),
            (item("price", &prices), Arc::clone(&prices)),
        ]);
        let articles: ArrayRef = Arc::new(articles);
        let list = ListArray::new(
            item("item", &articles),
            OffsetBuffer::from_lengths([2, 0]),
            articles,
            None,
        );
        let times = TimestampMicrosecondArray::from(vec![Some(1_767_607_200_000_000), None]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(vec![7, 8]))),
            ("articles", Arc::new(list)),
            ("made_at", Arc::new(times.with_timezone("UTC"))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let text = |row: usize| -> Vec<String> {
            let fields = fields_of(&batch, row).unwrap().into_iter();
            fields
                .map(|(path, value)| format!("{path}={value}"))
                .collect()
        };
        assert_eq!(
            text(0),
            [
                "id=7",
                "articles[0].name=Tea",
                "articles[0].price=12345678901234.5678",
                "articles[1].name=Cake",
                "made_at=2026-01-05T10:00:00Z",
            ]
        );
        assert_eq!(text(1), ["id=8"]);
    }
}
