//! Delta tables on object storage: append-only history, current state, bookkeeping, and the snapshots readers open.
//!
//! Invariant: every write is one commit by compare-and-swap on the version it was computed from; whoever loses the race computes
//! again. Nothing outside this crate names the Delta library: it hands out `Arc<dyn TableProvider>`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod adding;
#[cfg(test)]
mod clock_tests;
mod columnar;
mod commit;
#[cfg(test)]
mod damage_tests;
mod datafile;
mod dedup;
mod delta;
mod difference;
mod dimension;
#[cfg(test)]
#[path = "disturbed_tests.rs"]
mod disturbed;
mod durable;
mod evolve;
mod facts;
mod footer;
mod gone;
mod integrity;
mod ledger;
mod log_damage;
mod log_guard;
mod month;
mod newest_rows;
pub mod ops;
mod package;
mod probe;
mod published_note;
mod reconciliation;
mod rollup_table;
mod scan;
pub mod source_table;
mod split;
mod stats;
mod tenants;
pub mod unified_table;
pub mod warehouse;

pub use adding::{Adding, Currency, Parents};
pub use deltalake::datafusion::catalog::TableProvider;
pub use difference::{Difference, Hours, Partition, Touched};
pub use durable::{DiskEvent, DiskWitness};
pub use facts::{Asked, Facts, Only, Picks};
pub use integrity::{Damage, LostKind, LostTable, REPLACE_FILES, TableFigures, lost_commits};
pub use ops::{AsOf, DriftRow, Ops, RejectRow, RunRecord, SliceRow, WarningRow};
pub use published_note::LostRun;
pub use reconciliation::ReconciliationRow;
pub use rollup_table::{Counted, HOUR, RollupTable};
pub use scan::first_damaged_file;
pub use source_table::{Fresh, Incoming, LandOptions, Landed, PackageInfo, SourceTable};
pub use unified_table::{Mark, Replaced, Rows, Step, Superseded, UnifiedTable, Writing};
pub use warehouse::{Clock, FORMAT_VERSION, Location, OpenTable, Warehouse};
