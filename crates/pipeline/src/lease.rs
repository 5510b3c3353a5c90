//! Leases of a run: taken before anything is written, renewed while it goes on, given back at its end.
//!
//! ```text
//!   released, or nobody's      taken at once
//!   its process is gone        taken at once (this machine can tell)
//!   expired by 5 minutes more  taken at once (no two clocks differ by so much)
//!   expired                    watched for as long as it is valid: taken if it is not renewed
//!   renewed lately             another run's: an error, or waited for, or let be
//!   cannot be read             as one that was renewed when the store got it
//! ```
//!
//! Invariant: a run commits only while it holds its pipelines' leases as far as it knows, and it knows by compare-and-swap, never longer ago
//! than [`FRESH`]: one that was suspended finds out before it commits. Tables are right without: every commit is a compare-and-swap of its own.

use crate::message::interrupted;
use crate::process_identity::{self, OwnerFate};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tillhouse_lake::{LeaseRecord, OpsTables, StoredLease, Warehouse};
use tillhouse_model::{Error, ErrorKind, Result};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Time from a renewal until a lease has expired.
const VALID: SignedDuration = SignedDuration::from_secs(60);
/// Pause between two renewals.
const RENEWED_EVERY: Duration = Duration::from_secs(15);
/// Age of a renewal that a commit still relies on.
const FRESH: Duration = Duration::from_secs(30);
/// Difference of two machines' clocks that is allowed for.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);
/// Pause between two looks at a lease that is waited for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Time that a process which is being ended has to give its leases back.
const PARTING: Duration = Duration::from_secs(2);

/// Behaviour where another run holds a pipeline's lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IfRunning {
    /// The pipeline fails, and says whose lease it is.
    #[default]
    Fail,
    /// Wait until it is free.
    Wait,
    /// Leave the pipeline out.
    Skip,
}

/// Holder of a pipeline's lease, as reports show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaseHolder {
    /// The run.
    pub run: String,
    /// Its command, `sync` or `rebuild`.
    pub command: String,
    /// The machine it runs on.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// When it took the lease.
    pub since: Timestamp,
    /// When it renewed it last.
    pub renewed_at: Timestamp,
    /// True if the next run may take it over: its process is gone, or it was not renewed in time.
    pub abandoned: bool,
    /// Why the lease cannot be read, with its file: nobody knows whose it is, and it was written when it seems to be renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

impl LeaseHolder {
    fn of(stored: &StoredLease, verdict: LeaseVerdict) -> Self {
        let record = &stored.record;
        Self {
            run: record.owner.run_id.clone(),
            command: record.owner.command.clone(),
            host: record.owner.host.clone(),
            pid: record.owner.pid,
            since: record.since,
            renewed_at: record.renewed_at,
            abandoned: verdict != LeaseVerdict::Held,
            damage: stored.damage.clone(),
        }
    }
}

impl std::fmt::Display for LeaseHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            run,
            command,
            host,
            pid,
            since,
            renewed_at,
            damage,
            ..
        } = self;
        if let Some(damage) = damage {
            return write!(
                f,
                "a lease that cannot be read ({damage}), written {renewed_at:.0}"
            );
        }
        write!(
            f,
            "{command} {run}, process {pid} on {host}, since {since:.0}, renewed {renewed_at:.0}"
        )
    }
}

/// Judgement of a lease that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeaseVerdict {
    /// Nobody's.
    Free,
    /// Another run's.
    Held,
    /// Another run's that is no more.
    Abandoned,
    /// Expired, if the clocks agree: watching tells.
    Doubtful,
}

fn judge(record: &LeaseRecord, now: Timestamp, fate: OwnerFate) -> LeaseVerdict {
    if record.released {
        return LeaseVerdict::Free;
    }
    let valid = SignedDuration::from_secs(i64::from(record.valid_seconds));
    let age = now.duration_since(record.renewed_at);
    let allowance = match fate {
        OwnerFate::Gone => return LeaseVerdict::Abandoned,
        OwnerFate::Here => SignedDuration::ZERO,
        OwnerFate::Unknown => CLOCKS_DIFFER,
    };
    if age > valid + allowance {
        LeaseVerdict::Abandoned
    } else if age > valid || age < -CLOCKS_DIFFER {
        LeaseVerdict::Doubtful
    } else {
        LeaseVerdict::Held
    }
}

