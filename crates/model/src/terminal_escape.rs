//! Text from outside made harmless for whoever looks at it: what would move the cursor, colour the screen, ring the bell or turn the order of
//! letters around, or is there and not seen, is shown as an escape.
//!
//! Invariant: everything for people goes through here, whatever it is made of: cells of tables through [`escape_controls`], whole texts and lines
//! through [`escape_controls_in_lines`], JSON through [`escape_controls_in_json`], CSV through [`CsvStyle`]. Providers choose the names of sites and articles, and an
//! escape sequence in one is an order to a terminal. JSON stays the same value; CSV that no terminal shows stays the same bytes.

use crate::blank;
use std::borrow::Cow;

/// Characters that are shown as escapes wherever they stand: controls (C0, DEL, C1); separators of lines and paragraphs; and what nobody sees, though it makes
/// one name differ from another or turns the order of letters around: soft hyphens, blanks and joiners of no width, the marks, embeddings, overrides and
/// isolates of bidirectional text, fillers, byte order marks, tags, and whatever else Unicode says to ignore where it is not known.
///
/// [`shapes_its_neighbours`] tells the few of them that scripts and emoji are written with.
fn is_hazard(c: char) -> bool {
    c.is_control()
        || blank::is_invisible(c)
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
}

/// True if a character that is not seen is part of how its neighbours are written, and so stays: a joiner or non-joiner of no width between two characters that are
/// not ASCII (families of emoji, Persian, Sinhala, Devanagari), and what selects a form of the character before it (a coloured emoji, a keycap, a variant of
/// an ideograph, a Mongolian letter). Alone, or beside the letters of an English word, these hide in a name as well as any other.
fn shapes_its_neighbours(before: Option<char>, c: char, after: Option<char>) -> bool {
    let is_beyond_ascii =
        |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && (!is_hazard(c) || is_selector(c)));
    match c {
        '\u{200c}' | '\u{200d}' => is_beyond_ascii(before) && is_beyond_ascii(after),
        '\u{fe0e}' | '\u{fe0f}' if before.is_some_and(|c| matches!(c, '0'..='9' | '#' | '*')) => {
            true
        }
        c if is_selector(c) => before.is_some_and(|c| !c.is_ascii() && !is_hazard(c)),
        _ => false,
    }
}

/// Selectors of a form of the character before them.
fn is_selector(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// A text in which `escape` has written the hazards that `keeps` does not let pass.
fn rewritten(
    text: &str,
    keeps: impl Fn(char) -> bool,
    escape: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    let is_shown = |c: char| is_hazard(c) && !keeps(c);
    let Some(first) = text.find(is_shown) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len() + 16);
    let (start, rest) = text.split_at(first);
    out.push_str(start);
    let mut before = start.chars().next_back();
    let (mut chars, mut changed) = (rest.chars().peekable(), false);
    while let Some(c) = chars.next() {
        if is_shown(c) && !shapes_its_neighbours(before, c, chars.peek().copied()) {
            escape(c, &mut out);
            changed = true;
        } else {
            out.push(c);
        }
        before = Some(c);
    }
    if changed {
        Cow::Owned(out)
    } else {
        Cow::Borrowed(text)
    }
}

fn escaped(text: &str, keeps: impl Fn(char) -> bool) -> Cow<'_, str> {
    rewritten(text, keeps, |c, out| out.extend(c.escape_default()))
}

/// A value on one line: `\n`, `\r`, `\t` and `\u{1b}` for what they name.
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// A text of ours, which has lines, with values of others in it.
pub fn escape_controls_in_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

/// Lines of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// Text without colours.
    Plain,
    /// Text whose colours are escape sequences: these stay. The log's own writer has made those in values visible.
    Coloured,
    /// JSON.
    Json,
}

impl LogStyle {
    /// The values that may be written.
    pub fn escape_controls(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Plain => escape_controls_in_lines(text),
            Self::Coloured => escaped(text, |c| matches!(c, '\n' | '\u{1b}')),
            Self::Json => escape_controls_in_json(text),
        }
    }
}

/// JSON with the same meaning, in which the same characters are JSON's own escapes. Between strings there are none but line ends.
pub fn escape_controls_in_json(text: &str) -> Cow<'_, str> {
    rewritten(
        text,
        |c| c == '\n',
        |c, out| {
            let mut units = [0; 2];
            c.encode_utf16(&mut units)
                .iter()
                .for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        },
    )
}

/// The form of text cells in CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CsvStyle {
    /// A quote before what a spreadsheet would take for a formula.
    pub guards_formulas: bool,
    /// For a terminal: hazards are escapes.
    pub escapes_controls: bool,
}

impl CsvStyle {
    /// True if cells are written as they are.
    pub fn is_plain(self) -> bool {
        self == Self::default()
    }

    /// A text as it is meant to be read, without the quotes that CSV may need.
    pub fn text(self, text: &str) -> Cow<'_, str> {
        let text = match self.guards_formulas && begins_formula(text) {
            true => Cow::Owned(format!("'{text}")),
            false => Cow::Borrowed(text),
        };
        match self.escapes_controls {
            true => Cow::Owned(escape_controls(&text).into_owned()),
            false => text,
        }
    }

    /// A cell; in quotes where it has to be.
    pub fn cell(self, text: &str) -> String {
        let text = self.text(text);
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.into_owned()
        }
    }
}

