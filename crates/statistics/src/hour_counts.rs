//! Counts by hour: those of a curve, and where a batch's rows have theirs.
//!
//! Invariant: an hour of a curve is an instant, one of the day a number from 0 to 23; a curve holds one kind. Hours whose counts cancel out are not
//! shown.

use crate::columns::{IntegerColumn, integers};
use crate::request::HourGrouping;
use crate::rollup::{FactScan, Part};
use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use tillhouse_model::calendar::{DAY, HOUR};
use tillhouse_model::{FastMap, Result};
use tillhouse_query::zone::ZoneClock;

/// Hours of a day.
const HOURS: usize = 24;
/// Days from the first to the last of a curve that are held by their place: some 270 years.
const MOST_DAYS: i64 = 100_000;

/// Counts by hour.
#[derive(Debug, Default)]
pub(crate) struct HourCounts {
    /// The day, since 1970, of the first of `days`.
    first: i64,
    /// By UTC day; none where nothing was counted.
    days: Vec<Option<Box<[i64; HOURS]>>>,
    /// Hours that are not UTC's, hours of the day, and those far from the others.
    others: FastMap<i64, i64>,
}

impl HourCounts {
    /// Adds to an hour of a curve, by its start.
    pub(crate) fn add(&mut self, start: i64, count: i64) {
        if start.rem_euclid(HOUR) == 0
            && let Some(day) = self.of_day(start.div_euclid(DAY))
            && let Some(hour) = day.get_mut(place_of(start))
        {
            *hour += count;
        } else {
            *self.others.entry(start).or_default() += count;
        }
    }

    /// Adds to an hour of the day.
    fn add_of_day(&mut self, hour: i64, count: i64) {
        *self.others.entry(hour).or_default() += count;
    }

    /// The hours of a UTC day; `None` far from the others.
    fn of_day(&mut self, day: i64) -> Option<&mut [i64; HOURS]> {
        if self.days.is_empty() {
            self.first = day;
        }
        if day < self.first {
            let before = self.first.checked_sub(day)?;
            let held = i64::try_from(self.days.len()).ok()?;
            let more = usize::try_from(before).ok()?;
            if before.checked_add(held)? > MOST_DAYS {
                return None;
            }
            let before = std::iter::repeat_with(|| None).take(more);
            drop(self.days.splice(0..0, before));
            self.first = day;
        }
        let place = day.checked_sub(self.first).filter(|at| *at < MOST_DAYS)?;
        let place = usize::try_from(place).ok()?;
        if place >= self.days.len() {
            self.days.resize_with(place + 1, || None);
        }
        let day = self.days.get_mut(place)?;
        Some(&mut **day.get_or_insert_with(|| Box::new([0; HOURS])))
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: Self) {
        for (day, counts) in (other.first..).zip(other.days) {
            for (hour, count) in counts.iter().flat_map(|counts| counts.iter()).enumerate() {
                if *count != 0 {
                    self.add(day * DAY + hour as i64 * HOUR, *count);
                }
            }
        }
        for (hour, count) in other.others {
            *self.others.entry(hour).or_default() += count;
        }
    }

    /// The hours that count something, in order.
    pub(crate) fn in_order(&self) -> Vec<(i64, i64)> {
        let days = (self.first..).zip(&self.days);
        let of_days = days.flat_map(|(day, counts)| {
            let counts = counts.iter().flat_map(|counts| counts.iter());
            let hours = (0..).map(move |hour| day * DAY + hour * HOUR);
            hours.zip(counts.copied())
        });
        let mut found: Vec<(i64, i64)> = of_days.filter(|(_, count)| *count != 0).collect();
        if !self.others.is_empty() {
            let others = self.others.iter().filter(|(_, count)| **count != 0);
            found.extend(others.map(|(hour, count)| (*hour, *count)));
            found.sort_unstable();
        }
        found
    }
}

/// The place of an hour in its UTC day.
fn place_of(start: i64) -> usize {
    usize::try_from(start.rem_euclid(DAY) / HOUR).unwrap_or(usize::MAX)
}

/// Where the rows of a batch have their hours.
pub(crate) enum HourColumns {
    /// None are asked for.
    None,
    /// A fact's is the one that its time is in.
    Instants,
    /// A fact's is that of its site's clock.
    OfSites(IntegerColumn),
    /// Counts of a day by UTC's hours.
    Utc(Vec<ScalarBuffer<i64>>),
    /// Counts of a period by the hours of the sites' clocks.
    Local(Vec<ScalarBuffer<i64>>),
}

