//! The provider's store: every record it knows at its clock, kept as the JSON it is served as, in order of time.
//!
//! Invariant: `order` holds exactly the rows that are alive and have a time, sorted by (time, id); a listing made from the same
//! question at the same generation is the same list. Rows never move, so a listing may keep their numbers.

use super::render;
use super::sale::{HecOneSale, HecOneWorld, SaleStage};
use super::states;
use super::wire::HecOneTransaction;
use crate::random::{uuid_number, uuid_text};
use bytes::Bytes;
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use tillhouse_model::time_zone::time_zone;
use tillhouse_model::{Error, Result};

/// A record's id: nearly always a UUID, but tests may put anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum HecOneRecordId {
    Uuid(u128),
    Odd(Box<str>),
}

impl HecOneRecordId {
    pub(crate) fn parse(text: &str) -> Self {
        uuid_number(text).map_or_else(|| Self::Odd(text.into()), Self::Uuid)
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Uuid(number) => uuid_text(*number),
            Self::Odd(text) => text.to_string(),
        }
    }
}

/// One record of a [`HecOneRecordStore`].
#[derive(Debug)]
pub(crate) struct HecOneStoredRecord {
    pub id: HecOneRecordId,
    /// The record time, microseconds since 1970 UTC; none: no window finds it.
    pub time: Option<i64>,
    /// The index in the list of mandators.
    pub mandator: u16,
    pub body: Bytes,
    pub alive: bool,
}

/// Records of the emulated HecOne at its clock, sorted by time and id.
#[derive(Debug)]
pub(crate) struct HecOneRecordStore {
    pub world: Arc<HecOneWorld>,
    /// The world's mandators, then those that tests brought along.
    pub mandators: Vec<String>,
    pub rows: Vec<HecOneStoredRecord>,
    pub order: Vec<u32>,
    /// Counts every change, so that cached listings know when they are stale.
    pub generation: u64,
    clock: Timestamp,
    by_id: HashMap<HecOneRecordId, u32>,
    /// Sales that change later, by the second after which they do.
    upcoming: BinaryHeap<Reverse<(i64, u64)>>,
    /// Records that were changed by hand; their plan no longer holds.
    touched: HashSet<HecOneRecordId>,
    inserted: u64,
}

/// Records that one thread has rendered.
struct RenderedBatch {
    body: Vec<u8>,
    entries: Vec<(HecOneRecordId, i64, u16, usize)>,
    upcoming: Vec<Reverse<(i64, u64)>>,
}

/// Sales rendered into one allocation.
const BATCH: u64 = 4096;

impl HecOneRecordStore {
    /// Renders the world as it is at `clock`, on all cores. Errors when a record cannot be written, which is a bug.
    pub(crate) fn new(world: Arc<HecOneWorld>, clock: Timestamp) -> Result<Self> {
        let all = world.transactions + world.stragglers;
        let next = std::sync::atomic::AtomicU64::new(0);
        let threads = std::thread::available_parallelism()
            .map_or(1, std::num::NonZero::get)
            .min(16);
        let mut batches: Vec<(u64, RenderedBatch)> =
            std::thread::scope(|scope| {
                let work = || -> Result<Vec<(u64, RenderedBatch)>> {
                    let mut done = Vec::new();
                    loop {
                        let start = next.fetch_add(BATCH, std::sync::atomic::Ordering::Relaxed);
                        if start >= all {
                            return Ok(done);
                        }
                        done.push((start, batch(&world, start, all.min(start + BATCH), clock)?));
                    }
                };
                let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                let mut all = Vec::new();
                for worker in workers {
                    all.extend(worker.join().map_err(|_| {
                        Error::internal("a generator thread of the sandbox failed")
                    })??);
                }
                Ok::<_, Error>(all)
            })?;
        batches.sort_unstable_by_key(|(start, _)| *start);
        let mut records = Self {
            mandators: world.places.mandators.clone(),
            rows: Vec::with_capacity(usize::try_from(all).unwrap_or(0)),
            order: Vec::new(),
            generation: 0,
            clock,
            by_id: HashMap::with_capacity(usize::try_from(all).unwrap_or(0)),
            upcoming: BinaryHeap::new(),
            touched: HashSet::new(),
            inserted: 0,
            world,
        };
        for (_, batch) in batches {
            let body = Bytes::from(batch.body);
            let mut from = 0;
            for (id, time, mandator, to) in batch.entries {
                records.by_id.insert(id.clone(), records.rows.len() as u32);
                records.rows.push(HecOneStoredRecord {
                    id,
                    time: Some(time),
                    mandator,
                    body: body.slice(from..to),
                    alive: true,
                });
                from = to;
            }
            records.upcoming.extend(batch.upcoming);
        }
        records.reorder();
        Ok(records)
    }

