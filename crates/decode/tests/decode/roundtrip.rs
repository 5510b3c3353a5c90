//! JSON -> Arrow -> Parquet -> JSON, unchanged, for any contract and any record it can express.
//!
//! Invariant: what comes back is compared as text, digit by digit.

use crate::decoder;
use crate::generated::{GeneratedContract, canonical, contract, page_of, record, values};
use crate::row_json::rows;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

fn through_parquet(batch: &RecordBatch) -> RecordBatch {
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file))
        .unwrap()
        .build()
        .unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&batch.schema(), &batches).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_record_survives(
        (contract, rows_in) in contract().prop_flat_map(|c: GeneratedContract| { let v = prop::collection::vec(values(&c.columns), 0..5); (Just(c), v) }),
        seed: u64,
    ) {
        let records: Vec<String> =
            rows_in.iter().enumerate().map(|(i, v)| record(&contract.columns, i, v, seed.wrapping_add(i as u64))).collect();
        let decoder = decoder(contract.spec());
        let decoded = decoder.decode(page_of(&records).as_bytes(), &["data"]).unwrap();
        prop_assert_eq!(&decoded.rejects, &[]);
        prop_assert_eq!(&decoded.warnings, &[]);
        let expected: Vec<String> = rows_in.iter().enumerate().map(|(i, v)| canonical(&contract.columns, i, v)).collect();
        prop_assert_eq!(&rows(&decoded.batch), &expected);
        prop_assert_eq!(&rows(&through_parquet(&decoded.batch)), &expected);
        // The output goes in again, and is the same content.
        let again = decoder.decode(page_of(&expected).as_bytes(), &["data"]);
        if contract.columns.iter().all(|c| reads_its_own_writing(&c.kind)) {
            let again = again.unwrap();
            prop_assert_eq!(&again.batch, &decoded.batch);
            prop_assert_eq!(&again.content_hashes, &decoded.content_hashes);
        }
    }
}

/// Instants are written as text, which a column of seconds or milliseconds does not read.
fn reads_its_own_writing(kind: &tillhouse_model::ColumnKind) -> bool {
    use tillhouse_model::{ColumnKind, TimeFormat};
    match kind {
        ColumnKind::Timestamp(format) => matches!(format, TimeFormat::Offset | TimeFormat::Zone(_)),
        ColumnKind::Struct(columns) => columns.iter().all(|c| reads_its_own_writing(&c.kind)),
        ColumnKind::List(element) => reads_its_own_writing(&element.kind),
        _ => true,
    }
}
