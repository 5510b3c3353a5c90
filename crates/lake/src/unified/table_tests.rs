//! The law of unified tables, rule by rule.
//!
//! Invariant: each test fails when its rule is taken out of the code.

use super::*;
use crate::faulty_store::{
    FixtureFact, TempWarehouse, dimension_spec, fact_spec, facts, sites, sql, step, us,
    warehouse_of,
};
use crate::file::replacement::ReplaceSummary;
use crate::unified::step::SupersededRecords;
use futures::{FutureExt, StreamExt};
use std::collections::HashSet;
use tokio::sync::oneshot;

const ROWS: &str = "SELECT article_key, month, CAST(amount * 10000 AS BIGINT), _load_id FROM t ORDER BY article_key, _load_id";
const JAN: Option<&str> = Some("2026-01-10T10:00:00.000900Z");
const FEB: Option<&str> = Some("2026-02-03T10:00:00Z");
const MAR: Option<&str> = Some("2026-03-03T10:00:00Z");

async fn table(place: &TempWarehouse) -> UnifiedTable {
    place.open().await.unified_table(Arc::new(fact_spec()))
}

async fn rows(table: &UnifiedTable) -> Vec<String> {
    sql(&warehouse_of(&table.registry), &table.path, None, ROWS).await
}

fn new(keys: &[&str]) -> SupersededRecords {
    SupersededRecords {
        keys_maybe_untimed: keys.iter().map(|k| (*k).to_owned()).collect(),
        ..SupersededRecords::default()
    }
}

fn old(keys: &[&str], times: &[Option<&str>]) -> SupersededRecords {
    SupersededRecords {
        keys: keys.iter().map(|k| (*k).to_owned()).collect(),
        times: times.iter().flatten().map(|t| us(t)).collect(),
        keys_maybe_untimed: HashSet::new(),
    }
}

/// Replaces records of a pipeline's packages behind one, up to another.
async fn replace(
    table: &UnifiedTable,
    (pipeline, after, to): (&str, i64, i64),
    superseded: &SupersededRecords,
    rows: &[FixtureFact],
) -> ReplaceSummary {
    let step = step(pipeline, after, to);
    let done = table.replace(&step, superseded, facts(pipeline, to, rows));
    done.await.unwrap()
}

#[tokio::test]
async fn a_record_is_replaced_as_a_whole_also_when_it_moved_month_or_lost_an_article() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let first = [
        FixtureFact("a", "a1", JAN, 1),
        FixtureFact("a", "a2", JAN, 2),
        FixtureFact("b", "b1", JAN, 3),
        FixtureFact("n", "n1", None, 4),
    ];
    let done = replace(&table, ("hecone", 0, 1), &new(&["a", "b", "n"]), &first).await;
    assert_eq!(
        (done.rows_added, done.rows_removed, done.files_read),
        (4, 0, 0)
    );
    // a moves to February and loses its second article.
    let moved = [FixtureFact("a", "a1", FEB, 10)];
    let done = replace(&table, ("hecone", 1, 2), &old(&["a"], &[JAN]), &moved).await;
    assert_eq!(
        (done.rows_added, done.rows_removed, done.files_read),
        (1, 2, 1)
    );
    assert_eq!(
        rows(&table).await,
        [
            "hecone:a1 2026-02 10 2",
            "hecone:b1 2026-01 3 1",
            "hecone:n1 none 4 1"
        ]
    );
    // n had no time and gets one; its key says "new or untimed".
    let timed = [FixtureFact("n", "n1", MAR, 5)];
    let done = replace(&table, ("hecone", 2, 3), &new(&["n"]), &timed).await;
    assert_eq!((done.rows_removed, done.files_read), (1, 1));
    assert_eq!(
        rows(&table).await,
        [
            "hecone:a1 2026-02 10 2",
            "hecone:b1 2026-01 3 1",
            "hecone:n1 2026-03 5 3"
        ]
    );
    assert_eq!(table.progress("hecone", "transactions").await.unwrap(), 3);
}

