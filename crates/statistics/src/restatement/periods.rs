//! Hours, days and months whose figures changed, and what they were and are.
//!
//! Invariant: a period is in here exactly where something within it changed; its figures are those of all its hours that count as
//! past, so that a day that was only partly read then is compared over the part that was.

use super::measure::{RestatedHourFigure, RestatedMeasure, RestatedSums};
use crate::columns::add;
use crate::restated::RestatedFigure;
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::Result;

/// Key of a figure of a period: period, currency, figure, unit.
type PeriodKey = (String, String, RestatedMeasure, Option<String>);

/// Sums of hours, days and months.
pub(super) struct PeriodSums([BTreeMap<PeriodKey, RestatedSums>; 3]);

impl PeriodSums {
    pub(super) fn of(changed: &BTreeSet<RestatedHourFigure>) -> Self {
        let mut periods: [BTreeMap<PeriodKey, RestatedSums>; 3] = Default::default();
        for figure in changed {
            for (length, key) in periods.iter_mut().zip(keys(figure)) {
                length.insert(key, RestatedSums::default());
            }
        }
        Self(periods)
    }

    /// The UTC months in which hours of the changed months may lie: a site's month begins and ends up to a day beside UTC's.
    pub(super) fn utc_months(&self) -> BTreeSet<String> {
        let mut months = BTreeSet::new();
        for (month, ..) in self.0[2].keys() {
            let Ok(first) = format!("{month}-01").parse::<Date>() else {
                continue;
            };
            let neighbours = [
                first.yesterday().ok(),
                Some(first),
                first.last_of_month().tomorrow().ok(),
            ];
            months.extend(neighbours.into_iter().flatten().map(month_name));
        }
        months
    }

    /// Adds what an hour had and has to the periods it is in.
    pub(super) fn add(&mut self, figure: &RestatedHourFigure, sums: RestatedSums) -> Result<()> {
        for (length, key) in self.0.iter_mut().zip(keys(figure)) {
            if let Some(total) = length.get_mut(&key) {
                add(&mut total.then, sums.then)?;
                add(&mut total.now, sums.now)?;
                total.scale = sums.scale;
            }
        }
        Ok(())
    }

    /// The changes of hours, days and months, each in order.
    pub(super) fn into_changes(self) -> [Vec<RestatedFigure>; 3] {
        let changes = |length: BTreeMap<PeriodKey, RestatedSums>| {
            let change = |((period, currency, name, unit), sums): (PeriodKey, RestatedSums)| {
                let [then, now, difference] = sums.exact();
                RestatedFigure {
                    period,
                    currency,
                    figure: name.as_str().to_owned(),
                    unit,
                    then,
                    now,
                    difference,
                }
            };
            length.into_iter().map(change).collect::<Vec<_>>()
        };
        self.0.map(changes)
    }
}

fn month_name(date: Date) -> String {
    format!("{:04}-{:02}", date.year(), date.month())
}

/// Keys of a figure in an hour, a day and a month.
fn keys(figure: &RestatedHourFigure) -> [PeriodKey; 3] {
    let hour = jiff::Timestamp::from_microsecond(figure.hour)
        .map(|hour| hour.to_string())
        .unwrap_or_default();
    [hour, figure.date.to_string(), month_name(figure.date)].map(|period| {
        (
            period,
            figure.currency.clone(),
            figure.name,
            figure.unit.clone(),
        )
    })
}
