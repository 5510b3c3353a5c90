//! The warnings of a page, bounded.
//!
//! Invariant: what is changed or odd is either told or counted; a warning made while a record is read is signed with its key once it fits, and
//! forgotten if it does not.

use crate::Warning;

/// Most warnings of one page; the rest are counted in one last warning.
const MAX_WARNINGS: usize = 20_000;

/// The rule of a warning that stands for others, which were left out.
pub const MORE_WARNINGS: &str = "more_warnings";

/// Most bytes of a value that a warning shows.
pub(crate) const MAX_ORIGINAL: usize = 128;

/// Most bytes of the text about several columns.
const MAX_WORDS: usize = 512;

/// Warnings of one page, bounded in number.
#[derive(Debug, Default)]
pub(crate) struct PageWarnings {
    all: Vec<Warning>,
    unkept: u64,
}

/// Number of warnings at some moment, to come back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WarningCheckpoint {
    kept: usize,
    unkept: u64,
}

impl PageWarnings {
    pub(crate) fn push(&mut self, field: String, rule: &str, original: &[u8]) {
        self.add(field, rule, excerpt(original, MAX_ORIGINAL));
    }

    /// A warning in words of our own, about several columns.
    pub(crate) fn push_message(&mut self, field: String, rule: &str, words: &str) {
        self.add(field, rule, excerpt(words.as_bytes(), MAX_WORDS));
    }

    fn add(&mut self, field: String, rule: &str, original: String) {
        if self.all.len() >= MAX_WARNINGS {
            self.unkept += 1;
            return;
        }
        self.all.push(Warning {
            key: String::new(),
            field,
            rule: rule.to_owned(),
            original,
            count: 1,
        });
    }

    /// Takes those of others that are not among the warnings since `mark`.
    pub(crate) fn extend_new(&mut self, mark: WarningCheckpoint, others: Self) {
        for warning in others.all {
            if !self.all.iter().skip(mark.kept).any(|told| *told == warning) {
                self.add(warning.field, &warning.rule, warning.original);
            }
        }
    }

    /// Position among the warnings, to come back to.
    pub(crate) fn checkpoint(&self) -> WarningCheckpoint {
        WarningCheckpoint {
            kept: self.all.len(),
            unkept: self.unkept,
        }
    }

    /// Forgets the warnings since `mark`.
    pub(crate) fn rewind(&mut self, mark: WarningCheckpoint) {
        self.all.truncate(mark.kept);
        self.unkept = mark.unkept;
    }

    /// Says whose warnings the ones since `mark` are.
    pub(crate) fn sign(&mut self, mark: WarningCheckpoint, key: &[u8]) {
        for warning in self.all.iter_mut().skip(mark.kept) {
            warning.key = String::from_utf8_lossy(key).into_owned();
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Warning> {
        if self.unkept > 0 {
            let (key, field, rule) = (String::new(), String::new(), MORE_WARNINGS.to_owned());
            self.all.push(Warning {
                key,
                field,
                rule,
                original: self.unkept.to_string(),
                count: self.unkept,
            });
        }
        self.all
    }
}

/// The start of a value, for people.
pub(crate) fn excerpt(bytes: &[u8], max: usize) -> String {
    let cut = &bytes[..bytes.len().min(max)];
    let mut text = String::from_utf8_lossy(cut)
        .trim_end_matches('\u{fffd}')
        .to_owned();
    if cut.len() < bytes.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_never_cut_a_character() {
        assert_eq!(excerpt("ab\u{20ac}".as_bytes(), 4), "ab…");
        assert_eq!(excerpt("ab\u{20ac}".as_bytes(), 5), "ab\u{20ac}");
    }
}
