//! Results of queries as a workbook (`.xlsx`): one sheet, whose first row has the names of the columns.
//!
//! Invariant: a cell says what the other formats say. A number of more digits than a spreadsheet keeps is text with all of them, and so is an instant, since a spreadsheet's times have no offset; a text
//! is never a formula. What a sheet has no room for is an error: no row and no letter is left out.

use super::cell::CellFormatter;
use super::results::{flattened, next, pieces};
use super::{OutputFile, cannot_show, json};
use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema, TimeUnit};
use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};
use std::io::BufWriter;
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::SendableRecordBatchStream;

/// Rows of a sheet, that of the names among them.
const SHEET_ROWS: u32 = 1_048_576;
/// Columns of a sheet.
const SHEET_COLUMNS: usize = 16_384;
/// Digits of a number that a spreadsheet keeps.
const SHEET_DIGITS: usize = 15;
/// The smallest and the largest number of a spreadsheet, beside nought.
const SHEET_NUMBERS: std::ops::RangeInclusive<f64> = 2.3e-308..=9.99e307;
/// Days of a spreadsheet at the start of 1970.
const EPOCH_DAY: i64 = 25_569;
/// Days that every spreadsheet counts alike: from March 1900, since some hold 1900 for a leap year, to the end of 9999.
const SHEET_DAYS: std::ops::RangeInclusive<i64> = 61..=2_958_465;
/// Characters that the widest column is made for.
const WIDEST_COLUMN: usize = 60;
/// Characters that every column is made for: a number that does not fit is shown as `####`.
const NARROWEST_COLUMN: usize = 16;

/// Writes a result as a workbook. Rows wait in a temporary file, so that memory holds one of them.
pub(super) async fn write_workbook(
    mut stream: SendableRecordBatchStream,
    file: OutputFile,
) -> Result<OutputFile> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet_with_constant_memory().map_err(failed)?;
    write_names(sheet, &stream.schema())?;
    let mut row = 1;
    while let Some(batch) = next(&mut stream).await? {
        for piece in pieces(&batch) {
            row = write_rows(sheet, &piece, row)?;
        }
    }
    let mut out = BufWriter::new(file);
    book.save_to_writer(&mut out).map_err(failed)?;
    out.into_inner()
        .map_err(|error| failed(XlsxError::IoError(error.into_error())))
}

fn failed(error: XlsxError) -> Error {
    match error {
        XlsxError::MaxStringLengthExceeded => no_room("a text of more than 32,767 characters"),
        error => Error::new(
            ErrorKind::Storage,
            "cannot write the result as a workbook",
        )
        .hint("Check that there is room where it goes to and in the folder of temporary files ($TMPDIR).")
        .because(error),
    }
}

fn no_room(what: &str) -> Error {
    Error::new(
        ErrorKind::Query,
        format!("the sheet of a workbook has no room for {what}"),
    )
    .hint("Ask for less, or write .csv or .parquet, which have no such limit.")
}

/// Writes the first row, and says how the columns look.
fn write_names(sheet: &mut Worksheet, schema: &Schema) -> Result<()> {
    let names = json::unique_names(schema);
    if names.len() > SHEET_COLUMNS {
        return Err(no_room(&format!("more than {SHEET_COLUMNS} columns")));
    }
    let bold = Format::new().set_bold();
    for ((name, field), at) in names.into_iter().zip(schema.fields()).zip(0..) {
        let width = name.chars().count() + 2;
        let width = width.clamp(NARROWEST_COLUMN, WIDEST_COLUMN);
        let width = u16::try_from(width).unwrap_or(u16::MAX);
        sheet.set_column_width(at, width).map_err(failed)?;
        if let Some(pattern) = number_format(field.data_type()) {
            let format = Format::new().set_num_format(pattern);
            sheet.set_column_format(at, &format).map_err(failed)?;
        }
        sheet
            .write_string_with_format(0, at, name, &bold)
            .map_err(failed)?;
    }
    sheet.set_freeze_panes(1, 0).map_err(failed)?;
    Ok(())
}

