//! Turns "ask for one page" into a stream of pages: by offset, by link, by number, by id, or by whatever says what comes next.
//!
//! Invariant: a stream reads ahead by at most one page, never ends quietly on an error, and never goes on for ever. Dropping it
//! stops the request under way.
//!
//! The page ahead is read by a task of its own. Rejected: polling it from the consumer's side, as `buffered` does; while the
//! consumer is busy nobody would poll it, its time limit would run out and its permit would starve the other slices.

mod by_key;
mod by_page;
mod keys;

pub use by_key::{After, Keyed, KeyedPage, by_key};
pub use by_page::{Next, NumberedPage, Place, by_page};
pub use keys::Key;

use crate::origin;
use crate::source::{Page, PageStream};
use futures::StreamExt;
use futures::stream;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use tillhouse_model::{Error, Result};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use url::Url;

/// Reads pages one after the other: `fetch` gets where it stands and gives the page and where to go on, `None` at the end.
///
/// `most_pages` is the source's [`crate::Limits::most_pages`]. The stream ends with an error of kind [`tillhouse_model::ErrorKind::Protocol`] after `most_pages`.
pub fn chain<At, Fetch, Fut>(first: At, most_pages: u64, fetch: Fetch) -> PageStream
where
    At: Send + 'static,
    Fetch: FnMut(At) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(Page, Option<At>)>> + Send + 'static,
{
    // Nothing runs before the stream is polled: the source's `pages` is no async function and needs no runtime.
    let stream = stream::once(async move {
        let (sender, receiver) = mpsc::channel(1);
        let task = tokio::spawn(read_all(first, most_pages, fetch, sender).in_current_span());
        stream::unfold((receiver, Some(AbortOnDropHandle::new(task))), |(mut receiver, mut task)| async move {
            if let Some(page) = receiver.recv().await {
                return Some((page, (receiver, task)));
            }
            // The channel also closes when the task dies, and that must not look like the end.
            match task.take()?.await {
                Ok(()) => None,
                Err(_) => Some((Err(Error::internal("the task that reads pages died")), (receiver, None))),
            }
        })
    });
    stream.flatten().boxed()
}

async fn read_all<At, Fetch, Fut>(first: At, most_pages: u64, mut fetch: Fetch, sender: mpsc::Sender<Result<Page>>)
where
    Fetch: FnMut(At) -> Fut,
    Fut: Future<Output = Result<(Page, Option<At>)>>,
{
    let mut at = Some(first);
    let mut pages = 0;
    while let Some(here) = at.take() {
        // A place for the page before it is asked for: with one place, that is one page ahead.
        let Ok(place) = sender.reserve().await else { return };
        if pages == most_pages {
            let error = Error::protocol(format!("the server goes on after {most_pages} pages"))
                .hint("Choose shorter slices, or larger pages.");
            place.send(Err(error));
            return;
        }
        match fetch(here).await {
            Ok((page, next)) => {
                place.send(Ok(page));
                at = next;
                pages += 1;
            }
            Err(error) => {
                place.send(Err(error));
                return;
            }
        }
    }
}

/// Where one page of offset paging begins, and how many records it should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// Records before it.
    pub offset: u64,
    /// Records asked for.
    pub limit: u32,
}

/// One page of offset paging, and what is known of it.
#[derive(Debug)]
pub struct OffsetPage {
    /// The page.
    pub page: Page,
    /// How many records it holds.
    pub records: u64,
    /// How many records a page can hold at most, where the server says so; it may be fewer than asked for.
    pub limit: Option<u64>,
}

