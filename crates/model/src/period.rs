//! The periods that reports are about: civil times, fixed or relative to a reference date.
//!
//! Invariant: a [`CivilPeriod`] is half-open, never empty, and civil: it means the clock on each site's own wall. Nothing here knows
//! what day it is; whoever asks brings the reference.
//!
//! ```text
//!   {"referenceDate": "2019-03-11T11:40:43+01:00",
//!    "startDate": {"year": 0, "month": 1, "day": 1, "week": null, "hour": 0,  "minute": 0,  "second": 0},
//!    "endDate":   {"year": 0, "month": 0, "day": 0, "week": null, "hour": 23, "minute": 59, "second": 59}}
//!                                     └─ 2019-01-01 00:00:00 to 2019-03-11 23:59:59, that last second included
//! ```
//!
//! This is the form of SmartNow's report requests. Its document has this one example and no rules; these are the ones that
//! explain it: zero and negative numbers count from the reference, positive ones are the calendar's own. Rejected: reading
//! every number as a distance, under which no reference date gives the example's answer.

use crate::error::{Error, Result};
use jiff::civil::{Date, DateTime, ISOWeekDate, Time, Weekday};
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Half-open stretch of civil time, [from, to), never empty.
///
/// ```
/// use tillhouse_model::CivilPeriod;
///
/// let january = CivilPeriod::parse("2026-01-01..2026-02-01")?;
/// assert_eq!(january.last_second().to_string(), "2026-01-31T23:59:59");
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct CivilPeriod {
    from: DateTime,
    to: DateTime,
}

impl CivilPeriod {
    /// A period. Errors with [`crate::ErrorKind::Config`] when `from` is not before `to`.
    pub fn new(from: DateTime, to: DateTime) -> Result<Self> {
        if from >= to {
            return Err(Error::config(format!("the period is empty: from {from} is not before to {to}")).hint(
                "Let it start earlier than it ends; of two dates, the second is the first that is no longer counted.",
            ));
        }
        Ok(Self { from, to })
    }

    /// Whole days, the second date not included.
    pub fn days(from: Date, to: Date) -> Result<Self> {
        Self::new(
            from.to_datetime(Time::midnight()),
            to.to_datetime(Time::midnight()),
        )
    }

    /// The first civil time inside.
    pub fn from(&self) -> DateTime {
        self.from
    }

    /// The first civil time after.
    pub fn to(&self) -> DateTime {
        self.to
    }

    /// The first and the first no longer included day, where it is made of whole days.
    pub fn whole_days(&self) -> Option<(Date, Date)> {
        let midnight = Time::midnight();
        (self.from.time() == midnight && self.to.time() == midnight)
            .then(|| (self.from.date(), self.to.date()))
    }

    /// The last second inside, which is how reports write their end: `2019-03-11 23:59:59`.
    pub fn last_second(&self) -> DateTime {
        self.to.saturating_sub(Span::new().seconds(1))
    }

    /// Parses a period as a user writes it: two dates or civil times with `..` between them, the
    /// second excluded.
    ///
    /// Errors with [`crate::ErrorKind::Config`].
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || {
            Error::config(format!("{text:?} is no period"))
                .hint("Write 2026-01-01..2026-02-01 (the second date is not included), or a JSON object with startDate and endDate.")
        };
        let (from, to) = text.split_once("..").ok_or_else(bad)?;
        let civil = |text: &str| written(text.trim()).map(|(at, _)| at).ok_or_else(bad);
        Self::new(civil(from)?, civil(to)?)
    }
}

impl fmt::Display for CivilPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.whole_days() {
            Some((from, to)) => write!(f, "{from}..{to}"),
            None => write!(f, "{}..{}", self.from, self.to),
        }
    }
}

/// A period as a report request names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeriodRequest {
    /// The date that relative ones count from: an instant with its offset, of which the day on that clock counts, or a date.
    /// Without one, whoever asks brings it.
    #[serde(default)]
    pub reference_date: Option<String>,
    /// The first second.
    pub start_date: PeriodEnd,
    /// The last second, which is included.
    pub end_date: PeriodEnd,
    /// Name by which the provider's front end made the period; has no effect.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

/// One end of a period: written in full, or by its distance from the reference.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PeriodEnd {
    /// `2023-01-01 00:00:00`, or a date.
    Fixed(String),
    /// Date by its parts.
    Relative(RelativeDate),
}

