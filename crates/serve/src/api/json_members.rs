//! Members of the JSON object that a request's body is.
//!
//! Invariant: no name stands there twice, and a number has the digits that it was sent with: none is ever a float. Errors quote nothing
//! of the body.

use crate::problem::Problem;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// Members of an object, by name, as they are written.
#[derive(Debug)]
pub(crate) struct JsonMembers(BTreeMap<String, Box<RawValue>>);

/// Value of a member that holds no others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JsonScalar {
    Null,
    Text(String),
    /// A number, as it is written: `-12.50`, `1e3`.
    Number(String),
    Truth(bool),
}

impl JsonMembers {
    /// Errors with 400 for what is no object, and for a name that is there twice.
    pub(crate) fn read(json: &[u8]) -> Result<Self, Problem> {
        let written: WrittenObject =
            serde_json::from_slice(json).map_err(|error| match error.classify() {
                Category::Data => Problem::bad_request("the body is no object"),
                _ => Problem::bad_request(format!(
                    "the body is no JSON: line {}, column {}",
                    error.line(),
                    error.column()
                )),
            })?;
        let mut members = BTreeMap::new();
        for (name, value) in written.0 {
            if members.insert(name, value).is_some() {
                return Err(
                    Problem::bad_request("the body has a member twice in one object")
                        .hint("Each has one value."),
                );
            }
        }
        Ok(Self(members))
    }

    /// Takes a member out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.0.remove(name)
    }

    /// True if there is none left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out a member that is a text; none where it is missing or something else.
    pub(crate) fn take_text(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?;
        match scalar(&value)? {
            JsonScalar::Text(text) => Some(text),
            _ => None,
        }
    }

    /// All of them.
    pub(crate) fn into_each(self) -> impl Iterator<Item = (String, Box<RawValue>)> {
        self.0.into_iter()
    }
}

/// The value of a member; none for a list and an object, and for a text that holds half a character (a lone surrogate).
pub(crate) fn scalar(value: &RawValue) -> Option<JsonScalar> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'n' => Some(JsonScalar::Null),
        b't' => Some(JsonScalar::Truth(true)),
        b'f' => Some(JsonScalar::Truth(false)),
        b'"' => serde_json::from_str(text).ok().map(JsonScalar::Text),
        b'-' | b'0'..=b'9' => Some(JsonScalar::Number(text.to_owned())),
        _ => None,
    }
}

/// An object as it is written, with all members that it has.
struct WrittenObject(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for WrittenObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = WrittenObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(WrittenObject(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_digits_and_none_is_there_twice() {
        let json = br#" {"a": 0.10000000000000000000000001, "b": -1e3, "c": "\u00e9", "d": true, "e": null, "f": [], "g": {"a": 1}} "#;
        let mut members = JsonMembers::read(json).unwrap();
        let mut taken = |name: &str| scalar(&members.take(name).unwrap());
        let number = |digits: &str| Some(JsonScalar::Number(digits.to_owned()));
        assert_eq!(taken("a"), number("0.10000000000000000000000001"));
        assert_eq!(taken("b"), number("-1e3"));
        assert_eq!(taken("c"), Some(JsonScalar::Text("\u{e9}".to_owned())));
        assert_eq!(taken("d"), Some(JsonScalar::Truth(true)));
        assert_eq!(taken("e"), Some(JsonScalar::Null));
        assert_eq!((taken("f"), taken("g")), (None, None));
        assert!(members.is_empty());
        for (wrong, said) in [
            (r#"{"a": 1, "a": 1}"#, "twice"),
            (r#"{"a": 1, "b": 2, "\u0061": 3}"#, "twice"),
            ("[]", "no object"),
            ("\"a\"", "no object"),
            ("1", "no object"),
            ("", "no JSON"),
            ("{", "no JSON"),
            ("{} {}", "no JSON"),
            (r#"{"a": 01}"#, "no JSON"),
        ] {
            let refused = JsonMembers::read(wrong.as_bytes()).unwrap_err();
            assert!(
                format!("{refused:?}").contains(said),
                "{wrong}: {refused:?}"
            );
        }
    }
}
