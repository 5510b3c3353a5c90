//! Values, and combinations of them, as small numbers, in the order in which they first occur.
//!
//! Invariant: equal values have one number, different values different ones; null is [`NULL`], and no value is.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use tillhouse_model::FastMap;

/// The code of null.
pub(super) const NULL: u32 = 0;

/// Combinations of several columns' codes, numbered in the order in which they first occur.
#[derive(Default)]
pub(super) struct KeyInterner {
    codes: HashMap<Box<[u32]>, u32, BuildHasherDefault<CodeHasher>>,
    /// The combinations, by their numbers.
    pub(super) lists: Vec<Box<[u32]>>,
}

impl KeyInterner {
    /// The numbers of rows, of which each column has a code; what stands beside a column's codes plays no part.
    pub(super) fn of_all<C>(&mut self, columns: &[(&Vec<u32>, C)], rows: usize) -> Vec<u32> {
        let (mut codes, mut last) = (vec![NULL; columns.len()], None);
        let mut of_all = Vec::with_capacity(rows);
        for row in 0..rows {
            let mut is_last = true;
            for (code, (column, _)) in codes.iter_mut().zip(columns) {
                is_last &= *code == column[row];
                *code = column[row];
            }
            // Neighbours are often alike.
            let number = last.filter(|_| is_last).unwrap_or_else(|| self.of(&codes));
            last = Some(number);
            of_all.push(number);
        }
        of_all
    }

    fn of(&mut self, codes: &[u32]) -> u32 {
        if let Some(number) = self.codes.get(codes) {
            return *number;
        }
        let number = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        self.lists.push(codes.into());
        self.codes.insert(codes.into(), number);
        number
    }
}

/// Values, numbered in the order in which they first occur.
pub(super) struct ValueInterner<T> {
    codes: FastMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for ValueInterner<T> {
    fn default() -> Self {
        Self {
            codes: FastMap::default(),
            values: Vec::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> ValueInterner<T> {
    pub(super) fn of<Q: ToOwned<Owned = T> + Eq + Hash + ?Sized>(&mut self, value: &Q) -> u32
    where
        T: Borrow<Q>,
    {
        if let Some(code) = self.codes.get(value) {
            return *code;
        }
        self.values.push(value.to_owned());
        let code = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.codes.insert(value.to_owned(), code);
        code
    }

    pub(super) fn value(&self, code: u32) -> Option<&T> {
        self.values.get(usize::try_from(code.checked_sub(1)?).ok()?)
    }
}

impl ValueInterner<i64> {
    /// The codes of values. Neighbours are mostly alike.
    pub(super) fn of_all(&mut self, values: impl Iterator<Item = Option<i64>>) -> Vec<u32> {
        let mut last = (None, NULL);
        let code = |value: Option<i64>| {
            if value != last.0 {
                last = (value, value.map_or(NULL, |value| self.of(&value)));
            }
            last.1
        };
        values.map(code).collect()
    }
}

/// Hasher of value codes. They are our own small numbers, so nobody can choose them to collide; the standard library's hasher, which
/// guards against that, took a fifth of the time of aggregating.
#[derive(Default)]
pub(super) struct CodeHasher(u64);

impl Hasher for CodeHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            self.write_u32(u32::from_le_bytes(*word));
        }
        for byte in rest {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes the lowest bits and the highest; the lowest have seen little.
        self.0 ^ (self.0 >> 32)
    }
}
