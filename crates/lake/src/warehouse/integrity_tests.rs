//! Tables whose logs have lost commits, or hold other ones.
//!
//! Invariant: whatever is taken away from a published version, nobody answers from what is left of it.

use super::*;
use crate::faulty_store::{
    FixtureFact, FixtureRecord, TempWarehouse, copy_folder, fact_spec, facts, lease_owner, page,
    run, source_spec, sql_as_named, step, t,
};
use crate::ops::lease::LeaseRecord;
use crate::ops::rows::{AsOf, SliceRow};
use crate::unified::step::SupersededRecords;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tillhouse_model::{ReadBy, Window};

const SOURCE: &str = "hecone/transactions";
const FACT: &str = "unified/articles";
const SLICES: &str = "ops/slices";
const RUNS: &str = "ops/runs";

fn file(place: &TempWarehouse, table: &str, version: u64) -> PathBuf {
    place
        .folder
        .path()
        .join("wäre house")
        .join(table)
        .join(format!("_delta_log/{version:020}.json"))
}

/// Lands a record, unifies it and publishes.
async fn publish(warehouse: &Warehouse, key: &'static str, land: i64, run_id: &str) {
    let source = warehouse.source_table("hecone", Arc::new(source_spec()));
    source
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[FixtureRecord(key, None, 1, None)],
            )],
            &run(run_id),
        )
        .await
        .unwrap();
    let unified = warehouse.unified_table(Arc::new(fact_spec()));
    let rows = facts("hecone", land, &[FixtureFact(key, key, None, 1)]);
    unified
        .replace(
            &step("hecone", land - 1, land),
            &SupersededRecords::default(),
            rows,
        )
        .await
        .unwrap();
    let (mut tables, mut figures) = (BTreeMap::new(), BTreeMap::new());
    for path in [SOURCE, FACT, SLICES] {
        if let Some((version, size)) = warehouse.newest_figures(path).await.unwrap() {
            tables.insert(path.to_owned(), version.into());
            figures.insert(path.to_owned(), size);
        }
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
        expected: BTreeMap::new(),
    };
    warehouse.ops().publish(&record).await.unwrap();
}

/// Damage that a new process finds: lost tables, and whether the tables of the newest run can be
/// opened.
async fn found(place: &TempWarehouse) -> (Vec<String>, Vec<bool>) {
    let warehouse = place.open().await;
    let run = warehouse
        .ops()
        .published(&AsOf::Latest)
        .await
        .unwrap()
        .unwrap();
    let lost = warehouse
        .damage(&run)
        .await
        .lost
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut opened = Vec::new();
    for path in [SOURCE, FACT] {
        opened.push(warehouse.open_at(path, run.tables.get(path)).await.is_ok());
    }
    (lost, opened)
}

#[tokio::test]
async fn a_table_without_its_last_commits_or_without_any_is_noticed_and_not_read() {
    let place = TempWarehouse::new();
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
        assert_eq!(
            found(&place).await,
            (vec![format!("{path} is gone")], vec![at != 0, at != 1])
        );
        std::fs::rename(folder.with_extension("away"), &folder).unwrap();
    }
    assert_eq!(found(&place).await, (Vec::new(), vec![true, true]));
}

#[tokio::test]
async fn a_version_with_other_content_is_noticed_also_below_newer_ones() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    publish(&warehouse, "a", 1, "r1").await;
    publish(&warehouse, "b", 2, "r2").await;
    std::fs::remove_file(file(&place, SOURCE, 2)).unwrap();
    let other = place.open().await;
    let source = other.source_table("hecone", Arc::new(source_spec()));
    // Somebody lands other records where the lost ones were.
    for keys in [&["c", "d"][..], &["e"]] {
        let records: Vec<FixtureRecord> = keys
            .iter()
            .map(|key| FixtureRecord(key, None, 1, None))
            .collect();
        source
            .land(vec![page("2026-03-01T00:00:00Z", &records)], &run("r3"))
            .await
            .unwrap();
        let (lost, opened) = found(&place).await;
        assert_eq!(lost, [format!("{SOURCE} has other content in version 2")]);
        assert_eq!(opened, [false, true]);
    }
    let error = place.open().await;
    let latest = error.ops().published(&AsOf::Latest).await.unwrap().unwrap();
    let error = error
        .open_at(SOURCE, latest.tables.get(SOURCE))
        .await
        .err()
        .unwrap();
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("tillhouse sync hecone --full"),
        "{error:?}"
    );
    // An older run, whose versions are there, answers.
    let earlier = place.open().await;
    let first = earlier
        .ops()
        .published(&AsOf::Run("r1".to_owned()))
        .await
        .unwrap()
        .unwrap();
    earlier
        .open_at(SOURCE, first.tables.get(SOURCE))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_run_of_an_older_version_says_nothing_of_sizes_and_is_read() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    publish(&warehouse, "a", 1, "r1").await;
    let run = warehouse
        .ops()
        .published(&AsOf::Latest)
        .await
        .unwrap()
        .unwrap();
    let old = RunRecord {
        figures: BTreeMap::new(),
        run_id: "r0".to_owned(),
        ..run
    };
    warehouse.ops().publish(&old).await.unwrap();
    let read = place
        .open()
        .await
        .ops()
        .published(&AsOf::Latest)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read, old);
    assert_eq!(found(&place).await, (Vec::new(), vec![true, true]));
}

