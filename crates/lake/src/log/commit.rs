//! Commits by compare-and-swap.
//!
//! Invariant: a change is committed at exactly the version after the one it was computed from, or not at all. Whatever error the
//! store returns, the log decides: a commit file that carries our commit id is ours.
//!
//! delta-rs' own commit loop is not used: its conflict check lets two stale appends both through, so that a record would land
//! twice, and it reports an error after a durable commit when something later fails. Here the commit file is put if absent, once,
//! and nothing else belongs to the commit.

use crate::log::base_run::BASE_RUN;
use crate::log::data_file::DataFile;
use crate::log::snapshot::{CommitStamp, FOREIGN_FEATURES, Snapshot};
use crate::log::table::{TableHandle, commit_name};
use crate::store::durable::LOG_FOLDER;
use crate::store::json_seal::{self, CHECKSUM, UNKNOWN};
use crate::store::log_guard::{LINES, VERSION};
use bytes::Bytes;
use deltalake::kernel::transaction::{CommitData, TransactionError};
use deltalake::kernel::{Action, Add, Remove, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use std::collections::HashMap;
use std::time::Duration;
use tillhouse_model::table::PIPELINE;
use tillhouse_model::{Error, ErrorKind, Result};
use uuid::Uuid;

/// Most times that work is done again because another writer was faster.
pub(crate) const ROUNDS: usize = 50;
/// Most attempts of one commit file when the store answers with errors.
const PUTS: u32 = 4;
/// The pause before the second try; it doubles each time.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 200 });
pub(crate) const RUN_ID: &str = "tillhouseRunId";
const COMMIT_ID: &str = "tillhouseCommitId";

/// Actions of one commit, with its operation, watermarks and run.
pub(crate) struct CommitRequest<'a> {
    pub actions: Vec<Action>,
    pub operation: DeltaOperation,
    /// `txn` actions: app id and version.
    pub watermarks: Vec<(String, i64)>,
    pub run_id: &'a str,
}

impl<'a> CommitRequest<'a> {
    /// Data files that are added to a table, and nothing else.
    pub(crate) fn append(adds: Vec<Add>, partition_by: &[String], run_id: &'a str) -> Self {
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(partition_by.to_vec()),
            predicate: None,
        };
        Self {
            actions: adds.into_iter().map(Action::Add).collect(),
            operation,
            watermarks: Vec::new(),
            run_id,
        }
    }
}

/// Result of an attempt to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitOutcome {
    /// It is the table's version now.
    Committed(u64),
    /// Another commit has that version; nothing of ours is in the table.
    Lost,
}

/// Attempt to commit that came to an end.
pub(crate) struct AttemptedCommit {
    pub outcome: CommitOutcome,
    /// Content of the commit file.
    pub bytes: Bytes,
    /// Stamp of that file, where the store told it when it took the file.
    stamp: Option<CommitStamp>,
}

/// Commits on top of a snapshot.
pub(crate) async fn commit(
    table: &TableHandle,
    on: &Snapshot,
    change: &CommitRequest<'_>,
) -> Result<CommitOutcome> {
    if !on.is_writable() {
        return Err(Error::new(
            ErrorKind::Storage,
            "the table asks for features this version does not write",
        )
        .at("table", table.path())
        .hint(FOREIGN_FEATURES));
    }
    let attempted = attempt(table, on.version + 1, change).await;
    match &attempted {
        Ok(AttemptedCommit {
            outcome: CommitOutcome::Committed(_),
            bytes,
            stamp,
        }) => table.committed(on, bytes, stamp.clone()).await,
        Ok(_) | Err(_) => table.is_overtaken(),
    }
    attempted.map(|attempted| attempted.outcome)
}

