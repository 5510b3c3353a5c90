//! Versions that a step's records supersede, from the source table's history.
//!
//! Invariant: a step knows of every record whether an earlier version of it may stand in the unified tables, and of every version
//! whether a later one within the step replaces it.

use super::rows::{cast, collect, text};
use crate::context::RunContext;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use futures::StreamExt;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tillhouse_lake::SupersededRecords;
use tillhouse_model::table::{LOAD_ID, RECORD_KEY};
use tillhouse_model::{Error, Result, table};
use tillhouse_query::Session;

/// The records of a step, and which of their earlier versions the unified tables may hold.
pub(super) struct StepChanges {
    pub(super) superseded: SupersededRecords,
    /// Versions within the step that a later one within the step replaces.
    pub(super) outdated: OutdatedVersions,
}

/// Versions by record key and package number.
pub(super) type OutdatedVersions = HashSet<(String, i64)>;

impl StepChanges {
    pub(super) async fn find(
        context: &RunContext,
        history: &Arc<dyn tillhouse_lake::TableProvider>,
        (after, to): (i64, i64),
    ) -> Result<Self> {
        let session = context.engine.empty_session()?;
        session.register("history", Arc::clone(history))?;
        let range = format!("_load_id > {after} AND _load_id <= {to}");
        let condition = may_have_earlier(&session).await?;
        let sql = format!(
            "SELECT _record_key, _prev_record_time FROM history WHERE {range} AND {condition}"
        );
        let mut superseded = SupersededRecords::default();
        let mut batches = session.query(&sql).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(tillhouse_query::into_error)?;
            let keys = text(&batch, 0)?;
            let times = cast(batch.column(1), &table::timestamp())?;
            let times = times.as_primitive::<TimestampMicrosecondType>();
            for (key, time) in keys.iter().zip(times.iter()) {
                let Some(key) = key else { continue };
                superseded.add(key.to_owned(), time);
            }
        }
        drop(batches);
        let outdated = Self::outdated(&session, &superseded, &range).await?;
        Ok(Self {
            superseded,
            outdated,
        })
    }

    /// Only a record that supersedes another can do so within the step; all others need no look.
    async fn outdated(
        session: &Session,
        superseded: &SupersededRecords,
        range: &str,
    ) -> Result<OutdatedVersions> {
        if superseded.is_empty() {
            return Ok(OutdatedVersions::new());
        }
        let mut newest: HashMap<String, i64> = HashMap::new();
        let mut outdated = OutdatedVersions::new();
        let mut batches = session
            .query(&format!(
                "SELECT _record_key, _load_id FROM history WHERE {range}"
            ))
            .await?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(tillhouse_query::into_error)?;
            let keys = text(&batch, 0)?;
            let load_ids = batch.column(1).as_primitive::<Int64Type>();
            for (key, load_id) in keys.iter().zip(load_ids.iter()) {
                let (Some(key), Some(load_id)) = (key, load_id) else {
                    continue;
                };
                if !superseded.holds(key) {
                    continue;
                }
                match newest.get_mut(key) {
                    None => {
                        newest.insert(key.to_owned(), load_id);
                    }
                    Some(known) => {
                        outdated.insert((key.to_owned(), load_id.min(*known)));
                        *known = load_id.max(*known);
                    }
                }
            }
        }
        Ok(outdated)
    }
}

/// The condition, in SQL, that a row of the table `history` of a session may have an earlier version.
///
/// A version without a time leaves no trace in its successor's `_prev_record_time`; only where such versions exist, every record has to
/// be suspected of having had one.
pub(super) async fn may_have_earlier(session: &Session) -> Result<&'static str> {
    Ok(if has_untimed(session).await? {
        "TRUE"
    } else {
        "_prev_record_time IS NOT NULL"
    })
}

/// True if the table `history` of a session has versions without a time.
pub(super) async fn has_untimed(session: &Session) -> Result<bool> {
    let untimed = collect(
        session,
        "SELECT 1 FROM history WHERE month = 'none' LIMIT 1",
    )
    .await?;
    Ok(untimed.iter().any(|batch| batch.num_rows() > 0))
}

/// The rows of a batch that no later version within the step replaces.
pub(super) fn current_versions(
    batch: &RecordBatch,
    outdated: &OutdatedVersions,
) -> Result<RecordBatch> {
    if outdated.is_empty() {
        return Ok(batch.clone());
    }
    let missing = || Error::internal("landed records lack their lineage");
    let keys = text(
        batch,
        batch.schema().index_of(RECORD_KEY).map_err(|_| missing())?,
    )?;
    let load_ids = batch
        .column_by_name(LOAD_ID)
        .and_then(|c| c.as_primitive_opt::<Int64Type>())
        .ok_or_else(missing)?;
    let stays: BooleanArray = keys
        .iter()
        .zip(load_ids.iter())
        .map(|(key, load_id)| match (key, load_id) {
            (Some(key), Some(load_id)) => Some(!outdated.contains(&(key.to_owned(), load_id))),
            _ => Some(true),
        })
        .collect();
    filter_record_batch(batch, &stays)
        .map_err(|e| Error::internal("outdated records cannot be left out").because(e))
}
