//! Request, and its answer or refusal.
//!
//! Invariant: `Debug` of a [`HttpRequest`] and of an answer shows no header's value, no query's value and no body.

use crate::empty_messages::EmptyMessages;
use crate::redact::{self, Redactor};
use crate::{envelope, envelope_error, refusal_cause};
use bytes::Bytes;
pub use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
pub(crate) use reqwest::header::{AUTHORIZATION, HeaderMap};
pub use reqwest::{Method, StatusCode};
use std::fmt;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result, Secret};
use url::Url;

/// Check of a success's body for a failure that it reports; `None` where it is a success. For
/// providers whose envelope says more than the status does.
pub type SuccessCheck = fn(&[u8]) -> Option<ReportedFailure>;

/// Failure that the body of a success reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedFailure {
    /// The provider's own explanation, which the kit scrubs.
    pub words: String,
    /// True if it may be over soon: then it is tried again, as what [`HttpRequest::expecting_records_at`] finds.
    pub may_pass: bool,
}

/// Request to a provider. It is sent as often as the retry policy says, so it must be safe to
/// repeat.
#[derive(Clone)]
pub struct HttpRequest {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) resource: Arc<str>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    pub(crate) verdict: Option<SuccessCheck>,
    pub(crate) lists: Option<&'static [&'static str]>,
    /// Path to the total of the listing, where its reader counts by it.
    pub(crate) counted_at: Option<&'static [&'static str]>,
    /// True if it carries credentials: what refuses them is not asked twice.
    pub(crate) logs_in: bool,
    /// True if a page to log in at, in place of an answer, is a refusal: a new token may help. Else it is no JSON, as any other page.
    pub(crate) hears_logins: bool,
    /// Redactor of what the server says to this request; the client's where there is none.
    pub(crate) redactor: Option<Arc<Redactor>>,
}

impl HttpRequest {
    /// A GET. `resource` names in errors and logs what is asked for.
    pub fn get(resource: &str, url: Url) -> Self {
        let headers = HeaderMap::new();
        Self {
            method: Method::GET,
            url,
            resource: resource.into(),
            headers,
            body: None,
            verdict: None,
            lists: None,
            counted_at: None,
            logs_in: false,
            hears_logins: false,
            redactor: None,
        }
    }

    /// A POST of a JSON document, for logins.
    pub fn post_json(resource: &str, url: Url, body: &serde_json::Value) -> Self {
        let mut request = Self::get(resource, url);
        request.method = Method::POST;
        request.logs_in = true;
        request.body = Some(Bytes::from(body.to_string()));
        request.header(
            reqwest::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )
    }

    /// A POST of a form, for OAuth2 token endpoints.
    pub fn post_form(resource: &str, url: Url, fields: &[(&str, &str)]) -> Self {
        let mut request = Self::get(resource, url);
        request.method = Method::POST;
        request.logs_in = true;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        request.body = Some(Bytes::from(form));
        request.header(
            reqwest::header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        )
    }

    /// Adds a query parameter, percent-encoded.
    #[must_use]
    pub fn query(mut self, key: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(key, value);
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets a header whose value nobody may see. Errors with [`ErrorKind::Config`] where it holds what no header can.
    pub fn secret_header(self, name: HeaderName, value: &Secret) -> Result<Self> {
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| {
            Error::config(format!(
                "the secret for the header {name} holds characters no header can carry"
            ))
            .hint("Look for a line break or a letter that is not ASCII at its ends.")
        })?;
        value.set_sensitive(true);
        Ok(self.header(name, value))
    }

    /// Has the bodies of successes judged; what is no success comes back as [`HttpOutcome::Refused`].
    #[must_use]
    pub fn with_success_check(mut self, verdict: SuccessCheck) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// Has successes tried again that say of themselves that they failed, in whichever words, or that their records may not be all. `records_at` is
    /// [`tillhouse_model::Resource::records_at`]. Taken for an empty page, or for a whole one, such an answer would end a listing.
    #[must_use]
    pub fn expecting_records_at(mut self, records_at: &'static [&'static str]) -> Self {
        self.lists = Some(records_at);
        self
    }

    /// Names where pages declare the total of their listing, for a source whose reader counts by it. A message that comes with a page without records is
    /// then no error where a total stands beside it: whether that was reached is judged by who counts.
    #[must_use]
    pub fn counted_at(mut self, total_at: &'static [&'static str]) -> Self {
        self.counted_at = Some(total_at);
        self
    }

    /// True if a page declares that its listing has records.
    pub(crate) fn is_counted(&self, page: &[u8]) -> bool {
        let read = self.counted_at.map(|at| envelope::read(page, &[at]));
        let Some(Ok([Some(total)])) = read else {
            return false;
        };
        total.as_u64().is_some_and(|total| total > 0)
    }

    /// Has what the server says to this request redacted by a redactor of its own, see [`Redactor::beside`]: for values of a query that nobody
    /// may see, if the server quotes them.
    #[must_use]
    pub fn redacted_by(mut self, redactor: Redactor) -> Self {
        self.redactor = Some(Arc::new(redactor));
        self
    }

    /// The address asked.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Request({} {} for {})",
            self.method,
            redact::redact_url(&self.url),
            self.resource
        )
    }
}

