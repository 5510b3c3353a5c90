//! Results of queries as a workbook (`.xlsx`): one sheet, whose first row has the names of the columns.
//!
//! Invariant: a cell says what the other formats say. A number of more digits than a spreadsheet keeps is text with all of them, and so is an instant, since a spreadsheet's times have no offset; a text
//! is never a formula. What a sheet has no room for is an error: no row and no letter is left out. The same rows are the same bytes, whenever they are written.
//!
//! ```text
//!   RecordBatch ─ flattened ─ SheetColumn ─> SheetCell ─> rows in a temporary file without a name ─ finish ─> zip
//! ```
//!
//! The library writes a row to its temporary file as the next one begins, so that memory holds one. Where that file cannot be written it panics, which is an error here ([`caught`]).

use super::sheet_cell::{SheetCell, SheetColumn, number_format};
use super::{flattened, json};
use crate::temporary_folder;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};
use std::any::Any;
use std::cell::Cell;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use tillhouse_model::{Error, ErrorKind, Result};

/// Rows of a sheet, that of the names among them.
const SHEET_ROWS: u32 = 1_048_576;
/// Columns of a sheet.
const SHEET_COLUMNS: usize = 16_384;
/// Characters that the widest column is made for.
const WIDEST_COLUMN: usize = 60;
/// Characters of a name that the arrow of its filter covers, and the margins.
const FILTER_ARROW: usize = 4;
/// Bytes of the file that are written at a time.
const OUT_BYTES: usize = 64 << 10;
/// The library's words for a file that is larger than an archive may be without an extension that not every spreadsheet reads.
const TOO_LARGE: &str = "Large file option has not been set";

/// Encoder of record batches as one workbook, batch by batch.
pub struct WorkbookEncoder {
    book: Workbook,
    /// The columns' names.
    names: Vec<String>,
    /// Text for null; an empty cell where there is none.
    null: Option<String>,
    /// The first column whose texts are numbers.
    numbers_from: usize,
    /// The row that is written next.
    row: u32,
}

impl WorkbookEncoder {
    /// An encoder of batches of this schema. Rows wait in the folder for temporary files until the last is there.
    pub fn new(schema: &Schema, null: Option<&str>) -> Result<Self> {
        let names = json::unique_names(schema);
        if names.len() > SHEET_COLUMNS {
            return Err(no_room("more than 16,384 columns"));
        }
        // The day from which archives count, which is the one that the parts of the file have too.
        let made = ExcelDateTime::from_ymd(1980, 1, 1).map_err(failed)?;
        let mut book = Workbook::new();
        book.set_properties(&DocProperties::new().set_creation_datetime(&made));
        book.set_tempdir(temporary_folder()).map_err(failed)?;
        let sheet = book.add_worksheet_with_constant_memory().map_err(failed)?;
        write_names(sheet, schema, &names)?;
        Ok(Self {
            book,
            names,
            null: null.map(str::to_owned),
            numbers_from: usize::MAX,
            row: 1,
        })
    }

    /// The same of rows whose texts are numbers from this column on, such as figures that were written out: they are numbers in the sheet, as far as it has them.
    #[must_use]
    pub fn with_numbers_from(mut self, column: usize) -> Self {
        self.numbers_from = column;
        self
    }

    /// Writes more rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let Self {
            book,
            names,
            null,
            numbers_from,
            row,
        } = self;
        let end = u32::try_from(batch.num_rows())
            .ok()
            .and_then(|rows| row.checked_add(rows))
            .filter(|end| *end <= SHEET_ROWS)
            .ok_or_else(|| no_room("more than 1,048,575 rows"))?;
        let sheet = book.worksheet_from_index(0).map_err(failed)?;
        let rows = *row..end;
        caught(|| write_rows(sheet, batch, rows, names, (null.as_deref(), *numbers_from)))?;
        *row = end;
        Ok(())
    }

    /// Writes the file, and gives what it was written into; `unwritten` is the error of a file that takes no more, and of one that takes no more once `is_stopping` says so.
    ///
    /// A reader that has had enough is no failure.
    pub fn finish<W: Write + Send>(
        self,
        out: W,
        is_stopping: impl Fn() -> bool + Send,
        unwritten: impl FnOnce(io::Error) -> Error,
    ) -> Result<W> {
        let Self {
            mut book,
            names,
            row,
            ..
        } = self;
        let last_column = names
            .len()
            .checked_sub(1)
            .and_then(|last| u16::try_from(last).ok());
        if let Some(last_column) = last_column.filter(|_| row > 1) {
            let sheet = book.worksheet_from_index(0).map_err(failed)?;
            sheet
                .autofilter(0, 0, row - 1, last_column)
                .map_err(failed)?;
        }
        let file = BookFile {
            out,
            is_stopping,
            failure: None,
        };
        let mut out = BufWriter::with_capacity(OUT_BYTES, file);
        let saved = caught(|| {
            book.save_to_writer(&mut out).map_err(failed)?;
            out.flush()
                .map_err(|error| failed(XlsxError::IoError(error)))
        });
        let BookFile { out, failure, .. } = out
            .into_inner()
            .map_err(|error| failed(XlsxError::IoError(error.into_error())))?;
        match failure {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(out),
            Some(error) => Err(unwritten(error)),
            None => saved.map(|()| out),
        }
    }
}

