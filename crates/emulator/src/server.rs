//! One server on loopback for every source: prefixes to providers, faults between, and a log of what was asked.
//!
//! Invariant: every request to a provider is logged exactly once; there is one clock; the server ends with its [`Emulator`].

use crate::answer::{EmulatedResponse, JSON, compress};
use crate::call::EmulatedRequest;
use crate::connection::{ConnectionHandle, LoopbackListener};
use crate::control;
use crate::emulated::EmulatedApi;
use crate::fault::{EmulatedFault, FaultKind, FaultQueue, FaultTarget};
use crate::listing;
use crate::requests::{LoggedRequest, RequestLog};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tillhouse_model::{Error, ErrorKind, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The APIs of one server, and what they share.
#[derive(Debug)]
pub struct EmulatedApis {
    /// Every API by its name, the first segment of its paths.
    pub sources: Vec<(&'static str, Arc<dyn EmulatedApi>)>,
    /// The now that they stand at.
    pub clock: Timestamp,
    /// True if bodies are compressed for who accepts it.
    pub gzip: bool,
    /// Routes of the control protocol that only these APIs have.
    pub control: Router,
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Emulator {
    url: String,
    shared: Arc<EmulatorState>,
    server: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Serves one API on a free port of 127.0.0.1, at this time. Errors with [`ErrorKind::Unreachable`] when there is none.
    pub async fn start(name: &'static str, api: impl EmulatedApi, now: Timestamp) -> Result<Self> {
        let unbound =
            |error| Error::new(ErrorKind::Unreachable, "cannot listen on loopback").because(error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(unbound)?;
        let url = format!("http://{}", listener.local_addr().map_err(unbound)?);
        let sources: Vec<(_, Arc<dyn EmulatedApi>)> = vec![(name, Arc::new(api))];
        Ok(Self::serve(
            listener,
            url,
            EmulatedApis {
                sources,
                clock: now,
                gzip: false,
                control: Router::new(),
            },
        ))
    }

    /// Serves APIs at an address that is bound already; `url` is what it is called.
    pub fn serve(listener: TcpListener, url: String, apis: EmulatedApis) -> Self {
        let shared = Arc::new(EmulatorState {
            sources: apis.sources,
            gzip: apis.gzip,
            stop: CancellationToken::new(),
            started: Instant::now(),
            clock: Mutex::new(apis.clock),
            faults: Mutex::default(),
            requests: Mutex::default(),
        });
        let service = router(Arc::clone(&shared), apis.control)
            .into_make_service_with_connect_info::<ConnectionHandle>();
        let stopped = shared.stop.clone();
        let server = tokio::spawn(async move {
            let served = axum::serve(LoopbackListener(listener), service)
                .with_graceful_shutdown(async move { stopped.cancelled().await })
                .await;
            if let Err(error) = served {
                tracing::error!(%error, "the emulated APIs' server ended");
            }
        });
        Self {
            url,
            shared,
            server: Some(server),
        }
    }

    /// `http://127.0.0.1:PORT`; the API's name follows.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server's now.
    pub fn clock(&self) -> Timestamp {
        self.shared.clock()
    }

    /// Moves the clock forward. Errors with [`ErrorKind::Config`] for a time before its now, and where it stands still.
    pub fn set_clock(&self, now: Timestamp) -> Result<()> {
        self.shared.set_clock(now)
    }

    /// Moves the clock forward by a length of time. Errors with [`ErrorKind::Config`] beyond the end of time.
    pub fn advance(&self, by: SignedDuration) -> Result<()> {
        self.shared.advance(by)
    }

    /// Queues faults.
    pub fn inject(&self, faults: impl IntoIterator<Item = EmulatedFault>) {
        self.shared.faults().add(faults);
    }

    /// The faults that have not hit yet.
    pub fn pending_faults(&self) -> Vec<EmulatedFault> {
        self.shared.faults().pending().to_vec()
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// An API by its name. Errors with [`ErrorKind::Config`] for one that is not there.
    pub fn source(&self, name: &str) -> Result<&Arc<dyn EmulatedApi>> {
        self.shared
            .source(name)
            .ok_or_else(|| Error::config(format!("the sandbox has no API {name:?}")))
    }

    /// Requests so far, control requests aside.
    pub fn requests(&self) -> RequestLog {
        self.shared.requests().clone()
    }

    /// Forgets what was asked.
    pub fn clear_requests(&self) {
        *self.shared.requests() = RequestLog::default();
    }

    /// Stops the server and waits until it has.
    pub async fn stop(mut self) {
        self.shared.stop.cancel();
        if let Some(server) = self.server.take() {
            // Graceful for what is under way; a client that holds a connection open must not hold us.
            let abort = server.abort_handle();
            if tokio::time::timeout(Duration::from_secs(2), server)
                .await
                .is_err()
            {
                abort.abort();
            }
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// State of an emulator, shared by its connections.
#[derive(Debug)]
pub(crate) struct EmulatorState {
    sources: Vec<(&'static str, Arc<dyn EmulatedApi>)>,
    gzip: bool,
    stop: CancellationToken,
    started: Instant,
    /// Locked while the clock moves, so that no API is left behind.
    clock: Mutex<Timestamp>,
    faults: Mutex<FaultQueue>,
    requests: Mutex<RequestLog>,
}

/// The largest body that is read.
const LARGEST_BODY: usize = 64 << 20;
/// Size that [`FaultKind::Oversized`] pads to unless told.
const OVERSIZED: u64 = 65 << 20;

impl EmulatorState {
    /// The API of a prefix.
    pub(crate) fn source(&self, name: &str) -> Option<&Arc<dyn EmulatedApi>> {
        self.sources
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, source)| source)
    }

    fn now(&self) -> MutexGuard<'_, Timestamp> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clock(&self) -> Timestamp {
        *self.now()
    }

    pub(crate) fn set_clock(&self, now: Timestamp) -> Result<()> {
        self.turn(&mut self.now(), now)
    }

    pub(crate) fn advance(&self, by: SignedDuration) -> Result<()> {
        let mut clock = self.now();
        let far = |error: jiff::Error| {
            Error::config("the sandbox's clock cannot go that far").because(error)
        };
        let now = clock.checked_add(by).map_err(far)?;
        self.turn(&mut clock, now)
    }

    /// Moves the clock of all APIs.
    fn turn(&self, clock: &mut Timestamp, now: Timestamp) -> Result<()> {
        if now < *clock {
            return Err(Error::config(format!(
                "the sandbox's clock stands at {clock} and cannot go back"
            )));
        }
        self.sources
            .iter()
            .try_for_each(|(_, source)| source.set_clock(now))?;
        *clock = now;
        Ok(())
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, FaultQueue> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, RequestLog> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All routes.
fn router(shared: Arc<EmulatorState>, own: Router) -> Router {
    Router::new()
        .route("/{source}/{*path}", any(provider))
        .merge(control::router())
        .fallback(|| async { EmulatedResponse::not_found() })
        .with_state(shared)
        .merge(own)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
}

async fn provider(
    State(shared): State<Arc<EmulatorState>>,
    ConnectInfo(line): ConnectInfo<ConnectionHandle>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let arrived = shared.started.elapsed();
    let name = uri
        .path()
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    let Some(source) = shared.source(name) else {
        return EmulatedResponse::not_found().into_response();
    };
    let call = EmulatedRequest {
        method: &method,
        path: uri.path().get(name.len() + 1..).unwrap_or_default(),
        query: uri.query().unwrap_or_default(),
        headers: &headers,
        body: &body,
    };
    let open = |kind| source.is_open_to(&call, kind);
    let fault = shared.faults().meet(uri.path(), source.target(&call), open);
    let mut answer = match &fault {
        Some(fault) => instead(&shared, source.as_ref(), fault, &call, &line).await,
        None => None,
    }
    .unwrap_or_else(|| source.answer(&call, fault.as_ref()));
    let is_list = matches!(
        source.target(&call),
        FaultTarget::List | FaultTarget::LaterPage
    );
    if fault.is_none()
        && is_list
        && answer.status == StatusCode::OK
        && listing::is_empty(&answer.body)
    {
        let met = shared
            .faults()
            .meet(uri.path(), FaultTarget::EmptyPage, open);
        if let Some(fault) = met {
            answer = without_records(source.as_ref(), answer, &fault);
        }
    }
    match fault.as_ref().map(|fault| fault.kind) {
        Some(FaultKind::Repeat) => answer.body = shared.faults().repeat(&answer.body),
        Some(FaultKind::Hole) => {
            answer.body = listing::with_records(&answer.body, json!([]))
                .map_or(answer.body, String::into_bytes);
        }
        _ => {}
    }
    let request = LoggedRequest {
        time: Timestamp::now(),
        at_ms: u64::try_from(arrived.as_millis()).unwrap_or(u64::MAX),
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: call.query.to_owned(),
        status: answer.status.as_u16(),
        fault: fault.as_ref().map(name_of),
        bytes: answer.body.len() as u64,
    };
    shared.requests().add(request, source.route(&call));
    if let Some(fault) = &fault {
        spoil(&mut answer, fault, &line);
    }
    let accepted = call.header(header::ACCEPT_ENCODING.as_str());
    let encoded = fault.is_some_and(|fault| fault.kind == FaultKind::Encoded);
    answer.response(
        shared.gzip && !encoded && accepted.is_some_and(|accepted| accepted.contains("gzip")),
    )
}

/// A page without records, as a fault says so.
fn without_records(
    source: &dyn EmulatedApi,
    answer: EmulatedResponse,
    fault: &EmulatedFault,
) -> EmulatedResponse {
    match fault.kind {
        FaultKind::NoContent => EmulatedResponse {
            status: StatusCode::NO_CONTENT,
            content_type: "",
            body: Vec::new(),
            headers: Vec::new(),
        },
        FaultKind::Missing => {
            let status = fault
                .status
                .and_then(|status| StatusCode::from_u16(status).ok());
            source.error(
                status.unwrap_or(StatusCode::NOT_FOUND),
                "not_found",
                "there is no such page",
            )
        }
        _ => {
            let nothing = fault.with.as_deref().map(serde_json::from_str);
            let nothing = nothing.and_then(Result::ok).unwrap_or(Value::Null);
            let body = listing::with_records(&answer.body, nothing)
                .map_or(answer.body, String::into_bytes);
            EmulatedResponse { body, ..answer }
        }
    }
}

fn name_of(fault: &EmulatedFault) -> String {
    serde_json::to_value(fault.kind)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The faults that answer in the provider's place; `None` lets the provider answer.
async fn instead(
    shared: &EmulatorState,
    source: &dyn EmulatedApi,
    fault: &EmulatedFault,
    call: &EmulatedRequest<'_>,
    line: &ConnectionHandle,
) -> Option<EmulatedResponse> {
    let plain = |status, content_type, body: &str| EmulatedResponse {
        status,
        content_type,
        body: body.as_bytes().to_vec(),
        headers: Vec::new(),
    };
    let status = fault
        .status
        .and_then(|status| StatusCode::from_u16(status).ok());
    match fault.kind {
        FaultKind::RateLimited => {
            let answer = source.error(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "too many requests",
            );
            let retry_after = fault.retry_after.clone().unwrap_or_else(|| "1".into());
            Some(if retry_after.is_empty() {
                answer
            } else {
                answer.with("retry-after", retry_after)
            })
        }
        FaultKind::ServerError => {
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Some(source.error(status, "server_error", "something went wrong"))
        }
        FaultKind::Lost => {
            let address = format!("{}?{}", call.path, call.query);
            shared.faults().is_lost(&address).then(|| {
                let status = status.unwrap_or(StatusCode::NOT_FOUND);
                source.error(status, "not_found", "there is no such page")
            })
        }
        FaultKind::Answer => {
            let body = fault.body.as_deref().unwrap_or_default();
            let answer = plain(status.unwrap_or(StatusCode::OK), JSON, body);
            let headers = fault.headers.iter();
            Some(headers.fold(answer, |answer, (name, value)| {
                answer.with(name.clone(), value.clone())
            }))
        }
        FaultKind::Echo => {
            let body = json!({ "message": echo(call) }).to_string();
            Some(plain(
                status.unwrap_or(StatusCode::BAD_REQUEST),
                JSON,
                &body,
            ))
        }
        FaultKind::Empty => Some(plain(StatusCode::OK, JSON, "")),
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

/// Headers and body of a request, as they came and with every byte of the body percent-encoded.
fn echo(call: &EmulatedRequest<'_>) -> String {
    let encoded: String = call
        .body
        .iter()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    let header = |name: &HeaderName| {
        call.header(name.as_str())
            .map(|value| format!(" {name}: {value}"))
    };
    let headers: String = call.headers.keys().filter_map(header).collect();
    format!(
        "cannot read {encoded} {}{headers}",
        String::from_utf8_lossy(call.body)
    )
}

/// The faults that spoil a good answer.
fn spoil(answer: &mut EmulatedResponse, fault: &EmulatedFault, line: &ConnectionHandle) {
    match fault.kind {
        // The head takes about a hundred bytes of the budget.
        FaultKind::Truncated => line.cut_after(100 + answer.body.len() as u64 / 2),
        FaultKind::WrongContentType => answer.content_type = "text/plain; charset=utf-8",
        FaultKind::Oversized => {
            let size = usize::try_from(fault.bytes.unwrap_or(OVERSIZED))
                .unwrap_or(usize::MAX)
                .min(1 << 30);
            answer.body.resize(size.max(answer.body.len()), b' ');
        }
        FaultKind::ByteOrderMark => {
            answer.body.splice(..0, *b"\xef\xbb\xbf");
        }
        FaultKind::Encoded => {
            let encoding = fault.encoding.clone().unwrap_or_else(|| "gzip".to_owned());
            if encoding.to_ascii_lowercase().ends_with("gzip") {
                let length = answer
                    .body
                    .len()
                    .div_ceil(fault.members.unwrap_or(1).max(1))
                    .max(1);
                answer.body = answer
                    .body
                    .chunks(length)
                    .filter_map(compress)
                    .flatten()
                    .collect();
            }
            answer
                .headers
                .push((header::CONTENT_ENCODING.as_str().into(), encoding));
        }
        FaultKind::Replaced => {
            let text = fault.text.as_deref().unwrap_or_default().as_bytes();
            if let Some(at) = answer
                .body
                .windows(text.len().max(1))
                .position(|window| window == text)
            {
                let with: Vec<&[u8]> = fault
                    .with
                    .iter()
                    .flat_map(|with| with.split('\u{fffd}'))
                    .map(str::as_bytes)
                    .collect();
                answer.body.splice(at..at + text.len(), with.join(&0xff));
            }
        }
        _ => {}
    }
}
