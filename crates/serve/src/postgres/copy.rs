//! `COPY (SELECT ...) TO STDOUT`: rows as text, CSV or PostgreSQL's binary form.
//!
//! Invariant: a COPY that would read from the client or touch a file of the server is refused; the query is run as any other is. A value is quoted so that it is read back as
//! what it was, and no value and the empty text stay two things.

use super::commands::read_only;
use super::encode::ReadyRows;
use super::fault::{Fault, NOT_THERE};
use super::words::{Placed, Token};
use bytes::{BufMut, BytesMut};
use tillhouse_model::Result;

/// Begin of the binary form.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Rows that are to be copied, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyOrder {
    pub(super) sql: String,
    /// Byte of the statement that the query begins at; none where it is ours, over a table that was named.
    pub(super) from: Option<usize>,
    pub(super) format: CopyFormat,
}

/// Form of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopyForm {
    Text,
    Csv,
    Binary,
}

/// Form of the rows and its signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyFormat {
    pub(super) form: CopyForm,
    has_header: bool,
    delimiter: u8,
    null: String,
    quote: u8,
    escape: u8,
    quotes_all: bool,
}

/// Options as they are written.
#[derive(Default)]
struct Written {
    form: Option<CopyForm>,
    has_header: bool,
    delimiter: Option<String>,
    null: Option<String>,
    quote: Option<String>,
    escape: Option<String>,
    quotes_all: bool,
}

/// Reads a COPY statement.
pub(super) fn read(sql: &str, tokens: &[Placed]) -> std::result::Result<CopyOrder, Fault> {
    let (query, from, next) = source(sql, tokens)?;
    let word = |at: usize| tokens.get(at).and_then(|placed| placed.token.word());
    match (word(next), word(next + 1)) {
        (Some("from"), _) => return Err(read_only("copy from")),
        (Some("to"), Some("stdout")) => {}
        (Some("to"), _) => {
            return Err(Fault::new("42501", "COPY writes no file of the server")
                .hint("COPY (SELECT ...) TO STDOUT sends the rows; psql's \\copy writes them to a file of yours."));
        }
        _ => return Err(unreadable()),
    }
    let options = tokens.get(next + 2..).unwrap_or_default();
    let written = options_of(options.iter().map(|placed| &placed.token))?;
    Ok(CopyOrder {
        sql: query,
        from,
        format: written.checked()?,
    })
}

fn unreadable() -> Fault {
    Fault::new("42601", "the COPY statement cannot be read").hint(
        "Write COPY (SELECT ...) TO STDOUT, or COPY table TO STDOUT WITH (FORMAT csv, HEADER).",
    )
}

/// The query, where it begins, and the token behind it.
fn source(
    sql: &str,
    tokens: &[Placed],
) -> std::result::Result<(String, Option<usize>, usize), Fault> {
    let first = tokens.get(1).ok_or_else(unreadable)?;
    if first.token.is_sign('(') {
        let end = closing(tokens, 1).ok_or_else(unreadable)?;
        let (from, to) = (
            first.to,
            tokens.get(end).map_or(first.to, |close| close.from),
        );
        let query = sql.get(from..to).unwrap_or_default();
        return Ok((query.to_owned(), Some(from), end + 1));
    }
    let mut end = 2;
    while tokens
        .get(end)
        .is_some_and(|placed| placed.token.is_sign('.'))
    {
        end += 2;
    }
    let text = |from: usize, to: usize| -> Option<String> {
        let (from, to) = (tokens.get(from)?.from, tokens.get(to)?.to);
        sql.get(from..to).map(str::to_owned)
    };
    let table = text(1, end - 1).ok_or_else(unreadable)?;
    let mut columns = "*".to_owned();
    if tokens
        .get(end)
        .is_some_and(|placed| placed.token.is_sign('('))
    {
        let close = closing(tokens, end).ok_or_else(unreadable)?;
        columns = text(end + 1, close - 1).ok_or_else(unreadable)?;
        end = close + 1;
    }
    Ok((format!("SELECT {columns} FROM {table}"), None, end))
}

