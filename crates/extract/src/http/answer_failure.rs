//! Answers that are no page or token: of another type, too long, cut, or in an encoding that nobody asked for.
//!
//! Invariant: an error names what came and what to do, and holds no body; of a login's answer only the server's words, with every secret
//! taken out.

use super::{EXPLANATION, HttpClientInner};
use crate::body::BodyError;
use crate::envelope_error;
use crate::media_type::MediaTypes;
use crate::refusal_cause;
use crate::request::{HttpOutcome, HttpRefusal, HttpRequest, StatusCode};
use crate::retry::AttemptFailure;
use bytes::Bytes;
use std::sync::atomic::Ordering;
use tillhouse_model::{Error, ErrorKind};

impl HttpClientInner {
    /// An answer that is no page: a wrong address, unless proper answers came from there before. A list is asked for again in any case: before
    /// some there is no login whose answer could have shown that the address is right.
    pub(super) fn improper(&self, request: &HttpRequest, message: String) -> AttemptFailure {
        let again = request.lists.is_some() || self.proper.load(Ordering::Relaxed) > 0;
        let paths = if self.key == "base_url" {
            " and the paths"
        } else {
            ""
        };
        let error = Error::protocol(message).hint(format!(
            "Check {}{paths}: a web page or a proxy may be answering there.",
            self.key
        ));
        AttemptFailure {
            error,
            is_retryable: again,
            after: None,
        }
    }

    /// The outcome of an answer that is not JSON: one to a login says why, a page may ask to log in, and any other is the failure that it is.
    pub(super) fn not_json(
        &self,
        request: &HttpRequest,
        status: StatusCode,
        failure: AttemptFailure,
        said: &[u8],
    ) -> Result<HttpOutcome, Box<AttemptFailure>> {
        if request.logs_in {
            return Err(Box::new(self.no_token(failure, said)));
        }
        self.asks_to_log_in(request, status, said)
            .ok_or_else(|| Box::new(failure))
    }

    /// An answer to a login that is not JSON: with the server's words, which may be that it refuses the credentials. It is not asked again.
    fn no_token(&self, failure: AttemptFailure, body: &[u8]) -> AttemptFailure {
        let Some(words) = self.shared.redactor.words(body) else {
            return AttemptFailure {
                is_retryable: false,
                ..failure
            };
        };
        let refused = envelope_error::names_credentials(&words);
        let kind = if refused {
            ErrorKind::Unauthorized
        } else {
            failure.error.kind()
        };
        let error =
            Error::new(kind, format!("{}: {words}", failure.error.message())).retryable(false);
        AttemptFailure::permanent(match failure.error.hint_text() {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    /// Outcome of an answer that is a page to log in at, in place of what was asked for; `None` for any other page.
    fn asks_to_log_in(
        &self,
        request: &HttpRequest,
        status: StatusCode,
        said: &[u8],
    ) -> Option<HttpOutcome> {
        let is_asked = request.hears_logins && refusal_cause::is_login_page(said);
        is_asked.then(|| {
            HttpOutcome::Refused(HttpRefusal {
                body: Bytes::copy_from_slice(&said[..said.len().min(EXPLANATION)]),
                ..self.refusal(request, status)
            })
        })
    }

    /// An answer of a media type that is not JSON's.
    pub(super) fn other_type(&self, request: &HttpRequest, instead: &str) -> AttemptFailure {
        let shown = self.shared.redactor.name(instead);
        let mut failure = self.improper(
            request,
            format!("the server answered {shown} instead of JSON"),
        );
        // A text that is no media type, or names a secret, is not to be written anywhere.
        if shown == instead
            && !instead.to_ascii_lowercase().contains("html")
            && MediaTypes::new([instead]).is_ok()
        {
            failure.error = failure.error.hint(format!(
                "If what comes is JSON all the same, write into the pipeline's connection: accept_media_types: [{instead}]. \
                 If not, check {}: something else may be answering there.",
                self.key
            ));
        }
        failure
    }

    /// An answer in a charset that JSON is not written in, and of which it is not known what its bytes mean.
    pub(super) fn other_charset(&self, request: &HttpRequest, charset: &str) -> AttemptFailure {
        let charset = self.shared.redactor.name(charset);
        let mut failure = self.improper(
            request,
            format!("the server answered in the charset {charset}, where JSON is UTF-8"),
        );
        failure.error = failure.error.hint(
            "Ask the provider for UTF-8; ISO-8859-1 and windows-1252 are read as well where the server declares them.",
        );
        failure
    }

    /// An answer that goes on behind its JSON.
    pub(super) fn followed(&self, request: &HttpRequest, status: StatusCode) -> AttemptFailure {
        let mut failure = self.improper(
            request,
            format!(
                "the server answered {status} with JSON that is whole, and something behind it"
            ),
        );
        failure.error = failure.error.hint(
            "Something between the server and here, or a page that was left in its code, adds to its answers: have that switched off.",
        );
        failure
    }

    pub(super) fn no_body(&self, request: &HttpRequest, error: BodyError) -> AttemptFailure {
        match error {
            BodyError::TooLong(declared) => {
                let length = declared
                    .map(|d| format!(" ({d} bytes)"))
                    .unwrap_or_default();
                let limit = self.limits.max_body_bytes;
                let error = Error::protocol(format!(
                    "the answer{length} is longer than the {limit} bytes allowed"
                ))
                .hint("Lower page_size.");
                AttemptFailure::permanent(error)
            }
            BodyError::Encoded(encoding) => {
                let encoding = self.shared.redactor.name(&encoding).to_lowercase();
                let mut failure = self.improper(
                    request,
                    format!("the answer is encoded as {encoding}, which nobody asked for"),
                );
                failure.error = failure.error.hint(
                    "Tillhouse asks for gzip or no encoding at all: have it switched off at the server, or at the proxy before it that adds it.",
                );
                failure
            }
            BodyError::Broken {
                cause,
                read,
                declared,
            } => {
                let of = declared.map(|d| format!(" of {d}")).unwrap_or_default();
                let message = format!("the answer broke off after {read}{of} bytes");
                AttemptFailure::transient(
                    Error::new(ErrorKind::Unreachable, message).because(cause),
                )
            }
        }
    }
}
