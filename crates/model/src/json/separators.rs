//! Signs between the records of a list: one comma, or something else where it belongs.
//!
//! Invariant: whatever the commas, each record is met once, and nothing else is met as one; every fault is counted. Where a quote, a colon or a
//! bracket stands there, the end of the record before is not believed: the error is the grammar's.
//!
//! ```text
//!   [ {..} , {..} ]      whole
//!   [ {..}   {..} ]      a comma is missing
//!   [ {..} ; {..} ]      a comma is missing, and something else stands in its place
//!   [ , {..} ,, {..} ,]  three commas are too many
//! ```

use crate::json::{JsonScanResult, JsonScanner};
use std::fmt;

/// Faults between the records of one list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeparatorFaults {
    /// Number of commas that are missing between two records.
    pub missing: u64,
    /// Number of commas, and of other runs of characters, that stand beside the one comma that belongs there.
    pub stray: u64,
    /// Position of the first fault, in bytes from the page's first.
    pub first_at: Option<usize>,
}

impl SeparatorFaults {
    /// True if one comma stood between each two records, and nothing else.
    pub fn is_none(&self) -> bool {
        self.first_at.is_none()
    }

    #[cold]
    fn note_missing(&mut self, at: usize) {
        self.missing += 1;
        self.note(at);
    }

    #[cold]
    fn note_stray(&mut self, at: usize) {
        self.stray += 1;
        self.note(at);
    }

    fn note(&mut self, at: usize) {
        self.first_at = Some(self.first_at.map_or(at, |first| first.min(at)));
    }
}

/// The fault in words: `1 comma is missing between records, and 2 signs are too many, the first at byte 17`.
impl fmt::Display for SeparatorFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count: u64, one: &str, more: &str| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {more}"),
        };
        let missing = counted(self.missing, "comma is missing", "commas are missing");
        let stray = counted(self.stray, "sign is too many", "signs are too many");
        match (self.missing, self.stray) {
            (0, 0) => return f.write_str("nothing"),
            (_, 0) => write!(f, "{missing} between records")?,
            (0, _) => write!(f, "{stray} between records")?,
            _ => write!(f, "{missing} between records, and {stray}")?,
        }
        match self.first_at {
            Some(at) => write!(f, ", the first at byte {at}"),
            None => Ok(()),
        }
    }
}

