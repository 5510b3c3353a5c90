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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The part that is kept for what cannot spill.
const KEPT: usize = 4;

/// The pool. A clone is the same pool.
#[derive(Debug, Clone)]
pub(crate) struct SharedMemory {
    bytes: usize,
    held: Arc<Mutex<PoolReservation>>,
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
            held: Arc::default(),
        }
    }

    /// Bytes that each operator that can spill may have now.
    pub(crate) fn share(&self) -> usize {
        self.held(|held| held.share(self.bytes))
    }

    fn held<T>(&self, with: impl FnOnce(&mut PoolReservation) -> T) -> T {
        with(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PoolReservation {
    /// The share of an operator that can spill, of so many bytes.
    fn share(&self, bytes: usize) -> usize {
        let shared = (bytes - bytes / KEPT).saturating_sub(self.unspillable);
        shared / self.spillers.max(1)
    }

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
                let wanted = reservation.size().saturating_add(additional);
                (wanted, held.share(self.bytes))
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

/// Memory that the queries of one reader may take together, within that of the engine. Copies are one share.
#[derive(Debug, Clone)]
pub struct MemoryShare {
    pub(crate) pool: Arc<SharePool>,
}

impl MemoryShare {
    pub(crate) fn new(whole: Arc<dyn MemoryPool>, bytes: usize) -> Self {
        let held = AtomicUsize::new(0);
        let pool = Arc::new(SharePool { whole, bytes, held });
        Self { pool }
    }
}

/// Part of a pool.
#[derive(Debug)]
pub(crate) struct SharePool {
    whole: Arc<dyn MemoryPool>,
    bytes: usize,
    held: AtomicUsize,
}

impl MemoryPool for SharePool {
    fn name(&self) -> &'static str {
        "share"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.whole.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.whole.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.held.fetch_add(additional, Ordering::Relaxed);
        self.whole.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.whole.shrink(reservation, shrink);
        self.held.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let before = self.held.fetch_add(additional, Ordering::Relaxed);
        let grown = match before.saturating_add(additional) > self.bytes {
            true => Err(resources_datafusion_err!(
                "{} wants {} more than the {} that one reader has of {}",
                reservation.consumer().name(),
                human_readable_size(additional),
                human_readable_size(before),
                human_readable_size(self.bytes)
            )),
            false => self.whole.try_grow(reservation, additional),
        };
        if grown.is_err() {
            self.held.fetch_sub(additional, Ordering::Relaxed);
        }
        grown
    }

    fn reserved(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        match self.whole.memory_limit() {
            MemoryLimit::Finite(bytes) => MemoryLimit::Finite(bytes.min(self.bytes)),
            _ => MemoryLimit::Finite(self.bytes),
        }
    }
}

impl fmt::Display for SharePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of memory", human_readable_size(self.bytes))
    }
}

impl fmt::Display for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of memory", human_readable_size(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_what_an_operator_may_have() {
        let memory = SharedMemory::new(4000);
        let pool: Arc<dyn MemoryPool> = Arc::new(memory.clone());
        assert_eq!(memory.share(), 3000);
        let spiller = |name: &str| {
            MemoryConsumer::new(name)
                .with_can_spill(true)
                .register(&pool)
        };
        let (one, _other) = (spiller("one"), spiller("other"));
        let held = MemoryConsumer::new("held").register(&pool);
        held.try_grow(1000).unwrap();
        assert_eq!(memory.share(), 1000);
        one.try_grow(1000).unwrap();
        assert!(one.try_grow(1).is_err());
        drop(held);
        assert_eq!(memory.share(), 1500);
        one.try_grow(500).unwrap();
    }

    #[test]
    fn a_reader_takes_no_more_than_its_share_and_gives_it_back() {
        let whole: Arc<dyn MemoryPool> = Arc::new(SharedMemory::new(1_000));
        let share = MemoryShare::new(Arc::clone(&whole), 100);
        let pool = Arc::clone(&share.pool) as Arc<dyn MemoryPool>;
        let one = MemoryConsumer::new("one").register(&pool);
        let two = MemoryConsumer::new("two").register(&pool);
        one.try_grow(60).unwrap();
        let error = two.try_grow(50).unwrap_err().to_string();
        assert!(error.contains("one reader"), "{error}");
        two.try_grow(40).unwrap();
        assert_eq!((pool.reserved(), whole.reserved()), (100, 100));
        drop(one);
        two.try_grow(50).unwrap();
        assert_eq!(whole.reserved(), 90);
        drop(two);
        assert_eq!((pool.reserved(), whole.reserved()), (0, 0));
    }
}
