//! Guard on reads of a table's log, and of its data files' footers: they are checked on their way
//! in.
//!
//! Invariant: a commit file is handed on whole or not at all, and so is a footer. A checkpoint is a short cut: one that is missing, empty or cut is passed over,
//! since the commits it stands for are there. One that is not what was written is an error, by its [seal](checkpoint_seal), and passed over by who reads the log.
//!
//! The Delta library takes a commit file of 0 bytes for one that changed nothing, and one that ends early, between two lines, for a shorter
//! one; it takes any commit under any name; and it stops where `_last_checkpoint` names a checkpoint that is not there. After a power cut each of
//! them is to be expected of a writer that did not flush, and of copies that were interrupted or mixed up.

use crate::store::durable::LOG_FOLDER;
use crate::store::{checkpoint_seal, footer, json_seal};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, UploadPart,
};
use serde::Deserialize;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// The file that points to the newest checkpoint.
pub(crate) const LAST_CHECKPOINT: &str = "_last_checkpoint";
const STORE: &str = "LogGuard";
/// Key of a commit's own number of lines.
pub(crate) const LINES: &str = "tillhouseLines";
/// Key of the version that a commit was made for.
pub(crate) const VERSION: &str = "tillhouseVersion";
/// Text before the reason in the error of a damaged commit.
pub(crate) const DAMAGED: &str = " is damaged: ";
/// Largest checkpoint that is kept in memory once it is checked, in bytes, for those who read its parts.
const KEPT: usize = 8 << 20;
/// A Parquet file's end: the length of its footer, and this.
const MAGIC: &[u8; 4] = b"PAR1";

/// A store whose tables' logs are checked.
pub(crate) struct LogGuard {
    inner: Arc<dyn ObjectStore>,
    checkpoints: Arc<CheckpointCache>,
}

/// A checkpoint whose seal was looked at.
#[derive(Clone)]
struct CheckedCheckpoint {
    meta: ObjectMeta,
    is_sound: bool,
    /// All of it, unless it is large.
    whole: Option<Bytes>,
}

/// Checkpoints that this process has looked at.
#[derive(Default)]
pub(crate) struct CheckpointCache {
    /// By path and size: true if they are complete, and nobody has found that they are wrong.
    trusted: Mutex<HashMap<(Path, u64), bool>>,
    /// The one whose seal was looked at last.
    checked: Mutex<Option<CheckedCheckpoint>>,
}

/// Kind of a file below a table's root.
#[derive(Debug, PartialEq, Eq)]
enum LogFileKind {
    Commit,
    Checkpoint,
    LastCheckpoint,
    Other,
    /// No file of a log: one of data.
    Data,
}

impl LogFileKind {
    fn of(location: &Path) -> Self {
        let mut parts: Vec<_> = location.parts().collect();
        let (Some(name), Some(folder)) = (parts.pop(), parts.pop()) else {
            return Self::Other;
        };
        if folder.as_ref() != LOG_FOLDER {
            return if location.extension() == Some("parquet") {
                Self::Data
            } else {
                Self::Other
            };
        }
        let name = name.as_ref();
        let is_versioned = version_of(name).is_some();
        match name.split_once('.') {
            Some((_, "json")) if is_versioned => Self::Commit,
            Some((_, rest)) if is_versioned && rest.starts_with("checkpoint.") => Self::Checkpoint,
            None if name == LAST_CHECKPOINT => Self::LastCheckpoint,
            _ => Self::Other,
        }
    }
}

impl std::fmt::Debug for LogGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{STORE}({:?})", self.inner)
    }
}

impl std::fmt::Display for LogGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{STORE}({})", self.inner)
    }
}

