//! Schemas and rows for tests, at random, and files of them.
//!
//! Invariant: the same seed gives the same rows.

use crate::row_group::append_row_group;
use crate::{ColumnEncoder, ParallelRowGroup, RowGroupEncoder, compression};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::LogicalType;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use std::sync::Arc;

/// Pseudo-random numbers, the same for the same seed.
pub(crate) struct TestRng(pub(crate) u64);

impl TestRng {
    pub(crate) fn below(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn nulls(&mut self, count: usize, nullable: bool) -> Option<NullBuffer> {
        // A column without any, one with hardly any, one with hardly a value.
        let share = [0, 1, 50, 99][usize::try_from(self.below(4)).unwrap()];
        (nullable && share > 0).then(|| (0..count).map(|_| self.below(100) >= share).collect())
    }
}

/// All types that are written, within structs and lists and beside them.
pub(crate) fn every_type() -> Arc<Schema> {
    let leaves = |nullable: bool| {
        vec![
            Field::new("text", DataType::Utf8, nullable),
            Field::new("hash", DataType::Binary, nullable),
            Field::new("flag", DataType::Boolean, nullable),
            Field::new("number", DataType::Int64, nullable),
            Field::new("day", DataType::Date32, nullable),
            Field::new(
                "time",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                nullable,
            ),
            Field::new("small", DataType::Decimal128(9, 4), nullable),
            Field::new("amount", DataType::Decimal128(18, 4), nullable),
            Field::new("exact", DataType::Decimal128(20, 17), nullable),
        ]
    };
    let list = |name: &str, fields: Vec<Field>, nullable: bool| {
        let element = Field::new("element", DataType::Struct(Fields::from(fields)), nullable);
        Field::new(name, DataType::List(Arc::new(element)), nullable)
    };
    let mut inner = leaves(true);
    inner.push(list("log", leaves(false), true));
    inner.push(Field::new(
        "names",
        DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))),
        false,
    ));
    let mut fields = leaves(true);
    fields.extend(
        leaves(false)
            .into_iter()
            .map(|f| f.clone().with_name(format!("required_{}", f.name()))),
    );
    fields.push(Field::new(
        "one",
        DataType::Struct(Fields::from(inner.clone())),
        true,
    ));
    fields.push(list("lines", inner, true));
    fields.push(list("required_lines", leaves(true), false));
    Arc::new(Schema::new(fields))
}

