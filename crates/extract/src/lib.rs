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

mod auth;
mod body;
mod by_id;
mod charset;
mod claim;
mod clock;
mod credential;
mod cut_off;
mod empty_messages;
pub mod envelope;
mod envelope_error;
mod gunzip;
mod http;
mod json_login;
mod media_type;
mod name_list;
pub mod oauth2;
mod origin;
pub mod paging;
mod path_template;
mod plain_text;
mod proxy;
mod redact;
mod refusal_cause;
mod request;
mod retry;
mod retry_after;
mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod throttle;
mod token;
mod vocabulary;

pub use auth::{AuthorizedClient, Login, TokenCache, TokenGrant};
pub use by_id::{RecordEndpoint, RecordLookup, record_pages};
pub use claim::ServerClaim;
pub use clock::{ClockLead, clock_lead, hand_in_clock};
pub use credential::{Credential, stop_commands};
pub use empty_messages::EmptyMessages;
pub use http::{ClientStats, HttpClient};
pub use json_login::{JsonLogin, LoginWording};
pub use media_type::MediaTypes;
pub use name_list::{NameList, not_blank};
pub use origin::{BaseUrl, EndpointUrl, check_path, follow_link, path_segment};
pub use path_template::PathTemplate;
pub use redact::{Redactor, redact_url};
pub use request::{
    ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, HttpOutcome, HttpRefusal, HttpRequest,
    HttpResponse, Method, ReportedFailure, StatusCode, SuccessCheck,
};
pub use source::{
    ListingRemark, Page, PageStream, ResourceLimits, Source, SourceConnection, SourceLimits,
    check_page, failed_stream, find_resource, overlapping_window,
};
pub use throttle::SharedLimits;
pub use token::{Token, TokenPrefix};
