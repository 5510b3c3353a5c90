//! Unify: the records whose newest version is new, through the pipeline's SQL, into the unified tables.
//!
//! ```text
//!   streaming   landing --rows it just wrote---------------------+
//!   catch_up    source tables, _load_id in (done, target],       +--> unify/<table>.sql --> rows of the contract
//!               with children and without -----------------------+      --> remove the records' old rows, add these, move `done`: one commit
//! ```
//!
//! Invariant: every unified table moves from one package number to a higher one in a single commit that also remembers the number, its own or, where
//! no row of it changes, that of its carrier. So a step that was interrupted is simply taken again, by `catch_up`. A result that does not fit its contract is refused before any
//! request.

mod ahead;
mod catch_up;
mod changes;
mod child_counts;
mod children;
mod key_ranges;
mod lookup;
mod misfits;
mod omitted;
mod orphans;
mod pinned_source;
mod rows;
mod running_statements;
mod statement;
mod step_packages;
mod step_parents;
mod streaming;
mod versions;

pub(crate) use ahead::ahead_of_source;
pub(crate) use child_counts::check_counts;
pub(crate) use rows::instant;
pub use statement::{CheckedStatements, check, rows_of_statement};
pub(crate) use streaming::StreamingUnify;

use crate::config::Pipeline;
use crate::context::RunContext;
use statement::UnifyStatement;
use std::collections::BTreeMap;
use tillhouse_lake::{PackageInfo, ReplaceSummary};
use tillhouse_model::Result;

/// Most record versions that one step takes: bounds what a step has to remember.
const STEP_RECORDS: u64 = 400_000;

/// Rows that unify added to and removed from one table.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct UnifiedRowCounts {
    /// Rows that are new.
    pub added: u64,
    /// Rows that were replaced or removed.
    pub removed: u64,
}

/// Totals of a unify run, by table.
#[derive(Debug, Default)]
pub(crate) struct UnifyTotals {
    /// By table.
    pub(crate) tables: BTreeMap<String, UnifiedRowCounts>,
    /// Derived values that did not fit their columns.
    pub(crate) warnings: u64,
}

/// Outcome of one statement in one step.
#[derive(Debug)]
struct StatementOutcome {
    table: String,
    unified: UnifiedRowCounts,
    warnings: u64,
}

impl StatementOutcome {
    fn of(table: &str, replaced: &ReplaceSummary, warnings: u64) -> Self {
        let unified = UnifiedRowCounts {
            added: replaced.rows_added,
            removed: replaced.rows_removed,
        };
        Self {
            table: table.to_owned(),
            unified,
            warnings,
        }
    }
}

impl UnifyTotals {
    fn add(&mut self, done: impl IntoIterator<Item = StatementOutcome>) {
        for StatementOutcome {
            table,
            unified,
            warnings,
        } in done
        {
            let total = self.tables.entry(table).or_default();
            total.added += unified.added;
            total.removed += unified.removed;
            self.warnings += warnings;
        }
    }
}

/// Takes every unified table of a pipeline to the newest package of the resources it is made of.
///
/// Errors as the lake and the SQL do; tables already done stay done.
pub(crate) async fn bring_up_to_date(
    context: &RunContext,
    pipeline: &Pipeline,
    CheckedStatements(all): &CheckedStatements,
    run_id: &str,
    totals: &mut UnifyTotals,
) -> Result<()> {
    for plan in &pipeline.resources {
        let mine = all.iter().filter(|s| s.resource == plan.resource.name);
        let mine: Vec<&UnifyStatement> = mine.collect();
        if !mine.is_empty() {
            catch_up::unify(context, pipeline, plan, mine, run_id, totals).await?;
        }
    }
    Ok(())
}

/// Cuts the packages after `start` into steps of a bounded number of records.
fn steps(packages: &[PackageInfo], start: i64) -> Vec<(i64, i64)> {
    let mut steps = Vec::new();
    let (mut after, mut last, mut records) = (start, start, 0);
    for package in packages.iter().filter(|p| p.load_id > start) {
        if records > 0 && records + package.records > STEP_RECORDS {
            steps.push((after, last));
            (after, records) = (last, 0);
        }
        records += package.records;
        last = package.load_id;
    }
    if last > after {
        steps.push((after, last));
    }
    steps
}

#[cfg(test)]
mod lost_commits_tests;
#[cfg(test)]
mod other_process_tests;
#[cfg(test)]
mod scripted_statements;

#[cfg(test)]
mod tests {
    use super::*;

    fn package(land: i64, records: u64) -> PackageInfo {
        PackageInfo {
            load_id: land,
            records,
            bytes: 0,
        }
    }

    #[test]
    fn steps_are_bounded_and_skip_nothing() {
        let packages = [
            package(1, 300_000),
            package(2, 50_000),
            package(3, 300_000),
            package(4, 900_000),
            package(5, 1),
        ];
        assert_eq!(steps(&packages, 0), vec![(0, 2), (2, 3), (3, 4), (4, 5)]);
        assert_eq!(steps(&packages, 2), vec![(2, 3), (3, 4), (4, 5)]);
        assert_eq!(steps(&packages, 5), vec![]);
    }
}
