//! A table and its columns, as JSON and CSV.
//!
//! Invariant: types are named as SQL names them, as in `information_schema`, but for objects, whose fields stand below.

use crate::notes::{DescribedColumn, DescribedTable};
use crate::sql_type::sql_type;
use arrow::datatypes::DataType;
use tillhouse_model::terminal_escape::CsvStyle;

/// Tables by schema, name and meaning, as JSON.
pub fn list_json(tables: &[(String, String, String)]) -> serde_json::Value {
    let table = |(schema, table, description): &(String, String, String)| serde_json::json!({ "schema": schema, "table": table, "description": description });
    tables.iter().map(table).collect()
}

/// The same as CSV, a line a table.
pub fn list_csv(tables: &[(String, String, String)], style: CsvStyle) -> String {
    let mut text = String::from("schema,table,description\n");
    for (schema, table, description) in tables {
        let cells = [schema, table, description].map(|cell| style.cell(cell));
        text.push_str(&format!("{}\n", cells.join(",")));
    }
    text
}

/// One table as JSON.
pub fn json(table: &DescribedTable) -> serde_json::Value {
    let column = |column: &DescribedColumn| {
        serde_json::json!({
            "column": column.path,
            "type": type_name(column),
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

/// One table as CSV, a line a column.
pub fn csv(table: &DescribedTable, style: CsvStyle) -> String {
    let mut text = String::from("column,type,nullable,description,unit,examples\n");
    for column in &table.columns {
        let note = &column.note;
        let cells = [
            style.cell(&column.path),
            style.cell(&type_name(column)),
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
pub fn type_name(column: &DescribedColumn) -> String {
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
    use tillhouse_model::ColumnNote;

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
                note: ColumnNote::default(),
            };
            assert_eq!(type_name(&column), name);
        }
    }
}
