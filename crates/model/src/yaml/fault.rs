//! Faults of a YAML file, in the words of those who write it.
//!
//! Invariant: a fault has a place, from 1, unless it comes from a value that stands in no file.

use super::node::FileLocation;
use crate::blank::is_blank_char;
use crate::did_you_mean::nearest;
use serde::de::{self, Expected, Unexpected};
use std::fmt;

/// Error in a YAML file: what is wrong, where, and below which keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlFault {
    /// Kind of fault.
    pub what: YamlFaultKind,
    /// Its place.
    pub at: FileLocation,
    /// The keys that lead there, the outermost last.
    path: Vec<String>,
}

/// Kind of an error in a YAML file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum YamlFaultKind {
    /// A key that nobody knows, and those that are known.
    UnknownKey {
        /// The key as it is written.
        key: String,
        /// Keys that may stand there.
        known: Vec<&'static str>,
    },
    /// A key that is needed.
    MissingKey(String),
    /// A value of another kind than is wanted.
    Wrong {
        /// Expected kind of value.
        expected: String,
        /// Value found, without the text of anything that could be a secret.
        found: String,
        /// Keys that may stand there, where a section of known keys is wanted.
        known: Vec<&'static str>,
    },
    /// A word that is none of those which have a meaning there.
    UnknownWord {
        /// The word as it is written.
        word: String,
        /// Words that have a meaning.
        known: Vec<&'static str>,
    },
    /// The file is not YAML, or more than is read here; and what to do about it.
    Syntax {
        /// Message.
        text: String,
        /// Advice.
        hint: &'static str,
    },
    /// Whatever the type that read the value says.
    Custom(String),
}

impl YamlFault {
    pub(crate) fn new(what: YamlFaultKind) -> Self {
        Self {
            what,
            at: FileLocation::UNKNOWN,
            path: Vec::new(),
        }
    }

    pub(crate) fn wrong(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(YamlFaultKind::Wrong {
            expected: expected.into(),
            found: found.into(),
            known: Vec::new(),
        })
    }

