//! Compaction, alone and beside writers.
//!
//! Invariant: whatever races it, no row is lost, doubled or changed, and what was pinned stays as it was.

use super::*;
use crate::faulty_store::{
    FixtureFact, FixtureRecord, TempWarehouse, dimension_spec, fact_spec, facts, page, run, sites,
    source_spec, sql, step, us,
};
use crate::source::table::SourceTable;
use crate::unified::step::SupersededRecords;
use crate::unified::table::UnifiedTable;
use futures::FutureExt;

const SOURCE: &str = "hecone/transactions";
const FACT: &str = "unified/articles";
const VERSIONS: &str = "SELECT id, month, _load_id, _run_id, CAST(amount * 10000 AS BIGINT), articles FROM t ORDER BY _load_id, id";
const ROWS: &str = "SELECT article_key, pipeline, month, CAST(amount * 10000 AS BIGINT), _load_id, _record_time FROM t ORDER BY article_key, _load_id";
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const TIMES: [Option<&str>; 6] = [
    Some("2026-01-10T10:00:00Z"),
    Some("2026-01-03T10:00:00Z"),
    Some("2026-02-03T10:00:00Z"),
    Some("2026-01-20T10:00:00.000900Z"),
    Some("2026-02-01T10:00:00Z"),
    None,
];

fn source(warehouse: &Warehouse) -> SourceTable {
    warehouse.source_table("hecone", Arc::new(source_spec()))
}

fn fact(warehouse: &Warehouse) -> UnifiedTable {
    warehouse.unified_table(Arc::new(fact_spec()))
}

fn old(key: &str, time: Option<&str>) -> SupersededRecords {
    SupersededRecords {
        keys: [key.to_owned()].into(),
        times: time.iter().map(|t| us(t)).collect(),
        keys_maybe_untimed: [key.to_owned()].into(),
    }
}

async fn land(warehouse: &Warehouse, key: &'static str, time: Option<&'static str>, content: i64) {
    let landed = source(warehouse)
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[FixtureRecord(key, time, content, None)],
            )],
            &run("landing"),
        )
        .await
        .unwrap();
    assert_eq!(landed.new + landed.changed, 1);
}

/// A package a record, each unified by itself: a file for each.
async fn fill(place: &TempWarehouse) -> Warehouse {
    let warehouse = place.open().await;
    for (i, (key, time)) in KEYS.into_iter().zip(TIMES).enumerate() {
        let load_id = i as i64 + 1;
        land(&warehouse, key, time, load_id).await;
        let rows = facts("hecone", load_id, &[FixtureFact(key, key, time, load_id)]);
        fact(&warehouse)
            .replace(
                &step("hecone", load_id - 1, load_id),
                &SupersededRecords::default(),
                rows,
            )
            .await
            .unwrap();
    }
    warehouse
}

async fn compact(warehouse: &Warehouse, options: CompactionOptions) -> CompactionSummary {
    let summary = warehouse.compact(options, "upkeep", &|_| {}).await.unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    summary
}

async fn files(warehouse: &Warehouse, path: &str) -> Vec<DataFile> {
    let snapshot = warehouse
        .table(path)
        .unwrap()
        .latest()
        .await
        .unwrap()
        .unwrap();
    snapshot.files.to_vec()
}

async fn version(warehouse: &Warehouse, path: &str) -> u64 {
    warehouse.newest_figures(path).await.unwrap().unwrap().0
}

