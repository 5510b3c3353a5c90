//! Truth values in `concat` and `concat_ws`, which are `t` and `f` there.
//!
//! Invariant: as in PostgreSQL, which joins values as it prints them, and casts them, with `||` as with CAST, to `true` and `false`. DataFusion does the latter
//! everywhere.

use crate::typed_rewrite::rewrite_expressions;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Case, Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;

/// The rule. It comes before types are coerced.
#[derive(Debug)]
pub(crate) struct TruthTexts;

impl AnalyzerRule for TruthTexts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| match expr {
            Expr::ScalarFunction(call) if matches!(call.func.name(), "concat" | "concat_ws") => {
                with_letters(call, schema)
            }
            other => Transformed::no(other),
        })
    }

    fn name(&self) -> &'static str {
        "truth_texts"
    }
}

fn with_letters(mut call: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let mut is_changed = false;
    for arg in &mut call.args {
        if matches!(arg.get_type(schema), Ok(DataType::Boolean)) {
            *arg = letter(std::mem::take(arg));
            is_changed = true;
        }
    }
    let call = Expr::ScalarFunction(call);
    if is_changed {
        Transformed::yes(call)
    } else {
        Transformed::no(call)
    }
}

/// `t`, `f`, or null.
fn letter(of: Expr) -> Expr {
    let letter = |truth: bool, letter: &str| (Box::new(lit(truth)), Box::new(lit(letter)));
    Expr::Case(Case {
        expr: Some(Box::new(of)),
        when_then_expr: vec![letter(true, "t"), letter(false, "f")],
        else_expr: None,
    })
}
