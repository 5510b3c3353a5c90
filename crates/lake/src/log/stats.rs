//! Delta statistics of data files: the columns that have them, and their collection while a file is written.
//!
//! Invariant: a minimum is never above, a maximum never below any value in its file. Decimals have no Delta statistics at all: they
//! pass through a float there; Parquet's own are exact.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{
    DataType, Date32Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use jiff::Timestamp;
use tillhouse_model::table::{LOAD_ID, OCCURRED_AT, RECORD_KEY, RECORD_TIME};

/// Texts in statistics are cut to this many characters.
const TEXT_LENGTH: usize = 40;

/// The columns of a table that have Delta statistics.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StatColumns(Vec<String>);

impl StatColumns {
    /// The key columns and the columns files are pruned by, as far as the schema has them and they are not partition columns.
    pub(crate) fn of(schema: &Schema, key: &[String], partition_by: &[String]) -> Self {
        let mut names: Vec<String> = Vec::new();
        let wanted =
            key.iter()
                .map(String::as_str)
                .chain([RECORD_KEY, RECORD_TIME, LOAD_ID, OCCURRED_AT]);
        for name in wanted {
            let known = names.iter().chain(partition_by).any(|n| n == name);
            let fits = schema
                .field_with_name(name)
                .is_ok_and(|f| has_statistics(f.data_type()));
            if fits && !known {
                names.push(name.to_owned());
            }
        }
        Self(names)
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }
}

fn has_statistics(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}

/// Minimum and maximum of a column.
#[derive(Debug, Clone, PartialEq)]
enum ColumnRange {
    Empty,
    Text(String, String),
    Int(i64, i64),
    Time(i64, i64),
    Date(i32, i32),
}

/// Collector of the Delta statistics of one file while it is written.
#[derive(Debug)]
pub(crate) struct StatsCollector {
    columns: Vec<(String, usize, ColumnRange, u64)>,
    rows: u64,
}

impl StatsCollector {
    /// A collector for batches of that schema.
    pub(crate) fn new(schema: &Schema, columns: &StatColumns) -> Self {
        let columns = columns.names().iter().filter_map(|name| {
            let index = schema.index_of(name).ok()?;
            Some((name.clone(), index, ColumnRange::Empty, 0))
        });
        Self {
            columns: columns.collect(),
            rows: 0,
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        for (_, index, range, nulls) in &mut self.columns {
            let array = batch.column(*index);
            *nulls += array.null_count() as u64;
            widen(range, array.as_ref());
        }
    }

    /// The JSON that stands in an Add action.
    pub(crate) fn to_json(&self) -> String {
        let mut mins = serde_json::Map::new();
        let mut maxes = serde_json::Map::new();
        let mut nulls = serde_json::Map::new();
        for (name, _, range, null_count) in &self.columns {
            nulls.insert(name.clone(), (*null_count).into());
            let (min, max): (Option<serde_json::Value>, Option<serde_json::Value>) = match range {
                ColumnRange::Empty => (None, None),
                ColumnRange::Int(min, max) => (Some((*min).into()), Some((*max).into())),
                ColumnRange::Text(min, max) => {
                    (Some(cut_down(min).into()), cut_up(max).map(Into::into))
                }
                ColumnRange::Time(min, max) => {
                    // Cut to milliseconds, the largest upwards, so that it stays a bound for readers that do not widen it.
                    (
                        time_text(min.div_euclid(1_000)),
                        time_text(max.saturating_add(999).div_euclid(1_000)),
                    )
                }
                ColumnRange::Date(min, max) => (date_text(*min), date_text(*max)),
            };
            if let Some(min) = min {
                mins.insert(name.clone(), min);
            }
            if let Some(max) = max {
                maxes.insert(name.clone(), max);
            }
        }
        serde_json::json!({"numRecords": self.rows, "minValues": mins, "maxValues": maxes, "nullCount": nulls})
            .to_string()
    }
}

fn widen(range: &mut ColumnRange, array: &dyn Array) {
    fn both<T: PartialOrd + Copy>(old: Option<(T, T)>, min: T, max: T) -> (T, T) {
        old.map_or((min, max), |(a, b)| {
            (if min < a { min } else { a }, if max > b { max } else { b })
        })
    }
    match array.data_type() {
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            let (Some(min), Some(max)) = (min_string(array), max_string(array)) else {
                return;
            };
            match range {
                ColumnRange::Text(old_min, old_max) => {
                    if min < old_min.as_str() {
                        *old_min = min.to_owned();
                    }
                    if max > old_max.as_str() {
                        *old_max = max.to_owned();
                    }
                }
                _ => *range = ColumnRange::Text(min.to_owned(), max.to_owned()),
            }
        }
        DataType::Int64 => {
            let array = array.as_primitive::<Int64Type>();
            let (Some(min), Some(max)) = (min(array), max(array)) else {
                return;
            };
            let old = if let ColumnRange::Int(a, b) = range {
                Some((*a, *b))
            } else {
                None
            };
            let (min, max) = both(old, min, max);
            *range = ColumnRange::Int(min, max);
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let array = array.as_primitive::<TimestampMicrosecondType>();
            let (Some(min), Some(max)) = (min(array), max(array)) else {
                return;
            };
            let old = if let ColumnRange::Time(a, b) = range {
                Some((*a, *b))
            } else {
                None
            };
            let (min, max) = both(old, min, max);
            *range = ColumnRange::Time(min, max);
        }
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>();
            let (Some(min), Some(max)) = (min(array), max(array)) else {
                return;
            };
            let old = if let ColumnRange::Date(a, b) = range {
                Some((*a, *b))
            } else {
                None
            };
            let (min, max) = both(old, min, max);
            *range = ColumnRange::Date(min, max);
        }
        _ => {}
    }
}

