//! Keys of a provider of tokens: a JSON Web Key Set (RFC 7517), and signatures checked with them.
//!
//! Invariant: a key is of one algorithm, by its own type and whatever a token says: a token whose header names another is signed by no key. A key that cannot be used, or is not
//! for signatures, is passed over and takes no other with it.

use super::signed_token::{SignedToken, TokenAlgorithm};
use crate::base64::from_base64url;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;

/// Keys of a set, at most. Providers have two or three, the one before and the one to come among them.
const MOST_KEYS: usize = 64;

/// Keys that a provider signs with.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<ProviderKey>,
}

#[derive(Debug)]
struct ProviderKey {
    id: Option<String>,
    key: PublicKey,
}

#[derive(Debug)]
enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Point, uncompressed.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A set as it is written. Keys are read one by one: a kind that nobody here knows is no reason to refuse the others.
#[derive(Deserialize)]
struct WrittenSet {
    keys: Vec<serde_json::Value>,
}

/// Members of a key that are read.
#[derive(Deserialize)]
struct WrittenKey {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

impl KeySet {
    /// Keys of a document that can be used; `None` for what is no set, and for one without such a key.
    pub(super) fn read(document: &[u8]) -> Option<Self> {
        let written: WrittenSet = serde_json::from_slice(document).ok()?;
        let keys = written.keys.into_iter().take(MOST_KEYS);
        let keys: Vec<ProviderKey> = keys
            .filter_map(|key| ProviderKey::of(serde_json::from_value(key).ok()?))
            .collect();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// True if a token is signed by one of the keys: the one that it names, or any where it names none.
    pub(super) fn has_signed(&self, token: &SignedToken<'_>) -> bool {
        let wanted = token.key_id.as_ref();
        self.keys
            .iter()
            .filter(|key| wanted.is_none() || key.id.as_ref() == wanted)
            .any(|key| key.key.has_signed(token))
    }
}

impl ProviderKey {
    fn of(written: WrittenKey) -> Option<Self> {
        let is_for_signatures = written.purpose.as_deref().is_none_or(|what| what == "sig");
        let verifies = |operations: &Vec<String>| operations.iter().any(|what| what == "verify");
        if !is_for_signatures || !written.key_ops.as_ref().is_none_or(verifies) {
            return None;
        }
        let bytes = |text: &Option<String>| from_base64url(text.as_deref()?);
        let curve = written.crv.as_deref();
        let key = match (written.kty.as_str(), curve) {
            ("RSA", _) => PublicKey::Rsa {
                n: without_zeros(&bytes(&written.n)?),
                e: without_zeros(&bytes(&written.e)?),
            },
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&written.x)?, bytes(&written.y)?);
                if (x.len(), y.len()) != (32, 32) {
                    return None;
                }
                PublicKey::P256([vec![4], x, y].concat())
            }
            ("OKP", Some("Ed25519")) => {
                PublicKey::Ed25519(bytes(&written.x).filter(|x| x.len() == 32)?)
            }
            _ => return None,
        };
        let named = written.alg.as_deref().map(TokenAlgorithm::named);
        let is_its_own = named.is_none_or(|named| named == Some(key.algorithm()));
        is_its_own.then_some(Self {
            id: written.kid,
            key,
        })
    }
}

impl PublicKey {
    fn algorithm(&self) -> TokenAlgorithm {
        match self {
            Self::Rsa { .. } => TokenAlgorithm::Rs256,
            Self::P256(_) => TokenAlgorithm::Es256,
            Self::Ed25519(_) => TokenAlgorithm::EdDsa,
        }
    }

    fn has_signed(&self, token: &SignedToken<'_>) -> bool {
        if token.algorithm != self.algorithm() {
            return false;
        }
        let (signed, signature) = (token.signed.as_bytes(), token.signature.as_slice());
        let checked = match self {
            // Of 2048 to 8192 bits: shorter keys are refused.
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                signed,
                signature,
            ),
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(signed, signature),
        };
        checked.is_ok()
    }
}

fn without_zeros(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.iter().skip(zeros).copied().collect()
}
