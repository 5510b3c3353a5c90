//! Origin of the records that a run writes: the provider or the source tables.
//!
//! Invariant: one run has one origin; it decides which losses the run can make good.

/// Origin of a run's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordOrigin {
    /// The provider, of whose records it reads some.
    ProviderIncremental,
    /// The provider, of whose records it reads all.
    ProviderFull,
    /// The source tables.
    SourceTables,
}
