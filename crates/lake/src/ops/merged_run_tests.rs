//! Pipelines that are synced by different processes at once: what readers see of each.
//!
//! Invariant: whatever is written and not published, a reader sees of every pipeline what its own last published run has, and everything once.

use super::*;
use crate::faulty_store::{
    FixtureFact, TempWarehouse, dimension_spec, fact_spec, facts, sites, sql, sql_as_named, step,
    t, times, us,
};
use crate::maintenance::compact::CompactionOptions;
use crate::maintenance::retention::RetentionPolicy;
use crate::maintenance::vacuum::VacuumOptions;
use crate::ops::rows::AsOf;
use crate::range_table::{ChangedLevels, SourceWatermarks};
use crate::ranges::{ChangedRanges, RangeSet};
use crate::unified::step::SupersededRecords;
use crate::warehouse::Warehouse;
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use jiff::SignedDuration;
use std::sync::Arc;
use tillhouse_model::table::{LEVEL, PERIOD, timestamp};

const FACT: &str = "unified/articles";
const SITES: &str = "unified/sites";
const COUNTS: &str = "statistics/counts";
const HOUR: &str = "2026-01-10T10:00:00Z";
const FACTS: &str =
    "SELECT article_key, CAST(amount * 10000 AS BIGINT) FROM t ORDER BY article_key";
const NAMES: &str = "SELECT pipeline, name FROM t ORDER BY pipeline, name";
const COUNTED: &str = "SELECT pipeline, n FROM t ORDER BY pipeline, n";

/// A record of a pipeline, in place of an earlier version of it.
async fn unify(warehouse: &Warehouse, pipeline: &str, load_id: i64, key: &'static str) {
    let superseded = SupersededRecords {
        keys: [key.to_owned()].into(),
        times: vec![us(HOUR)],
        keys_maybe_untimed: std::collections::HashSet::new(),
    };
    let rows = facts(
        pipeline,
        load_id,
        &[FixtureFact(key, key, Some(HOUR), load_id)],
    );
    let step = step(pipeline, load_id - 1, load_id);
    let fact = warehouse.unified_table(Arc::new(fact_spec()));
    fact.replace(&step, &superseded, rows).await.unwrap();
}

/// The other half of a step.
async fn name_site(warehouse: &Warehouse, pipeline: &str, load_id: i64, name: &str) {
    let step = step(pipeline, load_id - 1, load_id);
    let key = format!("{pipeline}:s");
    let table = warehouse.unified_table(Arc::new(dimension_spec()));
    let rows = sites(pipeline, &[(&key, name, load_id)]);
    table.merge(&step, rows).await.unwrap();
}

fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("hour", timestamp(), true),
        Field::new("pipeline", DataType::Utf8, false),
        Field::new("n", DataType::Int64, true),
        Field::new(LEVEL, DataType::Utf8, false),
        Field::new(PERIOD, DataType::Utf8, false),
    ]))
}

/// Sums all facts of a version anew, of every pipeline, as roll-ups do.
async fn roll_up(warehouse: &Warehouse, facts: u64) -> u64 {
    let table = warehouse.range_table("counts", count_schema(), "hour", &["articles"], 1);
    let (_, was) = table.watermarks().await.unwrap();
    let sums = "SELECT pipeline, sum(CAST(amount * 10000 AS BIGINT)) FROM t GROUP BY pipeline";
    let sums = sql(warehouse, FACT, Some(facts), sums).await;
    let sums: Vec<(&str, i64)> = sums
        .iter()
        .filter_map(|line| line.split_once(' '))
        .map(|(pipeline, sum)| (pipeline, sum.parse().unwrap()))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times(sums.iter().map(|_| Some(us(HOUR))))),
        Arc::new(StringArray::from_iter_values(sums.iter().map(|sum| sum.0))),
        Arc::new(Int64Array::from_iter_values(sums.iter().map(|sum| sum.1))),
        Arc::new(StringArray::from_iter_values(sums.iter().map(|_| "hourly"))),
        Arc::new(StringArray::from_iter_values(
            sums.iter().map(|_| "2026-01"),
        )),
    ];
    let batch = RecordBatch::try_new(count_schema(), columns).unwrap();
    let touched = sums.iter().map(|sum| (sum.0.to_owned(), RangeSet::All));
    let counted = SourceWatermarks::from([("articles".to_owned(), facts)]);
    let rows = futures::stream::iter([Ok(batch)]).boxed();
    let done = table
        .replace(
            &was,
            &counted,
            &ChangedLevels::from([("hourly".to_owned(), ChangedRanges(touched.collect()))]),
            rows,
            "run",
        )
        .await;
    done.unwrap().unwrap().version
}

