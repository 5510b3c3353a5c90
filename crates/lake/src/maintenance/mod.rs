//! Maintenance of a warehouse that lives for years: compaction, vacuum, upgrade, inspection.
//!
//! Invariant: no row changes, and every version that a kept run names stays readable, at whatever point maintenance is cut off and whoever
//! writes beside it.
//!
//! ```text
//!   compact   small files of a partition --> few large ones, by compare-and-swap, `dataChange` false
//!   vacuum    which runs are kept (noted first) --> files and log entries that no kept version needs are deleted
//!   upgrade   tables of an older format, one commit each
//!   inspect   logs, and footers of data files; changes nothing
//! ```

pub(crate) mod compact;
pub(crate) mod file_lifetimes;
pub(crate) mod inspect;
mod layout;
pub(crate) mod log_expiry;
pub(crate) mod own_objects;
pub(crate) mod retention;
pub(crate) mod table_listing;
pub(crate) mod upgrade;
pub(crate) mod vacuum;
