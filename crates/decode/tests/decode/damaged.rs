//! Damage to a page: values that are cut off in the middle, and commas between records.
//!
//! Invariant: what is whole lands, a damaged record is one reject that is taken for no other record, and a damaged comma is no record at all.

use crate::fixture;
use crate::row_json::rows;
use crate::{decode, decoder, sales};
use proptest::prelude::*;
use tillhouse_decode::DecodedPage;
use tillhouse_model::{ColumnKind, ErrorKind};

/// Values that begin as one and go on as none.
const JUNK: &[&str] = &[
    "12abc",
    "12 abc",
    "1.2.3",
    "1.2 .3",
    "1..2",
    "12-",
    "1e",
    "1e+",
    "1e5x",
    "-",
    "-x",
    "--1",
    "0x12",
    "01",
    "+1",
    ".5",
    "5.",
    "1_000",
    "1,5",
    "NaN",
    "Infinity",
    "truex",
    "true1",
    "tru",
    "falsee",
    "True",
    "nulll",
    "nul",
    "None",
    "undefined",
    "\"a\"b",
    "\"a\" \"b\"",
    "\"2026-01-05T10:00:00Z\"Z",
    "\"12\"34",
    "12\"34\"",
    "[1]2",
    "{}x",
];

/// The keys of the rows, and of the rejects.
fn keys(decoded: &DecodedPage) -> (Vec<String>, Vec<Option<String>>) {
    let rows = decoded.keys.iter().flatten().map(str::to_owned);
    let rejects = decoded.rejects.iter().map(|reject| reject.key.clone());
    (rows.collect(), rejects.collect())
}

