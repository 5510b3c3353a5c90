//! Answer of an endpoint, before it becomes HTTP: status, body, and the few headers these APIs
//! send.
//!
//! Invariant: every answer that is made here is JSON unless it says otherwise, and its length is known before it is sent.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use std::borrow::Cow;
use std::io::Write as _;
use tillhouse_model::{Error, ErrorKind};

/// The media type of nearly everything here.
pub(crate) const JSON: &str = "application/json";

/// A response in the making.
#[derive(Debug, Clone)]
pub struct EmulatedResponse {
    /// The status.
    pub status: StatusCode,
    /// The media type; none where it is empty.
    pub content_type: &'static str,
    /// The body, before compression.
    pub body: Vec<u8>,
    /// Headers beside the content's own.
    pub headers: Vec<(Cow<'static, str>, String)>,
}

impl EmulatedResponse {
    /// A 200 with a JSON body.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: JSON,
            body: body.into(),
            headers: Vec::new(),
        }
    }

    /// A value as JSON; if it cannot be written, that is a 500.
    pub fn of<T: Serialize>(value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::json(body),
            Err(_) => Self::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "cannot write the answer",
            ),
        }
    }

    /// An error as JSON: `{"error": {"code", "message"}}`.
    pub fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "error": { "code": code, "message": message } })
            .to_string()
            .into_bytes();
        Self {
            status,
            content_type: JSON,
            body,
            headers: Vec::new(),
        }
    }

    /// A 400.
    pub fn bad_request(message: &str) -> Self {
        Self::error(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// A 404.
    pub fn not_found() -> Self {
        Self::error(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such thing here",
        )
    }

    /// A 200 with records, one a line.
    pub fn lines<'r>(records: impl Iterator<Item = &'r [u8]>) -> Self {
        let mut body = Vec::new();
        for record in records {
            body.extend_from_slice(record);
            body.push(b'\n');
        }
        Self {
            content_type: "application/x-ndjson",
            ..Self::json(body)
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// As HTTP; compressed if `gzip`.
    pub(crate) fn response(self, gzip: bool) -> Response {
        let compressed = if gzip { compress(&self.body) } else { None };
        let is_compressed = compressed.is_some();
        let mut response = Response::new(Body::from(compressed.unwrap_or(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if !self.content_type.is_empty() {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(self.content_type),
            );
        }
        if is_compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, text) in self.headers {
            // A text that no header can hold is left out: the client sees a missing header, as it would from a proxy.
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(&*name), HeaderValue::from_str(&text))
            {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl IntoResponse for EmulatedResponse {
    fn into_response(self) -> Response {
        self.response(false)
    }
}

/// Gzip at the level of speed; `None` if that fails, which writing into memory does not.
pub(crate) fn compress(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

impl From<Error> for EmulatedResponse {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Config | ErrorKind::Data => Self::bad_request(error.message()),
            _ => Self::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                error.kind().as_str(),
                error.message(),
            ),
        }
    }
}
