//! `x IS TRUE`, `IS UNKNOWN` and their like, in a form of which planning and running think the same.
//!
//! Invariant: what such a test gives does not change. DataFusion plans them as never null and runs them as comparisons that it takes for null at times; an aggregate over
//! a column of one, which a condition that is used twice becomes, is refused as a fault of the engine then. So they are comparisons from the beginning.

use crate::typed_rewrite::{rewrite_expressions, rewrite_step};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, binary_expr, lit};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};

/// The rule. It comes after types are coerced, and once more after DataFusion has put tests of its own into a plan: ON of a LEFT JOIN LATERAL becomes one for each column.
#[derive(Debug)]
pub(crate) struct TruthTests;

impl AnalyzerRule for TruthTests {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, _| as_comparison(expr))
    }

    fn name(&self) -> &'static str {
        "truth_tests"
    }
}

impl OptimizerRule for TruthTests {
    fn name(&self) -> &'static str {
        "truth_tests"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let has_tests = |expr: &Expr| expr.exists(|expr| Ok(is_truth_test(expr)));
        let plan = rewrite_step(plan, has_tests, as_comparison)?;
        if plan.transformed {
            plan.map_data(LogicalPlan::recompute_schema)
        } else {
            Ok(plan)
        }
    }
}

fn is_truth_test(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
    )
}

fn as_comparison(expr: Expr) -> Transformed<Expr> {
    let (of, operator, value) = match expr {
        Expr::IsTrue(of) => (of, Operator::IsNotDistinctFrom, true),
        Expr::IsNotTrue(of) => (of, Operator::IsDistinctFrom, true),
        Expr::IsFalse(of) => (of, Operator::IsNotDistinctFrom, false),
        Expr::IsNotFalse(of) => (of, Operator::IsDistinctFrom, false),
        Expr::IsUnknown(of) => return Transformed::yes(Expr::IsNull(of)),
        Expr::IsNotUnknown(of) => return Transformed::yes(Expr::IsNotNull(of)),
        other => return Transformed::no(other),
    };
    Transformed::yes(binary_expr(*of, operator, lit(value)))
}
