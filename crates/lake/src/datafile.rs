//! Writing data files: Parquet, zstd, with the Add action that names each.
//!
//! Invariant: partition columns stand in the Add action and never in the file; encoding runs on blocking threads; what is held in
//! memory is one row group and a few megabytes of upload, however large the file.
//!
//! Parquet's own writer is used instead of delta-rs' `DeltaWriter`: that one collects statistics for the first 32 columns, decimals
//! included, through a float, and encodes on the runtime's threads.

use crate::delta::Table;
use crate::stats::{Collector, StatColumns};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use deltalake::kernel::Add;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::HashMap;
use std::sync::Arc;
use tillhouse_model::table::{CONTENT_HASH, EXTRACTED_AT, RECORD_KEY, RECORD_TIME};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use uuid::Uuid;

/// Rows in a row group.
pub(crate) const ROW_GROUP_ROWS: usize = 65_536;
/// Bytes of a page and of a column's dictionary. A contract may have a hundred columns, and each holds one of both while a row group
/// is encoded: with Parquet's usual megabyte that alone would be 200 MiB.
const PAGE_BYTES: usize = 256 << 10;
const DICTIONARY_BYTES: usize = 96 << 10;
/// A file is closed when it has grown to this many bytes.
const FILE_BYTES: u64 = 128 << 20;
/// Bytes that are gathered before an upload in parts begins; smaller files are put at once.
const PART_BYTES: usize = 8 << 20;

/// How a table's files look.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The table's schema.
    pub schema: SchemaRef,
    /// Without the partition columns: what stands in the files.
    pub file_schema: SchemaRef,
    /// Where the file's columns stand in the table's schema.
    pub projection: Vec<usize>,
    pub partition_by: Vec<String>,
    pub stat_columns: StatColumns,
    /// The instant by which rows are put in order within a row group, where the schema has it.
    pub order_by: &'static str,
    properties: WriterProperties,
}

impl Layout {
    pub(crate) fn new(schema: SchemaRef, key: &[String], partition_by: Vec<String>) -> Result<Self> {
        let projection: Vec<usize> =
            (0..schema.fields().len()).filter(|i| !partition_by.contains(schema.field(*i).name())).collect();
        let file_schema: SchemaRef =
            Arc::new(Schema::new(projection.iter().map(|i| schema.fields()[*i].clone()).collect::<Vec<_>>()));
        let stat_columns = StatColumns::of(&schema, key, &partition_by);
        let level = ZstdLevel::try_new(1).or_error(ErrorKind::Internal, "zstd refuses its first level")?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_data_page_size_limit(PAGE_BYTES)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("tillhouse ", env!("CARGO_PKG_VERSION")).to_owned());
        // Nearly every value is different: a dictionary would only be built to be thrown away.
        let mut distinct: Vec<Vec<String>> = key
            .iter()
            .map(String::as_str)
            .chain([RECORD_KEY, CONTENT_HASH])
            .map(|name| vec![name.to_owned()])
            .collect();
        for field in file_schema.fields().iter().filter(|field| field.name() != EXTRACTED_AT) {
            times_in(field, Vec::new(), &mut distinct);
        }
        for path in distinct {
            properties = properties.set_column_dictionary_enabled(ColumnPath::new(path), false);
        }
        properties = properties.set_column_statistics_enabled(ColumnPath::from(CONTENT_HASH), EnabledStatistics::None);
        let properties = properties.build();
        Ok(Self { schema, file_schema, projection, partition_by, stat_columns, order_by: RECORD_TIME, properties })
    }

    /// The same, with rows in the order of another instant.
    #[must_use]
    pub(crate) fn ordered_by(self, column: &'static str) -> Self {
        Self { order_by: column, ..self }
    }
}

/// The Parquet paths of all instants in a column.
fn times_in(field: &Field, mut path: Vec<String>, found: &mut Vec<Vec<String>>) {
    path.push(field.name().clone());
    match field.data_type() {
        DataType::Timestamp(_, _) => found.push(path),
        DataType::Struct(fields) => fields.iter().for_each(|field| times_in(field, path.clone(), found)),
        DataType::List(element) => {
            path.push("list".to_owned());
            times_in(element, path, found);
        }
        _ => {}
    }
}

/// Turns batches of a layout's file schema into the bytes of one Parquet file.
pub(crate) struct Encoder {
    writer: ArrowWriter<Vec<u8>>,
    collector: Collector,
}

impl Encoder {
    fn new(layout: &Layout) -> Result<Self> {
        let options =
            ArrowWriterOptions::new().with_properties(layout.properties.clone()).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), layout.file_schema.clone(), options)
            .or_error(ErrorKind::Internal, "a table's columns have no place in Parquet")?;
        Ok(Self { writer, collector: Collector::new(&layout.file_schema, &layout.stat_columns) })
    }

    /// Adds rows; the batch has the file schema.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.collector.add(batch);
        self.writer.write(batch).or_error(ErrorKind::Internal, "rows could not be encoded")
    }

    /// Ends the row group.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.writer.flush().or_error(ErrorKind::Internal, "rows could not be encoded")
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.inner_mut())
    }

    fn size(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }
}

