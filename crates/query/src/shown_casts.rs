//! `shown_cast(value, 'INT')`: a cast whose type is part of the planner's name for it.
//!
//! Invariant: it gives the value that it is called with. The planner names a cast by what is cast, and takes two steps of one name for one; a call is named by all that is in
//! it, and no rule takes it away before the last step has its name.

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use std::sync::Arc;

/// Name of the function.
pub(crate) const SHOWN_CAST: &str = "shown_cast";

/// The function.
pub(crate) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(ShownCast {
        signature: Signature::any(2, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ShownCast {
    signature: Signature,
}

impl ScalarUDFImpl for ShownCast {
    fn name(&self) -> &'static str {
        SHOWN_CAST
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the field is asked for")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match args.arg_fields.first() {
            // A function may take the place of the cast later, and say that it gives nulls.
            Some(value) => Ok(Arc::new(Field::clone(value).with_nullable(true))),
            None => plan_err!("{SHOWN_CAST} shows a value"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(value) => Ok(value),
            None => internal_err!("{SHOWN_CAST} shows a value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::column;

    #[tokio::test]
    async fn groups_that_differ_in_a_cast_alone_are_two() {
        let rows = "(VALUES (1.6, 1), (1.5, 2), (1.5, 4)) AS v(x, y)";
        for by in [
            "x, x::int",
            "x::int, x",
            "v.x, x::int",
            "x, x::int, x::text",
            "GROUPING SETS ((x, x::int))",
        ] {
            let sql = format!("SELECT sum(y) AS s FROM {rows} GROUP BY {by} ORDER BY s");
            assert_eq!(column(&sql).await, "1 6", "{sql}");
        }
        for (columns, by) in [
            ("x::int, x", "1, 2"),
            ("x::int AS whole, x", "whole, x"),
            ("x::int, x", "x, x::integer"),
        ] {
            let sql = format!("SELECT {columns} FROM {rows} GROUP BY {by} ORDER BY 2 DESC");
            assert_eq!(column(&sql).await, "2 2", "{sql}");
        }
    }
}
