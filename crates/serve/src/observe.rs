//! Surroundings of every request: its id, its line in the audit log, its metrics, and whether it may come in at all.
//!
//! Invariant: a request has one line, written when its answer has ended or its client has left, but for open pages that looked for news and were answered; the id in the line is the
//! one that a problem names and the header `X-Request-Id` has.

use crate::answer::{AnswerNote, UnattendedPoll};
use crate::audit::AuditLine;
use crate::problem::{PROBLEM, Problem, ProblemPage};
use crate::state::ServerState;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use jiff::Timestamp;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

/// Status of a request whose client left before it was answered.
const CLIENT_LEFT: u16 = 499;
/// Endpoint of a path that none has.
const NO_ENDPOINT: &str = "none";

/// Address that a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A request that is being answered; its line is written when this is dropped.
struct ObservedRequest {
    state: Arc<ServerState>,
    line: AuditLine,
    note: AnswerNote,
    is_audited: bool,
    began: Instant,
}

impl ObservedRequest {
    fn new(state: Arc<ServerState>, note: AnswerNote, request: &Request) -> Self {
        state.in_flight.fetch_add(1, Ordering::Relaxed);
        let peer = request.extensions().get::<Peer>();
        let line = AuditLine {
            at: Timestamp::now(),
            id: note.id.clone(),
            who: None,
            from: peer.map_or_else(String::new, |peer| peer.0.ip().to_string()),
            method: request.method().as_str().chars().take(16).collect(),
            endpoint: String::new(),
            asked: None,
            run: None,
            status: CLIENT_LEFT,
            rows: 0,
            bytes: 0,
            milliseconds: 0,
            is_whole: false,
        };
        Self {
            state,
            line,
            note,
            is_audited: true,
            began: Instant::now(),
        }
    }
}

impl Drop for ObservedRequest {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let line = &mut self.line;
        let endpoint = self.note.endpoint.get().copied().unwrap_or(NO_ENDPOINT);
        line.endpoint = endpoint.to_owned();
        line.milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        line.who = self.note.who.get().cloned();
        line.asked = self.note.asked.get().cloned();
        line.run = self.note.run.get().cloned();
        line.rows = self.note.rows.load(Ordering::Relaxed);
        let metrics = &self.state.metrics;
        metrics.count(endpoint, line.status, took, line.bytes);
        if self.is_audited {
            self.state.audit.write(line);
        }
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Body of an answer, with what is known of it.
struct ObservedBody {
    inner: Body,
    request: ObservedRequest,
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                self.request.line.bytes = self.request.line.bytes.saturating_add(bytes);
            }
            Poll::Ready(None) => self.request.line.is_whole = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for ObservedBody {
    fn drop(&mut self) {
        // A body whose length is known is not always asked for its end.
        if self.inner.is_end_stream() {
            self.request.line.is_whole = true;
        }
    }
}

/// Observes a request from its beginning to the end of its answer.
pub(crate) async fn observe(
    State(state): State<Arc<ServerState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = new_id();
    let note = AnswerNote {
        id: id.clone(),
        ..AnswerNote::default()
    };
    // Where there are users, a page that makes its own name mean this machine has no password to send.
    let has_users = state.callers.users().is_some();
    let mut observed = ObservedRequest::new(state, note.clone(), &request);
    let checked = one_host(&request).and_then(|host| match has_users {
        true => Ok(()),
        false => check_host(host),
    });
    let mut response = match checked {
        Err(problem) => problem.response(&id),
        Ok(()) => {
            request.extensions_mut().insert(note);
            as_problem(next.run(request).await, &id)
        }
    };
    observed.line.status = response.status().as_u16();
    if let Some(note) = response.extensions_mut().remove::<AnswerNote>() {
        observed.note = note;
    }
    let poll = response.extensions_mut().remove::<UnattendedPoll>();
    observed.is_audited = poll.is_none();
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response.map(|inner| {
        Body::new(ObservedBody {
            inner,
            request: observed,
        })
    })
}

/// Id of a request that has come.
pub(crate) fn new_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// A refusal in the form that all have, also where a library made it: no file of the page, a method that the document does not take.
fn as_problem(response: Response, id: &str) -> Response {
    let (status, headers) = (response.status(), response.headers());
    let is_refusal = status.is_client_error() || status.is_server_error();
    let media = headers.get(header::CONTENT_TYPE);
    let is_told = media.is_some_and(|media| media == PROBLEM)
        || response.extensions().get::<ProblemPage>().is_some();
    if !is_refusal || is_told {
        return response;
    }
    let said = status.canonical_reason().unwrap_or("refused");
    let problem = Problem::new(status, said.to_ascii_lowercase());
    let allowed = headers
        .get(header::ALLOW)
        .and_then(|value| value.to_str().ok());
    let problem = match allowed {
        Some(allowed) => problem.header(header::ALLOW, allowed),
        None => problem,
    };
    problem.response(id)
}

/// The host that a request was meant for: of its `Host`, else of its address; none where HTTP/1.0 needs none.
///
/// Errors with 400 where it names none in HTTP/1.1, or several, or one that is no text (RFC 9112, section 3.2): a proxy before the
/// server may have gone by another one.
fn one_host(request: &Request) -> Result<Option<&str>, Problem> {
    let wrong = |detail: &str| {
        Problem::bad_request(detail).hint("Send one Host header, with the host of the address.")
    };
    let mut named = request.headers().get_all(header::HOST).iter();
    match (named.next(), named.next()) {
        (Some(_), Some(_)) => Err(wrong("the request has more than one Host header")),
        (Some(host), None) => match host.to_str() {
            Ok(host) => Ok(Some(host)),
            Err(_) => Err(wrong("the Host header is no text")),
        },
        (None, _) if request.version() == Version::HTTP_11 => {
            Err(wrong("the request has no Host header"))
        }
        (None, _) => Ok(request.uri().host()),
    }
}

/// Errors where a request was meant for a host that is not this machine: a page in a browser can make its own name mean loopback, and would read what it likes.
fn check_host(host: Option<&str>) -> Result<(), Problem> {
    match host.is_none_or(is_loopback) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this server answers for loopback alone, and the request names another host",
        )
        .hint("Ask 127.0.0.1, [::1] or localhost; a proxy before it has to send such a Host.")),
    }
}

