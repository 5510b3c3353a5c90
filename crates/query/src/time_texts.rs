//! Texts that are cast to instants and say no seconds, texts with an offset that are cast to what has none, and texts of spans: `CAST('2026-11-01 08:00' AS TIMESTAMP)` is eight o'clock,
//! `CAST('2026-11-01 23:30:00-05' AS DATE)` is the first of November, and `CAST('1 day 08:00' AS INTERVAL)` is a day and eight hours, as in PostgreSQL.
//!
//! A time of microseconds is the one that is nearest to a text of more digits, of two that are as near the even one; Arrow cuts them.
//!
//! Invariant: a time without a zone, and a day, are what the text shows, whatever offset stands behind it; DataFusion moves it to UTC. A text that has seconds and no offset, or is no
//! time, is cast as it is written.

use crate::span_texts::with_units;
use crate::typed_rewrite::rewrite_expressions;
use crate::zone::Zone;
use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Int64Type};
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

/// The operand of a cast from a text to an instant or a day, with seconds where it says none, and without an offset where the type has none, or to a span, with units; `None` for any
/// other cast, and for a text that is so already.
fn whole(of: &Expr, to: &DataType, schema: &DFSchema) -> Option<Expr> {
    let reading = match to {
        DataType::Timestamp(_, Some(_)) => Reading::Instant,
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => Reading::Clock,
        DataType::Interval(_) => Reading::Span,
        _ => return None,
    };
    if !of.get_type(schema).ok()?.is_string() {
        return None;
    }
    if let Expr::Literal(value, metadata) = of {
        let text = value.try_as_str()??;
        return match reading.of(text) {
            Cow::Owned(text) => Some(Expr::Literal(
                ScalarValue::Utf8(Some(text)),
                metadata.clone(),
            )),
            Cow::Borrowed(_) => None,
        };
    }
    let call = ScalarFunction::new_udf(Arc::new(reading.function()), vec![of.clone()]);
    Some(Expr::ScalarFunction(call))
}

/// Outcome of a text that is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FailingText {
    IsError,
    IsNull,
}

/// The time in microseconds that is nearest to what a text says; `None` for one that is written out and says no more digits.
pub(crate) fn nearest_time(of: &Expr, gives: &DataType, failing: FailingText) -> Option<Expr> {
    if let Expr::Literal(value, _) = of {
        let text = value.try_as_str()??;
        behind_micros(text)?;
    }
    let function = ScalarUDF::new_from_impl(NearestTime {
        gives: gives.clone(),
        failing,
        signature: Signature::any(1, Volatility::Immutable),
    });
    let call = ScalarFunction::new_udf(Arc::new(function), vec![of.clone()]);
    Some(Expr::ScalarFunction(call))
}

/// Digits of a second that a time has.
const MICROS: usize = 6;

/// The sixth digit of a second that a text says, and those behind it; `None` where there are no more than six.
fn behind_micros(text: &str) -> Option<(u8, &[u8])> {
    let (_, fraction) = text.split_once('.')?;
    let fraction = fraction.as_bytes();
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit());
    let (known, rest) = fraction.get(..digits.count())?.split_at_checked(MICROS)?;
    (!rest.is_empty()).then_some((*known.last()?, rest))
}

