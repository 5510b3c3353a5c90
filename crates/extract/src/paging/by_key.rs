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

use super::keys::{KeyPager, KeyedNext, RecordId, keys};
use super::tally::ListingTally;
use super::{ListingOptions, ListingStep, normalise_empty, walk, warn_believed};
use crate::clock;
use crate::source::{Page, PageStream};
use bytes::{BufMut, Bytes, BytesMut};
use futures::TryStreamExt;
use std::collections::VecDeque;
use std::sync::Arc;
use tillhouse_model::{Error, Result};

/// Subject of a listing that is paged by id, for limits and for errors.
#[derive(Debug, Clone)]
pub struct KeyedListing {
    /// The source.
    pub source: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// Options of the listing. Its records are the whole page, whatever is said here.
    pub listing: ListingOptions,
    /// Hint for a list that turns out to know no paging by id.
    pub hint: &'static str,
}

/// Position of a page in a listing that is paged by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPosition {
    /// Whose list it is, where lists are had by parent.
    pub parent: Option<Arc<str>>,
    /// The id behind which the page begins; `None` for the first of a list.
    pub key: Option<RecordId>,
    /// Number of records asked for.
    pub limit: u32,
}

/// Outcome of asking for a page by id.
#[derive(Debug)]
pub enum KeyedFetch {
    /// The page: a list of records, or a single one that stands for a list of one.
    Page(Page),
    /// Nothing is there, by a 404, 410 or 416: the end of a list behind pages of it that came, otherwise a parent that is gone. With
    /// the error for the case that there is no parent, or none of them has a list.
    Missing(Error),
}

/// Pages by the last id of the one before: [`KeyPosition::key`] is to be asked for with the records in the order of their ids.
///
/// With `parents`, whose pages are lists of records too, the lists of each of them are read one after the other. See the head of the
/// module `keys` for where a list ends. Where every parent's list is missing it is the path that is wrong, and the stream ends with an error.
pub fn by_key<Fetch, Fut>(
    asked: KeyedListing,
    parents: Option<PageStream>,
    fetch: Fetch,
) -> PageStream
where
    Fetch: Fn(KeyPosition) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<KeyedFetch>> + Send + 'static,
{
    let confirm = asked.listing.confirm_end;
    let first = KeyedCursor {
        found: parents.is_none(),
        pager: KeyPager::new(asked.listing.page_size, confirm, parents.is_none()),
        thorough: parents.is_none(),
        unread: parents,
        all: VecDeque::new(),
        parents: VecDeque::new(),
        missing: VecDeque::new(),
        asked_again: false,
        gone: (0, None),
        parent: None,
        ledger: ListingTally::default(),
        trails: false,
    };
    let fetch = Arc::new(fetch);
    let listing = asked.listing.clone();
    walk(first, listing, move |place| {
        let (fetch, asked) = (fetch.clone(), asked.clone());
        async move { page(&asked, place, &*fetch).await }
    })
}

/// Position of a stream that is paged by id.
struct KeyedCursor {
    /// The parents, as long as nobody knows them.
    unread: Option<PageStream>,
    /// All parents, for a reading anew.
    all: VecDeque<Arc<str>>,
    /// The parents whose lists are still to come.
    parents: VecDeque<Arc<str>>,
    /// The parents whose lists were missing: they are asked for once more when all others are read.
    missing: VecDeque<Arc<str>>,
    /// True if that is done.
    asked_again: bool,
    /// Number of the parents whose lists were missing twice, and the first of them with the refusal.
    gone: (u64, Option<(Arc<str>, String)>),
    parent: Option<Arc<str>>,
    pager: KeyPager,
    thorough: bool,
    /// True if there was any list.
    found: bool,
    /// Tally of the current list.
    ledger: ListingTally,
    /// True if its last page ended with a record without a usable id: what is behind the last usable one has it again.
    trails: bool,
}

impl KeyedCursor {
    /// The beginning again.
    fn anew(self, asked: &KeyedListing) -> Self {
        let mut parents = self.all.clone();
        let parent = parents.pop_front();
        let pager = KeyPager::new(
            asked.listing.page_size,
            asked.listing.confirm_end,
            self.thorough,
        );
        let (unread, found, ledger, missing) = (
            None,
            self.thorough,
            ListingTally::default(),
            VecDeque::new(),
        );
        Self {
            unread,
            parents,
            parent,
            pager,
            found,
            ledger,
            missing,
            asked_again: false,
            gone: (0, None),
            trails: false,
            ..self
        }
    }

