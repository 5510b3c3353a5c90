//! Paging by the records' ids, of one list or of every parent's list in turn.
//!
//! Invariant: every request says its whole question anew, so a page can be asked for again at any time; the pages of a parent's list
//! carry the parent's id as their scope.
//!
//! ```text
//!   machines            page after page, for their ids only (not given on)
//!     -> /product/80    page after page, scope 80
//!     -> /product/81    page after page, scope 81
//! ```
//!
//! Rejected: parents as tenants, which would make a slice of every machine and a line in the ledger of every voucher; and asking
//! for the lists of several parents at once, since a stream reads ahead by one page and no more. Slices do run side by side.

use super::chain;
use super::keys::{Key, Next, Pager, keys};
use crate::source::{Page, PageStream};
use bytes::{BufMut, Bytes, BytesMut};
use futures::TryStreamExt;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use tillhouse_model::{Error, Result};

/// What is asked page by page, for limits and for errors.
#[derive(Debug, Clone, Copy)]
pub struct Keyed {
    /// The source.
    pub source: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// Records a page.
    pub limit: u32,
    /// Pages in all, see [`crate::Limits::most_pages`].
    pub most_pages: u64,
    /// What to do where the list turns out to know no paging by id.
    pub hint: &'static str,
}

/// Where a page is had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// Whose list it is, where lists are had by parent.
    pub parent: Option<Arc<str>>,
    /// The id behind which the page begins; `None` for the first of a list.
    pub key: Option<Key>,
}

/// What came of asking for a page.
#[derive(Debug)]
pub enum KeyedPage {
    /// The page: a list of records, or a single one that stands for a list of one.
    Here(Page),
    /// The parent has no list, since it is gone: with the error for the case that no parent has one.
    Gone(Error),
}

/// Pages by the last id of the one before: [`After::key`] is to be asked for with the records in the order of their ids.
///
/// With `parents`, whose pages are lists of records too, the lists of each of them are read one after the other. See the head of the
/// module `keys` for where a list ends. Where every parent's list is missing it is the path that is wrong, and the stream ends with an error.
pub fn by_key<Fetch, Fut>(asked: Keyed, parents: Option<PageStream>, fetch: Fetch) -> PageStream
where
    Fetch: Fn(After) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<KeyedPage>> + Send + 'static,
{
    let first = Place {
        found: parents.is_none(),
        pager: Pager::new(asked.limit, parents.is_none()),
        unread: parents,
        parents: VecDeque::new(),
        parent: None,
    };
    let fetch = Arc::new(fetch);
    chain(first, asked.most_pages, move |place| {
        let fetch = fetch.clone();
        async move { page(asked, place, &*fetch).await }
    })
}

/// Where a stream stands.
struct Place {
    /// The parents, as long as nobody knows them.
    unread: Option<PageStream>,
    /// The parents whose lists are still to come.
    parents: VecDeque<Arc<str>>,
    parent: Option<Arc<str>>,
    pager: Pager,
    /// Whether any list was there.
    found: bool,
}

async fn page<Fetch, Fut>(asked: Keyed, mut place: Place, fetch: &Fetch) -> Result<(Page, Option<Place>)>
where
    Fetch: Fn(After) -> Fut,
    Fut: Future<Output = Result<KeyedPage>>,
{
    if let Some(unread) = place.unread.take() {
        place.parents = ids(unread).await?;
        place.parent = place.parents.pop_front();
        if place.parent.is_none() {
            return Ok((nothing(), None));
        }
    }
    let after = After { parent: place.parent.clone(), key: place.pager.last().cloned() };
    let (page, next) = match fetch(after).await? {
        KeyedPage::Here(page) => {
            place.found = true;
            let at = |e: Error| e.at("source", asked.source).at("resource", asked.resource);
            let (keys, alone) = keys(&page.bytes).map_err(at)?;
            let next = place.pager.take(&keys).map_err(|e| at(e).hint(asked.hint))?;
            let bytes = if alone { as_list(&page.bytes) } else { page.bytes };
            (Page { bytes, scope: place.parent.clone().or(page.scope), ..page }, next)
        }
        KeyedPage::Gone(error) if place.parent.is_none() || (place.parents.is_empty() && !place.found) => {
            return Err(error);
        }
        KeyedPage::Gone(_) => (nothing(), Next::End),
    };
    if next == Next::End {
        place.pager.start_over();
        place.parent = place.parents.pop_front();
        if place.parent.is_none() {
            return Ok((page, None));
        }
    }
    Ok((page, Some(place)))
}

