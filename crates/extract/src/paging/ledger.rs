//! What came of a listing against what its pages declare: the judge of every sign of an end, for all forms of paging.
//!
//! Invariant: pure; one ledger is one reading of one listing. What is owed is the largest total that a page declared, lowered only by a
//! fall that held when the reader had stepped back for it.
//!
//! Rejected: counting different ids. A listing that has one twice would never be whole, and where pages are counted by the server they
//! need not be looked into.

use std::collections::HashSet;
use tillhouse_model::{Error, Result};

/// Steps back, and repeats that a risen total explains, which a reading may have beside one for each of its pages.
const GRACE: u64 = 16;

/// One reading of a listing.
#[derive(Debug, Default, Clone)]
pub(super) struct Ledger {
    pages: u64,
    new_places: u64,
    came: u64,
    due: Option<u64>,
    last: Option<u64>,
    least: Option<u64>,
    largest: Option<u64>,
    /// The total that fell, while the page to which the reader stepped back is still to come.
    fell_to: Option<u64>,
    /// Whether a total that had fallen was high again: it says nothing of records that move.
    wavers: bool,
    rose: bool,
    reached_before: bool,
    steps_back: u64,
    explained: u64,
    prints: HashSet<u64>,
    /// Pages of one record, up to this one, that were there before.
    repeats_in_a_row: u32,
}

/// A page that was there before.
#[derive(Debug)]
pub(super) enum Repeat {
    /// Behind the total: the server has no more.
    OfTheEnd,
    /// No total tells: records that arrive in front may have pushed it there.
    Unproved(Error),
}

impl Ledger {
    /// Whether no page came yet.
    pub(super) fn is_new(&self) -> bool {
        self.pages == 0
    }

    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// The largest total declared, lowered by falls that held.
    pub(super) fn declared(&self) -> Option<u64> {
        self.due
    }

    /// Takes the next page of a reading that only goes forward.
    pub(super) fn page(&mut self, records: u64, total: Option<u64>) {
        self.declare(total, true);
        // Nobody steps back.
        self.fell_to = None;
        self.came += records;
    }

