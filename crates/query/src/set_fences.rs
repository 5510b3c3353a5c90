//! Groupings of several sets of columns, which no order, no constant and no equality of the rows below is taken past.
//!
//! Invariant: `GROUP BY ROLLUP (g)` has a row of its own where `g` is null, whatever is known of `g` in the rows below: that it is always 1, that it is another column, that rows are sorted by it.
//! DataFusion 55.2 takes all that over to the groups: it leaves the order by `g` out, and frames of windows hold rows of other values.
//!
//! ```text
//!   Sort g@0                           is needed: nothing is known of g
//!     set fence                        no order, no constants, no equal columns, parts of any rows
//!       Aggregate: ROLLUP (g)          says that g is 1
//!         Projection: 1 AS g
//! ```
//!
//! A fence stays in a plan, where it hands on batches as they are. It is away for as long as two steps of a grouping are made one.

use crate::fenced_rules::{FencedRule, replaced};
use crate::one_input::one_input;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter_pushdown::{FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties, StatisticsArgs,
};
use std::fmt;
use std::sync::Arc;

/// The rule that makes two steps of a grouping one.
const COMBINING: &str = "CombinePartialFinalAggregate";

/// The rule that puts up the fences, before all others.
#[derive(Debug)]
pub(crate) struct SetFences;

impl PhysicalOptimizerRule for SetFences {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, with_fence)
    }

    fn name(&self) -> &'static str {
        "set_fences"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A rule of the engine; the one that makes two steps of a grouping one, without the fences between them.
pub(crate) fn mended(
    rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
) -> Arc<dyn PhysicalOptimizerRule + Send + Sync> {
    match rule.name() {
        COMBINING => Arc::new(FencedRule {
            rule,
            with_fence: without_fence,
            without_fence: with_fence,
        }),
        _ => rule,
    }
}

/// The fence above a grouping of several sets.
fn with_fence(step: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let groups = step.downcast_ref::<AggregateExec>()?;
    groups
        .group_expr()
        .has_grouping_set()
        .then(|| SetFenceExec::above(Arc::clone(step)))
}

fn without_fence(step: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let fence = step.downcast_ref::<SetFenceExec>()?;
    Some(Arc::clone(&fence.input))
}

/// The rows of its input, of which nothing is known.
#[derive(Debug)]
struct SetFenceExec {
    input: Arc<dyn ExecutionPlan>,
    unknown: Arc<PlanProperties>,
}

impl SetFenceExec {
    fn above(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let parts = input.output_partitioning().partition_count();
        let unknown = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(parts),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Arc::new(Self {
            input,
            unknown: Arc::new(unknown),
        })
    }

    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Self::above(input)
    }
}

impl DisplayAs for SetFenceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for SetFenceExec {
    fn name(&self) -> &'static str {
        "SetFence"
    }

    one_input!(input, properties: unknown);

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let known = inputs.first().cloned();
        Ok(known.unwrap_or_else(|| Arc::new(Statistics::new_unknown(&self.schema()))))
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(parent_filters, &self.children())
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::column;

    #[tokio::test]
    async fn what_is_known_of_a_column_is_not_known_of_its_groups() {
        for (sql, expected) in [
            (
                "SELECT coalesce(g::text, 'all') FROM (SELECT 1 AS g, x FROM (VALUES (1), (2)) v(x)) q GROUP BY ROLLUP (g) ORDER BY g",
                "1 all",
            ),
            (
                "SELECT coalesce(g::text, 'all') FROM (SELECT 1 AS g, x FROM (VALUES (1), (2)) v(x)) q GROUP BY CUBE (g) ORDER BY g DESC",
                "all 1",
            ),
            (
                "SELECT coalesce((max(code) OVER (ORDER BY code RANGE BETWEEN CURRENT ROW AND CURRENT ROW))::text, 'all') FROM (SELECT 2 AS code FROM (VALUES (1), (2)) v(x)) q GROUP BY ROLLUP (code) ORDER BY code",
                "2 all",
            ),
            (
                "SELECT coalesce(a::text, '-') || coalesce(b::text, '-') FROM (SELECT x AS a, x AS b FROM (VALUES (2), (1)) v(x)) q GROUP BY GROUPING SETS ((a), (b)) ORDER BY a, b",
                "1- 2- -1 -2",
            ),
            (
                "SELECT coalesce(x::text, 'all') FROM (SELECT x FROM (VALUES (2), (1), (3)) v(x) ORDER BY x LIMIT 2) q GROUP BY ROLLUP (x) ORDER BY x",
                "1 2 all",
            ),
            (
                "SELECT (row_number() OVER (ORDER BY g NULLS FIRST))::text || coalesce(g::text, 'all') FROM (SELECT 1 AS g FROM (VALUES (1), (2)) v(x)) q GROUP BY ROLLUP (g) ORDER BY 1",
                "1all 21",
            ),
        ] {
            assert_eq!(column(sql).await, expected, "{sql}");
        }
    }
}
