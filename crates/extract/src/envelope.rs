//! Reads a few values of a page's envelope (a total, a link) without parsing its records.
//!
//! Invariant: reading stops as soon as every wanted value is found or known to be absent; where the envelope comes before the
//! records, their bytes are never touched. What a decoder rejects of a record is none of the envelope's business: a damaged record is
//! one record here too, and a damaged comma between two is none.
//!
//! Rejected: serde with `IgnoredAny`, which always walks the whole page; a search for `"total":` in the bytes, which would find it
//! inside a record; and a JSON parser that knows no [`JsonScanner::skip_record`], to which one odd record is the end of the page.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};
use tillhouse_model::json::{
    JsonScanResult, JsonScanner, MalformedJson, RawJsonString, SeparatorFaults, unescape,
};
use tillhouse_model::{Error, ExactDecimal, Result, blank, identifier};

/// Value of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvelopeValue {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// A string, unescaped.
    Text(String),
    /// An object or array, which is not read.
    Nested,
}

impl EnvelopeValue {
    /// A whole number that is not negative, however it is written: `240`, `240.0`, `2.4e2`, `" 240 "`.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(text) | Self::Text(text) => whole_number(text),
            _ => None,
        }
    }

    /// A string that is not empty.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// A whole number that is not negative; read exactly, never by way of a float.
pub(crate) fn whole_number(text: &str) -> Option<u64> {
    let text = blank::trim(text);
    text.parse().ok().or_else(|| {
        let number = ExactDecimal::from_json(text)?.trimmed();
        u64::try_from(number.units)
            .ok()
            .filter(|_| number.scale == 0)
    })
}

/// The values at some paths of object keys, `None` where there is none. Where a key stands twice, the first counts.
///
/// Errors with [`tillhouse_model::ErrorKind::Protocol`] when the page is not a JSON object as far as it was read.
///
/// ```
/// use tillhouse_extract::envelope::read;
///
/// let page = br#"{"meta": {"total": 2}, "next": null, "data": [{"id": 1}, {"id": 2}]}"#;
/// let [total, next] = read(page, &[&["meta", "total"], &["next"]])?;
/// assert_eq!(total.unwrap().as_u64(), Some(2));
/// assert_eq!(next.unwrap().as_text(), None);
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
pub fn read<const N: usize>(
    page: &[u8],
    wanted: &[&[&str]; N],
) -> Result<[Option<EnvelopeValue>; N]> {
    const { assert!(N > 0 && N <= 32) };
    let mut search = EnvelopeSearch {
        scan: JsonScanner::of_page(page),
        wanted,
        found: std::array::from_fn(|_| None),
        open: all(N),
    };
    let read = match search.scan.peek() {
        Ok(b'{') => search.object(0, all(N)),
        Ok(_) => search.scan.fail("an object"),
        Err(malformed) => Err(malformed),
    };
    read.map_err(|e| not_json(&e))?;
    Ok(search.found)
}

/// Number of elements in the array at a path of keys. Walks the whole array.
///
/// Errors with [`tillhouse_model::ErrorKind::Protocol`] when the page is not JSON as far as it was read, or there is no such array.
pub fn count(page: &[u8], path: &[&str]) -> Result<u64> {
    let mut count = 0;
    found_at(path, elements(page, path, &mut |_| count += 1))?;
    Ok(count)
}

/// Identities of the records in the array at a path of keys: a hash of each one's value at `key`,
/// or of the whole record where it has none that names anything. Enough to tell whether a page brings anything new.
/// Hashes are good within this process and program only.
///
/// Errors with [`tillhouse_model::ErrorKind::Protocol`] when the page is not JSON as far as it was read, or there is no such array.
pub fn identities(page: &[u8], path: &[&str], key: &str) -> Result<Vec<u64>> {
    let mut identities = Vec::new();
    let identity = &mut |record| identities.push(hash(known_by(record, key)));
    found_at(path, elements(page, path, identity))?;
    Ok(identities)
}

/// The elements of a page that is a list, as they are written; `None` where it is anything else.
pub fn list(page: &[u8]) -> Option<Vec<&[u8]>> {
    let mut records = Vec::new();
    elements(page, &[], &mut |record| records.push(record))
        .is_ok_and(|found| found)
        .then_some(records)
}

