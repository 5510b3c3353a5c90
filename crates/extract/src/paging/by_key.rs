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
//! The lists of the parents that come next are begun while the current one is read, [`ListingOptions::side_by_side`] of them at once: a list of thirty
//! vouchers would else wait sixty times for the network. Of each, one page and what proves its end is read ahead and no more, and whatever came is looked at
//! in the order of the parents, as if it had been asked for then.
//!
//! Rejected: parents as tenants, which would make a slice of every machine and a line in the ledger of every voucher.

use super::keys::{KeyPager, KeyedNext, RecordId, keys};
use super::tally::ListingTally;
use super::{ListingOptions, ListingStep, believed_end, normalise_empty, unproved_end, walk};
use crate::clock;
use crate::envelope;
use crate::source::{ListingRemark, Page, PageStream};
use bytes::{BufMut, Bytes, BytesMut};
use futures::TryStreamExt;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tillhouse_model::{Error, Result};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// Requests of a list that are sent before its turn: its first page, and what proves that nothing is behind it.
const AHEAD: usize = 2;

/// The rule of the remark about parents that have no list.
const LIST_MISSING: &str = "list_missing";

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
        begun: HashMap::new(),
        trails: false,
        remarks: Vec::new(),
        ahead: ReadAhead::default(),
    };
    let fetch = Arc::new(fetch);
    let listing = asked.listing.clone();
    walk(first, listing, move |place| {
        let (fetch, asked) = (fetch.clone(), asked.clone());
        async move { page(&asked, place, &fetch).await }
    })
}

/// Answer to a question, with the question.
type KeyedAnswer = (KeyPosition, Result<KeyedFetch>);

/// Beginnings of the lists of the parents that come next, and of the current one.
#[derive(Default)]
struct ReadAhead {
    /// Under way, in the order of the parents.
    begun: VecDeque<(Arc<str>, AbortOnDropHandle<VecDeque<KeyedAnswer>>)>,
    /// Answers that came for the current list.
    current: VecDeque<KeyedAnswer>,
}

impl ReadAhead {
    /// Begins the lists of the parents behind the current one, up to so many.
    fn begin<Fetch, Fut>(
        &mut self,
        (current, parents): (Option<&Arc<str>>, &VecDeque<Arc<str>>),
        (most, page_size): (usize, u32),
        pager: &KeyPager,
        fetch: &Arc<Fetch>,
    ) where
        Fetch: Fn(KeyPosition) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<KeyedFetch>> + Send + 'static,
    {
        let begun = self.begun.front().map(|(parent, _)| parent);
        let is_current = begun.is_some() && begun == current;
        let begun = self.begun.len() - usize::from(is_current);
        for parent in parents.iter().take(most).skip(begun) {
            let beginning = beginning(
                Arc::clone(fetch),
                Arc::clone(parent),
                pager.of_another_list(),
                page_size,
            );
            let task = tokio::spawn(beginning.in_current_span());
            self.begun
                .push_back((Arc::clone(parent), AbortOnDropHandle::new(task)));
        }
    }

    /// Answer to a question that was asked already.
    async fn answer(&mut self, asked: &KeyPosition) -> Option<Result<KeyedFetch>> {
        let is_next = |(parent, _): &(Arc<str>, _)| Some(parent) == asked.parent.as_ref();
        if self.begun.front().is_some_and(is_next)
            && let Some((_, task)) = self.begun.pop_front()
        {
            // One that died has answered nothing: the question is asked in its turn.
            self.current = task.await.unwrap_or_default();
        }
        let is_it = self.current.front().is_some_and(|(at, _)| at == asked);
        if !is_it {
            self.current.clear();
        }
        self.current.pop_front().map(|(_, answer)| answer)
    }
}

/// The page that a pager asks for next.
fn position(pager: &KeyPager, parent: Option<&Arc<str>>, page_size: u32) -> KeyPosition {
    KeyPosition {
        parent: parent.map(Arc::clone),
        key: pager.last().cloned(),
        limit: if pager.asks_for_one() { 1 } else { page_size },
    }
}

