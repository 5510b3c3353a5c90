//! Leases of a run: asked for before anything is written, all of them at once.
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
//! Invariant: a lease is taken only where it is free or abandoned by what was read, and by compare-and-swap on that. One that another run holds keeps
//! its pipeline back, and no other. Of whoever waits, the leases come in the order of their names, so that of two runs that wait for one another's
//! pipelines one has all.

use crate::held_lease::{HeldLease, LeaseWriter, VALID, held_here};
use crate::message::interrupted;
use crate::process_identity::{self, OwnerFate};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_lake::{
    LeaseOwner, LeaseRecord, LeaseSwap, OpsTables, StoredLease, StoredLeases, Warehouse,
};
use tillhouse_model::{Error, ErrorKind, Result};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Difference of two machines' clocks that is allowed for.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);
/// Pause between two looks at leases that are waited for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

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
    /// Reason that the lease cannot be read, with its file: nobody knows whose it is, and it was written when it seems to be renewed.
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

fn verdict_of(record: &LeaseRecord, now: Timestamp) -> LeaseVerdict {
    let holds = |run: &str| {
        held_here()
            .iter()
            .any(|lease| lease.run_id() == run && lease.pipeline() == record.pipeline)
    };
    judge(record, now, process_identity::fate(&record.owner, holds))
}

/// Holders of all pipelines' leases at a moment.
pub(crate) struct LeaseHolders {
    seen: SeenLeases,
    now: Timestamp,
}

impl LeaseHolders {
    /// Reads all of them. Two requests.
    pub(crate) async fn read(warehouse: &Warehouse) -> Result<Self> {
        Ok(Self {
            seen: SeenLeases::read(&warehouse.ops()).await?,
            now: warehouse.now(),
        })
    }

    /// Holder of the lease of a pipeline; `None` where no run writes it.
    pub(crate) fn of(&self, pipeline: &str) -> Option<LeaseHolder> {
        let own = self.seen.leases.of(pipeline);
        let all = own.iter().chain(earlier_of(&self.seen.earlier, pipeline));
        let holders = all.filter_map(|found| {
            let verdict = verdict_of(&found.record, self.now);
            (verdict != LeaseVerdict::Free).then(|| LeaseHolder::of(found, verdict))
        });
        holders.min_by_key(|holder| holder.abandoned)
    }
}

fn earlier_of<'a>(earlier: &'a [StoredLease], pipeline: &str) -> Option<&'a StoredLease> {
    earlier
        .iter()
        .find(|lease| lease.record.pipeline == pipeline)
}

/// Leases of all pipelines as they were read at one moment.
pub(crate) struct SeenLeases {
    leases: StoredLeases,
    /// Those that runs of earlier versions of the program may hold.
    earlier: Vec<StoredLease>,
}

impl SeenLeases {
    /// Reads all of them. Two requests, side by side.
    pub(crate) async fn read(ops: &OpsTables) -> Result<Self> {
        let (leases, earlier) = tokio::try_join!(ops.leases(), ops.earlier_leases())?;
        Ok(Self { leases, earlier })
    }

