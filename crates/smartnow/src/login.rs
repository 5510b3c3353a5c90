//! SmartNow's login: a user's name and password for a pair of tokens.
//!
//! Invariant: the password is read anew for every login, goes into the request's body and nowhere else, and is known to the
//! redactor before it is sent.
//!
//! The document does not say how long a token is good, so one is used until it is refused; then the refresh token gets the next
//! pair, or the password where that is refused too.

use async_trait::async_trait;
use serde::Deserialize;
use tillhouse_extract::request::HeaderName;
use tillhouse_extract::{Answer, Client, Credential, Login, Refusal, Request, Token};
use tillhouse_model::{Error, ErrorKind, Result, Secret};
use url::Url;

const AUTHORIZATION: HeaderName = HeaderName::from_static("authorization");

#[derive(Debug)]
pub(crate) struct PasswordLogin {
    pub(crate) client: Client,
    pub(crate) username: String,
    pub(crate) password: Credential,
    pub(crate) login: Url,
    pub(crate) refresh: Url,
    /// Stands before the token; empty for the token alone.
    pub(crate) token_prefix: String,
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    refresh_token: Option<Secret>,
}

#[async_trait]
impl Login for PasswordLogin {
    async fn login(&self, refresh: Option<&Secret>) -> Result<Token> {
        let request = match refresh {
            Some(token) => {
                let body = serde_json::json!({"refresh_token": token.expose()});
                Request::post_json("login", self.refresh.clone(), &body)
            }
            None => {
                let password = self.password.read("connection.password").await?;
                self.client.redactor().add(&password);
                let body = serde_json::json!({"username": self.username, "password": password.expose()});
                Request::post_json("login", self.login.clone(), &body)
            }
        };
        match self.client.send(&request).await? {
            Answer::Success(response) => token(&response.bytes),
            Answer::Refused(refusal) => Err(refused(refusal)),
        }
    }

    fn authorize(&self, request: Request, access: &Secret) -> Result<Request> {
        let header = match self.token_prefix.as_str() {
            "" => access.clone(),
            prefix => Secret::new(format!("{prefix} {}", access.expose())),
        };
        request.secret_header(AUTHORIZATION, &header)
    }
}

/// Reads the answer. serde's own errors quote values, so they are not shown.
fn token(body: &[u8]) -> Result<Token> {
    let granted = serde_json::from_slice::<Granted>(body).ok().filter(|g| !g.access_token.expose().is_empty());
    let granted = granted.ok_or_else(|| {
        Error::protocol("the login's answer holds no access_token")
            .hint("Check connection.base_url and connection.paths.login: something else may be answering there.")
    })?;
    Ok(Token { access: granted.access_token, refresh: granted.refresh_token, lifetime: None })
}

fn refused(refusal: Refusal) -> Error {
    match refusal.status.as_u16() {
        // The document does not say which of them a wrong password gets.
        400 | 401 | 403 | 422 => {
            let said = refusal.message.as_deref().map(|m| format!(": {m}")).unwrap_or_default();
            Error::new(ErrorKind::Unauthorized, format!("SmartNow refused the login{said}"))
                .at("url", refusal.url)
                .at("status", refusal.status.as_str())
                .hint(
                    "Check connection.username and connection.password of this pipeline, and that the user's e-mail is \
                     confirmed and the password has not expired.",
                )
        }
        404 | 405 => refusal
            .into_error()
            .hint("Set connection.paths.login and connection.paths.refresh (and base_url) as the provider says."),
        _ => refusal.into_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_token_is_not_quoted() {
        for body in [r#"{"access_token":""}"#, r#"{"access_token":42424242}"#, r#"{"token":"hunter2"}"#, "<html>"] {
            let error = token(body.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("42424242") && !shown.contains("hunter2"), "{shown}");
        }
    }
}
