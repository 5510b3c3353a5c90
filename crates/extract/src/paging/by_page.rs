//! Paging by the number of the page, for servers that say little: no total maybe, pages of a size of their own, links now and then.
//!
//! Invariant: a listing that does not change is read to its end, whatever the server leaves unsaid; only what proves the end ends it.
//!
//! | what a page shows | what follows |
//! |---|---|
//! | a total | the next number until it is reached, see the head of the module `paging` |
//! | a total that fell | as many pages back as the records behind can have moved up |
//! | a link to the next page, at home and not followed before | that link |
//! | only records that were there before, where a link led | the page by its number, and links no more |
//! | no link, where the pages before had one | as anything else, by number; what brings nothing new then, twice, is the end |
//! | the records of a whole page before it, and no total | read anew after a pause, see below |
//! | no record, but that there is a next page | the next number or link, ten times in a row at most, and then the end with a remark; once where the total is reached |
//! | no record, or fewer than a page before | the next number, once; nothing there is the end |
//! | no such page (404), twice | the next number, once, as behind an empty page; records there say that a page is missing |
//! | records behind such a page, or nothing behind an empty one that follows a page that was not short | that page once more, then on: it may have been a slip |
//! | fewer records than others on such a page again, in the middle of the listing | the same records once more, cut into two smaller pages: what those bring was lacking, if they have all of its own too; a remark where it stays short; where they show nothing, no page of the listing is doubted for that any more: the server may leave out what it does not show, or has lost them |
//! | the same, where ends are not to be confirmed | the next number, with a remark: nothing is asked for twice |
//! | more records than the pages before it | these were short, too, and are doubted one by one |
//! | no record on that page again, no word of a next one, and records behind it | a hole: read anew after a pause, and an error where it stays so |
//! | anything else | the next number |
//!
//! A page that repeats another without a total to tell has three causes, and only reading anew shows which. So many records arrived
//! in front that it shows what the one before did: read anew, the listing stands still. The server takes page 0 for page 1: the second
//! page repeats the first again, and is passed over from then on, in later listings too ([`PageNumbering`]). The server does not heed the
//! number: the third page is the same as well, and that is an error. The page that only brings what was there before, without being the
//! same, is one that arrivals pushed; two of them in a row are read anew too.
//!
//! A first page that is shorter than asked proves nothing: the server may cut pages shorter than that. So it costs one request more to
//! find the end of a listing of one page. And since some count pages from 0 and some from 1, a first page that is empty is given one
//! more chance, until some first page had records.

use super::recut::{self, RecutPage};
use super::tally::{ListingTally, RepeatedPage};
use super::{FetchOutcome, ListingOptions, ListingStep, ask, walk};
use crate::clock;
use crate::source::{Page, PageStream};
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tillhouse_model::{Error, ErrorKind, Result};
use url::Url;

/// Position of a page: its number, and the link to it where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagePosition {
    /// Number of pages before it, of its size.
    pub index: u64,
    /// Number of records asked for, where it is another than that of the listing's pages.
    pub size: Option<u32>,
    /// The link to it, where the page before gave one that can be followed.
    pub link: Option<Url>,
}

/// Statement of a page about the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextPage {
    /// No statement.
    Unknown,
    /// A link within the origin, see [`crate::origin::follow_link`].
    Link(Url),
    /// A link that is not followed, and may lead anywhere.
    Elsewhere,
    /// A next page that is had by its number.
    ByNumber,
}

/// One page, and what is known of it.
#[derive(Debug)]
pub struct NumberedPage {
    /// The page.
    pub page: Page,
    /// Identities of its records, see [`crate::envelope::identities`].
    pub records: Vec<u64>,
    /// Position it was read at.
    pub url: Url,
    /// Position of the next one.
    pub next: NextPage,
}

/// Numbering of a server's pages, as its answers have shown it. Shared by all listings of a
/// source.
#[derive(Debug, Clone, Default)]
pub struct PageNumbering {
    /// True if pages are known to be counted from where the source counts them.
    known: Arc<AtomicBool>,
    /// True if the first number was configured.
    told: bool,
    /// True if the first page is had twice, since the server takes page 0 for page 1.
    twice: Arc<AtomicBool>,
    /// True if pages were found to be counted from one more than the source's first number.
    from_next: Arc<AtomicBool>,
}

