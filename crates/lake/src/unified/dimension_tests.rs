//! The newest row of each key, however many have lost against it.
//!
//! Invariant: what is held is what a plain loop over all rows finds, wherever rows that lost were dropped on the way.

use super::*;
use crate::faulty_store::{dimension_spec, sites};
use futures::FutureExt;
use proptest::prelude::*;
use std::collections::BTreeMap;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const NAMES: [&str; 3] = ["One", "Two", "Three"];

/// Key, name, as of in seconds.
type FixtureDimensionRow = (&'static str, &'static str, i64);

fn batch(rows: &[FixtureDimensionRow]) -> RecordBatch {
    sites("hecone", rows)
        .next()
        .now_or_never()
        .flatten()
        .unwrap()
        .unwrap()
}

/// Rows held, by key: name and as of.
fn held(newest: &NewestDimensionRows) -> BTreeMap<String, (String, i64)> {
    let rows = newest.rows.as_ref().unwrap();
    let text = |column: &str, row: usize| {
        rows.column_by_name(column)
            .unwrap()
            .as_string::<i32>()
            .value(row)
            .to_owned()
    };
    let as_of = rows
        .column_by_name(AS_OF)
        .unwrap()
        .as_primitive::<TimestampMicrosecondType>();
    let places = newest.best.values().map(|(_, place)| *place as usize);
    places
        .map(|row| {
            (
                text("site_key", row),
                (text("name", row), as_of.value(row) / 1_000_000),
            )
        })
        .collect()
}

/// Batches of a history that mostly goes forward: so many rows lose that they are dropped several times.
fn history() -> impl Strategy<Value = Vec<Vec<FixtureDimensionRow>>> {
    let row = (0..KEYS.len(), 0..NAMES.len(), -3..4_i64);
    prop::collection::vec(prop::collection::vec(row, 1..6), 300..500).prop_map(|batches| {
        let dated = |(at, rows): (i64, Vec<(usize, usize, i64)>)| -> Vec<FixtureDimensionRow> {
            rows.into_iter()
                .map(|(key, name, shift)| (KEYS[key], NAMES[name], 100 + at + shift))
                .collect()
        };
        (0..).zip(batches).map(dated).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_held_is_what_a_plain_loop_finds(batches in history()) {
        let schema = dimension_spec().unified_schema();
        let mut newest = NewestDimensionRows::new(&schema, &["site_key".to_owned()], i64::MAX).unwrap();
        let mut wanted: BTreeMap<String, (String, i64)> = BTreeMap::new();
        let mut dropped = 0;
        for rows in &batches {
            let before = newest.rows.as_ref().map_or(0, RecordBatch::num_rows);
            newest.add(&batch(rows)).unwrap();
            let after = newest.rows.as_ref().unwrap().num_rows();
            dropped += usize::from(after < before);
            prop_assert!(after <= 2 * KEYS.len() + MANY, "memory is bounded by the keys");
            for (key, name, as_of) in rows {
                // Of equal times the greater content hash stays, which is the name's bytes here.
                let now = ((*name).to_owned(), *as_of);
                match wanted.get_mut(*key) {
                    Some(old) if (old.1, old.0.as_bytes()) >= (now.1, now.0.as_bytes()) => {}
                    Some(old) => *old = now,
                    None => drop(wanted.insert((*key).to_owned(), now)),
                }
            }
            prop_assert_eq!(&held(&newest), &wanted);
        }
        prop_assert!(dropped > 0, "rows that lost were dropped at least once");
    }
}
