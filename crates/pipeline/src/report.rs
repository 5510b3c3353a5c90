//! Report of a run: counts by pipeline, and the slices that failed.
//!
//! Invariant: every slice that was planned is counted as read or named as failed; a failed one is for the next run to take up.

use crate::lease::LeaseHolder;
use crate::unify::{UnifiedRowCounts, UnifyTotals};
use std::collections::BTreeMap;
use tillhouse_model::Error;

/// Report of a run, by pipeline.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct RunReport {
    /// The run's id.
    pub run: String,
    /// One entry a pipeline, in the order in which they were asked for.
    pub pipelines: Vec<PipelineReport>,
    /// Pipelines that were left out, since another run of them is under way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedPipeline>,
    /// True if the result was published.
    pub published: bool,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// Pipeline that was left out.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SkippedPipeline {
    /// The pipeline's name.
    pub pipeline: String,
    /// The run that writes it.
    pub running: LeaseHolder,
}

/// Failure of a pipeline as a whole.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PipelineFailure {
    /// Reason.
    pub error: String,
    /// Hint, where more can be said than that the next run takes it up.
    pub hint: Option<String>,
}

/// Report on one pipeline of a run.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct PipelineReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// Failure that ended its part of the run; the other pipelines went on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<PipelineFailure>,
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
    /// Records that came with other content than what stays of them, since they name an earlier change; each has a warning (`older_change`).
    #[serde(skip_serializing_if = "is_none")]
    pub passed_over: u64,
    /// Records of windows that were read again that did not come again; each has a warning (`not_listed_again`). They are looked for by the first sync of a
    /// UTC day, by `--from`, `--to` and `--full`.
    #[serde(skip_serializing_if = "is_none")]
    pub not_listed_again: u64,
    /// Records that came, rejects included; one that came with two windows counts once.
    pub records: u64,
    /// Records that did not fit their contract.
    pub rejects: u64,
    /// Rejects that are open after the run, of this run and of earlier ones; counted where this run had some.
    pub open_rejects: u64,
    /// The resources of which records were listed and none fitted its contract; what was asked for by its id does not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub none_fitted: Vec<String>,
    /// Values that were rounded or could not be read, and quality rules that did not hold.
    pub warnings: u64,
    /// Unified rows added and removed, by table.
    pub unified: BTreeMap<String, UnifiedRowCounts>,
}

/// True if a count is not worth naming.
pub(crate) fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A slice that failed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FailedSlice {
    /// Its name.
    pub slice: String,
    /// Reason.
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
    /// Adds what came of one resource.
    pub(crate) fn absorb(&mut self, part: Self) {
        let Self {
            pipeline: _,
            failure: _,
            slices,
            failed,
            followed,
            new,
            changed,
            unchanged,
            passed_over,
            not_listed_again,
            records,
            rejects,
            open_rejects: _,
            none_fitted,
            warnings,
            unified,
        } = part;
        self.slices += slices;
        self.failed.extend(failed);
        self.followed += followed;
        self.new += new;
        self.changed += changed;
        self.unchanged += unchanged;
        self.passed_over += passed_over;
        self.not_listed_again += not_listed_again;
        self.records += records;
        self.rejects += rejects;
        self.none_fitted.extend(none_fitted);
        self.take(UnifyTotals {
            tables: unified,
            warnings,
        });
    }

    /// Names the error that ended the pipeline's part of the run.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.failure = Some(PipelineFailure {
            error: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
        });
    }

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
    /// True if some slices or pipelines failed.
    pub fn is_partial(&self) -> bool {
        let is_partial = |p: &PipelineReport| p.failure.is_some() || !p.failed.is_empty();
        self.pipelines.iter().any(is_partial)
    }

    /// The resources of which records were listed and none fitted its contract, as `pipeline.resource`. Other resources' records are no comfort:
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
    fn a_pipeline_that_failed_makes_a_run_partial_whatever_was_read_before() {
        let mut report = PipelineReport::default();
        report.absorb(PipelineReport {
            slices: 2,
            new: 3,
            warnings: 1,
            ..PipelineReport::default()
        });
        report.fail(&Error::protocol("torn").hint("Ask them."));
        let run = RunReport {
            pipelines: vec![report.clone()],
            ..RunReport::default()
        };
        assert!(run.is_partial());
        assert_eq!((report.slices, report.new, report.warnings), (2, 3, 1));
        let failure = report.failure.unwrap();
        assert!(failure.error.contains("torn"));
        assert_eq!(failure.hint.as_deref(), Some("Ask them."));
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
