//! Torn logs: commits that are empty or cut, checkpoints that are missing, empty or cut.
//!
//! Invariant: a reader sees all rows or an error, never fewer.

use super::*;
use crate::faulty_store::{FixtureRecord, TempWarehouse, page, run, source_spec, sql};
use crate::log::snapshot::Snapshot;
use crate::warehouse::Warehouse;
use std::path::PathBuf;

const TABLE: &str = "hecone/transactions";

/// A table of so many packages of one record each.
async fn landed(place: &TempWarehouse, packages: usize) -> Warehouse {
    let warehouse = place.open().await;
    let table = warehouse.source_table("hecone", Arc::new(source_spec()));
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    for (amount, key) in (1..).zip(keys).take(packages) {
        let time = match amount % 2 {
            0 => "2026-03-01T00:00:00Z",
            _ => "2026-02-03T04:05:06Z",
        };
        let page = page(
            "2026-03-01T00:00:00Z",
            &[FixtureRecord(key, Some(time), amount, None)],
        );
        table.land(vec![page], &run("r")).await.unwrap();
    }
    warehouse
}

fn log(place: &TempWarehouse, name: &str) -> PathBuf {
    place
        .folder
        .path()
        .join("wäre house")
        .join(TABLE)
        .join("_delta_log")
        .join(name)
}

