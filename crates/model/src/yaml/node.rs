//! The tree of a YAML document: what stands where, each scalar with the text that was written.
//!
//! Invariant: keys are texts, each once in its map; anchors and merge keys are resolved; every node has a place, from 1.

use super::fault::Fault;
use super::syntax;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use std::collections::HashSet;
use std::fmt;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    line: u64,
    column: u64,
}

impl Location {
    /// No place at all.
    pub const UNKNOWN: Self = Self { line: 0, column: 0 };

    /// A place; both from 1.
    pub const fn new(line: u64, column: u64) -> Self {
        Self { line, column }
    }

    /// The line, from 1.
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// The column, from 1.
    pub const fn column(&self) -> u64 {
        self.column
    }

    pub(super) fn of(at: serde_saphyr::Location) -> Self {
        Self { line: at.line(), column: at.column() }
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands; for an alias where that stands.
    pub at: Location,
    /// Where it is defined: elsewhere for an alias.
    pub defined: Location,
    /// What it is.
    pub content: Content,
    /// What was written, where variables stood in it that are replaced by now.
    pub written: Option<String>,
    /// True if readers pass over it, since what is wrong with it is told already: where it is wanted, it counts neither as there nor as missing.
    pub absent: bool,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// One value.
    Scalar {
        /// The text that was written.
        text: String,
        /// What it is where nobody wants a certain type.
        plain: Plain,
    },
    /// A list.
    List(Vec<Node>),
    /// Keys and values.
    Map(Vec<Entry>),
}

/// What YAML takes a scalar for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plain {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Unsigned(u64),
    /// A whole number below zero.
    Signed(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text,
}

/// One key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: Location,
    /// The value.
    pub value: Node,
}

impl Node {
    /// Parses a document. A byte order mark before it does not count.
    ///
    /// Errors where it is not YAML, or more than one document.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        Self::parse_with(text, true)
    }

    /// Parses a document in which `yes`, `no`, `on` and `off` are booleans too, as YAML 1.1 has them.
    ///
    /// Errors as [`Node::parse`] does.
    pub fn parse_lenient(text: &str) -> Result<Self, Fault> {
        Self::parse_with(text, false)
    }

    fn parse_with(text: &str, strict_booleans: bool) -> Result<Self, Fault> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            let scalar = Content::Scalar { text: String::new(), plain: Plain::Null };
            let at = Location::new(1, 1);
            return Ok(Self { at, defined: at, content: scalar, written: None, absent: false });
        }
        if let Some(fault) = syntax::unprintable(text) {
            return Err(fault);
        }
        let options = || {
            serde_saphyr::options! {
                with_snippet: false, strict_booleans: strict_booleans, reject_unsupported_tags: true
            }
        };
        let first: serde_saphyr::Spanned<First> =
            serde_saphyr::from_str_with_options(text, options()).map_err(|error| syntax::fault(&error, text))?;
        let mut node = Self::of(first);
        let exact = |inner: serde_saphyr::Deserializer<'_, '_>| Texts(&mut node).deserialize(inner);
        // What was read once is read again; were it not, the texts would be those of the values.
        let _ = serde_saphyr::with_deserializer_from_str_with_options(text, options(), exact);
        match node.twice() {
            Some(entry) => Err(syntax::twice(&entry.key, entry.at)),
            None => Ok(node),
        }
    }

    fn of(first: serde_saphyr::Spanned<First>) -> Self {
        let scalar = |text: String, plain| Content::Scalar { text, plain };
        let content = match first.value {
            First::Null => scalar(String::new(), Plain::Null),
            First::Bool(value) => scalar(value.to_string(), Plain::Bool(value)),
            First::Unsigned(value) => scalar(value.to_string(), Plain::Unsigned(value)),
            First::Signed(value) => scalar(value.to_string(), Plain::Signed(value)),
            First::Float(value) => scalar(value.to_string(), Plain::Float(value)),
            First::Text(text) => scalar(text, Plain::Text),
            First::List(elements) => Content::List(elements.into_iter().map(Self::of).collect()),
            First::Map(entries) => {
                let entry = |(key, value): (serde_saphyr::Spanned<String>, _)| Entry {
                    at: Location::of(key.referenced),
                    key: key.value,
                    value: Self::of(value),
                };
                Content::Map(entries.into_iter().map(entry).collect())
            }
        };
        let (at, defined) = (Location::of(first.referenced), Location::of(first.defined));
        Self { at, defined, content, written: None, absent: false }
    }

    /// The first entry, in the order of the text, whose key stands in its map before: `1` and `"1"` are one.
    fn twice(&self) -> Option<&Entry> {
        match &self.content {
            Content::Scalar { .. } => None,
            Content::List(elements) => elements.iter().find_map(Self::twice),
            Content::Map(entries) => {
                let mut seen = HashSet::new();
                entries.iter().find_map(|entry| if seen.insert(&entry.key) { entry.value.twice() } else { Some(entry) })
            }
        }
    }

    /// A map of one key.
    pub fn of_one(entry: Entry) -> Self {
        Self { at: entry.at, defined: entry.at, content: Content::Map(vec![entry]), written: None, absent: false }
    }

    /// The value under a key, unless readers pass over it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Map(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value).filter(|value| !value.absent)
            }
            _ => None,
        }
    }

    /// Takes a key and its value out.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        match &mut self.content {
            Content::Map(entries) => {
                let at = entries.iter().position(|entry| entry.key == key)?;
                Some(entries.remove(at))
            }
            _ => None,
        }
    }

    /// The node that a fault's path leads to; in it `[2]` is the second of a list.
    pub fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| match &node.content {
            Content::List(elements) => elements.get(index(key)?),
            Content::Map(entries) => entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.value),
            Content::Scalar { .. } => None,
        })
    }

    /// The node that a path leads to, to change it.
    pub(super) fn find_mut(&mut self, path: &[String]) -> Option<&mut Self> {
        path.iter().try_fold(self, |node, key| match &mut node.content {
            Content::List(elements) => elements.get_mut(index(key)?),
            Content::Map(entries) => entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value),
            Content::Scalar { .. } => None,
        })
    }

    /// Calls `each` with every scalar and the keys that lead to it, in order.
    pub fn scalars<'n>(&'n self, each: &mut dyn FnMut(&[String], &'n Self)) {
        fn walk<'n>(node: &'n Node, path: &mut Vec<String>, each: &mut dyn FnMut(&[String], &'n Node)) {
            match &node.content {
                Content::Scalar { .. } => each(path, node),
                Content::List(elements) => elements.iter().for_each(|element| walk(element, path, each)),
                Content::Map(entries) => {
                    for entry in entries {
                        path.push(entry.key.clone());
                        walk(&entry.value, path, each);
                        path.pop();
                    }
                }
            }
        }
        walk(self, &mut Vec::new(), each);
    }

    /// Calls `each` with every scalar's node, to change it.
    pub fn scalars_mut(&mut self, each: &mut dyn FnMut(&mut Self)) {
        match &mut self.content {
            Content::Scalar { .. } => each(self),
            Content::List(elements) => elements.iter_mut().for_each(|element| element.scalars_mut(each)),
            Content::Map(entries) => entries.iter_mut().for_each(|entry| entry.value.scalars_mut(each)),
        }
    }

    /// The text, where it is one value and not nothing.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { plain: Plain::Null, .. } | Content::List(_) | Content::Map(_) => None,
            Content::Scalar { text, .. } => Some(text),
        }
    }

    /// True if nothing stands there.
    pub fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar { plain: Plain::Null, .. })
    }
}

