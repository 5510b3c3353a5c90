//! Bookkeeping: what was read, rejected, warned of and published, as rows of the tables below `ops`.
//!
//! Invariant: what a run writes is bounded by what there is to say, not by the number of runs before it.

pub(crate) mod audit;
pub(crate) mod bookkeeping;
pub(crate) mod coverage;
mod earlier_leases;
pub(crate) mod edit;
pub(crate) mod fingerprints;
pub(crate) mod lease;
pub(crate) mod maintenance;
mod merged_run;
mod notes;
pub(crate) mod older_copy;
pub(crate) mod published_note;
pub(crate) mod reconciliation;
mod rejects;
pub(crate) mod row_codec;
pub(crate) mod rows;
pub(crate) mod run_heads;
mod side_files;
pub(crate) mod slices;
pub(crate) mod tables;
mod touching;
pub(crate) mod unpublished;
