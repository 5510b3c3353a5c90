//! Records that are read whole and were not there any more: each gets one more version, marked as deleted.
//!
//! Invariant: only the newest version of a record decides whether it is there; a record that is marked already is not marked again,
//! and one that comes back lands as any changed record does, since a mark's content hash is nobody else's.

use crate::file::layout::TableLayout;
use crate::file::writer::PartitionWriter;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::data_file::DataFile;
use crate::log::schema_evolution;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::scan;
use crate::source::table::{LandingOptions, LandingSummary, SourceTable, highest_load_id};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use deltalake::kernel::Add;
use futures::StreamExt;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use tillhouse_model::table::{
    CONTENT_HASH, DELETED_AT, EXTRACTED_AT, LOAD_ID, MONTH, PREV_RECORD_TIME, RECORD_KEY,
    RECORD_TIME, RUN_ID,
};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Set in the first byte of a content hash, which holds the hash's version.
pub(super) const TOMBSTONE_BIT: u8 = 0x80;

/// The newest version of each record: its package, and whether it is a tombstone.
type NewestVersions = HashMap<String, (i64, bool)>;

impl SourceTable {
    /// Marks every record as deleted that is in the table and whose key is not `present`, as of the instant at which the whole
    /// was asked for. One commit, or none where nothing is gone; `changed` says how many.
    pub async fn write_tombstones(
        &self,
        present: impl Fn(&str) -> bool + Send,
        as_of: Timestamp,
        options: &LandingOptions,
    ) -> Result<LandingSummary> {
        let table = self.table()?;
        let layout = self.layout()?;
        for _ in 0..ROUNDS {
            let Some(mut snapshot) = table.latest().await? else {
                return Ok(LandingSummary::default());
            };
            if !schema_evolution::ensure(&table, &mut snapshot, &layout.definition, &options.run_id)
                .await?
            {
                continue;
            }
            let mut newest = newest(&table, &snapshot).await?;
            newest.retain(|_, (_, marked)| !*marked);
            let live = newest.len();
            newest.retain(|key, _| !present(key));
            warn_of_losses(&table, newest.len(), live);
            let highest = highest_load_id(&table, &snapshot).await?;
            let mut landed = LandingSummary {
                version: snapshot.version,
                load_id: highest,
                ..LandingSummary::default()
            };
            if newest.is_empty() {
                return Ok(landed);
            }
            landed.load_id = highest + 1;
            landed.changed = newest.len() as u64;
            let mut adds: Vec<Add> = Vec::new();
            for file in snapshot.files.iter() {
                let rows = tombstones_of_file(
                    &table,
                    file,
                    &layout,
                    &newest,
                    (landed.load_id, as_of, &options.run_id),
                )
                .await?;
                if rows.is_empty() {
                    continue;
                }
                let month = file.month().to_owned();
                let mut writer = PartitionWriter::new(
                    &table,
                    layout.clone(),
                    vec![(MONTH.to_owned(), Some(month))],
                );
                writer
                    .write(move |encoder| rows.iter().try_for_each(|batch| encoder.write(batch)))
                    .await?;
                adds.extend(writer.finish().await?);
            }
            landed.bytes_written = adds
                .iter()
                .map(|add| u64::try_from(add.size).unwrap_or(0))
                .sum();
            let paths: Vec<String> = adds.iter().map(|add| add.path.clone()).collect();
            let change =
                CommitRequest::append(adds, &layout.definition.partition_by, &options.run_id);
            match commit::commit(&table, &snapshot, &change).await? {
                CommitOutcome::Committed(version) => {
                    landed.version = version;
                    table.checkpoint_if_due(version).await;
                    return Ok(landed);
                }
                CommitOutcome::Lost => commit::discard(&table, paths).await,
            }
        }
        Err(commit::too_many_conflicts(&table))
    }
}

/// Fewer records than this may well go at once.
const FEW: usize = 10;

/// Says so where a list lost all of its records, or most of many: that is more often a trouble of the provider's than the truth.
fn warn_of_losses(table: &TableHandle, gone: usize, live: usize) {
    if !is_suspicious(gone, live) {
        return;
    }
    tracing::warn!(
        table = %table.path(),
        gone,
        of = live,
        "a list that is read whole lost most of its records, which are now marked as deleted; if they still exist at the provider, run \
         `tillhouse sync` again: what comes back counts again"
    );
}

