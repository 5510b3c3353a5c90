//! Whole numbers that do not fit are errors: DataFusion's `+`, `-`, `*` and `sum` would wrap round without a word.
//!
//! Invariant: no session of ours gives a wrapped number. `9223372036854775807 + 1` is an error, whether it is folded while planning or computed for a row.
//!
//! The rule replaces the operators after types are known, on whole numbers alone; the results of those on decimals are checked where they may have too many digits ([`decimal`]), dates and
//! intervals are no numbers. Rejected: DataFusion's own `fail_on_overflow`, which can be set for one physical expression but neither for a session nor for the folding of
//! constants.

mod decimal;
mod sum;

pub(crate) use sum::CheckedSum;

use decimal::FittingDecimal;

use crate::operators::field_of_result;
use crate::typed_rewrite::rewrite_expressions;
use arrow::compute::kernels::numeric::{add, mul, neg, sub};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;
use std::sync::Arc;

/// An operator on whole numbers that may overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ArithmeticOperator {
    Add,
    Subtract,
    Multiply,
    Negate,
}

impl ArithmeticOperator {
    const ALL: [Self; 4] = [Self::Add, Self::Subtract, Self::Multiply, Self::Negate];

    fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Plus => Some(Self::Add),
            Operator::Minus => Some(Self::Subtract),
            Operator::Multiply => Some(Self::Multiply),
            _ => None,
        }
    }
}

/// The operator as a function that fails where the result does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CheckedOperator {
    arithmetic: ArithmeticOperator,
    signature: Signature,
}

impl CheckedOperator {
    fn function(arithmetic: ArithmeticOperator) -> ScalarUDF {
        let count = if arithmetic == ArithmeticOperator::Negate {
            1
        } else {
            2
        };
        ScalarUDF::new_from_impl(Self {
            arithmetic,
            signature: Signature::any(count, Volatility::Immutable),
        })
    }
}

impl ScalarUDFImpl for CheckedOperator {
    fn name(&self) -> &'static str {
        match self.arithmetic {
            ArithmeticOperator::Add => "checked_add",
            ArithmeticOperator::Subtract => "checked_subtract",
            ArithmeticOperator::Multiply => "checked_multiply",
            ArithmeticOperator::Negate => "checked_negate",
        }
    }

    /// The name that the operator's column has. Within a long chain there is none of use: each would hold all names before it, and only the last one is
    /// a column's, whose name is kept by an alias.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let chain = std::iter::successors(args.first(), |expr| {
            operands(expr).and_then(|operands| operands.first())
        });
        if chain.take(LONG_CHAIN).count() == LONG_CHAIN {
            return Ok(self.name().to_owned());
        }
        let operator = match self.arithmetic {
            ArithmeticOperator::Add => "+",
            ArithmeticOperator::Subtract => "-",
            ArithmeticOperator::Multiply => "*",
            ArithmeticOperator::Negate => "-",
        };
        match args {
            [of] => Ok(format!("({operator} {})", of.schema_name())),
            [left, right] => Ok(format!(
                "{} {operator} {}",
                left.schema_name(),
                right.schema_name()
            )),
            _ => internal_err!("an operator has one operand or two"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(first) => Ok(first.clone()),
            None => internal_err!("an operator has an operand"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        field_of_result(self, &args)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (self.arithmetic, args.args.as_slice()) {
            (ArithmeticOperator::Add, [left, right]) => apply(left, right, add),
            (ArithmeticOperator::Subtract, [left, right]) => apply(left, right, sub),
            (ArithmeticOperator::Multiply, [left, right]) => apply(left, right, mul),
            (ArithmeticOperator::Negate, [ColumnarValue::Array(of)]) => {
                Ok(ColumnarValue::Array(neg(of.as_ref())?))
            }
            (ArithmeticOperator::Negate, [ColumnarValue::Scalar(of)]) => {
                let negated = neg(of.to_array()?.as_ref())?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                    negated.as_ref(),
                    0,
                )?))
            }
            _ => internal_err!("{} has other operands", self.name()),
        }
    }
}

/// Operators in a row whose name is not spelled out any more.
const LONG_CHAIN: usize = 24;

/// The operands of an operator that has been replaced.
fn operands(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::ScalarFunction(call)
            if call
                .func
                .inner()
                .downcast_ref::<CheckedOperator>()
                .is_some() =>
        {
            Some(&call.args)
        }
        _ => None,
    }
}

/// The functions that take the operators' places, so that a plan which travels by their names finds them.
pub(crate) fn functions() -> impl Iterator<Item = ScalarUDF> {
    ArithmeticOperator::ALL
        .into_iter()
        .map(CheckedOperator::function)
        .chain([FittingDecimal::function()])
}

/// Replaces the operators of a plan. It comes after types are coerced.
#[derive(Debug)]
pub(crate) struct CheckedArithmetic {
    functions: [Arc<ScalarUDF>; 4],
    fitting: Arc<ScalarUDF>,
}

impl CheckedArithmetic {
    pub(crate) fn new() -> Self {
        Self {
            functions: ArithmeticOperator::ALL
                .map(|arithmetic| Arc::new(CheckedOperator::function(arithmetic))),
            fitting: Arc::new(FittingDecimal::function()),
        }
    }

    fn call(&self, arithmetic: ArithmeticOperator, args: Vec<Expr>) -> Expr {
        let function = match arithmetic {
            ArithmeticOperator::Add => &self.functions[0],
            ArithmeticOperator::Subtract => &self.functions[1],
            ArithmeticOperator::Multiply => &self.functions[2],
            ArithmeticOperator::Negate => &self.functions[3],
        };
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), args))
    }

    /// The checked form of one operator; its operands have been seen to.
    fn checked(&self, expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
        // A chain that has been replaced is whole; asking for its type would walk the chain again for each of its links.
        let is_whole = |expr: &Expr| {
            operands(expr).is_some()
                || expr
                    .get_type(schema)
                    .is_ok_and(|data_type| data_type.is_integer())
        };
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match ArithmeticOperator::of(op) {
                Some(arithmetic) if is_whole(&left) && is_whole(&right) => {
                    Transformed::yes(self.call(arithmetic, vec![*left, *right]))
                }
                _ => {
                    let expr = Expr::BinaryExpr(BinaryExpr { left, op, right });
                    match decimal::checked(expr, &self.fitting, schema) {
                        (checked, true) => Transformed::yes(checked),
                        (unchanged, false) => Transformed::no(unchanged),
                    }
                }
            },
            Expr::Negative(of) if is_whole(&of) => {
                Transformed::yes(self.call(ArithmeticOperator::Negate, vec![*of]))
            }
            other => Transformed::no(other),
        }
    }
}

impl AnalyzerRule for CheckedArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| self.checked(expr, schema))
    }

    fn name(&self) -> &'static str {
        "checked_arithmetic"
    }
}
