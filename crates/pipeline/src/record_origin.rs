//! Origin of the records that a run writes: the provider or the source tables.
//!
//! Invariant: one run has one origin; it decides which losses the run can make good.

/// Origin of a run's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordOrigin {
    /// The provider, of whose records it reads those that are not noted as read, and the newest.
    ProviderIncremental,
    /// The provider, of whose records it reads those of a range that was asked for.
    ProviderRange,
    /// The provider, of whose records it reads all.
    ProviderFull,
    /// The source tables.
    SourceTables,
}

impl RecordOrigin {
    /// True if the run goes through everything that it is about, from the provider or from source tables.
    pub(crate) fn reads_all(self) -> bool {
        matches!(self, Self::ProviderFull | Self::SourceTables)
    }
}
