//! Packages of a step: the records of a resource that stands for itself, as its statements read them.
//!
//! Invariant: a dimension shows the freshest row that any version ever brought, so it reads every version; of facts, only those that no
//! later version of the same step replaces.

use super::changes::{StepChanges, current_versions};
use super::pinned_source::PinnedSource;
use super::running_statements::RunningStatements;
use super::statement::UnifyStatement;
use super::step_parents::StatementRecords;
use super::versions::version_batch;
use crate::context::RunContext;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use std::borrow::Cow;
use std::sync::Arc;
use tillhouse_lake::{SupersededRecords, TableProvider, UnifyStep};
use tillhouse_model::Result;
use tillhouse_model::table::TableRole;
use tillhouse_query::Session;

/// The records of a step's packages.
pub(super) struct StepPackages {
    history: Arc<dyn TableProvider>,
    /// The step's packages and nothing else, where whole files hold them: a filter would copy every row it lets pass.
    files: Option<Arc<dyn TableProvider>>,
    after: i64,
    to: i64,
    changes: StepChanges,
}

impl StepPackages {
    pub(super) async fn find(
        context: &RunContext,
        source: &PinnedSource<'_>,
        history: &Arc<dyn TableProvider>,
        step: &UnifyStep,
    ) -> Result<Self> {
        let (after, to) = (step.after_load_id, step.to_load_id);
        let changes = StepChanges::find(context, history, (after, to)).await?;
        let files = source.package_files(context, (after, to)).await?;
        Ok(Self {
            history: Arc::clone(history),
            files,
            after,
            to,
            changes,
        })
    }

    pub(super) fn superseded(&self) -> &SupersededRecords {
        &self.changes.superseded
    }

    /// Reads them once, for all these statements.
    pub(super) async fn feed(
        &self,
        context: &RunContext,
        schema: &SchemaRef,
        running: &mut RunningStatements,
    ) -> Result<()> {
        let session = context.engine.empty_session()?;
        let mut batches = session.query(&self.register(&session)?).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(tillhouse_query::into_error)?;
            let batch = super::rows::conform(&batch, schema)?;
            let current = current_versions(&batch, &self.changes.outdated)?;
            running.push(&batch, &current).await?;
        }
        Ok(())
    }

    /// Makes the resource's table in a session show them, as that statement reads them.
    pub(super) async fn create_view(
        &self,
        session: &Session,
        statement: &UnifyStatement,
    ) -> Result<StatementRecords<'_>> {
        session.deregister(statement.resource)?;
        let mut view = self.register(session)?;
        let outdated = &self.changes.outdated;
        if !outdated.is_empty() && statement.table.role != TableRole::Dimension {
            let outdated = version_batch(outdated.iter().map(|(key, id)| (key.as_str(), *id)))?;
            session.register_batches("outdated", outdated.schema(), vec![outdated])?;
            view = format!(
                "SELECT h.* FROM ({view}) h LEFT ANTI JOIN outdated o \
                 ON h._record_key = o._record_key AND h._load_id = o._load_id"
            );
        }
        session.create_view(statement.resource, &view).await?;
        Ok(StatementRecords {
            superseded: Cow::Borrowed(&self.changes.superseded),
            warnings: Vec::new(),
        })
    }

    /// The query that reads them, in a session that then knows their table.
    fn register(&self, session: &Session) -> Result<String> {
        match &self.files {
            Some(files) => {
                session.register("history", Arc::clone(files))?;
                Ok("SELECT * FROM history".to_owned())
            }
            None => {
                session.register("history", Arc::clone(&self.history))?;
                Ok(format!(
                    "SELECT * FROM history WHERE _load_id > {} AND _load_id <= {}",
                    self.after, self.to
                ))
            }
        }
    }
}
