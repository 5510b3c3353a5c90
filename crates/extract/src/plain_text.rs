//! Texts of a server as they are compared: letters or words in lower case and without accents, and the texts that a body holds.
//!
//! Invariant: two spellings of one text are one here; what a text means is decided elsewhere.

use serde_json::Value;
use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Texts longer than this tell a story, not a reason.
pub(crate) const LONGEST: usize = 500;

/// A text's letters alone, in lower case and without accents: `TokenExpired`, `token_expired` and `Token expired` are one.
pub(crate) fn letters(text: &str) -> String {
    without_accents(text)
        .chars()
        .filter(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// A text's words in lower case and without accents, with one blank before and after each: `pageSize`, `page[size]` and `Page size` are one.
pub(crate) fn words(text: &str) -> String {
    let mut words = String::from(" ");
    let mut small = false;
    for c in without_accents(text).chars() {
        if !c.is_ascii_alphabetic() || (small && c.is_ascii_uppercase()) {
            words.push(' ');
        }
        if c.is_ascii_alphabetic() {
            words.push(c.to_ascii_lowercase());
        }
        small = c.is_ascii_lowercase();
    }
    words.push(' ');
    words
        .split_whitespace()
        .fold(String::from(" "), |all, word| all + word + " ")
}

/// A text whose letters have lost their accents.
fn without_accents(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{df}' => plain.push_str("ss"),
            c if c.is_ascii() => plain.push(c),
            c => decompose_compatible(c, |part| {
                plain.extend(Some(part).filter(|part| !is_combining_mark(*part)))
            }),
        }
    }
    plain
}

/// True if `is_so` holds for a text of a body: each of a JSON document, keys left out, or the
/// whole of any other that is short.
pub(crate) fn any_text(body: &[u8], is_so: &dyn Fn(&str) -> bool) -> bool {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => any_of(&value, is_so),
        Err(_) => std::str::from_utf8(body).is_ok_and(|text| text.len() <= LONGEST && is_so(text)),
    }
}

fn any_of(value: &Value, is_so: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => text.len() <= LONGEST && is_so(text),
        Value::Array(items) => items.iter().any(|item| any_of(item, is_so)),
        Value::Object(fields) => fields.values().any(|field| any_of(field, is_so)),
        _ => false,
    }
}