#[tokio::test]
async fn new_records_read_nothing_and_changed_ones_only_the_files_of_their_time() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    for (i, time) in [JAN, FEB, MAR].into_iter().enumerate() {
        let key = ["a", "b", "c"][i];
        let land = i as i64 + 1;
        place.store.data_files_read();
        let done = replace(
            &table,
            ("hecone", land - 1, land),
            &new(&[key]),
            &[FixtureFact(key, key, time, land)],
        )
        .await;
        assert_eq!((done.files_read, place.store.data_files_read()), (0, 0));
    }
    replace(
        &table,
        ("other", 0, 1),
        &new(&["b"]),
        &[FixtureFact("b", "b", FEB, 9)],
    )
    .await;
    place.store.data_files_read();
    let done = replace(
        &table,
        ("hecone", 3, 4),
        &old(&["b"], &[FEB]),
        &[FixtureFact("b", "b", FEB, 4)],
    )
    .await;
    assert_eq!(
        (
            done.files_read,
            done.rows_removed,
            place.store.data_files_read()
        ),
        (1, 1, 1)
    );
    assert_eq!(
        rows(&table).await,
        [
            "hecone:a 2026-01 1 1",
            "hecone:b 2026-02 4 4",
            "hecone:c 2026-03 3 3",
            "other:b 2026-02 9 1"
        ]
    );
}

#[tokio::test]
async fn new_rows_stand_in_one_file_with_those_that_stay_of_small_ones() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let first = [FixtureFact("a", "a", JAN, 1), FixtureFact("b", "b", JAN, 2)];
    replace(&table, ("hecone", 0, 1), &new(&["a", "b"]), &first).await;
    // a changes; b stays; c is new, d as well in another month.
    let second = [
        FixtureFact("a", "a", JAN, 3),
        FixtureFact("c", "c", JAN, 4),
        FixtureFact("d", "d", FEB, 5),
    ];
    let done = replace(&table, ("hecone", 1, 2), &old(&["a"], &[JAN]), &second).await;
    assert_eq!((done.rows_added, done.rows_removed), (3, 1));
    let snapshot = table.table().unwrap().latest().await.unwrap().unwrap();
    let mut files: Vec<_> = snapshot.files.iter().map(|file| file.rows).collect();
    files.sort_unstable();
    assert_eq!(files, [Some(1), Some(3)], "February, and all of January");
    assert_eq!(
        rows(&table).await,
        [
            "hecone:a 2026-01 3 2",
            "hecone:b 2026-01 2 1",
            "hecone:c 2026-01 4 2",
            "hecone:d 2026-02 5 2"
        ]
    );
}

#[tokio::test]
async fn progress_survives_a_crash_and_a_step_is_never_done_twice() {
    let place = TempWarehouse::new();
    let one = table(&place).await;
    assert_eq!(one.progress("hecone", "transactions").await.unwrap(), 0);
    let first = || facts("hecone", 2, &[FixtureFact("a", "a", JAN, 1)]);
    one.replace(&step("hecone", 0, 2), &new(&["a"]), first())
        .await
        .unwrap();
    drop(one);
    // Another process takes up: it sees the mark, and doing the step again changes nothing.
    let two = table(&place).await;
    assert_eq!(two.progress("hecone", "transactions").await.unwrap(), 2);
    let again = two
        .replace(&step("hecone", 0, 2), &new(&["a"]), first())
        .await
        .unwrap();
    assert_eq!((again.rows_added, again.version), (0, 1));
    assert_eq!(rows(&two).await, ["hecone:a 2026-01 1 2"]);
    // A step that begins elsewhere than where the table is would double rows.
    let error = two
        .replace(&step("hecone", 0, 5), &new(&["a"]), first())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(
        two.progress("other", "transactions").await.unwrap(),
        0,
        "every pipeline has its own mark"
    );
}

#[tokio::test]
async fn a_step_without_rows_moves_the_mark() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    replace(&table, ("hecone", 0, 3), &SupersededRecords::default(), &[]).await;
    assert_eq!(table.progress("hecone", "transactions").await.unwrap(), 3);
    assert_eq!(rows(&table).await, Vec::<String>::new());
}

