//! A run's record as it is published: merged with that of the run which was published before it.
//!
//! Invariant: of a run's own pipelines its record shows what it has read, of all others what readers have had until now: neither half of what
//! another process is doing, nor less than that one has published meanwhile. Two runs that publish at the same time take nothing back from each
//! other.
//!
//! ```text
//!   source tables     own: as the run has them      others': as the run before names them
//!   unified tables    one line of versions for all: the run's, with others pinned to what is published of them where that differs
//!   roll-ups          the same; counted from the run's versions, so whoever is pinned there is pinned here
//!   bookkeeping       the later version
//! ```
//!
//! Rejected: to wait for the other process, which may be filling years, and to take its rows back, which are in its way to be published.

use crate::log::figures::TableFigures;
use crate::log::table_version::TableVersion;
use crate::ops::edit::OpsTables;
use crate::ops::rows::RunRecord;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::{ExpectedReads, Result};

/// Beginning of the paths of the tables that all sources share.
const UNIFIED: &str = "unified/";
/// Beginning of the paths of the tables that are counted from those.
const ROLL_UPS: &str = "statistics/";

/// Differences between the unified tables that a run names and those that its roll-ups were counted from.
#[derive(Default)]
struct UncountedFacts {
    /// Pipelines of which others are shown; `true` where nothing of them is.
    pinned: BTreeMap<String, bool>,
    /// True where the table has later versions that others have published.
    is_overtaken: bool,
}

impl OpsTables {
    /// Names, beside the run's own tables, what is published of all other pipelines. `before` is the run that was published last.
    pub(super) async fn merge(
        &self,
        run: &mut RunRecord,
        before: Option<&RunRecord>,
    ) -> Result<()> {
        let nothing = BTreeMap::new();
        let published = before.map_or(&nothing, |before| &before.tables);
        let own = run.tables.clone();
        for (path, version) in published {
            let is_shared = path.starts_with(UNIFIED) || path.starts_with(ROLL_UPS);
            let is_later = match own.get(path) {
                Some(own) => {
                    own.version < version.version && !self.registry.table(path)?.has_lost_versions()
                }
                // A table that is gone, and that the run goes on without.
                None => is_shared || !self.registry.table(path)?.has_lost_versions(),
            };
            if is_later && !is_shared {
                run.tables.insert(path.clone(), version.clone());
            }
        }
        let pipelines = run.pipelines.clone();
        let pipelines: BTreeSet<&str> = pipelines.iter().map(String::as_str).collect();
        let uncounted = self.merge_facts(run, published, &pipelines).await?;
        let rolled = self.merged_roll_ups(run, published, &pipelines, &uncounted)?;
        run.tables.retain(|path, _| !path.starts_with(ROLL_UPS));
        run.tables.extend(rolled);
        self.size(run, &own, before).await?;
        if let Some(before) = before {
            keep_expected(run, before);
        }
        Ok(())
    }

    /// The unified tables.
    async fn merge_facts(
        &self,
        run: &mut RunRecord,
        published: &BTreeMap<String, TableVersion>,
        pipelines: &BTreeSet<&str>,
    ) -> Result<UncountedFacts> {
        let mut uncounted = UncountedFacts::default();
        let paths: BTreeSet<&String> = published.keys().chain(run.tables.keys()).collect();
        let paths = paths.into_iter().filter(|path| path.starts_with(UNIFIED));
        for path in paths.cloned().collect::<Vec<_>>() {
            let before = published.get(&path);
            let named = match (run.tables.get(&path), before) {
                (Some(own), _) if self.registry.table(&path)?.has_lost_versions() => own.clone(),
                (Some(own), Some(before)) if own.version < before.version => {
                    uncounted.is_overtaken = true;
                    without(before, pipelines)
                }
                (Some(own), before) => {
                    let table = self.registry.table(&path)?;
                    match table.unchecked(own.version).await? {
                        Some(snapshot) => TableVersion {
                            version: own.version,
                            pinned: table.behind(&snapshot, before, pipelines).await?,
                        },
                        None => own.clone(),
                    }
                }
                (None, Some(_)) if self.registry.table(&path)?.has_lost_versions() => continue,
                (None, Some(before)) => {
                    uncounted.is_overtaken = true;
                    before.clone()
                }
                (None, None) => continue,
            };
            for (pipeline, version) in &named.pinned {
                let is_new = uncounted.pinned.entry(pipeline.clone()).or_insert(true);
                *is_new &= version.is_none();
            }
            run.tables.insert(path, named);
        }
        Ok(uncounted)
    }

