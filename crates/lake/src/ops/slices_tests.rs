//! The ledger and what is folded of it: how many files planning opens, and when what is folded does not count.

use super::*;
use crate::faulty_store::{TempWarehouse, t};
use jiff::SignedDuration;
use tillhouse_model::{Coverage, ReadBy, Window, merge_windows};

/// The hour of a run.
fn at(hour: i64) -> Timestamp {
    t("2026-01-30T00:00:00Z") + SignedDuration::from_hours(hour)
}

/// Windows that the run of an hour read: the hour before it, and the one before that again.
fn of_run(hour: i64, pipeline: &str) -> Vec<SliceRow> {
    [(hour - 2, hour - 1), (hour - 1, hour)]
        .map(|(from, to)| SliceRow {
            pipeline: pipeline.to_owned(),
            resource: "transactions".to_owned(),
            tenant: None,
            window: Window::new(at(from), at(to)).unwrap(),
            read_by: Some(ReadBy::EventTime),
            also_read_by: None,
            run_id: format!("run{hour:04}"),
            read_at: at(hour),
            records: 1,
            rejects: 0,
            declared_total: None,
            attempts: 1,
            load_id: 1,
        })
        .into()
}

async fn clocked(place: &TempWarehouse) -> OpsTables {
    let now = at(10_000);
    place.open().await.with_clock(Arc::new(move || now)).ops()
}

fn covered(rows: &[CoverageRow]) -> Vec<Window> {
    Coverage::of(rows.iter().map(CoverageRow::as_read))
        .covered()
        .to_vec()
}

/// Coverage as all rows of the ledger have it.
async fn of_all_rows(ops: &OpsTables, pipeline: &str) -> Vec<Window> {
    let rows = ops.slices(pipeline).await.unwrap();
    merge_windows(rows.iter().filter_map(|row| row.as_read().seen()).collect())
}

#[tokio::test]
async fn planning_reads_what_is_folded_and_what_came_later_whatever_came_before() {
    let place = TempWarehouse::new();
    let ops = clocked(&place).await;
    for hour in 0..60 {
        ops.record_slices(&of_run(hour, if hour % 3 == 0 { "bemo" } else { "hecone" }))
            .await
            .unwrap();
        ops.fold_coverage(RunFindings::default()).await.unwrap();
    }
    // Another run has not folded what it read.
    ops.record_slices(&of_run(60, "hecone")).await.unwrap();
    let fresh = clocked(&place).await;
    place.store.data_files_read();
    let hecone = fresh.coverage("hecone").await.unwrap();
    assert_eq!(place.store.data_files_read(), 1, "the file that came later");
    let bemo = fresh.coverage("bemo").await.unwrap();
    assert!(
        hecone.len() < 8 && bemo.len() < 25,
        "{} {}",
        hecone.len(),
        bemo.len()
    );
    assert_eq!(covered(&hecone), of_all_rows(&fresh, "hecone").await);
    assert_eq!(covered(&bemo), of_all_rows(&fresh, "bemo").await);
    // Audit has every row; a pipeline's files alone are read.
    place.store.data_files_read();
    assert_eq!(fresh.slices("bemo").await.unwrap().len(), 20);
    assert_eq!(place.store.data_files_read(), 20);
}

#[tokio::test]
async fn what_is_forgotten_is_forgotten_in_what_is_folded() {
    let place = TempWarehouse::new();
    let ops = clocked(&place).await;
    for hour in 0..9 {
        ops.record_slices(&of_run(hour, "hecone")).await.unwrap();
    }
    ops.fold_coverage(RunFindings::default()).await.unwrap();
    let before = ops.coverage("hecone").await.unwrap();
    let is_lost = |row: &SliceRow| (3..6).any(|hour| row.run_id == format!("run{hour:04}"));
    assert_eq!(ops.forget_reads("r", is_lost).await.unwrap(), 3);
    for _ in 0..2 {
        let rows = ops.coverage("hecone").await.unwrap();
        assert_ne!(covered(&rows), covered(&before));
        assert_eq!(covered(&rows), of_all_rows(&ops, "hecone").await);
        // Folded anew, it says the same.
        ops.fold_coverage(RunFindings::default()).await.unwrap();
    }
    place.store.data_files_read();
    clocked(&place).await.coverage("hecone").await.unwrap();
    assert_eq!(place.store.data_files_read(), 0);
}

