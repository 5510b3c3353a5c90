//! Pseudonyms: how a personal value becomes a token that can be counted and joined, but not read back.
//!
//! Invariant: the same value under the same key always gives the same token, whatever its spelling; without the key nobody
//! can test a guess. Plate numbers are guessable, hence HMAC-SHA256 and never a plain hash.

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::table::Normalise;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The project's key for pseudonyms.
#[derive(Clone)]
pub struct PseudonymKey {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey(***)")
    }
}

impl PseudonymKey {
    /// Reads a key of at least 32 hexadecimal digits (128 bits), as `tillhouse init` writes it.
    ///
    /// Errors with [`crate::ErrorKind::Config`]; the message never holds the key.
    pub fn parse(secret: &Secret) -> Result<Self> {
        let bad = || {
            Error::config("privacy_key must be at least 32 hexadecimal digits")
                .hint("`tillhouse init` writes a fresh one into .env; or make one with `openssl rand -hex 32`.")
        };
        let text = secret.expose().trim();
        if text.len() < 32 || !text.len().is_multiple_of(2) || !text.is_ascii() {
            return Err(bad());
        }
        let bytes: Option<Vec<u8>> =
            (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect();
        let mac = Hmac::new_from_slice(&bytes.ok_or_else(bad)?).map_err(|_| bad())?;
        Ok(Self { mac })
    }

    /// Appends the pseudonym of `value` to `out`: `hmac1:` and 64 hexadecimal digits.
    pub fn write(&self, how: Normalise, value: &str, out: &mut String) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut mac = self.mac.clone();
        mac.update(normalise(how, value).as_bytes());
        out.push_str("hmac1:");
        for byte in mac.finalize().into_bytes() {
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }

    /// The pseudonym of `value`.
    pub fn pseudonym(&self, how: Normalise, value: &str) -> String {
        let mut out = String::with_capacity(70);
        self.write(how, value, &mut out);
        out
    }
}

/// Brings a value into the form that is hashed.
pub fn normalise(how: Normalise, value: &str) -> String {
    let kept = |extra: &[char]| -> String {
        value.chars().filter(|c| c.is_alphanumeric() || extra.contains(c)).flat_map(char::to_uppercase).collect()
    };
    match how {
        Normalise::Text => value.trim().to_owned(),
        Normalise::Plate => kept(&[]),
        Normalise::Email => value.trim().to_lowercase(),
        Normalise::Card => kept(&['*']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hex: &str) -> PseudonymKey {
        PseudonymKey::parse(&Secret::new(hex)).unwrap()
    }

    #[test]
    fn spellings_of_one_plate_meet_and_keys_part() {
        let (a, b) = (key(&"ab".repeat(32)), key(&"cd".repeat(32)));
        let token = a.pseudonym(Normalise::Plate, "KA-XY 1");
        assert_eq!(token, a.pseudonym(Normalise::Plate, "kaxy1"));
        assert_ne!(token, b.pseudonym(Normalise::Plate, "kaxy1"));
        assert!(token.starts_with("hmac1:") && token.len() == 70, "{token}");
    }

    #[test]
    fn a_bad_key_is_refused_without_being_shown() {
        let error = PseudonymKey::parse(&Secret::new("hunter2")).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
