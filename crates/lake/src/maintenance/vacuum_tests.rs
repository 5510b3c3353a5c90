//! Vacuum, alone, cut off anywhere, and after compactions in any order.
//!
//! Invariant: the rows of every kept run are the same before and after.

use super::*;
use crate::faulty_store::{
    FixtureFact, FixtureRecord, TempWarehouse, copy_folder, fact_spec, facts, page, run,
    source_spec, sql, step, t, us,
};
use crate::maintenance::compact::CompactionOptions;
use crate::ops::rows::{AsOf, RunRecord};
use crate::store::checkpoint_seal::is_sound;
use crate::store::location::WarehouseLocation;
use crate::store::special_file::special_file;
use crate::unified::step::SupersededRecords;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

const SOURCE: &str = "hecone/transactions";
const FACT: &str = "unified/articles";
const VERSIONS: &str =
    "SELECT id, month, _load_id, CAST(amount * 10000 AS BIGINT) FROM t ORDER BY _load_id, id";
const ROWS: &str = "SELECT article_key, month, CAST(amount * 10000 AS BIGINT), _load_id FROM t ORDER BY article_key, _load_id";
const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const JAN: Option<&str> = Some("2026-01-10T10:00:00Z");
const DAY: i64 = 86_400;

/// Everything that is not kept goes at once, runs are kept for so many days.
fn options(days: i64) -> VacuumOptions {
    let length = Some(SignedDuration::from_secs(days * DAY));
    VacuumOptions {
        dry_run: false,
        retention: RetentionPolicy {
            runs: length,
            daily: length,
            monthly: length,
        },
        safe_age: SignedDuration::ZERO,
        until: None,
    }
}

/// A warehouse whose clock stands at noon of a day of March.
async fn on_day(place: &TempWarehouse, day: u32) -> Warehouse {
    let now = t(&format!("2026-03-{day:02}T12:00:00Z"));
    place.open().await.with_clock(Arc::new(move || now))
}

/// Lands and unifies one record, which may have been there before, and publishes a run that names what there is.
async fn sync(warehouse: &Warehouse, day: u32) -> String {
    let load_id = i64::from(day);
    let key = KEYS[day as usize % KEYS.len()];
    let source = warehouse.source_table("hecone", Arc::new(source_spec()));
    let records = [FixtureRecord(key, JAN, load_id, None)];
    let landed = source
        .land(vec![page("2026-03-01T00:00:00Z", &records)], &run("r"))
        .await;
    assert_eq!(landed.unwrap().load_id, load_id);
    let superseded = SupersededRecords {
        keys: HashSet::from([key.to_owned()]),
        times: vec![us(JAN.unwrap())],
        keys_maybe_untimed: HashSet::new(),
    };
    let rows = facts("hecone", load_id, &[FixtureFact(key, key, JAN, load_id)]);
    let fact = warehouse.unified_table(Arc::new(fact_spec()));
    fact.replace(&step("hecone", load_id - 1, load_id), &superseded, rows)
        .await
        .unwrap();
    publish(warehouse, &format!("run-{day:02}")).await
}

async fn publish(warehouse: &Warehouse, run_id: &str) -> String {
    let (mut tables, mut figures) = (BTreeMap::new(), BTreeMap::new());
    for path in [SOURCE, FACT] {
        let (version, size) = warehouse.newest_figures(path).await.unwrap().unwrap();
        tables.insert(path.to_owned(), version.into());
        figures.insert(path.to_owned(), size);
    }
    let record = RunRecord {
        run_id: run_id.to_owned(),
        command: "sync".to_owned(),
        pipelines: vec!["hecone".to_owned()],
        started_at: warehouse.now(),
        finished_at: warehouse.now(),
        outcome: "done".to_owned(),
        published: true,
        tables,
        figures,
        counts: BTreeMap::new(),
        expected: BTreeMap::new(),
    };
    warehouse.ops().publish(&record).await.unwrap();
    run_id.to_owned()
}

/// The rows of a run, of both tables, read by a process that has read nothing before.
async fn rows_of(place: &TempWarehouse, run_id: &str) -> (Vec<String>, Vec<String>) {
    let warehouse = place.open().await;
    let run = warehouse
        .ops()
        .published(&AsOf::Run(run_id.to_owned()))
        .await
        .unwrap()
        .unwrap();
    let at = |path: &str| Some(run.tables[path].version);
    (
        sql(&warehouse, SOURCE, at(SOURCE), VERSIONS).await,
        sql(&warehouse, FACT, at(FACT), ROWS).await,
    )
}

