//! OAuth2's client credentials (RFC 6749, section 4.4): a name and a secret for a token.
//!
//! Invariant: the secret is read anew for every login, goes into the body of a form, to the token endpoint's own server and nowhere
//! else, and is known to the redactor before it is sent. What the token opens lies on another client, which never sees it.
//!
//! Deliberately absent: refresh tokens, which this grant should not give and a new token makes needless; and the secret in a Basic
//! header, which no provider here asks for.

use crate::auth::{Login, Token};
use crate::credential::Credential;
use crate::http::Client;
use crate::origin::Endpoint;
use crate::request::{Answer, Refusal, Request};
use async_trait::async_trait;
use serde::Deserialize;
use std::time::Duration;
use tillhouse_model::{Error, ErrorKind, Result, Secret};
use url::Url;

/// Gets tokens for credentials. The keys of a connection are `token_url`, `client_id`, `client_secret` and `scope`: errors name them.
#[derive(Debug)]
pub struct ClientCredentials {
    client: Client,
    token_url: Url,
    client_id: String,
    client_secret: Credential,
    scope: Option<String>,
}

/// What a token endpoint answers; `expires_in` is in seconds.
#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    expires_in: Option<serde_json::Value>,
}

/// What it answers instead.
#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl ClientCredentials {
    /// For the API that `api` asks; the token endpoint may lie on any other server. No I/O happens here. Errors with
    /// [`ErrorKind::Config`], naming the key.
    pub fn new(
        api: &Client,
        token_url: &Endpoint,
        client_id: String,
        client_secret: Credential,
        scope: Option<String>,
    ) -> Result<Self> {
        client_secret.check("connection.client_secret")?;
        if client_id.trim().is_empty() {
            return Err(Error::config("connection.client_id is empty"));
        }
        let client = api.beside("connection.token_url", token_url)?;
        Ok(Self { client, token_url: token_url.url().clone(), client_id, client_secret, scope })
    }
}

#[async_trait]
impl Login for ClientCredentials {
    async fn login(&self, _: Option<&Secret>) -> Result<Token> {
        let secret = self.client_secret.read("connection.client_secret").await?;
        self.client.redactor().add(&secret);
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", self.client_id.as_str()),
            ("client_secret", secret.expose()),
        ];
        form.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        match self.client.send(&Request::post_form("login", self.token_url.clone(), &form)).await? {
            Answer::Success(response) => granted(&response.bytes),
            Answer::Refused(refusal) => Err(refused(refusal)),
        }
    }
}

/// Reads the answer. serde's own errors quote values, so they are not shown.
fn granted(body: &[u8]) -> Result<Token> {
    let granted = serde_json::from_slice::<Granted>(body).ok().filter(|g| !g.access_token.expose().is_empty());
    let granted = granted.ok_or_else(|| {
        Error::protocol("the token endpoint's answer holds no access_token")
            .hint("Check connection.token_url: something else may be answering there.")
    })?;
    let seconds = granted.expires_in.as_ref().and_then(|value| match value {
        serde_json::Value::String(text) => text.trim().parse::<f64>().ok(),
        value => value.as_f64(),
    });
    let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Token { access: granted.access_token, refresh: None, lifetime })
}

/// RFC 6749, section 5.2, and what servers answer that do not know it.
fn refused(refusal: Refusal) -> Error {
    if let (true, Some(elsewhere)) = (refusal.status.is_redirection(), &refusal.redirect) {
        let text = format!("the token endpoint redirects to {elsewhere}, where the secret is not sent");
        return Error::protocol(text)
            .at("url", refusal.url.clone())
            .hint("Set connection.token_url to the address where tokens are given out.");
    }
    let code = serde_json::from_slice::<Refused>(&refusal.body).map(|refused| refused.error).unwrap_or_default();
    let status = refusal.status.as_u16();
    match (code.as_str(), status) {
        ("invalid_scope", _) => {
            refusal.into_error().hint("Set connection.scope to what the provider granted this client, or leave it out.")
        }
        ("invalid_request" | "invalid_grant" | "unsupported_grant_type", _) => refusal.into_error().hint(
            "Ask the provider to allow this client the grant client_credentials, and check connection.token_url.",
        ),
        ("invalid_client" | "unauthorized_client" | "access_denied", _) | (_, 401 | 403) => {
            let said = refusal.message.as_deref().map(|m| format!(": {m}")).unwrap_or_default();
            Error::new(ErrorKind::Unauthorized, format!("the token endpoint refused the client{said}"))
                .at("url", refusal.url)
                .at("status", refusal.status.as_str())
                .hint("Check connection.client_id and connection.client_secret of this pipeline.")
        }
        (_, 404 | 405) => refusal.into_error().hint("Check connection.token_url: no tokens are given out there."),
        _ => refusal.into_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::StatusCode;
    use bytes::Bytes;

    fn told(status: u16, body: &str) -> Error {
        refused(Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            message: Some("no".into()),
            body: Bytes::from(body.to_owned()),
            redirect: (status == 302).then(|| "https://other.example.com".into()),
            source: "pace",
            resource: "login".into(),
            url: "http://127.0.0.1/token".into(),
        })
    }

    #[test]
    fn refusals_name_the_key_to_look_at() {
        for (status, body, kind, key) in [
            (400, r#"{"error":"invalid_client"}"#, ErrorKind::Unauthorized, "connection.client_secret"),
            (401, r#"{"error":"unauthorized_client"}"#, ErrorKind::Unauthorized, "connection.client_id"),
            (401, "<html>", ErrorKind::Unauthorized, "connection.client_secret"),
            (400, r#"{"error":"invalid_scope"}"#, ErrorKind::Protocol, "connection.scope"),
            (400, r#"{"error":"unsupported_grant_type"}"#, ErrorKind::Protocol, "client_credentials"),
            (404, "{}", ErrorKind::Protocol, "connection.token_url"),
            (302, "", ErrorKind::Protocol, "connection.token_url"),
        ] {
            let error = told(status, body);
            assert_eq!(error.kind(), kind, "{status} {body}");
            assert!(error.hint_text().unwrap().contains(key), "{status} {body}: {error:?}");
        }
        assert!(told(302, "").message().contains("https://other.example.com"));
        assert_eq!(told(422, "{}").hint_text(), None);
    }

    #[test]
    fn lifetimes_are_read_however_they_are_written() {
        let lifetime =
            |expires: &str| granted(format!(r#"{{"access_token":"t"{expires}}}"#).as_bytes()).unwrap().lifetime;
        assert_eq!(lifetime(r#","expires_in":300"#), Some(Duration::from_secs(300)));
        assert_eq!(lifetime(r#","expires_in":"300""#), Some(Duration::from_secs(300)));
        for none in ["", r#","expires_in":null"#, r#","expires_in":-1"#] {
            assert_eq!(lifetime(none), None, "{none}");
        }
    }

    #[test]
    fn an_answer_without_a_token_is_not_quoted() {
        for body in [r#"{"access_token":""}"#, r#"{"token":"hunter2"}"#, "<html>hunter2"] {
            let error = granted(body.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
