//! Delta logs: snapshots of tables, the data files they list with their statistics, and commits.
//!
//! Invariant: knows versions and files, and no row of them; imports of this crate nothing but `store`.

pub(crate) mod commit;
mod damage;
pub(crate) mod file_statistics;
pub(crate) mod schema_evolution;
pub(crate) mod stats;
pub(crate) mod table;