impl PageNumbering {
    /// Pages are counted from where the source counts them.
    pub fn known() -> Self {
        Self {
            known: Arc::new(AtomicBool::new(true)),
            told: true,
            ..Self::default()
        }
    }

    /// True if pages are known to be counted from where the source counts them.
    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }
}

/// Pages by number, from the first on; see the module's head for where they end.
pub fn by_page<Fetch, Fut, Found>(
    numbering: PageNumbering,
    listing: impl Into<ListingOptions>,
    fetch: Fetch,
) -> PageStream
where
    Fetch: FnMut(PagePosition) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Found>> + Send + 'static,
    Found: Into<FetchOutcome<NumberedPage>>,
{
    let listing: ListingOptions = listing.into();
    let fetch = Arc::new(Mutex::new(fetch));
    walk(
        NumberedReading::of(ListingTally::of(&listing.totals)),
        listing.clone(),
        move |course: NumberedReading| {
            let (fetch, numbering, listing) = (fetch.clone(), numbering.clone(), listing.clone());
            async move {
                let requested_at = clock::now();
                // The page behind a doubtful one is asked for once: the former is what is in doubt.
                let twice = course.recut.is_none()
                    && course
                        .doubted
                        .is_none_or(|doubt| doubt == NumberedDoubt::First);
                match ask(
                    &fetch,
                    course.place.clone(),
                    &course.ledger,
                    &listing,
                    twice,
                )
                .await
                .or_else(|error| course.without_recut(error))?
                {
                    FetchOutcome::Page(found) => course.after(found, &numbering, &listing),
                    FetchOutcome::Missing(error) if course.ledger.is_new() => Err(error),
                    FetchOutcome::Missing(error) => Ok((
                        listing.nothing(requested_at),
                        course.missing(&error, &numbering, &listing),
                    )),
                }
            }
        },
    )
}

/// State of reading a listing by page number.
#[derive(Debug)]
struct NumberedReading {
    place: PagePosition,
    seen: HashSet<u64>,
    visited: HashSet<String>,
    ledger: ListingTally,
    /// Number of records of each page, by its number.
    counts: Vec<u64>,
    /// The most records that a page had.
    fullest: u64,
    /// True if the page before gave a link.
    linked: bool,
    /// True if a link was found to lead back.
    misled: bool,
    /// True if the links ended, and pages are had by their numbers since.
    unlinked: bool,
    /// Pages in a row, up to this one, that had records and no news.
    stale: u32,
    /// Empty pages in a row, up to this one.
    empty_in_a_row: u32,
    /// The page before, if it was empty or short.
    doubted: Option<NumberedDoubt>,
    /// True if the page at hand was empty, had by a link, and is asked for once more.
    twice_by_link: bool,
    /// Next position after a page that is asked for once more.
    resume: Option<u64>,
    /// Pages that proved to be shorter than one behind them, and are still to be asked for once more.
    suspects: VecDeque<u64>,
    /// The records of a short page, asked for in smaller pages.
    recut: Option<RecutPage>,
    /// Records that smaller pages had: where a page has one of them, it comes again for that.
    recut_seen: HashSet<u64>,
    /// True if pages that are short or empty in the middle proved to be the server's way.
    holes_are_real: bool,
    /// True if the reading before found that the second page repeats the first.
    second_repeated: bool,
    /// True if the page before was skipped as such a repeat.
    passed_over: bool,
    /// True if a short page was not asked for once more, and that was noted.
    passed_short: bool,
}

/// Reason to doubt that a page was the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NumberedDoubt {
    /// First page, shorter than asked: the server may cut all of them so.
    First,
    /// First page, empty: pages may be counted from one on.
    Base,
    /// A page shorter than those before, or empty behind such a one.
    Gap(u64),
    /// An empty page behind one that was not short.
    Empty(u64),
    /// That page is asked for once more, since nothing is behind it either.
    Last,
}

impl NumberedReading {
    fn of(ledger: ListingTally) -> Self {
        Self {
            place: PagePosition {
                index: 0,
                size: None,
                link: None,
            },
            seen: HashSet::new(),
            visited: HashSet::new(),
            ledger,
            counts: Vec::new(),
            fullest: 0,
            linked: false,
            misled: false,
            unlinked: false,
            stale: 0,
            empty_in_a_row: 0,
            twice_by_link: false,
            doubted: None,
            resume: None,
            suspects: VecDeque::new(),
            recut: None,
            recut_seen: HashSet::new(),
            holes_are_real: false,
            second_repeated: false,
            passed_over: false,
            passed_short: false,
        }
    }