    /// The fault of a value in whose place a section of these keys is wanted.
    pub(crate) fn in_place_of_section(found: &str, keys: &[&'static str]) -> Self {
        Self::new(YamlFaultKind::Wrong {
            expected: "keys and values".to_owned(),
            found: found.to_owned(),
            known: keys.to_vec(),
        })
    }

    /// The fault at a place, unless a closer one is known.
    #[must_use]
    pub(crate) fn at(mut self, at: FileLocation) -> Self {
        if self.at == FileLocation::UNKNOWN {
            self.at = at;
        }
        self
    }

    /// The fault below a key, or below a place in a list.
    #[must_use]
    pub fn below(mut self, key: impl Into<String>) -> Self {
        self.path.push(key.into());
        self
    }

    /// The keys that lead to the value, from the outermost; the last is the unknown or the missing key itself.
    pub fn path(&self) -> Vec<&str> {
        self.path.iter().rev().map(String::as_str).collect()
    }

    /// The keys that lead to the value, like `sync.start` and `resources[2]`; empty for the file as a whole.
    pub fn key(&self) -> String {
        joined(&self.path())
    }

    /// One sentence that says what is wrong, where `of_file` is what the file as a whole is called.
    pub fn message(&self, of_file: &str) -> String {
        let (key, keys) = (self.key(), self.path());
        // A type that reads its keys by itself does not say which of them it was at.
        let above = match (&self.what, keys.split_last()) {
            (YamlFaultKind::UnknownKey { key, .. }, Some((last, above))) if last == key => {
                joined(above)
            }
            _ => joined(&keys),
        };
        let within = if above.is_empty() {
            String::new()
        } else {
            format!(" in `{above}`")
        };
        let whole = if key.is_empty() {
            of_file.to_owned()
        } else {
            format!("`{key}`")
        };
        match &self.what {
            YamlFaultKind::UnknownKey { key, known } => {
                let (near, key) = (
                    nearest(crate::blank::trim(key), known),
                    with_blanks_shown(key),
                );
                match near {
                    Some(near) if key.contains('\\') => {
                        format!(
                            "unknown key `{key}`{within}: a character that nobody sees stands in `{near}`"
                        )
                    }
                    Some(near) => format!("unknown key `{key}`{within}; did you mean `{near}`?"),
                    None => format!("unknown key `{key}`{within}; expected {}", one_of(known)),
                }
            }
            YamlFaultKind::MissingKey(key) => format!(
                "the key `{}` is missing",
                joined(&[&keys[..], &[key]].concat())
            ),
            YamlFaultKind::Wrong {
                expected, found, ..
            } => {
                format!("{whole}: expected {expected}, found {found}")
            }
            YamlFaultKind::UnknownWord { word, known } => match nearest(word, known) {
                Some(near) => format!("{whole}: `{word}` is not known; did you mean `{near}`?"),
                None => format!("{whole}: `{word}` is not known; expected {}", one_of(known)),
            },
            YamlFaultKind::Syntax { text, .. } => text.clone(),
            YamlFaultKind::Custom(text) if key.is_empty() => text.clone(),
            YamlFaultKind::Custom(text) => format!("{whole}: {text}"),
        }
    }

    /// Advice, where it does not depend on the key.
    pub fn hint(&self) -> Option<String> {
        match &self.what {
            YamlFaultKind::Syntax { hint, .. } => Some((*hint).to_owned()),
            YamlFaultKind::UnknownKey { known, .. } | YamlFaultKind::Wrong { known, .. }
                if !known.is_empty() =>
            {
                Some(format!("Keys that may stand there: {}.", known.join(", ")))
            }
            YamlFaultKind::UnknownWord { known, .. } if !known.is_empty() => {
                Some(format!("Write one of {}.", known.join(", ")))
            }
            _ => None,
        }
    }

    /// Keys that are known there too, for an unknown one among those of the value that was read.
    #[must_use]
    pub fn with_known_keys(mut self, more: &[&'static str]) -> Self {
        if let (YamlFaultKind::UnknownKey { key, known }, [one]) =
            (&mut self.what, self.path.as_slice())
            && one == key
        {
            known.extend(more);
        }
        self
    }
}

/// `a.b[1].c`.
pub(super) fn joined<K: AsRef<str>>(keys: &[K]) -> String {
    keys.iter()
        .map(AsRef::as_ref)
        .fold(String::new(), |path, key| {
            match path.is_empty() || key.starts_with('[') {
                true => path + key,
                false => format!("{path}.{key}"),
            }
        })
}

/// A key in which blanks of other scripts, and what nobody sees, are escapes: `\u{a0}url` is not `url`.
fn with_blanks_shown(key: &str) -> String {
    let is_unseen = |c: char| c != ' ' && is_blank_char(c);
    key.chars()
        .fold(String::with_capacity(key.len()), |mut shown, c| {
            if is_unseen(c) {
                shown.extend(c.escape_unicode())
            } else {
                shown.push(c)
            }
            shown
        })
}

/// `a, b or c`, each in backticks.
pub(crate) fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => format!("`{one}`"),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(|n| format!("`{n}`")).collect();
            format!("{} or `{last}`", most.join(", "))
        }
    }
}

impl fmt::Display for YamlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message("the file"))
    }
}

impl std::error::Error for YamlFault {}

/// Kind of value that one of serde's visitors was given.
fn kind_of(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "a text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map => "keys and values",
        _ => "something else",
    }
}

/// Expectation of serde's own visitors in words for people; ours stay as they are.
fn wanted(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "a string" | "string" | "a character" => "a text".into(),
        "a boolean" => "true or false".into(),
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => {
            "a whole number that is not negative".into()
        }
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "unit" | "option" => "nothing".into(),
        "a sequence" => "a list".into(),
        "a map" => "keys and values".into(),
        _ if text.starts_with("struct ") || text.starts_with("enum ") => "keys and values".into(),
        _ if text.starts_with("tuple ") || text.starts_with("a tuple ") => "a list".into(),
        _ => text,
    }
}

impl de::Error for YamlFault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(YamlFaultKind::Custom(text.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong(wanted(expected), kind_of(found))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong(wanted(expected), kind_of(found))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::wrong(wanted(expected), format!("{length} entries"))
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::new(YamlFaultKind::UnknownWord {
            word: word.to_owned(),
            known: known.to_vec(),
        })
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(YamlFaultKind::UnknownKey {
            key: key.to_owned(),
            known: known.to_vec(),
        })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(YamlFaultKind::MissingKey(key.to_owned()))
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::new(YamlFaultKind::Custom(format!(
            "the key `{key}` stands here twice"
        )))
    }
}