#[tokio::test]
async fn what_is_folded_counts_only_for_the_ledger_it_was_made_of() {
    let place = TempWarehouse::new();
    let ops = clocked(&place).await;
    ops.record_slices(&of_run(1, "hecone")).await.unwrap();
    ops.record_slices(&of_run(2, "hecone")).await.unwrap();
    ops.fold_coverage(RunFindings::default()).await.unwrap();
    let file = find(place.folder.path());
    let folded = std::fs::read(&file).unwrap();
    let whole = ops.coverage("hecone").await.unwrap();
    // Damaged, gone, of rows that are not there, of another table.
    let text = String::from_utf8(folded.clone()).unwrap();
    // As an earlier version of the program wrote it, which says no checksum.
    let text = text.replace("\"tillhouseChecksum\":", "\"tillhouseSum\":");
    for other in [
        "{".to_owned(),
        text.replace("\"counted\":2", "\"counted\":3"),
        text.replace("\"version\":2", "\"version\":9"),
        text.replace("\"table\":\"", "\"table\":\"x"),
    ] {
        assert_ne!(other, text);
        std::fs::write(&file, other).unwrap();
        place.store.data_files_read();
        let rows = clocked(&place).await.coverage("hecone").await.unwrap();
        assert_eq!(covered(&rows), covered(&whole));
        assert_eq!(place.store.data_files_read(), 2, "every row is read");
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        covered(&clocked(&place).await.coverage("hecone").await.unwrap()),
        covered(&whole)
    );
    // The table is gone and begins anew: nothing of what was folded counts.
    std::fs::write(&file, folded).unwrap();
    std::fs::remove_dir_all(file.with_file_name("slices")).unwrap();
    let fresh = clocked(&place).await;
    assert_eq!(fresh.coverage("hecone").await.unwrap(), []);
    for hour in 20..24 {
        fresh.record_slices(&of_run(hour, "hecone")).await.unwrap();
    }
    let rows = fresh.coverage("hecone").await.unwrap();
    assert_eq!(covered(&rows), [Window::new(at(18), at(23)).unwrap()]);
}

/// The folded coverage below a folder.
fn find(folder: &std::path::Path) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with(FOLDED) {
                return path;
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    panic!("nothing is folded")
}

#[tokio::test]
async fn whatever_bit_of_what_is_folded_flips_the_coverage_is_what_it_was() {
    let place = TempWarehouse::new();
    let ops = clocked(&place).await;
    for hour in [1, 2, 3, 7, 8, 20] {
        for pipeline in ["bemo", "hecone"] {
            ops.record_slices(&of_run(hour, pipeline)).await.unwrap();
        }
    }
    ops.fold_coverage(RunFindings::default()).await.unwrap();
    let covered_now = async || {
        let ops = clocked(&place).await;
        let mut windows = Vec::new();
        for pipeline in ["bemo", "hecone"] {
            windows.push(covered(&ops.coverage(pipeline).await.unwrap()));
        }
        windows
    };
    let before = covered_now().await;
    assert_eq!(before[0].len(), 3);
    let file = find(place.folder.path());
    let folded = std::fs::read(&file).unwrap();
    for at in (0..folded.len()).step_by((folded.len() / 50).max(1)) {
        let mut bytes = folded.clone();
        bytes[at] ^= 1 << ((at * 5 + at / 8) % 8);
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(covered_now().await, before, "{at}");
    }
    // A letter of a number, which is JSON all the same.
    let text = String::from_utf8(folded).unwrap();
    let other = text.replacen("\"to\":1", "\"to\":2", 1);
    assert_ne!(other, text);
    std::fs::write(&file, other).unwrap();
    assert_eq!(covered_now().await, before);
}