/// Response with a status of success.
#[derive(Clone)]
pub struct HttpResponse {
    /// The status, 2xx; another one where the connection knows the server's words to mean that there is nothing.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub bytes: Bytes,
    /// Address it came from, after redirects.
    pub url: Url,
    /// When the request was sent that this answers.
    pub requested_at: jiff::Timestamp,
    /// True if its envelope says that more records are to come.
    pub(crate) says_more: bool,
}

impl HttpResponse {
    /// Number of records in all that an answer with a part of them (206) declares in `Content-Range` (`items 0-99/240`); `None` for any other
    /// answer, and where bytes are counted.
    pub fn range_total(&self) -> Option<u64> {
        range_total(self.status, &self.headers)
    }

    /// True if the answer calls itself a part, by its status (206) or in its envelope, of a whole of which it does not say how large it is: more is
    /// to come.
    pub fn is_part(&self) -> bool {
        self.says_more
            || (self.status == StatusCode::PARTIAL_CONTENT && self.range_total().is_none())
    }
}

/// See [`HttpResponse::range_total`].
pub(crate) fn range_total(status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    let range = headers
        .get(reqwest::header::CONTENT_RANGE)
        .filter(|_| status == StatusCode::PARTIAL_CONTENT)?;
    let (range, total) = range.to_str().ok()?.rsplit_once('/')?;
    total
        .trim()
        .parse()
        .ok()
        .filter(|_| !range.trim_start().to_ascii_lowercase().starts_with("bytes"))
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Response({} from {}, {} bytes)",
            self.status,
            redact::redact_url(&self.url),
            self.bytes.len()
        )
    }
}

/// Final response that is no success: a status that waiting does not change, or a body that the
/// request's [`SuccessCheck`] found to report a failure.
#[derive(Clone)]
pub struct HttpRefusal {
    /// The status.
    pub status: StatusCode,
    /// The provider's own short explanation, scrubbed of secrets.
    pub message: Option<String>,
    /// The first 16 KiB of the body, as it came. Not for printing.
    pub body: Bytes,
    /// Target of a redirect that was not followed, without its query.
    pub redirect: Option<String>,
    /// Header `WWW-Authenticate`. Not for printing.
    pub challenge: Option<String>,
    /// Source.
    pub source: &'static str,
    /// Resource.
    pub resource: Arc<str>,
    /// The address asked, redacted.
    pub url: String,
}

impl fmt::Debug for HttpRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Refusal({} from {}: {:?})",
            self.status, self.url, self.message
        )
    }
}

/// An error with advice behind its hint, once.
fn advised(error: Error, advice: Option<String>) -> Error {
    let hint = match (error.hint_text(), advice) {
        (_, None) => return error,
        (Some(hint), Some(advice)) if hint.contains(&advice) => return error,
        (Some(hint), Some(advice)) => format!("{hint} {advice}"),
        (None, Some(advice)) => advice,
    };
    error.hint(hint)
}

impl HttpRefusal {
    /// True if the resource no longer exists, or never did.
    pub fn is_gone(&self) -> bool {
        matches!(self.status, StatusCode::NOT_FOUND | StatusCode::GONE)
    }

    /// True if the status is about this one question: another record, asked for in the same way, may be given.
    pub fn is_about_the_question(&self) -> bool {
        matches!(self.status.as_u16(), 400 | 405 | 406 | 409 | 411..=417 | 421..=424 | 428 | 431 | 451)
            && !self.blames_token()
    }

    /// True if a listing has no such page: behind its last one, that is how some servers say so.
    pub fn is_past_the_end(&self) -> bool {
        self.is_gone() || self.status == StatusCode::RANGE_NOT_SATISFIABLE
    }

    /// True if a new token may help: the status says so, or the server's words do, which also 400,
    /// 403, 412, 422, 500 and a success may bring, or it sends to a login.
    pub fn blames_token(&self) -> bool {
        matches!(self.status.as_u16(), 401 | 419 | 440 | 498)
            || self.names_token()
            || self.leads_to_login()
    }

    /// True if the server shows a login in place of an answer, or sends there.
    pub(crate) fn leads_to_login(&self) -> bool {
        let leads = |to: &String| Url::parse(to).is_ok_and(|to| refusal_cause::is_login(&to));
        (self.status.is_redirection() && self.redirect.as_ref().is_some_and(leads))
            || self.is_login_page()
    }