fn is_suspicious(gone: usize, live: usize) -> bool {
    gone > 0 && (gone == live || (live >= FEW && gone * 2 > live))
}

async fn newest(table: &TableHandle, snapshot: &Snapshot) -> Result<NewestVersions> {
    let mut newest = NewestVersions::new();
    for file in snapshot.files.iter() {
        let columns = [RECORD_KEY, LOAD_ID, DELETED_AT]
            .map(ToOwned::to_owned)
            .to_vec();
        let mut batches = scan::columns(table, file, columns).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let (keys, lands) = keys_and_load_ids(&batch)?;
            // Files from before the column was there have no marks.
            let marks = batch.column_by_name(DELETED_AT);
            for row in 0..batch.num_rows() {
                let land = lands.value(row);
                let marked = marks.is_some_and(|marks| marks.is_valid(row));
                match newest.get_mut(keys.value(row)) {
                    Some(known) if known.0 >= land => {}
                    Some(known) => *known = (land, marked),
                    None => {
                        newest.insert(keys.value(row).to_owned(), (land, marked));
                    }
                }
            }
        }
    }
    Ok(newest)
}

/// The newest versions in a file that are gone, as the marks that follow them.
async fn tombstones_of_file(
    table: &TableHandle,
    file: &DataFile,
    layout: &TableLayout,
    newest: &NewestVersions,
    lineage: (i64, Timestamp, &str),
) -> Result<Vec<RecordBatch>> {
    let mut found = Vec::new();
    let mut batches = scan::rows(table, file, layout.file_schema.clone()).await?;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let (keys, lands) = keys_and_load_ids(&batch)?;
        let picked: BooleanArray = (0..batch.num_rows())
            .map(|row| {
                Some(
                    newest
                        .get(keys.value(row))
                        .is_some_and(|(land, _)| *land == lands.value(row)),
                )
            })
            .collect();
        if picked.true_count() > 0 {
            let rows = filter_record_batch(&batch, &picked)
                .or_error(ErrorKind::Internal, "rows cannot be filtered")?;
            found.push(tombstone_rows(&rows, &layout.file_schema, lineage)?);
        }
    }
    Ok(found)
}

fn tombstone_rows(
    rows: &RecordBatch,
    schema: &SchemaRef,
    (land, as_of, run_id): (i64, Timestamp, &str),
) -> Result<RecordBatch> {
    let count = rows.num_rows();
    let instant = || {
        Arc::new(
            TimestampMicrosecondArray::from_value(as_of.as_microsecond(), count)
                .with_timezone("UTC"),
        )
    };
    let present = |name: &str| {
        rows.column_by_name(name)
            .cloned()
            .ok_or_else(|| Error::internal("a landed row lacks its lineage"))
    };
    let columns = schema.fields().iter().map(|field| {
        Ok(match field.name().as_str() {
            LOAD_ID => Arc::new(Int64Array::from_value(land, count)) as ArrayRef,
            PREV_RECORD_TIME => present(RECORD_TIME)?,
            CONTENT_HASH => {
                let hashes = present(CONTENT_HASH)?;
                let hashes = hashes.as_binary_opt::<i32>().ok_or_else(|| {
                    Error::new(ErrorKind::Storage, "content hashes are not bytes")
                })?;
                let mark = |hash: &[u8]| {
                    let mut hash = hash.to_vec();
                    if let Some(version) = hash.first_mut() {
                        *version |= TOMBSTONE_BIT;
                    }
                    hash
                };
                Arc::new(
                    hashes
                        .iter()
                        .map(|hash| hash.map(mark))
                        .collect::<BinaryArray>(),
                )
            }
            EXTRACTED_AT | DELETED_AT => instant(),
            RUN_ID => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                run_id, count,
            ))),
            name => present(name)?,
        })
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_>>()?)
        .or_error(ErrorKind::Internal, "a mark does not fit its table")
}

fn keys_and_load_ids(batch: &RecordBatch) -> Result<(&StringArray, &Int64Array)> {
    let keys = batch
        .column_by_name(RECORD_KEY)
        .and_then(|c| c.as_string_opt::<i32>());
    let lands = batch
        .column_by_name(LOAD_ID)
        .and_then(|c| c.as_primitive_opt::<Int64Type>());
    keys.zip(lands).ok_or_else(|| {
        Error::new(
            ErrorKind::Storage,
            "a source table's data file lacks its lineage columns",
        )
    })
}

#[cfg(test)]
#[path = "tombstones_tests.rs"]
mod tests;