async fn count(place: &TempWarehouse) -> std::result::Result<String, String> {
    let warehouse = place.open().await;
    match warehouse.open_at(TABLE, None).await {
        Ok(_) => Ok(sql(&warehouse, TABLE, None, "SELECT count(*) FROM t")
            .await
            .remove(0)),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// Number of rows, and the least and the largest of their keys, amounts, times, packages and partitions.
async fn extremes(place: &TempWarehouse) -> std::result::Result<Vec<String>, String> {
    const QUERY: &str = "SELECT count(*), min(id), max(id), min(amount), max(amount), min(_record_time), max(_record_time), min(_load_id), \
                         max(_load_id), min(month), max(month), count(DISTINCT month) FROM t";
    let warehouse = place.open().await;
    match warehouse.open_at(TABLE, None).await {
        Ok(_) => Ok(sql(&warehouse, TABLE, None, QUERY).await),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// A file with a bit of each fiftieth part flipped, one after the other.
fn flipped(whole: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let step = (whole.len() / 50).max(1);
    (0..whole.len()).step_by(step).map(move |at| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << ((at * 5 + at / 8) % 8);
        (at, bytes)
    })
}

#[tokio::test]
async fn whatever_bit_of_a_commit_flips_the_rows_are_those_that_were_written_or_it_is_named() {
    let place = TempWarehouse::new();
    landed(&place, 3).await;
    let before = extremes(&place).await.unwrap();
    assert!(before[0].starts_with("3 a c "), "{before:?}");
    for version in [0, 2, 3] {
        let name = format!("{version:020}.json");
        let commit = log(&place, &name);
        let whole = std::fs::read(&commit).unwrap();
        assert!(json_seal::is_sound(&whole) && !json_seal::is_sound(&whole[1..]));
        for (at, bytes) in flipped(&whole) {
            std::fs::write(&commit, bytes).unwrap();
            match extremes(&place).await {
                Ok(found) => assert_eq!(found, before, "{name} at {at}"),
                Err(error) => assert!(error.contains(&name), "{name} at {at}: {error}"),
            }
        }
        std::fs::write(&commit, &whole).unwrap();
    }
    // So it is for whoever has read the version before, and follows.
    let name = format!("{:020}.json", 3);
    let commit = log(&place, &name);
    let whole = std::fs::read(&commit).unwrap();
    let files = |snapshot: Option<Snapshot>| {
        let snapshot = snapshot.unwrap();
        let files = snapshot.files.iter();
        let mut files: Vec<_> = files
            .map(|file| {
                let extremes = (file.rows, file.times, file.load_ids);
                (
                    file.path.clone(),
                    file.size,
                    extremes,
                    file.partition.clone(),
                )
            })
            .collect();
        files.sort();
        files
    };
    let newest = place.open().await.table(TABLE).unwrap().latest().await;
    let newest = files(newest.unwrap());
    for (at, bytes) in flipped(&whole) {
        std::fs::remove_file(&commit).unwrap();
        let table = place.open().await.table(TABLE).unwrap();
        assert_eq!(table.latest().await.unwrap().unwrap().version, 2);
        std::fs::write(&commit, bytes).unwrap();
        match table.latest().await {
            Ok(found) => assert_eq!(files(found), newest, "{at}"),
            Err(error) => assert!(error.to_string().contains(&name), "{at}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_commit_that_is_empty_or_cut_anywhere_is_an_error() {
    let place = TempWarehouse::new();
    landed(&place, 3).await;
    assert_eq!(count(&place).await.unwrap(), "3");
    for commit in ["00000000000000000001.json", "00000000000000000003.json"] {
        let whole = std::fs::read(log(&place, commit)).unwrap();
        let lines: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
        assert!(!lines.is_empty(), "a commit has several lines");
        let mut cuts: Vec<usize> = (0..10).map(|tenth| whole.len() * tenth / 10).collect();
        cuts.extend(lines.iter().flat_map(|at| [*at, at + 1]));
        cuts.push(whole.len() - 1);
        for cut in cuts {
            std::fs::write(log(&place, commit), &whole[..cut]).unwrap();
            let error = count(&place).await.unwrap_err();
            assert!(
                error.contains(commit) && error.contains("damaged"),
                "cut at {cut}: {error}"
            );
        }
        let mut zeros = whole.clone();
        zeros[whole.len() / 2..].fill(0);
        std::fs::write(log(&place, commit), zeros).unwrap();
        assert!(
            count(&place).await.is_err(),
            "blocks that never reached the disk"
        );
        std::fs::write(log(&place, commit), whole).unwrap();
    }
    assert_eq!(count(&place).await.unwrap(), "3");
}

#[tokio::test]
async fn a_checkpoint_that_is_missing_empty_or_cut_is_passed_over_and_so_is_its_note() {
    let place = TempWarehouse::new();
    landed(&place, 12).await;
    let (checkpoint, note) = (
        log(&place, "00000000000000000010.checkpoint.parquet"),
        log(&place, LAST_CHECKPOINT),
    );
    let (whole, whole_note) = (
        std::fs::read(&checkpoint).unwrap(),
        std::fs::read(&note).unwrap(),
    );
    assert_eq!(count(&place).await.unwrap(), "12");
    for cut in [
        0,
        3,
        4,
        12,
        whole.len() / 2,
        whole.len() - 8,
        whole.len() - 1,
    ] {
        std::fs::write(&checkpoint, &whole[..cut]).unwrap();
        assert_eq!(
            count(&place).await.unwrap(),
            "12",
            "a checkpoint cut at {cut}"
        );
        std::fs::remove_file(&note).unwrap();
        assert_eq!(
            count(&place).await.unwrap(),
            "12",
            "a checkpoint cut at {cut}, and no note of it"
        );
        std::fs::write(&note, &whole_note).unwrap();
    }
    std::fs::remove_file(&checkpoint).unwrap();
    assert_eq!(count(&place).await.unwrap(), "12", "no checkpoint");
    // Whoever goes on writes the next one, and that one is used.
    let warehouse = place.open().await;
    let table = warehouse.source_table("hecone", Arc::new(source_spec()));
    for key in ["m", "n", "o", "p", "q", "r", "s", "t"] {
        table
            .land(
                vec![page(
                    "2026-03-01T00:00:00Z",
                    &[FixtureRecord(key, None, 1, None)],
                )],
                &run("r"),
            )
            .await
            .unwrap();
    }
    assert!(log(&place, "00000000000000000020.checkpoint.parquet").exists());
    std::fs::write(&checkpoint, &whole).unwrap();
    let note_of_twenty = std::fs::read(&note).unwrap();
    for cut in [0, 1, note_of_twenty.len() / 2, note_of_twenty.len() - 1] {
        std::fs::write(&note, &note_of_twenty[..cut]).unwrap();
        assert_eq!(count(&place).await.unwrap(), "20", "a note cut at {cut}");
    }
}

/// One sentence that names the table, the file and its folder, and no words of the library.
async fn assert_told(place: &TempWarehouse, told: &[&str]) {
    let error = place.open().await.open_at(TABLE, None).await.err().unwrap();
    let text = error.to_string();
    let folder = log(place, "").display().to_string();
    for told in told
        .iter()
        .copied()
        .chain([TABLE, folder.trim_end_matches('/')])
    {
        assert!(text.contains(told), "{told:?} is not in: {text}");
    }
    for word in ["ParsedLogPath", "Kernel", "kernel", "LogGuard"] {
        assert!(!text.contains(word), "{text}");
    }
    assert!(
        folder.starts_with('/') && error.hint_text().unwrap().contains("--full"),
        "{error:?}"
    );
}

#[tokio::test]
async fn commits_that_are_missing_are_named() {
    let place = TempWarehouse::new();
    landed(&place, 5).await;
    let away = place.folder.path().join("away");
    for version in 0..5 {
        let commit = format!("{version:020}.json");
        std::fs::rename(log(&place, &commit), &away).unwrap();
        assert_told(&place, &["a commit is missing", &commit]).await;
        // Under another name it is missing too, and a folder that has its name is told.
        std::fs::write(log(&place, &format!("{version}.json")), "{}").unwrap();
        std::fs::create_dir(log(&place, &commit)).unwrap();
        assert_told(
            &place,
            &["a folder stands in the place of a commit", &commit],
        )
        .await;
        std::fs::remove_dir(log(&place, &commit)).unwrap();
        std::fs::rename(&away, log(&place, &commit)).unwrap();
    }
    for version in [1, 2, 4] {
        std::fs::rename(
            log(&place, &format!("{version:020}.json")),
            log(&place, &format!("{version}")),
        )
        .unwrap();
    }
    assert_told(
        &place,
        &[
            "commits are missing",
            "00000000000000000001.json to 00000000000000000002.json",
            "4.json",
        ],
    )
    .await;
    for version in [1, 2, 4] {
        std::fs::rename(
            log(&place, &format!("{version}")),
            log(&place, &format!("{version:020}.json")),
        )
        .unwrap();
    }
    assert_eq!(
        count(&place).await.unwrap(),
        "5",
        "what is no file of a log is passed over"
    );
    std::fs::copy(
        log(&place, "00000000000000000005.json"),
        log(&place, "00000000000000000099.json"),
    )
    .unwrap();
    assert_told(
        &place,
        &["00000000000000000006.json to 00000000000000000098.json"],
    )
    .await;
    let error = place.open().await.open_at(TABLE, None).await.err().unwrap();
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("If 00000000000000000099.json was put there by mistake"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_commit_whose_lines_are_no_actions_is_named() {
    let place = TempWarehouse::new();
    landed(&place, 3).await;
    let commit = log(&place, "00000000000000000002.json");
    let whole = std::fs::read_to_string(&commit).unwrap();
    let (first, rest) = whole.split_once('\n').unwrap();
    for wrong in [
        format!("{{\"foo\":1}}\n{rest}"),
        format!("{first}\n{{\"foo\":1}}"),
        format!("{first}\n{{{rest}"),
        format!("[]\n{rest}"),
        format!(
            "{first}\n{}",
            rest.replacen("\"size\":", "\"size\":\"x\",\"was\":", 1)
        ),
        format!("{first}\n{}", rest.replacen("\"path\"", "\"way\"", 1)),
        "null".to_owned(),
        "<html>".to_owned(),
    ] {
        std::fs::write(&commit, &wrong).unwrap();
        assert_told(&place, &["damaged", "00000000000000000002.json"]).await;
    }
    std::fs::write(&commit, &whole).unwrap();
    assert_eq!(count(&place).await.unwrap(), "3");
}

/// Swaps two files.
fn swap(one: &PathBuf, other: &PathBuf) {
    let (first, second) = (std::fs::read(one).unwrap(), std::fs::read(other).unwrap());
    std::fs::write(one, second).unwrap();
    std::fs::write(other, first).unwrap();
}

#[tokio::test]
async fn a_commit_in_the_place_of_another_is_an_error_that_names_it() {
    let place = TempWarehouse::new();
    landed(&place, 4).await;
    let commit = |version: u64| log(&place, &format!("{version:020}.json"));
    let whole = std::fs::read(commit(4)).unwrap();
    for earlier in [0, 2, 3] {
        std::fs::copy(commit(earlier), commit(4)).unwrap();
        let told = format!("it is the commit of version {earlier}");
        assert_told(&place, &["damaged", "00000000000000000004.json", &told]).await;
    }
    std::fs::write(commit(4), &whole).unwrap();
    for (one, other) in [(3, 4), (1, 2), (0, 1)] {
        swap(&commit(one), &commit(other));
        let name = format!("{one:020}.json");
        assert_told(&place, &["damaged", &name]).await;
        swap(&commit(one), &commit(other));
    }
    assert_eq!(count(&place).await.unwrap(), "4");
    // As an earlier version of the program wrote it.
    let older = String::from_utf8(whole).unwrap();
    let older = older
        .replace("\"tillhouseVersion\":4", "\"tillhouseOther\":4")
        .replace("\"tillhouseChecksum\":", "\"tillhouseSum\":");
    std::fs::write(commit(4), &older).unwrap();
    assert_eq!(count(&place).await.unwrap(), "4");
}

#[tokio::test]
async fn a_checkpoint_that_is_wrong_is_passed_over_where_the_commits_are_there() {
    let place = TempWarehouse::new();
    landed(&place, 12).await;
    let checkpoint = log(&place, "00000000000000000010.checkpoint.parquet");
    let whole = std::fs::read(&checkpoint).unwrap();
    let note = std::fs::read(log(&place, LAST_CHECKPOINT)).unwrap();
    let end = whole.len() - 12;
    let mut all = whole.clone();
    all[4..end].fill(0xff);
    for part in [4..end, 4..end / 2, end / 2..end, end - 40..end] {
        let mut wrong = whole.clone();
        wrong[part.clone()]
            .iter_mut()
            .for_each(|byte| *byte ^= 0xff);
        std::fs::write(&checkpoint, &wrong).unwrap();
        assert_eq!(count(&place).await.unwrap(), "12", "{part:?}");
        std::fs::remove_file(log(&place, LAST_CHECKPOINT)).unwrap();
        assert_eq!(count(&place).await.unwrap(), "12", "{part:?}, no note");
        std::fs::write(log(&place, LAST_CHECKPOINT), &note).unwrap();
    }
    // One behind the newest commit is another table's.
    std::fs::write(&checkpoint, &whole).unwrap();
    let later = log(&place, "00000000000000000020.checkpoint.parquet");
    std::fs::write(&later, &whole).unwrap();
    assert_eq!(count(&place).await.unwrap(), "12");
    std::fs::remove_file(&later).unwrap();
    // Whoever goes on is not held up by it.
    std::fs::write(&checkpoint, &all).unwrap();
    let warehouse = place.open().await;
    let table = warehouse.source_table("hecone", Arc::new(source_spec()));
    for key in ["m", "n", "o", "p", "q", "r", "s", "t"] {
        let page = page("2026-03-01T00:00:00Z", &[FixtureRecord(key, None, 1, None)]);
        table.land(vec![page], &run("r")).await.unwrap();
    }
    assert_eq!(count(&place).await.unwrap(), "20");
    // Where the commits are not there, it is named.
    std::fs::write(log(&place, "00000000000000000020.checkpoint.parquet"), &all).unwrap();
    std::fs::remove_file(log(&place, "00000000000000000000.json")).unwrap();
    std::fs::remove_file(&checkpoint).unwrap();
    assert_told(
        &place,
        &["damaged", "00000000000000000020.checkpoint.parquet"],
    )
    .await;
}

#[tokio::test]
async fn a_checkpoint_that_is_lost_after_its_commits_were_vacuumed_is_named_and_no_commit() {
    let place = TempWarehouse::new();
    landed(&place, 12).await;
    let name = "00000000000000000010.checkpoint.parquet";
    let whole = std::fs::read(log(&place, name)).unwrap();
    // As vacuum leaves the log.
    for commit in 0..10 {
        std::fs::remove_file(log(&place, &format!("{commit:020}.json"))).unwrap();
    }
    assert_eq!(count(&place).await.unwrap(), "12");
    for is_cut in [true, false] {
        match is_cut {
            true => std::fs::write(log(&place, name), &whole[..whole.len() / 2]).unwrap(),
            false => std::fs::remove_file(log(&place, name)).unwrap(),
        }
        let error = count(&place).await.unwrap_err();
        let what = if is_cut { "damaged" } else { "missing" };
        assert!(
            error.contains(&format!("a checkpoint of a table's log is {what}"))
                && error.contains(name)
                && !error.contains("take it away"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn whatever_bit_of_a_checkpoint_flips_the_rows_are_those_that_were_written() {
    let place = TempWarehouse::new();
    landed(&place, 12).await;
    let checkpoint = log(&place, "00000000000000000010.checkpoint.parquet");
    let whole = std::fs::read(&checkpoint).unwrap();
    let before = extremes(&place).await.unwrap();
    let mut wrong = Vec::new();
    for at in (0..whole.len()).step_by(if cfg!(debug_assertions) { 211 } else { 97 }) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&checkpoint, &bytes).unwrap();
        match extremes(&place).await {
            Ok(found) if found == before => {}
            outcome => wrong.push((at, outcome)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn where_commits_have_expired_a_checkpoint_stands_for_them() {
    let place = TempWarehouse::new();
    landed(&place, 12).await;
    let checkpoint = log(&place, "00000000000000000010.checkpoint.parquet");
    let whole = std::fs::read(&checkpoint).unwrap();
    // Without commits a checkpoint is all there is.
    std::fs::write(&checkpoint, &whole).unwrap();
    for version in 0..10 {
        std::fs::remove_file(log(&place, &format!("{version:020}.json"))).unwrap();
    }
    assert_eq!(count(&place).await.unwrap(), "12");
    std::fs::remove_file(log(&place, "00000000000000000011.json")).unwrap();
    assert_told(
        &place,
        &["a commit is missing", "00000000000000000011.json"],
    )
    .await;
    // A part of a checkpoint is none.
    let part = "00000000000000000010.checkpoint.0000000001.0000000002.parquet";
    std::fs::rename(&checkpoint, log(&place, part)).unwrap();
    assert_told(
        &place,
        &[
            "commits are missing",
            "00000000000000000000.json to 00000000000000000009.json",
        ],
    )
    .await;
}

#[test]
fn a_commit_of_another_writer_needs_no_count() {
    let ours = br#"{"commitInfo":{"tillhouseLines":2}}
{"add":{}}"#;
    check_commit(None, ours).unwrap();
    check_commit(None, b"{\"commitInfo\":{}}\n{\"add\":{}}\n\n").unwrap();
    check_commit(None, b"{\"protocol\":{}}\n").unwrap();
    check_commit(None, b" { \"metaData\" : {}}\n{\"domainMetadata\":{}}").unwrap();
    for torn in [
        &b""[..],
        b"\n \n",
        b"{",
        b"{\"commitInfo\":{\"tillhouseLines\":2}}",
        b"{\"commitInfo\":{}}\n{\"add\"",
    ] {
        check_commit(None, torn).unwrap_err();
    }
}

#[tokio::test]
async fn a_commit_whose_checksum_has_a_damaged_key_is_not_one_without() {
    let place = TempWarehouse::new();
    landed(&place, 1).await;
    let name = format!("{:020}.json", 1);
    let whole = std::fs::read(log(&place, &name)).unwrap();
    check_commit(Some(1), &whole).unwrap();
    let key = json_seal::CHECKSUM.as_bytes();
    let start = whole
        .windows(key.len())
        .position(|part| part == key)
        .unwrap();
    // With the quotation marks around it, the colon and the mark behind.
    for at in start - 1..start + key.len() + 3 {
        for bit in 0..8 {
            let mut wrong = whole.clone();
            wrong[at] ^= 1 << bit;
            assert!(check_commit(Some(1), &wrong).is_err(), "bit {bit} of {at}");
        }
    }
    let mut wrong = whole;
    wrong[start] ^= 1;
    std::fs::write(log(&place, &name), wrong).unwrap();
    assert_told(&place, &["damaged", &name]).await;
}

#[test]
fn files_of_a_log_are_told_by_their_names() {
    let of = |path: &str| LogFileKind::of(&Path::from(path));
    assert_eq!(
        of("w/t/_delta_log/00000000000000000001.json"),
        LogFileKind::Commit
    );
    assert_eq!(
        of("w/t/_delta_log/00000000000000000010.checkpoint.parquet"),
        LogFileKind::Checkpoint
    );
    assert_eq!(
        of("w/t/_delta_log/_last_checkpoint"),
        LogFileKind::LastCheckpoint
    );
    assert_eq!(of("w/t/month=1/part-1.zstd.parquet"), LogFileKind::Data);
    for other in [
        "w/t/_delta_log/1.json",
        "w/t/00000000000000000001.json",
        "_last_checkpoint",
        "w/t/part-1.csv",
    ] {
        assert_eq!(of(other), LogFileKind::Other);
    }
}

#[tokio::test]
async fn of_an_earlier_version_the_commit_that_is_damaged_is_named_and_not_a_later_checkpoint() {
    let place = TempWarehouse::new();
    landed(&place, 12).await;
    let commit = "00000000000000000007.json";
    let whole = std::fs::read_to_string(log(&place, commit)).unwrap();
    let lines = whole.lines().filter(|line| !line.starts_with("{\"add\""));
    let torn = lines.map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(log(&place, commit), torn).unwrap();
    assert_eq!(
        count(&place).await.unwrap(),
        "12",
        "its checkpoint is newer"
    );
    let told = |version: u64| {
        let place = &place;
        async move {
            let other = place.open().await;
            let opened = other.open_at(TABLE, Some(&version.into())).await;
            opened.err().map(|error| error.to_string())
        }
    };
    assert_eq!(told(6).await, None);
    for version in [7, 9] {
        let error = told(version).await.unwrap();
        assert!(error.contains(commit), "{version}: {error}");
        assert!(!error.contains("checkpoint"), "{version}: {error}");
    }
    std::fs::remove_file(log(&place, commit)).unwrap();
    let error = told(9).await.unwrap();
    assert!(
        error.contains("missing") && error.contains(commit),
        "{error}"
    );
}
