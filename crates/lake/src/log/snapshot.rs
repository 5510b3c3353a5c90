//! One version of a table: what its log adds up to, commit by commit.
//!
//! Invariant: a [`Snapshot`] never changes, and lists exactly what its version holds. It comes out the same from a commit of ours as it was
//! put, from one that is read back, and from the whole log as the Delta library reads it. What a commit says that this module does not know
//! is [`Unfollowed`], and the library reads the table anew.

use crate::log::comments::uncommented;
use crate::log::data_file::{DataFile, ShownPipelines, decoded};
use crate::log::file_statistics::FileStatistics;
use crate::log::table_version::TableVersion;
use arrow::datatypes::{Schema, SchemaRef};
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::{Metadata, Protocol, StructType};
use deltalake::table::state::DeltaTableState;
use object_store::{ObjectMeta, PutResult};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use tillhouse_model::table::PIPELINE;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Newest version of the writers' protocol that commits of this program fit.
const WRITER_VERSION: i32 = 2;

/// Version of the readers' protocol of tables that this program reads.
const READER_VERSION: i32 = 1;
/// Advice on a table that another program gave features that this one does not know.
pub(crate) const FOREIGN_FEATURES: &str = "Another program changed the table's Delta protocol. Put the table's files back from a copy; where there is none, move its folder \
     away and run `tillhouse sync --full` for a source table, `tillhouse rebuild` for a unified one.";

/// Description of a table: the features it asks for, its columns and its properties.
#[derive(Debug)]
pub(crate) struct TableDescription {
    pub protocol: Protocol,
    pub metadata: Metadata,
    /// Its columns.
    pub schema: SchemaRef,
}

impl TableDescription {
    pub(crate) fn try_new(protocol: Protocol, metadata: Metadata) -> Result<Self> {
        // Names of columns and rows of files mean something else there.
        if protocol.min_reader_version() > READER_VERSION {
            return Err(Error::new(
                ErrorKind::Storage,
                "a table asks for features this version does not read",
            )
            .hint(FOREIGN_FEATURES));
        }
        let unknown = "a table has columns of a kind this version cannot read";
        let columns: StructType =
            serde_json::from_str(metadata.schema_string()).or_error(ErrorKind::Storage, unknown)?;
        let schema: Schema = (&columns)
            .try_into_arrow()
            .or_error(ErrorKind::Storage, unknown)?;
        Ok(Self {
            protocol,
            metadata,
            schema: Arc::new(uncommented(&schema)),
        })
    }
}

/// Pipelines whose rows have changed since a version, each with the last version that changed them.
#[derive(Debug, Default)]
struct RowChanges {
    since: u64,
    last: BTreeMap<String, u64>,
}

/// `txn` versions that are known, by app id; `None` where it is known that there is none.
type Marks = BTreeMap<String, Option<i64>>;

/// One version of a table.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub version: u64,
    /// Those of the newest commit first.
    pub files: Arc<Vec<DataFile>>,
    /// Statistics of the files, in their order.
    pub statistics: Arc<FileStatistics>,
    pub description: Arc<TableDescription>,
    marks: Arc<Marks>,
    /// True if there are no other marks than those.
    knows_all_marks: bool,
    /// Stamp of its commit file, where it was asked for.
    pub stamp: Option<CommitStamp>,
    /// The version that brought or removed rows last, or a later one: commits since have only put the same rows into other files.
    pub rows_since: u64,
    /// Changes of rows by pipeline, as far as commits were followed one by one.
    changes: Arc<RowChanges>,
    /// An earlier version as the library read it, where the log was read: it tells of marks that are not known here.
    base: Option<Arc<DeltaTableState>>,
}

/// Stamp that tells a commit file from another one in its place, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitStamp {
    bytes: u64,
    e_tag: Option<String>,
}

impl From<&ObjectMeta> for CommitStamp {
    fn from(meta: &ObjectMeta) -> Self {
        Self {
            bytes: meta.size,
            e_tag: meta.e_tag.as_deref().map(of_any_copy).map(str::to_owned),
        }
    }
}

