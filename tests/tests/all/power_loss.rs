//! The power is cut: the steps by which a sync changes the disk are recorded, and the warehouse is opened as it would be found after each.
//!
//! Invariant: whatever of the last steps the disk kept, the last published run is there as a whole, and the next sync goes on.
//!
//! Every step of a sync that makes all tables, and of one that writes checkpoints, is one behind which the power is cut, with each amount of what was not
//! flushed. A folder is brought from one of these warehouses to the next by the files that differ, and only the logs and the lengths of data files are read. Behind
//! the first step of each kind, by what was done to which kind of file, every table is read to its end, and the next sync goes on.

use crate::project::TestProject;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tillhouse_hecone::HecOneConnection;
use tillhouse_lake::{AsOf, DiskEvent, DiskObserver, Warehouse, WarehouseLocation};
use tillhouse_pipeline::{NoopObserver, RunContext, SourceEntry, SyncOptions, SyncRange, sync};
use tillhouse_query::{QueryEngine, QueryEngineOptions};
use tillhouse_sandbox::{Sandbox, SandboxOptions};
use tokio::runtime::Handle;

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

impl UnflushedData {
    const EACH: [Self; 4] = [Self::Nothing, Self::Names, Self::Halves, Self::All];
}

/// Part of a file that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum FilePart {
    Whole,
    Half,
    Nothing,
}

type FileContents = BTreeMap<PathBuf, Arc<Vec<u8>>>;
/// Files by the number of their content, and what of it is there.
type FilesLeft = BTreeMap<PathBuf, (usize, FilePart)>;
/// Rows by table.
type TableRows = BTreeMap<String, usize>;

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

/// A disk on which steps are taken.
struct SteppedDisk {
    /// Contents, and whether each is flushed.
    contents: Vec<(Arc<Vec<u8>>, bool)>,
    /// The names that a program sees.
    names: BTreeMap<PathBuf, usize>,
    /// The names on disk of every folder, of those that were flushed or there before.
    on_disk: BTreeMap<PathBuf, usize>,
}

impl SteppedDisk {
    fn new(base: &FileContents) -> Self {
        let names: BTreeMap<PathBuf, usize> = base.keys().cloned().zip(0..).collect();
        Self {
            contents: base.values().cloned().map(|bytes| (bytes, true)).collect(),
            on_disk: names.clone(),
            names,
        }
    }

    fn take(&mut self, step: &DiskStep) {
        match step {
            DiskStep::Wrote(path, bytes) => {
                self.names.insert(path.clone(), self.contents.len());
                self.contents.push((Arc::clone(bytes), false));
            }
            DiskStep::FlushedFile(path) => {
                if let Some(file) = self.names.get(path) {
                    self.contents[*file].1 = true;
                }
            }
            DiskStep::Renamed(from, to) => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            DiskStep::Removed(path) => {
                self.names.remove(path);
            }
            DiskStep::FlushedFolder(folder) => {
                self.on_disk.retain(|path, _| path.parent() != Some(folder));
                let inside = self
                    .names
                    .iter()
                    .filter(|(path, _)| path.parent() == Some(folder));
                self.on_disk
                    .extend(inside.map(|(path, file)| (path.clone(), *file)));
            }
            DiskStep::Published(_) => {}
        }
    }

    /// The files that are found after the power was cut.
    fn left(&self, kept: UnflushedData) -> FilesLeft {
        let names = match kept {
            UnflushedData::Nothing => &self.on_disk,
            _ => &self.names,
        };
        let part = |file: usize| match (self.contents[file].1, kept) {
            (true, _) | (false, UnflushedData::All) => FilePart::Whole,
            (false, UnflushedData::Halves) => FilePart::Half,
            (false, UnflushedData::Nothing | UnflushedData::Names) => FilePart::Nothing,
        };
        let left = names
            .iter()
            .map(|(path, file)| (path.clone(), (*file, part(*file))));
        left.collect()
    }