#[tokio::test]
async fn another_pipelines_commit_in_between_costs_no_work() {
    let place = TempWarehouse::new();
    let (one, two) = (table(&place).await, table(&place).await);
    replace(
        &one,
        ("hecone", 0, 1),
        &new(&["a"]),
        &[FixtureFact("a", "a", JAN, 1)],
    )
    .await;
    let rival = two.clone();
    place.store.before_next_commit(move || {
        async move {
            replace(
                &rival,
                ("other", 0, 1),
                &new(&["a"]),
                &[FixtureFact("a", "a", JAN, 5)],
            )
            .await;
        }
        .boxed()
    });
    let done = replace(
        &one,
        ("hecone", 1, 2),
        &old(&["a"], &[JAN]),
        &[FixtureFact("a", "a", JAN, 2)],
    )
    .await;
    assert_eq!(
        (done.files_read, done.version),
        (1, 3),
        "committed again on the new version, nothing read twice"
    );
    assert_eq!(
        rows(&one).await,
        ["hecone:a 2026-01 2 2", "other:a 2026-01 5 1"]
    );
}

#[tokio::test]
async fn a_commit_in_the_same_partitions_makes_the_loser_read_again() {
    let place = TempWarehouse::new();
    let (one, two) = (table(&place).await, table(&place).await);
    let both = [FixtureFact("a", "a", JAN, 1), FixtureFact("b", "b", JAN, 1)];
    replace(&one, ("hecone", 0, 1), &new(&["a", "b"]), &both).await;
    // Another resource of the same pipeline writes the very file anew.
    let rival = two.clone();
    place.store.before_next_commit(move || {
        async move {
            let other = UnifyStep {
                resource: "corrections".to_owned(),
                ..step("hecone", 0, 1)
            };
            rival
                .replace(
                    &other,
                    &old(&["b"], &[JAN]),
                    facts("hecone", 1, &[FixtureFact("b", "b", JAN, 7)]),
                )
                .await
                .unwrap();
        }
        .boxed()
    });
    let done = replace(
        &one,
        ("hecone", 1, 2),
        &old(&["a"], &[JAN]),
        &[FixtureFact("a", "a", JAN, 2)],
    )
    .await;
    assert_eq!(done.version, 3);
    assert_eq!(
        rows(&one).await,
        ["hecone:a 2026-01 2 2", "hecone:b 2026-01 7 1"],
        "no row doubled, none lost"
    );
}

#[tokio::test]
async fn of_two_runs_that_do_the_same_step_one_counts() {
    let place = TempWarehouse::new();
    let (one, two) = (table(&place).await, table(&place).await);
    replace(
        &one,
        ("hecone", 0, 1),
        &new(&["a"]),
        &[FixtureFact("a", "a", JAN, 1)],
    )
    .await;
    let rival = two.clone();
    place.store.before_next_commit(move || {
        async move {
            replace(
                &rival,
                ("hecone", 1, 2),
                &new(&["b"]),
                &[FixtureFact("b", "b", JAN, 2)],
            )
            .await;
        }
        .boxed()
    });
    let done = replace(
        &one,
        ("hecone", 1, 2),
        &new(&["b"]),
        &[FixtureFact("b", "b", JAN, 2)],
    )
    .await;
    assert_eq!((done.rows_added, done.version), (0, 2));
    assert_eq!(
        rows(&one).await,
        ["hecone:a 2026-01 1 1", "hecone:b 2026-01 2 2"]
    );
}

#[tokio::test]
async fn a_commit_whose_error_hides_its_success_counts_once() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    place.store.hide_success(2);
    replace(
        &table,
        ("hecone", 0, 1),
        &new(&["a"]),
        &[FixtureFact("a", "a", JAN, 1)],
    )
    .await;
    assert_eq!(rows(&table).await, ["hecone:a 2026-01 1 1"]);
    assert_eq!(table.version().await.unwrap(), Some(1));
}

