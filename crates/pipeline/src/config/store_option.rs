//! A value of `warehouse.options`: a plain value, or a secret's file or command.
//!
//! Invariant: whatever the value is, no error and no `Debug` of it shows it; files are read and commands run when the store is opened, and again
//! when it refuses what they gave.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tillhouse_extract::Credential;
use tillhouse_lake::{SecretReader, StoreOption};
use tillhouse_model::{Result, Secret};

/// One value, as it is written.
#[derive(Debug)]
pub(crate) struct OptionValue(Credential);

impl OptionValue {
    /// The option for the store. `name` is its key; a relative path is one below the project's folder.
    pub(crate) fn into_option(self, name: &str, dir: &Path) -> Result<StoreOption> {
        let key = format!("warehouse.options.{name}");
        self.0.check(&key)?;
        Ok(match self.0 {
            Credential::Value(value) => StoreOption::Value(value),
            Credential::File(path) => StoreOption::Read(Arc::new(CredentialReader {
                key,
                credential: Credential::File(dir.join(path)),
            })),
            credential => StoreOption::Read(Arc::new(CredentialReader { key, credential })),
        })
    }
}

/// A credential with the key it stands under.
struct CredentialReader {
    key: String,
    credential: Credential,
}

impl SecretReader for CredentialReader {
    fn read(&self) -> BoxFuture<'_, Result<Secret>> {
        self.credential.read(&self.key).boxed()
    }
}

impl<'de> Deserialize<'de> for OptionValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OptionVisitor)
    }
}

/// Visitor of a text, a number, true, false, or a credential.
struct OptionVisitor;

impl OptionVisitor {
    fn text(value: impl fmt::Display) -> OptionValue {
        OptionValue(Credential::Value(Secret::new(value.to_string())))
    }
}

impl<'de> Visitor<'de> for OptionVisitor {
    type Value = OptionValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, { file: PATH } or { command: [PROGRAM, ARGUMENT...] }")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<OptionValue, E> {
        Ok(Self::text(value))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<OptionValue, E> {
        Ok(Self::text(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<OptionValue, E> {
        Ok(Self::text(value))
    }

    // Digits of a number would be lost, and a key of digits and an `e` reads as one.
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<OptionValue, E> {
        Err(E::custom("the value reads as a number: put it in quotes"))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<OptionValue, E> {
        Err(E::custom("the value reads as a number: put it in quotes"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OptionValue, A::Error> {
        Credential::deserialize(de::value::MapAccessDeserializer::new(map)).map(OptionValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(json: &str) -> Result<StoreOption, String> {
        let value: OptionValue = serde_json::from_str(json).map_err(|error| error.to_string())?;
        value
            .into_option("account_key", Path::new("/project"))
            .map_err(|error| error.to_string())
    }

    async fn read(json: &str) -> String {
        match option(json).unwrap() {
            StoreOption::Value(value) => value.expose().to_owned(),
            StoreOption::Read(reader) => format!("read {}", reader.read().await.unwrap().expose()),
        }
    }

    #[tokio::test]
    async fn plain_values_files_and_commands_are_options() {
        assert_eq!(read("\"eu-central-1\"").await, "eu-central-1");
        assert_eq!(read("true").await, "true");
        assert_eq!(read("12").await, "12");
        assert_eq!(
            read("{\"command\":[\"echo\",\"hunter2\"]}").await,
            "read hunter2"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let json = serde_json::json!({"file": file.path()}).to_string();
        assert_eq!(read(&json).await, "read hunter2");
        for json in [
            "1.5",
            "-3",
            "\"\"",
            "{\"file\":\"\"}",
            "{\"files\":\"x\"}",
            "[\"hunter2\"]",
            "null",
        ] {
            let error = option(json).err().unwrap_or_else(|| panic!("{json}"));
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(
            option("\"\"")
                .err()
                .unwrap()
                .contains("warehouse.options.account_key")
        );
    }
}
