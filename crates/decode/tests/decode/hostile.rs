//! Hostile bytes: records, rejects or an error; never a panic, never a record lost, never a secret
//! shown.
//!
//! Invariant: every personal, secret and unknown value of the pages below holds the mark, and no output ever does.

use crate::{decoder, fixture, sales};
use proptest::prelude::*;
use tillhouse_decode::DecodedPage;
use tillhouse_model::table::UnknownFields;

const MARK: &str = "S3CR3T";

fn valid() -> Vec<u8> {
    let full = format!(
        r#"{{"id":"1","zähler":5,"paid":true,"invoice":{{"amount":12.50,"created_at":"2024-01-01T10:00:00+01:00"}},
        "articles":[{{"name":"a","amount":1e1,"start_time":"2024-01-01T09:00:00Z","currency":"EUR","pin":"{MARK}","log":[{{"code":1,"note":"\u00e9"}}]}},{{"name":"b"}}],
        "tags":["x",null],"day":"2024-02-29","local":"2024-03-31T02:30:00","seconds":1.5,"millis":2,"updated_at":"2024-01-01T10:00:00.123456Z",
        "license_plate":"{MARK} 1","card":"{MARK} 1234 {MARK} 99999","pin":{{"a":["{MARK}"]}},"driver":"{MARK}","timezone":"Europe/Berlin","state":"done","new":{{"x":"{MARK}"}}}}"#
    );
    format!(r#"{{"meta":{{"total":3}},"data":[{full},{{"id":"2","state":"open"}},{full}]}}"#)
        .into_bytes()
}

/// Every record is a row or a reject.
fn check(page: &[u8], decoded: &DecodedPage) -> Result<(), TestCaseError> {
    if let Ok(serde_json::Value::Object(parsed)) = serde_json::from_slice(page)
        && let Some(serde_json::Value::Array(records)) = parsed.get("data")
    {
        prop_assert_eq!(
            decoded.batch.num_rows() + decoded.rejects.len(),
            records.len()
        );
    }
    let rows = decoded.batch.num_rows();
    prop_assert_eq!(
        (
            decoded.keys.values().len(),
            decoded.content_hashes.value_length()
        ),
        (decoded.keys.values().len(), 17)
    );
    use arrow::array::Array as _;
    prop_assert_eq!(
        [
            decoded.keys.len(),
            decoded.record_times.len(),
            decoded.updated_at.len(),
            decoded.content_hashes.len()
        ],
        [rows; 4]
    );
    for reject in &decoded.rejects {
        prop_assert!(reject.redacted.len() <= 4096);
        prop_assert!(
            reject.redacted.is_empty()
                || serde_json::from_str::<serde::de::IgnoredAny>(&reject.redacted).is_ok(),
            "{}",
            reject.redacted
        );
    }
    Ok(())
}

#[test]
fn the_page_to_be_damaged_is_good() {
    let page = valid();
    let decoded = sales().decode(&page, &["data"]).unwrap();
    assert_eq!(
        (decoded.batch.num_rows(), &decoded.rejects[..]),
        (3, &[][..])
    );
    assert!(!format!("{decoded:?}").contains(MARK));
}

#[test]
fn every_cut_is_an_error() {
    let page = valid();
    for cut in 0..page.len() {
        assert!(sales().decode(&page[..cut], &["data"]).is_err(), "{cut}");
    }
}

/// Damage done to the bytes of a page.
#[derive(Debug, Clone)]
enum PageDamage {
    Byte(u8),
    Insert(&'static str),
    Cut(usize),
    Copy(usize, usize),
}

fn damage() -> impl Strategy<Value = PageDamage> {
    let words = [
        "null",
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\\",
        "\\ud800",
        "\u{0}",
        "-",
        "e9",
        ".",
        "99999999999999999999999999",
        "true",
        "\"id\":\"1\",",
        "{}",
        "[],",
        "1e999999999",
        "\"x\"",
        " ",
        "\u{feff}",
    ];
    prop_oneof![
        any::<u8>().prop_map(PageDamage::Byte),
        prop::sample::select(words.to_vec()).prop_map(PageDamage::Insert),
        (1_usize..60).prop_map(PageDamage::Cut),
        (0_usize..2000, 1_usize..200).prop_map(|(from, len)| PageDamage::Copy(from, len)),
    ]
}

fn damaged(at: Vec<(usize, PageDamage)>) -> Vec<u8> {
    let mut page = valid();
    for (at, damage) in at {
        let at = at % (page.len() + 1);
        match damage {
            PageDamage::Byte(byte) => {
                if let Some(there) = page.get_mut(at) {
                    *there = byte;
                }
            }
            PageDamage::Insert(word) => drop(page.splice(at..at, word.bytes())),
            PageDamage::Cut(len) => drop(page.drain(at..(at + len).min(page.len()))),
            PageDamage::Copy(from, len) => {
                let piece: Vec<u8> = page.iter().skip(from).take(len).copied().collect();
                page.splice(at..at, piece);
            }
        }
    }
    page
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_damaged_page_gives_records_rejects_or_an_error(at in prop::collection::vec((any::<usize>(), damage()), 1..4)) {
        let page = damaged(at);
        if let Ok(decoded) = sales().decode(&page, &["data"]) {
            check(&page, &decoded)?;
        }
        let mut keeping = fixture::sales();
        keeping.unknown = UnknownFields::Keep;
        if let Ok(decoded) = decoder(keeping).decode(&page, &["data"]) {
            check(&page, &decoded)?;
        }
    }

    #[test]
    fn one_value_for_another_never_shows_a_secret(which in 0_usize..40, with in prop::sample::select(vec![
        "null", "7", "\"S3CR3T\"", "{\"x\":\"S3CR3T\"}", "[{\"x\":\"S3CR3T\"}]", "true", "{}", "[]", "-1.5", "\"2024\"",
    ])) {
        // Only values that are not of open columns' own kind: an open text is meant to be seen.
        let text = String::from_utf8(valid()).unwrap();
        let starts: Vec<usize> = text.match_indices("\":").map(|(at, _)| at + 2).collect();
        let start = starts[which % starts.len()];
        let mut scan = serde_json::Deserializer::from_str(&text[start..]).into_iter::<serde::de::IgnoredAny>();
        prop_assume!(scan.next().is_some_and(|v| v.is_ok()));
        let page = format!("{}{with}{}", &text[..start], &text[start + scan.byte_offset()..]);
        if let Ok(decoded) = sales().decode(page.as_bytes(), &["data"]) {
            check(page.as_bytes(), &decoded)?;
            let shown = format!("{decoded:?}");
            let open_text = with == "\"S3CR3T\"";
            prop_assert!(open_text || !shown.contains(MARK), "{}", shown);
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_records(bytes in prop::collection::vec(any::<u8>(), 0..200), soup in r#"[\[\]{}:,"\\ 0-9eE.+a-d-]{0,80}"#) {
        for candidate in [&bytes[..], soup.as_bytes()] {
            for at in [&[][..], &["data"][..], &["a", "b"][..]] {
                let _ = sales().decode(candidate, at);
            }
            let inside = [&br#"{"data":[{"id":"#[..], candidate, b"}]}"].concat();
            if let Ok(decoded) = sales().decode(&inside, &["data"]) {
                check(&inside, &decoded)?;
            }
        }
    }
}
