//! Creation of tables, and commits that only raise their version.
//!
//! Invariant: of two creators one wins, and both go on with the winner's table.

use crate::log::commit::{self, CommitOutcome, CommitRequest};
use crate::log::snapshot::{Snapshot, TableDescription};
use crate::log::stats::StatColumns;
use crate::log::table::TableHandle;
use arrow::datatypes::SchemaRef;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{Action, Protocol, StructType, new_metadata};
use deltalake::protocol::{DeltaOperation, SaveMode};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Schema, partition columns and columns with statistics of a table.
#[derive(Debug, Clone)]
pub(crate) struct TableDefinition {
    pub schema: SchemaRef,
    pub partition_by: Vec<String>,
    pub stat_columns: StatColumns,
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
        let schema = self.delta_schema(&definition.schema)?;
        let properties = [
            ("delta.checkpointInterval", "10".to_owned()),
            ("delta.enableExpiredLogCleanup", "false".to_owned()),
            (
                "delta.dataSkippingStatsColumns",
                definition.stat_columns.names().join(","),
            ),
        ];
        let metadata = new_metadata(&schema, &definition.partition_by, properties)
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
        // Won or lost: there is a version 0 now.
        let (outcome, _) = commit::attempt(self, 0, &change).await?;
        match outcome {
            CommitOutcome::Committed(_) => {
                let description = TableDescription::try_new(protocol, metadata)?;
                self.created(Snapshot::new(0, Vec::new(), description))
                    .await;
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

    pub(crate) fn delta_schema(&self, schema: &SchemaRef) -> Result<StructType> {
        schema
            .as_ref()
            .try_into_kernel()
            .map_err(|e| self.storage_error("a column's type has no place in a Delta table", e))
    }

    /// Commits nothing until the newest version is at least this one, so that a version that was lost is never another one's.
    pub(crate) async fn raise_to(&self, version: u64, run_id: &str) -> Result<()> {
        while let Some(snapshot) = self
            .latest()
            .await?
            .filter(|snapshot| snapshot.version < version)
        {
            let change = CommitRequest::append(Vec::new(), &[], run_id);
            let _: CommitOutcome = commit::commit(self, &snapshot, &change).await?;
        }
        Ok(())
    }
}
