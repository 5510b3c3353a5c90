//! Keeping the roll-ups: from the versions of the unified tables they were counted from to those a run is about to publish.
//!
//! ```text
//!   counted ─(lake: what differs)─> changed hours ─> changed days, months and years of the levels ─> rows of these (`sums`, `side_by_side`)
//!                                                                                  one commit: these periods replaced in all levels
//! ```
//!
//! A table that is damaged, or that a run found to be another than was published, begins anew: nobody knows which of its rows are stale. One that
//! a program of another edition has written since, after a step back to an earlier version, is counted anew: it was kept up only as far as that
//! one knows it.
//!
//! Invariant: roll-ups that are named in a run were counted from the very versions of the unified tables that the run names. Whatever
//! stands in the way (another run that is further on already, a store that fails), the run is published without the roll-ups, and is answered from
//! the facts. Where these versions are those that were counted, nothing is asked of the store.
//!
//! Rejected: to add to a month what its changed hours have more than before. It reads less, but what was once wrong would stay so.

use super::fact::{FACTS, RolledFact, TRANSACTIONS};
use super::level::{Grain, Level};
use super::side_by_side::side_by_side;
use super::sums::RollupRows;
use super::table;
use futures::future::try_join_all;
use futures::try_join;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_lake::{
    ChangedLevels, ChangedRanges, FactSnapshot, RangeSet, SourceWatermarks, TableVersion,
    UnifiedRowStream, Warehouse, is_store_failure,
};
use tillhouse_model::{Error, ErrorKind, Result};
use tokio::task::JoinSet;

/// Number of times that another run may come first.
const ROUNDS: usize = 5;

/// Brings the roll-ups to the versions of the unified tables that a run names (`unified`, by path), and gives the version of their
/// table by path, to be named beside them. Of the pipelines in `anew` every hour is counted again.
///
/// Empty where there is nothing to add up, or where another run has taken the roll-ups beyond these versions.
///
/// Errors as the lake does; whatever was done stays done, and the next run goes on from there.
pub async fn roll_up(
    warehouse: &Warehouse,
    unified: &BTreeMap<String, u64>,
    anew: &[String],
    run_id: &str,
) -> Result<BTreeMap<String, u64>> {
    let of_fact = |name: &str| {
        let version = unified.get(&format!("unified/{name}"))?;
        Some((name.to_owned(), *version))
    };
    let wanted: SourceWatermarks = table::sources().into_iter().filter_map(of_fact).collect();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let maintainer = RollupMaintainer {
        warehouse,
        wanted,
        anew,
        run_id,
    };
    let version = maintainer.bring_up().await?.into_iter();
    Ok(version.map(|version| (table::path(), version)).collect())
}

/// Maintenance of the roll-ups: from their watermarks to the versions a run names.
struct RollupMaintainer<'r> {
    warehouse: &'r Warehouse,
    /// The facts there are, with the versions of the run.
    wanted: SourceWatermarks,
    anew: &'r [String],
    run_id: &'r str,
}

/// Hours whose facts differ between two versions.
#[derive(Default)]
struct ChangedHours {
    /// By fact.
    hours: BTreeMap<&'static str, ChangedRanges>,
    /// True where the earlier version of a fact is not known, so that all hours of all facts are counted.
    is_anew: bool,
}

impl ChangedHours {
    /// The hours in which a fact's levels are others: those of what they are made from.
    fn of(&self, fact: &RolledFact) -> ChangedRanges {
        let mut hours = ChangedRanges::default();
        let sources = fact.sources.iter();
        for changed in sources.filter_map(|source| self.hours.get(source)) {
            hours.merge(changed.clone());
        }
        hours
    }
}

