//! The control protocol: how a test, in any language, moves the clock, orders faults, plants records and reads the truth.
//!
//! Invariant: nothing under `/control` meets a fault, needs a token or is logged.
//!
//! | request | does |
//! |---|---|
//! | `GET /control/clock` | `{"now": "..."}` |
//! | `POST /control/clock` `{"now": "..."}` or `{"advance_seconds": n}` | moves the clock forward; sales move on, late ones arrive |
//! | `POST /control/faults` `{"faults": [{"kind": "rate_limited", "retry_after": "1", "after": 3, "times": 2, "path": "..."}]}` | queues faults, see [`crate::Fault`] |
//! | `GET /control/faults`, `DELETE /control/faults` | what is left of them; forgets them |
//! | `POST /control/records[?time=...]` with a record | inserts or replaces it exactly as written; `time` overrides its record time |
//! | `DELETE /control/records/{id}` | removes it; 404 when there is none |
//! | `GET /control/truth?resource=transactions[&mandator_id=...]` | every record known at the clock, one a line, by time |
//! | `GET /control/statistics?start_date=&end_date=[&mandator_id=&states=a,b&timezone=&hours=of_day&filter=]` | the oracle's answer, `meta` included |
//! | `GET /control/{source}/truth?resource=[&tenant=&from=&to=]` | the records of one source as its API would serve them, one a line |
//! | `POST /control/{source}/stir` `{"resource", "tenant", "kind": "arrive", "change" or "vanish", "from", "to"}` | makes it happen at the beginning of the listing; `{"id": "..."}`, 404 where nothing fits |
//! | `PUT /control/{source}/records?resource=[&tenant=]` with a record | inserts or replaces it exactly as written |
//! | `POST /control/{source}/page_cap` `{"largest_page": n}` | cuts that source's pages to n |
//! | `POST /control/bemo/access_token` `{"access_token": "..."}` | replaces be-mo's access token; the one before is expired |
//! | `GET /control/requests`, `DELETE /control/requests` | what was asked so far; forgets it |

pub(crate) mod source;

use crate::answer::Answer;
use crate::fault::Fault;
use crate::hecone::listing::window;
use crate::hecone::oracle;
use crate::query::{decode, last};
use crate::server::Shared;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tillhouse_model::Error;

pub(crate) fn done(answer: Answer) -> Response {
    answer.into_response(false)
}

fn now(shared: &Shared) -> Answer {
    Answer::of(&json!({ "now": shared.clock().to_string() }))
}

