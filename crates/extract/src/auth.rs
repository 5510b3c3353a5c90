//! Tokens: got once, shared by all requests, renewed before they expire and once when the server says so.
//!
//! Invariant: at most one login is under way at a time, and everybody who waited for it shares its outcome, good or bad; a
//! login that failed is not tried again for a minute, whatever the server said, so that a wrong secret does not lock an account.

use crate::http::{ClientStats, HttpClient};
use crate::redact::Redactor;
use crate::request::{AUTHORIZATION, HttpOutcome, HttpRefusal, HttpRequest};
use crate::token::{Token, TokenPrefix};
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tillhouse_model::{Error, ErrorKind, Result, Secret};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A token is renewed this long before it expires, or a tenth of its life if that is shorter.
const MARGIN: Duration = Duration::from_secs(60);
/// The time for which a login that failed is remembered.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Login of one API.
///
/// ```
/// use tillhouse_extract::{HeaderName, HttpRequest, Login, Token};
/// use tillhouse_model::{Result, Secret};
///
/// /// A key that is sent as it is, in a header of its own.
/// #[derive(Debug)]
/// struct ApiKey(Secret);
///
/// #[async_trait::async_trait]
/// impl Login for ApiKey {
///     async fn login(&self, _: Option<&Secret>) -> Result<Token> {
///         Ok(Token { access: self.0.clone(), refresh: None, lifetime: None })
///     }
///
///     fn authorize(&self, request: HttpRequest, access: &Secret) -> Result<HttpRequest> {
///         request.secret_header(HeaderName::from_static("x-api-key"), access)
///     }
/// }
/// ```
#[async_trait]
pub trait Login: Send + Sync + fmt::Debug {
    /// Gets a token: with the refresh token where there is one, else with the credentials, which are read anew each time.
    ///
    /// Errors with [`ErrorKind::Unauthorized`] and a hint when they are refused. Passing troubles were already retried.
    async fn login(&self, refresh: Option<&Secret>) -> Result<Token>;

    /// Puts the token on a request. By default `Authorization: Bearer`.
    fn authorize(&self, request: HttpRequest, access: &Secret) -> Result<HttpRequest> {
        request.secret_header(AUTHORIZATION, &TokenPrefix::bearer().before(access))
    }

    /// True if a new token may help against a refusal. By default for every 401, and wherever the
    /// server blames the token.
    fn wants_new_token(&self, refusal: &HttpRefusal) -> bool {
        refusal.blames_token()
    }
}

/// Token in use. Two are the same when their numbers are.
#[derive(Debug, Clone)]
pub struct TokenGrant {
    access: Secret,
    number: u64,
}

impl TokenGrant {
    /// Token for the API.
    pub fn access(&self) -> &Secret {
        &self.access
    }
}

/// Keeps the newest token of one login.
pub struct TokenCache {
    login: Arc<dyn Login>,
    redactor: Arc<Redactor>,
    state: Mutex<TokenState>,
    /// Login attempts that are over, so that a waiter can tell whether one ended while it waited.
    ended: AtomicU64,
}

/// State of a token cache: the current token, and the last login that failed.
#[derive(Default)]
struct TokenState {
    held: Option<CachedToken>,
    failed: Option<FailedLogin>,
    logins: u64,
}

/// Token in the cache, and when it is renewed.
struct CachedToken {
    grant: TokenGrant,
    refresh: Option<Secret>,
    renew_at: Option<Instant>,
}

/// Login that failed, remembered for a while.
struct FailedLogin {
    error: Error,
    attempt: u64,
    remember_until: Option<Instant>,
}

impl TokenCache {
    /// An empty cache. Tokens are made known to the redactor.
    pub fn new(login: Arc<dyn Login>, redactor: Arc<Redactor>) -> Self {
        Self {
            login,
            redactor,
            state: Mutex::new(TokenState::default()),
            ended: AtomicU64::new(0),
        }
    }

    /// A token that is valid for a while, from the cache or a login.
    pub async fn get(&self) -> Result<TokenGrant> {
        self.obtain(None).await
    }

    /// A token other than the refused one: the one that replaced it meanwhile, or a new one.
    pub async fn renew(&self, refused: &TokenGrant) -> Result<TokenGrant> {
        self.obtain(Some(refused)).await
    }

