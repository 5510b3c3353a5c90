//! `max` and `min` over windows, whose results are in no order that anybody may count on.
//!
//! Invariant: rows that are sorted by a window's greatest or least value are sorted by it. DataFusion 55.2 takes `max(x) OVER (ORDER BY y)` for sorted already, and is wrong about
//! where its nulls are: before the first value there is none.

use crate::stand_in::stand_in;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, WindowFunctionDefinition,
};
use std::sync::Arc;

/// The rewrite.
#[derive(Debug)]
pub(crate) struct WindowExtremes;

impl FunctionRewrite for WindowExtremes {
    fn name(&self) -> &'static str {
        "window_extremes"
    }

    fn rewrite(&self, expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::WindowFunction(mut call) = expr else {
            return Ok(Transformed::no(expr));
        };
        let WindowFunctionDefinition::AggregateUDF(inner) = &call.fun else {
            return Ok(Transformed::no(Expr::WindowFunction(call)));
        };
        let is_extreme = matches!(inner.name(), "max" | "min")
            && inner.inner().downcast_ref::<UnorderedExtreme>().is_none();
        if !is_extreme {
            return Ok(Transformed::no(Expr::WindowFunction(call)));
        }
        let extreme = UnorderedExtreme {
            inner: Arc::clone(inner),
        };
        let extreme = Arc::new(AggregateUDF::new_from_impl(extreme));
        call.fun = WindowFunctionDefinition::AggregateUDF(extreme);
        Ok(Transformed::yes(Expr::WindowFunction(call)))
    }
}

/// An extreme that says nothing of the order of its results: otherwise the function that it stands for.
#[derive(Debug, PartialEq, Eq, Hash)]
struct UnorderedExtreme {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for UnorderedExtreme {
    stand_in!(inner);

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_udf()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn set_monotonicity(&self, _: &DataType) -> SetMonotonicity {
        SetMonotonicity::NotMonotonic
    }
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::column;

    #[tokio::test]
    async fn rows_are_sorted_by_the_extremes_of_windows_nulls_and_all() {
        for (query, expected) in [
            (
                "SELECT max(x) OVER (ORDER BY y) AS m FROM (VALUES (NULL, 1), (2, 2)) AS v(x, y) ORDER BY m",
                "2 ",
            ),
            (
                "SELECT max(x) OVER (ORDER BY y ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS m FROM (VALUES (1, 1), (2, 2)) AS v(x, y) ORDER BY m",
                "1 ",
            ),
            (
                "SELECT min(x) OVER (ORDER BY y ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS m FROM (VALUES (1, 1), (NULL, 2)) AS v(x, y) ORDER BY m NULLS FIRST",
                " 1",
            ),
            (
                "SELECT min(x) OVER (ORDER BY y) AS m FROM (VALUES (NULL, 1), (3, 2), (2, 3)) AS v(x, y) ORDER BY m DESC NULLS LAST",
                "3 2 ",
            ),
            (
                "SELECT max(x) OVER (PARTITION BY p ORDER BY y) AS m FROM (VALUES (1, 5, 1), (1, 7, 2), (2, NULL, 1), (2, 6, 2)) AS v(p, x, y) ORDER BY m",
                "5 6 7 ",
            ),
        ] {
            assert_eq!(column(query).await, expected, "{query}");
        }
    }
}