async fn vacuum(warehouse: &Warehouse, options: VacuumOptions) -> VacuumSummary {
    let summary = warehouse.vacuum(options, "upkeep", &|_| {}).await.unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    summary
}

async fn compact(warehouse: &Warehouse) {
    let everything = CompactionOptions::everything();
    let summary = warehouse
        .compact(everything, "upkeep", &|_| {})
        .await
        .unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
}

/// A warehouse whose clock stands so many half days after the beginning of the year.
async fn half_days_on(place: &TempWarehouse, half_days: u32) -> Warehouse {
    let since = SignedDuration::from_hours(12 * i64::from(half_days));
    let now = t("2026-01-01T00:00:00Z").checked_add(since).unwrap();
    place.open().await.with_clock(Arc::new(move || now))
}

/// All runs of two days are kept, then one a day, then one a month.
fn thinned() -> VacuumOptions {
    let days = |days: i64| Some(SignedDuration::from_secs(days * DAY));
    VacuumOptions {
        retention: RetentionPolicy {
            runs: days(2),
            daily: days(10),
            monthly: days(400),
        },
        ..options(0)
    }
}

async fn kept_runs(place: &TempWarehouse) -> Vec<RunRecord> {
    let ops = place.open().await.ops();
    let marks = ops.retention_marks().await.unwrap();
    let runs = ops.runs().await.unwrap();
    let kept = marks.kept(&runs);
    let is_kept = |run: &&RunRecord| kept.contains(run.run_id.as_str());
    runs.iter().filter(is_kept).cloned().collect()
}

#[tokio::test]
async fn the_log_shrinks_to_what_kept_runs_need_and_every_delta_reader_reads_them() {
    let place = TempWarehouse::new();
    let mut before = BTreeMap::new();
    for number in 1..=100 {
        let warehouse = half_days_on(&place, number).await;
        let id = sync(&warehouse, number).await;
        before.insert(id.clone(), rows_of(&place, &id).await);
        if number % 17 == 0 {
            compact(&warehouse).await;
        }
        if number % 10 == 0 {
            vacuum(&warehouse, thinned()).await;
        }
    }
    let dry = VacuumOptions {
        dry_run: true,
        ..thinned()
    };
    let warehouse = half_days_on(&place, 104).await;
    let told = vacuum(&warehouse, dry).await;
    let done = vacuum(&half_days_on(&place, 104).await, thinned()).await;
    // Its own bookkeeping has a row more by then.
    let of_others = |summary: VacuumSummary| {
        let tables = summary.tables.into_iter();
        let others = tables.filter(|done| done.table != "ops/maintenance");
        others.collect::<Vec<_>>()
    };
    assert_eq!(of_others(done), of_others(told));
    let kept = kept_runs(&place).await;
    assert!((9..=14).contains(&kept.len()), "{}", kept.len());
    for run in &kept {
        assert_eq!(rows_of(&place, &run.run_id).await, before[&run.run_id]);
    }
    for path in [SOURCE, FACT] {
        let log = files(&place, path).1;
        assert!(log.len() <= 45, "{path}: {log:?}");
        let url = url::Url::from_directory_path(place.root().join(path)).unwrap();
        let newest = deltalake::open_table(url.clone()).await.unwrap();
        let latest = warehouse.table(path).unwrap().latest().await.unwrap();
        assert_eq!(newest.version(), latest.map(|latest| latest.version));
        for run in &kept {
            let version = run.tables[path].version;
            let read = deltalake::open_table_with_version(url.clone(), version).await;
            let read = read.unwrap_or_else(|error| panic!("{path} {version}: {error}"));
            let size = read.snapshot().unwrap().log_data().num_files() as u64;
            assert_eq!(size, run.figures[path].files, "{path} {version}");
        }
    }
    let found = warehouse.inspect(&|_| {}).await.unwrap();
    assert!(found.damaged.is_empty(), "{found:?}");
    let again = vacuum(&half_days_on(&place, 104).await, thinned()).await;
    assert!(
        again.tables.iter().all(|t| t.table.starts_with("ops/")),
        "{again:?}"
    );
}