impl CommitStamp {
    /// Stamp of a file of so many bytes by the store's answer to whoever put it; `None` where that told no tag.
    pub(crate) fn of_put(bytes: u64, put: &PutResult) -> Option<Self> {
        let e_tag = put.e_tag.as_deref().map(of_any_copy)?;
        Some(Self {
            bytes,
            e_tag: Some(e_tag.to_owned()),
        })
    }
}

/// The part of a tag that a copy of the file has too, made with its times. A disk's is the number of the file, its time and its size; no cloud's looks so.
fn of_any_copy(e_tag: &str) -> &str {
    let is_hex = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    match e_tag.split_once('-') {
        Some((number, rest))
            if is_hex(number) && rest.split('-').count() == 2 && rest.split('-').all(is_hex) =>
        {
            rest
        }
        _ => e_tag,
    }
}

/// A commit that says something this module does not know, with what that is.
#[derive(Debug)]
pub(crate) struct Unfollowed(pub String);

/// One line of a commit file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommitLine {
    add: Option<AddLine>,
    remove: Option<RemoveLine>,
    meta_data: Option<Metadata>,
    protocol: Option<Protocol>,
    txn: Option<TransactionLine>,
    cdc: Option<IgnoredAny>,
    domain_metadata: Option<IgnoredAny>,
    sidecar: Option<IgnoredAny>,
}

/// A data file that a commit adds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AddLine {
    path: String,
    size: u64,
    partition_values: BTreeMap<String, Option<String>>,
    stats: Option<String>,
    #[serde(default = "changes_rows")]
    data_change: bool,
    deletion_vector: Option<IgnoredAny>,
}

/// A data file that a commit takes out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RemoveLine {
    path: String,
    #[serde(default = "changes_rows")]
    data_change: bool,
    deletion_vector: Option<IgnoredAny>,
}

/// Default of actions that do not say if rows change.
fn changes_rows() -> bool {
    true
}

/// Progress of an application.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransactionLine {
    app_id: String,
    version: i64,
}

impl Snapshot {
    /// A version from its parts.
    pub(crate) fn new(version: u64, files: Vec<DataFile>, description: TableDescription) -> Self {
        Self::with_files(version, files, Arc::new(description))
    }

    /// The version that a table begins with: it has no files, and no mark of anybody.
    pub(crate) fn first(version: u64, description: TableDescription) -> Self {
        Self {
            knows_all_marks: true,
            ..Self::new(version, Vec::new(), description)
        }
    }

    fn with_files(version: u64, files: Vec<DataFile>, description: Arc<TableDescription>) -> Self {
        let files = Arc::new(files);
        let statistics = FileStatistics::new(Arc::clone(&files), Arc::clone(&description.schema));
        Self {
            version,
            files,
            statistics: Arc::new(statistics),
            description,
            marks: Arc::default(),
            knows_all_marks: false,
            stamp: None,
            rows_since: version,
            changes: Arc::new(RowChanges {
                since: version,
                ..RowChanges::default()
            }),
            base: None,
        }
    }

    /// The pipelines whose rows have changed since an earlier version; `None` where the commits since were not followed one by one. Rows that were
    /// only put into other files have not changed.
    pub(crate) fn changed_since(&self, version: u64) -> Option<BTreeSet<&str>> {
        let RowChanges { since, last } = self.changes.as_ref();
        (version >= *since).then(|| {
            let later = last.iter().filter(|(_, last)| **last > version);
            later.map(|(pipeline, _)| pipeline.as_str()).collect()
        })
    }

    /// True if files hold rows of several pipelines, as those of roll-ups do.
    fn is_mixed(&self) -> bool {
        let mut partitions = self.partition_columns().iter();
        let has_pipelines = self.description.schema.index_of(PIPELINE).is_ok();
        has_pipelines && !partitions.any(|column| column == PIPELINE)
    }

