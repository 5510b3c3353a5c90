//! Turns "ask for one page" into a stream of pages: by offset, by link, by number, by id, or by whatever says what comes next.
//!
//! Invariant: a stream reads ahead by at most one page (of the lists of several parents, by the first of the next few), never ends quietly on an error, and
//! never goes on for ever. Dropping it stops the requests under way.
//!
//! # Where a listing ends
//!
//! A seeming end of a listing (a short or an empty page, no link to a next one, `null`, 204, a 404, 410 or 416 behind
//! pages that came) is only a sign of it. One judge, `tally`, decides what it is worth, for every form of paging:
//!
//! | what came and what is declared | what follows |
//! |---|---|
//! | fewer records, repeats counted, than the largest total that a page of this reading declared | the listing is read anew after a pause, [`REREADS`] times at most, and once where another one of the resource was given up; then an error with both figures |
//! | as many, and the last page was not full | the end, without a request more |
//! | as many, all of them on the first page, and no listing of the resource has shown yet that its totals count more than a page | one page more: the total may be that page's, and the server may cut pages shorter than asked |
//! | as many, but the page was full, or links to a next one; or more than declared | the next page: totals count a page only, are capped, or lag behind |
//! | no total at all, or one that was passed; a short or an empty page | one page more ([`ListingOptions::confirm_end`]); nothing behind it is the end |
//! | a 404, 410 or 416 behind pages that came, and the total not missed | the same page once more, after a pause; nothing there again, and nothing behind it where one can look there, is the end |
//! | the same behind a full page, where no total is declared and nothing is behind it either | the end, with a remark |
//! | nothing at a place twice, no total that is missed, and records behind it | the listing is read anew after a pause; an error where it stays so |
//! | an empty page that was had by a link, behind others | the same page once more, after a pause |
//! | an empty page that names a next one | the next page, ten times in a row at most, and then the end with a remark ([`Page::remarks`]); once where the total is reached |
//! | a page that repeats a whole earlier page, in whichever order | behind a total that was reached the end; else the listing is read anew after a pause, and an error where it stays so. A repeat that makes up the number of the total is believed where it comes twice |
//! | five pages in a row that bring nothing new, though none repeats another | the listing is read anew, each page after the second of them after a pause; an error where it stays so, whatever the total promises |
//! | the total, reached only with several records that were on an earlier page | the listing is read anew after a pause, and where it stays so, the end with a remark that has both figures |
//! | no total, and several records on two pages | the end with a remark |
//! | no total that is read, and a last page without records that says that there is more (`hasMore: true`, `totalCount: 7`) | the end with a remark |
//! | a total that moved, and a record of the page before that came again | arrivals in front pushed it back, and were not read themselves: at its end the listing is read anew after a pause, three times at most, and then the end with a remark |
//! | a total that fell | after a pause as many records back as may have moved up unseen, once for each new low; a total that is high again there says that totals waver, and then the largest counts |
//! | a total that fell and was reached so | the listing is read anew after a pause, as above; where that reading declares no more from its first page on, and brings no fewer records than came before, the end with a remark that has both figures |
//! | fewer records than a reading before had, which did not come to its total; or none where it had some | the listing is read anew after a pause, as above; then an error with both figures |
//!
//! An answer that says of itself that it failed (200 with an error in it) is no page at all: [`crate::HttpRequest::expecting_records_at`].
//!
//! Totals count records that came, not different ones: an id that is listed twice is the provider's affair. Of a long page a first reading looks only
//! at the beginning for records that were there before, until it finds one; from then on, and in a reading that is made since something was in doubt, all of
//! it is looked at. A page of a single
//! record is no page to be known again: only the second repeat in a row is one. No page is asked for twice in a row without a
//! pause. A page whose [`Page::restarts_listing`] is set begins the listing again: what was counted before it is void.
//!
//! The page ahead is read by a task of its own. Rejected: polling it from the consumer's side, as `buffered` does; while the
//! consumer is busy nobody would poll it, its time limit would run out and its permit would starve the other slices.

mod by_key;
mod by_link;
mod by_offset;
mod by_page;
mod keys;
mod records;
mod recut;
mod tally;

