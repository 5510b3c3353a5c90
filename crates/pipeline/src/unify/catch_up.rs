//! Unify from the source tables: what was landed and is not unified yet, of one resource and of its children.
//!
//! ```text
//!   resource, nothing beside it   the step's packages, see `step_packages`: read once for all statements that can be fed
//!   resource with children        parents and children that changed, see `step_parents`: tables beside each other
//! ```
//!
//! Invariant: statements whose tables stand at the same packages share a step; after a crash some may be ahead of others, and each goes on
//! from where it is. A step marks parents and children as done in one commit. A child without a parent waits: when the parent lands, its
//! step takes every child there is by then.

use super::children::ChildHistory;
use super::misfits::{MisfitLog, StatementOrigin, fit};
use super::omitted::TransactionRows;
use super::pinned_source::PinnedSource;
use super::running_statements::RunningStatements;
use super::statement::{UnifyStatement, empty_session, parameters};
use super::step_packages::StepPackages;
use super::step_parents::{StatementRecords, StepParents};
use super::{StatementOutcome, UnifyTotals, steps};
use crate::config::{Pipeline, ResourcePlan};
use crate::context::RunContext;
use crate::message::interrupted;
use crate::observer::RunEvent;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_lake::{UnifiedRowStream, UnifyStep};
use tillhouse_model::table::TableRole;
use tillhouse_model::{Error, Result};
use tillhouse_query::SendableRecordBatchStream;

/// Tables whose progress is looked up at once.
const LOOKED_AT: usize = 8;

/// Unifies statements over one resource up to its newest package, and its children's.
pub(super) async fn unify(
    context: &RunContext,
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    mut statements: Vec<&UnifyStatement>,
    run_id: &str,
    totals: &mut UnifyTotals,
) -> Result<()> {
    let source = PinnedSource::open(context, pipeline, plan).await?;
    if !source.exists() {
        // Children may have come before any parent.
        statements.retain(|statement| statement.has_orphans());
    }
    let mut children = Vec::new();
    for plan in &pipeline.resources {
        let name = plan.resource.name;
        let mut named = statements.iter().flat_map(|statement| &statement.children);
        if named.any(|child| child.resource == name) {
            let child = PinnedSource::open(context, pipeline, plan).await?;
            children.extend(child.exists().then_some((name, child)));
        }
    }
    let catch_up = CatchUp {
        context,
        pipeline,
        source,
        children: children.into_iter().collect(),
        run_id,
    };
    let progress = stream::iter(statements).map(async |statement| {
        let progress = catch_up.progress(statement).await?;
        Ok::<_, Error>((progress, statement.clone()))
    });
    let mut by_progress: BTreeMap<TableProgress, Vec<UnifyStatement>> = BTreeMap::new();
    for (progress, statement) in progress.buffered(LOOKED_AT).try_collect::<Vec<_>>().await? {
        by_progress.entry(progress).or_default().push(statement);
    }
    for (progress, statements) in by_progress {
        catch_up.advance(&progress, &statements, totals).await?;
    }
    Ok(())
}

/// Newest packages that a unified table has.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TableProgress {
    /// Of each child that its statement names and that is there; `None` where the statement names none.
    children: Option<BTreeMap<&'static str, i64>>,
    /// Of the statement's resource.
    own: i64,
}

/// One resource, and its children, that are caught up with.
struct CatchUp<'a> {
    context: &'a RunContext,
    pipeline: &'a Pipeline,
    source: PinnedSource<'a>,
    /// By resource.
    children: BTreeMap<&'static str, PinnedSource<'a>>,
    run_id: &'a str,
}

/// Records of a step, as its statements read them.
enum StepRecords<'a> {
    Packages(StepPackages),
    Parents(StepParents<'a>),
}

