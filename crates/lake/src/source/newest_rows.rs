//! The newest versions of a few records, whole: for whoever has to complete what a source says only in part.
//!
//! Invariant: a record's row is the one with the highest package number at one version of the table. Of files that hold none of the
//! records only keys are read, and of files that cannot hold any, nothing.

use crate::scan::{self, RowFilter};
use crate::source::dedup::{self, KeyIndex, KeyLookup};
use crate::source::table::{SourceTable, micros};
use arrow::array::{AsArray, BooleanArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tillhouse_model::table::{LOAD_ID, RECORD_KEY};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

impl SourceTable {
    /// The newest versions of records, in no order; of a key that is not there, none. `times` are when they happened, as far as that
    /// is known: files near them are read first.
    ///
    /// Errors with [`ErrorKind::Storage`].
    pub async fn newest_rows(&self, keys: &[String], times: &[Timestamp]) -> Result<RecordBatch> {
        let table = self.table()?;
        let layout = self.layout()?;
        let schema = layout.file_schema.clone();
        let mut found = Vec::new();
        let Some(snapshot) = table.latest().await? else {
            return Ok(RecordBatch::new_empty(schema));
        };
        let mut index = KeyIndex::default();
        for key in keys {
            let next = u32::try_from(index.len()).unwrap_or(u32::MAX);
            index.entry(key.as_str()).or_insert(next);
        }
        let mut times: Vec<i64> = times.iter().map(|time| time.as_microsecond()).collect();
        times.sort_unstable();
        let question = KeyLookup {
            keys: &index,
            times: &times,
            moves_within: micros(self.spec.moves_within),
            updated_at: None,
            tenant: None,
        };
        let known = dedup::find_known_versions(&table, &snapshot, &question).await?;
        let known = known.newest;
        let newest: HashMap<String, i64> = index
            .iter()
            .filter_map(|(key, number)| {
                Some((
                    (*key).to_owned(),
                    known.get(*number as usize)?.as_ref()?.load_id,
                ))
            })
            .collect();
        let lands: HashSet<i64> = newest.values().copied().collect();
        let newest = Arc::new(newest);
        let only = RowFilter {
            columns: vec![RECORD_KEY.to_owned(), LOAD_ID.to_owned()],
            predicate: Arc::new(move |batch: &RecordBatch| {
                let keys = batch
                    .column_by_name(RECORD_KEY)
                    .and_then(|c| c.as_string_opt::<i32>());
                let lands = batch
                    .column_by_name(LOAD_ID)
                    .and_then(|c| c.as_primitive_opt::<Int64Type>());
                let (keys, lands) = keys.zip(lands).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Storage,
                        "a source table's data file lacks its lineage columns",
                    )
                })?;
                let is_newest = |row: usize| newest.get(keys.value(row)) == Some(&lands.value(row));
                Ok((0..batch.num_rows())
                    .map(|row| Some(is_newest(row)))
                    .collect::<BooleanArray>())
            }),
        };
        for file in snapshot.files.iter() {
            if file
                .load_ids
                .is_some_and(|(min, max)| !lands.iter().any(|land| (min..=max).contains(land)))
            {
                continue;
            }
            let mut batches =
                scan::filtered_rows(&table, file, schema.clone(), Some(&only)).await?;
            while let Some(batch) = batches.next().await {
                found.push(batch?);
            }
        }
        concat_batches(&schema, &found).or_error(
            ErrorKind::Internal,
            "rows of one table do not fit each other",
        )
    }
}
