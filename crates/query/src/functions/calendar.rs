//! Differences and parts of times that DataFusion does not know: `date_diff`, `age`, `last_day`, and `calendar_part`, which `extract(century FROM ...)` becomes.
//!
//! Invariant: an instant is read on UTC's clock, as everywhere in SQL here; `local_timestamp(instant, zone)` puts it on another. Years before the first are counted as
//! PostgreSQL does: the year 0 is 1 BC.

use super::arguments::CallArguments;
use super::{ArgumentType, SqlFunction};
use arrow::array::{ArrayRef, Date32Array, Int64Array, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit};
use datafusion::common::{Result, exec_datafusion_err};
use std::sync::Arc;
use tillhouse_model::calendar::{DAY, HOUR, civil_month, days_from_civil, days_in};

const PART_OF: [ArgumentType; 2] = [ArgumentType::Text, ArgumentType::InstantOrSpan];
const TWO: [ArgumentType; 2] = [ArgumentType::Instant, ArgumentType::Instant];

/// The functions.
pub(super) fn functions() -> [SqlFunction; 4] {
    [
        SqlFunction::new(
            "date_diff",
            &[
                ArgumentType::Text,
                ArgumentType::Instant,
                ArgumentType::Instant,
            ],
            DataType::Int64,
            date_diff,
        ),
        SqlFunction::new("calendar_part", &PART_OF, DataType::Int64, calendar_part),
        SqlFunction::new(
            "last_day",
            &[ArgumentType::Instant],
            DataType::Date32,
            last_day,
        ),
        SqlFunction::new(
            "age",
            &TWO,
            DataType::Interval(IntervalUnit::MonthDayNano),
            age,
        ),
    ]
}

/// A unit whose beginnings lie between two times.
#[derive(Clone, Copy)]
enum Unit {
    Micros(i64),
    Weeks,
    Months(i64),
    IsoYears,
}

impl Unit {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        Some(match text.strip_suffix('s').unwrap_or(&text) {
            "microsecond" => Self::Micros(1),
            "millisecond" => Self::Micros(1_000),
            "second" => Self::Micros(1_000_000),
            "minute" => Self::Micros(HOUR / 60),
            "hour" => Self::Micros(HOUR),
            "day" => Self::Micros(DAY),
            "week" => Self::Weeks,
            "month" => Self::Months(1),
            "quarter" => Self::Months(3),
            "year" => Self::Months(12),
            "decade" => Self::Months(120),
            "isoyear" => Self::IsoYears,
            _ => return None,
        })
    }

    /// Number that begin after one instant and up to another; of weeks, of the whole ones that lie between the two days.
    fn between(self, from: i64, to: i64) -> Option<i64> {
        match self {
            Self::Weeks => Some((to.div_euclid(DAY) - from.div_euclid(DAY)) / 7),
            unit => unit.number(to).checked_sub(unit.number(from)),
        }
    }

    /// The number of the unit that an instant is in.
    fn number(self, instant: i64) -> i64 {
        let day = instant.div_euclid(DAY);
        match self {
            Self::Micros(length) => instant.div_euclid(length),
            Self::Weeks => day.div_euclid(7),
            Self::Months(months) => {
                let (year, month) = civil_month(day);
                (year * 12 + month - 1).div_euclid(months)
            }
            Self::IsoYears => iso_year(day),
        }
    }
}

/// The year of the week that a day is in: that of its Thursday.
fn iso_year(day: i64) -> i64 {
    let thursday = day - (day + 3).rem_euclid(7) + 3;
    civil_month(thursday).0
}