/// True of a text that a spreadsheet takes for a formula, or may come to: blanks before the sign are cut off by some, and so is a tab or a line end without any sign.
fn begins_formula(text: &str) -> bool {
    // Full-width signs are formulas too, to some spreadsheets.
    const SIGNS: [char; 8] = [
        '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ];
    text.starts_with(['\t', '\r', '\n'])
        || text
            .trim_start_matches(blank::is_blank_char)
            .starts_with(SIGNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts of names that write over a screen, its title, its clipboard, or mislead the reader.
    const HOSTILE: [&str; 28] = [
        "\u{1b}[2J\u{1b}[H",
        "\u{1b}]0;title\u{7}",
        "\u{1b}]52;c;ZXZpbA==\u{1b}\\",
        "\u{9b}31m",
        "\u{9d}0;t\u{9c}",
        "a\rb",
        "a\u{8}\u{8}b",
        "bell\u{7}",
        "nul\u{0}",
        "\u{7f}",
        "\u{202e}txt.exe",
        "\u{2066}a\u{2069}",
        "\u{200f}\u{061c}",
        "line\u{2028}\u{2029}\u{feff}",
        // Characters that are not seen at all, and make one name two.
        "Har\u{ad}bour",
        "Har\u{200b}bour",
        "Har\u{200c}bour",
        "Har\u{200d}bour",
        "Har\u{2060}bour\u{2064}",
        "Har\u{180e}bour",
        "Har\u{34f}bour",
        "Harbour\u{fe0f}",
        "Harbour\u{e0100}",
        "\u{200d}",
        "é\u{200d}",
        "\u{3164}\u{ffa0}\u{115f}",
        "\u{fff9}a\u{fffa}b\u{fffb}",
        "tag\u{e0001}\u{e0041}\u{e007f}",
    ];

    #[test]
    fn nothing_that_moves_a_cursor_or_turns_text_around_is_left() {
        for hostile in HOSTILE {
            for shown in [
                escape_controls(hostile),
                escape_controls_in_lines(hostile),
                CsvStyle {
                    escapes_controls: true,
                    guards_formulas: false,
                }
                .text(hostile),
            ] {
                assert!(!shown.contains(is_hazard), "{shown:?}");
                assert!(shown.contains('\\'), "{shown:?}");
            }
            let json = serde_json::to_string(hostile).unwrap();
            let shown = escape_controls_in_json(&json);
            assert!(!shown.contains(is_hazard), "{shown:?}");
            assert_eq!(
                serde_json::from_str::<String>(&shown).unwrap(),
                hostile,
                "the same value"
            );
        }
        assert_eq!(
            escape_controls("a\u{1b}[31m\n\tb\u{202e}"),
            "a\\u{1b}[31m\\n\\tb\\u{202e}"
        );
        assert_eq!(escape_controls_in_lines("a\nb\r"), "a\nb\\r");
        assert_eq!(
            LogStyle::Coloured.escape_controls("\u{1b}[31mx\u{1b}[0m\r\n"),
            "\u{1b}[31mx\u{1b}[0m\\r\n"
        );
        assert_eq!(
            LogStyle::Plain.escape_controls("\u{1b}[31m\n"),
            "\\u{1b}[31m\n"
        );
        assert_eq!(
            LogStyle::Json.escape_controls("{\"a\":\"\u{9b}\"}\n"),
            "{\"a\":\"\\u009b\"}\n"
        );
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in [
            "Café Zürich, 12,50 €",
            "שלום",
            "مرحبا",
            "日本語",
            "👨‍👩‍👧 & 🇩🇪",
            "नमस्ते",
            "a\u{a0}b",
            "C:\\n",
            "1\u{fe0f}\u{20e3}",
            "❤\u{fe0f}",
            "می\u{200c}خواهم",
            "ශ්\u{200d}රී",
            "क्\u{200d}ष",
            "葛\u{e0100}城",
            "🏳\u{fe0f}\u{200d}🌈",
            "ᠠ\u{180b}",
        ] {
            assert!(
                matches!(escape_controls(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
            assert!(
                matches!(escape_controls_in_json(text), Cow::Borrowed(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_spreadsheet_takes_no_cell_for_a_formula() {
        let safe = CsvStyle {
            guards_formulas: true,
            escapes_controls: false,
        };
        for formula in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\tx",
            "\r=1",
            "\u{ff1d}1",
            "\u{ff0b}1",
            "\u{ff0d}1",
            "\u{ff20}x",
            " =1",
            "\u{a0}=1",
            "\u{3000}+1",
            "\u{feff}-1",
            "\u{feff}\u{a0} \u{ff20}x",
            "=HYPERLINK(\"http://x\",\"y\")",
            "=cmd|' /C calc'!A0",
        ] {
            assert!(safe.text(formula).starts_with('\''), "{formula:?}");
            assert_eq!(
                CsvStyle::default().text(formula),
                formula,
                "as it is, unless it was asked for"
            );
        }
        for harmless in ["", "a=1", "1-2", "'", " x", "\u{a0}x=1", "\u{3000}", "ä"] {
            assert_eq!(safe.text(harmless), harmless);
        }
        assert_eq!(safe.cell("=\"a\",1"), "\"'=\"\"a\"\",1\"");
        assert_eq!(CsvStyle::default().cell("a\rb"), "\"a\rb\"");
        assert_eq!(
            CsvStyle {
                guards_formulas: true,
                escapes_controls: true
            }
            .cell("\r=1"),
            "'\\r=1"
        );
    }
}