#[tokio::test]
async fn versions_that_were_lost_are_not_used_again() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    publish(&warehouse, "a", 1, "r1").await;
    publish(&warehouse, "b", 2, "r2").await;
    for path in [SOURCE, FACT] {
        std::fs::remove_file(file(&place, path, 2)).unwrap();
    }
    let other = place.open().await;
    other
        .source_table("hecone", Arc::new(source_spec()))
        .raise_to(5, "r3")
        .await
        .unwrap();
    other
        .unified_table(Arc::new(fact_spec()))
        .raise_to(5, "r3")
        .await
        .unwrap();
    for path in [SOURCE, FACT] {
        let open = place
            .open()
            .await
            .open_at(path, None)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((open.version, open.figures.rows), (5, Some(1)));
    }
    let (lost, _) = found(&place).await;
    assert_eq!(
        lost.len(),
        2,
        "they are still not what was published: {lost:?}"
    );
    other
        .source_table("hecone", Arc::new(source_spec()))
        .raise_to(10, "r3")
        .await
        .unwrap();
    let checkpoint = file(&place, SOURCE, 10).with_extension("checkpoint.parquet");
    assert!(checkpoint.exists());
}

#[tokio::test]
async fn a_checkpoint_in_parts_stands_for_commits_that_are_gone() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    for (land, key) in (1..).zip(keys) {
        publish(&warehouse, key, land, &format!("r{land:02}")).await;
    }
    let checkpoint = file(&place, SOURCE, 10).with_extension("checkpoint.parquet");
    let part = checkpoint.with_file_name(format!(
        "{:020}.checkpoint.0000000001.0000000001.parquet",
        10
    ));
    std::fs::rename(&checkpoint, &part).unwrap();
    // What is in it is the library's to read: what the run keeps of the table needs no log.
    std::fs::write(&part, [0; 64]).unwrap();
    for version in 0..10 {
        std::fs::remove_file(file(&place, SOURCE, version)).unwrap();
    }
    let other = place.open().await;
    other.ops().published(&AsOf::Latest).await.unwrap();
    let newest = other.table(SOURCE).unwrap().latest().await.unwrap();
    assert_eq!(newest.map(|newest| newest.version), Some(12));
}

async fn note_slice(warehouse: &Warehouse, from: &str, to: &str) {
    note_slice_of(warehouse, "r", (from, to)).await;
}

async fn note_slice_of(warehouse: &Warehouse, run_id: &str, (from, to): (&str, &str)) {
    let row = SliceRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        tenant: None,
        window: Window::new(t(from), t(to)).unwrap(),
        read_by: Some(ReadBy::EventTime),
        also_read_by: None,
        run_id: run_id.to_owned(),
        read_at: t("2026-03-09T00:00:00Z"),
        records: 1,
        rejects: 0,
        declared_total: None,
        attempts: 1,
        load_id: 1,
    };
    warehouse.ops().record_slices(&[row]).await.unwrap();
}

fn folder(place: &TempWarehouse, table: &str) -> PathBuf {
    place.folder.path().join("wäre house").join(table)
}

