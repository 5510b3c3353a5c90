//! Delta logs: snapshots of tables, the data files they list with their statistics, and commits.
//!
//! Invariant: knows versions and files, and no row of them. Of this crate it imports only what lies beneath: the store, and the month's name.

pub(crate) mod base_run;
pub(crate) mod checkpoint;
pub(crate) mod comments;
pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod damage;
pub(crate) mod data_file;
pub(crate) mod figures;
pub(crate) mod file_statistics;
mod misplaced;
mod own_log;
pub(crate) mod pinned_snapshot;
pub(crate) mod recent_keys;
pub(crate) mod registry;
pub(crate) mod remedy;
pub(crate) mod schema_evolution;
pub(crate) mod set_aside;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod table;
pub(crate) mod table_version;