#[tokio::test]
async fn a_vacuum_reads_only_the_commits_since_the_one_before() {
    let place = TempWarehouse::new();
    for day in 1..=24 {
        sync(&on_day(&place, day).await, day).await;
    }
    let gets = async |day: u32, options: VacuumOptions| {
        let warehouse = on_day(&place, day).await;
        vacuum(&warehouse, options).await;
        let requests = warehouse.requests();
        // The rows of runs are data: each vacuum reads those that are kept.
        requests.gets - requests.data_gets
    };
    let first = gets(24, options(90)).await;
    let again = gets(24, options(90)).await;
    sync(&on_day(&place, 25).await, 25).await;
    let after_one = gets(25, options(90)).await;
    assert!(
        again + 50 < first && after_one < again + 20,
        "{first}, {again}, {after_one}"
    );
    // The list kept beside a table is a short cut: without it, or with another one, the same goes.
    let kept = place
        .root()
        .join(FACT)
        .join("_tillhouse/lifetimes.json.zst");
    let was = std::fs::read(&kept).unwrap();
    let dry = VacuumOptions {
        dry_run: true,
        ..options(3)
    };
    let dropped = on_day(&place, 26).await;
    let told = vacuum(&dropped, dry).await;
    std::fs::remove_file(&kept).unwrap();
    assert_eq!(vacuum(&dropped, dry).await.tables, told.tables);
    std::fs::write(&kept, &was[..was.len() / 2]).unwrap();
    assert_eq!(vacuum(&dropped, dry).await.tables, told.tables);
    let other = place
        .root()
        .join(SOURCE)
        .join("_tillhouse/lifetimes.json.zst");
    std::fs::copy(other, &kept).unwrap();
    assert_eq!(vacuum(&dropped, dry).await.tables, told.tables);
}

/// Files of a table's folder: of data, and of its log.
fn files(place: &TempWarehouse, table: &str) -> (usize, Vec<String>) {
    let (mut data, mut log) = (0, Vec::new());
    let mut folders = vec![place.root().join(table)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match path.is_dir() {
                true => folders.push(path),
                false if path.to_string_lossy().contains("_delta_log") => log.push(name),
                // The files that maintenance keeps beside the table.
                false if path.extension().is_some_and(|kind| kind == "zst") => {}
                false => data += 1,
            }
        }
    }
    log.sort();
    (data, log)
}

#[tokio::test]
async fn kept_runs_stay_readable_and_the_others_go_with_their_files() {
    let place = TempWarehouse::new();
    let mut before = BTreeMap::new();
    for day in 1..=25 {
        let warehouse = on_day(&place, day).await;
        let id = sync(&warehouse, day).await;
        before.insert(id.clone(), rows_of(&place, &id).await);
        if day % 6 == 0 {
            compact(&warehouse).await;
        }
    }
    let warehouse = on_day(&place, 25).await;
    let dry = VacuumOptions {
        dry_run: true,
        ..options(3)
    };
    let (was, told) = (files(&place, FACT), vacuum(&warehouse, dry).await);
    assert_eq!(files(&place, FACT), was);
    assert_eq!((told.kept_runs, told.dropped_runs.len()), (3, 22));
    let done = vacuum(&warehouse, options(3)).await;
    assert_eq!((done.kept_runs, done.dropped_runs), (3, told.dropped_runs));
    assert_eq!(done.tables, told.tables);
    for (id, rows) in &before {
        if id.as_str() >= "run-23" {
            assert_eq!(rows_of(&place, id).await, *rows, "{id}");
            continue;
        }
        let error = place
            .open()
            .await
            .ops()
            .published(&AsOf::Run(id.clone()))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no longer kept"), "{error}");
        assert!(error.hint_text().unwrap().contains("run-23"), "{error:?}");
    }
    let asked = AsOf::Time(t("2026-03-24T13:00:00Z"));
    let found = warehouse.ops().published(&asked).await.unwrap().unwrap();
    assert_eq!(found.run_id, "run-24");
    let (data, log) = files(&place, FACT);
    assert!(data < was.0 && data <= 12, "{data} of {}", was.0);
    let first = log.iter().find(|name| name.ends_with(".json")).unwrap();
    assert_eq!(first, "00000000000000000020.json", "{log:?}");
    // Nothing more to do: nothing is written.
    let noted = warehouse.ops().maintenance().await.unwrap().len();
    let again = vacuum(&warehouse, options(3)).await;
    assert!(
        again.tables.iter().all(|t| t.table.starts_with("ops/")),
        "{again:?}"
    );
    let again = vacuum(&warehouse, options(3)).await;
    assert!(again.tables.is_empty(), "{again:?}");
    assert!(warehouse.ops().maintenance().await.unwrap().len() <= noted + 2);
    // And syncs go on.
    let warehouse = on_day(&place, 26).await;
    let id = sync(&warehouse, 26).await;
    assert_eq!(rows_of(&place, &id).await.0.len(), 26);
}

