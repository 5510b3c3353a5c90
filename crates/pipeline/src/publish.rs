//! Publishes a run: names the version of every table, so that readers open tables that belong together.
//!
//! Invariant: a published run names every table of its pipelines, and of all others what the newest published run before it names, but for
//! `ops/runs`; of the tables that all share it shows its own pipelines' rows as it has them, and those of others as they are published. It says of every pipeline of the project what there is to be read of it, so that whoever answers from it knows what was not.

use crate::config::Pipeline;
use crate::context::RunContext;
use crate::expected;
use crate::message::interrupted;
use crate::report::{PipelineReport, RunReport};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use std::collections::BTreeMap;
use tillhouse_lake::{OpsTables, RunRecord, TableFigures, UnnotedRun, Warehouse};
use tillhouse_model::{Error, Result};

/// Tables whose versions are looked up at once.
const OPENED: usize = 32;
/// The table without which there is nothing to roll up.
const FACTS: &str = "unified/transactions";

/// Kind of a run: its command, the pipelines it rebuilt, and the tables it lets be.
pub(crate) struct RunKind<'a> {
    /// Its command, `sync` or `rebuild`.
    pub(crate) command: &'static str,
    /// The pipelines whose unified tables it filled from the beginning.
    pub(crate) rebuilt: &'a [String],
    /// Paths of tables of no pipeline that it names as they are now.
    pub(crate) let_be: &'a [String],
}

/// Publishes a run; it is still to be noted, which spares readers requests.
pub(crate) async fn publish(
    context: &RunContext,
    pipelines: &[&Pipeline],
    RunKind {
        command,
        rebuilt: anew,
        let_be,
    }: RunKind<'_>,
    run_id: &str,
    started: Timestamp,
    report: &RunReport,
) -> Result<Option<UnnotedRun>> {
    // The tables of other pipelines, the newest published run names.
    let mut paths: Vec<String> = let_be.to_vec();
    paths.extend(tables_of(pipelines));
    let (mut tables, mut figures) = newest(&context.warehouse, paths.clone(), false).await?;
    let mut rollups = crate::rollup::versions(context, &tables, anew, run_id).await;
    if rollups.is_empty() && tables.contains_key(FACTS) {
        // Another process may have added up rows that this one has not seen.
        (tables, figures) = newest(&context.warehouse, paths, true).await?;
        rollups = crate::rollup::versions(context, &tables, anew, run_id).await;
    }
    for (path, version) in &rollups {
        let version = (*version).into();
        let table = context.warehouse.open_at(path, Some(&version)).await?;
        figures.extend(table.map(|table| (path.clone(), table.figures)));
    }
    tables.extend(rollups);
    // The bookkeeping too, but for the table that the record itself goes into.
    let bookkeeping = OpsTables::named_tables()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let (versions, sizes) = newest(&context.warehouse, bookkeeping, false).await?;
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
    let mut count_some = |name: &str, of: fn(&PipelineReport) -> u64| {
        let some: u64 = report.pipelines.iter().map(of).sum();
        if some > 0 {
            counts.insert(name.to_owned(), some);
        }
    };
    count_some("passed_over", |p| p.passed_over);
    count_some("not_listed_again", |p| p.not_listed_again);
    let pipelines_failed = report.pipelines.iter().filter(|p| p.failure.is_some());
    let pipelines_failed = pipelines_failed.count() as u64;
    if pipelines_failed > 0 {
        counts.insert("pipelines_failed".to_owned(), pipelines_failed);
    }
    let mut expected = expected::of_run(&context.project, pipelines).await;
    for pipeline in pipelines {
        let mut done = report.pipelines.iter();
        let has_failed = done.any(|done| done.pipeline == pipeline.name && done.failure.is_some());
        if let Some(reads) = expected.get_mut(&pipeline.name) {
            // One that failed is shown as the run before has it.
            reads.unified_by = Some(if has_failed { "" } else { run_id }.to_owned());
        }
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
        tables: tables
            .into_iter()
            .map(|(path, version)| (path, version.into()))
            .collect(),
        figures,
        counts,
        expected,
    };
    // The last moment at which a run can be stopped.
    if context.cancel.is_cancelled() {
        return Err(interrupted());
    }
    context.warehouse.ops().publish_unnoted(&record).await
}

/// Paths of the source tables of pipelines, and of the unified tables, which are the same for all.
pub(crate) fn tables_of(pipelines: &[&Pipeline]) -> Vec<String> {
    let mut paths = Vec::new();
    for pipeline in pipelines {
        let resources = pipeline.resources.iter().map(|plan| plan.resource.name);
        paths.extend(resources.map(|resource| format!("{}/{resource}", pipeline.name)));
    }
    if let Some(pipeline) = pipelines.first() {
        let unified = pipeline.unified.keys();
        paths.extend(unified.map(|name| format!("unified/{name}")));
    }
    paths
}

/// The newest versions of tables and their sizes, of those that exist; with what other processes have written since, where `of_all` asks for it.
async fn newest(
    warehouse: &Warehouse,
    paths: Vec<String>,
    of_all: bool,
) -> Result<(BTreeMap<String, u64>, BTreeMap<String, TableFigures>)> {
    let found = stream::iter(paths).map(async |path| {
        let found = match of_all {
            true => warehouse.newest_figures_of_all(&path).await?,
            false => warehouse.newest_figures(&path).await?,
        };
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