/// The index that a path's `[2]` means.
fn index(key: &str) -> Option<usize> {
    key.strip_prefix('[')?.strip_suffix(']')?.parse::<usize>().ok()?.checked_sub(1)
}

/// A node as the library reads it.
enum First {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<serde_saphyr::Spanned<First>>),
    Map(Vec<(serde_saphyr::Spanned<String>, serde_saphyr::Spanned<First>)>),
}

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = First;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<First, E> {
        Ok(First::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<First, E> {
        Ok(First::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<First, E> {
        Ok(u64::try_from(value).map_or(First::Signed(value), First::Unsigned))
    }

    fn visit_u64<E>(self, value: u64) -> Result<First, E> {
        Ok(First::Unsigned(value))
    }

    fn visit_i128<E>(self, value: i128) -> Result<First, E> {
        Ok(First::Text(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<First, E> {
        Ok(First::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<First, E> {
        Ok(First::Float(value))
    }

    fn visit_unit<E>(self) -> Result<First, E> {
        Ok(First::Null)
    }

    fn visit_none<E>(self) -> Result<First, E> {
        Ok(First::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<First, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(First::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<First, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(First::Map(map))
    }
}

/// Reads a document again, to put into the scalars of its tree what was written: `1e5` is a number and a text.
struct Texts<'n>(&'n mut Node);

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match &self.0.content {
            Content::Scalar { plain: Plain::Null, .. } => IgnoredAny::deserialize(deserializer).map(drop),
            Content::Scalar { .. } => {
                let written = String::deserialize(deserializer)?;
                if let Content::Scalar { text, .. } = &mut self.0.content {
                    *text = written;
                }
                Ok(())
            }
            Content::List(_) => deserializer.deserialize_seq(self),
            Content::Map(_) => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was there before")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut read: A) -> Result<(), A::Error> {
        if let Content::List(elements) = &mut self.0.content {
            for element in elements {
                read.next_element_seed(Texts(element))?;
            }
        }
        read.next_element::<IgnoredAny>().map(drop)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut read: A) -> Result<(), A::Error> {
        if let Content::Map(entries) = &mut self.0.content {
            for entry in entries {
                if read.next_key::<String>()?.as_ref() != Some(&entry.key) {
                    return Err(de::Error::custom("the keys come in another order"));
                }
                read.next_value_seed(Texts(&mut entry.value))?;
            }
        }
        read.next_key::<IgnoredAny>().map(drop)
    }
}
