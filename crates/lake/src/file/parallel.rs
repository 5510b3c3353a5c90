//! Encodes a data file whose rows are all in memory: column by column, two columns at a time.
//!
//! Invariant: the file is what [`crate::file::encoder::DataFileEncoder`] makes of the same rows, but for where its row groups end.

use crate::file::encoder::{REFUSED, ROW_GROUP_ROWS};
use crate::file::layout::TableLayout;
use crate::log::stats::StatsCollector;
use crate::store::footer;
use arrow::record_batch::RecordBatch;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_parquet_columns::{ParallelRowGroup, append_row_group};

/// Threads that encode one file.
const THREADS: usize = 2;

/// An encoded data file.
pub(crate) struct EncodedFile {
    pub(crate) bytes: Vec<u8>,
    pub(crate) collector: StatsCollector,
}

/// Encodes rows of the layout's file schema.
pub(crate) async fn encode(
    layout: Arc<TableLayout>,
    rows: Vec<RecordBatch>,
) -> Result<EncodedFile> {
    let mut collector = StatsCollector::new(&layout.file_schema, &layout.definition.stat_columns);
    rows.iter().for_each(|batch| collector.add(batch));
    let mut file = layout.writer()?;
    for group in row_groups(rows) {
        let row_group = ParallelRowGroup::new(layout.columns()?, group)
            .or_error(ErrorKind::Internal, REFUSED)?;
        let row_group = Arc::new(row_group);
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let row_group = row_group.clone();
                tokio::task::spawn_blocking(move || row_group.encode())
            })
            .collect();
        for thread in threads {
            let encoded = thread.await.or_error(ErrorKind::Internal, INTERRUPTED)?;
            encoded.or_error(ErrorKind::Internal, REFUSED)?;
        }
        let row_group = Arc::into_inner(row_group).ok_or_else(|| Error::internal(INTERRUPTED))?;
        let chunks = row_group.close().or_error(ErrorKind::Internal, REFUSED)?;
        append_row_group(&mut file, chunks).or_error(ErrorKind::Internal, REFUSED)?;
    }
    let mut bytes = file.into_inner().or_error(ErrorKind::Internal, REFUSED)?;
    footer::seal(&mut bytes);
    Ok(EncodedFile { bytes, collector })
}

const INTERRUPTED: &str = "encoding a data file was interrupted";

/// Batches, in lists that make a row group each.
fn row_groups(rows: Vec<RecordBatch>) -> Vec<Vec<RecordBatch>> {
    let mut groups: Vec<Vec<RecordBatch>> = Vec::new();
    let mut held = 0;
    for batch in rows {
        if groups.is_empty() || held + batch.num_rows() > ROW_GROUP_ROWS {
            groups.push(Vec::new());
            held = 0;
        }
        held += batch.num_rows();
        if let Some(group) = groups.last_mut() {
            group.push(batch);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, AsArray, Decimal128Array, Int64Array, ListArray, StringArray, StructArray,
    };
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{DataType, Field, Fields, Schema};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn schema() -> Arc<Schema> {
        let parts = Fields::from(vec![
            Field::new("name", DataType::Utf8, true),
            Field::new("amount", DataType::Decimal128(18, 4), true),
        ]);
        let element = Field::new("element", DataType::Struct(parts.clone()), true);
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("lines", DataType::List(Arc::new(element)), true),
            Field::new("one", DataType::Struct(parts), true),
            Field::new("month", DataType::Utf8, false),
            Field::new("n", DataType::Int64, true),
        ]))
    }

    /// Rows with none, one or two lines, and nulls at every level.
    fn rows(from: i64, count: i64) -> RecordBatch {
        let schema = schema();
        let DataType::List(element) = schema.field(1).data_type() else {
            panic!("a list")
        };
        let DataType::Struct(fields) = element.data_type() else {
            panic!("a struct")
        };
        let parts = |of: &mut dyn Iterator<Item = i64>| {
            let numbers: Vec<i64> = of.collect();
            let names = numbers
                .iter()
                .map(|n| (n % 7 > 0).then(|| format!("part {}", n % 40)));
            let amounts = numbers
                .iter()
                .map(|n| (n % 11 > 0).then_some(i128::from(*n) * 10_001));
            let amounts = amounts
                .collect::<Decimal128Array>()
                .with_data_type(DataType::Decimal128(18, 4));
            let nulls = numbers.iter().map(|n| n % 13 > 0).collect::<NullBuffer>();
            let arrays: Vec<ArrayRef> =
                vec![Arc::new(names.collect::<StringArray>()), Arc::new(amounts)];
            StructArray::new(fields.clone(), arrays, Some(nulls))
        };
        let all = || from..from + count;
        let lengths = OffsetBuffer::from_lengths(all().map(|n| usize::try_from(n % 3).unwrap()));
        let lines = parts(&mut all().flat_map(|n| (0..n % 3).map(move |line| 3 * n + line)));
        let lists = all().map(|n| n % 5 > 0).collect::<NullBuffer>();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(
                all().map(|n| format!("id {n}")),
            )),
            Arc::new(ListArray::new(
                element.clone(),
                lengths,
                Arc::new(lines),
                Some(lists),
            )),
            Arc::new(parts(&mut all())),
            Arc::new(StringArray::from_iter_values(all().map(|_| "2026-01"))),
            Arc::new(
                all()
                    .map(|n| (n % 4 > 0).then_some(n))
                    .collect::<Int64Array>(),
            ),
        ];
        RecordBatch::try_new(schema, columns).unwrap()
    }

    #[tokio::test]
    async fn what_was_encoded_is_read_whatever_its_nesting_and_in_its_order() {
        let layout = Arc::new(
            TableLayout::new(schema(), &["id".to_owned()], vec!["month".to_owned()]).unwrap(),
        );
        assert_eq!(layout.leaves, [1, 2, 2, 1]);
        let in_file = |batch: RecordBatch| batch.project(&layout.projection).unwrap();
        let batches: Vec<RecordBatch> =
            [(0, 40_000), (40_000, 25_000), (65_000, 1_000), (66_000, 3)]
                .map(|(from, count)| in_file(rows(from, count)))
                .into();
        let encoded = encode(layout.clone(), batches.clone()).await.unwrap();
        assert_eq!(encoded.collector.rows(), 66_003);
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(encoded.bytes)).unwrap();
        let groups: Vec<i64> = reader
            .metadata()
            .row_groups()
            .iter()
            .map(|group| group.num_rows())
            .collect();
        assert_eq!(
            groups,
            [65_000, 1_003],
            "a row group ends where the next batch would be too much"
        );
        let read: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        let (read, written) = (
            concat_batches(&read[0].schema(), &read).unwrap(),
            concat_batches(&layout.file_schema, &batches).unwrap(),
        );
        assert_eq!(read.column(0).as_string::<i32>().value(66_002), "id 66002");
        assert_eq!(read.columns(), written.columns());
    }

    #[test]
    fn a_type_that_no_contract_has_is_refused() {
        let schema = Arc::new(Schema::new(vec![Field::new(
            "price",
            DataType::Float64,
            true,
        )]));
        let error = TableLayout::new(schema, &[], Vec::new()).unwrap_err();
        assert!(error.to_string().contains("not written"), "{error}");
    }
}