/// The file of a workbook. It keeps its first failure, and takes whatever comes after it: the library would try again, and say so on standard error.
struct BookFile<W, S> {
    out: W,
    /// True once nobody wants it any more. Nothing is awaited while it is put together, so nothing else would stop that.
    is_stopping: S,
    failure: Option<io::Error>,
}

impl<W: Write, S: Fn() -> bool> Write for BookFile<W, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failure.is_some() {
            return Ok(bytes.len());
        }
        let written = match (self.is_stopping)() {
            true => Err(io::Error::other("the query was asked to stop")),
            false => self.out.write(bytes),
        };
        written.map_err(|error| self.keep(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failure.is_some() {
            return Ok(());
        }
        self.out.flush().map_err(|error| self.keep(error))
    }
}

impl<W, S> BookFile<W, S> {
    /// Keeps a failure, and gives one for the library. What a signal interrupted is tried again.
    fn keep(&mut self, error: io::Error) -> io::Error {
        let told = io::Error::from(error.kind());
        if error.kind() != io::ErrorKind::Interrupted {
            self.failure = Some(error);
        }
        told
    }
}

fn failed(error: XlsxError) -> Error {
    match error {
        XlsxError::MaxStringLengthExceeded => no_room("a text of more than 32,767 characters"),
        XlsxError::TempFileError(_, error) => no_folder(error),
        error if error.to_string().contains(TOO_LARGE) => no_room("rows of more than 4 GiB"),
        error => Error::new(ErrorKind::Storage, "cannot write the result as a workbook")
            .because(error)
            .hint("Write .csv or .parquet instead."),
    }
}

fn no_room(what: &str) -> Error {
    Error::new(
        ErrorKind::Query,
        format!("the sheet of a workbook has no room for {what}"),
    )
    .hint("Ask for less, or write .csv or .parquet, which have no such limit.")
}

fn no_folder(error: io::Error) -> Error {
    Error::new(ErrorKind::Storage, "the folder for temporary files cannot be used")
        .because(error)
        .at("folder", temporary_folder().display().to_string())
        .hint("The rows of a workbook wait there: let TMPDIR name a folder that exists, can be written to and has room, and see that files may be that large (`ulimit -f`).")
}

thread_local! {
    /// True while this thread is in the library.
    static IN_LIBRARY: Cell<bool> = const { Cell::new(false) };
}

/// Runs a piece of work of the library. A panic over its temporary file is an error; any other goes on its way.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    hush();
    IN_LIBRARY.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    IN_LIBRARY.set(false);
    done.unwrap_or_else(|payload| match file_error(payload.as_ref()) {
        Some(error) => Err(no_folder(error)),
        None => panic::resume_unwind(payload),
    })
}

/// Keeps a panic that becomes an error from being written to standard error.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if !(IN_LIBRARY.get() && file_error(panicked.payload()).is_some()) {
                loud(panicked);
            }
        }));
    });
}

/// The system's error that a panic is about: `...: Os { code: 28, kind: StorageFull, message: "No space left on device" }`.
fn file_error(payload: &(dyn Any + Send)) -> Option<io::Error> {
    let text = payload.downcast_ref::<String>()?;
    let (_, error) = text.split_once(": Os { code: ")?;
    let (code, _) = error.split_once(',')?;
    code.parse().ok().map(io::Error::from_raw_os_error)
}

