//! Whatever is written into column chunks is read back by Parquet's own reader.

use super::*;
use crate::datafile::Layout;
use crate::row_group::{self, RowGroup};
use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::{Fields, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::basic::Encoding;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::statistics::Statistics;
use proptest::prelude::*;
use std::sync::Arc;

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn nulls(&mut self, count: usize, nullable: bool) -> Option<NullBuffer> {
        // A column without any, one with hardly any, one with hardly a value.
        let share = [0, 1, 50, 99][usize::try_from(self.below(4)).unwrap()];
        (nullable && share > 0).then(|| (0..count).map(|_| self.below(100) >= share).collect())
    }
}

/// All types that are written, at every level of nesting.
fn schema() -> Arc<Schema> {
    let leaves = |nullable: bool| {
        vec![
            Field::new("text", DataType::Utf8, nullable),
            Field::new("hash", DataType::Binary, nullable),
            Field::new("flag", DataType::Boolean, nullable),
            Field::new("number", DataType::Int64, nullable),
            Field::new("day", DataType::Date32, nullable),
            Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), nullable),
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
    inner.push(Field::new("names", DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), false));
    let mut fields = leaves(true);
    fields.extend(leaves(false).into_iter().map(|f| f.clone().with_name(format!("required_{}", f.name()))));
    fields.push(Field::new("one", DataType::Struct(Fields::from(inner.clone())), true));
    fields.push(list("lines", inner, true));
    fields.push(list("required_lines", leaves(true), false));
    Arc::new(Schema::new(fields))
}