    fn on(mut self, index: u64, link: Option<Url>) -> ListingStep<Self> {
        self.place = PagePosition {
            index,
            size: None,
            link,
        };
        ListingStep::On(self)
    }

    fn anew(self, error: Error, second_repeated: bool) -> ListingStep<Self> {
        ListingStep::Anew(
            Self {
                second_repeated,
                ..Self::of(self.ledger.anew())
            },
            error,
        )
    }

    /// A sign of the end, judged.
    fn end(self) -> ListingStep<Self> {
        match self.ledger.shortfall() {
            Some(error) => self.anew(error, false),
            None => self.finish(),
        }
    }

    /// The end, unless records moved.
    fn finish(self) -> ListingStep<Self> {
        self.ledger.ending(Self::of)
    }

    /// Next position behind a page that was asked for once more: the next one in doubt, or where the reading stood.
    fn behind_doubt(mut self, resume: u64) -> ListingStep<Self> {
        if self.holes_are_real {
            self.suspects.clear();
        }
        if let Some(suspect) = self.suspects.pop_front() {
            self.resume = Some(resume);
            return self.on(suspect, None);
        }
        // Of the pages up to there, all came, whichever was asked for last.
        let before = usize::try_from(resume).unwrap_or(usize::MAX);
        self.ledger.came(self.counts.iter().take(before).sum());
        self.on(resume, None)
    }

    /// Goes on behind a short page without asking for it once more.
    fn pass_over(&mut self, index: u64, span: u64) {
        let count = usize::try_from(index).ok();
        let count = count.and_then(|index| self.counts.get(index).copied());
        if let Some(records) = count.filter(|_| !std::mem::replace(&mut self.passed_short, true)) {
            self.ledger.note(recut::passed_over(index, records, span));
        }
    }

    /// Asks for the records of a short page in smaller pages.
    fn recut(
        self,
        (ids, span): (&[u64], u64),
        resume: u64,
        numbering: &PageNumbering,
    ) -> ListingStep<Self> {
        // Where the first page has another number than 0, or is had twice, so many pages of any size are before the records.
        let before = u64::from(
            numbering.from_next.load(Ordering::Relaxed) || numbering.twice.load(Ordering::Relaxed),
        );
        let index = self.place.index;
        self.next_recut(RecutPage::new(index, ids, span, before, resume))
    }

    /// The next of the smaller pages; behind the last, what they show.
    fn next_recut(mut self, mut recut: RecutPage) -> ListingStep<Self> {
        if let Some(place) = recut.next_place() {
            self.place = place;
            self.recut = Some(recut);
            return ListingStep::On(self);
        }
        if let Some(remark) = recut.remark() {
            self.ledger.note(remark);
        }
        self.holes_are_real = recut.lacked().is_none();
        if let Some(lacked) = recut.lacked() {
            let count = usize::try_from(recut.index())
                .ok()
                .and_then(|index| self.counts.get_mut(index));
            if let Some(count) = count {
                *count = count.saturating_add(lacked.len() as u64);
            }
            self.seen.extend(lacked);
        }
        self.behind_doubt(recut.resume())
    }

    /// Passes over a smaller page that the server refuses, since it gives the larger ones; any other error stays.
    fn without_recut(&self, error: Error) -> Result<FetchOutcome<NumberedPage>> {
        let is_refused = matches!(
            error.kind(),
            ErrorKind::Protocol | ErrorKind::Config | ErrorKind::Busy
        );
        match self.recut.is_some() && is_refused {
            true => Ok(FetchOutcome::Missing(error)),
            false => Err(error),
        }
    }

