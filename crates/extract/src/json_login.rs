//! A name and a secret for a token, both as JSON: the login of APIs that hold to no standard.
//!
//! Invariant: the secret is read anew for every login, goes into the request's body and nowhere else, and is known to the
//! redactor before it is sent.

use crate::auth::Login;
use crate::credential::Credential;
use crate::envelope_error::names_credentials;
use crate::http::HttpClient;
use crate::request::{AUTHORIZATION, HttpRefusal, HttpRequest};
use crate::token::{Token, TokenPrefix};
use async_trait::async_trait;
use tillhouse_model::{Error, ErrorKind, Result, Secret};
use url::Url;

/// POSTs `{name: ..., secret: ...}` to one address, or `{"refresh_token": ...}` to another where there is one.
///
/// A token is read as [`Token::read`] says, and used until it expires or is refused. Then the refresh token gets the next one, or the
/// secret, where there is no address for the other or it is refused too.
#[derive(Debug)]
pub struct JsonLogin {
    /// Sends it.
    pub client: HttpClient,
    /// Address that gives tokens for the name and the secret.
    pub login: Url,
    /// Address that gives tokens for a refresh token.
    pub refresh: Option<Url>,
    /// The name.
    pub name: String,
    /// The secret.
    pub secret: Credential,
    /// Stands before the token in the header `Authorization`.
    pub prefix: TokenPrefix,
    /// Names and hints.
    pub words: LoginWording,
}

/// Names of the parts of a provider's login, and hints for when it fails.
#[derive(Debug, Clone, Copy)]
pub struct LoginWording {
    /// The provider, as people call it.
    pub provider: &'static str,
    /// The name's key, in the request and in the connection.
    pub name: &'static str,
    /// The secret's key, in the request and in the connection.
    pub secret: &'static str,
    /// Hint for refused name or secret.
    pub if_refused: &'static str,
    /// Hint for an address without a login.
    pub if_missing: &'static str,
}

#[async_trait]
impl Login for JsonLogin {
    async fn login(&self, refresh: Option<&Secret>) -> Result<Token> {
        let (url, body) = match (refresh, &self.refresh) {
            (Some(token), Some(url)) => (url, serde_json::json!({"refresh_token": token.expose()})),
            _ => {
                let secret = self
                    .secret
                    .read(&format!("connection.{}", self.words.secret))
                    .await?;
                self.client.redactor().add(&secret);
                let body = serde_json::json!({self.words.name: self.name, self.words.secret: secret.expose()});
                (&self.login, body)
            }
        };
        let request = HttpRequest::post_json("login", url.clone(), &body);
        let answer = self
            .client
            .send(&request)
            .await
            .map_err(|e| match e.kind() {
                ErrorKind::Unauthorized => e.hint(self.words.if_refused),
                _ => e,
            })?;
        let response = answer.success_or(|refusal| self.refused(refusal))?;
        Token::read(&response.bytes, "the login", self.client.redactor()).map_err(|e| match e.kind() {
            ErrorKind::Unauthorized => e.hint(self.words.if_refused),
            _ => e.hint(format!(
                "Check connection.base_url and connection.paths.login: something else may be answering there. If it is the login: {}",
                self.words.if_refused
            )),
        })
    }

    fn authorize(&self, request: HttpRequest, access: &Secret) -> Result<HttpRequest> {
        request.secret_header(AUTHORIZATION, &self.prefix.before(access))
    }
}

impl JsonLogin {
    fn refused(&self, refusal: HttpRefusal) -> Error {
        if let (true, Some(elsewhere)) = (refusal.status.is_redirection(), refusal.redirect.clone())
        {
            let text = format!(
                "the login is redirected to {elsewhere}, where {} is not sent",
                self.words.secret
            );
            return Error::protocol(text)
                .at("url", refusal.url.clone())
                .at("status", refusal.status.as_str())
                .hint(format!("If that is the right server, set connection.base_url and connection.paths so that the login is {elsewhere}."));
        }
        let blamed = refusal.message.as_deref().is_some_and(names_credentials);
        match refusal.status.as_u16() {
            // Servers do not agree on which of them a wrong secret gets.
            400 | 401 | 403 | 419 | 422 | 498 => refusal
                .into_refused_login(&format!("{} refused the login", self.words.provider))
                .hint(self.words.if_refused),
            _ if blamed => refusal
                .into_refused_login(&format!("{} refused the login", self.words.provider))
                .hint(self.words.if_refused),
            404 | 405 => refusal.into_error().hint(self.words.if_missing),
            _ => refusal.into_error(),
        }
    }
}