/// True for a host, with or without a port, that is loopback.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_problem_whoever_made_it() {
        let answer = |status: StatusCode, media: &'static str| {
            let mut response = Response::new(Body::from("text"));
            *response.status_mut() = status;
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
            as_problem(response, "7")
        };
        let media = |response: &Response| response.headers()[header::CONTENT_TYPE].clone();
        let refused = answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain");
        assert_eq!(media(&refused), PROBLEM);
        assert_eq!(refused.headers()[header::ALLOW], "GET");
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        let answered = answer(StatusCode::OK, "text/plain");
        assert_eq!(media(&answered), "text/plain");
    }

    #[test]
    fn a_request_is_meant_for_one_host() {
        let asked = |version: Version, hosts: &[&[u8]]| {
            let mut request = Request::new(Body::empty());
            *request.version_mut() = version;
            for host in hosts {
                let host = HeaderValue::from_bytes(host).unwrap();
                request.headers_mut().append(header::HOST, host);
            }
            let host = one_host(&request);
            host.map(|host| host.map(str::to_owned))
                .map_err(|problem| problem.status)
        };
        let one: &[&[u8]] = &[b"localhost:1"];
        let two: &[&[u8]] = &[b"localhost:1", b"localhost:1"];
        let named = Ok(Some("localhost:1".to_owned()));
        assert_eq!(asked(Version::HTTP_11, one), named);
        assert_eq!(asked(Version::HTTP_10, one), named);
        assert_eq!(asked(Version::HTTP_10, &[]), Ok(None));
        let refused = Err(StatusCode::BAD_REQUEST);
        assert_eq!(asked(Version::HTTP_11, &[]), refused);
        assert_eq!(asked(Version::HTTP_11, &[b"\xff"]), refused);
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert_eq!(asked(version, two), refused);
        }
    }

    #[test]
    fn only_loopback_is_answered_for() {
        for host in [
            "localhost",
            "LOCALHOST:8373",
            "127.0.0.1:1",
            "[::1]:8373",
            "[::1]",
            "127.9.9.9",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "127.0.0.1.example.com:80",
            "[::2]:1",
            "10.0.0.1",
            "localhost.x",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
