//! Fingerprints of the newest versions of records that came lately: what comes as it is known changes nothing, and no data file need be read to
//! find that out.
//!
//! Invariant: an entry counts only while the table has the very data files for which it was noted, and then it says of its key what reading them
//! would: the content of its newest version, and the tenant it was listed for. What is not known for sure has no entry; of a record without
//! one the table is read.
//!
//! ```text
//!   a record comes      key and content as noted, files as noted  ->  unchanged, nothing is read
//!                       anything else                             ->  looked up in the table
//!   a package landed    what it wrote or found is noted; of what it found to be stale nothing is
//!   somebody else did   the files are others: every entry is void
//! ```
//!
//! An answer by id may say a record only in part; it is completed by the newest version, and landed. To complete the outcome by the same answer
//! again changes nothing: so an entry remembers the answer that its content came from, and who meets it again need not read the version either.
//!
//! Rejected: a fingerprint of a window's whole answer. Windows that are read again begin a little later each time, so the same sales never come
//! with the same window; and one new sale would have all of them compared.

use crate::log::snapshot::Snapshot;
use crate::source::package::{NewestRecord, PackagePage};
use crate::source::tenants::TenantOrder;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tillhouse_model::FastMap;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

/// Most records of one table that are noted: those that came last. Five mebibytes on storage.
const MOST: usize = 1 << 17;
/// Entries beyond that are dropped once there are so many of them.
const SLACK: usize = MOST / 8;
/// Bytes of an entry on storage.
const ENTRY: usize = 40;

/// Content of a record's newest version: a hash of it, of its record time, and of the tenant it was listed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentFingerprint(u64, u64);

/// Hash of a key.
type KeyHash = u64;

/// A key, and the content of its newest version as far as it is known.
pub(crate) type FingerprintedKey = (KeyHash, Option<ContentFingerprint>);

#[derive(Clone, Copy)]
struct NotedVersion {
    content: ContentFingerprint,
    /// Fingerprint of the answer by id that its content was completed from, and not changed by.
    answer: Option<u128>,
    /// Number of the sight at which it came last.
    seen: u64,
}

/// Notes about the records of one source table, for one run after the other. See the module's invariant.
///
/// Handed to [`SourceTable::recognizing`](crate::SourceTable::recognizing), it is kept up to date by every landing.
pub struct RecordFingerprints {
    state: Mutex<NotedVersions>,
    use_of: FingerprintUse,
}

/// Use that a run makes of fingerprints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FingerprintUse {
    /// True if records that are noted are not looked up.
    pub recognizes: bool,
    /// True if records that are new to the notes are added: a run that reads what comes again next time.
    pub adds: bool,
}

#[derive(Default)]
struct NotedVersions {
    /// Identity of the data files for which the entries were noted.
    files: Option<u128>,
    entries: FastMap<KeyHash, NotedVersion>,
    /// Number of the last sight.
    sights: u64,
    /// The last sight of earlier runs.
    before: u64,
    is_changed: bool,
    /// Answers by id of this run, which are landed or on their way.
    answers: FastMap<KeyHash, u128>,
}

impl fmt::Debug for RecordFingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordFingerprints({})", self.state().entries.len())
    }
}

/// Hash of a record's key.
pub(crate) fn key_of(key: &str) -> KeyHash {
    xxh3_64(key.as_bytes())
}

/// Identity of a table's data files: equal where the table and the files are the same, whatever their order.
pub(crate) fn files_identity(snapshot: &Snapshot) -> u128 {
    let table = xxh3_128(snapshot.description.metadata.id().as_bytes());
    let files = snapshot.files.iter().map(|file| file.path.as_str());
    files.fold(table, with_file)
}

/// The identity with one file more, whose path is as the table's files have it.
pub(crate) fn with_file(identity: u128, path: &str) -> u128 {
    identity.wrapping_add(xxh3_128(path.as_bytes()))
}

impl ContentFingerprint {
    /// That of a record of a package; `None` where it has no hash.
    pub(crate) fn of(
        package: &[PackagePage],
        tenants: &TenantOrder<'_>,
        record: NewestRecord,
    ) -> Option<Self> {
        let mut hasher = Xxh3::new();
        // Of a fixed length, so that no tenant can be taken for part of it.
        hasher.update(&record.content_hash(package)?);
        // No instant is the least number.
        let time = record.record_time(package).unwrap_or(i64::MIN);
        hasher.update(&time.to_le_bytes());
        if let Some(tenant) = tenants.of(package, record) {
            hasher.update(&[1]);
            hasher.update(tenant.as_bytes());
        }
        let hash = hasher.digest128();
        Some(Self((hash >> 64) as u64, hash as u64))
    }
}

impl RecordFingerprints {
    /// Notes that know nothing yet.
    pub(crate) fn empty(use_of: FingerprintUse) -> Self {
        Self {
            state: Mutex::default(),
            use_of,
        }
    }

    /// True if some record of a table with these files may be known.
    pub(crate) fn count_for(&self, files: u128) -> bool {
        let state = self.state();
        self.use_of.recognizes && state.files == Some(files) && !state.entries.is_empty()
    }

    /// True for each of some records that is known to be as it comes, in a table with these files.
    pub(crate) fn recognize(
        &self,
        files: u128,
        records: impl Iterator<Item = FingerprintedKey>,
    ) -> Vec<bool> {
        let mut state = self.state();
        let NotedVersions {
            files: noted_for,
            entries,
            sights,
            ..
        } = &mut *state;
        let counts = self.use_of.recognizes && *noted_for == Some(files);
        let is_known = |(key, content): FingerprintedKey| {
            let Some(noted) = entries.get_mut(&key).filter(|_| counts) else {
                return false;
            };
            let is_same = Some(noted.content) == content;
            if is_same {
                *sights += 1;
                noted.seen = *sights;
            }
            is_same
        };
        records.map(is_known).collect()
    }