impl CatchUp<'_> {
    async fn progress(&self, statement: &UnifyStatement) -> Result<TableProgress> {
        let table = statement.target(&self.context.warehouse);
        let pipeline = &self.pipeline.name;
        let own = table.progress(pipeline, statement.resource).await?;
        if statement.children.is_empty() {
            let children = None;
            return Ok(TableProgress { children, own });
        }
        let mut children = BTreeMap::new();
        for child in &statement.children {
            if self.children.contains_key(child.resource) {
                let done = table.progress(pipeline, child.resource).await?;
                children.insert(child.resource, done);
            }
        }
        let children = Some(children);
        Ok(TableProgress { children, own })
    }

    /// Takes statements whose tables have the same packages to the newest.
    async fn advance(
        &self,
        progress: &TableProgress,
        statements: &[UnifyStatement],
        totals: &mut UnifyTotals,
    ) -> Result<()> {
        let start = progress.own;
        let children = self.child_histories(progress, statements).await?;
        let mut ranges = steps(&self.source.packages_after(start).await?, start);
        if ranges.is_empty() && children.iter().any(ChildHistory::has_news) {
            ranges.push((start, start));
        }
        if ranges.is_empty() {
            return Ok(());
        }
        let history = self.source.history(self.context).await?;
        let last = ranges.len() - 1;
        for (index, (after, to)) in ranges.into_iter().enumerate() {
            // The last step takes the children; by then all their parents have landed.
            let watermarks = children.iter().map(|child| child.watermark(index == last));
            let step = UnifyStep {
                pipeline: self.pipeline.name.clone(),
                resource: self.source.plan.resource.name.to_owned(),
                after_load_id: after,
                to_load_id: to,
                children: watermarks.collect(),
                run_id: self.run_id.to_owned(),
            };
            let _turn = self.context.shared.unify.lock().await;
            // Between two steps, which are whole each.
            if self.context.cancel.is_cancelled() {
                return Err(interrupted());
            }
            self.context.shared.check_lease().await?;
            let records = match progress.children {
                None => StepRecords::Packages(
                    StepPackages::find(self.context, &self.source, &history, &step).await?,
                ),
                Some(_) => StepRecords::Parents(
                    StepParents::find(self.context, &history, &children, &step, start).await?,
                ),
            };
            self.take(statements, &records, &step, totals).await?;
        }
        Ok(())
    }

    /// The children that these statements name and that are there.
    async fn child_histories(
        &self,
        progress: &TableProgress,
        statements: &[UnifyStatement],
    ) -> Result<Vec<ChildHistory>> {
        let mut histories = Vec::new();
        let named = statements.first().map(|statement| &statement.children);
        for child in named.into_iter().flatten() {
            let done = progress
                .children
                .iter()
                .find_map(|children| children.get(child.resource));
            if let (Some(done), Some(source)) = (done, self.children.get(child.resource)) {
                let history = ChildHistory::open(self.context, (child, source), *done);
                histories.push(history.await?);
            }
        }
        Ok(histories)
    }

    async fn take(
        &self,
        statements: &[UnifyStatement],
        records: &StepRecords<'_>,
        step: &UnifyStep,
        totals: &mut UnifyTotals,
    ) -> Result<()> {
        let (fed, apart): (Vec<&UnifyStatement>, Vec<&UnifyStatement>) = statements
            .iter()
            .partition(|statement| statement.is_streamable());
        if let (StepRecords::Packages(packages), false) = (records, fed.is_empty()) {
            let schema = self.source.plan.spec.source_schema();
            let mut running =
                RunningStatements::start(self.context, &self.pipeline.name, &fed, &schema);
            packages.feed(self.context, &schema, &mut running).await?;
            self.context.shared.check_lease().await?;
            totals.add(running.finish(step, packages.superseded()).await?);
        }
        for statement in apart {
            totals.add([self.run_on_tables(statement, records, step).await?]);
        }
        Ok(())
    }

    /// Runs one statement by itself, its records tables that it may read as often as it likes.
    async fn run_on_tables(
        &self,
        statement: &UnifyStatement,
        records: &StepRecords<'_>,
        step: &UnifyStep,
    ) -> Result<StatementOutcome> {
        let (context, pipeline) = (self.context, self.pipeline);
        let at = |error| statement.place(error);
        let table = statement.table.name.clone();
        context.observer.on_event(&RunEvent::Unifying { table });
        // A table that it may look up and the pipeline does not read is there, but empty.
        let session = empty_session(&context.engine, pipeline, &statement.errors)?;
        let StatementRecords {
            superseded,
            warnings,
        } = match records {
            StepRecords::Packages(packages) => packages.create_view(&session, statement).await?,
            StepRecords::Parents(parents) => {
                let of = (pipeline, self.source.plan);
                let reader = (&session, statement);
                parents
                    .create_views(context, of, reader, self.run_id)
                    .await?
            }
        };
        let parameters = parameters(pipeline);
        let result = statement.run_on_tables(&session, &parameters).await;
        let (rows, misfits) = fit_result(context, statement, result.map_err(at)?, step);
        let target = statement.target(&context.warehouse);
        context.shared.check_lease().await?;
        let replaced = match statement.table.role {
            TableRole::Dimension => target.merge(step, rows).await,
            TableRole::Fact | TableRole::Source => target.replace(step, &superseded, rows).await,
        }
        .map_err(at)?;
        let warned = misfits.count() + warnings.len() as u64;
        let ops = context.warehouse.ops();
        context.shared.note_warnings(warnings, &ops).await?;
        Ok(StatementOutcome::of(
            &statement.table.name,
            &replaced,
            warned,
        ))
    }
}

/// A statement's result as rows of its table, and what of it does not fit.
fn fit_result(
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

#[cfg(test)]
#[path = "catch_up_tests.rs"]
mod tests;
