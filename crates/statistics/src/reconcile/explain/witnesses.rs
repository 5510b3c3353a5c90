//! Witnesses of another definition: hours and windows in which it would count other sales than ours.
//!
//! Invariant: a window of which the other side has nothing is no witness, whatever would empty it; and where the other side says nothing about
//! single hours a whole window is one witness, however many of its sales would move.

use super::super::hours::HourLabel;
use super::ReconcileSample;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::reconcile::{ProviderFigure, StatisticsPart};

/// Samples that have to tell two definitions apart: one may be a sale that is missing.
const NEEDED: usize = 2;

/// Number of hours, or windows, in which two definitions count differently.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Witnesses {
    all: usize,
    /// Those in which the other definition has sales that ours has not.
    come: usize,
    /// Those in which it lacks some.
    left: usize,
}

impl Witnesses {
    /// Those of samples, each beside itself with our figures counted by the other definition.
    pub(super) fn of(samples: &[ReconcileSample], recounted: &[ReconcileSample]) -> Self {
        let mut found = Self::default();
        for (sample, recount) in samples.iter().zip(recounted) {
            let said = &sample.theirs.figures;
            let has_sold = |figure: &ProviderFigure| {
                !figure.part.is_growth() && figure.value.is_some_and(|value| value.units != 0)
            };
            if !said.iter().any(has_sold) {
                continue;
            }
            let (ours, theirs) = (by_hour(&sample.ours), by_hour(&recount.ours));
            let hours: BTreeSet<HourLabel> = ours.keys().chain(theirs.keys()).copied().collect();
            let count = |table: &BTreeMap<HourLabel, i128>, hour: &HourLabel| {
                table.get(hour).copied().unwrap_or(0)
            };
            let is = |more: fn(&i128, &i128) -> bool| {
                let differs = |hour: &&HourLabel| more(&count(&theirs, hour), &count(&ours, hour));
                hours.iter().filter(differs).count()
            };
            let (come, left) = (is(i128::gt), is(i128::lt));
            let names_hours = said.iter().any(|figure| {
                let label = figure.label.as_deref().and_then(HourLabel::read);
                figure.part == StatisticsPart::Hours
                    && matches!(label, Some(HourLabel::Absolute(_)))
            });
            found.all += match names_hours {
                true => come + left,
                false => usize::from(come + left > 0),
            };
            found.come += come;
            found.left += left;
        }
        found
    }

    /// True if they are enough. `moves`: sales have to have come, and to have left.
    pub(super) fn tell_apart(&self, moves: bool) -> bool {
        self.all >= NEEDED && (!moves || (self.come > 0 && self.left > 0))
    }
}

/// Our counts, hour by hour.
fn by_hour(figures: &[ProviderFigure]) -> BTreeMap<HourLabel, i128> {
    let mut hours = BTreeMap::new();
    for figure in figures.iter().filter(|f| f.part == StatisticsPart::Hours) {
        let hour = figure.label.as_deref().and_then(HourLabel::read);
        let count = figure.value.and_then(|value| value.rescaled(0));
        if let Some((hour, count)) = hour.zip(count) {
            *hours.entry(hour).or_default() += count.units;
        }
    }
    hours
}
