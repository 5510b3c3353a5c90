//! Outcome of a clause: it held, or what violated it.
//!
//! Invariant: a violation says which resource was read and how, and what came instead of what; it is a value, so that a test can
//! expect one.

use std::fmt;

/// Result of a clause.
pub type ClauseResult = Result<(), ClauseViolation>;

/// Violation of a clause, in words.
#[derive(Clone, PartialEq, Eq)]
pub struct ClauseViolation(String);

impl ClauseViolation {
    /// Violation, in one sentence.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// Adds the place in front.
    #[must_use]
    pub(crate) fn at(self, place: impl fmt::Display) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl fmt::Display for ClauseViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Same as `Display`: the harness prints it of a test that returns one.
impl fmt::Debug for ClauseViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ClauseViolation {}

/// Ends the clause with a violation unless the condition holds.
macro_rules! hold {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::testing::ClauseViolation::new(format!($($what)+)));
        }
    };
}
