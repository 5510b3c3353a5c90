//! Encodes a data file whose rows are all in memory: column by column, two columns at a time.
//!
//! Invariant: the file is what [`crate::datafile::Encoder`] makes of the same rows, but for where its row groups end.
//!
//! A contract has a hundred columns and more. Row by row, each of them holds a page and a dictionary while the others
//! have their turn, and all of that leaves the processor's cache before it is needed again; here it is two columns' worth.

use crate::chunk::{Column, Encoded as Chunk};
use crate::datafile::{Layout, ROW_GROUP_ROWS};
use crate::footer;
use crate::row_group::{self, Part};
use crate::stats::Collector;
use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_model::{ErrorKind, Result, ResultExt};

/// Threads that encode one file.
const THREADS: usize = 2;

/// An encoded file.
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) collector: Collector,
}

/// A column of a row group that waits for its turn.
struct Job {
    at: usize,
    column: Column,
    bytes: usize,
}

/// Encodes rows of the layout's file schema.
pub(crate) async fn encode(layout: Arc<Layout>, rows: Vec<RecordBatch>) -> Result<Encoded> {
    let mut collector = Collector::new(&layout.file_schema, &layout.stat_columns);
    rows.iter().for_each(|batch| collector.add(batch));
    let mut file = layout.writer()?;
    for group in row_groups(rows) {
        let columns = layout.columns()?;
        let arrays: Vec<&[ArrayRef]> = group.iter().map(RecordBatch::columns).collect();
        let twins = row_group::twins(&columns, &arrays);
        let bytes = |at: usize| arrays.iter().map(|arrays| arrays[at].get_array_memory_size()).sum();
        let mut parts: Vec<Part> = columns.into_iter().map(Part::Twin).collect();
        let mut jobs = Vec::new();
        for (at, _) in twins.iter().enumerate().filter(|(_, twin)| twin.is_none()) {
            if let Part::Twin(column) = std::mem::replace(&mut parts[at], Part::Own(Vec::new())) {
                jobs.push(Job { at, column, bytes: bytes(at) });
            }
        }
        // The largest comes first, so that both threads end at about the same time.
        jobs.sort_by_key(|job| job.bytes);
        let (jobs, group) = (Arc::new(Mutex::new(jobs)), Arc::new(group));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (jobs, group) = (jobs.clone(), group.clone());
                tokio::task::spawn_blocking(move || work(&jobs, &group))
            })
            .collect();
        for thread in threads {
            for (at, encoded) in
                thread.await.or_error(ErrorKind::Internal, "encoding a data file was interrupted")??
            {
                parts[at] = Part::Own(encoded);
            }
        }
        row_group::append(&mut file, row_group::together(parts, &twins)?).or_error(ErrorKind::Internal, REFUSED)?;
    }
    let mut bytes = file.into_inner().or_error(ErrorKind::Internal, REFUSED)?;
    footer::seal(&mut bytes);
    Ok(Encoded { bytes, collector })
}

const REFUSED: &str = "rows could not be encoded";

/// Takes columns until none is left; the chunks of each, with its place.
fn work(jobs: &Mutex<Vec<Job>>, group: &[RecordBatch]) -> Result<Vec<(usize, Vec<Chunk>)>> {
    let mut done = Vec::new();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(Job { at, mut column, .. }) = job else { return Ok(done) };
        group.iter().try_for_each(|batch| column.write(batch.column(at)))?;
        done.push((at, column.close()?));
    }
}

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
    use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int64Array, ListArray, StringArray, StructArray};
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
        let DataType::List(element) = schema.field(1).data_type() else { panic!("a list") };
        let DataType::Struct(fields) = element.data_type() else { panic!("a struct") };
        let parts = |of: &mut dyn Iterator<Item = i64>| {
            let numbers: Vec<i64> = of.collect();
            let names = numbers.iter().map(|n| (n % 7 > 0).then(|| format!("part {}", n % 40)));
            let amounts = numbers.iter().map(|n| (n % 11 > 0).then_some(i128::from(*n) * 10_001));
            let amounts = amounts.collect::<Decimal128Array>().with_data_type(DataType::Decimal128(18, 4));
            let nulls = numbers.iter().map(|n| n % 13 > 0).collect::<NullBuffer>();
            let arrays: Vec<ArrayRef> = vec![Arc::new(names.collect::<StringArray>()), Arc::new(amounts)];
            StructArray::new(fields.clone(), arrays, Some(nulls))
        };
        let all = || from..from + count;
        let lengths = OffsetBuffer::from_lengths(all().map(|n| usize::try_from(n % 3).unwrap()));
        let lines = parts(&mut all().flat_map(|n| (0..n % 3).map(move |line| 3 * n + line)));
        let lists = all().map(|n| n % 5 > 0).collect::<NullBuffer>();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(all().map(|n| format!("id {n}")))),
            Arc::new(ListArray::new(element.clone(), lengths, Arc::new(lines), Some(lists))),
            Arc::new(parts(&mut all())),
            Arc::new(StringArray::from_iter_values(all().map(|_| "2026-01"))),
            Arc::new(all().map(|n| (n % 4 > 0).then_some(n)).collect::<Int64Array>()),
        ];
        RecordBatch::try_new(schema, columns).unwrap()
    }

    #[tokio::test]
    async fn what_was_encoded_is_read_whatever_its_nesting_and_in_its_order() {
        let layout = Arc::new(Layout::new(schema(), &["id".to_owned()], vec!["month".to_owned()]).unwrap());
        assert_eq!(layout.leaves, [1, 2, 2, 1]);
        let in_file = |batch: RecordBatch| batch.project(&layout.projection).unwrap();
        let batches: Vec<RecordBatch> = [(0, 40_000), (40_000, 25_000), (65_000, 1_000), (66_000, 3)]
            .map(|(from, count)| in_file(rows(from, count)))
            .into();
        let encoded = encode(layout.clone(), batches.clone()).await.unwrap();
        assert_eq!(encoded.collector.rows(), 66_003);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(encoded.bytes)).unwrap();
        let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [65_000, 1_003], "a row group ends where the next batch would be too much");
        let read: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        let (read, written) =
            (concat_batches(&read[0].schema(), &read).unwrap(), concat_batches(&layout.file_schema, &batches).unwrap());
        assert_eq!(read.column(0).as_string::<i32>().value(66_002), "id 66002");
        assert_eq!(read.columns(), written.columns());
    }
}
