//! One Delta table as this crate sees it: its newest version, its data files with their statistics, its `txn` marks.
//!
//! Invariant: a [`Snapshot`] never changes; what it lists is exactly what its version holds. State is read incrementally, so that a
//! sync of many packages does not replay the log again for each.

use crate::log::data_file::{DataFile, from_log};
use crate::log::figures::TableFigures;
use crate::log::file_statistics::FileStatistics;
use crate::log::recent_keys::RecentKeys;
use crate::log::remedy::{remedy, replace_file};
use arrow::datatypes::SchemaRef;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_with};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError};
use object_store::ObjectStore;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tokio::sync::Mutex;

/// One version of a table.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub version: u64,
    pub files: Arc<Vec<DataFile>>,
    /// Statistics of the files, in their order.
    pub statistics: Arc<FileStatistics>,
    pub state: DeltaTableState,
}

impl Snapshot {
    /// The Arrow schema of the table.
    pub(crate) fn schema(&self) -> Result<SchemaRef> {
        let schema: arrow::datatypes::Schema =
            self.state.schema().as_ref().try_into_arrow().or_error(
                ErrorKind::Storage,
                "a table has columns of a kind this version cannot read",
            )?;
        Ok(Arc::new(schema))
    }
}

/// The log state of a table that this process has read, its newest snapshot and its watermarks.
#[derive(Default)]
struct TableCache {
    table: Option<DeltaTable>,
    snapshot: Option<Snapshot>,
    /// `txn` versions by app id, valid at that table version.
    watermarks: (u64, HashMap<String, i64>),
}

/// Handle of a Delta table, shared by all handles of one warehouse.
pub(crate) struct TableHandle {
    path: String,
    log_store: LogStoreRef,
    cached: Mutex<TableCache>,
    /// Figures of versions, as runs record them.
    expected: StdMutex<BTreeMap<u64, Vec<TableFigures>>>,
    recent: StdMutex<RecentKeys>,
}

