//! Start, presence and fingerprints of a page's records, without reading them.
//!
//! Invariant: nothing here is an error. A page that is not understood is handed on as it is, for whoever decodes it to judge; a damaged
//! record is never looked into.

use crate::empty_messages::EmptyMessages;
use crate::envelope;
use crate::envelope_error::{self, EnvelopeError};
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;
use std::hash::{DefaultHasher, Hasher};
use tillhouse_model::json::{BYTE_ORDER_MARK, JsonScanResult, JsonScanner, SeparatorFaults};

/// Bytes of a page's records that are looked into where nothing is in doubt: so much that is the same is the same page, and so much that was there
/// before brings nothing new.
pub(super) const LOOKED_AT: usize = 64 << 10;

/// The longest page without a list that is read for what its envelope says.
const LARGEST_ENVELOPE: usize = 64 << 10;

/// Position of a page's list of records, or what is there in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordsPosition {
    /// A list, from this byte on.
    List(usize),
    /// `null` or an empty object, which some serializers make of an empty list: from this byte on, so many bytes long.
    Empty(usize, usize),
    /// It was left out of the object that begins before this byte.
    LeftOut(usize),
    /// The page holds nothing at all, or `null` above it.
    Nothing,
    /// Something else.
    Other,
}

/// A page in which the server says with `null`, `{}` or without a body that there are no records, as a page with an empty list of them;
/// any other as it is. A list that is left out is empty where the envelope counts nothing (`total: 0`) and holds no other list. `records_at` is [`tillhouse_model::Resource::records_at`].
pub fn normalise_empty(page: Bytes, records_at: &[&str]) -> Bytes {
    match find(&page, records_at) {
        RecordsPosition::Empty(at, length) => {
            let mut list = BytesMut::with_capacity(page.len());
            list.put_slice(&page[..at]);
            list.put_slice(b"[]");
            list.put_slice(page.get(at + length..).unwrap_or_default());
            list.freeze()
        }
        RecordsPosition::LeftOut(at) => {
            let key = records_at.last().copied().unwrap_or_default();
            let rest = page.get(at..).unwrap_or_default();
            let mut list = BytesMut::with_capacity(page.len() + key.len() + 8);
            list.put_slice(&page[..at]);
            list.put_slice(serde_json::Value::from(key).to_string().as_bytes());
            list.put_slice(b":[]");
            if !rest.trim_ascii_start().starts_with(b"}") {
                list.put_u8(b',');
            }
            list.put_slice(rest);
            list.freeze()
        }
        RecordsPosition::Nothing => {
            let mut list = String::new();
            for key in records_at {
                list.push('{');
                list.push_str(&serde_json::Value::from(*key).to_string());
                list.push(':');
            }
            list.push_str("[]");
            list.extend(records_at.iter().map(|_| '}'));
            list.into()
        }
        RecordsPosition::List(_) | RecordsPosition::Other => page,
    }
}

/// A page without records in which one of some texts says that there are none, with an empty list where they belong. `None` for any other page.
pub(crate) fn said_empty(
    page: &Bytes,
    records_at: &[&str],
    texts: &EmptyMessages,
) -> Option<Bytes> {
    if texts.is_empty() {
        return None;
    }
    let read_as = match find(page, records_at) {
        RecordsPosition::Other if is_one(page, records_at) || has_id(page) => return None,
        RecordsPosition::Other => Bytes::new(),
        _ if is_empty(page, records_at) => page.clone(),
        _ => return None,
    };
    envelope_error::says_only(texts, page).then(|| normalise_empty(read_as, records_at))
}

fn has_id(record: &[u8]) -> bool {
    envelope::value_at(record, "id").is_some()
}

/// True if a single record stands for a list of one.
fn is_one(page: &[u8], records_at: &[&str]) -> bool {
    envelope::object_at(page, records_at).is_ok_and(|record| record.is_some_and(has_id))
}

/// A statement of a page without records against itself. A single record that stands for a list of one is no such page; of one whose envelope
/// has an id of its own, only an error that it names counts.
pub(crate) fn complaint(page: &[u8], records_at: &[&str]) -> Option<EnvelopeError> {
    match find(page, records_at) {
        RecordsPosition::Other
            if (records_at.is_empty() && has_id(page)) || is_one(page, records_at) =>
        {
            None
        }
        RecordsPosition::Other if has_id(page) => {
            envelope_error::names_an_error(page).then_some(EnvelopeError::Failure)
        }
        // Without a list, any word is about why there is none.
        RecordsPosition::Other => match envelope_error::of(page) {
            Some(EnvelopeError::Failure) => Some(EnvelopeError::Failure),
            Some(_) => Some(EnvelopeError::Remark),
            None => envelope_error::explains(page).then_some(EnvelopeError::Remark),
        },
        _ if is_empty(page, records_at) => envelope_error::of(page),
        _ => None,
    }
}