pub use by_key::{KeyPosition, KeyedFetch, KeyedListing, by_key, ids_alone};
pub use by_link::by_link;
pub use by_offset::{OffsetPage, PageOffset, by_offset};
pub use by_page::{NextPage, NumberedPage, PageNumbering, PagePosition, by_page};
pub use keys::RecordId;
pub use records::normalise_empty;
pub(crate) use records::{are_wrapped, complaint, is_empty, said_empty};
pub use tally::TotalsClaim;

use crate::clock;
use crate::envelope;
use crate::source::{ListingRemark, Page, PageStream};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tally::{ListingTally, RepeatedPage};
use tillhouse_model::time::readable_std;
use tillhouse_model::{Error, Result};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// Most rereads of a listing that proved not to be whole.
pub const REREADS: usize = PAUSES.len();

/// The pauses before a listing is read anew, as multiples of [`ListingOptions::pause`].
const PAUSES: [u32; 3] = [1, 4, 15];

/// Counter of the listings that were read anew, for [`crate::http::ClientStats`].
#[derive(Debug, Clone, Default)]
pub struct RereadCounter(Arc<AtomicU64>);

impl RereadCounter {
    /// Number so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Allowance of rereads for the listings of a resource, reduced to one once a listing was given
/// up. A server that heeds no page would else cost every window half a minute. Shared by all
/// listings of a resource.
#[derive(Debug, Clone, Default)]
pub struct RereadAllowance(Arc<AtomicBool>);

impl RereadAllowance {
    /// Most rereads of this listing.
    fn rereads(&self) -> usize {
        if self.0.load(Ordering::Relaxed) {
            1
        } else {
            REREADS
        }
    }

    fn give_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Options of reading a listing: its limits, page size and record ids; see
/// [`crate::HttpClient::listing_options`].
#[derive(Debug, Clone)]
pub struct ListingOptions {
    /// Pages in all, see [`crate::SourceLimits::most_pages`].
    pub most_pages: u64,
    /// Records asked for a page.
    pub page_size: u32,
    /// Path to a page's records, see [`tillhouse_model::Resource::records_at`]; `None` where nobody knows, and then pages are neither
    /// counted nor known again.
    pub records_at: Option<&'static [&'static str]>,
    /// Key of a record's id.
    pub id: &'static str,
    /// True if an end that no total proves takes one page more to be believed, see
    /// [`crate::SourceLimits::confirm_end`].
    pub confirm_end: bool,
    /// Counts how often a listing was read anew.
    pub rereads: RereadCounter,
    /// The first pause, see [`crate::SourceLimits::reread_pause`].
    pub pause: Duration,
    /// True if the resource's totals count its listings.
    pub totals: TotalsClaim,
    /// True if a listing of the resource was given up.
    pub patience: RereadAllowance,
    /// Parents whose lists are begun at once, the current one among them, where lists are had by parent.
    pub side_by_side: usize,
}

/// A listing of which nothing is known but how many pages it may have.
impl From<u64> for ListingOptions {
    fn from(most_pages: u64) -> Self {
        Self {
            most_pages,
            page_size: u32::MAX,
            records_at: None,
            id: "id",
            confirm_end: true,
            rereads: RereadCounter::default(),
            pause: Duration::from_secs(1),
            totals: TotalsClaim::default(),
            patience: RereadAllowance::default(),
            side_by_side: 1,
        }
    }
}

impl ListingOptions {
    /// A page without records, asked for at that time.
    fn nothing(&self, requested_at: Timestamp) -> Page {
        let bytes = normalise_empty(Bytes::new(), self.records_at.unwrap_or_default());
        Page {
            bytes,
            declared_total: None,
            requested_at,
            scope: None,
            restarts_listing: false,
            is_reread: false,
            remarks: Vec::new(),
        }
    }

    /// Waits before something is asked for once more.
    async fn pause(&self, times: u32) {
        self.rereads.note();
        tokio::time::sleep(self.pause.saturating_mul(times)).await;
    }

