//! Creation of tables, beginnings of tables whose past is damaged, and commits that only raise their version.
//!
//! Invariant: of two creators one wins, and both go on with the winner's table. A table that begins anew uses no version again: its first commit stands
//! behind all that its log has, with a checkpoint of its own, so that nothing before it is read any more.

use crate::log::comments::{ColumnComments, commented};
use crate::log::commit::{self, CommitOutcome, CommitRequest};
use crate::log::snapshot::{Snapshot, TableDescription};
use crate::log::stats::StatColumns;
use crate::log::table::{TableHandle, commit_name};
use crate::store::durable::LOG_FOLDER;
use crate::store::log_guard::{LAST_CHECKPOINT, version_of};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use deltalake::checkpoints::create_checkpoint;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{Action, MetadataExt, Protocol, StructType, new_metadata};
use deltalake::logstore::{StorageConfig, logstore_with};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableError};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Most versions in a row whose names something else than a commit has.
const MOST_BLOCKED: u64 = 1000;

/// Schema, partition columns and columns with statistics of a table.
#[derive(Debug, Clone)]
pub(crate) struct TableDefinition {
    pub schema: SchemaRef,
    pub partition_by: Vec<String>,
    pub stat_columns: StatColumns,
    /// Comments on its columns; they make no difference to anything.
    pub comments: ColumnComments,
}

impl TableHandle {
    /// The newest version; makes the table first if need be. Of two creators one wins, and both go on with the winner's table.
    pub(crate) async fn latest_or_create(
        &self,
        definition: &TableDefinition,
        run_id: &str,
    ) -> Result<Snapshot> {
        if let Some(snapshot) = self.latest().await? {
            return Ok(snapshot);
        }
        let (change, description) = self.first_commit(definition, run_id)?;
        // Won or lost: there is a version 0 now.
        let attempted = commit::attempt(self, 0, &change).await?;
        match attempted.outcome {
            CommitOutcome::Committed(_) => {
                self.created(Snapshot::first(0, description)).await;
            }
            CommitOutcome::Lost => self.is_overtaken(),
        }
        self.latest().await?.ok_or_else(|| {
            Error::new(
                ErrorKind::Storage,
                "the table was just created but cannot be found",
            )
            .at("table", self.path())
        })
    }

