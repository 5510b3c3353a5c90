//! The schema `information_schema`: DataFusion's, with types in SQL's words, whose `columns` say what each column means too.
//!
//! Invariant: it lists the tables that the catalog has when it is asked, without opening one that no query names.

use crate::catalog_schema::CatalogSchema;
use crate::notes::{SessionNotes, noted_columns};
use crate::schemas::CATALOG;
use crate::sql_type::in_sql_types;
use async_trait::async_trait;
use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProviderList, SchemaProvider, TableFunction,
    TableFunctionArgs, TableFunctionImpl, TableProvider,
};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::TableType;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

/// Its name.
pub(crate) const INFORMATION_SCHEMA: &str = "information_schema";
const COLUMNS: &str = "columns";

/// The schema over those of a catalog.
#[derive(Debug)]
pub(crate) struct NotedInformationSchema {
    inner: InformationSchemaProvider,
    notes: SessionNotes,
}

impl NotedInformationSchema {
    /// The schema over the tables that have these notes, with the names of table functions.
    pub(crate) fn over(notes: &SessionNotes, functions: &BTreeSet<String>) -> Self {
        let listed = |name: &String| {
            let function = TableFunction::new(name.clone(), Arc::new(ListedFunction));
            (name.clone(), Arc::new(function))
        };
        let functions = functions.iter().map(listed).collect();
        // The catalog itself holds this: a list that held the catalog would never be dropped.
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(CATALOG.to_owned(), Arc::new(OwnSchemas(notes.clone())));
        Self {
            inner: InformationSchemaProvider::new(Arc::new(list)).with_table_functions(functions),
            notes: notes.clone(),
        }
    }
}

#[async_trait]
impl SchemaProvider for NotedInformationSchema {
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.inner.table(name).await? {
            Some(columns) if name.eq_ignore_ascii_case(COLUMNS) => {
                noted_columns(columns, &self.notes).map(Some)
            }
            Some(table) => in_sql_types(table).map(Some),
            None => Ok(None),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        self.inner.table_type(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}

/// A table function that is listed by its name alone.
#[derive(Debug)]
struct ListedFunction;

impl TableFunctionImpl for ListedFunction {
    fn call_with_args(&self, _: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        internal_err!("a function of the catalog's list is not called")
    }
}

/// The schemas of a catalog without `information_schema`.
#[derive(Debug)]
struct OwnSchemas(SessionNotes);

impl CatalogProvider for OwnSchemas {
    fn schema_names(&self) -> Vec<String> {
        let schemas = self.0.schemas.read();
        schemas
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let schemas = self.0.schemas.read();
        let found: Option<Arc<CatalogSchema>> = schemas
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned();
        found.map(|schema| schema as Arc<dyn SchemaProvider>)
    }
}
