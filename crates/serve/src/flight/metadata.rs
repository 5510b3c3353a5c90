//! Lists that drivers ask for: catalogs, schemas, tables with their columns, types of tables, keys, types, what the server can do.
//!
//! Invariant: what is listed is what the session lists that the user's queries run in, of its newest run; no table is read. Keys are none: the warehouse has no constraints that
//! anybody declared. The columns of a list are those of the standard (FlightSql.proto), and the same before there are rows.

use super::sent::sent_schema;
use crate::problem::Problem;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    Command, CommandGetTables, Nullable, Searchable, SqlInfo, SqlNullOrdering,
    SqlSupportedCaseSensitivity, SqlSupportedTransaction, XdbcDataType,
};
use datafusion::logical_expr::TableType;
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use tillhouse_query::Session;

/// Name of the catalog.
const CATALOG: &str = "tillhouse";
/// Types of tables.
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";
/// Name under which drivers look for what is said of a column.
const REMARKS: &str = "ARROW:FLIGHT:SQL:REMARKS";

type Result<T> = std::result::Result<T, Problem>;

/// Columns of a list; `None` for a command that asks for none.
pub(super) fn columns(command: &Command) -> Result<Option<SchemaRef>> {
    Ok(Some(match command {
        Command::CommandGetCatalogs(asked) => asked.into_builder().schema(),
        Command::CommandGetDbSchemas(asked) => asked.clone().into_builder().schema(),
        Command::CommandGetTables(asked) => asked.clone().into_builder().schema(),
        Command::CommandGetTableTypes(asked) => asked.into_builder().schema(),
        Command::CommandGetPrimaryKeys(_) => primary_keys(),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => foreign_keys(),
        Command::CommandGetSqlInfo(_) => ability_columns(),
        Command::CommandGetXdbcTypeInfo(_) => types()?.schema(),
        _ => return Ok(None),
    }))
}

/// Rows of a list that is the same whoever asks and whatever is published; `None` for one of a session.
pub(super) fn fixed_rows(command: &Command) -> Result<Option<RecordBatch>> {
    let made = match command {
        Command::CommandGetCatalogs(asked) => {
            let mut list = asked.into_builder();
            list.append(CATALOG);
            list.build()
        }
        Command::CommandGetTableTypes(asked) => {
            let mut list = asked.into_builder();
            for of in [TABLE, VIEW] {
                list.append(of);
            }
            list.build()
        }
        Command::CommandGetPrimaryKeys(_) => Ok(RecordBatch::new_empty(primary_keys())),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => Ok(RecordBatch::new_empty(foreign_keys())),
        Command::CommandGetSqlInfo(asked) => {
            let made = asked.clone().into_builder(abilities()?).build();
            // The builder calls the values nullable, and they are sent as a union, which never is.
            made.and_then(|made| {
                let columns = made.columns().to_vec();
                Ok(RecordBatch::try_new(ability_columns(), columns)?)
            })
        }
        Command::CommandGetXdbcTypeInfo(asked) => asked.into_builder(types()?).build(),
        _ => return Ok(None),
    };
    made.map(Some).map_err(unmade)
}

/// Rows of a list of a session: its schemas or its tables.
pub(super) async fn session_rows(command: &Command, session: &Session) -> Result<RecordBatch> {
    match command {
        Command::CommandGetDbSchemas(asked) => {
            let mut list = asked.clone().into_builder();
            let tables = session.tables().await?;
            let schemas: BTreeSet<&String> = tables.iter().map(|(schema, _)| schema).collect();
            for schema in schemas {
                list.append(CATALOG, schema);
            }
            list.build().map_err(unmade)
        }
        Command::CommandGetTables(asked) => tables(asked, session).await,
        other => Err(Problem::internal(format!(
            "{} is no list of a session",
            other.type_url()
        ))),
    }
}

fn unmade(error: FlightError) -> Problem {
    Problem::internal(format!("a list cannot be made: {error}"))
}

/// The tables and views, with their columns where those are asked for.
async fn tables(asked: &CommandGetTables, session: &Session) -> Result<RecordBatch> {
    let mut list = asked.clone().into_builder();
    let names = session.tables().await?;
    let catalog = session.context().catalog(CATALOG);
    let opened = names.iter().map(|(schema, table)| {
        let of = catalog.as_ref().and_then(|catalog| catalog.schema(schema));
        // A table that cannot be opened is not listed; its own error is told where it is asked for.
        async move { of?.table(table).await.ok().flatten() }
    });
    let opened = join_all(opened).await;
    for ((schema, table), found) in names.iter().zip(opened) {
        let Some(found) = found else { continue };
        let of = match found.table_type() {
            TableType::View => VIEW,
            TableType::Base | TableType::Temporary => TABLE,
        };
        let columns = match asked.include_schema {
            true => described(session, schema, table, &found.schema()).await,
            false => Schema::empty(),
        };
        list.append(CATALOG, schema, table, of, &columns)
            .map_err(unmade)?;
    }
    list.build().map_err(unmade)
}

