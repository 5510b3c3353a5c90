//! Views that are defined as SQL over the tables of one schema, by this crate or one above it.
//!
//! Invariant: a definition is one query over the tables it names, in words that every engine understands which reads them: what it gives
//! here it gives in DuckDB, over the same versions. Lineage columns (those that start with `_`) are in no view.
//!
//! Rejected: views as plans, built from expressions. They say the same, but only to this engine, and whoever attaches the tables elsewhere
//! would need a second definition, which drifts.

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::ViewTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::collections::BTreeMap;
use std::sync::Arc;

/// View of a schema over its tables. It is there where the table it is built on is.
///
/// ```
/// use tillhouse_query::SqlView;
///
/// const BIG_SALES: SqlView = SqlView {
///     name: "big_sales",
///     description: "Sales of more than 100.",
///     notes: &[],
///     over: "transactions",
///     beside: &[],
///     definition: |tables| {
///         tables
///             .has_column("transactions", "amount")
///             .then(|| "SELECT * FROM transactions WHERE amount > 100".to_owned())
///     },
/// };
/// assert_eq!(BIG_SALES.over, "transactions");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SqlView {
    /// Name of the view.
    pub name: &'static str,
    /// Meaning of one row.
    pub description: &'static str,
    /// Columns of its own, and what they mean; the others mean what they do in the tables they are from.
    pub notes: &'static [(&'static str, &'static str)],
    /// Table that it is built on.
    pub over: &'static str,
    /// Tables that it joins, as far as they are there.
    pub beside: &'static [&'static str],
    /// Query of the view over the tables there are; `None` where the table it is built on lacks a column it needs.
    pub definition: fn(&ViewTables) -> Option<String>,
}

/// A view of this session, and the query that defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewDefinition {
    /// Name of the view.
    pub name: String,
    /// Its query. Tables are named without a schema.
    pub sql: String,
}

/// Tables that a view is defined over: their columns.
#[derive(Debug, Default)]
pub struct ViewTables {
    schemas: BTreeMap<String, SchemaRef>,
}

impl ViewTables {
    pub(crate) fn add(&mut self, name: &str, schema: SchemaRef) {
        self.schemas.insert(name.to_owned(), schema);
    }

    /// True if the table is there.
    pub fn has(&self, table: &str) -> bool {
        self.schemas.contains_key(table)
    }

    /// True if the table is there and has the column.
    pub fn has_column(&self, table: &str, column: &str) -> bool {
        self.schemas
            .get(table)
            .is_some_and(|schema| schema.field_with_name(column).is_ok())
    }

    /// The table's columns in its order, without those of lineage.
    pub fn own_columns(&self, table: &str) -> Vec<&str> {
        let schema = self.schemas.get(table);
        schema
            .into_iter()
            .flat_map(|schema| schema.fields())
            .map(|field| field.name().as_str())
            .filter(|name| !name.starts_with('_'))
            .collect()
    }
}

/// A column of a table's alias, as SQL writes it.
pub fn column_of(alias: &str, name: &str) -> String {
    format!("{alias}.{}", quoted_name(name))
}

/// A name as SQL writes it: in quotes where it is none without them.
pub fn quoted_name(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if is_plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// The view of a query over tables.
pub(crate) async fn view(
    sql: &str,
    tables: Vec<(&str, Arc<dyn TableProvider>)>,
) -> Result<Arc<dyn TableProvider>> {
    let mut config = SessionConfig::new();
    let options = config.options_mut();
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    // It plans and runs nothing: functions are the standard's, and the plan is run by the session that asks.
    let planner = SessionContext::new_with_config(config);
    for (name, table) in tables {
        planner.register_table(name, table)?;
    }
    let plan = planner.state().create_logical_plan(sql).await?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