/// One data file being written.
struct Open {
    path: Path,
    encoder: Encoder,
    pending: Vec<u8>,
    upload: Option<WriteMultipart>,
    written: u64,
}

/// Writes the files of one partition, one after the other.
pub(crate) struct PartitionWriter {
    store: Arc<dyn ObjectStore>,
    table: String,
    layout: Arc<Layout>,
    partition: Vec<(String, Option<String>)>,
    open: Option<Open>,
    adds: Vec<Add>,
}

impl PartitionWriter {
    pub(crate) fn new(table: &Table, layout: Arc<Layout>, partition: Vec<(String, Option<String>)>) -> Self {
        Self { store: table.store(), table: table.path().to_owned(), layout, partition, open: None, adds: Vec::new() }
    }

    /// Runs `encode` on a blocking thread, then moves the finished bytes on. A file that is large enough is closed after it.
    pub(crate) async fn write(
        &mut self,
        encode: impl FnOnce(&mut Encoder) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open {
                path: self.new_path(),
                encoder: Encoder::new(&self.layout)?,
                pending: Vec::new(),
                upload: None,
                written: 0,
            },
        };
        let (encoder, result) = {
            let mut encoder = open.encoder;
            tokio::task::spawn_blocking(move || {
                let result = encode(&mut encoder);
                (encoder, result)
            })
            .await
            .or_error(ErrorKind::Internal, "encoding a data file was interrupted")?
        };
        result?;
        open.encoder = encoder;
        self.move_on(&mut open).await?;
        if open.encoder.size() >= FILE_BYTES {
            self.close(open).await?;
        } else {
            self.open = Some(open);
        }
        Ok(())
    }

    async fn move_on(&mut self, open: &mut Open) -> Result<()> {
        let bytes = open.encoder.take();
        open.written += bytes.len() as u64;
        if open.pending.is_empty() {
            open.pending = bytes;
        } else {
            open.pending.extend_from_slice(&bytes);
        }
        if open.pending.len() < PART_BYTES {
            return Ok(());
        }
        if open.upload.is_none() {
            let upload = self.store.put_multipart(&open.path).await.map_err(|e| self.failed(e))?;
            open.upload = Some(WriteMultipart::new_with_chunk_size(upload, PART_BYTES));
        }
        if let Some(upload) = &mut open.upload {
            upload.wait_for_capacity(1).await.map_err(|e| self.failed(e))?;
            upload.put(std::mem::take(&mut open.pending).into());
        }
        Ok(())
    }

    async fn close(&mut self, open: Open) -> Result<()> {
        let Open { path, mut encoder, mut pending, upload, mut written } = open;
        let (encoder, result) = tokio::task::spawn_blocking(move || {
            let result = encoder.writer.finish().map(|_| ());
            (encoder, result)
        })
        .await
        .or_error(ErrorKind::Internal, "encoding a data file was interrupted")?;
        result.or_error(ErrorKind::Internal, "rows could not be encoded")?;
        let mut encoder = encoder;
        let bytes = encoder.take();
        written += bytes.len() as u64;
        pending.extend_from_slice(&bytes);
        match upload {
            None => {
                self.store.put(&path, PutPayload::from(pending)).await.map_err(|e| self.failed(e))?;
            }
            Some(mut upload) => {
                upload.put(pending.into());
                upload.finish().await.map_err(|e| self.failed(e))?;
            }
        }
        self.adds.push(Add {
            path: path.to_string(),
            partition_values: self.partition.iter().cloned().collect::<HashMap<_, _>>(),
            size: i64::try_from(written).or_error(ErrorKind::Internal, "a data file is too large")?,
            modification_time: jiff::Timestamp::now().as_millisecond(),
            data_change: true,
            stats: Some(encoder.collector.to_json()),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        });
        Ok(())
    }

    fn failed(&self, error: object_store::Error) -> Error {
        Error::new(ErrorKind::Storage, "a data file could not be written").at("table", &self.table).because(error)
    }

    /// `pipeline=hecone/month=2026-01/part-<uuid>.zstd.parquet`. The names in it are for people; readers take the Add's values.
    fn new_path(&self) -> Path {
        let mut path = String::new();
        for (column, value) in &self.partition {
            let value = value.as_deref().unwrap_or("none");
            let plain: String =
                value.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
            path.push_str(&format!("{column}={plain}/"));
        }
        Path::from(format!("{path}part-{}.zstd.parquet", Uuid::new_v4()))
    }

    /// Whether a file is open, and so a few megabytes are held.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Closes the file that is open, if there is one.
    pub(crate) async fn close_file(&mut self) -> Result<()> {
        match self.open.take() {
            Some(open) if open.encoder.collector.rows() > 0 => self.close(open).await,
            _ => Ok(()),
        }
    }

    /// Closes everything; the Add actions of all files.
    pub(crate) async fn finish(mut self) -> Result<Vec<Add>> {
        self.close_file().await?;
        Ok(self.adds)
    }
}