/// Columns of a table as they are sent, with what the contracts say of them.
async fn described(session: &Session, schema: &str, table: &str, columns: &SchemaRef) -> Schema {
    let notes: BTreeMap<String, String> = match session.describe(schema, table).await {
        Ok(described) => described
            .columns
            .into_iter()
            .map(|column| (column.path, column.note.comment()))
            .filter(|(_, comment)| !comment.is_empty())
            .collect(),
        Err(_) => BTreeMap::new(),
    };
    let sent = sent_schema(columns);
    let fields = sent.fields().iter().map(|field| {
        let field = field.as_ref().clone();
        match notes.get(field.name()) {
            Some(note) => {
                let remarks = HashMap::from([(REMARKS.to_owned(), note.clone())]);
                field.with_metadata(remarks)
            }
            None => field,
        }
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn text(name: &str, is_nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, is_nullable)
}

fn primary_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

fn foreign_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

fn ability_columns() -> SchemaRef {
    Arc::new(SqlInfoDataBuilder::schema().clone())
}

/// Name, version and abilities of the server.
fn abilities() -> Result<&'static SqlInfoData> {
    static MADE: OnceLock<std::result::Result<SqlInfoData, String>> = OnceLock::new();
    let made = MADE.get_or_init(|| all_abilities().map_err(|error| error.to_string()));
    made.as_ref()
        .map_err(|error| Problem::internal(format!("a list cannot be made: {error}")))
}

fn all_abilities() -> std::result::Result<SqlInfoData, FlightError> {
    let mut list = SqlInfoDataBuilder::new();
    list.append(SqlInfo::FlightSqlServerName, "Tillhouse");
    list.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    list.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    for (ability, has_it) in [
        (SqlInfo::FlightSqlServerReadOnly, true),
        (SqlInfo::FlightSqlServerSql, true),
        (SqlInfo::FlightSqlServerSubstrait, false),
        (SqlInfo::FlightSqlServerCancel, true),
        (SqlInfo::FlightSqlServerBulkIngestion, false),
        (SqlInfo::SqlDdlCatalog, false),
        (SqlInfo::SqlDdlSchema, false),
        (SqlInfo::SqlDdlTable, false),
        (SqlInfo::SqlAllTablesAreSelectable, true),
        (SqlInfo::SqlSupportsColumnAliasing, true),
        (SqlInfo::SqlNullPlusNullIsNull, true),
        (SqlInfo::SqlSupportsTableCorrelationNames, true),
        (SqlInfo::SqlSupportsDifferentTableCorrelationNames, false),
        (SqlInfo::SqlSupportsExpressionsInOrderBy, true),
        (SqlInfo::SqlSupportsOrderByUnrelated, true),
        (SqlInfo::SqlSupportsLikeEscapeClause, true),
        (SqlInfo::SqlSupportsNonNullableColumns, false),
        (SqlInfo::SqlSupportsIntegrityEnhancementFacility, false),
        (SqlInfo::SqlCatalogAtStart, true),
        (SqlInfo::SqlSelectForUpdateSupported, false),
        (SqlInfo::SqlStoredProceduresSupported, false),
        (SqlInfo::SqlCorrelatedSubqueriesSupported, true),
        (SqlInfo::SqlTransactionsSupported, true),
        (SqlInfo::SqlBatchUpdatesSupported, false),
        (SqlInfo::SqlSavepointsSupported, false),
        (SqlInfo::SqlNamedParametersSupported, false),
        (SqlInfo::SqlLocatorsUpdateCopy, false),
    ] {
        list.append(ability, has_it);
    }
    for (name, value) in [
        (SqlInfo::SqlIdentifierQuoteChar, "\""),
        (SqlInfo::SqlSearchStringEscape, "\\"),
        (SqlInfo::SqlExtraNameCharacters, ""),
        (SqlInfo::SqlSchemaTerm, "schema"),
        (SqlInfo::SqlCatalogTerm, "catalog"),
        (SqlInfo::SqlProcedureTerm, "procedure"),
    ] {
        list.append(name, value);
    }
    list.append(
        SqlInfo::FlightSqlServerTransaction,
        SqlSupportedTransaction::Transaction as i32,
    );
    list.append(
        SqlInfo::SqlIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32,
    );
    list.append(
        SqlInfo::SqlQuotedIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32,
    );
    list.append(
        SqlInfo::SqlNullOrdering,
        SqlNullOrdering::SqlNullsSortedHigh as i32,
    );
    list.build()
}

/// The types that columns have.
fn types() -> Result<&'static XdbcTypeInfoData> {
    static MADE: OnceLock<std::result::Result<XdbcTypeInfoData, String>> = OnceLock::new();
    let made = MADE.get_or_init(|| all_types().map_err(|error| error.to_string()));
    made.as_ref()
        .map_err(|error| Problem::internal(format!("a list cannot be made: {error}")))
}

