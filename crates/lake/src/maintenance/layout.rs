//! The layout of a table that is there, read from its own description.
//!
//! Invariant: files that maintenance writes have the columns, the statistics and the encodings of those the table's owner writes.

use crate::file::layout::TableLayout;
use crate::log::snapshot::Snapshot;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use tillhouse_model::Result;
use tillhouse_model::table::{LOAD_ID, OCCURRED_AT, RECORD_KEY, RECORD_TIME};

/// Property that names the columns with statistics.
pub(crate) const STATS_COLUMNS: &str = "delta.dataSkippingStatsColumns";

/// The layout of a snapshot's table.
pub(crate) fn layout_of(snapshot: &Snapshot) -> Result<Arc<TableLayout>> {
    layout_with(snapshot, snapshot.schema(), str::to_owned)
}

/// As [`layout_of`] with another schema, of which columns have other names.
pub(crate) fn layout_with(
    snapshot: &Snapshot,
    schema: SchemaRef,
    renamed: impl Fn(&str) -> String,
) -> Result<Arc<TableLayout>> {
    let metadata = &snapshot.description.metadata;
    let with_statistics = metadata.configuration().get(STATS_COLUMNS);
    // A column that not every table has statistics of is its key.
    let key: Vec<String> = with_statistics
        .map(String::as_str)
        .unwrap_or_default()
        .split(',')
        .map(renamed)
        .filter(|name| ![RECORD_KEY, RECORD_TIME, LOAD_ID, OCCURRED_AT].contains(&name.as_str()))
        .filter(|name| schema.index_of(name).is_ok())
        .collect();
    let partition_by = metadata.partition_columns().to_vec();
    Ok(Arc::new(TableLayout::new(schema, &key, partition_by)?))
}
