//! Resources whose records stand for themselves: what was landed and is not unified yet, read once for all statements.
//!
//! Invariant: statements whose tables stand at the same package share a step; after a crash some may be ahead of others, and each
//! goes on from where it is.

use super::changes::{StepChanges, current_versions, version_batch};
use super::misfits::{MisfitLog, StatementOrigin, fit};
use super::omitted::TransactionRows;
use super::rows::conform;
use super::running_statements::RunningStatements;
use super::statement::{UnifyStatement, empty_session, parameters};
use super::{StatementOutcome, UnifiedRowCounts, UnifyTotals, steps};
use crate::config::{Pipeline, ResourcePlan};
use crate::context::RunContext;
use crate::observer::RunEvent;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_lake::{SourceTable, TableProvider, UnifiedRowStream, UnifyStep};
use tillhouse_model::table::TableRole;
use tillhouse_model::{Error, Result};
use tillhouse_query::SendableRecordBatchStream;

/// Tables whose progress is looked up at once.
const LOOKED_AT: usize = 8;

/// Unifies the statements of one resource up to its newest package.
pub(super) async fn unify(
    context: &RunContext,
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    statements: &[UnifyStatement],
    run_id: &str,
    totals: &mut UnifyTotals,
) -> Result<()> {
    let source = context
        .warehouse
        .source_table(&pipeline.name, Arc::clone(&plan.spec));
    let Some(version) = source.version().await? else {
        return Ok(());
    };
    let progress = stream::iter(statements).map(async |statement| {
        let table = context
            .warehouse
            .unified_table(Arc::clone(&statement.table));
        Ok::<_, Error>((
            table.progress(&pipeline.name, plan.resource.name).await?,
            statement.clone(),
        ))
    });
    let mut by_progress: BTreeMap<i64, Vec<UnifyStatement>> = BTreeMap::new();
    for (done, statement) in progress.buffered(LOOKED_AT).try_collect::<Vec<_>>().await? {
        by_progress.entry(done).or_default().push(statement);
    }
    for (start, statements) in by_progress {
        let packages = source.packages(Some(version), start).await?;
        if packages.is_empty() {
            continue;
        }
        let (fed, apart) = split_streamable(statements);
        for (after, to) in steps(&packages, start) {
            let step = UnifyStep {
                pipeline: pipeline.name.clone(),
                resource: plan.resource.name.to_owned(),
                after_load_id: after,
                to_load_id: to,
                children: Vec::new(),
                run_id: run_id.to_owned(),
            };
            take(
                context,
                pipeline,
                plan,
                (&source, version),
                (&fed, &apart),
                &step,
                totals,
            )
            .await?;
        }
    }
    Ok(())
}

/// Statements whose scans go on side by side can be fed; those that join their resource need it as a table.
pub(super) fn split_streamable(
    statements: Vec<UnifyStatement>,
) -> (Vec<UnifyStatement>, Vec<UnifyStatement>) {
    statements
        .into_iter()
        .partition(|statement| statement.streaming_plan.is_some())
}

async fn take(
    context: &RunContext,
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    (source, version): (&SourceTable, u64),
    (fed, apart): (&[UnifyStatement], &[UnifyStatement]),
    step: &UnifyStep,
    totals: &mut UnifyTotals,
) -> Result<()> {
    let _turn = context.shared.unify.lock().await;
    context.shared.check_lease().await?;
    let (after, to) = (step.after_load_id, step.to_load_id);
    let state = || context.engine.state();
    let Some(history) = source.provider(Some(version), Some(state()?)).await? else {
        return Ok(());
    };
    let changes = StepChanges::find(context, &history, (after, to)).await?;
    let packages = source
        .package_provider(version, Some(state()?), after, to)
        .await?;
    let records = StepRecords {
        history,
        packages,
        after,
        to,
    };
    if !fed.is_empty() {
        let schema = plan.spec.source_schema();
        let mut feed = RunningStatements::start(context, &pipeline.name, fed, &schema);
        let session = context.engine.empty_session()?;
        let mut batches = session.query(&records.register(&session)?).await?;
        while let Some(batch) = batches.next().await {
            let batch = conform(&batch.map_err(tillhouse_query::into_error)?, &schema)?;
            feed.push(&batch, &current_versions(&batch, &changes.outdated)?)
                .await?;
        }
        context.shared.check_lease().await?;
        let done = feed.finish(step, &changes.superseded).await?;
        for StatementOutcome { table, .. } in &done {
            context.observer.on_event(&RunEvent::Unifying {
                table: table.clone(),
            });
        }
        totals.add(done);
    }
    for statement in apart {
        let done = run_on_table(context, pipeline, statement, (&records, &changes), step).await?;
        totals.add([done]);
    }
    Ok(())
}