    /// True if a page is known to have no records.
    fn is_empty(&self, page: &Page) -> bool {
        self.records_at
            .is_some_and(|at| records::is_empty(&page.bytes, at))
    }
}

/// Outcome of asking for a page.
#[derive(Debug)]
pub enum FetchOutcome<P> {
    /// The page.
    Page(P),
    /// No page: a 404, 410 or 416 ([`crate::HttpRefusal::is_past_the_end`]). The end behind pages
    /// that came, otherwise this error.
    Missing(Error),
}

impl<P> From<P> for FetchOutcome<P> {
    fn from(page: P) -> Self {
        Self::Page(page)
    }
}

/// Fetch function that one reading after the other uses.
type SharedFetch<Fetch> = Arc<Mutex<Fetch>>;

/// Asks for a page; where it is missing, `twice`, after a pause. The first page of all is missing for another reason, and where the total is
/// not reached, everything is read anew.
async fn ask<At, Fetch, Fut, Found, P>(
    fetch: &SharedFetch<Fetch>,
    at: At,
    ledger: &ListingTally,
    listing: &ListingOptions,
    twice: bool,
) -> Result<FetchOutcome<P>>
where
    At: Clone,
    Fetch: FnMut(At) -> Fut,
    Fut: Future<Output = Result<Found>>,
    Found: Into<FetchOutcome<P>>,
{
    let answer = |at: At| (*fetch.lock().unwrap_or_else(PoisonError::into_inner))(at);
    let explained = |error: Error| {
        let error = ledger.explain(error);
        match ledger.has_begun() {
            true => refused_behind_others(error),
            false => error,
        }
    };
    let found = answer(at.clone()).await.map_err(explained)?.into();
    let doubtful = twice && ledger.may_be_a_hole(listing);
    match found {
        FetchOutcome::Missing(_) if doubtful => {
            listing.pause(1).await;
            Ok(answer(at).await.map_err(explained)?.into())
        }
        found => Ok(found),
    }
}

/// The error of a page behind others, with the way out where the server refuses (400, 422) whatever is behind the last one. By itself that is no sign of
/// the end: a server that gives its first 10,000 records alone refuses what is behind them in the same way.
fn refused_behind_others(error: Error) -> Error {
    let is_refused = error.context().iter().any(|(key, value)| {
        *key == "status" && (value.starts_with("400") || value.starts_with("422"))
    });
    if !is_refused {
        return error;
    }
    let hint = error.hint_text().map(|hint| format!("{hint} "));
    let hint = format!(
        "{}If the server says so of any page behind the last one, write its words into empty_messages of the pipeline's connection: they mean that there is \
         nothing. Else it gives no more records of one list: choose shorter slices.",
        hint.unwrap_or_default()
    );
    error.hint(hint)
}

/// The rule of the remark about a listing whose end nothing proves.
const END_NOT_PROVEN: &str = "end_not_proven";

/// A remark about the end of a listing, which is also in the log.
fn unproved_end(came: u64, words: String) -> ListingRemark {
    tracing::warn!(came, "a listing is believed to be at its end, {words}");
    let words = format!("the end is believed after {came} records, {words}");
    ListingRemark {
        rule: END_NOT_PROVEN,
        words,
    }
}

/// Says that a listing is believed to end where a page is missing, since nothing else says so.
fn believed_end(refusal: &str, came: u64) -> ListingRemark {
    unproved_end(
        came,
        format!(
            "though the page before was full and no total is declared: behind it there is nothing, twice ({refusal})"
        ),
    )
}

/// Says that a listing was never had without records that moved while it was read.
fn never_still(readings: usize) -> ListingRemark {
    let words = format!(
        "records arrived in front and pushed others back in the last of {readings} readings of the listing: one that moved meanwhile may be \
         lacking until the window is read again"
    );
    ListingRemark {
        rule: END_NOT_PROVEN,
        words,
    }
}

/// Next step of reading a listing.
enum ListingStep<At> {
    On(At),
    /// Go to a place that was asked for before, after a pause.
    Back(At),
    /// The end, with what could not be proved about it.
    End(Vec<ListingRemark>),
    /// Records moved while it was read: from `first` on it is read anew, as long as that is not done too often.
    Shifted {
        first: At,
        /// Remarks on its end that could not be proved, for the case that it is the last reading.
        remarks: Vec<ListingRemark>,
        /// True if they arrived in front; else the list seems to have no stable order, or the server not to heed which page it is asked for.
        arrived: bool,
    },
    /// The listing is not whole: it is read anew, or, after too many rereads, ends with this
    /// error.
    Anew(At, Error),
}

/// Reads pages one after the other: `fetch` gets where it stands and gives the page and where to go on, `None` at the end.
///
/// The stream ends with an error of kind [`tillhouse_model::ErrorKind::Protocol`] after [`ListingOptions::most_pages`], and where what came is
/// not the whole (see the module's head) however often it is read anew from `first`. Where [`ListingOptions::records_at`] is not known, nobody
/// can count what came, and the end is believed.
pub fn chain<At, Fetch, Fut, Found>(
    first: At,
    listing: impl Into<ListingOptions>,
    fetch: Fetch,
) -> PageStream
where
    At: Clone + Send + Sync + 'static,
    Fetch: FnMut(At) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Found>> + Send + 'static,
    Found: Into<FetchOutcome<(Page, Option<At>)>>,
{
    let listing: ListingOptions = listing.into();
    let (limits, ledger) = (listing.clone(), ListingTally::of(&listing.totals));
    let fetch = Arc::new(Mutex::new(fetch));
    walk((first.clone(), ledger), limits, move |(at, mut ledger)| {
        let (fetch, first, listing) = (fetch.clone(), first.clone(), listing.clone());
        async move {
            let requested_at = clock::now();
            let mut found = ask(&fetch, at.clone(), &ledger, &listing, true).await?;
            if let FetchOutcome::Page((page, _)) = &found
                && ledger.has_begun()
                && listing.confirm_end
                && listing.is_empty(page)
            {
                // Nobody can look behind it but by its own link: the same page once more tells a slip.
                listing.pause(1).await;
                found = ask(&fetch, at, &ledger, &listing, true).await?;
            }
            let (mut page, next) = match found {
                FetchOutcome::Page(found) => found,
                FetchOutcome::Missing(error) if ledger.is_new() => return Err(error),
                FetchOutcome::Missing(error) => {
                    // Some page named it.
                    ledger.note_missing(&error);
                    (listing.nothing(requested_at), None)
                }
            };
            let repeat = ledger.look(&listing, &mut page)?;
            let step = match (repeat, next, ledger.shortfall()) {
                (Some(RepeatedPage::Unproved(error)), ..) => {
                    ListingStep::Anew((first, ledger.anew()), error)
                }
                (None, Some(next), _) if ledger.is_stale() => ListingStep::Back((next, ledger)),
                (None, Some(next), _) => ListingStep::On((next, ledger)),
                (None, None, Some(error)) => ListingStep::Anew((first, ledger.anew()), error),
                (Some(RepeatedPage::OfTheEnd), ..) | (None, None, None) => {
                    ledger.ending(|ledger| (first, ledger))
                }
            };
            Ok((page, step))
        }
    })
}

impl ListingTally {
    /// Remarks on the listing at its end: of one that nothing but a missing page tells of, of one behind which the server names more,
    /// and what was noted on the way.
    fn take_remarks(&mut self) -> Vec<ListingRemark> {
        let mut remarks = self.take_noted();
        if let Some(refusal) = self.unproved_end() {
            remarks.push(believed_end(refusal, self.so_far()));
        }
        if self.is_led_on() {
            // The one that ended it is the first that was not followed.
            let empty = self.empty_pages_followed().saturating_add(1);
            remarks.push(unproved_end(
                self.so_far(),
                format!(
                    "though the last page names a next one: {empty} pages in a row had no records, and no total is declared that was reached"
                ),
            ));
        }
        let words = [self.said_of_fall(), self.said_of_doubles()];
        for words in words.into_iter().flatten() {
            remarks.push(unproved_end(self.so_far(), words));
        }
        if let Some(claim) = self.claim_of_more().filter(|_| remarks.is_empty()) {
            remarks.push(unproved_end(
                self.so_far(),
                format!("though the last page has none and says `{claim}`"),
            ));
        }
        remarks
    }

