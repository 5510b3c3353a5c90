//! Passing over a record that is not JSON.
//!
//! Invariant: where a damaged record ends is either plain or an error; two records are never passed over as one without a word.
//!
//! Breakage of records in the wild: a number that is none (`NaN`, `007`, `0x1F`), a bare line break or a quote inside a text, a
//! backslash that escapes nothing or, as in `"C:\"`, the closing quote, a comma too many, a bracket too few. Texts and brackets show where such
//! a record ends all the same. Where a text ends is tried in three ways, see [`ClosingQuote`].
//!
//! Where quotes or brackets are missing altogether, a record may seem to go on in the next one. That shows: its parts do not fit each other, and
//! what stands between two records or behind the last one, `},{` or `}]`, is inside of it, also with a comma too few or too many. Such an end is not believed; without another one, the page is an error as a whole.

use crate::json::{JsonScanResult, JsonScanner, MalformedJson, SeparatorFaults};

/// Rule by which a quote ends a text. What is whole ends at the same place by either of the first
/// two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClosingQuote {
    /// The first one that no backslash stands before.
    Standard,
    /// The first without a backslash before it and with a comma, a colon or a closing bracket
    /// behind it, for texts with bare quotes in them: `"12" screen"`.
    Closing,
    /// As `Closing`, whether a backslash stands before it or not, for texts that end in one: `"C:\"`.
    ClosingEvenEscaped,
}

/// Preceding token of a record, as far as it matters for what may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PrecedingToken {
    /// An opening bracket or a comma.
    Before,
    Colon,
    /// A text, a number, a word, a closing bracket.
    Value,
}

