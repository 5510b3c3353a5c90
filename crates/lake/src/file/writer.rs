//! Writing data files: Parquet, zstd, with the Add action that names each.
//!
//! Invariant: partition columns stand in the Add action and never in the file; encoding runs on blocking threads; of a file that grows, what
//! is held in memory is one row group and a few megabytes of upload. A file whose rows are all there is held as a whole.
//!
//! delta-rs' `DeltaWriter` is not used: it collects statistics for the first 32 columns, decimals included, through a float, and encodes on
//! the runtime's threads.

use crate::file::parallel::{self, EncodedFile};
use crate::log::stats::{StatColumns, StatsCollector};
use crate::log::table::TableHandle;
use crate::store::footer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use deltalake::kernel::Add;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use parquet::arrow::ArrowSchemaConverter;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, SchemaDescPtr};
use std::collections::HashMap;
use std::sync::Arc;
use tillhouse_model::table::{CONTENT_HASH, EXTRACTED_AT, RECORD_KEY};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_parquet_columns::{
    self as parquet_columns, ColumnEncoder, DefaultEncoder, RowGroupEncoder,
};
use uuid::Uuid;

/// A row group ends before it has more rows, or when it holds so many encoded bytes.
pub(crate) const ROW_GROUP_ROWS: usize = 65_536;
const ROW_GROUP_BYTES: usize = 4 << 20;
/// A file is closed when it has grown to this many bytes.
const FILE_BYTES: u64 = 128 << 20;
/// Bytes that are gathered before an upload in parts begins; smaller files are put at once.
const PART_BYTES: usize = 5 << 20;

/// Schema, partition columns and Parquet properties of a table's files.
#[derive(Debug)]
pub(crate) struct TableLayout {
    /// The table's schema.
    pub schema: SchemaRef,
    /// Without the partition columns: what stands in the files.
    pub file_schema: SchemaRef,
    /// Places of the file's columns in the table's schema.
    pub projection: Vec<usize>,
    pub partition_by: Vec<String>,
    pub stat_columns: StatColumns,
    /// Number of Parquet columns of each of the file's columns.
    pub leaves: Vec<usize>,
    parquet: SchemaDescPtr,
    properties: WriterPropertiesPtr,
}

impl TableLayout {
    pub(crate) fn new(
        schema: SchemaRef,
        key: &[String],
        partition_by: Vec<String>,
    ) -> Result<Self> {
        let projection: Vec<usize> = (0..schema.fields().len())
            .filter(|i| !partition_by.contains(schema.field(*i).name()))
            .collect();
        let file_schema: SchemaRef = Arc::new(Schema::new(
            projection
                .iter()
                .map(|i| schema.fields()[*i].clone())
                .collect::<Vec<_>>(),
        ));
        let stat_columns = StatColumns::of(&schema, key, &partition_by);
        if let Some(field) = file_schema
            .fields()
            .iter()
            .find(|field| !parquet_columns::is_supported(field.data_type()))
        {
            return Err(Error::internal("a column has a type that is not written")
                .at("column", field.name())
                .at("type", field.data_type().to_string()));
        }
        let mut properties = WriterProperties::builder()
            .set_compression(parquet_columns::compression())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_key_value_metadata(Some(vec![footer::placeholder()]))
            .set_created_by(concat!("tillhouse ", env!("CARGO_PKG_VERSION")).to_owned());
        // Bounds of text rule out no row group in practice, ids least of all, and cost two comparisons a value. Keys have theirs in the
        // table's log.
        let mut texts = Vec::new();
        for field in file_schema.fields() {
            leaves_in(
                field,
                Vec::new(),
                &|kind| matches!(kind, DataType::Utf8),
                &mut texts,
            );
        }
        for path in texts {
            properties = properties
                .set_column_statistics_enabled(ColumnPath::new(path), EnabledStatistics::None);
        }
        // Nearly every value is different: a dictionary would only be built to be thrown away.
        let mut distinct: Vec<Vec<String>> = key
            .iter()
            .map(String::as_str)
            .chain([RECORD_KEY, CONTENT_HASH])
            .map(|name| vec![name.to_owned()])
            .collect();
        for field in file_schema
            .fields()
            .iter()
            .filter(|field| field.name() != EXTRACTED_AT)
        {
            leaves_in(
                field,
                Vec::new(),
                &|kind| matches!(kind, DataType::Timestamp(_, _)),
                &mut distinct,
            );
        }
        for path in distinct {
            properties = properties.set_column_dictionary_enabled(ColumnPath::new(path), false);
        }
        properties = properties
            .set_column_statistics_enabled(ColumnPath::from(CONTENT_HASH), EnabledStatistics::None);
        let properties = Arc::new(properties.build());
        let parquet = ArrowSchemaConverter::new()
            .convert(&file_schema)
            .or_error(ErrorKind::Internal, NO_PLACE)?;
        let leaves = |field: &Arc<Field>| {
            let mut found = Vec::new();
            leaves_in(field, Vec::new(), &|_| true, &mut found);
            found.len()
        };
        let leaves = file_schema.fields().iter().map(leaves).collect();
        Ok(Self {
            schema,
            file_schema,
            projection,
            partition_by,
            stat_columns,
            leaves,
            parquet: Arc::new(parquet),
            properties,
        })
    }

