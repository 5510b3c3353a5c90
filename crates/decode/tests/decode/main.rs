//! Promises of decode, seen from outside: one binary, since each would link arrow and parquet
//! anew.
//!
//! Invariant: nothing here knows how decode works; everything is pages in and batches out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod damaged;
mod faults;
#[path = "../../src/fixture.rs"]
mod fixture;
mod generated;
mod hostile;
mod identity;
mod known;
mod misfits;
mod no_names;
mod oracle;
mod record_rules;
mod rejects;
mod roundtrip;
mod row_json;
mod sources;
mod value_rules;
mod values;

use std::sync::Arc;
use tillhouse_decode::{DecodedPage, Decoder};
use tillhouse_model::TableSpec;

/// A decoder for the contract with one of everything.
fn sales() -> Decoder {
    decoder(fixture::sales())
}

fn decoder(spec: TableSpec) -> Decoder {
    Decoder::new(Arc::new(spec), Some(fixture::key())).unwrap()
}

/// A page of records.
fn page(records: &[&str]) -> String {
    format!(
        r#"{{"meta":{{"total":{}}},"data":[{}]}}"#,
        records.len(),
        records.join(",")
    )
}

fn decode(records: &[&str]) -> DecodedPage {
    sales().decode(page(records).as_bytes(), &["data"]).unwrap()
}

#[test]
fn a_decoder_can_be_shared() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let decoder = sales();
    shared(&decoder);
    let pages: Vec<String> = (0..8)
        .map(|i| page(&[&format!(r#"{{"id":"{i}"}}"#)]))
        .collect();
    let alone: Vec<_> = pages
        .iter()
        .map(|p| decoder.decode(p.as_bytes(), &["data"]).unwrap().batch)
        .collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = pages
            .iter()
            .map(|p| {
                scope.spawn(|| {
                    decoder
                        .clone()
                        .decode(p.as_bytes(), &["data"])
                        .unwrap()
                        .batch
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}
