//! The sandbox's own part of the control protocol, beside what every emulated API has: HecOne's records, truth and statistics, and be-mo's
//! access token.
//!
//! Invariant: an order that cannot be read changes nothing.
//!
//! | request | does |
//! |---|---|
//! | `POST /control/records[?time=...]` with a record | inserts or replaces it exactly as written; `time` overrides its record time |
//! | `DELETE /control/records/{id}` | removes it; 404 when there is none |
//! | `GET /control/truth?resource=transactions[&mandator_id=...]` | every record known at the clock, one a line, by time |
//! | `GET /control/statistics?start_date=&end_date=[&mandator_id=&states=a,b&timezone=&hours=of_day&filter=]` | the oracle's answer, `meta` included |
//! | `POST /control/bemo/access_token` `{"access_token": "..."}` | replaces be-mo's access token; the one before is expired |

use crate::bemo::EmulatedBemo;
use crate::hecone::EmulatedHecOne;
use crate::hecone::listing::window;
use crate::hecone::statistics::{self, HecOneStatisticsQuery};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{delete, get, post};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tillhouse_emulator::EmulatedResponse;
use tillhouse_emulator::control::{instant, pairs, record};
use tillhouse_emulator::query::last;
use tillhouse_model::time_zone::time_zone;

/// The routes below.
pub(crate) fn router(hecone: Arc<EmulatedHecOne>, bemo: Arc<EmulatedBemo>) -> Router {
    let hecone = Router::new()
        .route("/control/records", post(put_record))
        .route("/control/records/{id}", delete(remove_record))
        .route("/control/statistics", get(answer_statistics))
        .route("/control/truth", get(truth))
        .with_state(hecone);
    hecone.route(
        "/control/bemo/access_token",
        post(renew_bemo_token).with_state(bemo),
    )
}

async fn put_record(
    State(hecone): State<Arc<EmulatedHecOne>>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<EmulatedResponse, EmulatedResponse> {
    let time = instant(&pairs(query.as_deref())?, "time")?;
    let id = hecone
        .records_mut()
        .put(record(&body)?, time)
        .map_err(EmulatedResponse::from)?;
    Ok(EmulatedResponse::of(&json!({ "id": id })))
}

async fn remove_record(
    State(hecone): State<Arc<EmulatedHecOne>>,
    Path(id): Path<String>,
) -> EmulatedResponse {
    if hecone.records_mut().remove(&id) {
        EmulatedResponse::of(&json!({ "id": id }))
    } else {
        EmulatedResponse::not_found()
    }
}

async fn answer_statistics(
    State(hecone): State<Arc<EmulatedHecOne>>,
    RawQuery(query): RawQuery,
) -> EmulatedResponse {
    let asked = question(&pairs(query.as_deref()).unwrap_or_default());
    let answer = asked.and_then(|asked| statistics::answer(&hecone.records(), &asked));
    answer.map_or_else(
        |message| EmulatedResponse::bad_request(&message),
        |answer| EmulatedResponse::of(&answer),
    )
}

fn question(pairs: &[(String, String)]) -> Result<HecOneStatisticsQuery, String> {
    let (from, to) = window(pairs)?;
    let instant = |us| Timestamp::from_microsecond(us).unwrap_or_default();
    let mut asked = HecOneStatisticsQuery::new(instant(from), instant(to));
    asked.mandator = last(pairs, "mandator_id").map(str::to_owned);
    asked.filter = last(pairs, "filter").map(str::to_owned);
    asked.of_day = last(pairs, "hours") == Some("of_day");
    if let Some(states) = last(pairs, "states") {
        asked.states = states.split(',').map(str::to_owned).collect();
    }
    if let Some(zone) = last(pairs, "timezone").filter(|zone| *zone != "UTC") {
        asked.timezone =
            time_zone(zone).ok_or_else(|| format!("there is no time zone {zone:?}"))?;
    }
    Ok(asked)
}

async fn truth(
    State(hecone): State<Arc<EmulatedHecOne>>,
    RawQuery(query): RawQuery,
) -> EmulatedResponse {
    let pairs = pairs(query.as_deref()).unwrap_or_default();
    if last(&pairs, "resource") != Some("transactions") {
        return EmulatedResponse::bad_request("resource must be transactions");
    }
    let records = hecone.records();
    let mandator = last(&pairs, "mandator_id");
    let is_meant =
        |number: u16| mandator.is_none_or(|m| records.mandators[usize::from(number)] == m);
    EmulatedResponse::lines(
        records
            .live_records()
            .filter(|row| is_meant(row.mandator))
            .map(|row| row.body.as_ref()),
    )
}

/// Body of `POST /control/bemo/access_token`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenewTokenBody {
    access_token: String,
}

async fn renew_bemo_token(State(bemo): State<Arc<EmulatedBemo>>, body: Bytes) -> EmulatedResponse {
    match serde_json::from_slice::<RenewTokenBody>(&body) {
        Ok(RenewTokenBody { access_token }) => {
            bemo.renew_token(access_token);
            EmulatedResponse::of(&json!({ "renewed": true }))
        }
        Err(_) => EmulatedResponse::bad_request("send {\"access_token\": \"...\"}"),
    }
}
