//! The newest row of each key, however many have lost against it, and what it takes from those.
//!
//! Invariant: what is held is what a plain loop over all rows finds, wherever rows that lost were dropped on the way.

use super::*;
use crate::faulty_store::{
    TempWarehouse, dimension_spec, extra_column, sites, sql, step, times, warehouse_of,
};
use arrow::array::StringArray;
use futures::FutureExt;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tillhouse_model::TableSpec;
use tillhouse_model::table::PIPELINE;

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
    let places = newest.best.values().flatten();
    let places = places.map(|row| row.place as usize);
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
        let mut newest = NewestDimensionRows::new(&schema, &["site_key".to_owned()], i64::MAX, false).unwrap();
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

/// A dimension whose rows have a code beside their name.
fn coded_spec() -> TableSpec {
    let mut spec = dimension_spec();
    spec.columns.push(extra_column("code", false));
    spec
}

/// Key, name, code, as of in seconds.
type NamedRow = (
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    i64,
);

/// Rows whose content hashes are numbered from `first` on.
fn named(rows: &[NamedRow], first: u32) -> RecordBatch {
    let schema = coded_spec().unified_schema();
    let texts = |value: fn(&NamedRow) -> Option<&'static str>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<StringArray>())
    };
    let numbers = first..first + u32::try_from(rows.len()).unwrap();
    let hashes: Vec<[u8; 4]> = numbers.map(u32::to_be_bytes).collect();
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "site_key" => texts(|row| Some(row.0)),
            "name" => texts(|row| row.1),
            "code" => texts(|row| row.2),
            PIPELINE => texts(|_| Some("hecone")),
            RUN_ID => texts(|_| Some("run")),
            CONTENT_HASH => Arc::new(BinaryArray::from_iter_values(&hashes)),
            DELETED_AT => Arc::new(times(rows.iter().map(|_| None))),
            _ => Arc::new(times(rows.iter().map(|row| Some(row.3 * 1_000_000)))),
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

/// Rows that were read at a time, in seconds.
fn read_at(rows: RecordBatch, seconds: i64) -> RecordBatch {
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns());
    let columns = columns.map(|(field, column)| -> ArrayRef {
        match field.name().as_str() {
            EXTRACTED_AT => Arc::new(times(
                (0..rows.num_rows()).map(|_| Some(seconds * 1_000_000)),
            )),
            _ => Arc::clone(column),
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

#[test]
fn of_rows_of_one_time_what_was_read_last_stays_and_a_later_time_goes_before_a_later_reading() {
    let schema = coded_spec().unified_schema();
    let rows = [
        // The greater hash, read first.
        (("a", Some("Old"), None, 10), 9, 100),
        (("a", Some("New"), None, 10), 1, 200),
        // An older sale that came late.
        (("a", Some("Late"), None, 5), 5, 300),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut newest =
            NewestDimensionRows::new(&schema, &["site_key".to_owned()], i64::MAX, true).unwrap();
        for at in order {
            let (row, hash, read): (NamedRow, u32, i64) = rows[at];
            newest.add(&read_at(named(&[row], hash), read)).unwrap();
        }
        assert_eq!(merged(&newest)["a"][0].as_deref(), Some("New"), "{order:?}");
    }
}

/// Name and code by key, as a plain loop finds them: the newest values that are known.
fn plain<'r>(
    rows: impl Iterator<Item = &'r (NamedRow, u32)>,
) -> BTreeMap<&'static str, [Option<&'static str>; 2]> {
    let mut sorted: Vec<&(NamedRow, u32)> = rows.collect();
    sorted.sort_by_key(|((_, _, _, as_of), number)| (*as_of, *number));
    let mut found: BTreeMap<&'static str, [Option<&'static str>; 2]> = BTreeMap::new();
    for ((key, name, code, _), _) in sorted {
        let [known_name, known_code] = found.entry(*key).or_default();
        *known_name = name.or(*known_name);
        *known_code = code.or(*known_code);
    }
    found
}

fn merged(newest: &NewestDimensionRows) -> BTreeMap<String, [Option<String>; 2]> {
    let rows = newest.merged().unwrap().rows.unwrap();
    let text = |column: &str, row: usize| {
        let column = rows.column_by_name(column).unwrap().as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    (0..rows.num_rows())
        .map(|row| {
            let key = text("site_key", row).unwrap();
            (key, [text("name", row), text("code", row)])
        })
        .collect()
}

fn owned(
    found: &BTreeMap<&'static str, [Option<&'static str>; 2]>,
) -> BTreeMap<String, [Option<String>; 2]> {
    let texts = found
        .iter()
        .map(|(key, texts)| ((*key).to_owned(), texts.map(|text| text.map(str::to_owned))));
    texts.collect()
}

