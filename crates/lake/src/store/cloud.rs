//! A cloud's object store as the warehouse uses it: connected from options, variables and profiles, and heard in our words when it fails.
//!
//! Invariant: every error of a call is a [`crate::store::failure::StoreFailure`]; a store that refuses its credentials is connected anew with
//! what their files, commands and profiles say now, once a call; an upload that is dropped is aborted.
//!
//! ```text
//!   LogGuard -> CloudStore -> AmazonS3 | MicrosoftAzure | GoogleCloudStorage
//!                  |  refused: read the secrets anew, connect, call again
//!                  |  failed:  get s3://bucket/path: why, and what to do
//! ```
//!
//! Rejected: a credential provider of our own for each cloud. The three have three kinds of credentials, and a store that is built anew does for
//! all of them; it costs one connection for each rotation.

use crate::store::cloud_builder::{CloudConnection, CloudSettings, connect};
use crate::store::failure::{explain, reason, silent};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, UploadPart,
};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A store that has not answered once within this time is not there, or its address is wrong. Later on it may be away for longer.
const FIRST_ANSWER: Duration = Duration::from_secs(15);
/// Objects of one call that are deleted side by side. S3 could be asked for a thousand at once; its answer would be one error for all of them.
const DELETED_AT_ONCE: usize = 16;

/// The store. Its root is the bucket's.
pub(crate) struct CloudStore {
    state: Arc<CloudState>,
}

/// Connection of a store and the way to a new one.
struct CloudState {
    settings: CloudSettings,
    /// The connection, with the number of those before it.
    current: RwLock<(u64, Arc<CloudConnection>)>,
    renewal: tokio::sync::Mutex<()>,
    has_answered: AtomicBool,
}

impl fmt::Debug for CloudStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for CloudStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudStore({})", self.state.settings.address.url)
    }
}

impl CloudStore {
    /// Reads options, variables and profiles and makes the store's client. No request is sent to the store.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`], naming the option.
    pub(crate) async fn open(settings: CloudSettings) -> tillhouse_model::Result<Self> {
        let connection = connect(&settings).await?;
        Ok(Self {
            state: Arc::new(CloudState {
                settings,
                current: RwLock::new((0, Arc::new(connection))),
                renewal: tokio::sync::Mutex::default(),
                has_answered: AtomicBool::new(false),
            }),
        })
    }
}

