//! One schema of the catalog: its tables, opened when a query first names them, and its views.
//!
//! Invariant: a table is opened at most once a session, at the version that the run names; a view is there where the table it is built on is.

use crate::groups::{self, DEVICE_GROUPS, GroupMembersView, SITE_GROUPS};
use crate::latest;
use crate::linked_table::{LinkedParts, LinkedTable};
use crate::sales::SALES_VIEW;
use crate::schemas::{DEFAULT_SCHEMA, OPS};
use crate::scope::{LINKING_FACTS, ScopeRules};
use crate::scoped_table::ScopedTable;
use crate::sql_view::{self, SqlView, ViewDefinition, ViewTables};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::TableType;
use futures::future::{BoxFuture, try_join_all};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use tillhouse_lake::{OpsTables, TableVersion, Warehouse};
use tokio::sync::OnceCell;

/// The views of groups, and the table that each needs.
const GROUP_VIEWS: [(&str, &str); 2] = [
    (DEVICE_GROUPS.view, DEVICE_GROUPS.groups),
    (SITE_GROUPS.view, SITE_GROUPS.groups),
];

/// Query that a view shows.
pub(crate) enum ShownBy {
    /// The newest versions of the records of a source table.
    NewestRecords { schema: String, table: String },
    /// Rows of a table of the default schema, beside others.
    View {
        description: &'static str,
        over: &'static str,
        notes: &'static [(&'static str, &'static str)],
    },
}

/// A warehouse whose `Debug` shows nothing: its options may hold credentials.
#[derive(Clone)]
pub(crate) struct RedactedWarehouse(pub(crate) Warehouse);

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
    pub(crate) name: String,
    warehouse: Option<RedactedWarehouse>,
    pub(crate) versions: BTreeMap<String, Option<TableVersion>>,
    /// Tables of contracts that nobody has written yet, with their columns.
    pub(crate) unwritten: BTreeMap<String, SchemaRef>,
    /// Tables opened, or being opened; a query that comes second waits for the first.
    opened: RwLock<HashMap<String, Arc<OnceCell<TableLookup>>>>,
    /// Registered tables; each hides a table of the same name.
    registered: RwLock<BTreeMap<String, Arc<dyn TableProvider>>>,
    /// Views of this schema that are defined as SQL: `sales` of the default one, and those that somebody registered.
    views: RwLock<Vec<SqlView>>,
    /// The views of `latest`, and whose newest records they show.
    pub(crate) newest: BTreeMap<String, Option<(Arc<CatalogSchema>, String)>>,
    /// The schema that this one is a part of; its tables are read through this alone.
    part_of: Option<WholeSchema>,
}

/// A schema of which a reader may see a part.
struct WholeSchema {
    schema: Arc<CatalogSchema>,
    rules: Arc<ScopeRules>,
    linked: Arc<LinkedParts>,
}

impl WholeSchema {
    /// The part of a table; none where it is absent.
    async fn open(&self, name: &str) -> Result<TableLookup> {
        let Some((table, linked_by)) = self.part(name).await? else {
            return Ok(None);
        };
        let Some(key) = linked_by else {
            return Ok(Some(Arc::new(table)));
        };
        let mut facts = Vec::new();
        for fact in LINKING_FACTS {
            if let Some((fact, None)) = self.part(fact).await?
                && fact.schema().field_with_name(key).is_ok()
            {
                facts.push(Arc::new(fact));
            }
        }
        let rows = self.linked.rows_of(name);
        Ok(Some(Arc::new(LinkedTable::new(table, key, facts, rows))))
    }

    async fn part(&self, name: &str) -> Result<Option<(ScopedTable, Option<&'static str>)>> {
        let Some(whole) = self.whole(name).await? else {
            return Ok(None);
        };
        let rule = self.rules.rule(&self.schema.name, name, &whole.schema());
        let Some(rule) = rule else {
            return Ok(None);
        };
        let linked_by = rule.linked_by;
        Ok(Some((ScopedTable::new(whole, rule)?, linked_by)))
    }

    /// The whole table. Boxed, since it may be a part of another.
    fn whole<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<TableLookup>> {
        Box::pin(self.schema.base_table(name))
    }
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
    pub(crate) fn new(
        name: &str,
        warehouse: Option<RedactedWarehouse>,
        versions: BTreeMap<String, Option<TableVersion>>,
    ) -> Self {
        let (opened, registered) = (RwLock::default(), RwLock::default());
        Self {
            name: name.to_owned(),
            warehouse,
            versions,
            unwritten: BTreeMap::new(),
            opened,
            registered,
            views: RwLock::new(match name {
                DEFAULT_SCHEMA => vec![SALES_VIEW],
                _ => Vec::new(),
            }),
            newest: BTreeMap::new(),
            part_of: None,
        }
    }

    /// The part of this schema that a reader may see: of the tables there are now, with the views there are now.
    pub(crate) fn scoped(
        self: &Arc<Self>,
        rules: &Arc<ScopeRules>,
        linked: &Arc<LinkedParts>,
    ) -> Self {
        let registered: Vec<(String, SchemaRef)> = {
            let tables = self
                .registered
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            let tables = tables.iter();
            tables
                .map(|(name, table)| (name.clone(), table.schema()))
                .collect()
        };
        let is_registered = |name: &String| registered.iter().any(|(known, _)| known == name);
        let opened_later = self
            .versions
            .keys()
            .filter(|name| !is_registered(name) && rules.may_have(&self.name, name))
            .cloned();
        let known = registered
            .iter()
            .filter(|(name, columns)| rules.rule(&self.name, name, columns).is_some())
            .map(|(name, _)| name.clone());
        let versions = known.chain(opened_later).map(|name| (name, None));
        let mut part = Self::new(&self.name, None, versions.collect());
        let unwritten = self
            .unwritten
            .iter()
            .filter(|(name, columns)| rules.rule(&self.name, name, columns).is_some());
        part.unwritten = unwritten
            .map(|(name, columns)| (name.clone(), Arc::clone(columns)))
            .collect();
        part.views = RwLock::new(
            self.views
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        );
        part.part_of = Some(WholeSchema {
            schema: Arc::clone(self),
            rules: Arc::clone(rules),
            linked: Arc::clone(linked),
        });
        part
    }

