//! Bodies in another charset than JSON's, as their header declares it.
//!
//! Invariant: a body that is UTF-8 stays as it is, whatever its header says: many servers declare a charset that they do not use. So does one that is
//! UTF-8 but for some damage: more of its characters beyond ASCII are whole than broken, as in no other charset; that costs the damaged record, and no
//! other. What is decoded is what nobody can get wrong, ISO-8859-1 and its superset windows-1252, of which every byte is one character.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

/// Names of UTF-8, in lower case.
const UTF_8: [&str; 7] = [
    "utf-8",
    "utf8",
    "utf8mb3",
    "utf8mb4",
    "unicode-1-1-utf-8",
    "unicode11utf8",
    "x-unicode20utf8",
];

/// Names of the two charsets that are read, in lower case; what is called ISO-8859-1 is windows-1252 to every browser.
const WESTERN: [&str; 9] = [
    "iso-8859-1",
    "iso8859-1",
    "iso_8859-1",
    "latin1",
    "latin-1",
    "l1",
    "windows-1252",
    "cp1252",
    "us-ascii",
];

/// Characters of the bytes 0x80 to 0x9f in windows-1252; the five that have none stay what they are in ISO-8859-1.
const WINDOWS: [char; 32] = [
    '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}',
    '\u{2c6}', '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}',
    '\u{90}', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}',
    '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\u{9d}', '\u{17e}', '\u{178}',
];

/// A body as UTF-8, where its header declares another charset and it is not UTF-8; the charset's name where that one cannot be read.
pub(crate) fn as_utf8(headers: &HeaderMap, body: Bytes) -> Result<Bytes, String> {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Some(charset) = declared.and_then(declared_charset) else {
        return Ok(body);
    };
    // A text that is damaged is the record's fault, and not the page's.
    if UTF_8.contains(&&*charset) || is_mostly_utf8(&body) {
        return Ok(body);
    }
    if !WESTERN.contains(&&*charset) {
        return Err(charset);
    }
    let text: String = body.iter().map(|byte| character(*byte)).collect();
    Ok(text.into())
}

/// True if a body is UTF-8, or UTF-8 of which less is broken than whole.
fn is_mostly_utf8(body: &[u8]) -> bool {
    let (mut whole, mut broken) = (0, 0);
    for chunk in body.utf8_chunks() {
        whole += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    broken == 0 || whole > broken
}

fn character(byte: u8) -> char {
    let at = byte.checked_sub(0x80).map(usize::from);
    at.and_then(|at| WINDOWS.get(at))
        .copied()
        .unwrap_or(char::from(byte))
}

/// The charset that a media type names, in lower case.
fn declared_charset(media_type: &str) -> Option<String> {
    media_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"').trim();
        let is_it = name.trim().eq_ignore_ascii_case("charset") && !value.is_empty();
        is_it.then(|| value.to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn read(media_type: &str, body: &'static [u8]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(media_type).unwrap());
        as_utf8(&headers, Bytes::from_static(body))
            .map(|body| String::from_utf8_lossy(&body).into_owned())
    }

    #[test]
    fn what_is_declared_is_decoded_unless_it_is_utf_8() {
        for western in ["ISO-8859-1", "\"iso-8859-1\"", "Windows-1252", "latin1"] {
            let media_type = format!("application/json; Charset={western}");
            assert_eq!(
                read(&media_type, b"\"Z\xfcrich \x80\"").unwrap(),
                "\"Z\u{fc}rich \u{20ac}\""
            );
            assert_eq!(
                read(&media_type, "\"Z\u{fc}rich\"".as_bytes()).unwrap(),
                "\"Z\u{fc}rich\""
            );
        }
        assert_eq!(
            read("application/json; charset=koi8-r", b"\"\xc1\""),
            Err("koi8-r".into())
        );
        // UTF-8 that is damaged at one place, whatever it is called.
        for other in ["koi8-r", "iso-8859-1"] {
            assert_eq!(
                read(
                    &format!("application/json; charset={other}"),
                    b"[\"Z\xc3\xbcrich\",\"M\xc3\",\"K\xc3\xb6ln\"]"
                )
                .unwrap(),
                "[\"Z\u{fc}rich\",\"M\u{fffd}\",\"K\u{f6}ln\"]",
                "{other}"
            );
        }
        for own in [
            "application/json",
            "application/json; charset=utf-8",
            "application/json; charset=utf8mb4",
            "application/json; charset=",
        ] {
            assert_eq!(read(own, b"\"\xfc\"").unwrap(), "\"\u{fffd}\"", "{own}");
        }
        let all: String = (0x80..=0xff_u8).map(character).collect();
        assert_eq!(all.chars().count(), 128);
        assert_eq!(
            (character(b'a'), character(0x99), character(0xff)),
            ('a', '\u{2122}', '\u{ff}')
        );
    }
}
