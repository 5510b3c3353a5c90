//! `/api/v1/reports/{name}`: what `tillhouse report` prints.
//!
//! Invariant: the clock is read only where nobody said which day it is, and the day that was taken is part of the question.

use super::EndpointRequest;
use crate::answer::{AnswerNote, FixedQuestion, WantedRun, fixed};
use crate::media::AnswerFormat;
use crate::parameters::ParameterValues;
use crate::problem::Problem;
use crate::rows::write_figures;
use crate::runs::RunSession;
use crate::state::ServerState;
use crate::work::AnswerSink;
use axum::body::Body;
use axum::http::Response;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::sync::Arc;
use tillhouse_model::terminal_escape::CsvStyle;
use tillhouse_model::{CivilPeriod, parse_day};
use tillhouse_query::encode::json_text;
use tillhouse_statistics::RequestedNames;
use tillhouse_statistics::csv::report_rows;
use tillhouse_statistics::reports::{
    ReportName, ReportRequest, ReportTime, read_period, refuse_the_future, report,
};

pub(crate) async fn answer(
    state: &Arc<ServerState>,
    incoming: &EndpointRequest,
    format: AnswerFormat,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let values = &incoming.values;
    let name: ReportName = incoming.in_path.parse()?;
    let now = state.served.warehouse.now();
    let today = match values.get("reference") {
        Some(text) => parse_day(text)?,
        None => TimeZone::UTC.to_datetime(now).date(),
    };
    let when = time(name, values, today)?;
    refuse_the_future(&when, now)?;
    let request = request(name, when, values);
    let dated = values.with("reference", Some(today.to_string()));
    let question = FixedQuestion {
        caller: incoming.caller.clone(),
        asked: format!("report {name} {}", dated.canonical()),
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
            let names = RequestedNames {
                tenant: request.tenant.as_deref(),
                source: request.source.as_deref(),
                sites: &request.sites,
                devices: &request.devices,
                filter: None,
            };
            names.check(&run.session).await?;
            let report = report(&run.session, &state.served.warehouse, &request).await?;
            let rows = report_rows(&report.data);
            let numbers = rows.numbers;
            sink.count(rows.rows.len())?;
            let csv = || rows.csv(CsvStyle::default());
            write_figures(format, sink, || json_text(&report), csv, numbers).await
        },
    )
    .await
}

fn request(name: ReportName, when: ReportTime, values: &ParameterValues) -> ReportRequest {
    let mut request = ReportRequest::new(name, when);
    request.tenant = values.text("tenant");
    request.source = values.text("source");
    request.sites = values.list("sites");
    request.devices = values.list("devices");
    request.site_groups = values.list("site_groups");
    request.device_groups = values.list("device_groups");
    request.amount = values.whole("amount", request.amount);
    request.limit = values.whole("limit", request.limit);
    request.scopes = values.list("scopes");
    if let Some(perspective) = values.text("perspective") {
        request.perspective = perspective;
    }
    if values.get("states").is_some() {
        request.states = values.list("states");
    }
    request
}

/// The date or the periods that a report is about.
fn time(name: ReportName, values: &ParameterValues, today: Date) -> Result<ReportTime, Problem> {
    let given = |names: &[&'static str]| {
        let named = names.iter().find(|name| values.get(name).is_some());
        named.copied()
    };
    if name.is_about_a_date() {
        return match given(&["from", "to", "period1", "period2"]) {
            None => Ok(ReportTime::On(today)),
            Some(one) => Err(Problem::bad_request(format!(
                "the report {name} is about one date, and has no {one}"
            ))
            .hint("Give the date with reference; without it, today's is taken.")),
        };
    }
    if values.get("period2").is_some() && !name.compares() {
        return Err(
            Problem::bad_request(format!("the report {name} is about one period"))
                .hint("Leave period2 away."),
        );
    }
    let first = match (values.get("period1"), values.get("from"), values.get("to")) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            return Err(Problem::bad_request("the period is given twice")
                .hint("Give period1, or from and to."));
        }
        (Some(text), None, None) => read_period(text, today)?,
        (None, Some(from), Some(to)) => CivilPeriod::parse(&format!("{from}..{to}"))?,
        _ => {
            return Err(
                Problem::bad_request(format!("the report {name} needs a period"))
                    .hint("Give from and to, or period1=2026-01-01..2026-02-01."),
            );
        }
    };
    let second = values
        .get("period2")
        .map(|text| read_period(text, today))
        .transpose()?;
    Ok(ReportTime::Periods(first, second))
}
