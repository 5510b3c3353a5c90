//! Texts of no value: characters nobody sees (white space of every script, marks of no width), and words that stand for nothing.
//!
//! Invariant: a text is blank exactly if it looks empty on paper: an identifier of such characters names nothing, and a value that differs
//! from another by them alone is the same value.

/// True for a character that has no width of its own and is no white space: control characters,
/// zero-width blanks and joiners, marks of writing direction, the byte order mark, the soft
/// hyphen, fillers.
pub fn is_invisible(c: char) -> bool {
    // White space is as Unicode has it; the tabulator is a control character and white space.
    !c.is_whitespace()
        && (c.is_control()
            || matches!(
                c,
                '\u{ad}'
                    | '\u{34f}'
                    | '\u{61c}'
                    | '\u{115f}'
                    | '\u{1160}'
                    | '\u{17b4}'
                    | '\u{17b5}'
            )
            || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
            || matches!(c, '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'))
}

/// True for a character that nobody can see: white space, or [`is_invisible`].
pub fn is_blank_char(c: char) -> bool {
    c.is_whitespace() || is_invisible(c)
}

/// True if no character of a text can be seen; so too for an empty text.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(is_blank_char)
}

/// Words that serializers write in the place of a value, in small letters and without the brackets and quotes around them. The `\n` is SQL's `\N`.
const NO_VALUES: [&str; 9] = [
    "null",
    "undefined",
    "none",
    "nil",
    "nan",
    "n/a",
    "#n/a",
    "\\n",
    "object object",
];

/// True if a text that should name something names nothing: it is blank or nothing but dashes, a word that serializers write in the place of a value
/// (`null`, `undefined`, `None`, `nil`, `NaN`, `N/A`, `[object Object]`), or a UUID of zeros; in any case, and in brackets or quotes too. It is the one
/// rule for whatever becomes a key: of a record, of a record within a record, of what a record refers to, and for currencies. Whether zero names
/// something, the source says, see [`is_zero`].
///
/// ```
/// use tillhouse_model::blank::names_nothing;
///
/// assert!(names_nothing("null") && names_nothing("00000000-0000-0000-0000-000000000000"));
/// assert!(!names_nothing("0") && !names_nothing("nullable"));
/// ```
pub fn names_nothing(text: &str) -> bool {
    if begins_a_name(text.as_bytes()) {
        return false;
    }
    let bare = text.trim_matches(|c: char| {
        is_blank_char(c)
            || matches!(
                c,
                '(' | ')' | '<' | '>' | '[' | ']' | '{' | '}' | '"' | '\'' | '`'
            )
    });
    bare.chars().all(is_dash)
        || NO_VALUES.iter().any(|word| bare.eq_ignore_ascii_case(word))
        || (bare.len() <= 36 && bare.bytes().filter(|byte| *byte != b'-').eq([b'0'; 32]))
}

/// True if a text is null as serializers write it in words (`null`, `None`, `nil`, `undefined`). Where a number is expected, that is none; what else names
/// nothing (`NaN`, `n/a`, a dash) may stand for a number that got lost.
///
/// ```
/// use tillhouse_model::blank::is_null_word;
/// assert!(is_null_word(" NULL") && !is_null_word("NaN"));
/// ```
pub fn is_null_word(text: &str) -> bool {
    let text = trim(text);
    let words = ["null", "none", "nil", "undefined"];
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// True if nothing but zeros can be seen of a text: `0`, `000`, `0.0`. Where identifiers are counted from 1, or are UUIDs, that is none; where they are
/// the positions of a keypad or a network's own codes, it is one like any other.
pub fn is_zero(text: &str) -> bool {
    let text = trim(text);
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.contains('0') && digits.bytes().all(|byte| matches!(byte, b'0' | b'.'))
}

/// True if a text names something, and its first character shows it: a quick answer for the many identifiers of a page. False says nothing.
pub fn begins_a_name(text: &[u8]) -> bool {
    text.first()
        .is_some_and(|first| first.is_ascii_alphanumeric() && !b"0NUOnuo".contains(first))
}

/// The text without what is not seen at its ends.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_blank_char)
}

/// A hyphen or dash of any width, or a minus sign, in any script's typography.
pub fn is_dash(c: char) -> bool {
    matches!(
        c,
        '-' | '\u{2010}'
            ..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_blank() {
        for blank in [
            "",
            " ",
            "\t\r\n",
            "\u{a0}",
            "\u{3000}",
            "\u{feff}",
            "\u{200b}\u{200d}",
            "\u{0}",
            "\u{2028} \u{ad}",
        ] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for seen in ["0", "-", ".", " a ", "\u{300}", "\u{1f600}", "null"] {
            assert!(!is_blank(seen), "{seen:?}");
        }
        assert_eq!(trim("\u{feff}\u{a0} a b\u{200b}\n"), "a b");
    }

    #[test]
    fn words_for_no_value_name_nothing() {
        for nothing in [
            "",
            " \u{200b}",
            "null",
            " NULL ",
            "(null)",
            "<null>",
            "[null]",
            "\"null\"",
            "{ undefined }",
            "None",
            "(none)",
            "nil",
            "NaN",
            "n/a",
            "N/A",
            "#N/A",
            "\\N",
            "-",
            "--",
            "\u{2014}",
            "{}",
            "[]",
            "''",
            "[object Object]",
            "00000000-0000-0000-0000-000000000000",
            "{00000000-0000-0000-0000-000000000000}",
            "00000000000000000000000000000000",
        ] {
            assert!(names_nothing(nothing), "{nothing:?}");
            assert!(!begins_a_name(nothing.as_bytes()), "{nothing:?}");
        }
        for name in [
            "0",
            "000",
            "NA",
            "nullable",
            "Nullnummer",
            "none of these",
            "-1",
            "A-",
            "n",
            "unknown",
            "00000000-0000-0000-0000-000000000001",
            "0000000000000000000000000000000",
            "NOK",
            "USD",
        ] {
            assert!(!names_nothing(name), "{name:?}");
        }
        for (text, zero) in [
            ("0", true),
            (" 000 ", true),
            ("0.0", true),
            ("-0", true),
            ("0-0", false),
            ("", false),
            ("-", false),
            ("10", false),
            ("0a", false),
        ] {
            assert_eq!(is_zero(text), zero, "{text:?}");
        }
    }
}
