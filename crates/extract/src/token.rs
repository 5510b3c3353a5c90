//! Token of a login, read from the JSON that servers give it out in, and how it is put into a
//! header.
//!
//! Invariant: an answer that holds no token is never quoted.

use crate::envelope_error::{is_failure, is_failure_beyond_words, names_credentials};
use crate::redact::Redactor;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use tillhouse_model::{Error, ErrorKind, Result, Secret, blank};

/// Token of a login.
#[derive(Debug, Clone)]
pub struct Token {
    /// Token for the API.
    pub access: Secret,
    /// Token for the next login, where the provider gives one.
    pub refresh: Option<Secret>,
    /// Lifetime from now on; `None` when the provider does not say. Zero counts as not said.
    pub lifetime: Option<Duration>,
}

/// Response of a token endpoint in OAuth2's names, which other logins use too; `expires_in` is in
/// seconds.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: Secret,
    refresh_token: Option<serde_json::Value>,
    expires_in: Option<serde_json::Value>,
}

impl Token {
    /// Reads `access_token`, `refresh_token` and `expires_in`, seconds as a number or a text; only the first has to be there, and has to be a text.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Protocol`], or [`tillhouse_model::ErrorKind::Unauthorized`] where the answer is an error, which
    /// some servers send as a success; `whose` answer it is stands in the message, and the server's words as the redactor lets them through.
    /// serde's own errors quote values, so they are not shown.
    pub fn read(body: &[u8], whose: &str, redactor: &Redactor) -> Result<Self> {
        let granted = serde_json::from_slice::<TokenResponse>(body).ok();
        // A token that comes with an error opens nothing.
        let usable = |granted: &TokenResponse| {
            !blank::names_nothing(granted.access_token.expose()) && !is_failure_beyond_words(body)
        };
        let granted = granted
            .filter(usable)
            .ok_or_else(|| missing(body, whose, redactor))?;
        let seconds = granted.expires_in.as_ref().and_then(|value| match value {
            serde_json::Value::String(text) => text.trim().parse::<f64>().ok(),
            value => value.as_f64(),
        });
        let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let access = granted.access_token.expose().trim();
        if !access
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
        {
            return Err(Error::protocol(format!(
                "{whose} gave out a token that holds a line break or another character that no header can carry"
            ))
            .hint("Ask the provider: it is the answer to the login that is wrong, and nothing that is configured here."));
        }
        Ok(Self {
            // A file with a line's end behind it becomes a header's value.
            access: Secret::new(access),
            // Whatever else stands there (`false`, `""`, `"null"`) is none.
            refresh: granted
                .refresh_token
                .as_ref()
                .and_then(Value::as_str)
                .map(str::trim)
                .filter(|token| !blank::names_nothing(token))
                .map(Secret::new),
            lifetime,
        })
    }
}

/// Reason that there is no token.
fn missing(body: &[u8], whose: &str, redactor: &Redactor) -> Error {
    let words = redactor.words(body);
    let refused = is_failure(body) || words.as_deref().is_some_and(names_credentials);
    let said = words.map(|words| format!(": {words}")).unwrap_or_default();
    if refused {
        return Error::new(
            ErrorKind::Unauthorized,
            format!("{whose} answered with an error instead of a token{said}"),
        );
    }
    let found = found(body).map(|kind| format!(" that is a text, but {kind}"));
    Error::protocol(format!(
        "{whose}'s answer holds no access_token{}{said}",
        found.unwrap_or_default()
    ))
}

/// Kind of what stands in a token's place.
fn found(body: &[u8]) -> Option<&'static str> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    match answer.get("access_token")? {
        Value::Null => Some("null"),
        Value::Bool(_) => Some("a boolean"),
        Value::Number(_) => Some("a number"),
        Value::Array(_) => Some("a list"),
        Value::Object(_) => Some("an object"),
        Value::String(_) => None,
    }
}

/// Prefix of a token in its header: `Bearer` mostly, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct TokenPrefix(String);

impl TokenPrefix {
    /// `Bearer`.
    pub fn bearer() -> Self {
        Self("Bearer".into())
    }

