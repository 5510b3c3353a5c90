//! `||` between texts, as a function that is held to memory, and those functions that are not held to it yet.
//!
//! Invariant: the same texts and nulls as DataFusion's operator, whose every use doubles a text without asking anybody. A chain of them is one call that writes each text once.

use crate::bounded::{ResultSize, bounded, held};
use crate::operators::field_of_result;
use crate::typed_rewrite::rewrite_expressions;
use arrow::array::{
    Array, ArrayRef, AsArray, GenericStringBuilder, OffsetSizeTrait, StringViewBuilder,
};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// The function's name.
const NAME: &str = "joined_text";

/// Texts one after the other; null where one of them is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BoundedConcat {
    signature: Signature,
}

/// The function, held to the memory of a pool.
fn function(pool: &Arc<dyn MemoryPool>) -> ScalarUDF {
    let joined = BoundedConcat {
        signature: Signature::variadic_any(Volatility::Immutable),
    };
    bounded(
        Arc::new(ScalarUDF::new_from_impl(joined)),
        ResultSize::Joined,
        pool,
    )
}

impl ScalarUDFImpl for BoundedConcat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args
            .iter()
            .map(|arg| arg.schema_name().to_string())
            .collect::<Vec<_>>()
            .join(" || "))
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
        let is_constant = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let texts = args
            .args
            .iter()
            .map(ConcatOperands::of)
            .collect::<Result<Vec<_>>>()?;
        let joined: ArrayRef = match args.return_field.data_type() {
            DataType::Utf8 => strings::<i32>(&texts, rows)?,
            DataType::LargeUtf8 => strings::<i64>(&texts, rows)?,
            DataType::Utf8View => {
                let mut builder = StringViewBuilder::with_capacity(rows);
                each(&texts, rows, |text| {
                    builder.append_option(text);
                    Ok(())
                })?;
                Arc::new(builder.finish())
            }
            other => return internal_err!("texts are {other}"),
        };
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &joined, 0,
            )?));
        }
        Ok(ColumnarValue::Array(joined))
    }
}

/// An operand.
enum ConcatOperands<'a> {
    One(Option<&'a str>),
    Each(&'a ArrayRef),
}

impl<'a> ConcatOperands<'a> {
    fn of(arg: &'a ColumnarValue) -> Result<Self> {
        match arg {
            ColumnarValue::Array(texts) => Ok(Self::Each(texts)),
            ColumnarValue::Scalar(value) => match value.try_as_str() {
                Some(text) => Ok(Self::One(text)),
                None => internal_err!("{} is no text", value.data_type()),
            },
        }
    }

    fn at(&self, row: usize) -> Option<&str> {
        let texts = match self {
            Self::One(text) => return *text,
            Self::Each(texts) => texts,
        };
        if texts.is_null(row) {
            return None;
        }
        match texts.data_type() {
            DataType::LargeUtf8 => Some(texts.as_string::<i64>().value(row)),
            DataType::Utf8View => Some(texts.as_string_view().value(row)),
            _ => texts.as_string_opt::<i32>().map(|texts| texts.value(row)),
        }
    }
}

/// Joins the texts of each row.
fn each(
    texts: &[ConcatOperands<'_>],
    rows: usize,
    mut with: impl FnMut(Option<&str>) -> Result<()>,
) -> Result<()> {
    let mut joined = String::new();
    for row in 0..rows {
        joined.clear();
        let is_whole = texts
            .iter()
            .all(|text| text.at(row).map(|text| joined.push_str(text)).is_some());
        with(is_whole.then_some(joined.as_str()))?;
    }
    Ok(())
}

fn strings<O: OffsetSizeTrait>(texts: &[ConcatOperands<'_>], rows: usize) -> Result<ArrayRef> {
    let mut builder = GenericStringBuilder::<O>::with_capacity(rows, 0);
    let mut bytes = 0_usize;
    each(texts, rows, |text| {
        bytes += text.map_or(0, str::len);
        if O::from_usize(bytes).is_none() {
            return Err(ArrowError::OffsetOverflowError(bytes).into());
        }
        builder.append_option(text);
        Ok(())
    })?;
    Ok(Arc::new(builder.finish()))
}

/// Replaces the operators of a plan. It comes after types are coerced.
#[derive(Debug)]
pub(crate) struct JoinedTexts {
    function: Arc<ScalarUDF>,
    pool: Arc<dyn MemoryPool>,
}

impl JoinedTexts {
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        Self {
            function: Arc::new(function(pool)),
            pool: Arc::clone(pool),
        }
    }

    /// The function, for plans that travel by its name.
    pub(crate) fn function(&self) -> ScalarUDF {
        self.function.as_ref().clone()
    }

    /// The call in place of one operator; its operands have been seen to.
    fn joined(&self, expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
        let (left, right) = match expr {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::StringConcat,
                right,
            }) => (left, right),
            Expr::ScalarFunction(call) => match held(&call.func, &self.pool) {
                Some(function) => {
                    let call = ScalarFunction::new_udf(Arc::new(function), call.args);
                    return Transformed::yes(Expr::ScalarFunction(call));
                }
                None => return Transformed::no(Expr::ScalarFunction(call)),
            },
            other => return Transformed::no(other),
        };
        let is_text = |expr: &Expr| {
            is_call(expr)
                || matches!(
                    expr.get_type(schema),
                    Ok(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
                )
        };
        if !is_text(&left) || !is_text(&right) {
            return Transformed::no(Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::StringConcat,
                right,
            }));
        }
        let texts = [*left, *right].into_iter().flat_map(|expr| match expr {
            Expr::ScalarFunction(call) if call.func.name() == NAME => call.args,
            other => vec![other],
        });
        let call = ScalarFunction::new_udf(Arc::clone(&self.function), texts.collect());
        Transformed::yes(Expr::ScalarFunction(call))
    }
}

fn is_call(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == NAME)
}

impl AnalyzerRule for JoinedTexts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| self.joined(expr, schema))
    }

    fn name(&self) -> &'static str {
        "joined_texts"
    }
}