impl RollupMaintainer<'_> {
    /// Brings the table up to date. `None` where other runs are faster, or further on.
    async fn bring_up(&self) -> Result<Option<u64>> {
        let (path, table) = (table::path(), table::range_table(self.warehouse));
        for _ in 0..ROUNDS {
            if self.anew.is_empty()
                && let Some(version) = table.version_made_from(&self.wanted).await?
            {
                return Ok(Some(version));
            }
            if let Some(why) = table.damage().await? {
                tracing::warn!("{path} is damaged and counted anew: {why}");
                table.begin_anew(self.run_id).await?;
            }
            let (version, was) = table.watermarks().await?;
            if was.iter().any(|(source, version)| {
                self.wanted
                    .get(source)
                    .is_none_or(|wanted| wanted < version)
            }) {
                tracing::warn!(table = %path, "another run has added up later versions: this run has no roll-ups");
                return Ok(None);
            }
            let (changed, facts) = try_join!(self.changed_hours(&was), self.facts())?;
            let pipelines = pipelines(&facts)?;
            let is_everything =
                changed.is_anew || pipelines.iter().all(|name| self.anew.contains(name));
            let anew: Vec<String> = match is_everything {
                true => pipelines.into_iter().collect(),
                false => self.anew.to_vec(),
            };
            let touched = touched(&changed, &anew);
            let rows = self.rows(version, &facts, &touched).await?;
            let (wanted, run) = (&self.wanted, self.run_id);
            let done = match is_everything {
                // Those of another edition, and of pipelines that are gone, go too.
                true => table.replace_all(&was, wanted, rows, run).await?,
                false => table.replace(&was, wanted, &touched, rows, run).await?,
            };
            if let Some(done) = done {
                tracing::debug!(table = %path, added = done.rows_added, removed = done.rows_removed, "rolled up");
                return Ok(Some(done.version));
            }
        }
        tracing::warn!(table = %path, "other runs kept changing the roll-ups: this run has none");
        Ok(None)
    }

    /// The hours that differ from those that were counted.
    async fn changed_hours(&self, was: &SourceWatermarks) -> Result<ChangedHours> {
        let mut changed = ChangedHours {
            is_anew: was.is_empty(),
            ..ChangedHours::default()
        };
        if changed.is_anew {
            return Ok(changed);
        }
        // A task each: on one task they would share one core.
        let mut tasks = JoinSet::new();
        for fact in FACTS {
            if let Some(now) = self.wanted.get(fact.name) {
                let (since, now) = (was.get(fact.name).copied(), *now);
                tasks.spawn(changed_hours_of(self.warehouse.clone(), fact, since, now));
            }
        }
        while let Some(compared) = tasks.join_next().await {
            let compared = compared
                .map_err(|e| Error::internal("comparing two versions failed").because(e))?;
            match compared? {
                (fact, Some(hours)) => {
                    changed.hours.insert(fact, hours);
                }
                (_, None) => changed.is_anew = true,
            }
        }
        Ok(changed)
    }

    /// The facts at the versions that the run names, by name.
    async fn facts(&self) -> Result<BTreeMap<String, FactSnapshot>> {
        let mut opening = Vec::new();
        for (name, version) in &self.wanted {
            opening.push(self.opened(name, *version));
        }
        let opened = try_join_all(opening).await?.into_iter();
        Ok(opened.flatten().collect())
    }

    async fn opened(&self, name: &str, version: u64) -> Result<Option<(String, FactSnapshot)>> {
        let (path, version) = (format!("unified/{name}"), TableVersion::from(version));
        let facts = self.warehouse.facts(&path, &version).await?;
        Ok(facts.map(|facts| (name.to_owned(), facts)))
    }

    /// Sums of the touched periods. `version` is that of the table as it is.
    async fn rows(
        &self,
        version: Option<u64>,
        facts: &BTreeMap<String, FactSnapshot>,
        touched: &ChangedLevels,
    ) -> Result<UnifiedRowStream> {
        let stored = match version {
            Some(version) => {
                let (path, version) = (table::path(), TableVersion::from(version));
                self.warehouse.facts(&path, &version).await?
            }
            None => None,
        };
        let mut makers = Vec::new();
        for fact in FACTS {
            let Some(own) = facts.get(fact.name).cloned() else {
                continue;
            };
            let parents = facts.get(TRANSACTIONS.name).cloned();
            let parents = parents.filter(|_| fact.inherits());
            let (stored, touched) = (stored.clone(), touched.clone());
            makers.push(RollupRows::new(fact, (own, parents), stored, touched));
        }
        side_by_side(makers)
    }
}

/// The pipelines that have facts.
fn pipelines(facts: &BTreeMap<String, FactSnapshot>) -> Result<BTreeSet<String>> {
    let mut pipelines = BTreeSet::new();
    for facts in facts.values() {
        let partitions = facts.partitions()?.into_iter();
        pipelines.extend(partitions.map(|partition| partition.pipeline));
    }
    Ok(pipelines)
}

/// The hours in which two versions of a fact differ, with the fact's name; no hours where the earlier version cannot be read.
async fn changed_hours_of(
    warehouse: Warehouse,
    fact: &'static RolledFact,
    since: Option<u64>,
    now: u64,
) -> Result<(&'static str, Option<ChangedRanges>)> {
    let (since, now) = (since.map(TableVersion::from), TableVersion::from(now));
    match fact.changed_hours(&warehouse, since.as_ref(), &now).await {
        // Vacuum may have taken the earlier version's files, or they are damaged. A store that fails now leaves the roll-ups to the next run: with
        // every hour to be read it would fail all the more.
        Err(error)
            if error.kind() == ErrorKind::Storage
                && since.is_some()
                && !is_store_failure(&error) =>
        {
            tracing::warn!(fact = fact.name, "counting every hour anew: {error}");
            Ok((fact.name, None))
        }
        found => Ok((fact.name, Some(found?))),
    }
}

/// The periods of the levels that are to be counted again; of the pipelines in `anew` all.
fn touched(changed: &ChangedHours, anew: &[String]) -> ChangedLevels {
    let mut touched = ChangedLevels::new();
    for fact in FACTS {
        let changed = changed.of(fact);
        for level in Level::of(fact) {
            let of_level = touched.entry(level.name.to_owned()).or_default();
            for (pipeline, hours) in &changed.0 {
                of_level.add(pipeline, periods(level.grain, hours));
            }
            for pipeline in anew {
                of_level.add(pipeline, RangeSet::All);
            }
        }
    }
    touched
}

/// The periods that hours lie in.
fn periods(grain: Grain, hours: &RangeSet) -> RangeSet {
    match hours {
        RangeSet::All => RangeSet::All,
        RangeSet::Only(hours) => {
            let period = |hour: &Option<i64>| hour.map(|hour| grain.start_of(hour));
            RangeSet::Only(hours.iter().map(period).collect())
        }
    }
}
