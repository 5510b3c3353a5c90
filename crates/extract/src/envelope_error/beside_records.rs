//! Statement of a page's envelope about the records that it holds: that they may not be all.
//!
//! Invariant: records are passed over and never read; a page without records, or without an envelope, says nothing here.
//!
//! A backend that answers in part is the rule behind a gateway: GraphQL gives `data` and `errors` side by side, a search tells of shards that
//! were silent (`timed_out`). Such a page would count as whole, and what it lacks would never be asked for again. A message alone is no such
//! statement, since servers greet their callers; nor is it one that more is to come, which is what pages are for.

use super::{EnvelopeRemark, remark_of, tells_of_records};
use crate::empty_messages::EmptyMessages;
use crate::envelope;
use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::{Map, Value};
use tillhouse_model::Error;
use tillhouse_model::json::{JsonScanResult, JsonScanner};

/// Statement of a page about its records, and the part of its envelope that it stands in.
#[derive(Debug)]
pub(crate) struct PageRemark {
    /// The statement.
    pub(crate) remark: EnvelopeRemark,
    /// The fields that can say such a thing, as a JSON document.
    pub(crate) envelope: Bytes,
}

impl PageRemark {
    /// The statement of a page with records; `None` where it says nothing of them, or only what is known to mean nothing.
    pub(crate) fn of(page: &[u8], records_at: &[&str], known: &EmptyMessages) -> Option<Self> {
        let mut fields = Map::new();
        let (last, above) = records_at.split_last()?;
        // Of a page that cannot be read to its end, what stands before the damage.
        let _ = collect(&mut JsonScanner::of_page(page), above, last, &mut fields);
        let remark = remark_of(&fields);
        if remark == EnvelopeRemark::default() {
            return None;
        }
        let envelope = Bytes::from(Value::Object(fields).to_string());
        (!super::says_only(known, &envelope)).then_some(Self { remark, envelope })
    }

    /// The error of a page that says so, with the server's words as they were scrubbed.
    pub(crate) fn error(status: StatusCode, words: Option<&str>) -> Error {
        let said = words.map(|words| format!(": {words}")).unwrap_or_default();
        let error = Error::protocol(format!(
            "the server answered {status} with records and an error beside them, so they may not be all{said}"
        ));
        let later =
            "Run `tillhouse sync` again later; if it stays so, ask the provider what is lacking.";
        match words {
            Some(words) => error.hint(format!(
                "{later} If the message never means anything, say so in the pipeline's connection: empty_messages: [{}].",
                EmptyMessages::written(words)
            )),
            None => error.hint(later),
        }
    }
}