#[tokio::test]
async fn files_that_are_young_or_of_recent_versions_stay() {
    let place = TempWarehouse::new();
    for day in 1..=12 {
        sync(&on_day(&place, day).await, day).await;
    }
    let stray = place
        .root()
        .join(FACT)
        .join("part-of-a-lost-race.zstd.parquet");
    std::fs::write(&stray, "never committed").unwrap();
    let warehouse = on_day(&place, 12).await;
    compact(&warehouse).await;
    let careful = VacuumOptions {
        safe_age: SignedDuration::from_secs(DAY),
        ..options(1)
    };
    let was = files(&place, FACT);
    let done = vacuum(&warehouse, careful).await;
    assert!(
        done.tables.is_empty() && !done.dropped_runs.is_empty(),
        "{done:?}"
    );
    assert_eq!(files(&place, FACT), was);
    assert!(stray.exists());
    // Two days later all of it is old, and only what is needed stays.
    for path in paths(&place) {
        let old = SystemTime::now() - std::time::Duration::from_secs(2 * DAY as u64);
        std::fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    let unfinished = place.root().join(SOURCE).join("part.zstd.parquet#17");
    std::fs::write(&unfinished, "cut").unwrap();
    assert_eq!(vacuum(&warehouse, careful).await.unfinished_files, 0);
    assert!(!stray.exists() && unfinished.exists());
    assert!(files(&place, FACT).0 < was.0);
    assert_eq!(vacuum(&warehouse, options(1)).await.unfinished_files, 1);
    assert!(!unfinished.exists());
    rows_of(&place, "run-12").await;
}

fn paths(place: &TempWarehouse) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![place.root()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

#[tokio::test]
async fn cut_off_anywhere_it_leaves_every_kept_run_readable_and_the_next_one_finishes() {
    let place = TempWarehouse::new();
    let mut before = BTreeMap::new();
    for day in 1..=24 {
        let warehouse = on_day(&place, day).await;
        let id = sync(&warehouse, day).await;
        before.insert(id.clone(), rows_of(&place, &id).await);
        if day == 15 {
            compact(&warehouse).await;
        }
    }
    let kept = ["run-22", "run-23", "run-24"];
    let warehouse = on_day(&place, 24).await;
    let (mut cut, was) = (0, in_folder(&place));
    loop {
        place.store.fail_deletes_after(5);
        let done = warehouse.vacuum(options(3), "upkeep", &|_| {}).await;
        for id in kept {
            assert_eq!(rows_of(&place, id).await, before[id], "{id}");
        }
        match done {
            Ok(summary) if summary.failed.is_empty() => break,
            _ => cut += 1,
        }
        assert!(cut < 200, "it never ends");
    }
    assert!(cut > 5, "it was cut off {cut} times");
    place.store.fail_deletes_after(usize::MAX);
    vacuum(&warehouse, options(3)).await;
    let rest = vacuum(&warehouse, options(3)).await;
    assert!(
        rest.tables.iter().all(|t| t.table.starts_with("ops/")),
        "{rest:?}"
    );
    // What was deleted before it was cut off is noted too.
    let rows = warehouse.ops().maintenance().await.unwrap();
    let of_facts = rows
        .iter()
        .filter(|row| row.action == VACUUM && row.table.as_deref() == Some(FACT));
    let deleted = of_facts.map(|row| row.files_before - row.files_after + row.log_files);
    assert_eq!(deleted.sum::<u64>(), was - in_folder(&place));
}

/// Number of files of a table that a vacuum may delete.
fn in_folder(place: &TempWarehouse) -> u64 {
    let (data, log) = files(place, FACT);
    (data + log.len()) as u64
}

#[tokio::test]
async fn a_vacuum_is_due_once_a_day_whatever_else_was_done() {
    let place = TempWarehouse::new();
    sync(&on_day(&place, 1).await, 1).await;
    assert!(!on_day(&place, 1).await.is_vacuum_due().await.unwrap());
    sync(&on_day(&place, 2).await, 2).await;
    let warehouse = on_day(&place, 2).await;
    compact(&warehouse).await;
    assert!(warehouse.is_vacuum_due().await.unwrap());
    let dry = VacuumOptions {
        dry_run: true,
        ..options(3)
    };
    vacuum(&warehouse, dry).await;
    assert!(warehouse.is_vacuum_due().await.unwrap());
    vacuum(&warehouse, options(3)).await;
    assert!(!warehouse.is_vacuum_due().await.unwrap());
    assert!(on_day(&place, 3).await.is_vacuum_due().await.unwrap());
    // A clock that was ahead does not put it off.
    assert!(on_day(&place, 1).await.is_vacuum_due().await.unwrap());
}

#[test]
fn staged_files_are_removed_and_what_is_gone_meanwhile_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let staged = folder.path().join("part.parquet#1");
    std::fs::write(&staged, "cut").unwrap();
    // Renamed between its listing and the question after its age: a link to nowhere answers like that.
    let nowhere = folder.path().join("nowhere");
    assert!(!is_older(&nowhere, Timestamp::MAX).unwrap());
    assert!(
        unless_gone(std::fs::remove_file(&nowhere))
            .unwrap()
            .is_none()
    );
    let root = folder.path().to_owned();
    assert_eq!(
        remove_staged(root.clone(), Timestamp::MIN, false).unwrap(),
        0
    );
    assert_eq!(
        remove_staged(root.clone(), Timestamp::MAX, true).unwrap(),
        1
    );
    assert_eq!(remove_staged(root, Timestamp::MAX, false).unwrap(), 1);
    assert!(!staged.exists());
}

#[tokio::test]
async fn a_table_that_cannot_be_told_is_left_alone_and_the_others_are_not() {
    let place = TempWarehouse::new();
    for day in 1..=8 {
        sync(&on_day(&place, day).await, day).await;
    }
    let commit = place
        .root()
        .join(FACT)
        .join("_delta_log/00000000000000000007.json");
    let text = std::fs::read(&commit).unwrap();
    std::fs::write(&commit, &text[..text.len() / 2]).unwrap();
    let was = files(&place, FACT);
    let warehouse = on_day(&place, 8).await;
    let done = warehouse
        .vacuum(options(3), "upkeep", &|_| {})
        .await
        .unwrap();
    assert_eq!(done.failed.len(), 1, "{done:?}");
    assert_eq!(done.failed[0].0, FACT);
    assert_eq!(files(&place, FACT), was);
}

#[tokio::test]
async fn a_checkpoint_in_which_a_bit_has_flipped_is_written_anew_before_its_commits_go() {
    let place = TempWarehouse::new();
    let mut before = BTreeMap::new();
    for day in 1..=24 {
        let id = sync(&on_day(&place, day).await, day).await;
        before.insert(id.clone(), rows_of(&place, &id).await);
    }
    let log = place.root().join(FACT).join("_delta_log");
    let checkpoint = log.join("00000000000000000020.checkpoint.parquet");
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&checkpoint, &bytes).unwrap();
    vacuum(&on_day(&place, 24).await, options(3)).await;
    assert!(is_sound(&std::fs::read(&checkpoint).unwrap()));
    assert!(!log.join("00000000000000000019.json").exists());
    for id in ["run-22", "run-23", "run-24"] {
        assert_eq!(rows_of(&place, id).await, before[id], "{id}");
    }
}