/// The bracket that closes one.
fn closing(tokens: &[Placed], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, placed) in tokens.iter().enumerate().skip(open) {
        match placed.token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Reads `WITH (FORMAT csv, HEADER true)` and the older `WITH CSV HEADER`.
fn options_of<'a>(tokens: impl Iterator<Item = &'a Token>) -> std::result::Result<Written, Fault> {
    let mut written = Written::default();
    let mut tokens = tokens.peekable();
    while let Some(token) = tokens.next() {
        let mut text = || {
            if tokens.peek().is_some_and(|next| next.is_word("as")) {
                tokens.next();
            }
            tokens.next().map(Token::value)
        };
        match token.word() {
            None if matches!(token, Token::Sign('(' | ')' | ',' | ';')) => {}
            Some("with") => {}
            Some("csv") => written.form = Some(CopyForm::Csv),
            Some("binary") => written.form = Some(CopyForm::Binary),
            Some("format") => {
                written.form = Some(match text().unwrap_or_default().to_lowercase().as_str() {
                    "csv" => CopyForm::Csv,
                    "text" => CopyForm::Text,
                    "binary" => CopyForm::Binary,
                    _ => return Err(unreadable()),
                });
            }
            Some("delimiter") => written.delimiter = text(),
            Some("null") => written.null = text(),
            Some("quote") => written.quote = text(),
            Some("escape") => written.escape = text(),
            Some("encoding") => {
                text();
            }
            Some("header") => {
                written.has_header = true;
                let next = tokens.peek().map(|next| next.value().to_lowercase());
                if let Some(said @ ("true" | "on" | "1" | "false" | "off" | "0")) = next.as_deref()
                {
                    written.has_header = matches!(said, "true" | "on" | "1");
                    tokens.next();
                }
            }
            // FORCE_QUOTE *, and FORCE QUOTE *: of single columns it is more than is promised.
            Some("force_quote" | "force") => {
                written.quotes_all = true;
                while tokens
                    .peek()
                    .is_some_and(|next| next.is_word("quote") || next.is_sign('*'))
                {
                    tokens.next();
                }
            }
            _ => return Err(unreadable()),
        }
    }
    Ok(written)
}

impl Written {
    fn checked(self) -> std::result::Result<CopyFormat, Fault> {
        let form = self.form.unwrap_or(CopyForm::Text);
        let is_csv = form == CopyForm::Csv;
        let sign = |written: Option<String>, otherwise: u8| match written {
            None => Ok(otherwise),
            Some(text) => match (text.as_bytes(), text.as_str()) {
                ([byte], _) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
                (_, "\\t") => Ok(b'\t'),
                _ => Err(Fault::new(
                    NOT_THERE,
                    "a sign of COPY is one ASCII character",
                )),
            },
        };
        let quote = sign(self.quote, b'"')?;
        Ok(CopyFormat {
            form,
            has_header: self.has_header && form != CopyForm::Binary,
            delimiter: sign(self.delimiter, if is_csv { b',' } else { b'\t' })?,
            null: self
                .null
                .unwrap_or_else(|| if is_csv { "" } else { "\\N" }.to_owned()),
            quote,
            escape: sign(self.escape, quote)?,
            quotes_all: self.quotes_all,
        })
    }
}

impl CopyFormat {
    pub(super) fn is_binary(&self) -> bool {
        self.form == CopyForm::Binary
    }

    /// Writes what stands before the first row, and in the same message, also where that is none.
    pub(super) fn put_signature(&self, out: &mut BytesMut) {
        if self.is_binary() {
            out.put_slice(SIGNATURE);
        }
    }

