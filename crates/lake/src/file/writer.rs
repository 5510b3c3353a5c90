//! Writing data files: Parquet, zstd, with the Add action that names each.
//!
//! Invariant: encoding runs on blocking threads; of a file that grows, what
//! is held in memory is one row group and a few megabytes of upload. A file whose rows are all there is held as a whole.
//!
//! delta-rs' `DeltaWriter` is not used: it collects statistics for the first 32 columns, decimals included, through a float, and encodes on
//! the runtime's threads.

use crate::file::encoder::DataFileEncoder;
use crate::file::layout::TableLayout;
use crate::file::parallel::{self, EncodedFile};
use crate::log::stats::StatsCollector;
use crate::log::table::TableHandle;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use deltalake::kernel::Add;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use std::collections::HashMap;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use uuid::Uuid;

/// A file is closed when it has grown to this many bytes.
const FILE_BYTES: u64 = 128 << 20;
/// Bytes that are gathered before an upload in parts begins; smaller files are put at once.
const PART_BYTES: usize = 5 << 20;

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
        self.finish_file(target, encoder.collector()).await
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
            Some(open) if open.encoder.collector().rows() > 0 => self.close(open).await,
            _ => Ok(()),
        }
    }

    /// Closes everything; the Add actions of all files.
    pub(crate) async fn finish(mut self) -> Result<Vec<Add>> {
        self.close_file().await?;
        Ok(self.adds)
    }
}
