//! Texts in base 64, as RFC 4648 has them.
//!
//! Invariant: a text is read whole or not at all.

/// Bytes of a text in base 64, as RFC 4648 has it; `None` for what is none.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

/// Bytes of a text in the alphabet for URLs and without padding, as signed tokens are written; `None` for what is none.
pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let is_digit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.chars().all(is_digit) {
        return None;
    }
    let mut padded = text.replace('-', "+").replace('_', "/");
    while !padded.len().is_multiple_of(4) {
        padded.push('=');
    }
    from_base64(&padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_whole_or_not_at_all() {
        assert_eq!(from_base64("").unwrap(), b"");
        assert_eq!(from_base64("Zm9vYmFy").unwrap(), b"foobar");
        assert_eq!(from_base64("Zm9vYmE=").unwrap(), b"fooba");
        for wrong in ["Zm9", "Zm9vYg", "Zm9v====", "Zm9!", "Zm 9", "=", "Zg==Zg=="] {
            assert!(from_base64(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_alphabet_for_urls_has_no_padding() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg", b"f"),
            ("Zm8", b"fo"),
            ("Zm9v", b"foo"),
            ("-_8", &[0xfb, 0xff]),
        ] {
            assert_eq!(from_base64url(text).unwrap(), bytes, "{text}");
        }
        for wrong in ["Z", "Zg==", "+/8", "Zm9vY", "Zm 8", "Zm8\n"] {
            assert!(from_base64url(wrong).is_none(), "{wrong:?}");
        }
    }
}