    /// Writes the row of names; false where there is none.
    pub(super) fn put_begin<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        out: &mut BytesMut,
    ) -> bool {
        if !self.has_header {
            return false;
        }
        for (at, name) in names.enumerate() {
            if at > 0 {
                out.put_u8(self.delimiter);
            }
            self.put_value(name.as_bytes(), out);
        }
        out.put_u8(b'\n');
        true
    }

    /// Writes a row.
    pub(super) fn put_row(&self, rows: &ReadyRows, row: usize, out: &mut BytesMut) -> Result<()> {
        if self.is_binary() {
            out.put_u16(u16::try_from(rows.width()).unwrap_or(u16::MAX));
            return (0..rows.width()).try_for_each(|column| rows.put_sized(column, row, true, out));
        }
        let mut text = BytesMut::new();
        for column in 0..rows.width() {
            if column > 0 {
                out.put_u8(self.delimiter);
            }
            text.clear();
            match rows.put_text(column, row, &mut text)? {
                true => self.put_value(&text, out),
                false => out.put_slice(self.null.as_bytes()),
            }
        }
        out.put_u8(b'\n');
        Ok(())
    }

    /// Writes what stands behind the rows; false where that is nothing.
    pub(super) fn put_end(&self, out: &mut BytesMut) -> bool {
        if self.is_binary() {
            out.put_i16(-1);
        }
        self.is_binary()
    }

    fn put_value(&self, text: &[u8], out: &mut BytesMut) {
        match self.form {
            CopyForm::Csv => self.put_csv(text, out),
            CopyForm::Text | CopyForm::Binary => self.put_escaped(text, out),
        }
    }

    fn put_csv(&self, text: &[u8], out: &mut BytesMut) {
        let is_special = |byte: &u8| {
            *byte == self.delimiter || *byte == self.quote || matches!(byte, b'\n' | b'\r')
        };
        // A line `\.` would end the data for some that read it.
        let is_quoted = self.quotes_all
            || text == self.null.as_bytes()
            || text == b"\\."
            || text.iter().any(is_special);
        if !is_quoted {
            out.put_slice(text);
            return;
        }
        out.put_u8(self.quote);
        for byte in text {
            if *byte == self.quote || *byte == self.escape {
                out.put_u8(self.escape);
            }
            out.put_u8(*byte);
        }
        out.put_u8(self.quote);
    }

    fn put_escaped(&self, text: &[u8], out: &mut BytesMut) {
        for byte in text {
            match byte {
                b'\\' => out.put_slice(b"\\\\"),
                b'\n' => out.put_slice(b"\\n"),
                b'\r' => out.put_slice(b"\\r"),
                b'\t' => out.put_slice(b"\\t"),
                byte if *byte == self.delimiter => out.put_slice(&[b'\\', *byte]),
                byte => out.put_u8(*byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns::all_columns;
    use super::super::words::tokens;
    use super::*;
    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use std::sync::Arc;

    fn order(sql: &str) -> std::result::Result<CopyOrder, Fault> {
        read(sql, &tokens(sql))
    }

    fn written(format: &CopyFormat) -> String {
        let texts = StringArray::from(vec![
            Some("a\tb"),
            Some("q\"q"),
            Some(""),
            None,
            Some("\\."),
        ]);
        let column: ArrayRef = Arc::new(texts);
        let batch =
            RecordBatch::try_from_iter([("a", Arc::clone(&column)), ("b", column)]).unwrap();
        let names = all_columns(&batch.schema());
        let rows = ReadyRows::of(&batch, &names).unwrap();
        let mut out = BytesMut::new();
        format.put_begin(names.iter().map(|column| column.name.as_str()), &mut out);
        for row in 0..rows.count {
            format.put_row(&rows, row, &mut out).unwrap();
        }
        format.put_end(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn rows_are_read_back_as_they_were() {
        let text = order("COPY (SELECT 1) TO STDOUT").unwrap();
        assert_eq!((text.sql.as_str(), text.from), ("SELECT 1", Some(6)));
        assert_eq!(
            written(&text.format),
            "a\\tb\ta\\tb\nq\"q\tq\"q\n\t\n\\N\t\\N\n\\\\.\t\\\\.\n"
        );
        let csv = order("COPY (SELECT f(a) FROM t) TO STDOUT WITH (FORMAT csv, HEADER)").unwrap();
        assert_eq!(csv.sql, "SELECT f(a) FROM t");
        assert_eq!(
            written(&csv.format),
            "a,b\na\tb,a\tb\n\"q\"\"q\",\"q\"\"q\"\n\"\",\"\"\n,\n\"\\.\",\"\\.\"\n"
        );
    }

    #[test]
    fn the_binary_form_begins_once() {
        let binary = order("COPY (SELECT 1) TO STDOUT (FORMAT binary, HEADER)").unwrap();
        let mut out = BytesMut::new();
        assert!(!binary.format.put_begin(["a"].into_iter(), &mut out));
        binary.format.put_signature(&mut out);
        assert!(binary.format.put_end(&mut out));
        assert_eq!(out.as_ref(), [SIGNATURE, &[255, 255]].concat());
        let text = order("COPY (SELECT 1) TO STDOUT").unwrap();
        out.clear();
        text.format.put_signature(&mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn options_are_read_in_both_ways() {
        let new = order(
            "COPY unified.sales (a, \"B\") TO STDOUT (FORMAT csv, HEADER true, DELIMITER ';', NULL 'x')",
        );
        let new = new.unwrap();
        assert_eq!(new.sql, "SELECT a, \"B\" FROM unified.sales");
        let tabs = order("COPY sales TO STDOUT (FORMAT csv, DELIMITER E'\\t')").unwrap();
        assert_eq!(tabs.format.delimiter, b'\t');
        let old =
            order("copy sales to stdout with csv header delimiter as ';' null as 'x'").unwrap();
        assert_eq!(old.sql, "SELECT * FROM sales");
        assert_eq!(new.format, old.format);
        let binary = order("COPY sales TO STDOUT (FORMAT binary)").unwrap();
        assert!(binary.format.is_binary());
        assert!(
            order("COPY sales TO STDOUT (HEADER false)")
                .is_ok_and(|order| !order.format.has_header)
        );
    }

    #[test]
    fn what_writes_is_refused() {
        for (sql, code) in [
            ("COPY sales FROM STDIN", "25006"),
            ("COPY sales (a) FROM '/tmp/x'", "25006"),
            ("COPY sales TO '/tmp/x'", "42501"),
            ("COPY (SELECT 1) TO PROGRAM 'x'", "42501"),
            ("COPY", "42601"),
            ("COPY (SELECT 1", "42601"),
            ("COPY sales TO STDOUT (FORMAT xml)", "42601"),
            ("COPY sales TO STDOUT (DELIMITER 'ab')", "0A000"),
        ] {
            assert_eq!(order(sql).unwrap_err().code, code, "{sql}");
        }
    }
}
