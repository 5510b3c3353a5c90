//! The catalog that tools ask about: `pg_catalog` and `information_schema` over the tables of a run, without their rows.
//!
//! Invariant: no table of the warehouse can be read here: its tables have columns and no rows, and a statement that names one is not answered here at all. What is listed is what
//! the session lists that a user's queries run in, and a catalog is shown to no user of other rights. A table has the same
//! number in every run in which there are the same tables, so that a tool that keeps the numbers finds its tables again.
//!
//! Rejected: `pg_catalog` registered into the session that runs queries. Its functions and the words of PostgreSQL that it rewrites would hold for queries too, and its
//! statements would need ours.

use super::catalog_empty::CONSTRAINED;
use super::catalog_functions::{self, Descriptions, OWNER, description_fields, name_parts};
use super::catalog_sizes::sizes;
use super::catalog_tables::{
    CLASSES, CORRECTED, ColumnTypes, MISSING, MISSING_HERE, empty_tables, settings_query, table,
    texts, with_options, with_types,
};
use super::catalog_words::{
    class_names, function_with_text, in_our_forms, in_our_words, with_schemas,
};
use super::columns::all_columns;
use super::reader::RunReader;
use super::words::tokens;
use crate::callers::Caller;
use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemTable, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result as PlanResult};
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{LogicalPlan, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::ast::{Ident, ObjectNamePart, Statement, visit_relations_mut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::{
    PgCatalogContextProvider, Role,
};
use datafusion_postgres::datafusion_pg_catalog::setup_pg_catalog;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use futures::StreamExt;
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::{
    DEFAULT_SCHEMA, DescribedTable, Headings, QueryParameters, QueryShape,
    SendableRecordBatchStream, Session, check_depth, check_plan, collect, empty_table, execute,
    into_error, plan_apart,
};
use tokio::sync::OnceCell;

/// Name of the database.
pub(super) const DATABASE: &str = "tillhouse";
const PG_CATALOG: &str = "pg_catalog";
const INFORMATION_SCHEMA: &str = "information_schema";
/// Words, values and signs of a statement about the catalog, at most: tools ask with some hundreds, and a chain of so many operators has room on the stack.
const WORDS: usize = 10_000;
/// Catalogs that are kept: of the newest run and one before it, for a few users.
const KEPT: usize = 8;

/// Functions that are about the server and not about sales, beside all that begin with `pg_`.
const FUNCTIONS: [&str; 20] = [
    "version",
    "current_schemas",
    "current_database",
    "current_setting",
    "set_config",
    "format_type",
    "obj_description",
    "col_description",
    "shobj_description",
    "has_schema_privilege",
    "has_table_privilege",
    "has_database_privilege",
    "has_any_column_privilege",
    "inet_server_addr",
    "inet_server_port",
    "quote_ident",
    "to_regclass",
    "to_regnamespace",
    "to_regproc",
    "to_regtype",
];
/// Values that are about the server, with or without brackets behind them.
const VALUES: [&str; 4] = [
    "current_catalog",
    "current_schema",
    "current_user",
    "session_user",
];
/// Types whose values are numbers in the catalog.
const TYPES: [&str; 4] = ["regclass", "regnamespace", "regproc", "regtype"];

/// True if a statement has words that are about the catalog or the server.
pub(super) fn is_about_catalog(sql: &str) -> bool {
    let placed = tokens(sql);
    placed.iter().enumerate().any(|(at, of)| {
        let name = of.token.name().unwrap_or_default();
        let is_called = placed
            .get(at + 1)
            .is_some_and(|next| next.token.is_sign('('));
        name.starts_with("pg_")
            || name.eq_ignore_ascii_case(INFORMATION_SCHEMA)
            || VALUES.contains(&name)
            || TYPES.contains(&name)
            || (is_called && FUNCTIONS.contains(&name))
    })
}

/// The catalog of a run, for a user.
pub(super) struct ToolCatalog {
    context: SessionContext,
    schemas: Arc<NamedSchemas>,
    parser: PostgresCompatibilityParser,
}

/// A question about the catalog, in the words that are understood here.
pub(super) struct CatalogQuestion {
    statement: ParsedStatement,
    /// Names of its columns, as it was written.
    headings: Headings,
}

/// The catalogs that were made, by run and user.
#[derive(Default)]
pub(super) struct KeptCatalogs(Mutex<Vec<KeptCatalog>>);

struct KeptCatalog {
    run: String,
    name: String,
    /// The user with the rights that the catalog was made for: others of the same name are not shown it.
    caller: Caller,
    catalog: Arc<OnceCell<Arc<ToolCatalog>>>,
}

impl KeptCatalogs {
    /// The catalog of a reader, made when it is first asked for.
    pub(super) async fn of(&self, reader: &RunReader) -> Result<Arc<ToolCatalog>> {
        let cell = {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let known = kept.iter().position(|kept| {
                kept.run == reader.part.run
                    && kept.name == reader.name
                    && kept.caller == reader.caller
            });
            let found = match known {
                Some(at) => kept.remove(at),
                None => KeptCatalog {
                    run: reader.part.run.clone(),
                    name: reader.name.clone(),
                    caller: reader.caller.clone(),
                    catalog: Arc::default(),
                },
            };
            let cell = Arc::clone(&found.catalog);
            kept.insert(0, found);
            kept.truncate(KEPT);
            cell
        };
        let made = cell.get_or_try_init(|| async {
            let made = ToolCatalog::over(&reader.part.session, &reader.name).await?;
            Ok::<_, Error>(Arc::new(made))
        });
        made.await.cloned()
    }
}

impl ToolCatalog {
    /// The catalog of the tables of a session.
    async fn over(session: &Session, user: &str) -> Result<Self> {
        let names = session.tables().await?;
        let described = names
            .iter()
            .map(|(schema, table)| session.describe(schema, table));
        let own = session.context().catalog(DATABASE);
        let opened = names.iter().map(|(schema, table)| {
            let schema = own.as_ref().and_then(|own| own.schema(schema));
            async move {
                // What cannot be opened is not listed; its own error is told where it is asked for.
                let found = schema?.table(table).await.ok().flatten()?;
                Some((found.schema(), found.table_type()))
            }
        });
        let (described, opened) = (join_all(described).await, join_all(opened).await);
        let mut tables: BTreeMap<(String, String), SchemaRef> = BTreeMap::new();
        let mut kinds: BTreeMap<(String, String), TableType> = BTreeMap::new();
        for (name, opened) in names.iter().zip(opened) {
            if let Some((columns, kind)) = opened {
                tables.insert(name.clone(), columns);
                kinds.insert(name.clone(), kind);
            }
        }
        let schemas = Arc::new(NamedSchemas::default());
        let names: BTreeSet<&String> = tables.keys().map(|(schema, _)| schema).collect();
        for schema in names {
            let of_schema = tables.iter().filter(|((of, _), _)| of == schema);
            let empty = of_schema
                .map(|((_, table), columns)| (table.clone(), empty_table(Arc::clone(columns))));
            let of_schema = kinds.iter().filter(|((of, _), _)| of == schema);
            let kinds = of_schema.map(|((_, table), kind)| (table.clone(), *kind));
            let named = NamedTables {
                kinds: kinds.collect(),
                ..NamedTables::over(empty, None)
            };
            schemas.add(schema, Arc::new(named));
        }
        let context =
            session.catalog_context(DATABASE, Arc::clone(&schemas) as Arc<dyn CatalogProvider>);
        let made = Self {
            context,
            schemas,
            parser: PostgresCompatibilityParser::new(),
        };
        let roles = ListedRoles([OWNER.to_owned(), user.to_owned()]);
        setup_pg_catalog(&made.context, DATABASE, roles).map_err(|error| into_error(*error))?;
        made.add_missing();
        made.empty_constrained().await?;
        made.add_information_schema(session)?;
        let described: Vec<DescribedTable> = described.into_iter().flatten().collect();
        made.describe(&tables, &described, user, &sizes(session))
            .await?;
        Ok(made)
    }

    /// Adds to `pg_catalog` the tables that it has not.
    fn add_missing(&self) {
        let own = self.schemas.schema(PG_CATALOG);
        self.schemas.add(
            PG_CATALOG,
            Arc::new(NamedTables::over(empty_tables(&MISSING_HERE), own)),
        );
    }

    /// Empties the tables of constraints and indexes: what the library has there is of PostgreSQL's own tables.
    async fn empty_constrained(&self) -> Result<()> {
        let Some(own) = self.schemas.schema(PG_CATALOG) else {
            return Ok(());
        };
        let mut tables = Vec::new();
        for name in CONSTRAINED {
            if let Some(table) = own.table(name).await.map_err(into_error)? {
                tables.push((name.to_owned(), empty_table(table.schema())));
            }
        }
        let tables = NamedTables::over(tables, Some(own));
        self.schemas.add(PG_CATALOG, Arc::new(tables));
        Ok(())
    }

    /// Adds the session's own `information_schema`, with the tables that it has not.
    fn add_information_schema(&self, session: &Session) -> Result<()> {
        let own = session.context().catalog(DATABASE);
        let own = own.and_then(|catalog| catalog.schema(INFORMATION_SCHEMA));
        let missing = empty_tables(&MISSING);
        let sets = Arc::new(Schema::new(texts(&[
            "character_set_catalog",
            "character_set_schema",
            "character_set_name",
        ])));
        let name = |text: Option<&str>| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        let row = vec![name(None), name(None), name(Some("UTF8"))];
        let sets = table(sets, row).map_err(into_error)?;
        let tables = missing.chain([("character_sets".to_owned(), sets)]);
        self.schemas
            .add(INFORMATION_SCHEMA, Arc::new(NamedTables::over(tables, own)));
        Ok(())
    }

    /// Rows of a question about the catalog, whose answer is small.
    async fn ask(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let frame = self.context.sql(sql).await.map_err(into_error)?;
        collect(frame.execute_stream().await.map_err(into_error)?).await
    }

    /// The numbers of the tables.
    async fn numbers(&self) -> Result<BTreeMap<(String, String), i32>> {
        let sql = "SELECT n.nspname, c.relname, c.oid FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";
        let mut numbers = BTreeMap::new();
        for batch in self.ask(sql).await? {
            let [schemas, tables, oids] = batch.columns() else {
                return Err(Error::internal(
                    "a question about the catalog has other columns",
                ));
            };
            let (schemas, tables) = (schemas.as_string::<i32>(), tables.as_string::<i32>());
            let oids = oids.as_primitive::<Int32Type>().values();
            for (row, oid) in oids.iter().enumerate() {
                let name = (schemas.value(row).to_owned(), tables.value(row).to_owned());
                numbers.insert(name, *oid);
            }
        }
        Ok(numbers)
    }

    /// The numbers of the schemas.
    async fn schema_numbers(&self) -> Result<BTreeMap<String, i32>> {
        let sql = "SELECT nspname, oid FROM pg_catalog.pg_namespace";
        let mut numbers = BTreeMap::new();
        for batch in self.ask(sql).await? {
            let [names, oids] = batch.columns() else {
                return Err(Error::internal(
                    "a question about the catalog has other columns",
                ));
            };
            let names = names.as_string::<i32>();
            let oids = oids.as_primitive::<Int32Type>().values();
            for (row, oid) in oids.iter().enumerate() {
                numbers.insert(names.value(row).to_owned(), *oid);
            }
        }
        Ok(numbers)
    }

    /// Adds the exact types of columns, the descriptions, and the functions.
    async fn describe(
        &self,
        tables: &BTreeMap<(String, String), SchemaRef>,
        described: &[DescribedTable],
        user: &str,
        sizes: &BTreeMap<(String, String), i64>,
    ) -> Result<()> {
        let numbers = self.numbers().await?;
        let mut types = ColumnTypes::new();
        for (name, schema) in tables {
            let Some(oid) = numbers.get(name) else {
                continue;
            };
            for (number, column) in (1_i16..).zip(all_columns(schema).iter()) {
                let of = i32::try_from(column.of.oid()).unwrap_or_default();
                types.insert((*oid, number), (of, column.modifier));
            }
        }
        let mut descriptions = Descriptions::new();
        for table in described {
            let Some(oid) = numbers.get(&(table.schema.clone(), table.name.clone())) else {
                continue;
            };
            if !table.description.is_empty() {
                descriptions.insert((*oid, 0), table.description.clone());
            }
            // Parts of nested columns are described too, and are no columns.
            let columns = table
                .columns
                .iter()
                .filter(|column| !column.path.contains('.'));
            for (number, column) in (1_i32..).zip(columns) {
                let comment = column.note.comment();
                if !comment.is_empty() {
                    descriptions.insert((*oid, number), comment);
                }
            }
        }
        let class = (PG_CATALOG.to_owned(), "pg_class".to_owned());
        let class = numbers.get(&class).copied().unwrap_or_default();
        let attributes = self.ask("SELECT * FROM pg_catalog.pg_attribute").await?;
        let mut others = Vec::new();
        for (table, sql) in CORRECTED {
            others.push((table, self.ask(sql).await?));
        }
        others.push(("pg_settings", self.ask(&settings_query()).await?));
        self.add_rows(
            (attributes.as_slice(), others),
            &types,
            &descriptions,
            class,
        )
        .map_err(into_error)?;
        // What a name without a schema reads.
        let is_visible = |schema: &str| matches!(schema, DEFAULT_SCHEMA | PG_CATALOG);
        let visible = numbers
            .iter()
            .filter(|((schema, _), _)| is_visible(schema))
            .map(|(_, oid)| *oid)
            .collect();
        let schemas = self.schema_numbers().await?;
        let sized = sizes
            .iter()
            .filter_map(|(name, bytes)| Some((*numbers.get(name)?, *bytes)))
            .collect();
        let functions =
            catalog_functions::all(user, descriptions, visible, &numbers, &schemas, sized);
        for function in functions {
            self.context.register_udf(function);
        }
        Ok(())
    }

    /// Puts `pg_attribute` with exact types, `pg_description` with descriptions and the corrected ones in the place of those that are there.
    fn add_rows(
        &self,
        (attributes, others): (&[RecordBatch], Vec<(&str, Vec<RecordBatch>)>),
        types: &ColumnTypes,
        descriptions: &Descriptions,
        class: i32,
    ) -> PlanResult<()> {
        let of_tables = descriptions.keys().map(|(table, _)| *table);
        let of_columns = descriptions.keys().map(|(_, column)| *column);
        let classes = descriptions.keys().map(|_| class);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(of_tables)),
            Arc::new(Int32Array::from_iter_values(classes)),
            Arc::new(Int32Array::from_iter_values(of_columns)),
            Arc::new(StringArray::from_iter_values(descriptions.values())),
        ];
        let described = table(Arc::new(Schema::new(description_fields())), columns)?;
        let mut tables = vec![("pg_description".to_owned(), described)];
        let exact = attributes.iter().map(|batch| with_types(batch, types));
        let exact = exact.collect::<PlanResult<Vec<_>>>()?;
        if let Some(first) = exact.first() {
            let schema = first.schema();
            let attributes: Arc<dyn TableProvider> =
                Arc::new(MemTable::try_new(schema, vec![exact])?);
            tables.push(("pg_attribute".to_owned(), attributes));
        }
        for (name, batches) in others {
            let batches = match name {
                CLASSES => batches
                    .iter()
                    .map(with_options)
                    .collect::<PlanResult<_>>()?,
                _ => batches,
            };
            if let Some(first) = batches.first() {
                let schema = first.schema();
                let corrected: Arc<dyn TableProvider> =
                    Arc::new(MemTable::try_new(schema, vec![batches])?);
                tables.push((name.to_owned(), corrected));
            }
        }
        let inner = self.schemas.schema(PG_CATALOG);
        self.schemas
            .add(PG_CATALOG, Arc::new(NamedTables::over(tables, inner)));
        Ok(())
    }

    /// A statement in the words that are understood here, with its values; none where it cannot be read, is long or more than one, or names a table of the warehouse.
    ///
    /// Errors where it is too deep to be planned: the stack is as deep here as for queries, and the parser is another; and where it names a table that is not there, or asks for
    /// the text of a function.
    pub(super) fn statement(
        &self,
        sql: &str,
        given: &QueryParameters,
    ) -> Result<Option<CatalogQuestion>> {
        if tokens(sql).len() > WORDS {
            return Ok(None);
        }
        self.check_names(sql)?;
        let Some(mut statement) = self.read(sql, given) else {
            return Ok(None);
        };
        check_depth(&statement)?;
        // As it was written: another form may name less.
        match self.named(&statement) {
            Some((_, false)) => {}
            None | Some((false, true)) => return Ok(None),
            Some((true, true)) => {
                let what = "a statement reads the catalog or tables, and this one reads both";
                return Err(Error::new(ErrorKind::Query, what).hint(
                    "Ask twice: the catalog has no rows of tables. information_schema is read beside tables.",
                ));
            }
        }
        if let ParsedStatement::Statement(statement) = &mut statement {
            in_our_forms(statement);
        }
        check_depth(&statement)?;
        let headings = match Parser::parse_sql(&PostgreSqlDialect {}, sql).as_deref() {
            Ok([written]) => Headings::of(&ParsedStatement::Statement(Box::new(written.clone()))),
            _ => Headings::default(),
        };
        Ok(Some(CatalogQuestion {
            statement,
            headings,
        }))
    }

    /// Errors for `'nope'::regclass`, of a table that is not there, and for what `\sf` asks.
    fn check_names(&self, sql: &str) -> Result<()> {
        if let Some(name) = function_with_text(sql) {
            let message = format!("there is no function {name} with a text of its own");
            let hint = "All functions are built in: `\\df` lists them, and docs/functions.md says what they give.";
            return Err(Error::new(ErrorKind::Query, message).hint(hint));
        }
        match class_names(sql)
            .into_iter()
            .find(|name| !self.may_be_class(name))
        {
            None => Ok(()),
            Some(name) => Err(
                Error::new(ErrorKind::Query, format!("there is no table {name}"))
                    .hint("`\\dt *.*` lists what there is; to_regclass gives null where there is nothing of a name."),
            ),
        }
    }

    /// True of a name that a table has, of a number, and of all names of PostgreSQL's own tables: not all of them are here.
    fn may_be_class(&self, name: &str) -> bool {
        if name == "-" || name.bytes().all(|byte| byte.is_ascii_digit()) {
            return true;
        }
        let has = |schema: &str, table: &str| {
            let of_schema = self.schemas.schema(schema);
            of_schema.is_some_and(|of_schema| of_schema.table_exist(table))
        };
        let parts = name_parts(name).unwrap_or_default();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [table] => table.starts_with("pg_") || has(DEFAULT_SCHEMA, table),
            [schema, table] | [DATABASE, schema, table] => {
                matches!(*schema, PG_CATALOG | INFORMATION_SCHEMA) || has(schema, table)
            }
            _ => false,
        }
    }

    /// A query with its values; none where it cannot be read or is more than one.
    fn read(&self, sql: &str, given: &QueryParameters) -> Option<ParsedStatement> {
        let unqualified = [DEFAULT_SCHEMA, PG_CATALOG];
        let sql = with_schemas(&in_our_words(sql), |name| {
            unqualified.into_iter().find(|schema| {
                let tables = self.schemas.schema(schema);
                tables.is_some_and(|tables| tables.table_exist(name))
            })
        });
        let mut statements = self.parser.parse(&sql).ok()?;
        let mut statement = statements.pop().filter(|_| statements.is_empty())?;
        if !matches!(statement, Statement::Query(_)) {
            return None;
        }
        given.put_into(&mut statement);
        with_catalog(&mut statement);
        Some(ParsedStatement::Statement(Box::new(statement)))
    }

    /// Answer to whether a statement names tables of `pg_catalog`, and tables of the warehouse; none where that cannot be told.
    fn named(&self, statement: &ParsedStatement) -> Option<(bool, bool)> {
        let named = self.context.state().resolve_table_references(statement);
        let (mut has_catalog, mut has_tables) = (false, false);
        for table in named.ok()? {
            let schema = table.schema().unwrap_or(DEFAULT_SCHEMA);
            let of_schema = self.schemas.schema(schema);
            has_catalog |= schema == PG_CATALOG;
            has_tables |= !matches!(schema, PG_CATALOG | INFORMATION_SCHEMA)
                && of_schema.is_some_and(|schema| schema.table_exist(table.table()));
        }
        Some((has_catalog, has_tables))
    }

    /// The plan of a question, which reads alone.
    async fn planned(&self, statement: ParsedStatement) -> Result<LogicalPlan> {
        let plan = plan_apart(&self.context.state(), statement).await;
        let plan = plan.map_err(into_error)?;
        check_plan(&plan)?;
        reads_only().verify_plan(&plan).map_err(into_error)?;
        Ok(plan)
    }

    /// Runs a question.
    pub(super) async fn rows(
        self: &Arc<Self>,
        question: CatalogQuestion,
    ) -> Result<SendableRecordBatchStream> {
        let plan = self.planned(question.statement).await?;
        let rows = execute(DataFrame::new(self.context.state(), plan)).await?;
        let rows = question.headings.apply(rows);
        let (schema, kept) = (rows.schema(), Arc::clone(self));
        let rows = rows.map(move |batch| {
            // A catalog that nobody holds is emptied: not while it is read.
            let _kept = &kept;
            batch
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    /// Columns of a question.
    pub(super) async fn shape(&self, question: CatalogQuestion) -> Result<QueryShape> {
        let plan = self.planned(question.statement).await?;
        Ok(QueryShape {
            parameters: BTreeMap::new(),
            columns: question.headings.name(plan.schema().as_arrow()),
        })
    }
}

impl Drop for ToolCatalog {
    fn drop(&mut self) {
        // `pg_catalog` holds the list of catalogs that holds it: neither would ever go.
        self.schemas.clear();
    }
}

/// Roles that are listed: the owner of what is there, and the user, who may come in and do nothing but read.
#[derive(Debug, Clone)]
struct ListedRoles([String; 2]);

#[async_trait]
impl PgCatalogContextProvider for ListedRoles {
    async fn roles(&self) -> Vec<String> {
        let [owner, user] = &self.0;
        let is_other = owner != user;
        std::iter::once(owner)
            .chain(is_other.then_some(user))
            .cloned()
            .collect()
    }

    async fn role(&self, name: &str) -> Option<Role> {
        let [_, user] = &self.0;
        Some(Role {
            name: name.to_owned(),
            is_superuser: false,
            can_login: name == user,
            can_create_db: false,
            can_create_role: false,
            can_create_user: false,
            can_replication: false,
            grants: Vec::new(),
            inherited_roles: Vec::new(),
        })
    }
}

fn reads_only() -> SQLOptions {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
}

/// Schemas in the order of their names, which numbers depend on.
#[derive(Debug, Default)]
struct NamedSchemas(RwLock<BTreeMap<String, Arc<dyn SchemaProvider>>>);

impl NamedSchemas {
    fn add(&self, name: &str, schema: Arc<dyn SchemaProvider>) {
        let mut schemas = self.0.write().unwrap_or_else(PoisonError::into_inner);
        schemas.insert(name.to_owned(), schema);
    }

    fn clear(&self) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

impl CatalogProvider for NamedSchemas {
    fn schema_names(&self) -> Vec<String> {
        let schemas = self.0.read().unwrap_or_else(PoisonError::into_inner);
        schemas.keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let schemas = self.0.read().unwrap_or_else(PoisonError::into_inner);
        schemas.get(name).cloned()
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> PlanResult<Option<Arc<dyn SchemaProvider>>> {
        let mut schemas = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Ok(schemas.insert(name.to_owned(), schema))
    }
}

/// Tables by name, before those of another schema.
#[derive(Debug)]
struct NamedTables {
    tables: BTreeMap<String, Arc<dyn TableProvider>>,
    /// Kinds of those that stand for others.
    kinds: BTreeMap<String, TableType>,
    inner: Option<Arc<dyn SchemaProvider>>,
}

impl NamedTables {
    fn over(
        tables: impl IntoIterator<Item = (String, Arc<dyn TableProvider>)>,
        inner: Option<Arc<dyn SchemaProvider>>,
    ) -> Self {
        Self {
            tables: tables.into_iter().collect(),
            kinds: BTreeMap::new(),
            inner,
        }
    }
}

#[async_trait]
impl SchemaProvider for NamedTables {
    fn table_names(&self) -> Vec<String> {
        let inner = self.inner.iter().flat_map(|inner| inner.table_names());
        let inner = inner.filter(|name| !self.tables.contains_key(name));
        self.tables.keys().cloned().chain(inner).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match (self.tables.get(name), &self.inner) {
            (Some(table), _) => Ok(Some(Arc::clone(table))),
            (None, Some(inner)) => inner.table(name).await,
            (None, None) => Ok(None),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>, DataFusionError> {
        if let Some(kind) = self.kinds.get(name) {
            return Ok(Some(*kind));
        }
        Ok(self.table(name).await?.map(|table| table.table_type()))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.contains_key(name)
            || self
                .inner
                .as_ref()
                .is_some_and(|inner| inner.table_exist(name))
    }
}

/// Names the schema of tables of `pg_catalog` that the parser does not know by themselves.
fn with_catalog(statement: &mut Statement) {
    let _ = visit_relations_mut(statement, |name| {
        if let [ObjectNamePart::Identifier(table)] = name.0.as_slice() {
            let is_known = |(known, _): &(&str, &[&str])| table.value.eq_ignore_ascii_case(known);
            if MISSING_HERE.iter().any(is_known) {
                let schema = ObjectNamePart::Identifier(Ident::new(PG_CATALOG));
                name.0.insert(0, schema);
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_about_the_catalog_are_told_from_queries() {
        for sql in [
            "SELECT version()",
            "select current_schema(), current_user",
            "SELECT c.relname FROM pg_catalog.pg_class c",
            "SELECT typname FROM pg_type WHERE oid = 25",
            "SELECT * FROM INFORMATION_SCHEMA.tables",
            "SELECT pg_backend_pid()",
            "SELECT to_regclass('sales')",
            "SELECT 'transactions'::regclass::oid",
        ] {
            assert!(is_about_catalog(sql), "{sql}");
        }
        for sql in [
            "SELECT 1",
            "SELECT 'pg_class', count(*) FROM sales -- version()",
            "SELECT sum(amount) FROM counted",
            "SELECT 1.5 AS version",
        ] {
            assert!(!is_about_catalog(sql), "{sql}");
        }
    }
}
