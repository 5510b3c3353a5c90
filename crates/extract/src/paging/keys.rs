//! Start of the next page, for lists that are paged by their records' ids.
//!
//! Invariant: a list that is left has given every record it has, as far as a server can be known by its answers; where it cannot, the
//! list ends with an error and never quietly.
//!
//! Rejected: an offset, which counts rows, so that a row that vanishes from the part already read pushes another one past the reader.
//! Ids that are texts are paged the same way as numbers: the key is the last id in the server's own order, the server compares it by
//! that same order, and so it does not matter which order that is.
//!
//! The end of a list is an empty page, for a short page may have been cut by a server that allows less than was asked for; and an empty
//! page behind one that was not short (behind none at all, for example) is asked for once more, for a single record, since it may have
//! been a slip. With [`super::ListingOptions::confirm_end`] off, a page that is shorter than asked for ends a list.
//!
//! A server that gives the same records again does not heed what it is asked. Only where its page is longer than asked for, or is a single
//! record that is no list, has it surely given all it has; otherwise that is an error. An id that comes twice, in a page or over two, is no
//! such server: some id of the page is beyond all before it. A list that comes in another order than that of its
//! ids is asked for once more, behind the least of them: all the others have to come.
//!
//! Of texts nobody outside knows the order, and a server that lists by none would lose records without a word: behind the last id of a page in no
//! order are not all the others. So where a page of texts is neither in the order of its bytes nor in that of its letters whatever the case, the list has
//! to show its order once: behind an id in the middle of the page has to come what stands behind it there, and nothing of what stands before it. Where
//! all the others of a short first page come, they are the list. Of a page that is in order by chance nothing can be seen.
//!
//! An id that is no id (blank, null, a fraction, a text among numbers) is nothing to ask behind: the greatest usable id of the page is. Where
//! none of a page behind another is usable, the numbers are over, and whatever follows could only be rejected: the list ends, with a warning.

use crate::envelope;
use std::collections::HashSet;
use std::fmt;
use tillhouse_model::blank::names_nothing;
use tillhouse_model::{Error, ExactDecimal, Result};

/// Id of a record: a whole number, or a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordId {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

impl RecordId {
    /// Reads a JSON value as it is written; `None` where it is neither, or a text that names nothing.
    pub fn read(raw: &[u8]) -> Option<Self> {
        if raw.starts_with(b"\"") {
            let text: String = serde_json::from_slice(raw).ok()?;
            return Some(text)
                .filter(|text| !names_nothing(text))
                .map(Self::Text);
        }
        std::str::from_utf8(raw)
            .ok()
            .and_then(whole)
            .map(Self::Number)
    }
}

/// A whole number, also where it is written `1.0` or `1e2`, as the decoder reads it.
fn whole(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| {
        let number = ExactDecimal::from_json(text)?.trimmed();
        i64::try_from(number.units)
            .ok()
            .filter(|_| number.scale == 0)
    })
}