    /// Goes on to the next parent's list; where those are read that came, once more to those that
    /// were missing, after a pause.
    fn next_list(mut self) -> ListingStep<Self> {
        (self.ledger, self.trails) = (ListingTally::default(), false);
        self.pager.start_over();
        self.parent = self.parents.pop_front();
        if self.parent.is_some() {
            return ListingStep::On(self);
        }
        if self.missing.is_empty() {
            if let (gone, Some((parent, refusal))) = &self.gone {
                tracing::warn!(
                    gone,
                    "parents without a list, twice, are believed to be gone, {parent} first ({refusal})"
                );
            }
            return ListingStep::End;
        }
        self.parents = std::mem::take(&mut self.missing);
        self.parent = self.parents.pop_front();
        self.asked_again = true;
        ListingStep::Back(self)
    }
}

async fn page<Fetch, Fut>(
    asked: &KeyedListing,
    mut place: KeyedCursor,
    fetch: &Fetch,
) -> Result<(Page, ListingStep<KeyedCursor>)>
where
    Fetch: Fn(KeyPosition) -> Fut,
    Fut: Future<Output = Result<KeyedFetch>>,
{
    if let Some(unread) = place.unread.take() {
        place.all = ids(unread).await?;
        place.parents = place.all.clone();
        place.parent = place.parents.pop_front();
        if place.parent.is_none() {
            return Ok((nothing(), ListingStep::End));
        }
    }
    let limit = if place.pager.asks_for_one() {
        1
    } else {
        asked.listing.page_size
    };
    let after = KeyPosition {
        parent: place.parent.clone(),
        key: place.pager.last().cloned(),
        limit,
    };
    let at = |e: Error| e.at("source", asked.source).at("resource", asked.resource);
    let has_begun = place.pager.has_begun();
    let confirm = asked.listing.confirm_end;
    let mut answer = fetch(after.clone()).await?;
    if has_begun && confirm && matches!(answer, KeyedFetch::Missing(_)) && !place.ledger.is_short()
    {
        // The end, or a slip: the same page once more tells.
        asked.listing.pause(1).await;
        answer = fetch(after.clone()).await?;
        if let KeyedFetch::Missing(refusal) = &answer
            && place.pager.may_go_on()
            && !place.ledger.is_proved()
            && let Some(hole) =
                look_behind(asked, &after, refusal, place.ledger.so_far(), fetch).await?
        {
            return Ok((nothing(), ListingStep::Anew(place.anew(asked), at(hole))));
        }
    }
    let (page, next) = match answer {
        KeyedFetch::Page(page) => {
            place.found = true;
            let bytes = normalise_empty(page.bytes, &[]);
            let (keys, alone) = keys(&bytes).map_err(at)?;
            place.ledger.page(keys.len() as u64, page.declared_total);
            let bytes = if alone { as_list(&bytes) } else { bytes };
            let page = Page {
                bytes,
                scope: place.parent.clone().or(page.scope),
                ..page
            };
            let trailed = place.trails && keys.first().is_some_and(Option::is_none);
            place.trails = keys.last().is_some_and(Option::is_none);
            match place.pager.take(&keys, alone) {
                // What ends a list and has records is there for the second time.
                Ok(next) => {
                    let again =
                        trailed || (has_begun && next == KeyedNext::End && !keys.is_empty());
                    (
                        Page {
                            is_reread: again,
                            ..page
                        },
                        next,
                    )
                }
                Err(e) => {
                    let hint = e.hint_text().unwrap_or_default().to_owned();
                    let error = at(e).hint(format!("{} {hint}", asked.hint));
                    // Behind pages that led on it may be a slip of the server's.
                    return if has_begun {
                        Ok((page, ListingStep::Anew(place.anew(asked), error)))
                    } else {
                        Err(error)
                    };
                }
            }
        }
        KeyedFetch::Missing(_) if has_begun => (nothing(), KeyedNext::End),
        KeyedFetch::Missing(error) => match place.parent.clone() {
            None => return Err(error),
            Some(parent) if confirm && !place.asked_again => {
                place.missing.push_back(parent);
                (nothing(), KeyedNext::End)
            }
            Some(_) if place.parents.is_empty() && !place.found => return Err(error),
            Some(parent) => {
                place.gone.0 += 1;
                place.gone.1.get_or_insert((parent, error.to_string()));
                (nothing(), KeyedNext::End)
            }
        },
    };
    if next == KeyedNext::End {
        if let Some(error) = place.ledger.shortfall() {
            return Ok((page, ListingStep::Anew(place.anew(asked), at(error))));
        }
        return Ok((page, place.next_list()));
    }
    Ok((page, ListingStep::On(place)))
}

