//! What a login gives: a token, read from the JSON that servers give it out in, and how it is put into a header.
//!
//! Invariant: an answer that holds no token is never quoted.

use crate::redact::Redactor;
use serde::Deserialize;
use std::time::Duration;
use tillhouse_model::{Error, ErrorKind, Result, Secret};

/// What a login gives.
#[derive(Debug, Clone)]
pub struct Token {
    /// What opens the API.
    pub access: Secret,
    /// What gets the next token, where the provider gives one.
    pub refresh: Option<Secret>,
    /// How long it is valid from now on; `None` when the provider does not say. Zero counts as not said.
    pub lifetime: Option<Duration>,
}

/// OAuth2's names, which other logins use too; `expires_in` is in seconds.
#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    refresh_token: Option<Secret>,
    expires_in: Option<serde_json::Value>,
}

impl Token {
    /// Reads `access_token`, `refresh_token` and `expires_in`, seconds as a number or a text; only the first has to be there.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Protocol`], or [`tillhouse_model::ErrorKind::Unauthorized`] where the answer is an error, which
    /// some servers send as a success; `whose` answer it is stands in the message, and the server's words as the redactor lets them through.
    /// serde's own errors quote values, so they are not shown.
    pub fn read(body: &[u8], whose: &str, redactor: &Redactor) -> Result<Self> {
        let granted = serde_json::from_slice::<Granted>(body).ok().filter(|g| !g.access_token.expose().is_empty());
        let granted = granted.ok_or_else(|| missing(body, whose, redactor))?;
        let seconds = granted.expires_in.as_ref().and_then(|value| match value {
            serde_json::Value::String(text) => text.trim().parse::<f64>().ok(),
            value => value.as_f64(),
        });
        let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Self { access: granted.access_token, refresh: granted.refresh_token, lifetime })
    }
}

/// Why there is no token.
fn missing(body: &[u8], whose: &str, redactor: &Redactor) -> Error {
    let said = redactor.provider_message(body).map(|words| format!(": {words}")).unwrap_or_default();
    if is_refusal(body) {
        return Error::new(ErrorKind::Unauthorized, format!("{whose} answered with an error instead of a token{said}"));
    }
    Error::protocol(format!("{whose}'s answer holds no access_token{said}"))
}

/// Whether an answer says that it is an error.
fn is_refusal(body: &[u8]) -> bool {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(body) else { return false };
    // However a key is spelt: `Error`, `error_code` and `errorCode` are one kind.
    let letters = |key: &str| key.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_lowercase();
    let says = |value: &serde_json::Value| match value {
        serde_json::Value::Null | serde_json::Value::Bool(false) => false,
        serde_json::Value::String(text) => !text.trim().is_empty() && text.trim() != "0",
        serde_json::Value::Array(items) => !items.is_empty(),
        serde_json::Value::Number(number) => number.as_i64() != Some(0),
        serde_json::Value::Object(fields) => !fields.is_empty(),
        serde_json::Value::Bool(true) => true,
    };
    fields.iter().any(|(key, value)| match letters(key).as_str() {
        "error" | "errors" | "errordescription" | "errormessage" | "errormsg" | "errorcode" | "fault" | "exception" => {
            says(value)
        }
        "success" | "succeeded" | "ok" | "authenticated" | "issuccess" => *value == serde_json::Value::Bool(false),
        "status" | "result" | "state" => match value {
            serde_json::Value::String(text) => {
                ["error", "fail", "failed", "failure", "denied", "unauthorized", "forbidden", "nok", "ko"]
                    .iter()
                    .any(|word| text.trim().eq_ignore_ascii_case(word))
                    || text.trim().parse::<u16>().is_ok_and(|status| (400..600).contains(&status))
            }
            value => value.as_u64().is_some_and(|status| (400..600).contains(&status)),
        },
        "statuscode" | "code" => value.as_u64().is_some_and(|status| (400..600).contains(&status)),
        _ => false,
    })
}

/// What stands before a token in its header: `Bearer` mostly, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct TokenPrefix(String);

impl TokenPrefix {
    /// `Bearer`.
    pub fn bearer() -> Self {
        Self("Bearer".into())
    }

    /// The header's value for a token.
    pub fn before(&self, token: &Secret) -> Secret {
        match self.0.trim() {
            "" => token.clone(),
            word => Secret::new(format!("{word} {}", token.expose())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::ErrorKind;

    #[test]
    fn lifetimes_are_read_however_they_are_written() {
        let lifetime = |expires: &str| {
            let body = format!(r#"{{"access_token":"t"{expires}}}"#);
            Token::read(body.as_bytes(), "the login", &Redactor::default()).unwrap().lifetime
        };
        assert_eq!(lifetime(r#","expires_in":3600"#), Some(Duration::from_secs(3_600)));
        assert_eq!(lifetime(r#","expires_in":"3600""#), Some(Duration::from_secs(3_600)));
        for none in ["", r#","expires_in":null"#, r#","expires_in":-1"#, r#","expires_in":"soon""#] {
            assert_eq!(lifetime(none), None, "{none}");
        }
    }

    #[test]
    fn an_answer_without_a_token_is_not_quoted() {
        for body in [r#"{"access_token":""}"#, r#"{"access_token":42424242}"#, r#"{"token":"hunter2"}"#, "<html>"] {
            let error = Token::read(body.as_bytes(), "the login", &Redactor::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("42424242") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn an_error_that_comes_as_a_success_is_told_in_the_servers_words() {
        let redactor = Redactor::default();
        redactor.add(&Secret::new("hunter2"));
        for (body, kind, message) in [
            (
                r#"{"error":"invalid_client","error_description":"no hunter2"}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token: no ***",
            ),
            (
                r#"{"success":false,"message":"Wrong password"}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token: Wrong password",
            ),
            (
                r#"{"status":"Error","errors":[{"message":"locked"}]}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token: locked",
            ),
            (
                r#"{"access_token":"","errors":{"code":7}}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token",
            ),
            (
                r#"{"message":"Welcome","error":null,"errors":[]}"#,
                ErrorKind::Protocol,
                "the login's answer holds no access_token: Welcome",
            ),
            ("[]", ErrorKind::Protocol, "the login's answer holds no access_token"),
        ] {
            let error = Token::read(body.as_bytes(), "the login", &redactor).unwrap_err();
            assert_eq!((error.kind(), error.message()), (kind, message), "{body}");
        }
    }

    #[test]
    fn a_prefix_stands_before_the_token_or_nothing_does() {
        let header = |prefix: &str| TokenPrefix(prefix.into()).before(&Secret::new("t")).expose().to_owned();
        assert_eq!([header("Token"), header(" Token "), header(""), header(" ")], ["Token t", "Token t", "t", "t"]);
    }
}
