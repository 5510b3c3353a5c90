//! Tokens of clients that speak HecOne's API.
//!
//! Invariant: a token is random, lives in the memory of this process alone, and is good until it expires. What is kept is its digest; credentials are compared by their
//! digests, so that the time of a refusal tells nothing of them. Nothing here is printed.

use crate::options::LoginCredentials;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time for which a token is good.
pub(crate) const GOOD_FOR: Duration = Duration::from_secs(3600);
/// Most tokens that live at once; the oldest goes where one more is given.
const MOST: usize = 4_096;

type TokenDigest = [u8; 32];

/// Tokens that were given.
#[derive(Default)]
pub(crate) struct ClientTokens {
    living: Mutex<HashMap<TokenDigest, Instant>>,
}

/// An access token, and the one that HecOne's answer has beside it.
pub(crate) struct TokenPair {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl ClientTokens {
    /// Gives a token at a moment.
    pub(crate) fn give(&self, now: Instant) -> TokenPair {
        let pair = TokenPair {
            access: random(),
            refresh: random(),
        };
        let mut living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        living.retain(|_, given| now.duration_since(*given) < GOOD_FOR);
        if living.len() >= MOST
            && let Some(oldest) = living
                .iter()
                .min_by_key(|(_, given)| **given)
                .map(|(digest, _)| *digest)
        {
            living.remove(&oldest);
        }
        living.insert(digest(&pair.access), now);
        pair
    }

    /// True if an `Authorization` header lets its sender in at a moment.
    pub(crate) fn admits(&self, header: Option<&str>, now: Instant) -> bool {
        let Some((scheme, token)) = header.and_then(|header| header.trim().split_once(' ')) else {
            return false;
        };
        let living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        scheme.eq_ignore_ascii_case("bearer")
            && living
                .get(&digest(token.trim()))
                .is_some_and(|given| now.duration_since(*given) < GOOD_FOR)
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

    #[test]
    fn a_token_is_good_until_it_expires() {
        let tokens = ClientTokens::default();
        let now = Instant::now();
        let pair = tokens.give(now);
        let header = format!("Bearer {}", pair.access);
        assert!(tokens.admits(Some(&header), now));
        assert!(tokens.admits(Some(&header.to_lowercase()), now + GOOD_FOR / 2));
        assert!(!tokens.admits(Some(&header), now + GOOD_FOR));
        let refresh = format!("Bearer {}", pair.refresh);
        let basic = format!("Basic {}", pair.access);
        for wrong in [
            None,
            Some(""),
            Some("Bearer"),
            Some(refresh.as_str()),
            Some(basic.as_str()),
        ] {
            assert!(!tokens.admits(wrong, now), "{wrong:?}");
        }
        assert_eq!(pair.access.len(), 64);
        assert_ne!(pair.access, tokens.give(now).access);
    }

    #[test]
    fn no_more_tokens_live_than_may() {
        let tokens = ClientTokens::default();
        let start = Instant::now();
        let first = tokens.give(start);
        for number in 0..MOST {
            tokens.give(start + Duration::from_millis(1 + number as u64));
        }
        let later = start + Duration::from_secs(60);
        assert!(!tokens.admits(Some(&format!("Bearer {}", first.access)), later));
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
