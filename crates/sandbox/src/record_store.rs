//! Store of a provider's records: every record it knows at its clock, kept as the JSON it is served as, for APIs whose records follow a plan.
//!
//! Invariant: its content is a function of the plans, the clock and what was changed by hand; a record that was changed
//! by hand no longer follows its plan. Rows never move, so a listing may keep their numbers.
//!
//! HecOne keeps its own store: it renders on all cores and finds windows in a list that is always sorted. What stands here is a
//! tenth of that and is scanned once a question.

use bytes::Bytes;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use tillhouse_model::Result;

/// One record of a [`RecordStore`]. Instants are microseconds since 1970 UTC.
#[derive(Debug, Clone)]
pub(crate) struct StoredRecord {
    pub id: String,
    /// The index of its tenant.
    pub tenant: u16,
    /// Instant that the API's windows select by; none: no window finds it.
    pub time: Option<i64>,
    /// When the provider last learnt something of it.
    pub stamp: Option<i64>,
    pub body: Bytes,
    /// The record as an older endpoint shows it, where that differs.
    pub legacy_body: Option<Bytes>,
}

/// A planned record at a clock, and when it changes next.
#[derive(Debug)]
pub(crate) struct ScheduledRecord {
    /// The record; none: nobody knows of it yet.
    pub row: Option<StoredRecord>,
    /// The instant after which that changes.
    pub next: Option<i64>,
}

/// Schedule of the planned records of an API.
pub(crate) trait RecordSchedule: Debug + Send + Sync {
    /// Number of records.
    fn count(&self) -> u64;

    /// Record `number` at `clock`. An instant that equals the clock has not happened yet. Errors when the record cannot be
    /// written, which is a bug.
    fn at(&self, number: u64, clock: i64) -> Result<ScheduledRecord>;
}

/// Sort key of a listing; ties are broken by the id, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SortKey {
    Time,
    Stamp,
    Id,
}

/// Sort order of a listing, most significant key first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListingOrder(pub Vec<(SortKey, bool)>);

impl ListingOrder {
    /// Order by one key.
    pub(crate) fn by(key: SortKey, descending: bool) -> Self {
        Self(vec![(key, descending)])
    }

    /// Order of two rows.
    fn compare(&self, a: &StoredRecord, b: &StoredRecord) -> Ordering {
        let mut last = false;
        for (key, descending) in &self.0 {
            last = *descending;
            let order = match key {
                SortKey::Time => a.time.cmp(&b.time),
                SortKey::Stamp => a.stamp.cmp(&b.stamp),
                SortKey::Id => a.id.cmp(&b.id),
            };
            let order = if *descending { order.reverse() } else { order };
            if order != Ordering::Equal {
                return order;
            }
        }
        let order = a.id.cmp(&b.id).then(a.tenant.cmp(&b.tenant));
        if last { order.reverse() } else { order }
    }

    /// True if the smallest id comes first among equals, or at all.
    pub(crate) fn smallest_id_first(&self) -> bool {
        let of_id = self
            .0
            .iter()
            .find(|(key, _)| *key == SortKey::Id)
            .or(self.0.last());
        of_id.is_none_or(|(_, descending)| !descending)
    }

    /// True if the earliest instant of a window comes first.
    pub(crate) fn earliest_first(&self) -> bool {
        self.0
            .iter()
            .find(|(key, _)| *key != SortKey::Id)
            .is_none_or(|(_, descending)| !descending)
    }
}

/// Tenant and id of a record.
type TenantRecordId = (u16, String);

/// Records of an emulated API at its clock.
#[derive(Debug)]
pub(crate) struct RecordStore {
    plans: Arc<dyn RecordSchedule>,
    clock: i64,
    rows: Vec<StoredRecord>,
    /// By the index of its row; false once it is gone.
    alive: Vec<bool>,
    by_name: HashMap<TenantRecordId, u32>,
    /// Planned records that change later, by the instant after which they do.
    upcoming: BinaryHeap<Reverse<(i64, u64)>>,
    touched: HashSet<TenantRecordId>,
    /// Counts every change, so that kept listings know when they are stale.
    pub generation: u64,
    /// Number of records that were made up on the way; their numbers follow those of the planned
    /// ones.
    made_up: u64,
}