/// The microseconds, none or one, by which a text says more than its first six digits do.
fn carried(text: &str) -> i64 {
    let Some((sixth, [first, rest @ ..])) = behind_micros(text) else {
        return 0;
    };
    let is_half = *first == b'5' && rest.iter().all(|digit| *digit == b'0');
    // The digits of ASCII are odd and even as those that they stand for.
    i64::from(match is_half {
        true => sixth % 2 == 1,
        false => *first >= b'5',
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NearestTime {
    gives: DataType,
    failing: FailingText,
    signature: Signature,
}

impl NearestTime {
    fn of(&self, texts: &ArrayRef) -> Result<ArrayRef> {
        let reading = match &self.gives {
            DataType::Timestamp(_, Some(_)) => Reading::Instant,
            _ => Reading::Clock,
        };
        let texts = cast(texts, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let whole: StringArray = texts
            .iter()
            .map(|text| text.map(|text| reading.of(text)))
            .collect();
        let options = CastOptions {
            safe: self.failing == FailingText::IsNull,
            ..CastOptions::default()
        };
        let cut = cast_with_options(&whole, &self.gives, &options)?;
        if !texts.iter().flatten().any(|text| carried(text) > 0) {
            return Ok(cut);
        }
        let cut = cast(&cut, &DataType::Int64)?;
        let cut = cut.as_primitive::<Int64Type>().iter();
        let nearest: Int64Array = cut
            .zip(texts)
            .map(|(cut, text)| Some(cut? + text.map_or(0, carried)))
            .collect();
        Ok(cast(&nearest, &self.gives)?)
    }
}

impl ScalarUDFImpl for NearestTime {
    fn name(&self) -> &'static str {
        "nearest_time"
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
        Ok(self.gives.clone())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(texts)] => Ok(ColumnarValue::Array(self.of(texts)?)),
            [ColumnarValue::Scalar(text)] => {
                let time = self.of(&text.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                    &time, 0,
                )?))
            }
            _ => internal_err!("one text is read"),
        }
    }
}

/// Kind of time that a text is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reading {
    /// An instant: an offset counts.
    Instant,
    /// Time on a clock and a calendar: an offset is left out.
    Clock,
    /// A length of time.
    Span,
}

impl Reading {
    fn of(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Instant => with_seconds(text),
            Self::Clock => match without_offset(text) {
                None => with_seconds(text),
                Some(clock) => Cow::Owned(with_seconds(clock).into_owned()),
            },
            Self::Span => with_units(text),
        }
    }

    fn function(self) -> ScalarUDF {
        ScalarUDF::new_from_impl(TimeText {
            reading: self,
            signature: Signature::any(1, Volatility::Immutable),
        })
    }
}

/// A time without the offset or the zone behind it; `None` where there is none, and for what is no time.
fn without_offset(text: &str) -> Option<&str> {
    let text = text.trim();
    if !begins_with_minutes(text) {
        return None;
    }
    let is_of_time = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.');
    let at = MINUTES + text.get(MINUTES..)?.find(|c| !is_of_time(c))?;
    let (clock, zone) = text.split_at_checked(at)?;
    let zone = zone.trim_start();
    let is_offset = zone.strip_prefix(['+', '-']).is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == ':')
    });
    (is_offset || Zone::parse(zone).is_some()).then_some(clock)
}

/// Letters of a day and a time to the minute.
const MINUTES: usize = "2026-11-01 08:00".len();

fn begins_with_minutes(text: &str) -> bool {
    let shape = text.as_bytes().iter().take(MINUTES).enumerate();
    text.len() >= MINUTES
        && shape.into_iter().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => matches!(byte, b'T' | b't' | b' '),
            13 => *byte == b':',
            _ => byte.is_ascii_digit(),
        })
}

/// A text in which seconds stand behind hours and minutes that have none.
fn with_seconds(text: &str) -> Cow<'_, str> {
    match (begins_with_minutes(text), text.as_bytes().get(MINUTES)) {
        (false, _) | (_, Some(b':' | b'.' | b'0'..=b'9')) => Cow::Borrowed(text),
        _ => {
            let (minutes, rest) = text.split_at(MINUTES);
            Cow::Owned(format!("{minutes}:00{rest}"))
        }
    }
}

/// The functions, for plans that travel by their names.
pub(crate) fn functions() -> [ScalarUDF; 3] {
    [Reading::Instant, Reading::Clock, Reading::Span].map(Reading::function)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeText {
    reading: Reading,
    signature: Signature,
}

impl ScalarUDFImpl for TimeText {
    fn name(&self) -> &'static str {
        match self.reading {
            Reading::Instant => "time_text",
            Reading::Clock => "clock_text",
            Reading::Span => "span_text",
        }
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
            let texts: StringArray = texts
                .map(|text| text.map(|text| self.reading.of(text)))
                .collect();
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
