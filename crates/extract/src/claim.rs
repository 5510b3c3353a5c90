//! Claims of a server about its own pages, as far as its answers have borne them out: that a total
//! counts the listing, that a size counts the page.
//!
//! Invariant: nothing is proven before an answer has shown it, and wrong once is wrong for good.

use std::sync::atomic::{AtomicU8, Ordering};

/// Claim of a server about its own answers, believed once it was confirmed and never refuted.
/// Shared by all readers that rely on it.
///
/// ```
/// use tillhouse_extract::ServerClaim;
///
/// let sizes = ServerClaim::default();
/// assert!(!sizes.is_proven());
/// sizes.check(true);
/// assert!(sizes.is_proven());
/// sizes.check(false);
/// sizes.check(true);
/// assert!(!sizes.is_proven());
/// ```
#[derive(Debug, Default)]
pub struct ServerClaim(AtomicU8);

impl ServerClaim {
    const RIGHT: u8 = 1;
    const WRONG: u8 = 2;

    /// True if it was right whenever it could be checked, at least once.
    pub fn is_proven(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::RIGHT
    }

    /// Takes a check's outcome.
    pub fn check(&self, right: bool) {
        if right {
            let _ = self
                .0
                .compare_exchange(0, Self::RIGHT, Ordering::Relaxed, Ordering::Relaxed);
        } else {
            self.0.store(Self::WRONG, Ordering::Relaxed);
        }
    }
}
