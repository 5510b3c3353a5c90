//! Tally of a listing against the totals of its pages: the judge of every sign of an end, for all
//! forms of paging.
//!
//! Invariant: pure; one tally is one reading of one listing. What is owed is the largest total that a page declared, lowered only by a
//! fall that held when the reader had stepped back for it; and such a fall is believed only where a later reading, from the beginning, declares no more,
//! and brings no fewer records than came before.
//!
//! Rejected: counting different ids. A listing that has one twice would never be whole, and where pages are counted by the server they
//! need not be looked into. What is counted is which records were on an earlier page: of a list without a stable order, where others lack for them.
//!
//! A total that is as large as the first page proves nothing by itself: it may count that page only, on a server that cuts pages below what it is
//! asked for. So where such a page is shorter than asked, one page more is asked for, until a listing of that resource has shown
//! ([`TotalsClaim`]) that its totals count more than a page.

use super::{ListingOptions, ListingStep, records};
use crate::claim::ServerClaim;
use crate::source::{ListingRemark, Page};
use crate::{envelope, envelope_error};
use bytes::Bytes;
use std::cmp::Ordering as Order;
use std::collections::HashSet;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind};

/// Claim that the totals of a resource count its listings: confirmed where a listing was reached
/// by a total that was more than a page's, and none was passed.
pub type TotalsClaim = Arc<ServerClaim>;

/// Repeats that a risen total explains in a reading.
const GRACE: u64 = 16;

/// Steps back that a reading may make, and one more for so many pages of it: a total that falls with every request says nothing.
const STEPS_BACK: u64 = 3;
const PAGES_A_STEP: u64 = 16;

/// Pages in a row that may bring nothing new, where no total rises that explains more of them ([`GRACE`]).
const NOTHING_NEW: u64 = 4;

/// Records on two pages of a listing from which on its order is in doubt. A single one is an id that is listed twice.
const DOUBTFUL: u64 = 2;

/// Empty pages in a row that are believed to lead on where they name a next one.
const EMPTY_IN_A_ROW: u32 = 10;

/// Tally of one reading of a listing: the records that came against those that its pages
/// declared.
#[derive(Debug, Default, Clone)]
pub(super) struct ListingTally {
    totals: TotalsClaim,
    pages: u64,
    new_places: u64,
    came: u64,
    due: Option<u64>,
    last: Option<u64>,
    least: Option<u64>,
    largest: Option<u64>,
    /// The total that fell, while the page to which the reader stepped back is still to come.
    fell_to: Option<u64>,
    /// True if a total that had fallen was high again: it says nothing of records that move.
    wavers: bool,
    rose: bool,
    /// True if some page declared another number than that of its own records.
    counts_more: bool,
    /// True if the first page declared more than it held. Only that shows what totals count: one that is cut at a page's length, or counts a page
    /// only, is as large as the first page, and the empty page behind a short one may say it again.
    exceeds_first: bool,
    /// Order of the records before the current page, against the number due then.
    before: Option<Order>,
    steps_back: u64,
    explained: u64,
    prints: HashSet<u64>,
    /// Pages of one record, up to this one, that were there before.
    repeats_in_a_row: u32,
    /// Records of the pages at new places, as far as they were looked into, where the form of paging keeps none itself.
    known: HashSet<u64>,
    /// Records at new places that were on an earlier page.
    doubled: u64,
    /// Pages in a row, up to this one, that brought nothing new.
    stale: u64,
    /// True if the total was reached with a page that repeats another, which came twice so.
    is_made_up: bool,
    /// True if a page repeated another and the total was reached with it, in this reading or the one before.
    reached_by_repeat: bool,
    stood: bool,
    /// True if there was a reading before this one.
    is_anew: bool,
    /// True if the page at hand declared another total than the one before.
    moved: bool,
    /// The page before, where pages are compared.
    page_before: Option<Bytes>,
    /// True if records arrived in front of the reader: what came twice was pushed back, and what pushed it was not read.
    shifted: bool,
    /// Refusal of a page behind one that was not short, while nothing came from behind it.
    missing: Option<String>,
    /// True if the last page had no records and named a next one.
    is_led_on: bool,
    /// The last page, if it had no records.
    empty_page: Option<Bytes>,
    /// Remarks of the way, to be said at the end.
    noted: Vec<ListingRemark>,
    /// The most records that were there at a time in this reading.
    most: u64,
    /// The largest total of the readings before that did not come to theirs.
    owed: Option<u64>,
    /// The most records that one of them had.
    had: u64,
}

