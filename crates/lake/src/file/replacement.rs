//! Replacement of rows: the stream that comes, and the summary of what came and went.
//!
//! Invariant: old rows go and new ones come in one commit.

use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use tillhouse_model::Result;

/// Stream of batches of [`TableSpec::unified_schema`](tillhouse_model::TableSpec::unified_schema).
pub type UnifiedRowStream = BoxStream<'static, Result<RecordBatch>>;

/// Summary of a replacement: version, rows added and removed, files read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplaceSummary {
    /// The table's version after it.
    pub version: u64,
    /// Rows that came.
    pub rows_added: u64,
    /// Rows that went.
    pub rows_removed: u64,
    /// Data files that had to be opened.
    pub files_read: u64,
}