/// Pages by offset, from the first record on.
///
/// The next page starts where this one's records ended, so a server may cut pages shorter, or longer, than asked. With a total
/// ([`Page::declared_total`], read anew from every page) the end is there, or at an empty page; without one it is at the first
/// page that is short, and a page that repeats the one before is an error of kind [`tillhouse_model::ErrorKind::Protocol`].
///
/// A total that falls says that records vanished, and that those behind them moved up past the offset, maybe unseen. The next page
/// then starts as far back as they can have moved. Counting at the end would not tell: the vanished records that were seen make up for
/// the others that were not.
pub fn by_offset<Fetch, Fut>(limit: u32, most_pages: u64, mut fetch: Fetch) -> PageStream
where
    Fetch: FnMut(Offset) -> Fut + Send + 'static,
    Fut: Future<Output = Result<OffsetPage>> + Send + 'static,
{
    chain((0, Before::default()), most_pages, move |(offset, before): (u64, Before)| {
        let page = fetch(Offset { offset, limit });
        async move {
            let OffsetPage { page, records, limit: most } = page.await?;
            let full = most.filter(|most| *most > 0).unwrap_or(u64::MAX).min(u64::from(limit));
            let next = match (page.declared_total, before.total) {
                (Some(total), Some(before)) if total < before => Some(offset.saturating_sub(before - total)),
                (Some(total), _) => Some(offset + records).filter(|next| records > 0 && *next < total),
                (None, _) => Some(offset + records).filter(|_| records > 0 && records >= full),
            };
            let print = page.declared_total.is_none().then(|| Fingerprint::of(&page));
            if records > 0 && print.is_some() && print == before.print {
                return Err(Error::protocol(format!("the page at offset {offset} repeats the one before it"))
                    .hint("The server seems to ignore the offset's parameter: check its name."));
            }
            let mine = Before { total: page.declared_total, print };
            Ok((page, next.map(|next| (next, mine))))
        }
    })
}

/// What is remembered of the page before: its total, or without one enough to know it again.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    total: Option<u64>,
    print: Option<Fingerprint>,
}

/// Enough of a page to notice that it is the same one again: its length, and its last bytes, where the records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint(usize, u64);

impl Fingerprint {
    fn of(page: &Page) -> Self {
        use std::hash::{DefaultHasher, Hasher};
        let bytes = &page.bytes;
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes[bytes.len().saturating_sub(16 << 10)..]);
        Self(bytes.len(), hasher.finish())
    }
}

