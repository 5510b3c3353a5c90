//! One sync: plan slices, read them in parallel, land, follow up what is open, unify, publish.
//!
//! Invariant: every step can be repeated. A run that stops anywhere leaves the warehouse readable at the last published run, and
//! the next run finishes its work: landed but not ledgered slices are read again and found known, landed but not unified
//! packages are unified, unified but not published tables are published.
//!
//! A failure stays where it is: a slice that fails leaves its resource's others alone, a tenant that is refused the other tenants, a resource
//! that is refused the other resources. Only what nothing came of at all fails a pipeline.

use crate::config::{Pipeline, ResourcePlan};
use crate::context::{RunContext, new_run_id};
use crate::follow::OpenRecords;
use crate::land::PackageWriter;
use crate::observer::RunEvent;
use crate::plan::SyncOptions;
use crate::publish::{self, RunKind};
use crate::read::decoder;
use crate::read_resource;
use crate::repair::{self, RecordOrigin};
use crate::report::{FailedSlice, PipelineReport, RunReport};
use crate::slices;
use crate::unify::{self, StreamingUnify};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tillhouse_lake::{KnownList, LandingOptions, PipelineLedger, RunBookkeeping};
use tillhouse_model::{Error, ErrorKind, Result};

/// Syncs pipelines, one after the other, and publishes once.
///
/// Errors when a contract or unify statement is wrong (before any request), when nothing at all can be read of a pipeline, when the
/// warehouse fails, or when the run was interrupted. Slices, tenants and resources that fail by themselves are in the report instead.
pub async fn sync(
    context: &RunContext,
    pipelines: &[Pipeline],
    options: SyncOptions,
) -> Result<RunReport> {
    let bookkeeping = Arc::new(RunBookkeeping::default());
    let done = sync_and_publish(context, pipelines, options, &bookkeeping).await;
    if done.is_err()
        && let Err(error) = bookkeeping.close(&context.warehouse.ops()).await
    {
        tracing::warn!(%error, "what was read is not noted, and is read again by the next run");
    }
    done
}

async fn sync_and_publish(
    context: &RunContext,
    pipelines: &[Pipeline],
    options: SyncOptions,
    bookkeeping: &Arc<RunBookkeeping>,
) -> Result<RunReport> {
    let clock = Instant::now();
    let started = context.warehouse.now();
    let options = SyncOptions {
        range: options.range.until(started)?,
        ..options
    };
    let run_id = new_run_id(started);
    let mut statements = Vec::with_capacity(pipelines.len());
    for pipeline in pipelines {
        statements.push(unify::check(&context.engine, pipeline).await?);
        for plan in &pipeline.resources {
            decoder(context, pipeline, plan)?;
        }
    }
    context.engine.register_warehouse(&context.warehouse);
    context.warehouse.prepare().await?;
    context.warehouse.hold();
    let reads_all = options.full && options.range.is_open();
    let origin = if reads_all {
        RecordOrigin::ProviderFull
    } else {
        RecordOrigin::ProviderIncremental
    };
    let anew = repair::prepare(context, pipelines, origin, &run_id).await?;
    let mut report = RunReport {
        run: run_id.clone(),
        ..RunReport::default()
    };
    for (pipeline, statements) in pipelines.iter().zip(&statements) {
        let at = |e: Error| e.at("pipeline", pipeline.name.clone());
        let run = RunInProgress {
            options,
            run_id: &run_id,
            now: started,
            bookkeeping,
        };
        let mut done = extract(context, pipeline, statements, run)
            .await
            .map_err(at)?;
        let stage = Instant::now();
        let mut totals = unify::UnifyTotals::default();
        unify::bring_up_to_date(context, pipeline, statements, &run_id, &mut totals)
            .await
            .map_err(at)?;
        done.take(totals);
        if done.failed.is_empty() {
            done.warnings += unify::check_counts(context, pipeline, &run_id, started)
                .await
                .map_err(at)?;
        }
        context.observer.on_event(&RunEvent::Stage {
            name: "unify",
            took: stage.elapsed(),
        });
        report.pipelines.push(done);
    }
    bookkeeping.close(&context.warehouse.ops()).await?;
    let stage = Instant::now();
    let kind = RunKind {
        command: "sync",
        rebuilt: &anew,
    };
    publish::publish(context, pipelines, kind, &run_id, started, &report).await?;
    context.observer.on_event(&RunEvent::Stage {
        name: "publish",
        took: stage.elapsed(),
    });
    report.published = true;
    report.seconds = clock.elapsed().as_secs_f64();
    Ok(report)
}

