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

use crate::config::{Pipeline, RequestedPipeline};
use crate::context::{RunContext, new_run_id};
use crate::extraction::{PipelineBefore, PipelineRun};
use crate::held_lease::{HeldLease, check_leases};
use crate::lease::{LeaseOutcome, RunLeases, SeenLeases};
use crate::message::interrupted;
use crate::observer::RunEvent;
use crate::plan::SyncOptions;
use crate::publish::{self, RunKind};
use crate::read::decoder;
use crate::record_origin::RecordOrigin;
use crate::repair::{self, PreparedRun};
use crate::report::{PipelineReport, RunReport, SkippedPipeline};
use crate::restore;
use crate::unify;
use crate::warehouse_before::WarehouseBefore;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tillhouse_lake::{UnnotedRun, Warehouse};
use tillhouse_model::{Error, Result};
use tokio_util::task::AbortOnDropHandle;

/// Syncs pipelines side by side, and publishes once.
///
/// Errors when no pipeline could be synced (where the contracts or unify statements of all of them are wrong, before any request to a source), when the warehouse
/// fails, or when the run was interrupted. Slices, tenants, resources and pipelines that fail by themselves are in the report instead.
pub async fn sync(
    context: &RunContext,
    pipelines: &[Pipeline],
    options: SyncOptions,
) -> Result<RunReport> {
    let requests = pipelines.iter().map(|pipeline| SyncRequest {
        name: &pipeline.name,
        pipeline: Ok(pipeline),
    });
    sync_requests(context, requests.collect(), options).await
}

/// As [`sync`], where some pipelines may have a configuration that is wrong: these are in the report as failed.
pub async fn sync_valid(
    context: &RunContext,
    pipelines: &[RequestedPipeline],
    options: SyncOptions,
) -> Result<RunReport> {
    let requests = pipelines.iter().map(|requested| SyncRequest {
        name: &requested.name,
        pipeline: requested.pipeline.as_ref().map_err(Error::clone),
    });
    sync_requests(context, requests.collect(), options).await
}

/// A pipeline that was asked for, or what is wrong with its configuration.
struct SyncRequest<'a> {
    name: &'a str,
    pipeline: Result<&'a Pipeline>,
}

async fn sync_requests(
    context: &RunContext,
    requests: Vec<SyncRequest<'_>>,
    options: SyncOptions,
) -> Result<RunReport> {
    let started = context.warehouse.now();
    // The store answers while statements are planned.
    let (seen, noted) = look_ahead(&context.warehouse);
    let context = &context.for_run();
    let run = SyncRun {
        context,
        options: SyncOptions {
            range: options.range.until(started)?,
            ..options
        },
        run_id: new_run_id(started),
        started,
        clock: Instant::now(),
    };
    let checking = requests.into_iter().map(async |request| {
        let checked = match request.pipeline {
            Ok(pipeline) => check(context, pipeline)
                .await
                .map(|checked| (pipeline, checked)),
            Err(error) => Err(error),
        };
        (request.name, checked)
    });
    let checked = futures::future::join_all(checking).await;
    let valid: Vec<&Pipeline> = checked
        .iter()
        .filter_map(|(_, checked)| checked.as_ref().ok().map(|(pipeline, _)| *pipeline))
        .collect();
    if valid.is_empty() && !checked.is_empty() {
        let wrong = checked.into_iter().filter_map(|(_, checked)| checked.err());
        return Err(Error::combine(wrong.collect()));
    }
    context.engine.register_warehouse(&context.warehouse);
    context.warehouse.prepare().await?;
    let key = &context.project.privacy_key;
    let warehouse = &context.warehouse;
    warehouse
        .keep_privacy_key(key, run.options.new_privacy_key)
        .await?;
    let names: Vec<&str> = valid.iter().map(|p| p.name.as_str()).collect();
    let owner = (run.run_id.as_str(), "sync");
    // Whoever looked may have died: then they are looked at now.
    let seen = seen.await.ok().flatten();
    let (leases, outcomes) = RunLeases::take_after(
        seen,
        (&context.warehouse, &context.cancel),
        &names,
        owner,
        run.options.if_running,
    )
    .await?;
    // Its outcome is for whoever opens the tables.
    let _ = noted.await;
    context.warehouse.hold(publish::tables_of(&valid));
    let mut outcomes = outcomes.into_iter();
    let mut turns = Vec::with_capacity(checked.len());
    for (name, checked) in &checked {
        turns.push(match checked {
            Ok((pipeline, statements)) => PipelineTurn::Valid {
                pipeline,
                statements,
                lease: outcomes
                    .next()
                    .ok_or_else(|| Error::internal("a pipeline has no lease, and no reason"))?,
            },
            Err(error) => PipelineTurn::Refused(name, error.clone()),
        });
    }
    let outcome = run.of(turns).await;
    if outcome.is_err()
        && let Err(error) = context.shared.notes.close(&context.warehouse.ops()).await
    {
        tracing::warn!(%error, "what was read is not noted, and is read again by the next run");
    }
    let (outcome, unnoted) = match outcome {
        Ok((report, unnoted)) => (Ok(report), unnoted),
        Err(error) => (Err(error), None),
    };
    // The run is published: neither needs the other.
    let noting = async {
        if let Some(unnoted) = unnoted {
            unnoted.note().await;
        }
    };
    tokio::join!(leases.release(), noting);
    outcome
}

