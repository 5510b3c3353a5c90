//! Publishes a run: names the version of every table, so that readers open tables that belong together.
//!
//! Invariant: a published run names every table of its pipelines, and of all others what the newest published run before it names, but for
//! `ops/runs`.

use crate::config::Pipeline;
use crate::context::RunContext;
use crate::report::{PipelineReport, RunReport};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use std::collections::BTreeMap;
use tillhouse_lake::{OpsTables, RunRecord, TableFigures, Warehouse};
use tillhouse_model::{Error, Result};

/// Tables whose versions are looked up at once.
const OPENED: usize = 8;

/// Kind of a run: its command, and the pipelines it rebuilt.
pub(crate) struct RunKind<'a> {
    /// Its command, `sync` or `rebuild`.
    pub(crate) command: &'static str,
    /// The pipelines whose unified tables it filled from the beginning.
    pub(crate) rebuilt: &'a [String],
}

pub(crate) async fn publish(
    context: &RunContext,
    pipelines: &[&Pipeline],
    RunKind {
        command,
        rebuilt: anew,
    }: RunKind<'_>,
    run_id: &str,
    started: Timestamp,
    report: &RunReport,
) -> Result<()> {
    // What other pipelines have, the newest published run names.
    let mut paths: Vec<String> = Vec::new();
    for pipeline in pipelines {
        let resources = pipeline.resources.iter().map(|plan| plan.resource.name);
        paths.extend(resources.map(|resource| format!("{}/{resource}", pipeline.name)));
    }
    if let Some(pipeline) = pipelines.first() {
        paths.extend(
            pipeline
                .unified
                .keys()
                .map(|name| format!("unified/{name}")),
        );
    }
    let (mut tables, mut figures) = newest(&context.warehouse, paths).await?;
    let rollups = crate::rollup::versions(context, &tables, anew, run_id).await;
    for (path, version) in &rollups {
        let table = context.warehouse.open_at(path, Some(*version)).await?;
        figures.extend(table.map(|table| (path.clone(), table.figures)));
    }
    tables.extend(rollups);
    // The bookkeeping too, but for the table that the record itself goes into.
    let bookkeeping = OpsTables::named_tables()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let (versions, sizes) = newest(&context.warehouse, bookkeeping).await?;
    tables.extend(versions);
    figures.extend(sizes);
    let mut counts = BTreeMap::new();
    let mut count = |name: &str, of: fn(&PipelineReport) -> u64| {
        counts.insert(name.to_owned(), report.pipelines.iter().map(of).sum());
    };
    count("slices", |p| p.slices);
    count("failed", |p| p.failed.len() as u64);
    count("followed", |p| p.followed);
    count("new", |p| p.new);
    count("changed", |p| p.changed);
    count("unchanged", |p| p.unchanged);
    count("rejects", |p| p.rejects);
    count("warnings", |p| p.warnings);
    counts.extend(context.warehouse.requests().by_name());
    let pipelines_failed = report.pipelines.iter().filter(|p| p.failure.is_some());
    let pipelines_failed = pipelines_failed.count() as u64;
    if pipelines_failed > 0 {
        counts.insert("pipelines_failed".to_owned(), pipelines_failed);
    }
    let record = RunRecord {
        run_id: run_id.to_owned(),
        command: command.to_owned(),
        pipelines: pipelines.iter().map(|p| p.name.clone()).collect(),
        started_at: started,
        finished_at: context.warehouse.now(),
        outcome: if report.is_partial() {
            "partial"
        } else {
            "done"
        }
        .to_owned(),
        published: true,
        tables,
        figures,
        counts,
    };
    context.warehouse.ops().publish(&record).await?;
    tracing::info!("{}", context.warehouse.requests());
    Ok(())
}

/// The newest versions of tables and their sizes, of those that exist.
async fn newest(
    warehouse: &Warehouse,
    paths: Vec<String>,
) -> Result<(BTreeMap<String, u64>, BTreeMap<String, TableFigures>)> {
    let found = stream::iter(paths).map(async |path| {
        let found = warehouse.newest_figures(&path).await?;
        Ok::<_, Error>(found.map(|(version, figures)| (path, version, figures)))
    });
    let found: Vec<_> = found
        .buffered(OPENED)
        .try_collect::<Vec<_>>()
        .await?
        .into_iter()
        .flatten()
        .collect();
    let figures = found
        .iter()
        .map(|(path, _, figures)| (path.clone(), *figures))
        .collect();
    Ok((
        found
            .into_iter()
            .map(|(path, version, _)| (path, version))
            .collect(),
        figures,
    ))
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
