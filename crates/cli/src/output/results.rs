//! Results of queries, in every format, on standard output or in a file.
//!
//! Invariant: a result that goes into a file is written as it comes, however large it is; a file has the whole of it, or stays what it was. A value is the same in every
//! format: decimals keep their digits, and of columns of one name the second is `x_2` where a format needs names.

use super::descriptor::is_standard_output;
use super::{NULL, OutputFile, print_notice, print_text, table, write};
use crate::args::DataFormat;
use crate::output::CsvStyle;
use crate::output::terminal_escape::escape_controls_in_json;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use std::io::Write;
use std::path::{Path, PathBuf};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_query::SendableRecordBatchStream;
use tillhouse_query::encode::json::JsonRowEncoder;
use tillhouse_query::encode::{CsvRowEncoder, ParquetEncoder, WorkbookEncoder, pieces, row_width};

/// Rows a table for people has at most: it has to know all of them to know how wide its columns are.
const TABLE_ROWS: usize = 10_000;
/// Bytes of values that a table holds: every one of them is measured, and laid out with all others.
const TABLE_BYTES: usize = 16 << 20;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileFormat {
    Csv,
    Json,
    Parquet,
    Workbook,
}

/// File that a result goes into.
#[derive(Debug, Clone)]
pub(crate) struct ResultFile {
    path: PathBuf,
    format: FileFormat,
}

impl ResultFile {
    /// The file, in the format that its ending says; `named` is the format that was asked for beside it. `None` for standard output by name (`-`,
    /// `/dev/stdout`): it is what it is without a name.
    pub(crate) fn of(path: &Path, named: Option<DataFormat>) -> Result<Option<Self>> {
        let ending = path
            .extension()
            .map(|ending| ending.to_string_lossy().to_lowercase());
        let by_ending = match ending.as_deref() {
            Some("csv") => Some(FileFormat::Csv),
            Some("json") => Some(FileFormat::Json),
            Some("parquet") => Some(FileFormat::Parquet),
            Some("xlsx") => Some(FileFormat::Workbook),
            _ => None,
        };
        if by_ending.is_none() && is_standard_output(path) {
            return Ok(None);
        }
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
                .hint("Write .csv, .json, .parquet or .xlsx, or say --format csv or json; - is standard output, in the format that --format says.")
        })?;
        Ok(Some(Self {
            path: path.to_owned(),
            format,
        }))
    }

    /// Place of it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// True if it is CSV.
    pub(crate) fn is_csv(&self) -> bool {
        self.format == FileFormat::Csv
    }

    /// True if null is a text there, which can be another.
    pub(crate) fn has_text_for_null(&self) -> bool {
        matches!(self.format, FileFormat::Csv | FileFormat::Workbook)
    }
}

/// Form of results beside their format.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResultStyle {
    /// The file they go into; standard output where there is none.
    pub(crate) file: Option<ResultFile>,
    /// Text for null in tables, CSV and workbooks; `NULL`, nothing and an empty cell unless said otherwise.
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
/// A reader that has had enough ends the query. What of it awaits nothing ends once `is_stopping` says so.
pub(crate) async fn write_results(
    format: DataFormat,
    style: &ResultStyle,
    stream: SendableRecordBatchStream,
    is_stopping: fn() -> bool,
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
        FileFormat::Workbook => {
            write_workbook(stream, style.null.as_deref(), opened, is_stopping, failed).await?
        }
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
        let fitting = (TABLE_BYTES - bytes) / row_width(&batch);
        let room = (TABLE_ROWS - rows).min(fitting.max(usize::from(rows == 0)));
        bytes = TABLE_BYTES.min(bytes + batch.num_rows() * row_width(&batch));
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
    let mut rows = JsonRowEncoder::default();
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
    let separator = style.separator.unwrap_or(b',');
    let null = style.null.clone().unwrap_or_default();
    let mut rows = CsvRowEncoder::new(csv).with(separator, null);
    while let Some(batch) = next(&mut stream).await? {
        for piece in pieces(&batch) {
            if !sink(&rows.encode(&piece)?)? {
                return Ok(());
            }
        }
    }
    sink(&rows.finish(schema)?).map(drop)
}

async fn write_parquet(
    mut stream: SendableRecordBatchStream,
    file: OutputFile,
) -> Result<OutputFile> {
    let mut rows = ParquetEncoder::new(file, stream.schema())?;
    while let Some(batch) = next(&mut stream).await? {
        rows.write(&batch)?;
    }
    rows.finish()
}

async fn write_workbook(
    mut stream: SendableRecordBatchStream,
    null: Option<&str>,
    file: OutputFile,
    is_stopping: fn() -> bool,
    failed: impl Fn(Error) -> Error,
) -> Result<OutputFile> {
    let mut rows = WorkbookEncoder::new(&stream.schema(), null)?;
    while let Some(batch) = next(&mut stream).await? {
        for piece in pieces(&batch) {
            rows.write(&piece)?;
        }
    }
    let written = rows.finish(file, is_stopping, |error| {
        failed(Error::new(ErrorKind::Storage, "cannot write the output").because(error))
    });
    // A query that was asked to stop meanwhile ends here, and its file stays what it was.
    tokio::task::yield_now().await;
    written
}
