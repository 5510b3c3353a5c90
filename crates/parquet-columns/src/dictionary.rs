//! Dictionary of a column chunk: its distinct values, numbered in the order they came in.
//!
//! Invariant: equal values have one number, different values different ones; what is written is every value once, as Parquet's plain
//! encoding has it.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::BuildHasher;

/// Distinct values for which there is room from the beginning.
const ROOM: usize = 64;

/// Dictionary of a column chunk: distinct values by number. Texts, and the bytes of values that always have as many, stand one behind the other with
/// their length before them, numbers as they are.
#[derive(Clone)]
pub(crate) struct ChunkDictionary {
    table: HashTable<u32>,
    hasher: RandomState,
    plain: Vec<u8>,
    /// The end of each text in `plain`.
    ends: Vec<usize>,
    numbers: Vec<i64>,
    last: Option<u32>,
}

impl ChunkDictionary {
    pub(crate) fn new() -> Self {
        Self {
            table: HashTable::with_capacity(ROOM),
            hasher: RandomState::default(),
            plain: Vec::new(),
            ends: Vec::new(),
            numbers: Vec::new(),
            last: None,
        }
    }

    /// Count of distinct values.
    pub(crate) fn len(&self) -> usize {
        self.ends.len() + self.numbers.len()
    }

    /// Bytes of the values, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.plain.len() + self.numbers.len() * size_of::<i64>()
    }

    /// The number of a text.
    pub(crate) fn text(&mut self, text: &[u8]) -> u32 {
        let Self {
            table,
            hasher,
            plain,
            ends,
            last,
            ..
        } = self;
        // Neighbours are often equal.
        if let Some(last) = *last
            && equal(text_at(plain, ends, last), text)
        {
            return last;
        }
        let hash = hash_of(hasher, text);
        let entry = table.entry(
            hash,
            |number| equal(text_at(plain, ends, *number), text),
            |number| hash_of(hasher, text_at(plain, ends, *number)),
        );
        let number = match entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let number = u32::try_from(ends.len()).unwrap_or(u32::MAX);
                entry.insert(number);
                plain.extend_from_slice(
                    &u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes(),
                );
                plain.extend_from_slice(text);
                ends.push(plain.len());
                number
            }
        };
        *last = Some(number);
        number
    }

    /// The number of a number.
    pub(crate) fn number(&mut self, value: i64) -> u32 {
        let Self {
            table,
            hasher,
            numbers,
            last,
            ..
        } = self;
        let at = |number: u32| numbers.get(number as usize).copied().unwrap_or_default();
        if let Some(last) = *last
            && at(last) == value
        {
            return last;
        }
        let hash = hasher.hash_one(value);
        let entry = table.entry(
            hash,
            |number| at(*number) == value,
            |number| hasher.hash_one(at(*number)),
        );
        let number = match entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let number = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                entry.insert(number);
                numbers.push(value);
                number
            }
        };
        *last = Some(number);
        number
    }

    /// The first and the last of its texts; `None` where it has none.
    pub(crate) fn text_bounds(&self) -> Option<(&[u8], &[u8])> {
        let texts = (0_u32..).take(self.ends.len());
        let texts = texts.map(|number| text_at(&self.plain, &self.ends, number));
        Some((texts.clone().min()?, texts.max()?))
    }

    /// Appends one value in its plain encoding; one that always has as many bytes takes `width`, a text 0.
    pub(crate) fn write(&self, number: u32, width: usize, out: &mut Vec<u8>) {
        match self.numbers.get(number as usize) {
            Some(value) => out.extend_from_slice(&value.to_le_bytes()[..width]),
            // Only a text is read by its length.
            None if width > 0 => out.extend_from_slice(text_at(&self.plain, &self.ends, number)),
            None => out
                .extend_from_slice(&self.plain[start(&self.ends, number)..end(&self.ends, number)]),
        }
    }

    /// All values in their plain encoding.
    pub(crate) fn into_plain(self, width: usize) -> Vec<u8> {
        if width > 0 && self.numbers.is_empty() {
            let places = (0_u32..).take(self.ends.len());
            let values = places.map(|number| text_at(&self.plain, &self.ends, number));
            return values.collect::<Vec<&[u8]>>().concat();
        }
        let mut plain = self.plain;
        plain.reserve(self.numbers.len() * width);
        self.numbers
            .iter()
            .for_each(|value| plain.extend_from_slice(&value.to_le_bytes()[..width]));
        plain
    }
}

fn hash_of(hasher: &RandomState, text: &[u8]) -> u64 {
    // Of most texts that repeat the ends are all there is.
    if text.len() <= 16 {
        hasher.hash_one((ends_of(text), text.len()))
    } else {
        hasher.hash_one(text)
    }
}

/// The first and the last eight bytes; of a shorter text all of them, and nothing.
fn ends_of(text: &[u8]) -> (u64, u64) {
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (
            text.iter()
                .fold(0, |word, byte| (word << 8) | u64::from(*byte)),
            0,
        ),
    }
}

/// True if two texts are the same; most that are not differ at an end.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && ends_of(a) == ends_of(b) && (a.len() <= 16 || a == b)
}

fn end(ends: &[usize], number: u32) -> usize {
    ends.get(number as usize).copied().unwrap_or_default()
}

fn start(ends: &[usize], number: u32) -> usize {
    number.checked_sub(1).map_or(0, |before| end(ends, before))
}

fn text_at<'a>(plain: &'a [u8], ends: &[usize], number: u32) -> &'a [u8] {
    &plain[start(ends, number) + size_of::<u32>()..end(ends, number)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_one_number_and_each_is_written_once() {
        let mut texts = ChunkDictionary::new();
        let numbers: Vec<u32> = ["a", "", "a", "a", "bc", "", "a"]
            .iter()
            .map(|t| texts.text(t.as_bytes()))
            .collect();
        assert_eq!(numbers, [0, 1, 0, 0, 2, 1, 0]);
        assert_eq!(texts.text_bounds(), Some((&b""[..], &b"bc"[..])));
        assert_eq!(ChunkDictionary::new().text_bounds(), None);
        let mut one = Vec::new();
        texts.write(2, 0, &mut one);
        assert_eq!(one, b"\x02\0\0\0bc");
        assert_eq!(texts.into_plain(0), b"\x01\0\0\0a\0\0\0\0\x02\0\0\0bc");

        // Of values that always have three bytes.
        let mut fixed = ChunkDictionary::new();
        let given: Vec<u32> = [b"abc", b"xyz", b"abc"]
            .iter()
            .map(|bytes| fixed.text(bytes.as_slice()))
            .collect();
        assert_eq!(given, [0, 1, 0]);
        let mut one = Vec::new();
        fixed.write(1, 3, &mut one);
        assert_eq!(one, b"xyz");
        assert_eq!(fixed.into_plain(3), b"abcxyz");

        let mut numbers = ChunkDictionary::new();
        let given: Vec<u32> = [7, -1, 7, 7, i64::from(i32::MIN)]
            .iter()
            .map(|n| numbers.number(*n))
            .collect();
        assert_eq!(given, [0, 1, 0, 0, 2]);
        assert_eq!(
            numbers.into_plain(4),
            [7, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 128]
        );
    }

    #[test]
    fn a_thousand_values_keep_their_numbers_while_the_table_grows() {
        let mut texts = ChunkDictionary::new();
        for round in 0..3 {
            for n in 0..1_000_u32 {
                assert_eq!(
                    texts.text(format!("value {n}").as_bytes()),
                    n,
                    "round {round}"
                );
            }
        }
        assert_eq!(texts.len(), 1_000);
    }
}
