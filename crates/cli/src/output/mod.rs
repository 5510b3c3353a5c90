//! How data is printed: tables for people, JSON for programs, CSV for spreadsheets.
//!
//! Invariant: amounts are printed with every digit and no exponent, in every format; JSON keeps column names and order.

pub(crate) mod json;
pub(crate) mod statistics;

use crate::args::Format;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::io::Write;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Writes one text to standard output.
///
/// A reader that has had enough (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.or_error(ErrorKind::Storage, "cannot write to standard output"),
    }
}

/// Writes one line for people to standard error.
pub(crate) fn say(text: &str) {
    // Nothing can be done where standard error itself is gone.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a value as JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).or_error(ErrorKind::Internal, "cannot write JSON")?;
    print(&format!("{text}\n"))
}

/// Writes query results; the schema is for results without rows.
pub(crate) fn print_batches(format: Format, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    match format {
        Format::Table => print(&table(schema, batches)?),
        Format::Json => print(&json::rows(batches)?),
        Format::Csv => {
            let mut text = Vec::new();
            {
                let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut text);
                let flat: Vec<RecordBatch> = batches.iter().map(flattened).collect::<Result<_>>()?;
                if flat.is_empty() {
                    writer.write(&RecordBatch::new_empty(SchemaRef::clone(schema))).map_err(cannot_show)?;
                }
                for batch in &flat {
                    writer.write(batch).map_err(cannot_show)?;
                }
            }
            print(&String::from_utf8_lossy(&text))
        }
    }
}

/// A table with aligned columns, numbers to the right.
pub(crate) fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String> {
    let mut table = plain_table();
    table.set_header(schema.fields().iter().map(|f| f.name().as_str()));
    let options = FormatOptions::default().with_null("").with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));
    let mut rows = 0_usize;
    for batch in batches {
        let formatters: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).map_err(cannot_show))
            .collect::<Result<_>>()?;
        for row in 0..batch.num_rows() {
            table.add_row(formatters.iter().map(|f| f.value(row).to_string()));
        }
        rows += batch.num_rows();
    }
    for (index, field) in schema.fields().iter().enumerate() {
        if field.data_type().is_numeric()
            && let Some(column) = table.column_mut(index)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Ok(format!("{table}\n{rows} {}\n", if rows == 1 { "row" } else { "rows" }))
}

/// The look of every table of ours.
pub(crate) fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// CSV has no lists and no objects: these become JSON text.
fn flattened(batch: &RecordBatch) -> Result<RecordBatch> {
    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() || matches!(field.data_type(), DataType::Binary | DataType::BinaryView) {
            let texts: StringArray = (0..column.len())
                .map(|row| if column.is_null(row) { Ok(None) } else { json::value(column.as_ref(), row).map(Some) })
                .collect::<Result<_>>()?;
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(Arc::new(texts));
        } else {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(cannot_show)
}

fn cannot_show(error: arrow::error::ArrowError) -> Error {
    Error::internal("cannot show a result").because(error)
}
