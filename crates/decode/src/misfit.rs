//! Values that cannot be read as their column's: what they are called in warnings and in rejects.
//!
//! Invariant: neither a rule's name nor a reason is made of a value; a rule's name says what was expected, and is the same for every
//! value that disappoints in the same way, so that warnings can be counted by it.

use crate::instant::NoTime;
use crate::scan::name_of;
use std::borrow::Cow;

/// What was expected: the rule of the warning, and in words.
pub(crate) type Expected = (&'static str, &'static str);

pub(crate) const TEXT: Expected = ("expected_text", "text");
pub(crate) const NUMBER: Expected = ("expected_number", "a number");
pub(crate) const WHOLE_NUMBER: Expected = ("expected_whole_number", "a whole number");
pub(crate) const TRUTH: Expected = ("expected_boolean", "true or false");
pub(crate) const TIME: Expected = ("expected_time", "a time as text");
pub(crate) const EPOCH: Expected = ("expected_time", "a number (the contract names a unit since 1970)");
pub(crate) const DATE: Expected = ("expected_date", "a date");
pub(crate) const OBJECT: Expected = ("expected_object", "an object");
pub(crate) const ARRAY: Expected = ("expected_array", "an array");

pub(crate) const FRACTION: Misfit = Misfit::new(WHOLE_NUMBER.0, "expected a whole number, found a fraction");
pub(crate) const BEYOND_64_BITS: Misfit = Misfit::new("number_too_large", "the number does not fit 64 bits");
pub(crate) const BEYOND_PRECISION: Misfit =
    Misfit::new("number_too_large", "the number does not fit the column's precision");
const UNSET: Misfit =
    Misfit::new("no_time", "the time stands for none (0001-01-01, 1970-01-01T00:00:00Z and the like)");
const OPEN_END: Misfit =
    Misfit::new("open_end", "the time stands for an open end (9999-12-31, 2999-12-31 and the like)");

/// A value that cannot be read.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// The rule of its warning.
    pub(crate) rule: &'static str,
    /// Why its record is rejected.
    pub(crate) reason: Cow<'static, str>,
}

/// A misfit where the record time might have stood.
#[derive(Debug)]
pub(crate) struct Unread {
    /// Which of the record time's paths leads to it.
    pub(crate) path_of_time: usize,
    /// Where it stands, as the page spells it.
    pub(crate) field: String,
    pub(crate) misfit: Misfit,
}

impl Misfit {
    const fn new(rule: &'static str, reason: &'static str) -> Self {
        Self { rule, reason: Cow::Borrowed(reason) }
    }

    /// A value of another kind, which starts with the byte `found`.
    #[cold]
    pub(crate) fn expected(expected: Expected, found: u8) -> Self {
        let reason = format!("expected {}, found {}", expected.1, name_of(found));
        Self { rule: expected.0, reason: Cow::Owned(reason) }
    }

    /// A text that is no instant, or no date.
    #[cold]
    pub(crate) fn no_time(why: NoTime, expected: Expected) -> Self {
        match why {
            NoTime::Unset => UNSET,
            NoTime::OpenEnd => OPEN_END,
            NoTime::Wrong(reason @ "time without offset") => Self::new("time_without_offset", reason),
            NoTime::Wrong(reason) => Self::new(expected.0, reason),
        }
    }

    /// Whether the value says that there is no time, or that it never comes.
    pub(crate) fn is_answer(&self) -> bool {
        self.rule == UNSET.rule || self.rule == OPEN_END.rule
    }
}