/// Verdict on a page that came before.
#[derive(Debug)]
pub(super) enum RepeatedPage {
    /// Behind the total: the server has no more.
    OfTheEnd,
    /// A slip of the server's, or records that arrive in front: reading anew shows which. Where it stays so, this error.
    Unproved(Error),
}

impl ListingTally {
    /// The tally of a first reading.
    pub(super) fn of(totals: &TotalsClaim) -> Self {
        Self {
            totals: totals.clone(),
            ..Self::default()
        }
    }

    /// The tally of the reading after this one. It has to bring what this one had, where this one did not come to its largest total; and
    /// something, where this one had anything.
    pub(super) fn anew(&self) -> Self {
        let is_open = self.largest.is_some_and(|largest| self.came < largest);
        let (owed, had) = match is_open {
            true => (self.largest, self.most),
            false => (None, self.most.min(1)),
        };
        Self {
            stood: self.reached_by_repeat,
            is_anew: true,
            owed: self.owed.max(owed),
            had: self.had.max(had),
            ..Self::of(&self.totals)
        }
    }

    /// True before the first page.
    pub(super) fn is_new(&self) -> bool {
        self.pages == 0
    }

    /// True if a page came, in this reading or one before.
    pub(super) fn has_begun(&self) -> bool {
        self.is_anew || !self.is_new()
    }

    /// True if nothing at a place may be a slip that no total shows: then it is asked for once more.
    pub(super) fn may_be_a_hole(&self, listing: &ListingOptions) -> bool {
        listing.confirm_end && self.has_begun() && !self.is_short()
    }

    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// Notes that a page is missing behind one that was not short.
    pub(super) fn note_missing(&mut self, refusal: &Error) {
        self.missing = Some(refusal.to_string());
    }

    /// Notes that records came from where a page was missing, or from behind it.
    pub(super) fn forget_missing(&mut self) {
        self.missing = None;
    }

    /// Notes what is to be said at the listing's end, of a listing that is not read anew.
    pub(super) fn note(&mut self, remark: ListingRemark) {
        self.noted.push(remark);
    }

    pub(super) fn take_noted(&mut self) -> Vec<ListingRemark> {
        std::mem::take(&mut self.noted)
    }

    /// The refusal that alone says that the listing is at its end; `None` where something else does.
    pub(super) fn unproved_end(&self) -> Option<&str> {
        self.missing.as_deref().filter(|_| self.due.is_none())
    }

    /// Records that came so far.
    pub(super) fn so_far(&self) -> u64 {
        self.came
    }

    /// True if fewer records came than are due.
    pub(super) fn is_short(&self) -> bool {
        self.due.is_some_and(|due| self.came < due)
    }

    /// An error on the way through a listing, with the figures that stood then.
    pub(super) fn explain(&self, error: Error) -> Error {
        match self.due {
            Some(due) if error.kind() == ErrorKind::Protocol => error
                .at("declared", due.to_string())
                .at("came", self.came.to_string()),
            _ => error,
        }
    }

    /// The largest total declared, lowered by falls that held.
    pub(super) fn declared(&self) -> Option<u64> {
        self.due
    }

    /// Takes the next page of a reading that only goes forward.
    pub(super) fn page(&mut self, records: u64, total: Option<u64>) {
        self.declare(total, records, true);
        // Nobody steps back.
        self.fell_to = None;
        self.came += records;
    }

    /// Notes the records so far, of a page that repeats none.
    pub(super) fn note_most(&mut self) {
        self.most = self.most.max(self.different());
    }

