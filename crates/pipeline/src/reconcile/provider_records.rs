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

    /// True if a record came that fits and lies within a window.
    pub(super) fn is_found_within(&self, key: &str, window: Window) -> bool {
        self.records.contains_key(key) && self.has_within(key, window)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted_source::{SALES, queued, sale, slice, t, window};
    use tillhouse_decode::Reject;

    fn next_day() -> Window {
        Window::new(t("2026-01-02T00:00:00Z"), t("2026-01-03T00:00:00Z")).unwrap()
    }

    fn far() -> Window {
        Window::new(t("2026-02-01T00:00:00Z"), t("2026-02-02T00:00:00Z")).unwrap()
    }

    fn reject(key: Option<&str>, time: Option<Timestamp>, nth: u64) -> NumberedReject {
        NumberedReject {
            reject: Reject {
                key: key.map(str::to_owned),
                field: "amount".into(),
                reason: "text".into(),
                redacted: String::new(),
                content: 0,
                record_time: None,
                updated_at: None,
            },
            nth,
            time,
            within: window(),
        }
    }

    #[tokio::test]
    async fn an_older_version_takes_no_newer_ones_place_in_whatever_order_they_come() {
        let changed = |second: u8| {
            format!(
                r#"{{"id":"a","at":"2026-01-01T10:00:00Z","changed":"2026-01-01T10:00:{second:02}Z"}}"#
            )
        };
        // By the source's own time, and by the time it was asked for where that says nothing.
        let cases = [
            (changed(1), 1, changed(2), 0, 2),
            (changed(2), 1, changed(1), 2, 1),
            (sale("a"), 1, sale("a"), 2, 2),
            (sale("a"), 2, sale("a"), 1, 1),
            (changed(1), 1, sale("a"), 2, 2),
            (changed(1), 2, sale("a"), 1, 1),
        ];
        for (first, first_hour, second, second_hour, newest) in cases {
            let mut came = ProviderRecords::default();
            let mut pages = came.of_listing(ReadBy::EventTime, window());
            pages.accept(queued(&[first], first_hour)).await.unwrap();
            let mut pages = came.of_listing(ReadBy::EventTime, next_day());
            pages.accept(queued(&[second], second_hour)).await.unwrap();
            let came_in = [window(), next_day()][newest - 1];
            assert_eq!(came.records["a"].came_in, came_in, "{newest}");
        }
    }

    #[tokio::test]
    async fn a_record_outside_of_its_window_is_a_stray_unless_it_was_asked_for_by_id() {
        let mut came = ProviderRecords::default();
        // Days are cut on any clock: a record of the day before is none.
        for (window, strays) in [(window(), 0), (next_day(), 0), (far(), 1)] {
            let mut pages = came.of_listing(ReadBy::EventTime, window);
            pages.accept(queued(&[sale("a")], 1)).await.unwrap();
            assert_eq!(came.strays, strays);
        }
        let mut pages = came.by_id(ReadBy::EventTime, far());
        pages.accept(queued(&[sale("a")], 1)).await.unwrap();
        assert_eq!(came.strays, 1);
        assert!(came.has("a") && came.has_within("a", window()) && !came.has_within("a", far()));
    }

    #[tokio::test]
    async fn a_record_lies_where_its_resource_is_read_by() {
        let late = r#"{"id":"a","at":"2026-01-01T10:00:00Z","changed":"2026-02-01T10:00:00Z"}"#;
        let untimed = r#"{"id":"b"}"#;
        for (read_by, at) in [(ReadBy::EventTime, window()), (ReadBy::ChangeTime, far())] {
            let mut came = ProviderRecords::default();
            let mut pages = came.of_listing(read_by, at);
            let records = [late.to_owned(), untimed.to_owned()];
            pages.accept(queued(&records, 1)).await.unwrap();
            assert!(came.has_within("a", at) && !came.has_within("a", next_day()));
            assert!(
                came.is_untimed("b") && came.has_within("b", next_day()) && !came.is_untimed("a")
            );
        }
    }

    #[tokio::test]
    async fn a_reject_counts_once_however_many_windows_were_answered_with_it() {
        let mut came = ProviderRecords::default();
        let time = Some(t("2026-01-01T10:00:00Z"));
        for window in [window(), next_day(), far()] {
            let mut page = queued(&[], 1);
            page.rejects = vec![
                reject(Some("a"), None, 1),
                reject(None, time, 1),
                reject(None, None, 1),
                reject(None, None, 2),
            ];
            came.of_listing(ReadBy::EventTime, window)
                .accept(page)
                .await
                .unwrap();
        }
        // One that nobody knows is another one where no window asked for it twice.
        let counts = came.rejects.values().map(Vec::len);
        assert_eq!(counts.sum::<usize>(), 1 + 1 + 2 + 2);
        assert!(came.has("a") && came.has_within("a", far()) && !came.is_untimed("a"));
        let mut other = queued(&[], 1);
        other.slice.tenant = Some("other".into());
        other.rejects = vec![reject(None, time, 1)];
        let mut pages = came.of_listing(ReadBy::EventTime, slice(SALES).window);
        pages.accept(other).await.unwrap();
        let counts = came.rejects.values().map(Vec::len);
        assert_eq!(counts.sum::<usize>(), 7, "another tenant's is another one");
    }
}
