//! Statistics that a log keeps of data files, column by column, for whoever leaves files out by them.
//!
//! Invariant: a bound is never inside of what its file holds; what the log does not say is null.

use crate::log::data_file::{CUT_TIME, DataFile, FileStats};
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int64Array, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, UInt64Type};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Bounds of one column, by data file; null where the log does not say.
#[derive(Debug, Clone)]
pub(crate) struct ColumnBounds {
    pub min: ArrayRef,
    pub max: ArrayRef,
    pub null_counts: Option<ArrayRef>,
}

/// Statistics that a log keeps of the data files of one version, in the order of its files. They are read when somebody asks first.
pub(crate) struct FileStatistics {
    files: Arc<Vec<DataFile>>,
    schema: SchemaRef,
    columns: OnceLock<BTreeMap<String, ColumnBounds>>,
}

impl fmt::Debug for FileStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStatistics")
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

impl FileStatistics {
    /// Statistics of these files of a table.
    pub(crate) fn new(files: Arc<Vec<DataFile>>, schema: SchemaRef) -> Self {
        let columns = OnceLock::new();
        Self {
            files,
            schema,
            columns,
        }
    }

    /// Bounds of a column; `None` where the log keeps none of it.
    pub(crate) fn of(&self, column: &str) -> Option<&ColumnBounds> {
        self.columns.get_or_init(|| self.read()).get(column)
    }

    fn read(&self) -> BTreeMap<String, ColumnBounds> {
        let stats: Vec<Option<FileStats>> = self
            .files
            .iter()
            .map(|file| file.stats().and_then(FileStats::parse))
            .collect();
        let is_told = |name: &str| stats.iter().flatten().any(|stats| stats.tells_of(name));
        self.schema
            .fields()
            .iter()
            .filter(|field| is_told(field.name()))
            .filter_map(|field| {
                let (min, max) = bounds(&stats, field.name(), field.data_type())?;
                let counts: UInt64Array = stats
                    .iter()
                    .map(|stats| stats.as_ref()?.nulls(field.name()))
                    .collect();
                let bounds = ColumnBounds {
                    min,
                    max,
                    null_counts: Some(Arc::new(counts)),
                };
                Some((field.name().clone(), bounds))
            })
            .collect()
    }
}

/// Smallest and largest values of a column by file; `None` for a type that has no bounds here.
fn bounds(
    stats: &[Option<FileStats>],
    name: &str,
    data_type: &DataType,
) -> Option<(ArrayRef, ArrayRef)> {
    fn of(stats: &Option<FileStats>) -> Option<&FileStats> {
        stats.as_ref()
    }
    Some(match data_type {
        DataType::Utf8 => {
            let min: StringArray = stats.iter().map(|s| of(s)?.min(name)?.as_str()).collect();
            let max: StringArray = stats.iter().map(|s| of(s)?.max(name)?.as_str()).collect();
            (Arc::new(min), Arc::new(max))
        }
        DataType::Int64 => {
            let min: Int64Array = stats.iter().map(|s| of(s)?.min(name)?.as_i64()).collect();
            let max: Int64Array = stats.iter().map(|s| of(s)?.max(name)?.as_i64()).collect();
            (Arc::new(min), Arc::new(max))
        }
        DataType::Date32 => {
            let day = FileStats::day;
            let min: Date32Array = stats.iter().map(|s| day(of(s)?.min(name)?)).collect();
            let max: Date32Array = stats.iter().map(|s| day(of(s)?.max(name)?)).collect();
            (Arc::new(min), Arc::new(max))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let time = FileStats::time;
            let widened = |time: i64| time.saturating_add(CUT_TIME);
            let min: TimestampMicrosecondArray =
                stats.iter().map(|s| time(of(s)?.min(name)?)).collect();
            let max: TimestampMicrosecondArray = stats
                .iter()
                .map(|s| time(of(s)?.max(name)?).map(widened))
                .collect();
            (
                Arc::new(min.with_timezone_opt(zone.clone())),
                Arc::new(max.with_timezone_opt(zone.clone())),
            )
        }
        _ => return None,
    })
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
