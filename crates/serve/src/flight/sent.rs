//! Columns and batches as drivers read them: plain types, every column nullable, messages that every client takes.
//!
//! Invariant: what is told of an answer's columns beforehand is what its batches have, to the type. No value is changed: dictionaries and views become the texts that they
//! stand for, decimals keep every digit and instants their zone. A message is larger than the limit only where one row is.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use std::sync::Arc;

/// Bytes of the values of a message, at most: gRPC's limit is 4 MiB where nothing else is said, with what stands around them.
const MESSAGE: usize = 2 << 20;

/// Columns as they are sent. Notes of the engine are left out.
pub(super) fn sent_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| Field::new(field.name(), sent_type(field.data_type()), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Type in which values are sent: not every driver reads dictionaries, runs and views.
pub(super) fn sent_type(of: &DataType) -> DataType {
    match of {
        DataType::Dictionary(_, values) => sent_type(values),
        DataType::RunEndEncoded(_, values) => sent_type(values.data_type()),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(sent_field(item)),
        DataType::LargeList(item) => DataType::LargeList(sent_field(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(sent_field(item), *length),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(sent_field).collect::<Fields>())
        }
        DataType::Map(entries, is_sorted) => DataType::Map(sent_field(entries), *is_sorted),
        other => other.clone(),
    }
}

fn sent_field(field: &FieldRef) -> FieldRef {
    let of = sent_type(field.data_type());
    Arc::new(Field::new(field.name(), of, field.is_nullable()))
}

/// A batch in the columns that are sent.
pub(super) fn sent_batch(
    batch: &RecordBatch,
    columns: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    // What does not fit is an error and no null.
    let exact = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let fields = columns.fields().iter();
    let cast = fields.zip(batch.columns()).map(|(field, column)| {
        match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast_with_options(column, field.data_type(), &exact),
        }
    });
    let cast: Vec<ArrayRef> = cast.collect::<Result<_, ArrowError>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(columns), cast, &rows)
}

/// A batch in pieces that are messages; none of one without rows.
pub(super) fn messages(batch: RecordBatch) -> Vec<RecordBatch> {
    let mut pieces = Vec::new();
    // The first is on top.
    let mut left = vec![batch];
    while let Some(piece) = left.pop() {
        let rows = piece.num_rows();
        if rows > 1 && batch_bytes(&piece) > MESSAGE {
            let half = rows / 2;
            left.push(piece.slice(half, rows - half));
            left.push(piece.slice(0, half));
        } else if rows > 0 {
            pieces.push(piece);
        }
    }
    pieces
}

/// Bytes of the values of a batch.
pub(super) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(column_bytes).sum()
}

/// Bytes of the values of a column. A slice of a list is measured by its own items: the library counts all that the whole has.
fn column_bytes(column: &ArrayRef) -> usize {
    let places = column.len() * size_of::<u64>();
    match column.data_type() {
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let ends = (list.value_offsets().first(), list.value_offsets().last());
            places + items(list.values(), ends)
        }
        DataType::Map(..) => {
            let map = column.as_map();
            let ends = (map.value_offsets().first(), map.value_offsets().last());
            let entries: ArrayRef = Arc::new(map.entries().clone());
            places + items(&entries, ends)
        }
        DataType::Struct(_) => {
            let columns = column.as_struct().columns();
            places + columns.iter().map(column_bytes).sum::<usize>()
        }
        _ => {
            let data = column.to_data();
            data.get_slice_memory_size()
                .unwrap_or_else(|_| column.get_array_memory_size())
        }
    }
}

/// Bytes of the items of lists, between the first and the last.
fn items(values: &ArrayRef, ends: (Option<&i32>, Option<&i32>)) -> usize {
    let place = |end: Option<&i32>| end.and_then(|end| usize::try_from(*end).ok());
    match (place(ends.0), place(ends.1)) {
        (Some(first), Some(last)) => column_bytes(&values.slice(first, last.saturating_sub(first))),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Decimal128Array, DictionaryArray, Int32Array, ListBuilder, StringArray, StringBuilder,
        StringViewArray, TimestampMicrosecondArray,
    };
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Int32Type, TimeUnit};

    fn sent(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        sent_batch(&batch, &sent_schema(&batch.schema())).unwrap()
    }

    #[test]
    fn values_come_as_they_are_in_types_that_every_driver_reads() {
        let words: DictionaryArray<Int32Type> =
            vec![Some("a"), None, Some("a")].into_iter().collect();
        let views = StringViewArray::from(vec![
            Some("x"),
            Some("a text that is longer than a view"),
            None,
        ]);
        let amounts = Decimal128Array::from(vec![i128::MAX / 2, -5, 0]);
        let amounts = amounts.with_precision_and_scale(38, 18).unwrap();
        let instants =
            TimestampMicrosecondArray::from(vec![0, 1, i64::MAX]).with_timezone("Europe/Berlin");
        let batch = sent(vec![
            ("words", Arc::new(words) as ArrayRef),
            ("views", Arc::new(views)),
            ("amounts", Arc::new(amounts.clone())),
            ("instants", Arc::new(instants.clone())),
        ]);
        let zone = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into()));
        let types = [
            DataType::Utf8,
            DataType::Utf8,
            DataType::Decimal128(38, 18),
            zone,
        ];
        for (field, wanted) in batch.schema().fields().iter().zip(types) {
            assert_eq!(field.data_type(), &wanted);
            assert!(field.is_nullable());
        }
        let words: Vec<_> = batch.column(0).as_string::<i32>().iter().collect();
        assert_eq!(words, [Some("a"), None, Some("a")]);
        assert!(
            batch
                .column(1)
                .as_string::<i32>()
                .value(1)
                .ends_with("a view")
        );
        assert_eq!(batch.column(2).as_ref(), &amounts as &dyn Array);
        assert_eq!(batch.column(3).as_ref(), &instants as &dyn Array);
    }

    #[test]
    fn what_is_within_lists_is_plain_too() {
        let item = Arc::new(Field::new_list_field(DataType::Utf8View, true));
        let of = sent_type(&DataType::List(item));
        assert_eq!(of, DataType::new_list(DataType::Utf8, true));
    }

    #[test]
    fn no_message_is_larger_than_its_limit_but_for_one_row() {
        let short = "x".repeat(1_000);
        let long = "y".repeat(3 * MESSAGE);
        let texts = (0..5_000).map(|row| match row {
            77 => long.as_str(),
            _ => short.as_str(),
        });
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..5_000));
        let mut lists = ListBuilder::new(StringBuilder::new());
        for _ in 0..5_000 {
            lists.append_value([Some("z".repeat(400)), None]);
        }
        let lists: ArrayRef = Arc::new(lists.finish());
        let batch = sent(vec![
            ("texts", texts),
            ("numbers", numbers),
            ("lists", lists),
        ]);
        let pieces = messages(batch.clone());
        assert!((4..40).contains(&pieces.len()), "{}", pieces.len());
        for piece in &pieces {
            assert!(batch_bytes(piece) <= MESSAGE || piece.num_rows() == 1);
        }
        assert_eq!(concat_batches(&batch.schema(), &pieces).unwrap(), batch);
        assert!(messages(batch.slice(0, 0)).is_empty());
    }
}
