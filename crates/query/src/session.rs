//! One session: SQL over one published run, or over whatever its user registered.
//!
//! Invariant: nothing that runs here writes. A session sees one published run for as long as it lives; open a new one for news.

use crate::catalog::Catalog;
use crate::catalog_schema::RedactedWarehouse;
use crate::depth;
use crate::engine;
use crate::failure::{explain, into_error};
use crate::floats_beside_decimals;
use crate::function_list::{self, FunctionSummary};
use crate::functions;
use crate::guarded;
use crate::headings::Headings;
use crate::ignored_clauses;
use crate::language::{self, TableColumns};
use crate::mistakes::{KnownNames, WrittenQuery};
use crate::notes::{DescribedTable, describe_columns};
use crate::output_names;
use crate::parameters::{self, ParameterPlaces, QueryParameters};
use crate::pool::MemoryShare;
use crate::read_only;
use crate::same_names;
use crate::schemas::DEFAULT_SCHEMA;
use crate::scope::Scope;
use crate::sql_type;
use crate::sql_view::{SqlView, ViewDefinition};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, ScalarValue, SchemaError};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use futures::TryStreamExt;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_lake::{RunRecord, Warehouse};
use tillhouse_model::did_you_mean::nearest;
use tillhouse_model::{DataDictionary, Error, ErrorKind, ExpectedReads, PseudonymKey, Result};

/// A table of no rows.
pub fn empty_table(schema: SchemaRef) -> Arc<dyn TableProvider> {
    Arc::new(datafusion::datasource::empty::EmptyTable::new(schema))
}

/// Parameters of a query, at most, whose types are asked of the casts around them.
const MOST_PLACED: usize = 256;

/// The columns of a query that was planned. What the analyzer refuses is told where the query is run.
fn told_columns(frame: DataFrame) -> SchemaRef {
    let (state, plan) = frame.into_parts();
    let columns = sql_type::columns_that_come(&state, &plan);
    columns.unwrap_or_else(|_| Arc::new(plan.schema().as_arrow().clone()))
}

/// Columns of a query that was planned, and the types of its parameters.
#[derive(Debug, Clone)]
pub struct QueryShape {
    /// Types of the parameters by name (`$1` is `1`), where something says what they are.
    pub parameters: BTreeMap<String, DataType>,
    /// Its columns, called as the result's are.
    pub columns: SchemaRef,
}

/// A session. Made by [`crate::QueryEngine`].
pub struct Session {
    context: SessionContext,
    catalog: Arc<Catalog>,
    warehouse: Option<RedactedWarehouse>,
    run: Option<RunRecord>,
    findings: Arc<Mutex<BTreeMap<String, bool>>>,
    configured: Arc<BTreeMap<String, ExpectedReads>>,
    scope: Arc<Scope>,
}

impl Session {
    pub(crate) fn new(
        context: SessionContext,
        catalog: Arc<Catalog>,
        run: Option<RunRecord>,
    ) -> Self {
        Self {
            context,
            warehouse: catalog.warehouse().cloned(),
            catalog,
            run,
            findings: Arc::default(),
            configured: Arc::default(),
            scope: Arc::new(Scope::everything()),
        }
    }

