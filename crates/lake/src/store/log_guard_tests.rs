//! Torn logs: commits that are empty or cut, checkpoints that are missing, empty or cut.
//!
//! Invariant: a reader sees all rows or an error, never fewer.

use super::*;
use crate::faulty_store::{FixtureRecord, TempWarehouse, page, run, source_spec, sql};
use crate::warehouse::Warehouse;
use std::path::PathBuf;

const TABLE: &str = "hecone/transactions";

/// A table of so many packages of one record each.
async fn landed(place: &TempWarehouse, packages: usize) -> Warehouse {
    let warehouse = place.open().await;
    let table = warehouse.source_table("hecone", Arc::new(source_spec()));
    for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]
        .into_iter()
        .take(packages)
    {
        let page = page(
            "2026-03-01T00:00:00Z",
            &[FixtureRecord(key, Some("2026-03-01T00:00:00Z"), 1, None)],
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
        // Under another name it is missing too, and so it is where a folder has its name.
        std::fs::write(log(&place, &format!("{version}.json")), "{}").unwrap();
        std::fs::create_dir(log(&place, &commit)).unwrap();
        assert_told(&place, &["a commit is missing", &commit]).await;
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

#[tokio::test]
async fn a_checkpoint_that_is_whole_and_wrong_is_named_where_the_commits_are_there() {
    let place = TempWarehouse::new();
    landed(&place, 12).await;
    let checkpoint = log(&place, "00000000000000000010.checkpoint.parquet");
    let whole = std::fs::read(&checkpoint).unwrap();
    let mut wrong = whole.clone();
    let end = wrong.len() - 12;
    wrong[4..end].fill(0xff);
    std::fs::write(&checkpoint, &wrong).unwrap();
    let error = place.open().await.open_at(TABLE, None).await.err().unwrap();
    assert!(
        error
            .to_string()
            .contains("00000000000000000010.checkpoint.parquet"),
        "{error:?}"
    );
    assert!(
        error.hint_text().unwrap().contains("_last_checkpoint"),
        "{error:?}"
    );
    for file in ["00000000000000000010.checkpoint.parquet", LAST_CHECKPOINT] {
        std::fs::remove_file(log(&place, file)).unwrap();
    }
    assert_eq!(
        count(&place).await.unwrap(),
        "12",
        "what the hint says helps"
    );
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
    check_commit(ours).unwrap();
    check_commit(b"{\"commitInfo\":{}}\n{\"add\":{}}\n\n").unwrap();
    check_commit(b"{\"protocol\":{}}\n").unwrap();
    check_commit(b" { \"metaData\" : {}}\n{\"domainMetadata\":{}}").unwrap();
    for torn in [
        &b""[..],
        b"\n \n",
        b"{",
        b"{\"commitInfo\":{\"tillhouseLines\":2}}",
        b"{\"commitInfo\":{}}\n{\"add\"",
    ] {
        check_commit(torn).unwrap_err();
    }
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
