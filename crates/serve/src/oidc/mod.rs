//! Bearer tokens of an OpenID Connect provider: whose token it is that somebody sends.
//!
//! Invariant: a token is somebody's where a key that its provider has now signed it, by the key's own algorithm, for this server and for this moment, and where the configured
//! claim is the name of a user. Claims are read after the signature, and no error quotes one.
//!
//! ```text
//!   signed_token: header and signature ─ provider: discovery document, keys ─ key_set: one key, one algorithm ─ claims: issuer, audience, time ─ name of a user
//! ```
//!
//! Rejected: `jsonwebtoken`, which refuses a whole set of keys for one of a kind that it does not know, keeps its provider of cryptography in a global, and brings features of
//! `aws-lc-rs` along that nobody else needs; what it does beside that is two small files here. Signatures are `ring`'s, as those of TLS. Rejected too: tokens that only their
//! provider can read, each of which would be a request to it.

mod key_set;
mod provider;
mod signed_token;

pub(crate) use signed_token::is_signed_token;

use crate::options::OidcOptions;
use provider::Provider;
use serde_json::{Map, Value};
use signed_token::SignedToken;
use std::sync::Arc;
use tillhouse_model::Result;

/// Seconds by which the clocks of this machine and of the provider may differ.
const CLOCK_SKEW: i64 = 60;

/// Reason why a token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OidcFault {
    /// The token is not good; in words for its sender.
    Refused(&'static str),
    /// The provider's keys are not known, and it does not answer.
    Unavailable,
}

/// Verifier of one provider's tokens.
pub(crate) struct OidcVerifier {
    options: OidcOptions,
    provider: Arc<Provider>,
}

impl OidcVerifier {
    /// A verifier that has asked the provider nothing yet.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] for an issuer that cannot be one.
    pub(crate) fn new(options: &OidcOptions) -> Result<Self> {
        Ok(Self {
            options: options.clone(),
            provider: Arc::new(Provider::new(&options.issuer)?),
        })
    }

    /// The name that the owner of a token has among the users, if there is such a user; `now` in seconds since 1970.
    pub(crate) async fn name(
        &self,
        token: &str,
        now: i64,
    ) -> std::result::Result<String, OidcFault> {
        let token = SignedToken::parse(token)?;
        self.provider.check(&token).await?;
        self.name_in(&token.claims, now).map_err(OidcFault::Refused)
    }

    /// The name in claims whose signature is good.
    fn name_in(&self, claims: &[u8], now: i64) -> std::result::Result<String, &'static str> {
        let claims: Map<String, Value> =
            serde_json::from_slice(claims).map_err(|_| "the token's claims cannot be read")?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(self.options.issuer.as_str()) {
            return Err("the token is of another issuer");
        }
        if !is_for(claims.get("aud"), &self.options.audience) {
            return Err("the token is for another audience");
        }
        let expires = claims.get("exp").and_then(seconds);
        let expires = expires.ok_or("the token does not say until when it is good")?;
        if expires.saturating_add(CLOCK_SKEW) <= now {
            return Err("the token has expired");
        }
        if let Some(begins) = claims.get("nbf") {
            let begins = seconds(begins).ok_or("the token's claims cannot be read")?;
            if begins > now.saturating_add(CLOCK_SKEW) {
                return Err("the token is not good yet");
            }
        }
        // An address that its owner has not proven is anybody's.
        let claim = self.options.claim.as_str();
        if claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
            return Err("the token's e-mail address is not verified");
        }
        let name = text(claim).filter(|name| !name.is_empty());
        let name = name.ok_or("the token lacks the claim that names its user")?;
        Ok(name.to_owned())
    }
}

/// True for an audience, or a list of them, with this one in it.
fn is_for(audience: Option<&Value>, wanted: &str) -> bool {
    match audience {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(wanted)),
        _ => false,
    }
}

/// A claim that is an instant, in whole seconds since 1970.
fn seconds(claim: &Value) -> Option<i64> {
    let of_float = || {
        let text = claim.as_f64()?.floor().to_string();
        text.parse().ok()
    };
    claim.as_i64().or_else(of_float)
}

#[cfg(test)]
#[path = "oidc_tests.rs"]
mod tests;