    /// Takes what a page declares: by how many records the reader has to step back, mostly by none. Only places that are new bring
    /// the reader on, and allow it a step back more.
    pub(super) fn declare(&mut self, total: Option<u64>, records: u64, is_new_place: bool) -> u64 {
        self.before = self.due.map(|due| self.came.cmp(&due));
        self.counts_more |= total.is_some_and(|total| total != records);
        self.pages += 1;
        self.exceeds_first |=
            self.pages == 1 && records > 0 && total.is_some_and(|total| total > records);
        self.new_places += u64::from(is_new_place);
        let Some(total) = total else {
            (self.rose, self.moved) = (false, false);
            return 0;
        };
        let before = self.last.replace(total);
        if let Some(fallen) = self.fell_to.take() {
            if total > fallen {
                self.wavers = true;
            } else {
                self.due = Some(fallen);
            }
        }
        self.rose = before.is_some_and(|before| before < total);
        self.moved = before.is_some_and(|before| before != total);
        self.largest = self.largest.max(Some(total));
        let is_new_low = self.least.is_none_or(|least| total < least);
        self.least = if is_new_low { Some(total) } else { self.least };
        // A total that was passed already counts something else than the listing.
        let fall = before
            .filter(|before| total < *before && self.came < *before)
            .map_or(0, |before| before - total);
        if fall > 0
            && is_new_low
            && !self.wavers
            && self.steps_back < STEPS_BACK + self.new_places / PAGES_A_STEP
        {
            self.steps_back += 1;
            self.fell_to = Some(total);
            return fall;
        }
        self.due = self.due.max(Some(total));
        0
    }

    /// Compares a page at a new place with the one before: where the total moved and a record came again, others arrived in front.
    ///
    /// Of a page that came before that one nothing is remembered: what arrives between two pages is rarely more than a page.
    pub(super) fn compare(&mut self, page: &Bytes, records_at: &[&str], id: &str) {
        let before = self.page_before.replace(page.clone());
        let Some(before) = before.filter(|_| self.moved && !self.shifted) else {
            return;
        };
        // A page that cannot be read that far is the decoder's to judge.
        let ids = |page: &Bytes| envelope::identities(page, records_at, id).unwrap_or_default();
        let known: HashSet<u64> = ids(&before).into_iter().collect();
        self.shifts(ids(page).iter().any(|id| known.contains(id)));
    }

    /// Notes whether a page at a new place has a record that came before it.
    pub(super) fn shifts(&mut self, came_before: bool) {
        self.shifted |= self.moved && came_before;
    }

    /// Identities of a page's records, for a form of paging that keeps none itself. A first reading looks at the beginning of a long page, until a
    /// record is there that came before; then, and in a reading that is made since something was in doubt, all of it is looked at.
    pub(super) fn identities(&self, listing: &ListingOptions, page: &Page) -> Vec<u64> {
        listing.records_at.map_or_else(Vec::new, |at| {
            let whole = self.is_anew || self.doubled > 0;
            records::identities(&page.bytes, at, listing.id, whole)
        })
    }

    /// Takes the records of a page at a new place, for a form of paging that keeps none itself; see [`Self::brings`].
    pub(super) fn meets(
        &mut self,
        ids: &[u64],
        what: impl FnOnce() -> String,
    ) -> Option<RepeatedPage> {
        let again = ids.iter().filter(|id| self.known.contains(*id)).count();
        self.known.extend(ids);
        self.brings(ids.len() as u64, again as u64, what)
    }

    /// Notes how many of a page's records, at a new place, were on an earlier page. Too many pages in a row that bring nothing new are an error, of
    /// which `what` names the last, however many more the total promises.
    pub(super) fn brings(
        &mut self,
        records: u64,
        again: u64,
        what: impl FnOnce() -> String,
    ) -> Option<RepeatedPage> {
        self.doubled = self.doubled.saturating_add(again);
        if again < records || records == 0 {
            self.stale = 0;
            return None;
        }
        self.stale += 1;
        let most = if self.rose { GRACE } else { NOTHING_NEW };
        if self.stale <= most {
            return None;
        }
        let error = Error::protocol(format!(
            "{} brings nothing that was not there before, nor did the {} before it",
            what(),
            self.stale - 1
        ))
        .hint(
            "The server seems to ignore which page it is asked for, or its list has no stable order: check the name of that parameter, and ask \
             the provider how its listings are paged.",
        );
        Some(RepeatedPage::Unproved(match self.due {
            Some(due) => error.at("declared", due.to_string()),
            None => error,
        }))
    }

    /// Notes that so many records of a page were on an earlier one, and others were not.
    pub(super) fn note_doubled(&mut self, again: u64) {
        self.doubled = self.doubled.saturating_add(again);
    }

