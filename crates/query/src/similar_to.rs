//! `SIMILAR TO` as the SQL standard and PostgreSQL have it.
//!
//! Invariant: a pattern is compared with the whole text; `%` is any text and `_` any character, `| * + ? {m,n} ( ) [ ]` are the standard's, and every other
//! character stands for itself. DataFusion takes the pattern for a regular expression that may match anywhere in the text.

use crate::functions::SimilarTo;
use crate::typed_rewrite::rewrite_expressions;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::{Like, ScalarFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF, cast, lit, not};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// Replaces the operator by a function.
#[derive(Debug)]
pub(crate) struct StandardPatterns {
    function: Arc<ScalarUDF>,
}

impl StandardPatterns {
    pub(crate) fn new() -> Self {
        Self {
            function: Arc::new(SimilarTo::function()),
        }
    }
}

impl AnalyzerRule for StandardPatterns {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, _| match expr {
            Expr::SimilarTo(Like {
                negated,
                expr,
                pattern,
                escape_char,
                case_insensitive: _,
            }) => {
                let escape = escape_char.map_or_else(|| "\\".to_owned(), String::from);
                let args = vec![
                    cast(*expr, DataType::Utf8),
                    cast(*pattern, DataType::Utf8),
                    lit(ScalarValue::Utf8(Some(escape))),
                ];
                let call =
                    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&self.function), args));
                Transformed::yes(if negated { not(call) } else { call })
            }
            other => Transformed::no(other),
        })
    }

    fn name(&self) -> &'static str {
        "standard_patterns"
    }
}
