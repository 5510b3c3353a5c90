//! Statistics that a log keeps of data files, column by column, for whoever leaves files out by them.
//!
//! Invariant: a bound is never inside of what its file holds; what the log does not say is null.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, UInt64Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Added to the largest time: statistics of other writers are cut to milliseconds.
const CUT_TIME: i64 = 1_000;

/// Bounds of one column, by data file; null where the log does not say.
#[derive(Debug, Clone)]
pub(crate) struct ColumnBounds {
    pub min: ArrayRef,
    pub max: ArrayRef,
    pub null_counts: Option<ArrayRef>,
}

/// Statistics that a log keeps of the data files of one version, in the order of its files.
#[derive(Debug, Default)]
pub(crate) struct FileStatistics(BTreeMap<String, ColumnBounds>);

impl FileStatistics {
    /// Bounds of a column; `None` where the log keeps none of it.
    pub(crate) fn of(&self, column: &str) -> Option<&ColumnBounds> {
        self.0.get(column)
    }

    /// Reads them from the flattened table of a snapshot's add actions.
    pub(crate) fn from_log(adds: &RecordBatch) -> Self {
        let schema = adds.schema();
        let columns = schema.fields().iter().filter_map(|field| {
            let name = field.name().strip_prefix("min.")?;
            let min = Arc::clone(adds.column_by_name(field.name())?);
            let max = widened(adds.column_by_name(&format!("max.{name}"))?);
            let null_counts = adds
                .column_by_name(&format!("null_count.{name}"))
                .and_then(|counts| cast(counts, &DataType::UInt64).ok());
            let bounds = ColumnBounds {
                min,
                max,
                null_counts,
            };
            Some((name.to_owned(), bounds))
        });
        Self(columns.collect())
    }
}

impl ColumnBounds {
    /// Nulls in the file at that place; `None` where the log does not say.
    pub(crate) fn null_count(&self, at: usize) -> Option<usize> {
        let counts = self.null_counts.as_ref()?;
        let counts = counts.as_primitive_opt::<UInt64Type>()?;
        let known = at < counts.len() && counts.is_valid(at);
        known.then(|| usize::try_from(counts.value(at)).ok())?
    }
}

/// Largest values that are bounds also where they were cut to milliseconds.
fn widened(max: &ArrayRef) -> ArrayRef {
    match max.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let times = max.as_primitive::<TimestampMicrosecondType>();
            let times =
                times.unary::<_, TimestampMicrosecondType>(|time| time.saturating_add(CUT_TIME));
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        _ => Arc::clone(max),
    }
}