/// Publishes a run of some pipelines with what its process has seen or made.
async fn publish(warehouse: &Warehouse, run_id: &str, pipelines: &[&str], rolls_up: bool) {
    let (mut tables, mut figures) = (BTreeMap::new(), BTreeMap::new());
    for path in [FACT, SITES] {
        if let Some((version, size)) = warehouse.newest_figures(path).await.unwrap() {
            tables.insert(path.to_owned(), TableVersion::from(version));
            figures.insert(path.to_owned(), size);
        }
    }
    if rolls_up {
        let version = roll_up(warehouse, tables[FACT].version).await;
        tables.insert(COUNTS.to_owned(), version.into());
    }
    let at = t(&format!("2026-03-01T0{}:00:00Z", &run_id[1..]));
    let run = RunRecord {
        run_id: run_id.to_owned(),
        command: "sync".to_owned(),
        pipelines: pipelines.iter().map(|name| (*name).to_owned()).collect(),
        started_at: at,
        finished_at: at,
        outcome: "done".to_owned(),
        published: true,
        tables,
        figures,
        counts: BTreeMap::new(),
        expected: BTreeMap::new(),
    };
    warehouse.ops().publish(&run).await.unwrap();
}

/// Lines of facts, sites and roll-ups, as a process reads them that has read nothing before. No roll-ups where the run names none.
async fn read(place: &TempWarehouse, at: &AsOf) -> [Vec<String>; 3] {
    let warehouse = place.open().await;
    let run = warehouse.ops().published(at).await.unwrap().unwrap();
    assert!(warehouse.damage(&run).await.is_none());
    warehouse.probe_files(&run).await.unwrap();
    let mut lines = [(); 3].map(|()| Vec::new());
    for (at, (path, query)) in [(FACT, FACTS), (SITES, NAMES), (COUNTS, COUNTED)]
        .into_iter()
        .enumerate()
    {
        if let Some(named) = run.tables.get(path) {
            lines[at] = sql_as_named(&warehouse, path, Some(named), query).await;
            if let Some(figures) = run.figures.get(path) {
                let open = warehouse.open_at(path, Some(named)).await.unwrap();
                assert_eq!(open.unwrap().figures, *figures, "{path}");
            }
        }
    }
    lines
}

/// As [`read`] of the newest run, with the note of it, by `ops/runs` alone, and by a process that has it open.
async fn newest(place: &TempWarehouse) -> [Vec<String>; 3] {
    let by_note = read(place, &AsOf::Latest).await;
    let notes = place.root().join("ops/published");
    let aside = place.root().join("ops/aside");
    std::fs::rename(&notes, &aside).unwrap();
    let by_runs = read(place, &AsOf::Latest).await;
    std::fs::rename(&aside, &notes).unwrap();
    assert_eq!(by_note, by_runs);
    by_note
}

async fn newest_run(place: &TempWarehouse) -> RunRecord {
    let ops = place.open().await.ops();
    ops.published(&AsOf::Latest).await.unwrap().unwrap()
}

fn lines(lines: [&[&str]; 3]) -> [Vec<String>; 3] {
    lines.map(|lines| lines.iter().map(|line| (*line).to_owned()).collect())
}

