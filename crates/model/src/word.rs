//! Words that say what a thing is: states, kinds, units, currencies, what was paid with. One spelling each.
//!
//! Invariant: two spellings that people read as one word have one canonical form, and a canonical form is its own. Whoever compares, looks up or
//! groups by such a word does it by this form; source tables keep the provider's spelling.

use crate::blank::{is_blank_char, is_dash, is_invisible};
use crate::identifier::narrowed;
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
    if is_plain(word, false) {
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

/// The form in which numbers, instants and names of zones are read: full-width characters as those of ASCII, one kind of dash and minus sign, and one
/// kind of blank. What is small or raised in other ways stays, since `5²` is not 52.
///
/// ```
/// use tillhouse_model::word::plain;
/// assert_eq!(plain("\u{2212}０５：００"), "-05:00");
/// assert_eq!(plain("5²"), "5²");
/// ```
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let fold = |c: char| match one_dash_and_blank(c) {
        same if same == c => narrowed(c),
        folded => folded,
    };
    Cow::Owned(text.chars().map(fold).collect())
}

/// The text in one spelling, its case kept: of names that are told apart by it, as in keys.
///
/// ```
/// use tillhouse_model::word::one_spelling;
/// assert_eq!(one_spelling(" Super\u{a0}Plus\u{200b}"), "Super Plus");
/// ```
pub fn one_spelling(text: &str) -> Cow<'_, str> {
    if is_plain(text, true) {
        return Cow::Borrowed(text);
    }
    // Twice: what goes in the first round may let a mark meet its letter.
    Cow::Owned(joined(&one_form(&one_form(text))))
}

/// True if two texts are one word.
pub fn is_same_word(word: &str, other: &str) -> bool {
    word == other || canonical(word) == canonical(other)
}

/// NFKC, with one kind of blank and one of dash, and without what has no width.
pub(crate) fn one_form(text: &str) -> String {
    let seen: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    seen.nfkc()
        .filter(|c| !is_invisible(*c))
        .map(one_dash_and_blank)
        .collect()
}

fn one_dash_and_blank(c: char) -> char {
    if is_dash(c) {
        '-'
    } else if c.is_whitespace() {
        ' '
    } else {
        c
    }
}

/// True if a text is ASCII in one spelling, and in small letters where its case is not kept. Most words come so.
fn is_plain(word: &str, keeps_case: bool) -> bool {
    let mut before = b' ';
    for byte in word.bytes() {
        let fits = match byte {
            b' ' => before != b' ',
            b'A'..=b'Z' => keeps_case,
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

    #[test]
    fn a_spelling_keeps_its_case() {
        for (text, spelling) in [
            ("Super Plus", "Super Plus"),
            (" Super\u{a0} Plus\u{200b}", "Super Plus"),
            ("\u{ff33}uper", "Super"),
            ("Su\u{308}d\u{2010}West", "S\u{fc}d-West"),
            ("S\u{fc}d-West", "S\u{fc}d-West"),
            ("Stra\u{df}e", "Stra\u{df}e"),
            ("\u{200b}", ""),
        ] {
            assert_eq!(one_spelling(text), spelling, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_spelling_is_its_own(text in ".{0,24}") {
            let spelling = one_spelling(&text).into_owned();
            proptest::prop_assert_eq!(one_spelling(&spelling), spelling.as_str());
            proptest::prop_assert_eq!(canonical(&spelling), canonical(&text));
        }

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
