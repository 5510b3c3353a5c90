//! Unified tables: the current state of every record, and what differs between two versions of it.
//!
//! Invariant: a record's rows are replaced as a whole, in the commit that says how far its pipeline is unified.

pub(crate) mod changed_hours;
mod dimension;
pub(crate) mod facts;
pub(crate) mod table;