#[tokio::test]
async fn bookkeeping_that_lost_something_is_noticed_by_whoever_reads_it_and_goes_on_when_told() {
    for is_gone in [false, true] {
        let place = TempWarehouse::new();
        let warehouse = place.open().await;
        note_slice(&warehouse, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z").await;
        note_slice(&warehouse, "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z").await;
        publish(&warehouse, "a", 1, "r1").await;
        match is_gone {
            true => {
                std::fs::rename(folder(&place, SLICES), place.folder.path().join("away")).unwrap()
            }
            false => std::fs::remove_file(file(&place, SLICES, 2)).unwrap(),
        }
        let told = if is_gone {
            "ops/slices is gone"
        } else {
            "ops/slices is at version 1 instead of 2"
        };
        assert_eq!(
            found(&place).await,
            (vec![told.to_owned()], vec![true, true])
        );
        let other = place.open().await;
        let run = other.ops().published(&AsOf::Latest).await.unwrap().unwrap();
        let error = other.ops().slices("hecone").await.unwrap_err();
        assert!(
            error.hint_text().unwrap().contains("`tillhouse sync`"),
            "{error:?}"
        );
        assert!(other.open_at(SLICES, None).await.is_err());
        let lost = other.damage(&run).await.lost;
        assert!(lost[0].kind().heals_by_itself() && lost[0].source().is_none());
        other.go_on_with(&lost[0], "r2").await.unwrap();
        assert_eq!(
            other.ops().slices("hecone").await.unwrap().len(),
            usize::from(!is_gone)
        );
        note_slice(&other, "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z").await;
        publish(&other, "b", 2, "r2").await;
        assert_eq!(found(&place).await, (Vec::new(), vec![true, true]));
        assert_eq!(
            place
                .open()
                .await
                .ops()
                .slices("hecone")
                .await
                .unwrap()
                .len(),
            2 - usize::from(is_gone)
        );
    }
}

/// A commit as an earlier version of the program wrote it, which says neither its version nor its checksum.
fn without_version(commit: &PathBuf) {
    let text = std::fs::read_to_string(commit).unwrap();
    let older = text
        .replace("\"tillhouseVersion\":", "\"tillhouseOther\":")
        .replace("\"tillhouseChecksum\":", "\"tillhouseSum\":");
    std::fs::write(commit, older).unwrap();
}

#[tokio::test]
async fn the_newest_commit_replaced_by_the_one_before_is_noticed_in_every_table() {
    for is_older in [false, true] {
        for path in [SOURCE, FACT, SLICES, RUNS] {
            let place = TempWarehouse::new();
            let warehouse = place.open().await;
            note_slice(&warehouse, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z").await;
            publish(&warehouse, "a", 1, "r1").await;
            note_slice(&warehouse, "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z").await;
            publish(&warehouse, "b", 2, "r2").await;
            std::fs::copy(file(&place, path, 1), file(&place, path, 2)).unwrap();
            if is_older {
                without_version(&file(&place, path, 2));
            }
            let other = place.open().await;
            let published = other.ops().published(&AsOf::Latest).await;
            if path == RUNS {
                let error = published.unwrap_err().to_string();
                assert!(error.contains(RUNS), "{is_older}: {error}");
                continue;
            }
            let run = published.unwrap().unwrap();
            assert!(
                other.open_at(path, None).await.is_err(),
                "{path}, {is_older}"
            );
            let damage = other.damage(&run).await;
            let told = (damage.lost.len(), damage.unreadable.len());
            let expected = if is_older { (1, 0) } else { (0, 1) };
            assert_eq!(told, expected, "{path}: {damage:?}");
            if path == SLICES {
                other.ops().slices("hecone").await.unwrap_err();
            }
        }
    }
}

#[tokio::test]
async fn a_checkpoint_of_another_table_is_passed_over_where_a_run_says_what_the_table_holds() {
    const KEYS: [&str; 11] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    let (place, other) = (TempWarehouse::new(), TempWarehouse::new());
    let warehouse = place.open().await;
    for (land, key) in (1..).zip(KEYS) {
        publish(&warehouse, key, land, &format!("r{land}")).await;
    }
    // Two records each, so that it is another table's.
    let table = other
        .open()
        .await
        .source_table("hecone", Arc::new(source_spec()));
    for key in KEYS {
        let records = [
            FixtureRecord(key, None, 1, None),
            FixtureRecord(key, None, 2, None),
        ];
        let page = page("2026-03-01T00:00:00Z", &records);
        table.land(vec![page], &run("r")).await.unwrap();
    }
    let checkpoint = |place: &TempWarehouse| {
        let log = folder(place, SOURCE).join("_delta_log");
        log.join("00000000000000000010.checkpoint.parquet")
    };
    std::fs::copy(checkpoint(&other), checkpoint(&place)).unwrap();
    // Without the note, which keeps readers from the log.
    for is_noted in [true, false] {
        if !is_noted {
            std::fs::remove_dir_all(folder(&place, "ops/published")).unwrap();
        }
        assert_eq!(found(&place).await, (Vec::new(), vec![true, true]));
        let reader = place.open().await;
        let run = reader
            .ops()
            .published(&AsOf::Latest)
            .await
            .unwrap()
            .unwrap();
        let open = reader.open_at(SOURCE, run.tables.get(SOURCE)).await;
        assert_eq!(open.unwrap().unwrap().figures.rows, Some(11));
        let newest = reader.open_at(SOURCE, None).await.unwrap().unwrap();
        assert_eq!(newest.figures.rows, Some(11));
    }
}

#[tokio::test]
async fn what_was_read_behind_the_newest_run_is_told_unless_its_run_is_under_way() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    note_slice(&warehouse, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z").await;
    publish(&warehouse, "a", 1, "r1").await;
    note_slice(&warehouse, "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z").await;
    publish(&warehouse, "b", 2, "r2").await;
    let told = async || {
        let reader = place.open().await;
        let ops = reader.ops();
        let run = ops.published(&AsOf::Latest).await.unwrap().unwrap();
        let before = reader.requests().all();
        let reads = ops.unpublished_reads(&run).await.unwrap();
        (run.run_id, reads.len(), reader.requests().all() - before)
    };
    let (run, reads, requests) = told().await;
    assert_eq!((run.as_str(), reads), ("r2", 0));
    assert_eq!(requests, 1, "the end of the ledger's log");
    // The newest record and its note are lost together.
    std::fs::remove_file(file(&place, RUNS, 2)).unwrap();
    let note = folder(&place, "ops/published").join(format!("{:020}.json.zst", 2));
    std::fs::remove_file(note).unwrap();
    let (run, reads, _) = told().await;
    assert_eq!((run.as_str(), reads), ("r1", 1));
    // A run that is under way has read it, and publishes it in the end.
    let ops = warehouse.ops();
    let valid = jiff::SignedDuration::from_secs(60);
    // Its clock may be slow, by some minutes.
    for (minutes, left) in [(0, 0), (5, 0), (7, 1)] {
        let renewed = ops.now() - jiff::SignedDuration::from_mins(minutes);
        let lease = LeaseRecord::new("hecone", lease_owner("r"), renewed, valid);
        ops.swap_lease(None, lease).await.unwrap().unwrap();
        assert_eq!(told().await.1, left, "{minutes} minutes");
        std::fs::remove_file(folder(&place, "ops").join("leases.json")).unwrap();
    }
    assert_eq!(told().await.1, 1);
    publish(&place.open().await, "c", 3, "r3").await;
    assert_eq!(told().await.1, 0);
}

#[tokio::test]
async fn a_run_whose_record_is_gone_is_missed_and_an_earlier_one_still_answers() {
    for is_gone in [false, true] {
        let place = TempWarehouse::new();
        let warehouse = place.open().await;
        publish(&warehouse, "a", 1, "r1").await;
        publish(&warehouse, "b", 2, "r2").await;
        match is_gone {
            true => {
                std::fs::rename(folder(&place, RUNS), place.folder.path().join("away")).unwrap()
            }
            false => std::fs::remove_file(file(&place, RUNS, 2)).unwrap(),
        }
        let other = place.open().await;
        let late = t("2026-03-02T00:00:00Z");
        for at in [AsOf::Latest, AsOf::Run("r2".to_owned()), AsOf::Time(late)] {
            let error = other.ops().published(&at).await.unwrap_err();
            assert!(
                error.to_string().contains("r2")
                    && error.hint_text().unwrap().contains("tillhouse sync"),
                "{at:?}"
            );
        }
        let early = AsOf::Time(t("2026-02-28T00:00:00Z"));
        assert_eq!(other.ops().published(&early).await.unwrap(), None);
        let first = other
            .ops()
            .published(&AsOf::Run("r1".to_owned()))
            .await
            .unwrap();
        assert_eq!(first.is_some(), !is_gone);
        let (newest, lost) = other.ops().newest_published().await.unwrap();
        assert_eq!(
            newest.map(|run| run.run_id),
            (!is_gone).then(|| "r1".to_owned())
        );
        let lost = lost.unwrap();
        assert_eq!(lost.run_id, "r2");
        // Its figures of the tables are still compared.
        assert_eq!(other.damage(&lost.as_run()).await.lost, []);
        std::fs::rename(file(&place, SOURCE, 2), place.folder.path().join("commit")).unwrap();
        let told: Vec<String> = place
            .open()
            .await
            .damage(&lost.as_run())
            .await
            .lost
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(told, ["hecone/transactions is at version 1 instead of 2"]);
        std::fs::rename(place.folder.path().join("commit"), file(&place, SOURCE, 2)).unwrap();
        // The next run that is published makes it good.
        publish(&other, "c", 3, "r3").await;
        let run = place
            .open()
            .await
            .ops()
            .published(&AsOf::Latest)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(run.run_id, "r3");
    }
}

#[tokio::test]
async fn without_a_note_of_the_newest_run_the_runs_say_which_it_is() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    publish(&warehouse, "a", 1, "r1").await;
    let notes = folder(&place, "ops/published");
    let note = |number: u64| notes.join(format!("{number:020}.json.zst"));
    let first = std::fs::read(note(1)).unwrap();
    publish(&warehouse, "b", 2, "r2").await;
    let newest = async || {
        place
            .open()
            .await
            .ops()
            .published(&AsOf::Latest)
            .await
            .unwrap()
            .unwrap()
            .run_id
    };
    assert_eq!(newest().await, "r2");
    // Cut, as after a power cut, empty, or another's.
    for other in [&first[..first.len() / 2], b"", b"{}"] {
        std::fs::write(note(2), other).unwrap();
        assert_eq!(newest().await, "r2");
    }
    // Older, or none: as of another version of the program.
    std::fs::remove_file(note(2)).unwrap();
    assert_eq!(newest().await, "r2");
    std::fs::remove_dir_all(&notes).unwrap();
    assert_eq!(newest().await, "r2");
    // A run that is not for readers is not noted.
    let unpublished = place.open().await.ops().runs().await.unwrap().remove(0);
    let unpublished = RunRecord {
        run_id: "r3".to_owned(),
        published: false,
        ..unpublished
    };
    warehouse.ops().publish(&unpublished).await.unwrap();
    assert!(!notes.exists());
}

#[tokio::test]
async fn whatever_bit_of_a_note_flips_the_newest_run_is_what_it_was() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    publish(&warehouse, "a", 1, "r1").await;
    publish(&warehouse, "b", 2, "r2").await;
    let note = folder(&place, "ops/published").join(format!("{:020}.json.zst", 2));
    let whole = std::fs::read(&note).unwrap();
    let seen = async || {
        let warehouse = place.open().await;
        let run = warehouse.ops().published(&AsOf::Latest).await;
        let run = run.unwrap().unwrap();
        let mut answers = Vec::new();
        for (path, query) in [
            (
                SOURCE,
                "SELECT count(*), min(id), max(id), min(month), max(month), max(_load_id) FROM t",
            ),
            (
                FACT,
                "SELECT count(*), min(article_key), max(amount), min(month), max(pipeline) FROM t",
            ),
        ] {
            answers.extend(sql_as_named(&warehouse, path, run.tables.get(path), query).await);
        }
        (run, answers, found(&place).await)
    };
    let before = seen().await;
    assert_eq!(before.0.run_id, "r2");
    for at in (0..whole.len()).step_by((whole.len() / 50).max(1)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << ((at * 5 + at / 8) % 8);
        std::fs::write(&note, bytes).unwrap();
        assert_eq!(seen().await, before, "{at}");
    }
    // Content of another frame, as valid as this one but for the checksum.
    let mut json = zstd::stream::decode_all(&whole[..]).unwrap();
    let at = json.windows(2).position(|part| part == b"r2").unwrap();
    json[at + 1] = b'3';
    let sum = &whole[whole.len() - 4..];
    let other = zstd::bulk::compress(&json, 3).unwrap();
    let is_sealed = |frame: &[u8]| frame[4] & 4 != 0;
    assert!(is_sealed(&whole) && !is_sealed(&other));
    let mut other = [&other[..], sum].concat();
    other[4] |= 4;
    std::fs::write(&note, other).unwrap();
    assert_eq!(seen().await, before);
}

