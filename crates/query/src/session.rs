//! One session: SQL over one published run, or over whatever its user registered.
//!
//! Invariant: nothing that runs here writes. A session sees one published run for as long as it lives; open a new one for news.

use crate::catalog::Catalog;
use crate::catalog_schema::DEFAULT_SCHEMA;
use crate::depth;
use crate::engine;
use crate::failure::{explain, into_error};
use crate::function_list::{self, FunctionSummary};
use crate::functions;
use crate::guarded;
use crate::headings::Headings;
use crate::ignored_clauses;
use crate::language::{self, TableColumns};
use crate::mistakes::{KnownNames, WrittenQuery};
use crate::notes::{DescribedTable, describe_columns};
use crate::parameters::{self, QueryParameters};
use crate::read_only;
use crate::same_names;
use crate::sql_type;
use crate::sql_view::{SqlView, ViewDefinition};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, ScalarValue, SchemaError};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use futures::TryStreamExt;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_lake::RunRecord;
use tillhouse_model::did_you_mean::nearest;
use tillhouse_model::{DataDictionary, Error, ErrorKind, ExpectedReads, PseudonymKey, Result};

/// A table of no rows.
pub fn empty_table(schema: SchemaRef) -> Arc<dyn TableProvider> {
    Arc::new(datafusion::datasource::empty::EmptyTable::new(schema))
}

