//! Query strings: read and written by the same rules, `page[offset]` included.
//!
//! Invariant: what [`encode`] writes, [`decode`] reads back; bytes that are not UTF-8 are refused, not guessed.

use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, utf8_percent_encode,
};

/// All but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The pairs of a query string in their order; `+` is a blank, as in forms. `None` when an escape is broken.
pub fn decode(query: &str) -> Option<Vec<(String, String)>> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decode_part(key)?, decode_part(value)?))
        })
        .collect()
}

/// Percent-decodes one part.
pub fn decode_part(text: &str) -> Option<String> {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    // The library takes a broken escape for what it shows.
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    let blanks = text.replace('+', " ");
    let decoded = percent_decode_str(&blanks).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// Writes pairs as a query string.
pub fn encode(pairs: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(encode_part(key));
        text.push('=');
        text.extend(encode_part(value));
    }
    text
}

fn encode_part(part: &str) -> PercentEncode<'_> {
    utf8_percent_encode(part, ENCODED)
}

/// The last value of a key.
pub fn last<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs
        .iter()
        .rev()
        .find(|(k, _)| k == key)
        .map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_survive() {
        let pairs = vec![
            ("page[offset]".to_owned(), "10".to_owned()),
            ("filter".to_owned(), "{\"a\":\"ü +&=%\"}".to_owned()),
        ];
        assert_eq!(decode(&encode(&pairs)), Some(pairs));
        assert_eq!(decode("a=%zz"), None);
        assert_eq!(decode("a=%ff"), None);
        assert_eq!(decode("a=%4"), None);
        assert_eq!(decode("a=%"), None);
        assert_eq!(decode("a=%+41"), None);
        assert_eq!(decode("a=%25%2b"), Some(vec![("a".into(), "%+".into())]));
        assert_eq!(
            decode("a=1+2&b&&c="),
            Some(vec![
                ("a".into(), "1 2".into()),
                ("b".into(), String::new()),
                ("c".into(), String::new())
            ])
        );
    }
}
