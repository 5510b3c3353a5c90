//! Probe of what commits rest on: that a store keeps a condition of a put, and shows at once what was written.
//!
//! Invariant: whatever comes out, the objects of a probe are removed; they are below `ops/.probe/`, where nothing else is, under names that no other
//! probe has. Those of probes that were killed are removed by a later one.
//!
//! ```text
//!   two puts of one name at once, each "only if absent"     exactly one may succeed
//!   get                                                     gives the winner's bytes
//!   list                                                    shows the name
//!   put "only if unchanged" of what is there                succeeds
//!   put "only if unchanged" of what was there before        is refused
//! ```

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion,
};
use tillhouse_model::{Error as TillhouseError, ErrorKind, Result};
use uuid::Uuid;

/// Folder of the probes below the warehouse.
pub(crate) const PROBES: &str = "ops/.probe";
/// A probe takes seconds: what is older was left by one that was killed.
const LEFT_BEHIND: i64 = 3600;

/// Finds out whether a store keeps conditions. `folder` is [`PROBES`] below the warehouse.
///
/// Errors with [`ErrorKind::Storage`] where it does not, or where the probe cannot be written.
pub(crate) async fn probe_conditions(
    store: &dyn ObjectStore,
    folder: &Path,
    url: &str,
) -> Result<()> {
    let name = folder.clone().join(Uuid::new_v4().to_string());
    let found = run(store, folder, &name).await;
    // A file that could not be written need not be removed, and a credential that may not write may not delete either.
    let removed = match store.delete(&name).await {
        Err(Error::NotFound { .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    };
    let error = match (found, removed) {
        (Err(Finding::Ignored(what)), _) => {
            return Err(TillhouseError::new(ErrorKind::Storage, format!("the store cannot hold a warehouse: {what}"))
                .at("warehouse", url)
                .hint(
                    "Two syncs at once would overwrite each other's commits there. Use a store that keeps If-None-Match and If-Match (AWS S3, \
                     Azure, Google, Cloudflare R2, MinIO, SeaweedFS, Ceph from Squid on), a newer version of this one, or a folder; \
                     docs/storage.md says more.",
                ));
        }
        (Err(Finding::Failed(error)), _) => error,
        (Ok(()), Err(error)) => error,
        (Ok(()), Ok(())) => return Ok(()),
    };
    Err(
        TillhouseError::new(ErrorKind::Storage, "the warehouse cannot be written")
            .at("warehouse", url)
            .because(error),
    )
}

/// Result of a probe that went wrong.
enum Finding {
    /// The store does not do what it was asked.
    Ignored(&'static str),
    /// A call failed.
    Failed(Error),
}

impl From<Error> for Finding {
    fn from(error: Error) -> Self {
        match error {
            Error::NotImplemented { .. } | Error::NotSupported { .. } => {
                Self::Ignored("it does not know conditions of a put")
            }
            error => Self::Failed(error),
        }
    }
}

async fn put(
    store: &dyn ObjectStore,
    name: &Path,
    bytes: &'static [u8],
    mode: PutMode,
) -> object_store::Result<Option<PutResult>> {
    let options = PutOptions {
        mode,
        ..PutOptions::default()
    };
    match store
        .put_opts(name, Bytes::from_static(bytes).into(), options)
        .await
    {
        Ok(put) => Ok(Some(put)),
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn run(store: &dyn ObjectStore, folder: &Path, name: &Path) -> Result<(), Finding> {
    const RACERS: [&[u8]; 2] = [
        b"tillhouse probes this store: one",
        b"tillhouse probes this store: two",
    ];
    let (one, two) = futures::join!(
        put(store, name, RACERS[0], PutMode::Create),
        put(store, name, RACERS[1], PutMode::Create)
    );
    let (one, two) = (one?, two?);
    let (winner, put_result) = match (one, two) {
        (Some(_), Some(_)) => {
            return Err(Finding::Ignored(
                "of two puts of one name, both `only if it is not there`, both succeeded",
            ));
        }
        (Some(won), None) => (Some(RACERS[0]), Some(won)),
        (None, Some(won)) => (Some(RACERS[1]), Some(won)),
        // A request that was tried again underneath met its own success.
        (None, None) => (None, None),
    };
    let found = match store.get(name).await {
        Err(Error::NotFound { .. }) => {
            return Err(Finding::Ignored("what was just written cannot be read"));
        }
        found => found?,
    };
    let version = UpdateVersion {
        e_tag: found.meta.e_tag.clone(),
        version: found.meta.version.clone(),
    };
    let bytes = found.bytes().await?;
    if winner.map_or(!RACERS.contains(&bytes.as_ref()), |winner| bytes != winner) {
        return Err(Finding::Ignored(
            "what is read is not what was just written",
        ));
    }
    if put(store, name, RACERS[0], PutMode::Create)
        .await?
        .is_some()
    {
        return Err(Finding::Ignored(
            "a put `only if it is not there` replaced what was there",
        ));
    }
    let listed: Vec<ObjectMeta> = store.list(Some(folder)).try_collect().await?;
    if !listed.iter().any(|found| found.location == *name) {
        return Err(Finding::Ignored(
            "a list does not show what was just written",
        ));
    }
    let put_version = put_result.map_or_else(|| version.clone(), UpdateVersion::from);
    if put(
        store,
        name,
        b"tillhouse probes this store: three",
        PutMode::Update(put_version),
    )
    .await?
    .is_none()
    {
        return Err(Finding::Ignored(
            "a put `only if it is unchanged` was refused of what nobody changed",
        ));
    }
    if put(
        store,
        name,
        b"tillhouse probes this store: four",
        PutMode::Update(version),
    )
    .await?
    .is_some()
    {
        return Err(Finding::Ignored(
            "a put `only if it is unchanged` replaced what had changed",
        ));
    }
    let now = jiff::Timestamp::now().as_second();
    let left: Vec<_> = listed
        .into_iter()
        .filter(|found| now - found.last_modified.timestamp() > LEFT_BEHIND)
        .map(|found| Ok(found.location))
        .collect();
    if !left.is_empty() {
        let mut removed = store.delete_stream(stream::iter(left).boxed());
        while let Some(outcome) = removed.next().await {
            if let Err(error) = outcome {
                tracing::debug!(%error, "what an earlier probe left stays");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, PutMultipartOptions,
        PutPayload,
    };
    use std::fmt;

    /// Fault of a store.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum StoreFault {
        None,
        IgnoresAbsent,
        IgnoresUnchanged,
        KnowsNoUnchanged,
        ListsLate,
        ReadsLate,
        ReadsOther,
    }

    /// A store in memory with a fault.
    #[derive(Debug)]
    struct FaultyConditions(InMemory, StoreFault);

    impl fmt::Display for FaultyConditions {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("FaultyConditions")
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for FaultyConditions {
        async fn put_opts(
            &self,
            location: &Path,
            payload: PutPayload,
            mut opts: PutOptions,
        ) -> object_store::Result<PutResult> {
            match (&opts.mode, self.1) {
                (PutMode::Create, StoreFault::IgnoresAbsent)
                | (PutMode::Update(_), StoreFault::IgnoresUnchanged) => {
                    opts.mode = PutMode::Overwrite;
                }
                (PutMode::Update(_), StoreFault::KnowsNoUnchanged) => {
                    return Err(Error::NotImplemented {
                        operation: "put".to_owned(),
                        implementer: "test".to_owned(),
                    });
                }
                _ => {}
            }
            self.0.put_opts(location, payload, opts).await
        }
        async fn put_multipart_opts(
            &self,
            location: &Path,
            opts: PutMultipartOptions,
        ) -> object_store::Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(location, opts).await
        }
        async fn get_opts(
            &self,
            location: &Path,
            options: GetOptions,
        ) -> object_store::Result<GetResult> {
            if self.1 == StoreFault::ReadsLate {
                return Err(Error::NotFound {
                    path: location.to_string(),
                    source: "late".into(),
                });
            }
            if self.1 == StoreFault::ReadsOther {
                self.0
                    .put(location, Bytes::from_static(b"other").into())
                    .await?;
            }
            self.0.get_opts(location, options).await
        }
        fn delete_stream(
            &self,
            locations: BoxStream<'static, object_store::Result<Path>>,
        ) -> BoxStream<'static, object_store::Result<Path>> {
            self.0.delete_stream(locations)
        }
        fn list(
            &self,
            prefix: Option<&Path>,
        ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
            if self.1 == StoreFault::ListsLate {
                return stream::empty().boxed();
            }
            self.0.list(prefix)
        }
        async fn list_with_delimiter(
            &self,
            prefix: Option<&Path>,
        ) -> object_store::Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(
            &self,
            from: &Path,
            to: &Path,
            options: CopyOptions,
        ) -> object_store::Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    #[tokio::test]
    async fn a_store_that_keeps_no_conditions_is_refused_with_the_reason_and_nothing_stays() {
        for (fault, reason) in [
            (StoreFault::None, None),
            (StoreFault::IgnoresAbsent, Some("both succeeded")),
            (
                StoreFault::IgnoresUnchanged,
                Some("replaced what had changed"),
            ),
            (
                StoreFault::KnowsNoUnchanged,
                Some("does not know conditions"),
            ),
            (StoreFault::ListsLate, Some("a list does not show")),
            (StoreFault::ReadsLate, Some("cannot be read")),
            (StoreFault::ReadsOther, Some("is not what was just written")),
        ] {
            let store = FaultyConditions(InMemory::new(), fault);
            let outcome =
                probe_conditions(&store, &Path::from("wh/ops/.probe"), "s3://tills/wh/").await;
            match (outcome, reason) {
                (Ok(()), None) => {}
                (Err(error), Some(reason)) => {
                    assert!(error.to_string().contains(reason), "{fault:?}: {error:?}");
                    assert!(
                        error.hint_text().unwrap().contains("If-None-Match"),
                        "{error:?}"
                    );
                }
                (outcome, reason) => panic!("{fault:?}: {outcome:?}, not {reason:?}"),
            }
            let left: Vec<ObjectMeta> = store.0.list(None).try_collect().await.unwrap();
            assert!(left.is_empty(), "{fault:?}: {left:?}");
        }
    }
}
