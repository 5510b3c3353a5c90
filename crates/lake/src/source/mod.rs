//! Source tables: the append-only history of every version of a record.
//!
//! Invariant: a version that was landed is never changed or removed.

pub(crate) mod dedup;
pub(crate) mod dropped;
pub(crate) mod fingerprints;
mod newest_rows;
pub(crate) mod package;
pub(crate) mod table;
mod tenants;
mod tombstones;
pub(crate) mod unlisted;
pub(crate) mod whole_listings;
