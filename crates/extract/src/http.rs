//! The transport: one client a source, with its limits, retries, redirects and counters.
//!
//! Invariant: every request passes the throttle, has a time limit over its whole length and a size limit on its body, and
//! goes to its client's origin only; no error or log of it holds a header's value, a query's value or a body.
//!
//! A token server other than the API has a client of its own, [`HttpClient::for_endpoint`]: what is sent to
//! one can never reach the other, while both are throttled, counted and redacted as one.

mod answer_failure;
mod answer_remarks;
mod connection_failure;
mod connections;
mod redirects;

pub(crate) use connection_failure::root_cause;

use crate::body;
use crate::charset;
use crate::clock;
use crate::cut_off::is_cut_off;
use crate::envelope_error::{EnvelopeError, PageRemark};
use crate::media_type::{self, MediaTypeVerdict};
use crate::origin::{self, BaseUrl, EndpointUrl};
use crate::paging::{self, ListingOptions, RereadAllowance, RereadCounter, TotalsClaim};
use crate::proxy;
use crate::redact::{self, Redactor};
use crate::refusal_cause;
use crate::request::{HttpOutcome, HttpRefusal, HttpRequest, HttpResponse, StatusCode};
use crate::retry::{AttemptFailure, RetryPolicy, is_transient};
use crate::retry_after::{is_used_up, reset_after, retry_after};
use crate::source::SourceLimits;
use crate::throttle::Throttle;
use bytes::Bytes;
use connections::LazyConnections;
use jiff::Timestamp;
use redirects::location;
use reqwest::header::WWW_AUTHENTICATE;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tillhouse_model::json::JsonScanner;
use tillhouse_model::{Error, ErrorKind, Resource, Result};
use tracing::Instrument;
use url::Url;

/// Most bytes of an error's body that are read for its explanation.
const EXPLANATION: usize = 16 << 10;
/// A server that never answered at all is most likely a wrong address: it is given up sooner.
const ATTEMPTS_IN_THE_DARK: usize = 3;
/// An answer that is not JSON, from a server that gave JSON before, is tried this often: a proxy may have stepped in for a moment.
const ATTEMPTS_AT_JSON: usize = 3;

/// Requests, bytes and retries of a client so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientStats {
    /// Requests sent, retries included.
    pub requests: u64,
    /// Bytes of bodies received, decompressed.
    pub bytes: u64,
    /// Requests that were sent again, and listings that were read again.
    pub retries: u64,
}

/// Sender of requests to one provider, with throttling and retries. Cheap to clone; clones share
/// limits, connections and counters.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<HttpClientInner>,
}

/// Connections and settings behind a client and its clones.
struct HttpClientInner {
    source: &'static str,
    /// The key of the connection that holds the address, for hints.
    key: &'static str,
    base: BaseUrl,
    /// The environment variable that names the proxy which requests go through.
    proxy: Option<&'static str>,
    http: Arc<LazyConnections>,
    limits: SourceLimits,
    shared: Arc<SharedCounters>,
    answers: AtomicU64,
    /// Answers that were JSON by their type, which prove that the address is right.
    proper: AtomicU64,
}

/// Throttle, redactor and counters that the clients of one source share.
struct SharedCounters {
    throttle: Throttle,
    redactor: Arc<Redactor>,
    requests: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
    rereads: RereadCounter,
    /// True if a warning of what stands beside records was given.
    warned: AtomicBool,
    /// Findings of listings, by resource.
    listings: Mutex<HashMap<&'static str, (TotalsClaim, RereadAllowance)>>,
}