    /// The header's value for a token, which some servers give out with the prefix before it.
    pub fn before(&self, token: &Secret) -> Secret {
        let has = |prefix: &str| {
            let first = token.expose().split_once(' ').map(|(first, _)| first);
            first.is_some_and(|first| first.eq_ignore_ascii_case(prefix))
        };
        match self.0.trim() {
            "" => token.clone(),
            word if has(word) => token.clone(),
            word => Secret::new(format!("{word} {}", token.expose())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::ErrorKind;

    #[test]
    fn a_token_that_no_header_can_carry_is_the_servers_fault() {
        for token in ["a\\nb", "a\\r\\nb", "a\\u0000", "\u{e4}"] {
            let body = format!(r#"{{"access_token":"{token}"}}"#);
            let error =
                Token::read(body.as_bytes(), "the login", &Redactor::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(
                error.message().starts_with("the login gave out a token"),
                "{error}"
            );
        }
        let body = br#"{"access_token":"\n a b \r\n"}"#;
        let token = Token::read(body, "the login", &Redactor::default()).unwrap();
        assert_eq!(token.access.expose(), "a b");
    }

    #[test]
    fn what_stands_in_a_tokens_place_is_named_and_not_shown() {
        for (found, named) in [
            ("4711", "holds no access_token that is a text, but a number"),
            ("null", "holds no access_token that is a text, but null"),
            (
                "true",
                "holds no access_token that is a text, but a boolean",
            ),
            (r#"" ""#, "holds no access_token"),
            (r#""null""#, "holds no access_token"),
            (r#"" Undefined\n""#, "holds no access_token"),
            (r#""[object Object]""#, "holds no access_token"),
            (
                r#""00000000-0000-0000-0000-000000000000""#,
                "holds no access_token",
            ),
        ] {
            let body = format!(r#"{{"access_token":{found}}}"#);
            let error =
                Token::read(body.as_bytes(), "the login", &Redactor::default()).unwrap_err();
            assert!(error.message().ends_with(named), "{error}");
            assert!(!format!("{error:?}").contains("4711"), "{error:?}");
        }
    }

    #[test]
    fn lifetimes_are_read_however_they_are_written() {
        let lifetime = |expires: &str| {
            let body = format!(r#"{{"access_token":"t"{expires}}}"#);
            Token::read(body.as_bytes(), "the login", &Redactor::default())
                .unwrap()
                .lifetime
        };
        assert_eq!(
            lifetime(r#","expires_in":3600"#),
            Some(Duration::from_secs(3_600))
        );
        assert_eq!(
            lifetime(r#","expires_in":"3600""#),
            Some(Duration::from_secs(3_600))
        );
        for none in [
            "",
            r#","expires_in":null"#,
            r#","expires_in":-1"#,
            r#","expires_in":"soon""#,
        ] {
            assert_eq!(lifetime(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_refresh_token_is_none() {
        let refresh = |written: &str| {
            let body = format!(r#"{{"access_token":"t","refresh_token":{written}}}"#);
            Token::read(body.as_bytes(), "the login", &Redactor::default())
                .unwrap()
                .refresh
                .map(|token| token.expose().to_owned())
        };
        assert_eq!(refresh(r#"" again\n""#).as_deref(), Some("again"));
        for none in [
            "null",
            "false",
            "0",
            r#""""#,
            r#"" ""#,
            r#""null""#,
            r#""undefined""#,
            "[]",
            "{}",
        ] {
            assert_eq!(refresh(none), None, "{none}");
        }
    }

    #[test]
    fn an_answer_without_a_token_is_not_quoted() {
        for body in [
            r#"{"access_token":""}"#,
            r#"{"access_token":42424242}"#,
            r#"{"token":"hunter2"}"#,
            "access_token=hunter2&token_type=bearer",
            "access_token: hunter2",
            "hunter2",
            r#""hunter2""#,
            "<html>",
        ] {
            let error =
                Token::read(body.as_bytes(), "the login", &Redactor::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            let shown = format!("{error} {error:?}");
            assert!(
                !shown.contains("42424242") && !shown.contains("hunter2"),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_token_is_read_without_blanks_around_it() {
        let token = Token::read(
            br#"{"access_token":" abc\n"}"#,
            "the login",
            &Redactor::default(),
        );
        assert_eq!(token.unwrap().access.expose(), "abc");
    }

    #[test]
    fn a_token_that_comes_with_good_words_is_one() {
        for words in [
            r#""error":null,"status":"approved","message":"Your password expires soon""#,
            r#""success":true,"errors":[],"error_code":0,"state":"xyz""#,
        ] {
            let body = format!(r#"{{"access_token":"t",{words}}}"#);
            assert!(
                Token::read(body.as_bytes(), "the login", &Redactor::default()).is_ok(),
                "{words}"
            );
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
                r#"{"status":"Bad credentials 77"}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token: Bad credentials 77",
            ),
            (
                r#"{"Fehler":"gesperrt hunter2"}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token: gesperrt ***",
            ),
            (
                r#"{"result":{"Meldung":"Passwort falsch"}}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token: Passwort falsch",
            ),
            (
                r#"{"response":{"status":{"text":"Bad password"}}}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token: Bad password",
            ),
            (
                r#"{"err":"nobody here"}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token: nobody here",
            ),
            (
                r#"{"wort":{"x":"no such user, wrong name"}}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token: no such user, wrong name",
            ),
            (
                r#"{"access_token":"abc","error":"invalid_grant"}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token: invalid_grant",
            ),
            (
                r#"{"access_token":"abc","success":false}"#,
                ErrorKind::Unauthorized,
                "the login answered with an error instead of a token",
            ),
            (
                r#"{"access_token":"  "}"#,
                ErrorKind::Protocol,
                "the login's answer holds no access_token",
            ),
            (
                r#"{"message":"Welcome","error":null,"errors":[]}"#,
                ErrorKind::Protocol,
                "the login's answer holds no access_token: Welcome",
            ),
            (
                "[]",
                ErrorKind::Protocol,
                "the login's answer holds no access_token",
            ),
        ] {
            let error = Token::read(body.as_bytes(), "the login", &redactor).unwrap_err();
            assert_eq!((error.kind(), error.message()), (kind, message), "{body}");
        }
    }

    #[test]
    fn a_prefix_stands_before_the_token_or_nothing_does() {
        let header = |prefix: &str| {
            TokenPrefix(prefix.into())
                .before(&Secret::new("t"))
                .expose()
                .to_owned()
        };
        assert_eq!(
            [header("Token"), header(" Token "), header(""), header(" ")],
            ["Token t", "Token t", "t", "t"]
        );
        let told = |token: &str| {
            let header = TokenPrefix::bearer().before(&Secret::new(token));
            header.expose().to_owned()
        };
        assert_eq!(
            [
                told("Bearer t"),
                told("bearer t"),
                told("bearert"),
                told("a b")
            ],
            ["Bearer t", "bearer t", "Bearer bearert", "Bearer a b"]
        );
    }
}
