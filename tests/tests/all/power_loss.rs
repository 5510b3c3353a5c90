//! The power is cut: the steps by which a sync changes the disk are recorded, and the warehouse is opened as it would be found after each.
//!
//! Invariant: whatever of the last steps the disk kept, the last published run is there as a whole, and the next sync goes on.

use crate::project::TestProject;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tillhouse_hecone::HecOneConnection;
use tillhouse_lake::{AsOf, DiskEvent, DiskObserver, Warehouse};
use tillhouse_pipeline::{NoopObserver, RunContext, SourceEntry, SyncOptions, SyncRange, sync};
use tillhouse_query::{QueryEngine, QueryEngineOptions};
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const SOURCES: &[SourceEntry] = &[SourceEntry::of::<HecOneConnection>()];

/// A step, with what was written.
#[derive(Debug, Clone)]
enum DiskStep {
    Wrote(PathBuf, Arc<Vec<u8>>),
    FlushedFile(PathBuf),
    Renamed(PathBuf, PathBuf),
    FlushedFolder(PathBuf),
    Removed(PathBuf),
    /// A sync said that it had published this run.
    Published(String),
}

/// Content that the disk kept of what was never flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnflushedData {
    /// No name, no content.
    Nothing,
    /// The names, of empty files.
    Names,
    /// The names, and half of each file.
    Halves,
    /// Everything: the program was killed, and not the power.
    All,
}

type FileContents = BTreeMap<PathBuf, Arc<Vec<u8>>>;

/// The files below a folder.
fn files(root: &Path) -> FileContents {
    let mut found = FileContents::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), Arc::new(std::fs::read(path).unwrap()));
            }
        }
    }
    found
}

