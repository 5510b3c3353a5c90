//! Extraction of one pipeline: its resources side by side, within what its connection allows.
//!
//! ```text
//!   parents     sales ------------------+--> done
//!   others      shops -----> done       |
//!   children                            +--> payments ------> done
//!   slices      at most `concurrency` of all of them at once; requests: the source's throttle, which is the connection's
//! ```
//!
//! Invariant: what a resource comes to does not depend on which others are read meanwhile, and the report names resources in the order of the
//! configuration. A child is read once the reading of its parents is over, well or badly, and before what the configuration names behind it: at the end of
//! all others it would be read alone. Nothing else waits, and who waits takes no place of another. Each resource's own pages are
//! landed in the order in which they came.

use crate::config::{ChildLink, Pipeline, ResourcePlan};
use crate::context::RunContext;
use crate::follow::OpenRecordsQuery;
use crate::land::{PackageWriter, ResourceLandingCounts};
use crate::observer::RunEvent;
use crate::plan::SyncOptions;
use crate::read_resource;
use crate::report::{FailedSlice, PipelineReport};
use crate::slices;
use crate::unify::{CheckedStatements, StreamingUnify};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tillhouse_lake::{
    CoverageRow, FingerprintUse, KnownList, LandingOptions, PipelineFingerprints, PipelineLedger,
    RejectRow,
};
use tillhouse_model::{Error, ErrorKind, ReadBy, ReadMode, Result};

/// One pipeline's part of a sync.
#[derive(Clone, Copy)]
pub(crate) struct PipelineRun<'a> {
    /// Context of this part.
    pub(crate) context: &'a RunContext,
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) statements: &'a CheckedStatements,
    pub(crate) options: SyncOptions,
    pub(crate) run_id: &'a str,
    /// When the run started: nothing is asked for that came later.
    pub(crate) now: Timestamp,
}

/// Bookkeeping of a pipeline as it was before the run.
pub(crate) struct PipelineBefore {
    pub(crate) read: PipelineLedger,
    pub(crate) open_rejects: Vec<RejectRow>,
    pub(crate) fingerprints: PipelineFingerprints,
}

/// Outcome of one resource.
enum ResourceOutcome {
    /// It was read, as far as it could be, with the failure where nothing came of it or of a tenant.
    Read(Box<PipelineReport>, Option<Error>),
    /// It was not asked for.
    Left(Error),
    /// An error after which going on makes no sense, for the whole pipeline.
    Fatal(Error),
}

