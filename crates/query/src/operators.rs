//! `/` and `*` of decimals, `-` of unsigned numbers, and `^`, which is `power()`.
//!
//! Invariant: the planner sees the type that the result will have. A difference of two unsigned numbers is signed. A quotient has ten digits more than its operands; a product whose digits do not fit
//! keeps the first twenty behind the point, rounded, where DataFusion refuses it or overflows.
//! They are replaced while SQL is planned, not afterwards: what stands around a quotient is given its type by the quotient's own.

use crate::exact::{
    MOST_DIGITS, as_decimal, decimal_text, nearest_float_function, rounded_cast, rounded_product,
    rounded_quotient, scale_of_quotient,
};
use crate::functions::json::{self, JsonAnswer};
use crate::functions::span_product::{self, is_span};
use crate::parameters::in_operands;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, Field, FieldRef, TimeUnit,
};
use arrow::error::ArrowError;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err, plan_err};
use datafusion::functions::math::power;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, binary_expr, cast,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use std::sync::Arc;

/// One of the operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum DecimalOperator {
    Quotient,
    Product,
}

/// The operator as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DecimalOperation {
    operator: DecimalOperator,
    signature: Signature,
}

impl DecimalOperation {
    fn function(operator: DecimalOperator) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self {
            operator,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    }
}

/// The functions that take the operators' places, so that a plan which travels by their names finds them.
pub(crate) fn functions() -> [ScalarUDF; 5] {
    [
        DecimalOperation::function(DecimalOperator::Quotient),
        DecimalOperation::function(DecimalOperator::Product),
        rounded_cast(),
        decimal_text(),
        nearest_float_function(),
    ]
}

/// The operator in whose place a function stands; `None` for any other function.
pub(crate) fn operator_of(function: &ScalarUDF) -> Option<Operator> {
    let operation = function.inner().downcast_ref::<DecimalOperation>()?;
    Some(match operation.operator {
        DecimalOperator::Quotient => Operator::Divide,
        DecimalOperator::Product => Operator::Multiply,
    })
}

impl DecimalOperator {
    /// Precision and scale of the result.
    fn result(self, left: (u8, i8), right: (u8, i8)) -> (u8, i8) {
        match self {
            Self::Quotient => {
                let scale = scale_of_quotient(left.1.max(right.1));
                // As many digits before the point as the largest numerator has over the smallest denominator.
                let whole = left.0.saturating_sub(left.1.unsigned_abs()) + right.1.unsigned_abs();
                let precision = whole
                    .saturating_add(scale.unsigned_abs())
                    .clamp(1, DECIMAL128_MAX_PRECISION);
                (precision, scale)
            }
            Self::Product => (
                DECIMAL128_MAX_PRECISION,
                MOST_DIGITS.max(left.1).max(right.1),
            ),
        }
    }

    /// True where DataFusion's own operator is left as it is.
    fn is_exact_already(self, left: (u8, i8), right: (u8, i8)) -> bool {
        match self {
            Self::Quotient => false,
            Self::Product => {
                let precision = left.0.saturating_add(right.0).saturating_add(1);
                precision <= DECIMAL128_MAX_PRECISION
                    || left.1.saturating_add(right.1) <= MOST_DIGITS.max(left.1).max(right.1)
            }
        }
    }

