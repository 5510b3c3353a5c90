//! Encodes a data file whose rows are all in memory: column by column, two columns at a time.
//!
//! Invariant: the file is what [`crate::datafile::Encoder`] makes of the same rows, but for where its row groups end.
//!
//! A contract has a hundred columns and more. Row by row, each of them holds a page, a dictionary and a compressor while the others
//! have their turn, and all of that leaves the processor's cache before it is needed again; here it is two columns' worth.

use crate::datafile::{Layout, ROW_GROUP_ROWS};
use crate::stats::Collector;
use arrow::datatypes::FieldRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Threads that encode one file.
const THREADS: usize = 2;

/// An encoded file.
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) collector: Collector,
}

/// A column of a row group that waits for its turn.
struct Job {
    at: usize,
    field: FieldRef,
    writers: Vec<ArrowColumnWriter>,
    bytes: usize,
}

/// Encodes rows of the layout's file schema.
pub(crate) async fn encode(layout: Arc<Layout>, rows: Vec<RecordBatch>) -> Result<Encoded> {
    let mut collector = Collector::new(&layout.file_schema, &layout.stat_columns);
    rows.iter().for_each(|batch| collector.add(batch));
    let (mut file, factory) = layout.writer()?.into_serialized_writer().or_error(ErrorKind::Internal, REFUSED)?;
    for (index, group) in row_groups(rows).into_iter().enumerate() {
        let mut writers = factory.create_column_writers(index).or_error(ErrorKind::Internal, REFUSED)?.into_iter();
        let jobs =
            layout.file_schema.fields().iter().zip(&layout.leaves).enumerate().map(|(at, (field, leaves))| Job {
                at,
                field: field.clone(),
                writers: writers.by_ref().take(*leaves).collect(),
                bytes: group.iter().map(|batch| batch.column(at).get_array_memory_size()).sum(),
            });
        let mut jobs: Vec<Job> = jobs.collect();
        // The largest comes first, so that both threads end at about the same time.
        jobs.sort_by_key(|job| job.bytes);
        let (jobs, group) = (Arc::new(Mutex::new(jobs)), Arc::new(group));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (jobs, group) = (jobs.clone(), group.clone());
                tokio::task::spawn_blocking(move || work(&jobs, &group))
            })
            .collect();
        let mut chunks = Vec::new();
        for thread in threads {
            chunks.extend(thread.await.or_error(ErrorKind::Internal, "encoding a data file was interrupted")??);
        }
        chunks.sort_by_key(|(at, _)| *at);
        let size: u64 = chunks.iter().flat_map(|(_, chunks)| chunks).map(|chunk| chunk.close().bytes_written).sum();
        // A buffer that grows would copy what is in it several times.
        file.inner_mut().reserve(usize::try_from(size).unwrap_or(0));
        let mut row_group = file.next_row_group().or_error(ErrorKind::Internal, REFUSED)?;
        for chunk in chunks.into_iter().flat_map(|(_, chunks)| chunks) {
            chunk.append_to_row_group(&mut row_group).or_error(ErrorKind::Internal, REFUSED)?;
        }
        row_group.close().or_error(ErrorKind::Internal, REFUSED)?;
    }
    let bytes = file.into_inner().or_error(ErrorKind::Internal, REFUSED)?;
    Ok(Encoded { bytes, collector })
}

const REFUSED: &str = "rows could not be encoded";

/// Takes columns until none is left; the chunks of each, with its place.
fn work(jobs: &Mutex<Vec<Job>>, group: &[RecordBatch]) -> Result<Vec<(usize, Vec<ArrowColumnChunk>)>> {
    let mut done = Vec::new();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(Job { at, field, mut writers, .. }) = job else { return Ok(done) };
        for batch in group {
            let leaves = compute_leaves(&field, batch.column(at)).or_error(ErrorKind::Internal, REFUSED)?;
            if leaves.len() != writers.len() {
                return Err(Error::internal("a column has other leaves than its table").at("column", field.name()));
            }
            for (leaf, writer) in leaves.iter().zip(&mut writers) {
                writer.write(leaf).or_error(ErrorKind::Internal, REFUSED)?;
            }
        }
        let chunks = writers.into_iter().map(ArrowColumnWriter::close).collect::<Result<_, _>>();
        done.push((at, chunks.or_error(ErrorKind::Internal, REFUSED)?));
    }
}

/// Batches, in lists that make a row group each.
fn row_groups(rows: Vec<RecordBatch>) -> Vec<Vec<RecordBatch>> {
    let mut groups: Vec<Vec<RecordBatch>> = Vec::new();
    let mut held = 0;
    for batch in rows {
        if groups.is_empty() || held + batch.num_rows() > ROW_GROUP_ROWS {
            groups.push(Vec::new());
            held = 0;
        }
        held += batch.num_rows();
        if let Some(group) = groups.last_mut() {
            group.push(batch);
        }
    }
    groups
}