    /// Handles a missing page: it was asked for twice, unless it stands behind a doubtful one.
    fn missing(
        mut self,
        refusal: &Error,
        numbering: &PageNumbering,
        listing: &ListingOptions,
    ) -> ListingStep<Self> {
        if let Some(recut) = self.recut.take() {
            return self.next_recut(recut);
        }
        let index = self.place.index;
        if let Some(resume) = self.resume.take() {
            if index == 0 && !numbering.is_known() {
                numbering.from_next.store(true, Ordering::Relaxed);
                return self.on(resume, None);
            }
            return self.hole(index);
        }
        if usize::try_from(index).is_ok_and(|index| index == self.counts.len()) {
            self.counts.push(0);
        }
        match self.doubted.take() {
            doubted @ (None | Some(NumberedDoubt::First))
                if self.ledger.may_be_a_hole(listing) && !self.ledger.is_proved() =>
            {
                // One page that is shorter than asked for, and 404 behind it, is the whole as a rule.
                if doubted.is_none() {
                    self.ledger.note_missing(refusal);
                }
                self.doubted = Some(NumberedDoubt::Gap(index));
                self.on(index + 1, None)
            }
            Some(NumberedDoubt::Empty(empty)) if empty > 0 && !self.ledger.is_short() => {
                self.doubted = Some(NumberedDoubt::Last);
                self.on(empty, None)
            }
            _ => self.end(),
        }
    }

    /// A page that is empty again, with records behind it.
    fn hole(self, index: u64) -> ListingStep<Self> {
        let error = Error::protocol(format!(
            "page {index} of the listing has no records, but a page behind it has some"
        ))
        .at("came", self.ledger.so_far().to_string())
        .hint("Run `tillhouse sync` again later; if it stays so, ask the provider for what is missing on that page.");
        self.anew(error, false)
    }

    /// Next position of a reading, after a page.
    fn after(
        mut self,
        found: NumberedPage,
        numbering: &PageNumbering,
        listing: &ListingOptions,
    ) -> Result<(Page, ListingStep<Self>)> {
        let NumberedPage {
            mut page,
            records: ids,
            url,
            next,
        } = found;
        if let Some(mut recut) = self.recut.take() {
            page.is_reread = true;
            // Of whatever place they are, they are records of the listing.
            self.recut_seen.extend(&ids);
            recut.take(&ids, &self.seen);
            return Ok((page, self.next_recut(recut)));
        }
        let (index, by_link) = (self.place.index, self.place.link.is_some());
        let records = ids.len() as u64;
        let is_new_place = index >= self.counts.len() as u64;
        let fall = self
            .ledger
            .declare(page.declared_total, records, is_new_place);
        page.is_reread = !is_new_place
            || by_link
            || self.unlinked
            || self.passed_over
            || ids.iter().any(|id| self.recut_seen.contains(id));
        self.ledger
            .shifts(is_new_place && !by_link && ids.iter().any(|id| self.seen.contains(id)));
        // Of what smaller pages had, nobody knows where it belongs.
        let again = ids
            .iter()
            .filter(|id| self.seen.contains(*id) && !self.recut_seen.contains(*id))
            .count();
        let new = ids.iter().filter(|id| self.seen.insert(**id)).count();
        self.visited.insert(url.to_string());
        if index == 0 && records > 0 {
            numbering.known.store(true, Ordering::Relaxed);
        }
        // Behind links, what was there before is the end, see `untold`.
        let print = (records > 0 && is_new_place && !by_link && !self.unlinked).then(|| {
            // In whichever order.
            let mut ids = ids.clone();
            ids.sort_unstable();
            let mut hasher = DefaultHasher::new();
            ids.hash(&mut hasher);
            hasher.finish()
        });
        let what = || format!("page {index} repeats what was there before");
        let came = records.saturating_add(self.counts.iter().sum());
        let repeat = self.ledger.repeats(print, records, came, what).or_else(|| {
            // Behind links, see `untold`.
            print?;
            self.ledger
                .brings(records, again as u64, || format!("page {index}"))
        });
        if print.is_none() && is_new_place && new > 0 {
            // Behind links as well; of a page that brings nothing new `untold` knows what it means.
            self.ledger.note_doubled(again as u64);
        }
        match repeat {
            None => {}
            Some(RepeatedPage::OfTheEnd) => return Ok((page, self.finish())),
            Some(RepeatedPage::Unproved(error)) => {
                self.passed_over = false;
                page.is_reread = true;
                let is_second = index == 1 && self.counts.len() == 1 && !numbering.told;
                if !is_second {
                    return Ok((page, self.anew(error, false)));
                }
                if !self.second_repeated && !numbering.twice.load(Ordering::Relaxed) {
                    return Ok((page, self.anew(error, true)));
                }
                // It is passed over: the next one shows whether the server heeds numbers at all.
                self.counts.push(0);
                self.passed_over = true;
                return Ok((page, self.on(2, None)));
            }
        }
        if std::mem::take(&mut self.passed_over) {
            numbering.twice.store(true, Ordering::Relaxed);
        }
        if is_new_place {
            self.counts.push(records);
        }
        let upto = usize::try_from(index)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
            .min(self.counts.len());
        if let Some((last, before)) = self
            .counts
            .get_mut(..upto)
            .and_then(<[u64]>::split_last_mut)
        {
            // Of a page that is asked for again, what it has now counts.
            *last = records;
            self.ledger
                .came(records.saturating_add(before.iter().sum()));
        }
        let fullest = self.fullest;
        self.fullest = fullest.max(records);
        let full = records >= u64::from(listing.page_size) || (fullest > 0 && records >= fullest);
        if fall > 0 {
            let back = index.saturating_sub(fall.div_ceil(self.fullest.max(1)));
            if back < index {
                self.place = PagePosition {
                    index: back,
                    size: None,
                    link: None,
                };
                return Ok((page, ListingStep::Back(self)));
            }
            // It was read after the fall.
            self.ledger.fall_holds();
        }
        match records {
            0 => self.empty_in_a_row += u32::from(!self.twice_by_link),
            _ => {
                self.empty_in_a_row = 0;
                self.ledger.forget_missing();
            }
        }
        let is_new_link =
            matches!(&next, NextPage::Link(link) if !self.visited.contains(link.as_str()));
        let leads_on = next == NextPage::ByNumber || is_new_link;
        self.ledger.note_empty(records == 0 && leads_on);
        self.ledger.note_page(&page, records);
        let leads_on = leads_on && self.empty_in_a_row <= self.ledger.empty_pages_followed();
        // A seeming hole is looked into, where the total cannot tell that there is one.
        let doubts = self.doubted.is_some() && !self.ledger.is_short();
        let complete = self
            .ledger
            .is_complete(records, full, next != NextPage::Unknown);
        // A total that was passed counts something else, and tells of no page that it is whole.
        let by_number = !by_link && !matches!(next, NextPage::Link(_));
        let untold = doubts || (self.ledger.is_passed() && by_number);
        // A page that is asked for once more is looked into in any case: the total may count that page alone.
        let is_first_time = self.resume.is_none();
        let step = match complete
            .filter(|complete| is_first_time && (*complete || !untold || records == 0))
        {
            Some(true) => self.finish(),
            Some(false) if records == 0 && leads_on => self.on(index + 1, None),
            // Pages may be counted from one on.
            Some(false) if records > 0 || (index == 0 && !numbering.is_known()) => {
                let is_stale = self.ledger.is_stale();
                match self.on(index + 1, None) {
                    // After a pause.
                    ListingStep::On(next) if is_stale => ListingStep::Back(next),
                    step => step,
                }
            }
            Some(false) => self.end(),
            None => self.untold(&ids, new, fullest, &next, numbering, listing),
        };
        Ok((page, step))
    }

