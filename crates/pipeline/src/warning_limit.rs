//! Limit of the warnings that one run writes down for one resource.
//!
//! Invariant: every warning is written down or counted. A provider that changes a field's type makes a warning of every record; the first
//! ones show what happened, and the number of the others is one row.

use std::collections::BTreeMap;
use tillhouse_decode::{MORE_WARNINGS, Warning};

/// Most warnings of one rule at one field that a run writes down; `payments[0].amount` and `payments[7].amount` are one field.
const KEPT: u64 = 10_000;

/// Warnings seen so far.
#[derive(Debug, Default)]
pub(crate) struct WarningLimit {
    /// By rule and field, without positions in lists.
    seen: BTreeMap<(String, String), WarningCounts>,
}

#[derive(Debug, Default)]
struct WarningCounts {
    kept: u64,
    left_out: u64,
}

impl WarningLimit {
    /// True if a warning is to be written down; counts it if not.
    pub(crate) fn admit(&mut self, warning: &Warning) -> bool {
        let seen = self
            .seen
            .entry((warning.rule.clone(), without_positions(&warning.field)))
            .or_default();
        if seen.kept < KEPT {
            seen.kept += 1;
            return true;
        }
        seen.left_out += warning.count;
        false
    }

    /// One warning for every rule and field that had too many, with how many were left out.
    pub(crate) fn left_out(&self) -> Vec<Warning> {
        let cut = self.seen.iter().filter(|(_, seen)| seen.left_out > 0);
        cut.map(|((rule, field), seen)| Warning {
            key: String::new(),
            field: field.clone(),
            rule: MORE_WARNINGS.to_owned(),
            original: format!("{} more of {rule}", seen.left_out),
            count: seen.left_out,
        })
        .collect()
    }
}

/// `payments[3].log[0].code` as `payments[].log[].code`. Names in brackets (`["a.b"]`) stay.
fn without_positions(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        out.push('[');
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(field: &str, rule: &str, count: u64) -> Warning {
        Warning {
            key: "k".into(),
            field: field.into(),
            rule: rule.into(),
            original: "o".into(),
            count,
        }
    }

    #[test]
    fn a_flood_is_counted_and_the_others_are_heard() {
        let mut limit = WarningLimit::default();
        let kept = (0..KEPT + 7)
            .filter(|i| limit.admit(&warning(&format!("log[{i}].code"), "expected_number", 1)))
            .count();
        assert_eq!(kept as u64, KEPT);
        assert!(limit.admit(&warning("log[1].level", "expected_number", 1)));
        assert!(limit.admit(&warning("log[1].code", "rounded", 1)));
        assert!(!limit.admit(&warning("log[1].code", "expected_number", 500)));
        let told: Vec<_> = limit
            .left_out()
            .into_iter()
            .map(|w| (w.field, w.rule, w.original, w.count))
            .collect();
        assert_eq!(
            told,
            [(
                "log[].code".into(),
                MORE_WARNINGS.into(),
                "507 more of expected_number".into(),
                507
            )]
        );
    }

    #[test]
    fn positions_are_left_out_of_paths() {
        for (field, pattern) in [
            ("amount", "amount"),
            ("payments[12].log[0].code", "payments[].log[].code"),
            (r#"payments[12]["a.b"]"#, r#"payments[]["a.b"]"#),
            ("", ""),
        ] {
            assert_eq!(without_positions(field), pattern);
        }
    }
}