/// Run that pipelines are read in.
#[derive(Clone, Copy)]
struct RunInProgress<'a> {
    options: SyncOptions,
    run_id: &'a str,
    now: Timestamp,
    bookkeeping: &'a Arc<RunBookkeeping>,
}

async fn extract(
    context: &RunContext,
    pipeline: &Pipeline,
    statements: &unify::CheckedStatements,
    RunInProgress {
        options,
        run_id,
        now,
        bookkeeping,
    }: RunInProgress<'_>,
) -> Result<PipelineReport> {
    let stage = Instant::now();
    let mut report = PipelineReport {
        pipeline: pipeline.name.clone(),
        ..PipelineReport::default()
    };
    let ledger = context
        .warehouse
        .ops()
        .healed_ledger(&pipeline.name, run_id)
        .await?;
    if ledger.forgotten > 0 {
        tracing::warn!(pipeline = %pipeline.name, slices = ledger.forgotten, "slices that were read by a clock that was ahead are read again");
    }
    let open_rejects = context
        .warehouse
        .ops()
        .rejects(Some(&pipeline.name), true)
        .await?;
    let mut trouble = FailureTracker::default();
    for plan in &pipeline.resources {
        if let Some(error) = trouble.server_is_gone() {
            report
                .failed
                .push(FailedSlice::of(plan.resource.name, &error));
            continue;
        }
        let mut range = options.range;
        if options.full && range.from.is_none() {
            range.from = Some(plan.sync.start);
        }
        let narrowed = SyncOptions { range, ..options };
        let slices = slices::plan(pipeline, plan, &ledger.coverage, narrowed, now).await?;
        context.observer.on_event(&RunEvent::Planned {
            pipeline: pipeline.name.clone(),
            slices: slices.len(),
        });
        let live = StreamingUnify::of(context, pipeline, statements, plan, run_id)
            .await?
            .map(StreamingUnify::follow);
        let (shown, live) = live.unzip();
        let rejected = || {
            open_rejects
                .iter()
                .filter(|r| r.resource == plan.resource.name)
        };
        let rejected_keys: HashSet<String> =
            rejected().filter_map(|r| r.record_key.clone()).collect();
        let tenants = pipeline.source.tenants(plan.resource.name).await?;
        let lander = PackageWriter {
            known_lists: known_lists(&ledger, plan, &tenants, options.full),
            pipeline: pipeline.name.clone(),
            resource: plan.resource,
            table: Arc::new(
                context
                    .warehouse
                    .source_table(&pipeline.name, Arc::clone(&plan.spec)),
            ),
            ops: context.warehouse.ops(),
            bookkeeping: Arc::clone(bookkeeping),
            options: LandingOptions {
                run_id: run_id.to_owned(),
                tenants,
            },
            observer: Arc::clone(&context.observer),
            rejected_keys: Arc::new(rejected_keys),
            has_keyless_rejects: rejected().any(|r| r.record_key.is_none()),
            landed_packages: shown,
            warning_limit: Mutex::default(),
        };
        let follow = if options.range.is_open() && plan.resource.by_id {
            Some(OpenRecords::find(context, pipeline, plan, now).await?)
        } else {
            None
        };
        let (tally, failure) =
            read_resource::read(context, pipeline, plan, slices, follow, lander, &mut report)
                .await?;
        trouble.note(failure)?;
        if let Some(live) = live {
            let unified = live
                .await
                .map_err(|e| Error::internal("unify failed").because(e))?;
            report.take(unified);
        }
        report.new += tally.new;
        report.changed += tally.changed;
        report.unchanged += tally.unchanged;
        report.records += tally.records;
        report.rejects += tally.rejects;
        if tally.records > 0 && tally.rejects >= tally.records {
            report.none_fitted.push(plan.resource.name.to_owned());
        }
        report.warnings += tally.warnings;
    }
    context.observer.on_event(&RunEvent::Stage {
        name: "extract",
        took: stage.elapsed(),
    });
    match trouble.first {
        Some(error) if report.slices == 0 => Err(error),
        _ => Ok(report),
    }
}

