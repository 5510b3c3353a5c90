//! The memory that all queries of an engine share.
//!
//! Invariant: what can spill never takes the last [`KEPT`]th part, so that what cannot, the merge of what was spilled above all, always finds some; beyond that every operator that
//! can spill gets its share, and one cannot starve the next. DataFusion's fair pool gives all there is to the last operator that takes rows in, and the one beside it, which
//! has come to merging, fails.

use datafusion::common::{Result, resources_datafusion_err};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The part that is kept for what cannot spill.
const KEPT: usize = 4;

/// The pool.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    bytes: usize,
    held: Mutex<PoolReservation>,
}

/// Memory taken from the pool.
#[derive(Debug, Default)]
struct PoolReservation {
    /// Operators that can spill.
    spillers: usize,
    spillable: usize,
    unspillable: usize,
}

impl SharedMemory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            held: Mutex::default(),
        }
    }

    fn held<T>(&self, with: impl FnOnce(&mut PoolReservation) -> T) -> T {
        with(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PoolReservation {
    fn part(&mut self, can_spill: bool) -> &mut usize {
        if can_spill {
            &mut self.spillable
        } else {
            &mut self.unspillable
        }
    }
}

impl MemoryPool for SharedMemory {
    fn name(&self) -> &'static str {
        "shared"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.held(|held| held.spillers += 1);
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.held(|held| held.spillers = held.spillers.saturating_sub(1));
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.held(|held| *held.part(reservation.consumer().can_spill()) += additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.held(|held| {
            let part = held.part(reservation.consumer().can_spill());
            *part = part.saturating_sub(shrink);
        });
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let can_spill = reservation.consumer().can_spill();
        self.held(|held| {
            let (wanted, available) = if can_spill {
                let shared = (self.bytes - self.bytes / KEPT).saturating_sub(held.unspillable);
                (
                    reservation.size().saturating_add(additional),
                    shared / held.spillers.max(1),
                )
            } else {
                (
                    additional,
                    self.bytes.saturating_sub(held.unspillable + held.spillable),
                )
            };
            if wanted <= available {
                *held.part(can_spill) += additional;
                return Ok(());
            }
            let name = reservation.consumer().name();
            Err(resources_datafusion_err!(
                "{name} wants {} more than the {} it has, and may have {} of {}",
                human_readable_size(additional),
                human_readable_size(reservation.size()),
                human_readable_size(available),
                human_readable_size(self.bytes)
            ))
        })
    }

    fn reserved(&self) -> usize {
        self.held(|held| held.spillable + held.unspillable)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

impl fmt::Display for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of memory", human_readable_size(self.bytes))
    }
}
