//! be-mo's login: no request at all, a token and a key that somebody put where the connection says.
//!
//! Invariant: both are read when the first request is made and again when a token is refused, and are known to the redactor
//! before they are sent; a credential that stands in the configuration itself is not read again, since it cannot have changed.

use crate::error_envelope::{BemoErrorEnvelope, TOKEN_CODES};
use async_trait::async_trait;
use std::sync::{Arc, PoisonError, RwLock};
use tillhouse_extract::{
    Credential, HeaderName, HttpRefusal, HttpRequest, Login, Redactor, Token, TokenPrefix,
};
use tillhouse_model::{Error, Result, Secret};

/// Login with an access token and a subscription key.
#[derive(Debug)]
pub(crate) struct BemoLogin {
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) access_token: Credential,
    pub(crate) token_header: HeaderName,
    pub(crate) prefix: TokenPrefix,
    pub(crate) subscription_key: Credential,
    pub(crate) key_header: HeaderName,
    /// The key as it was read with the token in use.
    pub(crate) key: RwLock<Option<Secret>>,
}

#[async_trait]
impl Login for BemoLogin {
    async fn login(&self, _: Option<&Secret>) -> Result<Token> {
        let access = self.access_token.read("connection.access_token").await?;
        let key = self
            .subscription_key
            .read("connection.subscription_key")
            .await?;
        self.redactor.add(&key);
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
        // When the token expires stands in the token itself; the server says so in time.
        Ok(Token {
            access,
            refresh: None,
            lifetime: None,
        })
    }

    fn authorize(&self, request: HttpRequest, access: &Secret) -> Result<HttpRequest> {
        let key = self
            .key
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let key =
            key.ok_or_else(|| Error::internal("a request before the subscription key was read"))?;
        let token = self.prefix.before(access);
        request
            .secret_header(self.token_header.clone(), &token)?
            .secret_header(self.key_header.clone(), &key)
    }

    fn wants_new_token(&self, refusal: &HttpRefusal) -> bool {
        let may_change = |credential: &Credential| !matches!(credential, Credential::Value(_));
        if !may_change(&self.access_token) && !may_change(&self.subscription_key) {
            return false;
        }
        // A gateway in front knows no envelope; and be-mo says 403 of a token it cannot read.
        match BemoErrorEnvelope::of(&refusal.body) {
            Some(complaint) => {
                refusal.names_token() || complaint.codes().any(|code| TOKEN_CODES.contains(&code))
            }
            None => refusal.blames_token(),
        }
    }
}
