//! The catalog of a session: the tables of one published run, each opened when a query first names it.
//!
//! Invariant: a table is opened at most once a session, at the version the run names; the bookkeeping tables, which a run
//! cannot name because it is written into them, are opened at their latest. A table of a contract that nobody has written yet is empty for
//! whoever asks in SQL, and not there for those who ask if it is ([`CatalogSchema::is_made`]).

use crate::catalog_schema::{CatalogSchema, RedactedWarehouse};
use crate::information_schema::{INFORMATION_SCHEMA, NotedInformationSchema};
use crate::linked_table::LinkedParts;
use crate::notes::SessionNotes;
use crate::schemas::{CATALOG, ContractTable, DEFAULT_SCHEMA, LATEST, OPS, OURS};
use crate::scope::{Scope, ScopeRules};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, SchemaProvider};
use datafusion::prelude::SessionContext;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use tillhouse_lake::{OpsTables, RunRecord, TableVersion, Warehouse};

/// The schemas, by name.
#[derive(Debug)]
pub(crate) struct Catalog {
    warehouse: Option<RedactedWarehouse>,
    schemas: Arc<RwLock<BTreeMap<String, Arc<CatalogSchema>>>>,
    /// Notes on the tables of these schemas.
    pub(crate) notes: SessionNotes,
    /// Names of table functions, for `information_schema` to list. The functions themselves hold sessions over this catalog.
    functions: RwLock<BTreeSet<String>>,
    /// Tables that contracts describe.
    contracts: Arc<[ContractTable]>,
    /// The part that it is of another catalog.
    part: Option<CatalogPart>,
}

/// Rules of a catalog that is a part of another, and the parts that it is linked with.
#[derive(Debug, Clone)]
struct CatalogPart {
    rules: Arc<ScopeRules>,
    linked: Arc<LinkedParts>,
}

impl Catalog {
    /// The tables a run names; those of contracts beside them are empty.
    pub(crate) fn over(
        warehouse: &Warehouse,
        run: &RunRecord,
        contracts: &Arc<[ContractTable]>,
    ) -> Self {
        let warehouse = RedactedWarehouse(warehouse.clone());
        let mut versions: BTreeMap<String, BTreeMap<String, Option<TableVersion>>> =
            BTreeMap::new();
        for (path, version) in &run.tables {
            if let Some((schema, table)) = path.split_once('/') {
                versions
                    .entry(schema.to_owned())
                    .or_default()
                    .insert(table.to_owned(), Some(version.clone()));
            }
        }
        let ops = OpsTables::NAMES
            .iter()
            .map(|table| ((*table).to_owned(), None))
            .collect();
        versions.insert(OPS.to_owned(), ops);
        versions.entry(DEFAULT_SCHEMA.to_owned()).or_default();
        let mut unwritten: BTreeMap<&str, BTreeMap<String, SchemaRef>> = BTreeMap::new();
        for table in contracts.iter() {
            let of_schema = versions.entry(table.schema.clone()).or_default();
            if !of_schema.contains_key(&table.name) {
                let of_schema = unwritten.entry(&table.schema).or_default();
                of_schema.insert(table.name.clone(), Arc::clone(&table.columns));
            }
        }
        let mut schemas: BTreeMap<String, Arc<CatalogSchema>> = versions
            .into_iter()
            .map(|(name, versions)| {
                let mut schema = CatalogSchema::new(&name, Some(warehouse.clone()), versions);
                schema.unwritten = unwritten.remove(name.as_str()).unwrap_or_default();
                (name, Arc::new(schema))
            })
            .collect();
        let mut latest = CatalogSchema::new(LATEST, None, BTreeMap::new());
        latest.newest = newest(&schemas);
        schemas.insert(LATEST.to_owned(), Arc::new(latest));
        let notes = SessionNotes::default();
        Self::of(Some(warehouse), schemas, notes, contracts)
    }

    fn of(
        warehouse: Option<RedactedWarehouse>,
        schemas: BTreeMap<String, Arc<CatalogSchema>>,
        notes: SessionNotes,
        contracts: &Arc<[ContractTable]>,
    ) -> Self {
        *notes
            .schemas
            .write()
            .unwrap_or_else(PoisonError::into_inner) = schemas;
        Self {
            warehouse,
            schemas: Arc::clone(&notes.schemas),
            notes,
            functions: RwLock::default(),
            contracts: Arc::clone(contracts),
            part: None,
        }
    }

    /// The warehouse of the run; `None` where there is none, or this is a part of another catalog.
    pub(crate) fn warehouse(&self) -> Option<&RedactedWarehouse> {
        self.warehouse.as_ref()
    }

    /// The part of these tables that a reader may see. Views are those there are, over that part.
    pub(crate) fn scoped(&self, scope: &Scope) -> Self {
        let rules = ScopeRules::new(scope.clone(), Arc::clone(&self.contracts));
        self.part(CatalogPart {
            rules: Arc::new(rules),
            linked: Arc::default(),
        })
    }

