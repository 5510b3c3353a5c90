//! Status of every pipeline: how far it has been read, and what needs attention.
//!
//! Invariant: read from the warehouse alone; no source is asked. Whether something lacks is [`Coverage::assess`]'s to say, as it is for
//! statistics and reports.

use crate::config::{Pipeline, ResourcePlan};
use crate::lease::{self, LeaseHolder};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_lake::{CoverageRow, RunRecord, Warehouse};
use tillhouse_model::{Coverage, ReadMode, Result, Window, WindowRead};

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
    /// The run that writes the pipeline now.
    pub running: Option<LeaseHolder>,
}

/// Up to when all tenants of a resource have been read without a gap, and the gaps of any of them, of the time up to `until`.
fn read_so_far(
    plan: &ResourcePlan,
    until: Option<Timestamp>,
    tenants: &[Coverage],
) -> (Option<Timestamp>, Vec<Window>) {
    let wanted = until.and_then(|until| Window::new(plan.sync.start, until).ok());
    let mut through: Vec<Option<Timestamp>> = Vec::new();
    let mut gaps: BTreeSet<Window> = BTreeSet::new();
    for coverage in tenants {
        let Some(wanted) = wanted else {
            through.push(coverage.covered().last().map(Window::to));
            continue;
        };
        let answer = coverage.assess(wanted, wanted.to());
        through.push(answer.through);
        gaps.extend(answer.gaps.into_iter().map(|gap| gap.window));
    }
    (
        through.into_iter().min().flatten(),
        gaps.into_iter().collect(),
    )
}

/// Coverage of every tenant that is still read.
fn coverages(
    ledger: &[CoverageRow],
    plan: &ResourcePlan,
    last: Option<&RunRecord>,
) -> Vec<Coverage> {
    let mut tenants: BTreeMap<Option<&str>, Vec<&CoverageRow>> = BTreeMap::new();
    for row in ledger
        .iter()
        .filter(|row| row.resource == plan.resource.name)
    {
        tenants.entry(row.tenant.as_deref()).or_default().push(row);
    }
    // Of a sync in which nothing failed there is a slice of every tenant that is still read.
    let sync = last.filter(|run| run.command == "sync" && run.outcome == "done");
    let is_read = |rows: &Vec<&CoverageRow>| {
        sync.is_some_and(|sync| rows.iter().any(|row| row.run_id == sync.run_id))
    };
    if tenants.values().any(is_read) {
        tenants.retain(|_, rows| is_read(rows));
    }
    let of = |rows: Vec<&CoverageRow>| {
        let reads = rows.into_iter().map(CoverageRow::as_read);
        match plan.resource.read_mode {
            ReadMode::FullRefresh => Coverage::of(reads.map(WindowRead::of_everything)),
            ReadMode::Incremental => {
                Coverage::new(plan.resource.read_by, plan.resource.follows_changes, reads)
            }
        }
    };
    tenants.into_values().map(of).collect()
}

/// The state of every resource of these pipelines.
pub async fn status(warehouse: &Warehouse, pipelines: &[Pipeline]) -> Result<Vec<ResourceStatus>> {
    let runs = warehouse.ops().run_heads().await?;
    let mut all = Vec::new();
    for pipeline in pipelines {
        let running = lease::holder(warehouse, &pipeline.name).await?;
        let ledger = warehouse.ops().coverage(&pipeline.name).await?;
        let rejects = warehouse.ops().rejects(Some(&pipeline.name), true).await?;
        let run = runs
            .iter()
            .find(|r| r.published && r.pipelines.contains(&pipeline.name));
        let read: Vec<Vec<Coverage>> = pipeline
            .resources
            .iter()
            .map(|plan| coverages(&ledger, plan, run))
            .collect();
        // As far as anything of the pipeline was read by time, everything should have been: what lies after that is for the next run.
        let by_time = pipeline
            .resources
            .iter()
            .zip(&read)
            .filter(|(plan, _)| plan.resource.read_mode == ReadMode::Incremental);
        let until = by_time
            .flat_map(|(_, read)| read)
            .filter_map(|read| read.covered().last())
            .map(Window::to)
            .max();
        for (plan, read) in pipeline.resources.iter().zip(&read) {
            let of_resource = |row: &&CoverageRow| row.resource == plan.resource.name;
            let last_read = ledger
                .iter()
                .filter(of_resource)
                .map(|row| row.read.read_at)
                .max();
            let (data_through, gaps) = read_so_far(plan, until, read);
            let table = warehouse
                .open_at(&format!("{}/{}", pipeline.name, plan.resource.name), None)
                .await?;
            all.push(ResourceStatus {
                pipeline: pipeline.name.clone(),
                resource: plan.resource.name.to_owned(),
                data_through,
                last_read,
                versions: table.and_then(|t| t.figures.rows).unwrap_or(0),
                gaps,
                open_rejects: rejects
                    .iter()
                    .filter(|r| r.resource == plan.resource.name)
                    .count() as u64,
                last_run: run.map(|r| r.run_id.clone()),
                outcome: run.map(|r| r.outcome.clone()),
                running: running.clone(),
            });
        }
    }
    Ok(all)
}
