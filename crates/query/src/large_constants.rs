//! Large constants that are worked out while a query is planned, kept out of the plan's expressions.
//!
//! Invariant: an expression with a large constant in it is as quickly named, compared and copied as any other. DataFusion writes out a constant wherever it names an expression, ten
//! megabytes of bytes as forty of digits, with each pass of its optimizer.
//!
//! Such a constant becomes a call without arguments that gives it. The call counts as volatile, or it would be folded again; what it is put into has its name already. So a
//! condition with such a constant is asked where it was written, and neither before a join nor while a file is read.

use crate::mended_rules::mended_rules;
use crate::truth_tests::TruthTests;
use crate::typed_rewrite::rewrite_step;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Bytes from which on a constant is large.
const LARGE: usize = 1 << 20;
/// The rule after which there may be large constants.
const FOLDING: &str = "simplify_expressions";
/// The rule after which there may be tests of a condition's truth.
const OF_LATERAL: &str = "decorrelate_lateral_join";

/// DataFusion's rules, with those for large constants and for tests of truth wherever they are made.
pub(crate) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Vec::new();
    for rule in mended_rules() {
        let name = rule.name().to_owned();
        rules.push(rule);
        match name.as_str() {
            FOLDING => rules.push(Arc::new(LargeConstants)),
            OF_LATERAL => rules.push(Arc::new(TruthTests)),
            _ => {}
        }
    }
    rules
}

/// The bytes of a large constant that an expression gives.
pub(crate) fn bytes_of_constant(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
    let constant = call.fun().inner().downcast_ref::<LargeConstant>()?;
    Some(constant.value.size())
}

/// The rule.
#[derive(Debug)]
struct LargeConstants;

impl OptimizerRule for LargeConstants {
    fn name(&self) -> &'static str {
        "large_constants"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let mut are_removed = constants_that_are_removed(&plan).into_iter();
        let concerns = |expr: &Expr| -> Result<bool> {
            Ok(are_removed.next() != Some(true) && expr.exists(|expr| Ok(is_large(expr)))?)
        };
        rewrite_step(plan, concerns, as_call)
    }
}

/// The call that gives a large constant.
fn as_call(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::Literal(value, None) if is_written_out(&value) => {
            let constant = ScalarUDF::new_from_impl(LargeConstant::of(value));
            let call = ScalarFunction::new_udf(Arc::new(constant), Vec::new());
            Transformed::yes(Expr::ScalarFunction(call))
        }
        other => Transformed::no(other),
    }
}

/// Expressions that an aggregate groups by, in their order: true for the large constants among them that the optimizer takes away because others group the rows. Of a call
/// it would think that it groups them too.
fn constants_that_are_removed(plan: &LogicalPlan) -> Vec<bool> {
    let LogicalPlan::Aggregate(aggregate) = plan else {
        return Vec::new();
    };
    let grouped = &aggregate.group_expr;
    let has_others = grouped.iter().any(|expr| !expr.column_refs().is_empty());
    let is_removed = |expr: &Expr| match expr {
        Expr::Alias(alias) => has_others && is_large(&alias.expr),
        expr => has_others && is_large(expr),
    };
    grouped.iter().map(is_removed).collect()
}

fn is_large(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, None) if is_written_out(value))
}

/// True for a large constant whose text is much longer than itself: texts are none.
fn is_written_out(value: &ScalarValue) -> bool {
    let data_type = value.data_type();
    (data_type.is_binary() || data_type.is_nested()) && value.size() > LARGE
}

/// Function without arguments that gives a constant.
#[derive(Debug)]
struct LargeConstant {
    value: Arc<ScalarValue>,
    signature: Signature,
}

impl LargeConstant {
    fn of(value: ScalarValue) -> Self {
        Self {
            value: Arc::new(value),
            signature: Signature::nullary(Volatility::Volatile),
        }
    }
}

impl PartialEq for LargeConstant {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value)
    }
}

impl Eq for LargeConstant {}

impl Hash for LargeConstant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.value).hash(state);
    }
}

impl ScalarUDFImpl for LargeConstant {
    fn name(&self) -> &'static str {
        "large_constant"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let is_nullable = self.value.is_null();
        Ok(Arc::new(Field::new(
            self.name(),
            self.value.data_type(),
            is_nullable,
        )))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.as_ref().clone()))
    }
}