impl LogGuard {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            checkpoints: Arc::default(),
        }
    }

    /// A checkpoint that is what was written; an error that names it where it is not. It is read whole the first time.
    async fn checked_checkpoint(&self, location: &Path) -> Result<CheckedCheckpoint> {
        let known = self.checkpoints.checked();
        let known = known.filter(|known| known.meta.location == *location);
        let checked = match known {
            Some(known) => known,
            None => {
                let found = self.inner.get_opts(location, GetOptions::default()).await?;
                let meta = found.meta.clone();
                let whole = found.bytes().await?;
                let checked = CheckedCheckpoint {
                    meta,
                    is_sound: checkpoint_seal::is_sound(&whole),
                    whole: (whole.len() <= KEPT).then_some(whole),
                };
                self.checkpoints.keep_checked(Some(checked.clone()));
                checked
            }
        };
        match checked.is_sound {
            true => Ok(checked),
            false => Err(Error::Generic {
                store: STORE,
                source: format!("the checkpoint /{location}{DAMAGED}it is not what was written")
                    .into(),
            }),
        }
    }

    /// A part of a checkpoint.
    async fn checkpoint_part(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let checked = self.checked_checkpoint(location).await?;
        let Some(whole) = checked.whole else {
            return self.inner.get_opts(location, options).await;
        };
        let (range, part) = part_of(&whole, options.range.as_ref())?;
        Ok(result(
            checked.meta,
            object_store::Attributes::default(),
            range,
            part,
        ))
    }

    /// The store that is guarded.
    pub(crate) fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    /// The checkpoints that are known.
    pub(crate) fn checkpoints(&self) -> &Arc<CheckpointCache> {
        &self.checkpoints
    }

    /// A listing without checkpoints that are not whole.
    fn sifted(
        &self,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, checkpoints) = (Arc::clone(&self.inner), Arc::clone(&self.checkpoints));
        listed
            .try_filter_map(move |meta| {
                let (inner, checkpoints) = (Arc::clone(&inner), Arc::clone(&checkpoints));
                async move {
                    let passed = LogFileKind::of(&meta.location) == LogFileKind::Checkpoint
                        && !checkpoints
                            .is_whole(inner.as_ref(), &meta.location, meta.size)
                            .await?;
                    Ok((!passed).then_some(meta))
                }
            })
            .boxed()
    }

    /// `_last_checkpoint`, where it names one that is whole.
    async fn last_checkpoint(&self, location: &Path, found: GetResult) -> Result<GetResult> {
        /// Content of `_last_checkpoint`.
        #[derive(Deserialize)]
        struct LastCheckpointHint {
            version: u64,
            parts: Option<u64>,
        }
        let (meta, attributes, range) = (
            found.meta.clone(),
            found.attributes.clone(),
            found.range.clone(),
        );
        let bytes = found.bytes().await?;
        let gone = |why: &str| {
            tracing::debug!(%location, "{why}; the table is read from its commits");
            Error::NotFound {
                path: location.to_string(),
                source: why.to_owned().into(),
            }
        };
        let Ok(hint) = serde_json::from_slice::<LastCheckpointHint>(&bytes) else {
            return Err(gone("the note of the last checkpoint is cut"));
        };
        // Checkpoints in several parts are other writers'; the library finds out itself whether all are there.
        if hint.parts.is_none() {
            let name = format!("{:020}.checkpoint.parquet", hint.version);
            let checkpoint: Path = location
                .parts()
                .take(location.parts_count() - 1)
                .chain([name.into()])
                .collect();
            let size = match self.inner.head(&checkpoint).await {
                Ok(meta) => Some(meta.size),
                Err(Error::NotFound { .. }) => None,
                Err(error) if is_of_damage(&error) => Some(0),
                Err(error) => return Err(error),
            };
            let is_whole =
                self.checkpoints
                    .is_whole(self.inner.as_ref(), &checkpoint, size.unwrap_or(0));
            if !is_whole.await? {
                let lost = LostCheckpoint {
                    version: hint.version,
                    is_there: size.is_some(),
                };
                tracing::debug!(%location, "{lost}; the table is read from its commits");
                return Err(Error::NotFound {
                    path: location.to_string(),
                    source: Box::new(lost),
                });
            }
        }
        Ok(result(meta, attributes, range, bytes))
    }
}

/// The checkpoint that `_last_checkpoint` names, where it is missing or cut: why that file is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostCheckpoint {
    pub(crate) version: u64,
    /// True if it is cut, false if it is missing.
    pub(crate) is_there: bool,
}

impl std::fmt::Display for LostCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.is_there { "cut" } else { "missing" };
        write!(
            f,
            "the last checkpoint, of version {}, is {what}",
            self.version
        )
    }
}

impl std::error::Error for LostCheckpoint {}

/// Errors unless the commit file is whole, and the one of its version: each of its lines an action, as many as it says it has, made for the version
/// that its name says, and with the checksum that it says. Of another program, or an older version of this one, it says none of them.
pub(crate) fn check_commit(version: Option<u64>, bytes: &[u8]) -> std::result::Result<(), String> {
    /// First line of a commit file.
    #[derive(Deserialize)]
    struct CommitFirstLine {
        #[serde(rename = "commitInfo")]
        info: Option<CommitStatement>,
    }
    /// Number of lines and version, from a commit's `commitInfo`.
    #[derive(Default, Deserialize)]
    struct CommitStatement {
        #[serde(rename = "tillhouseLines")]
        lines: Option<usize>,
        #[serde(rename = "tillhouseVersion")]
        version: Option<u64>,
    }
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty());
    let Some(first) = lines.next() else {
        return Err("it is empty".to_owned());
    };
    let cut = |_| "it ends in the middle of a line".to_owned();
    let declared = serde_json::from_slice::<CommitFirstLine>(first)
        .map_err(cut)?
        .info
        .unwrap_or_default();
    let (mut count, mut last) = (1, first);
    let mut is_foreign = !names_action(first);
    for line in lines {
        is_foreign |= !names_action(line);
        (count, last) = (count + 1, line);
    }
    // The lines between are parsed by the library, which says what it cannot read. Of what is no action it says nothing.
    serde_json::from_slice::<serde::de::IgnoredAny>(last).map_err(cut)?;
    let other = declared
        .version
        .filter(|declared| version.is_some_and(|version| version != *declared));
    match (declared.lines, other) {
        (Some(declared), _) if declared != count => {
            Err(format!("it has {count} lines of {declared}"))
        }
        _ if is_foreign => Err("one of its lines is no action".to_owned()),
        (_, Some(other)) => Err(format!("it is the commit of version {other}")),
        _ if !json_seal::is_sound(bytes) => Err("it is not what was written".to_owned()),
        _ => Ok(()),
    }
}

