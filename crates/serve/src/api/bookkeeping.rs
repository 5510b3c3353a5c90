//! Runs, rejects, drift, coverage and freshness: what changes also without a new run.
//!
//! Invariant: these are read anew for each request, and no answer is kept: a run that failed publishes nothing, and shows here all the same.

use super::EndpointRequest;
use crate::answer::{AnswerNote, live};
use crate::endpoints::{EndpointId, LISTED};
use crate::media::AnswerFormat;
use crate::problem::Problem;
use crate::rows::{NO_NUMBERS, write_figures, write_stream};
use crate::state::ServerState;
use crate::work::AnswerSink;
use axum::body::Body;
use axum::http::Response;
use jiff::Timestamp;
use serde::Serialize;
use std::sync::{Arc, OnceLock};
use tillhouse_lake::AsOf;
use tillhouse_model::terminal_escape::CsvStyle;
use tillhouse_model::{Error, ErrorKind};
use tillhouse_query::encode::json_text;
use tillhouse_query::{ScalarValue, Scope};

/// Query of so many rows of a bookkeeping table; of `$pipeline` where one is named.
pub(crate) fn query_of(
    endpoint: EndpointId,
    is_of_pipeline: bool,
    limit: usize,
    scope: &Scope,
) -> String {
    let (columns, table, condition, order) = match endpoint {
        // Counts and names of what is not seen are not there.
        EndpointId::Runs if scope.is_of_some() => (
            "run_id, command, started_at, finished_at, outcome, published",
            "ops.runs",
            "true",
            "finished_at DESC, run_id DESC",
        ),
        EndpointId::Rejects if !scope.personal => (
            "*",
            "ops.rejects",
            "resolved_at IS NULL",
            "last_seen DESC, pipeline, resource, field, nth",
        ),
        EndpointId::Runs => (
            "run_id, command, pipelines, started_at, finished_at, outcome, published, counts",
            "ops.runs",
            "true",
            "finished_at DESC, run_id DESC",
        ),
        EndpointId::Rejects => (
            "*",
            "ops.rejects",
            "resolved_at IS NULL",
            "last_seen DESC, pipeline, resource, record_key, field, nth",
        ),
        _ => (
            "*",
            "ops.drift",
            "true",
            "last_seen DESC, pipeline, resource, field",
        ),
    };
    let of_pipeline = match is_of_pipeline {
        true => " AND pipeline = $pipeline",
        false => "",
    };
    format!(
        "SELECT {columns} FROM {table} WHERE {condition}{of_pipeline} ORDER BY {order} LIMIT {limit}"
    )
}

/// Rows of a bookkeeping table.
pub(crate) async fn rows(
    state: &Arc<ServerState>,
    endpoint: EndpointId,
    incoming: &EndpointRequest,
    format: AnswerFormat,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let limit = incoming.values.whole("limit", LISTED);
    let pipeline = incoming.values.text("pipeline");
    let asked = format!("{} {}", endpoint.as_str(), incoming.values.canonical());
    let _ = note.asked.set(asked);
    let caller = incoming.caller.clone();
    if endpoint == EndpointId::Drift && caller.scope().tenants.is_some() {
        caller.check_sees_all("drift tells of the records")?;
    }
    live(
        state,
        &incoming.caller,
        format.media_type(),
        note,
        async move |state: &ServerState, run: &OnceLock<String>, sink: &mut AnswerSink| {
            let opened = Arc::new(state.runs.open(&AsOf::Latest).await?);
            let opened = state.runs.part(&opened, &caller)?;
            let _ = run.set(opened.run.clone());
            let sql = query_of(endpoint, pipeline.is_some(), limit, opened.session.scope());
            let params: Vec<(&str, ScalarValue)> = pipeline
                .iter()
                .map(|pipeline| ("pipeline", ScalarValue::from(pipeline.as_str())))
                .collect();
            let stream = opened.session.query_with(&sql, &params).await?;
            write_stream(stream, format, sink).await
        },
    )
    .await
}

/// Coverage of every pipeline: the windows that were read, and those that were not.
pub(crate) async fn coverage(
    state: &Arc<ServerState>,
    incoming: &EndpointRequest,
    format: AnswerFormat,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let _ = note.asked.set("coverage".to_owned());
    let scope = incoming.caller.scope();
    if scope.tenants.is_some() {
        incoming.caller.check_sees_all("coverage tells")?;
    }
    let pipelines = scope.pipelines;
    live(
        state,
        &incoming.caller,
        format.media_type(),
        note,
        async move |state: &ServerState, _: &OnceLock<String>, sink: &mut AnswerSink| {
            let coverage = state.served.project.coverage(pipelines).await;
            let coverage = coverage.map_err(of_ours)?;
            sink.count(usize::try_from(coverage.rows).unwrap_or(usize::MAX))?;
            let json = || Ok(coverage.json);
            write_figures(format, sink, json, || coverage.csv, NO_NUMBERS).await
        },
    )
    .await
}

