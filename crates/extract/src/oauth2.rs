//! OAuth2's client credentials (RFC 6749, section 4.4): a name and a secret for a token.
//!
//! Invariant: the secret is read anew for every login, goes into the body of a form, to the token endpoint's own server and nowhere
//! else, and is known to the redactor before it is sent. What the token opens lies on another client, which never sees it.
//!
//! Deliberately absent: refresh tokens, which this grant should not give and a new token makes needless; and the secret in a Basic
//! header, which no provider here asks for.

use crate::auth::Login;
use crate::credential::Credential;
use crate::envelope_error::names_credentials;
use crate::http::HttpClient;
use crate::name_list::not_blank;
use crate::origin::EndpointUrl;
use crate::request::{HttpRefusal, HttpRequest};
use crate::token::Token;
use async_trait::async_trait;
use serde::Deserialize;
use tillhouse_model::{Error, ErrorKind, ProblemList, Result, Secret};
use url::Url;

/// Gets tokens for credentials. The keys of a connection are `token_url`, `client_id`, `client_secret` and `scope`: errors name them.
#[derive(Debug)]
pub struct ClientCredentials {
    client: HttpClient,
    token_url: Url,
    client_id: String,
    client_secret: Credential,
    scope: Option<String>,
}

const IF_REFUSED: &str =
    "Check connection.client_id and connection.client_secret of this pipeline.";

/// Error response of a token endpoint.
#[derive(Deserialize)]
struct TokenErrorResponse {
    error: String,
}

impl ClientCredentials {
    /// A login for the API that `api` asks; the token endpoint may lie on any other server. No I/O
    /// happens here. Errors with
    pub fn new(
        api: &HttpClient,
        token_url: &EndpointUrl,
        client_id: String,
        client_secret: Credential,
        scope: Option<String>,
    ) -> Result<Self> {
        let mut problems = ProblemList::default();
        problems.keep(client_secret.check("connection.client_secret"));
        problems.keep(not_blank("connection.client_id", &client_id));
        let client = problems.keep(api.for_endpoint("connection.token_url", token_url));
        let client = problems.or(client)?;
        Ok(Self {
            client,
            token_url: token_url.url().clone(),
            client_id,
            client_secret,
            scope,
        })
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
        let request = HttpRequest::post_form("login", self.token_url.clone(), &form);
        let answer = self
            .client
            .send(&request)
            .await
            .map_err(|e| match e.kind() {
                ErrorKind::Unauthorized => e.hint(IF_REFUSED),
                _ => e,
            })?;
        let response = answer.success_or(refused)?;
        let token =
            Token::read(&response.bytes, "the token endpoint", self.client.redactor()).map_err(|e| match e.kind() {
                ErrorKind::Unauthorized => e.hint(IF_REFUSED),
                _ => e.hint(format!(
                    "Check connection.token_url: something else may be answering there. If it is the right address: {IF_REFUSED}"
                )),
            })?;
        Ok(Token {
            refresh: None,
            ..token
        })
    }
}

/// RFC 6749, section 5.2, and what servers answer that do not know it.
fn refused(refusal: HttpRefusal) -> Error {
    if let (true, Some(elsewhere)) = (refusal.status.is_redirection(), &refusal.redirect) {
        let text =
            format!("the token endpoint redirects to {elsewhere}, where the secret is not sent");
        return Error::protocol(text)
            .at("url", refusal.url.clone())
            .hint(format!(
                "If that is the right server, set connection.token_url to {elsewhere}."
            ));
    }
    let code = serde_json::from_slice::<TokenErrorResponse>(&refusal.body)
        .map(|refused| refused.error)
        .unwrap_or_default();
    let status = refusal.status.as_u16();
    let blamed = refusal.message.as_deref().is_some_and(names_credentials);
    match (code.as_str(), status) {
        ("invalid_scope", _) => {
            refusal.into_error().hint("Set connection.scope to what the provider granted this client, or leave it out.")
        }
        ("invalid_request" | "invalid_grant" | "unsupported_grant_type", _) => refusal.into_error().hint(
            "Ask the provider to allow this client the grant client_credentials, and check connection.token_url.",
        ),
        ("invalid_client" | "unauthorized_client" | "access_denied", _) | (_, 401 | 403) => {
            refusal.into_refused_login("the token endpoint refused the client").hint(IF_REFUSED)
        }
        _ if blamed => refusal.into_refused_login("the token endpoint refused the client").hint(IF_REFUSED),
        (_, 404 | 405) => refusal.into_error().hint("Check connection.token_url: no tokens are given out there."),
        (_, 400 | 422) => refusal
            .into_error()
            .hint("Check connection.client_id, connection.client_secret, connection.scope and connection.token_url."),
        _ => refusal.into_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::StatusCode;
    use bytes::Bytes;

    fn told(status: u16, body: &str) -> Error {
        refused(HttpRefusal {
            status: StatusCode::from_u16(status).unwrap(),
            message: Some("no".into()),
            body: Bytes::from(body.to_owned()),
            redirect: (status == 302).then(|| "https://other.example.com".into()),
            challenge: None,
            source: "pace",
            resource: "login".into(),
            url: "http://127.0.0.1/token".into(),
        })
    }

    #[test]
    fn refusals_name_the_key_to_look_at() {
        for (status, body, kind, key) in [
            (
                400,
                r#"{"error":"invalid_client"}"#,
                ErrorKind::Unauthorized,
                "connection.client_secret",
            ),
            (
                401,
                r#"{"error":"unauthorized_client"}"#,
                ErrorKind::Unauthorized,
                "connection.client_id",
            ),
            (
                401,
                "<html>",
                ErrorKind::Unauthorized,
                "connection.client_secret",
            ),
            (
                400,
                r#"{"error":"invalid_scope"}"#,
                ErrorKind::Protocol,
                "connection.scope",
            ),
            (
                400,
                r#"{"error":"unsupported_grant_type"}"#,
                ErrorKind::Protocol,
                "client_credentials",
            ),
            (404, "{}", ErrorKind::Config, "connection.token_url"),
            (302, "", ErrorKind::Protocol, "connection.token_url"),
        ] {
            let error = told(status, body);
            assert_eq!(error.kind(), kind, "{status} {body}");
            assert!(
                error.hint_text().unwrap().contains(key),
                "{status} {body}: {error:?}"
            );
        }
        assert!(
            told(302, "")
                .message()
                .contains("https://other.example.com")
        );
        assert!(
            told(400, r#"{"Message":"no"}"#)
                .hint_text()
                .unwrap()
                .contains("connection.token_url")
        );
        assert_eq!(told(451, "{}").hint_text(), None);
    }
}