/// True if a page holds records within an envelope, or a single one that stands for a list of one.
pub(crate) fn are_wrapped(page: &[u8], records_at: &[&str]) -> bool {
    match find(page, records_at) {
        RecordsPosition::List(_) => !records_at.is_empty() && !is_empty(page, records_at),
        RecordsPosition::Other => is_one(page, records_at),
        RecordsPosition::Empty(..) | RecordsPosition::LeftOut(_) | RecordsPosition::Nothing => {
            false
        }
    }
}

/// True if a page says that it has no records.
pub(crate) fn is_empty(page: &[u8], records_at: &[&str]) -> bool {
    match find(page, records_at) {
        RecordsPosition::List(at) => {
            let mut scan = JsonScanner::new(page);
            scan.pos = at + 1;
            matches!(
                scan.first_record(&mut SeparatorFaults::default()),
                Ok(false)
            )
        }
        RecordsPosition::Empty(..) | RecordsPosition::LeftOut(_) | RecordsPosition::Nothing => true,
        RecordsPosition::Other => false,
    }
}

/// Identities of a page's records, whatever stands around them: of their ids, and of the whole record where there is none. Of a long page that is not
/// looked into as a `whole`, those of its beginning.
pub(super) fn identities(page: &[u8], records_at: &[&str], id: &str, whole: bool) -> Vec<u64> {
    let RecordsPosition::List(at) = find(page, records_at) else {
        return Vec::new();
    };
    let list = page.get(at..).unwrap_or_default();
    let looked_at = match whole {
        true => list,
        false => list.get(..LOOKED_AT).unwrap_or(list),
    };
    let mut ids = Vec::new();
    each(looked_at, |record| {
        let mut hasher = DefaultHasher::new();
        hasher.write(envelope::known_by(record, id));
        ids.push(hasher.finish());
    });
    if looked_at.len() < list.len() && ids.len() > 1 {
        // The last may be cut, and then its id may be, too.
        ids.pop();
    }
    ids
}

/// Fingerprint of a page by the identities of its records, in whichever order they come; `None` for no records.
pub(super) fn fingerprint(ids: &[u64]) -> Option<u64> {
    let print = ids.iter().fold(0_u64, |print, id| print.wrapping_add(*id));
    (!ids.is_empty()).then(|| print.wrapping_add(ids.len() as u64))
}

/// Calls `found` with the elements of a list that begins here: commas and brackets outside of strings, and nothing else. The list may be cut.
fn each<'l>(list: &'l [u8], mut found: impl FnMut(&'l [u8])) {
    let (mut depth, mut in_text, mut escaped, mut from) = (0_usize, false, false, 1);
    let mut end = list.len();
    let mut element = |from: usize, to: usize| {
        let element = list.get(from..to).unwrap_or_default().trim_ascii();
        if !element.is_empty() {
            found(element);
        }
    };
    for (at, byte) in list.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    end = at;
                    break;
                }
            }
            b',' if !in_text && depth == 1 => {
                element(from, at);
                from = at + 1;
            }
            _ => {}
        }
    }
    element(from, end);
}

fn find(page: &[u8], records_at: &[&str]) -> RecordsPosition {
    let mut scan = JsonScanner::of_page(page);
    if page[scan.pos..].iter().all(u8::is_ascii_whitespace) {
        return RecordsPosition::Nothing;
    }
    match within(&mut scan, records_at, records_at).unwrap_or(RecordsPosition::Other) {
        RecordsPosition::Other => {
            left_out(page, records_at).map_or(RecordsPosition::Other, RecordsPosition::LeftOut)
        }
        position => position,
    }
}

/// Place of a list that was left out: behind this opening brace. A page has none, and nothing in its place, and its envelope counts nothing: serializers
/// that leave out what is empty write no more. One that holds another list may have its records there, and `status: ok` alone says any page.
fn left_out(page: &[u8], records_at: &[&str]) -> Option<usize> {
    let (list, above) = records_at.split_last()?;
    let plain = page.strip_prefix(BYTE_ORDER_MARK).unwrap_or(page);
    if plain.len() > LARGEST_ENVELOPE || !envelope_error::says_none(plain) {
        return None;
    }
    let envelope: Value = serde_json::from_slice(plain).ok()?;
    let holder = above
        .iter()
        .try_fold(&envelope, |value, key| value.get(*key))?;
    if holder.as_object()?.contains_key(*list) || holds_a_list(&envelope) {
        return None;
    }
    let mut scan = JsonScanner::of_page(page);
    envelope::lead(&mut scan, above)
        .ok()
        .filter(|found| *found)?;
    scan.peek().ok()?;
    Some(scan.pos + 1)
}

