//! Characters nobody sees: white space of every script, and marks of no width.
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

/// True if a text that should name something names nothing: it is blank, a word that serializers write in the place of a value (`null`, `undefined`,
/// `None`, `NaN`, in any case), or a UUID of zeros.
///
/// ```
/// use tillhouse_model::blank::names_nothing;
///
/// assert!(names_nothing("null") && names_nothing("00000000-0000-0000-0000-000000000000"));
/// assert!(!names_nothing("0") && !names_nothing("nullable"));
/// ```
pub fn names_nothing(text: &str) -> bool {
    const WORDS: [&str; 5] = ["null", "(null)", "undefined", "none", "nan"];
    let text = trim(text);
    let digits = text
        .trim_matches(['{', '}'])
        .bytes()
        .filter(|byte| *byte != b'-');
    text.is_empty()
        || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
        || ((32..=38).contains(&text.len()) && digits.eq([b'0'; 32]))
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
}
