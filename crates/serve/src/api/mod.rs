//! The answers behind each endpoint: a request becomes a question, and a question is answered by what the commands are answered by.
//!
//! Invariant: what is asked wrong is refused before a slot is taken or the warehouse is asked. Nothing is counted here.

pub(crate) mod bookkeeping;
pub(crate) mod hecone;
pub(crate) mod json_members;
pub(crate) mod report;
pub(crate) mod sql;
pub(crate) mod statistics;
pub(crate) mod tables;
pub(crate) mod transactions;

use crate::answer::AnswerNote;
use crate::callers::Caller;
use crate::endpoints::{Endpoint, EndpointId};
use crate::media::wanted;
use crate::parameters::ParameterValues;
use crate::problem::Problem;
use crate::state::ServerState;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Response, StatusCode, header};
use bytes::Bytes;
use json_members::JsonMembers;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tillhouse_model::{Filter, Result, Window};
use tillhouse_statistics::{CheckedFilter, parse_instant};

/// Time that the body of a request may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// A request at an endpoint, as far as all endpoints read it alike.
pub(crate) struct EndpointRequest {
    pub(crate) headers: HeaderMap,
    pub(crate) values: ParameterValues,
    /// The value of the parameter that is part of the path.
    pub(crate) in_path: String,
    /// Sender of the request.
    pub(crate) caller: Caller,
}

/// Answers a request at an endpoint.
pub(crate) async fn answer(
    state: &Arc<ServerState>,
    endpoint: &'static Endpoint,
    incoming: EndpointRequest,
    body: Body,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let named = incoming.values.get("format");
    let format = wanted(&incoming.headers, named, endpoint.formats)?;
    match endpoint.id {
        EndpointId::Login => hecone::log_in(state, &incoming, body, note).await,
        EndpointId::HecOneStatistics => hecone::statistics(state, &incoming, note).await,
        EndpointId::Statistics => statistics::answer(state, &incoming, format, note).await,
        EndpointId::Report => report::answer(state, &incoming, format, note).await,
        EndpointId::Transactions => transactions::answer(state, &incoming, format, note).await,
        EndpointId::Runs | EndpointId::Rejects | EndpointId::Drift => {
            bookkeeping::rows(state, endpoint.id, &incoming, format, note).await
        }
        EndpointId::Coverage => bookkeeping::coverage(state, &incoming, format, note).await,
        EndpointId::Freshness => bookkeeping::freshness(state, &incoming, format, note).await,
        EndpointId::Tables => tables::all(state, &incoming, format, note).await,
        EndpointId::Table => tables::one(state, &incoming, format, note).await,
        EndpointId::Sql => sql::answer(state, &incoming, body, format, note).await,
    }
}

/// Admission at an endpoint: where there are users, one of them; where there are none, anybody, at HecOne's endpoints with a token.
pub(crate) async fn admit(
    state: &ServerState,
    endpoint: &'static Endpoint,
    headers: &HeaderMap,
    note: &mut AnswerNote,
) -> Result<Caller, Problem> {
    if endpoint.id == EndpointId::Login {
        return Ok(Caller::default());
    }
    let caller = state.callers.admit(headers, &state.tokens).await?;
    match &caller.user {
        Some(user) => {
            let _ = note.who.set(user.name.clone());
        }
        None if endpoint.is_guarded => check_token(state, headers, note)?,
        None => {}
    }
    Ok(caller)
}

/// Check of a token.
///
/// Errors with 401 where it is missing, unknown or no longer good.
fn check_token(
    state: &ServerState,
    headers: &HeaderMap,
    note: &mut AnswerNote,
) -> Result<(), Problem> {
    let header = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if let Some(owner) = state.tokens.owner(header, Instant::now()) {
        let _ = note.who.set(owner.name);
        return Ok(());
    }
    let said = match header {
        None => "a token is missing",
        Some(_) => "the token is not known, or has expired",
    };
    Err(Problem::new(StatusCode::UNAUTHORIZED, said)
        .hint("POST /auth/login gives one; send it as `Authorization: Bearer TOKEN`.")
        .header(header::WWW_AUTHENTICATE, "Bearer"))
}

/// Media type of a body, without what stands behind a semicolon; JSON where none is said.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let media = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("application/json");
    media.split(';').next().unwrap_or_default().trim()
}

/// The body of a request, which has to be a JSON object.
pub(crate) async fn json_body(
    state: &ServerState,
    headers: &HeaderMap,
    body: Body,
) -> Result<JsonMembers, Problem> {
    if !media_type(headers).eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body has to be JSON",
        )
        .hint("Send it with `Content-Type: application/json`."));
    }
    JsonMembers::read(&body_bytes(state, headers, body).await?)
}

/// The bytes of a body, in the time that one has and no more than one may have.
pub(crate) async fn body_bytes(
    state: &ServerState,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, Problem> {
    let most = state.options.body_bytes;
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has more than the {most} bytes that one may have"),
        )
        .hint("serve.body in tillhouse.yaml is the limit.")
    };
    let declared: Option<usize> = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    if declared.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_WITHIN, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_of_length(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::bad_request("the body did not arrive whole")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body took more than {} s", BODY_WITHIN.as_secs()),
        )),
    }
}

/// True where a body was cut off at its limit.
fn is_of_length(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The window of two parameters, on the clock of a zone.
pub(crate) fn window(from: &str, to: &str, timezone: &str) -> Result<Window> {
    Window::new(parse_instant(from, timezone)?, parse_instant(to, timezone)?)
}

/// The filter that a request names, checked, and the request as it may be shown: with pseudonyms for what is personal in it.
pub(crate) fn filter(
    state: &ServerState,
    caller: &Caller,
    values: &ParameterValues,
    timezone: &str,
) -> Result<(Option<CheckedFilter>, ParameterValues), Problem> {
    let Some(text) = values.get("filter") else {
        return Ok((None, values.clone()));
    };
    let key = Some(&state.served.privacy_key);
    let filter = CheckedFilter::within(&caller.scope(), &Filter::parse(text)?, timezone, key)?;
    let shown = serde_json::to_string(filter.descriptor())
        .map_err(|error| Problem::internal(format!("a filter cannot be written: {error}")))?;
    Ok((Some(filter), values.with("filter", Some(shown))))
}
