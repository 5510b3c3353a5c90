//! Decimals that have more digits than their type are errors.
//!
//! Invariant: no decimal of 39 digits passes. Arrow checks that a result fits into 128 bits, which hold some numbers of 39 digits too, and prints those cut to 38: a tenth of what they are.

use arrow::array::AsArray;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type};
use arrow::error::ArrowError;
use datafusion::common::DFSchema;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use std::sync::Arc;

/// A value that is given back if it has no more digits than its type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FittingDecimal {
    signature: Signature,
}

impl FittingDecimal {
    pub(super) fn function() -> ScalarUDF {
        ScalarUDF::new_from_impl(Self {
            signature: Signature::any(1, Volatility::Immutable),
        })
    }
}

/// True for operators whose results may be too long.
fn makes_digits(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide
    )
}

/// An operator on decimals whose result is checked; as it was where its type is as wide as the result may become.
pub(super) fn checked(expr: Expr, function: &Arc<ScalarUDF>, schema: &DFSchema) -> (Expr, bool) {
    let may_be_too_long = matches!(&expr, Expr::BinaryExpr(binary) if makes_digits(binary.op))
        && matches!(
            expr.get_type(schema),
            Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, _))
        );
    if !may_be_too_long {
        return (expr, false);
    }
    let call = ScalarFunction::new_udf(Arc::clone(function), vec![expr]);
    (Expr::ScalarFunction(call), true)
}

impl ScalarUDFImpl for FittingDecimal {
    fn name(&self) -> &'static str {
        "fitting_decimal"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [of] => Ok(of.schema_name().to_string()),
            _ => internal_err!("one value fits its type"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [of] => Ok(of.clone()),
            _ => internal_err!("one value fits its type"),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = args.args.into_iter().next() else {
            return internal_err!("one value fits its type");
        };
        let values = value.to_array(args.number_rows)?;
        let (Some(decimals), DataType::Decimal128(precision, _)) = (
            values.as_primitive_opt::<Decimal128Type>(),
            values.data_type(),
        ) else {
            return internal_err!("{} is no decimal", values.data_type());
        };
        if decimals.validate_decimal_precision(*precision).is_err() {
            return Err(ArrowError::ArithmeticOverflow(format!(
                "a number has more than {precision} digits"
            ))
            .into());
        }
        Ok(value)
    }
}