#[tokio::test]
async fn small_files_become_one_a_partition_and_nothing_else_changes() {
    let place = TempWarehouse::new();
    let warehouse = fill(&place).await;
    let (versions, rows) = (
        sql(&warehouse, SOURCE, None, VERSIONS).await,
        sql(&warehouse, FACT, None, ROWS).await,
    );
    let (was, was_fact) = (
        version(&warehouse, SOURCE).await,
        version(&warehouse, FACT).await,
    );
    let summary = compact(&warehouse, CompactionOptions::everything()).await;
    let told: Vec<_> = summary
        .tables
        .iter()
        .map(|t| {
            (
                t.table.as_str(),
                t.partitions,
                t.files_before,
                t.files_after,
            )
        })
        .collect();
    // January and February; the record without a time is alone in its partition.
    assert_eq!(told, [(SOURCE, 2, 5, Some(2)), (FACT, 2, 5, Some(2))]);
    assert_eq!(sql(&warehouse, SOURCE, None, VERSIONS).await, versions);
    assert_eq!(sql(&warehouse, FACT, None, ROWS).await, rows);
    assert_eq!(sql(&warehouse, SOURCE, Some(was), VERSIONS).await, versions);
    assert_eq!(sql(&warehouse, FACT, Some(was_fact), ROWS).await, rows);
    assert_eq!(
        fact(&warehouse)
            .progress("hecone", "transactions")
            .await
            .unwrap(),
        6
    );
    assert_eq!(source(&warehouse).newest_load_id().await.unwrap(), 6);
    let january = |files: Vec<DataFile>| {
        let mut of_month = files.into_iter().filter(|file| file.month() == "2026-01");
        let file = of_month.next().unwrap();
        assert_eq!(of_month.count(), 0);
        (file.rows, file.load_ids, file.untimed, file.times)
    };
    let times = Some((us("2026-01-03T10:00:00Z"), us("2026-01-20T10:00:00.002Z")));
    for path in [SOURCE, FACT] {
        let found = january(files(&warehouse, path).await);
        assert_eq!(found, (Some(3), Some((1, 4)), Some(0), times), "{path}");
    }
    // Facts stand in the order of their time.
    let unsorted = "SELECT article_key FROM t WHERE month = '2026-01'";
    assert_eq!(
        sql(&warehouse, FACT, None, unsorted).await,
        ["hecone:b", "hecone:a", "hecone:d"]
    );
    // The log says that no data changed.
    let commit = place
        .root()
        .join(SOURCE)
        .join(format!("_delta_log/{:020}.json", was + 1));
    let commit = std::fs::read_to_string(commit).unwrap();
    assert!(
        commit.contains("\"OPTIMIZE\"") && !commit.contains("\"dataChange\":true"),
        "{commit}"
    );
    assert_eq!(commit.matches("\"dataChange\":false").count(), 7);
    // Nothing more to do: nothing is written.
    let newest = version(&warehouse, SOURCE).await;
    let noted = warehouse.ops().maintenance().await.unwrap().len();
    assert_eq!(noted, 2);
    let again = compact(&warehouse, CompactionOptions::everything()).await;
    assert!(again.tables.is_empty());
    assert_eq!(version(&warehouse, SOURCE).await, newest);
    assert_eq!(warehouse.ops().maintenance().await.unwrap().len(), noted);
}

#[tokio::test]
async fn syncs_go_on_as_if_nothing_had_happened() {
    let place = TempWarehouse::new();
    let warehouse = fill(&place).await;
    compact(&warehouse, CompactionOptions::everything()).await;
    // By another process, which knows no keys of the new files.
    let warehouse = place.open().await;
    let again = source(&warehouse)
        .land(
            vec![page(
                "2026-03-02T00:00:00Z",
                &[FixtureRecord("a", TIMES[0], 1, None)],
            )],
            &run("landing"),
        )
        .await
        .unwrap();
    assert_eq!((again.new, again.changed, again.unchanged), (0, 0, 1));
    land(&warehouse, "a", TIMES[0], 70).await;
    let packages = source(&warehouse).packages(None, 6).await.unwrap();
    assert_eq!(
        packages
            .iter()
            .map(|p| (p.load_id, p.records))
            .collect::<Vec<_>>(),
        [(7, 1)]
    );
    let rows = facts("hecone", 7, &[FixtureFact("a", "a", TIMES[0], 70)]);
    let done = fact(&warehouse)
        .replace(&step("hecone", 6, 7), &old("a", TIMES[0]), rows)
        .await
        .unwrap();
    assert_eq!((done.rows_added, done.rows_removed), (1, 1));
    let amounts = "SELECT article_key, CAST(amount * 10000 AS BIGINT) FROM t ORDER BY 1";
    assert_eq!(
        sql(&warehouse, FACT, None, amounts).await,
        [
            "hecone:a 70",
            "hecone:b 2",
            "hecone:c 3",
            "hecone:d 4",
            "hecone:e 5",
            "hecone:f 6"
        ]
    );
    // Packages that were compacted together before they were unified are told apart.
    let all = source(&warehouse).packages(None, 2).await.unwrap();
    assert_eq!(
        all.iter().map(|p| p.load_id).collect::<Vec<_>>(),
        [3, 4, 5, 6, 7]
    );
}

