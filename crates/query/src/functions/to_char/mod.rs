//! `to_char(value, pattern)`: instants, days, times, intervals and numbers as text, by PostgreSQL's patterns.
//!
//! Invariant: what PostgreSQL 15 gives in its C locale. A pattern that PostgreSQL has and this has not, and one of `strftime`, is an error that says so; nothing is printed as
//! it stands by mistake.

mod instants;
mod numbers;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use instants::{InstantPattern, Moment};
use numbers::NumberPattern;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tillhouse_model::FastMap;

use crate::zone::{Zone, ZoneClock};

/// The function.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(ToChar {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToChar {
    signature: Signature,
}

/// The type in which values are read; `None` for those that have no patterns.
fn read_as(of: &DataType) -> Option<DataType> {
    Some(match of {
        DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Interval(_) | DataType::Duration(_) => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        DataType::Decimal128(..) | DataType::Float64 => of.clone(),
        DataType::Decimal64(precision, scale) | DataType::Decimal32(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Float32 | DataType::Float16 => DataType::Float64,
        DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
        whole if whole.is_integer() => DataType::Decimal128(20, 0),
        _ => return None,
    })
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &'static str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [of, pattern] = types else {
            return plan_err!("to_char takes a value and a pattern");
        };
        if !pattern.is_string() && !pattern.is_null() {
            return plan_err!("the pattern of to_char is a text, like 'YYYY-MM-DD' or '999.99'");
        }
        match read_as(of) {
            Some(read) => Ok(vec![read, DataType::Utf8]),
            None => plan_err!(
                "to_char is of instants, days, times, intervals and numbers, not of {of}; a text is cast first: to_char(CAST(x AS TIMESTAMP), 'YYYY-MM')"
            ),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values, patterns] = args.args.as_slice() else {
            return internal_err!("to_char has two arguments");
        };
        let is_constant = matches!(
            (values, patterns),
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
        );
        let rows = if is_constant { 1 } else { args.number_rows };
        let (values, value_step) = column(values)?;
        let (patterns, pattern_step) = column(patterns)?;
        let Some(patterns) = patterns.as_string_opt::<i32>() else {
            return internal_err!("patterns are {}", patterns.data_type());
        };
        let source = Values::of(&values)?;
        let mut known: FastMap<&str, Pattern> = FastMap::default();
        let mut clock = source.clock()?;
        let mut texts = StringBuilder::new();
        for row in 0..rows {
            let (value, pattern) = (row * value_step, row * pattern_step);
            if values.is_null(value) || patterns.is_null(pattern) {
                texts.append_null();
                continue;
            }
            let pattern = match known.entry(patterns.value(pattern)) {
                Entry::Occupied(read) => read.into_mut(),
                Entry::Vacant(new) => {
                    let read = source.pattern(new.key())?;
                    new.insert(read)
                }
            };
            texts.append_value(source.text(value, pattern, &mut clock)?);
        }
        let texts: ArrayRef = Arc::new(texts.finish());
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &texts, 0,
            )?));
        }
        Ok(ColumnarValue::Array(texts))
    }
}

/// The values of an argument, and the step from one row to the next.
fn column(value: &ColumnarValue) -> Result<(ArrayRef, usize)> {
    Ok(match value {
        ColumnarValue::Array(array) => (Arc::clone(array), 1),
        ColumnarValue::Scalar(scalar) => (scalar.to_array()?, 0),
    })
}

/// A pattern that was read.
enum Pattern {
    Instant(InstantPattern),
    Number(NumberPattern),
}

/// Value to be printed, by its type.
enum Values {
    Instants(ArrayRef, Option<Zone>),
    Times(ArrayRef),
    Intervals(ArrayRef),
    Decimals(ArrayRef, i8),
    Floats(ArrayRef),
}

impl Values {
    fn of(values: &ArrayRef) -> Result<Self> {
        let values = Arc::clone(values);
        Ok(match values.data_type().clone() {
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let zone = match zone {
                    None => None,
                    Some(zone) => match Zone::parse(&zone) {
                        Some(zone) => Some(zone),
                        None => return plan_err!("{zone} is no time zone"),
                    },
                };
                Self::Instants(values, zone)
            }
            DataType::Time64(TimeUnit::Microsecond) => Self::Times(values),
            DataType::Interval(IntervalUnit::MonthDayNano) => Self::Intervals(values),
            DataType::Decimal128(_, scale) => Self::Decimals(values, scale),
            DataType::Float64 => Self::Floats(values),
            other => match read_as(&other) {
                Some(read) if read != other => Self::of(&cast(&values, &read)?)?,
                _ => return internal_err!("to_char has no patterns for {other}"),
            },
        })
    }

    fn clock(&self) -> Result<Option<ZoneClock>> {
        Ok(match self {
            Self::Instants(_, zone) => zone.map(ZoneClock::new),
            _ => None,
        })
    }

    fn pattern(&self, pattern: &str) -> Result<Pattern> {
        Ok(match self {
            Self::Decimals(..) | Self::Floats(_) => Pattern::Number(NumberPattern::read(pattern)?),
            _ => Pattern::Instant(InstantPattern::read(pattern)?),
        })
    }

    fn text(&self, at: usize, pattern: &Pattern, clock: &mut Option<ZoneClock>) -> Result<String> {
        match (self, pattern) {
            (Self::Instants(values, _), Pattern::Instant(pattern)) => {
                let instant = values.as_primitive::<TimestampMicrosecondType>().value(at);
                let offset = clock.as_mut().map(|clock| clock.offset(instant));
                pattern.text(&Moment::of_instant(instant, offset)?)
            }
            (Self::Times(values), Pattern::Instant(pattern)) => {
                let micros = values.as_primitive::<Time64MicrosecondType>().value(at);
                pattern.text(&Moment::of_interval(0, 0, micros))
            }
            (Self::Intervals(values), Pattern::Instant(pattern)) => {
                let interval = values.as_primitive::<IntervalMonthDayNanoType>().value(at);
                pattern.text(&Moment::of_interval(
                    interval.months.into(),
                    interval.days.into(),
                    interval.nanoseconds / 1_000,
                ))
            }
            (Self::Decimals(values, scale), Pattern::Number(pattern)) => {
                pattern.decimal(values.as_primitive::<Decimal128Type>().value(at), *scale)
            }
            (Self::Floats(values), Pattern::Number(pattern)) => {
                pattern.float(values.as_primitive::<Float64Type>().value(at))
            }
            _ => internal_err!("a pattern is of another type"),
        }
    }
}
