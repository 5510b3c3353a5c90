//! The control protocol's routes, as the crate's documentation has them.
//!
//! Invariant: nothing under `/control` meets a fault, needs a token or is logged. A source that is not there, a resource it does not have
//! and an order that fits nothing are errors, never a silent no.

use crate::answer::Answer;
use crate::emulated::{Emulated, Selection, Stir};
use crate::fault::Fault;
use crate::query::{decode, last};
use crate::server::Shared;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post, put};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tillhouse_model::Error;

type Pairs = Vec<(String, String)>;

/// The routes that every server has.
pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/control/clock", get(clock).post(set_clock))
        .route("/control/faults", get(faults).post(add_faults).delete(clear_faults))
        .route("/control/requests", get(requests).delete(clear_requests))
        .route("/control/{source}/truth", get(truth))
        .route("/control/{source}/stir", post(stir))
        .route("/control/{source}/records", put(put_record))
        .route("/control/{source}/page_cap", post(cap_pages))
}

/// The pairs of a query string, or the refusal of one that is not well formed.
pub fn pairs(query: Option<&str>) -> Result<Pairs, Answer> {
    decode(query.unwrap_or_default()).ok_or_else(|| Answer::bad_request("the query string is not well formed"))
}

/// A parameter that is an instant, where it is there.
pub fn instant(pairs: &[(String, String)], key: &str) -> Result<Option<Timestamp>, Answer> {
    let text = last(pairs, key).map(str::parse::<Timestamp>).transpose();
    text.map_err(|_| Answer::bad_request(&format!("{key} must be a date-time with an offset")))
}

/// A record as text.
pub fn record(body: &[u8]) -> Result<&str, Answer> {
    std::str::from_utf8(body).map_err(|_| Answer::bad_request("a record must be UTF-8"))
}

fn now(shared: &Shared) -> Answer {
    Answer::of(&json!({ "now": shared.clock().to_string() }))
}

async fn clock(State(shared): State<Arc<Shared>>) -> Answer {
    now(&shared)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockOrder {
    now: Option<Timestamp>,
    advance_seconds: Option<u64>,
}

async fn set_clock(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let moved = match serde_json::from_slice::<ClockOrder>(&body) {
        Ok(ClockOrder { now: Some(now), advance_seconds: None }) => shared.set_clock(now),
        Ok(ClockOrder { now: None, advance_seconds: Some(seconds) }) => {
            shared.advance(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
        }
        _ => Err(Error::config("send {\"now\": \"...\"} or {\"advance_seconds\": n}")),
    };
    moved.map_or_else(Answer::from, |()| now(&shared))
}

async fn faults(State(shared): State<Arc<Shared>>) -> Answer {
    Answer::of(&json!({ "faults": shared.faults().pending() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultOrder {
    faults: Vec<Fault>,
}

async fn add_faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    match serde_json::from_slice::<FaultOrder>(&body) {
        Ok(order) => {
            let mut faults = shared.faults();
            faults.add(order.faults);
            Answer::of(&json!({ "faults": faults.pending() }))
        }
        Err(error) => Answer::bad_request(&format!("not a list of faults: {error}")),
    }
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> Answer {
    shared.faults().clear();
    Answer::of(&json!({ "faults": [] }))
}

async fn requests(State(shared): State<Arc<Shared>>) -> Answer {
    Answer::of(&*shared.requests())
}

async fn clear_requests(State(shared): State<Arc<Shared>>) -> Answer {
    *shared.requests() = Default::default();
    Answer::of(&json!({ "total": 0 }))
}

/// The API of a path.
fn source<'s>(shared: &'s Shared, name: &str) -> Result<&'s Arc<dyn Emulated>, Answer> {
    shared.source(name).ok_or_else(Answer::not_found)
}

fn resource(pairs: &Pairs) -> Result<String, Answer> {
    last(pairs, "resource").map(str::to_owned).ok_or_else(|| Answer::bad_request("resource is required"))
}

async fn truth(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer, Answer> {
    let (source, pairs) = (source(&shared, &name)?, pairs(query.as_deref())?);
    let selection = Selection {
        resource: resource(&pairs)?,
        tenant: last(&pairs, "tenant").map(str::to_owned),
        from: instant(&pairs, "from")?,
        to: instant(&pairs, "to")?,
    };
    let records = source.truth(&selection).map_err(Answer::from)?;
    Ok(Answer::lines(records.iter().map(|record| record.as_ref())))
}

async fn stir(State(shared): State<Arc<Shared>>, Path(name): Path<String>, body: Bytes) -> Result<Answer, Answer> {
    let source = source(&shared, &name)?;
    let order: Stir = serde_json::from_slice(&body)
        .map_err(|error| Answer::bad_request(&format!("not an order to stir: {error}")))?;
    let id = source.stir(&order).map_err(Answer::from)?.ok_or_else(Answer::not_found)?;
    Ok(Answer::of(&json!({ "id": id })))
}

async fn put_record(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Answer, Answer> {
    let (source, pairs) = (source(&shared, &name)?, pairs(query.as_deref())?);
    let json = record(&body)?;
    let id = source.put(&resource(&pairs)?, last(&pairs, "tenant"), json).map_err(Answer::from)?;
    Ok(Answer::of(&json!({ "id": id })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cap {
    largest_page: u32,
}

async fn cap_pages(State(shared): State<Arc<Shared>>, Path(name): Path<String>, body: Bytes) -> Result<Answer, Answer> {
    let source = source(&shared, &name)?;
    match serde_json::from_slice(&body) {
        Ok(Cap { largest_page: largest @ 1.. }) => {
            source.cap_pages(largest);
            Ok(Answer::of(&json!({ "largest_page": largest })))
        }
        _ => Err(Answer::bad_request("send {\"largest_page\": n} with n at least 1")),
    }
}
