//! This crate's encoder beside the Parquet library's: the same rows written with both.
//!
//! Invariant: what is read of both files is the same row for row, and what was written. Statistics are compared where both have them.

use crate::random_rows::{FileSchema, TestRng, every_type, nested, read, reader, row_groups};
use crate::{ColumnEncoder, EncodeError, LibraryColumnWriter, TableColumnWriter};
use arrow::array::{Array, ArrayRef, Decimal128Array, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use proptest::prelude::*;
use std::sync::Arc;

/// The first difference between rows, if there is one.
fn rows_differ(ours: &RecordBatch, library: &RecordBatch) -> Option<String> {
    if ours.num_rows() != library.num_rows() {
        return Some(format!(
            "{} rows and {}",
            ours.num_rows(),
            library.num_rows()
        ));
    }
    ours.schema()
        .fields()
        .iter()
        .zip(ours.columns().iter().zip(library.columns()))
        .find_map(|(field, (a, b))| {
            let row = || (0..a.len()).find(|row| a.slice(*row, 1) != b.slice(*row, 1));
            (a != b).then(|| {
                format!(
                    "column {} ({}) differs from row {:?} on",
                    field.name(),
                    field.data_type(),
                    row()
                )
            })
        })
}

fn assert_same_rows(ours: &RecordBatch, library: &RecordBatch, of: &str) {
    assert_eq!(rows_differ(ours, library), None, "{of}");
}

/// The first difference between footers, or the count of leaves whose bounds both have.
fn footers_differ(ours: &Bytes, library: &Bytes) -> Result<usize, String> {
    let (ours, library) = (reader(ours), reader(library));
    let (ours, library) = (
        ours.metadata().row_groups(),
        library.metadata().row_groups(),
    );
    let rows = |groups: &[RowGroupMetaData]| {
        groups
            .iter()
            .map(RowGroupMetaData::num_rows)
            .collect::<Vec<_>>()
    };
    if rows(ours) != rows(library) {
        return Err(format!(
            "row groups of {:?} rows and of {:?}",
            rows(ours),
            rows(library)
        ));
    }
    let leaves = |groups: &[RowGroupMetaData]| {
        groups
            .iter()
            .flat_map(|g| g.columns().to_vec())
            .collect::<Vec<_>>()
    };
    let (ours, library) = (leaves(ours), leaves(library));
    assert_eq!(ours.len(), library.len());
    let mut compared = 0;
    for (a, b) in ours.iter().zip(&library) {
        let values =
            |chunk: &ColumnChunkMetaData| (chunk.column_path().string(), chunk.num_values());
        if values(a) != values(b) {
            return Err(format!("values of {:?} and {:?}", values(a), values(b)));
        }
        let path = a.column_path().string();
        if let (Some(a), Some(b)) = (a.statistics(), b.statistics()) {
            if a != b {
                return Err(format!("{a:?} and {b:?} of {path}"));
            }
            compared += usize::from(a.min_bytes_opt().is_some());
        }
    }
    Ok(compared)
}

/// Rows at random, some of them picked: runs of rows that are read and runs that are passed over.
fn selection(rows: usize, rng: &mut TestRng) -> RowSelection {
    let (mut selectors, mut left) = (Vec::new(), rows);
    while left > 0 {
        let run = 1 + usize::try_from(rng.below(u64::try_from(left).unwrap())).unwrap();
        // Every second run is read, the first one or the second.
        let is_read = selectors.len() % 2 == usize::from(rows.is_multiple_of(2));
        selectors.push(if is_read {
            RowSelector::select(run)
        } else {
            RowSelector::skip(run)
        });
        left -= run;
    }
    RowSelection::from(selectors)
}

/// Writes rows with both encoders in both ways, and compares all that can be read of them.
fn compare(schema: &Arc<Schema>, groups: &[Vec<RecordBatch>], rng: &mut TestRng) -> usize {
    let mut compared = 0;
    for file in [
        FileSchema::new(schema.clone()),
        FileSchema::with_all_statistics(schema.clone()),
    ] {
        let (ours, library) = (
            file.file::<TableColumnWriter>(groups),
            file.file::<LibraryColumnWriter>(groups),
        );
        // Threads make no difference, not to a byte.
        assert!(
            ours == file.file_by_threads::<TableColumnWriter>(groups),
            "two threads write other bytes"
        );
        assert!(
            library == file.file_by_threads::<LibraryColumnWriter>(groups),
            "two threads write other bytes"
        );
        let written = concat_batches(schema, groups.iter().flatten()).unwrap();
        let read_ours = read(reader(&ours), schema);
        assert_same_rows(&read_ours, &read(reader(&library), schema), "all rows");
        assert_same_rows(&read_ours, &written, "rows as written");
        for _ in 0..3 {
            let selection = selection(written.num_rows(), rng);
            if selection.row_count() == 0 {
                continue;
            }
            let some =
                |file: &Bytes| read(reader(file).with_row_selection(selection.clone()), schema);
            assert_same_rows(&some(&ours), &some(&library), "a selection of rows");
        }
        compared += footers_differ(&ours, &library).unwrap();
    }
    compared
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_type_is_read_alike_from_both(
        seed in any::<u64>(),
        // Batches without rows are among them; a page's worth and more.
        groups in proptest::collection::vec((1_usize..5_000, proptest::collection::vec(0_usize..3_000, 0..3)), 1..3),
        from in 0_usize..500,
    ) {
        let (schema, mut rng) = (every_type(), TestRng(seed));
        let groups: Vec<Vec<usize>> = groups.into_iter().map(|(first, rest)| [vec![first], rest].concat()).collect();
        let groups = row_groups(&schema, &groups, from, &mut rng);
        prop_assert!(compare(&schema, &groups, &mut rng) > 20, "no bounds were compared");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_nesting_is_read_alike_from_both(
        seed in any::<u64>(),
        groups in proptest::collection::vec(proptest::collection::vec(1_usize..120, 1..4), 1..3),
        from in 0_usize..20,
    ) {
        let mut rng = TestRng(seed);
        let schema = nested(&mut rng);
        let groups = row_groups(&schema, &groups, from, &mut rng);
        compare(&schema, &groups, &mut rng);
    }
}

#[test]
fn columns_of_several_pages_and_dictionaries_are_read_alike_from_both() {
    // Both end a page at some 20,000 rows, and give up a dictionary that grows too large, each at its own size.
    let fields = every_type()
        .fields()
        .iter()
        .take(9)
        .cloned()
        .collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(fields));
    for seed in 0..6 {
        let mut rng = TestRng(seed);
        let groups = row_groups(&schema, &[vec![30_000, 35_000]], 17, &mut rng);
        assert!(
            compare(&schema, &groups, &mut rng) > 0,
            "no bounds were compared"
        );
        let file = FileSchema::new(schema.clone()).file::<TableColumnWriter>(&groups);
        let pages = reader(&file).metadata().offset_index().unwrap()[0][0]
            .page_locations()
            .len();
        assert!(pages > 2, "{pages} pages are no test of them");
    }
}

#[test]
fn columns_without_a_value_are_read_alike_from_both() {
    let schema = every_type();
    let nullable = schema
        .fields()
        .iter()
        .filter(|field| field.is_nullable())
        .cloned()
        .collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(nullable));
    let groups = vec![vec![
        RecordBatch::try_new(
            schema.clone(),
            schema
                .fields()
                .iter()
                .map(|field| arrow::array::new_null_array(field.data_type(), 5_000))
                .collect(),
        )
        .unwrap(),
    ]];
    assert_eq!(
        compare(&schema, &groups, &mut TestRng(1)),
        0,
        "columns without a value have no bounds"
    );
}

