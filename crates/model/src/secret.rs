//! A value that nobody can print.
//!
//! Invariant: no `Debug`, `Display` or `Serialize` of a [`Secret`] ever shows what is inside; only [`Secret::expose`] does,
//! and a reader can search for every call of it.
//!
//! ```compile_fail
//! let secret = tillhouse_model::Secret::new("s3cr3t");
//! println!("{secret}"); // `Secret` has no `Display`
//! ```
//!
//! ```compile_fail
//! let secret = tillhouse_model::Secret::new("s3cr3t");
//! serde_json::to_string(&secret).unwrap(); // `Secret` has no `Serialize`
//! ```

use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// A password, token or key. Wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    /// The value itself, for the one place that has to send it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(***)");
    }
}
