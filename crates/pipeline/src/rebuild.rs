//! Rebuild: the unified tables anew from the source tables, without asking any API.
//!
//! Invariant: readers keep the last published run until the rebuild is published, so they never see half of it; the result is what
//! the increments gave, row for row. It is published as a whole or not at all, since it empties before it fills. Pipelines are rebuilt side by
//! side; what each comes to does not depend on the others, whose rows are in partitions of their own.

use crate::config::Pipeline;
use crate::context::{RunContext, new_run_id};
use crate::held_lease::HeldLease;
use crate::lease::{IfRunning, LeaseOutcome, RunLeases};
use crate::publish::{self, RunKind};
use crate::record_origin::RecordOrigin;
use crate::repair;
use crate::report::{PipelineReport, RunReport, SkippedPipeline};
use crate::restore;
use crate::unify;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tillhouse_lake::RunRecord;
use tillhouse_model::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

/// Rebuilds the unified tables of pipelines and publishes.
///
/// Errors as a sync does, where it is interrupted before it is published (nothing is changed then), and where another run writes one of the pipelines,
/// unless it is to be waited for or left out.
pub async fn rebuild(
    context: &RunContext,
    pipelines: &[Pipeline],
    if_running: IfRunning,
) -> Result<RunReport> {
    let clock = Instant::now();
    let started = context.warehouse.now();
    let run_id = new_run_id(started);
    let context = &context.for_run();
    let mut statements = Vec::with_capacity(pipelines.len());
    for pipeline in pipelines {
        statements.push(unify::check(&context.engine, pipeline).await?);
    }
    context.engine.register_warehouse(&context.warehouse);
    context.warehouse.prepare().await?;
    let key = &context.project.privacy_key;
    context.warehouse.check_privacy_key(key)?;
    let names: Vec<&str> = pipelines.iter().map(|p| p.name.as_str()).collect();
    let owner = (run_id.as_str(), "rebuild");
    let (leases, outcomes) = RunLeases::take(
        (&context.warehouse, &context.cancel),
        &names,
        owner,
        if_running,
    )
    .await?;
    let mut report = RunReport {
        run: run_id.clone(),
        ..RunReport::default()
    };
    let (mut held, mut refused) = (Vec::new(), Vec::new());
    for ((pipeline, statements), outcome) in pipelines.iter().zip(&statements).zip(outcomes) {
        match outcome {
            LeaseOutcome::Held(lease, cancel) => held.push(HeldPipeline {
                pipeline,
                statements,
                lease,
                cancel,
            }),
            LeaseOutcome::Refused(error) => refused.push(error),
            LeaseOutcome::Skipped(running) => report.skipped.push(SkippedPipeline {
                pipeline: pipeline.name.clone(),
                running,
            }),
        }
    }
    let outcome = match refused.is_empty() {
        true => fill(context, held, (&run_id, started), &mut report).await,
        false => Err(Error::combine(refused)),
    };
    leases.release().await;
    outcome?;
    report.seconds = clock.elapsed().as_secs_f64();
    Ok(report)
}

/// A pipeline and the lease under which it is rebuilt.
struct HeldPipeline<'a> {
    pipeline: &'a Pipeline,
    statements: &'a unify::CheckedStatements,
    lease: Arc<HeldLease>,
    cancel: CancellationToken,
}

impl HeldPipeline<'_> {
    /// Context of its part of the run.
    fn context(&self, context: &RunContext) -> RunContext {
        context.for_pipeline(self.pipeline, Arc::clone(&self.lease), self.cancel.clone())
    }

    /// Empties the pipeline's part of the unified tables, and fills it from its source tables.
    async fn rebuild(&self, context: &RunContext, run_id: &str) -> Result<PipelineReport> {
        let Self {
            pipeline,
            statements,
            ..
        } = self;
        let context = self.context(context);
        let mut unified = unify::UnifyTotals::default();
        let rebuilding = async {
            context.shared.check_lease().await?;
            repair::clear(&context, pipeline, run_id).await?;
            unify::bring_up_to_date(&context, pipeline, statements, run_id, &mut unified).await
        };
        let rebuilt = rebuilding.await;
        rebuilt.map_err(|error| error.at("pipeline", pipeline.name.clone()))?;
        let mut done = PipelineReport {
            pipeline: pipeline.name.clone(),
            ..PipelineReport::default()
        };
        done.take(unified);
        Ok(done)
    }
}

