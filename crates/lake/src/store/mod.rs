//! Object stores beneath the tables: what reaches the disk, and what is checked on its way in.
//!
//! Invariant: knows files and bytes, no table and no version.

pub(crate) mod counter;
pub(crate) mod durable;
pub(crate) mod footer;
pub(crate) mod log_guard;