impl JsonScanner<'_> {
    /// Consumes one record or other element of a list, damaged or not; the position is at its first byte.
    ///
    /// The error is the one of the grammar, where no end of the record can be made out; the position is then where it was.
    pub fn skip_record(&mut self) -> JsonScanResult {
        let start = self.pos;
        let Err(malformed) = self.skip() else {
            return Ok(());
        };
        self.pos = start;
        self.skip_damaged(malformed)
    }

    /// Consumes any value, damaged or not, and of a list each element by itself; the position is at its first byte or at white space
    /// before it. Errors as [`JsonScanner::skip_record`] does.
    pub fn skip_any(&mut self) -> JsonScanResult {
        let list = self.peek()? == b'[';
        let start = self.pos;
        let Err(malformed) = self.skip() else {
            return Ok(());
        };
        self.pos = start;
        if !list {
            return self.skip_damaged(malformed);
        }
        self.pos += 1;
        let mut faults = SeparatorFaults::default();
        let mut more = self.first_record(&mut faults)?;
        while more {
            self.skip_record()?;
            more = self.next_record(&mut faults)?;
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn skip_damaged(&mut self, malformed: Box<MalformedJson>) -> JsonScanResult {
        let ways = [
            ClosingQuote::Standard,
            ClosingQuote::Closing,
            ClosingQuote::ClosingEvenEscaped,
        ];
        let end = ways
            .into_iter()
            .find_map(|quotes| end_of(self.data, self.pos, quotes));
        match end {
            Some(end) => {
                self.pos = end;
                Ok(())
            }
            None => Err(malformed),
        }
    }
}

/// End of the value that starts at `at`.
fn end_of(data: &[u8], mut at: usize, quotes: ClosingQuote) -> Option<usize> {
    let mut open: Vec<u8> = Vec::new();
    let mut before = [PrecedingToken::Before; 2];
    let (mut odd, mut holds_border) = (false, false);
    loop {
        at = past_blanks(data, at);
        let byte = *data.get(at)?;
        let sign = match byte {
            b'"' => {
                let end = text_end(data, at + 1, quotes)?;
                holds_border |= has_border(&data[at + 1..end]);
                odd |= before[1] == PrecedingToken::Value;
                at = end + 1;
                PrecedingToken::Value
            }
            b'{' | b'[' => {
                odd |= before[1] == PrecedingToken::Value;
                // Where a key belongs, a bracket can only be the next record's.
                let for_a_key = before[1] == PrecedingToken::Before && open.last() == Some(&b'}');
                (odd, holds_border) = (odd || for_a_key, holds_border || for_a_key);
                open.push(if byte == b'{' { b'}' } else { b']' });
                at += 1;
                PrecedingToken::Before
            }
            b'}' | b']' => {
                // Of two kinds of brackets the one that is missing counts as given; one too many does not count.
                let opened = open.iter().rposition(|close| *close == byte);
                odd |= opened.is_none_or(|nth| nth + 1 < open.len());
                if open.is_empty() {
                    return None;
                }
                open.truncate(opened.unwrap_or(open.len()));
                at += 1;
                PrecedingToken::Value
            }
            b',' | b':' => {
                if open.is_empty() {
                    return None;
                }
                odd |= byte == b':' && before[0] == PrecedingToken::Colon;
                at += 1;
                if byte == b':' {
                    PrecedingToken::Colon
                } else {
                    PrecedingToken::Before
                }
            }
            _ => {
                odd |= before[1] == PrecedingToken::Value;
                let rest = &data[at..];
                let ends = |byte: &u8| is_blank(*byte) || b"\",:{}[]".contains(byte);
                at += rest.iter().position(ends).unwrap_or(rest.len());
                PrecedingToken::Value
            }
        };
        if odd && holds_border {
            return None;
        }
        if open.is_empty() {
            return Some(at);
        }
        before = [before[1], sign];
    }
}

/// Place of the closing quote of the text whose first byte is at `at`.
fn text_end(data: &[u8], mut at: usize, quotes: ClosingQuote) -> Option<usize> {
    let closes = |at: usize| {
        matches!(
            data.get(past_blanks(data, at + 1)),
            Some(b',' | b':' | b'}' | b']') | None
        )
    };
    loop {
        let escaped = *data.get(at)? == b'\\';
        at += usize::from(escaped);
        let ends = match quotes {
            ClosingQuote::Standard => !escaped,
            ClosingQuote::Closing => !escaped && closes(at),
            ClosingQuote::ClosingEvenEscaped => closes(at),
        };
        if *data.get(at)? == b'"' && ends {
            return Some(at);
        }
        at += 1;
    }
}

/// True if a text holds a boundary between two records, or the end of the last, whatever the commas there.
fn has_border(text: &[u8]) -> bool {
    let is_closing = |byte: &u8| *byte == b'}';
    let behind = text.split(is_closing).skip(1);
    let mut starts =
        behind.map(|rest| rest.iter().find(|byte| !is_blank(**byte) && **byte != b','));
    starts.any(|start| matches!(start, Some(b'{' | b']')))
}

fn past_blanks(data: &[u8], at: usize) -> usize {
    let rest = data.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|byte| !is_blank(*byte))
        .unwrap_or(rest.len())
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Number of records in a list, if its end is found.
    fn records(list: &[u8]) -> Option<usize> {
        let mut scan = JsonScanner::new(list);
        assert_eq!(scan.peek().ok()?, b'[');
        let mut count = 0;
        scan.pos += 1;
        let mut faults = SeparatorFaults::default();
        let mut more = scan.first_record(&mut faults).ok()?;
        while more {
            scan.skip_record().ok()?;
            count += 1;
            more = scan.next_record(&mut faults).ok()?;
        }
        scan.end().ok()?;
        Some(count)
    }

    #[test]
    fn a_damaged_record_ends_where_it_ends() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        let damaged: &[&[u8]] = &[
            br#"{"id":NaN}"#,
            br#"{"id":-Infinity,"b":[Infinity]}"#,
            br#"{"id":007}"#,
            br#"{"id":+1,"a":.5,"b":1.,"c":0x1F,"d":1e,"e":--1,"f":1.2.3,"g":1 000}"#,
            br#"{"id":undefined,"ok":True,"x":None,"y":nul}"#,
            b"{\"id\":\"a\nb\tc\x01\"}",
            b"{\"id\":\"Caf\xe9\", \"n\":NaN}",
            b"\xff\xfe",
            br#"{"id":"\x41 \u12g4 \' \"}"#,
            br#"{"path":"C:\temp\"}"#,
            br#"{"path":"C:\","b":1}"#,
            br#"{"name":"12" screen"}"#,
            br#"{"name":"Joe "the man" Smith","b":"x"}"#,
            br#"{"name":"Joe "the, man" Smith","b":"x"}"#,
            br#"{"a":1,}"#,
            br#"{"a":1,,"b":[1,,2,]}"#,
            br#"{"a":}"#,
            br#"{"a"}"#,
            br#"{"a" 1}"#,
            br#"{"a":1 "b":2}"#,
            br#"{a:1,b:'x'}"#,
            br#"{'a':'b, c'}"#,
            br#"{"a":[1}"#,
            br#"{"a":1]}"#,
            br#"{"a":(1),"b":/* why */ 2}"#,
            br#"{"text":"},{","n":NaN}"#,
            deep.as_bytes(),
            b"NaN",
            b"nul",
            b"'x'",
        ];
        for &record in damaged {
            let shown = String::from_utf8_lossy(record);
            for list in [
                [&b"["[..], record, b"]"].concat(),
                [
                    &br#"[{"id":1},"#[..],
                    record,
                    br#" , {"id":3,"x":"\"}, {"}]"#,
                ]
                .concat(),
                [&b"[ "[..], record, b",", record, br#",{"id":3}]"#].concat(),
            ] {
                let wanted = if list.len() < record.len() + 3 { 1 } else { 3 };
                assert_eq!(records(&list), Some(wanted), "{shown}");
                let page = [&br#"{"data":"#[..], &list, br#","n":1}"#].concat();
                let mut scan = JsonScanner::new(&page);
                scan.pos = 8;
                scan.skip_any().unwrap();
                assert_eq!(scan.pos, 8 + list.len(), "{shown}");
            }
        }
    }

    #[test]
    fn records_that_run_into_each_other_are_never_passed_over_as_one() {
        for list in [
            r#"[{"id":1,"n":"abc},{"id":2,"n":"x"},{"id":3,"n":"y"}]"#,
            r#"[{"id":1,"n":abc"},{"id":2,"n":"x"},{"id":3,"n":y"}]"#,
            r#"[{"id":1,"n":"x"},{"id":2,"n":{"id":3},{"id":4}]"#,
            r#"[{"id":1,"n":2,{"id":2},{"id":3}]"#,
            r#"[{"id":1,"n":2,{"id":2},{"id":3}},{"id":4}]"#,
            r#"[{"id":1,"n":[1},{"id":2},{"id":3},"n":2}]"#,
            r#"[{"id":1},"id":2},{"id":3}]"#,
            r#"[{"id":1,"n":"abc} {"id":2,"n":"x"}]"#,
            r#"[{"id":1,"n":"abc},,{"id":2,"n":"x"},{"id":3,"n":"y"}]"#,
            r#"[{"id":1,"n":"abc},]"#,
            r#"[{"id":1,"n":{"id":2} {"id":3}]"#,
            r#"[{"id":1,"n":{"id":2},,{"id":3}]"#,
            r#"[{"id":1},{"id":NaN"#,
            r#"[{"id":1},{"id":"NaN"#,
            r#"[{"id":1},{"id":NaN},{"#,
            r#"[{"id":1},{"id":[NaN]"#,
        ] {
            assert_eq!(records(list.as_bytes()), None, "{list}");
        }
    }

    #[test]
    fn the_error_is_the_grammars_and_nothing_was_consumed() {
        let mut scan = JsonScanner::new(br#" {"id":NaN"#);
        scan.pos = 1;
        assert_eq!(
            *scan.skip_record().unwrap_err(),
            MalformedJson {
                at: 7,
                expected: "a value"
            }
        );
        assert_eq!(scan.pos, 1);
    }

    proptest! {
        /// Complete values end at the same place by either scan.
        #[test]
        fn whole_values_end_where_the_grammar_says(text in any::<String>(), keys in prop::collection::vec("[a-z\"\\\\{},:]{0,4}", 0..4)) {
            let fields: serde_json::Map<String, serde_json::Value> =
                keys.into_iter().map(|key| (key, serde_json::json!([text, {"x": null, "y": [1.5, true]}]))).collect();
            let mut page = serde_json::to_vec(&fields).unwrap();
            let length = page.len();
            page.extend_from_slice(b",{}]");
            prop_assert_eq!(end_of(&page, 0, ClosingQuote::Standard), Some(length));
            prop_assert_eq!(end_of(&page, 0, ClosingQuote::Closing), Some(length));
        }

        #[test]
        fn no_bytes_are_passed_over_for_ever_or_beyond_the_end(bytes in prop::collection::vec(prop::sample::select(&b"{}[],:\"\\ aN1\n\xff"[..]), 0..40)) {
            let mut scan = JsonScanner::new(&bytes);
            match scan.skip_record() {
                Ok(()) => prop_assert!(scan.pos <= bytes.len() && scan.pos > 0),
                Err(_) => prop_assert_eq!(scan.pos, 0),
            }
        }
    }
}
