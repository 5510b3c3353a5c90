//! The text of a query as somebody wrote it, and where in it something stands.
//!
//! Invariant: a place is given where it is certain: what stands at several places, and could be meant at each, has none.

use crate::dialect::SqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// Stretch of a query in which something is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Evidence<'a> {
    /// At this place; none where it is the beginning of nothing (line 0).
    At(Location),
    /// The first word.
    Start,
    /// Behind the last word.
    End,
    /// A name, behind its qualifier where it has one.
    Name(Option<&'a str>, &'a str),
    /// A name that a bracket follows.
    Call(&'a str),
    /// A text in quotes.
    Literal(&'a str),
    /// The only one of these signs and words.
    Only(&'a [&'a str]),
    /// The first of these words in a row.
    Words(&'a [&'a str]),
}

/// Tokens of a query, without blanks and comments, and its end.
#[derive(Debug, Default)]
pub(crate) struct QueryText {
    tokens: Vec<TokenWithSpan>,
    end: Option<Location>,
}

impl QueryText {
    /// The tokens of a text, as far as it can be read.
    pub(crate) fn of(sql: &str) -> Self {
        let mut tokens = Vec::new();
        // What cannot be read is an error of its own, which says where.
        let _ = Tokenizer::new(&SqlDialect::default(), sql)
            .tokenize_with_location_into_buf(&mut tokens);
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
        let written = sql.trim_end();
        let line = written.matches('\n').count() as u64 + 1;
        let last = written.rsplit('\n').next().unwrap_or(written);
        let column = last.chars().count() as u64 + 1;
        Self {
            tokens,
            end: Some(Location { line, column }),
        }
    }

    /// Place of the evidence.
    pub(crate) fn place(&self, evidence: &Evidence<'_>) -> Option<Location> {
        let start = |at: usize| self.tokens.get(at).map(|token| token.span.start);
        match evidence {
            // A query that nobody wrote has no places.
            Evidence::At(location) => self.end.and((location.line > 0).then_some(*location)),
            Evidence::Start => start(0),
            Evidence::End => self.end,
            Evidence::Name(Some(qualifier), name) => {
                let is_qualified = |at: &usize| {
                    self.is_name(*at, qualifier)
                        && self.is(*at + 1, &Token::Period)
                        && self.is_name(*at + 2, name)
                };
                start((0..self.tokens.len()).find(is_qualified)?)
            }
            Evidence::Name(None, name) => {
                let is_plain = |at: &usize| {
                    self.is_name(*at, name) && (*at == 0 || !self.is(*at - 1, &Token::Period))
                };
                let mut all = (0..self.tokens.len()).filter(is_plain);
                start(all.next()?)
            }
            Evidence::Call(name) => {
                let calls =
                    |at: &usize| self.is_name(*at, name) && self.is(*at + 1, &Token::LParen);
                start((0..self.tokens.len()).find(calls)?)
            }
            Evidence::Literal(text) => {
                let is_it = |at: &usize| self.literal(*at) == Some(text);
                start((0..self.tokens.len()).find(is_it)?)
            }
            Evidence::Only(signs) => {
                let mut found = self.tokens.iter().filter(|token| {
                    let text = token.token.to_string();
                    signs.iter().any(|sign| text.eq_ignore_ascii_case(sign))
                });
                match (found.next(), found.next()) {
                    (Some(one), None) => Some(one.span.start),
                    _ => None,
                }
            }
            Evidence::Words(words) => start(self.find_words(0, words)?),
        }
    }

    /// Index of the first of these words in a row, from a token on.
    pub(crate) fn find_words(&self, from: usize, words: &[&str]) -> Option<usize> {
        (from..self.tokens.len()).find(|at| {
            words
                .iter()
                .enumerate()
                .all(|(next, word)| self.is_word(at + next, word))
        })
    }

    /// Index of the first token at a place or behind it.
    pub(crate) fn index_at(&self, place: Location) -> usize {
        self.tokens
            .partition_point(|token| token.span.start < place)
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Place of a token.
    pub(crate) fn start_of(&self, at: usize) -> Option<Location> {
        self.tokens.get(at).map(|token| token.span.start)
    }

    /// A token as it was written.
    pub(crate) fn shown(&self, at: usize) -> Option<String> {
        self.tokens.get(at).map(|token| token.token.to_string())
    }

    /// True if the token is this one.
    pub(crate) fn is(&self, at: usize, token: &Token) -> bool {
        self.tokens
            .get(at)
            .is_some_and(|found| found.token == *token)
    }

    /// True if the token is this word, without quotes.
    pub(crate) fn is_word(&self, at: usize, word: &str) -> bool {
        self.word(at)
            .is_some_and(|(found, _)| found.eq_ignore_ascii_case(word))
    }

    /// A word without quotes, and whether it is a keyword.
    pub(crate) fn word(&self, at: usize) -> Option<(&str, Keyword)> {
        match &self.tokens.get(at)?.token {
            Token::Word(word) if word.quote_style.is_none() => Some((&word.value, word.keyword)),
            _ => None,
        }
    }

    /// True if the token is a name in double quotes.
    pub(crate) fn is_quoted_name(&self, at: usize) -> bool {
        matches!(self.tokens.get(at).map(|token| &token.token),
            Some(Token::Word(word)) if word.quote_style == Some('"'))
    }

    fn is_name(&self, at: usize, name: &str) -> bool {
        match self.tokens.get(at).map(|token| &token.token) {
            Some(Token::Word(word)) if word.quote_style.is_some() => word.value == name,
            Some(Token::Word(word)) => word.value.eq_ignore_ascii_case(name),
            _ => false,
        }
    }

    fn literal(&self, at: usize) -> Option<&str> {
        match &self.tokens.get(at)?.token {
            Token::SingleQuotedString(text)
            | Token::EscapedStringLiteral(text)
            | Token::UnicodeStringLiteral(text)
            | Token::NationalStringLiteral(text) => Some(text),
            Token::DollarQuotedString(text) => Some(&text.value),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_where_it_is_certain() {
        let text =
            QueryText::of("SELECT t.a, \"A\", sum(b) -- a\nFROM t WHERE c = 'x' AND a / 1 > 0\n");
        let place = |evidence| {
            text.place(&evidence)
                .map(|at: Location| (at.line, at.column))
        };
        for (evidence, expected) in [
            (Evidence::Start, Some((1, 1))),
            (Evidence::End, Some((2, 35))),
            (Evidence::Name(Some("t"), "a"), Some((1, 8))),
            (Evidence::Name(None, "a"), Some((2, 26))),
            (Evidence::Name(None, "A"), Some((1, 13))),
            (Evidence::Call("SUM"), Some((1, 18))),
            (Evidence::Call("b"), None),
            (Evidence::Literal("x"), Some((2, 18))),
            (Evidence::Only(&["/", "%"]), Some((2, 28))),
            (Evidence::Only(&["a"]), None),
            (Evidence::Words(&["WHERE", "c"]), Some((2, 8))),
            (Evidence::At(Location { line: 0, column: 0 }), None),
        ] {
            assert_eq!(place(evidence.clone()), expected, "{evidence:?}");
        }
        assert_eq!(QueryText::default().place(&Evidence::End), None);
    }
}