#[tokio::test]
async fn clearing_starts_anew_for_one_pipeline() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    table.clear("hecone", "run").await.unwrap();
    assert_eq!(
        table.version().await.unwrap(),
        None,
        "nothing to clear, nothing made"
    );
    for pipeline in ["hecone", "other"] {
        replace(
            &table,
            (pipeline, 0, 4),
            &new(&["a"]),
            &[FixtureFact("a", "a", JAN, 1)],
        )
        .await;
    }
    for _ in 0..2 {
        table.clear("hecone", "run").await.unwrap();
        assert_eq!(table.progress("hecone", "transactions").await.unwrap(), 0);
        assert_eq!(table.progress("other", "transactions").await.unwrap(), 4);
        assert_eq!(rows(&table).await, ["other:a 2026-01 1 4"]);
        replace(
            &table,
            ("hecone", 0, 2),
            &new(&["a"]),
            &[FixtureFact("a", "a", JAN, 1)],
        )
        .await;
        assert_eq!(
            self::table(&place)
                .await
                .progress("hecone", "transactions")
                .await
                .unwrap(),
            2
        );
        assert_eq!(rows(&table).await.len(), 2);
    }
}

#[tokio::test]
async fn a_pipeline_is_taken_back_to_a_version_and_goes_on_from_there() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let fact = |key: &'static str, amount| [FixtureFact(key, key, JAN, amount)];
    let add = async |pipeline: &str, step: (i64, i64), superseded, rows: &[FixtureFact]| {
        let step = self::step(pipeline, step.0, step.1);
        let rows = facts(pipeline, step.to_load_id, rows);
        table.replace(&step, &superseded, rows).await.unwrap();
    };
    add("hecone", (0, 1), new(&["a"]), &fact("a", 1)).await;
    let published = table.version().await.unwrap();
    let then = rows(&table).await;
    // One record changes and another comes; so does one of another pipeline.
    let both = [FixtureFact("a", "a", JAN, 2), FixtureFact("b", "b", FEB, 3)];
    let second = || SupersededRecords {
        keys_maybe_untimed: HashSet::from(["b".to_owned()]),
        ..old(&["a"], &[JAN])
    };
    add("hecone", (1, 2), second(), &both).await;
    add("other", (0, 7), new(&["a"]), &fact("a", 9)).await;
    let of_all = rows(&table).await;
    for _ in 0..2 {
        let resources = ["payments", "transactions"];
        table
            .restore("hecone", published, &resources, "run")
            .await
            .unwrap();
        let now = rows(&table).await;
        assert_eq!(
            now,
            [then.clone(), vec!["other:a 2026-01 9 7".to_owned()]].concat()
        );
        assert_eq!(table.progress("hecone", "transactions").await.unwrap(), 1);
        assert_eq!(table.progress("hecone", "payments").await.unwrap(), 0);
        assert_eq!(table.progress("other", "transactions").await.unwrap(), 7);
        let version = table.version().await.unwrap();
        table
            .restore("hecone", published, &resources, "run")
            .await
            .unwrap();
        assert_eq!(table.version().await.unwrap(), version, "once is enough");
        // The step is taken again, by this process or another one.
        let again = self::table(&place).await;
        assert_eq!(again.progress("hecone", "transactions").await.unwrap(), 1);
        add("hecone", (1, 2), second(), &both).await;
        assert_eq!(rows(&table).await, of_all);
    }
    table
        .restore("hecone", None, &["transactions"], "run")
        .await
        .unwrap();
    assert_eq!(rows(&table).await, ["other:a 2026-01 9 7"]);
    assert_eq!(table.progress("hecone", "transactions").await.unwrap(), 0);
}

#[tokio::test]
async fn rows_that_do_not_fit_are_refused_and_nothing_is_committed() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let error = table
        .replace(
            &step("hecone", 0, 1),
            &new(&["a"]),
            facts("other", 1, &[FixtureFact("a", "a", JAN, 1)]),
        )
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let error = table
        .replace(
            &step("hecone", 0, 1),
            &new(&["a"]),
            sites("hecone", &[("s", "Site", 1)]),
        )
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(table.progress("hecone", "transactions").await.unwrap(), 0);
}

const SITES: &str = "SELECT site_key, name, _as_of FROM t ORDER BY pipeline, site_key";

