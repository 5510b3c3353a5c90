//! One server on loopback for every source: prefixes to providers, faults between, and a log of what was asked.
//!
//! Invariant: every request to a provider is logged exactly once; there is one clock; the server ends when its token is cancelled.

use crate::SandboxOptions;
use crate::answer::Answer;
use crate::bemo::BeMo;
use crate::call::Call;
use crate::connection::Line;
use crate::control;
use crate::emulated::Emulated;
use crate::fault::{Fault, FaultKind, Faults, Target};
use crate::hecone::HecOne;
use crate::listing;
use crate::pace::Pace;
use crate::requests::{Request, RequestLog};
use crate::smartnow::SmartNow;
use crate::world::World;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::{any, get, post, put};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tillhouse_model::{Error, Result};
use tokio_util::sync::CancellationToken;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub world: Arc<World>,
    pub hecone: Arc<HecOne>,
    pub bemo: Arc<BeMo>,
    pub gzip: bool,
    pub stop: CancellationToken,
    /// Every API by its prefix, without the slash. HecOne comes first: it keeps the clock.
    sources: Vec<(&'static str, Arc<dyn Emulated>)>,
    started: Instant,
    /// Held while the clock moves, so that no API is left behind.
    turning: Mutex<()>,
    faults: Mutex<Faults>,
    requests: Mutex<RequestLog>,
}

/// Where HecOne is mounted.
pub(crate) const HECONE: &str = "hecone";
/// Where be-mo is mounted.
const BEMO: &str = "bemo";
/// Where PACE is mounted.
const PACE: &str = "pace";
/// The largest body that is read.
const LARGEST_BODY: usize = 64 << 20;
/// What [`FaultKind::Oversized`] pads to unless told.
const OVERSIZED: u64 = 65 << 20;

impl Shared {
    /// Makes the world and its APIs, which will live at `url`. Takes a core's time: call it off the async threads.
    pub(crate) fn new(options: &SandboxOptions, url: &str, stop: CancellationToken) -> Result<Self> {
        let world = Arc::new(World::new(options.seed, options.from, options.to, options.bemo_sessions())?);
        let hecone = Arc::new(HecOne::new(options, Arc::clone(&world), format!("{url}/{HECONE}"))?);
        let bemo = Arc::new(BeMo::new(options, Arc::clone(&world), format!("{url}/{BEMO}")));
        let sources: Vec<(&'static str, Arc<dyn Emulated>)> = vec![
            (HECONE, Arc::clone(&hecone) as _),
            ("smartnow", Arc::new(SmartNow::new(options, Arc::clone(&world)))),
            (BEMO, Arc::clone(&bemo) as _),
            (PACE, Arc::new(Pace::new(options, Arc::clone(&world)))),
        ];
        Ok(Self {
            world,
            hecone,
            bemo,
            gzip: options.gzip,
            stop,
            sources,
            started: Instant::now(),
            turning: Mutex::default(),
            faults: Mutex::default(),
            requests: Mutex::default(),
        })
    }

    /// The API of a prefix.
    pub(crate) fn source(&self, name: &str) -> Option<&Arc<dyn Emulated>> {
        self.sources.iter().find(|(known, _)| *known == name).map(|(_, source)| source)
    }

    /// The sandbox's now.
    pub(crate) fn clock(&self) -> Timestamp {
        self.hecone.records().clock()
    }

    /// Moves the clock of all APIs. Errors with [`tillhouse_model::ErrorKind::Config`] for a time before its now.
    pub(crate) fn set_clock(&self, now: Timestamp) -> Result<()> {
        let _turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        self.turn(now)
    }

    /// Moves the clock on. Errors with [`tillhouse_model::ErrorKind::Config`] beyond the end of time.
    pub(crate) fn advance(&self, by: SignedDuration) -> Result<()> {
        let _turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let far = |error: jiff::Error| Error::config("the sandbox's clock cannot go that far").because(error);
        let now = self.clock().checked_add(by).map_err(far)?;
        self.turn(now)
    }

