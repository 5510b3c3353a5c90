//! Encoding of rows into the bytes of one Parquet file, row group after row group.
//!
//! Invariant: of a file that grows, what is held in memory is one row group. Where the layout names a column, a row group has one value of it.

use crate::file::layout::TableLayout;
use crate::log::stats::StatsCollector;
use crate::store::footer;
use arrow::array::AsArray;
use arrow::compute::partition;
use arrow::record_batch::RecordBatch;
use parquet::file::writer::SerializedFileWriter;
use std::sync::Arc;
use tillhouse_model::{ErrorKind, Result, ResultExt};
use tillhouse_parquet_columns::{self as parquet_columns, RowGroupEncoder};

/// A row group ends before it has more rows, or when it holds so many encoded bytes.
pub(crate) const ROW_GROUP_ROWS: usize = 65_536;
const ROW_GROUP_BYTES: usize = 4 << 20;

/// Encoder of batches of a layout's file schema into the bytes of one Parquet file.
pub(crate) struct DataFileEncoder {
    layout: Arc<TableLayout>,
    file: SerializedFileWriter<Vec<u8>>,
    /// The row group that is not full.
    row_group: RowGroupEncoder,
    /// Value that all rows of the row group have, where the layout names a column.
    value: Option<String>,
    collector: StatsCollector,
}

impl DataFileEncoder {
    pub(super) fn new(layout: Arc<TableLayout>) -> Result<Self> {
        Ok(Self {
            file: layout.writer()?,
            row_group: RowGroupEncoder::new(layout.columns()?),
            value: None,
            collector: StatsCollector::new(&layout.file_schema, &layout.definition.stat_columns),
            layout,
        })
    }

    /// Adds rows; the batch has the file schema.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(column) = self.layout.row_group_by else {
            return self.append(batch);
        };
        let column = batch.column(column);
        let runs = partition(std::slice::from_ref(column));
        for run in runs.or_error(ErrorKind::Internal, REFUSED)?.ranges() {
            let texts = column.as_string_opt::<i32>();
            let value = texts.map(|texts| texts.value(run.start));
            if self.value.as_deref() != value {
                self.flush()?;
                self.value = value.map(str::to_owned);
            }
            self.append(&batch.slice(run.start, run.len()))?;
        }
        Ok(())
    }

    fn append(&mut self, batch: &RecordBatch) -> Result<()> {
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
    pub(super) fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.file
            .finish()
            .map(drop)
            .or_error(ErrorKind::Internal, REFUSED)?;
        footer::seal(self.file.inner_mut());
        Ok(())
    }

    /// The bytes that are finished.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.file.inner_mut())
    }

    /// Bytes of the file so far, those of the open row group included.
    pub(super) fn size(&self) -> u64 {
        (self.file.bytes_written() + self.row_group.memory_size()) as u64
    }

    /// Statistics of the rows that were written.
    pub(super) fn collector(&self) -> &StatsCollector {
        &self.collector
    }
}

pub(super) const REFUSED: &str = "rows could not be encoded";