fn array(field: &Field, count: usize, rng: &mut TestRng) -> ArrayRef {
    let nulls = rng.nulls(count, field.is_nullable());
    // One value, a few, and so many that a dictionary is no use or too large.
    let different = [1, 3, 300, 1 << 30][usize::try_from(rng.below(4)).unwrap()];
    let mut numbers = |largest: i64| -> Vec<i64> {
        let shift = i64::try_from(rng.below(u64::try_from(largest).unwrap())).unwrap();
        (0..count)
            .map(|_| (i64::try_from(rng.below(different)).unwrap() - shift) % largest)
            .collect()
    };
    match field.data_type() {
        DataType::Utf8 => {
            let texts = numbers(1 << 40).into_iter().map(|n| {
                if n % 5 == 0 {
                    String::new()
                } else {
                    format!("größe {n}")
                }
            });
            let texts: Vec<String> = texts.collect();
            let (offsets, values, _) = StringArray::from_iter_values(texts).into_parts();
            Arc::new(StringArray::new(offsets, values, nulls))
        }
        DataType::Binary => {
            let bytes: Vec<[u8; 8]> = numbers(1 << 40).into_iter().map(i64::to_le_bytes).collect();
            let (offsets, values, _) = BinaryArray::from_iter_values(bytes).into_parts();
            Arc::new(BinaryArray::new(offsets, values, nulls))
        }
        DataType::Boolean => {
            let flags = numbers(1 << 40).into_iter().map(|n| n % 2 == 0).collect();
            Arc::new(BooleanArray::new(flags, nulls))
        }
        DataType::Int64 => Arc::new(Int64Array::new(numbers(i64::MAX).into(), nulls)),
        DataType::Date32 => {
            let days = numbers(1 << 30)
                .into_iter()
                .map(|n| i32::try_from(n).unwrap());
            Arc::new(Date32Array::new(days.collect(), nulls))
        }
        DataType::Timestamp(_, zone) => Arc::new(
            TimestampMicrosecondArray::new(numbers(1 << 50).into(), nulls)
                .with_timezone_opt(zone.clone()),
        ),
        DataType::Decimal128(precision, scale) => {
            let largest = 10_i64.pow(u32::from(*precision).min(18)) - 1;
            let factor = if *precision > 18 { 100 } else { 1 };
            let decimals = numbers(largest).into_iter().map(|n| i128::from(n) * factor);
            let decimals = Decimal128Array::new(decimals.collect(), nulls);
            Arc::new(
                decimals
                    .with_precision_and_scale(*precision, *scale)
                    .unwrap(),
            )
        }
        DataType::Struct(fields) => {
            let arrays = fields
                .iter()
                .map(|field| array(field, count, rng))
                .collect();
            Arc::new(StructArray::new(fields.clone(), arrays, nulls))
        }
        DataType::List(element) => {
            // A list that is not there may have elements that nobody sees.
            let longest = 1 + rng.below(5);
            let lengths: Vec<usize> = (0..count)
                .map(|_| usize::try_from(rng.below(longest)).unwrap())
                .collect();
            let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
            let elements = array(element, lengths.iter().sum(), rng);
            Arc::new(ListArray::new(element.clone(), offsets, elements, nulls))
        }
        other => panic!("{other} is not written"),
    }
}