#[tokio::test]
async fn lists_that_were_read_whole_are_known_until_they_are_read_again() {
    let place = TempWarehouse::new();
    let ops = clocked(&place).await;
    ops.record_slices(&of_run(1, "hecone")).await.unwrap();
    let list = |pipeline: &str, tenant: Option<&str>, fingerprint: &str, version| KnownList {
        pipeline: pipeline.to_owned(),
        resource: "devices".to_owned(),
        tenant: tenant.map(str::to_owned),
        fingerprint: fingerprint.to_owned(),
        version,
    };
    let known = async || {
        let ops = clocked(&place).await;
        let all = ops.run_ledger().await.unwrap();
        let ledger = ops.healed_ledger(&all, "hecone", "r").await.unwrap();
        (ledger.lists, ledger.counted_at)
    };
    let (first, other) = (list("hecone", None, "a", 1), list("bemo", None, "a", 1));
    let of_tenant = list("hecone", Some("t1"), "a", 1);
    let fold = async |lists: Vec<KnownList>, counted: Option<Timestamp>| {
        let counted = counted.map(|at| ("hecone".to_owned(), at));
        let counted = counted.into_iter().collect();
        let found = RunFindings { lists, counted };
        ops.fold_coverage(found).await.unwrap();
    };
    fold(vec![first.clone(), other, of_tenant.clone()], None).await;
    assert_eq!(known().await, (vec![first, of_tenant.clone()], None));
    let again = list("hecone", None, "b", 2);
    let counted = Some(t("2026-03-01T00:00:00Z"));
    fold(vec![again.clone()], counted).await;
    let lists = vec![again, of_tenant];
    assert_eq!(known().await, (lists.clone(), counted));
    // A slice that is not found anew stays.
    ops.record_slices(&of_run(2, "hecone")).await.unwrap();
    fold(Vec::new(), None).await;
    assert_eq!(known().await, (lists.clone(), counted));
    // Also where the coverage has to be made anew.
    ops.forget_reads("r", |_| true).await.unwrap();
    assert_eq!(known().await, (lists, counted));
}

#[tokio::test]
async fn reads_that_are_forgotten_are_of_no_run_and_tell_that_all_of_it_is_read_again() {
    let place = TempWarehouse::new();
    let ops = clocked(&place).await;
    for hour in [2, 4] {
        ops.record_slices(&of_run(hour, "hecone")).await.unwrap();
    }
    let newest = RunRecord {
        run_id: "run0004".to_owned(),
        command: "sync".to_owned(),
        pipelines: vec!["hecone".to_owned()],
        started_at: at(4),
        finished_at: at(4),
        outcome: "done".to_owned(),
        published: true,
        tables: [(SliceRow::TABLE.to_owned(), 2.into())].into(),
        figures: BTreeMap::new(),
        counts: BTreeMap::new(),
        expected: BTreeMap::new(),
    };
    let is_anew = async || {
        let asked = ops.is_read_anew_since(&newest, "hecone", "transactions");
        asked.await.unwrap()
    };
    assert!(!is_anew().await);
    let of_one = |row: &SliceRow| row.run_id == "run0002";
    assert!(ops.forget_reads("full", of_one).await.unwrap() > 0);
    assert!(!is_anew().await, "the other one counts");
    assert!(ops.forget_reads("full", |_| true).await.unwrap() > 0);
    assert!(is_anew().await);
    // Nobody is told that no run has what earlier runs had read.
    let left = ops.unpublished_reads(&newest).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    ops.record_slices(&of_run(6, "hecone")).await.unwrap();
    assert!(is_anew().await, "what was read since is read");
    let left = ops.unpublished_reads(&newest).await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
}