    /// The commit that makes the table, and what it says of it.
    fn first_commit<'a>(
        &self,
        definition: &TableDefinition,
        run_id: &'a str,
    ) -> Result<(CommitRequest<'a>, TableDescription)> {
        let schema = self.delta_schema(&definition.schema, &definition.comments)?;
        let properties = [
            ("delta.checkpointInterval", "10".to_owned()),
            ("delta.enableExpiredLogCleanup", "false".to_owned()),
            (
                "delta.dataSkippingStatsColumns",
                definition.stat_columns.names().join(","),
            ),
        ];
        let metadata = new_metadata(&schema, &definition.partition_by, properties)
            // A log that is copied into another table's folder is known by it.
            .and_then(|metadata| metadata.with_name(self.path().to_owned()))
            .map_err(|e| self.storage_error("the table's description cannot be written", e))?;
        // Reader 1, writer 2: what every Delta reader reads.
        let protocol: Protocol = serde_json::from_value(
            serde_json::json!({"minReaderVersion": 1, "minWriterVersion": 2}),
        )
        .or_error(
            ErrorKind::Internal,
            "the table's protocol cannot be written",
        )?;
        let operation = DeltaOperation::Create {
            mode: SaveMode::ErrorIfExists,
            location: self.log_store().root_url().clone(),
            protocol: protocol.clone(),
            metadata: metadata.clone(),
        };
        let change = CommitRequest {
            actions: vec![
                Action::Protocol(protocol.clone()),
                Action::Metadata(metadata.clone()),
            ],
            operation,
            watermarks: Vec::new(),
            run_id,
        };
        Ok((change, TableDescription::try_new(protocol, metadata)?))
    }

    /// Begins the table anew, empty, behind all that its log has, whatever that is, and behind a version. `false`: another writer was faster, look again.
    ///
    /// A crash between the commit and its checkpoint leaves a log that reads as before.
    pub(crate) async fn begin_anew(
        &self,
        above: u64,
        definition: &TableDefinition,
        run_id: &str,
    ) -> Result<bool> {
        let failed = |e| self.storage_error("a table cannot be begun anew", e);
        let (store, log) = (self.store(), Path::from(LOG_FOLDER));
        let listed: Vec<_> = store.list(Some(&log)).try_collect().await.map_err(failed)?;
        let versions = listed
            .iter()
            .filter_map(|found| version_of(found.location.filename()?));
        let version = versions
            .chain([above])
            .max()
            .and_then(|newest| newest.checked_add(1))
            .ok_or_else(|| {
                Error::new(ErrorKind::Storage, "a table has too many versions")
                    .at("table", self.path())
            })?;
        // No commit can take the name of something else, which no listing shows.
        let mut next = version..version.saturating_add(MOST_BLOCKED);
        let version = next
            .find(|version| self.blocked_commit(*version).is_none())
            .unwrap_or(version);
        let (change, description) = self.first_commit(definition, run_id)?;
        let attempted = commit::attempt(self, version, &change).await?;
        if attempted.outcome == CommitOutcome::Lost {
            self.is_overtaken();
            return Ok(false);
        }
        let (checkpoint, pointer) = self.first_checkpoint(version, &attempted.bytes).await?;
        let file = log
            .clone()
            .join(format!("{version:020}.checkpoint.parquet"));
        store.put(&file, checkpoint.into()).await.map_err(failed)?;
        let file = log.join(LAST_CHECKPOINT);
        store.put(&file, pointer.into()).await.map_err(failed)?;
        self.began_anew(Snapshot::first(version, description)).await;
        Ok(true)
    }

    /// The checkpoint of a version that a table begins with, made where there is nothing but its commit; and what points to it.
    async fn first_checkpoint(&self, version: u64, commit: &Bytes) -> Result<(Bytes, Vec<u8>)> {
        let what = "a checkpoint cannot be made";
        let failed = |e: object_store::Error| self.storage_error(what, e);
        let refused = |e: DeltaTableError| self.storage_error(what, e);
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let log = Path::from(LOG_FOLDER);
        let first = log.clone().join(commit_name(0));
        store
            .put(&first, commit.clone().into())
            .await
            .map_err(failed)?;
        let url = url::Url::parse("memory:///").or_error(ErrorKind::Internal, "no place")?;
        let log_store = logstore_with(Arc::clone(&store), &url, StorageConfig::default());
        let mut table = DeltaTable::new(log_store.map_err(refused)?);
        table.load().await.map_err(refused)?;
        create_checkpoint(&table, None).await.map_err(refused)?;
        let read = async |name: String| store.get(&log.clone().join(name)).await?.bytes().await;
        let checkpoint = read(format!("{:020}.checkpoint.parquet", 0))
            .await
            .map_err(failed)?;
        let pointer = read(LAST_CHECKPOINT.to_owned()).await.map_err(failed)?;
        let unknown = "a checkpoint's pointer cannot be read";
        let mut pointer: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&pointer).or_error(ErrorKind::Internal, unknown)?;
        pointer.insert("version".to_owned(), version.into());
        // Of the pointer as it was.
        pointer.remove("checksum");
        let pointer = serde_json::to_vec(&pointer).or_error(ErrorKind::Internal, unknown)?;
        Ok((checkpoint, pointer))
    }

    pub(crate) fn delta_schema(
        &self,
        schema: &Schema,
        comments: &ColumnComments,
    ) -> Result<StructType> {
        (&commented(schema, comments))
            .try_into_kernel()
            .map_err(|e| self.storage_error("a column's type has no place in a Delta table", e))
    }

    /// Commits nothing until the newest version is at least this one, so that a version that was lost is never another one's.
    pub(crate) async fn raise_to(&self, version: u64, run_id: &str) -> Result<()> {
        self.expect_nothing();
        while let Some(snapshot) = self
            .latest()
            .await?
            .filter(|snapshot| snapshot.version < version)
        {
            let change = CommitRequest::append(Vec::new(), &[], run_id);
            if let CommitOutcome::Committed(version) =
                commit::commit(self, &snapshot, &change).await?
            {
                self.checkpoint_if_due(version).await;
            }
        }
        Ok(())
    }
}