    /// Takes a page of which nothing is known but what is written in it; whether it repeats another.
    fn look(&mut self, listing: &ListingOptions, page: &mut Page) -> Result<Option<RepeatedPage>> {
        let Some(records_at) = listing.records_at else {
            self.page(0, None);
            return Ok(None);
        };
        page.bytes = normalise_empty(std::mem::take(&mut page.bytes), records_at);
        let ids = self.identities(listing, page);
        // A large page has more than one record, and nobody needs to know more of it where no total is declared.
        let counts = page.declared_total.is_some()
            || self.declared().is_some()
            || page.bytes.len() < records::LOOKED_AT;
        let records = if counts {
            envelope::count(&page.bytes, records_at)?
        } else {
            2
        };
        let place = self.pages();
        self.page(records, page.declared_total);
        if page.declared_total.is_some() {
            self.compare(&page.bytes, records_at, listing.id);
        }
        let repeat = self.repeats(records::fingerprint(&ids), records, self.so_far(), || {
            format!("page {place} of the listing repeats one that came before")
        });
        let repeat = repeat.or_else(|| self.meets(&ids, || format!("page {place} of the listing")));
        if repeat.is_none() {
            self.note_most();
        }
        Ok(repeat)
    }
}

/// The engine of every form of paging: a task that reads, a pause before a listing is read anew, and an end.
fn walk<At, Fetch, Fut>(first: At, listing: ListingOptions, fetch: Fetch) -> PageStream
where
    At: Send + 'static,
    Fetch: FnMut(At) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(Page, ListingStep<At>)>> + Send + 'static,
{
    // Nothing runs before the stream is polled: the source's `pages` is no async function and needs no runtime.
    let stream = stream::once(async move {
        let (sender, receiver) = mpsc::channel(1);
        let task = tokio::spawn(read_all(first, listing, fetch, sender).in_current_span());
        stream::unfold(
            (receiver, Some(AbortOnDropHandle::new(task))),
            |(mut receiver, mut task)| async move {
                if let Some(page) = receiver.recv().await {
                    return Some((page, (receiver, task)));
                }
                // The channel also closes when the task dies, and that must not look like the end.
                match task.take()?.await {
                    Ok(()) => None,
                    Err(_) => Some((
                        Err(Error::internal("the task that reads pages died")),
                        (receiver, None),
                    )),
                }
            },
        )
    });
    stream.flatten().boxed()
}

async fn read_all<At, Fetch, Fut>(
    first: At,
    listing: ListingOptions,
    mut fetch: Fetch,
    sender: mpsc::Sender<Result<Page>>,
) where
    Fetch: FnMut(At) -> Fut,
    Fut: Future<Output = Result<(Page, ListingStep<At>)>>,
{
    let most_pages = listing.most_pages;
    let mut at = Some(first);
    let (mut pages, mut rereads, mut anew) = (0, 0, false);
    while let Some(here) = at.take() {
        // A place for the page before it is asked for: with one place, that is one page ahead.
        let Ok(place) = sender.reserve().await else {
            return;
        };
        if pages == most_pages {
            let error = Error::protocol(format!("the server goes on after {most_pages} pages"))
                .hint("Choose shorter slices, or larger pages.");
            place.send(Err(error));
            return;
        }
        let (mut page, step) = match fetch(here).await {
            Ok(found) => found,
            Err(error) => {
                place.send(Err(error));
                return;
            }
        };
        page.restarts_listing = std::mem::take(&mut anew);
        let step = match step {
            ListingStep::End(remarks) => {
                page.remarks.extend(remarks);
                ListingStep::End(Vec::new())
            }
            ListingStep::Shifted {
                remarks,
                arrived: true,
                ..
            } if rereads >= PAUSES.len() => {
                page.remarks.extend(remarks);
                page.remarks.push(never_still(rereads + 1));
                ListingStep::End(Vec::new())
            }
            // Rereads show no more of a list without a stable order: the next one is read anew once.
            ListingStep::Shifted {
                remarks,
                arrived: false,
                ..
            } if rereads >= listing.patience.rereads() => {
                listing.patience.give_up();
                page.remarks.extend(remarks);
                ListingStep::End(Vec::new())
            }
            step => step,
        };
        place.send(Ok(page));
        pages += 1;
        match step {
            ListingStep::On(next) => at = Some(next),
            ListingStep::Back(next) => {
                listing.pause(1).await;
                at = Some(next);
            }
            ListingStep::End(_) => {}
            ListingStep::Shifted { first, .. } => {
                if let Some(times) = PAUSES.get(rereads) {
                    tracing::warn!("records moved while a listing was read; reading it anew");
                    listing.pause(*times).await;
                    (at, anew, pages) = (Some(first), true, 0);
                    rereads += 1;
                }
            }
            ListingStep::Anew(first, error) => match PAUSES
                .get(rereads)
                .filter(|_| rereads < listing.patience.rereads())
            {
                Some(times) => {
                    let pause = readable_std(listing.pause.saturating_mul(*times));
                    tracing::warn!(%pause, "reading a listing anew: {error}");
                    listing.pause(*times).await;
                    (at, anew, pages) = (Some(first), true, 0);
                    rereads += 1;
                }
                None => {
                    listing.patience.give_up();
                    let Ok(place) = sender.reserve().await else {
                        return;
                    };
                    place.send(Err(error.at("times read", (rereads + 1).to_string())));
                    return;
                }
            },
        }
    }
}

#[cfg(test)]
mod slip_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::Notify;

