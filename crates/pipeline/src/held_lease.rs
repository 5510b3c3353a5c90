//! Leases that a run holds: renewed while it goes on, asked before it commits, given back at its end; all of them in one write each time.
//!
//! Invariant: a run commits only while it holds its pipelines' leases as far as it knows, and it knows by compare-and-swap, never longer ago
//! than [`FRESH`]: one that was suspended finds out before it commits. Tables are right without: every commit is a compare-and-swap of its own.

use jiff::{SignedDuration, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tillhouse_lake::{LeaseRecord, LeaseSwap, OpsTables, StoredLease, StoredLeases};
use tillhouse_model::{Error, ErrorKind, Result};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Time from a renewal until a lease has expired.
pub(crate) const VALID: SignedDuration = SignedDuration::from_secs(60);
/// Pause between two renewals.
const RENEWED_EVERY: Duration = Duration::from_secs(15);
/// Age of a renewal that a commit still relies on.
pub(crate) const FRESH: Duration = Duration::from_secs(30);
/// Time that a process which is being ended has to give its leases back.
const PARTING: Duration = Duration::from_secs(2);

/// Leases that this process holds, or is about to take.
static HELD: Mutex<Vec<Weak<HeldLease>>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those of some leases that are still there.
fn present(leases: &Mutex<Vec<Weak<HeldLease>>>) -> Vec<Arc<HeldLease>> {
    let mut leases = locked(leases);
    leases.retain(|lease| lease.strong_count() > 0);
    leases.iter().filter_map(Weak::upgrade).collect()
}

pub(crate) fn held_here() -> Vec<Arc<HeldLease>> {
    present(&HELD)
}

/// Errors where a run has lost one of its leases; for what is no compare-and-swap, a moment before it is done.
pub(crate) async fn check_leases(run_id: &str) -> Result<()> {
    for lease in held_here() {
        if lease.run_id() == run_id {
            lease.check().await?;
        }
    }
    Ok(())
}

/// Gives back every lease that this process holds, for a process that a signal ends. It takes two seconds at most, and may be called on any
/// thread; what is not given back by then expires.
pub fn release_leases() {
    part_with(held_here());
}

pub(crate) fn part_with(held: Vec<Arc<HeldLease>>) {
    if held.is_empty() {
        return;
    }
    let mut runs: Vec<(Arc<LeaseWriter>, Vec<Arc<HeldLease>>)> = Vec::new();
    for lease in held {
        match runs
            .iter_mut()
            .find(|(writer, _)| Arc::ptr_eq(writer, &lease.writer))
        {
            Some((_, leases)) => leases.push(lease),
            None => runs.push((Arc::clone(&lease.writer), vec![lease])),
        }
    }
    // A thread of its own: whoever calls may be on one that drives tasks.
    let parting = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            let given = runs.iter().map(|(writer, held)| writer.release(held));
            let all = futures::future::join_all(given);
            let _ = runtime.block_on(async { tokio::time::timeout(PARTING, all).await });
            runtime.shutdown_background();
        }
    });
    let _ = parting.join();
}

/// Writer of the leases of one run.
pub(crate) struct LeaseWriter {
    ops: OpsTables,
    /// The leases of all pipelines as this run has read or written them last. Held while it writes them.
    known: tokio::sync::Mutex<Option<StoredLeases>>,
    /// Leases that it renews.
    leases: Mutex<Vec<Weak<HeldLease>>>,
}

impl LeaseWriter {
    pub(crate) fn new(ops: OpsTables) -> Arc<Self> {
        Arc::new(Self {
            ops,
            known: tokio::sync::Mutex::default(),
            leases: Mutex::default(),
        })
    }

    pub(crate) fn ops(&self) -> OpsTables {
        self.ops.clone()
    }

    /// Lease that is about to be taken. While that is tried it counts as this process's: another run in it would take it for one that was left.
    pub(crate) fn lease(
        self: &Arc<Self>,
        record: LeaseRecord,
        taken: (Instant, Timestamp),
        cancel: &CancellationToken,
    ) -> Arc<HeldLease> {
        let lease = Arc::new(HeldLease {
            writer: Arc::clone(self),
            record,
            renewed: Mutex::new(taken),
            lost: OnceLock::new(),
            cancel: cancel.clone(),
        });
        locked(&HELD).push(Arc::downgrade(&lease));
        lease
    }

    /// Takes leases that may be taken by what was `found`; whether it has each.
    pub(crate) async fn take(&self, found: StoredLeases, swaps: &[LeaseSwap]) -> Result<Vec<bool>> {
        let mut known = self.known.lock().await;
        let swapped = self.ops.swap_leases(Some(found), swaps).await?;
        *known = Some(swapped.leases);
        Ok(swapped.done)
    }

    /// Renews a lease from now on.
    pub(crate) fn add(&self, lease: &Arc<HeldLease>) {
        locked(&self.leases).push(Arc::downgrade(lease));
    }

