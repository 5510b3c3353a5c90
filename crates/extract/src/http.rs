//! The transport: one client a source, with its limits, retries, redirects and counters.
//!
//! Invariant: every request passes the throttle, has a time limit over its whole length and a size limit on its body, and
//! goes to its client's origin only; no error or log of it holds a header's value, a query's value or a body.
//!
//! Where tokens come from another server than the API, that server has a client of its own, [`Client::beside`]: what is sent to
//! one can never reach the other, while both are throttled, counted and redacted as one.

use crate::body::{self, BodyError};
use crate::origin::{self, BaseUrl, Endpoint};
use crate::paging::{Listing, Rereads};
use crate::redact::{self, Redactor};
use crate::request::{Answer, Refusal, Request, Response, StatusCode};
use crate::retry::{Failure, Policy, is_passing, retry_after};
use crate::source::Limits;
use crate::throttle::Throttle;
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tillhouse_model::{Error, ErrorKind, Resource, Result};
use tracing::Instrument;
use url::Url;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an error's body is read for its explanation.
const EXPLANATION: usize = 16 << 10;
/// Redirects followed in a row, all to the same origin.
const REDIRECTS: usize = 5;
/// A server that never answered at all is most likely a wrong address: it is given up sooner.
const ATTEMPTS_IN_THE_DARK: usize = 3;
/// An answer that is not JSON, from a server that gave JSON before, is tried this often: a proxy may have stepped in for a moment.
const ATTEMPTS_AT_JSON: usize = 3;

/// What a client did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Requests sent, retries included.
    pub requests: u64,
    /// Bytes of bodies received, decompressed.
    pub bytes: u64,
    /// Requests that were sent again, and listings that were read again.
    pub retries: u64,
}

/// Sends requests to one provider. Cheap to clone; clones share limits, connections and counters.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    source: &'static str,
    /// The key of the connection that holds the address, for hints.
    key: &'static str,
    base: BaseUrl,
    http: reqwest::Client,
    limits: Limits,
    shared: Arc<Shared>,
    answers: AtomicU64,
    /// Answers that were JSON by their type, which prove that the address is right.
    proper: AtomicU64,
}

/// What the clients of one source have in common.
struct Shared {
    throttle: Throttle,
    redactor: Arc<Redactor>,
    requests: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
    rereads: Rereads,
}

