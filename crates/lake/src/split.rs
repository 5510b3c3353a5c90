//! Streams of rows into the partitions of a unified table.
//!
//! Invariant: memory stays below a budget whatever the stream's order: what waits is at most [`WAITING_BYTES`], and at most
//! [`OPEN_FILES`] files are open. Within a row group rows stand in the order of their record time, so that readers can prune.

use crate::datafile::{Encoder, Layout, PartitionWriter, ROW_GROUP_ROWS};
use crate::delta::Table;
use crate::month::NONE;
use arrow::array::{Array, ArrayRef, AsArray, StringArray, UInt32Array};
use arrow::compute::{cast, interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use deltalake::kernel::Add;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Bytes of rows that may wait for their row group, over all partitions.
const WAITING_BYTES: usize = 12 << 20;
/// Files that may be open at once.
const OPEN_FILES: usize = 4;

type Partition = Vec<Option<String>>;

#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

/// Writes rows to the partitions they belong to.
pub(crate) struct Splitter {
    table: Arc<Table>,
    layout: Arc<Layout>,
    /// Where the partition columns stand in the table's schema.
    partition_at: Vec<usize>,
    waiting: BTreeMap<Partition, Waiting>,
    waiting_bytes: usize,
    budget: usize,
    writers: BTreeMap<Partition, (PartitionWriter, u64)>,
    turn: u64,
    rows: u64,
}

impl Splitter {
    pub(crate) fn new(table: Arc<Table>, layout: Arc<Layout>) -> Result<Self> {
        let partition_at = layout
            .partition_by
            .iter()
            .map(|name| layout.schema.index_of(name).or_error(ErrorKind::Config, "a partition column is not a column"))
            .collect::<Result<_>>()?;
        Ok(Self {
            table,
            layout,
            partition_at,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            budget: WAITING_BYTES,
            writers: BTreeMap::new(),
            turn: 0,
            rows: 0,
        })
    }

    /// Rows written so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes rows of the table's schema.
    pub(crate) async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows() as u64;
        let batch = fitted(&batch, &self.layout)?;
        let columns = self.partition_columns(&batch)?;
        let mut groups: Vec<(Partition, Vec<u32>)> = Vec::new();
        for row in 0..batch.num_rows() {
            let at = u32::try_from(row).or_error(ErrorKind::Internal, "a batch has too many rows")?;
            let is_of = |partition: &Partition| {
                partition.iter().zip(&columns).all(|(known, column)| known.as_deref() == column.value(row))
            };
            match groups.iter_mut().rev().find(|(partition, _)| is_of(partition)) {
                Some((_, rows)) => rows.push(at),
                None => groups.push((columns.iter().map(|c| c.value(row).map(ToOwned::to_owned)).collect(), vec![at])),
            }
        }
        let file_rows = batch.project(&self.layout.projection).or_error(ErrorKind::Internal, "rows cannot be split")?;
        let single = groups.len() == 1;
        for (partition, rows) in groups {
            let part = if single {
                file_rows.clone()
            } else {
                take_record_batch(&file_rows, &UInt32Array::from(rows))
                    .or_error(ErrorKind::Internal, "rows cannot be split")?
            };
            let bytes = bytes_of(&part);
            let waiting = self.waiting.entry(partition.clone()).or_default();
            waiting.rows += part.num_rows();
            waiting.bytes += bytes;
            waiting.batches.push(part);
            self.waiting_bytes += bytes;
            if waiting.rows >= ROW_GROUP_ROWS {
                self.flush(partition).await?;
            }
        }
        while self.waiting_bytes > self.budget {
            let largest = self.waiting.iter().max_by_key(|(_, waiting)| waiting.bytes).map(|(p, _)| p.clone());
            match largest {
                Some(partition) => self.flush(partition).await?,
                None => break,
            }
        }
        Ok(())
    }

    fn partition_columns<'a>(&self, batch: &'a RecordBatch) -> Result<Vec<PartitionColumn<'a>>> {
        let columns = self.partition_at.iter().zip(&self.layout.partition_by);
        let column = |(at, name): (&usize, &String)| {
            let values = batch
                .column(*at)
                .as_string_opt::<i32>()
                .ok_or_else(|| Error::new(ErrorKind::Config, "a partition column is not text").at("column", name))?;
            Ok(PartitionColumn { values, null: (name == tillhouse_model::table::MONTH).then_some(NONE) })
        };
        columns.map(column).collect()
    }

    /// Writes what waits for a partition as one row group.
    async fn flush(&mut self, partition: Partition) -> Result<()> {
        let Some(waiting) = self.waiting.remove(&partition) else { return Ok(()) };
        self.waiting_bytes = self.waiting_bytes.saturating_sub(waiting.bytes);
        self.turn += 1;
        if !self.writers.get(&partition).is_some_and(|(writer, _)| writer.is_open()) {
            let open = self.writers.iter_mut().filter(|(_, (writer, _))| writer.is_open());
            let mut open: Vec<_> = open.map(|(_, (writer, used))| (*used, writer)).collect();
            if open.len() >= OPEN_FILES {
                open.sort_by_key(|(used, _)| *used);
                if let Some((_, writer)) = open.first_mut() {
                    writer.close_file().await?;
                }
            }
        }
        let (table, layout, turn) = (&self.table, &self.layout, self.turn);
        let (writer, used) = self.writers.entry(partition).or_insert_with_key(|partition| {
            let named = layout.partition_by.iter().cloned().zip(partition.iter().cloned()).collect();
            (PartitionWriter::new(table, layout.clone(), named), turn)
        });
        *used = turn;
        let order_by = layout.order_by;
        writer.write(move |encoder| encode(encoder, &waiting.batches, order_by)).await
    }

    /// Writes what still waits; the Add actions of all files.
    pub(crate) async fn finish(mut self) -> Result<Vec<Add>> {
        let rest: Vec<Partition> = self.waiting.keys().cloned().collect();
        for partition in rest {
            self.flush(partition).await?;
        }
        let mut adds = Vec::new();
        for (_, (writer, _)) in self.writers {
            adds.extend(writer.finish().await?);
        }
        Ok(adds)
    }
}

