//! Data files as the log lists them: size, rows, partition values, and the ranges of times and packages.
//!
//! Invariant: a range never leaves out a row of its file. What the log does not say is `None`, and may be anything.

use crate::month::NONE;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use std::collections::BTreeMap;
use tillhouse_model::table::{LOAD_ID, MONTH, PIPELINE, RECORD_TIME};
use tillhouse_model::{Error, ErrorKind, Result};

/// One data file of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DataFile {
    /// Below the table's root, decoded.
    pub path: String,
    pub size: u64,
    /// `None` where the log does not say.
    pub rows: Option<u64>,
    pub partition: BTreeMap<String, Option<String>>,
    /// Smallest and largest `_record_time`, microseconds; the largest is already widened by a millisecond, since Delta statistics
    /// are cut to milliseconds.
    pub times: Option<(i64, i64)>,
    /// Number of rows without a record time; `None` if the log does not say.
    pub untimed: Option<u64>,
    /// Smallest and largest `_load_id`.
    pub load_ids: Option<(i64, i64)>,
}

impl DataFile {
    /// The value of a partition column, `None` where it is null or there is no such column.
    pub(crate) fn partition_value(&self, column: &str) -> Option<&str> {
        self.partition.get(column).and_then(|v| v.as_deref())
    }

    /// True if rows without a record time may be inside.
    pub(crate) fn may_hold_untimed(&self) -> bool {
        self.untimed != Some(0)
    }

    /// True if a row with one of these record times (sorted, microseconds) may be inside, give or take `margin`.
    pub(crate) fn may_hold_times(&self, sorted: &[i64], margin: i64) -> bool {
        let Some((min, max)) = self.times else {
            // No statistics: either nobody wrote them, or every row is untimed.
            return self.rows.is_none() || self.untimed != self.rows;
        };
        let from = sorted.partition_point(|t| *t < min.saturating_sub(margin));
        sorted
            .get(from)
            .is_some_and(|t| *t <= max.saturating_add(margin))
    }

    /// The pipeline whose rows it holds. Errors with [`ErrorKind::Storage`] where it says none.
    pub(crate) fn pipeline(&self) -> Result<&str> {
        self.partition_value(PIPELINE).ok_or_else(|| {
            Error::new(ErrorKind::Storage, "a data file belongs to no pipeline")
                .at("file", &self.path)
        })
    }

    /// The month of its rows, `none` where they have no time.
    pub(crate) fn month(&self) -> &str {
        self.partition_value(MONTH).unwrap_or(NONE)
    }

    /// True if its rows are of that pipeline.
    pub(crate) fn is_of(&self, pipeline: &str) -> bool {
        self.partition_value(PIPELINE) == Some(pipeline)
    }
}

/// Reads a snapshot's files from the flattened table of its add actions.
pub(crate) fn from_log(adds: &RecordBatch, partition_by: &[String]) -> Result<Vec<DataFile>> {
    let missing = || {
        Error::new(
            ErrorKind::Storage,
            "a table's log lists files in a shape this version does not know",
        )
    };
    let paths = adds
        .column_by_name("path")
        .and_then(|c| c.as_string_opt::<i32>())
        .ok_or_else(missing)?;
    let sizes = int(adds, "size_bytes").ok_or_else(missing)?;
    let rows = int(adds, "num_records");
    let times = (
        time(adds, &format!("min.{RECORD_TIME}")),
        time(adds, &format!("max.{RECORD_TIME}")),
    );
    let lands = (
        int(adds, &format!("min.{LOAD_ID}")),
        int(adds, &format!("max.{LOAD_ID}")),
    );
    let untimed = int(adds, &format!("null_count.{RECORD_TIME}"));
    let at = |values: &Option<Vec<Option<i64>>>, row: usize| {
        values.as_ref().and_then(|v| v.get(row).copied().flatten())
    };
    let count = |values: &Option<Vec<Option<i64>>>, row: usize| {
        at(values, row).and_then(|v| u64::try_from(v).ok())
    };
    let mut files = Vec::with_capacity(adds.num_rows());
    for row in 0..adds.num_rows() {
        let mut partition = BTreeMap::new();
        for column in partition_by {
            let value = adds.column_by_name(&format!("partition.{column}"));
            let text = value
                .filter(|v| v.is_valid(row))
                .and_then(|v| v.as_string_opt::<i32>())
                .map(|v| v.value(row));
            partition.insert(column.clone(), text.map(ToOwned::to_owned));
        }
        files.push(DataFile {
            path: decoded(paths.value(row)),
            size: sizes
                .get(row)
                .copied()
                .flatten()
                .and_then(|s| u64::try_from(s).ok())
                .ok_or_else(missing)?,
            rows: count(&rows, row),
            partition,
            times: at(&times.0, row)
                .zip(at(&times.1, row))
                .map(|(min, max)| (min, max.saturating_add(1_000))),
            untimed: count(&untimed, row),
            load_ids: at(&lands.0, row).zip(at(&lands.1, row)),
        });
    }
    Ok(files)
}

fn int(batch: &RecordBatch, name: &str) -> Option<Vec<Option<i64>>> {
    Some(
        batch
            .column_by_name(name)?
            .as_primitive_opt::<Int64Type>()?
            .iter()
            .collect(),
    )
}

fn time(batch: &RecordBatch, name: &str) -> Option<Vec<Option<i64>>> {
    Some(
        batch
            .column_by_name(name)?
            .as_primitive_opt::<TimestampMicrosecondType>()?
            .iter()
            .collect(),
    )
}

/// Undoes percent encoding; paths in a Delta log are URIs.
fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes
            .get(i + 1..i + 3)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[i], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_a_log_are_uris() {
        assert_eq!(
            decoded("month=2026-01/a%20b%C3%A4.parquet"),
            "month=2026-01/a bä.parquet"
        );
        assert_eq!(decoded("100%"), "100%");
    }
}