/// The files that are found after the power was cut behind these steps.
fn after(base: &FileContents, steps: &[DiskStep], kept: UnflushedData) -> FileContents {
    let mut content: Vec<(Arc<Vec<u8>>, bool)> = Vec::new();
    let mut names: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for (path, bytes) in base {
        names.insert(path.clone(), content.len());
        content.push((Arc::clone(bytes), true));
    }
    // The names on disk of every folder, of those that were flushed or there before.
    let mut on_disk = names.clone();
    for step in steps {
        match step {
            DiskStep::Wrote(path, bytes) => {
                names.insert(path.clone(), content.len());
                content.push((Arc::clone(bytes), false));
            }
            DiskStep::FlushedFile(path) => {
                if let Some(file) = names.get(path) {
                    content[*file].1 = true;
                }
            }
            DiskStep::Renamed(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            DiskStep::Removed(path) => {
                names.remove(path);
            }
            DiskStep::FlushedFolder(folder) => {
                on_disk.retain(|path, _| path.parent() != Some(folder));
                let inside = names
                    .iter()
                    .filter(|(path, _)| path.parent() == Some(folder));
                on_disk.extend(inside.map(|(path, file)| (path.clone(), *file)));
            }
            DiskStep::Published(_) => {}
        }
    }
    let names = if kept == UnflushedData::Nothing {
        on_disk
    } else {
        names
    };
    let left = |file: usize| match (&content[file], kept) {
        ((bytes, true), _) | ((bytes, false), UnflushedData::All) => Arc::clone(bytes),
        ((bytes, false), UnflushedData::Halves) => Arc::new(bytes[..bytes.len() / 2].to_vec()),
        ((_, false), UnflushedData::Nothing | UnflushedData::Names) => Arc::default(),
    };
    names
        .into_iter()
        .map(|(path, file)| (path, left(file)))
        .collect()
}

/// Every new folder below the root whose names were flushed has its own name flushed, when a run is said to be published.
fn folders_are_on_disk(base: &FileContents, steps: &[DiskStep], root: &Path) {
    let old: BTreeSet<&Path> = base
        .keys()
        .flat_map(|path| path.ancestors().skip(1))
        .collect();
    let mut flushed: BTreeSet<&Path> = BTreeSet::new();
    for step in steps {
        match step {
            DiskStep::FlushedFolder(folder) => {
                flushed.insert(folder);
            }
            DiskStep::Published(run) => {
                for folder in flushed
                    .iter()
                    .filter(|folder| folder.starts_with(root) && !old.contains(**folder))
                {
                    let parent = folder.parent().unwrap();
                    assert!(
                        flushed.contains(parent),
                        "{run}: {} is not on disk",
                        folder.display()
                    );
                }
            }
            _ => {}
        }
    }
}

/// A project's folder on this disk, with this warehouse.
async fn context(folder: &Path, witness: Option<DiskObserver>) -> RunContext {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let project = Arc::new(tillhouse_pipeline::Project::load(folder).unwrap());
    let warehouse = match witness {
        Some(witness) => Warehouse::open_watched(&project.warehouse, witness)
            .await
            .unwrap(),
        None => Warehouse::open(&project.warehouse).await.unwrap(),
    };
    let (engine, observer) = (
        QueryEngine::new(QueryEngineOptions::default()).unwrap(),
        Arc::new(NoopObserver),
    );
    RunContext::new(project, warehouse, engine, observer)
}

/// Syncs some hours; the run.
async fn sync_hours(context: &RunContext, from: i64, to: i64) -> String {
    let pipelines = context.project.pipelines(&[], SOURCES).unwrap();
    let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let at = |hours| Some(start + jiff::SignedDuration::from_hours(hours));
    let report = sync(
        context,
        &pipelines,
        SyncOptions {
            range: SyncRange {
                from: at(from),
                to: at(to),
            },
            ..SyncOptions::default()
        },
    )
    .await;
    let report = report.unwrap_or_else(|error| panic!("{error:?}"));
    assert!(report.published && !report.is_partial(), "{report:?}");
    report.run
}

/// A cut behind each of the last steps, by which the run is published, and behind every so many of those before.
const PUBLISHING: usize = 12;
const STRIDE: usize = 40;
/// Of so many warehouses one is read by SQL, row by row; of the others the logs, and the length of
/// every data file.
const READ: usize = 12;

/// The newest run, and how many rows each of its tables has, by their logs. Its data files are there, and as long as they were.
async fn noted(warehouse: &Warehouse) -> Option<(String, BTreeMap<String, usize>)> {
    let run = warehouse.ops().published(&AsOf::Latest).await.unwrap()?;
    warehouse
        .probe_files(&run)
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    let mut rows = BTreeMap::new();
    for (path, version) in run
        .tables
        .iter()
        .filter(|(path, _)| !path.starts_with("ops/"))
    {
        let open = warehouse
            .open_at(path, Some(version))
            .await
            .unwrap_or_else(|error| panic!("{path}: {error:?}"));
        rows.insert(
            path.clone(),
            usize::try_from(open.unwrap().figures.rows.unwrap()).unwrap(),
        );
    }
    Some((run.run_id, rows))
}

/// Published run and rows by table, each table read to its end.
async fn shown(context: &RunContext) -> Option<(String, BTreeMap<String, usize>)> {
    let run = context
        .warehouse
        .ops()
        .published(&AsOf::Latest)
        .await
        .unwrap()?;
    let session = context
        .engine
        .open(&context.warehouse, &AsOf::Latest)
        .await
        .unwrap();
    let mut rows = BTreeMap::new();
    // Bookkeeping is read as it is now, and not as of the run.
    for path in run.tables.keys().filter(|path| !path.starts_with("ops/")) {
        let query = format!("SELECT * FROM {}", path.replace('/', "."));
        let batches = tillhouse_query::collect(session.query(&query).await.unwrap()).await;
        let batches = batches.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        rows.insert(
            path.clone(),
            batches.iter().map(|batch| batch.num_rows()).sum(),
        );
    }
    Some((run.run_id, rows))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_of_a_sync_the_disk_kept_the_last_published_run_is_whole_and_the_next_sync_goes_on()
 {
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 60,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    let settings = files(&project.path());
    let warehouse = std::fs::canonicalize(project.path())
        .unwrap()
        .join("warehouse");
    let recorded: Arc<Mutex<Vec<DiskStep>>> = Arc::default();
    let steps = Arc::clone(&recorded);
    let witness: DiskObserver = Arc::new(move |event| {
        let step = match event {
            DiskEvent::Wrote(path) => {
                let bytes = Arc::new(std::fs::read(&path).unwrap());
                DiskStep::Wrote(path, bytes)
            }
            DiskEvent::FlushedFile(path) => DiskStep::FlushedFile(path),
            DiskEvent::Named { from, to } => DiskStep::Renamed(from, to),
            DiskEvent::FlushedFolder(path) => DiskStep::FlushedFolder(path),
            DiskEvent::Removed(path) => DiskStep::Removed(path),
        };
        steps.lock().unwrap().push(step);
    });
    let writer = context(
        &std::fs::canonicalize(project.path()).unwrap(),
        Some(witness),
    )
    .await;
    let mut runs: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    // Ids of the same second are not in order.
    let mut order: Vec<String> = Vec::new();
    let mut cuts = Vec::new();
    let mut base = FileContents::new();
    for sync in 0..10 {
        // The first sync makes every table; the tenth writes the checkpoints of the tables that every sync writes into.
        let is_looked_at = sync == 0 || sync == 9;
        if is_looked_at {
            base = files(&warehouse);
            recorded.lock().unwrap().clear();
        }
        let run = sync_hours(&writer, sync * 10, sync * 10 + 10).await;
        let (newest, rows) = shown(&writer).await.unwrap();
        assert_eq!(newest, run);
        runs.insert(run.clone(), rows);
        let before = order.last().cloned();
        order.push(run.clone());
        if is_looked_at {
            recorded
                .lock()
                .unwrap()
                .push(DiskStep::Published(run.clone()));
            cuts.push((sync, before, base.clone(), recorded.lock().unwrap().clone()));
        }
    }
    let is_checkpoint = |step: &DiskStep| matches!(step, DiskStep::Renamed(_, to) if to.to_string_lossy().ends_with(".checkpoint.parquet"));
    assert!(
        cuts.iter()
            .any(|(.., steps)| steps.iter().any(is_checkpoint)),
        "some sync writes a checkpoint"
    );
    let (mut opened, mut went_on) = (0, 0);
    for (sync, before, base, steps) in &cuts {
        folders_are_on_disk(base, steps, warehouse.parent().unwrap());
        let mut seen: HashSet<u64> = HashSet::new();
        for (at, step) in steps.iter().enumerate() {
            if at + PUBLISHING < steps.len() && at % STRIDE > 0 {
                continue;
            }
            let done = &steps[..=at];
            let said = done.iter().rev().find_map(|step| {
                if let DiskStep::Published(run) = step {
                    Some(run)
                } else {
                    None
                }
            });
            for kept in [
                UnflushedData::Nothing,
                UnflushedData::Names,
                UnflushedData::Halves,
                UnflushedData::All,
            ] {
                let found = after(base, done, kept);
                // The same files are the same warehouse.
                let mut hasher = DefaultHasher::new();
                found.hash(&mut hasher);
                if !seen.insert(hasher.finish()) {
                    continue;
                }
                let folder = tempfile::tempdir().unwrap();
                for (root, files) in [(project.path(), &settings), (warehouse.clone(), &found)] {
                    let below = if root == warehouse {
                        folder.path().join("warehouse")
                    } else {
                        folder.path().to_owned()
                    };
                    for (path, bytes) in files {
                        let path = below.join(path.strip_prefix(&root).unwrap());
                        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                        std::fs::write(path, &**bytes).unwrap();
                    }
                }
                let reader = context(folder.path(), None).await;
                let now = match opened % READ {
                    0 => shown(&reader).await,
                    _ => noted(&reader.warehouse).await,
                };
                let what = format!(
                    "sync {sync}, step {at} of {} ({step:?}), kept {kept:?}",
                    steps.len()
                );
                match (&now, said.or(before.as_ref())) {
                    (None, None) => {}
                    (None, Some(run)) => panic!("{what}: run {run} is gone"),
                    (Some((run, rows)), least) => {
                        let place = |run: &String| order.iter().position(|known| known == run);
                        assert!(
                            least.is_none_or(|least| place(least) <= place(run)),
                            "{what}: {run}, not {least:?}"
                        );
                        let whole = runs
                            .get(run)
                            .unwrap_or_else(|| panic!("{what}: nobody published run {run}"));
                        for (table, rows) in rows {
                            assert_eq!(
                                whole.get(table),
                                Some(rows),
                                "{what}: {table} of run {run}"
                            );
                        }
                    }
                }
                opened += 1;
                if opened % 40 == 0 {
                    sync_hours(&reader, 0, sync * 10 + 10).await;
                    let (_, rows) = shown(&reader).await.unwrap();
                    let wanted = &runs[&order[usize::try_from(*sync).unwrap()]];
                    assert_eq!(
                        rows.get("unified/transactions"),
                        wanted.get("unified/transactions"),
                        "{what}: the next sync"
                    );
                    went_on += 1;
                }
            }
        }
    }
    assert!(
        opened > 40 && went_on > 0,
        "{opened} warehouses opened, {went_on} synced"
    );
    sandbox.stop().await;
}
