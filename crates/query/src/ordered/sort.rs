//! Sorting of rows by the bytes of their keys, eight bytes at a time.
//!
//! Invariant: rows come out by head, then by tail, and equal ones by their numbers, whatever bytes the keys share. Keys of one group often begin alike, and lie far from each other: comparing
//! two of them costs a look into far memory for each. Here the next bytes of all rows are read once, in the order in which they lie, and compared as numbers beside each other; only rows
//! that are equal so far are looked at again.

use std::cmp::Ordering;

/// Key of a row: bytes in ascending order, then bytes in the direction of the sort.
pub(super) type KeyParts<'a> = (&'a [u8], &'a [u8]);

/// Bytes of a key in one number; its last byte says how many there are.
const WINDOW: usize = 7;
/// Rows that are compared with each other at once.
const FEW: usize = 16;

/// Bytes that sorting takes for each row of the largest group, beside the rows: a number and its row.
pub(super) const BYTES_A_ROW: usize = size_of::<(u64, u32)>();

/// Rows whose keys are equal up to some byte.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: usize,
    to: usize,
    in_tail: bool,
    depth: usize,
}

/// Sorter of the rows of one group after the other.
#[derive(Debug)]
pub(super) struct RowSorter {
    tail_descends: bool,
    windows: Vec<(u64, u32)>,
    spans: Vec<Span>,
}

/// The next bytes of a key and, in the last byte, how many they are: more than [`WINDOW`] where the key goes on. A shorter key is smaller than one that it begins.
fn window(bytes: &[u8], depth: usize) -> u64 {
    let rest = bytes.get(depth..).unwrap_or_default();
    let mut word = [0_u8; WINDOW + 1];
    match rest.first_chunk::<{ WINDOW + 1 }>() {
        Some(first) => word = *first,
        None => word[..rest.len()].copy_from_slice(rest),
    }
    word[WINDOW] = u8::try_from(rest.len().min(WINDOW + 1)).unwrap_or(u8::MAX);
    u64::from_be_bytes(word)
}

/// True if a key goes on behind its window.
fn goes_on(window: u64) -> bool {
    usize::from(window.to_be_bytes()[WINDOW]) > WINDOW
}

impl RowSorter {
    pub(super) fn new(tail_descends: bool) -> Self {
        Self {
            tail_descends,
            windows: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// Sorts the rows of one group, which come by their numbers.
    pub(super) fn sort<'a>(&mut self, rows: &mut [u32], key: impl Fn(u32) -> KeyParts<'a>) {
        let compare = |one: &u32, other: &u32| self.compare(key(*one), key(*other));
        if rows.is_sorted_by(|one, other| compare(one, other).is_le()) {
            return;
        }
        self.spans.clear();
        self.spans.push(Span {
            from: 0,
            to: rows.len(),
            in_tail: false,
            depth: 0,
        });
        while let Some(span) = self.spans.pop() {
            self.sort_span(&mut rows[span.from..span.to], span, &key);
        }
    }

    fn compare(&self, (head, tail): KeyParts<'_>, (of_head, of_tail): KeyParts<'_>) -> Ordering {
        head.cmp(of_head).then_with(|| {
            let ascending = tail.cmp(of_tail);
            if self.tail_descends {
                ascending.reverse()
            } else {
                ascending
            }
        })
    }

    /// Sorts rows by their whole keys.
    fn sort_few<'a>(&self, rows: &mut [u32], key: &impl Fn(u32) -> KeyParts<'a>) {
        rows.sort_unstable_by(|one, other| {
            let keys = self.compare(key(*one), key(*other));
            keys.then_with(|| one.cmp(other))
        });
    }