fn array(field: &Field, count: usize, dice: &mut Dice) -> ArrayRef {
    let nulls = dice.nulls(count, field.is_nullable());
    // One value, a few, and so many that a dictionary is no use or too large.
    let different = [1, 3, 300, 1 << 30][usize::try_from(dice.below(4)).unwrap()];
    let mut numbers = |largest: i64| -> Vec<i64> {
        let shift = i64::try_from(dice.below(u64::try_from(largest).unwrap())).unwrap();
        (0..count).map(|_| (i64::try_from(dice.below(different)).unwrap() - shift) % largest).collect()
    };
    match field.data_type() {
        DataType::Utf8 => {
            let texts =
                numbers(1 << 40).into_iter().map(|n| if n % 5 == 0 { String::new() } else { format!("größe {n}") });
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
            let days = numbers(1 << 30).into_iter().map(|n| i32::try_from(n).unwrap());
            Arc::new(Date32Array::new(days.collect(), nulls))
        }
        DataType::Timestamp(_, zone) => {
            Arc::new(TimestampMicrosecondArray::new(numbers(1 << 50).into(), nulls).with_timezone_opt(zone.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            let largest = 10_i64.pow(u32::from(*precision).min(18)) - 1;
            let factor = if *precision > 18 { 100 } else { 1 };
            let decimals = numbers(largest).into_iter().map(|n| i128::from(n) * factor);
            let decimals = Decimal128Array::new(decimals.collect(), nulls);
            Arc::new(decimals.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Struct(fields) => {
            let arrays = fields.iter().map(|field| array(field, count, dice)).collect();
            Arc::new(StructArray::new(fields.clone(), arrays, nulls))
        }
        DataType::List(element) => {
            // A list that is not there may have elements that nobody sees.
            let longest = 1 + dice.below(5);
            let lengths: Vec<usize> = (0..count).map(|_| usize::try_from(dice.below(longest)).unwrap()).collect();
            let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
            let elements = array(element, lengths.iter().sum(), dice);
            Arc::new(ListArray::new(element.clone(), offsets, elements, nulls))
        }
        other => panic!("{other} is not written"),
    }
}

fn batch(schema: &Arc<Schema>, count: usize, dice: &mut Dice) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| array(field, count, dice)).collect();
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

/// A file of a row group per list of batches.
fn file(schema: &Arc<Schema>, groups: &[Vec<RecordBatch>]) -> Bytes {
    let layout = Layout::new(schema.clone(), &[], Vec::new()).unwrap();
    let mut file = layout.writer().unwrap();
    for group in groups {
        let mut columns = RowGroup::new(layout.columns().unwrap());
        group.iter().for_each(|batch| columns.write(batch.columns()).unwrap());
        row_group::append(&mut file, columns.close().unwrap()).unwrap();
    }
    Bytes::from(file.into_inner().unwrap())
}

fn reader(bytes: &Bytes) -> ParquetRecordBatchReaderBuilder<Bytes> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options).unwrap()
}

fn read(builder: ParquetRecordBatchReaderBuilder<Bytes>, schema: &Arc<Schema>) -> RecordBatch {
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    let columns = concat_batches(&batches[0].schema(), &batches).unwrap().columns().to_vec();
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_read_as_they_were_written(
        seed in any::<u64>(),
        groups in proptest::collection::vec(proptest::collection::vec(1_usize..5_000, 1..4), 1..3),
        from in 0_usize..500,
    ) {
        let (schema, mut dice) = (schema(), Dice(seed));
        let groups: Vec<Vec<RecordBatch>> = groups
            .iter()
            .map(|group| {
                // Slices, so that nothing begins where its buffers do.
                let mut sliced = |rows: usize| batch(&schema, rows + from, &mut dice).slice(from, rows);
                group.iter().map(|rows| sliced(*rows)).collect()
            })
            .collect();
        let written = concat_batches(&schema, groups.iter().flatten()).unwrap();
        let bytes = file(&schema, &groups);
        let all = read(reader(&bytes), &schema);
        for (field, (read, written)) in schema.fields().iter().zip(all.columns().iter().zip(written.columns())) {
            prop_assert!(read == written, "{} is read otherwise", field.name());
        }
        // The index of pages leads to the same rows.
        let (skipped, wanted) = (written.num_rows() / 2, written.num_rows() / 3 + 1);
        let wanted = wanted.min(written.num_rows() - skipped);
        let selection = RowSelection::from(vec![RowSelector::skip(skipped), RowSelector::select(wanted)]);
        let some = read(reader(&bytes).with_row_selection(selection), &schema);
        prop_assert!(some == written.slice(skipped, wanted), "a selection is read otherwise");
    }
}

/// A chunk's footer.
fn chunk_of<'a>(metadata: &'a ParquetMetaData, path: &str) -> &'a ColumnChunkMetaData {
    let chunks = metadata.row_group(0).columns();
    chunks.iter().find(|chunk| chunk.column_path().string() == path).unwrap()
}

fn one_column(name: &str, array: ArrayRef) -> (Arc<Schema>, RecordBatch) {
    let schema = Arc::new(Schema::new(vec![Field::new(name, array.data_type().clone(), true)]));
    (schema.clone(), RecordBatch::try_new(schema, vec![array]).unwrap())
}

#[test]
fn the_footer_has_bounds_and_nulls() {
    let amounts = [Some(-5_0000_i128), None, Some(1), Some(700_0000)].into_iter().collect::<Decimal128Array>();
    let (schema, rows) = one_column("amount", Arc::new(amounts.with_precision_and_scale(18, 4).unwrap()));
    let bytes = file(&schema, &[vec![rows]]);
    let reader = reader(&bytes);
    let Some(Statistics::Int64(bounds)) = chunk_of(reader.metadata(), "amount").statistics() else { panic!("none") };
    assert_eq!(
        (bounds.min_opt(), bounds.max_opt(), bounds.null_count_opt()),
        (Some(&-5_0000), Some(&700_0000), Some(1))
    );
}