    fn reorder(&mut self) {
        let mut keys: Vec<(i64, u32)> = Vec::with_capacity(self.rows.len());
        keys.extend(
            self.rows
                .iter()
                .enumerate()
                .filter(|(_, r)| r.alive)
                .filter_map(|(i, r)| Some((r.time?, i as u32))),
        );
        let rows = &self.rows;
        keys.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0)
                .then_with(|| rows[a.1 as usize].id.cmp(&rows[b.1 as usize].id))
        });
        self.order = keys.into_iter().map(|(_, row)| row).collect();
        self.generation += 1;
    }

    /// Moves the clock forward and with it every sale whose turn has come.
    pub(crate) fn set_clock(&mut self, clock: Timestamp) -> Result<()> {
        self.clock = clock;
        let now = clock.as_microsecond();
        let mut changed = false;
        while let Some(Reverse((second, number))) = self.upcoming.peek().copied() {
            if second.saturating_mul(1_000_000) >= now {
                break;
            }
            self.upcoming.pop();
            let sale = self.world.sale(number);
            let (stage, next) = sale.at(now);
            if let Some(second) = next {
                self.upcoming.push(Reverse((second, number)));
            }
            let Some(stage) =
                stage.filter(|_| !self.touched.contains(&HecOneRecordId::Uuid(sale.id)))
            else {
                continue;
            };
            let (body, time, mandator) = render_one(&self.world, &sale, stage)?;
            self.store(HecOneRecordId::Uuid(sale.id), Some(time), mandator, body);
            changed = true;
        }
        if changed {
            self.reorder();
        }
        Ok(())
    }

    /// Overwrites or adds a row; the order is the caller's to mend.
    fn store(&mut self, id: HecOneRecordId, time: Option<i64>, mandator: u16, body: Bytes) -> u32 {
        let row = HecOneStoredRecord {
            id: id.clone(),
            time,
            mandator,
            body,
            alive: true,
        };
        if let Some(index) = self.by_id.get(&id) {
            self.rows[*index as usize] = row;
            return *index;
        }
        let index = self.rows.len() as u32;
        self.rows.push(row);
        self.by_id.insert(id, index);
        index
    }

    /// The living row of an id.
    pub(crate) fn find(&self, id: &str) -> Option<&HecOneStoredRecord> {
        let row = self
            .by_id
            .get(&HecOneRecordId::parse(id))
            .map(|index| &self.rows[*index as usize])?;
        row.alive.then_some(row)
    }

    fn place_of(&self, time: i64, id: &HecOneRecordId) -> usize {
        self.order.partition_point(|index| {
            let row = &self.rows[*index as usize];
            (row.time.unwrap_or(i64::MIN), &row.id) < (time, id)
        })
    }

    fn take_out(&mut self, id: &HecOneRecordId) -> bool {
        let Some(index) = self.by_id.get(id).copied() else {
            return false;
        };
        let row = &self.rows[index as usize];
        let (time, alive) = (row.time, row.alive);
        if let Some(time) = time.filter(|_| alive) {
            let at = self.place_of(time, id);
            self.order.remove(at);
        }
        self.rows[index as usize].alive = false;
        alive
    }

    /// Puts a record exactly as written, in place of one with the same id. `time` overrides the record time found in it; a
    /// record without any is in no window. Errors with [`tillhouse_model::ErrorKind::Data`] when it is no JSON object with an id.
    pub(crate) fn put(&mut self, json: &str, time: Option<Timestamp>) -> Result<String> {
        let bad = || Error::data("a record must be a JSON object with a string `id`");
        let known: HecOneRecordHeader = serde_json::from_str(json).map_err(|_| bad())?;
        let id = known
            .id
            .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
            .ok_or_else(bad)?;
        let mandator = known
            .mandator_id
            .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let time = time
            .map(Timestamp::as_microsecond)
            .or_else(|| record_time(json.as_bytes()));
        // A line of the truth holds one record.
        let line = json.trim().replace(['\n', '\r'], " ");
        self.insert(
            HecOneRecordId::parse(&id),
            time,
            mandator.as_deref().unwrap_or_default(),
            line.into(),
        );
        Ok(id)
    }

    /// Adds or replaces a record by hand; its plan, if it had one, no longer holds.
    pub(crate) fn insert(
        &mut self,
        id: HecOneRecordId,
        time: Option<i64>,
        mandator: &str,
        body: Bytes,
    ) {
        let mandator = match self.mandators.iter().position(|known| known == mandator) {
            Some(index) => index,
            None => {
                self.mandators.push(mandator.to_owned());
                self.mandators.len() - 1
            }
        };
        self.take_out(&id);
        self.touched.insert(id.clone());
        let at = time.map(|time| self.place_of(time, &id));
        let index = self.store(id, time, mandator as u16, body);
        if let Some(at) = at {
            self.order.insert(at, index);
        }
        self.generation += 1;
    }

    /// Removes a record; false when there was none.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let id = HecOneRecordId::parse(id);
        let was = self.take_out(&id);
        self.touched.insert(id);
        self.generation += 1;
        was
    }

    /// Counts what was made up by hand.
    pub(super) fn next_inserted(&mut self) -> u64 {
        self.inserted += 1;
        self.inserted
    }

    /// All known records: by time, then those without one.
    pub(crate) fn live_records(&self) -> impl Iterator<Item = &HecOneStoredRecord> {
        let timeless = self
            .rows
            .iter()
            .filter(|row| row.alive && row.time.is_none());
        self.order
            .iter()
            .map(|index| &self.rows[*index as usize])
            .chain(timeless)
    }

    /// Rows with their time in [from, to), or [from, to] where `to_included`; in order of (time, id).
    pub(crate) fn between(&self, from: i64, to: i64, to_included: bool) -> &[u32] {
        let time = |index: &u32| self.rows[*index as usize].time.unwrap_or(i64::MIN);
        let start = self.order.partition_point(|index| time(index) < from);
        let end = self
            .order
            .partition_point(|index| time(index) < to || (to_included && time(index) == to));
        self.order.get(start..end.max(start)).unwrap_or_default()
    }

    /// Applies a change to a record: lines and payments are merged by id, the state machine runs, the result is stored.
    pub(crate) fn settle(&mut self, mut transaction: HecOneTransaction<'static>) -> Result<Bytes> {
        let zone = transaction
            .site
            .as_ref()
            .and_then(|s| s.timezone.as_deref())
            .and_then(time_zone)
            .unwrap_or(jiff::tz::TimeZone::UTC);
        let now = super::receipts::local_timestamp(&zone, self.clock.as_second());
        states::settle(&mut transaction, &now);
        let body = write(&transaction)?;
        let time = record_time(&body);
        let mandator = transaction.mandator_id.clone().into_owned();
        self.insert(
            HecOneRecordId::parse(&transaction.id),
            time,
            &mandator,
            body.clone(),
        );
        Ok(body)
    }

    /// An id that no other record has.
    pub(crate) fn fresh_id(&mut self) -> String {
        let number = self.world.transactions + self.world.stragglers + self.next_inserted();
        uuid_text(self.world.sale(number).id)
    }
}

