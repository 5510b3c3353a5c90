//! Page in the middle of a listing that has fewer records than others, twice, and is asked for in smaller pages, which have other borders.
//!
//! Invariant: what the smaller pages have more is taken for what the page lacked only if they have all of its own records too, each of them within
//! the size that it was asked for. A server that does not heed the size, or that counts pages in another one, gives records of other places.

use super::by_page::PagePosition;
use crate::source::ListingRemark;
use std::collections::{HashSet, VecDeque};

/// The rule of the remark about a page in the middle of a listing that has fewer records than others.
const SHORT_PAGE: &str = "short_page";

/// A short page, and what the smaller pages in its place have shown so far.
#[derive(Debug)]
pub(super) struct RecutPage {
    index: u64,
    /// Number of its records, and of those that a whole page has.
    records: u64,
    span: u64,
    /// Its own records that no smaller page has had.
    missed: HashSet<u64>,
    /// Records that the smaller pages had and no page before.
    found: HashSet<u64>,
    /// The smaller pages still to come, and their size.
    places: VecDeque<u64>,
    size: u32,
    /// True if the server gave more than it was asked for.
    is_ignored: bool,
    /// Position behind it, where the listing goes on.
    resume: u64,
}

impl RecutPage {
    /// A page with these records where others have `span`; `before` is the number of pages, of any size, that are before the first records.
    pub(super) fn new(index: u64, ids: &[u64], span: u64, before: u64, resume: u64) -> Self {
        let size = span.div_ceil(2).max(1);
        let first = index.saturating_sub(before).saturating_mul(span);
        let last = first.saturating_add(span).saturating_sub(1);
        Self {
            index,
            records: ids.len() as u64,
            span,
            missed: ids.iter().copied().collect(),
            found: HashSet::new(),
            places: (first / size..=last / size)
                .map(|place| place.saturating_add(before))
                .collect(),
            size: u32::try_from(size).unwrap_or(u32::MAX),
            is_ignored: false,
            resume,
        }
    }

    pub(super) fn index(&self) -> u64 {
        self.index
    }

    pub(super) fn resume(&self) -> u64 {
        self.resume
    }

    /// Position of the next smaller page; none behind the last, or where the server does not heed the size.
    pub(super) fn next_place(&mut self) -> Option<PagePosition> {
        let index = self.places.pop_front().filter(|_| !self.is_ignored)?;
        Some(PagePosition {
            index,
            size: Some(self.size),
            link: None,
        })
    }

    /// Takes a smaller page, given the records of the listing that were seen before.
    pub(super) fn take(&mut self, ids: &[u64], seen: &HashSet<u64>) {
        self.is_ignored |= ids.len() as u64 > u64::from(self.size);
        for id in ids {
            self.missed.remove(id);
        }
        self.found
            .extend(ids.iter().filter(|id| !seen.contains(id)));
    }

    /// Records that the page lacked, where that is what the smaller pages show; else none.
    pub(super) fn lacked(&self) -> Option<&HashSet<u64>> {
        let is_shown = !self.is_ignored && self.missed.is_empty() && !self.found.is_empty();
        is_shown.then_some(&self.found)
    }

    /// Remark on what may be lacking all the same; `None` where the page is as long as others now.
    pub(super) fn remark(&self) -> Option<ListingRemark> {
        let Self {
            index,
            records,
            span,
            ..
        } = self;
        let found = self.lacked().map_or(0, HashSet::len) as u64;
        if found > 0 {
            tracing::warn!(
                page = index,
                records,
                found,
                "a page in the middle of a listing lacked records, which came when it was asked for in smaller pages"
            );
        }
        if found > 0 && records.saturating_add(found) >= *span {
            return None;
        }
        tracing::warn!(
            page = index,
            records,
            found,
            others = span,
            "a page in the middle of a listing has fewer records than others, twice: if the provider does not leave any out on \
             purpose, ask for what is missing there"
        );
        let had = match found {
            0 => String::new(),
            found => format!(" ({found} more came in smaller pages)"),
        };
        Some(ListingRemark {
            rule: SHORT_PAGE,
            words: format!(
                "page {index}, in the middle of the listing, has {records} records twice where others have {span}{had}, and others of its size \
                 may lack some too: if the provider leaves none out on purpose, ask for what is missing there"
            ),
        })
    }
}

/// Remark on a short page that is not asked for once more, since requests for that are not wanted.
pub(super) fn passed_over(index: u64, records: u64, span: u64) -> ListingRemark {
    tracing::warn!(
        page = index,
        records,
        others = span,
        "a page in the middle of a listing has fewer records than others, and is not asked for once more"
    );
    ListingRemark {
        rule: SHORT_PAGE,
        words: format!(
            "page {index}, in the middle of the listing, has {records} records where others have {span}, and others of its size may lack some \
             too: with `sync.confirm_end: true` it is asked for once more"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remarks on page 2, which has the records 8 and 11 where others have 4, after these smaller pages: the records that it lacked, the remark.
    fn said(pages: &[&[u64]]) -> (Vec<u64>, Option<String>) {
        let seen: HashSet<u64> = (0..9).chain(11..16).collect();
        let mut recut = RecutPage::new(2, &[8, 11], 4, 0, 4);
        let mut pages = pages.iter();
        let mut places = Vec::new();
        while let Some(place) = recut.next_place() {
            assert_eq!(place.size, Some(2));
            places.push(place.index);
            recut.take(pages.next().unwrap(), &seen);
        }
        assert!(places == [4, 5] || places == [4], "{places:?}");
        let mut lacked: Vec<u64> = recut.lacked().into_iter().flatten().copied().collect();
        lacked.sort_unstable();
        (lacked, recut.remark().map(|remark| remark.words))
    }

    #[test]
    fn smaller_pages_prove_something_only_with_the_records_of_the_page() {
        assert_eq!(said(&[&[8, 9], &[10, 11]]), (vec![9, 10], None));
        let (lacked, remark) = said(&[&[8], &[10, 11]]);
        assert_eq!(lacked, [10], "it lacks one still");
        let remark = remark.unwrap();
        assert!(
            remark
                .contains("has 2 records twice where others have 4 (1 more came in smaller pages)"),
            "{remark}"
        );
        for pages in [
            // None more; of another place; a page refused; more than asked for.
            &[&[8][..], &[11]][..],
            &[&[24, 25], &[26]],
            &[&[8, 9], &[]],
            &[&[8, 9, 10, 11]],
        ] {
            let (lacked, remark) = said(pages);
            assert_eq!(lacked, [0; 0], "{pages:?}");
            let remark = remark.unwrap();
            assert!(remark.contains("where others have 4, and"), "{remark}");
        }
    }

    #[test]
    fn smaller_pages_cover_the_page_wherever_pages_are_counted_from() {
        let places = |index, span, before| {
            let mut recut = RecutPage::new(index, &[], span, before, 9);
            std::iter::from_fn(|| recut.next_place().map(|place| place.index)).collect::<Vec<_>>()
        };
        assert_eq!(places(0, 4, 0), [0, 1]);
        assert_eq!(places(1, 4, 1), [1, 2]);
        assert_eq!(places(1, 5, 0), [1, 2, 3]);
        assert_eq!(places(3, 1, 0), [3]);
    }
}