    async fn obtain(&self, refused: Option<&TokenGrant>) -> Result<TokenGrant> {
        let asked_after = self.ended.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if let Some(held) = &state.held {
            let expired = held.renew_at.is_some_and(|at| Instant::now() >= at);
            let unwanted = refused.is_some_and(|refused| refused.number == held.grant.number);
            if !expired && !unwanted {
                return Ok(held.grant.clone());
            }
        }
        if let Some(failed) = &state.failed {
            let shared = failed.attempt > asked_after;
            if shared
                || failed
                    .remember_until
                    .is_some_and(|until| Instant::now() < until)
            {
                return Err(copy(&failed.error));
            }
        }
        let refresh = state.held.as_ref().and_then(|held| held.refresh.clone());
        let outcome = self.log_in(refresh.as_ref()).await;
        let attempt = self.ended.fetch_add(1, Ordering::AcqRel) + 1;
        match outcome {
            Ok(token) => {
                self.redactor.add(&token.access);
                if let Some(refresh) = &token.refresh {
                    self.redactor.add(refresh);
                }
                state.logins += 1;
                let grant = TokenGrant {
                    access: token.access,
                    number: state.logins,
                };
                let lifetime = token.lifetime.filter(|lifetime| !lifetime.is_zero());
                let renew_at = lifetime.and_then(|lifetime| {
                    Instant::now().checked_add(lifetime - MARGIN.min(lifetime / 10))
                });
                state.held = Some(CachedToken {
                    grant: grant.clone(),
                    refresh: token.refresh,
                    renew_at,
                });
                state.failed = None;
                Ok(grant)
            }
            Err(error) => {
                // A server that was away may be back; of any other answer nobody knows whether it was about the secret.
                let is_passing = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Busy);
                // The old token and its refresh token are of no use any more, or we would not be here.
                state.held = None;
                let remember_until = (!is_passing).then(|| Instant::now() + REFUSED_FOR);
                state.failed = Some(FailedLogin {
                    error: copy(&error),
                    attempt,
                    remember_until,
                });
                Err(error)
            }
        }
    }

    /// Logs in with the refresh token first; when that is refused or not understood, with the
    /// credentials.
    async fn log_in(&self, refresh: Option<&Secret>) -> Result<Token> {
        if let Some(refresh) = refresh {
            match self.login.login(Some(refresh)).await {
                Ok(token) => return Ok(token),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Unauthorized | ErrorKind::Protocol | ErrorKind::Config
                    ) =>
                {
                    tracing::debug!(%error, "the refresh token was refused, logging in anew");
                }
                Err(error) => return Err(error),
            }
        }
        self.login.login(None).await
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

/// Copies an error for another waiter; the cause's text goes into the message, as errors cannot be cloned.
fn copy(error: &Error) -> Error {
    let mut cause = std::error::Error::source(error);
    let mut message = error.message().to_owned();
    while let Some(inner) = cause {
        message.push_str(": ");
        message.push_str(&inner.to_string());
        cause = inner.source();
    }
    let mut copy = Error::new(error.kind(), message).retryable(error.is_retryable());
    for (key, value) in error.context() {
        copy = copy.at(key, value.clone());
    }
    match error.hint_text() {
        Some(hint) => copy.hint(hint),
        None => copy,
    }
}

/// A client whose requests carry a token.
#[derive(Debug, Clone)]
pub struct AuthorizedClient {
    client: HttpClient,
    login: Arc<dyn Login>,
    tokens: Arc<TokenCache>,
}

impl AuthorizedClient {
    /// Sends through `client`, with tokens from `login`.
    pub fn new(client: HttpClient, login: Arc<dyn Login>) -> Self {
        let tokens = Arc::new(TokenCache::new(login.clone(), client.redactor().clone()));
        Self {
            client,
            login,
            tokens,
        }
    }

    /// The client underneath.
    pub fn client(&self) -> &HttpClient {
        &self.client
    }

    /// Counts of the work so far, logins included.
    pub fn stats(&self) -> ClientStats {
        self.client.stats()
    }

    /// Makes sure there is a token.
    pub async fn log_in(&self) -> Result<()> {
        self.tokens.get().await.map(drop)
    }