/// Batches of rows, each with a number, that know now this and now that, in any order of their times.
fn mentions() -> impl Strategy<Value = Vec<Vec<(NamedRow, u32)>>> {
    let text = || prop::option::of(0..NAMES.len());
    let row = (0..KEYS.len(), text(), text(), 0..30_i64);
    prop::collection::vec(prop::collection::vec(row, 1..6), 1..60).prop_map(|batches| {
        let mut number = 0;
        let mut row = |(key, name, code, at): (usize, Option<usize>, Option<usize>, i64)| {
            number += 1;
            let text = |of: Option<usize>| of.map(|of| NAMES[of]);
            ((KEYS[key], text(name), text(code), at), number)
        };
        let batches = batches.into_iter();
        batches
            .map(|rows| rows.into_iter().map(&mut row).collect())
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_that_the_newest_row_lacks_is_the_newest_that_is_known(batches in mentions()) {
        let schema = coded_spec().unified_schema();
        let new = || NewestDimensionRows::new(&schema, &["site_key".to_owned()], i64::MAX, true).unwrap();
        let wanted = owned(&plain(batches.iter().flatten()));
        // Forth and back: no order matters.
        for is_back in [false, true] {
            let mut newest = new();
            let mut order: Vec<&Vec<(NamedRow, u32)>> = batches.iter().collect();
            if is_back {
                order.reverse();
            }
            for batch in order {
                for (row, number) in batch {
                    newest.add(&named(&[*row], *number)).unwrap();
                }
            }
            prop_assert_eq!(&merged(&newest), &wanted);
            let held = newest.best.values().map(Vec::len).max().unwrap_or(0);
            prop_assert!(held <= 4, "one a combination of values that are there");
        }
        // And all at once.
        let rows: Vec<NamedRow> = batches.iter().flatten().map(|(row, _)| *row).collect();
        let mut newest = new();
        newest.add(&named(&rows, 1)).unwrap();
        prop_assert_eq!(&merged(&newest), &wanted);
    }
}

#[tokio::test]
async fn what_sales_do_not_say_stays_known_and_what_lists_do_not_say_is_gone() {
    let steps: [&[NamedRow]; 5] = [
        &[("a", Some("One"), Some("1"), 10), ("b", None, None, 10)],
        &[("a", None, None, 20), ("b", Some("Two"), None, 20)],
        // One that comes late tells only what nobody has told since.
        &[("b", Some("Twa"), Some("2"), 5)],
        &[("a", Some("Uno"), None, 30)],
        &[("a", None, None, 40), ("b", None, None, 40)],
    ];
    let wanted = [
        (
            true,
            [
                "a Uno 1 1970-01-01T00:00:30Z",
                "b Two 2 1970-01-01T00:00:20Z",
            ],
        ),
        (
            false,
            ["a - - 1970-01-01T00:00:40Z", "b - - 1970-01-01T00:00:40Z"],
        ),
    ];
    for (keeps_known, wanted) in wanted {
        let place = TempWarehouse::new();
        let table = place.open().await.unified_table(Arc::new(coded_spec()));
        let table = match keeps_known {
            true => table.keeping_known(),
            false => table,
        };
        for (at, rows) in (0_i64..).zip(steps) {
            let rows = futures::stream::iter([Ok(named(rows, 1))]).boxed();
            let step = step("hecone", at, at + 1);
            table.merge(&step, rows).await.unwrap();
        }
        let query = "SELECT site_key, name, code, _as_of FROM t ORDER BY site_key";
        let found = sql(&warehouse_of(&table.registry), &table.path, None, query).await;
        assert_eq!(found, wanted, "{keeps_known}");
    }
}

#[tokio::test]
async fn a_value_that_stands_in_is_taken_where_none_is_known() {
    // As a statement gives it: beside a row without a name an older one with what stands in for it.
    let steps: [(&[NamedRow], &str); 4] = [
        (
            &[("a", None, Some("1"), 10), ("a", Some("One"), None, 0)],
            "a One 1",
        ),
        (&[("a", Some("Two"), None, 20)], "a Two 1"),
        (
            &[("a", None, Some("2"), 30), ("a", Some("One"), None, 0)],
            "a Two 2",
        ),
        (&[("a", Some("Three"), None, 40)], "a Three 2"),
    ];
    let place = TempWarehouse::new();
    let table = place.open().await.unified_table(Arc::new(coded_spec()));
    let table = table.keeping_known();
    for (at, (rows, wanted)) in (0_i64..).zip(steps) {
        let rows = futures::stream::iter([Ok(named(rows, 1))]).boxed();
        table
            .merge(&step("hecone", at, at + 1), rows)
            .await
            .unwrap();
        let query = "SELECT site_key, name, code FROM t";
        let found = sql(&warehouse_of(&table.registry), &table.path, None, query).await;
        assert_eq!(found, [wanted]);
    }
}

#[tokio::test]
async fn a_row_that_says_nothing_new_is_not_written() {
    let place = TempWarehouse::new();
    let table = place.open().await.unified_table(Arc::new(coded_spec()));
    let table = table.keeping_known();
    let merge = async |at: i64, row: NamedRow| {
        let rows = futures::stream::iter([Ok(named(&[row], 1))]).boxed();
        let done = table
            .merge(&step("hecone", at, at + 1), rows)
            .await
            .unwrap();
        (done.rows_added, done.rows_removed)
    };
    assert_eq!(merge(0, ("a", Some("One"), Some("1"), 10)).await, (1, 0));
    assert_eq!(merge(1, ("a", None, None, 20)).await, (0, 0));
    assert_eq!(merge(2, ("a", None, Some("1"), 30)).await, (0, 0));
    assert_eq!(merge(3, ("a", None, Some("2"), 40)).await, (1, 1));
}
