//! Errors as PostgreSQL tells them: SQLSTATE, message, hint, and the place in the text.
//!
//! Invariant: a client learns what was wrong with its statement, and of our own faults no more than that there was one; the log has the story, under the id that the
//! message names.

use super::wire::{Ended, Wire, put_text};
use crate::observed_statement::CLIENT_LEFT;
use crate::problem::ONLY_READS;
use crate::wording::in_words_of_sql;
use bytes::BufMut;
use tillhouse_model::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncWrite};

/// Errors by what their messages say, the first that fits.
const STATES: [(&str, &str); 18] = [
    (ONLY_READS, READ_ONLY),
    ("reads the catalog or tables", NOT_THERE),
    ("there is no table function", "42883"),
    ("there is no table", "42P01"),
    ("there is no schema", "3F000"),
    ("there is no column", "42703"),
    ("there is no function", "42883"),
    ("there is no type", "42704"),
    ("two columns are called", "42702"),
    ("two tables of the query are called", "42712"),
    ("divided by zero", "22012"),
    ("does not fit its type", "22003"),
    ("has no value", "42P02"),
    ("cannot be read", "42601"),
    ("more memory than it may use", "53200"),
    ("would spill more", "53100"),
    ("than the", "54000"),
    ("nothing has been published yet", "55000"),
];

/// A statement that would write.
pub(super) const READ_ONLY: &str = "25006";
/// A statement that PostgreSQL has and we have not.
pub(super) const NOT_THERE: &str = "0A000";
/// A message that is none, or comes when it may not.
pub(super) const NO_MESSAGE: &str = "08P01";
/// A statement that took too long, or that its client cancelled.
pub(super) const CANCELLED: &str = "57014";
/// The server stops.
pub(super) const STOPPED: &str = "57P01";
/// Somebody who may not come in, or no longer.
pub(super) const NOT_ALLOWED: &str = "28000";
/// A password that is not right.
pub(super) const NO_PASSWORD: &str = "28P01";
/// More connections than there may be.
pub(super) const TOO_MANY: &str = "53300";
/// More is asked at once than is answered.
pub(super) const BUSY: &str = "53000";

/// Error of a statement or of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Character of the text that it is about, from 1 on.
    pub(super) position: Option<usize>,
    /// Ends the connection.
    pub(super) is_fatal: bool,
}

/// Reason to end what is being done.
#[derive(Debug)]
pub(super) enum Stop {
    /// It failed, and the next may be asked.
    Fault(Fault),
    /// Nobody is there any more.
    Ended(Ended),
}

impl Stop {
    /// Status of the statement, as HTTP would have it, for the audit log.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Fault(fault) => fault.status(),
            Self::Ended(_) => CLIENT_LEFT,
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Broken(what) => Self::Fault(Fault::new(NO_MESSAGE, what).fatal()),
            Ended::Left => Self::Ended(ended),
        }
    }
}

