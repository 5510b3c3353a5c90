//! The tables of a warehouse by their path: one handle each, the store beneath them all, and the clock.
//!
//! Invariant: no I/O before a table is asked something. All handles of one warehouse share what was read of a table's log.

use crate::log::base_run::BaseRun;
use crate::log::table::TableHandle;
use crate::store::durable::LOG_FOLDER;
use crate::store::log_guard::{CheckpointCache, LogGuard};
use crate::store::misplaced::{self, Misplaced};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::ObjectStore;
use object_store::path::Path;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_model::{Error, ErrorKind, Result};

/// Tables that are opened side by side.
pub(crate) const OPENED: usize = 32;
/// Tables of a run that are opened side by side: all of them as a rule, each by one short listing.
const OPENED_FOR_RUN: usize = 128;

/// Source of the current time of a warehouse: runs read, publish and decide what is past by it.
pub type WarehouseClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Shared state of the handles of a warehouse.
pub(crate) struct TableRegistry {
    url: url::Url,
    clock: WarehouseClock,
    /// Rooted where the URL's path begins, and guarded.
    store: Arc<dyn ObjectStore>,
    /// The same, not guarded.
    unguarded: Arc<dyn ObjectStore>,
    checkpoints: Arc<CheckpointCache>,
    prefix: Path,
    tables: Mutex<HashMap<String, Arc<TableHandle>>>,
    /// True while no other process changes what this one asks tables for.
    is_held: Arc<AtomicBool>,
    /// The newest published run, as far as this process knows.
    base_run: BaseRun,
    /// Paths of the tables that the run which holds the warehouse will ask for.
    of_run: Mutex<Vec<String>>,
}

impl TableRegistry {
    /// The tables below a path of a store.
    pub(crate) fn new(url: url::Url, store: LogGuard, prefix: Path, clock: WarehouseClock) -> Self {
        let (tables, is_held) = (Mutex::default(), Arc::default());
        Self {
            url,
            clock,
            checkpoints: Arc::clone(store.checkpoints()),
            unguarded: Arc::clone(store.inner()),
            store: Arc::new(store),
            prefix,
            tables,
            is_held,
            base_run: BaseRun::default(),
            of_run: Mutex::default(),
        }
    }

    /// The same place by another clock, with nothing read of it yet.
    pub(crate) fn with_clock(&self, clock: WarehouseClock) -> Self {
        Self {
            url: self.url.clone(),
            clock,
            store: Arc::clone(&self.store),
            unguarded: Arc::clone(&self.unguarded),
            checkpoints: Arc::clone(&self.checkpoints),
            prefix: self.prefix.clone(),
            tables: Mutex::default(),
            is_held: Arc::default(),
            base_run: BaseRun::default(),
            of_run: Mutex::default(),
        }
    }

    /// From now on no other process changes what this one asks tables for; it will ask for these. What was seen of tables before may have changed since.
    pub(crate) fn hold(&self, tables: Vec<String>) {
        *self.of_run.lock().unwrap_or_else(PoisonError::into_inner) = tables;
        self.look_again();
        self.is_held.store(true, Relaxed);
    }

    /// True while no other process changes what this one asks tables for.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held.load(Relaxed)
    }

    /// The run that commits say was published when they were made.
    pub(crate) fn base_run(&self) -> &BaseRun {
        &self.base_run
    }

    /// From now on every table is asked for news once more: others have written what this process has not seen.
    pub(crate) fn look_again(&self) {
        let known = self.known_tables();
        known.iter().for_each(|table| table.is_overtaken());
    }

    /// Opens tables for a run, those of its own among them, which asks for all of them once it holds the warehouse; others open those they are asked about. What fails is told to
    /// whoever asks for that table.
    pub(crate) async fn open_for_run(&self, paths: impl Iterator<Item = &str>) {
        if !self.is_held() {
            return;
        }
        let mut all: BTreeSet<String> = paths.map(str::to_owned).collect();
        {
            let of_run = self.of_run.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(of_run.iter().cloned());
        }
        let tables: Vec<_> = all
            .iter()
            .filter_map(|path| self.table(path).ok())
            .collect();
        let opened = stream::iter(tables).map(async |table| drop(table.latest().await));
        opened
            .buffer_unordered(OPENED_FOR_RUN)
            .for_each(async |()| {})
            .await;
    }

    /// The time by the warehouse's clock.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The warehouse's root, with a trailing slash.
    pub(crate) fn url(&self) -> &url::Url {
        &self.url
    }

    /// Place of the warehouse in its store.
    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The tables that exist in the schemas that are wanted, as (schema, table), sorted.
    pub(crate) async fn tables_in(
        &self,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, String)>> {
        let failed = |e: object_store::Error| {
            Error::new(ErrorKind::Storage, "the warehouse cannot be listed")
                .at("warehouse", self.url.as_str())
                .because(e)
        };
        let folders = |path: Path| async move {
            let root = Some(&path).filter(|p| !p.as_ref().is_empty());
            let listed = self.store.list_with_delimiter(root).await.map_err(failed)?;
            Ok::<_, Error>(listed.common_prefixes)
        };
        let mut found = Vec::new();
        for schema in folders(self.prefix.clone()).await? {
            let Some(name) = schema.filename().map(ToOwned::to_owned) else {
                continue;
            };
            if !is_wanted(&name) || name.starts_with('.') {
                continue;
            }
            let tables = folders(schema).await?;
            let logged: Vec<Option<String>> = stream::iter(tables)
                .map(|table| async move {
                    let log = table.clone().join(LOG_FOLDER);
                    let has_log = self
                        .store
                        .list(Some(&log))
                        .next()
                        .await
                        .transpose()
                        .map_err(failed)?
                        .is_some();
                    Ok::<_, Error>(table.filename().filter(|_| has_log).map(ToOwned::to_owned))
                })
                .buffered(4)
                .try_collect()
                .await?;
            found.extend(
                logged
                    .into_iter()
                    .flatten()
                    .map(|table| (name.clone(), table)),
            );
        }
        found.sort();
        Ok(found)
    }

    /// The shared handle of a table's log.
    pub(crate) fn table(&self, path: &str) -> Result<Arc<TableHandle>> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(path) {
            return Ok(table.clone());
        }
        let mut url = self.url.clone();
        {
            let mut segments = url
                .path_segments_mut()
                .map_err(|()| Error::config("the warehouse's URL cannot have tables below it"))?;
            segments.pop_if_empty().extend(path.split('/')).push("");
        }
        let table = Arc::new(TableHandle::new(
            path,
            (Arc::clone(&self.store), Arc::clone(&self.unguarded)),
            &url,
            Arc::clone(&self.checkpoints),
            (Arc::clone(&self.is_held), self.base_run.clone()),
        )?);
        tables.insert(path.to_owned(), table.clone());
        Ok(table)
    }

    /// The tables that this process has asked for something.
    pub(crate) fn known_tables(&self) -> Vec<Arc<TableHandle>> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.values().cloned().collect()
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// What stands in the place of a file below the warehouse, or on the way to it, on a disk, and does not belong there.
    pub(crate) fn misplaced(&self, file: &str) -> Option<Misplaced> {
        let root = (self.url.scheme() == "file").then(|| self.url.to_file_path().ok());
        misplaced::on_way_to_file(&root.flatten()?, file)
    }

    pub(crate) fn below(&self, path: &str) -> Path {
        path.split('/')
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }
}