    fn turn(&self, now: Timestamp) -> Result<()> {
        self.sources.iter().try_for_each(|(_, source)| source.set_clock(now))
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
        .route("/{source}/{*path}", any(provider))
        .route("/control/clock", get(control::clock).post(control::set_clock))
        .route("/control/faults", get(control::faults).post(control::add_faults).delete(control::clear_faults))
        .route("/control/records", post(control::put_record))
        .route("/control/records/{id}", axum::routing::delete(control::remove_record))
        .route("/control/requests", get(control::requests).delete(control::clear_requests))
        .route("/control/statistics", get(control::statistics))
        .route("/control/truth", get(control::truth))
        .route("/control/bemo/access_token", post(control::renew_bemo_token))
        .route("/control/{source}/truth", get(control::source::truth))
        .route("/control/{source}/stir", post(control::source::stir))
        .route("/control/{source}/records", put(control::source::put))
        .route("/control/{source}/page_cap", post(control::source::cap_pages))
        .fallback(|| async { Answer::not_found().into_response(false) })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(shared)
}

async fn provider(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let arrived = shared.started.elapsed();
    let name = uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
    let Some(source) = shared.source(name) else {
        return Answer::not_found().into_response(false);
    };
    let call = Call {
        method: &method,
        path: uri.path().get(name.len() + 1..).unwrap_or_default(),
        query: uri.query().unwrap_or_default(),
        headers: &headers,
        body: &body,
    };
    let fault = shared.faults().meet(uri.path(), source.target(&call));
    let mut answer = match &fault {
        Some(fault) => instead(&shared, source.as_ref(), fault, &call, &line).await,
        None => None,
    }
    .unwrap_or_else(|| source.answer(&call, fault.as_ref()));
    let is_list = matches!(source.target(&call), Target::List | Target::LaterPage);
    if fault.is_none() && is_list && answer.status == StatusCode::OK && listing::is_empty(&answer.body) {
        let met = shared.faults().meet(uri.path(), Target::EmptyPage);
        if let Some(fault) = met {
            answer = without_records(source.as_ref(), answer, &fault);
        }
    }
    match fault.as_ref().map(|fault| fault.kind) {
        Some(FaultKind::Repeat) => answer.body = shared.faults().repeat(&answer.body),
        Some(FaultKind::Hole) => {
            answer.body = listing::with_records(&answer.body, json!([])).map_or(answer.body, String::into_bytes);
        }
        _ => {}
    }
    shared.requests().add(Request {
        time: Timestamp::now(),
        at_ms: u64::try_from(arrived.as_millis()).unwrap_or(u64::MAX),
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
    let accepted = call.header(header::ACCEPT_ENCODING.as_str());
    let encoded = fault.is_some_and(|fault| fault.kind == FaultKind::Encoded);
    answer.into_response(shared.gzip && !encoded && accepted.is_some_and(|accepted| accepted.contains("gzip")))
}

/// A page without records, as a fault says so.
fn without_records(source: &dyn Emulated, answer: Answer, fault: &Fault) -> Answer {
    match fault.kind {
        FaultKind::NoContent => {
            Answer { status: StatusCode::NO_CONTENT, content_type: "", body: Vec::new(), headers: Vec::new() }
        }
        FaultKind::Missing => {
            let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
            source.error(status.unwrap_or(StatusCode::NOT_FOUND), "not_found", "there is no such page")
        }
        _ => {
            let body = listing::with_records(&answer.body, Value::Null).map_or(answer.body, String::into_bytes);
            Answer { body, ..answer }
        }
    }
}

fn name_of(fault: &Fault) -> String {
    serde_json::to_value(fault.kind).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The faults that answer in the provider's place; `None` lets the provider answer.
async fn instead(
    shared: &Shared,
    source: &dyn Emulated,
    fault: &Fault,
    call: &Call<'_>,
    line: &Line,
) -> Option<Answer> {
    let plain = |status, content_type, body: &str| Answer {
        status,
        content_type,
        body: body.as_bytes().to_vec(),
        headers: Vec::new(),
    };
    let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
    match fault.kind {
        FaultKind::RateLimited => {
            let answer = source.error(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests");
            let retry_after = fault.retry_after.clone().unwrap_or_else(|| "1".into());
            Some(if retry_after.is_empty() { answer } else { answer.with("retry-after", retry_after) })
        }
        FaultKind::ServerError => {
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Some(source.error(status, "server_error", "something went wrong"))
        }
        FaultKind::Answer => {
            let body = fault.body.as_deref().unwrap_or_default();
            let answer = plain(status.unwrap_or(StatusCode::OK), crate::answer::JSON, body);
            let headers = fault.headers.iter();
            Some(headers.fold(answer, |answer, (name, value)| answer.with(name.clone(), value.clone())))
        }
        FaultKind::Echo => {
            let body = serde_json::json!({ "message": echo(call) }).to_string();
            Some(plain(status.unwrap_or(StatusCode::BAD_REQUEST), crate::answer::JSON, &body))
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
            source.revoke(fault.refresh_too);
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

/// What a request carried, as it came and with every byte percent-encoded.
fn echo(call: &Call<'_>) -> String {
    let encoded: String = call.body.iter().map(|byte| format!("%{byte:02x}")).collect();
    let header = |name: &HeaderName| call.header(name.as_str()).map(|value| format!(" {name}: {value}"));
    let headers: String = call.headers.keys().filter_map(header).collect();
    format!("cannot read {encoded} {}{headers}", String::from_utf8_lossy(call.body))
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
        FaultKind::ByteOrderMark => {
            answer.body.splice(..0, *b"\xef\xbb\xbf");
        }
        FaultKind::Encoded => {
            let encoding = fault.encoding.clone().unwrap_or_else(|| "gzip".to_owned());
            if encoding.to_ascii_lowercase().ends_with("gzip") {
                let length = answer.body.len().div_ceil(fault.members.unwrap_or(1).max(1)).max(1);
                answer.body = answer.body.chunks(length).filter_map(crate::answer::compress).flatten().collect();
            }
            answer.headers.push((header::CONTENT_ENCODING.as_str().into(), encoding));
        }
        FaultKind::Replaced => {
            let text = fault.text.as_deref().unwrap_or_default().as_bytes();
            if let Some(at) = answer.body.windows(text.len().max(1)).position(|window| window == text) {
                let with: Vec<&[u8]> =
                    fault.with.iter().flat_map(|with| with.split('\u{fffd}')).map(str::as_bytes).collect();
                answer.body.splice(at..at + text.len(), with.join(&0xff));
            }
        }
        _ => {}
    }
}
