//! Paging by offset: the number of records before a page.
//!
//! Invariant: a page begins where the one before ended, whatever its length was; the reader goes back only where a total fell, and ahead
//! only where no total is declared and an empty page has to be proved the last.
//!
//! A total that falls says that records vanished, and that those behind them moved up past the offset, maybe unseen. The next page
//! then starts as far back as they can have moved. Counting at the end would not tell: the vanished records that were seen make up for
//! the others that were not.

use super::records::fingerprint;
use super::tally::{ListingTally, RepeatedPage};
use super::{FetchOutcome, ListingOptions, ListingStep, ask, walk};
use crate::clock;
use crate::source::{Page, PageStream};
use std::sync::{Arc, Mutex};
use tillhouse_model::{Error, Result};

/// Offset of a page, and the number of records it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageOffset {
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
    /// Number of its records.
    pub records: u64,
    /// Most records that a page can hold, where the server says so; it may be fewer than asked
    /// for.
    pub limit: Option<u64>,
    /// True if it links a next one.
    pub linked: bool,
    /// The offset that the link names, where it names one.
    pub leads_to: Option<u64>,
}

/// Pages by offset, from the first record on.
///
/// The next page starts where this one's records ended, so a server may cut pages shorter, or longer, than asked. See the head of the
/// module `paging` for where a listing ends.
///
/// ```
/// use futures::TryStreamExt;
/// use tillhouse_extract::Page;
/// use tillhouse_extract::paging::{OffsetPage, PageOffset, by_offset};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// // Three records, two a page; `1_000` is the most pages that are read.
/// let pages = by_offset(2, 1_000, |PageOffset { offset, limit }| async move {
///     let ids: Vec<u64> = (0..3).skip(offset as usize).take(limit as usize).collect();
///     let page = Page {
///         bytes: format!("{ids:?}").into(),
///         declared_total: Some(3),
///         requested_at: jiff::Timestamp::now(),
///         scope: None,
///         restarts_listing: false,
///         is_reread: false,
///         remarks: Vec::new(),
///     };
///     Ok(OffsetPage { page, records: ids.len() as u64, limit: None, linked: false, leads_to: None })
/// });
/// let pages: Vec<Page> = pages.try_collect().await.unwrap();
/// assert_eq!(pages.iter().map(|page| &page.bytes[..]).collect::<Vec<_>>(), [&b"[0, 1]"[..], b"[2]"]);
/// # });
/// ```
pub fn by_offset<Fetch, Fut, Found>(
    limit: u32,
    listing: impl Into<ListingOptions>,
    fetch: Fetch,
) -> PageStream
where
    Fetch: FnMut(PageOffset) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Found>> + Send + 'static,
    Found: Into<FetchOutcome<OffsetPage>>,
{
    let listing: ListingOptions = listing.into();
    let fetch = Arc::new(Mutex::new(fetch));
    walk(
        OffsetReading::of(ListingTally::of(&listing.totals)),
        listing.clone(),
        move |course: OffsetReading| {
            let (fetch, listing) = (fetch.clone(), listing.clone());
            async move {
                let requested_at = clock::now();
                let at = PageOffset {
                    offset: course.offset,
                    limit,
                };
                // The page behind a doubtful place is asked for once: that place is what is in doubt.
                let twice = matches!(course.doubt, OffsetDoubt::None | OffsetDoubt::Short);
                match ask(&fetch, at, &course.ledger, &listing, twice).await? {
                    FetchOutcome::Page(found) => course.after(found, limit, &listing),
                    FetchOutcome::Missing(error) if course.ledger.is_new() => Err(error),
                    FetchOutcome::Missing(error) => Ok((
                        listing.nothing(requested_at),
                        course.missing(&error, limit, &listing),
                    )),
                }
            }
        },
    )
}

/// State of reading a listing by offset.
#[derive(Debug, Default)]
struct OffsetReading {
    offset: u64,
    /// The end of the furthest page.
    reach: u64,
    ledger: ListingTally,
    /// The most records that a page had.
    fullest: u64,
    doubt: OffsetDoubt,
    /// Places at which nothing was, twice.
    gaps: u64,
    /// Empty pages in a row that named a next one.
    empty_in_a_row: u32,
    /// True if the place in doubt was asked for twice.
    was_missing: bool,
}

