//! Query strings: read and written by the same rules, `page[offset]` included.
//!
//! Invariant: what [`encode`] writes, [`decode`] reads back; bytes that are not UTF-8 are refused, not guessed.

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
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Writes pairs as a query string.
pub fn encode(pairs: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        encode_part(key, &mut text);
        text.push('=');
        encode_part(value, &mut text);
    }
    text
}

fn encode_part(part: &str, text: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
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