impl HttpClient {
    /// A client for a source. No I/O happens here. Errors with [`ErrorKind::Config`].
    pub fn new(source: &'static str, base: BaseUrl, limits: SourceLimits) -> Result<Self> {
        // Two TLS providers are linked into the binary, so one has to be chosen; whoever chose before is fine too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if limits.attempts == 0 {
            return Err(
                Error::config("attempts is zero").hint("Allow at least one attempt a request.")
            );
        }
        if limits.page_size == 0 {
            return Err(
                Error::config("page_size is zero").hint("Ask for at least one record a page.")
            );
        }
        let http = Arc::new(LazyConnections::new(&base, &limits));
        let shared = SharedCounters {
            throttle: Throttle::new(&limits)?,
            redactor: Arc::default(),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            rereads: RereadCounter::default(),
            warned: AtomicBool::new(false),
            listings: Mutex::default(),
        };
        Self::to(source, "base_url", base, http, limits, Arc::new(shared))
    }

    /// A client for an address on another server, which `key` of the connection names. It shares limits, counters and what is
    /// redacted with this one; its requests go to that server only, and this one's never do.
    pub fn for_endpoint(&self, key: &'static str, address: &EndpointUrl) -> Result<Self> {
        let HttpClientInner {
            source,
            base,
            http,
            limits,
            shared,
            ..
        } = &*self.inner;
        let server = address.server();
        // Connections are kept by server anyway; only whether a proxy is asked is settled for all of them.
        let alike = server.is_loopback() == base.is_loopback();
        let http = if alike {
            Arc::clone(http)
        } else {
            Arc::new(LazyConnections::new(&server, limits))
        };
        Self::to(
            source,
            key,
            server,
            http,
            limits.clone(),
            Arc::clone(shared),
        )
    }

    fn to(
        source: &'static str,
        key: &'static str,
        base: BaseUrl,
        http: Arc<LazyConnections>,
        limits: SourceLimits,
        shared: Arc<SharedCounters>,
    ) -> Result<Self> {
        let proxied = !base.is_loopback();
        let proxy = if proxied {
            proxy::variable(base.url(), |name| std::env::var(name).ok())?
        } else {
            None
        };
        if base.is_exposed() {
            tracing::warn!(
                source,
                origin = base.origin(),
                "{key} is plain http: credentials can be read on the way"
            );
        }
        let (answers, proper) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self {
            inner: Arc::new(HttpClientInner {
                source,
                key,
                base,
                proxy,
                http,
                limits,
                shared,
                answers,
                proper,
            }),
        })
    }

    /// The URL of a path below the base URL.
    pub fn url(&self, path: &str) -> Result<Url> {
        self.inner.base.join(path)
    }

    /// Limits it was built with.
    pub fn limits(&self) -> &SourceLimits {
        &self.inner.limits
    }

    /// Options for a resource's listing, as known before its first page.
    pub fn listing_options(&self, resource: &Resource) -> ListingOptions {
        let SourceLimits {
            most_pages,
            page_size,
            confirm_end,
            reread_pause,
            concurrency,
            ref by_resource,
            ..
        } = self.inner.limits;
        let own = by_resource.get(resource.name);
        let page_size = own.and_then(|own| own.page_size).unwrap_or(page_size);
        let confirm_end = own.and_then(|own| own.confirm_end).unwrap_or(confirm_end);
        let shared = &self.inner.shared;
        let mut listings = shared
            .listings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (totals, patience) = listings.entry(resource.name).or_default().clone();
        ListingOptions {
            most_pages,
            page_size: resource
                .largest_page
                .map_or(page_size, |largest| largest.min(page_size)),
            records_at: Some(resource.records_at),
            id: "id",
            confirm_end,
            rereads: shared.rereads.clone(),
            pause: reread_pause,
            totals,
            patience,
            side_by_side: own.and_then(|own| own.concurrency).unwrap_or(concurrency),
        }
    }

    /// The source it asks.
    pub fn source(&self) -> &'static str {
        self.inner.source
    }

    /// Redactor that secrets are made known to, so that they can be taken out of what the server writes.
    pub fn redactor(&self) -> &Arc<Redactor> {
        &self.inner.shared.redactor
    }

    /// Counts of the work so far.
    pub fn stats(&self) -> ClientStats {
        let SharedCounters {
            requests,
            bytes,
            retries,
            rereads,
            ..
        } = &*self.inner.shared;
        ClientStats {
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
    pub async fn send(&self, request: &HttpRequest) -> Result<HttpOutcome> {
        let inner = &*self.inner;
        if !origin::same(inner.base.url(), &request.url) {
            let (to, home) = (origin::name(&request.url), inner.base.origin());
            return Err(Error::internal(format!(
                "a request to {to} was given to the client of {home}"
            )));
        }
        let policy = RetryPolicy {
            attempts: inner.limits.attempts,
            max_retry_after: inner.limits.max_retry_after,
        };
        let span = tracing::debug_span!(
            "request",
            source = inner.source,
            resource = &*request.resource
        );
        let attempts = policy.run(
            |attempt| inner.attempt(request, attempt),
            |failure, pause| {
                inner.shared.retries.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(error = %failure.error, pause_ms = pause.as_millis(), "trying again");
            },
        );
        attempts.instrument(span).await.map_err(|error| {
            error
                .at("source", inner.source)
                .at("resource", &*request.resource)
                .at("url", redact::redact_url(&request.url))
        })
    }
}

/// The success that a response is, with its body.
fn answered(
    response: &mut reqwest::Response,
    bytes: Bytes,
    requested_at: Timestamp,
) -> HttpResponse {
    let headers = std::mem::take(response.headers_mut());
    let answered_at = clock::answered_at(&headers);
    let requested_at =
        clock::moment_of_asking(requested_at, clock::now(), answered_at, response.url());
    HttpResponse {
        status: response.status(),
        headers,
        bytes,
        url: response.url().clone(),
        requested_at,
        says_more: false,
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("source", &self.inner.source)
            .field("base", &self.inner.base)
            .field("limits", &self.inner.limits)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl HttpClientInner {
    /// One attempt, from its place in the throttle to the last byte of the body.
    async fn attempt(
        &self,
        request: &HttpRequest,
        attempt: usize,
    ) -> Result<HttpOutcome, AttemptFailure> {
        let permit = self.shared.throttle.enter(&request.resource).await?;
        let started = tokio::time::Instant::now();
        let requested_at = clock::now();
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let limit = self.limits.request_timeout;
        let mut outcome = match tokio::time::timeout(
            limit,
            self.exchange(request, attempt, requested_at),
        )
        .await
        {
            Ok(outcome) => outcome,
            Err(_) => Err(AttemptFailure::transient(
                Error::new(
                    ErrorKind::Unreachable,
                    format!("no complete answer within {} s", limit.as_secs_f64()),
                )
                .hint("Raise the request timeout, or lower page_size."),
            )),
        };
        drop(permit);
        if let Err(failure) = &mut outcome {
            let in_the_dark = self.answers.load(Ordering::Relaxed) == 0;
            match failure.error.kind() {
                ErrorKind::Unreachable if in_the_dark && attempt >= ATTEMPTS_IN_THE_DARK => {
                    failure.is_retryable = false
                }
                ErrorKind::Protocol if attempt >= ATTEMPTS_AT_JSON || request.logs_in => {
                    failure.is_retryable = false
                }
                _ => {}
            }
            if let Some(pause) = failure
                .after
                .filter(|pause| failure.is_retryable && *pause <= self.limits.max_retry_after)
            {
                self.shared.throttle.pause(pause);
            }
        }
        let (status, bytes) = match &outcome {
            Ok(HttpOutcome::Success(response)) => (response.status.as_u16(), response.bytes.len()),
            Ok(HttpOutcome::Refused(refusal)) => (refusal.status.as_u16(), refusal.body.len()),
            Err(_) => (0, 0),
        };
        match &outcome {
            Ok(_) => tracing::debug!(
                source = self.source,
                resource = &*request.resource,
                method = %request.method,
                url = redact::redact_url(&request.url),
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
                url = redact::redact_url(&request.url),
                attempt,
                millis = started.elapsed().as_millis(),
                error = %failure.error,
                "failed"
            ),
        }
        outcome
    }

    async fn exchange(
        &self,
        request: &HttpRequest,
        attempt: usize,
        requested_at: Timestamp,
    ) -> Result<HttpOutcome, AttemptFailure> {
        let mut response = self.ask(request).await?;
        let status = response.status();
        if !status.is_success() {
            return self
                .unsuccessful(request, &mut response, requested_at)
                .await;
        }
        let nothing = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        let judged = if nothing {
            MediaTypeVerdict::Json
        } else {
            self.limits.accept_media_types.judge(response.headers())
        };
        if let MediaTypeVerdict::Other(instead) = &judged {
            let failure = self.other_type(request, instead);
            let is_page = instead.to_ascii_lowercase().contains("html");
            if !(request.logs_in || request.hears_logins && is_page) {
                return Err(failure);
            }
            let said = body::beginning(&mut response, EXPLANATION).await;
            return self
                .not_json(request, status, failure, &said)
                .map_err(|failure| *failure);
        }
        let bytes = body::whole(&mut response, self.limits.max_body_bytes)
            .await
            .map_err(|e| self.no_body(request, e))?;
        if bytes.is_empty() && !nothing {
            return Err(self.improper(
                request,
                format!("the server answered {status} with nothing instead of JSON"),
            ));
        }
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(self.improper(
                request,
                "the server answered in UTF-16, where JSON is UTF-8".into(),
            ));
        }
        // Under JSON's own types too: a script that calls back with JSON is none.
        if !nothing && !media_type::begins_as_json(&bytes) {
            let failure = self.improper(
                request,
                format!("the server answered {status} with something else than JSON"),
            );
            return self
                .not_json(request, status, failure, &bytes)
                .map_err(|failure| *failure);
        }
        let bytes = charset::as_utf8(response.headers(), bytes)
            .map_err(|charset| self.other_charset(request, &charset))?;
        if !request.logs_in && is_cut_off(&bytes) {
            if is_followed(&bytes) {
                return Err(self.followed(request, status));
            }
            let error = Error::protocol(format!(
                "the server answered {status} with JSON that is cut off after {} bytes",
                bytes.len()
            ));
            return Err(AttemptFailure::transient(error.hint(
                "Run `tillhouse sync` again later; if it stays so, lower sync.page_size, and ask the provider.",
            )));
        }
        self.proper.fetch_add(1, Ordering::Relaxed);
        self.shared
            .bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        // An answer that calls itself a part says of nothing that it is all.
        let is_part = status == StatusCode::PARTIAL_CONTENT && request.lists.is_some();
        if is_part && let Some(failure) = self.judge_part(request, response.headers(), &bytes) {
            return Err(failure);
        }
        let said_empty = request
            .lists
            .filter(|_| !is_part)
            .and_then(|at| paging::said_empty(&bytes, at, &self.limits.empty_messages));
        let is_said_empty = said_empty.is_some();
        let bytes = said_empty.unwrap_or(bytes);
        if let Some(fault) = request
            .verdict
            .filter(|_| !is_said_empty)
            .and_then(|verdict| verdict(&bytes))
        {
            let body = Bytes::copy_from_slice(&bytes[..bytes.len().min(EXPLANATION)]);
            let message =
                Some(self.redactor(request).scrub(&fault.words)).filter(|said| !said.is_empty());
            let refusal = HttpRefusal {
                message,
                body,
                ..self.refusal(request, status)
            };
            let again = fault.may_pass
                && attempt < ATTEMPTS_AT_JSON.min(self.limits.attempts)
                && !refusal.names_token();
            return match again {
                true => Err(AttemptFailure::transient(
                    EnvelopeError::Failure.error(status, refusal.message.as_deref()),
                )),
                // Whoever asks knows best what to say of it.
                false => Ok(HttpOutcome::Refused(refusal)),
            };
        }
        let lists = request.lists.filter(|_| !is_said_empty);
        if let Some(complaint) =
            lists.and_then(|records_at| answer_remarks::complaint(request, &bytes, records_at))
        {
            let body = Bytes::copy_from_slice(&bytes[..bytes.len().min(EXPLANATION)]);
            let message = self.redactor(request).provider_message(&body);
            let refusal = HttpRefusal {
                message,
                body,
                ..self.refusal(request, status)
            };
            // A new token helps where the old one died; anything else may be over soon.
            if refusal.names_token() {
                return Ok(HttpOutcome::Refused(refusal));
            }
            if complaint != EnvelopeError::Note
                || attempt < ATTEMPTS_AT_JSON.min(self.limits.attempts)
            {
                return Err(AttemptFailure::transient(
                    complaint.error(status, refusal.message.as_deref()),
                ));
            }
            tracing::warn!(
                source = self.source,
                resource = &*request.resource,
                url = redact::redact_url(&request.url),
                "the server gives no records and says: {}; it says so again and again, beside a total or a word that all is well",
                refusal
                    .message
                    .as_deref()
                    .unwrap_or("nothing that can be shown"),
            );
        }
        let remark = lists
            .filter(|at| paging::are_wrapped(&bytes, at))
            .and_then(|at| PageRemark::of(&bytes, at, &self.limits.empty_messages));
        let says_more = match remark {
            None => false,
            Some(said) if said.remark.failed => {
                return self
                    .partly_failed(request, status, said)
                    .map_err(AttemptFailure::transient);
            }
            Some(said) => {
                if said.remark.warns {
                    self.warn_beside_records(request, &said);
                }
                said.remark.is_part
            }
        };
        Ok(HttpOutcome::Success(HttpResponse {
            says_more,
            ..answered(&mut response, bytes, requested_at)
        }))
    }

    async fn unsuccessful(
        &self,
        request: &HttpRequest,
        response: &mut reqwest::Response,
        requested_at: Timestamp,
    ) -> Result<HttpOutcome, AttemptFailure> {
        let status = response.status();
        let after = retry_after(status, response.headers(), SystemTime::now());
        let used_up = is_used_up(response.headers());
        let redirect = location(response)
            .filter(|_| status.is_redirection())
            .map(|url| self.shown(&url));
        let challenges = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let challenge = Some(challenges.collect::<Vec<_>>().join(", "))
            .filter(|challenge| !challenge.is_empty());
        let body = body::beginning(response, EXPLANATION).await;
        let redactor = self.redactor(request);
        let challenged = || {
            challenge
                .as_deref()
                .and_then(refusal_cause::words_of)
                .map(|words| redactor.scrub(&words))
        };
        let said = if request.logs_in {
            redactor.words(&body)
        } else {
            redactor.provider_message(&body)
        };
        let message = said.or_else(challenged);
        let refusal = HttpRefusal {
            message,
            body,
            redirect,
            challenge,
            ..self.refusal(request, status)
        };
        if let Some(nothing) = self.said_nothing(request, &refusal) {
            let answer = answered(response, nothing, requested_at);
            return Ok(HttpOutcome::Success(answer));
        }
        // A gateway that counts calls says 403 and when to come back.
        let quota = status == StatusCode::FORBIDDEN
            && (after.is_some() || used_up || refusal_cause::names_quota(&refusal.body))
            && !refusal.names_token();
        let reset = reset_after(response.headers(), SystemTime::now()).filter(|_| quota);
        let after = after.or(reset);
        // Some servers fall over a token that they cannot read: a new one helps, and no patience.
        let is_token = status == StatusCode::INTERNAL_SERVER_ERROR && refusal.names_token();
        if quota || (is_transient(status) && !is_token) {
            let said = refusal
                .message
                .map(|m| format!(": {m}"))
                .unwrap_or_default();
            let error = Error::new(ErrorKind::Busy, format!("the server answered {status}{said}"))
                .hint("Run again later; if it stays like this, lower rate_limit or concurrency, or ask the provider.");
            return Err(AttemptFailure {
                error,
                is_retryable: true,
                after,
            });
        }
        Ok(HttpOutcome::Refused(refusal))
    }

    /// An address that a server named: without its query, and without its path where a secret stands in that.
    fn shown(&self, url: &Url) -> String {
        let whole = redact::redact_url(&redact::without_query(url));
        if self.shared.redactor.knows(&whole) {
            self.shared.redactor.name(&origin::name(url))
        } else {
            whole
        }
    }

    /// Redactor of what a server says to a request.
    fn redactor<'a>(&'a self, request: &'a HttpRequest) -> &'a Redactor {
        match &request.redactor {
            Some(own) => own,
            None => &self.shared.redactor,
        }
    }

    /// Common parts of every refusal.
    fn refusal(&self, request: &HttpRequest, status: StatusCode) -> HttpRefusal {
        HttpRefusal {
            status,
            message: None,
            body: Bytes::new(),
            redirect: None,
            challenge: None,
            source: self.source,
            resource: request.resource.clone(),
            url: redact::redact_url(&request.url),
        }
    }
}

/// True if something stands behind a document that is whole: a comment, or a second document.
fn is_followed(document: &[u8]) -> bool {
    let mut scan = JsonScanner::of_page(document);
    scan.skip().is_ok() && !document[scan.pos..].trim_ascii().is_empty()
}
