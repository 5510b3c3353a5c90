//! be-mo's login: no request at all, a token and a key that somebody put where the connection says.
//!
//! Invariant: both are read when the first request is made and again when a token is refused, and are known to the redactor
//! before they are sent; a credential that stands in the configuration itself is not read again, since it cannot have changed.

use crate::complaint::{Complaint, TOKEN_CODES};
use async_trait::async_trait;
use std::sync::{Arc, PoisonError, RwLock};
use tillhouse_extract::request::HeaderName;
use tillhouse_extract::{Credential, Login, Redactor, Refusal, Request, StatusCode, Token};
use tillhouse_model::{Error, Result, Secret};

#[derive(Debug)]
pub(crate) struct TokenAndKey {
    redactor: Arc<Redactor>,
    access_token: Credential,
    token_header: HeaderName,
    /// What stands before the token, with the space between.
    prefix: String,
    subscription_key: Credential,
    key_header: HeaderName,
    /// The key as it was read with the token in use.
    key: RwLock<Option<Secret>>,
}

impl TokenAndKey {
    pub(crate) fn new(
        redactor: Arc<Redactor>,
        (token_header, access_token, prefix): (HeaderName, Credential, &str),
        (key_header, subscription_key): (HeaderName, Credential),
    ) -> Self {
        let prefix = if prefix.trim().is_empty() { String::new() } else { format!("{} ", prefix.trim()) };
        Self { redactor, access_token, token_header, prefix, subscription_key, key_header, key: RwLock::new(None) }
    }
}

#[async_trait]
impl Login for TokenAndKey {
    async fn login(&self, _: Option<&Secret>) -> Result<Token> {
        let access = self.access_token.read("connection.access_token").await?;
        let key = self.subscription_key.read("connection.subscription_key").await?;
        self.redactor.add(&key);
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
        // When the token expires stands in the token itself; the server says so in time.
        Ok(Token { access, refresh: None, lifetime: None })
    }

    fn authorize(&self, request: Request, access: &Secret) -> Result<Request> {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner).clone();
        let key = key.ok_or_else(|| Error::internal("a request before the subscription key was read"))?;
        let token = Secret::new(format!("{}{}", self.prefix, access.expose()));
        request.secret_header(self.token_header.clone(), &token)?.secret_header(self.key_header.clone(), &key)
    }

    fn wants_new_token(&self, refusal: &Refusal) -> bool {
        let may_change = |credential: &Credential| !matches!(credential, Credential::Value(_));
        if !may_change(&self.access_token) && !may_change(&self.subscription_key) {
            return false;
        }
        // A gateway in front knows no envelope; and be-mo says 403 of a token it cannot read.
        match Complaint::of(&refusal.body) {
            Some(complaint) => complaint.codes().any(|code| TOKEN_CODES.contains(&code)),
            None => refusal.status == StatusCode::UNAUTHORIZED,
        }
    }
}
