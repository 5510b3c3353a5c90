//! The catalog of a session: the tables of one published run, each opened when a query first names it.
//!
//! Invariant: a table is opened at most once a session, at the version the run names; the bookkeeping tables, which a run
//! cannot name because it is written into them, are opened at their latest.

use crate::groups::{self, DEVICE_GROUPS, GroupMembersView, SITE_GROUPS};
use crate::latest;
use crate::sales::SALES_VIEW;
use crate::sql_view::{self, SqlView, ViewDefinition, ViewTables};
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::TableType;
use datafusion::prelude::SessionContext;
use futures::future::try_join_all;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use tillhouse_lake::{OpsTables, RunRecord, Warehouse};
use tokio::sync::OnceCell;

/// The only catalog.
pub(crate) const CATALOG: &str = "tillhouse";
/// The schema of names without one.
pub const DEFAULT_SCHEMA: &str = "unified";
/// The views of groups, and the table that each needs.
const GROUP_VIEWS: [(&str, &str); 2] = [
    (DEVICE_GROUPS.view, DEVICE_GROUPS.groups),
    (SITE_GROUPS.view, SITE_GROUPS.groups),
];
/// The schema of the views that show the newest version of each record of a source table.
pub const LATEST: &str = "latest";
const OPS: &str = "ops";
/// Schemas of tables that are no source's.
const OURS: [&str; 4] = [DEFAULT_SCHEMA, OPS, "statistics", LATEST];
const OPS_TABLES: [&str; 7] = [
    "drift",
    "maintenance",
    "reconciliations",
    "rejects",
    "runs",
    "slices",
    "warnings",
];

/// The schemas, by name.
#[derive(Debug)]
pub(crate) struct Catalog {
    warehouse: Option<RedactedWarehouse>,
    schemas: RwLock<BTreeMap<String, Arc<CatalogSchema>>>,
}

impl Catalog {
    /// The tables a run names.
    pub(crate) fn over(warehouse: &Warehouse, run: &RunRecord) -> Self {
        let warehouse = RedactedWarehouse(warehouse.clone());
        let mut versions: BTreeMap<String, BTreeMap<String, Option<u64>>> = BTreeMap::new();
        for (path, version) in &run.tables {
            if let Some((schema, table)) = path.split_once('/') {
                versions
                    .entry(schema.to_owned())
                    .or_default()
                    .insert(table.to_owned(), Some(*version));
            }
        }
        let ops = OPS_TABLES
            .iter()
            .map(|table| ((*table).to_owned(), None))
            .collect();
        versions.insert(OPS.to_owned(), ops);
        versions.entry(DEFAULT_SCHEMA.to_owned()).or_default();
        let mut schemas: BTreeMap<String, Arc<CatalogSchema>> = versions
            .into_iter()
            .map(|(name, versions)| {
                let schema = CatalogSchema::new(&name, Some(warehouse.clone()), versions);
                (name, Arc::new(schema))
            })
            .collect();
        let latest = CatalogSchema {
            newest: newest(&schemas),
            ..CatalogSchema::new(LATEST, None, BTreeMap::new())
        };
        schemas.insert(LATEST.to_owned(), Arc::new(latest));
        Self {
            warehouse: Some(warehouse),
            schemas: RwLock::new(schemas),
        }
    }

    /// No tables.
    pub(crate) fn empty() -> Self {
        let unified = CatalogSchema::new(DEFAULT_SCHEMA, None, BTreeMap::new());
        let schemas = BTreeMap::from([(DEFAULT_SCHEMA.to_owned(), Arc::new(unified))]);
        Self {
            warehouse: None,
            schemas: RwLock::new(schemas),
        }
    }

    /// Makes a context use this catalog.
    pub(crate) fn attach(self: &Arc<Self>, context: &SessionContext) {
        context.register_catalog(CATALOG, Arc::clone(self) as Arc<dyn CatalogProvider>);
    }

    /// The schema of that name.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<CatalogSchema>> {
        self.schemas
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// The schema of that name, made if it is not there.
    pub(crate) fn find_or_make(&self, name: &str) -> Arc<CatalogSchema> {
        let mut schemas = self.schemas.write().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            Arc::new(CatalogSchema::new(
                name,
                self.warehouse.clone(),
                BTreeMap::new(),
            ))
        };
        Arc::clone(schemas.entry(name.to_owned()).or_insert_with(make))
    }
}

