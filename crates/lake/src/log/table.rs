//! One Delta table as this crate sees it: its newest version, and what is known of it without reading its log.
//!
//! Invariant: what is handed out is a version that is in the log. State is read incrementally, by the commits that have come since, so
//! that a sync of many packages does not replay the log again for each; what a published run keeps of a table is taken only while the
//! commit file it stands for is the one it was.

use crate::log::base_run::BaseRun;
use crate::log::damage::LogFiles;
use crate::log::figures::TableFigures;
use crate::log::recent_keys::RecentKeys;
use crate::log::remedy::{remedy, replace_file};
use crate::log::snapshot::{CommitStamp, Snapshot, StoredSnapshot};
use crate::log::table_version::TableVersion;
use crate::store::denied::{LET_READ, is_denied};
use crate::store::durable::LOG_FOLDER;
use crate::store::failure::is_store_failure;
use crate::store::log_guard::{CheckpointCache, version_of};
use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_factories, logstore_with};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tokio::sync::Mutex;

/// Makes the library take a cloud's URL as it takes a folder's: its plain log store, which puts a commit file if there is none, serves every store
/// that keeps that condition.
fn know_scheme(url: &url::Url) {
    let scheme_of = |scheme: &str| url::Url::parse(&format!("{scheme}://")).ok();
    let (Some(own), Some(folders)) = (scheme_of(url.scheme()), scheme_of("file")) else {
        return;
    };
    let known = logstore_factories();
    if known.contains_key(&own) {
        return;
    }
    let plain = known
        .get(&folders)
        .map(|factory| Arc::clone(factory.value()));
    if let Some(plain) = plain {
        known.insert(own, plain);
    }
}

/// Versions between two checkpoints, as a rule.
pub(super) const CHECKPOINT_EVERY: u64 = 10;
/// Bytes that a checkpoint has at least.
const LEAST_CHECKPOINT: u64 = 12;

/// Handle of a Delta table, shared by all handles of one warehouse.
pub(crate) struct TableHandle {
    path: String,
    log_store: LogStoreRef,
    /// The store as it is, rooted where the URL's path begins: it lists checkpoints that are cut too, and asks nothing about them.
    pub(super) unguarded: Arc<dyn ObjectStore>,
    /// The newest version that this process has seen.
    newest: Mutex<Option<Snapshot>>,
    /// A version as a published run keeps it, until the table is opened.
    offered: StdMutex<Option<Arc<StoredSnapshot>>>,
    /// Figures of versions, as runs record them.
    expected: StdMutex<BTreeMap<TableVersion, Vec<TableFigures>>>,
    recent: StdMutex<RecentKeys>,
    /// True once what a published run keeps of it did not hold.
    is_offer_refused: AtomicBool,
    has_lost_versions: AtomicBool,
    /// Reason that nothing that it holds is gone on with, and a version that is not used again.
    forsaken: StdMutex<Option<(String, u64)>>,
    pub(super) checkpoints: Arc<CheckpointCache>,
    /// True while no other process changes what this one asks tables for.
    is_held: Arc<AtomicBool>,
    /// The newest published run, as far as this process knows.
    pub(super) base_run: BaseRun,
    /// True if there was no such table when this process looked.
    is_missing: AtomicBool,
    /// True once another process has committed what this one has not seen.
    is_behind: AtomicBool,
}

/// The end of a table's log, from the checkpoint before a version on.
struct LogTail {
    /// That version's commit; `None` where it is not there.
    commit: Option<CommitStamp>,
    /// The newest commit there is.
    newest: u64,
    /// False where a commit between the newest checkpoint and the newest commit is missing or empty; `None` where no checkpoint was listed.
    is_whole: Option<bool>,
}

