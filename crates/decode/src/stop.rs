//! Why reading a record ended early.
//!
//! Invariant: a reason is made of words from this crate and names from the contract or the page's keys, never of a value.

use tillhouse_model::Error;

/// The result of a step of the walk. The error is boxed: it is rare, and the good case stays one word.
pub(crate) type Walk<T = ()> = Result<T, Box<Stop>>;

#[derive(Debug)]
pub(crate) enum Stop {
    /// The bytes are not JSON: nothing after this point can be trusted.
    Syntax { at: usize, expected: &'static str },
    /// This record does not fit; the next one may.
    Reject { field: String, reason: String },
    /// The page as a whole cannot be taken.
    Page(Error),
}

impl Stop {
    /// What a page that ended so reports.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Syntax { at, expected } => Error::data("the page is not valid JSON")
                .at("byte", at.to_string())
                .at("expected", expected)
                .hint("The server's answer was cut off or damaged. Run the same command again; if it stays, ask the provider."),
            Self::Reject { field, reason } => Error::internal(format!("a reject left its record: {reason}")).at("field", field),
            Self::Page(error) => error,
        }
    }
}
