//! A folder on a local disk as an object store that flushes what it writes.
//!
//! Invariant: a file of a table's log gets its name only when its content is on disk, and the data files that this process wrote into the
//! table before are too. A put of one is over when its name is on disk. So a commit that is seen after a power cut is whole, and so is
//! everything that was committed before it.
//!
//! ```text
//!   data file   written, named                              (flushed by the next commit: nothing names it before)
//!   log file    staged --+--> flushed ----------------+
//!   data files ----------+--> flushed, their folders -+--> log file named --> its folder flushed
//! ```
//!
//! Rejected: a flush of every file as it is written. Data files come by the dozen, and a disk flushes a dozen files at once in hardly more
//! time than one. Rejected too: one flush of the whole file system; it waits for whatever other programs have written.

use crate::store::special_file::{open_regular, special_file};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UpdateVersion, UploadPart,
};
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Files that are flushed at once.
const AT_ONCE: usize = 8;
/// The folder of a table's log.
pub(crate) const LOG_FOLDER: &str = "_delta_log";
/// End of the name of a file's lock. Names that end so are passed over by listings; what is staged has a larger number.
pub(crate) const LOCK: &str = "#0";
const STORE: &str = "LocalDisk";

/// A step that changed the disk, told after it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskEvent {
    /// A file was written, under this name.
    Wrote(PathBuf),
    /// A file's content is on disk.
    FlushedFile(PathBuf),
    /// A file has another name.
    Named {
        /// The name it had.
        from: PathBuf,
        /// The name it has.
        to: PathBuf,
    },
    /// The names in a folder are on disk.
    FlushedFolder(PathBuf),
    /// A file was removed.
    Removed(PathBuf),
}

/// Callback that gets every step that changed the disk; for tests that cut the power between two
/// of them.
pub type DiskObserver = Arc<dyn Fn(DiskEvent) + Send + Sync>;

/// The store. Its root is the root of the file system.
pub(crate) struct LocalDisk {
    files: LocalFileSystem,
    state: Arc<DiskState>,
}

/// Files and folders that are not flushed yet.
struct DiskState {
    /// Data files that were written and not flushed.
    unflushed: Mutex<BTreeSet<PathBuf>>,
    /// Folders whose own names are on disk.
    anchored: Mutex<HashSet<PathBuf>>,
    /// Reason that a flush failed. What was written before may be lost, and a second flush would not say so.
    failed: Mutex<Option<String>>,
    witness: Option<DiskObserver>,
}

impl std::fmt::Debug for LocalDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(STORE)
    }
}

impl std::fmt::Display for LocalDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(STORE)
    }
}

impl LocalDisk {
    pub(crate) fn new(witness: Option<DiskObserver>) -> Self {
        let (unflushed, anchored, failed) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self {
            files: LocalFileSystem::new(),
            state: Arc::new(DiskState {
                unflushed,
                anchored,
                failed,
                witness,
            }),
        }
    }
}

/// True if a file is data, which counts only once a commit names it.
fn is_data(location: &Path) -> bool {
    location.extension() == Some("parquet")
        && location.parts().all(|part| part.as_ref() != LOG_FOLDER)
}