/// The first answers of a parent's list.
async fn beginning<Fetch, Fut>(
    fetch: Arc<Fetch>,
    parent: Arc<str>,
    mut pager: KeyPager,
    page_size: u32,
) -> VecDeque<KeyedAnswer>
where
    Fetch: Fn(KeyPosition) -> Fut,
    Fut: Future<Output = Result<KeyedFetch>>,
{
    let mut answers = VecDeque::with_capacity(AHEAD);
    while answers.len() < AHEAD {
        let at = position(&pager, Some(&parent), page_size);
        let answer = fetch(at.clone()).await;
        let next = match &answer {
            Ok(KeyedFetch::Page(page)) => keys(&normalise_empty(page.bytes.clone(), &[]))
                .and_then(|(keys, alone)| pager.take(&keys, alone)),
            _ => Ok(KeyedNext::End),
        };
        answers.push_back((at, answer));
        // A fault of the page is said in its turn.
        if !matches!(next, Ok(KeyedNext::More)) {
            break;
        }
    }
    answers
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
    /// Tallies of the lists that a reading before gave up, as the next reading of them begins.
    begun: HashMap<Option<Arc<str>>, ListingTally>,
    /// True if its last page ended with a record without a usable id: what is behind the last usable one has it again.
    trails: bool,
    /// Remarks on the lists so far that nobody could prove whole.
    remarks: Vec<ListingRemark>,
    ahead: ReadAhead,
}

impl KeyedCursor {
    /// The beginning again.
    fn anew(mut self, asked: &KeyedListing) -> Self {
        let given_up = self.parent.take();
        self.begun.insert(given_up, self.ledger.anew());
        let mut parents = self.all.clone();
        let parent = parents.pop_front();
        let pager = KeyPager::new(
            asked.listing.page_size,
            asked.listing.confirm_end,
            self.thorough,
        );
        let ledger = self.begun.get(&parent).cloned().unwrap_or_default();
        let (unread, found, missing) = (None, self.thorough, VecDeque::new());
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
            remarks: Vec::new(),
            ahead: ReadAhead::default(),
            ..self
        }
    }

    /// Notes a total of the current list that fell between two readings.
    fn note_fall(&mut self) {
        let Some(words) = self.ledger.said_of_fall() else {
            return;
        };
        let mut remark = unproved_end(self.ledger.so_far(), words);
        if let Some(parent) = &self.parent {
            remark.words = format!("list of {parent}: {}", remark.words);
        }
        self.remarks.push(remark);
    }

    /// Goes on to the next parent's list; where those are read that came, once more to those that
    /// were missing, after a pause.
    fn next_list(mut self) -> ListingStep<Self> {
        self.trails = false;
        self.pager.start_over();
        self.parent = self.parents.pop_front();
        if self.parent.is_some() {
            self.ledger = self.begun.get(&self.parent).cloned().unwrap_or_default();
            return ListingStep::On(self);
        }
        if self.missing.is_empty() {
            let mut remarks = std::mem::take(&mut self.remarks);
            if let (gone, Some((parent, refusal))) = &self.gone {
                tracing::warn!(
                    gone,
                    "parents without a list, twice, are believed to be gone, {parent} first ({refusal})"
                );
                let words = format!(
                    "{gone} parents of this list have none, twice, and are believed to be gone, {parent} first ({refusal})"
                );
                remarks.push(ListingRemark {
                    rule: LIST_MISSING,
                    words,
                });
            }
            return ListingStep::End(remarks);
        }
        self.parents = std::mem::take(&mut self.missing);
        self.parent = self.parents.pop_front();
        self.ledger = self.begun.get(&self.parent).cloned().unwrap_or_default();
        self.asked_again = true;
        ListingStep::Back(self)
    }
}

