//! be-mo's envelope where it says that something is wrong, and what to do about it.
//!
//! Invariant: a body whose status is `Error` or `Failed` is never taken for a page, whatever the HTTP status; what be-mo writes is shown scrubbed.

use serde::Deserialize;
use serde_json::Value;
use tillhouse_extract::{HttpRefusal, Redactor, ReportedFailure, envelope};
use tillhouse_model::{Error, ErrorKind};

/// The codes that are about the access token.
pub(crate) const TOKEN_CODES: [&str; 3] = ["InvalidJWT", "TokenExpired", "TokenNotPresent"];

/// The codes that are about what is asked, or of whom: asking again changes nothing.
const LASTING_CODES: [&str; 2] = ["ResourceNotFound", "ArgumentException"];

/// `{"status": "Error", "errors": [{"code": ..., "message": ...}], ...}`, as far as it was given.
#[derive(Debug, Deserialize)]
pub(crate) struct BemoErrorEnvelope {
    status: String,
    #[serde(default)]
    errors: Option<Vec<BemoErrorItem>>,
    #[serde(default)]
    message: Option<Value>,
}

/// One error of an envelope.
#[derive(Debug, Deserialize)]
struct BemoErrorItem {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl BemoErrorEnvelope {
    /// The complaint in a body; `None` where there is none.
    pub(crate) fn of(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body)
            .ok()
            .filter(|envelope| is_error(&envelope.status))
    }

    pub(crate) fn codes(&self) -> impl Iterator<Item = &str> {
        self.errors
            .iter()
            .flatten()
            .filter_map(|item| item.code.as_deref())
    }

    /// Texts of be-mo's error, as it writes them.
    fn words(&self) -> String {
        let words: Vec<&str> = self
            .errors
            .iter()
            .flatten()
            .filter_map(|item| item.message.as_deref().or(item.code.as_deref()))
            .chain(self.message.as_ref().and_then(Value::as_str))
            .filter(|text| !text.trim().is_empty())
            .collect();
        words.join("; ")
    }
}

fn is_error(status: &str) -> bool {
    ["error", "failed", "failure"]
        .iter()
        .any(|word| status.eq_ignore_ascii_case(word))
}

/// The verdict over a success, which may be none: see [`tillhouse_extract::SuccessCheck`]. A page is looked into no further than its status. What be-mo has no code of its
/// own for may pass.
pub(crate) fn verdict(body: &[u8]) -> Option<ReportedFailure> {
    let [status] = envelope::read(body, &[&["status"]]).ok()?;
    status?.as_text().filter(|status| is_error(status))?;
    let complaint = BemoErrorEnvelope::of(body);
    let words = complaint
        .as_ref()
        .map(BemoErrorEnvelope::words)
        .unwrap_or_default();
    let lasts = |code: &str| TOKEN_CODES.contains(&code) || LASTING_CODES.contains(&code);
    let may_pass = !complaint.is_some_and(|complaint| complaint.codes().any(lasts));
    Some(ReportedFailure { words, may_pass })
}

/// True if a refusal means that a page is not there: by its status, or by be-mo's own code, which
/// may come with any.
pub(crate) fn is_past_the_end(refusal: &HttpRefusal) -> bool {
    let not_found =
        |complaint: BemoErrorEnvelope| complaint.codes().any(|code| code == "ResourceNotFound");
    refusal.is_past_the_end() || BemoErrorEnvelope::of(&refusal.body).is_some_and(not_found)
}

