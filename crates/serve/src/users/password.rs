//! Passwords, as far as they are kept: an argon2id hash, and the keys of SCRAM-SHA-256 for clients of SQL.
//!
//! Invariant: neither of them tells the password, and nothing here prints either. A password is printable ASCII, since clients of SCRAM prepare other characters each in their own
//! way.

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::fmt;
use tillhouse_model::{Error, Result};

/// Characters that a password has, at least and at most.
const LENGTH: (usize, usize) = (12, 256);
/// Rounds of SCRAM's hash. A client works through them at each login; a server has its keys.
const SCRAM_ROUNDS: u32 = 16_384;
const SALT_BYTES: usize = 16;

/// Keys by which SCRAM-SHA-256 (RFC 7677) knows a password without having it.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Salt, sent to the client.
    pub salt: Vec<u8>,
    /// Rounds of the hash, sent to the client.
    pub iterations: u32,
    /// Digest of the key that the client proves to have.
    pub stored_key: [u8; 32],
    /// Key by which the server proves itself.
    pub server_key: [u8; 32],
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramVerifier(***)")
    }
}

impl ScramVerifier {
    /// The keys of a password with a salt.
    pub(crate) fn of(password: &str, salt: &[u8], iterations: u32) -> Result<Self> {
        let salted = salted_password(password, salt, iterations)?;
        let client_key = mac(&salted, &[b"Client Key"])?;
        Ok(Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: Sha256::digest(client_key).into(),
            server_key: mac(&salted, &[b"Server Key"])?,
        })
    }

    /// Keys that nobody has, for a name that nobody has: of one name always with the same salt, so that names cannot be told by asking twice.
    pub(crate) fn decoy(key: &[u8; 32], name: &str) -> Result<Self> {
        let salt = mac(key, &[b"salt", name.as_bytes()])?;
        Ok(Self {
            salt: salt.iter().take(SALT_BYTES).copied().collect(),
            iterations: SCRAM_ROUNDS,
            stored_key: mac(key, &[b"stored", name.as_bytes()])?,
            server_key: mac(key, &[b"server", name.as_bytes()])?,
        })
    }
}

/// Hash and keys of a password.
pub(crate) struct KeptPassword {
    /// In PHC's notation, with its salt and its costs.
    pub(crate) argon2id: String,
    pub(crate) scram: ScramVerifier,
}

impl KeptPassword {
    /// Errors with [`tillhouse_model::ErrorKind::Config`] for a password that is too short, too long or has other characters than it may.
    pub(crate) fn of(password: &SecretString) -> Result<Self> {
        let text = password.expose_secret();
        if !(LENGTH.0..=LENGTH.1).contains(&text.len()) {
            return Err(Error::config(format!(
                "a password has {} to {} characters",
                LENGTH.0, LENGTH.1
            )));
        }
        if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(
                Error::config("the password has characters that are not printable ASCII")
                    .hint("Clients of SQL write other characters each in their own way: use letters, digits, blanks and punctuation."),
            );
        }
        let salt: [u8; SALT_BYTES] = rand::random();
        Ok(Self {
            argon2id: argon2id(text)?,
            scram: ScramVerifier::of(text, &salt, SCRAM_ROUNDS)?,
        })
    }
}

/// The hash of a password, with a salt of its own.
pub(crate) fn argon2id(password: &str) -> Result<String> {
    let failed = |_| Error::internal("a password cannot be hashed");
    let salt: [u8; SALT_BYTES] = rand::random();
    let salt = SaltString::encode_b64(&salt).map_err(failed)?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(failed)?.to_string())
}

/// True for a hash that [`is_right`] can check.
pub(crate) fn is_hash(hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        hash.algorithm.as_str() == "argon2id" && hash.salt.is_some() && hash.hash.is_some()
    })
}

/// True if a hash is of a password.
pub(crate) fn is_right(hash: &str, password: &SecretString) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.expose_secret().as_bytes(), &hash)
            .is_ok()
    })
}

/// PBKDF2 with HMAC-SHA-256, one block: `Hi` of RFC 5802.
fn salted_password(password: &str, salt: &[u8], iterations: u32) -> Result<[u8; 32]> {
    let key = password.as_bytes();
    let mut last = mac(key, &[salt, &1_u32.to_be_bytes()])?;
    let mut sum = last;
    for _ in 1..iterations {
        last = mac(key, &[&last])?;
        for (sum, byte) in sum.iter_mut().zip(last) {
            *sum ^= byte;
        }
    }
    Ok(sum)
}

/// HMAC-SHA-256 of a message in parts.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> Result<[u8; 32]> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::internal("a key cannot be used"))?;
    for part in parts {
        mac.update(part);
    }
    Ok(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The example of RFC 7677: user `user`, password `pencil`.
    #[test]
    fn the_keys_are_those_of_the_standard() {
        let salt = [
            0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36,
            0xfa, 0x81,
        ];
        let keys = ScramVerifier::of("pencil", &salt, 4096).unwrap();
        assert_eq!(
            hex(&keys.stored_key),
            "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6"
        );
        assert_eq!(
            hex(&keys.server_key),
            "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5"
        );
        assert_eq!(format!("{keys:?}"), "ScramVerifier(***)");
    }

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let password = SecretString::from("correct horse battery".to_owned());
        let kept = KeptPassword::of(&password).unwrap();
        assert!(is_hash(&kept.argon2id));
        assert!(is_right(&kept.argon2id, &password));
        let other = SecretString::from("correct horse batterx".to_owned());
        assert!(!is_right(&kept.argon2id, &other));
        assert_ne!(kept.argon2id, argon2id("correct horse battery").unwrap());
        for wrong in [
            "",
            "plain",
            "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
        ] {
            assert!(!is_hash(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_password_that_clients_may_write_in_two_ways_is_refused() {
        for wrong in ["short", "p\u{e4}ssword of many", "tab\tin a password"] {
            let password = SecretString::from(wrong.to_owned());
            let error = KeptPassword::of(&password).err().unwrap();
            assert!(!format!("{error:?}").contains(wrong), "{error:?}");
        }
    }

    #[test]
    fn a_decoy_is_the_same_whenever_it_is_asked_for() {
        let decoy = |name: &str| ScramVerifier::decoy(&[7; 32], name).unwrap();
        assert!(decoy("a") == decoy("a"));
        assert!(decoy("a").salt != decoy("b").salt);
        assert_eq!(decoy("a").salt.len(), SALT_BYTES);
    }
}
