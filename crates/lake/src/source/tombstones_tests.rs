//! Records that disappear from what is read whole, and come back.
//!
//! Invariant: each test fails when its rule is taken out of the code.

use super::*;
use crate::faulty_store::{
    FixtureRecord, TempWarehouse, page, run, source_spec, sql, t, warehouse_of,
};

const JAN: Option<&str> = Some("2026-01-10T10:00:00Z");
const HISTORY: &str = "SELECT id, _load_id, CAST(amount * 10000 AS BIGINT), _deleted_at, month FROM t ORDER BY _load_id, id";

fn there(keys: &'static [&'static str]) -> impl Fn(&str) -> bool + Send {
    |key| keys.contains(&key)
}

#[tokio::test]
async fn what_is_gone_is_marked_once_and_may_come_back() {
    let place = TempWarehouse::new();
    let table = place
        .open()
        .await
        .source_table("vending", Arc::new(source_spec()));
    let nothing = table
        .write_tombstones(there(&[]), t("2026-03-01T00:00:00Z"), &run("r"))
        .await
        .unwrap();
    assert_eq!(nothing, LandingSummary::default(), "no table, nothing gone");
    let first = [
        FixtureRecord("a", JAN, 1, None),
        FixtureRecord("b", None, 1, None),
        FixtureRecord("c", JAN, 1, None),
    ];
    table
        .land(vec![page("2026-03-01T00:00:00Z", &first)], &run("r"))
        .await
        .unwrap();
    table
        .land(
            vec![page(
                "2026-03-02T00:00:00Z",
                &[FixtureRecord("a", JAN, 2, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    for round in 0..2 {
        let landed = table
            .write_tombstones(there(&["c", "x"]), t("2026-03-03T00:00:00Z"), &run("r"))
            .await
            .unwrap();
        assert_eq!(
            (landed.changed, landed.load_id),
            if round == 0 { (2, 3) } else { (0, 3) }
        );
    }
    let back = table
        .land(
            vec![page(
                "2026-03-04T00:00:00Z",
                &[FixtureRecord("a", JAN, 2, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    assert_eq!((back.new, back.changed, back.unchanged), (0, 1, 0));
    let still = table
        .write_tombstones(there(&["a", "c"]), t("2026-03-05T00:00:00Z"), &run("r"))
        .await
        .unwrap();
    assert_eq!(still.changed, 0);
    assert_eq!(
        sql(&warehouse_of(&table.registry), &table.path, None, HISTORY).await,
        [
            "a 1 1 - 2026-01",
            "b 1 1 - none",
            "c 1 1 - 2026-01",
            "a 2 2 - 2026-01",
            "a 3 2 2026-03-03T00:00:00Z 2026-01",
            "b 3 1 2026-03-03T00:00:00Z none",
            "a 4 2 - 2026-01",
        ]
    );
}

#[tokio::test]
async fn a_page_asked_for_before_the_mark_does_not_bring_a_record_back() {
    let place = TempWarehouse::new();
    let table = place
        .open()
        .await
        .source_table("vending", Arc::new(source_spec()));
    table
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[FixtureRecord("a", JAN, 1, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    table
        .write_tombstones(there(&[]), t("2026-03-03T00:00:00Z"), &run("r"))
        .await
        .unwrap();
    let slow = table
        .land(
            vec![page(
                "2026-03-02T00:00:00Z",
                &[FixtureRecord("a", JAN, 1, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    assert_eq!((slow.changed, slow.stale), (0, 1));
}

#[test]
fn what_a_list_loses_is_told_where_it_is_all_or_most_of_many() {
    for (gone, live, told) in [
        (0, 0, false),
        (0, 9, false),
        (1, 1, true),
        (9, 9, true),
        (8, 9, false),
        (6, 11, true),
        (5, 10, false),
        (6, 10, true),
        (1, 1_000, false),
    ] {
        assert_eq!(super::is_suspicious(gone, live), told, "{gone} of {live}");
    }
}
