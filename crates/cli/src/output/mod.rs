//! Output of data: tables for people, JSON for programs, CSV and workbooks for spreadsheets.
//!
//! Invariant: nothing that a terminal would obey leaves this folder raw, see [`terminal_escape`].
//!
//! Invariant: amounts are printed with every digit they have and no exponent, in every format; JSON keeps column names and order. Tables and
//! pages of our own figures show amounts by [`tillhouse_model::money::format_amount`] alone.

pub(crate) mod describe;
mod descriptor;
#[cfg(test)]
mod dictionary_page;
pub(crate) mod duckdb_script;
pub(crate) mod instant;
mod output_file;
mod protected_files;
pub(crate) mod reconciliation;
pub(crate) mod report;
pub(crate) mod restated;
mod result_table;
pub(crate) mod results;
#[cfg(test)]
#[path = "../../../page/src/sample_report.rs"]
pub(crate) mod sample_report;
pub(crate) mod statistics;
mod text_table;
#[cfg(test)]
mod value_forms;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use std::io::Write;
use std::path::Path;
use terminal_escape::escape_controls_in_lines;
use tillhouse_model::{ErrorKind, Result, ResultExt};

pub(crate) use descriptor::is_standard_output;
pub(crate) use output_file::OutputFile;
pub(crate) use protected_files::ProtectedFiles;
pub(crate) use result_table::{NULL, ResultLayout, result_text};
pub(crate) use text_table::TextTable;
pub(crate) use tillhouse_model::terminal_escape::{self, CsvStyle};
pub(crate) use tillhouse_query::encode::json_text;

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