/// Pattern by which a spreadsheet shows the numbers of a column: all of their digits, and of decimals two at least.
fn number_format(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Some(match usize::try_from(*scale) {
            Err(_) | Ok(0) => "0".to_owned(),
            Ok(1) => "0.0".to_owned(),
            // A pattern has 30 digits at most.
            Ok(scale) => format!("0.00{}", "#".repeat((scale - 2).min(28))),
        }),
        whole if whole.is_integer() => Some("0".to_owned()),
        DataType::Date32 => Some("yyyy-mm-dd".to_owned()),
        DataType::Timestamp(_, None) => Some("yyyy-mm-dd hh:mm:ss.000".to_owned()),
        _ => None,
    }
}

/// Writes rows from `first` on, and gives the row after them.
fn write_rows(sheet: &mut Worksheet, batch: &RecordBatch, first: u32) -> Result<u32> {
    let end = u32::try_from(batch.num_rows())
        .ok()
        .and_then(|rows| first.checked_add(rows))
        .filter(|end| *end <= SHEET_ROWS)
        .ok_or_else(|| no_room("more than 1,048,575 rows"))?;
    let batch = flattened(batch)?;
    let columns = batch
        .columns()
        .iter()
        .map(|column| SheetColumn::of(column.as_ref()))
        .collect::<Result<Vec<_>>>()?;
    for (row, index) in (first..end).zip(0..) {
        for (column, at) in columns.iter().zip(0..) {
            column.write(sheet, (row, at), index)?;
        }
    }
    Ok(end)
}

/// Kind of the cells of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellKind {
    Boolean,
    /// Whole numbers and decimals.
    Exact,
    Float,
    Day,
    Time(TimeUnit),
    Text,
}

impl CellKind {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean,
            float if float.is_floating() => Self::Float,
            number if number.is_numeric() => Self::Exact,
            DataType::Date32 => Self::Day,
            DataType::Timestamp(unit, None) => Self::Time(*unit),
            _ => Self::Text,
        }
    }
}

/// A column whose values are written into cells.
struct SheetColumn<'a> {
    column: &'a dyn Array,
    kind: CellKind,
    nulls: Option<NullBuffer>,
    texts: CellFormatter<'a>,
    /// Days or times as numbers, where it has these.
    counts: Option<Int64Array>,
}

impl<'a> SheetColumn<'a> {
    fn of(column: &'a dyn Array) -> Result<Self> {
        let kind = CellKind::of(column.data_type());
        let counts = match kind {
            CellKind::Day | CellKind::Time(_) => {
                let counts = cast(column, &DataType::Int64).map_err(cannot_show)?;
                Some(counts.as_primitive::<Int64Type>().clone())
            }
            _ => None,
        };
        Ok(Self {
            column,
            kind,
            nulls: column.logical_nulls(),
            texts: CellFormatter::of(column)?,
            counts,
        })
    }

    /// Writes one value; null is an empty cell.
    fn write(&self, sheet: &mut Worksheet, cell: (u32, u16), index: usize) -> Result<()> {
        let (row, at) = cell;
        if self
            .nulls
            .as_ref()
            .is_some_and(|nulls| nulls.is_null(index))
        {
            return Ok(());
        }
        if self.kind == CellKind::Boolean {
            let value = self.column.as_boolean().value(index);
            return sheet
                .write_boolean(row, at, value)
                .map(drop)
                .map_err(failed);
        }
        let text = self.texts.text(index)?;
        let count = self.counts.as_ref().map(|counts| counts.value(index));
        let number = match (self.kind, count) {
            (CellKind::Exact, _) if digits(&text) <= SHEET_DIGITS => number(&text),
            (CellKind::Float, _) => number(&text),
            (CellKind::Day, Some(days)) => serial(days, 0),
            (CellKind::Time(unit), Some(count)) => serial_of_time(count, unit),
            _ => None,
        };
        match number {
            Some(number) => sheet.write_number(row, at, number),
            None => sheet.write_string(row, at, text),
        }
        .map(drop)
        .map_err(failed)
    }
}

/// Digits of a number that tell it from others: those between the first and the last that is not nought.
fn digits(text: &str) -> usize {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len()
}

/// The number of a text, if a spreadsheet has it.
///
/// A workbook has binary numbers alone, amounts too. Of at most 15 digits they are told apart: the shortest text of the number, which goes into the file, is the one it was read from.
fn number(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    let size = number.abs();
    (size == 0.0 || SHEET_NUMBERS.contains(&size)).then_some(number)
}