async fn page<Fetch, Fut>(
    asked: &KeyedListing,
    mut place: KeyedCursor,
    fetch: &Arc<Fetch>,
) -> Result<(Page, ListingStep<KeyedCursor>)>
where
    Fetch: Fn(KeyPosition) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<KeyedFetch>> + Send + 'static,
{
    if let Some(unread) = place.unread.take() {
        place.all = ids(unread).await?;
        place.parents = place.all.clone();
        place.parent = place.parents.pop_front();
        if place.parent.is_none() {
            return Ok((nothing(), ListingStep::End(Vec::new())));
        }
    }
    let page_size = asked.listing.page_size;
    let after = position(&place.pager, place.parent.as_ref(), page_size);
    let others = asked.listing.side_by_side.saturating_sub(1);
    place.ahead.begin(
        (place.parent.as_ref(), &place.parents),
        (others, page_size),
        &place.pager,
        fetch,
    );
    let at = |e: Error| e.at("source", asked.source).at("resource", asked.resource);
    let has_begun = place.pager.has_begun();
    let confirm = asked.listing.confirm_end;
    let mut answer = match place.ahead.answer(&after).await {
        Some(answer) => answer?,
        None => fetch(after.clone()).await?,
    };
    let proves_order = place.pager.proves_order();
    if proves_order && matches!(answer, KeyedFetch::Missing(_)) {
        // What the list has to show is known to be there.
        answer = KeyedFetch::Page(nothing());
    }
    if has_begun && confirm && matches!(answer, KeyedFetch::Missing(_)) && !place.ledger.is_short()
    {
        // The end, or a slip: the same page once more tells.
        asked.listing.pause(1).await;
        answer = fetch(after.clone()).await?;
        if let KeyedFetch::Missing(refusal) = &answer
            && place.pager.may_go_on()
            && !place.ledger.is_proved()
        {
            let came = place.ledger.so_far();
            match look_behind(asked, &after, refusal, came, &**fetch).await? {
                Ok(remark) => place.remarks.extend(remark),
                Err(hole) => {
                    return Ok((nothing(), ListingStep::Anew(place.anew(asked), at(hole))));
                }
            }
        }
    }
    let (page, next) = match answer {
        KeyedFetch::Page(page) => {
            place.found = true;
            let bytes = normalise_empty(page.bytes, &[]);
            let (keys, alone) = keys(&bytes).map_err(at)?;
            if !proves_order {
                place.ledger.page(keys.len() as u64, page.declared_total);
                place.ledger.note_most();
            }
            let bytes = if alone { as_list(&bytes) } else { bytes };
            let page = Page {
                bytes,
                scope: place.parent.clone().or(page.scope),
                ..page
            };
            let trailed =
                !proves_order && place.trails && keys.first().is_some_and(Option::is_none);
            if !proves_order {
                place.trails = keys.last().is_some_and(Option::is_none);
            }
            let taken = place.pager.take(&keys, alone);
            let page = match taken {
                // Its records came already, or come with the page that is asked for now.
                Ok(KeyedNext::More) if proves_order => Page {
                    bytes: Bytes::from_static(b"[]"),
                    ..page
                },
                _ => page,
            };
            if let Some(last) = place.pager.unreachable_behind() {
                let came = place.ledger.so_far();
                place.remarks.push(unproved_end(
                    came,
                    format!(
                        "though the last page was full: none of the records behind the id {last} has an id to page by, and what follows \
                         them is not asked for"
                    ),
                ));
            }
            match taken {
                // A page that ends a list and has records is there for the second time.
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
        // A list that is missing is judged when it is asked for once more.
        let is_put_off = place.parent.is_some() && place.missing.back() == place.parent.as_ref();
        if !is_put_off {
            let error = place
                .ledger
                .shortfall()
                .or_else(|| place.ledger.unconfirmed());
            if let Some(error) = error {
                return Ok((page, ListingStep::Anew(place.anew(asked), at(error))));
            }
            place.note_fall();
        }
        return Ok((page, place.next_list()));
    }
    Ok((page, ListingStep::On(place)))
}

/// Looks for records behind a place where nothing is, twice, and which no total and no short page proves to be the end: the inner error if there
/// are some. Otherwise the place is believed to be the end, with a remark.
async fn look_behind<Fetch, Fut>(
    asked: &KeyedListing,
    missing: &KeyPosition,
    refusal: &Error,
    came: u64,
    fetch: &Fetch,
) -> Result<Result<Option<ListingRemark>>>
where
    Fetch: Fn(KeyPosition) -> Fut,
    Fut: Future<Output = Result<KeyedFetch>>,
{
    let Some(key) = &missing.key else {
        return Ok(Ok(None));
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
            return Ok(Err(error));
        }
    }
    let mut remark = believed_end(&refusal.to_string(), came);
    if let Some(parent) = &missing.parent {
        remark.words = format!("list of {parent}: {}", remark.words);
    }
    Ok(Ok(Some(remark)))
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

/// A page of parents with their ids alone, for whoever keeps the pages of a long list.
pub fn ids_alone(page: Page) -> Page {
    let body = page.bytes.clone();
    let Some(records) = envelope::list(&body) else {
        return page;
    };
    let mut list = BytesMut::with_capacity(body.len() / 4);
    list.put_u8(b'[');
    for id in records
        .into_iter()
        .filter_map(|record| envelope::value_at(record, "id"))
    {
        if list.len() > 1 {
            list.put_u8(b',');
        }
        list.put_slice(br#"{"id":"#);
        list.put_slice(id);
        list.put_u8(b'}');
    }
    list.put_u8(b']');
    Page {
        bytes: list.freeze(),
        ..page
    }
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
        remarks: Vec::new(),
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
#[path = "by_key_tests.rs"]
mod tests;