    fn bytes(&self, (file, part): (usize, FilePart)) -> &[u8] {
        let bytes = self.contents[file].0.as_slice();
        match part {
            FilePart::Whole => bytes,
            FilePart::Half => &bytes[..bytes.len() / 2],
            FilePart::Nothing => &[],
        }
    }
}

/// A folder with the files of a disk.
struct DiskImage {
    folder: TempDir,
    held: FilesLeft,
}

impl DiskImage {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            held: FilesLeft::new(),
        }
    }

    fn warehouse(&self) -> PathBuf {
        self.folder.path().join("warehouse")
    }

    /// Writes the files that differ from those that are held; `root` is the place of the warehouse in their names.
    fn bring_to(&mut self, disk: &SteppedDisk, found: FilesLeft, root: &Path) {
        let warehouse = self.warehouse();
        let place = |path: &Path| warehouse.join(path.strip_prefix(root).unwrap());
        for path in self.held.keys().filter(|path| !found.contains_key(*path)) {
            let place = place(path);
            std::fs::remove_file(&place).unwrap();
            // A folder without files is none that was written.
            let above = place.ancestors().skip(1);
            for folder in above.take_while(|folder| folder.starts_with(&warehouse)) {
                if std::fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        for (path, file) in &found {
            if self.held.get(path) != Some(file) {
                let place = place(path);
                std::fs::create_dir_all(place.parent().unwrap()).unwrap();
                std::fs::write(place, disk.bytes(*file)).unwrap();
            }
        }
        self.held = found;
    }
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

/// The newest run, and how many rows each of its tables has, by their logs. Its data files are there, and as long as they were.
async fn noted(warehouse: &Warehouse, what: &str) -> Option<(String, TableRows)> {
    let run = warehouse.ops().published(&AsOf::Latest).await;
    let run = run.unwrap_or_else(|error| panic!("{what}: {error:?}"))?;
    let probed = warehouse.probe_files(&run).await;
    probed.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let mut rows = BTreeMap::new();
    for (path, version) in run
        .tables
        .iter()
        .filter(|(path, _)| !path.starts_with("ops/"))
    {
        let open = warehouse
            .open_at(path, Some(version))
            .await
            .unwrap_or_else(|error| panic!("{what}: {path}: {error:?}"));
        rows.insert(
            path.clone(),
            usize::try_from(open.unwrap().figures.rows.unwrap()).unwrap(),
        );
    }
    Some((run.run_id, rows))
}

/// Published run and rows by table, each table read to its end.
async fn shown(context: &RunContext) -> Option<(String, TableRows)> {
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

/// A step in words, without what was written.
fn told(step: &DiskStep) -> String {
    let (what, path) = match step {
        DiskStep::Wrote(path, _) => ("wrote", path),
        DiskStep::FlushedFile(path) => ("flushed", path),
        DiskStep::Renamed(_, to) => ("named", to),
        DiskStep::FlushedFolder(path) => ("flushed the folder", path),
        DiskStep::Removed(path) => ("removed", path),
        DiskStep::Published(run) => return format!("published {run}"),
    };
    format!("{what} {}", path.display())
}

/// Kind of a step: what it does, and to which kind of file of which kind of table.
fn kind_of(step: &DiskStep, root: &Path) -> (&'static str, String) {
    let (what, path) = match step {
        DiskStep::Wrote(path, _) => ("wrote", path),
        DiskStep::FlushedFile(path) => ("flushed", path),
        DiskStep::Renamed(_, to) => ("named", to),
        DiskStep::FlushedFolder(path) => ("folder", path),
        DiskStep::Removed(path) => ("removed", path),
        DiskStep::Published(_) => return ("published", String::new()),
    };
    let below = path.strip_prefix(root).unwrap_or(Path::new(""));
    let mut parts = below.iter().map(|part| part.to_string_lossy().into_owned());
    let schema = parts.next().unwrap_or_default();
    let name = parts.next_back().unwrap_or_default();
    let is_log = below.iter().any(|part| part == "_delta_log");
    // What is staged has a number behind its name.
    let name = name.split('#').next().unwrap_or_default();
    let file = match name.split_once('.') {
        Some((version, ending)) if is_log || version.parse::<u64>().is_ok() => ending,
        Some((_, "parquet")) => "parquet",
        _ if name.ends_with(".parquet") => "parquet",
        _ => name,
    };
    match what {
        // A staged file is nothing to a reader, whatever it becomes; data has its name from the beginning.
        "wrote" | "flushed" if file != "parquet" => (what, String::new()),
        "wrote" | "flushed" => (what, file.to_owned()),
        "folder" => (what, format!("{schema} {is_log}")),
        _ => (what, format!("{schema} {file}")),
    }
}

/// A sync whose steps were recorded.
struct RecordedSync {
    number: i64,
    /// The run that was published before it.
    before: Option<String>,
    /// The files of the warehouse before it.
    base: FileContents,
    steps: Vec<DiskStep>,
}

/// Runs that were published, and what is needed to open warehouses that hold some of what they wrote.
struct PowerCuts {
    /// The warehouse that was written.
    root: PathBuf,
    /// Files of its project, below the folder.
    settings: FileContents,
    project: PathBuf,
    runs: BTreeMap<String, TableRows>,
    /// Ids of the same second are not in order.
    order: Vec<String>,
}

impl PowerCuts {
    /// Cuts the power behind every step of a sync, with so much of what was not flushed. The same files are the same warehouse, where the same run is to be
    /// in it. The numbers of warehouses that were opened, and of those with which a sync went on.
    async fn cut(
        &self,
        sync: &RecordedSync,
        kept: UnflushedData,
        seen: &Mutex<HashSet<u64>>,
    ) -> (usize, usize) {
        let (mut disk, mut image) = (SteppedDisk::new(&sync.base), DiskImage::new());
        let (mut opened, mut went_on) = (0, 0);
        let (mut least, mut kinds) = (sync.before.as_ref(), BTreeSet::new());
        for (at, step) in sync.steps.iter().enumerate() {
            disk.take(step);
            if let DiskStep::Published(run) = step {
                least = Some(run);
            }
            let what = format!(
                "sync {}, step {at} of {} ({}), kept {kept:?}",
                sync.number,
                sync.steps.len(),
                told(step)
            );
            let found = disk.left(kept);
            // Of each kind one amount is taken, in turn.
            let turn = kinds.len() % UnflushedData::EACH.len();
            if kinds.insert(kind_of(step, &self.root)) && turn == kept as usize {
                self.go_on(sync, (&disk, found.clone()), &what, least).await;
                went_on += 1;
            }
            let mut hasher = DefaultHasher::new();
            (&found, least).hash(&mut hasher);
            if seen.lock().unwrap().insert(hasher.finish()) {
                image.bring_to(&disk, found, &self.root);
                let place = image.warehouse().display().to_string();
                let warehouse = Warehouse::open(&WarehouseLocation::new(place)).await;
                let warehouse = warehouse.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                self.assert_whole(&what, noted(&warehouse, &what).await.as_ref(), least);
                opened += 1;
            }
        }
        (opened, went_on)
    }

    /// Reads all of a warehouse, and syncs into it.
    async fn go_on(
        &self,
        sync: &RecordedSync,
        (disk, found): (&SteppedDisk, FilesLeft),
        what: &str,
        least: Option<&String>,
    ) {
        let mut image = DiskImage::new();
        image.bring_to(disk, found, &self.root);
        for (path, bytes) in &self.settings {
            let below = path.strip_prefix(&self.project).unwrap();
            let path = image.folder.path().join(below);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &**bytes).unwrap();
        }
        let reader = context(image.folder.path(), None).await;
        self.assert_whole(what, shown(&reader).await.as_ref(), least);
        sync_hours(&reader, 0, sync.number * 10 + 10).await;
        let (_, rows) = noted(&reader.warehouse, what).await.unwrap();
        let wanted = &self.runs[&self.order[usize::try_from(sync.number).unwrap()]];
        assert_eq!(
            rows.get("unified/transactions"),
            wanted.get("unified/transactions"),
            "{what}: the next sync"
        );
    }

    /// The run that is found is `least` or a later one, and has all rows that it was published with.
    fn assert_whole(
        &self,
        what: &str,
        found: Option<&(String, TableRows)>,
        least: Option<&String>,
    ) {
        let Some((run, rows)) = found else {
            assert_eq!(least, None, "{what}: the run is gone");
            return;
        };
        let place = |run: &String| self.order.iter().position(|known| known == run);
        assert!(
            least.is_none_or(|least| place(least) <= place(run)),
            "{what}: {run}, not {least:?}"
        );
        let whole = self
            .runs
            .get(run)
            .unwrap_or_else(|| panic!("{what}: nobody published run {run}"));
        for (table, rows) in rows {
            assert_eq!(whole.get(table), Some(rows), "{what}: {table} of run {run}");
        }
    }
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
    let mut runs: BTreeMap<String, TableRows> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut syncs = Vec::new();
    let mut base = FileContents::new();
    for number in 0..10 {
        // The first sync makes every table; the tenth writes the checkpoints of the tables that every sync writes into.
        let is_looked_at = number == 0 || number == 9;
        if is_looked_at {
            base = files(&warehouse);
            recorded.lock().unwrap().clear();
        }
        let run = sync_hours(&writer, number * 10, number * 10 + 10).await;
        let (newest, rows) = shown(&writer).await.unwrap();
        assert_eq!(newest, run);
        runs.insert(run.clone(), rows);
        let before = order.last().cloned();
        order.push(run.clone());
        if is_looked_at {
            let mut steps = std::mem::take(&mut *recorded.lock().unwrap());
            steps.push(DiskStep::Published(run));
            let base = std::mem::take(&mut base);
            syncs.push(RecordedSync {
                number,
                before,
                base,
                steps,
            });
        }
    }
    let is_checkpoint = |step: &DiskStep| matches!(step, DiskStep::Renamed(_, to) if to.to_string_lossy().ends_with(".checkpoint.parquet"));
    assert!(
        syncs
            .iter()
            .any(|sync| sync.steps.iter().any(is_checkpoint)),
        "some sync writes a checkpoint"
    );
    for sync in &syncs {
        folders_are_on_disk(&sync.base, &sync.steps, warehouse.parent().unwrap());
    }
    let cuts = PowerCuts {
        root: warehouse,
        settings,
        project: project.path(),
        runs,
        order,
    };
    let seen: Vec<Mutex<HashSet<u64>>> = syncs.iter().map(|_| Mutex::default()).collect();
    let runtime = Handle::current();
    // A thread each: what a sync does need not be moved between threads.
    let counts: Vec<(usize, usize)> = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for (sync, seen) in syncs.iter().zip(&seen) {
                for kept in UnflushedData::EACH {
                    let (cuts, runtime) = (&cuts, &runtime);
                    running.push(scope.spawn(move || runtime.block_on(cuts.cut(sync, kept, seen))));
                }
            }
            let ended = running.into_iter().map(|thread| thread.join());
            ended
                .map(|ended| ended.expect("a thread without a failure"))
                .collect()
        })
    });
    let opened: usize = counts.iter().map(|(opened, _)| opened).sum();
    let went_on: usize = counts.iter().map(|(_, went_on)| went_on).sum();
    let steps: usize = syncs.iter().map(|sync| sync.steps.len()).sum();
    assert!(
        opened > steps / 2 && went_on > 20,
        "{opened} warehouses opened behind {steps} steps, {went_on} synced"
    );
    sandbox.stop().await;
}