    fn registered(&self, name: &str) -> TableLookup {
        self.registered
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// True if there is such a view: it is one of this schema's, and the table it needs is there.
    fn has_view(&self, name: &str) -> bool {
        self.views()
            .iter()
            .any(|(view, table)| *view == name && self.has_table(table))
    }

    /// The views that this schema may have, and the table that each needs. Those of groups are the default schema's.
    fn views(&self) -> Vec<(&'static str, &'static str)> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        let views = views.iter().map(|view| (view.name, view.over));
        match self.name == DEFAULT_SCHEMA {
            true => GROUP_VIEWS.into_iter().chain(views).collect(),
            false => views.collect(),
        }
    }

    /// Makes a view known; one of the same name is replaced.
    pub(crate) fn register_view(&self, view: SqlView) {
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        views.retain(|known| known.name != view.name);
        views.push(view);
    }

    /// The views that are defined as SQL, as far as somebody has written their tables.
    pub(crate) async fn definitions(&self) -> Result<Vec<ViewDefinition>> {
        let views = self
            .views
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut found = Vec::new();
        for view in views {
            let is_made = |name: &str| self.is_made(name);
            if let Some((sql, _)) = self.definition(&view, is_made).await? {
                found.push(ViewDefinition {
                    name: view.name.to_owned(),
                    sql,
                });
            }
        }
        Ok(found)
    }

    /// The query of a view, and the tables it is over, of those that are wanted.
    async fn definition(
        &self,
        view: &SqlView,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<(String, NamedTables)>> {
        if !wanted(view.over) {
            return Ok(None);
        }
        let names = std::iter::once(view.over).chain(view.beside.iter().copied());
        let opened = names
            .filter(|name| wanted(name))
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
        self.is_table_made(name) || self.unwritten.contains_key(name)
    }

    fn is_table_made(&self, name: &str) -> bool {
        self.registered(name).is_some() || self.versions.contains_key(name)
    }

    /// True if somebody has written such a table, or registered it, or it is a view over one.
    pub(crate) fn is_made(&self, name: &str) -> bool {
        let is_over = |(view, table): (&str, &str)| view == name && self.is_table_made(table);
        self.is_table_made(name)
            || self.views().into_iter().any(is_over)
            || matches!(self.newest.get(name), Some(Some((of, table))) if of.is_table_made(table))
    }

    async fn open(&self, name: &str) -> Result<TableLookup> {
        if let Some(whole) = &self.part_of {
            return whole.open(name).await;
        }
        let (Some(version), Some(RedactedWarehouse(warehouse))) =
            (self.versions.get(name), &self.warehouse)
        else {
            return Ok(None);
        };
        let path = format!("{}/{name}", self.name);
        let table = warehouse
            .open_at(&path, version.as_ref())
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
        let is_known = self.versions.contains_key(name)
            || (self.part_of.is_some() && self.unwritten.contains_key(name));
        if !is_known {
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
        let mut of_groups = [&DEVICE_GROUPS, &SITE_GROUPS].into_iter();
        if self.name == DEFAULT_SCHEMA
            && let Some(of) = of_groups.find(|of| of.view == name)
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
        match self.definition(&view, |_| true).await? {
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

    /// Query of the view of that name; `None` where there is none.
    pub(crate) fn shown_by(&self, name: &str) -> Option<ShownBy> {
        if let Some(Some((schema, table))) = self.newest.get(name) {
            return Some(ShownBy::NewestRecords {
                schema: schema.name.clone(),
                table: table.clone(),
            });
        }
        if self.name != DEFAULT_SCHEMA {
            return None;
        }
        if let Some(of) = [&DEVICE_GROUPS, &SITE_GROUPS]
            .into_iter()
            .find(|of| of.view == name)
        {
            return Some(ShownBy::View {
                description: of.description,
                over: of.groups,
                notes: of.notes,
            });
        }
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        let view = views.iter().find(|view| view.name == name)?;
        Some(ShownBy::View {
            description: view.description,
            over: view.over,
            notes: view.notes,
        })
    }

    fn is_view(&self, name: &str) -> bool {
        self.has_view(name) || matches!(self.newest.get(name), Some(Some(_)))
    }

    async fn base_table(&self, name: &str) -> Result<TableLookup> {
        match self.registered(name) {
            Some(table) => Ok(Some(table)),
            None => match self.unwritten.get(name) {
                // Of a part, nothing but the part of what the whole schema has.
                Some(columns) if self.part_of.is_none() => {
                    Ok(Some(Arc::new(EmptyTable::new(Arc::clone(columns)))))
                }
                _ => self.open_once(name).await,
            },
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
            .chain(self.unwritten.keys().map(String::as_str))
            .collect();
        let views: Vec<&str> = self
            .views()
            .into_iter()
            .filter(|(_, table)| names.contains(table))
            .map(|(view, _)| view)
            .collect();
        names.extend(views);
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
