//! Statements that run while their records still arrive: each batch is handed to all of them, and none reads a table.
//!
//! ```text
//!   landing, or one scan of the source table
//!        |  batch
//!        +--> transactions.sql --> files --+
//!        +--> articles.sql     --> files --+--> the step is known: each commits
//!        +--> sites.sql        --> rows  --+
//! ```
//!
//! Invariant: nothing is in a unified table before [`Feed::finish`]; a feed that is dropped leaves only files that no commit names.
//! Whoever pushes waits for the slowest statement, so that a few batches are in memory, however many come.

use super::misfits::{MisfitLog, StatementOrigin, fit};
use super::statement::UnifyStatement;
use super::{StatementOutcome, UnifiedRowCounts};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use std::sync::Arc;
use tillhouse_lake::{SupersededRecords, UnifyStep};
use tillhouse_model::table::TableRole;
use tillhouse_model::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::context::RunContext;

/// Batches that may wait before a statement.
const WAITING: usize = 12;

/// Statements over the records of one resource, all of them running.
pub(super) struct RunningStatements {
    running: Vec<RunningStatement>,
}

struct RunningStatement {
    role: TableRole,
    /// One for each scan; empty once the statement wants no more.
    batches: Vec<mpsc::Sender<RecordBatch>>,
    end: Option<oneshot::Sender<Arc<StepEnd>>>,
    task: Option<AbortOnDropHandle<Result<StatementOutcome>>>,
}

/// Step and superseded records, known once all records have come.
struct StepEnd {
    step: UnifyStep,
    superseded: SupersededRecords,
}

impl RunningStatements {
    /// Starts the statements, which all read one resource with this schema.
    pub(super) fn start(
        context: &RunContext,
        pipeline: &str,
        statements: &[UnifyStatement],
        schema: &SchemaRef,
    ) -> Self {
        let running = statements.iter().map(|statement| {
            let scans = statement
                .streaming_plan
                .as_ref()
                .and_then(|planned| planned.scans)
                .unwrap_or(1);
            let channels = (0..scans).map(|_| mpsc::channel(WAITING));
            let (batches, arriving): (Vec<_>, Vec<_>) = channels.unzip();
            let (end, ended) = oneshot::channel();
            let task = run(
                context.clone(),
                pipeline.to_owned(),
                statement.clone(),
                Arc::clone(schema),
                arriving,
                ended,
            );
            RunningStatement {
                role: statement.table.role,
                batches,
                end: Some(end),
                task: Some(AbortOnDropHandle::new(tokio::spawn(task))),
            }
        });
        Self {
            running: running.collect(),
        }
    }

    /// Hands on records. A dimension shows the freshest row that any version ever brought, so it gets `all`; facts get those that no
    /// later version of the same step replaces.
    ///
    /// Errors as the statement does that has failed.
    pub(super) async fn push(&mut self, all: &RecordBatch, current: &RecordBatch) -> Result<()> {
        for running in &mut self.running {
            let batch = if running.role == TableRole::Dimension {
                all
            } else {
                current
            };
            if batch.num_rows() == 0 {
                continue;
            }
            let mut open = Vec::with_capacity(running.batches.len());
            for batches in std::mem::take(&mut running.batches) {
                if batches.send(batch.clone()).await.is_ok() {
                    open.push(batches);
                }
            }
            running.batches = open;
            // A statement that has all the rows it wants (LIMIT) stops reading; one that failed says why.
            if running.batches.is_empty()
                && running
                    .task
                    .as_ref()
                    .is_some_and(AbortOnDropHandle::is_finished)
            {
                return outcome(running.task.take()).await.map(drop);
            }
        }
        Ok(())
    }

    /// All records have come: every statement commits the step. What each did, by table.
    pub(super) async fn finish(
        mut self,
        step: &UnifyStep,
        superseded: &SupersededRecords,
    ) -> Result<Vec<StatementOutcome>> {
        let end = Arc::new(StepEnd {
            step: step.clone(),
            superseded: superseded.clone(),
        });
        for running in &mut self.running {
            running.batches.clear();
            if let Some(sender) = running.end.take() {
                // A task that is gone says why below.
                let _ = sender.send(Arc::clone(&end));
            }
        }
        let mut done = Vec::new();
        for running in self.running {
            done.push(outcome(running.task).await?);
        }
        Ok(done)
    }
}

async fn outcome(
    task: Option<AbortOnDropHandle<Result<StatementOutcome>>>,
) -> Result<StatementOutcome> {
    let task = task.ok_or_else(|| Error::internal("a unify statement has failed before"))?;
    task.await
        .map_err(|e| Error::internal("a unify step failed").because(e))?
}

async fn run(
    context: RunContext,
    pipeline: String,
    statement: UnifyStatement,
    schema: SchemaRef,
    arriving: Vec<mpsc::Receiver<RecordBatch>>,
    ended: oneshot::Receiver<Arc<StepEnd>>,
) -> Result<StatementOutcome> {
    let name = statement.table.name.clone();
    let at = |e: Error| {
        e.at("table", format!("unified.{name}"))
            .at("file", statement.origin.clone())
    };
    let (wanted, misfits) = (
        statement.table.unified_schema(),
        MisfitLog::of(&statement.errors),
    );
    let mut writing = context
        .warehouse
        .unified_table(Arc::clone(&statement.table))
        .begin(&pipeline)
        .map_err(at)?;
    let planned = statement
        .streaming_plan
        .ok_or_else(|| Error::internal("a statement that needs tables was fed"))
        .map_err(at)?;
    let mut rows = planned.run(schema, arriving).await.map_err(at)?;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(tillhouse_query::into_error).map_err(at)?;
        let batch = fit(&batch, &statement.table, &wanted, &misfits).map_err(at)?;
        writing.write(batch).await.map_err(at)?;
    }
    // A statement that has had enough may leave some of its scans unread: whoever pushes must not wait for them.
    drop(rows);
    let end = ended
        .await
        .map_err(|_| Error::new(ErrorKind::Interrupted, "a unify step was given up"))?;
    misfits
        .record(
            &context.warehouse.ops(),
            &StatementOrigin::of(&statement.table, &end.step),
        )
        .await
        .map_err(at)?;
    let replaced = writing
        .commit(&end.step, &end.superseded)
        .await
        .map_err(at)?;
    let unified = UnifiedRowCounts {
        added: replaced.rows_added,
        removed: replaced.rows_removed,
    };
    Ok(StatementOutcome {
        table: name,
        unified,
        warnings: misfits.count(),
    })
}