#[test]
fn a_fault_is_found() {
    // The comparison fails where one value, one null or one row differs.
    let rows = |numbers: Vec<Option<i64>>| {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(numbers)) as ArrayRef)])
            .unwrap()
    };
    let one = rows(vec![Some(1), None, Some(3)]);
    assert_eq!(rows_differ(&one, &one.clone()), None);
    for other in [
        vec![Some(1), None, Some(4)],
        vec![Some(1), Some(0), Some(3)],
        vec![Some(1), None],
    ] {
        assert!(
            rows_differ(&one, &rows(other.clone())).is_some(),
            "{other:?}"
        );
    }
    let file = |rows: &RecordBatch| {
        FileSchema::new(rows.schema()).file::<TableColumnWriter>(&[vec![rows.clone()]])
    };
    assert_eq!(footers_differ(&file(&one), &file(&one)), Ok(1));
    for other in [
        vec![Some(0), None, Some(3)],
        vec![Some(1), Some(1), Some(3)],
        vec![Some(1), None],
    ] {
        assert!(
            footers_differ(&file(&one), &file(&rows(other.clone()))).is_err(),
            "{other:?}"
        );
    }
}

#[test]
fn the_encoders_differ_where_they_say_so() {
    // The library cuts a decimal off that does not fit; this encoder refuses it.
    let decimals = Decimal128Array::from(vec![Some(10_i128.pow(30))])
        .with_data_type(DataType::Decimal128(18, 4));
    let schema = Arc::new(Schema::new(vec![Field::new(
        "amount",
        DataType::Decimal128(18, 4),
        true,
    )]));
    let decimals = Arc::new(decimals) as ArrayRef;
    let file = FileSchema::new(schema);
    assert!(
        file.encoders::<LibraryColumnWriter>()[0]
            .write(&decimals)
            .is_ok()
    );
    let error = file.encoders::<TableColumnWriter>()[0]
        .write(&decimals)
        .unwrap_err();
    assert!(
        matches!(error, EncodeError::TooManyDigits { .. }),
        "{error}"
    );
    // The library's shares no chunks and says so.
    let mut library = file.encoders::<LibraryColumnWriter>();
    let other = file.encoders::<LibraryColumnWriter>().remove(0);
    assert!(!library[0].has_same_encoding(&other));
    assert!(matches!(
        library[0].diverge_from(&other),
        Err(EncodeError::NotShared { .. })
    ));
    assert!(matches!(
        library[0].relabel_chunks(&[]),
        Err(EncodeError::NotShared { .. })
    ));
    let chunks = other.close().unwrap();
    let ours = &file.encoders::<TableColumnWriter>()[0];
    assert!(matches!(
        ours.relabel_chunks(&chunks),
        Err(EncodeError::NotShared { .. })
    ));
    assert_eq!(chunks[0].close_result().metadata.column_type(), Type::INT64);
}