impl Client {
    /// A client for a source. No I/O happens here. Errors with [`ErrorKind::Config`].
    pub fn new(source: &'static str, base: BaseUrl, limits: Limits) -> Result<Self> {
        // Two TLS providers are linked into the binary, so one has to be chosen; whoever chose before is fine too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if limits.attempts == 0 {
            return Err(Error::config("attempts is zero").hint("Allow at least one attempt a request."));
        }
        if limits.page_size == 0 {
            return Err(Error::config("page_size is zero").hint("Ask for at least one record a page."));
        }
        let http = connections(&base, &limits)?;
        let shared = Shared {
            throttle: Throttle::new(&limits)?,
            redactor: Arc::default(),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            rereads: Rereads::default(),
        };
        Ok(Self::to(source, "base_url", base, http, limits, Arc::new(shared)))
    }

    /// A client for an address on another server, which `key` of the connection names. It shares limits, counters and what is
    /// redacted with this one; its requests go to that server only, and this one's never do.
    pub fn beside(&self, key: &'static str, address: &Endpoint) -> Result<Self> {
        let Inner { source, base, http, limits, shared, .. } = &*self.inner;
        let server = address.server();
        // Connections are kept by server anyway; only whether a proxy is asked is settled for all of them.
        let alike = server.is_loopback() == base.is_loopback();
        let http = if alike { http.clone() } else { connections(&server, limits)? };
        Ok(Self::to(source, key, server, http, limits.clone(), Arc::clone(shared)))
    }

    fn to(
        source: &'static str,
        key: &'static str,
        base: BaseUrl,
        http: reqwest::Client,
        limits: Limits,
        shared: Arc<Shared>,
    ) -> Self {
        if base.is_exposed() {
            tracing::warn!(source, origin = base.origin(), "{key} is plain http: credentials can be read on the way");
        }
        let (answers, proper) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { inner: Arc::new(Inner { source, key, base, http, limits, shared, answers, proper }) }
    }

    /// The URL of a path below the base URL.
    pub fn url(&self, path: &str) -> Result<Url> {
        self.inner.base.join(path)
    }

    /// What it was built with.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// What is known of a resource's listing before its first page.
    pub fn listing(&self, resource: &Resource) -> Listing {
        let Limits { most_pages, page_size, confirm_end, .. } = self.inner.limits;
        Listing {
            most_pages,
            page_size: resource.largest_page.map_or(page_size, |largest| largest.min(page_size)),
            records_at: Some(resource.records_at),
            confirm_end,
            rereads: self.inner.shared.rereads.clone(),
        }
    }

    /// The source it asks.
    pub fn source(&self) -> &'static str {
        self.inner.source
    }

    /// Where secrets are made known, so that they can be taken out of what the server writes.
    pub fn redactor(&self) -> &Arc<Redactor> {
        &self.inner.shared.redactor
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        let Shared { requests, bytes, retries, rereads, .. } = &*self.inner.shared;
        Stats {
            requests: requests.load(Ordering::Relaxed),
            bytes: bytes.load(Ordering::Relaxed),
            retries: retries.load(Ordering::Relaxed) + rereads.count(),
        }
    }

    /// Asks, as often as it takes and is allowed, until something final comes back.
    ///
    /// Errors with [`ErrorKind::Unreachable`] or [`ErrorKind::Busy`] after the last attempt, and with [`ErrorKind::Protocol`] for a
    /// success that is not JSON or is too large. A request to another origin is not sent, and is an error of kind
    /// [`ErrorKind::Internal`].
    pub async fn send(&self, request: &Request) -> Result<Answer> {
        let inner = &*self.inner;
        if !origin::same(inner.base.url(), &request.url) {
            let (to, home) = (origin::name(&request.url), inner.base.origin());
            return Err(Error::internal(format!("a request to {to} was given to the client of {home}")));
        }
        let policy = Policy { attempts: inner.limits.attempts, max_retry_after: inner.limits.max_retry_after };
        let span = tracing::debug_span!("request", source = inner.source, resource = &*request.resource);
        let attempts = policy.run(
            |attempt| inner.attempt(request, attempt),
            |failure, pause| {
                inner.shared.retries.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(error = %failure.error, pause_ms = pause.as_millis(), "trying again");
            },
        );
        attempts.instrument(span).await.map_err(|error| {
            error.at("source", inner.source).at("resource", &*request.resource).at("url", redact::url(&request.url))
        })
    }
}