impl CloudState {
    fn connection(&self) -> (u64, Arc<CloudConnection>) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        (current.0, Arc::clone(&current.1))
    }

    fn url(&self, location: Option<&Path>) -> String {
        let address = &self.settings.address;
        let scheme = address.url.scheme();
        let path = location.map_or("", Path::as_ref);
        format!("{scheme}://{}/{path}", address.bucket)
    }

    fn explain(
        &self,
        connection: &CloudConnection,
        call: &'static str,
        location: Option<&Path>,
        error: Error,
    ) -> Error {
        explain(&connection.profile, call, self.url(location), error)
    }

    /// A connection after one that was refused; `None` where there is nothing to read anew.
    async fn renew(&self, refused: u64) -> Option<Arc<CloudConnection>> {
        let _renewing = self.renewal.lock().await;
        let (number, connection) = self.connection();
        if number != refused {
            return Some(connection);
        }
        if !connection.is_renewable {
            return None;
        }
        match connect(&self.settings).await {
            Ok(renewed) => {
                let renewed = Arc::new(renewed);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                    (number + 1, Arc::clone(&renewed));
                Some(renewed)
            }
            Err(error) => {
                tracing::debug!(%error, "the store's credentials cannot be read anew");
                None
            }
        }
    }

    /// One call: within [`FIRST_ANSWER`] until the store has answered once, and again where other credentials may help.
    async fn call<'a, T: Send>(
        &self,
        call: &'static str,
        location: Option<&Path>,
        work: impl Fn(Arc<dyn ObjectStore>) -> BoxFuture<'a, Result<T>> + Send + Sync,
    ) -> Result<T> {
        let (number, connection) = self.connection();
        let outcome = self
            .first_answer(
                &connection,
                call,
                location,
                work(Arc::clone(&connection.store)),
            )
            .await?;
        let error = match outcome {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if reason(&error).is_refusal()
            && let Some(renewed) = self.renew(number).await
        {
            return work(Arc::clone(&renewed.store))
                .await
                .map_err(|error| self.explain(&renewed, call, location, error));
        }
        Err(self.explain(&connection, call, location, error))
    }

    async fn first_answer<T>(
        &self,
        connection: &CloudConnection,
        call: &'static str,
        location: Option<&Path>,
        work: impl Future<Output = T> + Send,
    ) -> Result<T> {
        if self.has_answered.load(Ordering::Relaxed) || connection.is_patient {
            return Ok(work.await);
        }
        match tokio::time::timeout(FIRST_ANSWER, work).await {
            Ok(outcome) => {
                self.has_answered.store(true, Ordering::Relaxed);
                Ok(outcome)
            }
            Err(_) => Err(silent(
                &connection.profile,
                call,
                self.url(location),
                FIRST_ANSWER.as_secs(),
            )),
        }
    }

    /// Deletes one object, so that an error names it, and refused credentials are renewed as for any other call.
    async fn delete(&self, location: Path) -> Result<Path> {
        let delete = |store: Arc<dyn ObjectStore>| {
            let location = location.clone();
            async move { store.delete(&location).await }.boxed()
        };
        self.call("delete", Some(&location), delete).await?;
        Ok(location)
    }

    /// A listing whose beginning is one [`CloudState::call`].
    fn list(
        self: &Arc<Self>,
        prefix: Option<&Path>,
        list: impl Fn(&dyn ObjectStore) -> BoxStream<'static, Result<ObjectMeta>>
        + Send
        + Sync
        + 'static,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (state, prefix, list) = (Arc::clone(self), prefix.cloned(), Arc::new(list));
        let begun = async move {
            let begin = |store: Arc<dyn ObjectStore>| {
                let list = Arc::clone(&list);
                async move {
                    let mut listed = list(store.as_ref()).fuse();
                    let first = listed.next().await.transpose()?;
                    Ok((first, listed))
                }
                .boxed()
            };
            let (first, rest) = state.call("list", prefix.as_ref(), begin).await?;
            let (_, connection) = state.connection();
            let rest = rest
                .map_err(move |error| state.explain(&connection, "list", prefix.as_ref(), error));
            Ok::<_, Error>(stream::iter(first.map(Ok)).chain(rest))
        };
        begun.into_stream().try_flatten().boxed()
    }
}

#[async_trait]
impl ObjectStore for CloudStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let put = |store: Arc<dyn ObjectStore>| {
            let (payload, opts) = (payload.clone(), opts.clone());
            async move { store.put_opts(location, payload, opts).await }.boxed()
        };
        self.state.call("put", Some(location), put).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let begin = |store: Arc<dyn ObjectStore>| {
            let opts = opts.clone();
            async move { store.put_multipart_opts(location, opts).await }.boxed()
        };
        let inner = self.state.call("upload", Some(location), begin).await?;
        let (_, connection) = self.state.connection();
        let (state, location) = (Arc::clone(&self.state), location.clone());
        Ok(Box::new(CloudUpload::new(
            inner, state, connection, location,
        )))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let call = if options.head { "head" } else { "get" };
        let get = |store: Arc<dyn ObjectStore>| {
            let options = options.clone();
            async move { store.get_opts(location, options).await }.boxed()
        };
        let mut found = self.state.call(call, Some(location), get).await?;
        if let GetResultPayload::Stream(bytes) = found.payload {
            let (state, location) = (Arc::clone(&self.state), location.clone());
            let (_, connection) = state.connection();
            found.payload = GetResultPayload::Stream(
                bytes
                    .map_err(move |error| state.explain(&connection, call, Some(&location), error))
                    .boxed(),
            );
        }
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let get = |store: Arc<dyn ObjectStore>| {
            async move { store.get_ranges(location, ranges).await }.boxed()
        };
        self.state.call("get", Some(location), get).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let state = Arc::clone(&self.state);
        let deleted = locations.map(move |location| {
            let state = Arc::clone(&state);
            async move { state.delete(location?).await }
        });
        deleted.buffered(DELETED_AT_ONCE).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let below = prefix.cloned();
        self.state
            .list(prefix, move |store| store.list(below.as_ref()))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (below, offset) = (prefix.cloned(), offset.clone());
        self.state.list(prefix, move |store| {
            store.list_with_offset(below.as_ref(), &offset)
        })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let list = |store: Arc<dyn ObjectStore>| {
            async move { store.list_with_delimiter(prefix).await }.boxed()
        };
        self.state.call("list", prefix, list).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copy = |store: Arc<dyn ObjectStore>| {
            let options = options.clone();
            async move { store.copy_opts(from, to, options).await }.boxed()
        };
        self.state.call("copy", Some(to), copy).await
    }
}