/// Leases that this process holds.
static HELD: Mutex<Vec<Weak<HeldLease>>> = Mutex::new(Vec::new());

fn held_here() -> Vec<Arc<HeldLease>> {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.retain(|lease| lease.strong_count() > 0);
    held.iter().filter_map(Weak::upgrade).collect()
}

/// Gives back every lease that this process holds, for a process that a signal ends. It takes two seconds at most, and may be called on any
/// thread; what is not given back by then expires.
pub fn release_leases() {
    part_with(held_here());
}

fn part_with(held: Vec<Arc<HeldLease>>) {
    if held.is_empty() {
        return;
    }
    // A thread of its own: whoever calls may be on one that drives tasks.
    let parting = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            let all = futures::future::join_all(held.iter().map(|lease| lease.release()));
            let _ = runtime.block_on(async { tokio::time::timeout(PARTING, all).await });
            runtime.shutdown_background();
        }
    });
    let _ = parting.join();
}

/// Holder of the lease of a pipeline; `None` where no run writes it.
pub(crate) async fn holder(warehouse: &Warehouse, pipeline: &str) -> Result<Option<LeaseHolder>> {
    let found = warehouse.ops().lease(pipeline).await?;
    let holder = found.and_then(|found| {
        let verdict = verdict_of(&found.record, warehouse.now());
        (verdict != LeaseVerdict::Free).then(|| LeaseHolder::of(&found, verdict))
    });
    Ok(holder)
}

fn verdict_of(record: &LeaseRecord, now: Timestamp) -> LeaseVerdict {
    let holds = |run: &str| {
        held_here()
            .iter()
            .any(|lease| lease.run_id == run && lease.pipeline == record.pipeline)
    };
    judge(record, now, process_identity::fate(&record.owner, holds))
}

/// Lease of a pipeline that a run holds.
pub(crate) struct HeldLease {
    ops: OpsTables,
    pipeline: String,
    run_id: String,
    stored: tokio::sync::Mutex<StoredLease>,
    /// The last renewal: by a clock that only goes on, and by one that goes on while the machine sleeps.
    renewed: Mutex<(Instant, Timestamp)>,
    /// Why it is held no more.
    lost: OnceLock<Error>,
    /// Stops the pipeline's work.
    cancel: CancellationToken,
}

impl std::fmt::Debug for HeldLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldLease({}, {})", self.pipeline, self.run_id)
    }
}

impl HeldLease {
    /// Errors where the lease was lost; asks the store where the last renewal is too old to rely on.
    pub(crate) async fn check(&self) -> Result<()> {
        let (at, when) = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        let age = self.ops.now().duration_since(when);
        if at.elapsed() > FRESH || age.unsigned_abs() > FRESH {
            self.renew().await
        } else {
            self.lost.get().map_or(Ok(()), |lost| Err(lost.clone()))
        }
    }

    /// The reason for which it was lost.
    pub(crate) fn loss(&self) -> Option<Error> {
        self.lost.get().cloned()
    }

    async fn renew(&self) -> Result<()> {
        let mut stored = self.stored.lock().await;
        if let Some(lost) = self.lost.get() {
            return Err(lost.clone());
        }
        let (at, now) = (Instant::now(), self.ops.now());
        let next = stored.record.renewed(now);
        match self.ops.swap_lease(Some(&stored), next).await? {
            Some(next) => {
                *stored = next;
                *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = (at, now);
                Ok(())
            }
            None => Err(self.note_loss().await),
        }
    }

    /// The error of a run whose lease is another's.
    async fn note_loss(&self) -> Error {
        let error = Error::new(
            ErrorKind::Conflict,
            "this run was suspended, or could not reach the warehouse, for so long that its lease has passed on",
        )
        .at("pipeline", &self.pipeline)
        .hint("Nothing was committed since; the next `tillhouse sync` goes on from what was.");
        let now = match self.ops.lease(&self.pipeline).await {
            Ok(Some(StoredLease {
                damage: Some(damage),
                ..
            })) => format!("unknown: it cannot be read ({damage})"),
            Ok(Some(found)) => found.record.owner.to_string(),
            Ok(None) => "nobody: the lease was removed".to_owned(),
            Err(_) => "unknown".to_owned(),
        };
        let error = self.lost.get_or_init(|| error.at("holder", now)).clone();
        self.cancel.cancel();
        error
    }

