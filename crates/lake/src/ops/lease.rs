//! Leases: one object, `ops/leases.json`, that says of every pipeline which run writes it now.
//!
//! ```text
//!   no entry --swap--> held --swap, again and again--> held (renewed)
//!                       |  --swap--> released --swap--> held by the next
//!                       +--abandoned: swap by whoever judges so--> held by another
//!
//!   swap of some entries   each is what was read, or its owner's own --no--> another was faster
//!                                          | yes
//!                          put if the object is unchanged --conflict--> read anew, after a pause
//! ```
//!
//! Invariant: a lease changes hands by compare-and-swap of the whole object, on entries that are what was read: of two who take one gets it, an
//! owner that was taken over cannot renew, and no write drops an entry of another pipeline. No entry is ever removed: one that begins anew would let
//! somebody swap what is no longer the same. A lease keeps writers from doing the same work twice; that tables are right stays the commit's matter.
//! Of an object that cannot be read every entry is nobody's that can be told, and expires as any other does, by the time at which the store got it.
//!
//! Rejected: an object a pipeline. Each run wrote each of them twice, and writes cost most. Rejected too: a lock of the file system (object stores
//! have none), and an expiry that is judged by the store's clock (no store tells it in a way that all of them share).

use crate::ops::edit::OpsTables;
use crate::store::bounded::bounded_bytes;
use crate::store::durable::LOCK;
use crate::store::json_seal::{self, UNKNOWN};
use crate::store::misplaced::Misplaced;
use jiff::{SignedDuration, Timestamp};
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use uuid::Uuid;

/// The leases of all pipelines, below the warehouse.
pub(crate) const LEASES: &str = "ops/leases.json";
/// Seconds until a lease has expired that does not say it.
const UNREADABLE_VALID_SECONDS: u32 = 60;
/// Time after which it is forgotten that the object could not be read: whatever was in it has expired, also by clocks that differ.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// Tries of a write that others are faster than.
const ROUNDS: u32 = 16;
/// Longest pause before the second try, in milliseconds; it doubles with each further one,
const FIRST_PAUSE: u64 = 20;
/// up to this.
const LONGEST_PAUSE: u64 = 1_000;

/// Owner of a lease: the process and its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseOwner {
    /// The machine's name.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// Identity of the process among all that ever ran on that machine, where the system gives one: a process id is used again.
    #[serde(default)]
    pub process: Option<String>,
    /// The run.
    pub run_id: String,
    /// The run's command, `sync` or `rebuild`.
    pub command: String,
}

impl std::fmt::Display for LeaseOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            host,
            pid,
            run_id,
            command,
            ..
        } = self;
        write!(f, "{command} {run_id}, process {pid} on {host}")
    }
}

/// Content of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The pipeline that it is about.
    pub pipeline: String,
    /// Owner that holds it, or held it last.
    #[serde(flatten)]
    pub owner: LeaseOwner,
    /// When it was taken, by its owner's clock.
    pub since: Timestamp,
    /// When it was renewed last, by its owner's clock.
    pub renewed_at: Timestamp,
    /// Seconds from a renewal until it has expired.
    pub valid_seconds: u32,
    /// True if its owner has given it back.
    pub released: bool,
    /// Identity of this very writing of it.
    pub write_id: String,
}

impl LeaseRecord {
    /// A lease that is taken at a moment.
    pub fn new(pipeline: &str, owner: LeaseOwner, at: Timestamp, valid: SignedDuration) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            owner,
            since: at,
            renewed_at: at,
            valid_seconds: u32::try_from(valid.as_secs()).unwrap_or(u32::MAX),
            released: false,
            write_id: Uuid::new_v4().to_string(),
        }
    }

    /// The same lease, renewed at a moment.
    #[must_use]
    pub fn renewed(&self, at: Timestamp) -> Self {
        Self {
            renewed_at: at,
            write_id: Uuid::new_v4().to_string(),
            ..self.clone()
        }
    }

    /// The same lease, given back at a moment.
    #[must_use]
    pub fn released(&self, at: Timestamp) -> Self {
        Self {
            released: true,
            ..self.renewed(at)
        }
    }
}

/// A lease as it was read.
#[derive(Debug, Clone)]
pub struct StoredLease {
    /// Its content; of one that cannot be read, a lease of nobody from the moment at which the store got it.
    pub record: LeaseRecord,
    /// Reason that it cannot be read, with its file.
    pub damage: Option<String>,
}

/// Leases of all pipelines as they were read or written, with the version of their object.
#[derive(Debug, Clone, Default)]
pub struct StoredLeases {
    records: BTreeMap<String, LeaseRecord>,
    unreadable: Option<UnreadableLeases>,
    /// `None` where there is no object.
    version: Option<UpdateVersion>,
}

