//! Torn logs: commits that are empty or cut, checkpoints that are missing, empty or cut.
//!
//! Invariant: a reader sees all rows or an error, never fewer.

use super::*;
use crate::disturbed::{Place, Rec, page, run, source_spec, sql};
use crate::warehouse::Warehouse;
use std::path::PathBuf;

const TABLE: &str = "hecone/transactions";

/// A table of so many packages of one record each.
async fn landed(place: &Place, packages: usize) -> Warehouse {
    let warehouse = place.open().await;
    let table = warehouse.source_table("hecone", Arc::new(source_spec()));
    for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"].into_iter().take(packages) {
        let page = page("2026-03-01T00:00:00Z", &[Rec(key, Some("2026-03-01T00:00:00Z"), 1, None)]);
        table.land(vec![page], &run("r")).await.unwrap();
    }
    warehouse
}

fn log(place: &Place, name: &str) -> PathBuf {
    place.folder.path().join("wäre house").join(TABLE).join("_delta_log").join(name)
}

async fn count(place: &Place) -> std::result::Result<String, String> {
    let warehouse = place.open().await;
    match warehouse.open_at(TABLE, None).await {
        Ok(_) => Ok(sql(&warehouse, TABLE, None, "SELECT count(*) FROM t").await.remove(0)),
        Err(error) => Err(format!("{error:?}")),
    }
}

#[tokio::test]
async fn a_commit_that_is_empty_or_cut_anywhere_is_an_error() {
    let place = Place::new();
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
            assert!(error.contains(commit) && error.contains("damaged"), "cut at {cut}: {error}");
        }
        let mut zeros = whole.clone();
        zeros[whole.len() / 2..].fill(0);
        std::fs::write(log(&place, commit), zeros).unwrap();
        assert!(count(&place).await.is_err(), "blocks that never reached the disk");
        std::fs::write(log(&place, commit), whole).unwrap();
    }
    assert_eq!(count(&place).await.unwrap(), "3");
}

#[tokio::test]
async fn a_checkpoint_that_is_missing_empty_or_cut_is_passed_over_and_so_is_its_note() {
    let place = Place::new();
    landed(&place, 12).await;
    let (checkpoint, note) = (log(&place, "00000000000000000010.checkpoint.parquet"), log(&place, LAST_CHECKPOINT));
    let (whole, whole_note) = (std::fs::read(&checkpoint).unwrap(), std::fs::read(&note).unwrap());
    assert_eq!(count(&place).await.unwrap(), "12");
    for cut in [0, 3, 4, 12, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        std::fs::write(&checkpoint, &whole[..cut]).unwrap();
        assert_eq!(count(&place).await.unwrap(), "12", "a checkpoint cut at {cut}");
        std::fs::remove_file(&note).unwrap();
        assert_eq!(count(&place).await.unwrap(), "12", "a checkpoint cut at {cut}, and no note of it");
        std::fs::write(&note, &whole_note).unwrap();
    }
    std::fs::remove_file(&checkpoint).unwrap();
    assert_eq!(count(&place).await.unwrap(), "12", "no checkpoint");
    // Whoever goes on writes the next one, and that one is used.
    let warehouse = place.open().await;
    let table = warehouse.source_table("hecone", Arc::new(source_spec()));
    for key in ["m", "n", "o", "p", "q", "r", "s", "t"] {
        table.land(vec![page("2026-03-01T00:00:00Z", &[Rec(key, None, 1, None)])], &run("r")).await.unwrap();
    }
    assert!(log(&place, "00000000000000000020.checkpoint.parquet").exists());
    std::fs::write(&checkpoint, &whole).unwrap();
    let note_of_twenty = std::fs::read(&note).unwrap();
    for cut in [0, 1, note_of_twenty.len() / 2, note_of_twenty.len() - 1] {
        std::fs::write(&note, &note_of_twenty[..cut]).unwrap();
        assert_eq!(count(&place).await.unwrap(), "20", "a note cut at {cut}");
    }
}

#[test]
fn a_commit_of_another_writer_needs_no_count() {
    let ours = br#"{"commitInfo":{"tillhouseLines":2}}
{"add":{}}"#;
    check_commit(ours).unwrap();
    check_commit(b"{\"commitInfo\":{}}\n{\"add\":{}}\n\n").unwrap();
    check_commit(b"{\"protocol\":{}}\n").unwrap();
    for torn in [&b""[..], b"\n \n", b"{", b"{\"commitInfo\":{\"tillhouseLines\":2}}", b"{\"commitInfo\":{}}\n{\"add\""]
    {
        check_commit(torn).unwrap_err();
    }
}

#[test]
fn files_of_a_log_are_told_by_their_names() {
    let of = |path: &str| LogFile::of(&Path::from(path));
    assert_eq!(of("w/t/_delta_log/00000000000000000001.json"), LogFile::Commit);
    assert_eq!(of("w/t/_delta_log/00000000000000000010.checkpoint.parquet"), LogFile::Checkpoint);
    assert_eq!(of("w/t/_delta_log/_last_checkpoint"), LogFile::LastCheckpoint);
    assert_eq!(of("w/t/month=1/part-1.zstd.parquet"), LogFile::Data);
    for other in ["w/t/_delta_log/1.json", "w/t/00000000000000000001.json", "_last_checkpoint", "w/t/part-1.csv"] {
        assert_eq!(of(other), LogFile::Other);
    }
}
