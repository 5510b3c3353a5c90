//! Maps and sets that are looked up for every record.
//!
//! Invariant: their hashes are good within one process only, and never leave it. The seed differs from process to process.
//!
//! The standard library's hash is made to withstand whoever chooses keys on purpose, and costs several times as much for the short keys
//! that records have. An upstream that wanted to slow a sync down has simpler means.

use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet};

/// A map whose keys are hashed fast; made with `default()`.
pub type FastMap<K, V> = HashMap<K, V, RandomState>;

/// A set whose members are hashed fast; made with `default()`.
pub type FastSet<T> = HashSet<T, RandomState>;