/// Lists of a resource that need not be compared where they come the same again, by tenant. A full sync compares all. Which of several tenants a
/// record belongs to may change without its list.
fn known_lists(
    ledger: &PipelineLedger,
    plan: &ResourcePlan,
    tenants: &[Option<String>],
    is_full: bool,
) -> BTreeMap<Option<String>, KnownList> {
    if is_full || (tenants.len() > 1 && plan.spec.tenant_column().is_some()) {
        return BTreeMap::new();
    }
    let of_resource = |list: &&KnownList| list.resource == plan.resource.name;
    ledger
        .lists
        .iter()
        .filter(of_resource)
        .map(|list| (list.tenant.clone(), list.clone()))
        .collect()
}

/// Failures seen in a run: resources of which nothing could be read.
#[derive(Default)]
struct FailureTracker {
    first: Option<Error>,
    /// Number of them in a row that found the server gone or failing.
    unanswered: u32,
}

impl FailureTracker {
    /// So many in a row are enough: one resource may be too much for a server, several are the server itself, and each costs minutes.
    const ENOUGH: u32 = 3;

    /// Errors where going on makes no sense.
    fn note(&mut self, failure: Option<Error>) -> Result<()> {
        let Some(error) = failure else {
            self.unanswered = 0;
            return Ok(());
        };
        match error.kind() {
            ErrorKind::Internal => return Err(error),
            ErrorKind::Unreachable | ErrorKind::Busy => self.unanswered += 1,
            _ => self.unanswered = 0,
        }
        self.first.get_or_insert(error);
        Ok(())
    }

    fn server_is_gone(&self) -> Option<Error> {
        let text = "not asked for, since the server failed with the ones before";
        (self.unanswered >= Self::ENOUGH).then(|| Error::new(ErrorKind::Unreachable, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: ErrorKind) -> Option<Error> {
        Some(Error::new(kind, format!("{kind:?}")))
    }

    #[test]
    fn a_server_that_fails_three_resources_in_a_row_is_gone() {
        use ErrorKind::{Busy, Unauthorized, Unreachable};
        for (failures, is_gone) in [
            (vec![failed(Unreachable), failed(Busy)], false),
            (
                vec![failed(Unreachable), failed(Busy), failed(Unreachable)],
                true,
            ),
            (vec![failed(Busy), failed(Busy), None, failed(Busy)], false),
            (
                vec![
                    failed(Busy),
                    failed(Busy),
                    failed(Unauthorized),
                    failed(Busy),
                ],
                false,
            ),
            (
                vec![
                    failed(Unauthorized),
                    failed(Unauthorized),
                    failed(Unauthorized),
                ],
                false,
            ),
            (
                vec![None, failed(Busy), failed(Busy), failed(Busy), failed(Busy)],
                true,
            ),
        ] {
            let mut tracker = FailureTracker::default();
            let first = failures.iter().flatten().next().map(Error::kind);
            for failure in failures {
                tracker.note(failure).unwrap();
            }
            assert_eq!(tracker.server_is_gone().is_some(), is_gone);
            assert_eq!(tracker.first.map(|error| error.kind()), first);
        }
    }

    #[test]
    fn a_fault_of_our_own_ends_the_run_at_once() {
        let mut tracker = FailureTracker::default();
        tracker.note(failed(ErrorKind::Busy)).unwrap();
        let error = tracker.note(failed(ErrorKind::Internal)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