    /// True if the answer is a page to log in at.
    pub(crate) fn is_login_page(&self) -> bool {
        self.status.is_success() && refusal_cause::is_login_page(&self.body)
    }

    /// True if the server's own words, in its body or its challenge, name a token that has expired
    /// or is none.
    pub fn names_token(&self) -> bool {
        matches!(
            self.status.as_u16(),
            200..=299 | 400 | 401 | 403 | 412 | 419 | 422 | 440 | 498 | 500
        ) && refusal_cause::names_token(self.challenge.as_deref(), &self.body)
            || self.status.is_success() && refusal_cause::states_unauthorized(&self.body)
    }

    /// True if the server refuses the number of records asked for.
    pub fn names_page_size(&self) -> bool {
        // 413 is about the request by the letter, and about the answer where there is nothing to send.
        self.status == StatusCode::PAYLOAD_TOO_LARGE
            || matches!(self.status.as_u16(), 400 | 416 | 422)
                && refusal_cause::names_page_size(&self.body)
    }

    /// The error of a list that is not there, in a source's own words, with the way out where the server's words may mean that there is nothing.
    pub fn explained(self, by: impl FnOnce(Self) -> Error) -> Error {
        let advice = self.advice();
        advised(by(self), advice)
    }

    /// The way out where the server's words may mean that there is nothing.
    fn advice(&self) -> Option<String> {
        self.message
            .as_deref()
            .filter(|said| self.is_past_the_end() && !refusal_cause::is_about_the_address(said))
            .map(EmptyMessages::hint)
    }

    /// Advice on [`HttpRefusal::names_page_size`].
    pub const LOWER_PAGE_SIZE: &'static str =
        "Lower sync.page_size of this pipeline: the server refuses to give so many records a page.";

    /// That a login was refused, in `whose` name, with what the server says of it.
    pub fn into_refused_login(self, whose: &str) -> Error {
        let said = self.message.map(|m| format!(": {m}")).unwrap_or_default();
        Error::new(ErrorKind::Unauthorized, format!("{whose}{said}"))
            .at("url", self.url)
            .at("status", self.status.as_str())
    }

    /// Error to report, where a source knows no better.
    pub fn into_error(self) -> Error {
        let advice = self.advice();
        let status = self.status;
        let (names_token, names_page_size) = (self.names_token(), self.names_page_size());
        let is_login = self.leads_to_login();
        let said = self.message.map(|m| format!(": {m}")).unwrap_or_default();
        let error = match (status.as_u16(), self.redirect) {
            (300..=399, Some(login)) if is_login => Error::new(
                ErrorKind::Unauthorized,
                format!("the server redirects to its login, {login}, instead of an answer"),
            )
            .hint("If a new token does not help either, check the credentials and base_url in the pipeline's connection."),
            (300..=399, Some(elsewhere)) => Error::protocol(format!(
                "the server redirects to {elsewhere}, which is not followed with our credentials"
            ))
            .hint(format!(
                "If that is the right server, set base_url and the paths in the pipeline's connection so that they lead to {elsewhere}."
            )),
            (status, _) if names_token || matches!(status, 419 | 440 | 498) => {
                Error::new(ErrorKind::Unauthorized, format!("the server refuses our token{said}"))
                    .hint("If a new one does not help either, check the credentials in the pipeline's connection, and the clocks.")
            }
            (200..=299, _) => {
                let error = Error::protocol(format!("the server answered {status} with an error in it{said}"));
                match said.strip_prefix(": ") {
                    Some(words) if !envelope_error::fails(words) => error.hint(EmptyMessages::hint(words)),
                    _ => error,
                }
            }
            (401, _) => Error::new(ErrorKind::Unauthorized, format!("the server refused our credentials{said}"))
                .hint("Check the credentials in the pipeline's connection."),
            (403, _) => {
                Error::new(ErrorKind::Unauthorized, format!("the server knows us but does not allow this{said}"))
                    .hint("Ask the provider to grant these credentials access.")
            }
            // The target of a request is the user's to say: the address, the path, the account.
            (404 | 410, _) => Error::config(format!("the server has nothing at this address{said}"))
                .hint("Check base_url and the paths in the pipeline's connection."),
            _ if names_page_size => {
                Error::protocol(format!("the server answered {status}{said}")).hint(Self::LOWER_PAGE_SIZE)
            }
            (400 | 422, _) if said.is_empty() => Error::protocol(format!("the server answered {status}"))
                .hint("Run `tillhouse check`: it asks for one record as well, and so finds out whether sync.page_size is too large."),
            _ => Error::protocol(format!("the server answered {status}{said}")),
        };
        advised(error, advice)
            .retryable(false)
            .at("source", self.source)
            .at("resource", &*self.resource)
            .at("url", self.url)
            .at("status", status.as_str())
    }
}

