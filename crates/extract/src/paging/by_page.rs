//! Paging by the number of the page, for servers that say little: no total maybe, pages of a size of their own, links now and then.
//!
//! Invariant: a listing that does not change is read to its end, whatever the server leaves unsaid; only what proves the end ends it.
//!
//! | what a page shows | what follows |
//! |---|---|
//! | a link to the next page, at home and not followed before | that link |
//! | only records that were there before, where a link led | the page by its number, and links no more |
//! | no link, where the pages before had one | the end |
//! | a total | the next number until so many records have passed; an empty page ends it too |
//! | a total that fell | as many pages back as the records behind can have moved up |
//! | no record | the end |
//! | only records that were there before | the next number, once; the second time in a row the end |
//! | fewer records than a page before | the end |
//! | anything else | the next number |
//!
//! A first page that is shorter than asked proves nothing: the server may cut pages shorter than that. So it costs one request more to
//! find the end of a listing of one page. Nor does a single page without news: so many records may have arrived in front that it shows what
//! the one before did, and some servers take page 0 for page 1. And since some count pages from 0 and some from 1, a first page that is
//! empty is given one more chance, until some first page had records.

use super::chain;
use crate::source::{Page, PageStream};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tillhouse_model::{Error, Result};
use url::Url;

/// Where a page is had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// How many pages lie before it.
    pub index: u64,
    /// The link to it, where the page before gave one that can be followed.
    pub link: Option<Url>,
}

/// What a page says of the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Unsaid,
    /// A link within the origin, see [`crate::origin::follow`].
    Link(Url),
    /// A link that is not followed.
    Elsewhere,
}

/// One page, and what is known of it.
#[derive(Debug)]
pub struct NumberedPage {
    /// The page.
    pub page: Page,
    /// What identifies its records, see [`crate::envelope::identities`].
    pub records: Vec<u64>,
    /// Where it was had.
    pub url: Url,
    /// Where the next one is.
    pub next: Next,
}

/// Pages by number, from the first on; see the module's head for where they end.
///
/// `counted` says whether it is known that pages are counted from where the source counts them; it is set once that shows. A page that
/// repeats the ones before although the total promises more is an error of kind [`tillhouse_model::ErrorKind::Protocol`].
pub fn by_page<Fetch, Fut>(counted: Arc<AtomicBool>, most_pages: u64, mut fetch: Fetch) -> PageStream
where
    Fetch: FnMut(Place) -> Fut + Send + 'static,
    Fut: Future<Output = Result<NumberedPage>> + Send + 'static,
{
    let first = (Place { index: 0, link: None }, Progress::default());
    chain(first, most_pages, move |(place, mut progress): (Place, Progress)| {
        let page = fetch(place.clone());
        let counted = counted.clone();
        async move {
            let page = page.await?;
            let next = progress.after(&place, &page, &counted)?;
            Ok((page.page, next.map(|next| (next, progress))))
        }
    })
}

/// What is remembered of a listing while it is read.
#[derive(Debug, Default)]
struct Progress {
    seen: HashSet<u64>,
    visited: HashSet<String>,
    /// The most records that a page had.
    fullest: u64,
    /// The number of the furthest page.
    furthest: Option<u64>,
    total: Option<u64>,
    /// Whether the page before gave a link.
    linked: bool,
    /// Whether a link was found to lead back.
    misled: bool,
    /// Pages in a row, up to this one, that had records and no news.
    stale: u32,
}