fn holds_a_list(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => fields.values().any(holds_a_list),
        _ => false,
    }
}

fn within(
    scan: &mut JsonScanner<'_>,
    path: &[&str],
    left: &[&str],
) -> JsonScanResult<RecordsPosition> {
    let first = scan.peek()?;
    let Some((key, rest)) = left.split_first() else {
        let start = scan.pos;
        let length = match first {
            b'[' => return Ok(RecordsPosition::List(start)),
            b'n' => "null".len(),
            b'{' => {
                scan.pos += 1;
                if !scan.empty(b'}')? {
                    return Ok(RecordsPosition::Other);
                }
                scan.pos - start
            }
            _ => return Ok(RecordsPosition::Other),
        };
        return Ok(if path.is_empty() {
            RecordsPosition::Nothing
        } else {
            RecordsPosition::Empty(start, length)
        });
    };
    if first == b'n' {
        return Ok(RecordsPosition::Nothing);
    }
    if first != b'{' {
        return Ok(RecordsPosition::Other);
    }
    scan.pos += 1;
    let mut more = !scan.empty(b'}')?;
    while more {
        if envelope::is(scan.key()?, key) {
            return within(scan, path, rest);
        }
        scan.skip_any()?;
        more = scan.another(b'}')?;
    }
    Ok(RecordsPosition::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &[&str] = &["data"];

    fn emptied(page: &str, records_at: &[&str]) -> String {
        String::from_utf8(normalise_empty(Bytes::from(page.to_owned()), records_at).to_vec())
            .unwrap()
    }

    #[test]
    fn nothing_is_said_in_many_ways() {
        for page in ["", "  \n", "null", " null ", "\u{feff}", "\u{feff}null"] {
            assert_eq!(emptied(page, DATA), r#"{"data":[]}"#, "{page:?}");
            assert_eq!(emptied(page, &[]), "[]", "{page:?}");
            assert_eq!(emptied(page, &["a", "b"]), r#"{"a":{"b":[]}}"#, "{page:?}");
        }
        let page = r#"{"meta":{"total":4},"data": null,"x":1}"#;
        assert_eq!(
            emptied(page, DATA),
            r#"{"meta":{"total":4},"data": [],"x":1}"#
        );
        assert_eq!(emptied(r#"{"a":null}"#, &["a", "b"]), r#"{"a":{"b":[]}}"#);
        assert_eq!(
            emptied(r#"{"data": { },"x":1}"#, DATA),
            r#"{"data": [],"x":1}"#
        );
        assert_eq!(emptied("{}", &[]), "[]");
        for (page, whole) in [
            (
                r#"{"meta":{"total":0}}"#,
                r#"{"data":[],"meta":{"total":0}}"#,
            ),
            (
                "\u{feff} {\"count\":\"0\",\"errors\":null,\"links\":[]}",
                "\u{feff} {\"data\":[],\"count\":\"0\",\"errors\":null,\"links\":[]}",
            ),
        ] {
            assert_eq!(emptied(page, DATA), whole);
            assert!(is_empty(page.as_bytes(), DATA), "{page}");
        }
        for page in [
            r#"{"data":[]}"#,
            r#"{"data":{"id":1}}"#,
            r#"{"data":""}"#,
            "{}",
            r#"{"meta":{"total":3}}"#,
            r#"{"success":true,"meta":{"total":3}}"#,
            r#"{"status":"Success","errors":null}"#,
            r#"{"meta":{"total":0},"items":[1]}"#,
            r#"{"meta":{"total":0},"error":"no rights"}"#,
            r#"{"status":"ok","message":"moved to v2"}"#,
            r#"{"items":null}"#,
            "<html>",
            r#"{"data":[{"a":"\ud83d"}]}"#,
        ] {
            assert_eq!(emptied(page, DATA), page);
        }
    }

    #[test]
    fn a_text_can_say_that_there_is_nothing() {
        let texts = EmptyMessages::new(["nix da"]).unwrap();
        let of = |page: &str, at: &[&str]| {
            said_empty(&Bytes::from(page.to_owned()), at, &texts)
                .map(|page| String::from_utf8(page.to_vec()).unwrap())
        };
        assert_eq!(
            of(r#"{"error":{"text":"Nix da"}}"#, DATA).as_deref(),
            Some(r#"{"data":[]}"#)
        );
        assert_eq!(of(r#"{"m":"NIX DA"}"#, &[]).as_deref(), Some("[]"));
        assert_eq!(
            of(r#"{"m":"nix da","data":null,"total":4}"#, DATA).as_deref(),
            Some(r#"{"m":"nix da","data":[],"total":4}"#)
        );
        assert_eq!(
            of(r#"{"m":"nix da","data":[]}"#, DATA).as_deref(),
            Some(r#"{"m":"nix da","data":[]}"#)
        );
        for other in [
            r#"{"m":"nix da","data":[{"id":1}]}"#,
            r#"{"m":"nix da","data":{"id":1}}"#,
            r#"{"id":1,"m":"nix da"}"#,
            r#"{"m":"nix","data":[]}"#,
            r#"{"m":"nix da","error":"the database is down","data":[]}"#,
            r#"{"nix da":"x","data":[]}"#,
        ] {
            assert_eq!(of(other, DATA), None, "{other}");
        }
    }

    #[test]
    fn words_in_place_of_a_list_are_about_its_absence() {
        const TOP: &[&str] = &[];
        for (page, at, found) in [
            (
                r#"{"message":"No transactions available"}"#,
                DATA,
                Some(EnvelopeError::Remark),
            ),
            (
                r#"{"message":"No transactions available"}"#,
                TOP,
                Some(EnvelopeError::Remark),
            ),
            (r#""No data""#, DATA, Some(EnvelopeError::Remark)),
            (
                r#"{"message":"No transactions available","data":[]}"#,
                DATA,
                None,
            ),
            (
                r#"{"error":"No records found","data":[]}"#,
                DATA,
                Some(EnvelopeError::Remark),
            ),
            (
                r#"{"error":"No records found","data":[]}"#,
                TOP,
                Some(EnvelopeError::Remark),
            ),
            (
                r#"{"status":"Error","message":"Nichts da heute","data":null}"#,
                DATA,
                Some(EnvelopeError::Failure),
            ),
            (r#"{"items":[]}"#, DATA, None),
        ] {
            assert_eq!(complaint(page.as_bytes(), at), found, "{page}");
        }
    }

    #[test]
    fn pages_are_known_again_by_their_records() {
        let of = |page: &str| fingerprint(&identities(page.as_bytes(), DATA, "id", false));
        let page = r#"{"start":0,"data":[{"id":"a]"},{"id":"\"b"}],"trace":1}"#;
        assert_eq!(
            of(page),
            of(r#"{"start":500,"data":[{"id":"a]"},{"id":"\"b"}],"trace":27}"#)
        );
        assert_ne!(
            of(page),
            of(r#"{"start":0,"data":[{"id":"a]"},{"id":"\"c"}],"trace":1}"#)
        );
        let of_two =
            |first: &str, second: &str| of(&format!(r#"{{"data":[ {first} , {second}]}}"#));
        let (a, b) = (r#"{"id":"a,]","x":[1,{"y":2}]}"#, r#"{"id":2}"#);
        assert_eq!(of_two(a, b), of_two(b, a), "in whichever order");
        assert_ne!(of_two(a, a), of_two(a, b));
        assert_ne!(of_two("1", "1"), of_two("2", "2"));
        assert_eq!(
            of_two(r#"{"id":1,"at":7}"#, b),
            of_two(b, r#"{"at":8,"id":1}"#),
            "whatever else they say now"
        );
        assert_ne!(of("{\"data\":[1,2]}"), of("{\"data\":[12]}"));
        assert_eq!(
            (of(r#"{"data":[ ]}"#), of(r#"{"data":null}"#), of("[1]")),
            (None, None, None)
        );
        assert!(
            of(r#"{"data":[{"id":"\ud83d"}]}"#).is_some(),
            "what is damaged is not looked into"
        );
        let long = |last: &str| format!(r#"{{"data":[{}{last}]}}"#, r#"{"id":1},"#.repeat(10_000));
        assert_eq!(
            of(&long("1")),
            of(&long("2")),
            "so much alike is the same page"
        );
        let of_whole = |page: &str| fingerprint(&identities(page.as_bytes(), DATA, "id", true));
        assert_ne!(of_whole(&long("1")), of_whole(&long("2")));
        // Another order is another beginning, and the same page as a whole.
        let of_ids = |ids: Vec<u64>| {
            let records: Vec<String> = ids
                .iter()
                .map(|id| format!(r#"{{"x":"{id:0100}","id":{id}}}"#))
                .collect();
            format!(r#"{{"data":[{}]}}"#, records.join(","))
        };
        let (there, back) = (
            of_ids((0..1_000).collect()),
            of_ids((0..1_000).rev().collect()),
        );
        assert_ne!(of(&there), of(&back));
        assert_eq!(of_whole(&there), of_whole(&back));
        let (some, all) = (
            identities(there.as_bytes(), DATA, "id", false),
            identities(there.as_bytes(), DATA, "id", true),
        );
        assert_eq!(all.len(), 1_000);
        assert!(
            some.len() > 100 && all.starts_with(&some),
            "what is cut off is no record"
        );
    }
}
