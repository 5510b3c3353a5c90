//! One request, as far as a provider looks at it.
//!
//! Invariant: a provider sees nothing of the prefix it is mounted under.

use crate::query;
use axum::http::{HeaderMap, Method, header};

/// Request to an emulated provider.
#[derive(Debug)]
pub struct EmulatedRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path behind the prefix, `/transactions`.
    pub path: &'a str,
    /// The query string as it came.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> EmulatedRequest<'a> {
    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The last value of a query parameter, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        query::last(&query::decode(self.query)?, name).map(str::to_owned)
    }

    /// `http://127.0.0.1:PORT`, as the client knows this server, for links.
    pub fn origin(&self) -> String {
        format!(
            "http://{}",
            self.header(header::HOST.as_str()).unwrap_or_default()
        )
    }

    /// The `Authorization` header.
    pub fn authorization(&self) -> Option<&'a str> {
        self.header(header::AUTHORIZATION.as_str())
    }
}