fn all_types() -> std::result::Result<XdbcTypeInfoData, FlightError> {
    let mut list = XdbcTypeInfoDataBuilder::new();
    for (name, of, size, is_quoted) in [
        ("BOOLEAN", XdbcDataType::XdbcBit, 1, false),
        ("SMALLINT", XdbcDataType::XdbcSmallint, 5, false),
        ("INTEGER", XdbcDataType::XdbcInteger, 10, false),
        ("BIGINT", XdbcDataType::XdbcBigint, 19, false),
        ("REAL", XdbcDataType::XdbcReal, 7, false),
        ("DOUBLE", XdbcDataType::XdbcDouble, 15, false),
        ("DECIMAL", XdbcDataType::XdbcDecimal, 38, false),
        ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, true),
        ("DATE", XdbcDataType::XdbcDate, 10, true),
        ("TIME", XdbcDataType::XdbcTime, 18, true),
        ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 29, true),
        ("TIMESTAMPTZ", XdbcDataType::XdbcTimestamp, 35, true),
        ("INTERVAL", XdbcDataType::XdbcInterval, 40, true),
    ] {
        let is_decimal = of == XdbcDataType::XdbcDecimal;
        let quote = is_quoted.then(|| "'".to_owned());
        list.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type: of,
            column_size: Some(size),
            literal_prefix: quote.clone(),
            literal_suffix: quote,
            create_params: is_decimal.then(|| vec!["precision".to_owned(), "scale".to_owned()]),
            nullable: Nullable::NullabilityNullable,
            case_sensitive: name == "VARCHAR",
            searchable: Searchable::Full,
            unsigned_attribute: (!is_quoted).then_some(false),
            fixed_prec_scale: false,
            auto_increment: Some(false),
            local_type_name: Some(name.to_owned()),
            minimum_scale: is_decimal.then_some(0),
            maximum_scale: is_decimal.then_some(38),
            sql_data_type: of,
            datetime_subcode: None,
            num_prec_radix: (!is_quoted).then_some(10),
            interval_precision: None,
        });
    }
    list.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_flight::sql::{
        CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
        CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
        CommandGetXdbcTypeInfo, CommandStatementQuery,
    };
    use tillhouse_query::{QueryEngine, QueryEngineOptions, empty_table};

    fn session() -> Session {
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = engine.empty_session().unwrap();
        let columns = vec![Field::new("amount", DataType::Decimal128(18, 4), false)];
        let sold = empty_table(Arc::new(Schema::new(columns)));
        session.register("sold", sold).unwrap();
        session
    }

    #[tokio::test]
    async fn every_list_has_the_columns_that_were_told() {
        let session = session();
        for command in [
            Command::CommandGetCatalogs(CommandGetCatalogs::default()),
            Command::CommandGetDbSchemas(CommandGetDbSchemas::default()),
            Command::CommandGetTables(CommandGetTables::default()),
            Command::CommandGetTables(CommandGetTables {
                include_schema: true,
                ..CommandGetTables::default()
            }),
            Command::CommandGetTableTypes(CommandGetTableTypes::default()),
            Command::CommandGetPrimaryKeys(CommandGetPrimaryKeys::default()),
            Command::CommandGetExportedKeys(CommandGetExportedKeys::default()),
            Command::CommandGetImportedKeys(CommandGetImportedKeys::default()),
            Command::CommandGetCrossReference(CommandGetCrossReference::default()),
            Command::CommandGetSqlInfo(CommandGetSqlInfo::default()),
            Command::CommandGetXdbcTypeInfo(CommandGetXdbcTypeInfo::default()),
        ] {
            let told = columns(&command).unwrap();
            let told = told.unwrap_or_else(|| panic!("{command:?} is a list"));
            let made = match fixed_rows(&command).unwrap() {
                Some(made) => made,
                None => session_rows(&command, &session).await.unwrap(),
            };
            assert_eq!(made.schema(), told, "{command:?}");
        }
        let query = Command::CommandStatementQuery(CommandStatementQuery::default());
        assert!(columns(&query).unwrap().is_none());
    }

    #[tokio::test]
    async fn tables_are_listed_that_patterns_fit() {
        let session = session();
        let count = async |table: &str, of: &[&str]| {
            let asked = Command::CommandGetTables(CommandGetTables {
                table_name_filter_pattern: Some(table.to_owned()),
                table_types: of.iter().map(|of| (*of).to_owned()).collect(),
                include_schema: true,
                ..CommandGetTables::default()
            });
            session_rows(&asked, &session).await.unwrap().num_rows()
        };
        assert_eq!(count("so%", &[]).await, 1);
        assert_eq!(count("sold", &[TABLE]).await, 1);
        assert_eq!(count("sold", &[VIEW]).await, 0);
        assert_eq!(count("nothing", &[]).await, 0);
    }
}
