//! Output of data: tables for people, JSON for programs, CSV for spreadsheets.
//!
//! Invariant: nothing that a terminal would obey leaves this folder raw, see [`terminal_escape`].
//!
//! Invariant: amounts are printed with every digit they have and no exponent, in every format; JSON keeps column names and order. Tables and
//! pages of our own figures show amounts by [`tillhouse_model::money::format_amount`] alone.

mod cell;
pub(crate) mod completeness;
pub(crate) mod describe;
mod descriptor;
#[cfg(test)]
mod dictionary_page;
pub(crate) mod duckdb_script;
pub(crate) mod instant;
mod interval;
pub(crate) mod json;
mod output_file;
pub(crate) mod page;
pub(crate) mod reconciliation;
pub(crate) mod report;
pub(crate) mod restated;
mod result_table;
pub(crate) mod results;
#[cfg(test)]
pub(crate) mod sample_report;
pub(crate) mod statistics;
pub(crate) mod terminal_escape;
mod text_table;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use std::io::Write;
use std::path::Path;
use terminal_escape::{escape_controls_in_json, escape_controls_in_lines};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

pub(crate) use output_file::OutputFile;
pub(crate) use result_table::{NULL, ResultLayout, result_text};
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
            .hint("Check that it is no folder, that its folder exists and can be written to, that there is room, and that files may be that large (`ulimit -f`).")
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

/// A result for people, as wide as the terminal at most; `null` is what null is shown as.
pub(crate) fn table(schema: &SchemaRef, batches: &[RecordBatch], null: &str) -> Result<String> {
    result_text(
        schema,
        batches,
        null,
        ResultLayout::Automatic,
        TextTable::terminal_width(),
    )
}

/// A result that cannot be written out. The query's words for a time zone are read only here.
fn cannot_show(error: arrow::error::ArrowError) -> Error {
    let text = error.to_string();
    if let Some(error) = tillhouse_query::out_of_calendar(&text) {
        return error;
    }
    match text.split_once("Invalid timezone ") {
        Some((_, zone)) => {
            let zone = zone.split(':').next().unwrap_or(zone).trim_matches('"');
            Error::new(
                ErrorKind::Query,
                format!("the time zone {zone:?} is not known"),
            )
            .hint("Write it as IANA does, like 'Europe/Berlin', or as an offset, like '+02:00'.")
        }
        None if text.contains("Failed to convert") || text.contains("out of range") => Error::new(
            ErrorKind::Query,
            "a day or an instant in the result lies beyond the years that can be shown",
        )
        .hint("Leave it out, or show it as a number: arrow_cast(x, 'Int64')."),
        None => Error::internal("cannot show a result").because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::error::ArrowError;

    #[test]
    fn a_day_beyond_the_years_that_can_be_shown_is_no_fault_of_ours() {
        let refused = "Failed to convert -2147483648 to temporal for Date32";
        let error = cannot_show(ArrowError::CastError(refused.to_owned()));
        assert_eq!(error.kind(), ErrorKind::Query);
        assert!(error.hint_text().is_some());
        let other = cannot_show(ArrowError::ComputeError("anything else".to_owned()));
        assert_eq!(other.kind(), ErrorKind::Internal);
    }
}