impl TableHandle {
    pub(crate) fn new(
        path: &str,
        root_store: Arc<dyn ObjectStore>,
        url: &url::Url,
    ) -> Result<Self> {
        let log_store = logstore_with(root_store, url, StorageConfig::default()).or_error(
            ErrorKind::Config,
            "the warehouse's location cannot hold tables",
        )?;
        let (cached, expected, recent) =
            (Mutex::default(), StdMutex::default(), StdMutex::default());
        Ok(Self {
            path: path.to_owned(),
            log_store,
            cached,
            expected,
            recent,
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
        let error = Error::new(ErrorKind::Storage, what)
            .at("table", &self.path)
            .because(error);
        match is_damaged {
            false => error,
            true => error.hint(replace_file(&self.path)),
        }
    }

    /// The newest version; `None` where there is no table yet.
    pub(crate) async fn latest(&self) -> Result<Option<Snapshot>> {
        let mut cached = self.cached.lock().await;
        self.refresh(&mut cached).await?;
        Ok(cached.snapshot.clone())
    }

    async fn refresh(&self, cached: &mut TableCache) -> Result<()> {
        let mut table = match cached.table.take() {
            Some(table) => table,
            None => {
                // Asked first: on a local disk the library takes a folder that is not there for a failure.
                let there = self.log_store.is_delta_table_location().await;
                if !there.map_err(|e| self.storage_error("a table's folder cannot be listed", e))? {
                    cached.snapshot = None;
                    return Ok(());
                }
                DeltaTable::new(self.log_store.clone())
            }
        };
        match table.update_state().await {
            Ok(()) => {}
            Err(DeltaTableError::NotATable(_)) => {
                cached.snapshot = None;
                return Ok(());
            }
            Err(error) => return Err(self.unreadable_log(error).await),
        }
        let state = table
            .snapshot()
            .map_err(|e| self.storage_error("a table's log cannot be read", e))?
            .clone();
        let version = state.version();
        if cached
            .snapshot
            .as_ref()
            .is_none_or(|s| s.version != version)
        {
            cached.snapshot = Some(self.snapshot(version, state)?);
        }
        cached.table = Some(table);
        Ok(())
    }

    fn snapshot(&self, version: u64, state: DeltaTableState) -> Result<Snapshot> {
        let adds = state
            .add_actions_table(true)
            .map_err(|e| self.storage_error("a table's files cannot be listed", e))?;
        Ok(Snapshot {
            version,
            files: Arc::new(from_log(&adds, state.metadata().partition_columns())?),
            statistics: Arc::new(FileStatistics::from_log(&adds)),
            state,
        })
    }

    /// A log that cannot be read, and what to do about it.
    pub(crate) fn log_error(&self, error: DeltaTableError) -> Error {
        self.storage_error("a table's log cannot be read", error)
            .hint(replace_file(&self.path))
    }

    /// A run says this of a version: from now on it is compared.
    pub(crate) fn expect(&self, version: u64, figures: TableFigures) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let known = expected.entry(version).or_default();
        if !known.contains(&figures) {
            known.push(figures);
        }
    }

    /// Nothing that a run says of it is compared any more.
    pub(crate) fn expect_nothing(&self) {
        self.expected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The newest version; `None` where there is no table yet.
    ///
    /// Errors with [`ErrorKind::Storage`] when it is older than the one that a published run names.
    pub(crate) async fn newest(&self) -> Result<Option<Snapshot>> {
        let latest = self.latest().await?;
        let named = self
            .expected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .next_back()
            .copied();
        match named {
            Some(named) if latest.as_ref().is_none_or(|latest| latest.version < named) => {
                self.at(named).await
            }
            _ => Ok(latest),
        }
    }

    /// A version, compared with what a published run says of it. Never `None`.
    ///
    /// Errors with [`ErrorKind::Storage`] when the table or the version is gone or never was, or is not what it was when it was published.
    pub(crate) async fn at(&self, version: u64) -> Result<Option<Snapshot>> {
        let Some(snapshot) = self.unchecked(version).await? else {
            return Err(
                Error::new(ErrorKind::Storage, "a table of the warehouse is gone")
                    .at("table", &self.path)
                    .at("version", version.to_string())
                    .hint(remedy(&self.path)),
            );
        };
        let expected = self
            .expected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&version)
            .cloned();
        let found = TableFigures::of(&snapshot);
        match expected
            .into_iter()
            .flatten()
            .find(|expected| *expected != found)
        {
            None => Ok(Some(snapshot)),
            Some(expected) => Err(Error::new(
                ErrorKind::Storage,
                "a table is not what it was when it was published",
            )
            .at("table", &self.path)
            .at("version", version.to_string())
            .at("published", expected.to_string())
            .at("found", found.to_string())
            .hint(remedy(&self.path))),
        }
    }

    /// An earlier version, whatever it holds.
    pub(crate) async fn unchecked(&self, version: u64) -> Result<Option<Snapshot>> {
        let Some(latest) = self.latest().await? else {
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
        let mut table = DeltaTable::new(self.log_store.clone());
        if let Err(error) = table.load_version(version).await {
            return Err(self
                .unreadable_log(error)
                .await
                .at("version", version.to_string()));
        }
        let state = table
            .snapshot()
            .map_err(|e| self.storage_error("a table's log cannot be read", e))?
            .clone();
        self.snapshot(version, state).map(Some)
    }

    /// The version of an app id's `txn` action at the snapshot; `None` where there is none.
    pub(crate) async fn watermark(&self, snapshot: &Snapshot, app_id: &str) -> Result<Option<i64>> {
        {
            let cached = self.cached.lock().await;
            if cached.watermarks.0 == snapshot.version
                && let Some(mark) = cached.watermarks.1.get(app_id)
            {
                return Ok(Some(*mark));
            }
        }
        let mark = snapshot
            .state
            .transaction_version(self.log_store.as_ref(), app_id)
            .await
            .map_err(|e| self.storage_error("a table's progress cannot be read", e))?;
        if let Some(mark) = mark {
            let mut cached = self.cached.lock().await;
            if cached.watermarks.0 != snapshot.version {
                cached.watermarks = (snapshot.version, HashMap::new());
            }
            cached.watermarks.1.insert(app_id.to_owned(), mark);
        }
        Ok(mark)
    }

    /// Carries the known marks over to the version this process has just committed, so that they need not be read again.
    pub(crate) async fn committed(&self, version: u64, marks: &[(String, i64)]) {
        let mut cached = self.cached.lock().await;
        if cached.watermarks.0 + 1 != version {
            cached.watermarks = (version, HashMap::new());
        }
        cached.watermarks.0 = version;
        for (app_id, mark) in marks {
            cached.watermarks.1.insert(app_id.clone(), *mark);
        }
    }

    /// Writes a checkpoint when the table is due for one. It is apart from the commit, which is durable already: a failure is
    /// logged and the next one due makes up for it.
    pub(crate) async fn checkpoint_if_due(&self, version: u64) {
        if version == 0 || !version.is_multiple_of(10) {
            return;
        }
        let state = match self.at(version).await {
            Ok(Some(snapshot)) => snapshot.state,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(table = %self.path, version, %error, "no checkpoint written");
                return;
            }
        };
        let mut table = DeltaTable::new(self.log_store.clone());
        table.state = Some(state);
        if let Err(error) = deltalake::checkpoints::create_checkpoint(&table, None).await {
            tracing::warn!(table = %self.path, version, %error, "no checkpoint written");
        }
    }

    /// Keys of the table's files, as far as this process knows them.
    pub(crate) fn recent_keys(&self) -> MutexGuard<'_, RecentKeys> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
