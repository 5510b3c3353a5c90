//! Signatures of what clients are given and bring back: cursors of lists, tickets of queries.
//!
//! Invariant: the key is the project's, derived for one purpose: every server of a project reads what another signed, nobody else signs anything, and what was signed for one
//! purpose is not good for another.

use crate::problem::Problem;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tillhouse_model::PseudonymKey;

/// Bytes of a signature.
const SIGNATURE: usize = 32;

/// Signer of bytes, and reader of those that it signed.
#[derive(Clone)]
pub(crate) struct Signer(Hmac<Sha256>);

impl Signer {
    /// A signer with a project's key, for a purpose.
    pub(crate) fn new(key: &PseudonymKey, purpose: &str) -> Result<Self, Problem> {
        let key = key.derived_key(purpose);
        let signer = Hmac::new_from_slice(&key).map(Self);
        signer.map_err(|error| Problem::internal(format!("a key cannot be used: {error}")))
    }

    /// Puts the signature of bytes behind them.
    pub(crate) fn sign(&self, bytes: &mut Vec<u8>) {
        let signature = self.0.clone().chain_update(&*bytes).finalize();
        bytes.extend_from_slice(&signature.into_bytes());
    }

    /// The bytes before a signature that is theirs; `None` where it is not.
    pub(crate) fn signed<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (signed, signature) = bytes.split_last_chunk::<SIGNATURE>()?;
        let found = self.0.clone().chain_update(signed);
        found.verify_slice(signature).ok()?;
        Some(signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::Secret;

    #[test]
    fn what_was_changed_or_signed_for_something_else_is_refused() {
        let key = |text: &str| PseudonymKey::parse(&Secret::new(text.repeat(32))).unwrap();
        let signer = |text: &str, purpose: &str| Signer::new(&key(text), purpose).unwrap();
        let mut bytes = b"asked".to_vec();
        signer("ab", "one").sign(&mut bytes);
        assert_eq!(signer("ab", "one").signed(&bytes), Some(&b"asked"[..]));
        assert_eq!(signer("ab", "other").signed(&bytes), None);
        assert_eq!(signer("cd", "one").signed(&bytes), None);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(signer("ab", "one").signed(&changed), None, "{at}");
        }
        assert_eq!(signer("ab", "one").signed(b"asked"), None);
    }
}
