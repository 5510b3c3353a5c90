//! Rebuild: the unified tables anew from the source tables, without asking any API.
//!
//! Invariant: readers keep the last published run until the rebuild is published, so they never see half of it; the result is what
//! the increments gave, row for row.

use crate::config::Pipeline;
use crate::context::{RunContext, new_run_id};
use crate::publish::{self, RunKind};
use crate::repair::{self, RecordOrigin};
use crate::report::{PipelineReport, RunReport};
use crate::unify;
use std::time::Instant;
use tillhouse_model::Result;

/// Rebuilds the unified tables of pipelines and publishes.
pub async fn rebuild(context: &RunContext, pipelines: &[Pipeline]) -> Result<RunReport> {
    let clock = Instant::now();
    let started = context.warehouse.now();
    let run_id = new_run_id(started);
    let mut statements = Vec::with_capacity(pipelines.len());
    for pipeline in pipelines {
        statements.push(unify::check(&context.engine, pipeline).await?);
    }
    context.engine.register_warehouse(&context.warehouse);
    context.warehouse.prepare().await?;
    // Source tables that have lost commits would make unified tables that lack their rows.
    repair::prepare(context, pipelines, RecordOrigin::SourceTables, &run_id).await?;
    let mut report = RunReport {
        run: run_id.clone(),
        ..RunReport::default()
    };
    for (pipeline, statements) in pipelines.iter().zip(&statements) {
        repair::clear(context, pipeline, &run_id).await?;
        let mut unified = unify::UnifyTotals::default();
        unify::bring_up_to_date(context, pipeline, statements, &run_id, &mut unified)
            .await
            .map_err(|e| e.at("pipeline", pipeline.name.clone()))?;
        let mut done = PipelineReport {
            pipeline: pipeline.name.clone(),
            ..PipelineReport::default()
        };
        done.take(unified);
        report.pipelines.push(done);
    }
    let anew: Vec<String> = pipelines
        .iter()
        .map(|pipeline| pipeline.name.clone())
        .collect();
    let kind = RunKind {
        command: "rebuild",
        rebuilt: &anew,
    };
    publish::publish(context, pipelines, kind, &run_id, started, &report).await?;
    report.published = true;
    report.seconds = clock.elapsed().as_secs_f64();
    Ok(report)
}
