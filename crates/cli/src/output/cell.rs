//! A value as text: the one writer of instants, dates, numbers for tables and JSON.
//!
//! Invariant: an instant is RFC 3339 with the offset of the clock it is printed by (`2026-07-01T02:11:53+02:00` in Berlin, `Z` for UTC), in as many digits
//! as it has; a time without a zone has no offset. RFC 3339 has no offset of seconds, as clocks had before they were set by zones: such an instant is told in UTC, `1890-01-01T00:00:00Z`. CSV,
//! which Arrow writes, says the same, as a test proves. Lists and objects are JSON, so that `[null]`, `[""]` and `[]` differ. A value that cannot be shown is an error and never text in its place.

use crate::output::{cannot_show, interval, json};
use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tillhouse_model::Result;

/// Formatter of a column's values as text; nulls are empty.
pub(crate) struct CellFormatter<'a> {
    column: &'a dyn Array,
    plain: ArrayFormatter<'a>,
    historic: Option<StringArray>,
}

impl<'a> CellFormatter<'a> {
    pub(crate) fn of(column: &'a dyn Array) -> Result<Self> {
        let options = FormatOptions::default().with_null("");
        Ok(Self {
            column,
            plain: ArrayFormatter::try_new(column, &options).map_err(cannot_show)?,
            historic: historic(column)?,
        })
    }

    pub(crate) fn text(&self, row: usize) -> Result<String> {
        if let Some(texts) = self.historic.as_ref().filter(|texts| texts.is_valid(row)) {
            return Ok(texts.value(row).to_owned());
        }
        if self.column.data_type().is_nested() && self.column.is_valid(row) {
            return json::value(self.column, row);
        }
        if let Some(span) = interval::text(self.column, row)? {
            return Ok(span);
        }
        self.plain.value(row).try_to_string().map_err(cannot_show)
    }
}

/// Errors when a column has an instant that cannot be shown, for formats that would write its number.
pub(crate) fn in_calendar(column: &dyn Array) -> Result<()> {
    if !matches!(
        column.data_type(),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
    ) {
        return Ok(());
    }
    let numbers = cast(column, &DataType::Int64).map_err(cannot_show)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let rows = || (0..column.len()).filter(|row| column.is_valid(*row));
    let earliest = rows().min_by_key(|row| numbers.value(*row));
    let latest = rows().max_by_key(|row| numbers.value(*row));
    let cells = CellFormatter::of(column)?;
    for row in earliest.into_iter().chain(latest) {
        cells.text(row)?;
    }
    Ok(())
}

/// The last offset of seconds was Liberia's, until January 1972.
const LAST_HISTORIC: i64 = 64_000_000;