#[test]
fn a_value_that_is_cut_off_in_the_middle_rejects_its_record() {
    for junk in JUNK {
        for (place, key) in [
            (format!(r#"{{"id":{junk},"state":"open"}}"#), None),
            (format!(r#"{{"state":"open","id":{junk}}}"#), None),
            (format!(r#"{{"state":{junk},"id":"2"}}"#), None),
            (
                format!(r#"{{"id":"2","invoice":{{"amount":{junk}}}}}"#),
                Some("2"),
            ),
            (
                format!(r#"{{"id":"2","invoice":{{"created_at":{junk}}}}}"#),
                Some("2"),
            ),
            (
                format!(r#"{{"id":"2","articles":[{{"name":"a"}},{{"amount":{junk}}}]}}"#),
                Some("2"),
            ),
            (format!(r#"{{"id":"2","articles":[{junk}]}}"#), Some("2")),
            (format!(r#"{{"id":"2","tags":["a",{junk}]}}"#), Some("2")),
            (format!(r#"{{"id":"2","paid":{junk}}}"#), Some("2")),
            (format!(r#"{{"id":"2","day":{junk}}}"#), Some("2")),
            (format!(r#"{{"id":"2","zähler":{junk}}}"#), Some("2")),
            (format!(r#"{{"id":"2","seconds":{junk}}}"#), Some("2")),
            (format!(r#"{{"id":"2","pin":{junk}}}"#), Some("2")),
            (format!(r#"{{"id":"2","license_plate":{junk}}}"#), Some("2")),
            (format!(r#"{{"id":"2","unknown":{junk}}}"#), Some("2")),
        ] {
            let decoded = decode(&[r#"{"id":"1"}"#, &place, r#"{"id":"3"}"#]);
            let (landed, rejected) = keys(&decoded);
            // In a list, `1,5` are two values.
            if landed.len() == 3 {
                assert!(*junk == "1,5" && place.contains('['), "{place}");
                continue;
            }
            assert_eq!(landed, ["1", "3"], "{place}");
            assert_eq!(rejected, [key.map(str::to_owned)], "{place}");
        }
    }
}

#[test]
fn a_cut_key_is_no_key_whatever_its_type() {
    for kind in [
        ColumnKind::Int,
        ColumnKind::Text,
        ColumnKind::Bool,
        ColumnKind::Date,
        ColumnKind::Decimal {
            precision: 18,
            scale: 4,
        },
    ] {
        let columns = vec![
            fixture::column("id", kind.clone()),
            fixture::column("part", ColumnKind::Int),
        ];
        for key in [&["id"][..], &["id", "part"], &["part", "id"]] {
            let decoder = decoder(fixture::spec(columns.clone(), key));
            for junk in JUNK {
                let page = format!(r#"[{{"part":1,"id":{junk}}},{{"id":{junk},"part":1}}]"#);
                let decoded = decoder.decode(page.as_bytes(), &[]).unwrap();
                assert_eq!(
                    keys(&decoded),
                    (vec![], vec![None, None]),
                    "{kind:?} {page}"
                );
            }
        }
    }
}

#[test]
fn a_damaged_comma_is_told_and_costs_no_record() {
    let told = |list: &str, records_at: &[&str]| {
        let mut page = list.to_owned();
        for key in records_at.iter().rev() {
            page = format!(r#"{{"total":2,"{key}":{page}}}"#);
        }
        let decoded = sales().decode(page.as_bytes(), records_at).unwrap();
        assert_eq!(
            rows(&decoded.batch),
            [r#"{"id":"1"}"#, r#"{"id":"2"}"#],
            "{list}"
        );
        assert_eq!(decoded.rejects, [], "{list}");
        let told = decoded.warnings.into_iter();
        told.map(|w| format!("{}|{}|{}|{}", w.key, w.field, w.rule, w.original))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(r#"[{"id":"1"} , {"id":"2"}]"#, &["data"]), [""; 0]);
    for (list, words) in [
        (
            r#"[{"id":"1"},,{"id":"2"}]"#,
            "1 sign is too many between records, the first at byte 30",
        ),
        (
            r#"[{"id":"1"} {"id":"2"}]"#,
            "1 comma is missing between records, the first at byte 30",
        ),
        (
            r#"[{"id":"1"},{"id":"2"},]"#,
            "1 sign is too many between records, the first at byte 40",
        ),
        (
            r#"[,{"id":"1"};{"id":"2"}]"#,
            "1 comma is missing between records, and 2 signs are too many, the first at byte 19",
        ),
    ] {
        assert_eq!(
            told(list, &["data"]),
            [format!("|data[]|record_separators|{words}")],
            "{list}"
        );
        assert_eq!(told(list, &["a", "b"]).len(), 1);
        assert!(told(list, &[])[0].starts_with("|[]|record_separators|"));
    }
    for cut in [
        r#"[{"id":"1"},,"#,
        r#"[{"id":"1"} {"id":"2""#,
        r#"[{"id":"1"}},{"id":"2"}]"#,
        r#"[{"id":"1"}]{"id":"2"}]"#,
    ] {
        let error = sales().decode(cut.as_bytes(), &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{cut}");
    }
}

proptest! {
    /// Of a page whose records and commas are damaged, what is whole lands, and each damaged record is one reject.
    #[test]
    fn whole_records_land_whatever_is_damaged_around_them(
        records in prop::collection::vec((any::<bool>(), prop::sample::select(JUNK), prop::sample::select(vec![",", ",,", " ", ", ,", "\n", ";", ""])), 1..8),
        ends in prop::sample::select(vec![("", ""), (",", ""), ("", ","), (" , ", ",,")]),
    ) {
        let (mut list, mut whole, mut damaged) = (format!("[{}", ends.0), Vec::new(), 0);
        let mut is_odd = ends != ("", "");
        for (nth, (is_whole, junk, separator)) in records.iter().enumerate() {
            if *is_whole {
                list.push_str(&format!(r#"{{"id":"{nth}","state":"}},{{"}}"#));
                whole.push(nth.to_string());
            } else {
                list.push_str(&format!(r#"{{"id":{junk}}}"#));
                damaged += 1;
            }
            if nth + 1 < records.len() {
                list.push_str(separator);
                is_odd |= *separator != ",";
            }
        }
        list.push_str(ends.1);
        list.push(']');
        let decoded = sales().decode(list.as_bytes(), &[]).unwrap();
        let (landed, rejected) = keys(&decoded);
        prop_assert_eq!(landed, whole, "{}", list);
        prop_assert_eq!(rejected, vec![None; damaged], "{}", list);
        let is_told = decoded.warnings.iter().any(|warning| warning.rule == "record_separators");
        prop_assert_eq!(is_told, is_odd, "{}", list);
    }
}
