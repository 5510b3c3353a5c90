//! Hashes of the keys in data files that this process wrote or has read.
//!
//! Invariant: they only ever rule out; a file nothing is known of has to be read. Memory is bounded by `KEPT_KEYS`, never by the table.

use std::collections::VecDeque;
use std::sync::Arc;
use tillhouse_model::FastMap;
use xxhash_rust::xxh3::xxh3_64;

/// Key hashes that a table handle keeps: 64 MiB.
const KEPT_KEYS: usize = 8 << 20;

/// A hash of a key that is the same throughout this process.
pub(crate) fn key_hash(key: &str) -> u64 {
    xxh3_64(key.as_bytes())
}

/// Sorted key hashes of data files that this process wrote or has read. They prove that a file holds none of a package's keys without
/// reading it: a first load, package after package, is free of lookups, and a later sync reads the keys of old files once.
#[derive(Debug, Default)]
pub(crate) struct RecentKeys {
    files: FastMap<String, Arc<Vec<u64>>>,
    /// Paths, the oldest first.
    order: VecDeque<String>,
    held: usize,
}

impl RecentKeys {
    /// Remembers the keys of a file that was written; the oldest are forgotten for it.
    pub(crate) fn remember(&mut self, path: String, mut hashes: Vec<u64>) {
        hashes.sort_unstable();
        self.insert(path, Arc::new(hashes));
        while self.held > KEPT_KEYS {
            match self.order.pop_front() {
                Some(oldest) => {
                    self.held -= self.files.remove(&oldest).map_or(0, |keys| keys.len())
                }
                None => break,
            }
        }
    }

    /// Remembers the keys of a file that was read, while there is room: to forget others for them would make every package read
    /// every file.
    pub(crate) fn remember_if_room(&mut self, path: &str, sorted: Arc<Vec<u64>>) {
        if self.held + sorted.len() <= KEPT_KEYS {
            self.insert(path.to_owned(), sorted);
        }
    }

    fn insert(&mut self, path: String, sorted: Arc<Vec<u64>>) {
        self.held += sorted.len();
        match self.files.insert(path.clone(), sorted) {
            Some(earlier) => self.held -= earlier.len(),
            None => self.order.push_back(path),
        }
    }

    /// The answer of what is remembered about a file: whether it may hold one of these keys (sorted hashes).
    pub(crate) fn may_hold(&self, path: &str, sorted: &[u64]) -> Option<bool> {
        self.files.get(path).map(|held| intersect(sorted, held))
    }
}

/// True if two sorted lists have a value in common.
pub(crate) fn intersect(a: &[u64], b: &[u64]) -> bool {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => a.next(),
            std::cmp::Ordering::Greater => b.next(),
            std::cmp::Ordering::Equal => return true,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_keys_rule_out_only_what_they_prove() {
        let mut recent = RecentKeys::default();
        recent.remember("a".to_owned(), ["x", "y"].map(key_hash).to_vec());
        let sorted = |keys: &[&str]| {
            let mut hashes: Vec<u64> = keys.iter().map(|k| key_hash(k)).collect();
            hashes.sort_unstable();
            hashes
        };
        assert_eq!(recent.may_hold("a", &sorted(&["p", "q", "r"])), Some(false));
        assert_eq!(recent.may_hold("a", &sorted(&["p", "y", "r"])), Some(true));
        assert_eq!(
            recent.may_hold("b", &sorted(&["p"])),
            None,
            "an unknown file must be read"
        );
        recent.remember_if_room("read", Arc::new((0..KEPT_KEYS as u64).collect()));
        assert_eq!(
            recent.may_hold("read", &[1]),
            None,
            "what was read takes no room from what was written"
        );
        recent.remember("big".to_owned(), (0..KEPT_KEYS as u64).collect());
        assert_eq!(
            recent.may_hold("a", &sorted(&["p"])),
            None,
            "forgotten, so it must be read again"
        );
        assert_eq!(recent.held, KEPT_KEYS);
    }
}
