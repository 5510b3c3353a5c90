//! Rows written into column chunks are read back by Parquet's own reader.
//!
//! Invariant: what is read is compared with what was given to the encoder, value by value.

use crate::random_rows::{FileSchema, TestRng, every_type, read, reader, row_groups};
use crate::{ColumnEncoder, EncodeError, TableColumnWriter, is_supported};
use arrow::array::{
    ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::basic::Encoding;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;
use proptest::prelude::*;
use std::sync::Arc;

fn file(schema: &Arc<Schema>, groups: &[Vec<RecordBatch>]) -> Bytes {
    FileSchema::new(schema.clone()).file::<TableColumnWriter>(groups)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_read_as_they_were_written(
        seed in any::<u64>(),
        groups in proptest::collection::vec(proptest::collection::vec(1_usize..5_000, 1..4), 1..3),
        from in 0_usize..500,
    ) {
        let schema = every_type();
        let groups = row_groups(&schema, &groups, from, &mut TestRng(seed));
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
    chunks
        .iter()
        .find(|chunk| chunk.column_path().string() == path)
        .unwrap()
}

fn one_column(name: &str, array: ArrayRef) -> (Arc<Schema>, RecordBatch) {
    let schema = Arc::new(Schema::new(vec![Field::new(
        name,
        array.data_type().clone(),
        true,
    )]));
    (
        schema.clone(),
        RecordBatch::try_new(schema, vec![array]).unwrap(),
    )
}

#[test]
fn the_footer_has_bounds_and_nulls() {
    let amounts = [Some(-5_0000_i128), None, Some(1), Some(700_0000)]
        .into_iter()
        .collect::<Decimal128Array>();
    let (schema, rows) = one_column(
        "amount",
        Arc::new(amounts.with_precision_and_scale(18, 4).unwrap()),
    );
    let bytes = file(&schema, &[vec![rows]]);
    let reader = reader(&bytes);
    let Some(Statistics::Int64(bounds)) = chunk_of(reader.metadata(), "amount").statistics() else {
        panic!("none")
    };
    assert_eq!(
        (bounds.min_opt(), bounds.max_opt(), bounds.null_count_opt()),
        (Some(&-5_0000), Some(&700_0000), Some(1))
    );
}

#[test]
fn a_dictionary_is_kept_where_values_repeat_and_ends_where_it_grows_too_large() {
    let texts = |text: &dyn Fn(usize) -> String| -> (Arc<Schema>, RecordBatch) {
        one_column(
            "text",
            Arc::new(StringArray::from_iter_values((0..60_000).map(text))),
        )
    };
    let encodings = |(schema, rows): (Arc<Schema>, RecordBatch)| -> (bool, bool, bool) {
        let bytes = file(&schema, &[vec![rows.clone()]]);
        assert!(read(reader(&bytes), &schema) == rows);
        let reader = reader(&bytes);
        let chunk = chunk_of(reader.metadata(), "text");
        let of_pages = chunk.page_encoding_stats_mask().unwrap();
        let has = |encoding| of_pages.is_set(encoding);
        (
            chunk.dictionary_page_offset().is_some(),
            has(Encoding::RLE_DICTIONARY),
            has(Encoding::PLAIN),
        )
    };
    assert_eq!(
        encodings(texts(&|n| format!("one of {}", n % 7))),
        (true, true, false)
    );
    assert_eq!(
        encodings(texts(&|n| format!("number {n}"))),
        (false, false, true)
    );
    // Each text three times: worth a dictionary, but not one of a megabyte.
    assert_eq!(
        encodings(texts(&|n| format!("{:060}", n / 3))),
        (true, true, true)
    );
}

#[test]
fn sums_that_repeat_go_through_a_dictionary_whatever_their_width() {
    // Of four bytes, of eight, and of as many as it takes.
    for precision in [9, 18, 19, 21, 38] {
        for (different, repeats) in [(40, true), (60_000, false)] {
            let sums = (0..60_000_i128).map(|n| (n % 9 > 0).then_some(n % different - 20));
            let sums = sums.collect::<Decimal128Array>();
            let sums = sums.with_data_type(DataType::Decimal128(precision, 4));
            let (schema, rows) = one_column("sum", Arc::new(sums));
            let bytes = file(&schema, &[vec![rows.clone()]]);
            assert!(read(reader(&bytes), &schema) == rows, "{precision}");
            let reader = reader(&bytes);
            let chunk = chunk_of(reader.metadata(), "sum");
            let has_dictionary = chunk.dictionary_page_offset().is_some();
            assert_eq!(has_dictionary, repeats, "{precision}, {different}");
        }
        // Each sum three times, below and above zero: worth a dictionary, until it is too large.
        let sums = (0..60_000_i128).map(|n| (n % 9 > 0).then_some(n / 3 - 10_000));
        let sums = sums.collect::<Decimal128Array>();
        let sums = sums.with_data_type(DataType::Decimal128(precision, 4));
        let (schema, rows) = one_column("sum", Arc::new(sums));
        let bytes = file(&schema, &[vec![rows.clone()]]);
        assert!(read(reader(&bytes), &schema) == rows, "{precision}");
        let reader = reader(&bytes);
        let of_pages = chunk_of(reader.metadata(), "sum").page_encoding_stats_mask();
        let has = |encoding| of_pages.unwrap().is_set(encoding);
        assert!(has(Encoding::RLE_DICTIONARY) && has(Encoding::PLAIN));
    }
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
        Arc::new(StringArray::from_iter_values(
            (from..from + 3_000).map(|n| format!("id {n}")),
        )) as ArrayRef
    };
    let names = ["id", "key", "other", "later"];
    let schema = Arc::new(Schema::new(
        names
            .map(|name| Field::new(name, DataType::Utf8, true))
            .to_vec(),
    ));
    let of = |columns: [u32; 4]| {
        RecordBatch::try_new(schema.clone(), columns.map(texts).to_vec()).unwrap()
    };
    // `key` is always `id`; `later` is, too, for two batches.
    let batches = vec![
        of([0, 0, 5, 0]),
        of([7, 7, 5, 7]),
        of([9, 9, 5, 1]),
        of([4, 4, 5, 4]),
    ];
    let written = concat_batches(&schema, &batches).unwrap();
    let bytes = file(&schema, &[batches]);
    assert!(read(reader(&bytes), &schema) == written);
    let paths: Vec<String> = reader(&bytes)
        .metadata()
        .row_group(0)
        .columns()
        .iter()
        .map(|chunk| chunk.column_path().string())
        .collect();
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
            let mut columns = FileSchema::new(schema).encoders::<TableColumnWriter>();
            columns[0]
                .write(rows.column(0))
                .map_err(|error| error.to_string())
        };
        assert_eq!((written(largest), written(-largest)), (Ok(()), Ok(())));
        for too_long in [largest + 1, -largest - 1, i128::MAX, i128::MIN] {
            assert!(
                written(too_long).unwrap_err().contains("more digits"),
                "{too_long} at {precision}"
            );
        }
    }
}

