//! Definition or repetition levels of a page, as they are gathered and written.
//!
//! Invariant: levels that are all the same are only counted, which is what those of most columns are.

use crate::rle;

/// Definition or repetition levels of a page. As long as all are the same, they are only counted.
#[derive(Clone, Default)]
pub(crate) struct PageLevels {
    same: u8,
    count: usize,
    each: Vec<u8>,
}

impl PageLevels {
    pub(crate) fn repeat(&mut self, level: u8, times: usize) {
        if self.count == 0 {
            self.same = level;
        }
        if self.each.is_empty() && self.same == level {
            self.count += times;
        } else {
            self.spell_out();
            self.each.resize(self.each.len() + times, level);
        }
    }

    pub(crate) fn add(&mut self, levels: &[u8]) {
        self.spell_out();
        self.each.extend_from_slice(levels);
    }

    fn spell_out(&mut self) {
        if self.each.is_empty() {
            self.each.resize(self.count, self.same);
        }
    }

    /// Appends them as a page of the format's first version has them, and begins anew.
    pub(crate) fn end(&mut self, largest: i16, out: &mut Vec<u8>) {
        if largest > 0 {
            let width = rle::width_of(u32::from(largest.unsigned_abs()));
            let begin = out.len();
            out.extend_from_slice(&[0; 4]);
            if self.each.is_empty() {
                rle::repeat(u32::from(self.same), self.count, width, out);
            } else {
                rle::write(&self.each, width, out);
            }
            let length = u32::try_from(out.len() - begin - 4).unwrap_or(u32::MAX);
            out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
        }
        (self.same, self.count) = (0, 0);
        self.each.clear();
    }
}
