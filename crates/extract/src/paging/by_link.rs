//! Paging by the link that each page gives to the next one.
//!
//! Invariant: a link leads within the origin, and nowhere twice.

use super::{FetchOutcome, ListingOptions, chain};
use crate::origin;
use crate::source::{Page, PageStream};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_model::{Error, Result};
use url::Url;

/// Link to a page, whether it is a reading's first, and whether it was read before.
#[derive(Debug, Clone)]
struct LinkCursor {
    url: Url,
    first: bool,
    leads_back: bool,
}

/// Pages by the link each gives to the next one; `fetch` gives the page and the link as it stands there.
///
/// A link to another origin, or one that was followed before, is an error of kind [`tillhouse_model::ErrorKind::Protocol`]. No link is the
/// end, as far as the rules at the module's head believe it.
pub fn by_link<Fetch, Fut, Found>(
    first: Url,
    listing: impl Into<ListingOptions>,
    mut fetch: Fetch,
) -> PageStream
where
    Fetch: FnMut(Url) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Found>> + Send + 'static,
    Found: Into<FetchOutcome<(Page, Option<String>)>>,
{
    // Every address with the page that named it: a page that is asked for once more names the same again.
    let hasher = RandomState::new();
    let seen: Arc<Mutex<HashMap<u64, Option<u64>>>> = Arc::default();
    let first = LinkCursor {
        url: first,
        first: true,
        leads_back: false,
    };
    chain(
        first,
        listing,
        move |LinkCursor {
                  url,
                  first,
                  leads_back,
              }| {
            let known = |seen: &Mutex<HashMap<u64, Option<u64>>>, at: u64, from: Option<u64>| {
                *seen
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(at)
                    .or_insert(from)
                    != from
            };
            let (seen, hasher) = (seen.clone(), hasher.clone());
            if first {
                seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
                known(&seen, hasher.hash_one(&url), None);
            }
            let page = fetch(url.clone());
            async move {
                if leads_back {
                    return Err(Error::protocol(
                        "a paging link leads back to a page that was read before",
                    )
                    .at("url", crate::redact::redact_url(&url)));
                }
                let (page, link) = match page.await?.into() {
                    FetchOutcome::Page(found) => found,
                    FetchOutcome::Missing(error) => return Ok(FetchOutcome::Missing(error)),
                };
                let next = link
                    .filter(|l| !l.is_empty())
                    .map(|link| origin::follow_link(&url, &link))
                    .transpose()?;
                let here = Some(hasher.hash_one(&url));
                let next = next.map(|next| LinkCursor {
                    leads_back: known(&seen, hasher.hash_one(&next), here),
                    url: next,
                    first: false,
                });
                Ok(FetchOutcome::Page((page, next)))
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good, page, texts};
    use super::*;

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
            [
                "http://127.0.0.1:1/list",
                "http://127.0.0.1:1/list?page=2",
                "http://127.0.0.1:1/list?page=3"
            ]
        );
        let pages = texts(follow(&["?page=2", "http://127.0.0.1:2/list?page=3"])).await;
        assert_eq!(
            pages.len(),
            2,
            "the page before a bad link is not given: its successor is unknown"
        );
        let message = pages[1].as_ref().unwrap_err().to_string();
        assert!(
            message.contains("http://127.0.0.1:1") && message.contains("http://127.0.0.1:2"),
            "{message}"
        );
        let pages = texts(follow(&["?page=2", "/list"])).await;
        assert!(
            pages[2]
                .as_ref()
                .unwrap_err()
                .message()
                .contains("leads back")
        );
    }

    /// Two pages of a listing that declares a total in some readings, and what came of it.
    async fn listed(
        totals: &'static [u64],
        second: fn() -> FetchOutcome<(Page, Option<String>)>,
    ) -> (usize, Option<Error>) {
        let listing = ListingOptions {
            records_at: Some(&["data"]),
            ..ListingOptions::from(100)
        };
        let mut readings = 0;
        let pages = by_link(
            Url::parse("http://127.0.0.1:1/list").unwrap(),
            listing,
            move |url| {
                let first = url.query().is_none();
                readings += usize::from(first);
                let total = totals.get(readings - 1).copied();
                async move {
                    if !first {
                        return Ok(second());
                    }
                    Ok(FetchOutcome::Page((
                        page(r#"{"data":[{"id":1},{"id":2}]}"#, total),
                        Some("?page=2".into()),
                    )))
                }
            },
        );
        let mut pages = texts(pages).await;
        let error = pages
            .pop_if(|page| page.is_err())
            .map(|page| page.unwrap_err());
        (pages.len(), error)
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_that_is_not_whole_is_read_anew_and_in_the_end_an_error() {
        let rest = || FetchOutcome::Page((page(r#"{"data":[{"id":3}]}"#, None), None));
        let missing = || FetchOutcome::Missing(Error::protocol("there is nothing"));
        assert!(matches!(listed(&[3], rest).await, (2, None)));
        assert!(matches!(listed(&[4, 4, 3], rest).await, (6, None)));
        let began = tokio::time::Instant::now();
        let (pages, error) = listed(&[4, 4, 4, 4], rest).await;
        assert_eq!((pages, began.elapsed().as_secs()), (8, 20));
        let error = error.unwrap().to_string();
        assert!(
            error.contains("declares 4 records, but 3 came") && error.contains("times read 4"),
            "{error}"
        );
        assert!(
            matches!(listed(&[2], missing).await, (2, None)),
            "404 behind the last page"
        );
        let (ear, _guard) = crate::testing::log_capture::LogCapture::start();
        assert!(matches!(listed(&[2], missing).await, (2, None)));
        assert!(!ear.heard().contains("is believed"), "the total tells");
        let began = tokio::time::Instant::now();
        assert!(matches!(listed(&[], missing).await, (2, None)));
        assert!(
            ear.heard().contains("is believed to be at its end"),
            "{}",
            ear.heard()
        );
        assert_eq!(
            began.elapsed().as_secs(),
            1,
            "where nothing proves the end it is asked for once more"
        );
        assert!(
            listed(&[3, 3, 3, 3], missing)
                .await
                .1
                .unwrap()
                .message()
                .contains("but 2 came")
        );
        let same = || {
            FetchOutcome::Page((
                page(r#"{"data":[{"id":1},{"id":2}],"page":2}"#, Some(9)),
                None,
            ))
        };
        assert!(
            listed(&[9], same)
                .await
                .1
                .unwrap()
                .message()
                .contains("page 1 of the listing repeats")
        );
        let untold =
            || FetchOutcome::Page((page(r#"{"data":[{"id":1},{"id":2}],"page":2}"#, None), None));
        let (pages, error) = listed(&[], untold).await;
        assert_eq!(
            (
                pages,
                error
                    .unwrap()
                    .message()
                    .contains("page 1 of the listing repeats")
            ),
            (8, true)
        );
        // The total counts the page, or is made up by the repeat: the same again is believed.
        for total in [&[2, 2][..], &[4, 4]] {
            assert!(
                matches!(listed(total, untold).await, (4, None)),
                "{total:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_missing_once_is_asked_for_again() {
        for slips in [2, 4] {
            let listing = ListingOptions {
                records_at: Some(&["data"]),
                ..ListingOptions::from(100)
            };
            let mut number = 0;
            let pages = by_link(
                Url::parse("http://127.0.0.1:1/list").unwrap(),
                listing,
                move |url| {
                    number += 1;
                    let slip = number == slips;
                    async move {
                        let at: u32 = url.query().map_or(0, |query| {
                            query.trim_start_matches("page=").parse().unwrap()
                        });
                        if slip {
                            return Ok(FetchOutcome::Missing(Error::protocol("there is nothing")));
                        }
                        let link = (at < 3).then(|| format!("?page={}", at + 1));
                        // A page without records leads on as any other.
                        let text = if at == 1 {
                            r#"{"data":[]}"#.to_owned()
                        } else {
                            format!(r#"{{"data":[{at}]}}"#)
                        };
                        Ok(FetchOutcome::Page((page(text, None), link)))
                    }
                },
            );
            let wanted = [
                r#"{"data":[0]}"#,
                r#"{"data":[]}"#,
                r#"{"data":[2]}"#,
                r#"{"data":[3]}"#,
            ];
            assert_eq!(good(pages).await, wanted);
        }
    }
}
