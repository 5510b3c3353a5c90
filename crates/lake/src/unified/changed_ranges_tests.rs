//! Touched hours, case by case.
//!
//! Invariant: an hour whose rows differ is never left out, and rows that were only written anew touch nothing.

use super::*;
use crate::faulty_store::{FixtureFact, TempWarehouse, fact_spec, facts, step, us};
use crate::unified::step::SupersededRecords;
use crate::unified::table::UnifiedTable;
use std::collections::HashSet;

const TEN: Option<&str> = Some("2026-01-10T10:10:00Z");
const ALSO_TEN: Option<&str> = Some("2026-01-10T10:59:59.999999Z");
const ELEVEN: Option<&str> = Some("2026-01-10T11:00:00Z");
const MARCH: Option<&str> = Some("2026-03-01T00:30:00Z");
const COLUMNS: ComparedColumns<'static> = ComparedColumns {
    by: RangeColumn::new("occurred_at", 3_600_000_000),
    columns: &["amount", "month", "pipeline", "article_key"],
    distinct: &["article_key"],
};

fn hour(text: &str) -> Option<i64> {
    Some(us(text))
}

fn these(hours: &[Option<i64>]) -> RangeSet {
    RangeSet::Only(hours.iter().copied().collect())
}

fn old(keys: &[&str], times: &[Option<&str>]) -> SupersededRecords {
    SupersededRecords {
        keys: keys.iter().map(|k| (*k).to_owned()).collect(),
        times: times.iter().flatten().map(|t| us(t)).collect(),
        keys_maybe_untimed: keys.iter().map(|k| (*k).to_owned()).collect::<HashSet<_>>(),
    }
}

/// Replaces records of a pipeline; the table's version after it.
async fn replace(
    table: &UnifiedTable,
    land: i64,
    superseded: &SupersededRecords,
    rows: &[FixtureFact],
) -> u64 {
    let step = step("hecone", land - 1, land);
    table
        .replace(&step, superseded, facts("hecone", land, rows))
        .await
        .unwrap()
        .version
}

async fn touched(place: &TempWarehouse, since: Option<u64>, now: u64) -> ChangedRanges {
    let since = since.map(TableVersion::from);
    place
        .open()
        .await
        .changed_ranges("unified/articles", since.as_ref(), &now.into(), &COLUMNS)
        .await
        .unwrap()
}

#[tokio::test]
async fn old_and_new_hours_of_changed_rows_are_touched_and_no_others() {
    let place = TempWarehouse::new();
    let table = place.open().await.unified_table(Arc::new(fact_spec()));
    let rows = [
        FixtureFact("a", "a", TEN, 1),
        FixtureFact("b", "b", ALSO_TEN, 2),
        FixtureFact("c", "c", ELEVEN, 3),
        FixtureFact("n", "n", None, 4),
    ];
    let first = replace(&table, 1, &SupersededRecords::default(), &rows).await;
    let everything = touched(&place, None, first).await;
    assert_eq!(
        everything.0,
        BTreeMap::from([("hecone".to_owned(), RangeSet::All)])
    );
    assert!(!everything.is_empty());
    assert!(touched(&place, Some(first), first).await.is_empty());

    // The same content again, in a file written anew: nothing is touched.
    let again = replace(
        &table,
        2,
        &old(&["a"], &[TEN]),
        &[FixtureFact("a", "a", TEN, 1)],
    )
    .await;
    assert!(touched(&place, Some(first), again).await.is_empty());

    // Content changes, the hour stays; b, in the same hour and file, does not matter.
    let changed = replace(
        &table,
        3,
        &old(&["a"], &[TEN]),
        &[FixtureFact("a", "a", TEN, 7)],
    )
    .await;
    let ten = hour("2026-01-10T10:00:00Z");
    assert_eq!(
        touched(&place, Some(again), changed).await.0["hecone"],
        these(&[ten])
    );

    // It moves to another month: the hour it left and the one it came to.
    let moved = replace(
        &table,
        4,
        &old(&["a"], &[TEN]),
        &[FixtureFact("a", "a", MARCH, 7)],
    )
    .await;
    let march = hour("2026-03-01T00:00:00Z");
    assert_eq!(
        touched(&place, Some(changed), moved).await.0["hecone"],
        these(&[ten, march])
    );

    // A record without a time gets one; and another vanishes.
    let timed = replace(
        &table,
        5,
        &old(&["n", "c"], &[ELEVEN]),
        &[FixtureFact("n", "n", MARCH, 4)],
    )
    .await;
    let expected = these(&[None, hour("2026-01-10T11:00:00Z"), march]);
    assert_eq!(
        touched(&place, Some(moved), timed).await.0["hecone"],
        expected
    );

    // Over several versions at once; ten lost a, March won a and n.
    assert_eq!(
        touched(&place, Some(first), timed).await.0["hecone"],
        these(&[None, ten, hour("2026-01-10T11:00:00Z"), march])
    );
}

