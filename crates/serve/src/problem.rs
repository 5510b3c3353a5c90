//! Problems as RFC 9457 has them: `application/problem+json`, with an id that stands in the log.
//!
//! Invariant: whoever asks learns what was wrong with the question, and of our own faults no more than that there was one: no path, no SQL of ours, no
//! token, no text of a library. The whole story is in the log, under the id.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use tillhouse_model::{Error, ErrorKind};

/// Media type of a problem.
pub(crate) const PROBLEM: &str = "application/problem+json";
/// Words of the refusal of whatever would write, by which other protocols than HTTP tell it.
pub(crate) const ONLY_READS: &str = "is not a query, and SQL here only reads";
/// Places of an error that are about the question.
const SHOWN_PLACES: [&str; 5] = ["line", "column", "field", "filter", "compare"];

/// Mark of a response that tells a problem to a person, as a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProblemPage;

/// Problem with a request.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// The mistake, in a sentence.
    detail: String,
    /// The way out.
    hint: Option<String>,
    /// Further members of the document.
    members: Option<Box<Map<String, Value>>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log alone.
    inside: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            hint: None,
            members: None,
            headers: Vec::new(),
            inside: None,
        }
    }

    /// A question that is wrong.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// A fault of ours, told in the log alone.
    pub(crate) fn internal(inside: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer could not be made; the server's log says why, under this id",
        )
        .inside(inside)
    }

    /// The server has too much to do.
    pub(crate) fn busy(seconds: u32) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "more is asked at once than is answered at once",
        )
        .hint("Ask again later, as Retry-After says.")
        .retry_after(seconds)
    }

    /// The answer took too long.
    pub(crate) fn too_slow(seconds: u64) -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("the answer took more than the {seconds} s that one may take"),
        )
        .hint("Ask for less at a time: a shorter period, fewer columns. serve.timeout in tillhouse.yaml is the limit.")
    }

    /// A method that a path does not take; `allowed` are those that it does.
    pub(crate) fn wrong_method(method: &Method, allowed: &str) -> Self {
        let method: String = method.as_str().chars().take(16).collect();
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{method} is no method of this path"),
        )
        .hint(format!("It takes {allowed}."))
        .header(header::ALLOW, allowed)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn member(mut self, name: &str, value: Value) -> Self {
        let members = self.members.get_or_insert_default();
        members.insert(name.to_owned(), value);
        self
    }

    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    #[must_use]
    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        self.header(header::RETRY_AFTER, &seconds.to_string())
    }

    #[must_use]
    fn inside(mut self, inside: impl Into<String>) -> Self {
        self.inside = Some(inside.into());
        self
    }

    /// The same problem in other words: errors are made in those of the command line.
    #[must_use]
    pub(crate) fn reworded(mut self, words: impl Fn(&str) -> String) -> Self {
        self.detail = words(&self.detail);
        self.hint = self.hint.as_deref().map(words);
        self
    }

    /// The mistake, in a sentence.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The way out, where there is one.
    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Text for the log.
    pub(crate) fn for_log(&self) -> &str {
        self.inside.as_deref().unwrap_or(&self.detail)
    }

    /// True for a fault of ours, or of what we stand on.
    pub(crate) fn is_ours(&self) -> bool {
        self.inside.is_some()
    }

    /// Writes the problem into the process's own log, under the id of its request.
    pub(crate) fn log(&self, id: &str, endpoint: &str) {
        let (status, text) = (self.status.as_u16(), self.for_log());
        match self.is_ours() {
            true => tracing::error!(%id, endpoint, status, "{text}"),
            false => tracing::debug!(%id, endpoint, status, "{text}"),
        }
    }

    /// The response, under an id.
    pub(crate) fn response(self, id: &str) -> Response<Body> {
        let mut document = Map::new();
        let title = self.status.canonical_reason().unwrap_or("Problem");
        document.insert("type".to_owned(), json!("about:blank"));
        document.insert("title".to_owned(), json!(title));
        document.insert("status".to_owned(), json!(self.status.as_u16()));
        document.insert("detail".to_owned(), json!(self.detail));
        if let Some(hint) = &self.hint {
            document.insert("hint".to_owned(), json!(hint));
        }
        document.extend(self.members.map(|members| *members).unwrap_or_default());
        document.insert("id".to_owned(), json!(id));
        let text = Value::Object(document).to_string();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Config => told(StatusCode::BAD_REQUEST, &error),
            ErrorKind::Query if is_too_large(&error) => {
                told(StatusCode::UNPROCESSABLE_ENTITY, &error)
            }
            ErrorKind::Query if is_of_nothing(&error) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "nothing has been published yet",
            )
            .hint("Run `tillhouse sync`; what it brings in can then be asked for.")
            .retry_after(10),
            ErrorKind::Query => told(StatusCode::BAD_REQUEST, &error),
            ErrorKind::Storage | ErrorKind::Unreachable | ErrorKind::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the warehouse cannot be read at the moment",
            )
            .retry_after(5)
            .inside(error.to_string()),
            ErrorKind::Interrupted => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the server stops; what was asked was not answered",
            )
            .retry_after(5),
            _ => Self::internal(error.to_string()),
        }
    }
}

