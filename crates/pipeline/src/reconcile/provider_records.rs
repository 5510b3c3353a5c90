//! Records and rejects that a provider returned, by key.
//!
//! Invariant: a record counts once, in its newest version, however many windows list it; a reject counts once, however many neighbouring
//! windows were answered with it.

use crate::message::{NumberedReject, PageSink, QueuedPage};
use jiff::{SignedDuration, Timestamp};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use tillhouse_model::{ReadBy, Result, Window};

/// A record that lies further than this outside of the window it came in was not asked for: some APIs cut windows by days, on any clock.
const COARSEST: SignedDuration = SignedDuration::from_hours(48);

/// Version of a record: of two, the fresher one counts, as landing has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordVersion {
    /// The source's own version time, microseconds.
    pub(super) changed: Option<i64>,
    /// The time it was asked for.
    pub(super) requested_at: Timestamp,
}

impl RecordVersion {
    fn is_older_than(self, other: Self) -> bool {
        let by_source = self
            .changed
            .zip(other.changed)
            .map_or(Ordering::Equal, |(this, other)| this.cmp(&other));
        by_source.then(self.requested_at.cmp(&other.requested_at)) == Ordering::Less
    }
}

/// Record that the provider returned.
pub(super) struct ProviderRecord {
    /// The time by which its resource is read.
    pub(super) time: Option<Timestamp>,
    pub(super) version: RecordVersion,
    /// The window it was asked for in.
    pub(super) came_in: Window,
}

/// Identity of a reject: its key; without one, what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum RejectIdentity {
    Key(String),
    Keyless {
        tenant: Option<String>,
        /// Its field and reason.
        fault: (String, String),
        redacted: String,
        time: Option<Timestamp>,
        /// Its number among its like.
        nth: u64,
    },
}

/// Records and rejects that came.
#[derive(Default)]
pub(super) struct ProviderRecords {
    /// The records that came, by key.
    pub(super) records: HashMap<String, ProviderRecord>,
    /// The keys of those that do not fit their contract, as far as they have one.
    pub(super) rejected: HashSet<String>,
    /// Those that came, and the window each came in last.
    pub(super) rejects: HashMap<RejectIdentity, Vec<Window>>,
    /// Records that lie in no window asked for.
    pub(super) strays: u64,
}

/// Taker of the pages of one window.
pub(super) struct WindowPages<'a> {
    came: &'a mut ProviderRecords,
    read_by: ReadBy,
    window: Window,
    /// True if the window was listed; records that are asked for by id may lie anywhere.
    is_listing: bool,
}

impl ProviderRecords {
    /// Taker of the pages that list a window.
    pub(super) fn of_listing(&mut self, read_by: ReadBy, window: Window) -> WindowPages<'_> {
        WindowPages {
            came: self,
            read_by,
            window,
            is_listing: true,
        }
    }

    /// Taker of pages with records that were asked for by id.
    pub(super) fn by_id(&mut self, read_by: ReadBy, window: Window) -> WindowPages<'_> {
        WindowPages {
            came: self,
            read_by,
            window,
            is_listing: false,
        }
    }

    /// True if a record came, fitting or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.records.contains_key(key) || self.rejected.contains(key)
    }

    /// True if one came that lies within a window, or that has no time to lie anywhere.
    pub(super) fn has_within(&self, key: &str, window: Window) -> bool {
        let is_within = |time: Timestamp| window.from() <= time && time < window.to();
        self.rejected.contains(key)
            || self
                .records
                .get(key)
                .is_some_and(|seen| seen.time.is_none_or(is_within))
    }

    /// True if a record came that is in no window.
    pub(super) fn is_untimed(&self, key: &str) -> bool {
        self.records
            .get(key)
            .is_some_and(|seen| seen.time.is_none())
    }

    /// Counts a reject, once: also where it comes in windows side by side, for both were asked for with the days around them.
    fn count_reject(&mut self, looks: RejectIdentity, window: Window) {
        let is_known = match &looks {
            RejectIdentity::Key(_) => true,
            RejectIdentity::Keyless { time, .. } => time.is_some(),
        };
        let wide = window.widened(COARSEST);
        let came_in = self.rejects.entry(looks).or_default();
        match came_in
            .iter_mut()
            .find(|known| is_known || known.intersection(&wide).is_some())
        {
            Some(known) => *known = window,
            None => came_in.push(window),
        }
    }
}

impl PageSink for WindowPages<'_> {
    async fn accept(&mut self, page: QueuedPage) -> Result<()> {
        let (came, window) = (&mut *self.came, self.window);
        let wide = window.widened(COARSEST);
        let incoming = &page.incoming;
        for NumberedReject {
            reject, nth, time, ..
        } in page.rejects
        {
            came.rejected.extend(reject.key.clone());
            let identity = match reject.key {
                Some(key) => RejectIdentity::Key(key),
                None => RejectIdentity::Keyless {
                    tenant: page.slice.tenant.clone(),
                    fault: (reject.field, reject.reason),
                    redacted: reject.redacted,
                    time,
                    nth,
                },
            };
            came.count_reject(identity, window);
        }
        let times = incoming.record_times.iter().zip(incoming.updated_at.iter());
        for (key, (happened, changed)) in incoming.keys.iter().zip(times) {
            let Some(key) = key else { continue };
            let time = match self.read_by {
                ReadBy::EventTime => happened,
                ReadBy::ChangeTime => changed.or(happened),
            };
            let time = time.and_then(|micros| Timestamp::from_microsecond(micros).ok());
            let is_stray = time.is_some_and(|time| time < wide.from() || wide.to() <= time);
            came.strays += u64::from(self.is_listing && is_stray);
            let seen = ProviderRecord {
                time,
                version: RecordVersion {
                    changed,
                    requested_at: incoming.requested_at,
                },
                came_in: window,
            };
            // A window that a record has left may list it still, as it was.
            if came
                .records
                .get(key)
                .is_none_or(|known| !seen.version.is_older_than(known.version))
            {
                came.records.insert(key.to_owned(), seen);
            }
        }
        Ok(())
    }
}
