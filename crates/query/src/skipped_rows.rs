//! Rows that a query skips by OFFSET, in an order that is asked of them, and the first rows of several parts.
//!
//! Invariant: `(SELECT ... ORDER BY a LIMIT 4 OFFSET 3)` has the same four rows whatever order is asked of them around it, and `OFFSET 3` alone skips the first three of its own order.
//! DataFusion 55.2 sorts such a subquery's rows by the order around it before they are skipped, keeps four in place of seven, and drops the order of a subquery that only skips.
//!
//! And the first rows of a union are those of the whole order: it sorts each side by what is not the same in all of its rows, and takes the first by that alone, of all sides together.
//!
//! So a limit with OFFSET has a fence above it while orders are moved, and one that only skips keeps all rows that there can be, by a number: an order with a number of rows is not dropped.
//! And parts whose first rows are merged are sorted by all that they are merged by.

use crate::fenced_rules::FencedRule;
use crate::one_input::one_input;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{FetchType, Limit, LogicalPlan, SkipType, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use std::fmt;
use std::sync::Arc;

/// The rule that moves orders.
const ORDERING: &str = "EnsureRequirements";

/// A rule of the engine; the one that moves orders, so that it moves none past rows that are skipped.
pub(crate) fn mended(
    rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
) -> Arc<dyn PhysicalOptimizerRule + Send + Sync> {
    match rule.name() {
        ORDERING => Arc::new(FencedRule {
            rule,
            with_fence,
            without_fence,
        }),
        _ => rule,
    }
}

/// The fence above rows that are skipped.
fn with_fence(step: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let limit = step.downcast_ref::<GlobalLimitExec>()?;
    let input = Arc::clone(step);
    (limit.skip() > 0).then(|| Arc::new(OrderFenceExec { input }) as Arc<dyn ExecutionPlan>)
}

/// The step below a fence, or parts that are wholly sorted.
fn without_fence(step: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    match step.downcast_ref::<OrderFenceExec>() {
        Some(fence) => Some(Arc::clone(&fence.input)),
        None => wholly_sorted(step),
    }
}

/// Parts that are merged by more than the first rows of each are sorted by, with these sorted by all of it. `None` for any other step.
fn wholly_sorted(step: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let merge = step.downcast_ref::<SortPreservingMergeExec>()?;
    let sort = merge.input().downcast_ref::<SortExec>()?;
    if sort.fetch().is_none() || sort.expr().len() >= merge.expr().len() {
        return None;
    }
    let whole = SortExec::new(merge.expr().clone(), Arc::clone(sort.input()))
        .with_fetch(sort.fetch())
        .with_preserve_partitioning(sort.preserve_partitioning());
    let merged = SortPreservingMergeExec::new(merge.expr().clone(), Arc::new(whole))
        .with_fetch(merge.fetch());
    Some(Arc::new(merged))
}

/// The rows of its input, in their order; no other order moves past it.
#[derive(Debug)]
struct OrderFenceExec {
    input: Arc<dyn ExecutionPlan>,
}

impl OrderFenceExec {
    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input })
    }
}

impl DisplayAs for OrderFenceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for OrderFenceExec {
    fn name(&self) -> &'static str {
        "OrderFence"
    }

    one_input!(input, maintains_input_order: false);

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}

/// Gives a number of rows to OFFSET without LIMIT.
#[derive(Debug)]
pub(crate) struct NumberedRest;