/// The records of an answer to a question by id, as they are written: those of the list at a path of keys, or the single object there; where the
/// answer has neither, the answer itself, as a list or as one record that has a value at `key`.
///
/// Errors with [`tillhouse_model::ErrorKind::Protocol`] where there is none of them.
pub fn records<'p>(page: &'p [u8], path: &[&str], key: &str) -> Result<Vec<&'p [u8]>> {
    let mut records = Vec::new();
    let found = elements(page, path, &mut |record| records.push(record));
    if matches!(found, Ok(true)) {
        return Ok(records);
    }
    if let Ok(Some(record)) = object_at(page, path) {
        return Ok(vec![record]);
    }
    if value_at(page, key).is_some() {
        return Ok(vec![page]);
    }
    match list(page) {
        Some(records) => Ok(records),
        None => found_at(path, found).map(|()| records),
    }
}

/// True if a record has this identifier at a key, in whatever spelling, or the number that it is.
pub fn has(record: &[u8], key: &str, text: &str) -> bool {
    let Some(value) = value_at(record, key) else {
        return false;
    };
    let meant = serde_json::from_slice::<String>(value).ok();
    meant.map_or(value == text.as_bytes(), |meant| {
        identifier::canonical(&meant) == identifier::canonical(text)
    })
}

/// Identity of a record: its value at a key, or the whole of it where that is none or names nothing. Records without an id are no repeats of
/// each other.
pub(crate) fn known_by<'p>(record: &'p [u8], key: &str) -> &'p [u8] {
    let names_nothing = |value: &[u8]| {
        let text = value
            .strip_prefix(b"\"")
            .and_then(|text| text.strip_suffix(b"\""));
        text.and_then(|text| std::str::from_utf8(text).ok())
            .is_some_and(blank::names_nothing)
    };
    value_at(record, key)
        .filter(|value| !names_nothing(value))
        .unwrap_or(record)
}

/// Raw value of a record at a key; `None` where it has none or null, or is no object. Of a damaged
/// record, what stands before the damage is found.
pub fn value_at<'p>(record: &'p [u8], key: &str) -> Option<&'p [u8]> {
    let mut scan = JsonScanner::new(record);
    if scan.peek().ok()? != b'{' {
        return None;
    }
    scan.pos += 1;
    let mut more = !scan.empty(b'}').ok()?;
    while more {
        let here = is(scan.key().ok()?, key);
        let null = scan.peek().ok()? == b'n';
        let start = scan.pos;
        scan.skip().ok()?;
        let value = &record[start..scan.pos];
        scan.value_end().ok()?;
        if here && !null {
            return Some(value);
        }
        more = scan.another(b'}').ok()?;
    }
    None
}

/// An error where there is no such array.
fn found_at(path: &[&str], found: JsonScanResult<bool>) -> Result<()> {
    if found.map_err(|e| not_json(&e))? {
        return Ok(());
    }
    let list = if path.is_empty() {
        "no list".to_owned()
    } else {
        format!("no list called {}", path.join("."))
    };
    Err(Error::protocol(format!("the page holds {list}")).hint(
        "Check connection.base_url and connection.paths: something else may be answering there.",
    ))
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// True if a key is `wanted`, written plainly or with escapes.
pub(crate) fn is(key: RawJsonString<'_>, wanted: &str) -> bool {
    if key.escaped {
        meaning(key) == wanted
    } else {
        key.bytes == wanted.as_bytes()
    }
}

/// Text of a string; what is no text in it is replaced by U+FFFD.
pub(crate) fn meaning(text: RawJsonString<'_>) -> Cow<'_, str> {
    let mut bytes = Vec::new();
    match text.escaped && unescape(text.bytes, &mut bytes).is_ok() {
        true => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        false => String::from_utf8_lossy(text.bytes),
    }
}

/// The object at a path of keys.
pub(crate) fn object_at<'p>(page: &'p [u8], path: &[&str]) -> JsonScanResult<Option<&'p [u8]>> {
    let mut scan = JsonScanner::of_page(page);
    if path.is_empty() || !lead(&mut scan, path)? || scan.peek()? != b'{' {
        return Ok(None);
    }
    let start = scan.pos;
    scan.skip_record()?;
    Ok(Some(&page[start..scan.pos]))
}

/// Calls `each` with the elements of the array at a path of keys; whether there is such an array.
fn elements<'p>(
    page: &'p [u8],
    path: &[&str],
    each: &mut dyn FnMut(&'p [u8]),
) -> JsonScanResult<bool> {
    let mut scan = JsonScanner::of_page(page);
    if !lead(&mut scan, path)? || scan.peek()? != b'[' {
        return Ok(false);
    }
    scan.pos += 1;
    // Faults between them, whoever decodes the page tells.
    let mut faults = SeparatorFaults::default();
    let mut more = scan.first_record(&mut faults)?;
    while more {
        let start = scan.pos;
        scan.skip_record()?;
        each(&page[start..scan.pos]);
        more = scan.next_record(&mut faults)?;
    }
    Ok(true)
}

