//! HecOne's login: credentials for a token.
//!
//! Invariant: the secret is read anew for every login, goes into the request's body and nowhere else, and is known to the
//! redactor before it is sent.

use crate::connection::Paths;
use async_trait::async_trait;
use serde::Deserialize;
use std::time::Duration;
use tillhouse_extract::{Answer, Client, Credential, Login, Refusal, Request, Token};
use tillhouse_model::{Error, ErrorKind, Result, Secret};
use url::Url;

#[derive(Debug)]
pub(crate) struct CredentialLogin {
    client: Client,
    client_id: String,
    client_secret: Credential,
    login: Url,
    refresh: Option<Url>,
}

/// What HecOne answers; `expires_in` is in seconds.
#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    refresh_token: Option<Secret>,
    expires_in: Option<serde_json::Value>,
}

impl CredentialLogin {
    pub(crate) fn new(client: Client, client_id: String, client_secret: Credential, paths: &Paths) -> Result<Self> {
        let login = client.url(&paths.login)?;
        let refresh = paths.refresh.as_deref().map(|path| client.url(path)).transpose()?;
        Ok(Self { client, client_id, client_secret, login, refresh })
    }
}

#[async_trait]
impl Login for CredentialLogin {
    async fn login(&self, refresh: Option<&Secret>) -> Result<Token> {
        let request = match (refresh, &self.refresh) {
            (Some(token), Some(url)) => {
                let body = serde_json::json!({"refresh_token": token.expose()});
                Request::post_json("login", url.clone(), &body)
            }
            _ => {
                let secret = self.client_secret.read("connection.client_secret").await?;
                self.client.redactor().add(&secret);
                let body = serde_json::json!({"client_id": self.client_id, "client_secret": secret.expose()});
                Request::post_json("login", self.login.clone(), &body)
            }
        };
        match self.client.send(&request).await? {
            Answer::Success(response) => token(&response.bytes),
            Answer::Refused(refusal) => Err(refused(refusal)),
        }
    }
}

/// Reads the answer. serde's own errors quote values, so they are not shown.
fn token(body: &[u8]) -> Result<Token> {
    let granted = serde_json::from_slice::<Granted>(body).ok().filter(|g| !g.access_token.expose().is_empty());
    let granted = granted.ok_or_else(|| {
        Error::protocol("the login's answer holds no access_token")
            .hint("Check connection.base_url and connection.paths.login: something else may be answering there.")
    })?;
    let seconds = granted.expires_in.as_ref().and_then(|value| match value {
        serde_json::Value::String(text) => text.trim().parse::<f64>().ok(),
        value => value.as_f64(),
    });
    let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Token { access: granted.access_token, refresh: granted.refresh_token, lifetime })
}

fn refused(refusal: Refusal) -> Error {
    match refusal.status.as_u16() {
        // The document does not say which of them a wrong secret gets.
        400 | 401 | 403 | 422 => {
            let said = refusal.message.as_deref().map(|m| format!(": {m}")).unwrap_or_default();
            Error::new(ErrorKind::Unauthorized, format!("HecOne refused the login{said}"))
                .at("url", refusal.url)
                .at("status", refusal.status.as_str())
                .hint("Check connection.client_id and connection.client_secret of this pipeline.")
        }
        404 | 405 => refusal
            .into_error()
            .hint("Set connection.paths.login (and base_url): HecOne does not document them, so ask the provider."),
        _ => refusal.into_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_however_they_are_written() {
        let lifetime =
            |expires: &str| token(format!(r#"{{"access_token":"t"{expires}}}"#).as_bytes()).unwrap().lifetime;
        assert_eq!(lifetime(r#","expires_in":3600"#), Some(Duration::from_secs(3_600)));
        assert_eq!(lifetime(r#","expires_in":"3600""#), Some(Duration::from_secs(3_600)));
        for none in ["", r#","expires_in":null"#, r#","expires_in":-1"#, r#","expires_in":"soon""#] {
            assert_eq!(lifetime(none), None, "{none}");
        }
    }

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
