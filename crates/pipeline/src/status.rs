//! What `tillhouse status` shows: how far every pipeline has been read, and what needs attention.
//!
//! Invariant: read from the warehouse alone; no source is asked.

use crate::config::Pipeline;
use jiff::Timestamp;
use serde::Serialize;
use tillhouse_lake::Warehouse;
use tillhouse_model::{Result, Window, time::uncovered};

/// The state of one resource of one pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResourceStatus {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// Up to when it has been read without a gap, counted from `sync.start`; null where nothing was read.
    pub data_through: Option<Timestamp>,
    /// When it was last read.
    pub last_read: Option<Timestamp>,
    /// Record versions in the source table.
    pub versions: u64,
    /// Stretches of time since `sync.start` that were never read.
    pub gaps: Vec<Window>,
    /// Records that did not fit their contract and have not landed since.
    pub open_rejects: u64,
    /// The newest published run that touched the pipeline.
    pub last_run: Option<String>,
    /// Its outcome: done or partial.
    pub outcome: Option<String>,
}

/// The state of every resource of these pipelines.
pub async fn status(warehouse: &Warehouse, pipelines: &[Pipeline], now: Timestamp) -> Result<Vec<ResourceStatus>> {
    let runs = warehouse.ops().runs().await?;
    let mut all = Vec::new();
    for pipeline in pipelines {
        let ledger = warehouse.ops().slices(&pipeline.name).await?;
        let rejects = warehouse.ops().rejects(Some(&pipeline.name), true).await?;
        let run = runs.iter().find(|r| r.published && r.pipelines.contains(&pipeline.name));
        for plan in &pipeline.resources {
            let mine: Vec<_> = ledger.iter().filter(|r| r.resource == plan.resource.name).collect();
            let covered: Vec<Window> =
                mine.iter().filter_map(|r| Window::new(r.window.from(), r.window.to().min(r.read_at)).ok()).collect();
            let last_read = mine.iter().map(|r| r.read_at).max();
            let newest = covered.iter().map(Window::to).max();
            // What lies after the newest instant that was read is not a gap; it is what the next run is for.
            let gaps = match newest {
                Some(newest) if newest > plan.sync.start => uncovered(
                    Window::new(plan.sync.start, newest.min(now).max(plan.sync.start))
                        .or_else(|_| Window::new(plan.sync.start, newest))?,
                    &covered,
                ),
                _ => Vec::new(),
            };
            let data_through = match (gaps.first(), newest) {
                (Some(gap), _) if gap.from() == plan.sync.start => None,
                (Some(gap), _) => Some(gap.from()),
                (None, newest) => newest,
            };
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
