//! A value as text: the one writer of instants, dates, numbers for tables and JSON.
//!
//! Invariant: an instant is RFC 3339 with the offset of the clock it is printed by (`2026-07-01T02:11:53+02:00` in Berlin, `Z` for UTC), in as many digits
//! as it has; a time without a zone has no offset. CSV, which Arrow writes, says the same, as a test proves. A value that cannot be shown is an error and never
//! text in its place.

use crate::output::cannot_show;
use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tillhouse_model::Result;

/// Formatter of a column's values as text; nulls are empty.
pub(crate) struct CellFormatter<'a>(ArrayFormatter<'a>);

impl<'a> CellFormatter<'a> {
    pub(crate) fn of(column: &'a dyn Array) -> Result<Self> {
        let options = FormatOptions::default().with_null("");
        ArrayFormatter::try_new(column, &options)
            .map(Self)
            .map_err(cannot_show)
    }

    pub(crate) fn text(&self, row: usize) -> Result<String> {
        self.0.value(row).try_to_string().map_err(cannot_show)
    }
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
                let shown = table(&batch.schema(), std::slice::from_ref(&batch)).unwrap();
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
    fn an_instant_beyond_all_calendars_is_an_error_and_no_text() {
        let column: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]).with_timezone("UTC"));
        let batch = RecordBatch::try_from_iter([("at", column)]).unwrap();
        assert!(table(&batch.schema(), std::slice::from_ref(&batch)).is_err());
        assert!(json::JsonRowEncoder::default().encode(&batch).is_err());
    }
}
