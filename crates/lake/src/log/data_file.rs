//! Data files as the log lists them: size, rows, partition values, and the ranges of times and packages.
//!
//! Invariant: a range never leaves out a row of its file. What the log does not say is `None`, and may be anything.

use crate::month::NONE;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::table::{LOAD_ID, MONTH, PIPELINE, RECORD_TIME};
use tillhouse_model::{Error, ErrorKind, Result};

/// Added to the largest time: statistics of other writers are cut to milliseconds.
pub(crate) const CUT_TIME: i64 = 1_000;

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
    /// Pipelines whose rows are shown, where the file holds those of several and a run does not name it for all of them.
    pub shown: Option<ShownPipelines>,
    /// Its statistics, as the log has them.
    stats: Option<Arc<str>>,
}

/// Pipelines whose rows of a data file are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ShownPipelines {
    /// That one.
    Only(String),
    /// All but these.
    But(Arc<Vec<String>>),
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

    /// True if the rows that it shows are of that pipeline.
    pub(crate) fn shows_only(&self, pipeline: &str) -> bool {
        let only = match &self.shown {
            Some(ShownPipelines::Only(only)) => Some(only.as_str()),
            _ => self.partition_value(PIPELINE),
        };
        only == Some(pipeline)
    }

    /// The same file with rows of some pipelines alone; nobody knows how many these are.
    pub(crate) fn showing(self, shown: ShownPipelines) -> Self {
        Self {
            rows: None,
            shown: Some(shown),
            ..self
        }
    }

    /// True if a row with that text in a column may be inside, by the bounds in the log.
    pub(crate) fn may_hold_text(&self, column: &str, text: &str) -> bool {
        let said = self.stats().and_then(FileStats::parse).unwrap_or_default();
        let is_within = |bound: Option<&Value>, within: fn(&str, &str) -> bool| {
            let bound = bound.and_then(Value::as_str);
            bound.is_none_or(|bound| within(bound, text))
        };
        is_within(said.min(column), |min, text| min <= text)
            && is_within(said.max(column), |max, text| text <= max)
    }
}

impl DataFile {
    /// A file as a log lists it. Statistics that are not JSON say nothing.
    pub(crate) fn listed(
        path: String,
        size: u64,
        partition: BTreeMap<String, Option<String>>,
        stats: Option<String>,
    ) -> Self {
        let said = stats
            .as_deref()
            .and_then(FileStats::parse)
            .unwrap_or_default();
        let times = said
            .min(RECORD_TIME)
            .and_then(FileStats::time)
            .zip(said.max(RECORD_TIME).and_then(FileStats::time))
            .map(|(min, max)| (min, max.saturating_add(CUT_TIME)));
        let load_ids = said
            .min(LOAD_ID)
            .and_then(Value::as_i64)
            .zip(said.max(LOAD_ID).and_then(Value::as_i64));
        Self {
            path,
            size,
            rows: said.num_records,
            partition,
            times,
            untimed: said.nulls(RECORD_TIME),
            load_ids,
            shown: None,
            stats: stats.map(Into::into),
        }
    }

    /// Its statistics, as the log has them.
    pub(crate) fn stats(&self) -> Option<&str> {
        self.stats.as_deref()
    }
}

/// Statistics of one file, as the log has them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FileStats {
    num_records: Option<u64>,
    min_values: Option<Map<String, Value>>,
    max_values: Option<Map<String, Value>>,
    null_count: Option<Map<String, Value>>,
}

impl FileStats {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn tells_of(&self, column: &str) -> bool {
        [&self.min_values, &self.max_values, &self.null_count]
            .into_iter()
            .flatten()
            .any(|said| said.contains_key(column))
    }

    pub(crate) fn min(&self, column: &str) -> Option<&Value> {
        self.min_values.as_ref()?.get(column)
    }

    pub(crate) fn max(&self, column: &str) -> Option<&Value> {
        self.max_values.as_ref()?.get(column)
    }

    pub(crate) fn nulls(&self, column: &str) -> Option<u64> {
        self.null_count.as_ref()?.get(column)?.as_u64()
    }

    /// Microseconds of a time.
    pub(crate) fn time(value: &Value) -> Option<i64> {
        let instant: Timestamp = value.as_str()?.parse().ok()?;
        Some(instant.as_microsecond())
    }

    /// Days since 1970 of a date.
    pub(crate) fn day(value: &Value) -> Option<i32> {
        let date: jiff::civil::Date = value.as_str()?.parse().ok()?;
        let epoch = jiff::civil::date(1970, 1, 1);
        Some(date.since(epoch).ok()?.get_days())
    }
}

/// Undoes percent encoding; paths in a Delta log are URIs.
pub(crate) fn decoded(path: &str) -> String {
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
    fn a_text_outside_of_the_bounds_is_in_no_row() {
        let file = |stats: Option<&str>| {
            let stats = stats.map(str::to_owned);
            DataFile::listed("f".to_owned(), 1, BTreeMap::new(), stats)
        };
        let bounds =
            r#"{"numRecords":2,"minValues":{"level":"daily"},"maxValues":{"level":"monthly"}}"#;
        let found = file(Some(bounds));
        for (text, is_possible) in [
            ("daily", true),
            ("daily_totals", true),
            ("monthly", true),
            ("monthly_totals", false),
            ("d", false),
        ] {
            assert_eq!(found.may_hold_text("level", text), is_possible, "{text}");
        }
        assert!(found.may_hold_text("pipeline", "a"));
        assert!(file(None).may_hold_text("level", "yearly"));
    }

    #[test]
    fn paths_in_a_log_are_uris() {
        assert_eq!(
            decoded("month=2026-01/a%20b%C3%A4.parquet"),
            "month=2026-01/a bä.parquet"
        );
        assert_eq!(decoded("100%"), "100%");
    }
}
