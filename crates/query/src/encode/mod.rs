//! Encoders of query results: JSON, CSV, Parquet, workbooks and the Arrow IPC stream, batch by batch.
//!
//! Invariant: a value is the same in every format: amounts keep every digit and have no exponent, columns keep their order, and of columns of one name the second is
//! `x_2` where a format needs names. Whoever hands a result on (the command line, a server) encodes it here, so that two of them never differ.
//!
//! ```text
//!   RecordBatch ─ pieces ─┬─ json::JsonRowEncoder   ─ cell, interval ─> text
//!                         ├─ CsvRowEncoder          ─ flattened, styled ─> text
//!                         ├─ ParquetEncoder         ─ one name a column, spans as texts ─> file
//!                         ├─ WorkbookEncoder        ─ flattened, sheet_cell ─> .xlsx
//!                         └─ ArrowStreamEncoder     ─ the batches as they are ─> IPC stream
//! ```

pub mod cell;
mod columnar;
mod csv;
pub mod described;
mod interval;
pub mod json;
mod sheet_cell;
mod workbook;

pub use columnar::{ArrowStreamEncoder, ParquetEncoder};
pub use csv::{CsvRowEncoder, flattened};
pub use workbook::WorkbookEncoder;

use crate::out_of_calendar;
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use cell::CellFormatter;
use serde::Serialize;
use std::sync::Arc;
use tillhouse_model::terminal_escape::escape_controls_in_json;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Bytes of values that are made into text at a time.
const PIECE_BYTES: usize = 2 << 20;

/// A value of ours as JSON, as `--format json` prints it: over several lines, with a line end behind it.
pub fn json_text(value: &impl Serialize) -> Result<String> {
    let text =
        serde_json::to_string_pretty(value).or_error(ErrorKind::Internal, "cannot write JSON")?;
    Ok(escape_controls_in_json(&text).into_owned() + "\n")
}

/// Bytes of a row, on the average; one at least.
pub fn row_width(batch: &RecordBatch) -> usize {
    let of = |column: &ArrayRef| {
        let data = column.to_data();
        data.get_slice_memory_size()
            .unwrap_or_else(|_| column.get_array_memory_size())
    };
    let bytes: usize = batch.columns().iter().map(of).sum();
    bytes.div_ceil(batch.num_rows().max(1)).max(1)
}

/// A batch in pieces whose texts take little memory: there are several copies of them on the way out.
pub fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let rows = (PIECE_BYTES / row_width(batch)).max(1);
    let starts = (0..batch.num_rows().max(1)).step_by(rows);
    starts.map(move |start| batch.slice(start, rows.min(batch.num_rows() - start)))
}

/// The error of a result that cannot be written out. The query's words for a time zone are read only here.
pub fn cannot_show(error: ArrowError) -> Error {
    let text = error.to_string();
    if let Some(error) = out_of_calendar(&text) {
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

/// A batch of other columns with as many rows.
fn made(fields: Vec<Field>, columns: Vec<ArrayRef>, batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)
        .map_err(cannot_show)
}

/// The values of a column as they are shown; null stays null.
fn as_texts(column: &ArrayRef) -> Result<ArrayRef> {
    let cells = CellFormatter::of(column.as_ref())?;
    let texts: StringArray = (0..column.len())
        .map(|row| column.is_valid(row).then(|| cells.text(row)).transpose())
        .collect::<Result<_>>()?;
    Ok(Arc::new(texts))
}

#[cfg(test)]
mod tests {
    use super::*;

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
