//! Places and counts as `bigint`: `row_number()`, `rank()`, `dense_rank()`, `ntile(n)`, `cardinality(list)`, `array_length(list)`, `array_ndims(list)`, `array_position(list, element)`.
//!
//! Invariant: they give the numbers that the functions behind them give, of a type that has a sign, as all whole numbers in PostgreSQL do: `row_number() OVER () / 2` is a whole number,
//! `-rank() OVER ()` is one, and a place in a list takes one.

use arrow::array::ArrayRef;
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_window::ntile::ntile_udwf;
use datafusion::functions_window::rank::{dense_rank_udwf, rank_udwf};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, LimitEffect, PartitionEvaluator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use std::ops::Range;
use std::sync::Arc;

/// Functions of lists.
const LISTS: [&str; 4] = [
    "array_length",
    "array_ndims",
    "array_position",
    "cardinality",
];

/// The functions, out of those that a session knows.
pub(crate) fn functions(known: impl Fn(&str) -> Option<Arc<ScalarUDF>>) -> Vec<ScalarUDF> {
    let functions = LISTS.into_iter().filter_map(known);
    functions
        .map(|inner| ScalarUDF::new_from_impl(Signed { inner }))
        .collect()
}

/// The functions of windows.
pub(crate) fn windows() -> [WindowUDF; 4] {
    [
        row_number_udwf(),
        rank_udwf(),
        dense_rank_udwf(),
        ntile_udwf(),
    ]
    .map(|inner| WindowUDF::new_from_impl(SignedWindow { inner }))
}

/// A function whose numbers get a sign.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Signed {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Signed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unsigned = Field::clone(&args.return_field).with_data_type(DataType::UInt64);
        args.return_field = Arc::new(unsigned);
        let numbers = self.inner.invoke_with_args(args)?;
        numbers.cast_to(&DataType::Int64, None)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// A function of windows whose numbers get a sign.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SignedWindow {
    inner: Arc<WindowUDF>,
}

impl WindowUDFImpl for SignedWindow {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let inner = self.inner.inner().partition_evaluator(args)?;
        Ok(Box::new(SignedEvaluator { inner }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let field = self.inner.inner().field(args)?;
        let signed = Field::clone(&field).with_data_type(DataType::Int64);
        Ok(Arc::new(signed))
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.inner().sort_options()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.inner().documentation()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(args)
    }
}

/// The numbers of a partition, with a sign.
#[derive(Debug)]
struct SignedEvaluator {
    inner: Box<dyn PartitionEvaluator>,
}

fn signed(numbers: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(numbers, &DataType::Int64)?)
}

impl PartitionEvaluator for SignedEvaluator {
    fn get_range(&self, row: usize, rows: usize) -> Result<Range<usize>> {
        self.inner.get_range(row, rows)
    }

    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        signed(&self.inner.evaluate_all(values, rows)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.inner
            .evaluate(values, range)?
            .cast_to(&DataType::Int64)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        signed(&self.inner.evaluate_all_with_rank(rows, ranks)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.inner.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::value;

    #[tokio::test]
    async fn places_and_counts_have_a_sign() {
        for (sql, expected) in [
            ("SELECT row_number() OVER () / 2 FROM T", "0"),
            ("SELECT -rank() OVER (ORDER BY x) FROM T", "-1"),
            ("SELECT dense_rank() OVER (ORDER BY x) - 3 FROM T", "-2"),
            ("SELECT ntile(3) OVER (ORDER BY x) / 2 FROM T", "0"),
            ("SELECT cardinality(ARRAY[1, 2, 3]) / 2", "1"),
            ("SELECT -array_length(ARRAY[1, 2, 3], 1)", "-3"),
            ("SELECT array_position(ARRAY['a', 'b', 'c'], 'c') / 2", "1"),
            ("SELECT list_position(ARRAY['a', 'b', 'c'], 'c') / 2", "1"),
            (
                "SELECT (ARRAY['a', 'b'])[n] FROM (SELECT row_number() OVER () AS n FROM T) AS q",
                "a",
            ),
            (
                "SELECT sum(n) FROM (SELECT row_number() OVER (ORDER BY x) AS n FROM (VALUES (1), (2), (3)) AS v(x)) AS q WHERE n <= 2",
                "3",
            ),
        ] {
            let sql = sql.replace("FROM T", "FROM (VALUES (7)) AS t(x)");
            assert_eq!(value(&sql).await, expected, "{sql}");
        }
    }
}