/// An error that nobody's question made: a configuration that cannot be read is no fault of whoever asks.
pub(crate) fn of_ours(error: Error) -> Problem {
    match error.kind() {
        ErrorKind::Config => Problem::internal(error.to_string()),
        _ => error.into(),
    }
}

/// The newest published run of the warehouse, or of a pipeline.
#[derive(Debug, Serialize)]
pub(crate) struct PublishedRun {
    /// Null for the warehouse.
    pub(crate) pipeline: Option<String>,
    /// Null where nothing was ever published.
    run: Option<String>,
    pub(crate) finished_at: Option<Timestamp>,
    /// Seconds since then, by the server's clock.
    pub(crate) age_seconds: Option<i64>,
}

/// The newest published run of the warehouse, and of every pipeline that is seen.
pub(crate) async fn published_runs(
    state: &ServerState,
    scope: &Scope,
) -> Result<Vec<PublishedRun>, Problem> {
    let mut pipelines = state.served.project.pipelines();
    pipelines.retain(|pipeline| scope.covers_pipeline(pipeline));
    let warehouse = &state.served.warehouse;
    let now = warehouse.now();
    let newest = warehouse.ops().last_published(&pipelines).await?;
    let newest = newest.into_iter().map(|(pipeline, run)| PublishedRun {
        pipeline,
        finished_at: run.as_ref().map(|run| run.finished_at),
        age_seconds: run
            .as_ref()
            .map(|run| now.duration_since(run.finished_at).as_secs()),
        run: run.map(|run| run.run_id),
    });
    Ok(newest.collect())
}

/// End of the newest published run, of the warehouse and of every pipeline.
pub(crate) async fn freshness(
    state: &Arc<ServerState>,
    incoming: &EndpointRequest,
    format: AnswerFormat,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let _ = note.asked.set("freshness".to_owned());
    let scope = incoming.caller.scope();
    live(
        state,
        &incoming.caller,
        format.media_type(),
        note,
        async move |state: &ServerState, _: &OnceLock<String>, sink: &mut AnswerSink| {
            let newest = published_runs(state, &scope).await?;
            sink.count(newest.len())?;
            let json = || json_text(&newest);
            let csv = || freshness_csv(&newest);
            write_figures(format, sink, json, csv, AGE_COLUMN).await
        },
    )
    .await
}

/// Place of the age among the columns of the runs' CSV.
const AGE_COLUMN: usize = 3;

/// The runs as CSV, a line each.
fn freshness_csv(runs: &[PublishedRun]) -> String {
    let style = CsvStyle::default();
    let mut text = String::from("pipeline,run,finished_at,age_seconds\n");
    for PublishedRun {
        pipeline,
        run,
        finished_at,
        age_seconds,
    } in runs
    {
        let cells = [
            style.cell(pipeline.as_deref().unwrap_or_default()),
            style.cell(run.as_deref().unwrap_or_default()),
            finished_at.map_or_else(String::new, |at| at.to_string()),
            age_seconds.map_or_else(String::new, |age| age.to_string()),
        ];
        text.push_str(&format!("{}\n", cells.join(",")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    #[test]
    fn a_broken_configuration_is_no_fault_of_the_question() {
        let problem = of_ours(Error::config("there is no key x"));
        assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(problem.is_ours());
    }

    #[test]
    fn a_pipeline_that_never_published_has_a_line_all_the_same() {
        let never = PublishedRun {
            pipeline: Some("a,b".to_owned()),
            run: None,
            finished_at: None,
            age_seconds: None,
        };
        assert_eq!(
            freshness_csv(&[never]),
            "pipeline,run,finished_at,age_seconds\n\"a,b\",,,\n"
        );
    }

    #[test]
    fn a_query_names_what_it_is_given() {
        let all = Scope::everything();
        let rejects = query_of(EndpointId::Rejects, true, 7, &all);
        assert!(rejects.contains("ops.rejects WHERE resolved_at IS NULL AND pipeline = $pipeline"));
        assert!(rejects.ends_with("LIMIT 7"));
        let of_nobody = query_of(EndpointId::Runs, false, 1, &Scope::default());
        assert!(!of_nobody.contains("counts") && !of_nobody.contains("pipelines"));
        let runs = query_of(EndpointId::Runs, false, 1, &all);
        assert!(runs.contains("ops.runs") && !runs.contains("$pipeline"));
    }
}