/// Puts the commit file of `version` if there is none.
pub(crate) async fn attempt(
    table: &TableHandle,
    version: u64,
    change: &CommitRequest<'_>,
) -> Result<AttemptedCommit> {
    let commit_id = Uuid::new_v4();
    let mut metadata = HashMap::from([
        (RUN_ID.to_owned(), serde_json::Value::from(change.run_id)),
        (
            COMMIT_ID.to_owned(),
            serde_json::Value::from(commit_id.to_string()),
        ),
        // A file that is cut between two lines is found out by it. The first line is the one that holds this.
        (
            LINES.to_owned(),
            serde_json::Value::from(1 + change.actions.len() + change.watermarks.len()),
        ),
        // So is a file that stands in another one's place.
        (VERSION.to_owned(), serde_json::Value::from(version)),
        // And one in which a bit has flipped.
        (CHECKSUM.to_owned(), serde_json::Value::from(UNKNOWN)),
    ]);
    if let Some(run) = table.base_run.of_table(table.path()) {
        metadata.insert(BASE_RUN.to_owned(), run.into());
    }
    let marks = change
        .watermarks
        .iter()
        .map(|(app_id, mark)| Transaction::new(app_id, *mark))
        .collect();
    let bytes = CommitData::new(
        change.actions.clone(),
        change.operation.clone(),
        metadata,
        marks,
    )
    .get_bytes()
    .map_err(|e| table.storage_error("a commit cannot be written as JSON", e))?;
    let bytes = Bytes::from(json_seal::sealed(bytes.into()));
    let file = Path::from(LOG_FOLDER).join(commit_name(version));
    let mut last: Option<Error> = None;
    for round in 0..PUTS {
        if round > 0 {
            tokio::time::sleep(PAUSE * (1 << (round - 1))).await;
        }
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        // As the library's plain log store does, which keeps the answer to itself.
        let put = table
            .store()
            .put_opts(&file, bytes.clone().into(), options)
            .await;
        let failed = match put {
            Ok(put) => {
                return Ok(AttemptedCommit {
                    outcome: CommitOutcome::Committed(version),
                    stamp: CommitStamp::of_put(bytes.len() as u64, &put),
                    bytes,
                });
            }
            Err(object_store::Error::AlreadyExists { .. }) => {
                TransactionError::VersionAlreadyExists(version)
            }
            Err(error) => TransactionError::from(error),
        };
        // Every error means "unknown", also "it exists already": a request that was tried again underneath meets its own success.
        match table.log_store().read_commit_entry(version).await {
            Ok(Some(found)) => {
                let ours = memmem(&found, commit_id.to_string().as_bytes());
                let outcome = if ours {
                    CommitOutcome::Committed(version)
                } else {
                    CommitOutcome::Lost
                };
                return Ok(AttemptedCommit {
                    outcome,
                    bytes,
                    stamp: None,
                });
            }
            // Not there: the same bytes at the same version can be put again, and if the first attempt still arrives it is met here.
            Ok(None) => last = Some(storage(table, failed)),
            Err(error) => {
                last = Some(table.storage_error("it is unknown whether a commit succeeded", error))
            }
        }
    }
    // Not to be read, and no name for a commit: it would not be there the next time either.
    if let Some(misplaced) = table.blocked_commit(version) {
        return Err(misplaced);
    }
    let error = last
        .unwrap_or_else(|| Error::internal("a commit was never tried"))
        .at("version", version.to_string());
    Err(match error.hint_text() {
        Some(_) => error,
        None => error.hint(
            "Run the same command again: it finds out what was written and goes on from there.",
        ),
    })
}

fn storage(table: &TableHandle, error: TransactionError) -> Error {
    table.storage_error("a commit could not be written", error)
}

fn memmem(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

/// True if every commit in (`after`, `to`] touches only files of other pipelines' partitions,
/// other pipelines' watermarks, and the table's description.
pub(crate) async fn touches_only_others(
    table: &TableHandle,
    after: u64,
    to: u64,
    pipeline: &str,
) -> Result<bool> {
    for version in after + 1..=to {
        let entry = table
            .log_store()
            .read_commit_entry(version)
            .await
            .map_err(|e| table.storage_error("another writer's commit cannot be read", e))?;
        let Some(entry) = entry else { return Ok(false) };
        for line in entry
            .split(|b| *b == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
        {
            let Ok(action) = serde_json::from_slice::<serde_json::Value>(line) else {
                return Ok(false);
            };
            let foreign = |file: &serde_json::Value| {
                file["partitionValues"][PIPELINE]
                    .as_str()
                    .is_some_and(|owner| owner != pipeline)
            };
            let apart = match action.as_object().and_then(|a| a.iter().next()) {
                Some((kind, body)) => match kind.as_str() {
                    "commitInfo" => true,
                    "add" | "remove" => foreign(body),
                    "txn" => body["appId"]
                        .as_str()
                        .is_some_and(|id| !belongs_to(id, pipeline)),
                    _ => false,
                },
                None => false,
            };
            if !apart {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// True if an app id, `<pipeline>.<resource>` with or without an epoch, is one of the pipeline's.
fn belongs_to(app_id: &str, pipeline: &str) -> bool {
    app_id
        .strip_prefix(pipeline)
        .is_some_and(|rest| rest.starts_with(['.', '#']))
}

/// The action that takes a file out of the table.
pub(crate) fn remove(file: &DataFile) -> Action {
    Action::Remove(Remove {
        path: file.path.clone(),
        data_change: true,
        deletion_timestamp: Some(jiff::Timestamp::now().as_millisecond()),
        extended_file_metadata: Some(true),
        partition_values: Some(file.partition.clone().into_iter().collect()),
        size: i64::try_from(file.size).ok(),
        ..Remove::default()
    })
}

/// The action that puts a file into the table that an earlier version had.
pub(crate) fn bring_back(file: &DataFile) -> Action {
    Action::Add(Add {
        path: file.path.clone(),
        partition_values: file.partition.clone().into_iter().collect(),
        size: i64::try_from(file.size).unwrap_or(i64::MAX),
        modification_time: jiff::Timestamp::now().as_millisecond(),
        data_change: true,
        stats: file.stats().map(str::to_owned),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    })
}

/// Deletes data files that no commit names, after a lost race. What cannot be deleted is left for vacuum.
pub(crate) async fn discard(table: &TableHandle, paths: impl IntoIterator<Item = String>) {
    let store = table.store();
    for path in paths {
        if let Err(error) = store.delete(&Path::from(path.as_str())).await {
            tracing::debug!(table = table.path(), path, %error, "an unused data file stays");
        }
    }
}

/// Error of a writer that lost every race.
pub(crate) fn too_many_conflicts(table: &TableHandle) -> Error {
    Error::new(ErrorKind::Conflict, "other writers kept changing the table")
        .at("table", table.path())
        .hint("Nothing of this package was written; run the same command again.")
}
