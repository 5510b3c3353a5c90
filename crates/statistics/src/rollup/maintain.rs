//! Keeping the roll-ups: from the versions of the unified tables they were counted from to those a run is about to publish.
//!
//! ```text
//!   counted ─(lake: what differs)─> changed hours ─> changed days, months and years of the levels ─> rows of these (`sums`)
//!                                                                       one commit a fact: these periods replaced in all levels
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

use super::level::{Grain, Level};
use super::sums::RollupRows;
use super::{FACTS, RolledFact};
use futures::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_lake::{
    ChangedLevels, ChangedRanges, FactSnapshot, RangeSet, SourceWatermarks, TableVersion,
    UnifiedRowStream, Warehouse, is_store_failure,
};
use tillhouse_model::{Error, ErrorKind, Result};
use tokio::task::JoinSet;

/// Number of times that another run may come first.
const ROUNDS: usize = 5;

/// Brings the roll-ups to the versions of the unified tables that a run names (`unified`, by path), and gives the versions of their
/// tables by path, to be named beside them. Of the pipelines in `anew` every hour is counted again.
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
    let version_of = |table: &str| unified.get(&format!("unified/{table}")).copied();
    // A task each: on one task they would share one core.
    let mut tasks = JoinSet::new();
    for fact in FACTS {
        if version_of(fact.name).is_none() {
            continue;
        }
        let of_source = |source: &&str| Some(((*source).to_owned(), version_of(source)?));
        let maintainer = RollupMaintainer {
            warehouse: warehouse.clone(),
            fact,
            wanted: fact.sources.iter().filter_map(of_source).collect(),
            anew: anew.to_vec(),
            run_id: run_id.to_owned(),
        };
        tasks.spawn(async move {
            let version = maintainer.bring_up().await?;
            Ok::<_, Error>(version.map(|version| (fact.path(), version)))
        });
    }
    let mut done = Vec::new();
    while let Some(kept) = tasks.join_next().await {
        done.push(kept.map_err(|e| Error::internal("adding up a roll-up failed").because(e))??);
    }
    // A run has roll-ups of all its facts, or has none.
    let done: Option<BTreeMap<String, u64>> = done.into_iter().collect();
    Ok(done.unwrap_or_default())
}

/// Maintenance of the roll-ups of one fact: from their watermarks to the versions a run names.
struct RollupMaintainer {
    warehouse: Warehouse,
    fact: &'static RolledFact,
    wanted: SourceWatermarks,
    anew: Vec<String>,
    run_id: String,
}

/// Hours whose facts differ between two versions.
#[derive(Default)]
struct ChangedHours {
    hours: ChangedRanges,
    /// True where the earlier version is not known, so that all hours are counted.
    is_anew: bool,
}

impl RollupMaintainer {
    /// Brings the table up to date. `None` where other runs are faster, or further on.
    async fn bring_up(&self) -> Result<Option<u64>> {
        let (path, table) = (self.fact.path(), self.fact.range_table(&self.warehouse));
        for _ in 0..ROUNDS {
            if self.anew.is_empty()
                && let Some(version) = table.version_made_from(&self.wanted).await?
            {
                return Ok(Some(version));
            }
            if let Some(why) = table.damage().await? {
                tracing::warn!("{path} is damaged and counted anew: {why}");
                table.begin_anew(&self.run_id).await?;
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
            let changed = self.changed_hours(&path, &was).await?;
            let pipelines = self.pipelines().await?;
            let is_everything =
                changed.is_anew || pipelines.iter().all(|name| self.anew.contains(name));
            let anew: Vec<String> = match is_everything {
                true => pipelines.into_iter().collect(),
                false => self.anew.clone(),
            };
            let touched = self.touched(&changed, &anew);
            let rows = self.rows(version, &touched).await?;
            let (wanted, run) = (&self.wanted, &self.run_id);
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
    async fn changed_hours(&self, path: &str, was: &SourceWatermarks) -> Result<ChangedHours> {
        let mut changed = ChangedHours {
            is_anew: was.is_empty(),
            ..ChangedHours::default()
        };
        for (source, version) in &self.wanted {
            let fact = FACTS.into_iter().find(|fact| fact.name == source);
            let fact = fact.ok_or_else(|| {
                Error::internal("a roll-up is counted from a table that is no fact")
                    .at("table", source)
            })?;
            let since = was.get(source).copied().map(TableVersion::from);
            let (since, now) = (since.as_ref(), TableVersion::from(*version));
            let found = match fact.changed_hours(&self.warehouse, since, &now).await {
                // Vacuum may have taken the earlier version's files, or they are damaged. A store that fails now leaves the roll-ups to the next run: with
                // every hour to be read it would fail all the more.
                Err(error)
                    if error.kind() == ErrorKind::Storage
                        && since.is_some()
                        && !is_store_failure(&error) =>
                {
                    tracing::warn!(table = %path, "counting every hour anew: {error}");
                    changed.is_anew = true;
                    fact.changed_hours(&self.warehouse, None, &now).await
                }
                found => found,
            };
            changed.hours.merge(found?);
        }
        Ok(changed)
    }

    /// The pipelines that have facts.
    async fn pipelines(&self) -> Result<BTreeSet<String>> {
        let Some(facts) = self.facts(self.fact.name).await? else {
            return Ok(BTreeSet::new());
        };
        let partitions = facts.partitions()?.into_iter();
        Ok(partitions.map(|partition| partition.pipeline).collect())
    }

    /// The periods of the levels that are to be counted again; of the pipelines in `anew` all.
    fn touched(&self, changed: &ChangedHours, anew: &[String]) -> ChangedLevels {
        let mut touched = ChangedLevels::new();
        for level in Level::of(self.fact) {
            let of_level = touched.entry(level.value.to_owned()).or_default();
            for (pipeline, hours) in &changed.hours.0 {
                of_level.add(pipeline, periods(level.grain, hours));
            }
            for pipeline in anew {
                of_level.add(pipeline, RangeSet::All);
            }
        }
        touched
    }

    /// Sums of the touched periods. `version` is that of the table as it is.
    async fn rows(
        &self,
        version: Option<u64>,
        touched: &ChangedLevels,
    ) -> Result<UnifiedRowStream> {
        let Some(own) = self.facts(self.fact.name).await? else {
            return Ok(stream::empty().boxed());
        };
        let parents = if self.fact.inherits() {
            self.facts("transactions").await?
        } else {
            None
        };
        let stored = match version {
            Some(version) => {
                let (path, version) = (self.fact.path(), TableVersion::from(version));
                self.warehouse.facts(&path, &version).await?
            }
            None => None,
        };
        RollupRows::new(self.fact, (own, parents), stored, touched.clone()).stream()
    }

    /// A fact at the version that the run names; `None` where it names none.
    async fn facts(&self, name: &str) -> Result<Option<FactSnapshot>> {
        let Some(version) = self.wanted.get(name) else {
            return Ok(None);
        };
        let (path, version) = (format!("unified/{name}"), TableVersion::from(*version));
        self.warehouse.facts(&path, &version).await
    }
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