/// Writes the first row, and says how the columns look.
fn write_names(sheet: &mut Worksheet, schema: &Schema, names: &[String]) -> Result<()> {
    let bold = Format::new().set_bold();
    for ((name, field), at) in names.iter().zip(schema.fields()).zip(0..) {
        let width = column_width(name, field.data_type());
        sheet.set_column_width(at, width).map_err(failed)?;
        if let Some(pattern) = number_format(field.data_type()) {
            let format = Format::new().set_num_format(pattern);
            sheet.set_column_format(at, &format).map_err(failed)?;
        }
        sheet
            .write_string_with_format(0, at, name.as_str(), &bold)
            .map_err(|error| failed(error).at("column", name.as_str()))?;
    }
    sheet.set_freeze_panes(1, 0).map_err(failed)?;
    Ok(())
}

/// Characters that a column is made for. A number or a time that does not fit is shown as `####`, a text is cut.
fn column_width(name: &str, data_type: &DataType) -> u16 {
    let narrowest = match data_type {
        DataType::Timestamp(_, None) => 25,
        number if number.is_numeric() => 18,
        _ => 16,
    };
    let width = name.chars().count() + FILTER_ARROW;
    u16::try_from(width.clamp(narrowest, WIDEST_COLUMN)).unwrap_or(u16::MAX)
}

