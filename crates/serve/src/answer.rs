//! From a question to its answer: kept or made, with its tag, in the format that was asked for.
//!
//! Invariant: the tag is made of the run, the question and the scope of whoever asks, so that the same tag is the same answer and nobody is given another's; an answer that may change without a run has none, and is kept nowhere.

use crate::callers::Caller;
use crate::kept_answers::{AskedOfRun, KeptAnswer, Made};
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::state::ServerState;
use crate::work::{self, AnswerSink, Delivered};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use jiff::tz::TimeZone;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tillhouse_model::time::parse_instant;
use xxhash_rust::xxh3::xxh3_128;

/// Header that names the run an answer is of.
const RUN: &str = "tillhouse-run";

/// The run that is asked for.
#[derive(Clone)]
pub(crate) enum WantedRun {
    /// The newest when the question came.
    Newest(Arc<RunSession>),
    /// One by its id.
    Named(String),
    /// The newest that had ended by a time.
    At(String),
}

impl WantedRun {
    /// The run that a request wants.
    pub(crate) fn of(state: &ServerState, as_of: Option<&str>) -> Result<Self, Problem> {
        Ok(match as_of {
            None => Self::Newest(state.runs.newest()?),
            Some(text) if parse_instant(text, &TimeZone::UTC).is_ok() => Self::At(text.to_owned()),
            Some(text) => Self::Named(text.to_owned()),
        })
    }

    /// Its id, where that is known before anything is asked.
    fn id(&self) -> Option<&str> {
        match self {
            Self::Newest(newest) => Some(&newest.run),
            Self::Named(run) => Some(run),
            Self::At(_) => None,
        }
    }

    /// A session over it.
    async fn session(self, state: &ServerState) -> Result<Arc<RunSession>, Problem> {
        match self {
            Self::Newest(newest) => Ok(newest),
            Self::Named(text) | Self::At(text) => Ok(state.runs.at(Some(&text)).await?),
        }
    }
}

/// Facts about a request and its answer, for the audit log. Copies are one note: whoever holds one knows also what was asked by a client that has left.
#[derive(Debug, Clone, Default)]
pub(crate) struct AnswerNote {
    /// Id of the request.
    pub(crate) id: String,
    /// Name of the endpoint.
    pub(crate) endpoint: Arc<OnceLock<&'static str>>,
    pub(crate) who: Arc<OnceLock<String>>,
    pub(crate) asked: Arc<OnceLock<String>>,
    pub(crate) run: Arc<OnceLock<String>>,
    pub(crate) rows: Arc<AtomicU64>,
}

impl AnswerNote {
    /// The note of a request.
    pub(crate) fn of(request: &Request) -> Self {
        let note = request.extensions().get::<Self>();
        note.cloned().unwrap_or_default()
    }
}

/// Mark of an answer to a page that looks for news by itself: nobody asked, and no line of the audit log tells of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnattendedPoll;

/// A question that one run answers, always alike.
pub(crate) struct FixedQuestion {
    /// Sender of the question.
    pub(crate) caller: Caller,
    /// Endpoint and parameters in one form, without anything personal.
    pub(crate) asked: String,
    /// Digest of how it was spelled, where the answer repeats that; 0 where it does not.
    pub(crate) spelling: u64,
    pub(crate) wanted: WantedRun,
    /// Media type of the answer.
    pub(crate) media: &'static str,
    /// Address of further pages, but for the cursor at its end; none where there is one page.
    pub(crate) pages: Option<String>,
}

