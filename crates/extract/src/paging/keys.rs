//! Where the next page of a list begins that is paged by its records' ids.
//!
//! Invariant: a list that is left has given every record it has, as far as a server can be known by its answers; where it cannot, the
//! list ends with an error and never quietly.
//!
//! Rejected: an offset, which counts rows, so that a row that vanishes from the part already read pushes another one past the reader.
//! Ids that are texts are paged the same way as numbers: the key is the last id in the server's own order, the server compares it by
//! that same order, and so it does not matter which order that is.
//!
//! The end of a list is an empty page, for a short page may have been cut by a server that allows less than was asked for. One
//! request more a list is cheap; of the small lists of thousands of parents it would be every second request, so there a page that
//! is shorter than one seen before counts as the last.
//!
//! A server that ignores what is asked gives the same records again: it has given all it has, unless the page was exactly as long as
//! asked for, which is an error.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use tillhouse_model::{Error, Result};

/// A record's id: a whole number, or a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

impl Key {
    /// Reads a JSON value; `None` where it is neither.
    pub fn read(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        if text.starts_with('"') {
            return serde_json::from_str(text).ok().map(Self::Text);
        }
        text.parse().ok().map(Self::Number)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[derive(Default, Deserialize)]
struct Record<'p> {
    #[serde(borrow)]
    id: Option<&'p RawValue>,
}

/// The ids of a page's records, `None` for one without; and whether the page is one record instead of a list of them.
///
/// Errors with [`tillhouse_model::ErrorKind::Protocol`] for anything else, without quoting it.
pub(super) fn keys(page: &[u8]) -> Result<(Vec<Option<Key>>, bool)> {
    // A record that is odd in itself (no object, a key twice) is the decoder's to reject; here it only has no id.
    if let Ok(records) = serde_json::from_slice::<Vec<&RawValue>>(page) {
        let key = |raw: &&RawValue| serde_json::from_str::<Record<'_>>(raw.get()).ok()?.id.and_then(Key::read);
        return Ok((records.iter().map(key).collect(), false));
    }
    match serde_json::from_slice::<Record<'_>>(page) {
        Ok(Record { id: Some(id) }) => Ok((vec![Key::read(id)], true)),
        _ => Err(Error::protocol("the answer is neither a list nor a record")
            .hint("Check connection.base_url and connection.paths: something else may be answering there.")),
    }
}

/// Reads the lists of one endpoint, one after the other.
#[derive(Debug)]
pub(super) struct Pager {
    limit: usize,
    /// Whether only an empty page is the end.
    to_the_empty_page: bool,
    /// The longest page so far.
    longest: usize,
    /// Whether the endpoint was found to give whole lists, whatever is asked.
    gives_all: bool,
    list: List,
}

/// The list at hand.
#[derive(Debug, Default)]
struct List {
    last: Option<Key>,
    /// How many records the page before had.
    before: usize,
    /// The ids that ended a page, and those of the page before.
    ends: HashSet<Key>,
    page: HashSet<Key>,
}

/// What a page means for the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for what is behind [`Pager::last`].
    More,
    /// The list is at its end.
    End,
}