/// Collects the fields beside the records, at every level that leads to them.
fn collect(
    scan: &mut JsonScanner<'_>,
    above: &[&str],
    last: &str,
    fields: &mut Map<String, Value>,
) -> JsonScanResult {
    if scan.peek()? != b'{' {
        return scan.skip_any();
    }
    scan.pos += 1;
    let mut more = !scan.empty(b'}')?;
    while more {
        let key = scan.key()?;
        scan.peek()?;
        let start = scan.pos;
        match above.split_first() {
            None if envelope::is(key, last) => scan.skip_any()?,
            Some((first, above)) if envelope::is(key, first) => {
                collect(scan, above, last, fields)?;
            }
            _ => {
                scan.skip_any()?;
                let name = envelope::meaning(key).into_owned();
                if tells_of_records(&name)
                    && let Ok(value) = serde_json::from_slice::<Value>(&scan.data[start..scan.pos])
                    && !(value.is_null() && fields.contains_key(&name))
                {
                    fields.insert(name, value);
                }
            }
        }
        more = scan.another(b'}')?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &[&str] = &["data"];

    fn said(page: &str, records_at: &[&str]) -> EnvelopeRemark {
        PageRemark::of(page.as_bytes(), records_at, &EmptyMessages::default())
            .map_or_else(EnvelopeRemark::default, |page| page.remark)
    }

    /// A page with two records, one of them damaged, and fields before and behind them.
    fn pages(field: &str) -> [String; 2] {
        let records =
            r#""data":[{"id":1,"error":"declined"},{"id":2,"partial":true,"x":"\ud83d"}]"#;
        [
            format!("\u{feff}{{{field},{records}}}"),
            format!("{{{records},\"meta\":{{\"total\":2}},{field}}}"),
        ]
    }

    #[test]
    fn what_stands_beside_records_is_heard() {
        for field in [
            r#""errors":[{"message":"Cannot return null","path":["sessions",3]}]"#,
            r#""Errors":["backend B did not answer"]"#,
            r#""error":"backend timeout""#,
            r#""error":true"#,
            r#""hasErrors":"true""#,
            r#""exception":{"class":"NullPointer"}"#,
            r#""errorCode":17"#,
            r#""status":"error""#,
            r#""status":"partial_failure""#,
            r#""status":500"#,
            r#""success":false"#,
            r#""isSuccess":"false""#,
            r#""partial":true"#,
            r#""partialResults":true"#,
            r#""timed_out":true"#,
            r#""incomplete_results":true"#,
            r#""result":{"errors":["x y"]}"#,
            r#""pagination":{"partial_results":true}"#,
        ] {
            for page in pages(field) {
                assert!(said(&page, DATA).failed, "{page}");
            }
        }
    }

    #[test]
    fn what_pages_say_of_themselves_anyway_is_no_error() {
        for field in [
            r#""errors":[]"#,
            r#""errors":null"#,
            r#""error":"""#,
            r#""error":"No error""#,
            r#""error":"no transactions found""#,
            r#""errorCode":0"#,
            r#""errorCode":"200""#,
            r#""status":"OK""#,
            r#""status":"Success""#,
            r#""status":200"#,
            r#""state":"open""#,
            r#""message":"The service will fail over on Sunday""#,
            r#""type":"failed_sales""#,
            r#""partial":false"#,
            r#""timeout":30"#,
            r#""note":null"#,
            r#""total":2"#,
        ] {
            for page in pages(field) {
                assert_eq!(said(&page, DATA), EnvelopeRemark::default(), "{page}");
            }
        }
        for field in [
            r#""isTruncated":true"#,
            r#""complete":false"#,
            r#""code":206"#,
        ] {
            for page in pages(field) {
                let said = said(&page, DATA);
                assert!(said.is_part && !said.failed, "{page}");
            }
        }
        for field in [
            r#""warnings":["shard 3 is slow"]"#,
            r#""failed":3"#,
            r#""errorCount":2"#,
        ] {
            for page in pages(field) {
                let said = said(&page, DATA);
                assert!(said.warns && !said.failed, "{page}");
            }
        }
    }

    #[test]
    fn every_level_that_leads_to_the_records_is_heard_and_no_record() {
        let page = r#"{"a":{"errors":["x y"],"b":[{"id":1}]}}"#;
        assert!(said(page, &["a", "b"]).failed);
        let page = r#"{"a":{"b":[{"errors":["x y"]}]},"errors":null}"#;
        assert_eq!(said(page, &["a", "b"]), EnvelopeRemark::default());
        assert_eq!(said(r#"[{"error":"x"}]"#, &[]), EnvelopeRemark::default());
        assert_eq!(said(r#"[{"error":"x"}]"#, DATA), EnvelopeRemark::default());
        assert!(
            said(r#"{"errors":["x y"],"data":[{"id":1},{"id"#, DATA).failed,
            "before the page breaks off"
        );
    }

    #[test]
    fn a_message_that_is_known_means_nothing() {
        let known = EmptyMessages::new(["v1 is deprecated*"]).unwrap();
        let of = |page: &str| PageRemark::of(page.as_bytes(), DATA, &known).is_some();
        assert!(!of(
            r#"{"errors":["V1 is deprecated since May"],"data":[{"id":1}]}"#
        ));
        assert!(of(
            r#"{"errors":["V1 is deprecated since May","backend B is down"],"data":[{"id":1}]}"#
        ));
        let error = PageRemark::error(StatusCode::OK, Some("boom \"x\" y"));
        assert!(
            error.message().ends_with("may not be all: boom \"x\" y"),
            "{error}"
        );
        assert!(
            error
                .hint_text()
                .unwrap()
                .ends_with(r#"empty_messages: ["boom \"x\" y"]."#)
        );
    }
}
