//! The tree of a YAML document: what stands where, each scalar with the text that was written.
//!
//! Invariant: keys are texts, each once in its map; anchors and merge keys are resolved; every node has a place, from 1.

use super::fault::YamlFault;
use super::syntax::{self, RefusedText};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use std::fmt;

/// Line and column in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileLocation {
    line: u64,
    column: u64,
}

impl FileLocation {
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
        Self {
            line: at.line(),
            column: at.column(),
        }
    }
}

/// Value and its place in a YAML document.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlNode {
    /// Its place; for an alias, the alias's own.
    pub at: FileLocation,
    /// Place of its definition: elsewhere for an alias.
    pub defined: FileLocation,
    /// Content.
    pub content: YamlContent,
    /// Text as written, if variables in it were replaced.
    pub written: Option<String>,
    /// True if readers pass over it, since what is wrong with it is reported already: where it is wanted, it counts neither as there nor as missing.
    pub absent: bool,
}

/// Content of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum YamlContent {
    /// One value.
    Scalar {
        /// The text that was written.
        text: String,
        /// Value where no type is asked for.
        plain: YamlScalar,
    },
    /// A list.
    List(Vec<YamlNode>),
    /// Keys and values.
    Map(Vec<YamlEntry>),
}

/// Type and value of a scalar by YAML's own rules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum YamlScalar {
    /// No value.
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

/// Key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlEntry {
    /// The key.
    pub key: String,
    /// Place of the key.
    pub at: FileLocation,
    /// The value.
    pub value: YamlNode,
}

impl YamlNode {
    /// Parses a document. A byte order mark before it does not count.
    ///
    /// Errors where it is not YAML, or more than one document.
    pub fn parse(text: &str) -> Result<Self, YamlFault> {
        Self::parse_with(text, true)
    }

    /// Parses a document in which `yes`, `no`, `on` and `off` are booleans too, as YAML 1.1 has them.
    ///
    /// Errors as [`YamlNode::parse`] does.
    pub fn parse_lenient(text: &str) -> Result<Self, YamlFault> {
        Self::parse_with(text, false)
    }

    fn parse_with(text: &str, strict_booleans: bool) -> Result<Self, YamlFault> {
        let (root, faults) = Self::parse_recovering(text, strict_booleans);
        match (root, faults.into_iter().next()) {
            (_, Some(fault)) => Err(fault),
            (Some(root), None) => Ok(root),
            (None, None) => Err(YamlFault::wrong("a document", "nothing")),
        }
    }

    /// Parses a document in which keys may stand more than once.
    pub(super) fn parse_once(text: &str, strict_booleans: bool) -> Result<Self, RefusedText> {
        if text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
        {
            let scalar = YamlContent::Scalar {
                text: String::new(),
                plain: YamlScalar::Null,
            };
            let at = FileLocation::new(1, 1);
            return Ok(Self {
                at,
                defined: at,
                content: scalar,
                written: None,
                absent: false,
            });
        }
        if let Some(fault) = syntax::unprintable(text) {
            return Err(RefusedText { fault, token: None });
        }
        let options = || {
            serde_saphyr::options! {
                with_snippet: false, strict_booleans: strict_booleans, reject_unsupported_tags: true,
                duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough
            }
        };
        let first: serde_saphyr::Spanned<RawYamlNode> =
            serde_saphyr::from_str_with_options(text, options())
                .map_err(|error| syntax::fault(&error, text))?;
        let mut node = Self::of(first);
        if let Some(refused) = syntax::obeyed_tag(&node, text) {
            return Err(refused);
        }
        let exact =
            |inner: serde_saphyr::Deserializer<'_, '_>| ScalarTexts(&mut node).deserialize(inner);
        // A text that was read once is read again; were it not, the texts would be those of the values.
        let _ = serde_saphyr::with_deserializer_from_str_with_options(text, options(), exact);
        Ok(node)
    }