/// A spreadsheet's number for a day since 1970 and milliseconds in it, if it has one.
fn serial(day: i64, milliseconds: i32) -> Option<f64> {
    let day = day.checked_add(EPOCH_DAY)?;
    if !SHEET_DAYS.contains(&day) {
        return None;
    }
    let day = i32::try_from(day).ok()?;
    Some(f64::from(day) + f64::from(milliseconds) / 86_400_000.0)
}

/// A spreadsheet's number for a time without a zone; it counts no smaller parts than milliseconds.
fn serial_of_time(count: i64, unit: TimeUnit) -> Option<f64> {
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let (seconds, rest) = (count.div_euclid(per_second), count.rem_euclid(per_second));
    if (rest * 1_000) % per_second != 0 {
        return None;
    }
    let milliseconds = seconds.rem_euclid(86_400) * 1_000 + rest * 1_000 / per_second;
    serial(
        seconds.div_euclid(86_400),
        i32::try_from(milliseconds).ok()?,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, StringArray};
    use std::sync::Arc;

    #[test]
    fn a_number_of_more_digits_than_a_spreadsheet_keeps_is_text() {
        for (text, expected) in [
            ("0.00", 0),
            ("-0.0010", 1),
            ("12.5000", 3),
            ("1000000000000000000", 1),
            ("123456789012.345", 15),
            ("1234567890123456", 16),
            ("1000000000000000.1", 17),
        ] {
            assert_eq!(digits(text), expected, "{text}");
        }
        // What goes into the file is what came: the shortest text of the number.
        for text in ["999999999999999", "99999999999.9999", "0.1", "-623717.05"] {
            assert_eq!(number(text).unwrap().to_string(), text);
        }
        for text in ["NaN", "inf", "1e308", "5e-324"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_the_numbers_of_a_spreadsheet_where_it_has_them() {
        assert_eq!(serial(0, 0), Some(25_569.0));
        assert_eq!(serial(20_485, 43_200_000), Some(46_054.5));
        assert_eq!(serial(-25_509, 0), None, "February 1900");
        assert_eq!(serial(i64::MAX, 0), None);
        let noon = 20_485 * 86_400 + 43_200;
        assert_eq!(serial_of_time(noon, TimeUnit::Second), Some(46_054.5));
        assert_eq!(
            serial_of_time(noon * 1_000_000, TimeUnit::Microsecond),
            Some(46_054.5)
        );
        assert_eq!(
            serial_of_time(noon * 1_000_000 + 1, TimeUnit::Microsecond),
            None
        );
        assert_eq!(
            serial_of_time(-500, TimeUnit::Millisecond),
            serial(-1, 86_399_500)
        );
    }

    #[test]
    fn all_digits_of_a_column_are_shown() {
        for (data_type, pattern) in [
            (DataType::Decimal128(18, 4), Some("0.00##")),
            (DataType::Decimal128(18, 2), Some("0.00")),
            (DataType::Decimal128(18, 1), Some("0.0")),
            (DataType::Decimal128(18, 0), Some("0")),
            (DataType::Int64, Some("0")),
            (DataType::Float64, None),
            (DataType::Utf8, None),
        ] {
            assert_eq!(number_format(&data_type).as_deref(), pattern);
        }
    }

    #[test]
    fn what_a_sheet_has_no_room_for_is_an_error() {
        let texts = |values: Vec<String>| {
            let column: ArrayRef = Arc::new(StringArray::from(values));
            RecordBatch::try_from_iter([("a", column)]).unwrap()
        };
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        let two = texts(vec!["x".to_owned(), "y".to_owned()]);
        assert_eq!(write_rows(sheet, &two, SHEET_ROWS - 2).unwrap(), SHEET_ROWS);
        let rows = write_rows(sheet, &two, SHEET_ROWS - 1).unwrap_err();
        assert!(rows.message().contains("1,048,575 rows"), "{rows}");
        let long = texts(vec!["x".repeat(32_768)]);
        let letters = write_rows(sheet, &long, 1).unwrap_err();
        assert!(letters.message().contains("32,767"), "{letters}");
    }
}