/// A session. Made by [`crate::QueryEngine`].
pub struct Session {
    context: SessionContext,
    catalog: Arc<Catalog>,
    run: Option<RunRecord>,
    configured: Arc<BTreeMap<String, ExpectedReads>>,
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
            configured: Arc::default(),
        }
    }

    /// The same session for a reader who knows a configuration: what its pipelines are to read, beside what the published run says of that.
    #[must_use]
    pub fn expecting(self, configured: BTreeMap<String, ExpectedReads>) -> Self {
        Self {
            configured: Arc::new(configured),
            ..self
        }
    }

    /// Plans a query. Nothing is read yet but the logs of the tables it names.
    ///
    /// Errors with [`ErrorKind::Query`] when the SQL is wrong or is not a query.
    pub async fn sql(&self, sql: &str) -> Result<DataFrame> {
        let statement = read_only::parse(sql).map_err(into_error)?;
        self.planned(statement, false).await.map_err(into_error)
    }

    async fn planned(
        &self,
        mut statement: Statement,
        are_parameters_left: bool,
    ) -> Result<DataFrame, DataFusionError> {
        let state = self.context.state();
        ignored_clauses::check_calls(&statement, |name| {
            let is_scalar = state.scalar_functions().contains_key(name)
                || state.higher_order_functions().contains_key(name);
            is_scalar
                && !state.aggregate_functions().contains_key(name)
                && !state.window_functions().contains_key(name)
        })
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let tables = self.open_named(&statement).await;
        language::merge_columns(&mut statement, &tables, DEFAULT_SCHEMA)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let planned = state.statement_to_plan(statement.clone()).await;
        let plan = match planned {
            Err(error) => match same_names::told_apart(&statement, &error) {
                Some(renamed) => state.statement_to_plan(renamed).await,
                None => Err(error),
            },
            planned => planned,
        };
        let mut plan = plan?;
        depth::check_plan(&plan).map_err(|error| DataFusionError::External(Box::new(error)))?;
        if are_parameters_left {
            plan = parameters::resolve(plan)?;
        }
        read_only::options().verify_plan(&plan)?;
        Ok(DataFrame::new(state, sql_type::described(plan)?))
    }

    /// Opens the tables that a statement names side by side, and gives their columns: planning would open one after the other. What cannot be opened is
    /// told by planning, where it is asked for.
    async fn open_named(&self, statement: &Statement) -> TableColumns {
        let Ok(named) = self.context.state().resolve_table_references(statement) else {
            return TableColumns::default();
        };
        let opened = named.into_iter().filter_map(|table| {
            let name = table.schema().unwrap_or(DEFAULT_SCHEMA).to_owned();
            let schema = self.catalog.find(&name)?;
            Some(async move {
                let opened = schema.table(table.table()).await.ok().flatten()?;
                Some(((name, table.table().to_owned()), opened.schema()))
            })
        });
        join_all(opened).await.into_iter().flatten().collect()
    }

    /// Runs a query. The stream's errors are DataFusion's; [`into_error`] makes them ours.
    pub async fn query(&self, sql: &str) -> Result<SendableRecordBatchStream> {
        self.query_with(sql, &[]).await
    }

    /// Runs a query that somebody wrote, with the values of its parameters, which have the types of literals; [`Self::query_with`] takes typed values. Columns are called
    /// as PostgreSQL calls them, each by a name of its own, and errors, those of the stream too, name the line and column and what is likely meant.
    ///
    /// `start` is the line and column that it begins at in its file, (1, 1) for a query by itself.
    pub async fn query_written(
        &self,
        sql: &str,
        given: &QueryParameters,
        start: (u64, u64),
    ) -> Result<SendableRecordBatchStream> {
        let run = async {
            let (mut headings, mut are_left) = (Headings::default(), false);
            let statement = read_only::parse_with(sql, |statement| {
                // A column is called by what was written, and values are not part of that.
                headings = Headings::of(statement);
                are_left = given.apply(statement)?;
                Ok(())
            })?;
            let frame = self.planned(statement, are_left).await?;
            Ok::<_, DataFusionError>(headings.apply(guarded::run(frame).await?))
        };
        match run.await {
            Ok(stream) => {
                let query = WrittenQuery::new(sql, KnownNames::default(), given, start);
                let schema = stream.schema();
                let explained = stream.map_err(move |error| {
                    DataFusionError::External(Box::new(explain(&error, &query)))
                });
                Ok(Box::pin(RecordBatchStreamAdapter::new(schema, explained)))
            }
            Err(error) => {
                let names = self.known_names(&error).await;
                let query = WrittenQuery::new(sql, names, given, start);
                Err(explain(&error, &query))
            }
        }
    }

    /// The names of this session, for guesses about an error.
    async fn known_names(&self, error: &DataFusionError) -> KnownNames {
        let unknown = match error.find_root() {
            DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
                SchemaError::FieldNotFound { field, .. } => Some(field.name.clone()),
                _ => None,
            },
            _ => None,
        };
        KnownNames {
            tables: self.tables().await.unwrap_or_default(),
            functions: self.functions(),
            elsewhere: match unknown {
                Some(column) => self.tables_with(&column).await,
                None => Vec::new(),
            },
        }
    }

    /// The tables and views of the default schema that have a column. One that cannot be opened has none: its own error is told where it is asked for.
    async fn tables_with(&self, column: &str) -> Vec<String> {
        let Some(schema) = self.catalog.find(DEFAULT_SCHEMA) else {
            return Vec::new();
        };
        let names = schema.table_names();
        let opened = names.iter().map(|name| schema.table(name));
        let has_it = join_all(opened).await.into_iter().map(|table| {
            matches!(table, Ok(Some(table)) if table.schema().field_with_name(column).is_ok())
        });
        let names = names.iter().zip(has_it);
        let having = names.filter(|(_, has_it)| *has_it);
        having.map(|(name, _)| name.clone()).collect()
    }

    /// Runs a query with values for its `$name` placeholders.
    pub async fn query_with(
        &self,
        sql: &str,
        params: &[(&str, ScalarValue)],
    ) -> Result<SendableRecordBatchStream> {
        guarded::run(self.frame(sql, params).await?)
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

    /// Makes `pseudonym(kind, value)` known, under the project's key.
    pub fn register_pseudonyms(&self, key: &PseudonymKey) {
        self.context
            .register_udf(functions::pseudonym::function(key.clone()));
    }

    /// DataFusion's own context, for protocols that are built on it. Whoever runs SQL through it goes round the read-only check.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// The published run this session reads; `None` for a bare one.
    pub fn run(&self) -> Option<&RunRecord> {
        self.run.as_ref()
    }

    /// Reads that the reader's pipelines are configured for, by their names; see [`Session::expecting`].
    pub fn configured(&self) -> &BTreeMap<String, ExpectedReads> {
        &self.configured
    }

    /// True if there is such a table or view. One of a contract that nobody has written yet is none, though SQL finds it empty.
    pub async fn has_table(&self, schema: &str, table: &str) -> Result<bool> {
        match self.catalog.find(schema) {
            Some(found) if found.is_made(table) => {
                Ok(found.table(table).await.map_err(into_error)?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// The functions of all kinds, by name.
    pub fn functions(&self) -> Vec<FunctionSummary> {
        function_list::of_state(&self.context.state())
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
            configured: Arc::clone(&self.configured),
        }
    }

    /// Makes a table function known: `SELECT * FROM name(...)`.
    pub fn register_table_function(&self, name: &str, function: Arc<dyn TableFunctionImpl>) {
        self.catalog.add_table_function(name);
        self.context.register_udtf(name, function);
    }

    /// Makes a view of the default schema known to this session and its siblings; one of the same name is replaced.
    pub fn register_view(&self, view: SqlView) {
        self.catalog
            .find_or_make(DEFAULT_SCHEMA)
            .register_view(view);
    }

    /// Makes a view of another schema known, if there is such a schema.
    pub fn register_view_of(&self, schema: &str, view: SqlView) {
        if let Some(schema) = self.catalog.find(schema) {
            schema.register_view(view);
        }
    }

    /// The views of the default schema that are defined as SQL, each with the query that defines it, for whoever makes them elsewhere.
    pub async fn view_definitions(&self) -> Result<Vec<ViewDefinition>> {
        match self.catalog.find(DEFAULT_SCHEMA) {
            Some(schema) => schema.definitions().await.map_err(into_error),
            None => Ok(Vec::new()),
        }
    }

    /// Makes notes on tables known to this session and its siblings: in `information_schema.columns` and in [`Session::describe`]. They are made
    /// when somebody first asks; the first that is registered stays. Those on bookkeeping tables and on views are known without.
    pub fn register_notes(&self, make: impl FnOnce() -> DataDictionary + Send + 'static) {
        self.catalog.notes.register(Box::new(make));
    }

    /// The tables and views with the meaning of one row each, as (schema, table, meaning), sorted. None is opened.
    pub async fn described_tables(&self) -> Result<Vec<(String, String, String)>> {
        let described = |(schema, table): (String, String)| {
            let note = self.catalog.notes.table(&schema, &table);
            let description = note
                .map(|note| note.description.clone())
                .unwrap_or_default();
            (schema, table, description)
        };
        Ok(self.tables().await?.into_iter().map(described).collect())
    }

    /// A table or view with the meaning, unit and examples of its columns. Errors as [`Session::columns`] does.
    ///
    /// ```no_run
    /// # async fn example(session: &tillhouse_query::Session) -> tillhouse_model::Result<()> {
    /// for column in session.describe("unified", "counted").await?.columns {
    ///     println!("{} {}: {}", column.path, column.data_type, column.note.comment());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn describe(&self, schema: &str, table: &str) -> Result<DescribedTable> {
        let columns = self.columns(schema, table).await?;
        let note = self.catalog.notes.table(schema, table);
        Ok(DescribedTable {
            schema: schema.to_owned(),
            name: table.to_owned(),
            columns: describe_columns(columns.fields(), note.as_deref()),
            description: note
                .map(|note| note.into_owned().description)
                .unwrap_or_default(),
        })
    }

    /// The table of a name with or without its schema, as [`Session::describe`] tells it.
    ///
    /// Errors with [`ErrorKind::Query`] for one that is not there, with those of like names.
    pub async fn describe_named(&self, name: &str) -> Result<DescribedTable> {
        let (schema, table) = name.split_once('.').unwrap_or((DEFAULT_SCHEMA, name));
        if self.has_table(schema, table).await? {
            return self.describe(schema, table).await;
        }
        let full = |(schema, table): (String, String)| match schema.as_str() {
            DEFAULT_SCHEMA => table,
            _ => format!("{schema}.{table}"),
        };
        let known: Vec<String> = self.tables().await?.into_iter().map(full).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let guess = nearest(name, &known).map(|guess| format!("Did you mean {guess}? "));
        Err(
            Error::new(ErrorKind::Query, format!("there is no table {name}")).hint(format!(
                "{}`tillhouse describe`, or \\dt at the prompt, lists what there is.",
                guess.unwrap_or_default()
            )),
        )
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
