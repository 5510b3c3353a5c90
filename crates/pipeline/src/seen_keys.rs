//! Records of a resource that came in a run: which came before, for whom, and in which slice with which content.
//!
//! Invariant: memory is bounded. Beyond [`SeenKeys::MOST`] records what was not kept counts as often as it comes, and nothing is said of what did not
//! come; versions are compared with those of the last [`RecentVersions::MOST`] records at least.

use crate::message::{NumberedReject, QueuedPage, SliceReadSummary};
use arrow::array::{Array, TimestampMicrosecondArray};
use std::collections::BTreeMap;
use tillhouse_decode::Warning;
use tillhouse_model::{FastMap, FastSet, ReadBy, Resource, Slice, Window};

/// The rule of the warning about a record that two slices tell differently.
const TOLD_DIFFERENTLY: &str = "told_differently";

/// Records of a resource that came in this run, by a hash of their keys: windows may overlap, and
/// what comes with two of them counts once.
#[derive(Default)]
pub(crate) struct SeenKeys {
    keys: FastSet<u64>,
    /// True if a record may be listed for several tenants: then it is kept for whom it came.
    pub(crate) is_shared: bool,
    /// Hashes of keys with the tenant that they came for.
    listed: FastSet<u64>,
    /// Keys that came for several tenants, or in a record that did not fit.
    contested: FastSet<u64>,
    /// Windows of event time that were read to their end, by tenant.
    windows: Vec<(Option<String>, Window)>,
    /// Windows with records of which nobody knows which they are, by tenant.
    unclear: Vec<(Option<String>, Window)>,
    versions: RecentVersions,
    /// Numbers of the slices that records came with, and their names.
    slices: BTreeMap<SliceKey, u32>,
    slice_names: Vec<String>,
    /// Earliest and latest time of the records that came with a slice of event time.
    extents: BTreeMap<SliceKey, (i64, i64)>,
    /// True if a listing of event time has a record from another time than was asked for: the source goes by another one.
    goes_by_another_time: bool,
}

/// Slice of the resource, and the time that it is of.
type SliceKey = (Option<String>, Window, Option<ReadBy>);

/// Version of a record, and the slice that it came with.
#[derive(Debug, Clone, Copy)]
struct SeenVersion {
    content: u32,
    /// Hash of its time of change; 0 where it names none.
    changed: u32,
    slice: u32,
}

/// Versions of the records that came last.
#[derive(Default)]
struct RecentVersions {
    new: FastMap<u64, SeenVersion>,
    old: FastMap<u64, SeenVersion>,
}

impl RecentVersions {
    const MOST: usize = 1 << 17;

    /// Takes a version; the one that was there.
    fn replace(&mut self, key: u64, version: SeenVersion) -> Option<SeenVersion> {
        if self.new.len() >= Self::MOST {
            self.old = std::mem::take(&mut self.new);
        }
        let before = self.old.get(&key).copied();
        self.new.insert(key, version).or(before)
    }
}

impl SeenKeys {
    const MOST: usize = 1 << 20;

    /// Nothing seen yet, of a resource whose records may be listed for several tenants, or may not.
    pub(crate) fn of_resource(is_shared: bool) -> Self {
        Self {
            is_shared,
            ..Self::default()
        }
    }

    /// Takes the records of a page: how many of them came before.
    pub(crate) fn note_page(&mut self, page: &QueuedPage) -> usize {
        let keys = page.incoming.keys.iter().flatten();
        let keys = keys.chain(page.unchanged.iter().map(String::as_str));
        let tenant = self.is_shared.then(|| tenant_hash(&page.slice));
        let repeated = keys.filter(|key| self.before(key, tenant)).count();
        self.note_rejected(&page.slice, &page.rejects);
        self.note_times(page);
        repeated
    }