    /// Renews the leases for as long as what this gives is held.
    pub(crate) fn keep_renewing(self: &Arc<Self>) -> AbortOnDropHandle<()> {
        let weak = Arc::downgrade(self);
        let keeper = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWED_EVERY).await;
                let Some(writer) = weak.upgrade() else { return };
                if let Err(error) = writer.renew(None).await {
                    tracing::warn!(
                        "the leases of pipelines could not be renewed, which is tried again: {error}"
                    );
                }
            }
        });
        AbortOnDropHandle::new(keeper)
    }

    /// Renews all leases that are not lost; none where one is `wanted` and was renewed meanwhile. Those that are another's are lost from then on.
    async fn renew(&self, wanted: Option<&HeldLease>) -> Result<()> {
        let mut known = self.known.lock().await;
        if wanted.is_some_and(HeldLease::is_settled) {
            return Ok(());
        }
        let mut held = present(&self.leases);
        held.retain(|lease| lease.lost.get().is_none());
        if held.is_empty() {
            return Ok(());
        }
        let (at, now) = (Instant::now(), self.ops.now());
        let renewals = held
            .iter()
            .map(|lease| LeaseSwap::by_owner(lease.record.renewed(now), lease.is_valid()));
        let renewals: Vec<LeaseSwap> = renewals.collect();
        let swapped = self.ops.swap_leases(known.take(), &renewals).await?;
        for (lease, is_done) in held.iter().zip(&swapped.done) {
            match is_done {
                true => *locked(&lease.renewed) = (at, now),
                false => lease.note_loss(&swapped.leases),
            }
        }
        *known = Some(swapped.leases);
        Ok(())
    }

    /// Gives leases back. What cannot be given back expires.
    pub(crate) async fn release(&self, leases: &[Arc<HeldLease>]) {
        let mut known = self.known.lock().await;
        let now = self.ops.now();
        let given: Vec<LeaseSwap> = leases
            .iter()
            .filter(|lease| lease.give_back())
            .map(|lease| LeaseSwap::by_owner(lease.record.released(now), lease.is_valid()))
            .collect();
        if given.is_empty() {
            return;
        }
        match self.ops.swap_leases(known.take(), &given).await {
            Ok(swapped) => *known = Some(swapped.leases),
            Err(error) => tracing::warn!(
                "the leases of pipelines could not be given back, and expire: {error}"
            ),
        }
    }
}

/// Lease of a pipeline that a run holds.
pub(crate) struct HeldLease {
    writer: Arc<LeaseWriter>,
    /// As it was taken.
    record: LeaseRecord,
    /// The last renewal: by a clock that only goes on, and by one that goes on while the machine sleeps.
    renewed: Mutex<(Instant, Timestamp)>,
    /// Reason that it is held no more.
    lost: OnceLock<Error>,
    /// Stops the pipeline's work.
    cancel: CancellationToken,
}

impl std::fmt::Debug for HeldLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldLease({}, {})", self.pipeline(), self.run_id())
    }
}

impl HeldLease {
    /// The lease as it was taken.
    pub(crate) fn record(&self) -> &LeaseRecord {
        &self.record
    }

    pub(crate) fn pipeline(&self) -> &str {
        &self.record.pipeline
    }

    pub(crate) fn run_id(&self) -> &str {
        &self.record.owner.run_id
    }

    /// Errors where the lease was lost; asks the store where the last renewal is too old to rely on.
    pub(crate) async fn check(&self) -> Result<()> {
        if !self.is_settled() {
            self.writer.renew(Some(self)).await?;
        }
        self.lost.get().map_or(Ok(()), |lost| Err(lost.clone()))
    }

    /// The reason for which it was lost.
    pub(crate) fn loss(&self) -> Option<Error> {
        self.lost.get().cloned()
    }

    /// True if it is lost, or was renewed so lately that a commit relies on it.
    fn is_settled(&self) -> bool {
        self.lost.get().is_some() || self.is_renewed_within(FRESH)
    }

    /// True if it has not expired by its owner's clocks, so that nobody may have taken it over.
    fn is_valid(&self) -> bool {
        self.is_renewed_within(VALID.unsigned_abs())
    }

    fn is_renewed_within(&self, limit: Duration) -> bool {
        let (at, when) = *locked(&self.renewed);
        let age: SignedDuration = self.writer.ops.now().duration_since(when);
        at.elapsed() <= limit && age.unsigned_abs() <= limit
    }

    /// Notes that another run has it by these leases.
    fn note_loss(&self, leases: &StoredLeases) {
        let holder = match leases.of(self.pipeline()) {
            Some(StoredLease {
                damage: Some(damage),
                ..
            }) => format!("unknown: it cannot be read ({damage})"),
            Some(found) => found.record.owner.to_string(),
            None => "nobody: the lease was removed".to_owned(),
        };
        let lost = || {
            Error::new(
                ErrorKind::Conflict,
                "this run was suspended, or could not reach the warehouse, for so long that its lease has passed on",
            )
            .at("pipeline", self.pipeline())
            .hint("Nothing was committed since; the next `tillhouse sync` goes on from what was.")
            .at("holder", holder)
        };
        self.lost.get_or_init(lost);
        self.cancel.cancel();
    }

    /// Notes that it is given back; `false` where it is held no more.
    fn give_back(&self) -> bool {
        let given = Error::internal("the lease was given back").at("pipeline", self.pipeline());
        self.lost.set(given).is_ok()
    }
}