impl TableHandle {
    pub(crate) fn new(
        path: &str,
        (root_store, unguarded): (Arc<dyn ObjectStore>, Arc<dyn ObjectStore>),
        url: &url::Url,
        checkpoints: Arc<CheckpointCache>,
        (is_held, base_run): (Arc<AtomicBool>, BaseRun),
    ) -> Result<Self> {
        know_scheme(url);
        let log_store = logstore_with(root_store, url, StorageConfig::default()).or_error(
            ErrorKind::Config,
            "the warehouse's location cannot hold tables",
        )?;
        Ok(Self {
            path: path.to_owned(),
            log_store,
            unguarded,
            newest: Mutex::default(),
            offered: StdMutex::default(),
            expected: StdMutex::default(),
            recent: StdMutex::default(),
            is_offer_refused: AtomicBool::new(false),
            has_lost_versions: AtomicBool::new(false),
            forsaken: StdMutex::default(),
            checkpoints,
            is_held,
            base_run,
            is_missing: AtomicBool::new(false),
            is_behind: AtomicBool::new(false),
        })
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn log_store(&self) -> &LogStoreRef {
        &self.log_store
    }

    /// The store below the table's root.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        self.log_store.object_store(None)
    }

    pub(crate) fn storage_error(
        &self,
        what: &str,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        let text = error.to_string();
        let is_damaged = [
            "damaged",
            "delta log",
            "Json error",
            "Parquet error",
            "Invalid",
        ]
        .iter()
        .any(|word| text.contains(word));
        let is_damaged = is_damaged && !is_store_failure(&error);
        let error = Error::new(ErrorKind::Storage, what)
            .at("table", &self.path)
            .because(error);
        match is_damaged {
            _ if is_denied(&error.to_string()) => error.hint(LET_READ),
            false => error,
            true => error.hint(replace_file(&self.path)),
        }
    }

    /// A published run keeps this of the table: whoever opens that version need not read the log.
    pub(crate) fn offer(&self, stored: StoredSnapshot) {
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        *offered = Some(Arc::new(stored));
    }

    pub(super) fn offered(&self) -> Option<Arc<StoredSnapshot>> {
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        offered.clone()
    }

    fn refuse_offer(&self) {
        self.is_offer_refused.store(true, Relaxed);
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        *offered = None;
    }

    /// The newest version; `None` where there is no table yet.
    ///
    /// While the warehouse is held, what this process has seen or made is the newest, until a commit is lost to another one.
    pub(crate) async fn latest(&self) -> Result<Option<Snapshot>> {
        let mut newest = self.newest.lock().await;
        let is_known = newest.is_some() || self.is_missing.load(Relaxed);
        if self.is_held.load(Relaxed) && !self.is_behind.swap(false, Relaxed) && is_known {
            return Ok(newest.clone());
        }
        // What was not there may be by now: where it cannot be read it is looked for again.
        self.is_missing.store(false, Relaxed);
        let next = match newest.take() {
            Some(known) => self.followed(known, None).await?,
            None => match self.opened_as_offered().await? {
                Some(found) => Some(found),
                None => self.read_by_library().await?,
            },
        };
        self.check_place_behind(next.as_ref())?;
        self.is_missing.store(next.is_none(), Relaxed);
        newest.clone_from(&next);
        Ok(next)
    }

    /// The newest version that this process has seen or made; no request.
    pub(crate) async fn seen(&self) -> Option<Snapshot> {
        self.newest.lock().await.clone()
    }

    /// The newest version by what a published run keeps of the table and the commits since; `None` where it keeps nothing that holds.
    async fn opened_as_offered(&self) -> Result<Option<Snapshot>> {
        let Some(offered) = self.offered() else {
            return Ok(None);
        };
        let tail = self.tail(offered.version).await?;
        let is_as_offered = tail.commit.is_some() && tail.commit == offered.stamp;
        // Other readers need the commits before it, and so does the next checkpoint: the library says which is missing.
        if !is_as_offered || tail.is_whole != Some(true) {
            self.refuse_offer();
            return Ok(None);
        }
        let Some(found) = self.opened(&offered) else {
            return Ok(None);
        };
        self.followed(found, Some(tail.newest)).await
    }

