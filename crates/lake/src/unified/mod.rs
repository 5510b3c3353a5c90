//! Unified tables: the current state of every record, and what differs between two versions of it.
//!
//! Invariant: a record's rows are replaced as a whole, in the commit that says how far its pipeline is unified.

pub(crate) mod changed_ranges;
mod dimension;
mod fact;
pub(crate) mod fact_scan;
pub(crate) mod step;
pub(crate) mod table;
pub(crate) mod write;
