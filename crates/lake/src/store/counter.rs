//! Number of requests that reach a store, by kind, and their bytes.
//!
//! Invariant: every request of this process is counted once, whatever came of it; nothing else changes. What the store's client sends again by itself, after a
//! failure, is not seen here.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Folders of a warehouse that hold no source tables.
pub(crate) const NOT_SOURCES: [&str; 3] = ["unified", "statistics", "ops"];

/// Requests to a store since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreRequests {
    /// Reads of objects and of ranges of them, by the number of ranges.
    pub gets: u64,
    /// Questions after an object's size.
    pub heads: u64,
    /// Pages of listings, as far as what they held tells.
    pub lists: u64,
    /// Objects written; of one in several parts its beginning, each part, and its end.
    pub puts: u64,
    /// Objects deleted.
    pub deletes: u64,
    /// Reads of data files, which are among `gets`.
    pub data_gets: u64,
    /// Reads of data files of source tables, which are among `data_gets`.
    pub source_gets: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Bytes asked for.
    pub bytes_read: u64,
}

impl StoreRequests {
    /// Number of all requests.
    pub fn all(&self) -> u64 {
        self.gets + self.heads + self.lists + self.puts + self.deletes
    }

    /// The counts by name, as a run's record has them.
    pub fn by_name(&self) -> BTreeMap<String, u64> {
        [
            ("store_gets", self.gets),
            ("store_heads", self.heads),
            ("store_lists", self.lists),
            ("store_puts", self.puts),
            ("store_deletes", self.deletes),
            ("store_data_gets", self.data_gets),
            ("store_source_gets", self.source_gets),
            ("store_bytes_written", self.bytes_written),
            ("store_bytes_read", self.bytes_read),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .into()
    }
}

impl fmt::Display for StoreRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests to the store: {} reads ({} of data files), {} sizes, {} listings, {} writes, {} deletions; {} bytes written, {} read",
            self.all(),
            self.gets,
            self.data_gets,
            self.heads,
            self.lists,
            self.puts,
            self.deletes,
            self.bytes_written,
            self.bytes_read,
        )
    }
}

/// Running counts.
#[derive(Debug, Default)]
struct Counters {
    gets: AtomicU64,
    heads: AtomicU64,
    lists: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    data_gets: AtomicU64,
    source_gets: AtomicU64,
    bytes_written: AtomicU64,
    bytes_read: AtomicU64,
}

impl Counters {
    fn got(&self, (root, location): (&Path, &Path), ranges: u64, bytes: u64) {
        self.gets.fetch_add(ranges, Relaxed);
        self.bytes_read.fetch_add(bytes, Relaxed);
        let is_log = location.parts().any(|part| part.as_ref() == "_delta_log");
        if location.extension() == Some("parquet") && !is_log {
            self.data_gets.fetch_add(ranges, Relaxed);
            let schema = location
                .prefix_match(root)
                .and_then(|mut below| below.next());
            if schema.is_some_and(|schema| !NOT_SOURCES.contains(&schema.as_ref())) {
                self.source_gets.fetch_add(ranges, Relaxed);
            }
        }
    }
}

/// Reader of the counts of one store. A cheap handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestMeter(Arc<Counters>);

impl RequestMeter {
    /// The counts up to now.
    pub(crate) fn read(&self) -> StoreRequests {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        let counters = &self.0;
        StoreRequests {
            gets: of(&counters.gets),
            heads: of(&counters.heads),
            lists: of(&counters.lists),
            puts: of(&counters.puts),
            deletes: of(&counters.deletes),
            data_gets: of(&counters.data_gets),
            source_gets: of(&counters.source_gets),
            bytes_written: of(&counters.bytes_written),
            bytes_read: of(&counters.bytes_read),
        }
    }
}

/// A store whose requests are counted.
#[derive(Debug)]
pub(crate) struct CountedStore {
    inner: Arc<dyn ObjectStore>,
    /// Path of the warehouse.
    root: Path,
    meter: RequestMeter,
    /// Objects of one page of a listing; `None` where there are no pages.
    page: Option<u64>,
}