/// Two pipelines that were synced and published together.
async fn published(place: &TempWarehouse) -> Warehouse {
    let warehouse = place.open().await;
    for pipeline in ["a", "b"] {
        unify(&warehouse, pipeline, 1, "x").await;
        name_site(&warehouse, pipeline, 1, "first").await;
    }
    publish(&warehouse, "r1", &["a", "b"], true).await;
    warehouse
}

const FIRST: [&[&str]; 3] = [
    &["a:x 1", "b:x 1"],
    &["a first", "b first"],
    &["a 1", "b 1"],
];

#[tokio::test]
async fn half_a_step_of_another_process_is_shown_once_it_is_whole_and_published() {
    let place = TempWarehouse::new();
    published(&place).await;
    assert_eq!(newest(&place).await, lines(FIRST));
    let (one, two) = (place.open().await, place.open().await);
    // Each knows what was published when it began.
    one.ops().published(&AsOf::Latest).await.unwrap();
    two.ops().published(&AsOf::Latest).await.unwrap();
    unify(&one, "a", 2, "x").await;
    unify(&one, "a", 3, "y").await;
    unify(&two, "b", 2, "x").await;
    name_site(&two, "b", 2, "second").await;
    publish(&two, "r2", &["b"], true).await;
    let without_a: [&[&str]; 3] = [
        &["a:x 1", "b:x 2"],
        &["a first", "b second"],
        &["a 1", "b 2"],
    ];
    assert_eq!(newest(&place).await, lines(without_a));
    let run = newest_run(&place).await;
    let pinned: Vec<&String> = run.tables[FACT].pinned.keys().collect();
    assert_eq!(pinned, ["a"]);
    assert!(run.tables[SITES].pinned.is_empty(), "nothing of it changed");

    // A third process that goes on from there, and publishes again.
    let three = place.open().await;
    unify(&three, "b", 3, "y").await;
    publish(&three, "r3", &["b"], true).await;
    let without_a: [&[&str]; 3] = [
        &["a:x 1", "b:x 2", "b:y 3"],
        &["a first", "b second"],
        &["a 1", "b 5"],
    ];
    assert_eq!(newest(&place).await, lines(without_a));

    // What it needs stays through upkeep, whoever does it. The runs before are not kept.
    let upkeep = place.open().await;
    let everything = CompactionOptions::everything();
    upkeep.compact(everything, "upkeep", &|_| {}).await.unwrap();
    let options = VacuumOptions {
        dry_run: false,
        retention: RetentionPolicy::default(),
        safe_age: SignedDuration::ZERO,
        until: None,
    };
    let done = upkeep.vacuum(options, "upkeep", &|_| {}).await.unwrap();
    assert!(done.failed.is_empty(), "{done:?}");
    assert_eq!(done.kept_runs, 1);
    assert_eq!(newest(&place).await, lines(without_a));
    let found = place.open().await.inspect(&|_| {}).await.unwrap();
    assert!(found.damaged.is_empty(), "{found:?}");

    // The first process ends what it began; it has not seen what the others did.
    name_site(&one, "a", 2, "second").await;
    name_site(&one, "a", 3, "third").await;
    publish(&one, "r4", &["a"], false).await;
    let run = newest_run(&place).await;
    assert!(run.tables.values().all(|named| named.pinned.is_empty()));
    let [facts, names, counted] = newest(&place).await;
    assert_eq!(facts, ["a:x 2", "a:y 3", "b:x 2", "b:y 3"]);
    assert_eq!(names, ["a third", "b second"]);
    assert!(counted.is_empty(), "its own rows were not added up");
    publish(&place.open().await, "r5", &["a", "b"], true).await;
    let [facts_again, names_again, counted] = newest(&place).await;
    assert_eq!((facts_again, names_again), (facts, names));
    assert_eq!(counted, ["a 5", "b 5"]);
    // An earlier run is what it was.
    let earlier = AsOf::Run("r3".to_owned());
    assert_eq!(read(&place, &earlier).await, lines(without_a));
}

