//! One sync: plan slices, read them in parallel, land, follow up what is open, unify, publish.
//!
//! ```text
//!   leases --+--> hecone:   extract --> unify --+--> publish --> leases back
//!            +--> smartnow: extract --> unify --+
//! ```
//!
//! Invariant: every step can be repeated. A run that stops anywhere leaves the warehouse readable at the last published run, and
//! the next run finishes its work: landed but not ledgered slices are read again and found known, landed but not unified
//! packages are unified, unified but not published tables are published.
//!
//! A failure stays where it is: a slice that fails leaves its resource's others alone, a tenant that is refused the other tenants, a resource
//! that is refused the other resources, a pipeline that fails the other pipelines. Only a run of which nothing came at all fails.

use crate::config::Pipeline;
use crate::context::{RunContext, new_run_id};
use crate::extraction::PipelineRun;
use crate::lease::{HeldLease, LeaseOutcome, RunLeases};
use crate::message::interrupted;
use crate::observer::RunEvent;
use crate::plan::SyncOptions;
use crate::publish::{self, RunKind};
use crate::read::decoder;
use crate::repair::{self, RecordOrigin};
use crate::report::{PipelineReport, RunReport, SkippedPipeline};
use crate::unify;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Instant;
use tillhouse_lake::RunBookkeeping;
use tillhouse_model::{Error, Result};

/// Syncs pipelines side by side, and publishes once.
///
/// Errors when a contract or unify statement is wrong (before any request), when no pipeline could be synced, when the warehouse fails, or
/// when the run was interrupted. Slices, tenants, resources and pipelines that fail by themselves are in the report instead.
pub async fn sync(
    context: &RunContext,
    pipelines: &[Pipeline],
    options: SyncOptions,
) -> Result<RunReport> {
    let started = context.warehouse.now();
    let run = SyncRun {
        context,
        options: SyncOptions {
            range: options.range.until(started)?,
            ..options
        },
        run_id: new_run_id(started),
        started,
        clock: Instant::now(),
        bookkeeping: Arc::default(),
    };
    let mut statements = Vec::with_capacity(pipelines.len());
    for pipeline in pipelines {
        statements.push(unify::check(&context.engine, pipeline).await?);
        for plan in &pipeline.resources {
            decoder(context, pipeline, plan)?;
        }
    }
    context.engine.register_warehouse(&context.warehouse);
    context.warehouse.prepare().await?;
    let names: Vec<&str> = pipelines.iter().map(|p| p.name.as_str()).collect();
    let owner = (run.run_id.as_str(), "sync");
    let (leases, outcomes) = RunLeases::take(
        (&context.warehouse, &context.cancel),
        &names,
        owner,
        run.options.if_running,
    )
    .await?;
    context.warehouse.hold();
    let all = pipelines.iter().zip(&statements).zip(outcomes);
    let outcome = run
        .of(all
            .map(|((pipeline, statements), lease)| PipelineTurn {
                pipeline,
                statements,
                lease,
            })
            .collect())
        .await;
    if outcome.is_err()
        && let Err(error) = run.bookkeeping.close(&context.warehouse.ops()).await
    {
        tracing::warn!(%error, "what was read is not noted, and is read again by the next run");
    }
    leases.release().await;
    outcome
}

/// Pipeline of a run, and the outcome of asking for its lease.
struct PipelineTurn<'a> {
    pipeline: &'a Pipeline,
    statements: &'a unify::CheckedStatements,
    lease: LeaseOutcome,
}

/// One sync.
struct SyncRun<'a> {
    context: &'a RunContext,
    options: SyncOptions,
    run_id: String,
    started: Timestamp,
    clock: Instant,
    bookkeeping: Arc<RunBookkeeping>,
}

