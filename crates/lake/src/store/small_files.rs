//! Small data files of a cloud's store, read whole: who reads one asks for its last bytes, its footer, and its pages, and would wait for the network each time.
//!
//! Invariant: what is answered is what the store has of the file, byte for byte. A data file never changes, so what was read of it stays right; a file that is not as
//! long as its reader believes is handed on as the store gives it. What is kept is bounded.

use crate::store::durable::LOG_FOLDER;
use crate::store::footer::TRAILER;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that readers ask for at a file's end, in the hope that its whole footer is in them.
pub(crate) const FOOTER_BYTES: usize = 64 << 10;
/// Largest file that is read whole, in bytes: on most networks less than a round trip or two, of which its parts would cost four or five.
const SMALL: u64 = 512 << 10;
/// Most bytes that are kept.
const MOST: usize = 16 << 20;
/// Most bytes that are read ahead: they are still kept when they are wanted.
const MOST_AHEAD: u64 = 8 << 20;
/// Files that are read ahead at once.
const AHEAD: usize = 32;

/// A store whose small data files are read whole.
#[derive(Debug)]
pub(crate) struct SmallFileStore {
    inner: Arc<dyn ObjectStore>,
    kept: Mutex<KeptFiles>,
}

/// Files that were read, the oldest first to go.
#[derive(Debug, Default)]
struct KeptFiles {
    files: HashMap<Path, WholeFile>,
    order: VecDeque<Path>,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct WholeFile {
    meta: ObjectMeta,
    bytes: Bytes,
}

impl KeptFiles {
    fn keep(&mut self, location: &Path, file: &WholeFile) {
        if self.files.insert(location.clone(), file.clone()).is_some() {
            return;
        }
        self.order.push_back(location.clone());
        self.bytes += file.bytes.len();
        while self.bytes > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            let gone = self.files.remove(&oldest);
            self.bytes -= gone.map_or(0, |gone| gone.bytes.len());
        }
    }
}

impl WholeFile {
    /// A part of it; `None` for what it does not have.
    fn part(&self, range: &Range<u64>) -> Option<Bytes> {
        let place = |at: u64| usize::try_from(at).ok();
        let range = place(range.start)?..place(range.end)?;
        let is_within = range.start < range.end && range.end <= self.bytes.len();
        is_within.then(|| self.bytes.slice(range))
    }

    /// The answer to whoever asks for a part of it.
    fn answer(&self, range: &Range<u64>) -> Option<GetResult> {
        let part = self.part(range)?;
        Some(GetResult {
            payload: GetResultPayload::Stream(stream::iter([Ok(part)]).boxed()),
            meta: self.meta.clone(),
            range: range.clone(),
            attributes: object_store::Attributes::default(),
        })
    }
}

impl SmallFileStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            kept: Mutex::default(),
        }
    }

    fn kept(&self, location: &Path) -> Option<WholeFile> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.files.get(location).cloned()
    }

    /// The file, where its end is asked for and it is small, and as long as that says; of one whose beginning is asked for, that.
    async fn whole(&self, location: &Path, wanted: &Range<u64>) -> Result<Option<WholeFile>> {
        if let Some(kept) = self.kept(location) {
            return Ok(Some(kept));
        }
        let is_beginning = wanted.start == 0;
        if wanted.end > SMALL || !(is_beginning || is_end(wanted)) {
            return Ok(None);
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(0..wanted.end)),
            ..GetOptions::default()
        };
        let found = self.inner.get_opts(location, options).await?;
        let is_whole = found.meta.size == wanted.end && found.range == (0..wanted.end);
        if !is_whole && !is_beginning {
            return Ok(None);
        }
        let meta = found.meta.clone();
        let bytes = found.bytes().await?;
        let is_whole = is_whole && bytes.len() as u64 == meta.size;
        let file = WholeFile { meta, bytes };
        if is_whole {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.keep(location, &file);
        }
        Ok(Some(file).filter(|_| is_whole || is_beginning))
    }
}

/// Reads small data files of a store that is far, by path and size, side by side: who reads one after the other finds them here. What fails is told to
/// whoever reads that file.
pub(crate) async fn read_ahead(store: Arc<dyn ObjectStore>, files: Vec<(Path, u64)>) {
    let mut left = MOST_AHEAD;
    let small = files.into_iter().filter(|(_, size)| {
        let is_taken = (TRAILER as u64..=SMALL.min(left)).contains(size);
        left -= if is_taken { *size } else { 0 };
        is_taken
    });
    let small: Vec<(Path, u64)> = small.collect();
    if small.len() < 2 {
        return;
    }
    let reading = small.into_iter().map(|(path, size)| {
        let store = Arc::clone(&store);
        async move {
            let end = size - TRAILER as u64..size;
            drop(store.get_range(&path, end).await);
        }
    });
    let reading = stream::iter(reading).buffer_unordered(AHEAD);
    reading.for_each(async |()| {}).await;
}