    fn apply(self, left: (i128, i8), right: (i128, i8), scale: i8) -> Option<i128> {
        let (more, fewer) = (
            i16::from(scale) + i16::from(right.1) - i16::from(left.1),
            i16::from(left.1) + i16::from(right.1) - i16::from(scale),
        );
        match self {
            Self::Quotient => rounded_quotient(left.0, more, right.0),
            Self::Product => {
                rounded_product(left.0, right.0, u32::from(fewer.max(0).unsigned_abs()))
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Quotient => "a quotient",
            Self::Product => "a product",
        }
    }
}

/// Both operands' types in 128 bits, if one of them is a decimal and the other one or a whole number.
fn both(types: &[DataType]) -> Option<((u8, i8), (u8, i8))> {
    let [left, right] = types else { return None };
    if !left.is_decimal() && !right.is_decimal() {
        return None;
    }
    Some((as_decimal(left)?, as_decimal(right)?))
}

impl ScalarUDFImpl for DecimalOperation {
    fn name(&self) -> &'static str {
        match self.operator {
            DecimalOperator::Quotient => "decimal_quotient",
            DecimalOperator::Product => "decimal_product",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let operator = match self.operator {
            DecimalOperator::Quotient => "/",
            DecimalOperator::Product => "*",
        };
        match args {
            [left, right] => Ok(format!(
                "{} {operator} {}",
                left.schema_name(),
                right.schema_name()
            )),
            _ => internal_err!("an operator has two operands"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let Some((left, right)) = both(types) else {
            return plan_err!("{} is of two decimals", self.operator.name());
        };
        Ok([left, right]
            .map(|(precision, scale)| DataType::Decimal128(precision, scale))
            .to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let Some((left, right)) = both(types) else {
            return plan_err!("{} is of two decimals", self.operator.name());
        };
        let (precision, scale) = self.operator.result(left, right);
        Ok(DataType::Decimal128(precision, scale))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        field_of_result(self, &args)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return internal_err!("an operator has two operands");
        };
        let is_constant = matches!(
            (left, right),
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
        );
        let rows = if is_constant { 1 } else { args.number_rows };
        let gives = args.return_field.data_type();
        let DataType::Decimal128(precision, scale) = gives else {
            return internal_err!("{} is {gives}", self.operator.name());
        };
        let (left, right) = (DecimalOperand::of(left)?, DecimalOperand::of(right)?);
        let results: Decimal128Array = (0..rows)
            .map(|row| {
                let (Some(one), Some(other)) = (left.get(row), right.get(row)) else {
                    return Ok(None);
                };
                if self.operator == DecimalOperator::Quotient && other == 0 {
                    return Err(ArrowError::DivideByZero);
                }
                self.operator
                    .apply((one, left.scale), (other, right.scale), *scale)
                    .filter(|value| Decimal128Type::is_valid_decimal_precision(*value, *precision))
                    .map(Some)
                    .ok_or_else(|| {
                        ArrowError::ArithmeticOverflow(format!(
                            "{} does not fit into {gives}",
                            self.operator.name()
                        ))
                    })
            })
            .collect::<Result<_, ArrowError>>()?;
        let results: ArrayRef = Arc::new(results.with_data_type(gives.clone()));
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &results, 0,
            )?));
        }
        Ok(ColumnarValue::Array(results))
    }
}

/// The field of an operator's result: it may be null where an operand may.
pub(crate) fn field_of_result(
    operator: &impl ScalarUDFImpl,
    args: &ReturnFieldArgs<'_>,
) -> Result<FieldRef> {
    let operands = args.arg_fields.iter();
    let types: Vec<DataType> = operands.map(|field| field.data_type().clone()).collect();
    let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
    let data_type = operator.return_type(&types)?;
    Ok(Arc::new(Field::new(
        operator.name(),
        data_type,
        is_nullable,
    )))
}

/// An operand, and how a row of it is read.
struct DecimalOperand {
    values: Decimal128Array,
    scale: i8,
    /// 1, or 0 where one value stands for all rows.
    step: usize,
}

impl DecimalOperand {
    fn of(value: &ColumnarValue) -> Result<Self> {
        let (array, step) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), 1),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, 0),
        };
        match array.as_primitive_opt::<Decimal128Type>() {
            Some(values) => Ok(Self {
                values: values.clone(),
                scale: values.scale(),
                step,
            }),
            None => internal_err!("{} is no decimal", array.data_type()),
        }
    }

    fn get(&self, row: usize) -> Option<i128> {
        let at = row * self.step;
        self.values.is_valid(at).then(|| self.values.value(at))
    }
}

/// Plans the operators.
#[derive(Debug)]
pub(crate) struct ExactOperators {
    quotient: Arc<ScalarUDF>,
    product: Arc<ScalarUDF>,
}

impl ExactOperators {
    pub(crate) fn new() -> Self {
        let of = |operator| Arc::new(DecimalOperation::function(operator));
        Self {
            quotient: of(DecimalOperator::Quotient),
            product: of(DecimalOperator::Product),
        }
    }
}