/// The ids of all records, in their order.
async fn ids(mut pages: PageStream) -> Result<VecDeque<Arc<str>>> {
    let mut ids = VecDeque::new();
    while let Some(page) = pages.try_next().await? {
        for key in keys(&page.bytes)?.0.into_iter().flatten() {
            let id: Arc<str> = key.to_string().into();
            // A list that ignores paging is given twice.
            if ids.back() != Some(&id) {
                ids.push_back(id);
            }
        }
    }
    Ok(ids)
}

/// A page without records.
fn nothing() -> Page {
    Page { bytes: Bytes::from_static(b"[]"), declared_total: None, requested_at: Timestamp::now(), scope: None }
}

/// One record as a list of one.
fn as_list(record: &Bytes) -> Bytes {
    let mut list = BytesMut::with_capacity(record.len() + 2);
    list.put_u8(b'[');
    list.put_slice(record);
    list.put_u8(b']');
    list.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use std::sync::Mutex;

    const ASKED: Keyed =
        Keyed { source: "till", resource: "products", limit: 2, most_pages: 100, hint: "Ask about ids." };

    fn here(text: &str) -> KeyedPage {
        KeyedPage::Here(Page { bytes: Bytes::from(text.to_owned()), ..nothing() })
    }

    /// Reads a stream; scope and text of each page, the error's message last, and what was asked.
    async fn read(
        parents: Option<&'static str>,
        answer: fn(&str, Option<i64>) -> KeyedPage,
    ) -> (Vec<String>, Vec<String>) {
        let parents = parents.map(|list| {
            by_key(ASKED, None, move |after| async move { Ok(here(if after.key.is_none() { list } else { "[]" })) })
        });
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let stream = by_key(ASKED, parents, move |after| {
            let parent = after.parent.as_deref().unwrap_or("-").to_owned();
            let key = after.key.map(|key| key.to_string());
            log.lock().unwrap().push(format!("{parent}>{}", key.as_deref().unwrap_or("")));
            let page = answer(&parent, key.map(|key| key.parse().unwrap()));
            async move { Ok(page) }
        });
        let shown = |page: Result<Page>| match page {
            Ok(page) => format!("{}{}", page.scope.as_deref().unwrap_or(""), String::from_utf8_lossy(&page.bytes)),
            Err(error) => format!("{error} {}", error.hint_text().unwrap_or_default()),
        };
        let pages = stream.map(shown).collect().await;
        let asked = asked.lock().unwrap().clone();
        (pages, asked)
    }

    #[tokio::test]
    async fn every_parents_list_comes_under_its_id() {
        let (pages, asked) = read(Some(r#"[{"id":7},{"id":8}]"#), |parent, key| match (parent, key) {
            ("7", None) => here(r#"[{"id":1},{"id":2}]"#),
            ("7", Some(2)) => here(r#"[{"id":3}]"#),
            ("8", None) => here(r#"{"id":4}"#),
            _ => panic!("{parent} {key:?}"),
        })
        .await;
        assert_eq!(asked, ["7>", "7>2", "8>"]);
        assert_eq!(pages, [r#"7[{"id":1},{"id":2}]"#, r#"7[{"id":3}]"#, r#"8[{"id":4}]"#]);
        assert_eq!(read(Some("[]"), |_, _| panic!("nobody to ask for")).await, (vec!["[]".to_owned()], vec![]));
    }

    #[tokio::test]
    async fn a_parent_that_is_gone_is_left_out_but_not_all_of_them() {
        let parents = Some(r#"[{"id":7},{"id":8}]"#);
        let gone = |_: &str, _: Option<i64>| KeyedPage::Gone(Error::protocol("no such list"));
        let (pages, _) = read(parents, gone).await;
        assert_eq!(pages, ["[]", "no such list "]);
        let (pages, _) = read(parents, |parent, _| match parent {
            "7" => here("[]"),
            _ => KeyedPage::Gone(Error::protocol("no such list")),
        })
        .await;
        assert_eq!(pages, ["7[]", "[]"]);
    }

    #[tokio::test]
    async fn what_cannot_be_paged_says_where_and_what_to_do() {
        let (pages, asked) = read(None, |_, _| here(r#"[{"id":1},{"id":2}]"#)).await;
        assert_eq!(asked, ["->", "->2"]);
        let error = "the list cannot be paged: the records behind an id are asked for, and the same come again \
                     (source till, resource products) Ask about ids.";
        assert_eq!(pages, [r#"[{"id":1},{"id":2}]"#, error]);
    }
}