async fn fill(
    context: &RunContext,
    held: Vec<HeldPipeline<'_>>,
    (run_id, started): (&str, Timestamp),
    report: &mut RunReport,
) -> Result<()> {
    let pipelines: Vec<&Pipeline> = held.iter().map(|held| held.pipeline).collect();
    if pipelines.is_empty() {
        return Ok(());
    }
    // Source tables that have lost commits would make unified tables that lack their rows.
    let before = repair::prepare(context, &pipelines, RecordOrigin::SourceTables, run_id).await?;
    let rebuilding = held.iter().map(|held| held.rebuild(context, run_id));
    let mut errors = Vec::new();
    for outcome in futures::future::join_all(rebuilding).await {
        match outcome {
            Ok(done) => report.pipelines.push(done),
            Err(error) => errors.push(error),
        }
    }
    // Asked once more than each step does: what was all but done is not published either.
    if context.cancel.is_cancelled() {
        errors.retain(|error| error.kind() != ErrorKind::Interrupted);
        errors.insert(0, stopped());
    }
    if !errors.is_empty() {
        take_back(context, &held, before.published.as_ref(), run_id).await;
        return Err(Error::combine(errors));
    }
    // Those that were done early have waited for the others.
    for held in &held {
        held.lease.check().await?;
    }
    let own = pipelines.iter().map(|pipeline| pipeline.name.clone());
    let anew: BTreeSet<String> = own.chain(before.anew).collect();
    let anew: Vec<String> = anew.into_iter().collect();
    let kind = RunKind {
        command: "rebuild",
        rebuilt: &anew,
        let_be: &before.let_be,
    };
    let ops = context.warehouse.ops();
    context.shared.notes.flush(&ops).await?;
    match publish::publish(context, &pipelines, kind, run_id, started, report).await {
        Ok(unnoted) => {
            if let Some(unnoted) = unnoted {
                unnoted.note().await;
            }
            report.published = true;
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            take_back(context, &held, before.published.as_ref(), run_id).await;
            Err(stopped())
        }
        Err(error) => Err(error),
    }
}

/// Gives the pipelines' unified tables the rows of the published run: what is emptied must not be published by the next run of another pipeline.
async fn take_back(
    context: &RunContext,
    held: &[HeldPipeline<'_>],
    published: Option<&RunRecord>,
    run_id: &str,
) {
    for held in held {
        let (context, pipeline) = (held.context(context), held.pipeline);
        let statements = held.statements;
        let restored = restore::restore(&context, pipeline, statements, published, run_id).await;
        if let Err(failed) = restored {
            tracing::warn!(
                pipeline = %pipeline.name,
                "its unified tables could not be taken back to the published run: {failed}"
            );
        }
    }
}

/// The error of a rebuild that was interrupted.
fn stopped() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        "interrupted before the rebuild was published",
    )
    .hint("Nothing is lost: readers have the run that was published before. `tillhouse rebuild` begins again.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted_source::{SALES, ScriptedRun};
    #[tokio::test]
    async fn a_rebuild_respects_the_lease_of_a_sync() {
        let run = ScriptedRun::new([]).await;
        let context = run.context();
        let of = |name: &str| Pipeline {
            name: name.to_owned(),
            ..run.pipeline(SALES)
        };
        let both = [of("a"), of("b")];
        let owner = ("first", "sync");
        let taken = RunLeases::take(
            (&context.warehouse, &context.cancel),
            &["b"],
            owner,
            IfRunning::Fail,
        )
        .await;
        let (leases, _) = taken.unwrap();
        let error = rebuild(&context, &both, IfRunning::Fail).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let free = run.warehouse.ops().lease("a").await.unwrap().unwrap();
        assert!(free.record.released, "nothing of it is rebuilt");
        let report = rebuild(&context, &both, IfRunning::Skip).await.unwrap();
        assert_eq!((report.pipelines.len(), report.skipped.len()), (1, 1));
        assert!(report.published);
        leases.release().await;
        let report = rebuild(&context, &both, IfRunning::Fail).await.unwrap();
        assert_eq!((report.pipelines.len(), report.skipped.len()), (2, 0));
    }
}
