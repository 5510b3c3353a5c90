//! Rebuild: the unified tables anew from the source tables, without asking any API.
//!
//! Invariant: readers keep the last published run until the rebuild is published, so they never see half of it; the result is what
//! the increments gave, row for row.

use crate::config::Pipeline;
use crate::publish;
use crate::sync::{Context, PipelineReport, Report, new_run_id};
use crate::unify;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Instant;
use tillhouse_model::Result;

/// Rebuilds the unified tables of pipelines and publishes.
pub async fn rebuild(context: &Context, pipelines: &[Pipeline]) -> Result<Report> {
    let clock = Instant::now();
    let started = Timestamp::now();
    let run_id = new_run_id(started);
    let mut statements = Vec::with_capacity(pipelines.len());
    for pipeline in pipelines {
        statements.push(unify::check(&context.engine, pipeline).await?);
    }
    context.warehouse.prepare().await?;
    let mut report = Report { run: run_id.clone(), ..Report::default() };
    for (pipeline, statements) in pipelines.iter().zip(&statements) {
        for spec in pipeline.unified.values() {
            let table = context.warehouse.unified_table(Arc::clone(spec));
            table.clear(&pipeline.name, &run_id).await.map_err(|e| e.at("pipeline", pipeline.name.clone()))?;
        }
        let mut unified = unify::Totals::default();
        unify::bring_up_to_date(context, pipeline, statements, &run_id, &mut unified)
            .await
            .map_err(|e| e.at("pipeline", pipeline.name.clone()))?;
        let mut done = PipelineReport { pipeline: pipeline.name.clone(), ..PipelineReport::default() };
        done.take(unified);
        report.pipelines.push(done);
    }
    publish::publish(context, pipelines, "rebuild", &run_id, started, &report).await?;
    report.published = true;
    report.seconds = clock.elapsed().as_secs_f64();
    Ok(report)
}