#[test]
fn types_and_nestings_that_are_not_written_are_refused() {
    let leaves = |fields: Vec<Field>| {
        ArrowSchemaConverter::new()
            .convert(&Schema::new(fields))
            .unwrap()
            .columns()
            .to_vec()
    };
    let try_new = |field: &Field, leaves: &[ColumnDescPtr]| {
        TableColumnWriter::try_new(
            Arc::new(field.clone()),
            leaves,
            &Arc::new(WriterProperties::default()),
        )
    };
    let (price, number) = (
        Field::new("price", DataType::Float64, true),
        Field::new("n", DataType::Int64, true),
    );
    assert!(
        !is_supported(price.data_type())
            && every_type()
                .fields()
                .iter()
                .all(|f| is_supported(f.data_type()))
    );
    let error = try_new(&price, &leaves(vec![price.clone()])).err().unwrap();
    assert!(
        matches!(error, EncodeError::UnsupportedType { .. }),
        "{error}"
    );
    // Fewer leaves than the column has, and more.
    let numbers = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    for (leaves, rows) in [
        (leaves(Vec::new()), &numbers),
        (leaves(vec![number.clone(), number.clone()]), &numbers),
    ] {
        let error = try_new(&number, &leaves).unwrap().write(rows).unwrap_err();
        assert!(
            matches!(error, EncodeError::NestingMismatch { .. }),
            "{error}"
        );
    }
    // A required column's leaf where the field is optional.
    let required = leaves(vec![number.clone().with_nullable(false)]);
    let error = try_new(&number, &required)
        .unwrap()
        .write(&numbers)
        .unwrap_err();
    assert!(
        matches!(error, EncodeError::NestingMismatch { .. }),
        "{error}"
    );
    // Arrays of another type, one that has as many bytes among them.
    let lines = Field::new(
        "lines",
        DataType::List(Arc::new(number.clone().with_name("element"))),
        true,
    );
    for (field, array) in [
        (&number, Arc::new(StringArray::from(vec!["1"])) as ArrayRef),
        (&number, Arc::new(TimestampMicrosecondArray::from(vec![1]))),
        (&lines, numbers.clone()),
        (
            &Field::new("amount", DataType::Decimal128(18, 4), true),
            Arc::new(Decimal128Array::from(vec![1])),
        ),
    ] {
        let error = try_new(field, &leaves(vec![field.clone()]))
            .unwrap()
            .write(&array)
            .unwrap_err();
        assert!(matches!(error, EncodeError::TypeMismatch { .. }), "{error}");
    }
}
