//! serde's deserializer over a [`YamlNode`].
//!
//! Invariant: where a text is wanted, any scalar is one, as it was written; where a number or a boolean is wanted, a text that reads as one is
//! one too, since what a variable holds is always a text.

use super::fault::{YamlFault, YamlFaultKind};
use super::node::{FileLocation, YamlContent, YamlEntry, YamlNode, YamlScalar};
use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use std::fmt;
use std::marker::PhantomData;

/// serde deserializer over a node.
#[derive(Debug, Clone, Copy)]
pub struct NodeDeserializer<'n>(pub &'n YamlNode);

impl YamlNode {
    /// Reads it as whatever is wanted of it.
    pub fn read<'n, T: Deserialize<'n>>(&'n self) -> Result<T, YamlFault> {
        T::deserialize(NodeDeserializer(self))
    }

    /// Kind of content, for an error. A text is not quoted: it may be a secret that went to the
    /// wrong key.
    fn kind(&self) -> &'static str {
        match &self.content {
            YamlContent::Scalar {
                plain: YamlScalar::Null,
                ..
            } => "nothing",
            YamlContent::Scalar {
                plain: YamlScalar::Bool(_),
                ..
            } => "true or false",
            YamlContent::Scalar {
                plain: YamlScalar::Text,
                ..
            } => "a text",
            YamlContent::Scalar { .. } => "a number",
            YamlContent::List(_) => "a list",
            YamlContent::Map(_) => "keys and values",
        }
    }

    /// Content where one short word is wanted, which may be quoted: as it was written, variables
    /// not replaced.
    fn shown(&self) -> String {
        match &self.content {
            YamlContent::Scalar { plain, text } if *plain != YamlScalar::Null => {
                let written = self.written.as_ref().unwrap_or(text);
                let cut: String = written.chars().take(30).collect();
                if cut.len() < written.len() {
                    format!("{cut:?}...")
                } else {
                    format!("{cut:?}")
                }
            }
            _ => self.kind().to_owned(),
        }
    }

    fn expected(&self, what: &str) -> YamlFault {
        YamlFault::wrong(what, self.kind()).at(self.at)
    }

    fn expected_word(&self, what: impl Into<String>) -> YamlFault {
        YamlFault::wrong(what, self.shown()).at(self.at)
    }

    fn boolean(&self) -> Option<bool> {
        match &self.content {
            YamlContent::Scalar {
                plain: YamlScalar::Bool(value),
                ..
            } => Some(*value),
            // The value of a variable is always a text.
            YamlContent::Scalar {
                plain: YamlScalar::Text,
                text,
            } if self.written.is_some() => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "y" => Some(true),
                "false" | "no" | "off" | "n" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    fn integer(&self) -> Option<i128> {
        match &self.content {
            YamlContent::Scalar {
                plain: YamlScalar::Unsigned(value),
                ..
            } => Some(i128::from(*value)),
            YamlContent::Scalar {
                plain: YamlScalar::Signed(value),
                ..
            } => Some(i128::from(*value)),
            YamlContent::Scalar {
                plain: YamlScalar::Text,
                text,
            } => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match &self.content {
            YamlContent::Scalar {
                plain: YamlScalar::Float(value),
                ..
            } => Some(*value),
            YamlContent::Scalar {
                plain: YamlScalar::Text,
                text,
            } => text.trim().parse().ok(),
            #[expect(clippy::cast_precision_loss, reason = "a float is wanted")]
            _ => self.integer().map(|value| value as f64),
        }
        .filter(|value| value.is_finite())
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
            let value = self.0.integer().and_then(|value| <$type>::try_from(value).ok());
            let value = value.ok_or_else(|| self.0.expected_word(
                if <$type>::MIN == 0 && self.0.integer().is_some_and(|value| value > 0) {
                    format!("a whole number up to {}", <$type>::MAX)
                } else if <$type>::MIN == 0 {
                    "a whole number that is not negative".to_owned()
                } else {
                    "a whole number".to_owned()
                },
            ))?;
            visitor.$visit(value).map_err(|fault: YamlFault| fault.at(self.0.at))
        })*
    };
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = YamlFault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        match &self.0.content {
            YamlContent::Scalar {
                plain: YamlScalar::Null,
                ..
            } => visitor.visit_unit(),
            YamlContent::Scalar {
                plain: YamlScalar::Bool(value),
                ..
            } => visitor.visit_bool(*value),
            YamlContent::Scalar {
                plain: YamlScalar::Unsigned(value),
                ..
            } => visitor.visit_u64(*value),
            YamlContent::Scalar {
                plain: YamlScalar::Signed(value),
                ..
            } => visitor.visit_i64(*value),
            YamlContent::Scalar {
                plain: YamlScalar::Float(value),
                ..
            } => visitor.visit_f64(*value),
            YamlContent::Scalar {
                plain: YamlScalar::Text,
                text,
            } => visitor.visit_borrowed_str(text),
            YamlContent::List(elements) => visitor.visit_seq(NodeElements { elements, next: 0 }),
            YamlContent::Map(entries) => visitor.visit_map(NodeEntries { entries, next: 0 }),
        }
        .map_err(|fault: YamlFault| fault.at(self.0.at))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        let value = self
            .0
            .boolean()
            .ok_or_else(|| self.0.expected_word("true or false"))?;
        visitor
            .visit_bool(value)
            .map_err(|fault: YamlFault| fault.at(self.0.at))
    }

    integers! {
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        let value = self
            .0
            .number()
            .ok_or_else(|| self.0.expected_word("a number"))?;
        visitor
            .visit_f64(value)
            .map_err(|fault: YamlFault| fault.at(self.0.at))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        let text = self.0.text().ok_or_else(|| self.0.expected("a text"))?;
        visitor
            .visit_borrowed_str(text)
            .map_err(|fault: YamlFault| fault.at(self.0.at))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        if self.0.is_null() {
            visitor.visit_unit()
        } else {
            Err(self.0.expected("nothing"))
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, YamlFault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, YamlFault> {
        if name == SPANNED {
            return visitor.visit_seq(SpannedParts {
                node: self.0,
                next: 0,
            });
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        let elements: &[YamlNode] = match &self.0.content {
            YamlContent::List(elements) => elements,
            // A key with nothing behind it: whoever took the entries out left an empty list.
            _ if self.0.is_null() => &[],
            _ => return Err(self.0.expected("a list")),
        };
        visitor
            .visit_seq(NodeElements { elements, next: 0 })
            .map_err(|fault: YamlFault| fault.at(self.0.at))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, YamlFault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, YamlFault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        let entries: &[YamlEntry] = match &self.0.content {
            YamlContent::Map(entries) => entries,
            _ if self.0.is_null() => &[],
            _ => return Err(self.0.expected("keys and values")),
        };
        visitor
            .visit_map(NodeEntries { entries, next: 0 })
            .map_err(|fault: YamlFault| fault.at(self.0.at))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlFault> {
        if !matches!(self.0.content, YamlContent::Map(_)) && !self.0.is_null() {
            return Err(YamlFault::in_place_of_section(self.0.kind(), known).at(self.0.at));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlFault> {
        let variant = match &self.0.content {
            YamlContent::Map(entries) => match entries.as_slice() {
                [one] if !one.value.absent => NodeVariant {
                    name: &one.key,
                    content: Some(&one.value),
                },
                _ => return Err(self.0.expected(&format!("one key of {}", known.join(", ")))),
            },
            _ => match self.0.text() {
                Some(text) if known.contains(&text.trim()) => NodeVariant {
                    name: text.trim(),
                    content: None,
                },
                // As it was written: what a variable holds is not shown.
                Some(text) if known.is_empty() => NodeVariant {
                    name: text,
                    content: None,
                },
                Some(text) => {
                    let word = self.0.written.as_deref().unwrap_or(text);
                    let word = word.chars().take(30).collect();
                    return Err(YamlFault::new(YamlFaultKind::UnknownWord {
                        word,
                        known: known.to_vec(),
                    })
                    .at(self.0.at));
                }
                None => return Err(self.0.expected(&format!("one of {}", known.join(", ")))),
            },
        };
        visitor
            .visit_enum(variant)
            .map_err(|fault: YamlFault| fault.at(self.0.at))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        visitor.visit_unit()
    }
}

impl<'de> IntoDeserializer<'de, YamlFault> for NodeDeserializer<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// serde access to the elements of a list.
struct NodeElements<'n> {
    elements: &'n [YamlNode],
    next: usize,
}

impl<'de> SeqAccess<'de> for NodeElements<'de> {
    type Error = YamlFault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, YamlFault> {
        let rest = self.elements.get(self.next..).unwrap_or_default();
        let Some(ahead) = rest.iter().position(|element| !element.absent) else {
            return Ok(None);
        };
        let element = &rest[ahead];
        // The place in the list, those that are passed over counted.
        self.next += ahead + 1;
        let read = seed.deserialize(NodeDeserializer(element));
        read.map(Some)
            .map_err(|fault| fault.at(element.at).below(format!("[{}]", self.next)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(
            self.elements
                .iter()
                .skip(self.next)
                .filter(|element| !element.absent)
                .count(),
        )
    }
}

/// serde access to the entries of a map.
struct NodeEntries<'n> {
    entries: &'n [YamlEntry],
    next: usize,
}

impl<'de> MapAccess<'de> for NodeEntries<'de> {
    type Error = YamlFault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, YamlFault> {
        let rest = self.entries.get(self.next..).unwrap_or_default();
        let Some(ahead) = rest.iter().position(|entry| !entry.value.absent) else {
            return Ok(None);
        };
        self.next += ahead;
        let entry = &rest[ahead];
        let key: StrDeserializer<'_, YamlFault> = entry.key.as_str().into_deserializer();
        seed.deserialize(MapKey(key))
            .map(Some)
            .map_err(|fault| fault.at(entry.at).below(&entry.key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, YamlFault> {
        let entry = self
            .entries
            .get(self.next)
            .ok_or_else(|| YamlFault::custom("a value without its key"))?;
        self.next += 1;
        seed.deserialize(NodeDeserializer(&entry.value))
            .map_err(|fault| fault.at(entry.value.at).below(&entry.key))
    }
}

/// Key of a map: a text, and a number or a boolean where one is wanted.
struct MapKey<'k>(StrDeserializer<'k, YamlFault>);

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
            let text = <String as Deserialize>::deserialize(self.0)?;
            match text.trim().parse::<$type>() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(YamlFault::wrong("a number as the key", format!("{text:?}"))),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for MapKey<'_> {
    type Error = YamlFault;

    parsed! {
        deserialize_i8 visit_i8 i8 deserialize_i16 visit_i16 i16 deserialize_i32 visit_i32 i32 deserialize_i64 visit_i64 i64
        deserialize_u8 visit_u8 u8 deserialize_u16 visit_u16 u16 deserialize_u32 visit_u32 u32 deserialize_u64 visit_u64 u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, YamlFault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlFault> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlFault> {
        self.0.deserialize_enum(name, known, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

/// Variant of an enum: its name, and its content where it has some.
struct NodeVariant<'n> {
    name: &'n str,
    content: Option<&'n YamlNode>,
}

impl<'de> EnumAccess<'de> for NodeVariant<'de> {
    type Error = YamlFault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), YamlFault> {
        let name: StrDeserializer<'_, YamlFault> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> NodeVariant<'de> {
    fn content(&self) -> Result<NodeDeserializer<'de>, YamlFault> {
        self.content
            .map(NodeDeserializer)
            .ok_or_else(|| YamlFault::wrong(format!("a value behind `{}`", self.name), "nothing"))
    }
}

impl<'de> VariantAccess<'de> for NodeVariant<'de> {
    type Error = YamlFault;

    fn unit_variant(self) -> Result<(), YamlFault> {
        match self.content.filter(|content| !content.is_null()) {
            None => Ok(()),
            Some(content) => Err(content.expected("nothing").below(self.name)),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, YamlFault> {
        seed.deserialize(self.content()?)
            .map_err(|fault| fault.below(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, YamlFault> {
        self.content()?
            .deserialize_seq(visitor)
            .map_err(|fault| fault.below(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlFault> {
        self.content()?
            .deserialize_map(visitor)
            .map_err(|fault| fault.below(self.name))
    }
}

/// The name by which [`NodeDeserializer`] knows that a place is wanted too.
const SPANNED: &str = "tillhouse::yaml::Spanned";

/// A value with its place; the place is [`FileLocation::UNKNOWN`] where it does not come from a [`NodeDeserializer`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub referenced: FileLocation,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(SPANNED, SpannedVisitor(PhantomData))
    }
}

struct SpannedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SpannedVisitor<T> {
    type Value = Spanned<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Spanned<T>, D::Error> {
        Ok(Spanned {
            value: T::deserialize(deserializer)?,
            referenced: FileLocation::UNKNOWN,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Spanned<T>, A::Error> {
        let missing = || A::Error::custom("a value without its place");
        let line = parts.next_element()?.ok_or_else(missing)?;
        let column = parts.next_element()?.ok_or_else(missing)?;
        let value = parts.next_element()?.ok_or_else(missing)?;
        Ok(Spanned {
            value,
            referenced: FileLocation::new(line, column),
        })
    }
}

/// Line, column and value of a node, one after the other.
struct SpannedParts<'n> {
    node: &'n YamlNode,
    next: usize,
}

impl<'de> SeqAccess<'de> for SpannedParts<'de> {
    type Error = YamlFault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, YamlFault> {
        self.next += 1;
        match self.next {
            1 => seed
                .deserialize(self.node.at.line().into_deserializer())
                .map(Some),
            2 => seed
                .deserialize(self.node.at.column().into_deserializer())
                .map(Some),
            3 => seed.deserialize(NodeDeserializer(self.node)).map(Some),
            _ => Ok(None),
        }
    }
}