/// An upload that may be ended by whoever comes first: its writer, or the end of the process.
type SharedUpload = Mutex<Option<Box<dyn MultipartUpload>>>;

/// Uploads of this process that were begun.
static OPEN: Mutex<Vec<Weak<SharedUpload>>> = Mutex::new(Vec::new());
/// Uploads of this process that are being aborted.
static ABORTED: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());
/// The time that the end of a process waits for uploads to be aborted.
const LAST_WORDS: Duration = Duration::from_secs(10);

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Aborts the uploads that are open, and waits for those that are being aborted, for a while.
pub(super) async fn end_uploads() {
    let open: Vec<_> = std::mem::take(&mut *held(&OPEN))
        .iter()
        .filter_map(Weak::upgrade)
        .filter_map(|upload| held(&upload).take())
        .collect();
    let aborted = std::mem::take(&mut *held(&ABORTED));
    let ended = async {
        for mut upload in open {
            if let Err(error) = upload.abort().await {
                tracing::debug!(%error, "the parts of an upload that was given up stay");
            }
        }
        futures::future::join_all(aborted).await;
    };
    if tokio::time::timeout(LAST_WORDS, ended).await.is_err() {
        tracing::debug!("the parts of uploads that were given up stay");
    }
}

/// An upload in parts. What was uploaded is removed where it is neither completed nor aborted: parts that nobody sees are paid for.
struct CloudUpload {
    /// `None` once it is over.
    inner: Arc<SharedUpload>,
    state: Arc<CloudState>,
    connection: Arc<CloudConnection>,
    location: Path,
}

impl fmt::Debug for CloudUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudUpload({})", self.location)
    }
}

impl CloudUpload {
    fn new(
        inner: Box<dyn MultipartUpload>,
        state: Arc<CloudState>,
        connection: Arc<CloudConnection>,
        location: Path,
    ) -> Self {
        let inner = Arc::new(Mutex::new(Some(inner)));
        let mut open = held(&OPEN);
        open.retain(|upload| upload.strong_count() > 0);
        open.push(Arc::downgrade(&inner));
        Self {
            inner,
            state,
            connection,
            location,
        }
    }

    fn over(&self) -> Error {
        Error::Generic {
            store: "upload",
            source: format!("the upload of {} is over", self.location).into(),
        }
    }

    fn explain(&self, error: Error) -> Error {
        let location = Some(&self.location);
        self.state
            .explain(&self.connection, "upload", location, error)
    }
}

#[async_trait]
impl MultipartUpload for CloudUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = held(&self.inner).as_mut().map(|inner| inner.put_part(data));
        let Some(part) = part else {
            let over = self.over();
            return async move { Err(over) }.boxed();
        };
        let (state, connection, location) = (
            Arc::clone(&self.state),
            Arc::clone(&self.connection),
            self.location.clone(),
        );
        async move {
            part.await
                .map_err(|error| state.explain(&connection, "upload", Some(&location), error))
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let Some(mut inner) = held(&self.inner).take() else {
            return Err(self.over());
        };
        match inner.complete().await {
            Ok(put) => Ok(put),
            Err(error) => {
                // It may be aborted still.
                *held(&self.inner) = Some(inner);
                Err(self.explain(error))
            }
        }
    }

    async fn abort(&mut self) -> Result<()> {
        let inner = held(&self.inner).take();
        match inner {
            None => Ok(()),
            Some(mut inner) => inner.abort().await.map_err(|error| self.explain(error)),
        }
    }
}

impl Drop for CloudUpload {
    fn drop(&mut self) {
        let Some(mut inner) = held(&self.inner).take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let location = self.location.clone();
        let aborted = runtime.spawn(async move {
            if inner.abort().await.is_err() {
                tracing::debug!(%location, "the parts of an upload that was given up stay");
            }
        });
        let mut running = held(&ABORTED);
        running.retain(|other| !other.is_finished());
        running.push(aborted);
    }
}

#[cfg(test)]
#[path = "cloud_tests.rs"]
mod tests;