#[tokio::test]
async fn an_inspection_names_what_readers_pass_over_with_the_way_out() {
    let place = TempWarehouse::new();
    for day in 1..=12 {
        sync(&on_day(&place, day).await, day).await;
    }
    let damaged = async || place.open().await.inspect(&|_| {}).await.unwrap().damaged;
    assert_eq!(damaged().await, []);
    let log = place.root().join(FACT).join("_delta_log");
    let name = "00000000000000000010.checkpoint.parquet";
    let whole = std::fs::read(log.join(name)).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (wrong, file, what) in [
        (Some(&flipped[..]), name, "is not what was written"),
        (Some(&whole[..20]), name, "is cut, or no checkpoint"),
        (None, "_last_checkpoint", "of version 10, which is missing"),
    ] {
        match wrong {
            Some(wrong) => std::fs::write(log.join(name), wrong).unwrap(),
            None => std::fs::remove_file(log.join(name)).unwrap(),
        }
        let found = damaged().await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].table, FACT);
        let named = format!("_delta_log/{file}");
        assert_eq!(found[0].file.as_deref(), Some(named.as_str()));
        assert!(found[0].what.contains(what), "{found:?}");
        assert!(found[0].hint.contains("may be deleted"), "{found:?}");
    }
    std::fs::write(log.join(name), &whole).unwrap();
    let learnt = place.root().join(FACT).join("_tillhouse");
    std::fs::create_dir_all(&learnt).unwrap();
    std::fs::write(learnt.join("lifetimes.json.zst"), "{").unwrap();
    let found = damaged().await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        found[0].file.as_deref(),
        Some("_tillhouse/lifetimes.json.zst")
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_in_the_place_of_the_note_of_a_checkpoint_is_passed_over_and_removed() {
    let place = TempWarehouse::new();
    for day in 1..=12 {
        sync(&on_day(&place, day).await, day).await;
    }
    let note = place.root().join(FACT).join("_delta_log/_last_checkpoint");
    std::fs::remove_file(&note).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&note).status();
    assert!(made.unwrap().success());
    let location = WarehouseLocation::new(place.root().display().to_string());
    let now = t("2026-03-12T12:00:00Z");
    let warehouse = Warehouse::open(&location).await.unwrap();
    let warehouse = warehouse.with_clock(Arc::new(move || now));
    assert!(warehouse.open_at(FACT, None).await.unwrap().is_some());
    let summary = warehouse.vacuum(options(30), "upkeep", &|_| {}).await;
    let failed = summary.unwrap().failed;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(special_file(&note), None);
}