#[tokio::test]
async fn all_tables_that_are_torn_are_told_and_not_the_first_alone() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    note_slice(&warehouse, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z").await;
    publish(&warehouse, "a", 1, "r1").await;
    for path in [SOURCE, FACT, SLICES] {
        std::fs::write(file(&place, path, 1), "").unwrap();
    }
    let other = place.open().await;
    let run = other.ops().published(&AsOf::Latest).await.unwrap().unwrap();
    let damage = other.damage(&run).await;
    let told: Vec<String> = damage
        .unreadable
        .iter()
        .map(|(_, error)| error.to_string())
        .collect();
    assert_eq!((told.len(), damage.lost.len()), (3, 0), "{told:?}");
    for path in [SOURCE, FACT, SLICES] {
        assert_eq!(
            told.iter().filter(|told| told.contains(path)).count(),
            1,
            "{told:?}"
        );
    }
    assert_eq!(other.unreadable_tables().await.len(), 3);
    std::fs::write(file(&place, RUNS, 1), "").unwrap();
    assert_eq!(place.open().await.unreadable_tables().await.len(), 4);
}

#[tokio::test]
async fn a_commit_that_is_missing_behind_the_published_version_is_noticed() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    publish(&warehouse, "a", 1, "r1").await;
    let source = warehouse.source_table("hecone", Arc::new(source_spec()));
    for key in ["b", "c"] {
        let records = [FixtureRecord(key, None, 1, None)];
        source
            .land(vec![page("2026-03-01T00:00:00Z", &records)], &run("r2"))
            .await
            .unwrap();
    }
    std::fs::remove_file(file(&place, SOURCE, 2)).unwrap();
    let other = place.open().await;
    let published = other.ops().published(&AsOf::Latest).await.unwrap().unwrap();
    let named = published.tables.get(SOURCE);
    assert_eq!(named, Some(&1.into()));
    assert!(other.open_at(SOURCE, named).await.unwrap().is_some());
    let again = place.open().await;
    again.ops().published(&AsOf::Latest).await.unwrap();
    let error = again.table(SOURCE).unwrap().latest().await.err().unwrap();
    assert!(error.to_string().contains("missing"), "{error:?}");
}