    /// True if pages in a row bring nothing new: the next one is asked for after a pause.
    pub(super) fn is_stale(&self) -> bool {
        self.stale > 1
    }

    /// True if the total is reached only with records that were on an earlier page, or no total tells and several were: others may lack for them.
    fn is_doubled(&self) -> bool {
        let is_doubtful = self.is_made_up || self.doubled >= DOUBTFUL;
        is_doubtful && !self.shifted && self.due.is_none_or(|due| self.different() < due)
    }

    /// Records that came, without those that were on an earlier page.
    fn different(&self) -> u64 {
        self.came.saturating_sub(self.doubled)
    }

    /// Remark on records that came on two pages.
    pub(super) fn said_of_doubles(&self) -> Option<String> {
        if !self.is_doubled() {
            return None;
        }
        let (different, doubled) = (self.different(), self.doubled);
        Some(match self.due {
            Some(due) => format!(
                "though they are {different} different records of {due} declared: {doubled} came on a second page, and others may lack for them. \
                 Ask the provider for an order of the list that is stable, and whether its pages are heeded"
            ),
            None => format!(
                "though {doubled} of them at least came on a second page, and no total is declared: others may lack for them. Ask the provider for an \
                 order of the list that is stable"
            ),
        })
    }

    /// The last step of a reading whose end is believed: it is made anew where records moved, where the total is made up of records that came
    /// on two pages, or where it was reached by a fall alone. `anew` is where the reading after it begins.
    pub(super) fn ending<At>(mut self, anew: impl FnOnce(Self) -> At) -> ListingStep<At> {
        if let Some(error) = self.unconfirmed() {
            return ListingStep::Anew(anew(self.anew()), error);
        }
        let remarks = self.take_remarks();
        // A total that was made up of the same page twice was read anew for that.
        let is_doubtful = self.is_doubled() && self.due.is_some() && !self.is_made_up;
        match self.shifted || is_doubtful {
            true => ListingStep::Shifted {
                arrived: self.shifted,
                first: anew(self.anew()),
                remarks,
            },
            false => ListingStep::End(remarks),
        }
    }

    /// True if records arrived in front of the reader.
    #[cfg(test)]
    fn is_shifted(&self) -> bool {
        self.shifted
    }

    /// Confirms that the total fell: there is nothing behind the reader to step back to.
    pub(super) fn fall_holds(&mut self) {
        if let Some(fallen) = self.fell_to.take() {
            self.due = Some(fallen);
        }
    }

    /// Sets the number of records so far, of a reading that may step back.
    pub(super) fn came(&mut self, records: u64) {
        self.came = records;
        self.note_most();
    }

    /// True if the total is reached and nothing says that there is more: `full` if the page is as
    /// long as pages are, `linked` if it names a next one. `None` where no total tells: there is
    /// none, it was passed, or it may count pages only.
    pub(super) fn is_complete(&self, records: u64, full: bool, linked: bool) -> Option<bool> {
        let due = self.due?;
        match self.came.cmp(&due) {
            Order::Less => Some(false),
            Order::Greater => {
                self.totals.check(false);
                (records > 0).then_some(false)
            }
            Order::Equal if self.is_proved() => Some(!full && !linked),
            Order::Equal if self.came == 0 => Some(!linked),
            Order::Equal => None,
        }
    }

    /// True if more came than any total declared: it counts something else, and tells nothing of the end.
    pub(super) fn is_passed(&self) -> bool {
        self.due.is_some_and(|due| self.came > due)
    }

    /// True if as much came as is due, by a total that counts the listing.
    pub(super) fn is_proved(&self) -> bool {
        let reached = self.due == Some(self.came) && (self.counts_more || self.totals.is_proven());
        if reached && self.exceeds_first {
            self.totals.check(true);
        }
        reached
    }

    /// Most empty pages in a row that are followed where each names a next one: some servers do so
    /// for ever.
    pub(super) fn empty_pages_followed(&self) -> u32 {
        if self.is_proved() { 1 } else { EMPTY_IN_A_ROW }
    }

    /// Notes whether a page without records names a next one.
    pub(super) fn note_empty(&mut self, leads_on: bool) {
        self.is_led_on = leads_on;
    }