/// Doubt whether the page before was the last, where no total tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum OffsetDoubt {
    #[default]
    None,
    /// The page was short.
    Short,
    /// None was at this offset, and the reader looks behind it.
    Empty(u64),
    /// Records came from so far behind it: the offset is asked for once more.
    Hole(u64),
    /// No record came from behind it: the offset is asked for once more.
    Last,
}

/// Length of a page with records, against what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageLength {
    Full,
    /// As long as those before it: the server may cut all of them so.
    ShorterThanAsked,
    Short,
}

impl OffsetReading {
    fn of(ledger: ListingTally) -> Self {
        Self {
            ledger,
            ..Self::default()
        }
    }

    fn anew(self, error: Error) -> ListingStep<Self> {
        ListingStep::Anew(Self::of(self.ledger.anew()), error)
    }

    /// Next position of a reading, after a page.
    fn after(
        mut self,
        found: OffsetPage,
        limit: u32,
        listing: &ListingOptions,
    ) -> Result<(Page, ListingStep<Self>)> {
        let OffsetPage {
            mut page,
            records,
            limit: most,
            linked,
            leads_to,
        } = found;
        let (offset, end) = (self.offset, self.offset.saturating_add(records));
        // The places of a gap did not come.
        let gap = if let OffsetDoubt::Empty(hole) = self.doubt {
            offset.saturating_sub(hole)
        } else {
            0
        };
        let came = end.saturating_sub(self.gaps.saturating_add(gap));
        let is_new_place = self.ledger.is_new() || offset >= self.reach;
        let fall = self
            .ledger
            .declare(page.declared_total, records, end > self.reach);
        self.reach = self.reach.max(end);
        page.is_reread = !is_new_place;
        if let (Some(records_at), true, true) = (
            listing.records_at,
            is_new_place,
            page.declared_total.is_some(),
        ) {
            self.ledger.compare(&page.bytes, records_at, listing.id);
        }
        if records > 0 && is_new_place {
            let what = || format!("the page at offset {offset} repeats one before it");
            let ids = self.ledger.identities(listing, &page);
            let repeat = self
                .ledger
                .repeats(fingerprint(&ids), records, came, what)
                .or_else(|| {
                    self.ledger
                        .meets(&ids, || format!("the page at offset {offset}"))
                });
            match repeat {
                None => {}
                Some(RepeatedPage::OfTheEnd) => return Ok((page, self.finish())),
                Some(RepeatedPage::Unproved(error)) => return Ok((page, self.anew(error))),
            }
        }
        self.ledger.came(came);
        if fall > 0 {
            let back = offset.saturating_sub(fall);
            if back < offset {
                (self.offset, self.gaps, self.doubt) = (back, 0, OffsetDoubt::None);
                return Ok((page, ListingStep::Back(self)));
            }
            // It was read after the fall.
            self.ledger.fall_holds();
        }
        match self.doubt {
            // There is something behind the gap.
            OffsetDoubt::Empty(hole) if records > 0 => {
                (self.offset, self.doubt, self.was_missing) =
                    (hole, OffsetDoubt::Hole(offset - hole), false);
                return Ok((page, ListingStep::On(self)));
            }
            OffsetDoubt::Hole(gap) if records == 0 && linked => return Ok((page, self.over(gap))),
            OffsetDoubt::Hole(_) if records == 0 => return Ok((page, self.hole())),
            _ => {}
        }
        self.ledger.note_empty(records == 0 && linked);
        self.ledger.note_page(&page, records);
        self.empty_in_a_row = if records == 0 {
            self.empty_in_a_row + 1
        } else {
            self.ledger.forget_missing();
            0
        };
        if records == 0 && linked && self.empty_in_a_row <= self.ledger.empty_pages_followed() {
            return Ok((page, self.behind(limit, leads_to)));
        }
        let is_first = self.fullest == 0;
        let asked = most
            .filter(|most| *most > 0)
            .unwrap_or(u64::MAX)
            .min(u64::from(limit));
        let full = records >= asked || (!is_first && records >= self.fullest);
        let longest = self.fullest;
        self.fullest = longest.max(records);
        self.offset = end;
        let step = match self.ledger.is_complete(records, full, linked) {
            Some(true) => self.finish(),
            Some(false) if records > 0 => self.onward(),
            Some(false) => self.end(),
            None => {
                let length = if records >= asked || linked {
                    PageLength::Full
                } else if is_first || records >= longest {
                    PageLength::ShorterThanAsked
                } else {
                    PageLength::Short
                };
                self.untold(records, length, limit, listing.confirm_end)
            }
        };
        Ok((page, step))
    }