    /// The files that hold rows of a pipeline, of which they show no others.
    pub(crate) fn files_of(&self, pipeline: &str) -> Vec<DataFile> {
        let files = self.files.iter();
        match self.is_mixed() {
            false => files.filter(|file| file.is_of(pipeline)).cloned().collect(),
            true => files
                .filter(|file| file.may_hold_text(PIPELINE, pipeline))
                .map(|file| file.clone().showing(only(pipeline)))
                .collect(),
        }
    }

    /// The same version with other files of some pipelines.
    pub(crate) fn with_files_of(&self, pinned: BTreeMap<&str, Vec<DataFile>>) -> Self {
        let mut files: Vec<DataFile> = match self.is_mixed() {
            false => {
                let is_own = |file: &&DataFile| {
                    let pipeline = file.partition_value(PIPELINE);
                    pipeline.is_none_or(|pipeline| !pinned.contains_key(pipeline))
                };
                self.files.iter().filter(is_own).cloned().collect()
            }
            true => {
                let hidden = pinned.keys().map(|pipeline| (*pipeline).to_owned());
                let others = ShownPipelines::But(Arc::new(hidden.collect()));
                let files = self.files.iter().cloned();
                files.map(|file| file.showing(others.clone())).collect()
            }
        };
        files.extend(pinned.into_values().flatten());
        Self {
            version: self.version,
            marks: Arc::clone(&self.marks),
            knows_all_marks: self.knows_all_marks,
            stamp: self.stamp.clone(),
            base: self.base.clone(),
            ..Self::with_files(self.version, files, Arc::clone(&self.description))
        }
    }

    /// The version that the library has read.
    pub(crate) fn of_library(state: DeltaTableState) -> Result<Self> {
        let description =
            TableDescription::try_new(state.protocol().clone(), state.metadata().clone())?;
        let mut files = Vec::new();
        for view in state.log_data().iter() {
            if view.deletion_vector_descriptor().is_some() {
                return Err(Error::new(
                    ErrorKind::Storage,
                    "a table has rows that are deleted by vectors, which this version does not read",
                )
                .at("file", view.path().as_ref()));
            }
            let partition = description
                .metadata
                .partition_columns()
                .iter()
                .map(|column| (column.clone(), None))
                .chain(view.partition_values_map())
                .collect();
            files.push(DataFile::listed(
                view.path().into_owned(),
                u64::try_from(view.size()).unwrap_or_default(),
                partition,
                view.stats(),
            ));
        }
        let mut snapshot = Self::new(state.version(), files, description);
        snapshot.base = Some(Arc::new(state));
        Ok(snapshot)
    }