    /// Gives it back. What cannot be given back expires.
    async fn release(&self) {
        let stored = self.stored.lock().await;
        let given = || Error::internal("the lease was given back").at("pipeline", &self.pipeline);
        if self.lost.get().is_some() || self.lost.set(given()).is_err() {
            return;
        }
        let next = stored.record.released(self.ops.now());
        if let Err(error) = self.ops.swap_lease(Some(&stored), next).await {
            tracing::warn!(pipeline = %self.pipeline, "the lease could not be given back, and expires: {error}");
        }
    }
}

/// Lease that is renewed for as long as this is held.
struct KeptLease {
    lease: Arc<HeldLease>,
    _keeper: AbortOnDropHandle<()>,
}

impl KeptLease {
    fn new(lease: HeldLease) -> Self {
        let lease = Arc::new(lease);
        let weak = Arc::downgrade(&lease);
        HELD.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Weak::clone(&weak));
        let keeper = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWED_EVERY).await;
                let Some(lease) = weak.upgrade() else { return };
                match lease.renew().await {
                    Ok(()) => {}
                    Err(_) if lease.lost.get().is_some() => return,
                    Err(error) => tracing::warn!(
                        pipeline = %lease.pipeline,
                        "the lease could not be renewed, which is tried again: {error}"
                    ),
                }
            }
        });
        Self {
            lease,
            _keeper: AbortOnDropHandle::new(keeper),
        }
    }
}

/// Outcome of asking for a pipeline's lease.
pub(crate) enum LeaseOutcome {
    /// The run holds it. The token stops the pipeline's work, and is cancelled where it is lost.
    Held(Arc<HeldLease>, CancellationToken),
    /// Another run does, and the pipeline is left out.
    Skipped(LeaseHolder),
    /// Another run does, or nobody knows.
    Refused(Error),
}

/// Leases of the pipelines of one run.
#[derive(Default)]
pub(crate) struct RunLeases {
    kept: Vec<KeptLease>,
}

impl RunLeases {
    /// Asks for the leases of pipelines: the outcome for each, in their order.
    ///
    /// Whoever waits asks for them one after the other, in the order of their names, so that of two runs that wait for one another's pipelines one
    /// has all. Errors where the run is stopped meanwhile.
    pub(crate) async fn take(
        (warehouse, stop): (&Warehouse, &CancellationToken),
        pipelines: &[&str],
        (run_id, command): (&str, &str),
        if_running: IfRunning,
    ) -> Result<(Self, Vec<LeaseOutcome>)> {
        let mut order: Vec<usize> = (0..pipelines.len()).collect();
        order.sort_by_key(|at| pipelines[*at]);
        let mut leases = Self::default();
        let mut outcomes: Vec<(usize, LeaseOutcome)> = Vec::with_capacity(order.len());
        let at_once = match if_running {
            IfRunning::Wait => 1,
            IfRunning::Fail | IfRunning::Skip => order.len().max(1),
        };
        let mut asked = stream::iter(order)
            .map(async |at| {
                let cancel = stop.child_token();
                let run = (run_id, command);
                let asking = acquire(warehouse.ops(), pipelines[at], run, if_running, &cancel);
                (at, asking.await, cancel)
            })
            .buffered(at_once);
        let mut interrupted = None;
        while let Some((at, asked, cancel)) = asked.next().await {
            let pipeline = pipelines[at];
            let outcome = match asked {
                Ok(Ok(lease)) => {
                    let kept = KeptLease::new(lease);
                    let lease = Arc::clone(&kept.lease);
                    leases.kept.push(kept);
                    LeaseOutcome::Held(lease, cancel)
                }
                Ok(Err(holder)) if if_running == IfRunning::Skip => LeaseOutcome::Skipped(holder),
                Ok(Err(holder)) => LeaseOutcome::Refused(running(pipeline, &holder)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    interrupted.get_or_insert(error);
                    continue;
                }
                Err(error) => LeaseOutcome::Refused(error.at("pipeline", pipeline)),
            };
            outcomes.push((at, outcome));
        }
        if let Some(error) = interrupted {
            leases.release().await;
            return Err(error);
        }
        outcomes.sort_by_key(|(at, _)| *at);
        let outcomes = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        Ok((leases, outcomes))
    }

