//! Rows of the catalog that the library has not, or has otherwise: tables that are missing, types, options and settings.
//!
//! Invariant: what is added is what holds here: no table has an index, a rule, a sequence or options, and a setting is the one that SHOW shows where nobody set another, on every
//! connection.

use super::settings::{DEFAULTS, OF_CONNECTION, REPORTED};
use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Int16Type, Int32Type, Schema, SchemaRef};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::Result as PlanResult;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_query::empty_table;

/// Types and modifiers of columns by the number of their table and their own.
pub(super) type ColumnTypes = BTreeMap<(i32, i16), (i32, i32)>;

/// Tables of `pg_catalog` that name a database and an owner that are not there, with what is.
pub(super) const CORRECTED: [(&str, &str); 3] = [
    (CLASSES, "SELECT * FROM pg_catalog.pg_class"),
    (
        "pg_database",
        "SELECT * FROM pg_catalog.pg_database WHERE datname <> 'postgres'",
    ),
    (
        "pg_tables",
        "SELECT schemaname, tablename, 'tillhouse' AS tableowner, tablespace, hasindex, hasrules, hastriggers, \
         rowsecurity FROM pg_catalog.pg_tables",
    ),
];

/// Table of the tables.
pub(super) const CLASSES: &str = "pg_class";
/// Tables of `information_schema` that PostgreSQL has and DataFusion has not: empty, with the columns that tools read.
pub(super) const MISSING: [(&str, &[&str]); 8] = [
    (
        "table_constraints",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "constraint_type",
        ],
    ),
    (
        "key_column_usage",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "ordinal_position",
            "position_in_unique_constraint",
        ],
    ),
    (
        "referential_constraints",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "unique_constraint_catalog",
            "unique_constraint_schema",
            "unique_constraint_name",
            "update_rule",
            "delete_rule",
        ],
    ),
    (
        "constraint_column_usage",
        &[
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
        ],
    ),
    (
        "check_constraints",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "check_clause",
        ],
    ),
    (
        "role_table_grants",
        &[
            "grantor",
            "grantee",
            "table_catalog",
            "table_schema",
            "table_name",
            "privilege_type",
        ],
    ),
    (
        "sequences",
        &[
            "sequence_catalog",
            "sequence_schema",
            "sequence_name",
            "data_type",
        ],
    ),
    (
        "triggers",
        &[
            "trigger_catalog",
            "trigger_schema",
            "trigger_name",
            "event_object_table",
        ],
    ),
];

/// Tables of `pg_catalog` that PostgreSQL has and the library has not: empty, with the columns that tools read.
pub(super) const MISSING_HERE: [(&str, &[&str]); 4] = [
    (
        "pg_indexes",
        &[
            "schemaname",
            "tablename",
            "indexname",
            "tablespace",
            "indexdef",
        ],
    ),
    (
        "pg_policies",
        &[
            "schemaname",
            "tablename",
            "policyname",
            "permissive",
            "roles",
            "cmd",
            "qual",
            "with_check",
        ],
    ),
    (
        "pg_rules",
        &["schemaname", "tablename", "rulename", "definition"],
    ),
    (
        "pg_sequences",
        &["schemaname", "sequencename", "sequenceowner", "data_type"],
    ),
];

