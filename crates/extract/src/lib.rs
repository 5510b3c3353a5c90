//! Extraction: the [`Source`] trait that every API implements, and the HTTP kit they build on.
//!
//! Invariant: nothing here knows an API, a contract or a table; a page is bytes and what its envelope declares.
//!
//! ```text
//!   HttpRequest -> AuthorizedClient -> HttpClient -> Throttle -> the network
//!                  token, renewed      retry,        concurrency,
//!                  when refused        limits        rate, pauses
//!
//!   paging::by_offset / by_link / by_page  turn "ask for one page" into a PageStream that reads one page ahead
//!   paging::by_key                         the same by the records' ids, for one list or for every parent's
//!   envelope::read                         finds totals and links in a page without parsing its records
//!   path_template::PathTemplate            a configured path, with the place of an id
//!   json_login::JsonLogin                  gets tokens for a name and a secret, and for a refresh token
//!   oauth2::ClientCredentials              gets tokens where OAuth2 gives them out, on a server of its own
//! ```
//!
//! Deliberately absent: cookies, redirects to other hosts, HTTP caching, and any knowledge of what a record is.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod auth;
mod body;
pub mod by_id;
pub mod claim;
mod clock;
pub mod credential;
pub mod empty_messages;
pub mod envelope;
mod envelope_error;
mod gunzip;
pub mod http;
pub mod json_login;
pub mod media_type;
pub mod name_list;
pub mod oauth2;
pub mod origin;
pub mod paging;
pub mod path_template;
mod proxy;
pub mod redact;
mod refusal_cause;
pub mod request;
pub mod retry;
pub mod retry_after;
pub mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod throttle;
pub mod token;

pub use auth::{AuthorizedClient, Login, TokenCache};
pub use by_id::{RecordEndpoint, RecordLookup};
pub use claim::ServerClaim;
pub use credential::{Credential, stop_commands};
pub use empty_messages::EmptyMessages;
pub use http::{ClientStats, HttpClient};
pub use json_login::JsonLogin;
pub use media_type::MediaTypes;
pub use name_list::NameList;
pub use origin::{BaseUrl, EndpointUrl};
pub use path_template::PathTemplate;
pub use redact::Redactor;
pub use request::{
    HttpOutcome, HttpRefusal, HttpRequest, HttpResponse, Method, ReportedFailure, StatusCode,
    SuccessCheck,
};
pub use source::{Page, PageStream, ResourceLimits, Source, SourceConnection, SourceLimits};
pub use token::{Token, TokenPrefix};