impl RecordStore {
    /// The planned records as they are at `clock`.
    pub(crate) fn new(plans: Arc<dyn RecordSchedule>, clock: i64) -> Result<Self> {
        let mut shelf = Self {
            clock,
            rows: Vec::new(),
            alive: Vec::new(),
            by_name: HashMap::new(),
            upcoming: BinaryHeap::new(),
            touched: HashSet::new(),
            generation: 0,
            made_up: 0,
            plans,
        };
        for number in 0..shelf.plans.count() {
            shelf.take_turn(number)?;
        }
        Ok(shelf)
    }

    /// The clock that the rows show, microseconds.
    pub(crate) fn clock(&self) -> i64 {
        self.clock
    }

    /// Moves on to `clock`; does nothing when it already stands there.
    pub(crate) fn advance_to(&mut self, clock: i64) -> Result<()> {
        self.clock = self.clock.max(clock);
        while let Some(Reverse((instant, number))) = self.upcoming.peek().copied() {
            if instant >= self.clock {
                break;
            }
            self.upcoming.pop();
            self.take_turn(number)?;
        }
        Ok(())
    }

    fn take_turn(&mut self, number: u64) -> Result<()> {
        let turn = self.plans.at(number, self.clock)?;
        self.upcoming
            .extend(turn.next.map(|instant| Reverse((instant, number))));
        if let Some(row) = turn.row
            && !self.touched.contains(&(row.tenant, row.id.clone()))
        {
            self.store(row);
        }
        Ok(())
    }

    fn store(&mut self, row: StoredRecord) {
        self.generation += 1;
        let name = (row.tenant, row.id.clone());
        match self.by_name.get(&name) {
            Some(index) => {
                self.rows[*index as usize] = row;
                self.alive[*index as usize] = true;
            }
            None => {
                self.by_name.insert(name, self.rows.len() as u32);
                self.rows.push(row);
                self.alive.push(true);
            }
        }
    }

    /// Adds or replaces a record by hand.
    pub(crate) fn put(&mut self, row: StoredRecord) {
        self.touched.insert((row.tenant, row.id.clone()));
        self.store(row);
    }

    /// Removes a record by hand.
    pub(crate) fn remove(&mut self, index: u32) {
        let row = &self.rows[index as usize];
        self.touched.insert((row.tenant, row.id.clone()));
        self.alive[index as usize] = false;
        self.generation += 1;
    }

    /// A number that no planned record has, for one that is made up.
    pub(crate) fn fresh_number(&mut self) -> u64 {
        self.made_up += 1;
        self.plans.count() + self.made_up
    }

    /// A row by its number.
    pub(crate) fn row(&self, index: u32) -> &StoredRecord {
        &self.rows[index as usize]
    }

    /// The numbers of the living rows that `keep` keeps, in order.
    pub(crate) fn select(
        &self,
        order: &ListingOrder,
        keep: impl Fn(&StoredRecord) -> bool,
    ) -> Vec<u32> {
        let mut found: Vec<u32> = (0..self.rows.len() as u32)
            .filter(|index| self.alive[*index as usize] && keep(&self.rows[*index as usize]))
            .collect();
        found.sort_unstable_by(|a, b| order.compare(self.row(*a), self.row(*b)));
        found
    }
}

/// Cache of the listings that were requested last, so that a page costs no sort.
#[derive(Debug)]
pub(crate) struct ListingCache<Q>(VecDeque<(Q, u64, Arc<Vec<u32>>)>);

/// Listings kept: slices are read side by side.
const KEPT: usize = 32;

