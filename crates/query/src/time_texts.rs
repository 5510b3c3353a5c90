//! Texts that are cast to instants and say no seconds: `CAST('2026-11-01 08:00' AS TIMESTAMP)` is eight o'clock, as in PostgreSQL.
//!
//! Invariant: a text that has seconds, or is no time, is cast as it is written.

use crate::typed_rewrite::rewrite_expressions;
use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use std::borrow::Cow;
use std::sync::Arc;

/// The rule. It comes after types are coerced.
#[derive(Debug)]
pub(crate) struct TimeTexts;

impl AnalyzerRule for TimeTexts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| match expr {
            Expr::Cast(Cast { expr, field }) => match whole(&expr, field.data_type(), schema) {
                Some(whole) => Transformed::yes(Expr::Cast(Cast {
                    expr: Box::new(whole),
                    field,
                })),
                None => Transformed::no(Expr::Cast(Cast { expr, field })),
            },
            Expr::TryCast(TryCast { expr, field }) => {
                match whole(&expr, field.data_type(), schema) {
                    Some(whole) => Transformed::yes(Expr::TryCast(TryCast {
                        expr: Box::new(whole),
                        field,
                    })),
                    None => Transformed::no(Expr::TryCast(TryCast { expr, field })),
                }
            }
            other => Transformed::no(other),
        })
    }

    fn name(&self) -> &'static str {
        "time_texts"
    }
}

/// The operand of a cast from a text to an instant, with seconds where it says none; `None` for any other cast, and for a text that has them.
fn whole(of: &Expr, to: &DataType, schema: &DFSchema) -> Option<Expr> {
    if !matches!(to, DataType::Timestamp(..)) || !of.get_type(schema).ok()?.is_string() {
        return None;
    }
    if let Expr::Literal(value, metadata) = of {
        let text = value.try_as_str()??;
        return match with_seconds(text) {
            Cow::Owned(text) => Some(Expr::Literal(
                ScalarValue::Utf8(Some(text)),
                metadata.clone(),
            )),
            Cow::Borrowed(_) => None,
        };
    }
    let call = ScalarFunction::new_udf(Arc::new(function()), vec![of.clone()]);
    Some(Expr::ScalarFunction(call))
}

/// A text in which seconds stand behind hours and minutes that have none.
fn with_seconds(text: &str) -> Cow<'_, str> {
    const MINUTES: usize = "2026-11-01 08:00".len();
    let shape = text.as_bytes().iter().take(MINUTES).enumerate();
    let is_time = text.len() >= MINUTES
        && shape.into_iter().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => matches!(byte, b'T' | b't' | b' '),
            13 => *byte == b':',
            _ => byte.is_ascii_digit(),
        });
    match (is_time, text.as_bytes().get(MINUTES)) {
        (false, _) | (_, Some(b':' | b'.' | b'0'..=b'9')) => Cow::Borrowed(text),
        _ => {
            let (minutes, rest) = text.split_at(MINUTES);
            Cow::Owned(format!("{minutes}:00{rest}"))
        }
    }
}

/// The function, for plans that travel by its name.
pub(crate) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(TimeText {
        signature: Signature::any(1, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeText {
    signature: Signature,
}

impl ScalarUDFImpl for TimeText {
    fn name(&self) -> &'static str {
        "time_text"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [of] => Ok(of.schema_name().to_string()),
            _ => internal_err!("one text is read"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let whole = |values: &ArrayRef| -> Result<ArrayRef> {
            let texts = cast(values, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>().iter();
            let texts: StringArray = texts.map(|text| text.map(with_seconds)).collect();
            Ok(Arc::new(texts))
        };
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(whole(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let value = whole(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                    &value, 0,
                )?))
            }
            _ => internal_err!("one text is read"),
        }
    }
}
