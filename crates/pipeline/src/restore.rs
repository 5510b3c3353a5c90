//! Takes the unified tables of a pipeline back to the published run, where they cannot be brought to what has landed.
//!
//! Invariant: a run names unified tables in which each pipeline is at one point of its history. A unify step that fails leaves some tables ahead of
//! others, sales without their articles, and all pipelines share these tables: a pipeline that fails must not keep the others from being published,
//! nor show half of what it did.
//!
//! Rejected: to name the tables' earlier versions, which would hide what the other pipelines have brought, for as long as the one fails.

use crate::config::Pipeline;
use crate::context::RunContext;
use crate::unify::CheckedStatements;
use std::collections::BTreeSet;
use tillhouse_lake::RunRecord;
use tillhouse_model::Result;

/// Gives a pipeline's part of every unified table the rows and progress that the published run has; none where nothing was published.
pub(crate) async fn restore(
    context: &RunContext,
    pipeline: &Pipeline,
    statements: &CheckedStatements,
    published: Option<&RunRecord>,
    run_id: &str,
) -> Result<()> {
    context.shared.check_lease().await?;
    let offered = pipeline.offered.iter().map(|(resource, _)| resource.name);
    let read = pipeline.resources.iter().map(|plan| plan.resource.name);
    let resources: BTreeSet<&str> = offered.chain(read).collect();
    let resources: Vec<&str> = resources.into_iter().collect();
    for spec in pipeline.unified.values() {
        let table = statements.target_of(&context.warehouse, spec);
        let named = published.and_then(|run| run.tables.get(&table.path()));
        let version = named.and_then(|named| named.of(&pipeline.name));
        table
            .restore(&pipeline.name, version, &resources, run_id)
            .await?;
    }
    Ok(())
}