    /// Encoder of a file's row groups.
    pub(crate) fn writer(&self) -> Result<SerializedFileWriter<Vec<u8>>> {
        SerializedFileWriter::new(
            Vec::new(),
            self.parquet.root_schema_ptr(),
            self.properties.clone(),
        )
        .or_error(ErrorKind::Internal, NO_PLACE)
    }

    /// Encoders of the columns of a row group.
    pub(crate) fn columns(&self) -> Result<Vec<DefaultEncoder>> {
        let mut from = 0;
        let columns = self
            .file_schema
            .fields()
            .iter()
            .zip(&self.leaves)
            .map(|(field, count)| {
                let leaves = &self.parquet.columns()[from..from + count];
                from += count;
                DefaultEncoder::try_new(field.clone(), leaves, &self.properties)
            });
        columns
            .collect::<Result<_, _>>()
            .or_error(ErrorKind::Internal, NO_PLACE)
    }
}

const NO_PLACE: &str = "a table's columns have no place in Parquet";

/// The Parquet paths of all leaves of a kind in a column.
fn leaves_in(
    field: &Field,
    mut path: Vec<String>,
    kind: &impl Fn(&DataType) -> bool,
    found: &mut Vec<Vec<String>>,
) {
    path.push(field.name().clone());
    match field.data_type() {
        DataType::Struct(fields) => fields
            .iter()
            .for_each(|field| leaves_in(field, path.clone(), kind, found)),
        DataType::List(element) => {
            path.push("list".to_owned());
            leaves_in(element, path, kind, found);
        }
        leaf if kind(leaf) => found.push(path),
        _ => {}
    }
}

/// Encoder of batches of a layout's file schema into the bytes of one Parquet file.
pub(crate) struct DataFileEncoder {
    layout: Arc<TableLayout>,
    file: SerializedFileWriter<Vec<u8>>,
    /// The row group that is not full.
    row_group: RowGroupEncoder,
    collector: StatsCollector,
}

impl DataFileEncoder {
    fn new(layout: Arc<TableLayout>) -> Result<Self> {
        Ok(Self {
            file: layout.writer()?,
            row_group: RowGroupEncoder::new(layout.columns()?),
            collector: StatsCollector::new(&layout.file_schema, &layout.stat_columns),
            layout,
        })
    }

    /// Adds rows; the batch has the file schema.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.row_group.rows() + batch.num_rows() > ROW_GROUP_ROWS {
            self.flush()?;
        }
        self.collector.add(batch);
        self.row_group
            .write(batch.columns())
            .or_error(ErrorKind::Internal, REFUSED)?;
        if self.row_group.memory_size() >= ROW_GROUP_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Ends the row group.
    fn flush(&mut self) -> Result<()> {
        if self.row_group.rows() == 0 {
            return Ok(());
        }
        let row_group = std::mem::replace(
            &mut self.row_group,
            RowGroupEncoder::new(self.layout.columns()?),
        );
        let chunks = row_group.close().or_error(ErrorKind::Internal, REFUSED)?;
        parquet_columns::append_row_group(&mut self.file, chunks)
            .or_error(ErrorKind::Internal, REFUSED)
    }

    /// Ends the file.
    fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.file
            .finish()
            .map(drop)
            .or_error(ErrorKind::Internal, REFUSED)?;
        footer::seal(self.file.inner_mut());
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.file.inner_mut())
    }

    fn size(&self) -> u64 {
        (self.file.bytes_written() + self.row_group.memory_size()) as u64
    }
}

const REFUSED: &str = "rows could not be encoded";

/// A data file that is being written.
struct OpenDataFile {
    encoder: DataFileEncoder,
    target: DataFileSink,
}

/// Destination of a data file: put at once when it is small, uploaded in parts when it is not.
/// Bytes are handed on, never copied.
struct DataFileSink {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// Bytes that came before the upload began.
    waiting: Vec<Bytes>,
    upload: Option<WriteMultipart>,
    written: usize,
}