impl SyncRun<'_> {
    async fn of(&self, turns: Vec<PipelineTurn<'_>>) -> Result<RunReport> {
        let context = self.context;
        let mut report = RunReport {
            run: self.run_id.clone(),
            ..RunReport::default()
        };
        let is_held = |turn: &PipelineTurn<'_>| matches!(turn.lease, LeaseOutcome::Held(..));
        let held: Vec<&Pipeline> = turns
            .iter()
            .filter(|turn| is_held(turn))
            .map(|turn| turn.pipeline)
            .collect();
        let reads_all = self.options.full && self.options.range.is_open();
        let origin = if reads_all {
            RecordOrigin::ProviderFull
        } else {
            RecordOrigin::ProviderIncremental
        };
        let anew = match held.is_empty() {
            true => Vec::new(),
            false => repair::prepare(context, &held, origin, &self.run_id).await?,
        };
        let outcomes = futures::future::join_all(turns.into_iter().map(|turn| self.pipeline(turn)));
        let mut errors: Vec<(usize, Error)> = Vec::new();
        for outcome in outcomes.await {
            match outcome {
                PipelineOutcome::Done(done, lease) => {
                    // Those that were done early have waited for the others.
                    let failure = match lease {
                        Ok(lease) => lease.check().await.err(),
                        Err(error) => Some(error),
                    };
                    let at = |error: Error| error.replacing("pipeline", done.pipeline.clone());
                    errors.extend(failure.map(|error| (report.pipelines.len(), at(error))));
                    report.pipelines.push(*done);
                }
                PipelineOutcome::Skipped(skipped) => report.skipped.push(skipped),
            }
        }
        if context.cancel.is_cancelled() {
            return Err(interrupted());
        }
        report.seconds = self.clock.elapsed().as_secs_f64();
        let is_anew = |at: usize| anew.contains(&report.pipelines[at].pipeline);
        // What was emptied to be filled anew must not be published half full.
        let is_torn = errors.iter().any(|(at, _)| is_anew(*at));
        if !errors.is_empty() && (errors.len() == report.pipelines.len() || is_torn) {
            let errors = errors.into_iter().map(|(_, error)| error).collect();
            return Err(Error::combine(errors));
        }
        if report.pipelines.is_empty() {
            return Ok(report);
        }
        for (at, error) in &errors {
            report.pipelines[*at].fail(error);
        }
        self.bookkeeping.close(&context.warehouse.ops()).await?;
        let stage = Instant::now();
        let kind = RunKind {
            command: "sync",
            rebuilt: &anew,
        };
        publish::publish(context, &held, kind, &self.run_id, self.started, &report).await?;
        context.observer.on_event(&RunEvent::Stage {
            pipeline: None,
            name: "publish",
            took: stage.elapsed(),
        });
        report.published = true;
        report.seconds = self.clock.elapsed().as_secs_f64();
        Ok(report)
    }

    /// One pipeline's part of the run, with the error that ended it.
    async fn pipeline(&self, turn: PipelineTurn<'_>) -> PipelineOutcome {
        let PipelineTurn {
            pipeline,
            statements,
            lease,
        } = turn;
        let mut done = PipelineReport {
            pipeline: pipeline.name.clone(),
            ..PipelineReport::default()
        };
        let (lease, cancel) = match lease {
            LeaseOutcome::Held(lease, cancel) => (lease, cancel),
            LeaseOutcome::Refused(error) => {
                return PipelineOutcome::Done(Box::new(done), Err(error));
            }
            LeaseOutcome::Skipped(running) => {
                return PipelineOutcome::Skipped(SkippedPipeline {
                    pipeline: pipeline.name.clone(),
                    running,
                });
            }
        };
        let context = self
            .context
            .for_pipeline(pipeline, Arc::clone(&lease), cancel);
        let part = PipelineRun {
            context: &context,
            pipeline,
            statements,
            options: self.options,
            run_id: &self.run_id,
            now: self.started,
            bookkeeping: &self.bookkeeping,
        };
        let outcome = part.run(&mut done).await;
        // A pipeline that was stopped since its lease was lost says so.
        let outcome = match outcome {
            Ok(()) => Ok(lease),
            Err(error) => Err(lease.loss().unwrap_or(error)),
        };
        PipelineOutcome::Done(Box::new(done), outcome)
    }
}

/// Outcome of one pipeline's part of a run.
enum PipelineOutcome {
    /// It was done, under this lease, or ended by an error.
    Done(Box<PipelineReport>, Result<Arc<HeldLease>>),
    /// It was left out.
    Skipped(SkippedPipeline),
}

impl PipelineRun<'_> {
    async fn run(&self, report: &mut PipelineReport) -> Result<()> {
        let Self {
            context,
            pipeline,
            statements,
            run_id,
            now,
            ..
        } = *self;
        self.extract(report).await?;
        let stage = Instant::now();
        let mut totals = unify::UnifyTotals::default();
        let unified =
            unify::bring_up_to_date(context, pipeline, statements, run_id, &mut totals).await;
        report.take(totals);
        unified?;
        if report.failed.is_empty() {
            report.warnings += unify::check_counts(context, pipeline, run_id, now).await?;
        }
        context.observer.on_event(&RunEvent::Stage {
            pipeline: Some(pipeline.name.clone()),
            name: "unify",
            took: stage.elapsed(),
        });
        Ok(())
    }
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
