//! Results of queries, in every format, on standard output or in a file.
//!
//! Invariant: a result in CSV, JSON or Parquet is written as it comes, however large it is; a file has the whole of it, or stays what it was. A value is the same in every
//! format: decimals keep their digits, and of columns of one name the second is `x_2` where a format needs names.

use super::{
    NULL, OutputFile, cannot_show, interval, json, print_notice, print_text, table, write,
};
use crate::args::DataFormat;
use crate::output::CsvStyle;
use crate::output::cell::{self, CellFormatter};
use crate::output::terminal_escape::escape_controls_in_json;
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_query::SendableRecordBatchStream;

/// Rows a table for people has at most: it has to know all of them to know how wide its columns are.
const TABLE_ROWS: usize = 10_000;
/// Bytes of values that a table holds: every one of them is measured, and laid out with all others.
const TABLE_BYTES: usize = 16 << 20;
/// Bytes of values that are made into text at a time.
const PIECE_BYTES: usize = 2 << 20;
/// Bytes that a part of a Parquet file takes in memory before it is written.
const PART_BYTES: usize = 64 << 20;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileFormat {
    Csv,
    Json,
    Parquet,
}

/// File that a result goes into.
#[derive(Debug, Clone)]
pub(crate) struct ResultFile {
    path: PathBuf,
    format: FileFormat,
}

impl ResultFile {
    /// The file, in the format that its ending says; `named` is the format that was asked for beside it.
    pub(crate) fn of(path: &Path, named: Option<DataFormat>) -> Result<Self> {
        let ending = path
            .extension()
            .map(|ending| ending.to_string_lossy().to_lowercase());
        let by_ending = match ending.as_deref() {
            Some("csv") => Some(FileFormat::Csv),
            Some("json") => Some(FileFormat::Json),
            Some("parquet") => Some(FileFormat::Parquet),
            Some("xlsx") => {
                return Err(Error::config("workbooks (.xlsx) are not written").hint(
                    "A spreadsheet opens CSV: --output x.csv, with --csv-safe for texts that it would take for formulas and --csv-separator for its separator.",
                ));
            }
            _ => None,
        };
        let named = match named {
            Some(DataFormat::Csv(_)) => Some(FileFormat::Csv),
            Some(DataFormat::Json) => Some(FileFormat::Json),
            Some(DataFormat::Table) | None => None,
        };
        let format = match (by_ending, named) {
            (Some(ending), Some(named)) if ending != named => {
                return Err(
                    Error::config("the format and the ending of the file differ")
                        .at("file", path.display().to_string())
                        .hint("Leave --format out: the ending says it."),
                );
            }
            (ending, named) => ending.or(named),
        };
        let format = format.ok_or_else(|| {
            Error::config("the ending of the file names no format")
                .at("file", path.display().to_string())
                .hint("Write .csv, .json or .parquet, or say --format csv or json.")
        })?;
        Ok(Self {
            path: path.to_owned(),
            format,
        })
    }

    /// Place of it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// True if it is CSV.
    pub(crate) fn is_csv(&self) -> bool {
        self.format == FileFormat::Csv
    }
}

/// Form of results beside their format.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResultStyle {
    /// The file they go into; standard output where there is none.
    pub(crate) file: Option<ResultFile>,
    /// Text for null in tables and CSV; `NULL` and nothing unless said otherwise.
    pub(crate) null: Option<String>,
    /// Separator of the cells of CSV; a comma unless said otherwise.
    pub(crate) separator: Option<u8>,
    /// The form of texts in CSV that goes into a file.
    pub(crate) csv_file: CsvStyle,
}

impl ResultStyle {
    /// Text of null in tables.
    pub(crate) fn null_in_tables(&self) -> &str {
        self.null.as_deref().unwrap_or(NULL)
    }
}

/// Writes a query's result.
///
/// A reader that has had enough ends the query.
pub(crate) async fn write_results(
    format: DataFormat,
    style: &ResultStyle,
    stream: SendableRecordBatchStream,
) -> Result<()> {
    let Some(file) = &style.file else {
        return match format {
            DataFormat::Table => print_table(style, stream).await,
            DataFormat::Json => write_json(stream, &mut write).await,
            DataFormat::Csv(csv) => write_csv(csv, style, stream, &mut write).await,
        };
    };
    let failed = |error: Error| {
        error.at("file", file.path.display().to_string()).hint(
            "Check that it is no folder, that its folder exists and can be written to, and that there is room.",
        )
    };
    let opened = OutputFile::open(&file.path)
        .or_error(ErrorKind::Storage, "cannot write the output")
        .map_err(failed)?;
    let finished = match file.format {
        FileFormat::Parquet => write_parquet(stream, opened).await?,
        FileFormat::Csv | FileFormat::Json => {
            let csv = CsvStyle {
                escapes_controls: opened.is_terminal(),
                ..style.csv_file
            };
            let mut out = opened;
            let mut sink = |bytes: &[u8]| match out.write_all(bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
                outcome => outcome
                    .or_error(ErrorKind::Storage, "cannot write the output")
                    .map_err(failed)
                    .map(|()| true),
            };
            if file.format == FileFormat::Csv {
                write_csv(csv, style, stream, &mut sink).await?;
            } else {
                write_json(stream, &mut sink).await?;
            }
            out
        }
    };
    finished
        .finish()
        .or_error(ErrorKind::Storage, "cannot write the output")
        .map_err(failed)
}

/// The next batch of a result.
async fn next(stream: &mut SendableRecordBatchStream) -> Result<Option<RecordBatch>> {
    stream.try_next().await.map_err(tillhouse_query::into_error)
}