    /// The Arrow schema of the table.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.description.schema)
    }

    /// The columns whose values the files' folders name.
    pub(crate) fn partition_columns(&self) -> &[String] {
        self.description.metadata.partition_columns()
    }

    /// True if commits of this program fit what the table asks its writers for.
    pub(crate) fn is_writable(&self) -> bool {
        self.description.protocol.min_writer_version() <= WRITER_VERSION
    }

    /// An earlier version as the library read it.
    pub(crate) fn base(&self) -> Option<&Arc<DeltaTableState>> {
        self.base.as_ref()
    }

    /// An app id's mark as far as it is known: outside `None` where nothing is.
    pub(crate) fn known_mark(&self, app_id: &str) -> Option<Option<i64>> {
        let known = self.marks.get(app_id).copied();
        known.or_else(|| self.knows_all_marks.then_some(None))
    }

    /// Keeps what was found out of an app id's mark.
    pub(crate) fn learn_mark(&mut self, app_id: &str, mark: Option<i64>) {
        Arc::make_mut(&mut self.marks).insert(app_id.to_owned(), mark);
    }

    /// The version after a commit, by the content of its file.
    pub(crate) fn after(&self, commit: &[u8]) -> std::result::Result<Self, Unfollowed> {
        let (mut protocol, mut metadata) = (None, None);
        let (mut added, mut removed) = (Vec::new(), HashSet::new());
        let mut marks = Arc::clone(&self.marks);
        let mut rows_change = false;
        // Of added files their pipelines, of removed ones their paths.
        let (mut changed, mut unnamed) = (BTreeSet::new(), HashSet::new());
        let unknown = |what: &str| Unfollowed(what.to_owned());
        let lines = commit
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty());
        for line in lines {
            let line: CommitLine =
                serde_json::from_slice(line).map_err(|error| Unfollowed(error.to_string()))?;
            if line.cdc.is_some() || line.domain_metadata.is_some() || line.sidecar.is_some() {
                return Err(unknown("an action of a feature that is not used here"));
            }
            if let Some(add) = line.add {
                rows_change |= add.data_change;
                if add.data_change {
                    let pipeline = add.partition_values.get(PIPELINE).cloned().flatten();
                    changed.extend(pipeline);
                }
                if add.deletion_vector.is_some() {
                    return Err(unknown("a deletion vector"));
                }
                let partition = add
                    .partition_values
                    .into_iter()
                    .map(|(column, value)| (column, value.filter(|value| !value.is_empty())))
                    .collect();
                let path = decoded(&add.path);
                added.push(DataFile::listed(path, add.size, partition, add.stats));
            }
            if let Some(remove) = line.remove {
                rows_change |= remove.data_change;
                if remove.deletion_vector.is_some() {
                    return Err(unknown("a deletion vector"));
                }
                let path = decoded(&remove.path);
                if remove.data_change {
                    unnamed.insert(path.clone());
                }
                removed.insert(path);
            }
            protocol = line.protocol.or(protocol);
            metadata = line.meta_data.or(metadata);
            if let Some(mark) = line.txn {
                Arc::make_mut(&mut marks).insert(mark.app_id, Some(mark.version));
            }
        }
        let description = match (protocol, metadata) {
            (None, None) => Arc::clone(&self.description),
            (protocol, metadata) => Arc::new(
                TableDescription::try_new(
                    protocol.unwrap_or_else(|| self.description.protocol.clone()),
                    metadata.unwrap_or_else(|| self.description.metadata.clone()),
                )
                .map_err(|error| Unfollowed(error.to_string()))?,
            ),
        };
        let of_removed = self.files.iter();
        let of_removed = of_removed.filter(|file| unnamed.contains(&file.path));
        let of_removed = of_removed.filter_map(|file| file.partition_value(PIPELINE));
        changed.extend(of_removed.map(str::to_owned));
        let new: HashSet<String> = added.iter().map(|file| file.path.clone()).collect();
        let stays = |file: &&DataFile| !removed.contains(&file.path) && !new.contains(&file.path);
        let files = match added.is_empty() && removed.is_empty() {
            true => None,
            false => {
                added.extend(self.files.iter().filter(stays).cloned());
                Some(added)
            }
        };
        let mut next = match files {
            Some(files) => Self::with_files(self.version + 1, files, description),
            None => Self {
                version: self.version + 1,
                description,
                ..self.clone()
            },
        };
        (next.marks, next.knows_all_marks) = (marks, self.knows_all_marks);
        next.base = self.base.clone();
        next.stamp = None;
        next.changes = match changed.is_empty() {
            true => Arc::clone(&self.changes),
            false => {
                let mut last = self.changes.last.clone();
                last.extend(changed.into_iter().map(|pipeline| (pipeline, next.version)));
                Arc::new(RowChanges {
                    since: self.changes.since,
                    last,
                })
            }
        };
        next.rows_since = if rows_change {
            next.version
        } else {
            self.rows_since
        };
        Ok(next)
    }
}

fn only(pipeline: &str) -> ShownPipelines {
    ShownPipelines::Only(pipeline.to_owned())
}

/// A version of a table as the note of a published run keeps it, so that a reader need not read the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredSnapshot {
    pub version: u64,
    protocol: Protocol,
    metadata: Metadata,
    /// Stamp of its commit file.
    pub stamp: Option<CommitStamp>,
    #[serde(default)]
    marks: Marks,
    /// True if there are no other marks than those.
    #[serde(default)]
    knows_all_marks: bool,
    files: Vec<StoredFile>,
    /// Pipelines of which the run shows another version, with the files of that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pinned: BTreeMap<String, PinnedFiles>,
}

