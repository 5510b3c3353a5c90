//! `coalesce(coalesce(a, b), c)` as `coalesce(a, b, c)`, and `nvl` and `ifnull` as `coalesce`.
//!
//! Invariant: the first value that is not null is the same. DataFusion makes a CASE of each call, in which all its values but the last stand twice: thirty within each other
//! would come to a thousand million. Its `nvl` makes a float of a decimal beside a whole number.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::functions::core::coalesce;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;

/// The functions that give the first value that is not null.
const CHOICES: [&str; 3] = ["coalesce", "nvl", "ifnull"];

/// The rewrite. It comes before types are coerced, so that all values of a call are brought to one type at once.
#[derive(Debug)]
pub(crate) struct FlatChoices;

impl FunctionRewrite for FlatChoices {
    fn name(&self) -> &'static str {
        "flat_choices"
    }

    fn rewrite(&self, expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::ScalarFunction(call) if is_rewritten(&call) => {
                let mut values = Vec::new();
                for value in call.args {
                    match value {
                        Expr::ScalarFunction(inner) if is_choice(&inner) => {
                            values.extend(inner.args);
                        }
                        other => values.push(other),
                    }
                }
                let call = ScalarFunction::new_udf(coalesce(), values);
                Transformed::yes(Expr::ScalarFunction(call))
            }
            other => Transformed::no(other),
        })
    }
}

fn is_choice(call: &ScalarFunction) -> bool {
    CHOICES.contains(&call.func.name())
}

fn is_rewritten(call: &ScalarFunction) -> bool {
    let holds_one = |value: &Expr| matches!(value, Expr::ScalarFunction(call) if is_choice(call));
    is_choice(call) && (call.func.name() != CHOICES[0] || call.args.iter().any(holds_one))
}