/// Begins to read, side by side, what is wanted next: the leases, as far as they can be read, and the note of the newest run.
fn look_ahead(
    warehouse: &Warehouse,
) -> (AbortOnDropHandle<Option<SeenLeases>>, AbortOnDropHandle<()>) {
    let (of_leases, of_note) = (warehouse.ops(), warehouse.ops());
    let seen = tokio::spawn(async move { SeenLeases::read(&of_leases).await.ok() });
    let noted = tokio::spawn(async move { of_note.read_note_ahead().await });
    (AbortOnDropHandle::new(seen), AbortOnDropHandle::new(noted))
}

/// Begins to log in at a pipeline's source. What comes of it is told to whoever asks for the first page.
fn log_in_ahead(pipeline: &Pipeline) -> AbortOnDropHandle<Result<()>> {
    let source = Arc::clone(&pipeline.source);
    AbortOnDropHandle::new(tokio::spawn(async move { source.log_in().await }))
}

/// Plans a pipeline's statements and decoders, before any request.
async fn check(context: &RunContext, pipeline: &Pipeline) -> Result<unify::CheckedStatements> {
    let statements = unify::check(&context.engine, pipeline).await?;
    for plan in &pipeline.resources {
        decoder(context, pipeline, plan)?;
    }
    Ok(statements)
}

/// Pipeline of a run.
enum PipelineTurn<'a> {
    /// One that can be worked on, and the outcome of asking for its lease.
    Valid {
        pipeline: &'a Pipeline,
        statements: &'a unify::CheckedStatements,
        lease: LeaseOutcome,
    },
    /// One whose configuration, contract or statements are wrong, by name.
    Refused(&'a str, Error),
}

impl<'a> PipelineTurn<'a> {
    /// The pipeline, if the run may write it.
    fn held(&self) -> Option<&'a Pipeline> {
        match self {
            Self::Valid {
                pipeline,
                lease: LeaseOutcome::Held(..),
                ..
            } => Some(pipeline),
            _ => None,
        }
    }

    /// The pipeline with its statements, if the run may write it.
    fn checked(&self) -> Option<(&'a Pipeline, &'a unify::CheckedStatements)> {
        match self {
            Self::Valid {
                pipeline,
                statements,
                lease: LeaseOutcome::Held(..),
            } => Some((*pipeline, *statements)),
            _ => None,
        }
    }
}

/// One sync.
struct SyncRun<'a> {
    context: &'a RunContext,
    options: SyncOptions,
    run_id: String,
    started: Timestamp,
    clock: Instant,
}

