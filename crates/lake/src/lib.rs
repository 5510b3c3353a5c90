//! Delta tables on object storage: append-only history, current state, bookkeeping, and the snapshots readers open.
//!
//! Invariant: every write is one commit by compare-and-swap on the version it was computed from; whoever loses the race computes
//! again. Nothing outside this crate names the Delta library: it hands out `Arc<dyn TableProvider>`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod faulty_store;
mod file;
mod log;
mod maintenance;
mod month;
mod ops;
mod pinned_table;
mod range_table;
mod ranges;
mod scan;
mod source;
mod store;
mod table_provider;
mod typed_rows;
mod unified;
mod warehouse;

pub use deltalake::datafusion::catalog::TableProvider;
pub use file::replacement::{ReplaceSummary, UnifiedRowStream};
pub use log::figures::TableFigures;
pub use log::remedy::{ASK_ANOTHER_RUN, REPLACE_FILES};
pub use log::table_version::{PinnedPipelines, TableVersion};
pub use maintenance::compact::{CompactionOptions, CompactionSummary, TableCompaction};
pub use maintenance::inspect::{Damage, Inspection};
pub use maintenance::retention::RetentionPolicy;
pub use maintenance::table_listing::TableVacuum;
pub use maintenance::upgrade::{TableUpgrade, UpgradeSummary, upgrade};
pub use maintenance::vacuum::{VacuumOptions, VacuumSummary};
pub use ops::audit::AuditRow;
pub use ops::bookkeeping::{RejectFate, RunBookkeeping};
pub use ops::coverage::{CoverageRow, KnownList, RunFindings, readable_until};
pub use ops::edit::OpsTables;
pub use ops::fingerprints::PipelineFingerprints;
pub use ops::lease::{
    LeaseOwner, LeaseRecord, LeaseSwap, StoredLease, StoredLeases, SwappedLeases,
};
pub use ops::maintenance::MaintenanceRow;
pub use ops::older_copy::{AheadTable, OlderCopy};
pub use ops::published_note::{LostRun, UnnotedRun};
pub use ops::reconciliation::ReconciliationRow;
pub use ops::rows::{AsOf, DriftRow, RejectRow, RunRecord, SliceRow, WarningRow};
pub use ops::slices::{FoldAhead, PipelineLedger, RunLedger};
pub use ops::unpublished::LedgerEnd;
pub use range_table::{ChangedLevels, PeriodWidth, RangeTable, SourceWatermarks};
pub use ranges::{ChangedRanges, RangeColumn, RangeSet};
pub use scan::{RowFilter, RowPredicate, ScanRequest, first_damaged_file};
pub use source::dropped::{DroppedVersion, PassedOverRecord};
pub use source::fingerprints::{FingerprintUse, RecordFingerprints};
pub use source::package::PackagePage;
pub use source::table::{LandedRows, LandingOptions, LandingSummary, PackageInfo, SourceTable};
pub use source::unlisted::UnlistedRecord;
pub use source::whole_listings::WholeListings;
pub use store::cloud_options::{SecretReader, StoreOption};
pub use store::counter::StoreRequests;
pub use store::denied::{LET_READ, is_denied};
pub use store::durable::{DiskEvent, DiskObserver};
pub use store::end_uploads;
pub use store::failure::is_store_failure;
pub use store::location::{WarehouseLocation, is_store_variable};
pub use store::special_file::{open_regular, read_regular, read_regular_text, special_file};
pub use typed_rows::{ColumnType, RowValue, encode_column};
pub use unified::changed_ranges::{ChangedFiles, ComparedColumns};
pub use unified::fact_scan::{FactPartition, FactSnapshot};
pub use unified::step::{
    CarriedWatermark, ResourceWatermark, SupersededRecords, UnifyStep, WatermarkPlace,
};
pub use unified::table::UnifiedTable;
pub use unified::write::UnifiedTableWriter;
pub use warehouse::integrity::{LostKind, LostTable, TableDamage, lost_commits};
pub use warehouse::{FORMAT_FILE, FORMAT_VERSION, OpenTable, Warehouse, WarehouseClock};
