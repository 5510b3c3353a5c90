//! Records of an emulated API that follow a schedule: made when they are first asked for, kept at the API's clock, and changed by hand.
//!
//! Invariant: whoever acts on them sees them at the clock of that moment. A handler that panicked leaves data that is still whole, for each
//! change is made by one call.

use crate::record_store::{ListingCache, RecordSchedule, RecordStore, StoredRecord};
use bytes::Bytes;
use jiff::Timestamp;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tillhouse_emulator::{RecordMutation, RecordMutationKind};
use tillhouse_model::{Error, Result};

/// Records of an API by their schedule, behind a lock, with the API's clock and its largest page.
#[derive(Debug)]
pub(crate) struct ScheduledRecords<S, Q> {
    largest_page: AtomicU32,
    /// Microseconds since 1970 UTC.
    now: AtomicI64,
    /// Made on first use.
    data: Mutex<Option<ScheduledData<S, Q>>>,
}

/// Records and cached listings.
#[derive(Debug)]
pub(crate) struct ScheduledData<S, Q> {
    pub schedule: Arc<S>,
    pub shelf: RecordStore,
    pub listings: ListingCache<Q>,
}

impl<S: RecordSchedule + 'static, Q: PartialEq + Clone> ScheduledRecords<S, Q> {
    pub(crate) fn new(now: Timestamp, largest_page: u32) -> Self {
        Self {
            largest_page: AtomicU32::new(largest_page.max(1)),
            now: AtomicI64::new(now.as_microsecond()),
            data: Mutex::default(),
        }
    }

    /// Acts on the records; `schedule` makes what they follow.
    pub(crate) fn with<R>(
        &self,
        schedule: impl FnOnce() -> S,
        act: impl FnOnce(&mut ScheduledData<S, Q>) -> Result<R>,
    ) -> Result<R> {
        let mut data = lock(&self.data);
        let now = self.now.load(Ordering::Acquire);
        if data.is_none() {
            let schedule = Arc::new(schedule());
            let shelf = RecordStore::new(Arc::clone(&schedule) as _, now)?;
            *data = Some(ScheduledData {
                schedule,
                shelf,
                listings: ListingCache::default(),
            });
        }
        let data = data
            .as_mut()
            .ok_or_else(|| Error::internal("an API's records were not made"))?;
        data.shelf.advance_to(now)?;
        act(data)
    }

    pub(crate) fn set_clock(&self, now: Timestamp) {
        self.now.store(now.as_microsecond(), Ordering::Release);
    }

    pub(crate) fn largest_page(&self) -> u32 {
        self.largest_page.load(Ordering::Acquire)
    }

    pub(crate) fn cap_pages(&self, largest: u32) {
        self.largest_page.store(largest.max(1), Ordering::Release);
    }
}

impl<S, Q> ScheduledData<S, Q> {
    /// Does what a test orders with the records of its selection; gives the id of the one that it was done to. How a record comes and
    /// changes is the API's own; `oldest_first`: whether a listing begins at the start of its window.
    pub(crate) fn mutate(
        &mut self,
        order: &RecordMutation,
        oldest_first: bool,
        found: &[u32],
        arrive: impl FnOnce(&mut Self, i64) -> Result<String>,
        change: impl FnOnce(&mut Self, &[u32]) -> Result<Option<String>>,
    ) -> Result<Option<String>> {
        match order.kind {
            RecordMutationKind::Arrive => {
                let second = order.second(oldest_first);
                second.map(|second| arrive(self, second)).transpose()
            }
            RecordMutationKind::Change => change(self, found),
            RecordMutationKind::Vanish => Ok(found.first().map(|first| {
                let id = self.shelf.row(*first).id.clone();
                self.shelf.remove(*first);
                id
            })),
        }
    }
}

/// A record that a test writes, with the times that it tells of itself.
pub(crate) fn written_record(
    id: &str,
    tenant: u16,
    (time, stamp): (Option<i64>, Option<i64>),
    json: &str,
) -> StoredRecord {
    StoredRecord {
        id: id.to_owned(),
        tenant,
        time,
        stamp,
        // A line of the truth holds one record.
        body: Bytes::from(json.trim().replace(['\n', '\r'], " ")),
        legacy_body: None,
    }
}

/// Locks, whatever became of whoever held it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