    /// Takes what a page declares: by how many records the reader has to step back, mostly by none. Only places that are new bring
    /// the reader on, and allow it a step back more.
    pub(super) fn declare(&mut self, total: Option<u64>, is_new_place: bool) -> u64 {
        self.reached_before = self.due.is_some_and(|due| self.came >= due);
        self.pages += 1;
        self.new_places += u64::from(is_new_place);
        let Some(total) = total else {
            self.rose = false;
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
        self.largest = self.largest.max(Some(total));
        let is_new_low = self.least.is_none_or(|least| total < least);
        self.least = if is_new_low { Some(total) } else { self.least };
        // A total that was passed already counts something else than the listing.
        let fall = before.filter(|before| total < *before && self.came < *before).map_or(0, |before| before - total);
        if fall > 0 && is_new_low && !self.wavers && self.steps_back < GRACE + self.new_places {
            self.steps_back += 1;
            self.fell_to = Some(total);
            return fall;
        }
        self.due = self.due.max(Some(total));
        0
    }

    /// There is nothing behind the reader to step back to: the fall holds.
    pub(super) fn fall_holds(&mut self) {
        if let Some(fallen) = self.fell_to.take() {
            self.due = Some(fallen);
        }
    }

    /// So many records came so far, of a reading that may step back.
    pub(super) fn came(&mut self, records: u64) {
        self.came = records;
    }

    /// Whether the total is reached and nothing says that there is more: `full` is whether the page is as long as pages are, `linked`
    /// whether it names a next one. `None` where there is no total.
    pub(super) fn is_complete(&self, full: bool, linked: bool) -> Option<bool> {
        self.due.map(|due| self.came == due && !full && !linked)
    }

    /// The error of a listing that ended before the total was reached.
    pub(super) fn shortfall(&self) -> Option<Error> {
        let due = self.due.filter(|due| self.came < *due)?;
        let error = Error::protocol(format!("the source declares {due} records, but {} came", self.came));
        let error = match (self.least, self.largest) {
            (Some(least), Some(largest)) if least < largest => {
                error.at("totals of its pages", format!("{least} to {largest}"))
            }
            _ => error,
        };
        Some(error.hint("Run `tillhouse sync` again later; if it stays so, tell the provider both figures."))
    }

    /// Whether a page that the reader did not ask for again is one that came before. `what` says so in an error.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Protocol`] where a total proves that others are missing.
    pub(super) fn repeats(
        &mut self,
        print: Option<u64>,
        records: u64,
        what: impl FnOnce() -> String,
    ) -> Result<Option<Repeat>> {
        let Some(print) = print else { return Ok(None) };
        if self.prints.insert(print) {
            self.repeats_in_a_row = 0;
            return Ok(None);
        }
        if self.reached_before {
            return Ok(Some(Repeat::OfTheEnd));
        }
        self.repeats_in_a_row += 1;
        if records == 1 && self.repeats_in_a_row == 1 {
            return Ok(None);
        }
        if self.rose && self.explained < GRACE {
            self.explained += 1;
            return Ok(None);
        }
        let error = Error::protocol(what()).hint(
            "The server seems to ignore which page it is asked for: check the name of that parameter, and ask the provider how its \
             listings are paged.",
        );
        match self.due {
            Some(due) => Err(error.at("declared", due.to_string())),
            None => Ok(Some(Repeat::Unproved(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(pages: &[(u64, u64)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (records, total) in pages {
            ledger.page(*records, Some(*total));
        }
        ledger
    }

    #[test]
    fn the_largest_total_is_owed() {
        for (pages, owed) in [
            (&[(2, 5), (2, 5), (1, 5)][..], None),
            (&[(2, 5), (2, 5)][..], Some((5, 4))),
            (&[(2, 4), (2, 5), (0, 4)][..], Some((5, 4))),
            (&[(2, 2), (2, 2), (1, 1)][..], None),
            (&[(2, 6), (2, 4), (2, 2)][..], None),
            (&[(0, 0)][..], None),
            (&[(0, u64::MAX)][..], Some((u64::MAX, 0))),
        ] {
            let error = ledger(pages).shortfall();
            let wanted =
                owed.map(|(declared, came)| format!("the source declares {declared} records, but {came} came"));
            assert_eq!(error.as_ref().map(|e| e.message().to_owned()), wanted, "{pages:?}");
        }
        let wavering = ledger(&[(2, 6), (2, 4)]).shortfall().unwrap().to_string();
        assert!(wavering.contains("declares 6 records, but 4 came") && wavering.contains("4 to 6"), "{wavering}");
    }

    #[test]
    fn a_reached_total_is_believed_unless_something_says_that_there_is_more() {
        assert_eq!(ledger(&[(2, 5), (2, 5), (1, 5)]).is_complete(false, false), Some(true));
        assert_eq!(ledger(&[(2, 4), (2, 4)]).is_complete(true, false), Some(false), "the page was full");
        assert_eq!(ledger(&[(2, 3), (1, 3)]).is_complete(false, true), Some(false), "a link is given");
        assert_eq!(ledger(&[(2, 2), (1, 2)]).is_complete(false, false), Some(false), "more came than declared");
        assert_eq!(Ledger::default().is_complete(false, false), None);
    }

    #[test]
    fn a_fall_is_stepped_back_for_once_a_low_and_holds_only_where_it_stays() {
        let mut falls = Ledger::default();
        assert_eq!(falls.declare(Some(10), true), 0);
        falls.came(3);
        assert_eq!(falls.declare(Some(8), true), 2);
        falls.came(4);
        assert_eq!(falls.declare(Some(8), true), 0);
        assert_eq!(falls.declared(), Some(8), "it held");

        let mut wavers = Ledger::default();
        for (total, back) in [(6, 0), (4, 2), (6, 0), (4, 0), (2, 0), (0, 0)] {
            assert_eq!(wavers.declare(Some(total), true), back, "{total}");
            wavers.came(2);
        }
        assert_eq!(wavers.declared(), Some(6));

        let mut passed = Ledger::default();
        passed.page(100, Some(100));
        passed.page(100, Some(100));
        assert_eq!(passed.declare(Some(40), true), 0, "a total that was passed says nothing");

        let mut endless = Ledger::default();
        let steps = (0..1_000_u64).filter(|n| endless.declare(Some(1_000_000 - n), n % 10 == 0) > 0).count();
        assert!((100..=120).contains(&steps), "one a new page, and a few: {steps}");
    }

    #[test]
    fn a_page_that_was_there_before_is_known_again() {
        let seen = |ledger: &mut Ledger, print: u64, records: u64, total: Option<u64>| {
            ledger.page(records, total);
            ledger.repeats(Some(print), records, || "a page repeats".into())
        };
        let mut untold = Ledger::default();
        assert!(seen(&mut untold, 1, 2, None).unwrap().is_none());
        assert!(matches!(seen(&mut untold, 1, 2, None), Ok(Some(Repeat::Unproved(_)))));

        let mut told = Ledger::default();
        assert!(seen(&mut told, 1, 2, Some(1_000_000_000)).unwrap().is_none());
        let error = seen(&mut told, 1, 2, Some(1_000_000_000)).unwrap_err().to_string();
        assert!(error.contains("a page repeats") && error.contains("1000000000"), "{error}");

        let mut reached = Ledger::default();
        assert!(seen(&mut reached, 1, 2, Some(2)).unwrap().is_none());
        assert!(matches!(seen(&mut reached, 1, 2, Some(2)), Ok(Some(Repeat::OfTheEnd))));

        let mut rose = Ledger::default();
        assert!(seen(&mut rose, 1, 2, Some(5)).unwrap().is_none());
        assert!(seen(&mut rose, 1, 2, Some(7)).unwrap().is_none(), "arrivals in front");
        assert!(seen(&mut rose, 1, 2, Some(7)).is_err());

        let mut single = Ledger::default();
        for print in [1, 2, 2, 3, 3] {
            assert!(seen(&mut single, print, 1, Some(9)).unwrap().is_none(), "an id twice");
        }
        assert!(seen(&mut single, 3, 1, Some(9)).is_err(), "twice in a row");
    }
}
