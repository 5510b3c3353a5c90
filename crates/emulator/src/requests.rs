//! The log of requests: what was asked, in order, for tests that count.
//!
//! Invariant: the log holds at most the newest 20,000 requests, the counts hold all; neither holds a header or a body.

use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// One request, in the order of arrival.
#[derive(Debug, Clone, Serialize)]
pub struct LoggedRequest {
    /// The machine's time at which the answer was ready.
    pub time: Timestamp,
    /// When the request arrived, in milliseconds since the server started.
    pub at_ms: u64,
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

/// Log of the requests.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RequestLog {
    /// Number of requests.
    pub total: u64,
    /// Number by method and path, `GET /hecone/transactions`; ids in paths are `{id}`.
    pub counts: BTreeMap<String, u64>,
    /// The newest 20,000.
    pub requests: VecDeque<LoggedRequest>,
}

const KEPT: usize = 20_000;

impl RequestLog {
    /// Adds one, counted under `route` where its API names that.
    pub(crate) fn add(&mut self, request: LoggedRequest, route: Option<String>) {
        self.total += 1;
        let path = route.unwrap_or_else(|| without_ids(&request.path));
        *self
            .counts
            .entry(format!("{} {path}", request.method))
            .or_default() += 1;
        if self.requests.len() >= KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }
}

/// The path with `{id}` in place of numbers and UUIDs.
fn without_ids(path: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_uuid =
        |part: &str| part.len() == 36 && part.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    let parts: Vec<&str> = path
        .split('/')
        .map(|part| {
            if is_number(part) || is_uuid(part) {
                "{id}"
            } else {
                part
            }
        })
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_counted_without_their_ids() {
        for (path, counted) in [
            ("/kiosk/sales", "/kiosk/sales"),
            ("/smartnow/product/12", "/smartnow/product/{id}"),
            (
                "/bemo/reporting/v1/api/accounts/ba7a3db7-a7de-42d9-8d16-f4bc7bc687a1/sessions",
                "/bemo/reporting/v1/api/accounts/{id}/sessions",
            ),
        ] {
            assert_eq!(without_ids(path), counted);
        }
    }
}