/// The connections to a server like this one.
fn connections(base: &BaseUrl, limits: &Limits) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tillhouse/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::custom(redirect))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(limits.concurrency)
        .tcp_nodelay(true);
    if base.is_loopback() {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|e| Error::internal("cannot set up HTTP").because(root_cause(&e)))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("source", &self.inner.source)
            .field("base", &self.inner.base)
            .field("limits", &self.inner.limits)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// One attempt, from its place in the throttle to the last byte of the body.
    async fn attempt(&self, request: &Request, attempt: usize) -> Result<Answer, Failure> {
        let permit = self.shared.throttle.enter().await?;
        let started = tokio::time::Instant::now();
        let requested_at = Timestamp::now();
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let limit = self.limits.request_timeout;
        let mut outcome = match tokio::time::timeout(limit, self.exchange(request, requested_at)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::passing(
                Error::new(ErrorKind::Unreachable, format!("no complete answer within {} s", limit.as_secs_f64()))
                    .hint("Raise the request timeout, or lower page_size."),
            )),
        };
        drop(permit);
        if let Err(failure) = &mut outcome {
            let in_the_dark = self.answers.load(Ordering::Relaxed) == 0;
            match failure.error.kind() {
                ErrorKind::Unreachable if in_the_dark && attempt >= ATTEMPTS_IN_THE_DARK => failure.again = false,
                ErrorKind::Protocol if attempt >= ATTEMPTS_AT_JSON => failure.again = false,
                _ => {}
            }
            if let Some(pause) = failure.after.filter(|pause| failure.again && *pause <= self.limits.max_retry_after) {
                self.shared.throttle.pause(pause);
            }
        }
        let (status, bytes) = match &outcome {
            Ok(Answer::Success(response)) => (response.status.as_u16(), response.bytes.len()),
            Ok(Answer::Refused(refusal)) => (refusal.status.as_u16(), refusal.body.len()),
            Err(_) => (0, 0),
        };
        match &outcome {
            Ok(_) => tracing::debug!(
                source = self.source,
                resource = &*request.resource,
                method = %request.method,
                url = redact::url(&request.url),
                attempt,
                status,
                bytes,
                millis = started.elapsed().as_millis(),
                "answered"
            ),
            Err(failure) => tracing::debug!(
                source = self.source,
                resource = &*request.resource,
                method = %request.method,
                url = redact::url(&request.url),
                attempt,
                millis = started.elapsed().as_millis(),
                error = %failure.error,
                "failed"
            ),
        }
        outcome
    }

    async fn exchange(&self, request: &Request, requested_at: Timestamp) -> Result<Answer, Failure> {
        let mut builder = self.http.request(request.method.clone(), request.url.clone());
        if !request.headers.contains_key(ACCEPT) {
            builder = builder.header(ACCEPT, HeaderValue::from_static("application/json"));
        }
        builder = builder.headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let mut response = builder.send().await.map_err(|e| self.not_sent(&e))?;
        self.answers.fetch_add(1, Ordering::Relaxed);
        let status = response.status();
        if !status.is_success() {
            return self.unsuccessful(request, &mut response).await;
        }
        if let Some(instead) = not_json(&response) {
            return Err(self.improper(format!("the server answered {instead} instead of JSON")));
        }
        let bytes = body::whole(&mut response, self.limits.max_body_bytes).await.map_err(|e| self.no_body(e))?;
        if bytes.is_empty() && status != StatusCode::NO_CONTENT {
            return Err(self.improper(format!("the server answered {status} with nothing instead of JSON")));
        }
        self.proper.fetch_add(1, Ordering::Relaxed);
        self.shared.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if let Some(said) = request.verdict.and_then(|verdict| verdict(&bytes)) {
            let beginning = Bytes::copy_from_slice(&bytes[..bytes.len().min(EXPLANATION)]);
            let message = Some(self.shared.redactor.scrub(&said)).filter(|said| !said.is_empty());
            return Ok(Answer::Refused(self.refusal(request, status, message, beginning, None)));
        }
        let url = response.url().clone();
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer::Success(Response { status, headers, bytes, url, requested_at }))
    }

    async fn unsuccessful(&self, request: &Request, response: &mut reqwest::Response) -> Result<Answer, Failure> {
        let status = response.status();
        let after = retry_after(response.headers(), SystemTime::now());
        let redirect = status.is_redirection().then(|| elsewhere(response)).flatten();
        let body = body::beginning(response, EXPLANATION).await;
        let message = self.shared.redactor.provider_message(&body);
        if is_passing(status) {
            let said = message.map(|m| format!(": {m}")).unwrap_or_default();
            let error = Error::new(ErrorKind::Busy, format!("the server answered {status}{said}"))
                .hint("Run again later; if it stays like this, lower rate_limit or concurrency, or ask the provider.");
            return Err(Failure { error, again: true, after });
        }
        Ok(Answer::Refused(self.refusal(request, status, message, body, redirect)))
    }

    fn refusal(
        &self,
        request: &Request,
        status: StatusCode,
        message: Option<String>,
        body: Bytes,
        redirect: Option<String>,
    ) -> Refusal {
        let (source, resource, url) = (self.source, request.resource.clone(), redact::url(&request.url));
        Refusal { status, message, body, redirect, source, resource, url }
    }

    /// Why no answer began. reqwest's own text holds the URL, so only the innermost cause is shown.
    fn not_sent(&self, error: &reqwest::Error) -> Failure {
        let origin = self.base.origin();
        if error.is_builder() {
            return Failure::last(Error::internal("cannot build a request").because(root_cause(error)));
        }
        if error.is_redirect() {
            return Failure::last(Error::protocol(format!("{origin} redirects in circles")));
        }
        if let Some(certificate) = certificate_trouble(error) {
            let error = Error::new(ErrorKind::Unreachable, format!("cannot trust {origin}: {certificate}"))
                .hint(format!("Check {}, this machine's clock and its trusted certificates.", self.key));
            return Failure::last(error);
        }
        let message = if error.is_connect() {
            format!("cannot reach {origin}")
        } else if error.is_timeout() {
            format!("{origin} does not answer in time")
        } else {
            format!("the connection to {origin} broke before the answer")
        };
        let error = Error::new(ErrorKind::Unreachable, message)
            .because(root_cause(error))
            .hint(format!("Check {} (host and port), the network, and any proxy or VPN the server needs.", self.key));
        Failure::passing(error)
    }

    /// An answer that is no page: a wrong address, unless proper answers came from there before.
    fn improper(&self, message: String) -> Failure {
        let again = self.proper.load(Ordering::Relaxed) > 0;
        let paths = if self.key == "base_url" { " and the paths" } else { "" };
        let error = Error::protocol(message)
            .hint(format!("Check {}{paths}: a web page or a proxy may be answering there.", self.key));
        Failure { error, again, after: None }
    }

    fn no_body(&self, error: BodyError) -> Failure {
        match error {
            BodyError::TooLong(declared) => {
                let length = declared.map(|d| format!(" ({d} bytes)")).unwrap_or_default();
                let limit = self.limits.max_body_bytes;
                let error = Error::protocol(format!("the answer{length} is longer than the {limit} bytes allowed"))
                    .hint("Lower page_size.");
                Failure::last(error)
            }
            BodyError::Broken { error, read, declared } => {
                let of = declared.map(|d| format!(" of {d}")).unwrap_or_default();
                let message = format!("the answer broke off after {read}{of} bytes");
                Failure::passing(Error::new(ErrorKind::Unreachable, message).because(root_cause(&error)))
            }
        }
    }
}