impl RecordId {
    /// The number after this one; `None` for a text, of which only the server knows what follows it.
    pub(super) fn successor(&self) -> Option<Self> {
        match self {
            Self::Number(number) => number.checked_add(1).map(Self::Number),
            Self::Text(_) => None,
        }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The ids of a page's records, `None` for one without; and whether the page is one record instead of a list of them.
///
/// Errors with [`tillhouse_model::ErrorKind::Protocol`] for anything else, without quoting it.
pub(super) fn keys(page: &[u8]) -> Result<(Vec<Option<RecordId>>, bool)> {
    // A record that is odd in itself (no object, a key twice, no JSON) is the decoder's to reject; here it may have no id.
    let id = |record| envelope::value_at(record, "id");
    if let Some(records) = envelope::list(page) {
        return Ok((
            records
                .into_iter()
                .map(|record| id(record).and_then(RecordId::read))
                .collect(),
            false,
        ));
    }
    match id(page) {
        Some(id) => Ok((vec![RecordId::read(id)], true)),
        None => Err(Error::protocol("the answer is neither a list nor a record")
            .hint("Check connection.base_url and connection.paths: something else may be answering there.")),
    }
}

/// Reader of the lists of one endpoint by id, one after the other.
#[derive(Debug)]
pub(super) struct KeyPager {
    limit: usize,
    /// True if one request more proves an end.
    confirm: bool,
    /// True if a first page that is short and nothing behind it may yet be a slip: lists of
    /// thousands of parents cannot afford that.
    thorough: bool,
    /// True if the endpoint was found to give whole lists, whatever is asked.
    gives_all: bool,
    /// True if the endpoint was found to list texts by an order of its own.
    has_own_order: bool,
    list: KeyedList,
}

/// State of the current list.
#[derive(Debug, Default)]
struct KeyedList {
    last: Option<RecordId>,
    /// True if its ids are numbers, as its first page showed.
    numeric: Option<bool>,
    /// Number of records of the page before, `None` before the first.
    before: Option<usize>,
    /// The longest page so far.
    longest: usize,
    /// True if the page before was shorter than pages are.
    short: bool,
    /// The ids that ended a page, and those of the page before.
    ends: HashSet<RecordId>,
    page: HashSet<RecordId>,
    /// Ids to come behind the least id of a page that was in no order.
    others: Option<HashSet<RecordId>>,
    /// True if an empty page is asked for once more.
    doubted: bool,
    /// True if it was left behind a full page whose records have no ids.
    is_cut_short: bool,
    /// The question by which the list shows its order, while it is asked.
    proof: Option<OrderProof>,
}

/// Question behind an id in the middle of a page of texts, by which a list shows in which order it comes.
#[derive(Debug)]
struct OrderProof {
    /// The page's ids, each once.
    page: Vec<RecordId>,
    /// Place of the id that is asked behind.
    at: usize,
    /// True if the answer tells an order of the server's own from none.
    is_telling: bool,
    /// True if the page may be the whole list.
    may_be_all: bool,
    /// Number of the page's records.
    records: usize,
}

impl OrderProof {
    /// The proof that a page of texts asks for; `None` where it is in an order that many a server has.
    fn of(ids: &[RecordId], records: usize, may_be_all: bool) -> Option<Self> {
        let page = each_once(ids);
        let texts: Vec<String> = page.iter().map(ToString::to_string).collect();
        if texts.iter().map(|text| text.to_lowercase()).is_sorted() {
            return None;
        }
        let fall = texts.windows(2).position(|pair| pair[0] > pair[1])?;
        let (least, _) = texts.iter().enumerate().min_by_key(|(_, text)| *text)?;
        // Behind the least id come all the others if the list has no order, and those behind it on the page if it has one.
        let is_inside = least > 0 && least + 1 < page.len();
        let at = if may_be_all || is_inside { least } else { fall };
        Some(Self {
            page,
            at,
            is_telling: at != least || least > 0,
            may_be_all,
            records,
        })
    }
}

/// Ids without those that came before.
fn each_once(ids: &[RecordId]) -> Vec<RecordId> {
    let mut seen = HashSet::new();
    ids.iter().filter(|id| seen.insert(*id)).cloned().collect()
}

/// Next step after a page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyedNext {
    /// Ask for what is behind [`KeyPager::last`].
    More,
    /// The list is at its end.
    End,
}

impl KeyPager {
    pub(super) fn new(limit: u32, confirm: bool, thorough: bool) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            limit,
            confirm,
            thorough,
            gives_all: false,
            has_own_order: false,
            list: KeyedList::default(),
        }
    }

    /// A pager of another list of the same endpoint, at its beginning.
    pub(super) fn of_another_list(&self) -> Self {
        Self {
            list: KeyedList::default(),
            ..*self
        }
    }

    /// The id behind which the next page begins.
    pub(super) fn last(&self) -> Option<&RecordId> {
        self.list.last.as_ref()
    }

    /// The id behind which a full page had no id to ask behind: what follows it cannot be read.
    pub(super) fn unreachable_behind(&self) -> Option<&RecordId> {
        self.list.last.as_ref().filter(|_| self.list.is_cut_short)
    }

    /// True if only a single record is asked for, to see whether there is one at all.
    pub(super) fn asks_for_one(&self) -> bool {
        self.list.doubted
    }

    /// True if the list has to show its order: the records that are asked for came already, or come again.
    pub(super) fn proves_order(&self) -> bool {
        self.list.proof.is_some()
    }

    /// True if a page of the list came.
    pub(super) fn has_begun(&self) -> bool {
        self.list.before.is_some()
    }

    /// True if nothing that came so far says that the list is at its end: no short page, and no empty one.
    pub(super) fn may_go_on(&self) -> bool {
        !self.list.short && !self.list.doubted && !self.gives_all
    }

    /// Turns to the next list.
    pub(super) fn start_over(&mut self) {
        self.list = KeyedList::default();
    }

    /// Takes a page of the list; `alone` is whether it was a record instead of a list of them.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Protocol`] where the server's answers do not let the list be read to its end.
    pub(super) fn take(&mut self, keys: &[Option<RecordId>], alone: bool) -> Result<KeyedNext> {
        if let Some(proof) = self.list.proof.take() {
            return self.take_proof(&proof, keys, alone);
        }
        let doubted = std::mem::take(&mut self.list.doubted);
        if keys.is_empty() {
            let proved = doubted || self.list.short || self.list.others.is_some() || self.gives_all;
            self.list.before = Some(0);
            self.list.doubted = self.confirm && !proved;
            return Ok(if self.list.doubted {
                KeyedNext::More
            } else {
                KeyedNext::End
            });
        }
        if self.gives_all {
            return self.all_at_once(keys.len(), alone, "what is asked makes no difference");
        }
        // A record without one is odd; it is the decoder's to reject.
        let ids = self.usable(keys);
        if ids.is_empty() {
            // There is nothing to ask behind; a page that is not full has to be believed.
            let full = keys.len() >= self.limit;
            return match &self.list.last {
                None if full => Err(not_paged("the records have no id to page by")),
                Some(_) => {
                    self.list.is_cut_short = full;
                    Ok(KeyedNext::End)
                }
                None => Ok(KeyedNext::End),
            };
        }
        let numbers: Option<Vec<i64>> = ids
            .iter()
            .map(|id| {
                if let RecordId::Number(number) = id {
                    Some(*number)
                } else {
                    None
                }
            })
            .collect();
        if let Some(others) = self.list.others.take() {
            let all = ids.iter().all(|id| others.contains(id))
                && others.iter().all(|id| ids.contains(id));
            return if all {
                Ok(KeyedNext::End)
            } else {
                Err(not_paged(UNSORTED))
            };
        }
        if self.list.last.is_some() && self.stands_still(&ids, numbers.as_deref()) {
            let before = self.list.before.unwrap_or(0);
            return self.all_at_once(before, alone, SAME_AGAIN);
        }
        let (is_numeric, is_first_page) = (numbers.is_some(), self.list.last.is_none());
        if let Some(numbers) = numbers.filter(|numbers| !numbers.is_sorted()) {
            let least = numbers.iter().min().copied().map(RecordId::Number);
            let others: HashSet<RecordId> = ids
                .into_iter()
                .filter(|id| Some(id) != least.as_ref())
                .collect();
            let can_ask_again = self.confirm
                && keys.len() < self.limit
                && self.list.last.is_none()
                && !others.is_empty();
            if !can_ask_again {
                return self.all_at_once(keys.len(), alone, UNSORTED);
            }
            (self.list.last, self.list.others, self.list.before) =
                (least, Some(others), Some(keys.len()));
            return Ok(KeyedNext::More);
        }
        let KeyedList {
            last,
            before,
            longest,
            short,
            ends,
            ..
        } = &mut self.list;
        *last = ids.last().cloned();
        ends.extend(last.clone());
        // A page of one is what is asked for to prove an end.
        if !doubted {
            let is_first = *longest == 0;
            *short = if is_first {
                keys.len() < self.limit && !self.thorough
            } else {
                keys.len() < *longest
            };
            *longest = keys.len().max(*longest);
        }
        *before = Some(keys.len());
        if !self.confirm && keys.len() < self.limit {
            return Ok(KeyedNext::End);
        }
        if !is_numeric && !self.has_own_order {
            let may_be_all = is_first_page && keys.len() < self.limit;
            self.list.proof = OrderProof::of(&ids, keys.len(), may_be_all);
        }
        if let Some(proof) = &self.list.proof {
            self.list.last = proof.page.get(proof.at).cloned();
        }
        self.list.page = ids.into_iter().collect();
        Ok(KeyedNext::More)
    }

    /// Takes the answer to the question by which the list shows its order, and goes on behind the page that was in doubt.
    fn take_proof(
        &mut self,
        proof: &OrderProof,
        keys: &[Option<RecordId>],
        alone: bool,
    ) -> Result<KeyedNext> {
        let ids = each_once(&self.usable(keys));
        let came: HashSet<&RecordId> = ids.iter().collect();
        let (before, rest) = proof.page.split_at(proof.at);
        let Some((asked, behind)) = rest.split_first() else {
            return Err(not_paged(UNSORTED));
        };
        if came.contains(asked) {
            return self.all_at_once(proof.records, alone, SAME_AGAIN);
        }
        let mut others = before.iter().chain(behind);
        if proof.may_be_all
            && came.len() + 1 == proof.page.len()
            && others.all(|id| came.contains(id))
        {
            return Ok(KeyedNext::End);
        }
        if !ids.starts_with(behind) || before.iter().any(|id| came.contains(id)) {
            return Err(not_paged(UNSORTED));
        }
        self.has_own_order |= proof.is_telling;
        self.list.last = proof.page.last().cloned();
        Ok(KeyedNext::More)
    }

    /// The ids that can be asked behind: of a list of numbers its numbers, also where they are written as texts.
    fn usable(&mut self, keys: &[Option<RecordId>]) -> Vec<RecordId> {
        let is_number = |key: &RecordId| matches!(key, RecordId::Number(_));
        let any = keys.iter().flatten().next().is_some();
        if self.list.numeric.is_none() && any {
            self.list.numeric = Some(keys.iter().flatten().any(is_number));
        }
        let number = |key: &RecordId| match key {
            RecordId::Number(number) => Some(*number),
            RecordId::Text(text) => whole(text.trim()),
        };
        match self.list.numeric {
            Some(true) => keys
                .iter()
                .flatten()
                .filter_map(number)
                .map(RecordId::Number)
                .collect(),
            _ => keys.iter().flatten().cloned().collect(),
        }
    }

    /// True if a page does not lead on from those before.
    fn stands_still(&self, ids: &[RecordId], numbers: Option<&[i64]>) -> bool {
        if let (Some(RecordId::Number(last)), Some(numbers)) = (&self.list.last, numbers) {
            return numbers.iter().all(|number| number <= last);
        }
        ids.last()
            .is_none_or(|id| self.list.page.contains(id) || self.list.ends.contains(id))
    }

    /// The endpoint does not page: a page of so many records is the whole list where it was surely not cut.
    fn all_at_once(&mut self, records: usize, alone: bool, why: &str) -> Result<KeyedNext> {
        let whole = records > self.limit || alone || (!self.confirm && records < self.limit);
        if !whole {
            return Err(not_paged(why));
        }
        self.gives_all = true;
        Ok(KeyedNext::End)
    }
}

const SAME_AGAIN: &str = "the records behind an id are asked for, and the same come again";
const UNSORTED: &str = "the records do not come in the order of their ids";

fn not_paged(why: &str) -> Error {
    Error::protocol(format!("the list cannot be paged: {why}")).hint(
        "If the provider gives this list whole, whatever is asked, set sync.confirm_end to false, or sync.page_size to another number.",
    )
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