impl<Q> Default for ListingCache<Q> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<Q: PartialEq + Clone> ListingCache<Q> {
    /// The rows of a question; found anew when a record changed since.
    pub(crate) fn rows(
        &mut self,
        question: &Q,
        generation: u64,
        find: impl FnOnce() -> Vec<u32>,
    ) -> Arc<Vec<u32>> {
        self.0.retain(|(_, made_at, _)| *made_at == generation);
        if let Some((_, _, rows)) = self.0.iter().find(|(known, _, _)| known == question) {
            return Arc::clone(rows);
        }
        let rows = Arc::new(find());
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0
            .push_back((question.clone(), generation, Arc::clone(&rows)));
        rows
    }
}

/// Records as one JSON array's content, without its brackets.
pub(crate) fn join_records<'a>(bodies: impl Iterator<Item = &'a Bytes> + Clone, out: &mut Vec<u8>) {
    out.reserve(bodies.clone().map(|body| body.len() + 1).sum());
    for (index, body) in bodies.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Schedule in which record n appears after n seconds and changes ten seconds later.
    #[derive(Debug)]
    struct TickSchedule;

    impl RecordSchedule for TickSchedule {
        fn count(&self) -> u64 {
            5
        }

        fn at(&self, number: u64, clock: i64) -> Result<ScheduledRecord> {
            let born = number as i64 * 1_000_000;
            let (shown, next) = match clock {
                early if early <= born => (None, Some(born)),
                early if early <= born + 10_000_000 => (Some("new"), Some(born + 10_000_000)),
                _ => (Some("old"), None),
            };
            let row = shown.map(|text| row(&format!("r{number}"), born, text));
            Ok(ScheduledRecord { row, next })
        }
    }

    fn row(id: &str, time: i64, text: &'static str) -> StoredRecord {
        StoredRecord {
            id: id.into(),
            tenant: 0,
            time: Some(time),
            stamp: None,
            body: Bytes::from_static(text.as_bytes()),
            legacy_body: None,
        }
    }

    fn texts(shelf: &RecordStore, order: &ListingOrder) -> Vec<String> {
        let text = |index: &u32| {
            let row = shelf.row(*index);
            format!("{} {}", row.id, String::from_utf8_lossy(&row.body))
        };
        shelf.select(order, |_| true).iter().map(text).collect()
    }

    #[test]
    fn records_come_and_change_with_the_clock_but_not_what_was_changed_by_hand() {
        let mut shelf = RecordStore::new(Arc::new(TickSchedule), 2_000_000).unwrap();
        let order = ListingOrder::by(SortKey::Time, true);
        assert_eq!(texts(&shelf, &order), ["r1 new", "r0 new"]);
        shelf.put(row("r1", 9, "mine"));
        let first = shelf.select(&order, |_| true)[0];
        assert_eq!(shelf.row(first).id, "r1");
        shelf.remove(shelf.select(&order, |row| row.id == "r0")[0]);
        shelf.advance_to(10_500_000).unwrap();
        assert_eq!(
            texts(&shelf, &ListingOrder::by(SortKey::Id, false)),
            ["r1 mine", "r2 new", "r3 new", "r4 new"]
        );
        shelf.advance_to(5).unwrap();
        assert_eq!(shelf.clock(), 10_500_000);
        shelf.advance_to(60_000_000).unwrap();
        assert_eq!(
            texts(&shelf, &ListingOrder::by(SortKey::Id, false)),
            ["r1 mine", "r2 old", "r3 old", "r4 old"]
        );
    }

    #[test]
    fn a_listing_is_kept_until_something_changes() {
        let mut listings = ListingCache::default();
        let found = listings.rows(&"a", 1, || vec![1]);
        assert_eq!(*listings.rows(&"a", 1, || vec![2]), *found);
        assert_eq!(*listings.rows(&"b", 1, || vec![3]), [3]);
        assert_eq!(*listings.rows(&"a", 2, || vec![4]), [4]);
    }
}