impl AnalyzerRule for NumberedRest {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let done = plan.transform_up_with_subqueries(|step| {
            let LogicalPlan::Limit(limit) = step else {
                return Ok(Transformed::no(step));
            };
            let (skip, fetch) = (limit.get_skip_type()?, limit.get_fetch_type()?);
            Ok(match (skip, fetch) {
                (SkipType::Literal(skip @ 1..), FetchType::Literal(None)) => {
                    let rest =
                        i64::MAX.saturating_sub_unsigned(u64::try_from(skip).unwrap_or(u64::MAX));
                    Transformed::yes(LogicalPlan::Limit(Limit {
                        fetch: Some(Box::new(lit(rest.max(0)))),
                        ..limit
                    }))
                }
                _ => Transformed::no(LogicalPlan::Limit(limit)),
            })
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "numbered_rest"
    }
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::{column, value};

    #[tokio::test]
    async fn skipped_rows_are_those_of_the_order_within() {
        let six = "(VALUES (1, 9), (2, 8), (3, 7), (4, 6), (5, 5), (6, 4)) AS t(a, b)";
        for (query, expected) in [
            (
                "SELECT a FROM (SELECT a, b FROM T ORDER BY a LIMIT 2 OFFSET 2) q ORDER BY a, b",
                "3 4",
            ),
            (
                "SELECT a FROM (SELECT a, b FROM T ORDER BY a LIMIT 2 OFFSET 2) q ORDER BY b",
                "4 3",
            ),
            (
                "SELECT a FROM (SELECT a, b FROM T ORDER BY a LIMIT 4 OFFSET 1) q ORDER BY b, a LIMIT 2",
                "5 4",
            ),
            (
                "SELECT a FROM (SELECT a, b FROM T ORDER BY a OFFSET 2 ROWS FETCH FIRST 3 ROWS ONLY) q ORDER BY a, b",
                "3 4 5",
            ),
            (
                "SELECT a FROM (SELECT a, b FROM T ORDER BY b DESC OFFSET 4) q ORDER BY a",
                "5 6",
            ),
            (
                "SELECT a FROM (SELECT a FROM T ORDER BY b OFFSET 4) q ORDER BY a",
                "1 2",
            ),
            (
                "SELECT a FROM T WHERE a IN (SELECT a FROM T ORDER BY b OFFSET 3) ORDER BY a",
                "1 2 3",
            ),
            (
                "SELECT count(*) OVER (ORDER BY a) FROM (SELECT a FROM T ORDER BY a LIMIT 4 OFFSET 2) q ORDER BY 1",
                "1 2 3 4",
            ),
            ("SELECT a FROM T ORDER BY b OFFSET 4", "2 1"),
            (
                "SELECT a FROM (SELECT * FROM (SELECT a, b FROM T ORDER BY b OFFSET 1) r ORDER BY a OFFSET 1) q ORDER BY b",
                "5 4 3 2",
            ),
        ] {
            let sql = query.replace("FROM T", &format!("FROM {six}"));
            assert_eq!(column(&sql).await, expected, "{query}");
        }
    }

    #[tokio::test]
    async fn the_first_rows_of_a_union_are_those_of_the_whole_order() {
        // The threads of the sides race for the first row.
        for _ in 0..20 {
            let sql = "SELECT string_agg(c || ':' || n, ' ') FROM (SELECT 0 AS c, 24 AS n UNION ALL SELECT y, 333 FROM (VALUES (0), (0)) AS v(y) ORDER BY 1, 2 LIMIT 2) AS q";
            assert_eq!(value(sql).await, "0:24 0:333");
        }
    }

    #[tokio::test]
    async fn groups_are_counted_before_some_are_left_out() {
        let rows = "(SELECT value % 40 AS g, value AS a FROM range(0, 400)) AS t";
        for (query, expected) in [
            (
                format!("SELECT count(*) OVER () FROM {rows} GROUP BY g ORDER BY g LIMIT 1"),
                "40",
            ),
            (
                format!(
                    "SELECT rank() OVER (ORDER BY g) FROM (SELECT DISTINCT g FROM {rows}) q ORDER BY g DESC LIMIT 1"
                ),
                "40",
            ),
            (
                format!("SELECT -g AS g FROM {rows} GROUP BY t.g ORDER BY g LIMIT 1"),
                "-39",
            ),
            (
                format!(
                    "SELECT g::text AS g FROM (SELECT DISTINCT g FROM {rows}) q ORDER BY g OFFSET 2 LIMIT 1"
                ),
                "10",
            ),
            (
                format!(
                    "SELECT count(*) OVER () FROM (SELECT g, min(a) AS least FROM {rows} GROUP BY g) q ORDER BY least LIMIT 1"
                ),
                "40",
            ),
        ] {
            assert_eq!(value(&query).await, expected, "{query}");
        }
    }
}
