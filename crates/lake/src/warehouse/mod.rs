//! The warehouse: one place on storage that holds every table, and the handles to them.
//!
//! Invariant: a handle does no I/O until it is asked something; all state lives on storage. Handles of one [`Warehouse`] share what
//! they have read of a table's log.

pub(crate) mod integrity;
mod probe;

use crate::log::table::TableHandle;
use crate::ops::tables::{OpsTables, RunRecord};
use crate::source::table::SourceTable;
use crate::store::durable::{DiskObserver, LOG_FOLDER, LocalDisk};
use crate::store::log_guard::LogGuard;
use crate::table_provider::provider;
use crate::unified::table::UnifiedTable;
use crate::warehouse::integrity::TableFigures;
use arrow::datatypes::SchemaRef;
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::execution::runtime_env::RuntimeEnv;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, TableSpec};

/// The format of warehouses this version writes and reads.
pub const FORMAT_VERSION: u32 = 2;
const FORMAT_FILE: &str = "ops/format/format.json";
/// So much may the clocks of machines that share a warehouse differ.
pub(crate) const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);
/// Folders of the root that hold no source tables.
const RESERVED: [&str; 3] = ["unified", "statistics", "ops"];

/// URL and store options of a warehouse.
#[derive(Clone)]
pub struct WarehouseLocation {
    /// A path (relative ones count from the current folder) or a `file://` URL.
    pub url: String,
    /// Options of the object store. They may hold credentials, so they are never printed.
    pub options: BTreeMap<String, String>,
}

impl std::fmt::Debug for WarehouseLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Location")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// One warehouse. A cheap handle.
#[derive(Clone)]
pub struct Warehouse {
    inner: Arc<WarehouseInner>,
}

impl std::fmt::Debug for Warehouse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Warehouse")
            .field("url", &self.inner.url.as_str())
            .finish_non_exhaustive()
    }
}

/// Source of the current time of a warehouse: runs read, publish and decide what is past by it.
/// When a run reads and publishes, and what it holds for past, goes by the one of its warehouse.
pub type WarehouseClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Shared state of the handles of a warehouse.
struct WarehouseInner {
    url: url::Url,
    clock: WarehouseClock,
    /// Rooted where the URL's path begins.
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    tables: Mutex<HashMap<String, Arc<TableHandle>>>,
    /// True if it was said that the newest run lies in the future.
    warned: AtomicBool,
}

/// A table at one version, ready to be read.
pub struct OpenTable {
    /// Its path below the warehouse, `hecone/transactions`.
    pub path: String,
    /// The Delta version that is pinned.
    pub version: u64,
    /// The Arrow schema a reader sees.
    pub schema: SchemaRef,
    /// The table, for a query engine.
    pub provider: Arc<dyn TableProvider>,
    /// Its size.
    pub figures: TableFigures,
}

/// Content of the format file.
#[derive(Serialize, Deserialize)]
struct WarehouseFormat {
    format_version: u32,
}

impl Warehouse {
    /// Opens a warehouse. Nothing is written, also where there is none yet: [`Warehouse::prepare`] makes one.
    ///
    /// Errors with [`ErrorKind::Config`] when the place holds something else, when its kind of storage is not supported, or when its
    /// format is not this version's.
    pub async fn open(location: &WarehouseLocation) -> Result<Self> {
        let (store, url) = storage(location, None)?;
        Self::open_on(store, url).await
    }

    /// As [`Warehouse::open`], on a disk that tells of every step that changes it; for tests that cut the power between two of them.
    pub async fn open_watched(location: &WarehouseLocation, witness: DiskObserver) -> Result<Self> {
        let (store, url) = storage(location, Some(witness))?;
        Self::open_on(store, url).await
    }