    /// Notes a page, for what it may say of more records where it has none.
    pub(super) fn note_page(&mut self, page: &Page, records: u64) {
        self.empty_page = (records == 0).then(|| page.bytes.clone());
    }

    /// Words of the last page's envelope about more records, where no total tells that is read.
    pub(super) fn claim_of_more(&self) -> Option<String> {
        let page = self.empty_page.as_ref().filter(|_| self.due.is_none())?;
        envelope_error::claim_of_more(page, self.came)
    }

    /// True if the server named a next page to the last, and no total says that there is nothing on it.
    pub(super) fn is_led_on(&self) -> bool {
        self.is_led_on && self.due != Some(self.came)
    }

    /// The error of a listing that ended before the total was reached.
    pub(super) fn shortfall(&self) -> Option<Error> {
        let due = self.due.filter(|due| self.came < *due)?;
        Some(self.lacking(format!("declares {due} records")))
    }

    /// The error of a listing that comes to its total only because that fell in this very reading, or that says less than a reading before had; a total
    /// that fell since then has to be declared.
    pub(super) fn unconfirmed(&self) -> Option<Error> {
        let fell = self.largest.filter(|largest| self.came < *largest);
        let is_untold = || self.due.is_none() && self.owed > Some(self.came);
        if fell.is_none() && self.came >= self.had && !is_untold() {
            return None;
        }
        let Some(declared) = self.owed.max(fell) else {
            return Some(self.lacking("gave records before".to_owned()));
        };
        let error = self.lacking(format!("declares {declared} records"));
        Some(match self.had {
            0 => error,
            had => error.at("came in a reading before", had.to_string()),
        })
    }

    /// The error of a listing that lacks records, by what the source `said`.
    fn lacking(&self, said: String) -> Error {
        let error = Error::protocol(format!("the source {said}, but {} came", self.came));
        let later =
            "Run `tillhouse sync` again later; if it stays so, tell the provider both figures";
        match (self.least, self.largest.max(self.owed)) {
            (Some(least), Some(largest)) if least < largest => error
                .at("totals of its pages", format!("{least} to {largest}"))
                .hint(format!(
                    "Its pages disagree, as servers do of which one lags behind. {later}: until they agree, nobody can say that none is lacking."
                )),
            _ => error.hint(format!("{later}.")),
        }
    }

    /// Remark on a total that fell between two readings, and stayed so from the first page to the last.
    pub(super) fn said_of_fall(&self) -> Option<String> {
        let owed = self.owed.filter(|owed| self.came < *owed)?;
        Some(format!(
            "though a reading before declared {owed}: this one, from the beginning, declares no more than came. Records that were deleted \
             meanwhile look so, and so does a server that lags behind"
        ))
    }

    /// Tells a page that came before and was not asked for again; `came` is how many records came with it. `what` says
    /// so in an error.
    pub(super) fn repeats(
        &mut self,
        print: Option<u64>,
        records: u64,
        came: u64,
        what: impl FnOnce() -> String,
    ) -> Option<RepeatedPage> {
        if self.prints.insert(print?) {
            self.repeats_in_a_row = 0;
            return None;
        }
        let proves = self.counts_more || self.totals.is_proven();
        if self.before == Some(Order::Equal) && proves {
            return Some(RepeatedPage::OfTheEnd);
        }
        self.repeats_in_a_row += 1;
        if records == 1 && self.repeats_in_a_row == 1 {
            return None;
        }
        if self.rose && self.explained < GRACE {
            self.explained += 1;
            return None;
        }
        if self.due.is_some_and(|due| came >= due) {
            // A slip may make up the number; the same again is no slip.
            if self.stood {
                self.is_made_up = true;
                self.came = came;
                self.doubled = self.doubled.saturating_add(records);
                return Some(RepeatedPage::OfTheEnd);
            }
            self.reached_by_repeat = true;
        }
        let error = Error::protocol(what()).hint(
            "The server seems to ignore which page it is asked for: check the name of that parameter, and ask the provider how its \
             listings are paged.",
        );
        Some(RepeatedPage::Unproved(match self.due {
            Some(due) => error.at("declared", due.to_string()),
            None => error,
        }))
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