    /// True if a record came before, for whichever tenant; from now on it did, for this one.
    fn before(&mut self, key: &str, tenant: Option<u64>) -> bool {
        let hash = hash_of(key);
        let came = if self.keys.len() < Self::MOST {
            !self.keys.insert(hash)
        } else {
            self.keys.contains(&hash)
        };
        if let Some(tenant) = tenant.filter(|_| self.listed.len() < Self::MOST) {
            let listed = xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), tenant);
            if self.listed.insert(listed) && came {
                self.contested.insert(hash);
            }
        }
        came
    }

    /// Remembers records that came and did not fit: whoever lists them has them still. What has no key may be any.
    fn note_rejected(&mut self, slice: &Slice, rejects: &[NumberedReject]) {
        for rejected in rejects {
            if let Some(key) = &rejected.reject.key {
                self.contested.insert(hash_of(key));
                continue;
            }
            let listing = (slice.tenant.clone(), slice.window);
            if self.unclear.last() != Some(&listing) {
                self.unclear.push(listing);
            }
        }
    }

    fn note_times(&mut self, page: &QueuedPage) {
        let times = &page.incoming.record_times;
        if page.read_by != Some(ReadBy::EventTime) || times.null_count() == times.len() {
            return;
        }
        let (first, last) = extent(times);
        let extent = self.extents.entry(key_of(&page.slice, page.read_by));
        let extent = extent.or_insert((first, last));
        *extent = (extent.0.min(first), extent.1.max(last));
    }

    /// Remembers a listing that was read to its end.
    pub(crate) fn note_listing(&mut self, resource: &Resource, read: &SliceReadSummary) {
        let (read_by, _) = resource.recorded_read_by(read.by);
        if read_by != Some(ReadBy::EventTime) {
            return;
        }
        let (from, to) = (
            read.asked.from().as_microsecond(),
            read.asked.to().as_microsecond(),
        );
        let extent = self.extents.remove(&key_of(&read.slice, read_by));
        self.goes_by_another_time |= extent.is_some_and(|(first, last)| first < from || to <= last);
        let listing = (read.slice.tenant.clone(), read.slice.window);
        if !self.unclear.contains(&listing) {
            self.windows.push(listing);
        }
    }

    /// Windows of event time that were read to their end, by tenant.
    pub(crate) fn listings(&self) -> &[(Option<String>, Window)] {
        &self.windows
    }

    /// True if another tenant may have listed a record too: it did, or nobody knows.
    pub(crate) fn is_contested(&self, key: &str) -> bool {
        self.keys.len() >= Self::MOST
            || self.listed.len() >= Self::MOST
            || self.contested.contains(&hash_of(key))
    }

    /// True if what did not come is known: all records that came were kept, and listings have what happened in their windows.
    pub(crate) fn knows_what_lacks(&self) -> bool {
        self.keys.len() < Self::MOST && !self.goes_by_another_time
    }

    /// True if a record came, be it as one that did not fit.
    pub(crate) fn has(&self, key: &str) -> bool {
        let hash = hash_of(key);
        self.keys.contains(&hash) || self.contested.contains(&hash)
    }

    /// Warnings about records of a page that another slice of the run told with other content, though not with another time of change: one of both is
    /// wrong, or the record changed in between. An answer by id is a later word, and may say less.
    pub(crate) fn told_differently(
        &mut self,
        resource: &Resource,
        page: &QueuedPage,
    ) -> Vec<Warning> {
        let incoming = &page.incoming;
        if page.is_by_id(resource) || incoming.keys.is_empty() {
            return Vec::new();
        }
        let slice = self.number_of(page);
        let mut warnings = Vec::new();
        for (row, key) in incoming.keys.iter().enumerate() {
            let Some(key) = key.filter(|_| incoming.content_hashes.is_valid(row)) else {
                continue;
            };
            let updated_at = &incoming.updated_at;
            let changed = updated_at.is_valid(row).then(|| updated_at.value(row));
            let version = SeenVersion {
                content: short(incoming.content_hashes.value(row)),
                changed: changed.map_or(0, |time| short(&time.to_le_bytes()).max(1)),
                slice,
            };
            let before = self.versions.replace(hash_of(key), version);
            let Some(before) = before.filter(|before| before.contradicts(version)) else {
                continue;
            };
            let [this, other] = [slice, before.slice].map(|number| self.name_of(number));
            warnings.push(Warning {
                key: key.to_owned(),
                field: String::new(),
                rule: TOLD_DIFFERENTLY.to_owned(),
                original: format!(
                    "{this} has it with other content than {other}, and no time of change says which is the newer one: what was asked for last counts"
                ),
                count: 1,
            });
        }
        warnings
    }

    fn number_of(&mut self, page: &QueuedPage) -> u32 {
        let next = u32::try_from(self.slice_names.len()).unwrap_or(u32::MAX);
        let key = key_of(&page.slice, page.read_by);
        let number = *self.slices.entry(key).or_insert(next);
        if number == next {
            let by = page.read_by.map_or("", |by| match by {
                ReadBy::EventTime => " by event time",
                ReadBy::ChangeTime => " by change time",
            });
            self.slice_names.push(format!("{}{by}", page.slice));
        }
        number
    }

    fn name_of(&self, number: u32) -> &str {
        let name = self.slice_names.get(number as usize);
        name.map_or("another slice", String::as_str)
    }
}

impl SeenVersion {
    /// True if a later slice tells another content, and neither a time of change to order them by.
    fn contradicts(self, later: Self) -> bool {
        let is_ordered = self.changed != 0 && later.changed != 0 && self.changed != later.changed;
        self.slice != later.slice && self.content != later.content && !is_ordered
    }
}

/// Earliest and latest of times, of which there is one at least.
fn extent(times: &TimestampMicrosecondArray) -> (i64, i64) {
    let times = times.iter().flatten();
    times.fold((i64::MAX, i64::MIN), |(first, last), time| {
        (first.min(time), last.max(time))
    })
}

fn key_of(slice: &Slice, read_by: Option<ReadBy>) -> SliceKey {
    (slice.tenant.clone(), slice.window, read_by)
}

fn hash_of(key: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key.as_bytes())
}

/// Number that stands for some bytes in a comparison of two of them.
fn short(bytes: &[u8]) -> u32 {
    let [a, b, c, d, ..] = xxhash_rust::xxh3::xxh3_64(bytes).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Number that stands for a slice's tenant.
fn tenant_hash(slice: &Slice) -> u64 {
    slice.tenant.as_deref().map_or(0, hash_of)
}

#[cfg(test)]
#[path = "seen_keys_tests.rs"]
mod tests;