#[tokio::test]
async fn a_table_with_features_of_a_newer_protocol_is_refused() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    publish(&warehouse, "a", 1, "r1").await;
    let protocol = r#"{"protocol":{"minReaderVersion":2,"minWriterVersion":5}}"#;
    std::fs::write(file(&place, SOURCE, 2), protocol).unwrap();
    for is_told_by_a_note in [false, true] {
        let other = place.open().await;
        if is_told_by_a_note {
            other.ops().published(&AsOf::Latest).await.unwrap();
        }
        let error = other.table(SOURCE).unwrap().latest().await.err().unwrap();
        assert!(error.to_string().contains("features"), "{error:?}");
        assert!(error.hint_text().unwrap().contains("protocol"), "{error:?}");
    }
}

/// The tables that a whole look through the warehouse complains of, by what is said of them.
async fn told_of(place: &TempWarehouse) -> Vec<String> {
    let other = place.open().await;
    // As `check` does: what the newest run keeps of its tables is at hand.
    drop(other.ops().published(&AsOf::Latest).await);
    let told = other.unreadable_tables().await;
    told.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_commit_that_the_published_run_does_without_is_told_of_and_stops_whoever_writes() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    for (land, key) in (1..).zip(["a", "b", "c", "d"]) {
        publish(&warehouse, key, land, &format!("r{land}")).await;
    }
    assert_eq!(told_of(&place).await, [""; 0]);
    for path in [SOURCE, FACT, RUNS] {
        let commit = file(&place, path, 2);
        let whole = std::fs::read(&commit).unwrap();
        let mut flipped = whole.clone();
        flipped[0] ^= 1;
        for damaged in [None, Some(Vec::new()), Some(flipped)] {
            let is_listed = damaged.as_ref().is_none_or(Vec::is_empty);
            match damaged {
                Some(bytes) => std::fs::write(&commit, bytes).unwrap(),
                None => std::fs::remove_file(&commit).unwrap(),
            }
            let told = told_of(&place).await;
            assert_eq!(told.len(), 1, "{path}: {told:?}");
            for part in [path, "00000000000000000002.json"] {
                assert!(told[0].contains(part), "{told:?}");
            }
            // A run that is to write the table sees it in the list of its log.
            let other = place.open().await;
            drop(other.ops().published(&AsOf::Latest).await);
            let latest = other.table(path).unwrap().latest().await;
            assert!(latest.is_err() || !is_listed, "{path}");
            std::fs::write(&commit, &whole).unwrap();
        }
    }
    assert_eq!(told_of(&place).await, [""; 0]);
}