/// The records of a step as a table.
struct StepRecords {
    history: Arc<dyn TableProvider>,
    /// The step's packages and nothing else, where whole files hold them: a filter would copy every row it lets pass.
    packages: Option<Arc<dyn TableProvider>>,
    after: i64,
    to: i64,
}

impl StepRecords {
    /// The query that reads them, in a session that then knows their table.
    fn register(&self, session: &tillhouse_query::Session) -> Result<String> {
        match &self.packages {
            Some(packages) => {
                session.register("history", Arc::clone(packages))?;
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

/// Runs one statement by itself, its records a table that it may read as often as it likes.
async fn run_on_table(
    context: &RunContext,
    pipeline: &Pipeline,
    statement: &UnifyStatement,
    (records, changes): (&StepRecords, &StepChanges),
    step: &UnifyStep,
) -> Result<StatementOutcome> {
    let name = statement.table.name.clone();
    context.observer.on_event(&RunEvent::Unifying {
        table: name.clone(),
    });
    let at = |e: Error| {
        e.at("table", format!("unified.{name}"))
            .at("file", statement.origin.clone())
    };
    // What it may look up and the pipeline does not read is there, but empty.
    let session = empty_session(&context.engine, pipeline, &statement.errors)?;
    session.deregister(statement.resource)?;
    let mut view = records.register(&session)?;
    if !changes.outdated.is_empty() && statement.table.role != TableRole::Dimension {
        let outdated = version_batch(&changes.outdated)?;
        session.register_batches("outdated", outdated.schema(), vec![outdated])?;
        view = format!(
            "SELECT h.* FROM ({view}) h LEFT ANTI JOIN outdated o \
             ON h._record_key = o._record_key AND h._load_id = o._load_id"
        );
    }
    session.create_view(statement.resource, &view).await?;
    let result = statement
        .run_on_tables(&session, &parameters(pipeline))
        .await
        .map_err(at)?;
    let (rows, misfits) = fit_result(context, statement, result, step);
    let target = context
        .warehouse
        .unified_table(Arc::clone(&statement.table));
    context.shared.check_lease().await?;
    let replaced = match statement.table.role {
        TableRole::Dimension => target.merge(step, rows).await,
        TableRole::Fact | TableRole::Source => {
            target.replace(step, &changes.superseded, rows).await
        }
    }
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

/// A statement's result as rows of its table, and what of it does not fit.
pub(super) fn fit_result(
    context: &RunContext,
    statement: &UnifyStatement,
    (result, transactions): (SendableRecordBatchStream, Option<Arc<TransactionRows>>),
    step: &UnifyStep,
) -> (UnifiedRowStream, MisfitLog) {
    let misfits = MisfitLog::of(&statement.errors);
    let (fitted, noted) = (statement.clone(), misfits.clone());
    let rows: UnifiedRowStream = result
        .map(move |batch| {
            let batch = batch.map_err(tillhouse_query::into_error)?;
            fit(&batch, &fitted, transactions.as_deref(), &noted)
        })
        .boxed();
    let origin = StatementOrigin::of(&statement.table, step);
    let takers = (context.shared.clone(), context.warehouse.ops());
    (misfits.record_after(rows, takers, origin), misfits)
}
