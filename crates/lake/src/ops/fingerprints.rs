//! Fingerprints of a pipeline's records on storage: one object a pipeline, read and written at most once a run.
//!
//! Invariant: they only spare reading. Without the object, or where it is damaged, older than its tables or of another version of the program,
//! landing finds out from the tables what it says; it is never needed to tell what was read.
//!
//! ```text
//!   ops/fingerprints/<pipeline>   one line of JSON: checksum of the rest, and of each resource the identity of its files and its number of bytes
//!                                 then the entries, resource by resource
//! ```

use crate::ops::edit::OpsTables;
use crate::source::fingerprints::{FingerprintUse, RecordFingerprints};
use crate::store::bounded::bounded_bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tillhouse_model::{Error, ErrorKind};
use xxhash_rust::xxh3::xxh3_128;

/// The folder below the warehouse.
pub(crate) const FOLDER: &str = "ops/fingerprints";
/// Edition of the form on storage.
const EDITION: u32 = 1;

/// First line of the object.
#[derive(Serialize, Deserialize)]
struct FileHeader {
    edition: u32,
    /// Checksum of what follows the line.
    checksum: String,
    resources: Vec<StoredResource>,
}

/// Entries of one resource in the object.
#[derive(Serialize, Deserialize)]
struct StoredResource {
    resource: String,
    files: String,
    bytes: usize,
}

/// Fingerprints of the records of one pipeline, by resource.
#[derive(Debug, Default)]
pub struct PipelineFingerprints {
    pipeline: String,
    /// As they stand on storage.
    before: BTreeMap<String, (u128, Vec<u8>)>,
    /// Those that this run keeps up to date.
    used: Mutex<BTreeMap<String, Arc<RecordFingerprints>>>,
}

impl PipelineFingerprints {
    /// Those of one resource's records, for [`SourceTable::recognizing`](crate::SourceTable::recognizing).
    pub fn of(&self, resource: &str, use_of: FingerprintUse) -> Arc<RecordFingerprints> {
        let mut used = self.used();
        let of_resource = used.entry(resource.to_owned()).or_insert_with(|| {
            let before = self.before.get(resource);
            let read =
                before.and_then(|(files, bytes)| RecordFingerprints::read(*files, bytes, use_of));
            Arc::new(read.unwrap_or_else(|| RecordFingerprints::empty(use_of)))
        });
        Arc::clone(of_resource)
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<String, Arc<RecordFingerprints>>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object's content; `None` where the one on storage says the same.
    fn bytes(&self) -> Option<Vec<u8>> {
        let used = self.used();
        if !used.values().any(|used| used.is_changed()) {
            return None;
        }
        let mut all: BTreeMap<&str, (u128, Vec<u8>)> = BTreeMap::new();
        for (resource, (files, bytes)) in &self.before {
            if !used.contains_key(resource) {
                all.insert(resource, (*files, bytes.clone()));
            }
        }
        for (resource, used) in used.iter() {
            all.extend(used.stored().map(|stored| (resource.as_str(), stored)));
        }
        let (mut resources, mut body) = (Vec::new(), Vec::new());
        for (resource, (files, bytes)) in all {
            resources.push(StoredResource {
                resource: resource.to_owned(),
                files: format!("{files:032x}"),
                bytes: bytes.len(),
            });
            body.extend(bytes);
        }
        let header = FileHeader {
            edition: EDITION,
            checksum: format!("{:032x}", xxh3_128(&body)),
            resources,
        };
        let mut whole = serde_json::to_vec(&header).ok()?;
        whole.push(b'\n');
        whole.extend(body);
        Some(whole)
    }

    /// Content of an object; `None` where it is damaged, or of another edition.
    pub(super) fn read(bytes: &[u8]) -> Option<BTreeMap<String, (u128, Vec<u8>)>> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (header, mut body) = (bytes.get(..end)?, bytes.get(end + 1..)?);
        let header: FileHeader = serde_json::from_slice(header).ok()?;
        if header.edition != EDITION || header.checksum != format!("{:032x}", xxh3_128(body)) {
            return None;
        }
        let mut all = BTreeMap::new();
        for stored in header.resources {
            let (of_resource, rest) = body.split_at_checked(stored.bytes)?;
            let files = u128::from_str_radix(&stored.files, 16).ok()?;
            all.insert(stored.resource, (files, of_resource.to_vec()));
            body = rest;
        }
        body.is_empty().then_some(all)
    }
}

impl OpsTables {
    /// Fingerprints of a pipeline's records, as the run before left them. What cannot be read is said, and counts as nothing.
    pub async fn fingerprints(&self, pipeline: &str) -> PipelineFingerprints {
        let place = format!("{FOLDER}/{pipeline}");
        let found = match self
            .registry
            .store()
            .get(&self.fingerprints_of(pipeline))
            .await
        {
            Ok(found) => bounded_bytes(found).await.map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        let before = match found {
            Ok(None) => BTreeMap::new(),
            Ok(Some(bytes)) => PipelineFingerprints::read(&bytes).unwrap_or_else(|| {
                tracing::warn!("{place} is damaged and passed over; this run writes it anew");
                BTreeMap::new()
            }),
            Err(error) => {
                let error = Error::new(ErrorKind::Storage, "the store fails").because(error);
                tracing::warn!(%error, "{place} cannot be read: what is known is looked up in the tables");
                BTreeMap::new()
            }
        };
        PipelineFingerprints {
            pipeline: pipeline.to_owned(),
            before,
            used: Mutex::default(),
        }
    }

    /// Writes fingerprints for the next run, where they have changed. What cannot be written is said, and looked up by the next run.
    pub async fn keep_fingerprints(&self, fingerprints: &PipelineFingerprints) {
        let Some(bytes) = fingerprints.bytes() else {
            return;
        };
        let place = self.fingerprints_of(&fingerprints.pipeline);
        let options = PutOptions {
            mode: PutMode::Overwrite,
            ..PutOptions::default()
        };
        let store = self.registry.store();
        if let Err(error) = store.put_opts(&place, bytes.into(), options).await {
            let error = Error::new(ErrorKind::Storage, "the store fails").because(error);
            let place = format!("{FOLDER}/{}", fingerprints.pipeline);
            tracing::warn!(%error, "{place} could not be written: the next run looks up in the tables what is known");
        }
    }

    fn fingerprints_of(&self, pipeline: &str) -> Path {
        self.registry.below(&format!("{FOLDER}/{pipeline}"))
    }
}

#[cfg(test)]
#[path = "fingerprints_tests.rs"]
mod tests;