/// Views of `latest`: `<pipeline>_<resource>`, and whose newest records each shows. A name that
/// two tables would have (`a_b` and `c`, `a` and `b_c`) is neither's: no table is better than the
/// wrong one.
fn newest(
    schemas: &BTreeMap<String, Arc<CatalogSchema>>,
) -> BTreeMap<String, Option<(Arc<CatalogSchema>, String)>> {
    let mut newest = BTreeMap::new();
    for (pipeline, schema) in schemas
        .iter()
        .filter(|(name, _)| !OURS.contains(&name.as_str()))
    {
        for resource in schema.versions.keys() {
            let of = Some((Arc::clone(schema), resource.clone()));
            newest
                .entry(format!("{pipeline}_{resource}"))
                .and_modify(|found| *found = None)
                .or_insert(of);
        }
    }
    newest
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        self.schemas
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.find(name)
            .map(|schema| schema as Arc<dyn SchemaProvider>)
    }
}

/// A warehouse whose `Debug` shows nothing: its options may hold credentials.
#[derive(Clone)]
struct RedactedWarehouse(Warehouse);

impl fmt::Debug for RedactedWarehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Warehouse")
    }
}

/// The table of a name, where there is one.
type TableLookup = Option<Arc<dyn TableProvider>>;

/// Tables that a view is over, by name.
type NamedTables = Vec<(&'static str, Arc<dyn TableProvider>)>;

/// The tables and views of one schema.
pub(crate) struct CatalogSchema {
    name: String,
    warehouse: Option<RedactedWarehouse>,
    versions: BTreeMap<String, Option<u64>>,
    /// Tables opened, or being opened; a query that comes second waits for the first.
    opened: RwLock<HashMap<String, Arc<OnceCell<TableLookup>>>>,
    /// Registered tables; each hides a table of the same name.
    registered: RwLock<BTreeMap<String, Arc<dyn TableProvider>>>,
    /// Views of this schema that are defined as SQL: `sales`, and those that somebody registered.
    views: RwLock<Vec<SqlView>>,
    /// The views of `latest`, and whose newest records they show.
    newest: BTreeMap<String, Option<(Arc<CatalogSchema>, String)>>,
}

impl fmt::Debug for CatalogSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("name", &self.name)
            .field("versions", &self.versions)
            .finish_non_exhaustive()
    }
}

impl CatalogSchema {
    fn new(
        name: &str,
        warehouse: Option<RedactedWarehouse>,
        versions: BTreeMap<String, Option<u64>>,
    ) -> Self {
        let (opened, registered) = (RwLock::default(), RwLock::default());
        Self {
            name: name.to_owned(),
            warehouse,
            versions,
            opened,
            registered,
            views: RwLock::new(vec![SALES_VIEW]),
            newest: BTreeMap::new(),
        }
    }

    fn registered(&self, name: &str) -> TableLookup {
        self.registered
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// True if there is such a view: this is the schema of the facts, and the table it needs is
    /// there.
    fn has_view(&self, name: &str) -> bool {
        self.name == DEFAULT_SCHEMA
            && self
                .views()
                .iter()
                .any(|(view, table)| *view == name && self.has_table(table))
    }

    /// The views that this schema may have, and the table that each needs.
    fn views(&self) -> Vec<(&'static str, &'static str)> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        let views = views.iter().map(|view| (view.name, view.over));
        GROUP_VIEWS.into_iter().chain(views).collect()
    }

    /// Makes a view known; one of the same name is replaced.
    pub(crate) fn register_view(&self, view: SqlView) {
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        views.retain(|known| known.name != view.name);
        views.push(view);
    }

    /// The views that are defined as SQL, as far as their tables are there.
    pub(crate) async fn definitions(&self) -> Result<Vec<ViewDefinition>> {
        let views = self
            .views
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut found = Vec::new();
        for view in views {
            if let Some((sql, _)) = self.definition(&view).await? {
                found.push(ViewDefinition {
                    name: view.name.to_owned(),
                    sql,
                });
            }
        }
        Ok(found)
    }

    /// The query of a view, and the tables it is over.
    async fn definition(&self, view: &SqlView) -> Result<Option<(String, NamedTables)>> {
        let names: Vec<&'static str> = std::iter::once(view.over)
            .chain(view.beside.iter().copied())
            .collect();
        let opened = names
            .into_iter()
            .map(async |name| Ok::<_, DataFusionError>((name, self.base_table(name).await?)));
        let mut tables = Vec::new();
        for (name, table) in try_join_all(opened).await? {
            match table {
                Some(table) => tables.push((name, table)),
                None if name == view.over => return Ok(None),
                None => {}
            }
        }
        let mut columns = ViewTables::default();
        for (name, table) in &tables {
            columns.add(name, table.schema());
        }
        Ok((view.definition)(&columns).map(|sql| (sql, tables)))
    }

