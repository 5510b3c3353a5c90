//! Events of a run, for whoever watches it.
//!
//! Invariant: events carry counts and names, never data; a run works the same with nobody watching.

use std::time::Duration;

/// Something that happened in a run.
#[derive(Debug, Clone)]
pub enum RunEvent {
    /// A pipeline's slices are known.
    Planned {
        /// The pipeline.
        pipeline: String,
        /// Number of slices to read.
        slices: usize,
    },
    /// A page was read and decoded.
    Page {
        /// Records in it, rejects included.
        records: u64,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A slice is complete, or failed for good.
    SliceDone {
        /// True if it was read in full.
        complete: bool,
    },
    /// A package was committed to a source table.
    Landed {
        /// New versions in it.
        versions: u64,
    },
    /// A unified table is being brought up to date.
    Unifying {
        /// The table.
        table: String,
    },
    /// A stage ended.
    Stage {
        /// The pipeline that it was about; `None` for the whole run.
        pipeline: Option<String>,
        /// `extract`, `unify`, `roll-ups` or `publish`.
        name: &'static str,
        /// Time it took.
        took: Duration,
    },
}

/// Observer of a run's events.
pub trait RunObserver: Send + Sync {
    /// Called for every event, from any thread; must not block.
    fn on_event(&self, event: &RunEvent);
}

/// Observer that ignores every event.
#[derive(Debug, Clone, Copy)]
pub struct NoopObserver;

impl RunObserver for NoopObserver {
    fn on_event(&self, _: &RunEvent) {}
}

#[cfg(test)]
#[path = "observer_tests.rs"]
mod tests;