/// The version in the name of a commit file or a checkpoint.
pub(crate) fn version_of(name: &str) -> Option<u64> {
    let (version, _) = name.split_once('.')?;
    let is_plain = version.len() == 20 && version.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| version.parse().ok()).flatten()
}

/// True if a line begins as an action of the Delta format does.
fn names_action(line: &[u8]) -> bool {
    const ACTIONS: [&[u8]; 10] = [
        b"add",
        b"remove",
        b"commitInfo",
        b"txn",
        b"metaData",
        b"protocol",
        b"cdc",
        b"domainMetadata",
        b"checkpointMetadata",
        b"sidecar",
    ];
    let Some(line) = line.trim_ascii_start().strip_prefix(b"{") else {
        return false;
    };
    let Some(name) = line.trim_ascii_start().strip_prefix(b"\"") else {
        return false;
    };
    ACTIONS.iter().any(|action| {
        name.strip_prefix(*action)
            .is_some_and(|rest| rest.starts_with(b"\""))
    })
}

/// As [`check_commit`], with each line parsed as the action it is; the number of the first that is none.
pub(crate) fn check_lines(version: u64, bytes: &[u8]) -> std::result::Result<(), String> {
    check_commit(Some(version), bytes)?;
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        // A commit's own description is free; the rest has types.
        let is_sound = line.is_empty()
            || match line.starts_with(b"{\"commitInfo\"") {
                true => serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok(),
                false => serde_json::from_slice::<deltalake::kernel::Action>(line).is_ok(),
            };
        if !is_sound {
            return Err(format!("line {} is no action", number + 1));
        }
    }
    Ok(())
}

/// True if the store says of a file that it is damaged: it is none.
fn is_of_damage(error: &Error) -> bool {
    error.to_string().contains(DAMAGED)
}

fn damaged(location: &Path, why: &str) -> Error {
    let text = format!("the commit file /{location}{DAMAGED}{why}");
    Error::Generic {
        store: STORE,
        source: text.into(),
    }
}

/// A part of a data file; where its footer is in it, that is what was written.
async fn checked_footer(location: &Path, found: GetResult) -> Result<GetResult> {
    let (size, range) = (found.meta.size, found.range.clone());
    let is_end = range.end == size;
    if !is_end && range.end + footer::TRAILER as u64 != size {
        return Ok(found);
    }
    let (meta, attributes) = (found.meta.clone(), found.attributes.clone());
    let bytes = found.bytes().await?;
    let is_sound = if is_end {
        footer::is_sound(&bytes)
    } else {
        footer::is_sound_footer(&bytes) && !footer::hides_checksum(&bytes)
    };
    if !is_sound {
        return Err(damaged_footer(location));
    }
    Ok(result(meta, attributes, range, bytes))
}

fn damaged_footer(location: &Path) -> Error {
    let text = format!("the data file /{location} is damaged: its footer is not what was written");
    Error::Generic {
        store: STORE,
        source: text.into(),
    }
}

/// A part of a file, and where it is in it.
fn part_of(whole: &Bytes, wanted: Option<&GetRange>) -> Result<(Range<u64>, Bytes)> {
    let all = 0..whole.len() as u64;
    let range = match wanted {
        Some(range) => range.as_range(all.end).map_err(|e| Error::Generic {
            store: STORE,
            source: Box::new(e),
        })?,
        None => all,
    };
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
    let part = whole.slice(place(range.start)..place(range.end));
    Ok((range, part))
}