#[tokio::test]
async fn a_dimension_does_not_depend_on_the_order_in_which_its_rows_came() {
    let came: [&[(&str, &str, i64)]; 4] = [
        &[("s1", "Old", 10), ("s2", "Two", 10)],
        &[("s1", "New", 30)],
        &[("s1", "Old", 40)],
        &[("s1", "Middle", 35), ("s2", "Twa", 10)],
    ];
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]];
    for order in orders {
        let place = TempWarehouse::new();
        let table = place.open().await.unified_table(Arc::new(dimension_spec()));
        for (i, which) in order.into_iter().enumerate() {
            table
                .merge(
                    &step("hecone", i as i64, i as i64 + 1),
                    sites("hecone", came[which]),
                )
                .await
                .unwrap();
        }
        assert_eq!(
            sql(&warehouse_of(&table.registry), &table.path, None, SITES).await,
            ["s1 Old 1970-01-01T00:00:40Z", "s2 Two 1970-01-01T00:00:10Z"],
            "{order:?}"
        );
    }
}

#[tokio::test]
async fn a_dimension_is_written_anew_only_when_a_row_changed() {
    let place = TempWarehouse::new();
    let table = place.open().await.unified_table(Arc::new(dimension_spec()));
    let done = table
        .merge(
            &step("hecone", 0, 1),
            sites(
                "hecone",
                &[("s1", "One", 10), ("s2", "Two", 10), ("s1", "Uno", 20)],
            ),
        )
        .await
        .unwrap();
    assert_eq!((done.rows_added, done.rows_removed), (2, 0));
    table
        .merge(&step("other", 0, 1), sites("other", &[("s1", "Other", 10)]))
        .await
        .unwrap();
    let before = table
        .table()
        .unwrap()
        .latest()
        .await
        .unwrap()
        .unwrap()
        .files;
    let same = table
        .merge(
            &step("hecone", 1, 2),
            sites("hecone", &[("s1", "Eins", 15), ("s2", "Two", 10)]),
        )
        .await
        .unwrap();
    assert_eq!(
        (same.rows_added, same.rows_removed, same.files_read),
        (0, 0, 1)
    );
    assert_eq!(
        table
            .table()
            .unwrap()
            .latest()
            .await
            .unwrap()
            .unwrap()
            .files,
        before,
        "no file changed"
    );
    assert_eq!(
        table.progress("hecone", "transactions").await.unwrap(),
        2,
        "but the step is marked"
    );
    // Named again with the same words, later on the same day.
    let again = table
        .merge(
            &step("hecone", 2, 3),
            sites("hecone", &[("s1", "Uno", 25), ("s2", "Two", 86_409)]),
        )
        .await
        .unwrap();
    assert_eq!((again.rows_added, again.rows_removed), (0, 0));
    let files = table
        .table()
        .unwrap()
        .latest()
        .await
        .unwrap()
        .unwrap()
        .files;
    assert_eq!(files, before, "no file changed");
    // A day later its time is written, and with it every other that came.
    let again = table
        .merge(
            &step("hecone", 3, 4),
            sites("hecone", &[("s1", "Uno", 25), ("s2", "Two", 86_410)]),
        )
        .await
        .unwrap();
    assert_eq!((again.rows_added, again.rows_removed), (2, 2));
    // A new row is written with the others.
    let done = table
        .merge(
            &step("hecone", 4, 5),
            sites("hecone", &[("s2", "Deux", 86_411)]),
        )
        .await
        .unwrap();
    assert_eq!((done.rows_added, done.rows_removed), (1, 1));
    let files = table
        .table()
        .unwrap()
        .latest()
        .await
        .unwrap()
        .unwrap()
        .files;
    assert_eq!(files.len(), 2, "one file a pipeline");
    let names = "SELECT pipeline, name FROM t ORDER BY pipeline, site_key";
    assert_eq!(
        sql(&warehouse_of(&table.registry), &table.path, None, names).await,
        ["hecone Uno", "hecone Deux", "other Other"]
    );
}