/// Changes every byte of a file of a log but for its ends.
fn spoil(file: &std::path::Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let end = bytes.len() - 12;
    bytes[12..end].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn damage_behind_what_tells_the_newest_version_is_mended_or_passed_over() {
    let damaged = async |place: &TempWarehouse| {
        let found = place.open().await.inspect(&|_| {}).await.unwrap();
        (found.damaged, found.of_earlier_runs.len())
    };
    for (file, is_mended) in [
        ("00000000000000000007.json", false),
        ("00000000000000000017.json", false),
        ("00000000000000000010.checkpoint.parquet", true),
    ] {
        let place = TempWarehouse::new();
        let mut before = BTreeMap::new();
        for day in 1..=24 {
            let id = sync(&on_day(&place, day).await, day).await;
            before.insert(id.clone(), rows_of(&place, &id).await);
        }
        let log = place.root().join(SOURCE).join("_delta_log");
        spoil(&log.join(file));
        let (found, of_earlier) = damaged(&place).await;
        match is_mended {
            true => {
                assert_eq!((found.len(), of_earlier), (1, 0), "{found:?}");
                assert!(found[0].hint.contains("`tillhouse vacuum`"), "{found:?}");
            }
            false => assert_eq!((found, of_earlier), (Vec::new(), 1), "{file}"),
        }
        // Whether all runs are kept or few.
        for days in [90, 3] {
            vacuum(&on_day(&place, 24).await, options(days)).await;
            assert_eq!(damaged(&place).await.0, [], "{file}, {days}");
            for id in ["run-22", "run-23", "run-24"] {
                assert_eq!(
                    rows_of(&place, id).await,
                    before[id],
                    "{file}, {days}, {id}"
                );
            }
        }
        assert!(!log.join(file).exists(), "{file}");
        assert!(log.join("00000000000000000020.checkpoint.parquet").exists());
        // The commits of that one are gone by now.
        for day in 25..=31 {
            sync(&on_day(&place, day).await, day).await;
        }
        spoil(&log.join("00000000000000000020.checkpoint.parquet"));
        assert_eq!(damaged(&place).await.0, [], "{file}");
        let newest = rows_of(&place, "run-31").await;
        vacuum(&on_day(&place, 31).await, options(0)).await;
        assert_eq!(damaged(&place).await.0, [], "{file}");
        assert_eq!(rows_of(&place, "run-31").await, newest, "{file}");
    }
}

#[tokio::test]
async fn a_checkpoint_of_another_table_is_named_and_written_anew_by_a_vacuum() {
    let checkpoint = "00000000000000000020.checkpoint.parquet";
    for table in [SOURCE, FACT] {
        let (place, other) = (TempWarehouse::new(), TempWarehouse::new());
        for day in 1..=24 {
            sync(&on_day(&place, day).await, day).await;
            sync(&on_day(&other, day).await, day).await;
        }
        let newest = rows_of(&place, "run-24").await;
        let file = |place: &TempWarehouse| {
            let log = place.root().join(table).join("_delta_log");
            log.join(checkpoint)
        };
        std::fs::copy(file(&other), file(&place)).unwrap();
        let found = place.open().await.inspect(&|_| {}).await.unwrap().damaged;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].table, table);
        assert!(found[0].what.contains(checkpoint), "{found:?}");
        assert!(found[0].hint.contains("`tillhouse vacuum`"), "{found:?}");
        vacuum(&on_day(&place, 24).await, options(90)).await;
        let found = place.open().await.inspect(&|_| {}).await.unwrap().damaged;
        assert_eq!(found, [], "{table}");
        assert_eq!(rows_of(&place, "run-24").await, newest, "{table}");
    }
}

