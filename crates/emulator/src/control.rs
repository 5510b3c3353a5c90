//! The control protocol's routes, as the crate's documentation has them.
//!
//! Invariant: nothing under `/control` meets a fault, needs a token or is logged. A source that is not there, a resource it does not have
//! and an order that fits nothing are errors, never a silent no.

use crate::answer::EmulatedResponse;
use crate::emulated::{EmulatedApi, RecordMutation, RecordSelection};
use crate::fault::EmulatedFault;
use crate::query::{decode, last};
use crate::server::EmulatorState;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post, put};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tillhouse_model::Error;

/// Key-value pairs of a query string.
type QueryPairs = Vec<(String, String)>;

/// The routes that every server has.
pub(crate) fn router() -> Router<Arc<EmulatorState>> {
    Router::new()
        .route("/control/clock", get(clock).post(set_clock))
        .route(
            "/control/faults",
            get(faults).post(add_faults).delete(clear_faults),
        )
        .route("/control/requests", get(requests).delete(clear_requests))
        .route("/control/{source}/truth", get(truth))
        .route("/control/{source}/stir", post(stir))
        .route("/control/{source}/records", put(put_record))
        .route("/control/{source}/page_cap", post(cap_pages))
}

/// The pairs of a query string, or the refusal of one that is not well formed.
pub fn pairs(query: Option<&str>) -> Result<QueryPairs, EmulatedResponse> {
    decode(query.unwrap_or_default())
        .ok_or_else(|| EmulatedResponse::bad_request("the query string is not well formed"))
}

/// A parameter that is an instant, where it is there.
pub fn instant(
    pairs: &[(String, String)],
    key: &str,
) -> Result<Option<Timestamp>, EmulatedResponse> {
    let text = last(pairs, key).map(str::parse::<Timestamp>).transpose();
    text.map_err(|_| {
        EmulatedResponse::bad_request(&format!("{key} must be a date-time with an offset"))
    })
}

/// A record as text.
pub fn record(body: &[u8]) -> Result<&str, EmulatedResponse> {
    std::str::from_utf8(body).map_err(|_| EmulatedResponse::bad_request("a record must be UTF-8"))
}

fn now(shared: &EmulatorState) -> EmulatedResponse {
    EmulatedResponse::of(&json!({ "now": shared.clock().to_string() }))
}

async fn clock(State(shared): State<Arc<EmulatorState>>) -> EmulatedResponse {
    now(&shared)
}

/// Body of `POST /control/clock`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetClockBody {
    now: Option<Timestamp>,
    advance_seconds: Option<u64>,
}

async fn set_clock(State(shared): State<Arc<EmulatorState>>, body: Bytes) -> EmulatedResponse {
    let moved = match serde_json::from_slice::<SetClockBody>(&body) {
        Ok(SetClockBody {
            now: Some(now),
            advance_seconds: None,
        }) => shared.set_clock(now),
        Ok(SetClockBody {
            now: None,
            advance_seconds: Some(seconds),
        }) => shared.advance(SignedDuration::from_secs(
            i64::try_from(seconds).unwrap_or(i64::MAX),
        )),
        _ => Err(Error::config(
            "send {\"now\": \"...\"} or {\"advance_seconds\": n}",
        )),
    };
    moved.map_or_else(EmulatedResponse::from, |()| now(&shared))
}

async fn faults(State(shared): State<Arc<EmulatorState>>) -> EmulatedResponse {
    EmulatedResponse::of(&json!({ "faults": shared.faults().pending() }))
}

/// Body of `POST /control/faults`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddFaultsBody {
    faults: Vec<EmulatedFault>,
}

async fn add_faults(State(shared): State<Arc<EmulatorState>>, body: Bytes) -> EmulatedResponse {
    match serde_json::from_slice::<AddFaultsBody>(&body) {
        Ok(order) => {
            let mut faults = shared.faults();
            faults.add(order.faults);
            EmulatedResponse::of(&json!({ "faults": faults.pending() }))
        }
        Err(error) => EmulatedResponse::bad_request(&format!("not a list of faults: {error}")),
    }
}

async fn clear_faults(State(shared): State<Arc<EmulatorState>>) -> EmulatedResponse {
    shared.faults().clear();
    EmulatedResponse::of(&json!({ "faults": [] }))
}

async fn requests(State(shared): State<Arc<EmulatorState>>) -> EmulatedResponse {
    EmulatedResponse::of(&*shared.requests())
}

async fn clear_requests(State(shared): State<Arc<EmulatorState>>) -> EmulatedResponse {
    *shared.requests() = Default::default();
    EmulatedResponse::of(&json!({ "total": 0 }))
}

/// The API of a path.
fn source<'s>(
    shared: &'s EmulatorState,
    name: &str,
) -> Result<&'s Arc<dyn EmulatedApi>, EmulatedResponse> {
    shared.source(name).ok_or_else(EmulatedResponse::not_found)
}

fn resource(pairs: &QueryPairs) -> Result<String, EmulatedResponse> {
    last(pairs, "resource")
        .map(str::to_owned)
        .ok_or_else(|| EmulatedResponse::bad_request("resource is required"))
}

async fn truth(
    State(shared): State<Arc<EmulatorState>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<EmulatedResponse, EmulatedResponse> {
    let (source, pairs) = (source(&shared, &name)?, pairs(query.as_deref())?);
    let selection = RecordSelection {
        resource: resource(&pairs)?,
        tenant: last(&pairs, "tenant").map(str::to_owned),
        from: instant(&pairs, "from")?,
        to: instant(&pairs, "to")?,
    };
    let records = source.truth(&selection).map_err(EmulatedResponse::from)?;
    Ok(EmulatedResponse::lines(
        records.iter().map(|record| record.as_ref()),
    ))
}

async fn stir(
    State(shared): State<Arc<EmulatorState>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<EmulatedResponse, EmulatedResponse> {
    let source = source(&shared, &name)?;
    let order: RecordMutation = serde_json::from_slice(&body).map_err(|error| {
        EmulatedResponse::bad_request(&format!("not an order to stir: {error}"))
    })?;
    let id = source
        .mutate(&order)
        .map_err(EmulatedResponse::from)?
        .ok_or_else(EmulatedResponse::not_found)?;
    Ok(EmulatedResponse::of(&json!({ "id": id })))
}

async fn put_record(
    State(shared): State<Arc<EmulatorState>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<EmulatedResponse, EmulatedResponse> {
    let (source, pairs) = (source(&shared, &name)?, pairs(query.as_deref())?);
    let json = record(&body)?;
    let id = source
        .put(&resource(&pairs)?, last(&pairs, "tenant"), json)
        .map_err(EmulatedResponse::from)?;
    Ok(EmulatedResponse::of(&json!({ "id": id })))
}

/// Body of `POST /control/{source}/page_cap`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CapPagesBody {
    largest_page: u32,
}

async fn cap_pages(
    State(shared): State<Arc<EmulatorState>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<EmulatedResponse, EmulatedResponse> {
    let source = source(&shared, &name)?;
    match serde_json::from_slice(&body) {
        Ok(CapPagesBody {
            largest_page: largest @ 1..,
        }) => {
            source.cap_pages(largest);
            Ok(EmulatedResponse::of(&json!({ "largest_page": largest })))
        }
        _ => Err(EmulatedResponse::bad_request(
            "send {\"largest_page\": n} with n at least 1",
        )),
    }
}