impl Pager {
    pub(super) fn new(limit: u32, to_the_empty_page: bool) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, to_the_empty_page, longest: 0, gives_all: false, list: List::default() }
    }

    /// The id behind which the next page begins.
    pub(super) fn last(&self) -> Option<&Key> {
        self.list.last.as_ref()
    }

    /// Turns to the next list.
    pub(super) fn start_over(&mut self) {
        self.list = List::default();
    }

    /// Takes a page of the list.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Protocol`] where the server's answers do not let the list be read to its end.
    pub(super) fn take(&mut self, keys: &[Option<Key>]) -> Result<Next> {
        if keys.is_empty() {
            return Ok(Next::End);
        }
        let full = keys.len() == self.limit;
        if self.gives_all {
            return self.all_at_once(full, "what is asked makes no difference");
        }
        // A record without one is odd; it comes again with the next page, unless it is the last.
        let ids: Vec<Key> = keys.iter().flatten().cloned().collect();
        if ids.is_empty() {
            return self.all_at_once(full, "the records have no id to page by");
        }
        let numbers: Option<Vec<i64>> =
            ids.iter().map(|id| if let Key::Number(number) = id { Some(*number) } else { None }).collect();
        if self.list.last.is_some() && self.stands_still(&ids, numbers.as_deref()) {
            let full = self.list.before == self.limit;
            return self.all_at_once(full, "the records behind an id are asked for, and the same come again");
        }
        if numbers.is_some_and(|numbers| !numbers.is_sorted_by(|a, b| a < b)) {
            return self.all_at_once(full, "the records do not come in the order of their ids");
        }
        let List { last, before, ends, page } = &mut self.list;
        *last = ids.last().cloned();
        ends.extend(last.clone());
        *before = keys.len();
        *page = ids.into_iter().collect();
        let shorter = keys.len().cmp(&self.longest) == Ordering::Less;
        self.longest = self.longest.max(keys.len());
        Ok(if shorter && !self.to_the_empty_page { Next::End } else { Next::More })
    }

    /// Whether a page does not lead on from the one before.
    fn stands_still(&self, ids: &[Key], numbers: Option<&[i64]>) -> bool {
        if let (Some(Key::Number(last)), Some(numbers)) = (&self.list.last, numbers) {
            return numbers.iter().any(|number| number <= last);
        }
        ids.iter().any(|id| self.list.page.contains(id) || self.list.ends.contains(id))
    }

    /// The endpoint does not page: what it gave is the whole list, unless it happens to be as long as a page.
    fn all_at_once(&mut self, full: bool, why: &str) -> Result<Next> {
        if full {
            return Err(Error::protocol(format!("the list cannot be paged: {why}"))
                .hint("If there are exactly as many records as a page holds, another page_size helps."));
        }
        self.gives_all = true;
        Ok(Next::End)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server does with `where[id][>]`, `sort` and `limit`.
    #[derive(Clone, Copy)]
    struct Manner {
        keys: bool,
        limit: bool,
        cap: usize,
    }

    const GOOD: Manner = Manner { keys: true, limit: true, cap: usize::MAX };

    fn page(ids: &[String]) -> String {
        format!("[{}]", ids.iter().map(|id| format!(r#"{{"id":{id}}}"#)).collect::<Vec<_>>().join(","))
    }

    /// Reads a list from a server of that manner; the ids that came, and how many requests it took.
    fn read(pager: &mut Pager, all: &[String], manner: Manner) -> Result<(Vec<String>, usize)> {
        pager.start_over();
        let (mut seen, mut requests) = (Vec::new(), 0);
        loop {
            requests += 1;
            assert!(requests < 1_000, "endless");
            let last = pager.last().map(|id| match id {
                Key::Number(number) => number.to_string(),
                Key::Text(text) => format!("{text:?}"),
            });
            let from = match last.filter(|_| manner.keys) {
                Some(last) => all.iter().position(|id| *id == last).unwrap() + 1,
                None => 0,
            };
            let most = if manner.limit { pager.limit } else { usize::MAX };
            let some: Vec<String> = all[from..].iter().take(most.min(manner.cap)).cloned().collect();
            let text = page(&some);
            let (keys, _) = keys(text.as_bytes()).unwrap();
            seen.extend(some);
            if pager.take(&keys)? == Next::End {
                return Ok((seen, requests));
            }
        }
    }

    fn numbers(count: usize) -> Vec<String> {
        (1..=count).map(|n| (n * 3).to_string()).collect()
    }

    /// In an order that is the server's own.
    fn texts(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("\"v{}-{n}\"", (n * 7919) % 1000)).collect()
    }

    #[test]
    fn every_record_comes_once_whatever_the_server_cuts() {
        for make in [numbers, texts] {
            for count in [0, 1, 9, 10, 11, 30, 31] {
                for cap in [1, 3, 10, usize::MAX] {
                    for to_the_empty_page in [true, false] {
                        let all = make(count);
                        let mut pager = Pager::new(10, to_the_empty_page);
                        let (seen, _) = read(&mut pager, &all, Manner { cap, ..GOOD }).unwrap();
                        assert_eq!(seen, all, "{count} records, cut to {cap}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_empty_page_ends_a_list_and_a_shorter_one_a_parents() {
        let requests = |sure, counts: &[usize]| {
            let mut pager = Pager::new(10, sure);
            counts.iter().map(|count| read(&mut pager, &numbers(*count), GOOD).unwrap().1).collect::<Vec<_>>()
        };
        assert_eq!(requests(true, &[25, 3, 2]), [4, 2, 2]);
        assert_eq!(requests(false, &[3, 2, 4, 1, 0, 4]), [2, 1, 2, 1, 1, 2]);
        assert_eq!(requests(false, &[25, 3, 2]), [3, 1, 1]);
    }

    #[test]
    fn a_server_that_gives_all_at_once_is_believed_unless_it_may_have_cut() {
        for make in [numbers, texts] {
            for (manner, count) in [
                (Manner { keys: false, limit: false, ..GOOD }, 25),
                (Manner { keys: false, limit: false, ..GOOD }, 4),
                (Manner { keys: false, ..GOOD }, 4),
                (Manner { limit: false, ..GOOD }, 25),
            ] {
                let mut pager = Pager::new(10, true);
                let (seen, _) = read(&mut pager, &make(count), manner).unwrap();
                let distinct: HashSet<&String> = seen.iter().collect();
                assert_eq!(distinct.len(), count);
            }
            for manner in [Manner { keys: false, ..GOOD }, Manner { keys: false, limit: false, ..GOOD }] {
                let error = read(&mut Pager::new(10, true), &make(10), manner).unwrap_err();
                assert!(error.message().contains("the same come again"), "{error}");
            }
        }
        // Once known, it is not asked twice again.
        let mut pager = Pager::new(10, false);
        let manner = Manner { keys: false, limit: false, ..GOOD };
        assert_eq!(read(&mut pager, &numbers(4), manner).unwrap().1, 2);
        assert_eq!(read(&mut pager, &numbers(7), manner).unwrap().1, 1);
        assert!(read(&mut pager, &numbers(10), Manner { keys: false, ..GOOD }).is_err(), "it may have been cut");
    }

    #[test]
    fn a_full_page_out_of_order_is_an_error() {
        let mut all = numbers(10);
        all.reverse();
        assert!(read(&mut Pager::new(10, true), &all, GOOD).is_err());
        assert_eq!(read(&mut Pager::new(11, true), &all, GOOD).unwrap().0.len(), 10);
        let text = r#"[{"day":1},{"day":2}]"#;
        let (without, _) = keys(text.as_bytes()).unwrap();
        assert!(Pager::new(2, true).take(&without).unwrap_err().message().contains("no id"));
        assert_eq!(Pager::new(3, true).take(&without).unwrap(), Next::End);
    }

    #[test]
    fn one_record_is_a_list_of_one() {
        assert_eq!(keys(br#"{"id":7,"price":"1.50"}"#).unwrap(), (vec![Some(Key::Number(7))], true));
        let (of_list, alone) = keys(br#"[{"id":"a"},null,{"id":1,"id":2},{"id":1.5}]"#).unwrap();
        assert_eq!((of_list, alone), (vec![Some(Key::Text("a".into())), None, None, None], false));
        for wrong in [&b"<html>"[..], b"", b"7", br#"{"message":"hunter2"}"#, br#"[{"id":1},"#] {
            let error = keys(wrong).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
