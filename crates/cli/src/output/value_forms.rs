//! Tests of the one form that a value has in tables, JSON and CSV alike.
//!
//! Invariant: tables are drawn here and the other formats encoded by `query`; what they say of a value is compared, never assumed.

#![allow(clippy::unwrap_used)]

use crate::output::table;
use arrow::array::Array;
use arrow::array::{
    ArrayRef, RecordBatch, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::DataType;
use std::sync::Arc;
use tillhouse_query::encode::cell::{CellFormatter, in_calendar};
use tillhouse_query::encode::{cannot_show, flattened, json};

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

/// A batch as a table and as JSON, and the same as CSV writes it.
fn forms(batch: &RecordBatch, for_csv: &RecordBatch) -> [String; 3] {
    let shown = table(&batch.schema(), std::slice::from_ref(batch), "").unwrap();
    let json = json::JsonRowEncoder::default().encode(batch).unwrap();
    let mut csv = Vec::new();
    arrow::csv::WriterBuilder::new()
        .with_header(false)
        .build(&mut csv)
        .write(for_csv)
        .unwrap();
    [shown, json, String::from_utf8(csv).unwrap()]
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
            let [shown, json, csv] = forms(&batch, &batch);
            assert!(
                shown.contains(&format!(" {expected} ")),
                "{expected}: {shown}"
            );
            assert_eq!(json, format!("[\n  {{\"at\": \"{expected}\"}}"));
            assert_eq!(csv.trim_end(), expected);
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
        let [shown, json, csv] = forms(&batch, &flattened(&batch).unwrap());
        assert!(
            shown.contains(&format!(" {expected} ")),
            "{expected}: {shown}"
        );
        assert!(
            json.contains(&format!("\"{expected}\"")),
            "{expected}: {json}"
        );
        assert_eq!(csv.lines().next(), Some(expected));
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
        cannot_show(
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
