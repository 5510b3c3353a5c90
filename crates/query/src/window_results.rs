//! Bytes of what the windows of one step of a plan have worked out and not handed on.
//!
//! Invariant: what is counted here is asked of the pool before it is there, but for as much as a query may take unasked.

use crate::bounded::free_of;
use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use std::sync::{Arc, Mutex, PoisonError};

/// Results of the aggregates of one step of a plan, and rows of the frames that they are made of.
#[derive(Debug)]
pub(crate) struct WindowResults {
    counted: Mutex<CountedBytes>,
    /// Bytes that are not asked for.
    free: usize,
    /// Results of each aggregate that are there at a time; `None` for all of them.
    pub(crate) kept: Option<usize>,
}

/// Bytes of results, of which the pool knows those beyond the free ones.
#[derive(Debug)]
struct CountedBytes {
    bytes: usize,
    held: MemoryReservation,
}

impl WindowResults {
    /// None yet, counted by a pool.
    pub(crate) fn counted_by(pool: &Arc<dyn MemoryPool>, kept: Option<usize>) -> Self {
        let held = MemoryConsumer::new("results of a window").register(pool);
        Self {
            counted: Mutex::new(CountedBytes { bytes: 0, held }),
            free: free_of(pool),
            kept,
        }
    }

    /// Counts a result, or rows, in place of those that are gone.
    pub(crate) fn replace(&self, gone: usize, made: usize) -> Result<()> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = counted.bytes.saturating_sub(gone).saturating_add(made);
        counted.held.try_resize(bytes.saturating_sub(self.free))?;
        counted.bytes = bytes;
        Ok(())
    }
}
