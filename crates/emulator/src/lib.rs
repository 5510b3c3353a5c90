//! Base of every emulated API: an HTTP server on loopback, the control protocol, faults on demand
//! and a log of requests.
//!
//! Invariant: it knows no API and no part of the kit that is put to the test; an API is an [`EmulatedApi`], its name is the first segment of
//! its paths.
//!
//! ```text
//!   request --> server --> fault due? --> EmulatedApi::answer --> spoilt by the fault --> response
//!                  `--> /control/...: clock, faults, requests, each API's records        `--> log of requests
//! ```
//!
//! # The control protocol
//!
//! Protocol by which a test, in any language, moves the clock, orders faults, plants records and reads the truth. A server under test answers its API
//! under `/S`, where S is the source's name, and these routes beside it. None of them meets a fault, needs a token or stands in the log.
//! Bodies are JSON; what cannot be done is a 4xx.
//!
//! | request | does |
//! |---|---|
//! | `GET /control/clock` | `{"now": "..."}`, the server's now. Clocks of servers stand still unless they are moved |
//! | `POST /control/clock` `{"now": "..."}` or `{"advance_seconds": n}` | moves the clock forward, where the APIs can |
//! | `POST /control/faults` `{"faults": [{"kind": "reset", "after": 3, "times": 2, "path": "..."}]}` | queues faults, see below |
//! | `GET /control/faults`, `DELETE /control/faults` | `{"faults": [...]}`, what is left of them, with `after` and `times` as they are now; forgets them |
//! | `GET /control/requests`, `DELETE /control/requests` | `{"total": n, "requests": [{"method", "path", "query", "status"}]}`, what was asked, in order; forgets it |
//! | `GET /control/S/truth?resource=R[&tenant=T][&from=&to=]` | NDJSON: every record known at the clock, one a line, byte for byte as the API serves it; `from` and `to` (RFC 3339, half open) select by the time that the API's windows are about |
//! | `POST /control/S/stir` `{"resource": R, "tenant": T or null, "kind": K, "from": "...", "to": "..."}` | `{"id": "..."}`: the server makes up a record in the window (`arrive`), changes one (`change`) or removes one (`vanish`), at the beginning of the API's order; 404 where nothing fits |
//! | `POST /control/S/page_cap` `{"largest_page": n}` | the API cuts its pages to n records |
//! | `PUT /control/S/records?resource=R[&tenant=T]` with a record | inserts or replaces it exactly as written, where the API can; no clause needs it |
//!
//! A fault hits `times` (1) requests, after `after` (0) others have passed; of these, only those count whose path contains `path`, or,
//! without it, those that are not logins. A request meets at most one fault. The kinds:
//!
//! | kind | what happens |
//! |---|---|
//! | `rate_limited` | 429 with `Retry-After: <retry_after>`, seconds or a date |
//! | `server_error` | 500, or `status` |
//! | `answer` | `status` (200) with `headers`, a map, and `body` |
//! | `echo` | 400, or `status`, with what the request carried in the error's message: its body with every byte percent-encoded and as it came, its headers |
//! | `byte_order_mark` | the right body behind the three bytes of a byte order mark |
//! | `encoded` | the right body under `Content-Encoding: <encoding>`; gzipped, in so many `members` (1), where its name ends in `gzip` in any case |
//! | `replaced` | the right body, in which the first `text` is replaced by `with`; U+FFFD in the latter is sent as the byte 0xFF |
//! | `unauthorized` | every access token is revoked before the request is answered, with `"refresh_too": true` every refresh token as well |
//! | `slow` | the answer comes after `millis` |
//! | `truncated` | the body breaks off half-way through what Content-Length promised |
//! | `reset` | the connection is reset, nothing is answered |
//! | `empty` | 200 with no body |
//! | `html` | 200 with a web page, as text/html |
//! | `wrong_content_type` | the right body as text/plain |
//! | `oversized` | the right body, padded with blanks to `bytes` |
//! | `foreign_link` | a listing whose link to the next page leads to `link`. Hits listings only, and only where there are links |
//! | `self_link` | a listing whose link to the next page leads to itself. The same |
//! | `endless` | a listing that never ends: always one more full page of new, made-up records. Hits listings only |
//! | `lie_total` | a listing whose total is one too high. Hits listings only, and only where there are totals |
//! | `page_total` | a listing whose total counts the page only. The same |
//! | `repeat` | what the first request got that met it, again and again |
//! | `hole` | a listing's page without its records, all else as it is |
//! | `null_page` | a listing's page without records, which says `with`, `null` without one, instead of an empty list. Hits pages without records only |
//! | `no_content` | the same as 204 without a body |
//! | `missing` | the same as a refusal with `status`, 404 without one |
//!
//! [`FaultKind`] has a few more, which no clause orders.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod answer;
mod call;
mod connection;
pub mod control;
mod emulated;
mod fault;
mod listing;
pub mod query;
mod requests;
mod server;

pub use answer::EmulatedResponse;
pub use axum::http::{Method, StatusCode};
pub use call::EmulatedRequest;
pub use emulated::{
    EmulatedApi, RecordMutation, RecordMutationKind, RecordSelection, first_whole_second,
    last_whole_second, no_resource, no_tenant,
};
pub use fault::{EmulatedFault, FaultKind, FaultTarget};
pub use requests::{LoggedRequest, RequestLog};
pub use server::{EmulatedApis, Emulator};