/// Follows a redirect within the origin; any other comes back as the 3xx answer it is.
fn redirect(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let home = attempt.previous().first().is_some_and(|first| origin::same(first, attempt.url()));
    if !home {
        attempt.stop()
    } else if attempt.previous().len() > REDIRECTS {
        attempt.error("too many redirects")
    } else {
        attempt.follow()
    }
}

fn elsewhere(response: &reqwest::Response) -> Option<String> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    response.url().join(location).ok().map(|url| origin::name(&url))
}

/// A page must be JSON of some kind; a portal's or proxy's HTML is told by its type before it is read. A missing type is
/// tolerated: the decoder will tell.
fn not_json(response: &reqwest::Response) -> Option<String> {
    let text = response.headers().get(CONTENT_TYPE)?.to_str().unwrap_or("unreadable");
    let essence = text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
    let json = subtype == "json" || subtype.ends_with("+json");
    (!json).then(|| essence.chars().filter(char::is_ascii_graphic).take(60).collect())
}

/// The innermost cause, as text; it names no URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = match std::error::Error::source(error) {
        Some(source) => source,
        None => return "no further cause is known".into(),
    };
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn certificate_trouble(error: &reqwest::Error) -> Option<String> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let tls = error
            .downcast_ref::<rustls::Error>()
            .or_else(|| error.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(reason)) = tls {
            return Some(format!("its certificate is not valid: {reason}"));
        }
        cause = error.source();
    }
    None
}