impl PipelineRun<'_> {
    /// Reads and lands all resources; what came of them goes to `report`, also where this errors.
    ///
    /// Errors where nothing at all could be read, where the warehouse fails, and where the pipeline was stopped.
    pub(crate) async fn extract(
        &self,
        before: &PipelineBefore,
        report: &mut PipelineReport,
    ) -> Result<()> {
        let stage = Instant::now();
        let (context, pipeline) = (self.context, self.pipeline);
        let forgotten = before.read.forgotten;
        if forgotten > 0 {
            tracing::warn!(pipeline = %pipeline.name, slices = forgotten, "slices that were read by a clock that was ahead are read again");
        }
        let outcomes = self.read_all(before).await;
        let mut failure = None;
        let mut fatal = None;
        for (plan, outcome) in pipeline.resources.iter().zip(outcomes) {
            match outcome {
                Some(ResourceOutcome::Read(part, failed)) => {
                    report.absorb(*part);
                    failure = failure.or(failed);
                }
                Some(ResourceOutcome::Left(error)) => {
                    let left = FailedSlice::of(plan.resource.name, &error);
                    report.failed.push(left);
                }
                // The reason, not its echo.
                Some(ResourceOutcome::Fatal(error)) => match &fatal {
                    None => fatal = Some(error),
                    Some(known) if is_interrupted(known) && !is_interrupted(&error) => {
                        fatal = Some(error);
                    }
                    Some(_) => {}
                },
                None => {}
            }
        }
        context.observer.on_event(&RunEvent::Stage {
            pipeline: Some(pipeline.name.clone()),
            name: "extract",
            took: stage.elapsed(),
        });
        match (fatal, failure) {
            (Some(fatal), _) => Err(fatal),
            (None, Some(failure)) if report.slices == 0 => Err(failure),
            _ => Ok(()),
        }
    }

    /// The outcomes of all resources, in their order; `None` of those that a failure of the whole kept from being begun.
    async fn read_all(&self, before: &PipelineBefore) -> Vec<Option<ResourceOutcome>> {
        let resources = &self.pipeline.resources;
        let trouble = Mutex::new(FailureTracker::default());
        let tracker = || trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |resource: usize| {
            let tracker = &tracker;
            async move {
                let (is_over, is_gone) = {
                    let tracker = tracker();
                    (tracker.is_over, tracker.server_is_gone())
                };
                let outcome = if is_over {
                    None
                } else if let Some(error) = is_gone {
                    Some(ResourceOutcome::Left(error))
                } else {
                    let outcome = match self.read(&resources[resource], before).await {
                        Ok((part, failure)) => ResourceOutcome::Read(Box::new(part), failure),
                        Err(error) => ResourceOutcome::Fatal(error),
                    };
                    Some(tracker().note(outcome))
                };
                (resource, outcome)
            }
        };
        let mut outcomes: Vec<Option<ResourceOutcome>> = resources.iter().map(|_| None).collect();
        let mut waiting = reading_order(self.pipeline);
        waiting.sort_by_key(|turn| turn.resource);
        let mut over = vec![false; resources.len()];
        let mut reading = FuturesUnordered::new();
        loop {
            while reading.len() < self.pipeline.concurrency.max(1)
                && let Some(next) = waiting.iter().position(|turn| turn.has_come(&over))
            {
                reading.push(read(waiting.remove(next).resource));
            }
            let Some((resource, outcome)) = reading.next().await else {
                break;
            };
            over[resource] = true;
            outcomes[resource] = outcome;
        }
        outcomes
    }

    /// Reads and lands one resource, and unifies what can be on the way. Also the failure where nothing of it could be read, or not of a tenant.
    async fn read(
        &self,
        plan: &ResourcePlan,
        before: &PipelineBefore,
    ) -> Result<(PipelineReport, Option<Error>)> {
        let Self {
            context,
            pipeline,
            statements,
            options,
            run_id,
            now,
        } = *self;
        let mut report = PipelineReport::default();
        let mut range = options.range;
        if options.full && range.from.is_none() {
            range.from = Some(plan.sync.start);
        }
        let narrowed = SyncOptions { range, ..options };
        let slices = slices::plan(pipeline, plan, &before.read.coverage, narrowed, now).await?;
        context.observer.on_event(&RunEvent::Planned {
            pipeline: pipeline.name.clone(),
            slices: slices.len(),
        });
        let live = StreamingUnify::of(context, pipeline, statements, plan, run_id)
            .await?
            .map(StreamingUnify::follow);
        let (shown, live) = live.unzip();
        let rejected = || {
            before
                .open_rejects
                .iter()
                .filter(|r| r.resource == plan.resource.name)
        };
        let rejected_keys: HashSet<String> =
            rejected().filter_map(|r| r.record_key.clone()).collect();
        let tenants = pipeline.source.tenants(plan.resource.name).await?;
        let table = context
            .warehouse
            .source_table(&pipeline.name, Arc::clone(&plan.spec));
        // A list that is read whole has one of its own; it is known as a whole, or compared.
        let fingerprints = (plan.resource.read_mode == ReadMode::Incremental).then(|| {
            let use_of = FingerprintUse {
                recognizes: !options.full,
                adds: options.range.is_open(),
            };
            before.fingerprints.of(plan.resource.name, use_of)
        });
        let table = match &fingerprints {
            Some(fingerprints) => table.recognizing(Arc::clone(fingerprints)),
            None => table,
        };
        let lander = PackageWriter {
            known_lists: known_lists(&before.read, plan, &tenants, options.full),
            pipeline: pipeline.name.clone(),
            resource: plan.resource,
            table: Arc::new(table),
            ops: context.warehouse.ops(),
            bookkeeping: Arc::clone(&context.shared.notes),
            options: LandingOptions {
                run_id: run_id.to_owned(),
                tenants,
                whole: Default::default(),
            },
            observer: Arc::clone(&context.observer),
            rejected_keys: Arc::new(rejected_keys),
            has_open_rejects: rejected().next().is_some(),
            finds_unlisted: finds_unlisted(&before.read, plan, options, now),
            landed_packages: shown,
            warning_limit: Mutex::default(),
            shared: context.shared.clone(),
        };
        let follow = if options.range.is_open() && plan.resource.by_id {
            Some(OpenRecordsQuery::new(context, pipeline, plan, now).await?)
        } else {
            None
        };
        let (tally, failure) =
            read_resource::read(context, pipeline, plan, slices, follow, lander, &mut report)
                .await?;
        let is_whole = options.range.is_open() && report.failed.is_empty();
        if let Some(fingerprints) = fingerprints.filter(|_| is_whole) {
            fingerprints.drop_unseen();
        }
        if let Some(live) = live {
            let unified = live
                .await
                .map_err(|e| Error::internal("unify failed").because(e))?;
            report.take(unified);
        }
        let ResourceLandingCounts {
            new,
            changed,
            unchanged,
            passed_over,
            not_listed_again,
            records,
            rejects,
            listed,
            warnings,
            ..
        } = tally;
        (report.new, report.changed, report.unchanged) = (new, changed, unchanged);
        (report.passed_over, report.records, report.rejects) = (passed_over, records, rejects);
        report.not_listed_again = not_listed_again;
        report.warnings += warnings;
        if listed.is_none_fit() {
            report.none_fitted.push(plan.resource.name.to_owned());
        }
        Ok((report, failure))
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

/// True if a run looks for records of what it reads that do not come again: one that was asked for a time, or for everything, and else the first one of a UTC
/// day, since keys of the table are read for that. Where nothing was read before, nothing lacks.
fn finds_unlisted(
    ledger: &PipelineLedger,
    plan: &ResourcePlan,
    options: SyncOptions,
    now: Timestamp,
) -> bool {
    let (resource, day) = (plan.resource, |at: Timestamp| {
        at.to_zoned(TimeZone::UTC).date()
    });
    let of_resource = |row: &&CoverageRow| row.resource == resource.name;
    let rows = ledger.coverage.iter().filter(of_resource);
    let last_read = rows.map(|row| row.read.read_at).max();
    resource.read_mode == ReadMode::Incremental
        && resource.read_by == ReadBy::EventTime
        && last_read
            .is_some_and(|last| options.full || !options.range.is_open() || day(last) < day(now))
}

fn is_interrupted(error: &Error) -> bool {
    error.kind() == ErrorKind::Interrupted
}

/// A resource's turn to be read: its number, and the numbers of those that it waits for.
#[derive(Debug, PartialEq, Eq)]
struct ReadingTurn {
    resource: usize,
    after: Vec<usize>,
}

impl ReadingTurn {
    /// True if the reading of all that it waits for is `over`, which is told by their numbers.
    fn has_come(&self, over: &[bool]) -> bool {
        self.after.iter().all(|parent| over[*parent])
    }
}

/// The turns of a pipeline's resources: those first that wait for none, in the order of the configuration, then their children.
///
/// A resource waits only for those that have their turn before, so among any that are left there is one that can be read. Of resources that are one another's
/// children the first goes first.
fn reading_order(pipeline: &Pipeline) -> Vec<ReadingTurn> {
    let number = |name: &str| {
        let mut resources = pipeline.resources.iter();
        resources.position(|plan| plan.resource.name == name)
    };
    let parents: Vec<Vec<usize>> = pipeline
        .resources
        .iter()
        .enumerate()
        .map(|(own, plan)| {
            let links = pipeline.children.iter().filter(|child| {
                child.resource == plan.resource.name && matches!(child.link, ChildLink::Part { .. })
            });
            let parents = links.filter_map(|child| number(child.of));
            parents.filter(|parent| *parent != own).collect()
        })
        .collect();
    let mut turns: Vec<ReadingTurn> = Vec::with_capacity(parents.len());
    let mut left: Vec<usize> = (0..parents.len()).collect();
    while !left.is_empty() {
        let has_had = |parent: &usize| !left.contains(parent);
        let is_next = |resource: &&usize| parents[**resource].iter().all(has_had);
        let mut next: Vec<usize> = left.iter().filter(is_next).copied().collect();
        if next.is_empty() {
            next.extend(left.first());
        }
        let after = |resource: usize| parents[resource].iter().copied().filter(has_had).collect();
        turns.extend(next.iter().map(|resource| ReadingTurn {
            resource: *resource,
            after: after(*resource),
        }));
        left.retain(|resource| !next.contains(resource));
    }
    turns
}

/// Failures seen in a pipeline: resources of which nothing could be read.
#[derive(Default)]
struct FailureTracker {
    /// Number of them in a row that found the server gone or failing.
    unanswered: u32,
    /// True if no further resource is begun.
    is_over: bool,
}

impl FailureTracker {
    /// Failures in a row that are enough: one resource may be too much for a server, several are the server itself, and each costs minutes.
    const ENOUGH: u32 = 3;

    /// The outcome of a resource that was read, after which going on may make no sense.
    fn note(&mut self, outcome: ResourceOutcome) -> ResourceOutcome {
        match outcome {
            ResourceOutcome::Read(_, Some(error)) if error.kind() == ErrorKind::Internal => {
                self.is_over = true;
                ResourceOutcome::Fatal(error)
            }
            ResourceOutcome::Read(_, ref failure) => {
                match failure.as_ref().map(Error::kind) {
                    Some(ErrorKind::Unreachable | ErrorKind::Busy) => self.unanswered += 1,
                    _ => self.unanswered = 0,
                }
                outcome
            }
            ResourceOutcome::Left(_) => outcome,
            ResourceOutcome::Fatal(_) => {
                self.is_over = true;
                outcome
            }
        }
    }

    fn server_is_gone(&self) -> Option<Error> {
        let text = "not asked for, since the server failed with the ones before";
        (self.unanswered >= Self::ENOUGH).then(|| Error::new(ErrorKind::Unreachable, text))
    }
}

#[cfg(test)]
#[path = "extraction_tests.rs"]
mod tests;
