//! Ranges of equal width that a column of instants cuts a table's rows into.
//!
//! Invariant: every instant is in one range, on both sides of 1970; rows without one are in a range of their own.

use std::collections::{BTreeMap, BTreeSet};

/// Column of instants whose values are cut into ranges of equal width.
///
/// ```
/// use tillhouse_lake::RangeColumn;
///
/// const QUARTERS: RangeColumn = RangeColumn::new("occurred_at", 15 * 60 * 1_000_000);
/// assert_eq!(QUARTERS.start_of(-1), -900_000_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeColumn {
    name: &'static str,
    width: i64,
}

impl RangeColumn {
    /// A column and the width of its ranges in microseconds, which is at least 1.
    pub const fn new(name: &'static str, width: i64) -> Self {
        Self {
            name,
            width: if width < 1 { 1 } else { width },
        }
    }

    /// The column's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The start of the range that an instant is in, both in microseconds.
    pub fn start_of(&self, micros: i64) -> i64 {
        micros.saturating_sub(micros.rem_euclid(self.width))
    }
}

/// Ranges of one pipeline, by their start in microseconds UTC; `None` is where rows without a time are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeSet {
    /// All there are.
    All,
    /// These.
    Only(BTreeSet<Option<i64>>),
}

impl RangeSet {
    fn add(&mut self, more: Self) {
        match (self, more) {
            (Self::All, _) => {}
            (this, Self::All) => *this = Self::All,
            (Self::Only(ranges), Self::Only(more)) => ranges.extend(more),
        }
    }
}

/// Ranges whose rows differ between two versions, by pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangedRanges(pub BTreeMap<String, RangeSet>);

impl ChangedRanges {
    /// Adds ranges of a pipeline.
    pub fn add(&mut self, pipeline: &str, ranges: RangeSet) {
        match self.0.get_mut(pipeline) {
            Some(known) => known.add(ranges),
            None => {
                self.0.insert(pipeline.to_owned(), ranges);
            }
        }
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: Self) {
        for (pipeline, ranges) in other.0 {
            self.add(&pipeline, ranges);
        }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0
            .values()
            .all(|ranges| matches!(ranges, RangeSet::Only(ranges) if ranges.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty_store::us;

    #[test]
    fn ranges_begin_at_multiples_of_their_width_on_both_sides_of_1970() {
        let hours = RangeColumn::new("at", 3_600_000_000);
        assert_eq!(
            hours.start_of(us("1969-12-31T23:59:59.999999Z")),
            us("1969-12-31T23:00:00Z")
        );
        assert_eq!(
            hours.start_of(us("2026-01-10T10:00:00Z")),
            us("2026-01-10T10:00:00Z")
        );
    }
}
