//! Names of tenants as a configuration gives them: a list, or one text with commas, which fits into an environment variable.
//!
//! Invariant: names that pass [`NameList::check`] are distinct, and each can stand as one segment of a path.

use crate::origin;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::HashSet;
use std::fmt;
use tillhouse_model::{Error, ProblemList, Result};

/// Checks that a text was written at all. `key` names it in the error, which is of kind [`tillhouse_model::ErrorKind::Config`].
pub fn not_blank(key: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        Err(Error::config(format!("{key} is empty")))
    } else {
        Ok(())
    }
}

/// List of names, written `[A, B]` or `A, B`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameList(Vec<String>);

impl NameList {
    /// Checks that they can be asked for, and tells all that cannot. `key` names them in the error, which is of kind [`tillhouse_model::ErrorKind::Config`].
    pub fn check(&self, key: &str) -> Result<()> {
        let (mut seen, mut told) = (HashSet::new(), HashSet::new());
        let mut problems = ProblemList::default();
        for name in &self.0 {
            if name.trim() != name || origin::path_segment(name).is_err() {
                problems.0.push(Error::config(format!("{key}: {name:?} is not a name"))
                    .hint("List the names as the provider gave them, [A, B], or write one text with commas."));
            } else if !seen.insert(name) && told.insert(name) {
                problems.0.push(
                    Error::config(format!("{key} names {name:?} twice"))
                        .hint("Keep one of the two."),
                );
            }
        }
        problems.or(Some(()))
    }

    /// Names in the order in which they were written.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// The names themselves.
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }

    fn split(text: &str) -> Self {
        Self(
            text.split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }
}

impl<'de> Deserialize<'de> for NameList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameListVisitor)
    }
}

/// Visitor of both forms of a list of names.
struct NameListVisitor;

impl<'de> Visitor<'de> for NameListVisitor {
    type Value = NameList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names, or one text with commas")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<NameList, E> {
        Ok(NameList::split(value))
    }

    // A single name of digits reads as a number.
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<NameList, E> {
        Ok(NameList(vec![value.to_string()]))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<NameList, E> {
        Ok(NameList(vec![value.to_string()]))
    }

    // A variable that is empty.
    fn visit_unit<E: de::Error>(self) -> Result<NameList, E> {
        Ok(NameList::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NameList, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = seq.next_element::<String>()? {
            names.push(name);
        }
        Ok(NameList(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Vec<String> {
        serde_json::from_str::<NameList>(json).unwrap().into_vec()
    }

    #[test]
    fn lists_and_texts_are_names() {
        assert_eq!(read(r#"["a","b, c"]"#), ["a", "b, c"]);
        assert_eq!(read(r#""a, b,,c ,""#), ["a", "b", "c"]);
        assert_eq!(read("42"), ["42"]);
        for none in [r#""""#, "[]", "null"] {
            assert!(read(none).is_empty(), "{none}");
        }
        assert!(
            serde_json::from_str::<NameList>("{}")
                .unwrap_err()
                .to_string()
                .contains("a list of names")
        );
    }

    #[test]
    fn names_that_cannot_be_asked_for_are_shown() {
        let told = |json: &str| {
            serde_json::from_str::<NameList>(json)
                .unwrap()
                .check("connection.accounts")
        };
        assert!(told(r#"["a","b/c","ü"]"#).is_ok());
        for (json, why) in [
            (r#"["a",""]"#, r#"connection.accounts: "" is not a name"#),
            (r#"["a "]"#, r#"connection.accounts: "a " is not a name"#),
            (r#"[".."]"#, r#"connection.accounts: ".." is not a name"#),
            (r#""a,b,a,a""#, r#"connection.accounts names "a" twice"#),
            (
                r#"["a","",".."]"#,
                r#"2 problems: connection.accounts: "" is not a name; connection.accounts: ".." is not a name"#,
            ),
        ] {
            assert_eq!(told(json).unwrap_err().to_string(), why);
        }
    }
}