#[tokio::test]
async fn racing_merges_lose_no_row() {
    let place = TempWarehouse::new();
    let one = place.open().await.unified_table(Arc::new(dimension_spec()));
    let two = place.open().await.unified_table(Arc::new(dimension_spec()));
    one.merge(&step("hecone", 0, 1), sites("hecone", &[("s1", "One", 10)]))
        .await
        .unwrap();
    let rival = two.clone();
    place.store.before_next_commit(move || {
        async move {
            let other = UnifyStep {
                resource: "places".to_owned(),
                ..step("hecone", 0, 1)
            };
            rival
                .merge(
                    &other,
                    sites("hecone", &[("s1", "Newest", 99), ("s3", "Three", 10)]),
                )
                .await
                .unwrap();
        }
        .boxed()
    });
    one.merge(
        &step("hecone", 1, 2),
        sites("hecone", &[("s1", "Newer", 50), ("s2", "Two", 10)]),
    )
    .await
    .unwrap();
    let names = "SELECT site_key, name FROM t ORDER BY site_key";
    assert_eq!(
        sql(&warehouse_of(&one.registry), &one.path, None, names).await,
        ["s1 Newest", "s2 Two", "s3 Three"]
    );
}

#[tokio::test]
async fn a_mark_another_process_moved_is_seen_after_a_commit_of_ones_own() {
    let place = TempWarehouse::new();
    let (one, two) = (table(&place).await, table(&place).await);
    replace(
        &one,
        ("hecone", 0, 1),
        &new(&["a"]),
        &[FixtureFact("a", "a", JAN, 1)],
    )
    .await;
    assert_eq!(one.progress("hecone", "transactions").await.unwrap(), 1);
    replace(
        &two,
        ("hecone", 1, 2),
        &new(&["b"]),
        &[FixtureFact("b", "b", JAN, 1)],
    )
    .await;
    replace(
        &one,
        ("other", 0, 1),
        &new(&["a"]),
        &[FixtureFact("a", "a", JAN, 1)],
    )
    .await;
    assert_eq!(one.progress("hecone", "transactions").await.unwrap(), 2);
}

/// A dimension and its carrier, as a process sees them that has read nothing before.
async fn carried(place: &TempWarehouse) -> UnifiedTable {
    let warehouse = place.open().await;
    let carrier = warehouse.unified_table(Arc::new(fact_spec()));
    warehouse
        .unified_table(Arc::new(dimension_spec()))
        .carried_by(carrier)
}

/// Takes one step of both, in which a site is named; cut short before the carrier commits, where it is not whole.
async fn take_site(place: &TempWarehouse, to: i64, (name, as_of): (&str, i64), is_whole: bool) {
    let dimension = carried(place).await;
    let (send, receive) = oneshot::channel();
    let nothing = SupersededRecords::default();
    let after = dimension.progress("hecone", "transactions").await.unwrap();
    let mut writing = dimension.begin("hecone").unwrap();
    let mut named = sites("hecone", &[("s1", name, as_of)]);
    while let Some(batch) = named.next().await {
        writing.write(batch.unwrap()).await.unwrap();
    }
    let its = step("hecone", after, to);
    let done = writing.commit_with(&its, &nothing, WatermarkPlace::Carrier(send));
    done.await.unwrap();
    if is_whole {
        let carrier = dimension.carrier.as_ref().unwrap();
        let after = carrier.progress("hecone", "transactions").await.unwrap();
        let writing = carrier.begin("hecone").unwrap();
        let its = step("hecone", after, to);
        let done = writing.commit_with(&its, &nothing, WatermarkPlace::OwnLog(vec![receive]));
        done.await.unwrap();
    }
}

/// Version and progress of a dimension, as a process sees them that has read nothing before.
async fn standing(place: &TempWarehouse) -> (u64, i64) {
    let dimension = carried(place).await;
    let version = dimension.version().await.unwrap().unwrap();
    let progress = dimension.progress("hecone", "transactions").await;
    (version, progress.unwrap())
}

