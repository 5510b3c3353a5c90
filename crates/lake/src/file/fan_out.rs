//! Streams of rows into the partitions of a unified table.
//!
//! Invariant: memory stays below a budget whatever the stream's order: what waits is at most [`WAITING_BYTES`], and at most
//! [`OPEN_FILES`] files are open. Rows of a partition keep the order they came in, but where the layout has an order: those that waited together are put in it.

use crate::file::layout::TableLayout;
use crate::file::shared_nulls::{SharedNulls, is_null};
use crate::file::writer::PartitionWriter;
use crate::log::table::TableHandle;
use crate::month::NONE;
use arrow::array::{Array, ArrayRef, AsArray, StringArray, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use deltalake::kernel::Add;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Rows of a partition that are encoded at once: fewer wait, so that many months in turn do not make a file of each.
const ENCODED_ROWS: usize = 4_096;
/// Bytes of rows that may wait, over all partitions.
const WAITING_BYTES: usize = 12 << 20;
/// Files that may be open at once.
const OPEN_FILES: usize = 4;

/// Values of the partition columns.
type PartitionKey = Vec<Option<String>>;

/// Rows of one partition that wait to be written.
#[derive(Clone, Default)]
struct PartitionBuffer {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

/// Rows of a writer of which none stands in a file. A copy shares them.
#[derive(Clone)]
pub(crate) struct WaitingRows {
    partitions: BTreeMap<PartitionKey, PartitionBuffer>,
    bytes: usize,
    rows: u64,
}

/// Writer of a stream of rows into files by partition.
pub(crate) struct FanOutWriter {
    table: Arc<TableHandle>,
    layout: Arc<TableLayout>,
    /// Places of the partition columns in the table's schema.
    partition_at: Vec<usize>,
    waiting: BTreeMap<PartitionKey, PartitionBuffer>,
    waiting_bytes: usize,
    budget: usize,
    /// Nulls of the rows that wait to be put in an order.
    nulls: SharedNulls,
    writers: BTreeMap<PartitionKey, (PartitionWriter, u64)>,
    turn: u64,
    rows: u64,
}

impl FanOutWriter {
    pub(crate) fn new(table: Arc<TableHandle>, layout: Arc<TableLayout>) -> Result<Self> {
        let partition_at = layout
            .definition
            .partition_by
            .iter()
            .map(|name| {
                layout
                    .definition
                    .schema
                    .index_of(name)
                    .or_error(ErrorKind::Config, "a partition column is not a column")
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            table,
            layout,
            partition_at,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            budget: WAITING_BYTES,
            nulls: SharedNulls::default(),
            writers: BTreeMap::new(),
            turn: 0,
            rows: 0,
        })
    }

    /// Rows written so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows written so far; `None` where some of them stand in a file already.
    pub(crate) fn waiting_rows(&self) -> Option<WaitingRows> {
        self.writers.is_empty().then(|| WaitingRows {
            partitions: self.waiting.clone(),
            bytes: self.waiting_bytes,
            rows: self.rows,
        })
    }

    /// The same writer, to which nothing was written yet, with rows of another one.
    pub(crate) fn with_rows(mut self, rows: WaitingRows) -> Self {
        self.waiting = rows.partitions;
        self.waiting_bytes = rows.bytes;
        self.rows = rows.rows;
        self
    }

    /// Takes rows of the table's schema.
    pub(crate) async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows() as u64;
        let batch = conform_batch(&batch, &self.layout)?;
        let groups = self.partitions(&batch)?;
        let file_rows = batch
            .project(&self.layout.projection)
            .or_error(ErrorKind::Internal, "rows cannot be split")?;
        let single = groups.len() == 1;
        for (partition, rows) in groups {
            let part = if single {
                file_rows.clone()
            } else {
                take_record_batch(&file_rows, &UInt32Array::from(rows))
                    .or_error(ErrorKind::Internal, "rows cannot be split")?
            };
            let waiting = self.waiting.entry(partition.clone()).or_default();
            waiting.rows += part.num_rows();
            if waiting.rows >= ENCODED_ROWS && !self.layout.has_order() {
                waiting.batches.push(part);
                self.flush(partition).await?;
            } else {
                let part = match self.layout.has_order() {
                    true => self.nulls.shared(&part)?,
                    false => part,
                };
                let bytes = bytes_of(&part, &self.layout);
                waiting.bytes += bytes;
                waiting.batches.push(part);
                self.waiting_bytes += bytes;
            }
        }
        while self.waiting_bytes > self.budget {
            let largest = self
                .waiting
                .iter()
                .max_by_key(|(_, waiting)| waiting.bytes)
                .map(|(p, _)| p.clone());
            match largest {
                Some(partition) => self.flush(partition).await?,
                None => break,
            }
        }
        Ok(())
    }

    /// The partitions of a batch, each with its rows. A null month is the month `none`.
    fn partitions<'a>(&self, batch: &'a RecordBatch) -> Result<Vec<(PartitionKey, Vec<u32>)>> {
        let columns: Vec<(&'a StringArray, Option<&'a str>)> = self
            .partition_at
            .iter()
            .zip(&self.layout.definition.partition_by)
            .map(|(at, name)| {
                let column = batch.column(*at).as_string_opt::<i32>();
                let none = (name == tillhouse_model::table::MONTH).then_some(NONE);
                column.map(|column| (column, none)).ok_or_else(|| {
                    Error::new(ErrorKind::Config, "a partition column is not text")
                        .at("column", name)
                })
            })
            .collect::<Result<_>>()?;
        let value = |(column, none): &(&'a StringArray, Option<&'a str>), row: usize| {
            if column.is_valid(row) {
                Some(column.value(row))
            } else {
                *none
            }
        };
        let mut groups: Vec<(PartitionKey, Vec<u32>)> = Vec::new();
        // Neighbours are mostly of one partition.
        let mut current = 0;
        for (at, row) in (0..batch.num_rows()).zip(0_u32..) {
            let of_row = |(partition, _): &(PartitionKey, Vec<u32>)| {
                partition
                    .iter()
                    .zip(&columns)
                    .all(|(held, column)| held.as_deref() == value(column, at))
            };
            if !groups.get(current).is_some_and(of_row) {
                current = groups.iter().position(of_row).unwrap_or(groups.len());
            }
            match groups.get_mut(current) {
                Some((_, rows)) => rows.push(row),
                None => {
                    let values = columns
                        .iter()
                        .map(|column| value(column, at).map(ToOwned::to_owned));
                    groups.push((values.collect(), vec![row]));
                }
            }
        }
        Ok(groups)
    }

    /// Writes what waits for a partition.
    async fn flush(&mut self, partition: PartitionKey) -> Result<()> {
        let Some(waiting) = self.waiting.remove(&partition) else {
            return Ok(());
        };
        self.waiting_bytes = self.waiting_bytes.saturating_sub(waiting.bytes);
        self.turn += 1;
        if !self
            .writers
            .get(&partition)
            .is_some_and(|(writer, _)| writer.is_open())
        {
            let open = self
                .writers
                .iter_mut()
                .filter(|(_, (writer, _))| writer.is_open());
            let mut open: Vec<_> = open.map(|(_, (writer, used))| (*used, writer)).collect();
            if open.len() >= OPEN_FILES {
                open.sort_by_key(|(used, _)| *used);
                if let Some((_, writer)) = open.first_mut() {
                    writer.close_file().await?;
                }
            }
        }
        let (table, layout, turn) = (&self.table, &self.layout, self.turn);
        let (writer, used) = self
            .writers
            .entry(partition)
            .or_insert_with_key(|partition| (writer_of(table, layout, partition), turn));
        *used = turn;
        waiting.write(writer, layout).await
    }

    /// Writes what still waits; the Add actions of all files.
    pub(crate) async fn finish(mut self) -> Result<Vec<Add>> {
        let mut rest = Vec::with_capacity(self.writers.len() + self.waiting.len());
        for (partition, (writer, _)) in std::mem::take(&mut self.writers) {
            let waiting = self.waiting.remove(&partition);
            rest.push((partition, writer, waiting));
        }
        // Those whose files are open come first, so that no more than so many are open at any time.
        rest.sort_by_key(|(_, writer, _)| !writer.is_open());
        for (partition, waiting) in std::mem::take(&mut self.waiting) {
            let writer = writer_of(&self.table, &self.layout, &partition);
            rest.push((partition, writer, Some(waiting)));
        }
        let layout = &self.layout;
        let finishing: Vec<_> = rest
            .into_iter()
            .map(|(partition, mut writer, waiting)| async move {
                if let Some(waiting) = waiting {
                    waiting.write(&mut writer, layout).await?;
                }
                Ok::<_, Error>((partition, writer.finish().await?))
            })
            .collect();
        // Each is put by a request of its own.
        let finished = stream::iter(finishing).buffered(OPEN_FILES);
        let finished: BTreeMap<PartitionKey, Vec<Add>> = finished.try_collect().await?;
        Ok(finished.into_values().flatten().collect())
    }
}

