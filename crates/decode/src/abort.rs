//! Reasons that reading a record ended early.
//!
//! Invariant: a reason is made of words from this crate and names from the contract or the page's keys, never of a value.

use tillhouse_model::Error;

/// Result of a step of reading a record. The error is boxed: it is rare, and the good case stays
/// one word.
pub(crate) type ReadResult<T = ()> = Result<T, Box<Abort>>;

/// Reason to stop reading a record or a page.
#[derive(Debug)]
pub(crate) enum Abort {
    /// The bytes are not JSON: nothing after this point can be trusted.
    Syntax { at: usize, expected: &'static str },
    /// This record does not fit; the next one may.
    Reject { field: String, reason: String },
    /// The page as a whole cannot be taken.
    Page(Error),
}

impl Abort {
    /// Error of a page that ended so.
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