    fn has_table(&self, name: &str) -> bool {
        self.registered(name).is_some() || self.versions.contains_key(name)
    }

    async fn open(&self, name: &str) -> Result<TableLookup> {
        let (Some(version), Some(RedactedWarehouse(warehouse))) =
            (self.versions.get(name), &self.warehouse)
        else {
            return Ok(None);
        };
        let path = format!("{}/{name}", self.name);
        let table = warehouse
            .open_at(&path, *version)
            .await
            .map_err(|e| DataFusionError::External(Box::new(e)))?;
        // A bookkeeping table is made by its first row; until then it is empty, not missing.
        let empty = || OpsTables::schema(name).filter(|_| self.name == OPS);
        Ok(match table {
            Some(table) => Some(table.provider),
            None => {
                empty().map(|schema| Arc::new(EmptyTable::new(schema)) as Arc<dyn TableProvider>)
            }
        })
    }

    async fn open_once(&self, name: &str) -> Result<TableLookup> {
        if !self.versions.contains_key(name) {
            return Ok(None);
        }
        let cell = {
            let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(opened.entry(name.to_owned()).or_default())
        };
        cell.get_or_try_init(|| self.open(name)).await.cloned()
    }

    /// The view of that name over tables of this schema.
    async fn view(&self, name: &str) -> Result<TableLookup> {
        if let Some(of) = [&DEVICE_GROUPS, &SITE_GROUPS]
            .into_iter()
            .find(|of| of.view == name)
        {
            return self.members(of).await;
        }
        let view = {
            let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
            views.iter().find(|view| view.name == name).copied()
        };
        let Some(view) = view else {
            return Ok(None);
        };
        match self.definition(&view).await? {
            Some((sql, tables)) => sql_view::view(&sql, tables).await.map(Some),
            None => Ok(None),
        }
    }

    /// The view over groups, with their members' names where the dimension exists.
    async fn members(&self, of: &GroupMembersView) -> Result<TableLookup> {
        let Some(groups) = self.base_table(of.groups).await? else {
            return Ok(None);
        };
        groups::view(of, groups, self.base_table(of.members).await?).map(Some)
    }

    /// The view of that name in `latest`.
    async fn latest(&self, name: &str) -> Result<TableLookup> {
        let Some(Some((pipeline, resource))) = self.newest.get(name) else {
            return Ok(None);
        };
        match pipeline.base_table(resource).await? {
            Some(table) => latest::view(table).map(Some),
            None => Ok(None),
        }
    }

    fn is_view(&self, name: &str) -> bool {
        self.has_view(name) || matches!(self.newest.get(name), Some(Some(_)))
    }

    async fn base_table(&self, name: &str) -> Result<TableLookup> {
        match self.registered(name) {
            Some(table) => Ok(Some(table)),
            None => self.open_once(name).await,
        }
    }
}

#[async_trait]
impl SchemaProvider for CatalogSchema {
    fn table_names(&self) -> Vec<String> {
        let registered = self
            .registered
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut names: BTreeSet<&str> = registered
            .keys()
            .map(String::as_str)
            .chain(self.versions.keys().map(String::as_str))
            .collect();
        if self.name == DEFAULT_SCHEMA {
            let views: Vec<&str> = self
                .views()
                .into_iter()
                .filter(|(_, table)| names.contains(table))
                .map(|(view, _)| view)
                .collect();
            names.extend(views);
        }
        names.extend(
            self.newest
                .iter()
                .filter(|(_, of)| of.is_some())
                .map(|(name, _)| name.as_str()),
        );
        names.into_iter().map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<TableLookup> {
        match self.base_table(name).await? {
            None if self.has_view(name) => self.view(name).await,
            None => self.latest(name).await,
            table => Ok(table),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        let kind = if !self.has_table(name) && self.is_view(name) {
            TableType::View
        } else {
            TableType::Base
        };
        Ok(self.table_exist(name).then_some(kind))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.has_table(name) || self.is_view(name)
    }

    fn register_table(&self, name: String, table: Arc<dyn TableProvider>) -> Result<TableLookup> {
        let mut registered = self
            .registered
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if registered.contains_key(&name) {
            return exec_err!("the table {}.{name} is already there", self.name);
        }
        Ok(registered.insert(name, table))
    }

    fn deregister_table(&self, name: &str) -> Result<TableLookup> {
        Ok(self
            .registered
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name))
    }
}