/// A date and time by parts. Zero and negative years, months, weeks and days count from the reference; positive ones are the
/// calendar's own: month 1 is January, day 31 the last day of a month that has fewer, week 5 the ISO week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelativeDate {
    /// The year; null is 0, the reference's.
    pub year: Option<i64>,
    /// The month; null is 0.
    pub month: Option<i64>,
    /// The ISO week; null means that the date is given by month and day. With a week, `day` is the day of the week, 1 Monday to
    /// 7 Sunday, and `month` has no meaning.
    pub week: Option<i64>,
    /// The day; null is 0.
    pub day: Option<i64>,
    /// 0 to 23; null is the start of the day, or its end for a period's end.
    pub hour: Option<i64>,
    /// 0 to 59; null as with the hour.
    pub minute: Option<i64>,
    /// 0 to 59; null as with the hour.
    pub second: Option<i64>,
}

impl PeriodRequest {
    /// The period it means. `today` is the reference where the request names none.
    ///
    /// Errors with [`crate::ErrorKind::Config`], naming the part that cannot be.
    pub fn resolve(&self, today: Date) -> Result<CivilPeriod> {
        let reference = match &self.reference_date {
            None => today,
            Some(text) => parse_day(text)?,
        };
        let start = self
            .start_date
            .resolve(reference, false)
            .map_err(|e| e.at("in", "startDate"))?;
        let end = self
            .end_date
            .resolve(reference, true)
            .map_err(|e| e.at("in", "endDate"))?;
        CivilPeriod::new(start, end.saturating_add(Span::new().seconds(1)))
    }
}

impl PeriodEnd {
    /// Its first second, or for the end of a period its last.
    fn resolve(&self, reference: Date, is_end: bool) -> Result<DateTime> {
        match self {
            Self::Relative(parts) => Ok(parts.date(reference)?.to_datetime(parts.time(is_end)?)),
            Self::Fixed(text) => match written(text) {
                Some((at, true)) if is_end => Ok(at.date().to_datetime(last_second_of_day())),
                Some((at, _)) => Ok(at),
                None => Err(Error::config(format!("{text:?} is neither a date nor a time"))
                    .hint("Write a date like 2026-01-31, or a time without offset like 2026-01-31 12:00:00: it means each site's own clock.")),
            },
        }
    }
}

impl RelativeDate {
    /// The day it means, from a reference.
    ///
    /// Errors with [`crate::ErrorKind::Config`].
    pub fn date(&self, reference: Date) -> Result<Date> {
        let (month, day) = (self.month.unwrap_or(0), self.day.unwrap_or(0));
        let Some(week) = self.week else {
            let of_year = with_year(reference, self.year.unwrap_or(0))?;
            return on_day(with_month(of_year, month)?, day);
        };
        if month != 0 {
            return Err(Error::config("a date names a week or a month, not both")
                .hint("Let month be null where week is a number."));
        }
        let reference_week = reference.iso_week_date();
        let of_week = if week > 0 {
            let year = match self.year.unwrap_or(0) {
                back @ ..=0 => i64::from(reference_week.year()).saturating_add(back),
                year => year,
            };
            let missing = || Error::config(format!("{year} has no ISO week {week}"));
            let number = i8::try_from(week).map_err(|_| missing())?;
            ISOWeekDate::new(a_year(year)?, number, reference_week.weekday())
                .map_err(|_| missing())?
                .date()
        } else {
            moved(
                with_year(reference, self.year.unwrap_or(0))?,
                Span::new().try_weeks(week),
                "week",
            )?
        };
        let of_week = of_week.iso_week_date();
        let weekday = match i8::try_from(day) {
            Ok(0) => of_week.weekday(),
            Ok(day @ 1..=7) => Weekday::from_monday_one_offset(day)
                .map_err(|_| no_number("day", i64::from(day)))?,
            Ok(..0) => return moved(of_week.date(), Span::new().try_days(day), "day"),
            _ => {
                return Err(no_number("day", day).hint(
                    "With a week, day is 1 (Monday) to 7 (Sunday), or 0 or negative to count from the reference.",
                ));
            }
        };
        ISOWeekDate::new(of_week.year(), of_week.week(), weekday)
            .map(ISOWeekDate::date)
            .map_err(|_| no_number("week", week))
    }

