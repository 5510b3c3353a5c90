//! Tokens that clients were given for their credentials.
//!
//! Invariant: a token is random, lives in the memory of this process alone, and is good until it expires. What is kept is its digest; credentials are compared by their
//! digests, so that the time of a refusal tells nothing of them. Nothing here is printed.

use crate::options::LoginCredentials;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time for which a client's token is good.
pub(crate) const GOOD_FOR: Duration = Duration::from_secs(3600);
/// Most tokens that live at once. Where one more is given, the oldest of the same owner goes, else the oldest of all: whoever logs in for ever logs nobody else out.
const MOST: usize = 4_096;

type TokenDigest = [u8; 32];

/// Owner of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenOwner {
    pub(crate) name: String,
    /// Digest of the user as it was when the token was given: one whose rights or password changed since is another. None for a client that is no user.
    pub(crate) fingerprint: Option<u64>,
}

/// A token that is good until it expires.
struct LivingToken {
    given: Instant,
    owner: TokenOwner,
}

/// Tokens that were given.
pub(crate) struct ClientTokens {
    good_for: Duration,
    living: Mutex<HashMap<TokenDigest, LivingToken>>,
}

impl Default for ClientTokens {
    fn default() -> Self {
        Self::good_for(GOOD_FOR)
    }
}

/// An access token, and the one that HecOne's answer has beside it.
pub(crate) struct TokenPair {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl ClientTokens {
    /// Tokens that are good for so long.
    pub(crate) fn good_for(good_for: Duration) -> Self {
        Self {
            good_for,
            living: Mutex::default(),
        }
    }

    /// Gives a token at a moment.
    pub(crate) fn give(&self, now: Instant, owner: TokenOwner) -> TokenPair {
        let pair = TokenPair {
            access: random(),
            refresh: random(),
        };
        let mut living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        living.retain(|_, token| now.duration_since(token.given) < self.good_for);
        if living.len() >= MOST {
            let is_others = |token: &LivingToken| token.owner.name != owner.name;
            let oldest = living
                .iter()
                .min_by_key(|(_, token)| (is_others(token), token.given))
                .map(|(digest, _)| *digest);
            oldest.and_then(|oldest| living.remove(&oldest));
        }
        living.insert(digest(&pair.access), LivingToken { given: now, owner });
        pair
    }

    /// Owner of the token of an `Authorization` header, if it is good at a moment.
    pub(crate) fn owner(&self, header: Option<&str>, now: Instant) -> Option<TokenOwner> {
        let (scheme, token) = header?.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        self.owner_of(token.trim(), now)
    }

    /// Owner of a token, if it is good at a moment.
    pub(crate) fn owner_of(&self, token: &str, now: Instant) -> Option<TokenOwner> {
        let living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        let found = living.get(&digest(token))?;
        let is_good = now.duration_since(found.given) < self.good_for;
        is_good.then(|| found.owner.clone())
    }

    /// Ends a token.
    pub(crate) fn end(&self, token: &str) {
        let mut living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        living.remove(&digest(token));
    }
}

/// True if these are the credentials.
pub(crate) fn are_right(known: &LoginCredentials, client_id: &str, secret: &str) -> bool {
    let is_name = digest(&known.client_id) == digest(client_id);
    let is_secret = digest(known.client_secret.expose().trim_end()) == digest(secret);
    is_name & is_secret
}

fn digest(text: &str) -> TokenDigest {
    Sha256::digest(text.as_bytes()).into()
}

/// 256 random bits, as text.
fn random() -> String {
    let bits: [u8; 32] = rand::random();
    bits.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::Secret;

    fn till() -> TokenOwner {
        TokenOwner {
            name: "till".to_owned(),
            fingerprint: None,
        }
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let tokens = ClientTokens::default();
        let now = Instant::now();
        let pair = tokens.give(now, till());
        let header = format!("Bearer {}", pair.access);
        assert_eq!(tokens.owner(Some(&header), now), Some(till()));
        assert_eq!(
            tokens.owner(Some(&header.to_lowercase()), now + GOOD_FOR / 2),
            Some(till())
        );
        assert!(tokens.owner(Some(&header), now + GOOD_FOR).is_none());
        let refresh = format!("Bearer {}", pair.refresh);
        let basic = format!("Basic {}", pair.access);
        for wrong in [
            None,
            Some(""),
            Some("Bearer"),
            Some(refresh.as_str()),
            Some(basic.as_str()),
        ] {
            assert!(tokens.owner(wrong, now).is_none(), "{wrong:?}");
        }
        assert_eq!(pair.access.len(), 64);
        assert_ne!(pair.access, tokens.give(now, till()).access);
    }

    #[test]
    fn a_session_ends_by_its_time_and_by_its_owner() {
        let sessions = ClientTokens::good_for(Duration::from_secs(60));
        let now = Instant::now();
        let [first, second] = [0, 1].map(|_| sessions.give(now, till()).access);
        let last = now + Duration::from_secs(59);
        assert_eq!(sessions.owner_of(&first, last), Some(till()));
        sessions.end(&first);
        assert_eq!(sessions.owner_of(&first, last), None);
        assert_eq!(sessions.owner_of(&second, last), Some(till()));
        assert_eq!(
            sessions.owner_of(&second, last + Duration::from_secs(1)),
            None
        );
    }

    #[test]
    fn no_more_tokens_live_than_may() {
        let tokens = ClientTokens::default();
        let start = Instant::now();
        let first = tokens.give(start, till());
        for number in 0..MOST {
            tokens.give(start + Duration::from_millis(1 + number as u64), till());
        }
        let later = start + Duration::from_secs(60);
        let first = format!("Bearer {}", first.access);
        assert!(tokens.owner(Some(&first), later).is_none());
        assert_eq!(tokens.living.lock().unwrap().len(), MOST);
    }

    #[test]
    fn credentials_are_right_together_or_not_at_all() {
        let known = LoginCredentials {
            client_id: "till".to_owned(),
            client_secret: Secret::new("s3cret\n"),
        };
        assert!(are_right(&known, "till", "s3cret"));
        for (id, secret) in [
            ("till", "s3cre"),
            ("tills", "s3cret"),
            ("", ""),
            ("till", ""),
        ] {
            assert!(!are_right(&known, id, secret));
        }
    }
}