/// Id and mandator of a record.
#[derive(serde::Deserialize)]
struct HecOneRecordHeader<'a> {
    #[serde(borrow)]
    id: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow)]
    mandator_id: Option<&'a serde_json::value::RawValue>,
}

/// A record as JSON. Errors only if serde_json does, which is a bug.
pub(crate) fn write(transaction: &HecOneTransaction<'_>) -> Result<Bytes> {
    serde_json::to_vec(transaction)
        .map(Bytes::from)
        .map_err(|error| Error::internal("the sandbox cannot write a record").because(error))
}

/// One record on its own: its bytes, its time in microseconds, its mandator.
pub(super) fn render_one(
    world: &HecOneWorld,
    sale: &HecOneSale,
    stage: SaleStage,
) -> Result<(Bytes, i64, u16)> {
    let (transaction, rendered) = render::transaction(world, sale, stage);
    Ok((
        write(&transaction)?,
        rendered.time * 1_000_000,
        world.places.sites[sale.site].mandator,
    ))
}

fn batch(world: &HecOneWorld, start: u64, end: u64, clock: Timestamp) -> Result<RenderedBatch> {
    let clock = clock.as_microsecond();
    let mut batch = RenderedBatch {
        body: Vec::with_capacity(usize::try_from(end - start).unwrap_or(0) * 2400),
        entries: Vec::with_capacity(usize::try_from(end - start).unwrap_or(0)),
        upcoming: Vec::new(),
    };
    for number in start..end {
        let sale = world.sale(number);
        let (stage, next) = sale.at(clock);
        batch
            .upcoming
            .extend(next.map(|second| Reverse((second, number))));
        let Some(stage) = stage else { continue };
        let (transaction, rendered) = render::transaction(world, &sale, stage);
        serde_json::to_writer(&mut batch.body, &transaction)
            .map_err(|error| Error::internal("the sandbox cannot write a record").because(error))?;
        let mandator = world.places.sites[sale.site].mandator;
        batch.entries.push((
            HecOneRecordId::Uuid(sale.id),
            rendered.time * 1_000_000,
            mandator,
            batch.body.len(),
        ));
    }
    Ok(batch)
}

/// The record time of any record, however odd the rest of it: invoice.created_at, else the earliest start of an article, else
/// the earliest creation of a payment; microseconds since 1970 UTC.
pub(crate) fn record_time(body: &[u8]) -> Option<i64> {
    let record: serde_json::Value = serde_json::from_slice(body).ok()?;
    let instant = |value: &serde_json::Value| -> Option<i64> {
        Some(value.as_str()?.parse::<Timestamp>().ok()?.as_microsecond())
    };
    let earliest = |list: &str, field: &str| -> Option<i64> {
        record
            .get(list)?
            .as_array()?
            .iter()
            .filter_map(|entry| instant(entry.get(field)?))
            .min()
    };
    record
        .get("invoice")
        .and_then(|invoice| instant(invoice.get("created_at")?))
        .or_else(|| earliest("articles", "start_time"))
        .or_else(|| earliest("payments", "created_at"))
}
