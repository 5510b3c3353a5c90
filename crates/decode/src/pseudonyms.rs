//! The pseudonyms of one page.
//!
//! Invariant: equal values are hashed once a page; what is remembered is forgotten with the page, since it holds the plain values.

use std::fmt;
use tillhouse_model::table::ValueNormalisation;
use tillhouse_model::{FastMap, PseudonymKey};

/// Pseudonyms of one page's values, each hashed once.
pub(crate) struct PseudonymCache<'p> {
    key: Option<&'p PseudonymKey>,
    known: [FastMap<Box<str>, Box<str>>; 4],
}

impl fmt::Debug for PseudonymCache<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms(***)")
    }
}

impl<'p> PseudonymCache<'p> {
    pub(crate) fn new(key: Option<&'p PseudonymKey>) -> Self {
        Self {
            key,
            known: Default::default(),
        }
    }

    /// Appends the pseudonym of a value. Without a key, which no plan with pseudonyms is made without, nothing.
    pub(crate) fn write(&mut self, how: ValueNormalisation, value: &str, out: &mut Vec<u8>) {
        let known = &mut self.known[match how {
            ValueNormalisation::Text => 0,
            ValueNormalisation::Plate => 1,
            ValueNormalisation::Email => 2,
            ValueNormalisation::Card => 3,
        }];
        if let Some(token) = known.get(value) {
            out.extend_from_slice(token.as_bytes());
        } else if let Some(key) = self.key {
            let token = key.pseudonym(how, value).into_boxed_str();
            out.extend_from_slice(token.as_bytes());
            known.insert(value.into(), token);
        }
    }
}
