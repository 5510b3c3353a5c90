//! Batches equal arrow-json's, on input that both read.
//!
//! Invariant: the oracle gets records that avoid its quirks: no numbers as times, no digits beyond a scale, no field twice, no zones.

use crate::decoder;
use crate::generated::{GeneratedContract, GeneratedValue, canonical, contract, page_of, values};
use arrow::json::ReaderBuilder;
use proptest::prelude::*;
use tillhouse_model::{ColumnKind, TimeFormat};

/// The contract with every instant spelled with its offset.
fn with_offsets(kind: &mut ColumnKind) {
    match kind {
        ColumnKind::Timestamp(format) => *format = TimeFormat::Offset,
        ColumnKind::Struct(columns) => columns.iter_mut().for_each(|c| with_offsets(&mut c.kind)),
        ColumnKind::List(element) => with_offsets(&mut element.kind),
        _ => {}
    }
}

fn cases() -> impl Strategy<Value = (GeneratedContract, Vec<Vec<GeneratedValue>>)> {
    contract().prop_flat_map(|mut c: GeneratedContract| {
        c.columns.iter_mut().for_each(|c| with_offsets(&mut c.kind));
        let rows = prop::collection::vec(values(&c.columns), 1..6);
        (Just(c), rows)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn batches_equal_those_of_arrow_json((contract, rows) in cases()) {
        let records: Vec<String> = rows.iter().enumerate().map(|(i, v)| canonical(&contract.columns, i, v)).collect();
        let decoder = decoder(contract.spec());
        let ours = decoder.decode(page_of(&records).as_bytes(), &["data"]).unwrap();
        prop_assert_eq!(&ours.rejects, &[]);
        let lines = records.join("\n");
        let mut reader = ReaderBuilder::new(decoder.schema()).build(lines.as_bytes()).unwrap();
        let theirs = reader.next().unwrap().unwrap();
        prop_assert_eq!(&ours.batch, &theirs);
    }
}