/// Writes the rows of a batch at these places of the sheet.
fn write_rows(
    sheet: &mut Worksheet,
    batch: &RecordBatch,
    rows: Range<u32>,
    names: &[String],
    (null, numbers_from): (Option<&str>, usize),
) -> Result<()> {
    let batch = flattened(batch)?;
    let columns = batch
        .columns()
        .iter()
        .enumerate()
        .map(|(at, column)| SheetColumn::of(column.as_ref(), at >= numbers_from))
        .collect::<Result<Vec<_>>>()?;
    for (row, index) in rows.zip(0..) {
        for ((column, name), at) in columns.iter().zip(names).zip(0..) {
            let written = match column.cell(index)? {
                SheetCell::Null => sheet.write_string(row, at, null.unwrap_or_default()),
                SheetCell::Boolean(value) => sheet.write_boolean(row, at, value),
                SheetCell::Number(number) => sheet.write_number(row, at, number),
                SheetCell::Text(text) => sheet.write_string(row, at, text),
            };
            written.map_err(|error| failed(error).at("column", name.as_str()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
        StringArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::Field;
    use std::io::{Cursor, Read};
    use std::sync::Arc;

    fn encoder(columns: Vec<(&str, ArrayRef)>, null: Option<&str>) -> WorkbookEncoder {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut rows = WorkbookEncoder::new(&batch.schema(), null).unwrap();
        rows.write(&batch).unwrap();
        rows
    }

    fn unwritten(error: io::Error) -> Error {
        Error::new(ErrorKind::Storage, "the file takes no more").because(error)
    }

    fn bytes(rows: WorkbookEncoder) -> Vec<u8> {
        rows.finish(Vec::new(), || false, unwritten).unwrap()
    }

    /// A part of a workbook, without the numbers of styles.
    fn part(book: Vec<u8>, name: &str) -> String {
        let mut archive = zip::ZipArchive::new(Cursor::new(book)).unwrap();
        let mut text = String::new();
        archive
            .by_name(name)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        while let Some(start) = text.find(" s=\"") {
            let length = 4 + text[start + 4..].find('"').unwrap() + 1;
            text.replace_range(start..start + length, "");
        }
        text
    }

    fn sheet(rows: WorkbookEncoder) -> String {
        part(bytes(rows), "xl/worksheets/sheet1.xml")
    }

    fn texts(values: Vec<Option<&str>>) -> ArrayRef {
        Arc::new(StringArray::from(values))
    }

    fn text_cell(cell: &str, text: &str) -> String {
        format!("<c r=\"{cell}\" t=\"inlineStr\"><is>{text}</is></c>")
    }

    #[test]
    fn values_are_numbers_and_days_as_far_as_a_spreadsheet_has_them() {
        let amounts = [
            Some(125_000_i128),
            Some(-999_999_999_999_999),
            Some(1_234_567_890_123_456_789),
            None,
        ];
        let amounts = Decimal128Array::from(amounts.to_vec())
            .with_precision_and_scale(19, 4)
            .unwrap();
        let noon = 1_769_947_200_000_000;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("amount", Arc::new(amounts)),
            (
                "n",
                Arc::new(Int64Array::from(vec![0, 7, -1_234_567_890_123_456, 1])),
            ),
            (
                "ratio",
                Arc::new(Float64Array::from(vec![0.1, f64::NAN, 1e-5, 2.0])),
            ),
            (
                "day",
                Arc::new(Date32Array::from(vec![20_485, 0, -25_509, -25_508])),
            ),
            (
                "clock",
                Arc::new(TimestampMicrosecondArray::from(vec![
                    noon,
                    noon + 1,
                    noon,
                    noon,
                ])),
            ),
            (
                "at",
                Arc::new(
                    TimestampMicrosecondArray::from(vec![noon; 4]).with_timezone("Europe/Berlin"),
                ),
            ),
            (
                "yes",
                Arc::new(BooleanArray::from(vec![
                    Some(true),
                    Some(false),
                    None,
                    None,
                ])),
            ),
        ];
        let sheet = sheet(encoder(columns, None));
        for cell in [
            text_cell("A1", "<t>amount</t>").as_str(),
            "<c r=\"A2\"><v>12.5</v></c>",
            "<c r=\"A3\"><v>-99999999999.9999</v></c>",
            text_cell("A4", "<t>123456789012345.6789</t>").as_str(),
            "<c r=\"B2\"><v>0</v></c>",
            "<c r=\"B3\"><v>7</v></c>",
            text_cell("B4", "<t>-1234567890123456</t>").as_str(),
            "<c r=\"C2\"><v>0.1</v></c>",
            text_cell("C3", "<t>NaN</t>").as_str(),
            "<c r=\"C4\"><v>0.00001</v></c>",
            "<c r=\"D2\"><v>46054</v></c>",
            "<c r=\"D3\"><v>25569</v></c>",
            text_cell("D4", "<t>1900-02-28</t>").as_str(),
            "<c r=\"D5\"><v>61</v></c>",
            "<c r=\"E2\"><v>46054.5</v></c>",
            text_cell("E3", "<t>2026-02-01T12:00:00.000001</t>").as_str(),
            text_cell("F2", "<t>2026-02-01T13:00:00+01:00</t>").as_str(),
            "<c r=\"G2\" t=\"b\"><v>1</v></c>",
            "<c r=\"G3\" t=\"b\"><v>0</v></c>",
        ] {
            assert!(sheet.contains(cell), "{cell}: {sheet}");
        }
        for null in ["\"A5\"", "\"G4\"", "\"G5\""] {
            assert!(!sheet.contains(null), "{null}: {sheet}");
        }
    }

    #[test]
    fn a_text_is_what_it_is_and_never_a_formula() {
        let values = vec![
            Some("=1+1"),
            Some(" \u{1}\r<&>\u{ffff}\n"),
            Some("_x0041_"),
            Some(""),
            None,
        ];
        let written = sheet(encoder(vec![("=t", texts(values.clone()))], None));
        for cell in [
            text_cell("A1", "<t>=t</t>"),
            text_cell("A2", "<t>=1+1</t>"),
            text_cell(
                "A3",
                "<t xml:space=\"preserve\"> _x0001__x000D_&lt;&amp;&gt;_xFFFF_\n</t>",
            ),
            text_cell("A4", "<t>_x005F_x0041_</t>"),
        ] {
            assert!(written.contains(&cell), "{cell}: {written}");
        }
        assert!(!written.contains("<f>"), "{written}");
        assert!(!written.contains("r=\"A5\"") && !written.contains("r=\"A6\""));
        let named = sheet(encoder(vec![("t", texts(values))], Some("(none)")));
        assert!(named.contains(&text_cell("A6", "<t>(none)</t>")), "{named}");
        assert!(!named.contains("r=\"A5\""), "an empty text is no null");
    }

    #[test]
    fn figures_that_were_written_out_are_numbers_and_no_other_text_is() {
        let values = vec![
            Some("12.50"),
            Some("1234567890123456"),
            Some("n/a"),
            Some("-7"),
            None,
        ];
        let columns = vec![("label", texts(values.clone())), ("value", texts(values))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let rows = WorkbookEncoder::new(&batch.schema(), None).unwrap();
        let mut rows = rows.with_numbers_from(1);
        rows.write(&batch).unwrap();
        let sheet = sheet(rows);
        for cell in [
            text_cell("A2", "<t>12.50</t>").as_str(),
            text_cell("A5", "<t>-7</t>").as_str(),
            "<c r=\"B2\"><v>12.5</v></c>",
            text_cell("B3", "<t>1234567890123456</t>").as_str(),
            text_cell("B4", "<t>n/a</t>").as_str(),
            "<c r=\"B5\"><v>-7</v></c>",
        ] {
            assert!(sheet.contains(cell), "{cell}: {sheet}");
        }
        assert!(!sheet.contains("\"B6\""), "{sheet}");
    }

    #[test]
    fn names_stay_in_sight_and_filter_the_rows() {
        let rows = || {
            encoder(
                vec![("a", texts(vec![Some("x")])), ("b", texts(vec![None]))],
                None,
            )
        };
        let sheet = sheet(rows());
        assert!(sheet.contains("state=\"frozen\""), "{sheet}");
        assert!(sheet.contains("<autoFilter ref=\"A1:B2\"/>"), "{sheet}");
        let styles = part(bytes(rows()), "xl/styles.xml");
        assert!(styles.contains("<b/>"), "{styles}");
        assert_eq!(
            bytes(rows()),
            bytes(rows()),
            "the same rows, the same bytes"
        );

        let empty = Schema::new(vec![Field::new("a", DataType::Date32, true)]);
        let empty = bytes(WorkbookEncoder::new(&empty, None).unwrap());
        let styles = part(empty.clone(), "xl/styles.xml");
        assert!(styles.contains("formatCode=\"yyyy-mm-dd\""), "{styles}");
        let sheet = part(empty, "xl/worksheets/sheet1.xml");
        assert!(sheet.contains(&text_cell("A1", "<t>a</t>")), "{sheet}");
        assert!(!sheet.contains("autoFilter"), "{sheet}");
    }

    #[test]
    fn what_a_sheet_has_no_room_for_is_an_error() {
        let batch = |values: Vec<String>| {
            let column: ArrayRef = Arc::new(StringArray::from(values));
            RecordBatch::try_from_iter([("a", column)]).unwrap()
        };
        let rows = || WorkbookEncoder::new(&batch(Vec::new()).schema(), None).unwrap();
        let two = batch(vec!["x".to_owned(), "y".to_owned()]);
        let mut full = rows();
        full.row = SHEET_ROWS - 2;
        full.write(&two).unwrap();
        let error = full.write(&two).unwrap_err();
        assert!(error.message().contains("1,048,575 rows"), "{error}");

        for (text, fits) in [
            ("x".repeat(32_767), true),
            ("x".repeat(32_768), false),
            ("\u{1f9c3}".repeat(16_384), false),
        ] {
            let written = rows().write(&batch(vec![text]));
            let told = written.err().map(|error| error.message().to_owned());
            let is_told = told.is_some_and(|told| told.contains("32,767 characters"));
            assert_eq!(is_told, !fits);
        }

        let field = |at| Field::new(format!("c{at}"), DataType::Int64, true);
        let wide = Schema::new((0..=SHEET_COLUMNS).map(field).collect::<Vec<_>>());
        let error = WorkbookEncoder::new(&wide, None).err().unwrap();
        assert!(error.message().contains("16,384 columns"), "{error}");
    }

    /// A file without room.
    #[derive(Debug)]
    struct FullFile(io::ErrorKind);

    impl Write for FullFile {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_that_takes_no_more_is_an_error_unless_its_reader_had_enough() {
        let rows = || encoder(vec![("a", texts(vec![Some("x")]))], None);
        let full = FullFile(io::ErrorKind::StorageFull);
        let error = rows().finish(full, || false, unwritten).unwrap_err();
        assert_eq!(error.message(), "the file takes no more");
        let left = FullFile(io::ErrorKind::BrokenPipe);
        assert!(rows().finish(left, || false, unwritten).is_ok());
        let stopped = rows().finish(Vec::<u8>::new(), || true, unwritten);
        assert!(stopped.is_err(), "nobody wants it any more");
    }

    #[test]
    fn a_panic_over_the_temporary_file_is_an_error_and_any_other_is_none() {
        let full = io::Error::from_raw_os_error(28);
        let error = caught(|| -> Result<()> { panic!("Couldn't write to xml file: {full:?}") })
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.message().contains("temporary files"), "{error}");
        let other = panic::catch_unwind(|| caught(|| -> Result<()> { panic!("another") }));
        assert!(other.is_err());
        assert!(!IN_LIBRARY.get());
    }
}