impl PartitionBuffer {
    async fn write(self, writer: &mut PartitionWriter, layout: &Arc<TableLayout>) -> Result<()> {
        let layout = Arc::clone(layout);
        writer
            .write(move |encoder| {
                if !layout.has_order() {
                    let mut batches = self.batches.iter();
                    return batches.try_for_each(|batch| encoder.write(batch));
                }
                for rows in layout.in_file_order(&self.batches)? {
                    for from in (0..rows.num_rows()).step_by(ENCODED_ROWS) {
                        let count = ENCODED_ROWS.min(rows.num_rows() - from);
                        encoder.write(&rows.slice(from, count))?;
                    }
                }
                Ok(())
            })
            .await
    }
}

/// Writer of the files of a partition.
fn writer_of(
    table: &TableHandle,
    layout: &Arc<TableLayout>,
    partition: &PartitionKey,
) -> PartitionWriter {
    let names = layout.definition.partition_by.iter().cloned();
    let named = names.zip(partition.iter().cloned()).collect();
    PartitionWriter::new(table, Arc::clone(layout), named)
}

/// Bytes that rows take while they wait; nulls that share theirs take none.
fn bytes_of(batch: &RecordBatch, layout: &TableLayout) -> usize {
    let size = |column: &ArrayRef| {
        column
            .to_data()
            .get_slice_memory_size()
            .unwrap_or_else(|_| column.get_array_memory_size())
    };
    let columns = batch.columns().iter();
    let own = columns.map(|column| match layout.has_order() && is_null(column) {
        true => 0,
        false => size(column),
    });
    own.sum()
}