#[tokio::test]
async fn a_table_that_has_lost_its_end_is_left_alone_by_both() {
    let place = TempWarehouse::new();
    for day in 1..=8 {
        sync(&on_day(&place, day).await, day).await;
    }
    let commit = place
        .root()
        .join(FACT)
        .join("_delta_log/00000000000000000008.json");
    let text = std::fs::read(&commit).unwrap();
    std::fs::remove_file(&commit).unwrap();
    let was = files(&place, FACT);
    let warehouse = on_day(&place, 8).await;
    let everything = CompactionOptions::everything();
    let compacted = warehouse.compact(everything, "upkeep", &|_| {}).await;
    let compacted = compacted.unwrap().failed;
    let vacuumed = warehouse.vacuum(options(3), "upkeep", &|_| {}).await;
    let vacuumed = vacuumed.unwrap().failed;
    for failed in [compacted, vacuumed] {
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert_eq!(failed[0].0, FACT);
        assert!(failed[0].1.to_string().contains("lost commits"));
        assert!(failed[0].1.hint_text().is_some());
    }
    assert_eq!(files(&place, FACT), was);
    // Whoever puts the file back has everything.
    std::fs::write(&commit, text).unwrap();
    assert_eq!(rows_of(&place, "run-08").await.1.len(), 5);
    compact(&on_day(&place, 8).await).await;
}

#[tokio::test]
async fn beside_bookkeeping_from_an_older_copy_nothing_is_deleted_and_nothing_is_compacted() {
    let place = TempWarehouse::new();
    let (ops, copy) = (place.root().join("ops"), place.folder.path().join("copy"));
    let warehouse = on_day(&place, 9).await;
    for day in 1..=6 {
        sync(&warehouse, day).await;
        if day == 3 {
            copy_folder(&ops, &copy);
        }
    }
    let newer = place.folder.path().join("newer");
    std::fs::rename(&ops, &newer).unwrap();
    copy_folder(&copy, &ops);
    let was = [SOURCE, FACT].map(|table| files(&place, table));
    let refused = |error: Error| {
        let text = error.to_string();
        assert!(text.contains("older than the tables"), "{error:?}");
        assert!(error.hint_text().unwrap().contains("`tillhouse sync`"));
    };
    for dry_run in [true, false] {
        let (vacuum, compaction) = (options(0), CompactionOptions::everything());
        let vacuum = VacuumOptions { dry_run, ..vacuum };
        let compaction = CompactionOptions {
            dry_run,
            ..compaction
        };
        let warehouse = on_day(&place, 9).await;
        let vacuumed = warehouse.vacuum(vacuum, "upkeep", &|_| {}).await;
        refused(vacuumed.unwrap_err());
        let compacted = warehouse.compact(compaction, "upkeep", &|_| {}).await;
        refused(compacted.unwrap_err());
        let now = [SOURCE, FACT].map(|table| files(&place, table));
        assert_eq!(now, was, "{dry_run}");
    }
    // With what belongs to the tables both go on.
    std::fs::remove_dir_all(&ops).unwrap();
    std::fs::rename(&newer, &ops).unwrap();
    compact(&on_day(&place, 9).await).await;
    vacuum(&on_day(&place, 9).await, options(0)).await;
}

