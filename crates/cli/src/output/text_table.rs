//! Tables for people, in the one look of this house.
//!
//! Invariant: a cell holds nothing that a terminal would obey: every text that is put in is made visible, with its line ends, so that a name
//! can forge no row. Lines within a cell are put in line by line.

use super::terminal_escape::escape_controls;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use std::fmt;

/// A terminal that says to be narrower than this is not believed.
const NARROWEST: u16 = 20;

/// Characters of a cell that are given to the library as one line.
const LONGEST_LINE: usize = 4_000;

/// A table that is filled row by row.
pub(crate) struct TextTable(Table);

impl TextTable {
    pub(crate) fn new() -> Self {
        Self::in_terminal(Table::new().width())
    }

    /// A table for a terminal that says to be so wide; `None` where standard output is none.
    fn in_terminal(width: Option<u16>) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        if let Some(width) = width {
            table.set_width(width);
        }
        // A terminal that does not know its size says 0: columns of one letter would come of it.
        table.set_content_arrangement(match width.is_some_and(|width| width < NARROWEST) {
            true => ContentArrangement::Disabled,
            false => ContentArrangement::Dynamic,
        });
        Self(table)
    }

    /// A table of columns alone, for where lines are dear.
    pub(crate) fn without_borders() -> Self {
        let mut table = Self::new();
        table.0.load_preset(presets::NOTHING);
        table
    }

    /// A table that is as wide as its cells are.
    pub(crate) fn unwrapped() -> Self {
        let mut table = Self::new();
        table
            .0
            .set_content_arrangement(ContentArrangement::Disabled);
        table
    }

    /// Columns of the terminal that standard output is, where it is one that knows.
    pub(crate) fn terminal_width() -> Option<usize> {
        let width = Table::new().width()?;
        (width >= NARROWEST).then_some(usize::from(width))
    }

    pub(crate) fn set_header(&mut self, names: impl IntoIterator<Item = impl AsRef<str>>) {
        self.0.set_header(
            names
                .into_iter()
                .map(|name| escape_controls(name.as_ref()).into_owned()),
        );
    }

    pub(crate) fn add_row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.0.add_row(
            cells
                .into_iter()
                .map(|cell| in_lines(escape_controls(cell.as_ref()).into_owned())),
        );
    }

    /// Adds a row whose cells may have several lines.
    pub(crate) fn add_row_of_lines(&mut self, cells: impl IntoIterator<Item = Vec<String>>) {
        let cell = |lines: Vec<String>| {
            lines
                .iter()
                .map(|line| escape_controls(line).into_owned())
                .collect::<Vec<_>>()
                .join("\n")
        };
        self.0.add_row(cells.into_iter().map(cell));
    }

    /// Puts a column to the right.
    pub(crate) fn align_right(&mut self, index: usize) {
        if let Some(column) = self.0.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }

    /// Columns of numbers: to the right, and never broken at the blank between two groups of digits.
    pub(crate) fn align_numbers(&mut self, columns: impl IntoIterator<Item = usize>) {
        for index in columns {
            self.align_right(index);
            if let Some(column) = self.0.column_mut(index) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
}

/// A text in lines that a table can be made of: the library measures the whole rest of a line for every piece that it breaks off, and takes minutes for a megabyte.
fn in_lines(text: String) -> String {
    if text.len() <= LONGEST_LINE {
        return text;
    }
    let mut lines = String::with_capacity(text.len() + text.len() / LONGEST_LINE + 1);
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % LONGEST_LINE == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    lines
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_that_cannot_be_is_not_believed() {
        let word = "abcdefghijklmnopqrstuvwxyz".repeat(2);
        for (width, is_whole) in [
            (None, true),
            (Some(0), true),
            (Some(NARROWEST - 1), true),
            (Some(NARROWEST), false),
            (Some(200), true),
        ] {
            let mut table = TextTable::in_terminal(width);
            table.set_header(["letters", "n"]);
            table.add_row([word.as_str(), "1"]);
            assert_eq!(table.to_string().contains(&word), is_whole, "{width:?}");
        }
    }

    #[test]
    fn a_long_cell_is_whole_and_goes_on_in_the_next_line() {
        let mut table = TextTable::new();
        table.set_header(["text"]);
        table.add_row(["é".repeat(1_000_000)]);
        let shown = table.to_string();
        assert_eq!(shown.matches('é').count(), 1_000_000);
    }

    #[test]
    fn a_name_can_neither_order_the_terminal_nor_forge_a_row() {
        let mut table = TextTable::new();
        table.set_header(["site", "amount\u{1b}[8m"]);
        table.add_row(["Harbour\n│ forged ┆ 1 │\u{1b}[1A", "5"]);
        table.add_row_of_lines([
            vec!["a\u{202e}".to_owned(), "b".to_owned()],
            vec!["\r".to_owned()],
        ]);
        let shown = table.to_string();
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\r']), "{shown:?}");
        assert!(
            shown.contains("Harbour\\n│ forged") && shown.contains("\\u{202e}"),
            "{shown}"
        );
        assert_eq!(shown.lines().count(), 3 + 1 + 2 + 1, "{shown}");
    }
}