    /// Opens a warehouse on a store that is rooted where the URL's path begins; for tests that watch or disturb the store.
    pub async fn open_on(store: Arc<dyn ObjectStore>, url: url::Url) -> Result<Self> {
        let prefix = Path::from_url_path(url.path())
            .or_error(ErrorKind::Config, "the warehouse's path is not possible")?;
        let store = Arc::new(LogGuard::new(store));
        let clock: WarehouseClock = Arc::new(Timestamp::now);
        let (tables, warned) = (Mutex::default(), AtomicBool::new(false));
        let warehouse = Self {
            inner: Arc::new(WarehouseInner {
                url,
                clock,
                store,
                prefix,
                tables,
                warned,
            }),
        };
        if !warehouse.has_format().await? {
            warehouse.refuse_foreign().await?;
        }
        Ok(warehouse)
    }

    /// The same warehouse by another clock; for tests of clocks that are wrong.
    pub fn with_clock(&self, clock: WarehouseClock) -> Self {
        let (url, prefix, store) = (
            self.inner.url.clone(),
            self.inner.prefix.clone(),
            Arc::clone(&self.inner.store),
        );
        let (tables, warned) = (Mutex::default(), AtomicBool::new(false));
        Self {
            inner: Arc::new(WarehouseInner {
                url,
                clock,
                store,
                prefix,
                tables,
                warned,
            }),
        }
    }

    /// The time by the warehouse's clock: this machine's, unless a test handed in another.
    pub fn now(&self) -> Timestamp {
        (self.inner.clock)()
    }

    /// Says once that the newest run lies in the future.
    pub(crate) fn warn_of_run(&self, run: &RunRecord) {
        let now = self.now();
        if run.finished_at > now.saturating_add(CLOCKS_DIFFER).unwrap_or(now)
            && !self.inner.warned.swap(true, Relaxed)
        {
            tracing::warn!(
                "the newest run, {}, ended at {}, which is still to come: the clock of this machine, or of the one that ran it, is wrong. \
                 What it read does not count as read, and the next sync reads it again.",
                run.run_id,
                run.finished_at,
            );
        }
    }

    /// Makes the warehouse, in an empty place, before anything is written into it.
    pub async fn prepare(&self) -> Result<()> {
        if self.has_format().await? {
            return Ok(());
        }
        self.refuse_foreign().await?;
        let format = serde_json::to_vec(&WarehouseFormat {
            format_version: FORMAT_VERSION,
        })
        .or_error(
            ErrorKind::Internal,
            "the warehouse's format cannot be written",
        )?;
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        match self
            .inner
            .store
            .put_opts(&self.below(FORMAT_FILE), format.into(), options)
            .await
        {
            Ok(_) => Ok(()),
            // Another creator was faster: does it write what this version reads?
            Err(object_store::Error::AlreadyExists { .. }) => self.has_format().await.map(drop),
            Err(error) => Err(self.not_created(error)),
        }
    }

