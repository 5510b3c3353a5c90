//! Access and refresh tokens of one API: who may ask, and for how long.
//!
//! Invariant: an access token is good from its issue until its time to live is over or it is revoked, whichever is first; a
//! refresh token is good once.

use crate::random::RandomStream;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// An access token and its refresh token.
#[derive(Debug)]
pub(crate) struct TokenPair {
    pub access: String,
    pub refresh: String,
}

/// Issuer of an API's tokens. Its time is the machine's, not the sandbox's clock: moving the
/// data's clock logs nobody out.
#[derive(Debug)]
pub(crate) struct TokenIssuer {
    ttl: Duration,
    random: RandomStream,
    access: HashMap<String, Instant>,
    refresh: HashSet<String>,
}

/// More living refresh tokens than this are forgotten: nobody holds them.
const MOST: usize = 10_000;

impl TokenIssuer {
    /// Tokens of an API; `stream` keeps two APIs' tokens apart.
    pub(crate) fn new(seed: u64, stream: u64, ttl: Duration) -> Self {
        Self {
            ttl,
            random: RandomStream::new(seed, stream),
            access: HashMap::new(),
            refresh: HashSet::new(),
        }
    }

    fn token(&mut self, kind: &str) -> String {
        // Three parts like a JWT's; the first is {"alg":"none"}.
        format!(
            "eyJhbGciOiJub25lIn0.{kind}{:016x}.{:016x}",
            self.random.next(),
            self.random.next()
        )
    }

    /// Issues a pair.
    pub(crate) fn issue(&mut self) -> TokenPair {
        let (now, ttl) = (Instant::now(), self.ttl);
        self.access
            .retain(|_, issued| now.duration_since(*issued) < ttl);
        if self.refresh.len() >= MOST {
            self.refresh.clear();
        }
        let pair = TokenPair {
            access: self.token("a"),
            refresh: self.token("r"),
        };
        self.access.insert(pair.access.clone(), now);
        self.refresh.insert(pair.refresh.clone());
        pair
    }

    /// Trades a refresh token for a new pair; `None` when it is not good.
    pub(crate) fn renew(&mut self, refresh: &str) -> Option<TokenPair> {
        self.refresh.remove(refresh).then(|| self.issue())
    }

    /// True if an `Authorization` header lets its sender in.
    pub(crate) fn admits(&self, header: Option<&str>) -> bool {
        let Some((scheme, token)) = header.and_then(|h| h.split_once(' ')) else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer")
            && self
                .access
                .get(token.trim())
                .is_some_and(|issued| issued.elapsed() < self.ttl)
    }

    /// Makes every access token worthless, and the refresh tokens too if asked.
    pub(crate) fn revoke(&mut self, refresh_too: bool) {
        self.access.clear();
        if refresh_too {
            self.refresh.clear();
        }
    }
}