#[tokio::test]
async fn records_of_runs_that_cannot_be_read_are_told_of() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    for (land, key) in (1..).zip(["a", "b"]) {
        publish(&warehouse, key, land, &format!("r{land}")).await;
    }
    let runs = warehouse.table(RUNS).unwrap().latest().await.unwrap();
    for data in runs.unwrap().files.iter() {
        let data = folder(&place, RUNS).join(&data.path);
        let whole = std::fs::read(&data).unwrap();
        std::fs::write(&data, vec![0; whole.len()]).unwrap();
        let told = told_of(&place).await;
        assert!(told.len() == 1 && told[0].contains(RUNS), "{told:?}");
        std::fs::write(&data, whole).unwrap();
    }
}

#[tokio::test]
async fn bookkeeping_from_an_older_copy_is_told_by_what_tables_were_written_behind() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    let copies: Vec<PathBuf> = (1..4)
        .map(|run| place.folder.path().join(format!("ops {run}")))
        .collect();
    for ((land, key), copy) in (1..).zip(["a", "b", "c"]).zip(&copies) {
        publish(&warehouse, key, land, &format!("r{land}")).await;
        copy_folder(&folder(&place, "ops"), copy);
    }
    // Whatever was published last, what is written behind it and not published is a run that is under way or was cut short.
    let source = warehouse.source_table("hecone", Arc::new(source_spec()));
    let records = [FixtureRecord("d", None, 1, None)];
    let landed = page("2026-03-01T00:00:00Z", &records);
    source.land(vec![landed], &run("r4")).await.unwrap();
    for (content, (copy, knows)) in (1..).zip(copies.iter().zip([false, false, true])) {
        std::fs::remove_dir_all(folder(&place, "ops")).unwrap();
        copy_folder(copy, &folder(&place, "ops"));
        let reader = place.open().await;
        let newest = reader.ops().published(&AsOf::Latest).await;
        let newest = newest.unwrap().unwrap();
        let damage = reader.damage(&newest).await;
        assert!(damage.is_none() && !damage.ahead.is_empty(), "{damage:?}");
        let told = reader.ops().older_copy(&newest, &damage.ahead).await;
        let (told, refused) = (
            told.unwrap().map(|older| older.into_error().to_string()),
            reader.ops().refuse_older_copy(&newest).await,
        );
        let refused = refused.err();
        assert_eq!(told, refused.as_ref().map(ToString::to_string));
        assert_eq!(told.is_none(), knows, "{copy:?}: {told:?}");
        if let Some(error) = refused {
            assert!(error.to_string().contains(SOURCE), "{error:?}");
            assert!(error.hint_text().unwrap().contains("`tillhouse sync`"));
            // Whoever writes all the same and is cut short does not hide it.
            let source = reader.source_table("hecone", Arc::new(source_spec()));
            let records = [FixtureRecord("e", None, content, None)];
            let landed = page("2026-03-01T00:00:00Z", &records);
            source.land(vec![landed], &run("r5")).await.unwrap();
            let again = place.open().await.ops();
            let newest = again.published(&AsOf::Latest).await.unwrap().unwrap();
            let refused = again.refuse_older_copy(&newest).await.unwrap_err();
            assert!(refused.to_string().contains(SOURCE), "{refused:?}");
        }
    }
}

