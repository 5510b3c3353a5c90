//! Words that say what a thing is: states, kinds, units, currencies, what was paid with. One spelling each.
//!
//! Invariant: two spellings that people read as one word have one canonical form, and a canonical form is its own. Whoever compares, looks up or
//! groups by such a word does it by this form; source tables keep the provider's spelling.

use crate::blank::{is_blank_char, is_dash, is_invisible};
use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization as _;

/// The canonical form: Unicode's NFKC, without what has no width, with plain dashes, without blanks around and one blank for several inside, and
/// with case folded.
///
/// ```
/// use tillhouse_model::word::canonical;
/// assert_eq!(canonical(" Completed"), "completed");
/// assert_eq!(canonical("ＣＯＭＰＬＥＴＥＤ\u{200b}"), "completed");
/// ```
pub fn canonical(word: &str) -> Cow<'_, str> {
    if is_canonical(word) {
        return Cow::Borrowed(word);
    }
    if word.is_ascii() {
        return Cow::Owned(joined(&word.to_ascii_lowercase()));
    }
    // Upper case first, so that letters which only their upper case shows to be one (ß and ss, both sigmas) become one; what a dotted capital I
    // leaves above its small letter goes.
    let folded = one_form(&one_form(word).to_uppercase().to_lowercase()).replace("i\u{307}", "i");
    Cow::Owned(joined(&folded))
}

/// True if two texts are one word.
pub fn is_same_word(word: &str, other: &str) -> bool {
    word == other || canonical(word) == canonical(other)
}

/// NFKC, with one kind of blank and one of dash, and without what has no width.
pub(crate) fn one_form(text: &str) -> String {
    let seen: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    let fold = |c: char| {
        if is_dash(c) {
            '-'
        } else if c.is_whitespace() {
            ' '
        } else {
            c
        }
    };
    seen.nfkc()
        .filter(|c| !is_invisible(*c))
        .map(fold)
        .collect()
}

/// Most words come so.
fn is_canonical(word: &str) -> bool {
    let mut before = b' ';
    for byte in word.bytes() {
        let fits = match byte {
            b' ' => before != b' ',
            b'A'..=b'Z' => false,
            other => matches!(other, b'!'..=b'~'),
        };
        if !fits {
            return false;
        }
        before = byte;
    }
    before != b' ' || word.is_empty()
}

fn joined(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Control characters part nothing: they are not seen.
    let seen = |part: &str| {
        part.chars()
            .filter(|c| !is_invisible(*c))
            .collect::<String>()
    };
    let parts = text
        .split(char::is_whitespace)
        .map(seen)
        .filter(|part| !part.chars().all(is_blank_char));
    for part in parts {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_word_meet() {
        for word in [
            "completed",
            "Completed",
            "COMPLETED",
            " completed ",
            "completed\t\r\n",
            "\u{a0}Completed\u{3000}",
            "\u{ff23}\u{ff4f}\u{ff4d}\u{ff50}\u{ff4c}\u{ff45}\u{ff54}\u{ff45}\u{ff44}",
            "com\u{200b}pleted",
            "\u{feff}completed",
            "com\u{ad}pleted",
            "complete\u{0}d",
            "\u{202d}completed\u{202c}",
        ] {
            assert_eq!(canonical(word), "completed", "{word:?}");
            assert!(is_same_word(word, "completed"));
        }
        for (word, form) in [
            ("DECL\u{130}NED", "declined"),
            ("decl\u{131}ned", "declined"),
            ("us\u{2011}gallon", "us-gallon"),
            ("US  Gallon", "us gallon"),
            ("Stra\u{df}e", "strasse"),
            ("STRASSE", "strasse"),
            ("m\u{b3}", "m3"),
            ("u\u{308}ber", "\u{fc}ber"),
            ("\u{dc}BER", "\u{fc}ber"),
            (
                "\u{39f}\u{394}\u{39f}\u{3a3}",
                "\u{3bf}\u{3b4}\u{3bf}\u{3c2}",
            ),
            ("\u{212a}g", "kg"),
            (" ", ""),
            ("\u{200b}", ""),
            ("", ""),
        ] {
            assert_eq!(canonical(word), form, "{word:?}");
        }
        assert!(
            !is_same_word("done", "d one")
                && !is_same_word("open", "reopen")
                && !is_same_word("", "open")
        );
    }

    proptest::proptest! {
        #[test]
        fn a_canonical_form_is_its_own(word in ".{0,24}") {
            let form = canonical(&word).into_owned();
            proptest::prop_assert_eq!(canonical(&form), form.as_str());
        }

        #[test]
        fn the_short_way_equals_the_long_one(word in "[ -~\t\n]{0,12}") {
            let long = joined(&one_form(&one_form(&word).to_uppercase().to_lowercase()));
            proptest::prop_assert_eq!(canonical(&word), long);
        }
    }
}