/// Files of a pipeline that is pinned.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PinnedFiles {
    version: Option<u64>,
    files: Vec<StoredFile>,
}

/// A data file of a [`StoredSnapshot`].
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredFile {
    path: String,
    size: u64,
    partition: BTreeMap<String, Option<String>>,
    stats: Option<String>,
}

impl From<&DataFile> for StoredFile {
    fn from(file: &DataFile) -> Self {
        Self {
            path: file.path.clone(),
            size: file.size,
            partition: file.partition.clone(),
            stats: file.stats().map(str::to_owned),
        }
    }
}

impl StoredFile {
    fn open(&self) -> DataFile {
        let (partition, stats) = (self.partition.clone(), self.stats.clone());
        DataFile::listed(self.path.clone(), self.size, partition, stats)
    }
}

impl From<&Snapshot> for StoredSnapshot {
    fn from(snapshot: &Snapshot) -> Self {
        let files = snapshot.files.iter().map(StoredFile::from);
        Self {
            version: snapshot.version,
            protocol: snapshot.description.protocol.clone(),
            metadata: snapshot.description.metadata.clone(),
            stamp: snapshot.stamp.clone(),
            marks: (*snapshot.marks).clone(),
            knows_all_marks: snapshot.knows_all_marks,
            files: files.collect(),
            pinned: BTreeMap::new(),
        }
    }
}

impl StoredSnapshot {
    /// The version as a run names it: with the files of pinned pipelines as `shown` has them.
    pub(crate) fn with_pinned(mut self, named: &TableVersion, shown: &Snapshot) -> Self {
        let pinned = named.pinned.iter().map(|(pipeline, version)| {
            let files = shown.files.iter().filter(|file| file.shows_only(pipeline));
            let files = PinnedFiles {
                version: *version,
                files: files.map(StoredFile::from).collect(),
            };
            (pipeline.clone(), files)
        });
        self.pinned = pinned.collect();
        self
    }

    /// Keeps the marks too that are known of the same version.
    pub(crate) fn learn_marks(&mut self, seen: &Snapshot) {
        let news = seen
            .marks
            .iter()
            .map(|(app_id, mark)| (app_id.clone(), *mark));
        self.marks.extend(news);
        self.knows_all_marks |= seen.knows_all_marks;
    }

    /// The version as the run names it that keeps this.
    pub(crate) fn named(&self) -> TableVersion {
        let pinned = self.pinned.iter();
        TableVersion {
            version: self.version,
            pinned: pinned
                .map(|(pipeline, files)| (pipeline.clone(), files.version))
                .collect(),
        }
    }

    /// The version as the run names it that keeps this, ready to be read.
    pub(crate) fn open_named(&self) -> Result<Snapshot> {
        let opened = self.open()?;
        let is_mixed = opened.is_mixed();
        let pinned = self.pinned.iter().map(|(pipeline, pinned)| {
            let files = pinned.files.iter().map(StoredFile::open);
            let files = files.map(|file| match is_mixed {
                true => file.showing(only(pipeline)),
                false => file,
            });
            (pipeline.as_str(), files.collect())
        });
        Ok(opened.with_files_of(pinned.collect()))
    }

    /// The table's version, whatever pipelines are pinned.
    pub(crate) fn open(&self) -> Result<Snapshot> {
        let description = TableDescription::try_new(self.protocol.clone(), self.metadata.clone())?;
        let files = self.files.iter().map(StoredFile::open).collect();
        let mut snapshot = Snapshot::new(self.version, files, description);
        snapshot.marks = Arc::new(self.marks.clone());
        snapshot.knows_all_marks = self.knows_all_marks;
        snapshot.stamp.clone_from(&self.stamp);
        Ok(snapshot)
    }
}