    /// Next position where there is no total.
    fn untold(
        mut self,
        ids: &[u64],
        new: usize,
        fullest: u64,
        next: &NextPage,
        numbering: &PageNumbering,
        listing: &ListingOptions,
    ) -> ListingStep<Self> {
        let (index, records) = (self.place.index, ids.len() as u64);
        if records > 0 && new == 0 && self.place.link.is_some() {
            // A link that goes in circles is none of the server's way to say where it ends.
            (self.linked, self.misled) = (false, true);
            return self.on(index, None);
        }
        // The first of several in a row tells: what is asked for ever cannot be asked twice each.
        let is_hole = records == 0
            && self.place.link.is_some()
            && listing.confirm_end
            && self.empty_in_a_row == 1;
        if is_hole && !self.twice_by_link {
            self.twice_by_link = true;
            return ListingStep::Back(self);
        }
        let was_asked_twice = std::mem::take(&mut self.twice_by_link);
        match next {
            NextPage::Link(link) if !self.visited.contains(link.as_str()) && !self.misled => {
                if self.empty_in_a_row > self.ledger.empty_pages_followed() {
                    return self.finish();
                }
                self.linked = true;
                return self.on(index + 1, Some(link.clone()));
            }
            // A link that is missing is no end: the numbers go on, and one page more tells.
            NextPage::Unknown
                if self.linked
                    && !listing.confirm_end
                    && records < u64::from(listing.page_size) =>
            {
                return self.finish();
            }
            NextPage::Unknown if self.linked => (self.linked, self.unlinked) = (false, true),
            NextPage::ByNumber
                if records == 0
                    && self.resume.is_none()
                    && self.empty_in_a_row <= self.ledger.empty_pages_followed() =>
            {
                if matches!(self.doubted, None | Some(NumberedDoubt::First)) {
                    self.doubted = Some(NumberedDoubt::Empty(index));
                }
                return self.on(index + 1, None);
            }
            _ => {}
        }
        if let Some(resume) = self.resume.take() {
            // Asked for once more: what was missing came, or is not there.
            if index == 0 && records == 0 && !numbering.is_known() {
                numbering.from_next.store(true, Ordering::Relaxed);
            } else if records == 0 && *next == NextPage::Unknown {
                return self.hole(index);
            } else {
                self.holes_are_real = new == 0;
                let span = fullest.min(u64::from(listing.page_size));
                if new == 0 && records < span {
                    return self.recut((ids, span), resume, numbering);
                }
            }
            return self.behind_doubt(resume);
        }
        let doubted = self.doubted.take();
        if records == 0 {
            self.doubted = match doubted {
                None if index == 0 && !numbering.is_known() => Some(NumberedDoubt::Base),
                None | Some(NumberedDoubt::First) if listing.confirm_end && was_asked_twice => {
                    Some(NumberedDoubt::Gap(index))
                }
                Some(NumberedDoubt::First) if listing.confirm_end => {
                    Some(NumberedDoubt::Gap(index))
                }
                None if listing.confirm_end => Some(NumberedDoubt::Empty(index)),
                Some(NumberedDoubt::Empty(empty)) if empty > 0 => {
                    self.doubted = Some(NumberedDoubt::Last);
                    return self.on(empty, None);
                }
                _ => return self.finish(),
            };
            return self.on(index + 1, None);
        }
        self.stale = if new == 0 { self.stale + 1 } else { 0 };
        if self.stale > 0 && self.unlinked {
            // The server may heed its links only, and these have ended.
            return if self.stale > 1 {
                self.finish()
            } else {
                ListingStep::Back(self)
            };
        }
        if self.stale > 1 {
            let error = Error::protocol(format!("page {index} brings nothing that was not there before"))
                .hint("Records may arrive faster than they are read: choose shorter slices, or larger pages.");
            return self.anew(error, false);
        }
        let is_short = if fullest == 0 {
            records < u64::from(listing.page_size)
        } else {
            records < fullest
        };
        if is_short {
            // A page that names a next one is no end, however short it is.
            let leads_on =
                matches!(next, NextPage::ByNumber | NextPage::Elsewhere) || self.ledger.is_passed();
            if !listing.confirm_end && !leads_on {
                return self.finish();
            }
            self.doubted = Some(if fullest == 0 {
                NumberedDoubt::First
            } else {
                NumberedDoubt::Gap(index)
            });
        }
        let gap = match doubted {
            Some(NumberedDoubt::Gap(gap)) if !listing.confirm_end && new > 0 => {
                self.pass_over(gap, self.fullest);
                None
            }
            Some(NumberedDoubt::Gap(gap) | NumberedDoubt::Empty(gap)) => {
                Some(gap).filter(|_| !self.holes_are_real)
            }
            Some(NumberedDoubt::Base) => {
                Some(0).filter(|_| !numbering.from_next.load(Ordering::Relaxed))
            }
            _ => None,
        };
        // What is longer than all before it shows that these were short.
        if fullest > 0
            && records > fullest
            && fullest < u64::from(listing.page_size)
            && new > 0
            && listing.confirm_end
            && self.place.link.is_none()
            && !self.holes_are_real
        {
            let before = self.counts.iter().zip(0..index);
            // Of one that smaller pages filled, all came.
            let short = before
                .filter(|(count, _)| (1..records).contains(*count))
                .map(|(_, place)| place);
            self.suspects = short.filter(|place| Some(*place) != gap).collect();
        }
        if let Some(gap) = gap.filter(|_| new > 0) {
            self.resume = Some(index + 1);
            return self.on(gap, None);
        }
        self.behind_doubt(index + 1)
    }
}

#[cfg(test)]
#[path = "by_page_tests.rs"]
mod tests;
