//! The engine's own rules for plans, of which some give other rows than were asked for, and those rules as they are used here.
//!
//! Invariant: a rule that is known to change what a query gives is held to the plans for which it does not, or is left out. All are DataFusion 55.2's; each is named where it is
//! mended, so that it can be taken as it is again once it is right.
//!
//! | rule | what it did | here |
//! |---|---|---|
//! | `optimize_projections` | left out one of two projections with equal expressions | [`crate::nested_projections`] |
//! | `optimize_projections`, `common_sub_expression_eliminate` | took a window away whose columns the steps above it still counted, and minded | [`crate::fresh_schemas`] |
//! | `optimize_projections` | left no column of rows that are sorted and cut off, which then failed | [`crate::columnless_sorts`] |
//! | `simplify_expressions` | took `x IN (1) AND x IN (2)` for false where x is null, also below NOT | [`crate::list_tests`] |
//! | `extract_leaf_expressions`, `push_down_leaf_projections` | read a column where a computed one had its name | [`crate::leaf_columns`] |
//! | `push_down_filter` | asked conditions without columns below an aggregate of all rows, and `random()` of other rows than it was written for | [`crate::kept_conditions`] |
//! | `propagate_empty_relation` | took the columns of the one query of a set operation that has rows by their names, and not by their places | [`crate::union_columns`] |
//! | `decorrelate_lateral_join` | left a LATERAL query that asks nothing of the rows before as one to be asked for each | [`crate::independent_laterals`] |
//! | `EnsureRequirements` | gave a sort the limit of a subquery whose rows are skipped, or left its order out; sorted the sides of a union by less than they are merged by | [`crate::skipped_rows`] |
//! | `LimitAggregation` | cut off groups below a window, and by a column that is called as a group | left out, by its setting |
//! | `FilterPushdown`, of aggregates | passed over files by a column's `min`, though `min` of an expression stood beside it | left out, by its setting |

use crate::columnless_sorts;
use crate::fresh_schemas;
use crate::independent_laterals;
use crate::kept_conditions;
use crate::leaf_columns;
use crate::list_tests;
use crate::nested_projections;
use crate::union_columns;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The work of a rule as it is done here: around the rule's own.
type Rewrite =
    fn(&dyn OptimizerRule, LogicalPlan, &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>>;

/// The rules for logical plans that are mended, by name; of two for one rule the later stands around the earlier.
const MENDED: [(&str, Rewrite); 10] = [
    (nested_projections::MERGING, nested_projections::told_apart),
    (list_tests::SIMPLIFYING, list_tests::over_tests_apart),
    (leaf_columns::EXTRACTING, leaf_columns::by_name),
    (leaf_columns::PUSHING, leaf_columns::by_name),
    (kept_conditions::MOVING, kept_conditions::kept_above),
    (fresh_schemas::LEAVING_OUT, fresh_schemas::told_anew),
    (fresh_schemas::SHARING, fresh_schemas::told_anew),
    (fresh_schemas::LEAVING_OUT, columnless_sorts::without_orders),
    (union_columns::EMPTYING, union_columns::by_place),
    (
        independent_laterals::JOINING,
        independent_laterals::joined_as_they_are,
    ),
];

/// DataFusion's rules for logical plans.
pub(crate) fn mended_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    Optimizer::new().rules.into_iter().map(mended).collect()
}

/// A rule of the engine, as it is used here.
fn mended(rule: Arc<dyn OptimizerRule + Send + Sync>) -> Arc<dyn OptimizerRule + Send + Sync> {
    let mut used = rule;
    for (name, rewrite) in MENDED {
        if name == used.name() {
            let rule = used;
            used = Arc::new(Mended { rule, rewrite });
        }
    }
    used
}

/// A rule that is mended.
#[derive(Debug)]
struct Mended {
    rule: Arc<dyn OptimizerRule + Send + Sync>,
    rewrite: Rewrite,
}

impl OptimizerRule for Mended {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        (self.rewrite)(self.rule.as_ref(), plan, config)
    }
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
        for (name, _) in MENDED {
            let found = rules.iter().filter(|rule| rule.name() == name);
            assert!(found.count() >= 1, "{name}");
        }
        assert_eq!(rules.len(), Optimizer::new().rules.len());
    }
}