    /// Sorts rows by their next bytes, and leaves those that are still equal for later.
    fn sort_span<'a>(&mut self, rows: &mut [u32], span: Span, key: &impl Fn(u32) -> KeyParts<'a>) {
        if rows.len() <= FEW {
            self.sort_few(rows, key);
            return;
        }
        let is_reversed = span.in_tail && self.tail_descends;
        self.windows.clear();
        self.windows.extend(rows.iter().map(|row| {
            let (head, tail) = key(*row);
            let window = window(if span.in_tail { tail } else { head }, span.depth);
            (if is_reversed { !window } else { window }, *row)
        }));
        self.windows.sort_unstable();
        for (place, (_, row)) in rows.iter_mut().zip(&self.windows) {
            *place = *row;
        }
        let mut from = span.from;
        for equal in self.windows.chunk_by(|one, other| one.0 == other.0) {
            let to = from + equal.len();
            let window = if is_reversed { !equal[0].0 } else { equal[0].0 };
            let next = match (goes_on(window), span.in_tail) {
                (true, in_tail) => Some((in_tail, span.depth + WINDOW)),
                (false, false) => Some((true, 0)),
                (false, true) => None,
            };
            match next.filter(|_| equal.len() > 1) {
                Some(_) if equal.len() <= FEW => {
                    self.sort_few(&mut rows[from - span.from..to - span.from], key);
                }
                Some((in_tail, depth)) => self.spans.push(Span {
                    from,
                    to,
                    in_tail,
                    depth,
                }),
                None => {}
            }
            from = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Key = (Vec<u8>, Vec<u8>);

    fn sorted(keys: &[Key], tail_descends: bool) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..u32::try_from(keys.len()).unwrap()).collect();
        RowSorter::new(tail_descends).sort(&mut rows, |row| {
            let (head, tail) = &keys[row as usize];
            (head.as_slice(), tail.as_slice())
        });
        rows
    }

    /// The same by a stable sort of whole keys.
    fn expected(keys: &[Key], tail_descends: bool) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..u32::try_from(keys.len()).unwrap()).collect();
        rows.sort_by(|one, other| {
            let (one, other) = (&keys[*one as usize], &keys[*other as usize]);
            let tails = one.1.cmp(&other.1);
            let tails = if tail_descends {
                tails.reverse()
            } else {
                tails
            };
            one.0.cmp(&other.0).then(tails)
        });
        rows
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        /// Bytes of few kinds after a long common beginning: many keys begin alike, or are the same.
        #[test]
        fn rows_are_sorted_as_whole_keys_are(
            pieces in proptest::collection::vec((proptest::collection::vec(0_u8..3, 0..4), proptest::collection::vec(0_u8..2, 0..20)), 0..300),
            common in 0_usize..30,
            descends: bool,
        ) {
            let keys: Vec<Key> = pieces.into_iter().map(|(head, tail)| {
                let mut long = vec![7; common];
                long.extend(tail);
                (head, long)
            }).collect();
            proptest::prop_assert_eq!(sorted(&keys, descends), expected(&keys, descends));
        }
    }

    #[test]
    fn a_key_comes_before_those_that_it_begins() {
        let texts: Vec<Vec<u8>> = (0..40).map(|length| vec![0; length]).collect();
        let keys: Vec<Key> = texts
            .iter()
            .rev()
            .map(|text| (Vec::new(), text.clone()))
            .collect();
        let lengths = |rows: Vec<u32>| -> Vec<usize> {
            rows.iter().map(|row| keys[*row as usize].1.len()).collect()
        };
        let (up, down): (Vec<usize>, Vec<usize>) = ((0..40).collect(), (0..40).rev().collect());
        assert_eq!(lengths(sorted(&keys, false)), up);
        assert_eq!(lengths(sorted(&keys, true)), down);
        let heads: Vec<Key> = texts
            .into_iter()
            .rev()
            .map(|text| (text, Vec::new()))
            .collect();
        assert_eq!(sorted(&heads, true), expected(&heads, true));
    }

    #[test]
    fn long_keys_that_differ_at_their_end_do_not_nest() {
        let keys: Vec<Key> = (0..100_u8)
            .rev()
            .map(|last| {
                let mut key = vec![1; 100_000];
                key.push(last);
                (Vec::new(), key)
            })
            .collect();
        assert_eq!(sorted(&keys, false), expected(&keys, false));
    }
}
