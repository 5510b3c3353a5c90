//! The log of requests: what was asked, in order, for tests that count.
//!
//! Invariant: the log holds at most the newest 20,000 requests, the counts hold all; neither holds a header or a body.

use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// One request, in the order of arrival.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// The machine's time at which the answer was ready.
    pub time: Timestamp,
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path, the source's prefix included.
    pub path: String,
    /// The query string as it came.
    pub query: String,
    /// The status that was answered.
    pub status: u16,
    /// The fault it met, by name.
    pub fault: Option<String>,
    /// Bytes of the body, before compression.
    pub bytes: u64,
}

/// All of them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RequestLog {
    /// How many there were.
    pub total: u64,
    /// How many by method and path, `GET /hecone/transactions`; ids in paths are `{id}`.
    pub counts: BTreeMap<String, u64>,
    /// The newest 20,000.
    pub requests: VecDeque<Request>,
}

const KEPT: usize = 20_000;

impl RequestLog {
    pub(crate) fn add(&mut self, request: Request) {
        self.total += 1;
        let path = match request.path.split_once("/transactions/") {
            Some((before, rest)) if rest != "statistics" => format!("{before}/transactions/{{id}}"),
            _ => request.path.clone(),
        };
        *self.counts.entry(format!("{} {path}", request.method)).or_default() += 1;
        if self.requests.len() >= KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }
}
