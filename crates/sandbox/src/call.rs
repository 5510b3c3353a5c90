//! One request, as far as a provider looks at it.
//!
//! Invariant: a provider sees nothing of the prefix it is mounted under.

use axum::http::{HeaderMap, Method, header};

/// A request; `path` starts after the provider's own prefix and is not decoded.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl<'a> Call<'a> {
    /// A header's value, where it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The `Authorization` header.
    pub(crate) fn authorization(&self) -> Option<&'a str> {
        self.header(header::AUTHORIZATION.as_str())
    }
}