/// Leases that could not be read: of all pipelines that have no entry since.
#[derive(Debug, Clone)]
struct UnreadableLeases {
    /// When they were written.
    since: Timestamp,
    why: String,
    /// True if the object was written anew since.
    is_mended: bool,
}

/// Content of the object.
#[derive(Serialize, Deserialize)]
struct LeaseFile {
    #[serde(rename = "tillhouseChecksum", skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    leases: Vec<LeaseRecord>,
    /// When an object was written that could not be read and that this one took the place of: it may have held leases of further pipelines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unreadable_since: Option<Timestamp>,
}

/// Change of one pipeline's lease.
#[derive(Debug, Clone)]
pub struct LeaseSwap {
    record: LeaseRecord,
    condition: SwapCondition,
}

/// Lease that a swap may take the place of.
#[derive(Debug, Clone)]
enum SwapCondition {
    /// The very writing that was read; `None` where the pipeline had no lease.
    Read(Option<String>),
    /// The owner's own, or one that cannot be read, where that `mends` it.
    Own { mends: bool },
}

impl LeaseSwap {
    /// Takes the place of the lease that was read, or of none.
    pub fn of(read: Option<&LeaseRecord>, record: LeaseRecord) -> Self {
        Self {
            record,
            condition: SwapCondition::Read(read.map(|read| read.write_id.clone())),
        }
    }

    /// Renews a lease or gives it back, by its owner. One that cannot be read it `mends` where its owner knows that nobody else may have taken it.
    pub fn by_owner(record: LeaseRecord, mends: bool) -> Self {
        Self {
            record,
            condition: SwapCondition::Own { mends },
        }
    }

    /// The lease that it writes.
    pub fn into_record(self) -> LeaseRecord {
        self.record
    }

    fn may_replace(&self, found: Option<&StoredLease>) -> bool {
        match (&self.condition, found) {
            (SwapCondition::Read(read), found) => {
                read.as_ref() == found.map(|found| &found.record.write_id)
            }
            (SwapCondition::Own { .. }, None) => false,
            (SwapCondition::Own { mends }, Some(found)) => match found.damage {
                Some(_) => *mends,
                None => {
                    let (found, own) = (&found.record, &self.record);
                    !found.released && found.owner == own.owner && found.since == own.since
                }
            },
        }
    }
}

/// Outcome of some swaps.
#[derive(Debug, Clone)]
pub struct SwappedLeases {
    /// For each, in their order, whether it was done; `false` where another writer was faster.
    pub done: Vec<bool>,
    /// The leases as they are since.
    pub leases: StoredLeases,
}

impl StoredLeases {
    /// The lease of a pipeline, held, expired or released; `None` where none was ever taken.
    pub fn of(&self, pipeline: &str) -> Option<StoredLease> {
        let known = self.records.get(pipeline).map(|record| StoredLease {
            record: record.clone(),
            damage: None,
        });
        let unreadable = || {
            self.unreadable.as_ref().map(|unreadable| StoredLease {
                record: unreadable_lease(pipeline, unreadable.since),
                damage: Some(format!("{LEASES}: {}", unreadable.why)),
            })
        };
        known.or_else(unreadable)
    }

    /// The same after those swaps that may be made, and which these are.
    fn swapped(&self, swaps: &[LeaseSwap], now: Timestamp) -> (Self, Vec<bool>) {
        let mut next = self.clone();
        let mut done = Vec::with_capacity(swaps.len());
        for swap in swaps {
            let pipeline = &swap.record.pipeline;
            let may_replace = swap.may_replace(next.of(pipeline).as_ref());
            if may_replace {
                next.records.insert(pipeline.clone(), swap.record.clone());
            }
            done.push(may_replace);
        }
        next.unreadable = next
            .unreadable
            .filter(|unreadable| now.duration_since(unreadable.since) <= FORGOTTEN_AFTER)
            .map(|unreadable| UnreadableLeases::mended(unreadable.since));
        (next, done)
    }

    /// True if a lease stands there in the very writing that is meant.
    fn has(&self, record: &LeaseRecord) -> bool {
        let found = self.records.get(&record.pipeline);
        found.is_some_and(|found| found.write_id == record.write_id)
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let file = LeaseFile {
            checksum: Some(UNKNOWN.to_owned()),
            leases: self.records.values().cloned().collect(),
            unreadable_since: self.unreadable.as_ref().map(|unreadable| unreadable.since),
        };
        let bytes =
            serde_json::to_vec(&file).or_error(ErrorKind::Internal, "leases have no JSON")?;
        Ok(json_seal::sealed(bytes))
    }
}

impl LeaseFile {
    /// Content of an object, or why it is none.
    fn read(bytes: &[u8]) -> std::result::Result<Self, String> {
        let file = serde_json::from_slice(bytes).map_err(|error| damage_of(bytes, &error))?;
        match json_seal::is_sound(bytes) {
            true => Ok(file),
            false => Err("it is not what was written".to_owned()),
        }
    }
}

