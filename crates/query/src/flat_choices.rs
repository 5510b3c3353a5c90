//! `coalesce(coalesce(a, b), c)` as `coalesce(a, b, c)`, and `nvl` and `ifnull` as `coalesce`.
//!
//! Invariant: the first value that is not null is the same. DataFusion makes a CASE of each call, in which all its values but the last stand twice: thirty within each other
//! would come to a thousand million, and one that comes out otherwise each time would be asked for null, and then be another one. Its `nvl` makes a float of a decimal beside a whole number.

use arrow::array::ArrayRef;
use arrow::compute::is_not_null;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::functions::core::coalesce;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use std::sync::Arc;

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
                let function = match changes(&values) {
                    true => Arc::new(function()),
                    false => coalesce(),
                };
                let call = ScalarFunction::new_udf(function, values);
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
    let is_other = || call.func.name() != CHOICES[0];
    is_choice(call) && (is_other() || call.args.iter().any(holds_one) || changes(&call.args))
}

/// True if one of the values that a CASE would ask twice comes out otherwise each time.
fn changes(values: &[Expr]) -> bool {
    let asked_twice = values.split_last().map_or(values, |(_, first)| first);
    asked_twice.iter().any(Expr::is_volatile)
}

/// `first_known`, the first value that is not null, with each value worked out once.
pub(crate) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(FirstKnown {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FirstKnown {
    signature: Signature,
}

impl ScalarUDFImpl for FirstKnown {
    fn name(&self) -> &'static str {
        "first_known"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        coalesce().coerce_types(types)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the field is asked for")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        coalesce().return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut known: Option<ArrayRef> = None;
        for value in &args.args {
            let value = value.to_array(args.number_rows)?;
            known = Some(match known {
                Some(known) => zip(&is_not_null(&known)?, &known, &value)?,
                None => value,
            });
        }
        match known {
            Some(known) => Ok(ColumnarValue::Array(known)),
            None => internal_err!("a value is chosen among several"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::value;

    #[tokio::test]
    async fn a_value_that_is_another_one_each_time_is_worked_out_once() {
        let rows = "range(0, 10000) AS r(k)";
        for choice in ["coalesce", "nvl"] {
            let sql = format!(
                "SELECT sum(CASE WHEN {choice}(CASE WHEN random() < 0.5 THEN k END, -1) >= -1 THEN 1 ELSE 0 END) FROM {rows}"
            );
            assert_eq!(value(&sql).await, "10000", "{sql}");
        }
    }
}
