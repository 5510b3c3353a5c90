//! Text from outside made harmless for whoever looks at it: what would move the cursor, colour the screen, ring the bell or turn the order of
//! letters around is shown as an escape.
//!
//! Invariant: everything for people goes through here, whatever it is made of: cells of tables through [`visible`], whole texts and lines
//! through [`visible_lines`], JSON through [`in_json`], CSV through [`CsvStyle`]. Providers choose the names of sites and articles, and an
//! escape sequence in one is an order to a terminal. JSON stays the same value; CSV that no terminal shows stays the same bytes.

use std::borrow::Cow;

/// Controls and what else changes how the text around it is shown: C0, DEL and C1, the marks, embeddings, overrides and isolates of bidirectional
/// text, separators of lines and paragraphs, byte order marks, and deprecated format characters.
fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e001f}')
}

fn escaped(text: &str, keeps: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_shown = |c: char| is_hazard(c) && !keeps(c);
    if !text.contains(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_shown(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// A value on one line: `\n`, `\r`, `\t` and `\u{1b}` for what they name.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// A text of ours, which has lines, with values of others in it.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

/// Lines of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogStyle {
    /// Text without colours.
    Plain,
    /// Text whose colours are escape sequences: these stay. The log's own writer has made those in values visible.
    Coloured,
    /// JSON.
    Json,
}

impl LogStyle {
    /// The values that may be written.
    pub(crate) fn visible(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Plain => visible_lines(text),
            Self::Coloured => escaped(text, |c| matches!(c, '\n' | '\u{1b}')),
            Self::Json => in_json(text),
        }
    }
}

/// JSON with the same meaning, in which the same characters are JSON's own escapes. Between strings there are none but line ends.
pub(crate) fn in_json(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| is_hazard(c) && c != '\n';
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The form of text cells in CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CsvStyle {
    /// A quote before what a spreadsheet would take for a formula.
    pub(crate) is_safe: bool,
    /// For a terminal: hazards are escapes.
    pub(crate) is_shown: bool,
}

impl CsvStyle {
    /// True if cells are written as they are.
    pub(crate) fn is_plain(self) -> bool {
        self == Self::default()
    }

    /// A text as it is meant to be read, without the quotes that CSV may need.
    pub(crate) fn text(self, text: &str) -> Cow<'_, str> {
        // Full-width signs are formulas too, to some spreadsheets.
        let starts_formula = |c: char| {
            matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}')
        };
        let text = match self.is_safe && text.starts_with(starts_formula) {
            true => Cow::Owned(format!("'{text}")),
            false => Cow::Borrowed(text),
        };
        match self.is_shown {
            true => Cow::Owned(visible(&text).into_owned()),
            false => text,
        }
    }

    /// A cell; in quotes where it has to be.
    pub(crate) fn cell(self, text: &str) -> String {
        let text = self.text(text);
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.into_owned()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What names have been made of to write over a screen, its title, its clipboard, or the reader's mind.
    const HOSTILE: [&str; 14] = [
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
    ];

    #[test]
    fn nothing_that_moves_a_cursor_or_turns_text_around_is_left() {
        for hostile in HOSTILE {
            for shown in
                [visible(hostile), visible_lines(hostile), CsvStyle { is_shown: true, is_safe: false }.text(hostile)]
            {
                assert!(!shown.contains(is_hazard), "{shown:?}");
                assert!(shown.contains('\\'), "{shown:?}");
            }
            let json = serde_json::to_string(hostile).unwrap();
            let shown = in_json(&json);
            assert!(!shown.contains(is_hazard), "{shown:?}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), hostile, "the same value");
        }
        assert_eq!(visible("a\u{1b}[31m\n\tb\u{202e}"), "a\\u{1b}[31m\\n\\tb\\u{202e}");
        assert_eq!(visible_lines("a\nb\r"), "a\nb\\r");
        assert_eq!(LogStyle::Coloured.visible("\u{1b}[31mx\u{1b}[0m\r\n"), "\u{1b}[31mx\u{1b}[0m\\r\n");
        assert_eq!(LogStyle::Plain.visible("\u{1b}[31m\n"), "\\u{1b}[31m\n");
        assert_eq!(LogStyle::Json.visible("{\"a\":\"\u{9b}\"}\n"), "{\"a\":\"\\u009b\"}\n");
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in ["Café Zürich, 12,50 €", "שלום", "مرحبا", "日本語", "👨‍👩‍👧 & 🇩🇪", "नमस्ते", "a\u{a0}b\u{ad}c", "C:\\n"]
        {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text), "{text}");
            assert!(matches!(in_json(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn a_spreadsheet_takes_no_cell_for_a_formula() {
        let safe = CsvStyle { is_safe: true, is_shown: false };
        for formula in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\tx",
            "\r=1",
            "\u{ff1d}1",
            "=HYPERLINK(\"http://x\",\"y\")",
            "=cmd|' /C calc'!A0",
        ] {
            assert!(safe.text(formula).starts_with('\''), "{formula:?}");
            assert_eq!(CsvStyle::default().text(formula), formula, "as it is, unless it was asked for");
        }
        for harmless in ["", "a=1", "1-2", "'", " x", "ä"] {
            assert_eq!(safe.text(harmless), harmless);
        }
        assert_eq!(safe.cell("=\"a\",1"), "\"'=\"\"a\"\",1\"");
        assert_eq!(CsvStyle::default().cell("a\rb"), "\"a\rb\"");
        assert_eq!(CsvStyle { is_safe: true, is_shown: true }.cell("\r=1"), "'\\r=1");
    }
}