    /// Another session over the same run, within the same memory, for a reader who may see a part of it: no view, function, roll-up or description tells of more. Its views
    /// and notes are those of this one. Table functions are to be registered anew: those of this session read the whole run. A session of a part of a part sees what
    /// both scopes let be seen.
    ///
    /// Tables that are registered with the new session afterwards are there whole. The part that is everything is a [`Session::sibling`].
    ///
    /// ```
    /// # use tillhouse_query::{QueryEngine, QueryEngineOptions, Scope};
    /// # fn main() -> tillhouse_model::Result<()> {
    /// let session = QueryEngine::new(QueryEngineOptions::default())?.empty_session()?;
    /// let north = Scope { tenants: Some(["north".to_owned()].into()), ..Scope::everything() };
    /// assert!(!session.scoped(&north).scope().is_everything());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn scoped(&self, scope: &Scope) -> Self {
        if scope.is_everything() {
            return self.sibling();
        }
        self.part(self.catalog.scoped(scope), scope)
    }

    /// As [`Session::scoped`], for what another session sees. If that is of the same run, what was worked out for it need not be worked out anew.
    #[must_use]
    pub fn scoped_as(&self, other: &Self) -> Self {
        let run_of = |session: &Self| session.run.as_ref().map(|run| run.run_id.clone());
        let run = run_of(self);
        let is_same = run.is_some() && run == run_of(other);
        let known = is_same.then(|| self.catalog.scoped_as(&other.catalog, &other.scope));
        match known.flatten() {
            Some(catalog) => self.part(catalog, &other.scope),
            None => self.scoped(&other.scope),
        }
    }

    fn part(&self, catalog: Catalog, scope: &Scope) -> Self {
        let catalog = Arc::new(catalog);
        let state = self.context.state();
        let context = engine::context(
            state.config().clone(),
            Arc::clone(state.runtime_env()),
            &catalog,
        );
        Self {
            context,
            catalog,
            warehouse: self.warehouse.clone(),
            findings: Arc::clone(&self.findings),
            run: self.run.as_ref().map(|run| scope.narrowed_run(run)),
            configured: Arc::new(scope.narrowed_reads(&self.configured)),
            scope: Arc::new(self.scope.and(scope)),
        }
    }

    /// Another session over the same tables whose queries take of a share of the memory. Table functions are to be registered anew.
    pub fn within(&self, share: &MemoryShare) -> Result<Self> {
        let state = self.context.state();
        let runtime = RuntimeEnvBuilder::from_runtime_env(state.runtime_env())
            .with_memory_pool(Arc::clone(&share.pool) as Arc<dyn MemoryPool>)
            .build_arc()
            .map_err(into_error)?;
        let context = engine::context(state.config().clone(), runtime, &self.catalog);
        Ok(Self {
            context,
            catalog: Arc::clone(&self.catalog),
            warehouse: self.warehouse.clone(),
            findings: Arc::clone(&self.findings),
            run: self.run.clone(),
            configured: Arc::clone(&self.configured),
            scope: Arc::clone(&self.scope),
        })
    }

    /// The part of the run that this session sees.
    pub fn scope(&self) -> &Scope {
        &self.scope
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
        let named = read_only::parse_with(sql, |statement| {
            output_names::give_names(statement);
            Ok(())
        });
        let statement = named.map_err(into_error)?;
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
        let (statement, is_described) = sql_type::query_described(statement);
        let mut plan = same_names::plan_apart(&state, statement).await?;
        depth::check_plan(&plan).map_err(|error| DataFusionError::External(Box::new(error)))?;
        if are_parameters_left {
            plan = parameters::resolve(plan)?;
        }
        // Columns that are told before the query is run have the types that come.
        let plan = floats_beside_decimals::met(plan)?;
        read_only::options().verify_plan(&plan)?;
        let plan = match is_described {
            true => {
                let columns = sql_type::columns_that_come(&state, &plan)?;
                sql_type::description(&columns)?
            }
            false => sql_type::described(plan)?,
        };
        Ok(DataFrame::new(state, plan))
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
                output_names::give_names(statement);
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

    /// Columns of a query that somebody wrote, and the types of its parameters as their places want them. It is planned and not run.
    ///
    /// Errors as [`Self::query_written`] does.
    pub async fn shape_written(
        &self,
        sql: &str,
        given: &QueryParameters,
        start: (u64, u64),
    ) -> Result<QueryShape> {
        let plan = async {
            let (mut headings, mut are_left) = (Headings::default(), false);
            let statement = read_only::parse_with(sql, |statement| {
                headings = Headings::of(statement);
                output_names::give_names(statement);
                are_left = given.apply(statement)?;
                Ok(())
            })?;
            let frame = self.planned(statement, are_left).await?;
            Ok::<_, DataFusionError>(headings.name(&told_columns(frame)))
        };
        match plan.await {
            Ok(columns) => Ok(QueryShape {
                parameters: BTreeMap::new(),
                columns,
            }),
            Err(error) => {
                let names = self.known_names(&error).await;
                Err(explain(
                    &error,
                    &WrittenQuery::new(sql, names, given, start),
                ))
            }
        }
    }

    /// As [`Self::shape_written`], of a query whose parameters have no values yet: with the types that their places want, by name, where something says so.
    pub async fn shape_unbound(&self, sql: &str, start: (u64, u64)) -> Result<QueryShape> {
        let calls = QueryParameters::default();
        self.shape_unbound_with(sql, &calls, start).await
    }

    /// As [`Self::shape_unbound`], with the values of functions that say something of whoever asks, see [`QueryParameters::with_call`].
    ///
    /// Errors as [`Self::query_written`] does.
    pub async fn shape_unbound_with(
        &self,
        sql: &str,
        calls: &QueryParameters,
        start: (u64, u64),
    ) -> Result<QueryShape> {
        let mut places = ParameterPlaces::default();
        let plan = async {
            let mut headings = Headings::default();
            let statement = read_only::parse_with(sql, |statement| {
                headings = Headings::of(statement);
                output_names::give_names(statement);
                calls.apply_calls(statement);
                places = ParameterPlaces::take(statement);
                Ok(())
            })?;
            let frame = self.planned(statement, false).await?;
            let types = frame.logical_plan().get_parameter_types()?;
            let named = |(name, data_type): (String, Option<DataType>)| {
                data_type.map(|data_type| (name.trim_start_matches('$').to_owned(), data_type))
            };
            Ok::<_, DataFusionError>(QueryShape {
                parameters: types.into_iter().filter_map(named).collect(),
                columns: headings.name(&told_columns(frame)),
            })
        };
        let planned = plan.await;
        let mut shape = match planned {
            Ok(shape) => shape,
            // A place may want the type itself, as an argument does: without one it is planned with NULL, which every place takes.
            Err(_) => {
                let given = QueryParameters::unknown_in(sql).with_calls_of(calls);
                self.shape_written(sql, &given, start).await?
            }
        };
        self.add_placed(&places, &mut shape.parameters).await;
        Ok(shape)
    }

    /// Adds the types that the places of parameters say to those that planning has found.
    async fn add_placed(&self, places: &ParameterPlaces, found: &mut BTreeMap<String, DataType>) {
        for name in &places.lists {
            let item = found.remove(name).unwrap_or(DataType::Utf8);
            found.insert(name.clone(), DataType::new_list(item, true));
        }
        let mut known: BTreeMap<String, Option<DataType>> = BTreeMap::new();
        for (name, of) in places.types.iter().take(MOST_PLACED) {
            let of = of.to_string();
            let data_type = match known.get(&of) {
                Some(data_type) => data_type.clone(),
                None => {
                    let frame = self.sql(&format!("SELECT CAST(NULL AS {of})")).await.ok();
                    let field = frame.and_then(|frame| frame.schema().fields().first().cloned());
                    let data_type = field.map(|field| field.data_type().clone());
                    known.insert(of, data_type.clone());
                    data_type
                }
            };
            if let Some(data_type) = data_type {
                found.insert(name.clone(), data_type);
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

    /// A context for questions about a catalog that hold to another engine's words: without Tillhouse's functions and rules but for those that hold values to memory, with the
    /// memory that all queries share.
    /// It reads the catalog and nothing else, and knows no scope: the tables that it is given are of the part that may be seen.
    pub fn catalog_context(&self, name: &str, tables: Arc<dyn CatalogProvider>) -> SessionContext {
        engine::catalog_context(name, tables, self.context.runtime_env())
    }

    /// The published run this session reads; `None` for a bare one.
    pub fn run(&self) -> Option<&RunRecord> {
        self.run.as_ref()
    }

    /// The warehouse of that run, for what stands in the logs of its tables alone: rows are read through the session, which knows what its user may see.
    pub fn warehouse(&self) -> Option<&Warehouse> {
        self.warehouse.as_ref().map(|redacted| &redacted.0)
    }

    /// A finding about the run, by its name. It is asked for once, for this session, its siblings and its parts, since a run never changes.
    pub async fn finding(
        &self,
        name: &str,
        ask: impl Future<Output = Result<bool>>,
    ) -> Result<bool> {
        let findings = || self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let known = findings().get(name).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = ask.await?;
        findings().insert(name.to_owned(), found);
        Ok(found)
    }

    /// Reads that the reader's pipelines are configured for, by their names; see [`Session::expecting`].
    pub fn configured(&self) -> &BTreeMap<String, ExpectedReads> {
        &self.configured
    }

    /// True if there is such a table or view. One of a contract that nobody has written yet is none, though SQL finds it empty.
    pub async fn has_table(&self, schema: &str, table: &str) -> Result<bool> {
        Ok(self.table(schema, table).await?.is_some())
    }

    /// A table or view as the SQL of this session reads it, to be registered with another: of it no more is there than may be seen here. `None` as
    /// [`Session::has_table`] has it.
    pub async fn table(&self, schema: &str, table: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.catalog.find(schema) {
            Some(found) if found.is_made(table) => found.table(table).await.map_err(into_error),
            _ => Ok(None),
        }
    }

    /// The functions of all kinds, by name.
    pub fn functions(&self) -> Vec<FunctionSummary> {
        function_list::of_state(&self.context.state())
    }

    /// The tables and views, as (schema, table), sorted.
    pub async fn tables(&self) -> Result<Vec<(String, String)>> {
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
            warehouse: self.warehouse.clone(),
            findings: Arc::clone(&self.findings),
            run: self.run.clone(),
            configured: Arc::clone(&self.configured),
            scope: Arc::clone(&self.scope),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParameterLiteral, QueryEngine, QueryEngineOptions, collect};
    use arrow::array::AsArray;
    use arrow::datatypes::{Field, Schema};

    fn session() -> Session {
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = engine.empty_session().unwrap();
        let columns = vec![
            Field::new("amount", DataType::Decimal128(18, 4), true),
            Field::new("name", DataType::Utf8, true),
        ];
        let table = empty_table(Arc::new(Schema::new(columns)));
        session.register("sold", table).unwrap();
        session
    }

    #[tokio::test]
    async fn a_query_is_described_before_its_parameters_have_values() {
        let sql =
            "SELECT sum(amount), name AS n FROM sold WHERE amount > $1 AND name = $2 GROUP BY name";
        let shape = session().shape_unbound(sql, (1, 1)).await.unwrap();
        let names: Vec<&String> = shape.columns.fields().iter().map(|f| f.name()).collect();
        assert_eq!(names, ["sum", "n"]);
        assert!(matches!(
            shape.parameters.get("1"),
            Some(DataType::Decimal128(..))
        ));
        assert_eq!(shape.parameters.get("2"), Some(&DataType::Utf8));
        // So does a cast, a limit, and the column beside it or that it is looked for in.
        let session = session();
        let placed = "SELECT $1::int AS a, $2::bigint[] AS b, $3::interval AS c, coalesce($4, amount) AS d FROM sold \
             WHERE amount = ANY($5) LIMIT $6 OFFSET $7";
        let shape = session.shape_unbound(placed, (1, 1)).await.unwrap();
        let of = |name: &str| shape.parameters.get(name);
        assert_eq!(of("1"), Some(&DataType::Int32));
        assert!(
            matches!(of("2"), Some(DataType::List(item)) if item.data_type() == &DataType::Int64)
        );
        assert!(matches!(of("3"), Some(DataType::Interval(_))));
        assert!(matches!(of("4"), Some(DataType::Decimal128(..))));
        assert!(matches!(of("5"), Some(DataType::List(item)) if item.data_type().is_decimal()));
        assert_eq!(
            (of("6"), of("7")),
            (Some(&DataType::Int64), Some(&DataType::Int64))
        );
        // A place that wants a type takes NULL.
        let untyped = session.shape_unbound("SELECT $1 AS a, $1 IS NULL AS b", (1, 1));
        assert_eq!(untyped.await.unwrap().columns.fields().len(), 2);
        let wrong = session.shape_unbound("SELECT\n nothing FROM sold", (1, 1));
        let wrong = wrong.await.unwrap_err();
        assert!(wrong.message().contains("nothing"), "{wrong}");
        assert!(
            wrong.context().contains(&("line", "2".to_owned())),
            "{wrong}"
        );
    }

    #[tokio::test]
    async fn a_literal_has_its_type_wherever_it_stands() {
        let given = QueryParameters::default()
            .with_literal("1", ParameterLiteral::Text("007".to_owned()))
            .with_literal("2", ParameterLiteral::Number("12.50".to_owned()))
            .with_literal("3", ParameterLiteral::Null);
        let sql = "SELECT $1 AS a, $2 AS b, $3 IS NULL AS c, $1 = '007' AS d";
        let session = session();
        let shape = session.shape_written(sql, &given, (1, 1)).await.unwrap();
        let stream = session.query_written(sql, &given, (1, 1)).await.unwrap();
        assert_eq!(shape.columns.fields().len(), stream.schema().fields().len());
        let batches = collect(stream).await.unwrap();
        let batch = &batches[0];
        assert_eq!(batch.column(0).as_string::<i32>().value(0), "007");
        assert_eq!(batch.column(1).data_type(), &DataType::Decimal128(4, 2));
        for column in [2, 3] {
            assert!(batch.column(column).as_boolean().value(0));
        }
        // What nobody gives has no value.
        assert!(
            session
                .query_written("SELECT $4", &given, (1, 1))
                .await
                .is_err()
        );
    }
}