/// A large checkpoint on its way: it is sealed once all of it is there.
#[derive(Debug)]
struct CheckpointUpload {
    inner: Arc<dyn ObjectStore>,
    location: Path,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for CheckpointUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.extend(data);
        Box::pin(futures::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let sealed = checkpoint_seal::sealed(std::mem::take(&mut self.parts));
        self.inner.put(&self.location, sealed).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

fn result(
    meta: ObjectMeta,
    attributes: object_store::Attributes,
    range: Range<u64>,
    bytes: Bytes,
) -> GetResult {
    let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
    GetResult {
        payload,
        meta,
        range,
        attributes,
    }
}

impl CheckpointCache {
    /// From now on a checkpoint of that path and size is used, or is passed over as one that is cut.
    pub(crate) fn trust(&self, location: Path, size: u64, is_trusted: bool) {
        self.trusted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((location, size), is_trusted);
    }

    /// The next reader of a checkpoint asks the store for it.
    pub(crate) fn read_again(&self) {
        self.keep_checked(None);
    }

    fn checked(&self) -> Option<CheckedCheckpoint> {
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.clone()
    }

    fn keep_checked(&self, checked: Option<CheckedCheckpoint>) {
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = checked;
    }

    async fn is_whole(&self, store: &dyn ObjectStore, location: &Path, size: u64) -> Result<bool> {
        let key = (location.clone(), size);
        let known = self
            .trusted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let is_whole = location.extension() != Some("parquet")
            || ends_as_parquet(store, location, size).await?;
        self.trust(key.0, key.1, is_whole);
        Ok(is_whole)
    }
}

/// True if a file ends as one of Parquet does, with a footer that has room in it.
async fn ends_as_parquet(store: &dyn ObjectStore, location: &Path, size: u64) -> Result<bool> {
    const END: u64 = 8;
    if size < 4 + END {
        return Ok(false);
    }
    let end = match store.get_range(location, size - END..size).await {
        Ok(end) => end,
        Err(Error::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some((length, magic)) = end.split_first_chunk::<4>() else {
        return Ok(false);
    };
    Ok(magic == MAGIC && u64::from(u32::from_le_bytes(*length)) + END + 4 <= size)
}

#[async_trait]
impl ObjectStore for LogGuard {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        if LogFileKind::of(location) != LogFileKind::Checkpoint {
            return self.inner.put_opts(location, payload, opts).await;
        }
        self.checkpoints.keep_checked(None);
        let sealed = checkpoint_seal::sealed(payload);
        self.inner.put_opts(location, sealed, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if LogFileKind::of(location) != LogFileKind::Checkpoint {
            return self.inner.put_multipart_opts(location, opts).await;
        }
        self.checkpoints.keep_checked(None);
        Ok(Box::new(CheckpointUpload {
            inner: Arc::clone(&self.inner),
            location: location.clone(),
            parts: Vec::new(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let file = LogFileKind::of(location);
        if options.head || file == LogFileKind::Other {
            return self.inner.get_opts(location, options).await;
        }
        if file == LogFileKind::Checkpoint {
            return self.checkpoint_part(location, options).await;
        }
        if file == LogFileKind::Data {
            return checked_footer(location, self.inner.get_opts(location, options).await?).await;
        }
        let wanted = options.range.clone();
        let found = self
            .inner
            .get_opts(
                location,
                GetOptions {
                    range: None,
                    ..options
                },
            )
            .await;
        if file == LogFileKind::LastCheckpoint {
            return match found {
                // The table is read from its commits.
                Err(error) if is_of_damage(&error) => Err(Error::NotFound {
                    path: location.to_string(),
                    source: Box::new(error),
                }),
                found => self.last_checkpoint(location, found?).await,
            };
        }
        let found = found?;
        let (meta, attributes) = (found.meta.clone(), found.attributes.clone());
        let bytes = found.bytes().await?;
        let version = location.filename().and_then(version_of);
        check_commit(version, &bytes).map_err(|why| damaged(location, &why))?;
        let (range, bytes) = part_of(&bytes, wanted.as_ref())?;
        Ok(result(meta, attributes, range, bytes))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if LogFileKind::of(location) == LogFileKind::Checkpoint
            && let Some(whole) = self.checked_checkpoint(location).await?.whole
        {
            let parts = ranges
                .iter()
                .map(|range| part_of(&whole, Some(&GetRange::Bounded(range.clone()))));
            return parts.map(|part| part.map(|(_, part)| part)).collect();
        }
        let parts = self.inner.get_ranges(location, ranges).await?;
        // Nobody says here how long the file is: its end is told by the format's letters, its footer by what it says of itself.
        let is_damaged = |part: &Bytes| {
            if part.ends_with(MAGIC) {
                !footer::is_sound(part)
            } else {
                !footer::is_sound_footer(part)
            }
        };
        if LogFileKind::of(location) == LogFileKind::Data && parts.iter().any(is_damaged) {
            return Err(damaged_footer(location));
        }
        Ok(parts)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.sifted(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.sifted(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
#[path = "log_guard_tests.rs"]
mod tests;
