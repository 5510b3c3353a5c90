//! `/api/v1/tables`: every table and view, and what its columns mean.
//!
//! Invariant: no row is read; the answer is that of `tillhouse describe`.

use super::EndpointRequest;
use crate::answer::{AnswerNote, FixedQuestion, WantedRun, fixed};
use crate::media::AnswerFormat;
use crate::problem::Problem;
use crate::rows::{NO_NUMBERS, write_figures};
use crate::runs::RunSession;
use crate::state::ServerState;
use crate::work::AnswerSink;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use std::sync::Arc;
use tillhouse_model::did_you_mean::nearest;
use tillhouse_model::terminal_escape::CsvStyle;
use tillhouse_query::DEFAULT_SCHEMA;
use tillhouse_query::encode::{described, json_text};

/// All tables and views, in a row each.
pub(crate) async fn all(
    state: &Arc<ServerState>,
    incoming: &EndpointRequest,
    format: AnswerFormat,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let question = FixedQuestion {
        caller: incoming.caller.clone(),
        asked: format!("tables {}", incoming.values.canonical()),
        spelling: 0,
        wanted: WantedRun::of(state, incoming.values.get("as_of"))?,
        media: format.media_type(),
        pages: None,
    };
    fixed(
        state,
        question,
        &incoming.headers,
        note,
        async move |_: &ServerState, run: &RunSession, sink: &mut AnswerSink| {
            let tables = run.session.described_tables().await?;
            sink.count(tables.len())?;
            let json = || json_text(&described::list_json(&tables));
            let csv = || described::list_csv(&tables, CsvStyle::default());
            write_figures(format, sink, json, csv, NO_NUMBERS).await
        },
    )
    .await
}

/// One table and its columns.
pub(crate) async fn one(
    state: &Arc<ServerState>,
    incoming: &EndpointRequest,
    format: AnswerFormat,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let name = incoming.in_path.clone();
    let question = FixedQuestion {
        caller: incoming.caller.clone(),
        asked: format!("table {name:?} {}", incoming.values.canonical()),
        spelling: 0,
        wanted: WantedRun::of(state, incoming.values.get("as_of"))?,
        media: format.media_type(),
        pages: None,
    };
    fixed(
        state,
        question,
        &incoming.headers,
        note,
        async move |_: &ServerState, run: &RunSession, sink: &mut AnswerSink| {
            known(run, &name).await?;
            let table = run.session.describe_named(&name).await?;
            sink.count(table.columns.len())?;
            let json = || json_text(&described::json(&table));
            let csv = || described::csv(&table, CsvStyle::default());
            write_figures(format, sink, json, csv, NO_NUMBERS).await
        },
    )
    .await
}

/// Errors with 404 for a table that is not there.
async fn known(run: &RunSession, name: &str) -> Result<(), Problem> {
    let (schema, table) = name.split_once('.').unwrap_or((DEFAULT_SCHEMA, name));
    if run.session.has_table(schema, table).await? {
        return Ok(());
    }
    let all: Vec<String> = run
        .session
        .tables()
        .await?
        .into_iter()
        .map(|(schema, table)| match schema.as_str() {
            DEFAULT_SCHEMA => table,
            _ => format!("{schema}.{table}"),
        })
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let problem = Problem::new(StatusCode::NOT_FOUND, format!("there is no table {name:?}"));
    Err(match nearest(name, &all) {
        Some(meant) => problem.hint(format!("Did you mean {meant}?")),
        None => problem.hint("GET /api/v1/tables lists what there is."),
    })
}