/// Leads to the value at a path of keys; whether there is one.
pub(crate) fn lead(scan: &mut JsonScanner<'_>, path: &[&str]) -> JsonScanResult<bool> {
    for wanted in path {
        if scan.peek()? != b'{' {
            return Ok(false);
        }
        scan.pos += 1;
        let mut more = !scan.empty(b'}')?;
        loop {
            if !more {
                return Ok(false);
            }
            if is(scan.key()?, wanted) {
                break;
            }
            scan.skip_any()?;
            more = scan.another(b'}')?;
        }
    }
    Ok(true)
}

/// Search for the values at several paths of an envelope, in one pass.
struct EnvelopeSearch<'p, 'w, const N: usize> {
    scan: JsonScanner<'p>,
    wanted: &'w [&'w [&'w str]; N],
    found: [Option<EnvelopeValue>; N],
    /// The paths, as bits, of which it is not yet known whether they are there.
    open: u32,
}

fn all(n: usize) -> u32 {
    u32::MAX >> (32 - n)
}

impl<const N: usize> EnvelopeSearch<'_, '_, N> {
    /// Walks an object whose path is a prefix, of `depth` keys, of the paths in `here`; the position is at its opening brace.
    fn object(&mut self, depth: usize, here: u32) -> JsonScanResult {
        self.scan.pos += 1;
        let mut more = !self.scan.empty(b'}')?;
        while more {
            let key = self.scan.key()?;
            self.value(depth + 1, below(self.wanted, key, depth, here & self.open))?;
            if self.open == 0 {
                return Ok(());
            }
            more = self.scan.another(b'}')?;
        }
        Ok(())
    }

    /// Reads or skips a value at a path of `depth` keys; `here` are the wanted paths that lead to it or through it.
    fn value(&mut self, depth: usize, here: u32) -> JsonScanResult {
        let first = self.scan.peek()?;
        if here == 0 {
            return self.scan.skip_any();
        }
        let ends_here = (0..N).filter(|i| here & (1 << i) != 0 && self.wanted[*i].len() == depth);
        let ends: Vec<usize> = ends_here.collect();
        if !ends.is_empty() {
            let scalar = self.scalar(first)?;
            for i in ends {
                self.found[i] = Some(scalar.clone());
            }
        } else if first == b'{' {
            self.object(depth, here)?;
        } else if self.open != here {
            self.scan.skip_any()?;
        }
        self.open &= !here;
        Ok(())
    }