impl CountedStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, root: Path, meter: RequestMeter) -> Self {
        Self {
            inner,
            root,
            meter,
            page: None,
        }
    }

    /// The same of a store whose listings come in pages, by the scheme of its URL.
    #[must_use]
    pub(crate) fn paged(self, scheme: &str) -> Self {
        let page = match scheme {
            "file" => None,
            "az" => Some(5_000),
            _ => Some(1_000),
        };
        Self { page, ..self }
    }

    fn counters(&self) -> &Counters {
        &self.meter.0
    }

    /// A listing, of which the first page is counted, and each that follows.
    fn counted(
        &self,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counters().lists.fetch_add(1, Relaxed);
        let Some(page) = self.page else {
            return listed;
        };
        let (meter, mut seen) = (self.meter.clone(), 0_u64);
        let counted = listed.inspect(move |_| {
            if seen > 0 && seen.is_multiple_of(page) {
                meter.0.lists.fetch_add(1, Relaxed);
            }
            seen += 1;
        });
        counted.boxed()
    }
}

/// An upload whose parts are counted.
#[derive(Debug)]
struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    meter: RequestMeter,
}

#[async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (counters, bytes) = (&self.meter.0, data.content_length() as u64);
        counters.puts.fetch_add(1, Relaxed);
        counters.bytes_written.fetch_add(bytes, Relaxed);
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.meter.0.puts.fetch_add(1, Relaxed);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.meter.0.deletes.fetch_add(1, Relaxed);
        self.inner.abort().await
    }
}

impl fmt::Display for CountedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for CountedStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.counters().puts.fetch_add(1, Relaxed);
        let bytes = payload.content_length() as u64;
        self.counters().bytes_written.fetch_add(bytes, Relaxed);
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.counters().puts.fetch_add(1, Relaxed);
        let inner = self.inner.put_multipart_opts(location, options).await?;
        let meter = self.meter.clone();
        Ok(Box::new(CountedUpload { inner, meter }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            self.counters().heads.fetch_add(1, Relaxed);
            return self.inner.get_opts(location, options).await;
        }
        let found = self.inner.get_opts(location, options).await;
        let bytes = found
            .as_ref()
            .map_or(0, |found| found.range.end - found.range.start);
        self.counters().got((&self.root, location), 1, bytes);
        found
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        let bytes = ranges
            .iter()
            .map(|range| range.end.saturating_sub(range.start))
            .sum();
        self.counters()
            .got((&self.root, location), ranges.len() as u64, bytes);
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let meter = self.meter.clone();
        let counted = locations.inspect(move |_| {
            meter.0.deletes.fetch_add(1, Relaxed);
        });
        self.inner.delete_stream(counted.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counted(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counted(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let listed = self.inner.list_with_delimiter(prefix).await;
        let found = listed
            .as_ref()
            .map_or(0, |found| found.objects.len() + found.common_prefixes.len());
        let more = self
            .page
            .map_or(0, |page| (found as u64).saturating_sub(1) / page);
        self.counters().lists.fetch_add(1 + more, Relaxed);
        listed
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.counters().puts.fetch_add(1, Relaxed);
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn parts_of_uploads_and_pages_of_listings_are_counted() {
        let meter = RequestMeter::default();
        let memory = Arc::new(InMemory::new());
        let store = CountedStore::new(memory, Path::default(), meter.clone()).paged("s3");
        let mut upload = store.put_multipart(&Path::from("large")).await.unwrap();
        for part in ["one", "three"] {
            upload.put_part(part.into()).await.unwrap();
        }
        upload.complete().await.unwrap();
        let counts = meter.read();
        assert_eq!((counts.puts, counts.bytes_written), (4, 8));
        let mut given_up = store.put_multipart(&Path::from("other")).await.unwrap();
        given_up.abort().await.unwrap();
        assert_eq!((meter.read().puts, meter.read().deletes), (5, 1));
        for number in 0..2_000 {
            let path = Path::from(format!("many/{number}"));
            store.put(&path, "x".into()).await.unwrap();
        }
        let folder = Path::from("many");
        let listed: Vec<_> = store.list(Some(&folder)).try_collect().await.unwrap();
        assert_eq!((listed.len(), meter.read().lists), (2_000, 2));
        store.list_with_delimiter(Some(&folder)).await.unwrap();
        assert_eq!(meter.read().lists, 4);
        let one: Vec<_> = store
            .list(Some(&Path::from("large")))
            .try_collect()
            .await
            .unwrap();
        assert_eq!((one.len(), meter.read().lists), (0, 5));
    }
}
