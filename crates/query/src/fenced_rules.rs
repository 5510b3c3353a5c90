//! A rule for the steps of a plan, with fences before what it may not move past.
//!
//! Invariant: the fences stand while the rule runs, and none is left behind it.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

/// A step in the place of another one; `None` where that stays.
type Replacement = fn(&Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>>;

/// The rule.
#[derive(Debug)]
pub(crate) struct FencedRule {
    pub(crate) rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
    /// The fence above a step that needs one.
    pub(crate) with_fence: Replacement,
    /// The step below a fence, and what else the rule has left to be put right.
    pub(crate) without_fence: Replacement,
}

impl PhysicalOptimizerRule for FencedRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let fenced = replaced(plan, self.with_fence)?;
        let moved = self.rule.optimize(fenced, config)?;
        replaced(moved, self.without_fence)
    }

    fn name(&self) -> &str {
        self.rule.name()
    }

    fn schema_check(&self) -> bool {
        self.rule.schema_check()
    }
}

/// A plan with other steps in the places of some.
pub(crate) fn replaced(
    plan: Arc<dyn ExecutionPlan>,
    replacement: Replacement,
) -> Result<Arc<dyn ExecutionPlan>> {
    let done = plan.transform_up(|step| {
        Ok(match replacement(&step) {
            Some(other) => Transformed::yes(other),
            None => Transformed::no(step),
        })
    })?;
    Ok(done.data)
}
