//! `/api/v1/statistics`: what `tillhouse stats` prints.
//!
//! Invariant: the answer is that of the command, to the byte.

use super::{EndpointRequest, filter, window};
use crate::answer::{AnswerNote, FixedQuestion, WantedRun, fixed};
use crate::callers::Caller;
use crate::media::AnswerFormat;
use crate::parameters::ParameterValues;
use crate::problem::Problem;
use crate::rows::write_figures;
use crate::runs::RunSession;
use crate::state::ServerState;
use crate::work::AnswerSink;
use axum::body::Body;
use axum::http::Response;
use futures::future::join;
use std::sync::Arc;
use tillhouse_model::Window;
use tillhouse_model::terminal_escape::CsvStyle;
use tillhouse_query::encode::json_text;
use tillhouse_statistics::csv::statistics_csv;
use tillhouse_statistics::report::StatisticsReport;
use tillhouse_statistics::{GrowthBaseline, RequestedNames, StatisticsRequest, statistics};

/// Place of the values among the columns of the CSV: currency, statistic, unit, label, value.
const FIRST_NUMBER: usize = 4;

pub(crate) async fn answer(
    state: &Arc<ServerState>,
    incoming: &EndpointRequest,
    format: AnswerFormat,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let values = &incoming.values;
    let (request, shown) = request_of(state, &incoming.caller, values)?;
    // No parameter of the API: a page of one currency asks for a file of it.
    let currency = values.text("currency");
    let question = FixedQuestion {
        caller: incoming.caller.clone(),
        asked: format!("statistics {}", shown.canonical()),
        spelling: 0,
        wanted: WantedRun::of(state, values.get("as_of"))?,
        media: format.media_type(),
        pages: None,
    };
    fixed(
        state,
        question,
        &incoming.headers,
        note,
        async move |state: &ServerState, run: &RunSession, sink: &mut AnswerSink| {
            let mut report = counted(state, run, &request).await?;
            if let Some(currency) = &currency {
                report.data.retain(|entry| entry.currency == *currency);
                let bridge = &mut report.meta.bridge;
                bridge.retain(|entry| entry.currency == *currency);
            }
            sink.count(report.data.len())?;
            let json = || json_text(&report);
            let csv = || statistics_csv(&report, CsvStyle::default());
            write_figures(format, sink, json, csv, FIRST_NUMBER).await
        },
    )
    .await
}

/// The request that values ask for, and the values as they may be shown.
pub(crate) fn request_of(
    state: &ServerState,
    caller: &Caller,
    values: &ParameterValues,
) -> Result<(StatisticsRequest, ParameterValues), Problem> {
    let timezone = values.or("timezone", "UTC");
    let window = window(values.or("from", ""), values.or("to", ""), timezone)?;
    window.until(state.served.warehouse.now())?;
    let (filter, shown) = filter(state, caller, values, timezone)?;
    let request = StatisticsRequest {
        timezone: timezone.to_owned(),
        hours: values.or("hours", "timeline").parse()?,
        compare: GrowthBaseline::parse(values.or("compare", "previous"), timezone)?,
        filter,
        ..request_over(values, window)
    };
    Ok((request, shown))
}

/// The request for everything of a window whose tenant, source, perspective and states values say.
pub(crate) fn request_over(values: &ParameterValues, window: Window) -> StatisticsRequest {
    let mut request = StatisticsRequest {
        tenant: values.text("tenant"),
        source: values.text("source"),
        ..StatisticsRequest::new(window)
    };
    if let Some(perspective) = values.text("perspective") {
        request.perspective = perspective;
    }
    if values.get("states").is_some() {
        request.states = values.list("states");
    }
    request
}

/// The statistics of a request. The names in it are looked up meanwhile: one that is not there is told, whatever was counted.
pub(crate) async fn counted(
    state: &ServerState,
    run: &RunSession,
    request: &StatisticsRequest,
) -> Result<StatisticsReport, Problem> {
    let names = names_of(request);
    let counted = statistics(&run.session, &state.served.warehouse, request);
    let (found, counted) = join(names.check(&run.session), counted).await;
    found?;
    Ok(counted?)
}

/// Names that a request narrows an answer by.
pub(crate) fn names_of(request: &StatisticsRequest) -> RequestedNames<'_> {
    RequestedNames {
        tenant: request.tenant.as_deref(),
        source: request.source.as_deref(),
        filter: request.filter.as_ref(),
        ..RequestedNames::default()
    }
}
