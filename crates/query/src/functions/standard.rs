//! Functions that PostgreSQL has under another name, or that DataFusion's own form does not fit: `mod`, `sign`, `variance`, `round`, `ceil`, `floor`, `date_bin`.
//!
//! Invariant: what they give is what the operator or function behind them gives; `round` of a decimal keeps the type that it was planned with, and `ceil` and `floor` of one have room for what they give.

use arrow::array::Array;
use arrow::compute::kernels::numeric::rem;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err, plan_err};
use datafusion::functions_aggregate::variance::var_samp_udaf;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, Documentation, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use std::sync::Arc;

/// The functions, out of those that a session knows.
pub(crate) fn functions(known: impl Fn(&str) -> Option<Arc<ScalarUDF>>) -> Vec<ScalarUDF> {
    let remainder = ScalarUDF::new_from_impl(Remainder {
        signature: Signature::user_defined(Volatility::Immutable),
    });
    let sign = known("signum").map(|signum| signum.as_ref().clone().with_aliases(["sign"]));
    let round = known("round").map(|inner| {
        ScalarUDF::new_from_impl(Round {
            inner,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    });
    let date_bin = known("date_bin").map(|inner| ScalarUDF::new_from_impl(DateBin { inner }));
    let whole =
        |name: &str| known(name).map(|inner| ScalarUDF::new_from_impl(WholeNumber { inner }));
    [
        Some(remainder),
        sign,
        round,
        whole("ceil"),
        whole("floor"),
        date_bin,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The aggregates.
pub(crate) fn aggregates() -> [AggregateUDF; 1] {
    [var_samp_udaf().as_ref().clone().with_aliases(["variance"])]
}

/// `mod(a, b)`: what `a % b` gives.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Remainder {
    signature: Signature,
}

fn two(types: &[DataType]) -> Result<(&DataType, &DataType)> {
    match types {
        [left, right] => Ok((left, right)),
        _ => plan_err!("mod takes two numbers"),
    }
}

impl ScalarUDFImpl for Remainder {
    fn name(&self) -> &'static str {
        "mod"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (left, right) = two(types)?;
        let (left, right) =
            BinaryTypeCoercer::new(left, &Operator::Modulo, right).get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let (left, right) = two(types)?;
        BinaryTypeCoercer::new(left, &Operator::Modulo, right).get_result_type()
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [left, right] => apply(left, right, rem),
            _ => internal_err!("mod takes two numbers"),
        }
    }
}

/// DataFusion's `round`, which takes the number of digits as it is written. Its own is cast to another type while a query is planned, and until that is
/// worked out the result has other digits than it has afterwards.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Round {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &'static str {
        "round"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let of = match types.first() {
            Some(of) if of.is_integer() || of.is_decimal() || *of == DataType::Float32 => {
                of.clone()
            }
            Some(of) if of.is_numeric() || of.is_null() || of.is_string() => DataType::Float64,
            _ => return plan_err!("round takes a number and the digits that are kept"),
        };
        match types.get(1) {
            None => Ok(vec![of]),
            Some(digits) if digits.is_integer() && types.len() == 2 => Ok(vec![of, digits.clone()]),
            Some(digits) if digits.is_null() && types.len() == 2 => Ok(vec![of, DataType::Int32]),
            Some(_) => {
                plan_err!("round takes a number and the digits that are kept, a whole number")
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(digits) = args.args.get_mut(1)
            && !matches!(digits, ColumnarValue::Scalar(ScalarValue::Int32(_)))
        {
            *digits = digits.clone().cast_to(&DataType::Int32, None)?;
        }
        self.inner.invoke_with_args(args)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// DataFusion's `ceil` and `floor`, of decimals with a digit more before the point: `ceil(9.5)` is 10.0, for which two digits are too few.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WholeNumber {
    inner: Arc<ScalarUDF>,
}

/// The type of a decimal with a digit more before the point; `None` for what has no digits behind it.
fn with_room(of: &DataType) -> Option<DataType> {
    match of {
        DataType::Decimal128(precision, scale) if *scale > 0 => {
            let precision = precision.saturating_add(1).min(DECIMAL128_MAX_PRECISION);
            Some(DataType::Decimal128(precision, *scale))
        }
        _ => None,
    }
}

impl ScalarUDFImpl for WholeNumber {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first().and_then(with_room) {
            Some(wide) => Ok(wide),
            None => self.inner.return_type(types),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(of) = args.args.first_mut()
            && let Some(wide) = with_room(&of.data_type())
        {
            *of = of.cast_to(&wide, None)?;
        }
        self.inner.invoke_with_args(args)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// DataFusion's `date_bin`, which is null where a time and its origin are too far apart: that is an error here.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DateBin {
    inner: Arc<ScalarUDF>,
}

fn is_null(value: &ColumnarValue, row: usize) -> bool {
    match value {
        ColumnarValue::Array(array) => row < array.len() && array.is_null(row),
        ColumnarValue::Scalar(scalar) => scalar.is_null(),
    }
}

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &'static str {
        "date_bin"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let given = args.args.clone();
        let made = self.inner.invoke_with_args(args)?;
        let rows = match &made {
            ColumnarValue::Array(array) if array.null_count() == 0 => 0,
            ColumnarValue::Array(array) => array.len(),
            ColumnarValue::Scalar(_) => 1,
        };
        let is_lost =
            |row: usize| is_null(&made, row) && !given.iter().any(|arg| is_null(arg, row));
        if (0..rows).any(is_lost) {
            return exec_err!("date_bin: a time lies too far from the origin, at most 292 years");
        }
        Ok(made)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
