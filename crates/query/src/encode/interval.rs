//! Spans of time as text: `50 days 17:21:36`, as PostgreSQL writes them.
//!
//! Invariant: months, days and the time within a day stay what they are, since a month has no fixed number of days and a day no fixed number of hours; a text is
//! one that `INTERVAL '...'` reads as the same span.

use crate::encode::cannot_show;
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit,
    IntervalYearMonthType, TimeUnit,
};
use std::fmt::Write;
use tillhouse_model::Result;

const DAY: i64 = 86_400_000_000_000;

/// The text of a value that is a span of time; `None` where the column has none.
pub(crate) fn text(column: &dyn Array, row: usize) -> Result<Option<String>> {
    if column.is_null(row) {
        return Ok(None);
    }
    Ok(match column.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let span = column.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Some(of_parts(
                span.months,
                i64::from(span.days),
                span.nanoseconds,
            ))
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let span = column.as_primitive::<IntervalDayTimeType>().value(row);
            let nanoseconds = i64::from(span.milliseconds) * 1_000_000;
            Some(of_parts(0, i64::from(span.days), nanoseconds))
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            let months = column.as_primitive::<IntervalYearMonthType>().value(row);
            Some(of_parts(months, 0, 0))
        }
        DataType::Duration(unit) => {
            let count = cast(&column.slice(row, 1), &DataType::Int64).map_err(cannot_show)?;
            let count = i128::from(count.as_primitive::<Int64Type>().value(0));
            let unit: i128 = match unit {
                TimeUnit::Second => 1_000_000_000,
                TimeUnit::Millisecond => 1_000_000,
                TimeUnit::Microsecond => 1_000,
                TimeUnit::Nanosecond => 1,
            };
            // Days of 24 hours: the span is between two instants.
            let nanoseconds = count * unit;
            let days = i64::try_from(nanoseconds / i128::from(DAY)).unwrap_or(i64::MAX);
            let rest = i64::try_from(nanoseconds % i128::from(DAY)).unwrap_or_default();
            Some(of_parts(0, days, rest))
        }
        _ => None,
    })
}

/// True for a column of spans of time.
pub(crate) fn is_span(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

fn of_parts(months: i32, days: i64, nanoseconds: i64) -> String {
    let mut text = String::new();
    let mut was_negative = false;
    let mut part = |count: i64, unit: &str| {
        if count != 0 {
            let sign = if was_negative && count > 0 { "+" } else { "" };
            let ending = if count == 1 { "" } else { "s" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{sign}{count} {unit}{ending} ");
            was_negative = count < 0;
        }
    };
    part(i64::from(months / 12), "year");
    part(i64::from(months % 12), "mon");
    part(days, "day");
    if nanoseconds != 0 || text.is_empty() {
        let sign = match nanoseconds < 0 {
            true => "-",
            false if was_negative => "+",
            false => "",
        };
        let size = nanoseconds.unsigned_abs();
        let (seconds, fraction) = (size / 1_000_000_000, size % 1_000_000_000);
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        let _ = write!(text, "{sign}{hours:02}:{minutes:02}:{:02}", seconds % 60);
        if fraction != 0 {
            let digits = format!("{fraction:09}");
            let _ = write!(text, ".{}", digits.trim_end_matches('0'));
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DurationMicrosecondArray, Int64Array, IntervalMonthDayNanoArray};
    use arrow::datatypes::IntervalMonthDayNano;

    #[test]
    fn a_span_is_written_as_postgresql_writes_it() {
        for (months, days, seconds, expected) in [
            (0, 50, 62_496, "50 days 17:21:36"),
            (0, 0, 0, "00:00:00"),
            (1, 1, 0, "1 mon 1 day"),
            (26, 0, 0, "2 years 2 mons"),
            (0, -1, 3_600, "-1 days +01:00:00"),
            (0, 0, -90, "-00:01:30"),
            (-1, 3, -1, "-1 mons +3 days -00:00:01"),
            (0, 0, 360_000, "100:00:00"),
        ] {
            assert_eq!(of_parts(months, days, seconds * 1_000_000_000), expected);
        }
        assert_eq!(of_parts(0, 0, 1_500_000_000), "00:00:01.5");
    }

    #[test]
    fn every_type_of_span_is_written_alike() {
        let spans = IntervalMonthDayNanoArray::from(vec![
            Some(IntervalMonthDayNano::new(0, 2, 60_000_000_000)),
            None,
        ]);
        assert_eq!(text(&spans, 0).unwrap().as_deref(), Some("2 days 00:01:00"));
        assert_eq!(text(&spans, 1).unwrap(), None);
        let lengths =
            DurationMicrosecondArray::from(vec![4_382_496_000_000, -90_000_000, i64::MIN]);
        assert_eq!(
            text(&lengths, 0).unwrap().as_deref(),
            Some("50 days 17:21:36")
        );
        assert_eq!(text(&lengths, 1).unwrap().as_deref(), Some("-00:01:30"));
        assert!(text(&lengths, 2).unwrap().is_some());
        assert_eq!(text(&Int64Array::from(vec![1]), 0).unwrap(), None);
    }
}
