//! Extraction of one resource: its slices read side by side, landed, and what each came to.
//!
//! Invariant: a slice that fails leaves the others alone; a failure that every other slice of its tenant would meet stops the rest of those, and
//! stands for them in the report. What was read before a failure is landed.

use crate::config::{Pipeline, ResourcePlan};
use crate::context::RunContext;
use crate::follow::OpenRecordsQuery;
use crate::land::{PackageWriter, ResourceLandingCounts};
use crate::message::{LandingMessage, SliceReadSummary, interrupted};
use crate::observer::RunEvent;
use crate::read::SliceReader;
use crate::report::{FailedSlice, PipelineReport};
use crate::slice_attempt::key_hash;
use crate::slices::PlannedSlice;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tillhouse_lake::{KnownList, LandingOptions, LandingSummary, SourceTable};
use tillhouse_model::{Error, ErrorKind, ReadMode, Result, Slice, Window};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Outcome of one slice.
struct SliceOutcome {
    slice: Slice,
    read: Result<SliceReadSummary>,
}

/// Reads and lands a resource. Also the failure where nothing of it could be read, or not of a tenant; it is in the report already.
pub(crate) async fn read(
    context: &RunContext,
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    slices: Vec<PlannedSlice>,
    follow: Option<OpenRecordsQuery>,
    lander: PackageWriter,
    report: &mut PipelineReport,
) -> Result<(ResourceLandingCounts, Option<Error>)> {
    let (mut send, receive) = mpsc::channel(pipeline.concurrency);
    let (table, options) = (Arc::clone(&lander.table), lander.options.clone());
    let bookkeeping = Arc::clone(&lander.bookkeeping);
    let rejected_keys = Arc::clone(&lander.rejected_keys);
    let landing = tokio::spawn(lander.run(receive));
    // A failure that every other slice of its tenant would meet too stops the rest of them.
    let of_all = SliceReader::of(context, pipeline, plan)?;
    let reader = |cancel: CancellationToken| SliceReader {
        cancel,
        ..of_all.clone()
    };
    let mut readers: BTreeMap<Option<String>, Arc<SliceReader>> = BTreeMap::new();
    for PlannedSlice { slice, .. } in &slices {
        readers
            .entry(slice.tenant.clone())
            .or_insert_with(|| Arc::new(reader(context.cancel.child_token())));
    }
    let hopeless = Arc::new(AtomicBool::new(false));
    let reading = stream::iter(slices)
        .map(|PlannedSlice { slice, read_by }| {
            let (reader, mut send) = (readers.get(&slice.tenant).map(Arc::clone), send.clone());
            let (observer, hopeless) = (Arc::clone(&context.observer), Arc::clone(&hopeless));
            let turns = Arc::clone(&context.shared.slices);
            async move {
                // Nobody closes it.
                let _turn = turns.acquire().await;
                let Some(reader) = reader else {
                    let read = Err(Error::internal("a slice without a reader"));
                    return SliceOutcome { slice, read };
                };
                let read = match reader.read_slice(&slice, read_by, &mut send).await {
                    Ok(read) => {
                        let complete = LandingMessage::Complete(Box::new(read.clone()));
                        send.send(complete)
                            .await
                            .map(|()| read)
                            .map_err(|_| interrupted())
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = &read {
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
                    complete: read.is_ok(),
                });
                SliceOutcome { slice, read }
            }
        })
        .buffer_unordered(pipeline.concurrency)
        .collect::<Vec<SliceOutcome>>();
    // The provider and the store answer meanwhile.
    let finding = async {
        match follow {
            Some(query) => query.answer().await.map(Some),
            None => Ok(None),
        }
    };
    let (outcomes, open) = tokio::join!(reading, finding);
    let (open, unknown) = match open {
        Ok(open) => (open, None),
        Err(error) => (None, Some(error)),
    };
    let mut followed = Ok(0);
    if let Some(open) = open
        && !hopeless.load(Ordering::Relaxed)
        && !context.cancel.is_cancelled()
    {
        let window = Window::new(plan.sync.start, context.warehouse.now())?;
        let slice = Slice {
            resource: plan.resource.name.to_owned(),
            tenant: None,
            window,
        };
        let _turn = context.shared.slices.acquire().await;
        followed = open
            .follow(
                &reader(context.cancel.child_token()),
                (&table, &rejected_keys),
                &slice,
                &mut send,
            )
            .await;
    }
    drop(send);
    let mut tally = landing
        .await
        .map_err(|e| Error::internal("landing failed").because(e))??;
    if context.cancel.is_cancelled() {
        return Err(interrupted());
    }
    // What was read is landed all the same.
    if let Some(error) = unknown {
        return Err(error);
    }
    // Lists that are as they were miss nothing that they had.
    if plan.resource.read_mode == ReadMode::FullRefresh && tally.is_compared {
        context.shared.check_lease().await?;
        if let Some(marked) = write_tombstones(&table, &options, &outcomes).await? {
            tally.changed += marked.changed;
            // Nothing came between landing and this: the table holds what the lists had, and nothing else that counts.
            if marked.changed == 0 && tally.version == Some(marked.version) {
                bookkeeping.add_lists(lists(&pipeline.name, marked.version, &outcomes));
            }
        }
    }
    let mut failure = None;
    let mut tenants: BTreeMap<Option<String>, Vec<SliceOutcome>> = BTreeMap::new();
    for outcome in outcomes {
        tenants
            .entry(outcome.slice.tenant.clone())
            .or_default()
            .push(outcome);
    }
    for (tenant, outcomes) in tenants {
        let complete = outcomes
            .iter()
            .filter(|outcome| outcome.read.is_ok())
            .count() as u64;
        report.slices += complete;
        let mut failed: Vec<(Slice, Error)> = outcomes
            .into_iter()
            .filter_map(|SliceOutcome { slice, read }| Some((slice, read.err()?)))
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

/// The lists of a resource that were read whole, as far as they can be known again.
fn lists(pipeline: &str, version: u64, outcomes: &[SliceOutcome]) -> Vec<KnownList> {
    let list = |SliceOutcome { slice, read }: &SliceOutcome| {
        Some(KnownList {
            pipeline: pipeline.to_owned(),
            resource: slice.resource.clone(),
            tenant: slice.tenant.clone(),
            fingerprint: read.as_ref().ok()?.fingerprint.clone()?,
            version,
        })
    };
    outcomes.iter().filter_map(list).collect()
}

/// Writes tombstones of what a resource that was read by full refresh no longer has. Only a
/// reading that is known to be complete can miss something: `None` where it is not.
async fn write_tombstones(
    table: &SourceTable,
    options: &LandingOptions,
    outcomes: &[SliceOutcome],
) -> Result<Option<LandingSummary>> {
    let mut present: HashSet<u128> = HashSet::new();
    let mut as_of = None;
    for SliceOutcome { read, .. } in outcomes {
        let Ok(SliceReadSummary {
            keys: Some(keys),
            read_at,
            ..
        }) = read
        else {
            return Ok(None);
        };
        present.extend(keys);
        as_of = Some(as_of.map_or(*read_at, |known: Timestamp| known.min(*read_at)));
    }
    let Some(as_of) = as_of else { return Ok(None) };
    table
        .write_tombstones(|key| present.contains(&key_hash(key)), as_of, options)
        .await
        .map(Some)
}

#[cfg(test)]
#[path = "read_resource_tests.rs"]
mod tests;