fn date_diff(arguments: &CallArguments) -> Result<ArrayRef> {
    let units = arguments.text(0)?;
    let (from, to) = (arguments.instant(1)?, arguments.instant(2)?);
    let differences: Int64Array = (0..arguments.rows())
        .map(|row| {
            let (Some(text), Some(from), Some(to)) = (units.get(row), from.get(row), to.get(row))
            else {
                return Ok(None);
            };
            let unit = Unit::parse(text).ok_or_else(|| {
                exec_datafusion_err!(
                    "date_diff knows no {text:?}, but microsecond, millisecond, second, minute, hour, day, week, month, quarter, year, decade and isoyear"
                )
            })?;
            Ok(unit.between(from, to))
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(differences))
}

fn calendar_part(arguments: &CallArguments) -> Result<ArrayRef> {
    let parts = arguments.text(0)?;
    // The parts that a span has are those of another function.
    let instants = (arguments.instant(1)).map_err(|_| {
        let part = (arguments.rows() > 0).then(|| parts.get(0)).flatten();
        exec_datafusion_err!("an interval has no {:?}", part.unwrap_or_default())
    })?;
    // Counted from the first year, and backwards from the one before it.
    let counted = |year: i64, years: i64| {
        if year > 0 {
            (year + years - 1) / years
        } else {
            -((years - year) / years)
        }
    };
    let values: Int64Array = (0..arguments.rows())
        .map(|row| {
            let (Some(part), Some(at)) = (parts.get(row), instants.get(row)) else {
                return Ok(None);
            };
            let day = at.div_euclid(DAY);
            let (year, _) = civil_month(day);
            match part {
                "century" => Ok(Some(counted(year, 100))),
                "millennium" => Ok(Some(counted(year, 1_000))),
                "decade" => Ok(Some(year.div_euclid(10))),
                "isoyear" => Ok(Some(iso_year(day))),
                other => Err(exec_datafusion_err!("a time has no {other:?}")),
            }
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(values))
}

fn last_day(arguments: &CallArguments) -> Result<ArrayRef> {
    let instants = arguments.instant(0)?;
    let days: Date32Array = (0..arguments.rows())
        .map(|row| {
            let (year, month) = civil_month(instants.get(row)?.div_euclid(DAY));
            let (year, month) = (i32::try_from(year).ok()?, u32::try_from(month).ok()?);
            i32::try_from(days_from_civil(year, month, days_in(year, month))).ok()
        })
        .collect();
    Ok(Arc::new(days))
}

/// A time in fields of its clock.
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    micros: i64,
}

impl Fields {
    fn of(instant: i64) -> Option<Self> {
        let day = instant.div_euclid(DAY);
        let (year, month) = civil_month(day);
        let first = days_from_civil(i32::try_from(year).ok()?, u32::try_from(month).ok()?, 1);
        Some(Self {
            year,
            month,
            day: day - first + 1,
            micros: instant.rem_euclid(DAY),
        })
    }

    fn days_of_month(&self) -> i64 {
        match (i32::try_from(self.year), u32::try_from(self.month)) {
            (Ok(year), Ok(month)) => i64::from(days_in(year, month)),
            _ => 31,
        }
    }
}

/// PostgreSQL's difference: years, months and days as one counts them on a calendar, where a month that is not whole gives as many days as the earlier time's has.
fn difference(later: i64, earlier: i64) -> Option<IntervalMonthDayNano> {
    if later < earlier {
        // The same fields, the other way round; the month that gives its days is that of the first argument, the earlier one.
        let of = difference(earlier, later)?;
        return Some(IntervalMonthDayNano::new(
            -of.months,
            -of.days,
            -of.nanoseconds,
        ));
    }
    let (one, other) = (Fields::of(later)?, Fields::of(earlier)?);
    let (mut months, mut days, mut micros) = (
        (one.year - other.year) * 12 + one.month - other.month,
        one.day - other.day,
        one.micros - other.micros,
    );
    if micros < 0 {
        (micros, days) = (micros + DAY, days - 1);
    }
    while days < 0 {
        (days, months) = (days + other.days_of_month(), months - 1);
    }
    Some(IntervalMonthDayNano::new(
        i32::try_from(months).ok()?,
        i32::try_from(days).ok()?,
        micros.checked_mul(1_000)?,
    ))
}

fn age(arguments: &CallArguments) -> Result<ArrayRef> {
    let (later, earlier) = (arguments.instant(0)?, arguments.instant(1)?);
    let spans: IntervalMonthDayNanoArray = (0..arguments.rows())
        .map(|row| difference(later.get(row)?, earlier.get(row)?))
        .collect();
    Ok(Arc::new(spans))
}