    /// True if nobody had the lease of a pipeline, so that it may be taken for as long as nobody has written it since, which the write tells.
    fn is_free(&self, pipeline: &str) -> bool {
        let own = self.leases.of(pipeline);
        own.is_none_or(|lease| lease.record.released)
            && earlier_of(&self.earlier, pipeline).is_none()
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
pub(crate) struct RunLeases {
    writer: Arc<LeaseWriter>,
    held: Vec<Arc<HeldLease>>,
    /// Renews them, from the first one on.
    keeper: Option<AbortOnDropHandle<()>>,
}

impl RunLeases {
    /// Asks for the leases of pipelines: the outcome for each, in their order. Those that are free are taken in one write.
    ///
    /// Whoever waits takes them in the order of their names, and none behind one that it waits for. Errors where the run is stopped meanwhile.
    pub(crate) async fn take(
        (warehouse, stop): (&Warehouse, &CancellationToken),
        pipelines: &[&str],
        owner: (&str, &str),
        if_running: IfRunning,
    ) -> Result<(Self, Vec<LeaseOutcome>)> {
        Self::take_after(None, (warehouse, stop), pipelines, owner, if_running).await
    }

    /// As [`RunLeases::take`]. Where all were free a moment before, by what was `seen` then, they are not looked at again: a write tells of any that is not.
    pub(crate) async fn take_after(
        seen: Option<SeenLeases>,
        (warehouse, stop): (&Warehouse, &CancellationToken),
        pipelines: &[&str],
        (run_id, command): (&str, &str),
        if_running: IfRunning,
    ) -> Result<(Self, Vec<LeaseOutcome>)> {
        let is_free = |seen: &SeenLeases| pipelines.iter().all(|name| seen.is_free(name));
        let mut seen = seen.filter(is_free);
        let mut leases = Self {
            writer: LeaseWriter::new(warehouse.ops()),
            held: Vec::new(),
            keeper: None,
        };
        let run = AskingRun {
            owner: process_identity::owner(run_id, command),
            if_running,
        };
        let mut requests: Vec<LeaseRequest<'_>> = pipelines
            .iter()
            .enumerate()
            .map(|(at, pipeline)| LeaseRequest::new(at, pipeline, stop.child_token()))
            .collect();
        requests.sort_by_key(|request| request.pipeline);
        let mut outcomes: Vec<(usize, LeaseOutcome)> = Vec::with_capacity(requests.len());
        while !requests.is_empty() {
            let asked = match leases.ask(&mut requests, &run, seen.take()).await {
                Ok(asked) => asked,
                Err(error) => AskedLeases::failed(&requests, &error),
            };
            outcomes.extend(asked.settled);
            requests.retain(|request| outcomes.iter().all(|(at, _)| *at != request.at));
            if requests.is_empty() || asked.is_outrun {
                continue;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    leases.release().await;
                    return Err(interrupted());
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        outcomes.sort_by_key(|(at, _)| *at);
        let outcomes = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        Ok((leases, outcomes))
    }

    /// Looks at the leases that are asked for, and takes those that may be taken.
    async fn ask(
        &mut self,
        requests: &mut [LeaseRequest<'_>],
        run: &AskingRun,
        seen: Option<SeenLeases>,
    ) -> Result<AskedLeases> {
        let ops = self.writer.ops();
        let SeenLeases {
            leases: found,
            earlier,
        } = match seen {
            Some(seen) => seen,
            None => SeenLeases::read(&ops).await?,
        };
        let clocks = (Instant::now(), ops.now());
        let mut asked = AskedLeases::default();
        let mut free: Vec<FreeLease<'_>> = Vec::new();
        for request in requests {
            let earlier = earlier_of(&earlier, request.pipeline);
            let (verdict, lease) = request.judge(found.of(request.pipeline), earlier, clocks);
            match (verdict, lease) {
                (LeaseVerdict::Free | LeaseVerdict::Abandoned, before) => {
                    let record =
                        LeaseRecord::new(request.pipeline, run.owner.clone(), clocks.1, VALID);
                    let lease = self.writer.lease(record, clocks, &request.cancel);
                    free.push(FreeLease {
                        request,
                        lease,
                        before,
                        is_abandoned: verdict == LeaseVerdict::Abandoned,
                    });
                }
                (LeaseVerdict::Held, Some(lease)) if run.if_running != IfRunning::Wait => {
                    let holder = LeaseHolder::of(&lease, verdict);
                    let outcome = run.left_to(request.pipeline, holder);
                    asked.settled.push((request.at, outcome));
                }
                (verdict, lease) => {
                    if let Some(lease) = lease {
                        request.tell(&LeaseHolder::of(&lease, verdict), verdict);
                    }
                    if run.if_running == IfRunning::Wait {
                        break;
                    }
                }
            }
        }
        self.take_free(found, free, &mut asked).await?;
        Ok(asked)
    }

    /// Takes leases that are free by what was `found`, in one write.
    async fn take_free(
        &mut self,
        found: StoredLeases,
        free: Vec<FreeLease<'_>>,
        asked: &mut AskedLeases,
    ) -> Result<()> {
        if free.is_empty() {
            return Ok(());
        }
        let swaps: Vec<LeaseSwap> = free.iter().map(FreeLease::swap).collect();
        let done = self.writer.take(found, &swaps).await?;
        for (free, is_done) in free.into_iter().zip(done) {
            if !is_done {
                asked.is_outrun = true;
                continue;
            }
            free.tell();
            let FreeLease { request, lease, .. } = free;
            self.keep(Arc::clone(&lease));
            let outcome = LeaseOutcome::Held(lease, request.cancel.clone());
            asked.settled.push((request.at, outcome));
        }
        Ok(())
    }

    /// Renews a lease from now on.
    fn keep(&mut self, lease: Arc<HeldLease>) {
        self.writer.add(&lease);
        self.held.push(lease);
        let writer = &self.writer;
        self.keeper
            .get_or_insert_with(|| LeaseWriter::keep_renewing(writer));
    }

    /// Gives all of them back.
    pub(crate) async fn release(self) {
        self.writer.release(&self.held).await;
    }
}

/// A run that asks for leases.
struct AskingRun {
    owner: LeaseOwner,
    if_running: IfRunning,
}

impl AskingRun {
    /// Outcome for a pipeline that another run writes, where this one does not wait.
    fn left_to(&self, pipeline: &str, holder: LeaseHolder) -> LeaseOutcome {
        match self.if_running {
            IfRunning::Skip => LeaseOutcome::Skipped(holder),
            IfRunning::Fail | IfRunning::Wait => LeaseOutcome::Refused(running(pipeline, &holder)),
        }
    }
}

/// Outcome of one look at the leases that are asked for.
#[derive(Default)]
struct AskedLeases {
    /// Those for which it is known, by the number of the pipeline.
    settled: Vec<(usize, LeaseOutcome)>,
    /// True if another run was faster with one that was free.
    is_outrun: bool,
}

impl AskedLeases {
    /// The same where nobody knows.
    fn failed(requests: &[LeaseRequest<'_>], error: &Error) -> Self {
        let refused = requests.iter().map(|request| {
            let error = error.clone().at("pipeline", request.pipeline);
            (request.at, LeaseOutcome::Refused(error))
        });
        Self {
            settled: refused.collect(),
            is_outrun: false,
        }
    }
}

/// Lease of a pipeline that is asked for.
struct LeaseRequest<'a> {
    /// Number of the pipeline among those that are asked for.
    at: usize,
    pipeline: &'a str,
    cancel: CancellationToken,
    watch: LeaseWatch,
    /// The same of the lease of an earlier version of the program.
    earlier_watch: LeaseWatch,
    was_told: bool,
}

impl<'a> LeaseRequest<'a> {
    fn new(at: usize, pipeline: &'a str, cancel: CancellationToken) -> Self {
        Self {
            at,
            pipeline,
            cancel,
            watch: LeaseWatch::default(),
            earlier_watch: LeaseWatch::default(),
            was_told: false,
        }
    }

    /// Verdict on the pipeline's lease, and the lease that it is about: one of an earlier version of the program where that stands in the way.
    fn judge(
        &mut self,
        found: Option<StoredLease>,
        earlier: Option<&StoredLease>,
        clocks: (Instant, Timestamp),
    ) -> (LeaseVerdict, Option<StoredLease>) {
        if let Some(earlier) = earlier {
            let verdict = self.earlier_watch.judge(&earlier.record, clocks);
            if matches!(verdict, LeaseVerdict::Held | LeaseVerdict::Doubtful) {
                return (verdict, Some(earlier.clone()));
            }
        }
        let verdict = found.as_ref().map_or(LeaseVerdict::Free, |found| {
            self.watch.judge(&found.record, clocks)
        });
        (verdict, found)
    }

    /// Says once why it is not taken yet.
    fn tell(&mut self, holder: &LeaseHolder, verdict: LeaseVerdict) {
        if std::mem::replace(&mut self.was_told, true) {
            return;
        }
        let why = match verdict {
            LeaseVerdict::Doubtful => "is watched, since it should have been renewed",
            _ => "is waited for",
        };
        tracing::warn!(pipeline = self.pipeline, "the lease of {holder} {why}");
    }
}

/// Observation of another run's lease while it is watched.
#[derive(Default)]
struct LeaseWatch {
    /// The newest writing of it, and since when it stands.
    newest: Option<(String, Instant)>,
    was_renewed: bool,
}

impl LeaseWatch {
    fn judge(&mut self, record: &LeaseRecord, (at, now): (Instant, Timestamp)) -> LeaseVerdict {
        let id = &record.write_id;
        let newest = self.newest.get_or_insert_with(|| (id.clone(), at));
        if newest.0 != *id {
            (*newest, self.was_renewed) = ((id.clone(), at), true);
        }
        let valid = Duration::from_secs(u64::from(record.valid_seconds));
        match verdict_of(record, now) {
            LeaseVerdict::Held | LeaseVerdict::Doubtful if newest.1.elapsed() > valid => {
                LeaseVerdict::Abandoned
            }
            LeaseVerdict::Doubtful if self.was_renewed => LeaseVerdict::Held,
            verdict => verdict,
        }
    }
}

/// Lease that may be taken.
struct FreeLease<'a> {
    request: &'a LeaseRequest<'a>,
    lease: Arc<HeldLease>,
    /// The one whose place it takes.
    before: Option<StoredLease>,
    is_abandoned: bool,
}

impl FreeLease<'_> {
    fn swap(&self) -> LeaseSwap {
        let before = self.before.as_ref().map(|before| &before.record);
        LeaseSwap::of(before, self.lease.record().clone())
    }

    /// Says whose place it took, where that was never given back.
    fn tell(&self) {
        let pipeline = self.request.pipeline;
        let Some(before) = self.before.as_ref().filter(|_| self.is_abandoned) else {
            return;
        };
        match &before.damage {
            Some(damage) => tracing::warn!(
                pipeline,
                "the lease cannot be read ({damage}), and is taken over: no run has renewed it"
            ),
            None => tracing::warn!(
                pipeline,
                "the lease of {} was not renewed since {:.0}, and is taken over",
                before.record.owner,
                before.record.renewed_at
            ),
        }
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

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
