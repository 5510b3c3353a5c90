//! How a clause ends: the law held, or what broke it.
//!
//! Invariant: a breach says which resource was read and how, and what came instead of what; it is a value, so that a test can
//! expect one.

use std::fmt;

/// What a clause comes to.
pub type Held = Result<(), Breach>;

/// What broke the law.
#[derive(Clone, PartialEq, Eq)]
pub struct Breach(String);

impl Breach {
    /// What broke it, in one sentence.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// The same, with where it happened in front.
    #[must_use]
    pub(crate) fn at(self, place: impl fmt::Display) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the test harness prints of a test that returns one.
impl fmt::Debug for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Breach {}

/// Ends the clause with a breach unless the condition holds.
macro_rules! hold {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::testing::Breach::new(format!($($what)+)));
        }
    };
}