/// Bytes of a row, on the average; one at least.
fn width(batch: &RecordBatch) -> usize {
    let of = |column: &ArrayRef| {
        let data = column.to_data();
        data.get_slice_memory_size()
            .unwrap_or_else(|_| column.get_array_memory_size())
    };
    let bytes: usize = batch.columns().iter().map(of).sum();
    bytes.div_ceil(batch.num_rows().max(1)).max(1)
}

/// A batch in pieces whose texts take little memory: there are several copies of them on the way out.
fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let rows = (PIECE_BYTES / width(batch)).max(1);
    let starts = (0..batch.num_rows().max(1)).step_by(rows);
    starts.map(move |start| batch.slice(start, rows.min(batch.num_rows() - start)))
}

/// The first rows of a result, for people.
pub(crate) struct CollectedRows {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// True if there are more than a table has.
    pub(crate) is_cut: bool,
}

/// Reads as many rows of a result as a table has.
pub(crate) async fn collect_rows(mut stream: SendableRecordBatchStream) -> Result<CollectedRows> {
    let schema = stream.schema();
    let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
    let mut is_cut = false;
    while let Some(batch) = next(&mut stream).await? {
        // One row is shown, however wide it is.
        let fitting = (TABLE_BYTES - bytes) / width(&batch);
        let room = (TABLE_ROWS - rows).min(fitting.max(usize::from(rows == 0)));
        bytes = TABLE_BYTES.min(bytes + batch.num_rows() * width(&batch));
        if batch.num_rows() > room {
            batches.push(batch.slice(0, room));
            is_cut = true;
            break;
        }
        rows += batch.num_rows();
        batches.push(batch);
    }
    Ok(CollectedRows {
        schema,
        batches,
        is_cut,
    })
}

async fn print_table(style: &ResultStyle, stream: SendableRecordBatchStream) -> Result<()> {
    let result = collect_rows(stream).await?;
    print_text(&table(
        &result.schema,
        &result.batches,
        style.null_in_tables(),
    )?)?;
    if result.is_cut {
        print_notice("there are more; --format csv or json prints all of them");
    }
    Ok(())
}

/// Takes bytes of a result; false when nobody reads on.
type ResultSink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<bool>;

async fn write_json(mut stream: SendableRecordBatchStream, sink: ResultSink<'_>) -> Result<()> {
    let mut rows = json::JsonRowEncoder::default();
    while let Some(batch) = next(&mut stream).await? {
        for piece in pieces(&batch) {
            if !sink(escape_controls_in_json(&rows.encode(&piece)?).as_bytes())? {
                return Ok(());
            }
        }
    }
    sink(rows.finish().as_bytes()).map(drop)
}

async fn write_csv(
    csv: CsvStyle,
    style: &ResultStyle,
    mut stream: SendableRecordBatchStream,
    sink: ResultSink<'_>,
) -> Result<()> {
    let schema = stream.schema();
    let mut header = true;
    let encoded = |batch: &RecordBatch, header: bool| {
        let mut text = Vec::new();
        let mut writer = arrow::csv::WriterBuilder::new()
            .with_header(header)
            .with_delimiter(style.separator.unwrap_or(b','))
            .with_null(style.null.clone().unwrap_or_default())
            .build(&mut text);
        writer
            .write(&styled(flattened(batch)?, csv)?)
            .map_err(cannot_show)?;
        drop(writer);
        Ok::<_, Error>(text)
    };
    while let Some(batch) = next(&mut stream).await? {
        for piece in pieces(&batch) {
            if !sink(&encoded(&piece, std::mem::take(&mut header))?)? {
                return Ok(());
            }
        }
    }
    if header {
        sink(&encoded(&RecordBatch::new_empty(schema), true)?)?;
    }
    Ok(())
}

async fn write_parquet(
    mut stream: SendableRecordBatchStream,
    file: OutputFile,
) -> Result<OutputFile> {
    let failed = |error: parquet::errors::ParquetError| {
        Error::new(ErrorKind::Storage, "cannot write the result as Parquet").because(error)
    };
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let schema = for_parquet(&RecordBatch::new_empty(stream.schema()))?.schema();
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(failed)?;
    while let Some(batch) = next(&mut stream).await? {
        writer.write(&for_parquet(&batch)?).map_err(failed)?;
        if writer.in_progress_size() > PART_BYTES {
            writer.flush().map_err(failed)?;
        }
    }
    writer.into_inner().map_err(failed)
}

/// A batch whose columns Parquet has: each with a name of its own, spans of time as texts.
fn for_parquet(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let names = json::unique_names(&schema);
    let is_span = |field: &Field| {
        matches!(
            field.data_type(),
            DataType::Interval(IntervalUnit::MonthDayNano)
        )
    };
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for ((field, name), column) in schema.fields().iter().zip(names).zip(batch.columns()) {
        cell::in_calendar(column.as_ref())?;
        if is_span(field) {
            fields.push(Field::new(name, DataType::Utf8, true));
            columns.push(as_texts(column)?);
        } else {
            fields.push(field.as_ref().clone().with_name(name).with_nullable(true));
            columns.push(Arc::clone(column));
        }
    }
    made(fields, columns, batch)
}

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

/// CSV has no lists and no objects: these become JSON text. Spans of time, and instants that Arrow would cut, become text too.
pub(super) fn flattened(batch: &RecordBatch) -> Result<RecordBatch> {
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
        } else if interval::is_span(field.data_type()) || cell::historic(column.as_ref())?.is_some()
        {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(as_texts(column)?);
        } else {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    made(fields, columns, batch)
}

/// The texts of CSV in a style; numbers, times and booleans are no texts.
fn styled(batch: RecordBatch, style: CsvStyle) -> Result<RecordBatch> {
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
    made(fields, columns, &batch)
}
