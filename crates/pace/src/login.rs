//! PACE's login: client credentials, and which refusals a new token cannot mend.
//!
//! Invariant: a token is had anew where PACE blames it, except where PACE says that it is not the token it misses.

use crate::error_document::{LINKED_IDENTITY, PaceErrorDocument};
use async_trait::async_trait;
use tillhouse_extract::oauth2::ClientCredentials;
use tillhouse_extract::{HttpRefusal, Login, Token};
use tillhouse_model::{Result, Secret};

#[derive(Debug)]
pub(crate) struct PaceLogin {
    credentials: ClientCredentials,
}

impl PaceLogin {
    pub(crate) fn new(credentials: ClientCredentials) -> Self {
        Self { credentials }
    }
}

#[async_trait]
impl Login for PaceLogin {
    async fn login(&self, refresh: Option<&Secret>) -> Result<Token> {
        self.credentials.login(refresh).await
    }

    fn wants_new_token(&self, refusal: &HttpRefusal) -> bool {
        refusal.blames_token() && !PaceErrorDocument::of(&refusal.body).has_code(LINKED_IDENTITY)
    }
}
