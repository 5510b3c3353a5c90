//! What `tillhouse status` shows: how far every pipeline has been read, and what needs attention.
//!
//! Invariant: read from the warehouse alone; no source is asked.

use crate::config::{Pipeline, ResourcePlan};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_lake::{SliceRow, Warehouse};
use tillhouse_model::{Coverage, Result, Window, WindowRead};

/// The state of one resource of one pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResourceStatus {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// Up to when it has been read without a gap, counted from `sync.start`, of all its tenants; null where nothing was read.
    pub data_through: Option<Timestamp>,
    /// When it was last read.
    pub last_read: Option<Timestamp>,
    /// Record versions in the source table.
    pub versions: u64,
    /// Stretches of time since `sync.start` that were never read of some tenant, in the time the resource is read by.
    pub gaps: Vec<Window>,
    /// Records that did not fit their contract and have not landed since.
    pub open_rejects: u64,
    /// The newest published run that touched the pipeline.
    pub last_run: Option<String>,
    /// Its outcome: done or partial.
    pub outcome: Option<String>,
}

/// Up to when all tenants of a resource have been read without a gap, and the gaps of any of them. What lies after the newest instant that
/// was read is none: it is what the next run is for.
fn read_so_far(
    plan: &ResourcePlan,
    tenants: impl Iterator<Item = impl Iterator<Item = WindowRead>>,
) -> (Option<Timestamp>, Vec<Window>) {
    let (start, resource) = (plan.sync.start, plan.resource);
    let mut through: Vec<Option<Timestamp>> = Vec::new();
    let mut gaps: BTreeSet<Window> = BTreeSet::new();
    for reads in tenants {
        let coverage = Coverage::new(resource.read_by, resource.late, reads);
        let newest = coverage.covered().last().map(Window::to);
        let wanted = newest.and_then(|newest| Some((newest, Window::new(start, newest).ok()?)));
        let missing = wanted.map(|(newest, wanted)| coverage.gaps(wanted, newest)).unwrap_or_default();
        through.push(match missing.first().map(|gap| gap.window.from()) {
            Some(gap) => Some(gap).filter(|gap| *gap > start),
            None => newest,
        });
        gaps.extend(missing.into_iter().map(|gap| gap.window));
    }
    (through.into_iter().min().flatten(), gaps.into_iter().collect())
}

/// The state of every resource of these pipelines.
pub async fn status(warehouse: &Warehouse, pipelines: &[Pipeline]) -> Result<Vec<ResourceStatus>> {
    let runs = warehouse.ops().runs().await?;
    let mut all = Vec::new();
    for pipeline in pipelines {
        let ledger = warehouse.ops().slices(&pipeline.name).await?;
        let rejects = warehouse.ops().rejects(Some(&pipeline.name), true).await?;
        let run = runs.iter().find(|r| r.published && r.pipelines.contains(&pipeline.name));
        for plan in &pipeline.resources {
            let mut tenants: BTreeMap<Option<&str>, Vec<&SliceRow>> = BTreeMap::new();
            for row in ledger.iter().filter(|row| row.resource == plan.resource.name) {
                tenants.entry(row.tenant.as_deref()).or_default().push(row);
            }
            let last_read = tenants.values().flatten().map(|row| row.read_at).max();
            // Of a sync in which nothing failed there is a slice of every tenant that is still read.
            let sync = run.filter(|run| run.command == "sync" && run.outcome == "done");
            let is_read =
                |rows: &Vec<&SliceRow>| sync.is_some_and(|sync| rows.iter().any(|row| row.run_id == sync.run_id));
            if tenants.values().any(is_read) {
                tenants.retain(|_, rows| is_read(rows));
            }
            let reads = tenants.into_values().map(|rows| rows.into_iter().map(SliceRow::as_read));
            let (data_through, gaps) = read_so_far(plan, reads);
            let table = warehouse.open_at(&format!("{}/{}", pipeline.name, plan.resource.name), None).await?;
            all.push(ResourceStatus {
                pipeline: pipeline.name.clone(),
                resource: plan.resource.name.to_owned(),
                data_through,
                last_read,
                versions: table.and_then(|t| t.rows).unwrap_or(0),
                gaps,
                open_rejects: rejects.iter().filter(|r| r.resource == plan.resource.name).count() as u64,
                last_run: run.map(|r| r.run_id.clone()),
                outcome: run.map(|r| r.outcome.clone()),
            });
        }
    }
    Ok(all)
}