    pub(super) fn page(text: impl Into<String>, declared_total: Option<u64>) -> Page {
        let requested_at = Timestamp::UNIX_EPOCH;
        Page {
            bytes: Bytes::from(text.into()),
            declared_total,
            requested_at,
            scope: None,
            restarts_listing: false,
            is_reread: false,
            remarks: Vec::new(),
        }
    }

    pub(super) async fn texts(stream: PageStream) -> Vec<Result<String>> {
        stream
            .map(|p| p.map(|p| String::from_utf8(p.bytes.to_vec()).unwrap()))
            .collect()
            .await
    }

    pub(super) async fn good(stream: PageStream) -> Vec<String> {
        texts(stream)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect()
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
        /// Signal that a future was dropped.
        struct DropSignal(Arc<Notify>);
        impl Drop for DropSignal {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let (begun, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let signals = (begun.clone(), gone.clone());
        let mut stream = chain((), 100, move |()| {
            let (begun, gone) = (signals.0.clone(), DropSignal(signals.1.clone()));
            async move {
                let _gone = gone;
                begun.notify_one();
                std::future::pending::<Result<(Page, Option<()>)>>().await
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
        assert_eq!(
            pages[1].as_ref().unwrap_err().kind(),
            tillhouse_model::ErrorKind::Internal
        );
    }

    #[tokio::test(start_paused = true)]
    async fn where_one_listing_was_given_up_others_are_read_anew_once() {
        let listing = ListingOptions {
            records_at: Some(&[]),
            ..ListingOptions::from(100)
        };
        let read = || {
            chain(0, listing.clone(), |_: u32| async {
                Ok((page("[1,2]", Some(3)), None))
            })
        };
        for (readings, seconds) in [(4, 20), (2, 1), (2, 1)] {
            let began = tokio::time::Instant::now();
            let pages = texts(read()).await;
            let error = pages.last().unwrap().as_ref().unwrap_err().to_string();
            assert!(error.contains("declares 3 records, but 2 came"), "{error}");
            assert!(error.contains(&format!("times read {readings}")), "{error}");
            assert_eq!(
                (pages.len(), began.elapsed().as_secs()),
                (readings + 1, seconds)
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_that_is_empty_in_the_next_reading_is_an_error_with_both_figures() {
        let listing = ListingOptions {
            records_at: Some(&[]),
            ..ListingOptions::from(100)
        };
        for total in [None, Some(0)] {
            let asked = Arc::new(AtomicUsize::new(0));
            let stream = chain(0, listing.clone(), move |_: u32| {
                let page = match asked.fetch_add(1, Ordering::SeqCst) {
                    0 => page("[1,2]", Some(3)),
                    _ => page("[]", total),
                };
                async move { Ok((page, None)) }
            });
            let pages = texts(stream).await;
            let error = pages.last().unwrap().as_ref().unwrap_err().to_string();
            assert!(error.contains("declares 3 records, but 0 came"), "{error}");
            assert!(error.contains("came in a reading before 2"), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_is_judged_as_every_form_of_paging() {
        let listing = || ListingOptions {
            records_at: Some(&[]),
            ..ListingOptions::from(100)
        };
        let read = |total: u64| {
            let rereads = RereadCounter::default();
            let listing = ListingOptions {
                rereads: rereads.clone(),
                ..listing()
            };
            let stream = chain(0, listing, move |at: u32| async move {
                Ok((
                    page(["[1,2]", "null"][at as usize], Some(total)),
                    (at == 0).then_some(1),
                ))
            });
            async move { (texts(stream).await, rereads.count()) }
        };
        let (pages, rereads) = read(2).await;
        assert_eq!(
            (pages.len(), rereads),
            (2, 1),
            "nothing behind a page is asked for once more"
        );
        assert_eq!(pages[1].as_deref().unwrap(), "[]", "null is no records");
        let (pages, rereads) = read(3).await;
        assert_eq!((pages.len(), rereads), (9, 3 + 4));
        assert!(
            pages[8]
                .as_ref()
                .unwrap_err()
                .message()
                .contains("declares 3 records, but 2 came")
        );
    }
}