    fn scalar(&mut self, first: u8) -> JsonScanResult<EnvelopeValue> {
        let value = match first {
            b'n' => self.scan.literal("null").map(|()| EnvelopeValue::Null)?,
            b't' => self
                .scan
                .literal("true")
                .map(|()| EnvelopeValue::Bool(true))?,
            b'f' => self
                .scan
                .literal("false")
                .map(|()| EnvelopeValue::Bool(false))?,
            b'"' => EnvelopeValue::Text(meaning(self.scan.string()?).into_owned()),
            b'[' | b'{' => self.scan.skip_any().map(|()| EnvelopeValue::Nested)?,
            _ => EnvelopeValue::Number(
                String::from_utf8_lossy(self.scan.number()?.text).into_owned(),
            ),
        };
        self.scan.value_end()?;
        Ok(value)
    }
}

/// The paths of `here` whose key at `depth` is `key`.
fn below(wanted: &[&[&str]], key: RawJsonString<'_>, depth: usize, here: u32) -> u32 {
    let leads = |i: &usize| {
        here & (1 << i) != 0 && wanted[*i].get(depth).is_some_and(|wanted| is(key, wanted))
    };
    (0..wanted.len())
        .filter(leads)
        .fold(0, |bits, i| bits | 1 << i)
}

/// The error's place; never the text around it, which may be a record's.
fn not_json(error: &MalformedJson) -> Error {
    Error::protocol(format!(
        "the answer is not the JSON object it should be, at byte {}",
        error.at
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: &[&str] = &["meta", "total"];
    const NEXT: &[&str] = &["_links", "next"];

    fn number(text: &str) -> Option<EnvelopeValue> {
        Some(EnvelopeValue::Number(text.into()))
    }

    #[test]
    fn a_record_is_known_by_its_identifier_in_whatever_spelling() {
        let upper = br#"{"id":"{3F2504E0-4F89-11D3-9A0C-0305E82C3301}"}"#;
        assert!(has(upper, "id", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"));
        assert!(has(br#"{"id":" 7 "}"#, "id", "7") && has(br#"{"id":7}"#, "id", "7"));
        assert!(!has(br#"{"id":"a"}"#, "id", "A") && !has(br#"{"id":"007"}"#, "id", "7"));
    }

    #[test]
    fn values_before_the_records_are_found_without_reading_them() {
        // The rest is not JSON at all, and nobody notices.
        let page = br#"{"_links":{"self":"a","next":"b\u002fc"},"meta":{"limit":2,"total":7}, "data":[{"id": NONSENSE"#;
        let found = read(page, &[TOTAL, NEXT]).unwrap();
        assert_eq!(
            found,
            [number("7"), Some(EnvelopeValue::Text("b/c".into()))]
        );
    }

    #[test]
    fn values_after_the_records_are_found_and_records_do_not_fool_it() {
        let page =
            br#"{"data":[{"meta":{"total":1}},{"x":"\"meta\":{\"total\":2}"}],"meta":{"total":3}}"#;
        assert_eq!(read(page, &[TOTAL, NEXT]).unwrap(), [number("3"), None]);
        let page = br#"{"meta":{"total":3,"x":{"y":[]}},"data":[],"_links":{"next":"n"}}"#;
        assert_eq!(
            read(page, &[TOTAL, NEXT]).unwrap(),
            [number("3"), Some(EnvelopeValue::Text("n".into()))]
        );
    }

    #[test]
    fn what_a_visited_object_lacks_is_not_searched_in_the_records() {
        let page = br#"{"meta":{"total":3},"data":[NONSENSE"#;
        assert_eq!(
            read(page, &[TOTAL, &["meta", "limit"]]).unwrap(),
            [number("3"), None]
        );
        let page = br#"{"meta":null,"data":[NONSENSE"#;
        assert_eq!(read(page, &[TOTAL]).unwrap(), [None]);
    }

    #[test]
    fn kinds_are_told_apart() {
        let page = br#"{"a":null,"b":true,"c":"12","d":-1.5e3,"e":[1],"f":"","g":9}"#;
        let [a, b, c, d, e, f, g, h] = read(
            page,
            &[
                &["a"],
                &["b"],
                &["c"],
                &["d"],
                &["e"],
                &["f"],
                &["g"],
                &["g", "h"],
            ],
        )
        .unwrap();
        assert_eq!(
            (a, b, e),
            (
                Some(EnvelopeValue::Null),
                Some(EnvelopeValue::Bool(true)),
                Some(EnvelopeValue::Nested)
            )
        );
        assert_eq!(c.unwrap().as_u64(), Some(12));
        assert_eq!(d.clone().unwrap().as_u64(), None);
        assert_eq!(d, number("-1.5e3"));
        assert_eq!(f.unwrap().as_text(), None);
        assert_eq!(g.unwrap().as_u64(), Some(9));
        assert_eq!(h, None);
    }

    #[test]
    fn a_total_is_a_whole_number_however_it_is_written() {
        let total = |written: &str| {
            let page = format!(r#"{{"meta":{{"total":{written}}},"data":[]}}"#);
            let [total] = read(page.as_bytes(), &[TOTAL]).unwrap();
            total.unwrap().as_u64()
        };
        for written in [
            "240",
            "240.0",
            "240.000",
            "2.4e2",
            "2.4E+2",
            "24000e-2",
            r#""240""#,
            r#"" 240 ""#,
            r#""240.0\u00a0""#,
        ] {
            assert_eq!(total(written), Some(240), "{written}");
        }
        assert_eq!(total("0.0"), Some(0));
        assert_eq!(total("18446744073709551615.0"), Some(u64::MAX));
        assert_eq!(total("9007199254740993.0"), Some(9_007_199_254_740_993));
        for none in [
            "240.5",
            "-1",
            "-1.0",
            "1e99",
            "18446744073709551616",
            r#""2,400""#,
            r#""many""#,
            r#""""#,
            "true",
            "[240]",
        ] {
            assert_eq!(total(none), None, "{none}");
        }
    }

    #[test]
    fn arrays_are_counted() {
        let page = br#"{"meta":{},"data":[{"a":[1,2]},{"b":"]"},3]}"#;
        assert_eq!(count(page, &["data"]).unwrap(), 3);
        assert!(count(page, &["meta"]).is_err());
        assert!(
            count(page, &["meta", "x"])
                .unwrap_err()
                .message()
                .ends_with("no list called meta.x")
        );
        assert_eq!(count(b"[1,2]", &[]).unwrap(), 2);
        assert_eq!(count(br#"{"data":[]}"#, &["data"]).unwrap(), 0);
    }

    #[test]
    fn a_single_record_is_found_wherever_it_is_put() {
        let of = |page: &'static str| {
            records(page.as_bytes(), &["data"], "id").map(|r| {
                r.iter()
                    .map(|r| String::from_utf8_lossy(r).into_owned())
                    .collect::<Vec<_>>()
            })
        };
        for page in [
            r#"{"data":[{"id":7}]}"#,
            r#"{"meta":{"id":1},"data":{"id":7},"x":1}"#,
            r#"{"id":7}"#,
            r#"[{"id":7}]"#,
        ] {
            assert_eq!(of(page).unwrap(), [r#"{"id":7}"#], "{page}");
        }
        assert_eq!(
            of(r#"{"data":{"id":7,"name":"Caf\ud83d"}}"#).unwrap(),
            [r#"{"id":7,"name":"Caf\ud83d"}"#]
        );
        assert_eq!(of(r#"{"data":[]}"#).unwrap(), Vec::<String>::new());
        for page in [r#"{"items":[]}"#, "7", "", r#""x""#, r#"{"data":7}"#] {
            assert!(of(page).is_err(), "{page}");
        }
        for (record, is_it) in [
            (r#"{"id":"7"}"#, true),
            (r#"{"id":7}"#, true),
            (r#"{"x":{"id":7},"id":" \u0037"}"#, true),
            (r#"{"id":77}"#, false),
            (r#"{"id":null}"#, false),
            (r#"{"x":{"id":7}}"#, false),
            ("7", false),
        ] {
            assert_eq!(has(record.as_bytes(), "id", "7"), is_it, "{record}");
        }
    }

    #[test]
    fn a_damaged_record_is_one_record() {
        let deep = format!(r#"{{"id":"b","x":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        for damaged in [
            &br#"{"id":"b","name":"Caf\ud83d"}"#[..],
            b"{\"id\":\"b\",\"name\":\"Caf\xe9\"}",
            br#"{"id":"b","amount":NaN}"#,
            br#"{"id":"b","amount":007}"#,
            br#"{"id":"b","amount":1e999}"#,
            br#"{"id":"b","id":"c"}"#,
            b"{\"id\":\"b\",\"name\":\"a\nb\x00\"}",
            br#"{"id":"b","name":"C:\x"}"#,
            br#"{"id":"b","name":"C:\"}"#,
            deep.as_bytes(),
            b"7",
            b"null",
            b"[1]",
        ] {
            let shown = String::from_utf8_lossy(damaged);
            let records = [&br#"[{"id":"a"},"#[..], damaged, br#",{"id":"c"}]"#].concat();
            let page = [&br#"{"data":"#[..], &records, br#","meta":{"total":3}}"#].concat();
            assert_eq!(count(&page, &["data"]).unwrap(), 3, "{shown}");
            assert_eq!(read(&page, &[TOTAL]).unwrap(), [number("3")], "{shown}");
            let ids = identities(&page, &["data"], "id").unwrap();
            let whole = identities(
                br#"{"data":[{"id":"a"},{"id":"b"},{"id":"c"}]}"#,
                &["data"],
                "id",
            )
            .unwrap();
            assert_eq!(
                (ids.len(), ids[0], ids[2]),
                (3, whole[0], whole[2]),
                "{shown}"
            );
            assert_eq!(list(&records).unwrap()[1], damaged, "{shown}");
            assert_eq!(shown.contains(r#""id":"b""#), ids[1] == whole[1], "{shown}");
        }
        let cut = br#"{"data":[{"id":"a"},{"id":NaN"#;
        assert!(
            count(cut, &["data"]).is_err()
                && read(cut, &[TOTAL]).is_err()
                && list(&cut[8..]).is_none()
        );
    }

    #[test]
    fn a_value_that_is_cut_off_in_the_middle_is_none() {
        for junk in [
            "7abc",
            "7 abc",
            "7.1.2",
            "7-",
            "07",
            "0x7",
            "7e",
            "-",
            "truex",
            "\"7\"b",
            "\"7\" \"b\"",
            "NaN",
        ] {
            let record = format!(r#"{{"id":{junk},"n":1}}"#);
            assert_eq!(value_at(record.as_bytes(), "id"), None, "{junk}");
            assert!(!has(record.as_bytes(), "id", "7"), "{junk}");
            assert!(
                read(
                    format!(r#"{{"meta":{{"total":{junk}}}}}"#).as_bytes(),
                    &[TOTAL]
                )
                .is_err(),
                "{junk}"
            );
            let page = format!(r#"{{"data":[{{"id":7}},{record}]}}"#);
            let ids = identities(page.as_bytes(), &["data"], "id").unwrap();
            assert!(ids.len() == 2 && ids[0] != ids[1], "{junk}");
        }
        assert_eq!(value_at(br#"{"id":7 ,"n":7abc}"#, "id"), Some(&b"7"[..]));
    }

    #[test]
    fn a_damaged_comma_is_no_record() {
        for records in [
            r#"[{"id":"a"},,{"id":"b"},{"id":"c"}]"#,
            r#"[{"id":"a"} {"id":"b"},{"id":"c"},]"#,
            r#"[ , {"id":"a"};{"id":"b"}{"id":"c"}]"#,
        ] {
            let ids = ["a", "b", "c"].map(|id| format!(r#"{{"id":"{id}"}}"#));
            assert_eq!(
                list(records.as_bytes()).unwrap(),
                ids.each_ref().map(String::as_bytes)
            );
            let page = format!(r#"{{"data":{records},"meta":{{"total":3}}}}"#);
            let page = page.as_bytes();
            assert_eq!(count(page, &["data"]).unwrap(), 3, "{records}");
            assert_eq!(identities(page, &["data"], "id").unwrap().len(), 3);
            assert_eq!(read(page, &[TOTAL]).unwrap(), [number("3")], "{records}");
        }
        assert!(list(br#"[{"id":"a"},,{"id":"b""#).is_none(), "cut off");
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        let page = b"\xef\xbb\xbf{\"meta\":{\"total\":3},\"data\":[1]}";
        assert_eq!(read(page, &[TOTAL]).unwrap(), [number("3")]);
        assert_eq!(count(page, &["data"]).unwrap(), 1);
        assert_eq!(list(b"\xef\xbb\xbf[1]").unwrap(), [b"1"]);
    }

    #[test]
    fn records_are_known_again_by_their_key() {
        let of = |page: &str| identities(page.as_bytes(), &["data"], "id").unwrap();
        let [a, b] = of(r#"{"data":[{"id":"a","x":{"id":"b"}},{"x":[1],"id":7}]}"#)[..] else {
            panic!()
        };
        assert_eq!(
            of(r#"{"trace":1,"data":[ {"x":2,"id" : "a"}, {"id":7} ]}"#),
            [a, b]
        );
        let without = of(r#"{"data":[{"x":1},{"id":null,"x":1},{"x":1},3]}"#);
        assert_eq!(without[0], without[2], "as a whole, where there is no key");
        assert_ne!(without[0], without[1]);
        for blank in ["", " ", "null", "00000000-0000-0000-0000-000000000000"] {
            let page = format!(r#"{{"data":[{{"id":"{blank}","x":1}},{{"id":"{blank}","x":2}}]}}"#);
            let [a, b] = of(&page)[..] else { panic!() };
            assert_ne!(a, b, "{blank:?} is no id");
        }
        assert!(of(r#"{"data":[]}"#).is_empty());
        for none in [&br#"{"data":null}"#[..], br#"{"items":[]}"#] {
            assert!(
                identities(none, &["data"], "id")
                    .unwrap_err()
                    .message()
                    .ends_with("no list called data")
            );
        }
        assert!(identities(br#"{"data":[{"id":"#, &["data"], "id").is_err());
    }

    #[test]
    fn what_is_not_json_is_an_error_that_quotes_nothing() {
        for page in [
            &b""[..],
            b"<html>",
            b"[1]",
            br#"{"meta":{"total":"#,
            br#"{"secret":tru"#,
            b"\xff\xfe",
        ] {
            let error = read(page, &[TOTAL]).unwrap_err();
            assert_eq!(error.kind(), tillhouse_model::ErrorKind::Protocol);
            assert!(!error.to_string().contains("secret"));
        }
        assert!(count(br#"{"data":[1,"#, &["data"]).is_err());
    }
}