#[tokio::test]
async fn a_table_that_was_lost_and_made_anew_is_vacuumed_again() {
    let place = TempWarehouse::new();
    for day in 1..=4 {
        sync(&on_day(&place, day).await, day).await;
    }
    std::fs::remove_dir_all(place.root().join(FACT)).unwrap();
    let warehouse = on_day(&place, 5).await;
    let record = FixtureRecord("e", JAN, 5, None);
    let source = warehouse.source_table("hecone", Arc::new(source_spec()));
    let page = page("2026-03-01T00:00:00Z", &[record]);
    source.land(vec![page], &run("r")).await.unwrap();
    let fact = warehouse.unified_table(Arc::new(fact_spec()));
    let rows = facts("hecone", 5, &[FixtureFact("e", "e", JAN, 5)]);
    let none = SupersededRecords {
        keys: HashSet::new(),
        times: Vec::new(),
        keys_maybe_untimed: HashSet::new(),
    };
    fact.replace(&step("hecone", 0, 5), &none, rows)
        .await
        .unwrap();
    // As whoever finds it lost goes on.
    warehouse.table(FACT).unwrap().expect_nothing();
    publish(&warehouse, "run-05").await;
    // Runs before it name versions that no log has.
    vacuum(&warehouse, options(90)).await;
    assert_eq!(rows_of(&place, "run-05").await.1.len(), 1);
    let found = warehouse.inspect(&|_| {}).await.unwrap();
    assert_eq!(found.damaged, []);
    let lacks = found.of_earlier_runs;
    assert_eq!(lacks.len(), 1, "{lacks:?}");
    assert!(
        lacks[0].hint.contains("The newest run has all"),
        "{lacks:?}"
    );
}

/// A number that looks random and is the same every time.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[tokio::test]
async fn in_whatever_order_they_are_run_the_rows_of_kept_runs_stay() {
    for seed in 1..=3_u64 {
        let place = TempWarehouse::new();
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut before = BTreeMap::new();
        let mut day = 0;
        while day < 16 {
            match next(&mut state) % 4 {
                0 | 1 => {
                    day += 1;
                    let id = sync(&on_day(&place, day).await, day).await;
                    before.insert(id.clone(), rows_of(&place, &id).await);
                }
                2 if day > 0 => compact(&on_day(&place, day).await).await,
                3 if day > 0 => {
                    let days = 2 + next(&mut state) % 5;
                    let days = i64::try_from(days).unwrap();
                    vacuum(&on_day(&place, day).await, options(days)).await;
                }
                _ => {}
            }
            let warehouse = place.open().await;
            let (runs, marks) = (
                warehouse.ops().runs().await.unwrap(),
                warehouse.ops().retention_marks().await.unwrap(),
            );
            let kept = marks.kept(&runs);
            for run in runs.iter().filter(|run| kept.contains(run.run_id.as_str())) {
                assert_eq!(
                    rows_of(&place, &run.run_id).await,
                    before[&run.run_id],
                    "seed {seed}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_others_have_landed_since_a_run_holds_its_tables_stays() {
    let place = TempWarehouse::new();
    sync(&on_day(&place, 1).await, 1).await;
    let holder = on_day(&place, 2).await;
    holder.hold(vec![SOURCE.to_owned()]);
    let (newest, _) = holder.ops().newest_published().await.unwrap();
    assert_eq!(newest.unwrap().run_id, "run-01");
    // Another run is under way: it has landed, and is not published yet.
    let other = on_day(&place, 2).await;
    let source = other.source_table("hecone", Arc::new(source_spec()));
    let landed = page("2026-03-02T00:00:00Z", &[FixtureRecord("z", JAN, 2, None)]);
    source.land(vec![landed], &run("other")).await.unwrap();
    vacuum(&holder, options(400)).await;
    let rows = sql(&place.open().await, SOURCE, None, VERSIONS).await;
    assert_eq!(rows.len(), 2, "{rows:?}");
}