/// The folder of the table whose log holds the file; `None` for any other file.
fn table_of(path: &FilePath) -> Option<&FilePath> {
    path.parent()
        .filter(|folder| folder.file_name().is_some_and(|name| name == LOG_FOLDER))
        .and_then(FilePath::parent)
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn generic(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic {
        store: STORE,
        source: error.into(),
    }
}

/// An error of the operating system with the file it is about.
fn at(path: &FilePath, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Errors where a pipe, a socket or a device stands in a file's place: opening a pipe would not end.
fn refuse_special(path: &FilePath) -> io::Result<()> {
    match special_file(path) {
        None => Ok(()),
        Some(kind) => Err(io::Error::other(format!(
            "the file {} is damaged: it is {kind}, and no regular file",
            path.display()
        ))),
    }
}

/// A pipe, a socket or a device that stands in a file's place, as a file that was cut to nothing: it is not opened, and whoever reads it treats it as a
/// damaged one, which the next write replaces.
fn emptied(location: &Path, path: &FilePath, kind: &str) -> io::Result<GetResult> {
    let modified = std::fs::metadata(path).and_then(|found| found.modified());
    let modified = modified.map_err(|error| at(path, &error))?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let meta = ObjectMeta {
        location: location.clone(),
        last_modified: modified.into(),
        size: 0,
        e_tag: Some(format!("{kind}-{:x}", since.as_micros())),
        version: None,
    };
    Ok(GetResult {
        payload: GetResultPayload::Stream(stream::empty().boxed()),
        meta,
        range: 0..0,
        attributes: Attributes::default(),
    })
}

/// A file of the disk as an object; a folder counts as nothing.
fn object_at(location: Path, path: PathBuf, options: &GetOptions) -> Result<GetResult> {
    let file = open_regular(&path).map_err(|error| unopened(&path, &error))?;
    let meta = meta_of(location, &file).map_err(|error| unopened(&path, &error))?;
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        Some(range) => range.as_range(meta.size).map_err(generic)?,
        None => 0..meta.size,
    };
    Ok(GetResult {
        payload: GetResultPayload::File(file, path),
        meta,
        range,
        attributes: Attributes::default(),
    })
}

/// What a listing says of a file.
fn meta_of(location: Path, file: &File) -> io::Result<ObjectMeta> {
    let found = file.metadata()?;
    let (modified, size) = (found.modified()?, found.len());
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let number = 0;
    Ok(ObjectMeta {
        location,
        last_modified: modified.into(),
        size,
        e_tag: Some(format!("{number:x}-{:x}-{size:x}", since.as_micros())),
        version: None,
    })
}

/// Parts of a file. Errors where it ends before one does: it was cut, and who got less than was asked for would take that for all.
fn parts_of(path: &FilePath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
    let failed = |error: io::Error| unopened(path, &error);
    let file = open_regular(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let parts = ranges.iter().map(|range| {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let there = GetRange::Bounded(range.clone()).as_range(size);
        if there.map_err(generic)? != *range {
            let error = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(generic(at(path, &error)));
        }
        part_of(&file, range).map_err(|error| generic(at(path, &error)))
    });
    parts.collect()
}

fn part_of(mut file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    let length = range.end.saturating_sub(range.start);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.seek(SeekFrom::Start(range.start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes.into())
}

/// The error of a file that cannot be opened. A folder in its place is no file, as nothing is.
fn unopened(path: &FilePath, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::IsADirectory => io::ErrorKind::NotFound,
        kind => kind,
    };
    let path = path.display().to_string();
    match kind {
        io::ErrorKind::NotFound => Error::NotFound {
            path,
            source: io::Error::new(kind, error.to_string()).into(),
        },
        _ => generic(io::Error::new(
            kind,
            format!("Unable to open file {path}: {error}"),
        )),
    }
}

/// Runs what reads the disk on a thread of its own, or here where no runtime has any.
async fn read_apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await.map_err(generic)?,
        Err(_) => work(),
    }
}

/// Runs what waits for the disk on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

impl DiskState {
    fn tell(&self, event: DiskEvent) {
        if let Some(witness) = &self.witness {
            witness(event);
        }
    }

    /// Errors where an earlier flush failed.
    fn is_sound(&self) -> Result<()> {
        match &*held(&self.failed) {
            Some(why) => Err(generic(format!(
                "the disk did not keep what was written to it: {why}"
            ))),
            None => Ok(()),
        }
    }

    fn note<T>(&self, outcome: io::Result<T>) -> Result<T> {
        outcome.map_err(|error| {
            held(&self.failed).get_or_insert_with(|| error.to_string());
            generic(error)
        })
    }

    fn flush_file(&self, path: &FilePath) -> io::Result<()> {
        // Only Windows wants to write what it flushes.
        let opened = match cfg!(windows) {
            true => File::options().read(true).write(true).open(path),
            false => open_regular(path),
        };
        let file = match opened {
            Ok(file) => file,
            // Discarded meanwhile, by a writer that lost a race: nobody names it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(at(path, &error)),
        };
        supported(file.sync_all()).map_err(|error| at(path, &error))?;
        self.tell(DiskEvent::FlushedFile(path.to_owned()));
        Ok(())
    }

    /// Flushes the names in a folder, and the folder's own name, up to the root, where this process has not done so before.
    fn flush_folder(&self, folder: &FilePath) -> io::Result<()> {
        let mut next = Some(folder);
        while let Some(folder) = next {
            if cfg!(unix) {
                match File::open(folder) {
                    Ok(open) => supported(open.sync_all()).map_err(|error| at(folder, &error))?,
                    // A folder above the warehouse that may be passed through and not listed: nothing was written into it.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                    Err(error) => return Err(at(folder, &error)),
                }
                self.tell(DiskEvent::FlushedFolder(folder.to_owned()));
            }
            if held(&self.anchored).contains(folder) {
                break;
            }
            next = folder.parent();
        }
        let mut anchored = held(&self.anchored);
        anchored.extend(folder.ancestors().map(FilePath::to_owned));
        Ok(())
    }