/// True if readers ask for so many bytes at a file's end alone: for its trailer, or for the footer before that too.
fn is_end(wanted: &Range<u64>) -> bool {
    [TRAILER, FOOTER_BYTES].contains(&usize::try_from(wanted.end - wanted.start).unwrap_or(0))
}

/// True for a file that holds rows.
fn is_data(location: &Path) -> bool {
    location.extension() == Some("parquet")
        && !location.parts().any(|part| part.as_ref() == LOG_FOLDER)
}

/// The range that is asked for, where nothing else is.
fn plain_range(options: &GetOptions) -> Option<Range<u64>> {
    let Some(GetRange::Bounded(range)) = &options.range else {
        return None;
    };
    let is_plain = !options.head
        && options.version.is_none()
        && options.if_match.is_none()
        && options.if_none_match.is_none()
        && options.if_modified_since.is_none()
        && options.if_unmodified_since.is_none();
    (is_plain && range.start < range.end).then(|| range.clone())
}

impl fmt::Display for SmallFileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for SmallFileStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(range) = plain_range(&options).filter(|_| is_data(location))
            && let Some(whole) = self.whole(location, &range).await?
            && let Some(answer) = whole.answer(&range)
        {
            return Ok(answer);
        }
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // The query engine asks for a file's end in this way.
        let found = match ranges {
            [only] if is_data(location) && only.start < only.end => {
                self.whole(location, only).await?
            }
            _ => self.kept(location),
        };
        let parts = found.and_then(|found| ranges.iter().map(|range| found.part(range)).collect());
        match parts {
            Some(parts) => Ok(parts),
            None => self.inner.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::counter::{CountedStore, RequestMeter};
    use object_store::memory::InMemory;

    async fn store_of(files: &[(&str, usize)]) -> (SmallFileStore, RequestMeter) {
        let memory = InMemory::new();
        for (name, length) in files {
            let bytes: Vec<u8> = (0..*length).map(|at| (at % 251) as u8).collect();
            memory.put(&Path::from(*name), bytes.into()).await.unwrap();
        }
        let meter = RequestMeter::default();
        let counted = CountedStore::new(Arc::new(memory), Path::default(), meter.clone());
        (SmallFileStore::new(Arc::new(counted)), meter)
    }

    fn expected(range: Range<u64>) -> Vec<u8> {
        range.map(|at| (at % 251) as u8).collect()
    }

    #[tokio::test]
    async fn a_small_file_is_read_once_and_its_parts_are_what_they_were() {
        let (store, meter) = store_of(&[("t/part-1.parquet", 1_000)]).await;
        let path = Path::from("t/part-1.parquet");
        for range in [992..1_000, 900..992, 0..4, 4..500, 992..1_000] {
            let part = store.get_range(&path, range.clone()).await.unwrap();
            assert_eq!(part, expected(range));
        }
        let parts = store.get_ranges(&path, &[4..8, 100..300]).await.unwrap();
        assert_eq!(parts, [expected(4..8), expected(100..300)]);
        assert_eq!(meter.read().gets, 1);
        let whole = store.get_opts(
            &path,
            GetOptions {
                range: Some(GetRange::Bounded(992..1_000)),
                ..GetOptions::default()
            },
        );
        let whole = whole.await.unwrap();
        assert_eq!((whole.meta.size, whole.range), (1_000, 992..1_000));
        // A file that it does not have is asked of the store.
        assert!(store.get_range(&path, 1_000..1_008).await.is_err());
        assert_eq!(store.get(&path).await.unwrap().meta.size, 1_000);
    }

    #[tokio::test]
    async fn a_file_is_read_once_however_its_end_is_asked_for() {
        let footer = FOOTER_BYTES as u64;
        for (size, end) in [
            (1_000, 0..1_000),
            (1_000, 992..1_000),
            (2 * footer, footer..2 * footer),
        ] {
            let files = [("t/part-1.parquet", usize::try_from(size).unwrap())];
            let path = Path::from("t/part-1.parquet");
            for asks_for_ranges in [false, true] {
                let (store, meter) = store_of(&files).await;
                let part = match asks_for_ranges {
                    true => store.get_ranges(&path, std::slice::from_ref(&end)).await,
                    false => store
                        .get_range(&path, end.clone())
                        .await
                        .map(|part| vec![part]),
                };
                assert_eq!(part.unwrap(), [expected(end.clone())]);
                let rest = store.get_ranges(&path, &[4..8, 500..900]).await.unwrap();
                assert_eq!(rest, [expected(4..8), expected(500..900)]);
                assert_eq!(meter.read().gets, 1, "{end:?}");
            }
        }
        // Of a larger file its beginning is that, and no more is known of it.
        let (store, meter) = store_of(&[("t/part-1.parquet", 1_000)]).await;
        let path = Path::from("t/part-1.parquet");
        for gets in [1, 2] {
            assert_eq!(store.get_range(&path, 0..4).await.unwrap(), expected(0..4));
            assert_eq!(meter.read().gets, gets);
        }
    }

    #[tokio::test]
    async fn files_that_are_read_ahead_are_read_once_as_far_as_they_are_small_and_kept() {
        let small = usize::try_from(SMALL).unwrap();
        let names: Vec<String> = (0..20).map(|n| format!("t/part-{n}.parquet")).collect();
        let mut files: Vec<(&str, usize)> =
            names.iter().map(|name| (name.as_str(), small)).collect();
        files.push(("t/large.parquet", small + 1));
        files.push(("t/empty.parquet", 0));
        let (store, meter) = store_of(&files).await;
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        let of = |name: &str, size: usize| (Path::from(name), size as u64);
        read_ahead(Arc::clone(&store), vec![of(&names[0], small)]).await;
        assert_eq!(meter.read().gets, 0, "one is read when it is wanted");
        let mut all: Vec<(Path, u64)> = files.iter().map(|(name, size)| of(name, *size)).collect();
        all.push(of("t/none.parquet", 100));
        read_ahead(Arc::clone(&store), all).await;
        // Of half a mebibyte each, sixteen are all that is read ahead.
        assert_eq!(meter.read().gets, MOST_AHEAD / SMALL);
        for (name, gets) in [(&names[0], 16), (&names[15], 16), (&names[16], 17)] {
            let path = Path::from(name.as_str());
            store.get_range(&path, SMALL - 8..SMALL).await.unwrap();
            assert_eq!(meter.read().gets, gets, "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_large_or_no_data_or_of_another_length_is_the_stores() {
        let large = usize::try_from(SMALL).unwrap() + 1;
        let files = [
            ("t/large.parquet", large),
            ("t/_delta_log/1.checkpoint.parquet", 100),
            ("t/commit.json", 100),
            ("t/longer.parquet", 200),
            ("t/shorter.parquet", 50),
        ];
        let (store, meter) = store_of(&files).await;
        for (name, end) in [
            ("t/large.parquet", large as u64),
            ("t/_delta_log/1.checkpoint.parquet", 100),
            ("t/commit.json", 100),
            ("t/longer.parquet", 100),
        ] {
            let path = Path::from(name);
            for range in [end - 8..end, 0..16] {
                let before = meter.read().gets;
                let part = store.get_range(&path, range.clone()).await.unwrap();
                assert_eq!(part, expected(range), "{name}");
                assert!(meter.read().gets > before, "{name}");
            }
        }
        let short = Path::from("t/shorter.parquet");
        let part = store.get_range(&short, 42..50).await.unwrap();
        assert_eq!(part, expected(42..50));
        let (store, _) = store_of(&files).await;
        assert!(store.get_range(&short, 92..100).await.is_err());
        assert!(
            store
                .get_range(&Path::from("t/none.parquet"), 0..8)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let names: Vec<String> = (0..80).map(|n| format!("t/part-{n}.parquet")).collect();
        let size = usize::try_from(SMALL).unwrap();
        let files: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), size)).collect();
        let (store, meter) = store_of(&files).await;
        for name in &names {
            store
                .get_range(&Path::from(name.as_str()), SMALL - 8..SMALL)
                .await
                .unwrap();
        }
        let kept = store.kept.lock().unwrap().bytes;
        assert_eq!(kept, MOST);
        let before = meter.read().gets;
        store
            .get_range(&Path::from(names[79].as_str()), 0..16)
            .await
            .unwrap();
        assert_eq!(meter.read().gets, before);
        store
            .get_range(&Path::from(names[0].as_str()), 0..16)
            .await
            .unwrap();
        assert_eq!(meter.read().gets, before + 1);
    }
}
