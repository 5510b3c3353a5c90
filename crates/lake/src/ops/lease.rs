//! Leases: one object a pipeline, `ops/leases/<pipeline>.json`, that says which run writes it now.
//!
//! ```text
//!   none --put if absent--> held --compare-and-swap, again and again--> held (renewed)
//!                            |  --compare-and-swap--> released --compare-and-swap--> held by the next
//!                            +--abandoned: compare-and-swap by whoever judges so--> held by another
//! ```
//!
//! Invariant: a lease changes hands by compare-and-swap on the version that was read, so of two who take it one gets it, and an owner
//! that was taken over cannot renew. It is never deleted: a number that begins anew would let somebody swap what is no longer the same. A
//! lease keeps writers from doing the same work twice; that tables are right stays the commit's matter. One that cannot be read is nobody's that can be
//! told, and expires as any other does, by the time at which the store got it.
//!
//! Rejected: a lock of the file system (object stores have none), and an expiry that is judged by the store's clock (no store tells it in a
//! way that all of them share).

use crate::ops::edit::OpsTables;
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion,
};
use serde::{Deserialize, Serialize};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use uuid::Uuid;

const FOLDER: &str = "ops/leases";
const SUFFIX: &str = ".json";
/// Seconds until a lease has expired that does not say it.
const UNREADABLE_VALID_SECONDS: u32 = 60;

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

/// A lease as it was read or written, with its version on the store.
#[derive(Debug, Clone)]
pub struct StoredLease {
    /// Its content; of one that cannot be read, a lease of nobody from the moment at which the store got it.
    pub record: LeaseRecord,
    /// Why it cannot be read, with its file.
    pub damage: Option<String>,
    version: UpdateVersion,
}

impl OpsTables {
    /// The lease of a pipeline, held, expired or released; `None` where none was ever taken.
    ///
    /// Errors with [`ErrorKind::Storage`] where the store does not give it. One that is empty, cut or something else is a lease of nobody.
    pub async fn lease(&self, pipeline: &str) -> Result<Option<StoredLease>> {
        let (path, name) = self.lease_path(pipeline);
        let failed = |error: StoreError| {
            Error::new(ErrorKind::Storage, "a pipeline's lease cannot be read")
                .at("file", name.clone())
                .because(error)
        };
        let found = match self.registry.store().get(&path).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        let meta = found.meta.clone();
        let bytes = found.bytes().await.map_err(failed)?;
        let (record, damage) = match serde_json::from_slice(&bytes) {
            Ok(record) => (record, None),
            Err(error) => {
                let why = match bytes.is_empty() {
                    true => "it is empty".to_owned(),
                    false => error.to_string(),
                };
                let at = Timestamp::from_millisecond(meta.last_modified.timestamp_millis())
                    .or_error(
                        ErrorKind::Storage,
                        "a lease was written at no possible time",
                    )
                    .map_err(|error| error.at("file", name.clone()))?;
                (
                    unreadable(pipeline, at, &meta),
                    Some(format!("{name}: {why}")),
                )
            }
        };
        Ok(Some(StoredLease {
            record,
            damage,
            version,
        }))
    }

    /// Leases that cannot be read, each with what to do.
    pub async fn damaged_leases(&self) -> Vec<Error> {
        let folder = self.registry.below(FOLDER);
        let listed: std::result::Result<Vec<_>, _> = self
            .registry
            .store()
            .list(Some(&folder))
            .try_collect()
            .await;
        let listed = match listed {
            Ok(listed) => listed,
            Err(StoreError::NotFound { .. }) => Vec::new(),
            Err(error) => {
                return vec![
                    Error::new(ErrorKind::Storage, "the pipelines' leases cannot be listed")
                        .at("folder", FOLDER)
                        .because(error),
                ];
            }
        };
        let mut damaged = Vec::new();
        let names = listed
            .iter()
            .filter_map(|found| found.location.filename()?.strip_suffix(SUFFIX));
        for pipeline in names {
            match self.lease(pipeline).await {
                Ok(Some(StoredLease {
                    record,
                    damage: Some(damage),
                    ..
                })) => damaged.push(
                    Error::new(ErrorKind::Storage, "a pipeline's lease is damaged")
                        .at("file", damage)
                        .at("written", record.renewed_at.to_string())
                        .hint(
                            "The next `tillhouse sync` of the pipeline takes it over within two minutes, unless a run renews it. If no run of it is under \
                             way anywhere, the file may be removed.",
                        ),
                ),
                Ok(_) => {}
                Err(error) => damaged.push(error),
            }
        }
        damaged
    }

    /// Writes a lease in place of the one that was read, or where there was none; `None` where another writer was faster.
    ///
    /// Errors with [`ErrorKind::Storage`] where it is not known to be written.
    pub async fn swap_lease(
        &self,
        read: Option<&StoredLease>,
        record: LeaseRecord,
    ) -> Result<Option<StoredLease>> {
        let (path, name) = self.lease_path(&record.pipeline);
        let bytes =
            serde_json::to_vec(&record).or_error(ErrorKind::Internal, "a lease has no JSON")?;
        let mode = read.map_or(PutMode::Create, |read| {
            PutMode::Update(read.version.clone())
        });
        let options = PutOptions {
            mode,
            ..PutOptions::default()
        };
        let put = self
            .registry
            .store()
            .put_opts(&path, bytes.into(), options)
            .await;
        if let Ok(PutResult {
            e_tag: Some(e_tag),
            version,
        }) = put
        {
            let version = UpdateVersion {
                e_tag: Some(e_tag),
                version,
            };
            return Ok(Some(StoredLease {
                record,
                damage: None,
                version,
            }));
        }
        // Every error means "unknown": a request that was tried again underneath meets its own success.
        let found = self.lease(&record.pipeline).await?;
        let is_there = found.is_some();
        let ours = found.filter(|found| found.record.write_id == record.write_id);
        match put {
            _ if ours.is_some() => Ok(ours),
            // No run removes a lease: what is there and is none was put there by something else.
            Err(StoreError::AlreadyExists { .. }) if read.is_none() && !is_there => {
                Err(Error::new(
                    ErrorKind::Storage,
                    "what lies where a pipeline's lease belongs is no file",
                )
                .at("file", name)
                .hint("Look at what it is, a folder perhaps, and move it away."))
            }
            Ok(_)
            | Err(
                StoreError::AlreadyExists { .. }
                | StoreError::Precondition { .. }
                | StoreError::NotFound { .. },
            ) => Ok(None),
            Err(error) => Err(Error::new(
                ErrorKind::Storage,
                "a pipeline's lease cannot be written",
            )
            .at("file", name)
            .because(error)),
        }
    }

    fn lease_path(&self, pipeline: &str) -> (Path, String) {
        let name = format!("{FOLDER}/{pipeline}{SUFFIX}");
        (self.registry.below(&name), name)
    }
}

/// The lease of nobody that stands for one that cannot be read.
fn unreadable(pipeline: &str, at: Timestamp, meta: &ObjectMeta) -> LeaseRecord {
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
        since: at,
        renewed_at: at,
        valid_seconds: UNREADABLE_VALID_SECONDS,
        released: false,
        write_id: format!("{:?} {at} {}", meta.e_tag, meta.size),
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