/// Lands a record and publishes nothing, as a sync that is under way or was cut short.
async fn land(warehouse: &Warehouse, key: &'static str, run_id: &str) {
    let source = warehouse.source_table("hecone", Arc::new(source_spec()));
    let records = [FixtureRecord(key, None, 1, None)];
    let landed = page("2026-03-01T00:00:00Z", &records);
    source.land(vec![landed], &run(run_id)).await.unwrap();
}

/// True if answers from the newest run are refused, by whoever opens the warehouse anew; and whether its list of runs alone is older.
async fn is_refused(place: &TempWarehouse) -> (bool, Option<bool>) {
    let warehouse = place.open().await;
    let ops = warehouse.ops();
    let newest = ops.published(&AsOf::Latest).await.unwrap().unwrap();
    let refused = ops.refuse_older_copy(&newest).await.is_err();
    let damage = warehouse.damage(&newest).await;
    let older = ops.older_copy(&newest, &damage.ahead).await.unwrap();
    (refused, older.map(|older| older.is_of_runs_alone()))
}

#[tokio::test]
async fn a_list_of_runs_that_alone_is_older_than_the_rest_refuses_nobody() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    let january = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    let of_first = place.folder.path().join("ops of r1");
    let put_back = |tables: &[&str]| {
        for table in tables {
            std::fs::remove_dir_all(folder(&place, table)).unwrap();
            copy_folder(&of_first.join(table), &folder(&place, table));
        }
    };
    note_slice_of(&warehouse, "r1", january).await;
    publish(&warehouse, "a", 1, "r1").await;
    for table in [RUNS, "ops/published", SLICES] {
        copy_folder(&folder(&place, table), &of_first.join(table));
    }
    note_slice_of(&warehouse, "r2", january).await;
    publish(&warehouse, "b", 2, "r2").await;
    land(&warehouse, "c", "r3").await;
    assert_eq!(is_refused(&place).await, (false, None));
    // As in a copy for which these were copied first, and where records of runs were lost.
    put_back(&[RUNS, "ops/published"]);
    assert_eq!(is_refused(&place).await, (false, Some(true)));
    // However much is noted meanwhile by whoever is cut short.
    let writer = place.open().await;
    let newest = writer.ops().published(&AsOf::Latest).await;
    let newest = newest.unwrap().unwrap();
    assert_eq!(newest.run_id, "r1");
    writer.ops().refuse_older_copy(&newest).await.unwrap();
    for _ in 0..20 {
        note_slice_of(&writer, "r4", january).await;
    }
    land(&writer, "d", "r4").await;
    assert_eq!(is_refused(&place).await, (false, Some(true)));
    // Nothing is deleted that the runs may need which nobody knows.
    let upkeep = place.open().await.ops();
    let refused = upkeep.refuse_upkeep_by_older_copy().await.unwrap_err();
    assert!(refused.to_string().contains(RUNS), "{refused:?}");
    // Where the rest is old too it is, whatever is noted in it meanwhile.
    put_back(&[SLICES]);
    assert_eq!(is_refused(&place).await, (true, Some(false)));
    let writer = place.open().await;
    let refused = writer.ops().refuse_older_copy(&newest).await;
    assert!(refused.is_err());
    note_slice_of(&writer, "r5", january).await;
    land(&writer, "e", "r5").await;
    assert_eq!(is_refused(&place).await, (true, Some(false)));
}

