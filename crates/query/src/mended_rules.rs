//! The engine's own rules for plans, of which some give other rows than were asked for, and those rules as they are used here.
//!
//! Invariant: a rule that is known to change what a query gives is held to the plans for which it does not, or is left out. All are DataFusion 55.2's; each is named where it is
//! mended, so that it can be taken as it is again once it is right.
//!
//! | rule | what it did | here |
//! |---|---|---|
//! | `optimize_projections` | left out one of two projections with equal expressions | [`crate::nested_projections`] |
//! | `simplify_expressions` | took `x IN (1) AND x IN (2)` for false where x is null, also below NOT | [`crate::list_tests`] |
//! | `extract_leaf_expressions`, `push_down_leaf_projections` | read a column where a computed one had its name | [`crate::leaf_columns`] |
//! | `push_down_filter` | asked conditions without columns below an aggregate of all rows | [`crate::kept_conditions`] |
//! | `EnsureRequirements` | gave a sort the limit of a subquery whose rows are skipped, or left its order out; sorted the sides of a union by less than they are merged by | [`crate::skipped_rows`] |
//! | `LimitAggregation` | cut off groups below a window, and by a column that is called as a group | left out, by its setting |
//! | `FilterPushdown`, of aggregates | passed over files by a column's `min`, though `min` of an expression stood beside it | left out, by its setting |

use crate::kept_conditions;
use crate::leaf_columns;
use crate::list_tests;
use crate::nested_projections;
use datafusion::common::config::ConfigOptions;
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::optimizer::Optimizer;
use std::sync::Arc;

/// DataFusion's rules for logical plans.
pub(crate) fn mended_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let rules = Optimizer::new().rules.into_iter();
    rules
        .map(nested_projections::mended)
        .map(list_tests::mended)
        .map(leaf_columns::mended)
        .map(kept_conditions::mended)
        .collect()
}

/// Turns off the rules that are left out.
pub(crate) fn leave_out(options: &mut ConfigOptions) {
    options.optimizer.enable_topk_aggregation = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_that_are_mended_are_there() {
        let rules = mended_rules();
        for name in [
            nested_projections::MERGING,
            list_tests::SIMPLIFYING,
            leaf_columns::EXTRACTING,
            leaf_columns::PUSHING,
            kept_conditions::MOVING,
        ] {
            let found = rules.iter().filter(|rule| rule.name() == name);
            assert!(found.count() >= 1, "{name}");
        }
        assert_eq!(rules.len(), Optimizer::new().rules.len());
    }
}