impl Progress {
    /// Where to go on after a page; `None` at the end.
    fn after(&mut self, place: &Place, page: &NumberedPage, counted: &AtomicBool) -> Result<Option<Place>> {
        let records = page.records.len() as u64;
        let new = page.records.iter().filter(|record| self.seen.insert(**record)).count();
        let fullest = self.fullest;
        self.fullest = fullest.max(records);
        let is_new_place = self.furthest.is_none_or(|furthest| place.index > furthest);
        self.furthest = self.furthest.max(Some(place.index));
        self.visited.insert(page.url.to_string());
        if place.index == 0 && records > 0 {
            counted.store(true, Ordering::Relaxed);
        }
        let on = |link| Ok(Some(Place { index: place.index + 1, link }));

        let repeats = records > 0 && new == 0 && is_new_place;
        if let Some(total) = page.page.declared_total {
            let before = self.total.replace(total);
            if let Some(before) = before.filter(|before| total < *before) {
                let back = (before - total).div_ceil(self.fullest.max(1));
                return Ok(Some(Place { index: place.index.saturating_sub(back), link: None }));
            }
            let passed = (place.index * fullest).saturating_add(records);
            if records == 0 || passed >= total {
                return Ok(None);
            }
            if repeats && before == Some(total) {
                return Err(Error::protocol(format!("page {} repeats what was there before", place.index))
                    .hint("The server seems to ignore the page's number: check its parameter's name."));
            }
            return on(None);
        }

        if repeats && place.link.is_some() {
            // A link that goes in circles is none of the server's way to say where it ends.
            (self.linked, self.misled) = (false, true);
            return Ok(Some(Place { index: place.index, link: None }));
        }
        match &page.next {
            Next::Link(link) if !self.visited.contains(link.as_str()) && !self.misled => {
                self.linked = true;
                return on(Some(link.clone()));
            }
            Next::Unsaid if self.linked => return Ok(None),
            _ => {}
        }
        self.stale = if records > 0 && new == 0 { self.stale + 1 } else { 0 };
        if records == 0 {
            // Pages may be counted from one on.
            return if place.index == 0 && !counted.load(Ordering::Relaxed) { on(None) } else { Ok(None) };
        }
        if self.stale > 1 || records < fullest {
            return Ok(None);
        }
        on(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures::StreamExt;
    use std::sync::Mutex;
    use tillhouse_model::ErrorKind;

    fn url(index: u64) -> Url {
        Url::parse(&format!("http://127.0.0.1:1/list?page={index}")).unwrap()
    }

    /// How a server of these tests answers: the records of a page, its total and its link, by place and number of the request.
    type Manner = fn(&Place, usize) -> (Vec<u64>, Option<u64>, Next);

    /// The pages that were had, as their places and records, and the outcome of the last.
    async fn read_with(counted: bool, manner: Manner) -> (Vec<String>, Option<Error>, bool) {
        let counted = Arc::new(AtomicBool::new(counted));
        let asked = Arc::new(Mutex::new(0));
        let stream = by_page(counted.clone(), 20, move |place| {
            let number = {
                let mut asked = asked.lock().unwrap();
                *asked += 1;
                *asked - 1
            };
            let (records, declared_total, next) = manner(&place, number);
            let at = place.link.as_ref().map_or(url(place.index), Url::clone);
            let text = format!("{}{}:{records:?}", place.index, if place.link.is_some() { "L" } else { "" });
            let page = Page {
                bytes: Bytes::from(text),
                declared_total,
                requested_at: jiff::Timestamp::UNIX_EPOCH,
                scope: None,
            };
            async move { Ok(NumberedPage { page, records, url: at, next }) }
        });
        let (mut pages, mut error) = (Vec::new(), None);
        for page in stream.collect::<Vec<_>>().await {
            match page {
                Ok(page) => pages.push(String::from_utf8(page.bytes.to_vec()).unwrap()),
                Err(e) => error = Some(e),
            }
        }
        (pages, error, counted.load(Ordering::Relaxed))
    }

    async fn read(manner: Manner) -> Vec<String> {
        let (pages, error, _) = read_with(true, manner).await;
        assert!(error.is_none(), "{error:?}");
        pages
    }

    /// The records `from..to`, cut into pages of `size` counted from `base`.
    fn cut(place: &Place, base: u64, size: u64, to: u64) -> Vec<u64> {
        let Some(page) = place.index.checked_sub(base) else { return Vec::new() };
        ((page * size).min(to)..((page + 1) * size).min(to)).collect()
    }

    #[tokio::test]
    async fn without_a_total_a_shorter_page_is_the_last_and_the_first_proves_nothing() {
        let seven = read(|at, _| (cut(at, 0, 3, 7), None, Next::Unsaid)).await;
        assert_eq!(seven, ["0:[0, 1, 2]", "1:[3, 4, 5]", "2:[6]"]);
        let six = read(|at, _| (cut(at, 0, 3, 6), None, Next::Unsaid)).await;
        assert_eq!(six, ["0:[0, 1, 2]", "1:[3, 4, 5]", "2:[]"]);
        assert_eq!(read(|at, _| (cut(at, 0, 3, 2), None, Next::Unsaid)).await, ["0:[0, 1]", "1:[]"]);
        assert_eq!(read(|_, _| (vec![], None, Next::Unsaid)).await, ["0:[]"]);
    }

    #[tokio::test]
    async fn a_page_that_repeats_twice_ends_it() {
        // The last page again and again.
        let clamped =
            read(|at, _| (cut(&Place { index: at.index.min(1), link: None }, 0, 3, 6), None, Next::Unsaid)).await;
        assert_eq!(clamped, ["0:[0, 1, 2]", "1:[3, 4, 5]", "2:[3, 4, 5]", "3:[3, 4, 5]"]);
        let deaf = read(|_, _| (vec![1, 2], None, Next::Unsaid)).await;
        assert_eq!(deaf, ["0:[1, 2]", "1:[1, 2]", "2:[1, 2]"]);
    }

    #[tokio::test]
    async fn pages_counted_from_one_are_all_read() {
        let (pages, _, counted) = read_with(false, |at, _| (cut(at, 1, 2, 3), None, Next::Unsaid)).await;
        assert_eq!(pages, ["0:[]", "1:[0, 1]", "2:[2]"]);
        assert!(!counted);
        // Zero taken for one.
        let lenient = read(|at, _| {
            let place = Place { index: at.index.max(1), link: None };
            (cut(&place, 1, 2, 5), None, Next::Unsaid)
        });
        assert_eq!(lenient.await, ["0:[0, 1]", "1:[0, 1]", "2:[2, 3]", "3:[4]"]);
        // Where a first page once had records, an empty one is the end.
        let (pages, _, counted) = read_with(false, |_, _| (vec![], None, Next::Unsaid)).await;
        assert_eq!((pages.len(), counted), (2, false));
        assert!(read_with(false, |at, _| (cut(at, 0, 2, 1), None, Next::Unsaid)).await.2);
    }

    #[tokio::test]
    async fn links_are_followed_until_there_is_none() {
        let linked = read(|at, _| {
            let next = if at.index < 2 { Next::Link(url(100 + at.index)) } else { Next::Unsaid };
            (vec![at.index], None, next)
        });
        assert_eq!(linked.await, ["0:[0]", "1L:[1]", "2L:[2]"]);
        // A page without records is no end where a link leads on.
        let gap = read(|at, _| match at.index {
            0 => (vec![1], None, Next::Link(url(100))),
            1 => (vec![], None, Next::Link(url(101))),
            _ => (vec![2], None, Next::Unsaid),
        });
        assert_eq!(gap.await, ["0:[1]", "1L:[]", "2L:[2]"]);
    }

    #[tokio::test]
    async fn links_that_lead_nowhere_leave_the_number() {
        for next in [Next::Elsewhere, Next::Link(url(0))] {
            let manner: Manner = match next {
                Next::Elsewhere => |at, _| (cut(at, 0, 2, 5), None, Next::Elsewhere),
                _ => |at, _| (cut(at, 0, 2, 5), None, Next::Link(url(0))),
            };
            assert_eq!(read(manner).await, ["0:[0, 1]", "1:[2, 3]", "2:[4]"]);
        }
    }

    #[tokio::test]
    async fn a_link_in_circles_leaves_the_number() {
        // Every link leads back to its own page, under another address each time.
        let circles = read(|at, number| {
            let index = at.link.as_ref().map_or(at.index, |_| at.index - 1);
            (cut(&Place { index, link: None }, 0, 2, 5), None, Next::Link(url(100 + number as u64)))
        });
        assert_eq!(circles.await, ["0:[0, 1]", "1L:[0, 1]", "1:[2, 3]", "2:[4]"]);
    }

    #[tokio::test]
    async fn a_total_says_where_it_ends() {
        assert_eq!(read(|at, _| (cut(at, 0, 3, 6), Some(6), Next::Unsaid)).await, ["0:[0, 1, 2]", "1:[3, 4, 5]"]);
        assert_eq!(read(|at, _| (cut(at, 0, 3, 2), Some(2), Next::Unsaid)).await, ["0:[0, 1]"]);
        assert_eq!(read(|_, _| (vec![], Some(0), Next::Unsaid)).await, ["0:[]"]);
        // One that lies costs an empty page.
        let lies = read(|at, _| (cut(at, 0, 3, 4), Some(5), Next::Unsaid)).await;
        assert_eq!(lies, ["0:[0, 1, 2]", "1:[3]", "2:[]"]);
        let (pages, error, _) = read_with(true, |_, _| (vec![1, 2], Some(9), Next::Unsaid)).await;
        assert_eq!(pages, ["0:[1, 2]"]);
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.message().contains("page 1 repeats"), "{error}");
    }

    #[tokio::test]
    async fn records_that_move_are_not_passed_over() {
        // After the second page the first two records vanish: what stood at 4 and 5 stands at 2 and 3.
        let vanish = read(|at, number| {
            let listing: Vec<u64> = if number < 2 { (0..8).collect() } else { (2..8).collect() };
            let page = listing.iter().skip(at.index as usize * 2).take(2).copied().collect();
            (page, Some(listing.len() as u64), Next::Unsaid)
        });
        assert_eq!(vanish.await, ["0:[0, 1]", "1:[2, 3]", "2:[6, 7]", "1:[4, 5]", "2:[6, 7]"]);
        // One that arrives at the front pushes the others back, and a page may bring nothing new.
        let arrive = read(|at, number| {
            let listing: Vec<u64> = if number < 2 { (0..3).collect() } else { [9, 0, 1, 2].to_vec() };
            let page = listing.iter().skip(at.index as usize).take(1).copied().collect();
            (page, Some(listing.len() as u64), Next::Unsaid)
        });
        assert_eq!(arrive.await, ["0:[0]", "1:[1]", "2:[1]", "3:[2]"]);
        // The same without a total, and with a whole page of arrivals.
        let crowd = read(|at, number| {
            let listing: Vec<u64> = if number < 2 { (0..5).collect() } else { [8, 9, 0, 1, 2, 3, 4].to_vec() };
            (listing.iter().skip(at.index as usize * 2).take(2).copied().collect(), None, Next::Unsaid)
        });
        assert_eq!(crowd.await, ["0:[0, 1]", "1:[2, 3]", "2:[2, 3]", "3:[4]"]);
    }

    #[tokio::test]
    async fn what_never_ends_is_an_error() {
        let (pages, error, _) = read_with(true, |at, _| (vec![at.index], None, Next::Unsaid)).await;
        assert_eq!(pages.len(), 20);
        assert!(error.unwrap().message().contains("after 20 pages"));
    }
}
