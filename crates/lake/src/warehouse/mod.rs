//! The warehouse: one place on storage that holds every table, and the handles to them.
//!
//! Invariant: a handle does no I/O until it is asked something; all state lives on storage. Handles of one [`Warehouse`] share what
//! they have read of a table's log.

mod earlier_runs;
pub(crate) mod integrity;
mod privacy_key;
mod probe;
mod set_aside;

pub use crate::log::registry::WarehouseClock;

use crate::log::figures::TableFigures;
use crate::log::registry::TableRegistry;
use crate::log::table::TableHandle;
use crate::log::table_version::TableVersion;
use crate::ops::edit::OpsTables;
use crate::ops::published_note::NoteCache;
use crate::ops::row_codec::{BookkeepingRow, NumberedRun};
use crate::ops::slices::LedgerCache;
use crate::range_table::RangeTable;
use crate::ranges::ChangedRanges;
use crate::source::table::SourceTable;
use crate::store::bounded::bounded_bytes;
use crate::store::conditions::{PROBES, probe_conditions};
use crate::store::counter::{CountedStore, NOT_SOURCES, RequestMeter, StoreRequests};
use crate::store::denied::{LET_READ, is_denied};
use crate::store::durable::{DiskObserver, LOG_FOLDER};
use crate::store::location::WarehouseLocation;
use crate::store::log_guard::LogGuard;
use crate::store::misplaced::Misplaced;
use crate::store::open_store;
use crate::store::small_files::SmallFileStore;
use crate::table_provider::provider;
use crate::unified::changed_ranges::{
    ChangedFiles, ComparedColumns, changed_files, changed_ranges,
};
use crate::unified::fact_scan::FactSnapshot;
use crate::unified::table::UnifiedTable;
use arrow::datatypes::SchemaRef;
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::execution::runtime_env::RuntimeEnv;
use deltalake::datafusion::execution::session_state::SessionState;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, TableSpec};

/// The format of warehouses this version writes and reads.
pub const FORMAT_VERSION: u32 = 2;
/// The file that makes a folder a warehouse, below it.
pub const FORMAT_FILE: &str = "ops/format/format.json";

/// One warehouse. A cheap handle.
#[derive(Clone)]
pub struct Warehouse {
    pub(crate) registry: Arc<TableRegistry>,
    /// True once it was said that the newest run lies in the future.
    warned: Arc<AtomicBool>,
    note: NoteCache,
    ledger: LedgerCache,
    meter: RequestMeter,
    /// True once the place was seen to be a warehouse of this version's format.
    is_made: Arc<AtomicBool>,
    /// Fingerprint of the key that pseudonyms are made with, as the format file named it last.
    privacy_key: Arc<Mutex<Option<String>>>,
}

impl std::fmt::Debug for Warehouse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Warehouse")
            .field("url", &self.url().as_str())
            .finish_non_exhaustive()
    }
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
pub(crate) struct WarehouseFormat {
    pub(crate) format_version: u32,
    /// The format it had, while an upgrade is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upgrading_from: Option<u32>,
    /// Fingerprint of the key that pseudonyms are made with; none before the first sync, and where only earlier versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) privacy_key: Option<String>,
}

impl WarehouseFormat {
    fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).or_error(
            ErrorKind::Internal,
            "the warehouse's format cannot be written",
        )
    }
}

impl Warehouse {
    /// Opens a warehouse. Nothing is written, also where there is none yet: [`Warehouse::prepare`] makes one.
    ///
    /// Errors with [`ErrorKind::Config`] when the place holds something else, when its kind of storage is not supported, or when its
    /// format is not this version's.
    pub async fn open(location: &WarehouseLocation) -> Result<Self> {
        let (store, url) = open_store(location, None).await?;
        Self::open_on(store, url).await
    }

    /// As [`Warehouse::open`], on a disk that tells of every step that changes it; for tests that cut the power between two of them.
    pub async fn open_watched(location: &WarehouseLocation, witness: DiskObserver) -> Result<Self> {
        let (store, url) = open_store(location, Some(witness)).await?;
        Self::open_on(store, url).await
    }

