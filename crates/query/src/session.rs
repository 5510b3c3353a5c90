//! One session: SQL over one published run, or over whatever its user registered.
//!
//! Invariant: nothing that runs here writes. A session sees one published run for as long as it lives; open a new one for news.

use crate::catalog::{Catalog, DEFAULT_SCHEMA};
use crate::depth;
use crate::engine;
use crate::failure::into_error;
use crate::read_only;
use crate::sql_view::{SqlView, ViewDefinition};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, TableFunctionImpl, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use futures::future::join_all;
use std::sync::Arc;
use tillhouse_lake::RunRecord;
use tillhouse_model::{Error, ErrorKind, Result};

/// A table of no rows.
pub fn empty_table(schema: SchemaRef) -> Arc<dyn TableProvider> {
    Arc::new(datafusion::datasource::empty::EmptyTable::new(schema))
}

/// A session. Made by [`crate::QueryEngine`].
pub struct Session {
    context: SessionContext,
    catalog: Arc<Catalog>,
    run: Option<RunRecord>,
}

impl Session {
    pub(crate) fn new(
        context: SessionContext,
        catalog: Arc<Catalog>,
        run: Option<RunRecord>,
    ) -> Self {
        Self {
            context,
            catalog,
            run,
        }
    }

    /// Plans a query. Nothing is read yet but the logs of the tables it names.
    ///
    /// Errors with [`ErrorKind::Query`] when the SQL is wrong or is not a query.
    pub async fn sql(&self, sql: &str) -> Result<DataFrame> {
        let state = self.context.state();
        let statement = read_only::parse(sql)?;
        self.open_named(&statement).await;
        let plan = state
            .statement_to_plan(statement)
            .await
            .map_err(into_error)?;
        depth::check_plan(&plan)?;
        read_only::options()
            .verify_plan(&plan)
            .map_err(into_error)?;
        Ok(DataFrame::new(state, plan))
    }

    /// Opens the tables that a statement names side by side: planning would open one after the other. What cannot be opened is told by
    /// planning, where it is asked for.
    async fn open_named(&self, statement: &Statement) {
        let Ok(named) = self.context.state().resolve_table_references(statement) else {
            return;
        };
        let opened = named.into_iter().filter_map(|table| {
            let schema = self
                .catalog
                .find(table.schema().unwrap_or(DEFAULT_SCHEMA))?;
            Some(async move { schema.table(table.table()).await })
        });
        join_all(opened).await;
    }

    /// Runs a query. The stream's errors are DataFusion's; [`into_error`] makes them ours.
    pub async fn query(&self, sql: &str) -> Result<SendableRecordBatchStream> {
        self.query_with(sql, &[]).await
    }

    /// Runs a query with values for its `$name` placeholders.
    pub async fn query_with(
        &self,
        sql: &str,
        params: &[(&str, ScalarValue)],
    ) -> Result<SendableRecordBatchStream> {
        self.frame(sql, params)
            .await?
            .execute_stream()
            .await
            .map_err(into_error)
    }

    /// Plans a query with values for its `$name` placeholders, for callers that go on with expressions where SQL text would not be safe.
    pub async fn frame(&self, sql: &str, params: &[(&str, ScalarValue)]) -> Result<DataFrame> {
        let frame = self.sql(sql).await?;
        if params.is_empty() {
            return Ok(frame);
        }
        let params: Vec<(&str, ScalarValue)> = params.to_vec();
        frame.with_param_values(params).map_err(into_error)
    }

    /// Makes a table known under `name` or `schema.name`; it hides a published table of that name in this session.
    ///
    /// Errors with [`ErrorKind::Query`] when another was registered under the name before.
    pub fn register(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        let (schema, name) = name.split_once('.').unwrap_or((DEFAULT_SCHEMA, name));
        self.catalog
            .find_or_make(schema)
            .register_table(name.to_owned(), table)
            .map_err(into_error)?;
        Ok(())
    }

    /// Forgets a registered table; a published one of the same name shows again. Whether there was one.
    pub fn deregister(&self, name: &str) -> Result<bool> {
        let (schema, name) = name.split_once('.').unwrap_or((DEFAULT_SCHEMA, name));
        let Some(schema) = self.catalog.find(schema) else {
            return Ok(false);
        };
        Ok(schema.deregister_table(name).map_err(into_error)?.is_some())
    }

    /// DataFusion's own context, for protocols that are built on it. Whoever runs SQL through it goes round the read-only check.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// The published run this session reads; `None` for a bare one.
    pub fn run(&self) -> Option<&RunRecord> {
        self.run.as_ref()
    }

    /// True if there is such a table or view.
    pub async fn has_table(&self, schema: &str, table: &str) -> Result<bool> {
        match self.catalog.find(schema) {
            Some(found) if found.table_exist(table) => {
                Ok(found.table(table).await.map_err(into_error)?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// The tables and views, as (schema, table), sorted.
    pub async fn tables(&self) -> Result<Vec<(String, String)>> {
        use datafusion::catalog::CatalogProvider;
        let mut tables = Vec::new();
        for schema in self.catalog.schema_names() {
            let Some(found) = self.catalog.find(&schema) else {
                continue;
            };
            tables.extend(
                found
                    .table_names()
                    .into_iter()
                    .map(|table| (schema.clone(), table)),
            );
        }
        Ok(tables)
    }

    /// Another session over the same run, tables and memory, without the table functions that were added to this one.
    ///
    /// A table function that asks questions of its own holds one of these: held by the session it is registered with, that
    /// session itself would never be dropped.
    #[must_use]
    pub fn sibling(&self) -> Self {
        let state = self.context.state();
        let context = engine::context(
            state.config().clone(),
            Arc::clone(state.runtime_env()),
            &self.catalog,
        );
        Self {
            context,
            catalog: Arc::clone(&self.catalog),
            run: self.run.clone(),
        }
    }

    /// Makes a table function known: `SELECT * FROM name(...)`.
    pub fn register_table_function(&self, name: &str, function: Arc<dyn TableFunctionImpl>) {
        self.context.register_udtf(name, function);
    }

    /// Makes a view of the default schema known to this session and its siblings; one of the same name is replaced.
    pub fn register_view(&self, view: SqlView) {
        self.catalog
            .find_or_make(DEFAULT_SCHEMA)
            .register_view(view);
    }

    /// The views of the default schema that are defined as SQL, each with the query that defines it, for whoever makes them elsewhere.
    pub async fn view_definitions(&self) -> Result<Vec<ViewDefinition>> {
        match self.catalog.find(DEFAULT_SCHEMA) {
            Some(schema) => schema.definitions().await.map_err(into_error),
            None => Ok(Vec::new()),
        }
    }

    /// The columns of a table or view. Errors with [`ErrorKind::Query`] when there is none of that name.
    pub async fn columns(&self, schema: &str, table: &str) -> Result<SchemaRef> {
        let missing = || {
            Error::new(
                ErrorKind::Query,
                format!("there is no table {schema}.{table}"),
            )
            .hint("`SHOW TABLES` lists what there is.")
        };
        let found = self.catalog.find(schema).ok_or_else(missing)?;
        Ok(found
            .table(table)
            .await
            .map_err(into_error)?
            .ok_or_else(missing)?
            .schema())
    }
}
