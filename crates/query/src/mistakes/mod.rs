//! Mistakes of whoever writes queries: what is wrong, where, and what is likely meant.
//!
//! Invariant: one line in SQL's words, with the place in the text where it is certain, and a hint that fits. What DataFusion says is never shown where it is
//! made for programmers; a value of a record is shown only where the query itself has it.
//!
//! ```text
//!   DataFusion's error ── syntax | names | values | planning ── Mistake { message, place, hint } ── Error
//!                            the text's tokens (QueryText) and the session's names (KnownNames) beside it
//! ```
//!
//! Rejected: DataFusion's own messages and guesses. They guess by the distance of letters alone (`md5` for `mode`), show plans as Rust prints them, and call
//! a wrong argument a bug.

mod clauses;
mod meanings;
mod names;
mod planning;
mod query_text;
mod syntax;
mod values;
mod wording;

use crate::depth;
use crate::parameters::QueryParameters;
use datafusion::common::{Diagnostic, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Location;
use query_text::{Evidence, QueryText};
use tillhouse_model::{Error, ErrorKind};

pub(crate) use names::KnownNames;
pub(crate) use values::{check_zones, divided_by_zero, of_zone, overflow};
pub(crate) use wording::{in_sql_words, shorten};

/// A query as it was written, for errors about it. The default one is of a query that nobody wrote: its errors have no place, and no guess.
#[derive(Debug, Default)]
pub(crate) struct WrittenQuery {
    text: QueryText,
    names: KnownNames,
    /// Values of its parameters, which no error shows.
    given: QueryParameters,
    /// Lines, and on the first line columns, before the query in the file it is from.
    before: (u64, u64),
}

impl WrittenQuery {
    /// A query, the names it may use, the values of its parameters, and the line and column that it begins at in its file.
    pub(crate) fn new(
        sql: &str,
        names: KnownNames,
        given: &QueryParameters,
        (line, column): (u64, u64),
    ) -> Self {
        Self {
            text: QueryText::of(sql),
            names,
            given: given.clone(),
            before: (line.saturating_sub(1), column.saturating_sub(1)),
        }
    }

    /// True if somebody wrote it.
    pub(crate) fn is_written(&self) -> bool {
        self.text.len() > 0
    }

    /// An error of ours with its place: that of the clause it begins with, in capital letters, or of the text that it quotes.
    pub(crate) fn of_ours(&self, error: Error) -> Error {
        let clause = error.message().split([' ', ',']).next().unwrap_or_default();
        let is_clause = clause.len() > 1 && clause.bytes().all(|b| b.is_ascii_uppercase());
        let is_placed = error.context().iter().any(|(key, _)| *key == "line");
        let quoted = error.message().split('\'').nth(1).unwrap_or_default();
        let place = match is_clause {
            true => self.text.place(&Evidence::Only(&[clause])),
            false if quoted.is_empty() => None,
            false => self.text.place(&Evidence::Literal(quoted)),
        };
        match place.filter(|_| !is_placed) {
            Some(place) => self.at(error, place),
            None => error,
        }
    }

    fn at(&self, error: Error, place: Location) -> Error {
        let (lines, columns) = self.before;
        let column = match place.line {
            1 => place.column + columns,
            _ => place.column,
        };
        let line = place.line + lines;
        error
            .at("line", line.to_string())
            .at("column", column.to_string())
    }
}

/// Mistake in a query.
#[derive(Debug)]
pub(crate) struct Mistake {
    message: String,
    place: Option<Location>,
    hint: Option<String>,
}

impl Mistake {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            hint: None,
        }
    }

    /// Takes the place of the evidence, unless it has one.
    fn near(mut self, query: &WrittenQuery, evidence: &Evidence<'_>) -> Self {
        if self.place.is_none() {
            self.place = query.text.place(evidence);
        }
        self
    }

    fn placed(mut self, place: Option<Location>) -> Self {
        self.place = place;
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error of it.
    pub(crate) fn into_error(self, query: &WrittenQuery) -> Error {
        let mut error = Error::new(ErrorKind::Query, self.message);
        if let Some(place) = self.place {
            error = query.at(error, place);
        }
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// The error of a text that cannot be read.
pub(crate) fn of_parser(error: &ParserError, query: &WrittenQuery) -> Error {
    match error {
        ParserError::RecursionLimitExceeded => depth::too_deep(),
        // Without the text the parser's own words say most.
        ParserError::TokenizerError(text) | ParserError::ParserError(text)
            if !query.is_written() =>
        {
            let message = format!("the SQL cannot be read: {}", shorten(text));
            Error::new(ErrorKind::Query, message).hint(
                "Texts stand in single quotes, names in double ones; docs/sql.md has examples.",
            )
        }
        ParserError::TokenizerError(text) => syntax::of_tokenizer(text, query).into_error(query),
        ParserError::ParserError(text) => syntax::of_parser(text, query).into_error(query),
    }
}

/// The error of a column that is not there, or is there twice.
pub(crate) fn of_schema(
    error: &SchemaError,
    diagnostic: Option<&Diagnostic>,
    query: &WrittenQuery,
) -> Error {
    names::of_schema(error, diagnostic, query).into_error(query)
}

/// The error of a query that cannot be planned or run, by the text of it.
pub(crate) fn of_text(text: &str, diagnostic: Option<&Diagnostic>, query: &WrittenQuery) -> Error {
    planning::of_text(text, diagnostic, query).into_error(query)
}
