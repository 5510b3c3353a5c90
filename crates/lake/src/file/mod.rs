//! Data files on their way out: their layout, their encoding, and streams of rows into the files of each partition.
//!
//! Invariant: what is written is in the table only once a commit names it.

mod encoder;
pub(crate) mod fan_out;
pub(crate) mod layout;
mod parallel;
pub(crate) mod replacement;
mod shared_nulls;
pub(crate) mod writer;
