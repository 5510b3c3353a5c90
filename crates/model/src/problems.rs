//! Problems that are found together, so that one look shows all of them.
//!
//! Invariant: no value comes out where a problem was found.

use crate::error::{Error, Result};

/// Errors collected so far.
///
/// ```
/// use tillhouse_model::{Error, ProblemList};
/// let mut problems = ProblemList::default();
/// let one = problems.keep(Ok(1));
/// let two = problems.keep::<i32>(Err(Error::config("two is missing")));
/// problems.keep::<()>(Err(Error::config("three is empty")));
/// assert_eq!(problems.or(one.zip(two)).unwrap_err().to_string(), "2 problems: two is missing; three is empty");
/// ```
#[derive(Debug, Default)]
pub struct ProblemList(pub Vec<Error>);

impl ProblemList {
    /// The value; or nothing, with the problem noted.
    pub fn keep<T>(&mut self, outcome: Result<T>) -> Option<T> {
        outcome.map_err(|error| self.0.push(error)).ok()
    }

    /// The value, where nothing went wrong; else everything that did.
    pub fn or<T>(self, value: Option<T>) -> Result<T> {
        if !self.0.is_empty() {
            return Err(Error::combine(self.0));
        }
        value.ok_or_else(|| Error::internal("a configuration was refused without a reason"))
    }
}
