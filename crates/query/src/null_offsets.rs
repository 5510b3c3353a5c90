//! `lag(x, NULL)` and `lead(x, NULL)`, which give nothing.
//!
//! Invariant: as in PostgreSQL a row that is nobody knows how far away has no value, nor one that stands in for it; DataFusion takes the current row.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable, WindowFunctionDefinition};

/// The rewrite.
#[derive(Debug)]
pub(crate) struct NullOffsets;

impl FunctionRewrite for NullOffsets {
    fn name(&self) -> &'static str {
        "null_offsets"
    }

    fn rewrite(
        &self,
        mut expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let Expr::WindowFunction(call) = &mut expr else {
            return Ok(Transformed::no(expr));
        };
        let is_shift = matches!(
            &call.fun,
            WindowFunctionDefinition::WindowUDF(fun) if matches!(fun.name(), "lag" | "lead")
        );
        let args = &mut call.params.args;
        if !is_shift || !args.get(1).is_some_and(is_null) {
            return Ok(Transformed::no(expr));
        }
        // Without an offset it is the same again, and stays so.
        let of_type = args
            .first()
            .map(|value| value.get_type(schema))
            .transpose()?;
        let nothing = of_type
            .as_ref()
            .map(ScalarValue::try_new_null)
            .transpose()?;
        *args = nothing
            .map(|null| Expr::Literal(null, None))
            .into_iter()
            .collect();
        Ok(Transformed::yes(expr))
    }
}

/// True for NULL, with a type or without.
fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => value.is_null(),
        Expr::Cast(cast) => is_null(&cast.expr),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::column;

    #[tokio::test]
    async fn a_row_that_is_nobody_knows_how_far_away_has_no_value() {
        let rows = "(VALUES (1), (2), (3)) AS v(x)";
        for (call, expected) in [
            ("lag(x, NULL)", "  "),
            ("lead(x, CAST(NULL AS INT))", "  "),
            ("lag(x, NULL, 7)", "  "),
            ("lag(x, 1, 7)", "7 1 2"),
        ] {
            let sql = format!("SELECT {call} OVER (ORDER BY x) AS a FROM {rows} ORDER BY x");
            assert_eq!(column(&sql).await, expected, "{sql}");
        }
    }
}
