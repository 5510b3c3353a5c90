//! Output of data: tables for people, JSON for programs, CSV for spreadsheets.
//!
//! Invariant: nothing that a terminal would obey leaves this folder raw, see [`terminal_escape`].
//!
//! Invariant: amounts are printed with every digit they have and no exponent, in every format; JSON keeps column names and order. Tables and
//! pages of our own figures show amounts by [`tillhouse_model::money::format_amount`] alone.

mod cell;
pub(crate) mod completeness;
pub(crate) mod duckdb_script;
pub(crate) mod instant;
pub(crate) mod json;
mod output_file;
pub(crate) mod page;
pub(crate) mod reconciliation;
pub(crate) mod report;
pub(crate) mod restated;
pub(crate) mod statistics;
pub(crate) mod terminal_escape;
mod text_table;

use crate::args::DataFormat;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use cell::CellFormatter;
use futures::TryStreamExt;
use std::io::Write;
use std::path::Path;
use terminal_escape::{escape_controls_in_json, escape_controls_in_lines};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_query::SendableRecordBatchStream;

pub(crate) use terminal_escape::CsvStyle;
pub(crate) use text_table::TextTable;

/// Writes one text to standard output.
///
/// A reader that has had enough (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    write(text.as_bytes()).map(drop)
}

/// Writes a text for people to standard output, with the names in it made harmless.
pub(crate) fn print_text(text: &str) -> Result<()> {
    print(&escape_controls_in_lines(text))
}

/// Writes bytes to standard output; false when nobody reads on.
fn write(bytes: &[u8]) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => other
            .or_error(ErrorKind::Storage, "cannot write to standard output")
            .map_err(|error| error.hint("Check that what the output goes to is open and has room."))
            .map(|()| true),
    }
}

/// Writes one line for people to standard error.
pub(crate) fn print_notice(text: &str) {
    // Nothing can be done where standard error itself is gone.
    let _ = writeln!(
        std::io::stderr().lock(),
        "{}",
        escape_controls_in_lines(text)
    );
}

/// Writes a text to a file, or to standard output where none is named.
pub(crate) fn write_output(file: Option<&Path>, text: &str) -> Result<()> {
    let Some(file) = file else {
        return print(text);
    };
    output_file::write(file, text).or_error(ErrorKind::Storage, "cannot write the output").map_err(|e| {
        e.at("file", file.display().to_string())
            .hint("Check that it is no folder, that its folder exists and can be written to, and that there is room.")
    })
}

/// A value as JSON.
pub(crate) fn json_text(value: &impl serde::Serialize) -> Result<String> {
    let text =
        serde_json::to_string_pretty(value).or_error(ErrorKind::Internal, "cannot write JSON")?;
    Ok(escape_controls_in_json(&text).into_owned() + "\n")
}

/// Writes a value as JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&json_text(value)?)
}

/// Rows a table for people has at most: it has to know all of them to know how wide its columns are.
const TABLE_ROWS: usize = 10_000;

/// Writes query results as they come; only a table waits for all its rows.
///
/// A reader that has had enough ends the query.
pub(crate) async fn print_stream(
    format: DataFormat,
    mut stream: SendableRecordBatchStream,
) -> Result<()> {
    let schema = stream.schema();
    let mut next = async || stream.try_next().await.map_err(tillhouse_query::into_error);
    match format {
        DataFormat::Table => {
            let (mut batches, mut rows) = (Vec::new(), 0);
            while let Some(batch) = next().await? {
                let room = TABLE_ROWS - rows;
                if batch.num_rows() > room {
                    batches.push(batch.slice(0, room));
                    print_text(&table(&schema, &batches)?)?;
                    print_notice("there are more; --format csv or json prints all of them");
                    return Ok(());
                }
                rows += batch.num_rows();
                batches.push(batch);
            }
            print_text(&table(&schema, &batches)?)
        }
        DataFormat::Json => {
            let mut rows = json::JsonRowEncoder::default();
            while let Some(batch) = next().await? {
                if !write(escape_controls_in_json(&rows.encode(&batch)?).as_bytes())? {
                    return Ok(());
                }
            }
            print(rows.finish())
        }
        DataFormat::Csv(style) => {
            let mut header = true;
            let csv = |batch: &RecordBatch, header: bool| {
                let mut text = Vec::new();
                let mut writer = arrow::csv::WriterBuilder::new()
                    .with_header(header)
                    .build(&mut text);
                writer
                    .write(&styled(flattened(batch)?, style)?)
                    .map_err(cannot_show)?;
                drop(writer);
                Ok::<_, Error>(text)
            };
            while let Some(batch) = next().await? {
                if !write(&csv(&batch, std::mem::take(&mut header))?)? {
                    return Ok(());
                }
            }
            if header {
                write(&csv(&RecordBatch::new_empty(schema), true)?).map(drop)
            } else {
                Ok(())
            }
        }
    }
}

