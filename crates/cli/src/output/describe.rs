//! A table and its columns, for people and for programs.
//!
//! Invariant: what is printed is what the contracts say; types are named as SQL names them, as in `information_schema`, but for objects, whose fields stand below.

use crate::output::{CsvStyle, TextTable};
use arrow::datatypes::DataType;
use tillhouse_query::{DescribedColumn, DescribedTable, sql_type};

/// A row a column, without what the columns mean.
pub(crate) fn columns_text(table: &DescribedTable) -> String {
    let mut columns = TextTable::new();
    columns.set_header(["column", "type", "null"]);
    for column in &table.columns {
        columns.add_row([column.path.as_str(), &data_type(column), null(column)]);
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
            &data_type(column),
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

/// The same as JSON.
pub(crate) fn list_json(tables: &[(String, String, String)]) -> serde_json::Value {
    let table = |(schema, table, description): &(String, String, String)| serde_json::json!({ "schema": schema, "table": table, "description": description });
    tables.iter().map(table).collect()
}

/// A line a table.
pub(crate) fn list_csv(tables: &[(String, String, String)], style: CsvStyle) -> String {
    let mut text = String::from("schema,table,description\n");
    for (schema, table, description) in tables {
        let cells = [schema, table, description].map(|cell| style.cell(cell));
        text.push_str(&format!("{}\n", cells.join(",")));
    }
    text
}

/// One table as JSON.
pub(crate) fn json(table: &DescribedTable) -> serde_json::Value {
    let column = |column: &DescribedColumn| {
        serde_json::json!({
            "column": column.path,
            "type": data_type(column),
            "nullable": column.is_nullable,
            "description": column.note.description,
            "unit": column.note.unit,
            "examples": column.note.examples,
        })
    };
    serde_json::json!({
        "schema": table.schema,
        "table": table.name,
        "description": table.description,
        "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
    })
}

/// A line a column.
pub(crate) fn csv(table: &DescribedTable, style: CsvStyle) -> String {
    let mut text = String::from("column,type,nullable,description,unit,examples\n");
    for column in &table.columns {
        let note = &column.note;
        let cells = [
            style.cell(&column.path),
            style.cell(&data_type(column)),
            column.is_nullable.to_string(),
            style.cell(&note.description),
            style.cell(note.unit.as_deref().unwrap_or_default()),
            style.cell(&note.examples.join(", ")),
        ];
        text.push_str(&format!("{}\n", cells.join(",")));
    }
    text
}

/// The type in SQL's words; of objects, whose fields stand below, no more than that they are some.
pub(crate) fn data_type(column: &DescribedColumn) -> String {
    let (mut element, mut lists) = (&column.data_type, 0);
    while let DataType::List(inner) | DataType::LargeList(inner) = element {
        (element, lists) = (inner.data_type(), lists + 1);
    }
    match element {
        DataType::Struct(_) => format!("struct{}", "[]".repeat(lists)),
        _ => sql_type(&column.data_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;

    #[test]
    fn a_type_is_named_in_the_words_of_sql() {
        let object = DataType::Struct(vec![Field::new("price", DataType::Int64, true)].into());
        for (of, name) in [
            (DataType::Decimal128(18, 4), "decimal(18,4)"),
            (DataType::new_list(DataType::Utf8, true), "varchar[]"),
            (object.clone(), "struct"),
            (DataType::new_list(object, true), "struct[]"),
        ] {
            let column = DescribedColumn {
                path: "x".to_owned(),
                data_type: of,
                is_nullable: true,
                note: Default::default(),
            };
            assert_eq!(data_type(&column), name);
        }
    }
}
