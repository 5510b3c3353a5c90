//! Encodes a row group whose rows are all in memory: column by column, by as many threads as are lent.
//!
//! Invariant: the chunks are what [`RowGroupEncoder`](crate::RowGroupEncoder) makes of the same rows, whichever thread encoded which column.
//!
//! A table can have a hundred columns and more. Row by row, each of them holds a page and a dictionary while the others have their turn, and
//! all of that leaves the processor's cache before it is needed again; here it is one column's worth for each thread.

use crate::DefaultEncoder;
use crate::encoder::{ColumnEncoder, EncodedChunk};
use crate::error::{EncodeError, Result};
use crate::row_group::{EncodedColumn, assemble_chunks, duplicate_columns};
use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A column of a row group that is still to be encoded.
struct ColumnEncodeJob<E> {
    index: usize,
    encoder: E,
    bytes: usize,
}

/// A row group whose rows are all there.
///
/// Threads are the caller's: each calls [`encode`](Self::encode), which takes columns until none is left.
///
/// ```
/// # use arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// # use parquet::arrow::ArrowSchemaConverter;
/// # use parquet::file::properties::WriterProperties;
/// # use std::sync::Arc;
/// use tillhouse_parquet_columns::{ColumnEncoder, DefaultEncoder, ParallelRowGroup};
///
/// # let numbers = |from: i64| Arc::new(Int64Array::from_iter_values(from..from + 1_000)) as ArrayRef;
/// let rows = RecordBatch::try_from_iter([("a", numbers(0)), ("b", numbers(7))])?;
/// # let schema = rows.schema();
/// # let parquet = ArrowSchemaConverter::new().convert(&schema)?;
/// # let properties = Arc::new(WriterProperties::default());
/// # let encoders = schema.fields().iter().zip(parquet.columns());
/// # let encoders = encoders.map(|(f, leaf)| DefaultEncoder::try_new(f.clone(), std::slice::from_ref(leaf), &properties));
/// # let encoders = encoders.collect::<Result<Vec<_>, _>>()?;
/// let row_group = ParallelRowGroup::new(encoders, vec![rows])?;
/// std::thread::scope(|threads| {
///     let other = threads.spawn(|| row_group.encode());
///     row_group.encode().and(other.join().unwrap())
/// })?;
/// assert_eq!(row_group.close()?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ParallelRowGroup<E = DefaultEncoder> {
    batches: Vec<RecordBatch>,
    duplicates: Vec<Option<usize>>,
    /// The largest comes last and is taken first, so that all threads end at about the same time.
    jobs: Mutex<Vec<ColumnEncodeJob<E>>>,
    /// `None`: a thread has it, or will.
    columns: Mutex<Vec<Option<EncodedColumn<E>>>>,
}

impl<E: ColumnEncoder> ParallelRowGroup<E> {
    /// The row group of these rows, each batch with an array for each encoder.
    pub fn new(encoders: Vec<E>, batches: Vec<RecordBatch>) -> Result<Self> {
        if let Some(batch) = batches
            .iter()
            .find(|batch| batch.num_columns() != encoders.len())
        {
            return Err(EncodeError::ColumnCount {
                columns: encoders.len(),
                arrays: batch.num_columns(),
            });
        }
        let arrays: Vec<&[ArrayRef]> = batches.iter().map(RecordBatch::columns).collect();
        let duplicates = duplicate_columns(&encoders, &arrays);
        let mut jobs = Vec::new();
        let mut columns = Vec::with_capacity(encoders.len());
        for ((index, encoder), duplicate) in encoders.into_iter().enumerate().zip(&duplicates) {
            if duplicate.is_some() {
                columns.push(Some(EncodedColumn::Duplicate(encoder)));
            } else {
                let bytes = arrays
                    .iter()
                    .map(|arrays| arrays[index].get_array_memory_size())
                    .sum();
                jobs.push(ColumnEncodeJob {
                    index,
                    encoder,
                    bytes,
                });
                columns.push(None);
            }
        }
        jobs.sort_by_key(|job| job.bytes);
        Ok(Self {
            duplicates,
            jobs: Mutex::new(jobs),
            columns: Mutex::new(columns),
            batches,
        })
    }

    /// Encodes columns until none is left to take. After an error the row group cannot be closed.
    pub fn encode(&self) -> Result<()> {
        while let Some(ColumnEncodeJob {
            index, mut encoder, ..
        }) = self.next_job()
        {
            self.batches
                .iter()
                .try_for_each(|batch| encoder.write(batch.column(index)))?;
            let chunks = encoder.close()?;
            if let Some(column) = locked(&self.columns).get_mut(index) {
                *column = Some(EncodedColumn::Own(chunks));
            }
        }
        Ok(())
    }

    fn next_job(&self) -> Option<ColumnEncodeJob<E>> {
        locked(&self.jobs).pop()
    }

    /// The chunks of all columns, in order. Every thread has to have returned from [`encode`](Self::encode).
    pub fn close(self) -> Result<Vec<EncodedChunk>> {
        let columns = self
            .columns
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let columns = columns.into_iter().enumerate();
        let columns = columns
            .map(|(index, column)| column.ok_or(EncodeError::MissingChunk { index }))
            .collect::<Result<_>>()?;
        assemble_chunks(columns, &self.duplicates)
    }
}

/// Value that a lock guards, also after another thread has panicked: a column it had is missing
/// then, and closing says so.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
