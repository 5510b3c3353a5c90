//! Rows of groups, as DataFusion hands them to an aggregate.
//!
//! Invariant: a row whose filter is null is left out like one whose filter is false.

use arrow::array::{Array, BooleanArray};
use datafusion::common::{Result, internal_datafusion_err};

/// True for rows that a filter lets pass.
pub(crate) fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

/// The number of a group, as it is held beside each of its values.
pub(crate) fn group_number(group: usize) -> Result<u32> {
    u32::try_from(group).map_err(|_| internal_datafusion_err!("more groups than can be numbered"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_lets_no_row_pass() {
        let filter = BooleanArray::from(vec![Some(true), Some(false), None]);
        let passed: Vec<usize> = (0..3).filter(|row| passes(Some(&filter), *row)).collect();
        assert_eq!(passed, [0]);
        assert!(passes(None, 7));
    }

    #[test]
    fn a_group_that_has_no_number_is_an_error() {
        assert_eq!(group_number(7).unwrap(), 7);
        assert!(group_number(usize::MAX).is_err());
    }
}
