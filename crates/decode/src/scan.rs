//! The scanner of `tillhouse_model::json`, and what its errors mean to a walk.
//!
//! Invariant: nothing is scanned here but by the scanner that counts the records of a page before it is decoded.

use crate::stop::Stop;
pub(crate) use tillhouse_model::json::{Malformed, Number, Raw, Scan, name_of, unescape};

impl From<Box<Malformed>> for Box<Stop> {
    #[cold]
    #[inline(never)]
    fn from(malformed: Box<Malformed>) -> Self {
        Self::new(Stop::Syntax { at: malformed.at, expected: malformed.expected })
    }
}
