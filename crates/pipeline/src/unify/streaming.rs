//! Unify while records land: what a landing has just written goes on to the statements before it leaves memory.
//!
//! Invariant: the source table comes first. What is shown here is durable already, and whatever happens here, `catch_up` can take the step
//! from the table instead: a live step commits exactly what that would, or nothing. So a failure here only ends the live part.

use super::running_statements::RunningStatements;
use super::statement::{CheckedStatements, UnifyStatement};
use super::{STEP_RECORDS, UnifyTotals};
use crate::config::{Pipeline, ResourcePlan};
use crate::context::RunContext;
use crate::message::LandedPackage;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use tillhouse_lake::{LandedRows, LandingSummary, SupersededRecords, UnifyStep};
use tillhouse_model::table::RECORD_KEY;
use tillhouse_model::{Error, FastSet, Result};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use xxhash_rust::xxh3::xxh3_64;

/// Statements of one resource that follow its landings.
pub(crate) struct StreamingUnify {
    context: RunContext,
    pipeline: String,
    resource: &'static str,
    run_id: String,
    statements: Vec<UnifyStatement>,
    schema: SchemaRef,
    /// The newest package that the feed has, or that was there before.
    last: i64,
    step: Option<OpenStep>,
    totals: UnifyTotals,
}

/// A step that has begun.
struct OpenStep {
    feed: RunningStatements,
    after: i64,
    records: u64,
    /// Hashes of the keys that are in it.
    keys: FastSet<u64>,
    superseded: SupersededRecords,
}

impl StreamingUnify {
    /// Follows a resource, where that can be: its unified tables are up to date, and its statements read nothing else. `None` otherwise.
    pub(crate) async fn of(
        context: &RunContext,
        pipeline: &Pipeline,
        CheckedStatements(all): &CheckedStatements,
        plan: &ResourcePlan,
        run_id: &str,
    ) -> Result<Option<Self>> {
        let is_child = pipeline
            .children
            .iter()
            .any(|c| c.resource == plan.resource.name);
        let statements: Vec<UnifyStatement> = all
            .iter()
            .filter(|s| s.resource == plan.resource.name && s.is_streamable())
            .cloned()
            .collect();
        if statements.is_empty() || is_child {
            return Ok(None);
        }
        let source = context
            .warehouse
            .source_table(&pipeline.name, Arc::clone(&plan.spec));
        let last = source.newest_load_id().await?;
        for statement in &statements {
            let table = statement.target(&context.warehouse);
            if table.progress(&pipeline.name, plan.resource.name).await? != last {
                return Ok(None);
            }
        }
        Ok(Some(Self {
            context: context.clone(),
            pipeline: pipeline.name.clone(),
            resource: plan.resource.name,
            run_id: run_id.to_owned(),
            statements,
            schema: plan.spec.source_schema(),
            last,
            step: None,
            totals: UnifyTotals::default(),
        }))
    }

    /// Takes landings until the channel closes; what was unified, by table.
    pub(crate) fn follow(self) -> (mpsc::Sender<LandedPackage>, AbortOnDropHandle<UnifyTotals>) {
        let (send, mut receive) = mpsc::channel::<LandedPackage>(1);
        let task = tokio::spawn(async move {
            let mut live = self;
            while let Some(LandedPackage { summary, rows }) = receive.recv().await {
                if let Err(error) = live.take(&summary, rows).await {
                    tracing::debug!(%error, "unify goes on from the source table");
                    live.step = None;
                    receive.close();
                    return live.totals;
                }
            }
            if let Err(error) = live.close().await {
                tracing::debug!(%error, "unify goes on from the source table");
            }
            live.totals
        });
        (send, AbortOnDropHandle::new(task))
    }

    async fn take(&mut self, landed: &LandingSummary, fresh: LandedRows) -> Result<()> {
        if fresh.rows.is_empty() {
            return Ok(());
        }
        if landed.load_id != self.last + 1 {
            return Err(Error::internal("another run lands into the same table"));
        }
        let again = |open: &OpenStep| {
            fresh
                .changed
                .iter()
                .any(|(key, _)| open.keys.contains(&xxh3_64(key.as_bytes())))
        };
        if self
            .step
            .as_ref()
            .is_some_and(|open| open.records >= STEP_RECORDS || again(open))
        {
            self.close().await?;
        }
        let open = self.step.get_or_insert_with(|| OpenStep {
            feed: RunningStatements::start(
                &self.context,
                &self.pipeline,
                &self.statements.iter().collect::<Vec<_>>(),
                &self.schema,
            ),
            after: self.last,
            records: 0,
            keys: FastSet::default(),
            superseded: SupersededRecords::default(),
        });
        for rows in &fresh.rows {
            open.note(rows)?;
            open.feed.push(rows, rows).await?;
        }
        for (key, time) in fresh.changed {
            open.superseded.add(key, time);
        }
        self.last = landed.load_id;
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let Some(open) = self.step.take() else {
            return Ok(());
        };
        self.context.shared.check_lease().await?;
        let step = UnifyStep {
            pipeline: self.pipeline.clone(),
            resource: self.resource.to_owned(),
            after_load_id: open.after,
            to_load_id: self.last,
            children: Vec::new(),
            run_id: self.run_id.clone(),
        };
        let done = open.feed.finish(&step, &open.superseded).await?;
        self.totals.add(done);
        Ok(())
    }
}

impl OpenStep {
    fn note(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys = rows
            .column_by_name(RECORD_KEY)
            .and_then(|column| column.as_string_opt::<i32>())
            .ok_or_else(|| Error::internal("landed records lack their keys"))?;
        self.keys
            .extend(keys.iter().flatten().map(|key| xxh3_64(key.as_bytes())));
        self.records += rows.num_rows() as u64;
        Ok(())
    }
}

#[cfg(test)]
#[path = "streaming_tests.rs"]
mod tests;