/// Rows of `pg_attribute` with the types that our columns have.
pub(super) fn with_types(batch: &RecordBatch, types: &ColumnTypes) -> PlanResult<RecordBatch> {
    let schema = batch.schema();
    let relations = schema.index_of("attrelid")?;
    let relations = batch.column(relations).as_primitive::<Int32Type>();
    let numbers = schema.index_of("attnum")?;
    let numbers = batch.column(numbers).as_primitive::<Int16Type>();
    let exact = |row: usize| types.get(&(relations.value(row), numbers.value(row)));
    let mut columns = batch.columns().to_vec();
    for name in ["atttypid", "atttypmod"] {
        let at = schema.index_of(name)?;
        let known = batch.column(at).as_primitive::<Int32Type>();
        let values = (0..batch.num_rows()).map(|row| match exact(row) {
            Some((of, _)) if name == "atttypid" => *of,
            Some((_, modifier)) => *modifier,
            None => known.value(row),
        });
        if let Some(column) = columns.get_mut(at) {
            *column = Arc::new(Int32Array::from_iter_values(values));
        }
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Rows of `pg_class` with options, of which no table has one. None has pages either: DuckDB would read it by their numbers.
pub(super) fn with_options(batch: &RecordBatch) -> PlanResult<RecordBatch> {
    let (schema, rows) = (batch.schema(), batch.num_rows());
    let mut columns = batch.columns().to_vec();
    if let Some(pages) = columns.get_mut(schema.index_of("relpages")?) {
        *pages = Arc::new(Int32Array::from_value(0, rows));
    }
    let options = Field::new_list(
        "reloptions",
        Field::new_list_field(DataType::Utf8, true),
        true,
    );
    columns.push(new_null_array(options.data_type(), rows));
    let fields = schema.fields().iter().cloned();
    let fields: Vec<FieldRef> = fields.chain([Arc::new(options)]).collect();
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// Question for the rows of `pg_settings`: the settings that SHOW shows, as they are where nobody set another.
pub(super) fn settings_query() -> String {
    let row = |(name, value): (&str, &str)| {
        let reported = REPORTED.iter().find(|(key, _)| *key == name);
        let name = reported.map_or(name, |(_, spelled)| *spelled);
        format!("('{name}', '{}')", value.replace('\'', "''"))
    };
    // Those of a connection are told by SHOW alone: a catalog is of many.
    let known = DEFAULTS.into_iter();
    let known = known.filter(|(name, _)| !OF_CONNECTION.contains(name));
    let rows: Vec<String> = known.map(row).collect();
    let rows = rows.join(", ");
    format!(
        "SELECT name, setting, CAST(NULL AS VARCHAR) AS unit, CAST(NULL AS VARCHAR) AS category, CAST(NULL AS VARCHAR) AS short_desc, \
         CAST(NULL AS VARCHAR) AS extra_desc, 'user' AS context, 'string' AS vartype, 'default' AS source, CAST(NULL AS VARCHAR) AS min_val, \
         CAST(NULL AS VARCHAR) AS max_val, CAST(NULL AS VARCHAR) AS enumvals, setting AS boot_val, setting AS reset_val, \
         CAST(NULL AS VARCHAR) AS sourcefile, CAST(NULL AS INT) AS sourceline, false AS pending_restart \
         FROM (VALUES {rows}) AS known(name, setting)"
    )
}

/// Empty tables with columns of texts.
pub(super) fn empty_tables<'a>(
    tables: &'a [(&'a str, &'a [&'a str])],
) -> impl Iterator<Item = (String, Arc<dyn TableProvider>)> + 'a {
    let columns = |names: &[&str]| Arc::new(Schema::new(texts(names)));
    tables
        .iter()
        .map(move |(name, names)| ((*name).to_owned(), empty_table(columns(names))))
}

/// Columns of texts.
pub(super) fn texts(names: &[&str]) -> Vec<Field> {
    let column = |name: &&str| Field::new(*name, DataType::Utf8, true);
    names.iter().map(column).collect()
}

/// A table with rows.
pub(super) fn table(
    schema: SchemaRef,
    columns: Vec<ArrayRef>,
) -> PlanResult<Arc<dyn TableProvider>> {
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, StringArray};

    #[test]
    fn a_table_has_no_pages_and_no_options() {
        let columns: [(&str, ArrayRef); 2] = [
            (
                "relname",
                Arc::new(StringArray::from(vec!["sales", "sites"])),
            ),
            ("relpages", Arc::new(Int32Array::from(vec![1, 1]))),
        ];
        let found = with_options(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        let pages = found.column_by_name("relpages").unwrap();
        assert_eq!(pages.as_primitive::<Int32Type>().values(), &[0, 0]);
        assert_eq!(found.column_by_name("reloptions").unwrap().null_count(), 2);
    }

    #[test]
    fn settings_have_the_names_that_drivers_look_for() {
        let asked = settings_query();
        for row in ["('max_index_keys', '32')", "('DateStyle', 'ISO, MDY')"] {
            assert!(asked.contains(row), "{asked}");
        }
        assert!(!asked.contains("('ssl',"), "{asked}");
    }
}