#[tokio::test]
async fn whoever_publishes_later_takes_nothing_back() {
    let place = TempWarehouse::new();
    published(&place).await;
    let (one, two) = (place.open().await, place.open().await);
    unify(&one, "a", 2, "x").await;
    name_site(&one, "a", 2, "second").await;
    let own = roll_up(&one, one.newest_figures(FACT).await.unwrap().unwrap().0).await;
    unify(&two, "b", 2, "x").await;
    publish(&two, "r2", &["b"], true).await;
    let seen = one.newest_figures(FACT).await.unwrap().unwrap().0;
    assert!(seen < newest_run(&place).await.tables[FACT].version);
    // Another step of the other one is half done by now.
    unify(&two, "b", 3, "y").await;
    let (mut tables, at) = (BTreeMap::new(), t("2026-03-01T00:00:00Z"));
    for path in [FACT, SITES] {
        let version = one.newest_figures(path).await.unwrap().unwrap().0;
        tables.insert(path.to_owned(), TableVersion::from(version));
    }
    tables.insert(COUNTS.to_owned(), own.into());
    let before = newest_run(&place).await;
    let run = RunRecord {
        run_id: "r3".to_owned(),
        pipelines: vec!["a".to_owned()],
        finished_at: at,
        tables,
        figures: BTreeMap::new(),
        ..before
    };
    one.ops().publish(&run).await.unwrap();
    let both: [&[&str]; 3] = [
        &["a:x 2", "b:x 2"],
        &["a second", "b first"],
        &["a 2", "b 2"],
    ];
    assert_eq!(newest(&place).await, lines(both));
}

#[tokio::test]
async fn a_first_sync_under_way_is_not_shown_at_all() {
    let place = TempWarehouse::new();
    let (one, two) = (place.open().await, place.open().await);
    unify(&one, "a", 1, "x").await;
    unify(&two, "b", 1, "x").await;
    publish(&two, "r1", &["b"], true).await;
    let only_b: [&[&str]; 3] = [&["b:x 1"], &[], &["b 1"]];
    assert_eq!(newest(&place).await, lines(only_b));
    assert_eq!(newest_run(&place).await.tables[FACT].of("a"), None);
    // Nobody has published it yet, and runs go on without it.
    unify(&two, "b", 2, "y").await;
    publish(&two, "r2", &["b"], true).await;
    let only_b: [&[&str]; 3] = [&["b:x 1", "b:y 2"], &[], &["b 3"]];
    assert_eq!(newest(&place).await, lines(only_b));
    let three = place.open().await;
    name_site(&three, "a", 1, "first").await;
    publish(&three, "r3", &["a"], true).await;
    let both: [&[&str]; 3] = [&["a:x 1", "b:x 1", "b:y 2"], &["a first"], &["a 1", "b 3"]];
    assert_eq!(newest(&place).await, lines(both));
}

#[tokio::test]
async fn files_that_were_only_compacted_pin_nobody() {
    let place = TempWarehouse::new();
    let warehouse = published(&place).await;
    unify(&warehouse, "a", 2, "y").await;
    unify(&warehouse, "b", 2, "y").await;
    publish(&warehouse, "r2", &["a", "b"], true).await;
    let upkeep = place.open().await;
    let everything = CompactionOptions::everything();
    let done = upkeep.compact(everything, "upkeep", &|_| {}).await.unwrap();
    assert!(done.tables.iter().any(|table| table.table == FACT));
    let other = place.open().await;
    other.ops().published(&AsOf::Latest).await.unwrap();
    unify(&other, "b", 3, "z").await;
    publish(&other, "r3", &["b"], true).await;
    let run = newest_run(&place).await;
    assert!(run.tables.values().all(|named| named.pinned.is_empty()));
    assert_eq!(newest(&place).await[2], ["a 3", "b 6"]);
}
