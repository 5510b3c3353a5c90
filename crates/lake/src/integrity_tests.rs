//! Tables whose logs have lost commits, or hold other ones.
//!
//! Invariant: whatever is taken away from a published version, nobody answers from what is left of it.

use super::*;
use crate::disturbed::{Fact, Place, Rec, fact_spec, facts, page, run, source_spec, step};
use crate::ops::AsOf;
use crate::unified_table::Superseded;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

const SOURCE: &str = "hecone/transactions";
const FACT: &str = "unified/articles";

fn file(place: &Place, table: &str, version: u64) -> PathBuf {
    place.folder.path().join("wäre house").join(table).join(format!("_delta_log/{version:020}.json"))
}

/// Lands a record, unifies it and publishes.
async fn publish(warehouse: &Warehouse, key: &'static str, land: i64, run_id: &str) {
    let source = warehouse.source_table("hecone", Arc::new(source_spec()));
    source.land(vec![page("2026-03-01T00:00:00Z", &[Rec(key, None, 1, None)])], &run(run_id)).await.unwrap();
    let unified = warehouse.unified_table(Arc::new(fact_spec()));
    let rows = facts("hecone", land, &[Fact(key, key, None, 1)]);
    unified.replace(&step("hecone", land - 1, land), &Superseded::default(), rows).await.unwrap();
    let (mut tables, mut figures) = (BTreeMap::new(), BTreeMap::new());
    for path in [SOURCE, FACT] {
        let open = warehouse.open_at(path, None).await.unwrap().unwrap();
        tables.insert(path.to_owned(), open.version);
        figures.insert(path.to_owned(), open.figures);
    }
    let record = RunRecord {
        run_id: run_id.to_owned(),
        command: "sync".to_owned(),
        pipelines: vec!["hecone".to_owned()],
        started_at: "2026-03-01T00:00:00Z".parse().unwrap(),
        finished_at: "2026-03-01T00:00:00Z".parse().unwrap(),
        outcome: "done".to_owned(),
        published: true,
        tables,
        figures,
        counts: BTreeMap::new(),
    };
    warehouse.ops().publish(&record).await.unwrap();
}

/// What a new process finds: lost tables, and whether the tables of the newest run can be opened.
async fn found(place: &Place) -> (Vec<String>, Vec<bool>) {
    let warehouse = place.open().await;
    let run = warehouse.ops().published(&AsOf::Latest).await.unwrap().unwrap();
    let lost = warehouse.lost_tables(&run).await.unwrap().iter().map(ToString::to_string).collect();
    let mut opened = Vec::new();
    for path in [SOURCE, FACT] {
        opened.push(warehouse.open_at(path, run.tables.get(path).copied()).await.is_ok());
    }
    (lost, opened)
}

#[tokio::test]
async fn a_table_without_its_last_commits_or_without_any_is_noticed_and_not_read() {
    let place = Place::new();
    let warehouse = place.open().await;
    publish(&warehouse, "a", 1, "r1").await;
    publish(&warehouse, "b", 2, "r2").await;
    assert_eq!(found(&place).await, (Vec::new(), vec![true, true]));
    for (path, at) in [(SOURCE, 0), (FACT, 1)] {
        let commit = file(&place, path, 2);
        let bytes = std::fs::read(&commit).unwrap();
        std::fs::remove_file(&commit).unwrap();
        let (lost, opened) = found(&place).await;
        assert_eq!(lost, [format!("{path} is at version 1 instead of 2")]);
        assert_eq!(opened, [at != 0, at != 1]);
        std::fs::write(&commit, bytes).unwrap();
        let folder = place.folder.path().join("wäre house").join(path);
        std::fs::rename(&folder, folder.with_extension("away")).unwrap();
        assert_eq!(found(&place).await, (vec![format!("{path} is gone")], vec![at != 0, at != 1]));
        std::fs::rename(folder.with_extension("away"), &folder).unwrap();
    }
    assert_eq!(found(&place).await, (Vec::new(), vec![true, true]));
}

#[tokio::test]
async fn a_version_with_other_content_is_noticed_also_below_newer_ones() {
    let place = Place::new();
    let warehouse = place.open().await;
    publish(&warehouse, "a", 1, "r1").await;
    publish(&warehouse, "b", 2, "r2").await;
    std::fs::remove_file(file(&place, SOURCE, 2)).unwrap();
    let other = place.open().await;
    let source = other.source_table("hecone", Arc::new(source_spec()));
    // Somebody lands other records where the lost ones were.
    for keys in [&["c", "d"][..], &["e"]] {
        let records: Vec<Rec> = keys.iter().map(|key| Rec(key, None, 1, None)).collect();
        source.land(vec![page("2026-03-01T00:00:00Z", &records)], &run("r3")).await.unwrap();
        let (lost, opened) = found(&place).await;
        assert_eq!(lost, [format!("{SOURCE} has other content in version 2")]);
        assert_eq!(opened, [false, true]);
    }
    let error = place.open().await;
    let latest = error.ops().published(&AsOf::Latest).await.unwrap().unwrap();
    let error = error.open_at(SOURCE, latest.tables.get(SOURCE).copied()).await.err().unwrap();
    assert!(error.hint_text().unwrap().contains("tillhouse sync hecone --full"), "{error:?}");
    // An older run, whose versions are there, answers.
    let earlier = place.open().await;
    let first = earlier.ops().published(&AsOf::Run("r1".to_owned())).await.unwrap().unwrap();
    earlier.open_at(SOURCE, first.tables.get(SOURCE).copied()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_run_of_an_older_version_says_nothing_of_sizes_and_is_read() {
    let place = Place::new();
    let warehouse = place.open().await;
    publish(&warehouse, "a", 1, "r1").await;
    let run = warehouse.ops().published(&AsOf::Latest).await.unwrap().unwrap();
    let old = RunRecord { figures: BTreeMap::new(), run_id: "r0".to_owned(), ..run };
    warehouse.ops().publish(&old).await.unwrap();
    let read = place.open().await.ops().published(&AsOf::Latest).await.unwrap().unwrap();
    assert_eq!(read, old);
    assert_eq!(found(&place).await, (Vec::new(), vec![true, true]));
}

#[tokio::test]
async fn versions_that_were_lost_are_not_used_again() {
    let place = Place::new();
    let warehouse = place.open().await;
    publish(&warehouse, "a", 1, "r1").await;
    publish(&warehouse, "b", 2, "r2").await;
    for path in [SOURCE, FACT] {
        std::fs::remove_file(file(&place, path, 2)).unwrap();
    }
    let other = place.open().await;
    other.source_table("hecone", Arc::new(source_spec())).raise_to(5, "r3").await.unwrap();
    other.unified_table(Arc::new(fact_spec())).raise_to(5, "r3").await.unwrap();
    for path in [SOURCE, FACT] {
        let open = place.open().await.open_at(path, None).await.unwrap().unwrap();
        assert_eq!((open.version, open.figures.rows), (5, Some(1)));
    }
    let (lost, _) = found(&place).await;
    assert_eq!(lost.len(), 2, "they are still not what was published: {lost:?}");
}
