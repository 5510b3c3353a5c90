//! Query results in columns: a Parquet file, or an Arrow IPC stream.
//!
//! Invariant: every column has a name of its own; an instant that no calendar reaches is an error and no number. What was written last is whole only once the encoder
//! has been finished.

use super::{as_texts, cell, json, made};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, IntervalUnit, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::io::Write;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result};

/// Bytes that a part of a Parquet file takes in memory before it is written.
const PART_BYTES: usize = 64 << 20;

/// Encoder of record batches as one Parquet file.
pub struct ParquetEncoder<W: Write + Send> {
    writer: ArrowWriter<W>,
}

impl<W: Write + Send> ParquetEncoder<W> {
    /// An encoder of batches of this schema.
    pub fn new(out: W, schema: SchemaRef) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let schema = for_parquet(&RecordBatch::new_empty(schema))?.schema();
        let writer = ArrowWriter::try_new(out, schema, Some(properties)).map_err(refused)?;
        Ok(Self { writer })
    }

    /// Writes more rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(&for_parquet(batch)?).map_err(refused)?;
        if self.writer.in_progress_size() > PART_BYTES {
            self.writer.flush().map_err(refused)?;
        }
        Ok(())
    }

    /// Place where the file is written.
    pub fn out(&mut self) -> &mut W {
        self.writer.inner_mut()
    }

    /// Ends the file, and gives what it was written into.
    pub fn finish(self) -> Result<W> {
        self.writer.into_inner().map_err(refused)
    }
}

fn refused(error: ParquetError) -> Error {
    Error::new(ErrorKind::Storage, "cannot write the result as Parquet").because(error)
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

/// Encoder of record batches as an Arrow IPC stream.
pub struct ArrowStreamEncoder<W: Write> {
    writer: StreamWriter<W>,
}

impl<W: Write> ArrowStreamEncoder<W> {
    /// An encoder of batches of this schema.
    pub fn new(out: W, schema: SchemaRef) -> Result<Self> {
        let schema = named(&RecordBatch::new_empty(schema))?.schema();
        let writer = StreamWriter::try_new(out, &schema).map_err(unwritten)?;
        Ok(Self { writer })
    }

    /// Writes more rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(&named(batch)?).map_err(unwritten)
    }

    /// Place where the stream is written.
    pub fn out(&mut self) -> &mut W {
        self.writer.get_mut()
    }

    /// Ends the stream, and gives what it was written into.
    pub fn finish(self) -> Result<W> {
        self.writer.into_inner().map_err(unwritten)
    }
}

fn unwritten(error: ArrowError) -> Error {
    Error::new(
        ErrorKind::Query,
        "cannot write the result as an Arrow stream",
    )
    .because(error)
}

/// A batch in which each column has a name of its own.
fn named(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(json::unique_names(&schema));
    let fields = fields.map(|(field, name)| field.as_ref().clone().with_name(name));
    made(fields.collect(), batch.columns().to_vec(), batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::Schema;
    use arrow::ipc::reader::StreamReader;

    fn twice() -> RecordBatch {
        let field = Field::new("sum", DataType::Int64, false);
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let schema = Schema::new(vec![field.clone(), field]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(&column), column]).unwrap()
    }

    #[test]
    fn columns_of_one_name_are_told_apart_and_rows_come_back() {
        let batch = twice();
        let mut stream = ArrowStreamEncoder::new(Vec::new(), batch.schema()).unwrap();
        stream.write(&batch).unwrap();
        stream.write(&batch).unwrap();
        let bytes = stream.finish().unwrap();
        let mut read = StreamReader::try_new(bytes.as_slice(), None).unwrap();
        assert_eq!(read.schema().field(1).name(), "sum_2");
        let rows: usize = read.by_ref().map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, 4);

        let mut file = ParquetEncoder::new(Vec::new(), batch.schema()).unwrap();
        file.write(&batch).unwrap();
        let bytes = file.finish().unwrap();
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    }
}