/// Final outcome of a request.
#[derive(Debug, Clone)]
#[must_use]
pub enum HttpOutcome {
    /// A success.
    Success(HttpResponse),
    /// Anything else that is final.
    Refused(HttpRefusal),
}

impl HttpOutcome {
    /// The success, or the refusal's error.
    pub fn success(self) -> Result<HttpResponse> {
        self.success_or(HttpRefusal::into_error)
    }

    /// The success, or the refusal in the source's own words.
    pub fn success_or(self, explained: impl FnOnce(HttpRefusal) -> Error) -> Result<HttpResponse> {
        match self {
            Self::Success(response) => Ok(response),
            Self::Refused(refusal) => Err(explained(refusal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value() {
        let url = Url::parse("http://127.0.0.1/list").unwrap();
        let request = HttpRequest::get("transactions", url.clone())
            .query("token", "hunter2")
            .secret_header(
                reqwest::header::AUTHORIZATION,
                &Secret::new("Bearer hunter3"),
            )
            .unwrap();
        assert_eq!(
            format!("{request:?}"),
            "Request(GET http://127.0.0.1/list?token for transactions)"
        );
        let login = HttpRequest::post_json(
            "login",
            url,
            &serde_json::json!({"client_secret": "hunter4"}),
        );
        assert!(!format!("{login:?}").contains("hunter"));
    }

    #[test]
    fn queries_are_encoded() {
        let url = Url::parse("http://127.0.0.1/list").unwrap();
        let request = HttpRequest::get("x", url)
            .query("page[offset]", "10")
            .query("filter", r#"{"a":"b&c"}"#);
        assert_eq!(
            request.url().query(),
            Some("page%5Boffset%5D=10&filter=%7B%22a%22%3A%22b%26c%22%7D")
        );
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_not_quoted() {
        let url = Url::parse("http://127.0.0.1/").unwrap();
        let error = HttpRequest::get("x", url)
            .secret_header(reqwest::header::AUTHORIZATION, &Secret::new("hunter2\n"))
            .unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn refusals_say_what_to_do() {
        let refusal = |status: u16| HttpRefusal {
            status: StatusCode::from_u16(status).unwrap(),
            message: Some("no".into()),
            body: Bytes::new(),
            redirect: (status == 301).then(|| "https://other.example.com".into()),
            challenge: None,
            source: "hecone",
            resource: "transactions".into(),
            url: "http://127.0.0.1/t".into(),
        };
        assert_eq!(
            refusal(401).into_error().to_string(),
            "the server refused our credentials: no (source hecone, resource transactions, url http://127.0.0.1/t, status 401)"
        );
        for (status, kind) in [
            (301, ErrorKind::Protocol),
            (400, ErrorKind::Protocol),
            (401, ErrorKind::Unauthorized),
            (403, ErrorKind::Unauthorized),
            (404, ErrorKind::Config),
            (410, ErrorKind::Config),
            (405, ErrorKind::Protocol),
        ] {
            let error = refusal(status).into_error();
            assert_eq!(error.kind(), kind, "{status}");
            assert!(!error.is_retryable());
        }
        let expired = |status: u16| HttpRefusal {
            body: Bytes::from_static(b"jwt expired"),
            ..refusal(status)
        };
        for status in [400, 401, 403, 422, 500] {
            assert!(expired(status).blames_token());
            assert_eq!(refusal(status).blames_token(), status == 401);
            assert!(
                expired(status)
                    .into_error()
                    .message()
                    .ends_with("refuses our token: no")
            );
        }
        for status in [419, 440, 498] {
            assert!(refusal(status).blames_token());
            assert_eq!(refusal(status).into_error().kind(), ErrorKind::Unauthorized);
        }
        assert!(!expired(404).blames_token());
        let stated = HttpRefusal {
            body: Bytes::from_static(br#"{"status":401,"message":"Unauthorized"}"#),
            ..refusal(200)
        };
        assert!(stated.blames_token());
        let challenged = HttpRefusal {
            challenge: Some(r#"Bearer error="invalid_token""#.into()),
            ..refusal(403)
        };
        assert!(challenged.blames_token());
        let large = |status| HttpRefusal {
            body: Bytes::from_static(br#"{"message":"limit is above 100"}"#),
            ..refusal(status)
        };
        assert!(
            large(422)
                .into_error()
                .hint_text()
                .unwrap()
                .contains("sync.page_size")
        );
        assert!(
            !large(404)
                .into_error()
                .hint_text()
                .unwrap()
                .contains("page_size")
        );
        assert!(
            refusal(301)
                .into_error()
                .hint_text()
                .unwrap()
                .contains("https://other.example.com")
        );
    }
}