/// The texts of instants whose clock differs from UTC by seconds too, in UTC, null for all others; `None` if there are none. Arrow would cut the offset to minutes.
pub(crate) fn historic(column: &dyn Array) -> Result<Option<StringArray>> {
    let DataType::Timestamp(unit, Some(zone)) = column.data_type() else {
        return Ok(None);
    };
    // A fixed offset has no seconds, and is no zone's name.
    let zone = match TimeZone::get(zone) {
        Ok(zone) if zone != TimeZone::UTC => zone,
        _ => return Ok(None),
    };
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let numbers = cast(column, &DataType::Int64).map_err(cannot_show)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let is_old = |number: &i64| number.div_euclid(per_second) < LAST_HISTORIC;
    if !numbers.iter().flatten().any(|number| is_old(&number)) {
        return Ok(None);
    }
    let text = |number: i64| {
        let nanoseconds = i128::from(number) * i128::from(1_000_000_000 / per_second);
        let at = Timestamp::from_nanosecond(nanoseconds).ok()?;
        let offset = zone.to_offset(at);
        (offset.seconds() % 60 != 0).then(|| at.to_string())
    };
    let texts: StringArray = numbers
        .iter()
        .map(|number| number.filter(is_old).and_then(text))
        .collect();
    Ok((texts.null_count() < texts.len()).then_some(texts))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::output::{json, table};
    use arrow::array::{
        ArrayRef, RecordBatch, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray, TimestampSecondArray,
    };
    use std::sync::Arc;

    /// 2026-07-01T00:11:53.250Z and its neighbours, by unit.
    fn instants(zone: Option<&str>) -> Vec<(ArrayRef, &'static str)> {
        let zoned = |array: ArrayRef| {
            let data_type = match array.data_type() {
                arrow::datatypes::DataType::Timestamp(unit, _) => {
                    arrow::datatypes::DataType::Timestamp(*unit, zone.map(Into::into))
                }
                other => other.clone(),
            };
            arrow::array::make_array(
                array
                    .to_data()
                    .into_builder()
                    .data_type(data_type)
                    .build()
                    .unwrap(),
            )
        };
        vec![
            (
                zoned(Arc::new(TimestampSecondArray::from(vec![1_782_864_713]))),
                "",
            ),
            (
                zoned(Arc::new(TimestampMillisecondArray::from(vec![
                    1_782_864_713_250,
                ]))),
                ".250",
            ),
            (
                zoned(Arc::new(TimestampMicrosecondArray::from(vec![
                    1_782_864_713_250_001,
                ]))),
                ".250001",
            ),
            (
                zoned(Arc::new(TimestampNanosecondArray::from(vec![
                    1_782_864_713_250_000_001,
                ]))),
                ".250000001",
            ),
        ]
    }

    #[test]
    fn instants_have_the_offset_of_their_clock_in_every_format() {
        for (zone, clock, offset) in [
            (Some("+00:00"), "2026-07-01T00:11:53", "Z"),
            (Some("UTC"), "2026-07-01T00:11:53", "Z"),
            (Some("Europe/Berlin"), "2026-07-01T02:11:53", "+02:00"),
            (Some("America/St_Johns"), "2026-06-30T21:41:53", "-02:30"),
            (Some("Asia/Kathmandu"), "2026-07-01T05:56:53", "+05:45"),
            (Some("+14:00"), "2026-07-01T14:11:53", "+14:00"),
            (None, "2026-07-01T00:11:53", ""),
        ] {
            for (column, fraction) in instants(zone) {
                let expected = format!("{clock}{fraction}{offset}");
                let batch = RecordBatch::try_from_iter([("at", column)]).unwrap();
                let shown = table(&batch.schema(), std::slice::from_ref(&batch), "").unwrap();
                assert!(
                    shown.contains(&format!(" {expected} ")),
                    "{expected}: {shown}"
                );
                let json = json::JsonRowEncoder::default().encode(&batch).unwrap();
                assert_eq!(json, format!("[\n  {{\"at\": \"{expected}\"}}"));
                let mut csv = Vec::new();
                arrow::csv::WriterBuilder::new()
                    .with_header(false)
                    .build(&mut csv)
                    .write(&batch)
                    .unwrap();
                assert_eq!(String::from_utf8(csv).unwrap().trim_end(), expected);
            }
        }
    }

    #[test]
    fn an_instant_whose_offset_has_seconds_is_told_in_utc() {
        for (zone, at, expected) in [
            (
                "Europe/Berlin",
                -2_524_521_600_000_000,
                "1890-01-01T00:00:00Z",
            ),
            (
                "Africa/Monrovia",
                -315_619_200_500_000,
                "1959-12-31T23:59:59.5Z",
            ),
            ("Europe/Berlin", 0, "1970-01-01T01:00:00+01:00"),
        ] {
            let column: ArrayRef =
                Arc::new(TimestampMicrosecondArray::from(vec![Some(at), None]).with_timezone(zone));
            let batch = RecordBatch::try_from_iter([("at", column)]).unwrap();
            let shown = table(&batch.schema(), std::slice::from_ref(&batch), "").unwrap();
            assert!(
                shown.contains(&format!(" {expected} ")),
                "{expected}: {shown}"
            );
            let json = json::JsonRowEncoder::default().encode(&batch).unwrap();
            assert!(
                json.contains(&format!("\"{expected}\"")),
                "{expected}: {json}"
            );
            let mut csv = Vec::new();
            arrow::csv::WriterBuilder::new()
                .with_header(false)
                .build(&mut csv)
                .write(&crate::output::results::flattened(&batch).unwrap())
                .unwrap();
            assert_eq!(
                String::from_utf8(csv).unwrap().lines().next(),
                Some(expected)
            );
        }
    }

    #[test]
    fn a_list_of_nothing_and_an_empty_list_differ() {
        use arrow::array::{ListArray, StringArray};
        use arrow::buffer::OffsetBuffer;
        use arrow::datatypes::Field;
        let texts = StringArray::from(vec![None, Some(""), Some("a, b"), Some("c")]);
        let lists = ListArray::new(
            Arc::new(Field::new_list_field(DataType::Utf8, true)),
            OffsetBuffer::from_lengths([1, 1, 0, 2, 0]),
            Arc::new(texts),
            Some(vec![true, true, true, true, false].into()),
        );
        let cells = CellFormatter::of(&lists).unwrap();
        let shown: Vec<String> = (0..5).map(|row| cells.text(row).unwrap()).collect();
        assert_eq!(shown, ["[null]", "[\"\"]", "[]", "[\"a, b\", \"c\"]", ""]);
    }

    #[test]
    fn an_instant_beyond_all_calendars_is_an_error_and_no_text() {
        let column: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]).with_timezone("UTC"));
        let batch = RecordBatch::try_from_iter([("at", column)]).unwrap();
        let errors = [
            table(&batch.schema(), std::slice::from_ref(&batch), "").unwrap_err(),
            json::JsonRowEncoder::default().encode(&batch).unwrap_err(),
            in_calendar(batch.column(0).as_ref()).unwrap_err(),
            crate::output::cannot_show(
                arrow::csv::WriterBuilder::new()
                    .build(Vec::new())
                    .write(&batch)
                    .unwrap_err(),
            ),
        ];
        for error in errors {
            assert_eq!(
                error.message(),
                "9223372036854775807 microseconds since 1970 are no instant: they lie outside of the years of the calendar"
            );
        }
        let today: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![None, Some(0)]));
        assert!(in_calendar(today.as_ref()).is_ok());
    }
}
