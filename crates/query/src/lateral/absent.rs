//! Values of subqueries that may have no row.
//!
//! Invariant: such a value may be null, whatever its column may be. DataFusion asks the column alone: `coalesce((SELECT count(*) FROM b WHERE b.k = a.k GROUP BY b.k), 0)` was null where there
//! is no group, since a count is never null.

use super::steps::is_of_all_rows;
use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, EmptyRelation, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Subquery, Volatility,
};
use std::sync::Arc;

/// A value as it is, of which nobody can say beforehand that it is not null.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PerhapsNull {
    signature: Signature,
}

/// The value of a subquery, said to be null where it may have no row.
pub(super) fn with_absence(of: Subquery) -> Expr {
    let is_known = of.subquery.schema().field(0).is_nullable() || has_row(&of.subquery);
    let value = Expr::ScalarSubquery(of);
    if is_known {
        return value;
    }
    let function = ScalarUDF::new_from_impl(PerhapsNull {
        signature: Signature::any(1, Volatility::Immutable),
    });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![value]))
}

/// True for a query that has a row for certain.
fn has_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(of) => has_row(&of.input),
        LogicalPlan::SubqueryAlias(of) => has_row(&of.input),
        LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row, ..
        }) => *produce_one_row,
        step => is_of_all_rows(step),
    }
}

impl ScalarUDFImpl for PerhapsNull {
    fn name(&self) -> &'static str {
        "perhaps_null"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [of] => Ok(of.schema_name().to_string()),
            _ => internal_err!("one value may be null"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [of] => Ok(of.clone()),
            _ => internal_err!("one value may be null"),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(value) => Ok(value),
            None => internal_err!("one value may be null"),
        }
    }
}