    /// True if a record's newest version in a table with these files is what this answer by id made of it.
    pub(crate) fn recognizes_answer(&self, files: u128, key: &str, answer: u128) -> bool {
        let mut state = self.state();
        if !self.use_of.recognizes || state.files != Some(files) {
            return false;
        }
        let seen = state.sights + 1;
        let noted = state.entries.get_mut(&key_of(key));
        let Some(noted) = noted.filter(|noted| noted.answer == Some(answer)) else {
            return false;
        };
        noted.seen = seen;
        state.sights = seen;
        true
    }

    /// Remembers an answer by id whose record was completed and is landed next: the last that this run has of that record.
    pub fn note_answer(&self, key: &str, answer: u128) {
        self.state().answers.insert(key_of(key), answer);
    }

    /// Notes what a landing found in a table with the files `before`, or wrote into it: of each key the content of its newest version, `None` where
    /// nobody knows. The table has the files `after` from then on.
    pub(crate) fn settle(&self, (before, after): (u128, u128), settled: Vec<FingerprintedKey>) {
        let adds = self.use_of.adds;
        let mut state = self.state();
        if state.files != Some(before) {
            state.is_changed |= !state.entries.is_empty();
            state.entries.clear();
        }
        state.is_changed |= state.files != Some(after);
        state.files = Some(after);
        for (key, content) in settled {
            match content {
                Some(content) if adds || state.entries.contains_key(&key) => {
                    state.sights += 1;
                    let seen = state.sights;
                    let earlier = state.entries.get(&key).copied();
                    let earlier = earlier.filter(|earlier| earlier.content == content);
                    state.is_changed |= earlier.is_none();
                    let noted = NotedVersion {
                        content,
                        answer: earlier.and_then(|earlier| earlier.answer),
                        seen,
                    };
                    state.entries.insert(key, noted);
                }
                _ => {
                    state.is_changed |= state.entries.remove(&key).is_some();
                }
            }
        }
        if state.entries.len() > MOST + SLACK {
            state.keep_newest(MOST);
        }
    }

    /// Drops what did not come in this run: it has read everything that will be read again.
    pub fn drop_unseen(&self) {
        let mut state = self.state();
        let before = state.before;
        state.entries.retain(|_, noted| noted.seen > before);
    }

    /// True if they say something else than when they were read. Once everything has landed.
    pub(crate) fn is_changed(&self) -> bool {
        let mut state = self.state();
        state.take_answers();
        state.is_changed
    }

    /// As they stand on storage: the identity of the files, and the entries, those that came last at the end. `None` where nothing is noted. Once
    /// everything has landed.
    pub(crate) fn stored(&self) -> Option<(u128, Vec<u8>)> {
        let mut state = self.state();
        state.take_answers();
        if state.entries.len() > MOST {
            state.keep_newest(MOST);
        }
        let files = state.files.filter(|_| !state.entries.is_empty())?;
        let mut entries: Vec<(KeyHash, NotedVersion)> = state
            .entries
            .iter()
            .map(|(key, noted)| (*key, *noted))
            .collect();
        entries.sort_unstable_by_key(|(_, noted)| noted.seen);
        let mut bytes = Vec::with_capacity(entries.len() * ENTRY);
        for (key, noted) in entries {
            let ContentFingerprint(high, low) = noted.content;
            for part in [key, high, low] {
                bytes.extend(part.to_le_bytes());
            }
            bytes.extend(noted.answer.unwrap_or(0).to_le_bytes());
        }
        Some((files, bytes))
    }

    /// From their form on storage; `None` where they are cut.
    pub(crate) fn read(files: u128, bytes: &[u8], use_of: FingerprintUse) -> Option<Self> {
        if !bytes.len().is_multiple_of(ENTRY) {
            return None;
        }
        let mut state = NotedVersions {
            files: Some(files),
            ..NotedVersions::default()
        };
        let part = |entry: &[u8], at: usize| {
            let part = entry.get(at..at + 8)?.try_into().ok()?;
            Some(u64::from_le_bytes(part))
        };
        for entry in bytes.chunks_exact(ENTRY) {
            let content = ContentFingerprint(part(entry, 8)?, part(entry, 16)?);
            state.sights += 1;
            let answer = u128::from(part(entry, 24)?) | (u128::from(part(entry, 32)?) << 64);
            let noted = NotedVersion {
                content,
                answer: (answer != 0).then_some(answer),
                seen: state.sights,
            };
            state.entries.insert(part(entry, 0)?, noted);
        }
        state.before = state.sights;
        Some(Self {
            state: Mutex::new(state),
            use_of,
        })
    }

    fn state(&self) -> MutexGuard<'_, NotedVersions> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NotedVersions {
    /// Gives the answers of this run to the entries of their records: what was not landed has none.
    fn take_answers(&mut self) {
        for (key, answer) in std::mem::take(&mut self.answers) {
            if let Some(noted) = self.entries.get_mut(&key) {
                self.is_changed |= noted.answer != Some(answer);
                noted.answer = Some(answer);
            }
        }
    }

    /// Drops all but so many that came last.
    fn keep_newest(&mut self, most: usize) {
        let mut seen: Vec<u64> = self.entries.values().map(|noted| noted.seen).collect();
        let drop = seen.len().saturating_sub(most);
        if drop == 0 {
            return;
        }
        let (_, newest_dropped, _) = seen.select_nth_unstable(drop - 1);
        let newest_dropped = *newest_dropped;
        self.entries.retain(|_, noted| noted.seen > newest_dropped);
        self.is_changed = true;
    }
}

#[cfg(test)]
#[path = "fingerprints_tests.rs"]
mod tests;