#[tokio::test]
async fn a_step_that_changes_no_row_is_marked_by_the_carriers_commit_alone() {
    let place = TempWarehouse::new();
    take_site(&place, 1, ("One", 10), true).await;
    let (first, progress) = standing(&place).await;
    assert_eq!(progress, 1, "its first watermark stands in its own log");
    take_site(&place, 2, ("One", 10), true).await;
    assert_eq!(standing(&place).await, (first, 2));
    // Cut short before the carrier commits: it is taken again.
    take_site(&place, 4, ("One", 11), false).await;
    assert_eq!(standing(&place).await, (first, 2));
    take_site(&place, 4, ("One", 11), true).await;
    assert_eq!(standing(&place).await, (first, 4));
    // A row that changes is committed with its watermark, whatever becomes of the carrier.
    take_site(&place, 5, ("Two", 20), false).await;
    assert_eq!(standing(&place).await, (first + 1, 5));
    take_site(&place, 6, ("Two", 20), true).await;
    assert_eq!(standing(&place).await, (first + 1, 6));
    // Without a carrier in the step, a table is committed by itself.
    let dimension = carried(&place).await;
    let (its, same) = (step("hecone", 6, 7), sites("hecone", &[("s1", "Two", 20)]));
    dimension.merge(&its, same).await.unwrap();
    assert_eq!(standing(&place).await, (first + 2, 7));
}

#[tokio::test]
async fn what_was_carried_says_nothing_of_a_table_that_is_not_what_it_was() {
    let place = TempWarehouse::new();
    take_site(&place, 1, ("One", 10), true).await;
    take_site(&place, 2, ("One", 10), true).await;
    let (published, _) = standing(&place).await;
    take_site(&place, 3, ("Two", 20), true).await;
    take_site(&place, 4, ("Two", 20), true).await;
    let (newest, progress) = standing(&place).await;
    assert_eq!((newest, progress), (published + 1, 4));
    // It loses the commit that the carried watermark goes on from.
    let commit = format!("unified/sites/_delta_log/{newest:020}.json");
    let commit = place.root().join(commit);
    let content = std::fs::read(&commit).unwrap();
    std::fs::remove_file(&commit).unwrap();
    assert_eq!(standing(&place).await, (published, 1));
    std::fs::write(&commit, content).unwrap();
    assert_eq!(standing(&place).await, (newest, 4));
    // It is taken back.
    let dimension = carried(&place).await;
    let back = dimension.restore("hecone", Some(published), &["transactions"], "run");
    back.await.unwrap();
    assert_eq!(standing(&place).await, (newest + 1, 1));
    take_site(&place, 5, ("One", 10), true).await;
    assert_eq!(standing(&place).await, (newest + 1, 5));
    // Nothing is to be taken back of what is as it was.
    let dimension = carried(&place).await;
    let back = dimension.restore("hecone", Some(newest + 1), &["transactions"], "run");
    back.await.unwrap();
    assert_eq!(standing(&place).await, (newest + 1, 5));
    // It is emptied.
    dimension.clear("hecone", "run").await.unwrap();
    assert_eq!(standing(&place).await, (newest + 2, 0));
}

#[tokio::test]
async fn what_is_taken_back_has_the_packages_that_changed_none_of_its_rows() {
    let place = TempWarehouse::new();
    take_site(&place, 1, ("One", 10), true).await;
    take_site(&place, 2, ("One", 10), true).await;
    let (published, _) = standing(&place).await;
    take_site(&place, 3, ("Two", 20), true).await;
    let dimension = carried(&place).await;
    for _ in 0..2 {
        let back = dimension.restore("hecone", Some(published), &["transactions"], "run");
        back.await.unwrap();
        assert_eq!(standing(&place).await, (published + 2, 2));
    }
    // Emptied for a rebuild that fails.
    dimension.clear("hecone", "run").await.unwrap();
    take_site(&place, 3, ("Three", 30), true).await;
    let dimension = carried(&place).await;
    let back = dimension.restore("hecone", Some(published), &["transactions"], "run");
    back.await.unwrap();
    assert_eq!(standing(&place).await, (published + 5, 2));
}

#[tokio::test]
async fn no_epoch_is_that_of_an_earlier_table_in_its_place() {
    let place = TempWarehouse::new();
    take_site(&place, 1, ("One", 10), true).await;
    let dimension = carried(&place).await;
    let mut last = dimension.registry.now().as_second() - 1;
    for _ in 0..2 {
        dimension.clear("hecone", "run").await.unwrap();
        let table = dimension.table().unwrap();
        let snapshot = table.latest().await.unwrap().unwrap();
        let epoch = epoch_at(&table, &snapshot, "hecone").await.unwrap();
        assert!(epoch > last, "{epoch} follows {last}");
        last = epoch;
    }
}