impl UnreadableLeases {
    /// Leases that stood in an object that was written anew since.
    fn mended(since: Timestamp) -> Self {
        Self {
            since,
            why: "it could not be read, and was written anew since".to_owned(),
            is_mended: true,
        }
    }
}

impl OpsTables {
    /// The leases of all pipelines. One request.
    ///
    /// Errors with [`ErrorKind::Storage`] where the store does not give them. Of an object that is empty, cut or something else, each is of nobody; where no file
    /// stands in its place, there are none, and [`OpsTables::swap_leases`] fails.
    pub async fn leases(&self) -> Result<StoredLeases> {
        let failed = |error: StoreError| {
            Error::new(ErrorKind::Storage, "the pipelines' leases cannot be read")
                .at("file", LEASES)
                .because(error)
        };
        // A pipe or a folder says nothing of any lease, and whoever would take one is told.
        if self.registry.misplaced(LEASES).is_some() {
            return Ok(StoredLeases::default());
        }
        let found = match self
            .registry
            .store()
            .get(&self.registry.below(LEASES))
            .await
        {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(StoredLeases::default()),
            Err(error) => return Err(failed(error)),
        };
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        let meta = found.meta.clone();
        let bytes = bounded_bytes(found).await.map_err(failed)?;
        let (records, unreadable) = match LeaseFile::read(&bytes) {
            Ok(file) => {
                let records = file.leases.into_iter();
                let records = records.map(|record| (record.pipeline.clone(), record));
                (
                    records.collect(),
                    file.unreadable_since.map(UnreadableLeases::mended),
                )
            }
            Err(why) => {
                let unreadable = UnreadableLeases {
                    since: written_at(&meta, LEASES)?,
                    why,
                    is_mended: false,
                };
                (BTreeMap::new(), Some(unreadable))
            }
        };
        Ok(StoredLeases {
            records,
            unreadable,
            version: Some(version),
        })
    }

    /// The lease of a pipeline, as [`OpsTables::leases`] has it.
    pub async fn lease(&self, pipeline: &str) -> Result<Option<StoredLease>> {
        Ok(self.leases().await?.of(pipeline))
    }

    /// Leases that cannot be read, each with what to do.
    pub async fn damaged_leases(&self) -> Vec<Error> {
        let (leases, earlier) = tokio::join!(self.leases(), self.earlier_leases());
        let told = |since: Timestamp, file: String| {
            Error::new(ErrorKind::Storage, "leases of pipelines are damaged")
                .at("file", file)
                .at("written", since.to_string())
                .hint(
                    "The next `tillhouse sync` of each pipeline takes over within two minutes, unless a run renews its lease. If no run is under way \
                     anywhere, the file may be removed.",
                )
        };
        let mut damaged = Vec::new();
        match leases {
            Ok(leases) => {
                let unreadable = leases.unreadable.filter(|unreadable| !unreadable.is_mended);
                damaged.extend(unreadable.map(|unreadable| {
                    told(unreadable.since, format!("{LEASES}: {}", unreadable.why))
                }));
            }
            Err(error) => damaged.push(error),
        }
        match earlier {
            Ok(earlier) => damaged.extend(earlier.into_iter().filter_map(|lease| {
                let damage = lease.damage?;
                Some(told(lease.record.renewed_at, damage))
            })),
            Err(error) => damaged.push(error),
        }
        damaged
    }

    /// Writes a pipeline's lease in place of the one that was read, or where there was none; `None` where another writer was faster.
    ///
    /// Errors as [`OpsTables::swap_leases`].
    pub async fn swap_lease(
        &self,
        read: Option<&StoredLease>,
        record: LeaseRecord,
    ) -> Result<Option<StoredLease>> {
        let swap = LeaseSwap::of(read.map(|read| &read.record), record.clone());
        let swapped = self.swap_leases(None, &[swap]).await?;
        let is_done = swapped.done.first().is_some_and(|done| *done);
        Ok(is_done.then_some(StoredLease {
            record,
            damage: None,
        }))
    }

