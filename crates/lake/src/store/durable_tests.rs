//! The order in which a table's files reach the disk.
//!
//! Invariant: what a commit names is on disk before the commit has its name, and the commit's name is before the landing is over.

use super::*;
use crate::faulty_store::{FixtureRecord, page, run, source_spec};
use crate::store::location::WarehouseLocation;
use crate::warehouse::Warehouse;
use object_store::ObjectStoreExt;

/// A warehouse in a new folder, and what happens to its disk.
async fn watched() -> (tempfile::TempDir, Warehouse, Arc<Mutex<Vec<DiskEvent>>>) {
    let folder = tempfile::tempdir().unwrap();
    let events: Arc<Mutex<Vec<DiskEvent>>> = Arc::default();
    let told = Arc::clone(&events);
    let url = folder
        .path()
        .join("ware house")
        .to_str()
        .unwrap()
        .to_owned();
    let location = WarehouseLocation::new(url);
    let witness: DiskObserver = Arc::new(move |event| held(&told).push(event));
    let warehouse = Warehouse::open_watched(&location, witness).await.unwrap();
    warehouse.prepare().await.unwrap();
    (folder, warehouse, events)
}

/// Number of a step, counted from the start of the record.
fn place(events: &[DiskEvent], what: impl Fn(&DiskEvent) -> bool) -> Option<usize> {
    events.iter().position(what)
}

#[tokio::test]
async fn a_commit_is_named_after_it_and_its_files_are_on_disk_and_landing_ends_with_its_folder() {
    let (_folder, warehouse, events) = watched().await;
    let table = warehouse.source_table("hecone", Arc::new(source_spec()));
    let months = [
        "2026-01-05T00:00:00Z",
        "2026-02-05T00:00:00Z",
        "2026-03-05T00:00:00Z",
    ];
    let mut checkpoints = 0;
    for round in 0..12_i64 {
        held(&events).clear();
        let records: Vec<FixtureRecord> = ["a", "b", "c"]
            .into_iter()
            .zip(months)
            .map(|(key, month)| FixtureRecord(key, Some(month), round, None))
            .collect();
        table
            .land(
                vec![page(
                    &format!("2026-03-{:02}T00:00:00Z", 10 + round),
                    &records,
                )],
                &run("r"),
            )
            .await
            .unwrap();
        let events = held(&events).clone();
        let data: Vec<&PathBuf> = events
            .iter()
            .filter_map(|event| match event {
                DiskEvent::Wrote(path) if path.extension().is_some_and(|e| e == "parquet") => {
                    Some(path)
                }
                _ => None,
            })
            .collect();
        assert_eq!(data.len(), 3, "a file a month");
        let named: Vec<(usize, &PathBuf, &PathBuf)> = events
            .iter()
            .enumerate()
            .filter_map(|(at, event)| match event {
                DiskEvent::Named { from, to } => Some((at, from, to)),
                _ => None,
            })
            .collect();
        let is_commit = |path: &FilePath| path.extension().is_some_and(|e| e == "json");
        let (commit, ..) = *named
            .iter()
            .rfind(|(_, _, to)| is_commit(to))
            .expect("a commit");
        for path in data {
            let flushed = place(&events, |event| {
                *event == DiskEvent::FlushedFile(path.clone())
            });
            assert!(flushed.unwrap() < commit, "{path:?}");
            let folder = path.parent().unwrap().to_owned();
            let flushed = place(&events, |event| {
                *event == DiskEvent::FlushedFolder(folder.clone())
            });
            assert!(flushed.unwrap() < commit, "{folder:?}");
        }
        for (at, from, to) in named {
            let flushed = place(&events, |event| {
                event == &DiskEvent::FlushedFile(from.clone())
            });
            assert!(
                flushed.unwrap() < at,
                "{to:?} is on disk before it has its name"
            );
            let log = to.parent().unwrap().to_owned();
            let kept = events
                .iter()
                .rposition(|event| *event == DiskEvent::FlushedFolder(log.clone()));
            assert!(
                kept.unwrap() > at,
                "{to:?} is there when the landing is over"
            );
            checkpoints += usize::from(!is_commit(to));
        }
    }
    assert_eq!(
        checkpoints, 2,
        "the checkpoint and its note are files like others"
    );
}