/// Answers a question that one run answers always alike: from what is kept, or by work.
pub(crate) async fn fixed<F>(
    state: &Arc<ServerState>,
    question: FixedQuestion,
    headers: &HeaderMap,
    note: &mut AnswerNote,
    work: F,
) -> Result<Response<Body>, Problem>
where
    F: AsyncFnOnce(&ServerState, &RunSession, &mut AnswerSink) -> Result<(), Problem>
        + Send
        + 'static,
{
    let FixedQuestion {
        caller,
        asked,
        spelling,
        wanted,
        media,
        pages,
    } = question;
    let pages = pages.as_deref();
    let _ = note.asked.set(asked.clone());
    if let Some(run) = wanted.id() {
        let _ = note.run.set(run.to_owned());
    }
    let key = wanted.id().map(|run| AskedOfRun {
        run: run.to_owned(),
        question: format!("{media} {asked} {spelling:x}{}", caller.scope_digest()),
    });
    let tag = key.as_ref().map(tag_of);
    let tag = tag.as_deref();
    if let Some(tag) = tag.filter(|tag| has(headers, tag)) {
        return Ok(not_modified(state, tag));
    }
    // A client that has whatever there is has nothing where there is no answer: that is found out first.
    let had = tag.filter(|_| has_any(headers));
    let answered = |kept: KeptAnswer, note: &mut AnswerNote| {
        state.metrics.kept_given.fetch_add(1, Ordering::Relaxed);
        match had {
            Some(tag) => not_modified(state, tag),
            None => again(kept, tag, pages, note),
        }
    };
    let limits = state.limits(&caller, &note.id);
    // What somebody makes is waited for without a slot, and outside the queue.
    let until = limits.until;
    let room = state.slots.waiting_room(caller.claim());
    let mut is_alone = false;
    if let Some(key) = &key {
        match state.kept.made(key, until, room).await? {
            Made::Kept(kept) => return Ok(answered(kept, note)),
            Made::Alone => is_alone = true,
            Made::Not => {}
            Made::Late => return Err(limits.too_slow()),
        }
    }
    let mut slot = state.slots.take(caller.claim(), until).await?;
    let mut permit = None;
    if let Some(key) = &key {
        // Somebody may have made it meanwhile.
        if let Some(kept) = state.kept.get(key) {
            return Ok(answered(kept, note));
        }
        if !is_alone {
            permit = state.kept.begin(key);
        }
        if permit.is_none() && !is_alone {
            // Somebody began at the same time: others may have the slot.
            drop(slot);
            match state.kept.made(key, until, room).await? {
                Made::Kept(kept) => return Ok(answered(kept, note)),
                Made::Late => return Err(limits.too_slow()),
                Made::Alone | Made::Not => {}
            }
            slot = state.slots.take(caller.claim(), until).await?;
        }
    }
    state.metrics.kept_missed.fetch_add(1, Ordering::Relaxed);
    let (own, run) = (Arc::clone(state), Arc::clone(&note.run));
    let outcome = work::run(slot, limits, async move |sink: &mut AnswerSink| {
        let whole = wanted.session(&own).await?;
        let session = own.runs.part(&whole, &caller)?;
        let _ = run.set(session.run.clone());
        let (state, session): (&ServerState, &RunSession) = (&own, &session);
        work(state, session, sink).await
    })
    .await;
    if let (Ok(delivered), Some(key)) = (&outcome, key) {
        let is_kept = match delivered {
            Delivered::Whole(whole) => {
                let kept = KeptAnswer {
                    media,
                    bytes: whole.bytes.clone(),
                    rows: whole.rows,
                    next: whole.next.clone(),
                };
                state.kept.keep(key, kept)
            }
            Delivered::Stream(_) => false,
        };
        if !is_kept && let Some(permit) = &permit {
            permit.note_unkept();
        }
    }
    drop(permit);
    let delivered = outcome?;
    Ok(match had {
        Some(tag) => not_modified(state, tag),
        None => delivered_response(delivered, media, tag, pages, note),
    })
}

/// Answers a question whose answer may change without a run, by work.
pub(crate) async fn live<F>(
    state: &Arc<ServerState>,
    caller: &Caller,
    media: &'static str,
    note: &mut AnswerNote,
    work: F,
) -> Result<Response<Body>, Problem>
where
    F: AsyncFnOnce(&ServerState, &OnceLock<String>, &mut AnswerSink) -> Result<(), Problem>
        + Send
        + 'static,
{
    let limits = state.limits(caller, &note.id);
    let slot = state.slots.take(caller.claim(), limits.until).await?;
    let (own, run) = (Arc::clone(state), Arc::clone(&note.run));
    let delivered = work::run(slot, limits, async move |sink: &mut AnswerSink| {
        let (state, run): (&ServerState, &OnceLock<String>) = (&own, &run);
        work(state, run, sink).await
    })
    .await?;
    Ok(delivered_response(delivered, media, None, None, note))
}

/// Tag of an answer. It is weak, since an answer may be sent compressed. Another version of the program may answer in another shape.
fn tag_of(key: &AskedOfRun) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("{version}\n{}\n{}", key.run, key.question);
    format!("W/\"{:032x}\"", xxh3_128(text.as_bytes()))
}

/// True if a client has whatever there is: `If-None-Match: *`.
fn has_any(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|value| value.as_bytes().trim_ascii() == b"*")
}

