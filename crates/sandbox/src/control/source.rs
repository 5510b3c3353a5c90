//! The part of the control protocol that every source has: its truth, its records, and what happens to them.
//!
//! Invariant: a source that is not there, a resource it does not have and an order that fits nothing are errors, never a silent no.

use crate::answer::Answer;
use crate::control::{done, ndjson};
use crate::emulated::{Emulated, Selection, Stir};
use crate::query::{decode, last};
use crate::server::Shared;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

type Pairs = Vec<(String, String)>;

/// The source and the query, or the error that says what is wrong with them.
fn asked<'s>(shared: &'s Shared, source: &str, query: Option<&str>) -> Result<(&'s Arc<dyn Emulated>, Pairs), Answer> {
    let source = shared.source(source).ok_or_else(Answer::not_found)?;
    let pairs = decode(query.unwrap_or_default());
    Ok((source, pairs.ok_or_else(|| Answer::bad_request("the query string is not well formed"))?))
}

fn resource(pairs: &Pairs) -> Result<String, Answer> {
    last(pairs, "resource").map(str::to_owned).ok_or_else(|| Answer::bad_request("resource is required"))
}

fn selection(pairs: &Pairs) -> Result<Selection, Answer> {
    let instant = |key: &str| match last(pairs, key).map(str::parse::<Timestamp>) {
        None => Ok(None),
        Some(Ok(instant)) => Ok(Some(instant)),
        Some(Err(_)) => Err(Answer::bad_request(&format!("{key} must be a date-time with an offset"))),
    };
    Ok(Selection {
        resource: resource(pairs)?,
        tenant: last(pairs, "tenant").map(str::to_owned),
        from: instant("from")?,
        to: instant("to")?,
    })
}

pub(crate) async fn truth(
    State(shared): State<Arc<Shared>>,
    Path(source): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let answer = asked(&shared, &source, query.as_deref()).and_then(|(source, pairs)| {
        let records = source.truth(&selection(&pairs)?).map_err(Answer::from)?;
        Ok(ndjson(records.iter().map(|record| record.as_ref())))
    });
    done(answer.unwrap_or_else(|refusal| refusal))
}

pub(crate) async fn stir(State(shared): State<Arc<Shared>>, Path(source): Path<String>, body: Bytes) -> Response {
    let answer = asked(&shared, &source, None).and_then(|(source, _)| {
        let order: Stir = serde_json::from_slice(&body)
            .map_err(|error| Answer::bad_request(&format!("not an order to stir: {error}")))?;
        match source.stir(&order).map_err(Answer::from)? {
            Some(id) => Ok(Answer::of(&json!({ "id": id }))),
            None => Err(Answer::not_found()),
        }
    });
    done(answer.unwrap_or_else(|refusal| refusal))
}

pub(crate) async fn put(
    State(shared): State<Arc<Shared>>,
    Path(source): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let answer = asked(&shared, &source, query.as_deref()).and_then(|(source, pairs)| {
        let json = std::str::from_utf8(&body).map_err(|_| Answer::bad_request("a record must be UTF-8"))?;
        let id = source.put(&resource(&pairs)?, last(&pairs, "tenant"), json).map_err(Answer::from)?;
        Ok(Answer::of(&json!({ "id": id })))
    });
    done(answer.unwrap_or_else(|refusal| refusal))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cap {
    largest_page: u32,
}

pub(crate) async fn cap_pages(State(shared): State<Arc<Shared>>, Path(source): Path<String>, body: Bytes) -> Response {
    let answer = asked(&shared, &source, None).and_then(|(source, _)| match serde_json::from_slice(&body) {
        Ok(Cap { largest_page: largest @ 1.. }) => {
            source.cap_pages(largest);
            Ok(Answer::of(&json!({ "largest_page": largest })))
        }
        _ => Err(Answer::bad_request("send {\"largest_page\": n} with n at least 1")),
    });
    done(answer.unwrap_or_else(|refusal| refusal))
}