    /// True if the place is a warehouse of this version's format. Errors where it is one of
    /// another.
    async fn has_format(&self) -> Result<bool> {
        let file = self.below(FORMAT_FILE);
        let failed = |e: object_store::Error| {
            Error::new(ErrorKind::Storage, "the warehouse cannot be read")
                .at("warehouse", self.inner.url.as_str())
                .because(e)
        };
        match self.inner.store.get(&file).await {
            Ok(found) => {
                let bytes = found.bytes().await.map_err(failed)?;
                let format: WarehouseFormat = serde_json::from_slice(&bytes).map_err(|error| {
                    Error::new(
                        ErrorKind::Storage,
                        "ops/format/format.json does not say the warehouse's format",
                    )
                    .at("warehouse", self.inner.url.as_str())
                    .because(error)
                    .hint(format!(
                        "It holds one line and nothing else; where this version wrote the warehouse, it is \
                         {{\"format_version\":{FORMAT_VERSION}}}. Bring it back from a backup, or write it anew."
                    ))
                })?;
                self.judge(&format).map(|()| true)
            }
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    fn judge(&self, format: &WarehouseFormat) -> Result<()> {
        let found = format.format_version;
        if found == FORMAT_VERSION {
            return Ok(());
        }
        let error = Error::config(format!(
            "the warehouse has format {found}, this version of tillhouse works with {FORMAT_VERSION}"
        ))
        .at("warehouse", self.inner.url.as_str());
        Err(if found > FORMAT_VERSION {
            error.hint("A newer tillhouse wrote it: use that one, or a newer one.")
        } else {
            error.hint(
                "An older tillhouse wrote it. Set `warehouse.url` to a new folder and run `tillhouse sync`, which reads everything \
                 again from `sync.start`; what the provider no longer has stays in the old folder, for the older tillhouse.",
            )
        })
    }

    fn not_created(&self, error: object_store::Error) -> Error {
        Error::new(ErrorKind::Storage, "the warehouse cannot be created")
            .at("warehouse", self.inner.url.as_str())
            .because(error)
            .hint("Check that the folder can be written to.")
    }

    /// A place that is no warehouse may become one only if nothing else is in it.
    async fn refuse_foreign(&self) -> Result<()> {
        let root = Some(&self.inner.prefix).filter(|p| !p.as_ref().is_empty());
        let listed = self
            .inner
            .store
            .list_with_delimiter(root)
            .await
            .map_err(|e| self.not_created(e))?;
        let names = listed
            .common_prefixes
            .iter()
            .chain(listed.objects.iter().map(|o| &o.location));
        // Dot files (a file manager's, a version control's) are nobody's data. `ops` may be another creator's, this instant.
        let foreign = names
            .filter_map(|path| path.filename())
            .find(|name| !name.starts_with('.') && *name != "ops");
        match foreign {
            Some(name) => Err(Error::config("the folder is not empty and is no warehouse")
                .at("warehouse", self.inner.url.as_str())
                .at("found", name)
                .hint(
                    "Name an empty or a new folder as warehouse.url in tillhouse.yaml. If this was a warehouse, it has lost its folder ops: \
                     put that back from a copy.",
                )),
            None => Ok(()),
        }
    }

    /// Registers the warehouse's checked store with a query engine, which would open files by
    /// itself otherwise. By itself the engine would open files of its own.
    pub fn register_store(&self, runtime: &RuntimeEnv) {
        let mut root = self.inner.url.clone();
        root.set_path("/");
        runtime.register_object_store(&root, Arc::clone(&self.inner.store));
    }

    /// The warehouse's root, with a trailing slash.
    pub fn url(&self) -> &url::Url {
        &self.inner.url
    }

    /// The history of one resource of one pipeline. No I/O; the table is made when something lands.
    pub fn source_table(&self, pipeline: &str, spec: Arc<TableSpec>) -> SourceTable {
        SourceTable {
            warehouse: self.clone(),
            path: format!("{pipeline}/{}", spec.name),
            spec,
        }
    }

    /// One unified table. No I/O; the table is made by the first step.
    pub fn unified_table(&self, spec: Arc<TableSpec>) -> UnifiedTable {
        UnifiedTable {
            warehouse: self.clone(),
            path: format!("unified/{}", spec.name),
            spec,
        }
    }

    /// The bookkeeping tables. No I/O.
    pub fn ops(&self) -> OpsTables {
        OpsTables {
            warehouse: self.clone(),
        }
    }

    /// Opens a table by its path (`hecone/transactions`, `unified/sites`, `ops/runs`) at a version, `None` for the latest. `None`
    /// where there is no such table.
    ///
    /// Errors with [`ErrorKind::Storage`] when that version is gone or never was, or does not hold what it did when it was published.
    pub async fn open_at(&self, path: &str, version: Option<u64>) -> Result<Option<OpenTable>> {
        let table = self.table(path)?;
        let snapshot = match version {
            Some(version) => table.at(version).await?,
            None => table.newest().await?,
        };
        let Some(snapshot) = snapshot else {
            return Ok(None);
        };
        let figures = TableFigures::of(&snapshot);
        let provider = provider(&table, &snapshot, None, None)?;
        Ok(Some(OpenTable {
            path: path.to_owned(),
            version: snapshot.version,
            schema: provider.schema(),
            provider,
            figures,
        }))
    }

    /// The source tables that exist, as (pipeline, resource), sorted.
    pub async fn source_tables(&self) -> Result<Vec<(String, String)>> {
        self.tables_of(|schema| !RESERVED.contains(&schema)).await
    }

    /// All tables that exist, as (schema, table), sorted.
    pub(crate) async fn tables(&self) -> Result<Vec<(String, String)>> {
        self.tables_of(|_| true).await
    }

    async fn tables_of(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>> {
        let failed = |e: object_store::Error| {
            Error::new(ErrorKind::Storage, "the warehouse cannot be listed")
                .at("warehouse", self.inner.url.as_str())
                .because(e)
        };
        let folders = |path: Path| async move {
            let root = Some(&path).filter(|p| !p.as_ref().is_empty());
            let listed = self
                .inner
                .store
                .list_with_delimiter(root)
                .await
                .map_err(failed)?;
            Ok::<_, Error>(listed.common_prefixes)
        };
        let mut found = Vec::new();
        for schema in folders(self.inner.prefix.clone()).await? {
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
                        .inner
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
        let mut tables = self
            .inner
            .tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(path) {
            return Ok(table.clone());
        }
        let mut url = self.inner.url.clone();
        {
            let mut segments = url
                .path_segments_mut()
                .map_err(|()| Error::config("the warehouse's URL cannot have tables below it"))?;
            segments.pop_if_empty().extend(path.split('/')).push("");
        }
        let table = Arc::new(TableHandle::new(path, self.inner.store.clone(), &url)?);
        tables.insert(path.to_owned(), table.clone());
        Ok(table)
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.inner.store
    }

    pub(crate) fn below(&self, path: &str) -> Path {
        path.split('/')
            .fold(self.inner.prefix.clone(), |path, part| path.join(part))
    }
}

impl WarehouseLocation {
    /// Checks what can be checked without touching the place. Errors with [`ErrorKind::Config`], naming the key.
    pub fn check(&self) -> Result<()> {
        storage(self, None).map(drop)
    }
}

/// The store a location names, rooted where the URL's path begins, and the warehouse's URL.
fn storage(
    location: &WarehouseLocation,
    witness: Option<DiskObserver>,
) -> Result<(Arc<dyn ObjectStore>, url::Url)> {
    let text = location.url.trim();
    let bad = |why: &str| {
        Error::config(format!("warehouse.url {why}"))
            .at("url", text)
            .hint("Write a path like ./warehouse or a file:// URL.")
    };
    if text.is_empty() {
        return Err(bad("is empty"));
    }
    let url = if text.contains("://") {
        let url = url::Url::parse(text).map_err(|_| {
            Error::config("warehouse.url is not a URL")
                .hint("Write a path like ./warehouse or a file:// URL.")
        })?;
        if url.scheme() != "file" {
            // The URL itself may hold a credential: only its scheme is shown.
            return Err(Error::config(format!(
                "warehouse.url: {}:// is not supported by this version",
                url.scheme()
            ))
            .hint("Use a folder: a path like ./warehouse or a file:// URL."));
        }
        let path = url
            .to_file_path()
            .map_err(|()| bad("names another machine"))?;
        url::Url::from_directory_path(path)
    } else {
        let path = std::path::absolute(text).map_err(|e| bad("is not a path").because(e))?;
        url::Url::from_directory_path(path)
    }
    .map_err(|()| bad("is not a path"))?;
    if !is_found_again(&url) {
        return Err(Error::config("warehouse.url names a folder that the tables' library cannot find again")
            .at("url", text)
            .hint(
                "In the whole path no folder's name may hold a backslash, a control character, or a percent sign before two hexadecimal digits.",
            ));
    }
    if let Some(option) = location.options.keys().next() {
        return Err(Error::config("warehouse.options: a folder has no options")
            .at("option", option)
            .hint("Leave warehouse.options out."));
    }
    Ok((Arc::new(LocalDisk::new(witness)), url))
}

/// True if the Delta library comes back to the folder: it writes the paths that a store lists into URLs as they are, and reads them decoded.
fn is_found_again(url: &url::Url) -> bool {
    let Ok(path) = Path::from_url_path(url.path()) else {
        return false;
    };
    let mut again = url.clone();
    again.set_path(&format!("/{path}"));
    Path::from_url_path(again.path()).is_ok_and(|again| again == path)
}

#[cfg(test)]
#[path = "warehouse_tests.rs"]
mod tests;
