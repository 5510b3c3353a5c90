//! Records that leave out what is known of them.
//!
//! Invariant: a record that did not change is the same record, hash and all, however much of it a page leaves out.

use crate::generated::{Contract, Value, contract, page_of, record, values};
use crate::{decoder, page, sales};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;
use std::sync::Arc;
use tillhouse_decode::{Decoded, KnownRecords};

/// As a source table has them.
fn known(decoded: &Decoded) -> KnownRecords {
    let mut fields: Vec<_> = decoded.batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("_record_key", DataType::Utf8, false)));
    let mut columns = decoded.batch.columns().to_vec();
    columns.push(Arc::new(decoded.keys.clone()) as ArrayRef);
    KnownRecords::new(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_left_out_is_as_it_was(
        (contract, rows) in contract().prop_flat_map(|c: Contract| { let v = prop::collection::vec(values(&c.columns), 1..4); (Just(c), v) }),
        left_out in prop::collection::vec(any::<bool>(), 8),
        seed: u64,
    ) {
        let decoder = decoder(contract.spec());
        let spelled = |columns: &[_], pick: &dyn Fn(usize) -> bool, seed: u64| -> Vec<String> {
            let of_row = |(i, row): (usize, &Vec<Value>)| {
                let row: Vec<_> = row.iter().enumerate().filter(|(at, _)| pick(*at)).map(|(_, v)| v.clone()).collect();
                record(columns, i, &row, seed.wrapping_add(i as u64))
            };
            rows.iter().enumerate().map(of_row).collect()
        };
        let whole = decoder.decode(page_of(&spelled(&contract.columns, &|_| true, seed)).as_bytes(), &["data"]).unwrap();
        let pick = |at: usize| left_out.get(at) != Some(&true);
        let columns: Vec<_> = contract.columns.iter().enumerate().filter(|(at, _)| pick(*at)).map(|(_, c)| c.clone()).collect();
        let page = page_of(&spelled(&columns, &pick, !seed));
        let again = decoder.decode_onto(page.as_bytes(), &["data"], None, Some(&known(&whole))).unwrap();
        prop_assert_eq!(&again.rejects, &[]);
        prop_assert_eq!(&again.batch, &whole.batch);
        prop_assert_eq!(&again.content_hashes, &whole.content_hashes);
    }
}

const WHOLE: &str = r#"{"id":"1","counter":7,"invoice":{"amount":12.5,"created_at":"2026-01-02T03:04:05Z"},"tags":["a"],"updated_at":"2026-01-02T03:04:06Z","license_plate":"KA-XY 1","pin":"1234","state":"open","zähler":7}"#;

#[test]
fn null_is_said_and_absence_is_not() {
    let decoder = sales();
    let whole = WHOLE.replace(r#""counter":7,"#, "");
    let whole = decoder.decode(page(&[&whole]).as_bytes(), &["data"]).unwrap();
    let known = known(&whole);
    let onto = |record: &str| decoder.decode_onto(page(&[record]).as_bytes(), &["data"], None, Some(&known)).unwrap();
    let same = onto(r#"{"id":"1"}"#);
    assert_eq!((&same.batch, &same.content_hashes), (&whole.batch, &whole.content_hashes));
    assert_eq!(
        (&same.record_times, &same.updated_at),
        (&whole.record_times, &whole.updated_at),
        "they are the known ones"
    );
    let column = |decoded: &Decoded, name: &str| decoded.batch.column_by_name(name).unwrap().clone();
    // Null, an empty list and an object without one of its fields are answers.
    let said = onto(r#"{"id":"1","zähler":null,"tags":[],"invoice":{"amount":13}}"#);
    assert!(column(&said, "counter").is_null(0));
    assert_eq!(column(&said, "tags").as_list::<i32>().value_length(0), 0);
    assert!(column(&said, "invoice").as_struct().column_by_name("created_at").unwrap().is_null(0));
    assert_eq!(&column(&said, "license_plate"), &column(&whole, "license_plate"), "no pseudonym of a pseudonym");
    assert_ne!(said.content_hashes, whole.content_hashes);
    // Nothing is known of another record, and a page that is read as ever knows nothing.
    assert!(column(&onto(r#"{"id":"2"}"#), "state").is_null(0));
    let plain = decoder.decode(page(&[r#"{"id":"1"}"#]).as_bytes(), &["data"]).unwrap();
    assert!(column(&plain, "state").is_null(0));
    // Each record has its own.
    let two = decoder
        .decode_onto(page(&[r#"{"id":"2"}"#, r#"{"id":"1"}"#]).as_bytes(), &["data"], None, Some(&known))
        .unwrap();
    assert!(column(&two, "state").is_null(0) && column(&two, "state").is_valid(1));
    assert_eq!(onto("{}").rejects.len(), 1, "a record without its key is nobody's");
}