/// A column whose values are partitions. A null month is the month `none`.
struct PartitionColumn<'a> {
    values: &'a StringArray,
    null: Option<&'static str>,
}

impl PartitionColumn<'_> {
    fn value(&self, row: usize) -> Option<&str> {
        if self.values.is_valid(row) { Some(self.values.value(row)) } else { self.null }
    }
}

fn encode(encoder: &mut Encoder, batches: &[RecordBatch], order_by: &str) -> Result<()> {
    let Some(first) = batches.first() else { return Ok(()) };
    let internal = "rows cannot be put in order of time";
    let sorted = first.schema().index_of(order_by).map(|at| in_order(batches, at)).unwrap_or(true);
    if sorted {
        for batch in batches {
            encoder.write(batch)?;
        }
    } else {
        // In pieces: columns are copied a few thousand rows at a time.
        let order = order(batches, order_by)?;
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        for piece in order.chunks(8_192) {
            encoder.write(&interleave_record_batch(&batches, piece).or_error(ErrorKind::Internal, internal)?)?;
        }
    }
    encoder.flush()
}

/// The rows of the batches, as (batch, row), in the order of an instant; nulls first, and equal ones as they came.
fn order(batches: &[RecordBatch], by: &str) -> Result<Vec<(usize, usize)>> {
    let mut keyed: Vec<(Option<i64>, usize, usize)> =
        Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for (number, batch) in batches.iter().enumerate() {
        let times = batch
            .column_by_name(by)
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
            .ok_or_else(|| Error::internal("record times are not microseconds"))?;
        keyed.extend(times.iter().enumerate().map(|(row, time)| (time, number, row)));
    }
    keyed.sort_unstable();
    Ok(keyed.into_iter().map(|(_, batch, row)| (batch, row)).collect())
}

/// Whether the record times of the batches never fall; nulls first.
fn in_order(batches: &[RecordBatch], at: usize) -> bool {
    let mut last: Option<i64> = None;
    for batch in batches {
        let Some(times) = batch.column(at).as_primitive_opt::<TimestampMicrosecondType>() else { return false };
        for time in times {
            if time < last {
                return false;
            }
            last = time;
        }
    }
    true
}

fn bytes_of(batch: &RecordBatch) -> usize {
    let size =
        |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
    batch.columns().iter().map(size).sum()
}

/// The batch in the table's schema. Only other layouts of text and bytes are converted: any other difference means that somebody
/// computed a column of the wrong type.
pub(crate) fn fitted(batch: &RecordBatch, layout: &Layout) -> Result<RecordBatch> {
    let schema = &layout.schema;
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
        let column = batch.column_by_name(field.name()).ok_or_else(|| wrong(field.name()))?;
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
        .map(|(i, f)| if Some(i) == month { Arc::new(f.as_ref().clone().with_nullable(true)) } else { f.clone() })
        .collect();
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).map_err(|_| wrong("(several)"))
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
