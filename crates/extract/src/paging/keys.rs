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
//! An id that is no id (blank, null, a fraction, a text among numbers) is nothing to ask behind: the greatest usable id of the page is. Where
//! none of a page behind another is usable, the numbers are over, and whatever follows could only be rejected: the list ends, with a warning.

use crate::envelope;
use std::collections::HashSet;
use std::fmt;
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
    /// Reads a JSON value as it is written; `None` where it is neither, or a blank text.
    pub fn read(raw: &[u8]) -> Option<Self> {
        if raw.starts_with(b"\"") {
            let text: String = serde_json::from_slice(raw).ok()?;
            return Some(text)
                .filter(|text| !text.trim().is_empty())
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
            return self.all_at_once(
                before,
                alone,
                "the records behind an id are asked for, and the same come again",
            );
        }
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
            page,
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
        *page = ids.into_iter().collect();
        let believed = !self.confirm && keys.len() < self.limit;
        Ok(if believed {
            KeyedNext::End
        } else {
            KeyedNext::More
        })
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

const UNSORTED: &str = "the records do not come in the order of their ids";

fn not_paged(why: &str) -> Error {
    Error::protocol(format!("the list cannot be paged: {why}")).hint(
        "If the provider gives this list whole, whatever is asked, set sync.confirm_end to false, or sync.page_size to another number.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Behaviour of a test server on `where[id][>]`, `sort` and `limit`.
    #[derive(Clone, Copy)]
    struct KeyedServer {
        keys: bool,
        limit: bool,
        cap: usize,
        /// The request that is answered with nothing.
        slips: Option<usize>,
    }

    const GOOD: KeyedServer = KeyedServer {
        keys: true,
        limit: true,
        cap: usize::MAX,
        slips: None,
    };

    fn page(ids: &[String]) -> String {
        format!(
            "[{}]",
            ids.iter()
                .map(|id| format!(r#"{{"id":{id}}}"#))
                .collect::<Vec<_>>()
                .join(",")
        )
    }

    /// Reads a list from a server of that manner; the ids that came, and how many requests it took.
    fn read(
        pager: &mut KeyPager,
        all: &[String],
        manner: KeyedServer,
    ) -> Result<(Vec<String>, usize)> {
        pager.start_over();
        let (mut seen, mut requests) = (Vec::new(), 0);
        loop {
            requests += 1;
            assert!(requests < 1_000, "endless");
            let last = pager.last().map(|id| match id {
                RecordId::Number(number) => number.to_string(),
                RecordId::Text(text) => format!("{text:?}"),
            });
            let from = match last.filter(|_| manner.keys) {
                Some(last) => all.iter().position(|id| *id == last).unwrap() + 1,
                None => 0,
            };
            let asked = if pager.asks_for_one() { 1 } else { pager.limit };
            let most = if manner.limit { asked } else { usize::MAX };
            let some: Vec<String> = all[from..]
                .iter()
                .take(most.min(manner.cap))
                .cloned()
                .collect();
            let some = if manner.slips == Some(requests) {
                Vec::new()
            } else {
                some
            };
            let text = page(&some);
            let (keys, alone) = keys(text.as_bytes()).unwrap();
            seen.extend(some);
            if pager.take(&keys, alone)? == KeyedNext::End {
                return Ok((seen, requests));
            }
        }
    }

    fn numbers(count: usize) -> Vec<String> {
        (1..=count).map(|n| (n * 3).to_string()).collect()
    }

    /// In an order that is the server's own.
    fn texts(count: usize) -> Vec<String> {
        (0..count)
            .map(|n| format!("\"v{}-{n}\"", (n * 7919) % 1000))
            .collect()
    }

    #[test]
    fn every_record_comes_once_whatever_the_server_cuts() {
        for make in [numbers, texts] {
            for count in [0, 1, 9, 10, 11, 30, 31] {
                for cap in [1, 3, 10, usize::MAX] {
                    for thorough in [true, false] {
                        let all = make(count);
                        let mut pager = KeyPager::new(10, true, thorough);
                        let (seen, _) =
                            read(&mut pager, &all, KeyedServer { cap, ..GOOD }).unwrap();
                        assert_eq!(seen, all, "{count} records, cut to {cap}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_empty_page_ends_a_list_where_the_one_before_was_short_or_it_comes_twice() {
        let requests = |confirm, thorough, counts: &[usize]| {
            let mut pager = KeyPager::new(10, confirm, thorough);
            counts
                .iter()
                .map(|count| read(&mut pager, &numbers(*count), GOOD).unwrap().1)
                .collect::<Vec<_>>()
        };
        assert_eq!(requests(true, true, &[25, 20, 3, 0]), [4, 4, 3, 2]);
        assert_eq!(requests(true, false, &[25, 20, 3, 0]), [4, 4, 2, 2]);
        assert_eq!(requests(false, true, &[25, 20, 3, 0]), [3, 3, 1, 1]);
    }

    #[test]
    fn an_empty_page_in_the_middle_is_found_out() {
        for (cap, slips) in [
            (usize::MAX, 1),
            (usize::MAX, 2),
            (usize::MAX, 3),
            (5, 2),
            (5, 3),
        ] {
            let all = numbers(25);
            let mut pager = KeyPager::new(10, true, true);
            let (seen, _) = read(
                &mut pager,
                &all,
                KeyedServer {
                    cap,
                    slips: Some(slips),
                    ..GOOD
                },
            )
            .unwrap();
            assert_eq!(seen, all, "{cap} {slips}");
        }
    }

    #[test]
    fn a_server_that_gives_all_at_once_is_believed_where_it_cannot_have_cut() {
        let deaf = KeyedServer {
            keys: false,
            limit: false,
            ..GOOD
        };
        for make in [numbers, texts] {
            for (manner, count) in [
                (deaf, 25),
                (
                    KeyedServer {
                        limit: false,
                        ..GOOD
                    },
                    25,
                ),
            ] {
                let (seen, _) =
                    read(&mut KeyPager::new(10, true, true), &make(count), manner).unwrap();
                let distinct: HashSet<&String> = seen.iter().collect();
                assert_eq!(distinct.len(), count);
            }
            for (manner, count) in [
                (deaf, 4),
                (deaf, 10),
                (
                    KeyedServer {
                        keys: false,
                        ..GOOD
                    },
                    4,
                ),
            ] {
                let error =
                    read(&mut KeyPager::new(10, true, true), &make(count), manner).unwrap_err();
                assert!(error.message().contains("the same come again"), "{error}");
                assert!(error.hint_text().unwrap().contains("confirm_end"));
            }
            let (seen, requests) =
                read(&mut KeyPager::new(10, false, true), &make(4), deaf).unwrap();
            assert_eq!((seen.len(), requests), (4, 1), "somebody said so");
        }
        // Once known, it is not asked twice again.
        let mut pager = KeyPager::new(10, true, false);
        assert_eq!(read(&mut pager, &numbers(14), deaf).unwrap().1, 2);
        assert_eq!(read(&mut pager, &numbers(17), deaf).unwrap().1, 1);
        assert_eq!(read(&mut pager, &numbers(0), deaf).unwrap().1, 1);
        assert!(
            read(&mut pager, &numbers(10), deaf).is_err(),
            "it may have been cut"
        );
    }

    #[test]
    fn a_list_in_no_order_has_to_come_again_without_its_least_id() {
        let of = |ids: &[i64]| {
            ids.iter()
                .map(|id| Some(RecordId::Number(*id)))
                .collect::<Vec<_>>()
        };
        let take = |second: &[i64]| {
            let mut pager = KeyPager::new(10, true, true);
            assert_eq!(pager.take(&of(&[5, 3, 9]), false).unwrap(), KeyedNext::More);
            assert_eq!(pager.last(), Some(&RecordId::Number(3)));
            pager.take(&of(second), false)
        };
        assert_eq!(take(&[9, 5]).unwrap(), KeyedNext::End);
        for second in [&[9, 5, 3][..], &[12, 9, 5], &[9]] {
            assert!(
                take(second)
                    .unwrap_err()
                    .message()
                    .contains("the order of their ids"),
                "{second:?}"
            );
        }
        let mut all = numbers(10);
        all.reverse();
        assert!(
            read(&mut KeyPager::new(10, true, true), &all, GOOD).is_err(),
            "full"
        );
        assert_eq!(
            read(
                &mut KeyPager::new(9, true, true),
                &all,
                KeyedServer {
                    limit: false,
                    ..GOOD
                }
            )
            .unwrap()
            .0
            .len(),
            10
        );
        let text = r#"[{"day":1},{"day":2}]"#;
        let (without, _) = keys(text.as_bytes()).unwrap();
        assert!(
            KeyPager::new(2, true, true)
                .take(&without, false)
                .unwrap_err()
                .message()
                .contains("no id")
        );
        assert_eq!(
            KeyPager::new(3, true, true).take(&without, false).unwrap(),
            KeyedNext::End
        );
    }

    #[test]
    fn an_id_that_is_none_is_nothing_to_ask_behind() {
        let take = |pager: &mut KeyPager, page: &str| {
            let (keys, alone) = keys(page.as_bytes()).unwrap();
            pager
                .take(&keys, alone)
                .map(|next| (next, pager.last().map(ToString::to_string)))
        };
        let more = |last: &str| (KeyedNext::More, Some(last.to_owned()));
        for odd in [
            r#""""#,
            r#"" ""#,
            r#""abc""#,
            "null",
            "1.5",
            "true",
            "{}",
            r#""\ud83d""#,
        ] {
            for page in [
                format!(r#"[{{"id":1}},{{"id":2}},{{"id":{odd}}}]"#),
                format!(r#"[{{"id":{odd}}},{{"id":1}},{{"id":2}}]"#),
                format!(r#"[{{"id":1}},{{"id":{odd}}},{{"id":"2"}}]"#),
            ] {
                let mut pager = KeyPager::new(3, true, true);
                assert_eq!(take(&mut pager, &page).unwrap(), more("2"), "{page}");
                let rest = format!(r#"[{{"id":3}},{{"id":{odd}}}]"#);
                assert_eq!(take(&mut pager, &rest).unwrap(), more("3"), "{page}");
                let odds = format!(r#"[{{"id":{odd}}},{{"id":{odd}}},{{"id":{odd}}}]"#);
                assert_eq!(
                    take(&mut pager, &odds).unwrap().0,
                    KeyedNext::End,
                    "behind the numbers are only such"
                );
                assert!(
                    odd == r#""abc""# || take(&mut KeyPager::new(3, true, true), &odds).is_err(),
                    "{odd}"
                );
            }
        }
        // Of texts a blank one.
        let mut pager = KeyPager::new(3, true, true);
        assert_eq!(
            take(&mut pager, r#"[{"id":"b"},{"id":"a"},{"id":" "}]"#).unwrap(),
            more("a")
        );
    }

    #[test]
    fn an_id_twice_leads_on() {
        let read = |pages: &[&[i64]]| {
            let mut pager = KeyPager::new(10, true, true);
            let mut steps = Vec::new();
            for page in pages {
                let keys: Vec<_> = page.iter().map(|id| Some(RecordId::Number(*id))).collect();
                steps.push(
                    pager
                        .take(&keys, false)
                        .map(|next| (next, pager.last().map(ToString::to_string))),
                );
            }
            steps.pop().unwrap()
        };
        let more = |last: &str| (KeyedNext::More, Some(last.to_owned()));
        assert_eq!(read(&[&[1, 2, 2]]).unwrap(), more("2"));
        assert_eq!(read(&[&[1, 1, 1]]).unwrap(), more("1"));
        assert_eq!(
            read(&[&[1, 2], &[2, 3]]).unwrap(),
            more("3"),
            "what is asked behind comes too"
        );
        assert_eq!(read(&[&[1, 2], &[1, 2, 3]]).unwrap(), more("3"));
        assert!(
            read(&[&[1, 2], &[2, 2]])
                .unwrap_err()
                .message()
                .contains("the same come again")
        );
        assert!(read(&[&[1, 2], &[1, 2]]).is_err());
        let texts = |page: &[&str]| {
            page.iter()
                .map(|id| Some(RecordId::Text((*id).to_owned())))
                .collect::<Vec<_>>()
        };
        let mut pager = KeyPager::new(10, true, true);
        assert_eq!(
            pager.take(&texts(&["a", "b", "b"]), false).unwrap(),
            KeyedNext::More
        );
        assert_eq!(
            pager.take(&texts(&["b", "c"]), false).unwrap(),
            KeyedNext::More
        );
        assert!(pager.take(&texts(&["c", "b"]), false).is_err());
    }

    #[test]
    fn one_record_is_a_list_of_one() {
        assert_eq!(
            keys(br#"{"id":7,"price":"1.50"}"#).unwrap(),
            (vec![Some(RecordId::Number(7))], true)
        );
        let (of_list, alone) =
            keys(br#"[{"id":"a"},null,{"id":1.5},{"id":2,"price":NaN}]"#).unwrap();
        let (text, number) = (RecordId::Text("a".into()), RecordId::Number(2));
        assert_eq!(
            (of_list, alone),
            (vec![Some(text), None, None, Some(number)], false)
        );
        // Whole numbers, however they are written.
        let (of_list, _) = keys(br#"[{"id":1.0},{"id":2e0},{"id":30.00e-1},{"id":1e99}]"#).unwrap();
        let numbers = [1, 2, 3].map(|id| Some(RecordId::Number(id)));
        assert_eq!(of_list, [&numbers[..], &[None]].concat());
        for wrong in [
            &b"<html>"[..],
            b"",
            b"7",
            br#"{"message":"hunter2"}"#,
            br#"[{"id":1},"#,
        ] {
            let error = keys(wrong).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