/// An error about the question, in its own words.
fn told(status: StatusCode, error: &Error) -> Problem {
    let parts: Vec<String> = match error.parts() {
        [] => vec![words(error)],
        parts => parts.iter().map(words).collect(),
    };
    let problem = Problem::new(status, parts.join("; "));
    let hint = error
        .hint_text()
        .or_else(|| error.parts().iter().find_map(Error::hint_text));
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// Message and the places that are about the question; what lies underneath stays inside.
fn words(error: &Error) -> String {
    let places: Vec<String> = error
        .context()
        .iter()
        .filter(|(key, _)| SHOWN_PLACES.contains(key))
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    match places.is_empty() {
        true => error.message().to_owned(),
        false => format!("{} ({})", error.message(), places.join(", ")),
    }
}

/// True for a query that is well written and takes more than it may.
fn is_too_large(error: &Error) -> bool {
    let message = error.message();
    message.contains("more memory than it may use") || message.contains("than may be spilled")
}

/// True where there is no run to read.
fn is_of_nothing(error: &Error) -> bool {
    error.message() == "nothing has been published yet"
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    async fn shown(problem: Problem) -> Value {
        let response = problem.response("7f");
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM);
        let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn a_fault_of_ours_tells_nothing_of_the_inside() {
        for kind in [
            ErrorKind::Storage,
            ErrorKind::Internal,
            ErrorKind::Data,
            ErrorKind::Unreachable,
        ] {
            let error = Error::new(kind, "cannot read /secret/place")
                .at("file", "/secret/place")
                .because("token=abc");
            let problem = Problem::from(error);
            assert!(problem.is_ours());
            assert!(problem.for_log().contains("/secret/place"));
            let text = shown(problem).await.to_string();
            assert!(!text.contains("secret") && !text.contains("abc"), "{text}");
            assert!(text.contains("\"id\":\"7f\""), "{text}");
        }
    }

    #[tokio::test]
    async fn a_wrong_question_is_told_with_what_to_do() {
        let error = Error::config("there is no tenant \"x\"")
            .at("filter", "mandator_id")
            .at("file", "/etc/x")
            .because("inner words")
            .hint("There are: \"y\".");
        let document = shown(Problem::from(error)).await;
        assert_eq!(document["status"], 400);
        assert_eq!(
            document["detail"],
            "there is no tenant \"x\" (filter mandator_id)"
        );
        assert_eq!(document["hint"], "There are: \"y\".");
        let both = Error::combine(vec![Error::config("a"), Error::config("b").hint("do")]);
        let document = shown(Problem::from(both)).await;
        assert_eq!(
            (&document["detail"], &document["hint"]),
            (&json!("a; b"), &json!("do"))
        );
    }

    #[tokio::test]
    async fn what_may_be_asked_again_says_when() {
        let busy = Problem::busy(3).response("1");
        assert_eq!(busy.headers()[header::RETRY_AFTER], "3");
        let nothing = Error::new(ErrorKind::Query, "nothing has been published yet");
        let nothing = Problem::from(nothing);
        assert_eq!(nothing.status, StatusCode::SERVICE_UNAVAILABLE);
        let large = Error::new(
            ErrorKind::Query,
            "the query needs more memory than it may use",
        );
        assert_eq!(
            Problem::from(large).status,
            StatusCode::UNPROCESSABLE_ENTITY
        );
    }
}
