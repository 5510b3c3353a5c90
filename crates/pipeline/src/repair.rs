//! Tables that have lost commits: noticed before anything is read or written, and repaired where that can be done.
//!
//! Invariant: no run is published over a loss. A run goes on only if it makes every lost record anew: a sync of everything from the
//! provider, a rebuild from source tables that are whole. Until then the newest run stays the newest, and says what is missing.

use crate::config::Pipeline;
use crate::sync::Context;
use std::collections::BTreeSet;
use std::sync::Arc;
use tillhouse_lake::{AsOf, LostTable, RunRecord, SliceRow, Warehouse, lost_commits};
use tillhouse_model::{Error, Result};

/// What a run makes records from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The provider, of whose records it reads some.
    Recent,
    /// The provider, of whose records it reads all.
    Provider,
    /// The source tables.
    SourceTables,
}

/// Errors where a table is not what the newest published run says of it, with what helps.
pub async fn check_tables(warehouse: &Warehouse) -> Result<()> {
    match lost(warehouse).await? {
        Some((run, lost)) => Err(refusal(&run, &lost)),
        None => Ok(()),
    }
}

async fn lost(warehouse: &Warehouse) -> Result<Option<(RunRecord, Vec<LostTable>)>> {
    let Some(run) = warehouse.ops().published(&AsOf::Latest).await? else { return Ok(None) };
    let lost = warehouse.lost_tables(&run).await?;
    Ok(Some((run, lost)).filter(|(_, lost)| !lost.is_empty()))
}

/// The pipelines whose source tables a run names.
fn pipelines_of(run: &RunRecord) -> BTreeSet<&str> {
    let schemas = run.tables.keys().filter_map(|path| path.split_once('/')).map(|(schema, _)| schema);
    schemas.filter(|schema| !matches!(*schema, "unified" | "statistics" | "ops")).collect()
}

fn refusal(run: &RunRecord, lost: &[LostTable]) -> Error {
    let is_unified = lost.iter().any(|table| table.source().is_none());
    let sources: BTreeSet<&str> = lost.iter().filter_map(|table| Some(table.source()?.0)).collect();
    let means = match (sources.is_empty(), is_unified) {
        (true, _) => "`tillhouse rebuild` makes them anew from the source tables".to_owned(),
        (false, true) => {
            "`tillhouse sync --full` reads everything from the providers again and repairs them".to_owned()
        }
        (false, false) => {
            let names: Vec<&str> = sources.into_iter().collect();
            format!(
                "`tillhouse sync {} --full` reads everything from the provider again and repairs them",
                names.join(" ")
            )
        }
    };
    lost_commits(run, lost).hint(format!("Put the tables' files back from a copy. Where there is none, {means}."))
}

/// True if a run of these pipelines makes everything anew that was lost.
fn makes_anew(run: &RunRecord, lost: &[LostTable], pipelines: &[Pipeline], origin: Origin) -> bool {
    // A unified table holds the rows of all pipelines.
    let all = || pipelines_of(run).into_iter().all(|name| pipelines.iter().any(|pipeline| pipeline.name == name));
    lost.iter().all(|table| match (table.source(), origin) {
        (_, Origin::Recent) | (Some(_), Origin::SourceTables) => false,
        (None, _) => all(),
        (Some((name, resource)), Origin::Provider) => pipelines.iter().any(|pipeline| {
            pipeline.name == name && pipeline.resources.iter().any(|plan| plan.resource.name == resource)
        }),
    })
}

/// Makes ready for a run. The pipelines whose unified tables it has to fill from the beginning, since records of theirs were lost.
///
/// Errors where tables have lost commits that the run would not make good.
pub(crate) async fn prepare(
    context: &Context,
    pipelines: &[Pipeline],
    origin: Origin,
    run_id: &str,
) -> Result<Vec<String>> {
    let Some((run, lost)) = lost(&context.warehouse).await? else { return Ok(Vec::new()) };
    if !makes_anew(&run, &lost, pipelines, origin) {
        return Err(refusal(&run, &lost));
    }
    let mut anew = Vec::new();
    for pipeline in pipelines {
        let of_sources: BTreeSet<&str> = lost
            .iter()
            .filter_map(LostTable::source)
            .filter(|(name, _)| *name == pipeline.name)
            .map(|(_, resource)| resource)
            .collect();
        let is_unified = lost.iter().any(|table| table.source().is_none());
        if of_sources.is_empty() && !is_unified {
            continue;
        }
        // What was read into what is lost does not count as read: a slice that fails now is a gap.
        let ops = context.warehouse.ops();
        let is_lost = |row: &SliceRow| row.pipeline == pipeline.name && of_sources.contains(row.resource.as_str());
        ops.forget_reads(run_id, is_lost).await?;
        anew.push(pipeline.name.clone());
    }
    // Versions that were named are never used again, for other content.
    for table in &lost {
        tracing::warn!("{table}: it is made anew");
        match table.source() {
            Some((name, resource)) => {
                let plans = pipelines.iter().filter(|p| p.name == name).flat_map(|p| &p.resources);
                for plan in plans.filter(|plan| plan.resource.name == resource) {
                    let source = context.warehouse.source_table(name, Arc::clone(&plan.spec));
                    source.raise_to(table.named, run_id).await?;
                }
            }
            None => {
                let specs = pipelines.first().map(|pipeline| pipeline.unified.values());
                for spec in specs.into_iter().flatten() {
                    let unified = context.warehouse.unified_table(Arc::clone(spec));
                    if unified.path() == table.path {
                        unified.raise_to(table.named, run_id).await?;
                    }
                }
            }
        }
    }
    for pipeline in pipelines.iter().filter(|pipeline| anew.contains(&pipeline.name)) {
        clear(context, pipeline, run_id).await?;
    }
    Ok(anew)
}

/// Empties a pipeline's part of the unified tables, so that all of it is unified again.
pub(crate) async fn clear(context: &Context, pipeline: &Pipeline, run_id: &str) -> Result<()> {
    for spec in pipeline.unified.values() {
        let table = context.warehouse.unified_table(Arc::clone(spec));
        table.clear(&pipeline.name, run_id).await.map_err(|e| e.at("pipeline", pipeline.name.clone()))?;
    }
    Ok(())
}