    /// Opens a warehouse on a store that is rooted where the URL's path begins; for tests that watch or disturb the store.
    pub async fn open_on(store: Arc<dyn ObjectStore>, url: url::Url) -> Result<Self> {
        let warehouse = Self::unchecked_on(store, url)?;
        match warehouse.has_format().await? {
            true => warehouse.is_made.store(true, Relaxed),
            false => warehouse.refuse_foreign().await?,
        }
        Ok(warehouse)
    }

    /// Opens a warehouse whatever its format; for upgrades, which read [`Warehouse::format`] first.
    pub(crate) async fn open_any_format(location: &WarehouseLocation) -> Result<Self> {
        let (store, url) = open_store(location, None).await?;
        Self::unchecked_on(store, url)
    }

    fn unchecked_on(store: Arc<dyn ObjectStore>, url: url::Url) -> Result<Self> {
        let prefix = Path::from_url_path(url.path())
            .or_error(ErrorKind::Config, "the warehouse's path is not possible")?;
        let meter = RequestMeter::default();
        let counted = CountedStore::new(store, prefix.clone(), meter.clone());
        let counted = Arc::new(counted.paged(url.scheme()));
        // A disk answers at once.
        let counted: Arc<dyn ObjectStore> = match url.scheme() {
            "file" => counted,
            _ => Arc::new(SmallFileStore::new(counted)),
        };
        let store = LogGuard::new(counted);
        let clock: WarehouseClock = Arc::new(Timestamp::now);
        let registry = Arc::new(TableRegistry::new(url, store, prefix, clock));
        Ok(Self::of(registry, meter))
    }

    /// The warehouse of these tables.
    pub(crate) fn of(registry: Arc<TableRegistry>, meter: RequestMeter) -> Self {
        Self {
            registry,
            warned: Arc::default(),
            note: Arc::default(),
            ledger: Arc::default(),
            meter,
            is_made: Arc::default(),
            privacy_key: Arc::default(),
        }
    }

    /// The same warehouse by another clock; for tests of clocks that are wrong.
    pub fn with_clock(&self, clock: WarehouseClock) -> Self {
        let registry = Arc::new(self.registry.with_clock(clock));
        Self {
            is_made: Arc::clone(&self.is_made),
            privacy_key: Arc::clone(&self.privacy_key),
            ..Self::of(registry, self.meter.clone())
        }
    }

    /// From now on the rows of the caller's pipelines are changed by nobody else, so that tables need not be asked for news at each step.
    /// Rows of other pipelines in the same tables may change all the same: whoever commits on what is no longer the newest loses, and looks again.
    ///
    /// `tables` are the paths of those that the caller will ask for: they are opened together, whether they are there or not.
    pub fn hold(&self, tables: Vec<String>) {
        self.registry.hold(tables);
    }

    /// True if there was a warehouse when it was opened; false where the first sync is still to make it. No I/O.
    pub fn is_there(&self) -> bool {
        self.is_made.load(Relaxed)
    }

    /// Requests to the store since the warehouse was opened.
    pub fn requests(&self) -> StoreRequests {
        self.meter.read()
    }

    /// The time by the warehouse's clock: this machine's, unless a test handed in another.
    pub fn now(&self) -> Timestamp {
        self.registry.now()
    }

    /// Makes the warehouse, in an empty place, before anything is written into it.
    pub async fn prepare(&self) -> Result<()> {
        if self.is_made.load(Relaxed) || self.has_format().await? {
            return Ok(());
        }
        self.refuse_foreign().await?;
        self.probe_store().await?;
        let format = WarehouseFormat {
            format_version: FORMAT_VERSION,
            upgrading_from: None,
            privacy_key: None,
        };
        let format = format.bytes()?;
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        match self
            .registry
            .store()
            .put_opts(&self.registry.below(FORMAT_FILE), format.into(), options)
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
        match self.format().await? {
            Some(format)
                if format.upgrading_from.is_none() && format.format_version == FORMAT_VERSION =>
            {
                Ok(true)
            }
            Some(format) => Err(self.wrong_format(&format)),
            None => Ok(false),
        }
    }