    /// Asks with a token; when it is refused, once more with a new one. Errors as [`HttpClient::send`] and [`Login::login`] do.
    pub async fn send(&self, request: &HttpRequest) -> Result<HttpOutcome> {
        let grant = self.tokens.get().await?;
        let heard = HttpRequest {
            hears_logins: true,
            ..request.clone()
        };
        let answer = self
            .client
            .send(&self.login.authorize(heard, grant.access())?)
            .await?;
        let grant = match &answer {
            HttpOutcome::Refused(refusal) if self.login.wants_new_token(refusal) => {
                tracing::debug!(
                    source = self.client.source(),
                    "the token was refused, getting a new one"
                );
                self.tokens.renew(&grant).await?
            }
            // Nothing is to be had for a new token: it is judged as any other page.
            HttpOutcome::Refused(refusal) if refusal.is_login_page() => grant,
            _ => return Ok(answer),
        };
        self.client
            .send(&self.login.authorize(request.clone(), grant.access())?)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use std::sync::Mutex as StdMutex;

    /// Login server in memory, with scripted behaviour.
    #[derive(Debug, Default)]
    struct FakeLogin {
        calls: StdMutex<Vec<&'static str>>,
        lifetime: Option<Duration>,
        refresh_works: bool,
        refuse: std::sync::atomic::AtomicBool,
    }

    #[async_trait]
    impl Login for FakeLogin {
        async fn login(&self, refresh: Option<&Secret>) -> Result<Token> {
            let number = {
                let mut calls = self.calls.lock().unwrap();
                calls.push(if refresh.is_some() {
                    "refresh"
                } else {
                    "login"
                });
                calls.len()
            };
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.refuse.load(Ordering::Relaxed) || (refresh.is_some() && !self.refresh_works) {
                return Err(
                    Error::new(ErrorKind::Unauthorized, "refused").hint("Check client_secret.")
                );
            }
            let refresh = Some(Secret::new(format!("refresh-{number}")));
            Ok(Token {
                access: Secret::new(format!("access-{number}")),
                refresh,
                lifetime: self.lifetime,
            })
        }
    }

    fn cache(fake: &Arc<FakeLogin>) -> TokenCache {
        TokenCache::new(fake.clone(), Arc::default())
    }

    fn calls(fake: &FakeLogin) -> Vec<&'static str> {
        fake.calls.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_requests_share_one_login() {
        let fake = Arc::new(FakeLogin::default());
        let cache = cache(&fake);
        let grants = join_all((0..10).map(|_| cache.get())).await;
        assert!(
            grants
                .iter()
                .all(|g| g.as_ref().unwrap().access().expose() == "access-1")
        );
        assert_eq!(calls(&fake), ["login"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_refreshed_before_it_expires() {
        for (lifetime, margin) in [(3_600, 60), (100, 10)] {
            let lifetime = Duration::from_secs(lifetime);
            let fake = Arc::new(FakeLogin {
                lifetime: Some(lifetime),
                refresh_works: true,
                ..FakeLogin::default()
            });
            let cache = cache(&fake);
            cache.get().await.unwrap();
            tokio::time::advance(lifetime - Duration::from_secs(margin + 1)).await;
            cache.get().await.unwrap();
            assert_eq!(calls(&fake), ["login"]);
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(cache.get().await.unwrap().access().expose(), "access-2");
            assert_eq!(calls(&fake), ["login", "refresh"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lifetime_of_zero_is_no_lifetime() {
        let fake = Arc::new(FakeLogin {
            lifetime: Some(Duration::ZERO),
            ..FakeLogin::default()
        });
        let cache = cache(&fake);
        cache.get().await.unwrap();
        cache.get().await.unwrap();
        assert_eq!(calls(&fake), ["login"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_refresh_token_means_a_full_login() {
        let fake = Arc::new(FakeLogin::default());
        let cache = cache(&fake);
        let first = cache.get().await.unwrap();
        assert_eq!(
            cache.renew(&first).await.unwrap().access().expose(),
            "access-3"
        );
        assert_eq!(calls(&fake), ["login", "refresh", "login"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_was_replaced_meanwhile_needs_no_login() {
        let fake = Arc::new(FakeLogin {
            refresh_works: true,
            ..FakeLogin::default()
        });
        let cache = cache(&fake);
        let first = cache.get().await.unwrap();
        let renewed = join_all((0..5).map(|_| cache.renew(&first))).await;
        assert!(
            renewed
                .iter()
                .all(|g| g.as_ref().unwrap().access().expose() == "access-2")
        );
        assert_eq!(
            cache.renew(&first).await.unwrap().access().expose(),
            "access-2"
        );
        assert_eq!(calls(&fake), ["login", "refresh"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_login_is_shared_remembered_and_later_tried_again() {
        let fake = Arc::new(FakeLogin::default());
        fake.refuse.store(true, Ordering::Relaxed);
        let cache = cache(&fake);
        for outcome in join_all((0..5).map(|_| cache.get())).await {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthorized);
            assert_eq!(error.hint_text(), Some("Check client_secret."));
            assert!(!error.is_retryable());
        }
        assert_eq!(calls(&fake).len(), 1);
        assert!(cache.get().await.is_err());
        assert_eq!(calls(&fake).len(), 1);
        fake.refuse.store(false, Ordering::Relaxed);
        tokio::time::advance(REFUSED_FOR).await;
        cache.get().await.unwrap();
        assert_eq!(calls(&fake).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_is_dropped_half_way_does_not_block_the_next() {
        let fake = Arc::new(FakeLogin::default());
        let cache = cache(&fake);
        assert!(
            tokio::time::timeout(Duration::from_millis(10), cache.get())
                .await
                .is_err()
        );
        assert_eq!(cache.get().await.unwrap().access().expose(), "access-2");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_prints_a_token() {
        let fake = Arc::new(FakeLogin::default());
        let cache = cache(&fake);
        let grant = cache.get().await.unwrap();
        assert!(!format!("{cache:?} {grant:?}").contains("access-1"));
        assert_eq!(
            cache.redactor.scrub("a access-1 b refresh-1"),
            "a *** b ***"
        );
    }
}