#[tokio::test]
async fn rows_that_swap_their_hours_are_noticed() {
    let place = TempWarehouse::new();
    let table = place.open().await.unified_table(Arc::new(fact_spec()));
    let first = replace(
        &table,
        1,
        &SupersededRecords::default(),
        &[
            FixtureFact("a", "a", TEN, 1),
            FixtureFact("b", "b", ELEVEN, 2),
        ],
    )
    .await;
    let swapped = replace(
        &table,
        2,
        &old(&["a", "b"], &[TEN, ELEVEN]),
        &[
            FixtureFact("a", "a", TEN, 2),
            FixtureFact("b", "b", ELEVEN, 1),
        ],
    )
    .await;
    let both = these(&[hour("2026-01-10T10:00:00Z"), hour("2026-01-10T11:00:00Z")]);
    assert_eq!(
        touched(&place, Some(first), swapped).await.0["hecone"],
        both
    );
}

#[tokio::test]
async fn only_new_months_are_not_compared() {
    let place = TempWarehouse::new();
    let table = place.open().await.unified_table(Arc::new(fact_spec()));
    let first = replace(
        &table,
        1,
        &SupersededRecords::default(),
        &[FixtureFact("a", "a", TEN, 1)],
    )
    .await;
    let second = replace(
        &table,
        2,
        &SupersededRecords::default(),
        &[FixtureFact("m", "m", MARCH, 1)],
    )
    .await;
    place.store.data_files_read();
    let found = touched(&place, Some(first), second).await;
    assert_eq!(found.0["hecone"], these(&[hour("2026-03-01T00:00:00Z")]));
    assert_eq!(
        place.store.data_files_read(),
        1,
        "the files that both versions have are not opened"
    );
}

#[tokio::test]
async fn pipelines_are_told_apart_and_versions_that_are_gone_are_an_error() {
    let place = TempWarehouse::new();
    let table = place.open().await.unified_table(Arc::new(fact_spec()));
    let first = replace(
        &table,
        1,
        &SupersededRecords::default(),
        &[FixtureFact("a", "a", TEN, 1)],
    )
    .await;
    let other = step("other", 0, 1);
    let rows = facts("other", 1, &[FixtureFact("a", "a", ELEVEN, 1)]);
    let second = table
        .replace(&other, &SupersededRecords::default(), rows)
        .await
        .unwrap()
        .version;
    let found = touched(&place, Some(first), second).await;
    assert_eq!(
        found.0,
        BTreeMap::from([("other".to_owned(), these(&[hour("2026-01-10T11:00:00Z")]))])
    );
    let partitions = place
        .open()
        .await
        .facts("unified/articles", &second.into())
        .await
        .unwrap()
        .unwrap()
        .partitions()
        .unwrap();
    let shown: Vec<_> = partitions
        .iter()
        .map(|p| (p.pipeline.as_str(), p.month.as_str(), p.rows))
        .collect();
    assert_eq!(
        shown,
        [
            ("hecone", "2026-01", Some(1)),
            ("other", "2026-01", Some(1))
        ]
    );
    let missing = place
        .open()
        .await
        .changed_ranges(
            "unified/articles",
            Some(&first.into()),
            &99.into(),
            &COLUMNS,
        )
        .await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::Storage);
}
