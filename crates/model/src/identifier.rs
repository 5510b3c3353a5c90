//! Identifiers in their one spelling: of a record's own id, of ids inside it, and of what it refers to.
//!
//! Invariant: two texts that name the same thing to their provider have one canonical spelling, and that spelling is its own canonical one. Only
//! what surely says the same is brought together: blanks around it, full-width characters, and the spellings of a UUID. Of every other text the
//! case of its letters and the zeros in front of it tell (`007` and `7` are two).

use crate::blank;
use std::borrow::Cow;

/// Length of a UUID as it is mostly written: 32 digits in five groups.
const UUID_LENGTH: usize = 36;
/// Prefix of a UUID that is written as a name of its own.
const URN: &str = "urn:uuid:";

/// True if a text is its canonical spelling, and its bytes show it: a quick answer for the many identifiers of a page. False says nothing.
pub fn is_canonical(text: &[u8]) -> bool {
    let is_visible = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    text.len() <= UUID_LENGTH
        && text.is_ascii()
        && is_visible(text.first())
        && is_visible(text.last())
        && !(text.len() == UUID_LENGTH && text.iter().any(u8::is_ascii_uppercase))
}

/// The canonical spelling of an identifier: without what nobody sees at its ends, full-width characters as the ones they are a wide form of, and a UUID
/// in small letters, without braces and without `urn:uuid:`.
///
/// ```
/// use tillhouse_model::identifier::canonical;
///
/// assert_eq!(canonical("{3F2504E0-4F89-11D3-9A0C-0305E82C3301}"), "3f2504e0-4f89-11d3-9a0c-0305e82c3301");
/// assert_eq!(canonical(" ７ "), "7");
/// assert_eq!(canonical("A-007"), "A-007");
/// ```
pub fn canonical(text: &str) -> Cow<'_, str> {
    if is_canonical(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let narrow = narrow(blank::trim(text));
    if let Some(uuid) = uuid(&narrow) {
        return Cow::Owned(uuid.to_ascii_lowercase());
    }
    narrow
}

/// A text whose full-width characters are those of ASCII that they are a wide form of.
fn narrow(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| narrowed(c) != c) {
        return Cow::Owned(text.chars().map(narrowed).collect());
    }
    Cow::Borrowed(text)
}

/// The character of ASCII that a full-width one is a wide form of; every other one as it is.
pub(crate) fn narrowed(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

/// The UUID that a text is, in whatever case.
fn uuid(text: &str) -> Option<&str> {
    let text = match text.split_at_checked(URN.len()) {
        Some((urn, rest)) if urn.eq_ignore_ascii_case(URN) => rest,
        _ => text,
    };
    let bare = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let text = bare.unwrap_or(text);
    let mut bytes = text.bytes().enumerate();
    let is_uuid = text.len() == UUID_LENGTH
        && bytes.all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";

    #[test]
    fn a_uuid_has_one_spelling() {
        let upper = UUID.to_uppercase();
        for spelling in [
            UUID.to_owned(),
            upper.clone(),
            format!("{{{UUID}}}"),
            format!("{{{upper}}}"),
            format!("urn:uuid:{UUID}"),
            format!("URN:UUID:{upper}"),
            format!("urn:uuid:{{{UUID}}}"),
            format!("\u{feff} {upper}\t"),
            UUID.replace('3', "３"),
        ] {
            assert_eq!(canonical(&spelling), UUID, "{spelling:?}");
        }
    }

    #[test]
    fn other_texts_keep_case_zeros_and_brackets() {
        for text in [
            "7",
            "007",
            "A-7",
            "a-7",
            "{7}",
            "urn:uuid:7",
            "3F2504E0-4F89-11D3-9A0C-0305E82C330",
            "3F2504E0-4F89-11D3-9A0C-0305E82C3301/1",
            "3G2504E0-4F89-11D3-9A0C-0305E82C3301",
            "3F2504E04F8911D39A0C0305E82C3301",
            "a b",
            "Zürich",
            "",
        ] {
            assert_eq!(canonical(text), text);
        }
        assert_eq!(canonical(" ００７\u{a0}"), "007");
        assert_eq!(canonical("\u{200b}"), "");
    }

    #[test]
    fn a_canonical_spelling_is_its_own() {
        for text in [
            " {3F2504E0-4F89-11D3-9A0C-0305E82C3301}",
            "Ａ７",
            " x ",
            "{ 7 }",
        ] {
            let once = canonical(text).into_owned();
            assert_eq!(canonical(&once), once);
        }
        assert!(is_canonical(UUID.as_bytes()) && is_canonical(b"A-007"));
        assert!(!is_canonical(b" 7") && !is_canonical("７".as_bytes()) && !is_canonical(b""));
    }
}
