//! The scanner of `tillhouse_model::json`, and what its errors mean to a walk.
//!
//! Invariant: nothing is scanned here but by the scanner that counts the records of a page before it is decoded.

use crate::abort::Abort;
pub(crate) use tillhouse_model::json::{
    JsonNumber, JsonScanner, MalformedJson, RawJsonString, unescape, value_kind,
};

impl From<Box<MalformedJson>> for Box<Abort> {
    #[cold]
    #[inline(never)]
    fn from(malformed: Box<MalformedJson>) -> Self {
        Self::new(Abort::Syntax {
            at: malformed.at,
            expected: malformed.expected,
        })
    }
}