/// Looks for records behind a place where nothing is, twice, and which no total and no short page proves to be the end: the error if there are
/// some. Otherwise the place is believed to be the end, and the log says so.
async fn look_behind<Fetch, Fut>(
    asked: &KeyedListing,
    missing: &KeyPosition,
    refusal: &Error,
    came: u64,
    fetch: &Fetch,
) -> Result<Option<Error>>
where
    Fetch: Fn(KeyPosition) -> Fut,
    Fut: Future<Output = Result<KeyedFetch>>,
{
    let Some(key) = &missing.key else {
        return Ok(None);
    };
    if let Some(behind) = key.successor() {
        let behind = KeyPosition {
            key: Some(behind),
            ..missing.clone()
        };
        if let KeyedFetch::Page(page) = fetch(behind).await?
            && !keys(&normalise_empty(page.bytes, &[]))
                .map_err(|e| e.at("source", asked.source).at("resource", asked.resource))?
                .0
                .is_empty()
        {
            let error = Error::protocol(format!(
                "the server has nothing behind the id {key}, but records further on"
            ))
            .at("came", came.to_string())
            .hint("Run `tillhouse sync` again later; if it stays so, ask the provider for what is missing there.");
            return Ok(Some(error));
        }
    }
    warn_believed(&refusal.to_string(), came);
    Ok(None)
}

