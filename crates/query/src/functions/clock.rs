//! The site's clock in SQL.
//!
//! Invariant: a null instant gives null; a null or unknown zone gives UTC's answer, and null for the offset itself, so that a
//! guess can be told from knowledge.

use super::arguments::{CallArguments, TextArgument};
use super::{ArgumentType, SqlFunction};
use crate::zone::{Zone, ZoneClock};
use arrow::array::{
    ArrayRef, Date32Array, Int64Array, PrimitiveArray, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType, TimeUnit};
use datafusion::common::Result;
use std::fmt::Write;
use std::sync::Arc;
use tillhouse_model::FastMap;
use tillhouse_model::calendar::{DAY, HOUR, NO_MONTH, civil_month};
use tillhouse_model::table::timestamp;
use tillhouse_model::time::{clock_offset_minutes, wall_clock};

const AT_IN: [ArgumentType; 2] = [ArgumentType::Instant, ArgumentType::Text];

/// `local_date`, `local_hour`, `local_hour_start`, `local_timestamp`, `utc_offset_minutes`, `clock_offset` and `month_of`.
pub(super) fn functions() -> [SqlFunction; 7] {
    let wall = DataType::Timestamp(TimeUnit::Microsecond, None);
    [
        SqlFunction::new("local_date", &AT_IN, DataType::Date32, local_date),
        SqlFunction::new("local_hour", &AT_IN, DataType::Int64, local_hour),
        SqlFunction::new("local_hour_start", &AT_IN, timestamp(), local_hour_start),
        SqlFunction::new("local_timestamp", &AT_IN, wall, local_timestamp),
        SqlFunction::new(
            "utc_offset_minutes",
            &AT_IN,
            DataType::Int64,
            utc_offset_minutes,
        ),
        SqlFunction::new("clock_offset", &AT_IN, DataType::Utf8, clock_offset),
        SqlFunction::new(
            "month_of",
            &[ArgumentType::Instant],
            DataType::Utf8,
            month_of,
        ),
    ]
}

/// Clocks of one batch: one a distinct zone, found without hashing while the zone stays the same.
struct BatchClocks<'a> {
    zones: TextArgument<'a>,
    index: FastMap<&'a str, usize>,
    clocks: Vec<Option<ZoneClock>>,
    last: Option<(&'a str, usize)>,
}

impl<'a> BatchClocks<'a> {
    fn new(zones: TextArgument<'a>) -> Self {
        Self {
            zones,
            index: FastMap::default(),
            clocks: Vec::new(),
            last: None,
        }
    }

    /// The clock at a row; `None` where its zone is null or unknown.
    fn at(&mut self, row: usize) -> Option<&mut ZoneClock> {
        let zone = self.zones.get(row)?;
        let index = match self.last {
            Some((last, index)) if last == zone => index,
            _ => {
                let clocks = &mut self.clocks;
                let index = *self.index.entry(zone).or_insert_with(|| {
                    clocks.push(Zone::parse(zone).map(ZoneClock::new));
                    clocks.len() - 1
                });
                self.last = Some((zone, index));
                index
            }
        };
        self.clocks.get_mut(index)?.as_mut()
    }
}

/// Answers row by row; `answer` gets the instant and its clock.
fn by_row<T: ArrowPrimitiveType>(
    arguments: &CallArguments,
    mut answer: impl FnMut(i64, Option<&mut ZoneClock>) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>> {
    let instants = arguments.instant(0)?;
    let mut clocks = BatchClocks::new(arguments.text(1)?);
    Ok((0..arguments.rows())
        .map(|row| instants.get(row).and_then(|at| answer(at, clocks.at(row))))
        .collect())
}

fn wall(instant: i64, clock: Option<&mut ZoneClock>) -> i64 {
    clock.map_or(instant, |clock| clock.wall(instant))
}

fn local_date(arguments: &CallArguments) -> Result<ArrayRef> {
    let dates: Date32Array = by_row(arguments, |instant, clock| {
        i32::try_from(wall(instant, clock).div_euclid(DAY)).ok()
    })?;
    Ok(Arc::new(dates))
}

fn local_hour(arguments: &CallArguments) -> Result<ArrayRef> {
    let hours: Int64Array = by_row(arguments, |instant, clock| {
        Some(wall(instant, clock).rem_euclid(DAY) / HOUR)
    })?;
    Ok(Arc::new(hours))
}

fn local_hour_start(arguments: &CallArguments) -> Result<ArrayRef> {
    let starts: TimestampMicrosecondArray = by_row(arguments, |instant, clock| {
        Some(clock.map_or_else(
            || ZoneClock::new(Zone::UTC).hour_start(instant),
            |clock| clock.hour_start(instant),
        ))
    })?;
    Ok(Arc::new(starts.with_timezone("UTC")))
}

fn local_timestamp(arguments: &CallArguments) -> Result<ArrayRef> {
    let walls: TimestampMicrosecondArray =
        by_row(arguments, |instant, clock| Some(wall(instant, clock)))?;
    Ok(Arc::new(walls))
}

fn utc_offset_minutes(arguments: &CallArguments) -> Result<ArrayRef> {
    let offsets: Int64Array = by_row(arguments, |instant, clock| {
        clock.map(|clock| clock.offset(instant).div_euclid(60_000_000))
    })?;
    Ok(Arc::new(offsets))
}

/// The second argument is what the clock showed, not its zone.
fn clock_offset(arguments: &CallArguments) -> Result<ArrayRef> {
    let (instants, walls) = (arguments.instant(0)?, arguments.text(1)?);
    let offsets: StringArray = (0..arguments.rows())
        .map(|row| {
            let minutes = clock_offset_minutes(wall_clock(walls.get(row)?)?, instants.get(row)?)?;
            let sign = if minutes < 0 { '-' } else { '+' };
            Some(format!(
                "{sign}{:02}:{:02}",
                minutes.abs() / 60,
                minutes.abs() % 60
            ))
        })
        .collect();
    Ok(Arc::new(offsets))
}

fn month_of(arguments: &CallArguments) -> Result<ArrayRef> {
    let instants = arguments.instant(0)?;
    let mut months = StringBuilder::with_capacity(arguments.rows(), arguments.rows() * 7);
    let (mut last, mut text) = (None, String::new());
    for row in 0..arguments.rows() {
        let Some(instant) = instants.get(row) else {
            months.append_value(NO_MONTH);
            continue;
        };
        let day = instant.div_euclid(DAY);
        if last != Some(day) {
            let (year, month) = civil_month(day);
            text.clear();
            // Writing to a String cannot fail.
            let _ = write!(text, "{year:04}-{month:02}");
            last = Some(day);
        }
        months.append_value(&text);
    }
    Ok(Arc::new(months.finish()))
}