#[test]
fn a_dictionary_is_kept_where_values_repeat_and_ends_where_it_grows_too_large() {
    let texts = |text: &dyn Fn(usize) -> String| -> (Arc<Schema>, RecordBatch) {
        one_column("text", Arc::new(StringArray::from_iter_values((0..60_000).map(text))))
    };
    let encodings = |(schema, rows): (Arc<Schema>, RecordBatch)| -> (bool, bool, bool) {
        let bytes = file(&schema, &[vec![rows.clone()]]);
        assert!(read(reader(&bytes), &schema) == rows);
        let reader = reader(&bytes);
        let chunk = chunk_of(reader.metadata(), "text");
        let of_pages = chunk.page_encoding_stats_mask().unwrap();
        let has = |encoding| of_pages.is_set(encoding);
        (chunk.dictionary_page_offset().is_some(), has(Encoding::RLE_DICTIONARY), has(Encoding::PLAIN))
    };
    assert_eq!(encodings(texts(&|n| format!("one of {}", n % 7))), (true, true, false));
    assert_eq!(encodings(texts(&|n| format!("number {n}"))), (false, false, true));
    // Each text three times: worth a dictionary, but not one of a megabyte.
    assert_eq!(encodings(texts(&|n| format!("{:060}", n / 3))), (true, true, true));
}

#[test]
fn a_dictionary_that_a_page_needs_is_kept() {
    // So few values that the first page ends before it is known whether they repeat.
    let texts = (0..60_000).map(|n| (n % 50 == 0).then(|| format!("number {n}")));
    let (schema, rows) = one_column("text", Arc::new(texts.collect::<StringArray>()));
    assert!(read(reader(&file(&schema, &[vec![rows.clone()]])), &schema) == rows);
}

#[test]
fn columns_that_held_the_same_until_they_differed_are_read_as_they_were() {
    let texts = |from: u32| {
        Arc::new(StringArray::from_iter_values((from..from + 3_000).map(|n| format!("id {n}")))) as ArrayRef
    };
    let names = ["id", "key", "other", "later"];
    let schema = Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, true)).to_vec()));
    let of = |columns: [u32; 4]| RecordBatch::try_new(schema.clone(), columns.map(texts).to_vec()).unwrap();
    // `key` is always `id`; `later` is, too, for two batches.
    let batches = vec![of([0, 0, 5, 0]), of([7, 7, 5, 7]), of([9, 9, 5, 1]), of([4, 4, 5, 4])];
    let written = concat_batches(&schema, &batches).unwrap();
    let bytes = file(&schema, &[batches]);
    assert!(read(reader(&bytes), &schema) == written);
    let paths: Vec<String> =
        reader(&bytes).metadata().row_group(0).columns().iter().map(|chunk| chunk.column_path().string()).collect();
    assert_eq!(paths, names);
}

#[test]
fn a_decimal_of_more_digits_than_its_column_is_refused() {
    for (precision, scale) in [(9, 4), (18, 4), (20, 17)] {
        let largest = 10_i128.pow(u32::from(precision)) - 1;
        let written = |decimal: i128| {
            // Arrow looks at the digits only when it is asked to.
            let decimals = Decimal128Array::from(vec![Some(0), Some(decimal), None]);
            let decimals = decimals.with_data_type(DataType::Decimal128(precision, scale));
            let (schema, rows) = one_column("amount", Arc::new(decimals));
            let mut columns = Layout::new(schema, &[], Vec::new()).unwrap().columns().unwrap();
            columns[0].write(rows.column(0)).map_err(|error| error.to_string())
        };
        assert_eq!((written(largest), written(-largest)), (Ok(()), Ok(())));
        for too_long in [largest + 1, -largest - 1, i128::MAX, i128::MIN] {
            assert!(written(too_long).unwrap_err().contains("more digits"), "{too_long} at {precision}");
        }
    }
}

#[test]
fn a_type_that_no_contract_has_is_refused() {
    let schema = Arc::new(Schema::new(vec![Field::new("price", DataType::Float64, true)]));
    let error = Layout::new(schema, &[], Vec::new()).unwrap_err();
    assert!(error.to_string().contains("not written"), "{error}");
}
