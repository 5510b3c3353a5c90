//! Report of a run: counts by pipeline, and the slices that failed.
//!
//! Invariant: every slice that was planned is counted as read or named as failed; a failed one is for the next run to take up.

use crate::unify::{UnifiedRowCounts, UnifyTotals};
use std::collections::BTreeMap;
use tillhouse_model::Error;

/// Report of a run, by pipeline.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct RunReport {
    /// The run's id.
    pub run: String,
    /// One entry a pipeline.
    pub pipelines: Vec<PipelineReport>,
    /// True if the result was published.
    pub published: bool,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// Report on one pipeline of a run.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct PipelineReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// Slices read in full.
    pub slices: u64,
    /// Slices that failed, and resources that failed as a whole; the next run takes them up.
    pub failed: Vec<FailedSlice>,
    /// Open transactions asked for again by id.
    pub followed: u64,
    /// Records never seen before.
    pub new: u64,
    /// Records whose content changed.
    pub changed: u64,
    /// Records that were known as they are.
    pub unchanged: u64,
    /// Records that came, rejects included; one that came with two windows counts once.
    pub records: u64,
    /// Records that did not fit their contract.
    pub rejects: u64,
    /// The resources of which records came and none fitted its contract.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub none_fitted: Vec<String>,
    /// Values that were rounded or could not be read, and quality rules that did not hold.
    pub warnings: u64,
    /// Unified rows added and removed, by table.
    pub unified: BTreeMap<String, UnifiedRowCounts>,
}

/// A slice that failed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FailedSlice {
    /// Which.
    pub slice: String,
    /// Why.
    pub error: String,
    /// Hint, where more can be said than that the next run takes it up.
    pub hint: Option<String>,
}

impl FailedSlice {
    pub(crate) fn of(slice: impl ToString, error: &Error) -> Self {
        Self {
            slice: slice.to_string(),
            error: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
        }
    }
}

impl PipelineReport {
    /// Adds what unify did.
    pub(crate) fn take(&mut self, unified: UnifyTotals) {
        for (table, UnifiedRowCounts { added, removed }) in unified.tables {
            let total = self.unified.entry(table).or_default();
            total.added += added;
            total.removed += removed;
        }
        self.warnings += unified.warnings;
    }
}

impl RunReport {
    /// True if some slices failed.
    pub fn is_partial(&self) -> bool {
        self.pipelines.iter().any(|p| !p.failed.is_empty())
    }

    /// The resources of which records came and none fitted its contract, as `pipeline.resource`. Other resources' records are no comfort:
    /// machines that fit do not make up for sales that do not.
    pub fn none_fitted(&self) -> Vec<String> {
        let of = |p: &PipelineReport| {
            p.none_fitted
                .iter()
                .map(|resource| format!("{}.{resource}", p.pipeline))
                .collect::<Vec<_>>()
        };
        self.pipelines.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_partial_by_any_slice_and_names_the_resources_of_which_nothing_fitted() {
        let mut whole = PipelineReport {
            pipeline: "shop".into(),
            none_fitted: vec!["sales".into(), "shops".into()],
            ..PipelineReport::default()
        };
        let report = |pipelines: &[&PipelineReport]| RunReport {
            pipelines: pipelines.iter().map(|report| (*report).clone()).collect(),
            ..RunReport::default()
        };
        assert!(!report(&[&whole]).is_partial());
        assert_eq!(
            report(&[&whole]).none_fitted(),
            ["shop.sales", "shop.shops"]
        );
        let other = PipelineReport::default();
        let error = Error::protocol("torn").hint("Ask them.");
        whole.failed.push(FailedSlice::of("sales/7", &error));
        assert!(report(&[&other, &whole]).is_partial() && !report(&[&other]).is_partial());
        let failed = &whole.failed[0];
        assert_eq!(
            (failed.slice.as_str(), failed.hint.as_deref()),
            ("sales/7", Some("Ask them."))
        );
        assert!(failed.error.contains("torn"));
    }

    #[test]
    fn what_unify_did_is_added_up_by_table() {
        let mut report = PipelineReport::default();
        for (added, removed, warnings) in [(3, 1, 2), (4, 0, 0)] {
            let counts = UnifiedRowCounts { added, removed };
            report.take(UnifyTotals {
                tables: BTreeMap::from([("articles".to_owned(), counts)]),
                warnings,
            });
        }
        let UnifiedRowCounts { added, removed } = report.unified["articles"];
        assert_eq!((added, removed, report.warnings), (7, 1, 2));
    }
}
