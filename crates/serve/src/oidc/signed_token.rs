//! Signed tokens: JSON Web Signatures in their compact form (RFC 7515), as far as a bearer token has it.
//!
//! Invariant: an algorithm that is not one of the three asymmetric ones, and a header that asks for an extension, make a token unreadable: no key is ever tried on it.

use super::OidcFault;
use crate::base64::from_base64url;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Bytes of a token, at most.
const MOST_BYTES: usize = 16 << 10;
/// Types of tokens that are taken: an id token's, an access token's (RFC 9068), and none said. Tokens for other ends have types of their own.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// Algorithm of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenAlgorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl TokenAlgorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            // The second is the name that RFC 9864 gives it.
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// Header of a token. A member that is there twice is an error.
#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    /// Extensions that have to be understood; there is none that is.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// A token that has been read, and whose signature nobody has looked at yet.
pub(super) struct SignedToken<'a> {
    pub(super) algorithm: TokenAlgorithm,
    /// Name of the key, where the token says one.
    pub(super) key_id: Option<String>,
    /// Text that is signed: header and claims as they were sent.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
    /// Claims, JSON.
    pub(super) claims: Vec<u8>,
}

/// True for a text in three parts, which none of this server's own tokens is.
pub(crate) fn is_signed_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'a> SignedToken<'a> {
    /// Errors where the text is no token, or one of a kind that is not taken.
    pub(super) fn parse(text: &'a str) -> Result<Self, OidcFault> {
        let unreadable = || OidcFault::Refused("the token cannot be read");
        if text.len() > MOST_BYTES || !is_signed_token(text) {
            return Err(unreadable());
        }
        let (signed, signature) = text.rsplit_once('.').ok_or_else(unreadable)?;
        let (header, claims) = signed.split_once('.').ok_or_else(unreadable)?;
        let part = |part: &str| from_base64url(part).ok_or_else(unreadable);
        let (header, claims, signature) = (part(header)?, part(claims)?, part(signature)?);
        let header: TokenHeader = serde_json::from_slice(&header).map_err(|_| unreadable())?;
        let typ = header.typ.map(|typ| typ.to_ascii_lowercase());
        let is_taken = typ.is_none_or(|typ| TYPES.contains(&typ.as_str()));
        if header.crit.is_some() || !is_taken {
            return Err(OidcFault::Refused(
                "the token is of a kind that is not taken",
            ));
        }
        let algorithm = TokenAlgorithm::named(&header.alg).ok_or(OidcFault::Refused(
            "the token is not signed with RS256, ES256 or EdDSA",
        ))?;
        Ok(Self {
            algorithm,
            key_id: header.kid,
            signed,
            signature,
            claims,
        })
    }
}