    /// As [`Self::scoped`], for the scope of another catalog of the same run, with what was worked out for that one; `None` where the other is whole.
    pub(crate) fn scoped_as(&self, other: &Self, scope: &Scope) -> Option<Self> {
        let known = other.part.as_ref()?;
        (known.rules.scope() == scope).then(|| self.part(known.clone()))
    }

    fn part(&self, part: CatalogPart) -> Self {
        let CatalogPart { rules, linked } = &part;
        let whole = self
            .schemas
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let seen = whole
            .iter()
            .filter(|(name, _)| *name != LATEST && rules.has_schema(name));
        let mut schemas: BTreeMap<String, Arc<CatalogSchema>> = seen
            .map(|(name, schema)| (name.clone(), Arc::new(schema.scoped(rules, linked))))
            .collect();
        if whole.contains_key(LATEST) && rules.has_schema(LATEST) {
            let mut latest = CatalogSchema::new(LATEST, None, BTreeMap::new());
            latest.newest = newest(&schemas);
            schemas.insert(LATEST.to_owned(), Arc::new(latest));
        }
        let mut catalog = Self::of(None, schemas, self.notes.of_others(), &self.contracts);
        catalog.part = Some(part);
        catalog
    }

    /// No tables.
    pub(crate) fn empty(contracts: &Arc<[ContractTable]>) -> Self {
        let unified = CatalogSchema::new(DEFAULT_SCHEMA, None, BTreeMap::new());
        let schemas = BTreeMap::from([(DEFAULT_SCHEMA.to_owned(), Arc::new(unified))]);
        Self::of(None, schemas, SessionNotes::default(), contracts)
    }

    /// Makes a context use this catalog.
    pub(crate) fn attach(self: &Arc<Self>, context: &SessionContext) {
        context.register_catalog(CATALOG, Arc::clone(self) as Arc<dyn CatalogProvider>);
        for name in context.state().table_functions().keys() {
            self.add_table_function(name);
        }
    }

    /// Lists a table function in `information_schema`.
    pub(crate) fn add_table_function(&self, name: &str) {
        self.functions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned());
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
/// wrong one. A table that nobody has written yet takes none from one that is there.
fn newest(
    schemas: &BTreeMap<String, Arc<CatalogSchema>>,
) -> BTreeMap<String, Option<(Arc<CatalogSchema>, String)>> {
    let (mut written, mut unwritten) = (BTreeMap::new(), BTreeMap::new());
    for (pipeline, schema) in schemas
        .iter()
        .filter(|(name, _)| !OURS.contains(&name.as_str()))
    {
        let add = |views: &mut BTreeMap<_, _>, resource: &String| {
            let of = Some((Arc::clone(schema), resource.clone()));
            views
                .entry(format!("{pipeline}_{resource}"))
                .and_modify(|found| *found = None)
                .or_insert(of);
        };
        for resource in schema.versions.keys() {
            add(&mut written, resource);
        }
        for resource in schema.unwritten.keys() {
            add(&mut unwritten, resource);
        }
    }
    unwritten.extend(written);
    unwritten
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
        if name == INFORMATION_SCHEMA {
            let functions = self
                .functions
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            return Some(Arc::new(NotedInformationSchema::over(
                &self.notes,
                &functions,
            )));
        }
        self.find(name)
            .map(|schema| schema as Arc<dyn SchemaProvider>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Schema;

    #[test]
    fn a_name_of_two_tables_is_a_view_of_the_one_that_is_written() {
        let schema = |name: &str, written: &[&str], unwritten: &[&str]| {
            let versions = written.iter().map(|table| ((*table).to_owned(), None));
            let mut schema = CatalogSchema::new(name, None, versions.collect());
            let empty = |table: &&str| ((*table).to_owned(), Arc::new(Schema::empty()));
            schema.unwritten = unwritten.iter().map(empty).collect();
            (name.to_owned(), Arc::new(schema))
        };
        let schemas = BTreeMap::from([
            schema("a", &["y_z"], &["b_c", "e_f"]),
            schema("a_b", &["c"], &[]),
            schema("a_e", &[], &["f"]),
            schema("a_y", &["z"], &[]),
        ]);
        let shown: BTreeMap<String, Option<String>> = newest(&schemas)
            .into_iter()
            .map(|(view, of)| {
                (
                    view,
                    of.map(|(schema, table)| format!("{}.{table}", schema.name)),
                )
            })
            .collect();
        let expected = [
            ("a_b_c", Some("a_b.c".to_owned())),
            ("a_e_f", None),
            ("a_y_z", None),
        ];
        assert_eq!(
            shown,
            BTreeMap::from(expected.map(|(view, of)| (view.to_owned(), of)))
        );
    }
}
