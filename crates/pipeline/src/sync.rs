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
use crate::land::{PackageWriter, ResourceLandingCounts};
use crate::message::{LandingMessage, SliceReadSummary, interrupted};
use crate::observer::RunEvent;
use crate::plan::{self, SyncRange};
use crate::publish::{self, RunKind};
use crate::read::{SliceReader, decoder, key_hash};
use crate::repair::{self, RecordOrigin};
use crate::report::{FailedSlice, PipelineReport, RunReport};
use crate::unify::{self, StreamingUnify};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tillhouse_lake::{LandingOptions, SliceRow, SourceTable, Warehouse};
use tillhouse_model::{
    Coverage, Error, ErrorKind, ProblemList, ReadBy, ReadMode, Resource, Result, Slice, Window,
    time,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Options of a sync.
#[derive(Debug, Clone, Copy, Default)]
pub struct SyncOptions {
    /// Read only this, known or not.
    pub range: SyncRange,
    /// Read everything again, and look for known versions everywhere.
    pub full: bool,
    /// No limit on slices: without it, more than [`MOST_SLICES`] slices of a resource are an
    /// error that says how many.
    pub allow_many_slices: bool,
}

/// So many slices of a resource are read without a question: twenty-seven years, day by day.
pub const MOST_SLICES: u64 = 10_000;

/// Syncs pipelines, one after the other, and publishes once.
///
/// Errors when a contract or unify statement is wrong (before any request), when nothing at all can be read of a pipeline, when the
/// warehouse fails, or when the run was interrupted. Slices, tenants and resources that fail by themselves are in the report instead.
pub async fn sync(
    context: &RunContext,
    pipelines: &[Pipeline],
    options: SyncOptions,
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
        let mut done = extract(context, pipeline, statements, options, &run_id, started)
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

async fn extract(
    context: &RunContext,
    pipeline: &Pipeline,
    statements: &unify::CheckedStatements,
    options: SyncOptions,
    run_id: &str,
    now: Timestamp,
) -> Result<PipelineReport> {
    let stage = Instant::now();
    let mut report = PipelineReport {
        pipeline: pipeline.name.clone(),
        ..PipelineReport::default()
    };
    let (ledger, ahead) = context
        .warehouse
        .ops()
        .healed_slices(&pipeline.name, run_id)
        .await?;
    if ahead > 0 {
        tracing::warn!(pipeline = %pipeline.name, slices = ahead, "slices that were read by a clock that was ahead are read again");
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
        let slices = slices(
            pipeline,
            plan,
            &ledger,
            (range, options.allow_many_slices),
            now,
        )
        .await?;
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
        let lander = PackageWriter {
            pipeline: pipeline.name.clone(),
            resource: plan.resource,
            table: Arc::new(
                context
                    .warehouse
                    .source_table(&pipeline.name, Arc::clone(&plan.spec)),
            ),
            ops: context.warehouse.ops(),
            options: LandingOptions {
                run_id: run_id.to_owned(),
                tenants: pipeline.source.tenants(plan.resource.name).await?,
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
            read_resource(context, pipeline, plan, slices, follow, lander, &mut report).await?;
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

/// Failures seen in a run: resources of which nothing could be read.
#[derive(Default)]
struct FailureTracker {
    first: Option<Error>,
    /// How many of them in a row found the server gone or failing.
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

/// Errors with [`ErrorKind::Config`] for every resource of a pipeline that would be read from a moment that has not come yet, or so far back that a sync would ask
/// for `--yes`. What was read before is taken from a warehouse, where there is one.
pub async fn check_starts(
    pipeline: &Pipeline,
    warehouse: Option<&Warehouse>,
    now: Timestamp,
) -> Result<()> {
    let ledger = match warehouse {
        Some(warehouse) => warehouse.ops().slices(&pipeline.name).await?,
        None => Vec::new(),
    };
    let check = |plan: &ResourcePlan| {
        check_start(plan, now)?;
        if plan.resource.read_mode == ReadMode::FullRefresh {
            return Ok(());
        }
        // The tenants that were read so far: a provider is not asked for those there are.
        let known = ledger
            .iter()
            .filter(|row| row.resource == plan.resource.name)
            .map(|row| row.tenant.as_deref());
        let mut tenants: Vec<Option<&str>> = known.collect::<HashSet<_>>().into_iter().collect();
        if tenants.is_empty() {
            tenants.push(None);
        }
        let count = |tenant: &Option<&str>| {
            plan::count_windows(
                &plan.sync,
                &coverage(&ledger, plan.resource, *tenant),
                SyncRange::default(),
                now,
            )
        };
        let planned = tenants.iter().map(count).sum::<Result<u64>>()?;
        if planned > MOST_SLICES {
            Err(too_many(plan, SyncRange::default(), planned))
        } else {
            Ok(())
        }
    };
    let mut problems = ProblemList::default();
    for plan in &pipeline.resources {
        problems.keep(check(plan));
    }
    problems.or(Some(()))
}

fn check_start(plan: &ResourcePlan, now: Timestamp) -> Result<()> {
    if plan.sync.start < now {
        return Ok(());
    }
    let text = format!(
        "the `start` of sync, {}, lies in the future",
        plan.sync.start
    );
    Err(Error::config(text).at("resource", plan.resource.name).hint(
        "Set it to the provider's first day with you; nothing that happened before it is read.",
    ))
}

/// Everything that a resource has to be asked for now, and by which time.
async fn slices(
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    ledger: &[SliceRow],
    (range, however_many): (SyncRange, bool),
    now: Timestamp,
) -> Result<Vec<(Slice, ReadBy)>> {
    let resource = plan.resource;
    let (mut all, mut planned) = (Vec::new(), 0_u64);
    if range.is_open() {
        check_start(plan, now)?;
    }
    for tenant in pipeline.source.tenants(resource.name).await? {
        let of = |window| Slice {
            resource: resource.name.to_owned(),
            tenant: tenant.clone(),
            window,
        };
        if resource.read_mode == ReadMode::FullRefresh {
            all.push((of(plan::full_window(&plan.sync, now)?), resource.read_by));
            continue;
        }
        let coverage = coverage(ledger, resource, tenant.as_deref());
        planned = planned.saturating_add(plan::count_windows(&plan.sync, &coverage, range, now)?);
        if planned > MOST_SLICES && !however_many {
            return Err(too_many(plan, range, planned));
        }
        let windows = plan::windows(&plan.sync, &coverage, range, now)?;
        all.extend(
            windows
                .into_iter()
                .map(|window| (of(window), resource.read_by)),
        );
        if range.is_open() {
            all.extend(
                coverage
                    .change_window_to_read(now)
                    .map(|window| (of(window), ReadBy::ChangeTime)),
            );
        }
    }
    Ok(all)
}

/// That a start lies so far back that it was hardly meant.
fn too_many(plan: &ResourcePlan, range: SyncRange, planned: u64) -> Error {
    let (from, slice) = (range.from.unwrap_or(plan.sync.start), plan.sync.slice);
    let slice = time::readable(slice);
    let text = format!(
        "from {from} on, in slices of {slice}, are {planned} slices or more, each one request at least"
    );
    Error::config(text)
        .at("resource", plan.resource.name)
        .hint("Check sync.start (or --from): the provider's first day with you is early enough. A longer sync.slice makes fewer; --yes reads them all.")
}

/// What was read of a resource of a tenant.
fn coverage(ledger: &[SliceRow], resource: &Resource, tenant: Option<&str>) -> Coverage {
    let ours = |row: &&SliceRow| row.resource == resource.name && row.tenant.as_deref() == tenant;
    Coverage::new(
        resource.read_by,
        resource.follows_changes,
        ledger.iter().filter(ours).map(SliceRow::as_read),
    )
}

/// Reads and lands a resource. Also the failure where nothing of it could be read, or not of a tenant; it is in the report already.
async fn read_resource(
    context: &RunContext,
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    slices: Vec<(Slice, ReadBy)>,
    follow: Option<OpenRecords>,
    lander: PackageWriter,
    report: &mut PipelineReport,
) -> Result<(ResourceLandingCounts, Option<Error>)> {
    let (send, receive) = mpsc::channel(pipeline.concurrency);
    let (table, options) = (Arc::clone(&lander.table), lander.options.clone());
    let landing = tokio::spawn(lander.run(receive));
    // A failure that every other slice of its tenant would meet too stops the rest of them.
    let of_all = SliceReader::of(context, pipeline, plan)?;
    let reader = |cancel: CancellationToken| SliceReader {
        cancel,
        ..of_all.clone()
    };
    let mut readers: BTreeMap<Option<String>, Arc<SliceReader>> = BTreeMap::new();
    for (slice, _) in &slices {
        readers
            .entry(slice.tenant.clone())
            .or_insert_with(|| Arc::new(reader(context.cancel.child_token())));
    }
    let hopeless = Arc::new(AtomicBool::new(false));
    let outcomes: Vec<(Slice, Result<SliceReadSummary>)> = stream::iter(slices)
        .map(|(slice, by)| {
            let (reader, send) = (readers.get(&slice.tenant).map(Arc::clone), send.clone());
            let (observer, hopeless) = (Arc::clone(&context.observer), Arc::clone(&hopeless));
            async move {
                let Some(reader) = reader else {
                    return (slice, Err(Error::internal("a slice without a reader")));
                };
                let outcome = match reader.read_slice(&slice, by, &send).await {
                    Ok(read) => {
                        let complete = LandingMessage::Complete(slice.clone(), read.clone());
                        send.send(complete)
                            .await
                            .map(|()| read)
                            .map_err(|_| interrupted())
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = &outcome {
                    if error.kind() != ErrorKind::Interrupted {
                        tracing::warn!(%slice, "slice failed: {error}");
                    }
                    if matches!(
                        error.kind(),
                        ErrorKind::Unauthorized | ErrorKind::Config | ErrorKind::Internal
                    ) {
                        hopeless.store(true, Ordering::Relaxed);
                        reader.cancel.cancel();
                    }
                }
                observer.on_event(&RunEvent::SliceDone {
                    complete: outcome.is_ok(),
                });
                (slice, outcome)
            }
        })
        .buffer_unordered(pipeline.concurrency)
        .collect()
        .await;
    let mut followed = Ok(0);
    if let Some(open) = follow
        && !hopeless.load(Ordering::Relaxed)
        && !context.cancel.is_cancelled()
    {
        let window = Window::new(plan.sync.start, context.warehouse.now())?;
        let slice = Slice {
            resource: plan.resource.name.to_owned(),
            tenant: None,
            window,
        };
        followed = open
            .follow(&reader(context.cancel.child_token()), &table, &slice, &send)
            .await;
    }
    drop(send);
    let mut tally = landing
        .await
        .map_err(|e| Error::internal("landing failed").because(e))??;
    if context.cancel.is_cancelled() {
        return Err(interrupted());
    }
    if plan.resource.read_mode == ReadMode::FullRefresh {
        tally.changed += write_tombstones(&table, &options, &outcomes).await?;
    }
    let mut failure = None;
    let mut tenants: BTreeMap<Option<String>, Vec<(Slice, Result<SliceReadSummary>)>> =
        BTreeMap::new();
    for (slice, outcome) in outcomes {
        tenants
            .entry(slice.tenant.clone())
            .or_default()
            .push((slice, outcome));
    }
    for (tenant, outcomes) in tenants {
        let complete = outcomes
            .iter()
            .filter(|(_, outcome)| outcome.is_ok())
            .count() as u64;
        report.slices += complete;
        let mut failed: Vec<(Slice, Error)> = outcomes
            .into_iter()
            .filter_map(|(slice, outcome)| Some((slice, outcome.err()?)))
            .collect();
        let stopped = failed
            .iter()
            .any(|(_, error)| error.kind() == ErrorKind::Interrupted);
        if complete > 0 && !stopped {
            report.failed.extend(
                failed
                    .iter()
                    .map(|(slice, error)| FailedSlice::of(slice, error)),
            );
            continue;
        }
        // One failure stands for all of them: what stopped the others, or what each of them met.
        let at = failed
            .iter()
            .position(|(_, error)| error.kind() != ErrorKind::Interrupted)
            .unwrap_or(0);
        if at < failed.len() {
            let (slice, error) = failed.swap_remove(at);
            let name = tenant.map_or_else(
                || slice.resource.clone(),
                |tenant| format!("{}/{tenant}", slice.resource),
            );
            report.failed.push(FailedSlice::of(name, &error));
            failure.get_or_insert(error);
        }
    }
    match followed {
        Ok(records) => report.followed += records,
        Err(error) => report.failed.push(FailedSlice::of(
            format!("{} by id", plan.resource.name),
            &error,
        )),
    }
    Ok((tally, failure))
}

/// Writes tombstones of what a resource that was read by full refresh no longer has. Only a
/// reading that is known to be complete can miss something.
async fn write_tombstones(
    table: &SourceTable,
    options: &LandingOptions,
    outcomes: &[(Slice, Result<SliceReadSummary>)],
) -> Result<u64> {
    let mut present: HashSet<u128> = HashSet::new();
    let mut as_of = None;
    for (_, outcome) in outcomes {
        let Ok(SliceReadSummary {
            keys: Some(keys),
            read_at,
            ..
        }) = outcome
        else {
            return Ok(0);
        };
        present.extend(keys);
        as_of = Some(as_of.map_or(*read_at, |known: Timestamp| known.min(*read_at)));
    }
    let Some(as_of) = as_of else { return Ok(0) };
    Ok(table
        .write_tombstones(|key| present.contains(&key_hash(key)), as_of, options)
        .await?
        .changed)
}