    /// Flushes the data files that were written below a folder, and the folders they are in.
    async fn flush_below(self: &Arc<Self>, table: &FilePath) -> io::Result<()> {
        let waiting: Vec<PathBuf> = held(&self.unflushed)
            .iter()
            .filter(|path| path.starts_with(table))
            .cloned()
            .collect();
        let folders: BTreeSet<PathBuf> = waiting
            .iter()
            .filter_map(|path| path.parent())
            .map(FilePath::to_owned)
            .collect();
        let flush = |path: PathBuf| {
            let state = Arc::clone(self);
            blocking(move || state.flush_file(&path))
        };
        stream::iter(waiting.clone())
            .map(flush)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let state = Arc::clone(self);
        blocking(move || {
            folders
                .iter()
                .try_for_each(|folder| state.flush_folder(folder))
        })
        .await?;
        let mut unflushed = held(&self.unflushed);
        for path in &waiting {
            unflushed.remove(path);
        }
        Ok(())
    }

    /// Writes a file under a name that nobody else has; its path.
    fn stage(&self, path: &FilePath, payload: &[Bytes]) -> io::Result<PathBuf> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
        }
        // Names that end so are passed over by listings. Two processes may count alike: whoever comes second counts on.
        let mut number = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        let (staged, mut file) = loop {
            let mut name = path.as_os_str().to_owned();
            name.push(format!("#{number}"));
            match File::options().write(true).create_new(true).open(&name) {
                Ok(file) => break (PathBuf::from(name), file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(at(path, &error)),
            }
        };
        if let Err(error) = payload.iter().try_for_each(|bytes| file.write_all(bytes)) {
            let _ = std::fs::remove_file(&staged);
            return Err(at(path, &error));
        }
        self.tell(DiskEvent::Wrote(staged.clone()));
        Ok(staged)
    }

    /// Gives a staged file its name; `false` where there is such a file and it must not be replaced.
    fn name(&self, staged: &FilePath, path: &FilePath, replace: bool) -> io::Result<bool> {
        let named = if replace {
            std::fs::rename(staged, path)
        } else {
            std::fs::hard_link(staged, path)
        };
        if named.is_ok() {
            self.tell(DiskEvent::Named {
                from: staged.to_owned(),
                to: path.to_owned(),
            });
        }
        if !replace || named.is_err() {
            let _ = std::fs::remove_file(staged);
        }
        match named {
            Ok(()) => Ok(true),
            Err(_) if replace && path.is_dir() => Err(io::Error::other(format!(
                "a folder stands in the place of the file {}: move it away",
                path.display()
            ))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(at(path, &error)),
        }
    }

    /// Writes a file that is there as a whole and on disk, or not at all.
    async fn put(
        self: &Arc<Self>,
        path: PathBuf,
        payload: PutPayload,
        replace: bool,
    ) -> Result<PutResult> {
        self.is_sound()?;
        let (state, target) = (Arc::clone(self), path.clone());
        let payload: Vec<Bytes> = payload.into_iter().collect();
        let staged = blocking(move || state.stage(&target, &payload))
            .await
            .map_err(generic)?;
        let (state, own) = (Arc::clone(self), staged.clone());
        let own = blocking(move || state.flush_file(&own));
        let data = async {
            match table_of(&path) {
                Some(table) => self.flush_below(table).await,
                None => Ok(()),
            }
        };
        let flushed = futures::future::try_join(own, data).await.map(drop);
        if let Err(error) = self.note(flushed) {
            let _ = std::fs::remove_file(&staged);
            return Err(error);
        }
        let (state, target) = (Arc::clone(self), path.clone());
        if !blocking(move || state.name(&staged, &target, replace))
            .await
            .map_err(generic)?
        {
            let path = path.display().to_string();
            return Err(Error::AlreadyExists {
                path,
                source: "there is such a file".into(),
            });
        }
        let state = Arc::clone(self);
        let flushed = blocking(move || {
            path.parent()
                .map_or(Ok(()), |folder| state.flush_folder(folder))
        })
        .await;
        self.note(flushed)?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    fn wrote_data(&self, path: PathBuf) {
        self.tell(DiskEvent::Wrote(path.clone()));
        held(&self.unflushed).insert(path);
    }
}

/// A file system that cannot flush or lock at all promises nothing, and nothing fails.
pub(crate) fn supported(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

#[async_trait]
impl ObjectStore for LocalDisk {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let path = self.files.path_to_filesystem(location)?;
        if is_data(location) {
            let put = self.files.put_opts(location, payload, opts).await?;
            self.state.wrote_data(path);
            return Ok(put);
        }
        match opts.mode {
            PutMode::Create => self.state.put(path, payload, false).await,
            PutMode::Overwrite => self.state.put(path, payload, true).await,
            PutMode::Update(read) => self.swap(location, path, payload, &read).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (path, state) = (
            self.files.path_to_filesystem(location)?,
            Arc::clone(&self.state),
        );
        if is_data(location) {
            let inner = self.files.put_multipart_opts(location, opts).await?;
            return Ok(Box::new(DataUpload { inner, path, state }));
        }
        Ok(Box::new(LogUpload {
            parts: Vec::new(),
            path,
            state,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let path = self.files.path_to_filesystem(location)?;
        let Some(kind) = special_file(&path) else {
            let location = location.clone();
            return read_apart(move || object_at(location, path, &options)).await;
        };
        if options.range.is_some() || is_data(location) {
            refuse_special(&path).map_err(generic)?;
        }
        if !options.head {
            let file = path.display();
            tracing::warn!("{file} is {kind}, and no regular file: it counts as an empty one");
        }
        let found = emptied(location, &path, kind).map_err(generic)?;
        options.check_preconditions(&found.meta)?;
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (path, ranges) = (self.files.path_to_filesystem(location)?, ranges.to_vec());
        refuse_special(&path).map_err(generic)?;
        read_apart(move || parts_of(&path, &ranges)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (files, state) = (self.files.clone(), Arc::clone(&self.state));
        let told = move |location: Result<Path>| {
            let location = location?;
            let path = files.path_to_filesystem(&location)?;
            held(&state.unflushed).remove(&path);
            state.tell(DiskEvent::Removed(path));
            Ok(location)
        };
        self.files.delete_stream(locations).map(told).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        refuse_special(&self.files.path_to_filesystem(from)?).map_err(generic)?;
        let payload = self
            .get_opts(from, GetOptions::default())
            .await?
            .bytes()
            .await?;
        let mode = match options.mode {
            object_store::CopyMode::Create => PutMode::Create,
            object_store::CopyMode::Overwrite => PutMode::Overwrite,
        };
        self.put_opts(to, payload.into(), mode.into())
            .await
            .map(drop)
    }
}

impl LocalDisk {
    /// Replaces a file that is still the one that was read. Swaps of one file take turns, also those of other processes, by a lock that the
    /// system takes from whoever ends.
    async fn swap(
        &self,
        location: &Path,
        path: PathBuf,
        payload: PutPayload,
        read: &UpdateVersion,
    ) -> Result<PutResult> {
        let mut lock = path.clone().into_os_string();
        lock.push(LOCK);
        let _held = blocking(move || {
            let lock = PathBuf::from(lock);
            refuse_special(&lock)?;
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(lock)?;
            supported(lock.lock())?;
            Ok(lock)
        })
        .await
        .map_err(generic)?;
        let found = match self.head(location).await {
            Ok(found) => found.e_tag,
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        if found.is_none() || found != read.e_tag {
            return Err(Error::Precondition {
                path: path.display().to_string(),
                source: "it is not the file that was read".into(),
            });
        }
        self.state.put(path, payload, true).await?;
        Ok(PutResult {
            e_tag: self.head(location).await?.e_tag,
            version: None,
        })
    }
}

/// A data file that is written in parts.
#[derive(Debug)]
struct DataUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
    state: Arc<DiskState>,
}

/// A file of the log that is written in parts: held until all are there, since it is small and has to be flushed before it is named.
#[derive(Debug)]
struct LogUpload {
    parts: Vec<Bytes>,
    path: PathBuf,
    state: Arc<DiskState>,
}

impl std::fmt::Debug for DiskState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(STORE)
    }
}

#[async_trait]
impl MultipartUpload for DataUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.inner.complete().await?;
        self.state.wrote_data(self.path.clone());
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[async_trait]
impl MultipartUpload for LogUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.extend(data);
        Box::pin(futures::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload = std::mem::take(&mut self.parts).into_iter().collect();
        self.state.put(self.path.clone(), payload, true).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
#[path = "durable_tests.rs"]
mod tests;