    /// Next position where there is no total.
    fn untold(
        mut self,
        records: u64,
        length: PageLength,
        limit: u32,
        confirm: bool,
    ) -> ListingStep<Self> {
        let doubt = std::mem::take(&mut self.doubt);
        match (records, confirm) {
            (0, true) => match doubt {
                OffsetDoubt::None => self.behind(limit, None),
                // Nothing is behind it either: a slip at the last full page looks so, too.
                OffsetDoubt::Empty(hole) if hole > 0 && !self.was_missing => {
                    (self.offset, self.doubt) = (hole, OffsetDoubt::Last);
                    ListingStep::On(self)
                }
                _ => self.finish(),
            },
            (0, false) => self.finish(),
            (_, true) => {
                self.doubt = if length == PageLength::Short {
                    OffsetDoubt::Short
                } else {
                    OffsetDoubt::None
                };
                self.onward()
            }
            (_, false) if length == PageLength::Full => self.onward(),
            (_, false) => self.finish(),
        }
    }

    /// Goes on behind a page with records, after a pause where pages bring nothing new.
    fn onward(self) -> ListingStep<Self> {
        match self.ledger.is_stale() {
            true => ListingStep::Back(self),
            false => ListingStep::On(self),
        }
    }

    /// Goes on behind a place without records: where the server says, or a page of its size
    /// further.
    fn behind(mut self, limit: u32, leads_to: Option<u64>) -> ListingStep<Self> {
        if !matches!(self.doubt, OffsetDoubt::Empty(_)) {
            self.doubt = OffsetDoubt::Empty(self.offset);
        }
        let size = if self.fullest > 0 {
            self.fullest.min(u64::from(limit))
        } else {
            u64::from(limit)
        };
        let next = leads_to.filter(|next| *next > self.offset);
        self.offset = next.unwrap_or_else(|| self.offset.saturating_add(size));
        ListingStep::On(self)
    }

    /// Goes on behind a place that was empty twice, since there is more: behind what came from
    /// there.
    fn over(mut self, gap: u64) -> ListingStep<Self> {
        self.gaps = self.gaps.saturating_add(gap);
        self.ledger.came(self.reach.saturating_sub(self.gaps));
        (self.offset, self.doubt) = (self.reach, OffsetDoubt::None);
        ListingStep::On(self)
    }

    /// A place that is empty again, with records behind it.
    fn hole(self) -> ListingStep<Self> {
        let error =
            Error::protocol(format!("nothing is at offset {} of the listing, but records behind it", self.offset))
                .at("came", self.ledger.so_far().to_string())
                .hint("Run `tillhouse sync` again later; if it stays so, ask the provider for what is missing there.");
        self.anew(error)
    }

    /// Handles a missing page: it was asked for twice, unless it stands behind a doubtful place.
    fn missing(
        mut self,
        refusal: &Error,
        limit: u32,
        listing: &ListingOptions,
    ) -> ListingStep<Self> {
        match self.doubt {
            OffsetDoubt::Hole(_) => self.hole(),
            OffsetDoubt::None if self.ledger.may_be_a_hole(listing) && !self.ledger.is_proved() => {
                self.was_missing = true;
                // One page that is shorter than asked for, and 404 behind it, is the whole as a rule.
                if self.fullest >= u64::from(limit) || self.ledger.pages() > 1 {
                    self.ledger.note_missing(refusal);
                }
                self.behind(limit, None)
            }
            OffsetDoubt::Empty(hole)
                if hole > 0 && !self.was_missing && !self.ledger.is_short() =>
            {
                (self.offset, self.doubt) = (hole, OffsetDoubt::Last);
                ListingStep::On(self)
            }
            _ => self.end(),
        }
    }

    /// A sign of the end, judged.
    fn end(self) -> ListingStep<Self> {
        match self.ledger.shortfall() {
            Some(error) => self.anew(error),
            None => self.finish(),
        }
    }

    /// The end, unless records moved.
    fn finish(self) -> ListingStep<Self> {
        self.ledger.ending(Self::of)
    }
}

#[cfg(test)]
#[path = "by_offset_tests.rs"]
mod tests;