fn time_text(millis: i64) -> Option<serde_json::Value> {
    let instant = Timestamp::from_millisecond(millis).ok()?;
    Some(
        instant
            .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
            .to_string()
            .into(),
    )
}

fn date_text(days: i32) -> Option<serde_json::Value> {
    let date = jiff::civil::date(1970, 1, 1)
        .checked_add(jiff::Span::new().try_days(days).ok()?)
        .ok()?;
    Some(date.to_string().into())
}

/// A prefix is never above the text itself.
fn cut_down(text: &str) -> String {
    text.chars().take(TEXT_LENGTH).collect()
}

/// A text that is not below any text with this one's prefix; `None` where there is none.
fn cut_up(text: &str) -> Option<String> {
    if text.chars().nth(TEXT_LENGTH).is_none() {
        return Some(text.to_owned());
    }
    let mut prefix: Vec<char> = text.chars().take(TEXT_LENGTH).collect();
    while let Some(last) = prefix.pop() {
        let next = match u32::from(last) {
            0xD7FF => Some('\u{E000}'),
            code => char::from_u32(code + 1),
        };
        if let Some(next) = next {
            prefix.push(next);
            return Some(prefix.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
    use proptest::prelude::*;
    use std::sync::Arc;

    proptest! {
        #[test]
        fn cut_texts_stay_bounds(text in "\\PC{0,60}", tail in "\\PC{0,10}") {
            prop_assert!(cut_down(&text) <= text);
            if let Some(upper) = cut_up(&text) {
                prop_assert!(upper >= text);
                if text.chars().count() > TEXT_LENGTH {
                    let longer = [text.as_str(), tail.as_str()].concat();
                    prop_assert!(upper > longer);
                }
            }
        }
    }

    #[test]
    fn the_last_character_there_is_cannot_be_counted_up() {
        assert_eq!(cut_up(&"\u{10FFFF}".repeat(50)), None);
        let upper = cut_up(&format!("a{}", "\u{10FFFF}".repeat(50))).unwrap();
        assert_eq!(upper, "b");
        assert!(
            cut_up(&"\u{D7FF}".repeat(50))
                .unwrap()
                .ends_with('\u{E000}')
        );
    }

    #[test]
    fn statistics_are_bounds_over_all_batches_and_times_are_cut_to_milliseconds() {
        let schema = Schema::new(vec![
            arrow::datatypes::Field::new(RECORD_KEY, DataType::Utf8, false),
            arrow::datatypes::Field::new(RECORD_TIME, tillhouse_model::table::timestamp(), true),
            arrow::datatypes::Field::new(LOAD_ID, DataType::Int64, false),
            arrow::datatypes::Field::new("amount", DataType::Decimal128(18, 4), true),
        ]);
        let columns = StatColumns::of(&schema, &["amount".to_owned()], &[]);
        assert_eq!(
            columns.names(),
            [RECORD_KEY, RECORD_TIME, LOAD_ID],
            "decimals have no Delta statistics"
        );
        let mut collector = StatsCollector::new(&schema, &columns);
        for (keys, times, land) in [
            (["b", "c"], [Some(1_700_000_000_000_001), None], 3),
            (["a", "b"], [None, None], 4),
        ] {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from_iter_values(keys)),
                Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC")),
                Arc::new(Int64Array::from_value(land, 2)),
                Arc::new(
                    arrow::array::Decimal128Array::from(vec![1, 2])
                        .with_precision_and_scale(18, 4)
                        .unwrap(),
                ),
            ];
            collector.add(&RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap());
        }
        let json: serde_json::Value = serde_json::from_str(&collector.to_json()).unwrap();
        assert_eq!(json["numRecords"], 4);
        assert_eq!(json["minValues"][RECORD_KEY], "a");
        assert_eq!(json["maxValues"][RECORD_KEY], "c");
        assert_eq!(json["minValues"][RECORD_TIME], "2023-11-14T22:13:20.000Z");
        assert_eq!(json["maxValues"][RECORD_TIME], "2023-11-14T22:13:20.001Z");
        assert_eq!(json["nullCount"][RECORD_TIME], 3);
        assert_eq!(
            (&json["minValues"][LOAD_ID], &json["maxValues"][LOAD_ID]),
            (&3.into(), &4.into())
        );
        assert!(json["minValues"].get("amount").is_none());
    }
}
