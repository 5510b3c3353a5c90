//! A table and its columns, for people.
//!
//! Invariant: what is printed is what the contracts say; the forms for programs are encoded by `query`.

use crate::output::TextTable;
use tillhouse_query::encode::described::type_name;
use tillhouse_query::{DescribedColumn, DescribedTable};

/// A row a column, without what the columns mean.
pub(crate) fn columns_text(table: &DescribedTable) -> String {
    let mut columns = TextTable::new();
    columns.set_header(["column", "type", "null"]);
    for column in &table.columns {
        columns.add_row([column.path.as_str(), &type_name(column), null(column)]);
    }
    format!("{columns}\n")
}

fn null(column: &DescribedColumn) -> &'static str {
    if column.is_nullable { "yes" } else { "no" }
}

/// The table's meaning, then a row a column; fields of objects stand below their column.
pub(crate) fn text(table: &DescribedTable) -> String {
    let mut text = format!("{}.{}\n", table.schema, table.name);
    if !table.description.is_empty() {
        text.push_str(&format!("{}\n", table.description));
    }
    let mut columns = TextTable::new();
    columns.set_header(["column", "type", "null", "meaning"]);
    for column in &table.columns {
        columns.add_row([
            column.path.as_str(),
            &type_name(column),
            null(column),
            &column.note.comment(),
        ]);
    }
    text.push_str(&format!("{columns}\n"));
    text
}

/// Tables by schema and name, in a line each.
pub(crate) fn list_text(tables: &[(String, String, String)]) -> String {
    let mut list = TextTable::new();
    list.set_header(["schema", "table", "meaning"]);
    for (schema, table, description) in tables {
        list.add_row([schema, table, description]);
    }
    format!("{list}\n")
}
