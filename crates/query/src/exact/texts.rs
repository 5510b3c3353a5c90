//! Decimals beside texts that are numbers, `amount = '1.234'`, and texts that are cast to decimals, `'1.23e2'::numeric`.
//!
//! Invariant: such a text is the number that it says, as in PostgreSQL, with all of its digits. DataFusion casts it to the type of the other side, rounded: 1.23 would be `'1.234'`. An
//! exponent moves the point among the digits: no number passes through a float. A text that is no number is left to be an error.

use crate::parameters::numeral;
use crate::spans::compares;
use crate::typed_rewrite::rewrite_expressions;
use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{Between, InList, ScalarFunction};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use std::borrow::Cow;
use std::sync::Arc;

/// The rule. It comes before types are coerced.
#[derive(Debug)]
pub(crate) struct DecimalTexts;

impl AnalyzerRule for DecimalTexts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, with_numbers)
    }

    fn name(&self) -> &'static str {
        "decimal_texts"
    }
}

fn with_numbers(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
            let one = beside(&left, type_beside([left.as_ref()], &right, schema).as_ref());
            let other = beside(
                &right,
                type_beside([right.as_ref()], &left, schema).as_ref(),
            );
            let is_changed = one.is_some() || other.is_some();
            changed(
                Expr::BinaryExpr(BinaryExpr {
                    left: one.map_or(left, Box::new),
                    op,
                    right: other.map_or(right, Box::new),
                }),
                is_changed,
            )
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => {
            let of_type = type_beside([low.as_ref(), high.as_ref()], &expr, schema);
            let bounds = (
                beside(&low, of_type.as_ref()),
                beside(&high, of_type.as_ref()),
            );
            let is_changed = bounds.0.is_some() || bounds.1.is_some();
            let between = Between {
                expr,
                negated,
                low: bounds.0.map_or(low, Box::new),
                high: bounds.1.map_or(high, Box::new),
            };
            changed(Expr::Between(between), is_changed)
        }
        Expr::InList(InList {
            expr,
            list,
            negated,
        }) => {
            let of_type = type_beside(&list, &expr, schema);
            let list = InList {
                expr,
                list: list
                    .into_iter()
                    .map(|of| beside(&of, of_type.as_ref()).unwrap_or(of))
                    .collect(),
                negated,
            };
            changed(Expr::InList(list), of_type.is_some())
        }
        other => Transformed::no(other),
    }
}

fn changed(expr: Expr, is_changed: bool) -> Transformed<Expr> {
    if is_changed {
        Transformed::yes(expr)
    } else {
        Transformed::no(expr)
    }
}

/// The type of what constants are compared with, where a text among them is a number beside it.
fn type_beside<'e>(
    constants: impl IntoIterator<Item = &'e Expr>,
    other: &Expr,
    schema: &DFSchema,
) -> Option<DataType> {
    let mut constants = constants.into_iter();
    let has_text =
        constants.any(|of| matches!(of, Expr::Literal(value, _) if value.data_type().is_string()));
    let of = has_text.then(|| other.get_type(schema).ok()).flatten()?;
    of.is_decimal().then_some(of)
}

/// A text as the number that it says, beside a decimal. `None` for one that is compared as it is.
fn beside(of: &Expr, decimal: Option<&DataType>) -> Option<Expr> {
    decimal.and_then(|_| number_of(of))
}

/// The number that a text says; `None` for what is no text, or says none that has a place in 38 digits.
fn number_of(expr: &Expr) -> Option<Expr> {
    let Expr::Literal(value, _) = expr else {
        return None;
    };
    let text = value.try_as_str().flatten()?.trim();
    let plain = without_exponent(text);
    let text = plain.as_deref().unwrap_or(text);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = !whole.is_empty()
        && whole
            .bytes()
            .chain(fraction.bytes())
            .all(|c| c.is_ascii_digit())
        && whole.len() + fraction.len() < usize::from(DECIMAL128_MAX_PRECISION);
    is_number.then(|| numeral(text.strip_prefix('+').unwrap_or(text)))
}