/// True if the client has the answer of that tag.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = tag.trim_start_matches("W/");
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == opaque)
}

fn not_modified(state: &ServerState, tag: &str) -> Response<Body> {
    state.metrics.not_modified.fetch_add(1, Ordering::Relaxed);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    set(response.headers_mut(), header::ETAG, tag);
    set(
        response.headers_mut(),
        header::VARY,
        "accept, authorization",
    );
    set(
        response.headers_mut(),
        header::CACHE_CONTROL,
        "private, no-cache",
    );
    response
}

fn again(
    kept: KeptAnswer,
    tag: Option<&str>,
    pages: Option<&str>,
    note: &mut AnswerNote,
) -> Response<Body> {
    note.rows.store(kept.rows, Ordering::Relaxed);
    let mut response = response_of(Body::from(kept.bytes), kept.media, tag, note);
    link(response.headers_mut(), pages, kept.next.as_deref());
    response
}

fn delivered_response(
    delivered: Delivered,
    media: &'static str,
    tag: Option<&str>,
    pages: Option<&str>,
    note: &mut AnswerNote,
) -> Response<Body> {
    match delivered {
        Delivered::Whole(whole) => {
            note.rows.store(whole.rows, Ordering::Relaxed);
            let mut response = response_of(Body::from(whole.bytes), media, tag, note);
            link(response.headers_mut(), pages, whole.next.as_deref());
            response
        }
        Delivered::Stream(stream) => {
            note.rows = stream.rows();
            let next = stream.next.clone();
            let body = Body::from_stream(stream.into_chunks());
            let mut response = response_of(body, media, tag, note);
            link(response.headers_mut(), pages, next.as_deref());
            response
        }
    }
}

fn response_of(
    body: Body,
    media: &'static str,
    tag: Option<&str>,
    note: &AnswerNote,
) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, media);
    set(headers, header::VARY, "accept, authorization");
    match tag {
        Some(tag) => {
            set(headers, header::ETAG, tag);
            // It may be kept, and is asked for again: a new run makes another.
            set(headers, header::CACHE_CONTROL, "private, no-cache");
        }
        None => set(headers, header::CACHE_CONTROL, "no-store"),
    }
    if let Some(run) = note.run.get() {
        name_run(headers, run);
    }
    response
}

/// Names the run that an answer is of.
pub(crate) fn name_run(headers: &mut HeaderMap, run: &str) {
    set(headers, HeaderName::from_static(RUN), run);
}

/// A response that is there already: JSON of ours that is no answer of a run.
pub(crate) fn document(text: impl Into<Bytes>, media_type: &'static str) -> Response<Body> {
    let bytes: Bytes = text.into();
    let mut response = Response::new(Body::from(bytes));
    set(response.headers_mut(), header::CONTENT_TYPE, media_type);
    set(response.headers_mut(), header::CACHE_CONTROL, "no-store");
    response
}

/// Refusal of a method that a path does not take; `allowed` are those that it does.
pub(crate) fn wrong_method(request: &Request, allowed: &str) -> Response<Body> {
    Problem::wrong_method(request.method(), allowed).response(&AnswerNote::of(request).id)
}

/// Names the next page.
fn link(headers: &mut HeaderMap, pages: Option<&str>, cursor: Option<&str>) {
    if let Some((pages, cursor)) = pages.zip(cursor) {
        let next = format!("<{pages}{cursor}>; rel=\"next\"");
        set(headers, header::LINK, &next);
    }
}

/// Sets a header, where the value can be one.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_a_run_and_a_question() {
        let of = |run: &str, question: &str| {
            tag_of(&AskedOfRun {
                run: run.to_owned(),
                question: question.to_owned(),
            })
        };
        assert_eq!(of("a", "b"), of("a", "b"));
        assert_ne!(of("a", "b"), of("b", "b"));
        assert_ne!(of("a", "b"), of("a", "c"));
        let tag = of("a", "b");
        let mut headers = HeaderMap::new();
        assert!(!has(&headers, &tag));
        let both = format!("\"x\", {}", tag.trim_start_matches("W/"));
        set(&mut headers, header::IF_NONE_MATCH, &both);
        assert!(has(&headers, &tag));
        assert!(!has_any(&headers));
        set(&mut headers, header::IF_NONE_MATCH, " * ");
        assert!(!has(&headers, &tag), "what a client has is not known");
        assert!(has_any(&headers));
    }
}