    /// Says that the warehouse has this version's format, or that an upgrade from another is under way.
    pub(crate) async fn write_format(&self, upgrading_from: Option<u32>) -> Result<()> {
        let format = WarehouseFormat {
            format_version: FORMAT_VERSION,
            upgrading_from,
            privacy_key: self.key_fingerprint(),
        };
        let format = format.bytes()?;
        let (store, file) = (self.registry.store(), self.registry.below(FORMAT_FILE));
        store
            .put(&file, format.into())
            .await
            .map(drop)
            .map_err(|error| {
                Error::new(
                    ErrorKind::Storage,
                    "the warehouse's format cannot be written",
                )
                .at("file", FORMAT_FILE)
                .because(error)
            })
    }

    /// Format that the warehouse says it has; `None` where there is no warehouse.
    pub(crate) async fn format(&self) -> Result<Option<WarehouseFormat>> {
        let file = self.registry.below(FORMAT_FILE);
        let failed = |e: object_store::Error| {
            let is_denied = is_denied(&e.to_string());
            let error = Error::new(ErrorKind::Storage, "the warehouse cannot be read")
                .at("warehouse", self.url().as_str())
                .because(e);
            match is_denied {
                true => error.hint(LET_READ),
                false => error,
            }
        };
        if let Some(found) = self.misplaced(FORMAT_FILE) {
            return Err(no_format(&found));
        }
        match self.registry.store().get(&file).await {
            Ok(found) => {
                let bytes = bounded_bytes(found).await.map_err(failed)?;
                let format = self.parsed_format(&bytes)?;
                self.know_key(format.privacy_key.clone());
                Ok(Some(format))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(_) if self.folder().is_some_and(|folder| is_in_a_file(&folder)) => {
                Err(self.is_a_file())
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn parsed_format(&self, bytes: &[u8]) -> Result<WarehouseFormat> {
        serde_json::from_slice(bytes).map_err(|error| {
            Error::new(
                ErrorKind::Storage,
                "ops/format/format.json does not say the warehouse's format",
            )
            .at("warehouse", self.url().as_str())
            .because(error)
            .hint(format_file_hint())
        })
    }

    fn is_a_file(&self) -> Error {
        Error::config("a file stands where the warehouse should be")
            .at("warehouse", self.url().as_str())
            .hint("Name another place as warehouse.url in tillhouse.yaml, or move the file.")
    }

    /// Reason that this version of the program does not work with a warehouse of that format.
    pub(crate) fn wrong_format(&self, format: &WarehouseFormat) -> Error {
        let found = format.format_version;
        if let Some(from) = format.upgrading_from.filter(|_| found == FORMAT_VERSION) {
            return Error::config(format!(
                "an upgrade of the warehouse from format {from} to {found} is under way, or was interrupted"
            ))
            .at("warehouse", self.url().as_str())
            .hint("Run `tillhouse upgrade`: it goes on where it was.");
        }
        let error = Error::config(format!(
            "the warehouse has format {found}, this version of tillhouse works with {FORMAT_VERSION}"
        ))
        .at("warehouse", self.url().as_str())
        .at("file", FORMAT_FILE);
        if found > FORMAT_VERSION {
            error.hint("A newer tillhouse wrote it: use that one, or a newer one.")
        } else {
            error.hint(
                "An older tillhouse wrote it. Make a copy of it, stop the syncs of the older version, and run `tillhouse upgrade`: it takes the \
                 warehouse to the newest format, in place.",
            )
        }
    }

    fn not_created(&self, error: object_store::Error) -> Error {
        let error = Error::new(ErrorKind::Storage, "the warehouse cannot be created")
            .at("warehouse", self.url().as_str())
            .because(error);
        // A cloud's error says itself what to do.
        match self.folder() {
            Some(_) => error.hint("Check that the folder can be written to."),
            None => error,
        }
    }

    /// The folder on this machine's disks; `None` in a bucket.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let url = self.url();
        (url.scheme() == "file")
            .then(|| url.to_file_path().ok())
            .flatten()
    }

    /// What stands in the place of a file below the warehouse, or on the way to it, on a disk, and does not belong there.
    pub(crate) fn misplaced(&self, file: &str) -> Option<Misplaced> {
        self.registry.misplaced(file)
    }

    /// Finds out whether the store keeps what commits rest on. A disk does.
    pub(crate) async fn probe_store(&self) -> Result<()> {
        if self.folder().is_some() {
            return Ok(());
        }
        let (store, folder) = (self.registry.store(), self.registry.below(PROBES));
        probe_conditions(store.as_ref(), &folder, self.url().as_str()).await
    }

    /// A place that is no warehouse may become one only if nothing else is in it.
    async fn refuse_foreign(&self) -> Result<()> {
        let root = Some(self.registry.prefix()).filter(|p| !p.as_ref().is_empty());
        let listed = self
            .registry
            .store()
            .list_with_delimiter(root)
            .await
            .map_err(|e| self.not_created(e))?;
        // A bucket may hold a file and files below its name. Some stores do not, and readers do not expect it.
        if let Some(root) = root.filter(|_| self.folder().is_none()) {
            match self.registry.store().head(root).await {
                Ok(_) => return Err(self.is_a_file()),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.not_created(error)),
            }
        }
        let names = listed
            .common_prefixes
            .iter()
            .chain(listed.objects.iter().map(|o| &o.location));
        // Dot files (a file manager's, a version control's) are nobody's data. `ops` may be another creator's, this instant.
        let foreign = names
            .filter_map(|path| path.filename())
            .find(|name| !name.starts_with('.') && *name != "ops");
        match foreign {
            // Another creator's tables: its format stood there before them.
            Some(_) if self.has_format().await? => Ok(()),
            Some(_) if self.has_runs().await? => Err(Error::new(
                ErrorKind::Storage,
                "ops/format/format.json, which says the warehouse's format, is missing",
            )
            .at("warehouse", self.url().as_str())
            .hint(format_file_hint())),
            Some(name) => Err(Error::config("the folder is not empty and is no warehouse")
                .at("warehouse", self.url().as_str())
                .at("found", name)
                .hint(
                    "Name an empty or a new folder as warehouse.url in tillhouse.yaml. If this was a warehouse, it has lost its folder ops: \
                     put that back from a copy.",
                )),
            None => Ok(()),
        }
    }

    /// True if the list of runs is there, which nothing but a warehouse has.
    async fn has_runs(&self) -> Result<bool> {
        let log = format!("{}/{LOG_FOLDER}", NumberedRun::TABLE);
        let log = self.registry.below(&log);
        let listed = self.registry.store().list_with_delimiter(Some(&log)).await;
        let listed = listed.map_err(|error| self.not_created(error))?;
        Ok(!listed.objects.is_empty())
    }

    /// Registers the warehouse's checked store with a query engine, which would open files of its own otherwise.
    pub fn register_store(&self, runtime: &RuntimeEnv) {
        let mut root = self.url().clone();
        root.set_path("/");
        runtime.register_object_store(&root, Arc::clone(self.registry.store()));
    }

    /// The warehouse's root, with a trailing slash.
    pub fn url(&self) -> &url::Url {
        self.registry.url()
    }

    /// The history of one resource of one pipeline. No I/O; the table is made when something lands.
    pub fn source_table(&self, pipeline: &str, spec: Arc<TableSpec>) -> SourceTable {
        SourceTable {
            registry: Arc::clone(&self.registry),
            path: format!("{pipeline}/{}", spec.name),
            spec,
            fingerprints: None,
        }
    }

    /// One unified table. No I/O; the table is made by the first step.
    pub fn unified_table(&self, spec: Arc<TableSpec>) -> UnifiedTable {
        UnifiedTable {
            registry: Arc::clone(&self.registry),
            path: format!("unified/{}", spec.name),
            spec,
            keeps_known: false,
            carrier: None,
        }
    }

    /// The facts of a unified table at a version; `None` where there is no such table.
    ///
    /// Errors with [`ErrorKind::Storage`] when that version is gone.
    pub async fn facts(&self, path: &str, version: &TableVersion) -> Result<Option<FactSnapshot>> {
        FactSnapshot::open(self.table(path)?, version).await
    }

    /// The ranges in which the rows of a unified table differ between two of its versions, in one of the columns that are compared, by
    /// pipeline. Without an earlier version every range of every pipeline does.
    ///
    /// Errors with [`ErrorKind::Storage`] when a version, or a file of it, is gone.
    pub async fn changed_ranges(
        &self,
        path: &str,
        since: Option<&TableVersion>,
        now: &TableVersion,
        compared: &ComparedColumns<'_>,
    ) -> Result<ChangedRanges> {
        let table = self.table(path)?;
        changed_ranges(&table, since, now, compared).await
    }

    /// The files that only one of two versions of a table has, as tables for a query engine. Without an earlier version
    /// everything has come.
    ///
    /// Errors with [`ErrorKind::Storage`] when a version is gone.
    pub async fn changed_files(
        &self,
        path: &str,
        since: Option<&TableVersion>,
        now: &TableVersion,
        session: Arc<SessionState>,
    ) -> Result<ChangedFiles> {
        changed_files(&self.table(path)?, since, now, session).await
    }

    /// A table below `statistics` that is made from some unified tables (`sources`, by name) in some edition of its definition, and
    /// replaced by ranges. The schema has `level`, `pipeline`, `period`, and the column `by` that holds the start of a row's range;
    /// [`RangeTable::with_level`] names the levels. No I/O; the table is made by the first replacement.
    pub fn range_table(
        &self,
        name: &str,
        schema: SchemaRef,
        by: &str,
        sources: &[&str],
        edition: u32,
    ) -> RangeTable {
        RangeTable {
            registry: Arc::clone(&self.registry),
            path: format!("statistics/{name}"),
            schema,
            by: by.to_owned(),
            bounded: Vec::new(),
            levels: BTreeMap::new(),
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            edition,
        }
    }

    /// The bookkeeping tables. No I/O.
    pub fn ops(&self) -> OpsTables {
        OpsTables {
            registry: Arc::clone(&self.registry),
            warned: Arc::clone(&self.warned),
            note: Arc::clone(&self.note),
            ledger: Arc::clone(&self.ledger),
        }
    }

    /// Opens a table by its path (`hecone/transactions`, `unified/sites`, `ops/runs`) at a version, `None` for the latest. `None`
    /// where there is no such table.
    ///
    /// Errors with [`ErrorKind::Storage`] when that version is gone or never was, or does not hold what it did when it was published.
    pub async fn open_at(
        &self,
        path: &str,
        version: Option<&TableVersion>,
    ) -> Result<Option<OpenTable>> {
        let table = self.table(path)?;
        let snapshot = match version {
            Some(version) => match table.at(version).await {
                Ok(found) => found,
                Err(error) => return Err(self.told_of_earlier(path, version, error).await),
            },
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
        self.registry
            .tables_in(|schema| !NOT_SOURCES.contains(&schema))
            .await
    }

    /// All tables that exist, as (schema, table), sorted.
    pub(crate) async fn tables(&self) -> Result<Vec<(String, String)>> {
        self.registry.tables_in(|_| true).await
    }

    /// The shared handle of a table's log.
    pub(crate) fn table(&self, path: &str) -> Result<Arc<TableHandle>> {
        self.registry.table(path)
    }
}

/// The way out where the file of the format is missing or damaged.
fn format_file_hint() -> String {
    format!(
        "It holds one line and nothing else; where this version wrote the warehouse, it is {{\"format_version\":{FORMAT_VERSION}}}. \
         Bring it back from a backup, or write it anew."
    )
}

/// The error where something else stands in the place of the format's file, or of a folder that it is in.
fn no_format(found: &Misplaced) -> Error {
    let kind = found.kind;
    if found.place.ends_with(FORMAT_FILE) {
        let what = format!("{kind} stands where the warehouse's format should be");
        return Error::new(ErrorKind::Storage, what)
            .at("file", FORMAT_FILE)
            .hint(format!("Move it away. {}", format_file_hint()));
    }
    let what = format!("{kind} stands where a folder of the warehouse's bookkeeping should be");
    Error::new(ErrorKind::Storage, what)
        .at("file", found.place.display().to_string())
        .hint("Move it away, and put the folder back from a copy.")
}

/// True if the folder, or one that it should be in, is a file.
fn is_in_a_file(folder: &std::path::Path) -> bool {
    // Without the slash at its end, behind which the system looks for a folder.
    let folder: PathBuf = folder.components().collect();
    folder.ancestors().any(std::path::Path::is_file)
}

#[cfg(test)]
#[path = "warehouse_tests.rs"]
mod tests;