impl Fault {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            position: None,
            is_fatal: false,
        }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(super) fn fatal(mut self) -> Self {
        self.is_fatal = true;
        self
    }

    /// Something that PostgreSQL has and we have not.
    pub(super) fn not_there(what: &str) -> Self {
        Self::new(NOT_THERE, format!("{what} is not there"))
    }

    /// The fault of an error, in a text of SQL, under the id of its line in the log.
    pub(super) fn of(error: &Error, sql: &str, id: &str) -> Self {
        let is_question = matches!(error.kind(), ErrorKind::Query | ErrorKind::Config);
        if !is_question {
            return Self::of_ours(error, id);
        }
        let parts = error.parts();
        let first = parts.first().unwrap_or(error);
        let messages: Vec<&str> = match parts {
            [] => vec![error.message()],
            parts => parts.iter().map(Error::message).collect(),
        };
        let message = messages.join("; ");
        let state = STATES.iter().find(|(sign, _)| message.contains(sign));
        let code = match (state, error.kind()) {
            (Some((_, code)), _) => *code,
            (None, ErrorKind::Config) => "22023",
            (None, _) => "42000",
        };
        Self {
            hint: first.hint_text().map(in_words_of_sql),
            position: position(first, sql),
            ..Self::new(code, in_words_of_sql(&message))
        }
    }

    fn of_ours(error: &Error, id: &str) -> Self {
        if error.kind() == ErrorKind::Interrupted {
            return Self::new(STOPPED, "the server stops");
        }
        tracing::warn!(%id, "a statement failed: {error}");
        let (code, what) = match error.kind() {
            ErrorKind::Storage | ErrorKind::Unreachable | ErrorKind::Busy => {
                ("58030", "the warehouse cannot be read at the moment")
            }
            _ => ("XX000", "the answer could not be made"),
        };
        Self::new(
            code,
            format!("{what}; the server's log says why, under {id}"),
        )
    }

    /// Status of the statement, as HTTP would have it, for the audit log.
    pub(super) fn status(&self) -> u16 {
        match self.code.get(..2) {
            _ if self.code == READ_ONLY => 403,
            _ if self.code == STOPPED => 503,
            Some("57") => 504,
            Some("53") => 503,
            Some("58" | "XX") => 500,
            Some("28") => 401,
            _ => 400,
        }
    }

    /// Writes it as a message.
    pub(super) fn put<S: AsyncRead + AsyncWrite + Unpin>(&self, wire: &mut Wire<S>) {
        let severity = if self.is_fatal { "FATAL" } else { "ERROR" };
        let position = self.position.map(|position| position.to_string());
        let fields = [
            (b'S', Some(severity)),
            (b'V', Some(severity)),
            (b'C', Some(self.code)),
            (b'M', Some(self.message.as_str())),
            (b'H', self.hint.as_deref()),
            (b'P', position.as_deref()),
        ];
        wire.put(b'E', |out| {
            for (field, text) in fields {
                if let Some(text) = text {
                    out.put_u8(field);
                    put_text(out, text);
                }
            }
            out.put_u8(0);
        });
    }
}

/// Character that the line and the column of an error name, from 1 on.
fn position(error: &Error, sql: &str) -> Option<usize> {
    let place = |wanted: &str| {
        let mut context = error.context().iter();
        let (_, value) = context.find(|(key, _)| *key == wanted)?;
        value.parse::<usize>().ok()
    };
    let (line, column) = (place("line")?, place("column")?);
    let before = sql.split_inclusive('\n').take(line.checked_sub(1)?);
    let before: usize = before.map(|line| line.chars().count()).sum();
    let position = before.checked_add(column)?;
    (position <= sql.chars().count()).then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_state_that_tools_know() {
        for (message, code) in [
            ("DELETE is not a query, and SQL here only reads", READ_ONLY),
            ("there is no table `x`", "42P01"),
            ("there is no table function `x`", "42883"),
            ("there is no column `x`", "42703"),
            ("a number is divided by zero", "22012"),
            ("the query needs more memory than it may use", "53200"),
            ("something else", "42000"),
        ] {
            let error = Error::new(ErrorKind::Query, message);
            let error = error.hint("Give it one: --param day=VALUE.");
            let fault = Fault::of(&error, "", "7");
            assert_eq!((fault.code, fault.message.as_str()), (code, message));
            assert_eq!(fault.hint.as_deref(), Some("Give it one: bound to $day."));
        }
    }

    #[test]
    fn nothing_of_the_inside_goes_out() {
        for kind in [ErrorKind::Storage, ErrorKind::Internal, ErrorKind::Data] {
            let error = Error::new(kind, "/srv/secret is gone").hint("Look there.");
            let fault = Fault::of(&error, "", "7");
            assert!(!fault.message.contains("secret"), "{fault:?}");
            assert!(fault.message.ends_with("under 7"), "{fault:?}");
            assert_eq!(fault.hint, None);
        }
    }

    #[test]
    fn the_place_is_a_character_of_the_text() {
        let at = |line: &str, column: &str| {
            let error = Error::new(ErrorKind::Query, "x").at("line", line);
            Fault::of(&error.at("column", column), "SELECT 'é',\n  x", "7").position
        };
        assert_eq!(at("1", "1"), Some(1));
        assert_eq!(at("2", "3"), Some(15));
        assert_eq!(at("9", "9"), None);
        assert_eq!(at("0", "1"), None);
    }
}