    /// Makes those of some swaps that may be made, in one write; nothing is written where there is none. Leases that are `known` already need not be
    /// read, as long as nobody has changed any since.
    ///
    /// Errors with [`ErrorKind::Storage`] where they are not known to be written or no file can be, and with [`ErrorKind::Busy`] where other runs' writes were faster
    /// each time.
    pub async fn swap_leases(
        &self,
        mut known: Option<StoredLeases>,
        swaps: &[LeaseSwap],
    ) -> Result<SwappedLeases> {
        for round in 0..ROUNDS {
            self.check_place_of_leases()?;
            // What was known may be outdated: nobody loses but by what is there now.
            let known = known
                .take()
                .filter(|known| !known.swapped(swaps, self.now()).1.contains(&false));
            let read = match known {
                Some(known) => known,
                None => self.leases().await?,
            };
            let (next, done) = read.swapped(swaps, self.now());
            if !done.contains(&true) {
                return Ok(SwappedLeases { done, leases: read });
            }
            let written: Vec<&LeaseRecord> = swaps
                .iter()
                .zip(&done)
                .filter_map(|(swap, is_done)| is_done.then_some(&swap.record))
                .collect();
            if let Some(leases) = self.put_leases(&read, next, &written).await? {
                return Ok(SwappedLeases { done, leases });
            }
            tokio::time::sleep(pause(round)).await;
        }
        Err(Error::new(
            ErrorKind::Busy,
            "other runs change the leases of their pipelines all the time",
        )
        .at("file", LEASES)
        .at("tries", ROUNDS.to_string())
        .hint(
            "Run the command again. If that does not help, start syncs of so many projects or pipelines one after the other, or sync all pipelines of a \
             project by one command.",
        ))
    }

    /// Errors where something else than a file stands in the place of the leases, or of their lock: nothing would ever take that name, and no wait ends that.
    fn check_place_of_leases(&self) -> Result<()> {
        let lock = format!("{LEASES}{LOCK}");
        let mut found = [LEASES, &lock]
            .into_iter()
            .filter_map(|file| self.registry.misplaced(file));
        found.next().map_or(Ok(()), |found| Err(no_file(&found)))
    }

    /// Writes leases in place of those that were read; `None` where another writer was faster. What was `written` is what differs.
    async fn put_leases(
        &self,
        read: &StoredLeases,
        next: StoredLeases,
        written: &[&LeaseRecord],
    ) -> Result<Option<StoredLeases>> {
        let options = PutOptions {
            mode: read
                .version
                .clone()
                .map_or(PutMode::Create, PutMode::Update),
            ..PutOptions::default()
        };
        let (store, path) = (self.registry.store(), self.registry.below(LEASES));
        let put = store.put_opts(&path, next.bytes()?.into(), options).await;
        if let Ok(PutResult {
            e_tag: Some(e_tag),
            version,
        }) = put
        {
            let version = Some(UpdateVersion {
                e_tag: Some(e_tag),
                version,
            });
            return Ok(Some(StoredLeases { version, ..next }));
        }
        // Every error means "unknown": a request that was tried again underneath meets its own success.
        let found = self.leases().await?;
        let is_ours = written.iter().all(|record| found.has(record));
        match put {
            _ if is_ours => Ok(Some(found)),
            Ok(_)
            | Err(
                StoreError::AlreadyExists { .. }
                | StoreError::Precondition { .. }
                | StoreError::NotFound { .. },
            ) => Ok(None),
            Err(error) => Err(Error::new(
                ErrorKind::Storage,
                "the pipelines' leases cannot be written",
            )
            .at("file", LEASES)
            .because(error)),
        }
    }
}

fn no_file(found: &Misplaced) -> Error {
    let what = format!(
        "{} stands in the place of the pipelines' leases",
        found.kind
    );
    Error::new(ErrorKind::Storage, what)
        .at("file", found.place.display().to_string())
        .hint("Look at what it is, and move it away: the next run makes the file anew. Until then no run begins.")
}

/// Pause before the next try, by chance, so that two writers do not meet again.
fn pause(round: u32) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(1 << round.min(16))
        .min(LONGEST_PAUSE);
    let (_, chance) = Uuid::new_v4().as_u64_pair();
    Duration::from_millis(1 + chance % longest)
}

/// When the store got an object.
pub(super) fn written_at(meta: &ObjectMeta, name: &str) -> Result<Timestamp> {
    Timestamp::from_millisecond(meta.last_modified.timestamp_millis())
        .or_error(
            ErrorKind::Storage,
            "a lease was written at no possible time",
        )
        .map_err(|error| error.at("file", name))
}

/// Reason that an object is none of leases.
pub(super) fn damage_of(bytes: &[u8], error: &serde_json::Error) -> String {
    match bytes.is_empty() {
        true => "it is empty".to_owned(),
        false => error.to_string(),
    }
}

/// The lease of nobody that stands for one that cannot be read.
pub(super) fn unreadable_lease(pipeline: &str, since: Timestamp) -> LeaseRecord {
    let unknown = || "unknown".to_owned();
    LeaseRecord {
        pipeline: pipeline.to_owned(),
        owner: LeaseOwner {
            host: unknown(),
            pid: 0,
            process: None,
            run_id: unknown(),
            command: "a run".to_owned(),
        },
        since,
        renewed_at: since,
        valid_seconds: UNREADABLE_VALID_SECONDS,
        released: false,
        write_id: format!("unreadable {since}"),
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