/// A table with aligned columns, numbers to the right.
pub(crate) fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String> {
    let mut table = TextTable::new();
    table.set_header(schema.fields().iter().map(|f| f.name().as_str()));
    let mut rows = 0_usize;
    for batch in batches {
        let columns: Vec<CellFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|c| CellFormatter::of(c.as_ref()))
            .collect::<Result<_>>()?;
        for row in 0..batch.num_rows() {
            table.add_row(
                columns
                    .iter()
                    .map(|cells| cells.text(row))
                    .collect::<Result<Vec<_>>>()?,
            );
        }
        rows += batch.num_rows();
    }
    for (index, field) in schema.fields().iter().enumerate() {
        if field.data_type().is_numeric() {
            table.align_right(index);
        }
    }
    Ok(format!(
        "{table}\n{rows} {}\n",
        if rows == 1 { "row" } else { "rows" }
    ))
}

/// CSV has no lists and no objects: these become JSON text. Instants that Arrow would cut become text too.
fn flattened(batch: &RecordBatch) -> Result<RecordBatch> {
    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested()
            || matches!(field.data_type(), DataType::Binary | DataType::BinaryView)
        {
            let texts: StringArray = (0..column.len())
                .map(|row| {
                    if column.is_null(row) {
                        Ok(None)
                    } else {
                        json::value(column.as_ref(), row).map(Some)
                    }
                })
                .collect::<Result<_>>()?;
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(Arc::new(texts));
        } else if cell::historic(column.as_ref())?.is_some() {
            let cells = CellFormatter::of(column.as_ref())?;
            let texts: StringArray = (0..column.len())
                .map(|row| column.is_valid(row).then(|| cells.text(row)).transpose())
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

/// The texts of CSV in a style; numbers, times and booleans are no texts.
fn styled(batch: RecordBatch, style: CsvStyle) -> Result<RecordBatch> {
    use arrow::array::{ArrayRef, AsArray, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;
    if style.is_plain() {
        return Ok(batch);
    }
    let is_text = |data_type: &DataType| match data_type {
        DataType::Dictionary(_, values) => values.is_string(),
        other => other.is_string(),
    };
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let name = style.text(field.name()).into_owned();
        if is_text(field.data_type()) {
            let texts = arrow::compute::cast(column, &DataType::Utf8).map_err(cannot_show)?;
            let texts: StringArray = texts
                .as_string::<i32>()
                .iter()
                .map(|text| text.map(|text| style.text(text)))
                .collect();
            fields.push(Field::new(name, DataType::Utf8, true));
            columns.push(Arc::new(texts));
        } else {
            fields.push(field.as_ref().clone().with_name(name));
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(cannot_show)
}

/// A result that cannot be written out. The query's words for a time zone are read only here.
fn cannot_show(error: arrow::error::ArrowError) -> Error {
    let text = error.to_string();
    match text.split_once("Invalid timezone ") {
        Some((_, zone)) => {
            let zone = zone.split(':').next().unwrap_or(zone).trim_matches('"');
            Error::new(
                ErrorKind::Query,
                format!("the time zone {zone:?} is not known"),
            )
            .hint("Write it as IANA does, like 'Europe/Berlin', or as an offset, like '+02:00'.")
        }
        None => Error::internal("cannot show a result").because(error),
    }
}