    fn of(first: serde_saphyr::Spanned<RawYamlNode>) -> Self {
        let scalar = |text: String, plain| YamlContent::Scalar { text, plain };
        let content = match first.value {
            RawYamlNode::Null => scalar(String::new(), YamlScalar::Null),
            RawYamlNode::Bool(value) => scalar(value.to_string(), YamlScalar::Bool(value)),
            RawYamlNode::Unsigned(value) => scalar(value.to_string(), YamlScalar::Unsigned(value)),
            RawYamlNode::Signed(value) => scalar(value.to_string(), YamlScalar::Signed(value)),
            RawYamlNode::Float(value) => scalar(value.to_string(), YamlScalar::Float(value)),
            RawYamlNode::Text(text) => scalar(text, YamlScalar::Text),
            RawYamlNode::List(elements) => {
                YamlContent::List(elements.into_iter().map(Self::of).collect())
            }
            RawYamlNode::Map(entries) => {
                let entry = |(key, value): (serde_saphyr::Spanned<String>, _)| YamlEntry {
                    at: FileLocation::of(key.referenced),
                    key: key.value,
                    value: Self::of(value),
                };
                YamlContent::Map(entries.into_iter().map(entry).collect())
            }
        };
        let (at, defined) = (
            FileLocation::of(first.referenced),
            FileLocation::of(first.defined),
        );
        Self {
            at,
            defined,
            content,
            written: None,
            absent: false,
        }
    }

    /// A map of one key.
    pub fn single_entry(entry: YamlEntry) -> Self {
        Self {
            at: entry.at,
            defined: entry.at,
            content: YamlContent::Map(vec![entry]),
            written: None,
            absent: false,
        }
    }

    /// The value under a key, unless readers pass over it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            YamlContent::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| &entry.value)
                .filter(|value| !value.absent),
            _ => None,
        }
    }

    /// Takes a key and its value out.
    pub fn take(&mut self, key: &str) -> Option<YamlEntry> {
        match &mut self.content {
            YamlContent::Map(entries) => {
                let at = entries.iter().position(|entry| entry.key == key)?;
                Some(entries.remove(at))
            }
            _ => None,
        }
    }

    /// The node that a fault's path leads to; in it `[2]` is the second of a list.
    pub fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| match &node.content {
            YamlContent::List(elements) => elements.get(index(key)?),
            YamlContent::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == *key)
                .map(|entry| &entry.value),
            YamlContent::Scalar { .. } => None,
        })
    }

    /// The node that a path leads to, to change it.
    pub(super) fn find_mut(&mut self, path: &[String]) -> Option<&mut Self> {
        path.iter()
            .try_fold(self, |node, key| match &mut node.content {
                YamlContent::List(elements) => elements.get_mut(index(key)?),
                YamlContent::Map(entries) => entries
                    .iter_mut()
                    .find(|entry| entry.key == *key)
                    .map(|entry| &mut entry.value),
                YamlContent::Scalar { .. } => None,
            })
    }

    /// Calls `each` with every scalar and the keys that lead to it, in order.
    pub fn scalars<'n>(&'n self, each: &mut dyn FnMut(&[String], &'n Self)) {
        fn walk<'n>(
            node: &'n YamlNode,
            path: &mut Vec<String>,
            each: &mut dyn FnMut(&[String], &'n YamlNode),
        ) {
            match &node.content {
                YamlContent::Scalar { .. } => each(path, node),
                YamlContent::List(elements) => elements
                    .iter()
                    .for_each(|element| walk(element, path, each)),
                YamlContent::Map(entries) => {
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
            YamlContent::Scalar { .. } => each(self),
            YamlContent::List(elements) => elements
                .iter_mut()
                .for_each(|element| element.scalars_mut(each)),
            YamlContent::Map(entries) => entries
                .iter_mut()
                .for_each(|entry| entry.value.scalars_mut(each)),
        }
    }

    /// The text, where it is one value and not nothing.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            YamlContent::Scalar {
                plain: YamlScalar::Null,
                ..
            }
            | YamlContent::List(_)
            | YamlContent::Map(_) => None,
            YamlContent::Scalar { text, .. } => Some(text),
        }
    }

    /// True if nothing stands there.
    pub fn is_null(&self) -> bool {
        matches!(
            self.content,
            YamlContent::Scalar {
                plain: YamlScalar::Null,
                ..
            }
        )
    }
}

