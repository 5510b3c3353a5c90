//! Rows of an answer in the format that was asked for.
//!
//! Invariant: rows are encoded by what `tillhouse sql` encodes them with, batch by batch, and counted before they are sent. Figures are the lines that a command prints: in
//! columns they are texts, so that no amount becomes a float on its way and a column has one type whatever is asked; in the sheet of a workbook they are the numbers that a
//! spreadsheet has. A workbook is put together in a file without a name, and sent from there: no more of it is in memory than of any other answer.

use crate::media::AnswerFormat;
use crate::problem::Problem;
use crate::work::AnswerSink;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use futures::TryStreamExt;
use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::sync::Arc;
use tillhouse_model::terminal_escape::escape_controls_in_json;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_query::encode::json::JsonRowEncoder;
use tillhouse_query::encode::{
    ArrowStreamEncoder, CsvRowEncoder, ParquetEncoder, WorkbookEncoder, pieces,
};
use tillhouse_query::{SendableRecordBatchStream, into_error, temporary_folder};

/// Bytes of a file that are sent at a time.
const SENT_BYTES: usize = 64 << 10;
/// Place of the first column of numbers in figures that have none.
pub(crate) const NO_NUMBERS: usize = usize::MAX;

/// Bytes that end an answer.
type AnswerEnd = Box<dyn Read + Send>;

/// Encoder of rows in one of the formats.
enum RowEncoder {
    Json(JsonRowEncoder),
    Csv(CsvRowEncoder, SchemaRef),
    Arrow(Box<ArrowStreamEncoder<Vec<u8>>>),
    Parquet(Box<ParquetEncoder<Vec<u8>>>),
    Workbook(Box<WorkbookEncoder>),
}

impl RowEncoder {
    /// An encoder; `numbers_from` is the first column whose texts are numbers.
    fn new(format: AnswerFormat, schema: SchemaRef, numbers_from: usize) -> Result<Self> {
        Ok(match format {
            AnswerFormat::Json => Self::Json(JsonRowEncoder::default()),
            AnswerFormat::Csv => Self::Csv(CsvRowEncoder::default(), schema),
            AnswerFormat::Arrow => {
                Self::Arrow(Box::new(ArrowStreamEncoder::new(Vec::new(), schema)?))
            }
            AnswerFormat::Parquet => {
                Self::Parquet(Box::new(ParquetEncoder::new(Vec::new(), schema)?))
            }
            AnswerFormat::Workbook => {
                let rows = WorkbookEncoder::new(&schema, None)?;
                Self::Workbook(Box::new(rows.with_numbers_from(numbers_from)))
            }
        })
    }

    /// Bytes that more rows give.
    fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Json(rows) => {
                let text = rows.encode(batch)?;
                escape_controls_in_json(&text).into_owned().into_bytes()
            }
            Self::Csv(rows, _) => rows.encode(batch)?,
            Self::Arrow(stream) => {
                stream.write(batch)?;
                std::mem::take(stream.out())
            }
            Self::Parquet(file) => {
                file.write(batch)?;
                std::mem::take(file.out())
            }
            // It is sent at the end: what a sheet has no room for is known only then.
            Self::Workbook(rows) => {
                rows.write(batch)?;
                Vec::new()
            }
        })
    }

    /// Bytes that end the answer; `is_stopping` says when nobody waits for them any more.
    fn finish(self, is_stopping: impl Fn() -> bool + Send) -> Result<AnswerEnd> {
        let bytes = match self {
            Self::Json(rows) => rows.finish().as_bytes().to_vec(),
            Self::Csv(rows, schema) => rows.finish(schema)?,
            Self::Arrow(stream) => stream.finish()?,
            Self::Parquet(file) => file.finish()?,
            Self::Workbook(rows) => return Ok(Box::new(workbook(*rows, is_stopping)?)),
        };
        Ok(Box::new(Cursor::new(bytes)))
    }
}

/// The file of a workbook, from its start.
fn workbook(rows: WorkbookEncoder, is_stopping: impl Fn() -> bool + Send) -> Result<File> {
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorKind::Storage,
            "the folder for temporary files cannot be used",
        )
        .because(error)
        .at("folder", temporary_folder().display().to_string())
    };
    let file = tempfile::tempfile_in(temporary_folder()).map_err(failed)?;
    let mut file = rows.finish(file, is_stopping, failed)?;
    file.rewind().map_err(failed)?;
    Ok(file)
}

/// Sends the end of an answer.
async fn send_end(encoder: RowEncoder, sink: &mut AnswerSink) -> Result<(), Problem> {
    let mut end = encoder.finish(sink.is_stopping())?;
    let mut piece = vec![0; SENT_BYTES];
    loop {
        let read = end.read(&mut piece);
        let read = read.or_error(ErrorKind::Storage, "what was encoded cannot be read back")?;
        if read == 0 || !sink.write(&piece[..read]).await {
            return Ok(());
        }
    }
}

