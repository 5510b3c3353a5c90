//! One server on loopback for every source: prefixes to providers, faults between, and a log of what was asked.
//!
//! Invariant: every request to a provider is logged exactly once; the server ends when its token is cancelled.

use crate::answer::Answer;
use crate::connection::Line;
use crate::control;
use crate::fault::{Fault, FaultKind, Faults};
use crate::hecone::HecOne;
use crate::hecone::endpoints::Call;
use crate::requests::{Request, RequestLog};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::{any, get, post};
use jiff::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub hecone: HecOne,
    pub gzip: bool,
    pub stop: CancellationToken,
    faults: Mutex<Faults>,
    requests: Mutex<RequestLog>,
}

/// Where HecOne is mounted.
pub(crate) const HECONE: &str = "/hecone";
/// The largest body that is read.
const LARGEST_BODY: usize = 64 << 20;
/// What [`FaultKind::Oversized`] pads to unless told.
const OVERSIZED: u64 = 65 << 20;

impl Shared {
    pub(crate) fn new(hecone: HecOne, gzip: bool, stop: CancellationToken) -> Self {
        Self { hecone, gzip, stop, faults: Mutex::default(), requests: Mutex::default() }
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, RequestLog> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/hecone/{*path}", any(hecone))
        .route("/control/clock", get(control::clock).post(control::set_clock))
        .route("/control/faults", get(control::faults).post(control::add_faults).delete(control::clear_faults))
        .route("/control/records", post(control::put_record))
        .route("/control/records/{id}", axum::routing::delete(control::remove_record))
        .route("/control/requests", get(control::requests).delete(control::clear_requests))
        .route("/control/statistics", get(control::statistics))
        .route("/control/truth", get(control::truth))
        .fallback(|| async { Answer::not_found().into_response(false) })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(shared)
}

async fn hecone(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let call = Call {
        method: &method,
        path: uri.path().strip_prefix(HECONE).unwrap_or_default(),
        query: uri.query().unwrap_or_default(),
        authorization: text(header::AUTHORIZATION),
        body: &body,
    };
    let fault = shared.faults().meet(uri.path(), call.target());
    let mut answer = match &fault {
        Some(fault) => instead(&shared, fault, &line).await,
        None => None,
    }
    .unwrap_or_else(|| shared.hecone.answer(&call, fault.as_ref()));
    shared.requests().add(Request {
        time: Timestamp::now(),
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: call.query.to_owned(),
        status: answer.status.as_u16(),
        fault: fault.as_ref().map(name_of),
        bytes: answer.body.len() as u64,
    });
    if let Some(fault) = &fault {
        spoil(&mut answer, fault, &line);
    }
    let gzip = shared.gzip && text(header::ACCEPT_ENCODING).is_some_and(|accepted| accepted.contains("gzip"));
    answer.into_response(gzip)
}

fn name_of(fault: &Fault) -> String {
    serde_json::to_value(fault.kind).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The faults that answer in the provider's place; `None` lets the provider answer.
async fn instead(shared: &Shared, fault: &Fault, line: &Line) -> Option<Answer> {
    let plain = |status, content_type, body: &str| Answer {
        status,
        content_type,
        body: body.as_bytes().to_vec(),
        retry_after: None,
    };
    match fault.kind {
        FaultKind::RateLimited => {
            let mut answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests");
            answer.retry_after =
                Some(fault.retry_after.clone().unwrap_or_else(|| "1".into())).filter(|t| !t.is_empty());
            Some(answer)
        }
        FaultKind::ServerError => {
            let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Some(Answer::error(status, "server_error", "something went wrong"))
        }
        FaultKind::Empty => Some(plain(StatusCode::OK, crate::answer::JSON, "")),
        FaultKind::Html => {
            let page = "<!doctype html><html><head><title>Gateway</title></head><body>Please wait.</body></html>";
            Some(plain(StatusCode::OK, "text/html; charset=utf-8", page))
        }
        FaultKind::Reset => {
            line.reset();
            Some(plain(StatusCode::OK, "", ""))
        }
        FaultKind::Unauthorized => {
            shared.hecone.tokens().revoke(fault.refresh_too);
            None
        }
        FaultKind::Slow => {
            let pause = Duration::from_millis(fault.millis.unwrap_or(1000));
            // A server that is told to stop does not sit the pause out.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shared.stop.cancelled() => {}
            }
            None
        }
        _ => None,
    }
}

/// The faults that spoil a good answer.
fn spoil(answer: &mut Answer, fault: &Fault, line: &Line) {
    match fault.kind {
        // The head takes about a hundred bytes of the budget.
        FaultKind::Truncated => line.cut_after(100 + answer.body.len() as u64 / 2),
        FaultKind::WrongContentType => answer.content_type = "text/plain; charset=utf-8",
        FaultKind::Oversized => {
            let size = usize::try_from(fault.bytes.unwrap_or(OVERSIZED)).unwrap_or(usize::MAX).min(1 << 30);
            answer.body.resize(size.max(answer.body.len()), b' ');
        }
        _ => {}
    }
}
