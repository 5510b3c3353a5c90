//! `time_bucket(width, time, origin)`: the beginning of the bucket that a time is in.
//!
//! Invariant: buckets follow each other without gaps, before the origin too; a time keeps its type. Buckets of months begin with a month, all others are counted from
//! Monday, 2000-01-03, unless another origin is given. DataFusion's `date_bin` counts from 1970, so that its weeks begin on Thursdays.

use super::arguments::by_columns;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;
use tillhouse_model::calendar::{DAY, civil_month, days_from_civil};

/// Monday, 2000-01-03, in days since 1970.
const MONDAY: i64 = 10_959;
/// January 2000, in months since the year 0.
const JANUARY: i64 = 2_000 * 12;

/// `time_bucket`.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(TimeBucket {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeBucket {
    signature: Signature,
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &'static str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let ([width, time] | [width, time, _]) = types else {
            return plan_err!("time_bucket takes a width, a time and perhaps an origin");
        };
        if !matches!(width, DataType::Interval(_)) {
            return plan_err!(
                "the width of time_bucket is an interval, like INTERVAL '15 minutes'"
            );
        }
        let time = match time {
            DataType::Date32 => DataType::Date32,
            DataType::Timestamp(_, zone) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            other if other.is_string() || other.is_null() => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            other => return plan_err!("time_bucket is of times, not of {other}"),
        };
        let mut coerced = vec![DataType::Interval(IntervalUnit::MonthDayNano), time.clone()];
        coerced.extend(types.get(2).map(|_| time));
        Ok(coerced)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.get(1) {
            Some(time) => Ok(time.clone()),
            None => plan_err!("time_bucket takes a width and a time"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_columns(&args, |columns, _| {
            buckets(columns, args.return_field.data_type())
        })
    }
}

/// Microseconds since 1970 of a column of times.
fn micros(times: &ArrayRef) -> Result<Int64Array> {
    let wall = DataType::Timestamp(TimeUnit::Microsecond, None);
    let at = match times.data_type() {
        DataType::Date32 => cast(times, &wall)?,
        _ => Arc::clone(times),
    };
    Ok(cast(&at, &DataType::Int64)?
        .as_primitive::<Int64Type>()
        .clone())
}

fn buckets(columns: &[ArrayRef], gives: &DataType) -> Result<ArrayRef> {
    let [width, time, origin @ ..] = columns else {
        return exec_err!("time_bucket takes a width and a time");
    };
    let widths = width.as_primitive::<IntervalMonthDayNanoType>();
    let times = micros(time)?;
    let origins = origin.first().map(micros).transpose()?;
    let begins: Int64Array = (0..times.len())
        .map(|row| {
            let origin = match &origins {
                Some(origins) if origins.is_null(row) => return Ok(None),
                Some(origins) => Some(origins.value(row)),
                None => None,
            };
            if widths.is_null(row) || times.is_null(row) {
                return Ok(None);
            }
            begin(widths.value(row), times.value(row), origin).map(Some)
        })
        .collect::<Result<_>>()?;
    let at: ArrayRef = Arc::new(begins);
    Ok(match gives {
        DataType::Date32 => {
            let wall = DataType::Timestamp(TimeUnit::Microsecond, None);
            cast(&cast(&at, &wall)?, gives)?
        }
        _ => cast(&at, gives)?,
    })
}

/// The beginning of the bucket that holds a time, in microseconds.
fn begin(width: IntervalMonthDayNano, time: i64, origin: Option<i64>) -> Result<i64> {
    let beyond = || exec_datafusion_err!("a bucket begins beyond all calendars");
    if width.months != 0 && (width.days != 0 || width.nanoseconds != 0) {
        return exec_err!("a bucket is of months or of days and hours, not of both");
    }
    let month_of = |at: i64| {
        let (year, month) = civil_month(at.div_euclid(DAY));
        year * 12 + month - 1
    };
    if width.months != 0 {
        let months = i64::from(width.months);
        if months < 0 {
            return exec_err!("the width of a bucket is more than nothing");
        }
        let from = origin.map_or(JANUARY, month_of);
        let month = from + (month_of(time) - from).div_euclid(months) * months;
        let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
        return i32::try_from(year)
            .ok()
            .zip(u32::try_from(month).ok())
            .and_then(|(year, month)| days_from_civil(year, month, 1).checked_mul(DAY))
            .ok_or_else(beyond);
    }
    if width.nanoseconds % 1_000 != 0 {
        return exec_err!("the width of a bucket is of whole microseconds");
    }
    let width = i64::from(width.days)
        .checked_mul(DAY)
        .and_then(|days| days.checked_add(width.nanoseconds / 1_000))
        .filter(|width| *width > 0);
    let Some(width) = width else {
        return exec_err!("the width of a bucket is more than nothing");
    };
    let from = origin.unwrap_or(MONDAY * DAY);
    let since = time.checked_sub(from).ok_or_else(beyond)?;
    (since.div_euclid(width))
        .checked_mul(width)
        .and_then(|after| after.checked_add(from))
        .ok_or_else(beyond)
}
