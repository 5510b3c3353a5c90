//! Delta tables on object storage: append-only history, current state, bookkeeping, and the snapshots readers open.
//!
//! Invariant: every write is one commit by compare-and-swap on the version it was computed from; whoever loses the race computes
//! again. Nothing outside this crate names the Delta library: it hands out `Arc<dyn TableProvider>`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod aggregate;
mod changed_hours;
#[cfg(test)]
mod clock_tests;
mod columnar;
mod commit;
#[cfg(test)]
mod damage_tests;
mod datafile;
mod dedup;
mod delta;
mod dimension;
mod durable;
mod facts;
mod fan_out;
#[cfg(test)]
mod faulty_store;
mod footer;
mod integrity;
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
mod row_codec;
mod scan;
mod schema_evolution;
pub mod source_table;
mod stats;
mod tenants;
mod tombstones;
pub mod unified_table;
pub mod warehouse;

pub use aggregate::{HourlyAggregator, MissingCurrency, TransactionCurrencies};
pub use changed_hours::{ChangedFiles, ChangedHours, FactPartition, HourSet};
pub use deltalake::datafusion::catalog::TableProvider;
pub use durable::{DiskEvent, DiskObserver};
pub use facts::{FactSnapshot, RowFilter, RowPredicate, ScanRequest};
pub use integrity::{LostKind, LostTable, REPLACE_FILES, TableDamage, TableFigures, lost_commits};
pub use ops::{AsOf, DriftRow, OpsTables, RejectRow, RunRecord, SliceRow, WarningRow};
pub use published_note::LostRun;
pub use reconciliation::ReconciliationRow;
pub use rollup_table::{HOUR_COLUMN, RollupTable, RollupWatermarks};
pub use scan::first_damaged_file;
pub use source_table::{
    LandedRows, LandingOptions, LandingSummary, PackageInfo, PackagePage, SourceTable,
};
pub use unified_table::{
    ReplaceSummary, ResourceWatermark, SupersededRecords, UnifiedRowStream, UnifiedTable,
    UnifiedTableWriter, UnifyStep,
};
pub use warehouse::{FORMAT_VERSION, OpenTable, Warehouse, WarehouseClock, WarehouseLocation};
