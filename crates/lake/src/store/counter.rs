//! Number of requests that reach a store, by kind, and their bytes.
//!
//! Invariant: every request of this process is counted once, whatever came of it; nothing else changes.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
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
    /// Listings.
    pub lists: u64,
    /// Objects written; one in several parts counts as one.
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
}

impl CountedStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, root: Path, meter: RequestMeter) -> Self {
        Self { inner, root, meter }
    }

    fn counters(&self) -> &Counters {
        &self.meter.0
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
        self.inner.put_multipart_opts(location, options).await
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
        self.counters().lists.fetch_add(1, Relaxed);
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counters().lists.fetch_add(1, Relaxed);
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.counters().lists.fetch_add(1, Relaxed);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.counters().puts.fetch_add(1, Relaxed);
        self.inner.copy_opts(from, to, options).await
    }
}
