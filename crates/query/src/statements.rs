//! A text of several statements, taken apart where the SQL says so.
//!
//! Invariant: a semicolon in quotes of any kind (`'…'`, `E'…'`, `$$…$$`, `"…"`) or in a comment (`--`, `/* … */`, nested ones too) ends no statement. The
//! tokenizer that reads the statement afterwards says where one ends; a second reading of the rules would drift from it.

use crate::dialect::SqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// A statement, and where in its text it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedStatement {
    /// The statement, without the semicolon behind it.
    pub sql: String,
    /// Line and column of its first character, from 1 on.
    pub start: (u64, u64),
}

/// The statements of a text, without the semicolons between them; empty ones are left out. Of a text that cannot be read to its end (a quote that is never
/// closed), the last statement is all that is left.
pub fn split_statements(text: &str) -> Vec<String> {
    let located = locate_statements(text).into_iter();
    located.map(|statement| statement.sql).collect()
}

/// As [`split_statements`], each with its place.
pub fn locate_statements(text: &str) -> Vec<LocatedStatement> {
    let text = without_mark(text);
    let (tokens, is_whole) = tokens(text);
    let mut ends = Vec::new();
    let mut is_empty = true;
    for token in &tokens {
        match &token.token {
            Token::SemiColon => {
                ends.push((token.span.start, is_empty));
                is_empty = true;
            }
            Token::Whitespace(_) => {}
            _ => is_empty = false,
        }
    }
    let mut statements = Vec::new();
    let mut current = LocatedStatement {
        sql: String::new(),
        start: (1, 1),
    };
    let mut ends = ends.into_iter().peekable();
    let (mut line, mut column) = (1, 1);
    for character in text.chars() {
        let here = Location { line, column };
        match character {
            '\n' => (line, column) = (line + 1, 1),
            _ => column += 1,
        }
        match ends.next_if(|(end, _)| *end == here) {
            Some((_, true)) => current.sql.clear(),
            Some((_, false)) => statements.push(LocatedStatement {
                sql: std::mem::take(&mut current.sql),
                start: current.start,
            }),
            None if current.sql.is_empty() && character.is_whitespace() => {}
            None => {
                if current.sql.is_empty() {
                    current.start = (here.line, here.column);
                }
                current.sql.push(character);
            }
        }
    }
    if !is_empty || !is_whole {
        statements.push(current);
    }
    for statement in &mut statements {
        statement.sql.truncate(statement.sql.trim_end().len());
    }
    statements.retain(|statement| !statement.sql.is_empty());
    statements
}

/// A text without the mark of its encoding, which editors put at the beginning of a file.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// True if a text ends with the semicolon of its last statement, comments aside.
pub fn is_complete(text: &str) -> bool {
    let (tokens, is_whole) = tokens(text);
    let last = tokens
        .iter()
        .rev()
        .find(|token| !matches!(token.token, Token::Whitespace(_)));
    is_whole && last.is_some_and(|token| token.token == Token::SemiColon)
}

/// The tokens of a text, as far as it can be read.
pub(crate) fn tokens(text: &str) -> (Vec<TokenWithSpan>, bool) {
    let mut tokens = Vec::new();
    let is_whole = Tokenizer::new(&SqlDialect::default(), text)
        .tokenize_with_location_into_buf(&mut tokens)
        .is_ok();
    (tokens, is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_quotes_and_comments_do_not_split() {
        for (text, statements) in [
            (
                "SELECT ';' ; -- no; \n SELECT 2;;",
                vec!["SELECT ';'", "-- no; \n SELECT 2"],
            ),
            (
                "SELECT 1 /* a; b */ + 1; SELECT 2",
                vec!["SELECT 1 /* a; b */ + 1", "SELECT 2"],
            ),
            (
                "SELECT /* a /* b; */ c; */ 1; SELECT 2",
                vec!["SELECT /* a /* b; */ c; */ 1", "SELECT 2"],
            ),
            (
                "SELECT $$a;b$$; SELECT $x$a;$$b;$x$",
                vec!["SELECT $$a;b$$", "SELECT $x$a;$$b;$x$"],
            ),
            (
                r"SELECT E'it\'s; so'; SELECT 2",
                vec![r"SELECT E'it\'s; so'", "SELECT 2"],
            ),
            (
                "SELECT 'it''s; so'; SELECT 2",
                vec!["SELECT 'it''s; so'", "SELECT 2"],
            ),
            (
                r#"SELECT 1 AS "a;""b;"; SELECT 2"#,
                vec![r#"SELECT 1 AS "a;""b;""#, "SELECT 2"],
            ),
            (
                "SELECT `a;b` FROM t; SELECT 2",
                vec!["SELECT `a;b` FROM t", "SELECT 2"],
            ),
            (
                "SELECT 'é;ü'; SELECT '日本;'; SELECT 3",
                vec!["SELECT 'é;ü'", "SELECT '日本;'", "SELECT 3"],
            ),
            ("SELECT 1;\r\nSELECT 2;\r\n", vec!["SELECT 1", "SELECT 2"]),
            (
                "SELECT U&'a;b'; SELECT X'00'; SELECT N'a;b'",
                vec!["SELECT U&'a;b'", "SELECT X'00'", "SELECT N'a;b'"],
            ),
            ("SELECT 7 - -1; SELECT 2", vec!["SELECT 7 - -1", "SELECT 2"]),
            ("-- nothing; here\n; /* nor; here */ ;\n", vec![]),
            ("SELECT 1 -- the end", vec!["SELECT 1 -- the end"]),
            (
                "SELECT 1; SELECT 'never; closed",
                vec!["SELECT 1", "SELECT 'never; closed"],
            ),
            (
                "SELECT 1; /* never; closed",
                vec!["SELECT 1", "/* never; closed"],
            ),
            (
                "SELECT /*! 1; */ 2; SELECT 3",
                vec!["SELECT /*! 1; */ 2", "SELECT 3"],
            ),
            ("\u{feff}SELECT 1; SELECT 2", vec!["SELECT 1", "SELECT 2"]),
            ("\u{feff}", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(split_statements(text), statements, "{text}");
        }
    }

    #[test]
    fn a_statement_knows_where_it_begins() {
        let text = "\u{feff}-- all\n;;SELECT 1;  SELECT\n 2;\n\n  SELECT 3 -- end\n";
        let located: Vec<_> = locate_statements(text)
            .into_iter()
            .map(|statement| (statement.sql, statement.start))
            .collect();
        assert_eq!(
            located,
            [
                ("SELECT 1".to_owned(), (2, 3)),
                ("SELECT\n 2".to_owned(), (2, 14)),
                ("SELECT 3 -- end".to_owned(), (5, 3)),
            ]
        );
    }

    #[test]
    fn a_text_is_complete_with_its_semicolon() {
        for text in [
            "SELECT 1;",
            "SELECT 1; -- done",
            "SELECT ';';\n",
            "SELECT 1; /* ; */",
            ";",
        ] {
            assert!(is_complete(text), "{text}");
        }
        for text in [
            "SELECT 1",
            "SELECT ';",
            "SELECT 1 -- ;",
            "SELECT $$;",
            "SELECT /* ;",
            "SELECT E'\\';",
            "",
        ] {
            assert!(!is_complete(text), "{text}");
        }
    }
}