    fn opened(&self, offered: &StoredSnapshot) -> Option<Snapshot> {
        self.used(offered.open())
    }

    /// Version that a run keeps of the table, unless it cannot be used.
    fn used(&self, opened: Result<Snapshot>) -> Option<Snapshot> {
        match opened {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                tracing::debug!(table = %self.path, %error, "what a run keeps of the table cannot be used: its log is read");
                self.refuse_offer();
                None
            }
        }
    }

    /// End of the log, from the checkpoint before a version on, in one request; where it has none where it should be, of the whole log.
    async fn tail(&self, version: u64) -> Result<LogTail> {
        let start = version.saturating_sub(1) / CHECKPOINT_EVERY * CHECKPOINT_EVERY;
        let tail = self.tail_from(start, version).await?;
        match tail.is_whole {
            Some(_) => Ok(tail),
            None => self.tail_from(0, version).await,
        }
    }

    /// As [`TableHandle::tail`], from a version on.
    async fn tail_from(&self, start: u64, version: u64) -> Result<LogTail> {
        let failed = |e| self.unlisted("a table's log cannot be listed", e);
        let root = Path::from_url_path(self.log_store.root_url().path())
            .or_error(ErrorKind::Config, "a table's path is not possible")?;
        let log = root.join(LOG_FOLDER);
        // Before a checkpoint of that version, which sorts before its commit.
        let before = log.clone().join(format!("{start:020}.a"));
        let listed: Vec<_> = self
            .unguarded
            .list_with_offset(Some(&log), &before)
            .try_collect()
            .await
            .map_err(failed)?;
        let commits: BTreeMap<u64, CommitStamp> = listed
            .iter()
            .filter_map(|found| Some((commit_version(found.location.filename()?)?, found.into())))
            .collect();
        let least = |name: &str| match name.ends_with(".json") {
            true => 1,
            false => LEAST_CHECKPOINT,
        };
        let names = listed
            .iter()
            .filter_map(|found| Some((found.location.filename()?, found.size)));
        let whole: Vec<&str> = names
            .filter(|(name, size)| *size >= least(name))
            .map(|(name, _)| name)
            .collect();
        let mut files = LogFiles::of(whole.iter().copied());
        // Other writers' are in several parts, or have a name of their own: the library finds out itself whether all are there.
        let checkpoints = whole.iter().filter(|name| name.contains(".checkpoint."));
        files
            .checkpoints
            .extend(checkpoints.filter_map(|name| version_of(name)));
        let newest = commits.keys().next_back().copied().unwrap_or(version);
        Ok(LogTail {
            commit: commits.get(&version).cloned(),
            newest,
            is_whole: files.reach(start, newest),
        })
    }

    /// Errors where the newest version cannot be told from the log alone, whatever a published run keeps of the table, and where the log says
    /// other files than that run.
    pub(crate) async fn check_log(&self) -> Result<()> {
        let read = self.read_by_library().await?;
        self.check_place_behind(read.as_ref())?;
        let Some(read) = read else {
            return Ok(());
        };
        let kept = self.offered().filter(|kept| kept.version == read.version);
        match kept.and_then(|kept| kept.open().ok()) {
            Some(kept) if files_of(&kept) != files_of(&read) => Err(self.other_log(&kept).await),
            _ => Ok(()),
        }
    }

    /// A version and the commits since, up to `newest` where it is known, else as far as there are any.
    async fn followed(&self, known: Snapshot, newest: Option<u64>) -> Result<Option<Snapshot>> {
        let mut found = known;
        while newest.is_none_or(|newest| found.version < newest) {
            let commit = match self.commit_file(found.version + 1).await {
                Ok(Some(commit)) => commit,
                // Listed, and a commit before it is gone: the library says which.
                Ok(None) if newest.is_some() => return self.read_by_library().await,
                Ok(None) => break,
                Err(error) => return Err(self.unreadable_log(None, error.into()).await),
            };
            match found.after(&commit) {
                Ok(next) => found = next,
                Err(unfollowed) => {
                    tracing::debug!(table = %self.path, version = found.version + 1, why = unfollowed.0, "the log is read by the library");
                    return self.read_by_library().await;
                }
            }
        }
        // A log that has lost its end, or its folder, ends where nothing is found: so does one that is whole.
        Ok(Some(found))
    }

    pub(super) async fn commit_file(
        &self,
        version: u64,
    ) -> object_store::Result<Option<bytes::Bytes>> {
        let path = Path::from(LOG_FOLDER).join(commit_name(version));
        match self.store().get(&path).await {
            Ok(found) => found.bytes().await.map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest version, by the whole log.
    async fn read_by_library(&self) -> Result<Option<Snapshot>> {
        // Asked first: on a local disk the library takes a folder that is not there for a failure.
        let there = self.log_store.is_delta_table_location().await;
        if !there.map_err(|e| self.unlisted("a table's folder cannot be listed", e))? {
            return Ok(None);
        }
        let table = self.loaded(None).await?;
        table.map(|table| self.snapshot_of(&table)).transpose()
    }

    /// A version by the library, the newest where none is named; `None` where there is no table.
    pub(super) async fn load(
        &self,
        version: Option<u64>,
    ) -> std::result::Result<Option<DeltaTable>, DeltaTableError> {
        let mut table = DeltaTable::new(self.log_store.clone());
        let loaded = match version {
            Some(version) => table.load_version(version).await,
            None => table.load().await,
        };
        match loaded {
            Ok(()) => Ok(Some(table)),
            Err(DeltaTableError::NotATable(_)) if version.is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`TableHandle::load`]. A checkpoint that stands in the way is passed over, where the commits it stands for are there. Errors where the log is another
    /// table's.
    async fn loaded(&self, version: Option<u64>) -> Result<Option<DeltaTable>> {
        let found = self.load(version).await;
        let is_sound = match &found {
            Ok(None) => true,
            Ok(Some(table)) if !self.is_own(table) => false,
            // Far beyond the newest commit there is nothing: a checkpoint there is another table's. Next to it, the newest commit was lost.
            Ok(Some(table)) if version.is_none() => {
                let newest = self.state_of(table)?.version();
                self.stamp(newest).await?.is_some()
                    || self.stamp(newest.saturating_sub(1)).await?.is_some()
            }
            Ok(Some(_)) => true,
            Err(error) => is_store_failure(error),
        };
        if !is_sound
            && let Some(found) = self
                .past_checkpoints(version, |table| self.is_own(table))
                .await
        {
            return Ok(Some(found));
        }
        match found {
            Ok(Some(table)) if !self.is_own(&table) => Err(self.log_of_another(&table)),
            Ok(found) => Ok(found),
            Err(error) => Err(self.unreadable_log(version, error).await),
        }
    }

    /// A table's state as a version of it.
    pub(super) fn snapshot_of(&self, table: &DeltaTable) -> Result<Snapshot> {
        self.state_of(table).and_then(|state| self.read_by(state))
    }

    fn read_by(&self, state: DeltaTableState) -> Result<Snapshot> {
        Snapshot::of_library(state).map_err(|error| error.at("table", &self.path))
    }

    fn state_of(&self, table: &DeltaTable) -> Result<DeltaTableState> {
        table
            .snapshot()
            .cloned()
            .map_err(|e| self.storage_error("a table's log cannot be read", e))
    }

    /// A log that cannot be read, and what to do about it.
    pub(crate) fn log_error(&self, error: DeltaTableError) -> Error {
        let is_unread = is_store_failure(&error);
        let error = self.storage_error("a table's log cannot be read", error);
        match is_unread || is_denied(&error.to_string()) {
            true => error,
            false => error.hint(replace_file(&self.path)),
        }
    }

    /// A run says this of a version: from now on it is compared.
    pub(crate) fn expect(&self, version: &TableVersion, figures: TableFigures) {
        // Whoever goes on without lost versions has been told.
        if self.has_lost_versions() {
            return;
        }
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let known = expected.entry(version.clone()).or_default();
        if !known.contains(&figures) {
            known.push(figures);
        }
    }

    /// Nothing that a run says of it is compared any more.
    pub(crate) fn expect_nothing(&self) {
        self.refuse_offer();
        self.has_lost_versions.store(true, Relaxed);
        self.expected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The newest version; `None` where there is no table yet.
    ///
    /// Errors with [`ErrorKind::Storage`] when it is older than the one that a published run names, or that one is not what it was.
    pub(crate) async fn newest(&self) -> Result<Option<Snapshot>> {
        let latest = self.latest().await?;
        let named = self
            .expected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .next_back()
            .cloned();
        let Some(named) = named else {
            return Ok(latest);
        };
        match &latest {
            // A commit after it was not there when the run was published.
            Some(latest) if latest.version > named.version => {
                if self.is_offer_refused.load(Relaxed) {
                    self.at(&named).await?;
                }
            }
            Some(_) if !named.pinned.is_empty() => drop(self.at(&named).await?),
            _ => return self.at(&named).await,
        }
        Ok(latest)
    }

    /// A version, compared with what a published run says of it. Never `None`.
    ///
    /// Errors with [`ErrorKind::Storage`] when the table or the version is gone or never was, or is not what it was when it was published.
    pub(crate) async fn at(&self, version: &TableVersion) -> Result<Option<Snapshot>> {
        let expected = self
            .expected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(version)
            .cloned()
            .unwrap_or_default();
        let Some((snapshot, other)) = self.compared(version, &expected).await? else {
            return Err(
                Error::new(ErrorKind::Storage, "a table of the warehouse is gone")
                    .at("table", &self.path)
                    .at("version", version.to_string())
                    .hint(remedy(&self.path)),
            );
        };
        match other {
            None => Ok(Some(snapshot)),
            Some(expected) => Err(Error::new(
                ErrorKind::Storage,
                "a table is not what it was when it was published",
            )
            .at("table", &self.path)
            .at("version", version.to_string())
            .at("published", expected.to_string())
            .at("found", TableFigures::of(&snapshot).to_string())
            .hint(remedy(&self.path))),
        }
    }

    /// A version, and figures that are said of it and that it does not have; `None` where there is no table.
    pub(crate) async fn compared(
        &self,
        version: &TableVersion,
        expected: &[TableFigures],
    ) -> Result<Option<(Snapshot, Option<TableFigures>)>> {
        let Some(snapshot) = self.opened_as_named(version).await? else {
            return Ok(None);
        };
        let other = |snapshot: &Snapshot| {
            let found = TableFigures::of(snapshot);
            expected.iter().find(|figures| **figures != found).copied()
        };
        let Some(wrong) = other(&snapshot) else {
            return Ok(Some((snapshot, None)));
        };
        if !version.pinned.is_empty() {
            return Ok(Some((snapshot, Some(wrong))));
        }
        // Another table's checkpoint can be read as well as its own.
        let is_it = |table: &DeltaTable| {
            self.snapshot_of(table)
                .is_ok_and(|snapshot| other(&snapshot).is_none())
        };
        match self.past_checkpoints(Some(version.version), is_it).await {
            None => Ok(Some((snapshot, Some(wrong)))),
            Some(table) => {
                *self.newest.lock().await = None;
                self.refuse_offer();
                Ok(Some((self.snapshot_of(&table)?, None)))
            }
        }
    }

    /// An earlier version, whatever it holds.
    pub(crate) async fn unchecked(&self, version: u64) -> Result<Option<Snapshot>> {
        if let Some(found) = self.at_hand(version).await? {
            return Ok(Some(found));
        }
        let mut latest = self.latest().await?;
        if latest
            .as_ref()
            .is_none_or(|latest| latest.version < version)
        {
            // A run that holds its tables has not seen what other processes have published since.
            self.is_overtaken();
            latest = self.latest().await?;
        }
        let Some(latest) = latest else {
            return Ok(None);
        };
        if latest.version == version {
            return Ok(Some(latest));
        }
        if latest.version < version {
            return Err(
                Error::new(ErrorKind::Storage, "that version of the table is not there")
                    .at("table", &self.path)
                    .at("version", version.to_string())
                    .at("newest", latest.version.to_string())
                    .hint(remedy(&self.path)),
            );
        }
        self.by_library(version).await.map(Some)
    }

    /// A version with pinned pipelines that the published run keeps. One request, or none.
    pub(super) async fn kept(&self, named: &TableVersion) -> Result<Option<Snapshot>> {
        let Some(offered) = self.offered().filter(|offered| offered.named() == *named) else {
            return Ok(None);
        };
        let stamp = self.stamp(named.version).await?;
        if stamp.is_none() || stamp != offered.stamp {
            self.refuse_offer();
            return Ok(None);
        }
        Ok(self.used(offered.open_named()))
    }

    /// A version that needs no log: this process has it, or the published run keeps it. One request, or none.
    async fn at_hand(&self, version: u64) -> Result<Option<Snapshot>> {
        let mut newest = self.newest.lock().await;
        if let Some(known) = newest.as_ref().filter(|known| known.version == version) {
            return Ok(Some(known.clone()));
        }
        let Some(offered) = self.offered().filter(|offered| offered.version == version) else {
            return Ok(None);
        };
        let stamp = self.stamp(version).await?;
        if stamp.is_none() || stamp != offered.stamp {
            self.refuse_offer();
            return Ok(None);
        }
        let found = self.opened(&offered);
        if newest.is_none() {
            newest.clone_from(&found);
        }
        Ok(found)
    }

    /// Stamp of a version's commit file; `None` where it is not there.
    pub(super) async fn stamp(&self, version: u64) -> Result<Option<CommitStamp>> {
        let path = Path::from(LOG_FOLDER).join(commit_name(version));
        match self.store().head(&path).await {
            Ok(found) => Ok(Some((&found).into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.unlisted("a table's log cannot be read", error)),
        }
    }

    pub(super) async fn at_version_by_library(&self, version: u64) -> Result<DeltaTable> {
        let loaded = self.loaded(Some(version)).await;
        loaded
            .and_then(|table| table.ok_or_else(|| Error::internal("a version is no table")))
            .map_err(|error| error.at("version", version.to_string()))
    }

    /// The version of an app id's `txn` action at the snapshot; `None` where there is none.
    pub(crate) async fn watermark(&self, snapshot: &Snapshot, app_id: &str) -> Result<Option<i64>> {
        if let Some(known) = snapshot.known_mark(app_id) {
            return Ok(known);
        }
        let mut newest = self.newest.lock().await;
        let same = |known: &&mut Snapshot| known.version == snapshot.version;
        if let Some(known) = newest
            .as_mut()
            .filter(same)
            .and_then(|n| n.known_mark(app_id))
        {
            return Ok(known);
        }
        let base = match snapshot.base() {
            Some(base) => Arc::clone(base),
            None => {
                let table = self.at_version_by_library(snapshot.version).await?;
                Arc::new(self.state_of(&table)?)
            }
        };
        let mark = base
            .transaction_version(self.log_store.as_ref(), app_id)
            .await
            .map_err(|e| self.storage_error("a table's progress cannot be read", e))?;
        if let Some(known) = newest.as_mut().filter(same) {
            known.learn_mark(app_id, mark);
        }
        Ok(mark)
    }

    /// Takes a commit of this process over, by its content, so that it need not be read again. The `stamp` is that of its file, as far as the store
    /// told it.
    pub(crate) async fn committed(&self, on: &Snapshot, commit: &[u8], stamp: Option<CommitStamp>) {
        let mut newest = self.newest.lock().await;
        let base = match newest.as_ref() {
            // It knows marks that were found out since.
            Some(known) if known.version == on.version => known.clone(),
            Some(known) if known.version > on.version => return,
            _ => on.clone(),
        };
        match base.after(commit) {
            Ok(mut next) => {
                next.stamp = stamp;
                *newest = Some(next);
            }
            Err(unfollowed) => {
                self.is_overtaken();
                tracing::debug!(table = %self.path, why = unfollowed.0, "a commit is read again");
            }
        }
    }

    /// Another process has committed what this one has not seen, or may have.
    pub(crate) fn is_overtaken(&self) {
        self.is_behind.store(true, Relaxed);
    }

    /// Its folder was moved away: nothing that this process has seen of it counts any more.
    pub(crate) async fn was_moved(&self) {
        self.refuse_offer();
        *self.newest.lock().await = None;
        self.is_missing.store(false, Relaxed);
    }

    /// The first version of a table that this process has just made.
    pub(crate) async fn created(&self, first: Snapshot) {
        let mut newest = self.newest.lock().await;
        newest.get_or_insert(first);
        self.is_missing.store(false, Relaxed);
    }

    /// Nothing that it holds is gone on with, for a reason. Versions up to that one are not used again.
    pub(crate) fn forsake(&self, why: String, version: u64) {
        self.expect_nothing();
        let mut forsaken = self.forsaken.lock().unwrap_or_else(PoisonError::into_inner);
        *forsaken = Some((why, version));
    }

    /// The reason why nothing that it holds is gone on with, and a version that is not used again.
    pub(crate) fn forsaken(&self) -> Option<(String, u64)> {
        let forsaken = self.forsaken.lock().unwrap_or_else(PoisonError::into_inner);
        forsaken.clone()
    }

    /// The first version of a table that this process has begun anew.
    pub(super) async fn began_anew(&self, first: Snapshot) {
        self.expect_nothing();
        *self.newest.lock().await = Some(first);
        self.is_missing.store(false, Relaxed);
        let mut forsaken = self.forsaken.lock().unwrap_or_else(PoisonError::into_inner);
        *forsaken = None;
    }

    /// Data files of a version that are not there, or not as long as the log says. One request a thousand files.
    pub(crate) async fn lost_files(&self, snapshot: &Snapshot) -> Result<Vec<String>> {
        let store = self.store();
        let listed = store
            .list(None)
            .map_ok(|found| (found.location, found.size));
        let there: HashMap<Path, u64> = listed
            .try_collect()
            .await
            .map_err(|error| self.storage_error("a table cannot be listed", error))?;
        let is_there =
            |path: &str, size| Path::parse(path).is_ok_and(|path| there.get(&path) == Some(&size));
        // One that is shown in parts is told once.
        let mut told = HashSet::new();
        let files = snapshot.files.iter();
        let lost = files
            .filter(|file| !is_there(&file.path, file.size) && told.insert(file.path.as_str()));
        Ok(lost.map(|file| file.path.clone()).collect())
    }

    /// True if the table goes on without versions that an earlier run names.
    pub(crate) fn has_lost_versions(&self) -> bool {
        self.has_lost_versions.load(Relaxed)
    }

    pub(super) async fn by_library(&self, version: u64) -> Result<Snapshot> {
        let table = self.at_version_by_library(version).await?;
        self.snapshot_of(&table)
    }

    /// The newest version this process knows of, without asking the store; `None` where it has read nothing, or is reading.
    pub(crate) fn known(&self) -> Option<Snapshot> {
        self.newest.try_lock().ok()?.clone()
    }

    /// Keys of the table's files, as far as this process knows them.
    pub(crate) fn recent_keys(&self) -> MutexGuard<'_, RecentKeys> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of a version, with their sizes and rows.
pub(super) fn files_of(snapshot: &Snapshot) -> BTreeSet<(String, u64, Option<u64>)> {
    let files = snapshot.files.iter();
    files
        .map(|file| (file.path.clone(), file.size, file.rows))
        .collect()
}

/// The name of a version's commit file.
pub(crate) fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

pub(crate) fn commit_version(name: &str) -> Option<u64> {
    version_of(name).filter(|version| *name == commit_name(*version))
}