impl DataFileSink {
    async fn add(&mut self, bytes: Vec<u8>) -> object_store::Result<()> {
        self.written += bytes.len();
        self.waiting.push(Bytes::from(bytes));
        if self.upload.is_none() && self.written >= PART_BYTES {
            let upload = self.store.put_multipart(&self.path).await?;
            self.upload = Some(WriteMultipart::new_with_chunk_size(upload, PART_BYTES));
        }
        if let Some(upload) = &mut self.upload {
            for bytes in self.waiting.drain(..) {
                upload.wait_for_capacity(1).await?;
                upload.put(bytes);
            }
        }
        Ok(())
    }

    async fn finish(self) -> object_store::Result<()> {
        match self.upload {
            None => self
                .store
                .put(&self.path, self.waiting.into_iter().collect())
                .await
                .map(drop),
            Some(upload) => upload.finish().await.map(drop),
        }
    }
}

/// Writes the files of one partition, one after the other.
pub(crate) struct PartitionWriter {
    store: Arc<dyn ObjectStore>,
    table: String,
    layout: Arc<TableLayout>,
    partition: Vec<(String, Option<String>)>,
    open: Option<OpenDataFile>,
    adds: Vec<Add>,
}

impl PartitionWriter {
    pub(crate) fn new(
        table: &TableHandle,
        layout: Arc<TableLayout>,
        partition: Vec<(String, Option<String>)>,
    ) -> Self {
        Self {
            store: table.store(),
            table: table.path().to_owned(),
            layout,
            partition,
            open: None,
            adds: Vec::new(),
        }
    }

    /// Runs `encode` on a blocking thread, then moves the finished bytes on. A file that is large enough is closed after it.
    pub(crate) async fn write(
        &mut self,
        encode: impl FnOnce(&mut DataFileEncoder) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => OpenDataFile {
                encoder: DataFileEncoder::new(self.layout.clone())?,
                target: self.target(),
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
        open.target
            .add(open.encoder.take())
            .await
            .map_err(|e| self.failed(e))?;
        if open.encoder.size() >= FILE_BYTES {
            self.close(open).await?;
        } else {
            self.open = Some(open);
        }
        Ok(())
    }

    async fn close(&mut self, open: OpenDataFile) -> Result<()> {
        let OpenDataFile {
            encoder,
            mut target,
        } = open;
        let (mut encoder, result) = tokio::task::spawn_blocking(move || {
            let mut encoder = encoder;
            let result = encoder.finish();
            (encoder, result)
        })
        .await
        .or_error(ErrorKind::Internal, "encoding a data file was interrupted")?;
        result?;
        target
            .add(encoder.take())
            .await
            .map_err(|e| self.failed(e))?;
        self.finish_file(target, &encoder.collector).await
    }

    /// Writes rows of the layout's file schema as one file, at once.
    pub(crate) async fn write_file(&mut self, rows: Vec<RecordBatch>) -> Result<()> {
        let EncodedFile { bytes, collector } = parallel::encode(self.layout.clone(), rows).await?;
        let mut target = self.target();
        target.add(bytes).await.map_err(|e| self.failed(e))?;
        self.finish_file(target, &collector).await
    }

    async fn finish_file(
        &mut self,
        target: DataFileSink,
        collector: &StatsCollector,
    ) -> Result<()> {
        let (path, written) = (target.path.to_string(), target.written);
        target.finish().await.map_err(|e| self.failed(e))?;
        self.adds.push(Add {
            path,
            partition_values: self.partition.iter().cloned().collect::<HashMap<_, _>>(),
            size: i64::try_from(written)
                .or_error(ErrorKind::Internal, "a data file is too large")?,
            modification_time: jiff::Timestamp::now().as_millisecond(),
            data_change: true,
            stats: Some(collector.to_json()),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        });
        Ok(())
    }

    /// Path of the next file.
    fn target(&self) -> DataFileSink {
        DataFileSink {
            store: self.store.clone(),
            path: self.new_path(),
            waiting: Vec::new(),
            upload: None,
            written: 0,
        }
    }

    fn failed(&self, error: object_store::Error) -> Error {
        Error::new(ErrorKind::Storage, "a data file could not be written")
            .at("table", &self.table)
            .because(error)
    }

    /// `pipeline=hecone/month=2026-01/part-<uuid>.zstd.parquet`. The names in it are for people; readers take the Add's values.
    fn new_path(&self) -> Path {
        let mut path = String::new();
        for (column, value) in &self.partition {
            let value = value.as_deref().unwrap_or("none");
            let plain: String = value
                .chars()
                .map(|c| {
                    if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                        c
                    } else {
                        '_'
                    }
                })
                .collect();
            path.push_str(&format!("{column}={plain}/"));
        }
        Path::from(format!("{path}part-{}.zstd.parquet", Uuid::new_v4()))
    }

    /// True if a file is open, and so a few megabytes are held.
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