#[tokio::test]
async fn new_folders_are_on_disk_up_to_the_root_once() {
    let (folder, warehouse, events) = watched().await;
    let table = warehouse.source_table("hecone", Arc::new(source_spec()));
    table
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[FixtureRecord("a", None, 1, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    let root = folder.path().join("ware house");
    for below in [
        "",
        "hecone",
        "hecone/transactions",
        "hecone/transactions/_delta_log",
        "hecone/transactions/month=none",
    ] {
        let path = root.join(below).components().collect::<PathBuf>();
        let flushed = DiskEvent::FlushedFolder(path.clone());
        assert!(held(&events).contains(&flushed), "{path:?}");
    }
    assert!(
        held(&events).contains(&DiskEvent::FlushedFolder(folder.path().to_owned())),
        "the warehouse's own name"
    );
    held(&events).clear();
    table
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[FixtureRecord("b", None, 1, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    assert!(
        !held(&events).contains(&DiskEvent::FlushedFolder(root)),
        "not again"
    );
}

#[tokio::test]
async fn a_put_is_whole_or_not_there_and_a_create_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalDisk::new(None);
    let at = |name: &str| {
        Path::from_absolute_path(folder.path().join("t/_delta_log").join(name)).unwrap()
    };
    let create = || PutOptions {
        mode: PutMode::Create,
        ..PutOptions::default()
    };
    store
        .put_opts(&at("1.json"), "one".into(), create())
        .await
        .unwrap();
    let again = store.put_opts(&at("1.json"), "two".into(), create()).await;
    assert!(
        matches!(again, Err(Error::AlreadyExists { .. })),
        "{again:?}"
    );
    assert_eq!(
        store
            .get(&at("1.json"))
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap(),
        "one"
    );
    store.put(&at("1.json"), "three".into()).await.unwrap();
    store.copy(&at("1.json"), &at("2.json")).await.unwrap();
    let mut upload = store.put_multipart(&at("3.json")).await.unwrap();
    for part in ["fo", "ur"] {
        upload.put_part(part.into()).await.unwrap();
    }
    upload.complete().await.unwrap();
    for (name, text) in [("1.json", "three"), ("2.json", "three"), ("3.json", "four")] {
        assert_eq!(
            store.get(&at(name)).await.unwrap().bytes().await.unwrap(),
            text
        );
    }
    let left: Vec<_> = std::fs::read_dir(folder.path().join("t/_delta_log"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 3, "nothing that was staged is left: {left:?}");
}

#[tokio::test]
async fn after_a_flush_that_failed_nothing_more_is_promised() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalDisk::new(None);
    let at = Path::from_absolute_path(folder.path().join("t/_delta_log/1.json")).unwrap();
    let failed: io::Result<()> = Err(io::Error::other("the disk is gone"));
    store.state.note(failed).unwrap_err();
    let error = store.put(&at, "one".into()).await.unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    assert!(!folder.path().join("t").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_in_a_files_place_is_told_or_read_as_an_empty_file_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalDisk::new(None);
    let pipe = |name: &str| {
        let path = folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        path
    };
    let file = Path::from_absolute_path(pipe("run.json")).unwrap();
    let other = Path::from_absolute_path(folder.path().join("copy.json")).unwrap();
    for error in [
        store.get_range(&file, 0..4).await.err(),
        store.get_ranges(&file, &[0..2, 2..4]).await.err(),
        store.copy(&file, &other).await.err(),
    ] {
        let error = error.unwrap().to_string();
        assert!(
            error.contains("run.json is damaged: it is a pipe"),
            "{error}"
        );
    }
    let read = store.get(&file).await.unwrap();
    assert_eq!(read.meta, store.head(&file).await.unwrap());
    let swap = PutOptions {
        mode: PutMode::Update(UpdateVersion {
            e_tag: read.meta.e_tag.clone(),
            version: None,
        }),
        ..PutOptions::default()
    };
    assert_eq!(read.bytes().await.unwrap(), Bytes::new());
    // What is written takes its name.
    store
        .put_opts(&file, "two".into(), swap.clone())
        .await
        .unwrap();
    let lost = store.put_opts(&file, "three".into(), swap).await;
    assert!(matches!(lost, Err(Error::Precondition { .. })), "{lost:?}");
    std::fs::remove_file(folder.path().join("run.json")).unwrap();
    std::fs::remove_file(folder.path().join(format!("run.json{LOCK}"))).unwrap();
    pipe("run.json");
    store.put(&file, "one".into()).await.unwrap();
    let read = store.get(&file).await.unwrap();
    assert_eq!(read.meta.size, 3);
    pipe(&format!("run.json{LOCK}"));
    let update = PutOptions {
        mode: PutMode::Update(UpdateVersion {
            e_tag: read.meta.e_tag.clone(),
            version: None,
        }),
        ..PutOptions::default()
    };
    let error = store.put_opts(&file, "two".into(), update).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("it is a pipe"), "{error}");
}

#[tokio::test]
async fn a_file_is_what_a_listing_says_and_no_part_of_it_is_shorter_than_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalDisk::new(None);
    let at = folder.path().join("run.json");
    std::fs::write(&at, "0123456789").unwrap();
    let (place, file) = (
        Path::from_absolute_path(folder.path()).unwrap(),
        Path::from_absolute_path(&at).unwrap(),
    );
    let listed = store.list(Some(&place)).next().await.unwrap().unwrap();
    assert_eq!(store.head(&file).await.unwrap(), listed);
    let parts = store.get_ranges(&file, &[8..10, 0..2, 3..3]).await.unwrap();
    assert_eq!(parts, ["89", "01", ""]);
    let part = store.get_range(&file, 4..6).await.unwrap();
    assert_eq!(part, "45");
    for beyond in [10..12, 8..20, 8..u64::MAX] {
        assert!(store.get_ranges(&file, &[beyond]).await.is_err());
    }
    // Nothing is there, and no file is.
    std::fs::remove_file(&at).unwrap();
    let gone = store.get(&file).await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone:?}");
    std::fs::create_dir(&at).unwrap();
    for found in [
        store.get(&file).await.err(),
        store
            .get_ranges(&file, std::slice::from_ref(&(0..1)))
            .await
            .err(),
    ] {
        assert!(matches!(found, Some(Error::NotFound { .. })), "{found:?}");
    }
}