impl SyncRun<'_> {
    /// Works on all pipelines and publishes once; the run is still to be noted.
    async fn of(&self, turns: Vec<PipelineTurn<'_>>) -> Result<(RunReport, Option<UnnotedRun>)> {
        let context = self.context;
        let mut report = RunReport {
            run: self.run_id.clone(),
            ..RunReport::default()
        };
        let mut held: Vec<&Pipeline> = turns.iter().filter_map(PipelineTurn::held).collect();
        let origin = match self.options.range.is_open() {
            true if self.options.full => RecordOrigin::ProviderFull,
            true => RecordOrigin::ProviderIncremental,
            false => RecordOrigin::ProviderRange,
        };
        // The sources give out their tokens while the store answers.
        let _logins: Vec<_> = held.iter().map(|pipeline| log_in_ahead(pipeline)).collect();
        let mut before = match held.is_empty() {
            true => WarehouseBefore::default(),
            false => WarehouseBefore::read(context, &held, origin, &self.run_id).await?,
        };
        self.take_back(&turns, &mut before.prepared).await?;
        let anew = &before.prepared.anew;
        let turns = turns.into_iter().map(|turn| self.pipeline(turn, &before));
        let outcomes = futures::future::join_all(turns);
        let mut errors: Vec<(usize, Error)> = Vec::new();
        let mut is_torn = false;
        // Shown as they were published: another run may be writing them by now, or an earlier one has left half a step.
        let mut behind: BTreeSet<String> = BTreeSet::new();
        for outcome in outcomes.await {
            match outcome {
                PipelineOutcome::Torn(done, error) => {
                    is_torn = true;
                    let error = error.replacing("pipeline", done.pipeline.clone());
                    errors.push((report.pipelines.len(), error));
                    report.pipelines.push(*done);
                }
                PipelineOutcome::Done(done, lease) => {
                    // Those that were done early have waited for the others.
                    let failure = match lease {
                        Ok(lease) => {
                            let lost = lease.check().await.err();
                            behind.extend(lost.iter().map(|_| done.pipeline.clone()));
                            lost
                        }
                        Err(error) => Some(error),
                    };
                    let at = |error: Error| error.replacing("pipeline", done.pipeline.clone());
                    errors.extend(failure.map(|error| (report.pipelines.len(), at(error))));
                    report.pipelines.push(*done);
                }
                PipelineOutcome::Behind(done, error) => {
                    behind.insert(done.pipeline.clone());
                    let error = error.replacing("pipeline", done.pipeline.clone());
                    errors.push((report.pipelines.len(), error));
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
        // A table emptied to be filled anew must not be published half full.
        is_torn |= errors.iter().any(|(at, _)| is_anew(*at));
        if !errors.is_empty() && (errors.len() == report.pipelines.len() || is_torn) {
            let errors = errors.into_iter().map(|(_, error)| error).collect();
            return Err(Error::combine(errors));
        }
        if report.pipelines.is_empty() {
            return Ok((report, None));
        }
        for (at, error) in &errors {
            report.pipelines[*at].fail(error);
        }
        held.retain(|pipeline| !behind.contains(&pipeline.name));
        let ops = context.warehouse.ops();
        context.shared.notes.flush_rows(&ops).await?;
        let stage = Instant::now();
        let kind = RunKind {
            command: "sync",
            rebuilt: anew,
            let_be: &before.prepared.let_be,
        };
        let publishing = async {
            for done in report.pipelines.iter_mut().filter(|done| done.rejects > 0) {
                done.open_rejects = ops.rejects(Some(&done.pipeline), true).await?.len() as u64;
            }
            publish::publish(context, &held, kind, &self.run_id, self.started, &report).await
        };
        // The coverage is only folded for the next run to read less: what counts is in the ledger.
        let (unnoted, ()) = tokio::join!(publishing, context.shared.notes.fold(&ops));
        let unnoted = unnoted?;
        context.observer.on_event(&RunEvent::Stage {
            pipeline: None,
            name: "publish",
            took: stage.elapsed(),
        });
        report.published = true;
        report.seconds = self.clock.elapsed().as_secs_f64();
        Ok((report, unnoted))
    }

    /// Empties unified tables of pipelines whose source tables are older, so that they are filled anew from what these have. A pipeline of
    /// which that cannot be told lands nothing.
    async fn take_back(
        &self,
        turns: &[PipelineTurn<'_>],
        prepared: &mut PreparedRun,
    ) -> Result<()> {
        let is_left = |name: &str| {
            prepared.anew.iter().any(|anew| anew == name) || prepared.refusal_of(name).is_some()
        };
        let checked = turns.iter().filter_map(PipelineTurn::checked);
        let looking = checked
            .filter(|(pipeline, _)| !is_left(&pipeline.name))
            .map(async |(pipeline, statements)| {
                let found = unify::ahead_of_source(self.context, pipeline, statements).await;
                (pipeline, found)
            });
        let found = futures::future::join_all(looking).await;
        for (pipeline, found) in found {
            let name = pipeline.name.clone();
            match found {
                Ok(None) => {}
                Ok(Some(ahead)) => {
                    tracing::warn!(
                        "{ahead}: the source table was put back from an older copy, and what unified tables hold of {name} is \
                         made anew from it"
                    );
                    check_leases(&self.run_id).await?;
                    repair::clear(self.context, pipeline, &self.run_id).await?;
                    prepared.anew.push(name);
                }
                Err(error) => prepared.refused.push((name, error)),
            }
        }
        Ok(())
    }

    /// One pipeline's part of the run, with the error that ended it.
    async fn pipeline(&self, turn: PipelineTurn<'_>, before: &WarehouseBefore) -> PipelineOutcome {
        let of = |name: &str| PipelineReport {
            pipeline: name.to_owned(),
            ..PipelineReport::default()
        };
        let (pipeline, statements, lease) = match turn {
            PipelineTurn::Valid {
                pipeline,
                statements,
                lease,
            } => (pipeline, statements, lease),
            PipelineTurn::Refused(name, error) => {
                return PipelineOutcome::Done(Box::new(of(name)), Err(error));
            }
        };
        let mut done = of(&pipeline.name);
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
        if let Some(error) = before.prepared.refusal_of(&pipeline.name) {
            return PipelineOutcome::Behind(Box::new(done), error);
        }
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
        };
        let outcome = part.run(before, &mut done).await;
        // A pipeline that was stopped since its lease was lost says so.
        let reason = |error: Error| lease.loss().unwrap_or(error);
        match outcome {
            Ok(()) => PipelineOutcome::Done(Box::new(done), Ok(lease)),
            Err(PartFailure::Whole(error)) => {
                PipelineOutcome::Done(Box::new(done), Err(reason(error)))
            }
            Err(PartFailure::Behind(error)) => {
                PipelineOutcome::Behind(Box::new(done), reason(error))
            }
            Err(PartFailure::Torn(error)) => PipelineOutcome::Torn(Box::new(done), reason(error)),
        }
    }
}

/// Failure of one pipeline's part of a run.
enum PartFailure {
    /// Its unified tables belong together.
    Whole(Error),
    /// They were not brought to what has landed: an earlier run may have left half of a step.
    Behind(Error),
    /// They do not, and must not be published.
    Torn(Error),
}

/// Outcome of one pipeline's part of a run.
enum PipelineOutcome {
    /// It was done, under this lease, or ended by an error.
    Done(Box<PipelineReport>, Result<Arc<HeldLease>>),
    /// It was ended by an error before its unified tables were brought up to date.
    Behind(Box<PipelineReport>, Error),
    /// It was ended by an error that left its unified tables at different packages.
    Torn(Box<PipelineReport>, Error),
    /// It was left out.
    Skipped(SkippedPipeline),
}

impl PipelineRun<'_> {
    /// Bookkeeping of the pipeline before it is read.
    async fn before(&self, warehouse: &WarehouseBefore) -> Result<PipelineBefore> {
        let (ops, name) = (self.context.warehouse.ops(), &self.pipeline.name);
        let (ledger, open_rejects, fingerprints) = tokio::join!(
            warehouse.ledger(&ops),
            ops.rejects(Some(name), true),
            warehouse.fingerprints(&ops, name),
        );
        let mut read = ops.healed_ledger(ledger?, name, self.run_id).await?;
        // A list that comes as it came last is not compared: what the table had of it may be lost.
        if warehouse.prepared.anew.contains(name) {
            read.lists.clear();
        }
        Ok(PipelineBefore {
            read,
            open_rejects: open_rejects?,
            fingerprints,
        })
    }

    /// Extracts and unifies. What landed is unified also where something else could not be read; where it cannot be, readers get what the run has
    /// that was published `before`.
    async fn run(
        &self,
        before: &WarehouseBefore,
        report: &mut PipelineReport,
    ) -> Result<(), PartFailure> {
        let Self {
            context,
            pipeline,
            statements,
            run_id,
            now,
            ..
        } = *self;
        let known = self.before(before).await;
        let known = known.map_err(PartFailure::Behind)?;
        let extracted = self.extract(&known, report).await;
        // Whoever was stopped unifies nothing more: the next run does, or the one that has taken the lease over.
        let is_stopped = || context.cancel.is_cancelled();
        let ops = context.warehouse.ops();
        // Of what has landed, and of that alone.
        let keeping = ops.keep_fingerprints(&known.fingerprints);
        let extracted = match extracted {
            Err(error) if is_stopped() => {
                keeping.await;
                return Err(PartFailure::Behind(error));
            }
            extracted => extracted,
        };
        let stage = Instant::now();
        let mut totals = unify::UnifyTotals::default();
        let unifying = unify::bring_up_to_date(context, pipeline, statements, run_id, &mut totals);
        let (unified, ()) = tokio::join!(unifying, keeping);
        report.take(totals);
        let checked = match (&extracted, &unified) {
            (Ok(()), Ok(())) if report.failed.is_empty() => {
                let run = (run_id, now);
                unify::check_counts(context, pipeline, &known.read, run).await
            }
            _ => Ok(0),
        };
        if let Err(error) = unified {
            // The first reason is the one that is told.
            let error = extracted.err().unwrap_or(error);
            if is_stopped() {
                return Err(PartFailure::Behind(error));
            }
            let published = before.prepared.published.as_ref();
            let restored = restore::restore(context, pipeline, statements, published, run_id).await;
            return Err(match restored {
                Ok(()) => PartFailure::Whole(error),
                Err(failed) => {
                    tracing::warn!(
                        pipeline = %pipeline.name,
                        "what was unified before the failure cannot be taken back, so nothing is published: {failed}"
                    );
                    PartFailure::Torn(error)
                }
            });
        }
        extracted.map_err(PartFailure::Whole)?;
        report.warnings += checked.map_err(PartFailure::Whole)?;
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