#[tokio::test]
async fn an_upsert_that_takes_an_input_away_is_not_undone() {
    let place = TempWarehouse::new();
    let warehouse = fill(&place).await;
    land(&warehouse, "a", TIMES[0], 70).await;
    let other = place.open().await;
    // The upsert commits after the compaction of its table was written, and before it is committed.
    let (store, hook) = (place.store.clone(), async move {
        let rows = facts("hecone", 7, &[FixtureFact("a", "a", TIMES[0], 70)]);
        let table = fact(&other);
        let (step, superseded) = (step("hecone", 6, 7), old("a", TIMES[0]));
        let done = table.replace(&step, &superseded, rows).await.unwrap();
        assert_eq!(done.rows_removed, 1);
    });
    let table = warehouse.table(FACT).unwrap();
    store.before_next_commit(move || hook.boxed());
    let mut left = u64::MAX;
    let (done, _) = compact_table(&table, CompactionOptions::everything(), &mut left, "upkeep")
        .await
        .unwrap();
    let amounts = "SELECT article_key, CAST(amount * 10000 AS BIGINT) FROM t ORDER BY 1";
    assert_eq!(
        sql(&warehouse, FACT, None, amounts).await,
        [
            "hecone:a 70",
            "hecone:b 2",
            "hecone:c 3",
            "hecone:d 4",
            "hecone:e 5",
            "hecone:f 6"
        ]
    );
    assert_eq!(
        done.unwrap().files_after,
        Some(2),
        "the lost output was done again"
    );
    assert_eq!(files(&warehouse, FACT).await.len(), 3);
    assert_eq!(
        fact(&warehouse)
            .progress("hecone", "transactions")
            .await
            .unwrap(),
        7
    );
}

/// Compacts one table just before the next commit.
fn compact_before_next_commit(place: &TempWarehouse, other: Warehouse, path: &'static str) {
    place.store.before_next_commit(move || {
        async move {
            let (table, mut left) = (other.table(path).unwrap(), u64::MAX);
            let everything = CompactionOptions::everything();
            let (done, _) = compact_table(&table, everything, &mut left, "upkeep")
                .await
                .unwrap();
            assert_eq!(done.unwrap().files_before, 5);
        }
        .boxed()
    });
}

#[tokio::test]
async fn a_sync_that_loses_the_race_against_a_compaction_does_its_work_again() {
    let place = TempWarehouse::new();
    let warehouse = fill(&place).await;
    compact_before_next_commit(&place, place.open().await, SOURCE);
    land(&warehouse, "a", TIMES[0], 70).await;
    compact_before_next_commit(&place, place.open().await, FACT);
    let rows = facts("hecone", 7, &[FixtureFact("a", "a", TIMES[0], 70)]);
    let done = fact(&warehouse)
        .replace(&step("hecone", 6, 7), &old("a", TIMES[0]), rows)
        .await
        .unwrap();
    assert_eq!(done.rows_removed, 1);
    let count =
        "SELECT count(*), count(DISTINCT article_key), sum(CAST(amount * 10000 AS BIGINT)) FROM t";
    assert_eq!(sql(&warehouse, FACT, None, count).await, ["6 6 90"]);
    assert_eq!(
        sql(
            &warehouse,
            SOURCE,
            None,
            "SELECT count(*), max(_load_id) FROM t"
        )
        .await,
        ["7 7"]
    );
}