impl JsonScanner<'_> {
    /// Behind the opening bracket of a list of records: whether there is one. Then the position is at its first byte; else the list's end is
    /// consumed.
    #[inline]
    pub fn first_record(&mut self, faults: &mut SeparatorFaults) -> JsonScanResult<bool> {
        loop {
            match self.peek()? {
                b']' => {
                    self.pos += 1;
                    return Ok(false);
                }
                b',' => {
                    faults.note_stray(self.pos);
                    self.pos += 1;
                }
                _ => return Ok(true),
            }
        }
    }

    /// Behind a record: whether another one follows, as [`Self::first_record`] says it.
    ///
    /// ```
    /// use tillhouse_model::json::{JsonScanner, SeparatorFaults};
    ///
    /// let mut scan = JsonScanner::new(br#"[{"id":1},,{"id":2} {"id":3}]"#);
    /// scan.pos = 1;
    /// let (mut faults, mut records) = (SeparatorFaults::default(), 0);
    /// let mut more = scan.first_record(&mut faults).unwrap();
    /// while more {
    ///     scan.skip_record().unwrap();
    ///     records += 1;
    ///     more = scan.next_record(&mut faults).unwrap();
    /// }
    /// assert_eq!((records, faults.missing, faults.stray), (3, 1, 1));
    /// ```
    #[inline]
    pub fn next_record(&mut self, faults: &mut SeparatorFaults) -> JsonScanResult<bool> {
        match self.peek()? {
            b',' => {
                let comma = self.pos;
                self.pos += 1;
                let more = self.first_record(faults)?;
                if !more {
                    faults.note_stray(comma);
                }
                Ok(more)
            }
            b']' => {
                self.pos += 1;
                Ok(false)
            }
            _ => self.odd_separator(faults),
        }
    }

    /// Behind a record, where neither a comma nor the end of the list stands: passes over what can be no part of a record.
    #[cold]
    fn odd_separator(&mut self, faults: &mut SeparatorFaults) -> JsonScanResult<bool> {
        let rest = self.data.get(self.pos..).unwrap_or_default();
        let run = rest.iter().position(|byte| b"\"{}[]:,".contains(byte));
        let Some((run, next @ (b'{' | b',' | b']'))) =
            run.and_then(|run| Some((run, *rest.get(run)?)))
        else {
            return self.fail("a comma or the end of the container");
        };
        if run > 0 {
            faults.note_stray(self.pos);
        }
        self.pos += run;
        if next == b'{' {
            faults.note_missing(self.pos);
            return Ok(true);
        }
        self.next_record(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The records of a list, and the faults between them; `None` where it is an error.
    fn records(list: &[u8]) -> Option<(Vec<&[u8]>, SeparatorFaults)> {
        let mut scan = JsonScanner::new(list);
        assert_eq!(scan.peek().ok()?, b'[');
        scan.pos += 1;
        let (mut records, mut faults) = (Vec::new(), SeparatorFaults::default());
        let mut more = scan.first_record(&mut faults).ok()?;
        while more {
            let start = scan.pos;
            scan.skip_record().ok()?;
            records.push(&list[start..scan.pos]);
            more = scan.next_record(&mut faults).ok()?;
        }
        scan.end().ok()?;
        Some((records, faults))
    }

    #[test]
    fn every_record_is_met_whatever_stands_between() {
        for (list, missing, stray, first_at) in [
            (r#"[{"id":1},{"id":2}]"#, 0, 0, None),
            (r#"[{"id":1},,{"id":2}]"#, 0, 1, Some(10)),
            (r#"[{"id":1} , , ,{"id":2}]"#, 0, 2, Some(12)),
            (r#"[{"id":1}{"id":2}]"#, 1, 0, Some(9)),
            ("[{\"id\":1}\r\n{\"id\":2}]", 1, 0, Some(11)),
            (r#"[{"id":1},{"id":2},]"#, 0, 1, Some(18)),
            (r#"[{"id":1},{"id":2} , ,]"#, 0, 2, Some(19)),
            (r#"[,{"id":1},{"id":2}]"#, 0, 1, Some(1)),
            (r#"[,,{"id":1}{"id":2},]"#, 1, 3, Some(1)),
            (r#"[{"id":1};{"id":2}]"#, 1, 1, Some(9)),
            (r#"[{"id":1} | {"id":2}]"#, 1, 1, Some(10)),
            (r#"[{"id":1}.,{"id":2}]"#, 0, 1, Some(9)),
            ("[{\"id\":1}\u{1e},{\"id\":2}\u{0}]", 0, 2, Some(9)),
            ("[{\"id\":1}\u{feff}{\"id\":2}]", 1, 1, Some(9)),
            (r#"[{"id":1}null,{"id":2}]"#, 0, 1, Some(9)),
            (r#"[{"id":1} /* 1 */ {"id":2}]"#, 1, 1, Some(10)),
        ] {
            let found = records(list.as_bytes());
            let (records, faults) = found.unwrap_or_else(|| panic!("{list}"));
            let whole = [&br#"{"id":1}"#[..], br#"{"id":2}"#];
            assert_eq!(records, whole, "{list}");
            let expected = SeparatorFaults {
                missing,
                stray,
                first_at,
            };
            assert_eq!(faults, expected, "{list}");
        }
        for nothing in ["[]", "[,]", "[ , ,]"] {
            assert!(
                records(nothing.as_bytes()).unwrap().0.is_empty(),
                "{nothing}"
            );
        }
    }

    #[test]
    fn what_is_no_separator_is_an_error() {
        for list in [
            r#"[{"id":1},{"id":2}"#,
            r#"[{"id":1},{"id":2},"#,
            r#"[{"id":1},,"#,
            r#"[{"id":1} {"id":2"#,
            r#"[{"id":1}},{"id":2}]"#,
            r#"[{"id":1}]{"id":2}]"#,
            r#"[{"id":1}"id":2},{"id":3}]"#,
            r#"[{"id":1},"id":2},{"id":3}]"#,
            r#"[{"id":1}:{"id":2}]"#,
            r#"[{"id":1}[{"id":2}]]"#,
            r#"[{"id":1};"#,
        ] {
            assert_eq!(records(list.as_bytes()), None, "{list}");
        }
    }

    #[test]
    fn faults_are_told_in_words() {
        let told = |list: &str| records(list.as_bytes()).unwrap().1.to_string();
        assert_eq!(told("[{},{}]"), "nothing");
        assert_eq!(
            told("[{}{}]"),
            "1 comma is missing between records, the first at byte 3"
        );
        assert_eq!(
            told("[{},,,{}]"),
            "2 signs are too many between records, the first at byte 4"
        );
        assert_eq!(
            told("[{};{}{},]"),
            "2 commas are missing between records, and 2 signs are too many, the first at byte 3"
        );
    }

    fn record() -> impl Strategy<Value = String> {
        let text = prop_oneof![
            any::<String>(),
            Just("},{".to_owned()),
            Just("} {".to_owned()),
            Just(",,".to_owned())
        ];
        (text, any::<i64>(), any::<bool>()).prop_map(|(text, number, nested)| {
            let inner = serde_json::json!([{"x": null, "text": text}, {}]);
            let inner = if nested {
                inner
            } else {
                serde_json::json!(number)
            };
            serde_json::json!({"id": number, "name": text, "of": inner}).to_string()
        })
    }

    proptest! {
        /// Exactly the whole records come, whatever the separators; a fault is told exactly if there is one.
        #[test]
        fn damaged_separators_cost_no_record(
            first in "[ \n]{0,2},{0,2}[ \n]{0,2}",
            all in prop::collection::vec((record(), "[ \n]{0,2}(,| |,,|, ,|;|\n|\\||,,,|x,){1}[ \n]{0,2}"), 1..6),
            end in "[ \n]{0,2},{0,2}",
        ) {
            let mut list = format!("[{first}");
            let (mut whole, mut is_damaged) = (Vec::new(), first.contains(','));
            for (nth, (record, separator)) in all.iter().enumerate() {
                list.push_str(record);
                if nth + 1 < all.len() {
                    list.push_str(separator);
                    is_damaged |= separator.trim() != ",";
                }
                whole.push(record.as_bytes());
            }
            is_damaged |= end.contains(',');
            list.push_str(&end);
            list.push(']');
            let (found, faults) = records(list.as_bytes()).unwrap();
            prop_assert_eq!(found, whole, "{}", list);
            prop_assert_eq!(!faults.is_none(), is_damaged, "{}", list);
            // A list that is cut off stays an error.
            prop_assert_eq!(records(&list.as_bytes()[..list.len() - 1]), None);
        }

        #[test]
        fn no_bytes_lead_beyond_the_end(bytes in prop::collection::vec(prop::sample::select(&b"{}[],:\"; aN1\n\xff"[..]), 0..40)) {
            let mut scan = JsonScanner::new(&bytes);
            let mut faults = SeparatorFaults::default();
            let _ = scan.next_record(&mut faults);
            prop_assert!(scan.pos <= bytes.len());
        }
    }
}