    /// The roll-ups that belong to the facts the run names; none where they are not all there.
    fn merged_roll_ups(
        &self,
        run: &RunRecord,
        published: &BTreeMap<String, TableVersion>,
        pipelines: &BTreeSet<&str>,
        uncounted: &UncountedFacts,
    ) -> Result<BTreeMap<String, TableVersion>> {
        let of = |tables: &BTreeMap<String, TableVersion>, kind: &str| {
            let tables = tables.iter().filter(|(path, _)| path.starts_with(kind));
            tables
                .map(|(path, version)| (path.clone(), version.clone()))
                .collect::<BTreeMap<_, _>>()
        };
        let (own, before) = (of(&run.tables, ROLL_UPS), of(published, ROLL_UPS));
        let is_as_before = of(&run.tables, UNIFIED) == of(published, UNIFIED);
        if own.is_empty() {
            return Ok(if is_as_before { before } else { own });
        }
        if uncounted.pinned.is_empty() && !uncounted.is_overtaken {
            return Ok(own);
        }
        let mut merged = BTreeMap::new();
        for path in own.keys().chain(before.keys()) {
            let has_lost_versions = self.registry.table(path)?.has_lost_versions();
            let before = before.get(path).filter(|_| !has_lost_versions);
            let named = match (own.get(path), before) {
                (Some(own), Some(before)) if uncounted.is_overtaken => {
                    let mut named = without(before, pipelines);
                    for pipeline in pipelines {
                        let version = own.of(pipeline);
                        named.pinned.insert((*pipeline).to_owned(), version);
                    }
                    named
                }
                (Some(own), Some(before)) => {
                    let mut named = own.clone();
                    for pipeline in uncounted.pinned.keys() {
                        named.pinned.insert(pipeline.clone(), before.of(pipeline));
                    }
                    named
                }
                (Some(own), None)
                    if !uncounted.is_overtaken && uncounted.pinned.values().all(|new| *new) =>
                {
                    let mut named = own.clone();
                    for pipeline in uncounted.pinned.keys() {
                        named.pinned.insert(pipeline.clone(), None);
                    }
                    named
                }
                _ => return Ok(BTreeMap::new()),
            };
            merged.insert(path.clone(), named);
        }
        Ok(merged)
    }

    /// Gives every table the size of the version that is named, and none to others.
    async fn size(
        &self,
        run: &mut RunRecord,
        own: &BTreeMap<String, TableVersion>,
        before: Option<&RunRecord>,
    ) -> Result<()> {
        let mut figures = BTreeMap::new();
        for (path, named) in &run.tables {
            let is_of = |tables: &BTreeMap<String, TableVersion>| tables.get(path) == Some(named);
            let known = match before {
                _ if is_of(own) => run.figures.get(path).copied(),
                Some(before) if is_of(&before.tables) => before.figures.get(path).copied(),
                _ => {
                    let table = self.registry.table(path)?;
                    let shown = table.opened_as_named(named).await?;
                    shown.as_ref().map(TableFigures::of)
                }
            };
            figures.extend(known.map(|known| (path.clone(), known)));
        }
        run.figures = figures;
        Ok(())
    }
}

/// A version in which some pipelines are not pinned.
fn without(named: &TableVersion, pipelines: &BTreeSet<&str>) -> TableVersion {
    let mut named = named.clone();
    named
        .pinned
        .retain(|pipeline, _| !pipelines.contains(pipeline.as_str()));
    named
}

/// Figures that the run does not know of itself, of pipelines that were not its own, stay expected as the run before it said. What that run did
/// not know either is left to those who have its configuration. A pipeline that was not unified is shown as the run before has it.
fn keep_expected(run: &mut RunRecord, before: &RunRecord) {
    for (pipeline, own) in &mut run.expected {
        if own.unified_by.as_deref() == Some("") {
            let known = before.expected.get(pipeline);
            let unified_by = known.and_then(|known| known.unified_by.clone());
            own.unified_by = Some(unified_by.unwrap_or_else(|| before.run_id.clone()));
        }
    }
    for (pipeline, expected) in &before.expected {
        let own = run.expected.get(pipeline);
        if !expected.is_known() || own.is_some_and(ExpectedReads::is_known) {
            continue;
        }
        let unified_by = own.and_then(|own| own.unified_by.clone());
        let kept = ExpectedReads {
            unified_by: unified_by.or_else(|| expected.unified_by.clone()),
            ..expected.clone()
        };
        run.expected.insert(pipeline.clone(), kept);
    }
}

#[cfg(test)]
#[path = "merged_run_tests.rs"]
mod tests;