impl ExprPlanner for ExactOperators {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        in_operands(&mut expr.left, &mut expr.right, schema)?;
        let (operator, function) = match expr.op {
            BinaryOperator::PGExp => {
                let call = ScalarFunction::new_udf(power(), vec![expr.left, expr.right]);
                return Ok(PlannerResult::Planned(Expr::ScalarFunction(call)));
            }
            BinaryOperator::Divide => (DecimalOperator::Quotient, &self.quotient),
            BinaryOperator::Multiply => (DecimalOperator::Product, &self.product),
            BinaryOperator::Minus
                if is_unsigned(&expr.right, schema) && is_unsigned(&expr.left, schema) =>
            {
                let [left, right] = [expr.left, expr.right].map(|of| cast(of, DataType::Int64));
                let difference = binary_expr(left, Operator::Minus, right);
                return Ok(PlannerResult::Planned(difference));
            }
            BinaryOperator::Plus | BinaryOperator::Minus => return Ok(of_days(expr, schema)),
            BinaryOperator::Arrow => return Ok(into_json(expr, JsonAnswer::Raw, false)),
            BinaryOperator::LongArrow => return Ok(into_json(expr, JsonAnswer::Text, false)),
            BinaryOperator::HashArrow => return Ok(into_json(expr, JsonAnswer::Raw, true)),
            BinaryOperator::HashLongArrow => return Ok(into_json(expr, JsonAnswer::Text, true)),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let types = [expr.left.get_type(schema), expr.right.get_type(schema)];
        let [Ok(left), Ok(right)] = types else {
            return Ok(PlannerResult::Original(expr));
        };
        let divides = operator == DecimalOperator::Quotient;
        let of_span = if is_span(&left) {
            Some((&expr.left, &expr.right))
        } else if is_span(&right) && !divides {
            Some((&expr.right, &expr.left))
        } else {
            None
        };
        if let Some((span, number)) = of_span {
            let args = vec![span.clone(), number.clone()];
            let call = ScalarFunction::new_udf(Arc::new(span_product::function(divides)), args);
            return Ok(PlannerResult::Planned(Expr::ScalarFunction(call)));
        }
        match both(&[left, right]) {
            Some((left, right)) if !operator.is_exact_already(left, right) => {
                let call =
                    ScalarFunction::new_udf(Arc::clone(function), vec![expr.left, expr.right]);
                Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
            }
            _ => Ok(PlannerResult::Original(expr)),
        }
    }
}

/// An operator that looks into JSON.
fn into_json(
    expr: RawBinaryExpr,
    answer: JsonAnswer,
    by_path: bool,
) -> PlannerResult<RawBinaryExpr> {
    let function = Arc::new(json::function(answer, by_path));
    // A chain of steps is one call: each by itself would be named and typed with all before it, over and over.
    let args = match expr.left {
        Expr::ScalarFunction(mut call) if !by_path && call.func.name() == json::STEP => {
            call.args.push(expr.right);
            call.args
        }
        left => vec![left, expr.right],
    };
    PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(
        function, args,
    )))
}

/// Days: with a whole number they are moved by so many days, with an interval they are instants at midnight, as in PostgreSQL. DataFusion knows no number of days, and
/// leaves out the hours of an interval.
fn of_days(expr: RawBinaryExpr, schema: &DFSchema) -> PlannerResult<RawBinaryExpr> {
    // Chains of sums are long, and asking for a type walks them: only what may be a day is asked.
    let day_or = |one: &Expr, other: &Expr| {
        let is_day = matches!(one.get_type(schema), Ok(DataType::Date32));
        is_day.then(|| other.get_type(schema).ok()).flatten()
    };
    if !may_be_a_day(&expr.left) && !may_be_a_day(&expr.right) {
        return PlannerResult::Original(expr);
    }
    let is_plus = expr.op == BinaryOperator::Plus;
    let midnight = DataType::Timestamp(TimeUnit::Microsecond, None);
    let RawBinaryExpr { op, left, right } = expr;
    let operator = if is_plus {
        Operator::Plus
    } else {
        Operator::Minus
    };
    let (day, moved, is_swapped) = if let Some(of) = day_or(&left, &right) {
        (left, (right, of), false)
    } else if let Some(of) = day_or(&right, &left).filter(|_| is_plus) {
        (right, (left, of), true)
    } else {
        return PlannerResult::Original(RawBinaryExpr { op, left, right });
    };
    match moved {
        (moved, of) if of.is_integer() => {
            let days = cast(day, DataType::Int32);
            let days = binary_expr(days, operator, cast(moved, DataType::Int32));
            PlannerResult::Planned(cast(days, DataType::Date32))
        }
        (moved, DataType::Interval(_)) => {
            PlannerResult::Planned(binary_expr(cast(day, midnight), operator, moved))
        }
        (moved, _) => {
            let (left, right) = if is_swapped {
                (moved, day)
            } else {
                (day, moved)
            };
            PlannerResult::Original(RawBinaryExpr { op, left, right })
        }
    }
}

/// True for ranks, lengths of lists and other counts that have no sign, of which DataFusion's difference has none either: it would be an error below zero.
///
/// Of a chain the operands are asked from its end on, and no further than one that is signed: a chain is long.
fn is_unsigned(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::BinaryExpr(sum) => {
            sum.op.is_numerical_operators()
                && is_unsigned(&sum.right, schema)
                && is_unsigned(&sum.left, schema)
        }
        Expr::Literal(value, _) => value.data_type().is_unsigned_integer(),
        other => other
            .get_type(schema)
            .is_ok_and(|of| of.is_unsigned_integer()),
    }
}

/// False for what is a sum, a product or a number itself: a day that was moved is a cast.
fn may_be_a_day(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(_) => false,
        Expr::Literal(value, _) => matches!(value, ScalarValue::Date32(_)),
        _ => true,
    }
}
