//! A serde deserializer that replaces the variables in the texts of another one.
//!
//! Invariant: what is replaced is the value of one scalar, after the YAML around it was parsed, and it stays a text: only where the
//! schema asks for a number or a boolean is it read as one. Keys are left as they are.

use crate::variables;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use std::collections::HashMap;
use std::fmt;

/// What variables stand for; `None` where a document has none, and `${` is text like any other.
type Values<'a> = Option<&'a HashMap<String, String>>;

/// A deserializer, or any other part of one, whose texts are replaced.
pub(crate) struct Interpolated<'a, T> {
    pub(crate) inner: T,
    pub(crate) values: Values<'a>,
}

impl<'a, T> Interpolated<'a, T> {
    fn with<U>(&self, inner: U) -> Interpolated<'a, U> {
        Interpolated { inner, values: self.values }
    }

    /// The text with its variables replaced; `None` where it has none.
    fn replaced<E: Error>(&self, text: &str) -> Result<Option<String>, E> {
        let Some(values) = self.values.filter(|_| text.contains('$')) else {
            return Ok(None);
        };
        let lookup = |name: &str| values.get(name).map(String::as_str);
        variables::replace(text, &lookup).map(Some).map_err(|_| E::custom("a variable cannot be replaced"))
    }
}

macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let visitor = self.with(visitor);
            self.inner.$method($($argument,)* visitor)
        })*
    };
}

macro_rules! typed {
    ($($method:ident $wanted:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            let visitor = Typed { text: self.with(visitor), wanted: Wanted::$wanted };
            self.inner.deserialize_any(visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Interpolated<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any() deserialize_char() deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_seq() deserialize_map() deserialize_identifier()
        deserialize_i128() deserialize_u128()
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    typed! {
        deserialize_bool Boolean
        deserialize_i8 Integer deserialize_i16 Integer deserialize_i32 Integer deserialize_i64 Integer
        deserialize_u8 Integer deserialize_u16 Integer deserialize_u32 Integer deserialize_u64 Integer
        deserialize_f32 Number deserialize_f64 Number
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_unit(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_ignored_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! pass {
    ($($method:ident($type:ty))*) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<Self::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Interpolated<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    pass! {
        visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_i128(i128) visit_u128(u128) visit_f64(f64) visit_char(char)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        match self.replaced(text)? {
            Some(text) => self.inner.visit_string(text),
            None => self.inner.visit_str(text),
        }
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<V::Value, E> {
        match self.replaced(text)? {
            Some(text) => self.inner.visit_string(text),
            None => self.inner.visit_borrowed_str(text),
        }
    }

    fn visit_string<E: Error>(self, text: String) -> Result<V::Value, E> {
        let replaced = self.replaced(&text)?;
        self.inner.visit_string(replaced.unwrap_or(text))
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.visit_some(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.visit_newtype_struct(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        let elements = self.with(elements);
        self.inner.visit_seq(elements)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let entries = self.with(entries);
        self.inner.visit_map(entries)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let variant = self.with(variant);
        self.inner.visit_enum(variant)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Interpolated<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.deserialize(deserializer)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Interpolated<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.with(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Interpolated<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'a, A: EnumAccess<'de>> EnumAccess<'de> for Interpolated<'a, A> {
    type Error = A::Error;
    type Variant = Interpolated<'a, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let values = self.values;
        let (value, variant) = self.inner.variant_seed(Interpolated { inner: seed, values })?;
        Ok((value, Interpolated { inner: variant, values }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Interpolated<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Boolean,
    Integer,
    Number,
}

/// Hands a text on as what the schema wants it to be.
struct Typed<'a, V> {
    text: Interpolated<'a, V>,
    wanted: Wanted,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Typed<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.expecting(f)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<V::Value, E> {
        self.text.inner.visit_bool(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        self.text.inner.visit_i64(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.text.inner.visit_u64(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        self.text.inner.visit_f64(value)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.text.inner.visit_unit()
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        let replaced = self.text.replaced(text)?;
        let text = replaced.as_deref().unwrap_or(text).trim();
        let visitor = self.text.inner;
        match self.wanted {
            Wanted::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "y" => return visitor.visit_bool(true),
                "false" | "no" | "off" | "n" => return visitor.visit_bool(false),
                _ => {}
            },
            Wanted::Integer | Wanted::Number => {
                if let Ok(number) = text.parse::<u64>() {
                    return visitor.visit_u64(number);
                }
                if let Ok(number) = text.parse::<i64>() {
                    return visitor.visit_i64(number);
                }
                if let (Wanted::Number, Some(number)) = (self.wanted, text.parse().ok().filter(|n: &f64| n.is_finite()))
                {
                    return visitor.visit_f64(number);
                }
            }
        }
        // The text itself may be a secret that went to the wrong key.
        Err(E::invalid_type(Unexpected::Other("a text"), &visitor))
    }
}