/// Pages by the link each gives to the next one; `fetch` gives the page and the link as it stands there.
///
/// A link to another origin, or one that was followed before, is an error of kind [`tillhouse_model::ErrorKind::Protocol`].
pub fn by_link<Fetch, Fut>(first: Url, most_pages: u64, mut fetch: Fetch) -> PageStream
where
    Fetch: FnMut(Url) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(Page, Option<String>)>> + Send + 'static,
{
    let hasher = RandomState::new();
    let mut seen = HashSet::new();
    chain(first, most_pages, move |url| {
        let repeated = !seen.insert(hasher.hash_one(&url));
        let page = fetch(url.clone());
        async move {
            if repeated {
                return Err(Error::protocol("a paging link leads back to a page that was read before")
                    .at("url", crate::redact::url(&url)));
            }
            let (page, link) = page.await?;
            let next = link.filter(|l| !l.is_empty()).map(|link| origin::follow(&url, &link)).transpose()?;
            Ok((page, next))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    fn page(text: impl Into<String>, declared_total: Option<u64>) -> Page {
        Page { bytes: Bytes::from(text.into()), declared_total, requested_at: jiff::Timestamp::UNIX_EPOCH, scope: None }
    }

    async fn texts(stream: PageStream) -> Vec<Result<String>> {
        stream.map(|p| p.map(|p| String::from_utf8(p.bytes.to_vec()).unwrap())).collect().await
    }

    async fn good(stream: PageStream) -> Vec<String> {
        texts(stream).await.into_iter().map(Result::unwrap).collect()
    }

    /// A server with `total` records that gives at most `most` a page.
    fn server(total: u64, most: u64, declares: bool, limit: u32) -> PageStream {
        by_offset(limit, 100, move |at| async move {
            let records = total.saturating_sub(at.offset).min(most).min(u64::from(at.limit));
            let page = page(format!("{}+{records}", at.offset), declares.then_some(total));
            Ok(OffsetPage { page, records, limit: Some(most) })
        })
    }

    #[tokio::test]
    async fn offsets_follow_the_records_that_came() {
        assert_eq!(good(server(7, 100, true, 3)).await, ["0+3", "3+3", "6+1"]);
        assert_eq!(good(server(6, 100, true, 3)).await, ["0+3", "3+3"]);
        assert_eq!(good(server(0, 100, true, 3)).await, ["0+0"]);
        assert_eq!(good(server(5, 2, true, 3)).await, ["0+2", "2+2", "4+1"]);
    }

    #[tokio::test]
    async fn without_a_total_the_first_short_page_is_the_last() {
        assert_eq!(good(server(7, 100, false, 3)).await, ["0+3", "3+3", "6+1"]);
        assert_eq!(good(server(6, 100, false, 3)).await, ["0+3", "3+3", "6+0"]);
        assert_eq!(good(server(5, 2, false, 3)).await, ["0+2", "2+2", "4+1"]);
    }

    #[tokio::test]
    async fn rows_that_move_up_are_not_passed_over() {
        // 0 to 9; after the second page the rows 0 and 1 vanish, after the third everything behind row 7.
        let listings: [Vec<u64>; 3] = [(0..10).collect(), (2..10).collect(), (2..8).collect()];
        let mut asked = 0;
        let stream = by_offset(3, 100, move |at| {
            let rows = &listings[[0, 0, 1, 1, 2][asked.min(4)]];
            asked += 1;
            let page_rows: Vec<u64> = rows.iter().skip(at.offset as usize).take(3).copied().collect();
            let records = page_rows.len() as u64;
            let page = page(format!("{}:{page_rows:?}", at.offset), Some(rows.len() as u64));
            async move { Ok(OffsetPage { page, records, limit: None }) }
        });
        let pages = ["0:[0, 1, 2]", "3:[3, 4, 5]", "6:[8, 9]", "4:[6, 7, 8]", "7:[]", "5:[7]"];
        assert_eq!(good(stream).await, pages);
    }

    #[tokio::test]
    async fn a_server_that_ignores_the_offset_is_found_out() {
        let stream =
            by_offset(2, 100, |_| async { Ok(OffsetPage { page: page("same", None), records: 2, limit: None }) });
        let pages = texts(stream).await;
        assert_eq!(pages.len(), 2);
        assert!(pages[1].as_ref().unwrap_err().message().contains("offset 2 repeats"));
    }

    #[tokio::test]
    async fn an_endless_chain_ends_with_an_error() {
        let stream = by_offset(1, 3, |at| async move {
            let page = page(at.offset.to_string(), Some(at.offset + 10));
            Ok(OffsetPage { page, records: 1, limit: None })
        });
        let pages = texts(stream).await;
        assert_eq!(pages.len(), 4);
        assert!(pages[3].as_ref().unwrap_err().message().contains("after 3 pages"));
    }

    #[tokio::test]
    async fn links_are_followed_at_home_only() {
        let first = || Url::parse("http://127.0.0.1:1/list").unwrap();
        let follow = |links: &'static [&'static str]| {
            let mut links = links.iter();
            by_link(first(), 100, move |url| {
                let link = links.next().map(|l| (*l).to_owned());
                async move { Ok((page(url.as_str(), None), link)) }
            })
        };
        assert_eq!(
            good(follow(&["/list?page=2", "?page=3", ""])).await,
            ["http://127.0.0.1:1/list", "http://127.0.0.1:1/list?page=2", "http://127.0.0.1:1/list?page=3"]
        );
        let pages = texts(follow(&["?page=2", "http://127.0.0.1:2/list?page=3"])).await;
        assert_eq!(pages.len(), 2, "the page before a bad link is not given: its successor is unknown");
        let message = pages[1].as_ref().unwrap_err().to_string();
        assert!(message.contains("http://127.0.0.1:1") && message.contains("http://127.0.0.1:2"), "{message}");
        let pages = texts(follow(&["?page=2", "/list"])).await;
        assert!(pages[2].as_ref().unwrap_err().message().contains("leads back"));
    }

    #[tokio::test]
    async fn one_page_is_read_ahead_and_no_more() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let mut stream = chain(0, 100, move |at: u32| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move { Ok((page(at.to_string(), None), Some(at + 1))) }
        });
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        for taken in 1..4 {
            stream.next().await.unwrap().unwrap();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            assert_eq!(asked.load(Ordering::SeqCst), taken + 1);
        }
    }

    #[tokio::test]
    async fn dropping_a_stream_stops_the_request_under_way() {
        struct Gone(Arc<Notify>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let (begun, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let signals = (begun.clone(), gone.clone());
        let mut stream = chain((), 100, move |()| {
            let (begun, gone) = (signals.0.clone(), Gone(signals.1.clone()));
            async move {
                let _gone = gone;
                begun.notify_one();
                std::future::pending().await
            }
        });
        tokio::select! {
            _ = stream.next() => panic!("nothing can come"),
            () = begun.notified() => {}
        }
        drop(stream);
        gone.notified().await;
    }

    #[tokio::test]
    async fn a_reader_that_dies_is_an_error_and_not_the_end() {
        let stream = chain(0, 100, |at: u32| async move {
            assert_eq!(at, 0, "dies on the second page");
            Ok((page("first", None), Some(at + 1)))
        });
        let pages = texts(stream).await;
        assert_eq!(pages.len(), 2);
        assert_eq!(pages[1].as_ref().unwrap_err().kind(), tillhouse_model::ErrorKind::Internal);
    }
}