/// The index that a path's `[2]` means.
fn index(key: &str) -> Option<usize> {
    key.strip_prefix('[')?
        .strip_suffix(']')?
        .parse::<usize>()
        .ok()?
        .checked_sub(1)
}

/// Node as the library reads it.
enum RawYamlNode {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<serde_saphyr::Spanned<RawYamlNode>>),
    Map(
        Vec<(
            serde_saphyr::Spanned<String>,
            serde_saphyr::Spanned<RawYamlNode>,
        )>,
    ),
}

impl<'de> Deserialize<'de> for RawYamlNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawYamlVisitor)
    }
}

/// Visitor of any node.
struct RawYamlVisitor;

impl<'de> Visitor<'de> for RawYamlVisitor {
    type Value = RawYamlNode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<RawYamlNode, E> {
        Ok(RawYamlNode::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawYamlNode, E> {
        Ok(RawYamlNode::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<RawYamlNode, E> {
        Ok(u64::try_from(value).map_or(RawYamlNode::Signed(value), RawYamlNode::Unsigned))
    }

    fn visit_u64<E>(self, value: u64) -> Result<RawYamlNode, E> {
        Ok(RawYamlNode::Unsigned(value))
    }

    fn visit_i128<E>(self, value: i128) -> Result<RawYamlNode, E> {
        Ok(RawYamlNode::Text(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<RawYamlNode, E> {
        Ok(RawYamlNode::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<RawYamlNode, E> {
        Ok(RawYamlNode::Float(value))
    }

    fn visit_unit<E>(self) -> Result<RawYamlNode, E> {
        Ok(RawYamlNode::Null)
    }

    fn visit_none<E>(self) -> Result<RawYamlNode, E> {
        Ok(RawYamlNode::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<RawYamlNode, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(RawYamlNode::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawYamlNode, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(RawYamlNode::Map(map))
    }
}

/// Second reading of a document, which puts the written text into the scalars of its tree: `1e5`
/// is a number and a text.
struct ScalarTexts<'n>(&'n mut YamlNode);

impl<'de> DeserializeSeed<'de> for ScalarTexts<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match &self.0.content {
            YamlContent::Scalar {
                plain: YamlScalar::Null,
                ..
            } => IgnoredAny::deserialize(deserializer).map(drop),
            YamlContent::Scalar { .. } => {
                let written = String::deserialize(deserializer)?;
                if let YamlContent::Scalar { text, .. } = &mut self.0.content {
                    *text = written;
                }
                Ok(())
            }
            YamlContent::List(_) => deserializer.deserialize_seq(self),
            YamlContent::Map(_) => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for ScalarTexts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was there before")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut read: A) -> Result<(), A::Error> {
        if let YamlContent::List(elements) = &mut self.0.content {
            for element in elements {
                read.next_element_seed(ScalarTexts(element))?;
            }
        }
        read.next_element::<IgnoredAny>().map(drop)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut read: A) -> Result<(), A::Error> {
        if let YamlContent::Map(entries) = &mut self.0.content {
            for entry in entries {
                if read.next_key::<String>()?.as_ref() != Some(&entry.key) {
                    return Err(de::Error::custom("the keys come in another order"));
                }
                read.next_value_seed(ScalarTexts(&mut entry.value))?;
            }
        }
        read.next_key::<IgnoredAny>().map(drop)
    }
}