impl HourColumns {
    /// The hours of a scan's batch.
    pub(crate) fn of(batch: &RecordBatch, scan: &FactScan, grouping: HourGrouping) -> Result<Self> {
        if scan.hours.is_empty() {
            return Ok(Self::None);
        }
        let counts = || {
            let names = scan.source.hours(grouping).iter();
            let columns = names.map(|name| integers(batch, name).map(IntegerColumn::or_zero));
            columns.collect::<Result<Vec<_>>>()
        };
        Ok(match (grouping, scan.source.is_counted()) {
            (HourGrouping::Timeline, false) => Self::Instants,
            (HourGrouping::OfDay, false) => Self::OfSites(integers(batch, "local_hour")?),
            (HourGrouping::Timeline, true) => Self::Utc(counts()?),
            (HourGrouping::OfDay, true) => Self::Local(counts()?),
        })
    }

    /// Counts a row, by its place and its time, as far as the parts of a scan have it.
    pub(crate) fn count(
        &self,
        to: &mut HourCounts,
        parts: &[Part],
        (row, at): (usize, i64),
        clock: &mut ZoneClock,
    ) {
        match self {
            Self::None => {}
            Self::Instants => match Part::sign_at(parts, at) {
                0 => {}
                sign => to.add(clock.hour_start(at), sign),
            },
            Self::OfSites(hours) => match Part::sign_at(parts, at) {
                0 => {}
                // A site whose clock is not known goes by UTC, as its business date does.
                sign => {
                    let hour = hours.get(row).unwrap_or_else(|| at.rem_euclid(DAY) / HOUR);
                    to.add_of_day(hour, sign);
                }
            },
            Self::Local(hours) => {
                let sign = Part::sign_at(parts, at);
                for (hour, counts) in (0..).zip(hours) {
                    let count = sign * counts.get(row).copied().unwrap_or(0);
                    if count != 0 {
                        to.add_of_day(hour, count);
                    }
                }
            }
            Self::Utc(hours) => count_day(to, parts, hours, (row, at)),
        }
    }
}

/// Counts a day's hours, those that lie in a scan's parts.
fn count_day(
    to: &mut HourCounts,
    parts: &[Part],
    hours: &[ScalarBuffer<i64>],
    (row, at): (usize, i64),
) {
    let is_whole = |part: &Part| {
        part.span.0 <= at && at.saturating_add(DAY) <= part.span.1 && !part.is_taken_off
    };
    if parts.iter().any(is_whole)
        && let Some(day) = to.of_day(at.div_euclid(DAY))
    {
        for (sum, counts) in day.iter_mut().zip(hours) {
            *sum += counts.get(row).copied().unwrap_or(0);
        }
        return;
    }
    for (hour, counts) in (0..).zip(hours) {
        let start = at.saturating_add(hour * HOUR);
        let count = Part::sign_at(parts, start) * counts.get(row).copied().unwrap_or(0);
        if count != 0 {
            to.add(start, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_come_in_order_whatever_order_they_went_in() {
        let mut counts = HourCounts::default();
        for (hour, count) in [(30, 2), (-1, 1), (3, 5), (3, -5), (29, 4)] {
            counts.add(hour * HOUR, count);
        }
        counts.add(30 * HOUR + HOUR / 2, 7);
        // As far from the others as no curve is.
        counts.add(i64::from(i32::MAX) * HOUR, 8);
        let mut other = HourCounts::default();
        other.add(29 * HOUR, 1);
        other.add(-30 * HOUR, 6);
        counts.merge(other);
        assert_eq!(
            counts.in_order(),
            [
                (-30 * HOUR, 6),
                (-HOUR, 1),
                (29 * HOUR, 5),
                (30 * HOUR, 2),
                (30 * HOUR + HOUR / 2, 7),
                (i64::from(i32::MAX) * HOUR, 8),
            ]
        );
    }

    #[test]
    fn of_a_day_the_hours_of_the_window_count() {
        let hours: Vec<ScalarBuffer<i64>> = (0..24).map(|hour| vec![hour].into()).collect();
        let part = |from: i64, to: i64| Part {
            span: (from * HOUR, to * HOUR),
            is_taken_off: false,
        };
        let counted = |parts: &[Part]| {
            let mut counts = HourCounts::default();
            count_day(&mut counts, parts, &hours, (0, DAY));
            let counted = counts.in_order().into_iter();
            counted
                .map(|(at, count)| (at / HOUR, count))
                .collect::<Vec<_>>()
        };
        assert_eq!(counted(&[part(20, 27)]), [(25, 1), (26, 2)]);
        assert_eq!(counted(&[part(0, 50)]).len(), 23, "hour 0 counts nothing");
        assert_eq!(counted(&[part(0, 20)]), []);
    }
}