/// The same number without an exponent: 123 for `1.23e2`. `None` for one that has none, for what is no number, and for one that is larger than any decimal.
fn without_exponent(text: &str) -> Option<String> {
    let most = usize::from(DECIMAL256_MAX_PRECISION);
    let is_whole = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (number, exponent) = text.trim().split_once(['e', 'E'])?;
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => ("-", number),
        None => ("", number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !is_whole(&digits) {
        return None;
    }
    let exponent: i64 = exponent.trim_start().parse().ok()?;
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let noughts = digits.len() - significant.len();
    // So many significant digits are before the point, or below zero so many noughts behind it.
    let point = (i64::try_from(whole.len()).ok()?)
        .checked_sub(i64::try_from(noughts).ok()?)?
        .checked_add(exponent)?;
    if let Ok(point) = usize::try_from(point) {
        if point > most {
            return None;
        }
        return Some(match significant.split_at_checked(point) {
            Some((whole, fraction)) => {
                let kept = fraction.get(..most).unwrap_or(fraction);
                format!("{sign}{whole:0>1}.{kept:0<1}")
            }
            None => format!("{sign}{significant:0<point$}"),
        });
    }
    let noughts = usize::try_from(point.unsigned_abs()).ok()?;
    if noughts >= most {
        // Less than half of the last digit of any decimal.
        return Some("0".to_owned());
    }
    let kept = significant.get(..most - noughts).unwrap_or(significant);
    Some(format!("{sign}0.{}{kept}", "0".repeat(noughts)))
}

/// The operand of a cast from a text to a decimal without exponents; `None` for any other cast, and for a text that has none.
pub(super) fn plain_operand(of: &Expr, to: &DataType, schema: &DFSchema) -> Option<Expr> {
    if !to.is_decimal() || !of.get_type(schema).ok()?.is_string() {
        return None;
    }
    if let Expr::Literal(value, metadata) = of {
        let plain = without_exponent(value.try_as_str()??)?;
        return Some(Expr::Literal(
            ScalarValue::Utf8(Some(plain)),
            metadata.clone(),
        ));
    }
    let call = ScalarFunction::new_udf(Arc::new(function()), vec![of.clone()]);
    Some(Expr::ScalarFunction(call))
}

/// `decimal_text`, a number in a text without its exponent.
pub(crate) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(DecimalText {
        signature: Signature::any(1, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DecimalText {
    signature: Signature,
}

impl ScalarUDFImpl for DecimalText {
    fn name(&self) -> &'static str {
        "decimal_text"
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

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [of] => Ok(of.clone()),
            _ => internal_err!("one text is read"),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(plain_texts(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let value = plain_texts(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                    &value, 0,
                )?))
            }
            _ => internal_err!("one text is read"),
        }
    }
}

fn plain_texts(values: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(values, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    // Most numbers have none.
    if !texts.iter().flatten().any(|text| text.contains(['e', 'E'])) {
        return Ok(Arc::clone(values));
    }
    let plain: StringArray = texts
        .iter()
        .map(|text| text.map(|text| without_exponent(text).map_or(Cow::Borrowed(text), Cow::Owned)))
        .collect();
    Ok(cast(&plain, values.data_type())?)
}

#[cfg(test)]
mod tests {
    use super::{number_of, without_exponent};
    use datafusion::logical_expr::lit;

    #[test]
    fn a_text_is_the_number_that_it_says() {
        assert_eq!(number_of(&lit("12")), Some(lit(12_i64)));
        assert_eq!(number_of(&lit("1.2e1")), number_of(&lit("12.0")));
        for text in ["1.234", "-1.234", " 0.5 ", "+7.25", "1e3", " -2.5e-2 "] {
            assert!(number_of(&lit(text)).is_some(), "{text}");
        }
        for text in ["", "a", ".", "1e", "e3", "1e40", "1.2.3", "--1", "NaN"] {
            assert!(number_of(&lit(text)).is_none(), "{text}");
        }
        assert!(number_of(&lit(1_i64)).is_none());
    }

    #[test]
    fn an_exponent_moves_the_point() {
        for (text, plain) in [
            ("1.23e2", "123.0"),
            ("1E3", "1000"),
            ("1.5e+1", "15.0"),
            (" -2.5e-2 ", "-0.025"),
            ("+12345.678e-2", "123.45678"),
            ("00012e0", "12.0"),
            (".5e1", "5.0"),
            ("5.e1", "50"),
            ("0e5", "0"),
            ("0.000e-9", "0"),
            ("0.0012e1", "0.012"),
            ("1e-400", "0"),
            ("12e-1", "1.2"),
            ("1e 3", "1000"),
        ] {
            assert_eq!(without_exponent(text).as_deref(), Some(plain), "{text}");
        }
        let digits = "1".repeat(200);
        let plain = without_exponent(&format!("0.{digits}e0")).unwrap();
        assert_eq!(plain, format!("0.{}", &digits[..76]));
        for text in [
            "12.5", "1e", "e3", "1e3.5", "1e- 3", "1e--3", "--1e3", "1.2.3e1", "1e77", "1e400000",
            ".e1", "NaN", "one",
        ] {
            assert_eq!(without_exponent(text), None, "{text}");
        }
    }
}
