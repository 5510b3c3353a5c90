//! Leases of earlier versions of the program, which had an object a pipeline: `ops/leases/<pipeline>.json`.
//!
//! Invariant: they are read, never written, and only where they may still hold: the listing tells when each was written, and one that was not
//! renewed for minutes has expired whatever it says. So a warehouse in which no such version is at work costs one request.
//!
//! They are outside of the compare-and-swap: a run of such a version that begins after they were read, or while this one holds its leases,
//! does not see `ops/leases.json`, and both write the same pipeline then. Nothing is lost or counted twice by that: each commit is by
//! compare-and-swap on the version it was computed from, whoever loses a race computes again, and what both have landed is found known. One
//! of the two has worked for nothing. No repair is to be begun then.
//!
//! Rejected: to write these objects too, so that earlier versions see who holds a pipeline. Each run would write and renew an object a
//! pipeline again, for the days of an upgrade. Rejected too: to read them once more behind the write, which leaves the other half of the
//! race as it is.

use crate::ops::edit::OpsTables;
use crate::ops::lease::{LeaseRecord, StoredLease, damage_of, unreadable_lease, written_at};
use futures::TryStreamExt;
use jiff::SignedDuration;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectMeta, ObjectStoreExt};
use tillhouse_model::{Error, ErrorKind, Result};

const FOLDER: &str = "ops/leases";
const SUFFIX: &str = ".json";
/// Age from which one has expired: it was renewed four times a minute and valid for one, and no two clocks are taken to differ by more than five.
const EXPIRED_AFTER: SignedDuration = SignedDuration::from_mins(7);

impl OpsTables {
    /// Leases that runs of earlier versions hold, or have given back lately. One request, and one more for each.
    ///
    /// Errors with [`ErrorKind::Storage`] where the store does not give them. One that is empty, cut or something else is a lease of nobody.
    pub async fn earlier_leases(&self) -> Result<Vec<StoredLease>> {
        let folder = self.registry.below(FOLDER);
        let listed: object_store::Result<Vec<ObjectMeta>> = self
            .registry
            .store()
            .list(Some(&folder))
            .try_collect()
            .await;
        let listed = match listed {
            Ok(listed) => listed,
            Err(StoreError::NotFound { .. }) => Vec::new(),
            Err(error) => {
                return Err(Error::new(
                    ErrorKind::Storage,
                    "the pipelines' leases cannot be listed",
                )
                .at("folder", FOLDER)
                .because(error));
            }
        };
        let now = self.now();
        let mut leases = Vec::new();
        for found in listed {
            let name = found.location.filename().unwrap_or_default();
            let Some(pipeline) = name.strip_suffix(SUFFIX) else {
                continue;
            };
            if now.duration_since(written_at(&found, FOLDER)?) <= EXPIRED_AFTER {
                leases.extend(self.earlier_lease(&found.location, pipeline).await?);
            }
        }
        Ok(leases)
    }

    /// One of them; `None` where it was removed meanwhile.
    async fn earlier_lease(&self, path: &Path, pipeline: &str) -> Result<Option<StoredLease>> {
        let name = format!("{FOLDER}/{pipeline}{SUFFIX}");
        let failed = |error: StoreError| {
            Error::new(ErrorKind::Storage, "a pipeline's lease cannot be read")
                .at("file", name.clone())
                .because(error)
        };
        // No run of any version has written what is no file.
        if self.registry.misplaced(&name).is_some() {
            return Ok(None);
        }
        let found = match self.registry.store().get(path).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let meta = found.meta.clone();
        let bytes = found.bytes().await.map_err(failed)?;
        Ok(Some(match serde_json::from_slice::<LeaseRecord>(&bytes) {
            Ok(record) => StoredLease {
                record: LeaseRecord {
                    pipeline: pipeline.to_owned(),
                    ..record
                },
                damage: None,
            },
            Err(error) => StoredLease {
                record: unreadable_lease(pipeline, written_at(&meta, &name)?),
                damage: Some(format!("{name}: {}", damage_of(&bytes, &error))),
            },
        }))
    }
}