    /// Gives all of them back.
    pub(crate) async fn release(self) {
        futures::future::join_all(self.kept.iter().map(|kept| kept.lease.release())).await;
    }
}

/// The error of a run whose pipeline another run writes.
fn running(pipeline: &str, holder: &LeaseHolder) -> Error {
    let valid = VALID.as_secs();
    if let Some(damage) = &holder.damage {
        return Error::new(
            ErrorKind::Conflict,
            "the lease of this pipeline cannot be read, and was written so lately that a run may be under way",
        )
        .at("pipeline", pipeline)
        .at("file", damage)
        .at("written", format!("{:.0}", holder.renewed_at))
        .hint(format!(
            "Wait with --wait, or run the command again: {valid} s after it was written the lease is taken over."
        ));
    }
    Error::new(ErrorKind::Conflict, "another run of this pipeline is under way")
        .at("pipeline", pipeline)
        .at("holder", holder.to_string())
        .hint(format!(
            "Wait for it with --wait, leave it alone with --skip-if-running. Of a run that was killed the lease expires {valid} s after it was renewed last."
        ))
}

/// Takes a lease, or says whose it is.
async fn acquire(
    ops: OpsTables,
    pipeline: &str,
    (run_id, command): (&str, &str),
    if_running: IfRunning,
    cancel: &CancellationToken,
) -> Result<std::result::Result<HeldLease, LeaseHolder>> {
    let mut watched: Option<(String, Instant)> = None;
    let (mut was_renewed, mut told) = (false, false);
    loop {
        let found = ops.lease(pipeline).await?;
        let (at, now) = (Instant::now(), ops.now());
        let verdict = match &found {
            None => LeaseVerdict::Free,
            Some(found) => {
                let id = &found.record.write_id;
                let first = watched.get_or_insert_with(|| (id.clone(), at));
                if first.0 != *id {
                    (*first, was_renewed) = ((id.clone(), at), true);
                }
                let valid = Duration::from_secs(u64::from(found.record.valid_seconds));
                match verdict_of(&found.record, now) {
                    LeaseVerdict::Held | LeaseVerdict::Doubtful if first.1.elapsed() > valid => {
                        LeaseVerdict::Abandoned
                    }
                    LeaseVerdict::Doubtful if was_renewed => LeaseVerdict::Held,
                    verdict => verdict,
                }
            }
        };
        if matches!(verdict, LeaseVerdict::Free | LeaseVerdict::Abandoned) {
            let own = process_identity::owner(run_id, command);
            let record = LeaseRecord::new(pipeline, own, now, VALID);
            let Some(stored) = ops.swap_lease(found.as_ref(), record).await? else {
                continue;
            };
            let before = found.filter(|_| verdict == LeaseVerdict::Abandoned);
            if let Some(damage) = before.as_ref().and_then(|before| before.damage.as_ref()) {
                tracing::warn!(
                    pipeline,
                    "the lease cannot be read ({damage}), and is taken over: no run has renewed it"
                );
            } else if let Some(before) = before {
                tracing::warn!(
                    pipeline,
                    "the lease of {} was not renewed since {:.0}, and is taken over",
                    before.record.owner,
                    before.record.renewed_at
                );
            }
            return Ok(Ok(HeldLease {
                ops,
                pipeline: pipeline.to_owned(),
                run_id: run_id.to_owned(),
                stored: tokio::sync::Mutex::new(stored),
                renewed: Mutex::new((at, now)),
                lost: OnceLock::new(),
                cancel: cancel.clone(),
            }));
        }
        let Some(found) = found else { continue };
        let holder = LeaseHolder::of(&found, verdict);
        if verdict == LeaseVerdict::Held && if_running != IfRunning::Wait {
            return Ok(Err(holder));
        }
        if !told {
            told = true;
            let why = match verdict {
                LeaseVerdict::Doubtful => "is watched, since it should have been renewed",
                _ => "is waited for",
            };
            tracing::warn!(pipeline, "the lease of {holder} {why}");
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(interrupted()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