#[tokio::test]
async fn a_commit_of_whoever_began_before_later_runs_does_not_hide_that_bookkeeping_is_older() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    let copy = place.folder.path().join("ops of r1");
    publish(&warehouse, "a", 1, "r1").await;
    copy_folder(&folder(&place, "ops"), &copy);
    let long = place.open().await;
    long.ops().published(&AsOf::Latest).await.unwrap();
    for (land, key) in (2..).zip(["b", "c"]) {
        publish(&warehouse, key, land, &format!("r{land}")).await;
    }
    land(&long, "d", "long").await;
    assert_eq!(is_refused(&place).await, (false, None));
    std::fs::remove_dir_all(folder(&place, "ops")).unwrap();
    copy_folder(&copy, &folder(&place, "ops"));
    assert_eq!(is_refused(&place).await, (true, Some(false)));
}

#[tokio::test]
async fn of_a_run_that_is_hurt_while_the_newest_is_whole_no_command_is_named_that_repairs_it() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    for (land, key) in (1..).zip(keys) {
        publish(&warehouse, key, land, &format!("r{land}")).await;
    }
    // A checkpoint stands between it and the newest.
    std::fs::write(file(&place, SOURCE, 5), "").unwrap();
    let hint_of = async |run: AsOf| {
        let reader = place.open().await;
        let run = reader.ops().published(&run).await.unwrap().unwrap();
        let opened = reader.open_at(SOURCE, run.tables.get(SOURCE)).await;
        let error = opened.err()?;
        error.hint_text().map(str::to_owned)
    };
    let fifth = AsOf::Run("r5".to_owned());
    let hint = hint_of(fifth.clone()).await;
    assert_eq!(hint.as_deref(), Some(crate::ASK_ANOTHER_RUN));
    assert_eq!(hint_of(AsOf::Latest).await, None, "it is whole");
    let reader = place.open().await;
    let below = reader.registry.below(SOURCE);
    let snapshot = reader.table(SOURCE).unwrap().latest().await;
    let known = snapshot.unwrap().unwrap().files[0].path.clone();
    let known = object_store::path::Path::parse(known).unwrap();
    assert!(reader.newest_needs(&format!("{below}/{known}")).await);
    assert!(!reader.newest_needs(&format!("{below}/gone.parquet")).await);
    assert!(reader.newest_needs("elsewhere/gone.parquet").await);
    // Where the newest is hurt too, the command that repairs it is the way out.
    std::fs::write(file(&place, SOURCE, 12), "").unwrap();
    let hint = hint_of(fifth).await.unwrap();
    assert!(hint.contains("`tillhouse sync hecone --full`"), "{hint}");
}