    fn time(&self, is_end: bool) -> Result<Time> {
        let last = last_second_of_day();
        let part = |name: &'static str, given: Option<i64>, end: i8| match given {
            None => Ok(if is_end { end } else { 0 }),
            Some(value) => i8::try_from(value)
                .ok()
                .filter(|v| (0..=end).contains(v))
                .ok_or_else(|| no_number(name, value)),
        };
        let (hour, minute) = (
            part("hour", self.hour, last.hour())?,
            part("minute", self.minute, last.minute())?,
        );
        let second = part("second", self.second, last.second())?;
        Time::new(hour, minute, second, 0)
            .map_err(|e| Error::internal("a time of day was not checked").because(e))
    }
}

/// The day an instant or date falls on, on the clock it is written for.
///
/// Errors with [`crate::ErrorKind::Config`].
pub fn parse_day(text: &str) -> Result<Date> {
    let text = text.trim();
    let has_offset = text.parse::<Timestamp>().is_ok();
    let day = if has_offset {
        // The offset was read to see that there is one; the day is the one that stands there.
        text.get(..10).and_then(|day| day.parse::<Date>().ok())
    } else {
        written(text).map(|(at, _)| at.date())
    };
    day.ok_or_else(|| {
        Error::config(format!("{text:?} is neither a date nor a time"))
            .hint("Write a date like 2026-01-31, or a time with its offset like 2026-01-31T12:00:00+01:00.")
    })
}

/// A civil time, and whether it was a date alone. A text with an offset is none: it would be taken for each site's own clock.
fn written(text: &str) -> Option<(DateTime, bool)> {
    let text = text.trim();
    if text.len() <= 10 {
        return text
            .parse::<Date>()
            .ok()
            .map(|day| (day.to_datetime(Time::midnight()), true));
    }
    let clock = text.get(10..)?;
    let is_civil = clock
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'T' | b't' | b' ' | b':' | b'.'));
    let at = is_civil.then(|| text.parse::<DateTime>().ok())??;
    (at.subsec_nanosecond() == 0).then_some((at, false))
}

fn last_second_of_day() -> Time {
    Time::constant(23, 59, 59, 0)
}

fn with_year(day: Date, year: i64) -> Result<Date> {
    if year <= 0 {
        return moved(day, Span::new().try_years(year), "year");
    }
    let year = a_year(year)?;
    let first = Date::new(year, day.month(), 1).map_err(|_| no_number("year", i64::from(year)))?;
    on_day(first, i64::from(day.day()))
}

fn with_month(day: Date, month: i64) -> Result<Date> {
    if month <= 0 {
        return moved(day, Span::new().try_months(month), "month");
    }
    let number = i8::try_from(month).map_err(|_| no_number("month", month))?;
    let first = Date::new(day.year(), number, 1).map_err(|_| no_number("month", month))?;
    on_day(first, i64::from(day.day()))
}

/// That day of the month, the last one where there is none; or so many days before.
fn on_day(month: Date, day: i64) -> Result<Date> {
    if day <= 0 {
        return moved(month, Span::new().try_days(day), "day");
    }
    let number = i8::try_from(day)
        .ok()
        .filter(|day| *day <= 31)
        .ok_or_else(|| no_number("day", day))?;
    Date::new(
        month.year(),
        month.month(),
        number.min(month.days_in_month()),
    )
    .map_err(|_| no_number("day", day))
}

/// A day moved by whole years, months, weeks or days; the 29th to 31st become the last day of a month that is shorter.
fn moved(
    day: Date,
    by: std::result::Result<Span, jiff::Error>,
    part: &'static str,
) -> Result<Date> {
    let beyond = || Error::config(format!("the {part} of a date lies beyond the calendar"));
    day.checked_add(by.map_err(|_| beyond())?)
        .map_err(|_| beyond())
}

/// A year that somebody means: the calendar knows the year 1, but whoever writes 1 wants the next one.
fn a_year(year: i64) -> Result<i16> {
    i16::try_from(year)
        .ok()
        .filter(|year| (1000..=9999).contains(year))
        .ok_or_else(|| no_number("year", year))
}

fn no_number(part: &'static str, value: i64) -> Error {
    Error::config(format!("{value} is no {part} of a date")).hint(
        "Zero and negative numbers count from the reference date; positive ones are the calendar's own, like month 1 for January.",
    )
}

#[cfg(test)]
#[path = "period_tests.rs"]
mod tests;
