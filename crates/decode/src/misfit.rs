//! Values that cannot be read as their column's: what they are called in warnings and in rejects.
//!
//! Invariant: neither a rule's name nor a reason is made of a value; a rule's name says what was expected, and is the same for every
//! value that disappoints in the same way, so that warnings can be counted by it.

use crate::instant::InstantError;
use crate::scan::value_kind;
use std::borrow::Cow;

/// Expected kind of value: the rule of the warning, and its words.
pub(crate) type ExpectedKind = (&'static str, &'static str);

pub(crate) const TEXT: ExpectedKind = ("expected_text", "text");
pub(crate) const NUMBER: ExpectedKind = ("expected_number", "a number");
pub(crate) const WHOLE_NUMBER: ExpectedKind = ("expected_whole_number", "a whole number");
pub(crate) const TRUTH: ExpectedKind = ("expected_boolean", "true or false");
pub(crate) const TIME: ExpectedKind = ("expected_time", "a time as text");
pub(crate) const EPOCH: ExpectedKind = (
    "expected_time",
    "a number (the contract names a unit since 1970)",
);
pub(crate) const DATE: ExpectedKind = ("expected_date", "a date");
pub(crate) const OBJECT: ExpectedKind = ("expected_object", "an object");
pub(crate) const ARRAY: ExpectedKind = ("expected_array", "an array");

pub(crate) const FRACTION: ValueMisfit =
    ValueMisfit::new(WHOLE_NUMBER.0, "expected a whole number, found a fraction");
pub(crate) const BEYOND_64_BITS: ValueMisfit =
    ValueMisfit::new("number_too_large", "the number does not fit 64 bits");
pub(crate) const BEYOND_PRECISION: ValueMisfit = ValueMisfit::new(
    "number_too_large",
    "the number does not fit the column's precision",
);
const UNSET: ValueMisfit = ValueMisfit::new(
    "no_time",
    "the time stands for none (0001-01-01, 1970-01-01T00:00:00Z and the like)",
);
const OPEN_END: ValueMisfit = ValueMisfit::new(
    "open_end",
    "the time stands for an open end (9999-12-31, 2999-12-31 and the like)",
);

pub(crate) const AHEAD: ValueMisfit = ValueMisfit::new(
    "time_ahead",
    "the time is more than a day later than when it was read",
);

/// Value that cannot be read as its column's.
#[derive(Debug)]
pub(crate) struct ValueMisfit {
    /// The rule of its warning.
    pub(crate) rule: &'static str,
    /// Reason that its record is rejected.
    pub(crate) reason: Cow<'static, str>,
}

/// Misfit at a place where the record time might have been.
#[derive(Debug)]
pub(crate) struct UnreadTime {
    /// Index of the record time's path that leads to it.
    pub(crate) path_of_time: usize,
    /// Place of the value, as the page spells it.
    pub(crate) field: String,
    pub(crate) misfit: ValueMisfit,
}

impl ValueMisfit {
    const fn new(rule: &'static str, reason: &'static str) -> Self {
        Self {
            rule,
            reason: Cow::Borrowed(reason),
        }
    }

    /// A value of another kind, which starts with the byte `found`.
    #[cold]
    pub(crate) fn expected(expected: ExpectedKind, found: u8) -> Self {
        let reason = format!("expected {}, found {}", expected.1, value_kind(found));
        Self {
            rule: expected.0,
            reason: Cow::Owned(reason),
        }
    }

    /// A text that is no instant, or no date.
    #[cold]
    pub(crate) fn no_time(why: InstantError, expected: ExpectedKind) -> Self {
        match why {
            InstantError::Unset => UNSET,
            InstantError::OpenEnd => OPEN_END,
            InstantError::Wrong(reason @ "time without offset") => {
                Self::new("time_without_offset", reason)
            }
            InstantError::Wrong(reason) => Self::new(expected.0, reason),
        }
    }

    /// True if the value says that there is no time, or that it never comes, or has not come yet.
    pub(crate) fn is_answer(&self) -> bool {
        [UNSET.rule, OPEN_END.rule, AHEAD.rule].contains(&self.rule)
    }
}