/// The ids of all records, in their order.
async fn ids(mut pages: PageStream) -> Result<VecDeque<Arc<str>>> {
    let mut ids = VecDeque::new();
    while let Some(page) = pages.try_next().await? {
        if page.restarts_listing {
            ids.clear();
        }
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
    Page {
        bytes: Bytes::from_static(b"[]"),
        declared_total: None,
        requested_at: clock::now(),
        scope: None,
        restarts_listing: false,
        is_reread: false,
    }
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

    fn asked() -> KeyedListing {
        let listing = ListingOptions {
            page_size: 2,
            ..ListingOptions::from(100)
        };
        KeyedListing {
            source: "till",
            resource: "products",
            listing,
            hint: "Ask about ids.",
        }
    }

    fn here(text: &str) -> KeyedFetch {
        KeyedFetch::Page(Page {
            bytes: Bytes::from(text.to_owned()),
            ..nothing()
        })
    }

    /// Reads a stream; scope and text of each page, the error's message last, and what was asked.
    async fn read(
        parents: Option<&'static str>,
        answer: fn(&str, Option<i64>) -> KeyedFetch,
    ) -> (Vec<String>, Vec<String>) {
        let parents = parents.map(|list| {
            by_key(asked(), None, move |after| async move {
                Ok(here(if after.key.is_none() { list } else { "[]" }))
            })
        });
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        let stream = by_key(asked(), parents, move |after| {
            let parent = after.parent.as_deref().unwrap_or("-").to_owned();
            let key = after.key.map(|key| key.to_string());
            let one = if after.limit == 1 { "?" } else { "" };
            log.lock()
                .unwrap()
                .push(format!("{parent}>{}{one}", key.as_deref().unwrap_or("")));
            let page = answer(&parent, key.map(|key| key.parse().unwrap()));
            async move { Ok(page) }
        });
        let shown = |page: Result<Page>| match page {
            Ok(page) => format!(
                "{}{}",
                page.scope.as_deref().unwrap_or(""),
                String::from_utf8_lossy(&page.bytes)
            ),
            Err(error) => format!("{error} {}", error.hint_text().unwrap_or_default()),
        };
        let pages = stream.map(shown).collect().await;
        let requests = requests.lock().unwrap().clone();
        (pages, requests)
    }

    #[tokio::test]
    async fn what_has_no_id_to_ask_behind_comes_again_and_is_said_to() {
        let answer = |after: KeyPosition| {
            let key = after.key.map(|key| key.to_string());
            let page = match key.as_deref() {
                None => r#"[{"id":1},null]"#,
                Some("1") => r#"[null,{"id":3}]"#,
                Some("3") => r#"[{"id":4},{"x":1}]"#,
                _ => r#"[{"x":1}]"#,
            };
            async move { Ok(here(page)) }
        };
        let again: Vec<bool> = by_key(asked(), None, answer)
            .map(|page| page.unwrap().is_reread)
            .collect()
            .await;
        assert_eq!(again, [false, true, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_place_that_stays_missing_is_looked() {
        let gone = || KeyedFetch::Missing(Error::protocol("there is nothing"));
        let (ear, _guard) = crate::testing::log_capture::LogCapture::start();
        let (pages, asked) = read(None, |_, key| match key {
            None => here(r#"[{"id":1},{"id":2}]"#),
            Some(2) => here(r#"[{"id":3},{"id":4}]"#),
            Some(5) => here(r#"[{"id":6},{"id":7}]"#),
            _ => KeyedFetch::Missing(Error::protocol("there is nothing")),
        })
        .await;
        let error = pages.last().unwrap();
        assert!(
            error.contains("nothing behind the id 4, but records further on")
                && error.contains("times read 4"),
            "{error}"
        );
        assert_eq!(asked[..6], ["->", "->2", "->4", "->4", "->5", "->"]);
        assert!(!ear.heard().contains("is believed to be at its end"));
        // Nothing is behind it either, or nobody can look there.
        for first in [r#"[{"id":1},{"id":2}]"#, r#"[{"id":"a"},{"id":"b"}]"#] {
            let before = ear.heard().len();
            let list = by_key(super::tests::asked(), None, move |after| {
                let page = if after.key.is_none() {
                    here(first)
                } else {
                    gone()
                };
                async move { Ok(page) }
            });
            let pages: Vec<Page> = list.map(|page| page.unwrap()).collect().await;
            assert_eq!(pages.len(), 2);
            let heard = ear.heard()[before..].to_owned();
            assert!(
                heard.contains("is believed to be at its end")
                    && heard.contains("there is nothing"),
                "{heard}"
            );
        }
        let before = ear.heard().len();
        let (pages, asked) = read(None, |_, key| match key {
            None => here(r#"[{"id":1},{"id":2}]"#),
            Some(2) => here(r#"[{"id":3}]"#),
            _ => KeyedFetch::Missing(Error::protocol("there is nothing")),
        })
        .await;
        assert_eq!(
            (pages.len(), asked.len()),
            (3, 4),
            "a short page was before it"
        );
        assert!(!ear.heard()[before..].contains("is believed"));
    }

    #[tokio::test]
    async fn every_parents_list_comes_under_its_id() {
        let (pages, asked) = read(
            Some(r#"[{"id":7},{"id":8},{"id":9}]"#),
            |parent, key| match (parent, key) {
                ("7", None) => here(r#"[{"id":1},{"id":2}]"#),
                ("7", Some(2)) => here(r#"[{"id":3}]"#),
                ("8", None) => here(r#"{"id":4}"#),
                _ => here(["null", ""][usize::from(key.is_some())]),
            },
        )
        .await;
        assert_eq!(asked, ["7>", "7>2", "7>3", "8>", "8>4", "9>", "9>?"]);
        let came: Vec<_> = pages.iter().filter(|page| page.ends_with("}]")).collect();
        assert_eq!(
            came,
            [
                r#"7[{"id":1},{"id":2}]"#,
                r#"7[{"id":3}]"#,
                r#"8[{"id":4}]"#
            ]
        );
        assert_eq!(
            read(Some("[]"), |_, _| panic!("nobody to ask for")).await,
            (vec!["[]".to_owned()], vec![])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_parent_that_is_gone_is_left_out_but_not_all_of_them() {
        let parents = Some(r#"[{"id":7},{"id":8}]"#);
        let gone = |_: &str, _: Option<i64>| KeyedFetch::Missing(Error::protocol("no such list"));
        let (pages, _) = read(parents, gone).await;
        assert_eq!(pages, ["[]", "[]", "[]", "no such list "]);
        let (pages, asked) = read(parents, |parent, _| match parent {
            "8" => here("[]"),
            _ => KeyedFetch::Missing(Error::protocol("no such list")),
        })
        .await;
        // It is asked for once more, behind all others.
        assert_eq!(asked, ["7>", "8>", "8>?", "7>"]);
        assert_eq!(pages, ["[]", "8[]", "8[]", "[]"]);
    }

    /// The pages of a list whose request of that number is answered as missing.
    async fn slipping(parents: Option<&'static str>, slips: usize) -> Vec<String> {
        let number = Arc::new(Mutex::new(0));
        let parents = parents.map(|list| {
            by_key(asked(), None, move |after| async move {
                Ok(here(if after.key.is_none() { list } else { "[]" }))
            })
        });
        let stream = by_key(asked(), parents, move |after| {
            let number = {
                let mut number = number.lock().unwrap();
                *number += 1;
                *number
            };
            async move {
                Ok(match after.key {
                    _ if number == slips => KeyedFetch::Missing(Error::protocol("no such page")),
                    None => here(r#"[{"id":1},{"id":2}]"#),
                    Some(RecordId::Number(2)) => here(r#"[{"id":3}]"#),
                    _ => here("[]"),
                })
            }
        });
        let mut pages: Vec<String> = stream
            .map(|page| {
                page.map(|p| {
                    format!(
                        "{}{}",
                        p.scope.as_deref().unwrap_or(""),
                        String::from_utf8_lossy(&p.bytes)
                    )
                })
            })
            .map(|page| page.unwrap_or_else(|error| error.to_string()))
            .collect()
            .await;
        pages.retain(|page| !page.ends_with("[]"));
        pages.sort();
        pages
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_missing_once_hides_no_record() {
        let all = [r#"[{"id":1},{"id":2}]"#, r#"[{"id":3}]"#];
        for slips in 2..6 {
            assert_eq!(slipping(None, slips).await, all, "{slips}");
        }
        let parents = Some(r#"[{"id":7},{"id":8}]"#);
        let all: Vec<String> = ["7", "8"]
            .iter()
            .flat_map(|id| all.map(|page| format!("{id}{page}")))
            .collect();
        for slips in 1..8 {
            assert_eq!(slipping(parents, slips).await, all, "{slips}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_behind_a_page_is_the_end_of_a_list() {
        let (pages, asked) = read(None, |_, key| match key {
            None => here(r#"[{"id":1},{"id":2}]"#),
            _ => KeyedFetch::Missing(Error::protocol("no such page")),
        })
        .await;
        assert_eq!(
            (pages.len(), asked),
            (2, ["->", "->2", "->2", "->3"].map(str::to_owned).to_vec())
        );
        let (pages, _) = read(None, |_, _| {
            KeyedFetch::Missing(Error::protocol("no such list"))
        })
        .await;
        assert_eq!(pages, ["no such list "]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_total_that_is_not_reached_has_every_list_read_anew() {
        let parents = Some(r#"[{"id":7},{"id":8}]"#);
        let (pages, asked) = read(parents, |parent, key| {
            let page = if key.is_none() { r#"[{"id":1}]"# } else { "[]" };
            let declared_total = Some(if parent == "8" { 2 } else { 1 });
            KeyedFetch::Page(Page {
                bytes: Bytes::from_static(page.as_bytes()),
                declared_total,
                ..nothing()
            })
        })
        .await;
        assert_eq!(
            (&asked[..4], asked.len()),
            (&["7>", "7>1", "8>", "8>1"].map(String::from)[..], 16)
        );
        assert!(
            pages[16].contains("declares 2 records, but 1 came"),
            "{pages:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_paged_says_where_and_what_to_do() {
        let (pages, asked) = read(None, |_, _| here(r#"[{"id":1},{"id":2}]"#)).await;
        assert_eq!(asked, ["->", "->2"].repeat(4), "it may be a slip");
        assert_eq!(pages[0], r#"[{"id":1},{"id":2}]"#);
        let error = "the list cannot be paged: the records behind an id are asked for, and the same come again \
                     (source till, resource products, times read 4) Ask about ids. If the provider gives this list whole";
        assert!(pages[8].starts_with(error), "{}", pages[8]);
    }
}