/// Writes the rows of a query as they come. Whoever reads no more ends the query.
pub(crate) async fn write_stream(
    mut stream: SendableRecordBatchStream,
    format: AnswerFormat,
    sink: &mut AnswerSink,
) -> Result<(), Problem> {
    let mut encoder = RowEncoder::new(format, stream.schema(), NO_NUMBERS)?;
    while let Some(batch) = stream.try_next().await.map_err(into_error)? {
        sink.count(batch.num_rows())?;
        for piece in pieces(&batch) {
            if !sink.write(&encoder.encode(&piece)?).await {
                return Ok(());
            }
        }
    }
    send_end(encoder, sink).await
}

/// Writes rows that are there.
pub(crate) async fn write_batch(
    batch: &RecordBatch,
    format: AnswerFormat,
    sink: &mut AnswerSink,
) -> Result<(), Problem> {
    sink.count(batch.num_rows())?;
    write_counted(batch, format, sink, NO_NUMBERS).await
}

/// Writes figures that have been counted: as a command prints them in JSON or CSV, or the lines of the CSV in columns. `numbers_from` is the place of the first column of
/// numbers.
pub(crate) async fn write_figures(
    format: AnswerFormat,
    sink: &mut AnswerSink,
    json: impl FnOnce() -> Result<String>,
    csv: impl FnOnce() -> String,
    numbers_from: usize,
) -> Result<(), Problem> {
    let text = match format {
        AnswerFormat::Json => json()?,
        AnswerFormat::Csv => csv(),
        AnswerFormat::Arrow | AnswerFormat::Parquet | AnswerFormat::Workbook => {
            let batch =
                text_columns(&csv()).or_error(ErrorKind::Internal, "lines cannot be read back")?;
            return write_counted(&batch, format, sink, numbers_from).await;
        }
    };
    sink.write(text.as_bytes()).await;
    Ok(())
}

async fn write_counted(
    batch: &RecordBatch,
    format: AnswerFormat,
    sink: &mut AnswerSink,
    numbers_from: usize,
) -> Result<(), Problem> {
    let mut encoder = RowEncoder::new(format, batch.schema(), numbers_from)?;
    for piece in pieces(batch) {
        if !sink.write(&encoder.encode(&piece)?).await {
            return Ok(());
        }
    }
    send_end(encoder, sink).await
}

/// The lines of a CSV of ours, each column as texts; an empty cell is null.
fn text_columns(csv: &str) -> Result<RecordBatch, ArrowError> {
    let format = Format::default().with_header(true);
    let (names, _) = format.infer_schema(csv.as_bytes(), Some(0))?;
    let fields: Vec<Field> = names
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), DataType::Utf8, true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let batches: Vec<RecordBatch> = ReaderBuilder::new(Arc::clone(&schema))
        .with_header(true)
        .build(csv.as_bytes())?
        .collect::<Result<_, ArrowError>>()?;
    concat_batches(&schema, &batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
    use arrow::ipc::reader::StreamReader;

    fn encoded(format: AnswerFormat) -> Vec<u8> {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let mut encoder = RowEncoder::new(format, batch.schema(), NO_NUMBERS).unwrap();
        let mut bytes = encoder.encode(&batch).unwrap();
        bytes.extend(encoder.encode(&batch).unwrap());
        let mut end = encoder.finish(|| false).unwrap();
        end.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn lines_become_columns_of_texts() {
        let csv = "name,value\n\"a, \"\"b\"\"\nc\",10.50\nd,\n";
        let batch = text_columns(csv).unwrap();
        assert_eq!(batch.schema().field(1).name(), "value");
        let (names, values) = (batch.column(0), batch.column(1));
        assert_eq!(names.as_string::<i32>().value(0), "a, \"b\"\nc");
        assert_eq!(values.as_string::<i32>().value(0), "10.50");
        assert!(values.is_null(1));
        let nothing = text_columns("name,value\n").unwrap();
        assert_eq!((nothing.num_rows(), nothing.num_columns()), (0, 2));
    }

    #[test]
    fn chunks_make_one_whole_in_every_format() {
        let json: serde_json::Value = serde_json::from_slice(&encoded(AnswerFormat::Json)).unwrap();
        assert_eq!(json.as_array().unwrap().len(), 4);
        assert_eq!(encoded(AnswerFormat::Csv), b"n\n1\n2\n1\n2\n");
        let arrow = encoded(AnswerFormat::Arrow);
        let rows: usize = StreamReader::try_new(arrow.as_slice(), None)
            .unwrap()
            .map(|batch| batch.unwrap().num_rows())
            .sum();
        assert_eq!(rows, 4);
        let parquet = encoded(AnswerFormat::Parquet);
        assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
        let book = encoded(AnswerFormat::Workbook);
        assert!(book.starts_with(b"PK\x03\x04"), "an archive");
        assert_eq!(book, encoded(AnswerFormat::Workbook), "always alike");
    }
}