pub(crate) fn batch(schema: &Arc<Schema>, count: usize, rng: &mut TestRng) -> RecordBatch {
    let columns = schema
        .fields()
        .iter()
        .map(|field| array(field, count, rng))
        .collect();
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

/// A schema of a few columns, each nested up to three times over, every level required or not.
pub(crate) fn nested(rng: &mut TestRng) -> Arc<Schema> {
    let fields = (0..1 + rng.below(4))
        .map(|n| nested_field(format!("f{n}"), 3, rng))
        .collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
}

fn nested_field(name: String, deepest: u64, rng: &mut TestRng) -> Field {
    let nullable = rng.below(2) == 0;
    let data_type = match rng.below(if deepest > 0 { 4 } else { 2 }) {
        2 => DataType::List(Arc::new(nested_field(
            "element".to_owned(),
            deepest - 1,
            rng,
        ))),
        3 => {
            let fields =
                (0..1 + rng.below(3)).map(|n| nested_field(format!("s{n}"), deepest - 1, rng));
            DataType::Struct(fields.collect())
        }
        _ => {
            let leaves = every_type();
            leaves
                .field(usize::try_from(rng.below(9)).unwrap())
                .data_type()
                .clone()
        }
    };
    Field::new(name, data_type, nullable)
}

/// Rows that a file is written from: a list of batches for each row group. Batches are slices, so that nothing begins where its buffers do.
pub(crate) fn row_groups(
    schema: &Arc<Schema>,
    groups: &[Vec<usize>],
    from: usize,
    rng: &mut TestRng,
) -> Vec<Vec<RecordBatch>> {
    let mut sliced = |rows: usize| batch(schema, rows + from, rng).slice(from, rows);
    groups
        .iter()
        .map(|group| group.iter().map(|rows| sliced(*rows)).collect())
        .collect()
}

/// A file's schema, with the properties its columns are written by.
pub(crate) struct FileSchema {
    arrow: Arc<Schema>,
    parquet: SchemaDescriptor,
    properties: WriterPropertiesPtr,
}

impl FileSchema {
    /// As tables have it: no bounds of texts, no dictionaries of times.
    pub(crate) fn new(arrow: Arc<Schema>) -> Self {
        let parquet = ArrowSchemaConverter::new().convert(&arrow).unwrap();
        let mut properties =
            WriterProperties::builder().set_statistics_enabled(EnabledStatistics::Chunk);
        for leaf in parquet.columns() {
            match leaf.logical_type_ref() {
                Some(LogicalType::String) => {
                    properties = properties.set_column_statistics_enabled(
                        leaf.path().clone(),
                        EnabledStatistics::None,
                    );
                }
                Some(LogicalType::Timestamp { .. }) => {
                    properties =
                        properties.set_column_dictionary_enabled(leaf.path().clone(), false);
                }
                _ => {}
            }
        }
        Self {
            arrow,
            parquet,
            properties: Arc::new(properties.set_compression(compression()).build()),
        }
    }

    /// Bounds and dictionaries of all leaves.
    pub(crate) fn with_all_statistics(arrow: Arc<Schema>) -> Self {
        let parquet = ArrowSchemaConverter::new().convert(&arrow).unwrap();
        let properties =
            WriterProperties::builder().set_statistics_enabled(EnabledStatistics::Chunk);
        Self {
            arrow,
            parquet,
            properties: Arc::new(properties.set_compression(compression()).build()),
        }
    }

    /// An encoder for each column.
    pub(crate) fn encoders<E: ColumnEncoder>(&self) -> Vec<E> {
        let mut from = 0;
        let encoders = self.arrow.fields().iter().enumerate().map(|(at, field)| {
            let is_inside = |leaf: &usize| self.parquet.get_column_root_idx(*leaf) == at;
            let leaves: &[ColumnDescPtr] = &self.parquet.columns()[from..];
            let count = (from..from + leaves.len()).take_while(is_inside).count();
            from += count;
            E::try_new(field.clone(), &leaves[..count], &self.properties).unwrap()
        });
        encoders.collect()
    }

    fn writer(&self) -> SerializedFileWriter<Vec<u8>> {
        SerializedFileWriter::new(
            Vec::new(),
            self.parquet.root_schema_ptr(),
            self.properties.clone(),
        )
        .unwrap()
    }

    /// A file of a row group per list of batches, which come one after the other.
    pub(crate) fn file<E: ColumnEncoder>(&self, groups: &[Vec<RecordBatch>]) -> Bytes {
        let mut file = self.writer();
        for group in groups {
            let mut columns = RowGroupEncoder::new(self.encoders::<E>());
            group
                .iter()
                .for_each(|batch| columns.write(batch.columns()).unwrap());
            append_row_group(&mut file, columns.close().unwrap()).unwrap();
        }
        Bytes::from(file.into_inner().unwrap())
    }

    /// As [`Self::file`], by two threads.
    pub(crate) fn file_by_threads<E: ColumnEncoder>(&self, groups: &[Vec<RecordBatch>]) -> Bytes {
        let mut file = self.writer();
        for group in groups {
            let columns = ParallelRowGroup::new(self.encoders::<E>(), group.clone()).unwrap();
            std::thread::scope(|threads| {
                let other = threads.spawn(|| columns.encode());
                columns.encode().unwrap();
                other.join().unwrap().unwrap();
            });
            append_row_group(&mut file, columns.close().unwrap()).unwrap();
        }
        Bytes::from(file.into_inner().unwrap())
    }
}

pub(crate) fn reader(bytes: &Bytes) -> ParquetRecordBatchReaderBuilder<Bytes> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options).unwrap()
}

pub(crate) fn read(
    builder: ParquetRecordBatchReaderBuilder<Bytes>,
    schema: &Arc<Schema>,
) -> RecordBatch {
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    let columns = concat_batches(&batches[0].schema(), &batches)
        .unwrap()
        .columns()
        .to_vec();
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}
