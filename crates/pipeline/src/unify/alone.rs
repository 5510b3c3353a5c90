//! Resources whose records stand for themselves: what was landed and is not unified yet, read once for all statements.
//!
//! Invariant: statements whose tables stand at the same package share a step; after a crash some may be ahead of others, and each
//! goes on from where it is.

use super::changes::{Changes, current, listed};
use super::feed::Feed;
use super::misfits::{Misfits, Origin, fit};
use super::rows::conform;
use super::statement::{Statement, borrowed, empty_session, parameters};
use super::{Done, Totals, Unified, steps};
use crate::config::{Pipeline, ResourcePlan};
use crate::observer::Event;
use crate::sync::Context;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_lake::{Rows, SourceTable, Step, TableProvider};
use tillhouse_model::table::Role;
use tillhouse_model::{Error, Result};
use tillhouse_query::SendableRecordBatchStream;

/// Tables whose progress is looked up at once.
const LOOKED_AT: usize = 8;

/// Unifies the statements of one resource up to its newest package.
pub(super) async fn unify(
    context: &Context,
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    statements: &[Statement],
    run_id: &str,
    totals: &mut Totals,
) -> Result<()> {
    let source = context.warehouse.source_table(&pipeline.name, Arc::clone(&plan.spec));
    let Some(version) = source.version().await? else { return Ok(()) };
    let progress = stream::iter(statements).map(async |statement| {
        let table = context.warehouse.unified_table(Arc::clone(&statement.table));
        Ok::<_, Error>((table.progress(&pipeline.name, plan.resource.name).await?, statement.clone()))
    });
    let mut by_progress: BTreeMap<i64, Vec<Statement>> = BTreeMap::new();
    for (done, statement) in progress.buffered(LOOKED_AT).try_collect::<Vec<_>>().await? {
        by_progress.entry(done).or_default().push(statement);
    }
    for (start, statements) in by_progress {
        let packages = source.packages(Some(version), start).await?;
        if packages.is_empty() {
            continue;
        }
        let (fed, apart) = split(statements);
        for (after, to) in steps(&packages, start) {
            let step = Step {
                pipeline: pipeline.name.clone(),
                resource: plan.resource.name.to_owned(),
                after_land: after,
                to_land: to,
                children: Vec::new(),
                run_id: run_id.to_owned(),
            };
            take(context, pipeline, plan, (&source, version), (&fed, &apart), &step, totals).await?;
        }
    }
    Ok(())
}

/// Statements whose scans go on side by side can be fed; those that join their resource need it as a table.
pub(super) fn split(statements: Vec<Statement>) -> (Vec<Statement>, Vec<Statement>) {
    statements.into_iter().partition(|statement| statement.live.is_some())
}

async fn take(
    context: &Context,
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    (source, version): (&SourceTable, u64),
    (fed, apart): (&[Statement], &[Statement]),
    step: &Step,
    totals: &mut Totals,
) -> Result<()> {
    let (after, to) = (step.after_land, step.to_land);
    let state = || context.engine.state();
    let Some(history) = source.provider(Some(version), Some(state()?)).await? else { return Ok(()) };
    let changes = Changes::find(context, &history, (after, to)).await?;
    let packages = source.provider_of(version, Some(state()?), after, to).await?;
    let records = Records { history, packages, after, to };
    if !fed.is_empty() {
        let schema = plan.spec.source_schema();
        let mut feed = Feed::start(context, &pipeline.name, fed, &schema);
        let session = context.engine.bare()?;
        let mut batches = session.query(&records.register(&session)?).await?;
        while let Some(batch) = batches.next().await {
            let batch = conform(&batch.map_err(tillhouse_query::into_error)?, &schema)?;
            feed.push(&batch, &current(&batch, &changes.outdated)?).await?;
        }
        let done = feed.finish(step, &changes.superseded).await?;
        for Done { table, .. } in &done {
            context.observer.on(&Event::Unifying { table: table.clone() });
        }
        totals.add(done);
    }
    for statement in apart {
        let done = take_apart(context, pipeline, statement, (&records, &changes), step).await?;
        totals.add([done]);
    }
    Ok(())
}

/// The records of a step as a table.
struct Records {
    history: Arc<dyn TableProvider>,
    /// The step's packages and nothing else, where whole files hold them: a filter would copy every row it lets pass.
    packages: Option<Arc<dyn TableProvider>>,
    after: i64,
    to: i64,
}

impl Records {
    /// The query that reads them, in a session that then knows their table.
    fn register(&self, session: &tillhouse_query::Session) -> Result<String> {
        match &self.packages {
            Some(packages) => {
                session.register("history", Arc::clone(packages))?;
                Ok("SELECT * FROM history".to_owned())
            }
            None => {
                session.register("history", Arc::clone(&self.history))?;
                Ok(format!("SELECT * FROM history WHERE _land > {} AND _land <= {}", self.after, self.to))
            }
        }
    }
}

/// Runs one statement by itself, its records a table that it may read as often as it likes.
async fn take_apart(
    context: &Context,
    pipeline: &Pipeline,
    statement: &Statement,
    (records, changes): (&Records, &Changes),
    step: &Step,
) -> Result<Done> {
    let name = statement.table.name.clone();
    context.observer.on(&Event::Unifying { table: name.clone() });
    let at = |e: Error| e.at("table", format!("unified.{name}")).at("file", statement.origin.clone());
    // What it may look up and the pipeline does not read is there, but empty.
    let session = empty_session(&context.engine, pipeline, &statement.errors)?;
    session.deregister(statement.resource)?;
    let mut view = records.register(&session)?;
    if !changes.outdated.is_empty() && statement.table.role != Role::Dimension {
        let outdated = listed(&changes.outdated)?;
        session.register_batches("outdated", outdated.schema(), vec![outdated])?;
        view = format!(
            "SELECT h.* FROM ({view}) h LEFT ANTI JOIN outdated o \
             ON h._record_key = o._record_key AND h._land = o._land"
        );
    }
    session.create_view(statement.resource, &view).await?;
    let result = session.query_with(&statement.sql, &borrowed(&parameters(pipeline))).await.map_err(at)?;
    let (rows, misfits) = fitted(context, statement, result, step);
    let target = context.warehouse.unified_table(Arc::clone(&statement.table));
    let replaced = match statement.table.role {
        Role::Dimension => target.merge(step, rows).await,
        Role::Fact | Role::Source => target.replace(step, &changes.superseded, rows).await,
    }
    .map_err(at)?;
    let unified = Unified { added: replaced.rows_added, removed: replaced.rows_removed };
    Ok(Done { table: name, unified, warnings: misfits.count() })
}

/// A statement's result as rows of its table, and what of it does not fit.
pub(super) fn fitted(
    context: &Context,
    statement: &Statement,
    result: SendableRecordBatchStream,
    step: &Step,
) -> (Rows, Misfits) {
    let misfits = Misfits::of(&statement.errors);
    let (table, wanted, noted) = (Arc::clone(&statement.table), statement.table.unified_schema(), misfits.clone());
    let rows: Rows =
        result.map(move |batch| fit(&batch.map_err(tillhouse_query::into_error)?, &table, &wanted, &noted)).boxed();
    let origin = Origin::of(&statement.table, step);
    (misfits.told_at_the_end(rows, context.warehouse.ops(), origin), misfits)
}