/// A refusal in be-mo's own terms; `account` is the one that was asked for.
pub(crate) fn refusal_error(refusal: HttpRefusal, account: &str, redactor: &Redactor) -> Error {
    let complaint = BemoErrorEnvelope::of(&refusal.body);
    let words = complaint
        .as_ref()
        .map(BemoErrorEnvelope::words)
        .filter(|words| !words.is_empty());
    let words = words
        .map(|words| redactor.scrub(&words))
        .or_else(|| refusal.message.clone());
    let said = words
        .as_deref()
        .map(|words| format!(": {words}"))
        .unwrap_or_default();
    let status = refusal.status.as_u16();
    let unauthorized = |text: &str| Error::new(ErrorKind::Unauthorized, format!("{text}{said}"));
    let known = complaint.as_ref().and_then(|complaint| {
        complaint.codes().find_map(|code| {
            Some(match code {
                "InvalidJWT" => unauthorized("be-mo cannot read the access token").hint(
                    "connection.access_token must hold the whole token, without quotes or line breaks; where be-mo wants a word \
                     before it, set connection.token_prefix.",
                ),
                "TokenExpired" => unauthorized("the access token has expired").hint(
                    "Put a fresh one where connection.access_token points. { file: PATH } and { command: [...] } are read \
                     anew whenever a token is refused, so a job that renews the file keeps the pipeline going.",
                ),
                "TokenNotPresent" => unauthorized("be-mo does not see the access token")
                    .hint("Set connection.headers.token to the header that be-mo looks for it in."),
                "ResourceNotFound" => Error::config(format!("be-mo has no account {account:?}{said}"))
                    .hint("Check connection.accounts, and that the access token is for the company the account belongs to."),
                "ArgumentException" => Error::protocol(format!("be-mo does not take what it is asked{said}"))
                    .hint("Check sync.start, sync.page_size and connection.first_page: be-mo names the parameter it means."),
                _ => return None,
            })
        })
    });
    let about_key = words
        .as_deref()
        .is_some_and(|words| words.to_lowercase().contains("subscription key"));
    let error = match known {
        Some(error) => error,
        None if about_key => unauthorized("the gateway refuses the subscription key").hint(
            "Check connection.subscription_key: it stands in your profile at the provider's portal. If the gateway does not see it, \
             set connection.headers.subscription_key.",
        ),
        None if refusal.names_token() => unauthorized("the access token is refused").hint(
            "Put a fresh one where connection.access_token points; { file: PATH } and { command: [...] } are read anew whenever a token \
             is refused.",
        ),
        None if refusal.names_page_size() => {
            Error::protocol(format!("be-mo does not give so many sessions at once{said}")).hint(HttpRefusal::LOWER_PAGE_SIZE)
        }
        None if status == 401 => unauthorized("be-mo refuses the credentials")
            .hint("Check connection.access_token and connection.subscription_key of this pipeline."),
        None if status == 403 => unauthorized("be-mo does not allow this")
            .hint("Ask the provider which accounts this access token and this subscription may read."),
        None => {
            let is_path = matches!(status, 404 | 405);
            let error = refusal.into_error().at("account", account);
            return if is_path {
                error.hint("Check connection.base_url and connection.paths.sessions: there is no list of sessions.")
            } else {
                error
            };
        }
    };
    error
        .retryable(false)
        .at("source", refusal.source)
        .at("account", account)
        .at("url", refusal.url)
        .at("status", refusal.status.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_extract::StatusCode;

    fn body(code: &str) -> String {
        format!(
            r#"{{"status":"Error","errors":[{{"message":"so it is","code":"{code}"}}],"data":null,"version":"1.0"}}"#
        )
    }

    fn told(status: u16, body: &str) -> Error {
        let redactor = Redactor::default();
        let refusal = HttpRefusal {
            status: StatusCode::from_u16(status).unwrap(),
            message: redactor.provider_message(body.as_bytes()),
            body: body.to_owned().into(),
            redirect: None,
            challenge: None,
            source: "bemo",
            resource: "sessions".into(),
            url: "http://127.0.0.1/x".into(),
        };
        refusal_error(refusal, "acme", &redactor)
    }

    #[test]
    fn each_code_says_what_to_do() {
        for (status, code, kind, text, hint) in [
            (
                401,
                "InvalidJWT",
                ErrorKind::Unauthorized,
                "cannot read the access token: so it is",
                "token_prefix",
            ),
            (
                403,
                "InvalidJWT",
                ErrorKind::Unauthorized,
                "cannot read the access token",
                "connection.access_token",
            ),
            (
                401,
                "TokenExpired",
                ErrorKind::Unauthorized,
                "has expired",
                "{ file: PATH }",
            ),
            (
                401,
                "TokenNotPresent",
                ErrorKind::Unauthorized,
                "does not see",
                "connection.headers.token",
            ),
            (
                404,
                "ResourceNotFound",
                ErrorKind::Config,
                "be-mo has no account \"acme\": so it is",
                "connection.accounts",
            ),
            (
                400,
                "ArgumentException",
                ErrorKind::Protocol,
                "does not take what it is asked: so it is",
                "sync.page_size",
            ),
            (
                200,
                "TokenExpired",
                ErrorKind::Unauthorized,
                "has expired",
                "connection.access_token",
            ),
        ] {
            let error = told(status, &body(code));
            assert_eq!(error.kind(), kind, "{code}");
            assert!(error.message().contains(text), "{error}");
            assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
            assert!(
                error.to_string().contains("account acme") && !error.is_retryable(),
                "{error}"
            );
        }
    }

    #[test]
    fn a_gateway_without_an_envelope_is_understood_too() {
        let missing =
            r#"{"statusCode":401,"message":"Access denied due to missing subscription key."}"#;
        assert!(
            told(401, missing)
                .hint_text()
                .unwrap()
                .contains("connection.subscription_key")
        );
        let expired = told(403, r#"{"statusCode":403,"message":"JWT expired"}"#);
        assert!(
            expired.message().ends_with("token is refused: JWT expired"),
            "{expired}"
        );
        let large = told(
            400,
            r#"{"statusCode":400,"message":"limit must not exceed 100"}"#,
        );
        assert!(
            large.hint_text().unwrap().contains("sync.page_size"),
            "{large:?}"
        );
        assert!(
            told(401, "")
                .hint_text()
                .unwrap()
                .contains("connection.access_token")
        );
        assert_eq!(told(403, "{}").kind(), ErrorKind::Unauthorized);
        let nowhere = told(404, r#"{"statusCode":404,"message":"Resource not found"}"#);
        assert!(
            nowhere
                .hint_text()
                .unwrap()
                .contains("connection.paths.sessions"),
            "{nowhere:?}"
        );
        assert!(
            told(409, &body("Other"))
                .to_string()
                .contains("409 Conflict: so it is")
        );
    }

    #[test]
    fn the_status_in_the_body_counts() {
        let fault = |words: &str, may_pass: bool| {
            Some(ReportedFailure {
                words: words.into(),
                may_pass,
            })
        };
        for lasting in ["TokenExpired", "ResourceNotFound", "ArgumentException"] {
            assert_eq!(verdict(body(lasting).as_bytes()), fault("so it is", false));
        }
        assert_eq!(
            verdict(body("InternalError").as_bytes()),
            fault("so it is", true)
        );
        assert_eq!(verdict(br#"{"data":[],"status":"error"}"#), fault("", true));
        let today = r#"{"status":"Error","message":"Nichts da heute","data":null}"#;
        assert_eq!(verdict(today.as_bytes()), fault("Nichts da heute", true));
        let error = told(200, today);
        assert!(error.message().contains("Nichts da heute"), "{error}");
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains(r#"empty_messages: ["Nichts da heute"]"#)),
            "{error:?}"
        );
        for page in [
            &br#"{"status":"Success","errors":null,"data":[{"status":"Error"}]}"#[..],
            br#"{"data":[]}"#,
            br#"{"status":null}"#,
            b"[]",
            b"",
        ] {
            assert_eq!(verdict(page), None);
        }
    }
}