#[tokio::test]
async fn bounds_and_dry_runs_are_kept() {
    let place = TempWarehouse::new();
    let warehouse = fill(&place).await;
    let everything = CompactionOptions::everything();
    let dry = CompactionOptions {
        dry_run: true,
        ..everything
    };
    let was = version(&warehouse, SOURCE).await;
    let told = compact(&warehouse, dry).await;
    assert_eq!(told.tables.len(), 2);
    assert_eq!(
        (told.tables[0].files_before, told.tables[0].files_after),
        (5, None)
    );
    assert_eq!(version(&warehouse, SOURCE).await, was);
    assert!(!place.root().join("ops/maintenance").exists());
    let patient = CompactionOptions {
        small_files: 4,
        ..everything
    };
    assert!(compact(&warehouse, patient).await.tables.is_empty());
    let late = CompactionOptions {
        until: Some(Instant::now()),
        ..everything
    };
    let told = compact(&warehouse, late).await;
    assert!(told.tables.is_empty() && told.is_cut_short);
    // One group, however large it is, and no more.
    let bounded = CompactionOptions {
        bytes: Some(1),
        ..everything
    };
    let told = compact(&warehouse, bounded).await;
    assert_eq!(
        (told.tables.len(), told.tables[0].files_after),
        (1, Some(1))
    );
    assert!(told.is_cut_short);
    while compact(&warehouse, bounded).await.is_cut_short {}
    assert!(compact(&warehouse, everything).await.tables.is_empty());
}

#[test]
fn a_file_that_is_much_larger_than_all_smaller_ones_is_spared() {
    let file = |size: u64, path: &str| {
        let partition = BTreeMap::from([("month".to_owned(), Some("2026-01".to_owned()))]);
        DataFile::listed(path.to_owned(), size, partition, None)
    };
    let sizes = [40 << 20, 5 << 20, 1 << 20, 900 << 10, 10 << 10];
    let files: Vec<DataFile> = sizes
        .iter()
        .map(|size| file(*size, &size.to_string()))
        .collect();
    let options = CompactionOptions {
        spares_large: true,
        ..CompactionOptions::everything()
    };
    let planned = planned(&files, options);
    let mut taken: Vec<u64> = planned[0].inputs.iter().map(|file| file.size).collect();
    taken.sort_unstable();
    assert_eq!(taken, [10 << 10, 900 << 10, 1 << 20, 5 << 20]);
    let large: Vec<DataFile> = (0..6).map(|n| file(60 << 20, &n.to_string())).collect();
    let all = super::planned(&large, CompactionOptions::everything());
    let counts: Vec<usize> = all.iter().map(|group| group.inputs.len()).collect();
    assert_eq!(counts, [4, 2], "an output has at most 256 MiB of inputs");
}

#[tokio::test]
async fn dimensions_and_bookkeeping_are_compacted_too() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    let dimension = warehouse.unified_table(Arc::new(dimension_spec()));
    for (i, pipeline) in ["hecone", "other"].into_iter().enumerate() {
        dimension
            .merge(
                &step(pipeline, 0, 1),
                sites(pipeline, &[("s", "name", i as i64)]),
            )
            .await
            .unwrap();
    }
    for _ in 0..8 {
        let row = MaintenanceRow {
            mark: None,
            ..warehouse.compaction_row(
                &TableCompaction {
                    table: SOURCE.to_owned(),
                    partitions: 1,
                    files_before: 2,
                    files_after: Some(1),
                    bytes_before: 2,
                    bytes_after: Some(1),
                },
                "earlier",
            )
        };
        warehouse.ops().note_maintenance(vec![row]).await.unwrap();
    }
    let before = warehouse.ops().maintenance().await.unwrap();
    let told = compact(&warehouse, CompactionOptions::everything()).await;
    assert_eq!(told.tables[0].table, "ops/maintenance");
    assert_eq!(
        told.tables.len(),
        1,
        "each pipeline's sites are one file: {told:?}"
    );
    let after = warehouse.ops().maintenance().await.unwrap();
    assert_eq!((before.len(), after.len()), (8, 9));
    assert_eq!(before, after[..8]);
}
