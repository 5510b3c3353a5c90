//! Encoding of rows into the bytes of one Parquet file, row group after row group.
//!
//! Invariant: of a file that grows, what is held in memory is one row group. Where the layout names a column, a row group has one value of it, but for the small
//! ones: values of few rows share a row group, which no value of many rows goes on in. So whoever reads one value reads few rows of others, and a small
//! file has few row groups, each of which takes room in the footer for every column.

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

/// Rows from which on a row group has one value of the column that the layout names.
const SHARED_ROWS: usize = 4_096;

/// Encoder of batches of a layout's file schema into the bytes of one Parquet file.
pub(crate) struct DataFileEncoder {
    layout: Arc<TableLayout>,
    file: SerializedFileWriter<Vec<u8>>,
    /// The row group that is not full.
    row_group: RowGroupEncoder,
    /// Value of the last row, where the layout names a column.
    value: Option<String>,
    /// True if the row group has rows of other values too.
    is_shared: bool,
    collector: StatsCollector,
}

impl DataFileEncoder {
    pub(super) fn new(layout: Arc<TableLayout>) -> Result<Self> {
        Ok(Self {
            file: layout.writer()?,
            row_group: RowGroupEncoder::new(layout.columns()?),
            value: None,
            is_shared: false,
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
                self.end_if_large()?;
                self.is_shared = self.row_group.rows() > 0;
                self.value = value.map(str::to_owned);
            }
            self.append(&batch.slice(run.start, run.len()))?;
            if self.is_shared {
                self.end_if_large()?;
            }
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

    /// Ends a row group that is too large to be shared.
    fn end_if_large(&mut self) -> Result<()> {
        match self.row_group.rows() >= SHARED_ROWS {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Ends the row group.
    fn flush(&mut self) -> Result<()> {
        if self.row_group.rows() == 0 {
            return Ok(());
        }
        self.is_shared = false;
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use tillhouse_model::table::{LEVEL, PERIOD};

    #[test]
    fn values_of_few_rows_share_a_row_group_and_those_of_many_have_their_own() {
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        let schema = Arc::new(Schema::new(vec![text(LEVEL), text(PERIOD)]));
        let layout = TableLayout::new(schema, &[LEVEL.to_owned()], vec![PERIOD.to_owned()]);
        let layout = Arc::new(layout.unwrap());
        let mut encoder = DataFileEncoder::new(layout.clone()).unwrap();
        for (value, rows) in [
            ("a", 10),
            ("b", 20),
            ("c", 4_090),
            ("c", 5_000),
            ("d", SHARED_ROWS),
            ("e", 1),
            ("f", 2),
        ] {
            let values = std::iter::repeat_n(value, rows);
            let values: ArrayRef = Arc::new(StringArray::from_iter_values(values));
            let batch = RecordBatch::try_new(layout.file_schema.clone(), vec![values]);
            encoder.write(&batch.unwrap()).unwrap();
        }
        encoder.finish().unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(encoder.take())).unwrap();
        let groups = reader.metadata().row_groups().iter().map(|group| {
            let bounds = group.column(0).statistics().unwrap();
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            let (first, last) = (text(bounds.min_bytes_opt()), text(bounds.max_bytes_opt()));
            format!("{first} to {last}: {}", group.num_rows())
        });
        assert_eq!(
            groups.collect::<Vec<_>>(),
            ["a to c: 4120", "c to c: 5000", "d to d: 4096", "e to f: 3"]
        );
    }
}
