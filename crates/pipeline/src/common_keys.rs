//! The keys that the `connection` of every source has, read beside those of the source's own.
//!
//! Invariant: a source's own type never sees a common key, so that it can refuse what it does not know; a source that comes later has the
//! common keys without a line for them.
//!
//! Rejected: `#[serde(flatten)]`, under which no type can refuse unknown keys, and errors lose their line.

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use std::fmt;
use std::marker::PhantomData;
use tillhouse_extract::MediaTypes;

/// The one common key so far: media types that JSON may come under.
const ACCEPT_MEDIA_TYPES: &str = "accept_media_types";

/// A `connection` as it is written.
pub(crate) struct ConnectionWritten<C> {
    /// The source's own keys.
    pub(crate) own: C,
    /// See [`tillhouse_extract::Limits::accept_media_types`].
    pub(crate) accept_media_types: MediaTypes,
}

impl<'de, C: Deserialize<'de>> Deserialize<'de> for ConnectionWritten<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut common = None;
        let own = C::deserialize(Without { inner: deserializer, common: &mut common })?;
        Ok(Self { own, accept_media_types: common.unwrap_or_default() })
    }
}

/// What it wraps, without the common keys, whose values it puts aside.
struct Without<'c, T> {
    inner: T,
    common: &'c mut Option<MediaTypes>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Without<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(Without { inner: visitor, common: self.common })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_struct(name, fields, Without { inner: visitor, common: self.common })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Without<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Without { inner: map, common: self.common })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Without<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let mut seed = Some(seed);
        loop {
            match self.inner.next_key_seed(Key { seed: &mut seed, read: PhantomData })? {
                None => return Ok(None),
                Some(Some(own)) => return Ok(Some(own)),
                Some(None) if self.common.is_some() => return Err(de::Error::duplicate_field(ACCEPT_MEDIA_TYPES)),
                Some(None) => *self.common = Some(self.inner.next_value()?),
            }
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.next_value_seed(seed)
    }
}

/// A key: `None` for a common one. The seed is used up by one of the source's own.
struct Key<'s, K, T> {
    seed: &'s mut Option<K>,
    read: PhantomData<T>,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, K, K::Value> {
    type Value = Option<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for Key<'_, K, K::Value> {
    type Value = Option<K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        if key == ACCEPT_MEDIA_TYPES {
            return Ok(None);
        }
        let seed = self.seed.take().ok_or_else(|| E::custom("a key was read twice"))?;
        seed.deserialize(key.into_deserializer()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Environment, YamlFile};
    use tillhouse_extract::Credential;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Own {
        name: String,
        #[serde(default)]
        secret: Option<Credential>,
        #[serde(default)]
        port: u16,
    }

    #[derive(Deserialize)]
    struct File {
        connection: ConnectionWritten<Own>,
    }

    fn parse(text: &str) -> tillhouse_model::Result<ConnectionWritten<Own>> {
        let environment = Environment::of([("NAME".into(), "x: y".into())]);
        let file = YamlFile { path: "pipeline.yaml".into(), text: text.into(), environment: Some(environment) };
        file.parse::<File>().map(|file| file.connection)
    }

    #[test]
    fn common_keys_stand_anywhere_among_a_sources_own() {
        for text in [
            "connection:\n  accept_media_types: [text/plain]\n  name: ${NAME}\n  secret: { file: /x }\n",
            "connection: { name: 'x: y', accept_media_types: [ Text/Plain ], secret: { command: [a] } }",
            "connection:\n  name: \"x: y\"\n  secret: z\n  accept_media_types:\n    - text/plain\n",
        ] {
            let written = parse(text).unwrap();
            assert_eq!((written.own.name.as_str(), written.own.port), ("x: y", 0));
            assert!(written.own.secret.is_some());
            assert_eq!(written.accept_media_types, MediaTypes::new(["text/plain"]).unwrap());
        }
        assert_eq!(parse("connection: { name: x }").unwrap().accept_media_types, MediaTypes::default());
    }

    #[test]
    fn mistakes_still_point_at_their_place() {
        for (text, message, place) in [
            ("connection:\n  name: x\n  nmae: y\n", "unknown field `nmae`", ":3:"),
            ("connection:\n  name: x\n  port: many\n", "", ":3:"),
            ("connection:\n  name: x\n  accept_media_types: [plain]\n", "write it like text/plain", ":3:"),
            ("connection:\n  name: x\n  accept_media_types: 7\n", "", ":3:"),
            ("connection:\n  port: 1\n", "missing field `name`", ":"),
            ("connection: 7\n", "", ":1:"),
        ] {
            let error = parse(text).err().unwrap().to_string();
            assert!(error.contains(message) && error.contains(&format!("pipeline.yaml{place}")), "{text}{error}");
        }
    }
}