/// The batch in the table's schema. Only other layouts of text and bytes are converted: any other difference means that somebody
/// computed a column of the wrong type.
pub(crate) fn conform_batch(batch: &RecordBatch, layout: &TableLayout) -> Result<RecordBatch> {
    let schema = &layout.definition.schema;
    let wrong = |column: &str| {
        Error::data("rows do not fit their unified table")
            .at("column", column)
            .hint("The unify SQL must give exactly the contract's columns.")
    };
    if batch.num_columns() != schema.fields().len() {
        let extra = batch
            .schema()
            .fields()
            .iter()
            .find(|f| schema.field_with_name(f.name()).is_err())
            .map(|f| f.name().clone());
        return Err(wrong(extra.as_deref().unwrap_or("(one is missing)")));
    }
    let mut columns = Vec::with_capacity(batch.num_columns());
    for field in schema.fields() {
        let column = batch
            .column_by_name(field.name())
            .ok_or_else(|| wrong(field.name()))?;
        let text_like = |t: &DataType| {
            matches!(
                t,
                DataType::Utf8
                    | DataType::Utf8View
                    | DataType::LargeUtf8
                    | DataType::Binary
                    | DataType::BinaryView
                    | DataType::LargeBinary
                    | DataType::FixedSizeBinary(_)
                    | DataType::Dictionary(_, _)
            )
        };
        columns.push(if column.data_type() == field.data_type() {
            column.clone()
        } else if text_like(column.data_type()) && text_like(field.data_type()) {
            cast(column, field.data_type()).map_err(|_| wrong(field.name()))?
        } else {
            return Err(wrong(field.name()).at("type", column.data_type().to_string()));
        });
    }
    let month = schema.index_of(tillhouse_model::table::MONTH).ok();
    for (i, field) in schema.fields().iter().enumerate() {
        if !field.is_nullable() && columns[i].null_count() > 0 && Some(i) != month {
            return Err(wrong(field.name()).at("reason", "null in a required column"));
        }
    }
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, f)| {
            if Some(i) == month {
                Arc::new(f.as_ref().clone().with_nullable(true))
            } else {
                f.clone()
            }
        })
        .collect();
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)
        .map_err(|_| wrong("(several)"))
}

#[cfg(test)]
#[path = "fan_out_tests.rs"]
mod tests;