pub(crate) async fn clock(State(shared): State<Arc<Shared>>) -> Response {
    done(now(&shared))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockOrder {
    now: Option<Timestamp>,
    advance_seconds: Option<u64>,
}

pub(crate) async fn set_clock(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let order = serde_json::from_slice::<ClockOrder>(&body);
    let moved = match order {
        Ok(ClockOrder { now: Some(now), advance_seconds: None }) => shared.set_clock(now),
        Ok(ClockOrder { now: None, advance_seconds: Some(seconds) }) => {
            shared.advance(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
        }
        _ => Err(Error::config("send {\"now\": \"...\"} or {\"advance_seconds\": n}")),
    };
    done(moved.map_or_else(Answer::from, |()| now(&shared)))
}

pub(crate) async fn faults(State(shared): State<Arc<Shared>>) -> Response {
    done(Answer::of(&json!({ "faults": shared.faults().pending() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultOrder {
    faults: Vec<Fault>,
}

pub(crate) async fn add_faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match serde_json::from_slice::<FaultOrder>(&body) {
        Ok(order) => {
            shared.faults().add(order.faults);
            done(Answer::of(&json!({ "faults": shared.faults().pending() })))
        }
        Err(error) => done(Answer::bad_request(&format!("not a list of faults: {error}"))),
    }
}

pub(crate) async fn clear_faults(State(shared): State<Arc<Shared>>) -> Response {
    shared.faults().clear();
    done(Answer::of(&json!({ "faults": [] })))
}

pub(crate) async fn put_record(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let time = match query.as_deref().map(decode) {
        None => None,
        Some(Some(pairs)) => match last(&pairs, "time").map(str::parse::<Timestamp>) {
            None => None,
            Some(Ok(time)) => Some(time),
            Some(Err(_)) => return done(Answer::bad_request("time must be a date-time with an offset")),
        },
        Some(None) => return done(Answer::bad_request("the query string is not well formed")),
    };
    let Ok(json) = std::str::from_utf8(&body) else {
        return done(Answer::bad_request("a record must be UTF-8"));
    };
    let put = shared.hecone.records_mut().put(json, time);
    done(put.map_or_else(Answer::from, |id| Answer::of(&json!({ "id": id }))))
}

pub(crate) async fn remove_record(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let removed = shared.hecone.records_mut().remove(&id);
    done(if removed { Answer::of(&json!({ "id": id })) } else { Answer::not_found() })
}

pub(crate) async fn requests(State(shared): State<Arc<Shared>>) -> Response {
    done(Answer::of(&*shared.requests()))
}

pub(crate) async fn clear_requests(State(shared): State<Arc<Shared>>) -> Response {
    *shared.requests() = Default::default();
    done(Answer::of(&json!({ "total": 0 })))
}

pub(crate) async fn statistics(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let pairs = decode(query.as_deref().unwrap_or_default()).unwrap_or_default();
    let asked = match question(&pairs) {
        Ok(asked) => asked,
        Err(message) => return done(Answer::bad_request(&message)),
    };
    match oracle::answer(&shared.hecone.records(), &asked) {
        Ok(answer) => done(Answer::of(&answer)),
        Err(message) => done(Answer::bad_request(&message)),
    }
}

fn question(pairs: &[(String, String)]) -> std::result::Result<oracle::Question, String> {
    let (from, to) = window(pairs)?;
    let instant = |us| Timestamp::from_microsecond(us).unwrap_or_default();
    let mut asked = oracle::Question::new(instant(from), instant(to));
    asked.mandator = last(pairs, "mandator_id").map(str::to_owned);
    asked.filter = last(pairs, "filter").map(str::to_owned);
    asked.of_day = last(pairs, "hours") == Some("of_day");
    if let Some(states) = last(pairs, "states") {
        asked.states = states.split(',').map(str::to_owned).collect();
    }
    if let Some(zone) = last(pairs, "timezone").filter(|zone| *zone != "UTC") {
        asked.timezone = jiff::tz::TimeZone::get(zone).map_err(|_| format!("there is no time zone {zone:?}"))?;
    }
    Ok(asked)
}

pub(crate) async fn truth(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let pairs = decode(query.as_deref().unwrap_or_default()).unwrap_or_default();
    if last(&pairs, "resource") != Some("transactions") {
        return done(Answer::error(StatusCode::BAD_REQUEST, "bad_request", "resource must be transactions"));
    }
    let records = shared.hecone.records();
    let mandator = last(&pairs, "mandator_id");
    let is_meant = |number: u16| mandator.is_none_or(|m| records.mandators[usize::from(number)] == m);
    done(ndjson(records.living().filter(|row| is_meant(row.mandator)).map(|row| row.body.as_ref())))
}

/// Records, one a line.
pub(crate) fn ndjson<'r>(records: impl Iterator<Item = &'r [u8]>) -> Answer {
    let mut body = Vec::new();
    for record in records {
        body.extend_from_slice(record);
        body.push(b'\n');
    }
    let mut answer = Answer::json(body);
    answer.content_type = "application/x-ndjson";
    answer
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renewal {
    access_token: String,
}

pub(crate) async fn renew_bemo_token(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Renewal>(&body) {
        Ok(Renewal { access_token }) => {
            shared.bemo.renew_token(access_token);
            done(Answer::of(&json!({ "renewed": true })))
        }
        Err(_) => done(Answer::bad_request("send {\"access_token\": \"...\"}")),
    }
}
